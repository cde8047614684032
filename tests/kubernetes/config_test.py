# SPDX-License-Identifier: Apache-2.0
"""The node's configuration by label and ConfigMap: what changes is the difference, and only that; what
is wrong is told with file, line and column, and changes nothing."""
import csv
import json
import unittest
from pathlib import Path

import yaml

from agent import CONFIG_LABEL, CONFIGS, NAMESPACE, SHARES, AgentCase
from cluster import control, paths, process

SHARED = "nvidia.com/gpu.shared"
PERCENT = "divvy.dev/gpu-percent"
SOCKETS = "/var/lib/kubelet/device-plugins"
MAP = "divvy-config"
GUIDES = next((d for d in (paths.SOURCE.parent / "shared/data/guides",
                           paths.SOURCE.parent.parent / "shared/data/guides")
               if (d / "expected.tsv").exists()), None)


def configurations(file):
    """Of a guide's file: {key: text}; a ConfigMap's, or the file itself."""
    text = file.read_text()
    for document in yaml.safe_load_all(text):
        if document.get("kind") == "ConfigMap":
            return document["data"]
    return {"config": text}


class Config(AgentCase):
    def setUp(self):
        self.addCleanup(self.await_capacity, {SHARED: "4", PERCENT: "100", "nvidia.com/gpu": "5"})
        self.addCleanup(self.label_node, **{CONFIG_LABEL: None})

    def sockets(self):
        """Inode and time of each of our sockets: another one would be another server."""
        found = self.node.path(SOCKETS).glob("divvy-*.sock")
        return {f.name: (f.stat().st_ino, f.stat().st_mtime_ns) for f in found}

    def put(self, more):
        """The ConfigMap, as `kubectl edit` changes it."""
        control.kubectl("-n", NAMESPACE, "patch", "configmap", MAP, "--type=merge", "-p",
                        json.dumps({"data": more}))

    def restore(self, *gone):
        self.put({**CONFIGS, **{key: None for key in gone}})

    def count(self, *words):
        return len([e for e in self.node_events() if all(w in e for w in words)])

    def test_a_label_changes_what_differs(self):
        before = {name: self.hold(name, {resource: n}) for name, resource, n in (
            ("fraction", PERCENT, 25), ("half", "nvidia.com/gpu.governed", 1), ("turn", SHARED, 1))}
        slices = {name: self.await_slice(name)["id"] for name in before}
        sockets = self.sockets()
        self.label_node(**{CONFIG_LABEL: "eight"})
        self.await_capacity({SHARED: "8", PERCENT: "100", "nvidia.com/gpu.governed": "2"})
        self.await_event("ConfigApplied", "eight")
        self.assertEqual(sockets, self.sockets())
        for name, was in before.items():
            self.assert_untouched(was)
            self.assertEqual(slices[name], self.await_slice(name)["id"])
            self.assertEqual(0, self.load(name, "spin", "--seconds", "1")[0])

    def test_a_resource_that_goes_takes_only_its_own_socket(self):
        before = self.sockets()
        self.label_node(**{CONFIG_LABEL: "mps"})
        self.await_capacity({PERCENT: None, "nvidia.com/gpu.governed": None, SHARED: "4",
                             "nvidia.com/gpu": "7"})
        now = self.sockets()
        self.assertEqual({"divvy-nvidia.com_gpu.sock", "divvy-nvidia.com_gpu.shared.sock"}, set(now))
        for name, socket in now.items():
            self.assertEqual(before[name], socket)

    def test_a_wrong_configuration_is_told_and_the_last_good_stays(self):
        sockets = self.sockets()
        self.label_node(**{CONFIG_LABEL: "wrong"})
        # The place of `replicaz` in it.
        line = next(i for i, text in enumerate(CONFIGS["wrong"].splitlines(), 1) if "replicaz" in text)
        column = CONFIGS["wrong"].splitlines()[line - 1].index("replicaz") + 1
        self.await_event("InvalidConfig", f"wrong:{line}:{column}", "replicaz", "replicas")
        self.await_capacity({SHARED: "4", PERCENT: "100"})
        self.assertEqual(sockets, self.sockets())
        self.assertEqual(1, self.count("InvalidConfig", f"wrong:{line}:{column}"))

    def test_a_label_that_names_nothing_is_told_what_there_is(self):
        self.label_node(**{CONFIG_LABEL: "shared"})
        self.await_event("InvalidConfig", '"shared"', *CONFIGS)
        self.await_capacity({SHARED: "4", PERCENT: "100"})

    def test_an_edited_configmap_is_taken_up(self):
        self.addCleanup(self.restore)
        self.put({"shares": SHARES.replace("devices: [1], replicas: 4", "devices: [1], replicas: 6")})
        self.await_capacity({SHARED: "6"})
        self.put({"shares": SHARES.replace("percent: true", "percent: perhaps")})
        self.await_event("InvalidConfig", "shares:", "percent")
        self.await_capacity({SHARED: "6", PERCENT: "100"})
        self.restore()
        self.await_capacity({SHARED: "4"})

    def test_a_half_swapped_configmap_changes_nothing(self):
        uid = self.agent_pod()["metadata"]["uid"]
        volume = self.node.path(
            f"/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~configmap/plugin-config")
        # The kubelet's link to what is in force points nowhere, then to a file that ends in mid-word.
        was = (volume / "..data").readlink()

        def swap(to):
            if (volume / "..data").readlink() != to:
                (volume / "..data_half").symlink_to(to)
                (volume / "..data_half").rename(volume / "..data")

        def until_told(to, *words):
            """The kubelet puts it right whenever it looks, which may be at once."""
            process.wait(f"an event with {words}", lambda: (swap(to), self.count(*words))[1], 30)
        self.addCleanup(lambda: swap(was) if (volume / was).exists() else None)
        until_told(Path("..gone"), "InvalidConfig", "shares", "No such file")
        half = volume / "..half"
        half.mkdir()
        for key, text in CONFIGS.items():
            (half / key).write_text(text[:text.find("replicas") + 4])
        until_told(Path("..half"), "InvalidConfig", "shares:")
        self.await_capacity({SHARED: "4", PERCENT: "100"})

    @unittest.skipUnless(GUIDES, "no guides beside this tree")
    def test_what_guides_print_gets_its_verdict(self):
        rows = list(csv.DictReader((GUIDES / "expected.tsv").open(), delimiter="\t",
                                   quoting=csv.QUOTE_NONE))
        keys = {}
        for row in rows:
            if row["kind"] == "device-plugin-config":
                for key, text in configurations(GUIDES / row["file"]).items():
                    keys[f"{row['file'].split('.')[0]}.{key}"[:63].rstrip(".")] = (row["expected"], text)
        self.assertTrue(keys)
        self.addCleanup(self.restore, *keys)
        self.put({key: text for key, (_, text) in keys.items()})
        volume = self.node.path(f"/var/lib/kubelet/pods/{self.agent_pod()['metadata']['uid']}"
                                "/volumes/kubernetes.io~configmap/plugin-config")
        process.wait("the kubelet to bring them", lambda: (volume / next(iter(keys))).exists(), 90)
        for key, (expected, _) in keys.items():
            with self.subTest(key):
                self.label_node(**{CONFIG_LABEL: None})
                self.await_capacity({SHARED: "4", PERCENT: "100"})
                self.label_node(**{CONFIG_LABEL: key})
                if expected == "refused":
                    self.await_event("InvalidConfig", f"{key}:")
                    self.assertEqual("100", self.allocatable()[PERCENT])
                else:
                    self.await_event("ConfigApplied", key)
                    self.await_capacity({PERCENT: None})


if __name__ == "__main__":
    unittest.main()
