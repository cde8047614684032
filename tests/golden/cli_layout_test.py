#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cli_layout_test DIVVY: layout and mig verbs against a daemon that answers as each test says."""
import copy
import json
import os
import pty
import signal
import unittest

from fake_daemon import DIVVY, PATIENCE, Case, error, wait_for

BLOCKER = {"slice": "s-3", "tenant": "ann", "device": "MIG-3", "because": "destroy_instance",
           "pids": [12, 13]}
DEVICE = {"uuid": "MIG-1", "profile": "3g.40gb", "placement_start": 4, "placement_size": 4,
          "memory_bytes": 42 << 30, "mode": "mps", "layout_mode": "mps", "replicas": 3,
          "timeslice": "default", "draining": False, "mps_up": True, "slices": 2}
WHOLE = {**DEVICE, "uuid": "GPU-1", "profile": None, "placement_start": None,
         "placement_size": None, "memory_bytes": 80 << 30, "mode": "auto", "layout_mode": "auto",
         "replicas": None, "mps_up": False, "slices": 0}
GPU = {"index": 0, "uuid": "GPU-0", "model": "A100-80GB", "managed": True, "state": "settled",
       "detail": None, "deadline_unix": None, "mig_enabled": True, "mig_pending": False,
       "devices": [DEVICE], "blockers": []}
LAYOUT = {"apiVersion": "divvy/v1", "kind": "Layout", "state": "settled", "detail": None,
          "generation": 7, "can_undo": True,
          "sources": [{"part": "cut", "name": "mig.yaml", "format": "mig-parted",
                       "config": "all-balanced", "applied_unix": 1780000000},
                      {"part": "sharing", "name": "plugin.yaml", "format": "device-plugin",
                       "config": None, "applied_unix": 1780000100}],
          "gpus": [GPU, {**GPU, "index": 1, "uuid": "GPU-1", "managed": False,
                         "mig_enabled": False, "devices": [WHOLE]}]}
PLAN = {"apiVersion": "divvy/v1", "kind": "LayoutPlan", "name": "node.yaml", "format": "divvy",
        "config": None, "changes": True,
        "warnings": [{"line": 12, "text": "replicas: 1 shares nothing"}],
        "gpus": [{"index": 0, "uuid": "GPU-0", "model": "A100-80GB", "managed": True, "mig": True,
                  "created": 2, "destroyed": 1, "kept": 1,
                  "devices": [{"uuid": None, "profile": "3g.40gb", "placement_start": 4,
                               "mode": "mps", "replicas": 3, "stays": False},
                              {"uuid": "MIG-9", "profile": "1g.10gb", "placement_start": 0,
                               "mode": "auto", "replicas": None, "stays": True}],
                  "steps": [{"number": 1, "action": "destroy_instance", "device": "MIG-3",
                             "text": "destroy GPU instance 3 (1g.10gb at 4)"},
                            {"number": 2, "action": "create_instance", "device": None,
                             "text": "create GPU instance 3g.40gb at 4"}],
                  "blockers": [BLOCKER]},
                 {"index": 1, "uuid": "GPU-1", "model": "A30", "managed": False, "mig": False,
                  "created": 0, "destroyed": 0, "kept": 0, "devices": [], "steps": [],
                  "blockers": []},
                 {"index": 2, "uuid": "GPU-2", "model": "A30", "managed": True, "mig": False,
                  "created": 0, "destroyed": 0, "kept": 0, "devices": [], "steps": [],
                  "blockers": []}]}


def refusal(reason, message, exit_code=1, **more):
    return {**error(message, exit_code), "reason": reason, **more}


def changing(state="draining", generation=8, **gpu):
    layout = copy.deepcopy(LAYOUT)
    layout.update(state=state, generation=generation)
    layout["gpus"][0].update({"state": state, **gpu})
    return layout


class Layouts(Case):
    granted = LAYOUT

    def file(self, text=b"kind: Layout\n", name="node.yaml"):
        path = self.marker(name)
        with open(path, "wb") as f:
            f.write(text)
        return path

    def last(self):
        return self.daemon.requests[-1]

    # -- show

    def test_show(self):
        code, out, err = self.divvy("layout", "show")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(out, """\
layout settled
  cut from mig.yaml (mig-parted, config all-balanced), since 2026-05-28 20:26:40 UTC
  sharing from plugin.yaml (device-plugin), since 2026-05-28 20:28:20 UTC

GPU  MODEL      MANAGED  STATE    DEVICE   AT  WANTED  MODE  REPLICAS  SLICES    MEMORY  UUID
  0  A100-80GB  yes      settled  3g.40gb   4  mps     mps          3       2  42.0 GiB  MIG-1
  1  A100-80GB  no       settled  -         -  auto    auto         -       0  80.0 GiB  GPU-1
""")
        self.assertEqual(self.last()[:2], ("GET", "/v1/layout"))

    def test_show_what_is_unsettled(self):
        layout = changing(blockers=[BLOCKER], deadline_unix=1780000000, mig_pending=True)
        layout["gpus"][1]["devices"] = []
        self.answers["GET"] = (200, layout)
        code, out, _ = self.divvy("layout", "show")
        self.assertEqual(code, 0)
        self.assertIn("layout draining\n", out)
        self.assertTrue(out.endswith("""
GPU 0 draining: waits for s-3 of ann, until 2026-05-28 20:26:40 UTC
GPU 0: a change of MIG mode waits for a reset of the GPU
in the way:
  GPU 0: s-3 of ann on MIG-3 (destroy instance), pids 12 13
"""), out)

    def test_show_without_layout_and_as_data(self):
        none = {**LAYOUT, "state": "none", "sources": [], "gpus": []}
        self.answers["GET"] = (200, none)
        code, out, _ = self.divvy("layout", "show")
        self.assertEqual(code, 0)
        self.assertIn("no layout: each device is shared as its first tenant asks\n", out)
        self.assertEqual(json.loads(self.divvy("layout", "show", "-o", "json")[1]), none)
        self.answers["GET"] = (200, LAYOUT)
        out = self.divvy("layout", "show", "-o", "csv")[1].splitlines()
        self.assertEqual(out[0].rstrip(), "gpu_index,gpu_uuid,gpu_model,gpu_managed,gpu_state,"
                         "gpu_mig_enabled,gpu_mig_pending,device_uuid,profile,placement_start,"
                         "placement_size,memory_bytes,layout_mode,mode,replicas,timeslice,"
                         "draining,mps_up,slices")
        self.assertEqual(out[1].rstrip(), "0,GPU-0,A100-80GB,true,settled,true,false,MIG-1,"
                         f"3g.40gb,4,4,{42 << 30},mps,mps,3,default,false,true,2")

    # -- plan

    def test_plan(self):
        self.answers["POST"] = (200, PLAN)
        path = self.file(b"kind: Layout\n# \xc3\xa4\n")
        code, out, err = self.divvy("layout", "plan", path, "--config", "c")
        self.assertEqual((code, err), (0, "node.yaml:12: replicas: 1 shares nothing\n"))
        self.assertEqual(out, """\
GPU 0 (A100-80GB): instances: 1 destroyed, 2 created, 1 kept
   1. destroy GPU instance 3 (1g.10gb at 4)
   2. create GPU instance 3g.40gb at 4
  then: 3g.40gb at 4 mps x3, 1g.10gb at 0 auto (stays)
  in the way:
    GPU 0: s-3 of ann on MIG-3 (destroy instance), pids 12 13
as wanted already: GPU 2
not in the layout, stays: GPU 1
""")
        self.assertEqual(self.last(), ("POST", "/v1/layout/plan", {
            "name": path, "text": "kind: Layout\n# ä\n", "config": "c"}))

    def test_plan_as_data(self):
        self.answers["POST"] = (200, PLAN)
        code, out, _ = self.divvy("layout", "plan", self.file(), "-o", "json")
        self.assertEqual((code, json.loads(out)), (0, PLAN))
        out = self.divvy("layout", "plan", self.file(), "-o", "csv")[1].splitlines()
        self.assertEqual(out[1].rstrip(),
                         "0,1,destroy_instance,destroy GPU instance 3 (1g.10gb at 4),MIG-3")

    def test_plan_without_changes(self):
        self.answers["POST"] = (200, {**PLAN, "changes": False, "warnings": [], "gpus": []})
        self.assertEqual(self.divvy("layout", "plan", self.file()), (0, "nothing to do\n", ""))

    def test_plan_refused(self):
        path = self.file()
        self.answers["POST"] = (409, refusal("infeasible", "GPU 0: four 3g.40gb, it takes 2"))
        self.assertEqual(self.divvy("layout", "plan", path),
                         (3, "", "divvy layout plan: GPU 0: four 3g.40gb, it takes 2\n"))
        self.answers["POST"] = (400, error("node.yaml:3:1: unknown key 'gpu'", 2))
        self.assertEqual(self.divvy("layout", "plan", path),
                         (2, "", "divvy layout plan: node.yaml:3:1: unknown key 'gpu'\n"))

    # -- files

    def test_standard_input(self):
        self.answers["POST"] = (200, PLAN)
        self.assertEqual(self.divvy("layout", "plan", "-", stdin=b"a: \"\\\n")[0], 0)
        self.assertEqual(self.last()[2], {"name": "standard input", "text": "a: \"\\\n"})

    def test_files_that_are_none(self):
        missing, text = self.marker("missing"), self.file(b"a: 1\nb: \xff\n")
        cases = [(missing, f"cannot open {missing}: No such file or directory"),
                 (self.directory, f"cannot read {self.directory}: Is a directory"),
                 (text, f"{text}:2: the byte 0xff is not UTF-8 text")]
        for path, message in cases:
            self.assertEqual(self.divvy("layout", "plan", path),
                             (2, "", f"divvy layout plan: {message}\n"))
        path = self.file(b"a\0b")
        self.assertIn("node.yaml:1: the byte 0x00 is not", self.divvy("layout", "apply", path)[2])
        self.assertEqual(self.divvy("mig", "apply", "-f", path)[0], 1)
        self.assertEqual(self.daemon.requests, [])

    def test_size_of_files(self):
        self.answers["POST"] = (200, PLAN)
        largest = b'"' * 524288  # doubles as JSON
        self.assertEqual(self.divvy("layout", "plan", self.file(largest))[0], 0)
        self.assertEqual(self.last()[2]["text"], largest.decode())
        self.assertEqual(self.divvy("layout", "plan", self.file(largest + b"x"))[2],
                         f"divvy layout plan: {self.marker('node.yaml')} is longer than 512 KiB\n")

    # -- apply, undo

    def test_apply_at_once(self):
        code, out, err = self.divvy("layout", "apply", self.file(), "-o", "json")
        self.assertEqual((code, json.loads(out), err), (0, LAYOUT, ""))
        self.assertEqual(self.methods(), ["POST"])
        self.assertEqual(self.last()[1], "/v1/layout/apply")
        self.assertEqual(self.last()[2]["when"], "idle")

    def test_apply_watches(self):
        self.answers["POST"] = (202, changing())
        self.answers["GET"] = (200, changing("changing"))
        p = self.start("layout", "apply", self.file(), "--wait", "--timeout", "10m")
        wait_for(lambda: self.methods().count("GET") > 1, "it looks again")
        self.answers["GET"] = (503, error("not now", 5))  # the daemon restarts
        wait_for(lambda: self.methods().count("GET") > 3, "it goes on looking")
        self.answers["GET"] = (200, {**LAYOUT, "generation": 8})
        out, err = p.communicate(timeout=PATIENCE)
        self.assertEqual((p.returncode, err), (0, ""))
        self.assertIn("layout settled\n", out)
        self.assertEqual(self.daemon.requests[0][2],
                         {"name": self.marker("node.yaml"), "text": "kind: Layout\n",
                          "when": "wait", "timeout_seconds": 600})

    def test_apply_without_watching(self):
        self.answers["POST"] = (202, changing())
        code, out, _ = self.divvy("layout", "apply", self.file(), "--evict", "--no-watch")
        self.assertEqual((code, self.methods()), (0, ["POST"]))
        self.assertIn("layout draining\n", out)
        self.assertEqual(self.last()[2]["when"], "evict")

    def test_apply_in_use(self):
        answer = refusal("in_use", "2 slices are in the way", blockers=[
            {**BLOCKER, "gpu": 0}, {**BLOCKER, "gpu": 3, "slice": "s-4", "pids": [5]}])
        self.answers["POST"] = (409, answer)
        code, out, err = self.divvy("layout", "apply", self.file())
        self.assertEqual((code, out), (1, ""))
        self.assertEqual(err, """\
divvy layout apply: 2 slices are in the way
  GPU 0: s-3 of ann on MIG-3 (destroy instance), pids 12 13
  GPU 3: s-4 of ann on MIG-3 (destroy instance), pid 5
nothing was changed
""")
        code, out, _ = self.divvy("layout", "apply", self.file(), "-o", "json")
        self.assertEqual((code, json.loads(out)), (1, answer))

    def test_apply_fails(self):
        self.answers["POST"] = (202, changing())
        self.answers["GET"] = (200, changing("failed", detail="no room for 3g.40gb"))
        code, _, err = self.divvy("layout", "apply", self.file())
        self.assertEqual((code, err), (1, "divvy layout apply: it did not work: GPU 0: no room for "
                                          "3g.40gb\n"))
        self.answers["GET"] = (200, changing("rolling_back"))
        p = self.start("layout", "apply", self.file())
        n = len(self.daemon.requests)
        wait_for(lambda: self.methods()[n:].count("GET") > 1, "it sees the way back")
        self.answers["GET"] = (200, {**LAYOUT, "detail": "the driver said no"})
        self.assertEqual(p.communicate(timeout=PATIENCE)[1], "divvy layout apply: it did not work "
                         "and was rolled back: the driver said no\n")
        self.assertEqual(p.returncode, 1)

    def test_apply_overtaken(self):
        self.answers["POST"] = (202, changing())
        other = changing("settled")
        other["sources"][0]["applied_unix"] += 1
        self.answers["GET"] = (200, other)
        self.assertEqual(self.divvy("layout", "apply", self.file())[::2], (
            1, "divvy layout apply: another layout took its place meanwhile; see 'divvy layout "
               "show'\n"))

    def test_interrupt_ends_the_watching_only(self):
        self.answers["POST"] = (202, changing())
        self.answers["GET"] = (200, changing())
        p = self.start("layout", "apply", self.file(), "--wait")
        wait_for(lambda: "GET" in self.methods(), "it looks")
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=PATIENCE)
        self.assertEqual(p.returncode, 128 + signal.SIGINT)
        self.assertEqual(err, "divvy layout apply: no longer watching; the change goes on when "
                         "nothing is in the way: 'divvy layout show' says how far it is, 'divvy "
                         "layout undo' takes it back\nGPU 0 draining\n")
        self.assertEqual(set(self.methods()[1:]), {"GET"})

    def test_who_is_waited_for_is_said(self):
        def looks(n):
            before = self.methods().count("GET")
            wait_for(lambda: self.methods().count("GET") >= before + n, "it looks")
        pod = "pod team/x is in the way, and holds no slice that could be ended"
        for options, hint in ((["--evict"], True), (["--evict", "--timeout", "5m"], False)):
            self.answers["POST"] = self.answers["GET"] = (202, changing(blockers=[BLOCKER]))
            p = self.start("layout", "apply", self.file(), *options)
            looks(6)
            self.answers["GET"] = (200, changing(detail=pod))
            looks(3)
            self.answers["GET"] = (200, changing("changing"))
            looks(3)
            self.answers["GET"] = (200, LAYOUT)
            _, err = p.communicate(timeout=PATIENCE)
            self.assertEqual(p.returncode, 0)
            said = ["GPU 0 draining: waits for s-3 of ann",
                    "it waits for as long as that takes; Ctrl-C ends the watching only, 'divvy "
                    "layout undo' takes the change back",
                    "GPU 0 draining: " + pod, "nothing is in the way any more"]
            self.assertEqual(err.splitlines(), said if hint else said[:1] + said[2:])

    def test_a_short_wait_is_not_told(self):
        self.answers["POST"] = (202, changing(detail="asks the kubelet which pods have it"))
        self.answers["GET"] = (200, LAYOUT)
        self.assertEqual(self.divvy("layout", "apply", self.file())[::2], (0, ""))

    def test_progress_on_a_terminal(self):
        self.answers["POST"] = self.answers["GET"] = (202, changing(blockers=[BLOCKER]))
        path = self.file()
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ["DIVVY_SOCKET"] = self.socket
            os.execv(DIVVY, [DIVVY, "layout", "apply", path, "--wait"])
        seen = b""
        try:
            wait_for(lambda: self.methods().count("GET") > 1, "it looks again")
            self.answers["GET"] = (200, {**LAYOUT, "generation": 8})
            while b"layout settled" not in seen:
                seen += os.read(terminal, 4096)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        finally:
            os.close(terminal)
        self.assertEqual((status, seen.count(b"GPU 0 draining: waits for s-3 of ann")), (0, 1))

    def test_dry_run(self):
        self.answers["POST"] = (200, PLAN)
        code, out, _ = self.divvy("layout", "apply", self.file(), "--dry-run")
        self.assertEqual((code, self.last()[1]), (0, "/v1/layout/plan"))
        self.assertIn("   1. destroy GPU instance 3", out)

    def test_undo(self):
        self.assertEqual(self.divvy("layout", "undo", "--wait")[0], 0)
        self.assertEqual(self.last(), ("POST", "/v1/layout/undo", {"when": "wait"}))
        self.answers["POST"] = (409, refusal("nothing", "there is no layout before this one"))
        self.assertEqual(self.divvy("layout", "undo"), (
            1, "", "divvy layout undo: there is no layout before this one\n"))
        self.answers["POST"] = (403, error("only root, the daemon's user and the operator", 4))
        self.assertEqual(self.divvy("layout", "undo")[0], 4)

    # -- mig, as mig-parted

    def test_mig_apply(self):
        path = self.file()
        self.assertEqual(self.divvy("mig", "apply", "-f", path, "-c", "all-1g.10gb"),
                         (0, "applied\n", ""))
        self.assertEqual(self.last(), ("POST", "/v1/layout/apply", {
            "name": path, "text": "kind: Layout\n", "config": "all-1g.10gb", "when": "idle"}))
        env = {"MIG_PARTED_CONFIG_FILE": path, "MIG_PARTED_SELECTED_CONFIG": "x"}
        self.assertEqual(self.divvy("mig", "apply", "-c", "y", env=env)[0], 0)
        self.assertEqual(self.last()[2], {
            "name": path, "text": "kind: Layout\n", "config": "y", "when": "idle"})

    def test_mig_mode_only(self):
        """GPU 0 is in MIG mode and GPU 1 is not; the file wants the opposite of both."""
        path = self.file()
        plan = copy.deepcopy(PLAN)
        plan["gpus"][0].update(mig=False)
        plan["gpus"][1].update(mig=True, managed=True)
        self.daemon.answer = lambda r: (200, plan if r[1].endswith("plan") else LAYOUT)
        env = {"MIG_PARTED_MODE_CHANGE_ONLY": "true"}
        self.assertEqual(self.divvy("mig", "apply", "-f", path, env=env), (0, "applied\n", ""))
        body = self.last()[2]
        self.assertEqual((self.last()[1], body["when"], body["name"]),
                         ("/v1/layout/apply", "idle", path))
        self.assertEqual(json.loads(body["text"]), {
            "apiVersion": "divvy/v1", "kind": "Layout", "part": "cut",
            "gpus": [{"gpu": "GPU-0", "mode": "auto"}, {"gpu": "GPU-1", "mig": []}]})
        self.assertEqual(self.divvy("mig", "assert", "-f", path, "-m"), (
            1, "", "divvy mig assert: assertion failure: selected configuration not currently "
                   "applied\nGPU 0: MIG mode is on, not off\nGPU 1: MIG mode is off, not on\n"))
        plan["gpus"][0].update(mig=True)
        plan["gpus"][1].update(mig=False)
        n = len(self.daemon.requests)
        self.assertEqual(self.divvy("mig", "apply", "-f", path, "-m"), (0, "applied\n", ""))
        self.assertNotIn("/v1/layout/apply", [r[1] for r in self.daemon.requests[n:]])
        self.assertEqual(self.divvy("mig", "assert", "-f", path, "-m")[::2], (0, ""))

    def test_mig_apply_fails(self):
        path = self.file()
        self.answers["POST"] = (400, error("node.yaml:1:1: no", 2))
        self.assertEqual(self.divvy("mig", "apply", "-f", path)[0], 1)
        self.answers["POST"] = (409, refusal("in_use", "a slice is in the way", blockers=[BLOCKER]))
        self.assertEqual(self.divvy("mig", "apply", "-f", path)[0], 1)
        self.answers["POST"] = (403, error("only root", 4))
        self.assertEqual(self.divvy("mig", "apply", "-f", path)[0], 4)
        n = len(self.daemon.requests)
        self.assertEqual(self.divvy("mig", "apply", "-c", "x")[::2],
                         (2, "divvy mig apply: -f FILE is missing\n"))
        for args, env in ((["-k", "h.yaml"], {}), ([], {"MIG_PARTED_HOOKS_FILE": "h.yaml"})):
            code, _, err = self.divvy("mig", "apply", "-f", path, *args, env=env)
            self.assertEqual(code, 2)
            self.assertIn("divvy does not run hooks (h.yaml)", err)
        self.assertEqual(self.divvy("mig", "apply", "-f", path, "--wait", "--evict")[0], 2)
        code, _, err = self.divvy("mig", "apply", "-f", path, env={"MIG_PARTED_SKIP_RESET": "1"})
        self.assertEqual(code, 2)
        self.assertIn("no change of MIG mode pending", err)
        self.assertEqual(self.divvy("mig", "apply", "-f", path, "--timeout", "1m")[0], 2)
        self.assertEqual(len(self.daemon.requests), n)

    def test_mig_assert(self):
        path = self.file()
        self.answers["POST"] = (200, {"kind": "LayoutAssert", "applied": True, "differences": []})
        self.assertEqual(self.divvy("mig", "assert", "-f", path),
                         (0, "the selected configuration is applied\n", ""))
        self.assertEqual(self.last(), ("POST", "/v1/layout/assert", {
            "name": path, "text": "kind: Layout\n"}))
        self.answers["POST"] = (200, {"kind": "LayoutAssert", "applied": False,
                                      "differences": ["GPU 0: MIG is off"]})
        self.assertEqual(self.divvy("mig", "assert", "-f", path), (
            1, "", "divvy mig assert: assertion failure: selected configuration not currently "
                   "applied\ndivvy mig assert: GPU 0: MIG is off\n"))
        self.answers["POST"] = (400, error("no configuration 'x'", 2))
        self.assertEqual(self.divvy("mig", "assert", "-f", path, "-c", "x")[0], 1)

    def test_mig_assert_valid(self):
        path = self.file()
        for status, answer, code in ((200, PLAN, 0), (409, refusal("infeasible", "no"), 0),
                                     (400, error("no", 2), 1)):
            self.answers["POST"] = (status, answer)
            self.assertEqual(self.divvy("mig", "assert", "-f", path, "--valid-config")[0], code)
            self.assertEqual(self.last()[1], "/v1/layout/plan")

    def test_mig_export_and_generate(self):
        text = "version: v1\nmig-configs:\n  current:\n  - devices: [0]\n    mig-enabled: false\n"
        self.answers["GET"] = (200, {"kind": "LayoutExport", "text": text})
        self.assertEqual(self.divvy("mig", "export"), (0, text, ""))
        self.assertEqual(self.last()[1], "/v1/layout/export?config=current")
        code, out, _ = self.divvy("mig", "export", "-o", "json", "-l", "a b")
        self.assertEqual((code, json.loads(out)), (0, {"version": "v1", "mig-configs": {
            "current": [{"devices": [0], "mig-enabled": False}]}}))
        self.assertEqual(self.last()[1], "/v1/layout/export?config=a%20b")
        path = self.marker("made.yaml")
        self.assertEqual(self.divvy("mig", "generate", "-f", path), (0, "", ""))
        self.assertEqual(self.last()[1], "/v1/layout/generate")
        with open(path, encoding="utf-8") as f:
            self.assertEqual(f.read(), text)
        self.assertEqual(self.divvy("mig", "export", "-o", "csv")[0], 2)
        code, _, err = self.divvy("mig", "generate", "-f", "/nonexistent/x")
        self.assertEqual(code, 1)
        self.assertIn("cannot write /nonexistent/x: No such file", err)

    def test_mig_checkpoint_and_restore(self):
        path = self.marker("before.yaml")
        self.assertEqual(self.divvy("mig", "checkpoint", "-f", path), (0, "", ""))
        with open(path, encoding="utf-8") as f:
            text = f.read()
        self.assertEqual(json.loads(text), {
            "apiVersion": "divvy/v1", "kind": "Layout", "part": "cut",
            "gpus": [{"gpu": "GPU-0", "mig": [{"profile": "3g.40gb", "start": 4, "mode": "mps",
                                               "replicas": 3}]},
                     {"gpu": "GPU-1", "mode": "auto"}]})
        self.assertEqual(self.divvy("mig", "restore", "-f", path), (0, "restored\n", ""))
        self.assertEqual(self.last(), ("POST", "/v1/layout/apply", {
            "name": path, "text": text, "when": "idle"}))
        self.assertEqual(self.divvy("mig", "checkpoint")[0], 2)
        self.assertEqual(self.divvy("mig", "restore")[0], 2)

    def test_no_daemon(self):
        for verb in (["layout", "show"], ["layout", "plan", "-"], ["layout", "undo"],
                     ["mig", "export"], ["mig", "assert", "-f", "-"], ["mig", "apply", "-f", "-"]):
            code, out, err = self.divvy(*verb, "--socket", "/nonexistent/s")
            self.assertEqual((code, out, err.count("\n")), (5, "", 1), verb)


if __name__ == "__main__":
    unittest.main()
