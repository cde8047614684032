# SPDX-License-Identifier: Apache-2.0
"""Containers as holders of slices: what divvy-hook asks for, with processes that stand for
containers' first ones; and real ones, by runc, where it runs here."""
import json
import os
import subprocess
import sys
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

    def hook(self, process, *args, device=None, said=None, timeout="20s"):
        state = {"ociVersion": "1.0.2", "id": f"c{process.pid}", "pid": process.pid,
                 "status": "created", "bundle": "/b",
                 "annotations": annotations() if said is None else said}
        return subprocess.run([HOOK, "--socket", self.node.socket, "--resource", "nvidia.com/gpu",
                               "--device", device or self.uuid, "--timeout", timeout, *args],
                              input=json.dumps(state), capture_output=True, text=True,
                              timeout=120, check=False)

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
                                 capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(out.stdout.strip(), "403", out.stderr)


if __name__ == "__main__":
    unittest.main()
