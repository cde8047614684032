/* SPDX-License-Identifier: Apache-2.0 */
#include "model/layout.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct dv_gpu gpus[2] = {
    {.index = 0,
     .uuid = "GPU-aaaa0000",
     .model = "NVIDIA A100-SXM4-40GB",
     .pci_device_id = 0x20B0,
     .usable_bytes = 39 * DV_GIB,
     .mps_clients = 48,
     .mig_capable = true},
    {.index = 1, .uuid = "GPU-bbbb1111", .model = "Tesla T4", .usable_bytes = 15 * DV_GIB}};

static const struct dv_selector any = {.text = "all"};
static const struct dv_selector first = {.kind = DV_SELECTOR_INDEX, .text = "0"};
static const struct dv_selector second = {.kind = DV_SELECTOR_INDEX, .index = 1, .text = "1"};

static struct dv_layout_device device(const char *profile, enum dv_mode mode)
{
    struct dv_layout_device d = {.start = DV_MIG_UNPLACED, .sharing = {.mode = mode}};
    snprintf(d.profile, sizeof d.profile, "%s", profile);
    return d;
}

static int check_all(struct dv_layout *layout, struct dv_err *err)
{
    struct dv_snapshot s = {.gpus = gpus, .n_gpus = 2};
    const struct dv_mig_geometry *geometries[] = {dv_mig_geometry_find("A100-40GB"), NULL};
    err->msg[0] = 0;
    return dv_layout_check(layout, &s, geometries, err);
}

static int check(struct dv_layout_gpu *entries, uint32_t n, struct dv_err *err)
{
    struct dv_layout layout = {.has_cut = true, .entries = entries, .n_entries = n};
    return check_all(&layout, err);
}

static void test_good(void **state)
{
    struct dv_err err;
    struct dv_layout_gpu entries[] = {
        {.gpus = any, .line = 2, .devices = {device("", DV_MODE_GOVERNED)}, .n_devices = 1},
        {.gpus = first,
         .rank = 2,
         .line = 4,
         .devices = {device("3g.20gb", DV_MODE_AUTO), device("2g.10gb", DV_MODE_MPS)},
         .n_devices = 2}};
    entries[1].devices[0].start = 4;
    assert_int_equal(check(entries, 2, &err), 0);
    struct dv_layout layout = {.entries = entries, .n_entries = 2};
    assert_ptr_equal(dv_layout_find(&layout, &gpus[0]), &entries[1]);
    assert_ptr_equal(dv_layout_find(&layout, &gpus[1]), &entries[0]);
    assert_true(dv_layout_is_mig(&entries[1]));
    assert_false(dv_layout_is_mig(&entries[0]));
    assert_int_equal(check(NULL, 0, &err), 0);
}

static void assert_refused(struct dv_layout_gpu entry, const char *expected)
{
    struct dv_err err;
    entry.line = 7;
    assert_int_equal(check(&entry, 1, &err), -EINVAL);
    if (!strstr(err.msg, expected))
        fail_msg("\"%s\" is not in \"%s\"", expected, err.msg);
    assert_non_null(strstr(err.msg, "line 7"));
}

#define ENTRY(selector, n, ...)                                                                    \
    ((struct dv_layout_gpu){.gpus = selector, .devices = {__VA_ARGS__}, .n_devices = n})

static void test_bad_mig(void **state)
{
    struct dv_layout_gpu four = ENTRY(first, 4, device("3g.20gb", 0), device("3g.20gb", 0),
                                      device("3g.20gb", 0), device("3g.20gb", 0));
    assert_refused(four, "with 3g.20gb, 4 are asked of 2 such instances");
    assert_refused(ENTRY(first, 1, device("3g.21gb", 0)), "3g.20gb");
    assert_refused(ENTRY(second, 1, device("1g.5gb", 0)), "GPU 1 (Tesla T4): it cannot do MIG");
    assert_refused(ENTRY(first, 2, device("", 0), device("1g.5gb", 0)), "a whole GPU and other");
    struct dv_layout_gpu odd = ENTRY(first, 1, device("3g.20gb", 0));
    odd.devices[0].start = 1;
    assert_refused(odd, "3g.20gb cannot start at 1");
    assert_refused(ENTRY(first, 1, device("3c.4g.20gb", 0)), "no compute instance of 3 slices");
}

static void test_bad_sharing(void **state)
{
    struct dv_layout_gpu e = ENTRY(first, 1, device("", DV_MODE_EXCLUSIVE));
    e.devices[0].sharing.replicas = 4;
    assert_refused(e, "replicas of a device in mode exclusive");
    e.devices[0].sharing.mode = DV_MODE_TIMESLICE;
    e.devices[0].sharing.replicas = 1;
    assert_refused(e, "1 replicas");
    e.devices[0].sharing.mode = DV_MODE_MPS;
    e.devices[0].sharing.replicas = 49;
    assert_refused(e, "the driver takes at most 48 clients");
    struct dv_layout_gpu cut = ENTRY(first, 1, device("1g.5gb", DV_MODE_MPS));
    cut.devices[0].sharing.replicas = 7; /* a seventh of 48 is 6 */
    assert_refused(cut, "1g.5gb: 7 replicas under MPS, the driver takes at most 6 clients there");
    struct dv_layout_gpu part = ENTRY(first, 1, device("2c.3g.20gb", DV_MODE_MPS));
    part.devices[0].sharing.replicas = 14;
    assert_refused(part, "at most 13 clients there");
    e.devices[0].sharing.replicas = 4;
    e.devices[0].sharing.timeslice = DV_TIMESLICE_SHORT;
    assert_refused(e, "only timeslice has one");
}

static void test_bad_gpus(void **state)
{
    struct dv_err err;
    struct dv_selector third = {.kind = DV_SELECTOR_INDEX, .index = 2, .text = "2"};
    assert_refused(ENTRY(third, 1, device("", 0)), "no GPU \"2\" on this node; it has 2");
    struct dv_layout_gpu two[] = {
        {.gpus = first, .rank = 2, .line = 3, .devices = {device("", 0)}, .n_devices = 1},
        {.gpus = first, .rank = 2, .line = 9, .devices = {device("", 0)}, .n_devices = 1}};
    assert_int_equal(check(two, 2, &err), -EINVAL);
    assert_string_equal(err.msg, "line 3: GPU 0 (NVIDIA A100-SXM4-40GB): the entry of line 9 "
                                 "claims it too");
    two[1].rank = 1; /* the higher rank counts, and that is all right */
    assert_int_equal(check(two, 2, &err), 0);
}

static void test_filters(void **state)
{
    struct dv_layout_gpu e = ENTRY(any, 1, device("1g.5gb", 0));
    e.n_filters = 1;
    e.filters[0].device = 0x20B010DE;
    assert_true(dv_layout_means(&e, &gpus[0]));
    assert_false(dv_layout_means(&e, &gpus[1]));
    e.filters[0].subsystem = 0x146310DE;
    assert_false(dv_layout_means(&e, &gpus[0]));
    gpus[0].pci_subsystem_id = 0x146310DE;
    assert_true(dv_layout_means(&e, &gpus[0]));
    e.n_filters = 0;
    assert_true(dv_layout_means(&e, &gpus[1]));
    e.capable_only = true;
    assert_false(dv_layout_means(&e, &gpus[1]));
}

/* "1c.3g.20gb" three times is one GPU instance; a fourth begins the next. */
static void test_packing(void **state)
{
    struct dv_err err = {0};
    struct dv_layout_instance got[DV_LAYOUT_DEVICES_MAX];
    uint32_t n;
    struct dv_layout_gpu e =
        ENTRY(first, 5, device("1c.3g.20gb", 0), device("1g.5gb", 0), device("2c.3g.20gb", 0),
              device("1c.3g.20gb", 0), device("3g.20gb", 0));
    const struct dv_mig_geometry *g = dv_mig_geometry_find("A100-40GB");
    assert_int_equal(dv_layout_pack(&e, g, got, &n, &err), 0);
    assert_int_equal(n, 4);
    assert_int_equal(got[0].n_ci, 2);
    assert_int_equal(got[0].ci[1].slices, 2);
    assert_int_equal(got[0].ci[1].device, 2);
    assert_int_equal(got[1].n_ci, 1);
    assert_string_equal(g->profiles[got[1].profile].name, "1g.5gb");
    assert_int_equal(got[2].ci[0].slices, 1);
    assert_int_equal(got[3].ci[0].slices, 3);
}

static void test_rules(void **state)
{
    struct dv_device devices[] = {
        {.uuid = "MIG-a", .gpu = 0, .mig = true, .profile = "1g.5gb", .placement_start = 2},
        {.uuid = "MIG-b", .gpu = 0, .mig = true, .profile = "1g.5gb", .placement_start = 0},
        {.uuid = "MIG-c", .gpu = 0, .mig = true, .profile = "2g.10gb", .placement_start = 4},
        {.uuid = "GPU-bbbb1111", .gpu = 1}};
    struct dv_snapshot s = {.gpus = gpus, .n_gpus = 2, .devices = devices, .n_devices = 4};
    char list[][DV_UUID_SIZE] = {"0:2"};
    struct dv_layout_rule rules[] = {
        {.profile = "1g.5gb", .count = 1, .sharing = {DV_MODE_MPS, 2, 0}},
        {.profile = "*", .list = list, .n_list = 1, .sharing = {DV_MODE_GOVERNED, 0, 0}},
        {.profile = "", .sharing = {DV_MODE_TIMESLICE, 4, 0}}};
    struct dv_layout layout = {.rules = rules, .n_rules = 3};
    assert_int_equal(dv_layout_rule_for(&layout, &s, &devices[0]).mode, DV_MODE_AUTO);
    assert_int_equal(dv_layout_rule_for(&layout, &s, &devices[1]).mode, DV_MODE_MPS);
    assert_int_equal(dv_layout_rule_for(&layout, &s, &devices[2]).mode, DV_MODE_GOVERNED);
    assert_int_equal(dv_layout_rule_for(&layout, &s, &devices[3]).mode, DV_MODE_TIMESLICE);
    assert_int_equal(dv_layout_rule_for(&layout, &s, &devices[3]).replicas, 4);
}

static void test_rules_on_node(void **state)
{
    struct dv_err err;
    struct dv_layout_rule rule = {.line = 5, .sharing = {DV_MODE_MPS, 49, 0}};
    struct dv_layout layout = {.has_sharing = true, .rules = &rule, .n_rules = 1};
    assert_int_equal(check_all(&layout, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "line 5: GPU 0 (NVIDIA A100-SXM4-40GB): 49 "));
    rule.sharing.replicas = 48;
    assert_int_equal(check_all(&layout, &err), 0);
    strcpy(rule.profile, "1g.5gb"); /* takes its part of the clients */
    assert_int_equal(check_all(&layout, &err), -EINVAL);
    rule.sharing.replicas = 6;
    assert_int_equal(check_all(&layout, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),        cmocka_unit_test(test_bad_mig),
        cmocka_unit_test(test_bad_sharing), cmocka_unit_test(test_bad_gpus),
        cmocka_unit_test(test_filters),     cmocka_unit_test(test_packing),
        cmocka_unit_test(test_rules),       cmocka_unit_test(test_rules_on_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
