# SPDX-License-Identifier: Apache-2.0
"""A daemon that answers as a test says, and a test case that runs divvy against it.

The first argument of the test is the divvy to run.
"""
import http.server
import json
import os
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import unittest

DIVVY = sys.argv.pop(1) if len(sys.argv) > 1 else "divvy"
PATIENCE = 120


def error(message, exit_code):
    return {"apiVersion": "divvy/v1", "kind": "Error", "reason": "x", "message": message,
            "exit_code": exit_code}


class Daemon(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path, answer):
        self.requests = []
        self.answer = answer
        super().__init__(path, Handler)

    def handle_error(self, request, client_address):
        pass  # clients that are interrupted hang up in the middle: that is what some tests do


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = (self.command, self.path, json.loads(body) if body else None)
        self.server.requests.append(request)
        status, answer = self.server.answer(request)
        text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = handle_any


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(what)
        time.sleep(0.01)


class Case(unittest.TestCase):
    granted = {}

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="divvy-cli-")
        self.socket = os.path.join(self.directory, "d.sock")
        self.answers = {m: (200, self.granted) for m in ("POST", "GET", "DELETE")}
        self.daemon = Daemon(self.socket, lambda r: self.answers[r[0]])
        threading.Thread(target=self.daemon.serve_forever, args=(0.02,), daemon=True).start()
        self.started = []

    def tearDown(self):
        for p in self.started:
            if p.poll() is None:
                p.kill()
            p.communicate()
        self.daemon.shutdown()
        self.daemon.server_close()
        shutil.rmtree(self.directory)

    def start(self, *args, env=None, stdin=subprocess.DEVNULL, text=True):
        env = {**os.environ, "DIVVY_SOCKET": self.socket, **(env or {})}
        p = subprocess.Popen([DIVVY, *args], env=env, stdin=stdin, text=text,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(p)
        return p

    def divvy(self, *args, env=None, stdin=None):
        """Returns the exit status, stdout, stderr. stdin: bytes for it."""
        p = self.start(*args, env=env, stdin=subprocess.PIPE if stdin is not None else
                       subprocess.DEVNULL, text=stdin is None)
        out, err = p.communicate(stdin, timeout=PATIENCE)
        if stdin is not None:
            out, err = out.decode(), err.decode()
        return p.returncode, out, err

    def methods(self):
        return [r[0] for r in self.daemon.requests]

    def marker(self, name):
        return os.path.join(self.directory, name)
