/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "policy/advise/advise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static enum dv_wall weaker(const struct dv_advise_choice *c)
{
    return DV_MIN(c->memory_wall, c->compute_wall);
}

static const struct dv_gpu_model *any_model(struct dv_rng *rng)
{
    size_t n = 0;
    while (dv_gpu_model_at(n))
        n++;
    uint64_t i = dv_rng_below(rng, n + 1);
    return i == n ? NULL : dv_gpu_model_at(i);
}

static struct dv_advise_want any_want(struct dv_rng *rng)
{
    static const uint64_t memories[] = {0, 1, 2, 6, 10, 19, 20, 39, 40, 41, 70, 80, 100, 500};
    static const uint32_t computes[] = {0, 70, 700, 1000, 1001, 1750, 2000, 3500, 3501, 7000};
    static const uint32_t tenants[] = {0, 1, 2, 7, 8, 30, 100};
    return (struct dv_advise_want){
        .kind = (enum dv_advise_kind)dv_rng_below(rng, DV_ADVISE_KINDS),
        .memory_bytes = memories[dv_rng_below(rng, DV_ARRAY_SIZE(memories))] * DV_GIB,
        .compute = computes[dv_rng_below(rng, DV_ARRAY_SIZE(computes))],
        .p99_ns = dv_rng_below(rng, 3) * 30 * DV_NS_PER_MS,
        .untrusted = dv_rng_below(rng, 2),
        .tenants = tenants[dv_rng_below(rng, DV_ARRAY_SIZE(tenants))],
        .gpus = (uint32_t)dv_rng_below(rng, 4),
        .count = (uint32_t)dv_rng_below(rng, 40),
        .gpu = any_model(rng),
    };
}

/* One need more, or one that is stricter. */
static struct dv_advise_want stricter(struct dv_advise_want w, struct dv_rng *rng)
{
    switch (dv_rng_below(rng, 6)) {
    case 0:
        w.untrusted = true;
        break;
    case 1:
        w.p99_ns = w.p99_ns ? w.p99_ns / 2 : 50 * DV_NS_PER_MS;
        break;
    case 2:
        w.memory_bytes += (1 + dv_rng_below(rng, 60)) * DV_GIB;
        break;
    case 3:
        w.compute = (uint32_t)DV_MIN(w.compute + 1 + dv_rng_below(rng, 4000), 7000);
        break;
    case 4:
        w.kind = DV_ADVISE_TRAINING;
        break;
    default:
        w.gpus = DV_MAX(w.gpus, 1) + 1;
    }
    return w;
}

static void check_sane(const struct dv_advise_want *w, const struct dv_advise *a)
{
    assert_true(a->n_steps > 0 && a->n_steps <= DV_ADVISE_STEPS_MAX);
    assert_int_not_equal(a->best.mode, DV_ADVISE_NONE);
    assert_int_not_equal(a->best.mode, a->second.mode);
    const struct dv_advise_choice *both[] = {&a->best, &a->second};
    for (size_t i = 0; i < 2; i++) {
        const struct dv_advise_choice *c = both[i];
        if (c->mode == DV_ADVISE_NONE)
            continue;
        assert_int_equal(c->mode == DV_ADVISE_MIG, c->profile != NULL);
        assert_true(!c->profile || a->gpu->mig);
        assert_true(c->per_gpu >= 1 && c->gpus >= 1);
        uint64_t count = w->count ? w->count : 1;
        assert_true((uint64_t)c->gpus_needed * c->per_gpu >= count * c->gpus);
        assert_true(c->percent <= 100);
        if (w->untrusted)
            assert_int_equal(weaker(c), DV_WALL_HARDWARE);
        if (c->profile && w->compute)
            assert_true(dv_mig_compute(a->gpu->mig, c->profile) >= w->compute);
    }
    if (w->kind == DV_ADVISE_TRAINING)
        assert_int_equal(a->best.mode, DV_ADVISE_EXCLUSIVE);
}

static void test_properties(void **state)
{
    struct dv_rng rng = {42};
    for (int i = 0; i < 200000; i++) {
        struct dv_advise_want w = any_want(&rng), more = stricter(w, &rng);
        struct dv_advise a, b;
        dv_advise(&w, &a);
        dv_advise(&more, &b);
        check_sane(&w, &a);
        check_sane(&more, &b);
        assert_true(weaker(&b.best) >= weaker(&a.best));
    }
}

static void test_every_leaf(void **state)
{
    bool reached[DV_ADVISE_LEAVES] = {false}, asked[DV_ADVISE_QUESTIONS][2] = {{false}};
    struct dv_rng rng = {7};
    for (int i = 0; i < 50000; i++) {
        struct dv_advise_want w = any_want(&rng);
        struct dv_advise a;
        dv_advise(&w, &a);
        reached[a.leaf] = true;
        for (uint32_t k = 0; k < a.n_steps; k++)
            asked[a.steps[k].question][a.steps[k].yes] = true;
    }
    for (size_t i = 0; i < DV_ADVISE_LEAVES; i++)
        assert_true(reached[i]);
    for (size_t i = 0; i < DV_ADVISE_QUESTIONS; i++)
        assert_true(asked[i][0] && asked[i][1]);
}

static struct dv_advise advise(struct dv_advise_want w, const char *gpu)
{
    struct dv_advise a;
    w.gpu = gpu ? dv_gpu_model_find(gpu, NULL) : NULL;
    dv_advise(&w, &a);
    return a;
}

static void test_examples(void **state)
{
    struct dv_advise a =
        advise((struct dv_advise_want){.untrusted = true, .memory_bytes = 8 * DV_GIB}, "A100-80GB");
    assert_int_equal(a.best.mode, DV_ADVISE_MIG);
    assert_string_equal(a.best.profile->name, "1g.10gb");
    assert_int_equal(a.best.per_gpu, 7);
    a = advise((struct dv_advise_want){.untrusted = true, .memory_bytes = 2 * DV_GIB}, "T4");
    assert_int_equal(a.best.mode, DV_ADVISE_EXCLUSIVE);
    assert_int_equal(a.second.mode, DV_ADVISE_NONE);
    a = advise((struct dv_advise_want){.kind = DV_ADVISE_INTERACTIVE,
                                       .memory_bytes = 2 * DV_GIB,
                                       .count = 30},
               "A100-80GB");
    assert_int_equal(a.best.mode, DV_ADVISE_TIMESLICE); /* ten take turns, as in a fleet's plan */
    assert_int_equal(a.best.per_gpu, 10);
    assert_int_equal(a.best.gpus_needed, 3);
    assert_int_equal(a.second.mode, DV_ADVISE_GOVERNED);
    assert_int_equal(a.second.percent, 10);
    /* The packing bound: 6 GB and 12 % on 80 GB: memory allows 13, compute 8. */
    a = advise(
        (struct dv_advise_want){
            .kind = DV_ADVISE_INFERENCE, .tenants = 8, .memory_bytes = 6000000000, .compute = 840},
        "A100-80GB");
    assert_int_equal(a.best.mode, DV_ADVISE_MPS);
    assert_int_equal(a.best.per_gpu, 8);
    assert_false(a.too_many);
    a = advise((struct dv_advise_want){.memory_bytes = 200 * DV_GIB}, "H100");
    assert_int_equal(a.best.gpus, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_properties),
        cmocka_unit_test(test_every_leaf),
        cmocka_unit_test(test_examples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
