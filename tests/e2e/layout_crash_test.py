# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the daemon, or of its privileged child, after each step of each kind of change: it ends
in the old layout or the new one, and a tenant who was there is unhurt.

Each call that changes the driver is made to take a while, so that the death comes in the middle of
one; whether the call had its effect by then is the driver's affair, and both must do.
"""
import os
import signal
import subprocess
import time
import unittest

import harness
from layout_test import LayoutCase, layout

SLOW = ["nvmlDeviceSetMigMode", "nvmlDeviceCreateGpuInstance",
        "nvmlDeviceCreateGpuInstanceWithPlacement", "nvmlGpuInstanceCreateComputeInstance",
        "nvmlGpuInstanceCreateComputeInstanceWithPlacement", "nvmlGpuInstanceDestroy",
        "nvmlComputeInstanceDestroy"]
SLOW_MS = 300

WHOLE = layout("{gpu: 0, mode: governed}")
CUT = layout("{gpu: 0, mig: [1g.10gb, 3g.40gb]}")
RECUT = layout("{gpu: 0, mig: [1g.10gb, {profile: 2g.20gb, mode: governed}]}")
MPS = layout("{gpu: 0, mode: mps, replicas: 4}")
TURNS = layout("{gpu: 0, mode: timeslice, replicas: 4, timeslice: short}")
LONG = layout("{gpu: 0, mode: timeslice, replicas: 4, timeslice: long}")
MPS_INSIDE = layout("{gpu: 0, mig: [{profile: 3g.40gb, mode: mps, replicas: 2}]}")

# from, to, who is there meanwhile (arguments of divvy run), how many steps at least
CHANGES = {
    "whole to MIG": (WHOLE, CUT, None, 3),
    "MIG to MIG beside a tenant": (CUT, RECUT, ("--gpu", "0", "--mode", "exclusive"), 4),
    "MIG to whole": (CUT, WHOLE, None, 3),
    "governed to MPS": (WHOLE, MPS, None, 0),
    "MPS to time-slices": (MPS, TURNS, None, 0),
    "longer time-slices": (TURNS, LONG, ("--gpu", "0", "--mode", "timeslice"), 1),
    "MPS to MPS inside MIG": (MPS, MPS_INSIDE, None, 3),
}


def helper_of(node, name):
    """The pid of one of the daemon's two other processes."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                if f.read().startswith(name) and os.getpgid(int(pid)) == node.daemon.pid:
                    return int(pid)
        except (OSError, ProcessLookupError):
            continue
    return None


def worker_of(node):
    return helper_of(node, "divvyd-hardwar")


class Crash(LayoutCase):
    def steps_done(self, since):
        return self.node.log()[since:].count(" layout.step gpu=")

    def worker(self):
        return worker_of(self.node)

    def slow(self, on):
        socket = self.node.sim_socket()
        if not on:
            self.node.divvy_sim("inject", "--socket", socket, "--clear")
            return
        for name in SLOW:
            out = self.node.divvy_sim("inject", "--socket", socket, "--nvml-hang",
                                      f"{name}={SLOW_MS}")
            self.assertEqual(out.returncode, 0, out.stderr)

    def shape(self):
        return sorted((d["profile"], d["layout_mode"], d["replicas"] or 0)
                      for d in self.gpu(0)["devices"])

    def begin(self, wanted):
        status, answer = self.apply(wanted)
        self.assertIn(status, (200, 202), answer)

    def begin_undo(self, wanted):
        status, answer = self.node.ask("POST", "/v1/layout/undo", {})
        self.assertIn(status, (200, 202), answer)

    def end(self):
        return harness.wait_for(
            lambda: (lambda a: a if a["state"] in ("settled", "failed") else None)(self.show()),
            "the change ends")

    def die(self, victim, after, since):
        """Once so many steps are done; in the middle of the next. False: the change was over."""
        def there():
            return self.steps_done(since) >= after or self.show()["state"] in ("settled", "failed")
        harness.wait_for(there, f"{after} steps are done")
        time.sleep(SLOW_MS / 3000)
        if victim == "daemon":
            self.node.stop(signal.SIGKILL)
            return
        if victim == "keeper":
            # Nobody is left to start a worker: it is said, and a restart goes on.
            os.kill(helper_of(self.node, "divvyd-keeper"), signal.SIGKILL)
            harness.wait_for(lambda: any(f["code"] == "keeper_gone" for f in self.node.ask(
                "GET", "/v1/doctor")[1]["findings"]), "the doctor says so")
            self.node.stop()
            return
        pid = self.worker()
        if pid:
            os.kill(pid, signal.SIGKILL)

    def one(self, name, victim, after, undo=False):
        before, wanted, tenant, _ = CHANGES[name]
        if undo:
            self.apply_and_settle(wanted, when="evict")
        self.apply_and_settle(before, when="evict")
        old = self.shape()
        run, held = self.hold("--tenant", "ann", *tenant, gib=5) if tenant else (None, None)
        self.slow(True)
        since = len(self.node.log())
        (self.begin_undo if undo else self.begin)(wanted)
        self.die(victim, after, since)
        self.recover(victim)
        answer = self.end()
        new = self.expected(wanted)
        self.assertIn(self.shape(), (old, new), f"{name}: {answer}")
        if answer["state"] == "settled":
            self.assertEqual(self.shape(), new)
        if run:
            self.unhurt(run, held)
            run.terminate()
            run.wait(harness.PATIENCE)

    def recover(self, victim):
        if victim in ("daemon", "keeper"):
            # Without a daemon nothing answers for the injected delays: end them by hand.
            subprocess.run([harness.program("divvy-sim"), "inject", "--socket",
                            self.node.sim.removeprefix("unix:"), "--clear"], check=True,
                           env=harness.clean_env(), timeout=harness.PATIENCE)
            self.start()
        else:
            self.slow(False)

    def expected(self, text):
        """What the layout looks like when nothing goes wrong; learnt once."""
        return self.shapes[text]

    def learn(self):
        self.shapes = {}
        for text in (WHOLE, CUT, RECUT, MPS, TURNS, LONG, MPS_INSIDE):
            self.apply_and_settle(text, when="evict")
            self.shapes[text] = self.shape()

    def check(self, victim):
        self.learn()
        for name, (_, _, _, steps) in CHANGES.items():
            for after in range(steps + 1):
                with self.subTest(change=name, victim=victim, after=after):
                    self.one(name, victim, after)

    def test_daemon(self):
        self.check("daemon")

    def test_privileged_child(self):
        self.check("worker")

    def test_keeper(self):
        self.learn()
        for name, after in (("whole to MIG", 1), ("MPS to time-slices", 0)):
            with self.subTest(change=name):
                self.one(name, "keeper", after)

    def test_undo(self):
        self.learn()
        for name, after in (("MIG to MIG beside a tenant", 2), ("MIG to whole", 1),
                            ("longer time-slices", 0), ("MPS to time-slices", 0)):
            for victim in ("daemon", "worker"):
                with self.subTest(change=name, victim=victim):
                    self.one(name, victim, after, undo=True)

    def test_way_back(self):
        """A step fails, and whoever leads the GPU back dies on the way."""
        self.learn()
        for victim in ("daemon", "worker"):
            for after in range(3):
                with self.subTest(victim=victim, after=after):
                    self.apply_and_settle(CUT, when="evict")
                    old = self.shape()
                    run, held = self.hold("--tenant", "ann", "--gpu", "0", "--mode", "exclusive",
                                          gib=5)
                    self.slow(True)
                    self.node.divvy_sim("inject", "--socket", self.node.sim_socket(),
                                        "--nvml-error",
                                        "nvmlGpuInstanceCreateComputeInstanceWithPlacement=999:1")
                    self.begin(RECUT)
                    harness.wait_for(lambda: self.show()["state"] in ("rolling_back", "failed"),
                                     "it turns round")
                    self.die(victim, after, len(self.node.log()))
                    self.recover(victim)
                    answer = self.end()
                    self.assertEqual((answer["state"], self.shape()), ("failed", old), answer)
                    self.unhurt(run, held)
                    run.terminate()
                    run.wait(harness.PATIENCE)


if __name__ == "__main__":
    unittest.main()
