/* SPDX-License-Identifier: Apache-2.0 */
/* The library against a real server: life, handles, processes, events, injection, forks, threads.
 */
#include "abi_nvml.h"
#include "server/fake.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct dv_fakenode server;

static struct dv_nvml_device *gpu(uint32_t index)
{
    struct dv_nvml_device *device = NULL;
    assert_int_equal(nvmlDeviceGetHandleByIndex_v2(index, &device), DV_NVML_SUCCESS);
    return device;
}

static void inject(enum dv_sim_injection kind, uint32_t on, const char *name, uint64_t a,
                   uint64_t b)
{
    struct dv_fake control = dv_fake_open(&server, DV_SIM_CLIENT_CONTROL);
    struct dv_sim_inject what = {.gpu = on, .kind = kind, .a = a, .b = b};
    snprintf(what.name, sizeof(what.name), "%s", name);
    assert_int_equal(
        dv_fake_ask(&control, DV_SIM_CTL_INJECT, &what, sizeof(what), NULL, 0, NULL, NULL), 0);
    dv_fake_close(&control);
}

static int start(void **state)
{
    server = dv_fakenode_start("dgx-a100");
    setenv(DV_SIM_SOCKET_ENV, server.socket, 1);
    return nvmlInit_v2();
}

static int stop(void **state)
{
    int r = nvmlShutdown();
    dv_fakenode_stop(&server);
    unsetenv(DV_SIM_SOCKET_ENV);
    return r;
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void test_without_a_server(void **state)
{
    uint32_t count;
    unsetenv(DV_SIM_SOCKET_ENV);
    assert_int_equal(nvmlInit_v2(), DV_NVML_ERROR_DRIVER_NOT_LOADED);
    setenv(DV_SIM_SOCKET_ENV, "/nonexistent/sim.sock", 1);
    assert_int_equal(nvmlInit_v2(), DV_NVML_ERROR_DRIVER_NOT_LOADED);
    assert_int_equal(nvmlDeviceGetCount_v2(&count), DV_NVML_ERROR_UNINITIALIZED);
    assert_int_equal(nvmlShutdown(), DV_NVML_ERROR_UNINITIALIZED);
    unsetenv(DV_SIM_SOCKET_ENV);
}

static void test_inits_are_counted(void **state)
{
    uint32_t count = 0;
    assert_int_equal(nvmlInit(), DV_NVML_SUCCESS);
    assert_int_equal(nvmlInitWithFlags(0), DV_NVML_SUCCESS);
    assert_int_equal(nvmlShutdown(), DV_NVML_SUCCESS);
    assert_int_equal(nvmlShutdown(), DV_NVML_SUCCESS);
    assert_int_equal(nvmlDeviceGetCount_v2(&count), DV_NVML_SUCCESS); /* start()'s is left */
    assert_int_equal(count, 8);
}

/* ---- devices ----------------------------------------------------------------------------------
 */

static void test_handles(void **state)
{
    struct dv_nvml_device *device, *again;
    char uuid[DV_NVML_UUID_V2_SIZE], name[DV_NVML_NAME_V2_SIZE];
    struct dv_nvml_pci_info pci;
    int stranger;
    assert_int_equal(nvmlDeviceGetHandleByIndex_v2(8, &device), DV_NVML_ERROR_INVALID_ARGUMENT);
    assert_int_equal(nvmlDeviceGetHandleByIndex_v2(0, NULL), DV_NVML_ERROR_INVALID_ARGUMENT);
    device = gpu(3);
    assert_int_equal(nvmlDeviceGetUUID(device, uuid, sizeof(uuid)), DV_NVML_SUCCESS);
    assert_int_equal(nvmlDeviceGetUUID(device, uuid, 5), DV_NVML_ERROR_INSUFFICIENT_SIZE);
    assert_int_equal(nvmlDeviceGetHandleByUUID(uuid, &again), DV_NVML_SUCCESS);
    assert_ptr_equal(device, again);
    assert_int_equal(nvmlDeviceGetPciInfo_v3(device, &pci), DV_NVML_SUCCESS);
    assert_int_equal(nvmlDeviceGetHandleByPciBusId_v2(pci.bus_id, &again), DV_NVML_SUCCESS);
    assert_ptr_equal(device, again);
    assert_int_equal(nvmlDeviceGetHandleByPciBusId_v2(pci.bus_id_legacy, &again), DV_NVML_SUCCESS);
    assert_int_equal(nvmlDeviceGetHandleByUUID("GPU-no", &again), DV_NVML_ERROR_NOT_FOUND);
    assert_int_equal(nvmlDeviceGetName((struct dv_nvml_device *)&stranger, name, sizeof(name)),
                     DV_NVML_ERROR_INVALID_ARGUMENT);
    assert_int_equal(nvmlDeviceGetName(NULL, name, sizeof(name)), DV_NVML_ERROR_INVALID_ARGUMENT);
}

static void test_versions_of_structs(void **state)
{
    struct dv_nvml_memory_v2 memory = {.version = 7};
    struct dv_nvml_memory v1;
    assert_int_equal(nvmlDeviceGetMemoryInfo_v2(gpu(0), &memory),
                     DV_NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
    memory.version = DV_NVML_VERSION(dv_nvml_memory_v2, 2);
    assert_int_equal(nvmlDeviceGetMemoryInfo_v2(gpu(0), &memory), DV_NVML_SUCCESS);
    assert_int_equal(nvmlDeviceGetMemoryInfo(gpu(0), &v1), DV_NVML_SUCCESS);
    assert_int_equal(memory.total, memory.used + memory.free + memory.reserved);
    assert_int_equal(v1.used, memory.used + memory.reserved);
    assert_int_equal(v1.free, memory.free);
}

/* ---- processes --------------------------------------------------------------------------------
 */

static void test_processes_and_their_memory(void **state)
{
    struct dv_fake c = dv_fake_open(&server, DV_SIM_CLIENT_CUDA);
    struct dv_sim_ctx_created ctx = dv_fake_ctx(&c, 0);
    struct dv_sim_mem_alloc alloc = {.ctx = ctx.ctx, .bytes = 1ull << 30};
    struct dv_sim_mem_allocated got;
    struct dv_nvml_process_info p[4];
    struct dv_nvml_process_info_v1 v1[4];
    struct dv_nvml_memory_v2 memory = {.version = DV_NVML_VERSION(dv_nvml_memory_v2, 2)};
    uint32_t n = 4;
    assert_int_equal(dv_fake_ask(&c, DV_SIM_CUDA_MEM_ALLOC, &alloc, sizeof(alloc), &got,
                                 sizeof(got), NULL, NULL),
                     0);
    assert_int_equal(nvmlDeviceGetComputeRunningProcesses_v3(gpu(0), &n, p), DV_NVML_SUCCESS);
    assert_int_equal(n, 1);
    assert_int_equal(p[0].pid, getpid());
    assert_true(p[0].used_gpu_memory >= 1ull << 30);
    assert_int_equal(p[0].gpu_instance_id, DV_NVML_INSTANCE_NONE);
    assert_int_equal(nvmlDeviceGetMemoryInfo_v2(gpu(0), &memory), DV_NVML_SUCCESS);
    assert_int_equal(memory.used, p[0].used_gpu_memory);
    n = 4;
    assert_int_equal(nvmlDeviceGetComputeRunningProcesses(gpu(0), &n, v1), DV_NVML_SUCCESS);
    assert_int_equal(v1[0].used_gpu_memory, memory.used);
    n = 0;
    assert_int_equal(nvmlDeviceGetComputeRunningProcesses_v3(gpu(0), &n, NULL),
                     DV_NVML_ERROR_INSUFFICIENT_SIZE);
    assert_int_equal(n, 1);
    n = 4;
    assert_int_equal(nvmlDeviceGetComputeRunningProcesses_v3(gpu(1), &n, p), DV_NVML_SUCCESS);
    assert_int_equal(n, 0);
    n = 4;
    assert_int_equal(nvmlDeviceGetGraphicsRunningProcesses_v3(gpu(0), &n, p), DV_NVML_SUCCESS);
    assert_int_equal(n, 0);
    dv_fake_close(&c);
}

/* ---- MIG --------------------------------------------------------------------------------------
 */

static void test_mig_of_a_gpu_in_use(void **state)
{
    struct dv_fake c = dv_fake_open(&server, DV_SIM_CLIENT_CUDA);
    uint32_t activation = 0, current = 9, pending = 9;
    dv_fake_ctx(&c, 5);
    assert_int_equal(nvmlDeviceSetMigMode(gpu(5), 1, &activation), DV_NVML_SUCCESS);
    assert_int_equal(activation, DV_NVML_ERROR_IN_USE);
    assert_int_equal(nvmlDeviceGetMigMode(gpu(5), &current, &pending), DV_NVML_SUCCESS);
    assert_int_equal(current, 0);
    assert_int_equal(pending, 1);
    assert_int_equal(nvmlDeviceSetMigMode(gpu(5), 0, &activation), DV_NVML_SUCCESS);
    dv_fake_close(&c);
}

static void test_mig_devices(void **state)
{
    struct dv_nvml_device *g = gpu(6), *mig, *parent;
    struct dv_nvml_gpu_instance *gi, *found;
    struct dv_nvml_compute_instance *ci;
    struct dv_nvml_gi_info info;
    struct dv_nvml_ci_info ci_info;
    struct dv_nvml_gi_profile_info_v3 v3 = {.version =
                                                DV_NVML_VERSION(dv_nvml_gi_profile_info_v3, 3)};
    struct dv_nvml_utilization busy;
    uint32_t activation, id, n = 1;
    char name[DV_NVML_NAME_V2_SIZE];
    assert_int_equal(nvmlDeviceSetMigMode(g, 1, &activation), DV_NVML_SUCCESS);
    assert_int_equal(activation, DV_NVML_SUCCESS);
    assert_int_equal(nvmlDeviceGetGpuInstanceProfileInfoV(g, DV_NVML_GI_3_SLICE,
                                                          (struct dv_nvml_gi_profile_info_v2 *)&v3),
                     DV_NVML_SUCCESS);
    assert_int_equal(v3.id, 9);
    assert_string_equal(v3.name, "MIG 3g.40gb");
    assert_int_equal(nvmlDeviceCreateGpuInstance(g, v3.id, &gi), DV_NVML_SUCCESS);
    assert_int_equal(nvmlGpuInstanceGetInfo(gi, &info), DV_NVML_SUCCESS);
    assert_int_equal(nvmlDeviceGetGpuInstanceById(g, info.id, &found), DV_NVML_SUCCESS);
    assert_ptr_equal(gi, found);
    assert_int_equal(nvmlDeviceGetMigDeviceHandleByIndex(g, 0, &mig), DV_NVML_ERROR_NOT_FOUND);
    assert_int_equal(nvmlGpuInstanceCreateComputeInstance(gi, DV_NVML_CI_3_SLICE, &ci),
                     DV_NVML_SUCCESS);
    assert_int_equal(nvmlDeviceGetMigDeviceHandleByIndex(g, 0, &mig), DV_NVML_SUCCESS);
    assert_int_equal(nvmlDeviceGetDeviceHandleFromMigDeviceHandle(mig, &parent), DV_NVML_SUCCESS);
    assert_ptr_equal(parent, g);
    assert_int_equal(nvmlDeviceGetGpuInstanceId(mig, &id), DV_NVML_SUCCESS);
    assert_int_equal(id, info.id);
    assert_int_equal(nvmlDeviceGetName(mig, name, sizeof(name)), DV_NVML_SUCCESS);
    assert_non_null(strstr(name, "MIG 3g.40gb"));
    assert_int_equal(nvmlDeviceGetUtilizationRates(mig, &busy), DV_NVML_ERROR_NOT_SUPPORTED);
    assert_int_equal(nvmlComputeInstanceGetInfo_v2(ci, &ci_info), DV_NVML_SUCCESS);
    assert_ptr_equal(ci_info.gpu_instance, gi);
    assert_int_equal(nvmlDeviceGetGpuInstances(g, v3.id, &found, &n), DV_NVML_SUCCESS);
    assert_int_equal(n, 1);
    assert_int_equal(nvmlGpuInstanceDestroy(gi), DV_NVML_ERROR_IN_USE);
    assert_int_equal(nvmlComputeInstanceDestroy(ci), DV_NVML_SUCCESS);
    assert_int_equal(nvmlGpuInstanceDestroy(gi), DV_NVML_SUCCESS);
    assert_int_equal(nvmlGpuInstanceDestroy(gi), DV_NVML_ERROR_NOT_FOUND);
    assert_int_equal(nvmlDeviceGetName(mig, name, sizeof(name)), DV_NVML_ERROR_NOT_FOUND);
    assert_int_equal(nvmlDeviceSetMigMode(g, 0, &activation), DV_NVML_SUCCESS);
}

/* ---- events -----------------------------------------------------------------------------------
 */

static void *wait_for_event(void *set)
{
    static struct dv_nvml_event_data data;
    int r = nvmlEventSetWait_v2(set, &data, 20000);
    return r == DV_NVML_SUCCESS ? &data : NULL;
}

static void test_events(void **state)
{
    struct dv_nvml_event_set *set;
    struct dv_nvml_event_data data, *got;
    pthread_t thread;
    assert_int_equal(nvmlEventSetCreate(&set), DV_NVML_SUCCESS);
    assert_int_equal(nvmlDeviceRegisterEvents(gpu(2), DV_NVML_EVENT_XID, set), DV_NVML_SUCCESS);
    assert_int_equal(nvmlDeviceRegisterEvents(gpu(2), 1ull << 40, set),
                     DV_NVML_ERROR_NOT_SUPPORTED);
    inject(DV_SIM_INJECT_XID, 4, "", 31, 0); /* of a GPU that nobody asked about */
    assert_int_equal(nvmlEventSetWait_v2(set, &data, 0), DV_NVML_ERROR_TIMEOUT);
    assert_int_equal(nvmlEventSetWait_v2(set, &data, 10), DV_NVML_ERROR_TIMEOUT);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_event, set), 0);
    inject(DV_SIM_INJECT_XID, 2, "", 43, 0);
    assert_int_equal(pthread_join(thread, (void **)&got), 0);
    assert_non_null(got);
    assert_int_equal(got->data, 43);
    assert_int_equal(got->type, DV_NVML_EVENT_XID);
    assert_ptr_equal(got->device, gpu(2));
    assert_int_equal(nvmlEventSetWait_v2(set, &data, 0), DV_NVML_ERROR_TIMEOUT); /* told once */
    assert_int_equal(nvmlEventSetFree(set), DV_NVML_SUCCESS);
    assert_int_equal(nvmlEventSetFree(NULL), DV_NVML_ERROR_INVALID_ARGUMENT);
}

/* ---- failures ---------------------------------------------------------------------------------
 */

static void test_injected_errors(void **state)
{
    uint32_t mw;
    inject(DV_SIM_INJECT_NVML_ERROR, 1, "nvmlDeviceGetPowerUsage", DV_NVML_ERROR_TIMEOUT, 2);
    assert_int_equal(nvmlDeviceGetPowerUsage(gpu(0), &mw), DV_NVML_SUCCESS);
    assert_int_equal(nvmlDeviceGetPowerUsage(gpu(1), &mw), DV_NVML_ERROR_TIMEOUT);
    assert_int_equal(nvmlDeviceGetEnforcedPowerLimit(gpu(1), &mw), DV_NVML_SUCCESS);
    assert_int_equal(nvmlDeviceGetPowerUsage(gpu(1), &mw), DV_NVML_ERROR_TIMEOUT);
    assert_int_equal(nvmlDeviceGetPowerUsage(gpu(1), &mw), DV_NVML_SUCCESS);
}

static void *hang(void *device)
{
    uint32_t celsius;
    nvmlDeviceGetTemperature(device, 0, &celsius);
    return NULL;
}

/* A call that never returns is its caller's trouble only. */
static void test_a_hang_holds_up_nobody_else(void **state)
{
    pthread_t thread;
    uint32_t mw;
    inject(DV_SIM_INJECT_NVML_HANG, UINT32_MAX, "nvmlDeviceGetTemperature", 0, 0);
    assert_int_equal(pthread_create(&thread, NULL, hang, gpu(0)), 0);
    pthread_detach(thread);
    for (int i = 0; i < 50; i++)
        assert_int_equal(nvmlDeviceGetPowerUsage(gpu(0), &mw), DV_NVML_SUCCESS);
    inject(DV_SIM_INJECT_CLEAR, UINT32_MAX, "", 0, 0);
}

static void test_a_lost_gpu(void **state)
{
    uint32_t mw;
    struct dv_nvml_device *device = gpu(7);
    inject(DV_SIM_INJECT_XID, 7, "", 79, 0);
    assert_int_equal(nvmlDeviceGetPowerUsage(device, &mw), DV_NVML_ERROR_GPU_IS_LOST);
    assert_int_equal(nvmlDeviceGetPowerUsage(gpu(6), &mw), DV_NVML_SUCCESS);
    inject(DV_SIM_INJECT_CLEAR, UINT32_MAX, "", 0, 0);
}

static uint64_t used(uint32_t index)
{
    struct dv_nvml_memory_v2 memory = {.version = DV_NVML_VERSION(dv_nvml_memory_v2, 2)};
    assert_int_equal(nvmlDeviceGetMemoryInfo_v2(gpu(index), &memory), DV_NVML_SUCCESS);
    return memory.used;
}

static void test_leaked_memory(void **state)
{
    struct dv_nvml_process_info p[4];
    uint32_t n = 4;
    inject(DV_SIM_INJECT_LEAK, 6, "", 3ull << 30, 0);
    inject(DV_SIM_INJECT_LEAK, 6, "", 1ull << 30, 0);
    assert_int_equal(used(6), 4ull << 30);
    assert_int_equal(used(5), 0);
    assert_int_equal(nvmlDeviceGetComputeRunningProcesses_v3(gpu(6), &n, p), DV_NVML_SUCCESS);
    assert_int_equal(n, 0);
    inject(DV_SIM_INJECT_CLEAR, UINT32_MAX, "", 0, 0);
    assert_int_equal(used(6), 0);
    inject(DV_SIM_INJECT_LEAK, 6, "", 3ull << 30, 0);
    inject(DV_SIM_INJECT_RESET, 6, "", 0, 0);
    assert_int_equal(used(6), 0);
}

static void test_uncorrectable_errors(void **state)
{
    uint32_t corrected, uncorrected, pending, failure;
    uint64_t count;
    inject(DV_SIM_INJECT_ECC, 6, "", 2, 0);
    assert_int_equal(
        nvmlDeviceGetTotalEccErrors(gpu(6), DV_NVML_ECC_UNCORRECTED, DV_NVML_ECC_VOLATILE, &count),
        DV_NVML_SUCCESS);
    assert_int_equal(count, 2);
    assert_int_equal(
        nvmlDeviceGetRemappedRows(gpu(6), &corrected, &uncorrected, &pending, &failure),
        DV_NVML_SUCCESS);
    assert_int_equal(uncorrected, 2);
    assert_int_equal(pending, 1);
    assert_int_equal(failure, 0);
    inject(DV_SIM_INJECT_REMAP_FAILURE, 6, "", 0, 0);
    inject(DV_SIM_INJECT_RESET, 6, "", 0, 0);
    struct dv_nvml_field_value f[] = {{.field = DV_NVML_FIELD_ECC_DBE_VOL_TOTAL},
                                      {.field = DV_NVML_FIELD_ECC_DBE_AGG_TOTAL},
                                      {.field = DV_NVML_FIELD_REMAPPED_PENDING},
                                      {.field = DV_NVML_FIELD_REMAPPED_FAILURE}};
    assert_int_equal(nvmlDeviceGetFieldValues(gpu(6), 4, f), DV_NVML_SUCCESS);
    assert_int_equal(f[0].value.u64, 0);
    assert_int_equal(f[1].value.u64, 2);
    assert_int_equal(f[2].value.u32, 0);
    assert_int_equal(f[3].value.u32, 1);
    inject(DV_SIM_INJECT_CLEAR, UINT32_MAX, "", 0, 0);
    assert_int_equal(
        nvmlDeviceGetRemappedRows(gpu(6), &corrected, &uncorrected, &pending, &failure),
        DV_NVML_SUCCESS);
    assert_int_equal(uncorrected + pending + failure, 0);
}

/* Whoever had a context has it no more, and a pending MIG mode is active. */
static void test_a_restart(void **state)
{
    struct dv_fake c = dv_fake_open(&server, DV_SIM_CLIENT_CUDA);
    uint32_t activation = 0, current = 9, pending = 9;
    dv_fake_ctx(&c, 6);
    assert_int_equal(nvmlDeviceSetMigMode(gpu(6), 1, &activation), DV_NVML_SUCCESS);
    assert_int_equal(activation, DV_NVML_ERROR_IN_USE);
    inject(DV_SIM_INJECT_RESET, 6, "", 0, 0);
    assert_int_equal(nvmlDeviceGetMigMode(gpu(6), &current, &pending), DV_NVML_SUCCESS);
    assert_int_equal(current, 1);
    assert_int_equal(pending, 1);
    assert_int_equal(used(6), 0);
    assert_int_equal(nvmlDeviceSetMigMode(gpu(6), 0, &activation), DV_NVML_SUCCESS);
    assert_int_equal(activation, DV_NVML_SUCCESS);
    dv_fake_close(&c);
}

static void test_what_is_absent_says_so(void **state)
{
    extern int nvmlDeviceGetGpuFabricInfo(struct dv_nvml_device * device, void *info);
    int fabric[16];
    assert_int_equal(nvmlDeviceGetGpuFabricInfo(gpu(0), fabric), DV_NVML_ERROR_NOT_SUPPORTED);
}

/* ---- forks and threads ------------------------------------------------------------------------
 */

static void test_fork(void **state)
{
    uint32_t count = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(nvmlDeviceGetCount_v2(&count) == DV_NVML_SUCCESS && count == 8 ? 0 : 1);
    int status = -1;
    assert_int_equal(nvmlDeviceGetCount_v2(&count), DV_NVML_SUCCESS);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void *ask_often(void *argument)
{
    size_t *wrong = argument;
    for (uint32_t i = 0; i < 300; i++) {
        char uuid[DV_NVML_UUID_V2_SIZE];
        struct dv_nvml_device *device, *again;
        uint32_t index;
        if (nvmlDeviceGetHandleByIndex_v2(i % 8, &device) ||
            nvmlDeviceGetUUID(device, uuid, sizeof(uuid)) ||
            nvmlDeviceGetHandleByUUID(uuid, &again) || nvmlDeviceGetIndex(again, &index) ||
            index != i % 8)
            ++*wrong;
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t thread[8];
    size_t wrong[8] = {0};
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, ask_often, &wrong[i]), 0);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(wrong[i], 0);
    }
}

/* ---- performance between two moments ------------------------------------------------------------
 */

static void test_gpm_of_ampere(void **state)
{
    struct dv_nvml_gpm_support support = {.version = DV_NVML_GPM_VERSION};
    struct dv_nvml_gpm_sample *sample;
    assert_int_equal(nvmlGpmQueryDeviceSupport(gpu(0), &support), DV_NVML_SUCCESS);
    assert_int_equal(support.supported, 0);
    assert_int_equal(nvmlGpmSampleAlloc(&sample), DV_NVML_SUCCESS);
    assert_int_equal(nvmlGpmSampleGet(gpu(0), sample), DV_NVML_ERROR_NOT_SUPPORTED);
    assert_int_equal(nvmlGpmSampleFree(sample), DV_NVML_SUCCESS);
    assert_int_equal(nvmlGpmSampleFree(NULL), DV_NVML_ERROR_INVALID_ARGUMENT);
}

static void test_gpm_of_hopper(void **state)
{
    struct dv_nvml_gpm_support support = {.version = 2};
    struct dv_nvml_gpm_sample *a, *b;
    struct dv_nvml_gpm_metrics_get *get =
        calloc(1, sizeof(*get) + DV_NVML_GPM_METRICS_ROOM * sizeof(struct dv_nvml_gpm_metric));
    assert_int_equal(nvmlGpmQueryDeviceSupport(gpu(0), &support),
                     DV_NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
    support.version = DV_NVML_GPM_VERSION;
    assert_int_equal(nvmlGpmQueryDeviceSupport(gpu(0), &support), DV_NVML_SUCCESS);
    assert_int_equal(support.supported, 1);
    assert_int_equal(nvmlGpmSampleAlloc(&a), DV_NVML_SUCCESS);
    assert_int_equal(nvmlGpmSampleAlloc(&b), DV_NVML_SUCCESS);
    assert_int_equal(nvmlGpmSampleGet(gpu(0), a), DV_NVML_SUCCESS);
    assert_int_equal(nvmlGpmMigSampleGet(gpu(0), 1, b), DV_NVML_ERROR_NOT_SUPPORTED);
    *get = (struct dv_nvml_gpm_metrics_get){
        .version = DV_NVML_GPM_VERSION, .count = 3, .first = a, .second = b};
    get->metrics[0].id = DV_NVML_GPM_GRAPHICS_UTIL;
    get->metrics[1].id = DV_NVML_GPM_ANY_TENSOR_UTIL;
    get->metrics[2].id = DV_NVML_GPM_PCIE_TX_PER_SEC;
    assert_int_equal(nvmlGpmMetricsGet(get), DV_NVML_ERROR_INVALID_ARGUMENT); /* b is empty */
    assert_int_equal(nvmlGpmSampleGet(gpu(1), b), DV_NVML_SUCCESS);
    assert_int_equal(nvmlGpmMetricsGet(get), DV_NVML_ERROR_INVALID_ARGUMENT); /* another GPU's */
    assert_int_equal(nvmlGpmSampleGet(gpu(0), b), DV_NVML_SUCCESS);
    assert_int_equal(nvmlGpmMetricsGet(get), DV_NVML_SUCCESS);
    assert_int_equal(get->metrics[0].result, DV_NVML_SUCCESS);
    assert_true(get->metrics[0].value == 0);
    assert_int_equal(get->metrics[1].result, DV_NVML_ERROR_NOT_SUPPORTED);
    assert_int_equal(get->metrics[2].result, DV_NVML_SUCCESS);
    get->version = 2;
    assert_int_equal(nvmlGpmMetricsGet(get), DV_NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
    nvmlGpmSampleFree(a);
    nvmlGpmSampleFree(b);
    free(get);
}

static int start_hopper(void **state)
{
    server = dv_fakenode_start("dgx-h100");
    setenv(DV_SIM_SOCKET_ENV, server.socket, 1);
    return nvmlInit_v2();
}

int main(void)
{
    const struct CMUnitTest hopper[] = {cmocka_unit_test(test_gpm_of_hopper)};
    const struct CMUnitTest alone[] = {cmocka_unit_test(test_without_a_server)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inits_are_counted),
        cmocka_unit_test(test_handles),
        cmocka_unit_test(test_versions_of_structs),
        cmocka_unit_test(test_processes_and_their_memory),
        cmocka_unit_test(test_mig_of_a_gpu_in_use),
        cmocka_unit_test(test_mig_devices),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_injected_errors),
        cmocka_unit_test(test_a_lost_gpu),
        cmocka_unit_test(test_leaked_memory),
        cmocka_unit_test(test_uncorrectable_errors),
        cmocka_unit_test(test_a_restart),
        cmocka_unit_test(test_what_is_absent_says_so),
        cmocka_unit_test(test_gpm_of_ampere),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_a_hang_holds_up_nobody_else), /* last: its thread stays */
    };
    int failed = cmocka_run_group_tests_name("alone", alone, NULL, NULL);
    failed += cmocka_run_group_tests_name("hopper", hopper, start_hopper, stop);
    return failed + cmocka_run_group_tests_name("server", tests, start, stop);
}
