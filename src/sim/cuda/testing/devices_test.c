/* SPDX-License-Identifier: Apache-2.0 */
/* Which devices a process sees: every case in a process of its own, as cuInit looks once. */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define GPUS 3 /* T4, T4, A100 in MIG mode */
#define MIGS 2

static struct dv_fakenode node;
static struct dv_sim_device list[GPUS + MIGS];

static const char node_text[] = "apiVersion: divvy/v1\nkind: SimNode\n"
                                "gpus:\n  - {model: T4, count: 2}\n"
                                "  - {model: A100-80GB, mig: \"3g.40gb,2g.20gb\"}\n"
                                "kernels:\n  - {name: \"slow*\", duration: 3ms}\n";

/* What the child sees: 0 as wanted, else the number of the line that says no. */
#define CHILD(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            _exit(__LINE__ % 255 + 1);                                                             \
    } while (0)

static void same_uuid(int device, const char *want)
{
    struct dv_cuda_uuid id;
    char hex[33], digits[33] = "";
    CHILD(cuDeviceGetUuid_v2(&id, device) == 0);
    for (int i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", id.bytes[i]);
    for (const char *c = strchr(want, '-'), *end = want + strlen(want); c && c < end; c++)
        if (*c != '-' && strlen(digits) < 32)
            strncat(digits, c, 1);
    CHILD(strcmp(hex, digits) == 0);
}

static void in_child(const char *visible, int error, const int *want, int n)
{
    pid_t pid = fork();
    if (pid == 0) {
        int count;
        if (visible)
            setenv("CUDA_VISIBLE_DEVICES", visible, 1);
        CHILD(cuInit(0) == error);
        if (error)
            _exit(0);
        CHILD(cuDeviceGetCount(&count) == 0 && count == n);
        for (int i = 0; i < n; i++)
            same_uuid(i, list[want[i]].uuid);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define sees(visible, ...)                                                                         \
    in_child(visible, 0, (int[]){__VA_ARGS__}, sizeof((int[]){__VA_ARGS__}) / sizeof(int))
#define sees_none(visible) in_child(visible, DV_CUDA_ERROR_NO_DEVICE, NULL, 0)

static void by_index(void **state)
{
    sees("0", 0);
    sees("1,0", 1, 0);
    sees(" 0 , 1 ", 0, 1);
    sees("0,7,1", 0); /* what stands behind an invalid entry is not seen */
    sees("0,x", 0);
    sees("0,0", 0);
    sees("2", 3); /* a GPU in MIG mode stands for its first MIG device */
    sees_none("");
    sees_none("-1");
    sees_none("NoDevFiles");
    sees_none("99999999999999999999");
}

static void by_uuid(void **state)
{
    char text[3 * DV_SIM_UUID_SIZE];
    sees(list[1].uuid, 1);
    snprintf(text, sizeof(text), "%s,%s", list[1].uuid, list[0].uuid);
    sees(text, 1, 0);
    snprintf(text, sizeof(text), "%.12s", list[0].uuid);
    sees(text, 0);     /* a beginning will do */
    sees_none("GPU-"); /* if it is not that of several */
    sees(list[4].uuid, 4);
    snprintf(text, sizeof(text), "%s,%s", list[4].uuid, list[3].uuid);
    sees(text, 4); /* one MIG device per process */
    snprintf(text, sizeof(text), "MIG-%s/%u/%u", list[2].uuid, list[4].gi_id, list[4].ci_id);
    sees(text, 4);
    sees_none(list[2].uuid); /* in MIG mode a GPU cannot be used as such */
    sees_none("MIG-nonsense");
}

static void without_the_variable(void **state)
{
    sees(NULL, 3); /* with MIG devices about, the first of them */
}

static void a_mig_device_is_its_part(void **state)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct dv_cuda_ctx *c;
        int sms;
        size_t total, free_bytes, all;
        uint64_t memory;
        setenv("CUDA_VISIBLE_DEVICES", list[4].uuid, 1);
        CHILD(cuInit(0) == 0 && cuDevicePrimaryCtxRetain(&c, 0) == 0 && cuCtxSetCurrent(c) == 0);
        CHILD(cuDeviceGetAttribute(&sms, DV_CUDA_ATTR_SM_COUNT, 0) == 0 && sms == 28);
        CHILD(cuDeviceTotalMem_v2(&total, 0) == 0 && total < UINT64_C(21) << 30);
        CHILD(cuMemGetInfo_v2(&free_bytes, &all) == 0 && free_bytes < total);
        CHILD(cuMemAlloc_v2(&memory, total) == DV_CUDA_ERROR_OUT_OF_MEMORY);
        CHILD(cuMemAlloc_v2(&memory, UINT64_C(10) << 30) == 0);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* The node file says how long a kernel is. */
static void kernels_of_the_node_file(void **state)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct dv_cuda_ctx *c;
        struct dv_cuda_module *m;
        struct dv_cuda_function *f;
        struct dv_cuda_event *a, *b;
        float ms;
        setenv("CUDA_VISIBLE_DEVICES", "0", 1);
        CHILD(cuInit(0) == 0 && cuDevicePrimaryCtxRetain(&c, 0) == 0 && cuCtxSetCurrent(c) == 0);
        CHILD(cuModuleLoadData(&m, ".version 8.0\n.entry slow_one() { ret; }") == 0);
        CHILD(cuModuleGetFunction(&f, m, "slow_one") == 0);
        CHILD(cuEventCreate(&a, 0) == 0 && cuEventCreate(&b, 0) == 0);
        CHILD(cuEventRecord(a, NULL) == 0);
        CHILD(cuLaunchKernel(f, 4096, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL) == 0);
        CHILD(cuEventRecord(b, NULL) == 0 && cuEventSynchronize(b) == 0);
        CHILD(cuEventElapsedTime(&ms, a, b) == 0 && ms >= 3.0F);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void without_a_server(void **state)
{
    pid_t pid = fork();
    if (pid == 0) {
        setenv(DV_SIM_SOCKET_ENV, "/nonexistent/socket", 1);
        CHILD(cuInit(0) == DV_CUDA_ERROR_SYSTEM_NOT_READY);
        unsetenv(DV_SIM_SOCKET_ENV);
        CHILD(cuInit(0) == DV_CUDA_ERROR_NO_DEVICE);
        int n;
        CHILD(cuDeviceGetCount(&n) == DV_CUDA_ERROR_NOT_INITIALIZED);
        CHILD(cuInit(1) == DV_CUDA_ERROR_INVALID_VALUE);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int list_devices(void **state)
{
    struct dv_fake c = dv_fake_open(&node, DV_SIM_CLIENT_CUDA);
    ok(dv_fake_ask(&c, DV_SIM_CUDA_DEVICES, NULL, 0, list, sizeof(list), NULL, NULL));
    dv_fake_close(&c);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_index),
        cmocka_unit_test(by_uuid),
        cmocka_unit_test(without_the_variable),
        cmocka_unit_test(a_mig_device_is_its_part),
        cmocka_unit_test(kernels_of_the_node_file),
        cmocka_unit_test(without_a_server),
    };
    node = dv_cutest_start(node_text);
    return cmocka_run_group_tests(tests, list_devices, NULL);
}
