# SPDX-License-Identifier: Apache-2.0
"""divvy-controller webhook, asked by a real API server: fractions of GPUs in every kind that has pods in it."""
import base64
import json
import os
import ssl
import subprocess
import tempfile
import time

import yaml

from cluster import control, paths, process
from harness import STAGE, ClusterCase, pod

CONTROLLER = os.environ.get("DIVVY_CONTROLLER", STAGE / "bin/divvy-controller")
ORIGINAL = "divvy.dev/original-resources"
PERCENT = "divvy.dev/gpu-percent"
REPLICAS = 5


def gpu(value):
    return {"nvidia.com/gpu": value}


def template(resources):
    made = pod("x", "sleep 600", resources=resources)
    return {"metadata": {"labels": {"app": "x"}}, "spec": made["spec"]}


def workload(kind, resources, name="x"):
    always = {**template(resources)}
    always["spec"].pop("restartPolicy")
    version, spec = {
        "Deployment": ("apps/v1", {"selector": {"matchLabels": {"app": "x"}}, "template": always}),
        "StatefulSet": ("apps/v1", {"selector": {"matchLabels": {"app": "x"}}, "template": always,
                                    "serviceName": "x"}),
        "DaemonSet": ("apps/v1", {"selector": {"matchLabels": {"app": "x"}}, "template": always}),
        "ReplicaSet": ("apps/v1", {"selector": {"matchLabels": {"app": "x"}}, "template": always}),
        "ReplicationController": ("v1", {"selector": {"app": "x"}, "template": always}),
        "Job": ("batch/v1", {"template": template(resources)}),
        "CronJob": ("batch/v1", {"schedule": "0 0 1 1 *",
                                 "jobTemplate": {"spec": {"template": template(resources)}}}),
    }[kind]
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def pod_of(obj):
    if obj["kind"] in ("Pod",):
        return obj
    if obj["kind"] == "PodTemplate":
        return obj["template"]
    spec = obj["spec"]
    return (spec["jobTemplate"]["spec"] if obj["kind"] == "CronJob" else spec)["template"]


class Webhook(ClusterCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.home.cleanup)
        cls.start()
        cls.addClassCleanup(cls.stop)
        cls.configure()

    @classmethod
    def start(cls, address="127.0.0.1:0"):
        r, w = os.pipe()
        cls.process = subprocess.Popen(
            [CONTROLLER, "webhook", "--listen", address, "--tls-dir", f"{cls.home.name}/tls",
             "--resource", "nvidia.com/gpu-a100=whole,nvidia.com/h100=whole",
             "--ready-fd", str(w)], pass_fds=[w])
        os.close(w)
        with os.fdopen(r, encoding="utf-8") as ready:
            cls.address = ready.readline().strip()

    @classmethod
    def stop(cls):
        cls.process.terminate()
        cls.process.wait(20)

    @classmethod
    def configure(cls):
        """What it prints for a cluster, but that it runs beside the API server and not in a pod."""
        made = yaml.safe_load(subprocess.run(
            [CONTROLLER, "webhook", "--tls-dir", f"{cls.home.name}/tls", "--print-manifest"],
            check=True, capture_output=True, text=True).stdout)
        for hook in made["webhooks"]:
            client = hook["clientConfig"]
            port = cls.address.rsplit(":", 1)[1]
            client["url"] = f"https://localhost:{port}{client.pop('service')['path']}"
        cls.apply(made)
        cls.addClassCleanup(control.kubectl, "delete", "mutatingwebhookconfiguration",
                            made["metadata"]["name"], check=False)
        process.wait("the API server to ask the webhook", lambda: "0.12 or 0.13" in cls.try_apply(
            pod("probe", "true", resources=gpu("0.125"))).stderr, 30)

    @classmethod
    def try_apply(cls, obj, *args, namespace=None):
        obj["metadata"]["namespace"] = namespace or cls.namespace
        return control.kubectl("apply", *args, "-f", "-", text=json.dumps(obj), check=False)

    def accept(self, obj, *args, namespace=None):
        done = self.try_apply(obj, *args, namespace=namespace)
        self.assertEqual(0, done.returncode, done.stderr)
        self.addCleanup(control.kubectl, "-n", namespace or self.namespace, "delete", obj["kind"],
                        obj["metadata"]["name"], "--now", "--ignore-not-found", "--wait=false")
        return self.get(obj["kind"], obj["metadata"]["name"], namespace)

    def refuse(self, obj, *words, namespace=None):
        done = self.try_apply(obj, namespace=namespace)
        self.assertNotEqual(0, done.returncode, "it was accepted")
        for word in words:
            self.assertIn(word, done.stderr)

    def assert_quarter(self, found):
        inside = pod_of(found)
        resources = inside["spec"]["containers"][0]["resources"]
        self.assertEqual({"limits": {PERCENT: "25"}, "requests": {PERCENT: "25"}}, resources)
        note = json.loads(inside["metadata"]["annotations"][ORIGINAL])["main"]
        # The API server has copied the limits into the requests of pods, and not of templates.
        self.assertIn(note, ({"limits": gpu("250m")},
                             {"limits": gpu("250m"), "requests": gpu("250m")}))

    def test_every_kind(self):
        self.assert_quarter(self.accept(pod("quarter", "true", resources=gpu("0.25"))))
        self.assert_quarter(self.accept({"apiVersion": "v1", "kind": "PodTemplate",
                                         "metadata": {"name": "x"}, "template": template(gpu("0.25"))}))
        for kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController",
                     "Job", "CronJob"):
            with self.subTest(kind):
                self.assert_quarter(self.accept(workload(kind, gpu("0.25"), kind.lower())))

    def test_pods_of_a_deployment(self):
        self.accept(workload("Deployment", gpu("0.25"), "web"))
        found = process.wait("its pod", lambda: [
            p for p in control.get("-n", self.namespace, "pods", "-l", "app=x")["items"]
            if p["metadata"]["name"].startswith("web-")], 30)
        self.assert_quarter({**found[0], "kind": "Pod"})

    def test_applied_again(self):
        """An unchanged manifest makes no new pods; a changed one means what it says now."""
        for args in ((), ("--server-side", "--force-conflicts")):
            with self.subTest(args):
                name = f"again{len(args)}"
                first = self.accept(workload("Deployment", gpu("0.25"), name), *args)
                again = self.accept(workload("Deployment", gpu("0.25"), name), *args)
                self.assertEqual(first["metadata"]["generation"], again["metadata"]["generation"])
                self.assert_quarter(again)
                half = self.accept(workload("Deployment", gpu("0.5"), name), *args)
                resources = pod_of(half)["spec"]["containers"][0]["resources"]
                self.assertEqual({PERCENT: "50"}, resources["limits"])
                whole = self.accept(workload("Deployment", gpu("1"), name), *args)
                resources = pod_of(whole)["spec"]["containers"][0]["resources"]
                self.assertEqual({"limits": gpu("1")}, resources)
                self.assertNotIn(ORIGINAL, pod_of(whole)["metadata"].get("annotations", {}))
                self.accept(workload("Deployment", gpu("0.25"), name), *args)
                mig = self.accept(workload("Deployment", {"nvidia.com/mig-1g.10gb": "1"}, name), *args)
                resources = pod_of(mig)["spec"]["containers"][0]["resources"]
                self.assertEqual({"nvidia.com/mig-1g.10gb": "1"}, resources["limits"])
                self.accept(workload("Deployment", gpu("0.25"), name), *args)
                none = self.accept(workload("Deployment", gpu("0"), name), *args)
                self.assertNotIn(PERCENT, json.dumps(pod_of(none)["spec"]))

    def test_the_line_is_only_deleted(self):
        """What the how-to warns of: kubectl does not see that percents are there; replace does."""
        cpu = {"cpu": "10m"}
        self.accept(workload("Deployment", {**cpu, **gpu("0.25")}, "less"))
        self.assertIn(PERCENT, json.dumps(self.accept(workload("Deployment", cpu, "less"))["spec"]))
        obj = workload("Deployment", cpu, "less")
        obj["metadata"]["namespace"] = self.namespace
        done = control.kubectl("replace", "-f", "-", text=json.dumps(obj), check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        found = self.get("deployment", "less")["spec"]["template"]["spec"]
        self.assertNotIn(PERCENT, json.dumps(found))

    def test_own_form(self):
        found = self.accept(pod("own", "true", resources={PERCENT: "30"}))
        self.assertEqual({PERCENT: "30"}, found["spec"]["containers"][0]["resources"]["limits"])
        self.refuse(pod("much", "true", resources={PERCENT: "101"}), "at most 100")

    def test_refused(self):
        self.refuse(pod("no", "true", resources=gpu("0.125")), "denied the request", "0.12 or 0.13")
        self.refuse(workload("Job", gpu("1.5")), "neither whole GPUs nor a fraction")

    def test_namespaces(self):
        self.make_namespace("team-mig", {"gpu-strategy": "mig-only"})
        self.make_namespace("team-odd", {"gpu-strategy": "whatever"})
        self.refuse(pod("w", "true", resources=gpu("1")), "nvidia.com/mig-1g.10gb: 1 would pass",
                    namespace="team-mig")
        self.refuse(workload("Deployment", gpu("0.25")), "allows only MIG", namespace="team-mig")
        self.accept(pod("m", "true", resources={"nvidia.com/mig-1g.10gb": "1"}), namespace="team-mig")
        self.refuse(pod("w", "true", resources=gpu("1")), "not known", namespace="team-odd")
        self.accept(pod("c", "true", resources={"cpu": "10m"}), namespace="team-odd")

    def test_names_that_a_configuration_gives(self):
        """Declared ones count as what they are; the others by their form, or not at all."""
        self.make_namespace("team-whole", {"gpu-strategy": "whole"})
        self.make_namespace("team-slices", {"gpu-strategy": "governed"})
        for name in ("nvidia.com/gpu-a100", "nvidia.com/h100"):
            self.accept(pod("declared", "true", resources={name: "1"}), namespace="team-whole")
            self.delete("declared", namespace="team-whole")
            self.refuse(pod("declared", "true", resources={name: "1"}), "asks for whole GPUs",
                        namespace="team-slices")
        self.refuse(pod("slice", "true", resources={"nvidia.com/gpu-small": "1"}), "so its name says",
                    namespace="team-whole")
        self.accept(pod("slice", "true", resources={"nvidia.com/gpu-small": "1"}), namespace="team-slices")
        self.accept(pod("stranger", "true", resources={"nvidia.com/other": "1"}), namespace="team-slices")

    def test_a_rule_that_came_later(self):
        self.make_namespace("team-late")
        self.accept(workload("Deployment", gpu("1"), "late"), namespace="team-late")
        control.kubectl("label", "namespace", "team-late", "gpu-strategy=mig-only")
        scaled = workload("Deployment", gpu("1"), "late")
        scaled["spec"]["replicas"] = 0
        process.wait("a warning", lambda: "Warning: " in self.try_apply(
            scaled, namespace="team-late").stderr or control.kubectl(
                "-n", "team-late", "annotate", "deployment", "late", "a=b", "--overwrite"
            ).stderr.startswith("Warning: "), 20)

    def test_warnings(self):
        obj = pod("warned", "true", resources=gpu("1"))
        obj["spec"]["containers"][0]["env"] = [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]
        done = self.try_apply(obj)
        self.addCleanup(self.delete, "warned")
        self.assertIn("Warning: container \"main\": NVIDIA_VISIBLE_DEVICES=all", done.stderr)

    def test_z_without_it_nobody_is_held_up(self):
        """The last by its name: it stops the webhook for a while."""
        self.stop()
        self.addCleanup(self.start, self.address)
        self.accept(pod("plain", "true", resources={"cpu": "10m"}))
        self.accept(pod("whole", "true", resources=gpu("1")))
        self.refuse(pod("part", "true", resources=gpu("0.25")), "must be an integer")

    def test_bundle_is_the_printed_one(self):
        hooks = control.get("mutatingwebhookconfiguration", "divvy-webhook")["webhooks"]
        with open(f"{self.home.name}/tls/ca.crt", "rb") as f:
            bundle = f.read()
        for hook in hooks:
            self.assertEqual(bundle, base64.b64decode(hook["clientConfig"]["caBundle"]))


class Replicas(ClusterCase):
    """Five that share a Secret and keep the configuration's caBundle right, while certificates change."""
    @classmethod
    def start(cls):
        r, w = os.pipe()
        process_ = subprocess.Popen(
            [CONTROLLER, "webhook", "--listen", "127.0.0.1:0", "--tls-life", "24s", "--secret",
             f"{cls.namespace}/webhook-tls", "--configuration", "divvy-webhook", "--kubeconfig",
             paths.KUBECONFIG, "--ready-fd", str(w)], pass_fds=[w])
        os.close(w)
        cls.addClassCleanup(process_.wait, 20)
        cls.addClassCleanup(process_.terminate)
        with os.fdopen(r, encoding="utf-8") as ready:
            return ready.readline().strip().rsplit(":", 1)[1]

    @classmethod
    def configuration(cls, port):
        made = yaml.safe_load(subprocess.run([CONTROLLER, "webhook", "--print-manifest"], check=True,
                                             capture_output=True, text=True).stdout)
        for hook in made["webhooks"]:
            path = hook["clientConfig"].pop("service")["path"]
            hook["clientConfig"]["url"] = f"https://localhost:{port}{path}"
        return made

    def ask(self):
        obj = pod("probe", "true", namespace=self.namespace, resources=gpu("0.125"))
        return control.kubectl("create", "--dry-run=server", "-f", "-", text=json.dumps(obj),
                               check=False).stderr

    def test_rotation(self):
        self.apply({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                    "metadata": {"name": "webhook-tls", "namespace": self.namespace}})
        ports = [self.start() for _ in range(REPLICAS)]
        self.apply(self.configuration(ports[0]))
        self.addCleanup(control.kubectl, "delete", "mutatingwebhookconfiguration", "divvy-webhook",
                        check=False)
        process.wait("the bundle", lambda: "0.12 or 0.13" in self.ask(), 30)
        seen, end, missed, asked = [set() for _ in ports], time.monotonic() + 50, [], 0
        while time.monotonic() < end:
            asked += 1
            said = self.ask()
            if "0.12 or 0.13" not in said:
                missed.append(said)
            for certificates, port in zip(seen, ports):
                certificates.add(ssl.get_server_certificate(("127.0.0.1", int(port))))
        self.assertEqual([], missed, f"of {asked}")
        self.assertGreaterEqual(len(seen[0]), 3)
        # What the Secret has is what all serve, and have served.
        self.assertGreaterEqual(len(set.intersection(*seen)), 2)
        data = control.get("-n", self.namespace, "secret", "webhook-tls")["data"]
        self.assertEqual({"ca.crt", "tls.crt", "tls.key"}, set(data))
        self.assertLessEqual(base64.b64decode(data["ca.crt"]).count(b"BEGIN CERTIFICATE"), REPLICAS)
