# SPDX-License-Identifier: Apache-2.0
"""The list of escapes, by the stand-in (what `divvy run` uses) and by the preload library."""
import os
import unittest

import harness
from harness import GIB

INSIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "governor_escapes.py")


class Escapes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = harness.Node("a100")
        cls.node.start()

    @classmethod
    def tearDownClass(cls):
        cls.node.__exit__(None, None, None)

    def attempt(self, *prefix):
        got = self.node.divvy("run", "--memory", "4GiB", "--compute", "50%", "--", *prefix,
                              "python3", INSIDE, str(4 * GIB))
        self.assertEqual(got.returncode, 0, got.stdout + got.stderr)
        self.assertIn("everything is back", got.stdout)

    def test_standin(self):
        self.attempt()

    def test_preload(self):
        lib = harness.LIBDIR
        self.attempt("env", f"LD_LIBRARY_PATH={os.path.join(lib, 'sim')}",
                     f"LD_PRELOAD={os.path.join(lib, 'libdivvy-cuda.so.1')}")

    def test_both_at_once_are_one(self):
        self.attempt("env", f"LD_PRELOAD={os.path.join(harness.LIBDIR, 'libdivvy-cuda.so.1')}")

    def test_processes_that_show_are_the_slices(self):
        spin = [harness.program("divvy-load"), "spin", "--kernel-us", "500", "--seconds", "600"]
        other = self.node.start_run("--tenant", "other", "--memory", "2GiB", "--compute", "10%",
                                    "--", *spin)
        harness.wait_for(lambda: any(s["pids"] for s in self.node.slices()), "the other runs")
        look = ("%s >/dev/null & i=0; while [ $i -lt 1000 ]; do i=$((i+1)); "
                "p=$(nvidia-smi --query-compute-apps=pid --format=csv,noheader); "
                "[ -n \"$p\" ] && break; sleep 0.1; done; echo $! $p; kill $!" % " ".join(spin))
        got = self.node.divvy("run", "--memory", "2GiB", "--compute", "10%", "--", "sh", "-c", look)
        own, *shown = got.stdout.split()
        self.assertEqual(shown, [own], got.stderr)
        other.terminate()
        other.wait(harness.PATIENCE)


if __name__ == "__main__":
    unittest.main()
