# SPDX-License-Identifier: Apache-2.0
"""What is measured of node agents, each the same way. Every function takes sides, pairs of (agent, its
kubelet), and returns a row of figures for each: what can be measured turn by turn is, so that other load of
the machine falls on all of them alike."""
import random
import time

from standin import Kubelet

GPU = "nvidia.com/gpu"
GPUS = 8


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


def say(*words):
    print(*words, flush=True)


def begin(agent, replicas):
    """Starts it with a kubelet of its own, which knows all of its devices then."""
    agent.configure(replicas)
    kubelet = Kubelet(agent.kubelet)
    kubelet.start()
    agent.start()()
    try:
        kubelet.wait_devices(GPU, GPUS * replicas)
    except TimeoutError as error:
        end(agent, kubelet)
        raise RuntimeError(f"{agent.name}: {error}\n{agent.log()}") from error
    return kubelet


def end(agent, kubelet):
    agent.stop()
    kubelet.stop()


def starts(agents, replicas, rounds):
    """From exec until it has registered, and until the kubelet has its devices."""
    took = {a.name: ([], []) for a in agents}
    for _ in range(rounds):
        for agent in agents:
            agent.configure(replicas)
            kubelet = Kubelet(agent.kubelet)
            kubelet.start()
            go = agent.start()
            began = time.monotonic()
            go()
            try:
                kubelet.wait_devices(GPU, GPUS * replicas)
            except TimeoutError as error:
                raise RuntimeError(f"{agent.name}: {error}\n{agent.log()}") from error
            finally:
                end(agent, kubelet)
            resource = kubelet.resources[GPU]
            took[agent.name][0].append(resource.registered_at - began)
            took[agent.name][1].append(resource.listed_at - began)
    return [{"start_to_register_seconds": quantile(took[a.name][0], 0.5),
             "start_to_devices_seconds": quantile(took[a.name][1], 0.5),
             "start_to_devices_max_seconds": max(took[a.name][1])} for a in agents]


def turns(sides, questions, count):
    """`count` calls to each side, turn by turn; each one's times. questions(kubelet) gives a caller and
    a function of the turn's number to a message."""
    asked = [questions(kubelet) for _, kubelet in sides]
    took = [[] for _ in sides]
    for turn in range(count):
        for (call, question), times in zip(asked, took):
            text = question(turn).SerializeToString()
            began = time.perf_counter()
            call(text, timeout=120)
            times.append(time.perf_counter() - began)
    return took


def calls(sides, count):
    """Allocate of one device after the other, a choice of 4 whole GPUs or of 4 devices among all, and a
    call that does nothing, which says what gRPC itself costs here."""
    def nothing(kubelet):
        return (kubelet.caller(GPU, "GetDevicePluginOptions", "DevicePluginOptions"),
                lambda turn: kubelet.messages["Empty"]())

    def allocate(kubelet):
        devices = sorted(kubelet.healthy(GPU))

        def question(turn):
            message = kubelet.messages["AllocateRequest"]()
            message.container_requests.add().devices_ids.append(devices[turn % len(devices)])
            return message
        return kubelet.caller(GPU, "Allocate", "AllocateResponse"), question

    def preferred(kubelet):
        devices = sorted(kubelet.healthy(GPU))

        def question(_turn):
            message = kubelet.messages["PreferredAllocationRequest"]()
            message.container_requests.add(available_deviceIDs=devices, allocation_size=4)
            return message
        return kubelet.caller(GPU, "GetPreferredAllocation", "PreferredAllocationResponse"), question

    rows = [{} for _ in sides]
    for name, questions, n in (("null", nothing, count), ("allocate", allocate, count),
                               ("preferred", preferred, max(1, count // 10))):
        for row, times in zip(rows, turns(sides, questions, n)):
            row[f"{name}_p50_us"] = 1e6 * quantile(times, 0.5)
            row[f"{name}_p99_us"] = 1e6 * quantile(times, 0.99)
    return rows


def footprint(sides, seconds):
    """Memory of all processes, and processor time while nothing is asked."""
    before = [(agent.cpu_seconds(), agent.tree()) for agent, _ in sides]
    time.sleep(seconds)
    rows = []
    for (agent, _), (cpu, pids) in zip(sides, before):
        if not agent.alive():
            raise RuntimeError(f"{agent.name}: one of its programs has ended\n{agent.log()}")
        if agent.tree() != pids:
            say(f"{agent.name}: its processes changed in this time, its processor time is wrong")
        rows.append({**agent.memory(), "idle_core_percent": 100 * (agent.cpu_seconds() - cpu) / seconds})
    return rows


def change(sides, rounds, smaller, larger):
    """Replicas changed to and fro in the file: until the kubelet has the new devices, and what it saw."""
    rows = []
    chance = random.Random(1)
    for agent, kubelet in sides:
        took = []
        resource = kubelet.resources[GPU]
        kubelet.wait_devices(GPU, GPUS * smaller)
        before = (resource.registrations, resource.lists, resource.broken, resource.away_seconds)
        for turn in range(rounds):
            replicas = smaller if turn % 2 else larger
            began = time.monotonic()
            agent.configure(replicas)
            kubelet.wait_devices(GPU, GPUS * replicas)
            took.append(resource.listed_at - began)
            # What comes after it belongs to it as well; at any time of the agent's own second.
            time.sleep(1 + chance.random())
        after = (resource.registrations, resource.lists, resource.broken, resource.away_seconds)
        counts = [(b - a) / rounds for a, b in zip(before, after)]
        rows.append({"change_p50_seconds": quantile(took, 0.5), "change_max_seconds": max(took),
                     "change_registrations": counts[0], "change_lists": counts[1],
                     "change_broken_streams": counts[2], "change_without_devices_seconds": counts[3]})
    return rows


def kubelet_restart(sides, replicas, rounds):
    """The kubelet's sockets vanish and are there again: until it has the devices."""
    rows = []
    for agent, kubelet in sides:
        took = []
        for _ in range(rounds):
            kubelet.stop()
            time.sleep(0.5)
            kubelet.resources.clear()
            began = time.monotonic()
            kubelet.start()
            kubelet.wait_devices(GPU, GPUS * replicas)
            took.append(kubelet.resources[GPU].listed_at - began)
            assert agent.alive(), f"{agent.name} has ended\n{agent.log()}"
            time.sleep(1)
        rows.append({"kubelet_restart_p50_seconds": quantile(took, 0.5)})
    return rows
