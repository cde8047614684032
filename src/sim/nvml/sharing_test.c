/* SPDX-License-Identifier: Apache-2.0 */
/* Memory limits by cgroup and the length of turns, against a real server. What needs a cgroup is
 * skipped where none can be made. */
#include "abi_nvml.h"
#include "server/fake.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

int nvmlDivvySimGetTimeslice(struct dv_nvml_device *device, uint32_t *setting);
int nvmlDivvySimSetTimeslice(struct dv_nvml_device *device, uint32_t setting);

#define SLICES "engine: {timeslice: 1ms, switch: 0}\n"
#define LAB(driver)                                                                                \
    "apiVersion: divvy/v1\nkind: SimNode\ndriver: \"" driver                                       \
    "\"\ngpus:\n  - model: H100-80GB\n" SLICES

static struct dv_fakenode server;
static char top[512]; /* our cgroup; "" where there can be none */

static struct dv_nvml_device *gpu(void)
{
    struct dv_nvml_device *device = NULL;
    assert_int_equal(nvmlDeviceGetHandleByIndex_v2(0, &device), DV_NVML_SUCCESS);
    return device;
}

static int start(void **state)
{
    server = dv_fakenode_start(LAB("615.71"));
    setenv(DV_SIM_SOCKET_ENV, server.socket, 1);
    return nvmlInit_v2();
}

static int start_old(void **state)
{
    server = dv_fakenode_start(LAB("610.43"));
    setenv(DV_SIM_SOCKET_ENV, server.socket, 1);
    return nvmlInit_v2();
}

static int stop(void **state)
{
    int r = nvmlShutdown();
    dv_fakenode_stop(&server);
    return r;
}

/* ---- cgroups ---- */

static void find_top(void)
{
    char line[1024], at[256];
    FILE *f = fopen("/proc/self/mountinfo", "r");
    while (f && !top[0] && fgets(line, sizeof(line), f)) {
        if (strstr(line, " - cgroup2 ") && sscanf(line, "%*s %*s %*s / %255s", at) == 1)
            snprintf(top, sizeof(top), "%s/divvy-sim-test-%d", at, (int)getpid());
    }
    if (f)
        fclose(f);
    if (top[0] && mkdir(top, 0755) < 0)
        top[0] = '\0';
}

static const char *make(const char *name)
{
    static char path[4][600];
    static unsigned next;
    char *to = path[next++ % 4];
    snprintf(to, sizeof(path[0]), "%s/%s", top, name);
    assert_true(mkdir(to, 0755) == 0 || errno == EEXIST);
    return to;
}

static int start_cgroups(void **state)
{
    find_top();
    return start(state);
}

static int stop_cgroups(void **state)
{
    static const char *const names[] = {"a/b", "a", "b", "c"};
    char path[600];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", top, names[i]);
        rmdir(path);
    }
    rmdir(top);
    return stop(state);
}

#define NEED_CGROUPS()                                                                             \
    do {                                                                                           \
        if (!top[0])                                                                               \
            skip();                                                                                \
    } while (0)

/* ---- processes in them ---- */

enum { CONTEXT, ALLOC, INFO, FREE };
struct question {
    uint32_t what;
    uint64_t value;
};
struct answer {
    int32_t status;
    uint64_t value, total, used;
};
struct tenant {
    pid_t pid;
    int fd;
};

static void answer(struct dv_fake *c, uint32_t ctx, const struct question *q, struct answer *ret)
{
    struct dv_sim_mem_alloc alloc = {.ctx = ctx, .bytes = q->value};
    struct dv_sim_mem_allocated got = {0};
    struct dv_nvml_memory memory = {0};
    if (q->what == ALLOC)
        ret->status = dv_fake_ask(c, DV_SIM_CUDA_MEM_ALLOC, &alloc, sizeof(alloc), &got,
                                  sizeof(got), NULL, NULL);
    if (q->what == FREE)
        ret->status =
            dv_fake_ask(c, DV_SIM_CUDA_MEM_FREE, &q->value, sizeof(q->value), NULL, 0, NULL, NULL);
    ret->value = got.handle;
    if (q->what == INFO) {
        ret->status = nvmlDeviceGetMemoryInfo(gpu(), &memory);
        ret->total = memory.total;
        ret->used = memory.used;
        ret->value = memory.free;
    }
}

static void serve(const char *cgroup, int fd)
{
    char path[700], pid[16];
    struct question q;
    snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    int procs = open(path, O_WRONLY);
    if (cgroup[0] && write(procs, pid, strlen(pid)) < 0)
        _exit(1);
    struct dv_fake c = dv_fake_open(&server, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created ctx = {0};
    while (read(fd, &q, sizeof(q)) == sizeof(q)) {
        struct dv_sim_ctx_create create = {0};
        struct answer a = {0};
        if (q.what == CONTEXT)
            a.status = dv_fake_ask(&c, DV_SIM_CUDA_CTX_CREATE, &create, sizeof(create), &ctx,
                                   sizeof(ctx), NULL, NULL);
        else
            answer(&c, ctx.ctx, &q, &a);
        if (write(fd, &a, sizeof(a)) != sizeof(a))
            break;
    }
    _exit(0);
}

static struct tenant tenant(const char *cgroup)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    struct tenant t = {fork(), pair[0]};
    if (t.pid == 0) {
        close(pair[0]);
        serve(cgroup, pair[1]);
    }
    close(pair[1]);
    return t;
}

static struct answer ask(const struct tenant *t, uint32_t what, uint64_t value)
{
    struct question q = {what, value};
    struct answer a = {0};
    assert_int_equal(write(t->fd, &q, sizeof(q)), sizeof(q));
    assert_int_equal(read(t->fd, &a, sizeof(a)), sizeof(a));
    return a;
}

static void leave(const struct tenant *t)
{
    shutdown(t->fd, SHUT_RDWR); /* tenants forked later hold it open too */
    close(t->fd);
    waitpid(t->pid, NULL, 0);
}

static int set(const char *cgroup, uint64_t soft, uint64_t hard)
{
    struct dv_nvml_set_memory_limits l = {cgroup, soft, hard};
    return nvmlDeviceSetMemoryLimits_v1(gpu(), &l);
}

static struct dv_nvml_get_memory_limits get(const char *cgroup)
{
    struct dv_nvml_get_memory_limits l = {.cgroup = cgroup};
    assert_int_equal(nvmlDeviceGetMemoryLimits_v1(gpu(), &l), DV_NVML_SUCCESS);
    return l;
}

/* ---- memory limits ---- */

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define OUT_OF_MEMORY 2

static void test_hard_limit(void **state)
{
    NEED_CGROUPS();
    const char *a = make("a");
    struct tenant t = tenant(a);
    assert_int_equal(ask(&t, CONTEXT, 0).status, 0);
    uint64_t context = get(a).current;
    assert_true(context > 0);
    assert_int_equal(get(a).hard, DV_NVML_MEMORY_LIMIT_MAX);
    assert_int_equal(set(a, 0, context + 4 * GIB), DV_NVML_SUCCESS);
    struct answer kept = ask(&t, ALLOC, 4 * GIB - 2 * MIB);
    assert_int_equal(kept.status, 0);
    assert_int_equal(ask(&t, ALLOC, 4 * MIB).status, OUT_OF_MEMORY);
    assert_int_equal(ask(&t, ALLOC, 2 * MIB).status, 0);
    assert_int_equal(ask(&t, ALLOC, 512).status, OUT_OF_MEMORY);
    assert_int_equal(get(a).current, context + 4 * GIB);
    /* A context counts too; another process of the same cgroup shares the limit. */
    struct tenant second = tenant(a);
    assert_int_equal(ask(&second, CONTEXT, 0).status, OUT_OF_MEMORY);
    assert_int_equal(ask(&t, FREE, kept.value).status, 0);
    assert_int_equal(ask(&second, CONTEXT, 0).status, 0);
    leave(&second);
    /* A limit below what is in use takes nothing away. */
    assert_int_equal(set(a, 0, MIB), DV_NVML_SUCCESS);
    assert_int_equal(ask(&t, ALLOC, 512).status, OUT_OF_MEMORY);
    assert_int_equal(set(a, 0, DV_NVML_MEMORY_LIMIT_MAX), DV_NVML_SUCCESS);
    assert_int_equal(ask(&t, ALLOC, 5 * GIB).status, 0);
    leave(&t);
}

static void test_below_and_beside(void **state)
{
    NEED_CGROUPS();
    const char *a = make("a"), *below = make("a/b"), *beside = make("b");
    assert_int_equal(set(a, 0, 2 * GIB), DV_NVML_SUCCESS);
    struct tenant in = tenant(below), out = tenant(beside), free_one = tenant("");
    assert_int_equal(ask(&in, CONTEXT, 0).status, 0);
    assert_int_equal(ask(&in, ALLOC, 2 * GIB).status, OUT_OF_MEMORY);
    assert_int_equal(ask(&out, CONTEXT, 0).status, 0);
    assert_int_equal(ask(&out, ALLOC, 3 * GIB).status, 0);
    assert_int_equal(ask(&free_one, CONTEXT, 0).status, 0);
    assert_int_equal(ask(&free_one, ALLOC, 3 * GIB).status, 0);
    /* Who is inside sees the limit as the card; who is outside sees the card. */
    struct answer seen = ask(&in, INFO, 0);
    assert_int_equal(seen.total, 2 * GIB);
    assert_int_equal(seen.used, get(a).current);
    assert_int_equal(seen.value, 2 * GIB - get(a).current);
    seen = ask(&out, INFO, 0);
    assert_true(seen.total > 79 * GIB);
    leave(&in);
    leave(&out);
    leave(&free_one);
    assert_int_equal(set(a, 0, DV_NVML_MEMORY_LIMIT_MAX), DV_NVML_SUCCESS);
}

static void test_soft_limit_is_kept_for_them(void **state)
{
    NEED_CGROUPS();
    const char *a = make("a");
    assert_int_equal(set(a, 60 * GIB, 70 * GIB), DV_NVML_SUCCESS);
    struct tenant in = tenant(a), other = tenant("");
    assert_int_equal(ask(&other, CONTEXT, 0).status, 0);
    assert_int_equal(ask(&other, ALLOC, 30 * GIB).status, OUT_OF_MEMORY);
    assert_int_equal(ask(&other, ALLOC, 15 * GIB).status, 0);
    assert_int_equal(ask(&in, CONTEXT, 0).status, 0);
    assert_int_equal(ask(&in, ALLOC, 59 * GIB).status, 0);
    leave(&in);
    assert_int_equal(set(a, 0, DV_NVML_MEMORY_LIMIT_MAX), DV_NVML_SUCCESS);
    assert_int_equal(ask(&other, ALLOC, 50 * GIB).status, 0);
    leave(&other);
}

static void test_limit_goes_with_its_cgroup(void **state)
{
    NEED_CGROUPS();
    const char *c = make("c");
    assert_int_equal(set(c, GIB, 2 * GIB), DV_NVML_SUCCESS);
    assert_int_equal(get(c).soft, GIB);
    assert_int_equal(rmdir(c), 0);
    struct dv_nvml_get_memory_limits l = {.cgroup = c};
    assert_int_equal(nvmlDeviceGetMemoryLimits_v1(gpu(), &l), DV_NVML_ERROR_NOT_FOUND);
    make("c");
    assert_int_equal(get(c).soft, 0);
    assert_int_equal(get(c).hard, DV_NVML_MEMORY_LIMIT_MAX);
}

static void test_wrong_limits(void **state)
{
    uint32_t activation;
    assert_int_equal(nvmlDeviceSetMemoryLimits_v1(gpu(), NULL), DV_NVML_ERROR_INVALID_ARGUMENT);
    assert_int_equal(set(NULL, 0, GIB), DV_NVML_ERROR_INVALID_ARGUMENT);
    assert_int_equal(set("", 0, GIB), DV_NVML_ERROR_INVALID_ARGUMENT);
    assert_int_equal(set("relative", 0, GIB), DV_NVML_ERROR_INVALID_ARGUMENT);
    assert_int_equal(set("/tmp", 0, GIB), DV_NVML_ERROR_INVALID_ARGUMENT);
    assert_int_equal(set("/nonexistent", 0, GIB), DV_NVML_ERROR_NOT_FOUND);
    if (top[0])
        assert_int_equal(set(make("a"), 2 * GIB, GIB), DV_NVML_ERROR_INVALID_ARGUMENT);
    assert_int_equal(nvmlDeviceSetMigMode(gpu(), 1, &activation), DV_NVML_SUCCESS);
    assert_int_equal(activation, DV_NVML_SUCCESS);
    assert_int_equal(set("/tmp", 0, GIB), DV_NVML_ERROR_NOT_SUPPORTED);
    assert_int_equal(nvmlDeviceSetMigMode(gpu(), 0, &activation), DV_NVML_SUCCESS);
}

static void test_an_older_driver_has_none(void **state)
{
    struct dv_nvml_get_memory_limits l = {.cgroup = "/sys/fs/cgroup/x"};
    assert_int_equal(set("/sys/fs/cgroup/x", 0, GIB), DV_NVML_ERROR_FUNCTION_NOT_FOUND);
    assert_int_equal(nvmlDeviceGetMemoryLimits_v1(gpu(), &l), DV_NVML_ERROR_FUNCTION_NOT_FOUND);
}

/* ---- turns ---- */

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

/* Beside a context that always has work: how long after the end of a turn of its own a kernel of
 * `work_ns` is done, in engine time. It waits for one turn of the other's. */
static uint64_t turn_and(uint64_t work_ns)
{
    struct dv_fake c = dv_fake_open(&server, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created hog = dv_fake_ctx(&c, 0), mine = dv_fake_ctx(&c, 0);
    uint32_t s = mine.default_stream;
    dv_fake_command(&c, hog.default_stream, DV_SIM_CMD_KERNEL, 10 * (1000 * MS), 132);
    /* Whole turns, so many that what stands behind it is there before it ends, whatever else this
     * machine does in between. */
    dv_fake_command(&c, s, DV_SIM_CMD_KERNEL, 400 * MS, 132);
    dv_fake_command(&c, s, DV_SIM_CMD_RECORD, 1, 1);
    uint64_t n = dv_fake_command(&c, s, DV_SIM_CMD_KERNEL, work_ns, 132);
    assert_true(dv_fake_await(&c, s, n));
    uint64_t took = c.work->streams[s].done_ns - c.work->events[1].done_ns;
    dv_fake_close(&c);
    return took;
}

static void test_turns(void **state)
{
    uint32_t setting = 9;
    assert_int_equal(nvmlDivvySimGetTimeslice(gpu(), &setting), DV_NVML_SUCCESS);
    assert_int_equal(setting, 0);
    assert_int_equal(turn_and(400 * US), 1400 * US);
    assert_int_equal(nvmlDivvySimSetTimeslice(gpu(), 3), DV_NVML_SUCCESS);
    assert_int_equal(turn_and(400 * US), 4400 * US);
    assert_int_equal(nvmlDivvySimGetTimeslice(gpu(), &setting), DV_NVML_SUCCESS);
    assert_int_equal(setting, 3);
    assert_int_equal(nvmlDivvySimSetTimeslice(gpu(), 1), DV_NVML_SUCCESS);
    assert_int_equal(turn_and(400 * US), 900 * US);
    assert_int_equal(nvmlDivvySimSetTimeslice(gpu(), 4), DV_NVML_ERROR_INVALID_ARGUMENT);
    assert_int_equal(nvmlDivvySimGetTimeslice(gpu(), NULL), DV_NVML_ERROR_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest limits[] = {
        cmocka_unit_test(test_hard_limit),
        cmocka_unit_test(test_below_and_beside),
        cmocka_unit_test(test_soft_limit_is_kept_for_them),
        cmocka_unit_test(test_limit_goes_with_its_cgroup),
        cmocka_unit_test(test_wrong_limits),
        cmocka_unit_test(test_turns),
    };
    const struct CMUnitTest old[] = {cmocka_unit_test(test_an_older_driver_has_none)};
    int failed = cmocka_run_group_tests_name("615", limits, start_cgroups, stop_cgroups);
    return failed + cmocka_run_group_tests_name("610", old, start_old, stop);
}
