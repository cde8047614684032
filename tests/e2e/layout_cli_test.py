# SPDX-License-Identifier: Apache-2.0
"""The command line for layouts against a daemon: divvy layout, and divvy mig as mig-parted's."""
import json
import os
import signal
import socket
import subprocess
import unittest

import harness

MIG_PARTED = """
version: v1
mig-configs:
  all-disabled:
  - {devices: all, mig-enabled: false}
  all-enabled:
  - {devices: all, mig-enabled: true, mig-devices: {}}
  two:
  - {devices: [0], mig-enabled: true, mig-devices: {1g.10gb: 2, 3g.40gb: 1}}
  - {devices: [1], mig-enabled: false}
  four-halves:
  - {devices: all, mig-enabled: true, mig-devices: {3g.40gb: 4}}
"""


class Case(unittest.TestCase):
    def setUp(self):
        self.node = harness.Node(self.spec())
        self.addCleanup(self.node.close)
        self.node.start()
        self.file = self.write("mig-parted.yaml", MIG_PARTED)

    def spec(self):
        self.directory = self.enterContext(harness.tempfile.TemporaryDirectory())
        os.chmod(self.directory, 0o755)  # the simulator is nobody in particular
        path = os.path.join(self.directory, "two.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write("apiVersion: divvy/v1\nkind: SimNode\n"
                    "gpus:\n  - {model: A100-80GB, count: 2}\n")
        return path

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def divvy(self, *args, code=0):
        out = self.node.divvy(*args)
        self.assertEqual(out.returncode, code, f"{args}: {out.stdout}{out.stderr}")
        return out

    def devices(self, gpu=0):
        """Profile, place and UUID of each device."""
        layout = self.node.json("layout", "show")
        return sorted((d["profile"] or "", d["placement_start"] or 0, d["uuid"])
                      for d in layout["gpus"][gpu]["devices"])

    def own(self, *entries):
        return self.write("own.yaml", "apiVersion: divvy/v1\nkind: Layout\ngpus:\n" +
                          "".join(f"  - {e}\n" for e in entries))

    def hold(self, *args):
        run = self.node.start_run("--tenant", "ann", *args, "--", harness.program("divvy-load"),
                                  "alloc", "--bytes", "1GiB", "--hold", "600s")
        self.assertTrue(run.stdout.readline())
        return run, harness.wait_for(lambda: next((s for s in self.node.slices() if s["pids"]),
                                                  None), "ann holds memory")["id"]


class Layout(Case):
    def test_from_none_and_back(self):
        self.assertIn("no layout", self.divvy("layout", "show").stdout)
        path = self.own("{gpu: 0, mig: [{profile: 3g.40gb, mode: governed, replicas: 2}, 1g.10gb]}")
        plan = self.divvy("layout", "plan", path).stdout
        self.assertIn("GPU 0 (NVIDIA A100-SXM4-80GB): instances: 2 created", plan)
        self.assertIn("not in the layout, stays: GPU 1\n", plan)
        self.assertEqual(self.divvy("layout", "apply", path, "--dry-run").stdout, plan)
        self.assertEqual(self.devices()[0][0], "")
        shown = self.divvy("layout", "apply", path).stdout
        self.assertIn("layout settled\n", shown)
        self.assertIn(f"cut and sharing from {path} (divvy)", shown)
        self.assertEqual([d[0] for d in self.devices()], ["1g.10gb", "3g.40gb"])
        self.assertIn("nothing to do", self.divvy("layout", "plan", path).stdout)
        self.divvy("layout", "undo")
        self.assertEqual([d[0] for d in self.devices()], [""])

    def test_in_the_way(self):
        run, held = self.hold("--gpu", "0")
        path = self.own("{gpu: 0, mig: [1g.10gb]}")
        out = self.divvy("layout", "apply", path, code=1)
        self.assertIn(f"GPU 0: {held} of ann on GPU-", out.stderr)
        self.assertIn("--wait", out.stderr)
        answer = json.loads(self.divvy("layout", "apply", path, "-o", "json", code=1).stdout)
        self.assertEqual([b["slice"] for b in answer["blockers"]], [held])
        # Waiting, interrupted: the change goes on without us.
        watching = subprocess.Popen([harness.program("divvy"), "layout", "apply", path, "--wait"],
                                    env=self.node.env(), stdin=subprocess.DEVNULL, text=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        # It has its answer when it says so: before that an interruption is another one (Unanswered).
        self.assertIn(f"GPU 0 draining: waits for {held} of ann", watching.stderr.readline())
        self.assertEqual(self.node.json("layout", "show")["state"], "draining")
        self.assertIn(f"GPU 0 draining: waits for {held} of ann",
                      self.divvy("layout", "show").stdout)
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate(timeout=harness.PATIENCE)
        self.assertEqual(watching.returncode, 128 + signal.SIGINT, err)
        self.assertIn("goes on", err)
        # What waits can be taken back, and asked for again.
        self.divvy("layout", "undo")
        self.assertEqual([d[0] for d in self.devices()], [""])
        self.divvy("layout", "apply", path, "--wait", "--no-watch")
        run.terminate()
        run.wait(harness.PATIENCE)
        harness.wait_for(lambda: self.node.json("layout", "show")["state"] == "settled", "is cut")
        self.assertEqual([d[0] for d in self.devices()], ["1g.10gb"])

    def test_deadline_and_eviction(self):
        run, _ = self.hold("--gpu", "0")
        path = self.own("{gpu: 0, mig: [1g.10gb]}")
        out = self.divvy("layout", "apply", path, "--wait", "--timeout", "1s", code=1)
        self.assertIn("divvy layout apply: it did not work: GPU 0: ", out.stderr)
        self.assertIsNone(run.poll())
        self.divvy("layout", "apply", path, "--evict")
        run.wait(harness.PATIENCE)
        self.assertEqual([d[0] for d in self.devices()], ["1g.10gb"])

    def test_refusals(self):
        self.assertIn("mig-parted.yaml", self.divvy("layout", "plan", self.file, code=2).stderr)
        out = self.divvy("layout", "plan", self.file, "--config", "four-halves", code=3)
        self.assertEqual((out.stdout, out.stderr.count("\n")), ("", 1))
        path = self.own("{gpu: 0, mod: governed}")
        self.assertIn("own.yaml:4", self.divvy("layout", "plan", path, code=2).stderr)
        self.divvy("layout", "apply", path, code=2)
        self.divvy("layout", "undo", code=1)
        # As large as a file may be, in comments that double on their way.
        with open(path, "a", encoding="utf-8") as f:
            f.write("#" + '"' * (524288 - os.path.getsize(path) - 1))
        self.assertIn("own.yaml:4", self.divvy("layout", "plan", path, code=2).stderr)


class MigParted(Case):
    def assert_config(self, name, applied):
        self.divvy("mig", "assert", "-f", self.file, "-c", name, code=0 if applied else 1)

    def test_apply_and_assert(self):
        self.assert_config("all-disabled", True)
        self.assert_config("two", False)
        self.divvy("mig", "assert", "-f", self.file, "-c", "four-halves", "--valid-config")
        self.divvy("mig", "assert", "-f", self.file, "-c", "five", "--valid-config", code=1)
        self.divvy("mig", "assert", "-f", self.file, code=1)
        self.divvy("mig", "apply", "-f", self.file, "-c", "two")
        self.assertEqual([d[0] for d in self.devices()], ["1g.10gb", "1g.10gb", "3g.40gb"])
        self.assert_config("two", True)
        self.assert_config("all-disabled", False)
        self.divvy("mig", "apply", "-f", self.file, "-c", "four-halves", code=1)
        self.assert_config("two", True)

    def test_mode_only(self):
        self.divvy("mig", "apply", "-f", self.file, "-c", "two")
        before = self.devices()
        self.divvy("mig", "assert", "-f", self.file, "-c", "all-enabled", "-m", code=1)
        self.divvy("mig", "apply", "-f", self.file, "-c", "all-enabled", "--mode-only")
        self.divvy("mig", "assert", "-f", self.file, "-c", "all-enabled", "-m")
        self.assertEqual(self.devices(), before)
        self.assertEqual(self.devices(1), [])

    def test_export(self):
        self.divvy("mig", "apply", "-f", self.file, "-c", "two")
        exported = self.write("exported.yaml", self.divvy("mig", "export").stdout)
        self.divvy("mig", "assert", "-f", exported, "-c", "current")
        spec = json.loads(self.divvy("mig", "export", "-o", "json", "-l", "mine").stdout)
        self.assertEqual(spec["mig-configs"]["mine"][0]["mig-devices"],
                         {"1g.10gb": 2, "3g.40gb": 1})
        self.divvy("mig", "apply", "-f", self.file, "-c", "all-disabled")
        self.divvy("mig", "apply", "-f", exported)
        self.assert_config("two", True)

    def test_generate(self):
        path = os.path.join(self.directory, "generated.yaml")
        self.divvy("mig", "generate", "-f", path)
        spec = json.loads(self.divvy("mig", "generate", "-o", "json").stdout)["mig-configs"]
        for name in ("all-disabled", "all-enabled", "all-balanced", "all-1g.10gb", "all-7g.80gb"):
            self.assertIn(name, spec)
            self.divvy("mig", "assert", "-f", path, "-c", name, "-a")
        self.divvy("mig", "apply", "-f", path, "-c", "all-balanced")
        self.assertEqual([d[0] for d in self.devices()],
                         ["1g.10gb", "1g.10gb", "2g.20gb", "3g.40gb"])
        self.divvy("mig", "assert", "-f", path, "-c", "all-balanced")

    def test_checkpoint_and_restore(self):
        self.divvy("layout", "apply", self.own(
            "{gpu: 0, mig: [{profile: 3g.40gb, start: 0, mode: governed, replicas: 2},"
            " {profile: 1g.10gb, start: 6}, {profile: 1c.2g.20gb, start: 4, count: 2}]}"))
        before = self.devices()
        path = os.path.join(self.directory, "before.yaml")
        self.divvy("mig", "checkpoint", "-f", path)
        self.assertIn("nothing to do", self.divvy("layout", "plan", path).stdout)
        self.divvy("mig", "apply", "-f", self.file, "-c", "all-disabled")
        self.assertEqual([d[0] for d in self.devices()], [""])
        self.divvy("mig", "restore", "-f", path)
        self.assertEqual([d[:2] for d in self.devices()], [d[:2] for d in before])
        modes = {d["profile"]: d["layout_mode"]
                 for d in self.node.json("layout", "show")["gpus"][0]["devices"]}
        self.assertEqual(modes["3g.40gb"], "governed")


class Unanswered(unittest.TestCase):
    """Ctrl-C before a daemon has answered whether it takes a change."""

    def setUp(self):
        self.directory = self.enterContext(harness.tempfile.TemporaryDirectory())
        self.path = os.path.join(self.directory, "divvyd.sock")
        self.listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listener.close)
        self.listener.bind(self.path)
        self.listener.listen()
        self.listener.settimeout(harness.PATIENCE)

    def interrupt(self, *args, number=signal.SIGINT):
        p = subprocess.Popen([harness.program("divvy"), "layout", *args],
                             env=harness.clean_env(DIVVY_SOCKET=self.path), text=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(p.kill)
        asked, _ = self.listener.accept()
        with asked:
            asked.settimeout(harness.PATIENCE)
            self.assertTrue(asked.recv(1 << 16).startswith(b"POST /v1/layout/"))
            p.send_signal(number)
            out, err = p.communicate(timeout=harness.PATIENCE)
        self.assertEqual((p.returncode, out), (128 + number, ""), err)
        return err

    def test_it_is_said_that_nobody_knows(self):
        look = "before the daemon answered; 'divvy layout show' says whether the change was taken\n"
        path = os.path.join(self.directory, "own.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write("apiVersion: divvy/v1\nkind: Layout\ngpus: [{gpu: 0, mig: [1g.10gb]}]\n")
        self.assertEqual(self.interrupt("apply", path), "divvy layout apply: interrupted " + look)
        self.assertEqual(self.interrupt("apply", path, "--no-watch", number=signal.SIGTERM),
                         "divvy layout apply: interrupted " + look)
        self.assertEqual(self.interrupt("undo"), "divvy layout undo: interrupted " + look)


if __name__ == "__main__":
    unittest.main()
