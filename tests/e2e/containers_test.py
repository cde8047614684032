# SPDX-License-Identifier: Apache-2.0
"""Containers as holders of slices: what divvy-hook asks for, with processes that stand for
containers' first ones; and real ones, by runc, where it runs here."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
from harness import GIB  # noqa: E402

HOOK = os.path.join(harness.LIBDIR, "divvy-hook")
CRI = "io.kubernetes.cri."


def annotations(namespace="team-a", pod="train-0", container="main"):
    return {CRI + "sandbox-namespace": namespace, CRI + "sandbox-name": pod,
            CRI + "sandbox-uid": "3f2a9b6c-1111-4222-8333-0123456789ab",
            CRI + "container-name": container, CRI + "container-type": "container"}


@unittest.skipIf(os.geteuid() != 0, "container runtimes call the hook as root")
class Hook(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = harness.Node("a100")
        cls.node.start()
        cls.uuid = cls.node.json("status")["gpus"][0]["uuid"]

    @classmethod
    def tearDownClass(cls):
        cls.node.close()

    def container(self):
        """The first process of one."""
        process = subprocess.Popen(["sleep", "600"])
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        process.kill()
        process.wait()
        harness.wait_for(lambda: not [s for s in self.node.slices()
                                      if s.get("container_id") == f"c{process.pid}"], "released")

    def hook(self, process, *args, device=None, said=None, timeout="100s"):
        state = {"ociVersion": "1.0.2", "id": f"c{process.pid}", "pid": process.pid,
                 "status": "created", "bundle": "/b",
                 "annotations": annotations() if said is None else said}
        return subprocess.run([HOOK, "--socket", self.node.socket, "--resource", "nvidia.com/gpu",
                               "--device", device or self.uuid, "--timeout", timeout, *args],
                              input=json.dumps(state), capture_output=True, text=True,
                              timeout=2 * harness.PATIENCE, check=False)

    def granted(self, *args, **kwargs):
        process = self.container()
        done = self.hook(process, *args, **kwargs)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return process

    def test_a_slice_of_a_pod(self):
        process = self.granted("--mode", "governed", "--memory-bytes", str(GIB), "--compute", "1750")
        s, = self.node.slices()
        self.assertEqual((s["tenant"], s["namespace"], s["pod"], s["container"]),
                         ("team-a", "team-a", "train-0", "main"))
        self.assertEqual((s["memory_bytes"], s["compute_permille"], s["mode"]),
                         (GIB, 250, "governed"))
        self.assertIn("team-a/train-0/main", self.node.divvy("ps").stdout)
        # The hook was cut off and asks again: the same slice.
        again = self.hook(process, "--mode", "governed", "--memory-bytes", str(GIB),
                          "--compute", "1750")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual([x["id"] for x in self.node.slices()], [s["id"]])
        # It is there after a restart of the daemon, and goes with the container.
        self.node.stop()
        self.node.start()
        harness.wait_for(lambda: self.node.slices() and
                         self.node.slices()[0].get("pod") == "train-0", "restored")
        self.assertEqual(self.hook(process, "--mode", "governed", "--memory-bytes", str(GIB),
                                   "--compute", "1750").returncode, 0)
        self.assertEqual(len(self.node.slices()), 1)
        process.kill()
        process.wait()
        harness.wait_for(lambda: not self.node.slices(), "released with its container")

    def test_a_refusal_reaches_the_runtime(self):
        process = self.container()
        done = self.hook(process, "--mode", "governed", "--memory-bytes", str(400 * GIB))
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "^divvy-hook: .*400.* GiB.*\n$")
        for args, message in ((("--mode", "some"), "mode"), ((), "--mode")):
            done = self.hook(process, *args)
            self.assertEqual(done.returncode, 1)
            self.assertIn(message, done.stderr)
        done = self.hook(process, "--mode", "governed", device="0")
        self.assertIn("UUID", done.stderr)
        done = self.hook(process, "--mode", "governed", device="GPU-00000000-nobody")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.node.slices(), [])

    def test_kill_ends_the_container(self):
        process = self.granted("--mode", "governed", "--memory-bytes", str(GIB), "--compute", "70")
        s, = self.node.slices()
        self.assertEqual(self.node.divvy("kill", s["id"]).returncode, 0)
        self.assertEqual(process.wait(harness.PATIENCE), -15)

    def test_a_container_that_has_ended(self):
        process = self.container()
        process.kill()
        process.wait()
        done = self.hook(process, "--mode", "governed")
        self.assertIn("has ended", done.stderr)

    def test_all_or_none(self):
        first = self.granted("--mode", "governed", "--memory-bytes", str(GIB), "--compute", "3500")
        process = self.container()
        ids = f"{self.uuid}::0,{self.uuid}::1"
        done = self.hook(process, "--mode", "governed", "--memory-bytes", str(GIB), "--compute",
                         "3000", device=ids)
        self.assertEqual(done.returncode, 1)  # one of them fits
        self.assertIn("asked 42.9% of a GPU", done.stderr)
        harness.wait_for(lambda: len(self.node.slices()) == 1, "the half is taken back")
        done = self.hook(process, "--mode", "governed", "--memory-bytes", str(GIB), "--compute",
                         "700", device=ids)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(self.node.slices()), 3)
        self.assertIsNone(first.poll())

    def test_who_leaves_is_waited_for(self):
        leaves = self.granted("--mode", "exclusive")
        process = self.container()
        late = subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {leaves.pid}"])
        done = self.hook(process, "--mode", "exclusive")
        late.wait()
        leaves.wait()
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_other_runtimes(self):
        self.granted("--mode", "governed", "--memory-bytes", str(GIB), "--compute", "70", said={
            "io.kubernetes.pod.namespace": "b", "io.kubernetes.pod.name": "p",
            "io.kubernetes.container.name": "c"})
        self.granted("--mode", "governed", "--memory-bytes", str(GIB), "--compute", "70",
                     said={"divvy.dev/tenant": "ann"})
        self.granted("--mode", "governed", "--memory-bytes", str(GIB), "--compute", "70", said={})
        self.assertEqual([(s["tenant"], s["namespace"], s["pod"]) for s in self.node.slices()],
                         [("b", "b", "p"), ("ann", None, None), ("container", None, None)])

    def test_only_root_may(self):
        process = self.container()
        body = json.dumps({"resource": "r", "devices": [self.uuid], "mode": "governed",
                           "state": {"id": "x", "pid": process.pid}})
        code = ("import http.client,socket,sys\n"
                "c=http.client.HTTPConnection('x');c.sock=socket.socket(socket.AF_UNIX)\n"
                "c.sock.connect(sys.argv[1]);c.request('POST','/v1/containers',sys.argv[2])\n"
                "print(c.getresponse().status)\n")
        for user in ("daemon", "nobody"):  # the daemon's own main is nobody's
            out = subprocess.run(["setpriv", "--reuid", user, "--regid", "daemon", "--clear-groups",
                                  "/usr/bin/python3", "-c", code, self.node.socket, body],
                                 capture_output=True, text=True, timeout=harness.PATIENCE, check=False)
            self.assertEqual(out.stdout.strip(), "403", out.stderr)


def runc_works():
    """A container needs rights that not every place where tests run gives to root."""
    if os.geteuid() != 0 or not shutil.which("runc"):
        return False
    with tempfile.TemporaryDirectory() as bundle:
        Bundle(bundle, ["/bin/true"], programs=["/bin/true"]).write()
        done = subprocess.run(["runc", "run", "-b", bundle, f"divvy-probe-{os.getpid()}"],
                              capture_output=True, timeout=harness.PATIENCE, check=False)
        return done.returncode == 0


class Bundle:
    """What runc starts: a root file system of a few programs and their libraries, a config.json."""

    def __init__(self, path, command, programs=()):
        self.path, self.root = path, os.path.join(path, "rootfs")
        for name in ("usr/bin", "usr/lib/x86_64-linux-gnu", "usr/lib64", "proc", "dev", "tmp",
                     "sys", "etc", "opt"):
            os.makedirs(os.path.join(self.root, name), exist_ok=True)
        for name in ("bin", "lib", "lib64"):
            os.symlink("usr/" + name, os.path.join(self.root, name))
        for program in programs:
            self.add(program)
        subprocess.run(["runc", "spec", "-b", path], check=True)
        with open(os.path.join(path, "config.json"), encoding="utf-8") as f:
            self.config = json.load(f)
        self.config["process"].update(args=command, terminal=False)
        self.config["root"]["readonly"] = False

    def add(self, program):
        shutil.copy(os.path.realpath(program),
                    os.path.join(self.root, "usr/bin", os.path.basename(program)))
        needed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        for library in re.findall(r"(/\S+) \(0x", needed):
            folder = "usr/lib64" if "ld-linux" in library else "usr/lib/x86_64-linux-gnu"
            shutil.copy(os.path.realpath(library),
                        os.path.join(self.root, folder, os.path.basename(library)))

    def apply(self, specification):
        """As a runtime that knows CDI does."""
        edits = json.loads(specification)["devices"][0]["containerEdits"]
        self.config["process"]["env"] += edits.get("env", [])
        for m in edits.get("mounts", []):
            self.config["mounts"].append({"source": m["hostPath"], "type": "bind",
                                          "destination": m["containerPath"],
                                          "options": m["options"]})
        for h in edits.get("hooks", []):
            self.config.setdefault("hooks", {}).setdefault(h["hookName"], []).append(
                {k: h[k] for k in ("path", "args", "timeout")})

    def write(self):
        with open(os.path.join(self.path, "config.json"), "w", encoding="utf-8") as f:
            json.dump(self.config, f)


@unittest.skipUnless(runc_works(), "runc does not run here")
class Runc(unittest.TestCase):
    """The GPUs are a simulator's that outlives the daemon, as real ones do."""

    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.TemporaryDirectory()
        sim = os.path.join(cls.home.name, "sim.sock")
        subprocess.run([harness.program("divvy-sim"), "start", "a100", "--socket", sim], check=True,
                       stdout=subprocess.DEVNULL)
        cls.node = harness.Node(f"unix:{sim}")
        cls.node.start()
        cls.uuid = cls.node.json("status")["gpus"][0]["uuid"]

    @classmethod
    def tearDownClass(cls):
        cls.node.close()
        subprocess.run([harness.program("divvy-sim"), "stop", "--socket",
                        os.path.join(cls.home.name, "sim.sock")], check=True,
                       stdout=subprocess.DEVNULL)
        cls.home.cleanup()

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.id = f"divvy-test-{os.getpid()}"

    def edits(self, **wanted):
        body = {"name": "quarter", "resource": "nvidia.com/gpu", "devices": [self.uuid], **wanted}
        status, answer = self.node.ask("POST", "/v1/containers/cdi",
                                       {k: v for k, v in body.items() if v is not None})
        self.assertEqual(status, 200, answer)
        return answer["text"]

    def bundle(self, script, **wanted):
        b = Bundle(self.directory.name, ["/bin/sh", "-c", script],
                   ["/bin/sh", "/bin/sleep", "/usr/bin/env", "/bin/cat",
                    harness.program("divvy-load")])
        b.apply(self.edits(**{"mode": "governed", "memory_bytes": GIB, "compute": 1750, **wanted}))
        b.config["annotations"] = annotations()
        b.write()
        return b

    def run_it(self, script, **wanted):
        self.bundle(script, **wanted)
        return subprocess.run(["runc", "run", "-b", self.directory.name, self.id],
                              capture_output=True, text=True, timeout=harness.PATIENCE, check=False)

    def test_it_sees_its_slice_and_is_stopped_at_its_cap(self):
        done = self.run_it("divvy-load alloc --bytes 300MiB -o json; echo $?; "
                           "divvy-load alloc --bytes 1GiB -o json; echo $?; nvidia-smi -L")
        self.assertEqual(done.returncode, 0, done.stderr)
        first, rest = done.stdout.split("\n0\n", 1)
        self.assertNotIn("cuda_error", json.loads(first))
        second, gpus = rest.split("\n1\n", 1)
        self.assertEqual(json.loads(second)["cuda_error"], 2, done.stdout)
        self.assertEqual(len(gpus.strip().split("\n")), 1, gpus)
        self.assertIn(self.uuid, gpus)
        harness.wait_for(lambda: not self.node.slices(), "released with its container")
        self.assertIn("slice.released", self.node.log())

    def test_no_environment_leads_past(self):
        """Each of these would do outside of a container."""
        load = "divvy-load alloc --bytes 2GiB"
        gpus = "DIVVY_SIM_SOCKET=/run/divvy/sim.sock"  # a simulated GPU is no device node
        ways = [load, f"env -i {gpus} /bin/{load}",
                f"env -i {gpus} LD_LIBRARY_PATH=/opt:/nowhere /bin/{load}",
                f"LD_LIBRARY_PATH= LD_PRELOAD= DIVVY_TENANT_SOCKET= {load}",
                f"DIVVY_TENANT_SOCKET=/opt/mine DIVVY_SLICE=s-99 {load}",
                f"CUDA_VISIBLE_DEVICES=0 NVIDIA_VISIBLE_DEVICES=all {load}"]
        done = self.run_it("; ".join(f"{way} >/dev/null 2>&1; echo $?" for way in ways))
        self.assertEqual(done.stdout.split(), ["1"] * len(ways), done.stderr)

    def test_what_is_started_in_it_later(self):
        """`kubectl exec`: no descendant of the container's first process; and after a restart."""
        self.bundle("sleep 600")
        before = self.node.log().count("tenant.joined")
        subprocess.run(["runc", "run", "-d", "-b", self.directory.name, self.id], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        try:
            for again in (False, True):
                for size, status in (("300MiB", 0), ("1GiB", 1)):
                    done = subprocess.run(["runc", "exec", self.id, "divvy-load", "alloc",
                                           "--bytes", size], capture_output=True, text=True,
                                          timeout=harness.PATIENCE, check=False)
                    self.assertEqual(done.returncode, status, done.stdout + done.stderr)
                self.assertEqual([s["pod"] for s in self.node.slices()], ["train-0"])
                self.assertEqual(self.node.log().count("tenant.joined") - before, 4 if again else 2)
                if not again:
                    self.node.stop()
                    self.node.start()
                    harness.wait_for(self.node.slices, "restored")
        finally:
            subprocess.run(["runc", "delete", "-f", self.id], check=True)
        harness.wait_for(lambda: not self.node.slices(), "released with its container")

    def test_a_part_of_mps(self):
        layout = os.path.join(self.directory.name, "layout.yaml")
        with open(layout, "w", encoding="utf-8") as f:
            f.write("apiVersion: divvy/v1\nkind: Layout\ngpus:\n"
                    "  - {gpu: 0, mode: mps, replicas: 4}\n")
        with harness.Node("a100", args=["--config", layout]) as node:
            self.uuid = node.json("status")["gpus"][0]["uuid"]
            self.node, before = node, self.node
            self.addCleanup(lambda: setattr(self, "node", before))
            body = {"name": "m", "resource": "r", "devices": [self.uuid], "mode": "mps"}
            harness.wait_for(lambda: node.ask("POST", "/v1/containers/cdi", body)[0] == 200,
                             "its daemon is up")
            done = self.run_it("divvy-load alloc --bytes 10GiB >/dev/null; echo $?; "
                               "env -i DIVVY_SIM_SOCKET=/run/divvy/sim.sock "
                               "CUDA_MPS_PIPE_DIRECTORY=/run/divvy/mps "
                               "/bin/divvy-load alloc --bytes 21GiB >/dev/null; echo $?",
                               mode="mps", **{"memory_bytes": None, "compute": None})
            self.assertEqual(done.stdout.split(), ["0", "1"], done.stderr)

    def test_namespaces_of_mps(self):
        """Driver 615: each container's limits are its namespace's, whatever it sets, whichever
        library it loads; also when the MPS daemon is another by then."""
        past = "env -i DIVVY_SIM_SOCKET=/run/divvy/sim.sock LD_LIBRARY_PATH=/run/divvy/driver " \
               "CUDA_MPS_PIPE_DIRECTORY=/run/divvy/mps CUDA_MPS_PINNED_DEVICE_MEM_LIMIT=0=60G " \
               "/bin/divvy-load alloc --bytes %dGiB >/dev/null; echo $?"
        layout = os.path.join(self.directory.name, "layout.yaml")
        with open(layout, "w", encoding="utf-8") as f:
            f.write("apiVersion: divvy/v1\nkind: Layout\ngpus:\n  - {gpu: 0, mode: mps}\n")
        with harness.Node("h100-r615", args=["--config", layout]) as node:
            self.uuid = node.json("status")["gpus"][0]["uuid"]
            self.node, before = node, self.node
            self.addCleanup(lambda: setattr(self, "node", before))
            wanted = {"mode": "mps", "memory_bytes": 10 * GIB, "compute": 1750}
            harness.wait_for(lambda: node.ask("POST", "/v1/containers/cdi", {
                "name": "m", "resource": "r", "devices": [self.uuid], **wanted})[0] == 200,
                "its daemon is up")
            b = self.bundle("sleep 600", **wanted)
            b.config["process"]["user"] = {"uid": 1000, "gid": 1000}
            b.write()
            subprocess.run(["runc", "run", "-d", "-b", b.path, self.id], check=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)

            def alloc(size):
                return subprocess.run(["runc", "exec", self.id, "/bin/sh", "-c", past % size],
                                      capture_output=True, text=True, timeout=harness.PATIENCE,
                                      check=False).stdout.strip()
            try:
                s, = node.slices()
                self.assertEqual((s["memory_wall"], s["mode"]), ("driver", "mps"))
                self.assertEqual((alloc(8), alloc(11)), ("0", "1"))
                self.assertEqual(node.divvy("limit", s["id"], "--memory", "20GiB").returncode, 0)
                harness.wait_for(lambda: alloc(11) == "0", "the wall has moved")
                # Its MPS daemon dies, and comes again with a namespace for it.
                with open(os.path.join(node.state, "mps/g0/pipe/nvidia-cuda-mps-control.pid"),
                          encoding="utf-8") as f:
                    os.kill(int(f.read()), 9)
                harness.wait_for(lambda: node.log().count("mps.up") == 2, "the daemon is back")
                harness.wait_for(lambda: alloc(18) == "0", "its namespace too")
                self.assertEqual(alloc(21), "1")
                # The same share to another container, which is not there twice.
                other = Bundle(tempfile.mkdtemp(dir=self.directory.name), ["/bin/true"],
                               ["/bin/true"])
                other.apply(self.edits(**wanted))
                other.write()
                done = subprocess.run(["runc", "run", "-b", other.path, self.id + "-2"],
                                      capture_output=True, text=True, timeout=harness.PATIENCE, check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("one tenant's share", done.stderr)
            finally:
                subprocess.run(["runc", "delete", "-f", self.id], check=True)
            harness.wait_for(lambda: not node.slices(), "released")
            # Another container through the same door finds its own way, not the old one.
            self.directory = tempfile.TemporaryDirectory()
            self.addCleanup(self.directory.cleanup)
            done = self.run_it(past % 8 + "; " + past % 11, **wanted)
            self.assertEqual(done.stdout.split(), ["0", "1"], done.stderr)

    @unittest.skipUnless(os.path.isdir("/sys/fs/cgroup/unified") or
                         os.path.exists("/sys/fs/cgroup/cgroup.controllers"), "no cgroups, version 2")
    def test_the_driver_limits_the_containers_own_cgroup(self):
        """Driver 615: also what loads the driver past the governor, and what is started later."""
        past = "env -i DIVVY_SIM_SOCKET=/run/divvy/sim.sock LD_LIBRARY_PATH=/run/divvy/driver " \
               "/bin/divvy-load alloc --bytes 2GiB >/dev/null; echo $?"
        with harness.Node("h100-r615") as node:
            uuid = node.json("status")["gpus"][0]["uuid"]
            self.node, before, self.uuid = node, self.node, uuid
            self.addCleanup(lambda: setattr(self, "node", before))
            b = self.bundle("cat /proc/1/cgroup; sleep 600")
            subprocess.run(["runc", "run", "-d", "-b", b.path, self.id], check=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
            try:
                s, = node.slices()
                self.assertEqual(s["memory_wall"], "driver")
                listed = json.loads(subprocess.run(["runc", "state", self.id], capture_output=True,
                                                   text=True, check=True).stdout)
                with open(f"/proc/{listed['pid']}/cgroup", encoding="utf-8") as f:
                    self.assertIn(self.id, [line for line in f if line.startswith("0::")][0])
                done = subprocess.run(["runc", "exec", self.id, "/bin/sh", "-c", past],
                                      capture_output=True, text=True, timeout=harness.PATIENCE, check=False)
                self.assertEqual(done.stdout.strip(), "1", done.stderr)
                self.assertEqual(node.divvy("limit", s["id"], "--memory", "4GiB").returncode, 0)
                harness.wait_for(lambda: subprocess.run(
                    ["runc", "exec", self.id, "/bin/sh", "-c", past], capture_output=True,
                    text=True, timeout=harness.PATIENCE, check=False).stdout.strip() == "0",
                    "the wall has moved")
            finally:
                subprocess.run(["runc", "delete", "-f", self.id], check=True)
            harness.wait_for(lambda: not node.slices(), "released")
            self.assertNotIn("slice.wall", node.log())

    def test_what_cannot_be_had_does_not_start(self):
        done = self.run_it("echo started", memory_bytes=400 * GIB)
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn("started", done.stdout)
        self.assertRegex(done.stderr, "divvy-hook: .*400")
        self.assertEqual(self.node.slices(), [])

    def test_a_device_of_its_own(self):
        done = self.run_it("divvy-load alloc --bytes 30GiB >/dev/null; echo $?", mode="exclusive",
                           **{"memory_bytes": None, "compute": None})
        self.assertEqual(done.stdout.strip(), "0", done.stderr)

    def several(self, spec, wanted, script):
        """A container with a CDI device for each of the wanted, on a simulated node of its own:
        what its script says."""
        os.chmod(self.directory.name, 0o755)  # the simulator is not root
        node = os.path.join(self.directory.name, "node.yaml")
        with open(node, "w", encoding="utf-8") as f:
            f.write("apiVersion: divvy/v1\nkind: SimNode\ngpus:\n" + spec)
        with harness.Node(node) as node:
            gpus = node.json("status")["gpus"]
            b = Bundle(self.directory.name, ["/bin/sh", "-c", script],
                       ["/bin/sh", "/usr/bin/env", "/bin/mkdir", "/bin/touch",
                        harness.program("divvy-load")])
            uuids = []
            for i, choose in enumerate(wanted):
                uuids.append(choose(gpus))
                status, answer = node.ask("POST", "/v1/containers/cdi", {
                    "name": f"d{i}", "resource": f"r{i}", "devices": [uuids[-1]],
                    "mode": "exclusive"})
                self.assertEqual(status, 200, answer)
                b.apply(answer["text"])
            b.config["annotations"] = annotations()
            b.write()
            done = subprocess.run(["runc", "run", "-b", b.path, self.id], capture_output=True,
                                  text=True, timeout=harness.PATIENCE, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            return gpus, uuids, done.stdout

    def test_it_sees_what_it_was_given(self):
        """As from /dev/nvidiaN: counted from 0, whatever its environment says, and not what it
        makes for itself."""
        def mig(gpus):
            return gpus[3]["devices"][1]["uuid"]
        gpus, uuids, out = self.several(
            "  - {model: A100-80GB, count: 3}\n  - {model: A100-80GB, mig: \"3g.40gb,2g.20gb\"}\n",
            [lambda g: g[2]["uuid"], mig],
            "nvidia-smi -L; echo; "
            "for id in GPU-x GPU-y; do touch /run/divvy/sim-devices/$id; done; "
            "env -i DIVVY_SIM_SOCKET=/run/divvy/sim.sock CUDA_VISIBLE_DEVICES=0,1,2,3 "
            "NVIDIA_VISIBLE_DEVICES=all /usr/bin/nvidia-smi -L; echo; "
            "for gpu in 0 1; do CUDA_VISIBLE_DEVICES=$gpu "
            "divvy-load alloc --bytes 60GiB >/dev/null; echo $?; done")
        first, again, load = out.split("\n\n")
        self.assertEqual(first, again)
        listed = re.findall(r"^( *)(GPU|MIG)[^:]*?(\d+): .*?UUID: (\S+?)\)", first, re.M)
        self.assertEqual([(kind, n, uuid) for _, kind, n, uuid in listed],
                         [("GPU", "0", uuids[0]), ("GPU", "1", gpus[3]["uuid"]),
                          ("MIG", "0", uuids[1])], first)
        self.assertEqual(load.split(), ["0", "1"])  # a whole GPU, and a MIG device of 20 GiB


if __name__ == "__main__":
    unittest.main()
