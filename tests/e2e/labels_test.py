# SPDX-License-Identifier: Apache-2.0
"""What `divvy labels` says of the built-in simulated nodes: golden texts in tests/golden/labels.

With --update as the only argument it takes them anew.
"""
import os
import subprocess
import sys
import unittest

import harness

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "labels")
UPDATE = False
# Each label of GFD's public expectations (tests/expected-output*.txt) that a node must have.
EVERY = ["cuda.driver.major", "cuda.driver.minor", "cuda.driver.rev", "cuda.runtime.major",
         "cuda.runtime.minor", "cuda.driver-version.major", "cuda.driver-version.minor",
         "cuda.driver-version.revision", "cuda.driver-version.full", "cuda.runtime-version.major",
         "cuda.runtime-version.minor", "cuda.runtime-version.full", "gfd.timestamp", "gpu.machine",
         "gpu.count", "gpu.replicas", "gpu.sharing-strategy", "gpu.product", "gpu.memory",
         "gpu.family", "gpu.mode", "gpu.compute.major", "gpu.compute.minor", "mig.capable",
         "mps.capable", "vgpu.present"]
LAYOUTS = {
    "timeslice": "version: v1\nsharing:\n  timeSlicing:\n    resources:\n"
                 "    - name: nvidia.com/gpu\n      replicas: 4\n",
    "mps": "version: v1\nsharing:\n  mps:\n    resources:\n"
           "    - name: nvidia.com/gpu\n      replicas: 2\n",
}


class Labels(unittest.TestCase):
    maxDiff = None

    def labels(self, node, *options):
        harness.wait_for(lambda: node.divvy("labels").returncode == 0, "the GPUs are known")
        out = node.divvy("labels", "-o", "csv", *options)
        self.assertEqual(out.returncode, 0, out.stderr)
        rows = dict(line.split(",", 1) for line in out.stdout.splitlines()[1:])
        self.assertTrue(all(k.startswith("nvidia.com/") for k in rows))
        return {k[len("nvidia.com/"):]: v for k, v in rows.items()}

    def check(self, name, labels):
        self.assertEqual([k for k in EVERY if k not in labels], [])
        labels["gfd.timestamp"] = "TIME"
        text = "".join(f"{k}={v}\n" for k, v in sorted(labels.items()))
        path = os.path.join(GOLDEN, name + ".txt")
        if UPDATE:
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        with open(path, encoding="utf-8") as f:
            self.assertEqual(text, f.read(), name)

    def test_whole_gpus(self):
        for sim in ("dgx-a100", "dgx-h100", "hgx-h200", "a30x4", "t4x4", "mixed"):
            with self.subTest(sim), harness.Node(sim) as node:
                self.check(sim, self.labels(node))

    def test_mig(self):
        with harness.Node("dgx-h100") as node:
            smi = os.path.join(harness.LIBDIR, "sim", "bin", "nvidia-smi")

            def mig(*args):
                subprocess.run([smi, *args], env=node.sim_env(), check=True, timeout=harness.PATIENCE,
                               stdout=subprocess.DEVNULL)
            for gpu in range(8):
                mig("-i", str(gpu), "-mig", "1")
                mig("mig", "-i", str(gpu), "-cgi", "9,9", "-C")
            harness.wait_for(lambda: sum(len(g["devices"]) for g in node.json("status")["gpus"]
                                         if g["mig_enabled"]) == 16, "the MIG devices show")
            self.check("mig-none", self.labels(node, "--mig-strategy", "none"))
            self.check("mig-single", self.labels(node, "--mig-strategy", "single"))
            self.check("mig-mixed", self.labels(node, "--mig-strategy", "mixed"))
            mig("mig", "-i", "7", "-dci", "-ci", "0")
            mig("mig", "-i", "7", "-dgi")
            mig("mig", "-i", "7", "-cgi", "19,19,20", "-C")
            harness.wait_for(lambda: len(node.json("status")["gpus"][7]["devices"]) == 3,
                             "the other profiles show")
            self.check("mig-single-invalid", self.labels(node, "--mig-strategy", "single"))
            self.check("mig-mixed-profiles", self.labels(node, "--mig-strategy", "mixed"))

    def test_shared(self):
        for name, text in LAYOUTS.items():
            with self.subTest(name), harness.Node("a100") as node:
                path = os.path.join(node.directory, "plugin.yaml")
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
                out = node.divvy("layout", "apply", path)
                self.assertEqual(out.returncode, 0, out.stderr)
                self.check("shared-" + name, self.labels(node))

    def test_a_strategy_that_there_is_not(self):
        with harness.Node("a100") as node:
            status, answer = node.ask("GET", "/v1/labels?mig_strategy=all")
            self.assertEqual(status, 400, answer)
            self.assertIn("none, single or mixed", answer["message"])


if __name__ == "__main__":
    if sys.argv[1:] == ["--update"]:
        UPDATE = True
        os.makedirs(GOLDEN, exist_ok=True)
        del sys.argv[1:]
    unittest.main()
