/* SPDX-License-Identifier: Apache-2.0 */
/* Clusters: what is refused when they are built, how they are sorted, what taking does. */
#include "model/cluster.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_cluster *of(const struct dv_cluster_node *nodes, size_t n)
{
    struct dv_cluster *c = dv_cluster_new();
    assert_non_null(c);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(dv_cluster_add(c, &nodes[i], NULL), 0);
    assert_int_equal(dv_cluster_seal(c, NULL), 0);
    return c;
}

static void nodes_are_sorted_and_models_numbered(void **unused)
{
    const struct dv_cluster_node nodes[] = {
        {.name = "x", .order = "2", .gpus = 1, .model = "T4", .zone = "z"},
        {.name = "y", .order = "1"},
        {.name = "a", .order = "3", .gpus = 2, .model = "A10", .rack = "z"},
    };
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = of(nodes, 3);
    assert_string_equal(dv_cluster_fixed(c, 0)->name, "y");
    assert_string_equal(dv_cluster_fixed(c, 1)->name, "x");
    assert_int_equal(dv_cluster_find(c, "a"), 2);
    assert_int_equal(dv_cluster_find(c, "x"), 1);
    assert_int_equal(dv_cluster_find(c, "b"), DV_CLUSTER_NONE);
    assert_string_equal(dv_cluster_model(c, 0), "A10");
    assert_string_equal(dv_cluster_model(c, 1), "T4");
    assert_null(dv_cluster_model(c, 2));
    assert_int_equal(dv_cluster_state(c, 1)->model, 1);
    assert_int_equal(dv_cluster_fixed(c, 1)->zone, dv_cluster_fixed(c, 2)->rack);
    assert_int_equal(dv_cluster_fixed(c, 0)->zone, 0);
    assert_int_equal(dv_cluster_total(c).gpus, 3);
    assert_int_equal(dv_cluster_free_now(c).gpu_milli, 3000);
}

static void no_node_has_a_gpu(void **unused)
{
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = dv_cluster_new();
    assert_int_equal(
        dv_cluster_add(c, &(struct dv_cluster_node){.name = "n", .cpu_milli = 1}, NULL), 0);
    assert_int_equal(dv_cluster_seal(c, NULL), 0);
    assert_int_equal(dv_cluster_models(c), 0);
    assert_null(dv_cluster_model(c, 0));
}

static void bad_nodes_are_refused(void **unused)
{
    struct dv_topology three = {.n = 3};
    char longest[DV_CLUSTER_NAME_SIZE + 1];
    memset(longest, 'n', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const struct dv_cluster_node nodes[] = {
        {.name = ""},
        {.name = longest},
        {.name = "a", .gpus = 17, .model = "T4"},
        {.name = "a", .gpus = 1},
        {.name = "a", .gpus = 1, .model = "T4|A10"},
        {.name = "a", .cpu_milli = DV_CLUSTER_CPU_MAX + 1},
        {.name = "a", .memory_mib = DV_CLUSTER_MEMORY_MAX + 1},
        {.name = "a", .gpus = 2, .model = "T4", .topology = &three},
    };
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = dv_cluster_new();
    for (size_t i = 0; i < DV_ARRAY_SIZE(nodes); i++) {
        struct dv_err err = {{0}};
        assert_true(dv_cluster_add(c, &nodes[i], &err) < 0);
        assert_true(*err.msg);
    }
    assert_int_equal(dv_cluster_nodes(c), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(dv_cluster_add(c, &(struct dv_cluster_node){.name = "twin"}, NULL), 0);
    assert_int_equal(dv_cluster_seal(c, NULL), -EEXIST);
}

static void models_are_bounded(void **unused)
{
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = dv_cluster_new();
    char name[3] = "aa", model[3] = "aa";
    for (uint32_t i = 0; i <= DV_CLUSTER_MODELS_MAX; i++) {
        name[0] = model[0] = (char)('A' + i % 26);
        name[1] = model[1] = (char)('A' + i / 26);
        struct dv_cluster_node node = {.name = name, .gpus = 1, .model = model};
        assert_int_equal(dv_cluster_add(c, &node, NULL), i < DV_CLUSTER_MODELS_MAX ? 0 : -E2BIG);
    }
    assert_int_equal(dv_cluster_seal(c, NULL), 0);
    uint16_t spec = 0;
    assert_int_equal(dv_cluster_spec(c, "LC", false, &spec, NULL), 0);
    assert_string_equal(
        dv_cluster_model(c, (uint32_t)__builtin_ctzll(dv_cluster_spec_mask(c, spec))), "LC");
}

static void specs_and_wishes_are_numbered_once(void **unused)
{
    const struct dv_cluster_node nodes[] = {{.name = "a", .gpus = 1, .model = "V100M16"},
                                            {.name = "b", .gpus = 1, .model = "T4"}};
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = of(nodes, 2);
    struct dv_err err = {{0}};
    uint16_t a = 9, b = 9;
    assert_int_equal(dv_cluster_spec(c, "", false, &a, NULL), 0);
    assert_int_equal(a, 0);
    assert_true(dv_cluster_spec_mask(c, 0) == UINT64_MAX);
    assert_int_equal(dv_cluster_spec(c, "T4|V100M16", false, &a, NULL), 0);
    assert_int_equal(dv_cluster_spec_mask(c, a), 3);
    assert_int_equal(dv_cluster_spec(c, "T4|V100M16", false, &b, NULL), 0);
    assert_int_equal(a, b);
    assert_string_equal(dv_cluster_spec_text(c, a), "T4|V100M16");
    assert_int_equal(dv_cluster_spec(c, "V100M61", false, &b, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "did you mean 'V100M16'"));
    assert_int_equal(dv_cluster_spec(c, "V100M61|T4", true, &b, NULL), 0);
    assert_int_equal(dv_cluster_spec_mask(c, b), 1); /* T4 comes first by name */
    assert_int_equal(dv_cluster_spec(c, "T4|", true, &b, NULL), -EINVAL);
    assert_int_equal(dv_cluster_spec(c, "|", true, &b, NULL), -EINVAL);

    struct dv_cluster_wish wish = {.profile = "1g.10gb"};
    assert_int_equal(dv_cluster_wish(c, &(struct dv_cluster_wish){0}, &a, NULL), 0);
    assert_int_equal(a, 0);
    assert_int_equal(dv_cluster_wish(c, &wish, &a, NULL), 0);
    assert_int_equal(dv_cluster_wish(c, &wish, &b, NULL), 0);
    assert_int_equal(a, b);
    assert_string_equal(dv_cluster_wish_at(c, a)->profile, "1g.10gb");
    wish.any_of = true;
    assert_int_equal(dv_cluster_wish(c, &wish, &a, &err), -EINVAL);
    wish = (struct dv_cluster_wish){.profile = "a tenth"};
    assert_int_equal(dv_cluster_wish(c, &wish, &a, &err), -EINVAL);
}

static void pods_are_checked(void **unused)
{
    const struct dv_cluster_pod bad[] = {
        {.gpus = 1},
        {.gpu_milli = 5},
        {.gpus = 17, .gpu_milli = 1},
        {.gpus = 1, .gpu_milli = 1001},
        {.cpu_milli = DV_CLUSTER_CPU_MAX + 1},
        {.memory_mib = UINT32_MAX},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++)
        assert_int_equal(dv_cluster_pod_check(&bad[i], NULL), -EINVAL);
    assert_int_equal(
        dv_cluster_pod_check(&(struct dv_cluster_pod){.gpus = 2, .gpu_milli = 1000}, NULL), 0);
}

static void nothing_is_promised_twice(void **unused)
{
    const struct dv_cluster_node node = {
        .name = "a", .cpu_milli = 10, .memory_mib = 20, .gpus = 2, .model = "T4"};
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = of(&node, 1);
    struct dv_cluster_state before = *dv_cluster_state(c, 0);
    struct dv_cluster_taking t = {.cpu_milli = 4, .n = 2, .gpus = {1, 0}, .milli = 600};
    assert_int_equal(dv_cluster_take(c, 0, &t), 0);
    assert_int_equal(dv_cluster_state(c, 0)->gpu[1], 400);
    assert_int_equal(dv_cluster_state(c, 0)->gpu_milli, 800);
    assert_int_equal(dv_cluster_take(c, 0, &t), -ENOSPC);
    struct dv_cluster_taking cpu = {.cpu_milli = 7};
    assert_int_equal(dv_cluster_take(c, 0, &cpu), -ENOSPC);
    assert_int_equal(dv_cluster_give_back(c, 0, &cpu), -EINVAL);
    struct dv_cluster_taking twice = {.n = 2, .gpus = {1, 1}, .milli = 1};
    assert_int_equal(dv_cluster_take(c, 0, &twice), -EINVAL);
    struct dv_cluster_taking absent = {.n = 1, .gpus = {2}, .milli = 1};
    assert_int_equal(dv_cluster_take(c, 0, &absent), -EINVAL);
    assert_int_equal(dv_cluster_take(c, 1, &cpu), -EINVAL);
    struct dv_cluster_taking more = {.n = 1, .gpus = {0}, .milli = 601};
    assert_int_equal(dv_cluster_give_back(c, 0, &more), -EINVAL);
    assert_int_equal(dv_cluster_give_back(c, 0, &t), 0);
    assert_memory_equal(&before, dv_cluster_state(c, 0), sizeof before);
}

static void instances_lie_by_the_rules_of_mig(void **unused)
{
    const struct dv_cluster_node node = {.name = "a", .gpus = 2, .model = "A100-80GB"};
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = of(&node, 1);
    const struct dv_mig_geometry *g = dv_cluster_fixed(c, 0)->mig;
    assert_non_null(g);
    assert_int_equal(dv_cluster_fixed(c, 0)->gpu_memory_mib, 81920);
    uint8_t p3g = (uint8_t)(dv_mig_profile_find(g, "3g.40gb", NULL) - g->profiles);
    struct dv_mig_instance v[DV_MIG_INSTANCES_MAX];
    struct dv_cluster_state before = *dv_cluster_state(c, 0), after;
    struct dv_cluster_taking low = {.n = 1, .gpus = {1}, .mig = true, .profile = p3g};
    struct dv_cluster_taking high = low, share = {.n = 1, .gpus = {1}, .milli = 10};
    high.starts[0] = 4;
    dv_cluster_after(&before, &low, &after);
    assert_int_equal(dv_cluster_take(c, 0, &low), 0);
    assert_memory_equal(&after, dv_cluster_state(c, 0), sizeof after);
    assert_int_equal(after.mig, 2);
    assert_int_equal(after.gpu_milli, 1000);
    assert_int_equal(dv_cluster_take(c, 0, &low), -ENOSPC); /* overlaps */
    assert_int_equal(dv_cluster_take(c, 0, &share), -ENOSPC);
    assert_int_equal(dv_cluster_take(c, 0, &high), 0);
    assert_int_equal(dv_cluster_instances(c, 0, 1, v), 2);
    assert_int_equal(dv_cluster_instances(c, 0, 0, v), 0);
    assert_int_equal(dv_cluster_give_back(c, 0, &share), -EINVAL);
    assert_int_equal(dv_cluster_give_back(c, 0, &low), 0);
    assert_int_equal(dv_cluster_give_back(c, 0, &low), -EINVAL);
    assert_int_equal(dv_cluster_state(c, 0)->mig, 2);
    assert_int_equal(dv_cluster_give_back(c, 0, &high), 0);
    assert_memory_equal(&before, dv_cluster_state(c, 0), sizeof before);

    share.gpus[0] = 0;
    low.gpus[0] = 0;
    assert_int_equal(dv_cluster_take(c, 0, &share), 0);
    assert_int_equal(dv_cluster_take(c, 0, &low), -ENOSPC); /* somebody has a fraction of it */
    dv_cluster_reset(c);
    assert_memory_equal(&before, dv_cluster_state(c, 0), sizeof before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_are_sorted_and_models_numbered),
        cmocka_unit_test(no_node_has_a_gpu),
        cmocka_unit_test(bad_nodes_are_refused),
        cmocka_unit_test(models_are_bounded),
        cmocka_unit_test(specs_and_wishes_are_numbered_once),
        cmocka_unit_test(pods_are_checked),
        cmocka_unit_test(nothing_is_promised_twice),
        cmocka_unit_test(instances_lie_by_the_rules_of_mig),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
