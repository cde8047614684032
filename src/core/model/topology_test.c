/* SPDX-License-Identifier: Apache-2.0 */
#include "model/topology.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_words(void **state)
{
    static const char *const good[] = {"X",   "NV1", "NV12", "NV999", "PIX",
                                       "PXB", "PHB", "NODE", "SYS",   "?"};
    static const char *const bad[] = {"", "NV", "NV0", "NV1000", "nv12", "NV-1", "PIXX", "SELF"};
    struct dv_err err = {0};
    for (size_t i = 0; i < DV_ARRAY_SIZE(good); i++) {
        struct dv_link link;
        char buf[DV_LINK_TEXT];
        assert_int_equal(dv_topology_link_parse(good[i], &link, &err), 0);
        assert_string_equal(dv_topology_link_format(link, buf), good[i]);
    }
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        struct dv_link link;
        assert_true(dv_topology_link_parse(bad[i], &link, &err) < 0);
    }
}

static void test_order(void **state)
{
    static const char *const far_to_near[] = {"?",   "SYS", "NODE", "PHB", "PXB",
                                              "PIX", "NV1", "NV12", "X"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(far_to_near); i++)
        for (size_t k = 0; k < DV_ARRAY_SIZE(far_to_near); k++) {
            struct dv_link a, b;
            assert_int_equal(dv_topology_link_parse(far_to_near[i], &a, NULL), 0);
            assert_int_equal(dv_topology_link_parse(far_to_near[k], &b, NULL), 0);
            assert_int_equal(dv_topology_link_compare(a, b), i < k ? -1 : i > k);
        }
}

/* Behind an NVSwitch all are equally near, but for the way over PCIe. */
static void test_order_beside_nvlinks(void **state)
{
    struct dv_link near = {DV_LINK_NVLINK, 12, DV_LINK_PXB},
                   far = {DV_LINK_NVLINK, 12, DV_LINK_SYS};
    struct dv_link less = {DV_LINK_NVLINK, 4, DV_LINK_PIX};
    assert_int_equal(dv_topology_link_compare(near, far), 1);
    assert_int_equal(dv_topology_link_compare(far, near), -1);
    assert_int_equal(dv_topology_link_compare(near, near), 0);
    assert_int_equal(dv_topology_link_compare(far, less), 1);
}

static void test_matrix(void **state)
{
    struct dv_topology t;
    struct dv_err err = {0};
    dv_topology_init(&t, 4);
    assert_int_equal(dv_topology_check(&t, &err), 0);
    dv_topology_set(&t, 0, 3, (struct dv_link){DV_LINK_NVLINK, 12, DV_LINK_SYS});
    assert_int_equal(dv_topology_get(&t, 3, 0).nvlinks, 12);
    assert_int_equal(dv_topology_get(&t, 1, 2).kind, DV_LINK_UNKNOWN);
    assert_int_equal(dv_topology_get(&t, 4, 0).kind, DV_LINK_UNKNOWN);
    dv_topology_set(&t, 9, 0, (struct dv_link){DV_LINK_SYS, 0});
    assert_int_equal(dv_topology_check(&t, &err), 0);
    t.links[1][2].kind = DV_LINK_SYS;
    assert_int_equal(dv_topology_check(&t, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "SYS one way, ? the other"));
    t.links[1][2].kind = t.links[2][1].kind = DV_LINK_SELF;
    assert_int_equal(dv_topology_check(&t, &err), -EINVAL);
    t.links[1][2].kind = t.links[2][1].kind = DV_LINK_SYS;
    t.links[0][3].pcie = t.links[3][0].pcie = DV_LINK_SELF;
    assert_int_equal(dv_topology_check(&t, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "GPUs 0 and 3: no way over PCIe"));
    dv_topology_init(&t, DV_TOPOLOGY_MAX + 1);
    assert_int_equal(t.n, 0);
}

static void test_pci(void **state)
{
    static const char *const good[][2] = {{"00000000:07:00.0", "00000000:07:00.0"},
                                          {"0000:c1:00.0", "00000000:C1:00.0"},
                                          {"07:00.0", "00000000:07:00.0"},
                                          {"07:1f", "00000000:07:1F.0"},
                                          {"10000:e1:0.7", "00010000:E1:00.7"}};
    static const char *const bad[] = {"",        "07",       "07:00.8", "07:20.0",
                                      "100:0.0", "07:00.0 ", ":07:00",  "000000000:07:00.0",
                                      "g:00.0",  "0:0:0:0.0"};
    char buf[17];
    for (size_t i = 0; i < DV_ARRAY_SIZE(good); i++) {
        assert_int_equal(dv_topology_pci_parse(good[i][0], buf, NULL), 0);
        assert_string_equal(buf, good[i][1]);
    }
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++)
        assert_int_equal(dv_topology_pci_parse(bad[i], buf, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_order_beside_nvlinks),
        cmocka_unit_test(test_matrix),
        cmocka_unit_test(test_pci),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
