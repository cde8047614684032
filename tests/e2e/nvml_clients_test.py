#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs of others, unchanged, on simulated GPUs: nvidia-ml-py and its example, gpustat, nvitop.

    nvml_clients_test.py [--cache DIR] [--only-sim]

They must run, and agree with each other and with the simulated hardware's own truth (`divvy-sim
status`) on UUIDs, memory and pids; where a daemon runs, with `divvy status -o json` as well. The
packages come from a Python package index into a virtual environment that is kept in DIR. Exit 77:
skipped, since no index can be reached.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import harness

PINS = ("nvidia-ml-py==13.615.71", "gpustat==1.1.1", "nvitop==1.7.2", "pyte==0.8.2")
MIB = 1 << 20

# Everything that the walk asks of a GPU; each is name(handle, *arguments).
QUESTIONS = (
    ("nvmlDeviceGetName",), ("nvmlDeviceGetBrand",), ("nvmlDeviceGetArchitecture",),
    ("nvmlDeviceGetIndex",), ("nvmlDeviceGetUUID",), ("nvmlDeviceGetSerial",),
    ("nvmlDeviceGetMinorNumber",), ("nvmlDeviceGetBoardId",), ("nvmlDeviceGetBoardPartNumber",),
    ("nvmlDeviceGetVbiosVersion",), ("nvmlDeviceGetInforomImageVersion",),
    ("nvmlDeviceGetPciInfo",), ("nvmlDeviceGetMemoryInfo",),
    ("nvmlDeviceGetMemoryInfo", 0x02000028), ("nvmlDeviceGetBAR1MemoryInfo",),
    ("nvmlDeviceGetUtilizationRates",), ("nvmlDeviceGetEncoderUtilization",),
    ("nvmlDeviceGetDecoderUtilization",), ("nvmlDeviceGetComputeRunningProcesses",),
    ("nvmlDeviceGetComputeRunningProcesses_v2",), ("nvmlDeviceGetGraphicsRunningProcesses",),
    ("nvmlDeviceGetMPSComputeRunningProcesses",), ("nvmlDeviceGetPowerUsage",),
    ("nvmlDeviceGetPowerManagementMode",), ("nvmlDeviceGetPowerManagementLimit",),
    ("nvmlDeviceGetPowerManagementDefaultLimit",), ("nvmlDeviceGetEnforcedPowerLimit",),
    ("nvmlDeviceGetPowerManagementLimitConstraints",), ("nvmlDeviceGetTotalEnergyConsumption",),
    ("nvmlDeviceGetTemperature", 0), ("nvmlDeviceGetTemperatureThreshold", 0),
    ("nvmlDeviceGetClockInfo", 1), ("nvmlDeviceGetMaxClockInfo", 2),
    ("nvmlDeviceGetApplicationsClock", 0), ("nvmlDeviceGetCurrentClocksThrottleReasons",),
    ("nvmlDeviceGetSupportedClocksThrottleReasons",), ("nvmlDeviceGetSupportedMemoryClocks",),
    ("nvmlDeviceGetPerformanceState",), ("nvmlDeviceGetEccMode",),
    ("nvmlDeviceGetTotalEccErrors", 0, 0), ("nvmlDeviceGetDetailedEccErrors", 1, 1),
    ("nvmlDeviceGetMemoryErrorCounter", 0, 0, 2), ("nvmlDeviceGetRemappedRows",),
    ("nvmlDeviceGetPersistenceMode",), ("nvmlDeviceGetComputeMode",),
    ("nvmlDeviceGetDisplayMode",), ("nvmlDeviceGetDisplayActive",),
    ("nvmlDeviceGetVirtualizationMode",), ("nvmlDeviceGetAccountingMode",),
    ("nvmlDeviceGetAccountingBufferSize",), ("nvmlDeviceGetCudaComputeCapability",),
    ("nvmlDeviceGetNumGpuCores",), ("nvmlDeviceGetMemoryBusWidth",),
    ("nvmlDeviceGetCurrPcieLinkGeneration",), ("nvmlDeviceGetCurrPcieLinkWidth",),
    ("nvmlDeviceGetMaxPcieLinkGeneration",), ("nvmlDeviceGetMaxPcieLinkWidth",),
    ("nvmlDeviceGetPcieThroughput", 0), ("nvmlDeviceGetPcieReplayCounter",),
    ("nvmlDeviceGetNvLinkState", 0), ("nvmlDeviceGetNvLinkVersion", 0),
    ("nvmlDeviceGetNvLinkCapability", 0, 0), ("nvmlDeviceGetNvLinkRemotePciInfo", 0),
    ("nvmlDeviceGetCpuAffinity", 8), ("nvmlDeviceGetMemoryAffinity", 4, 0),
    ("nvmlDeviceGetMigMode",), ("nvmlDeviceGetMaxMigDeviceCount",),
    ("nvmlDeviceIsMigDeviceHandle",), ("nvmlDeviceGetSupportedEventTypes",),
    ("nvmlDeviceGetFieldValues", [83, 186, 91, 1, 142]),
)
# What a datacentre GPU answers with "not supported"; accounting as long as it is off, which is until
# a daemon comes.
ABSENT = (("nvmlDeviceGetFanSpeed",), ("nvmlDeviceGetGpuOperationMode",),
          ("nvmlDeviceGetGridLicensableFeatures",))
NO_ACCOUNTING = (("nvmlDeviceGetAccountingPids",), ("nvmlDeviceGetAccountingStats", 1))

WALK = """
import json, sys
import pynvml as nv
questions, absent = json.loads(sys.argv[1]), json.loads(sys.argv[2])
nv.nvmlInit()
out = {"driver": nv.nvmlSystemGetDriverVersion(), "gpus": []}
nv.nvmlSystemGetNVMLVersion(), nv.nvmlSystemGetCudaDriverVersion(), nv.nvmlUnitGetCount()
for i in range(nv.nvmlDeviceGetCount()):
    h = nv.nvmlDeviceGetHandleByIndex(i)
    for name, *arguments in questions:
        getattr(nv, name)(h, *arguments)
    for name, *arguments in absent:
        try:
            getattr(nv, name)(h, *arguments)
            raise SystemExit(name + " answers, but should not be supported")
        except nv.NVMLError_NotSupported:
            pass
    uuid = nv.nvmlDeviceGetUUID(h)
    assert nv.nvmlDeviceGetIndex(nv.nvmlDeviceGetHandleByUUID(uuid)) == i
    bus = nv.nvmlDeviceGetPciInfo(h).busId
    assert nv.nvmlDeviceGetIndex(nv.nvmlDeviceGetHandleByPciBusId(bus)) == i
    memory = nv.nvmlDeviceGetMemoryInfo(h, nv.nvmlMemory_v2)
    assert memory.total == memory.used + memory.free + memory.reserved
    processes = nv.nvmlDeviceGetComputeRunningProcesses(h)
    out["gpus"].append({"uuid": uuid, "total": memory.total, "used": memory.used,
                        "pids": {str(p.pid): p.usedGpuMemory for p in processes},
                        "names": [nv.nvmlSystemGetProcessName(p.pid) for p in processes]})
a, b = (nv.nvmlDeviceGetHandleByIndex(i) for i in (0, 1))
nv.nvmlDeviceGetTopologyCommonAncestor(a, b), nv.nvmlDeviceGetP2PStatus(a, b, 2)
try:
    nv.nvmlDeviceGetHandleByUUID("GPU-00000000-0000-0000-0000-000000000000")
    raise SystemExit("a GPU that does not exist was found")
except nv.NVMLError_NotFound:
    pass
nv.nvmlShutdown()
try:
    nv.nvmlDeviceGetCount()
    raise SystemExit("works after nvmlShutdown")
except nv.NVMLError_Uninitialized:
    pass
json.dump(out, sys.stdout)
"""

MIG = """
import json, sys
import pynvml as nv
nv.nvmlInit()
h = nv.nvmlDeviceGetHandleByIndex(1)
assert nv.nvmlDeviceGetMigMode(h) == [0, 0], nv.nvmlDeviceGetMigMode(h)
assert nv.nvmlDeviceSetMigMode(h, 1) == 0  # idle: at once active
assert nv.nvmlDeviceGetMigMode(h) == [1, 1]
profile = nv.nvmlDeviceGetGpuInstanceProfileInfo(h, nv.NVML_GPU_INSTANCE_PROFILE_3_SLICE)
assert profile.id == 9, profile.id
assert nv.nvmlDeviceGetGpuInstanceRemainingCapacity(h, 9) == 2
gi = nv.nvmlDeviceCreateGpuInstance(h, 9)
ci = nv.nvmlGpuInstanceCreateComputeInstance(gi, nv.NVML_COMPUTE_INSTANCE_PROFILE_3_SLICE)
try:
    nv.nvmlGpuInstanceDestroy(gi)
    raise SystemExit("a GPU instance with a compute instance was destroyed")
except nv.NVMLError_InUse:
    pass
mig = nv.nvmlDeviceGetMigDeviceHandleByIndex(h, 0)
assert nv.nvmlDeviceIsMigDeviceHandle(mig) and not nv.nvmlDeviceIsMigDeviceHandle(h)
uuid = nv.nvmlDeviceGetUUID(mig)
assert uuid.startswith("MIG-")
assert nv.nvmlDeviceGetUUID(nv.nvmlDeviceGetHandleByUUID(uuid)) == uuid
parent = nv.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(mig)
assert nv.nvmlDeviceGetUUID(parent) == nv.nvmlDeviceGetUUID(h)
assert nv.nvmlDeviceGetAttributes(mig).gpuInstanceSliceCount == 3
assert nv.nvmlDeviceGetMemoryInfo(mig).total < nv.nvmlDeviceGetMemoryInfo(h).total / 2
try:
    nv.nvmlDeviceGetUtilizationRates(mig)
    raise SystemExit("a MIG device has utilization")
except nv.NVMLError_NotSupported:
    pass
info = nv.nvmlGpuInstanceGetInfo(gi)
assert (info.placement.start, info.placement.size) == (4, 4)
json.dump({"uuid": uuid}, sys.stdout)
"""

ACCOUNTING = """
import json, os, subprocess, sys, time
import pynvml as nv
nv.nvmlInit()
h = nv.nvmlDeviceGetHandleByIndex(2)
nv.nvmlDeviceSetAccountingMode(h, nv.NVML_FEATURE_ENABLED)
assert nv.nvmlDeviceGetAccountingMode(h) == nv.NVML_FEATURE_ENABLED
assert nv.nvmlDeviceGetAccountingPids(h) == []
child = subprocess.Popen([sys.argv[1], "spin", "--seconds", "0.3"], stdout=subprocess.DEVNULL,
                         env={**os.environ, "CUDA_VISIBLE_DEVICES": "2"})
assert child.wait() == 0
while nv.nvmlDeviceGetAccountingStats(h, child.pid).isRunning:
    time.sleep(0.01)
assert nv.nvmlDeviceGetAccountingPids(h) == [child.pid]
stats = nv.nvmlDeviceGetAccountingStats(h, child.pid)
out = {"pid": child.pid, "percent": stats.gpuUtilization, "ms": stats.time,
       "start": stats.startTime, "memory": stats.maxMemoryUsage}
try:
    v2 = nv.nvmlDeviceGetAccountingStats_v2(h, child.pid)
    out["busy"] = v2.sumGpuUtil / v2.sampleCount / 1e4 * v2.time / 1e3
    assert (v2.pid, v2.isRunning, v2.time, v2.startTime, v2.maxMemoryUsage, v2.gpuUtilization) == (
        child.pid, 0, stats.time, stats.startTime, stats.maxMemoryUsage, stats.gpuUtilization)
except nv.NVMLError_FunctionNotFound:
    pass
nv.nvmlDeviceSetAccountingMode(h, nv.NVML_FEATURE_DISABLED)
json.dump(out, sys.stdout)
"""


def make_clients(cache):
    """The pinned packages; exits 77 where there is no index."""
    return harness.virtual_environment(cache, "nvml-clients", PINS)


def run(env, *command):
    out = subprocess.run(command, env=env, text=True, capture_output=True, check=False,
                         stdin=subprocess.DEVNULL, timeout=harness.PATIENCE)
    assert out.returncode == 0, f"{[c[:80] for c in command]}: exit {out.returncode}\n{out.stdout[-2000:]}\n{out.stderr[-2000:]}"
    return out.stdout


HOLDER = """
import ctypes, sys, time
cuda = ctypes.CDLL("libcuda.so.1")
def call(name, *arguments):
    r = getattr(cuda, name)(*arguments)
    if r:
        sys.exit(f"{name}: {r}")
context, address = ctypes.c_void_p(), ctypes.c_uint64()
call("cuInit", 0)
call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
call("cuCtxSetCurrent", context)
call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(int(sys.argv[1])))
print("holds", flush=True)
time.sleep(600)
"""


def start_holder(env, size):
    """A process that holds memory of GPU 0 until it is killed."""
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(size)], env=env, text=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert child.stdout.readline() == "holds\n", "the process that is to hold memory ended"
    return child


def check_agreement(tools, env, truth, absent):
    """truth: per GPU uuid, used bytes, {pid: bytes}; all clients must say the same."""
    walk = json.loads(run(env, os.path.join(tools, "python3"), "-c", WALK, json.dumps(QUESTIONS),
                          json.dumps(absent)))
    gpustat = json.loads(run(env, os.path.join(tools, "gpustat"), "--json"))["gpus"]
    nvitop = run(env, os.path.join(tools, "nvitop"), "-1")
    smi = run(env, "nvidia-smi", "--query-compute-apps=gpu_uuid,pid,used_memory",
              "--format=csv,noheader,nounits").split("\n")
    apps = {(u, int(p)): int(m) for u, p, m in (row.split(", ") for row in smi if row)}
    assert [g["uuid"] for g in walk["gpus"]] == [g["uuid"] for g in truth]
    assert [g["uuid"] for g in gpustat] == [g["uuid"] for g in truth]
    for want, asked, stat in zip(truth, walk["gpus"], gpustat):
        assert asked["used"] == want["used"], (asked, want)
        assert stat["memory.used"] == want["used"] // MIB, (stat, want)
        assert asked["pids"] == want["pids"], (asked, want)
        assert ({str(p["pid"]): p["gpu_memory_usage"] for p in stat["processes"]}
                == {pid: size // MIB for pid, size in want["pids"].items()})
        for pid, size in want["pids"].items():
            assert apps[(want["uuid"], int(pid))] == size // MIB
            assert pid in nvitop, nvitop
    assert len(apps) == sum(len(g["pids"]) for g in truth)


def check_example(tools, env, truth):
    """nvidia-ml-py's own example, as the package installs it."""
    where = run(env, os.path.join(tools, "python3"), "-c", "import example; print(example.__file__)")
    text = run(env, os.path.join(tools, "python3"), where.strip())
    for gpu in truth:
        assert f"<uuid>{gpu['uuid']}</uuid>" in text, text[:2000]


def check_accounting(tools, env, ended):
    """nvidia-ml-py's account of a process that has ended, and the simulated hardware's own."""
    told = json.loads(run(env, os.path.join(tools, "python3"), "-c", ACCOUNTING,
                          harness.program("divvy-load")))
    truth = [p for p in ended() if p["pid"] == told["pid"]][-1]
    assert truth["accounted"] and truth["started_unix_us"] == told["start"], (told, truth)
    assert truth["memory_high_water_bytes"] == told["memory"], (told, truth)
    assert abs(truth["lived_seconds"] * 1e3 - told["ms"]) <= 1, (told, truth)
    part = truth["executed_seconds"] / truth["lived_seconds"]
    assert told["percent"] <= part * 100 + 0.5 and told["percent"] >= part * 100 - 1.5, (told, truth)
    return told, truth


def test_second_form(tools, directory):
    """A driver that has the finer figures."""
    socket = os.path.join(directory, "second.sock")
    node = os.path.join(directory, "second.yaml")
    with open(node, "w", encoding="utf-8") as f:
        f.write('apiVersion: divvy/v1\nkind: SimNode\ndriver: "615.71"\ncuda: "13.4"\n'
                "gpus:\n  - {model: A100-80GB, count: 3}\n")
    run(harness.clean_env(), harness.program("divvy-sim"), "start", node, "--socket", socket)

    def sim(*arguments):
        return json.loads(run(harness.clean_env(), harness.program("divvy-sim"), *arguments,
                              "--socket", socket, "-o", "json"))
    try:
        answer = sim("env")
        env = harness.clean_env(**answer.get("env", answer))
        told, truth = check_accounting(tools, env, lambda: sim("status", "--ended")["gpus"][2]["ended"])
        assert abs(told["busy"] - truth["executed_seconds"]) < 6e-4, (told, truth)
    finally:
        run(harness.clean_env(), harness.program("divvy-sim"), "stop", "--socket", socket)


def truth_of(status):
    return [{"uuid": g["uuid"], "used": g["memory_used_bytes"],
             "pids": {str(p["pid"]): p["memory_used_bytes"] for p in g["processes"]}}
            for g in status["gpus"]]


def test_simulation(tools, directory):
    socket = os.path.join(directory, "sim.sock")
    ready, tell = os.pipe()
    server = subprocess.Popen([harness.program("divvy-sim"), "start", "dgx-a100", "--foreground",
                               "--socket", socket, "--ready-fd", str(tell)],
                              env=harness.clean_env(), pass_fds=(tell,))
    os.close(tell)
    holder = None

    def sim(*arguments):
        return json.loads(run(harness.clean_env(), harness.program("divvy-sim"), *arguments,
                              "--socket", socket, "-o", "json"))
    try:
        assert os.read(ready, 1000) == b"\n", "divvy-sim does not start"
        os.close(ready)
        answer = sim("env")
        env = harness.clean_env(**answer.get("env", answer))
        if "PATH" not in env:
            env["PATH"] = os.environ["PATH"]
        check_agreement(tools, env, truth_of(sim("status")), ABSENT + NO_ACCOUNTING)
        holder = start_holder(env, 3 << 30)
        truth = truth_of(sim("status"))
        assert str(holder.pid) in truth[0]["pids"] and truth[0]["used"] > 3 << 30, truth[0]
        check_agreement(tools, env, truth, ABSENT + NO_ACCOUNTING)
        check_example(tools, env, truth)
        check_accounting(tools, env, lambda: sim("status", "--ended")["gpus"][2]["ended"])
        mig = json.loads(run(env, os.path.join(tools, "python3"), "-c", MIG))
        assert mig["uuid"] in run(env, "nvidia-smi", "-L")
        run(env, os.path.join(tools, "nvitop"), "-1")
        run(env, os.path.join(tools, "gpustat"), "--json")
    finally:
        for child in filter(None, (holder, server)):
            child.kill()
            child.wait()


def truth_of_daemon(status):
    """The same from `divvy status`; a slice here has one process, which holds what the slice uses."""
    return [{"uuid": g["uuid"], "used": g["memory_used_bytes"],
             "pids": {str(pid): s["memory_used_bytes"] for s in g["slices"] for pid in s["pids"]}}
            for g in status["gpus"]]


def test_daemon(tools):
    """The same against what the daemon says, with two tenants on one card."""
    with harness.Node("dgx-a100") as node:
        for tenant, size in (("ann", 2 << 30), ("bob", 3 << 30)):
            node.start_run("--tenant", tenant, "--gpu", "0", "--memory", "8GiB", "--", sys.executable,
                           "-c", HOLDER, str(size))
        def known():
            """All GPUs have been asked, and both tenants hold what they want."""
            status = node.json("status")
            used = [g["memory_used_bytes"] for g in status["gpus"]]
            return None not in used and used[0] > 5 << 30 and status
        status = harness.wait_for(known, "the daemon sees the memory")
        truth = truth_of_daemon(status)
        assert len(truth[0]["pids"]) == 2, truth[0]
        check_agreement(tools, node.sim_env(), truth, ABSENT)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", default=os.path.join(tempfile.gettempdir(), "divvy-tests"))
    parser.add_argument("--only-sim", action="store_true")
    options = parser.parse_args()
    tools = make_clients(options.cache)
    with tempfile.TemporaryDirectory(prefix="divvy-e2e-") as directory:
        test_simulation(tools, directory)
        test_second_form(tools, directory)
    if not options.only_sim and os.path.exists(harness.program("divvyd")):
        test_daemon(tools)
    print("nvidia-ml-py, gpustat, nvitop agree")


if __name__ == "__main__":
    main()
