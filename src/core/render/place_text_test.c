/* SPDX-License-Identifier: Apache-2.0 */
#include "render/place_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_cluster *two(void)
{
    struct dv_cluster *c = dv_cluster_new();
    const struct dv_cluster_node nodes[] = {
        {.name = "a",
         .cpu_milli = 8000,
         .memory_mib = 8192,
         .gpus = 2,
         .model = "A100-80GB",
         .rack = "r1"},
        {.name = "b", .cpu_milli = 16000, .memory_mib = 4096, .gpus = 4, .model = "T4"},
    };
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(dv_cluster_add(c, &nodes[i], NULL), 0);
    assert_int_equal(dv_cluster_seal(c, NULL), 0);
    return c;
}

static void is_said(struct dv_place *p, const struct dv_cluster_pod *pod, bool take,
                    const char *wanted)
{
    struct dv_place_verdict v;
    struct dv_place_most most;
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    assert_true(dv_place_find(p, pod, &v) >= 0);
    dv_place_most(p, pod, &most);
    dv_place_text(dv_place_cluster(p), pod, &v, &most, &s);
    assert_string_equal(dv_str_get(&s), wanted);
    if (take)
        assert_int_equal(dv_place_take(p, v.node, pod, &v.taking), 0);
}

static uint16_t wish(struct dv_cluster *c, struct dv_cluster_wish w)
{
    uint16_t ret = 0;
    assert_int_equal(dv_cluster_wish(c, &w, &ret, NULL), 0);
    return ret;
}

static void verdicts_are_worded(void **unused)
{
    dv_cleanup(dv_cluster_freep) struct dv_cluster *c = two();
    dv_cleanup(dv_place_freep) struct dv_place *p = NULL;
    struct dv_place_config config = {.cluster = c,
                                     .policy = dv_place_policy_find("first-fit", NULL)};
    assert_int_equal(dv_place_new(&config, &p, NULL), 0);
    struct dv_cluster_pod pod = {.cpu_milli = 7500, .gpus = 1, .gpu_milli = 1000};
    is_said(p, &pod, true, "node a, GPU 0; it would have fitted on 2 of 2 nodes");
    pod.gpus = 4;
    is_said(p, &pod, true, "node b, GPUs 0, 1, 2, 3; it would have fitted on 1 of 2 nodes");
    pod.gpus = 2;
    is_said(p, &pod, false,
            "on none of 2 nodes: 1 lack CPU (asked 7.5 cores, at most 8.5 free on one node), "
            "1 lack whole GPUs (asked 2, at most 1 free on one node)");
    pod = (struct dv_cluster_pod){.gpus = 1, .gpu_milli = 250, .memory_mib = 9000};
    is_said(p, &pod, false,
            "on none of 2 nodes: 2 are too small even when empty: memory (asked 8.79 GiB, at most "
            "8.00 GiB on one of them)");
    pod = (struct dv_cluster_pod){.cpu_milli = 40000, .gpus = 5, .gpu_milli = 1000};
    is_said(p, &pod, false,
            "on none of 2 nodes: 2 are too small even when empty: CPU (asked 40 cores, at most 16 "
            "on one of them), GPUs (asked 5, at most 4 on one of them)");
    pod = (struct dv_cluster_pod){.gpus = 1, .gpu_milli = 900};
    is_said(p, &pod, true, "node a, GPU 1; it would have fitted on 1 of 2 nodes");
    is_said(
        p, &pod, false,
        "on none of 2 nodes: 2 lack room on a GPU (asked 0.9 of 1 GPU, at most 0.1 free on one)");
    pod.gpus = 2;
    is_said(p, &pod, false,
            "on none of 2 nodes: 2 lack room on a GPU (asked 0.9 of 2 GPUs, at most 0 with that "
            "much free on one node)");
    pod.gpus = 1;
    assert_int_equal(dv_cluster_spec(c, "T4", false, &pod.spec, NULL), 0);
    is_said(p, &pod, false,
            "on none of 2 nodes: 1 have no GPU of a model that would do (T4), 1 lack room on a GPU "
            "(asked 0.9 of 1 GPU, at most 0 free on one)");
    pod.spec = 0;
    pod.wish = wish(c, (struct dv_cluster_wish){.rack = dv_cluster_find_label(c, "r1"),
                                                .gpu_memory_mib = 100000});
    is_said(p, &pod, false,
            "on none of 2 nodes: 1 are not in r1, 1 have GPUs with less memory (asked 97.7 GiB)");
    pod.wish = wish(c, (struct dv_cluster_wish){.profile = "1g.10gb"});
    is_said(p, &pod, false,
            "on none of 2 nodes: 1 have no GPU of a model that would do, 1 lack room for a MIG "
            "instance 1g.10gb");
    pod.wish = wish(c, (struct dv_cluster_wish){.wall = DV_WALL_DRIVER});
    is_said(p, &pod, false, "on none of 2 nodes: 2 have no wall as strong (asked driver)");
    pod = (struct dv_cluster_pod){.memory_mib = 8000};
    is_said(p, &pod, true, "node a; it would have fitted on 1 of 2 nodes");
    is_said(
        p, &pod, false,
        "on none of 2 nodes: 1 are too small even when empty: memory (asked 7.81 GiB, at most 4.00 "
        "GiB on one of them), 1 lack memory (asked 7.81 GiB, at most 4.00 GiB free on one node)");
}

static void terms_in_words(void **state)
{
    static const struct dv_place_term terms[] = {
        {"pattern", 166667}, {"stranded", 0}, {"open", -10000}, {"luck", 5}};
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    dv_place_terms_text(terms, 0, &s);
    assert_string_equal(dv_str_get(&s), "");
    dv_place_terms_text(terms, 4, &s);
    assert_string_equal(dv_str_get(&s),
                        "; it costs 0.156672 GPU there: 0.166667 of its GPU that nobody will fit "
                        "into, -0.010000 for GPUs begun (less than 0: filled up), 0.000005 luck");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(verdicts_are_worded),
                                       cmocka_unit_test(terms_in_words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
