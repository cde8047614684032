#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cli_run_test DIVVY: the command line against a daemon that answers as each test says.

Nothing here depends on how fast the machine is: waits are for events, bounds are for hangs.
"""
import json
import os
import pty
import signal
import sys
import unittest

from fake_daemon import DIVVY, PATIENCE, Case, error, wait_for

SLICE = {"id": "s-1", "tenant": "ann", "memory_bytes": 1 << 30, "compute_permille": 500,
         "memory_wall": "cooperative", "compute_wall": "cooperative", "profile": None,
         "placement_start": None, "pids": [],
         "env": {"DIVVY_SLICE": "s-1", "LD_LIBRARY_PATH": "/divvy/standin", "PATH": "/divvy/bin"}}
GRANTED = {"apiVersion": "divvy/v1", "kind": "Claim", "id": "c-1", "state": "granted",
           "position": 0, "verdict": {"result": "granted", "message": "fits"}, "slice": SLICE}
QUEUED = {"apiVersion": "divvy/v1", "kind": "Claim", "id": "c-1", "state": "queued",
          "position": 2, "verdict": {"result": "queued", "message": "asked 2 GiB, free 1 GiB"}}


class CommandLine(Case):
    granted = GRANTED

    # -- run: the exit status

    def test_status_is_the_commands_own(self):
        self.assertEqual(self.divvy("run", "sh", "-c", "exit 7"), (7, "", ""))
        self.assertEqual(self.methods(), ["POST", "DELETE"])
        self.assertEqual(self.daemon.requests[1][1], "/v1/claims/c-1")

    def test_signal_of_the_command(self):
        self.assertEqual(self.divvy("run", "sh", "-c", "kill -KILL $$")[0], 128 + 9)
        self.assertEqual(self.methods()[-1], "DELETE")

    def test_not_found_and_not_executable(self):
        code, _, err = self.divvy("run", "/nonexistent/program")
        self.assertEqual((code, err.count("\n")), (127, 1))
        self.assertEqual(self.divvy("run", "/etc/passwd")[0], 126)
        self.assertEqual(self.methods(), ["POST", "DELETE"] * 2)

    def test_refused(self):
        self.answers["POST"] = (409, error("asked 90 GiB, the largest GPU has 80 GiB", 1))
        code, out, err = self.divvy("run", "--memory", "90GiB", "true")
        self.assertEqual((code, out), (125, ""))
        self.assertEqual(err, "divvy run: asked 90 GiB, the largest GPU has 80 GiB\n")

    def test_refused_as_a_claim(self):
        refused = {**QUEUED, "state": "refused",
                   "verdict": {"result": "refused", "message": "no room\x1b[2J"}}
        self.answers["POST"] = (409, refused)
        code, _, err = self.divvy("run", "true")
        self.assertEqual((code, err), (125, "divvy run: no room\\x1b[2J\n"))

    def test_misuse_and_permission(self):
        self.answers["POST"] = (400, error("unknown mode", 2))
        self.assertEqual(self.divvy("run", "true")[0], 2)
        self.answers["POST"] = (403, error("only root", 4))
        self.assertEqual(self.divvy("run", "true")[0], 125)

    def test_no_daemon_and_nonsense(self):
        self.assertEqual(self.divvy("run", "--socket", "/nonexistent/s", "true")[0], 125)
        self.answers["POST"] = (200, b"<html>")
        self.assertEqual(self.divvy("run", "true")[0], 125)
        self.answers["POST"] = (200, b'{"kind":"Claim","state":"granted"}')
        self.assertEqual(self.divvy("run", "true")[0], 125)

    # -- topo

    def topology(self, n, **gpu):
        return {"kind": "Topology",
                "gpus": [{"index": 3 * i, "numa": None, "cpus": None, "links": [], **gpu}
                         for i in range(n)]}

    def test_topo_of_what_is_known(self):
        answer = self.topology(2)
        answer["gpus"][0].update(numa=1, cpus="0-3", links=[{"gpu": 3, "link": "NV4\x1b[2J"}])
        answer["gpus"][1].update(links=[{"gpu": 0, "link": None, "nvlinks": None, "pcie": None}])
        self.answers["GET"] = (200, answer)
        code, out, err = self.divvy("topo")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual([line.split() for line in out.splitlines()],
                         [["GPU0", "GPU3", "CPU", "AFFINITY", "NUMA", "AFFINITY"],
                          ["GPU0", "X", "NV4\\x1b[2J", "0-3", "1"], ["GPU3", "-", "X", "-", "-"]])
        self.assertEqual(self.divvy("topo", "-o", "csv")[1].splitlines()[2], "GPU3,,X,,")

    def test_topo_of_nodes_of_any_size(self):
        self.answers["GET"] = (200, self.topology(0))
        self.assertEqual(self.divvy("topo"), (0, "no GPUs\n", ""))
        self.answers["GET"] = (200, self.topology(17, numa=0))  # no links: no matrix
        self.assertEqual(self.divvy("topo", "-o", "csv")[1].splitlines()[:2],
                         ["gpu,cpus,numa", "GPU0,,0"])
        self.answers["GET"] = (200, {"kind": "Topology", "gpus": 3})
        self.assertEqual(self.divvy("topo")[::2],
                         (1, "divvy topo: the daemon's answer has no gpus\n"))

    # -- run: what is asked, what the command gets

    def test_claim(self):
        self.divvy("run", "--tenant", "ann", "--mode", "governed", "--memory", "1GiB",
                   "--compute", "25%", "--priority", "5", "--gpu", "A100", "--no-wait", "--tier",
                   "be", "--trust", "trusted", "--", "true", "--flag", "a b")
        self.assertEqual(self.daemon.requests[0], ("POST", "/v1/claims", {
            "tenant": "ann", "mode": "governed", "memory_bytes": 1 << 30, "compute": 1750,
            "priority": 5, "gpu": "A100", "wait": False, "tier": "be", "trust": "trusted",
            "command": "true --flag a b"}))

    def test_defaults_are_the_daemons(self):
        self.divvy("run", "true")
        self.assertEqual(self.daemon.requests[0][2], {"wait": True, "command": "true"})

    def test_environment(self):
        show = ["run", "sh", "-c", "echo $DIVVY_SLICE $LD_LIBRARY_PATH"]
        self.assertEqual(self.divvy(*show, env={"LD_LIBRARY_PATH": "/own"})[1],
                         "s-1 /divvy/standin:/own\n")
        self.assertEqual(self.divvy(*show, env={"LD_LIBRARY_PATH": ""})[1],
                         "s-1 /divvy/standin\n")
        self.assertEqual(self.divvy("run", "sh", "-c", "echo $PATH")[1],
                         f"/divvy/bin:{os.environ['PATH']}\n")

    # -- run: waiting

    def test_waits_and_says_so(self):
        self.answers["POST"] = (202, QUEUED)
        self.answers["GET"] = (200, {**QUEUED, "position": 1})
        p = self.start("run", "true")
        self.assertEqual(p.stderr.readline(),
                         "divvy run: waiting as c-1, position 2: asked 2 GiB, free 1 GiB\n")
        self.assertIn("position 1", p.stderr.readline())
        self.answers["GET"] = (200, GRANTED)
        self.assertEqual(p.wait(PATIENCE), 0)
        self.assertIn("seen=queued:2", self.daemon.requests[1][1])
        self.assertEqual(self.methods()[-1], "DELETE")

    def test_wait_times_out(self):
        self.answers["POST"] = self.answers["GET"] = (202, QUEUED)
        self.assertEqual(self.divvy("run", "--wait-timeout", "100ms", "true")[0], 124)
        self.assertEqual(self.methods()[-1], "DELETE")

    def test_interrupt_while_waiting_withdraws(self):
        self.answers["POST"] = self.answers["GET"] = (202, QUEUED)
        p = self.start("run", "true")
        p.stderr.readline()
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(PATIENCE), 128 + signal.SIGINT)
        # The daemon's threads may note the question that was cut off after it.
        self.assertEqual(self.methods().count("DELETE"), 1)

    # -- run: the command's life

    def test_signals_are_passed_on(self):
        script = "trap 'exit 9' USR1; : > $0; while :; do sleep 0.05; done"
        p = self.start("run", "sh", "-c", script, self.marker("ready"))
        wait_for(lambda: os.path.exists(self.marker("ready")), "the command starts")
        p.send_signal(signal.SIGUSR1)
        self.assertEqual(p.wait(PATIENCE), 9)
        p = self.start("run", "sh", "-c", ": > $0; exec sleep 600", self.marker("again"))
        wait_for(lambda: os.path.exists(self.marker("again")), "the command starts")
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(PATIENCE), 128 + signal.SIGTERM)

    def test_ctrl_c_reaches_the_command_once(self):
        """A terminal sends it to both: the command must not get it twice, nor divvy run end first."""
        counting = "import signal,sys,time\nn=0\ndef f(*_):\n  global n; n+=1\n" \
                   "signal.signal(2,f)\nopen(sys.argv[1],'w').close()\n" \
                   "while not n: time.sleep(.01)\ntime.sleep(.3)\nsys.exit(40+n)"
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ["DIVVY_SOCKET"] = self.socket
            os.execv(DIVVY, [DIVVY, "run", sys.executable, "-c", counting, self.marker("tty")])
        try:
            wait_for(lambda: os.path.exists(self.marker("tty")), "the command starts")
            os.write(terminal, b"\x03")
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        finally:
            os.close(terminal)
        self.assertEqual(status, 41)

    def pid_in(self, name):
        path = self.marker(name)  # written elsewhere and renamed: it is there whole or not at all
        wait_for(lambda: os.path.exists(path), name)
        with open(path, encoding="utf-8") as f:
            return int(f.read())

    def gone(self, pid):
        try:
            with open(f"/proc/{pid}/stat") as f:
                return f.read().rsplit(")", 1)[1].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    def test_what_is_left_behind_ends(self):
        script = "setsid sh -c 'echo $$ > $0.tmp; mv $0.tmp $0; exec sleep 600' $0 & " \
                 "while [ ! -e $0 ]; do sleep 0.01; done; exit 3"
        code, _, _ = self.divvy("run", "sh", "-c", script, self.marker("left"))
        self.assertEqual(code, 3)
        self.assertTrue(self.gone(self.pid_in("left")))
        self.assertEqual(self.methods()[-1], "DELETE")

    def test_killed_run_takes_its_command_along(self):
        script = "echo $$ > $0.tmp; mv $0.tmp $0; exec sleep 600"
        p = self.start("run", "sh", "-c", script, self.marker("pid"))
        pid = self.pid_in("pid")
        p.kill()
        p.wait()
        wait_for(lambda: self.gone(pid), "the command ends with divvy run")

    # -- the other verbs

    def test_status(self):
        gpu = {"index": 0, "uuid": "GPU-1", "model": "A100", "memory_bytes": 80 << 30,
               "memory_used_bytes": 5 << 30, "mode": "governed", "health": "ok",
               "mig_enabled": False, "slices": [{**SLICE, "pids": [11, 12]}]}
        status = {"apiVersion": "divvy/v1", "kind": "NodeStatus", "driver": {"state": "ok"},
                  "daemon": {"sim": "a100"}, "gpus": [gpu]}
        self.answers["GET"] = (200, status)
        code, out, _ = self.divvy("status", "-o", "json")
        self.assertEqual((code, json.loads(out)), (0, status))
        code, out, _ = self.divvy("status")
        self.assertEqual(code, 0)
        self.assertIn("driver ok, simulated a100", out)
        self.assertRegex(out, r"0 +s-1 +ann +- +50% +cooperative +- +1\.00 GiB +cooperative +- +11 12")
        code, out, _ = self.divvy("status", "-o", "csv")
        self.assertEqual(out.split("\r\n")[1] if "\r" in out else out.splitlines()[1],
                         f"0,GPU-1,A100,{80 << 30},{5 << 30},governed,ok,s-1,ann,{1 << 30},,500,"
                         "cooperative,cooperative,,,11 12")

    KUBERNETES = {
        "node": "n1", "api_server": {"state": "connected", "since_unix": 1700000000,
                                     "problem": None},
        "config": {"file": "/config/fractions", "key": "fractions", "label": "nonesuch",
                   "problem": "/config: nvidia.com/device-plugin.config is nonesuch\x1b[2J"},
        "mig": {"config": "all-1g.10gb", "state": "pending", "problem": None},
        "labels": {"by": "node", "problem": None}, "cdi": {"directory": "/cdi", "problem": None},
        "registered_unix": 1700000000,
        "resources": [
            {"resource": "divvy.dev/gpu-percent", "units": 400, "healthy": 300, "allocated": 25,
             "state": "watched", "problem": None, "since_unix": 1700000000,
             "registered_unix": 1700000000, "allocations": 3, "refusals": 1},
            {"resource": "nvidia.com/gpu", "units": 4, "healthy": 4, "allocated": None,
             "state": "lost", "problem": "the kubelet stopped watching the list",
             "since_unix": 1700000000, "registered_unix": None, "allocations": 0, "refusals": 0}]}
    KUBERNETES_TABLE = """\
node n1, API server connected since 2023-11-14 22:13:20
configuration fractions, by label nonesuch
  /config: nvidia.com/device-plugin.config is nonesuch\\x1b[2J
MIG configuration all-1g.10gb, pending
labels by node

RESOURCE               UNITS  HEALTHY  ALLOCATED  KUBELET  PROBLEM
divvy.dev/gpu-percent    400      300         25  watched  -
nvidia.com/gpu             4        4          -  lost     the kubelet stopped watching the list
"""

    def test_kubernetes(self):
        utc = {"TZ": "UTC"}
        self.answers["GET"] = (200, {"kind": "KubernetesNode", "enabled": True, **self.KUBERNETES})
        self.assertEqual((0, self.KUBERNETES_TABLE, ""), self.divvy("kubernetes", env=utc))
        rows = self.divvy("kubernetes", "-o", "csv")[1].splitlines()
        self.assertEqual("resource,units,healthy,allocated,state,problem,refusals,allocations,"
                         "registered_unix", rows[0])
        self.assertEqual("divvy.dev/gpu-percent,400,300,25,watched,,1,3,1700000000", rows[1])
        self.answers["GET"] = (200, {"kind": "KubernetesNode", "enabled": False})
        self.assertEqual((0, "divvyd runs here without --kubernetes\n", ""),
                         self.divvy("kubernetes"))
        status = {"kind": "NodeStatus", "driver": {"state": "ok"}, "daemon": {}, "gpus": [],
                  "kubernetes": self.KUBERNETES}
        self.answers["GET"] = (200, status)
        self.assertTrue(self.divvy("status", env=utc)[1].endswith(self.KUBERNETES_TABLE))

    # -- top

    def node(self, looks):
        """A daemon whose clock and slices go on from look to look; each is {slice: (busy, wait)} in
        seconds, 2 s of its time apart. The last one repeats."""
        gpus = [{"index": 0, "uuid": "GPU-0", "model": "A100", "memory_bytes": 80 << 30,
                 "memory_used_bytes": 5 << 30, "mode": "timeslice", "health": "ok",
                 "mig_enabled": False, "devices": [], "slices": []},
                {"index": 1, "uuid": "GPU-1", "model": "A100", "memory_bytes": 80 << 30,
                 "memory_used_bytes": None, "mode": "mig", "health": "degraded",
                 "mig_enabled": True, "slices": [], "devices": [
                     {"uuid": "MIG-a", "profile": "3g.40gb", "placement_start": 4,
                      "placement_size": 4, "memory_bytes": 40 << 30, "compute_permille": 429,
                      "mode": "exclusive"}]}]
        on = {"s-1": ("GPU-0", 250), "s-2": ("GPU-0", 500), "s-3": ("GPU-0", 250),
              "s-4": ("MIG-a", 429)}
        asked = {"/v1/status": 0, "/v1/slices": 0}

        def answer(request):
            path = request[1]
            at = min(asked[path], len(looks) - 1)
            asked[path] += 1
            if path == "/v1/status":
                return 200, {"kind": "NodeStatus", "gpus": gpus, "driver": {"state": "ok"},
                             "daemon": {"uptime_seconds": 100 + 2 * at}}
            slices = [{**SLICE, "id": s, "tenant": "t" + s[2:], "mode": "timeslice",
                       "gpu_index": int(on[s][0] == "MIG-a"), "gpu_uuid": on[s][0],
                       "profile": "3g.40gb" if on[s][0] == "MIG-a" else None,
                       "compute_permille": on[s][1], "memory_used_bytes": 1 << 20,
                       "memory_wall": "none", "compute_wall": "none", "pids": [7, 8],
                       "busy_seconds": times[0], "wait_seconds": times[1]}
                      for s, times in looks[at].items()]
            return 200, {"kind": "SliceList", "slices": slices}

        self.daemon.answer = answer

    LOOKS = [{"s-1": (5, 1), "s-2": (5, 1), "s-4": (9, 0)},
             {"s-1": (5.4, 2), "s-2": (6.2, 1.5), "s-3": (0.1, 0), "s-4": (10, 0)},
             {"s-1": (6.4, 2), "s-2": (6.2, 1.5), "s-3": (1.1, 1), "s-4": (10, 0)}]

    def test_top_once(self):
        self.node(self.LOOKS)
        code, out, err = self.divvy("top", "--once", "--interval", "100ms")
        self.assertEqual((code, err), (0, ""))
        rows = [" ".join(line.split()) for line in out.splitlines()]
        # 0.4 s of a quarter and 1.2 s of a half: 1.6 and 2.4 a share, (4.0^2) / (2 x 8.32) = 0.962
        self.assertEqual(rows, [
            "GPU MODEL MODE HEALTH USED MEMORY BUSY SLICES FAIR",
            "0 A100 timeslice ok 5.00 GiB 80.0 GiB 80% 3 0.962",
            "1 A100 mig degraded - 80.0 GiB 21.5% 1 -",
            "",
            "GPU DEVICE AT MODE USED MEMORY BUSY SLICES FAIR",
            "1 3g.40gb 4 exclusive 1.00 MiB 40.0 GiB 50% 1 -",
            "",
            "SLICE TENANT GPU MODE DEVICE COMPUTE WALL USED MEMORY WALL BUSY WAITS PIDS",
            "s-2 t2 0 timeslice - 50% none 1.00 MiB 1.00 GiB none 60% 25% 7 8",
            "s-4 t4 1 timeslice 3g.40gb 42.9% none 1.00 MiB 1.00 GiB none 50% 0% 7 8",
            "s-1 t1 0 timeslice - 25% none 1.00 MiB 1.00 GiB none 20% 50% 7 8",
            "s-3 t3 0 timeslice - 25% none 1.00 MiB 1.00 GiB none - - 7 8",
            ""])

    def test_top_as_lines_and_rows(self):
        self.node(self.LOOKS)
        code, out, _ = self.divvy("top", "--count", "2", "-n", "100ms", "-o", "json")
        first, second = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((code, first["kind"], first["interval_seconds"]), (0, "TopSample", 2))
        self.assertEqual([(s["id"], s["busy_permille"]) for s in second["slices"]],
                         [("s-1", 500), ("s-3", 500), ("s-2", 0), ("s-4", 0)])
        self.assertEqual(second["gpus"][0]["fairness"], 1.0)
        self.node(self.LOOKS)
        out = self.divvy("top", "--count", "2", "-n", "100ms", "-o", "csv")[1].splitlines()
        self.assertEqual(len(out), 1 + 4 + 4)
        self.assertTrue(out[0].startswith("time_unix,interval_seconds,gpu_index,gpu_uuid,slice,"))
        self.assertEqual(out[1].split(",")[1:8],
                         ["2.000000000", "0", "GPU-0", "s-2", "t2", "timeslice", ""])

    def test_top_after_a_restart_of_the_daemon(self):
        self.node([self.LOOKS[1], {"s-1": (0.5, 0)}])
        out = json.loads(self.divvy("top", "--once", "-n", "100ms", "-o", "json")[1])
        self.assertIsNone(out["slices"][0]["busy_permille"])

    def test_top_on_a_terminal(self):
        self.node(self.LOOKS)
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.update(DIVVY_SOCKET=self.socket, NO_COLOR="1")
            os.execv(DIVVY, [DIVVY, "top", "--interval", "100ms"])
        seen = b""
        try:
            while seen.count(b"\x1b[J") < 3:  # three pictures
                seen += os.read(terminal, 4096)
            os.write(terminal, b"\x03")
            while True:
                try:
                    more = os.read(terminal, 4096)
                except OSError:  # EIO: the other end is gone
                    break
                if not more:
                    break
                seen += more
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        finally:
            os.close(terminal)
        self.assertEqual(status, 0)
        self.assertTrue(seen.startswith(b"\x1b[?25l\x1b[?7l\x1b[H"))
        self.assertIn(b"\x1b[?7h\x1b[?25h", seen[-20:])
        self.assertIn(b"SLICE  TENANT", seen)

    def test_top_without_a_daemon_or_with_nonsense(self):
        self.assertEqual(self.divvy("top", "--socket", "/nonexistent/s")[0], 5)
        code, out, err = self.divvy("top")
        self.assertEqual((code, out, err), (1, "", "divvy top: that was no answer of divvyd\n"))

    def test_numbers_stay_exact(self):
        text = b'{"apiVersion":"divvy/v1","kind":"Usage","tenants":[{"tenant":"a",' \
               b'"busy_seconds":1.000000001,"wait_seconds":0.000000000,' \
               b'"reserved_seconds":12345678.123456789,"memory_byte_seconds":9007199254740993}]}'
        self.answers["GET"] = (200, text)
        self.assertEqual(self.divvy("usage", "-o", "json")[1].encode().strip(), text)

    def test_kill_and_limit(self):
        self.answers["POST"] = (200, {"kind": "Slice"})
        self.assertEqual(self.divvy("kill", "--signal", "KILL", "s/1")[0], 0)
        self.assertEqual(self.daemon.requests[0], ("POST", "/v1/slices/s%2F1/kill", {"signal": 9}))
        self.assertEqual(self.divvy("limit", "s-1", "--memory", "2GiB", "--compute", "1/7")[0], 0)
        self.assertEqual(self.daemon.requests[1], ("POST", "/v1/slices/s-1/limit",
                                                   {"memory_bytes": 2 << 30, "compute": 1000}))
        self.answers["POST"] = (403, error("not yours", 4))
        self.assertEqual(self.divvy("kill", "s-1")[0], 4)
        self.answers["POST"] = (404, error("no slice s-1", 1))
        self.assertEqual(self.divvy("kill", "s-1")[0], 1)

    def test_explain(self):
        self.answers["GET"] = (200, {"kind": "Explanation", "subject": "c-7", "lines": ["a", "b"]})
        self.assertEqual(self.divvy("explain", "c-7"), (0, "a\nb\n", ""))
        self.divvy("explain", "c-level")
        self.assertEqual([r[1] for r in self.daemon.requests],
                         ["/v1/explain?id=c-7", "/v1/explain?tenant=c-level"])

    def test_explain_where_the_time_went(self):
        self.answers["GET"] = (200, {
            "kind": "Explanation", "subject": "ann", "lines": ["x"], "since_unix": 1800000000,
            "held_seconds": 12.0, "queued_seconds": 90.0,
            "time": [{"what": "running", "holder": None, "seconds": 6.0, "permille": 500},
                     {"what": "waiting", "holder": "bob", "seconds": 4.5, "permille": 375},
                     {"what": "waiting", "holder": "(nobody)", "seconds": 0.5, "permille": 42},
                     {"what": "overhead", "holder": None, "seconds": 0.012, "permille": 1},
                     {"what": "idle", "holder": None, "seconds": 0.988, "permille": 82}],
            "queue": [{"holder": "cyd\x1b[2J", "seconds": 90.0, "permille": 1000}]})
        code, out, err = self.divvy("explain", "ann")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(out, """x

12.0s held in slices since 2027-01-15 08:00:00 UTC:
  TIME      FOR        SPENT  SHARE
  running   -          6.00s    50%
  waiting   bob        4.50s  37.5%
  waiting   (nobody)   500ms   4.2%
  overhead  -         12.0ms   0.1%
  idle      -          988ms   8.2%

1m 30s in the queue since 2027-01-15 08:00:00 UTC:
  QUEUED FOR  WAITED  SHARE
  cyd\\x1b[2J  1m 30s   100%
""")

    # -- baseline

    KEPT = {"apiVersion": "divvy/v1", "kind": "Baseline", "tenant": "ann", "name": "sh",
            "command": "sh -c true", "model": "A100", "profile": None, "mode": "governed",
            "memory_bytes": 1 << 30, "compute_permille": 250, "recorded_unix": 1800000000,
            "launches": 119, "wall_seconds": 10.0, "busy_seconds": 1.2, "wait_seconds": 0.0,
            "launches_per_second": 11.9, "gpu_ms_per_launch": 10.2}

    def keeping(self, status=200, answer=None):
        self.daemon.answer = lambda r: (status, answer or self.KEPT) if r[1] == "/v1/baselines" \
            else (200, GRANTED)

    def test_baseline(self):
        self.keeping()
        code, out, err = self.divvy("baseline", "--memory", "1GiB", "--compute", "25%", "--tenant",
                                    "ann", "--", "sh", "-c", "echo out; echo $DIVVY_SLICE")
        self.assertEqual((code, out), (0, "out\ns-1\n"))
        self.assertEqual(err, "divvy baseline: kept as 'sh' of tenant ann: 11.9 launches a second, "
                              "10.2 ms of GPU each, over 10.0s\n")
        self.assertEqual([r[:2] for r in self.daemon.requests],
                         [("POST", "/v1/claims"), ("POST", "/v1/baselines"),
                          ("DELETE", "/v1/claims/c-1")])
        self.assertEqual(self.daemon.requests[0][2], {
            "tenant": "ann", "memory_bytes": 1 << 30, "compute": 1750, "wait": True, "alone": True,
            "command": "sh -c echo out; echo $DIVVY_SLICE"})
        self.assertEqual(self.daemon.requests[1][2], {"claim": "c-1"})
        self.divvy("baseline", "--name", "serve", "--", "list")
        self.divvy("baseline", "--name", "serve", "true")
        self.assertEqual(self.daemon.requests[-2][2], {"claim": "c-1", "name": "serve"})

    def test_baseline_that_is_not_kept(self):
        self.keeping(409, error("the command launched nothing on the GPU", 1))
        code, _, err = self.divvy("baseline", "true")
        self.assertEqual((code, err),
                         (125, "divvy baseline: the command launched nothing on the GPU\n"))
        self.assertEqual(self.methods()[-1], "DELETE")
        code, _, err = self.divvy("baseline", "sh", "-c", "exit 7")
        self.assertEqual((code, err),
                         (7, "divvy baseline: the command failed (7), so nothing is kept\n"))
        self.assertEqual([r[1] for r in self.daemon.requests].count("/v1/baselines"), 1)
        self.keeping()
        self.assertEqual(self.divvy("baseline", "sh", "-c", "kill $$")[0], 128 + signal.SIGTERM)
        self.assertEqual([r[1] for r in self.daemon.requests].count("/v1/baselines"), 2)
        self.assertEqual(self.divvy("baseline", "/nonexistent/x")[0], 127)
        self.assertEqual(self.divvy("baseline", "--socket", "/nonexistent/s", "true")[0], 125)
        self.assertEqual(self.divvy("baseline")[0], 2)

    def test_baselines(self):
        self.answers["GET"] = (200, {"kind": "BaselineList", "baselines": [self.KEPT]})
        code, out, _ = self.divvy("baseline", "list", "--tenant", "a/b")
        self.assertEqual((code, [" ".join(line.split()) for line in out.splitlines()]), (0, [
            "TENANT NAME LAUNCHES/S GPU EACH OVER MODE COMPUTE MEMORY GPU COMMAND",
            "ann sh 11.9 10.2 ms 10.0s governed 25% 1.00 GiB A100 sh -c true"]))
        self.assertEqual(self.divvy("baseline", "show", "s h", "-o", "csv")[0], 0)
        self.divvy("baseline", "rm", "--tenant", "ann", "sh")
        self.divvy("baseline", "rm", "sh")
        self.assertEqual([r[:2] for r in self.daemon.requests], [
            ("GET", "/v1/baselines?tenant=a%2Fb"), ("GET", "/v1/baselines?name=s%20h"),
            ("DELETE", "/v1/baselines?tenant=ann&name=sh"), ("DELETE", "/v1/baselines?name=sh")])
        self.answers["GET"] = (200, {"kind": "BaselineList", "baselines": []})
        self.assertEqual(self.divvy("baseline", "list")[1], "there are no baselines\n")
        self.assertEqual(self.divvy("baseline", "show", "x"),
                         (1, "", "divvy baseline show: there is no baseline 'x'\n"))

    def test_doctor(self):
        found = [{"severity": "note", "subject": "s", "problem": "p", "cause": None, "remedy": None}]
        self.answers["GET"] = (200, {"kind": "Diagnosis", "findings": found})
        libdir = os.path.join(self.directory, "lib")
        os.makedirs(os.path.join(libdir, "standin"))
        with open(os.path.join(libdir, "standin", "libcuda.so.1"), "w"):
            pass
        self.assertEqual(self.divvy("doctor", env={"DIVVY_LIBDIR": libdir})[0], 0)
        found[0]["severity"] = "warning"
        self.assertEqual(self.divvy("doctor", env={"DIVVY_LIBDIR": libdir})[0], 3)

    def test_unavailable_hardware(self):
        self.answers["GET"] = (503, error("the driver does not answer", 5))
        self.assertEqual(self.divvy("status"), (5, "", "divvy status: the driver does not answer\n"))


if __name__ == "__main__":
    unittest.main()
