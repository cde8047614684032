#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cli_test BIN_DIR GOLDEN [--update]: the command line as people see it.

A golden file is a transcript: "$ COMMAND", what it prints (both streams as one), and "[exit N]"
where N is not 0. The commands need no daemon. --update writes what there is now.
"""
import difflib
import os
import subprocess
import sys


def play(command, bin_dir, home):
    env = {"PATH": f"{bin_dir}:/usr/bin:/bin", "HOME": home, "LC_ALL": "C",
           "DIVVY_SOCKET": "/nonexistent/divvyd.sock", "DIVVY_LIBDIR": "/nonexistent/lib",
           "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "")}
    done = subprocess.run(["/bin/sh", "-c", command], env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
    text = done.stdout.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
    status = f"[exit {done.returncode}]\n" if done.returncode else ""
    return f"$ {command}\n{text}{status}"


def main():
    bin_dir, golden = sys.argv[1], sys.argv[2]
    with open(golden, encoding="utf-8") as f:
        expected = f.read()
    commands = [line[2:] for line in expected.splitlines() if line.startswith("$ ")]
    found = "\n".join(play(c, bin_dir, "/nonexistent") for c in commands)
    if "--update" in sys.argv:
        with open(golden, "w", encoding="utf-8") as f:
            f.write(found)
        return 0
    sys.stdout.writelines(difflib.unified_diff(expected.splitlines(True), found.splitlines(True),
                                               "expected", "found"))
    return 0 if commands and expected == found else 1


if __name__ == "__main__":
    sys.exit(main())
