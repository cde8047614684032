# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes cluster on this machine, for tests: etcd, API server, controller manager and scheduler
as processes; nodes as further kubelets with their own containerd, each in its own network and mount
namespace. Everything is built from pinned Go modules (../modules) and runs without a registry.

    cluster.paths    where things lie
    cluster.build    the programs, cached by the modules' checksums
    cluster.pki      certificates and kubeconfigs
    cluster.control  the control plane
    cluster.node     a node: namespaces, network, containerd, kubelet, kube-proxy
    cluster.image    images made of local files, and their import
    cluster.main     the command line: build, up, down, status, kubectl
"""
