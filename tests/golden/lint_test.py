#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""lint_test DIVVY FIXTURES PAGE [--update]: divvy lint and divvy advise as people and scripts use them.

FIXTURES has two files for each rule: DVnnn-fires.EXT, in which it is found, and DVnnn-near.EXT, which
looks like it and is not. findings.txt there is what is said of all of them. PAGE is the reference page
of the rules; --update writes both anew: look at the difference.
"""
import difflib
import json
import os
import pty
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

DIVVY, FIXTURES, PAGE = (os.path.abspath(a) for a in sys.argv[1:4])
UPDATE = "--update" in sys.argv
ENV = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LC_ALL": "C",
       "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "")}


def divvy(*args, text=None, cwd=FIXTURES):
    return subprocess.run([DIVVY, *args], input=text, cwd=cwd, env=ENV, capture_output=True,
                          text=True, timeout=120, check=False)


def lint(*args, **how):
    done = divvy("lint", "-o", "json", *args, **how)
    assert done.returncode in (0, 3), done
    return json.loads(done.stdout)


def rules():
    return json.loads(divvy("lint", "--rules", "-o", "json").stdout)["rules"]


def fixtures(which=""):
    return sorted(f for f in os.listdir(FIXTURES) if re.match(r"DV\d{3}-" + which, f))


def ids(report, file=0):
    return [f["rule"] for f in report["files"][file]["findings"]]


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def compare(path, found):
    if UPDATE:
        with open(path, "w", encoding="utf-8") as f:
            f.write(found)
    wanted = read(path)
    sys.stdout.writelines(difflib.unified_diff(wanted.splitlines(True), found.splitlines(True),
                                               path, "found"))
    return wanted == found


class Rules(unittest.TestCase):
    def test_each_fires_and_nearly(self):
        report = {f["file"]: [x["rule"] for x in f["findings"]]
                  for f in lint(*fixtures())["files"]}
        for rule in rules():
            for which in ("fires", "near"):
                files = [f for f in fixtures(which) if f.startswith(rule["rule"])]
                self.assertEqual(len(files), 1, (rule["rule"], which))
                self.assertEqual(rule["rule"] in report[files[0]], which == "fires", files)

    def test_words(self):
        self.assertTrue(compare(os.path.join(FIXTURES, "findings.txt"),
                                divvy("lint", *fixtures()).stdout))

    def test_page(self):
        """The page has a row for each rule, made of the rules themselves."""
        rows = "".join(f"| `{r['rule']}` | {r['name']} | {r['severity']} | {r['verdict']} | {r['title']} |\n"
                       for r in rules())
        page = read(PAGE)
        head, mark, rest = page.partition("| rule | name | severity | verdict | what |\n|---|---|---|---|---|\n")
        self.assertTrue(mark)
        tail = re.sub(r"\A(\|.*\n)*", "", rest)
        self.assertTrue(compare(PAGE, head + mark + rows + tail))

    def test_explain(self):
        for rule in rules()[::12]:
            self.assertIn(rule["explanation"], divvy("lint", "--explain", rule["rule"]).stdout)
        self.assertEqual(divvy("lint", "--explain", "DV999").returncode, 2)


class Use(unittest.TestCase):
    def test_exit_status(self):
        self.assertEqual(divvy("lint", "DV102-near.yaml").returncode, 0)
        self.assertEqual(divvy("lint", "DV102-fires.yaml").returncode, 3)
        self.assertEqual(divvy("lint", "DV114-fires.yaml").returncode, 0)  # a note
        self.assertEqual(divvy("lint", "missing.yaml").returncode, 1)
        self.assertEqual(divvy("lint", "missing.yaml", "DV102-fires.yaml").returncode, 1)
        self.assertEqual(divvy("lint").returncode, 2)
        self.assertEqual(divvy("lint", "--gpu", "X1", "a").returncode, 2)
        self.assertEqual(divvy("lint", "--print", "diff", "a").returncode, 2)
        self.assertEqual(divvy("lint", "--rule", "DV102,DVX", "a").returncode, 2)

    def test_filters(self):
        args = ["DV203-fires.yaml"]
        self.assertEqual(set(ids(lint(*args))), {"DV202", "DV203"})
        self.assertEqual(set(ids(lint("--ignore", "misplaced-key", *args))), {"DV203"})
        self.assertEqual(set(ids(lint("--rule", "DV202", *args))), {"DV202"})
        self.assertEqual(ids(lint("--ignore", "DV2", *args)), [])

    def test_gpu_and_strategy(self):
        self.assertIn("DV108", ids(lint("--gpu", "T4", "DV109-near.yaml")))
        self.assertIn("DV109", ids(lint("--gpu", "H100", "DV109-near.yaml")))
        self.assertEqual(ids(lint("--gpu", "A100-40GB", "DV109-near.yaml")), [])
        self.assertIn("DV112", ids(lint("--strategy", "single", "DV109-near.yaml")))

    def test_standard_input(self):
        report = lint("-", text=read(os.path.join(FIXTURES, "DV102-fires.yaml")))
        self.assertEqual(ids(report), ["DV102"])
        self.assertEqual(ids(lint("-", text="nvidia-smi --foo\n")), ["DV401"])
        self.assertEqual(ids(lint("-", text="dcgm_fb_used{gpu=\"0\"}\n")), ["DV501"])
        self.assertEqual(ids(lint("--type", "promql", "-", text="sum(dcgm_fb_used\n")),
                         ["DV509", "DV501"])

    def test_folders(self):
        with tempfile.TemporaryDirectory() as d:
            os.makedirs(os.path.join(d, "b", ".hidden"))
            for name in ("b/x.yaml", "a.yml", "b/.hidden/x.yaml", "b/x.txt"):
                shutil.copy(os.path.join(FIXTURES, "DV102-fires.yaml"), os.path.join(d, name))
            os.symlink(d, os.path.join(d, "loop"))
            with open(os.path.join(d, "c.json"), "wb") as f:
                f.write(b"\0binary")
            report = lint(".", cwd=d)
            self.assertEqual([f["file"] for f in report["files"]], ["./a.yml", "./b/x.yaml"])
            self.assertEqual(divvy("lint", "c.json", cwd=d).returncode, 1)

    def test_comments(self):
        pod = read(os.path.join(FIXTURES, "DV102-fires.yaml")).replace("# and this one",
                                                                     "# divvy-lint: ignore DV102")
        self.assertEqual(ids(lint("-", text=pod)), [])
        self.assertEqual(ids(lint("--no-comments", "-", text=pod)), ["DV102"])

    def test_places(self):
        """Also in lists, in here-documents and in ConfigMaps: the place is the file's."""
        pod = read(os.path.join(FIXTURES, "DV102-fires.yaml"))
        for before in ("", "# one\n---\n# two\n---\n"):
            found = lint("-", text=before + pod)["files"][0]["findings"][0]
            at = (before + pod).split("\n")[found["line"] - 1]
            self.assertEqual(at[found["column"] - 1:][:14], "nvidia.com/gpu")
        script = "#!/bin/sh\nkubectl apply -f - <<'EOF'\n" + pod + "EOF\n"
        found = lint("-", text=script)["files"][0]["findings"][0]
        self.assertEqual(script.split("\n")[found["line"] - 1][found["column"] - 1:][:14],
                         "nvidia.com/gpu")

    def test_big_input(self):
        self.assertEqual(divvy("lint", "-", text="a: b\n" * 300000).returncode, 1)
        many = "---\napiVersion: v1\nkind: PodDisruptionBudget # GPUs\n" * 4200
        report = lint("-", text=many)
        self.assertEqual(len(ids(report)), 2000)
        self.assertEqual(report["files"][0]["dropped"], 4096 + 1 - 2000)
        self.assertEqual(ids(lint("--rule", "DV905", "-", text=many)), ["DV905"])
        done = divvy("lint", "--fix", "-", text=many)
        self.assertEqual(done.stdout.count("policy/v1"), 4096)


class Fix(unittest.TestCase):
    def test_all(self):
        """Twice is once; what could be mended is gone; comments stay; nothing new is found."""
        with tempfile.TemporaryDirectory() as d:
            for name in fixtures():
                shutil.copy(os.path.join(FIXTURES, name), d)
            before = {f["file"]: f for f in lint(*fixtures(), cwd=d)["files"]}
            divvy("lint", "--fix", *fixtures(), cwd=d)
            once = {n: read(os.path.join(d, n)) for n in fixtures()}
            after = {f["file"]: f for f in lint(*fixtures(), cwd=d)["files"]}
            divvy("lint", "--fix", *fixtures(), cwd=d)
            for name in fixtures():
                self.assertEqual(once[name], read(os.path.join(d, name)), name)
                self.assertFalse([f for f in after[name]["findings"] if f["fixable"]], name)
                had = {f["rule"] for f in before[name]["findings"]}
                has = {f["rule"] for f in after[name]["findings"]}
                self.assertLessEqual(has - {"DV504", "DV507"}, had, name)
                source = read(os.path.join(FIXTURES, name))
                if not any(f["fixable"] for f in before[name]["findings"]):
                    self.assertEqual(once[name], source)
                elif name != "DV304-fires.yaml":  # whose line goes
                    self.assertEqual(re.findall("#.*", once[name]), re.findall("#.*", source), name)

    def test_diff(self):
        """What --print diff shows is what --fix does, and it changes nothing itself."""
        with tempfile.TemporaryDirectory() as d:
            for name in fixtures("fires"):
                shutil.copy(os.path.join(FIXTURES, name), d)
            shown = divvy("lint", "--fix", "--print", "diff", *fixtures("fires"), cwd=d)
            for name in fixtures("fires"):
                self.assertEqual(read(os.path.join(d, name)), read(os.path.join(FIXTURES, name)))
            with tempfile.TemporaryDirectory() as mended:
                for name in fixtures("fires"):
                    shutil.copy(os.path.join(FIXTURES, name), mended)
                divvy("lint", "--fix", *fixtures("fires"), cwd=mended)
                if shutil.which("patch"):
                    subprocess.run(["patch", "-s", "-p1"], input=shown.stdout, text=True, cwd=d,
                                   check=True)
                    for name in fixtures("fires"):
                        self.assertEqual(read(os.path.join(d, name)),
                                         read(os.path.join(mended, name)), name)

    def test_filter(self):
        done = divvy("lint", "--fix", "-", text=read(os.path.join(FIXTURES, "DV102-fires.yaml")))
        self.assertIn("limits: # kept: this comment\n", done.stdout)
        self.assertEqual(done.returncode, 0)

    def test_mixed_requests(self):
        pod = read(os.path.join(FIXTURES, "DV102-fires.yaml"))
        pod = pod.replace("        requests:", "        limits:\n          memory: 1Gi\n        requests:")
        done = divvy("lint", "--fix", "-", text=pod)
        self.assertIn('limits:\n          nvidia.com/gpu: "1"\n          memory: 1Gi\n', done.stdout)
        self.assertEqual(done.returncode, 0, done)

    def test_permissions(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "pod.yaml")
            shutil.copy(os.path.join(FIXTURES, "DV102-fires.yaml"), path)
            os.chmod(path, 0o640)
            os.symlink(path, os.path.join(d, "link.yaml"))
            self.assertEqual(divvy("lint", "--fix", "link.yaml", cwd=d).returncode, 0)
            self.assertTrue(os.path.islink(os.path.join(d, "link.yaml")))
            self.assertIn("limits", read(path))
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o640)

    @unittest.skipUnless(os.geteuid() == 0, "only root works on others' files")
    def test_owner(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "pod.yaml")
            shutil.copy(os.path.join(FIXTURES, "DV102-fires.yaml"), path)
            os.chown(path, 4242, 4343)
            self.assertEqual(divvy("lint", "--fix", "pod.yaml", cwd=d).returncode, 0)
            found = os.stat(path)
            self.assertEqual((found.st_uid, found.st_gid), (4242, 4343))

    def test_pipe(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "pod.yaml")
            os.mkfifo(path)
            fixture = os.path.join(FIXTURES, "DV102-fires.yaml")
            with subprocess.Popen(["cp", fixture, path]):
                done = divvy("lint", "--fix", "pod.yaml", cwd=d)
            self.assertEqual(done.returncode, 1)
            self.assertIn("is no plain file", done.stderr)
            self.assertTrue(stat.S_ISFIFO(os.stat(path).st_mode))


class Formats(unittest.TestCase):
    def test_sarif(self):
        """What the specification (SARIF 2.1.0, OASIS) and code scanners need of it."""
        done = divvy("lint", "--format", "sarif", *fixtures())
        self.assertEqual(done.returncode, 3)
        sarif = json.loads(done.stdout)
        self.assertEqual(sarif["version"], "2.1.0")
        self.assertIn("sarif", sarif["$schema"])
        self.assertEqual(len(sarif["runs"]), 1)
        run = sarif["runs"][0]
        driver = run["tool"]["driver"]
        self.assertTrue(driver["name"] and driver["version"])
        known = [r["id"] for r in driver["rules"]]
        self.assertEqual(len(known), len(set(known)))
        for rule in driver["rules"]:
            for key in ("shortDescription", "fullDescription", "help"):
                self.assertTrue(rule[key]["text"])
            self.assertIn(rule["defaultConfiguration"]["level"], ("note", "warning", "error"))
        self.assertEqual({r["ruleId"] for r in run["results"]}, set(known))
        for result in run["results"]:
            self.assertEqual(known[result["ruleIndex"]], result["ruleId"])
            self.assertIn(result["level"], ("note", "warning", "error"))
            self.assertTrue(result["message"]["text"])
            place = result["locations"][0]["physicalLocation"]
            self.assertIn(place["artifactLocation"]["uri"], fixtures())
            self.assertGreaterEqual(place["region"]["startLine"], 1)
            self.assertGreaterEqual(place["region"]["startColumn"], 1)
            for fix in result.get("fixes", []):
                for change in fix["artifactChanges"]:
                    for r in change["replacements"]:
                        self.assert_region(change["artifactLocation"]["uri"], r["deletedRegion"])

    def assert_region(self, uri, region):
        lines = read(os.path.join(FIXTURES, uri)).split("\n")
        self.assertLessEqual(region["endLine"], len(lines))
        self.assertLessEqual((region["startLine"], region["startColumn"]),
                             (region["endLine"], region["endColumn"]))
        self.assertLessEqual(region["endColumn"], len(lines[region["endLine"] - 1]) + 1)

    def test_sarif_uri(self):
        with tempfile.TemporaryDirectory() as d:
            os.mkdir(os.path.join(d, "a b"))
            shutil.copy(os.path.join(FIXTURES, "DV102-fires.yaml"), os.path.join(d, "a b", "x.yaml"))
            sarif = json.loads(divvy("lint", "--format", "sarif", ".", cwd=d).stdout)
            uri = sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
            self.assertEqual(uri["artifactLocation"]["uri"], "a%20b/x.yaml")

    def test_csv_and_json(self):
        rows = divvy("lint", "-o", "csv", "DV102-fires.yaml").stdout.splitlines()
        self.assertEqual(rows[0], "file,line,column,severity,rule,verdict,why,fix,fixable")
        self.assertEqual(len(rows), 2)
        report = lint("DV101-fires.yaml", "DV102-fires.yaml")
        self.assertEqual(report["kind"], "LintReport")
        self.assertEqual(report["summary"]["verdicts"]["rewritten"], 1)
        self.assertEqual(report["summary"]["errors"], 1)
        self.assertEqual(divvy("lint", "-o", "json", "--format", "csv", "a").returncode, 2)


class Advise(unittest.TestCase):
    def advise(self, *args):
        done = divvy("advise", "-o", "json", *args)
        self.assertEqual(done.returncode, 0, done)
        return json.loads(done.stdout)

    def test_what_it_says_passes_lint(self):
        for gpu in ("A100-80GB", "A30", "H200", "T4", "V100", "L40S"):
            for want in (["--training"], ["--inference"], ["--interactive", "--memory", "2GiB"],
                         ["--trust", "untrusted"], ["--inference", "--tenants", "20"],
                         ["--p99", "30ms", "--memory", "4GiB"], ["--gpus", "4"]):
                advice = self.advise("--gpu", gpu, *want)
                for key in ("recommended", "runner_up"):
                    if not advice[key]:
                        continue
                    for text in (advice[key]["manifest"], advice[key]["node_setting"]):
                        report = lint("--gpu", gpu, "-", text=text) if text else None
                        if report and advice[key]["mode"] != "timeslice":
                            self.assertEqual(report["files"][0]["verdict"], "accepted", (text, report))

    def test_divvy_run_takes_what_it_says(self):
        """The line without Kubernetes: its options are known; several GPUs it does not promise."""
        for gpu in ("A100-80GB", "T4"):
            for want in (["--memory", "5GiB", "--p99", "200ms"], ["--inference", "--p99", "30ms"],
                         ["--interactive"], ["--memory", "6GiB", "--compute", "1/3"],
                         ["--trust", "untrusted", "--memory", "4GiB"], ["--training"]):
                advice = self.advise("--gpu", gpu, *want)
                for line in [advice[k]["run"] for k in ("recommended", "runner_up") if advice[k]]:
                    words = line.split()
                    done = divvy(*words[1:-2], "--socket", "/nonexistent", "--", "true")
                    self.assertEqual(done.returncode, 125, (line, done.stderr))
                    self.assertIn("does not answer", done.stderr, line)
        for want in (["--gpus", "2"], ["--training", "--memory", "90GiB"]):
            self.assertIsNone(self.advise(*want)["recommended"]["run"])

    def test_trust(self):
        for gpu in ("A100-80GB", "T4", "V100"):
            advice = self.advise("--gpu", gpu, "--trust", "untrusted", "--inference")
            self.assertEqual(advice["recommended"]["memory_wall"], "hardware")
        self.assertEqual(self.advise("--gpu", "T4", "--trust", "untrusted")["mode"], "exclusive")
        self.assertEqual(self.advise("--training")["mode"], "exclusive")

    def test_usage(self):
        self.assertEqual(divvy("advise").returncode, 2)
        self.assertEqual(divvy("advise", "--training", "--inference").returncode, 2)
        self.assertEqual(divvy("advise", "--gpu", "X").returncode, 2)

    def test_asked(self):
        """On a terminal the questions are asked, and asked again after what cannot be read."""
        main, side = pty.openpty()
        child = subprocess.Popen([DIVVY, "advise", "-o", "json"], stdin=side, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, env=ENV, text=True)
        os.close(side)
        os.write(main, b"H101\nH100\ninf\n\n8GiB\n\ny\n\n\n")
        out, err = child.communicate(timeout=120)
        os.close(main)
        advice = json.loads(out)
        self.assertIn("did you mean", err)
        self.assertEqual(advice["gpu"], "H100-80GB")
        self.assertEqual(advice["recommended"]["profile"], "1g.10gb")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]], verbosity=1)
