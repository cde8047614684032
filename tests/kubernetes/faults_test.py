# SPDX-License-Identifier: Apache-2.0
"""What fails around a node's agent, and the agent itself: kubelet, sockets, API server, reboot. The
GPUs are a simulation beside the agent, since a driver outlives it too."""
import json
import os
import signal
import struct
import subprocess
import time
import unittest

from agent import CONFIG_LABEL, CONFIGS, AgentCase
from cluster import control, node, process
from harness import STAGE, pod

SIM = "/run/divvy/sim.sock"
SOCKETS = "/var/lib/kubelet/device-plugins"
SHARED = "nvidia.com/gpu.shared"
PERCENT = "divvy.dev/gpu-percent"
GIB = 1 << 30
# Eight GPUs in 125 parts each.
MANY = """\
version: v1
flags: {plugin: {deviceListStrategy: cdi-cri}}
sharing:
  timeSlicing:
    renameByDefault: true
    resources: [{name: nvidia.com/gpu, replicas: 125}]
"""


class Faults(AgentCase):
    more = {"simulate": f"unix:{SIM}",
            "config": {"map": {**CONFIGS, "many": MANY}, "default": "shares"}}
    sim_socket = SIM

    @classmethod
    def setUpClass(cls):
        one = node.Node(1)
        process.start("divvy-sim", [STAGE / "bin/divvy-sim", "start", "dgx-a100", "--foreground",
                                    "--socket", SIM], prefix=one.enter())
        cls.addClassCleanup(process.stop, "divvy-sim")
        process.wait("the simulated node", one.path(SIM).exists, 20, ("divvy-sim",))
        super().setUpClass()

    def task(self, found, container=0):
        """The first process of a pod's container."""
        wanted = found["status"]["containerStatuses"][container]["containerID"].split("://")[1]
        for line in self.node.ctr("task", "ls").stdout.splitlines():
            fields = line.split()
            if fields and fields[0] == wanted and fields[2] == "RUNNING":
                return int(fields[1])
        self.fail(f"no task {wanted}")

    def kill_agent(self):
        before = self.agent_pod()["status"]["containerStatuses"][0]["restartCount"]
        os.kill(self.task(self.agent_pod()), signal.SIGKILL)
        process.wait("another agent", lambda: self.agent_pod()["status"]["containerStatuses"][0][
            "restartCount"] > before, 120)
        process.wait("it to be ready", self.agent_is_ready, 120)

    def restart_kubelet(self):
        self.node.kill_kubelet()
        self.node.start_kubelet()
        process.wait("the node to be ready again", self.node.is_ready, 60)

    def await_all(self, timeout=60):
        self.await_watched(timeout)
        self.await_capacity({PERCENT: "100", SHARED: "4", "nvidia.com/gpu.governed": "2",
                             "nvidia.com/gpu": "5"}, timeout)

    def restartable(self, name):
        return self.run_pod(pod(name, "sleep 3600", resources={PERCENT: 10}, restartPolicy="Always"))

    def socket(self, resource=PERCENT):
        """The one in use: another has a number behind its name (platform/kubelet)."""
        plain = self.node.path(f"{SOCKETS}/divvy-{resource.replace('/', '_')}.sock")
        return max(plain.parent.glob(f"{plain.name}*"), key=lambda f: f.stat().st_ctime_ns,
                   default=plain)

    def on_node(self, *args):
        """`divvy` on the node itself, for when nothing leads into pods; "" where nobody answers."""
        done = subprocess.run([*self.node.enter(), str(STAGE / "bin/divvy"), "--socket",
                               "/run/divvy/divvyd.sock", *args], capture_output=True, text=True,
                              check=False)
        return done.stdout if done.returncode == 0 else ""

    def restart_server(self):
        control.start_apiserver()
        process.wait("the server", control.answers, 120, ("kube-apiserver",))
        process.wait("the node to be ready", self.node.is_ready, 90)

    def on_node_sim(self, *args):
        self.node.run(STAGE / "bin/divvy-sim", *args, "--socket", SIM, capture_output=True)

    def test_a_killed_agent_leaves_pods_at_their_caps_and_finds_them_again(self):
        leak = "divvy-load leak --first 19GiB --rate 256MiB --seconds 600 -o json; sleep 3600"
        leaking = self.run_pod(pod("leaking", leak, resources={PERCENT: 25}))
        steady = self.hold("steady", {"nvidia.com/gpu.governed": 1})
        slices = {name: self.await_slice(name)["id"] for name in ("leaking", "steady")}
        agent = self.task(self.agent_pod())
        os.kill(agent, signal.SIGSTOP)
        try:
            process.wait("the leak to be stopped", lambda: "out of memory" in self.logs(
                "leaking").lower().replace("_", " "), 60)
        finally:
            os.kill(agent, signal.SIGCONT)
        self.kill_agent()
        self.await_all()
        for name, before in (("leaking", leaking), ("steady", steady)):
            self.assert_untouched(before)
            self.assertEqual(slices[name], self.await_slice(name)["id"])
        status, said = self.load("steady", "alloc", "--bytes", 40 * GIB + 1)
        self.assertEqual((1, 2), (status, said["cuda_error"]), said)

    def test_the_kubelets_socket_is_removed(self):
        steady = self.hold("steady", {PERCENT: 10})
        self.node.path(f"{SOCKETS}/kubelet.sock").unlink()
        self.addCleanup(self.restart_kubelet)
        time.sleep(2)
        self.hold("new", {PERCENT: 10})
        self.assert_untouched(steady)

    def test_sockets_of_ours_are_removed(self):
        steady = self.hold("steady", {PERCENT: 10})
        for i in range(3):
            self.socket().unlink()
            process.wait("another socket", lambda: self.socket().exists(), 20)
            # The kubelet has lost the list with it, for a moment.
            self.await_all()
            self.hold(f"new-{i}", {PERCENT: 10})
        self.assert_untouched(steady)
        self.assertEqual(0, self.load("steady", "spin", "--seconds", "1")[0])

    def test_the_kubelet_comes_after_the_agent(self):
        steady = self.hold("steady", {PERCENT: 10})
        self.node.path(f"{SOCKETS}/kubelet.sock").unlink()
        self.kill_agent()
        self.await_capacity({PERCENT: None, SHARED: None})
        self.restart_kubelet()
        self.await_all()
        self.assert_untouched(steady)
        self.hold("new", {PERCENT: 10})

    def test_kubelets_that_die_again_and_again(self):
        steady = self.hold("steady", {PERCENT: 10})
        for _ in range(4):
            self.restart_kubelet()
            self.await_all()
        # Each has noticed that its plugins went, and the next agent is not taken for the old.
        self.kill_agent()
        self.await_all()
        self.assert_untouched(steady)
        self.hold("new", {PERCENT: 10})

    def test_a_kubelet_that_stands_still(self):
        """It answers Register too late and does not read its lists; then it goes on."""
        steady = self.hold("steady", {PERCENT: 10})
        kubelet = process.running(f"{self.node.name}-kubelet")
        self.addCleanup(self.await_all)
        self.addCleanup(self.label_node, **{CONFIG_LABEL: None})
        os.kill(kubelet, signal.SIGSTOP)
        try:
            self.socket(SHARED).unlink()  # must be registered anew
            deadline = time.monotonic() + 25  # a Register is given up after 15 s
            while time.monotonic() < deadline:
                for config in ("whole", None, "eight"):
                    self.label_node(**{CONFIG_LABEL: config})
                    time.sleep(0.7)
                self.assertTrue(json.loads(self.on_node("status", "-o", "json"))["gpus"])
        finally:
            os.kill(kubelet, signal.SIGCONT)
        process.wait("the node to be ready", self.node.is_ready, 60)
        self.await_capacity({SHARED: "8", PERCENT: "100", "nvidia.com/gpu": "5"}, timeout=120)
        self.await_watched()
        self.assert_untouched(steady)
        self.hold("new", {SHARED: 1})
        self.assertEqual(0, self.load("new", "spin", "--seconds", "0.5")[0])
        self.delete("new", "steady")
        # It notices that plugins end, whatever it was asked while it stood.
        self.label_node(**{CONFIG_LABEL: "whole"})
        self.await_capacity({SHARED: None, PERCENT: None, "nvidia.com/gpu.governed": None,
                             "nvidia.com/gpu": "8"})

    def test_the_api_server_is_gone_for_minutes(self):
        """Containers start again, GPUs fall ill and recover, the agent itself dies meanwhile."""
        self.restartable("restarts")
        steady = self.hold("steady", {"nvidia.com/gpu.governed": 1})
        first, agent = self.task(self.get("pod", "restarts")), self.task(self.agent_pod())
        process.stop("kube-apiserver")
        self.addCleanup(self.restart_server)
        began = time.monotonic()
        os.kill(first, signal.SIGKILL)
        while time.monotonic() < began + 60:
            for gpu in ("0", "5", "6"):
                for what in (("--xid", "48"), ("--reset",)):
                    self.on_node_sim("inject", "--gpu", gpu, *what)
                    time.sleep(1.2)
        os.kill(agent, signal.SIGKILL)
        # Without a server it offers what it knows of the node by itself.
        process.wait("another agent that knows all GPUs", lambda: len(json.loads(
            self.on_node("status", "-o", "json") or '{"gpus":[]}')["gpus"]) == 8, 60)
        self.on_node_sim("inject", "--gpu", "6", "--xid", "79")
        time.sleep(max(0, began + 120 - time.monotonic()))
        slices = {s.get("pod"): s for s in json.loads(self.on_node("ps", "-o", "json"))["slices"]}
        self.assertEqual({"restarts", "steady"}, {"restarts", "steady"} & set(slices))
        self.restart_server()
        self.await_capacity({PERCENT: "100", SHARED: "4", "nvidia.com/gpu": "4"}, timeout=120)
        process.wait("the condition", lambda: [
            c for c in control.get("node", self.node.name)["status"]["conditions"]
            if c["type"] == "DivvyGPUHealthy" and c["status"] == "False" and "GPU 6" in c["message"]
            and "GPU 5" not in c["message"]], 90)
        self.on_node_sim("inject", "--gpu", "6", "--reset")
        self.assert_untouched(steady)
        # The kubelet compares with the node that it has in its cache (tryUpdateNodeStatus), which still
        # says 5 until its watch is there again: up to a minute after the last failure (client-go's
        # reflector, 30 s and as much at random). So long it sees nothing to report.
        self.await_all(timeout=90)
        self.hold("new", {PERCENT: 10})
        self.assertEqual(0, self.load("new", "spin", "--seconds", "0.5")[0])

    def test_the_api_server_is_away(self):
        self.restartable("steady")
        before = self.await_slice("steady")["id"]
        first = self.task(self.get("pod", "steady"))
        server = process.running("kube-apiserver")
        os.kill(server, signal.SIGSTOP)
        try:
            time.sleep(15)
            os.kill(first, signal.SIGKILL)
            began = time.monotonic()
            # The kubelet starts it again by what it knows, and it has a slice again.
            process.wait("another slice", lambda: [
                s for s in json.loads(self.on_node("ps", "-o", "json") or '{"slices":[]}')["slices"]
                if s.get("pod") == "steady" and s["id"] != before], 15)
            time.sleep(max(0, began + 15 - time.monotonic()))
        finally:
            os.kill(server, signal.SIGCONT)
        process.wait("the server", control.answers, 60)
        process.wait("the node to be ready", self.node.is_ready, 60)
        self.await_phase("steady", ("Running",))
        self.assertEqual(0, self.load("steady", "spin", "--seconds", "1")[0])
        self.addCleanup(self.await_all)
        self.addCleanup(self.label_node, **{CONFIG_LABEL: None})
        self.label_node(**{CONFIG_LABEL: "eight"})
        self.await_capacity({SHARED: "8", PERCENT: "100"}, timeout=90)

    def test_a_reboot_empties_the_cdi_directory(self):
        self.restartable("steady")
        cdi = self.node.path("/run/cdi")
        names = {f.name for f in cdi.iterdir()}
        self.assertTrue(names)
        for name in names:
            (cdi / name).unlink()
        self.kill_agent()
        self.await_all()
        process.wait("the CDI files", lambda: names <= {f.name for f in cdi.iterdir()}, 20)
        os.kill(self.task(self.get("pod", "steady")), signal.SIGKILL)
        process.wait("the container to run again", lambda: (lambda s: s["restartCount"] and
                     "running" in s["state"])(
                         self.get("pod", "steady")["status"]["containerStatuses"][0]), 60)
        self.assertEqual(0, self.load("steady", "spin", "--seconds", "1")[0])

    def test_an_unknown_device_is_refused(self):
        unknown = b"GPU-00000000-0000-0000-0000-000000000000::p0"
        ids = b"\n" + bytes([len(unknown)]) + unknown
        request = b"\n" + bytes([len(ids)]) + ids
        done = subprocess.run(
            ["curl", "-sS", "--http2-prior-knowledge", "--unix-socket", str(self.socket()),
             "-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", "@-",
             "-D", "-", "-o", "/dev/null", "http://localhost/v1beta1.DevicePlugin/Allocate"],
            input=struct.pack(">BI", 0, len(request)) + request, capture_output=True, check=True)
        said = done.stdout.decode()
        self.assertRegex(said, r"(?i)grpc-status: 3\b")
        self.assertIn("unknown device", said)

    def test_a_thousand_devices(self):
        self.addCleanup(self.await_all)
        self.addCleanup(self.label_node, **{CONFIG_LABEL: None})
        self.label_node(**{CONFIG_LABEL: "many"})
        self.await_capacity({SHARED: "1k", PERCENT: None})  # as Kubernetes writes 1000
        self.hold("one", {SHARED: 1})
        self.assertEqual(0, self.load("one", "spin", "--seconds", "1")[0])
        self.delete("one")


if __name__ == "__main__":
    unittest.main()
