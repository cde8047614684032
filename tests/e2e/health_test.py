# SPDX-License-Identifier: Apache-2.0
"""A simulated GPU falls ill, and is well again: docs/reference/health.md."""
import os
import shutil
import subprocess
import tempfile
import time
import unittest

import harness
import kube_api
from harness import GIB


class Node(harness.Node):
    def inject(self, *args):
        out = self.divvy_sim("inject", *args, "--socket", self.sim_socket())
        assert out.returncode == 0, out.stderr

    def gpu(self, index):
        return self.json("status")["gpus"][index]

    def wait(self, index, health, cause=None, remedy=None):
        def is_so():
            g = self.gpu(index)
            return (g["health"], g["health_cause"]) == (health, cause) and \
                remedy in (None, g["health_remedy"]) and g
        return harness.wait_for(is_so, f"gpu {index} is {health}, {cause}, {remedy}")

    def codes(self, gpu):
        findings = self.ask("GET", "/v1/doctor")[1]["findings"]
        return {f["code"] for f in findings if f["subject"] == f"gpu {gpu}"}

    def metrics(self):
        c = harness.Connection(self.socket)
        try:
            c.request("GET", "/metrics")
            return c.getresponse().read().decode()
        finally:
            c.close()

    def claim(self, gpu):
        status, answer = self.ask("POST", "/v1/claims",
                                      {"gpu": str(gpu), "memory_bytes": GIB, "compute": 70,
                                       "wait": False})
        if status == 200:
            self.ask("DELETE", "/v1/claims/" + answer["id"])
        return status


class Health(unittest.TestCase):
    def test_an_xid_that_goes_by_itself(self):
        with Node("t4x4") as node:
            before = int(time.time())
            self.assertIsNone(node.wait(1, "ok")["health_remedy"])
            node.inject("--gpu", "1", "--xid", "999")
            gpu = node.wait(1, "failed", "xid", "time")
            self.assertEqual(gpu["health_detail"], "XID 999; over, held out for 60 s")
            self.assertEqual(gpu["health_until_unix"], gpu["health_since_unix"] + 60)
            self.assertGreaterEqual(gpu["health_since_unix"], before - 1)
            self.assertEqual(node.claim(1), 409)
            self.assertEqual(node.claim(0), 200)
            self.assertIn("gpu_held_out", node.codes(1))
            self.assertIn("xid_other", node.codes(1))
            # 60 s and the next look at it
            harness.wait_for(lambda: node.gpu(1)["health"] == "ok", "it is well again", 60 + harness.PATIENCE)
            self.assertGreaterEqual(time.time() - gpu["health_since_unix"], 59)
            self.assertEqual(node.claim(1), 200)
            # Again, soon after: twice as long.
            node.inject("--gpu", "1", "--xid", "999")
            gpu = node.wait(1, "failed", "xid", "time")
            self.assertEqual(gpu["health_until_unix"], gpu["health_since_unix"] + 120)

    def test_what_a_reset_mends(self):
        with Node("dgx-a100") as node:
            node.inject("--gpu", "0", "--xid", "94")
            node.inject("--gpu", "1", "--ecc", "2")
            node.inject("--gpu", "2", "--xid", "62")
            node.inject("--gpu", "3", "--xid", "79")
            node.inject("--gpu", "4", "--remap-failure")
            node.inject("--gpu", "5", "--xid", "31")
            gpus = [node.wait(0, "failed", "xid", "reset"), node.wait(1, "failed", "xid", "reset"),
                    node.wait(2, "failed", "xid", "reset"),
                    node.wait(3, "failed", "gpu_lost", "reset"),
                    node.wait(4, "failed", "memory_rows_failed", "replacement")]
            self.assertEqual(gpus[1]["health_detail"], "XID 48; until the GPU is reset")
            self.assertEqual(node.gpu(5)["health"], "ok")
            # The driver is asked again, more than once: that alone mends nothing.
            time.sleep(12)
            self.assertEqual([g["health"] for g in node.json("status")["gpus"]],
                             ["failed"] * 5 + ["ok"] * 3)
            for gpu in range(5):
                node.inject("--gpu", str(gpu), "--reset")
            for gpu in range(4):
                node.wait(gpu, "ok")
            self.assertEqual(node.gpu(4)["health"], "failed")

    def test_a_reset_soon_after_the_start(self):
        """Its counters are small still, and soon as high as they were before the reset."""
        for pause in (0, 0.5):
            with self.subTest(pause), Node("dgx-a100") as node:
                time.sleep(4)  # so long may the machine stand still after the reset
                node.inject("--gpu", "7", "--xid", "48")
                node.wait(7, "failed", "xid", "reset")
                time.sleep(pause)
                node.inject("--gpu", "7", "--reset")
                node.wait(7, "ok")

    def test_switches(self):
        env = {"DP_DISABLE_HEALTHCHECKS": "999, bogus,62", "DP_ENABLE_HEALTHCHECKS": "31"}
        with Node("t4x4", daemon_env=env) as node:
            for gpu, xid in ((0, 999), (1, 62), (2, 31), (3, 63)):
                node.inject("--gpu", str(gpu), "--xid", str(xid))
            node.wait(2, "failed", "xid", "time")
            node.wait(3, "failed", "xid", "time")
            self.assertEqual([node.gpu(i)["health"] for i in (0, 1)], ["ok", "ok"])
            with open(node.log_path, encoding="utf-8") as f:
                self.assertIn("word=bogus", f.read())

    def test_all_switched_off(self):
        with Node("dgx-a100", daemon_env={"DP_DISABLE_HEALTHCHECKS": "all"}) as node:
            node.inject("--gpu", "0", "--ecc", "2")
            node.inject("--gpu", "1", "--remap-failure")
            node.inject("--gpu", "2", "--xid", "79")
            node.wait(2, "failed", "gpu_lost")
            harness.wait_for(lambda: "memory_rows_pending" in node.codes(0), "the doctor sees it")
            self.assertEqual([node.gpu(i)["health"] for i in (0, 1)], ["ok", "ok"])

    def test_a_silent_driver(self):
        with Node("a100", args=["--nvml-timeout", "1s"]) as node:
            node.inject("--nvml-hang", "*=0")
            gpu = node.wait(0, "unknown", "driver", "driver")
            self.assertEqual(gpu["health_detail"], "the driver does not answer")
            node.inject("--clear")
            node.wait(0, "ok")

    def test_what_the_driver_refuses_stays_lost_though_it_has_samples(self):
        with Node("t4x4") as node:
            node.wait(1, "ok")
            node.inject("--gpu", "1", "--nvml-error", "nvmlDeviceGetUUID=999")
            node.wait(1, "failed", "gpu_lost", "reset")
            for _ in range(30):
                self.assertEqual(node.codes(1), {"gpu_lost"})
                time.sleep(0.1)
            node.inject("--clear")
            node.wait(1, "ok")
            self.assertEqual(node.codes(1), set())


class LostBefore(unittest.TestCase):
    """A GPU that has fallen off the bus before divvyd starts, on a machine that goes on."""

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="divvy-e2e-lost-")
        os.chmod(self.directory, 0o755)
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.sim = os.path.join(self.directory, "gpus.sock")
        self.run_sim("start", "t4x4")
        self.addCleanup(self.run_sim, "stop")

    def run_sim(self, verb, *args):
        out = subprocess.run([harness.program("divvy-sim"), verb, *args, "--socket", self.sim],
                             env=harness.clean_env(), text=True, capture_output=True, check=False)
        self.assertEqual(out.returncode, 0, out.stderr)

    def node(self, **kw):
        return Node("unix:" + self.sim, **kw)

    def check_lost(self, node, index, uuid, pci):
        gpu = node.wait(index, "failed", "gpu_lost", "reset")
        self.assertEqual((gpu["uuid"], gpu["pci_bus_id"]), (uuid, pci))
        self.assertEqual(gpu["health_detail"],
                         "the GPU is lost or needs a reset, since before divvyd started")
        self.assertIsNone(gpu["memory_bytes"])
        self.assertEqual(node.codes(index), {"gpu_lost"})
        findings = node.ask("GET", "/v1/doctor")[1]["findings"]
        place = f"{uuid} at PCI {pci}" if uuid else "at an unknown place"
        self.assertIn(f"the GPU ({place}) does not answer: it fell off the bus, or needs a reset",
                      [f["problem"] for f in findings])
        self.assertEqual(node.claim(index), 409)
        self.assertEqual([node.claim(i) for i in range(4) if i != index], [200] * 3)
        shown = f'gpu="{index}"' + (f',gpu_uuid="{uuid}"' if uuid else ',gpu_uuid=""')
        self.assertIn(f'divvy_gpu_health{{{shown},state="failed"}} 1', node.metrics())
        self.assertIn(f"gpu={index} health=failed", node.log())

    def test_on_the_first_start(self):
        self.run_sim("inject", "--gpu", "1", "--xid", "79")
        with self.node() as node:
            self.check_lost(node, 1, None, None)
            self.assertEqual(len(node.json("status")["gpus"]), 4)
            node.inject("--gpu", "1", "--reset")
            gpu = node.wait(1, "ok")
            self.assertTrue(gpu["uuid"].startswith("GPU-") and gpu["memory_bytes"])
            self.assertEqual(node.codes(1), set())
            self.assertEqual(node.claim(1), 200)

    def test_what_was_there_before_has_a_name(self):
        keeps = os.path.join(self.directory, "node")
        os.mkdir(keeps, 0o755)
        with self.node(directory=keeps) as node:
            was = node.json("status")["gpus"]
        self.run_sim("inject", "--gpu", "1", "--xid", "79")
        for _ in range(2):  # and it is not forgotten meanwhile
            with self.node(directory=keeps) as node:
                self.check_lost(node, 1, was[1]["uuid"], was[1]["pci_bus_id"])
                self.assertEqual(node.gpu(1)["model"], was[1]["model"])
        self.run_sim("inject", "--gpu", "3", "--xid", "79")
        with self.node(directory=keeps) as node:
            for i in (1, 3):
                gpu = node.wait(i, "failed", "gpu_lost", "reset")
                self.assertEqual(gpu["uuid"], was[i]["uuid"])

    def test_a_cluster_is_told(self):
        self.run_sim("inject", "--gpu", "1", "--xid", "79")
        kubelet = os.path.join(self.directory, "kubelet")
        os.makedirs(os.path.join(kubelet, "device-plugins"))
        lost = "GPU 1: the GPU is lost or needs a reset, since before divvyd started"
        with kube_api.Server(self.directory, "n1", {}) as server, \
                self.node(args=["--kubernetes", "--kubeconfig", server.kubeconfig, "--node-name", "n1",
                                "--kubelet-dir", kubelet, "--cdi-dir", self.directory]) as node:
            def told(status, message):
                c = server.condition("DivvyGPUHealthy")
                return c and (c["status"], c["message"]) == (status, message)
            harness.wait_for(lambda: told("False", lost), "the Node's condition names it")
            harness.wait_for(lambda: lost in server.events("GpuUnhealthy"), "an event names it")

            def units():
                return [r["units"] for r in node.json("kubernetes")["resources"]]
            harness.wait_for(lambda: units() == [3], "the others are offered")
            node.inject("--gpu", "1", "--reset")
            harness.wait_for(lambda: told("True", "4 GPUs are well"), "the condition is as before")
            uuid = node.gpu(1)["uuid"]
            harness.wait_for(lambda: [e for e in server.events("GpuRecovered")
                                      if e.startswith(f"GPU 1 ({uuid}) is well again")],
                             "an event says so")
            harness.wait_for(lambda: units() == [4], "it is offered too")

    def test_the_driver_says_unknown_error(self):
        """As newer drivers do of a GPU that is off the bus; or when it is asked what it is."""
        for call in ("nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetUUID"):
            self.run_sim("inject", "--gpu", "2", "--nvml-error", call + "=999")
            with self.node() as node:
                self.check_lost(node, 2, None, None)
                node.inject("--clear")
                node.wait(2, "ok")
                self.assertEqual(node.claim(2), 200)


if __name__ == "__main__":
    unittest.main()
