# SPDX-License-Identifier: Apache-2.0
"""How far the busy time of each tenant, as divvy's books have it, is from the engine's own record:
by mode, over the lives of tenants side by side. The baseline is what most exporters do: the GPU's
utilization, divided evenly among those who hold a part of it.

Under MPS tenants run at the same instant, which the engine counts for each of them and the books
split; there the sum is compared with the time in which the GPU ran anything.
"""
import os
import tempfile
import time

import harness

NODE = ("apiVersion: divvy/v1\nkind: SimNode\ndriver: \"615.71\"\ncuda: \"13.4\"\n"
        "gpus:\n  - {model: A100-80GB, count: 1}\n")
MODES = (("governed", 3, ("--memory", "8GiB", "--compute", "30%")),
         ("exclusive", 1, ("--memory", "8GiB")),
         ("timeslice", 3, ()),
         ("mps", 3, ("--memory", "8GiB", "--compute", "30%")))
LOADS = (("back to back, 2 ms", ("spin", "--kernel-us", "2000")),
         ("back to back, 50 us", ("spin", "--kernel-us", "50")),
         ("requests of 10 ms, 20/s", ("infer", "--rps", "20", "--service-us", "10000")))


def run(node, mode, count, args, load, seconds):
    """One tenant is busy, the others run `load`, so that dividing evenly is wrong. -> (said, true)"""
    runs = []
    harness.wait_for(lambda: not node.json("ps")["slices"], "nobody is there")
    before = node.sim_stats(0)["busy_ns"]
    for i in range(count):
        what = load if i else ("spin", "--kernel-us", "2000")
        runs.append(node.start_run("--tenant", f"{mode}{i}", "--mode", mode, *args, "--",
                                   harness.program("divvy-load"), *(load if count == 1 else what),
                                   "--seconds", str(seconds)))
    pids = {}

    def all_there():
        for s in node.json("ps")["slices"]:
            for p in s["processes"]:
                pids[p["pid"]] = s["tenant"]
        return len(pids) == count
    harness.wait_for(all_there, "the tenants are there")
    for r in runs:
        out, err = r.communicate(timeout=seconds + 60)
        if r.returncode:
            raise RuntimeError(out + err)
    harness.wait_for(lambda: not node.json("ps")["slices"], "released")
    time.sleep(3)  # the driver's last words
    said = {t["tenant"]: t["busy_seconds"] for t in node.json("usage")["tenants"]}
    if mode == "mps":
        return {"all": sum(said.values())}, {"all": (node.sim_stats(0)["busy_ns"] - before) / 1e9}
    true = {}
    for p in node.sim_ended(0):
        if p["pid"] in pids:
            tenant = pids[p["pid"]]
            true[tenant] = true.get(tenant, 0) + p["executed_seconds"]
    return said, true


def table(seconds):
    fd, path = tempfile.mkstemp(suffix=".yaml")
    with os.fdopen(fd, "w") as f:
        f.write(NODE)
    os.chmod(path, 0o644)
    print(f"attribution: busy time as the books have it against the engine's, {seconds:.0f} s each")
    print(f"  {'mode':10} {'load beside a busy tenant':26} {'worst tenant':>12} {'divided evenly':>14}  quality")
    try:
        for mode, count, args in MODES:
            for name, load in LOADS:
                with harness.Node(path) as node:
                    harness.wait_for(lambda: node.divvy("run", "--no-wait", "true").returncode == 0,
                                     "slices are granted")
                    said, true = run(node, mode, count, args, load, seconds)
                    quality = {t["quality"] for t in node.json("usage")["tenants"]}
                even = sum(true.values()) / len(true)
                worst = max(abs(said.get(t, 0) - true[t]) / true[t] for t in true)
                naive = max(abs(even - true[t]) / true[t] for t in true)
                even_text = f"{100 * naive:.1f} %"
                if len(true) == 1:
                    even_text = "all together" if mode == "mps" else "one tenant"
                print(f"  {mode:10} {name:26} {100 * worst:10.2f} % {even_text:>14}  {', '.join(sorted(quality))}")
    finally:
        os.unlink(path)
