# SPDX-License-Identifier: Apache-2.0
"""How much memory and processor time the daemon's processes take: on an idle node, and on eight GPUs
cut into seven instances each with up to 200 tenants that hold slices and thousands in the history."""
import concurrent.futures
import os
import subprocess
import tempfile
import time

import harness

IN_HISTORY = int(os.environ.get("BENCH_TENANTS", "10000"))
WINDOW_S = 20
NODE = """apiVersion: divvy/v1
kind: SimNode
driver: "580.65.06"
cuda: "13.0"
gpus:
  - {model: A100-80GB, count: 8, mig: true}
"""
LAYOUT = """apiVersion: divvy/v1
kind: Layout
gpus:
  - {gpu: all, mig: [{profile: 1g.10gb, count: 7, mode: governed}]}
"""


def tree(pid):
    out = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,comm="], capture_output=True, text=True,
                         check=True).stdout
    rows = [line.split(None, 2) for line in out.splitlines()]
    pids = {str(pid)}
    for _ in range(4):
        pids |= {p for p, parent, _ in rows if parent in pids}
    return [(int(p), name) for p, _, name in rows if p in pids and name.startswith("divvyd")]


def pss(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))


def cpu(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def say(node, what):
    processes = tree(node.daemon.pid)
    sizes = [pss(p) / 1024 for p, _ in processes]
    before = {p: cpu(p) for p, _ in processes}
    time.sleep(WINDOW_S)
    took = {p: 100 * (cpu(p) - before[p]) / WINDOW_S for p, _ in processes}
    hardware = sum(took[p] for p, name in processes if name == "divvyd-hardware")
    print(f"  {what:32} {sum(sizes):5.1f} MiB in {len(sizes)} processes "
          f"({', '.join(f'{v:.1f}' for v in sizes)}), {sum(took.values()) - hardware:.2f} % of a core, "
          f"and {hardware:.2f} % to ask the driver", flush=True)


def idle(node):
    print("size: proportional set size, and processor time while nothing changes; target 10 MiB, 0.5 %")
    say(node, "an idle node")


def crowd():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for name, text in (("node.yaml", NODE), ("layout.yaml", LAYOUT)):
            with open(os.path.join(folder, name), "w", encoding="ascii") as f:
                f.write(text)
        print("crowd: the same on 8 GPUs x 7 instances")
        with harness.Node(os.path.join(folder, "node.yaml")) as node:
            harness.wait_for(lambda: node.divvy("layout", "apply", os.path.join(folder, "layout.yaml"))
                             .returncode == 0, "cut into instances")
            say(node, "no tenants")
            runs = []
            for count in (56, 200):
                runs += [node.start_run("--tenant", f"t{i}", "--no-wait", "--memory", "1GiB", "--compute", "2%",
                                        "--", "sleep", "infinity") for i in range(len(runs), count)]
                harness.wait_for(lambda n=count: len(node.slices()) == n, f"{count} hold slices", 60)
                say(node, f"{count} tenants hold slices")

            def come_and_go(i):
                return node.divvy("run", "--tenant", f"h{i}", "--no-wait", "--memory", "400MiB", "--compute", "1%",
                                  "--", "true")
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                for done in pool.map(come_and_go, range(IN_HISTORY)):
                    if done.returncode:
                        raise RuntimeError(done.stderr)
            say(node, f"and {IN_HISTORY} more in the history")
            for run in runs:
                run.terminate()
