/* SPDX-License-Identifier: Apache-2.0 */
/* Accounting mode against a real server: a newer driver, which has the second form of the figures,
 * and an older one. */
#include "abi_nvml.h"
#include "server/fake.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LAB(driver)                                                                                \
    "apiVersion: divvy/v1\nkind: SimNode\ndriver: \"" driver                                       \
    "\"\ngpus:\n  - {model: H100-80GB, count: 2}\n"

#define MS UINT64_C(1000000)

static struct dv_fakenode server;

static struct dv_nvml_device *gpu(uint32_t index)
{
    struct dv_nvml_device *device = NULL;
    assert_int_equal(nvmlDeviceGetHandleByIndex_v2(index, &device), DV_NVML_SUCCESS);
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
    server = dv_fakenode_start(LAB("595.10"));
    setenv(DV_SIM_SOCKET_ENV, server.socket, 1);
    return nvmlInit_v2();
}

static int stop(void **state)
{
    int r = nvmlShutdown();
    dv_fakenode_stop(&server);
    return r;
}

/* A process that works `work_ns` on GPU 0 and then tells, until told to end. */
struct worker {
    pid_t pid;
    int told, tell;
};

static struct worker worker_start(uint64_t work_ns)
{
    int to[2], from[2];
    char c = 1;
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    struct worker w = {.pid = fork(), .told = from[0], .tell = to[1]};
    if (w.pid == 0) {
        close(to[1]);
        struct dv_fake f = dv_fake_open(&server, DV_SIM_CLIENT_CUDA);
        struct dv_sim_ctx_created ctx = dv_fake_ctx(&f, 0);
        uint64_t n = dv_fake_command(&f, ctx.default_stream, DV_SIM_CMD_KERNEL, work_ns, 132);
        if (!dv_fake_await(&f, ctx.default_stream, n) || write(from[1], &c, 1) != 1)
            _exit(1);
        (void)!read(to[0], &c, 1);
        _exit(0);
    }
    close(to[0]);
    close(from[1]);
    assert_int_equal(read(w.told, &c, 1), 1);
    return w;
}

static void worker_end(struct worker *w)
{
    int status;
    close(w->tell);
    assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
    assert_int_equal(status, 0);
    close(w->told);
}

static struct dv_nvml_accounting_stats old_stats(pid_t pid, uint32_t running)
{
    struct dv_nvml_accounting_stats s = {0};
    for (int i = 0; i < 4000; i++, usleep(5000)) { /* the server sees an end in its own time */
        assert_int_equal(nvmlDeviceGetAccountingStats(gpu(0), (uint32_t)pid, &s), DV_NVML_SUCCESS);
        if (s.is_running == running)
            break;
    }
    assert_int_equal(s.is_running, running);
    return s;
}

static uint32_t pids(uint32_t on, uint32_t ret[8])
{
    uint32_t n = 8;
    assert_int_equal(nvmlDeviceGetAccountingPids(gpu(on), &n, ret), DV_NVML_SUCCESS);
    return n;
}

static uint32_t mode(uint32_t on)
{
    uint32_t m = 9;
    assert_int_equal(nvmlDeviceGetAccountingMode(gpu(on), &m), DV_NVML_SUCCESS);
    return m;
}

static void test_off(void **state)
{
    struct dv_nvml_accounting_stats s;
    struct dv_nvml_accounting_stats_v2 v2 = {.pid = 1};
    uint32_t n = 1, pid;
    assert_int_equal(mode(0), 0);
    assert_int_equal(nvmlDeviceGetAccountingPids(gpu(0), &n, &pid), DV_NVML_ERROR_NOT_SUPPORTED);
    assert_int_equal(nvmlDeviceGetAccountingStats(gpu(0), 1, &s), DV_NVML_ERROR_NOT_SUPPORTED);
    assert_int_equal(nvmlDeviceGetAccountingStats_v2(gpu(0), &v2), DV_NVML_ERROR_NOT_SUPPORTED);
    assert_int_equal(nvmlDeviceGetAccountingBufferSize(gpu(0), &n), DV_NVML_SUCCESS);
    assert_int_equal(n, 4000);
    assert_int_equal(nvmlDeviceGetAccountingMode(gpu(0), NULL), DV_NVML_ERROR_INVALID_ARGUMENT);
    assert_int_equal(nvmlDeviceSetAccountingMode(gpu(0), 2), DV_NVML_ERROR_INVALID_ARGUMENT);
    assert_int_equal(nvmlDeviceGetAccountingPids(gpu(0), NULL, NULL),
                     DV_NVML_ERROR_INVALID_ARGUMENT);
}

static void test_a_life(void **state)
{
    const uint64_t work = 40 * MS;
    struct dv_nvml_accounting_stats_v2 v2;
    uint32_t list[8], n = 0;
    assert_int_equal(nvmlDeviceSetAccountingMode(gpu(0), 1), DV_NVML_SUCCESS);
    assert_int_equal(mode(0), 1);
    assert_int_equal(mode(1), 0); /* each GPU its own */
    assert_int_equal(pids(0, list), 0);
    struct worker w = worker_start(work);
    struct dv_nvml_accounting_stats s = old_stats(w.pid, 1);
    assert_int_equal(s.time_ms, 0);
    assert_int_equal(s.max_memory_usage, dv_fake_stats(&server, 0)->process[0].memory_used_bytes);
    assert_int_equal(pids(0, list), 1);
    assert_int_equal(list[0], w.pid);
    assert_int_equal(nvmlDeviceGetAccountingPids(gpu(0), &n, NULL),
                     DV_NVML_ERROR_INSUFFICIENT_SIZE);
    assert_int_equal(n, 1);
    worker_end(&w);
    s = old_stats(w.pid, 0);
    assert_true(s.time_ms >= 40);
    assert_true(s.start_time_us > 0);
    v2 = (struct dv_nvml_accounting_stats_v2){.pid = (uint32_t)w.pid};
    assert_int_equal(nvmlDeviceGetAccountingStats_v2(gpu(0), &v2), DV_NVML_SUCCESS);
    assert_int_equal(v2.pid, w.pid);
    assert_int_equal(v2.is_running, 0);
    assert_int_equal(v2.time_ms, s.time_ms);
    assert_int_equal(v2.start_time_us, s.start_time_us);
    assert_int_equal(v2.max_memory_usage, s.max_memory_usage);
    assert_true(v2.sample_count >= 1);
    double ms = (double)v2.sum_gpu_util / v2.sample_count / 1e4 * (double)v2.time_ms;
    assert_true(ms > 39.4 && ms < 40.6);
    assert_int_equal(v2.gpu_utilization, v2.sum_gpu_util / v2.sample_count / 100);
    assert_int_equal(s.gpu_utilization, v2.gpu_utilization);
    assert_int_equal(pids(0, list), 1); /* also after its end */
    assert_int_equal(nvmlDeviceGetAccountingStats(gpu(0), 1, &s), DV_NVML_ERROR_NOT_FOUND);

    assert_int_equal(nvmlDeviceClearAccountingPids(gpu(0)), DV_NVML_SUCCESS);
    assert_int_equal(pids(0, list), 0);
    w = worker_start(work); /* keeps what runs */
    assert_int_equal(nvmlDeviceClearAccountingPids(gpu(0)), DV_NVML_SUCCESS);
    assert_int_equal(pids(0, list), 1);
    assert_int_equal(nvmlDeviceSetAccountingMode(gpu(0), 0), DV_NVML_SUCCESS);
    assert_int_equal(nvmlDeviceSetAccountingMode(gpu(0), 1), DV_NVML_SUCCESS);
    assert_int_equal(pids(0, list), 0); /* switching it off forgets that too */
    worker_end(&w);
    assert_int_equal(nvmlDeviceSetAccountingMode(gpu(0), 0), DV_NVML_SUCCESS);
}

static void test_mig_has_none(void **state)
{
    struct dv_nvml_device *mig = NULL;
    struct dv_nvml_gpu_instance *gi;
    struct dv_nvml_compute_instance *ci;
    uint32_t activation, m;
    assert_int_equal(nvmlDeviceSetAccountingMode(gpu(1), 1), DV_NVML_SUCCESS);
    assert_int_equal(nvmlDeviceSetMigMode(gpu(1), 1, &activation), DV_NVML_SUCCESS);
    assert_int_equal(mode(1), 0); /* it was switched off */
    assert_int_equal(nvmlDeviceSetAccountingMode(gpu(1), 1), DV_NVML_ERROR_NOT_SUPPORTED);
    assert_int_equal(nvmlDeviceCreateGpuInstance(gpu(1), 19, &gi), DV_NVML_SUCCESS);
    assert_int_equal(nvmlGpuInstanceCreateComputeInstance(gi, 0, &ci), DV_NVML_SUCCESS);
    assert_int_equal(nvmlDeviceGetMigDeviceHandleByIndex(gpu(1), 0, &mig), DV_NVML_SUCCESS);
    assert_int_equal(nvmlDeviceGetAccountingMode(mig, &m), DV_NVML_ERROR_NOT_SUPPORTED);
    assert_int_equal(nvmlDeviceSetAccountingMode(mig, 1), DV_NVML_ERROR_NOT_SUPPORTED);
    assert_int_equal(nvmlComputeInstanceDestroy(ci), DV_NVML_SUCCESS);
    assert_int_equal(nvmlGpuInstanceDestroy(gi), DV_NVML_SUCCESS);
    assert_int_equal(nvmlDeviceSetMigMode(gpu(1), 0, &activation), DV_NVML_SUCCESS);
    assert_int_equal(mode(1), 0);
}

/* Somebody who is not root, nor the simulation's owner. */
static void test_rights(void **state)
{
    int status;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(server.directory, 0755), 0);
    assert_int_equal(chmod(server.socket, 0666), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct dv_nvml_device *d;
        if (setuid(65534) != 0 || nvmlDeviceGetHandleByIndex_v2(0, &d) != DV_NVML_SUCCESS)
            _exit(2);
        int r = nvmlDeviceSetAccountingMode(d, 1);
        _exit(r == DV_NVML_ERROR_NO_PERMISSION &&
                      nvmlDeviceClearAccountingPids(d) == DV_NVML_ERROR_NO_PERMISSION
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(mode(0), 0);
}

static void test_an_older_driver_has_the_first_form(void **state)
{
    struct dv_nvml_accounting_stats_v2 v2 = {.pid = 1};
    assert_int_equal(nvmlDeviceSetAccountingMode(gpu(0), 1), DV_NVML_SUCCESS);
    struct worker w = worker_start(20 * MS);
    assert_int_equal(nvmlDeviceGetAccountingStats_v2(gpu(0), &v2),
                     DV_NVML_ERROR_FUNCTION_NOT_FOUND);
    worker_end(&w);
    struct dv_nvml_accounting_stats s = old_stats(w.pid, 0);
    double ms = (double)s.gpu_utilization / 100 * (double)s.time_ms; /* rounded down */
    assert_true(ms <= 20.6 && ms >= 19.4 - (double)s.time_ms / 100);
}

int main(void)
{
    const struct CMUnitTest newer[] = {
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_a_life),
        cmocka_unit_test(test_mig_has_none),
        cmocka_unit_test(test_rights),
    };
    const struct CMUnitTest older[] = {cmocka_unit_test(test_an_older_driver_has_the_first_form)};
    int failed = cmocka_run_group_tests_name("615", newer, start, stop);
    return failed + cmocka_run_group_tests_name("595", older, start_old, stop);
}
