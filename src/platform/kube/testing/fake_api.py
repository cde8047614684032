#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""fake_api.py DIR [PORT]: an API server that misbehaves as its paths say. Makes DIR/ca.crt,
DIR/client.crt, DIR/client.key and another authority DIR/other.crt where they are missing, listens on
127.0.0.1 with TLS, prints the port, and ends when its standard input does.

/echo           what was asked, as JSON
/flaky/N        500 to the first N requests
/busy           429 with Retry-After: 1 to the first request
/status/C/R     code C with a Status of reason R
/huge /html /deep /empty /redirect  answers of 9 MiB, of no JSON, of too many brackets, without a body, to elsewhere
/loris          a byte now and then
/cut/N          breaks off in the middle for the first N requests
/silent         never answers
/w/SCENE/pods   lists and watches; see class Scene
/api, /apis     a small store of objects that behaves well; see class Store
"""
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

DIR = sys.argv[1]
counts = {}
lock = threading.Lock()


def openssl(*args):
    subprocess.run(["openssl", *args], cwd=DIR, check=True, stderr=subprocess.DEVNULL)


def authority(name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", name + ".key", "-out", name + ".crt", "-subj", "/CN=" + name, "-days", "2")


def certificate(name, subject, extension):
    with open(os.path.join(DIR, "ext"), "w", encoding="ascii") as f:
        f.write(extension)
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            name + ".key", "-out", name + ".csr", "-subj", subject)
    openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-CAcreateserial", "-out", name + ".crt", "-days", "2", "-extfile", "ext")


def tls():
    if not os.path.exists(os.path.join(DIR, "server.crt")):
        authority("ca")
        authority("other")
        certificate("client", "/CN=node-agent", "basicConstraints=CA:FALSE\n")
        certificate("server", "/CN=fake", "subjectAltName=IP:127.0.0.1\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(DIR, "server.crt"), os.path.join(DIR, "server.key"))
    context.load_verify_locations(os.path.join(DIR, "ca.crt"))
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def count(key):
    with lock:
        counts[key] = counts.get(key, 0) + 1
        return counts[key]


def pod(name, version, uid=None):
    return {"metadata": {"namespace": "ns", "name": name, "uid": uid or "uid-" + name,
                         "resourceVersion": str(version)}}


def change(kind, what):
    return (json.dumps({"type": kind, "object": what}) + "\n").encode()


def gone():
    return change("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})


class Scene:
    """Answers of a collection: the n-th list, the n-th watch (from 1). A page is (items, version,
    continue) or a code; a watch yields bytes (one chunk each) and ends by returning True: properly,
    False: cut off."""

    def basic_list(self, n, page):
        if n == 1:
            return ([pod("a", 1), pod("b", 2)], 10, "p2")
        if n == 2:
            assert page == "p2"
            return ([pod("c", 3)], 10, "")
        return ([pod("a", 12), pod("c", 3), pod("d", 25, "uid-d2")], 30, "")

    def basic_watch(self, n, version):
        if n == 1:
            assert version == "10", version
            yield change("ADDED", pod("d", 11))
            both = change("MODIFIED", pod("a", 12)) + change("DELETED", pod("b", 13))
            yield both[:20]
            yield both[20:]
            yield change("BOOKMARK", {"metadata": {"resourceVersion": "20"}})
            yield change("ADDED", pod("e", 21))[:40]
            return False
        if n == 2:
            assert version == "20", version
            yield change("ADDED", pod("e", 21))
            yield gone()
            return True
        assert version == "30", version
        yield change("MODIFIED", pod("c", 31))
        time.sleep(60)
        return True

    def gone_list(self, n, page):
        return ([pod("a", 1)], n, "") if n < 3 else ([], n, "")

    def gone_watch(self, n, version):
        if n < 3:
            return 410
        return self.quiet()

    def quiet(self):
        yield b"\n"
        time.sleep(60)
        return True

    def expired_list(self, n, page):
        if page == "old":
            return 410
        if n == 1:
            return ([pod("a", 1), pod("x", 1)], 5, "old")
        return ([pod("a", 1), pod("b", 1)], 6, "")

    def expired_watch(self, n, version):
        return self.quiet()

    def hugeline_list(self, n, page):
        return ([pod("a", 1)], 5, "")

    def hugeline_watch(self, n, version):
        if n > 1:
            return self.once(change("ADDED", pod("b", 7)))
        return self.flood()

    def flood(self):
        for _ in range(10 * 16):
            yield b"x" * 65536
        return True

    def once(self, line):
        yield line
        time.sleep(60)
        return True

    def garbage_list(self, n, page):
        return ([pod("a", 1)], 5, "")

    def garbage_watch(self, n, version):
        lines = [b"<html>\n", b"[1]\n", b'{"type":"ADDED","object":{}}\n',
                 change("ERROR", {"code": 500, "message": "etcd"}), change("ADDED", pod("b", 7))]
        return self.once(lines[min(n, 5) - 1])

    def forbidden_list(self, n, page):
        return 403 if n < 3 else ([pod("a", 1)], 5, "")

    def forbidden_watch(self, n, version):
        return self.quiet()

    def large_list(self, n, page, limit):
        names = ["a", "b", "c", "d"]
        at = int(page or 0)
        some = names[at:at + limit]
        more = str(at + limit) if at + limit < len(names) else ""
        return ([dict(pod(x, 1), blob="x" * (3 << 20)) for x in some], 5, more)

    def large_watch(self, n, version):
        return self.quiet()

    def restart_list(self, n, page):
        return ([pod("a", 1)], 5, "")

    def restart_watch(self, n, version):
        return self.quiet()


class Refused(Exception):
    """code, reason, message, details."""


def merge(into, patch, keyed):
    """RFC 7386; keyed: lists of objects by their type or name, as a strategic patch has it."""
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict):
            merge(into.setdefault(key, {}), value, keyed)
        elif keyed and isinstance(value, list):
            for item in value:
                by = "type" if "type" in item else "name"
                same = [x for x in into.setdefault(key, []) if x[by] == item[by]]
                if not same:
                    into[key].append(item)
                else:
                    merge(same[0], item, keyed)
        else:
            into[key] = value


class Store:
    """Objects by (collection, name), and a log of changes for watches. Collections are paths."""

    def __init__(self):
        self.objects = {}
        self.log = []
        self.changed = threading.Condition()

    @staticmethod
    def split(path):
        """-> collection, namespace, name, subresource"""
        part = path.strip("/").split("/")
        n = 2 if part[0] == "api" else 3
        base, rest, namespace = "/" + "/".join(part[:n]), part[n:], ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        rest += ["", ""]
        return base + "/" + rest[0], namespace, rest[1], rest[2]

    def tell(self, kind, collection, o):
        o["metadata"]["resourceVersion"] = str(len(self.log) + 1)
        self.log.append((kind, collection, json.loads(json.dumps(o))))
        self.changed.notify_all()

    def get(self, collection, namespace, name):
        key = (collection, namespace, name)
        if key not in self.objects:
            raise Refused(404, "NotFound", f"{name} not found")
        return self.objects[key]

    def create(self, collection, namespace, o):
        meta = o.setdefault("metadata", {})
        key = (collection, namespace, meta["name"])
        if key in self.objects:
            raise Refused(409, "AlreadyExists", f"{meta['name']} already exists")
        meta["uid"] = f"uid-{len(self.log)}"
        meta["generation"] = 1
        if namespace:
            meta["namespace"] = namespace
        self.objects[key] = o
        self.tell("ADDED", collection, o)
        return o

    def change(self, collection, o, how):
        before = json.dumps(o, sort_keys=True)
        how(o)
        if json.dumps(o, sort_keys=True) != before:
            o["metadata"]["generation"] += 1
            self.tell("MODIFIED", collection, o)
        return o

    def check(self, o, version):
        if version and o["metadata"]["resourceVersion"] != version:
            raise Refused(409, "Conflict", "the object has been modified")

    def patch(self, collection, o, kind, patch):
        if "json-patch" in kind:
            def one(o):
                for op in patch:
                    where = o
                    *path, last = op["path"].strip("/").split("/")
                    for step in path:
                        where = where[step]
                    where[last] = op["value"]
            return self.change(collection, o, one)
        self.check(o, patch.get("metadata", {}).pop("resourceVersion", None))
        if "apply" in kind:
            return self.change(collection, o, lambda o: o.update(
                {k: v for k, v in patch.items() if k != "metadata"}))
        return self.change(collection, o, lambda o: merge(o, patch, "strategic" in kind))

    def remove(self, collection, namespace, name):
        o = self.get(collection, namespace, name)
        del self.objects[(collection, namespace, name)]
        self.tell("DELETED", collection, o)
        return o

    def evict(self, collection, namespace, name, body):
        o = self.get(collection, namespace, name)
        uid = body.get("deleteOptions", {}).get("preconditions", {}).get("uid")
        if uid and uid != o["metadata"]["uid"]:
            raise Refused(409, "Conflict", "another uid")
        if any("poddisruptionbudgets" in key[0] for key in self.objects):
            raise Refused(429, "TooManyRequests", "it would violate the pod's disruption budget",
                          {"causes": [{"reason": "DisruptionBudget"}]})
        return self.change(collection, o, lambda o: o["metadata"].update(deletionTimestamp="now"))

    def post(self, collection, namespace, name, sub, body):
        if sub == "eviction":
            return self.evict(collection, namespace, name, body)
        if sub == "token":
            self.get(collection, namespace, name)
            return {"status": {"token": f"tok:system:serviceaccount:{namespace}:{name}"}}
        if collection.endswith("/tokenreviews"):
            token = body["spec"]["token"]
            known = token.startswith("tok:") and body["spec"].get("audiences") == ["divvy"]
            return {"status": {"authenticated": known, "user": {"username": token[4:] if known else "",
                                                                "groups": ["system:authenticated"]}}}
        return self.create(collection, namespace, body)

    def do(self, method, path, kind, body):
        collection, namespace, name, sub = self.split(path)
        if collection.endswith("/nodefeatures") and not any("customresource" in k[0] for k in self.objects):
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        if method == "POST":
            return self.post(collection, namespace, name, sub, body)
        if method == "DELETE":
            return self.remove(collection, namespace, name)
        if "apply" in kind and (collection, namespace, name) not in self.objects:
            return self.create(collection, namespace, body)
        o = self.get(collection, namespace, name)
        if method == "PATCH":
            return self.patch(collection, o, kind, body)
        if method == "PUT":
            self.check(o, body["metadata"].pop("resourceVersion", None))
            return self.change(collection, o, lambda o: merge(o, body, False))
        return o

    @staticmethod
    def wanted(o, namespace, selector):
        if namespace and o["metadata"].get("namespace") != namespace:
            return False
        if selector:
            path, _, value = selector.partition("=")
            for step in path.split("."):
                o = o.get(step, {})
            return o == value
        return True

    def list(self, path, selector):
        collection, namespace, _, _ = self.split(path)
        items = [o for key, o in self.objects.items()
                 if key[0] == collection and self.wanted(o, namespace, selector)]
        return {"items": items, "metadata": {"resourceVersion": str(len(self.log))}}

    def watch(self, path, selector, version):
        collection, namespace, _, _ = self.split(path)
        at = int(version)
        while True:
            with self.changed:
                while at >= len(self.log):
                    self.changed.wait(60)
                kind, of, o = self.log[at]
                at += 1
            if of == collection and self.wanted(o, namespace, selector):
                yield change(kind, o)


store = Store()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, code, body, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def status(self, code, reason, message="it says no", headers=()):
        self.reply(code, {"kind": "Status", "code": code, "reason": reason, "message": message},
                   headers)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def do_watch(self, answer):
        if isinstance(answer, int):
            self.status(answer, "Expired")
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            try:
                self.chunk(next(answer))
            except StopIteration as end:
                if end.value:
                    self.wfile.write(b"0\r\n\r\n")
                else:
                    self.close_connection = True
                return

    def do_scene(self, name, query):
        scene = Scene()
        if "watch" in query:
            assert query["allowWatchBookmarks"] == ["true"]
            n = count(name + "/watch")
            self.do_watch(getattr(scene, name + "_watch")(n, query["resourceVersion"][0]))
            return
        page = query.get("continue", [""])[0]
        more = (int(query["limit"][0]),) if name == "large" else ()
        answer = getattr(scene, name + "_list")(count(name + "/list"), page, *more)
        if isinstance(answer, int):
            self.status(answer, {403: "Forbidden", 410: "Expired"}[answer])
            return
        items, version, more = answer
        self.reply(200, {"items": items, "metadata": {"resourceVersion": str(version), "continue": more}})

    def do_store(self, url, body):
        query = urllib.parse.parse_qs(url.query)
        selector = query.get("fieldSelector", [""])[0]
        if "watch" in query:
            self.do_watch(store.watch(url.path, selector, query["resourceVersion"][0]))
            return
        try:
            with store.changed:
                if self.command == "GET" and not store.split(url.path)[2]:
                    answer = store.list(url.path, selector)
                else:
                    answer = store.do(self.command, url.path, self.headers.get("Content-Type") or "",
                                      json.loads(body) if body else None)
                answer = json.dumps(answer).encode()
            self.reply(201 if self.command == "POST" else 200, answer)
        except Refused as e:
            code, reason, message, *details = e.args
            self.reply(code, {"kind": "Status", "code": code, "reason": reason, "message": message,
                              "details": details[0] if details else {}})

    def do_it(self):
        url = urllib.parse.urlparse(self.path)
        part = url.path.strip("/").split("/")
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        n = count(self.path)
        if part[0] in ("api", "apis"):
            self.do_store(url, body)
        elif part[0] == "w":
            self.do_scene(part[1], urllib.parse.parse_qs(url.query))
        elif part[0] == "echo":
            peer = self.connection.getpeercert() or {}
            names = [v for rdn in peer.get("subject", ()) for k, v in rdn if k == "commonName"]
            self.reply(200, {"method": self.command, "type": self.headers.get("Content-Type") or "",
                             "auth": self.headers.get("Authorization") or "", "body": body,
                             "path": self.path, "peer": names[0] if names else "", "n": n})
        elif part[0] == "flaky":
            self.status(500, "InternalError") if n <= int(part[1]) else self.reply(200, {"n": n})
        elif part[0] == "busy":
            if n == 1:
                self.status(429, "TooManyRequests", headers=[("Retry-After", "1")])
            else:
                self.reply(200, {"n": n})
        elif part[0] == "status":
            self.status(int(part[1]), part[2], "says\nno")
        elif part[0] == "huge":
            self.reply(200, b'{"a":"' + b"x" * (9 << 20) + b'"}')
        elif part[0] == "html":
            self.reply(200, b"<html>proxy</html>")
        elif part[0] == "deep":
            self.reply(200, b'{"a":' * 5000 + b"1" + b"}" * 5000)
        elif part[0] == "empty":
            self.reply(200, b"")
        elif part[0] == "redirect":
            self.reply(302, b"", [("Location", "/echo")])
        elif part[0] == "loris":
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            for _ in range(200):
                self.wfile.write(b"{")
                time.sleep(0.05)
        elif part[0] == "cut":
            if n <= int(part[1]):
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b'{"metadata":')
                self.close_connection = True
            else:
                self.reply(200, {"n": n})
        elif part[0] == "silent":
            time.sleep(60)
        else:
            self.status(404, "NotFound")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_it


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    context = None

    def get_request(self):
        sock, address = self.socket.accept()
        return self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (OSError, ssl.SSLError)):
            super().handle_error(request, client_address)


def main():
    Server.context = tls()
    server = Server(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
