# SPDX-License-Identifier: Apache-2.0
"""Nothing is charged twice after the daemon was killed, whenever a process ends that lived through
it, and however late the daemon notices."""
import contextlib
import os
import signal
import sqlite3
import time
import unittest

import harness
from layout_test import LayoutCase

LAYOUT = """apiVersion: divvy/v1
kind: Layout
gpus:
  - {gpu: 0, mode: exclusive}
  - {gpu: 1, mode: timeslice, replicas: 4}
"""
WAYS = {"exclusive": ("--gpu", "0", "--mode", "exclusive"),
        "timeslice": ("--gpu", "1", "--mode", "timeslice")}
GPU = {"exclusive": 0, "timeslice": 1}
# Samples in whole percents, batches whose end is noted late.
SLACK = 0.2


class BooksRestart(LayoutCase):
    def setUp(self):
        super().setUp()
        self.stopped = []
        self.addCleanup(self.go_on)
        lateness = harness.Lateness()
        self.lateness = lateness.__enter__()
        self.addCleanup(lateness.__exit__)
        self.apply_and_settle(LAYOUT)

    def hold(self, *pids):
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            self.stopped.append(pid)

    def go_on(self):
        while self.stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.stopped.pop(), signal.SIGCONT)

    def begin(self):
        """One of each way; by their pids."""
        runs = {}
        for way in WAYS:
            run = self.node.start_run("--tenant", way, "--no-wait", *WAYS[way], "--", "sh", "-c",
                                      'echo $$ >&2; exec "$0" "$@"', harness.program("divvy-load"),
                                      "spin", "--kernel-us", "2000", "--seconds", "600")
            pid = next(int(line) for line in run.stderr if line.strip().isdigit())
            harness.wait_for(lambda: self.is_there(pid), "it has shaken hands")
            runs[pid] = (way, run)
        return runs

    def is_there(self, pid):
        return any(p["pid"] == pid for s in self.node.json("ps")["slices"] for p in s["processes"])

    def flushed(self):
        with contextlib.closing(sqlite3.connect(f"file:{self.node.state}/ledger.db?mode=ro",
                                                uri=True)) as db:
            return (db.execute("SELECT unix_ns FROM flushed").fetchone() or [0])[0] / 1e9

    def books_go_on(self):
        asked = time.time() + 1
        harness.wait_for(lambda: self.flushed() > asked, "the books go on")

    def crash(self, unseen):
        """Killed when it has not looked for so long."""
        self.hold(self.node.daemon.pid)
        time.sleep(unseen)
        self.node.stop(signal.SIGKILL)
        self.stopped.clear()
        self.node.start()

    @staticmethod
    def end(runs):
        for pid in runs:
            os.kill(pid, signal.SIGKILL)
        for _, run in runs.values():
            run.wait(harness.PATIENCE)

    def check(self, runs):
        harness.wait_for(lambda: not self.node.json("ps")["slices"], "no slice is left")
        self.books_go_on()
        said = self.node.json("usage", "--by", "tenant", "--from", "-1h")["tenants"]
        rows = []
        for pid, (way, _) in runs.items():
            true = sum(p["executed_seconds"] for p in self.node.sim_ended(GPU[way])
                       if p["pid"] == pid)
            busy = sum(t["busy_seconds"] for t in said if t["tenant"] == way)
            print(f"{way}: said {busy:.3f} true {true:.3f} off {1000 * (busy - true):+.1f} ms")
            rows.append((way, busy, true))
        for way, busy, true in rows:
            self.assertAlmostEqual(busy, true, delta=SLACK + self.lateness.late, msg=way)

    def test_ends_before_it_is_read(self):
        """They are back, their counters were not read yet, and the daemon's clock ticks before it
        hears of their end."""
        runs = self.begin()
        self.books_go_on()
        self.crash(1.5)
        harness.wait_for(lambda: all(self.is_there(pid) for pid in runs), "they are back")
        self.hold(self.node.daemon.pid)
        self.end(runs)
        time.sleep(0.3)
        self.go_on()
        self.check(runs)

    def test_ends_unseen_and_the_answer_is_lost(self):
        """They end while nobody looks; the daemon that asks the driver for them is killed as well."""
        runs = self.begin()
        self.books_go_on()
        self.hold(self.node.daemon.pid)
        time.sleep(1)
        self.node.stop(signal.SIGKILL)
        self.stopped.clear()
        self.end(runs)
        for _ in range(3):
            self.node.start()
            self.node.stop(signal.SIGKILL)
        self.node.start()
        self.check(runs)


if __name__ == "__main__":
    unittest.main()
