#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""divvy bench modes: every mode on a simulated node of its own, and on a daemon's node that must be
afterwards as it was before. Figures are looked at for order only, not for size."""
import glob
import json
import os
import signal
import subprocess
import unittest

import harness

WALLS = {"exclusive": ("hardware", "hardware"), "mig": ("hardware", "hardware"),
         "mps": ("driver", "driver"), "timeslice": ("none", "none"),
         "governed": ("cooperative", "cooperative")}


def processes(word):
    """The pids whose command line has the word."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if word.encode() in f.read():
                    found.add(int(pid))
        except OSError:
            pass
    return found


class BenchModes(unittest.TestCase):
    def start(self, *args, socket=None):
        env = {k: v for k, v in os.environ.items() if k not in ("DIVVY_SOCKET", "XDG_RUNTIME_DIR")}
        if socket:
            args = (*args, "--socket", socket)
        return subprocess.Popen([harness.program("divvy"), "bench", "modes", "-o", "json", *args],
                                env=env, text=True, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def look(self, got, tenants):
        modes = {m["mode"]: m for m in got["modes"]}
        self.assertEqual((got["kind"], set(modes), got["skipped"]), ("ModeBench", set(WALLS), []))
        for name, m in modes.items():
            self.assertEqual((m["memory_wall"], m["compute_wall"]), WALLS[name], name)
            self.assertEqual(m["memory_safe"], name != "timeslice", name)
            self.assertEqual(m["tenants"], 1 if name == "exclusive" else tenants)
            self.assertTrue(0 < m["served"] <= m["asked"], m)
            self.assertGreaterEqual(m["p50_ms"], 9.9, name)  # the work itself, on the whole GPU
            self.assertGreaterEqual(m["p99_ms"], m["p50_ms"])
        self.assertEqual(len({m["asked"] for n, m in modes.items() if n != "exclusive"}), 1)
        # a third of a GPU takes three times as long; what shares the whole does not
        self.assertGreater(modes["mig"]["p50_ms"], 29)
        self.assertGreater(modes["mps"]["p50_ms"], 29)
        self.assertEqual(got["simulated"], True)

    def test_every_mode_on_a_node_of_its_own(self):
        running = processes("/tmp/divvy-bench-")
        p = self.start("--tenants", "3", "--seconds", "2s")
        out, err = p.communicate(timeout=harness.PATIENCE * 4)
        self.assertEqual(p.returncode, 0, err)
        self.assertEqual(err, "divvy bench modes: no daemon runs here; this is a simulated A100 of "
                              "its own\n")
        self.look(json.loads(out), 3)
        harness.wait_for(lambda: processes("/tmp/divvy-bench-") <= running, "all of it ends")

    def test_a_killed_benchmark_leaves_no_daemon(self):
        running, folders = processes("/tmp/divvy-bench-"), set(glob.glob("/tmp/divvy-bench-*"))
        p = self.start("--tenants", "2", "--seconds", "1h")
        harness.wait_for(lambda: processes("--gate"), "the tenants start")
        p.kill()
        p.communicate()
        harness.wait_for(lambda: processes("/tmp/divvy-bench-") <= running, "all of it ends")
        harness.wait_for(lambda: set(glob.glob("/tmp/divvy-bench-*")) <= folders, "and its folder")

    def test_a_daemons_node_is_as_it_was(self):
        with harness.Node("a100") as node:
            before = node.json("status")["gpus"]
            p = self.start("--tenants", "3", "--seconds", "1h", "--modes", "mig",
                           socket=node.socket)
            harness.wait_for(lambda: len(node.slices()) == 3, "three tenants in MIG devices")
            self.assertTrue(node.json("status")["gpus"][0]["mig_enabled"])
            p.send_signal(signal.SIGINT)
            _, err = p.communicate(timeout=harness.PATIENCE)
            self.assertEqual((p.returncode, err), (128 + signal.SIGINT, ""))
            gpus = node.json("status")["gpus"]
            for gpu in (*before, *gpus):
                del gpu["memory_used_bytes"]  # sampled once a second
            self.assertEqual(gpus, before)


if __name__ == "__main__":
    unittest.main()
