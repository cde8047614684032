#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs of others on one node with MIG devices, MPS clients and plain processes at once.

    nvml_mixed_test.py [--cache DIR]

nvidia-ml-py, gpustat and nvitop come from a Python package index, nvtop and NVIDIA's own nvidia-smi
from Debian (contrib and non-free; unpacked into DIR, not installed; what cannot be had is left out
and said, as is non-free software where DIVVY_TEST_NONFREE=0). All must say what the simulated
hardware itself says (`divvy-sim status`, nvidia-smi).
Exit 77: skipped, since no Python package index can be reached.
"""
import argparse
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

import harness
import nvml_clients_test as clients

MIB = 1 << 20
GIB = 1 << 30

ASK = """
import json, sys
import pynvml as nv
nv.nvmlInit()
def rows(list_of):
    return {str(p.pid): [p.usedGpuMemory, p.gpuInstanceId, p.computeInstanceId] for p in list_of}
def device(h):
    return {"uuid": nv.nvmlDeviceGetUUID(h), "name": nv.nvmlDeviceGetName(h),
            "used": nv.nvmlDeviceGetMemoryInfo(h, nv.nvmlMemory_v2).used,
            "compute": rows(nv.nvmlDeviceGetComputeRunningProcesses(h)),
            "mps": rows(nv.nvmlDeviceGetMPSComputeRunningProcesses(h)),
            "graphics": rows(nv.nvmlDeviceGetGraphicsRunningProcesses(h))}
out = []
for i in range(nv.nvmlDeviceGetCount()):
    h = nv.nvmlDeviceGetHandleByIndex(i)
    gpu = device(h)
    gpu["mig"] = []
    for m in range(nv.nvmlDeviceGetMaxMigDeviceCount(h)):
        try:
            mig = nv.nvmlDeviceGetMigDeviceHandleByIndex(h, m)
        except nv.NVMLError_NotFound:
            continue
        gpu["mig"].append({**device(mig), "gi": nv.nvmlDeviceGetGpuInstanceId(mig),
                           "ci": nv.nvmlDeviceGetComputeInstanceId(mig)})
    out.append(gpu)
json.dump(out, sys.stdout)
"""

# A terminal's screen from what a program wrote to it: argument columns, lines; stdin the bytes.
SCREEN = """
import sys
import pyte
screen = pyte.Screen(int(sys.argv[1]), int(sys.argv[2]))
pyte.ByteStream(screen).feed(sys.stdin.buffer.read())
print("\\n".join(screen.display))
"""


class Node:
    """A simulated node with its environment, and the processes that were started in it."""

    def __init__(self, directory, node):
        self.directory = directory
        self.socket = os.path.join(directory, "sim.sock")
        self.children = []
        ready, tell = os.pipe()
        self.server = subprocess.Popen([harness.program("divvy-sim"), "start", node, "--foreground",
                                        "--socket", self.socket, "--ready-fd", str(tell)],
                                       env=harness.clean_env(), pass_fds=(tell,))
        os.close(tell)
        assert os.read(ready, 1000) == b"\n", "divvy-sim does not start"
        os.close(ready)
        answer = self.sim("env")
        self.env = harness.clean_env(**answer.get("env", answer))
        self.env.setdefault("PATH", os.environ["PATH"])

    def sim(self, *arguments):
        return json.loads(clients.run(harness.clean_env(), harness.program("divvy-sim"), *arguments,
                                      "--socket", self.socket, "-o", "json"))

    def smi(self, *arguments):
        return clients.run(self.env, "nvidia-smi", *arguments)

    def hold(self, size, **env):
        child = clients.start_holder({**self.env, **env}, size)
        self.children.append(child)
        return child.pid

    def end(self):
        for child in (*self.children, self.server):
            child.kill()
            child.wait()


def uuids(text, kind):
    return re.findall(kind + "-[0-9a-f-]{36}", text)


def fill(node):
    """GPU 0: two processes on MIG devices, a third device is empty. GPU 1: two clients of MPS. GPU
    2: two plain processes. Returns the pids of each kind."""
    node.smi("-i", "0", "-mig", "1")
    node.smi("mig", "-i", "0", "-cgi", "9,14,19", "-C")
    devices = uuids(node.smi("-i", "0", "-L"), "MIG")
    assert len(devices) == 3, devices
    pipe = os.path.join(node.directory, "mps")
    os.mkdir(pipe)
    mps = {"CUDA_MPS_PIPE_DIRECTORY": pipe, "CUDA_MPS_LOG_DIRECTORY": os.path.join(pipe, "log")}
    gpus = uuids(node.smi("-L"), "GPU")
    clients.run({**node.env, **mps, "CUDA_VISIBLE_DEVICES": gpus[1]}, "nvidia-cuda-mps-control", "-d")
    pids = {
        "mig": [node.hold(3 * GIB, CUDA_VISIBLE_DEVICES=devices[0]),
                node.hold(2 * GIB, CUDA_VISIBLE_DEVICES=devices[1])],
        "mps": [node.hold(GIB, **mps), node.hold(2 * GIB, **mps)],
        "plain": [node.hold(GIB, CUDA_VISIBLE_DEVICES=gpus[2]),
                  node.hold(4 * GIB, CUDA_VISIBLE_DEVICES=gpus[2])],
    }
    return pids, mps


def processes_of(node):
    """{pid: bytes} per GPU, as the hardware has it."""
    return [{str(p["pid"]): p["memory_used_bytes"] for p in g["processes"]}
            for g in node.sim("status")["gpus"]]


# ---- nvidia-ml-py ----

def check_bindings(tools, node, pids):
    truth = processes_of(node)
    gpus = json.loads(clients.run(node.env, os.path.join(tools, "python3"), "-c", ASK))
    listed = node.smi("-L")
    assert [g["uuid"] for g in gpus] == uuids(listed, "GPU")
    for gpu, want in zip(gpus, truth):
        assert {p: row[0] for p, row in gpu["compute"].items()} == want, (gpu, want)
        assert not gpu["graphics"]
        assert gpu["used"] == sum(want.values()), gpu
    assert sorted(gpus[1]["mps"]) == sorted(map(str, pids["mps"])), gpus[1]
    assert set(gpus[1]["compute"]) > set(gpus[1]["mps"]), "the server is no client"
    assert not gpus[0]["mps"] and not gpus[2]["mps"]
    mig = gpus[0]["mig"]
    assert [m["uuid"] for m in mig] == uuids(listed, "MIG")
    assert [m["name"].split("MIG ")[1] for m in mig] == re.findall(r"MIG (\S+) +Device", listed)
    for device, pid in zip(mig, (str(pids["mig"][0]), str(pids["mig"][1]), None)):
        rows = {pid: [truth[0][pid], device["gi"], device["ci"]]} if pid else {}
        assert device["compute"] == rows, (device, rows)
        assert device["used"] == sum(row[0] for row in rows.values())
        if pid:
            assert gpus[0]["compute"][pid] == rows[pid]
    assert all(not g["mig"] for g in gpus[1:])


# ---- gpustat, nvitop ----

def check_gpustat(tools, node):
    truth = processes_of(node)
    gpus = json.loads(clients.run(node.env, os.path.join(tools, "gpustat"), "--json"))["gpus"]
    for gpu, want in zip(gpus, truth):
        found = {str(p["pid"]): p["gpu_memory_usage"] for p in gpu["processes"]}
        assert found == {pid: size // MIB for pid, size in want.items()}, gpu
        assert gpu["memory.used"] == sum(want.values()) // MIB, gpu


def check_nvitop(tools, node):
    """Every process, and MIG devices with their profiles."""
    text = clients.run({**node.env, "COLUMNS": "160"}, os.path.join(tools, "nvitop"), "-1",
                       "--no-unicode")
    for gpu, want in enumerate(processes_of(node)):
        for pid, size in want.items():
            row = re.search(rf"\| *{gpu}(:\d)? +{pid} C .*", text)
            assert row, (pid, text)
            assert f" {size // MIB}" in row[0], (row[0], size)
    for profile in ("3g.40gb", "2g.20gb", "1g.10gb"):
        assert profile in text, text


# ---- nvtop ----

COLUMNS, LINES = 200, 70


def screen_of(tools, env, *command, seconds=3):
    """What is on the terminal after so long."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(command[0], command, {**env, "TERM": "xterm"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    said, end = b"", time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                said += os.read(terminal, 65536)
            except OSError:
                break
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(terminal)
    return subprocess.run([os.path.join(tools, "python3"), "-c", SCREEN, str(COLUMNS), str(LINES)],
                          input=said, capture_output=True, check=True).stdout.decode()


def missing(screen, gpus):
    """The first process that is not there with its memory on its GPU; None when all are."""
    for gpu, want in enumerate(gpus):
        for pid, size in want.items():
            row = re.search(rf"^ *{pid} \S+ +(\d+) +Compute .*? (\d+)MiB ", screen, re.M)
            if not row or (int(row[1]), int(row[2])) != (gpu, size // MIB):
                return pid
    return None


def check_nvtop(tools, node, program):
    """It needs a moment to draw all of them."""
    for seconds in (3, 3, 5, 10, 20, 40):
        screen = screen_of(tools, node.env, program, "-C", "-p", seconds=seconds)
        pid = missing(screen, processes_of(node))
        if not pid:
            return
    raise AssertionError(f"nvtop is wrong about process {pid}:\n{screen}")


# ---- what Debian has outside of its main archive ----

def archive_line():
    """The archive that this machine gets its packages from, with the parts that are wanted here."""
    out = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)"],
                         capture_output=True, text=True, check=True, timeout=harness.PATIENCE).stdout
    uri, codename = next(line.split() for line in out.splitlines()
                         if len(line.split()) == 2 and "-" not in line.split()[1])
    return f"deb {uri} {codename} contrib non-free\n"


def debian(cache, package, path):
    """The file of a package of contrib or non-free, unpacked into the cache; None where it cannot
    be had."""
    home = os.path.join(cache, "debian")
    found = os.path.join(home, package, path)
    if os.path.exists(found):
        return found
    os.makedirs(os.path.join(home, "lists", "partial"), exist_ok=True)
    os.makedirs(os.path.join(home, "archives", "partial"), exist_ok=True)
    options = [f"-o{k}={v}" for k, v in (
        ("Dir::Etc::sourcelist", os.path.join(home, "sources.list")),
        ("Dir::Etc::sourceparts", "/nonexistent"), ("Dir::Cache", home),
        ("Dir::State::lists", os.path.join(home, "lists")), ("Acquire::Retries", "1"))]
    try:
        with open(os.path.join(home, "sources.list"), "w", encoding="utf-8") as f:
            f.write(archive_line())
        for step in (["update", "-qq"], ["download", "-qq", package]):
            subprocess.run(["apt-get", *options, *step], cwd=home, capture_output=True, check=True,
                           timeout=harness.PATIENCE)
        archive = next(n for n in os.listdir(home) if n.startswith(package + "_"))
        subprocess.run(["dpkg-deb", "-x", os.path.join(home, archive), os.path.join(home, package)],
                       check=True, timeout=harness.PATIENCE)
    except (OSError, subprocess.SubprocessError, StopIteration) as e:
        print(f"left out: {package} cannot be had from Debian: {e}")
        return None
    return found if os.path.exists(found) else None


# ---- NVIDIA's own nvidia-smi ----

def processes_box(text):
    """{(gpu, gi, ci, pid): (type, MiB)} of the table's last box."""
    box = text[text.index("Processes:"):]
    row = r"\| +(\d+) +(\S+) +(\S+) +(\d+) +(\S+) +.* +(\d+)MiB \|"
    return {(g, gi, ci, pid): (kind, int(mib)) for g, gi, ci, pid, kind, mib in re.findall(row, box)}


def check_real_smi(node, program):
    """It and the stand-in show the same devices, instances and processes, by the same words."""
    def same(*arguments):
        real, ours = clients.run(node.env, program, *arguments), node.smi(*arguments)
        assert real == ours, (arguments, real, ours)
    same("-L")
    same("--query-gpu=index,uuid,name,pci.bus_id,memory.total,memory.used,compute_mode,"
         "mig.mode.current,mig.mode.pending,persistence_mode", "--format=csv")
    same("--query-compute-apps=gpu_uuid,pid,used_memory", "--format=csv")
    same("mig", "-lgipp")
    same("mig", "-lci")
    same("compute-policy", "--list", "-i", "2")
    real = clients.run(node.env, program)
    found = processes_box(real)
    assert {key: size for key, (_, size) in found.items()} == {
        key: size for key, (_, size) in processes_box(node.smi()).items()}, real
    kinds = {pid: kind for (_, _, _, pid), (kind, _) in found.items()}
    for gpu in processes_of(node):
        assert all(pid in kinds for pid in gpu), (kinds, real)
    assert "GPU UUID" in clients.run(node.env, program, "-q", "-i", "2")
    # It changes things, too: on a card of its own.
    clients.run(node.env, program, "compute-policy", "-i", "3", "--set-timeslice=3")
    same("compute-policy", "--list", "-i", "3")
    same("-i", "3", "--gpu-reset")
    same("compute-policy", "--list", "-i", "3")
    for arguments in (("-i", "3", "-mig", "1"), ("mig", "-i", "3", "-cgi", "9,19", "-C")):
        clients.run(node.env, program, *arguments)
    same("mig", "-lci", "-i", "3")
    for arguments in (("mig", "-i", "3", "-dci"), ("mig", "-i", "3", "-dgi"), ("-i", "3", "-mig", "0")):
        clients.run(node.env, program, *arguments)
    same("-L")
    return kinds


# ---- the same against what divvyd says ----

LAYOUT = """
apiVersion: divvy/v1
kind: Layout
gpus:
  - {gpu: 0, mig: [{profile: 3g.40gb, mode: exclusive}, {profile: 2g.20gb, mode: governed}]}
  - {gpu: 1, mode: mps}
  - {gpu: 2, mode: timeslice, replicas: 4}
"""
TENANTS = (("ann", "0", "exclusive", 3), ("bob", "1", "mps", 1), ("cem", "1", "mps", 2),
           ("dot", "2", "timeslice", 1), ("eve", "2", "timeslice", 4))


def test_daemon(tools, programs):
    """Tenants of divvyd on a MIG device, under MPS and in time-slices: whoever looks sees them where
    `divvy status` has them, with what it says that they hold."""
    with harness.Node("dgx-a100") as node:
        def apply():
            return node.ask("POST", "/v1/layout/apply", {"name": "mixed.yaml", "text": LAYOUT})[0]
        harness.wait_for(lambda: apply() in (200, 202), "all GPUs are known and the layout is taken")
        harness.wait_for(lambda: node.ask("GET", "/v1/layout")[1]["state"] == "settled", "it settles")
        for tenant, gpu, mode, size in TENANTS:
            node.start_run("--tenant", tenant, "--gpu", gpu, "--mode", mode, "--memory", "8GiB", "--",
                           sys.executable, "-c", clients.HOLDER, str(size * GIB))

        def held():
            slices = {s["tenant"]: s for s in node.slices()}
            return len(slices) == len(TENANTS) and all(
                (slices[t].get("memory_used_bytes") or 0) > size * GIB and slices[t]["pids"]
                for t, _, _, size in TENANTS) and slices
        slices = harness.wait_for(held, "divvyd sees what all tenants hold")
        env = node.sim_env()
        env.setdefault("PATH", os.environ["PATH"])
        gpus = json.loads(clients.run(env, os.path.join(tools, "python3"), "-c", ASK))
        stat = json.loads(clients.run(env, os.path.join(tools, "gpustat"), "--json"))["gpus"]
        nvitop = clients.run({**env, "COLUMNS": "160"}, os.path.join(tools, "nvitop"), "-1")
        boxes = [processes_box(clients.run(env, p)) for p in programs]
        for tenant, gpu, mode, _ in TENANTS:
            s, pid = slices[tenant], str(slices[tenant]["pids"][0])
            at = gpus[int(gpu)]
            device = at["mig"][0] if mode == "exclusive" else at
            used = device["compute"][pid][0]
            # For a client of MPS divvyd reserves what a context of its own would cost, which is more.
            assert used == s["memory_used_bytes"] or (
                mode == "mps" and used < s["memory_used_bytes"]), (tenant, s, device)
            assert (pid in device["mps"]) == (mode == "mps"), (tenant, device)
            assert used // MIB in [p["gpu_memory_usage"] for p in stat[int(gpu)]["processes"]
                                   if str(p["pid"]) == pid], (tenant, stat[int(gpu)])
            assert re.search(rf"\b{pid} C\b", nvitop), (tenant, nvitop)
            kind = "M+C" if mode == "mps" else "C"
            for box in boxes:
                rows = [row for (g, _, _, p), row in box.items() if (g, p) == (gpu, pid)]
                assert rows == [(kind, used // MIB)], (tenant, box)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", default=os.path.join(tempfile.gettempdir(), "divvy-tests"))
    options = parser.parse_args()
    tools = clients.make_clients(options.cache)
    nvtop = debian(options.cache, "nvtop", "usr/bin/nvtop")
    smi = None
    if os.environ.get("DIVVY_TEST_NONFREE") != "0":
        smi = debian(options.cache, "nvidia-smi", "usr/lib/nvidia/current/nvidia-smi")
    else:
        print("left out: NVIDIA's nvidia-smi, which is not free software")
    with tempfile.TemporaryDirectory(prefix="divvy-e2e-") as directory:
        node = Node(directory, "dgx-a100")
        try:
            pids, mps = fill(node)
            check_bindings(tools, node, pids)
            check_gpustat(tools, node)
            check_nvitop(tools, node)
            if nvtop:
                check_nvtop(tools, node, nvtop)
            if smi:
                kinds = check_real_smi(node, smi)
                assert {kinds[str(p)] for p in pids["mps"]} == {"M+C"}, kinds
                assert {kinds[str(p)] for p in pids["mig"] + pids["plain"]} == {"C"}, kinds
            clients.run({**node.env, **mps}, "sh", "-c", "echo quit -t 0 | nvidia-cuda-mps-control")
        finally:
            node.end()
    if os.path.exists(harness.program("divvyd")):
        test_daemon(tools, ["nvidia-smi"] + [smi] * bool(smi))
    print("nvidia-ml-py, gpustat, nvitop", *["nvtop"] * bool(nvtop),
          *["NVIDIA's nvidia-smi"] * bool(smi), "agree")


if __name__ == "__main__":
    main()
