/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/audit.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S ((int64_t)DV_NS_PER_S)

static const struct dv_audit_wish wish = {.gpu_memory_bytes = 80 * DV_GIB, .headroom = 1400};

static void test_names(void **state)
{
    struct dv_audit *a = dv_audit_new();
    uint32_t i = 0, k = 0;
    char text[400], name[32];
    assert_non_null(a);
    for (uint32_t n = 0; n < 5000; n++) {
        snprintf(name, sizeof name, "w%u", n);
        assert_int_equal(dv_audit_find(a, name, n % 2 ? "1" : "", &i), 0);
        assert_int_equal(i, n);
    }
    for (uint32_t n = 0; n < 5000; n++) {
        snprintf(name, sizeof name, "w%u", n);
        assert_int_equal(dv_audit_find(a, name, n % 2 ? "1" : "", &i), 0);
        assert_int_equal(i, n);
        assert_string_equal(dv_audit_at(a, i)->name, name);
    }
    /* Where name and GPU meet does not matter. */
    assert_int_equal(dv_audit_find(a, "a", "bc", &i), 0);
    assert_int_equal(dv_audit_find(a, "ab", "c", &k), 0);
    assert_int_not_equal(i, k);
    assert_int_equal(dv_audit_find(a, "", "x", &i), -EINVAL);
    memset(text, 'x', sizeof text);
    text[DV_AUDIT_NAME_MAX + 1] = 0;
    assert_int_equal(dv_audit_find(a, text, "", &i), -EINVAL);
    text[DV_AUDIT_NAME_MAX] = 0;
    assert_int_equal(dv_audit_find(a, text, "", &i), 0);
    dv_audit_free(a);
}

static void test_fleet(void **state)
{
    struct dv_audit *a = dv_audit_new();
    uint32_t x, y, z;
    assert_non_null(a);
    assert_int_equal(dv_audit_find(a, "x", "", &x), 0);
    assert_int_equal(dv_audit_find(a, "y", "", &y), 0);
    assert_int_equal(dv_audit_find(a, "z", "", &z), 0);
    for (int i = 0; i < 60; i++) { /* x all of the time, y then z: two at once at most */
        dv_audit_busy(a, x, (1000 + i * 60) * S, 50);
        dv_audit_busy(a, i < 30 ? y : z, (1000 + i * 60) * S, i < 30 ? 0 : 10);
        dv_audit_memory(a, x, (1000 + i * 60) * S, 1e9 + i);
    }
    uint32_t only = 0;
    assert_int_equal(dv_audit_find(a, "memory alone", "", &only), 0);
    dv_audit_memory(a, only, 1000 * S, 5);
    assert_int_equal(dv_audit_busy(a, x, 1000 * S, 50), DV_AUDIT_LATE);
    assert_int_equal(dv_audit_busy(a, z, (1000 + 59 * 60) * S, 10), DV_AUDIT_DUPLICATE);
    assert_int_equal(dv_audit_busy(a, z, (1000 + 59 * 60) * S, 11), DV_AUDIT_CONFLICT);
    assert_int_equal(dv_audit_finish(a, &wish), 0);
    const struct dv_audit_fleet *f = dv_audit_fleet(a);
    assert_int_equal(f->workloads, 3);
    assert_int_equal(f->memory_only, 1);
    assert_int_equal(f->samples, 120);
    assert_int_equal(f->memory_samples, 61);
    assert_int_equal(f->idle_samples, 30);
    assert_true(fabs(f->mean_percent - (60 * 50 + 30 * 10) / 120.0) < 1e-9);
    assert_int_equal(f->late, 1);
    assert_int_equal(f->duplicates, 2);
    assert_int_equal(f->conflicts, 1);
    assert_int_equal(f->step_ns, 60 * DV_NS_PER_S);
    assert_int_equal(f->gpus_peak, 2);
    assert_true(fabs(f->gpus_mean - 2) < 1e-9);
    assert_int_equal(f->gpu_ns, 120 * 60 * DV_NS_PER_S);
    assert_int_equal(f->by_class[DV_AUDIT_STEADY], 2);
    assert_int_equal(f->by_class[DV_AUDIT_IDLE], 1);
    assert_int_equal(dv_audit_at(a, x)->series.memory_peak, 1000000059);
    dv_audit_free(a);
}

/* Three that were seen 125 years apart. */
static void test_beyond_counting(void **state)
{
    struct dv_audit *a = dv_audit_new();
    static const char *const names[] = {"a", "b", "c"};
    assert_non_null(a);
    for (size_t i = 0; i < DV_ARRAY_SIZE(names); i++) {
        uint32_t w = 0;
        assert_int_equal(dv_audit_find(a, names[i], "", &w), 0);
        dv_audit_busy(a, w, 0, 10);
        dv_audit_busy(a, w, INT64_MAX / 7 * 3, 10);
        assert_int_equal(dv_audit_finish(a, &wish), i < 2 ? 0 : -EOVERFLOW);
    }
    dv_audit_free(a);
}

/* Three tenants of two GPUs, two of them on one. */
static void test_shared_gpus(void **state)
{
    static const struct {
        const char *name, *gpu;
        int from, to;
    } tenants[] = {{"a", "GPU-1", 0, 60}, {"b", "GPU-1", 30, 90}, {"c", "GPU-2", 0, 90}};
    struct dv_audit *a = dv_audit_new();
    assert_non_null(a);
    for (size_t i = 0; i < DV_ARRAY_SIZE(tenants); i++) {
        uint32_t w = 0;
        assert_int_equal(dv_audit_find(a, tenants[i].name, tenants[i].gpu, &w), 0);
        for (int t = tenants[i].from; t < tenants[i].to; t++)
            dv_audit_busy(a, w, (1000 + t * 60) * S, 10);
    }
    assert_int_equal(dv_audit_finish(a, &wish), 0);
    assert_int_equal(dv_audit_fleet(a)->gpus_peak, 3); /* each for itself */
    assert_int_equal(dv_audit_fleet(a)->gpu_ns, 210 * 60 * DV_NS_PER_S);
    dv_audit_share_gpus(a);
    assert_int_equal(dv_audit_finish(a, &wish), 0);
    const struct dv_audit_fleet *f = dv_audit_fleet(a);
    assert_int_equal(f->gpus_peak, 2);
    assert_int_equal(f->gpu_ns, 180 * 60 * DV_NS_PER_S);
    assert_true(fabs(f->gpus_mean - 2) < 1e-9);
    assert_true(fabs(f->busy_ns - 21 * 60 * 1e9) < 1);
    dv_audit_free(a);
}

/* dcgm-exporter copies a shared GPU's utilization to each pod on it: one GPU is never more than
 * wholly busy, whatever others are. */
static void test_copies(void **state)
{
    static const char *const gpus[] = {"GPU-1", "GPU-1", "GPU-1", "GPU-2"};
    static const char *const names[] = {"a", "b", "c", "d"};
    struct dv_audit *a = dv_audit_new();
    assert_non_null(a);
    dv_audit_share_gpus(a);
    for (size_t i = 0; i < DV_ARRAY_SIZE(gpus); i++) {
        uint32_t w = 0;
        assert_int_equal(dv_audit_find(a, names[i], gpus[i], &w), 0);
        for (int t = 0; t < 60; t++)
            dv_audit_busy(a, w, (1000 + t * 60) * S, i < 3 ? 60 : 0);
    }
    assert_int_equal(dv_audit_finish(a, &wish), 0);
    assert_int_equal(dv_audit_fleet(a)->gpu_ns, 120 * 60 * DV_NS_PER_S);
    assert_true(fabs(dv_audit_fleet(a)->busy_ns - 60 * 60 * 1e9) < 1e6); /* not 108 */
    assert_int_equal(dv_audit_fleet(a)->overfull, 1);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(dv_audit_at(a, i)->wasted_ns == 0); /* nothing of that GPU was */
    assert_true(dv_audit_at(a, 3)->wasted_ns == 60 * 60 * 1e9);
    dv_audit_free(a);
}

/* MIG instances of one GPU are that GPU, once; each holds a part of it. */
static void test_instances(void **state)
{
    static const char *const gpus[] = {"GPU-1/7", "GPU-1/8", "GPU-10/7", "GPU-1"};
    struct dv_audit *a = dv_audit_new();
    assert_non_null(a);
    dv_audit_share_gpus(a);
    for (size_t i = 0; i < DV_ARRAY_SIZE(gpus); i++) {
        uint32_t w = 0;
        assert_int_equal(dv_audit_find(a, "a", gpus[i], &w), 0);
        if (i < 3)
            dv_audit_part(a, w, 1.0 / 7);
        for (int t = 0; t < 60; t++)
            dv_audit_busy(a, w, (1000 + t * 60) * S, 10);
    }
    assert_int_equal(dv_audit_finish(a, &wish), 0);
    assert_int_equal(dv_audit_fleet(a)->gpus_peak, 2);
    assert_int_equal(dv_audit_fleet(a)->gpu_ns, 120 * 60 * DV_NS_PER_S);
    assert_true(dv_audit_at(a, 0)->part == 1.0 / 7 && dv_audit_at(a, 3)->part == 1);
    /* What GPU-1 wasted is split by what each left idle of its part: 70 % of it. */
    double wasted = 0;
    for (uint32_t i = 0; i < 4; i++)
        wasted += i == 2 ? 0 : dv_audit_at(a, i)->wasted_ns;
    assert_true(fabs(wasted - 0.7 * 60 * 60 * 1e9) < 1e6);
    /* Nobody wastes more than its part: 1/7 less 10 %. */
    assert_true(fabs(dv_audit_at(a, 2)->wasted_ns - (1.0 / 7 - 0.1) * 60 * 60 * 1e9) < 1e6);
    dv_audit_free(a);
}

static void test_nothing(void **state)
{
    struct dv_audit *a = dv_audit_new();
    assert_non_null(a);
    assert_int_equal(dv_audit_finish(a, &wish), 0);
    assert_int_equal(dv_audit_fleet(a)->samples, 0);
    assert_null(dv_audit_at(a, 0));
    dv_audit_free(a);
    dv_audit_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),       cmocka_unit_test(test_fleet),
        cmocka_unit_test(test_shared_gpus), cmocka_unit_test(test_beyond_counting),
        cmocka_unit_test(test_nothing),     cmocka_unit_test(test_instances),
        cmocka_unit_test(test_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
