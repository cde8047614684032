# SPDX-License-Identifier: Apache-2.0
"""Certificates by openssl, and the kubeconfigs that carry them. Made anew for every cluster."""
import base64
import json
import subprocess

from . import paths


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def make_key(name):
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out",
            str(paths.PKI / f"{name}.key"))


def make_ca():
    make_key("ca")
    openssl("req", "-x509", "-new", "-key", str(paths.PKI / "ca.key"), "-days", "30", "-subj",
            "/CN=divvy-test-ca", "-out", str(paths.PKI / "ca.crt"))


def issue(name, subject, names=()):
    """PKI/NAME.{key,crt}, signed by the CA; names: subject alternative names."""
    make_key(name)
    base = paths.PKI / name
    openssl("req", "-new", "-key", f"{base}.key", "-subj", subject, "-out", f"{base}.csr")
    extensions = "extendedKeyUsage=clientAuth,serverAuth\n"
    if names:
        extensions += "subjectAltName=" + ",".join(names) + "\n"
    (paths.PKI / f"{name}.ext").write_text(extensions)
    openssl("x509", "-req", "-in", f"{base}.csr", "-CA", str(paths.PKI / "ca.crt"), "-CAkey",
            str(paths.PKI / "ca.key"), "-CAcreateserial", "-days", "30", "-extfile", f"{base}.ext",
            "-out", f"{base}.crt")


def data(path):
    return base64.b64encode((paths.PKI / path).read_bytes()).decode()


def kubeconfig(name, subject):
    """PKI/NAME.kubeconfig for a user with this subject."""
    issue(name, subject)
    # YAML reads JSON.
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {
            "server": paths.API, "certificate-authority-data": data("ca.crt")}}],
        "users": [{"name": name, "user": {"client-certificate-data": data(f"{name}.crt"),
                                          "client-key-data": data(f"{name}.key")}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
    }
    path = paths.PKI / f"{name}.kubeconfig"
    path.write_text(json.dumps(config, indent=1))
    path.chmod(0o600)
    return path


def make_control_plane():
    paths.PKI.mkdir(parents=True, exist_ok=True, mode=0o700)
    make_ca()
    issue("apiserver", "/CN=kube-apiserver",
          ["DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc", "DNS:localhost",
           f"IP:{paths.API_ADDRESS}", "IP:127.0.0.1", "IP:10.96.0.1"])
    issue("apiserver-kubelet", "/O=system:masters/CN=kube-apiserver-kubelet")
    issue("front-proxy", "/CN=front-proxy-client")
    make_key("service-account")
    openssl("ec", "-in", str(paths.PKI / "service-account.key"), "-pubout", "-out",
            str(paths.PKI / "service-account.pub"))
    kubeconfig("admin", "/O=system:masters/CN=admin")
    kubeconfig("controller-manager", "/CN=system:kube-controller-manager")
    kubeconfig("scheduler", "/CN=system:kube-scheduler")
    kubeconfig("kube-proxy", "/CN=system:kube-proxy")
