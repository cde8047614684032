# SPDX-License-Identifier: Apache-2.0
"""Without --sim: the machine's own driver, found on the loader's path. The simulated driver stands
in for it, as an installed one would: divvyd knows nothing of a simulator here."""
import json
import os
import subprocess
import tempfile
import unittest

import harness


class OwnDriver(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="divvy-driver-")
        self.socket = os.path.join(self.directory.name, "sim.sock")
        self.sim = subprocess.Popen([harness.program("divvy-sim"), "start", "a100", "--foreground",
                                     "--socket", self.socket], env=harness.clean_env(),
                                    stdin=subprocess.DEVNULL)
        env = [harness.program("divvy-sim"), "env", "--socket", self.socket, "-o", "json"]

        def answers():
            out = subprocess.run(env, capture_output=True, text=True, check=False, timeout=harness.PATIENCE,
                                 env=harness.clean_env())
            return json.loads(out.stdout) if out.returncode == 0 else None
        answer = harness.wait_for(lambda: os.path.exists(self.socket) and answers(), "a node")
        self.env = answer.get("env", answer)

    def tearDown(self):
        self.sim.terminate()
        self.sim.wait(harness.PATIENCE)
        self.directory.cleanup()

    def load(self, node, *args):
        command = [harness.program("divvy"), "run", "--memory", "10GiB", "--compute", "30%", "--",
                   harness.program("divvy-load"), *args, "-o", "json"]
        return subprocess.run(command, env={**node.env(), **self.env,
                                            "DIVVY_SOCKET": node.socket},
                              capture_output=True, text=True, timeout=harness.PATIENCE, check=False)

    def test_cap_and_lease(self):
        with harness.Node(None, daemon_env=self.env) as node:
            self.assertFalse(node.json("status")["daemon"].get("sim"))
            over = self.load(node, "alloc", "--bytes", "11GiB", "--api", "cuMemAlloc")
            self.assertEqual((over.returncode, json.loads(over.stdout)["cuda_error"]), (1, 2))
            spin = self.load(node, "spin", "--kernel-us", "500", "--seconds", "1")
            self.assertEqual(spin.returncode, 0, spin.stderr)
            self.assertGreater(json.loads(spin.stdout)["kernels"], 0)

    def test_a_stand_in_is_not_taken_for_the_driver(self):
        for path in (os.path.join(harness.LIBDIR, "standin", "libcuda.so.1"), "libcuda.so.1"):
            with self.subTest(path=path):
                with harness.Node(None, daemon_env={**self.env, "DIVVY_LIBCUDA": path}) as node:
                    run = self.load(node, "alloc", "--bytes", "1GiB", "--api", "cuMemAlloc")
                    self.assertIn(run.returncode, (1, 5), run.stderr)
                    self.assertNotEqual(run.stderr.strip(), "")


if __name__ == "__main__":
    unittest.main()
