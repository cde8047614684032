# SPDX-License-Identifier: Apache-2.0
"""The exercise that guides to time-slicing end with: one GPU in four turns, three Deployments on it, a
fourth pod that fits and a fifth that does not; what metrics show of it; another configuration by label."""
import re
import subprocess
import unittest
import urllib.request

from agent import CONFIG_LABEL, NAMESPACE, AgentCase
from cluster import build, control, paths, process
from harness import BASE, pod

SHARED = "nvidia.com/gpu.shared"
HELD = 2048  # MiB that each worker holds
FOUR = """\
version: v1
sharing:
  timeSlicing:
    renameByDefault: true
    failRequestsGreaterThanOne: true
    resources:
      - name: nvidia.com/gpu
        replicas: 4
"""
SAME_NAME = FOUR.replace("renameByDefault: true", "renameByDefault: false")
CONFIGS = {"timeslice-4": FOUR, "timeslice-6": FOUR.replace("replicas: 4", "replicas: 6"),
           "timeslice-same-name": SAME_NAME}
METRIC = re.compile(r'^(DCGM_FI_DEV_\w+)\{(.*)\} (\S+)$')


def deployment(name, command):
    container = {"name": "gpu-workload", "image": BASE, "imagePullPolicy": "Never",
                 "command": ["/bin/sh", "-c", command], "resources": {"limits": {SHARED: 1}}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}},
                     "template": {"metadata": {"labels": {"app": name}},
                                  "spec": {"containers": [container], "dnsPolicy": "Default",
                                           "terminationGracePeriodSeconds": 1}}}}


class Exercise(AgentCase):
    # --device-list-strategy as a setting over all configurations, as with NVIDIA's chart.
    more = {"simulate": "a100", "config": {"map": CONFIGS, "default": "timeslice-4"},
            "deviceListStrategy": "cdi-cri", "migManager": {"enabled": False}}
    first = {SHARED: "4", "nvidia.com/gpu": None}

    def workers(self, wanted=3):
        """The names of the Deployments' pods, once they run."""
        def running():
            found = control.get("-n", self.namespace, "pods")["items"]
            names = [p["metadata"]["name"] for p in found if p["status"].get("phase") == "Running"
                     and "deletionTimestamp" not in p["metadata"]
                     and p["metadata"]["name"].startswith("inference-worker-")]
            return names if len(names) == wanted else None
        return process.wait(f"{wanted} workers", running, 60)

    def start_workers(self):
        for i in (1, 2, 3):
            one = deployment(f"inference-worker-{i}",
                             f"exec divvy-load spin --kernel-us 5000 --memory {HELD}MiB --seconds 3600")
            one["metadata"]["namespace"] = self.namespace
            self.apply(one)
            self.addCleanup(self.remove_worker, i)
        return self.workers()

    def remove_worker(self, i):
        """With its pod: what that has would be given to whoever asks first."""
        control.kubectl("-n", self.namespace, "delete", "deployment", f"inference-worker-{i}",
                        "--ignore-not-found", "--cascade=foreground")

    def metrics(self):
        """The page for dashboards, through the port that it has in the agent's pod: {name: [(labels,
        value)]}."""
        tunnel = subprocess.Popen(
            [str(build.program("kubectl")), f"--kubeconfig={paths.KUBECONFIG}", "-n", NAMESPACE,
             "port-forward", self.agent_pod()["metadata"]["name"], ":9400"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            port = tunnel.stdout.readline().split(" -> ")[0].rsplit(":", 1)[1]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics/dcgm", timeout=10) as page:
                text = page.read().decode()
        finally:
            tunnel.kill()
            tunnel.wait()
            tunnel.stdout.close()
        found = {}
        for line in text.splitlines():
            m = METRIC.match(line)
            if m:
                labels = dict(re.findall(r'(\w+)="([^"]*)"', m[2]))
                found.setdefault(m[1], []).append((labels, float(m[3])))
        return found

    def of_gpu(self, name):
        """The one figure of the one GPU, not those of its containers."""
        rows = [value for labels, value in self.metrics().get(name, []) if not labels.get("pod")]
        self.assertEqual(1, len(rows), f"{name}: {rows}")
        return rows[0]

    def test_1_three_workers_see_one_gpu_and_the_metrics_their_sum(self):
        workers = self.start_workers()
        seen = {self.within(w, "nvidia-smi", "--query-gpu=gpu_name,gpu_uuid,memory.total",
                            "--format=csv,noheader").strip() for w in workers}
        self.assertEqual(1, len(seen), seen)
        self.assertRegex(seen.pop(), r"^NVIDIA A100-SXM4-80GB, GPU-[0-9a-f-]{36}, \d+ MiB$")
        said = self.within(workers[0], "nvidia-smi",
                           "--query-gpu=utilization.gpu,utilization.memory,memory.used",
                           "--format=csv,noheader")
        self.assertRegex(said, r"^\d+ %, \d+ %, \d+ MiB")
        # Contexts and the driver take their part beside what was asked for.
        process.wait("all that the workers hold",
                     lambda: 3 * HELD <= self.of_gpu("DCGM_FI_DEV_FB_USED") < 5 * HELD, 20)
        process.wait("the GPU to be busy", lambda: self.of_gpu("DCGM_FI_DEV_GPU_UTIL") > 50, 20)
        each = [v for labels, v in self.metrics()["DCGM_FI_DEV_FB_USED"] if labels.get("pod")]
        self.assertEqual(3, len(each))
        self.assertTrue(all(v >= HELD for v in each), each)

    def test_2_a_fourth_runs_and_a_fifth_waits_until_there_is_room(self):
        self.start_workers()
        self.run_pod(pod("inference-worker-4", "sleep 3600", resources={SHARED: 1}))
        fifth = pod("inference-worker-5", "sleep 3600", resources={SHARED: 1})
        self.addCleanup(self.delete, "inference-worker-5")
        fifth["metadata"]["namespace"] = self.namespace
        self.apply(fifth)
        process.wait("the scheduler's word", lambda: any(
            f"Insufficient {SHARED}" in e for e in self.events("inference-worker-5")), 30)
        self.assertEqual("Pending", self.get("pod", "inference-worker-5")["status"]["phase"])
        self.delete("inference-worker-4")
        self.await_phase("inference-worker-5", ("Running",))

    def test_3_another_label_changes_the_replicas(self):
        self.label_node(**{CONFIG_LABEL: "timeslice-6"})
        self.addCleanup(self.await_capacity, {SHARED: "4"})
        self.addCleanup(self.label_node, **{CONFIG_LABEL: None})
        self.await_capacity({SHARED: "6", "nvidia.com/gpu": None})

    def test_4_another_label_renames(self):
        self.label_node(**{CONFIG_LABEL: "timeslice-same-name"})
        self.addCleanup(self.await_capacity, {SHARED: "4", "nvidia.com/gpu": None})
        self.addCleanup(self.label_node, **{CONFIG_LABEL: None})
        self.await_capacity({SHARED: None, "nvidia.com/gpu": "4"})
        self.hold("plain", {"nvidia.com/gpu": 1})
        self.assertEqual(0, self.load("plain", "spin", "--seconds", "1")[0])
        self.delete("plain")

    def test_5_two_shares_of_one_gpu_are_refused(self):
        greedy = pod("greedy", "true", resources={SHARED: 2})
        greedy["metadata"]["namespace"] = self.namespace
        self.apply(greedy)
        self.addCleanup(self.delete, "greedy")
        found = process.wait("the kubelet's word", lambda: self.get("pod", "greedy")["status"].get(
            "message"), 30)
        self.assertIn("maximum request size for shared resources is 1; found 2", found)


if __name__ == "__main__":
    unittest.main()
