# SPDX-License-Identifier: Apache-2.0
"""divvy in the cluster, installed as a user installs it: the image imported, the chart by Helm, the
node's configurations as values. The node is a simulated DGX A100."""
import datetime
import json
import os
import subprocess

import yaml

from cluster import build, control, image, paths, process
from harness import STAGE, ClusterCase, pod

NAMESPACE = "divvy"
IMAGE = "divvy.dev/divvy:test"
CHART = paths.SOURCE / "packaging/helm/divvy"
NODE = "dgx-a100"
CONFIG_LABEL = "nvidia.com/device-plugin.config"
MIG_LABEL = "nvidia.com/mig.config"

# GPU 0 whole; 1 by turns; 2 by fractions; 3 in governed halves; the others whole, or cut by MIG.
SHARES = """\
version: v1
flags:
  migStrategy: mixed
  plugin: {deviceListStrategy: cdi-cri}
sharing:
  timeSlicing:
    renameByDefault: true
    failRequestsGreaterThanOne: true
    resources:
    - {name: nvidia.com/gpu, devices: [1], replicas: 4}
  governed:
    resources:
    - {name: nvidia.com/gpu, devices: [2], percent: true}
    - {name: nvidia.com/gpu, devices: [3], rename: nvidia.com/gpu.governed, replicas: 2}
"""
MPS = """\
version: v1
flags:
  plugin: {deviceListStrategy: cdi-cri}
sharing:
  mps:
    renameByDefault: true
    resources:
    - {name: nvidia.com/gpu, devices: [1], replicas: 4}
"""
EIGHT = SHARES.replace("devices: [1], replicas: 4", "devices: [1], replicas: 8")
WRONG = SHARES.replace("replicas: 4", "replicaz: 4")
MIG_CONFIG = """\
version: v1
mig-configs:
  all-disabled:
  - {devices: all, mig-enabled: false}
  one-cut:
  - {devices: [0, 1, 2, 3, 5, 6, 7], mig-enabled: false}
  - {devices: [4], mig-enabled: true, mig-devices: {1g.10gb: 2, 2g.20gb: 1, 3g.40gb: 1}}
  one-cut-otherwise:
  - {devices: [0, 1, 2, 3, 5, 6, 7], mig-enabled: false}
  - {devices: [4], mig-enabled: true, mig-devices: {1g.10gb: 4, 3g.40gb: 1}}
"""
PRICES = """\
apiVersion: divvy/v1
kind: PriceList
currency: USD
prices: [{perGpuHour: 3.06}]
"""
# As the plugin's own defaults: what pods get they learn from an environment variable.
WHOLE = "version: v1\n"
CONFIGS = {"shares": SHARES, "whole": WHOLE, "mps": MPS, "eight": EIGHT, "wrong": WRONG}


def helm(*args):
    home = str(paths.STATE / "helm")
    env = dict(os.environ, KUBECONFIG=str(paths.KUBECONFIG), HELM_CACHE_HOME=home,
               HELM_CONFIG_HOME=home, HELM_DATA_HOME=home)
    done = subprocess.run([build.program("helm"), *map(str, args)], capture_output=True, text=True,
                          env=env, check=False)
    if done.returncode:
        raise AssertionError(f"helm {args}: {done.stderr}")
    return done.stdout


def values(**more):
    return {"simulate": NODE, "image": {"tag": "test", "pullPolicy": "Never"},
            "config": {"map": CONFIGS, "default": "shares"},
            "prices": PRICES, "migManager": {"config": {"data": {"config.yaml": MIG_CONFIG}}}, **more}


class AgentCase(ClusterCase):
    """divvy is installed before the first test of a class, and removed after the last."""
    more = {}
    first = {"nvidia.com/gpu.shared": "4"}  # what is offered once all is up
    sim_socket = "/var/lib/divvy/sim.sock"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.began = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        image.IMAGES.mkdir(parents=True, exist_ok=True)
        archive = image.IMAGES / "divvy.tar"
        subprocess.run([paths.SOURCE / "packaging/image/build", archive, "--stage", STAGE, "--name",
                        IMAGE], capture_output=True, check=True)
        cls.node.import_image(archive)
        cls.make_namespace(NAMESPACE, {"pod-security.kubernetes.io/enforce": "privileged"})
        file = paths.STATE / "values.yaml"
        file.write_text(yaml.safe_dump(values(**cls.more)))
        cls.addClassCleanup(cls.remove)
        cls.label_node(**{CONFIG_LABEL: None, MIG_LABEL: None})
        helm("upgrade", "--install", "divvy", CHART, "--namespace", NAMESPACE, "--values", file)
        process.wait("divvy's pod to be ready", cls.agent_is_ready, 120)
        cls.await_capacity(cls.first)

    @classmethod
    def remove(cls):
        helm("uninstall", "divvy", "--namespace", NAMESPACE, "--ignore-not-found", "--wait")
        # It does not wait for the DaemonSet's pods; who ends writes files.
        control.kubectl("-n", NAMESPACE, "delete", "pods", "-l", "app.kubernetes.io/component=node",
                        "--timeout=180s")
        cls.label_node(**{CONFIG_LABEL: None, MIG_LABEL: None})
        cls.node.run("sh", "-c", "rm -rf /var/lib/divvy/* /run/divvy/* /run/cdi/* /dev/shm/divvy")

    @classmethod
    def agent_pod(cls):
        pods = control.get("-n", NAMESPACE, "pods", "-l", "app.kubernetes.io/component=node")["items"]
        return pods[0] if pods else None

    @classmethod
    def agent_is_ready(cls):
        found = cls.agent_pod()
        states = found["status"].get("containerStatuses", []) if found else []
        return bool(states) and all(s["ready"] for s in states)

    @classmethod
    def agent_logs(cls):
        return control.kubectl("-n", NAMESPACE, "logs", "-l", "app.kubernetes.io/component=node",
                               "--tail=60", check=False).stdout

    @classmethod
    def divvy(cls, *args, check=True):
        """A command of divvy in the agent's pod."""
        done = control.kubectl("-n", NAMESPACE, "exec", cls.agent_pod()["metadata"]["name"], "--",
                               "divvy", *args, check=False)
        if check and done.returncode:
            raise AssertionError(f"divvy {args}: {done.stdout}{done.stderr}")
        return done

    @classmethod
    def inject(cls, *args):
        """A fault of the simulated node, whose server runs in the agent's pod."""
        control.kubectl("-n", NAMESPACE, "exec", cls.agent_pod()["metadata"]["name"], "--",
                        "divvy-sim", "inject", "--socket", cls.sim_socket, *map(str, args))

    @classmethod
    def divvy_json(cls, *args):
        return json.loads(cls.divvy(*args, "-o", "json").stdout)

    @classmethod
    def label_node(cls, **labels):
        control.kubectl("label", "node", cls.node.name, "--overwrite",
                        *(f"{k}={v}" if v else f"{k}-" for k, v in labels.items()))

    @classmethod
    def allocatable(cls):
        found = control.get("node", cls.node.name)["status"]["allocatable"]
        return {k: v for k, v in found.items() if k.startswith(("nvidia.com/", "divvy.dev/"))}

    @classmethod
    def await_capacity(cls, wanted, timeout=60):
        """These resources with these counts; None: none of it."""
        def reached():
            cls.seen = cls.allocatable()
            return all(cls.seen.get(k, "0") == (v or "0") for k, v in wanted.items())
        try:
            process.wait(f"{wanted}", reached, timeout)
        except TimeoutError as late:
            raise AssertionError(f"{late}; there is {cls.seen}\n{cls.agent_logs()}") from late
        return cls.seen

    @classmethod
    def await_watched(cls, timeout=60):
        """The kubelet has the list of every resource from this agent, with all units healthy. The Node does not
        say so: it has what was before until the kubelet's next look, or the next kubelet's first. A pod that
        is sent there then has failed."""
        def watched():
            done = cls.divvy("kubernetes", "-o", "json", check=False)
            cls.seen = json.loads(done.stdout)["resources"] if done.returncode == 0 else []
            return cls.seen and all(r["state"] == "watched" and r["healthy"] == r["units"] for r in cls.seen)
        try:
            process.wait("the kubelet to watch all lists", watched, timeout)
        except TimeoutError as late:
            raise AssertionError(f"{late}; there is {cls.seen}\n{cls.agent_logs()}") from late

    def node_events(self):
        """Those since this class began."""
        found = control.get("-n", "default", "events", "--field-selector",
                            f"involvedObject.name={self.node.name}")["items"]
        return [f"{e['reason']}: {e.get('message', '')}" for e in found
                if (e.get("lastTimestamp") or self.began) >= self.began]

    def await_event(self, *words, timeout=30):
        try:
            return process.wait(f"an event with {words}", lambda: next(
                (e for e in self.node_events() if all(w in e for w in words)), None), timeout)
        except TimeoutError as late:
            raise AssertionError(
                f"{late}; there is {self.node_events()}\n{self.agent_logs()}") from late

    def slices(self):
        """By namespace and pod; none while the kubelet lets nobody into the agent's pod."""
        done = self.divvy("ps", "-o", "json", check=False)
        found = json.loads(done.stdout)["slices"] if done.returncode == 0 else []
        return {f"{s.get('namespace')}/{s.get('pod')}": s for s in found}

    def await_slice(self, name, timeout=20):
        """The slice of the pod of this case, as `divvy ps` shows it."""
        key = f"{self.namespace}/{name}"
        return process.wait(f"a slice of {key}", lambda: self.slices().get(key), timeout)

    # ---- pods that use a GPU ----

    def hold(self, name, resources):
        """A pod that waits to be told what to do."""
        return self.run_pod(pod(name, "sleep 3600", resources=resources))

    def within(self, name, *argv, namespace=None, check=True):
        """A command in the pod: what it printed."""
        done = control.kubectl("-n", namespace or self.namespace, "exec", name, "--",
                               *map(str, argv), check=False)
        if check and done.returncode:
            self.fail(f"{name}: {argv}: {done.stdout}{done.stderr}\n{self.agent_logs()}")
        return done.stdout

    def load(self, name, *args, namespace=None):
        """divvy-load in the pod: (exit status, its JSON)."""
        done = control.kubectl("-n", namespace or self.namespace, "exec", name, "--", "divvy-load",
                               *map(str, args), "-o", "json", check=False)
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError:
            self.fail(f"{name}: {done.stdout}{done.stderr}\n{self.story(name)}\n{self.agent_logs()}")

    def assert_untouched(self, before):
        """The pod is the one that it was, and its containers have not been started again."""
        now = self.get("pod", before["metadata"]["name"], before["metadata"]["namespace"])
        self.assertEqual(before["metadata"]["uid"], now["metadata"]["uid"])
        self.assertEqual("Running", now["status"]["phase"])
        self.assertEqual([0], [s["restartCount"] for s in now["status"]["containerStatuses"]])
