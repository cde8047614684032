# SPDX-License-Identifier: Apache-2.0
"""What the tests of the cluster share: objects as dicts, waiting, the images that pods run."""
import json
import os
import unittest
from pathlib import Path

from cluster import control, image, node, paths, process

BASE = "divvy.test/base:1"
APPLETS = ("sh", "sleep", "echo", "cat", "env", "ls", "true", "false", "wget", "httpd", "mkdir",
           "grep", "test", "kill", "ps")
STAGE = Path(os.environ.get("DIVVY_STAGE", paths.SOURCE / "build/stage/usr/local"))


def base_image():
    """A shell, the C library and divvy-load: what a tenant brings along. Nothing of a GPU."""
    programs = [STAGE / "bin/divvy-load"]
    files = {"/bin/busybox": "/bin/busybox"}
    files |= {f"/usr/local/bin/{p.name}": p for p in programs}
    # Resolved by name here, so that the image has them at the linker's own places.
    files |= image.libraries(*programs)
    links = {f"/bin/{a}": "busybox" for a in APPLETS}
    return image.make(BASE, files, links, directories=("/tmp", "/etc", "/run"))


def pod(name, command, namespace="default", resources=None, **spec):
    """A pod with one container of the base image that runs the shell command."""
    container = {"name": "main", "image": BASE, "imagePullPolicy": "Never",
                 "command": ["/bin/sh", "-c", command]}
    if resources:
        container["resources"] = {"limits": resources}
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 1,
                     "restartPolicy": "Never", "dnsPolicy": "Default",
                     "automountServiceAccountToken": False, **spec}}


class ClusterCase(unittest.TestCase):
    """Its namespace is made for each test class and goes with it."""
    namespace = None

    @classmethod
    def setUpClass(cls):
        cls.node = node.Node(1)
        cls.namespace = cls.__name__.lower()
        cls.make_namespace(cls.namespace)

    @classmethod
    def make_namespace(cls, name, labels=None):
        # The one of the class before may still be on its way out.
        process.wait(f"the old {name} to be gone", lambda: control.kubectl(
            "get", "namespace", name, "-o", "jsonpath={.status.phase}", check=False).stdout !=
            "Terminating", 60)
        cls.apply({"apiVersion": "v1", "kind": "Namespace",
                   "metadata": {"name": name, "labels": labels or {}}})
        cls.addClassCleanup(control.kubectl, "delete", "namespace", name, "--wait=false", check=False)
        process.wait(f"{name}'s service account", lambda: control.kubectl(
            "-n", name, "get", "serviceaccount", "default", check=False).returncode == 0, 60)

    @staticmethod
    def apply(*objects):
        control.kubectl("apply", "-f", "-", text=json.dumps(
            {"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def refused(self, obj):
        """The server's words."""
        done = control.kubectl("apply", "-f", "-", text=json.dumps(obj), check=False)
        self.assertNotEqual(0, done.returncode, "it was accepted")
        return done.stderr

    def get(self, kind, name, namespace=None):
        return control.get("-n", namespace or self.namespace, kind, name)

    def delete(self, *names, kind="pod", namespace=None):
        control.kubectl("-n", namespace or self.namespace, "delete", kind, *names, "--now",
                        "--ignore-not-found")

    def run_pod(self, obj, phase=("Running",), timeout=60):
        """Creates it in this case's namespace, waits for the phase; it goes with the test."""
        obj["metadata"]["namespace"] = obj["metadata"].get("namespace") or self.namespace
        if obj["metadata"]["namespace"] == "default":
            obj["metadata"]["namespace"] = self.namespace
        name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
        self.addCleanup(self.delete, name, namespace=namespace)
        self.apply(obj)
        return self.await_phase(name, phase, timeout, namespace)

    def await_phase(self, name, phase, timeout=60, namespace=None):
        namespace = namespace or self.namespace

        def reached():
            found = self.get("pod", name, namespace)
            if found["status"].get("phase") in phase:
                return found
            # A pod that has ended otherwise will not change its mind.
            if found["status"].get("phase") in ("Failed", "Succeeded"):
                raise AssertionError(f"{name}: {self.story(name, namespace)}")
            return None
        try:
            return process.wait(f"{name} {'/'.join(phase)}", reached, timeout)
        except TimeoutError as late:
            raise AssertionError(f"{late}\n{self.story(name, namespace)}") from late

    def story(self, name, namespace=None):
        return control.kubectl("-n", namespace or self.namespace, "describe", "pod", name,
                               check=False).stdout + self.logs(name, namespace)

    def logs(self, name, namespace=None):
        return control.kubectl("-n", namespace or self.namespace, "logs", name, check=False).stdout

    def events(self, name, namespace=None):
        found = control.get("-n", namespace or self.namespace, "events", "--field-selector",
                            f"involvedObject.name={name}")["items"]
        return [f"{e['reason']}: {e.get('message', '')}" for e in found]
