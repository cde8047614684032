#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""plan_interrupt_test DIVVY: a long plan that is interrupted answers with the best so far, and makes no layouts."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

DIVVY = sys.argv[1]
MODELS = "A100-80GB", "A100-40GB", "H100-80GB", "H200-141GB", "T4", "L40S", "A30", "V100-32GB"
KINDS = 900


def write_fleet(path):
    rng = random.Random(5)
    with open(path, "w", encoding="utf-8") as f:
        f.write("gpus: [" + ", ".join(f"{{model: {m}}}" for m in MODELS) + "]\nworkloads:\n")
        for i in range(KINDS):
            f.write(
                f"- {{name: w{i}, count: {rng.randint(1, 9)}, memory: {rng.randint(500, 30000)}MiB, "
                f"compute: {rng.randint(1, 60)}%}}\n"
            )


def interrupted(path, *options):
    """The answer of a run that a signal ended. Before it is caught it kills: then once more, later."""
    for wait in (0.2, 0.5, 1, 2, 4, 8, 16):
        with subprocess.Popen([DIVVY, "plan", path, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as p:
            time.sleep(wait)
            p.send_signal(signal.SIGINT)
            out, err = p.communicate(timeout=120)
        if p.returncode != -signal.SIGINT:
            break
    assert p.returncode == 128 + signal.SIGINT, (p.returncode, err)
    return out, err


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "fleet.yaml")
        write_fleet(path)
        out, err = interrupted(path, "-o", "json")
        plan = json.loads(out)
        assert plan["partial"] and plan["feasible"] and not plan["proven"], plan["verdict"]
        assert "interrupted" in err and plan["verdict"].startswith("interrupted"), (err, plan["verdict"])
        assert all(w["placed"] == w["count"] for w in plan["workloads"]), "without a place"
        assert 0 < plan["gpus_needed_at_least"] <= plan["gpus_needed"]
        layouts = os.path.join(folder, "layouts")
        out, err = interrupted(path, "--write", layouts)
        assert not out and not os.path.exists(layouts), (out, err)


main()
