# SPDX-License-Identifier: Apache-2.0
"""Layouts, changed live: what is in use stays or is waited for, other GPUs never notice, and whatever
goes wrong half-way ends in the old layout or the new one."""
import os
import signal
import sqlite3
import subprocess
import threading
import unittest

import harness
from harness import GIB

FIVE = """
apiVersion: divvy/v1
kind: Layout
gpus:
  - gpu: 0
    mig:
      - {profile: 2g.20gb, mode: exclusive}
      - {profile: 1g.20gb, mode: governed}
      - {profile: 1g.10gb, mode: exclusive}
      - {profile: 1g.10gb+me, mode: exclusive}
"""


def layout(*gpus):
    return "apiVersion: divvy/v1\nkind: Layout\ngpus:\n" + "".join(f"  - {g}\n" for g in gpus)


class LayoutCase(unittest.TestCase):
    SIM = "dgx-a100"

    def setUp(self):
        """The GPUs outlive the daemon, as real ones do: a simulator of its own."""
        self.node = harness.Node(self.SIM)
        self.addCleanup(self.node.close)
        socket = os.path.join(self.node.directory, "sim.sock")
        self.sim = subprocess.Popen([harness.program("divvy-sim"), "start", self.SIM,
                                     "--foreground", "--socket", socket], env=harness.clean_env(),
                                    stdin=subprocess.DEVNULL)
        self.addCleanup(self.end_sim)
        harness.wait_for(lambda: os.path.exists(socket), "the simulator listens")
        self.node.sim = "unix:" + socket
        self.start()

    def start(self):
        self.node.start()

    def end_sim(self):
        self.sim.terminate()
        self.sim.wait(harness.PATIENCE)

    def tearDown(self):
        result = self._outcome.result
        if any(test is self for test, _ in result.failures + result.errors):
            print("".join(self.node.log().splitlines(True)[-60:]))

    # -- layouts

    def show(self):
        return self.node.ask("GET", "/v1/layout")[1]

    def gpu(self, index):
        return self.show()["gpus"][index]

    def apply(self, text, **more):
        return self.node.ask("POST", "/v1/layout/apply", {"name": "test.yaml", "text": text, **more})

    def settled(self, state="settled"):
        def done():
            answer = self.show()
            return answer if answer["state"] not in ("draining", "changing", "rolling_back") else None
        answer = harness.wait_for(done, "the layout is settled")
        self.assertEqual(answer["state"], state, answer)
        return answer

    def apply_and_settle(self, text, **more):
        status, answer = self.apply(text, **more)
        self.assertIn(status, (200, 202), answer)
        return self.settled()

    def devices(self, index):
        return {d["uuid"]: (d["profile"], d["placement_start"], d["layout_mode"], d["replicas"])
                for d in self.gpu(index)["devices"]}

    def hold(self, *args, gib=1):
        """A tenant that holds a slice until it is ended."""
        before = {s["id"] for s in self.node.slices()}
        run = self.node.start_run(*args, "--", harness.program("divvy-load"), "alloc", "--bytes",
                                  f"{gib}GiB", "--api", "cuMemAlloc", "--hold", "300", "-o", "json")

        def holds():
            if run.poll() is not None:
                raise AssertionError(f"divvy run ended: {run.stderr.read()}")
            return next((s for s in self.node.slices() if s["id"] not in before and
                         s["memory_used_bytes"] >= gib * GIB), None)
        return run, harness.wait_for(holds, "a tenant holds its memory")

    def unhurt(self, run, held):
        """The tenant runs on, on the same device, with what it had."""
        self.assertIsNone(run.poll())
        now = next(s for s in self.node.slices() if s["id"] == held["id"])
        for key in ("tenant", "memory_bytes", "profile", "placement_start", "mode"):
            self.assertEqual(now[key], held[key], key)
        harness.wait_for(lambda: next(s for s in self.node.slices() if s["id"] == held["id"])
                         ["memory_used_bytes"] >= held["memory_used_bytes"], "it has its memory")


class Layouts(LayoutCase):
    def test_modes_of_four_gpus(self):
        text = FIVE + "".join(f"  - {g}\n" for g in (
            "{gpu: 1, mode: timeslice, replicas: 4}", "{gpu: 2, mode: governed}",
            "{gpu: 3, mode: exclusive}"))
        status, plan = self.node.ask("POST", "/v1/layout/plan", {"name": "five.yaml", "text": text})
        self.assertEqual(status, 200, plan)
        self.assertTrue(plan["changes"])
        self.assertEqual([g["created"] for g in plan["gpus"][:4]], [4, 0, 0, 0])
        self.assertEqual(self.show()["state"], "none", "a plan changes nothing")
        answer = self.apply_and_settle(text)
        self.assertEqual([d["profile"] for d in sorted(answer["gpus"][0]["devices"],
                                                       key=lambda d: d["placement_start"])].count(
                                                           "1g.10gb"), 1)
        self.assertEqual(len(answer["gpus"][0]["devices"]), 4)
        self.assertEqual([g["devices"][0]["layout_mode"] for g in answer["gpus"][1:5]],
                         ["timeslice", "governed", "exclusive", "auto"])
        self.assertFalse(answer["gpus"][4]["managed"])
        # Again: nothing to do.
        self.assertEqual(self.apply(text)[0], 200)
        status, plan = self.node.ask("POST", "/v1/layout/plan", {"text": text})
        self.assertFalse(plan["changes"], plan)

    def test_in_use_stays(self):
        self.apply_and_settle(layout("{gpu: 0, mig: [1g.10gb, 1g.10gb, 3g.40gb]}"))
        run, held = self.hold("--tenant", "ann", "--gpu", "0", "--mode", "exclusive", gib=5)
        self.assertEqual(held["profile"], "1g.10gb")
        # What ann holds is wanted still: nobody is in the way, and she never notices.
        text = layout("{gpu: 0, mig: [1g.10gb, 2g.20gb, 2g.20gb]}")
        status, plan = self.node.ask("POST", "/v1/layout/plan", {"text": text})
        self.assertEqual((plan["gpus"][0]["blockers"], plan["gpus"][0]["kept"]), ([], 1), plan)
        self.apply_and_settle(text)
        self.unhurt(run, held)
        # What she holds is not wanted: refused, with her name; nothing is changed.
        status, answer = self.apply(layout("{gpu: 0, mode: timeslice, replicas: 4}"))
        self.assertEqual((status, answer["reason"]), (409, "in_use"), answer)
        self.assertEqual([b["tenant"] for b in answer["blockers"]], ["ann"])
        self.unhurt(run, held)
        self.assertEqual(len(self.devices(0)), 3)

    def test_drain(self):
        self.apply_and_settle(layout("{gpu: 0, mode: timeslice, replicas: 4}",
                                     "{gpu: 1, mode: timeslice, replicas: 4}"))
        ann, held = self.hold("--tenant", "ann", "--gpu", "0")
        self.assertEqual((held["mode"], held["memory_wall"]), ("timeslice", "none"))
        text = layout("{gpu: 0, mig: [3g.40gb, 3g.40gb]}", "{gpu: 1, mig: [7g.80gb]}")
        status, answer = self.apply(text, when="wait")
        self.assertEqual(status, 202, answer)
        # GPU 1 is free and goes ahead; GPU 0 takes nobody new and waits for ann.
        harness.wait_for(lambda: self.gpu(1)["state"] == "settled", "GPU 1 is cut")
        self.assertEqual(self.gpu(0)["state"], "draining")
        self.assertTrue(self.gpu(0)["devices"][0]["draining"])
        # What only waits gives way; without a word about those in the way nothing is changed.
        self.assertEqual(self.apply(text)[1]["reason"], "in_use")
        self.assertEqual(self.gpu(0)["state"], "draining")
        late = self.node.divvy("run", "--gpu", "0", "--mode", "timeslice", "--no-wait", "true")
        self.assertEqual(late.returncode, 125, late.stderr)
        self.unhurt(ann, held)
        ann.terminate()
        ann.wait(harness.PATIENCE)
        self.settled()
        self.assertEqual(len(self.devices(0)), 2)

    def test_deadline(self):
        self.apply_and_settle(layout("{gpu: 0, mode: governed}"))
        ann, held = self.hold("--tenant", "ann", "--gpu", "0", "--memory", "10GiB")
        self.apply(layout("{gpu: 0, mig: [7g.80gb]}"), when="wait", timeout_seconds=1)
        answer = self.settled("failed")
        self.assertIn("in the way", answer["gpus"][0]["detail"])
        self.unhurt(ann, held)
        device = self.gpu(0)["devices"][0]
        self.assertEqual((device["layout_mode"], device["draining"]), ("governed", False))
        _, second = self.hold("--tenant", "bob", "--gpu", "0", "--memory", "10GiB")
        self.assertEqual(second["mode"], "governed")

    def test_give_up_waiting(self):
        self.apply_and_settle(layout("{gpu: 0, mode: governed}"))
        ann, held = self.hold("--tenant", "ann", "--gpu", "0", "--memory", "10GiB")
        cut = layout("{gpu: 0, mig: [7g.80gb]}")
        self.assertEqual(self.apply(cut, when="wait")[0], 202)
        self.assertEqual(self.gpu(0)["state"], "draining")
        status, answer = self.node.ask("POST", "/v1/layout/undo", {})
        self.assertEqual(status, 200, answer)
        device = self.gpu(0)["devices"][0]
        self.assertEqual((device["layout_mode"], device["draining"]), ("governed", False))
        self.unhurt(ann, held)
        # Once more, and then in a hurry; the same file again does not make undo forget.
        self.assertEqual(self.apply(cut, when="wait")[0], 202)
        self.assertEqual(self.apply(cut, when="evict")[0], 202)
        self.settled()
        ann.wait(harness.PATIENCE)
        self.assertEqual([d[0] for d in self.devices(0).values()], ["7g.80gb"])
        self.node.ask("POST", "/v1/layout/undo", {})
        self.settled()
        self.assertEqual([d[2] for d in self.devices(0).values()], ["governed"])

    def test_evict_what_was_let_go(self):
        """A slice that was given back while its process stays is in the way like any other."""
        self.apply_and_settle(layout("{gpu: 0, mode: governed}"))
        ann, held = self.hold("--tenant", "ann", "--gpu", "0", "--memory", "10GiB")
        self.assertEqual(self.node.ask("DELETE", "/v1/claims/" + held["id"])[0], 200)
        self.assertIsNone(ann.poll())
        self.assertEqual(self.apply(layout("{gpu: 0, mig: [7g.80gb]}"), when="evict")[0], 202)
        self.settled()
        ann.wait(harness.PATIENCE)

    def test_evict_the_deaf(self):
        """SIGTERM is not heard; SIGKILL is. With a deadline before that, nothing is changed."""
        self.apply_and_settle(layout("{gpu: 0, mode: governed}"))
        deaf = ["sh", "-c", "trap '' TERM; " + harness.program("divvy-load") +
                " alloc --bytes 1GiB --api cuMemAlloc --hold 300"]
        ann = self.node.start_run("--tenant", "ann", "--gpu", "0", "--memory", "10GiB", "--", *deaf)
        harness.wait_for(lambda: any(s["memory_used_bytes"] >= GIB for s in self.node.slices()),
                         "the deaf tenant holds its memory")
        self.assertEqual(self.apply(layout("{gpu: 0, mig: [7g.80gb]}"), when="evict")[0], 202)
        self.settled()
        ann.wait(harness.PATIENCE)
        self.assertEqual([d[0] for d in self.devices(0).values()], ["7g.80gb"])

    def test_changed_by_somebody_else(self):
        text = layout("{gpu: 0, mig: [1g.10gb, {profile: 3g.40gb, mode: governed}]}")
        self.apply_and_settle(text)
        self.assertIsNone(self.gpu(0)["detail"])
        env = self.node.sim_env()
        def smi(*args):
            out = subprocess.run(["nvidia-smi", "mig", "-i", "0", *args], env=env, text=True,
                                 capture_output=True, check=False, timeout=harness.PATIENCE)
            self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
        smi("-cgi", "1g.10gb", "-C")
        harness.wait_for(lambda: len(self.devices(0)) == 3, "the foreign device shows")
        harness.wait_for(lambda: "not as the layout" in (self.gpu(0)["detail"] or ""), "it is said")
        finding = next(f for f in self.node.ask("GET", "/v1/doctor")[1]["findings"]
                       if f["code"] == "layout_differs")
        self.assertIn("1g.10gb", finding["cause"])
        self.assertEqual(self.gpu(0)["state"], "settled", "divvy does not fight")
        self.assertEqual(len(self.devices(0)), 3)
        self.apply_and_settle(text)
        self.assertEqual(len(self.devices(0)), 2)
        self.assertIsNone(self.gpu(0)["detail"])

    def test_used_by_somebody_else(self):
        """A process that divvy knows nothing of is not hurt either: the driver says no."""
        text = layout("{gpu: 0, mig: [1g.10gb, 3g.40gb]}")
        self.apply_and_settle(text)
        before = sorted(d[:3] for d in self.devices(0).values())
        uuid = next(u for u, d in self.devices(0).items() if d[0] == "3g.40gb")
        env = dict(self.node.sim_env(), CUDA_VISIBLE_DEVICES=uuid)
        with subprocess.Popen([harness.program("divvy-load"), "alloc", "--bytes", "1GiB", "--api",
                               "cuMemAlloc", "--hold", "300"], env=env,
                              stdout=subprocess.DEVNULL) as stranger:
            try:
                harness.wait_for(lambda: self.node.sim_stats(0)["memory_used_bytes"] >= GIB,
                                 "the stranger is there")
                for when in ("idle", "evict"):
                    self.apply(layout("{gpu: 0, mode: governed}"), when=when)
                    answer = self.settled("failed")
                    self.assertIn("use", answer["gpus"][0]["detail"])
                    self.assertEqual(sorted(d[:3] for d in self.devices(0).values()), before)
                self.assertIsNone(stranger.poll())
            finally:
                stranger.kill()

    def test_undo_to_nothing(self):
        """Where no layout means a GPU any more, it is left to others, also by a restart."""
        self.apply_and_settle(layout("{gpu: 0, mig: [1g.10gb]}"))
        self.node.ask("POST", "/v1/layout/undo", {})
        harness.wait_for(lambda: self.show()["state"] == "none", "nothing is wanted")
        self.assertFalse(self.gpu(0)["managed"])
        subprocess.run(["nvidia-smi", "-i", "0", "-mig", "1"], env=self.node.sim_env(), check=True,
                       stdout=subprocess.DEVNULL, timeout=harness.PATIENCE)
        self.node.stop(signal.SIGKILL)
        self.start()
        self.assertTrue(self.gpu(0)["mig_enabled"])
        self.assertEqual(self.show()["state"], "none")
        # But an undo of that undo is still known.
        self.assertIn(self.node.ask("POST", "/v1/layout/undo", {})[0], (200, 202))
        self.settled()
        self.assertEqual([d[0] for d in self.devices(0).values()], ["1g.10gb"])

    def test_no_room_to_remember(self):
        """What cannot be kept is not done."""
        self.apply_and_settle(layout("{gpu: 0, mode: governed}"))
        before = self.show()
        db = sqlite3.connect(os.path.join(self.node.state, "divvyd.db"), isolation_level=None)
        db.execute("BEGIN IMMEDIATE")  # nobody else can write
        try:
            status, answer = self.apply(layout("{gpu: 0, mig: [7g.80gb]}"))
            self.assertEqual((status, answer["kind"]), (500, "Error"), answer)
        finally:
            db.execute("ROLLBACK")
            db.close()
        after = self.show()
        for key in ("state", "generation", "sources"):
            self.assertEqual(after[key], before[key])
        self.assertEqual([d[2] for d in self.devices(0).values()], ["governed"])
        self.apply_and_settle(layout("{gpu: 0, mig: [7g.80gb]}"))

    def test_driver_that_hangs(self):
        """While nothing is known of the GPU nothing is done to it; afterwards it goes on."""
        self.apply_and_settle(layout("{gpu: 0, mode: governed}"))
        def inject(*args):
            out = self.node.divvy_sim("inject", "--socket", self.node.sim.removeprefix("unix:"),
                                      *args)
            self.assertEqual(out.returncode, 0, out.stderr)
        inject("--nvml-hang", "*=0")
        status, answer = self.apply(layout("{gpu: 0, mig: [7g.80gb]}"))
        self.assertEqual(status, 202, answer)
        harness.wait_for(lambda: self.node.json("status")["driver"]["state"] == "wedged",
                         "the driver is wedged")
        inject("--clear")
        self.settled()
        self.assertEqual([d[0] for d in self.devices(0).values()], ["7g.80gb"])

    def test_gpu_off_the_bus(self):
        self.apply_and_settle(layout("{gpu: 0, mode: governed}", "{gpu: 1, mode: governed}"))
        out = self.node.divvy_sim("inject", "--socket", self.node.sim_socket(), "--gpu", "0",
                                  "--xid", "79")
        self.assertEqual(out.returncode, 0, out.stderr)
        text = layout("{gpu: 0, mig: [7g.80gb]}", "{gpu: 1, mig: [7g.80gb]}")
        status, answer = self.apply(text)
        self.assertIn(status, (200, 202), answer)
        answer = self.settled("failed")
        self.assertEqual([g["state"] for g in answer["gpus"][:2]], ["failed", "settled"], answer)
        self.node.divvy_sim("inject", "--socket", self.node.sim_socket(), "--clear")
        harness.wait_for(lambda: self.apply(text)[0] in (200, 202), "it can be asked for again")
        self.settled()
        self.assertEqual([d[0] for d in self.devices(0).values()], ["7g.80gb"])

    def test_evict(self):
        self.apply_and_settle(layout("{gpu: 0, mode: governed}"))
        ann, _ = self.hold("--tenant", "ann", "--gpu", "0", "--memory", "10GiB")
        other, held = self.hold("--tenant", "bob", "--gpu", "1", "--memory", "10GiB")
        status, answer = self.apply(layout("{gpu: 0, mig: [7g.80gb]}"), when="evict")
        self.assertEqual(status, 202, answer)
        self.settled()
        ann.wait(harness.PATIENCE)
        self.assertEqual([d[0] for d in self.devices(0).values()], ["7g.80gb"])
        self.unhurt(other, held)

    def test_undo(self):
        first = layout("{gpu: 0, mig: [1g.10gb, 1g.10gb]}")
        self.apply_and_settle(first)
        before = self.devices(0)
        self.apply_and_settle(layout("{gpu: 0, mode: governed}"))
        status, _ = self.node.ask("POST", "/v1/layout/undo", {})
        self.assertIn(status, (200, 202))
        self.settled()
        after = self.devices(0)
        self.assertEqual(sorted(d[:3] for d in after.values()),
                         sorted(d[:3] for d in before.values()))
        # And back to nothing: what no file means goes to what it was.
        status, _ = self.node.ask("POST", "/v1/layout/undo", {})
        self.assertIn(status, (200, 202))
        self.settled()
        self.assertEqual([d[2] for d in self.devices(0).values()], ["governed"])

    def test_mps_and_back_at_once(self):
        """The change that stops a daemon is over before anybody has looked; then it is wanted."""
        mps, other = layout("{gpu: 0, mode: mps, replicas: 4}"), layout("{gpu: 0, mode: governed}")
        self.apply_and_settle(mps)
        for text in (other, mps, other, mps):
            self.apply_and_settle(text)
        self.assertTrue(self.gpu(0)["devices"][0]["mps_up"])

    def test_rollback(self):
        old = layout("{gpu: 0, mig: [{profile: 2g.20gb, start: 2}, {profile: 1g.10gb, start: 0}]}")
        self.apply_and_settle(old)
        ann, held = self.hold("--tenant", "ann", "--gpu", "0", "--mode", "exclusive", gib=5)
        before = sorted(d[:3] for d in self.devices(0).values())
        out = self.node.divvy_sim("inject", "--socket", self.node.sim_socket(), "--gpu", "0",
                                  "--nvml-error",
                                  "nvmlGpuInstanceCreateComputeInstanceWithPlacement=999:1")
        self.assertEqual(out.returncode, 0, out.stderr)
        status, answer = self.apply(layout("{gpu: 0, mig: [1g.10gb, 3g.40gb]}"))
        self.assertEqual(status, 202, answer)
        answer = self.settled("failed")
        self.assertIn("999", answer["gpus"][0]["detail"])
        self.unhurt(ann, held)
        self.assertEqual(sorted(d[:3] for d in self.devices(0).values()), before)

    def test_config_at_start(self):
        path = os.path.join(self.node.directory, "node.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(layout("{gpu: 0, mig: [1g.10gb]}"))
        self.node.stop()
        self.node.args = ["--config", path]
        self.start()
        self.settled()
        self.assertEqual([d[0] for d in self.devices(0).values()], ["1g.10gb"])
        # What was changed live since survives a restart with the same file.
        self.apply_and_settle(layout("{gpu: 0, mig: [2g.20gb]}"))
        self.node.stop(signal.SIGKILL)
        self.start()
        self.settled()
        self.assertEqual([d[0] for d in self.devices(0).values()], ["2g.20gb"])
        self.node.stop()
        with open(path, "w", encoding="utf-8") as f:
            f.write("apiVersion: divvy/v1\nkind: Layout\ngpus:\n  - {gpu: 0, mod: governed}\n")
        daemon = self.node.spawn_daemon()
        self.assertEqual(daemon.wait(harness.PATIENCE), 2)
        self.assertIn("node.yaml:4", self.node.log())
        self.assertIn("mode", self.node.log())
        # A file that has changed counts also when the GPUs have lost everything meanwhile.
        with open(path, "w", encoding="utf-8") as f:
            f.write(layout("{gpu: 0, mig: [3g.40gb]}", "{gpu: 1, mig: [1g.10gb]}"))
        self.node.divvy_sim("inject", "--socket", self.node.sim.removeprefix("unix:"), "--gpu", "0",
                            "--reset")
        self.start()
        self.settled()
        self.assertEqual([d[0] for d in self.devices(0).values()], ["3g.40gb"])
        self.node.stop()
        with open(path, "w", encoding="utf-8") as f:
            f.write(layout("{gpu: 9, mode: governed}"))
        self.node.start()
        harness.wait_for(lambda: self.show()["detail"], "the layout is refused")
        self.assertIn('no GPU "9"', self.show()["detail"])

    def test_whole_node(self):
        """Eight GPUs at once, 56 devices; two appliers; the most of everything."""
        cut = layout("{gpu: all, mig: [" + ", ".join(["{profile: 1g.10gb, mode: governed}"] * 7) +
                     "]}")
        other = layout("{gpu: all, mode: timeslice, replicas: 256}")
        answers = []
        appliers = [threading.Thread(target=lambda t=text: answers.append(self.apply(t)))
                    for text in (cut, other)]
        for a in appliers:
            a.start()
        for a in appliers:
            a.join()
        statuses = sorted(status for status, _ in answers)
        # The second comes while steps of the first are under way, or after all of it.
        self.assertTrue(set(statuses) <= {200, 202, 409}, answers)
        self.assertTrue(all(a["reason"] == "busy" for s, a in answers if s == 409), answers)
        self.settled()
        answer = self.apply_and_settle(cut)
        self.assertEqual([len(g["devices"]) for g in answer["gpus"]], [7] * 8)
        self.assertEqual({d["layout_mode"] for g in answer["gpus"] for d in g["devices"]},
                         {"governed"})
        # As long as a file may be; one byte more is not read.
        long = cut + "#" + "x" * ((512 << 10) - len(cut) - 2) + "\n"
        self.assertEqual(self.apply(long)[0], 200)
        status, answer = self.apply(long + "#")
        self.assertEqual(status, 400, answer)
        status, answer = self.apply(layout(*["{gpu: all, mode: governed}"] * 1000))
        self.assertEqual((status, answer["reason"]), (400, "bad_layout"), answer)
        answer = self.apply_and_settle(other)
        self.assertEqual([d["replicas"] for g in answer["gpus"] for d in g["devices"]], [256] * 8)
        self.assertEqual(self.apply(layout("{gpu: 0, mode: timeslice, replicas: 257}"))[0], 400)

    def test_a_rule_without_effect_is_said(self):
        self.apply_and_settle(layout("{gpu: all, mig: [7g.80gb]}"))
        shares = "version: v1\nsharing:\n  timeSlicing:\n    renameByDefault: true\n" \
                 "    failRequestsGreaterThanOne: true\n" \
                 "    resources:\n    - {name: nvidia.com/gpu, replicas: 4}\n"
        _, plan = self.node.ask("POST", "/v1/layout/plan", {"text": shares})
        self.assertEqual([(w["line"], w["text"]) for w in plan["warnings"]],
                         [(7, "no device of this node is a whole GPU, so this has no effect here")])
        shares = shares.replace("nvidia.com/gpu", "nvidia.com/mig-7g.80gb") \
            .replace("sharing:", "flags: {migStrategy: mixed}\nsharing:")
        _, plan = self.node.ask("POST", "/v1/layout/plan", {"text": shares})
        self.assertEqual(plan["warnings"], [])

    def test_bad_input(self):
        cases = [
            (layout("{gpu: 0, mig: [3g.40gb, 3g.40gb, 3g.40gb, 3g.40gb]}"), 409,
             "4 are asked of 2 such instances"),
            (layout("{gpu: 0, mode: timeslice, replicas: 0}"), 400, "replicas"),
            (layout("{gpu: 0, mode: timeslice, replicas: 1}"), None, "replicas"),
            (layout("{gpu: 0, mode: mps, replicas: 49}"), 409, "at most 48"),
            (layout("{gpu: 0, modus: mps}"), 400, "mode"),
            (layout("{gpu: 0, mode: mps}", "{gpu: 0, mode: governed}"), 400, "0"),
            (layout("{gpu: 11, mode: mps}"), 409, 'no GPU "11"'),
            ("", 400, ""),
            ("{]", 400, ""),
        ]
        for text, wanted, words in cases:
            status, answer = self.apply(text)
            with self.subTest(text=text):
                self.assertIn(status, (wanted,) if wanted else (400, 409), answer)
                self.assertIn(words, answer["message"])
        self.assertEqual(self.show()["state"], "none")
        for body in ({}, {"text": 1}, {"text": "x", "wann": "idle"}, {"text": "x", "when": "now"},
                     {"text": "x", "timeout_seconds": -1}):
            self.assertEqual(self.node.ask("POST", "/v1/layout/apply", body)[0], 400, body)
        self.assertEqual(self.node.ask("POST", "/v1/layout/undo", {})[1]["reason"], "nothing")


if __name__ == "__main__":
    unittest.main()
