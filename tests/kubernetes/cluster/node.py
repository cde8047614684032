# SPDX-License-Identifier: Apache-2.0
"""A node of the cluster: a network and a mount namespace on this machine with containerd, kubelet and
kube-proxy in it. What a kubelet keeps at fixed places (/var/lib/kubelet, /run/containerd, ...) lies in
the node's own directory and is bind-mounted there, so nodes do not see each other and the machine
keeps its own. The pid namespace is the machine's.
"""
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from . import build, control, image, paths, pki, process

# Of the node's own, at the place where everybody looks for them.
OWN = ("/var/lib/kubelet", "/var/lib/containerd", "/run/containerd", "/etc/cni/net.d", "/var/lib/cni",
       "/etc/cdi", "/run/cdi", "/run/netns", "/run/divvy", "/var/lib/divvy", "/opt/divvy", "/var/log/pods",
       "/var/log/containers", "/etc/kubernetes")
CGROUPS = Path("/sys/fs/cgroup")


class Node:
    def __init__(self, number):
        self.number = number
        self.name = paths.node_name(number)
        self.address = paths.node_address(number)
        self.pods = f"{paths.PODS}.{number}.0/24"
        self.dir = paths.STATE / self.name
        self.netns = f"dv-{self.name}"
        self.cgroup = f"/divvy-test/{self.name}"

    # ---- namespaces ----

    def holder(self):
        return process.running(f"{self.name}-holder")

    def enter(self):
        """What to put before a command so that it runs in the node."""
        return ["nsenter", "--target", str(self.holder()), "--mount", "--net", "--"]

    def run(self, *argv, **kwargs):
        return subprocess.run([*self.enter(), *map(str, argv)], check=True, **kwargs)

    def path(self, inside):
        """A file of the node, for processes outside of it."""
        for own in OWN:
            if inside == own or inside.startswith(own + "/"):
                return self.dir / "fs" / inside.lstrip("/")
        return Path(inside)

    def make_network(self):
        def ip(*args, inside=False):
            prefix = ["nsenter", f"--net=/run/netns/{self.netns}"] if inside else []
            subprocess.run([*prefix, "ip", *args], check=True)
        if Path(f"/run/netns/{self.netns}").exists():
            return
        link = f"dvk-{self.number}"
        ip("netns", "add", self.netns)
        ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", self.netns)
        ip("link", "set", link, "master", paths.BRIDGE, "up")
        ip("link", "set", "lo", "up", inside=True)
        ip("address", "add", f"{self.address}/24", "dev", "eth0", inside=True)
        ip("link", "set", "eth0", "up", inside=True)
        ip("route", "add", "default", "via", paths.API_ADDRESS, inside=True)
        subprocess.run(["nsenter", f"--net=/run/netns/{self.netns}", "sysctl", "-qw",
                        "net.ipv4.ip_forward=1"], check=True)
        ip("route", "replace", self.pods, "via", self.address)

    def make_mounts(self):
        binds = []
        for own in OWN:
            inside = self.dir / "fs" / own.lstrip("/")
            inside.mkdir(parents=True, exist_ok=True)
            Path(own).mkdir(parents=True, exist_ok=True)
            binds.append(f"mount --bind {inside} {own}")
        # Shared within the node: what the kubelet mounts has to reach containerd and its containers.
        script = "; ".join(["set -e", "mount --make-rshared /", *binds, "exec sleep infinity"])
        process.start(f"{self.name}-holder", ["unshare", "--mount", "--propagation", "private", "--",
                                              "sh", "-c", script],
                      prefix=["nsenter", f"--net=/run/netns/{self.netns}"])

        def mounted():
            proc = Path(f"/proc/{self.holder()}")
            text = (proc / "mounts").read_text()
            return all(f" {own} " in text for own in OWN) and \
                "sleep" in (proc / "cmdline").read_text()
        process.wait(f"{self.name}'s mounts", mounted, 10, (f"{self.name}-holder",))

    def make_cgroups(self):
        """The kubelet wants its root to be there in every hierarchy of cgroup v1; of v2 there is one."""
        roots = [CGROUPS] if (CGROUPS / "cgroup.controllers").exists() else \
            [d for d in CGROUPS.iterdir() if d.is_dir() and not d.is_symlink()]
        for root in roots:
            (root / self.cgroup.lstrip("/")).mkdir(parents=True, exist_ok=True)
            if root.name == "cpuset":
                for d in (root / "divvy-test", root / self.cgroup.lstrip("/")):
                    for name in ("cpuset.cpus", "cpuset.mems"):
                        (d / name).write_text((root / name).read_text())

    # ---- configuration ----

    def write_files(self):
        write(self.path("/etc/cni/net.d/10-bridge.conflist"), json.dumps({
            "cniVersion": "0.4.0", "name": "pods", "plugins": [
                {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True,
                 "ipam": {"type": "host-local", "ranges": [[{"subnet": self.pods}]],
                          "routes": [{"dst": "0.0.0.0/0"}]}},
                {"type": "portmap", "capabilities": {"portMappings": True}}]}))
        write(self.path("/etc/kubernetes/containerd.toml"), CONTAINERD.format(
            runc=build.program("runc")))
        write(self.path("/etc/kubernetes/kubelet.yaml"), json.dumps(self.kubelet_config()))
        write(self.path("/etc/kubernetes/proxy.yaml"), json.dumps({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
            "mode": "iptables", "clusterCIDR": paths.PODS + ".0.0/16",
            "clientConnection": {"kubeconfig": str(paths.PKI / "kube-proxy.kubeconfig")},
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "hostnameOverride": self.name}))

    def kubelet_config(self):
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "cgroupDriver": "cgroupfs", "cgroupRoot": self.cgroup,
            # Since 1.35 the kubelet refuses cgroup v1 unless told; hosts still have it.
            "failCgroupV1": False, "failSwapOn": False,
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                               "x509": {"clientCAFile": str(paths.PKI / "ca.crt")}},
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(paths.PKI / f"{self.name}.crt"),
            "tlsPrivateKeyFile": str(paths.PKI / f"{self.name}.key"),
            "podCIDR": self.pods, "maxPods": 110,
            # The machine's disk is not the tests' business.
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%",
                             "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
            "nodeStatusUpdateFrequency": "2s", "nodeStatusReportFrequency": "30s",
            "syncFrequency": "10s", "fileCheckFrequency": "5s",
            "configMapAndSecretChangeDetectionStrategy": "Watch",
            "shutdownGracePeriod": "0s",
        }

    def issue(self):
        if not (paths.PKI / f"{self.name}.crt").exists():
            pki.kubeconfig(self.name, f"/O=system:nodes/CN=system:node:{self.name}")
            pki.issue(self.name, f"/O=system:nodes/CN=system:node:{self.name}",
                      [f"DNS:{self.name}", f"IP:{self.address}"])

    # ---- processes ----

    def start_containerd(self):
        env = {"PATH": f"{build.directory('containerd')}:{build.directory('runc')}:{os.environ['PATH']}"}
        process.start(f"{self.name}-containerd", [
            build.program("containerd"), "--config", "/etc/kubernetes/containerd.toml"],
            prefix=self.enter(), env=env)
        process.wait("containerd", lambda: self.ctr("version", check=False).returncode == 0, 30,
                     (f"{self.name}-containerd",))

    def start_kubelet(self):
        process.start(f"{self.name}-kubelet", [
            build.program("kubelet"), "--config=/etc/kubernetes/kubelet.yaml",
            f"--kubeconfig={paths.PKI}/{self.name}.kubeconfig", f"--hostname-override={self.name}",
            f"--node-ip={self.address}", "--root-dir=/var/lib/kubelet", "--v=2"],
            prefix=self.enter())

    def kill_kubelet(self):
        process.stop(f"{self.name}-kubelet", signal.SIGKILL)

    def start_proxy(self):
        process.start(f"{self.name}-kube-proxy", [
            build.program("kube-proxy"), "--config=/etc/kubernetes/proxy.yaml"], prefix=self.enter())

    def ctr(self, *args, check=True, **kwargs):
        return subprocess.run([*self.enter(), str(build.program("ctr")), "-n", "k8s.io", *map(str, args)],
                              check=check, capture_output=True, text=True, **kwargs)

    def import_image(self, archive):
        # --local: the client unpacks; --no-unpack would leave that to the first pod.
        self.ctr("images", "import", archive)

    def is_ready(self):
        found = control.kubectl("get", "node", self.name, "-o", "json", "--ignore-not-found").stdout
        conditions = json.loads(found)["status"].get("conditions", []) if found else []
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def start(self):
        self.make_network()
        self.make_mounts()
        self.make_cgroups()
        self.issue()
        self.write_files()
        self.start_containerd()
        self.import_image(image.pause())
        self.start_kubelet()
        self.start_proxy()
        process.wait(f"{self.name} to be ready", self.is_ready, 120,
                     (f"{self.name}-kubelet", f"{self.name}-containerd"))

    # ---- the end ----

    def processes(self):
        """All that its containers run."""
        pids = set()
        for procs in CGROUPS.glob(f"*{self.cgroup}/**/cgroup.procs"):
            try:
                pids |= {int(p) for p in procs.read_text().split()}
            except OSError:
                pass
        return pids

    def kill_containers(self):
        for _ in range(50):
            pids = self.processes()
            if not pids:
                return
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.1)

    def remove_cgroups(self):
        for root in CGROUPS.glob(f"*{self.cgroup}"):
            for d in sorted((d for d in root.rglob("*") if d.is_dir()), reverse=True):
                rmdir(d)
            rmdir(root)

    def stop(self):
        for part in ("kubelet", "kube-proxy"):
            process.stop(f"{self.name}-{part}")
        shims = subprocess.run(["pgrep", "-f", f"{build.directory('containerd')}/containerd-shim"],
                               capture_output=True, text=True).stdout.split()
        mine = os.readlink(f"/proc/{self.holder()}/ns/mnt") if self.holder() else None
        process.stop(f"{self.name}-containerd")
        for pid in shims:
            try:
                if os.readlink(f"/proc/{pid}/ns/mnt") == mine:
                    os.kill(int(pid), signal.SIGKILL)
            except OSError:
                pass
        self.kill_containers()
        process.stop(f"{self.name}-holder", signal.SIGKILL)
        self.remove_cgroups()
        subprocess.run(["ip", "route", "del", self.pods], capture_output=True)
        subprocess.run(["ip", "netns", "del", self.netns], capture_output=True)
        shutil.rmtree(self.dir, ignore_errors=True)


def rmdir(path):
    try:
        path.rmdir()
    except OSError:
        pass


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


CONTAINERD = """\
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "divvy.test/pause:1"

[plugins.'io.containerd.cri.v1.runtime']
  enable_cdi = true
  # A machine may not let even root make processes less likely victims (no CAP_SYS_RESOURCE).
  restrict_oom_score_adj = true
  cdi_spec_dirs = ["/etc/cdi", "/run/cdi"]
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "/etc/cni/net.d"
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = "runc"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = "{runc}"
      SystemdCgroup = false
"""
