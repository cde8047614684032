/* SPDX-License-Identifier: Apache-2.0 */
/* Argument: the fake NVML. A worker that hangs or dies is replaced; main never waits for it. */
#include "sys/proc.h"
#include "worker/link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char *library;

struct fixture {
    struct dv_loop *loop;
    struct dv_keeper keeper;
    struct dv_hardware_link *link;
    char hang[64], crash[64], dir[32];
    struct dv_worker_reply reply;
    int error, answers;
    uint32_t changes;
};

static void on_state(void *arg)
{
    struct fixture *f = arg;
    f->changes++;
}

static void on_reply(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct fixture *f = arg;
    f->error = error;
    f->answers++;
    if (reply)
        memcpy(&f->reply, reply, sizeof f->reply);
    dv_loop_stop(f->loop);
}

static void give_up(void *arg)
{
    fail_msg("no answer within 100 s");
}

static void ask(struct fixture *f, struct dv_worker_request q)
{
    struct dv_loop_source *timer;
    f->error = 1;
    assert_int_equal(dv_loop_timer(f->loop, 100000, 0, give_up, f, &timer), 0);
    assert_int_equal(dv_hardware_link_ask(f->link, &q, on_reply, f), 0);
    dv_loop_run(f->loop);
    dv_loop_remove(timer);
}

static void touch(const char *path)
{
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

/* The fake driver answers at once; how soon this machine does is another thing. */
#define DEADLINE_MS 50000u

static struct fixture *setup(const char *lib, uint32_t deadline_ms)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct dv_err err;
    strcpy(f->dir, "/tmp/divvy-worker-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->hang, sizeof f->hang, "%s/hang", f->dir);
    snprintf(f->crash, sizeof f->crash, "%s/crash", f->dir);
    setenv("FAKE_NVML_HANG", f->hang, 1);
    setenv("FAKE_NVML_CRASH", f->crash, 1);
    struct dv_keeper_config config = {.library = lib};
    assert_int_equal(dv_keeper_start(&config, &f->keeper, &err), 0);
    assert_int_equal(dv_loop_new(&f->loop), 0);
    assert_int_equal(dv_hardware_link_new(f->loop, &f->keeper, deadline_ms, on_state, f, &f->link),
                     0);
    return f;
}

static void teardown(struct fixture *f)
{
    dv_hardware_link_free(f->link);
    dv_loop_free(f->loop);
    pid_t keeper = f->keeper.pid;
    dv_keeper_stop(&f->keeper);
    assert_int_equal(kill(keeper, 0), -1);
    unlink(f->hang);
    unlink(f->crash);
    rmdir(f->dir);
    free(f);
}

static void test_facts(void **state)
{
    struct fixture *f = setup(library, DEADLINE_MS);
    ask(f, (struct dv_worker_request){.op = DV_WORKER_DRIVER});
    assert_int_equal(f->error, 0);
    assert_int_equal(f->reply.status, 0);
    assert_int_equal(f->reply.u.driver.gpus, 1);
    ask(f, (struct dv_worker_request){.op = DV_WORKER_GPU, .index = 0});
    assert_string_equal(f->reply.u.gpu.uuid, "GPU-fake");
    assert_int_equal(f->reply.u.gpu.memory_bytes, 1000);
    assert_int_equal(f->reply.u.gpu.mig_current, DV_FACT_UNKNOWN32); /* it cannot say */
    assert_int_equal(f->reply.u.gpu.accounting, DV_FACT_UNKNOWN32);
    ask(f, (struct dv_worker_request){.op = DV_WORKER_ACCOUNTING, .change.accounting = 1});
    assert_int_equal(f->reply.status, DV_HARDWARE_NOT_SUPPORTED);
    ask(f, (struct dv_worker_request){.op = DV_WORKER_ACCOUNTED, .pid = 77});
    assert_int_equal(f->reply.status, DV_HARDWARE_NOT_SUPPORTED);
    ask(f, (struct dv_worker_request){.op = DV_WORKER_ACCOUNTING, .change.accounting = 2});
    assert_int_equal(f->reply.status, -EINVAL);
    ask(f, (struct dv_worker_request){.op = DV_WORKER_ACCOUNTED, .pid = 0});
    assert_int_equal(f->reply.status, -EINVAL);
    ask(f, (struct dv_worker_request){.op = DV_WORKER_SAMPLE, .index = 0});
    assert_int_equal(f->reply.u.sample.n_processes, 1);
    assert_int_equal(f->reply.u.sample.processes[0].pid, 77);
    assert_int_equal(f->reply.u.sample.utilization_known, 0);
    ask(f, (struct dv_worker_request){.op = DV_WORKER_TELEMETRY, .index = 0});
    assert_int_equal(f->reply.status, 0);
    struct dv_facts_telemetry expected; /* its memory, and nothing that it did not say */
    dv_hardware_telemetry_forget(&expected);
    expected.memory_used_bytes = 600;
    expected.memory_free_bytes = 400;
    assert_memory_equal(&f->reply.u.telemetry, &expected, sizeof expected);
    ask(f, (struct dv_worker_request){.op = DV_WORKER_TELEMETRY, .index = 5});
    assert_int_equal(f->reply.status, DV_HARDWARE_FAILED);
    ask(f, (struct dv_worker_request){.op = DV_WORKER_GPU, .index = 5});
    assert_int_equal(f->reply.status, DV_HARDWARE_FAILED);
    ask(f, (struct dv_worker_request){.op = DV_WORKER_TOPOLOGY, .index = 0});
    assert_int_equal(f->reply.status, 0);
    assert_int_equal(f->reply.u.topology.nvlinks_switch, DV_FACT_UNKNOWN32);
    assert_int_equal(f->reply.u.topology.peers[0].pcie, DV_FACT_UNKNOWN32);
    assert_string_equal(f->reply.u.topology.cpus, "");
    ask(f, (struct dv_worker_request){.op = DV_WORKER_TOPOLOGY, .index = 5});
    assert_int_equal(f->reply.status, DV_HARDWARE_FAILED);
    ask(f, (struct dv_worker_request){.op = 99});
    assert_int_equal(f->reply.status, -EINVAL);
    teardown(f);
}

static void test_wedged(void **state)
{
    struct fixture *f = setup(library, 3000);
    touch(f->hang);
    ask(f, (struct dv_worker_request){.op = DV_WORKER_SAMPLE});
    assert_int_equal(f->error, -ETIMEDOUT);
    assert_int_equal(dv_hardware_link_state(f->link), DV_HARDWARE_LINK_WEDGED);
    unlink(f->hang);
    ask(f, (struct dv_worker_request){.op = DV_WORKER_SAMPLE}); /* waits for the next worker */
    assert_int_equal(f->error, 0);
    assert_int_equal(dv_hardware_link_state(f->link), DV_HARDWARE_LINK_OK);
    assert_int_equal(dv_hardware_link_replaced(f->link), 1);
    teardown(f);
}

static void test_crashed(void **state)
{
    struct fixture *f = setup(library, DEADLINE_MS);
    touch(f->crash);
    ask(f, (struct dv_worker_request){.op = DV_WORKER_SAMPLE});
    assert_int_equal(f->error, -EPIPE);
    assert_int_equal(dv_hardware_link_state(f->link), DV_HARDWARE_LINK_CRASHED);
    unlink(f->crash);
    ask(f, (struct dv_worker_request){.op = DV_WORKER_DRIVER});
    assert_int_equal(f->error, 0);
    teardown(f);
}

/* The worker is gone and the loop has not seen it yet: who asks has his answer afterwards, not
 * before he knows that he has asked. */
static void test_gone_when_asked(void **state)
{
    struct fixture *f = setup(library, DEADLINE_MS);
    struct dv_worker_request q = {.op = DV_WORKER_DRIVER};
    struct dv_proc_id keeper, worker;
    ask(f, q);
    assert_int_equal(dv_proc_identify(f->keeper.pid, &keeper), 0);
    assert_int_equal(dv_proc_descendants(&keeper, &worker, 1), 1);
    struct pollfd gone = {dv_proc_pidfd(&worker), POLLIN, 0};
    assert_true(gone.fd >= 0);
    kill(worker.pid, SIGKILL);
    assert_int_equal(poll(&gone, 1, 100000), 1);
    close(gone.fd);
    int before = f->answers;
    assert_int_equal(dv_hardware_link_ask(f->link, &q, on_reply, f), 0);
    assert_int_equal(f->answers, before);
    dv_loop_run(f->loop);
    assert_int_equal(f->answers, before + 1);
    assert_int_equal(f->error, -EPIPE);
    assert_int_equal(dv_hardware_link_state(f->link), DV_HARDWARE_LINK_CRASHED);
    ask(f, q);
    assert_int_equal(f->error, 0);
    teardown(f);
}

static void test_missing(void **state)
{
    struct fixture *f = setup("libnvidia-of-nobody.so.1", DEADLINE_MS);
    ask(f, (struct dv_worker_request){.op = DV_WORKER_DRIVER});
    assert_int_equal(f->error, 0);
    assert_int_equal(f->reply.status, DV_HARDWARE_MISSING);
    assert_non_null(strstr(f->reply.message, "no NVIDIA driver here"));
    teardown(f);
}

static void test_signal(void **state)
{
    struct fixture *f = setup(library, DEADLINE_MS);
    struct dv_proc_id id;
    int status;
    pid_t pid = fork();
    if (!pid) {
        pause();
        _exit(0);
    }
    assert_int_equal(dv_proc_identify(pid, &id), 0);
    struct dv_worker_request q = {
        .op = DV_WORKER_SIGNAL, .pid = pid, .signo = SIGTERM, .start = id.start + 1};
    ask(f, q); /* somebody else who had this pid */
    assert_int_equal(f->reply.status, -ESRCH);
    assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
    q.start = id.start;
    ask(f, q);
    assert_int_equal(f->reply.status, 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WTERMSIG(status), SIGTERM);
    q.pid = 1;
    ask(f, q);
    assert_int_equal(f->reply.status, -EINVAL);
    teardown(f);
}

int main(int argc, char **argv)
{
    library = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),   cmocka_unit_test(test_wedged),
        cmocka_unit_test(test_crashed), cmocka_unit_test(test_gone_when_asked),
        cmocka_unit_test(test_missing), cmocka_unit_test(test_signal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
