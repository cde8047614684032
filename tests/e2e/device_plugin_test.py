#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our gRPC and our device plugin against somebody else's gRPC: grpcio as the kubelet.

    device_plugin_test.py [--cache DIR] PLUGIN

Exit 77: skipped, since no Python package index can be reached.
"""
import argparse
import concurrent.futures
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import harness
import kubelet_api

WAIT = 120

class Kubelet:
    """Registration and pod resources on DIR/kubelet.sock; dials back before it answers."""

    def __init__(self, grpc, messages, directory):
        self.grpc, self.messages, self.directory = grpc, messages, directory
        self.registrations = queue.Queue()
        self.pods = messages["ListPodResourcesResponse"]()
        self.lists = 0  # how often they were asked for
        self.channel = None
        self.server = None

    def start(self):
        self.registrations = queue.Queue()  # what the one before was asked counts no more

        def handler(call, question):
            return self.grpc.unary_unary_rpc_method_handler(
                call, request_deserializer=self.messages[question].FromString,
                response_serializer=lambda m: m.SerializeToString())
        self.server = self.grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        self.server.add_generic_rpc_handlers((
            self.grpc.method_handlers_generic_handler(
                "v1beta1.Registration", {"Register": handler(self.register, "RegisterRequest")}),
            self.grpc.method_handlers_generic_handler(
                "v1.PodResourcesLister", {"List": handler(self.list_pods, "Empty")})))
        assert self.server.add_insecure_port("unix:" + os.path.join(self.directory, "kubelet.sock"))
        self.server.start()

    def stop(self):
        if self.channel:
            self.channel.close()
        self.server.stop(None).wait()
        for name in os.listdir(self.directory):  # as a kubelet does that starts
            os.unlink(os.path.join(self.directory, name))

    def list_pods(self, _request, _context):
        self.lists += 1
        return self.pods

    def register(self, request, _context):
        self.channel = self.dial(request.endpoint)
        self.grpc.channel_ready_future(self.channel).result(WAIT)
        self.registrations.put(request)
        return self.messages["Empty"]()

    def dial(self, endpoint, **options):
        return self.grpc.insecure_channel(
            "unix:" + os.path.join(self.directory, endpoint),
            options=[("grpc.use_local_subchannel_pool", 1),  # a connection of its own
                     *((k.replace("__", "."), v) for k, v in options.items())])

    def call(self, method, question, answer, channel=None):
        return (channel or self.channel).unary_unary(
            "/v1beta1.DevicePlugin/" + method, request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=self.messages[answer].FromString)(question, timeout=WAIT)

    def watch(self, channel=None):
        """A queue of the lists that come, and the call."""
        lists = queue.Queue()
        call = (channel or self.channel).unary_stream(
            "/v1beta1.DevicePlugin/ListAndWatch", request_serializer=lambda m: b"",
            response_deserializer=self.messages["ListAndWatchResponse"].FromString)(b"")

        def read():
            try:
                for each in call:
                    lists.put(each)
            except self.grpc.RpcError as error:
                lists.put(error)
        threading.Thread(target=read, daemon=True).start()
        return lists, call


class Plugin:
    def __init__(self, program, directory):
        self.process = subprocess.Popen([program, directory, "nvidia.com/gpu", "divvy-gpu.sock"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def expect(self, start):
        """The next line that begins so, or with one of those; others before it are passed over."""
        while True:
            line = self.lines.get(timeout=WAIT)
            if line.startswith(start):
                return line


def check_registration(kubelet):
    request = kubelet.registrations.get(timeout=WAIT)
    assert (request.version, request.endpoint, request.resource_name) == (
        "v1beta1", "divvy-gpu.sock", "nvidia.com/gpu"), request
    assert request.options.pre_start_required
    assert request.options.get_preferred_allocation_available


def check_list(kubelet, plugin):
    lists, call = kubelet.watch()
    plugin.say("offer 1000 -1")
    devices = lists.get(timeout=WAIT).devices
    assert len(devices) == 1000
    assert {d.health for d in devices} == {"Healthy"}
    assert (devices[7].ID, [n.ID for n in devices[7].topology.nodes]) == ("gpu-0007", [1])
    plugin.say("offer 1000 -1")  # no change, no message
    time.sleep(0.2)
    assert lists.empty()
    for sick in range(20):
        plugin.say(f"offer 1000 {sick}")
        devices = lists.get(timeout=WAIT).devices
        assert [i for i, d in enumerate(devices) if d.health == "Unhealthy"] == [sick]
    assert lists.empty()
    second, other = kubelet.watch()
    assert len(second.get(timeout=WAIT).devices) == 1000
    other.cancel()
    plugin.say("offer 3 -1")
    assert len(lists.get(timeout=WAIT).devices) == 3
    return lists, call


def check_calls(kubelet, plugin):
    m = kubelet.messages

    def allocate(device, **kwargs):
        question = m["AllocateRequest"]()
        question.container_requests.add().devices_ids.extend([device, "another"])
        return kubelet.call("Allocate", question, "AllocateResponse", **kwargs)
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(allocate, [f"gpu-{i}" for i in range(300)]))
    for i, answer in enumerate(answers):
        (got,) = answer.container_responses
        assert dict(got.envs) == {"DEVICE": f"gpu-{i}", "EMPTY": ""}
        assert dict(got.annotations) == {"divvy.dev/id": f"gpu-{i}"}
        assert [d.name for d in got.cdi_devices] == [f"divvy.dev/slice=gpu-{i}"]
        assert (got.mounts[0].container_path, got.mounts[0].host_path, got.mounts[0].read_only) == (
            "/in", "/out", True)
        assert (got.devices[0].container_path, got.devices[0].host_path,
                got.devices[0].permissions) == ("/dev/in", "/dev/out", "rw")
    options = kubelet.call("GetDevicePluginOptions", m["Empty"](), "DevicePluginOptions")
    assert options.pre_start_required and options.get_preferred_allocation_available
    question = m["PreferredAllocationRequest"]()
    question.container_requests.add(available_deviceIDs=["a", "b", "c"], must_include_deviceIDs=["c"],
                                    allocation_size=2)
    answer = kubelet.call("GetPreferredAllocation", question, "PreferredAllocationResponse")
    assert list(answer.container_responses[0].deviceIDs) == ["b", "c"]
    kubelet.call("PreStartContainer", m["PreStartContainerRequest"](devices_ids=["x", "y"]), "Empty")
    plugin.expect("start 2 x")
    return allocate


def check_errors(kubelet, allocate):
    grpc, m = kubelet.grpc, kubelet.messages

    def error(call):
        try:
            call()
        except grpc.RpcError as e:
            return e.code(), e.details()
        raise AssertionError("no error")
    assert error(lambda: allocate("refuse")) == (
        grpc.StatusCode.FAILED_PRECONDITION, "GPU 3 is sick: 100% ü")
    code, text = error(lambda: kubelet.call("Nothing", m["Empty"](), "Empty"))
    assert code == grpc.StatusCode.UNIMPLEMENTED and "Nothing" in text
    code, text = error(lambda: allocate("x" * (5 << 20)))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED and "4194304" in text, (code, text)
    question = m["AllocateRequest"]()
    question.container_requests.add().devices_ids.append("never")
    slow = kubelet.channel.unary_unary("/v1beta1.DevicePlugin/Allocate",
                                       request_serializer=lambda q: q.SerializeToString(),
                                       response_deserializer=bytes)
    code, _ = error(lambda: slow(question, timeout=0.2))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    with kubelet.dial("divvy-gpu.sock") as packed:
        call = packed.unary_unary("/v1beta1.DevicePlugin/Allocate",
                                  request_serializer=lambda q: q.SerializeToString())
        code, text = error(lambda: call(m["PreStartContainerRequest"](devices_ids=["x" * 9999]),
                                        timeout=WAIT, compression=grpc.Compression.Gzip))
        assert code == grpc.StatusCode.UNIMPLEMENTED and "identity" in text, (code, text)
    allocate("still there")


def check_keepalive(kubelet, plugin, n):
    """Pings go to and fro while nothing else does; without an answer grpcio would hang up."""
    with kubelet.dial("divvy-gpu.sock", grpc__keepalive_time_ms=200, grpc__keepalive_timeout_ms=3000,
                      grpc__keepalive_permit_without_calls=1,
                      grpc__http2__max_pings_without_data=0) as channel:
        lists, call = kubelet.watch(channel)
        assert len(lists.get(timeout=WAIT).devices) == n
        time.sleep(4.5)
        assert call.is_active() and lists.empty()
        plugin.say(f"offer {n} 0")
        assert lists.get(timeout=WAIT).devices[0].health == "Unhealthy"


def check_pods(kubelet, plugin):
    path = os.path.join(kubelet.directory, "kubelet.sock")
    plugin.say("pods " + path)
    assert plugin.expect("pods") == "pods 0"
    for i in range(2000):  # 2 MB: many windows' worth
        pod = kubelet.pods.pod_resources.add(name=f"pod-{i}", namespace="team")
        container = pod.containers.add(name="main", cpu_ids=range(64))
        container.devices.add(resource_name="nvidia.com/gpu",
                              device_ids=[f"gpu-{j:060d}" for j in range(15)])
    plugin.say("pods " + path)
    assert plugin.expect("pods") == "pods 2000 30000 team/pod-1999/main nvidia.com/gpu"


def check_restarts(kubelet, plugin, lists):
    for _ in range(5):
        kubelet.stop()
        assert isinstance(lists.get(timeout=WAIT), kubelet.grpc.RpcError)
        # The end of its connection, or of the socket: whichever it sees first.
        plugin.expect(("state lost", "state waiting"))
        kubelet.start()
        check_registration(kubelet)
        lists, _call = kubelet.watch()
        lists.get(timeout=WAIT)
        plugin.expect("state watched")


def test(program):
    import grpc
    directory = tempfile.mkdtemp(prefix="divvy-kubelet-")
    plugin = Plugin(program, directory)
    kubelet = Kubelet(grpc, kubelet_api.make_messages(), directory)
    try:
        plugin.expect("state waiting")
        kubelet.start()
        check_registration(kubelet)
        lists, _call = check_list(kubelet, plugin)
        allocate = check_calls(kubelet, plugin)
        check_errors(kubelet, allocate)
        check_keepalive(kubelet, plugin, 3)
        lists.get(timeout=WAIT)  # the change that check_keepalive made
        check_pods(kubelet, plugin)
        check_restarts(kubelet, plugin, lists)
        kubelet.stop()
        plugin.say("end")
        assert plugin.process.wait(WAIT) == 0
        assert not os.listdir(directory), "the socket went with the plugin"
    finally:
        plugin.process.kill()
        plugin.process.wait()
        shutil.rmtree(directory, ignore_errors=True)
    print("device plugin: grpcio and we understand each other")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", default=tempfile.gettempdir())
    parser.add_argument("--inside", action="store_true", help="the packages are there")
    parser.add_argument("plugin")
    args = parser.parse_args()
    if args.inside:
        test(args.plugin)
        return
    tools = harness.virtual_environment(args.cache, "grpcio", kubelet_api.PINS)
    sys.exit(subprocess.run([os.path.join(tools, "python3"), __file__, "--inside", args.plugin],
                            check=False, timeout=1200).returncode)


if __name__ == "__main__":
    main()
