#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""smi_test DIVVY_SIM NVIDIA_SMI NVML_LIBRARY GOLDEN [--update]: nvidia-smi as people see it.

A golden file is a transcript: "node: NODE" (a file is one beside it), then "$ COMMAND", what it prints (both streams as one),
and "[exit N]" where N is not 0. The commands run one after the other on one simulated node. Times
are masked. --update writes what there is now.
"""
import difflib
import os
import re
import subprocess
import sys
import tempfile

MASKS = (
    (re.compile(r"^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} +$", re.M), "DATE"),
    (re.compile(r"^(Timestamp +): .*$", re.M), r"\1: DATE"),
    (re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{3}"), "TIMESTAMP"),
)


def play(command, env):
    done = subprocess.run(["/bin/sh", "-c", command], env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
    text = done.stdout.decode("utf-8", "backslashreplace")
    for pattern, mask in MASKS:
        text = pattern.sub(mask, text)
    status = f"[exit {done.returncode}]\n" if done.returncode else ""
    return f"$ {command}\n{text}{status}"


def run(sim, smi, library, node, commands):
    with tempfile.TemporaryDirectory(prefix="divvy-smi-") as directory:
        libraries = os.path.dirname(library)
        socket = os.path.join(directory, "sim.sock")
        env = {"PATH": f"{os.path.dirname(smi)}:{os.path.dirname(sim)}:/usr/bin:/bin",
               "LC_ALL": "C", "TZ": "UTC", "LD_LIBRARY_PATH": f"{libraries}:{os.path.join(os.path.dirname(libraries), 'cuda')}",
               "DIVVY_SIM_SOCKET": socket, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "")}
        ready, tell = os.pipe()
        server = subprocess.Popen([sim, "start", node, "--foreground", "--socket", socket,
                                   "--ready-fd", str(tell)], env=env, stdin=subprocess.DEVNULL,
                                  pass_fds=(tell,))
        os.close(tell)
        try:
            said = os.read(ready, 1000)
            os.close(ready)
            if said != b"\n":
                raise SystemExit(f"divvy-sim does not start: {said.decode()}")
            return "\n".join(play(c, env) for c in commands)
        finally:
            server.kill()
            server.wait()


def main():
    sim, smi, library, golden = (os.path.abspath(p) for p in sys.argv[1:5])
    with open(golden, encoding="utf-8") as f:
        expected = f.read()
    lines = expected.splitlines()
    name = node = lines[0].removeprefix("node: ")
    if node.endswith(".yaml"):
        node = os.path.join(os.path.dirname(golden), node)
    commands = [line[2:] for line in lines if line.startswith("$ ")]
    found = f"node: {name}\n\n" + run(sim, smi, library, node, commands)
    if "--update" in sys.argv:
        with open(golden, "w", encoding="utf-8") as f:
            f.write(found)
        return 0
    sys.stdout.writelines(difflib.unified_diff(expected.splitlines(True), found.splitlines(True),
                                               "expected", "found"))
    return 0 if commands and expected == found else 1


if __name__ == "__main__":
    sys.exit(main())
