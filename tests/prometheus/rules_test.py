# SPDX-License-Identifier: Apache-2.0
"""Rules, alerts and the dashboard: accepted by promtool, and about metrics and labels that exist.

Needs promtool (Debian: prometheus); ends with 77, skipped, without it.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from promql import Expression  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.environ.get("DIVVY_SOURCE", os.path.join(HERE, "..", ".."))
RULES = os.path.join(SOURCE, "packaging", "prometheus", "divvy.rules.yml")
TESTS = os.path.join(SOURCE, "packaging", "prometheus", "divvy.rules.test.yml")
SCRAPE = os.path.join(SOURCE, "packaging", "prometheus", "scrape.yml")
DASHBOARD = os.path.join(SOURCE, "packaging", "grafana", "divvy.json")
ALERTS_PAGE = os.path.join(SOURCE, "docs", "reference", "alerts.md")
METRICS_PAGE = os.path.join(SOURCE, "docs", "reference", "metrics.md")
FAMILIES = os.path.join(SOURCE, "src", "services", "metrics_families.def")
SCALER = os.path.join(SOURCE, "tools", "prometheus-rules")
DIVVY = os.path.join(os.environ.get("DIVVY_BIN", "/usr/local/bin"), "divvy")
TARGET = {"job", "instance"}  # Prometheus' own labels
# Values that are words of ours.
VALUES = {"bucket": {"busy", "overhead", "reserved_idle", "unallocated", "unhealthy"},
          "state": {"ok", "degraded", "failed", "unknown"},
          "basis": {"used", "requested", "fixed", "max"}}


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def run(*args, **kw):
    return subprocess.run(args, text=True, capture_output=True, timeout=120, check=False, **kw)


def known_metrics():
    """name: labels, of divvyd's own table and of what Prometheus makes itself."""
    known = {"up": set(), "ALERTS": {"alertname", "alertstate", "severity"}}
    ends = {"INFO": "_info", "COUNTER": "_total", "COUNTER_BARE": "", "GAUGE": ""}
    for name, kind, labels in re.findall(
            r'^METRIC\(\w+,\s*"(\w+)",\s*(\w+),\s*(?:NULL|"\w*"),\s*"([^"]*)"', read(FAMILIES),
            re.MULTILINE):
        known[name + ends[kind]] = set(re.findall(r"\w+", labels))
    return known


def all_rules(text):
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def of_kind(rules, kind):
    return {rule[kind]: rule for rule in rules if kind in rule}


def seconds(text):
    unit = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    return sum(int(n) * unit[u] for n, u in re.findall(r"([0-9]+)(ms|[smhdw])", text))


def panels():
    return json.loads(read(DASHBOARD))["panels"]


def grafana_filled(expr):
    """As Grafana sends it, with the variables filled in."""
    for name, value in (("$__rate_interval", "5m"), ("$__range", "1d"), ("$instance", ".*"),
                        ("$gpu", ".*"), ("$tenant", ".*")):
        expr = expr.replace(name, value)
    return expr


def dashboard_expressions():
    """(where, expression): of the panels and, as selectors, of the variables."""
    for panel in panels():
        for target in panel.get("targets", []):
            yield panel["title"], grafana_filled(target["expr"])
    for variable in json.loads(read(DASHBOARD))["templating"]["list"]:
        match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable.get("definition", ""))
        if match:
            yield f"variable {variable['name']}", f"count by ({match[2]}) ({grafana_filled(match[1])})"


class Rules(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="divvy-rules-")
        cls.text = read(RULES)
        cls.rules = all_rules(cls.text)
        cls.alerts, cls.records = of_kind(cls.rules, "alert"), of_kind(cls.rules, "record")

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    def accepted(self, text):
        path = os.path.join(self.directory.name, "rules.yml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        out = run("promtool", "check", "rules", path)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
        self.assertNotIn("duplicate", out.stdout + out.stderr)

    def scaled(self, *args):
        out = run(SCALER, *args)
        self.assertEqual(out.returncode, 0, out.stderr)
        return out.stdout

    # -- the rules themselves

    def test_promtool_accepts_the_rules(self):
        self.accepted(self.text)

    def test_unit_tests_pass(self):
        out = run("promtool", "test", "rules", TESTS)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)

    def test_each_alert_has_a_planted_case(self):
        tests = read(TESTS)
        for name in self.alerts:
            self.assertIn(f'{{alertname="{name}"', tests)

    def test_unit_tests_notice_changes(self):
        """A rule that fires at once, one that fires too seldom: each fails the unit tests."""
        tests = read(TESTS)
        for what, old, new in (
                ("under-use without a past", " offset 30m) > 0", ") > 0"),
                ("under-use of those who wait", "tenant_device:divvy_tenant_wait_seconds:rate30m > 0.1",
                 "tenant_device:divvy_tenant_wait_seconds:rate30m > 100"),
                ("the idle named twice", "divvy_tenant_idle_seconds > (25 * 60)",
                 "divvy_tenant_idle_seconds > (25 * 3600 * 60)"),
                ("idle too soon", "divvy_tenant_idle_seconds > (30 * 60)",
                 "divvy_tenant_idle_seconds > (15 * 60)"),
                ("the first XID", "divvy_gpu_xid_errors_total unless (divvy_gpu_xid_errors_total offset 10m)",
                 "divvy_gpu_xid_errors_total unless divvy_gpu_xid_errors_total"),
                ("an old XID after a gap", "(up offset 10m == 1)", "(up offset 10m >= 0)"),
                ("zombies at once", "divvy_gpu_memory_unattributed_bytes > 256 * 1024 ^ 2\n        for: 5m",
                 "divvy_gpu_memory_unattributed_bytes > 256 * 1024 ^ 2\n        for: 1m"),
                ("any job's daemon", 'up{job=~"divvy.*"}', "up"),
                ("missed for a moment", "divvy_gpu_missing_since_timestamp_seconds > 0\n        for: 2m",
                 "divvy_gpu_missing_since_timestamp_seconds > 0\n        for: 0m"),
                ("leak: slow", "0.01 *", "0.00001 *"),
                ("leak: plateau", ":max10m\n          > tenant_device:divvy_tenant_memory_used_bytes:max10m "
                 "offset 10m", ":max10m\n          > 0"),
                ("leak: far from the cap", "4 * tenant", "400 * tenant"),
                ("leak: few samples", "[10m]) >= 5", "[10m]) >= 1"),
                ("share kept", "ratio_rate30m < 0.8", "ratio_rate30m < 1.8")):
            with self.subTest(what):
                self.assertIn(old, self.text)
                directory = tempfile.mkdtemp(dir=self.directory.name)
                with open(os.path.join(directory, "divvy.rules.yml"), "w", encoding="utf-8") as f:
                    f.write(self.text.replace(old, new))
                path = os.path.join(directory, "test.yml")
                with open(path, "w", encoding="utf-8") as f:
                    f.write(tests)
                out = run("promtool", "test", "rules", path)
                self.assertNotEqual(out.returncode, 0, "not noticed")
                self.assertIn("got:", out.stdout + out.stderr)

    def test_alerts_say_what_to_do(self):
        for name, rule in self.alerts.items():
            with self.subTest(name):
                self.assertIn(rule["labels"]["severity"], ("critical", "warning", "info"))
                self.assertEqual(set(rule["annotations"]), {"summary", "description", "runbook_url"})
                self.assertRegex(rule["annotations"]["description"], "'[a-z]")
                self.assertEqual(rule["annotations"]["runbook_url"],
                                 f"docs/reference/alerts.md#{name.lower()}")

    def test_each_alert_has_its_section(self):
        page = read(ALERTS_PAGE)
        sections = re.findall(r"^## (Divvy\w+)$", page, re.MULTILINE)
        self.assertEqual(sections, list(self.alerts))
        for name in sections:
            body = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)[1]
            self.assertIn(f"`{self.alerts[name]['labels']['severity']}`", body, name)
            self.assertIn("**Do:**", body, name)

    def test_commands_exist(self):
        if not os.path.exists(DIVVY):
            self.skipTest("no divvy in DIVVY_BIN")
        texts = [r["annotations"]["description"] for r in self.alerts.values()]
        texts += [p.get("description", "") for p in panels()] + [read(ALERTS_PAGE)]
        verbs = {v for text in texts for v in re.findall(r"['`]divvy ([a-z]+)", text)}
        self.assertGreater(len(verbs), 4)
        for verb in verbs:
            self.assertEqual(run(DIVVY, "help", verb).returncode, 0, verb)

    # -- scaling

    def test_scale_1_is_the_identity(self):
        self.assertEqual(self.scaled(), self.text)
        self.assertEqual(self.scaled("--scale", "1"), self.text)

    def test_scaling_divides_every_length_of_time_and_nothing_else(self):
        for scale in (60, 120):
            text = self.scaled("--scale", str(scale))
            self.accepted(text)
            rules = all_rules(text)
            self.assertEqual(len(rules), len(self.rules))
            for old, new in zip(self.rules, rules):
                self.assertEqual([seconds(d) / scale for d in Expression(old["expr"]).durations],
                                 [seconds(d) for d in Expression(new["expr"]).durations])
                self.assertEqual(seconds(old.get("for", "")) / scale, seconds(new.get("for", "")))
                sums = [eval(e) for e in re.findall(r"\(([0-9]+ \* 60)\)", old["expr"])]  # noqa: S307
                self.assertEqual(sums, [float(n) * scale for n in
                                        re.findall(r"\(([0-9.]+)\)", new["expr"])])
                self.assertNotRegex(old["expr"], r"[<>] [0-9]+00\b")  # seconds are products
                for key in ("record", "alert", "labels", "annotations"):
                    self.assertEqual(old.get(key), new.get(key))

    def test_scaling_units(self):
        path = os.path.join(self.directory.name, "odd.yml")
        with open(path, "w", encoding="utf-8") as f:
            f.write("# [5m]\nexpr: x[1h30m:1m] offset 5m > (2 * 24 * 60) * (3 * 7)\nfor: 1h\n"
                    "interval: 1m\ndescription: for: 5m [5m] (1 * 60)\nformat: 5m\n")
        self.assertEqual(self.scaled("--scale", "60", path),
                         "# [5m]\nexpr: x[90s:1s] offset 5s > (48) * (3 * 7)\nfor: 1m\ninterval: 1s\n"
                         "description: for: 5m [5m] (1 * 60)\nformat: 5m\n")
        self.assertEqual(run(SCALER, "--scale", "0").returncode, 2)
        self.assertEqual(run(SCALER, "/nonexistent").returncode, 1)

    def test_runbooks_can_be_links(self):
        text = self.scaled("--docs", "https://example.org/divvy/")
        self.accepted(text)
        for rule in of_kind(all_rules(text), "alert").values():
            self.assertTrue(rule["annotations"]["runbook_url"].startswith(
                "https://example.org/divvy/docs/reference/alerts.md#"))

    # -- names

    def labels_of(self, name, known):
        if name in known:
            return known[name] | TARGET
        if name in self.records:
            expression = Expression(self.records[name]["expr"])
            labels = set().union(*(self.labels_of(m, known) for m, _ in expression.selectors))
            return labels - {x for word, names in expression.groups if word == "without"
                             for x in names}
        raise self.failureException(f"there is no metric {name}")

    def check_names(self, expr, known):
        """Every metric exists and has the labels; returns (records used, labels at hand)."""
        expression = Expression(expr)
        self.assertTrue(expression.selectors, expr)
        at_hand = set()
        for metric, matched in expression.selectors:
            labels = self.labels_of(metric, known)
            at_hand |= labels
            if metric != "ALERTS":
                self.assertLessEqual(set(matched), labels, f"{metric} in {expr}")
            for label in set(matched) & set(VALUES):
                self.assertLessEqual(set(matched[label].strip('"').split("|")), VALUES[label], expr)
        for word, labels in expression.groups:
            self.assertLessEqual(set(labels), at_hand, f"{word} in {expr}")
        return {m for m, _ in expression.selectors if m in self.records}, at_hand

    def test_rules_use_metrics_and_labels_that_exist(self):
        known = known_metrics()
        for rule in self.rules:
            with self.subTest(rule.get("record") or rule.get("alert")):
                _, labels = self.check_names(rule["expr"], known)
                for text in rule.get("annotations", {}).values():
                    self.assertLessEqual(set(re.findall(r"\$labels\.(\w+)", text)), labels)

    def test_the_table_was_read(self):
        known = known_metrics()
        self.assertGreater(len(known), 40)
        self.assertEqual(known["divvy_gpu_xid_errors_total"], {"gpu", "gpu_uuid", "xid"})
        for expr in ("divvy_gpu_time_total", 'divvy_gpu_health{status="ok"}',
                     'divvy_gpu_health{state="fine"}', "sum by (pid) (divvy_gpu_memory_bytes)"):
            with self.assertRaises(AssertionError, msg=expr):
                self.check_names(expr, known)

    def test_each_recording_is_used(self):
        known = known_metrics()
        used = set()
        for expr in [r["expr"] for r in self.rules] + [e for _, e in dashboard_expressions()]:
            used |= self.check_names(expr, known)[0]
        self.assertEqual(set(self.records) - used, set())

    def test_recordings_are_named_level_metric_operation(self):
        for name in self.records:
            self.assertRegex(name, r"^[a-z_]+:divvy_[a-z_]+:[a-z0-9_]+$")

    def test_metrics_are_those_of_the_reference(self):
        if not os.path.exists(METRICS_PAGE):
            self.skipTest("docs/reference/metrics.md is not there yet")
        page = set(re.findall(r"\bdivvy_[a-z0-9_]+\b", read(METRICS_PAGE)))
        listed = {name for name in known_metrics() if name.startswith("divvy_")}
        self.assertEqual(listed - page, set())

    # -- the dashboard

    def test_dashboard_is_what_its_tool_prints(self):
        out = run(os.path.join(SOURCE, "tools", "grafana-dashboard"))
        self.assertEqual(out.stdout, read(DASHBOARD), "run tools/grafana-dashboard again")

    def test_dashboard_expressions(self):
        known = known_metrics()
        found = list(dashboard_expressions())
        self.assertGreater(len(found), 20)
        rows = ["groups: [{name: dashboard, rules: ["]
        for i, (where, expr) in enumerate(found):
            with self.subTest(where):
                self.assertNotIn("$", expr)
                self.check_names(expr, known)
            rows.append(f"{{record: 'dashboard:{i}', expr: {json.dumps(expr)}}},")
        self.accepted("\n".join(rows) + "]}]\n")

    def test_dashboard_is_in_order(self):
        dashboard = json.loads(read(DASHBOARD))
        variables = {v["name"] for v in dashboard["templating"]["list"]}
        self.assertEqual(variables, {"datasource", "instance", "gpu", "tenant"})
        taken = {}
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    self.assertNotIn((x, y), taken, panel["title"])
                    taken[x, y] = panel["title"]
            for target in panel.get("targets", []):
                self.assertIn('instance=~"$instance"', target["expr"], panel["title"])
            self.assertLessEqual(set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(panel))), variables)
        self.assertEqual(len({p["id"] for p in dashboard["panels"]}), len(dashboard["panels"]))

    # -- the example configuration

    def test_scrape_example_is_accepted(self):
        path = os.path.join(self.directory.name, "prometheus.yml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(read(SCRAPE))
        shutil.copy(RULES, self.directory.name)
        out = run("promtool", "check", "config", path, cwd=self.directory.name)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
        jobs = [j["job_name"] for j in yaml.safe_load(read(SCRAPE))["scrape_configs"]]
        self.assertEqual(jobs, ["divvy", "divvy-dcgm"])  # DivvyDaemonDown looks for these


if __name__ == "__main__":
    if not shutil.which("promtool"):
        print("promtool is not installed", file=sys.stderr)
        sys.exit(77)
    unittest.main()
