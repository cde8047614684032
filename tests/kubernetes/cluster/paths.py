# SPDX-License-Identifier: Apache-2.0
"""Where things lie, and the addresses that the cluster uses. Nothing of it leaves this machine."""
import os
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
SOURCE = HERE.parent.parent
MODULES = HERE / "modules"

# What is running now: keys, databases, logs. Below /var because the paths of Unix sockets are short.
STATE = Path(os.environ.get("DIVVY_CLUSTER", "/var/lib/divvy-test-cluster"))
# Of whoever makes, uses or removes it: bridge, ports and cgroups are there once on a machine.
LOCK = Path("/run/divvy-test-cluster.lock")
PKI = STATE / "pki"
LOGS = STATE / "logs"
KUBECONFIG = PKI / "admin.kubeconfig"
# Built programs, for all checkouts of this user.
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "divvy" / "kubernetes"

BRIDGE = "dvk0"
NODE_NETWORK = "10.97.0"       # /24: .1 is the machine, .10 + N is node N
SERVICES = "10.96.0.0/16"
PODS = "10.244"                # /16: 10.244.N.0/24 is node N's
API_ADDRESS = f"{NODE_NETWORK}.1"
API_PORT = 16443
ETCD_PORT = 12379
API = f"https://{API_ADDRESS}:{API_PORT}"


def node_name(number):
    return f"node-{number}"


def node_address(number):
    return f"{NODE_NETWORK}.{10 + number}"
