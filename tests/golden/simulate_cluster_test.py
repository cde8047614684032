#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""simulate_cluster_test DIVVY CASES [--update]: divvy simulate cluster on a small cluster.

Every policy against cluster/expected.json; the same answer whatever the rows' order; departures and
migration; a partial answer when interrupted; bad files named by line.
"""
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

DIVVY, CASES = sys.argv[1], sys.argv[2]
POLICIES = ["fgd", "best-fit", "gpu-packing", "gpu-clustering", "dotprod", "first-fit", "spread", "random"]


def path(name):
    return os.path.join(CASES, name)


def command(*args, nodes=path("nodes.csv"), pods=path("pods.csv")):
    return [DIVVY, "simulate", "cluster", "--nodes", nodes, "--pods", pods, *args]


def run(*args, **files):
    done = subprocess.run(command(*args, "-o", "json", **files), capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    answer.pop("placements_per_second")
    return answer


def as_published(policy):
    return run("--policy", policy, "--arrivals", path("order.txt"), "--node-order", path("prefixes.txt"))


def check_golden(update):
    found = {p: as_published(p) for p in POLICIES}
    found["departures"] = run("--policy", "fgd", "--departures", "--compress", "4")
    found["migrate"] = run("--policy", "first-fit", "--migrate", "--seed", "3")
    found["learn"] = run("--policy", "fgd", "--learn", "20", "--seed", "3")
    for name in found:
        found[name]["series"] = [p for p in found[name]["series"] if p["arrived_percent"] % 10 == 0]
    if update:
        with open(path("expected.json"), "w", encoding="utf-8") as f:
            f.write("{\n" + ",\n".join(f'"{k}": {json.dumps(v)}' for k, v in found.items()) + "\n}\n")
        return
    with open(path("expected.json"), encoding="utf-8") as f:
        expected = json.load(f)
    for name in expected:
        for key in expected[name]:
            assert found[name][key] == expected[name][key], (name, key, found[name][key], expected[name][key])
    assert found.keys() == expected.keys()


def check_sums():
    for seed in range(4):
        a = run("--policy", POLICIES[seed % len(POLICIES)], "--seed", str(seed))
        assert a["placed"] + a["failed"] == a["arrived"]
        assert sum(a["failures"].values()) == a["failed"]
        assert a["used_gpu_milli"] <= a["total_gpu_milli"]
        classes = a["free_gpu_milli_by_class"]
        assert abs(sum(classes.values()) - (a["total_gpu_milli"] - a["used_gpu_milli"])) <= len(classes)
        assert abs(sum(classes.values()) - classes["q3"] - a["fragmented_gpu_milli"]) <= len(classes)


def check_row_order():
    """Who stands first in the file decides nothing: neither among nodes nor, by a given order, among pods."""
    rng = random.Random(5)
    with tempfile.TemporaryDirectory() as tmp:
        def shuffled(name):
            with open(path(name), encoding="utf-8") as f:
                head, *rows = f.readlines()
            rng.shuffle(rows)
            out = os.path.join(tmp, name)
            with open(out, "w", encoding="utf-8") as f:
                f.writelines([head, *rows])
            return out
        nodes, pods = shuffled("nodes.csv"), shuffled("pods.csv")
        order = ("--arrivals", path("order.txt"), "--node-order", path("prefixes.txt"))
        for policy in POLICIES:
            assert run("--policy", policy, *order, nodes=nodes, pods=pods) == as_published(policy), policy
        seeded = ("--seed", "9", "--arrivals", path("order.txt"))
        assert run(*seeded, nodes=nodes) == run(*seeded)


def check_nameless():
    """The default policy places alike whatever nodes are called and in which order they stand."""
    order = ("--arrivals", path("order.txt"))
    first = run(*order, "--node-order", path("prefixes.txt"))
    assert first["policy"] == "divvy"
    with tempfile.TemporaryDirectory() as tmp:
        renamed = os.path.join(tmp, "nodes.csv")
        with open(path("nodes.csv"), encoding="utf-8") as f:
            rows = f.read().splitlines()
        with open(renamed, "w", encoding="utf-8") as f:
            f.write("\n".join([rows[0]] + [f"{i * 7919 % 101:03}-{row}" for i, row in enumerate(rows[1:])]) + "\n")
        assert run(*order, nodes=renamed) == first
    for seed in range(5):
        assert run(*order, "--seed", str(seed)) == first


def check_wishes():
    """Topology, MIG profiles, walls, labels and alternatives, as columns."""
    nodes = """name,cpu_milli,memory_mib,gpus,model,rack,zone,gpu_memory_mib,mig,wall,nvlink,numa
a,96000,786432,8,A100-80GB,r1,z1,,yes,cooperative,0-3;4-7,0-1;2-3;4-5;6-7
b,96000,786432,4,card,r2,z1,16384,no,driver,,0-1;2-3
"""
    pods = """name,cpu_milli,memory_mib,num_gpu,gpu_milli,topology,mig,any_of,wall,gpu_memory_mib,rack,zone
joined,1,1,4,1000,nvlink,,,,,,
never,1,1,5,1000,nvlink,,,,,,
pair,1,1,2,1000,numa,,,,,r2,
slice,1,1,1,1000,,1g.10gb,,,,,z1
any,1,1,1,250,,,yes,driver,10240,r2,
walled,1,1,1,250,,,yes,hardware,10240,r1,
soft,1,1,1,250,,,,driver,,r1,
"""
    words = {"never": "1 have the GPUs, but not joined by NVLinks", "joined": "node a, GPUs 0, 1, 2, 3;",
             "pair": "node b, GPUs ", "slice": "node a, GPU 4 (1g.10gb);", "any": "node b, GPU ",
             "walled": "node a, GPU 4 (2g.20gb);", "soft": "have no wall as strong (asked driver)"}
    with tempfile.TemporaryDirectory() as tmp:
        files = {}
        for name, text in (("nodes", nodes), ("pods", pods)):
            files[name] = os.path.join(tmp, name)
            with open(files[name], "w", encoding="utf-8") as f:
                f.write(text)
        order = os.path.join(tmp, "order")
        with open(order, "w", encoding="utf-8") as f:
            f.write("\n".join(words))
        for pod, text in words.items():
            reason = run("--arrivals", order, "--policy", "fgd", "--explain", pod, **files)["explained"]["reason"]
            assert text in reason, (pod, reason)


def check_migration():
    stay, move = run("--policy", "spread", "--seed", "1"), run("--policy", "spread", "--seed", "1", "--migrate")
    assert "migrations" not in stay and move["migrations"] > 0
    assert move["used_gpu_milli"] > stay["used_gpu_milli"], (move["used_gpu_milli"], stay["used_gpu_milli"])


def check_words():
    """--explain and --html."""
    order = ("--policy", "fgd", "--arrivals", path("order.txt"), "--node-order", path("prefixes.txt"))
    with tempfile.TemporaryDirectory() as tmp:
        page = os.path.join(tmp, "page.html")
        placed = run(*order, "--explain", "pod-047", "--html", page)["explained"]
        assert placed["reason"].startswith("node node-"), placed
        with open(page, encoding="utf-8") as f:
            text = f.read()
        assert "<svg" in text and "Cluster simulation" in text
    with open(path("order.txt"), encoding="utf-8") as f:
        last = f.read().split()[-41]  # of the originals
    failed = run(*order, "--explain", last)["explained"]
    assert failed["reason"].startswith("on none of 24 nodes: "), (last, failed)
    done = subprocess.run(command("--explain", "pod-x"), capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "pod-x" in done.stderr


def check_interrupt():
    for wait in (0.3, 1, 3, 9, 27):
        with subprocess.Popen(command("--load", "100000", "--migrate", "-o", "json"), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as p:
            time.sleep(wait)
            p.send_signal(signal.SIGINT)
            out, err = p.communicate(timeout=120)
        if p.returncode != -signal.SIGINT:  # it may come before it is caught
            break
    answer = json.loads(out)
    assert p.returncode == 128 + signal.SIGINT and answer["partial"], (p.returncode, err)
    assert answer["placed"] + answer["failed"] == answer["arrived"] and "interrupted after" in err


def check_bad_files():
    head = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,creation_time,deletion_time\n"
    nodes = "sn,cpu_milli,memory_mib,gpu,model\n"
    cases = [
        ("pods", head + "a,1,1,1,1001,,0,1\n", ["pods:2", "gpu_milli", "1000"]),
        ("pods", head + "a,-1,1,0,0,,0,1\n", ["pods:2", "cpu_milli"]),
        ("pods", head + "a,1,1,0,250,,0,1\n", ["pods:2", "num_gpu is 0"]),
        ("pods", head + "a,1,1,2,0,,0,1\n", ["pods:2", "whole GPU has 1000"]),
        ("pods", head + "a,1,1,1,500,T44,0,1\n", ["pods:2", "gpu_spec", "T44", "did you mean 'T4'"]),
        ("pods", head + "a,1,1,1,500,T4||A10,0,1\n", ["pods:2", "gpu_spec"]),
        ("pods", head + "a,1,1,1,500,,9,1\n", ["pods:2", "deletion_time", "before it comes"]),
        ("pods", head + "a,1,1,1,500,,0,1\na,1,1,1,500,,0,1\n", ["pods:3", "second pod 'a'"]),
        ("pods", head + "a,1,1,1\n", ["pods:2"]),
        ("pods", head, ["no pod"]),
        ("pods", "name,cpu,memory_mib,num_gpu,gpu_milli\na,1,1,1,500\n", ["cpu_milli", "'cpu'"]),
        ("nodes", nodes + "a,1,1,17,T4\n", ["nodes:2", "gpu", "16"]),
        ("nodes", nodes + "a,1,1,2,\n", ["nodes:2", "2 GPUs of no model"]),
        ("nodes", nodes + "a,1,99999999999,2,T4\n", ["nodes:2", "memory_mib"]),
        ("nodes", nodes + "a,1,1,2,T4\na,1,1,2,T4\n", ["nodes:3", "second node 'a'"]),
        ("nodes", nodes.strip() + ",nvlink\na,1,1,2,T4,0-2\n", ["nodes:2", "nvlink", "0-3;4-7"]),
        ("nodes", "", ["nodes"]),
        ("arrivals", "pod-000\npod-999\n", ["arrivals:2", "pod-999"]),
        ("arrivals", "pod-000-tuned-x\n", ["arrivals:1"]),
        ("node-order", "0001-node-00\nnode-01\n", ["node-order:2", "prefix"]),
        ("node-order", "0001-node-00\n0002-node-00\n", ["node-order:2", "twice"]),
        ("node-order", "0001-node-00\n", ["node-01", "not listed"]),
    ]
    with tempfile.TemporaryDirectory() as tmp:
        for option, text, words in cases:
            bad = os.path.join(tmp, option)
            with open(bad, "w", encoding="utf-8") as f:
                f.write(text)
            args = command() + [f"--{option}", bad]
            done = subprocess.run(args, capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 1 and not done.stdout, (option, text, done)
            for word in words:
                assert word in done.stderr, (option, text, word, done.stderr)
    done = subprocess.run(command("--policy", "best-fitt"), capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "did you mean 'best-fit'" in done.stderr
    done = subprocess.run(command("--unknown-models", "--departures", "--arrivals", "x"), capture_output=True,
                          text=True, check=False)
    assert done.returncode == 2


check_golden("--update" in sys.argv)
check_sums()
check_row_order()
check_nameless()
check_wishes()
check_migration()
check_words()
check_interrupt()
check_bad_files()
