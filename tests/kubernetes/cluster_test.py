# SPDX-License-Identifier: Apache-2.0
"""The cluster itself: that what the other tests stand on is there."""
from cluster import build, control, process
from harness import ClusterCase, pod


class Cluster(ClusterCase):
    def test_versions_are_the_pinned_ones(self):
        info = control.get("node", self.node.name)["status"]["nodeInfo"]
        self.assertEqual("v" + build.version_of("kubernetes"), info["kubeletVersion"])
        self.assertEqual("containerd://" + build.version_of("containerd"),
                         info["containerRuntimeVersion"])

    def test_a_pod_runs_and_can_be_entered(self):
        self.run_pod(pod("hello", "echo hello; sleep 600"))
        self.assertEqual("hello\n", process.wait("its log", lambda: self.logs("hello"), 10))
        done = control.kubectl("-n", self.namespace, "exec", "hello", "--", "echo", "inside")
        self.assertEqual("inside\n", done.stdout)

    def test_a_service_is_reached(self):
        web = pod("web", "mkdir /w; echo it is here > /w/index.html; exec httpd -f -p 8080 -h /w")
        web["metadata"]["labels"] = {"app": "web"}
        self.run_pod(web)
        self.apply({"apiVersion": "v1", "kind": "Service",
                    "metadata": {"name": "web", "namespace": self.namespace},
                    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}})
        address = self.get("service", "web")["spec"]["clusterIP"]
        # Who asks before the proxy knows it may have no answer at all.
        fetch = f"until busybox timeout 2 wget -qO- http://{address}/; do sleep 1; done"
        self.run_pod(pod("client", fetch), phase=("Succeeded",))
        self.assertEqual("it is here\n", self.logs("client"))

    def test_a_kubelet_that_is_killed_keeps_its_pods(self):
        uid = self.run_pod(pod("survivor", "sleep 600"))["metadata"]["uid"]
        self.node.kill_kubelet()
        self.node.start_kubelet()
        process.wait("the node to be ready again", self.node.is_ready, 60)
        found = self.await_phase("survivor", ("Running",))
        self.assertEqual(uid, found["metadata"]["uid"])
        self.assertEqual(0, found["status"]["containerStatuses"][0]["restartCount"])
