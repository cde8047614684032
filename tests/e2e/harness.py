# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: a daemon on a simulated node in a directory of its own.

    with harness.Node("a100") as node:
        run = node.divvy("run", "--memory", "10GiB", "--", "true")
        status = node.json("status")

Everything that a Node starts ends with it, also when the test fails. Programs come from the staged
install that DIVVY_BIN names (Meson sets it).
"""
import functools
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

BIN = os.environ.get("DIVVY_BIN", "/usr/local/bin")
LIBDIR = os.environ.get("DIVVY_LIBDIR", os.path.join(os.path.dirname(BIN), "lib", "divvy"))
GIB = 1 << 30
# A bound against hanging for ever, not a measurement: machines that run tests may be slow.
PATIENCE = 120.0
ANY_LAYOUT = "apiVersion: divvy/v1\nkind: Layout\ngpus: [{gpu: all, mode: auto}]\n"


def program(name):
    return os.path.join(BIN, name)


def clean_env(**extra):
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("DIVVY_S", "DIVVY_T", "CUDA_", "NVIDIA_", "LD_"))}
    env.update(extra)
    return env


def wait_for(condition, what, patience=PATIENCE):
    """Polls until condition() is true; its last value is returned."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"did not happen within {patience:.0f} s: {what}")
        time.sleep(0.02)


class Lateness:
    """How busy this machine is meanwhile: how much later a thread wakes than it asked to, and for
    which part of the time something waited for a CPU."""

    def __enter__(self):
        self.late, self.began, self.waited = 0.0, time.monotonic(), self.pressure()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.measure, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.thread.join()

    def measure(self):
        step = 0.01
        while not self.over.is_set():
            before = time.monotonic()
            time.sleep(step)
            late = time.monotonic() - before - step
            self.late += late if late > step else 0

    @staticmethod
    def pressure():
        try:
            with open("/proc/pressure/cpu", encoding="utf-8") as f:
                return int(f.readline().split("total=")[1]) / 1e6
        except (OSError, IndexError, ValueError):
            return 0.0

    def busy(self):
        span = time.monotonic() - self.began
        return self.late > 0.02 * span or self.pressure() - self.waited > 0.5 * span


def figures(check, more=4):
    """check() compares figures that are taken in real time. On a machine that is too busy to do the
    work they say nothing of divvy: then, and only then, they are taken anew."""
    while True:
        with Lateness() as lateness:
            try:
                return check()
            except AssertionError as wrong:
                if not more or not lateness.busy():
                    raise
                print(f"this machine was too busy ({lateness.late:.1f} s late), anew: {wrong}",
                      flush=True)
        more -= 1


def of_figures(test):
    """A whole test of that kind, which leaves nothing behind."""
    @functools.wraps(test)
    def again(self):
        figures(lambda: test(self))
    return again


def virtual_environment(cache, name, pins):
    """The programs of a virtual environment with these pinned packages, kept in cache/name. Exits
    77 (skipped) where no Python package index can be reached."""
    home = os.path.join(cache, name)
    mark = os.path.join(home, "pins")
    python = os.path.join(home, "bin", "python3")
    if not (os.path.exists(mark) and open(mark, encoding="utf-8").read() == " ".join(pins)):
        shutil.rmtree(home, ignore_errors=True)
        steps = ([sys.executable, "-m", "venv", home],
                 [python, "-m", "pip", "install", "--quiet", "--retries", "1", "--timeout", "15",
                  "--disable-pip-version-check", *pins])
        for step in steps:
            made = subprocess.run(step, capture_output=True, text=True, check=False, timeout=600)
            if made.returncode:
                print("skipped: cannot install", *pins, "\n", (made.stderr or made.stdout)[-400:])
                sys.exit(77)
        with open(mark, "w", encoding="utf-8") as f:
            f.write(" ".join(pins))
    return os.path.join(home, "bin")


class Connection(http.client.HTTPConnection):
    """HTTP on the daemon's Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self.path)


class Node:
    def __init__(self, sim="a100", args=(), directory=None, daemon_env=None):
        self.sim = sim
        self.daemon_env = daemon_env or {}
        self.args = list(args)
        self.own_directory = directory is None
        self.directory = directory or tempfile.mkdtemp(prefix="divvy-e2e-")
        os.chmod(self.directory, 0o755)
        self.socket = os.path.join(self.directory, "divvyd.sock")
        self.state = os.path.join(self.directory, "state")
        self.log_path = os.path.join(self.directory, "divvyd.log")
        self.daemon = None
        self.children = []

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.close()
        if exc[0] is not None and os.path.exists(self.log_path):
            with open(self.log_path, encoding="utf-8", errors="replace") as log:
                print("".join(log.readlines()[-60:]))
        if self.own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    # -- the daemon

    def spawn_daemon(self, *args):
        with open(self.log_path, "ab") as log:
            # sim=None: the machine's own driver.
            sim = ["--sim", self.sim] if self.sim else []
            return subprocess.Popen([program("divvyd"), *sim, "--socket", self.socket,
                                     "--state", self.state, *self.args, *args],
                                    env=clean_env(**self.daemon_env), stdin=subprocess.DEVNULL,
                                    stdout=log, stderr=log, start_new_session=True)

    def start(self):
        self.daemon = self.spawn_daemon()

        def ready():
            if self.daemon.poll() is not None:
                raise AssertionError(f"divvyd ended with {self.daemon.returncode}:\n{self.log()}")
            return self.divvy("status", "-o", "json").returncode == 0
        wait_for(ready, "divvyd answers")
        # The API answers before the first look at the GPUs is over: some of them show already, but
        # who asks for a slice is sent away, and those of before a restart are not there yet.
        wait_for(lambda: self.json("status")["gpus"], "divvyd knows GPUs")
        wait_for(lambda: self.ask("POST", "/v1/layout/plan", {"text": ANY_LAYOUT})[0] != 503,
                 "divvyd knows all of its GPUs")

    def stop(self, how=signal.SIGTERM):
        if self.daemon is None:
            return
        if self.daemon.poll() is None:
            self.daemon.send_signal(how)
            try:
                self.daemon.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(self.daemon.pid, signal.SIGKILL)
                self.daemon.wait()
        if how == signal.SIGKILL:  # helpers of a killed daemon must end by themselves
            wait_for(lambda: not group_alive(self.daemon.pid), "the killed daemon's helpers end")
        self.daemon = None

    def close(self):
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
            for stream in (child.stdout, child.stderr):
                if stream:
                    stream.close()
        self.stop()

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    # -- clients

    def env(self, **extra):
        return clean_env(DIVVY_SOCKET=self.socket, **extra)

    def sim_env(self):
        """The environment in which any program sees this node's simulated GPUs."""
        out = self.divvy_sim("env", "--socket", self.sim_socket(), "-o", "json")
        if out.returncode:
            raise AssertionError(out.stderr)
        answer = json.loads(out.stdout)
        return clean_env(**answer.get("env", answer))

    def sim_socket(self):
        return self.json("status")["daemon"]["sim"].removeprefix("unix:")

    def divvy_sim(self, *args):
        return subprocess.run([program("divvy-sim"), *args], env=clean_env(), text=True,
                              capture_output=True, timeout=PATIENCE, check=False)

    def divvy(self, *args, timeout=PATIENCE, **kw):
        return subprocess.run([program("divvy"), *args], env=self.env(), text=True,
                              capture_output=True, timeout=timeout, check=False,
                              stdin=subprocess.DEVNULL, **kw)

    def ask(self, method, path, body=None):
        """The API itself: HTTP status and answer."""
        c = Connection(self.socket)
        try:
            c.request(method, path, None if body is None else json.dumps(body))
            answer = c.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            c.close()

    def json(self, *args):
        out = self.divvy(*args, "-o", "json")
        if out.returncode:
            raise AssertionError(f"divvy {' '.join(args)}: exit {out.returncode}: {out.stderr}")
        return json.loads(out.stdout)

    def start_run(self, *args, **kw):
        """`divvy run ...` in the background."""
        child = subprocess.Popen([program("divvy"), "run", *args], env=self.env(), text=True,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, **kw)
        self.children.append(child)
        return child

    def slices(self):
        return [s for gpu in self.json("status")["gpus"] for s in gpu["slices"]]

    def sim_stats(self, gpu=0):
        out = self.divvy_sim("status", "--socket", self.sim_socket(), "-o", "json")
        if out.returncode:
            raise AssertionError(out.stderr)
        return json.loads(out.stdout)["gpus"][gpu]

    def ran(self, tenants, seconds, gpu=0):
        """GPU seconds of each of these tenants by the engine, while all of them were there: over a
        span in which they had so many together. How fast this machine is does not matter."""
        def now():
            pids = {s["tenant"]: s["pids"] for s in self.slices()}
            engine = {p["pid"]: p["executed_seconds"] for p in self.sim_stats(gpu)["processes"]}
            return {t: sum(engine.get(pid, 0) for pid in pids.get(t, ())) for t in tenants}
        first = wait_for(lambda: (n := now()) and all(n.values()) and n, f"{tenants} run")
        last = wait_for(lambda: sum((n := now()).values()) - sum(first.values()) > seconds and n,
                        f"{tenants} have {seconds} s of the GPU")
        return {t: last[t] - first[t] for t in tenants}

    def sim_ended(self, gpu=0):
        """The processes that had a context on the GPU and have ended, oldest first."""
        out = self.divvy_sim("status", "--socket", self.sim_socket(), "-o", "json", "--ended")
        if out.returncode:
            raise AssertionError(out.stderr)
        return json.loads(out.stdout)["gpus"][gpu]["ended"]


def group_alive(pgid):
    try:
        os.killpg(pgid, 0)
        return True
    except (ProcessLookupError, PermissionError):
        return False
