# SPDX-License-Identifier: Apache-2.0
"""A CUDA process that does what it is told: a JSON list a line on standard input, an answer each.

    ["init"]               cuInit's result
    ["ctx", DEVICE]        cuDevicePrimaryCtxRetain's, made current
    ["devices"]            the UUIDs that it sees
    ["sms", DEVICE]        the device's SM count
    ["alloc", BYTES]       [result, address]
    ["managed", BYTES]     the same of cuMemAllocManaged
    ["info"]               cuMemGetInfo's free and total bytes
    ["free", ADDRESS]      result
    ["spin", US, COUNT]    queues so many kernels of so long on the whole device
    ["sync"]               cuCtxSynchronize's result
"""
import ctypes
import json
import sys
import uuid

PTX = b""".version 7.0
.target sm_70
.address_size 64
.visible .entry divvy_spin(.param .u64 iterations)
{
ret;
}
"""
cuda = None
kernel = ctypes.c_void_p()


def init():
    global cuda
    cuda = ctypes.CDLL("libcuda.so.1")
    return cuda.cuInit(0)


def ctx(device):
    context, module = ctypes.c_void_p(), ctypes.c_void_p()
    r = cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
    r = r or cuda.cuCtxSetCurrent(context)
    r = r or cuda.cuModuleLoadData(ctypes.byref(module), PTX)
    return r or cuda.cuModuleGetFunction(ctypes.byref(kernel), module, b"divvy_spin")


def devices():
    count = ctypes.c_int()
    cuda.cuDeviceGetCount(ctypes.byref(count))
    found = []
    for i in range(count.value):
        raw = (ctypes.c_ubyte * 16)()
        cuda.cuDeviceGetUuid_v2(raw, i)
        found.append(str(uuid.UUID(bytes=bytes(raw))))
    return found


def sms(device):
    n = ctypes.c_int()
    cuda.cuDeviceGetAttribute(ctypes.byref(n), 16, device)
    return n.value


def alloc(size):
    address = ctypes.c_uint64()
    return [cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size)), address.value]


def managed(size):
    address = ctypes.c_uint64()
    return [cuda.cuMemAllocManaged(ctypes.byref(address), ctypes.c_size_t(size), 1), address.value]


def info():
    left, total = ctypes.c_size_t(), ctypes.c_size_t()
    cuda.cuMemGetInfo_v2(ctypes.byref(left), ctypes.byref(total))
    return [left.value, total.value]


def free(address):
    return cuda.cuMemFree_v2(ctypes.c_uint64(address))


def spin(us, count):
    iterations = ctypes.c_uint64(us * 1000)
    params = (ctypes.c_void_p * 1)(ctypes.cast(ctypes.byref(iterations), ctypes.c_void_p))
    for _ in range(count):
        r = cuda.cuLaunchKernel(kernel, 4096, 1, 1, 256, 1, 1, 0, None, params, None)
        if r:
            return r
    return 0


def sync():
    return cuda.cuCtxSynchronize()


def main():
    verbs = {f.__name__: f for f in (init, ctx, devices, sms, alloc, managed, info, free, spin, sync)}
    for line in sys.stdin:
        name, *args = json.loads(line)
        print(json.dumps(verbs[name](*args)), flush=True)


if __name__ == "__main__":
    main()
