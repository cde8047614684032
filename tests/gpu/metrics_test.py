# SPDX-License-Identifier: Apache-2.0
"""The metrics of a real GPU under load: what NVML and GPM say of it, as the pages show it."""
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import harness  # noqa: E402
from metrics_test import Node, series  # noqa: E402

GPM = ["GR_ENGINE_ACTIVE", "PIPE_TENSOR_ACTIVE", "DRAM_ACTIVE", "PCIE_TX_BYTES", "PCIE_RX_BYTES"]


class Metrics(unittest.TestCase):
    def test_under_load(self):
        with Node(None) as node:
            node.start_run("--tenant", "ann", "--gpu", "0", "--memory", "10GiB", "--compute", "100%", "--",
                           harness.program("divvy-load"), "spin", "--seconds", "120")
            node.wait_metric("divvy_tenant_launches_total", lambda v: v > 0, tenant="ann")
            node.wait_metric("divvy_gpu_utilization_ratio", lambda v: v > 0.5, gpu="0")
            node.wait_metric("divvy_gpu_power_watts", lambda v: v > 0, gpu="0")
            harness.wait_for(lambda: series(node.metrics("/metrics/dcgm"),
                                            "DCGM_FI_DEV_FB_USED")[0][1] > 0, "memory is in use")
            time.sleep(6)  # GPM compares two rounds of questions
            dcgm, own = node.metrics("/metrics/dcgm"), node.metrics()
            for page in (own, dcgm):
                for family, (kind, samples) in page.items():
                    for (name, _), (labels, value) in samples.items():
                        print(kind, name, dict(labels), value)
            for labels, collected in series(own, "divvy_gpu_collect_success"):
                self.assertEqual(collected, 1, labels)
            known = [name for name in GPM if f"DCGM_FI_PROF_{name}" in dcgm]
            print("GPM here:", known)
            if known:  # Hopper and later
                active = series(dcgm, "DCGM_FI_PROF_GR_ENGINE_ACTIVE")
                self.assertGreater(max(v for _, v in active), 0.5)
                self.assertEqual(known, GPM)


if __name__ == "__main__":
    unittest.main()
