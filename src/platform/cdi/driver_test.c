/* SPDX-License-Identifier: Apache-2.0 */
/* A driver's files in a folder of the test's own. */
#include "cdi/driver.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char root[] = "/tmp/divvy-driver-XXXXXX";

/* ROOT/PATH with this text, and the folders before it. */
static const char *put(const char *path, const char *text)
{
    static char full[PATH_MAX];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *p = full + sizeof root; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        mkdir(full, 0755);
        *p = '/';
    }
    FILE *f = fopen(full, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    chmod(full, 0755);
    return full;
}

static void put_link(const char *path, const char *to)
{
    char full[PATH_MAX];
    snprintf(full, sizeof full, "%s%s", root, path);
    assert_int_equal(symlink(to, full), 0);
}

static int make(void **state)
{
    assert_non_null(mkdtemp(root));
    put("/lib/libcuda.so.580.95.05", "");
    put_link("/lib/libcuda.so.1", "libcuda.so.580.95.05");
    put("/lib/libnvidia-ml.so.580.95.05", "");
    put_link("/lib/libnvidia-ml.so.1", "libnvidia-ml.so.580.95.05");
    put("/lib/libnvidia-ptxjitcompiler.so.580.95.05", "");
    put_link("/lib/libnvidia-ptxjitcompiler.so.1", "libnvidia-ptxjitcompiler.so.580.95.05");
    put("/lib/libnvidia-nvvm.so.570.1", ""); /* of a release before */
    put("/lib/libc.so.6", "");
    put("/lib/libcuda-broken.so", "");
    put("/usr/bin/nvidia-smi", "");
    put("/proc/driver/nvidia/gpus/0000:0a:00.0/information",
        "Model: \t\t NVIDIA A100\nIRQ:   \t\t 12\nDevice Minor: \t 3\nGPU Excluded:\t No\n");
    put("/proc/driver/nvidia/gpus/0000:0b:00.0/information", "Device Minor: \t x\n");
    put("/proc/driver/nvidia/capabilities/gpu3/mig/gi2/access",
        "DeviceFileMinor: 21\nDeviceFileMode: 292\n");
    put("/proc/driver/nvidia/capabilities/gpu3/mig/gi2/ci0/access", "DeviceFileMinor: 22\n");
    put("/dev/nvidia-uvm", "");
    return 0;
}

static int clean(void **state)
{
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

static bool mounts(const struct dv_cdi_edits *e, const char *host, const char *place)
{
    char full[PATH_MAX];
    snprintf(full, sizeof full, "%s%s", root, host);
    for (size_t i = 0; i < e->places.n; i++)
        if (!strcmp(e->places.items[i], place))
            return !strcmp(e->hosts.items[i], full);
    return false;
}

static void test_libraries(void **state)
{
    dv_cleanup(dv_cdi_edits_done) struct dv_cdi_edits e = {0};
    struct dv_err err = {0};
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/lib/libcuda.so.1", root);
    assert_int_equal(dv_cdi_driver_libraries(&e, path, &err), 0);
    assert_int_equal(e.places.n, 4); /* two names in two folders */
    assert_true(mounts(&e, "/lib/libnvidia-ptxjitcompiler.so.580.95.05",
                       "/usr/lib64/libnvidia-ptxjitcompiler.so.1"));
    assert_true(mounts(&e, "/lib/libnvidia-ptxjitcompiler.so.580.95.05",
                       "/usr/lib64/libnvidia-ptxjitcompiler.so.580.95.05"));
    snprintf(path, sizeof path, "%s/lib/libc.so.6", root);
    assert_int_equal(dv_cdi_driver_libraries(&e, path, &err), -ENOENT);
    assert_int_equal(dv_cdi_driver_libraries(&e, "/nowhere/libcuda.so.1", &err), -ENOENT);
    assert_non_null(strstr(err.msg, "/nowhere/libcuda.so.1"));
}

static void test_tools(void **state)
{
    dv_cleanup(dv_cdi_edits_done) struct dv_cdi_edits e = {0};
    dv_cdi_driver_tools(&e, root);
    assert_int_equal(e.places.n, 1);
    assert_true(mounts(&e, "/usr/bin/nvidia-smi", "/usr/bin/nvidia-smi"));
}

static void test_nodes(void **state)
{
    dv_cleanup(dv_cdi_edits_done) struct dv_cdi_edits whole = {0}, mig = {0};
    struct dv_cdi_gpu gpu = {.pci = "00000000:0A:00.0"};
    struct dv_err err = {0};
    assert_int_equal(dv_cdi_driver_nodes(&whole, root, &gpu, &err), 0);
    assert_int_equal(whole.nodes.n, 3); /* nvidia-modeset is not there */
    assert_string_equal(whole.nodes.items[0], "/dev/nvidia3");
    assert_string_equal(whole.nodes.items[1], "/dev/nvidiactl");
    assert_string_equal(whole.nodes.items[2], "/dev/nvidia-uvm");
    gpu = (struct dv_cdi_gpu){.pci = "0000:0a:00.0", .mig = true, .gi = 2, .ci = 0};
    assert_int_equal(dv_cdi_driver_nodes(&mig, root, &gpu, &err), 0);
    assert_int_equal(mig.nodes.n, 5);
    assert_string_equal(mig.nodes.items[3], "/dev/nvidia-caps/nvidia-cap21");
    assert_string_equal(mig.nodes.items[4], "/dev/nvidia-caps/nvidia-cap22");
    gpu.ci = 1;
    assert_int_equal(dv_cdi_driver_nodes(&mig, root, &gpu, &err), -ENOENT);
    gpu.pci = "0000:0b:00.0";
    assert_int_equal(dv_cdi_driver_nodes(&mig, root, &gpu, &err), -ENOENT);
    gpu.pci = "0000:0c:00.0";
    assert_int_equal(dv_cdi_driver_nodes(&mig, root, &gpu, &err), -ENOENT);
    gpu.pci = "../../etc";
    assert_int_equal(dv_cdi_driver_nodes(&mig, root, &gpu, &err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_libraries),
        cmocka_unit_test(test_tools),
        cmocka_unit_test(test_nodes),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
