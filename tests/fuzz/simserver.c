/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator's server against one hostile client of any kind. The input: a byte for the kind of
 * client, then records: a byte that chooses (request; command; a word of the work page), and its
 * bytes. After each input the server must still answer a decent client, with nothing held.
 */
#include "abi_sim_mps.h"
#include "server/server.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RECORDS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct dv_simserver *server;
static char directory[] = "/tmp/divvy-fuzz-XXXXXX";
static char path[64];

struct input {
    const uint8_t *at;
    size_t left;
};

static uint64_t take(struct input *in, size_t bytes)
{
    uint64_t value = 0;

    bytes = DV_MIN(bytes, in->left);
    memcpy(&value, in->at, bytes);
    in->at += bytes;
    in->left -= bytes;
    return value;
}

static void clean_up(void)
{
    dv_simserver_free(server);
    rmdir(directory);
}

static void start(void)
{
    static struct dv_nodespec spec;
    struct dv_err err = {0};
    struct dv_simserver_options o = {.socket = path, .parent_fd = -1};

    if (!mkdtemp(directory))
        abort();
    snprintf(path, sizeof(path), "%s/sock", directory);
    if (dv_nodespec_load("mixed", &spec, &err) < 0 ||
        dv_simserver_new(&spec, &o, &server, &err) < 0)
        abort();
    atexit(clean_up);
}

static void settle(void)
{
    for (int i = 0; i < 20 && dv_simserver_turn(server, false) > 0; i++)
        ;
}

static void ask(int fd, uint16_t op, const void *data, uint32_t size)
{
    uint8_t message[sizeof(struct dv_sim_header) + 256];
    struct dv_sim_header h = {.magic = DV_SIM_MAGIC, .op = op, .size = size};

    memcpy(message, &h, sizeof(h));
    memcpy(message + sizeof(h), data, size);
    (void)!send(fd, message, sizeof(h) + size, MSG_DONTWAIT | MSG_NOSIGNAL);
    settle();
}

static int hello(uint32_t kind, struct dv_sim_work **ret_work)
{
    struct dv_sim_hello h = {DV_SIM_ABI, kind};
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    static uint8_t data[DV_SIM_PAYLOAD_MAX + 64];
    char control[CMSG_SPACE(2 * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec iov = {data, sizeof(data)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), fds[2];

    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        abort();
    ask(fd, DV_SIM_HELLO, &h, sizeof(h));
    if (recvmsg(fd, &msg, 0) < (ssize_t)sizeof(struct dv_sim_header))
        abort();
    *ret_work = NULL;
    if (CMSG_FIRSTHDR(&msg)) {
        memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fds));
        *ret_work = mmap(NULL, sizeof(**ret_work), PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
        close(fds[0]);
        close(fds[1]);
    }
    return fd;
}

static void request(int fd, uint32_t kind, struct input *in)
{
    static const uint32_t all_ones = UINT32_MAX;
    uint8_t payload[256];
    static uint8_t drain[DV_SIM_PAYLOAD_MAX + 64];
    uint32_t base = kind == DV_SIM_CLIENT_CUDA   ? DV_SIM_OP_CUDA
                    : kind == DV_SIM_CLIENT_NVML ? DV_SIM_OP_NVML
                    : kind == DV_SIM_CLIENT_MPS  ? DV_SIM_OP_MPS
                                                 : DV_SIM_OP_CONTROL;
    uint16_t op = (uint16_t)(base + take(in, 1));
    size_t size = (size_t)take(in, 1);

    size = DV_MIN(size, in->left);
    if (op == DV_SIM_CTL_STOP)
        return;
    memcpy(payload, in->at, size);
    for (size_t i = 0; kind == DV_SIM_CLIENT_MPS && i + 4 <= size; i += 4) {
        if (!memcmp(payload + i, &all_ones, 4)) /* where a pid may stand: ours, which is known */
            memcpy(payload + i, &(uint32_t){(uint32_t)getpid()}, 4);
    }
    ask(fd, op, payload, (uint32_t)size);
    in->at += size;
    in->left -= size;
    (void)!recv(fd, drain, sizeof(drain), MSG_DONTWAIT);
}

static void command(struct dv_sim_work *w, struct input *in)
{
    w->ring[w->head % DV_SIM_RING_COMMANDS] = (struct dv_sim_command){
        .submit_ns = 1,
        .op = (uint32_t)take(in, 1),
        .stream = (uint32_t)take(in, 1),
        .number = take(in, 1),
        .a = take(in, 3),
        .b = take(in, 1),
    };
    w->head++;
    settle();
}

static void word(struct dv_sim_work *w, struct input *in)
{
    uint64_t at = take(in, 2) * 8 % sizeof(*w), value = take(in, 8);

    memcpy((uint8_t *)w + at, &value, 8);
    settle();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct dv_sim_work *work;
    struct dv_sim_work *unused = NULL;
    uint32_t kind;
    int fd, beside = -1;

    if (!server)
        start();
    kind = DV_SIM_CLIENT_CUDA + (uint32_t)take(&in, 1) % 4;
    fd = hello(kind, &work);
    if (kind == DV_SIM_CLIENT_MPS) /* a process that can become a server */
        beside = hello(DV_SIM_CLIENT_CUDA, &unused);
    for (int i = 0; in.left && i < RECORDS_MAX; i++) {
        uint64_t what = take(&in, 1) % 3;

        if (what == 0 || !work)
            request(fd, kind, &in);
        else if (what == 1)
            command(work, &in);
        else
            word(work, &in);
    }
    if (work)
        munmap(work, sizeof(*work));
    if (unused)
        munmap(unused, sizeof(*unused));
    if (beside >= 0)
        close(beside);
    close(fd);
    settle();
    fd = hello(DV_SIM_CLIENT_CONTROL, &work); /* aborts when nobody answers */
    close(fd);
    settle();
    return 0;
}
