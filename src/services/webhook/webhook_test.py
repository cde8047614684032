#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""webhook_test CONTROLLER: the admission webhook over its real TLS, as Kubernetes' API server asks it."""
import base64
import concurrent.futures
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

import yaml

CONTROLLER = sys.argv.pop(1)
NAME = "divvy-webhook.divvy-system.svc"
PATIENCE = 100  # seconds: a bound against hanging for ever
ORIGINAL = "divvy.dev/original-resources"


def pod(resources, **container):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "w", "resources": resources, **container}]}}


def review(obj, old=None, operation="CREATE", **more):
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": operation, "namespace": "team-a",
        "name": "p", "object": obj, "oldObject": old, "dryRun": False, "options": {}, **more}}


def patched(obj, response):
    """RFC 6902, what is used of it."""
    obj = json.loads(json.dumps(obj))
    if "patch" not in response:
        return obj
    assert response["patchType"] == "JSONPatch"
    for op in json.loads(base64.b64decode(response["patch"], validate=True)):
        *way, last = [s.replace("~1", "/").replace("~0", "~") for s in op["path"].split("/")[1:]]
        at = obj
        for step in way:
            at = at[int(step)] if isinstance(at, list) else at[step]
        if op["op"] == "remove":
            del at[last]
        else:
            assert op["op"] == "add" and isinstance(at, dict)
            at[last] = op["value"]
    return obj


class Webhook:
    def __init__(self, *args, folder=None, external=None):
        self.home = tempfile.TemporaryDirectory()
        self.folder = folder or os.path.join(self.home.name, "tls")
        self.log = open(os.path.join(self.home.name, "log"), "w+", encoding="utf-8")
        r, w = os.pipe()
        self.process = subprocess.Popen(
            [CONTROLLER, "webhook", "--listen", "127.0.0.1:0", external or "--tls-dir", self.folder,
             "--ready-fd", str(w), *args], pass_fds=[w], stderr=self.log)
        os.close(w)
        with os.fdopen(r, encoding="utf-8") as ready:
            address = ready.readline()
        assert address, self.text()
        self.port = int(address.rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.log.close()
        self.home.cleanup()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0, self.text()

    def text(self):
        self.log.flush()
        with open(self.log.name, encoding="utf-8") as f:
            return f.read()

    def file(self, name):
        with open(os.path.join(self.folder, name), encoding="ascii") as f:
            return f.read()

    def context(self, bundle=None):
        return ssl.create_default_context(cadata=bundle or self.file("ca.crt"))

    def connect(self, bundle=None):
        """As the API server does it: to an address, for the service's name."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        line.sock = self.context(bundle).wrap_socket(
            socket.create_connection(("127.0.0.1", self.port), PATIENCE), server_hostname=NAME)
        return line

    def ask(self, method, path, body=None, line=None, **headers):
        own = line or self.connect()
        own.request(method, path, body, {"Content-Type": "application/json", **headers})
        answer = own.getresponse()
        text = answer.read()
        if not line:
            own.close()
        return answer.status, text

    def admit(self, obj, path="/admit?timeout=5s", line=None, **more):
        status, text = self.ask("POST", path, json.dumps(review(obj, **more)), line)
        assert status == 200, text
        answer = json.loads(text)
        assert answer["apiVersion"] == "admission.k8s.io/v1" and answer["kind"] == "AdmissionReview"
        assert answer["response"]["uid"] == "705ab4f5-6393-11e8-b7cc-42010a800002"
        return answer["response"]


class Admission(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.webhook = Webhook()

    @classmethod
    def tearDownClass(cls):
        cls.webhook.__exit__()

    def test_fraction(self):
        # The API server has made 250m of "0.25", and requests of limits, before it asks.
        obj = pod({"limits": {"nvidia.com/gpu": "250m"}, "requests": {"nvidia.com/gpu": "250m"}})
        response = self.webhook.admit(obj)
        self.assertTrue(response["allowed"])
        after = patched(obj, response)
        self.assertEqual(after["spec"]["containers"][0]["resources"], {
            "limits": {"divvy.dev/gpu-percent": "25"}, "requests": {"divvy.dev/gpu-percent": "25"}})
        self.assertEqual(json.loads(after["metadata"]["annotations"][ORIGINAL]), {"w": {
            "limits": {"nvidia.com/gpu": "250m"}, "requests": {"nvidia.com/gpu": "250m"}}})
        again = self.webhook.admit(after)  # reinvocationPolicy: IfNeeded
        self.assertEqual(again, {"uid": again["uid"], "allowed": True})
        self.assertNotIn("patch", self.webhook.admit(after, operation="UPDATE", old=after))

    def test_refused(self):
        response = self.webhook.admit(pod({"limits": {"nvidia.com/gpu": "125m"}}), dryRun=True)
        self.assertFalse(response["allowed"])
        self.assertNotIn("patch", response)
        self.assertEqual(response["status"]["code"], 422)
        self.assertIn("0.12 or 0.13 would pass", response["status"]["message"])

    def test_namespaces(self):
        whole, mig = ({"limits": {n: "1"}} for n in ("nvidia.com/gpu", "nvidia.com/mig-1g.10gb"))
        self.assertTrue(self.webhook.admit(pod(mig), "/admit/mig-only")["allowed"])
        self.assertTrue(self.webhook.admit(pod(whole), "/admit/mig_whole")["allowed"])
        response = self.webhook.admit(pod(whole), "/admit/mig-only")
        self.assertIn("nvidia.com/mig-1g.10gb: 1 would pass", response["status"]["message"])
        response = self.webhook.admit(pod(mig), "/admit/unknown")
        self.assertIn("not known", response["status"]["message"])
        self.assertTrue(self.webhook.admit(pod({"limits": {"cpu": "1"}}), "/admit/unknown")["allowed"])

    def test_declared_names(self):
        """What a configuration calls nvidia.com/gpu-a100 or nvidia.com/h100 is what it is declared to be."""
        named, stranger = (pod({"limits": {f"nvidia.com/{n}": "1"}}) for n in ("gpu-a100", "h100"))
        self.assertIn("so its name says", self.webhook.admit(named, "/admit/whole")["status"]["message"])
        self.assertTrue(self.webhook.admit(stranger, "/admit/mig")["allowed"])
        with Webhook("--resource", "nvidia.com/gpu-a100=whole,nvidia.com/x=mig",
                     "--resource", "nvidia.com/h100=whole") as webhook:
            for obj in (named, stranger):
                self.assertTrue(webhook.admit(obj, "/admit/whole")["allowed"])
                self.assertTrue(webhook.admit(obj)["allowed"])
                for rule in ("governed", "mig"):
                    self.assertIn("asks for whole GPUs,", webhook.admit(
                        obj, f"/admit/{rule}")["status"]["message"])

    def test_warnings(self):
        response = self.webhook.admit(pod({"limits": {"nvidia.com/gpu": "1"}}, env=[
            {"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]))
        self.assertTrue(response["allowed"])
        self.assertEqual(len(response["warnings"]), 1)
        self.assertLess(len(response["warnings"][0]), 256)

    def test_bad_requests(self):
        ask = self.webhook.ask
        for body in ("", "[]", "{", '{"kind":"AdmissionReview"}', "x" * 100000):
            status, text = ask("POST", "/admit", body)
            self.assertEqual((status, text.count(b"\n")), (400, 1))
        self.assertEqual(ask("POST", "/admit", "x" * (3 << 20) + "x")[0], 413)
        self.assertEqual(ask("GET", "/admit")[0], 405)
        self.assertEqual(ask("POST", "/metrics", "")[0], 405)
        self.assertEqual(ask("GET", "/nothing")[0], 404)
        self.assertEqual(ask("GET", "/healthz"), (200, b"ok\n"))

    def test_large(self):
        obj = pod({"limits": {"nvidia.com/gpu": "500m"}}, env=[
            {"name": f"V{i}", "value": "x" * 1000} for i in range(2800)])
        self.assertIn("patch", self.webhook.admit(obj))

    def test_metrics(self):
        def reviews():
            text = self.webhook.ask("GET", "/metrics")[1].decode()
            self.assertGreater(
                int(re.search(r"^divvy_webhook_certificate_expiry_timestamp_seconds (\d+)$", text,
                              re.M)[1]), time.time() + 89 * 86400)
            return {m[1]: int(m[2]) for m in re.finditer(
                r'^divvy_webhook_reviews_total{result="(\w+)"} (\d+)$', text, re.M)}
        before = reviews()
        self.assertEqual(set(before), {"none", "accepted", "rewritten", "refused"})
        self.webhook.admit(pod({"limits": {"nvidia.com/gpu": "1"}}))
        self.assertEqual(reviews()["accepted"], before["accepted"] + 1)

    def test_strangers(self):
        with self.assertRaises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(
                socket.create_connection(("127.0.0.1", self.webhook.port)), server_hostname=NAME)
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.webhook.context().wrap_socket(
                socket.create_connection(("127.0.0.1", self.webhook.port)),
                server_hostname="other.divvy-system.svc")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            old.wrap_socket(socket.create_connection(("127.0.0.1", self.webhook.port)))

    def test_crowd(self):
        obj = pod({"limits": {"nvidia.com/gpu": "250m"}})

        def many(_):
            line = self.webhook.connect()
            n = sum("patch" in self.webhook.admit(obj, line=line) for _ in range(25))
            line.close()
            return n
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            self.assertEqual(sum(pool.map(many, range(16))), 16 * 25)


class Certificates(unittest.TestCase):
    def served(self, webhook, bundle=None):
        line = webhook.connect(bundle)
        der = line.sock.getpeercert(True)
        line.close()
        return der

    def test_restart(self):
        with tempfile.TemporaryDirectory() as home:
            folder = os.path.join(home, "tls")
            with Webhook(folder=folder) as webhook:
                first = self.served(webhook)
                for name in os.listdir(folder):
                    self.assertEqual(os.stat(os.path.join(folder, name)).st_mode & 0o777, 0o600)
                self.assertEqual(sorted(os.listdir(folder)), ["ca.crt", "tls.crt", "tls.key"])
            with Webhook(folder=folder) as webhook:
                self.assertEqual(self.served(webhook), first)
                bundle = webhook.file("ca.crt")
            with Webhook("--service", "other/name", folder=folder) as webhook:
                self.assertIn("tls.crt is not for name.other.svc", webhook.text())
                self.assertTrue(webhook.file("ca.crt").endswith(bundle))

    def test_rotation(self):
        """Whoever reads the bundle now and then is never turned away, and no line is cut."""
        obj = pod({"limits": {"nvidia.com/gpu": "250m"}})
        with Webhook("--tls-life", "18s") as webhook:
            kept = webhook.connect()
            seen, bundle, read_at = set(), webhook.file("ca.crt"), time.monotonic()
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end and len(seen) < 3:
                # The next one's authority is there 4 s before that is served.
                if time.monotonic() - read_at > 1.5:
                    bundle, read_at = webhook.file("ca.crt"), time.monotonic()
                seen.add(self.served(webhook, bundle))
                self.assertIn("patch", webhook.admit(obj, line=kept))
                time.sleep(0.1)
            kept.close()
            self.assertEqual(len(seen), 3)
            self.assertLessEqual(bundle.count("BEGIN CERTIFICATE"), 4)
            self.assertNotIn("error", webhook.text())

    def test_openssl(self):
        with Webhook() as webhook:
            done = subprocess.run(
                ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname",
                 NAME, "-CAfile", os.path.join(webhook.folder, "ca.crt"),
                 os.path.join(webhook.folder, "tls.crt")], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            done = subprocess.run(
                ["curl", "-sS", "--cacert", os.path.join(webhook.folder, "ca.crt"), "--resolve",
                 f"{NAME}:{webhook.port}:127.0.0.1", f"https://{NAME}:{webhook.port}/readyz"],
                capture_output=True, text=True, check=False)
            self.assertEqual((done.stdout, done.stderr), ("ok\n", ""))


class Unpublished(unittest.TestCase):
    def test_not_ready(self):
        """Nobody is there who could be told about the certificate: it serves, and is not to be asked."""
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as kubeconfig:
            kubeconfig.write("current-context: x\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n"
                             "users: [{name: u, user: {token: t}}]\n"
                             "contexts: [{name: x, context: {cluster: c, user: u}}]\n")
            kubeconfig.flush()
            with Webhook("--configuration", "x", "--kubeconfig", kubeconfig.name) as webhook:
                self.assertEqual(webhook.ask("GET", "/healthz")[0], 200)
                self.assertEqual(webhook.ask("GET", "/readyz")[0], 503)
                self.assertIn("patch", webhook.admit(pod({"limits": {"nvidia.com/gpu": "250m"}})))


class External(unittest.TestCase):
    """Somebody else keeps the certificates, as cert-manager does: an authority, one below it that signs, and
    the volume of a Secret, which is exchanged whole."""
    def setUp(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = home.name

    def openssl(self, *args):
        subprocess.run(["openssl", *args], cwd=self.home, check=True, capture_output=True)

    def make(self, name, by=None, extensions="basicConstraints=CA:TRUE\n", days="2"):
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]
        if not by:
            self.openssl("req", "-x509", *key, "-out", f"{name}.crt", "-subj", f"/CN={name}", "-days", "2")
            return
        with open(os.path.join(self.home, "ext"), "w", encoding="ascii") as f:
            f.write(extensions)
        self.openssl("req", *key, "-out", f"{name}.csr", "-subj", f"/CN={name}")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{by}.crt", "-CAkey", f"{by}.key",
                     "-CAcreateserial", "-out", f"{name}.crt", "-days", days, "-extfile", "ext")

    def text(self, name):
        with open(os.path.join(self.home, name), encoding="ascii") as f:
            return f.read()

    def issue(self, name, root, by, dns=NAME):
        """A version of the volume's files, and the link to it exchanged."""
        self.make(name, by, f"subjectAltName=DNS:{dns}\nextendedKeyUsage=serverAuth\n")
        version = os.path.join(self.home, f"..{name}")
        os.mkdir(version)
        for file, content in (("ca.crt", self.text(f"{root}.crt")), ("tls.key", self.text(f"{name}.key")),
                              ("tls.crt", self.text(f"{name}.crt") + self.text(f"{by}.crt"))):
            with open(os.path.join(version, file), "w", encoding="ascii") as f:
                f.write(content)
        os.symlink(f"..{name}", os.path.join(self.home, "new"))
        os.rename(os.path.join(self.home, "new"), os.path.join(self.home, "volume"))

    def served(self, webhook):
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", webhook.port)))

    def of(self, name):
        return ssl.PEM_cert_to_DER_cert(self.text(f"{name}.crt"))

    def await_served(self, webhook, name):
        end = time.monotonic() + PATIENCE
        while self.served(webhook) != self.of(name):
            self.assertLess(time.monotonic(), end, webhook.text())
            time.sleep(0.2)

    def test_read_again(self):
        for root in ("root", "another"):
            self.make(root)
            self.make(f"below-{root}", root)
        self.issue("first", "root", "below-root")
        with Webhook(folder=os.path.join(self.home, "volume"), external="--tls-from") as webhook:
            obj = pod({"limits": {"nvidia.com/gpu": "250m"}})
            self.assertIn("patch", webhook.admit(obj))
            self.assertEqual(self.served(webhook), self.of("first"))
            self.assertEqual(webhook.ask("GET", "/readyz"), (200, b"ok\n"))
            kept = webhook.connect()
            self.issue("second", "another", "below-another")
            self.await_served(webhook, "second")
            self.assertIn("patch", webhook.admit(obj))
            self.assertIn("patch", webhook.admit(obj, line=kept))
            kept.close()
            self.issue("wrong", "root", "below-root", "other.divvy-system.svc")
            end = time.monotonic() + PATIENCE
            while "tls.crt is not for" not in webhook.text():
                self.assertLess(time.monotonic(), end)
                time.sleep(0.2)
            self.issue("third", "another", "below-another")
            self.await_served(webhook, "third")

    def test_refused(self):
        done = subprocess.run([CONTROLLER, "webhook", "--listen", "127.0.0.1:0", "--tls-from", self.home],
                              capture_output=True, text=True, check=False, timeout=PATIENCE)
        self.assertEqual(done.returncode, 1)
        self.assertIn("there is no ca.crt", done.stderr)
        self.assertEqual(os.listdir(self.home), [])


class CommandLine(unittest.TestCase):
    def run_it(self, *args):
        return subprocess.run([CONTROLLER, *args], capture_output=True, text=True, check=False,
                              timeout=PATIENCE)

    def test_manifest(self):
        with Webhook() as webhook:
            done = self.run_it("webhook", "--tls-dir", webhook.folder, "--print-manifest",
                               "--service", "a/b", "--strategy", "mig_whole", "--strategy", "mig")
            bundle = self.run_it("webhook", "--tls-dir", webhook.folder, "--print-ca").stdout
            self.assertEqual(bundle, webhook.file("ca.crt"))
            hooks = yaml.safe_load(done.stdout)["webhooks"]
        named = self.run_it("webhook", "--configuration", "mine", "--print-manifest").stdout
        self.assertEqual(yaml.safe_load(named)["metadata"]["name"], "mine")
        values, names = [], set()
        for hook in hooks:
            self.assertEqual(base64.b64decode(hook["clientConfig"]["caBundle"]).decode(), bundle)
            self.assertEqual(hook["failurePolicy"], "Ignore")
            self.assertEqual(hook["timeoutSeconds"], 5)
            self.assertEqual(hook["sideEffects"], "None")
            self.assertRegex(hook["name"], r"^[a-z]+(-[a-z]+)*\.webhook\.divvy\.dev$")
            names.add(hook["name"])
            self.assertEqual({(r["apiGroups"][0], k) for r in hook["rules"] for k in r["resources"]}, {
                ("", "pods"), ("", "replicationcontrollers"), ("", "podtemplates"),
                ("apps", "deployments"), ("apps", "statefulsets"), ("apps", "daemonsets"),
                ("apps", "replicasets"), ("batch", "jobs"), ("batch", "cronjobs")})
            system, *label = hook["namespaceSelector"]["matchExpressions"]
            self.assertEqual(system["values"], ["kube-system"])
            for one in label:
                self.assertEqual(one["key"], "gpu-strategy")
                if one["operator"] == "In":
                    values += one["values"]
                elif one["operator"] == "NotIn":
                    self.assertEqual(set(one["values"]), set(values))
            self.assertRegex(hook["clientConfig"]["service"]["path"], r"^/admit(/[a-z]+([.-][a-z]+)*)?$")
        self.assertEqual(len(names), len(hooks))
        self.assertEqual(len(values), len(set(values)))  # no namespace is asked for twice
        self.assertIn("mig_whole", values)
        self.assertIn("", values)

    def test_usage(self):
        for args, word in (((), "the command is"), (("serve",), "the command is"),
                           (("webhook", "more"), "one command"), (("webhook", "--nothing"), "--nothing"),
                           (("webhook", "--print-ca"), "--tls-dir"),
                           (("webhook", "--service", "x"), "NAMESPACE/NAME"),
                           (("webhook", "--service", "X/y"), "no name of a namespace"),
                           (("webhook", "--secret", "x"), "NAMESPACE/NAME"),
                           (("webhook", "--secret", "x/y", "--tls-dir", "z"), "exclude"),
                           (("webhook", "--tls-from", "x", "--tls-dir", "z"), "exclude"),
                           (("webhook", "--kubeconfig", "x"), "is for"),
                           (("webhook", "--tls-life", "1s"), "at least"),
                           (("webhook", "--listen", "here"), "ADDR:PORT"),
                           (("webhook", "--strategy", "x", "--print-manifest"), "gpu-strategy"),
                           (("webhook", "--listen", "127.0.0.1:0", "--resource", "nvidia.com/a=hole"), "did you mean"),
                           (("webhook", "--service-port", "0"), "--service-port")):
            done = self.run_it(*args)
            self.assertEqual(done.returncode, 2, args)
            self.assertIn(word, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
        self.assertEqual(self.run_it("webhook", "--print-ca", "--tls-dir", "/nonexistent").returncode, 5)
        self.assertEqual(self.run_it("--help").returncode, 0)
        self.assertIn("divvy-controller ", self.run_it("--version").stdout)


if __name__ == "__main__":
    unittest.main()
