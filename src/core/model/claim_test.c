/* SPDX-License-Identifier: Apache-2.0 */
#include "model/claim.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct dv_gpu gpu = {.index = 3,
                                  .uuid = "GPU-0badcafe-0000-0000-0000-000000000003",
                                  .model = "NVIDIA A100-SXM4-40GB",
                                  .pci_device_id = 0x20B0};
static const struct dv_device device = {
    .uuid = "MIG-11111111-2222-5333-8444-555555555555", .gpu = 3, .mig = true};

static void test_selectors(void **state)
{
    static const struct {
        const char *text;
        enum dv_selector_kind kind;
        bool matches;
    } cases[] = {
        {"any", DV_SELECTOR_ANY, true},
        {"3", DV_SELECTOR_INDEX, true},
        {"2", DV_SELECTOR_INDEX, false},
        {"GPU-0badcafe", DV_SELECTOR_UUID, true},
        {"gpu-0BADCAFE-0000-0000-0000-000000000003", DV_SELECTOR_UUID, true},
        {"GPU-0badcaff", DV_SELECTOR_UUID, false},
        {"MIG-1111", DV_SELECTOR_UUID, true},
        {"a100", DV_SELECTOR_MODEL, true},
        {"A100-40GB", DV_SELECTOR_MODEL, true},
        {"NVIDIA A100-SXM4-40GB", DV_SELECTOR_MODEL, true},
        {"A100-80GB", DV_SELECTOR_MODEL, false},
        {"no-such-model", DV_SELECTOR_MODEL, false},
    };
    struct dv_err err = {0};
    for (size_t i = 0; i < DV_ARRAY_SIZE(cases); i++) {
        struct dv_selector s;
        assert_int_equal(dv_claim_selector_parse(cases[i].text, &s, &err), 0);
        assert_int_equal(s.kind, cases[i].kind);
        assert_string_equal(s.text, cases[i].text);
        assert_int_equal(dv_claim_selector_matches(&s, &gpu, &device), cases[i].matches);
    }
    static const char *const bad[] = {"", "64", "99999999999999999999", "GPU-", "MIG-1", "a\nb"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        struct dv_selector s;
        assert_true(dv_claim_selector_parse(bad[i], &s, &err) < 0);
    }
    char huge[300];
    memset(huge, 'x', sizeof huge - 1);
    huge[sizeof huge - 1] = 0;
    struct dv_selector s;
    assert_int_equal(dv_claim_selector_parse(huge, &s, &err), -EINVAL);
}

static void test_words(void **state)
{
    enum dv_mode mode;
    enum dv_tier tier;
    struct dv_err err = {0};
    for (int m = DV_MODE_AUTO; m <= DV_MODE_GOVERNED; m++) {
        assert_int_equal(dv_device_mode_parse(dv_device_mode_name((enum dv_mode)m), &mode, &err),
                         0);
        assert_int_equal(mode, m);
    }
    assert_int_equal(dv_device_mode_parse("govern", &mode, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "did you mean \"governed\"?"));
    assert_non_null(strstr(err.msg, "auto, exclusive, mps, timeslice or governed expected"));
    assert_int_equal(dv_claim_tier_parse("lc", &tier, &err), 0);
    assert_int_equal(tier, DV_TIER_LATENCY_CRITICAL);
    assert_int_equal(dv_claim_tier_parse("", &tier, &err), -EINVAL);
    assert_string_equal(dv_device_wall_name(DV_WALL_COOPERATIVE), "cooperative");
    assert_string_equal(dv_device_wall_name(DV_WALL_HARDWARE), "hardware");
}

/* Each row: what is shared how, and the two walls by their first letters. */
static void test_walls(void **state)
{
    static const struct {
        enum dv_mode mode;
        bool equal, sized, mig, limits, namespaces;
        char memory, compute;
    } rows[] = {
        {DV_MODE_EXCLUSIVE, 0, 0, 0, 0, 0, 'h', 'h'}, {DV_MODE_EXCLUSIVE, 0, 0, 1, 1, 1, 'h', 'h'},
        {DV_MODE_GOVERNED, 0, 1, 0, 0, 0, 'c', 'c'},  {DV_MODE_GOVERNED, 1, 0, 0, 1, 1, 'd', 'c'},
        {DV_MODE_GOVERNED, 1, 1, 1, 1, 1, 'c', 'c'},  {DV_MODE_MPS, 0, 1, 0, 0, 0, 'c', 'c'},
        {DV_MODE_MPS, 1, 0, 0, 0, 0, 'd', 'd'},       {DV_MODE_MPS, 1, 0, 1, 0, 0, 'c', 'c'},
        {DV_MODE_MPS, 0, 1, 0, 0, 1, 'd', 'd'},       {DV_MODE_MPS, 0, 1, 0, 1, 0, 'd', 'c'},
        {DV_MODE_MPS, 0, 1, 1, 1, 0, 'c', 'c'},       {DV_MODE_TIMESLICE, 1, 0, 0, 0, 1, 'n', 'n'},
        {DV_MODE_TIMESLICE, 1, 1, 0, 0, 0, 'c', 'n'}, {DV_MODE_TIMESLICE, 1, 0, 0, 1, 0, 'd', 'n'},
        {DV_MODE_TIMESLICE, 1, 1, 1, 1, 0, 'c', 'n'}, {DV_MODE_AUTO, 0, 0, 0, 1, 1, 'n', 'n'},
        {DV_MODE_MPS, 0, 1, 1, 0, 1, 'c', 'c'},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(rows); i++) {
        struct dv_gpu g = {.memory_limits = rows[i].limits, .mps_namespaces = rows[i].namespaces};
        struct dv_device d = {.mig = rows[i].mig, .layout = DV_MODE_MPS};
        enum dv_wall memory, compute;
        dv_device_walls(&g, &d, rows[i].mode, rows[i].equal, rows[i].sized, &memory, &compute);
        if (dv_device_wall_name(memory)[0] != rows[i].memory ||
            dv_device_wall_name(compute)[0] != rows[i].compute)
            fail_msg("row %zu: %s, %s", i, dv_device_wall_name(memory),
                     dv_device_wall_name(compute));
    }
    /* Without a layout nothing keeps a process from staying out of MPS. */
    struct dv_gpu g = {.mps_namespaces = true};
    struct dv_device d = {.layout = DV_MODE_AUTO};
    enum dv_wall memory, compute;
    dv_device_walls(&g, &d, DV_MODE_MPS, false, true, &memory, &compute);
    assert_true(memory == DV_WALL_COOPERATIVE && compute == DV_WALL_COOPERATIVE);
}

static void test_how_many_slices(void **state)
{
    struct dv_gpu g = {.mps_clients = 48};
    struct dv_device whole = {.memory_bytes = 40 * DV_GIB, .compute = 7000};
    struct dv_device small = {.memory_bytes = 5 * DV_GIB, .compute = 1000, .mig = true};
    assert_int_equal(dv_device_slices_max(&g, &whole, DV_MODE_EXCLUSIVE), 1);
    assert_int_equal(dv_device_slices_max(&g, &whole, DV_MODE_GOVERNED), UINT32_MAX);
    assert_int_equal(dv_device_slices_max(&g, &whole, DV_MODE_TIMESLICE), 4);
    assert_int_equal(dv_device_slices_max(&g, &whole, DV_MODE_MPS), 48);
    assert_int_equal(dv_device_slices_max(&g, &small, DV_MODE_MPS), 6);
    g.mps_clients = 3; /* a seventh of 3 is still one */
    assert_int_equal(dv_device_slices_max(&g, &small, DV_MODE_MPS), 1);
    g.mps_clients = 0;
    assert_int_equal(dv_device_slices_max(&g, &small, DV_MODE_MPS), UINT32_MAX);
    whole.replicas = 9;
    assert_int_equal(dv_device_slices_max(&g, &whole, DV_MODE_MPS), 9);
    assert_int_equal(dv_device_slices_max(&g, &whole, DV_MODE_TIMESLICE), 9);
    assert_int_equal(dv_device_slices_max(&g, &whole, DV_MODE_GOVERNED), 9);
    for (uint32_t n = 1; n < 200; n++) {
        struct dv_device_part p = dv_device_part(&whole, n);
        assert_true(p.memory_bytes * n <= whole.memory_bytes && p.compute * n <= whole.compute);
        assert_true(p.memory_bytes % DV_MIB == 0);
        assert_true((p.memory_bytes + DV_MIB) * n > whole.memory_bytes);
    }
}

static void test_check(void **state)
{
    struct dv_claim c = {.id = 1, .tenant = "a"};
    struct dv_err err = {0};
    assert_int_equal(dv_claim_check(&c, &err), 0);
    c.compute = 7001;
    assert_int_equal(dv_claim_check(&c, &err), -ERANGE);
    c.compute = 7000;
    c.priority = 101;
    assert_int_equal(dv_claim_check(&c, &err), -ERANGE);
    c.priority = -100;
    assert_int_equal(dv_claim_check(&c, &err), 0);
    c.tenant[0] = '\n';
    assert_int_equal(dv_claim_check(&c, &err), -EINVAL);
    c.tenant[0] = 'a';
    c.id = 0;
    assert_int_equal(dv_claim_check(&c, &err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_selectors), cmocka_unit_test(test_words),
        cmocka_unit_test(test_walls),     cmocka_unit_test(test_how_many_slices),
        cmocka_unit_test(test_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
