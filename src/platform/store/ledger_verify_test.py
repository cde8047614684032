#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ledger_verify_test.py LEDGER: the chains of a ledger, checked from docs/reference/ledger.md alone, with
nothing of divvy. Prints what is wrong, exit 1; or how much was checked. The test `ledger` runs it."""
import hashlib
import sqlite3
import sys

FIGURES = "busy,overhead,reserved_idle,unallocated,unhealthy,wait,requested,byte_seconds,held"
LEVELS = ("minute", "hour", "day")


def number(value):
    return (value & (2**64 - 1)).to_bytes(8, "big")


def text(value):
    raw = value.encode()
    return number(len(raw)) + raw


def digest(tag, *parts):
    return hashlib.sha256(tag.encode().ljust(16, b"\0") + b"".join(parts)).digest()


def account(row):
    """With a pod it has another tag, and the pod behind it."""
    return digest("divvy.account.2" if row[9] else "divvy.account.1", *map(text, row[1:5]),
                  *map(number, row[5:9]), *([text(row[9])] if row[9] else []))


class Ledger:
    def __init__(self, path):
        self.db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        self.id = self.db.execute("SELECT id FROM ledger").fetchone()[0]
        self.pruned = dict(self.db.execute("SELECT chain, pruned FROM chain"))
        pod = "pod" if self.db.execute("PRAGMA user_version").fetchone()[0] >= 2 else "''"
        rows = self.db.execute("SELECT id, gpu, model, profile, tenant, mode, tier, source, quality,"
                               f" {pod} FROM account").fetchall()
        self.accounts = {row[0]: account(row) for row in rows}
        without_pods = {row[1:9]: row[0] for row in rows if not row[9]}
        self.base = {row[0]: without_pods.get(row[1:9], row[0]) for row in rows}
        self.wrong = []
        self.checked = 0

    def genesis(self, chain):
        return digest("divvy.ledger.1", self.id, number(chain))

    def say(self, what):
        self.wrong.append(what)

    def anchor(self, level):
        pruned = self.pruned[level]
        if not pruned:
            return self.genesis(level)
        if level == 2:
            row = self.db.execute("SELECT reason FROM note WHERE kind = 2 AND level = 2 AND block = ?",
                                  (pruned,)).fetchone()
            return bytes.fromhex(row[0]) if row else None
        row = self.db.execute("SELECT finer FROM block WHERE level = ? AND last = ?",
                              (level + 1, pruned)).fetchone()
        return row[0] if row else None

    def entries(self, level, seq):
        return self.db.execute(f"SELECT account,{FIGURES} FROM entry WHERE level = ? AND block = ?"
                               " ORDER BY account", (level, seq)).fetchall()

    def level(self, level):
        previous, expected = self.anchor(level), self.pruned[level] + 1
        for row in self.db.execute("SELECT seq,from_unix,to_unix,begin_ns,end_ns,wall_ns,age_ns,step_ns,first,"
                                   "last,first_minute,last_minute,faults,finer,lives,lives_hash,notes,"
                                   "notes_hash,rows,prev,hash FROM block WHERE level = ? AND seq > ?"
                                   " ORDER BY seq", (level, self.pruned[level])):
            seq, numbers, (finer, lives, lives_hash, notes, notes_hash, rows, prev, stored) = \
                row[0], row[0:13], row[13:]
            name = f"{LEVELS[level]} block {seq}"
            entries = self.entries(level, seq)
            if seq != expected or prev != previous:
                self.say(f"{name}: does not follow")
            if len(entries) != rows:
                self.say(f"{name}: {len(entries)} of {rows} rows")
            made = digest("divvy.block.1", number(level), *map(number, numbers), finer, number(lives),
                          lives_hash, number(notes), notes_hash, prev, number(rows),
                          *(self.accounts[e[0]] + b"".join(map(number, e[1:])) for e in entries))
            if made != stored:
                self.say(f"{name}: hash")
            if level and row[8] > self.pruned[level - 1]:
                self.sums(level, name, entries, row[8], row[9])
            previous, expected = stored, seq + 1
            self.checked += 1

    def sums(self, level, name, entries, first, last):
        made = {}
        for account, *figures in self.db.execute(
                f"SELECT account,{FIGURES} FROM entry WHERE level = ? AND block BETWEEN ? AND ?",
                (level - 1, first, last)):
            account = self.base[account] if level == 2 else account
            made[account] = [a + b for a, b in zip(made.get(account, [0] * 9), figures)]
        if made != {e[0]: list(e[1:]) for e in entries}:
            self.say(f"{name}: sums")

    def lives(self):
        previous, expected = self.genesis(3), self.pruned[3] + 1
        if self.pruned[3]:
            row = self.db.execute("SELECT lives_hash FROM block WHERE level = 2 AND lives = ?",
                                  (self.pruned[3],)).fetchone()
            previous = row[0] if row else None
        for row in self.db.execute("SELECT seq,event,claim,account,memory,compute,unix_ns,busy,wait,requested,"
                                   "byte_seconds,hash FROM life WHERE seq > ? ORDER BY seq",
                                   (self.pruned[3],)):
            made = previous and digest("divvy.life.1", *map(number, row[0:3]), self.accounts[row[3]],
                                       *map(number, row[4:11]), previous)
            if row[0] != expected or made != row[11]:
                self.say(f"life {row[0]}")
            previous, expected = row[11], row[0] + 1
            self.checked += 1

    def notes(self):
        previous, expected = self.genesis(4), 1
        for row in self.db.execute("SELECT seq,kind,unix_ns,level,block,from_unix,old,new,who,reason,hash"
                                   " FROM note ORDER BY seq"):
            deltas = self.db.execute(f"SELECT account,{FIGURES} FROM note_entry WHERE note = ? ORDER BY n",
                                     (row[0],)).fetchall()
            made = digest("divvy.note.1", *map(number, row[0:6]), *map(text, row[6:10]), number(len(deltas)),
                          *(self.accounts[d[0]] + b"".join(map(number, d[1:])) for d in deltas), previous)
            if row[0] != expected or made != row[10]:
                self.say(f"note {row[0]}")
            previous, expected = row[10], row[0] + 1
            self.checked += 1


def main():
    ledger = Ledger(sys.argv[1])
    for level in range(3):
        ledger.level(level)
    ledger.lives()
    ledger.notes()
    print("\n".join(ledger.wrong) or f"{ledger.checked} blocks, lives and notes, nothing wrong")
    return 1 if ledger.wrong or not ledger.checked else 0


if __name__ == "__main__":
    sys.exit(main())
