# SPDX-License-Identifier: Apache-2.0
"""Pods that share a GPU by MPS: together, each at its own limit, and what becomes of all of them when
one has a fatal fault."""
import json
import unittest

from agent import CONFIG_LABEL, AgentCase
from cluster import control, process
from harness import pod

GIB = 1 << 30
SHARE = {"nvidia.com/gpu.shared": 1}
PART = 80 * GIB // 4
SIM = "/var/lib/divvy/sim.sock"


class Mps(AgentCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.label_node(**{CONFIG_LABEL: "mps"})
        # The shares by turns have the same name: what tells them apart is the rest.
        cls.await_capacity({"nvidia.com/gpu": "7", "nvidia.com/gpu.governed": None,
                            "divvy.dev/gpu-percent": None, "nvidia.com/gpu.shared": "4"})
        cls.await_watched()

    def load(self, name, *args):
        done = control.kubectl("-n", self.namespace, "exec", name, "--", "divvy-load",
                               *map(str, args), "-o", "json", check=False)
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError:
            self.fail(f"{name}: {done.stdout}{done.stderr}\n{self.story(name)}\n{self.agent_logs()}")

    def spinning(self, *names):
        """Pods that are clients of MPS all the time; their slices as soon as they are that."""
        for name in names:
            self.run_pod(pod(name, "divvy-load spin --seconds 600", resources=SHARE))

        def all_are_clients():
            slices = self.slices()
            found = [slices.get(f"{self.namespace}/{name}") for name in names]
            return found if all(s and s["processes"] for s in found) else None
        return process.wait("clients in all of them", all_are_clients, 60)

    def test_each_is_stopped_at_its_part(self):
        for name in ("one", "two"):
            self.run_pod(pod(name, "sleep 3600", resources=SHARE))
            status, said = self.load(name, "alloc", "--bytes", PART * 9 // 10)
            self.assertEqual(0, status, said)
            status, said = self.load(name, "alloc", "--bytes", PART + 1)
            self.assertEqual((1, 2), (status, said["cuda_error"]), said)
        listed = [control.kubectl("-n", self.namespace, "exec", name, "--", "nvidia-smi", "-L").stdout
                  for name in ("one", "two")]
        self.assertEqual(listed[0], listed[1])
        self.assertEqual(1, listed[0].count("UUID"))

    def test_they_run_together(self):
        self.spinning("first", "second", "third")
        self.run_pod(pod("fourth", "sleep 3600", resources=SHARE))
        status, said = self.load("fourth", "spin", "--seconds", "2")
        self.assertEqual(0, status, said)
        # By turns it would have a quarter of the time, less the switches.
        self.assertGreater(said["busy_seconds"], 0.5 * said["elapsed_seconds"], said)

    def test_a_fault_takes_those_down_who_run_and_is_told(self):
        first = self.spinning("faulty", "innocent")[0]
        self.run_pod(pod("idle", "sleep 3600", resources=SHARE))
        done = control.kubectl("-n", "divvy", "exec", self.agent_pod()["metadata"]["name"], "--",
                               "divvy-sim", "inject", "--socket", SIM, "--fault",
                               str(first["processes"][0]["pid"]), check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        self.await_event("MPSFault", "a client of the MPS server had a fatal fault")
        for name in ("faulty", "innocent"):
            told = process.wait(f"an event of {name}", lambda n=name: [
                e for e in self.events(n) if "MPSFault" in e], 30)
            self.assertIn("taken down by a failure of MPS", told[0])
            self.assertNotIn("s-", told[0].split("device", 1)[1].split(":", 1)[1])
            self.await_phase(name, ("Failed",))
        self.assertFalse([e for e in self.events("idle") if "MPSFault" in e])
        # The daemon is back for who stayed and for who comes.
        process.wait("MPS for those that stayed",
                     lambda: self.load("idle", "spin", "--seconds", "0.2")[0] == 0, 60)
        self.await_watched()
        self.await_capacity({"nvidia.com/gpu.shared": "4"})
        self.spinning("next")


if __name__ == "__main__":
    unittest.main()
