#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cli_bench_test DIVVY: divvy bench modes against a daemon and a load that make their answers up."""
import json
import os
import shutil
import signal
import subprocess
import sys
import unittest

from cli_run_test import GRANTED, SLICE
from fake_daemon import DIVVY, PATIENCE, Case, error, wait_for


class Bench(Case):
    granted = GRANTED

    LOAD = """#!%s
import json, os, sys, time
words = sys.argv[1:]
with open(os.environ["FAKE_LOG"], "a") as log:
    log.write(" ".join(words) + "\\n")
if words[0] == "alloc":
    print(json.dumps({"result": "out_of_memory", "cuda_error": 2}))
    sys.exit(1)
print("ready", file=sys.stderr, flush=True)
sys.stdin.read()
if os.path.exists(os.environ["FAKE_LOG"] + ".hang") and "--steps" in words:
    time.sleep(600)
print(json.dumps({"offered": 4, "served": 3, "steps": 5000, "sms": 108,
                  "arrivals_ms": [1.5, 50, 99], "latencies_ms": [10, 30.25, 2.5]}))
"""

    def bench_node(self, layouts=True, simulated=True, held=False):
        """A node of one GPU whose layouts are at once in force; the bench is a copy beside a load
        that makes its answers up."""
        programs = os.path.join(self.directory, "bin")
        os.makedirs(programs, exist_ok=True)
        self.bench = os.path.join(programs, "divvy")
        shutil.copy(DIVVY, self.bench)
        with open(os.path.join(programs, "divvy-load"), "w", encoding="utf-8") as f:
            f.write(self.LOAD % sys.executable)
        os.chmod(os.path.join(programs, "divvy-load"), 0o755)
        gpu = {"index": 0, "uuid": "GPU-0", "model": "NVIDIA A100-SXM4-80GB",
               "memory_bytes": 80 << 30, "mig_enabled": False, "mode": "auto", "devices": [],
               "slices": [SLICE] if held else []}
        granted = {**GRANTED, "slice": {**SLICE, "env": {}}}

        def answer(request):
            method, path, body = request
            if path == "/v1/status":
                return 200, {"kind": "NodeStatus", "gpus": [gpu], "driver": {"state": "ok"},
                             "daemon": {"sim": "a100" if simulated else None}}
            if path == "/v1/slices":
                return 200, {"kind": "SliceList", "slices": [
                    {**SLICE, "gpu_index": 0, "memory_wall": "driver"}]}
            if path.startswith("/v1/layout"):
                if path.endswith("apply"):
                    gpu["mig_enabled"] = "mig:" in body["text"]
                return (200, {"kind": "Layout", "state": "settled"}) if layouts else \
                    (404, error("no such path", 2))
            return 200, granted

        self.daemon.answer = answer

    def run_bench(self, *args):
        log = self.marker("log")
        p = subprocess.Popen([self.bench, "bench", "modes", "--seconds", "100ms", *args],
                             env={**os.environ, "DIVVY_SOCKET": self.socket, "FAKE_LOG": log},
                             stdin=subprocess.DEVNULL, text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        self.started.append(p)
        return p

    def layouts_asked(self):
        return [(r[1].rsplit("/", 1)[1], r[2].get("text", "").split("  - gpu: 0\n")[-1].strip())
                for r in self.daemon.requests if r[0] == "POST" and "/layout/" in r[1]]

    def test_bench_modes(self):
        self.bench_node()
        out, err = self.run_bench("-o", "json", "--tenants", "3").communicate(timeout=PATIENCE)
        self.assertEqual(err, "")
        got = json.loads(out)
        self.assertEqual(([m["mode"] for m in got["modes"]], got["skipped"], got["kind"]),
                         (["exclusive", "mig", "mps", "timeslice", "governed"], [], "ModeBench"))
        # of each tenant's three one ends at 101.5 ms: too late
        self.assertEqual(got["modes"][2], {
            "mode": "mps", "tenants": 3, "asked": 12, "served": 6, "p50_ms": 20.125,
            "p99_ms": 30.25, "throughput_rps": 60.0, "memory_safe": True,
            "memory_wall": "driver", "compute_wall": "cooperative"})
        self.assertEqual(self.layouts_asked(), [
            ("apply", "mode: exclusive"), ("undo", ""),
            ("apply", "mode: exclusive"), ("undo", ""),
            ("apply", 'mig:\n      - {profile: "2g.20gb", count: 3, mode: exclusive}'),
            ("undo", ""), ("apply", "mode: mps\n    replicas: 3"), ("undo", ""),
            ("apply", "mode: timeslice\n    replicas: 3"), ("undo", ""),
            ("apply", "mode: governed\n    replicas: 3"), ("undo", "")])
        with open(self.marker("log"), encoding="utf-8") as f:
            loads = f.read().splitlines()
        self.assertEqual(len(loads), 1 + 5 + 1 + 4 * 3)
        self.assertEqual(loads[0], "infer --latencies --gate -o json --rps 12.000 --service-us "
                                   "10000 --seconds 1ms --seed 1")
        self.assertIn("infer --latencies --gate -o json --rps 12.000 --service-us 10000 --seconds "
                      "100ms --seed 3 --steps 5000 --sms 108", loads)
        self.assertIn(f"alloc -o json --bytes {(80 << 30) // 3 * 2}", loads)
        modes = [r[2]["mode"] for r in self.daemon.requests if r[1] == "/v1/claims"]
        self.assertEqual(modes.count("exclusive"), 1 + 2 + 4)
        self.assertEqual(modes.count("mps"), 4)

    def test_bench_of_a_real_gpu_leaves_mig_alone(self):
        self.bench_node(simulated=False)
        p = self.run_bench("--tenants", "2", "--modes", "mig,governed")
        out, err = p.communicate(timeout=PATIENCE)
        self.assertEqual((p.returncode, err), (
            0, "divvy bench modes: mig was not measured: MIG of a real GPU changes only with "
               "--mig\n"))
        self.assertEqual(len(out.splitlines()), 2)
        self.assertFalse([text for _, text in self.layouts_asked() if "mig" in text])

    def test_bench_without_layouts(self):
        self.bench_node(layouts=False)
        p = self.run_bench("-o", "csv", "--modes", "governed,timeslice,mig")
        out, err = p.communicate(timeout=PATIENCE)
        self.assertEqual((p.returncode, err.count("was not measured")), (0, 2))
        self.assertEqual(out.splitlines()[1].split(",")[:2], ["governed", "7"])
        claims = [r[2] for r in self.daemon.requests if r[1] == "/v1/claims"]
        self.assertEqual([c.get("compute") for c in claims[-8:]], [1000] * 8)

    def test_bench_interrupted_puts_the_layout_back(self):
        self.bench_node()
        with open(self.marker("log.hang"), "w", encoding="utf-8"):
            pass
        p = self.run_bench("--tenants", "2", "--modes", "mig")
        wait_for(lambda: len([r for r in self.daemon.requests if r[1] == "/v1/slices"]) == 1,
                 "the tenants are ready")
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=PATIENCE)
        self.assertEqual((p.returncode, out, err), (128 + signal.SIGINT, "", ""))
        # the node's own layout is none, which leaves MIG devices: so the GPU is made whole as well
        self.assertEqual([a for a, _ in self.layouts_asked()],
                         ["apply", "undo", "apply", "undo", "apply", "undo"])
        self.assertEqual(self.layouts_asked()[-2][1], "mode: auto")

    def test_bench_misuse(self):
        self.bench_node(held=True)
        p = self.run_bench()
        self.assertIn("is held by tenant ann", p.communicate(timeout=PATIENCE)[1])
        self.assertEqual(p.returncode, 1)
        p = self.run_bench("--modes", "mps,goverened")
        self.assertIn('did you mean "governed"?', p.communicate(timeout=PATIENCE)[1])
        self.assertEqual(p.returncode, 2)
        self.assertEqual(self.divvy("bench", "modes", "--socket", "/nonexistent/s")[0], 5)


if __name__ == "__main__":
    unittest.main()
