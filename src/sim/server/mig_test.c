/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "policy/mig_plan.h"
#include "server/mig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A node of one GPU, and a process that may use it. */
struct fixture {
    struct dv_simnode node;
    struct dv_mig_geometry geometry;
    struct dv_simproc process;
    struct dv_simproc_gpu gpu;
};

static struct fixture *make(const char *model)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    const struct dv_gpu_model *m = dv_gpu_model_find(model, NULL);
    assert_non_null(m);
    f->node.n_gpus = 1;
    f->node.gpu[0].model = m;
    snprintf(f->node.name, sizeof(f->node.name), "test");
    snprintf(f->node.gpu[0].uuid, sizeof(f->node.gpu[0].uuid), "GPU-test");
    if (m->mig) {
        f->geometry = *m->mig;
        dv_mig_geometry_estimate(&f->geometry, m->memory_bytes, m->sm);
        f->node.gpu[0].mig = &f->geometry;
    }
    f->process.gpu = &f->gpu;
    f->node.processes[0] = &f->process;
    return f;
}

static void test_mode_of_an_idle_gpu_changes_at_once(void **state)
{
    static const char *const models[] = {"a100", "a30", "h100"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(models); i++) {
        struct fixture *f = make(models[i]);
        uint32_t activation = 99;
        assert_int_equal(dv_simmig_set_mode(&f->node, 0, 1, &activation), DV_NVML_SUCCESS);
        assert_int_equal(activation, DV_NVML_SUCCESS);
        assert_int_equal(f->node.gpu[0].mig_current, 1);
        assert_int_equal(f->node.gpu[0].mig_pending, 1);
        free(f);
    }
}

/* Ampere keeps the wish until a reset; Hopper forgets it. */
static void test_mode_of_a_busy_gpu(void **state)
{
    struct fixture *a = make("a100"), *h = make("h100");
    uint32_t activation = 0;
    a->gpu.contexts = h->gpu.contexts = 1;
    assert_int_equal(dv_simmig_set_mode(&a->node, 0, 1, &activation), DV_NVML_SUCCESS);
    assert_int_equal(activation, DV_NVML_ERROR_IN_USE);
    assert_int_equal(a->node.gpu[0].mig_current, 0);
    assert_int_equal(a->node.gpu[0].mig_pending, 1);
    assert_int_equal(dv_simmig_reset(&a->node, 0), DV_NVML_ERROR_IN_USE);
    a->gpu.contexts = 0;
    assert_int_equal(dv_simmig_reset(&a->node, 0), DV_NVML_SUCCESS);
    assert_int_equal(a->node.gpu[0].mig_current, 1);

    activation = 0;
    assert_int_equal(dv_simmig_set_mode(&h->node, 0, 1, &activation), DV_NVML_SUCCESS);
    assert_int_equal(activation, DV_NVML_ERROR_IN_USE);
    assert_int_equal(h->node.gpu[0].mig_current, 0);
    assert_int_equal(h->node.gpu[0].mig_pending, 0);
    free(a);
    free(h);
}

/* Where the machine cannot reset: Ampere's change waits for a reboot, Hopper's needs none. */
static void test_mode_without_resets(void **state)
{
    struct fixture *a = make("a100"), *h = make("h100");
    uint32_t activation = 0;
    a->node.no_reset = h->node.no_reset = true;
    assert_int_equal(dv_simmig_set_mode(&a->node, 0, 1, &activation), DV_NVML_SUCCESS);
    assert_int_equal(activation, DV_NVML_ERROR_RESET_REQUIRED);
    assert_int_equal(a->node.gpu[0].mig_current, 0);
    assert_int_equal(a->node.gpu[0].mig_pending, 1);
    assert_int_equal(dv_simmig_reset(&a->node, 0), DV_NVML_ERROR_NOT_SUPPORTED);
    assert_int_equal(a->node.gpu[0].mig_current, 0);
    dv_simmig_restart(&a->node.gpu[0]);
    assert_int_equal(a->node.gpu[0].mig_current, 1);
    /* Taken back before it came to be. */
    assert_int_equal(dv_simmig_set_mode(&a->node, 0, 0, &activation), DV_NVML_SUCCESS);
    assert_int_equal(activation, DV_NVML_ERROR_RESET_REQUIRED);
    assert_int_equal(dv_simmig_set_mode(&a->node, 0, 1, &activation), DV_NVML_SUCCESS);
    assert_int_equal(activation, DV_NVML_SUCCESS);
    assert_int_equal(a->node.gpu[0].mig_pending, 1);

    assert_int_equal(dv_simmig_set_mode(&h->node, 0, 1, &activation), DV_NVML_SUCCESS);
    assert_int_equal(activation, DV_NVML_SUCCESS);
    assert_int_equal(h->node.gpu[0].mig_current, 1);
    free(a);
    free(h);
}

static void test_gpus_without_mig(void **state)
{
    struct fixture *f = make("t4");
    uint32_t activation, gi;
    assert_int_equal(dv_simmig_set_mode(&f->node, 0, 1, &activation), DV_NVML_ERROR_NOT_SUPPORTED);
    assert_int_equal(dv_simmig_gi_create(&f->node, 0, 19, DV_SIM_ANY, &gi),
                     DV_NVML_ERROR_NOT_SUPPORTED);
    free(f);
}

static void test_instances_need_the_mode(void **state)
{
    struct fixture *f = make("a100");
    uint32_t gi;
    assert_int_equal(dv_simmig_gi_create(&f->node, 0, 19, DV_SIM_ANY, &gi),
                     DV_NVML_ERROR_NOT_SUPPORTED);
    free(f);
}

static struct fixture *make_enabled(const char *model)
{
    struct fixture *f = make(model);
    uint32_t activation;
    assert_int_equal(dv_simmig_set_mode(&f->node, 0, 1, &activation), DV_NVML_SUCCESS);
    return f;
}

/* The listing of the MIG user guide: 3g at 4, 2g at 0, 1g at 2; and what is then refused. */
static void test_listing_of_the_user_guide(void **state)
{
    struct fixture *f = make_enabled("A100-40GB");
    uint32_t gi;
    assert_int_equal(dv_simmig_gi_create(&f->node, 0, 9, DV_SIM_ANY, &gi), DV_NVML_SUCCESS);
    assert_int_equal(gi, 2);
    assert_int_equal(dv_simnode_gi(&f->node, 0, gi)->start, 4);
    assert_int_equal(dv_simmig_gi_create(&f->node, 0, 9, DV_SIM_ANY, &gi), DV_NVML_SUCCESS);
    assert_int_equal(gi, 1);
    assert_int_equal(dv_simmig_gi_create(&f->node, 0, 19, DV_SIM_ANY, &gi),
                     DV_NVML_ERROR_INSUFFICIENT_RESOURCES);
    assert_int_equal(dv_simmig_gi_create(&f->node, 0, 19, 2, &gi),
                     DV_NVML_ERROR_INSUFFICIENT_RESOURCES);
    assert_int_equal(dv_simmig_gi_create(&f->node, 0, 9, 1, &gi), DV_NVML_ERROR_INVALID_ARGUMENT);
    assert_int_equal(dv_simmig_gi_create(&f->node, 0, 77, DV_SIM_ANY, &gi),
                     DV_NVML_ERROR_INVALID_ARGUMENT);
    free(f);
}

static void test_destroy_from_the_inside_out(void **state)
{
    struct fixture *f = make_enabled("a100");
    uint32_t gi, ci;
    assert_int_equal(dv_simmig_gi_create(&f->node, 0, 9, DV_SIM_ANY, &gi), DV_NVML_SUCCESS);
    assert_int_equal(dv_simmig_ci_create(&f->node, 0, gi, DV_NVML_CI_1_SLICE, 2, &ci),
                     DV_NVML_SUCCESS);
    assert_int_equal(dv_simmig_gi_destroy(&f->node, 0, gi), DV_NVML_ERROR_IN_USE);
    dv_simnode_ci(&f->node, 0, gi, ci)->contexts = 1;
    assert_int_equal(dv_simmig_ci_destroy(&f->node, 0, gi, ci), DV_NVML_ERROR_IN_USE);
    dv_simnode_ci(&f->node, 0, gi, ci)->contexts = 0;
    assert_int_equal(dv_simmig_ci_destroy(&f->node, 0, gi, ci), DV_NVML_SUCCESS);
    assert_int_equal(dv_simmig_ci_destroy(&f->node, 0, gi, ci), DV_NVML_ERROR_NOT_FOUND);
    assert_int_equal(dv_simmig_gi_destroy(&f->node, 0, gi), DV_NVML_SUCCESS);
    assert_int_equal(dv_simmig_gi_destroy(&f->node, 0, gi), DV_NVML_ERROR_NOT_FOUND);
    free(f);
}

static void test_compute_instances_share_the_slices(void **state)
{
    struct fixture *f = make_enabled("a100");
    uint32_t gi, ci, last = 9;
    char uuid[DV_SIM_UUID_SIZE] = "";
    assert_int_equal(dv_simmig_gi_create(&f->node, 0, 9, DV_SIM_ANY, &gi), DV_NVML_SUCCESS);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(dv_simmig_ci_create(&f->node, 0, gi, DV_NVML_CI_1_SLICE, DV_SIM_ANY, &ci),
                         DV_NVML_SUCCESS);
        struct dv_simci *c = dv_simnode_ci(&f->node, 0, gi, ci);
        assert_int_not_equal(ci, last);
        assert_int_equal(c->start, i);
        assert_int_equal(c->sm, 14);
        assert_string_not_equal(c->uuid, uuid);
        memcpy(uuid, c->uuid, sizeof(uuid));
        last = ci;
    }
    assert_int_equal(dv_simmig_ci_create(&f->node, 0, gi, DV_NVML_CI_1_SLICE, DV_SIM_ANY, &ci),
                     DV_NVML_ERROR_INSUFFICIENT_RESOURCES);
    assert_int_equal(dv_simmig_ci_create(&f->node, 0, gi, DV_NVML_CI_7_SLICE, DV_SIM_ANY, &ci),
                     DV_NVML_ERROR_INVALID_ARGUMENT);
    free(f);
}

/* What a MIG device is called does not change when it is made anew. */
static void test_uuids_repeat(void **state)
{
    struct fixture *f = make_enabled("a100");
    char first[DV_SIM_UUID_SIZE];
    uint32_t gi, ci;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(dv_simmig_gi_create(&f->node, 0, 0, DV_SIM_ANY, &gi), DV_NVML_SUCCESS);
        assert_int_equal(dv_simmig_ci_create(&f->node, 0, gi, DV_NVML_CI_7_SLICE, DV_SIM_ANY, &ci),
                         DV_NVML_SUCCESS);
        const char *uuid = dv_simnode_ci(&f->node, 0, gi, ci)->uuid;
        assert_memory_equal(uuid, "MIG-", 4);
        if (round == 0)
            memcpy(first, uuid, sizeof(first));
        else
            assert_string_equal(uuid, first);
        assert_int_equal(dv_simmig_ci_destroy(&f->node, 0, gi, ci), DV_NVML_SUCCESS);
        assert_int_equal(dv_simmig_gi_destroy(&f->node, 0, gi), DV_NVML_SUCCESS);
    }
    free(f);
}

/* Whatever is created and destroyed in whatever order: the layout is legal, ids are unique, and
 * the capacity that was promised is what is granted. */
static void churn(const char *model, uint64_t seed)
{
    struct fixture *f = make_enabled(model);
    struct dv_simgpu *g = &f->node.gpu[0];
    struct dv_rng rng = {seed};
    for (int step = 0; step < 2000; step++) {
        struct dv_mig_instance have[DV_MIG_INSTANCES_MAX];
        size_t n = dv_simmig_instances(g, have);
        uint32_t gi;
        assert_int_equal(dv_mig_check(g->mig, have, n, NULL), DV_MIG_OK);
        if (n && dv_rng_below(&rng, 3) == 0) {
            size_t at = dv_rng_below(&rng, DV_MIG_INSTANCES_MAX);
            if (g->gi[at].used)
                assert_int_equal(dv_simmig_gi_destroy(&f->node, 0, g->gi[at].id), DV_NVML_SUCCESS);
            continue;
        }
        uint32_t p = (uint32_t)dv_rng_below(&rng, g->mig->n_profiles);
        uint32_t room = dv_mig_plan_free(g->mig, have, n, p);
        int r = dv_simmig_gi_create(&f->node, 0, g->mig->profiles[p].id, DV_SIM_ANY, &gi);
        assert_int_equal(r, room ? DV_NVML_SUCCESS : DV_NVML_ERROR_INSUFFICIENT_RESOURCES);
        uint32_t same = 0;
        for (size_t i = 0; r == DV_NVML_SUCCESS && i < DV_MIG_INSTANCES_MAX; i++)
            same += g->gi[i].used && g->gi[i].id == gi;
        assert_int_equal(same, r == DV_NVML_SUCCESS);
    }
    free(f);
}

static void test_any_order(void **state)
{
    size_t models = 0;
    const struct dv_gpu_model *m;
    for (size_t i = 0; (m = dv_gpu_model_at(i)); i++) {
        if (!m->mig || !m->memory_bytes)
            continue;
        churn(m->name, i + 1);
        models++;
    }
    assert_true(models >= 5);
}

static void test_layout_of_a_node_file(void **state)
{
    struct fixture *f = make("A100-40GB");
    struct dv_err err = {{0}};
    assert_int_equal(dv_simmig_apply(&f->node, 0, "3g.20gb,2g.10gb,1g.5gb", &err), 0);
    struct dv_mig_instance have[DV_MIG_INSTANCES_MAX];
    assert_int_equal(dv_simmig_instances(&f->node.gpu[0], have), 3);
    assert_true(f->node.gpu[0].mig_current);
    free(f);

    f = make("A100-40GB");
    assert_true(dv_simmig_apply(&f->node, 0, "4g.20gb,4g.20gb", &err) < 0);
    assert_non_null(strstr(err.msg, "does not fit"));
    assert_int_equal(dv_simmig_instances(&f->node.gpu[0], have), 0);
    assert_false(f->node.gpu[0].mig_current);
    free(f);

    f = make("t4");
    assert_true(dv_simmig_apply(&f->node, 0, "1g.5gb", &err) < 0);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mode_of_an_idle_gpu_changes_at_once),
        cmocka_unit_test(test_mode_of_a_busy_gpu),
        cmocka_unit_test(test_mode_without_resets),
        cmocka_unit_test(test_gpus_without_mig),
        cmocka_unit_test(test_instances_need_the_mode),
        cmocka_unit_test(test_listing_of_the_user_guide),
        cmocka_unit_test(test_destroy_from_the_inside_out),
        cmocka_unit_test(test_compute_instances_share_the_slices),
        cmocka_unit_test(test_uuids_repeat),
        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_layout_of_a_node_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
