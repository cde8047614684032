/* SPDX-License-Identifier: Apache-2.0 */
/* One brain: what `advise`, `plan` and `audit` say of the same workload has to agree. */
#include "base/rng.h"
#include "policy/advise/advise.h"
#include "policy/audit/audit_group.h"
#include "policy/fleet/fleet_rules.h"
#include "policy/mode_choice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROUNDS 200000

/* One workload, as each of the three is told of it. */
struct asked {
    struct dv_advise_want want;
    struct dv_fleet_workload workload;
    struct dv_audit_workload measured;
    struct dv_audit_wish wish;
    struct dv_advise advice;
    struct dv_fleet_choice choice;
    struct dv_audit_group group;
    struct dv_audit_choice reckoned; /* of the group */
};

/* Figures of a workload of each class; `series` belongs to the audit that is kept here. */
static const struct dv_audit_workload *example(enum dv_audit_class class)
{
    static const struct {
        double busy, rest;
        int busy_n; /* of ten samples */
    } shapes[] = {[DV_AUDIT_IDLE] = {0, 0, 10},
                  [DV_AUDIT_TRAINING] = {95, 95, 10},
                  [DV_AUDIT_STEADY] = {10, 10, 10},
                  [DV_AUDIT_BURSTY] = {40, 0, 3}};
    static struct dv_audit *audits[DV_AUDIT_BURSTY + 1];
    uint32_t i = 0;
    if (audits[class])
        return dv_audit_at(audits[class], 0);
    struct dv_audit *a = audits[class] = dv_audit_new();
    struct dv_audit_wish wish = {.gpu_memory_bytes = 80 * DV_GIB};
    assert_non_null(a);
    assert_int_equal(dv_audit_find(a, "w", "", &i), 0);
    for (int k = 0; k < 100; k++) {
        int64_t t = (k + 1) * 60 * (int64_t)DV_NS_PER_S;
        dv_audit_busy(a, i, t,
                      k % 10 < shapes[class].busy_n ? shapes[class].busy : shapes[class].rest);
        dv_audit_memory(a, i, t, 1e9);
    }
    assert_int_equal(dv_audit_finish(a, &wish), 0);
    assert_int_equal(dv_audit_at(a, i)->class, class);
    return dv_audit_at(a, i);
}

/* One whose memory is known: without it nothing can be measured against it, or packed. */
static const struct dv_gpu_model *any_model(struct dv_rng *rng)
{
    const struct dv_gpu_model *m = NULL;
    size_t n = 0;
    while (dv_gpu_model_at(n))
        n++;
    while (!m || !dv_gpu_model_usable(m))
        m = dv_gpu_model_at(dv_rng_below(rng, n));
    return m;
}

static enum dv_audit_class class_of(enum dv_advise_kind kind, struct dv_rng *rng)
{
    if (kind == DV_ADVISE_TRAINING)
        return DV_AUDIT_TRAINING;
    if (kind == DV_ADVISE_INFERENCE)
        return DV_AUDIT_STEADY;
    return dv_rng_below(rng, 2) ? DV_AUDIT_BURSTY : DV_AUDIT_IDLE;
}

/* Puts the workload of a->want to all of them. */
static void ask_all(struct dv_rng *rng, struct asked *a)
{
    const struct dv_advise_want *w = &a->want;
    a->workload = (struct dv_fleet_workload){
        .count = 1,
        .gpus = w->gpus,
        .memory_bytes = w->memory_bytes,
        .compute = w->compute,
        .training = w->kind == DV_ADVISE_TRAINING,
        .inference = w->kind == DV_ADVISE_INFERENCE,
        .interactive = w->kind == DV_ADVISE_INTERACTIVE,
        .trust = w->untrusted ? DV_TRUST_UNTRUSTED : DV_TRUST_TRUSTED,
        .p99_ns = w->p99_ns,
    };
    a->wish = (struct dv_audit_wish){.gpu_memory_bytes = dv_gpu_model_usable(w->gpu),
                                     .mig = w->gpu->mig,
                                     .trust = a->workload.trust};
    a->measured = *example(class_of(w->kind, rng));
    a->measured.series.memory_peak = w->memory_bytes;
    a->measured.p95_percent = 100.0 * w->compute / DV_COMPUTE_FULL;
    a->group = (struct dv_audit_group){.count = 1,
                                       .gpus = DV_MAX(w->gpus, 1),
                                       .busy_milli = w->compute / 70 * 1000,
                                       .kind = w->kind};
    dv_advise(w, &a->advice);
    dv_fleet_rules_choose(&a->workload, &a->choice);
    dv_audit_judge(&a->measured, &a->wish);
    dv_audit_group_judge(&a->group, &a->wish, &a->reckoned);
}

/* One of everything that can be said of a workload. */
static void ask(struct dv_rng *rng, bool latency, struct asked *a)
{
    static const uint64_t ms[] = {1, 30, 49, 50, 51, 300};
    *a = (struct asked){.want = {.gpu = any_model(rng)}};
    struct dv_advise_want *w = &a->want;
    w->kind = (enum dv_advise_kind)dv_rng_below(rng, DV_ADVISE_KINDS);
    w->memory_bytes = (1 + dv_rng_below(rng, 90)) * DV_GIB;
    w->compute = (1 + (uint32_t)dv_rng_below(rng, 100)) * (DV_COMPUTE_FULL / 100);
    w->untrusted = dv_rng_below(rng, 3) == 0;
    w->gpus = dv_rng_below(rng, 8) ? 0 : 2;
    w->p99_ns = latency ? ms[dv_rng_below(rng, DV_ARRAY_SIZE(ms))] * DV_NS_PER_MS : 0;
    ask_all(rng, a);
}

static uint32_t bit_of_advise(enum dv_advise_mode mode)
{
    static const uint32_t bits[DV_ADVISE_MODES] = {
        [DV_ADVISE_TIMESLICE] = DV_SHARING_BIT(DV_SHARING_TIMESLICE),
        [DV_ADVISE_GOVERNED] = DV_SHARING_BIT(DV_SHARING_GOVERNED),
        [DV_ADVISE_MPS] = DV_SHARING_BIT(DV_SHARING_MPS),
        [DV_ADVISE_MIG] = DV_SHARING_BIT(DV_SHARING_MIG),
        [DV_ADVISE_EXCLUSIVE] = DV_SHARING_BIT(DV_SHARING_EXCLUSIVE),
    };
    return bits[mode];
}

static uint32_t bit_of_audit(enum dv_audit_how how)
{
    static const uint32_t bits[] = {
        [DV_AUDIT_KEEP] = DV_SHARING_BIT(DV_SHARING_EXCLUSIVE),
        [DV_AUDIT_EXCLUSIVE] = DV_SHARING_BIT(DV_SHARING_EXCLUSIVE),
        [DV_AUDIT_MIG] = DV_SHARING_BIT(DV_SHARING_MIG),
        [DV_AUDIT_MPS] = DV_SHARING_BIT(DV_SHARING_MPS),
        [DV_AUDIT_GOVERNED] = DV_SHARING_BIT(DV_SHARING_GOVERNED),
    };
    return bits[how];
}

/* The weakest wall that one of these has. */
static enum dv_wall weakest(uint32_t modes)
{
    enum dv_wall wall = DV_WALL_HARDWARE;
    for (int m = 0; m < DV_SHARING_MODES; m++)
        if (modes & DV_SHARING_BIT(m))
            wall = DV_MIN(wall, dv_sharing_wall((enum dv_sharing)m));
    return wall;
}

/* What `plan` would do on the workload's GPU: its preference, or whole cards where no MIG device
 * holds it. */
static uint32_t plans(const struct asked *a)
{
    const struct dv_advise_want *w = &a->want;
    bool mig = dv_mode_profile(w->gpu->mig, dv_gpu_model_usable(w->gpu), w->memory_bytes,
                               w->compute) != NULL;
    if (a->choice.prefer == DV_FLEET_MIG && !mig)
        return DV_SHARING_BIT(DV_SHARING_EXCLUSIVE);
    return DV_SHARING_BIT((enum dv_sharing)a->choice.prefer);
}

/* The one difference to `plan` and `audit`, which know what else there is: more than half of a card
 * is the whole of it. */
static bool is_large(const struct asked *a)
{
    return a->advice.leaf == DV_ADVISE_L_LARGE || a->advice.leaf == DV_ADVISE_L_TOO_LARGE;
}

static void check_advise(const struct asked *a)
{
    uint32_t best = bit_of_advise(a->advice.best.mode);
    uint32_t second = bit_of_advise(a->advice.second.mode);
    bool training = a->want.kind == DV_ADVISE_TRAINING;
    assert_true(best & a->choice.modes);
    assert_true(training || !(second & ~a->choice.modes));
    assert_int_equal(best, is_large(a) ? DV_SHARING_BIT(DV_SHARING_EXCLUSIVE) : plans(a));
    if (a->want.untrusted || (a->want.p99_ns && a->want.p99_ns < DV_MODE_TIGHT_NS))
        assert_int_equal(weakest(best | second | a->choice.modes), DV_WALL_HARDWARE);
    if (training || a->want.gpus > 1) {
        assert_int_equal(best, DV_SHARING_BIT(DV_SHARING_EXCLUSIVE));
        assert_int_equal(a->choice.modes, DV_SHARING_BIT(DV_SHARING_EXCLUSIVE));
    }
    if (!a->want.gpu->mig)
        assert_false((best | second) & DV_SHARING_BIT(DV_SHARING_MIG));
}

static void test_advise_as_plan(void **state)
{
    struct dv_rng rng = {1};
    for (int i = 0; i < ROUNDS; i++) {
        struct asked a;
        ask(&rng, i % 2, &a);
        check_advise(&a);
    }
}

/* What a fleet's file that `audit` has written says of the workload, put to `plan`. */
static void check_file(const struct asked *a, uint32_t how)
{
    struct dv_fleet_workload w = {
        .count = 1,
        .training = a->measured.class == DV_AUDIT_TRAINING,
        .inference = a->measured.class == DV_AUDIT_STEADY,
        .isolation = a->measured.how == DV_AUDIT_MIG ? DV_WALL_HARDWARE : a->wish.wall,
        .trust = a->wish.trust,
        .modes = how,
    };
    struct dv_fleet_choice c;
    dv_fleet_rules_choose(&w, &c);
    assert_int_equal(c.modes, how);
}

/* `audit` of samples is told neither of several GPUs, nor of a latency, nor that people sit in
 * front of it: idle and bursty ones are a batch to it, and its reason says so. What is more than
 * half of a GPU may be beside smaller ones; its reason says that, too. */
static void check_audit(const struct asked *a)
{
    uint32_t how = bit_of_audit(a->measured.how), best = bit_of_advise(a->advice.best.mode);
    bool shared = a->measured.how > DV_AUDIT_MIG;
    if (a->want.untrusted)
        assert_int_equal(weakest(how), DV_WALL_HARDWARE);
    if (!a->want.gpu->mig)
        assert_int_not_equal(how, DV_SHARING_BIT(DV_SHARING_MIG));
    assert_true(how & a->choice.modes);
    assert_int_equal(a->measured.half, shared && is_large(a));
    if (a->measured.half || (is_large(a) && a->measured.why == DV_AUDIT_WHY_LARGE)) {
        assert_int_equal(best, DV_SHARING_BIT(DV_SHARING_EXCLUSIVE));
        assert_true(!shared || how == plans(a) || a->want.kind == DV_ADVISE_INTERACTIVE);
        return;
    }
    if (a->want.kind == DV_ADVISE_INTERACTIVE && !a->want.untrusted && !is_large(a)) {
        assert_int_equal(how, DV_SHARING_BIT(DV_SHARING_GOVERNED));
        assert_true(a->measured.why == DV_AUDIT_WHY_BURSTY || a->measured.why == DV_AUDIT_WHY_IDLE);
    } else {
        assert_int_equal(how, best);
    }
    check_file(a, how);
    if (a->measured.how == DV_AUDIT_MIG)
        assert_ptr_equal(&a->want.gpu->mig->profiles[a->measured.profile], a->advice.best.profile);
}

static void test_audit_as_advise(void **state)
{
    struct dv_rng rng = {2};
    for (int i = 0; i < ROUNDS; i++) {
        struct asked a;
        ask(&rng, false, &a);
        if (a.want.gpus <= 1)
            check_audit(&a);
    }
}

/* A group is told its kind, but not its memory. As busy as training is training, whatever it is
 * called. */
static void check_group(const struct asked *a)
{
    uint32_t mode = DV_SHARING_BIT(a->reckoned.mode);
    uint32_t whole = DV_SHARING_BIT(DV_SHARING_EXCLUSIVE);
    if (dv_audit_group_is_busy(&a->group)) {
        assert_int_equal(mode, whole);
        return;
    }
    assert_int_equal(a->reckoned.half, a->advice.leaf == DV_ADVISE_L_LARGE);
    if (a->reckoned.half)
        assert_int_equal(bit_of_advise(a->advice.best.mode), whole);
    else
        assert_int_equal(mode, bit_of_advise(a->advice.best.mode));
    assert_int_equal(mode, plans(a));
    if (a->reckoned.mode == DV_SHARING_MIG)
        assert_ptr_equal(&a->want.gpu->mig->profiles[a->reckoned.profile], a->advice.best.profile);
}

/* Every kind, share, trust and number of GPUs on every model. */
static void test_group_as_advise(void **state)
{
    struct dv_rng rng = {5};
    uint32_t seen[DV_SHARING_MODES] = {0};
    const struct dv_gpu_model *m = NULL;
    for (size_t i = 0; (m = dv_gpu_model_at(i)); i++)
        for (uint32_t n = 0; n < DV_ADVISE_KINDS * 100 * 4; n++) {
            struct asked a = {.want = {.gpu = m}};
            a.want.kind = (enum dv_advise_kind)(n % DV_ADVISE_KINDS);
            a.want.compute = (1 + n / 4 % 100) * (DV_COMPUTE_FULL / 100);
            a.want.untrusted = n / 400 % 2;
            a.want.gpus = 1 + n / 800;
            ask_all(&rng, &a);
            a.workload.gpus = a.want.gpus > 1 ? a.want.gpus : 0; /* a part of one */
            dv_fleet_rules_choose(&a.workload, &a.choice);
            check_group(&a);
            seen[a.reckoned.mode]++;
        }
    for (size_t i = 0; i < DV_ARRAY_SIZE(seen); i++)
        assert_true(seen[i] > 100);
}

/* With a wall asked for, which `advise` has no question for. */
static void test_audit_as_plan(void **state)
{
    struct dv_rng rng = {3};
    for (int i = 0; i < ROUNDS; i++) {
        struct asked a;
        ask(&rng, false, &a);
        if (a.want.gpus > 1)
            continue;
        a.wish.wall = dv_rng_below(&rng, 2) ? DV_WALL_DRIVER : DV_WALL_HARDWARE;
        /* Said of one workload it is what its author takes; said of a fleet, the least. */
        a.workload.isolation = a.want.untrusted ? DV_WALL_HARDWARE : a.wish.wall;
        dv_audit_judge(&a.measured, &a.wish);
        dv_fleet_rules_choose(&a.workload, &a.choice);
        uint32_t how = bit_of_audit(a.measured.how);
        assert_true(how & a.choice.modes);
        assert_true(weakest(how) >= a.workload.isolation);
        if (a.measured.how > DV_AUDIT_EXCLUSIVE)
            check_file(&a, how);
        if (a.measured.why != DV_AUDIT_WHY_LARGE)
            assert_int_equal(how, plans(&a));
    }
}

static struct dv_mode_needs any_needs(struct dv_rng *rng)
{
    struct dv_mode_needs n = {
        .whole = dv_rng_below(rng, 8) == 0,
        .training = dv_rng_below(rng, 6) == 0,
        .trust = (enum dv_trust)(dv_rng_below(rng, 3) == 0),
        .isolation = (enum dv_wall)dv_rng_below(rng, 4),
        .serves = dv_rng_below(rng, 3) == 0,
        .latency_critical = dv_rng_below(rng, 3) == 0,
        .interactive = dv_rng_below(rng, 3) == 0,
        .best_effort = dv_rng_below(rng, 3) == 0,
    };
    n.p99_ns = dv_rng_below(rng, 2) * dv_rng_below(rng, 99) * DV_NS_PER_MS;
    n.takes = dv_rng_below(rng, 2) ? 0 : (uint32_t)dv_rng_below(rng, DV_SHARING_ANY + 1);
    return n;
}

/* Whatever is said: no wall weaker than asked for, none below the driver's for the untrusted, and
 * nothing that the author does not take. */
static void test_table(void **state)
{
    bool reached[DV_MODE_RULES] = {false};
    struct dv_rng rng = {4};
    for (int i = 0; i < ROUNDS; i++) {
        struct dv_mode_needs n = any_needs(&rng);
        struct dv_mode_choice c;
        dv_mode_choose(&n, &c);
        reached[c.rule] = true;
        assert_true(!c.modes || (c.modes & DV_SHARING_BIT(c.prefer)));
        assert_false(c.modes & ~c.allowed);
        assert_false(n.takes && (c.modes & ~n.takes));
        assert_true(weakest(c.modes) >= n.isolation);
        assert_true(n.trust == DV_TRUST_TRUSTED || weakest(c.modes) >= DV_WALL_DRIVER);
        assert_int_equal(dv_mode_choice_next(c.rule, 0), DV_SHARING_MODES);
    }
    for (size_t i = 0; i < DV_MODE_RULES; i++)
        assert_true(reached[i]);
}

static void test_size(void **state)
{
    static const struct {
        uint64_t usable, memory;
        uint32_t compute, headroom;
        enum dv_mode_size size;
    } cases[] = {
        {1000, 0, 0, 0, DV_MODE_SIZE_PART},        {1000, 500, 3500, 0, DV_MODE_SIZE_PART},
        {1000, 501, 1, 0, DV_MODE_SIZE_HALF},      {1000, 1, 3501, 0, DV_MODE_SIZE_HALF},
        {1000, 900, 7000, 0, DV_MODE_SIZE_HALF},   {1000, 901, 1, 0, DV_MODE_SIZE_WHOLE},
        {1000, 1, 5600, 1400, DV_MODE_SIZE_HALF},  {1000, 1, 5601, 1400, DV_MODE_SIZE_WHOLE},
        {1000, 1, 2000, 5000, DV_MODE_SIZE_PART},  {1000, 1, 2001, 5000, DV_MODE_SIZE_WHOLE},
        {0, UINT64_MAX, 70, 0, DV_MODE_SIZE_PART},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(cases); i++)
        assert_int_equal(
            dv_mode_size(cases[i].usable, cases[i].memory, cases[i].compute, cases[i].headroom),
            cases[i].size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_advise_as_plan),  cmocka_unit_test(test_audit_as_advise),
        cmocka_unit_test(test_group_as_advise), cmocka_unit_test(test_audit_as_plan),
        cmocka_unit_test(test_table),           cmocka_unit_test(test_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
