# SPDX-License-Identifier: Apache-2.0
"""GPUs that fall ill and are well again, as the cluster sees it: by the node's condition and events,
by the units that the kubelet may hand out, by what pods are told."""
import unittest

from agent import CONFIG_LABEL, MIG_LABEL, AgentCase
from cluster import control, process
from harness import pod

CONDITION = "DivvyGPUHealthy"
# GPUs 0 and 4 to 7 are whole; 1 by turns, 2 by percent, 3 in halves (agent.SHARES).
WELL = {"nvidia.com/gpu": "5", "nvidia.com/gpu.shared": "4", "divvy.dev/gpu-percent": "100",
        "nvidia.com/gpu.governed": "2"}


class Health(AgentCase):
    """Each GPU falls ill once at most: who does so again is held out for a while."""

    def inject(self, gpu, *what):
        sim = self.divvy_json("status")["daemon"]["sim"].removeprefix("unix:")
        control.kubectl("-n", "divvy", "exec", self.agent_pod()["metadata"]["name"], "--",
                        "divvy-sim", "inject", "--gpu", str(gpu), *what, "--socket", sim)

    def setUp(self):
        self.await_capacity(WELL)

    def tearDown(self):
        self.inject(0, "--clear")
        self.await_capacity(WELL, 40)

    def condition(self):
        found = control.get("node", self.node.name)["status"]["conditions"]
        return next((c for c in found if c["type"] == CONDITION), None)

    def await_condition(self, status, *words):
        def reached():
            self.now = self.condition()
            return (self.now and self.now["status"] == status and
                    all(w in self.now["message"] for w in words))
        try:
            process.wait(f"{CONDITION} {status} {words}", reached, 30)
        except TimeoutError as late:
            raise AssertionError(f"{late}; it is {self.now}\n{self.agent_logs()}") from late
        return self.now

    def await_pod_event(self, name, *words):
        try:
            process.wait(f"{name}: {words}", lambda: any(
                all(w in e for w in words) for e in self.events(name)), 30)
        except TimeoutError as late:
            raise AssertionError(f"{late}; there is {self.events(name)}\n{self.agent_logs()}") from late

    def uuid(self, gpu):
        return self.divvy_json("status")["gpus"][gpu]["uuid"]

    def test_all_parts_of_a_sick_gpu_and_no_others_are_unhealthy(self):
        self.await_condition("True", "8 GPUs are well")
        for gpu, resource, left in ((1, "nvidia.com/gpu.shared", "0"),
                                    (3, "nvidia.com/gpu.governed", "0"),
                                    (6, "nvidia.com/gpu", "4")):
            with self.subTest(resource):
                self.inject(gpu, "--xid", "48")
                self.await_capacity(WELL | {resource: left}, 20)
                self.await_condition("False", f"GPU {gpu} ({self.uuid(gpu)}): XID 48")
                self.await_event("GpuUnhealthy", self.uuid(gpu), "XID 48")
                self.inject(gpu, "--reset")
                self.await_capacity(WELL, 30)
                self.await_condition("True")
                self.await_event("GpuRecovered", self.uuid(gpu))

    def test_mig_devices_of_a_sick_gpu(self):
        self.addCleanup(self.await_capacity, WELL, 60)
        self.addCleanup(self.label_node, **{MIG_LABEL: "all-disabled"})
        self.label_node(**{MIG_LABEL: "one-cut"})
        cut = {"nvidia.com/gpu": "4", "nvidia.com/mig-1g.10gb": "2", "nvidia.com/mig-2g.20gb": "1",
               "nvidia.com/mig-3g.40gb": "1"}
        self.await_capacity(WELL | cut)
        self.inject(4, "--xid", "95")
        none = {k: "0" for k in cut if "mig" in k}
        self.await_capacity(WELL | cut | none, 20)
        self.inject(4, "--reset")
        self.label_node(**{MIG_LABEL: "all-disabled"})

    def test_pods_on_a_sick_gpu_are_told_and_others_go_on(self):
        self.run_pod(pod("patient", "sleep 3600", resources={"divvy.dev/gpu-percent": 25}))
        self.run_pod(pod("neighbour", "divvy-load spin --seconds 3600",
                         resources={"nvidia.com/gpu.governed": 1}))
        self.await_slice("neighbour")
        self.await_slice("patient")
        self.inject(2, "--xid", "79")
        self.await_capacity(WELL | {"divvy.dev/gpu-percent": "0"}, 20)
        self.await_pod_event("patient", "GpuUnhealthy", self.uuid(2))
        found = self.get("pod", "neighbour")
        self.assertEqual("Running", found["status"]["phase"])
        self.assertEqual(0, found["status"]["containerStatuses"][0]["restartCount"])
        self.assertFalse([e for e in self.events("neighbour") if "GpuUnhealthy" in e])

    def test_a_pod_whose_devices_divvy_did_not_hand_over_is_told_too(self):
        """A whole GPU by an environment variable has no slice: the kubelet knows who has it."""
        self.addCleanup(self.label_node, **{CONFIG_LABEL: None})
        self.label_node(**{CONFIG_LABEL: "whole"})
        self.await_capacity({"nvidia.com/gpu": "8"})
        self.run_pod(pod("whole", "sleep 3600", resources={"nvidia.com/gpu": 8}))
        self.assertNotIn(f"{self.namespace}/whole", self.slices())
        self.inject(7, "--xid", "48")
        self.await_pod_event("whole", "GpuUnhealthy", self.uuid(7))
        self.inject(7, "--reset")
        self.delete("whole")
        self.label_node(**{CONFIG_LABEL: None})

    def test_what_people_see(self):
        self.run_pod(pod("fraction", "sleep 3600", resources={"divvy.dev/gpu-percent": 30}))
        process.wait("the kubelet's word", lambda: next(
            (r for r in self.divvy_json("kubernetes")["resources"]
             if r["resource"] == "divvy.dev/gpu-percent"), {}).get("allocated") == 30, 30)
        said = self.divvy_json("kubernetes")
        self.assertEqual((self.node.name, "connected", None),
                         (said["node"], said["api_server"]["state"], said["api_server"]["problem"]))
        self.assertEqual(("shares", None), (said["config"]["key"], said["config"]["problem"]))
        self.assertEqual({"watched"}, {r["state"] for r in said["resources"]})
        self.assertEqual(100, next(r["units"] for r in said["resources"]
                                   if r["resource"] == "divvy.dev/gpu-percent"))
        self.assertIn("API server connected", self.divvy("status").stdout)
        found = self.divvy_json("doctor")["findings"]
        self.assertFalse([f for f in found if f["subject"] == "kubernetes"], found)


if __name__ == "__main__":
    unittest.main()
