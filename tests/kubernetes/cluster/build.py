# SPDX-License-Identifier: Apache-2.0
"""Builds the cluster's programs from the pinned modules, once per state of the pins."""
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time

from . import paths

# Module directory -> (packages, extra build flags). Versions come from its go.mod. Kubernetes first:
# it takes most of the time.
PROGRAMS = {
    "kubernetes": ["k8s.io/kubernetes/cmd/" + p for p in (
        "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy",
        "kubectl")],
    "etcd": ["go.etcd.io/etcd/server/v3"],
    "containerd": ["github.com/containerd/containerd/v2/cmd/" + p for p in (
        "containerd", "containerd-shim-runc-v2", "ctr")],
    "runc": ["github.com/opencontainers/runc"],
    "helm": ["helm.sh/helm/v4/cmd/helm"],
}
NAMES = {"go.etcd.io/etcd/server/v3": "etcd"}


def version_of(module):
    """The version that MODULE's go.mod requires: "1.37.2"."""
    text = (paths.MODULES / module / "go.mod").read_text()
    return re.search(r"^require \S+ v(\S+)$", text, re.M).group(1)


def link_flags(module, version):
    variables = {
        "kubernetes": {
            "k8s.io/component-base/version.gitVersion": f"v{version}",
            "k8s.io/component-base/version.gitMajor": version.split(".")[0],
            "k8s.io/component-base/version.gitMinor": version.split(".")[1],
        },
        "containerd": {"github.com/containerd/containerd/v2/version.Version": version},
        "runc": {"main.version": version},
        "helm": {"helm.sh/helm/v4/internal/version.version": f"v{version}"},
    }.get(module, {})
    return "-s -w " + " ".join(f"-X {k}={v}" for k, v in variables.items())


def tags(module):
    return {"containerd": "no_btrfs,no_devmapper,no_zfs", "runc": "seccomp"}.get(module, "")


def digest(module):
    h = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        h.update((paths.MODULES / module / name).read_bytes())
    h.update((link_flags(module, version_of(module)) + tags(module)).encode())
    return h.hexdigest()[:16]


def directory(module):
    """Where the module's programs are, or will be."""
    return paths.CACHE / f"{module}-{version_of(module)}-{digest(module)}"


def program(name):
    for module, packages in PROGRAMS.items():
        if name in [NAMES.get(p, p.rsplit("/", 1)[1]) for p in packages]:
            return directory(module) / name
    raise KeyError(name)


def build_one(package, module, out):
    name = NAMES.get(package, package.rsplit("/", 1)[1])
    # runc reads seccomp profiles by a C library; the others need none and then depend on nothing.
    env = dict(os.environ, CGO_ENABLED="1" if module == "runc" else "0", GOFLAGS="-buildvcs=false")
    subprocess.run(["go", "build", "-trimpath", "-tags", tags(module), "-ldflags",
                    link_flags(module, version_of(module)), "-o", str(out / name), package],
                   cwd=paths.MODULES / module, env=env, check=True)


def build_all():
    """Idempotent; what is there is not built again. Says what it does: it takes minutes at first."""
    paths.CACHE.mkdir(parents=True, exist_ok=True)
    for module, packages in PROGRAMS.items():
        out = directory(module)
        if out.exists():
            continue
        work = out.with_name(out.name + f".{os.getpid()}")
        work.mkdir()
        try:
            for package in packages:
                start = time.monotonic()
                print(f"cluster: building {package} {version_of(module)}", file=sys.stderr, flush=True)
                build_one(package, module, work)
                print(f"cluster:   {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
            work.rename(out)
        finally:
            shutil.rmtree(work, ignore_errors=True)
