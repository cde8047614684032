/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps through a worker process on a simulated node: what the driver's rules make of each, that a
 * repeated step changes nothing, and that one whose worker was killed in the middle can be asked
 * for again.
 */
#include "server/fake.h"
#include "server/state.h"
#include "sys/fd.h"
#include "sys/proc.h"
#include "worker/worker.h"

#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct dv_fakenode node;
static char state_dir[] = "/tmp/divvy-steps-XXXXXX";
static char library[600], tools[600], libcuda[600];

struct worker {
    int sock;
    pid_t pid;
};

static struct worker worker_start(void)
{
    struct dv_keeper_config config = {
        .library = library, .libcuda = libcuda, .tools = tools, .state_dir = state_dir};
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    struct worker w = {.sock = pair[0], .pid = fork()};
    assert_true(w.pid >= 0);
    if (w.pid == 0) {
        close(pair[0]);
        close(node.lifeline); /* a worker that a failed test leaves behind keeps no server alive */
        dv_worker_serve(pair[1], &config);
        _exit(0);
    }
    close(pair[1]);
    return w;
}

static void worker_stop(struct worker *w, int signo)
{
    if (signo)
        kill(w->pid, signo);
    dv_fd_close(&w->sock);
    assert_int_equal(waitpid(w->pid, NULL, 0), w->pid);
}

static void send_question(const struct worker *w, struct dv_worker_request q)
{
    q.magic = DV_WORKER_MAGIC;
    assert_int_equal(dv_fd_send(w->sock, &q, sizeof q, NULL, 0), 0);
}

static struct dv_worker_reply *ask(const struct worker *w, struct dv_worker_request q)
{
    static struct dv_worker_reply a;
    send_question(w, q);
    assert_true(dv_fd_receive(w->sock, &a, sizeof a, NULL, NULL) > 0);
    a.message[sizeof a.message - 1] = 0;
    return &a;
}

static struct dv_worker_reply *step(const struct worker *w, struct dv_step s)
{
    return ask(w, (struct dv_worker_request){.op = DV_WORKER_STEP, .change.step = s});
}

static const struct dv_facts_gpu *facts(const struct worker *w, uint32_t gpu)
{
    struct dv_worker_reply *a =
        ask(w, (struct dv_worker_request){.op = DV_WORKER_GPU, .index = gpu});
    assert_int_equal(a->status, 0);
    return &a->u.gpu;
}

static struct dv_step mode(uint32_t gpu, uint32_t on)
{
    return (struct dv_step){.kind = DV_STEP_MIG_MODE,
                            .gpu = gpu,
                            .gi = UINT32_MAX,
                            .ci = UINT32_MAX,
                            .profile = UINT32_MAX,
                            .value = on};
}

static struct dv_step gi_create(uint32_t profile, uint32_t start, uint32_t size)
{
    return (struct dv_step){.kind = DV_STEP_GI_CREATE,
                            .gi = UINT32_MAX,
                            .ci = UINT32_MAX,
                            .profile = profile,
                            .start = start,
                            .size = size,
                            .name = "3g.40gb"};
}

static struct dv_step ci_create(uint32_t profile, uint32_t start, uint32_t size, uint32_t order,
                                uint32_t compute)
{
    struct dv_step s = gi_create(profile, start, size);
    s.kind = DV_STEP_CI_CREATE;
    s.order = order;
    s.value = compute;
    return s;
}

static struct dv_step destroyed(struct dv_step s, enum dv_step_kind kind,
                                const struct dv_receipt *made)
{
    s.kind = kind;
    s.gi = made->gi;
    s.ci = made->ci;
    memcpy(s.device, made->device, sizeof s.device);
    return s;
}

static void start(const char *name)
{
    const char *lib = getenv("DIVVY_LIBDIR");
    assert_non_null(lib);
    snprintf(library, sizeof library, "%s/sim/libnvidia-ml.so.1", lib);
    snprintf(tools, sizeof tools, "%s/sim/bin", lib);
    snprintf(libcuda, sizeof libcuda, "%s/sim/libcuda.so.1", lib);
    strcpy(state_dir, "/tmp/divvy-steps-XXXXXX");
    assert_non_null(mkdtemp(state_dir));
    node = dv_fakenode_start(name);
    setenv("DIVVY_SIM_SOCKET", node.socket, 1);
}

static int start_ampere(void **state)
{
    start("dgx-a100");
    return 0;
}

static int start_hopper(void **state)
{
    start("dgx-h100");
    return 0;
}

static int start_newest(void **state)
{
    start("apiVersion: divvy/v1\nkind: SimNode\ndriver: \"615.71\"\ngpus:\n  - model: "
          "A100-SXM4-40GB\n");
    return 0;
}

static int forget(const char *path, const struct stat *st, int type, struct FTW *where)
{
    return remove(path);
}

static int stop(void **state)
{
    nftw(state_dir, forget, 8, FTW_DEPTH | FTW_PHYS);
    dv_fakenode_stop(&node);
    return 0;
}

static void test_mode(void **state)
{
    struct worker w = worker_start();
    struct dv_worker_reply *a = step(&w, mode(0, 1));
    assert_string_equal(a->message, "");
    assert_int_equal(a->status, 0);
    assert_int_equal(facts(&w, 0)->mig_current, 1);
    assert_int_equal(step(&w, mode(0, 1))->status, 0); /* again: nothing to do */
    assert_int_equal(facts(&w, 1)->mig_current, 0);    /* the other GPU never noticed */
    assert_int_equal(step(&w, mode(0, 0))->status, 0);
    assert_int_equal(facts(&w, 0)->mig_current, 0);
    assert_int_equal(step(&w, mode(31, 1))->status, DV_ACTUATE_NOT_FOUND);
    worker_stop(&w, 0);
}

static void test_mode_in_use(void **state)
{
    struct worker w = worker_start();
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    dv_fake_ctx(&c, 0);
    struct dv_worker_reply *a = step(&w, mode(0, 1));
    assert_int_equal(a->status, DV_ACTUATE_IN_USE);
    assert_non_null(strstr(a->message, "while a process uses the GPU"));
    const struct dv_facts_gpu *f = facts(&w, 0);
    assert_int_equal(f->mig_current, 0);
    assert_int_equal(f->mig_pending, 0); /* nothing waits for the next reset */
    dv_fake_close(&c);
    worker_stop(&w, 0);
}

static void test_instances(void **state)
{
    struct worker w = worker_start();
    assert_int_equal(step(&w, mode(0, 1))->status, 0);
    struct dv_worker_reply *a = step(&w, gi_create(9, 4, 4));
    assert_string_equal(a->message, "");
    struct dv_receipt gi = a->u.receipt;
    assert_int_equal(gi.gi, 2);
    assert_int_equal(step(&w, gi_create(9, 4, 4))->u.receipt.gi, gi.gi); /* the same one */
    const struct dv_facts_gpu *f = facts(&w, 0);
    assert_int_equal(f->n_gi, 1); /* seen without a compute instance in it */
    assert_int_equal(f->n_mig, 0);
    assert_int_equal(f->gi[0].profile, 9);
    assert_int_equal(f->gi[0].start, 4);

    /* 1c and 2c of a 3g: the small one leaves room for the larger. */
    a = step(&w, ci_create(9, 4, 4, 0, 0));
    assert_string_equal(a->message, "");
    struct dv_receipt one = a->u.receipt;
    assert_int_equal(one.gi, 2);
    assert_memory_equal(one.device, "MIG-", 4);
    a = step(&w, ci_create(9, 4, 4, 0, 0));
    assert_string_equal(a->u.receipt.device, one.device);
    a = step(&w, ci_create(9, 4, 4, 1, 1));
    assert_string_equal(a->message, "");
    struct dv_receipt two = a->u.receipt;
    f = facts(&w, 0);
    assert_int_equal(f->n_mig, 2);
    assert_string_equal(f->mig[0].uuid, one.device);
    assert_int_equal(f->mig[0].ci_profile, 0);
    assert_int_equal(f->mig[0].ci_start, 2);
    assert_string_equal(f->mig[1].uuid, two.device);
    assert_int_equal(f->mig[1].ci_start, 0);

    assert_int_equal(step(&w, ci_create(9, 4, 4, 2, 0))->status, DV_ACTUATE_NO_ROOM);
    assert_int_equal(step(&w, gi_create(5, 0, 4))->status, 0); /* 4g beside it */
    assert_int_equal(step(&w, gi_create(0, 0, 8))->status, DV_ACTUATE_NO_ROOM);
    a = step(&w, gi_create(9, 2, 4)); /* no place for a 3g */
    assert_int_equal(a->status, DV_ACTUATE_FAILED);
    assert_non_null(strstr(a->message, "3g.40gb at 2: the driver did not create it"));
    assert_int_equal(step(&w, ci_create(19, 1, 1, 0, 0))->status, DV_ACTUATE_NOT_FOUND);

    struct dv_step gone = destroyed(gi_create(9, 4, 4), DV_STEP_GI_DESTROY, &gi);
    assert_int_equal(step(&w, gone)->status, DV_ACTUATE_IN_USE); /* compute instances in it */
    struct dv_step ci_gone = destroyed(ci_create(9, 4, 4, 0, 0), DV_STEP_CI_DESTROY, &one);
    assert_int_equal(step(&w, ci_gone)->status, 0);
    assert_int_equal(step(&w, ci_gone)->status, 0);
    ci_gone.ci = two.ci; /* the ids of one, the UUID of another: that one is gone */
    assert_int_equal(step(&w, ci_gone)->status, 0);
    assert_int_equal(facts(&w, 0)->n_mig, 1);
    assert_int_equal(
        step(&w, destroyed(ci_create(9, 4, 4, 1, 1), DV_STEP_CI_DESTROY, &two))->status, 0);
    gone.profile = 5; /* not what has this id */
    assert_int_equal(step(&w, gone)->status, 0);
    assert_int_equal(facts(&w, 0)->n_gi, 2);
    gone.profile = 9;
    assert_int_equal(step(&w, gone)->status, 0);
    assert_int_equal(step(&w, gone)->status, 0);
    assert_int_equal(facts(&w, 0)->n_gi, 1);
    assert_int_equal(step(&w, mode(0, 0))->status, 0);
    worker_stop(&w, 0);
}

static void test_destroy_in_use(void **state)
{
    struct worker w = worker_start();
    assert_int_equal(step(&w, mode(0, 1))->status, 0);
    assert_int_equal(step(&w, gi_create(9, 0, 4))->status, 0);
    struct dv_worker_reply *a = step(&w, ci_create(9, 0, 4, 0, 2));
    assert_string_equal(a->message, "");
    struct dv_receipt made = a->u.receipt;
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    dv_fake_ctx(&c, dv_simrequests_device_id(0, made.gi, made.ci));
    struct dv_step gone = destroyed(ci_create(9, 0, 4, 0, 2), DV_STEP_CI_DESTROY, &made);
    assert_int_equal(step(&w, gone)->status, DV_ACTUATE_IN_USE);
    assert_int_equal(facts(&w, 0)->n_mig, 1);
    dv_fake_close(&c);
    for (int i = 0; step(&w, gone)->status == DV_ACTUATE_IN_USE && i < 2000; i++)
        usleep(5000); /* the server sees the hang-up in its own time */
    assert_int_equal(facts(&w, 0)->n_mig, 0);
    assert_int_equal(step(&w, mode(0, 0))->status, 0);
    worker_stop(&w, 0);
}

/* Killed at whatever point it has reached, a worker leaves a GPU on which the same step ends as if
 * it had been asked for once. */
static void test_killed_worker(void **state)
{
    const struct dv_step steps[] = {mode(0, 1), gi_create(9, 4, 4), ci_create(9, 4, 4, 0, 2)};
    for (useconds_t pause = 0; pause < 3000; pause += 150) {
        struct worker w = worker_start();
        struct dv_receipt made = {0};
        for (size_t i = 0; i < DV_ARRAY_SIZE(steps); i++) {
            send_question(
                &w, (struct dv_worker_request){.op = DV_WORKER_STEP, .change.step = steps[i]});
            usleep(pause);
            worker_stop(&w, SIGKILL);
            w = worker_start();
            struct dv_worker_reply *a = step(&w, steps[i]);
            assert_string_equal(a->message, "");
            made = a->u.receipt;
        }
        const struct dv_facts_gpu *f = facts(&w, 0);
        assert_int_equal(f->n_gi, 1);
        assert_int_equal(f->n_mig, 1);
        assert_string_equal(f->mig[0].uuid, made.device);
        step(&w, destroyed(steps[2], DV_STEP_CI_DESTROY, &made));
        step(&w, destroyed(steps[1], DV_STEP_GI_DESTROY, &made));
        assert_int_equal(step(&w, mode(0, 0))->status, 0);
        worker_stop(&w, 0);
    }
}

/* ---- time-slices ---- */

static void test_timeslice(void **state)
{
    struct worker w = worker_start();
    struct dv_step s = mode(1, 0);
    s.kind = DV_STEP_TIMESLICE;
    s.value = DV_TIMESLICE_LONG;
    assert_int_equal(facts(&w, 1)->timeslice, DV_FACT_UNKNOWN32); /* nobody has asked */
    struct dv_worker_reply *a = ask(&w, (struct dv_worker_request){.op = DV_WORKER_TIMESLICES});
    assert_string_equal(a->message, "");
    assert_int_equal(facts(&w, 1)->timeslice, DV_TIMESLICE_DEFAULT);
    for (int i = 0; i < 2; i++) {
        a = step(&w, s);
        assert_string_equal(a->message, "");
        assert_int_equal(facts(&w, 1)->timeslice, DV_TIMESLICE_LONG);
    }
    worker_stop(&w, 0);
    w = worker_start(); /* it is the driver's, not the worker's */
    ask(&w, (struct dv_worker_request){.op = DV_WORKER_TIMESLICES});
    assert_int_equal(facts(&w, 1)->timeslice, DV_TIMESLICE_LONG);
    assert_int_equal(facts(&w, 0)->timeslice, DV_TIMESLICE_DEFAULT);
    worker_stop(&w, 0);
}

/* ---- accounting ---- */

static struct dv_worker_reply *account(const struct worker *w, uint32_t gpu, uint32_t on)
{
    return ask(w, (struct dv_worker_request){
                      .op = DV_WORKER_ACCOUNTING, .index = gpu, .change.accounting = on});
}

static struct dv_worker_reply *accounted(const struct worker *w, uint32_t gpu, pid_t pid)
{
    return ask(w, (struct dv_worker_request){.op = DV_WORKER_ACCOUNTED, .index = gpu, .pid = pid});
}

/* A process that uses the GPU for `busy_ns` and ends after `lived_us` more. */
static pid_t use(uint32_t gpu, uint64_t busy_ns, useconds_t lived_us)
{
    pid_t pid = fork();
    if (pid)
        return pid;
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created ctx = dv_fake_ctx(&c, gpu);
    uint64_t n = dv_fake_command(&c, ctx.default_stream, DV_SIM_CMD_KERNEL, busy_ns, 108);
    bool done = dv_fake_await(&c, ctx.default_stream, n);
    usleep(lived_us);
    _exit(!done);
}

static struct dv_facts_accounted ended(const struct worker *w, uint32_t gpu, pid_t pid)
{
    struct dv_worker_reply *a;
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    for (int i = 0; i < 4000; i++, usleep(5000)) {
        a = accounted(w, gpu, pid);
        if (a->status || !a->u.accounted.is_running)
            break;
    }
    assert_string_equal(a->message, "");
    assert_int_equal(a->u.accounted.is_running, 0);
    assert_int_equal(a->u.accounted.pid, pid);
    return a->u.accounted;
}

/* Once without the second form of the figures, once with it. */
static void test_accounting(void **state)
{
    const uint64_t busy = 30 * DV_NS_PER_MS;
    struct worker w = worker_start();
    assert_int_equal(facts(&w, 0)->accounting, 0);
    assert_int_equal(accounted(&w, 0, 1)->status, DV_HARDWARE_NOT_SUPPORTED); /* it is off */
    for (int i = 0; i < 2; i++)
        assert_int_equal(account(&w, 0, 1)->status, 0);
    assert_int_equal(facts(&w, 0)->accounting, 1);
    assert_int_equal(accounted(&w, 0, 1)->status, -ESRCH);
    pid_t pid = use(0, busy, 150000);
    struct dv_facts_accounted f = ended(&w, 0, pid);
    uint64_t off = f.busy_ns > busy ? f.busy_ns - busy : busy - f.busy_ns;
    assert_true(f.life_ns >= busy + 150 * DV_NS_PER_MS);
    assert_true(off <= f.resolution_ns);
    assert_true(f.max_memory_bytes > 0 && f.start_us > 0);
    if (!strncmp(ask(&w, (struct dv_worker_request){.op = DV_WORKER_DRIVER})->u.driver.version,
                 "615", 3))
        assert_int_equal(f.resolution_ns, DV_NS_PER_MS);
    else
        assert_int_equal(f.resolution_ns, DV_MAX(f.life_ns / 100, DV_NS_PER_MS));
    assert_int_equal(account(&w, 0, 0)->status, 0);
    assert_int_equal(accounted(&w, 0, pid)->status, DV_HARDWARE_NOT_SUPPORTED);
    assert_int_equal(account(&w, 31, 1)->status, DV_HARDWARE_FAILED); /* no such GPU */
    worker_stop(&w, 0);
}

static void test_accounting_of_one_that_runs(void **state)
{
    struct worker w = worker_start();
    assert_int_equal(account(&w, 3, 1)->status, 0);
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created ctx = dv_fake_ctx(&c, 3);
    uint64_t n = dv_fake_command(&c, ctx.default_stream, DV_SIM_CMD_KERNEL, 20 * DV_NS_PER_MS, 108);
    assert_true(dv_fake_await(&c, ctx.default_stream, n));
    struct dv_worker_reply *a = accounted(&w, 3, getpid());
    assert_string_equal(a->message, "");
    assert_int_equal(a->u.accounted.is_running, 1);
    assert_true(a->u.accounted.life_ns >= 20 * DV_NS_PER_MS);
    assert_true(a->u.accounted.busy_ns <= a->u.accounted.life_ns);
    assert_true(a->u.accounted.busy_ns + a->u.accounted.resolution_ns >= 19 * DV_NS_PER_MS);
    dv_fake_close(&c);
    assert_int_equal(account(&w, 3, 0)->status, 0);
    worker_stop(&w, 0);
}

static void test_accounting_not_under_mig(void **state)
{
    struct worker w = worker_start();
    assert_int_equal(account(&w, 0, 1)->status, 0);
    assert_int_equal(step(&w, mode(0, 1))->status, 0);
    assert_int_equal(facts(&w, 0)->accounting, 0); /* the driver has switched it off */
    struct dv_worker_reply *a = account(&w, 0, 1);
    assert_int_equal(a->status, DV_HARDWARE_NOT_SUPPORTED);
    assert_int_equal(step(&w, mode(0, 0))->status, 0);
    worker_stop(&w, 0);
}

/* ---- MPS ---- */

static bool is_alive(pid_t pid)
{
    struct dv_proc_id id;
    return dv_proc_identify(pid, &id) == 0;
}

static struct dv_worker_reply *mps(const struct worker *w, enum dv_mps_op op,
                                   const struct dv_mps_spec *spec)
{
    return ask(w, (struct dv_worker_request){.op = DV_WORKER_MPS,
                                             .change.mps = {.op = (uint32_t)op, .spec = *spec}});
}

static void test_mps(void **state)
{
    struct worker w = worker_start();
    struct dv_mps_spec spec = {.name = "g2", .threads_percent = 50, .memory_bytes = DV_GIB};
    memcpy(spec.device, facts(&w, 2)->uuid, sizeof spec.device);
    struct dv_worker_reply *a = mps(&w, DV_MPS_STATUS, &spec);
    assert_int_equal(a->status, 0);
    assert_int_equal(a->u.mps.up, 0);
    assert_int_equal(mps(&w, DV_MPS_PROBE, &spec)->status, DV_ACTUATE_NOT_FOUND);
    assert_int_equal(mps(&w, DV_MPS_STOP, &spec)->status, 0); /* there is none */
    a = mps(&w, DV_MPS_START, &spec);
    assert_string_equal(a->message, "");
    struct dv_mps_status first = a->u.mps;
    assert_int_equal(first.up, 1);
    assert_int_equal(first.threads_percent, 50);
    assert_true(first.control_pid > 1);
    assert_int_equal(first.server_state, DV_MPS_NO_SERVER);
    worker_stop(&w, SIGKILL);

    w = worker_start(); /* the daemon has outlived its worker, and is kept */
    spec.threads_percent = 0;
    spec.memory_bytes = 0;
    a = mps(&w, DV_MPS_START, &spec);
    assert_string_equal(a->message, "");
    assert_int_equal(a->u.mps.control_pid, first.control_pid);
    assert_int_equal(a->u.mps.threads_percent, 100);
    a = mps(&w, DV_MPS_PROBE, &spec);
    assert_string_equal(a->message, "");
    assert_true(a->u.mps.server_pid > 1);
    assert_int_equal(a->u.mps.server_state, DV_MPS_SERVER_ACTIVE);
    spec.threads_percent = 30;
    a = mps(&w, DV_MPS_LIMIT, &spec);
    assert_int_equal(a->u.mps.threads_percent, 30);
    spec.namespaces = 1; /* a daemon of the older protocol is there, and the driver has no other */
    assert_int_equal(mps(&w, DV_MPS_START, &spec)->status, DV_ACTUATE_FAILED);
    spec.namespaces = 0;
    assert_int_equal(mps(&w, DV_MPS_NAMESPACE, &spec)->status, -EINVAL); /* without a name */
    for (int i = 0; i < 2; i++) {
        a = mps(&w, DV_MPS_STOP, &spec);
        assert_string_equal(a->message, "");
        assert_int_equal(mps(&w, DV_MPS_STATUS, &spec)->u.mps.up, 0);
        assert_false(is_alive(first.control_pid));
    }
    worker_stop(&w, 0);
}

/* A control daemon that does not listen any more is ended by its pid, which is checked first. */
static void test_mps_stopped_daemon(void **state)
{
    struct worker w = worker_start();
    struct dv_mps_spec spec = {.name = "g3"};
    memcpy(spec.device, facts(&w, 3)->uuid, sizeof spec.device);
    struct dv_worker_reply *a = mps(&w, DV_MPS_START, &spec);
    assert_string_equal(a->message, "");
    pid_t pid = a->u.mps.control_pid;
    char path[200], was[220], fresh[32];
    snprintf(path, sizeof path, "%s/mps/g3/pipe/control", state_dir);
    snprintf(was, sizeof was, "%s.away", path);
    assert_int_equal(rename(path, was), 0);
    assert_int_equal(mps(&w, DV_MPS_STATUS, &spec)->u.mps.up, 0);
    a = mps(&w, DV_MPS_STOP, &spec);
    assert_string_equal(a->message, "");
    assert_false(is_alive(pid));

    /* A pid file that names somebody else ends nobody. */
    snprintf(path, sizeof path, "%s/mps/g3/pipe/nvidia-cuda-mps-control.pid", state_dir);
    snprintf(fresh, sizeof fresh, "%d\n", (int)getpid());
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(fresh, f);
    fclose(f);
    assert_int_equal(mps(&w, DV_MPS_STOP, &spec)->status, 0);
    worker_stop(&w, 0);
}

/* ---- memory limits ---- */

static void test_memory_limit(void **state)
{
    struct worker w = worker_start();
    struct dv_worker_request q = {.op = DV_WORKER_MEMORY_LIMIT,
                                  .change.limit = {.cgroup = "s-77001", .bytes = DV_GIB}};
    const struct dv_facts_gpu *f = facts(&w, 0);
    assert_int_equal(f->memory_limits, 1);
    memcpy(q.change.limit.device, f->uuid, sizeof f->uuid);
    struct dv_proc_id id;
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    assert_int_equal(dv_proc_identify(child, &id), 0);
    q.change.limit.pid = child;
    q.change.limit.start = id.start + 1; /* not the one that was meant */
    struct dv_worker_reply *a = ask(&w, q);
    if (a->status == DV_ACTUATE_NOT_PERMITTED || a->status == DV_ACTUATE_NOT_SUPPORTED) {
        print_message("skipped: %s\n", a->message); /* no root, or no cgroups of version 2 */
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        worker_stop(&w, 0);
        skip();
    }
    assert_int_equal(a->status, DV_ACTUATE_NOT_FOUND);
    q.change.limit.start = id.start;
    for (int i = 0; i < 2; i++) {
        a = ask(&w, q);
        assert_string_equal(a->message, "");
        assert_int_equal(a->status, 0);
    }
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/%d/cgroup", (int)child);
    FILE *file = fopen(path, "re");
    bool moved = false;
    while (file && fgets(line, sizeof line, file))
        moved |= strstr(line, "/s-77001") != NULL;
    fclose(file);
    assert_true(moved);
    q.change.limit.pid = 0;
    q.change.limit.start = 0;
    q.change.limit.bytes = UINT64_MAX; /* somebody is in it: it stays, and he gets no more */
    assert_int_equal(ask(&w, q)->status, DV_ACTUATE_IN_USE);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ask(&w, q)->status, 0);
    strcpy(q.change.limit.device, "MIG-1");
    assert_int_equal(ask(&w, q)->status, DV_ACTUATE_NOT_SUPPORTED);
    worker_stop(&w, 0);
}

static struct dv_worker_reply *namespace_op(const struct worker *w, enum dv_mps_op op,
                                            const struct dv_mps_spec *spec, const char *name)
{
    struct dv_worker_request q = {.op = DV_WORKER_MPS,
                                  .change.mps = {.op = (uint32_t)op, .spec = *spec}};
    snprintf(q.change.mps.argument, sizeof q.change.mps.argument, "%s", name);
    return ask(w, q);
}

static void test_mps_namespaces(void **state)
{
    struct worker w = worker_start();
    struct dv_mps_spec spec = {.name = "g0", .threads_percent = 50, .namespaces = 1, .uid = 4711};
    char path[200];
    memcpy(spec.device, facts(&w, 0)->uuid, sizeof spec.device);
    struct dv_worker_reply *a = mps(&w, DV_MPS_START, &spec);
    assert_string_equal(a->message, "");
    pid_t control = a->u.mps.control_pid;
    assert_int_equal(a->u.mps.up, 1);
    assert_int_equal(a->u.mps.threads_percent, 50);
    worker_stop(&w, SIGKILL);
    w = worker_start();
    a = mps(&w, DV_MPS_START, &spec);
    assert_string_equal(a->message, "");
    assert_int_equal(a->u.mps.control_pid, control);
    spec.threads_percent = 25;
    spec.memory_bytes = DV_GIB;
    for (int i = 0; i < 2; i++) {
        a = namespace_op(&w, DV_MPS_NAMESPACE, &spec, "s-7");
        assert_string_equal(a->message, "");
    }
    spec.memory_bytes = 0; /* from a limit to none */
    a = namespace_op(&w, DV_MPS_NAMESPACE, &spec, "s-7");
    assert_string_equal(a->message, "");
    snprintf(path, sizeof path, "%s/mps/g0/pipe/0/s_7/control", state_dir);
    assert_int_equal(access(path, F_OK), 0);
    struct stat st;
    snprintf(path, sizeof path, "%s/mps/g0/pipe/0/s_7", state_dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700); /* its user's alone */
    assert_int_equal(st.st_uid, geteuid() == 0 ? spec.uid : geteuid());
    assert_int_equal(namespace_op(&w, DV_MPS_NAMESPACE, &spec, "S7")->status, -EINVAL);
    a = mps(&w, DV_MPS_PROBE, &spec);
    assert_string_equal(a->message, "");
    assert_int_equal(a->u.mps.server_state, DV_MPS_SERVER_ACTIVE);
    assert_true(a->u.mps.server_pid > 1);
    for (int i = 0; i < 2; i++) {
        a = namespace_op(&w, DV_MPS_NAMESPACE_END, &spec, "s-7");
        assert_string_equal(a->message, "");
        assert_int_equal(access(path, F_OK), -1);
    }
    for (int i = 0; i < 2; i++) {
        a = mps(&w, DV_MPS_STOP, &spec);
        assert_string_equal(a->message, "");
        assert_false(is_alive(control));
    }
    worker_stop(&w, 0);
}

static void test_no_memory_limit(void **state)
{
    struct worker w = worker_start();
    struct dv_worker_request q = {.op = DV_WORKER_MEMORY_LIMIT,
                                  .change.limit = {.cgroup = "s-77002", .bytes = DV_GIB}};
    const struct dv_facts_gpu *f = facts(&w, 0);
    assert_int_equal(f->memory_limits, 0); /* an older driver */
    memcpy(q.change.limit.device, f->uuid, sizeof f->uuid);
    struct dv_worker_reply *a = ask(&w, q);
    assert_true(a->status == DV_ACTUATE_NOT_SUPPORTED || a->status == DV_ACTUATE_NOT_PERMITTED);
    worker_stop(&w, 0);
}

static void test_bad_questions(void **state)
{
    struct worker w = worker_start();
    struct dv_step s = mode(0, 2);
    assert_int_equal(step(&w, s)->status, -EINVAL);
    s = mode(DV_FACTS_GPUS_MAX, 1);
    assert_int_equal(step(&w, s)->status, -EINVAL);
    s = mode(0, 1);
    s.kind = (enum dv_step_kind)77;
    assert_int_equal(step(&w, s)->status, -EINVAL);
    s = gi_create(9, 99, 4);
    assert_string_equal(step(&w, s)->message, "start is 99, at most 15 is possible");
    s = gi_create(9, 0, 4);
    memset(s.name, 'x', sizeof s.name);
    assert_string_equal(step(&w, s)->message, "name does not end");
    s = gi_create(9, 0, 4);
    strcpy(s.device, "GPU-1;reboot");
    assert_int_equal(step(&w, s)->status, -EINVAL);
    s = gi_create(9, 0, 4);
    s.kind = DV_STEP_GI_DESTROY; /* of none */
    assert_int_equal(step(&w, s)->status, -EINVAL);
    struct dv_worker_request q = {.op = DV_WORKER_MPS};
    strcpy(q.change.mps.spec.device, "GPU-1");
    strcpy(q.change.mps.spec.name, "../etc");
    q.change.mps.op = DV_MPS_START;
    assert_int_equal(ask(&w, q)->status, -EINVAL);
    q = (struct dv_worker_request){.op = DV_WORKER_MEMORY_LIMIT};
    strcpy(q.change.limit.device, "GPU-1");
    strcpy(q.change.limit.cgroup, "..");
    assert_int_equal(ask(&w, q)->status, -EINVAL);
    q.op = 99;
    assert_int_equal(ask(&w, q)->status, -EINVAL);
    worker_stop(&w, 0);
}

int main(void)
{
    const struct CMUnitTest ampere[] = {
        cmocka_unit_test(test_mode),
        cmocka_unit_test(test_mode_in_use),
        cmocka_unit_test(test_instances),
        cmocka_unit_test(test_destroy_in_use),
        cmocka_unit_test(test_killed_worker),
        cmocka_unit_test(test_timeslice),
        cmocka_unit_test(test_mps),
        cmocka_unit_test(test_mps_stopped_daemon),
        cmocka_unit_test(test_bad_questions),
        cmocka_unit_test(test_accounting),
        cmocka_unit_test(test_accounting_of_one_that_runs),
        cmocka_unit_test(test_accounting_not_under_mig),
    };
    const struct CMUnitTest hopper[] = {
        cmocka_unit_test(test_mode),
        cmocka_unit_test(test_mode_in_use),
        cmocka_unit_test(test_instances),
        cmocka_unit_test(test_no_memory_limit),
    };
    const struct CMUnitTest newest[] = {cmocka_unit_test(test_memory_limit),
                                        cmocka_unit_test(test_mps_namespaces),
                                        cmocka_unit_test(test_accounting)};
    return cmocka_run_group_tests_name("ampere", ampere, start_ampere, stop) +
           cmocka_run_group_tests_name("hopper", hopper, start_hopper, stop) +
           cmocka_run_group_tests_name("newest", newest, start_newest, stop);
}
