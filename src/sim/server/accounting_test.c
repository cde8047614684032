/* SPDX-License-Identifier: Apache-2.0 */
/* Lives of processes: the bookkeeping on a node without a server, then the engine's truth from a
 * real one. */
#include "base/macros.h"
#include "server/accounting.h"
#include "server/fake.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the bookkeeping ---- */

static struct dv_simnode lab;
static struct dv_simproc proc[4];
static struct dv_simproc_gpu proc_gpu[4][2];

static int setup(void **state)
{
    memset(&lab, 0, sizeof(lab));
    memset(proc, 0, sizeof(proc));
    memset(proc_gpu, 0, sizeof(proc_gpu));
    lab.n_gpus = 2;
    lab.now_ns = DV_NS_PER_S;
    for (uint32_t i = 0; i < lab.n_gpus; i++)
        lab.gpu[i].index = i;
    for (size_t i = 0; i < DV_ARRAY_SIZE(proc); i++) {
        proc[i].pid = (pid_t)(100 + i);
        proc[i].gpu = proc_gpu[i];
    }
    return 0;
}

static int teardown(void **state)
{
    dv_simaccounting_done(&lab);
    return 0;
}

static void begin(size_t i, uint32_t gpu)
{
    lab.processes[i] = &proc[i];
    dv_simaccounting_begin(&lab, &proc[i], gpu);
}

/* After so long, with so much GPU time on GPU 0. */
static void end(size_t i, uint64_t lived_ns, uint64_t executed_ns)
{
    lab.now_ns += lived_ns;
    proc_gpu[i][0].gone_executed_ns = executed_ns;
    lab.processes[i] = NULL;
    dv_simaccounting_end(&lab, &proc[i]);
    memset(proc_gpu[i], 0, sizeof(proc_gpu[i]));
}

static bool knows(uint32_t pid)
{
    struct dv_sim_life life;
    return dv_simaccounting_find(&lab, 0, pid, &life);
}

static void test_accounted_from_the_start_on(void **state)
{
    struct dv_sim_life life[4];
    begin(0, 0); /* before the mode is on */
    dv_simaccounting_set(&lab, 0, true);
    begin(1, 0);
    assert_false(knows(100));
    assert_true(knows(101));
    end(0, DV_NS_PER_S, 1);
    end(1, DV_NS_PER_S, 2);
    assert_false(knows(100));
    assert_true(knows(101));
    assert_int_equal(dv_simaccounting_ended(&lab.gpu[0], 0, life, 4), 2); /* the truth has both */
    assert_int_equal(life[0].accounted, 0);
    assert_int_equal(life[1].accounted, 1);
    assert_int_equal(life[1].executed_ns, 2);
    assert_int_equal(dv_simaccounting_ended(&lab.gpu[1], 0, life, 4), 0); /* no context there */
    begin(2, 0);
    dv_simaccounting_set(&lab, 0, false); /* forgets the ended one and the running one */
    dv_simaccounting_set(&lab, 0, true);
    assert_false(knows(101));
    assert_false(knows(102));
    end(2, 0, 0);
    assert_false(knows(102));
    assert_int_equal(dv_simaccounting_ended(&lab.gpu[0], 0, life, 4), 3);
}

static void test_a_pid_that_comes_again(void **state)
{
    struct dv_sim_life life;
    dv_simaccounting_set(&lab, 0, true);
    begin(0, 0);
    end(0, DV_NS_PER_S, 10);
    begin(0, 0);
    assert_true(dv_simaccounting_find(&lab, 0, 100, &life));
    assert_int_equal(life.sequence, 0); /* the one that runs */
    end(0, DV_NS_PER_S, 20);
    assert_true(dv_simaccounting_find(&lab, 0, 100, &life));
    assert_int_equal(life.executed_ns, 20);
    assert_int_equal(life.sequence, 2);
}

static void test_the_ring_keeps_the_newest(void **state)
{
    static struct dv_sim_life life[DV_SIM_ENDED_MAX + 2];
    const uint64_t all = DV_SIM_ENDED_MAX + 100;
    dv_simaccounting_set(&lab, 0, true);
    for (uint64_t i = 0; i < all; i++) {
        proc[0].pid = (pid_t)(1000 + i);
        begin(0, 0);
        end(0, 1000, i);
    }
    assert_int_equal(dv_simaccounting_ended(&lab.gpu[0], 0, life, DV_ARRAY_SIZE(life)),
                     DV_SIM_ENDED_MAX);
    assert_int_equal(life[0].sequence, 101);
    assert_int_equal(life[0].executed_ns, 100);
    assert_int_equal(dv_simaccounting_ended(&lab.gpu[0], all - 3, life, 2), 2); /* pages */
    assert_int_equal(life[1].sequence, all - 1);
    assert_int_equal(dv_simaccounting_ended(&lab.gpu[0], all, life, 2), 0);
    assert_int_equal(dv_simaccounting_ended(&lab.gpu[0], UINT64_MAX, life, 2), 0);
    assert_false(knows(1000 + 99));
    assert_true(knows(1000 + 100));
    assert_true(knows(1000 + (uint32_t)all - 1));
}

/* NVML's figures give the executed time back, whatever a life is like. */
static void test_figures_give_the_time_back(void **state)
{
    unsigned seed = 4;
    for (int i = 0; i < 100000; i++) {
        uint64_t lived =
            DV_NS_PER_MS + (uint64_t)rand_r(&seed) % (i % 2 ? DV_NS_PER_S : 3600000000000);
        uint64_t executed = lived / 1000 * ((uint64_t)rand_r(&seed) % 1001);
        struct dv_sim_life life = {
            .sequence = 1, .first_ns = 77, .end_ns = 77 + lived, .executed_ns = executed};
        struct dv_sim_nvml_accounted a;
        dv_simaccounting_describe(&life, 0, &a);
        assert_true(a.samples >= 1 && a.sum_gpu <= UINT64_C(10000) * a.samples);
        double ms = (double)a.sum_gpu / a.samples / 1e4 * (double)a.time_ms;
        double off = ms - (double)executed / 1e6;
        assert_true(off < 0.55 && off > -0.55);
    }
}

static void test_figures_of_short_and_running_lives(void **state)
{
    struct dv_sim_life life = {.sequence = 1, .first_ns = 5, .end_ns = 5, .executed_ns = 0};
    struct dv_sim_nvml_accounted a;
    dv_simaccounting_describe(&life, 0, &a);
    assert_int_equal(a.time_ms, 0);
    assert_int_equal(a.samples, 1);
    assert_int_equal(a.sum_gpu, 0);
    life = (struct dv_sim_life){.first_ns = 0, .executed_ns = DV_NS_PER_S};
    dv_simaccounting_describe(&life, 4 * DV_NS_PER_S, &a);
    assert_int_equal(a.running, 1);
    assert_int_equal(a.time_ms, 0);
    assert_int_equal(a.samples, 24);
    assert_int_equal(a.sum_gpu, 24 * 2500);
    assert_int_equal(a.sum_memory, 12 * 2500);
}

/* ---- the engine's truth ---- */

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

static int32_t ask_ended(uint32_t gpu, uint64_t after, struct dv_sim_ended *ret)
{
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CONTROL);
    struct dv_sim_ended_ask q = {.gpu = gpu, .after = after};
    int32_t r = dv_fake_ask(&c, DV_SIM_CTL_ENDED, &q, sizeof(q), ret, sizeof(*ret), NULL, NULL);
    dv_fake_close(&c);
    return r;
}

/* Waits until `n` have ended there. */
static struct dv_sim_ended *ended(uint32_t gpu, uint64_t n)
{
    static struct dv_sim_ended e;
    for (int i = 0; i < 4000; i++, usleep(5000)) {
        assert_int_equal(ask_ended(gpu, 0, &e), 0);
        if (e.last >= n)
            break;
    }
    assert_int_equal(e.last, n);
    assert_int_equal(e.lives, n);
    return &e;
}

/* A process with contexts on GPUs 1 and 2: 30 kernels of 50 us with all SMs and one with half of
 * them on 2, in two contexts one after the other; ends by hand or by a signal. */
static pid_t work(bool killed)
{
    pid_t pid = fork();
    if (pid)
        return pid;
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    dv_fake_ctx(&c, 1);
    struct dv_sim_ctx_created first = dv_fake_ctx(&c, 2);
    struct dv_sim_mem_alloc q = {.ctx = first.ctx, .bytes = DV_GIB};
    struct dv_sim_mem_allocated a;
    uint64_t last = 0;
    dv_fake_ask(&c, DV_SIM_CUDA_MEM_ALLOC, &q, sizeof(q), &a, sizeof(a), NULL, NULL);
    for (int i = 0; i < 30; i++)
        last = dv_fake_command(&c, first.default_stream, DV_SIM_CMD_KERNEL, 50000, 108);
    if (!dv_fake_await(&c, first.default_stream, last))
        _exit(1);
    dv_fake_ask(&c, DV_SIM_CUDA_CTX_DESTROY, &first.ctx, 4, NULL, 0, NULL, NULL);
    struct dv_sim_ctx_created second = dv_fake_ctx(&c, 2);
    c.number[second.default_stream] = 0; /* the number of a stream may come again */
    last = dv_fake_command(&c, second.default_stream, DV_SIM_CMD_KERNEL, 70000, 54);
    if (!dv_fake_await(&c, second.default_stream, last))
        _exit(1);
    if (killed)
        kill(getpid(), SIGKILL);
    dv_fake_close(&c);
    _exit(0);
}

static void test_what_ended_is_told_exactly(void **state)
{
    struct timespec before;
    clock_gettime(CLOCK_REALTIME, &before);
    for (uint64_t i = 1; i <= 2; i++) {
        int status;
        pid_t pid = work(i == 2);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WIFSIGNALED(status), i == 2);
        assert_int_equal(WIFEXITED(status) ? WEXITSTATUS(status) : 0, 0);
        const struct dv_sim_life *life = &ended(2, i)->life[i - 1];
        assert_int_equal(life->sequence, i);
        assert_int_equal(life->pid, pid);
        assert_int_equal(life->accounted, 0);
        assert_int_equal(life->executed_ns, 30 * 50000 + 70000);
        assert_int_equal(life->sm_ns, 108 * 30 * 50000 + 54 * 70000);
        assert_int_equal(life->memory_high_water_bytes, DV_GIB + 304 * DV_MIB);
        assert_true(life->end_ns - life->first_ns >= life->executed_ns);
        assert_true(life->started_us >= (uint64_t)before.tv_sec * 1000000);
        assert_true(life->start_time > 0);
        assert_int_equal(ended(1, i)->life[i - 1].executed_ns, 0); /* a context and no work */
    }
    assert_int_equal(ended(0, 0)->lives, 0);
}

static void test_wrong_questions(void **state)
{
    static struct dv_sim_ended e;
    assert_int_equal(ask_ended(8, 0, &e), -ENODEV);
    assert_int_equal(ask_ended(2, UINT64_MAX, &e), 0);
    assert_int_equal(e.lives, 0);
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CONTROL);
    uint32_t gpu = 0;
    assert_int_equal(dv_fake_ask(&c, DV_SIM_CTL_ENDED, &gpu, 4, NULL, 0, NULL, NULL), INT32_MIN);
    dv_fake_close(&c);
}

int main(void)
{
    const struct CMUnitTest books[] = {
        cmocka_unit_test_setup_teardown(test_accounted_from_the_start_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_pid_that_comes_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_ring_keeps_the_newest, setup, teardown),
        cmocka_unit_test(test_figures_give_the_time_back),
        cmocka_unit_test(test_figures_of_short_and_running_lives),
    };
    const struct CMUnitTest truth[] = {
        cmocka_unit_test(test_what_ended_is_told_exactly),
        cmocka_unit_test(test_wrong_questions),
    };
    int failed = cmocka_run_group_tests_name("books", books, NULL, NULL);
    return failed + cmocka_run_group_tests_name("truth", truth, start, stop);
}
