# SPDX-License-Identifier: Apache-2.0
"""A GPU that was there and that the driver no longer counts: docs/reference/health.md."""
import os
import shutil
import subprocess
import tempfile
import time
import unittest

import harness
import kube_api
from health_test import Node as Health


class Node(Health):
    def uuids(self):
        return [g["uuid"] for g in self.json("status")["gpus"]]

    def missing(self):
        return [m["uuid"] for m in self.json("status")["missing_gpus"]]

    def wait_for_missing(self, *uuids):
        harness.wait_for(lambda: self.missing() == list(uuids), f"missing: {uuids}", 40)

    def finding(self):
        found = self.ask("GET", "/v1/doctor")[1]["findings"]
        return next((f for f in found if f["code"] == "gpu_missing"), None)


class Missing(unittest.TestCase):
    """On a machine whose GPUs outlive the daemon."""

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="divvy-e2e-missing-")
        os.chmod(self.directory, 0o755)
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.sim = os.path.join(self.directory, "gpus.sock")
        self.keeps = os.path.join(self.directory, "node")
        os.mkdir(self.keeps, 0o755)
        self.run_sim("start", "t4x4")
        self.addCleanup(self.run_sim, "stop")

    def run_sim(self, verb, *args):
        out = subprocess.run([harness.program("divvy-sim"), verb, *args, "--socket", self.sim],
                             env=harness.clean_env(), text=True, capture_output=True, check=False)
        self.assertEqual(out.returncode, 0, out.stderr)

    def node(self, **kw):
        return Node("unix:" + self.sim, directory=self.keeps, **kw)

    def test_what_happens_to_one_that_came_later_is_seen(self):
        self.run_sim("inject", "--gpu", "1", "--gone")
        with self.node() as node:
            harness.wait_for(lambda: len(node.uuids()) == 3, "the others are known")
            node.inject("--clear")
            harness.wait_for(lambda: len(node.uuids()) == 4, "all are there")
            node.wait(3, "ok")
            node.inject("--gpu", "3", "--xid", "999")
            node.wait(3, "failed", "xid", "time")

    def test_it_is_named_until_it_is_back(self):
        with self.node() as node:
            was = node.json("status")
            uuids = node.uuids()
            gone = was["gpus"][1]
            self.assertEqual(was["missing_gpus"], [])
            node.inject("--gpu", "1", "--xid", "79")
            node.wait(1, "failed", "gpu_lost")
            before = int(time.time())
            node.inject("--gpu", "1", "--gone")
            node.wait_for_missing(gone["uuid"])
            self.assertEqual(node.uuids(), [uuids[0], *uuids[2:]])
            self.assertEqual([g["health"] for g in node.json("status")["gpus"]], ["ok"] * 3)
            (m,) = node.json("status")["missing_gpus"]
            self.assertEqual((m["last_index"], m["model"], m["pci_bus_id"], m["last_health"]),
                             (1, gone["model"], gone["pci_bus_id"], "failed"))
            self.assertIn("lost", m["last_health_detail"])
            self.assertAlmostEqual(m["since_unix"], before, delta=40)
            self.assertIn(f"missing: {gone['uuid']} ({gone['model']}), which was GPU 1, failed: the "
                          "driver no longer counts it; see 'divvy doctor'\n", node.divvy("status").stdout)
            f = node.finding()
            self.assertEqual((f["severity"], f["subject"]), ("error", f"gpu {gone['uuid']}"))
            self.assertIn(f"it was GPU 1: {gone['model']} at PCI {gone['pci_bus_id']}, failed then",
                          f["problem"])
            self.assertIn(f"divvy forget {gone['uuid']}", f["remedy"])
            self.assertEqual(node.codes(1), set())  # that is another now
            self.assertEqual(node.divvy("doctor").returncode, 3)
            self.assertIn(f'divvy_gpu_missing_since_timestamp_seconds{{gpu="1",gpu_uuid="{gone["uuid"]}"}} '
                          f'{m["since_unix"]}\n', node.metrics())
            self.assertEqual(node.log().count(f"gpu.missing uuid={gone['uuid']}"), 1)
            node.stop()
            node.start()
            self.assertEqual(node.json("status")["missing_gpus"], [m])
            self.assertTrue(node.finding())
            node.inject("--gpu", "1", "--reset")
            node.wait_for_missing()
            self.assertIsNone(node.finding())
            self.assertEqual(node.uuids(), uuids)
            self.assertNotIn("divvy_gpu_missing_since_timestamp_seconds{", node.metrics())

    def test_it_goes_while_nobody_looks_and_is_forgotten(self):
        with self.node() as node:
            uuids = node.uuids()
        self.run_sim("inject", "--gpu", "3", "--gone")
        with self.node() as node:
            node.wait_for_missing(uuids[3])
            self.assertIsNone(node.json("status")["missing_gpus"][0]["last_health"])
            self.assertEqual(node.divvy("forget", uuids[0]).returncode, 1)
            if os.geteuid() == 0:  # nor by anybody
                out = subprocess.run(["setpriv", "--reuid", "daemon", "--regid", "daemon",
                                      "--clear-groups", harness.program("divvy"), "forget", uuids[3]],
                                     env=node.env(), text=True, capture_output=True, check=False)
                self.assertEqual(out.returncode, 4, out.stderr)
                self.assertEqual(node.missing(), [uuids[3]])
            out = node.divvy("forget", uuids[3])
            self.assertEqual((out.returncode, out.stdout, out.stderr), (0, "", ""))
            self.assertEqual((node.missing(), node.finding()), ([], None))
            node.stop()
            node.start()
            time.sleep(8)  # two looks
            self.assertEqual((node.missing(), node.finding()), ([], None))
            node.inject("--clear")
            harness.wait_for(lambda: node.uuids() == uuids, "it is used again", 40)

    def test_a_cluster_is_told(self):
        kubelet = os.path.join(self.directory, "kubelet")
        os.makedirs(os.path.join(kubelet, "device-plugins"))
        with kube_api.Server(self.directory, "n1", {}) as server, \
                self.node(args=["--kubernetes", "--kubeconfig", server.kubeconfig, "--node-name", "n1",
                                "--kubelet-dir", kubelet, "--cdi-dir", self.directory]) as node:
            def told(status, message):
                c = server.condition("DivvyGPUHealthy")
                return c and (c["status"], c["message"]) == (status, message)

            def units():
                return [(r["units"], r["healthy"]) for r in node.json("kubernetes")["resources"]]
            harness.wait_for(lambda: told("True", "4 GPUs are well"), "the condition is there")
            harness.wait_for(lambda: units() == [(4, 4)], "they are offered")
            uuid = node.uuids()[1]
            gone = f"{uuid} (GPU 1 before): the driver no longer counts it"
            node.inject("--gpu", "1", "--gone")
            harness.wait_for(lambda: told("False", gone), "the condition names it", 40)
            self.assertEqual(units(), [(4, 3)])
            harness.wait_for(lambda: server.events("GpuUnhealthy") == [gone], "one event names it")
            node.inject("--gpu", "1", "--reset")
            harness.wait_for(lambda: told("True", "4 GPUs are well"), "the condition is as before", 40)
            harness.wait_for(lambda: units() == [(4, 4)], "they are offered again")
            (event,) = harness.wait_for(lambda: server.events("GpuRecovered"), "an event says so")
            self.assertTrue(event.startswith(f"GPU 1 ({uuid}) is well again"), event)
            # Not even in the middle of a look, in which the others get other indices.
            self.assertNotRegex(node.log(), r"units=[^4]")
            self.assertNotIn("model.refused", node.log())
            uuid = node.uuids()[3]
            node.inject("--gpu", "3", "--gone")
            node.wait_for_missing(uuid)
            harness.wait_for(lambda: len(server.events("GpuUnhealthy")) == 2, "the next event")
            self.assertEqual(node.divvy("forget", uuid).returncode, 0)
            harness.wait_for(lambda: told("True", "3 GPUs are well"), "it is not missed any more")
            harness.wait_for(lambda: units() == [(3, 3)], "nor offered")
            self.assertEqual(len(server.events("GpuUnhealthy")), 2)
            self.assertEqual(len(server.events("GpuRecovered")), 1)


if __name__ == "__main__":
    unittest.main()
