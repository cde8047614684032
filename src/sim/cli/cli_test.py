#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""divvy-sim as its users meet it: exit codes, one-line errors, life and death of nodes.

    DIVVY_SIM=build/src/programs/divvy-sim python3 src/sim/cli/cli_test.py
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

SIM = os.path.abspath(os.environ["DIVVY_SIM"])
PATIENCE = 120
VERBS = ["run", "start", "stop", "env", "status", "inject", "nodes", "show"]


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"did not happen: {what}")
        time.sleep(0.01)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Cli(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="divvy-cli-")
        self.socket = os.path.join(self.directory, "sock")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("DIVVY_S")}
        self.env.update(TMPDIR=self.directory, DIVVY_LIBDIR="/opt/it's/divvy")
        self.children = []

    def tearDown(self):
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
            child.stdout.close()
            child.stderr.close()
        self.sim("stop", "--socket", self.socket)
        shutil.rmtree(self.directory)

    def sim(self, *args, **kw):
        return subprocess.run([SIM, *args], env=self.env, text=True, capture_output=True,
                              timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL, **kw)

    def popen(self, *args, **kw):
        child = subprocess.Popen([SIM, *args], env=self.env, text=True, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)
        self.children.append(child)
        return child

    def one_line(self, r, code, *parts):
        self.assertEqual(r.returncode, code, r.stderr)
        self.assertEqual(r.stdout, "")
        self.assertEqual(r.stderr.count("\n"), 1, r.stderr)
        self.assertTrue(r.stderr.startswith("divvy-sim: "), r.stderr)
        for part in parts:
            self.assertIn(part, r.stderr)

    # -- words

    def test_help_and_version(self):
        self.assertIn("divvy-sim ", self.sim("--version").stdout)
        top = self.sim("--help")
        self.assertEqual(top.returncode, 0)
        for verb in VERBS:
            self.assertIn(f"  {verb}", top.stdout)
            r = self.sim(verb, "--help")
            self.assertEqual(r.returncode, 0, verb)
            self.assertTrue(r.stdout.startswith(f"Usage: divvy-sim {verb}"))
            self.assertRegex(r.stdout, r"\nExamples:\n  .*divvy-sim ")
        r = self.sim("run", "a100", "sh", "-c", "echo $1", "sh", "--help")
        self.assertEqual(r.stdout, "--help\n")

    def test_usage_errors(self):
        self.one_line(self.sim("statsu"), 2, "did you mean 'status'")
        self.one_line(self.sim("status", "--sokcet", "x"), 2, "did you mean '--socket'")
        self.one_line(self.sim("status", "--socket"), 2, "needs a value")
        self.one_line(self.sim("status", "-o", "xml"), 2, "table or json")
        self.one_line(self.sim("status", "extra"), 2, "unexpected 'extra'")
        self.one_line(self.sim("stop", "--socket=x", "--help=y"), 2, "unknown option")
        self.one_line(self.sim("run", "a100"), 2, "a command is missing")
        self.one_line(self.sim("run"), 2, "missing")
        self.one_line(self.sim("run", "dgx-a1000", "--", "true"), 2, "dgx-a100")
        self.one_line(self.sim("show", "./none.yaml"), 2, "./none.yaml")
        self.one_line(self.sim("inject"), 2, "what is to be injected")
        self.one_line(self.sim("inject", "--xid", "79"), 2, "--gpu N")
        self.one_line(self.sim("inject", "--gpu", "0", "--cuda-error", "cuInit"), 2, "FUNCTION=")
        self.one_line(self.sim("inject", "--gpu", "0", "--xid", "-1"), 2, "--xid")
        self.one_line(self.sim("inject", "--leak", "1GiB"), 2, "--gpu N")
        self.one_line(self.sim("inject", "--gone"), 2, "--gpu N")
        self.one_line(self.sim("inject", "--gpu", "0", "--leak", "much"), 2, "--leak")
        self.assertEqual(self.sim().returncode, 2)

    def test_a_node_file(self):
        path = os.path.join(self.directory, "lab.yaml")
        with open(path, "w", encoding="ascii") as f:
            f.write("apiVersion: divvy/v1\nkind: SimNode\ngpus:\n  - {model: A30, cuont: 2}\n")
        self.one_line(self.sim("run", path, "true"), 2, f"{path}:4:18: ", "did you mean 'count'")
        with open(path, "w", encoding="ascii") as f:
            f.write("apiVersion: divvy/v1\nkind: SimNode\ngpus:\n"
                    "  - {model: A100-80GB, mig: \"7g.80gb,1g.10gb\"}\n")
        self.one_line(self.sim("run", path, "true"), 125, "GPU 0: mig")
        for node in (line.split()[0] for line in self.sim("nodes").stdout.splitlines()):
            shown = self.sim("show", node).stdout
            with open(path, "w", encoding="ascii") as f:
                f.write(shown)
            self.assertEqual(self.sim("show", path).stdout, shown)

    # -- run

    def test_run_passes_the_status_on(self):
        self.assertEqual(self.sim("run", "a100", "--", "sh", "-c", "exit 7").returncode, 7)
        self.assertEqual(self.sim("run", "a100", "sh", "-c", "kill -9 $$").returncode, 137)
        self.one_line(self.sim("run", "a100", "--", "no-such-command"), 127, "no-such-command")
        self.one_line(self.sim("run", "a100", "--", "/etc"), 126, "/etc")
        self.assertEqual(os.listdir(self.directory), [])

    def test_run_sets_the_environment(self):
        self.env["LD_LIBRARY_PATH"] = "/before"
        out = self.sim("run", "a100", "--", "sh", "-c",
                       "echo $LD_LIBRARY_PATH; echo $PATH; test -S $DIVVY_SIM_SOCKET")
        self.assertEqual(out.returncode, 0)
        libs, path = out.stdout.splitlines()
        self.assertEqual(libs, "/opt/it's/divvy/sim:/before")
        self.assertEqual(path, "/opt/it's/divvy/sim/bin:" + self.env["PATH"])

    def test_run_passes_signals_on(self):
        run = self.popen("run", "a100", "--", "sh", "-c",
                         "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done")
        self.assertEqual(run.stdout.readline(), "up\n")
        run.terminate()
        self.assertEqual(run.wait(PATIENCE), 9)
        self.assertEqual(os.listdir(self.directory), [])

    def test_the_node_ends_with_a_killed_run(self):
        run = self.popen("run", "a100", "--", "sh", "-c",
                         "echo $DIVVY_SIM_SOCKET $$; exec sleep 600")
        path, command = run.stdout.readline().split()
        try:
            self.assertTrue(os.path.exists(path))
            run.kill()
            run.wait()
            wait_for(lambda: not os.path.exists(path), "the server ends and takes its socket away")
        finally:
            os.kill(int(command), signal.SIGKILL)

    # -- start, stop, env, status

    def test_start_and_stop(self):
        pid_file = os.path.join(self.directory, "pid")
        r = self.sim("start", "a30x4", "--socket", self.socket, "--pid-file", pid_file)
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn(f"divvy-sim env --socket {self.socket}", r.stdout)
        with open(pid_file, encoding="ascii") as f:
            pid = int(f.read())
        self.one_line(self.sim("start", "a100", "--socket", self.socket), 1, "another divvy-sim")
        status = json.loads(self.sim("status", "--socket", self.socket, "-o", "json").stdout)
        self.assertEqual((status["kind"], status["node"]), ("SimStatus", "a30x4"))
        self.assertNotIn("ended", status["gpus"][0])
        status = json.loads(self.sim("status", "--socket", self.socket, "--ended", "-o", "json").stdout)
        self.assertEqual([g["ended"] for g in status["gpus"]], [[]] * 4)
        self.assertIn("none has ended", self.sim("status", "--socket", self.socket, "--ended").stdout)
        self.assertEqual([g["index"] for g in status["gpus"]], [0, 1, 2, 3])
        self.assertEqual(status["gpus"][0]["memory_used_bytes"], 0)
        table = self.sim("status", "--socket", self.socket).stdout.splitlines()
        self.assertEqual(len(table), 7)
        self.assertIn("no processes", table[6])
        self.assertEqual(self.sim("stop", "--socket", self.socket).returncode, 0)
        wait_for(lambda: not alive(pid), "the server ends")
        self.assertFalse(os.path.exists(self.socket))
        self.one_line(self.sim("stop", "--socket", self.socket), 5, "divvy-sim start")

    def test_env_survives_the_shell(self):
        self.sim("start", "a100", "--socket", self.socket)
        shell = self.sim("env", "--socket", self.socket).stdout
        out = subprocess.run(["sh", "-c", shell + "echo \"$LD_LIBRARY_PATH\""], env=self.env,
                             text=True, capture_output=True, check=True).stdout
        self.assertEqual(out.split(":")[0].strip(), "/opt/it's/divvy/sim")
        answer = json.loads(self.sim("env", "--socket", self.socket, "-o", "json").stdout)
        self.assertEqual(answer["env"]["DIVVY_SIM_SOCKET"], os.path.realpath(self.socket))

    def test_foreground_tells_when_it_is_ready(self):
        ready, theirs = os.pipe()
        lifeline, ours = os.pipe()
        server = self.popen("start", "a100", "--foreground", "--socket", self.socket, "--ready-fd",
                            str(theirs), "--lifeline-fd", str(lifeline), pass_fds=(theirs, lifeline))
        os.close(theirs)
        os.close(lifeline)
        with os.fdopen(ready, "rb") as r:
            self.assertEqual(r.read(), b"\n")
        self.assertEqual(self.sim("status", "--socket", self.socket).returncode, 0)
        os.close(ours)
        self.assertEqual(server.wait(PATIENCE), 0)
        self.assertFalse(os.path.exists(self.socket))

    def test_a_stale_socket_is_replaced(self):
        server = self.popen("start", "a100", "--foreground", "--socket", self.socket)
        wait_for(lambda: self.sim("status", "--socket", self.socket).returncode == 0, "it is up")
        server.kill()
        server.wait()
        self.assertTrue(os.path.exists(self.socket))
        self.one_line(self.sim("status", "--socket", self.socket), 5, "divvy-sim start")
        self.assertEqual(self.sim("start", "a100", "--socket", self.socket).returncode, 0)
        self.assertEqual(self.sim("status", "--socket", self.socket).returncode, 0)

    def test_a_file_in_the_way_is_left_alone(self):
        with open(self.socket, "w", encoding="ascii") as f:
            f.write("precious")
        self.one_line(self.sim("start", "a100", "--socket", self.socket), 1, "not a socket")
        with open(self.socket, encoding="ascii") as f:
            self.assertEqual(f.read(), "precious")
        self.one_line(self.sim("start", "a100", "--socket", "/nonexistent/sock"), 1,
                      "/nonexistent/sock")
        self.one_line(self.sim("status", "--socket", "/" + "x" * 200), 5, "107 bytes")

    def test_a_mute_server_is_named(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.bind(self.socket)
            s.listen()
            child = self.popen("status", "--socket", self.socket)
            peer, _ = s.accept()
            peer.close()
            child.wait(PATIENCE)
            self.assertEqual(child.returncode, 5)
            self.assertIn("no divvy-sim", child.stderr.read())
        os.unlink(self.socket)

    def test_injections_reach_the_node(self):
        self.sim("start", "a100", "--socket", self.socket)
        for args in (["--gpu", "0", "--xid", "31"], ["--nvml-hang", "nvmlInit_v2=5"],
                     ["--cuda-error", "cuMemAlloc_v2=2:1"], ["--clear"],
                     ["--gpu", "0", "--reset-high-water"], ["--gpu", "0", "--leak", "2GiB"],
                     ["--gpu", "0", "--ecc", "1"], ["--gpu", "0", "--remap-failure"],
                     ["--gpu", "0", "--gone"], ["--gpu", "0", "--reset"]):
            r = self.sim("inject", *args, "--socket", self.socket)
            self.assertEqual((r.returncode, r.stderr), (0, ""), args)
        self.one_line(self.sim("inject", "--gpu", "5", "--xid", "31", "--socket", self.socket), 2,
                      "no GPU 5")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-q"])
