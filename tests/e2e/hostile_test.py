# SPDX-License-Identifier: Apache-2.0
"""Tenants and callers that mean harm: the daemon goes on serving the others.

The tenants here speak the tenant socket's protocol themselves (abi_tenant.h), without the library.
"""
import http.client
import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import time

import harness

ABI = 2  # DV_TENANT_ABI
MESSAGE = struct.Struct("<6I128s")
MAGIC = 0x4D564944
HELLO, WELCOME, REFUSED, READY, GO, PEER = 1, 2, 3, 4, 5, 6
NOBODY, SOMEBODY = 65534, 65533


def spawn(work, uid=0):
    """Runs work() in a child, as another user where that is possible."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        if uid and os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        work()
        status = 0
    except BaseException as e:  # the child must not run its parent's clean-up
        print(f"{work.__name__}: {e!r}", file=sys.stderr, flush=True)
    os._exit(status)


def reap(pid, kill=False):
    if kill:
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def message(kind):
    return MESSAGE.pack(MAGIC, ABI, kind, 0, 0, 0, b"")


def tenant_socket(node):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(harness.PATIENCE)
    s.connect(node.socket + ".tenant/sock")
    return s


def join(node):
    """The handshake. The socket, the descriptors, and the own page, writable."""
    s = tenant_socket(node)
    s.send(message(HELLO))
    data, fds, _, _ = socket.recv_fds(s, MESSAGE.size, 5)
    words = MESSAGE.unpack(data)
    assert words[2] == WELCOME, words
    page = mmap.mmap(fds[2], os.fstat(fds[2]).st_size)
    s.send(message(READY))
    while MESSAGE.unpack(s.recv(MESSAGE.size))[2] != GO:
        pass
    return s, fds, page


def ask(node, method, path, body=None):
    c = http.client.HTTPConnection("divvy")
    c.sock = socket.socket(socket.AF_UNIX)
    c.sock.connect(node.socket)
    c.sock.settimeout(harness.PATIENCE)
    c.request(method, path, None if body is None else json.dumps(body))
    r = c.getresponse()
    answer = json.loads(r.read())
    c.close()
    return r.status, answer


def claim(node, **kw):
    kw = {"memory_bytes": harness.GIB, "compute": 700, "mode": "governed", **kw}
    status, answer = ask(node, "POST", "/v1/claims", kw)
    assert status == 200, answer
    return answer["id"]


def told(pipe):
    """One byte from a child that has done its part."""
    assert os.read(pipe, 1) == b"x", "the child ended"


def test_connections_of_one_user():
    """Half a request on each of very many connections: other users are served meanwhile."""
    if os.geteuid():
        return  # needs two users
    with harness.Node("a100") as node:
        ours, theirs = os.pipe()

        def flood():
            held = []
            for _ in range(1500):
                s = socket.socket(socket.AF_UNIX)
                s.settimeout(1)
                held.append(s)
                try:
                    s.connect(node.socket)
                    s.send(b"GET /v1/status HTTP/1.1\r\nX: ")
                except BrokenPipeError:
                    continue  # hung up on
                except OSError:
                    break  # no room is left
            os.write(theirs, b"x")
            signal.pause()
        pid = spawn(flood, NOBODY)
        os.close(theirs)
        try:
            told(ours)
            for _ in range(20):
                assert ask(node, "GET", "/v1/status")[0] == 200
        finally:
            reap(pid, kill=True)
            os.close(ours)


def test_tenants_that_do_not_read():
    """Idle tenants never read who else is there: there is room for others nevertheless."""
    with harness.Node("a100") as node:
        ours, theirs = os.pipe()

        def crowd():
            claim(node)
            held = [join(node) for _ in range(120)]
            os.write(theirs, b"x")
            signal.pause()
            del held

        def other():
            claim(node)
            s, _, _ = join(node)
            seen = 0
            while seen < 120:  # and it is told of them all
                seen += MESSAGE.unpack(s.recv(MESSAGE.size))[2] == PEER
        pid = spawn(crowd)
        os.close(theirs)
        try:
            told(ours)
            assert reap(spawn(other)) == 0
        finally:
            reap(pid, kill=True)
            os.close(ours)


def main():
    # The fewer descriptors, the sooner something that eats them shows.
    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, 2048))
    test_connections_of_one_user()
    test_tenants_that_do_not_read()


if __name__ == "__main__":
    main()
