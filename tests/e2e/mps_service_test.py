# SPDX-License-Identifier: Apache-2.0
"""MPS looked after by divvyd: daemons come and go with their tenants, what fails is seen, said and
made good, and who was taken down is named; others never notice."""
import json
import os
import shutil
import signal
import subprocess
import unittest

import harness
from harness import GIB
from layout_crash_test import helper_of
from layout_test import LayoutCase, layout

OTHER_USER = 65534


class MpsCase(LayoutCase):
    def pipes(self, name="g0"):
        return os.path.join(self.node.state, "mps", name, "pipe")

    def control_pid(self, name="g0"):
        """None: there is no such process."""
        path = os.path.join(self.pipes(name), "nvidia-cuda-mps-control.pid")
        try:
            with open(path, encoding="utf-8") as f:
                pid = int(f.read())
            with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                return None if f.read().rpartition(")")[2].split()[0] == "Z" else pid
        except (OSError, ValueError):
            return None

    def control(self, command, name="g0"):
        env = {**self.node.sim_env(), "CUDA_MPS_PIPE_DIRECTORY": self.pipes(name)}
        done = subprocess.run(["nvidia-cuda-mps-control"], env=env, input=command + "\n", text=True,
                              capture_output=True, timeout=harness.PATIENCE, check=False)
        return done.stdout if done.returncode == 0 else ""

    def server_pid(self, name="g0"):
        return int(harness.wait_for(lambda: self.control("get_server_list", name), "a server"))

    def wait_log(self, text):
        harness.wait_for(lambda: text in self.node.log(), f"the log says '{text}'")

    def tenant(self, name, *args, gib=1):
        """One that holds memory in an MPS slice: its run and slice."""
        return self.hold("--tenant", name, "--mode", "mps", "--memory", "4GiB", *args, gib=gib)

    def is_client(self, held, name="g0"):
        pids = {str(p) for p in held["pids"]}
        server = self.control("get_server_list", name).strip()
        return bool(pids & set(self.control(f"get_client_list {server}", name).split()))

    def seen_clients(self, *helds, name="g0"):
        """They are clients of the server, and divvyd has had time to look."""
        harness.wait_for(lambda: all(self.is_client(h, name) for h in helds), "they are clients")
        self.a_while(4)  # divvyd has looked at them

    def a_while(self, seconds):
        """So long by divvyd's own clock."""
        first = self.uptime()
        harness.wait_for(lambda: self.uptime() > first + seconds, "a while goes by")

    def uptime(self):
        return self.node.json("status")["daemon"]["uptime_seconds"]

    def fault(self):
        """What the doctor says of the last failure."""
        def found():
            out = self.node.divvy("doctor", "-o", "json")
            return next((f for f in json.loads(out.stdout)["findings"] if f["code"] == "mps_fault"),
                        None)
        finding = harness.wait_for(found, "the doctor knows of the failure")
        self.assertTrue(finding["remedy"])
        return finding["cause"]

    def end(self, run):
        run.terminate()
        run.wait(harness.PATIENCE)

    def named(self, cause, *helds, nobody=()):
        for held in helds:
            self.assertIn(f"{held['id']} of {held['tenant']}", cause)
            lines = self.node.json("explain", held["tenant"])["lines"]
            self.assertTrue(any("taken down" in line for line in lines), lines)
        for held in nobody:
            self.assertNotIn(held["tenant"], cause)
            lines = self.node.json("explain", held["tenant"])["lines"]
            self.assertFalse(any("taken down" in line for line in lines), lines)
        if not helds:
            self.assertIn("nobody", cause)

    def takes_tenants(self, name="zoe", *args):
        run, held = self.tenant(name, *args)
        self.end(run)
        return held


class Life(MpsCase):
    SIM = "a100"

    def test_first_and_last(self):
        """An auto device has its daemon as long as anybody shares it so."""
        self.assertIsNone(self.control_pid())
        ann, a = self.tenant("ann")
        self.assertIn("reason=preparing", self.node.log())
        control = self.control_pid()
        self.assertTrue(control)
        bob, _ = self.tenant("bob")
        self.end(ann)
        self.assertEqual(self.control_pid(), control)
        self.end(bob)
        harness.wait_for(lambda: self.control_pid() is None, "the daemon has ended")
        self.wait_log("mps.down")
        self.assertEqual(os.listdir(self.pipes()), [])
        harness.wait_for(lambda: not self.node.sim_stats()["processes"], "no process is left")
        self.assertFalse(self.node.json("layout", "show")["gpus"][0]["devices"][0]["mps_up"])
        self.assertEqual(a["mode"], "mps")

    def test_a_layout_keeps_it(self):
        self.apply_and_settle(layout("{gpu: 0, mode: mps, replicas: 4}"))
        control = self.control_pid()
        self.assertTrue(control)
        self.assertEqual(self.control("get_default_active_thread_percentage"), "25.0\n")
        self.takes_tenants()
        harness.wait_for(lambda: not self.node.slices(), "the tenant has left")
        self.a_while(2)
        self.assertEqual(self.control_pid(), control)

    def test_limits_that_were_lost_on_the_way(self):
        """The process that talks to the daemon dies with the question: it is asked again."""
        self.apply_and_settle(layout("{gpu: 0, mode: mps, replicas: 4}"))
        for replicas, percent in ((2, "50.0\n"), (4, "25.0\n")):
            control = self.control_pid()
            os.kill(control, signal.SIGSTOP)
            self.apply(layout(f"{{gpu: 0, mode: mps, replicas: {replicas}}}"))
            self.a_while(1.2)  # by now the daemon is being asked, for two seconds
            os.kill(helper_of(self.node, "divvyd-mps"), signal.SIGKILL)
            os.kill(control, signal.SIGCONT)
            harness.wait_for(
                lambda: self.control("get_default_active_thread_percentage") == percent,
                f"it has the limits of {replicas}")
            self.assertEqual(self.control_pid(), control)

    def test_restarts(self):
        ann, a = self.tenant("ann")
        control = self.control_pid()
        for how in (signal.SIGKILL, signal.SIGTERM):
            self.node.stop(how)
            self.assertIsNone(ann.poll())
            self.assertEqual(self.control_pid(), control)
            self.start()
            harness.wait_for(lambda: self.gpu(0)["devices"][0]["mps_up"], "it is taken over")
            self.assertEqual(self.control_pid(), control)
            self.unhurt(ann, a)
        # Health goes on: the daemon that was taken over is looked after.
        os.kill(control, signal.SIGKILL)
        harness.wait_for(lambda: self.control_pid() not in (None, control), "there is a new one")
        self.unhurt(ann, a)
        self.node.stop(signal.SIGKILL)
        self.end(ann)
        self.start()
        harness.wait_for(lambda: self.control_pid() is None, "nobody wants the daemon any more")

    def test_limits_for_new_processes(self):
        _, a = self.tenant("ann", "--compute", "20%")
        out = self.node.divvy("limit", a["id"], "--memory", "6GiB", "--compute", "30%")
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertIn("processes that start from now on", out.stdout + out.stderr)


class Failures(MpsCase):
    SIM = "dgx-a100"

    def setUp(self):
        super().setUp()
        self.apply_and_settle(layout("{gpu: 0, mode: mps}", "{gpu: 1, mode: mps}",
                                     "{gpu: 2, mode: governed}"))
        self.ann, self.a = self.tenant("ann", "--gpu", "0")
        self.bob, self.b = self.tenant("bob", "--gpu", "0")
        self.eve, self.e = self.tenant("eve", "--gpu", "1")
        self.gus, self.g = self.hold("--tenant", "gus", "--gpu", "2", "--mode", "governed",
                                     "--memory", "4GiB", "--compute", "20%")
        self.seen_clients(self.a, self.b)
        self.seen_clients(self.e, name="g1")

    def others_are_unhurt(self):
        self.unhurt(self.eve, self.e)
        self.unhurt(self.gus, self.g)

    def test_control_daemon_killed(self):
        control = self.control_pid()
        os.kill(control, signal.SIGKILL)
        self.wait_log("mps.fault")
        harness.wait_for(lambda: self.control_pid() not in (None, control), "there is a new one")
        cause = self.fault()
        self.assertIn("control daemon has ended", cause)
        self.named(cause, nobody=(self.a, self.b, self.e, self.g))
        self.unhurt(self.ann, self.a)
        self.takes_tenants("zoe", "--gpu", "0")
        self.others_are_unhurt()
        # Their server is another than the new daemon's; that it ends is seen too.
        self.assertEqual([f for f in json.loads(self.node.divvy("doctor", "-o", "json").stdout)
                          ["findings"] if f["code"] == "audit"], [])

    def test_control_daemon_stopped(self):
        control = self.control_pid()
        os.kill(control, signal.SIGSTOP)

        def sampled():
            """Facts go on while it does not answer: memory that is taken now is seen now."""
            run, held = self.hold("--tenant", "new", "--gpu", "2", "--mode", "governed", "--memory",
                                  "8GiB", "--compute", "10%", gib=5)
            harness.wait_for(lambda: self.node.json("status")["gpus"][2]["memory_used_bytes"] >
                             6 * GIB, "the sample has it")
            self.end(run)
            return held
        sampled()
        self.wait_log("mps.fault")
        harness.wait_for(lambda: self.control_pid() not in (None, control), "there is a new one")
        cause = self.fault()
        self.assertIn("did not answer", cause)
        self.named(cause, nobody=(self.a, self.b, self.e, self.g))
        self.unhurt(self.ann, self.a)
        self.takes_tenants("zoe", "--gpu", "0")
        self.others_are_unhurt()

    def test_server_killed(self):
        control = self.control_pid()
        os.kill(self.server_pid(), signal.SIGKILL)
        self.wait_log("mps.fault")
        cause = self.fault()
        self.assertIn("server has ended", cause)
        self.named(cause, self.a, self.b, nobody=(self.e, self.g))
        self.assertEqual(self.control_pid(), control)
        self.takes_tenants("zoe", "--gpu", "0")
        self.others_are_unhurt()

    def test_fatal_fault(self):
        """divvy-load alloc --hold does not look at the GPU again: the victims stay where they are,
        and new tenants get in all the same."""
        pid = self.a["pids"][0]
        out = self.node.divvy_sim("inject", "--socket", self.node.sim_socket(), "--fault", str(pid))
        self.assertEqual(out.returncode, 0, out.stderr)
        self.wait_log("mps.fault")
        cause = self.fault()
        self.assertIn("fatal fault", cause)
        self.named(cause, self.a, self.b, nobody=(self.e, self.g))
        self.takes_tenants("zoe", "--gpu", "0")
        self.others_are_unhurt()

    def victims_that_end_at_once(self, look):
        self.end(self.ann)
        self.end(self.bob)
        self.a_while(4)  # longer than one that has left may still have been taken down
        spins = {n: self.node.start_run("--tenant", n, "--gpu", "0", "--mode", "mps", "--memory",
                                        "4GiB", "--", harness.program("divvy-load"), "spin",
                                        "--seconds", "600") for n in ("cat", "dan")}
        held = harness.wait_for(lambda: (lambda h: h if {"cat", "dan"} <= h.keys() and all(
            h[n]["pids"] for n in ("cat", "dan")) else None)(
                {s["tenant"]: s for s in self.node.slices()}), "they run")
        look(held["cat"], held["dan"])
        self.node.divvy_sim("inject", "--socket", self.node.sim_socket(), "--fault",
                            str(held["cat"]["pids"][0]))
        for run in spins.values():
            self.assertNotEqual(run.wait(harness.PATIENCE), 0)
        self.named(self.fault(), held["cat"], held["dan"], nobody=(self.e, self.g))
        self.takes_tenants("zoe", "--gpu", "0")

    def test_fault_whose_victims_end_at_once(self):
        """Processes that work find out and end before the server is looked at."""
        self.victims_that_end_at_once(self.seen_clients)

    def test_fault_whose_victims_were_never_seen(self):
        """They have come since the last look at the server, and ended before the next."""
        self.victims_that_end_at_once(lambda *helds: harness.wait_for(
            lambda: all(self.is_client(h) for h in helds), "they are clients"))


class Nested(MpsCase):
    SIM = "a100"

    def test_devices_of_one_card(self):
        """Two MIG devices with a daemon each, beside a governed and an exclusive one."""
        answer = self.apply_and_settle(layout(
            "{gpu: 0, mig: [{profile: 2g.20gb, mode: mps}, {profile: 2g.20gb, mode: mps, replicas: 2},"
            " {profile: 1g.10gb, mode: governed}, {profile: 1g.10gb, mode: exclusive}]}"))
        devices = answer["gpus"][0]["devices"]
        self.assertEqual(sum(d["mps_up"] for d in devices), 2)
        mps = [d["uuid"] for d in devices if d["mps_up"]]
        ann, a = self.hold("--tenant", "ann", "--gpu", mps[0], "--mode", "mps", "--memory", "3GiB")
        bob, b = self.hold("--tenant", "bob", "--gpu", mps[1], "--mode", "mps")
        gus, g = self.hold("--tenant", "gus", "--mode", "governed", "--memory", "2GiB")
        eve, e = self.hold("--tenant", "eve", "--mode", "exclusive")
        # Nothing makes a process of a MIG device go through MPS.
        self.assertEqual({b["memory_wall"], b["compute_wall"]}, {"cooperative"})
        self.a_while(4)  # divvyd has looked at them
        self.node.divvy_sim("inject", "--socket", self.node.sim_socket(), "--fault",
                            str(a["pids"][0]))
        self.wait_log("mps.fault")
        self.named(self.fault(), a, nobody=(b, g, e))
        for run, held in ((bob, b), (gus, g), (eve, e)):
            self.unhurt(run, held)
        self.end(ann)
        run, _ = self.hold("--tenant", "zoe", "--gpu", mps[0], "--mode", "mps", "--memory", "3GiB")
        self.end(run)


class ClientLimit(MpsCase):
    SIM = "a100"

    def setUp(self):
        directory = self.enterContext(harness.tempfile.TemporaryDirectory())
        self.SIM = os.path.join(directory, "node.yaml")
        with open(self.SIM, "w", encoding="utf-8") as f:
            f.write("apiVersion: divvy/v1\nkind: SimNode\nmps_clients: 2\n"
                    "gpus:\n  - {model: A100-80GB}\n")
        super().setUp()

    def test_full(self):
        ann, a = self.tenant("ann")
        _, b = self.tenant("bob")
        self.seen_clients(a, b)
        self.wait_log("mps.limit")
        zoe = self.node.start_run("--tenant", "zoe", "--mode", "mps", "--memory", "4GiB", "--",
                                  harness.program("divvy-load"), "alloc", "--bytes", "1GiB",
                                  "--hold", "1")
        reason = harness.wait_for(lambda: next((c["verdict"]["reason"] for c in
                                                self.node.json("queue")["claims"]), None), "it waits")
        self.assertEqual(reason, "full")
        self.end(ann)
        self.assertEqual(zoe.wait(harness.PATIENCE), 0)


class CannotStart(MpsCase):
    SIM = "a100"

    def refused(self, *args):
        out = self.node.divvy("run", "--tenant", "ann", "--mode", "mps", "--memory", "4GiB", *args,
                              "--", "true", timeout=harness.PATIENCE)
        self.assertEqual(out.returncode, 125, out.stderr)
        return out.stderr

    def all_are_refused(self, why):
        self.assertIn(why, self.refused())
        self.assertIn(why, self.refused("--no-wait"))
        status, answer = self.apply(layout("{gpu: 0, mode: mps}"))
        self.assertIn(status, (200, 202), answer)
        answer = self.settled("failed")
        self.assertIn(why, json.dumps(answer))
        self.assertEqual(answer["gpus"][0]["devices"][0]["layout_mode"], "auto")
        # Who wants something else is not kept waiting.
        run, _ = self.hold("--tenant", "gus", "--mode", "governed", "--memory", "4GiB")
        self.end(run)

    def test_folder_in_the_way(self):
        os.makedirs(os.path.join(self.node.state, "mps"), exist_ok=True)
        with open(os.path.join(self.node.state, "mps", "g0"), "w", encoding="utf-8"):
            pass
        self.all_are_refused("cannot make the folders of the MPS daemon")
        os.unlink(os.path.join(self.node.state, "mps", "g0"))
        self.a_while(0.5)  # whoever comes in the same moment shares the bad news
        self.takes_tenants()

    def test_no_control_daemon(self):
        """A driver without MPS: an installation whose nvidia-cuda-mps-control is not there."""
        copy = os.path.join(self.node.directory, "installed")
        for part in ("bin", os.path.relpath(harness.LIBDIR, os.path.dirname(harness.BIN))):
            shutil.copytree(os.path.join(os.path.dirname(harness.BIN), part),
                            os.path.join(copy, part), symlinks=True)
        libraries = os.path.join(copy, os.path.relpath(harness.LIBDIR, os.path.dirname(harness.BIN)))
        self.node.daemon_env["DIVVY_LIBDIR"] = libraries
        for root, _, files in os.walk(copy):
            if "nvidia-cuda-mps-control" in files:
                os.unlink(os.path.join(root, "nvidia-cuda-mps-control"))
        self.node.stop()
        self.addCleanup(setattr, harness, "BIN", harness.BIN)
        harness.BIN = os.path.join(copy, "bin")
        self.start()
        self.all_are_refused("nvidia-cuda-mps-control")

    @unittest.skipUnless(os.geteuid() == 0, "an ordinary user has no exclusive mode to leave behind")
    def test_nobody_can_come_in(self):
        """It starts, with the card for itself, and a first client fails: nothing of it is left."""
        smi = os.path.join(harness.LIBDIR, "sim", "bin", "nvidia-smi")

        def mode():
            return subprocess.run([smi, "--query-gpu=compute_mode", "--format=csv,noheader"],
                                  env=self.node.sim_env(), text=True, capture_output=True,
                                  timeout=harness.PATIENCE, check=True).stdout.strip()
        outside = subprocess.Popen([harness.program("divvy-load"), "alloc", "--bytes", "1GiB",
                                    "--hold", "600"], env=self.node.sim_env(),
                                   stdout=subprocess.DEVNULL)
        self.node.children.append(outside)
        harness.wait_for(lambda: self.node.sim_stats()["processes"], "somebody has the card")
        self.apply(layout("{gpu: 0, mode: mps}"))
        harness.wait_for(lambda: mode() == "Exclusive_Process", "it has the card for itself")
        self.settled("failed")
        harness.wait_for(lambda: mode() == "Default", "the compute mode is as it was")
        harness.wait_for(lambda: self.control_pid() is None, "the daemon has ended")
        outside.kill()
        outside.wait()
        self.takes_tenants()

    def test_long_path(self):
        self.node.stop()
        self.node.state = os.path.join(self.node.directory, "s" * 80)
        self.start()
        self.all_are_refused("is too long for MPS")


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs root and setpriv")
class Users(MpsCase):
    SIM = "a100"

    def test_two_users(self):
        for path in (harness.BIN, harness.LIBDIR):
            if subprocess.run(["setpriv", "--reuid", str(OTHER_USER), "--clear-groups", "test", "-r",
                               path], check=False).returncode:
                self.skipTest(f"another user cannot read {path}")
        os.chmod(self.node.socket, 0o666)
        mine, m = self.tenant("ann")
        other = subprocess.Popen(
            ["setpriv", "--reuid", str(OTHER_USER), "--regid", str(OTHER_USER), "--clear-groups",
             harness.program("divvy"), "run", "--mode", "mps", "--memory", "4GiB", "--",
             harness.program("divvy-load"), "alloc", "--bytes", "1GiB", "--hold", "300"],
            env=self.node.env(), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        self.node.children.append(other)

        def both():
            if other.poll() is not None:
                raise AssertionError(other.stderr.read())
            return len(self.control("get_client_list " + str(self.server_pid())).split()) == 2
        harness.wait_for(both, "both are clients of one server")
        self.unhurt(mine, m)


if __name__ == "__main__":
    unittest.main()
