# SPDX-License-Identifier: Apache-2.0
"""Walls that the driver keeps (driver 615: memory limits by cgroup, MPS namespaces), against tenants
that go around the governor; what is there instead on an older driver; and what becomes of a claim
whose wall cannot be raised. Nothing is left behind: no cgroup, no namespace.

The tenants here load the driver's own library, beside the governor: what holds them is the driver.
"""
import json
import os
import shutil
import subprocess
import tempfile
import threading
import unittest

import harness
from harness import GIB
from layout_test import LayoutCase, layout

CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mps_client.py")
# Two users, as those of two tenants; each may run what is installed and what Debian ships.
ANN, BOB = "daemon", "games"
PYTHON = "/usr/bin/python3"  # of every user
OUT_OF_MEMORY = 2
NODE = """apiVersion: divvy/v1
kind: SimNode
driver: "{driver}"
gpus:
  - {{model: A100-80GB, count: 2}}
"""


def cgroup_mount():
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            if line.split()[2] == "cgroup2":
                return line.split()[1]
    return None


def can_make_cgroups():
    mount = cgroup_mount()
    if os.geteuid() != 0 or not mount:
        return False
    path = os.path.join(mount, f"divvy-test-{os.getpid()}")
    try:
        os.mkdir(path)
        os.rmdir(path)
    except OSError:
        return False
    return True


def as_user(user, *command):
    return ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", *command]


def other_user_can_run():
    return os.geteuid() == 0 and subprocess.run(
        as_user(ANN, "cat", harness.program("divvy"), CLIENT), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, check=False).returncode == 0


def around(*command):
    """The command with the driver's own library instead of the governor."""
    return ["env", "-u", "LD_PRELOAD", "LD_LIBRARY_PATH=" + os.path.join(harness.LIBDIR, "sim"),
            *command]


def alloc(gib, hold=0):
    return around(harness.program("divvy-load"), "alloc", "--bytes", f"{gib}GiB", "--api",
                  "cuMemAlloc", "--hold", str(hold), "-o", "json")


class Client:
    """mps_client.py in a slice, or in one that is there already."""

    def __init__(self, popen):
        self.popen = popen

    def ask(self, *words):
        self.popen.stdin.write(json.dumps(words) + "\n")
        self.popen.stdin.flush()
        line = self.popen.stdout.readline()
        if not line:
            raise AssertionError("the client ended: " + self.popen.stderr.read())
        return json.loads(line)


class WallsCase(LayoutCase):
    DRIVER = "615.71"

    @classmethod
    def setUpClass(cls):
        cls.file = tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8")
        cls.file.write(NODE.format(driver=cls.DRIVER))
        cls.file.flush()
        os.chmod(cls.file.name, 0o644)
        cls.SIM = cls.file.name

    @classmethod
    def tearDownClass(cls):
        cls.file.close()

    # -- cgroups

    def folder(self):
        number = 2166136261
        for byte in self.node.state.encode():
            number = (number ^ byte) * 16777619 & 0xffffffff
        return os.path.join(cgroup_mount() or "/nowhere", f"divvy-{number:08x}")

    def nothing_is_left(self):
        harness.wait_for(lambda: not self.node.slices(), "no slice is left")
        harness.wait_for(lambda: not os.path.exists(self.folder()), "no cgroup is left")

    # -- tenants

    def client(self, *args, user=None):
        command = [harness.program("divvy"), "run", *args, "--", *around(PYTHON, CLIENT)]
        popen = subprocess.Popen(as_user(user, *command) if user else command, text=True,
                                 env=self.node.env(), stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.node.children.append(popen)
        self.addCleanup(popen.stdin.close)
        client = Client(popen)
        self.assertEqual((client.ask("init"), client.ask("ctx", 0)), (0, 0))
        return client

    def one(self):
        return harness.wait_for(lambda: next(iter(self.node.slices()), None), "there is a slice")

    def end(self, client):
        client.popen.stdin.close()
        client.popen.wait(harness.PATIENCE)

    def walls(self, *args):
        """(memory, compute) of a slice, as it sees itself."""
        run = self.node.divvy("run", *args, "--", harness.program("divvy"), "explain", "-o", "json",
                              "root")
        self.assertEqual(run.returncode, 0, run.stderr)
        return " ".join(json.loads(run.stdout)["lines"])


@unittest.skipUnless(can_make_cgroups(), "needs root and a cgroup hierarchy of version 2")
class Cgroups(WallsCase):
    def check_limit(self, client, gib):
        """What all processes of the slice together can have, to the GiB: contexts count too."""
        self.assertEqual(client.ask("alloc", gib * GIB)[0], OUT_OF_MEMORY)
        result, address = client.ask("alloc", (gib - 1) * GIB)
        self.assertEqual(result, 0)
        self.assertEqual(client.ask("alloc", 1 * GIB)[0], OUT_OF_MEMORY)
        self.assertEqual(client.ask("free", address), 0)

    def test_whatever_library_is_loaded(self):
        for mode in ("governed", "timeslice"):
            with self.subTest(mode=mode):
                client = self.client("--mode", mode, "--memory", "8GiB")
                held = self.one()
                self.assertEqual((held["mode"], held["memory_wall"]), (mode, "driver"))
                self.assertNotEqual(held["compute_wall"], "driver")
                self.check_limit(client, 8)
                # Live, up and down.
                for gib in (12, 6):
                    out = self.node.divvy("limit", held["id"], "--memory", f"{gib}GiB")
                    self.assertEqual(out.returncode, 0, out.stderr)
                    harness.wait_for(lambda size=gib: self.reaches(client, size - 1) and
                                     not self.reaches(client, size), "the limit has changed")
                    self.check_limit(client, gib)
                text = self.node.divvy("explain", held["id"]).stdout
                self.assertIn("the driver limits the slice's cgroup", text)
                self.end(client)
                self.nothing_is_left()

    def reaches(self, client, gib):
        result, address = client.ask("alloc", gib * GIB)
        if result == 0:
            client.ask("free", address)
        return result == 0

    def test_all_processes_of_a_slice_together(self):
        for mode in ("governed", "mps"):
            with self.subTest(mode=mode):
                self.check_together(mode)

    def check_together(self, mode):
        go = os.path.join(self.node.directory, "go-" + mode)
        script = (f"{' '.join(alloc(5, 600))} & "
                  f"while [ ! -e {go} ]; do sleep 0.05; done; "
                  f"{' '.join(alloc(4))}; echo four=$?; {' '.join(alloc(1))}; echo one=$?; kill $!")
        run = self.node.start_run("--mode", mode, "--memory", "8GiB", "--", "sh", "-c", script)
        harness.wait_for(lambda: self.node.sim_stats()["memory_used_bytes"] > 5 * GIB,
                         "the first process has its memory")
        with open(go, "w", encoding="utf-8"):
            pass
        out, err = run.communicate(timeout=harness.PATIENCE)
        self.assertIn("four=1", out, err)
        self.assertIn("one=0", out, err)
        self.nothing_is_left()

    def test_kill_9(self):
        client = self.client("--mode", "governed", "--memory", "8GiB")
        other = self.client("--mode", "governed", "--memory", "4GiB", "--gpu", "1")
        self.node.stop(harness.signal.SIGKILL)
        self.check_limit(client, 8)
        self.end(other)
        self.start()
        held = self.one()
        self.assertEqual(held["memory_wall"], "driver")
        self.check_limit(client, 8)
        # What ended while nobody looked is gone.
        harness.wait_for(lambda: sum(e.is_dir() for e in os.scandir(self.folder())) == 1,
                         "one cgroup is left")
        self.end(client)
        self.nothing_is_left()

    def test_what_an_earlier_run_left(self):
        """A cgroup of no slice, with somebody in it when divvyd starts."""
        self.node.stop(harness.signal.SIGKILL)
        path = os.path.join(self.folder(), "s-77")
        os.makedirs(path)
        with subprocess.Popen(["sleep", "600"]) as somebody:
            with open(path + "/cgroup.procs", "w", encoding="utf-8") as f:
                f.write(str(somebody.pid))
            self.start()
            self.assertTrue(os.path.exists(path))
            somebody.kill()
        self.nothing_is_left()

    def test_who_outlives_a_slice_gets_nothing_more(self):
        """A process that never was on the GPU keeps no slice; it gets no memory after it either."""
        go, done = (os.path.join(self.node.directory, n) for n in ("go", "done"))
        script = (f"setsid sh -c 'while [ ! -e {go} ]; do sleep 0.05; done; {' '.join(alloc(1))}; "
                  f"echo $? > {done}.new; mv {done}.new {done}' > /dev/null 2>&1 & exit 0")
        run = self.node.start_run("--mode", "governed", "--memory", "8GiB", "--", "sh", "-c", script)
        self.assertEqual(run.wait(harness.PATIENCE), 0)
        harness.wait_for(lambda: not self.node.slices(), "the slice has ended")
        if os.path.exists(self.folder()):  # else the process was ended with its slice
            with open(go, "w", encoding="utf-8"):
                pass
            harness.wait_for(lambda: os.path.exists(done) or not os.path.exists(self.folder()),
                             "it has tried")
            if os.path.exists(done):
                with open(done, encoding="utf-8") as f:
                    self.assertEqual(f.read().strip(), "1")
        self.nothing_is_left()

    def test_not_on_mig_devices(self):
        self.apply_and_settle(layout("{gpu: 0, mig: [{profile: 3g.40gb, mode: governed}, "
                                     "{profile: 1g.10gb, mode: exclusive}]}"))
        text = self.walls("--gpu", "0", "--mode", "governed", "--memory", "8GiB")
        self.assertIn("memory wall cooperative", text)
        text = self.walls("--gpu", "0", "--mode", "exclusive")
        self.assertIn("memory wall hardware", text)
        self.nothing_is_left()

    # -- when it fails

    def inject(self, *args):
        out = self.node.divvy_sim("inject", "--socket", self.node.sim_socket(), "--gpu", "0", *args)
        self.assertEqual(out.returncode, 0, out.stderr)

    def test_a_wall_that_cannot_be_raised(self):
        self.inject("--nvml-error", "nvmlDeviceSetMemoryLimits_v1=999:1")
        args = ("run", "--gpu", "0", "--mode", "governed", "--memory", "8GiB", "--", "true")
        run = self.node.divvy(*args)
        self.assertEqual(run.returncode, 125, run.stderr)
        self.assertIn("could not be raised on GPU 0", run.stderr)
        self.assertIn("999", run.stderr)
        self.assertRegex(self.node.log(), "slice.wall claim=c-[0-9]+ .*999")
        self.nothing_is_left()
        self.assertEqual(self.node.divvy(*args).returncode, 0)
        self.nothing_is_left()

    def test_a_limit_that_the_driver_does_not_take(self):
        client = self.client("--gpu", "0", "--mode", "governed", "--memory", "8GiB")
        held = self.one()["id"]
        self.inject("--nvml-error", "nvmlDeviceSetMemoryLimits_v1=999:1")
        self.assertEqual(self.node.divvy("limit", held, "--memory", "12GiB").returncode, 0)
        harness.wait_for(lambda: "999" in self.node.divvy("explain", held).stdout, "it is said")
        self.check_limit(client, 8)
        self.assertEqual(self.node.divvy("limit", held, "--memory", "10GiB").returncode, 0)
        harness.wait_for(lambda: self.reaches(client, 9), "the limit has changed")
        self.assertNotIn("999", self.node.divvy("explain", held).stdout)
        self.end(client)
        self.nothing_is_left()

    def test_withdrawn_while_it_is_raised(self):
        self.inject("--nvml-hang", "nvmlDeviceSetMemoryLimits_v1=4000:1")
        answers = []
        claim = threading.Thread(target=lambda: answers.append(self.node.ask(
            "POST", "/v1/claims", {"memory_bytes": GIB, "mode": "governed", "gpu": "0"})))
        claim.start()
        name = self.one()["id"].replace("s-", "c-")
        self.assertEqual(self.node.ask("GET", f"/v1/claims/{name}")[1]["state"], "queued")
        self.assertEqual(self.node.ask("DELETE", f"/v1/claims/{name}")[0], 200)
        claim.join()
        self.assertNotEqual(answers[0][1]["state"], "granted")
        self.nothing_is_left()
        # Who let go is not behind a wall of what he no longer has.
        with open("/proc/self/cgroup", encoding="utf-8") as f:
            self.assertNotIn("divvy", f.read())

    def test_the_owner_dies_while_it_is_raised(self):
        self.inject("--nvml-hang", "nvmlDeviceSetMemoryLimits_v1=1500:1")
        run = self.node.start_run("--gpu", "0", "--mode", "governed", "--memory", "8GiB", "--", "true")
        self.one()
        run.kill()
        run.wait()
        self.nothing_is_left()

    def test_a_daemon_that_dies_while_it_is_raised(self):
        self.inject("--nvml-hang", "nvmlDeviceSetMemoryLimits_v1=1500:1")
        run = self.node.start_run("--gpu", "0", "--mode", "governed", "--memory", "8GiB", "--",
                                  *alloc(8))
        self.one()
        self.node.stop(harness.signal.SIGKILL)
        self.start()
        out, err = run.communicate(timeout=harness.PATIENCE)
        # It asks again, or gives up; what it never does is run without the wall.
        self.assertIn(run.returncode, (1, 125), out + err)
        self.nothing_is_left()


@unittest.skipUnless(can_make_cgroups() and other_user_can_run(),
                     "needs root, cgroups of version 2, and files that other users can read")
class Namespaces(WallsCase):
    def test_only_through_ones_own(self):
        self.apply_and_settle(layout("{gpu: 0, mode: mps}"))
        ann = self.client("--mode", "mps", "--gpu", "0", "--memory", "30GiB", "--compute", "50%",
                          user=ANN)
        bob = self.client("--mode", "mps", "--gpu", "0", "--memory", "20GiB", "--compute", "25%",
                          user=BOB)
        held = {s["memory_bytes"]: s for s in self.node.slices()}
        for gib in (20, 30):
            self.assertEqual((held[gib * GIB]["memory_wall"], held[gib * GIB]["compute_wall"]),
                             ("driver", "driver"))
        self.assertEqual((ann.ask("sms", 0), bob.ask("sms", 0)), (54, 27))
        self.assertEqual(bob.ask("alloc", 20 * GIB)[0], OUT_OF_MEMORY)
        self.assertEqual(bob.ask("alloc", 19 * GIB)[0], 0)
        result, sms = self.sms_by("env", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=100",
                                  "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT=0=70G")
        self.assertEqual((result, sms), (0, 11))
        pipe = os.path.join(self.node.state, "mps", "g0", "pipe")
        for client in (ann, bob):
            self.end(client)
        self.nothing_is_left()
        harness.wait_for(lambda: not [n for n in self.names(pipe) if n.startswith("s_")],
                         "no namespace is left")

    def test_no_way_around_mps(self):
        """Under a layout the GPU is for MPS alone: who is not let in, or stays out, has nothing."""
        self.apply_and_settle(layout("{gpu: 0, mode: mps}"))
        ann = self.client("--gpu", "0", "--memory", "30GiB", "--compute", "50%", user=ANN)
        pipe = os.path.join(self.node.state, "mps", "g0", "pipe")
        own = next(s["id"] for s in self.node.slices() if s["memory_bytes"] == 30 * GIB)
        for way in (pipe + "/0/" + own.replace("-", "_"), "/nowhere"):
            with self.subTest(way=way):
                self.assertNotEqual(self.sms_by("env", "CUDA_MPS_PIPE_DIRECTORY=" + way)[0], 0)
        for way in (pipe, pipe + "/0", pipe + "/0/default"):
            with self.subTest(way=way):
                result, sms = self.sms_by("env", "CUDA_MPS_PIPE_DIRECTORY=" + way)
                self.assertTrue(result or sms <= 2, (result, sms))
        self.assertEqual(self.sms_by("env"), (0, 11))
        self.end(ann)
        self.assertEqual(self.compute_mode(), "Exclusive_Process")
        self.node.stop(harness.signal.SIGKILL)
        self.start()
        self.settled()
        self.apply_and_settle(layout("{gpu: 0, mode: governed}"))
        harness.wait_for(lambda: self.compute_mode() == "Default", "the compute mode is as it was")
        self.nothing_is_left()

    def compute_mode(self):
        smi = os.path.join(harness.LIBDIR, "sim", "bin", "nvidia-smi")
        return subprocess.run([smi, "-i", "0", "--query-gpu=compute_mode", "--format=csv,noheader"],
                              env=self.node.sim_env(), text=True, capture_output=True,
                              timeout=harness.PATIENCE, check=True).stdout.strip()

    def names(self, pipe):
        try:
            return os.listdir(pipe + "/0")
        except FileNotFoundError:
            return []  # the daemon has ended with its last slice

    def sms_by(self, *env):
        """bob's third process: cuCtx's result, and the SMs that it has."""
        command = [harness.program("divvy"), "run", "--mode", "mps", "--gpu", "0", "--memory", "4GiB",
                   "--compute", "10%", "--", *env, *around(PYTHON, CLIENT)]
        run = subprocess.run(as_user(BOB, *command), env=self.node.env(), text=True,
                             input='["init"]\n["ctx", 0]\n["sms", 0]\n', capture_output=True,
                             timeout=harness.PATIENCE, check=False)
        answers = [json.loads(line) for line in run.stdout.splitlines()]
        self.assertTrue(answers, run.stderr)
        return (answers[0] or answers[1], answers[-1])

    def test_what_an_earlier_run_left(self):
        self.apply_and_settle(layout("{gpu: 0, mode: mps}"))
        pipe = os.path.join(self.node.state, "mps/g0/pipe")
        self.node.stop(harness.signal.SIGKILL)
        control = os.path.join(harness.LIBDIR, "sim", "bin", "nvidia-cuda-mps-control")
        env = harness.clean_env(DIVVY_SIM_SOCKET=self.node.sim[5:], CUDA_MPS_PIPE_DIRECTORY=pipe)
        done = subprocess.run([control, "namespace", "create", "s_77", "--server=0"], env=env,
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("s_77", self.names(pipe))
        self.start()
        harness.wait_for(lambda: "s_77" not in self.names(pipe), "what is nobody's goes")

    def test_a_new_daemon_knows_them(self):
        """The MPS daemon is killed: its slices get their namespaces back."""
        client = self.client("--mode", "mps", "--gpu", "0", "--memory", "20GiB", "--compute", "25%",
                             user=BOB)
        with open(os.path.join(self.node.state, "mps/g0/pipe/nvidia-cuda-mps-control.pid"),
                  encoding="utf-8") as f:
            pid = int(f.read())
        name = self.one()["id"].replace("-", "_")
        path = os.path.join(self.node.state, "mps/g0/pipe/0", name)
        old = os.stat(path + "/control").st_ctime_ns
        os.kill(pid, harness.signal.SIGKILL)

        def back():
            try:
                return (os.stat(path + "/control").st_ctime_ns != old and
                        os.stat(path).st_mode & 0o777 == 0o700)
            except FileNotFoundError:
                return False
        harness.wait_for(back, "the namespace is there again, and closed to others")
        self.end(client)
        self.nothing_is_left()


@unittest.skipUnless(can_make_cgroups(), "needs root and a cgroup hierarchy of version 2")
class Untrusted(WallsCase):
    def untrusted(self, *args):
        return self.node.divvy("run", "--trust", "untrusted", "--no-wait", *args, "--", "true")

    def check_all(self, namespaces):
        self.apply_and_settle(layout("{gpu: 0, mig: [{profile: 3g.40gb, mode: governed}, "
                                     "{profile: 1g.10gb, mode: exclusive}, "
                                     "{profile: 2g.20gb, mode: mps, replicas: 2}]}",
                                     "{gpu: 1, mode: mps, replicas: 4}"))
        for args, good in (
                (("--gpu", "0", "--mode", "mps"), False),
                (("--gpu", "0", "--mode", "exclusive"), True),
                (("--gpu", "0", "--mode", "governed", "--memory", "8GiB"), False),
                (("--gpu", "1"), True),
                (("--gpu", "1", "--memory", "5GiB", "--compute", "10%"), namespaces)):
            with self.subTest(args=args):
                run = self.untrusted(*args)
                self.assertEqual(run.returncode, 0 if good else 125, run.stderr)
                if not good:
                    self.assertIn("--mode exclusive", run.stderr)
                    self.assertIn("mig: [", run.stderr)
        self.apply_and_settle(layout("{gpu: 1, mode: auto}"))
        for mode, good in (("governed", False), ("timeslice", False), ("mps", False),
                           ("exclusive", True)):
            with self.subTest(mode=mode):
                size = () if mode == "exclusive" else ("--memory", "8GiB")
                run = self.node.divvy("run", "--trust", "untrusted", "--gpu", "1", "--mode", mode,
                                      *size, "--", "true")
                self.assertEqual(run.returncode, 0 if good else 125, run.stderr)
                if not good:
                    self.assertIn("MPS (mode: mps)" if namespaces else "replicas: N", run.stderr)
        self.nothing_is_left()

    def test_where_both_walls_hold(self):
        self.check_all(True)


class Older(Untrusted):
    """Driver 580: none of this, and nothing pretends to it."""
    DRIVER = "580.95.05"

    def test_where_both_walls_hold(self):
        self.check_all(False)

    def test_equal_parts_are_not_left(self):
        self.apply_and_settle(layout("{gpu: 0, mode: mps, replicas: 4}"))
        client = self.client("--gpu", "0")
        self.assertEqual(client.ask("sms", 0), 27)
        self.assertEqual(self.one()["memory_wall"], "driver")
        for past, good in ((("CUDA_MPS_PIPE_DIRECTORY=/nowhere",), False),
                           (("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=100",
                             "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT=0=70G"), True)):
            for gib in (4, 30):
                with self.subTest(past=past, gib=gib):
                    run = self.node.divvy("run", "--gpu", "0", "--", "env", *past, *alloc(gib))
                    self.assertEqual(run.returncode, 0 if good and gib == 4 else 1, run.stderr)
        self.end(client)

    def test_walls_are_named(self):
        for args, memory in ((("governed",), "cooperative"), (("timeslice",), "cooperative"),
                             (("mps",), "cooperative"), (("exclusive",), "hardware")):
            with self.subTest(args=args):
                size = () if args[0] == "exclusive" else ("--memory", "8GiB")
                self.assertIn(f"memory wall {memory}", self.walls("--mode", *args, *size))
        self.assertFalse(os.path.exists(self.folder()))
        self.assertNotIn("memory_limits", self.node.log())


class NoCgroups(WallsCase):
    """A driver with memory limits, and a machine where no cgroup can be made."""
    prefix = ()

    def setUp(self):
        spawn = subprocess.Popen
        prefix = list(self.prefix)
        if not prefix:
            self.skipTest("needs root")

        def spawn_behind(command, *args, **kw):
            if command[0] == harness.program("divvyd"):
                command = prefix + command
            return spawn(command, *args, **kw)
        harness.subprocess.Popen = spawn_behind
        self.addCleanup(setattr, harness.subprocess, "Popen", spawn)
        super().setUp()

    def check(self):
        run = self.node.divvy("run", "--mode", "governed", "--memory", "8GiB", "--",
                              *alloc(1))
        self.assertEqual(run.returncode, 0, run.stderr)
        _, held = self.hold("--mode", "governed", "--memory", "8GiB")
        self.assertEqual(held["memory_wall"], "cooperative")
        self.assertIn("usable=false", self.node.log())


@unittest.skipUnless(can_make_cgroups(), "needs root and a cgroup hierarchy of version 2")
class NoHierarchy(NoCgroups):
    prefix = ("unshare", "-m", "sh", "-c", f"umount {cgroup_mount()} && exec \"$@\"", "sh")

    def test_walls_are_named(self):
        self.check()
        self.assertIn("no cgroup hierarchy of version 2", self.node.log())


@unittest.skipUnless(can_make_cgroups(), "needs root and a cgroup hierarchy of version 2")
class ReadOnlyHierarchy(NoCgroups):
    prefix = ("unshare", "-m", "sh", "-c",
              f"mount -o remount,bind,ro {cgroup_mount()} && exec \"$@\"", "sh")

    def test_walls_are_named(self):
        self.check()
        self.assertIn("cannot make the cgroup", self.node.log())


@unittest.skipUnless(can_make_cgroups() and other_user_can_run(),
                     "needs root, cgroups of version 2, and files that other users can read")
class NotRoot(NoCgroups):
    prefix = as_user(ANN)

    def setUp(self):
        made = tempfile.mkdtemp

        def mkdtemp_for_ann(*args, **kw):
            path = made(*args, **kw)
            shutil.chown(path, ANN, ANN)
            return path
        harness.tempfile.mkdtemp = mkdtemp_for_ann
        self.addCleanup(setattr, harness.tempfile, "mkdtemp", made)
        super().setUp()

    def test_walls_are_named(self):
        self.check()
        self.assertIn("memory limits need root", self.node.log())
        text = self.walls("--gpu", "1", "--mode", "mps", "--memory", "8GiB")
        self.assertIn("memory wall cooperative", text)
        self.assertIn("compute wall cooperative", text)


if __name__ == "__main__":
    unittest.main()
