# SPDX-License-Identifier: Apache-2.0
"""A node agent under measurement: its command line, its simulated GPUs, its configuration, its processes.

An agent sees the stand-in's directory at /var/lib/kubelet, in a mount namespace of its own, since agents
exist that know no other place. The simulated GPUs are a server apart, so that the agent's processes are
the agent's alone, and what it costs to ask the driver is the same for all of them.
"""
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile

import harness

KUBELET = "/var/lib/kubelet"
PREFIX = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c",
          f'mount --bind "$1" {KUBELET} && shift && exec "$@"', "sh"]
DIVVY = ("{bin}/divvyd --kubernetes --kubeconfig none --sim unix:{sim} --kubelet-dir " + KUBELET + " --cdi-dir {cdi} "
         "--plugin-config {config} --state {state} --socket {socket} --node-name bench")
# How the device plugin's configuration shares each GPU; 1: it does not.
CONFIG = """version: v1
flags: {migStrategy: none}
"""
SHARED = """sharing:
  timeSlicing:
    resources: [{{name: nvidia.com/gpu, replicas: {replicas}}}]
"""


class Gpus:
    """A simulated node that stays until it is closed."""

    def __init__(self, node, directory):
        self.socket = os.path.join(directory, "sim.sock")
        subprocess.run([harness.program("divvy-sim"), "start", node, "--socket", self.socket], check=True,
                       env=harness.clean_env(DIVVY_LIBDIR=harness.LIBDIR), stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def environment(self):
        out = subprocess.run([harness.program("divvy-sim"), "env", "--socket", self.socket, "-o", "json"],
                             check=True, capture_output=True, text=True).stdout
        return json.loads(out)["env"]

    def close(self):
        subprocess.run([harness.program("divvy-sim"), "stop", "--socket", self.socket], check=False,
                       stdout=subprocess.DEVNULL)


class Agent:
    """One agent in a directory of its own. `command` is a template: {bin} {sim} {kubelet} {cdi} {config}
    {state} {socket}; `beside` are further programs of the same node, started and counted with it."""

    def __init__(self, name, command, node="dgx-a100", hup=False, beside=()):
        self.name, self.command, self.hup, self.beside = name, command, hup, beside
        self.directory = tempfile.mkdtemp(prefix="divvy-bench-kubelet-")
        os.chmod(self.directory, 0o755)
        self.kubelet = self.folder("kubelet")
        self.plugins = self.folder("kubelet", "device-plugins")
        self.places = {"bin": harness.BIN, "sim": os.path.join(self.directory, "sim.sock"), "kubelet": KUBELET,
                       "cdi": self.folder("cdi"), "config": os.path.join(self.folder("config"), "config.yaml"),
                       "state": self.folder("state"), "socket": os.path.join(self.directory, "agent.sock")}
        self.log_path = os.path.join(self.directory, "log")
        self.version = 0
        self.processes = []
        self.gpus = Gpus(node, self.directory)
        self.configure(1)

    def folder(self, *names):
        path = os.path.join(self.directory, *names)
        os.makedirs(path, exist_ok=True)
        return path

    def configure(self, replicas):
        """As the kubelet changes a mounted ConfigMap: a new folder, and one symbolic link swapped."""
        self.version += 1
        folder = os.path.dirname(self.places["config"])
        name = f"..{self.version}"
        os.mkdir(os.path.join(folder, name))
        with open(os.path.join(folder, name, "config.yaml"), "w", encoding="ascii") as f:
            f.write(CONFIG + (SHARED.format(replicas=replicas) if replicas > 1 else ""))
        os.symlink(name, os.path.join(folder, "..new"))
        os.rename(os.path.join(folder, "..new"), os.path.join(folder, "..data"))
        if not os.path.lexists(self.places["config"]):
            os.symlink("..data/config.yaml", self.places["config"])
        if self.hup and self.processes:
            self.processes[0].send_signal(signal.SIGHUP)

    def start(self):
        """Its environment is the simulated GPUs', which cost time to ask for: before the clock starts."""
        env = harness.clean_env(DIVVY_LIBDIR=harness.LIBDIR, NODE_NAME="bench", **self.gpus.environment())
        commands = [PREFIX + [self.kubelet] + shlex.split(c.format(**self.places))
                    for c in (self.command, *self.beside)]

        def go():
            with open(self.log_path, "ab") as log:
                self.processes = [subprocess.Popen(c, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                   start_new_session=True) for c in commands]
        return go

    def alive(self):
        return all(p.poll() is None for p in self.processes)

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(harness.PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.processes = []

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-30:])

    def close(self):
        self.stop()
        self.gpus.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    # -- what its processes take

    def tree(self):
        """The ids of all of its processes."""
        out = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        parents = dict(map(int, line.split()) for line in out.splitlines())
        pids = {p.pid for p in self.processes}
        while True:
            more = {p for p, parent in parents.items() if parent in pids} - pids
            if not more:
                return sorted(pids)
            pids |= more

    def memory(self):
        """Resident and proportional set size in bytes, and the number of processes and threads."""
        total = {"processes": 0, "threads": 0, "rss_bytes": 0, "pss_bytes": 0}
        for pid in self.tree():
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                sizes = dict(re.findall(r"^(\w+): +(\d+) kB", f.read(), re.M))
            total["processes"] += 1
            total["threads"] += len(os.listdir(f"/proc/{pid}/task"))
            total["rss_bytes"] += 1024 * int(sizes["Rss"])
            total["pss_bytes"] += 1024 * int(sizes["Pss"])
        return total

    def cpu_seconds(self):
        """From the scheduler's own nanoseconds, which /proc/PID/stat's ticks of 10 ms are too coarse for."""
        total = 0
        for pid in self.tree():
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
                    total += int(f.read().split()[0])
        return total / 1e9
