# SPDX-License-Identifier: Apache-2.0
"""The GPU Operator's ClusterPolicy, without the operator: the resource alone, as far as it is read."""
import json
import unittest

from agent import EIGHT, MPS, NAMESPACE, SHARES, WHOLE, AgentCase
from cluster import control, process

SHARED = "nvidia.com/gpu.shared"
RESOURCE = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "clusterpolicies.nvidia.com"},
    "spec": {"group": "nvidia.com", "scope": "Cluster",
             "names": {"kind": "ClusterPolicy", "plural": "clusterpolicies", "singular": "clusterpolicy"},
             "versions": [{"name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
                           "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                               p: {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                               for p in ("spec", "status")}}}}]}}
WELL = {SHARED: "4", "nvidia.com/gpu": "5"}


class Policy(AgentCase):
    # clusterPolicy is not said: the chart finds the resource.
    more = {"config": {"map": {"shares": SHARES, "whole": WHOLE}, "default": "whole"}}
    first = {"nvidia.com/gpu": "8"}

    @classmethod
    def setUpClass(cls):
        cls.apply(RESOURCE)
        cls.addClassCleanup(control.kubectl, "delete", "customresourcedefinition",
                            RESOURCE["metadata"]["name"], check=False)
        process.wait("the resource", lambda: control.kubectl(
            "get", "clusterpolicies", check=False).returncode == 0, 60)
        super().setUpClass()

    def setUp(self):
        self.addCleanup(self.await_capacity, {"nvidia.com/gpu": "8", SHARED: None})
        self.addCleanup(control.kubectl, "delete", "clusterpolicy", "--all")

    def say(self, spec):
        self.apply({"apiVersion": "nvidia.com/v1", "kind": "ClusterPolicy",
                    "metadata": {"name": "cluster-policy"}, "spec": spec})

    def configs(self, **data):
        self.apply({"apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": "gpu-configs", "namespace": NAMESPACE}, "data": data})
        self.addCleanup(control.kubectl, "-n", NAMESPACE, "delete", "configmap", "gpu-configs",
                        "--ignore-not-found")

    @staticmethod
    def named(default, **more):
        return {"driver": {"enabled": True}, "mig": {"strategy": "mixed"},
                "devicePlugin": {"config": {"name": "gpu-configs", "default": default}}, **more}

    def test_it_is_followed(self):
        self.say(self.named("four"))
        self.await_event("InvalidClusterPolicy", "gpu-configs", NAMESPACE)
        self.await_capacity({"nvidia.com/gpu": "8"})
        self.assertIn("gpu-configs", self.divvy("kubernetes").stdout)
        self.configs(four=SHARES, eight=EIGHT, mps=MPS)
        self.await_capacity(WELL)
        self.assertEqual("four", self.divvy_json("kubernetes")["config"]["key"])
        steady = self.hold("steady", {"nvidia.com/gpu.governed": 1})
        self.say(self.named("eight"))
        self.await_capacity({**WELL, SHARED: "8"})
        self.configs(four=SHARES, eight=EIGHT.replace("replicas: 8", "replicas: 6"))
        self.await_capacity({**WELL, SHARED: "6"})
        # Nothing is served anew by a status, nor by words that are wrong.
        self.say(self.named("eight") | {"mig": {"strategy": "mixd"}})
        self.await_event("InvalidClusterPolicy", "mixd", "mixed")
        control.kubectl("patch", "clusterpolicy", "cluster-policy", "--subresource=status",
                        "--type=merge", "-p", json.dumps({"status": {"state": "ready"}}))
        self.say(self.named("four"))
        self.await_capacity(WELL)
        self.assert_untouched(steady)
        self.assertEqual(0, self.load("steady", "spin", "--seconds", "0.5")[0])
        self.delete("steady")

    def test_the_strategy(self):
        for strategy in ("single", "mixed"):
            self.say({"mig": {"strategy": strategy}})
            process.wait(f"the label {strategy}", lambda s=strategy: control.get(
                "node", self.node.name)["metadata"]["labels"].get("nvidia.com/mig.strategy") == s, 40)
        control.kubectl("delete", "clusterpolicy", "--all")
        process.wait("no strategy", lambda: "nvidia.com/mig.strategy" not in control.get(
            "node", self.node.name)["metadata"]["labels"], 40)


if __name__ == "__main__":
    unittest.main()
