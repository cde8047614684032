# SPDX-License-Identifier: Apache-2.0
"""Bills of a daemon: who sees what, what becomes of a backup, corrections and renames, prices that
are not there. Amounts are not asserted against the clock: they have to add up, and to be the same
from the daemon and from a backup.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import harness

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden"))
from focus_validator import validate  # noqa: E402

PRICES = "apiVersion: divvy/v1\nkind: PriceList\ncurrency: USD\nprices: [{perGpuHour: 36000}]\n"
BUCKETS = ("busy", "reserved_idle", "overhead", "unallocated", "unhealthy")
OTHER = "daemon"  # a user that every machine has
ASK = """import http.client, json, socket, sys
c = http.client.HTTPConnection("localhost")
c.sock = socket.socket(socket.AF_UNIX)
c.sock.connect(sys.argv[1])
c.request(sys.argv[2], sys.argv[3], sys.argv[4] if len(sys.argv) > 4 else None)
a = c.getresponse()
print(a.status, a.read().decode())
"""


class Bill(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = harness.Node("a100")
        cls.prices = os.path.join(cls.node.directory, "prices.yaml")
        with open(cls.prices, "w", encoding="utf-8") as f:
            f.write(PRICES)
        cls.node.args += ["--prices", cls.prices]
        cls.node.start()
        load = [harness.program("divvy-load"), "spin", "--seconds", "2"]
        runs = [cls.node.start_run("--tenant", tenant, "--memory", "8GiB", "--compute", compute, "--",
                                   *load) for tenant, compute in (("ann", "50%"), (OTHER, "30%"))]
        for run in runs:
            out, err = run.communicate(timeout=harness.PATIENCE)
            assert run.returncode == 0, err
        # What the next flush writes has all of both.
        wall = cls.wall_seconds()
        harness.wait_for(lambda: cls.wall_seconds() > wall, "the ledger goes on")
        assert len(cls.bill()["tenants"]) == 2, cls.bill()["tenants"]

    @classmethod
    def tearDownClass(cls):
        cls.node.close()

    @classmethod
    def wall_seconds(cls):
        return sum(g["wall_seconds"] for g in cls.bill()["gpus"])

    @classmethod
    def bill(cls, *args):
        return cls.node.json("bill", "--from", "-1h", *args)

    def as_other(self, method, path, body=None):
        done = subprocess.run(["/usr/bin/python3", "-c", ASK, self.node.socket, method, path] +
                              ([json.dumps(body)] if body is not None else []), user=OTHER,
                              group=OTHER, capture_output=True, text=True, check=True,
                              timeout=harness.PATIENCE)
        status, text = done.stdout.split(" ", 1)
        return int(status), json.loads(text)

    def test_adds_up(self):
        for basis in ("used", "requested", "fixed", "max"):
            b = self.bill("--basis", basis, "--idle", "weighted")
            self.assertEqual(b["currency"], "USD")
            for g in b["gpus"]:
                ns = [round(g[k + "_seconds"] * 10**9) for k in BUCKETS]
                self.assertEqual(sum(ns), round(g["wall_seconds"] * 10**9))
            used = sum(t["used_cost_micros"] for t in b["tenants"])
            self.assertEqual(used + b["waste"]["total_cost_micros"], b["origin_cost_micros"])
            self.assertEqual(sum(t["cost_micros"] for t in b["tenants"]), b["total_cost_micros"])
        for t in b["tenants"]:
            self.assertGreater(t["busy_seconds"], 0)

    def test_focus_and_page(self):
        for version in ("1.2", "1.3"):
            out = subprocess.run([harness.program("divvy"), "bill", "--from", "-1h", "--format",
                                  "focus", "--focus-version", version], env=self.node.env(),
                                 capture_output=True, check=True, timeout=harness.PATIENCE).stdout
            self.assertEqual(validate(out.decode(), version), [])
        page = self.node.divvy("bill", "--from", "-1h", "--format", "html")
        self.assertEqual(page.returncode, 0)
        self.assertIn("<bdi>ann</bdi>", page.stdout)

    def test_usage(self):
        since = {t["tenant"]: t for t in self.node.json("usage")["tenants"]}
        asked = self.node.json("usage", "--from", "-1h", "--by", "mode")
        self.assertEqual({t["tenant"] for t in asked["tenants"]}, set(since))
        self.assertTrue(asked["lines"])
        only = self.node.json("usage", "--from", "-1h", "--tenant", "ann", "--gpu", "0")
        self.assertEqual([t["tenant"] for t in only["tenants"]], ["ann"])

    @unittest.skipUnless(os.geteuid() == 0, "needs root to be another user")
    def test_others_see_their_own(self):
        status, b = self.as_other("POST", "/v1/bill", {"from": "-1h", "by": "tenant"})
        self.assertEqual(status, 200)
        self.assertEqual([t["tenant"] for t in b["tenants"]], [OTHER])
        self.assertEqual(b["gpus"], [])
        self.assertEqual({line["tenant"] for line in b["lines"]}, {OTHER})
        self.assertNotIn("ann", json.dumps(b))
        mine = next(t for t in self.bill()["tenants"] if t["tenant"] == OTHER)
        self.assertEqual(b["tenants"][0]["used_cost_micros"], mine["used_cost_micros"])
        self.assertEqual(b["origin_cost_micros"],
                         mine["used_cost_micros"] + mine["reserved_idle_cost_micros"])
        status, u = self.as_other("GET", "/v1/usage?from=-1h&by=mode")
        self.assertEqual((status, [t["tenant"] for t in u["tenants"]]), (200, [OTHER]))
        self.assertNotIn("gpus", u)
        status, rows = self.as_other("GET", "/v1/ledger/rows?from=-1h")
        self.assertEqual({r["tenant"] for r in rows["rows"]}, {OTHER})

    @unittest.skipUnless(os.geteuid() == 0, "needs root to be another user")
    def test_others_may_not(self):
        for ask in (("POST", "/v1/bill", {"tenant": "ann"}), ("GET", "/v1/usage?tenant=ann"),
                    ("GET", "/v1/ledger"), ("GET", "/v1/ledger?verify=1"),
                    ("GET", "/v1/ledger/rows?tenant=ann"),
                    ("POST", "/v1/ledger/backup", {"path": "/tmp/x"}),
                    ("POST", "/v1/ledger/rename", {"old": "a", "new": "b"}),
                    ("POST", "/v1/ledger/correction", {})):
            status, answer = self.as_other(*ask)
            self.assertEqual((status, answer["reason"]), (403, "not_permitted"), ask)

    def test_bad_requests(self):
        ask = self.node.ask
        for body, words in (({"form": "-1h"}, "did you mean 'from'"), ({"from": 7}, "a string"),
                            ({"from": "2026-12-01", "to": "2026-11-01"}, "lies after"),
                            ({"by": "model"}, "model"), ({"basis": "use"}, "used"),
                            ({"timezone": "../../etc/passwd"}, "zone"),
                            ({"price_text": "{"}, "price"), ({"gpu": "GPU"}, "GPU"),
                            ({"from": "\u001b[2J"}, "control")):
            status, answer = ask("POST", "/v1/bill", body)
            self.assertEqual((status, answer["exit_code"]), (400, 2), (body, answer))
            self.assertIn(words, answer["message"])
        status, answer = ask("POST", "/v1/bill", {"from": "-1h", "price_text": PRICES.replace(
            "36000}", "1, mode: timeslice}")})
        self.assertEqual((status, answer["reason"]), (409, "no_price"))
        self.assertEqual(ask("GET", "/v1/usage?from=" + "x" * 60)[0], 400)
        for body in ({}, {"path": "relative"}, {"path": "/x", "more": 1}):
            self.assertEqual(ask("POST", "/v1/ledger/backup", body)[0], 400)
        good = {"at": "-1m", "gpu": "GPU-12345678", "tenant": "ann", "busy_ns": 1, "reason": "r"}
        for key in good:
            status, _ = ask("POST", "/v1/ledger/correction",
                            {k: v for k, v in good.items() if k != key})
            self.assertEqual(status, 400, key)
        self.assertEqual(ask("POST", "/v1/ledger/correction", good)[0], 404)
        self.assertEqual(ask("POST", "/v1/ledger/rename", {"old": "a", "new": "a"})[0], 400)

    def test_backup_says_what_the_daemon_says(self):
        path = os.path.join(self.node.state, "copy.db")
        done = self.node.divvy("ledger", "backup", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        again = self.node.divvy("ledger", "backup", path)
        self.assertEqual(again.returncode, 1)
        self.assertEqual(self.node.divvy("ledger", "verify", "--ledger", path).returncode, 0)
        self.assertEqual(self.node.divvy("ledger", "verify").returncode, 0)
        # What has ended is the same in both, whatever has been written since.
        ask = ["--from", "-1h", "--price-file", self.prices, "--by", "mode", "-o", "json"]
        copy = self.node.divvy("bill", "--ledger", path, *ask)
        self.assertEqual(copy.returncode, 0, copy.stderr)
        now = json.loads(self.node.divvy("bill", *ask).stdout)
        for mine, theirs in zip(json.loads(copy.stdout)["tenants"], now["tenants"]):
            self.assertEqual((mine["tenant"], mine["used_cost_micros"]),
                             (theirs["tenant"], theirs["used_cost_micros"]))

    def test_correction_and_rename(self):
        """In one daemon of its own: the next minute has to come before a block is sealed."""
        with harness.Node("a100", args=["--prices", self.prices]) as node:
            load = [harness.program("divvy-load"), "spin", "--seconds", "2"]
            run = node.divvy("run", "--tenant", "eve", "--memory", "8GiB", "--", *load)
            self.assertEqual(run.returncode, 0, run.stderr)

            def costs():
                b = node.json("bill", "--from", "-1h")
                return {t["tenant"]: t["used_cost_micros"] for t in b["tenants"]}

            def wall():
                return sum(g["wall_seconds"] for g in node.json("bill", "--from", "-1h")["gpus"])

            # The next flush has all of it: a minute that ends within the run is sealed before.
            before = wall()
            harness.wait_for(lambda: wall() > before, "the ledger goes on")
            self.assertTrue(costs().get("eve"))
            uuid = node.json("status")["gpus"][0]["uuid"]
            at = "-30m"
            correct = ["ledger", "correct", "--at", at, "--gpu", uuid, "--tenant", "eve", "--to",
                       "mal", "--busy", "500ms", "--reason", "a test"]
            # Not before it is sealed: the answer says so.
            harness.wait_for(lambda: node.divvy(*correct).returncode == 0, "the block is sealed")
            after = costs()
            self.assertAlmostEqual(after["mal"], 36000 * 10**6 * 0.5 / 3600, delta=2)
            self.assertGreater(after["eve"], 0)
            self.assertEqual(node.divvy("ledger", "rename", "mal", "mallory").returncode, 0)
            self.assertEqual(costs(), {"eve": after["eve"], "mallory": after["mal"]})
            self.assertEqual(node.divvy("ledger", "verify").returncode, 0)
            notes = node.json("ledger", "show")["notes"]
            # One for each minute that it is taken from: two, where the first ended after less.
            kinds = [n["kind"] for n in notes]
            self.assertIn(kinds, (["correction", "rename"], ["correction", "correction", "rename"]))
            self.assertEqual({n["reason"] for n in notes[:-1]}, {"a test"})

    def test_the_how_to_is_true(self):
        """docs/how-to/bill.md, as written, in a directory of its own."""
        source = os.environ.get("DIVVY_SOURCE", os.path.join(os.path.dirname(__file__), "../.."))
        with open(os.path.join(source, "docs/how-to/bill.md"), encoding="utf-8") as page:
            script = "".join(page.read().split("```\n")[1::2])
        directory = tempfile.mkdtemp(prefix="divvy-how-to-")
        os.chmod(directory, 0o755)
        lines = [line for line in script.replace("/tmp/bill", directory).splitlines()
                 if not line.startswith(("make ", "export PATH"))]
        self.assertGreater(len(lines), 20)
        # A command that fails leaves no daemon, whose output would be waited for.
        lines.insert(0, "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT")
        env = {**self.node.env(), "PATH": f"{harness.BIN}:{os.environ['PATH']}"}
        try:
            done = subprocess.run(["bash", "-ec", "\n".join(lines)], env=env, text=True,
                                  capture_output=True, timeout=3 * harness.PATIENCE, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
            with open(os.path.join(directory, "focus.csv"), encoding="utf-8", newline="") as f:
                self.assertEqual(validate(f.read()), [])
            self.assertIn("renamed\n", done.stdout)
        finally:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    unittest.main()
