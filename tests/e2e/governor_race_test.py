# SPDX-License-Identifier: Apache-2.0
"""The memory cap under fire, on a simulated node: governor_race_test.py PROGRAM [SECONDS]."""
import os
import subprocess
import sys

import harness


def main():
    seconds = sys.argv[2] if len(sys.argv) > 2 else "5"
    env = harness.clean_env(
        DV_TEST_LIBRARY=os.path.join(harness.LIBDIR, "standin", "libcuda.so.1"),
        DV_TEST_DRIVER=os.path.join(harness.LIBDIR, "sim", "libcuda.so.1"),
        DV_TEST_NVML=os.path.join(harness.LIBDIR, "sim", "libnvidia-ml.so.1"))
    run = subprocess.run([harness.program("divvy-sim"), "run", "a100", "--", sys.argv[1], seconds],
                         env=env, check=False, timeout=float(seconds) + 240)
    sys.exit(run.returncode)


main()
