#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cli_bill_test DIVVY MAKE_LEDGER [--update]: bill, usage and ledger, of a fixed ledger (make_ledger.c)
and of what a daemon answers. Expected output lies in bill/*.txt; --update writes what there is now.
"""
import csv
import io
import itertools
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import unittest
from decimal import Decimal

UPDATE = "--update" in sys.argv
if UPDATE:
    sys.argv.remove("--update")
MAKE_LEDGER = sys.argv.pop(2)

import bill_fixture  # noqa: E402
from fake_daemon import DIVVY, Case, error  # noqa: E402
from focus_validator import validate  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
RANGE = ["--from", "2026-10-30", "--to", "2026-11-04"]
PRICES = os.path.join(HERE, "bill", "prices.yaml")
BASES, IDLES = ("used", "requested", "fixed", "max"), ("none", "even", "weighted")


def play(*args, env=None):
    done = subprocess.run([DIVVY, *args], env={**os.environ, "LC_ALL": "C", **(env or {})},
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Ledger(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="divvy-bill-")
        cls.ledger = os.path.join(cls.directory, "ledger.db")
        cls.prices = os.path.join(cls.directory, "prices.yaml")
        shutil.copy(PRICES, cls.prices)
        subprocess.run([MAKE_LEDGER, cls.ledger], check=True)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.directory)

    def bill(self, *args, ledger=None, prices=None):
        return play("bill", "--ledger", ledger or self.ledger, "--price-file",
                    prices or self.prices, *args)

    def good(self, *args):
        code, out, err = self.bill(*args)
        self.assertEqual((code, err), (0, ""))
        return out

    def golden(self, name, text):
        path = os.path.join(HERE, "bill", name)
        text = text.replace(self.directory, "DIR").replace("\r\n", "\n")
        if UPDATE:
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        with open(path, encoding="utf-8") as f:
            self.assertEqual(text, f.read())

    # -- tables and CSV

    def test_tables(self):
        text = ""
        for more in (["--by", "tenant"], ["--by", "gpu"], ["--by", "mode"], ["--by", "day"],
                     ["--basis", "fixed"], ["--idle", "weighted", "--by", "mode"],
                     ["--tenant", "team-b"], ["--gpu", "GPU-9b3e"], ["--by", "day", "--timezone",
                                                                    "America/New_York"]):
            text += f"$ divvy bill {' '.join(more)}\n{self.good(*RANGE, *more)}\n"
        self.golden("tables.txt", text)

    def test_csv(self):
        text = ""
        for by in ("tenant", "gpu", "mode", "day", "pod"):
            out = self.good(*RANGE, "--by", by, "-o", "csv")
            self.assertEqual(out, self.good(*RANGE, "--by", by, "--format", "csv"))
            text += f"$ divvy bill --by {by} -o csv\n{out}\n"
        self.golden("csv.txt", text)

    def test_usage(self):
        text = ""
        for by in ("tenant", "gpu", "mode", "day", "pod"):
            code, out, err = play("usage", "--ledger", self.ledger, *RANGE, "--by", by)
            self.assertEqual((code, err), (0, ""))
            text += f"$ divvy usage --by {by}\n{out}\n"
        self.golden("usage.txt", text)

    def test_usage_is_the_bills_time(self):
        bill = json.loads(self.good(*RANGE, "-o", "json"))
        usage = json.loads(play("usage", "--ledger", self.ledger, *RANGE, "-o", "json")[1])
        for mine, theirs in zip(usage["tenants"], bill["tenants"]):
            for key in ("tenant", "busy_seconds", "wait_seconds", "memory_byte_seconds"):
                self.assertEqual(mine[key], theirs[key])

    def test_a_pod(self):
        """Its own bill is its line in the tenant's; whose it is is said, and is so."""
        lines = json.loads(self.good(*RANGE, "--by", "pod", "-o", "json"))["lines"]
        self.assertEqual(["train-0", "train-1", "train-2"],
                         [n["pod"] for n in lines if n["tenant"] == "team-b"])
        one = json.loads(self.good(*RANGE, "--pod", "team-b/train-1", "-o", "json"))
        line = [n for n in lines if n["pod"] == "train-1"][0]
        self.assertEqual(["team-b"], [t["tenant"] for t in one["tenants"]])
        for key in ("busy_seconds", "used_cost_micros", "requested_cost_micros", "wait_seconds"):
            self.assertEqual(line[key], one["tenants"][0][key])
        out = play("ledger", "export", "--ledger", self.ledger, *RANGE, "--pod", "team-b/train-2")[1]
        rows = list(csv.DictReader(io.StringIO(out, newline="")))
        self.assertEqual({("team-b", "train-2")}, {(r["tenant"], r["pod"]) for r in rows})
        for wrong, word in (("train-1", "is no pod"), ("/train-1", "name"), ("team-b/", "is no pod"),
                            ("team-b/a/b", "is no pod"), ("team-b/" + "x" * 254, "is no pod")):
            code, _, err = self.bill(*RANGE, "--pod", wrong)
            self.assertEqual(2, code)
            self.assertIn(word, err)
        code, _, err = self.bill(*RANGE, "--pod", "team-b/train-1", "--tenant", "team-a")
        self.assertEqual(2, code)
        self.assertIn("not one of tenant 'team-a'", err)

    # -- sums

    def test_json_sums(self):
        """To the nanosecond and to the micro, whatever is asked."""
        for basis, idle in itertools.product(BASES, IDLES):
            b = json.loads(self.good(*RANGE, "--basis", basis, "--idle", idle, "-o", "json"),
                           parse_float=Decimal)
            for g in b["gpus"]:
                parts = [g[k + "_seconds"] for k in bill_fixture.BUCKETS]
                self.assertEqual(sum(parts), g["wall_seconds"])
                self.assertEqual(g["wall_seconds"], 5 * 86400)
            self.assertEqual(sum(g["origin_cost_micros"] for g in b["gpus"]),
                             b["origin_cost_micros"])
            self.assertEqual(b["origin_cost_micros"], 120 * (3060000 + 4250000))
            self.assertEqual(sum(t["cost_micros"] for t in b["tenants"]), b["total_cost_micros"])
            used = sum(t["used_cost_micros"] for t in b["tenants"])
            self.assertEqual(used + b["waste"]["total_cost_micros"], b["origin_cost_micros"])

    # -- FOCUS

    def test_focus(self):
        out = self.good("--from", "2026-10-31", "--to", "2026-11-02", "--format", "focus")
        self.golden("focus-1.2.txt", out)
        out = self.good("--from", "2026-10-31", "--to", "2026-11-01", "--format", "focus",
                        "--focus-version", "1.3", "--idle", "even", "--basis", "fixed")
        self.golden("focus-1.3.txt", out)

    def check_focus(self, out, bill, version):
        self.assertEqual(validate(out, version), [])
        rows = list(csv.DictReader(io.StringIO(out, newline="")))
        billed = sum(Decimal(r["BilledCost"]) for r in rows)
        self.assertEqual(billed * 10**6, bill["origin_cost_micros"])
        tenants = sum(Decimal(r["BilledCost"]) for r in rows if r["SubAccountId"])
        self.assertEqual(tenants * 10**6, bill["total_cost_micros"])
        origins = {}
        for r in rows:
            if r["x_OriginChargeId"]:
                origins.setdefault(r["x_OriginChargeId"], []).append(r)
        self.assertTrue(origins)
        for parts in origins.values():
            self.assertEqual(sum(Decimal(r["BilledCost"]) for r in parts),
                             Decimal(parts[0]["x_OriginCost"]))
        return origins

    def test_focus_sums(self):
        """Allocated charges and the unused rest are the origin charge, exactly."""
        zones = ("UTC", "Europe/Berlin")
        for basis, idle, zone in itertools.product(BASES, IDLES, zones):
            ask = ["--from", "2026-10-30T05:00:00Z", "--to", "2026-11-03T20:07:00Z", "--basis",
                   basis, "--idle", idle, "--timezone", zone]
            bill = json.loads(self.good(*ask, "-o", "json"))
            for version in ("1.2", "1.3"):
                with self.subTest(basis=basis, idle=idle, zone=zone, version=version):
                    out = self.good(*ask, "--format", "focus", "--focus-version", version)
                    self.check_focus(out, bill, version)

    def test_focus_quantities(self):
        """With basis used the quantities of an origin charge are its hours, exactly."""
        bill = json.loads(self.good(*RANGE, "--idle", "even", "-o", "json"))
        out = self.good(*RANGE, "--idle", "even", "--format", "focus")
        for parts in self.check_focus(out, bill, "1.2").values():
            self.assertEqual(sum(Decimal(r["PricingQuantity"]) for r in parts), 24)
            self.assertEqual(sum(Decimal(r["ConsumedQuantity"]) for r in parts), 86400)

    def test_days_of_25_and_23_hours(self):
        """A day is that of the place: the clocks of Berlin go back on 2026-10-25, on 2027-03-28 forth."""
        for first, day, hours in ((1792800000, "2026-10-25", 25), (1806105600, "2027-03-28", 23)):
            path = os.path.join(self.directory, day)
            subprocess.run([MAKE_LEDGER, path, str(first)], check=True)
            ask = ["--from", day, "--to", day[:-2] + str(int(day[-2:]) + 1), "--timezone",
                   "Europe/Berlin"]
            code, out, _ = self.bill(*ask, "--format", "focus", ledger=path)
            self.assertEqual((code, validate(out)), (0, []))
            hours_of = {}
            for r in csv.DictReader(io.StringIO(out, newline="")):
                gpu = r["x_GpuUuid"]
                hours_of[gpu] = hours_of.get(gpu, 0) + Decimal(r["PricingQuantity"])
            self.assertEqual(set(hours_of.values()), {hours})
            bill = json.loads(self.bill(*ask, "-o", "json", ledger=path)[1])
            self.assertEqual(bill["origin_cost_micros"], hours * (3060000 + 4250000))

    def test_focus_of_one_tenant_says_nothing_of_others(self):
        out = self.good(*RANGE, "--format", "focus", "--focus-version", "1.3", "--tenant", "team-b")
        self.assertEqual(validate(out, "1.3"), [])
        rows = list(csv.DictReader(io.StringIO(out, newline="")))
        self.assertEqual({r["SubAccountId"] for r in rows}, {"team-b"})
        self.assertEqual({r["x_OriginCost"] + r["AllocatedMethodDetails"] for r in rows}, {""})

    # -- HTML

    def test_html(self):
        self.golden("page.html.txt", self.good(*RANGE, "--format", "html", "--by", "mode",
                                               "--idle", "weighted"))

    # -- what goes wrong

    def wrong(self, *args, code=2, **more):
        done = self.bill(*args, **more)
        self.assertEqual((done[0], done[1], done[2].count("\n")), (code, "", 1), done)
        return done[2]

    def with_prices(self, *changes):
        with open(self.prices, encoding="utf-8") as f:
            text = f.read()
        for old, new in changes:
            self.assertIn(old, text)
            text = text.replace(old, new)
        path = os.path.join(self.directory, "other.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def test_errors(self):
        text = self.wrong("--from", "2026-12-01", "--to", "2026-11-01")
        text += self.wrong("--from", "2026-11-01", "--to", "2026-11-01")
        text += self.wrong("--from", "last-moth")
        text += self.wrong("--from", "2026-02-30")
        text += self.wrong("--from", "-7days")
        text += self.wrong("--timezone", "Europe/Berln")
        text += self.wrong("--gpu", "0")
        text += self.wrong("--tenant", "\u00e4")
        text += self.wrong("-o", "csv", "--format", "json")
        text += self.wrong("--format", "focus", "--by", "day")
        text += self.wrong("--focus-version", "1.4")
        text += self.wrong(prices=self.with_prices(("USD", "USX")))
        text += self.wrong(prices=self.with_prices(("3.06", "-3.06")))
        text += self.wrong(prices=self.with_prices(("model: H100-80GB", "model: A100-80GB")))
        text += self.wrong(*RANGE, code=1, prices=self.with_prices(
            ("  - {perGpuHour: 4.25, model: H100-80GB}\n", "")))
        text += self.wrong(code=1, prices="/nonexistent/prices.yaml")
        text += self.wrong(code=1, ledger="/nonexistent/ledger.db")
        text += self.wrong(code=1, ledger=self.prices)
        code, out, err = play("bill", "--ledger", self.ledger)
        self.assertEqual((code, out), (2, ""))
        self.golden("errors.txt", text + err)

    def changed(self, *statements):
        path = os.path.join(self.directory, "changed.db")
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(path + suffix):
                os.unlink(path + suffix)
        source = sqlite3.connect(self.ledger)
        copy = sqlite3.connect(path)
        source.backup(copy)
        for s in statements:
            copy.execute(s)
        copy.commit()
        copy.close()
        source.close()
        return path

    def test_broken_chain(self):
        """Located, with exit status 3; all of it can still be billed, and the bill says so."""
        path = self.changed("DROP TRIGGER entry_is_final",
                            "UPDATE entry SET busy = busy + 1 WHERE level = 1 AND block = 30 AND "
                            "account = (SELECT min(account) FROM entry WHERE busy > 0)")
        code, out, err = play("ledger", "verify", "--ledger", path)
        self.assertEqual((code, err), (3, ""))
        self.golden("broken.txt", out)
        code, out, _ = play("ledger", "verify", "--ledger", path, "-o", "json")
        proof = json.loads(out)
        self.assertEqual((code, proof["proof"]["breaks"]), (3, len(proof["breaks"])))
        self.assertEqual({(b["chain"], b["seq"]) for b in proof["breaks"]}, {("hour", 30), ("day", 2)})
        code, out, _ = self.bill(*RANGE, ledger=path)
        self.assertEqual(code, 0)
        self.assertIn("note: The ledger's chain is broken within this time", out)
        self.assertNotIn("chain is broken", self.good(*RANGE))

    def test_whole_chain(self):
        code, out, _ = play("ledger", "verify", "--ledger", self.ledger)
        self.assertEqual((code, out.count("\n")), (0, 1))
        self.assertIn("the chain is whole", out)

    def test_newer_ledger(self):
        text = self.wrong(code=1, ledger=self.changed("PRAGMA user_version = 1000"))
        self.assertIn("newer", text)

    def test_show_and_export(self):
        code, out, err = play("ledger", "show", "--ledger", self.ledger, "-o", "csv")
        self.assertEqual((code, err), (0, ""))
        self.golden("show.txt", re.sub("[0-9a-f]{64}", "HASH", out))  # each ledger has its id
        code, out, _ = play("ledger", "export", "--ledger", self.ledger, "--from", "2026-10-30",
                            "--to", "2026-10-30T01:00")
        self.assertEqual(code, 0)
        self.golden("export.txt", out)


class Daemon(Case):
    """What is asked of the daemon, and what becomes of its answers."""
    granted = bill_fixture.bill("used", "even")

    def test_what_is_asked(self):
        self.assertEqual(self.divvy("bill", "-o", "json")[0], 0)
        self.assertEqual(self.daemon.requests[0],
                         ("POST", "/v1/bill", {"basis": "used", "idle": "none"}))
        self.divvy("bill", "--from", "-7d", "--to", "now", "--by", "day", "--basis", "max",
                   "--idle", "even", "--tenant", "ann", "--gpu", "GPU-7a3e11d2", "--timezone",
                   "Asia/Tokyo", "--price-file", PRICES)
        with open(PRICES, encoding="utf-8") as f:
            text = f.read()
        self.assertEqual(self.daemon.requests[1][2], {
            "from": "-7d", "to": "now", "by": "day", "basis": "max", "idle": "even",
            "tenant": "ann", "gpu": "GPU-7a3e11d2", "timezone": "Asia/Tokyo", "price_name": PRICES,
            "price_text": text})
        self.divvy("bill", "--format", "focus")
        self.assertEqual(self.daemon.requests[2][2]["by"], "all")

    def test_usage(self):
        self.divvy("usage")
        self.assertEqual(self.daemon.requests[0][:2], ("GET", "/v1/usage"))
        self.divvy("usage", "--from", "-7d", "--by", "mode", "--tenant", "a/b")
        self.assertEqual(self.daemon.requests[1][1],
                         "/v1/usage?from=-7d&by=mode&tenant=a%2Fb")

    def test_focus_of_every_kind_of_bill(self):
        for basis, idle, days in itertools.product(BASES, ("none", "even"), (1, 3)):
            bill = bill_fixture.bill(basis, idle, days)
            self.answers["POST"] = (200, bill)
            for version in ("1.2", "1.3"):
                code, out, err = self.divvy("bill", "--format", "focus", "--focus-version",
                                            version)
                self.assertEqual((code, err), (0, ""))
                out = out.replace("\n", "\r\n") if "\r\n" not in out else out
                self.assertEqual(validate(out, version), [])
                rows = list(csv.DictReader(io.StringIO(out, newline="")))
                self.assertEqual(sum(Decimal(r["BilledCost"]) for r in rows) * 10**6,
                                 bill["origin_cost_micros"])

    def test_hostile_names(self):
        """Nothing that a daemon says can leave its place in the page or move the cursor."""
        evil = '<script>alert(1)</script>"\'&\x1b[2J\u202e'
        bill = bill_fixture.bill()
        bill["tenants"][0]["tenant"] = bill["gpus"][0]["model"] = bill["price_file"] = evil
        bill["notes"] = [evil]
        bill["currency"] = "<b>"
        bill["by"] = "mode"
        bill["lines"][0]["mode"] = evil
        self.answers["POST"] = (200, bill)
        code, out, _ = self.divvy("bill", "--format", "html")
        self.assertEqual(code, 0)
        self.assertNotIn("<script", out)
        self.assertNotIn("<b>", out)
        self.assertNotIn("\x1b", out)
        self.assertIn("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;\\x1b[2J", out)
        code, out, _ = self.divvy("bill")
        self.assertEqual(code, 0)
        self.assertNotIn("\x1b", out)

    def test_page_loads_nothing(self):
        _, out, _ = self.divvy("bill", "--format", "html")
        for word in ("http:", "https:", "<script", "<img", "<link", "@import", "url(", "src="):
            self.assertNotIn(word, out)
        self.assertTrue(out.startswith("<!DOCTYPE html>"))

    def test_no_such_bill(self):
        self.answers["POST"] = (200, {"kind": "Usage"})
        for form in ("focus", "html"):
            code, out, err = self.divvy("bill", "--format", form)
            self.assertEqual((code, out, err.count("\n")), (1, "", 1))
        self.answers["POST"] = (200, {**bill_fixture.bill(), "lines": [{"kind": "time"}]})
        self.assertEqual(self.divvy("bill", "--format", "focus")[0], 1)

    def test_errors_of_the_daemon(self):
        self.answers["POST"] = (409, error("no price applies", 1))
        self.assertEqual(self.divvy("bill"), (1, "", "divvy bill: no price applies\n"))
        self.answers["POST"] = (403, error("only root", 4))
        for verb in (["ledger", "backup", "x"], ["ledger", "rename", "a", "b"]):
            self.assertEqual(self.divvy(*verb)[0], 4)

    def test_ledger_verbs(self):
        self.answers["POST"] = (200, {"kind": "LedgerBackup", "path": "/x", "file_bytes": 2048})
        self.assertEqual(self.divvy("ledger", "backup", "copy.db")[1], "/x: 2.00 KiB\n")
        self.assertEqual(self.daemon.requests[0][1:], ("/v1/ledger/backup", {
            "path": os.path.join(os.getcwd(), "copy.db")}))
        self.answers["POST"] = (200, {"level": "minute", "block": 7,
                                      "blocks": 2})
        self.assertEqual(self.divvy(
            "ledger", "correct", "--at", "2026-11-01", "--gpu", "GPU-7a3e11d2", "--tenant", "ann",
            "--to", "bob", "--busy", "10m", "--reason", "ticket")[1],
            "corrected in 2 blocks, the first is minute 7\n")
        self.assertEqual(self.daemon.requests[1][2], {
            "at": "2026-11-01", "gpu": "GPU-7a3e11d2", "tenant": "ann", "to": "bob",
            "busy_ns": 600 * 10**9, "reserved_idle_ns": 0, "reason": "ticket"})
        self.assertEqual(self.divvy("ledger", "rename", "a", "b", "--from", "today")[0], 0)
        self.assertEqual(self.daemon.requests[2][1:], ("/v1/ledger/rename", {
            "old": "a", "new": "b", "from": "today"}))
        for missing in ("--at", "--gpu", "--tenant", "--reason"):
            args = {"--at": "today", "--gpu": "GPU-7a3e11d2", "--tenant": "ann", "--busy": "1s",
                    "--reason": "r"}
            args.pop(missing)
            code, _, err = self.divvy("ledger", "correct", *[x for kv in args.items() for x in kv])
            self.assertEqual((code, err), (2, f"divvy ledger correct: {missing} is missing\n"))

    def test_verify_of_the_daemon(self):
        proof = {"blocks": 3, "rows": 9, "lives": 0, "notes": 0, "breaks": 0}
        self.answers["GET"] = (200, {"kind": "Ledger", "proof": proof, "breaks": []})
        self.assertEqual(self.divvy("ledger", "verify")[:2],
                         (0, "3 blocks, 9 rows, 0 lives, 0 notes: the chain is whole\n"))
        self.assertEqual(self.daemon.requests[0][1], "/v1/ledger?verify=1")
        self.answers["GET"] = (200, {"kind": "Ledger", "proof": {**proof, "breaks": 1}, "breaks": [
            {"chain": "hour", "seq": 4, "from_unix": 1, "to_unix": 2, "fault": "hash",
             "detail": "not what was hashed"}]})
        code, out, _ = self.divvy("ledger", "verify")
        self.assertEqual(code, 3)
        self.assertIn("hour", out)
        self.answers["GET"] = (200, {"kind": "Ledger"})
        self.assertEqual(self.divvy("ledger", "verify")[0], 1)


if __name__ == "__main__":
    unittest.main()
