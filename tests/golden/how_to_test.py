#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""how_to_test BIN_DIR PAGE: a how-to page that needs neither daemon nor GPU, as written, in a directory of
its own (in place of /tmp/WORD): every command succeeds and complains of nothing.
"""
import os
import re
import subprocess
import sys
import tempfile


def main():
    bin_dir, path = sys.argv[1], sys.argv[2]
    with open(path, encoding="utf-8") as page:
        script = "".join(page.read().split("```\n")[1::2])
    with tempfile.TemporaryDirectory(prefix="divvy-how-to-") as directory:
        script = re.sub(r"/tmp/\w+", directory, script)
        lines = [line for line in script.splitlines()
                 if not line.startswith(("make ", "export PATH"))]
        env = {"PATH": f"{bin_dir}:/usr/bin:/bin", "HOME": directory, "LC_ALL": "C",
               "DIVVY_SOCKET": "/nonexistent/divvyd.sock",
               "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "")}
        done = subprocess.run(["bash", "-ec", "\n".join(lines)], env=env, text=True,
                              capture_output=True, timeout=300, check=False)
    print(done.stdout, done.stderr, sep="")
    commands = sum(line.strip().startswith("divvy ") for line in lines)
    return 0 if done.returncode == 0 and not done.stderr and commands >= 3 else 1


if __name__ == "__main__":
    sys.exit(main())
