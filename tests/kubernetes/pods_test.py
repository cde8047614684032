# SPDX-License-Identifier: Apache-2.0
"""Pods of every kind on one node: what each sees of the GPUs, where it is stopped, and that its
neighbours do not notice. All by CDI in real containers; what divvy-load does there is what a CUDA
program does."""
import json
import unittest

from agent import AgentCase
from cluster import control, process
from harness import pod

GIB = 1 << 30


class Pods(AgentCase):
    def held(self, name, resources, cap):
        """It sees one device, has a good part of what it may have, and not a byte more."""
        self.hold(name, resources)
        status, said = self.load(name, "alloc", "--bytes", cap * 9 // 10)
        self.assertEqual(0, status, said)
        status, said = self.load(name, "alloc", "--bytes", cap + 1)
        self.assertEqual((1, 2), (status, said["cuda_error"]), said)
        listed = control.kubectl("-n", self.namespace, "exec", name, "--", "nvidia-smi", "-L").stdout
        self.assertEqual(1, listed.count("UUID"), listed)

    def test_each_kind_is_stopped_at_its_own_cap(self):
        self.held("whole", {"nvidia.com/gpu": 1}, 80 * GIB)
        self.held("half", {"nvidia.com/gpu.governed": 1}, 40 * GIB)
        self.held("fraction", {"divvy.dev/gpu-percent": 25}, 20 * GIB)
        self.hold("turns", {"nvidia.com/gpu.shared": 1})
        self.assertEqual(0, self.load("turns", "spin", "--seconds", "1")[0])

    def test_neighbours_do_not_notice_who_is_stopped(self):
        self.hold("first", {"divvy.dev/gpu-percent": 50})
        self.hold("second", {"divvy.dev/gpu-percent": 30})
        for _ in range(3):
            self.assertEqual(1, self.load("second", "alloc", "--bytes", 25 * GIB)[0])
            status, said = self.load("first", "spin", "--seconds", "1")
            self.assertEqual(0, status, said)

    def test_nothing_is_visible_without_asking(self):
        self.hold("nothing", None)
        self.assertNotEqual(0, control.kubectl("-n", self.namespace, "exec", "nothing", "--",
                                               "divvy-load", "spin", "--seconds", "1",
                                               check=False).returncode)

    def by_pod(self, verb):
        """The lines of this namespace's pods, by their names; they sum to the namespace's own."""
        answer = json.loads(self.divvy(verb, "--by", "pod", "-o", "json").stdout)
        lines = [n for n in answer["lines"] if n["tenant"] == self.namespace]
        whole = [t for t in answer["tenants"] if t["tenant"] == self.namespace]
        self.assertAlmostEqual(whole[0]["busy_seconds"], sum(n["busy_seconds"] for n in lines))
        return {n["pod"]: n for n in lines}

    def test_pods_appear_by_namespace_and_name(self):
        self.hold("known", {"nvidia.com/gpu.governed": 1})
        self.load("known", "spin", "--seconds", "2")
        s = self.await_slice("known")
        self.assertEqual(("main", self.namespace), (s["container"], s["tenant"]))
        usage = self.divvy("usage", "--by", "tenant", "-o", "json").stdout
        self.assertIn(self.namespace, usage)
        bill = self.divvy("bill", "-o", "json").stdout
        self.assertIn(self.namespace, bill)
        lines = self.by_pod("usage")
        self.assertGreater(lines["known"]["busy_seconds"], 1)
        self.assertLessEqual(lines["known"]["busy_seconds"], 3)
        lines = self.by_pod("bill")
        self.assertGreater(lines["known"]["used_cost_micros"], 0)
        one = json.loads(self.divvy("usage", "--pod", f"{self.namespace}/known", "-o", "json").stdout)
        self.assertEqual([self.namespace], [t["tenant"] for t in one["tenants"]])
        self.assertGreater(one["tenants"][0]["busy_seconds"], 1)

    def test_a_pod_that_divvy_did_not_serve_is_named_and_charged(self):
        """It finds the driver by a mount, not by the kubelet, and uses a GPU that others share."""
        self.hold("served", {"nvidia.com/gpu.governed": 1})
        stray = pod("stray", "divvy-load spin --seconds 40; sleep 3600",
                    volumes=[{"name": "host", "hostPath": {"path": "/var/lib/divvy"}}])
        stray["spec"]["containers"][0] |= {
            "volumeMounts": [{"name": "host", "mountPath": "/host"}],
            "env": [{"name": "LD_LIBRARY_PATH", "value": "/host/host/sim"},
                    {"name": "DIVVY_SIM_SOCKET", "value": "/host/sim.sock"},
                    {"name": "CUDA_VISIBLE_DEVICES", "value": "3"}]}
        self.run_pod(stray)
        key = f"{self.namespace}/stray/main"
        process.wait("it to be named", lambda: key in json.dumps(self.divvy_json("status")), 30)
        process.wait("it to be charged", lambda: self.by_pod("usage").get(
            "stray", {}).get("busy_seconds", 0) > 2, 30)
        self.assertNotIn("stray", [s.get("pod") for s in self.slices().values()])

    def test_a_slice_ends_with_its_pod(self):
        self.hold("passing", {"nvidia.com/gpu.governed": 1})
        self.await_slice("passing")
        self.delete("passing")
        process.wait("its slice to end",
                     lambda: f"{self.namespace}/passing" not in self.slices(), 20)

    def test_more_than_one_share_is_refused(self):
        self.apply(dict(pod("greedy", "true", resources={"nvidia.com/gpu.shared": 2}),
                        metadata={"name": "greedy", "namespace": self.namespace}))
        self.addCleanup(self.delete, "greedy")
        found = process.wait("the kubelet's word", lambda: (lambda p: p if p["status"].get("reason")
                             else None)(self.get("pod", "greedy")), 30)
        self.assertEqual("UnexpectedAdmissionError", found["status"]["reason"])
        self.assertIn("maximum request size for shared resources is 1; found 2",
                      found["status"]["message"])

    def test_a_killed_kubelet_gives_the_same_devices_to_the_same_pods(self):
        uid = self.hold("steady", {"divvy.dev/gpu-percent": 10})["metadata"]["uid"]
        before = self.await_slice("steady")
        self.node.kill_kubelet()
        self.node.start_kubelet()
        process.wait("the node to be ready again", self.node.is_ready, 60)
        self.await_watched()
        self.await_capacity({"divvy.dev/gpu-percent": "100", "nvidia.com/gpu.shared": "4"})
        found = self.await_phase("steady", ("Running",))
        self.assertEqual(uid, found["metadata"]["uid"])
        self.assertEqual(0, found["status"]["containerStatuses"][0]["restartCount"])
        self.assertEqual(before["id"], self.await_slice("steady")["id"])
        self.assertEqual(0, self.load("steady", "spin", "--seconds", "1")[0])


if __name__ == "__main__":
    unittest.main()
