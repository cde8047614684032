# SPDX-License-Identifier: Apache-2.0
"""The node's labels, as selectors and people find them in the cluster."""
import json
import unittest

from agent import CONFIG_LABEL, MIG_LABEL, NAMESPACE, AgentCase
from cluster import control, process


class LabelCase(AgentCase):
    def labels(self):
        """Those below nvidia.com/, without it."""
        found = control.get("node", self.node.name)["metadata"]["labels"]
        return {k.removeprefix("nvidia.com/"): v for k, v in found.items()
                if k.startswith("nvidia.com/")}

    def await_labels(self, **wanted):
        wanted = {k.replace("__", "."): v for k, v in wanted.items()}

        def reached():
            self.now = self.labels()
            return all(self.now.get(k) == v for k, v in wanted.items())
        try:
            process.wait(f"labels {wanted}", reached, 30)
        except TimeoutError as late:
            raise AssertionError(f"{late}; there is {self.now}\n{self.agent_logs()}") from late


class Labels(LabelCase):
    """Without Node Feature Discovery: on the Node itself."""

    def test_the_node_has_them_by_the_configuration_in_force(self):
        self.await_labels(gpu__present="true", gpu__product="NVIDIA-A100-SXM4-80GB", gpu__count="8",
                          gpu__memory="81920", gpu__machine="divvy-sim", mig__strategy="mixed")
        self.label_node(**{CONFIG_LABEL: "mps"})
        self.addCleanup(self.label_node, **{CONFIG_LABEL: None})
        self.await_labels(gpu__replicas="4", mps__capable="true", mig__strategy=None)
        self.label_node(**{CONFIG_LABEL: None})
        self.await_labels(mps__capable="false", mig__strategy="mixed")

    def test_what_somebody_takes_away_comes_back_and_others_stay(self):
        self.await_labels(gpu__count="8")
        control.kubectl("label", "node", self.node.name, "nvidia.com/gpu.count-",
                        "nvidia.com/gpu.deploy.x=true", "--overwrite")
        self.addCleanup(self.label_node, **{"nvidia.com/gpu.deploy.x": None})
        self.await_labels(gpu__count="8", gpu__deploy__x="true")

    def test_a_wrong_label_is_told(self):
        self.label_node(**{CONFIG_LABEL: "nonesuch", MIG_LABEL: "nonesuch"})
        self.addCleanup(self.label_node, **{CONFIG_LABEL: None, MIG_LABEL: None})

        def codes():
            return {f["code"] for f in self.divvy_findings()}
        process.wait("the doctor's word", lambda: {"config_refused", "mig_label_refused"} <= codes(), 30)
        said = self.divvy_json("kubernetes")
        self.assertIn("nonesuch", said["config"]["problem"])
        self.assertEqual(("nonesuch", "failed"), (said["mig"]["config"], said["mig"]["state"]))

    def divvy_findings(self):
        return json.loads(self.divvy("doctor", "-o", "json", check=False).stdout)["findings"]


class NodeFeatures(LabelCase):
    """With it: by the object that it reads, as soon as the cluster has such objects."""
    more = {"nfd": {"enabled": True}}
    RESOURCE = "nodefeatures.nfd.k8s-sigs.io"

    @classmethod
    def define(cls):
        group, plural = cls.RESOURCE.split(".", 1)[1], cls.RESOURCE.split(".", 1)[0]
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        cls.apply({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                   "metadata": {"name": cls.RESOURCE},
                   "spec": {"group": group, "scope": "Namespaced",
                            "names": {"kind": "NodeFeature", "plural": plural},
                            "versions": [{"name": "v1alpha1", "served": True, "storage": True,
                                          "schema": {"openAPIV3Schema": schema}}]}})

    def feature(self):
        found = json.loads(control.kubectl("-n", NAMESPACE, "get", self.RESOURCE, "-o", "json",
                                           check=False).stdout or '{"items": []}')["items"]
        name = f"nvidia-features-for-{self.node.name}"
        return next((f for f in found if f["metadata"]["name"] == name), None)

    def test_the_object_replaces_labels_on_the_node(self):
        self.await_labels(gpu__count="8")
        self.assertEqual("node", self.divvy_json("kubernetes")["labels"]["by"])
        self.addCleanup(control.kubectl, "delete", "crd", self.RESOURCE, check=False)
        self.define()
        # Established is what it is before it is served everywhere.
        process.wait("the resource", lambda: control.kubectl(
            "get", self.RESOURCE, "-A", check=False).returncode == 0, 60)
        self.addCleanup(self.label_node, **{CONFIG_LABEL: None})
        self.label_node(**{CONFIG_LABEL: "mps"})  # a new configuration: everything is looked at
        found = process.wait("the object", self.feature, 40)
        self.assertEqual("8", found["spec"]["labels"]["nvidia.com/gpu.count"])
        self.assertEqual(self.node.name,
                         found["metadata"]["labels"]["nfd.node.kubernetes.io/node-name"])
        self.await_labels(gpu__count=None, gpu__product=None, gpu__present="true")
        self.assertEqual("node-feature", self.divvy_json("kubernetes")["labels"]["by"])
        self.label_node(**{CONFIG_LABEL: None})
        process.wait("the object to follow", lambda: self.feature()["spec"]["labels"].get(
            "nvidia.com/mig.strategy") == "mixed", 30)


if __name__ == "__main__":
    unittest.main()
