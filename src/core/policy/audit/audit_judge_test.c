/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/audit_judge.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S ((int64_t)DV_NS_PER_S)
#define N 200

static struct dv_audit_wish wish(void)
{
    const struct dv_gpu_model *m = dv_gpu_model_find("A100-80GB", NULL);
    assert_non_null(m);
    return (struct dv_audit_wish){.gpu_memory_bytes = dv_gpu_model_usable(m),
                                  .mig = m->mig,
                                  .memory_margin_permille = 50,
                                  .headroom = DV_COMPUTE_FULL / 5};
}

/* N samples: the first `busy_n` of each ten at `busy`, the others at `rest`. */
static const struct dv_audit_workload *judged(double busy, int busy_n, double rest, double memory,
                                              const struct dv_audit_wish *w)
{
    static struct dv_audit *a;
    uint32_t i = 0;
    dv_audit_free(a); /* of the call before */
    a = dv_audit_new();
    assert_non_null(a);
    assert_int_equal(dv_audit_find(a, "w", "", &i), 0);
    for (int k = 0; k < N; k++) {
        dv_audit_busy(a, i, (k + 1) * 60 * S, k % 10 < busy_n ? busy : rest);
        if (memory > 0)
            dv_audit_memory(a, i, (k + 1) * 60 * S, memory);
    }
    assert_int_equal(dv_audit_finish(a, w), 0);
    return dv_audit_at(a, i);
}

static void test_classes(void **state)
{
    struct dv_audit_wish w = wish();
    static const struct {
        double busy;
        int n;
        double rest;
        enum dv_audit_class class;
    } cases[] = {
        {95, 10, 0, DV_AUDIT_TRAINING}, {95, 8, 5, DV_AUDIT_TRAINING}, /* stops for checkpoints */
        {95, 7, 5, DV_AUDIT_BURSTY}, /* its lower quarter is low */
        {55, 10, 0, DV_AUDIT_STEADY},   {15, 9, 10, DV_AUDIT_STEADY},
        {15, 8, 0, DV_AUDIT_STEADY},    {15, 7, 0, DV_AUDIT_BURSTY},
        {80, 1, 2, DV_AUDIT_BURSTY},    {0, 10, 0, DV_AUDIT_IDLE},
        {9, 1, 0, DV_AUDIT_IDLE},       {11, 1, 0, DV_AUDIT_BURSTY},
        {0.5, 10, 0, DV_AUDIT_STEADY}, /* little, but always */
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(cases); i++)
        assert_int_equal(judged(cases[i].busy, cases[i].n, cases[i].rest, 1e9, &w)->class,
                         cases[i].class);
}

static void test_modes(void **state)
{
    struct dv_audit_wish w = wish();
    const struct dv_audit_workload *x = judged(95, 10, 0, 1e9, &w);
    assert_int_equal(x->how, DV_AUDIT_EXCLUSIVE);
    assert_int_equal(x->why, DV_AUDIT_WHY_TRAINING);
    assert_int_equal(x->memory_bytes, 0);
    x = judged(15, 9, 10, 1e9, &w);
    assert_int_equal(x->how, DV_AUDIT_MPS);
    assert_int_equal(x->compute, 15 * 70);
    assert_int_equal(x->memory_bytes, 1024 * DV_MIB); /* 1.05e9 in steps of 256 MiB */
    x = judged(40, 3, 0, 1e9, &w);
    assert_int_equal(x->how, DV_AUDIT_GOVERNED);
    assert_int_equal(x->why, DV_AUDIT_WHY_BURSTY);
    assert_false(x->park);
    x = judged(0, 10, 0, 1e9, &w);
    assert_int_equal(x->how, DV_AUDIT_GOVERNED);
    assert_true(x->park);
    assert_int_equal(x->compute, 70);
    x = judged(90, 3, 0, 1e9, &w); /* its bursts leave less than the headroom */
    assert_int_equal(x->why, DV_AUDIT_WHY_LARGE);
    x = judged(40, 3, 0, 75e9, &w);
    assert_int_equal(x->why, DV_AUDIT_WHY_LARGE);
    x = judged(40, 3, 0, 0, &w);
    assert_int_equal(x->why, DV_AUDIT_WHY_NO_MEMORY);
    assert_int_equal(x->how, DV_AUDIT_KEEP);
}

static void test_walls(void **state)
{
    struct dv_audit_wish w = wish();
    w.wall = DV_WALL_DRIVER;
    const struct dv_audit_workload *x = judged(40, 3, 0, 1e9, &w);
    assert_int_equal(x->how, DV_AUDIT_MPS);
    assert_int_equal(x->why, DV_AUDIT_WHY_DRIVER_WALL);
    w.wall = DV_WALL_NONE;
    w.trust = DV_TRUST_UNTRUSTED;
    x = judged(10, 9, 0, 5e9, &w);
    assert_int_equal(x->how, DV_AUDIT_MIG);
    assert_string_equal(w.mig->profiles[x->profile].name, "1g.10gb");
    x = judged(10, 9, 0, 15e9, &w);
    assert_string_equal(w.mig->profiles[x->profile].name, "1g.20gb");
    x = judged(40, 9, 0, 5e9, &w);
    assert_string_equal(w.mig->profiles[x->profile].name, "3g.40gb");
    x = judged(95, 10, 0, 5e9, &w); /* a GPU of one's own is a hardware wall */
    assert_int_equal(x->why, DV_AUDIT_WHY_TRAINING);
    w.mig = NULL;
    x = judged(10, 9, 0, 5e9, &w);
    assert_int_equal(x->how, DV_AUDIT_EXCLUSIVE);
    assert_int_equal(x->why, DV_AUDIT_WHY_WALL_NO_MIG);
}

/* A GPU that nobody has needs no place, but what somebody does on it outside of pods does. */
static void test_nobody(void **state)
{
    static const struct {
        double busy, memory;
        bool nobody;
    } cases[] = {{0, 5e6, true}, {0, 0, true}, {0, 5e9, false}, {30, 5e6, false}};
    struct dv_audit_wish w = wish();
    for (size_t c = 0; c < DV_ARRAY_SIZE(cases); c++) {
        dv_cleanup(dv_audit_freep) struct dv_audit *a = dv_audit_new();
        uint32_t i = 0;
        assert_non_null(a);
        assert_int_equal(dv_audit_find(a, DV_AUDIT_NOBODY, "GPU-1", &i), 0);
        for (int k = 0; k < N; k++) {
            dv_audit_busy(a, i, (k + 1) * 60 * S, cases[c].busy);
            if (cases[c].memory > 0)
                dv_audit_memory(a, i, (k + 1) * 60 * S, cases[c].memory);
        }
        assert_int_equal(dv_audit_finish(a, &w), 0);
        assert_int_equal(dv_audit_is_nobody(dv_audit_at(a, i)), cases[c].nobody);
    }
}

static void test_too_little(void **state)
{
    struct dv_audit_wish w = wish();
    struct dv_audit *a = dv_audit_new();
    uint32_t i = 0;
    assert_non_null(a);
    assert_int_equal(dv_audit_find(a, "w", "", &i), 0);
    for (int k = 0; k < (int)DV_AUDIT_SAMPLES_MIN - 1; k++)
        dv_audit_busy(a, i, (k + 1) * S, 99);
    assert_int_equal(dv_audit_finish(a, &w), 0);
    assert_int_equal(dv_audit_at(a, i)->class, DV_AUDIT_UNKNOWN);
    assert_int_equal(dv_audit_at(a, i)->how, DV_AUDIT_KEEP);
    dv_audit_busy(a, i, 100 * S, 99);
    assert_int_equal(dv_audit_finish(a, &w), 0);
    assert_int_equal(dv_audit_at(a, i)->class, DV_AUDIT_TRAINING);
    dv_audit_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),    cmocka_unit_test(test_modes),
        cmocka_unit_test(test_walls),      cmocka_unit_test(test_nobody),
        cmocka_unit_test(test_too_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
