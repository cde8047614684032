# SPDX-License-Identifier: Apache-2.0
"""cluster: a Kubernetes cluster on this machine, for tests.

usage: cluster build          the programs (minutes at first, then cached)
       cluster up [NODES]     the cluster, with so many nodes (1)
       cluster down           all of it, its data too
       cluster status         its processes and nodes
       cluster kubectl ARG... as the administrator
       cluster helm ARG...    likewise
       cluster which PROGRAM  where it is: kubectl, helm, ctr, ...
       cluster shell NODE     a shell inside a node (its mounts and network)

There is one on a machine: up and down wait for tests that run on it, and for each other.
"""
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys

from . import build, control, node, paths, process


@contextlib.contextmanager
def alone():
    """Nobody else makes or removes the cluster meanwhile; who comes second waits, and says so. What is
    started does not inherit it."""
    with open(paths.LOCK, "a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            print(f"cluster: waits for {lock.read().strip() or 'another'}, which has the cluster "
                  f"({paths.LOCK})", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(f"process {os.getpid()} ({os.path.basename(sys.argv[0])})\n")
        lock.flush()
        yield


def up(count):
    build.build_all()
    (paths.STATE / "run").mkdir(parents=True, exist_ok=True)
    control.start()
    for n in range(1, count + 1):
        node.Node(n).start()
    process.wait("the default service account", control.has_accounts, 60,
                 ("kube-controller-manager",))
    print(f"cluster: up; export KUBECONFIG={paths.KUBECONFIG} "
          f"PATH={build.directory('kubernetes')}:$PATH")


def nodes():
    return [node.Node(int(d.name.removeprefix("node-"))) for d in paths.STATE.glob("node-*")]


def down():
    for n in nodes():
        n.stop()
    control.stop()
    subprocess.run(f"rmdir {node.CGROUPS}/*/divvy-test {node.CGROUPS}/divvy-test 2>/dev/null",
                   shell=True, check=False)
    shutil.rmtree(paths.STATE, ignore_errors=True)


def status():
    for file in sorted((paths.STATE / "run").glob("*.pid")):
        pid = process.running(file.stem)
        print(f"{file.stem:32} {'pid ' + str(pid) if pid else 'NOT RUNNING'}")
    print(control.kubectl("get", "nodes", "-o", "wide", check=False).stdout)


def main(argv):
    verb, args = (argv[1] if len(argv) > 1 else "help"), argv[2:]
    if os.geteuid() and verb not in ("build", "help", "kubectl", "helm", "status", "which"):
        sys.exit("cluster: root is needed: namespaces, cgroups, containers")
    if verb == "build":
        build.build_all()
    elif verb == "up":
        with alone():
            up(int(args[0]) if args else 1)
    elif verb == "down":
        with alone():
            down()
    elif verb == "status":
        status()
    elif verb == "kubectl":
        os.execv(build.program("kubectl"), ["kubectl", f"--kubeconfig={paths.KUBECONFIG}", *args])
    elif verb == "helm":
        os.execve(build.program("helm"), ["helm", *args],
                  dict(os.environ, KUBECONFIG=str(paths.KUBECONFIG)))
    elif verb == "which" and args:
        print(build.program(args[0]))
    elif verb == "shell":
        enter = node.Node(int(args[0]) if args else 1).enter()
        os.execvp(enter[0], [*enter, os.environ.get("SHELL", "/bin/sh")])
    else:
        print(__doc__)
        sys.exit(0 if verb in ("help", "--help") else 2)
