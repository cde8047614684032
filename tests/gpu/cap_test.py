# SPDX-License-Identifier: Apache-2.0
"""The memory cap on a real GPU: every allocation call of divvy-load above and below it."""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import harness  # noqa: E402

CALLS = ("cuMemAlloc", "cuMemAllocPitch", "cuMemAllocAsync", "cuMemAllocFromPoolAsync",
         "cuMemCreate", "cuArrayCreate")  # managed memory only below the cap, on a shared machine


class Cap(unittest.TestCase):
    def alloc(self, node, size, api):
        return node.divvy("run", "--tenant", "dan", "--memory", "10GiB", "--compute", "10%", "--",
                          harness.program("divvy-load"), "alloc", "--bytes", size, "--api", api,
                          "-o", "json")

    def test_every_call(self):
        with harness.Node(None) as node:
            for api in CALLS:
                with self.subTest(api=api):
                    over = self.alloc(node, "11GiB", api)
                    self.assertEqual(over.returncode, 1, over.stderr)
                    self.assertEqual(json.loads(over.stdout)["cuda_error"], 2)
                    under = self.alloc(node, "8GiB", api)
                    self.assertEqual(under.returncode, 0, under.stdout + under.stderr)


if __name__ == "__main__":
    unittest.main()
