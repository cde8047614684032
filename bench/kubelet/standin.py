# SPDX-License-Identifier: Apache-2.0
"""The kubelet's side, as far as a node agent sees it: Registration and pod resources on sockets of its
own, and a client of every device plugin that registers. It keeps what the kubelet would know of each
resource, and when it learnt that."""
import concurrent.futures
import contextlib
import os
import threading
import time

import grpc

import kubelet_api

WAIT = 120.0


class Resource:
    """What the kubelet knows of a resource."""

    def __init__(self):
        self.devices = {}  # id: health; empty while its plugin is not there
        self.channel = None
        self.registered_at = self.listed_at = self.lost_at = None
        self.registrations = self.lists = self.broken = 0
        self.away_seconds = 0.0  # in which it had no plugin, since it first had one


class Kubelet:
    def __init__(self, directory):
        self.directory = directory
        self.plugins = os.path.join(directory, "device-plugins")
        self.messages = kubelet_api.make_messages()
        self.resources = {}
        self.changed = threading.Condition()
        self.servers = []
        self.running = False

    # -- its servers

    def handler(self, call, question):
        return grpc.unary_unary_rpc_method_handler(call, request_deserializer=self.messages[question].FromString,
                                                   response_serializer=lambda m: m.SerializeToString())

    def serve(self, folder, service, methods):
        os.makedirs(folder, exist_ok=True)
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
        assert server.add_insecure_port("unix:" + os.path.join(folder, "kubelet.sock"))
        server.start()
        self.servers.append(server)

    def start(self):
        self.running = True
        self.serve(os.path.join(self.directory, "pod-resources"), "v1.PodResourcesLister",
                   {"List": self.handler(lambda q, c: self.messages["ListPodResourcesResponse"](), "Empty")})
        self.serve(self.plugins, "v1beta1.Registration", {"Register": self.handler(self.register, "RegisterRequest")})

    def stop(self):
        """As a kubelet that ends; then what one does that starts: it empties its plugins' folder."""
        self.running = False
        for resource in self.resources.values():
            if resource.channel:
                resource.channel.close()
        for server in self.servers:
            server.stop(None).wait()
        self.servers = []
        for name in os.listdir(self.plugins):
            with contextlib.suppress(FileNotFoundError):  # an agent that ends clears up as well
                os.unlink(os.path.join(self.plugins, name))

    # -- its clients

    def register(self, request, _context):
        now = time.monotonic()
        channel = grpc.insecure_channel("unix:" + os.path.join(self.plugins, request.endpoint),
                                        options=[("grpc.use_local_subchannel_pool", 1),
                                                 ("grpc.max_receive_message_length", 16 << 20)])
        grpc.channel_ready_future(channel).result(WAIT)
        with self.changed:
            resource = self.resources.setdefault(request.resource_name, Resource())
            resource.registrations += 1
            resource.registered_at = now
            resource.channel = channel
        threading.Thread(target=self.watch, args=(resource, channel), daemon=True).start()
        return self.messages["Empty"]()

    def watch(self, resource, channel):
        call = channel.unary_stream("/v1beta1.DevicePlugin/ListAndWatch", request_serializer=bytes,
                                    response_deserializer=self.messages["ListAndWatchResponse"].FromString)(b"")
        try:
            for message in call:
                now = time.monotonic()
                with self.changed:
                    if resource.lost_at is not None:
                        resource.away_seconds += now - resource.lost_at
                    resource.lost_at = None
                    resource.devices = {d.ID: d.health for d in message.devices}
                    resource.lists += 1
                    resource.listed_at = now
                    self.changed.notify_all()
        except grpc.RpcError:
            pass
        with self.changed:
            if resource.channel is channel:  # else another has registered in its place
                resource.lost_at = time.monotonic()
                resource.devices = {}
            resource.broken += self.running
            self.changed.notify_all()

    def wait_for(self, condition, what):
        """Until condition() of what it knows is true; returns that."""
        with self.changed:
            if not self.changed.wait_for(condition, WAIT):
                raise TimeoutError(f"not within {WAIT:.0f} s: {what}; the kubelet knows "
                                   f"{ {n: len(r.devices) for n, r in self.resources.items()} }")
            return condition()

    def healthy(self, name):
        resource = self.resources.get(name)
        return [i for i, h in resource.devices.items() if h == "Healthy"] if resource else []

    def wait_devices(self, name, count):
        """Until it knows exactly so many healthy devices; returns their ids."""
        self.wait_for(lambda: len(self.healthy(name)) == count, f"{count} of {name}")
        return sorted(self.healthy(name))

    def caller(self, name, method, answer):
        """A function of a serialized question: sends it to the plugin of the resource."""
        return self.resources[name].channel.unary_unary(
            "/v1beta1.DevicePlugin/" + method, request_serializer=bytes,
            response_deserializer=self.messages[answer].FromString)
