/* SPDX-License-Identifier: Apache-2.0 */
/* MPS as the server keeps it, whatever clients say; what the programs make of it is tested end to
 * end. Each client is a process of its own, as pids are what counts. Times are the engine's. */
#include "abi_sim_mps.h"
#include "base/macros.h"
#include "server/fake.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SMS 108u
#define KERNEL_NS (5 * DV_NS_PER_MS)

static struct dv_fakenode node;
static struct dv_fake control; /* a control daemon */

/* ---- processes that do as they are told ---- */

enum order { CONTEXT, ALLOC, KERNEL, ERROR, DEVICES };

struct told {
    enum order order;
    uint64_t value;
};

struct process {
    pid_t pid;
    int fd;
};

static uint64_t obey(struct dv_fake *c, const struct told *t)
{
    static struct dv_sim_ctx_created made;
    static struct dv_sim_device devices[64];
    struct dv_sim_ctx_create create = {.device = (uint32_t)t->value};
    struct dv_sim_mem_alloc alloc = {.ctx = made.ctx, .bytes = t->value};
    struct dv_sim_mem_allocated got;
    const volatile struct dv_sim_stream_state *st = &c->work->streams[made.default_stream];
    uint64_t number;

    switch (t->order) {
    case CONTEXT:
        return (uint64_t)dv_fake_ask(c, DV_SIM_CUDA_CTX_CREATE, &create, sizeof(create), &made, 0,
                                     NULL, NULL);
    case ALLOC:
        return (uint64_t)dv_fake_ask(c, DV_SIM_CUDA_MEM_ALLOC, &alloc, sizeof(alloc), &got, 0, NULL,
                                     NULL);
    case KERNEL: /* submitted at a time that is given: how long after it has it ended? */
        number =
            dv_fake_command_at(c, t->value, made.default_stream, DV_SIM_CMD_KERNEL, KERNEL_NS, SMS);
        return dv_fake_await(c, made.default_stream, number) ? st->done_ns - t->value : 0;
    case ERROR:
        return st->error;
    default:
        memset(devices, 0, sizeof(devices));
        dv_fake_ask(c, DV_SIM_CUDA_DEVICES, NULL, 0, devices, 0, NULL, NULL);
        return devices[0].sms;
    }
}

static void live(int fd)
{
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct told t;
    uint64_t answer = 0;

    while (send(fd, &answer, sizeof(answer), MSG_NOSIGNAL) > 0 &&
           recv(fd, &t, sizeof(t), 0) == sizeof(t))
        answer = obey(&c, &t);
    _exit(0);
}

static uint64_t hear(const struct process *p)
{
    uint64_t answer;

    assert_int_equal(recv(p->fd, &answer, sizeof(answer), 0), sizeof(answer));
    return answer;
}

static struct process spawn(void)
{
    struct process p;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    p = (struct process){fork(), pair[0]};
    assert_true(p.pid >= 0);
    if (p.pid == 0) {
        close(pair[0]);
        live(pair[1]);
    }
    close(pair[1]);
    hear(&p); /* it has greeted */
    return p;
}

static void tell(const struct process *p, enum order order, uint64_t value)
{
    struct told t = {order, value};

    assert_int_equal(send(p->fd, &t, sizeof(t), MSG_NOSIGNAL), sizeof(t));
}

static uint64_t ask(const struct process *p, enum order order, uint64_t value)
{
    tell(p, order, value);
    return hear(p);
}

static void end(struct process *p)
{
    kill(p->pid, SIGKILL);
    waitpid(p->pid, NULL, 0);
    close(p->fd);
}

/* ---- the daemon's words ---- */

static int32_t say(uint16_t op, const void *data, uint32_t size)
{
    return dv_fake_ask(&control, op, data, size, NULL, 0, NULL, NULL);
}

static int32_t register_server(const struct process *p)
{
    struct dv_sim_mps_server q = {.pid = (uint32_t)p->pid, .n_devices = 1};
    return say(DV_SIM_MPS_SERVER, &q, sizeof(q));
}

static int32_t admit(const struct process *server, const struct process *client, uint32_t percent,
                     uint64_t bytes)
{
    struct dv_sim_mps_admit q = {.server = (uint32_t)server->pid,
                                 .client = (uint32_t)client->pid,
                                 .threads = percent * 1000,
                                 .memory_bytes = {bytes}};
    return say(DV_SIM_MPS_ADMIT, &q, sizeof(q));
}

static uint32_t state_of(const struct process *server)
{
    static struct dv_sim_mps_status status;
    uint32_t pid = (uint32_t)server->pid;

    assert_int_equal(dv_fake_ask(&control, DV_SIM_MPS_STATUS, &pid, sizeof(pid), &status,
                                 sizeof(status), NULL, NULL),
                     0);
    return status.state;
}

/* A server with a context, as the real one has it. */
static struct process a_server(void)
{
    struct process p = spawn();

    assert_int_equal(register_server(&p), 0);
    assert_int_equal(ask(&p, CONTEXT, 0), 0);
    return p;
}

static struct process a_client(const struct process *server, uint32_t percent, uint64_t bytes)
{
    struct process p = spawn();

    assert_int_equal(admit(server, &p, percent, bytes), 0);
    assert_int_equal(ask(&p, CONTEXT, 0), 0);
    return p;
}

static int start(void **state)
{
    node = dv_fakenode_start("apiVersion: divvy/v1\nkind: SimNode\nmps_clients: 3\n"
                             "gpus:\n  - {model: A100-80GB, count: 2}\n");
    control = dv_fake_open(&node, DV_SIM_CLIENT_MPS);
    return 0;
}

static int stop(void **state)
{
    dv_fake_close(&control);
    dv_fakenode_stop(&node);
    return 0;
}

/* ---- tests ---- */

static void who_may_be_what(void **state)
{
    struct process server = spawn(), client = spawn(), busy = spawn();
    struct dv_sim_mps_server none = {.pid = (uint32_t)server.pid, .n_devices = 0};

    assert_int_equal(admit(&server, &client, 50, 0), -ENOENT);
    assert_int_equal(say(DV_SIM_MPS_SERVER, &none, sizeof(none)), -EINVAL);
    assert_int_equal(register_server(&server), 0);
    assert_int_equal(register_server(&server), -EBUSY);
    assert_int_equal(admit(&server, &client, 0, 0), -EINVAL);
    assert_int_equal(admit(&server, &client, 101, 0), -EINVAL);
    assert_int_equal(admit(&server, &(struct process){.pid = getppid()}, 50, 0), -ESRCH);
    assert_int_equal(ask(&busy, CONTEXT, 0), 0);
    assert_int_equal(admit(&server, &busy, 50, 0), -EBUSY);
    assert_int_equal(admit(&server, &client, 50, 0), 0);
    assert_int_equal(admit(&server, &client, 100, 0), 0); /* and changes nothing: */
    assert_int_equal(ask(&client, DEVICES, 0), SMS / 2);
    assert_int_equal(ask(&client, CONTEXT, 1), 101); /* a GPU that the server does not serve */
    end(&client);
    end(&busy);
    end(&server);
}

static void clients_overlap(void **state)
{
    struct process server = a_server();
    struct process half = a_client(&server, 50, 0), quarter = a_client(&server, 25, 0);
    struct dv_sim_stats *stats = dv_fake_stats(&node, 0);
    uint64_t switched = stats->switch_ns, now = stats->now_ns;

    tell(&half, KERNEL, now);
    tell(&quarter, KERNEL, now);
    /* What does not reach the server in time starts later, and never earlier; but each takes all
     * SMs over its own, whatever the other does. */
    assert_true(hear(&half) >= 2 * KERNEL_NS);
    assert_true(hear(&quarter) >= 4 * KERNEL_NS);
    stats = dv_fake_stats(&node, 0);
    for (uint32_t i = 0; i < stats->processes; i++) {
        if ((pid_t)stats->process[i].pid == half.pid)
            assert_int_equal(stats->process[i].executed_ns, 2 * KERNEL_NS);
        if ((pid_t)stats->process[i].pid == quarter.pid)
            assert_int_equal(stats->process[i].executed_ns, 4 * KERNEL_NS);
        if ((pid_t)stats->process[i].pid == half.pid || (pid_t)stats->process[i].pid == quarter.pid)
            assert_int_equal(stats->process[i].sm_ns, SMS * KERNEL_NS);
    }
    assert_int_equal(stats->switch_ns, switched); /* one hardware context */
    end(&half);
    end(&quarter);
    end(&server);
}

static void memory(void **state)
{
    struct process server = a_server(), client = a_client(&server, 100, 100 * DV_MIB);

    assert_int_equal(ask(&client, ALLOC, 77 * DV_MIB), 2); /* 78, and 24 of its context */
    assert_int_equal(ask(&client, ALLOC, 76 * DV_MIB), 0);
    assert_int_equal(ask(&client, ALLOC, 1), 2);
    end(&client);
    client = spawn();
    assert_int_equal(admit(&server, &client, 100, 20 * DV_MIB), 0);
    assert_int_equal(ask(&client, CONTEXT, 0), 2); /* not even its context */
    end(&client);
    end(&server);
}

static void most_clients(void **state)
{
    struct process server = a_server(), client[3], more = spawn();

    for (int i = 0; i < 3; i++)
        client[i] = a_client(&server, 100, 0);
    assert_int_equal(admit(&server, &more, 100, 0), 0);
    assert_int_equal(ask(&more, CONTEXT, 0), 808);
    end(&client[0]);
    while (ask(&more, CONTEXT, 0) == 808)
        usleep(1000);
    for (int i = 1; i < 3; i++)
        end(&client[i]);
    end(&more);
    end(&server);
}

static void fault(void **state)
{
    struct dv_fake tool = dv_fake_open(&node, DV_SIM_CLIENT_CONTROL);
    struct process server = a_server(), other = a_server();
    struct process a = a_client(&server, 50, 0), b = a_client(&server, 50, 0);
    struct process apart = a_client(&other, 100, 0), late = spawn();
    struct dv_sim_inject j = {.kind = DV_SIM_INJECT_FAULT, .a = (uint64_t)a.pid};

    assert_int_equal(dv_fake_ask(&tool, DV_SIM_CTL_INJECT, &j, sizeof(j), NULL, 0, NULL, NULL), 0);
    assert_int_equal(ask(&a, ERROR, 0), 700);
    assert_int_equal(ask(&b, ERROR, 0), 700);
    assert_int_equal(ask(&apart, ERROR, 0), 0);
    assert_int_equal(state_of(&server), DV_SIM_MPS_FAULT);
    assert_int_equal(state_of(&other), DV_SIM_MPS_ACTIVE);
    assert_int_equal(admit(&server, &late, 100, 0), 807);
    assert_int_equal(ask(&b, CONTEXT, 0), 700); /* not by a new context either */
    end(&a);
    end(&b);
    while (state_of(&server) == DV_SIM_MPS_FAULT)
        usleep(1000);
    assert_int_equal(admit(&server, &late, 100, 0), 0);
    assert_int_equal(ask(&late, CONTEXT, 0), 0);
    end(&server); /* and with it its client */
    while (ask(&late, ERROR, 0) != 806)
        usleep(1000);
    assert_int_equal(ask(&apart, ERROR, 0), 0);
    end(&late);
    end(&apart);
    end(&other);
    dv_fake_close(&tool);
}

static void terminate(void **state)
{
    struct process server = a_server();
    struct process a = a_client(&server, 50, 0), b = a_client(&server, 50, 0);
    struct dv_sim_mps_terminate t = {(uint32_t)server.pid, (uint32_t)a.pid};

    assert_int_equal(say(DV_SIM_MPS_TERMINATE, &t, sizeof(t)), 0);
    assert_int_equal(ask(&a, ERROR, 0), 810);
    assert_int_equal(ask(&b, ERROR, 0), 0);
    assert_int_equal(state_of(&server), DV_SIM_MPS_ACTIVE);
    t.client = (uint32_t)server.pid;
    assert_int_equal(say(DV_SIM_MPS_TERMINATE, &t, sizeof(t)), -ESRCH);
    end(&a);
    end(&b);
    end(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_may_be_what), cmocka_unit_test(clients_overlap),
        cmocka_unit_test(memory),          cmocka_unit_test(most_clients),
        cmocka_unit_test(fault),           cmocka_unit_test(terminate),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
