# SPDX-License-Identifier: Apache-2.0
"""All the ways to share at once, on one simulated node, driven by real processes: MIG with five
different devices, MPS at 50/30/20 % of the threads, four time-slices, three governed, an exclusive
training, and on one card a strict MIG device beside scavengers on the other. Two layouts are changed
live, what can be killed is killed, and what every tenant saw is compared with the engine's truth.

No time is asserted: shares are compared with each other, over the same seconds.
"""
import json
import os
import signal
import time
import unittest

import harness
from layout_test import LayoutCase

LAYOUT = """
apiVersion: divvy/v1
kind: Layout
gpus:
  - gpu: 0
    mig:
      - {profile: 1c.3g.40gb, mode: exclusive}
      - {profile: 2c.3g.40gb, mode: exclusive}
      - {profile: 2g.20gb, mode: exclusive}
      - {profile: 1g.10gb, mode: exclusive}
      - {profile: 1g.10gb+me, mode: exclusive}
  - {gpu: 1, mode: mps}
  - {gpu: 2, mode: timeslice, replicas: 4}
  - {gpu: 3, mode: governed}
  - {gpu: 4, mode: exclusive}
  - gpu: 5
    mig:
      - {profile: 3g.40gb, start: 0, mode: exclusive}
      - {profile: 3g.40gb, start: 4, mode: governed}
"""
# What changes live: GPU 0 loses the free devices, GPU 2 grows, GPU 6 comes.
CHANGED = LAYOUT.replace("      - {profile: 1g.10gb+me, mode: exclusive}\n",
                         "      - {profile: 1g.10gb, mode: governed}\n") \
                .replace("gpu: 2, mode: timeslice, replicas: 4",
                         "gpu: 2, mode: timeslice, replicas: 5") + \
    "  - {gpu: 6, mig: [{profile: 7g.80gb, mode: mps, replicas: 3}]}\n"

WALLS = {"mig": ("hardware", "hardware"), "mps": ("cooperative", "cooperative"),
         "slice": ("none", "none"), "gov": ("cooperative", "cooperative"),
         "train": ("hardware", "hardware"), "strict": ("hardware", "hardware"),
         "scav": ("cooperative", "cooperative")}


class AllModes(LayoutCase):
    def spin(self, tenant, *args, memory="1GiB"):
        return self.node.start_run("--tenant", tenant, *args, "--", harness.program("divvy-load"),
                                   "spin", "--kernel-us", "2000", "--memory", memory, "--seconds",
                                   "600", "-o", "json")

    def start_all(self):
        runs = {}
        for i in range(5):
            runs[f"mig{i}"] = self.spin(f"mig{i}", "--gpu", "0", "--mode", "exclusive")
        for name, share in (("a", 50), ("b", 30), ("c", 20)):
            runs[f"mps-{name}"] = self.spin(f"mps-{name}", "--gpu", "1", "--mode", "mps", "--memory",
                                            "16GiB", "--compute", f"{share}%")
            runs[f"gov-{name}"] = self.spin(f"gov-{name}", "--gpu", "3", "--mode", "governed",
                                            "--memory", "16GiB", "--compute", f"{share}%")
            runs[f"scav-{name}"] = self.spin(f"scav-{name}", "--gpu", "5", "--mode", "governed",
                                             "--memory", "8GiB", "--compute", "10%")
        for i in range(4):
            runs[f"slice{i}"] = self.spin(f"slice{i}", "--gpu", "2", "--mode", "timeslice")
        runs["train"] = self.spin("train", "--gpu", "4", "--mode", "exclusive", memory="60GiB")
        runs["strict"] = self.spin("strict", "--gpu", "5", "--mode", "exclusive")
        return runs

    def held(self):
        return {s["tenant"]: s for s in self.node.slices()}

    def await_all(self, runs):
        def ready():
            for tenant, run in runs.items():
                if run.poll() is not None:
                    raise AssertionError(f"{tenant} ended: {run.stderr.read()}")
            held = self.held()
            self.missing = [t for t in runs if not held.get(t, {}).get("pids")]
            return None if self.missing else held
        try:
            return harness.wait_for(ready, "all tenants are on their devices")
        except AssertionError as late:
            raise AssertionError(f"{late}: {self.missing}") from late

    def truth(self):
        """pid -> (memory in use, GPU nanoseconds), and the GPUs' own numbers, from the engine."""
        out = self.node.divvy_sim("status", "--socket", self.node.sim_socket(), "-o", "json")
        gpus = json.loads(out.stdout)["gpus"]
        return {p["pid"]: p for g in gpus for p in g["processes"]}, gpus

    def rates(self, runs, seconds):
        """Busy time of each tenant over the same span: as divvy says, as the engine says."""
        def look():
            slices = {s["tenant"]: s for s in self.node.json("ps")["slices"]}
            return slices, self.truth()[0]
        first, engine = look()
        time.sleep(seconds)
        last, engine_last = look()
        said, true, self.sm = {}, {}, {}
        for tenant in runs:
            pid = last[tenant]["processes"][0]["pid"]
            said[tenant] = last[tenant]["busy_seconds"] - first[tenant]["busy_seconds"]
            self.sm[tenant] = engine_last[pid]["sm_ns"] - engine[pid]["sm_ns"]
            true[tenant] = (engine_last[pid]["executed_seconds"] -
                            engine[pid]["executed_seconds"])
        return said, true

    def check_walls(self, held):
        for tenant, s in held.items():
            kind = next(k for k in WALLS if tenant.startswith(k))
            self.assertEqual((s["memory_wall"], s["compute_wall"]), WALLS[kind], tenant)

    def check_shares(self, runs):
        said, true = self.rates(runs, 6)
        print("busy seconds, said and true:",
              {t: (round(said[t], 2), round(true[t], 2)) for t in sorted(runs)})
        total = sum(true[f"gov-{n}"] for n in "abc")
        for name, share in (("a", 50), ("b", 30), ("c", 20)):
            self.assertAlmostEqual(100 * true[f"gov-{name}"] / total, share, delta=8)
            self.assertAlmostEqual(said[f"gov-{name}"], true[f"gov-{name}"],
                                   delta=0.2 * true[f"gov-{name}"] + 0.1)
        turns = [true[f"slice{i}"] for i in range(4)]
        self.assertLess(max(turns), 1.3 * min(turns), "time-slices are equal turns")
        scavengers = [true[f"scav-{n}"] for n in "abc"]
        self.assertLess(max(scavengers), 1.3 * min(scavengers), "equal shares of the rest")
        # Alone on its device, each has all of it, whatever goes on beside it.
        for tenant in ["train", "strict"] + [f"mig{i}" for i in range(5)]:
            self.assertGreater(true[tenant], 0.8 * true["train"], tenant)
        # Under MPS kernels overlap: nobody waits for turns; the threads decide who has how many SMs.
        for name, share in (("a", 50), ("b", 30), ("c", 20)):
            self.assertGreater(true[f"mps-{name}"], 0.8 * true["train"])
            self.assertAlmostEqual(100 * self.sm[f"mps-{name}"] / self.sm["train"], share, delta=4)

    def check_memory(self, held):
        """Who has just come shows before it has its context, and that before its memory."""
        def used():
            truth, _ = self.truth()
            return {tenant: sum(truth[p]["memory_used_bytes"] for p in s["pids"] if p in truth)
                    for tenant, s in held.items()}
        all_used = harness.wait_for(lambda: (u := used()) and min(u.values()) > harness.GIB and u,
                                    "all have their memory")
        for tenant, s in held.items():
            if s["memory_wall"] != "none":
                self.assertLessEqual(all_used[tenant], s["memory_bytes"], tenant)

    def kill(self, runs, tenant):
        pid = self.held()[tenant]["pids"][0]
        os.kill(pid, signal.SIGKILL)
        runs.pop(tenant).wait(harness.PATIENCE)
        harness.wait_for(lambda: tenant not in self.held(), f"{tenant}'s slice is free again")

    def test_all(self):
        self.apply_and_settle(LAYOUT)
        runs = self.start_all()
        held = self.await_all(runs)
        self.assertEqual(len({held[f"mig{i}"]["profile"] for i in range(5)}), 5)
        self.check_walls(held)
        self.check_memory(held)
        harness.figures(lambda: self.check_shares(runs))

        # Two layouts change live: first somebody is in the way, then nobody.
        status, answer = self.apply(CHANGED)
        self.assertEqual((status, answer["reason"]), (409, "in_use"), answer)
        victim = answer["blockers"][0]["tenant"]
        self.assertTrue(victim.startswith("mig"), answer)
        self.kill(runs, victim)
        self.apply_and_settle(CHANGED)
        runs["slice4"] = self.spin("slice4", "--gpu", "2", "--mode", "timeslice")
        for i in range(3):
            runs[f"seventh{i}"] = self.spin(f"seventh{i}", "--gpu", "6", "--mode", "mps")
        after = self.await_all(runs)
        for tenant, s in after.items():
            if tenant in held:
                self.assertEqual((s["id"], s["pids"], s["profile"]),
                                 (held[tenant]["id"], held[tenant]["pids"],
                                  held[tenant]["profile"]), tenant)
        self.assertEqual({after[f"seventh{i}"]["memory_wall"] for i in range(3)}, {"cooperative"})

        # And once more, with nobody in the way.
        self.apply_and_settle(CHANGED + "  - {gpu: 7, mode: timeslice, replicas: 2}\n")
        runs["late"] = self.spin("late", "--gpu", "7", "--mode", "timeslice")
        later = self.await_all(runs)
        for tenant, s in after.items():
            self.assertEqual((s["id"], s["pids"]), (later[tenant]["id"], later[tenant]["pids"]))
        after = later

        # What can be killed is killed; the others run on.
        for tenant in ("gov-a", "slice1", "scav-b", "mps-c"):
            self.kill(runs, tenant)
        self.node.stop(signal.SIGKILL)
        for tenant, run in runs.items():
            self.assertIsNone(run.poll(), f"{tenant} lives without the daemon")
        self.start()
        self.settled()
        again = self.await_all(runs)
        self.assertEqual({t: s["id"] for t, s in again.items()},
                         {t: s["id"] for t, s in after.items() if t in runs})
        self.check_memory(again)
        rate = {}
        for tenant, run in runs.items():
            run.send_signal(signal.SIGINT)
            out, err = run.communicate(timeout=harness.PATIENCE)
            self.assertEqual(run.returncode, 0, err)
            answer = json.loads(out)
            rate[tenant] = answer["kernels"] / answer["elapsed_seconds"]
        print("kernels a second:", {t: round(r) for t, r in sorted(rate.items())})
        harness.wait_for(lambda: not self.node.slices(), "no slice is left")
        # The MPS daemons' own servers aside, nothing is held any more.
        harness.wait_for(lambda: all(g["memory_used_bytes"] < 2 * harness.GIB
                                     for g in self.truth()[1]), "no tenant's byte is left")


if __name__ == "__main__":
    unittest.main()
