# SPDX-License-Identifier: Apache-2.0
"""A tenant that ignores its leases is named by the daemon; the others go on."""
import json
import mmap
import os
import signal
import struct
import unittest

import harness
import hostile_test

ROGUE = os.environ.get("DIVVY_ROGUE", "")


class Intruder(unittest.TestCase):
    def test_named_and_the_others_go_on(self):
        with harness.Node("a100") as node:
            load = [harness.program("divvy-load"), "spin", "--kernel-us", "500", "--seconds", "600",
                    "-o", "json"]
            honest = {t: node.start_run("--tenant", t, "--memory", "8GiB", "--compute", c, "--",
                                        *load) for t, c in (("ann", "60%"), ("bob", "20%"))}
            harness.wait_for(lambda: sum(len(s["pids"]) for s in node.slices()) == 2, "both run")
            rogue = node.start_run("--tenant", "mal", "--memory", "8GiB", "--compute", "20%", "--",
                                   ROGUE, os.path.join(harness.LIBDIR, "sim", "libcuda.so.1"),
                                   "600", "500")

            def named():
                gpu = node.json("status")["gpus"][0]
                return gpu["health"] == "degraded" and "mal" in (gpu.get("health_detail") or "")
            harness.wait_for(named, "the daemon names mal")
            doctor = node.divvy("doctor")
            self.assertEqual(doctor.returncode, 3, doctor.stdout)
            self.assertIn("mal", doctor.stdout)
            self.assertIn("mal", node.divvy("explain", "mal").stdout)
            self.assertIsNone(rogue.poll(), "it is named, not ended")
            node.ran(honest, 0.5)  # the others go on beside it
            rogue.terminate()
            rogue.wait(harness.PATIENCE)
            counts = {}
            for tenant, run in honest.items():
                run.send_signal(signal.SIGINT)
                out, err = run.communicate(timeout=harness.PATIENCE)
                self.assertEqual(run.returncode, 0, err)
                counts[tenant] = json.loads(out)["kernels"]
            self.assertTrue(all(counts.values()), counts)
            harness.wait_for(lambda: node.json("status")["gpus"][0]["health"] == "ok",
                             "health returns when it has gone")

    def test_leases_are_on_again_for_who_comes_next(self):
        """The intruder's slice ends with it, so that nobody is there when it is found to be gone."""
        with harness.Node("a100") as node:
            rogue = node.start_run("--tenant", "mal", "--memory", "8GiB", "--compute", "20%", "--",
                                   ROGUE, os.path.join(harness.LIBDIR, "sim", "libcuda.so.1"),
                                   "600", "500")
            harness.wait_for(lambda: "intruder.found" in node.log(), "the daemon names mal")
            rogue.terminate()
            rogue.wait(harness.PATIENCE)
            harness.wait_for(lambda: "intruder.gone" in node.log(), "it has gone")
            harness.wait_for(lambda: not node.slices(), "and its slice")
            hostile_test.claim(node)
            sock, fds, own = hostile_test.join(node)
            arbiter = mmap.mmap(fds[3], os.fstat(fds[3]).st_size, prot=mmap.PROT_READ)
            flags = struct.unpack_from("<I", arbiter, 12)[0]
            for closed in (arbiter, own, sock):
                closed.close()
            for fd in fds:
                os.close(fd)
            self.assertEqual(flags, 0)

    def test_kernels_that_change_their_length_are_no_intruders(self):
        self.change_of_length("500", "50")

    def test_kernels_that_become_very_long_are_no_intruders(self):
        self.change_of_length("20000", "5")

    def change_of_length(self, kernel_us, first_us):
        with harness.Node("a100") as node:
            runs = {t: node.start_run("--tenant", t, "--memory", "8GiB", "--compute", c, "--",
                                      ROGUE, "libcuda.so.1", "600", kernel_us, first_us)
                    for t, c in (("ann", "60%"), ("bob", "20%"), ("cyd", "20%"))}
            harness.wait_for(lambda: sum(len(s["pids"]) for s in node.slices()) == 3, "all run")

            def leases_decide():
                ran = node.ran(runs, 5)
                # Not a figure: that leases, and not the driver's equal turns, have decided.
                self.assertGreater(ran["ann"], 1.2 * ran["bob"], ran)
                self.assertGreater(ran["ann"], 1.2 * ran["cyd"], ran)
            harness.figures(leases_decide)
            gpu = node.json("status")["gpus"][0]
            self.assertEqual(gpu["health"], "ok", gpu.get("health_detail"))
            self.assertNotIn("intruder.found", node.log())  # nor at any time before


if __name__ == "__main__":
    unittest.main()
