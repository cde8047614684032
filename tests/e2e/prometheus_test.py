# SPDX-License-Identifier: Apache-2.0
"""Debian's Prometheus scrapes a simulated node. Two tenants are planted there, one that does nothing and
one that leaks, and the alerts name these two and nothing else.

The rules run 120 times as fast as in earnest: half an hour is a quarter of a minute.
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

import harness

SOURCE = os.environ.get("DIVVY_SOURCE", os.path.join(os.path.dirname(__file__), "..", ".."))
SCALE = 120
EVERY = "500ms"  # scrapes and evaluations
HOW_TO = os.path.join(SOURCE, "docs", "how-to", "prometheus.md")


def free_ports(n):
    """Ports that nobody has; all are held while they are chosen, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def get(url, **headers):
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=harness.PATIENCE) as answer:
        return answer.read().decode(), answer.headers.get("Content-Type", "")


class Prometheus:
    """The program, with a configuration of its own and all its files in `directory`."""

    def __init__(self, directory, target, port):
        self.url = f"http://127.0.0.1:{port}"
        self.directory = directory
        rules = subprocess.run([os.path.join(SOURCE, "tools", "prometheus-rules"), "--scale",
                                str(SCALE)], check=True, capture_output=True, text=True).stdout
        self.write("divvy.rules.yml", rules)
        with open(os.path.join(SOURCE, "packaging", "prometheus", "scrape.yml"),
                  encoding="utf-8") as f:
            scrape = f.read()
        scrape = scrape.replace("interval: 15s", f"interval: {EVERY}")
        self.write("prometheus.yml", scrape.replace("127.0.0.1:9400", target))
        self.log_path = os.path.join(directory, "prometheus.log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", "--config.file=" + os.path.join(directory, "prometheus.yml"),
                 "--storage.tsdb.path=" + os.path.join(directory, "data"),
                 f"--web.listen-address=127.0.0.1:{port}"], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, env=harness.clean_env())

    def write(self, name, text):
        with open(os.path.join(self.directory, name), "w", encoding="utf-8") as f:
            f.write(text)

    def __enter__(self):
        def ready():
            if self.process.poll() is not None:
                with open(self.log_path, encoding="utf-8") as log:
                    raise AssertionError("prometheus ended: " + log.read())
            try:
                return get(self.url + "/-/ready")
            except (urllib.error.URLError, ConnectionError):
                return None
        harness.wait_for(ready, "Prometheus is ready")
        return self

    def __exit__(self, *exc):
        self.process.terminate()
        try:
            self.process.wait(harness.PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def api(self, path, **arguments):
        text, _ = get(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(arguments)}")
        return json.loads(text)["data"]

    def query(self, expr):
        """[(labels, value)] now."""
        return [(r["metric"], float(r["value"][1])) for r in self.api("query", query=expr)["result"]]

    def fired(self, over=None):
        """{(alert, tenant)} that fire now, or ever did in that time."""
        what = 'ALERTS{alertstate="firing"}'
        expr = f"max_over_time({what}[{over}])" if over else what
        return {(m["alertname"], m.get("tenant", "")) for m, _ in self.query(expr)}


@unittest.skipUnless(shutil.which("promtool") and shutil.which("prometheus"),
                     "Debian's prometheus is not installed")
class Scraped(unittest.TestCase):
    maxDiff = None

    def load(self, tenant, compute, memory, *work):
        return self.node.start_run("--tenant", tenant, "--memory", memory, "--compute", compute, "--",
                                   harness.program("divvy-load"), *work)

    def start_tenants(self):
        """ann works; nora has a notebook open: memory, and nothing launched; leo leaks."""
        self.load("ann", "40%", "10GiB", "spin", "--seconds", "600", "--memory", "8GiB")
        self.load("nora", "20%", "10GiB", "alloc", "--bytes", "4GiB", "--hold", "600")
        self.load("leo", "30%", "10GiB", "leak", "--first", "6GiB", "--rate", "80MiB", "--seconds",
                  "600")
        harness.wait_for(lambda: len([s for s in self.node.slices() if s["pids"]]) == 3,
                         "three slices with processes")

    def check_body(self, path):
        """promtool's findings about what divvyd shows there."""
        body, kind = get(f"http://{self.target}{path}")
        self.assertTrue(kind.startswith("text/plain"), kind)
        out = subprocess.run(["promtool", "check", "metrics"], input=body, text=True,
                             capture_output=True, check=False, timeout=harness.PATIENCE)
        return body, out.returncode, out.stdout + out.stderr

    def check_bodies(self):
        body, code, findings = self.check_body("/metrics")
        self.assertEqual((code, findings), (0, ""))
        for name in ("divvy_tenant_busy_seconds_total", "divvy_tenant_memory_used_bytes",
                     "divvy_tenant_idle_seconds"):
            self.assertRegex(body, rf'(?m)^{name}{{tenant="leo"')
        self.assertRegex(body, r'(?m)^divvy_gpu_collect_success{gpu="0",gpu_uuid="GPU-[^}]*} 1$')
        self.assertNotRegex(body, r'[{,]pid="')
        # DCGM's names are against Prometheus' rules, which is what 3 says; 1 would be a body that
        # cannot be read.
        dcgm, code, findings = self.check_body("/metrics/dcgm")
        self.assertIn(code, (0, 3), findings)
        self.assertRegex(dcgm, r"(?m)^DCGM_FI_DEV_FB_USED\{")
        text, kind = get(f"http://{self.target}/metrics", Accept="application/openmetrics-text")
        self.assertTrue(kind.startswith("application/openmetrics-text"), kind)
        self.assertTrue(text.endswith("# EOF\n"))

    @harness.of_figures
    def test_the_two_that_are_planted_and_nothing_else(self):
        self.directory = tempfile.mkdtemp(prefix="divvy-prometheus-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        port, self.port = free_ports(2)
        self.target = f"127.0.0.1:{port}"
        with harness.Node("a100", args=["--listen", self.target]) as self.node:
            self.start_tenants()
            self.look()

    def look(self):
        wanted = {("DivvyTenantIdle", "nora"), ("DivvyTenantMemoryLeak", "leo")}
        with Prometheus(self.directory, self.target, self.port) as prometheus:
            harness.wait_for(lambda: prometheus.fired() >= wanted or prometheus.fired() - wanted,
                             "the alerts fire")
            self.assertEqual(prometheus.fired(), wanted)
            alerts = {a["labels"]["alertname"]: a for a in prometheus.api("alerts")["alerts"]}
            self.assertIn("nora", alerts["DivvyTenantIdle"]["annotations"]["summary"])
            self.assertIn("GPU 0", alerts["DivvyTenantMemoryLeak"]["annotations"]["summary"])
            # A while longer: more than five minutes at this scale, which most alerts wait for.
            time.sleep(3)
            self.assertEqual(prometheus.fired("10m"), wanted)
            self.assertEqual({(m["job"], v) for m, v in prometheus.query("up")},
                             {("divvy", 1.0), ("divvy-dcgm", 1.0)})
            self.assertEqual(prometheus.query("min_over_time(up[10m]) == 0"), [])
            self.check_rules_ran(prometheus)
            self.check_use(prometheus)
            self.check_bodies()
            self.assertEqual([v for _, v in prometheus.query("divvy_ledger_up")], [1])
            [(labels, sum_of_buckets)] = prometheus.query(
                "sum by (gpu) (gpu_bucket:divvy_gpu_time_seconds:rate5m)")
            self.assertEqual(labels, {"gpu": "0"})
            self.assertAlmostEqual(sum_of_buckets, 1, delta=0.5)  # a window of a few flushes

    def check_rules_ran(self, prometheus):
        for group in prometheus.api("rules")["groups"]:
            for rule in group["rules"]:
                self.assertEqual((rule["health"], rule.get("lastError", "")), ("ok", ""),
                                 rule["name"])

    def check_use(self, prometheus):
        """What was recorded is what the tenants did: ann works on her share, nora on none of hers."""
        used = {m["tenant"]: v for m, v in prometheus.query(
            "tenant_device:divvy_tenant_busy_per_requested:ratio_rate30m")}
        self.assertEqual(set(used), {"ann", "leo", "nora"})
        self.assertEqual(used["nora"], 0)
        self.assertGreater(used["ann"], 0.5)
        self.assertGreater(used["leo"], 0.15)


@unittest.skipUnless(shutil.which("promtool") and shutil.which("prometheus"),
                     "Debian's prometheus is not installed")
class Demo(unittest.TestCase):
    """tools/demo, with 16 tenants in every mode, one killed, one refused, a GPU cut anew: of all of them
    the alerts name those that the demo plants. It shares long enough for that here, and the
    comparison of the modes before it is short."""

    @harness.of_figures
    def test_the_alerts_name_what_the_demo_plants(self):
        directory = tempfile.mkdtemp(prefix="divvy-prometheus-")
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        divvy, port = free_ports(2)
        target = f"127.0.0.1:{divvy}"
        env = harness.clean_env(DIVVY_BIN=harness.BIN, DIVVY_DEMO_LISTEN=target,
                                DIVVY_DEMO_SECONDS="32", DIVVY_DEMO_BENCH_SECONDS="1")
        demo = subprocess.Popen([os.path.join(SOURCE, "tools", "demo")], env=env, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
        try:
            self.follow(demo, directory, target, port)
        finally:
            if demo.poll() is None:
                demo.terminate()
            demo.communicate()

    def follow(self, demo, directory, target, port):
        lines = []

        def read_until(beginning):
            for line in demo.stdout:
                lines.append(line)
                if line.startswith(beginning):
                    return
            self.fail(f"the demo ended before {beginning}\n" + "".join(lines))

        read_until("2. A node")
        read_until("$ divvy layout")
        with Prometheus(directory, target, port) as prometheus:
            read_until("9. The bill")
            fired = prometheus.fired("30m")
            down = prometheus.query("min_over_time(up[30m]) == 0")
            sums = prometheus.query("sum by (gpu) (increase(divvy_gpu_time_seconds_total[20s]))")
        lines.extend(demo.stdout)
        self.assertEqual(demo.wait(harness.PATIENCE), 0, "".join(lines))
        self.assertEqual(fired, {("DivvyTenantIdle", "nora"), ("DivvyTenantMemoryLeak", "leo")})
        self.assertEqual(down, [])
        self.assertEqual(len(sums), 8)
        for labels, value in sums:
            self.assertAlmostEqual(value, 20, delta=4, msg=labels)  # flushes are two seconds apart


@unittest.skipUnless(shutil.which("promtool") and shutil.which("prometheus"),
                     "Debian's prometheus is not installed")
class HowTo(unittest.TestCase):
    """The commands of docs/how-to/prometheus.md, as they stand there but for folder and ports."""

    def test_commands_of_the_page(self):
        directory = tempfile.mkdtemp(prefix="divvy-how-to-")
        os.chmod(directory, 0o755)  # divvyd gives up root
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        with open(HOW_TO, encoding="utf-8") as f:
            page = f.read()
        blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        self.assertGreater(len(blocks), 4)
        script = "set -e\n" + "\n".join(blocks)
        divvy, own = free_ports(2)
        copy = "cp packaging/prometheus/scrape.yml"
        for old, new in ((copy, "sed s/9400/$PORT/ packaging/prometheus/scrape.yml >"),
                         ("/tmp/watch", directory), ("127.0.0.1:9400", f"127.0.0.1:{divvy}"),
                         ("127.0.0.1:9090", f"127.0.0.1:{own}")):
            self.assertIn(old, script)
            script = script.replace(old, new)
        env = harness.clean_env(PATH=harness.BIN + os.pathsep + os.environ["PATH"], PORT=str(divvy))
        with open(os.path.join(directory, "out"), "w+b") as out:
            shell = subprocess.Popen(["bash", "-c", script], cwd=SOURCE, env=env, stdout=out,
                                     stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                     start_new_session=True)
            try:
                code = shell.wait(5 * harness.PATIENCE)
            finally:
                try:
                    os.killpg(shell.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                shell.wait()
            out.seek(0)
            text = out.read().decode(errors="replace")
        self.assertEqual(code, 0, text)
        self.assertIn("SUCCESS", text)
        self.assertRegex(text, r'"alertname": ?"DivvyTenantIdle"')
        self.assertIn("nora", text)
        self.assertEqual(set(re.findall(r"Divvy[A-Z]\w+", text)), {"DivvyTenantIdle"}, text)


if __name__ == "__main__":
    if not shutil.which("prometheus"):
        print("Debian's prometheus is not installed", file=sys.stderr)
        sys.exit(77)
    unittest.main()
