/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/allocation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CDI "divvy.dev/slice=a0123456789abcdef"

/* Two GPUs of a node are granted. */
static struct dv_offer_device devices[] = {{.uuid = "GPU-a", .name = "GPU-a"},
                                           {.uuid = "GPU-b", .name = "1"}};
static const struct dv_offers offers = {.devices = devices, .n_devices = 2};
static const struct dv_offer whole = {.name = "nvidia.com/gpu", .mode = DV_MODE_EXCLUSIVE};
static const struct dv_offer governed = {
    .name = "divvy.dev/gpu-percent", .kind = DV_OFFER_PERCENT, .mode = DV_MODE_GOVERNED};

static struct dv_allocation make(uint32_t by, const struct dv_offer *offer, bool extras)
{
    static const struct dv_offer_answer answer = {.grants = {{.device = 0}, {.device = 1}}, .n = 2};
    struct dv_plugin_flags flags;
    struct dv_allocation a;
    dv_plugin_flags_init(&flags);
    flags.plugin.list = by;
    flags.gds = flags.mofed = flags.gdrcopy = extras;
    const char *cdi = dv_allocation_by_cdi(&flags, offer) ? CDI : NULL;
    assert_int_equal(0, dv_allocation_make(&flags, &offers, offer, &answer, cdi, &a));
    return a;
}

static const char *value(const struct dv_allocation *a, const char *name)
{
    for (size_t i = 0; i < a->container.env_count; i++)
        if (!strcmp(a->container.envs[i].name, name))
            return a->container.envs[i].value;
    return NULL;
}

static void envvar_lists_the_devices(void **state)
{
    (void)state;
    struct dv_allocation a = make(DV_PLUGIN_LIST_ENVVAR, &whole, false);
    assert_string_equal("GPU-a,1", value(&a, "NVIDIA_VISIBLE_DEVICES"));
    assert_int_equal(1, a.container.env_count);
    assert_int_equal(0, a.container.mount_count + a.container.annotation_count +
                            a.container.cdi_devices.count + a.container.device_node_count);
    dv_allocation_done(&a);
}

static void volume_mounts_name_them_by_files(void **state)
{
    (void)state;
    struct dv_allocation a = make(DV_PLUGIN_LIST_VOLUME_MOUNTS, &whole, false);
    assert_string_equal("/var/run/nvidia-container-devices", value(&a, "NVIDIA_VISIBLE_DEVICES"));
    assert_int_equal(2, a.container.mount_count);
    assert_string_equal("/dev/null", a.container.mounts[1].host_path);
    assert_string_equal("/var/run/nvidia-container-devices/1",
                        a.container.mounts[1].container_path);
    dv_allocation_done(&a);
}

static void cdi_names_one_device_for_all(void **state)
{
    (void)state;
    struct dv_allocation a = make(DV_PLUGIN_LIST_CDI_CRI, &whole, false);
    assert_int_equal(1, a.container.cdi_devices.count);
    assert_string_equal(CDI, a.container.cdi_devices.ids[0]);
    assert_int_equal(0, a.container.env_count + a.container.annotation_count);
    dv_allocation_done(&a);

    a = make(DV_PLUGIN_LIST_CDI_ANNOTATIONS, &whole, false);
    assert_int_equal(0, a.container.cdi_devices.count);
    assert_int_equal(1, a.container.annotation_count);
    assert_string_equal("cdi.k8s.io/nvidia-device-plugin_a0123456789abcdef",
                        a.container.annotations[0].name);
    assert_string_equal(CDI, a.container.annotations[0].value);
    dv_allocation_done(&a);
}

static void several_strategies_go_together(void **state)
{
    (void)state;
    struct dv_allocation a = make(DV_PLUGIN_LIST_ENVVAR | DV_PLUGIN_LIST_CDI_CRI, &whole, true);
    assert_string_equal("GPU-a,1", value(&a, "NVIDIA_VISIBLE_DEVICES"));
    assert_string_equal("enabled", value(&a, "NVIDIA_GDS"));
    assert_string_equal("enabled", value(&a, "NVIDIA_MOFED"));
    assert_string_equal("enabled", value(&a, "NVIDIA_GDRCOPY"));
    assert_int_equal(1, a.container.cdi_devices.count);
    dv_allocation_done(&a);
}

static void a_wall_comes_by_cdi_whatever_is_set(void **state)
{
    (void)state;
    for (uint32_t by = 1; by < 16; by++) {
        struct dv_allocation a = make(by, &governed, true);
        assert_int_equal(1, a.container.cdi_devices.count + a.container.annotation_count > 0);
        assert_int_equal(0, a.container.env_count + a.container.mount_count);
        dv_allocation_done(&a);
    }
}

static void device_nodes_lie_below_the_drivers_root(void **state)
{
    (void)state;
    static const char *const nodes[] = {"/dev/nvidia0", "/dev/nvidiactl"};
    struct dv_allocation a = make(DV_PLUGIN_LIST_ENVVAR, &whole, false);
    assert_int_equal(0, dv_allocation_nodes(&a, "/run/driver/", nodes, 2));
    assert_string_equal("/run/driver/dev/nvidia0", a.container.device_nodes[0].host_path);
    assert_string_equal("/dev/nvidia0", a.container.device_nodes[0].container_path);
    assert_string_equal("rw", a.container.device_nodes[1].permissions);
    dv_allocation_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(envvar_lists_the_devices),
        cmocka_unit_test(volume_mounts_name_them_by_files),
        cmocka_unit_test(cdi_names_one_device_for_all),
        cmocka_unit_test(several_strategies_go_together),
        cmocka_unit_test(a_wall_comes_by_cdi_whatever_is_set),
        cmocka_unit_test(device_nodes_lie_below_the_drivers_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
