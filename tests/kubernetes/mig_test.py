# SPDX-License-Identifier: Apache-2.0
"""MIG by the node's label: GPU 4 is cut, cut otherwise and made whole again while pods run on it; what
is in the way is waited for, or evicted where the node says so; what fails leaves the GPU as it was."""
import unittest

from agent import CONFIG_LABEL, CONFIGS, MIG_CONFIG, MIG_LABEL, AgentCase
from cluster import control, process
from harness import pod

STATE = MIG_LABEL + ".state"
EVICT = "divvy.dev/mig.evict"
SMALL, MIDDLE, LARGE = (f"nvidia.com/mig-{p}" for p in ("1g.10gb", "2g.20gb", "3g.40gb"))
GIB = 1 << 30
CUT = {SMALL: "2", MIDDLE: "1", LARGE: "1", "nvidia.com/gpu": "4"}
OTHERWISE = {SMALL: "4", MIDDLE: None, LARGE: "1", "nvidia.com/gpu": "4"}
WHOLE = {SMALL: None, MIDDLE: None, LARGE: None, "nvidia.com/gpu": "5"}
LAYOUTS = {"one-cut": CUT, "one-cut-otherwise": OTHERWISE, "all-disabled": WHOLE}
# Cannot be: five 1g.10gb beside a 3g.40gb are nine slices of memory.
IMPOSSIBLE = """\
  impossible:
  - {devices: [4], mig-enabled: true, mig-devices: {1g.10gb: 5, 3g.40gb: 1}}
"""
EVEN = """\
  all-1g.10gb:
  - {devices: all, mig-enabled: true, mig-devices: {1g.10gb: 7}}
"""
STRATEGY = """\
version: v1
flags:
  migStrategy: %s
  plugin: {deviceListStrategy: cdi-cri}
"""


class MigCase(AgentCase):
    @classmethod
    def mig_state(cls):
        return control.get("node", cls.node.name)["metadata"]["labels"].get(STATE)

    @classmethod
    def await_state(cls, wanted, timeout=60):
        try:
            process.wait(f"MIG state {wanted}", lambda: cls.mig_state() == wanted, timeout)
        except TimeoutError as late:
            raise AssertionError(f"{late}; it is {cls.mig_state()}\n{cls.agent_logs()}") from late

    @classmethod
    def ask(cls, name):
        """The label; the state of the last time is taken away, so that an answer is to this one."""
        cls.label_node(**{MIG_LABEL: name, STATE: None})

    @classmethod
    def cut(cls, name):
        labels = control.get("node", cls.node.name)["metadata"]["labels"]
        if labels.get(MIG_LABEL) != name or labels.get(STATE) != "success":
            cls.ask(name)
        cls.await_state("success")
        cls.await_capacity(LAYOUTS[name])

    @classmethod
    def annotate_node(cls, value):
        control.kubectl("annotate", "node", cls.node.name, "--overwrite",
                        f"{EVICT}={value}" if value else f"{EVICT}-")

    def instance(self, name):
        """The UUID of the MIG device that the pod holds."""
        uuid = self.await_slice(name)["gpu_uuid"]
        self.assertRegex(uuid, "^MIG-")
        listed = self.within(name, "nvidia-smi", "-L")
        self.assertIn(uuid, listed)
        self.assertEqual(1, listed.count("UUID: MIG-"), listed)
        return uuid


class Mig(MigCase):
    more = {"migManager": {"config": {"data": {"config.yaml": MIG_CONFIG + IMPOSSIBLE}}}}

    def setUp(self):
        self.cut("one-cut")

    def tearDown(self):
        self.annotate_node(None)

    def working(self, name, resource):
        """A pod that computes all the time, and says after each second that it did."""
        return self.run_pod(pod(name, "while divvy-load spin --seconds 1 >/dev/null; do echo done; done",
                                resources={resource: 1}))

    def assert_goes_on(self, before):
        name = before["metadata"]["name"]
        self.assert_untouched(before)
        lines = self.logs(name).count("done")
        process.wait(f"{name} to go on computing", lambda: self.logs(name).count("done") > lines, 20)
        self.assert_untouched(before)

    def test_a_pod_has_its_instance_and_no_more(self):
        self.hold("small", {SMALL: 1})
        self.instance("small")
        status, said = self.load("small", "alloc", "--bytes", 8 * GIB)
        self.assertEqual(0, status, said)
        status, said = self.load("small", "alloc", "--bytes", 10 * GIB)
        self.assertEqual((1, 2), (status, said["cuda_error"]), said)

    def test_the_gpu_is_cut_otherwise_around_a_pod_that_goes_on(self):
        large = self.working("large", LARGE)
        uuid = self.instance("large")
        neighbour = self.working("neighbour", "nvidia.com/gpu")
        self.cut("one-cut-otherwise")
        self.assert_goes_on(large)
        self.assert_goes_on(neighbour)
        self.assertEqual(uuid, self.instance("large"))
        self.hold("fourth", {SMALL: 1})
        self.assertNotEqual(uuid, self.instance("fourth"))

    def test_a_busy_instance_is_waited_for(self):
        middle = self.working("middle", MIDDLE)
        self.ask("one-cut-otherwise")
        self.await_event("MigConfigWaits", f"pod {self.namespace}/middle", "GPU 4")
        self.await_state("pending")
        self.assert_goes_on(middle)
        # No new pod is sent to a GPU that is about to change.
        self.await_capacity({SMALL: None, "nvidia.com/gpu": "4"})
        self.delete("middle")
        self.await_state("success")
        self.await_capacity(OTHERWISE)

    def test_who_is_in_the_way_is_evicted_where_the_node_says_so(self):
        self.working("middle", MIDDLE)
        large = self.working("large", LARGE)
        self.annotate_node("true")
        self.ask("one-cut-otherwise")
        self.await_state("success")
        process.wait("the pod to be evicted", lambda: control.kubectl(
            "-n", self.namespace, "get", "pod", "middle", check=False).returncode, 30)
        self.assertTrue(any("EvictedForMig" in e for e in self.events("middle")))
        self.assert_goes_on(large)

    def test_a_disruption_budget_holds(self):
        middle = pod("middle", "sleep 3600", resources={MIDDLE: 1})
        middle["metadata"]["labels"] = {"app": "kept"}
        before = self.run_pod(middle)
        self.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                    "metadata": {"name": "kept", "namespace": self.namespace},
                    "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "kept"}}}})
        self.addCleanup(self.delete, "kept", kind="poddisruptionbudget")
        process.wait("the budget to count its pod", lambda: self.get("poddisruptionbudget", "kept").get(
            "status", {}).get("currentHealthy") == 1, 30)
        self.annotate_node("true")
        self.ask("one-cut-otherwise")
        self.await_event("MigConfigBlocked", f"pod {self.namespace}/middle", "PodDisruptionBudget")
        self.assert_untouched(before)
        self.await_state("pending")
        self.delete("kept", kind="poddisruptionbudget")
        self.await_state("success")

    def test_an_unknown_or_impossible_configuration_changes_nothing(self):
        large = self.working("large", LARGE)
        self.ask("one-cutt")
        self.await_state("failed")
        self.await_event("MigConfigFailed", "one-cutt", "one-cut-otherwise")
        self.ask("impossible")
        self.await_state("failed")
        self.await_event("MigConfigFailed", "impossible", "GPU 4")
        self.await_capacity(CUT)
        self.assert_goes_on(large)

    def test_a_step_that_fails_leads_back(self):
        large = self.working("large", LARGE)
        uuid = self.instance("large")
        # The first instance of the new layout is made, the second is not.
        self.inject("--nvml-error", "nvmlGpuInstanceCreateComputeInstanceWithPlacement=999:1")
        self.addCleanup(self.inject, "--clear")
        self.ask("one-cut-otherwise")
        self.await_state("failed")
        self.await_event("MigConfigFailed", "one-cut-otherwise", "GPU 4")
        self.await_capacity(CUT)
        self.assert_goes_on(large)
        self.assertEqual(uuid, self.instance("large"))

    def test_a_label_that_goes_changes_nothing(self):
        self.label_node(**{MIG_LABEL: None})
        self.label_node(**{CONFIG_LABEL: "eight"})  # which is seen after it
        self.addCleanup(self.label_node, **{CONFIG_LABEL: None})
        self.await_capacity({"nvidia.com/gpu.shared": "8", **CUT})
        self.assertEqual("success", self.mig_state())


class MigDefault(MigCase):
    more = {"migManager": {"config": {"default": "one-cut", "data": {"config.yaml": MIG_CONFIG}}}}

    def test_a_node_without_the_label_has_the_default(self):
        self.await_state("success")
        self.await_capacity(CUT)
        self.cut("one-cut-otherwise")
        self.label_node(**{MIG_LABEL: None, STATE: None})
        self.await_state("success")
        self.await_capacity(CUT)


class Strategies(MigCase):
    """migStrategy single and none; all other tests have mixed."""
    more = {"migManager": {"config": {"data": {"config.yaml": MIG_CONFIG + EVEN}}},
            "config": {"map": {**CONFIGS, **{s: STRATEGY % s for s in ("single", "none")}},
                       "default": "single"}}
    first = {"nvidia.com/gpu": "8"}

    def setUp(self):
        self.addCleanup(self.cut_to, "all-disabled", {"nvidia.com/gpu": "8"})

    def cut_to(self, name, capacity):
        self.ask(name)
        self.await_state("success", 120)
        self.await_capacity(capacity)

    def test_single(self):
        self.cut_to("all-1g.10gb", {"nvidia.com/gpu": "56", SMALL: None})
        for name in ("one", "two"):
            self.hold(name, {"nvidia.com/gpu": 1})
        self.assertNotEqual(self.instance("one"), self.instance("two"))
        status, said = self.load("one", "alloc", "--bytes", 8 * GIB)
        self.assertEqual(0, status, said)
        status, said = self.load("one", "alloc", "--bytes", 10 * GIB)
        self.assertEqual((1, 2), (status, said["cuda_error"]), said)
        self.assertEqual(0, self.load("two", "spin", "--seconds", "0.5")[0])
        labels = control.get("node", self.node.name)["metadata"]["labels"]
        self.assertEqual("single", labels["nvidia.com/mig.strategy"])
        self.assertIn("MIG-1g.10gb", labels["nvidia.com/gpu.product"])
        self.delete("one", "two")
        # GPUs that are cut in different ways are no one resource: that is told.
        self.ask("one-cut")
        self.await_event("ConfigNotOffered", "single", timeout=120)

    def test_none(self):
        self.addCleanup(self.label_node, **{CONFIG_LABEL: None})
        self.label_node(**{CONFIG_LABEL: "none"})
        self.cut_to("one-cut", {"nvidia.com/gpu": "7", SMALL: None, MIDDLE: None, LARGE: None})
        self.hold("whole", {"nvidia.com/gpu": 1})
        self.assertNotRegex(self.await_slice("whole")["gpu_uuid"], "^MIG-")
        labels = control.get("node", self.node.name)["metadata"]["labels"]
        self.assertNotIn("nvidia.com/mig.strategy", labels)


if __name__ == "__main__":
    unittest.main()
