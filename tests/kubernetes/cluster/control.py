# SPDX-License-Identifier: Apache-2.0
"""The control plane: four processes on this machine."""
import json
import subprocess

from . import build, paths, pki, process

NAMES = ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")


def bridge_up():
    """The nodes' network. The API server listens on its address, so it comes first."""
    if subprocess.run(["ip", "link", "show", paths.BRIDGE], capture_output=True).returncode:
        subprocess.run(["ip", "link", "add", paths.BRIDGE, "type", "bridge"], check=True)
        subprocess.run(["ip", "address", "add", f"{paths.API_ADDRESS}/24", "dev", paths.BRIDGE],
                       check=True)
    subprocess.run(["ip", "link", "set", paths.BRIDGE, "up"], check=True)
    # Between nodes, and from here to their pods (a webhook is called from the API server).
    subprocess.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)


def start_etcd():
    here = "http://127.0.0.1"
    process.start("etcd", [
        build.program("etcd"), "--data-dir", paths.STATE / "etcd", "--unsafe-no-fsync",
        "--listen-client-urls", f"{here}:{paths.ETCD_PORT}",
        "--advertise-client-urls", f"{here}:{paths.ETCD_PORT}",
        "--listen-peer-urls", f"{here}:{paths.ETCD_PORT + 1}",
        "--initial-advertise-peer-urls", f"{here}:{paths.ETCD_PORT + 1}",
        "--initial-cluster", f"default={here}:{paths.ETCD_PORT + 1}", "--log-level", "warn"])


def start_apiserver():
    p = paths.PKI
    process.start("kube-apiserver", [
        build.program("kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{paths.ETCD_PORT}",
        "--bind-address=0.0.0.0", f"--advertise-address={paths.API_ADDRESS}",
        f"--secure-port={paths.API_PORT}", f"--service-cluster-ip-range={paths.SERVICES}",
        f"--tls-cert-file={p}/apiserver.crt", f"--tls-private-key-file={p}/apiserver.key",
        f"--client-ca-file={p}/ca.crt",
        f"--kubelet-client-certificate={p}/apiserver-kubelet.crt",
        f"--kubelet-client-key={p}/apiserver-kubelet.key",
        f"--kubelet-certificate-authority={p}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={p}/service-account.pub",
        f"--service-account-signing-key-file={p}/service-account.key",
        f"--requestheader-client-ca-file={p}/ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={p}/front-proxy.crt",
        f"--proxy-client-key-file={p}/front-proxy.key",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
        # No kube-proxy here: webhooks are called at their pods' addresses.
        "--enable-aggregator-routing=true", "--allow-privileged=true",
        "--profiling=false"])


def start_managers():
    p = paths.PKI
    process.start("kube-controller-manager", [
        build.program("kube-controller-manager"), f"--kubeconfig={p}/controller-manager.kubeconfig",
        f"--authentication-kubeconfig={p}/controller-manager.kubeconfig",
        f"--authorization-kubeconfig={p}/controller-manager.kubeconfig",
        f"--root-ca-file={p}/ca.crt", "--use-service-account-credentials",
        f"--service-account-private-key-file={p}/service-account.key",
        f"--cluster-signing-cert-file={p}/ca.crt", f"--cluster-signing-key-file={p}/ca.key",
        "--leader-elect=false", "--bind-address=127.0.0.1",
        # A kubelet that is stopped for a test shall not cost its pods.
        "--node-monitor-grace-period=120s"])
    process.start("kube-scheduler", [
        build.program("kube-scheduler"), f"--kubeconfig={p}/scheduler.kubeconfig",
        f"--authentication-kubeconfig={p}/scheduler.kubeconfig",
        f"--authorization-kubeconfig={p}/scheduler.kubeconfig",
        "--leader-elect=false", "--bind-address=127.0.0.1"])


def kubectl(*args, text=None, check=True):
    """Runs kubectl as the administrator; returns the finished process, output as text."""
    return subprocess.run([build.program("kubectl"), f"--kubeconfig={paths.KUBECONFIG}", *args],
                          input=text, text=True, capture_output=True, check=check)


def get(*args):
    return json.loads(kubectl("get", "-o", "json", *args).stdout)


def answers():
    return kubectl("get", "--raw", "/readyz", check=False).stdout == "ok"


def has_accounts():
    """The controller manager has come to the point where pods can be created."""
    return kubectl("get", "serviceaccount", "default", check=False).returncode == 0


def start():
    bridge_up()
    if not (paths.PKI / "ca.crt").exists():
        pki.make_control_plane()
    start_etcd()
    start_apiserver()
    process.wait("an API server that is ready", answers, 120, ("kube-apiserver", "etcd"))
    start_managers()


def stop():
    for name in NAMES:
        process.stop(name)
    subprocess.run(["ip", "link", "del", paths.BRIDGE], capture_output=True)
