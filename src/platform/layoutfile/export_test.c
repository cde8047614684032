/* SPDX-License-Identifier: Apache-2.0 */
/* mig-parted's format as it is written: exact texts, and that they are read again. */
#include "layoutfile/layoutfile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct dv_gpu gpu(uint32_t index, uint32_t board, bool mig)
{
    return (struct dv_gpu){
        .index = index, .pci_device_id = board, .mig_capable = board != 0x1EB8, .mig_enabled = mig};
}

static struct dv_device device(uint32_t index, const char *profile)
{
    struct dv_device d = {.gpu = index, .mig = true};
    snprintf(d.profile, sizeof d.profile, "%s", profile);
    return d;
}

static void assert_export(struct dv_gpu *gpus, size_t n_gpus, struct dv_device *devices,
                          size_t n_devices, const char *expected)
{
    struct dv_snapshot s = {
        .gpus = gpus, .n_gpus = n_gpus, .devices = devices, .n_devices = n_devices};
    dv_cleanup(dv_str_done) struct dv_str out = {0};
    dv_cleanup(dv_layout_freep) struct dv_layout *l = NULL;
    struct dv_layoutfile_info info;
    struct dv_err err = {{0}};
    dv_layoutfile_export(&s, "current", &out);
    assert_string_equal(dv_str_get(&out), expected);
    if (dv_layoutfile_read("f.yaml", out.data, out.len, "current", &l, &info, &err) < 0)
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < n_gpus; i++) {
        const struct dv_layout_gpu *e = dv_layout_find(l, &gpus[i]);
        if (!gpus[i].mig_capable && !e)
            continue; /* "all" passes over it */
        assert_non_null(e);
        assert_int_equal(dv_layout_is_mig(e), gpus[i].mig_enabled);
    }
}

static void test_export_alike(void **state)
{
    struct dv_gpu gpus[] = {gpu(0, 0x20B0, true), gpu(1, 0x20B0, true)};
    struct dv_device devices[] = {device(0, "3g.20gb"), device(0, "1g.10gb"), device(0, "1g.5gb"),
                                  device(0, "1g.5gb"),  device(1, "1g.5gb"),  device(1, "1g.10gb"),
                                  device(1, "3g.20gb"), device(1, "1g.5gb")};
    assert_export(gpus, 2, devices, 8,
                  "version: v1\nmig-configs:\n  current:\n"
                  "  - devices: all\n    mig-enabled: true\n    mig-devices:\n"
                  "      1g.5gb: 2\n      1g.10gb: 1\n      3g.20gb: 1\n");
}

static void test_export_one_board(void **state)
{
    struct dv_gpu gpus[] = {gpu(0, 0x20B0, false), gpu(1, 0x20B0, true), gpu(2, 0x20B0, false),
                            gpu(3, 0x20B0, true)};
    struct dv_device devices[] = {device(1, "1c.3g.20gb"), device(1, "2c.3g.20gb")};
    assert_export(gpus, 4, devices, 2,
                  "version: v1\nmig-configs:\n  current:\n"
                  "  - devices: [0, 2]\n    mig-enabled: false\n    mig-devices: {}\n"
                  "  - devices: [1]\n    mig-enabled: true\n    mig-devices:\n"
                  "      1c.3g.20gb: 1\n      2c.3g.20gb: 1\n"
                  "  - devices: [3]\n    mig-enabled: true\n    mig-devices: {}\n");
}

static void test_export_boards(void **state)
{
    struct dv_gpu gpus[] = {gpu(0, 0x20B0, true), gpu(1, 0x1EB8, false), gpu(2, 0x2330, false),
                            gpu(3, 0x2330, true)};
    struct dv_device devices[] = {device(0, "7g.40gb"), device(3, "1g.10gb+me")};
    assert_export(gpus, 4, devices, 2,
                  "version: v1\nmig-configs:\n  current:\n"
                  "  - device-filter: \"0x20B010DE\"\n    devices: all\n    mig-enabled: true\n"
                  "    mig-devices:\n      7g.40gb: 1\n"
                  "  - device-filter: [\"0x1EB810DE\", \"0x233010DE\"]\n    devices: [1, 2]\n"
                  "    mig-enabled: false\n    mig-devices: {}\n"
                  "  - device-filter: \"0x233010DE\"\n    devices: [3]\n    mig-enabled: true\n"
                  "    mig-devices:\n      1g.10gb+me: 1\n");
    struct dv_gpu off[] = {gpu(0, 0x20B0, false), gpu(1, 0x2330, false)};
    assert_export(off, 2, NULL, 0,
                  "version: v1\nmig-configs:\n  current:\n"
                  "  - devices: all\n    mig-enabled: false\n    mig-devices: {}\n");
}

static void assert_generated(struct dv_gpu *gpus, const struct dv_mig_geometry *const *geometries,
                             size_t n, int configs, const char *expected)
{
    static char names[DV_LAYOUTFILE_CONFIGS_MAX][64];
    struct dv_snapshot s = {.gpus = gpus, .n_gpus = n};
    dv_cleanup(dv_str_done) struct dv_str out = {0};
    struct dv_err err = {{0}};
    dv_layoutfile_generate(&s, geometries, &out);
    assert_string_equal(dv_str_get(&out), expected);
    assert_int_equal(dv_layoutfile_configs("f.yaml", out.data, out.len, names, &err), configs);
    for (int i = 0; i < configs; i++) {
        struct dv_layout *l = NULL;
        struct dv_layoutfile_info info;
        int r = dv_layoutfile_read("f.yaml", out.data, out.len, names[i], &l, &info, &err);
        r = r ? r : dv_layout_check(l, &s, geometries, &err);
        if (r < 0)
            fail_msg("%s: %s", names[i], err.msg);
        dv_layout_free(l);
    }
}

static void test_generate_one_board(void **state)
{
    struct dv_gpu gpus[] = {gpu(0, 0x20B0, false), gpu(1, 0x1EB8, false)};
    const struct dv_mig_geometry *geometries[] = {dv_mig_geometry_find("A100-40GB"), NULL};
    assert_generated(gpus, geometries, 2, 10,
                     "version: v1\n"
                     "mig-configs:\n"
                     "  all-1g.5gb:\n"
                     "  - devices: all\n"
                     "    mig-enabled: true\n"
                     "    mig-devices:\n"
                     "      1g.5gb: 7\n"
                     "  all-1g.5gb.me:\n"
                     "  - devices: all\n"
                     "    mig-enabled: true\n"
                     "    mig-devices:\n"
                     "      1g.5gb+me: 1\n"
                     "  all-1g.10gb:\n"
                     "  - devices: all\n"
                     "    mig-enabled: true\n"
                     "    mig-devices:\n"
                     "      1g.10gb: 4\n"
                     "  all-2g.10gb:\n"
                     "  - devices: all\n"
                     "    mig-enabled: true\n"
                     "    mig-devices:\n"
                     "      2g.10gb: 3\n"
                     "  all-3g.20gb:\n"
                     "  - devices: all\n"
                     "    mig-enabled: true\n"
                     "    mig-devices:\n"
                     "      3g.20gb: 2\n"
                     "  all-4g.20gb:\n"
                     "  - devices: all\n"
                     "    mig-enabled: true\n"
                     "    mig-devices:\n"
                     "      4g.20gb: 1\n"
                     "  all-7g.40gb:\n"
                     "  - devices: all\n"
                     "    mig-enabled: true\n"
                     "    mig-devices:\n"
                     "      7g.40gb: 1\n"
                     "  all-balanced:\n"
                     "  - devices: all\n"
                     "    mig-enabled: true\n"
                     "    mig-devices:\n"
                     "      1g.5gb: 2\n"
                     "      2g.10gb: 1\n"
                     "      3g.20gb: 1\n"
                     "  all-disabled:\n"
                     "  - devices: all\n"
                     "    mig-enabled: false\n"
                     "    mig-devices: {}\n"
                     "  all-enabled:\n"
                     "  - devices: all\n"
                     "    mig-enabled: true\n"
                     "    mig-devices: {}\n");
}

static void test_generate_two_boards(void **state)
{
    struct dv_gpu gpus[] = {gpu(0, 0x20B2, false), gpu(1, 0x20B0, false)};
    const struct dv_mig_geometry *geometries[] = {dv_mig_geometry_find("A100-80GB"),
                                                  dv_mig_geometry_find("A100-40GB")};
    struct dv_snapshot s = {.gpus = gpus, .n_gpus = 2};
    dv_cleanup(dv_str_done) struct dv_str out = {0};
    dv_layoutfile_generate(&s, geometries, &out);
    /* One name, two counts: the smaller first. */
    assert_non_null(strstr(dv_str_get(&out), "  all-1g.10gb:\n"
                                             "  - device-filter: [\"0x20B010DE\"]\n"
                                             "    devices: all\n"
                                             "    mig-enabled: true\n"
                                             "    mig-devices:\n"
                                             "      1g.10gb: 4\n"
                                             "  - device-filter: [\"0x20B210DE\"]\n"
                                             "    devices: all\n"
                                             "    mig-enabled: true\n"
                                             "    mig-devices:\n"
                                             "      1g.10gb: 7\n"));
    assert_non_null(strstr(dv_str_get(&out), "  all-balanced:\n"
                                             "  - device-filter: [\"0x20B010DE\"]\n"
                                             "    devices: all\n"
                                             "    mig-enabled: true\n"
                                             "    mig-devices:\n"
                                             "      1g.5gb: 2\n"));
    assert_generated(gpus, geometries, 2, 16, dv_str_get(&out));
}

/* The order is that of the configurations' names, in which '+' is '.'. */
static void test_generate_in_order(void **state)
{
    static char names[DV_LAYOUTFILE_CONFIGS_MAX][64];
    static const char *const expected[] = {
        "all-1g.24gb",        "all-1g.24gb-me", "all-1g.24gb.gfx", "all-1g.24gb.me",
        "all-1g.24gb.me.all", "all-2g.48gb",    "all-2g.48gb-me"};
    struct dv_gpu one = gpu(0, 0x2BB5, false);
    struct dv_snapshot s = {.gpus = &one, .n_gpus = 1};
    const struct dv_mig_geometry *g = dv_mig_geometry_find("RTX-PRO-6000");
    dv_cleanup(dv_str_done) struct dv_str out = {0};
    struct dv_err err = {{0}};
    assert_non_null(g);
    dv_layoutfile_generate(&s, &g, &out);
    assert_true(dv_layoutfile_configs("f.yaml", out.data, out.len, names, &err) >
                (int)DV_ARRAY_SIZE(expected));
    for (size_t i = 0; i < DV_ARRAY_SIZE(expected); i++)
        assert_string_equal(names[i], expected[i]);
}

/* Every geometry that is known: what is generated can be read, and can be had. */
static void test_generate_all_boards(void **state)
{
    static char names[DV_LAYOUTFILE_CONFIGS_MAX][64];
    const struct dv_mig_geometry *g;
    for (size_t i = 0; (g = dv_mig_geometry_at(i)); i++) {
        struct dv_gpu one = gpu(0, 0x20B0, false);
        struct dv_snapshot s = {.gpus = &one, .n_gpus = 1};
        dv_cleanup(dv_str_done) struct dv_str out = {0};
        struct dv_err err = {{0}};
        dv_layoutfile_generate(&s, &g, &out);
        int n = dv_layoutfile_configs("f.yaml", out.data, out.len, names, &err);
        assert_true(n >= (int)g->n_profiles + 2);
        assert_generated(&one, &g, 1, n, dv_str_get(&out));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_export_alike),        cmocka_unit_test(test_export_one_board),
        cmocka_unit_test(test_export_boards),       cmocka_unit_test(test_generate_one_board),
        cmocka_unit_test(test_generate_two_boards), cmocka_unit_test(test_generate_in_order),
        cmocka_unit_test(test_generate_all_boards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
