#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""published_placement_test DIVVY DATA: five policies against the figures published with fragmentation gradient
descent (Weng et al., USENIX ATC 2023): allocated and fragmented percent at every percent of arrival, to the printed
digit, for five seeds. Their sixth, random, shares its numbers with other threads there and cannot be repeated.

Skipped where the data (openb_*, order_*, nodeprefix_*, published_*) are not beside the source tree.
"""
import csv
import json
import os
import subprocess
import sys

DIVVY, DATA = sys.argv[1], sys.argv[2]
POLICIES = {"fgd": "06-FGD", "best-fit": "05-BestFit", "gpu-packing": "04-GpuPacking",
            "gpu-clustering": "03-GpuClustering", "dotprod": "02-DotProd"}
SEEDS = range(42, 47)
# From the log of the published program: policy, seed -> placed, used GPU milli.
ENDS = {("fgd", 42): (8334, 5919410), ("best-fit", 42): (8190, 5785450), ("gpu-packing", 42): (8072, 5688580),
        ("gpu-clustering", 42): (8069, 5686120), ("dotprod", 42): (7992, 5624470)}


def published(name):
    with open(os.path.join(DATA, f"published_{name}_default.csv"), encoding="utf-8", newline="") as f:
        return {(row["sc_policy"], int(row["seed"])): row for row in csv.DictReader(f)}


def replay(policy, seed):
    args = [DIVVY, "simulate", "cluster", "--policy", policy, "-o", "json",
            "--nodes", os.path.join(DATA, "openb_node_list_gpu_node.csv"),
            "--pods", os.path.join(DATA, "openb_pod_list_default.csv"),
            "--arrivals", os.path.join(DATA, f"order_default_seed{seed}.txt"),
            "--node-order", os.path.join(DATA, f"nodeprefix_default_seed{seed}.txt")]
    return json.loads(subprocess.run(args, check=True, capture_output=True, timeout=120).stdout)


def main():
    if not os.path.exists(os.path.join(DATA, "published_alloc_default.csv")):
        print(f"no {DATA}: skipped")
        return 77
    allocated, fragmented, points = published("alloc"), published("frag"), 0
    for policy, their_name in POLICIES.items():
        for seed in SEEDS:
            answer = replay(policy, seed)
            series = {point["arrived_percent"]: point for point in answer["series"]}
            for percent in range(131):
                for what, table in (("allocated", allocated), ("fragmented", fragmented)):
                    ours = series[percent][f"{what}_percent"]
                    theirs = float(table[their_name, seed][str(percent)])
                    assert ours == theirs, (policy, seed, what, percent, ours, theirs)
                    points += 1
            end = ENDS.get((policy, seed), (answer["placed"], answer["used_gpu_milli"]))
            assert (answer["placed"], answer["used_gpu_milli"]) == end, (policy, seed, answer["placed"])
    print(f"{points} published figures are equal")
    return 0


sys.exit(main())
