# SPDX-License-Identifier: Apache-2.0
"""Programs whose way of launching could slip past the metering keep to their share.

Figures are not asserted to the point (bench/run shows them): only that the share decides, by
margins that a program which is not charged would miss by far.
"""
import json
import os
import unittest

import harness

TWO_CONTEXTS = os.environ.get("DIVVY_TWO_CONTEXTS", "")


class Shares(unittest.TestCase):
    def test_two_contexts_are_charged_for_both(self):
        with harness.Node("a100") as node:
            run = {
                "two": node.start_run("--tenant", "two", "--memory", "8GiB", "--compute", "30%",
                                      "--", TWO_CONTEXTS, "6", "500"),
                "one": node.start_run("--tenant", "one", "--memory", "8GiB", "--compute", "70%",
                                      "--", harness.program("divvy-load"), "spin", "--kernel-us",
                                      "500", "--seconds", "6", "-o", "json"),
            }
            harness.wait_for(lambda: sum(len(s["pids"]) for s in node.slices()) == 2, "both run")
            kernels = {}
            for tenant, child in run.items():
                out, err = child.communicate(timeout=harness.PATIENCE)
                self.assertEqual(child.returncode, 0, err)
                kernels[tenant] = json.loads(out)["kernels"]
            share = kernels["two"] / sum(kernels.values())
            print(f"two contexts got {100 * share:.1f} % of the kernels, promised 30 %")
            self.assertLess(share, 0.45, kernels)


if __name__ == "__main__":
    unittest.main()
