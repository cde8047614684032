#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The metrics of divvyd on simulated nodes: their text by a strict parser of our own, what becomes of them
when the driver fails, who may see them, and what slow or greedy clients get."""
import http.client
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import time
import unittest
import warnings

import harness

SOURCE = os.environ.get("DIVVY_SOURCE", os.path.join(os.path.dirname(__file__), "..", ".."))
OPEN = "application/openmetrics-text; version=1.0.0"
SPIN = [harness.program("divvy-load"), "spin", "--seconds"]
NUMBER = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?$")
NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|\})')


# ---- the text


def parse_sample(line):
    """(name, labels in their order, value)"""
    name = NAME.match(line)[0]
    rest, labels = line[len(name):], []
    if rest.startswith("{"):
        rest, more = rest[1:], True
        while more:
            match = LABEL.match(rest)
            assert match, line
            labels.append((match[1], match[2]))
            more, rest = match[3] == ",", rest[match.end():]
        assert len({k for k, _ in labels}) == len(labels), f"a label twice: {line}"
    assert rest.startswith(" "), line
    assert NUMBER.match(rest[1:]), f"no plain number: {line}"
    return name, tuple(labels), rest[1:]


def parse(text, openmetrics=False):
    """{family: (type, {(name, labels): value})}; every departure from the format is an assertion."""
    if not text and not openmetrics:
        return {}
    assert text.endswith("\n"), "the last line has no end"
    lines = text[:-1].split("\n")
    if openmetrics:
        assert lines.pop() == "# EOF"
    families, family, helped, unit = {}, None, None, None
    for line in lines:
        if line.startswith("# HELP "):
            _, _, helped, words = line.split(" ", 3)
            assert helped not in families, f"HELP twice: {helped}"
            assert words.strip(), line
        elif line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert family == helped, f"TYPE without HELP before it: {line}"
            assert kind in (("gauge", "counter", "info", "unknown") if openmetrics
                            else ("gauge", "counter")), line
            families[family] = (kind, {})
            unit = None
        elif line.startswith("# UNIT "):
            assert openmetrics, line
            _, _, of, unit = line.split(" ")
            assert of == family and of.endswith("_" + unit), line
        else:
            name, labels, value = parse_sample(line)
            kind, samples = families[family]
            end = {"counter": "_total", "info": "_info"}.get(kind, "") if openmetrics else ""
            assert name == family + end, f"{name} stands in {family}"
            key = (name, tuple(sorted(labels)))
            assert key not in samples, f"a series twice: {line}"
            samples[key] = (labels, value)
    return families


def series(families, name):
    """[(labels as a dict, value)] of a sample's name."""
    return [(dict(labels), float(value)) for _, samples in families.values()
            for (of, _), (labels, value) in samples.items() if of == name]


def value(families, name, **labels):
    """The only sample that has these labels; None: there is none."""
    found = [v for have, v in series(families, name) if labels.items() <= have.items()]
    assert len(found) <= 1, f"{name} {labels}: {found}"
    return found[0] if found else None


def total(families, name, **labels):
    return sum(v for have, v in series(families, name) if labels.items() <= have.items())


# ---- a node with a listener


class Node(harness.Node):
    def __init__(self, *args, host="127.0.0.1", options=(), ready=True, **kw):
        super().__init__(*args, **kw)
        self.host = host
        self.ready = ready
        self.args += ["--listen", f"{host}:0", *options]
        self.context = None

    def start(self):
        super().start()
        if self.ready and not self.context:
            harness.wait_for(lambda: self.get("/readyz")[0] == 200, "ready")

    def port(self):
        ports = re.findall(r"listen=\S+:([0-9]+)\n", self.log())
        return int(ports[-1])

    def connect(self):
        host = self.host.strip("[]")
        if self.context:
            return http.client.HTTPSConnection(host, self.port(), context=self.context,
                                               timeout=harness.PATIENCE)
        return http.client.HTTPConnection(host, self.port(), timeout=harness.PATIENCE)

    def get(self, path, method="GET", **headers):
        c = self.connect()
        try:
            c.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = c.getresponse()
            self.headers = answer.headers
            return answer.status, answer.read().decode()
        finally:
            c.close()

    def metrics(self, path="/metrics", openmetrics=False):
        status, text = self.get(path, Accept=OPEN if openmetrics else "text/plain")
        assert status == 200, text
        return parse(text, openmetrics)

    def inject(self, *args):
        out = self.divvy_sim("inject", *args, "--socket", self.sim_socket())
        if out.returncode:
            raise AssertionError(out.stderr)

    def wait_metric(self, name, what, **labels):
        def seen():
            v = value(self.metrics(), name, **labels)
            return v is not None and what(v)
        harness.wait_for(seen, f"{name} {labels}")

    def wait_gone(self, name, **labels):
        harness.wait_for(lambda: value(self.metrics(), name, **labels) is None,
                         f"{name} {labels} is gone")


def documented():
    out = subprocess.run([os.path.join(SOURCE, "tools", "metrics-page"), SOURCE, "--names"],
                         check=True, capture_output=True, text=True)
    return set(out.stdout.split())


FIGURES = ["divvy_gpu_memory_bytes", "divvy_gpu_memory_used_bytes", "divvy_gpu_utilization_ratio",
           "divvy_gpu_power_watts", "divvy_gpu_energy_joules_total",
           "divvy_gpu_temperature_celsius", "divvy_gpu_sm_clock_hertz",
           "divvy_gpu_memory_clock_hertz"]


class Text(unittest.TestCase):
    def check_names(self, families, names):
        for family, (kind, samples) in families.items():
            for (name, _), (labels, _) in samples.items():
                self.assertIn(name, names, "not on docs/reference/metrics.md")
                self.assertFalse({k.lower() for k, _ in labels} & {"pid", "process", "slice"})
            self.assertTrue(samples, f"{family} has no samples")
            if family.startswith("divvy_"):
                self.assertEqual(kind == "counter", family.endswith("_total"), family)

    def test_both_formats_and_both_pages(self):
        names = documented()
        with Node("dgx-h100") as node:
            layout = os.path.join(node.directory, "layout.yaml")
            with open(layout, "w", encoding="utf-8") as f:
                f.write("apiVersion: divvy/v1\nkind: Layout\ngpus:\n"
                        "  - {gpu: 0, mig: [3g.40gb, 1g.10gb]}\n")
            self.assertEqual(node.divvy("layout", "apply", layout).returncode, 0)
            for tenant, args in (("alice", ["--gpu", "1", "--memory", "4GiB", "--compute", "30%"]),
                                 ("bob", ["--gpu", "1", "--memory", "4GiB", "--compute", "20%"]),
                                 ("carol", ["--gpu", "0", "--mode", "exclusive"])):
                node.start_run("--tenant", tenant, *args, "--", *SPIN, "600")
            for tenant in ("alice", "bob", "carol"):
                node.wait_metric("divvy_tenant_launches_total", lambda v: v > 0, tenant=tenant)
            node.start_run("--tenant", "dave", "--gpu", "1", "--memory", "78GiB", "--", "true")
            node.wait_metric("divvy_tenant_queued_claims", lambda v: v == 1, tenant="dave")
            node.wait_metric("divvy_gpu_power_watts", lambda v: v > 100, gpu="1")
            node.wait_metric("divvy_gpu_utilization_ratio", lambda v: v > 0.1, gpu="0")
            own = node.metrics()
            self.assertEqual(node.headers["Content-Type"],
                             "text/plain; version=0.0.4; charset=utf-8")
            self.check_names(own, names)
            self.check_own(own)
            opened = node.metrics(openmetrics=True)
            self.assertTrue(node.headers["Content-Type"].startswith(OPEN))
            self.assertEqual({n for _, s in own.values() for n, _ in s},
                             {n for _, s in opened.values() for n, _ in s})

            def instances():
                return series(node.metrics("/metrics/dcgm"), "DCGM_FI_PROF_GR_ENGINE_ACTIVE")
            harness.wait_for(lambda: len(instances()) == 9, "GPM of 7 GPUs and 2 instances")
            harness.wait_for(lambda: any(v > 0.9 for l, v in instances() if "GPU_I_ID" in l),
                             "carol's instance is busy")
            dcgm = node.metrics("/metrics/dcgm")
            self.check_names(dcgm, names)
            self.check_dcgm(dcgm)

    def check_own(self, m):
        self.assertEqual(len(series(m, "divvy_gpu_info")), 8)
        self.assertEqual(value(m, "divvy_tenants_dropped"), 0)
        for labels, _ in series(m, "divvy_gpu_info"):
            gpu = labels["gpu"]
            self.assertEqual(total(m, "divvy_gpu_health", gpu=gpu), 1)
            self.assertEqual(value(m, "divvy_gpu_health", gpu=gpu, state="ok"), 1)
            self.assertEqual(value(m, "divvy_gpu_collect_success", gpu=gpu), 1)
            for name in FIGURES:
                self.assertIsNotNone(value(m, name, gpu=gpu), name)
        devices = series(m, "divvy_device_info")
        self.assertEqual(len(devices), 9)
        self.assertEqual({l["profile"] for l, _ in devices}, {"", "3g.40gb", "1g.10gb"})
        self.assertAlmostEqual(total(m, "divvy_device_compute_ratio", gpu="0"), 4 / 7)
        self.assertEqual(value(m, "divvy_tenant_compute_ratio", tenant="alice", gpu="1"), 0.3)
        self.assertEqual(value(m, "divvy_tenant_memory_held_bytes", tenant="alice"),
                         4 * harness.GIB)
        self.assertGreater(value(m, "divvy_tenant_memory_used_bytes", tenant="alice"), 0)
        held = total(m, "divvy_device_memory_held_bytes", gpu="1")
        self.assertEqual(held, total(m, "divvy_tenant_memory_held_bytes", gpu="1"))
        self.assertEqual(value(m, "divvy_tenant_slices", tenant="carol", mode="exclusive"), 1)
        self.assertIsNone(value(m, "divvy_tenant_idle_seconds", tenant="dave"))
        self.assertGreater(value(m, "divvy_tenant_queue_wait_seconds", tenant="dave"), 0)
        self.assertIsNone(value(m, "divvy_tenant_queue_wait_seconds", tenant="alice"))

    def check_dcgm(self, m):
        order = ["gpu", "UUID", "pci_bus_id", "device", "modelName", "GPU_I_PROFILE", "GPU_I_ID",
                 "hostname", "DCGM_FI_DRIVER_VERSION", "err_code", "err_msg"]
        host = socket.gethostname()
        for family, (kind, samples) in m.items():
            self.assertEqual(kind == "counter", family in (
                "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "DCGM_FI_DEV_PCIE_REPLAY_COUNTER",
                "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS",
                "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS"), family)
            fraction = family == "DCGM_FI_DEV_POWER_USAGE" or family.endswith("_ACTIVE")
            for labels, text in samples.values():
                keys = [k for k, _ in labels]
                self.assertEqual(keys, [k for k in order if k in keys])
                self.assertEqual(dict(labels)["hostname"], host)
                self.assertRegex(text, r"^[0-9]+\.[0-9]{6}$" if fraction else r"^[0-9]+$")
        self.assertEqual(len(series(m, "DCGM_FI_DEV_POWER_USAGE")), 8)
        used = series(m, "DCGM_FI_DEV_FB_USED")
        self.assertEqual(len(used), 9)
        self.assertEqual({l["GPU_I_PROFILE"] for l, _ in used if l["gpu"] == "0"},
                         {"3g.40gb", "1g.10gb"})
        # What MIG has no figure for is not there; what GPM does not say here is not made up.
        self.assertEqual({l["gpu"] for l, _ in series(m, "DCGM_FI_DEV_GPU_UTIL")},
                         {str(i) for i in range(1, 8)})
        self.assertNotIn("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", m)

    def test_hostname(self):
        for what, keys in (("Hostname", {"Hostname"}), ("both", {"hostname", "Hostname"}),
                           ("none", set())):
            with Node("t4x4", options=["--dcgm-hostname", what]) as node:
                harness.wait_for(lambda n=node: n.metrics("/metrics/dcgm"), "telemetry")
                m = node.metrics("/metrics/dcgm")
                for labels, _ in series(m, "DCGM_FI_DEV_GPU_TEMP"):
                    self.assertEqual(labels.keys() & {"hostname", "Hostname"}, keys)
                # Turing has no GPM and no remapped rows: absent, not 0.
                self.assertFalse([f for f in m if "PROF" in f or "ROW" in f])

    def test_a_captured_node_says_no_more_than_its_capture(self):
        capture = os.path.join(SOURCE, "src", "platform", "hardware", "testdata",
                               "a100-mig.capture")
        with Node(None, ready=False, options=["--replay", capture]) as node:
            harness.wait_for(lambda: node.get("/readyz")[0] == 200, "ready")
            m = node.metrics()
            self.assertTrue(series(m, "divvy_device_info"))
            for name in FIGURES[3:]:
                self.assertFalse(series(m, name), name)
            for labels, power in series(node.metrics("/metrics/dcgm"), "DCGM_FI_DEV_POWER_USAGE"):
                self.fail(f"{labels} {power}")

    def test_labels_are_escaped(self):
        self.assertEqual(parse_sample('a{b="x\\"\\\\\\n,}"} 1')[1], (("b", 'x\\"\\\\\\n,}'),))
        for bad in ('a{b="\n"} 1', 'a{b="x} 1', "a{b=1} 1", "a 1e5", "a NaN", "a 01", "a{} 1"):
            with self.assertRaises(AssertionError, msg=bad):
                parse_sample(bad)

    def test_the_unix_socket_has_them_too(self):
        with harness.Node("a100") as node:
            c = harness.Connection(node.socket)
            c.request("GET", "/metrics")
            answer = c.getresponse()
            self.assertEqual(answer.status, 200)
            self.assertIn("divvy_gpu_info", parse(answer.read().decode()))
            c.close()
            status, _ = node.ask("GET", "/v1/status")
            self.assertEqual(status, 200)


class Counters(unittest.TestCase):
    def test_grow_until_a_restart(self):
        """A tenant's sums never fall, whatever becomes of its slices. A daemon that starts counts
        from 0, and what was counted is in the ledger."""
        names = [f"divvy_tenant_{what}_total" for what in
                 ("busy_seconds", "reserved_idle_seconds", "requested_seconds",
                  "memory_byte_seconds")]
        with Node("a100") as node:
            def sums():
                m = node.metrics()
                return [total(m, name, tenant="alice") for name in names]

            def grown(old, new):
                return all(a <= b for a, b in zip(old, new))
            run = node.start_run("--tenant", "alice", "--memory", "4GiB", "--compute", "30%", "--",
                                 *SPIN, "2")
            seen = [0, 0, 0, 0]
            while run.poll() is None:
                now = sums()
                self.assertTrue(grown(seen, now), (seen, now))
                seen = now
                time.sleep(0.1)
            self.assertEqual(run.returncode, 0)
            self.assertGreater(seen[0], 0)
            energy = value(node.metrics(), "divvy_gpu_energy_joules_total")
            seen = sums()
            node.stop()
            node.start()
            self.assertEqual(sums(), [0, 0, 0, 0])
            usage = {t["tenant"]: t for t in node.json("usage", "--from", "-1h")["tenants"]}
            for was, key in zip(seen, ("busy_seconds", "reserved_idle_seconds", "reserved_seconds",
                                       "memory_byte_seconds")):
                self.assertGreaterEqual(usage["alice"][key], was, key)
            self.assertIsNotNone(energy)


class Failures(unittest.TestCase):
    def assert_silent(self, m, gpu):
        for name in FIGURES:
            self.assertIsNone(value(m, name, gpu=gpu), name)
        self.assertEqual(value(m, "divvy_gpu_collect_success", gpu=gpu), 0)
        self.assertEqual(total(m, "divvy_gpu_health", gpu=gpu), 1)
        self.assertIsNotNone(value(m, "divvy_gpu_info", gpu=gpu))

    def assert_loud(self, node, gpu):
        for name in FIGURES:
            node.wait_metric(name, lambda v: True, gpu=gpu)
        node.wait_metric("divvy_gpu_collect_success", lambda v: v == 1, gpu=gpu)

    def no_dcgm_row(self, node, gpu):
        m = node.metrics("/metrics/dcgm")
        return not [1 for family in m for l, _ in series(m, family) if l["gpu"] == gpu]

    def test_a_lost_gpu(self):
        with Node("t4x4") as node:
            self.assert_loud(node, "1")
            node.inject("--gpu", "1", "--xid", "79")
            node.wait_gone("divvy_gpu_memory_used_bytes", gpu="1")
            m = node.metrics()
            self.assert_silent(m, "1")
            node.wait_metric("divvy_gpu_health", lambda v: v == 1, gpu="1", state="failed")
            node.wait_metric("divvy_gpu_xid_errors_total", lambda v: v == 1, gpu="1", xid="79")
            self.assertTrue(self.no_dcgm_row(node, "1"))
            self.assert_loud(node, "0")

    def test_a_query_that_fails(self):
        with Node("t4x4") as node:
            self.assert_loud(node, "2")
            node.inject("--gpu", "2", "--nvml-error", "nvmlDeviceGetMemoryInfo_v2=999")
            node.inject("--gpu", "2", "--nvml-error", "nvmlDeviceGetMemoryInfo=999")
            node.wait_gone("divvy_gpu_memory_used_bytes", gpu="2")
            self.assert_silent(node.metrics(), "2")
            self.assertTrue(self.no_dcgm_row(node, "2"))
            self.assert_loud(node, "0")
            node.inject("--clear")
            self.assert_loud(node, "2")

    def test_one_figure_that_fails(self):
        with Node("t4x4") as node:
            self.assert_loud(node, "0")
            node.inject("--gpu", "0", "--nvml-error", "nvmlDeviceGetPowerUsage=999")
            node.wait_gone("divvy_gpu_power_watts", gpu="0")
            m = node.metrics()
            self.assertEqual(value(m, "divvy_gpu_collect_success", gpu="0"), 0)
            self.assertIsNotNone(value(m, "divvy_gpu_temperature_celsius", gpu="0"))
            self.assertIsNotNone(value(m, "divvy_gpu_power_watts", gpu="1"))
            node.inject("--clear")
            node.inject("--gpu", "0", "--nvml-error", "nvmlDeviceGetPowerUsage=3")

            def only_not_supported():
                """It may also have been asked between the two, and have answered."""
                m = node.metrics()
                return value(m, "divvy_gpu_collect_success", gpu="0") == 1 and \
                    value(m, "divvy_gpu_power_watts", gpu="0") is None
            harness.wait_for(only_not_supported, "no figure, and nothing that has failed")

    def test_a_call_that_hangs(self):
        for call in ("nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetPowerUsage"):
            with self.subTest(call), Node("t4x4", options=["--nvml-timeout", "1s"]) as node:
                self.assert_loud(node, "0")
                node.inject("--gpu", "0", "--nvml-hang", call + "=0")
                node.wait_gone("divvy_gpu_memory_used_bytes", gpu="0")
                m = node.metrics()
                for gpu in "0123":
                    self.assertEqual(value(m, "divvy_gpu_collect_success", gpu=gpu), 0)
                    self.assertIsNone(value(m, "divvy_gpu_power_watts", gpu=gpu))
                self.assertEqual(node.get("/healthz")[0], 200)
                node.inject("--clear")
                harness.wait_for(lambda n=node: n.get("/readyz")[0] == 200, "it answers again")
                node.wait_metric("divvy_gpu_memory_used_bytes", lambda v: True, gpu="0")

    def test_memory_of_nobody(self):
        with Node("a100") as node:
            node.wait_metric("divvy_gpu_memory_unattributed_bytes", lambda v: v == 0)
            node.inject("--gpu", "0", "--leak", "3GiB")
            node.wait_metric("divvy_gpu_memory_unattributed_bytes", lambda v: v >= 3 * harness.GIB)


class Access(unittest.TestCase):
    def test_paths_and_methods(self):
        with Node("a100") as node:
            for path, status in (("/metrics", 200), ("/metrics/dcgm", 200), ("/healthz", 200),
                                 ("/readyz", 200), ("/", 404), ("/metrics/", 404),
                                 ("/metricsx", 404), ("/v1/status", 403), ("/v1/claims", 403),
                                 ("/metrics/../v1/status", 404)):
                self.assertEqual(node.get(path)[0], status, path)
            for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
                self.assertEqual(node.get("/metrics", method)[0], 405, method)
                self.assertEqual(node.headers["Allow"], "GET, HEAD")
                self.assertEqual(node.get("/v1/claims", method)[0], 403, method)
            status, text = node.get("/metrics", "HEAD")
            self.assertEqual((status, text), (200, ""))
            for host in ("evil.example", "evil.example:9400", "127.0.0.1.evil.example", ""):
                status, text = node.get("/metrics", Host=host)
                self.assertIn(status, (400, 403), host)
                self.assertNotIn("divvy_", text)
            for host in ("localhost", "127.0.0.1:1", "[::1]:9400"):
                self.assertEqual(node.get("/metrics", Host=host)[0], 200, host)

    def test_ipv6(self):
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            self.skipTest("no IPv6 here")
        with Node("a100", host="[::1]") as node:
            self.assertIn("divvy_gpu_info", node.metrics())

    def fails(self, status, message, *args):
        with _Bare() as node:
            daemon = node.spawn_daemon(*args)
            self.assertEqual(daemon.wait(harness.PATIENCE), status, node.log())
            self.assertIn(message, node.log())
            lines = [l for l in node.log().splitlines() if l.startswith("divvyd: ")]
            self.assertEqual(len(lines), 1, node.log())

    def test_refusals(self):
        with _Bare() as node:
            cert, key, token = node.secrets()
            tls = ["--tls-cert", cert, "--tls-key", key]
            self.fails(2, "is no ADDR:PORT", "--listen", "9400")
            self.fails(2, "no IP address", "--listen", "example.org:9400")
            self.fails(2, "can be reached from other machines", "--listen", "0.0.0.0:0")
            self.fails(2, "can be reached from other machines", "--listen", "[::]:0", *tls)
            self.fails(2, "can be reached from other machines", "--listen", "0.0.0.0:0",
                       "--token-file", token)
            self.fails(2, "go together", "--listen", "127.0.0.1:0", "--tls-cert", cert)
            self.fails(2, "are for --listen", "--token-file", token)
            self.fails(2, "cannot read", "--listen", "127.0.0.1:0", "--token-file", "/nonexistent")
            self.fails(2, "--dcgm-hostname must be", "--dcgm-hostname", "HOSTNAME")
            os.chmod(token, 0o644)
            self.fails(2, "others can read", "--listen", "0.0.0.0:0", *tls, "--token-file", token)
            os.chmod(token, 0o600)
            os.chmod(key, 0o644)
            self.fails(2, "others can read", "--listen", "0.0.0.0:0", *tls, "--token-file", token)
            os.chmod(key, 0o600)
            with open(token, "w", encoding="utf-8") as f:
                f.write("short\n")
            self.fails(2, "the token in", "--listen", "127.0.0.1:0", "--token-file", token)
            with socket.create_server(("127.0.0.1", 0)) as taken:
                port = taken.getsockname()[1]
                self.fails(5, f"something else listens on 127.0.0.1:{port}", "--listen",
                           f"127.0.0.1:{port}")

    def test_a_bad_certificate(self):
        with _Bare() as node:
            cert, _, token = node.secrets()
            junk = os.path.join(node.directory, "junk")
            with open(junk, "w", encoding="utf-8") as f:
                f.write("no key\n")
            os.chmod(junk, 0o600)
            daemon = node.spawn_daemon("--sim", "a100", "--listen", "127.0.0.1:0", "--tls-cert",
                                       cert, "--tls-key", junk, "--token-file", token)
            self.assertEqual(daemon.wait(harness.PATIENCE), 2, node.log())
            self.assertIn("GnuTLS does not take", node.log())

    def test_tls_and_token(self):
        with _Bare() as bare:
            cert, key, token = bare.secrets()
            with Node("a100", host="0.0.0.0", ready=False, options=[
                    "--tls-cert", cert, "--tls-key", key, "--token-file", token]) as node:
                node.host = "127.0.0.1"
                node.context = ssl.create_default_context(cafile=cert)
                with open(token, encoding="utf-8") as f:
                    secret = f.read().strip()
                harness.wait_for(lambda: node.get("/readyz")[0] == 200, "ready, without a token")
                for headers in ({}, {"Authorization": "Bearer wrong"},
                                {"Authorization": f"Basic {secret}"},
                                {"Authorization": f"Bearer {secret}x"}):
                    status, text = node.get("/metrics", **headers)
                    self.assertEqual(status, 401)
                    self.assertEqual(node.headers["WWW-Authenticate"], "Bearer")
                    self.assertNotIn("divvy_", text)
                status, text = node.get("/metrics", Authorization=f"Bearer {secret}")
                self.assertEqual(status, 200)
                self.assertIn("divvy_gpu_info", parse(text))
                # Beyond the loopback any name may lead here.
                self.assertEqual(node.get("/metrics", Host="gpu7.example",
                                          Authorization=f"Bearer {secret}")[0], 200)
                old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                old.load_verify_locations(cert)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    old.maximum_version = ssl.TLSVersion.TLSv1_1
                old.set_ciphers("ALL:@SECLEVEL=0")
                node.context = old
                with self.assertRaises((ssl.SSLError, OSError)):
                    node.get("/healthz")
                node.context = None
                with self.assertRaises((http.client.HTTPException, OSError)):
                    node.get("/healthz")

    def test_slow_and_greedy_clients(self):
        with Node("a100") as node:
            slow = [socket.create_connection((node.host, node.port())) for _ in range(20)]
            for s in slow:
                s.sendall(b"GET /metrics HTTP/1.1\r\nHost: loc")
            self.assertEqual(node.get("/metrics")[0], 200)
            end = time.monotonic() + harness.PATIENCE
            alive = list(slow)
            # A byte now and then is not silence; the bound of a whole request ends them all the same.
            while alive and time.monotonic() < end:
                for s in list(alive):
                    s.setblocking(False)
                    try:
                        if s.recv(1) == b"":
                            alive.remove(s)
                            continue
                    except BlockingIOError:
                        pass
                    except OSError:
                        alive.remove(s)
                        continue
                    try:
                        s.send(b"a")
                    except OSError:
                        alive.remove(s)
                time.sleep(0.5)
            self.assertFalse(alive, "slow clients are hung up on")
            for s in slow:
                s.close()
            many = []
            for _ in range(200):
                s = socket.socket()
                many.append(s)
                s.settimeout(1)
                try:
                    s.connect((node.host, node.port()))
                except OSError:
                    break
            self.assertEqual(node.json("status")["gpus"][0]["index"], 0)  # the Unix socket serves
            for s in many:
                s.close()
            harness.wait_for(lambda: self.answers(node), "scrapes go on")
            big = socket.create_connection((node.host, node.port()))
            big.settimeout(harness.PATIENCE)
            try:
                big.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100000)
                first = big.recv(4096)
                self.assertTrue(first == b"" or b" 200 " not in first.split(b"\r\n")[0], first)
            except OSError:
                pass
            big.close()
            self.assertEqual(node.get("/metrics")[0], 200)

    @staticmethod
    def answers(node):
        try:
            return node.get("/metrics")[0] == 200
        except (OSError, http.client.HTTPException):
            return False


class _Bare:
    """A directory for daemons that do not come to live."""

    def __enter__(self):
        self.node = harness.Node(None)
        self.directory = self.node.directory
        return self

    def __exit__(self, *exc):
        shutil.rmtree(self.directory, ignore_errors=True)

    def spawn_daemon(self, *args):
        return self.node.spawn_daemon(*args)

    def log(self):
        return self.node.log()

    def secrets(self):
        """A certificate for 127.0.0.1, its key, and a token."""
        cert, key, token = (os.path.join(self.directory, n) for n in ("cert", "key", "token"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=test",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
                       check=True, capture_output=True)
        os.chmod(key, stat.S_IRUSR | stat.S_IWUSR)
        with open(os.open(token, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as f:
            f.write("0123456789abcdef0123456789abcdef\n")
        return cert, key, token


if __name__ == "__main__":
    unittest.main(verbosity=2)
