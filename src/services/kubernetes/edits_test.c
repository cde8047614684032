/* SPDX-License-Identifier: Apache-2.0 */
/* What containers are given, on a host with a driver (files of the test's own) and on a simulated
 * one. */
#include "kubernetes/edits.h"

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

static char root[] = "/tmp/divvy-edits-XXXXXX";
static char libcuda[PATH_MAX], libnvml[PATH_MAX];
static struct dv_edits_host host = {.api_socket = "/run/divvy/divvyd.sock",
                                    .tenant_folder = "/run/divvy/divvyd.sock.tenant",
                                    .lib_dir = "/usr/lib/divvy",
                                    .mps_shm = "/dev/shm/divvy",
                                    .root = root};

static void put(const char *path, const char *text)
{
    char full[PATH_MAX];
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
}

static int make(void **state)
{
    assert_non_null(mkdtemp(root));
    put("/lib/libcuda.so.580.95.05", "");
    put("/lib/libnvidia-nvvm.so.580.95.05", "");
    put("/proc/driver/nvidia/gpus/0000:0a:00.0/information", "Device Minor: \t 0\n");
    put("/proc/driver/nvidia/gpus/0000:0b:00.0/information", "Device Minor: \t 1\n");
    snprintf(libcuda, sizeof libcuda, "%s/lib/libcuda.so.580.95.05", root);
    snprintf(libnvml, sizeof libnvml, "%s/lib/libnvidia-ml.so.1", root);
    host.libcuda = libcuda;
    host.libnvml = libnvml;
    return 0;
}

static int clean(void **state)
{
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

static char devices[2][DV_WORKLOAD_DEVICE_SIZE] = {"GPU-1", "GPU-2"};
static const struct dv_container_request request = {
    .resource = "nvidia.com/gpu", .devices = devices, .n_devices = 2};

static int edits(enum dv_mode mode, size_t n, const char *pipe, struct dv_cdi_edits *ret,
                 struct dv_err *err)
{
    struct dv_container_grant grants[2] = {{.id = "GPU-1", .device = "GPU-1", .mode = mode},
                                           {.id = "GPU-2", .device = "GPU-2", .mode = mode}};
    struct dv_edits_slice slices[2] = {{&grants[0], {.pci = "00000000:0A:00.0"}},
                                       {&grants[1], {.pci = "00000000:0B:00.0"}}};
    struct dv_edits_spec spec = {.request = &request,
                                 .slices = slices,
                                 .n = n,
                                 .mps_pipe = pipe,
                                 .mps_percent = 25,
                                 .mps_bytes = DV_GIB};
    return dv_edits_make(&host, &spec, ret, err);
}

/* What is mounted there; "" when nothing is. */
static const char *at(const struct dv_cdi_edits *e, const char *place)
{
    for (size_t i = 0; i < e->places.n; i++)
        if (!strcmp(e->places.items[i], place))
            return e->hosts.items[i];
    return "";
}

static bool has(const struct dv_cdi_list *list, const char *text)
{
    for (size_t i = 0; i < list->n; i++)
        if (!strcmp(list->items[i], text))
            return true;
    return false;
}

static void test_a_governed_slice(void **state)
{
    static const char standin[] = "/usr/lib/divvy/standin/libcuda.so.1";
    static const char *const names[] = {"libcuda.so", "libcuda.so.1", "libnvidia-ml.so.1"};
    dv_cleanup(dv_cdi_edits_done) struct dv_cdi_edits e = {0};
    struct dv_err err = {0};
    char place[128];
    assert_int_equal(edits(DV_MODE_GOVERNED, 1, NULL, &e, &err), 0);
    /* Wherever a loader looks there is the stand-in, and nothing else of these names. */
    for (size_t i = 0; dv_cdi_library_folders[i]; i++)
        for (size_t k = 0; k < DV_ARRAY_SIZE(names); k++) {
            snprintf(place, sizeof place, "%s/%s", dv_cdi_library_folders[i], names[k]);
            assert_string_equal(at(&e, place), standin);
        }
    for (size_t i = 0; i < e.places.n; i++)
        if (strstr(e.hosts.items[i], "libcuda.so.580"))
            assert_string_equal(e.places.items[i], DV_CONTAINERS_LIBCUDA);
    assert_string_equal(at(&e, DV_CONTAINERS_LIBNVML), libnvml);
    assert_string_equal(at(&e, "/run/divvy/tenant"), "/run/divvy/divvyd.sock.tenant");
    assert_true(at(&e, "/usr/lib64/libnvidia-nvvm.so.580.95.05")[0]);
    /* The daemon's API stays outside; so do the other GPUs. */
    assert_false(has(&e.hosts, "/run/divvy") || has(&e.hosts, "/run/divvy/divvyd.sock"));
    assert_true(has(&e.nodes, "/dev/nvidia0"));
    assert_false(has(&e.nodes, "/dev/nvidia1"));
    assert_int_equal(e.env.n, 1);
    assert_string_equal(e.env.items[0], "NVIDIA_VISIBLE_DEVICES=void");
    assert_string_equal(e.hook.items[0], "/usr/lib/divvy/divvy-hook");
    assert_true(has(&e.hook, "GPU-1,GPU-2"));
    assert_false(has(&e.hook, "--mode"));
}

static void test_devices_of_its_own(void **state)
{
    dv_cleanup(dv_cdi_edits_done) struct dv_cdi_edits e = {0};
    struct dv_err err = {0};
    assert_int_equal(edits(DV_MODE_EXCLUSIVE, 2, NULL, &e, &err), 0);
    assert_string_equal(at(&e, "/usr/lib64/libcuda.so.1"), libcuda);
    assert_string_equal(at(&e, "/run/divvy/tenant"), "");
    assert_true(has(&e.nodes, "/dev/nvidia0") && has(&e.nodes, "/dev/nvidia1"));
}

static void test_mps(void **state)
{
    dv_cleanup(dv_cdi_edits_done) struct dv_cdi_edits e = {0};
    struct dv_err err = {0};
    assert_int_equal(edits(DV_MODE_MPS, 1, "/var/lib/divvy/mps/gpu0/pipe", &e, &err), 0);
    assert_string_equal(at(&e, DV_CONTAINERS_MPS), "/var/lib/divvy/mps/gpu0/pipe");
    assert_string_equal(at(&e, "/dev/shm"), "/dev/shm/divvy");
    assert_true(has(&e.env, "CUDA_MPS_PIPE_DIRECTORY=" DV_CONTAINERS_MPS));
    assert_true(has(&e.env, "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=25"));
    assert_true(has(&e.env, "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT=0=1024M"));
}

static void test_simulated(void **state)
{
    dv_cleanup(dv_cdi_edits_done) struct dv_cdi_edits one = {0}, two = {0};
    struct dv_err err = {0};
    host.sim_socket = "/tmp/sim.sock";
    assert_int_equal(edits(DV_MODE_GOVERNED, 1, NULL, &one, &err), 0);
    assert_int_equal(edits(DV_MODE_EXCLUSIVE, 2, NULL, &two, &err), 0);
    host.sim_socket = NULL;
    /* The socket of the node stays outside; each device is a file of its own. */
    assert_false(has(&one.hosts, "/tmp/sim.sock"));
    assert_string_equal(at(&one, DV_CONTAINERS_SIM_SOCKET), "/tmp/sim.sock.inside/socket");
    assert_string_equal(at(&one, "/run/divvy/sim-devices/GPU-1"), "/tmp/sim.sock.inside/GPU-1");
    assert_string_equal(at(&one, "/run/divvy/sim-devices/GPU-2"), "");
    assert_string_equal(at(&two, "/run/divvy/sim-devices/GPU-2"), "/tmp/sim.sock.inside/GPU-2");
    assert_string_equal(at(&one, "/usr/bin/nvidia-smi"), "/usr/lib/divvy/sim/bin/nvidia-smi");
    assert_int_equal(one.nodes.n, 0);
    for (size_t i = 0; i < two.env.n; i++) /* an environment decides nothing */
        assert_null(strstr(two.env.items[i], "CUDA_VISIBLE_DEVICES"));
}

static void test_what_cannot_be(void **state)
{
    static const enum dv_mode alone[] = {DV_MODE_GOVERNED, DV_MODE_MPS};
    struct dv_err err = {0};
    for (size_t i = 0; i < DV_ARRAY_SIZE(alone); i++) {
        dv_cleanup(dv_cdi_edits_done) struct dv_cdi_edits e = {0};
        assert_int_equal(edits(alone[i], 2, NULL, &e, &err), -EINVAL);
        assert_non_null(strstr(err.msg, "can have one"));
    }
    dv_cleanup(dv_cdi_edits_done) struct dv_cdi_edits e = {0}, turns = {0}, none = {0};
    assert_int_equal(edits(DV_MODE_AUTO, 1, NULL, &e, &err), -EINVAL);
    assert_int_equal(edits(DV_MODE_TIMESLICE, 2, NULL, &turns, &err), 0);
    host.libcuda = "";
    assert_int_equal(edits(DV_MODE_EXCLUSIVE, 1, NULL, &none, &err), -ENOENT);
    host.libcuda = libcuda;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_governed_slice),
        cmocka_unit_test(test_devices_of_its_own),
        cmocka_unit_test(test_mps),
        cmocka_unit_test(test_simulated),
        cmocka_unit_test(test_what_cannot_be),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
