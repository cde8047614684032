# SPDX-License-Identifier: Apache-2.0
"""Bad input: one clear line, the right exit code, nothing half-applied."""
import json
import os
import socket
import stat
import subprocess
import tempfile
import unittest

import harness


def one_line(test, result, code, *words):
    test.assertEqual(result.returncode, code, result.stderr + result.stdout)
    lines = result.stderr.strip().splitlines()
    test.assertEqual(len(lines), 1, result.stderr)
    for word in words:
        test.assertIn(word, lines[0])


class WithoutDaemon(unittest.TestCase):
    def divvy(self, *args, **env):
        return subprocess.run([harness.program("divvy"), *args], text=True, capture_output=True,
                              env=harness.clean_env(**env), timeout=harness.PATIENCE, check=False)

    def test_mig_plan(self):
        good = self.divvy("mig", "plan", "--gpu", "A100-80GB", "--want",
                          "3g.40gb,2g.20gb,1g.10gb", "-o", "json")
        self.assertEqual(good.returncode, 0, good.stderr)
        plan = json.loads(good.stdout)
        self.assertEqual((plan["kind"], plan["feasible"]), ("MigPlan", True))
        self.assertEqual([i["profile"] for i in plan["instances"]],
                         ["3g.40gb", "2g.20gb", "1g.10gb"])
        taken = set()
        for i in plan["instances"]:
            cells = set(range(i["start"], i["start"] + i["size"]))
            self.assertFalse(cells & taken)
            taken |= cells
        bad = self.divvy("mig", "plan", "--gpu", "A100-80GB", "--want",
                         "3g.40gb,3g.40gb,3g.40gb", "-o", "json")
        self.assertEqual(bad.returncode, 3)
        plan = json.loads(bad.stdout)
        self.assertIs(plan["feasible"], False)
        self.assertTrue(plan["reason"])

    def test_unknown_words(self):
        one_line(self, self.divvy("mig", "plan", "--gpu", "A100-81GB", "--want", "1g.10gb"), 2,
                 "A100-80GB")
        one_line(self, self.divvy("mig", "plan", "--gpu", "A100-80GB", "--want", "1g.11gb"), 2,
                 "1g.11gb")
        one_line(self, self.divvy("stauts"), 2, "status")
        one_line(self, self.divvy("status", "--outptu", "json"), 2, "--outptu")

    def test_no_daemon(self):
        one_line(self, self.divvy("status", "--socket", "/nonexistent/sock"), 5,
                 "/nonexistent/sock")
        run = self.divvy("run", "--socket", "/nonexistent/sock", "--", "true")
        one_line(self, run, 125, "/nonexistent/sock")

    def test_unknown_node(self):
        r = subprocess.run([harness.program("divvy-sim"), "run", "dgx-a1000", "--", "true"],
                           text=True, capture_output=True, env=harness.clean_env(),
                           timeout=harness.PATIENCE, check=False)
        one_line(self, r, 2, "dgx-a100")
        with tempfile.TemporaryDirectory(prefix="divvy-e2e-") as directory:
            r = subprocess.run([harness.program("divvyd"), "--sim", "dgx-a1000", "--socket",
                                os.path.join(directory, "sock"), "--state",
                                os.path.join(directory, "state")],
                               text=True, capture_output=True, env=harness.clean_env(),
                               timeout=harness.PATIENCE, check=False)
            one_line(self, r, 2, "dgx-a100")
            self.assertEqual(os.listdir(directory), [])  # nothing half-applied


class WithDaemon(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = harness.Node("a100")
        cls.node.start()

    @classmethod
    def tearDownClass(cls):
        cls.node.__exit__(None, None, None)

    def tearDown(self):
        self.assertEqual(self.node.slices(), [])

    def test_sizes(self):
        for size in ("0", "-1GiB", "lots", "1e3GiB", "nan", "10 GiB", "99999999999999999999"):
            with self.subTest(size=size):
                r = self.node.divvy("run", f"--memory={size}", "--", "true")
                self.assertEqual(len(r.stderr.strip().splitlines()), 1, r.stderr)
                self.assertIn(r.returncode, (2, 125))
        for share in ("0%", "101%", "-5%", "much"):
            with self.subTest(share=share):
                r = self.node.divvy("run", f"--compute={share}", "--", "true")
                self.assertEqual(len(r.stderr.strip().splitlines()), 1, r.stderr)
                self.assertIn(r.returncode, (2, 125))

    def test_larger_than_any_gpu(self):
        r = self.node.divvy("run", "--memory", "900GiB", "--", "true")
        one_line(self, r, 125, "900")
        self.assertEqual(self.node.json("queue")["claims"], [])

    def test_tenant_names(self):
        for name in ("a\nb", "", "x" * 300, "tab\tname", "\x1b[31m"):
            with self.subTest(name=name):
                r = self.node.divvy("run", f"--tenant={name}", "--memory", "1GiB", "--", "true")
                self.assertEqual(len(r.stderr.strip().splitlines()), 1, r.stderr)
                self.assertIn(r.returncode, (2, 125))
                self.assertNotIn("\x1b", r.stderr)

    def test_untrusted_is_not_put_behind_a_cooperative_wall(self):
        r = self.node.divvy("run", "--trust", "untrusted", "--mode", "governed", "--memory",
                            "1GiB", "--", "true")
        one_line(self, r, 125, "untrusted")

    def request(self, raw):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(harness.PATIENCE)
            s.connect(self.node.socket)
            try:
                s.sendall(raw)
            except (BrokenPipeError, ConnectionResetError):
                pass
            data = b""
            try:
                while chunk := s.recv(65536):
                    data += chunk
                    if b"\r\n\r\n" in data:
                        head, body = data.split(b"\r\n\r\n", 1)
                        length = [int(h.split(b":")[1]) for h in head.split(b"\r\n")
                                  if h.lower().startswith(b"content-length")]
                        if length and len(body) >= length[0]:
                            break
            except (ConnectionResetError, TimeoutError):
                pass
        return data

    def post(self, body, path="/v1/claims"):
        data = self.request(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                            + body)
        head, _, rest = data.partition(b"\r\n\r\n")
        return int(head.split()[1]), rest

    def test_malformed_requests(self):
        for body in (b"", b"{", b"[]", b"null", b'{"memory_bytes":-1}', b'{"memory_bytes":1.5}',
                     b'{"memory_bytes":"10"}', b'{"memroy_bytes":1}', b'{"tenant":"a\\u0000b"}',
                     b"\xff\xfe", b'{"a":' * 2000, b'{"mode":"warp"}', b'{"compute":7001}'):
            with self.subTest(body=body[:40]):
                status, answer = self.post(body)
                self.assertEqual(status, 400, answer)
                self.assertEqual(json.loads(answer)["kind"], "Error")
        status, answer = self.post(b'{"memroy_bytes":1}')
        self.assertIn("memory_bytes", json.loads(answer)["message"])

    def test_oversized_request(self):
        status, _ = self.post(b'{"tenant":"' + b"x" * 200000 + b'"}')
        self.assertEqual(status, 413)
        self.assertEqual(self.node.divvy("status").returncode, 0)

    def test_garbage_on_the_socket(self):
        self.request(b"\x00\x01\x02" * 5000 + b"\r\n\r\n")
        self.request(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000)
        self.assertEqual(self.node.divvy("status").returncode, 0)

    def test_second_daemon_on_the_same_state(self):
        second = subprocess.run([harness.program("divvyd"), "--sim", "a100", "--socket",
                                 self.node.socket + "2", "--state", self.node.state],
                                text=True, capture_output=True, env=harness.clean_env(),
                                timeout=harness.PATIENCE, check=False)
        one_line(self, second, 5, self.node.state)
        self.assertEqual(self.node.divvy("status").returncode, 0)

    @unittest.skipIf(os.geteuid() != 0, "needs two users")
    def test_a_socket_without_permission(self):
        os.chmod(self.node.socket, 0o600)
        try:
            r = subprocess.run(["setpriv", "--reuid", "nobody", "--regid", "nogroup",
                                "--clear-groups", harness.program("divvy"), "status"],
                               env=self.node.env(), text=True, capture_output=True, timeout=harness.PATIENCE,
                               check=False)
            if "Permission denied" in r.stderr and r.returncode == 127:
                self.skipTest("the staged programs cannot be run by nobody")
            one_line(self, r, 4, self.node.socket)
        finally:
            os.chmod(self.node.socket, stat.S_IRUSR | stat.S_IWUSR | 0o066)


class CorruptState(unittest.TestCase):
    def test_kept_aside_never_deleted(self):
        node = harness.Node("a100")
        try:
            node.start()
            node.divvy("run", "--memory", "1GiB", "--compute", "5%", "--", "true")
            node.stop()
            found = sorted(f for f in os.listdir(node.state) if f.endswith(".db"))
            self.assertEqual(found, ["divvyd.db", "ledger.db"])
            for name in found:
                path = os.path.join(node.state, name)
                for extra in ("-wal", "-shm"):
                    if os.path.exists(path + extra):
                        os.unlink(path + extra)
                with open(path, "wb") as db:
                    db.write(b"this is not a database\n" * 500)
            node.start()
            self.assertEqual(node.divvy("status").returncode, 0)
            kept = sorted(f for f in os.listdir(node.state) if ".corrupt-" in f)
            self.assertEqual([f.split(".corrupt-")[0] for f in kept], found,
                             os.listdir(node.state))
            for name in kept:
                with open(os.path.join(node.state, name), "rb") as db:
                    self.assertTrue(db.read().startswith(b"this is not a database"))
            self.assertIn("corrupt", node.log())
        finally:
            node.__exit__(None, None, None)


if __name__ == "__main__":
    unittest.main()
