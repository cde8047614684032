# SPDX-License-Identifier: Apache-2.0
"""The kubelet's device plugin API v1beta1, and what we use of pod resources v1, for grpcio: messages
without a compiler for .proto files. They are described here anew, not made of src/platform/kubelet's,
so that whoever tests with them would notice a wrong number there: maps as maps."""

PINS = ("grpcio==1.85.3", "protobuf==7.36.2")

# name: (number, type, repeated); a type that is no scalar is a message of the same package.
MESSAGES = {
    "Empty": {},
    "DevicePluginOptions": {"pre_start_required": (1, "bool"),
                            "get_preferred_allocation_available": (2, "bool")},
    "RegisterRequest": {"version": (1, "string"), "endpoint": (2, "string"),
                        "resource_name": (3, "string"), "options": (4, "DevicePluginOptions")},
    "NUMANode": {"ID": (1, "int64")},
    "TopologyInfo": {"nodes": (1, "NUMANode", True)},
    "Device": {"ID": (1, "string"), "health": (2, "string"), "topology": (3, "TopologyInfo")},
    "ListAndWatchResponse": {"devices": (1, "Device", True)},
    "PreferredRequest": {"available_deviceIDs": (1, "string", True),
                         "must_include_deviceIDs": (2, "string", True),
                         "allocation_size": (3, "int32")},
    "PreferredAllocationRequest": {"container_requests": (1, "PreferredRequest", True)},
    "PreferredResponse": {"deviceIDs": (1, "string", True)},
    "PreferredAllocationResponse": {"container_responses": (1, "PreferredResponse", True)},
    "ContainerAllocateRequest": {"devices_ids": (1, "string", True)},
    "AllocateRequest": {"container_requests": (1, "ContainerAllocateRequest", True)},
    "Mount": {"container_path": (1, "string"), "host_path": (2, "string"), "read_only": (3, "bool")},
    "DeviceSpec": {"container_path": (1, "string"), "host_path": (2, "string"),
                   "permissions": (3, "string")},
    "CDIDevice": {"name": (1, "string")},
    "ContainerAllocateResponse": {"envs": (1, "map"), "mounts": (2, "Mount", True),
                                  "devices": (3, "DeviceSpec", True), "annotations": (4, "map"),
                                  "cdi_devices": (5, "CDIDevice", True)},
    "AllocateResponse": {"container_responses": (1, "ContainerAllocateResponse", True)},
    "PreStartContainerRequest": {"devices_ids": (1, "string", True)},
    "ContainerDevices": {"resource_name": (1, "string"), "device_ids": (2, "string", True),
                         "topology": (3, "TopologyInfo")},
    "ContainerResources": {"name": (1, "string"), "devices": (2, "ContainerDevices", True),
                           "cpu_ids": (3, "int64", True)},
    "PodResources": {"name": (1, "string"), "namespace": (2, "string"),
                     "containers": (3, "ContainerResources", True)},
    "ListPodResourcesResponse": {"pod_resources": (1, "PodResources", True)},
}


def make_messages():
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    file = descriptor_pb2.FileDescriptorProto(name="kubelet.proto", package="k", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    scalar = {"bool": kinds.TYPE_BOOL, "string": kinds.TYPE_STRING, "int64": kinds.TYPE_INT64,
              "int32": kinds.TYPE_INT32}
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, *repeated) in fields.items():
            f = message.field.add(name=field, number=number, label=kinds.LABEL_REPEATED
                                  if repeated or kind == "map" else kinds.LABEL_OPTIONAL)
            if kind in scalar:
                f.type = scalar[kind]
                continue
            f.type = kinds.TYPE_MESSAGE
            f.type_name = ".k." + kind
            if kind == "map":
                entry = message.nested_type.add(name=field.capitalize() + "Entry")
                entry.options.map_entry = True
                for i, side in enumerate(("key", "value"), 1):
                    entry.field.add(name=side, number=i, type=kinds.TYPE_STRING,
                                    label=kinds.LABEL_OPTIONAL)
                f.type_name = f".k.{name}.{entry.name}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {n: message_factory.GetMessageClass(pool.FindMessageTypeByName("k." + n))
            for n in MESSAGES}
