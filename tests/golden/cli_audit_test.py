#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cli_audit_test DIVVY MAKE_LEDGER: `divvy audit` on traces made here, whose figures are reckoned here
once more, in another way."""
import collections
import gzip
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

DIVVY, MAKE_LEDGER = sys.argv[1:3]
COLUMNS = "time=ts,value=v,workload=w"


def audit(*args, expect=(0, 3), **more):
    done = subprocess.run([DIVVY, "audit", *args, "-o", "json"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False, timeout=120, **more)
    assert done.returncode in expect, (done.returncode, done.stderr)
    return json.loads(done.stdout) if done.stdout else done.stderr


def close(a, b, tolerance=1e-3):
    assert abs(a - b) <= tolerance, (a, b)


def write(path, rows, packed=False):
    text = "ts,v,w\n" + "".join(f"{t},{v},{w}\n" for t, v, w in rows)
    with (gzip.open(path, "wt") if packed else open(path, "w", encoding="utf-8")) as f:
        f.write(text)


def trace(seed):
    """Four kinds of workloads over a day at one sample a minute; busy and memory."""
    rng = random.Random(seed)
    busy, memory = [], []
    for minute in range(1440):
        t = 1700000000 + 60 * minute
        for i in range(12):
            kind = ("training", "steady", "bursty", "idle")[i % 4]
            value = {"training": rng.uniform(88, 100), "steady": rng.uniform(10, 20),
                     "bursty": rng.uniform(60, 90) if rng.random() < 0.045 else 0,
                     "idle": 0 if rng.random() < 0.995 else 3}[kind]
            busy.append((t, round(value, 3), f"{kind}-{i}"))
            memory.append((t, rng.randrange(5 << 30, 6 << 30), f"{kind}-{i}"))
    return busy, memory


def figures(rows):
    values = collections.defaultdict(list)
    for _, v, w in rows:
        values[w].append(v)
    return values


def test_figures(folder):
    busy, memory = trace(1)
    write(folder + "/busy.csv.gz", busy, packed=True)
    write(folder + "/memory.csv", memory)
    args = ["--utilization", folder + "/busy.csv.gz", "--memory", folder + "/memory.csv",
            "--columns", COLUMNS, "--price", "2.50"]
    a = audit(*args, expect=(3,))
    values = [v for _, v, _ in busy]
    assert a["kind"] == "Audit" and a["workloads"] == 12 and a["samples"] == len(values), a
    close(a["mean_busy_percent"], sum(values) / len(values))
    close(a["idle_sample_percent"], 100 * values.count(0) / len(values))
    assert a["step_seconds"] == 60 and not a["partial"] and a["worth_acting"]
    peaks = figures(memory)
    rows = {r["workload"]: r for r in a["recommendations"]}
    assert len(rows) == 12
    for w, v in figures(busy).items():
        row, ordered = rows[w], sorted(v)
        close(row["mean_busy_percent"], sum(v) / len(v))
        close(row["p95_busy_percent"], ordered[math.ceil(0.95 * len(v)) - 1], 0.26)
        close(row["idle_sample_percent"], 100 * v.count(0) / len(v))
        assert row["peak_memory_bytes"] == max(peaks[w]), (row, max(peaks[w]))
        close(row["mean_memory_bytes"] / 2**30, sum(peaks[w]) / len(v) / 2**30)
        assert row["class"] == w.split("-")[0], row
    mode = {"training": "exclusive", "steady": "mps", "bursty": "governed", "idle": "governed"}
    assert all(r["mode"] == mode[r["class"]] and r["park"] == (r["class"] == "idle")
               for r in rows.values())
    # Money: 12 GPUs for a day, at 2.50.
    assert a["waste"]["cost_micros"] == 12 * 24 * 2500000, a["waste"]
    idle = 12 * 24 * 2.5e6 * (1 - sum(values) / len(values) / 100)
    close(a["waste"]["waste_cost_micros"], idle, 2000)
    assert a["waste"]["cost_per_month_micros"] == 12 * 730 * 2500000
    # 3 trainings, one GPU for the steady three; six governed ones are bursts of 60 % and idlers.
    plan = a["plan"]
    assert plan["gpus_by_mode"]["exclusive"] == 3 and plan["gpus_by_mode"]["mps"] == 1, plan
    assert plan["gpus_at_least"] <= plan["gpus_needed"] < 12
    assert plan["saved_gpus"] == 12 - plan["gpus_needed"]
    assert plan["replay"]["memory_over_steps"] == 0
    assert len(plan["held_back"]) == 2
    check_replay(a, busy)
    # The same, in any order of files' rows within the window, from a pipe.
    with open(folder + "/memory.csv", "rb") as f:
        again = audit(*[x if x != folder + "/memory.csv" else "-" for x in args], stdin=f)
    assert again == a
    assert audit(*args, "--html", folder + "/page.html") == a
    with open(folder + "/page.html", encoding="utf-8") as f:
        page = f.read()
    for words in ("Utilization over time", "Workloads by class", "training-0", "<svg"):
        assert words in page, words
    assert "http:" not in page.replace("http://www.w3.org/", "") and "<script" not in page
    check_plan(folder, args, a["plan"]["gpus_needed"])
    check_plan(folder, args + ["--trust", "untrusted"], None)
    only = audit(*args, "--from", "1700000000", "--to", str(1700000000 + 3600))
    assert only["samples"] == 12 * 60 and only["data_quality"]["outside_range"] == 2 * 12 * 1380


def check_plan(folder, args, gpus):
    """What --fleet-file wrote is what `divvy plan` reads; it plans about the same."""
    audit(*args, "--fleet-file", folder + "/fleet.yaml")
    done = subprocess.run([DIVVY, "plan", folder + "/fleet.yaml", "-o", "json"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    plan = json.loads(done.stdout)
    assert plan["feasible"] and (gpus is None or abs(plan["gpus_needed"] - gpus) <= 1), (plan, gpus)


def check_replay(a, busy):
    """The queue of each shared GPU, step by step."""
    gpu = {r["workload"]: r["plan_gpu"] for r in a["recommendations"]
           if r["mode"] in ("mps", "governed")}
    steps = collections.defaultdict(lambda: collections.defaultdict(list))
    for t, v, w in busy:
        if w in gpu and v > 0:
            steps[gpu[w]][t].append(v)
    waited, longest, samples = 0, 0, 0
    for by_time in steps.values():
        backlog = 0
        for minute in range(1440):
            asked = by_time.get(1700000000 + 60 * minute, [])
            total = sum(asked) + backlog
            backlog = max(total - 100, 0)
            samples += len(asked)
            if backlog > 0.01:
                waited += len(asked)
                longest = max(longest, backlog / 100 * 60)
    replay = a["plan"]["replay"]
    assert replay["busy_samples"] == samples and waited > 5, (replay, samples, waited)
    close(replay["waited_percent"], 100 * waited / samples, 0.02)
    close(replay["longest_wait_seconds"], longest, 0.1)


def test_dirt(folder):
    """Duplicates, disorder, gaps, missing values: counted, and the figures are those of the rest."""
    rows = [(1700000000 + 60 * i, i % 10, "w") for i in range(400)]
    clean = list(rows)
    del clean[200:210]
    dirty = list(clean)
    dirty[50:50] = [rows[49], rows[48]]                      # twice the same
    dirty[150] = (dirty[150][0], 77, "w")                     # conflicts follow
    dirty.insert(151, (dirty[150][0], 78, "w"))
    dirty[300], dirty[302] = dirty[302], dirty[300]           # out of order
    dirty.append(rows[3])                                     # too late to tell
    text = "ts,v,w\n" + "".join(f"{t},{v},{w}\n" for t, v, w in dirty)
    text += "1700090000,NaN,w\n1700090060,,w\n1700090120,[N/A],w\n"
    text += f"{1700000000 + 60 * 400},104.5,w\n"
    with open(folder + "/dirty.csv", "w", encoding="utf-8") as f:
        f.write("\ufeff" + text.replace("\n", "\r\n"))
    a = audit("-u", folder + "/dirty.csv", "-c", COLUMNS)
    q = a["data_quality"]
    assert (q["duplicates"], q["conflicting_duplicates"], q["too_late"]) == (3, 1, 1), q
    assert q["out_of_order"] == 2 and q["missing_values"] == 3 and q["over_100_percent"] == 1, q
    assert q["gaps"] == 1 and q["missing_samples"] == 10, q
    values = [v for _, v, _ in clean]
    values[148] = 77
    close(a["mean_busy_percent"], (sum(values) + 100) / (len(values) + 1), 0.02)
    assert a["samples"] == len(values) + 1


def test_newest_first(folder):
    """A file that is sorted the other way round says the same."""
    busy, memory = trace(2)
    for name, rows in (("busy", busy), ("memory", memory)):
        write(f"{folder}/{name}.csv", rows)
        write(f"{folder}/{name}-back.csv", rows[::-1])
    def args(end):
        return ["-u", f"{folder}/busy{end}.csv", "-m", f"{folder}/memory{end}.csv", "-c", COLUMNS,
                "--price", "3"]
    a, b = audit(*args("")), audit(*args("-back"))
    assert a["data_quality"].pop("newest_first_workloads") == 0, a["data_quality"]
    assert b["data_quality"].pop("newest_first_workloads") == 12, b["data_quality"]
    for key in ("samples", "from", "to", "step_seconds", "data_quality", "waste", "notes"):
        assert a[key] == b[key], (key, a[key], b[key])
    rows = [{r["workload"]: {k: v for k, v in r.items() if k != "plan_gpu"} for r in x["recommendations"]}
            for x in (a, b)]
    for w, row in rows[0].items():
        other = rows[1][w]
        close(row.pop("waste_cost_micros"), other.pop("waste_cost_micros"), 2)  # sums of doubles
        assert row == other, [(k, row[k], other[k]) for k in row if row[k] != other[k]]
    assert a["plan"]["gpus_needed"] == b["plan"]["gpus_needed"]
    text = subprocess.run([DIVVY, "audit", *args("-back")], stdout=subprocess.PIPE, text=True,
                          check=False).stdout
    assert "12 workloads newest first, read backwards" in text, text


def test_mostly_lost(folder):
    """Blocks of rows in the wrong order, and the same rows thrice: no figure in money."""
    rows = [(1700000000 + 60 * i, i % 10, "w") for i in range(1000)]
    write(folder + "/blocks.csv", [r for k in reversed(range(10)) for r in rows[100 * k:100 * k + 100]])
    write(folder + "/thrice.csv", [r for r in rows for _ in range(3)])
    write(folder + "/twice.csv", [r for r in rows for _ in range(2)])
    for name, lost in (("blocks", True), ("thrice", True), ("twice", False)):
        args = ["-u", f"{folder}/{name}.csv", "-c", COLUMNS, "--price", "3"]
        a = audit(*args)
        assert a["data_quality"]["mostly_lost"] == lost, (name, a["data_quality"])
        assert (a["waste"]["waste_per_month_micros"] is None) == lost, a["waste"]
        assert (a["recommendations"][0]["waste_cost_micros"] is None) == lost, a["recommendations"]
        assert any("nothing is said in money" in n for n in a["notes"]) == lost, a["notes"]
        text = subprocess.run([DIVVY, "audit", *args], stdout=subprocess.PIPE, text=True,
                              check=False).stdout
        assert ("USD" in text) != lost and ("not said in money" in text) == lost, text
    a = audit("-u", folder + "/blocks.csv", "-c", COLUMNS)
    assert a["data_quality"]["mostly_lost"] and not any("money" in n for n in a["notes"]), a["notes"]


def test_scales(folder):
    rows = [(1700000000000 + 60000 * i, 0.25, "w") for i in range(100)]
    write(folder + "/ratio.csv", rows)
    write(folder + "/mib.csv", [(t, 1024, w) for t, _, w in rows])
    a = audit("-u", folder + "/ratio.csv", "-m", folder + "/mib.csv", "-c", COLUMNS, "--scale",
              "ratio", "--memory-unit", "MiB")
    close(a["mean_busy_percent"], 25)
    assert a["from"] == "2023-11-14T22:13:20Z", a["from"]
    assert a["recommendations"][0]["peak_memory_bytes"] == 1 << 30
    a = audit("-u", folder + "/ratio.csv", "-c", COLUMNS)
    assert any("--scale ratio" in n for n in a["notes"]), a["notes"]


def test_logs_behind_one_another(folder):
    """Two logs of nvidia-smi in one file: the second one's header is no row."""
    path = folder + "/smi.csv"
    with open(path, "w", encoding="utf-8") as f:
        for day in range(2):
            f.write("timestamp, uuid, utilization.gpu [%]\n")
            for i in range(100):
                f.write(f"{1700000000 + day * 86400 + 60 * i}, GPU-0, 50 %\n")
    a = audit("-u", path, "-c", "time=timestamp,workload=uuid,value=utilization.gpu [%]")
    assert a["samples"] == 200 and a["data_quality"]["missing_values"] == 0, a


def test_gpus_without_pods(folder):
    """As dcgm-exporter has it: a column for each metric, memory in MiB, GPUs that no pod holds."""
    path, columns = folder + "/dcgm.csv", "time=ts,workload=pod,gpu=UUID,utilization=util,memory=fb"
    with open(path, "w", encoding="utf-8") as f:
        f.write("ts,UUID,pod,util,fb\n")
        for i in range(200):
            f.write(f"{1700000000 + 60 * i},GPU-0,train,95,60000\n{1700000000 + 60 * i},GPU-1,,0,3\n")
    args = ["-u", path, "-m", path, "-c", columns]
    a = audit(*args)
    assert {r["workload"] for r in a["recommendations"]} == {"train", "(nobody)"}, a
    assert any("--memory-unit MiB" in n for n in a["notes"]), a["notes"]
    a = audit(*args, "--memory-unit", "MiB", "--fleet-file", folder + "/fleet.yaml")
    assert not a["notes"], a["notes"]
    nobody = [r for r in a["recommendations"] if r["workload"] == "(nobody)"][0]
    assert a["plan"]["binds"] is None, a["plan"]  # the only GPU is not shared
    assert (nobody["mode"], nobody["plan_gpu"], nobody["why"]) == (None, None, "nobody"), nobody
    assert (a["fleet"]["gpus"], a["plan"]["gpus_needed"], a["worth_acting"]) == (2, 1, True), a
    assert [h["replay"]["unplanned_workloads"] for h in a["plan"]["held_back"]] == [0, 0], a
    for model, fits in (("T4", False), ("A100-80GB", True)):  # the training takes its memory along
        done = subprocess.run([DIVVY, "plan", folder + "/fleet.yaml", "-o", "json", "--what-if",
                               model], text=True, stdout=subprocess.PIPE, check=True, timeout=60)
        assert json.loads(done.stdout)["fleets"][1]["feasible"] is fits, done.stdout
    why = audit(*args, "-c", columns.replace("gpu=UUID,", ""), expect=(1,))
    assert "dcgm.csv:3: column 'pod': empty" in why, why


def test_gpus_of_nobody_alone(folder):
    """Nobody has a GPU: the audit says so, and there is no fleet to plan."""
    with open(folder + "/dcgm.csv", "w", encoding="utf-8") as f:
        f.write("ts,UUID,pod,util\n")
        f.writelines(f"{1700000000 + 60 * i},GPU-{g},,0\n" for i in range(100) for g in range(2))
    for form in ("json", "table"):
        done = subprocess.run([DIVVY, "audit", "-u", folder + "/dcgm.csv", "-c",
                               "time=ts,workload=pod,gpu=UUID,value=util", "--fleet-file",
                               folder + "/fleet.yaml", "-o", form], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False)
        assert done.returncode == 3, (done.returncode, done.stderr)
        assert "(nobody)" in done.stdout, done.stdout
        assert done.stderr == ("divvy audit: --fleet-file: no workload has a GPU, so there is nothing to plan; "
                               f"{folder}/fleet.yaml is not written\n"), done.stderr
        assert not os.path.exists(folder + "/fleet.yaml")


def test_walls(folder):
    rows = [(1700000000 + 60 * i, 10 if i % 2 else 0, f"w{k}") for i in range(100) for k in range(8)]
    write(folder + "/b.csv", rows)
    write(folder + "/m.csv", [(t, 4 << 30, w) for t, _, w in rows])
    args = ["-u", folder + "/b.csv", "-m", folder + "/m.csv", "-c", COLUMNS]
    a = audit(*args, "--trust", "untrusted")
    assert {r["mode"] for r in a["recommendations"]} == {"mig"}
    assert {r["profile"] for r in a["recommendations"]} == {"1g.10gb"}
    assert a["plan"]["gpus_needed"] == 2
    a = audit(*args, "--wall", "hardware", "--gpu", "T4")
    assert {r["mode"] for r in a["recommendations"]} == {"exclusive"} and not a["worth_acting"]
    a = audit(*args, "--wall", "driver")
    assert {r["mode"] for r in a["recommendations"]} == {"mps"}
    a = audit(*args, "--gpu-memory", "9GiB", "--headroom", "10%")
    assert a["plan"]["gpus_needed"] == 4 and a["plan"]["binds"] == "memory", a["plan"]


def test_prices(folder):
    with open(folder + "/prices.yaml", "w", encoding="utf-8") as f:
        f.write("apiVersion: divvy/v1\nkind: PriceList\ncurrency: EUR\ntimezone: UTC\nprices:\n"
                "- {perGpuHour: 2}\n- {perGpuHour: 4, hours: ['00:00-12:00']}\n"
                "- {perGpuHour: 9, model: H100}\n")
    rows = [(1700006400 + 60 * i, 10, "w") for i in range(1441)]  # a day from midnight on
    write(folder + "/day.csv", rows)
    a = audit("-u", folder + "/day.csv", "-c", COLUMNS, "--prices", folder + "/prices.yaml")
    assert a["currency"] == "EUR" and a["waste"]["price_per_hour_micros"] == 3000000, a["waste"]


def test_interrupt(folder):
    """Ctrl-C while reading, from a pipe that flows and from one that is silent: the answer is of what was
    read."""
    for silent in False, True:
        path = f"{folder}/pipe-{silent}"
        os.mkfifo(path)
        with subprocess.Popen([DIVVY, "audit", "-u", path, "-c", COLUMNS, "-o", "json"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
            pipe = os.open(path, os.O_WRONLY)
            text = "ts,v,w\n" + "".join(f"{1700000000 + i},{i % 3},w\n" for i in range(60000))
            os.write(pipe, text.encode())
            time.sleep(0.3)
            p.send_signal(signal.SIGINT)
            try:
                for i in range(0 if silent else 100000):
                    os.write(pipe, b"1700900000,1,w\n" * 100)
            except BrokenPipeError:
                pass
            out, err = p.communicate(timeout=120)
            os.close(pipe)
        assert p.returncode == 130, (p.returncode, err)
        a = json.loads(out)
        assert a["partial"] and a["samples"] > 1000, a["samples"]
        assert any("interrupted" in n for n in a["notes"])


def wide(folder, workloads):
    """Many workloads of two samples each: an answer that is long beside what is behind it."""
    rows = [(1700000000 + 60 * t, (i + t) % 100, f"workload-{i}")
            for t in range(2) for i in range(workloads)]
    write(folder + "/wide.csv", rows)
    return [DIVVY, "audit", "-u", folder + "/wide.csv", "-c", COLUMNS, "--no-replay"]


def resident(command):
    """Mebibytes that it had resident at most, and what it printed."""
    asan = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "ASAN_OPTIONS": asan}) as p:
        out = p.stdout.read()
        _, status, used = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
    assert p.returncode == 0, p.returncode
    return used.ru_maxrss / 1024, out


def test_memory(folder):
    """JSON and CSV of all workloads need hardly more memory than a table of the first ones: they are
    printed as they are made."""
    command = wide(folder, 20000)
    least, _ = resident([*command, "-o", "table"])
    for form, size in (("json", 9e6), ("csv", 3e6)):
        most, out = resident([*command, "-o", form])
        assert len(out) > size, (form, len(out))
        assert most - least < 6, (form, least, most)
    assert len(json.loads(resident([*command, "-o", "json"])[1])["recommendations"]) == 20000


def test_output_that_ends(folder):
    """A full disk, a reader that goes away, Ctrl-C amid the output: never exit status 0."""
    command = [*wide(folder, 20000), "-o"]
    for form in ("json", "csv"):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([*command, form], stdout=full, stderr=subprocess.PIPE, text=True,
                                  check=False, timeout=60)
        assert done.returncode == 1, (form, done.returncode)
        assert done.stderr == "divvy: cannot write the output: No space left on device\n", done.stderr
        for restore, status in ((False, 1), (True, -signal.SIGPIPE)):  # False: SIGPIPE is ignored
            with subprocess.Popen([*command, form], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  restore_signals=restore) as p:
                assert len(p.stdout.read(1000)) == 1000
                p.stdout.close()
                err = p.stderr.read().decode()
            assert p.returncode == status, (form, p.returncode)
            assert err == ("" if restore else "divvy: cannot write the output: Broken pipe\n"), err
        with subprocess.Popen([*command, form], stdout=subprocess.PIPE) as p:
            begun = p.stdout.read(1000)
            time.sleep(0.1)  # the pipe is full, and the rest of it waits
            p.send_signal(signal.SIGINT)
            out = begun + p.stdout.read()
        assert p.returncode == -signal.SIGINT and len(out) < 2e6, (form, p.returncode, len(out))


def test_ledger(folder):
    """The ledger that the bills' tests use: busy while held, by tenant and GPU."""
    subprocess.run([MAKE_LEDGER, folder + "/state"], check=True)
    a = audit("--ledger", folder + "/state", "--no-replay", "--price", "3")
    assert a["workloads"] > 0 and a["samples"] > 0, a
    assert a["fleet"]["gpus_peak"] == len({r["gpu"] for r in a["recommendations"]}), a["fleet"]
    names = {r["workload"] for r in a["recommendations"]}
    usage = subprocess.run([DIVVY, "usage", "--ledger", folder + "/state", "-o", "json", "--from",
                            "2020-01", "--to", "2030-01"], stdout=subprocess.PIPE, check=False)
    if usage.returncode == 0:
        tenants = {t["tenant"] for t in json.loads(usage.stdout)["tenants"]}
        assert {n.split("/")[0] for n in names} <= tenants | {"@outside"}, (names, tenants)
    assert a["plan"]["replay"] is None


def test_how_to(folder):
    """docs/how-to/audit.md, as written."""
    page = os.path.join(os.environ["DIVVY_SOURCE"], "docs/how-to/audit.md")
    with open(page, encoding="utf-8") as f:
        blocks = re.findall(r"^```sh\n(.*?)^```", f.read(), re.M | re.S)
    assert len(blocks) == 6, len(blocks)
    path = os.path.dirname(os.path.abspath(DIVVY)) + ":" + os.environ["PATH"]
    done = subprocess.run(["sh", "-e"], input="\n".join(blocks), text=True, cwd=folder, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
                          env={**os.environ, "PATH": path})
    assert done.returncode == 0, done.stdout
    for words in ("GPUs needed 4, in use 6", '"gpus_needed":4', "71481.60", ",mig,1g."):
        assert words in done.stdout, (words, done.stdout)


def main():
    for name, test in sorted(globals().items()):
        if name.startswith("test_"):
            with tempfile.TemporaryDirectory() as folder:
                test(folder)
            print("ok", name)


main()
