# SPDX-License-Identifier: Apache-2.0
"""A random walk over layouts: tenants come and go, layouts change while they are there, calls into the
driver fail, the daemon and its privileged child are killed. After each step nobody was hurt who was
not to be evicted, the node is settled or failed, and what divvy says is what the driver says.

DIVVY_WALK_SEED and DIVVY_WALK_STEPS make another walk; a failure prints the seed and the step.
"""
import os
import random
import re
import signal
import subprocess
import time
import unittest

import harness
from harness import GIB
from layout_crash_test import worker_of
from layout_test import LayoutCase, layout

SEED = int(os.environ.get("DIVVY_WALK_SEED", "7"))
STEPS = int(os.environ.get("DIVVY_WALK_STEPS", "60"))
TENANTS_MAX = 7

# Of the node "mixed", by index; the last three cannot do MIG.
PROFILES = [["1g.10gb", "1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"],
            ["1g.10gb", "1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "1c.3g.40gb", "2c.3g.40gb"],
            ["1g.6gb", "1g.6gb", "2g.12gb", "4g.24gb"], [], [], []]
MODES = ["auto", "exclusive", "timeslice", "governed", "governed", "mps"]
CALLS = ["nvmlDeviceSetMigMode", "nvmlDeviceCreateGpuInstanceWithPlacement",
         "nvmlGpuInstanceCreateComputeInstanceWithPlacement", "nvmlGpuInstanceDestroy",
         "nvmlComputeInstanceDestroy", "nvmlDeviceGetGpuInstances", "nvmlDeviceGetMigMode"]
# 999 unknown, 19 in use, 3 not supported, 4 no permission, 15 lost
CODES = [999, 999, 19, 4, 15]


class Tenant:
    def __init__(self, run, held):
        self.run = run
        self.id = held["id"]
        self.pids = held["pids"]
        self.place = (held["mode"], held["profile"], held["placement_start"])


class Walk(LayoutCase):
    SIM = "mixed"

    def setUp(self):
        super().setUp()
        self.dice = random.Random(SEED)
        self.tenants = {}
        self.named = 0
        self.env = self.node.sim_env()
        self.count = {}

    def note(self, what):
        self.count[what] = self.count.get(what, 0) + 1

    # -- what is asked for

    def sharing(self):
        mode = self.dice.choice(MODES)
        more = ""
        if mode in ("timeslice", "mps", "governed") and self.dice.random() < 0.5:
            more = f", replicas: {self.dice.choice([2, 3, 4, 7])}"
        if mode == "timeslice" and self.dice.random() < 0.3:
            more += ", timeslice: short"
        return f"mode: {mode}{more}"

    def gpu_entry(self, index):
        if PROFILES[index] and self.dice.random() < 0.6:
            devices = [f"{{profile: {self.dice.choice(PROFILES[index])}, {self.sharing()}}}"
                       for _ in range(self.dice.randint(0, 3))]
            return f"{{gpu: {index}, mig: [{', '.join(devices)}]}}"
        return f"{{gpu: {index}, {self.sharing()}}}"

    def a_layout(self):
        indices = sorted(self.dice.sample(range(len(PROFILES)), self.dice.randint(1, 4)))
        return layout(*(self.gpu_entry(i) for i in indices))

    # -- tenants

    def come(self):
        tenant = f"t{self.named}"
        self.named += 1
        run = self.node.start_run("--tenant", tenant, "--no-wait", "--gpu",
                                  str(self.dice.randrange(len(PROFILES))), "--memory", "1GiB",
                                  "--mode", self.dice.choice(["auto", *MODES]), "--",
                                  harness.program("divvy-load"), "alloc", "--bytes", "64MiB",
                                  "--api", "cuMemAlloc", "--hold", "300", "-o", "json")

        def holds():
            if run.poll() is not None:
                return "refused"
            return next((s for s in self.node.slices() if s["tenant"] == tenant and s["pids"] and
                         s["memory_used_bytes"] >= 64 << 20), None)
        held = harness.wait_for(holds, f"{tenant} holds its memory, or is refused")
        if held == "refused":
            self.assertEqual(run.returncode, 125, f"{tenant}: {run.stderr.read()}")
            self.note("tenant refused")
            return
        self.tenants[tenant] = Tenant(run, held)
        self.note("tenant")

    def leave(self, tenant):
        t = self.tenants.pop(tenant)
        t.run.terminate()
        t.run.wait(harness.PATIENCE)

    def evicted(self, names):
        for tenant in names:
            self.tenants.pop(tenant).run.wait(harness.PATIENCE)
            self.note("evicted")

    # -- what must hold

    def listed(self):
        """GPU index -> UUIDs of its MIG devices, as any client of the driver sees them."""
        out = subprocess.run(["nvidia-smi", "-L"], env=self.env, text=True, capture_output=True,
                             check=False, timeout=harness.PATIENCE)
        found, index = {}, None
        for line in out.stdout.splitlines():
            gpu = re.match(r"GPU (\d+):", line)
            if gpu:
                index = int(gpu.group(1))
                found[index] = set()
            for uuid in re.findall(r"UUID: (MIG-[^)]+)\)", line):
                found[index].add(uuid)
        return found

    def agrees(self):
        listed = self.listed()
        for gpu in self.show()["gpus"]:
            shown = {d["uuid"] for d in gpu["devices"] if d["profile"]}
            if shown != listed.get(gpu["index"]):
                return False
        return True

    def nobody_is_hurt(self):
        slices = {s["tenant"]: s for s in self.node.slices()}
        self.assertEqual(set(slices), set(self.tenants))
        for tenant, t in self.tenants.items():
            s = slices[tenant]
            self.assertIsNone(t.run.poll(), f"{tenant} has ended")
            self.assertEqual((s["id"], (s["mode"], s["profile"], s["placement_start"])),
                             (t.id, t.place), tenant)
        truth = {p["pid"]: p["memory_used_bytes"]
                 for i in range(len(PROFILES)) for p in self.node.sim_stats(i)["processes"]}
        for tenant, t in self.tenants.items():
            self.assertGreaterEqual(sum(truth.get(p, 0) for p in t.pids), 64 << 20, tenant)

    def all_is_well(self):
        harness.wait_for(self.agrees, "divvy shows what the driver has")
        self.nobody_is_hurt()

    # -- a step of the walk

    def inject(self, *args):
        out = subprocess.run([harness.program("divvy-sim"), "inject", "--socket",
                              self.node.sim.removeprefix("unix:"), *args], env=harness.clean_env(),
                             text=True, capture_output=True, timeout=harness.PATIENCE, check=False)
        self.assertEqual(out.returncode, 0, out.stderr)

    def trouble(self):
        what = self.dice.random()
        if what < 0.3:
            self.inject("--nvml-error", f"{self.dice.choice(CALLS)}={self.dice.choice(CODES)}:"
                        f"{self.dice.choice([1, 1, 2, 3])}")
            self.note("driver's error")
        elif what < 0.45:
            return "daemon"
        elif what < 0.6:
            return "worker"
        return None

    def strike(self, victim):
        if not victim:
            return
        time.sleep(self.dice.random() * 0.15)
        self.note(f"{victim} killed")
        if victim == "daemon":
            self.node.stop(signal.SIGKILL)
            self.node.start()
            harness.wait_for(lambda: len(self.show()["gpus"]) == len(PROFILES), "all GPUs are known")
        else:
            pid = worker_of(self.node)
            if pid:
                os.kill(pid, signal.SIGKILL)

    def end(self, wanted):
        """Until nothing is under way; who is in the way leaves, or the change is given up."""
        until = time.monotonic() + harness.PATIENCE
        while time.monotonic() < until:
            answer = self.show()
            if answer["state"] in ("settled", "failed", "none"):
                return answer
            blockers = {b["tenant"] for g in answer["gpus"] for b in g["blockers"]}
            if answer["state"] == "draining" and blockers & set(self.tenants):
                if self.dice.random() < 0.3:
                    self.note("given up")
                    self.node.ask("POST", "/v1/layout/undo", {"when": "wait"})
                else:
                    self.leave(self.dice.choice(sorted(blockers & set(self.tenants))))
            time.sleep(0.03)
        raise AssertionError(f"it does not end: {answer}")

    def change(self):
        text = self.a_layout()
        when = self.dice.choice(["idle", "idle", "wait", "evict"])
        before = [(g["index"], g["state"], sorted(d["uuid"] for d in g["devices"]))
                  for g in self.show()["gpus"]]
        _, plan = self.node.ask("POST", "/v1/layout/plan", {"text": text})
        blockers = {b["tenant"] for g in plan.get("gpus", []) for b in g["blockers"]}
        victim = self.trouble()
        if self.dice.random() < 0.2:
            status, answer = self.node.ask("POST", "/v1/layout/undo", {"when": when})
            text, blockers = None, {b["tenant"] for b in answer.get("blockers", [])}
            self.note(f"undo {status}")
        else:
            status, answer = self.apply(text, when=when)
            self.note(f"{when} {status}")
        if status == 409:
            now = [(g["index"], g["state"], sorted(d["uuid"] for d in g["devices"]))
                   for g in self.show()["gpus"]]
            self.assertEqual(now, before, "what is refused changes nothing")
            self.assertIn(answer["reason"], ("in_use", "infeasible", "nothing"))
        else:
            self.assertIn(status, (200, 202), answer)
        self.strike(victim)
        gone = set()
        if when == "evict" and status != 409:
            answer = self.evict_all(victim == "daemon")
            gone = {t for t, x in self.tenants.items() if x.id not in
                    {s["id"] for s in self.node.slices()}}
            if text:
                self.assertLessEqual(gone, blockers)
            self.evicted(gone)
        answer = self.end(text)
        self.note(answer["state"])
        self.inject("--clear")
        if answer["state"] == "settled" and text and not self.count.pop("given up now", 0) and \
                status != 409 and answer["sources"] and answer["generation"]:
            self.is_as_wanted(text, answer)

    def evict_all(self, forgets):
        """Waits until those are gone who were to go; a kill of the daemon makes it forget that."""
        def over():
            answer = self.show()
            return answer if answer["state"] in ("settled", "failed", "none") or \
                time.monotonic() > end else None
        end = time.monotonic() + (8 if forgets else harness.PATIENCE / 2)
        return harness.wait_for(over, "the evicted end")

    def is_as_wanted(self, text, answer):
        status, plan = self.node.ask("POST", "/v1/layout/plan", {"text": text})
        if status == 200 and any(s["name"] == "test.yaml" for s in answer["sources"]):
            self.note("checked")
            wrong = [s["text"] for g in plan["gpus"] for s in g["steps"]]
            if wrong and self.count.get("given up"):
                return  # an undo in between
            self.assertEqual(wrong, [], text)

    def test_walk(self):
        step = 0
        try:
            for step in range(STEPS):
                while len(self.tenants) < TENANTS_MAX and self.dice.random() < 0.4:
                    self.come()
                if self.tenants and self.dice.random() < 0.4:
                    self.leave(self.dice.choice(sorted(self.tenants)))
                self.change()
                self.all_is_well()
        except BaseException:
            print("".join(self.node.log().splitlines(True)[-120:]))
            print(f"seed {SEED}, step {step}: {self.count}")
            raise
        print(f"seed {SEED}: {self.count}")
        for tenant in sorted(self.tenants):
            self.leave(tenant)
        self.apply(layout("{gpu: all, mode: auto}"), when="evict")
        self.settled()
        self.all_is_well()
        self.assertEqual(self.listed(), {i: set() for i in range(len(PROFILES))})
        harness.wait_for(lambda: all(self.node.sim_stats(i)["memory_used_bytes"] < GIB
                                     for i in range(len(PROFILES))), "nobody's byte is left")


if __name__ == "__main__":
    unittest.main()
