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

/* ---- wishes --------------------------------------------------------------------------------- */

static struct dv_cluster *one_node(const struct dv_cluster_node *node)
{
    struct dv_cluster *c = dv_cluster_new();
    assert_non_null(c);
    assert_int_equal(dv_cluster_add(c, node, NULL), 0);
    assert_int_equal(dv_cluster_seal(c, NULL), 0);
    return c;
}

static struct dv_cluster_pod wishing(struct dv_cluster *c, uint8_t gpus, uint16_t milli,
                                     struct dv_cluster_wish wish)
{
    struct dv_cluster_pod pod = {.gpus = gpus, .gpu_milli = milli};
    assert_int_equal(dv_cluster_wish(c, &wish, &pod.wish, NULL), 0);
    return pod;
}

static struct dv_place_verdict put(struct dv_place *p, const struct dv_cluster_pod *pod)
{
    struct dv_place_verdict v;
    int r = dv_place_find(p, pod, &v);
    assert_true(r == 0 || r == 1);
    if (!r)
        assert_int_equal(dv_place_take(p, v.node, pod, &v.taking), 0);
    return v;
}

/* GPUs 0-3 and 4-7 are joined; each pair is a NUMA node. */
static void eight(struct dv_topology *t)
{
    dv_topology_init(t, 8);
    for (uint32_t a = 0; a < 8; a++) {
        t->numa[a] = (int32_t)(a / 2);
        for (uint32_t b = 0; b < a; b++)
            dv_topology_set(t, a, b,
                            a / 4 == b / 4 ? (struct dv_link){DV_LINK_NVLINK, 4, DV_LINK_NODE}
                                           : (struct dv_link){.kind = DV_LINK_SYS});
    }
}

static void gpus_of_one_pod_lie_together(void **unused)
{
    struct dv_topology t;
    eight(&t);
    struct dv_cluster_node node = {.name = "a", .gpus = 8, .model = "V100", .topology = &t};
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = one_node(&node);
    dv_cleanup(dv_place_freep) struct dv_place *p = engine(c, "first-fit");
    struct dv_cluster_pod one = {.gpus = 1, .gpu_milli = 1000};
    struct dv_cluster_pod joined =
        wishing(c, 4, 1000,
                (struct dv_cluster_wish){.near = DV_CLUSTER_NEAR_NVLINK, .near_required = true});
    struct dv_cluster_pod pair = wishing(
        c, 2, 1000, (struct dv_cluster_wish){.near = DV_CLUSTER_NEAR_NUMA, .near_required = true});
    struct dv_cluster_pod rather =
        wishing(c, 2, 1000, (struct dv_cluster_wish){.near = DV_CLUSTER_NEAR_NUMA});

    assert_int_equal(put(p, &one).taking.gpus[0], 0);
    struct dv_place_verdict v = put(p, &joined); /* 1, 2, 3 are no four */
    assert_true(v.placed);
    assert_int_equal(v.taking.gpus[0], 4);
    assert_int_equal(v.taking.gpus[3], 7);
    v = put(p, &joined);
    assert_false(v.placed);
    assert_int_equal(v.reason, DV_PLACE_LACK_GPU_COUNT);
    v = put(p, &pair); /* not 1 and 2 */
    assert_int_equal(v.taking.gpus[0], 2);
    assert_int_equal(v.taking.gpus[1], 3);
    struct dv_cluster_taking four = {.n = 1, .gpus = {4}, .milli = 1000};
    assert_int_equal(dv_cluster_give_back(c, 0, &four), 0);
    dv_cleanup(dv_place_freep) struct dv_place *fresh = engine(c, "first-fit");
    v = put(fresh, &pair); /* 1 and 4 are free, far apart */
    assert_int_equal(v.reason, DV_PLACE_LACK_NEAR);
    v = put(fresh, &rather);
    assert_true(v.placed);
    assert_int_equal(v.waste, 1);
    assert_int_equal(v.taking.gpus[1], 4);
}

static void instances_go_where_instances_are(void **unused)
{
    struct dv_cluster_node node = {.name = "a", .gpus = 3, .model = "A100-80GB"};
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = one_node(&node);
    dv_cleanup(dv_place_freep) struct dv_place *p = engine(c, "fgd");
    struct dv_cluster_pod half = {.gpus = 1, .gpu_milli = 500};
    struct dv_cluster_pod small =
        wishing(c, 1, 1000, (struct dv_cluster_wish){.profile = "3g.40gb"});
    assert_int_equal(put(p, &half).taking.gpus[0], 0);
    struct dv_place_verdict v = put(p, &small);
    assert_true(v.placed && v.taking.mig);
    assert_int_equal(v.taking.gpus[0], 1);
    assert_int_equal(v.waste, 1); /* it cuts a GPU */
    v = put(p, &small);
    assert_int_equal(v.taking.gpus[0], 1);
    assert_int_equal(v.waste, 0);
    assert_int_not_equal(v.taking.starts[0], 8);
    assert_int_equal(put(p, &small).taking.gpus[0], 2);
    assert_true(put(p, &small).placed);
    v = put(p, &small);
    assert_false(v.placed);
    assert_int_equal(v.reason, DV_PLACE_LACK_MIG);
    struct dv_cluster_pod other =
        wishing(c, 1, 1000, (struct dv_cluster_wish){.profile = "2g.9gb"});
    assert_int_equal(put(p, &other).reason, DV_PLACE_LACK_MODEL);
}

/* 10 GiB and a quarter: any mode with a driver wall or better. */
static void any_of_takes_the_least(void **unused)
{
    struct dv_cluster_wish wish = {.any_of = true, .wall = DV_WALL_DRIVER, .gpu_memory_mib = 10240};
    struct dv_cluster_node node = {.name = "a", .gpus = 2, .model = "A100-80GB"};
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = one_node(&node);
    dv_cleanup(dv_place_freep) struct dv_place *p = engine(c, "first-fit");
    struct dv_cluster_pod pod = wishing(c, 1, 250, wish);
    struct dv_place_verdict v = put(p, &pod); /* fractions here have a weaker wall */
    assert_true(v.placed && v.taking.mig);
    const struct dv_mig_geometry *g = dv_cluster_fixed(c, 0)->mig;
    assert_string_equal(g->profiles[v.taking.profile].name, "2g.20gb"); /* 1g is a seventh */

    node.fraction_wall = DV_WALL_DRIVER;
    node.gpu_memory_mib = 16384;
    dv_cleanup(dv_cluster_freep) struct dv_cluster *walls = one_node(&node);
    dv_cleanup(dv_place_freep) struct dv_place *q = engine(walls, "first-fit");
    pod = wishing(walls, 1, 250, wish);
    v = put(q, &pod);
    assert_true(v.placed && !v.taking.mig);
    assert_int_equal(v.taking.milli, 625); /* 10 of 16 GiB */
    assert_int_equal(put(q, &pod).taking.gpus[0], 1);
    assert_true(put(q, &pod).reason != DV_PLACE_LACKS);

    struct dv_cluster_node plain = {
        .name = "t", .gpus = 1, .model = "card", .gpu_memory_mib = 16384};
    dv_cleanup(dv_cluster_freep) struct dv_cluster *whole = one_node(&plain);
    dv_cleanup(dv_place_freep) struct dv_place *s = engine(whole, "first-fit");
    pod = wishing(whole, 1, 250, wish);
    v = put(s, &pod); /* no wall but the card's edges */
    assert_int_equal(v.taking.milli, 1000);
    assert_int_equal(v.waste, 2);
    wish.gpu_memory_mib = 16385;
    pod = wishing(whole, 1, 250, wish);
    assert_int_equal(put(s, &pod).reason, DV_PLACE_LACK_GPU_MEMORY);
    wish = (struct dv_cluster_wish){.wall = DV_WALL_DRIVER};
    pod = wishing(whole, 1, 250, wish);
    assert_int_equal(put(s, &pod).reason, DV_PLACE_LACK_WALL);
}

static void labels_bind(void **unused)
{
    struct dv_cluster *c = dv_cluster_new();
    const char *racks[] = {"r1", "r2"};
    for (int i = 0; i < 2; i++) {
        struct dv_cluster_node node = {
            .name = racks[i], .rack = racks[i], .gpus = 1, .model = "T4"};
        assert_int_equal(dv_cluster_add(c, &node, NULL), 0);
    }
    assert_int_equal(dv_cluster_seal(c, NULL), 0);
    struct dv_place *p = engine(c, "first-fit");
    struct dv_cluster_pod pod =
        wishing(c, 1, 1000, (struct dv_cluster_wish){.rack = dv_cluster_find_label(c, "r2")});
    struct dv_place_verdict v = put(p, &pod);
    assert_int_equal(v.node, 1);
    assert_int_equal(v.lacks[DV_PLACE_LACK_LABEL], 1);
    v = put(p, &pod);
    assert_false(v.placed);
    assert_int_equal(v.reason, DV_PLACE_LACK_GPU_COUNT);
    dv_place_free(p);
    dv_cluster_free(c);
}

static void operands_are_looked_up(void **unused)
{
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = small();
    dv_cleanup(dv_place_freep) struct dv_place *p = engine(c, "first-fit");
    struct dv_place_most most;
    struct dv_cluster_pod half = {.cpu_milli = 1000, .gpus = 1, .gpu_milli = 600};
    for (int i = 0; i < 4; i++)
        put(p, &half);
    assert_int_equal(dv_cluster_spec(c, "G2", false, &half.spec, NULL), 0);
    dv_place_most(p, &half, &most);
    assert_int_equal(most.cpu_milli, 8000);
    assert_int_equal(most.gpus, 0);
    assert_int_equal(most.gpu_milli, 400);
    assert_int_equal(most.gpu_count, 0);
    assert_int_equal(most.memory_mib, 4096);
}

static void policies_have_names(void **unused)
{
    struct dv_err err = {{0}};
    assert_null(dv_place_policy_find("first-fti", &err));
    assert_non_null(strstr(err.msg, "did you mean 'first-fit'"));
    const struct dv_place_policy *policy;
    for (size_t i = 0; (policy = dv_place_policy_at(i)); i++)
        assert_ptr_equal(dv_place_policy_find(policy->name, NULL), policy);
    for (int i = 0; i <= DV_PLACE_LACKS; i++)
        assert_true(*dv_place_lack_name((enum dv_place_lack)i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_fit_goes_by_name),
        cmocka_unit_test(nowhere_says_why),
        cmocka_unit_test(gpus_of_one_pod_lie_together),
        cmocka_unit_test(instances_go_where_instances_are),
        cmocka_unit_test(any_of_takes_the_least),
        cmocka_unit_test(labels_bind),
        cmocka_unit_test(operands_are_looked_up),
        cmocka_unit_test(policies_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
