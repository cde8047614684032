#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""divvyd --kubernetes without a cluster: what it says of itself, and labels in a file. On a real
cluster: tests/kubernetes."""
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import unittest
import urllib.request

import harness
import kube_api
from layout_crash_test import worker_of

CONFIG = """\
version: v1
flags: {migStrategy: mixed}
sharing:
  timeSlicing:
    resources: [{name: nvidia.com/gpu, replicas: %d}]
"""


class Alone(harness.Node):
    """With a folder where a kubelet would be, and no API server."""

    def __init__(self, *args, kubeconfig="none", **env):
        directory = tempfile.mkdtemp(prefix="divvy-e2e-")
        for name in ("kubelet/device-plugins", "cdi", "config"):
            os.makedirs(os.path.join(directory, name))
        super().__init__("dgx-a100", ["--kubernetes", "--kubeconfig", kubeconfig, "--node-name", "n1",
                                      "--kubelet-dir", f"{directory}/kubelet", "--cdi-dir",
                                      f"{directory}/cdi", "--plugin-config", f"{directory}/config",
                                      *(a.replace("@", directory) for a in args)],
                         directory, env)
        self.own_directory = True

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, text):
        unnamed = self.path(os.path.join(os.path.dirname(name), ".new"))  # no configuration's name
        with open(unnamed, "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(unnamed, self.path(name))

    def features(self):
        """The labels of the file; None: there is none."""
        if not os.path.exists(self.path("gfd")):
            return None
        with open(self.path("gfd"), encoding="utf-8") as f:
            return dict(line.strip().removeprefix("nvidia.com/").split("=", 1) for line in f)

    def offered(self):
        return [r["resource"] for r in self.json("kubernetes")["resources"]]

    def ever_offered(self):
        return set(re.findall(r" resource.offered resource=(\S+)", self.log()))

    def codes(self):
        found = json.loads(self.divvy("doctor", "-o", "json").stdout)["findings"]
        return {f["code"] for f in found if f["subject"] == "kubernetes"}


@unittest.skipUnless(os.geteuid() == 0, "--kubernetes needs root")
class Kubernetes(unittest.TestCase):
    def test_without_it(self):
        with harness.Node("a100") as node:
            self.assertEqual({"apiVersion": "divvy/v1", "kind": "KubernetesNode", "enabled": False},
                             node.json("kubernetes"))
            self.assertNotIn("kubernetes", node.json("status"))

    def test_what_it_says(self):
        with Alone("--listen=127.0.0.1:0") as node:
            harness.wait_for(lambda: node.json("kubernetes")["resources"], "something is offered")
            said = node.json("kubernetes")
            self.assertEqual(("n1", "none", None), (said["node"], said["api_server"]["state"],
                                                    said["registered_unix"]))
            self.assertEqual({"file": None, "key": None, "label": None, "problem": None},
                             said["config"])
            self.assertIsNone(said["mig"])
            gpus = said["resources"][0]
            self.assertEqual(("nvidia.com/gpu", 8, 8, None, "waiting"),
                             tuple(gpus[k] for k in ("resource", "units", "healthy", "allocated",
                                                     "state")))
            self.assertIn("kubelet.sock", gpus["problem"])
            self.assertEqual({k: v for k, v in said.items() if k in ("node", "labels", "cdi")},
                             {k: v for k, v in node.json("status")["kubernetes"].items()
                              if k in ("node", "labels", "cdi")})
            self.assertEqual(set(), node.codes())  # a kubelet may be away for as long as it starts
            node.write("config/only", "version: v1\nsharing: {timeSlicing: {resourcez: []}}\n")
            harness.wait_for(lambda: "config_refused" in node.codes(), "the configuration is wrong")
            self.assertIn("only:2:", node.json("kubernetes")["config"]["problem"])
            node.write("config/only", CONFIG % 2)
            harness.wait_for(lambda: node.json("kubernetes")["resources"][0]["units"] == 16, "16 units")
            self.assertEqual(("only", None), tuple(node.json("kubernetes")["config"][k]
                                                   for k in ("key", "problem")))
            self.check_metrics(node)

    def check_metrics(self, node):
        address = harness.wait_for(lambda: next(
            (word.split("=", 1)[1] for line in node.log().splitlines() for word in line.split()
             if word.startswith("listen=")), None), "it listens")
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=harness.PATIENCE) as answer:
            text = answer.read().decode()
        for line in ('divvy_kubernetes_units{resource="nvidia.com/gpu"} 16',
                     'divvy_kubernetes_healthy_units{resource="nvidia.com/gpu"} 16',
                     'divvy_kubernetes_registered{resource="nvidia.com/gpu"} 0',
                     "divvy_kubernetes_config_problem 0"):
            self.assertIn(line + "\n", text)
        self.assertNotIn("divvy_kubernetes_api_server_connected", text)
        self.assertNotIn("divvy_kubernetes_allocated_units{", text)

    def test_labels_in_a_file_follow_the_configuration_at_once(self):
        with Alone("--output-file=@/gfd", "--sleep-interval=1h") as node:
            harness.wait_for(node.features, "the file")
            self.assertEqual(("8", "1"), (node.features()["gpu.count"],
                                          node.features()["gpu.replicas"]))
            node.write("config/only", CONFIG % 4)
            harness.wait_for(lambda: node.features()["gpu.replicas"] == "4", "replicas")
            self.assertEqual("mixed", node.features()["mig.strategy"])
            self.assertEqual("file", node.json("kubernetes")["labels"]["by"])
            node.stop()
            self.assertIsNone(node.features())

    def test_labels_can_be_off(self):
        with Alone("--output-file=@/gfd", GFD_ENABLED="false") as node:
            harness.wait_for(lambda: node.json("kubernetes")["resources"], "something is offered")
            self.assertEqual({"by": "off", "problem": None}, node.json("kubernetes")["labels"])
            self.assertIsNone(node.features())

    def test_a_file_that_cannot_be_written_is_told(self):
        with Alone("--output-file=@/nowhere/gfd") as node:
            harness.wait_for(lambda: "labels_not_written" in node.codes(), "the doctor says so")
            self.assertIn("nowhere", node.json("kubernetes")["labels"]["problem"])

    def test_a_container_that_starts_while_the_agent_does_waits_for_it(self):
        """The kubelet has given it its GPU before: what it asks the agent for is offered soon."""
        directory = self.enterContext(tempfile.TemporaryDirectory())
        gpus = os.path.join(directory, "gpus.sock")
        first = "nvmlDeviceGetCount_v2"  # of the calls that a worker's first answer takes
        self.sim("start", "a100", "--socket", gpus)
        self.addCleanup(self.sim, "stop", "--socket", gpus)
        node = Alone()
        self.addCleanup(shutil.rmtree, node.directory, ignore_errors=True)
        self.addCleanup(node.close)
        node.sim = "unix:" + gpus
        node.start()
        uuid = node.json("status")["gpus"][0]["uuid"]
        node.stop()
        self.sim("inject", "--nvml-hang", first + "=0", "--socket", gpus)
        node.daemon = node.spawn_daemon("--nvml-timeout", "10m")
        harness.wait_for(lambda: node.divvy("status").returncode == 0, "the API answers")
        container = subprocess.Popen(["sleep", "600"])
        node.children.append(container)
        state = {"ociVersion": "1.0.2", "id": "c1", "pid": container.pid, "status": "created",
                 "bundle": "/b"}
        asked = {"resource": "nvidia.com/gpu", "devices": [uuid], "state": state}
        status, answer = node.ask("POST", "/v1/containers", asked)
        self.assertEqual((status, answer["reason"]), (503, "starting"), answer)
        self.sim("inject", "--clear", "--socket", gpus)
        os.kill(harness.wait_for(lambda: worker_of(node), "there is a worker"), signal.SIGKILL)
        harness.wait_for(lambda: node.ask("POST", "/v1/containers", asked)[0] != 503, "it is offered")
        s, = node.slices()
        self.assertEqual((s["mode"], s["container_id"]), ("exclusive", "c1"))

    def sim(self, *args):
        out = subprocess.run([harness.program("divvy-sim"), *args], env=harness.clean_env(), text=True,
                             capture_output=True, timeout=harness.PATIENCE, check=False)
        self.assertEqual(out.returncode, 0, out.stderr)

    @unittest.skipUnless(shutil.which("openssl"), "no openssl")
    def test_a_node_that_is_made_anew_gets_its_condition_and_labels_again(self):
        with tempfile.TemporaryDirectory() as keys, kube_api.Server(keys, "n1", {}) as server, \
                Alone(kubeconfig=server.kubeconfig):
            def is_told():
                return server.condition("DivvyGPUHealthy") and any(
                    path.endswith("/nodefeatures/nvidia-features-for-n1") for path, _ in server.written)
            harness.wait_for(is_told, "the condition and the NodeFeature")
            server.make_anew()
            harness.wait_for(is_told, "they are written again")

    def test_sharing_that_cannot_be_kept_is_tried_again(self):
        with Alone() as node:
            harness.wait_for(node.offered, "something is offered")
            db = sqlite3.connect(node.path("state/divvyd.db"), isolation_level=None)
            db.execute("BEGIN IMMEDIATE")  # nobody else can write
            try:
                node.write("config/default", CONFIG % 2)
                harness.wait_for(lambda: node.json("kubernetes")["config"]["problem"], "it is said")
            finally:
                db.execute("ROLLBACK")
                db.close()
            harness.wait_for(lambda: {d["layout_mode"] for g in node.ask("GET", "/v1/layout")[1]["gpus"]
                                      for d in g["devices"]} == {"timeslice"}, "they are shared")
            harness.wait_for(lambda: not node.json("kubernetes")["config"]["problem"], "all is well")

    def test_a_resource_that_cannot_be_served_keeps_no_other(self):
        long = "nvidia.com/" + 52 * "a"  # its socket's path would be too long
        with Alone() as node:
            harness.wait_for(lambda: node.ask("POST", "/v1/layout/apply", {
                "name": "one.yaml", "text": "apiVersion: divvy/v1\nkind: Layout\ngpus:\n"
                "  - gpu: 0\n    mig: [{profile: 1g.10gb}]\n"})[0] == 202, "a GPU is cut")
            node.write("config/default", CONFIG.replace("replicas", f"rename: {long}, replicas") % 2)
            harness.wait_for(lambda: "a socket's path" in (node.json("kubernetes")["config"]["problem"]
                                                           or ""), "it is said")
            harness.wait_for(lambda: "nvidia.com/mig-1g.10gb" in node.offered(), "the other is offered")

    @unittest.skipUnless(shutil.which("openssl"), "no openssl")
    def test_the_nodes_label_counts_from_the_start(self):
        """What nodes without the label have is never offered to one that has it, neither before the
        API server has answered nor, after a restart, while it is away."""
        label = "nvidia.com/device-plugin.config"
        with tempfile.TemporaryDirectory() as keys:
            other = kube_api.Server(keys, "n1", {})
            self.addCleanup(other.stop)
            with kube_api.Server(keys, "n1", {label: "shared"}, delay=1.5) as server, \
                    Alone(kubeconfig=server.kubeconfig) as node:
                node.stop()  # the first start had no configurations
                os.unlink(node.log_path)
                shutil.rmtree(node.state)
                node.write("config/default", "version: v1\n")
                node.write("config/shared", CONFIG.replace("resources:", "renameByDefault: true\n"
                                                           "    resources:") % 4)
                node.start()
                harness.wait_for(lambda: node.offered() == ["nvidia.com/gpu.shared"], "the label counts")
                self.assertEqual({"nvidia.com/gpu.shared"}, node.ever_offered())
                server.stop()
                node.stop()
                os.unlink(node.log_path)
                node.start()
                harness.wait_for(node.offered, "something is offered")
                self.assertEqual({"nvidia.com/gpu.shared"}, node.ever_offered())
                self.assertEqual(("shared", "shared"), tuple(node.json("kubernetes")["config"][k]
                                                             for k in ("key", "label")))
                node.stop()
                node.args[node.args.index("--kubeconfig") + 1] = other.start().kubeconfig
                os.unlink(node.log_path)
                node.start()
                harness.wait_for(lambda: node.offered() == ["nvidia.com/gpu"],
                                 "the label has gone meanwhile")
                self.assertEqual({"nvidia.com/gpu"}, node.ever_offered())


if __name__ == "__main__":
    unittest.main()
