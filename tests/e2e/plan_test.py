# SPDX-License-Identifier: Apache-2.0
"""A plan reaches the node that it is for; docs/how-to/plan-a-fleet.md is true."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

import harness

FLEET = """gpus: [{model: %s, count: %d}]
workloads:
  - {name: training, count: 1, training: true}
  - {name: inference, count: 5, memory: 10GB, isolation: hardware}
  - {name: small, count: 3, memory: 6GB, isolation: driver}
"""


class Plan(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = harness.Node("dgx-a100")
        cls.node.start()

    @classmethod
    def tearDownClass(cls):
        cls.node.close()

    def plan(self, text, *args):
        path = os.path.join(self.node.directory, "fleet.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return self.node.divvy("plan", path, *args)

    def layout(self):
        return {g["index"]: [(d["profile"], d["mode"], d["layout_mode"]) for d in g["devices"]]
                for g in self.node.json("layout", "show")["gpus"]}

    def test_apply(self):
        done = self.plan(FLEET % ("A100-80GB", 8), "--apply", "-o", "json")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(json.loads(done.stdout)["state"], "settled")
        modes = sorted((d[2], d[0] or "whole", len(ds)) for ds in self.layout().values() for d in ds)
        self.assertEqual(modes.count(("exclusive", "1g.10gb", 7)), 7)
        self.assertEqual(modes.count(("exclusive", "whole", 1)), 1)
        self.assertEqual(modes.count(("mps", "whole", 1)), 1)
        before = self.layout()
        again = self.plan(FLEET % ("A100-80GB", 8), "--apply")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(self.layout(), before)

    def test_another_model(self):
        done = self.plan(FLEET % ("H100-80GB", 8), "--apply")
        self.assertEqual(done.returncode, 3)
        self.assertIn("the plan is for H100-80GB", done.stderr)

    def test_several_nodes(self):
        text = FLEET.replace("count: 1,", "count: 9,") % ("A100-80GB", 16)
        done = self.plan(text, "--apply")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--node", done.stderr)
        self.assertIn("a100-80gb-1", done.stderr)
        done = self.plan(text, "--apply", "--node", "a100-80gb-7")
        self.assertEqual(done.returncode, 2)

    def test_infeasible_is_not_applied(self):
        done = self.plan(FLEET % ("A100-80GB", 1), "--apply")
        self.assertEqual(done.returncode, 3)
        self.assertIn("not applied", done.stderr)

    def test_the_how_to_is_true(self):
        """docs/how-to/plan-a-fleet.md, as written, in a directory of its own; blocks that are not
        commands are what the commands print."""
        source = os.environ.get("DIVVY_SOURCE", os.path.join(os.path.dirname(__file__), "../.."))
        with open(os.path.join(source, "docs/how-to/plan-a-fleet.md"), encoding="utf-8") as page:
            blocks = page.read().split("```\n")[1::2]
        shown = [b for b in blocks if b.startswith(("feasible", "FLEET"))]
        script = "".join(b for b in blocks if b not in shown)
        directory = tempfile.mkdtemp(prefix="divvy-how-to-")
        os.chmod(directory, 0o755)
        lines = [line for line in script.replace("/tmp/plan", directory).splitlines()
                 if not line.startswith(("make ", "export PATH"))]
        self.assertGreater(len(lines), 20)
        # A command that fails leaves no daemon, whose output would be waited for.
        lines.insert(0, "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT")
        env = {**self.node.env(), "PATH": f"{harness.BIN}:{os.environ['PATH']}"}
        try:
            done = subprocess.run(["bash", "-emc", "\n".join(lines)], env=env, text=True,
                                  capture_output=True, timeout=3 * harness.PATIENCE, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(len(shown), 2)
            for block in shown:
                self.assertIn(block, done.stdout)
            self.assertIn("a100-80gb-0.yaml\na100-80gb-1.yaml\n", done.stdout)
            self.assertIn("settled", done.stdout)
        finally:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    unittest.main()
