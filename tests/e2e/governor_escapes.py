# SPDX-License-Identifier: Apache-2.0
"""Runs inside a slice and tries to get more memory than that, in every way that programs have.

    governor_escapes.py CAP_BYTES          one line per way; exit 1 if one of them got more

Each way takes pieces until it is refused. It must be refused with CUDA_ERROR_OUT_OF_MEMORY, and
what it got, with the context, must fit the cap; cuMemGetInfo must agree.
"""
import ctypes
import os
import sys

c = ctypes
OOM, NOT_INITIALIZED, INVALID_DEVICE, NOT_SUPPORTED = 2, 3, 101, 801
MIB = 1 << 20
PIECE = 64 * MIB
cuda = c.CDLL("libcuda.so.1")
u64, size_t, ptr = c.c_uint64, c.c_size_t, c.c_void_p
failures = []


def must(r, what):
    if r != 0:
        raise SystemExit(f"{what}: CUresult {r}")


class Location(c.Structure):
    _fields_ = [("type", c.c_int), ("id", c.c_int)]


class AllocationProp(c.Structure):
    _fields_ = [("type", c.c_int), ("handles", c.c_int), ("location", Location), ("meta", ptr),
                ("flags", u64)]


class PoolProps(c.Structure):
    _fields_ = [("type", c.c_int), ("handles", c.c_int), ("location", Location), ("security", ptr),
                ("max_size", size_t), ("rest", c.c_char * 56)]


class AllocNode(c.Structure):
    _fields_ = [("pool", PoolProps), ("accesses", ptr), ("count", size_t), ("bytes", size_t),
                ("address", u64)]


class Array(c.Structure):
    _fields_ = [("width", size_t), ("height", size_t), ("format", c.c_uint), ("channels", c.c_uint)]


class Array3d(c.Structure):
    _fields_ = [("width", size_t), ("height", size_t), ("depth", size_t), ("format", c.c_uint),
                ("channels", c.c_uint), ("flags", c.c_uint)]


def lookup(name, version=12000, flags=0):
    p = ptr()
    status = c.c_int()
    must(cuda.cuGetProcAddress_v2(name.encode(), c.byref(p), version, u64(flags), c.byref(status)),
         f"cuGetProcAddress({name})")
    return c.CFUNCTYPE(c.c_int)(p.value)


def info():
    free, total = size_t(), size_t()
    must(cuda.cuMemGetInfo_v2(c.byref(free), c.byref(total)), "cuMemGetInfo")
    return free.value, total.value


def alloc_with(f, *more):
    def take():
        p = u64()
        return f(c.byref(p), size_t(PIECE), *more), p.value
    return take


def pitch():
    p, pitch_ = u64(), size_t()
    return cuda.cuMemAllocPitch_v2(c.byref(p), c.byref(pitch_), size_t(32768),
                                   size_t(PIECE // 32768), 4), p.value


def create():
    p, prop = u64(), AllocationProp(1, 0, Location(1, device), None, 0)
    return cuda.cuMemCreate(c.byref(p), size_t(PIECE), c.byref(prop), u64(0)), p.value


def create_map_release():
    r, handle = create()
    if r:
        return r, 0
    address = u64()
    must(cuda.cuMemAddressReserve(c.byref(address), size_t(PIECE), size_t(0), u64(0), u64(0)),
         "cuMemAddressReserve")
    must(cuda.cuMemMap(address, size_t(PIECE), size_t(0), u64(handle), u64(0)), "cuMemMap")
    must(cuda.cuMemRelease(u64(handle)), "cuMemRelease")
    return 0, address.value


def unmap(address):
    must(cuda.cuMemUnmap(u64(address), size_t(PIECE)), "cuMemUnmap")
    return cuda.cuMemAddressFree(u64(address), size_t(PIECE))


def array():
    p, d = ptr(), Array(4096, PIECE // 4096 // 4, 0x20, 1)
    return cuda.cuArrayCreate_v2(c.byref(p), c.byref(d)), p.value


def array3d(flags=0):
    def take():
        p, d = ptr(), Array3d(256, 256, PIECE // 65536 // 4, 0x20, 1, flags)
        return cuda.cuArray3DCreate_v2(c.byref(p), c.byref(d)), p.value
    return take


def mipmap():
    p, d = ptr(), Array3d(4096, PIECE // 4096 // 4, 0, 0x20, 1, 0)
    return cuda.cuMipmappedArrayCreate(c.byref(p), c.byref(d), 3), p.value


def own_pool():
    p, props = ptr(), PoolProps(1, 0, Location(1, device))
    must(cuda.cuMemPoolCreate(c.byref(p), c.byref(props)), "cuMemPoolCreate")
    return p


def graph():
    """An executable graph that allocates; launched, so that the memory is really taken."""
    g, node, e = ptr(), ptr(), ptr()
    params = AllocNode(PoolProps(1, 0, Location(1, device)), None, 0, PIECE, 0)
    must(cuda.cuGraphCreate(c.byref(g), 0), "cuGraphCreate")
    r = cuda.cuGraphAddMemAllocNode(c.byref(node), g, None, size_t(0), c.byref(params))
    r = r or cuda.cuGraphInstantiateWithFlags(c.byref(e), g, u64(0))
    r = r or cuda.cuGraphLaunch(e, None)
    return r, e.value


def free_with(f, *more):
    return lambda p: f(u64(p) if isinstance(p, int) else p, *more)


def handle_free(f):
    return lambda p: f(ptr(p))


def run(name, take, give):
    held = []
    while len(held) < 4096:
        r, p = take()
        if r:
            break
        held.append(p)
    got = len(held) * PIECE
    free, total = info()
    problem = ""
    if r == NOT_SUPPORTED and not held:
        print(f"{name}: not supported by this driver")
        return
    if r != OOM:
        problem = f"refused with {r}, not with 2"
    if got > CAP:
        problem = f"got {got // MIB} MiB of {CAP // MIB} MiB"
    if got < CAP // 2:
        problem = f"got only {got // MIB} MiB of {CAP // MIB} MiB"
    if total != CAP or free > CAP - got:
        problem = f"cuMemGetInfo says {free // MIB} MiB of {total // MIB} MiB"
    for p in held:
        must(give(p), f"freeing {name}")
    must(cuda.cuCtxSynchronize(), "cuCtxSynchronize")
    print(f"{name}: {got // MIB} MiB" + (f"  ESCAPED: {problem}" if problem else ""))
    if problem:
        failures.append(name)


def check(name, fine):
    print(f"{name}: " + ("ok" if fine else "ESCAPED"))
    if not fine:
        failures.append(name)


def in_child(f):
    pid = os.fork()
    if pid == 0:
        os._exit(f() & 0xFF)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def child_allocates():
    p = u64()
    return cuda.cuMemAlloc_v2(c.byref(p), size_t(PIECE))


CAP = int(sys.argv[1])
device_, context = c.c_int(), ptr()
must(cuda.cuInit(0), "cuInit")
must(cuda.cuDeviceGet(c.byref(device_), 0), "cuDeviceGet")
device = device_.value
must(cuda.cuDevicePrimaryCtxRetain(c.byref(context), device), "cuDevicePrimaryCtxRetain")
must(cuda.cuCtxSetCurrent(context), "cuCtxSetCurrent")

free_plain = free_with(cuda.cuMemFree_v2)
free_async = free_with(cuda.cuMemFreeAsync, None)
run("cuMemAlloc", alloc_with(cuda.cuMemAlloc_v2), free_plain)
run("cuMemAllocManaged", alloc_with(cuda.cuMemAllocManaged, c.c_uint(1)), free_plain)
run("cuMemAllocPitch", pitch, free_plain)
run("cuMemAllocAsync", alloc_with(cuda.cuMemAllocAsync, None), free_async)
run("cuMemAllocAsync, cuMemFree", alloc_with(cuda.cuMemAllocAsync, None), free_plain)
run("cuMemAllocAsync_ptsz", alloc_with(cuda.cuMemAllocAsync_ptsz, None), free_async)
run("cuMemAllocFromPoolAsync", alloc_with(cuda.cuMemAllocFromPoolAsync, own_pool(), None),
    free_async)
run("cuMemCreate", create, free_with(cuda.cuMemRelease))
run("cuMemCreate, cuMemMap, cuMemRelease", create_map_release, unmap)
run("cuArrayCreate", array, handle_free(cuda.cuArrayDestroy))
run("cuArray3DCreate", array3d(), handle_free(cuda.cuArrayDestroy))
run("cuArray3DCreate layered", array3d(1), handle_free(cuda.cuArrayDestroy))
run("cuMipmappedArrayCreate", mipmap, handle_free(cuda.cuMipmappedArrayDestroy))
run("graph allocation nodes", graph, handle_free(cuda.cuGraphExecDestroy))
run("cuGetProcAddress", alloc_with(lookup("cuMemAlloc")), free_plain)
run("cuGetProcAddress per thread", alloc_with(lookup("cuMemAllocAsync", 12000, 2), None),
    free_async)
dl = c.CDLL(None)
dl.dlsym.restype = dl.dlmopen.restype = dl.dlvsym.restype = ptr
call = c.CFUNCTYPE(c.c_int)
for name, handle in (("dlsym RTLD_DEFAULT", 0), ("dlsym handle", cuda._handle)):
    p = dl.dlsym(ptr(handle), b"cuMemAlloc_v2")
    if p:
        run(name, alloc_with(call(p)), free_plain)
p = ptr()
check("too large by itself", cuda.cuMemAlloc_v2(c.byref(u64()), size_t(CAP)) == OOM)
check("heap limit", cuda.cuCtxSetLimit(2, size_t(2 * CAP)) in (OOM, 1, 215, NOT_SUPPORTED))
check("another device", cuda.cuCtxCreate_v2(c.byref(p), 0, device + 1) == INVALID_DEVICE)
check("forked child", in_child(child_allocates) == NOT_INITIALIZED)
free, total = info()
check("everything is back", free >= total - 1024 * MIB)
sys.exit(1 if failures else 0)
