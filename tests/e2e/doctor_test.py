#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""divvy doctor on the simulated node: each trouble is made, recognised, mended by the command that
the doctor names, and gone; and what is fine stays silent."""
import json
import os
import shutil
import subprocess
import time
import unittest

import harness

BUILT_IN = ["dgx-a100", "dgx-h100", "hgx-h200", "a30x4", "t4x4", "mixed"]


class Sick(harness.Node):
    def findings(self):
        return json.loads(self.divvy("doctor", "-o", "json").stdout)["findings"]

    def found(self, code, subject=None):
        """The finding, or None."""
        for f in self.findings():
            if f["code"] == code and (subject is None or f["subject"] == subject):
                return f
        return None

    def serious(self):
        return [f for f in self.findings() if f["severity"] != "note"]

    def wait_for(self, code, subject=None):
        return harness.wait_for(lambda: self.found(code, subject), f"{code} of {subject}")

    def wait_for_silence(self):
        harness.wait_for(lambda: not self.serious(), f"nothing is wrong: {self.serious()}")

    def shell(self, command):
        """As an operator of this node would type it."""
        done = subprocess.run(["/bin/sh", "-c", command], env=self.operator_env(), text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              timeout=harness.PATIENCE)
        if done.returncode:
            raise AssertionError(f"{command}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def operator_env(self):
        env = self.sim_env()
        env["DIVVY_SOCKET"] = self.socket
        env["PATH"] = env["PATH"] + ":" + harness.BIN
        return env

    def inject(self, *args):
        out = self.divvy_sim("inject", *args, "--socket", self.sim_socket())
        if out.returncode:
            raise AssertionError(out.stderr)

    def layout(self, entry, *options):
        path = os.path.join(self.directory, "node.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"apiVersion: divvy/v1\nkind: Layout\ngpus:\n  - {entry}\n")
        return self.divvy("layout", "apply", path, *options)


class Doctor(unittest.TestCase):
    def test_what_is_fine_is_silent(self):
        for sim in BUILT_IN:
            with self.subTest(sim), Sick(sim) as node:
                self.assertEqual(node.serious(), [])
                self.assertEqual(node.divvy("doctor").returncode, 0)

    def test_gpus(self):
        made = {
            0: ("compute_prohibited", "nvidia-smi -i 0 -c PROHIBITED"),
            1: ("compute_exclusive_process", "nvidia-smi -i 1 -c EXCLUSIVE_PROCESS"),
            2: ("persistence_off", "nvidia-smi -i 2 -pm 0"),
            3: ("mig_empty", "nvidia-smi -i 3 -mig 1"),
            4: ("gpu_instance_empty", "nvidia-smi -i 4 -mig 1 && nvidia-smi mig -i 4 -cgi 9"),
        }
        with Sick("dgx-a100") as node:
            for _, make in made.values():
                node.shell(make)
            for gpu, (code, _) in made.items():
                finding = node.wait_for(code, f"gpu {gpu}")
                for part in ("problem", "cause", "remedy", "command"):
                    self.assertTrue(finding[part], finding)
            self.assertEqual({(f["code"], f["subject"]) for f in node.serious()},
                             {(c, f"gpu {g}") for g, (c, _) in made.items() if g != 2})
            self.assertEqual(node.divvy("doctor").returncode, 3)
            for gpu, (code, _) in made.items():
                node.shell(node.found(code, f"gpu {gpu}")["command"])
            node.wait_for_silence()
            harness.wait_for(lambda: not node.found("persistence_off"), "persistence is on")

    def test_errors_of_the_hardware(self):
        with Sick("dgx-a100") as node:
            node.inject("--gpu", "0", "--xid", "31")
            node.inject("--gpu", "1", "--xid", "45")
            node.inject("--gpu", "2", "--xid", "94")
            node.inject("--gpu", "3", "--xid", "48")
            node.inject("--gpu", "4", "--xid", "79")
            node.inject("--gpu", "5", "--xid", "999")
            for gpu, code, severity in ((0, "xid_application", "warning"),
                                        (1, "xid_cleanup", "note"),
                                        (2, "xid_contained", "warning"),
                                        (3, "xid_fatal", "error"), (4, "gpu_lost", "error"),
                                        (5, "xid_other", "warning")):
                finding = node.wait_for(code, f"gpu {gpu}")
                self.assertEqual(finding["severity"], severity)
            health = {g["index"]: g["health"] for g in node.json("status")["gpus"]}
            self.assertEqual(health, {0: "ok", 1: "ok", 2: "failed", 3: "failed", 4: "failed",
                                      5: "failed", 6: "ok", 7: "ok"})
            # What matters less does not hide what still counts.
            node.inject("--gpu", "3", "--xid", "45")
            node.inject("--gpu", "6", "--xid", "13")
            node.wait_for("xid_application", "gpu 6")
            self.assertEqual(node.found("xid_fatal")["subject"], "gpu 3")

    def test_memory(self):
        with Sick("dgx-a100") as node:
            node.inject("--gpu", "0", "--leak", "3GiB")
            node.inject("--gpu", "1", "--ecc", "2")
            node.inject("--gpu", "2", "--remap-failure")
            self.assertIn("3.00 GiB", node.wait_for("memory_without_process", "gpu 0")["problem"])
            node.wait_for("memory_rows_pending", "gpu 1")
            node.wait_for("xid_fatal", "gpu 1")
            node.wait_for("memory_rows_failed", "gpu 2")
            for code in ("memory_without_process", "memory_rows_pending"):
                node.shell(node.found(code)["command"])
            harness.wait_for(lambda: {f["subject"] for f in node.serious()} <= {"gpu 2"},
                             "the resets have mended it")

    def test_pending_mig_mode(self):
        with Sick("a100") as node:
            run, held, pid = self.hold(node)
            self.assertNotEqual(node.shell("nvidia-smi -i 0 -mig 1 || true"), "")
            finding = node.wait_for("mig_pending")
            self.assertRegex(finding["problem"], r"has waited since 20\d\d-\S+Z for a reset")
            harness.wait_for(lambda: f"pid {pid} ({held} of ann)" in
                             node.found("mig_pending")["remedy"], "it names who uses the GPU")
            node.divvy("kill", held)
            run.wait(harness.PATIENCE)
            node.shell(finding["command"])
            node.shell(node.wait_for("mig_empty")["command"])
            node.wait_for_silence()

    def test_driver(self):
        with Sick("a100") as node:
            for nvml, code in ((18, "driver_mismatch"), (9, "driver_not_loaded"),
                               (999, "driver_failed")):
                node.inject("--nvml-error", f"nvmlDeviceGetCount_v2={nvml}")
                self.assertTrue(node.wait_for(code)["cause"])
                node.inject("--clear")
                node.wait_for_silence()

    def test_driver_at_the_start(self):
        """A daemon that finds no driver says why, and goes on by itself when there is one."""
        for nvml, code in ((18, "driver_mismatch"), (9, "driver_not_loaded"),
                           (12, "driver_missing")):
            node = Sick("a100")
            self.addCleanup(shutil.rmtree, node.directory, ignore_errors=True)
            socket = os.path.join(node.directory, "sim.sock")
            sim = subprocess.Popen([harness.program("divvy-sim"), "start", "a100", "--foreground",
                                    "--socket", socket], env=harness.clean_env(),
                                   stdin=subprocess.DEVNULL)
            try:
                harness.wait_for(lambda: os.path.exists(socket), "the simulator listens")
                for call in ("nvmlInit_v2", "nvmlInitWithFlags"):
                    out = node.divvy_sim("inject", "--nvml-error", f"{call}={nvml}", "--socket",
                                         socket)
                    self.assertEqual(out.returncode, 0, out.stderr)
                node.sim = "unix:" + socket
                node.daemon = node.spawn_daemon()
                self.assertTrue(node.wait_for(code)["cause"])
                node.divvy_sim("inject", "--clear", "--socket", socket)
                harness.wait_for(lambda: node.json("status")["gpus"], "the GPU is known")
                node.wait_for_silence()
            finally:
                node.close()
                sim.terminate()
                sim.wait(harness.PATIENCE)

    def test_wedged_driver(self):
        with Sick("a100", args=["--nvml-timeout", "1s"]) as node:
            node.inject("--nvml-hang", "*=0")
            node.wait_for("driver_wedged")
            node.inject("--clear")
            node.wait_for_silence()

    def test_unfair_turns(self):
        spin = harness.program("divvy-load") + " spin --seconds 600 & "
        with Sick("a100") as node:
            runs = [node.start_run("--tenant", tenant, "--mode", "timeslice", "--no-wait", "--",
                                   "sh", "-c", f"{load}{load} wait")
                    for tenant, load in (("ann", spin), ("bob", "sleep 600 & "))]
            finding = node.wait_for("turns_unfair")
            self.assertIn("ann runs 2 processes", finding["problem"])
            for run in runs:
                run.terminate()
            node.wait_for_silence()

    def hold(self, node, *args):
        """A tenant with memory on the GPU: its run, its slice and its process."""
        run = node.start_run("--tenant", "ann", "--no-wait", *args, "--",
                             harness.program("divvy-load"), "alloc", "--bytes", "1GiB", "--hold",
                             "600s")
        self.assertTrue(run.stdout.readline())
        held = harness.wait_for(lambda: next((s for s in node.slices() if s["pids"]), None),
                                "the tenant holds its memory")
        return run, held["id"], held["pids"][0]

    def test_layout_waits(self):
        with Sick("a100") as node:
            run, held, pid = self.hold(node)
            out = node.layout("{gpu: 0, mig: [1g.10gb]}", "--wait", "--no-watch")
            self.assertEqual(out.returncode, 0, out.stderr)
            finding = node.wait_for("layout_waits")
            since = node.json("layout", "show")["gpus"][0]["waits_since_unix"]
            self.assertAlmostEqual(since, time.time(), delta=60)
            since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
            self.assertEqual(finding["problem"], f"a change of GPU 0 has waited since {since} for "
                             f"{held} of ann (pid {pid})")
            node.shell(finding["command"])
            run.wait(harness.PATIENCE)
            node.wait_for_silence()
            harness.wait_for(lambda: node.json("layout", "show")["state"] == "settled",
                             "the layout is settled")

    def test_layout_failed(self):
        with Sick("a100") as node:
            node.inject("--nvml-error",
                        "nvmlGpuInstanceCreateComputeInstanceWithPlacement=999")
            out = node.layout("{gpu: 0, mig: [1g.10gb]}")
            self.assertEqual(out.returncode, 1, out.stdout + out.stderr)
            self.assertIn("999", out.stderr)
            self.assertIn("999", node.wait_for("layout_failed")["cause"])
            node.inject("--clear")
            node.shell(node.found("layout_failed")["command"])
            node.wait_for_silence()

    def test_mig_mode_that_is_wanted_empty(self):
        with Sick("a100") as node:
            self.assertEqual(node.layout("{gpu: 0, mig: []}").returncode, 0)
            self.assertEqual(node.serious(), [])

    def test_replicas(self):
        with Sick("a100") as node:
            self.assertEqual(node.layout("{gpu: 0, mode: timeslice, replicas: 200}").returncode, 0)
            self.assertIn("200 parts", node.wait_for("replicas_tight")["problem"])
            self.assertEqual(node.layout("{gpu: 0, mode: timeslice, replicas: 4}").returncode, 0)
            self.assertEqual(node.serious(), [])

    def test_mps_fault(self):
        with Sick("a100") as node:
            self.assertEqual(node.layout("{gpu: 0, mode: mps, replicas: 4}").returncode, 0)
            run, held, pid = self.hold(node, "--mode", "mps")
            node.inject("--fault", str(pid))
            finding = node.wait_for("mps_fault")
            self.assertIn(f"{held} of ann", finding["cause"])
            run.terminate()
            run.wait(harness.PATIENCE)
            self.assertEqual(node.layout("{gpu: 0, mode: governed}", "--wait").returncode, 0)
            known = {"mps_fault", "xid_application"}  # what has happened stays for a while
            harness.wait_for(lambda: {f["code"] for f in node.serious()} <= known,
                             "what divvy set for MPS is set back")

    def test_mps_down(self):
        with Sick("a100") as node:
            blocked = os.path.join(node.state, "mps")  # where its folders belong
            with open(blocked, "w", encoding="utf-8"):
                pass
            out = node.layout("{gpu: 0, mode: mps, replicas: 4}", "--no-watch")
            self.assertEqual(out.returncode, 0, out.stderr)
            self.assertTrue(node.wait_for("mps_down")["cause"])
            os.unlink(blocked)
            node.wait_for_silence()

    def test_stale_mps(self):
        with Sick("a100") as node:
            pipes = os.path.join(node.directory, "pipes")
            os.makedirs(pipes)
            env = {**node.operator_env(), "CUDA_MPS_PIPE_DIRECTORY": pipes,
                   "CUDA_MPS_LOG_DIRECTORY": pipes}

            def doctor():
                out = subprocess.run([harness.program("divvy"), "doctor", "-o", "json"], env=env,
                                     stdout=subprocess.PIPE, check=False)
                return {f["code"]: f for f in json.loads(out.stdout)["findings"]}
            self.assertNotIn("mps_stale", doctor())
            mps = subprocess.Popen(["nvidia-cuda-mps-control", "-f"], env=env, stdout=subprocess.DEVNULL,
                                   executable=os.path.join(harness.LIBDIR, "sim", "bin",
                                                           "nvidia-cuda-mps-control"),
                                   stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                harness.wait_for(lambda: os.path.exists(os.path.join(pipes, "control")), "it is up")
                self.assertNotIn("mps_stale", doctor())
            finally:
                mps.kill()
                mps.wait()
            finding = doctor()["mps_stale"]
            self.assertIn(pipes, finding["problem"])
            subprocess.run(["/bin/sh", "-c", finding["command"]], env=env, check=True)
            self.assertNotIn("mps_stale", doctor())


if __name__ == "__main__":
    unittest.main()
