# SPDX-License-Identifier: Apache-2.0
"""Programs whose way of launching could slip past the metering keep to their share.

Figures are not asserted to the point (bench/run shows them): only that the share decides, by
margins that a program which is not charged would miss by far.
"""
import os
import unittest

import harness

TWO_CONTEXTS = os.environ.get("DIVVY_TWO_CONTEXTS", "")


class Shares(unittest.TestCase):
    def test_two_contexts_are_charged_for_both(self):
        with harness.Node("a100") as node:
            run = {
                "two": node.start_run("--tenant", "two", "--memory", "8GiB", "--compute", "30%",
                                      "--", TWO_CONTEXTS, "600", "500"),
                "one": node.start_run("--tenant", "one", "--memory", "8GiB", "--compute", "70%",
                                      "--", harness.program("divvy-load"), "spin", "--kernel-us",
                                      "500", "--seconds", "600"),
            }
            harness.wait_for(lambda: sum(len(s["pids"]) for s in node.slices()) == 2, "both run")

            def its_share():
                ran = node.ran(run, 5)
                share = ran["two"] / sum(ran.values())
                print(f"two contexts got {100 * share:.1f} % of the GPU, promised 30 %")
                self.assertLess(share, 0.45, ran)
            harness.figures(its_share)


if __name__ == "__main__":
    unittest.main()
