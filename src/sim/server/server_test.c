/* SPDX-License-Identifier: Apache-2.0 */
/* The server as its clients see it. Times that are compared are the engine's own, which are exact;
 * the machine's clock only bounds how long a test waits for what must happen. */
#include "base/macros.h"
#include "server/fake.h"
#include "server/server.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct dv_fakenode node;

static int start(void **state)
{
    node = dv_fakenode_start("dgx-a100");
    return 0;
}

static int stop(void **state)
{
    dv_fakenode_stop(&node);
    return 0;
}

static int start_mig(void **state)
{
    node = dv_fakenode_start("apiVersion: divvy/v1\nkind: SimNode\ngpus:\n"
                             "  - {model: A100-80GB, mig: \"3g.40gb,2g.20gb\"}\n");
    return 0;
}

static int32_t ask4(struct dv_fake *c, uint16_t op, uint32_t q)
{
    return dv_fake_ask(c, op, &q, sizeof(q), NULL, 0, NULL, NULL);
}

static int32_t ask8(struct dv_fake *c, uint16_t op, uint64_t q)
{
    return dv_fake_ask(c, op, &q, sizeof(q), NULL, 0, NULL, NULL);
}

static int32_t alloc(struct dv_fake *c, uint32_t ctx, uint64_t bytes,
                     struct dv_sim_mem_allocated *ret)
{
    struct dv_sim_mem_alloc q = {.ctx = ctx, .bytes = bytes};
    return dv_fake_ask(c, DV_SIM_CUDA_MEM_ALLOC, &q, sizeof(q), ret, sizeof(*ret), NULL, NULL);
}

static uint64_t used(uint32_t gpu)
{
    return dv_fake_stats(&node, gpu)->memory_used_bytes;
}

static bool becomes_free(uint32_t gpu)
{
    for (int i = 0; i < 4000 && used(gpu); i++)
        usleep(5000);
    return used(gpu) == 0;
}

/* ---- devices, memory ---- */

static void test_devices(void **state)
{
    static struct dv_sim_device d[32];
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);

    assert_int_equal(dv_fake_ask(&c, DV_SIM_CUDA_DEVICES, NULL, 0, d, 8 * sizeof(*d), NULL, NULL),
                     0);
    assert_string_equal(d[7].name, "NVIDIA A100-SXM4-80GB");
    assert_int_equal(d[7].id, 7);
    assert_int_equal(d[7].sms, 108);
    assert_int_equal(d[7].mig_enabled, 0);
    dv_fake_close(&c);
}

static void test_memory_is_charged_and_bounded(void **state)
{
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created ctx = dv_fake_ctx(&c, 1);
    struct dv_sim_mem_allocated a, b;
    struct dv_sim_mem_info info, before;
    uint32_t device = 1;
    uint64_t context = used(1);

    assert_int_equal(context, 304 * DV_MIB);
    dv_fake_ask(&c, DV_SIM_CUDA_MEM_INFO, &device, 4, &before, sizeof(before), NULL, NULL);
    assert_int_equal(alloc(&c, ctx.ctx, 10 * DV_GIB, &a), 0);
    assert_int_equal(a.charged_bytes, 10 * DV_GIB);
    assert_int_equal(alloc(&c, ctx.ctx, 1, &b), 0);
    assert_int_not_equal(a.address, b.address);
    dv_fake_ask(&c, DV_SIM_CUDA_MEM_INFO, &device, 4, &info, sizeof(info), NULL, NULL);
    assert_int_equal(info.free_bytes, before.free_bytes - 10 * DV_GIB - b.charged_bytes);
    assert_int_equal(alloc(&c, ctx.ctx, info.free_bytes + 2 * DV_MIB, &b), 2);
    assert_int_equal(alloc(&c, ctx.ctx, 0, &b), 1);
    assert_int_equal(alloc(&c, ctx.ctx, UINT64_MAX, &b), 2);
    assert_int_equal(alloc(&c, 77, 4096, &b), 201);
    assert_int_equal(ask8(&c, DV_SIM_CUDA_MEM_FREE, a.handle), 0);
    assert_int_equal(ask8(&c, DV_SIM_CUDA_MEM_FREE, a.handle), 400);
    assert_int_equal(dv_fake_stats(&node, 1)->memory_high_water_bytes, context + 10 * DV_GIB + 512);
    assert_int_equal(ask4(&c, DV_SIM_CUDA_CTX_DESTROY, ctx.ctx), 0);
    assert_int_equal(used(1), 0);
    assert_int_equal(ask4(&c, DV_SIM_CUDA_CTX_DESTROY, ctx.ctx), 201);
    dv_fake_close(&c);
}

static void test_ipc_shares_memory_once(void **state)
{
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created ctx = dv_fake_ctx(&c, 0);
    struct dv_sim_mem_allocated a;
    uint64_t token, before;
    int fd = memfd_create("contents", 0), status;
    pid_t pid;

    assert_int_equal(alloc(&c, ctx.ctx, 4 * DV_MIB, &a), 0);
    assert_int_equal(write(fd, "hello", 5), 5);
    before = used(0);
    assert_int_equal(dv_fake_ask(&c, DV_SIM_CUDA_IPC_EXPORT, &a.handle, 8, &token, 8, &fd, NULL),
                     0);
    pid = fork();
    if (pid == 0) {
        struct dv_fake o = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
        struct dv_sim_ipc_opened opened;
        char text[5];
        int got = -1;
        bool ok = dv_fake_ask(&o, DV_SIM_CUDA_IPC_OPEN, &token, 8, &opened, sizeof(opened), NULL,
                              &got) == 0 &&
                  got >= 0 && pread(got, text, 5, 0) == 5 && !memcmp(text, "hello", 5) &&
                  opened.bytes == 4 * DV_MIB && opened.address == a.address && used(0) == before &&
                  ask8(&o, DV_SIM_CUDA_MEM_FREE, opened.handle) == 400 &&
                  ask8(&o, DV_SIM_CUDA_IPC_CLOSE, opened.handle) == 0 &&
                  ask8(&o, DV_SIM_CUDA_IPC_OPEN, token + 1) == 400;
        _exit(!ok);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(ask8(&c, DV_SIM_CUDA_MEM_FREE, a.handle), 0);
    assert_int_equal(ask8(&c, DV_SIM_CUDA_IPC_OPEN, token), 400);
    close(fd);
    dv_fake_close(&c);
}

/* ---- time ---- */

static void test_kernels_take_their_time(void **state)
{
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created ctx = dv_fake_ctx(&c, 2);
    uint32_t s = ctx.default_stream;
    uint64_t last = 0, start_ns = dv_fake_now();

    for (int i = 0; i < 100; i++)
        last = dv_fake_command_at(&c, start_ns, s, DV_SIM_CMD_KERNEL, 50000, 108);
    dv_fake_command_at(&c, start_ns, s, DV_SIM_CMD_RECORD, 1, 1);
    dv_fake_command_at(&c, start_ns, s, DV_SIM_CMD_KERNEL, 7000, 1);
    last = dv_fake_command_at(&c, start_ns, s, DV_SIM_CMD_RECORD, 2, 1);
    assert_true(dv_fake_await(&c, s, last));
    assert_true(dv_fake_now() >= start_ns + 100 * 50000);
    assert_int_equal(c.work->events[2].done_ns - c.work->events[1].done_ns, 7000);
    assert_true(c.work->events[1].done_ns >= start_ns + 100 * 50000);
    assert_int_equal(c.work->streams[s].done, last);
    assert_int_equal(dv_fake_stats(&node, 2)->process[0].executed_ns, 100 * 50000 + 7000);
    dv_fake_close(&c);
}

static void test_more_commands_than_the_ring_holds(void **state)
{
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created ctx = dv_fake_ctx(&c, 2);
    uint64_t last = 0;

    for (int i = 0; i < 40000; i++)
        last = dv_fake_command(&c, ctx.default_stream, DV_SIM_CMD_KERNEL, 1000, 108);
    assert_true(dv_fake_await(&c, ctx.default_stream, last));
    assert_int_equal(dv_fake_stats(&node, 2)->process[0].executed_ns, 40000 * 1000);
    dv_fake_close(&c);
}

static uint32_t new_stream(struct dv_fake *c, uint32_t ctx)
{
    struct dv_sim_stream_create q = {.ctx = ctx};
    uint32_t stream;

    assert_int_equal(
        dv_fake_ask(c, DV_SIM_CUDA_STREAM_CREATE, &q, sizeof(q), &stream, 4, NULL, NULL), 0);
    c->number[stream] = 0;
    return stream;
}

static void test_waits_within_and_across_cards(void **state)
{
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created here = dv_fake_ctx(&c, 0), there = dv_fake_ctx(&c, 3);
    uint32_t a = here.default_stream, b = new_stream(&c, here.ctx), d = there.default_stream;
    uint64_t now = dv_fake_now(), on_b, on_d;

    dv_fake_command_at(&c, now, a, DV_SIM_CMD_KERNEL, 3000000, 1);
    dv_fake_command_at(&c, now, a, DV_SIM_CMD_RECORD, 1, 1);
    dv_fake_command_at(&c, now, b, DV_SIM_CMD_WAIT, 1, 1);
    dv_fake_command_at(&c, now, b, DV_SIM_CMD_KERNEL, 1000, 1);
    on_b = dv_fake_command_at(&c, now, b, DV_SIM_CMD_RECORD, 2, 1);
    dv_fake_command_at(&c, now, d, DV_SIM_CMD_WAIT, 1, 1);
    dv_fake_command_at(&c, now, d, DV_SIM_CMD_KERNEL, 2000, 1);
    on_d = dv_fake_command_at(&c, now, d, DV_SIM_CMD_RECORD, 3, 1);
    assert_true(dv_fake_await(&c, b, on_b));
    assert_true(dv_fake_await(&c, d, on_d));
    assert_int_equal(c.work->events[2].done_ns, c.work->events[1].done_ns + 1000);
    assert_int_equal(c.work->events[3].done_ns, c.work->events[1].done_ns + 2000);
    dv_fake_close(&c);
}

/* A host function: its stream waits for a record that comes later, behind more commands than a
 * session may have inside the engine. */
static void test_a_wait_for_a_later_record_blocks(void **state)
{
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created ctx = dv_fake_ctx(&c, 0);
    uint32_t s = ctx.default_stream, helper = new_stream(&c, ctx.ctx);
    uint64_t mark = dv_fake_command(&c, s, DV_SIM_CMD_MARK, 0, 0), last = 0;

    dv_fake_command(&c, s, DV_SIM_CMD_WAIT, 9, 5);
    for (int i = 0; i < 20000; i++)
        last = dv_fake_command(&c, s, DV_SIM_CMD_KERNEL, 10, 1);
    assert_true(dv_fake_await(&c, s, mark));
    assert_true(dv_fake_taken(&c));
    assert_int_equal(c.work->streams[s].done, mark);
    dv_fake_command(&c, helper, DV_SIM_CMD_RECORD, 9, 5);
    assert_true(dv_fake_await(&c, s, last));
    dv_fake_close(&c);
}

static void test_a_destroyed_stream_finishes_its_work(void **state)
{
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created ctx = dv_fake_ctx(&c, 0);
    uint32_t s = new_stream(&c, ctx.ctx), again;
    uint64_t last;

    dv_fake_command(&c, s, DV_SIM_CMD_KERNEL, 2000000, 1);
    last = dv_fake_command(&c, s, DV_SIM_CMD_RECORD, 1, 1);
    assert_int_equal(ask4(&c, DV_SIM_CUDA_STREAM_DESTROY, s), 0);
    assert_int_equal(ask4(&c, DV_SIM_CUDA_STREAM_DESTROY, s), 400);
    assert_int_equal(ask4(&c, DV_SIM_CUDA_STREAM_DESTROY, ctx.default_stream), 400);
    assert_true(dv_fake_await(&c, s, last));
    assert_int_equal(c.work->events[1].generation, 1);
    again = new_stream(&c, ctx.ctx);
    assert_int_equal(again, s);
    assert_int_equal(c.work->streams[again].done, 0);
    last = dv_fake_command(&c, again, DV_SIM_CMD_MARK, 0, 0);
    assert_int_equal(last, 1);
    assert_true(dv_fake_await(&c, again, last));
    dv_fake_close(&c);
}

static void test_a_fault_is_sticky_and_recorded(void **state)
{
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created ctx = dv_fake_ctx(&c, 4);
    struct dv_sim_fault fault = {.ctx = ctx.ctx, .error = 700, .xid = 31};
    struct dv_sim_mem_allocated a;
    uint64_t last;

    dv_fake_command(&c, ctx.default_stream, DV_SIM_CMD_KERNEL, 3600 * DV_NS_PER_S, 1);
    assert_int_equal(dv_fake_ask(&c, DV_SIM_CUDA_FAULT, &fault, sizeof(fault), NULL, 0, NULL, NULL),
                     0);
    assert_int_equal(c.work->streams[ctx.default_stream].error, 700);
    last = dv_fake_command(&c, ctx.default_stream, DV_SIM_CMD_KERNEL, 1000, 1);
    assert_true(dv_fake_await(&c, ctx.default_stream, last));
    assert_int_equal(alloc(&c, ctx.ctx, 4096, &a), 700);
    assert_int_equal(ask4(&c, DV_SIM_CUDA_CTX_DESTROY, ctx.ctx), 0);
    assert_int_equal(used(4), 0);
    dv_fake_close(&c);
}

/* ---- deaths ---- */

/* A process with a context, memory and endless work; its own child keeps the socket open. */
static pid_t start_victim(pid_t *ret_grandchild)
{
    int ready[2];
    pid_t pid, grandchild;

    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
        struct dv_sim_ctx_created ctx = dv_fake_ctx(&c, 5);
        struct dv_sim_mem_allocated a;

        if (alloc(&c, ctx.ctx, 20 * DV_GIB, &a))
            _exit(1);
        for (int i = 0; i < 1000; i++)
            dv_fake_command(&c, ctx.default_stream, DV_SIM_CMD_KERNEL, DV_NS_PER_S, 108);
        grandchild = fork();
        if (grandchild == 0) {
            close(ready[0]);
            close(ready[1]);
            for (;;)
                pause();
        }
        if (write(ready[1], &grandchild, sizeof(grandchild)) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], ret_grandchild, sizeof(*ret_grandchild)),
                     sizeof(*ret_grandchild));
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void test_a_killed_process_frees_everything(void **state)
{
    pid_t grandchild, victim = start_victim(&grandchild);
    bool held = used(5) == 20 * DV_GIB + 304 * DV_MIB;
    uint64_t deaths = dv_fake_stats(&node, 5)->deaths;
    const struct dv_sim_stats *st;

    kill(victim, SIGKILL);
    waitpid(victim, NULL, 0);
    held = held && becomes_free(5);
    kill(grandchild, SIGKILL); /* it held the socket, and nothing else */
    assert_true(held);
    st = dv_fake_stats(&node, 5);
    assert_int_equal(st->processes, 0);
    assert_int_equal(st->deaths, deaths + 1);
    print_message("freeing took the server %llu us\n",
                  (unsigned long long)st->death_slowest_ns / 1000);
}

static void test_hang_up_frees_everything_too(void **state)
{
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created ctx = dv_fake_ctx(&c, 6);
    struct dv_sim_mem_allocated a;

    assert_int_equal(alloc(&c, ctx.ctx, DV_GIB, &a), 0);
    dv_fake_command(&c, ctx.default_stream, DV_SIM_CMD_KERNEL, 3600 * DV_NS_PER_S, 108);
    dv_fake_close(&c);
    assert_true(becomes_free(6));
}

/* Nothing of a process stays behind that would add up: more of them than any table holds. */
static void test_many_processes_one_after_the_other(void **state)
{
    for (int i = 0; i < 3000; i++) {
        struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
        struct dv_sim_ctx_created ctx = dv_fake_ctx(&c, 6);
        struct dv_sim_mem_allocated a;

        assert_int_equal(alloc(&c, ctx.ctx, 4096, &a), 0);
        dv_fake_close(&c);
    }
    assert_true(becomes_free(6));
}

static void test_processes_take_turns(void **state)
{
    pid_t pid[3];
    int status;

    for (int i = 0; i < 3; i++) {
        pid[i] = fork();
        if (pid[i] == 0) {
            struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
            struct dv_sim_ctx_created ctx = dv_fake_ctx(&c, 7);
            uint64_t last = 0;

            for (int k = 0; k < 2000; k++)
                last = dv_fake_command(&c, ctx.default_stream, DV_SIM_CMD_KERNEL, 5000, 108);
            _exit(!dv_fake_await(&c, ctx.default_stream, last));
        }
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_int_equal(status, 0);
    }
    assert_true(becomes_free(7));
    assert_int_equal(dv_fake_stats(&node, 7)->busy_ns, 3 * 2000 * 5000);
}

/* ---- hostility ---- */

static bool is_dropped(struct dv_fake *c)
{
    uint64_t one = 1;
    char byte;
    bool gone;

    (void)!write(c->kick, &one, sizeof(one));
    gone = recv(c->fd, &byte, 1, 0) == 0 && c->work->closed == 1;
    dv_fake_close(c);
    return gone;
}

static void test_hostile_pages_end_their_own_session(void **state)
{
    struct dv_fake good = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created ctx = dv_fake_ctx(&good, 0), bad;
    struct dv_fake c;
    uint64_t last;

    c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    c.work->head = DV_SIM_RING_COMMANDS + 1;
    assert_true(is_dropped(&c));
    c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    c.work->head = (uint64_t)-1;
    assert_true(is_dropped(&c));
    c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    bad = dv_fake_ctx(&c, 0);
    c.number[bad.default_stream] = 41;
    dv_fake_command(&c, bad.default_stream, DV_SIM_CMD_MARK, 0, 0);
    assert_true(is_dropped(&c));
    c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    dv_fake_command(&c, DV_SIM_STREAMS_MAX, DV_SIM_CMD_MARK, 0, 0);
    assert_true(is_dropped(&c));
    c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    bad = dv_fake_ctx(&c, 0);
    dv_fake_command(&c, bad.default_stream, DV_SIM_CMD_RECORD, DV_SIM_EVENTS_MAX, 1);
    assert_true(is_dropped(&c));
    c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    bad = dv_fake_ctx(&c, 0);
    dv_fake_command(&c, bad.default_stream, 99, 0, 0);
    assert_true(is_dropped(&c));

    last = dv_fake_command(&good, ctx.default_stream, DV_SIM_CMD_KERNEL, 1000, 1);
    assert_true(dv_fake_await(&good, ctx.default_stream, last));
    dv_fake_close(&good);
}

static void test_absurd_numbers_are_bounded(void **state)
{
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created ctx = dv_fake_ctx(&c, 0);
    uint32_t s = ctx.default_stream;
    uint64_t last;

    c.work->streams[s].done = UINT64_MAX; /* the server's own words: it does not read them back */
    dv_fake_command_at(&c, UINT64_MAX, s, DV_SIM_CMD_KERNEL, 0, UINT64_MAX);
    dv_fake_command_at(&c, 0, s, DV_SIM_CMD_COPY, 1, DV_SIM_COPY_D2H);
    dv_fake_command_at(&c, 0, s, DV_SIM_CMD_WAIT, 3, 0);
    last = dv_fake_command(&c, s, DV_SIM_CMD_MARK, 0, 0);
    c.work->tail = 12345;
    assert_true(dv_fake_await(&c, s, last));
    c.work->tail = c.work->head;
    dv_fake_command(&c, s, DV_SIM_CMD_KERNEL, UINT64_MAX, 0);
    dv_fake_command(&c, s, DV_SIM_CMD_COPY, UINT64_MAX, DV_SIM_COPY_H2D);
    dv_fake_command(&c, s, DV_SIM_CMD_COPY, UINT64_MAX, DV_SIM_COPY_FILL);
    assert_true(dv_fake_taken(&c));
    assert_int_equal(ask4(&c, DV_SIM_CUDA_CTX_DESTROY, ctx.ctx), 0);
    dv_fake_close(&c);
}

static bool hangs_up(const void *message, size_t size)
{
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    char byte;
    bool gone;

    assert_int_equal(send(c.fd, message, size, MSG_NOSIGNAL), size);
    gone = recv(c.fd, &byte, 1, 0) == 0;
    dv_fake_close(&c);
    return gone;
}

static void test_malformed_messages_end_their_connection(void **state)
{
    static uint8_t big[DV_SIM_PAYLOAD_MAX + 4096];
    struct dv_sim_header h = {.magic = DV_SIM_MAGIC, .op = DV_SIM_CUDA_DEVICES};
    struct dv_sim_header wrong = {.magic = 1, .op = DV_SIM_CUDA_DEVICES};

    assert_true(hangs_up("x", 1));
    assert_true(hangs_up(&wrong, sizeof(wrong)));
    h.size = 4;
    assert_true(hangs_up(&h, sizeof(h)));
    memcpy(big, &h, sizeof(h));
    assert_true(hangs_up(big, sizeof(big)));
    h.size = 0;
    h.op = DV_SIM_CTL_STOP; /* not for this kind of client */
    assert_true(hangs_up(&h, sizeof(h)));
    h.op = DV_SIM_CUDA_MEM_ALLOC; /* without its payload */
    assert_true(hangs_up(&h, sizeof(h)));
    h.op = 199;
    assert_true(hangs_up(&h, sizeof(h)));
}

/* Requests at random: nothing but the sender may suffer. */
static void test_random_messages(void **state)
{
    unsigned seed = 7;

    for (int i = 0; i < 300; i++) {
        struct dv_fake c = dv_fake_open(&node, i % 3 ? DV_SIM_CLIENT_CUDA : DV_SIM_CLIENT_NVML);
        uint8_t message[128];
        struct dv_sim_header h = {.magic = DV_SIM_MAGIC};

        for (size_t k = 0; k < sizeof(message); k++)
            message[k] = (uint8_t)(rand_r(&seed) % (k % 8 ? 3 : 256));
        h.op = (uint16_t)(i % 3 ? 100 + rand_r(&seed) % 15 : 200 + rand_r(&seed) % 60);
        h.size = (uint32_t)(rand_r(&seed) % 14) * 8 % (sizeof(message) - sizeof(h));
        memcpy(message, &h, sizeof(h));
        (void)!send(c.fd, message, sizeof(h) + h.size, MSG_NOSIGNAL);
        dv_fake_close(&c);
    }
    assert_int_equal(dv_fake_stats(&node, 0)->gpus, 8);
    assert_true(becomes_free(0));
}

/* ---- injection, MIG, rest ---- */

static void test_injected_cuda_errors(void **state)
{
    struct dv_fake control = dv_fake_open(&node, DV_SIM_CLIENT_CONTROL);
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct dv_sim_inject j = {.gpu = UINT32_MAX,
                              .kind = DV_SIM_INJECT_CUDA_ERROR,
                              .a = 2,
                              .b = 2,
                              .name = "cuMemAlloc_v2"};

    assert_int_equal(c.work->injections, 0);
    assert_int_equal(dv_fake_ask(&control, DV_SIM_CTL_INJECT, &j, sizeof(j), NULL, 0, NULL, NULL),
                     0);
    assert_int_equal(c.work->injections, 1);
    assert_int_equal(dv_fake_ask(&c, DV_SIM_CUDA_INJECTED, "cuInit", 6, NULL, 0, NULL, NULL), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            dv_fake_ask(&c, DV_SIM_CUDA_INJECTED, "cuMemAlloc_v2", 13, NULL, 0, NULL, NULL),
            i < 2 ? 2 : 0);
    assert_int_equal(c.work->injections, 0);
    j.kind = 77;
    assert_int_equal(dv_fake_ask(&control, DV_SIM_CTL_INJECT, &j, sizeof(j), NULL, 0, NULL, NULL),
                     -EINVAL);
    memset(j.name, 'x', sizeof(j.name));
    j.kind = DV_SIM_INJECT_CUDA_ERROR;
    assert_int_equal(dv_fake_ask(&control, DV_SIM_CTL_INJECT, &j, sizeof(j), NULL, 0, NULL, NULL),
                     -EINVAL);
    dv_fake_close(&control);
    dv_fake_close(&c);
}

static void test_a_lost_gpu_ends_what_runs_on_it(void **state)
{
    struct dv_fake control = dv_fake_open(&node, DV_SIM_CLIENT_CONTROL);
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created ctx = dv_fake_ctx(&c, 3), other = dv_fake_ctx(&c, 4);
    struct dv_sim_ctx_create again = {.device = 3};
    struct dv_sim_inject j = {.gpu = 3, .kind = DV_SIM_INJECT_XID, .a = 79};
    uint64_t last =
        dv_fake_command(&c, ctx.default_stream, DV_SIM_CMD_KERNEL, 3600 * DV_NS_PER_S, 1);

    assert_int_equal(dv_fake_ask(&control, DV_SIM_CTL_INJECT, &j, sizeof(j), NULL, 0, NULL, NULL),
                     0);
    assert_true(dv_fake_await(&c, ctx.default_stream, last));
    assert_int_equal(c.work->streams[ctx.default_stream].error, 999);
    assert_int_equal(c.work->streams[other.default_stream].error, 0);
    assert_int_equal(
        dv_fake_ask(&c, DV_SIM_CUDA_CTX_CREATE, &again, sizeof(again), NULL, 0, NULL, NULL), 46);
    j.kind = DV_SIM_INJECT_CLEAR;
    assert_int_equal(dv_fake_ask(&control, DV_SIM_CTL_INJECT, &j, sizeof(j), NULL, 0, NULL, NULL),
                     0);
    dv_fake_ctx(&c, 3);
    dv_fake_close(&c);
    dv_fake_close(&control);
    assert_true(becomes_free(3));
}

static void test_a_gpu_that_has_gone(void **state)
{
    static struct dv_sim_device d[8];
    struct dv_fake control = dv_fake_open(&node, DV_SIM_CLIENT_CONTROL);
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created ctx = dv_fake_ctx(&c, 3);
    struct dv_sim_ctx_create again = {.device = 3};
    struct dv_sim_inject j = {.gpu = 1, .kind = DV_SIM_INJECT_GONE};
    uint64_t last =
        dv_fake_command(&c, ctx.default_stream, DV_SIM_CMD_KERNEL, 3600 * DV_NS_PER_S, 1);
    int n = dv_fake_ask(&c, DV_SIM_CUDA_DEVICES, NULL, 0, d, sizeof d, NULL, NULL);

    assert_int_equal(n, 0);
    j.gpu = d[3].gpu;
    assert_int_equal(dv_fake_ask(&control, DV_SIM_CTL_INJECT, &j, sizeof(j), NULL, 0, NULL, NULL),
                     0);
    assert_true(dv_fake_await(&c, ctx.default_stream, last));
    assert_int_equal(c.work->streams[ctx.default_stream].error, 999);
    assert_int_not_equal(
        dv_fake_ask(&c, DV_SIM_CUDA_CTX_CREATE, &again, sizeof(again), NULL, 0, NULL, NULL), 0);
    j.kind = DV_SIM_INJECT_RESET;
    assert_int_equal(dv_fake_ask(&control, DV_SIM_CTL_INJECT, &j, sizeof(j), NULL, 0, NULL, NULL),
                     0);
    dv_fake_ctx(&c, 3);
    dv_fake_close(&c);
    dv_fake_close(&control);
    assert_true(becomes_free(3));
}

static void test_mig_devices_hold_their_own(void **state)
{
    static struct dv_sim_device d[8];
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_create whole = {.device = 0};
    struct dv_sim_ctx_created ctx;
    struct dv_sim_mem_allocated a;
    uint64_t last;

    assert_int_equal(dv_fake_ask(&c, DV_SIM_CUDA_DEVICES, NULL, 0, d, 3 * sizeof(*d), NULL, NULL),
                     0);
    assert_int_equal(d[0].mig_enabled, 1);
    assert_int_equal(d[1].mig, 1);
    assert_int_equal(d[1].sms, 42);
    assert_int_equal(d[2].sms, 28);
    assert_int_equal(strncmp(d[1].uuid, "MIG-", 4), 0);
    assert_int_equal(d[1].memory_bytes, 40192 * DV_MIB);
    assert_int_equal(
        dv_fake_ask(&c, DV_SIM_CUDA_CTX_CREATE, &whole, sizeof(whole), NULL, 0, NULL, NULL), 101);
    ctx = dv_fake_ctx(&c, d[2].id);
    assert_int_equal(alloc(&c, ctx.ctx, d[2].memory_bytes, &a), 2);
    assert_int_equal(alloc(&c, ctx.ctx, 10 * DV_GIB, &a), 0);
    /* A kernel that asks for twice the SMs there are takes twice the time. */
    dv_fake_command(&c, ctx.default_stream, DV_SIM_CMD_RECORD, 1, 1);
    dv_fake_command(&c, ctx.default_stream, DV_SIM_CMD_KERNEL, 1000000, 56);
    last = dv_fake_command(&c, ctx.default_stream, DV_SIM_CMD_RECORD, 2, 1);
    assert_true(dv_fake_await(&c, ctx.default_stream, last));
    assert_true(c.work->events[2].done_ns >= c.work->events[1].done_ns + 2000000);
    assert_int_equal(used(0), 10 * DV_GIB + 304 * DV_MIB);
    dv_fake_close(&c);
    assert_true(becomes_free(0));
}

static unsigned long switches(pid_t pid)
{
    char path[64], line[128];
    unsigned long n = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    f = fopen(path, "re");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "voluntary_ctxt_switches: %lu", &n) == 1)
            break;
    }
    fclose(f);
    return n;
}

/* Clients that hold contexts and do nothing cost nothing; nor does one long kernel. */
static void test_an_idle_server_sleeps(void **state)
{
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created ctx = dv_fake_ctx(&c, 0);
    unsigned long before;

    dv_fake_command(&c, ctx.default_stream, DV_SIM_CMD_KERNEL, 3600 * DV_NS_PER_S, 108);
    assert_true(dv_fake_taken(&c));
    usleep(100000);
    before = switches(node.pid);
    usleep(500000);
    assert_in_range(switches(node.pid) - before, 0, 50); /* samples: 6 a second; a poll: 500 */
    dv_fake_close(&c);
}

static void test_one_server_per_socket(void **state)
{
    struct dv_simserver_options o = {.socket = node.socket, .parent_fd = -1};
    struct dv_nodespec *spec = malloc(sizeof(*spec));
    struct dv_simserver *server;
    struct dv_err err = {0};
    char path[96];
    int fd;

    assert_int_equal(dv_nodespec_load("a100", spec, &err), 0);
    assert_int_equal(dv_simserver_new(spec, &o, &server, &err), -EADDRINUSE);
    assert_non_null(strstr(err.msg, "another divvy-sim"));
    /* What a killed server leaves behind is replaced. */
    snprintf(path, sizeof(path), "%s/stale", node.directory);
    fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    close(fd);
    o.socket = path;
    assert_int_equal(dv_simserver_new(spec, &o, &server, &err), 0);
    dv_simserver_free(server);
    o.socket = "/nonexistent/directory/sock";
    assert_int_equal(dv_simserver_new(spec, &o, &server, &err), -ENOENT);
    free(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_memory_is_charged_and_bounded),
        cmocka_unit_test(test_ipc_shares_memory_once),
        cmocka_unit_test(test_kernels_take_their_time),
        cmocka_unit_test(test_more_commands_than_the_ring_holds),
        cmocka_unit_test(test_waits_within_and_across_cards),
        cmocka_unit_test(test_a_wait_for_a_later_record_blocks),
        cmocka_unit_test(test_a_destroyed_stream_finishes_its_work),
        cmocka_unit_test(test_a_fault_is_sticky_and_recorded),
        cmocka_unit_test(test_a_killed_process_frees_everything),
        cmocka_unit_test(test_hang_up_frees_everything_too),
        cmocka_unit_test(test_many_processes_one_after_the_other),
        cmocka_unit_test(test_processes_take_turns),
        cmocka_unit_test(test_hostile_pages_end_their_own_session),
        cmocka_unit_test(test_absurd_numbers_are_bounded),
        cmocka_unit_test(test_malformed_messages_end_their_connection),
        cmocka_unit_test(test_random_messages),
        cmocka_unit_test(test_injected_cuda_errors),
        cmocka_unit_test(test_a_lost_gpu_ends_what_runs_on_it),
        cmocka_unit_test(test_a_gpu_that_has_gone),
        cmocka_unit_test(test_an_idle_server_sleeps),
        cmocka_unit_test(test_one_server_per_socket),
    };
    const struct CMUnitTest mig[] = {
        cmocka_unit_test(test_mig_devices_hold_their_own),
    };

    return cmocka_run_group_tests_name("server", tests, start, stop) +
           cmocka_run_group_tests_name("mig", mig, start_mig, stop);
}
