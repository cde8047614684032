/* SPDX-License-Identifier: Apache-2.0 */
/* First fit is what it says: the plan of random fleets is the one that looking at every GPU in turn
 * makes. */
#include "base/rng.h"
#include "policy/audit/audit_pack.h"
#include "policy/mig_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S ((int64_t)DV_NS_PER_S)
#define WORKLOADS_MAX 120u
#define ROUNDS 400

/* ---- fleets -----------------------------------------------------------------------------------
 */

static void feed(struct dv_audit *a, struct dv_rng *rng, uint32_t i)
{
    static const int busy_n[] = {0, 0, 3, 3, 9, 10}; /* of ten samples */
    char name[32];
    uint32_t w = 0;
    int busy = busy_n[dv_rng_below(rng, DV_ARRAY_SIZE(busy_n))];
    double percent = (double)(1 + dv_rng_below(rng, dv_rng_below(rng, 6) ? 40 : 100));
    double memory = (double)(1 + dv_rng_below(rng, 30)) * 1e9;
    bool known = dv_rng_below(rng, 20) != 0;
    uint64_t start = dv_rng_below(rng, 5) * 50, n = 25 + dv_rng_below(rng, 100);
    snprintf(name, sizeof name, "w%u", i);
    assert_int_equal(dv_audit_find(a, name, "", &w), 0);
    for (uint64_t k = 0; k < n; k++) {
        dv_audit_busy(a, w, (int64_t)(1 + start + k) * S, (int)(k % 10) < busy ? percent : 0);
        if (known)
            dv_audit_memory(a, w, (int64_t)(1 + start + k) * S, memory);
    }
}

static struct dv_audit_wish any_wish(struct dv_rng *rng)
{
    static const char *const models[] = {"A100-80GB", "H100-80GB", "A30", "T4"};
    static const enum dv_wall walls[] = {DV_WALL_NONE, DV_WALL_NONE, DV_WALL_DRIVER,
                                         DV_WALL_HARDWARE};
    const struct dv_gpu_model *m =
        dv_gpu_model_find(models[dv_rng_below(rng, DV_ARRAY_SIZE(models))], NULL);
    assert_non_null(m);
    return (struct dv_audit_wish){
        .gpu_memory_bytes = dv_gpu_model_usable(m) - dv_rng_below(rng, 2) * 12345,
        .mig = m->mig,
        .wall = walls[dv_rng_below(rng, DV_ARRAY_SIZE(walls))],
        .memory_margin_permille = 50,
        .headroom = dv_rng_below(rng, 2)
                        ? (uint32_t)dv_rng_below(rng, DV_COMPUTE_FULL / 3)
                        : (uint32_t)dv_rng_below(rng, 33) * (DV_COMPUTE_FULL / 100),
    };
}

/* ---- one GPU after the other ------------------------------------------------------------------
 */

struct naive {
    const struct dv_audit *audit;
    const struct dv_audit_wish *wish;
    uint32_t n, order[WORKLOADS_MAX];
    uint32_t gpu_of[WORKLOADS_MAX], start_of[WORKLOADS_MAX]; /* start: of its MIG instance */
    uint32_t n_gpus;
    enum dv_audit_how how[WORKLOADS_MAX];
};

static bool is_whole(enum dv_audit_how how)
{
    return how <= DV_AUDIT_EXCLUSIVE;
}

static double size_of(const struct naive *k, const struct dv_audit_workload *w)
{
    double memory = (double)w->memory_bytes / (double)k->wish->gpu_memory_bytes;
    double compute = (double)w->compute / (DV_COMPUTE_FULL - k->wish->headroom);
    return is_whole(w->how) ? 2 : DV_MAX(memory, compute);
}

static bool is_before(const struct naive *k, uint32_t a, uint32_t b)
{
    const struct dv_audit_workload *x = dv_audit_at(k->audit, a), *y = dv_audit_at(k->audit, b);
    int64_t s = x->series.busy_times.first_ns, t = y->series.busy_times.first_ns;
    double p = size_of(k, x), q = size_of(k, y);
    return s != t ? s < t : p != q ? p > q : a < b;
}

static void sort(struct naive *k)
{
    for (uint32_t i = 0; i < k->n; i++) {
        uint32_t at = i;
        for (; at && is_before(k, i, k->order[at - 1]); at--)
            k->order[at] = k->order[at - 1];
        k->order[at] = i;
    }
}

/* Whether the workload, the nth to come, fits on the GPU beside those that are still there. */
static bool fits(struct naive *k, uint32_t nth, uint32_t gpu)
{
    const struct dv_audit_workload *w = dv_audit_at(k->audit, k->order[nth]);
    struct dv_mig_instance have[WORKLOADS_MAX];
    uint64_t memory = w->memory_bytes, compute = w->compute;
    uint32_t n = 0;
    for (uint32_t i = 0; i < nth; i++) {
        const struct dv_audit_workload *o = dv_audit_at(k->audit, k->order[i]);
        if (k->gpu_of[k->order[i]] != gpu ||
            o->series.busy_times.last_ns < w->series.busy_times.first_ns)
            continue;
        have[n++] = (struct dv_mig_instance){o->profile, k->start_of[k->order[i]]};
        memory += o->memory_bytes;
        compute += o->compute;
    }
    if (is_whole(w->how))
        return is_whole(k->how[gpu]) && !n;
    if (k->how[gpu] != w->how)
        return false;
    if (w->how == DV_AUDIT_MIG) {
        struct dv_mig_instance want = {w->profile, DV_MIG_UNPLACED};
        struct dv_mig_plan found;
        assert_int_equal(dv_mig_plan_find(k->wish->mig, have, n, &want, 1, &found), 0);
        k->start_of[k->order[nth]] = found.instances[0].start;
        return found.rule == DV_MIG_OK;
    }
    return !n || (n < DV_AUDIT_TENANTS_MAX && memory <= k->wish->gpu_memory_bytes &&
                  compute <= DV_COMPUTE_FULL - k->wish->headroom);
}

static void pack(struct naive *k)
{
    sort(k);
    for (uint32_t nth = 0; nth < k->n; nth++) {
        uint32_t gpu = 0;
        while (gpu < k->n_gpus && !fits(k, nth, gpu))
            gpu++;
        if (gpu == k->n_gpus) {
            k->how[k->n_gpus++] = dv_audit_at(k->audit, k->order[nth])->how;
            assert_true(fits(k, nth, gpu));
        }
        k->gpu_of[k->order[nth]] = gpu;
    }
}

/* ---- both -------------------------------------------------------------------------------------
 */

static void test_as_one_after_the_other(void **state)
{
    struct dv_rng rng = {1};
    uint32_t seen[DV_AUDIT_GOVERNED + 1] = {0}, together = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct dv_audit *a = dv_audit_new();
        struct dv_audit_plan *plan = NULL;
        struct dv_audit_wish wish = any_wish(&rng);
        struct naive k = {
            .audit = a, .wish = &wish, .n = 1 + (uint32_t)dv_rng_below(&rng, WORKLOADS_MAX)};
        assert_non_null(a);
        for (uint32_t i = 0; i < k.n; i++)
            feed(a, &rng, i);
        assert_int_equal(dv_audit_finish(a, &wish), 0);
        assert_int_equal(dv_audit_pack(a, &wish, &plan), 0);
        pack(&k);
        assert_int_equal(plan->n_gpus, k.n_gpus);
        assert_memory_equal(plan->gpu_of, k.gpu_of, k.n * sizeof k.gpu_of[0]);
        for (uint32_t g = 0; g < k.n_gpus; g++) {
            assert_int_equal(plan->gpus[g].how, k.how[g]);
            seen[k.how[g]]++;
            together += plan->gpus[g].workloads_peak > 1;
        }
        assert_true(plan->gpus_at_least <= plan->n_gpus);
        dv_audit_plan_free(plan);
        dv_audit_free(a);
    }
    for (size_t i = 0; i < DV_ARRAY_SIZE(seen); i++)
        assert_true(seen[i] > 100);
    assert_true(together > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_one_after_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
