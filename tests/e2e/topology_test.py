# SPDX-License-Identifier: Apache-2.0
"""topology_test PREFER NODES: how the GPUs of simulated nodes are joined, from the driver's calls to
what people see and to the GPUs that a pod gets. PREFER is prefer.c; NODES a folder of node files.
"""
import os
import subprocess
import sys
import tempfile
import unittest

import harness

PREFER, NODES = sys.argv[1:3]
SWITCHES = os.path.join(NODES, "topo.yaml")
ALL = "0,1,2,3,4,5,6,7"


def matrix(node):
    """As `divvy topo` prints it: a list of words for each GPU."""
    out = node.divvy("topo")
    assert out.returncode == 0, out.stderr
    return [line.split()[1:] for line in out.stdout.splitlines()[1:]]


def nvidia_smi(node):
    """The same by nvidia-smi."""
    out = subprocess.run([os.path.join(harness.LIBDIR, "sim", "bin", "nvidia-smi"), "topo", "-m"],
                         env=node.sim_env(), capture_output=True, text=True,
                         timeout=harness.PATIENCE, check=True)
    lines = [line.split() for line in out.stdout.splitlines() if line.startswith("GPU")]
    return [words[1:-1] for words in lines]  # less "GPU NUMA ID", which divvy does not show


def links(node):
    """The number of pairs about which anything is known."""
    answer = node.ask("GET", "/v1/topology")[1]
    return sum(link["link"] is not None for gpu in answer["gpus"] for link in gpu["links"])


class Shown(unittest.TestCase):
    def test_as_nvidia_smi_shows_it(self):
        for name in ("dgx-a100", "dgx-h100", "t4x4", "mixed", "a100", SWITCHES):
            with self.subTest(node=name), harness.Node(name) as node:
                n = len(node.json("status")["gpus"])
                harness.wait_for(lambda n=n: links(node) == n * (n - 1), "all pairs are known")
                self.assertEqual(matrix(node), nvidia_smi(node))

    def test_the_answer(self):
        with harness.Node("dgx-a100") as node:
            harness.wait_for(lambda: links(node) == 56, "all pairs are known")
            answer = node.json("topo")
            self.assertEqual(answer["kind"], "Topology")
            self.assertEqual([g["numa"] for g in answer["gpus"]], [3, 3, 1, 1, 7, 7, 5, 5])
            self.assertEqual(answer["gpus"][7]["cpus"], "80-95,208-223")
            self.assertEqual(answer["gpus"][0]["links"][:2],
                             [{"gpu": 1, "link": "NV12", "nvlinks": 12, "pcie": "PXB"},
                              {"gpu": 2, "link": "NV12", "nvlinks": 12, "pcie": "SYS"}])
            lines = node.divvy("topo", "-o", "csv").stdout.splitlines()
            self.assertEqual(lines[0], "gpu,gpu0,gpu1,gpu2,gpu3,gpu4,gpu5,gpu6,gpu7,cpus,numa")
            self.assertEqual(lines[2], "GPU1,NV12,X" + ",NV12" * 6 + ',"48-63,176-191",3')


class Changes(unittest.TestCase):
    def test_mig_mode_takes_a_gpu_from_its_nvlinks(self):
        with harness.Node(SWITCHES) as node:
            harness.wait_for(lambda: links(node) == 56, "all pairs are known")
            self.assertEqual(matrix(node)[4][6], "NV4")
            for mode, link in (("1", "PXB"), ("0", "NV4")):
                subprocess.run([os.path.join(harness.LIBDIR, "sim", "bin", "nvidia-smi"), "-i", "6",
                                "-mig", mode], env=node.sim_env(), capture_output=True,
                               timeout=harness.PATIENCE, check=True)
                harness.wait_for(lambda link=link: matrix(node)[4][6] == link, f"{link} again")
                self.assertEqual(matrix(node), nvidia_smi(node))

    def test_a_driver_that_hangs_here_is_left_alone(self):
        with harness.Node("dgx-a100", args=["--nvml-timeout", "1s"]) as node:
            harness.wait_for(lambda: links(node) == 56, "all pairs are known")
            node.divvy_sim("inject", "--nvml-hang", "nvmlDeviceGetNvLinkState=0", "--socket",
                           node.sim_socket())
            subprocess.run([os.path.join(harness.LIBDIR, "sim", "bin", "nvidia-smi"), "-i", "0",
                            "-mig", "1"], env=node.sim_env(), capture_output=True,
                           timeout=harness.PATIENCE, check=True)
            harness.wait_for(lambda: "topology.unknown" in node.log(), "given up")
            harness.wait_for(lambda: node.json("status")["driver"]["state"] == "ok", "all else is")
            run = node.divvy("run", "--memory", "1GiB", "--gpu", "1", "--", "true")
            self.assertEqual(run.returncode, 0, run.stderr)


class Preferred(unittest.TestCase):
    """The GPUs that a pod gets, by what the driver says."""

    def prefer(self, name, cases):
        with tempfile.TemporaryDirectory(prefix="divvy-e2e-") as directory:
            capture, socket = (os.path.join(directory, f) for f in ("node.capture", "sim.sock"))
            for args in ([harness.program("divvy-sim"), "start", name, "--socket", socket],
                         [harness.program("divvyd"), "--sim", f"unix:{socket}", "--capture",
                          capture],
                         [harness.program("divvy-sim"), "stop", "--socket", socket]):
                out = subprocess.run(args, env=harness.clean_env(), capture_output=True, text=True,
                                     timeout=harness.PATIENCE, check=False)
                self.assertEqual(out.returncode, 0, out.stderr)
            for available, size, expected, *must in cases:
                with self.subTest(node=name, available=available, size=size):
                    out = subprocess.run([PREFER, capture, str(size), available, *must], text=True,
                                         capture_output=True, timeout=harness.PATIENCE, check=False)
                    self.assertEqual((out.stdout.strip(), out.stderr), (expected, ""))

    def test_behind_nvswitches_those_of_a_pcie_switch(self):
        self.prefer("dgx-a100", [(ALL, 2, "0,1"), ("1,2,3,4,6", 2, "2,3"), ("1,3,4,6,7", 2, "6,7"),
                                 (ALL, 2, "5,4", "5"), ("0,2,3,4,6,7", 4, "2,3,6,7"),
                                 ("0,1,3", 1, "3")])
        # Each GPU of a DGX H100 has a switch of its own; two of one NUMA node are nearer.
        self.prefer("dgx-h100", [(ALL, 4, "0,1,2,3"), ("0,1,4,5,6,7", 4, "4,5,6,7"),
                                 ("3,5,6", 2, "5,6")])

    def test_without_nvlinks_those_of_a_switch(self):
        self.prefer(SWITCHES, [("0,1,2,3", 2, "0,2"), ("1,2,3", 2, "1,3"), ("0,1,5", 2, "0,1"),
                               ("0,1,2,3", 1, "0")])

    def test_nvlink_bridges_before_switches(self):
        self.prefer(SWITCHES, [(ALL, 2, "4,6"), ("0,2,4,5,7", 2, "5,7"), (ALL, 4, "4,5,6,7"),
                               (ALL, 2, "7,5", "7")])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
