# SPDX-License-Identifier: Apache-2.0
"""Where the time went: for whom tenants waited, and what they do alone.

Figures have wide bounds: they have to be about the right thing, and add up; how exact they are is
measured in virtual time (tests/scenarios/lost_test.c).
"""
import os
import subprocess
import unittest

import harness

SPIN = [harness.program("divvy-load"), "spin", "--kernel-us", "500", "--seconds"]


def spin(node, tenant, compute, seconds, *options):
    return node.start_run("--tenant", tenant, "--memory", "8GiB", "--compute", compute, *options,
                          "--", *SPIN, str(seconds))


def parts(answer, what, holder=None):
    return sum(r["seconds"] for r in answer["time"]
               if r["what"] == what and (holder is None or r["holder"] == holder))


def baseline(node, *args, **kw):
    return node.divvy("baseline", *args, **kw)


class Waits(unittest.TestCase):
    def running(self, node, n):
        harness.wait_for(lambda: sum(len(s["pids"]) for s in node.slices()) == n, f"{n} run")

    def finish(self, *children):
        for child in children:
            out, err = child.communicate(timeout=harness.PATIENCE)
            self.assertEqual(child.returncode, 0, err)

    def adds_up(self, answer):
        total = sum(r["seconds"] for r in answer["time"])
        self.assertAlmostEqual(total, answer["held_seconds"], delta=0.03 * answer["held_seconds"],
                               msg=answer)

    @harness.of_figures
    def test_two_wait_for_each_other(self):
        with harness.Node("a100") as node:
            with harness.Lateness() as machine:
                self.finish(spin(node, "ann", "25%", 6), spin(node, "bob", "75%", 6))
            ann, bob = (node.json("explain", t) for t in ("ann", "bob"))
            for answer in (ann, bob):
                self.adds_up(answer)
            # What ann waited for bob is what bob ran, and the other way round; and where the machine
            # has kept one from the CPU in its turn, for which the other waits as well.
            for one, other, name in ((ann, bob, "bob"), (bob, ann, "ann")):
                waited, ran = parts(one, "waiting", name), parts(other, "running")
                print(f"waited for {name} {waited:.2f} s, who ran for {ran:.2f} s")
                self.assertGreater(waited, 0.5 * ran)
                self.assertLess(waited, 1.1 * ran + machine.late)
                self.assertGreater(waited, 0.95 * parts(one, "waiting"))
            self.assertGreater(parts(bob, "running"), 1.5 * parts(ann, "running"))
            self.assertEqual(ann["queue"], [])
            text = node.divvy("explain", "ann").stdout
            self.assertIn("held in slices since", text)
            self.assertRegex(text, r"waiting +bob +\d")

            usage = {t["tenant"]: t for t in node.json("usage")["tenants"]}
            self.assertAlmostEqual(usage["ann"]["wait_seconds"], parts(ann, "waiting"), delta=0.05)
            self.assertAlmostEqual(usage["ann"]["busy_seconds"], parts(ann, "running"), delta=0.05)

            node.stop()  # the figures outlive the daemon
            node.start()
            again = node.json("explain", "ann")
            for key in ("time", "held_seconds", "since_unix"):
                self.assertEqual(again[key], ann[key])

    @harness.of_figures
    def test_who_comes_in_the_place_of_another(self):
        """bob's place at the arbiter is cyd's later: what was waited for each is told apart."""
        with harness.Node("a100") as node:
            ann = spin(node, "ann", "25%", 600)
            self.running(node, 1)
            with harness.Lateness() as machine:
                for other in ("bob", "cyd"):
                    self.finish(spin(node, other, "75%", 2))
            answer = node.json("explain", "ann")
            ann.terminate()
            self.adds_up(answer)
            ran = {t: parts(node.json("explain", t), "running") for t in ("bob", "cyd")}
            for other, seconds in ran.items():
                waited = parts(answer, "waiting", other)
                self.assertGreater(waited, 0.5 * seconds)
                self.assertLess(waited, 1.1 * seconds + 0.05 + machine.late)
            self.assertLess(parts(answer, "waiting", "(others)"), 0.05)

    @harness.of_figures
    def test_one_alone_waits_for_nobody(self):
        with harness.Node("a100") as node:
            self.finish(spin(node, "ann", "25%", 2))
            answer = node.json("explain", "ann")
            self.adds_up(answer)
            self.assertEqual([r["what"] for r in answer["time"]], ["running", "overhead", "idle"])
            self.assertEqual(parts(answer, "overhead"), 0)

    @harness.of_figures
    def test_in_the_queue(self):
        with harness.Node("a100") as node:
            held = spin(node, "ann", "50%", 600), spin(node, "bob", "40%", 600)
            self.running(node, 2)
            queued = spin(node, "cyd", "80%", 1)
            harness.wait_for(lambda: node.json("queue")["claims"], "cyd waits")
            explained = harness.wait_for(
                lambda: (e := node.json("explain", "cyd"))["queued_seconds"] > 1 and e, "it shows")
            self.assertEqual({r["holder"] for r in explained["queue"]}, {"ann", "bob"})
            waiting = node.json("queue")["claims"][0]["id"]
            why = node.json("explain", waiting)
            # 80 of 100 are there only when both are gone.
            self.assertEqual(set(why["unblocked_by"]), {x["id"] for x in node.slices()})
            self.assertIn("would make room for it", node.divvy("explain", waiting).stdout)
            for row in explained["queue"]:
                self.assertAlmostEqual(row["permille"], 500, delta=2)
            self.assertEqual(explained["held_seconds"], 0)
            for child in held:
                child.terminate()
            self.finish(queued)
            after = node.json("explain", "cyd")
            self.assertGreater(after["queued_seconds"], explained["queued_seconds"])
            self.assertGreater(parts(after, "running"), 0)
            self.assertRegex(node.divvy("explain", "cyd").stdout, r"QUEUED FOR +WAITED +SHARE")

    @harness.of_figures
    def test_baseline_then_contention(self):
        with harness.Node("a100") as node:
            command = [*SPIN, "4"]
            size = ["--tenant", "ann", "--memory", "8GiB", "--compute", "25%"]
            done = baseline(node, *size, "--", *command)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stderr, r"kept as 'divvy-load' of tenant ann: [\d.]+ launches")
            kept = node.json("baseline", "list")["baselines"]
            self.assertEqual([(b["tenant"], b["name"], b["mode"]) for b in kept],
                             [("ann", "divvy-load", "governed")])
            self.assertAlmostEqual(kept[0]["gpu_ms_per_launch"], 0.5, delta=0.1)

            node.stop()
            node.start()
            ann = node.start_run(*size, "--", *SPIN, "600")
            bob = spin(node, "bob", "75%", 600)
            self.running(node, 2)
            answer = harness.wait_for(
                lambda: (e := node.json("explain", "ann"))["held_seconds"] > 5 and e, "it shows")
            b, = answer["baselines"]
            print(f"alone {b['alone']['launches_per_second']}/s, "
                  f"now {b['now']['launches_per_second']}/s, {b['difference']}")
            self.assertTrue(b["same_slice"])
            self.assertGreater(b["slower_permille"], 500)
            self.assertEqual((b["difference"][0]["what"], b["difference"][0]["holder"]),
                             ("waiting", "bob"))
            self.assertGreater(b["difference"][0]["permille"], 700)
            self.assertAlmostEqual(sum(d["permille"] for d in b["difference"]), 1000, delta=3)
            self.assertTrue([x for x in answer["lines"] if "of the difference is waiting for bob"
                             in x], answer["lines"])
            slice_id = next(s["id"] for s in node.slices() if s["tenant"] == "ann")
            self.assertEqual(node.json("explain", slice_id)["baselines"][0]["name"], "divvy-load")
            for child in (ann, bob):
                child.terminate()
            self.assertEqual(node.divvy("baseline", "rm", "--tenant", "ann", "divvy-load").returncode,
                             0)
            self.assertEqual(node.json("baseline", "list")["baselines"], [])

    def test_alone_means_alone(self):
        with harness.Node("a100") as node:
            held = spin(node, "ann", "25%", 600)
            self.running(node, 1)
            size = ["--tenant", "bob", "--memory", "8GiB", "--compute", "25%"]
            refused = baseline(node, *size, "--no-wait", "--", "true")
            self.assertEqual(refused.returncode, 125)
            self.assertIn("held by tenant ann", refused.stderr)
            held.terminate()
            held.wait(harness.PATIENCE)
            harness.wait_for(lambda: not node.slices(), "ann is gone")
            alone = subprocess.Popen([harness.program("divvy"), "baseline", *size, "--name", "x",
                                      "--", *SPIN, "600"], env=node.env(),
                                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.PIPE, text=True)
            node.children.append(alone)
            self.running(node, 1)
            late = node.start_run("--tenant", "cyd", "--memory", "8GiB", "--compute", "10%",
                                  "--no-wait", "--", "true")
            self.assertIn("held by tenant bob", late.communicate(timeout=harness.PATIENCE)[1])
            self.assertEqual(late.returncode, 125)
            harness.wait_for(lambda: any(p["launches"] for s in node.json("ps")["slices"]
                                         for p in s["processes"]), "it launches")
            alone.terminate()  # passed on: divvy-load ends regularly, and what it did is kept
            self.assertIn("kept as 'x' of tenant bob", alone.communicate(timeout=harness.PATIENCE)[1])
            shown = node.json("baseline", "show", "x")["baselines"]
            self.assertEqual(len(shown), 1)
            self.assertEqual(shown[0]["compute_permille"], 250)

    def test_nothing_to_keep(self):
        with harness.Node("a100") as node:
            idle = baseline(node, "--memory", "8GiB", "--", "true")
            self.assertEqual(idle.returncode, 125)
            self.assertIn("launched nothing on the GPU", idle.stderr)
            failed = baseline(node, "--memory", "8GiB", "--", "sh", "-c", "exit 3")
            self.assertEqual(failed.returncode, 3)
            self.assertIn("nothing is kept", failed.stderr)
            self.assertEqual(node.json("baseline", "list")["baselines"], [])
            self.assertEqual(node.divvy("baseline", "rm", "nothing").returncode, 1)
            self.assertEqual(node.divvy("baseline", "rm", "../x").returncode, 2)
            for body in ({}, {"claim": "x"}, {"claim": "c-0"}, {"claim": "c-1", "names": "x"},
                         {"claim": "c-1", "name": "a b"}, {"claim": 7}):
                self.assertEqual(node.ask("POST", "/v1/baselines", body)[0], 400, body)
            self.assertEqual(node.ask("POST", "/v1/baselines", {"claim": "c-99"})[0], 404)
            self.assertEqual(node.ask("DELETE", "/v1/baselines")[0], 400)
            held = spin(node, "ann", "25%", 600)
            self.running(node, 1)
            claim = node.slices()[0]["id"]
            status, answer = node.ask("POST", "/v1/baselines", {"claim": claim})
            self.assertEqual((status, answer["reason"]), (409, "not_alone"))
            held.terminate()


if __name__ == "__main__":
    unittest.main()
