/* SPDX-License-Identifier: Apache-2.0 */
/* That a group is told what `divvy advise` says: policy/mode_choice_test.c. */
#include "policy/audit/audit_group.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_audit_wish wish_on(const char *gpu)
{
    const struct dv_gpu_model *m = dv_gpu_model_find(gpu, NULL);
    assert_non_null(m);
    return (struct dv_audit_wish){
        .gpu_memory_bytes = dv_gpu_model_usable(m), .mig = m->mig, .headroom = DV_COMPUTE_FULL / 5};
}

static void test_kinds(void **state)
{
    static const struct {
        const char *word;
        enum dv_advise_kind kind;
    } cases[] = {{"training", DV_ADVISE_TRAINING},       {"trainings", DV_ADVISE_TRAINING},
                 {"inference", DV_ADVISE_INFERENCE},     {"notebooks", DV_ADVISE_INTERACTIVE},
                 {"interactive", DV_ADVISE_INTERACTIVE}, {"batch", DV_ADVISE_BATCH}};
    static const char *const others[] = {"", "train", "trainingss", "training2", "my-notebook"};
    enum dv_advise_kind kind = DV_ADVISE_BATCH;
    for (size_t i = 0; i < DV_ARRAY_SIZE(cases); i++) {
        assert_true(dv_audit_group_kind(cases[i].word, &kind));
        assert_int_equal(kind, cases[i].kind);
    }
    kind = DV_ADVISE_INFERENCE;
    for (size_t i = 0; i < DV_ARRAY_SIZE(others); i++)
        assert_false(dv_audit_group_kind(others[i], &kind));
    assert_int_equal(kind, DV_ADVISE_INFERENCE);
}

static struct dv_audit_choice judge(struct dv_audit_group g, const struct dv_audit_wish *wish)
{
    struct dv_audit_choice c;
    dv_audit_group_judge(&g, wish, &c);
    return c;
}

static void test_modes(void **state)
{
    struct dv_audit_wish w = wish_on("A100-80GB");
    struct dv_audit_group g = {.count = 2, .gpus = 1, .busy_milli = 15000};
    assert_int_equal(judge(g, &w).mode, DV_SHARING_GOVERNED);
    g.kind = DV_ADVISE_INFERENCE;
    assert_int_equal(judge(g, &w).mode, DV_SHARING_MPS);
    g.kind = DV_ADVISE_INTERACTIVE;
    assert_int_equal(judge(g, &w).mode, DV_SHARING_TIMESLICE);
    w.wall = DV_WALL_DRIVER;
    assert_int_equal(judge(g, &w).mode, DV_SHARING_MPS);
    w.trust = DV_TRUST_UNTRUSTED;
    assert_int_equal(judge(g, &w).mode, DV_SHARING_MIG);
    g.busy_milli = 59000; /* no instance has so much */
    assert_int_equal(judge(g, &w).why, DV_AUDIT_WHY_WALL_LARGE);
    w = wish_on("T4");
    assert_int_equal(judge(g, &w).why, DV_AUDIT_WHY_INTERACTIVE);
    assert_true(judge(g, &w).half);
    w.trust = DV_TRUST_UNTRUSTED;
    assert_int_equal(judge(g, &w).why, DV_AUDIT_WHY_WALL_NO_MIG);
    g.busy_milli = 60000;
    assert_int_equal(judge(g, &w).why, DV_AUDIT_WHY_TRAINING);
    g.gpus = 2;
    assert_int_equal(judge(g, &w).why, DV_AUDIT_WHY_SEVERAL);
}

/* 4 x 4 whole ones; 12 at 15 % fill 2.25 GPUs of which 80 % are planned with; 8 at 5 % half a one.
 */
static void test_gpus(void **state)
{
    const struct dv_audit_group groups[] = {
        {.count = 4, .gpus = 4, .busy_milli = 95000, .kind = DV_ADVISE_TRAINING},
        {.count = 12, .gpus = 1, .busy_milli = 15000, .kind = DV_ADVISE_INFERENCE},
        {.count = 8, .gpus = 1, .busy_milli = 5000, .kind = DV_ADVISE_INTERACTIVE}};
    struct dv_audit_wish w = wish_on("A100-80GB");
    assert_int_equal(dv_audit_group_gpus(groups, 3, &w), 16 + 3 + 1);
    w.headroom = 0;
    assert_int_equal(dv_audit_group_gpus(groups, 3, &w), 16 + 2 + 1);
    w.trust = DV_TRUST_UNTRUSTED; /* 12 x 2g and 8 x 1g */
    assert_int_equal(dv_audit_group_gpus(groups, 3, &w), 16 + 5);
    w.mig = NULL;
    assert_int_equal(dv_audit_group_gpus(groups, 3, &w), 16 + 12 + 8);
    assert_int_equal(dv_audit_group_gpus(groups, 0, &w), 0);
    const struct dv_audit_group pairs[] = {{.count = 6, .gpus = 1, .busy_milli = 41000},
                                           {.count = 5, .gpus = 1, .busy_milli = 39000}};
    w = wish_on("A100-80GB");
    assert_int_equal(dv_audit_group_gpus(pairs, 1, &w), 6); /* no two in 80 % */
    assert_int_equal(dv_audit_group_gpus(pairs + 1, 1, &w), 3);
    assert_int_equal(dv_audit_group_gpus(pairs, 2, &w), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_gpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
