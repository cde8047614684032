#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""load_test DIVVY_LOAD FAKE_DRIVER: divvy-load on a driver with made-up time and 1 GiB of memory.

The driver says on stderr what is still held at the end, so that an empty stderr means no leak.
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest

FAKE = os.path.abspath(sys.argv.pop(2)) if len(sys.argv) > 2 else ""
PROGRAM = sys.argv.pop(1) if len(sys.argv) > 1 else "divvy-load"
APIS = ("cuMemAlloc", "cuMemAllocPitch", "cuMemAllocManaged", "cuMemAllocAsync",
        "cuMemAllocFromPoolAsync", "cuMemCreate", "cuArrayCreate", "cuArray3DCreate")


class Load(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="divvy-load-")
        os.symlink(FAKE, os.path.join(cls.directory.name, "libcuda.so.1"))
        cls.env = {**os.environ, "LD_LIBRARY_PATH": cls.directory.name}

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    def load(self, *args, env=None):
        done = subprocess.run([PROGRAM, *args], env=env or self.env, text=True, timeout=120,
                              capture_output=True, stdin=subprocess.DEVNULL, check=False)
        return done.returncode, done.stdout, done.stderr

    def json(self, *args):
        code, out, err = self.load(*args, "-o", "json")
        self.assertEqual((code, err), (0, ""))
        return json.loads(out)

    def test_spin(self):
        for extra in ([], ["--streams", "3"], ["--sync-each"], ["--graph", "7"],
                      ["--memory", "64MiB"]):
            with self.subTest(extra):
                got = self.json("spin", "--kernel-us", "500", "--seconds", "20ms", *extra)
                self.assertEqual(set(got), {"kernels", "busy_seconds", "elapsed_seconds"})
                self.assertGreater(got["kernels"], 0)
                self.assertAlmostEqual(got["busy_seconds"] / got["kernels"], 500e-6, delta=1e-9)
                if "--graph" in extra:
                    self.assertEqual(got["kernels"] % 7, 0)

    def test_spin_gaps(self):
        for extra in ([], ["--streams", "2"], ["--graph", "3"], ["--sync-each"]):
            with self.subTest(extra):
                got = self.json("spin", "--kernel-us", "500", "--seconds", "20ms",
                                "--report-gaps", *extra)
                self.assertLess(got["longest_gap_seconds"], 1e-6)  # made-up time has none

    def test_spin_ends_early_with_its_answer(self):
        p = subprocess.Popen([PROGRAM, "spin", "--seconds", "1h", "-o", "json"], env=self.env,
                             stdout=subprocess.PIPE, text=True)
        try:
            p.send_signal(signal.SIGINT)
            out, _ = p.communicate(timeout=120)
        finally:
            p.kill()
        if p.returncode != -signal.SIGINT:  # it may come before it is caught
            self.assertEqual(p.returncode, 0)
            self.assertIn("kernels", json.loads(out))

    def test_alloc(self):
        for api in APIS:
            with self.subTest(api):
                self.assertEqual(self.json("alloc", "--bytes", "1GiB", "--api", api),
                                 {"result": "ok"})
                self.assertEqual(self.json("alloc", "--bytes", "1000001", "--api", api),
                                 {"result": "ok"})
                self.assertEqual(self.json("alloc", "--bytes", "1GiB", "--chunk", "2MiB", "--api",
                                           api), {"result": "ok"})
                code, out, err = self.load("alloc", "--bytes", "1025MiB", "--chunk", "64MiB",
                                           "--api", api, "-o", "json")
                self.assertEqual((code, json.loads(out), err),
                                 (1, {"result": "out_of_memory", "cuda_error": 2}, ""))

    def test_alloc_as_a_table(self):
        code, out, _ = self.load("alloc", "--bytes", "3GiB", "--chunk", "1GiB")
        self.assertEqual(code, 1)
        self.assertEqual(out.splitlines()[1].split(),
                         ["out_of_memory", "cuMemAlloc", "3.00", "GiB", "1.00", "GiB", "2"])

    def test_leak(self):
        # A hundredth of a second less than ten steps: nine.
        self.assertEqual(self.json("leak", "--rate", "10MiB", "--seconds", "990ms", "--first",
                                   "3MiB", "--kernel-us", "100"),
                         {"result": "ok", "allocated_bytes": 12 << 20})
        code, out, err = self.load("leak", "--rate", "4GiB", "--first", "512MiB", "-o", "json",
                                   "--kernel-us", "100")
        self.assertEqual((code, json.loads(out)["result"], err), (1, "out_of_memory", ""))

    def test_copy(self):
        for direction in ("h2d", "d2h", "d2d"):
            with self.subTest(direction):
                got = self.json("copy", "--bytes", "1MiB", "--seconds", "10ms", "--direction",
                                direction)
                self.assertEqual(got["bytes"], got["copies"] << 20)
                self.assertGreater(got["copies"], 0)

    def test_infer(self):
        got = self.json("infer", "--rps", "2000", "--service-us", "100", "--seconds", "100ms",
                        "--seed", "5")
        self.assertEqual(set(got), {"offered", "served", "p50_ms", "p99_ms", "wait_p99_ms"})
        self.assertGreater(got["offered"], 0)
        self.assertLessEqual(got["served"], got["offered"])
        again = self.json("infer", "--rps", "2000", "--service-us", "100", "--seconds", "100ms",
                          "--seed", "5")
        self.assertEqual(again["offered"], got["offered"])

    def test_infer_lists_its_requests_and_waits_at_the_gate(self):
        p = subprocess.Popen([PROGRAM, "infer", "--rps", "500", "--seconds", "200ms", "--seed", "3",
                              "--gate", "--latencies", "--steps", "1000", "--sms", "7", "-o",
                              "json"], env=self.env, text=True, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(p.stderr.readline(), "ready\n")
        self.assertIsNone(p.poll())
        p.stdin.close()
        got = json.loads(p.stdout.read())
        p.stdout.close()
        p.stderr.close()
        self.assertEqual(p.wait(60), 0)
        self.assertEqual((got["steps"], got["sms"]), (1000, 7))
        self.assertEqual(len(got["latencies_ms"]), got["served"])
        self.assertEqual(got["arrivals_ms"], sorted(got["arrivals_ms"]))
        self.assertEqual(sorted(got["latencies_ms"])[(got["served"] + 1) // 2 - 1], got["p50_ms"])

    def test_no_driver_and_no_such_gpu(self):
        with tempfile.TemporaryDirectory() as empty:
            code, _, err = self.load("spin", env={**os.environ, "LD_LIBRARY_PATH": empty})
        self.assertEqual((code, err.count("\n")), (5, 1))
        code, _, err = self.load("spin", "--gpu", "3")
        self.assertEqual((code, err),
                         (5, "divvy-load spin: there is no GPU 3; this process sees 1\n"))


if __name__ == "__main__":
    unittest.main()
