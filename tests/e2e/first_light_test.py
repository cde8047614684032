# SPDX-License-Identifier: Apache-2.0
"""The issue in one test: three tenants share a GPU 50/30/20 under caps, a fourth meets its cap."""
import json
import os
import signal
import subprocess
import unittest

import harness
from harness import GIB


def spin(seconds, kernel_us=500):
    return [harness.program("divvy-load"), "spin", "--kernel-us", str(kernel_us), "--seconds",
            str(seconds), "-o", "json"]


def alloc(size, api="cuMemAlloc", hold=None):
    cmd = [harness.program("divvy-load"), "alloc", "--bytes", size, "--api", api, "-o", "json"]
    return cmd + (["--hold", str(hold)] if hold else [])


class FirstLight(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = harness.Node("a100")
        cls.node.start()

    @classmethod
    def tearDownClass(cls):
        cls.node.__exit__(None, None, None)

    def setUp(self):
        harness.wait_for(lambda: not self.node.slices(), "slices of the last test are released")

    def start_three(self):
        """They run until they are ended."""
        shares = {"ann": "50%", "bob": "30%", "cyd": "20%"}
        return {t: self.node.start_run("--tenant", t, "--memory", "10GiB", "--compute", c,
                                       "--", *spin(600)) for t, c in shares.items()}

    def end_in_order(self, run):
        """divvy-load's own answer."""
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=harness.PATIENCE)
        self.assertEqual(run.returncode, 0, err)
        return json.loads(out)

    def test_three_share_and_all_see_it(self):
        runs = self.start_three()
        slices = harness.wait_for(
            lambda: (lambda s: s if len(s) == 3 and all(x["pids"] for x in s) else None)(
                self.node.slices()), "three slices with processes")
        for s in slices:
            self.assertEqual(s["memory_bytes"], 10 * GIB)
            self.assertEqual(s["memory_wall"], "cooperative")
            self.assertEqual(s["compute_wall"], "cooperative")
            self.assertIsNone(s["profile"])
        self.assertEqual(sorted(s["compute_permille"] for s in slices), [200, 300, 500])
        # Shares are not asserted to the point: only that they are what decides.
        def shares_decide():
            ran = self.node.ran(runs, 5)
            self.assertGreater(ran["ann"], ran["bob"], ran)
            self.assertGreater(ran["bob"], ran["cyd"], ran)
        harness.figures(shares_decide)
        gpu = self.node.json("status")["gpus"][0]
        self.assertEqual(gpu["mode"], "governed")
        self.assertGreater(gpu["memory_used_bytes"], 0)
        smi = subprocess.run(["nvidia-smi", "--query-compute-apps=pid,used_memory",
                              "--format=csv,noheader,nounits"], env=self.node.sim_env(),
                             capture_output=True, text=True, check=True, timeout=harness.PATIENCE)
        seen = {int(line.split(",")[0]) for line in smi.stdout.splitlines()}
        self.assertEqual(seen, {p for s in slices for p in s["pids"]})
        for run in runs.values():
            self.assertGreater(self.end_in_order(run)["kernels"], 0)
        usage = {t["tenant"]: t for t in self.node.json("usage")["tenants"]}
        for tenant in runs:
            self.assertGreater(usage[tenant]["busy_seconds"], 0)
            self.assertGreater(usage[tenant]["wait_seconds"], 0)
            self.assertGreater(usage[tenant]["reserved_seconds"], 0)
            self.assertGreater(usage[tenant]["memory_byte_seconds"], 0)

    def test_the_cap_holds_for_every_call(self):
        for api in ("cuMemAlloc", "cuMemAllocPitch", "cuMemAllocManaged", "cuMemAllocAsync",
                    "cuMemAllocFromPoolAsync", "cuMemCreate", "cuArrayCreate"):
            with self.subTest(api=api):
                over = self.node.divvy("run", "--tenant", "dan", "--memory", "10GiB",
                                       "--compute", "10%", "--", *alloc("11GiB", api))
                self.assertEqual(over.returncode, 1, over.stderr)
                self.assertEqual(json.loads(over.stdout),
                                 {"result": "out_of_memory", "cuda_error": 2})
                under = self.node.divvy("run", "--tenant", "dan", "--memory", "10GiB",
                                        "--compute", "10%", "--", *alloc("9GiB", api))
                self.assertEqual(under.returncode, 0, under.stderr + under.stdout)
                self.assertEqual(json.loads(under.stdout), {"result": "ok"})

    def test_kill_9_of_one_harms_nobody(self):
        runs = self.start_three()
        harness.wait_for(lambda: sum(len(s["pids"]) for s in self.node.slices()) == 3, "3 pids")
        victim = next(s for s in self.node.slices() if s["tenant"] == "ann")
        os.kill(victim["pids"][0], signal.SIGKILL)
        self.assertEqual(runs["ann"].wait(harness.PATIENCE), 128 + 9)
        self.node.ran(("bob", "cyd"), 1)  # they go on
        for tenant in ("bob", "cyd"):
            self.assertGreater(self.end_in_order(runs[tenant])["kernels"], 0)
        harness.wait_for(lambda: self.node.json("status")["gpus"][0]["memory_used_bytes"] == 0,
                         "all memory is free again")

    def test_kill_9_of_the_owner_ends_its_slice(self):
        run = self.node.start_run("--tenant", "eve", "--memory", "5GiB", "--compute", "10%",
                                  "--", *spin(600))
        harness.wait_for(lambda: any(s["pids"] for s in self.node.slices()), "eve runs")
        run.kill()
        harness.wait_for(lambda: not self.node.slices(), "eve's slice is released")

    def test_a_queue_with_a_visible_position(self):
        first = self.node.start_run("--tenant", "ann", "--memory", "70GiB", "--compute", "50%",
                                    "--", "sleep", "600")
        harness.wait_for(self.node.slices, "ann's slice")
        now = self.node.divvy("run", "--no-wait", "--tenant", "bob", "--memory", "20GiB", "--",
                              "true")
        self.assertEqual(now.returncode, 125)
        self.assertEqual(len(now.stderr.strip().splitlines()), 1, now.stderr)
        second = self.node.start_run("--tenant", "bob", "--memory", "20GiB", "--", "true")
        queue = harness.wait_for(lambda: self.node.json("queue")["claims"], "bob waits")
        self.assertEqual((queue[0]["tenant"], queue[0]["position"]), ("bob", 1))
        late = self.node.divvy("run", "--wait-timeout", "1s", "--tenant", "cyd", "--memory",
                               "20GiB", "--", "true")
        self.assertEqual(late.returncode, 124, late.stderr)
        first.send_signal(signal.SIGTERM)
        self.assertEqual(first.wait(harness.PATIENCE), 128 + 15)
        self.assertEqual(second.wait(harness.PATIENCE), 0)

    def test_exit_status_and_signals(self):
        for cmd, status in ((["sh", "-c", "exit 7"], 7), (["/nonexistent"], 127),
                            (["/etc/passwd"], 126), (["sh", "-c", "kill -9 $$"], 137)):
            with self.subTest(cmd=cmd):
                got = self.node.divvy("run", "--memory", "1GiB", "--compute", "5%", "--", *cmd)
                self.assertEqual(got.returncode, status, got.stderr)

    def test_the_slice_is_what_shows_inside(self):
        code = ("import ctypes;c=ctypes.CDLL('libcuda.so.1');c.cuInit(0);"
                "n=ctypes.c_int();c.cuDeviceGetCount(ctypes.byref(n));"
                "d=ctypes.c_int();c.cuDeviceGet(ctypes.byref(d),0);"
                "t=ctypes.c_size_t();c.cuDeviceTotalMem_v2(ctypes.byref(t),d);"
                "x=ctypes.c_void_p();c.cuDevicePrimaryCtxRetain(ctypes.byref(x),d);"
                "c.cuCtxSetCurrent(x);f=ctypes.c_size_t();g=ctypes.c_size_t();"
                "c.cuMemGetInfo_v2(ctypes.byref(f),ctypes.byref(g));"
                "m=ctypes.CDLL('libnvidia-ml.so.1');m.nvmlInit_v2();h=ctypes.c_void_p();"
                "k=ctypes.c_uint();m.nvmlDeviceGetCount_v2(ctypes.byref(k));"
                "m.nvmlDeviceGetHandleByIndex_v2(0,ctypes.byref(h));"
                "a=(ctypes.c_ulonglong*3)();m.nvmlDeviceGetMemoryInfo(h,a);"
                "print(n.value,t.value,g.value,f.value<g.value,k.value,a[0])")
        out = self.node.divvy("run", "--memory", "3GiB", "--compute", "5%", "--", "python3", "-c",
                              code)
        self.assertEqual(out.returncode, 0, out.stderr)
        cap = str(3 * GIB)
        self.assertEqual(out.stdout.split(), ["1", cap, cap, "True", "1", cap])

    def test_an_exclusive_slice_is_metered(self):
        harness.figures(self.an_exclusive_slice_is_metered)

    def an_exclusive_slice_is_metered(self):
        before = {t["tenant"]: t["busy_seconds"] for t in self.node.json("usage")["tenants"]}
        run = self.node.divvy("run", "--tenant", "fay", "--mode", "exclusive", "--", *spin(1))
        self.assertEqual(run.returncode, 0, run.stderr)
        truth = json.loads(run.stdout)["busy_seconds"]
        usage = {t["tenant"]: t["busy_seconds"] for t in self.node.json("usage")["tenants"]}
        busy = usage["fay"] - before.get("fay", 0)
        # Two clocks on the same work: the load's own count and the governor's events.
        self.assertGreater(busy, 0.8 * truth)
        self.assertLess(busy, 1.2 * truth)

    def test_limit_live(self):
        run = self.node.start_run("--tenant", "ann", "--memory", "4GiB", "--compute", "20%", "--",
                                  *alloc("3GiB", hold=600))
        s = harness.wait_for(lambda: next((s for s in self.node.slices()
                                           if s["memory_used_bytes"] > 3 * GIB), None), "3 GiB used")
        low = self.node.divvy("limit", s["id"], "--memory", "2GiB")
        self.assertEqual(low.returncode, 1, low.stderr)
        self.assertIn("in use", low.stderr)
        high = self.node.divvy("limit", s["id"], "--memory", "6GiB", "--compute", "40%")
        self.assertEqual(high.returncode, 0, high.stderr)
        s = self.node.slices()[0]
        self.assertEqual((s["memory_bytes"], s["compute_permille"]), (6 * GIB, 400))
        killed = self.node.divvy("kill", s["id"])
        self.assertEqual(killed.returncode, 0, killed.stderr)
        # divvy-load ends in order on SIGTERM and prints what it has.
        self.assertEqual(run.wait(harness.PATIENCE), 0)


if __name__ == "__main__":
    unittest.main()
