# SPDX-License-Identifier: Apache-2.0
"""The books add up, whatever happens: for a minute tenants, their processes, the layout and the
daemon are killed and changed at random, on a node that shares in every way. Afterwards

  - every GPU's buckets sum to the same wall time, in integer nanoseconds, and to that of the blocks;
  - the ledger's chain is unbroken, and no block was written twice;
  - every tenant's busy time is the engine's truth, within one quantum for each life and each time
    that it was cut off, and for as long as this machine kept processes from the CPU: a launch whose
    end is noted late took so much longer. Under MPS, where only an estimate is promised, the sum
    lies between what the longest life ran and what all of them ran.

The truth is the simulated engine's own record of all processes that ended on it. It is random, and
prints its seed: DIVVY_BOOKS_SEED repeats it, DIVVY_BOOKS_SECONDS makes it longer.
"""
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import time
import unittest

import harness
from layout_test import LayoutCase

QUANTUM = 0.010
NODE = """apiVersion: divvy/v1
kind: SimNode
driver: "615.71"
cuda: "13.4"
gpus:
  - model: A100-80GB
    count: 5
"""
HEAD = "apiVersion: divvy/v1\nkind: Layout\ngpus:\n"
FIXED = HEAD + """  - {gpu: 0, mode: governed}
  - {gpu: 2, mode: timeslice, replicas: 4}
  - {gpu: 3, mode: mps}
"""
CUTS = ["  - {gpu: 1, mig: [{profile: 3g.40gb, mode: governed}, {profile: 1g.10gb, mode: exclusive}]}\n",
        "  - {gpu: 1, mig: [{profile: 2g.20gb, mode: exclusive}, {profile: 3g.40gb, mode: governed}]}\n",
        "  - {gpu: 1, mode: governed}\n"]
TENANTS = ["ann", "bob", "cyd", "dan"]
# How a tenant runs: its name says the mode, so that each name has one quality.
WAYS = {"gov": ("--gpu", "0", "--mode", "governed", "--memory", "8GiB", "--compute", "20%"),
        "mig": ("--gpu", "1", "--memory", "4GiB"),
        "turn": ("--gpu", "2", "--mode", "timeslice"),
        "mps": ("--gpu", "3", "--mode", "mps", "--memory", "8GiB", "--compute", "20%"),
        "own": ("--gpu", "4", "--mode", "exclusive")}


class Life:
    """A `divvy run`, and the process inside that uses the GPU."""

    def __init__(self, node, way, tenant):
        self.tenant = f"{way}-{tenant}"
        self.way = way
        self.run = node.start_run("--tenant", self.tenant, "--no-wait", *WAYS[way], "--", "sh", "-c",
                                  'echo $$ >&2; exec "$0" "$@"', harness.program("divvy-load"), "spin",
                                  "--kernel-us", "2000", "--seconds", "600")
        self.pid = None
        self.weight = 1.0  # the part of its GPU that its device is

    def started(self):
        """The pid once it is known; None: it was refused."""
        for line in self.run.stderr:  # divvy may have something to say before
            if line.strip().isdigit():
                self.pid = int(line)
                break
        return self.pid


class Books(LayoutCase):
    def setUp(self):
        self.SIM = os.path.join("/tmp", f"divvy-books-{os.getpid()}.yaml")
        with open(self.SIM, "w", encoding="utf-8") as f:
            f.write(NODE)
        self.addCleanup(os.unlink, self.SIM)
        self.seed = int(os.environ.get("DIVVY_BOOKS_SEED", random.randrange(1 << 30)))
        self.rng = random.Random(self.seed)
        self.lives, self.alive, self.cuts_off = [], [], {}
        self.started = 0
        super().setUp()

    # -- what happens

    def come(self):
        life = Life(self.node, self.rng.choice(list(WAYS)), self.rng.choice(TENANTS))
        if life.started():
            self.lives.append(life)
            self.alive.append(life)
            if life.way == "mig":
                life.weight = self.weight(life)

    def weight(self, life):
        """1g is a seventh. Its slice is there before its process is."""
        profiles = {s["claim"]: s["profile"] for s in self.node.json("ps")["slices"]
                    if s["tenant"] == life.tenant}
        profile = profiles[max(profiles, key=lambda claim: int(claim[2:]))]
        return int(profile[0]) / 7 if profile else 1.0

    def cut_off(self, life):
        self.cuts_off[life.tenant] = self.cuts_off.get(life.tenant, 0) + 1

    def end(self, how, spare=None):
        self.alive = [a for a in self.alive if a.run.poll() is None]
        those = [a for a in self.alive if a.way != spare]
        if not those:
            return
        life = self.rng.choice(those)
        self.alive.remove(life)
        self.cut_off(life)
        if how == "process":
            os.kill(life.pid, signal.SIGKILL)
        elif how == "owner":
            life.run.kill()
        else:
            life.run.send_signal(signal.SIGTERM)

    def change(self):
        self.apply(FIXED + self.rng.choice(CUTS), evict=self.rng.random() < 0.5)
        for life in self.alive:
            if life.way == "mig":
                self.cut_off(life)

    def flushed(self):
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.node.state}/ledger.db?mode=ro",
                                                    uri=True)) as db:
                return db.execute("SELECT unix_ns FROM flushed").fetchone()[0] / 1e9
        except (sqlite3.Error, TypeError):
            return 0

    def kill_daemon(self):
        """Not before the books have caught up with the last time: what comes and goes between two
        crashes within a second or two is not on disk yet."""
        harness.wait_for(lambda: self.flushed() > self.started, "the books go on")
        # Of MIG devices the driver keeps no accounts: who is being ended there ends before.
        harness.wait_for(lambda: not any(s["tenant"].startswith("mig") and s["state"] == "ending"
                                         for s in self.node.json("ps")["slices"]), "none is ending")
        for life in self.alive:
            self.cut_off(life)
        self.node.stop(signal.SIGKILL)
        # Somebody ends while nobody looks; not inside MIG (docs/explanation/accounting.md).
        if self.rng.random() < 0.5:
            self.end("process", spare="mig")
        time.sleep(self.rng.random() / 2)
        self.node.start()
        self.started = time.time()
        harness.wait_for(self.mig_is_back, "processes inside MIG are back")

    def mig_is_back(self):
        """What a process inside MIG ran is lost if it ends before it has come back."""
        pids = {p["pid"] for s in self.node.json("ps")["slices"] for p in s["processes"]}
        return all(a.pid in pids or a.run.poll() is not None for a in self.alive if a.way == "mig")

    def act(self):
        what = self.rng.random()
        if what < 0.45 and len(self.alive) < 12:
            self.come()
        elif what < 0.62:
            self.end("process")
        elif what < 0.72:
            self.end("owner")
        elif what < 0.80:
            self.end("asked")
        elif what < 0.88:
            self.change()
        elif what < 0.93:
            self.kill_daemon()

    # -- what must hold

    def truth(self):
        """Busy time of each tenant by the engine, in seconds of its device; by process."""
        by_pid = {}
        for gpu in range(5):
            for p in self.node.sim_ended(gpu):
                by_pid[p["pid"]] = by_pid.get(p["pid"], 0) + p["executed_seconds"]
        return by_pid

    def bill(self):
        prices = os.path.join(self.node.directory, "prices.yaml")
        with open(prices, "w", encoding="utf-8") as f:
            f.write("apiVersion: divvy/v1\nkind: PriceList\ncurrency: USD\n"
                    "prices: [{perGpuHour: 3600}]\n")
        return self.node.json("bill", "--price-file", prices, "--from", "-1d", "--by", "tenant")

    def check_buckets(self, bill):
        keys = ("busy", "reserved_idle", "overhead", "unallocated", "unhealthy")
        walls = set()
        for gpu in bill["gpus"]:
            ns = {k: round(gpu[f"{k}_seconds"] * 10**9) for k in keys}
            wall = round(gpu["wall_seconds"] * 10**9)
            self.assertEqual(sum(ns.values()), wall, gpu["uuid"])
            walls.add(wall)
        self.assertEqual(len(bill["gpus"]), 5)
        self.assertEqual(len(walls), 1, "every GPU was there all the time")
        return walls.pop()

    def check_truth(self, bill, late):
        by_pid = self.truth()
        said = {t["tenant"]: t for t in bill["tenants"]}
        rows = []
        for tenant in sorted({life.tenant for life in self.lives}):
            true = sum(by_pid.get(life.pid, 0) * life.weight
                       for life in self.lives if life.tenant == tenant)
            t = said.get(tenant, {"busy_seconds": 0.0, "quality": "exact"})
            lives = sum(life.tenant == tenant for life in self.lives)
            rows.append((tenant, t["quality"], t["busy_seconds"], true, lives,
                         self.cuts_off.get(tenant, 0)))
        for tenant, quality, busy, true, lives, cuts in rows:
            print(f"{tenant:10} {quality:10} said {busy:8.4f} true {true:8.4f} "
                  f"off {1000 * (busy - true):+8.2f} ms, {lives} lives, {cuts} times cut off")
        for tenant, quality, busy, true, lives, cuts in rows:
            if not tenant.startswith("mps"):
                self.assertAlmostEqual(busy, true, delta=QUANTUM * (1 + lives + cuts) + late, msg=tenant)
        # Under MPS the engine counts each whole while they overlap; the books split the instant.
        mps = [r for r in rows if r[0].startswith("mps")]
        if mps:
            slack = late + QUANTUM * sum(1 + r[4] + r[5] for r in mps)
            said, true = sum(r[2] for r in mps), sum(r[3] for r in mps)
            self.assertLessEqual(said, true + slack)
            longest = max(by_pid.get(life.pid, 0) for life in self.lives if life.way == "mps")
            self.assertGreaterEqual(said, longest - slack)

    def test_a_minute_of_everything(self):
        print(f"DIVVY_BOOKS_SEED={self.seed}")
        with harness.Lateness() as lateness:
            self.a_minute()
        bill = self.bill()
        wall = self.check_buckets(bill)
        print(f"wall {wall} ns of each GPU; this machine was {lateness.late:.3f} s late")
        self.check_truth(bill, lateness.late)
        verify = self.node.divvy("ledger", "verify")
        self.assertEqual(verify.returncode, 0, verify.stdout + verify.stderr)

    def a_minute(self):
        self.apply_and_settle(FIXED + CUTS[0])
        end = time.monotonic() + float(os.environ.get("DIVVY_BOOKS_SECONDS", "60"))
        while time.monotonic() < end:
            self.act()
            time.sleep(self.rng.random() * 0.6)
        for life in self.alive:
            if life.run.poll() is None:
                self.cut_off(life)
                os.kill(life.pid, signal.SIGKILL)
        harness.wait_for(lambda: not self.node.json("ps")["slices"], "no slice is left")
        # The last answers of the driver, and a flush.
        asked = time.time() + 2
        harness.wait_for(lambda: self.flushed() > asked, "the books go on")


if __name__ == "__main__":
    unittest.main()
