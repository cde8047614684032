# SPDX-License-Identifier: Apache-2.0
"""divvy-hook against a server that says what it is told to: answers, silence, nonsense, absence."""
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HOOK = sys.argv.pop(1)
STATE = json.dumps({"ociVersion": "1.0.2", "id": "c0ffee", "pid": 4711, "status": "created",
                    "bundle": "/b", "annotations": {"a": "\"}\\"}})


def answer(status, body):
    text = json.dumps(body).replace('": ', '":')
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


class Server:
    """Gives each connection the next of its answers; the last one again and again."""

    def __init__(self, path, *answers):
        self.requests, self.answers = [], list(answers)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen(8)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                line, _ = self.socket.accept()
            except OSError:
                return
            with line:
                self.requests.append(self.read(line))
                reply = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
                if callable(reply):
                    reply()
                elif reply:
                    line.sendall(reply)

    @staticmethod
    def read(line):
        data = b""
        while b"\r\n\r\n" not in data:
            data += line.recv(65536)
        head, body = data.split(b"\r\n\r\n", 1)
        length = int([h for h in head.split(b"\r\n") if h.startswith(b"Content-Length")][0][15:])
        while len(body) < length:
            body += line.recv(65536)
        return head.decode(), body.decode()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Hook(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.dir.name, "s")
        self.addCleanup(self.dir.cleanup)

    def serve(self, *answers):
        server = Server(self.path, *answers)
        self.addCleanup(server.close)
        return server

    def run_hook(self, *args, state=STATE, timeout="20s"):
        return subprocess.run([HOOK, "--socket", self.path, "--timeout", timeout, *args],
                              input=state, capture_output=True, text=True, timeout=120, check=False)

    def ask(self, *args, **kwargs):
        return self.run_hook("--resource", "nvidia.com/gpu", "--device", "GPU-1,GPU-2", *args,
                             **kwargs)

    def test_granted(self):
        server = self.serve(answer(200, {"kind": "Container"}))
        done = self.ask("--mode", "governed", "--memory-bytes", "1024", "--compute", "1750")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        head, body = server.requests[0]
        self.assertTrue(head.startswith("POST /v1/containers HTTP/1.1\r\n"))
        self.assertEqual(json.loads(body), {
            "resource": "nvidia.com/gpu", "devices": ["GPU-1", "GPU-2"], "mode": "governed",
            "memory_bytes": 1024, "compute": 1750, "state": json.loads(STATE)})

    def test_a_refusal_is_said(self):
        self.serve(answer(409, {"kind": "Error", "reason": "no_memory",
                                "message": "asked \"40 GiB\"\nfree 24 GiB", "verdict": {}}))
        done = self.ask()
        self.assertEqual((done.returncode, done.stderr),
                         (1, 'divvy-hook: asked "40 GiB" free 24 GiB\n'))

    def test_nonsense(self):
        self.serve(b"HTTP/1.1 500 X\r\n\r\n")
        done = self.ask()
        self.assertEqual(done.returncode, 1)
        self.assertIn("an answer that is none", done.stderr)

    def test_the_daemon_comes_back(self):
        later = threading.Timer(0.5, lambda: self.serve(
            answer(503, {"message": "starting"}), b"", answer(200, {})))
        later.start()
        done = self.ask()
        later.join()
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_nobody(self):
        start = time.monotonic()
        done = self.ask(timeout="300ms")
        self.assertEqual(done.returncode, 1)
        self.assertIn("does not answer on " + self.path, done.stderr)
        self.assertLess(time.monotonic() - start, 60)

    def test_silence(self):
        self.serve(lambda: time.sleep(3))
        done = self.ask(timeout="300ms")
        self.assertEqual(done.returncode, 1)
        self.assertIn("does not answer", done.stderr)

    def test_it_says_at_last_why_the_daemon_cannot(self):
        self.serve(answer(503, {"message": "no GPU is known"}))
        done = self.ask(timeout="3s")
        self.assertEqual((done.returncode, done.stderr), (1, "divvy-hook: no GPU is known\n"))

    def test_a_pause_beyond_its_time(self):
        """Put off, kept from running until its time is up, and then not answered."""
        over = threading.Event()
        self.addCleanup(over.set)
        server = self.serve(answer(503, {"message": "starting"}))
        hook = subprocess.Popen([HOOK, "--socket", self.path, "--timeout", "1s", "--resource", "r",
                                 "--device", "d"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            hook.stdin.write(STATE)
            hook.stdin.close()
            while not server.requests:
                time.sleep(0.001)
            hook.send_signal(signal.SIGSTOP)
            server.answers = [lambda: over.wait(120)]
            time.sleep(1.1)
            hook.send_signal(signal.SIGCONT)
            self.assertEqual(hook.wait(60), 1)
        finally:
            hook.kill()
            hook.wait()
            hook.stderr.close()

    def test_states(self):
        for state, message in (("", "it is empty"), ("x" * (1 << 20) + "y", "longer than 1 MiB")):
            done = self.ask(state=state, timeout="1s")
            self.assertEqual(done.returncode, 1)
            self.assertIn(message, done.stderr)
        server = self.serve(answer(200, {}))
        self.assertEqual(self.ask(state="1" * (1 << 20)).returncode, 0)
        self.assertGreater(len(server.requests[0][1]), 1 << 20)

    def test_usage(self):
        for args in ((), ("--resource", "r"), ("--resource", "r", "--device", ""),
                     ("--resource", 'r"', "--device", "d"), ("--resource", "r", "--device", "a b"),
                     ("--resource", "r", "--device", "d", "--compute", "0"),
                     ("--resource", "r", "--device", "d", "--timeout", "20"),
                     ("--resource", "r", "--device", "d", "--timeout", "601s"),
                     ("--resource", "r", "--device", "d", "--what"),
                     ("--resource", "r", "--device", "d", "more"),
                     ("--resource", "r", "--device", "d", "--socket", "/" + 200 * "x")):
            with self.subTest(args=args):
                done = self.run_hook(*args)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn("divvy-hook --help", done.stderr)
        self.assertIn("usage:", self.run_hook("--help").stdout)
        self.assertIn("divvy-hook ", self.run_hook("--version").stdout)

    def test_it_needs_nothing_else(self):
        needed = subprocess.run(["ldd", HOOK], capture_output=True, check=False).stdout
        # Sanitizers cannot be linked into a static program.
        self.assertTrue(b"libasan" in needed or b"libtsan" in needed or b"ld-linux" not in needed)


unittest.main()
