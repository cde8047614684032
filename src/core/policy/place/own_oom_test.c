/* SPDX-License-Identifier: Apache-2.0 */
/* Memory runs out at each allocation in the life of the policy "divvy": the start says so and
 * leaves nothing behind; what is learnt later is then learnt another time, and the old numbers
 * hold. */
#include "base/testing/oom.h"
#include "policy/place/own.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct dv_cluster *cluster;
static struct dv_popularity *popularity;

static int setup(void **state)
{
    struct dv_cluster_node nodes[] = {
        {.name = "a", .cpu_milli = 96000, .memory_mib = 96000, .gpus = 8, .model = "A10"},
        {.name = "b", .cpu_milli = 96000, .memory_mib = 96000, .gpus = 4, .model = "T4"}};
    struct dv_cluster_pod pods[] = {{1000, 1000, 1, 470, 0, 0},
                                    {1000, 1000, 1, 320, 0, 0},
                                    {2000, 1000, 1, 1000, 0, 0},
                                    {8000, 1000, 4, 1000, 0, 0}};
    cluster = dv_cluster_new();
    popularity = dv_popularity_new(cluster);
    if (!cluster || !popularity)
        return -1;
    for (size_t i = 0; i < DV_ARRAY_SIZE(nodes); i++)
        if (dv_cluster_add(cluster, &nodes[i], NULL) < 0)
            return -1;
    if (dv_cluster_seal(cluster, NULL) < 0 ||
        dv_cluster_spec(cluster, "A10", false, &pods[2].spec, NULL) < 0)
        return -1;
    for (size_t i = 0; i < DV_ARRAY_SIZE(pods); i++)
        if (dv_popularity_add(popularity, &pods[i], 10) < 0)
            return -1;
    return 0;
}

static int teardown(void **state)
{
    dv_popularity_freep(&popularity);
    dv_cluster_freep(&cluster);
    return 0;
}

static int start(struct dv_place **ret)
{
    struct dv_err err = {0};
    struct dv_place_config config = {.cluster = cluster,
                                     .policy = dv_place_policy_find("divvy", NULL),
                                     .popularity = popularity};
    int r = dv_place_new(&config, ret, &err);
    if (r < 0)
        assert_string_equal(err.msg, "out of memory");
    return r;
}

static void a_start_that_fails_says_so(void **state)
{
    size_t n = 0;
    bool met = false;
    do {
        struct dv_place *place = NULL;
        dv_oom_at(++n);
        int r = start(&place);
        met = dv_oom_end();
        assert_int_equal(r, met ? -ENOMEM : 0);
        dv_place_free(place);
    } while (met);
    assert_in_range(n, 10, 1000);
}

static void what_cannot_be_learnt_now_is_learnt_later(void **state)
{
    static const struct dv_cluster_pod pod = {1000, 1000, 1, 470, 0, 0};
    struct dv_place_verdict before, after;
    size_t n = 0;
    bool met = false;
    do {
        struct dv_place *place = NULL;
        assert_int_equal(start(&place), 0);
        assert_int_equal(dv_place_find(place, &pod, &before), 0);
        assert_int_equal(dv_popularity_add(popularity, &pod, popularity->total), 0);
        dv_oom_at(++n);
        dv_place_refresh(place);
        met = dv_oom_end();
        assert_int_equal(dv_place_find(place, &pod, &after), 0);
        if (met)
            assert_true(before.score == after.score && before.node == after.node);
        dv_place_free(place);
    } while (met);
    assert_in_range(n, 5, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_start_that_fails_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_learnt_now_is_learnt_later, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
