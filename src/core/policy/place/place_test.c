/* SPDX-License-Identifier: Apache-2.0 */
/* The engine of placement: what it finds is what a look at every node would find. */
#include "policy/place/place.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_cluster *small(void)
{
    struct dv_cluster *c = dv_cluster_new();
    assert_non_null(c);
    struct dv_cluster_node nodes[] = {
        {.name = "c", .cpu_milli = 8000, .memory_mib = 1024, .gpus = 2, .model = "T4"},
        {.name = "a", .cpu_milli = 4000, .memory_mib = 4096},
        {.name = "b", .cpu_milli = 8000, .memory_mib = 2048, .gpus = 4, .model = "G2"},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(nodes); i++)
        assert_int_equal(dv_cluster_add(c, &nodes[i], NULL), 0);
    assert_int_equal(dv_cluster_seal(c, NULL), 0);
    return c;
}

static struct dv_place *engine(struct dv_cluster *c, const char *policy)
{
    struct dv_place *p = NULL;
    struct dv_place_config config = {
        .cluster = c, .policy = dv_place_policy_find(policy, NULL), .seed = 1};
    assert_non_null(config.policy);
    assert_int_equal(dv_place_new(&config, &p, NULL), 0);
    return p;
}

static void first_fit_goes_by_name(void **unused)
{
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = small();
    dv_cleanup(dv_place_freep) struct dv_place *p = engine(c, "first-fit");
    struct dv_place_verdict v;
    struct dv_cluster_pod cpu = {.cpu_milli = 3000, .memory_mib = 1};
    struct dv_cluster_pod half = {.cpu_milli = 1000, .memory_mib = 1, .gpus = 1, .gpu_milli = 500};

    assert_int_equal(dv_place_find(p, &cpu, &v), 0);
    assert_string_equal(dv_cluster_fixed(c, v.node)->name, "a");
    assert_int_equal(v.fitted, 3);
    assert_int_equal(dv_place_take(p, v.node, &cpu, &v.taking), 0);
    assert_int_equal(dv_place_find(p, &cpu, &v), 0);
    assert_string_equal(dv_cluster_fixed(c, v.node)->name, "b");
    assert_int_equal(v.lacks[DV_PLACE_LACK_CPU], 1);

    for (int i = 0; i < 3; i++) {
        assert_int_equal(dv_place_find(p, &half, &v), 0);
        assert_string_equal(dv_cluster_fixed(c, v.node)->name, "b");
        assert_int_equal(v.taking.gpus[0], i / 2);
        assert_int_equal(dv_place_take(p, v.node, &half, &v.taking), 0);
    }
}

static void nowhere_says_why(void **unused)
{
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = small();
    dv_cleanup(dv_place_freep) struct dv_place *p = engine(c, "first-fit");
    struct dv_place_verdict v;
    struct dv_cluster_pod five = {.gpus = 5, .gpu_milli = 1000};
    assert_int_equal(dv_place_find(p, &five, &v), 1);
    assert_false(v.placed);
    assert_int_equal(v.reason, DV_PLACE_LACK_SIZE);
    assert_int_equal(v.lacks[DV_PLACE_LACK_MODEL], 1);
    assert_int_equal(v.lacks[DV_PLACE_LACK_SIZE], 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_fit_goes_by_name),
        cmocka_unit_test(nowhere_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
