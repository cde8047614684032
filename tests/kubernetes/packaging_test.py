# SPDX-License-Identifier: Apache-2.0
"""What divvy is installed by: the chart, the plain manifests, the image; asked of a real API server and,
for the agent's rights on its node, of a real kubelet."""
import base64
import json
import os
import subprocess
import tempfile
from pathlib import Path

import yaml

from cluster import build, control, image, paths, process
from harness import STAGE, ClusterCase, pod

PACKAGING = paths.SOURCE / "packaging"
CHART = PACKAGING / "helm" / "divvy"
VALUES = paths.HERE / "values"
IMAGE = "divvy.dev/divvy:test"
# The kinds that monitors are; the API server shall know them, not what is in them.
MONITORS = ("ServiceMonitor", "PodMonitor")


def helm(*args, check=True):
    env = dict(os.environ, KUBECONFIG=str(paths.KUBECONFIG), HELM_CACHE_HOME=str(paths.STATE / "helm"),
               HELM_CONFIG_HOME=str(paths.STATE / "helm"), HELM_DATA_HOME=str(paths.STATE / "helm"))
    done = subprocess.run([build.program("helm"), *map(str, args)], capture_output=True, text=True,
                          env=env)
    if check and done.returncode:
        raise AssertionError(f"helm {args}: {done.stderr}")
    return done


def template(namespace, *args):
    """The chart's objects as text."""
    return helm("template", "divvy", CHART, "--namespace", namespace, *args).stdout


def objects(text, kind=None):
    found = [o for o in yaml.safe_load_all(text) if o]
    return [o for o in found if o["kind"] == kind] if kind else found


def value_files():
    return sorted(VALUES.glob("*.yaml"))


def definition(kind):
    plural = kind.lower() + "s"
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.monitoring.coreos.com"},
            "spec": {"group": "monitoring.coreos.com", "scope": "Namespaced",
                     "names": {"kind": kind, "plural": plural},
                     "versions": [{"name": "v1", "served": True, "storage": True, "schema": {
                         "openAPIV3Schema": {"type": "object",
                                             "x-kubernetes-preserve-unknown-fields": True}}}]}}


class Chart(ClusterCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.apply(*map(definition, MONITORS))
        cls.addClassCleanup(control.kubectl, "delete", "crd", "--wait=false", check=False,
                            *(definition(k)["metadata"]["name"] for k in MONITORS))
        process.wait("the monitors' kinds", lambda: control.kubectl(
            "get", "servicemonitors,podmonitors", "-A", check=False).returncode == 0, 30)

    def test_lint_has_nothing_to_say(self):
        for values in [[], *(["-f", f] for f in value_files())]:
            done = helm("lint", "--strict", CHART, *values, check=False)
            self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def test_the_charts_version_is_the_programs(self):
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        said = subprocess.run([STAGE / "bin/divvyd", "--version"], capture_output=True, text=True).stdout
        self.assertEqual((f"divvyd {chart['appVersion']}", chart["appVersion"]), (said.strip(), chart["version"]))

    def test_the_server_accepts_what_the_chart_makes(self):
        for values in [[], ["--set", "webhook.enabled=true"], *(["-f", f] for f in value_files())]:
            with self.subTest(values=values):
                done = control.kubectl("apply", "--dry-run=server", "--server-side", "--validate=strict",
                                       "-f", "-", text=template(self.namespace, *values), check=False)
                self.assertEqual(0, done.returncode, done.stderr)
                self.assertNotIn("Warning", done.stderr)

    def test_the_plain_manifests_are_the_charts_and_accepted(self):
        done = subprocess.run([PACKAGING / "kubernetes" / "render", "--check"], text=True,
                              capture_output=True, env=dict(os.environ, HELM=build.program("helm")))
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        self.make_namespace("divvy")
        for file in sorted((PACKAGING / "kubernetes").glob("*.yaml")):
            done = control.kubectl("apply", "--dry-run=server", "--server-side", "--validate=strict",
                                   "--force-conflicts", "-f", str(file), check=False)
            self.assertEqual(0, done.returncode, f"{file}: {done.stderr}")

    def said(self, *args):
        """What helm says when it refuses."""
        done = helm("template", "divvy", CHART, *args, check=False)
        self.assertNotEqual(0, done.returncode, f"{args} was taken")
        return done.stderr

    def test_unknown_and_wrong_values_are_errors(self):
        for given, words in (("migStrategi=single", "migStrategi"),
                             ("config.mapp.a=b", "mapp"),
                             ("mps.root=/x", "mps"),
                             ("migStrategy=many", "migStrategy"),
                             ("metrics.port=70000", "port"),
                             ("deviceListStrategy=cdi", "deviceListStrategy"),
                             (r"webhook.resourceModes.nvidia\.com/gpu-a100=hole", "gpu-a100"),
                             (r"webhook.resourceModes.amd\.com/gpu=whole", "amd.com/gpu"),
                             (r"webhook.resourceModes.divvy\.dev/gpu-percent=whole", "gpu-percent"),
                             ("devicePlugin.config.nam=x", "nam")):
            self.assertIn(words, self.said("--set", given))

    def test_two_names_with_two_values_are_refused_by_both_names(self):
        for own, operators in (("migStrategy=mixed", "mig.strategy=single"),
                               ("config.name=a", "devicePlugin.config.name=b"),
                               ("metrics.enabled=true", "dcgmExporter.enabled=false"),
                               ("nvidiaDriverRoot=/a", "hostPaths.driverInstallDir=/b"),
                               ("passDeviceSpecs=true", "compatWithCPUManager=false"),
                               ("updateStrategy.type=OnDelete", "daemonsets.updateStrategy=RollingUpdate")):
            said = self.said("--set", f"{own},{operators}")
            for name in (own.split("=")[0].split(".type")[0], operators.split("=")[0]):
                self.assertIn(name, said)
        template("x", "--set", "migStrategy=mixed,mig.strategy=mixed")

    def test_what_divvy_does_not_do_is_refused(self):
        for given in ("driver.enabled=true", "toolkit.enabled=true", "dcgm.enabled=true",
                      "devicePlugin.enabled=false", "cdi.enabled=false", "config.default=x",
                      "metrics.serviceMonitor.enabled=true", "metrics.tokenSecret=x", "metrics.tlsSecret=x"):
            self.assertIn(given.split("=")[0], self.said("--set", given))

    def test_the_operators_names_mean_the_same(self):
        agent = objects(template("x", "-f", VALUES / "gpu-operator.yaml"), "DaemonSet")[0]["spec"]
        container = agent["template"]["spec"]["containers"][0]
        env = {e["name"]: e.get("value") for e in container["env"]}
        self.assertEqual("mixed", env["MIG_STRATEGY"])
        self.assertEqual("any", env["DEFAULT_CONFIG"])
        self.assertEqual("all-disabled", env["DEFAULT_MIG_CONFIG"])
        self.assertIn("--driver-root=/run/nvidia/driver", container["args"])
        self.assertIn("--plugin-config=/config/plugin", container["args"])
        self.assertEqual("20%", agent["updateStrategy"]["rollingUpdate"]["maxUnavailable"])
        self.assertEqual([{"operator": "Exists"}], agent["template"]["spec"]["tolerations"])
        self.assertEqual("ml", agent["template"]["metadata"]["labels"]["team"])

    def test_privileged_only_where_nothing_else_brings_the_gpus(self):
        for given, privileged in (("nameOverride=", True), ("runtimeClassName=nvidia", None),
                                  ("simulate=dgx-a100", None)):
            spec = objects(template("x", "--set", given), "DaemonSet")[0]["spec"]["template"]["spec"]
            context = spec["containers"][0]["securityContext"]
            self.assertEqual(privileged, context.get("privileged"))
            self.assertTrue(context["readOnlyRootFilesystem"])


class Installed(ClusterCase):
    """Installed by Helm, with a node selector that no node has: the objects, not the pods."""
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.args = ["divvy", CHART, "--namespace", cls.namespace, "--set-string",
                    "nodeSelector.of=nobody,webhook.nodeSelector.of=nobody",
                    "--set", "webhook.enabled=true,nfd.enabled=true,metrics.tlsSecret=t,metrics.tokenSecret=t",
                    "--set-string", "config.map.a=version: v1"]
        helm("install", *cls.args)
        cls.addClassCleanup(helm, "uninstall", "divvy", "--namespace", cls.namespace, check=False)

    def may(self, account, what, namespace=None):
        """What the API server answers for the account: "VERB RESOURCE[.GROUP][/NAME] [SUBRESOURCE]"."""
        verb, resource, *sub = what.split()
        resource, _, name = resource.partition("/")
        kind, _, group = resource.partition(".")
        namespace, own = namespace or self.namespace, f"system:serviceaccounts:{self.namespace}"
        answer = control.kubectl("create", "-o", "json", "-f", "-", text=json.dumps({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
                "user": f"system:serviceaccount:{self.namespace}:{account}",
                "groups": ["system:authenticated", "system:serviceaccounts", own],
                "resourceAttributes": {"verb": verb, "resource": kind, "group": group, "name": name,
                                       "subresource": "".join(sub), "namespace": namespace}}})).stdout
        return json.loads(answer)["status"]["allowed"]

    def test_the_agent_may_what_it_does_and_no_more(self):
        for what in ("get nodes", "list nodes", "watch nodes", "patch nodes",
                     "patch nodes status", "list pods", "watch pods",
                     "create pods eviction", "create events", "patch events"):
            self.assertTrue(self.may("divvy", what, namespace="kube-system"), what)
        for what in ("patch nodefeatures.nfd.k8s-sigs.io", "create nodefeatures.nfd.k8s-sigs.io"):
            self.assertTrue(self.may("divvy", what), what)
        for what in ("* *.*", "* *", "delete nodes", "update nodes", "create pods", "delete pods", "patch pods",
                     "create pods exec", "get secrets", "list secrets",
                     "get configmaps/other", "list configmaps", "create configmaps",
                     "get configmaps/divvy-config", "list poddisruptionbudgets.policy",
                     "create tokenreviews.authentication.k8s.io",
                     "create clusterrolebindings.rbac.authorization.k8s.io",
                     "impersonate users", "get nodes proxy"):
            self.assertFalse(self.may("divvy", what), what)

    def test_the_controller_may_what_it_does_and_no_more(self):
        own = "mutatingwebhookconfigurations.admissionregistration.k8s.io/"
        for what in ("get secrets/divvy-controller-tls", "patch secrets/divvy-controller-tls",
                     f"get {own}divvy-controller", f"patch {own}divvy-controller"):
            self.assertTrue(self.may("divvy-controller", what), what)
        for what in ("* *.*", "* *", "get secrets/other", "list secrets", "create secrets",
                     "update secrets/divvy-controller-tls",
                     f"patch {own}other", f"delete {own}divvy-controller", "get namespaces", "get pods",
                     "create pods", "get nodes", "patch nodes"):
            self.assertFalse(self.may("divvy-controller", what), what)

    def test_an_upgrade_keeps_what_the_controller_wrote(self):
        bundle = base64.b64encode((paths.PKI / "ca.crt").read_bytes()).decode()
        names = [w["name"] for w in self.get("mutatingwebhookconfiguration", "divvy-controller")["webhooks"]]
        control.kubectl("patch", "mutatingwebhookconfiguration", "divvy-controller", "--type=strategic",
                        "-p", json.dumps({"webhooks": [{"name": n, "clientConfig": {"caBundle": bundle}}
                                                       for n in names]}))
        control.kubectl("-n", self.namespace, "patch", "secret", "divvy-controller-tls", "--type=merge",
                        "-p", json.dumps({"stringData": {"tls.key": "kept"}}))
        helm("upgrade", *self.args, "--set", "webhook.timeoutSeconds=7")
        config = self.get("mutatingwebhookconfiguration", "divvy-controller")["webhooks"]
        self.assertEqual({(7, bundle)}, {(w["timeoutSeconds"], w["clientConfig"]["caBundle"]) for w in config})
        secret = self.get("secret", "divvy-controller-tls")
        self.assertEqual(b"kept", base64.b64decode(secret["data"]["tls.key"]))

    def test_only_what_asks_for_a_gpu_goes_to_the_webhook(self):
        """Nobody serves it here. When it must be asked, what goes there fails and the rest does not."""
        config = objects(template(self.namespace, "--set", "webhook.enabled=true,fullnameOverride=must",
                                  "--set", "webhook.strategies={mig_whole}"),
                         "MutatingWebhookConfiguration")[0]
        for w in config["webhooks"]:
            w["failurePolicy"] = "Fail"
            w["namespaceSelector"]["matchLabels"] = {"team": "asked"}
        self.make_namespace("asked", {"team": "asked"})
        self.apply(config)
        self.addCleanup(control.kubectl, "delete", "mutatingwebhookconfiguration", "must-controller",
                        check=False)
        process.wait("the webhook to be asked", lambda: not self.taken(self.workloads(
            {"nvidia.com/gpu": "1"})[0]), 30)
        for resources, asked in (({"nvidia.com/gpu": "0.25"}, True), ({"divvy.dev/gpu-percent": "25"}, True),
                                 ({"nvidia.com/mig-1g.10gb": "1"}, True), ({"nvidia.com/a100": "1"}, True),
                                 ({"cpu": "1"}, False), ({"example.com/gpu": "1"}, False),
                                 (None, False)):
            for obj in self.workloads(resources):
                with self.subTest(kind=obj["kind"], resources=resources):
                    self.assertEqual(asked, not self.taken(obj))
        gpu = self.workloads({"nvidia.com/gpu": "1"})[0]
        for label, entry in (("mig-only", "mig"), ("fraction", "governed"), ("", "any"),
                             ("nonsense", "unknown"), ("mig_whole", "mig-whole")):
            with self.subTest(label=label):
                control.kubectl("label", "namespace", "asked", "--overwrite", f"gpu-strategy={label}")
                process.wait(f"entry {entry}", lambda: not self.taken(gpu, entry, check=False), 10)

    def taken(self, obj, entry="unlabelled", check=True):
        """Whether it is created; if not, the entry of the webhook must be why."""
        done = control.kubectl("create", "--dry-run=server", "-f", "-", text=json.dumps(obj), check=False)
        because = f'"{entry}.webhook.divvy.dev"' in done.stderr
        if check and done.returncode:
            self.assertTrue(because, done.stderr)
        return done.returncode == 0 or not because

    def test_declared_names_reach_the_controller(self):
        made = objects(template(self.namespace, "--set", "webhook.enabled=true", "--set",
                                r"webhook.resourceModes.nvidia\.com/gpu-a100=whole", "--set",
                                r"webhook.resourceModes.nvidia\.com/a100-small=governed"), "Deployment")[0]
        args = made["spec"]["template"]["spec"]["containers"][0]["args"]
        self.assertEqual(["--resource=nvidia.com/a100-small=governed", "--resource=nvidia.com/gpu-a100=whole"],
                         [a for a in args if a.startswith("--resource")])

    def test_the_entries_are_those_that_the_controller_prints(self):
        program = STAGE / "bin/divvy-controller"
        if not program.exists():
            self.skipTest("this build has no divvy-controller")
        printed = yaml.safe_load(subprocess.run(
            [program, "webhook", "--print-manifest", f"--service={self.namespace}/divvy-controller",
             "--strategy=mig.whole"], capture_output=True, text=True, check=True).stdout)["webhooks"]
        made = objects(template(self.namespace, "--set", "webhook.enabled=true",
                                "--set", "webhook.strategies={mig.whole}"),
                       "MutatingWebhookConfiguration")[0]["webhooks"]

        def plain(webhook):
            """Without what the chart says by itself: which namespaces are left alone."""
            labels = [e for e in webhook["namespaceSelector"]["matchExpressions"]
                      if e["key"] == "gpu-strategy"]
            return {**webhook, "namespaceSelector": labels, "matchConditions": [
                "".join(c["expression"].split()) for c in webhook["matchConditions"]]}
        self.assertEqual([plain(w) for w in printed], [plain(w) for w in made])

    @staticmethod
    def workloads(resources):
        """One of each kind that has pods in it."""
        def spec():
            return {k: v for k, v in pod("x", "true", resources=resources)["spec"].items()}

        def made(version, kind, **fields):
            return {"apiVersion": version, "kind": kind,
                    "metadata": {"name": "x", "namespace": "asked"}, **fields}

        def labelled(restart):
            return {"metadata": {"labels": {"a": "x"}}, "spec": {**spec(), "restartPolicy": restart}}
        selector = {"matchLabels": {"a": "x"}}
        starting = {**spec(), "initContainers": [dict(spec()["containers"][0], name="first")],
                    "containers": [{"name": "main", "image": "x"}]}
        return [made("v1", "Pod", spec=spec()), made("v1", "Pod", spec=starting),
                *(made("apps/v1", kind, spec={
                    "selector": selector, "template": labelled("Always"), **more})
                  for kind, more in (("Deployment", {}), ("ReplicaSet", {}), ("DaemonSet", {}),
                                     ("StatefulSet", {"serviceName": "x"}))),
                made("v1", "ReplicationController", spec={"template": labelled("Always")}),
                made("batch/v1", "Job", spec={"template": labelled("Never")}),
                made("batch/v1", "CronJob", spec={
                    "schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": labelled("Never")}}}),
                made("v1", "PodTemplate", template=labelled("Always"))]

    def test_a_token_of_the_agent_changes_its_own_node_only(self):
        self.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "elsewhere"}})
        self.addCleanup(control.kubectl, "delete", "node", "elsewhere", check=False)
        self.run_pod(pod("agent", "sleep 600", serviceAccountName="divvy"))
        token = control.kubectl("-n", self.namespace, "create", "token", "divvy", "--bound-object-kind=Pod",
                                "--bound-object-name=agent").stdout.strip()

        def label(node, name):
            return subprocess.run(
                [build.program("kubectl"), "--kubeconfig=/dev/null", f"--server={paths.API}",
                 f"--certificate-authority={paths.PKI}/ca.crt", f"--token={token}", "label", "--overwrite",
                 "node", node, f"divvy.dev/test={name}"], capture_output=True, text=True)
        process.wait("the policy", lambda: label("elsewhere", os.urandom(4).hex()).returncode, 30)
        self.assertIn("only the node that it runs on", label("elsewhere", "x").stderr)
        done = label(self.node.name, "x")
        self.assertEqual(0, done.returncode, done.stderr)
        control.kubectl("label", "node", self.node.name, "divvy.dev/test-")


class Image(ClusterCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        image.IMAGES.mkdir(parents=True, exist_ok=True)
        cls.archive = image.IMAGES / "divvy.tar"
        cls.digest = cls.build(cls.archive)
        cls.node.import_image(cls.archive)

    @staticmethod
    def build(out):
        return subprocess.run([PACKAGING / "image" / "build", out, "--stage", STAGE, "--name", IMAGE],
                              capture_output=True, text=True, check=True).stdout.split()[-1]

    def test_the_same_files_give_the_same_image(self):
        with tempfile.TemporaryDirectory() as d:
            self.assertEqual(self.digest, self.build(Path(d) / "again.tar"))

    def test_its_programs_run(self):
        programs = [p.name for p in sorted((STAGE / "bin").iterdir())]
        for name in ("divvyd", "divvy", "divvy-sim"):
            self.assertIn(name, programs)
        for name in programs:
            said = pod(name, "")
            said["spec"]["containers"][0] |= {"image": IMAGE, "command": [name, "--version"]}
            self.run_pod(said, phase=("Succeeded",))
            self.assertIn(name, self.logs(name))

    def test_the_agents_rights_are_enough(self):
        """The chart's pod with a simulated node: no privileged container, a read-only root."""
        agent = objects(template(self.namespace, "--set", "simulate=dgx-a100,image.tag=test",
                                 "--set", "image.pullPolicy=Never"), "DaemonSet")[0]["spec"]["template"]
        container = agent["spec"]["containers"][0]
        # Without the cluster's side: that is what other tests are about.
        container["args"] = ["--sim=dgx-a100"]
        agent["spec"] |= {"terminationGracePeriodSeconds": 1, "serviceAccountName": "default"}
        self.run_pod({"apiVersion": "v1", "kind": "Pod", "spec": agent["spec"],
                      "metadata": {"name": "divvyd", "namespace": self.namespace}})
        process.wait("divvyd to be ready", lambda: self.get("pod", "divvyd")["status"]
                     ["containerStatuses"][0]["ready"], 60)
        for mode in ("governed", "mps", "exclusive"):
            done = control.kubectl("-n", self.namespace, "exec", "divvyd", "--", "divvy", "run", "--mode",
                                   mode, "--", "divvy-load", "spin", "--seconds", "0.5", check=False)
            self.assertEqual(0, done.returncode, f"{mode}: {done.stderr}{self.logs('divvyd')}")
