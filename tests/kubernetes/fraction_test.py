# SPDX-License-Identifier: Apache-2.0
"""Fractions of GPUs end to end: the chart with its webhook, manifests as people write them, and pods that
are stopped at their part of a simulated GPU."""
import base64
import json
import os
import re
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import yaml

from agent import CHART, NAMESPACE, AgentCase, helm
from cluster import build, control, paths, process
from harness import BASE, STAGE, pod

GIB = 1 << 30
GPU, PERCENT, ORIGINAL = "nvidia.com/gpu", "divvy.dev/gpu-percent", "divvy.dev/original-resources"
CONTROLLER = "divvy-controller"
GUIDES = next((d for d in (paths.SOURCE / up / "shared/data/guides" for up in ("..", "../.."))
               if (d / "expected.tsv").exists()), None)


def asking(name, command="sleep 3600", **resources):
    """A pod whose container has these resources: limits={...}, requests={...}."""
    made = pod(name, command)
    made["spec"]["containers"][0]["resources"] = resources
    return made


def workload(kind, amount, name):
    inside = asking(name, limits={GPU: amount})["spec"]
    if kind in ("Job", "CronJob"):
        inside["containers"][0]["command"][-1] = "divvy-load spin --seconds 1"
    else:
        inside.pop("restartPolicy")
    template = {"metadata": {"labels": {"of": name}}, "spec": inside}
    selected = {"selector": {"matchLabels": {"of": name}}, "template": template}
    version, body = {
        "Deployment": ("apps/v1", {"spec": selected}),
        "StatefulSet": ("apps/v1", {"spec": {**selected, "serviceName": name}}),
        "DaemonSet": ("apps/v1", {"spec": selected}),
        "ReplicaSet": ("apps/v1", {"spec": selected}),
        "ReplicationController": ("v1", {"spec": {"selector": {"of": name}, "template": template}}),
        "Job": ("batch/v1", {"spec": {"template": template}}),
        "CronJob": ("batch/v1", {"spec": {"schedule": "0 0 1 1 *", "jobTemplate": {
            "spec": {"template": template}}}}),
        "PodTemplate": ("v1", {"template": template}),
    }[kind]
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **body}


class FractionCase(AgentCase):
    more = {"webhook": {"enabled": True, "strategies": ["mig_whole"]}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.await_capacity({PERCENT: "100"})
        cls.await_webhook()

    @classmethod
    def controller(cls, *args, check=True):
        return control.kubectl("-n", NAMESPACE, *args, check=check)

    @classmethod
    def configuration(cls):
        return control.get("mutatingwebhookconfiguration", CONTROLLER)

    @classmethod
    def bundles(cls):
        return {w["clientConfig"].get("caBundle", "") for w in cls.configuration()["webhooks"]}

    @classmethod
    def asked(cls):
        """Whether the API server asks it: a fraction that only the webhook has these words for."""
        made = asking("probe", limits={GPU: "0.125"})
        made["metadata"]["namespace"] = cls.namespace
        return "0.12 or 0.13 would pass" in control.kubectl(
            "create", "--dry-run=server", "-f", "-", text=json.dumps(made), check=False).stderr

    @classmethod
    def await_webhook(cls):
        try:
            cls.controller("rollout", "status", f"deployment/{CONTROLLER}", "--timeout=90s")
            process.wait("the API server to ask the webhook", cls.asked, 30)
        except (TimeoutError, subprocess.CalledProcessError) as late:
            raise AssertionError(f"{late}\n{cls.controller_logs()}") from late

    @classmethod
    def controller_logs(cls):
        of = "-lapp.kubernetes.io/component=controller"
        return cls.controller("logs", of, "--tail=40", check=False).stdout + \
            cls.controller("describe", "pods", of, check=False).stdout

    def give(self, obj, *args, namespace=None):
        """kubectl apply, in this case's namespace; it goes with the test."""
        namespace = namespace or self.namespace
        obj = {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}
        done = control.kubectl("apply", *args, "-f", "-", text=json.dumps(obj), check=False)
        if done.returncode == 0:
            self.addCleanup(self.take_away, obj)
        return done

    @staticmethod
    def take_away(obj):
        control.kubectl("-n", obj["metadata"]["namespace"], "delete", obj["kind"], obj["metadata"]["name"],
                        "--now", "--ignore-not-found", "--cascade=foreground")

    def taken(self, obj, *args, namespace=None):
        done = self.give(obj, *args, namespace=namespace)
        self.assertEqual(0, done.returncode, done.stderr)
        return self.get(obj["kind"], obj["metadata"]["name"], namespace)

    def not_taken(self, obj, *words, namespace=None):
        done = self.give(obj, namespace=namespace)
        self.assertNotEqual(0, done.returncode, "it was accepted")
        for word in words:
            self.assertIn(word, done.stderr)


class Fractions(FractionCase):
    def load(self, name, *args):
        done = control.kubectl("-n", self.namespace, "exec", name, "--", "divvy-load", *map(str, args),
                               "-o", "json", check=False)
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError:
            self.fail(f"{name}: {done.stdout}{done.stderr}\n{self.story(name)}\n{self.agent_logs()}")

    def test_a_quarter_is_stopped_at_a_quarter(self):
        quarter = {GPU: "0.25"}
        for name, resources in (("both", {"limits": quarter, "requests": quarter}),
                                ("limits", {"limits": quarter}), ("requests", {"requests": quarter})):
            with self.subTest(name):
                found = self.run_pod(asking(name, **resources))
                self.assertEqual({"limits": {PERCENT: "25"}, "requests": {PERCENT: "25"}},
                                 found["spec"]["containers"][0]["resources"])
                said = json.loads(found["metadata"]["annotations"][ORIGINAL])["main"]
                for part in resources:
                    self.assertEqual({GPU: "250m"}, said[part])
                status, said = self.load(name, "alloc", "--bytes", 18 * GIB)
                self.assertEqual(0, status, said)
                status, said = self.load(name, "alloc", "--bytes", 20 * GIB + 1)
                self.assertEqual((1, 2), (status, said["cuda_error"]), said)
                s = self.await_slice(name)
                self.assertEqual(("governed", self.namespace), (s["mode"], s["tenant"]), s)

    def pods_of(self, name):
        return control.get("-n", self.namespace, "pods", "-l", f"of={name}")["items"]

    def test_pods_of_every_kind_run(self):
        kinds = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job",
                 "CronJob")
        for kind in kinds:
            self.taken(workload(kind, "0.1", kind.lower()))
        done = control.kubectl("-n", self.namespace, "create", "job", "now", "--from=cronjob/cronjob")
        self.addCleanup(control.kubectl, "-n", self.namespace, "delete", "job", "now", "--now")
        self.assertEqual(0, done.returncode)
        for kind in kinds:
            wanted = "Succeeded" if kind in ("Job", "CronJob") else "Running"
            with self.subTest(kind):
                found = process.wait(f"the pod of the {kind}: {wanted}", lambda: [
                    p for p in self.pods_of(kind.lower()) if p["status"].get("phase") == wanted], 90)
                self.assertEqual({PERCENT: "10"}, found[0]["spec"]["containers"][0]["resources"]["limits"])
                self.assertIn(ORIGINAL, found[0]["metadata"]["annotations"])
        made = self.taken(workload("PodTemplate", "0.1", "template"))
        self.assertEqual({PERCENT: "10"},
                         made["template"]["spec"]["containers"][0]["resources"]["limits"])

    def test_what_is_no_fraction_is_refused_in_words(self):
        self.not_taken(asking("eighth", limits={GPU: "0.125"}), "denied the request", "0.12 or 0.13")
        self.not_taken(asking("more", limits={GPU: "1.5"}), "neither whole GPUs nor a fraction")
        self.not_taken(workload("Deployment", "0.125", "eighth"), "0.12 or 0.13")

    def test_the_same_manifest_again_changes_nothing(self):
        for name, args in (("apply", ()), ("server-side", ("--server-side",))):
            with self.subTest(name):
                obj = workload("Deployment", "0.2", name)
                self.taken(obj, *args)
                first = process.wait("its pod", lambda n=name: [
                    p for p in self.pods_of(n) if p["status"].get("phase") == "Running"], 60)
                before = self.get("deployment", name)["metadata"]["generation"]
                again = self.taken(obj, *args)
                self.assertEqual(before, again["metadata"]["generation"])
                self.assertEqual([p["metadata"]["uid"] for p in first],
                                 [p["metadata"]["uid"] for p in self.pods_of(name)])

    def test_a_namespaces_label_restricts(self):
        self.make_namespace("fraction-saas", {"gpu-strategy": "mig-only"})
        self.make_namespace("fraction-lists", {"gpu-strategy": "mig_whole"})
        self.not_taken(asking("part", limits={GPU: "0.25"}), "allows only MIG", namespace="fraction-saas")
        self.not_taken(asking("whole", limits={GPU: "1"}), "allows only MIG", namespace="fraction-saas")
        self.not_taken(asking("part", limits={GPU: "0.25"}), "MIG", namespace="fraction-lists")
        gated = asking("whole", limits={GPU: "1"})
        gated["spec"]["schedulingGates"] = [{"name": "divvy.test/never"}]
        self.taken(gated, namespace="fraction-lists")

    @unittest.skipUnless(GUIDES, "the guides are not here")
    def test_manifests_of_the_guides(self):
        rows = [line.split("\t") for line in (GUIDES / "expected.tsv").read_text().splitlines()[1:]]
        for name, kind, expected, *_ in rows:
            if kind not in ("pod", "deployment", "job", "pod-fragment"):
                continue
            with self.subTest(name):
                self.assertEqual(expected, self.verdict((GUIDES / name).read_text(), kind))

    def verdict(self, text, kind):
        if kind == "pod-fragment":
            text = yaml.safe_dump({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"},
                "spec": {"containers": [{"name": "x", "image": "x", **yaml.safe_load(text)}]}})
        # Some name namespaces that the guide has made before.
        for name in {o["metadata"].get("namespace", "default") for o in yaml.safe_load_all(text) if o}:
            if control.kubectl("get", "namespace", name, check=False).returncode:
                self.make_namespace(name)
        done = control.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", text=text, check=False)
        if done.returncode:
            return "refused"
        return "rewritten" if ORIGINAL in done.stdout else "warned" if "Warning: " in done.stderr \
            else "accepted"

    def test_the_how_to_as_it_is_written(self):
        text = (paths.SOURCE / "docs/how-to/fractions.md").read_text()
        manifest = yaml.safe_load(re.search(r"```yaml\n(apiVersion.*?)```", text, re.S)[1])
        manifest["spec"]["containers"][0] |= {"image": BASE, "imagePullPolicy": "Never",
                                              "command": ["sleep", "3600"]}
        manifest["spec"]["terminationGracePeriodSeconds"] = 1
        found = self.run_pod(manifest)
        self.assertEqual({PERCENT: "25"}, found["spec"]["containers"][0]["resources"]["limits"])
        self.make_namespace("saas")
        blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M)
        commands = [c for language, block in blocks if not language for c in block.splitlines()]
        self.assertTrue([c for c in commands if c.startswith("kubectl label")], commands)
        with tempfile.TemporaryDirectory() as home:
            Path(home, "deployment.yaml").write_text(yaml.safe_dump(workload("Deployment", "0.25", "howto")))
            env = dict(os.environ, KUBECONFIG=str(paths.KUBECONFIG),
                       PATH=f"{STAGE}/bin:{Path(build.program('kubectl')).parent}:{os.environ['PATH']}")
            for command in commands:
                # Of these the words say that they refuse.
                refuses = "mig-only" in command and command.startswith("divvy admit")
                done = subprocess.run(command, shell=True, cwd=home, env=env, capture_output=True, text=True,
                                      check=False)
                self.assertEqual(int(refuses), done.returncode, f"{command}: {done.stdout}{done.stderr}")
        self.addCleanup(control.kubectl, "delete", "deployment", "howto", "--now", check=False)
        self.assertIn("mig-only", json.dumps(control.get("namespace", "saas")["metadata"]["labels"]))


class Controller(FractionCase):
    """What its absence, its replicas and its certificates do to those who create pods."""

    def gated(self, name, amount="0.25"):
        """It is stored, and never runs."""
        made = asking(name, limits={GPU: amount})
        made["spec"]["schedulingGates"] = [{"name": "divvy.test/never"}]
        return made

    def scale(self, n):
        self.controller("scale", "deployment", CONTROLLER, f"--replicas={n}")
        process.wait("its pods to be gone" if not n else "its pods", lambda: len(control.get(
            "-n", NAMESPACE, "pods", "-l", "app.kubernetes.io/component=controller")["items"]) == n, 60)
        if n:
            self.await_webhook()

    def test_without_it_nobody_is_held_up(self):
        self.scale(0)
        self.addCleanup(self.scale, 2)
        for name, resources in (("plain", {"limits": {"cpu": "10m"}}), ("whole", {"limits": {GPU: "1"}})):
            began = time.monotonic()
            self.taken(asking(name, **resources))
            self.assertLess(time.monotonic() - began, 5, "timeoutSeconds")
        self.not_taken(asking("part", limits={GPU: "0.25"}), "must be an integer")

    def test_replicas_share_one_certificate(self):
        addresses = self.addresses()
        self.assertEqual(2, len(addresses))
        self.assertEqual(1, len({self.served(a) for a in addresses}))
        data = control.get("-n", NAMESPACE, "secret", f"{CONTROLLER}-tls")["data"]
        self.assertEqual({data["ca.crt"]}, self.bundles())
        # One of them goes away, and its successor takes what is there.
        first = control.get("-n", NAMESPACE, "pods", "-l", "app.kubernetes.io/component=controller")["items"]
        self.controller("delete", "pod", first[0]["metadata"]["name"], "--now")
        self.await_webhook()
        self.assertEqual(data, control.get("-n", NAMESPACE, "secret", f"{CONTROLLER}-tls")["data"])

    @staticmethod
    def addresses():
        return [p["status"]["podIP"] for p in control.get(
            "-n", NAMESPACE, "pods", "-l", "app.kubernetes.io/component=controller")["items"]
            if "deletionTimestamp" not in p["metadata"]]

    @staticmethod
    def served(address):
        done = subprocess.run(["openssl", "s_client", "-connect", f"{address}:8443"], input="", text=True,
                              capture_output=True, check=False).stdout
        return re.search(r"-----BEGIN.*?END CERTIFICATE-----\n", done, re.S)[0]

    def begin_anew(self, **change):
        """With its arguments changed and no certificate of before."""
        self.scale(0)
        self.controller("patch", "secret", f"{CONTROLLER}-tls", "--type=merge", "-p", '{"data":null}')
        self.controller("patch", "deployment", CONTROLLER, "--type=json", "-p", json.dumps([change]))
        self.scale(2)

    def test_certificates_change_while_pods_are_created(self):
        args = "/spec/template/spec/containers/0/args"
        deployment = control.get("-n", NAMESPACE, "deployment", CONTROLLER)
        last = len(deployment["spec"]["template"]["spec"]["containers"][0]["args"])
        # Other tests look at certificates that stay.
        self.addCleanup(self.begin_anew, op="remove", path=f"{args}/{last}")
        self.begin_anew(op="add", path=f"{args}/-", value="--tls-life=36s")
        seen, end, n = set(), time.monotonic() + 75, 0
        # However slow the machine is: over three certificates, thirty pods.
        while time.monotonic() < end or n < 30 or len(seen) < 3:
            self.assertLess(time.monotonic(), end + 300, self.controller_logs())
            n += 1
            made = self.taken(self.gated(f"made-{n}"))
            self.assertEqual({PERCENT: "25"}, made["spec"]["containers"][0]["resources"]["limits"])
            self.take_away(made)
            data = control.get("-n", NAMESPACE, "secret", f"{CONTROLLER}-tls")["data"]
            seen.add(data["tls.crt"])
            time.sleep(0.3)

    def issue(self, home, name):
        """A certificate of an authority of its own, as another program makes it; into the Secret."""
        def openssl(*args):
            subprocess.run(["openssl", *args], cwd=home, check=True, capture_output=True)
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout")
        Path(home, "ext").write_text(f"subjectAltName=DNS:{CONTROLLER}.{NAMESPACE}.svc\n")
        openssl("req", "-x509", *key, f"{name}-ca.key", "-out", f"{name}-ca.crt", "-subj", f"/CN={name}",
                "-days", "2")
        openssl("req", *key, f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}-server")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{name}-ca.crt", "-CAkey", f"{name}-ca.key",
                "-CAcreateserial", "-out", f"{name}.crt", "-days", "2", "-extfile", "ext")
        data = {to: base64.b64encode(Path(home, of).read_bytes()).decode() for to, of in (
            ("ca.crt", f"{name}-ca.crt"), ("tls.crt", f"{name}.crt"), ("tls.key", f"{name}.key"))}
        self.apply({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                    "metadata": {"name": "webhook-by-others", "namespace": NAMESPACE}, "data": data})
        return data["ca.crt"]

    def test_z_certificates_of_somebody_else(self):
        """The last by its name: it changes what is installed."""
        with tempfile.TemporaryDirectory() as home:
            first = self.issue(home, "first")
            helm("upgrade", "divvy", CHART, "--namespace", NAMESPACE, "--values", paths.STATE / "values.yaml",
                 "--set", "webhook.tlsSecret=webhook-by-others",
                 "--force-conflicts")  # tests before have patched the Deployment
            self.await_webhook()
            process.wait("their authority", lambda: self.bundles() == {first}, 60)
            self.taken(self.gated("first"))
            second = self.issue(home, "second")
            # The kubelet brings it into the volumes of both, of one sooner than of the other.
            process.wait("the other authority", lambda: self.bundles() == {second}, 150)
            process.wait("both to serve it", lambda: {self.served(a) for a in self.addresses()} == {
                Path(home, "second.crt").read_text()}, 150)
            self.assertEqual({second}, self.bundles())
            process.wait("the API server to ask again", self.asked, 60)
            self.taken(self.gated("second"))


if __name__ == "__main__":
    unittest.main()
