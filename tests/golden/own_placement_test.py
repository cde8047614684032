#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""own_placement_test DIVVY CASES|DATA SOLVER small|lead [--update]: the policy "divvy", the default.

small: on the cluster in CASES against own.json, under other names too, with the bounds that SOLVER (the library) solves.
lead: where the published traces are at hand, in DATA: ahead of fragmentation gradient descent on the same arrivals, five seeds of the
default trace and two others; the same under three orders of nodes; below the bound.
"""
import csv
import json
import os
import random
import subprocess
import sys
import tempfile

DIVVY, CASES, SOLVER, WHAT = sys.argv[1:5]
DATA = CASES
ENV = {**os.environ, "DIVVY_LIBDIR": os.path.dirname(SOLVER)}
# What has to be reached at 100 % arrival, by seed: the figures of the study that this policy started from.
REACHED = {42: 96.25, 43: 96.24, 44: 96.24, 45: 96.26, 46: 96.28}


def run(nodes, pods, *args):
    done = subprocess.run([DIVVY, "simulate", "cluster", "--nodes", nodes, "--pods", pods, "-o", "json", *args],
                          capture_output=True, text=True, timeout=120, check=False, env=ENV)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    answer.pop("placements_per_second")
    answer["series"] = [p for p in answer["series"] if p["arrived_percent"] % 10 == 0]
    return answer


def small(*args, nodes=os.path.join(CASES, "nodes.csv")):
    return run(nodes, os.path.join(CASES, "pods.csv"), *args)


def check_small(update):
    order = ["--arrivals", os.path.join(CASES, "order.txt"), "--node-order", os.path.join(CASES, "prefixes.txt")]
    found = {"known": small(*order, "--bounds"), "learnt": small("--learn", "20", "--seed", "3"),
             "departures": small("--departures", "--compress", "4")}
    assert found["known"]["policy"] == "divvy"
    bound = found["known"]["bound_percent_at_100"]
    assert bound["without_refusals"] <= bound["with_refusals"] <= 100
    path = os.path.join(CASES, "own.json")
    if update:
        with open(path, "w", encoding="utf-8") as f:
            f.write("{\n" + ",\n".join(f'"{k}": {json.dumps(v)}' for k, v in found.items()) + "\n}\n")
    with open(path, encoding="utf-8") as f:
        expected = json.load(f)
    for name, value in expected.items():
        for key in value:
            assert found[name][key] == value[key], (name, key, found[name][key], value[key])


def check_small_names():
    """Other names, in another order of rows: the same answer."""
    rng = random.Random(9)
    with open(os.path.join(CASES, "nodes.csv"), encoding="utf-8", newline="") as f:
        head, *rows = list(csv.reader(f))
    first = small("--arrivals", os.path.join(CASES, "order.txt"))
    for _ in range(3):
        rng.shuffle(rows)
        for row in rows:
            row[head.index("sn")] = f"{rng.getrandbits(64):016x}"
        with tempfile.NamedTemporaryFile("w", suffix=".csv", newline="", encoding="utf-8") as f:
            csv.writer(f).writerows([head, *rows])
            f.flush()
            assert small("--arrivals", os.path.join(CASES, "order.txt"), nodes=f.name) == first


def trace(name, *args):
    return run(os.path.join(DATA, "openb_node_list_gpu_node.csv"), os.path.join(DATA, f"openb_pod_list_{name}.csv"),
               *args)


def at_100(answer):
    return answer["allocated_percent_at"]["100"]


def check_lead():
    for seed, reached in REACHED.items():
        order = ["--arrivals", os.path.join(DATA, f"order_default_seed{seed}.txt")]
        names = ["--node-order", os.path.join(DATA, f"nodeprefix_default_seed{seed}.txt")]
        ours = trace("default", *order, *names, "--bounds")
        fgd = trace("default", *order, *names, "--policy", "fgd")
        assert at_100(ours) >= max(reached, at_100(fgd) + 0.8), (seed, at_100(ours), at_100(fgd))
        assert at_100(ours) <= ours["bound_percent_at_100"]["without_refusals"] + 0.05, seed
        if seed == 42:
            bound = ours.pop("bound_percent_at_100")
            assert bound == {"without_refusals": 96.34, "with_refusals": 96.91}, bound
            for other in ([], ["--node-order", os.path.join(DATA, "nodeprefix_default_seed43.txt")]):
                assert trace("default", *order, *other) == ours, other
        print(f"default, seed {seed}: {at_100(ours):.2f} %, fragmentation gradient descent {at_100(fgd):.2f} %")
    for name, lead in (("gpuspec33", 4), ("cpu250", 1)):
        ours, fgd = trace(name, "--seed", "42"), trace(name, "--seed", "42", "--policy", "fgd")
        assert at_100(ours) >= at_100(fgd) + lead, (name, at_100(ours), at_100(fgd))
        print(f"{name}: {at_100(ours):.2f} %, fragmentation gradient descent {at_100(fgd):.2f} %")


def main():
    if WHAT == "small":
        check_small("--update" in sys.argv)
        check_small_names()
        return 0
    if not os.path.exists(os.path.join(DATA, "openb_pod_list_default.csv")):
        print(f"no {DATA}: skipped")
        return 77
    check_lead()
    return 0


sys.exit(main())
