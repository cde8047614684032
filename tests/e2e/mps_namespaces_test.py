# SPDX-License-Identifier: Apache-2.0
"""Driver 615: each MPS slice has a namespace of its own, so that the driver holds a tenant inside its
memory and its threads, whichever library it loads and whatever it sets."""
import os
import signal
import threading
import time
import unittest

import harness
import hostile_test
import layout_test

# Past the governor: the driver's own library, and limits that the tenant would like to have.
PAST = ["env", "LD_PRELOAD=", f"LD_LIBRARY_PATH={harness.LIBDIR}/sim",
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT=0=60G", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=100"]
LAYOUT = layout_test.layout("{gpu: 0, mode: mps}")


class MpsNamespaces(layout_test.LayoutCase):
    SIM = "h100-r615"

    def alloc(self, size, *past):
        return self.node.divvy("run", "--gpu", "0", "--mode", "mps", "--memory", "4GiB",
                               "--compute", "25%", "--", *past, harness.program("divvy-load"),
                               "alloc", "--bytes", size)

    def spaces(self):
        return sorted(os.listdir(os.path.join(self.node.state, "mps/g0/pipe/0")))

    def control(self):
        with open(os.path.join(self.node.state, "mps/g0/pipe/nvidia-cuda-mps-control.pid"),
                  encoding="utf-8") as f:
            return int(f.read())

    def test_the_driver_holds_a_tenant_inside(self):
        self.apply_and_settle(LAYOUT)
        self.assertEqual(self.alloc("2GiB", *PAST).returncode, 0)
        self.assertEqual(self.alloc("8GiB", *PAST).returncode, 1)
        self.assertEqual(self.alloc("8GiB").returncode, 1)
        # Nor by the way that nobody was given.
        pipe = os.path.join(self.node.state, "mps/g0/pipe")
        for way in (pipe, os.path.join(pipe, "0"), os.path.join(pipe, "0/default")):
            self.assertEqual(self.alloc("2GiB", *PAST, "CUDA_MPS_PIPE_DIRECTORY=" + way).returncode, 1)
        harness.wait_for(lambda: self.spaces() == ["control", "default"], "namespaces go")

    def test_a_namespace_outlives_the_daemon(self):
        self.apply_and_settle(LAYOUT)
        run = self.node.start_run("--gpu", "0", "--mode", "mps", "--memory", "4GiB", "--",
                                  "sleep", "600")
        harness.wait_for(lambda: len(self.spaces()) == 3, "a namespace")
        harness.wait_for(lambda: [s["state"] for s in self.node.json("ps")["slices"]] == ["granted"],
                         "the slice is given")
        self.node.stop(signal.SIGKILL)
        self.start()
        self.assertEqual(len(self.spaces()), 3)
        run.terminate()
        run.wait(harness.PATIENCE)
        harness.wait_for(lambda: self.spaces() == ["control", "default"], "the namespace goes")

    def test_a_daemon_that_is_busy_when_a_slice_ends(self):
        self.apply_and_settle(LAYOUT)
        run = self.node.start_run("--gpu", "0", "--mode", "mps", "--memory", "4GiB", "--",
                                  "sleep", "600")
        harness.wait_for(lambda: [s["state"] for s in self.node.json("ps")["slices"]] == ["granted"],
                         "the slice is given")
        os.kill(self.control(), signal.SIGSTOP)
        run.terminate()
        run.wait(harness.PATIENCE)
        time.sleep(3)  # longer than it is given for an answer
        os.kill(self.control(), signal.SIGCONT)
        harness.wait_for(lambda: self.spaces() == ["control", "default"], "the namespace goes")

    def test_nobody_is_in_a_slice_whose_wall_is_not_up(self):
        """It may be refused yet, and then it is gone."""
        self.apply_and_settle(LAYOUT)
        control = self.control()
        os.kill(control, signal.SIGSTOP)
        answers = []
        claim = threading.Thread(target=lambda: answers.append(self.node.ask("POST", "/v1/claims", {
            "memory_bytes": harness.GIB, "compute": 700, "mode": "mps", "gpu": "0"})))
        claim.start()
        held = harness.wait_for(lambda: next(iter(self.node.slices()), None), "it has its slice")
        sock = hostile_test.tenant_socket(self.node)
        sock.send(hostile_test.message(hostile_test.HELLO))
        data, fds, _, _ = hostile_test.socket.recv_fds(sock, hostile_test.MESSAGE.size, 5)
        state = self.node.ask("GET", "/v1/claims/" + held["id"].replace("s-", "c-"))[1]["state"]
        for fd in fds:
            os.close(fd)
        self.assertEqual(state, "queued")
        self.assertEqual(hostile_test.MESSAGE.unpack(data)[2], hostile_test.REFUSED)
        claim.join()
        os.kill(control, signal.SIGCONT)
        sock.close()
        harness.wait_for(lambda: not self.node.slices() or self.node.slices()[0]["state"] == "granted",
                         "its wall is up, or it is refused")


if __name__ == "__main__":
    unittest.main()
