# SPDX-License-Identifier: Apache-2.0
"""As much of Kubernetes' API server as an agent without a cluster needs: one Node that is listed and
watched, patches that are taken; nothing else is there.

    with kube_api.Server(directory, "n1", labels={...}, delay=1.0) as server:
        ... --kubeconfig server.kubeconfig
"""
import http.server
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.parse


class Server:
    def __init__(self, directory, node, labels, delay=0.0):
        self.directory, self.node, self.delay = directory, node, delay
        self.labels = dict(labels)
        self.uid = self.version = 1
        self.changed = threading.Condition()
        self.closing = False
        self.kubeconfig = os.path.join(directory, "kubeconfig")
        self.key, self.cert = os.path.join(directory, "kube.key"), os.path.join(directory, "kube.crt")
        self.server = None
        self.written = []  # the last (path, body) of what was posted and patched

    def __enter__(self):
        return self.start()

    def __exit__(self, *_exc):
        self.stop()

    def start(self):
        if not os.path.exists(self.cert):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout",
                            self.key, "-out", self.cert, "-days", "2", "-subj", "/CN=kube", "-addext",
                            "subjectAltName=IP:127.0.0.1"], check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_args):
                pass

            def do_GET(self):
                outer.get(self)

            def do_PATCH(self):
                outer.patch(self)

            def do_POST(self):
                outer.patch(self)
        self.closing = False
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_args: None  # clients may go when they like
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        with open(self.kubeconfig, "w", encoding="utf-8") as f:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "c",
                       "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                       "clusters": [{"name": "c", "cluster": {
                           "server": f"https://127.0.0.1:{self.server.server_port}",
                           "certificate-authority": self.cert}}],
                       "users": [{"name": "u", "user": {"token": "t"}}]}, f)
        return self

    def stop(self):
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        if self.server:
            self.server.shutdown()
            self.server.server_close()
        self.server = None

    def set_labels(self, labels):
        with self.changed:
            self.labels = dict(labels)
            self.version += 1
            self.changed.notify_all()

    def make_anew(self):
        """The Node is deleted and registered again."""
        with self.changed:
            self.uid += 1
            self.version += 1
            self.written = []
            self.changed.notify_all()

    def object(self):
        return {"apiVersion": "v1", "kind": "Node",
                "metadata": {"name": self.node, "uid": str(self.uid), "resourceVersion": str(self.version),
                             "labels": self.labels}}

    def condition(self, kind):
        """The Node's condition of that type as it was written last, or None."""
        found = [c for _path, body in self.written for c in (body.get("status") or {}).get("conditions", [])
                 if c["type"] == kind]
        return found[-1] if found else None

    def events(self, reason):
        return [body.get("message") or body.get("note") for _path, body in self.written
                if body.get("reason") == reason]

    @staticmethod
    def answer(handler, status, body):
        text = json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    def get(self, handler):
        path, _, query = handler.path.partition("?")
        query = urllib.parse.parse_qs(query)
        if path not in ("/api/v1/nodes", "/api/v1/pods"):
            self.answer(handler, 404, {"kind": "Status", "reason": "NotFound", "code": 404})
            return
        nodes = path.endswith("nodes")
        if "watch" not in query:
            time.sleep(self.delay)
            self.answer(handler, 200, {"kind": "List",
                                       "metadata": {"resourceVersion": str(self.version)},
                                       "items": [self.object()] if nodes else []})
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        seen = int(query["resourceVersion"][0])
        with self.changed:
            while not self.closing:
                if nodes and self.version > seen:
                    seen = self.version
                    handler.wfile.write(json.dumps({"type": "MODIFIED",
                                                    "object": self.object()}).encode() + b"\n")
                    handler.wfile.flush()
                self.changed.wait(1)

    def patch(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        with self.changed:
            self.written = [*self.written, (handler.path.partition("?")[0], json.loads(body))][-100:]
        self.answer(handler, 200, self.object())
