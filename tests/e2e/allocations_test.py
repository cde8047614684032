#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""divvyd --kubernetes and a kubelet of grpcio's: what containers are allocated, and the CDI devices by
which a runtime finds it.

    allocations_test.py [--cache DIR]

Exit 77: skipped, since no Python package index can be reached.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import device_plugin_test
import harness
import kube_api
import kubelet_api

PERCENT = """\
version: v1
sharing: {governed: {resources: [{name: nvidia.com/gpu, percent: true}]}}
"""
MIG = """\
version: v1
mig-configs:
  seven: [{devices: [0, 1], mig-enabled: true, mig-devices: {1g.10gb: 7}}]
  "off": [{devices: all, mig-enabled: false}]
"""
BY_CDI = "version: v1\nflags: {plugin: {deviceListStrategy: cdi-cri}}\n"


class Kubelet(device_plugin_test.Kubelet):
    def __init__(self, directory):
        import grpc
        super().__init__(grpc, kubelet_api.make_messages(), directory)
        self.plugins = {}

    def register(self, request, _context):
        self.plugins[request.resource_name] = self.dial(request.endpoint)
        return self.messages["Empty"]()

    def units(self, resource):
        channel = harness.wait_for(lambda: self.plugins.get(resource), "it registers")
        lists, call = self.watch(channel)
        units = [d.ID for d in lists.get(timeout=device_plugin_test.WAIT).devices]
        call.cancel()
        return units

    def prefer(self, resource, available, size, must=()):
        question = self.messages["PreferredAllocationRequest"]()
        question.container_requests.add(available_deviceIDs=available, must_include_deviceIDs=must,
                                        allocation_size=size)
        answer = self.call("GetPreferredAllocation", question, "PreferredAllocationResponse",
                           self.plugins[resource])
        return list(answer.container_responses[0].deviceIDs)

    def allocate(self, resource, *containers):
        question = self.messages["AllocateRequest"]()
        for ids in containers:
            question.container_requests.add(devices_ids=ids)
        answer = self.call("Allocate", question, "AllocateResponse", self.plugins[resource])
        return list(answer.container_responses)


@unittest.skipUnless(os.geteuid() == 0, "--kubernetes needs root")
class Allocations(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="divvy-e2e-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.plugins = self.path("kubelet/device-plugins")
        self.cdi = self.path("cdi")
        for path in (self.plugins, self.cdi):
            os.makedirs(path)
        self.kubelet = Kubelet(self.plugins)
        self.kubelet.start()
        self.addCleanup(self.kubelet.stop)

    def path(self, name):
        return os.path.join(self.directory, name)

    def node(self, config, *args, kubeconfig="none", key="config.yaml", path="config.yaml"):
        with open(self.path(key), "w", encoding="utf-8") as f:
            f.write(config)
        return harness.Node("dgx-a100", ["--kubernetes", "--kubeconfig", kubeconfig, "--node-name",
                                         "n1", "--kubelet-dir", self.path("kubelet"), "--cdi-dir",
                                         self.cdi, "--plugin-config", self.path(path), *args],
                            self.directory)

    def devices(self):
        """The CDI devices that a runtime would find."""
        found = set()
        for name in os.listdir(self.cdi):
            with open(os.path.join(self.cdi, name), encoding="utf-8") as f:
                spec = json.load(f)
            found |= {f"{spec['kind']}={d['name']}" for d in spec["devices"]}
        return found

    def test_an_init_container_keeps_its_device_when_others_get_parts_of_it(self):
        """The kubelet asks for all containers of a pod before it starts the first, and gives what an
        init container has to those after it, too."""
        resource = "divvy.dev/gpu-percent"
        with self.node(PERCENT) as node:
            tokens = self.kubelet.prefer(resource, self.kubelet.units(resource), 50)
            (first,) = self.kubelet.allocate(resource, tokens)
            (main,) = self.kubelet.allocate(resource, tokens[:25])
            (other,) = self.kubelet.allocate(resource, tokens[25:])
            names = {c.cdi_devices[0].name for c in (first, main, other)}
            self.assertEqual(3, len(names))
            self.assertEqual(set(), names - self.devices())
            node.stop()
            shutil.rmtree(self.cdi)  # as after a reboot
            os.mkdir(self.cdi)
            node.start()
            harness.wait_for(lambda: not names - self.devices(), "all devices are there again")

    def finding(self, node, code):
        found = node.ask("GET", "/v1/doctor")[1]["findings"]
        return next((f for f in found if f["code"] == code), None)

    def mig(self, node, gpu):
        return node.json("status")["gpus"][gpu]["mig_enabled"]

    @unittest.skipUnless(shutil.which("openssl"), "no openssl")
    def test_a_gpu_of_a_pod_without_a_slice_is_not_cut(self):
        """A whole GPU by NVIDIA's runtime, or a container that has not started: no slice says that
        the pod has it, but the kubelet does."""
        resource = "nvidia.com/gpu"
        os.mkdir(self.path("kubelet/pod-resources"))
        account = Kubelet(self.path("kubelet/pod-resources"))
        account.start()
        self.addCleanup(account.stop)
        with open(self.path("mig.yaml"), "w", encoding="utf-8") as f:
            f.write(MIG)
        server = kube_api.Server(self.directory, "n1", {}).start()
        self.addCleanup(server.stop)
        with self.node("version: v1\nflags: {migStrategy: mixed}\n", "--mig-config", self.path("mig.yaml"),
                       kubeconfig=server.kubeconfig) as node:
            units = self.kubelet.units(resource)
            self.kubelet.allocate(resource, units[:1])
            pod = account.pods.pod_resources.add(name="idle", namespace="team")
            pod.containers.add(name="main").devices.add(resource_name=resource, device_ids=units[:1])
            server.set_labels({"nvidia.com/mig.config": "seven"})
            harness.wait_for(lambda: self.mig(node, 1), "the GPU that nobody has is cut")
            gpu = harness.wait_for(lambda: next((g for g in node.json("layout", "show")["gpus"]
                                                 if g["index"] == 0 and "team/idle" in
                                                 (g["detail"] or "")), None), "it waits for the pod")
            self.assertEqual("draining", gpu["state"])
            since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(gpu["waits_since_unix"]))
            finding = harness.wait_for(lambda: self.finding(node, "layout_awaits_pod"), "a finding")
            self.assertEqual(f"a change of GPU 0 has waited since {since} for pod team/idle",
                             finding["problem"])
            time.sleep(1)
            self.assertFalse(self.mig(node, 0))
            self.assertEqual("pending", node.json("kubernetes")["mig"]["state"])
            account.stop()  # as a kubelet that restarts
            harness.wait_for(lambda: any("kubelet is away" in (g["detail"] or "")
                                         for g in node.json("layout", "show")["gpus"]), "it is away")
            self.assertFalse(self.mig(node, 0))
            self.assertIn("team/idle", self.finding(node, "layout_awaits_pod")["problem"])
            pods = list(account.pods.pod_resources)
            account.pods.ClearField("pod_resources")  # it answers before it knows its pods
            account.lists = 0
            account.start()
            harness.wait_for(lambda: account.lists > 1, "it has been asked")
            time.sleep(0.5)
            self.assertFalse(self.mig(node, 0))
            account.pods.pod_resources.extend(pods)
            harness.wait_for(lambda: any("team/idle" in (g["detail"] or "")
                                         for g in node.json("layout", "show")["gpus"]), "it is back")
            account.pods.ClearField("pod_resources")
            harness.wait_for(lambda: self.mig(node, 0), "the pod has gone")
            self.assertIsNone(self.finding(node, "layout_awaits_pod"))
            harness.wait_for(lambda: node.json("kubernetes")["mig"]["state"] == "success", "done")
            units = self.kubelet.units("nvidia.com/mig-1g.10gb")
            pod = account.pods.pod_resources.add(name="starts", namespace="team")
            pod.containers.add(name="main").devices.add(resource_name="nvidia.com/mig-1g.10gb",
                                                        device_ids=units[:1])
            harness.wait_for(lambda: any(r["allocated"] for r in node.json("kubernetes")["resources"]),
                             "the kubelet's account has come")
            out = node.divvy("layout", "apply", self.path("mig.yaml"), "--config", "off")
            self.assertEqual(1, out.returncode, out.stdout)
            self.assertIn("team/starts", out.stderr)
            out = node.divvy("layout", "apply", self.path("mig.yaml"), "--config", "off", "--evict",
                             "--timeout", "4s")
            self.assertEqual(1, out.returncode, out.stdout)
            self.assertRegex(out.stderr, r"GPU [01] draining: pod team/starts is in the way, and holds no "
                                         r"slice that could be ended, until 20")
            self.assertIn("team/starts was still in the way when the time to wait was over", out.stderr)

    @unittest.skipUnless(shutil.which("openssl"), "no openssl")
    def test_a_pod_is_known_by_an_index_before_anything_is_offered(self):
        """A change of before a restart, while the label that chooses what is offered is waited for."""
        os.mkdir(self.path("kubelet/pod-resources"))
        os.mkdir(self.path("configs"))
        account = Kubelet(self.path("kubelet/pod-resources"))
        pod = account.pods.pod_resources.add(name="idle", namespace="team")
        pod.containers.add(name="main").devices.add(resource_name="nvidia.com/gpu", device_ids=["0"])
        account.start()
        self.addCleanup(account.stop)
        with open(self.path("mig.yaml"), "w", encoding="utf-8") as f:
            f.write(MIG)
        server = kube_api.Server(self.directory, "n1", {"nvidia.com/mig.config": "seven"}).start()
        self.addCleanup(server.stop)

        def waits(node):
            return any("team/idle" in (g["detail"] or "") for g in node.json("layout", "show")["gpus"])
        with self.node("version: v1\nflags: {migStrategy: mixed, plugin: {deviceIDStrategy: index}}\n",
                       "--mig-config", self.path("mig.yaml"), kubeconfig=server.kubeconfig,
                       key="configs/default", path="configs") as node:
            harness.wait_for(lambda: waits(node), "it waits for the pod")
            node.stop()
            server.stop()
            node.start()
            harness.wait_for(lambda: node.json("kubernetes")["resources"], "something is offered")
            harness.wait_for(lambda: waits(node) or self.mig(node, 0), "it goes on")
            self.assertFalse(self.mig(node, 0))

    def test_what_nobody_can_ask_for_any_more_goes(self):
        resource = "nvidia.com/gpu"
        with self.node(BY_CDI):
            units = self.kubelet.units(resource)
            for mask in range(1, 1 << len(units)):
                chosen = [u for i, u in enumerate(units) if mask & 1 << i]
                (got,) = self.kubelet.allocate(resource, chosen)
                self.assertIn(got.cdi_devices[0].name, self.devices())
            self.assertLess(len(self.devices()), 140)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", default=tempfile.gettempdir())
    parser.add_argument("--inside", action="store_true", help="the packages are there")
    args, rest = parser.parse_known_args()
    if args.inside:
        unittest.main(argv=[sys.argv[0], *rest])
    tools = harness.virtual_environment(args.cache, "grpcio", kubelet_api.PINS)
    sys.exit(subprocess.run([os.path.join(tools, "python3"), __file__, "--inside", *rest],
                            check=False, timeout=1200).returncode)


if __name__ == "__main__":
    main()
