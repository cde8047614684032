#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""audit_telemetry_test DIVVY: the published trace of 143 containers (Alibaba, cluster-trace-v2026-GenAI),
which lies beside a checkout, not in it; ends with 77, skipped, without it."""
import collections
import csv
import gzip
import json
import math
import os
import subprocess
import sys

FOLDER = os.path.join(os.environ["DIVVY_SOURCE"], "../shared/data/telemetry")
BUSY, MEMORY = FOLDER + "/gpu_duty_cycle.csv.gz", FOLDER + "/gpu_memory_used_bytes.csv.gz"


def series(path):
    by = collections.defaultdict(list)
    with gzip.open(path, "rt") as f:
        for row in csv.DictReader(f):
            by[row["container_ip"]].append(float(row["value"]))
    return by


def main():
    if not os.path.exists(BUSY):
        return 77
    done = subprocess.run([sys.argv[1], "audit", "--utilization", BUSY, "--memory", MEMORY, "--columns",
                           "time=timestamp_anon,value=value,workload=container_ip", "--price", "3.06",
                           "-o", "json"], stdout=subprocess.PIPE, check=False)
    assert done.returncode == 3, done.returncode
    a = json.loads(done.stdout)
    busy, memory = series(BUSY), series(MEMORY)
    values = [v for s in busy.values() for v in s]
    assert a["workloads"] == len(busy) == 143
    assert a["samples"] == len(values) == 157417
    assert abs(a["mean_busy_percent"] - sum(values) / len(values)) < 1e-4
    assert abs(a["mean_busy_percent"] - 7.0252) < 1e-4
    assert abs(a["idle_sample_percent"] - 100 * values.count(0) / len(values)) < 1e-4
    assert abs(a["idle_sample_percent"] - 66.8473) < 1e-4
    assert a["step_seconds"] == 57
    q = a["data_quality"]
    assert q["memory_samples"] == sum(map(len, memory.values())) == 161413
    assert q["memory_only_workloads"] == 1 and q["duplicates"] == q["too_late"] == 0
    assert len(a["recommendations"]) == 143
    for row in a["recommendations"]:
        v = sorted(busy[row["workload"]])
        assert abs(row["mean_busy_percent"] - sum(v) / len(v)) < 1e-4, row
        p95 = v[math.ceil(0.95 * len(v)) - 1]  # comes out as the next half of a percent
        assert p95 - 0.01 <= row["p95_busy_percent"] <= p95 + 0.5, row
        assert row["peak_memory_bytes"] == int(max(memory[row["workload"]])), row
    plan = a["plan"]
    assert plan["gpus_at_least"] <= plan["gpus_needed"] < a["fleet"]["gpus_peak"] == 115
    assert plan["replay"]["memory_over_steps"] == 0
    return 0


sys.exit(main())
