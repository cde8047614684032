# SPDX-License-Identifier: Apache-2.0
"""divvyd from outside: a wedged driver, books that cannot be written, strangers, owners that end."""
import json
import os
import signal
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.environ["DIVVY_SOURCE"], "tests", "e2e"))
import harness  # noqa: E402
from harness import GIB  # noqa: E402


def ask(node, method, path, body=None):
    return node.ask(method, path, body)


class Claims(unittest.TestCase):
    """This process is the owner of what it asks for."""

    @classmethod
    def setUpClass(cls):
        cls.node = harness.Node("a100")
        cls.node.start()

    @classmethod
    def tearDownClass(cls):
        cls.node.__exit__(None, None, None)

    def tearDown(self):
        for s in ask(self.node, "GET", "/v1/slices")[1]["slices"]:
            ask(self.node, "DELETE", f"/v1/claims/{s['claim']}")

    def claim(self, **body):
        return ask(self.node, "POST", "/v1/claims", body)

    def test_exclusive_then_queue_by_priority(self):
        status, first = self.claim(tenant="ann", mode="exclusive")
        self.assertEqual((status, first["state"]), (200, "granted"))
        self.assertEqual(first["slice"]["memory_wall"], "hardware")
        env = first["slice"]["env"]
        self.assertEqual(env["CUDA_VISIBLE_DEVICES"],
                         self.node.json("status")["gpus"][0]["uuid"])
        self.assertTrue(env["LD_LIBRARY_PATH"].split(":")[0].endswith("/standin"))
        low = self.claim(tenant="bob", memory_bytes=GIB, compute=700)
        high = self.claim(tenant="cyd", memory_bytes=GIB, compute=700, priority=5)
        self.assertEqual((low[0], high[0]), (202, 202))
        queue = ask(self.node, "GET", "/v1/queue")[1]["claims"]
        self.assertEqual([c["tenant"] for c in queue], ["cyd", "bob"])
        self.assertEqual([c["position"] for c in queue], [1, 2])
        status, refused = self.claim(tenant="dan", memory_bytes=GIB, wait=False)
        self.assertEqual((status, refused["kind"]), (409, "Error"))
        self.assertEqual(refused["verdict"]["result"], "refused")
        # A long poll ends when the state changes.
        late = harness.Connection(self.node.socket)
        late.request("GET", f"/v1/claims/{low[1]['id']}?wait_ms=30000&seen=queued:2")
        self.assertEqual(ask(self.node, "DELETE", f"/v1/claims/{first['id']}")[0], 200)
        answer = json.loads(late.getresponse().read())
        late.close()
        self.assertIn((answer["state"], answer.get("position")),
                      (("granted", None), ("queued", 1)))
        for _, c in (low, high):
            self.assertEqual(ask(self.node, "GET", f"/v1/claims/{c['id']}")[1]["state"],
                             "granted")

    def test_a_granted_claim_says_what_it_was_granted(self):
        granted = self.claim(tenant="ann", memory_bytes=GIB, compute=700)[1]["id"]
        for path in (f"/v1/claims/{granted}", f"/v1/explain?id={granted}"):
            with self.subTest(path=path):
                verdict = ask(self.node, "GET", path)[1]["verdict"]
                self.assertEqual(verdict["message"], "1.00 GiB and 10% of GPU 0, governed")
                self.assertNotIn("free_bytes", verdict)

    def test_unknown_things(self):
        for method, path, status in (("GET", "/v1/claims/c-999", 404), ("GET", "/nowhere", 404),
                                     ("PUT", "/v1/status", 405), ("GET", "/v1/explain", 400),
                                     ("POST", "/v1/slices/../kill", 404),
                                     ("GET", "/v1/claims/c-1?wait_ms=soon", 404)):
            with self.subTest(path=path):
                got, body = ask(self.node, method, path, {} if method != "GET" else None)
                self.assertEqual((got, body["kind"]), (status, "Error"))

    @unittest.skipIf(os.geteuid() != 0, "needs two users")
    def test_a_stranger_changes_nothing(self):
        _, mine = self.claim(tenant="ann", memory_bytes=GIB, compute=700)
        code = ("import http.client,socket,sys,json\n"
                "def ask(m,p,b):\n"
                " c=http.client.HTTPConnection('x');c.sock=socket.socket(socket.AF_UNIX)\n"
                " c.sock.connect(sys.argv[1]);c.request(m,p,b);print(c.getresponse().status)\n"
                "ask('DELETE','/v1/claims/'+sys.argv[2],None)\n"
                "ask('POST','/v1/slices/'+sys.argv[2]+'/kill','{}')\n"
                "ask('POST','/v1/claims',json.dumps({'tenant':'ann'}))\n")
        out = subprocess.run(["setpriv", "--reuid", "daemon", "--regid", "daemon",
                              "--clear-groups", "/usr/bin/python3", "-c", code, self.node.socket,
                              mine["id"]], capture_output=True, text=True, timeout=harness.PATIENCE,
                             check=False)
        self.assertEqual(out.stdout.split(), ["403", "403", "403"], out.stderr)

    def test_the_claim_ends_with_its_process(self):
        code = ("import http.client,socket,sys,time\n"
                "c=http.client.HTTPConnection('x');c.sock=socket.socket(socket.AF_UNIX)\n"
                "c.sock.connect(sys.argv[1]);c.request('POST','/v1/claims',"
                "'{\"memory_bytes\":1073741824,\"compute\":700}');"
                "print(c.getresponse().status,flush=True);time.sleep(600)\n")
        owner = subprocess.Popen([sys.executable, "-c", code, self.node.socket],
                                 stdout=subprocess.PIPE, text=True)
        try:
            self.assertEqual(owner.stdout.readline().strip(), "200")
            self.assertEqual(len(self.node.slices()), 1)
        finally:
            owner.kill()
            owner.wait()
            owner.stdout.close()
        harness.wait_for(lambda: not self.node.slices(), "released with its owner")


class Mig(unittest.TestCase):
    def test_devices_that_somebody_cut_are_found_and_shared(self):
        with harness.Node("dgx-a100") as node:
            smi = os.path.join(harness.LIBDIR, "sim", "bin", "nvidia-smi")
            for args in (["-i", "0", "-mig", "1"], ["-i", "0", "--gpu-reset"],
                         ["mig", "-i", "0", "-cgi", "9,14", "-C"]):
                subprocess.run([smi, *args], env=node.sim_env(), check=True, timeout=harness.PATIENCE,
                               stdout=subprocess.DEVNULL)
            gpu = harness.wait_for(  # the daemon may have looked in between
                lambda: next((g for g in node.json("status")["gpus"][:1]
                              if len(g["devices"]) == 2), None), "the MIG devices show")
            self.assertEqual(gpu["mode"], "mig")
            self.assertEqual(sorted(d["profile"] for d in gpu["devices"]), ["2g.20gb", "3g.40gb"])
            device = next(d for d in gpu["devices"] if d["profile"] == "3g.40gb")
            status, claim = ask(node, "POST", "/v1/claims",
                                {"gpu": device["uuid"], "memory_bytes": GIB, "compute": 700})
            self.assertEqual(status, 200, claim)
            self.assertEqual(claim["slice"]["profile"], "3g.40gb")
            self.assertEqual(claim["slice"]["placement_start"], device["placement_start"])
            self.assertEqual(claim["slice"]["env"]["CUDA_VISIBLE_DEVICES"], device["uuid"])

    def test_a_lost_gpu_takes_nothing_new(self):
        with harness.Node("dgx-a100") as node:
            node.divvy_sim("inject", "--gpu", "1", "--xid", "79", "--socket", node.sim_socket())
            harness.wait_for(lambda: node.json("status")["gpus"][1]["health"] == "failed",
                             "it shows as failed")
            status, answer = ask(node, "POST", "/v1/claims", {"gpu": "1", "memory_bytes": GIB,
                                                               "compute": 700, "wait": False})
            self.assertEqual(status, 409, answer)


class Troubles(unittest.TestCase):
    def test_a_wedged_driver_is_a_state(self):
        with harness.Node("a100", args=["--nvml-timeout", "1s"]) as node:
            sim = node.sim_socket()
            out = node.divvy_sim("inject", "--nvml-hang", "*=0", "--socket", sim)
            self.assertEqual(out.returncode, 0, out.stderr)
            harness.wait_for(lambda: node.json("status")["driver"]["state"] == "wedged", "wedged")
            self.assertEqual(node.divvy("doctor").returncode, 3)
            self.assertEqual(node.json("status")["gpus"][0]["health"], "unknown")
            node.divvy_sim("inject", "--clear", "--socket", sim)
            harness.wait_for(lambda: node.json("status")["driver"]["state"] == "ok",
                             "a new worker took over")
            harness.wait_for(lambda: node.json("status")["gpus"][0]["health"] == "ok", "healthy")

    def test_no_driver_is_a_state(self):
        with harness.Node("a100") as node:
            node.stop()
            env = harness.clean_env(DIVVY_LIBNVML="/nonexistent/libnvidia-ml.so.1")
            daemon = subprocess.Popen([harness.program("divvyd"), "--socket", node.socket,
                                       "--state", node.state], env=env, stdin=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)
            try:
                harness.wait_for(lambda: node.divvy("status").returncode == 0, "it runs")
                harness.wait_for(
                    lambda: node.json("status")["driver"]["state"] == "missing", "missing")
                run = node.divvy("run", "--memory", "1GiB", "--", "true")
                self.assertEqual(run.returncode, 125, run.stderr)
            finally:
                daemon.send_signal(signal.SIGTERM)
                self.assertEqual(daemon.wait(harness.PATIENCE), 0)

    def test_books_that_cannot_be_written_are_a_state(self):
        with harness.Node("a100") as node:
            node.stop()
            for name in os.listdir(node.state):
                if name.startswith("divvyd.db"):
                    os.unlink(os.path.join(node.state, name))
            os.mkdir(os.path.join(node.state, "divvyd.db"))
            node.start()
            run = node.divvy("run", "--memory", "1GiB", "--compute", "5%", "--", "true")
            self.assertEqual(run.returncode, 0, run.stderr)
            doctor = node.divvy("doctor")
            self.assertEqual(doctor.returncode, 3, doctor.stdout)
            self.assertIn("cannot be written", doctor.stdout)


if __name__ == "__main__":
    unittest.main()
