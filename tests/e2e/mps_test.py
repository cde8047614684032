# SPDX-License-Identifier: Apache-2.0
"""MPS on a simulated node: the control daemon's commands, limits that a client cannot raise, and
what takes whom down. Shares are the engine's own figures, as ratios; no wall clock is asserted."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest

import harness

MIB = 1 << 20
OUT_OF_MEMORY, INVALID_DEVICE, UNAVAILABLE, ILLEGAL_ADDRESS = 2, 101, 46, 700
CONNECTION_FAILED, RPC_FAILURE, NOT_READY, MAX_CLIENTS, TERMINATED, NO_PARTITION = 805, 806, 807, 808, 810, 915
CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mps_client.py")


class Client:
    def __init__(self, env, python=sys.executable, **popen):
        self.process = subprocess.Popen([python, CLIENT], env=env, text=True, **popen,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self.process.pid

    def tell(self, *words):
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()

    def hear(self):
        return json.loads(self.process.stdout.readline())

    def ask(self, *words):
        self.tell(*words)
        return self.hear()

    def start(self, device=0):
        """cuInit and a context: the first error, or 0."""
        return self.ask("init") or self.ask("ctx", device)

    def end(self, how=None):
        if how:
            self.process.send_signal(how)
        self.process.stdin.close()
        self.process.wait(harness.PATIENCE)
        self.process.stdout.close()


class Simulated(unittest.TestCase):
    node = "a100"

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="divvy-mps-")
        self.socket = os.path.join(self.directory.name, "sim.sock")
        node = self.node
        if "\n" in node:
            node = os.path.join(self.directory.name, "node.yaml")
            with open(node, "w", encoding="utf-8") as f:
                f.write(self.node)
        ready, tell = os.pipe()
        self.sim = subprocess.Popen([harness.program("divvy-sim"), "start", node, "--foreground",
                                     "--socket", self.socket, "--ready-fd", str(tell)],
                                    env=harness.clean_env(), stdin=subprocess.DEVNULL,
                                    pass_fds=(tell,))
        os.close(tell)
        self.assertEqual(os.read(ready, 1000), b"\n")
        os.close(ready)
        out = subprocess.run([harness.program("divvy-sim"), "env", "--socket", self.socket, "-o",
                              "json"], capture_output=True, text=True, check=True, timeout=harness.PATIENCE,
                             env=harness.clean_env())
        answer = json.loads(out.stdout)
        self.base = harness.clean_env(**answer.get("env", answer))
        self.clients = []

    def tearDown(self):
        for client in self.clients:
            if client.process.poll() is None:
                client.end(signal.SIGKILL)
        self.sim.kill()
        self.sim.wait(harness.PATIENCE)
        self.directory.cleanup()

    def pipes(self, name):
        return os.path.join(self.directory.name, name)

    def env(self, name="mps", **extra):
        return {**self.base, "CUDA_MPS_PIPE_DIRECTORY": self.pipes(name),
                "CUDA_MPS_LOG_DIRECTORY": self.pipes(name) + ".log", **extra}

    def run_control(self, *args, name="mps", text="", **extra):
        return subprocess.run(["nvidia-cuda-mps-control", *args], env=self.env(name, **extra),
                              input=text, capture_output=True, text=True, timeout=harness.PATIENCE,
                              check=False)

    def daemon(self, *args, name="mps", **extra):
        done = self.run_control("-d", *args, name=name, **extra)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def control(self, command, name="mps"):
        done = self.run_control(name=name, text=command + "\n")
        self.assertEqual((done.returncode, done.stderr), (0, ""), command)
        return done.stdout

    def daemon_pid(self, name="mps"):
        with open(os.path.join(self.pipes(name), "nvidia-cuda-mps-control.pid"),
                  encoding="utf-8") as f:
            return int(f.read())

    def server(self, name="mps"):
        return int(self.control("get_server_list", name))

    def client(self, name="mps", **extra):
        client = Client(self.env(name, **extra))
        self.clients.append(client)
        return client

    def started(self, name="mps", **extra):
        client = self.client(name, **extra)
        self.assertEqual(client.start(), 0)
        return client

    def gpu(self, index=0):
        out = subprocess.run([harness.program("divvy-sim"), "status", "--socket", self.socket, "-o",
                              "json"], capture_output=True, text=True, check=True, timeout=harness.PATIENCE,
                             env=harness.clean_env())
        return json.loads(out.stdout)["gpus"][index]

    def process(self, pid, index=0):
        return next((p for p in self.gpu(index)["processes"] if p["pid"] == pid), None)

    def inject(self, *args):
        subprocess.run([harness.program("divvy-sim"), "inject", "--socket", self.socket, *args],
                       check=True, timeout=harness.PATIENCE, env=harness.clean_env())

    def smi(self, *args):
        return subprocess.run(["nvidia-smi", *args], env=self.base, capture_output=True, text=True,
                              timeout=harness.PATIENCE, check=False).stdout


class Commands(Simulated):
    def test_no_daemon(self):
        done = self.run_control(text="get_server_list\n")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("Cannot find MPS control daemon process", done.stderr)

    def test_one_daemon_for_a_directory(self):
        self.daemon()
        again = self.run_control("-d")
        self.assertEqual(again.returncode, 1)
        self.assertIn("already running", again.stderr)
        self.assertEqual(self.control("get_server_list"), "")
        os.kill(self.daemon_pid(), signal.SIGKILL)
        harness.wait_for(lambda: self.run_control("-d").returncode == 0,
                         "a directory whose daemon was killed is free")

    def test_foreground(self):
        daemon = subprocess.Popen(["nvidia-cuda-mps-control", "-f"], env=self.env(),
                                  stderr=subprocess.PIPE, text=True)
        line = daemon.stderr.readline()
        self.assertRegex(line, r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} Control +"
                               rf"{daemon.pid}\] Starting control daemon using socket ")
        client = self.started()
        daemon.terminate()
        self.assertEqual(daemon.wait(harness.PATIENCE), 0)
        daemon.stderr.close()
        harness.wait_for(lambda: client.ask("sync") == RPC_FAILURE, "its clients end")
        self.assertEqual(os.listdir(self.pipes("mps")), [])

    def test_a_server_shut_down_waits_for_its_clients(self):
        self.daemon()
        client, server = self.started(), self.server()
        self.control("set_default_active_thread_percentage 50")
        self.control(f"shutdown_server {server}")
        late = self.client()
        late.tell("init")  # to the next server, which comes after this one
        self.assertEqual(client.ask("sync"), 0)
        self.assertEqual(self.server(), server)
        client.end()
        self.assertEqual(late.hear(), 0)
        self.assertEqual(late.ask("sms", 0), 54)

    def test_who_hangs_up_is_forgotten(self):
        self.daemon()
        first = self.started()
        self.control(f"shutdown_server {self.server()}")
        waiting = self.client()
        waiting.tell("init")
        waiting.end(signal.SIGKILL)
        first.end()
        harness.wait_for(lambda: self.control("get_server_list") == "", "no server for the dead")

    def test_relative_paths(self):
        os.chdir(self.directory.name)
        try:
            env = {**self.base, "CUDA_MPS_PIPE_DIRECTORY": "mps", "CUDA_MPS_LOG_DIRECTORY": "mps.log",
                   "DIVVY_SIM_SOCKET": "sim.sock"}
            done = subprocess.run(["nvidia-cuda-mps-control", "-d"], env=env, check=False,
                                  capture_output=True, timeout=harness.PATIENCE)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
        finally:
            os.chdir("/")
        self.assertEqual(self.started().ask("sync"), 0)
        self.assertNotEqual(self.control("get_server_list"), "")

    def test_limits_are_kept_and_printed(self):
        self.daemon()
        self.assertEqual(self.control("get_default_active_thread_percentage"), "100.0\n")
        self.control("set_default_active_thread_percentage 12.5")
        self.assertEqual(self.control("get_default_active_thread_percentage"), "12.5\n")
        self.assertEqual(self.control("get_default_device_pinned_mem_limit 0"), "0G\n")
        self.assertEqual(self.control("set_default_device_pinned_mem_limit 0 512M"), "")
        self.assertEqual(self.control("get_default_device_pinned_mem_limit 0"), "512M\n")
        self.control(f"set_default_device_pinned_mem_limit {self.gpu()['uuid']} 2G")
        self.assertEqual(self.control("get_default_device_pinned_mem_limit 0"), "2G\n")
        self.control("set_default_client_priority 1")
        self.assertEqual(self.control("get_default_client_priority"), "1\n")

    def test_servers_have_limits_of_their_own(self):
        self.daemon()
        self.control(f"start_server -uid {os.getuid()}")
        server = self.server()
        harness.wait_for(lambda: self.control(f"get_server_status {server}") == "ACTIVE\n",
                         "the server is active")
        self.control("set_default_active_thread_percentage 50")
        self.assertEqual(self.control(f"get_active_thread_percentage {server}"), "100.0\n")
        self.control(f"set_active_thread_percentage {server} 25")
        self.control(f"set_device_pinned_mem_limit {server} 0 3G")
        self.assertEqual(self.control(f"get_device_pinned_mem_limit {server} 0"), "3G\n")
        self.assertEqual(self.started().ask("sms", 0), 27)
        self.control(f"shutdown_server {server} -f")
        harness.wait_for(lambda: self.control("get_server_list") == "", "the server ends")

    def test_bad_commands(self):
        self.daemon()
        for command in ("launch", "set_default_active_thread_percentage 0", "get_server_status x",
                        "set_default_active_thread_percentage 101", "get_client_list 1",
                        "set_default_active_thread_percentage", "quit -t", "quit now",
                        "set_default_device_pinned_mem_limit 7 1G", "start_server",
                        "set_default_device_pinned_mem_limit 0 1T", "terminate_client 1",
                        "set_default_device_pinned_mem_limit 0 -1G", "ps -p", "x" * 4000):
            with self.subTest(command=command[:60]):
                self.assertRegex(self.control(command), "^[^\n]*[a-z][^\n]*\n$")
        self.assertEqual(self.control("get_default_active_thread_percentage"), "100.0\n")
        several = self.run_control(text="nonsense\n\nget_default_active_thread_percentage\n")
        self.assertEqual(several.stdout.splitlines()[1:], ["100.0"])

    def test_lists(self):
        self.daemon()
        a, b = self.started(), self.started()
        server = self.server()
        clients = sorted(map(int, self.control(f"get_client_list {server}").split()))
        self.assertEqual(clients, sorted((a.pid, b.pid)))
        rows = [line.split() for line in self.control("ps").splitlines()]
        self.assertEqual(rows[0], ["PID", "ID", "SERVER", "DEVICE", "NAMESPACE", "COMMAND"])
        self.assertEqual(sorted(int(r[0]) for r in rows[1:]), clients)
        self.assertIn(self.gpu()["uuid"], self.control("get_device_client_list"))
        self.assertEqual(self.control(f"terminate_client {server} {a.pid}"), "0\n")
        self.assertEqual((a.ask("sync"), b.ask("sync")), (TERMINATED, 0))
        self.assertEqual(self.control(f"get_server_status {server}"), "ACTIVE\n")

    def test_quit_waits_for_clients(self):
        self.daemon()
        pipes = self.pipes("mps")
        client = self.started()
        quitting = subprocess.Popen(["nvidia-cuda-mps-control"], env=self.env(), text=True,
                                    stdin=subprocess.PIPE)
        quitting.stdin.write("quit\n")
        quitting.stdin.close()

        def refused():
            late = self.client()
            status = late.ask("init")
            late.end()  # one that was faster than the command would be waited for, too
            return status == NOT_READY
        harness.wait_for(refused, "no client is taken")
        self.assertEqual(client.ask("sync"), 0)
        client.end()
        self.assertEqual(quitting.wait(harness.PATIENCE), 0)
        self.assertEqual(os.listdir(pipes), [])
        self.daemon()
        client = self.started()
        self.control("quit -t 0")
        harness.wait_for(lambda: client.ask("sync") == RPC_FAILURE, "its client ends")
        self.assertEqual(self.started().ask("sync"), 0)


class Limits(Simulated):
    def test_shares(self):
        """Three at 50, 30 and 20 % at once: SMs in that ratio, as the engine counts them."""
        self.daemon()
        clients = [self.started(CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=p) for p in ("50", "30", "20")]
        for client in clients:
            self.assertEqual(client.ask("spin", 100000, 600), 0)

        def used():
            gpu = self.gpu()
            return gpu["busy_ns"], [p["sm_ns"] for c in clients for p in gpu["processes"]
                                    if p["pid"] == c.pid]
        harness.wait_for(lambda: all(used()[1]), "all run")
        before = used()
        harness.wait_for(lambda: used()[0] - before[0] > 500_000_000, "half a second of work")
        after = used()
        shares = [(b - a) / (after[0] - before[0]) for a, b in zip(before[1], after[1])]
        for share, expected in zip(shares, (54, 33, 21)):
            self.assertAlmostEqual(share, expected, delta=1.1)
        self.assertEqual(self.gpu()["switch_ns"], 0)

    def test_memory_to_the_byte(self):
        self.daemon()
        self.control("set_default_device_pinned_mem_limit 0 1G")
        client = self.started()
        # From 1 MiB on the driver gives whole 2 MiB, below in steps of 512 B.
        room = 1024 * MIB - self.process(client.pid)["memory_used_bytes"]
        large, rest = room & ~(2 * MIB - 1), room % (2 * MIB)
        self.assertEqual(client.ask("info")[0], room)
        self.assertEqual(client.ask("info")[1], self.started("nowhere").ask("info")[1])
        self.assertEqual(client.ask("alloc", large + 2 * MIB)[0], OUT_OF_MEMORY)
        result, address = client.ask("alloc", large)
        self.assertEqual(result, 0)
        while rest:
            self.assertEqual(client.ask("alloc", min(rest, MIB // 2))[0], 0)
            rest -= min(rest, MIB // 2)
        self.assertEqual(self.process(client.pid)["memory_used_bytes"], 1024 * MIB)
        self.assertEqual(client.ask("alloc", 1)[0], OUT_OF_MEMORY)
        self.assertEqual(client.ask("managed", MIB)[0], 0)
        self.assertEqual(client.ask("free", address), 0)
        self.assertEqual(client.ask("alloc", large)[0], 0)
        self.assertEqual(self.started().ask("alloc", large)[0], 0)

    def test_a_client_can_only_lower(self):
        self.daemon()
        self.control("set_default_active_thread_percentage 50")
        self.control("set_default_device_pinned_mem_limit 0 1G")
        more = self.started(CUDA_MPS_ACTIVE_THREAD_PERCENTAGE="90",
                            CUDA_MPS_PINNED_DEVICE_MEM_LIMIT="0=20G")
        self.assertEqual(more.ask("sms", 0), 54)
        self.assertEqual(more.ask("alloc", 1024 * MIB)[0], OUT_OF_MEMORY)
        less = self.started(CUDA_MPS_ACTIVE_THREAD_PERCENTAGE="10",
                            CUDA_MPS_PINNED_DEVICE_MEM_LIMIT="0=512MB")
        self.assertEqual(less.ask("sms", 0), 11)
        self.assertEqual(less.ask("alloc", 512 * MIB)[0], OUT_OF_MEMORY)
        nonsense = self.started(CUDA_MPS_ACTIVE_THREAD_PERCENTAGE="much",
                                CUDA_MPS_PINNED_DEVICE_MEM_LIMIT="0:4G")
        self.assertEqual(nonsense.ask("sms", 0), 54)

    def test_exclusive_process(self):
        self.smi("-c", "EXCLUSIVE_PROCESS")
        self.daemon()
        a, b = self.started(), self.started()
        self.assertEqual((a.ask("sync"), b.ask("sync")), (0, 0))
        self.assertEqual(self.client("nowhere").start(), UNAVAILABLE)
        a.end()
        b.end()
        self.control("quit")
        self.started("nowhere")
        self.daemon()
        self.assertEqual(self.client().start(), CONNECTION_FAILED)  # its server finds no place
        self.assertEqual(self.control("get_server_list"), "")

    def test_what_nvml_shows(self):
        self.daemon()
        client = self.started()
        alone = self.started("nowhere")
        rows = [line.strip("| \n").split() for line in self.smi().splitlines()]
        types = {int(r[3]): (r[4], r[-1]) for r in rows if len(r) > 6 and r[3].isdigit()}
        self.assertEqual(types[client.pid][0], "M+C")
        self.assertEqual(types[alone.pid][0], "C")
        self.assertEqual(types[self.server()][0], "C")
        mib = self.process(client.pid)["memory_used_bytes"] // MIB
        self.assertEqual(types[client.pid][1], f"{mib}MiB")


class ClientLimit(Simulated):
    node = """apiVersion: divvy/v1
kind: SimNode
mps_clients: 3
gpus:
  - {model: A100-80GB, mig: "2g.20gb,1g.10gb"}
  - model: A100-80GB
"""

    def test_clients_of_a_card(self):
        self.daemon(CUDA_VISIBLE_DEVICES=self.gpu(1)["uuid"])
        clients = [self.started() for _ in range(3)]
        self.assertEqual(self.client().start(), MAX_CLIENTS)
        clients[0].end()
        self.started()


class Faults(Simulated):
    def test_one_takes_all(self):
        self.daemon()
        self.daemon(name="other")
        a, b, other = self.started(), self.started(), self.started("other")
        alone = self.started("nowhere")
        server = self.server()
        self.inject("--fault", str(a.pid))
        self.assertEqual((a.ask("sync"), b.ask("sync")), (ILLEGAL_ADDRESS, ILLEGAL_ADDRESS))
        self.assertEqual((other.ask("sync"), alone.ask("sync")), (0, 0))
        self.assertEqual(self.control(f"get_server_status {server}"), "FAULT\n")
        self.assertEqual(self.client().start(), NOT_READY)
        a.end()
        self.assertEqual(self.client().start(), NOT_READY)
        b.end()
        harness.wait_for(lambda: self.control(f"get_server_status {server}") == "ACTIVE\n",
                         "the server recovers")
        self.assertEqual(self.started().ask("sync"), 0)
        self.assertEqual(self.server(), server)

    def test_killed_client(self):
        self.daemon()
        a, b = self.started(), self.started()
        self.assertEqual((a.ask("spin", 1000, 50), b.ask("spin", 1000, 50)), (0, 0))
        a.end(signal.SIGKILL)
        harness.wait_for(lambda: self.process(a.pid) is None or
                         not self.process(a.pid)["memory_used_bytes"], "the dead one's memory")
        self.assertEqual(b.ask("sync"), 0)
        self.assertEqual(self.control(f"get_server_status {self.server()}"), "ACTIVE\n")

    def test_killed_server(self):
        self.daemon()
        a, server = self.started(), self.server()
        os.kill(server, signal.SIGKILL)
        harness.wait_for(lambda: a.ask("sync") == RPC_FAILURE, "its client ends")
        fresh = self.started()
        self.assertEqual(fresh.ask("sync"), 0)
        self.assertNotEqual(self.server(), server)

    def test_killed_daemon(self):
        self.daemon()
        a, server = self.started(), self.server()
        os.kill(self.daemon_pid(), signal.SIGKILL)
        self.assertEqual(a.ask("spin", 1000, 5), 0)
        self.assertEqual(a.ask("sync"), 0)
        harness.wait_for(lambda: self.run_control(text="ps\n").returncode == 1, "no daemon")
        plain = self.started()
        self.assertEqual(self.process(plain.pid)["mps"], "none")
        self.assertIsNotNone(self.process(server))
        a.end()
        harness.wait_for(lambda: self.process(server) is None, "the server ends with its clients")


class Devices(Simulated):
    node = """apiVersion: divvy/v1
kind: SimNode
gpus:
  - {model: A100-80GB, mig: "3g.40gb,2g.20gb,1g.10gb"}
  - {model: A100-80GB, count: 2}
"""

    def test_two_daemons(self):
        one, two = self.gpu(1)["uuid"], self.gpu(2)["uuid"]
        self.daemon(name="one", CUDA_VISIBLE_DEVICES=one)
        self.daemon(name="two", CUDA_VISIBLE_DEVICES=two)
        a, b = self.started("one"), self.started("two")
        self.assertEqual((a.ask("devices"), b.ask("devices")), ([one[4:]], [two[4:]]))
        hidden = self.client("one", CUDA_VISIBLE_DEVICES=two)
        self.assertNotEqual(hidden.ask("init"), 0)
        self.inject("--fault", str(a.pid))
        self.assertEqual((a.ask("sync"), b.ask("sync")), (ILLEGAL_ADDRESS, 0))

    def test_mig_devices(self):
        migs = [line.split("UUID: ")[1].rstrip(")") for line in self.smi("-L").splitlines()
                if "MIG-" in line]
        for i, mig in enumerate(migs[:2]):
            self.daemon(name=f"m{i}", CUDA_VISIBLE_DEVICES=mig)
        self.control("set_default_active_thread_percentage 50", "m0")
        a, b = self.started("m0"), self.started("m0", CUDA_VISIBLE_DEVICES=migs[0])
        other = self.started("m1")
        self.assertEqual((a.ask("devices"), other.ask("devices")), ([migs[0][4:]], [migs[1][4:]]))
        self.assertEqual((a.ask("sms", 0), other.ask("sms", 0)), (21, 28))
        self.inject("--fault", str(b.pid))
        self.assertEqual((a.ask("sync"), other.ask("sync")), (ILLEGAL_ADDRESS, 0))
        for client in (self.client("m1") for _ in range(12)):
            self.assertEqual(client.start(), 0)
        self.assertEqual(self.client("m1").start(), MAX_CLIENTS)  # 48 x 2/7


class Partitions(Simulated):
    """Static SM partitions: an A100's 108 SMs are 27 chunks of 4."""
    node = """apiVersion: divvy/v1
kind: SimNode
driver: "590.44.01"
cuda: "13.1"
gpus:
  - model: A100-80GB
"""

    def setUp(self):
        super().setUp()
        self.uuid = self.gpu()["uuid"]

    def add(self, chunks):
        said = self.control(f"sm_partition add {self.uuid} {chunks}")
        self.assertRegex(said, f"^Partition {self.uuid}/[A-Za-z0-9_-]+ created\n$")
        return said.split()[1]

    def shares(self, clients):
        """SMs that each of them has, by the engine's count, while all have work."""
        def used():
            gpu = self.gpu()
            by_pid = {p["pid"]: p["sm_ns"] for p in gpu["processes"]}
            return gpu["busy_ns"], [by_pid[c.pid] for c in clients]
        harness.wait_for(lambda: all(used()[1]), "all run")
        before = used()
        harness.wait_for(lambda: used()[0] - before[0] > 300_000_000, "some work")
        after = used()
        return [(b - a) / (after[0] - before[0]) for a, b in zip(before[1], after[1])]

    def test_partitions(self):
        self.daemon("-S")
        large, small = self.add(17), self.add(10)
        self.assertIn("0 are left", self.control(f"sm_partition add {self.uuid} 1"))
        a = self.started(CUDA_MPS_SM_PARTITION=large)
        b = self.started(CUDA_MPS_SM_PARTITION=small, CUDA_MPS_ACTIVE_THREAD_PERCENTAGE="10")
        c = self.started(CUDA_MPS_SM_PARTITION=small)
        self.assertEqual([x.ask("sms", 0) for x in (a, b, c)], [68, 40, 40])
        self.assertEqual(self.client().start(), NO_PARTITION)
        self.assertEqual(self.client(CUDA_MPS_SM_PARTITION="partA").start(), NO_PARTITION)
        for client in (a, b, c):
            self.assertEqual(client.ask("spin", 100000, 600), 0)
        for share, expected in zip(self.shares((a, b, c)), (68, 20, 20)):
            self.assertAlmostEqual(share, expected, delta=1.1)
        c.end(signal.SIGKILL)
        harness.wait_for(lambda: self.process(c.pid) is None, "it is gone")
        for share, expected in zip(self.shares((a, b)), (68, 40)):
            self.assertAlmostEqual(share, expected, delta=1.1)
        rows = [line.split() for line in self.control("lspart").splitlines()[2:]]
        self.assertEqual([r[1:] for r in rows],
                         [["0", "27", "0", "108"], [large.split("/")[1], "17", "68", "Yes"],
                          [small.split("/")[1], "10", "40", "Yes"]])
        remove = f"sm_partition rm {rows[0][0]} {small.split('/')[1]}"
        self.assertIn("1 clients are in it", self.control(remove))
        b.end()
        harness.wait_for(lambda: "removed" in self.control(remove), "the empty one goes")
        self.add(10)

    def test_without_it(self):
        self.daemon()
        for command in (f"sm_partition add {self.uuid} 4", "lspart", "sm_partition", "sm_partition rm"):
            self.assertRegex(self.control(command), "^[^\n]+\n$")


OTHER_USER = 65534


def other_user_can_run():
    """Root only, and where another user reaches the programs and a Python."""
    if os.getuid() != 0 or not os.path.exists("/usr/bin/python3"):
        return False
    done = subprocess.run(["/usr/bin/python3", "-c", f"open({CLIENT!r}); open({harness.BIN!r} +"
                           " '/divvy-sim', 'rb')"], user=OTHER_USER, group=OTHER_USER,
                          extra_groups=[], stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0


@unittest.skipUnless(other_user_can_run(), "needs root, and files that other users can read")
class Users(Simulated):
    def setUp(self):
        super().setUp()
        os.chmod(self.directory.name, 0o755)

    def other(self, **extra):
        client = Client(self.env(**extra), python="/usr/bin/python3", user=OTHER_USER,
                        group=OTHER_USER, extra_groups=[])
        self.clients.append(client)
        return client

    def test_one_server_a_user_in_turn(self):
        self.daemon()
        mine, first = self.started(), self.server()
        other = self.other()
        other.tell("init")  # waits until this user's server has no client
        harness.wait_for(lambda: f"NEW CLIENT {other.pid} from user {OTHER_USER}" in self.log(),
                         "the other one asks")
        self.assertEqual(mine.ask("sync"), 0)
        self.assertEqual(self.server(), first)
        mine.end()
        self.assertEqual(other.hear(), 0)
        self.assertEqual(other.ask("ctx", 0), 0)
        self.assertNotEqual(self.server(), first)
        with open(f"/proc/{self.server()}/status", encoding="utf-8") as f:
            self.assertIn(f"Uid:\t{OTHER_USER}\t", f.read())

    def log(self):
        with open(self.pipes("mps") + ".log/control.log", encoding="utf-8") as f:
            return f.read()

    def test_one_server_for_all(self):
        self.daemon("-multiuser-server")
        mine, other = self.started(), self.other()
        self.assertEqual(other.start(), 0)
        self.assertEqual((mine.ask("sync"), other.ask("sync")), (0, 0))
        clients = self.control(f"get_client_list {self.server()}").split()
        self.assertEqual(sorted(map(int, clients)), sorted((mine.pid, other.pid)))

    def test_commands_are_for_the_owner(self):
        self.daemon()
        done = subprocess.run(["nvidia-cuda-mps-control"], env=self.env(), input="quit\n", text=True,
                              capture_output=True, user=OTHER_USER, group=OTHER_USER,
                              extra_groups=[], timeout=harness.PATIENCE, check=False)
        self.assertIn("denied", done.stdout)
        self.assertEqual(self.control("get_server_list"), "")


class Namespaces(Simulated):
    """Protocol 3: a client's limits are those of the directory that it was given."""
    node = """apiVersion: divvy/v1
kind: SimNode
driver: "615.10.02"
cuda: "13.4"
gpus:
  - {model: A100-80GB, count: 2}
"""

    def v3(self, *words, status=0):
        done = self.run_control(*words)
        self.assertEqual((done.returncode, done.stderr), (status, ""), (words, done.stdout))
        return done.stdout

    def test_namespaces(self):
        self.daemon("-p", "3")
        self.assertEqual(self.v3("server", "create", "training", "--allowed-devices=1"), "")
        self.v3("namespace", "create", "small", "--server=training")
        self.v3("namespace", "set", "small", "--server=training", "--pinned-memory-limit=1G",
                "--active-thread-percentage=25")
        self.assertEqual(self.v3("namespace", "get", "small", "training", "pinned-memory-limit"),
                         "1G\n")
        small = self.started("mps/training/small", CUDA_MPS_ACTIVE_THREAD_PERCENTAGE="90",
                             CUDA_MPS_PINNED_DEVICE_MEM_LIMIT="0=2G")
        less = self.started("mps/training/small", CUDA_MPS_ACTIVE_THREAD_PERCENTAGE="10")
        default = self.started("mps/training")
        routed = self.started()
        gpu = self.gpu(1)["uuid"][4:]
        for client, sms in ((small, 27), (less, 11), (default, 108), (routed, 108)):
            self.assertEqual((client.ask("devices"), client.ask("sms", 0)), ([gpu], sms))
        self.assertEqual(small.ask("alloc", 1024 * MIB)[0], OUT_OF_MEMORY)
        self.assertEqual(small.ask("alloc", 512 * MIB)[0], 0)
        self.assertEqual(default.ask("alloc", 2048 * MIB)[0], 0)
        rows = [r.split(",") for r in self.v3("client", "list", "--all",
                                              "--format=csv,noheader").splitlines()]
        self.assertEqual({int(r[0]): r[3] for r in rows},
                         {small.pid: "small", less.pid: "small", default.pid: "default",
                          routed.pid: "default"})
        self.assertEqual(self.v3("client", "get", str(less.pid), "maws-ns"), "small\n")
        self.assertIn("has 2 clients", self.v3("namespace", "delete", "small",
                                               "--server=training", status=1))
        self.v3("namespace", "delete", "small", "--server=training", "--force")
        self.assertEqual((small.ask("sync"), default.ask("sync")), (TERMINATED, 0))
        self.assertFalse(os.path.exists(self.pipes("mps/training/small")))
        self.v3("client", "terminate", str(default.pid))
        self.assertEqual((default.ask("sync"), routed.ask("sync")), (TERMINATED, 0))

    def test_servers(self):
        self.daemon("-p", "3")
        for name in ("one", "two"):
            self.v3("server", "create", name)
        a, b = self.started("mps/one"), self.started("mps/two/default")
        rows = [r.split(",") for r in self.v3("server", "list", "--format=csv,noheader").splitlines()]
        self.assertEqual([(r[0], r[3], r[5]) for r in rows],
                         [("one", "Ready", "all"), ("two", "Ready", "all")])
        self.inject("--fault", str(a.pid))
        self.assertEqual((a.ask("sync"), b.ask("sync")), (ILLEGAL_ADDRESS, 0))
        self.assertEqual(self.v3("server", "get", "one", "status"), "Fault\n")
        self.assertIn("has 1 clients", self.v3("server", "delete", "two", status=1))
        self.v3("server", "delete", "two", "--force")
        harness.wait_for(lambda: b.ask("sync") == RPC_FAILURE, "its client ends")
        self.assertEqual(len(self.v3("server", "list").splitlines()), 2)
        self.v3("-q")
        self.assertEqual(os.listdir(self.pipes("mps")), [])

    def test_bad_commands(self):
        self.daemon("-p", "3")
        self.v3("server", "create", "one")
        for line in ("server create Two", "server create one", "server create", "server fly",
                     "namespace create a", "namespace create a --server=none",
                     "namespace create default --server=one", "namespace create control --server=one",
                     "namespace delete default --server=one", "namespace set a --server=one",
                     "namespace set default --server=one --pinned-memory-limit=-1",
                     "namespace set default --server=one --active-thread-percentage=0",
                     "server get one colour", "server create two --allowed-devices=7",
                     "server create two --locality-domains=true", "sm-partition list", "client get 1 pid",
                     "client terminate x", "server list --format=xml", "server list --force",
                     "get_server_list", "launch rocket"):
            with self.subTest(line=line):
                self.assertRegex(self.v3(*line.split(), status=1), "^[^\n]*[a-z][^\n]*\n$")
        self.assertEqual(len(self.v3("namespace", "list", "--format=csv,noheader").splitlines()), 1)


class NoNamespaces(Simulated):
    def test_an_older_driver_has_none(self):
        done = self.run_control("-d", "-p", "3")
        self.assertEqual(done.returncode, 1)
        self.assertIn("615", done.stderr)
        self.assertIn("590", self.run_control("-d", "-S").stderr)


if __name__ == "__main__":
    unittest.main()
