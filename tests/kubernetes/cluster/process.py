# SPDX-License-Identifier: Apache-2.0
"""Long-lived processes: started detached with a log and a pid file, stopped and restarted by name."""
import os
import signal
import subprocess
import time
from pathlib import Path

from . import paths

PATIENCE = 3
STARTED = []  # they outlive this program, and their objects must live as long as it does


def pid_file(name):
    return paths.STATE / "run" / f"{name}.pid"


def log_file(name):
    return paths.LOGS / f"{name}.log"


def start_time(pid):
    """Field 22 of /proc/PID/stat, so that a pid used again is not taken for ours; None: gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2:].split()
    return None if fields[0] == "Z" else fields[19]


def running(name):
    """The pid, or None."""
    try:
        pid, started = pid_file(name).read_text().split()
    except (OSError, ValueError):
        return None
    return int(pid) if start_time(int(pid)) == started else None


def start(name, argv, prefix=(), env=None):
    """prefix: what enters a node's namespaces and then executes the rest."""
    if running(name):
        return
    paths.LOGS.mkdir(parents=True, exist_ok=True)
    pid_file(name).parent.mkdir(parents=True, exist_ok=True)
    with open(log_file(name), "ab") as log:
        child = subprocess.Popen([*map(str, prefix), *map(str, argv)], stdin=subprocess.DEVNULL,
                                 stdout=log, stderr=log, start_new_session=True,
                                 env=dict(os.environ, **(env or {})))
    STARTED.append(child)
    pid_file(name).write_text(f"{child.pid} {start_time(child.pid)}")


def stop(name, signo=signal.SIGTERM, timeout=20):
    pid = running(name)
    if not pid:
        return
    os.kill(pid, signo)
    deadline = time.monotonic() + timeout
    while running(name):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass
        time.sleep(0.05)
    pid_file(name).unlink(missing_ok=True)


def tail(name, lines=15):
    try:
        return "\n".join(log_file(name).read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


def wait(what, condition, timeout, logs=()):
    """Polls until condition() is true; says what never came, with the ends of the logs.

    timeout: seconds in which it comes on a machine that has time for it; others get PATIENCE times as
    many, which costs nothing where it comes.
    """
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            ends = "".join(f"\n--- {name}:\n{tail(name)}" for name in logs)
            raise TimeoutError(f"cluster: {what} did not come within {timeout} s{ends}")
        time.sleep(0.2)
