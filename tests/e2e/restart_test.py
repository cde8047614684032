# SPDX-License-Identifier: Apache-2.0
"""The daemon comes and goes; slices, caps and running work stay."""
import json
import os
import signal
import subprocess
import sys
import time
import unittest

import harness
from harness import GIB
from layout_crash_test import worker_of

FIRST = "nvmlDeviceGetCount_v2"  # of the calls that a worker's first answer takes


class Restart(unittest.TestCase):
    """The GPUs must outlive the daemon, as real ones do: a simulator of its own."""

    def setUp(self):
        self.node = harness.Node("a100")
        self.sim_socket = os.path.join(self.node.directory, "sim.sock")
        self.sim = subprocess.Popen([harness.program("divvy-sim"), "start", "a100", "--foreground",
                                     "--socket", self.sim_socket], env=harness.clean_env(),
                                    stdin=subprocess.DEVNULL)
        harness.wait_for(lambda: os.path.exists(self.sim_socket), "the simulator listens")
        self.node.sim = "unix:" + self.sim_socket

    def tearDown(self):
        self.node.__exit__(None, None, None)
        self.sim.terminate()
        self.sim.wait(harness.PATIENCE)

    def test_a_claim_waits_for_a_daemon_that_has_just_started(self):
        """`systemctl restart divvyd; divvy run ...`: the API answers before the driver has."""
        out = self.node.divvy_sim("inject", "--socket", self.sim_socket, "--nvml-hang",
                                  "nvmlDeviceGetMemoryInfo_v2=20000:1")
        self.assertEqual(out.returncode, 0, out.stderr)
        self.node.daemon = self.node.spawn_daemon("--nvml-timeout", "10m")
        harness.wait_for(lambda: self.node.divvy("status").returncode == 0, "the API answers")
        self.assertIn(self.node.json("status")["driver"]["state"], ("starting", "ok"))
        status, answer = self.node.ask("POST", "/v1/claims", {"memory_bytes": GIB})
        self.assertEqual((status, answer["reason"], answer["exit_code"]), (503, "starting", 5), answer)
        stopped = self.node.start_run("--memory", "1GiB", "--", "true")
        waits = "the daemon has just started: waiting until it knows its GPUs"
        self.assertIn(waits, stopped.stderr.readline())
        stopped.send_signal(signal.SIGTERM)
        self.assertEqual(stopped.wait(harness.PATIENCE), 128 + signal.SIGTERM)
        run = self.node.divvy("run", "--memory", "1GiB", "--wait-timeout", "1ms", "--", "true")
        self.assertEqual(run.returncode, 124, run.stderr)
        run = self.node.start_run("--memory", "1GiB", "--", "true")
        self.assertIn(waits, run.stderr.readline())
        _, err = run.communicate(timeout=harness.PATIENCE)
        self.assertEqual(run.returncode, 0, err)

    def inject(self, *args):
        out = self.node.divvy_sim("inject", "--socket", self.sim_socket, *args)
        self.assertEqual(out.returncode, 0, out.stderr)

    def kill_worker(self):
        pid = harness.wait_for(lambda: worker_of(self.node), "there is a worker")
        os.kill(pid, signal.SIGKILL)
        harness.wait_for(lambda: worker_of(self.node) not in (pid, None), "the next one comes")

    def check_worker_dies(self, function):
        """What asks the driver dies before it knows the GPUs, and so does the next one."""
        self.inject("--nvml-hang", function + "=0")
        self.node.daemon = self.node.spawn_daemon("--nvml-timeout", "10m")
        harness.wait_for(lambda: self.node.divvy("status").returncode == 0, "the API answers")
        if function != FIRST:
            harness.wait_for(lambda: self.node.json("status")["driver"]["state"] == "ok", "it answers")
        self.inject("--nvml-hang", FIRST + "=0")  # the next worker does not answer anything
        self.kill_worker()
        self.assertEqual(self.node.json("status")["driver"]["state"], "starting")
        status, answer = self.node.ask("POST", "/v1/claims", {"memory_bytes": GIB})
        self.assertEqual((status, answer["reason"], answer["exit_code"]), (503, "starting", 5), answer)
        self.assertIn("no GPU is known: the process that talks to the driver died", answer["message"])
        run = self.node.start_run("--memory", "1GiB", "--", "true")
        self.assertIn("the daemon has just started: waiting until it knows its GPUs",
                      run.stderr.readline())
        self.inject("--clear")
        self.kill_worker()
        _, err = run.communicate(timeout=harness.PATIENCE)
        self.assertEqual((run.returncode, err), (0, ""))

    def test_who_waits_goes_on_waiting(self):
        """A daemon that starts anew knows its claims when it knows its GPUs, and answers before."""
        self.node.start()
        first = self.node.start_run("--memory", "70GiB", "--compute", "50%", "--", "sleep", "600")
        harness.wait_for(self.node.slices, "the slice")
        second = self.node.start_run("--memory", "20GiB", "--compute", "50%", "--", "true")
        claim, = harness.wait_for(lambda: self.node.json("queue")["claims"], "the other waits")
        self.node.stop()
        self.inject("--nvml-hang", FIRST + "=0")
        self.node.daemon = self.node.spawn_daemon("--nvml-timeout", "10m")
        harness.wait_for(lambda: self.node.divvy("status").returncode == 0, "the API answers")
        status, answer = self.node.ask("GET", "/v1/claims/" + claim["id"])
        self.assertEqual((status, answer["reason"], answer["exit_code"]), (503, "starting", 5), answer)
        time.sleep(2)  # it asks once a second
        self.assertIsNone(second.poll())
        self.inject("--clear")
        self.kill_worker()
        self.assertEqual([c["id"] for c in harness.wait_for(
            lambda: self.node.json("queue")["claims"], "it waits as before")], [claim["id"]])
        first.terminate()
        _, err = second.communicate(timeout=harness.PATIENCE)
        self.assertEqual(second.returncode, 0, err)

    def test_the_worker_dies_before_the_driver_answers(self):
        self.check_worker_dies(FIRST)

    def test_the_worker_dies_before_a_gpu_answers(self):
        self.check_worker_dies("nvmlDeviceGetMemoryInfo_v2")

    def test_a_driver_that_hangs_is_not_waited_for(self):
        for function in (FIRST, "nvmlDeviceGetMemoryInfo_v2"):
            self.inject("--nvml-hang", function + "=0")
            self.node.daemon = self.node.spawn_daemon("--nvml-timeout", "100ms")
            harness.wait_for(lambda: self.node.divvy("status").returncode == 0, "the API answers")

            def claim():
                status, answer = self.node.ask("POST", "/v1/claims", {"memory_bytes": GIB})
                self.assertEqual(status, 503, answer)
                return answer["reason"] == "unavailable" and answer
            answer = harness.wait_for(claim, "it is found to hang")
            self.assertIn("a call into the driver did not return in time", answer["message"])
            self.node.stop()
            self.inject("--clear")

    def accounting(self, value=None):
        """The driver's accounting mode of GPU 0, as set to `value` where one is given."""
        code = ("import ctypes,sys;m=ctypes.CDLL('libnvidia-ml.so.1');m.nvmlInit_v2();"
                "h=ctypes.c_void_p();m.nvmlDeviceGetHandleByIndex_v2(0,ctypes.byref(h));"
                "[m.nvmlDeviceSetAccountingMode(h,int(a)) for a in sys.argv[1:]];"
                "n=ctypes.c_uint(7);m.nvmlDeviceGetAccountingMode(h,ctypes.byref(n));print(n.value)")
        arguments = [] if value is None else [str(value)]
        return int(subprocess.run([sys.executable, "-c", code, *arguments], env=self.node.sim_env(),
                                  text=True, capture_output=True, check=True).stdout)

    @unittest.skipUnless(os.geteuid() == 0, "an ordinary user may not switch it on")
    def test_accounts_are_switched_on_again(self):
        """A driver that is loaded anew has it off."""
        self.node.start()
        harness.wait_for(lambda: self.accounting() == 1, "it is on")
        time.sleep(6)  # divvyd has seen that it is
        self.accounting(0)
        harness.wait_for(lambda: self.accounting() == 1, "it is on again")

    def start_holder(self):
        load = harness.program("divvy-load")
        run = self.node.start_run("--tenant", "ann", "--memory", "8GiB", "--compute", "30%", "--",
                                  load, "alloc", "--bytes", "6GiB", "--api", "cuMemAlloc",
                                  "--hold", "600", "-o", "json")
        harness.wait_for(lambda: any(s["memory_used_bytes"] >= 6 * GIB
                                     for s in self.node.slices()), "ann holds 6 GiB")
        return run

    def check_survival(self, how):
        self.node.start()
        run = self.start_holder()
        before = self.node.slices()[0]
        self.node.stop(how)
        self.assertIsNone(run.poll(), "the workload lives on without the daemon")
        self.node.start()
        after = harness.wait_for(lambda: next((s for s in self.node.slices() if s["pids"]), None),
                                 "the slice is back with its process")
        for key in ("id", "tenant", "memory_bytes", "compute_permille", "pids"):
            self.assertEqual(after[key], before[key], key)
        self.assertGreaterEqual(
            harness.wait_for(lambda: (lambda u: u if u >= 6 * GIB else 0)(
                self.node.slices()[0]["memory_used_bytes"]), "its memory is counted again"),
            6 * GIB)
        os.kill(after["pids"][0], signal.SIGTERM)
        run.wait(harness.PATIENCE)
        harness.wait_for(lambda: not self.node.slices(), "released at its end")

    def test_slices_survive_sigterm(self):
        self.check_survival(signal.SIGTERM)

    def test_slices_survive_kill_9(self):
        self.check_survival(signal.SIGKILL)

    def test_caps_hold_and_work_goes_on_without_the_daemon(self):
        self.node.start()
        load = harness.program("divvy-load")
        # Allocates beyond its cap while the daemon is gone.
        go = os.path.join(self.node.directory, "go")
        script = (f"{load} spin --kernel-us 500 --seconds 600 -o json & "
                  f"while [ ! -e {go} ]; do sleep 0.05; done; "
                  f"{load} alloc --bytes 9GiB --api cuMemAlloc -o json; echo alloc=$?; sleep 1; kill -INT $!; wait")
        run = self.node.start_run("--tenant", "ann", "--memory", "8GiB", "--compute", "50%", "--",
                                  "sh", "-c", script)
        harness.wait_for(lambda: any(s["pids"] for s in self.node.slices()), "ann runs")
        self.node.stop(signal.SIGKILL)
        with open(go, "w", encoding="utf-8"):
            pass
        out, err = run.communicate(timeout=harness.PATIENCE)
        self.assertNotIn("alloc=0", out, err)
        spun = [json.loads(line) for line in out.splitlines() if line.startswith("{")
                and "kernels" in line]
        self.assertEqual(len(spun), 1, out + err)
        self.assertGreater(spun[0]["kernels"], 0)

    def test_usage_survives(self):
        self.node.start()
        load = harness.program("divvy-load")
        run = self.node.divvy("run", "--tenant", "ann", "--memory", "2GiB", "--compute", "30%",
                              "--", load, "spin", "--kernel-us", "500", "--seconds", "2", "-o",
                              "json")
        self.assertEqual(run.returncode, 0, run.stderr)
        busy = self.node.json("usage")["tenants"][0]["busy_seconds"]
        self.assertGreater(busy, 0)
        self.node.stop()
        self.node.start()
        self.assertGreaterEqual(self.node.json("usage")["tenants"][0]["busy_seconds"], busy)


if __name__ == "__main__":
    unittest.main()
