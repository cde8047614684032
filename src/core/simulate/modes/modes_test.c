/* SPDX-License-Identifier: Apache-2.0 */
/* Both models against figures worked out by hand, and what must hold of any load. */
#include "base/testing/oom.h"
#include "simulate/modes/modes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS DV_NS_PER_MS
#define US DV_NS_PER_US

static struct dv_modes_result result;

static const struct dv_modes_result *run(const struct dv_arrivals_load *load,
                                         const struct dv_modes_config *c, enum dv_modes_mode mode)
{
    assert_int_equal(dv_arrivals_check(load, NULL), 0);
    assert_int_equal(dv_modes_config_check(c, NULL), 0);
    assert_int_equal(dv_modes_run(load, c, mode, NULL, &result), 0);
    return &result;
}

/* ---- the textbook: two tenants, five requests of 10 ms ---- */

static const uint64_t zero[] = {0, 5 * MS, 100 * MS}, one[] = {5 * MS, 12 * MS};
static const struct dv_arrivals_recorded recorded[] = {{zero, 3}, {one, 2}};
static const struct dv_arrivals_load small = {
    .tenants = 2, .duration_ns = 1000 * MS, .service_ns = 10 * MS, .recorded = recorded};
static const struct dv_modes_config textbook = {.model = DV_MODES_TEXTBOOK};

static void assert_textbook(enum dv_modes_mode mode, uint64_t p50_us, uint64_t p99_us)
{
    const struct dv_modes_result *r = run(&small, &textbook, mode);
    assert_int_equal(r->verdict, DV_MODES_OK);
    assert_int_equal(r->all.offered, 5);
    assert_int_equal(r->all.served, 5);
    assert_int_equal(r->all.p50_ns, p50_us * US);
    assert_int_equal(r->all.p99_ns, p99_us * US);
    assert_true(r->all.exact && r->complete);
}

static void test_textbook_by_hand(void **state)
{
    /* ends 20 40 120 | 25 45: latencies 20 35 20 20 33 */
    assert_textbook(DV_MODES_MIG, 20000, 34920);
    /* busy 0 1 1 2 0: services 10 11.8 11.8 13.6 10, ends 10 21.8 16.8 30.4 110 */
    assert_textbook(DV_MODES_MPS, 11800, 18336);
    /* ends 10 20 30.8 40.8 110.8: latencies 10 15 25.8 28.8 10.8 */
    assert_textbook(DV_MODES_TIMESLICE, 15000, 28680);
    /* ends 10 20 110 | 15 25: latencies 10 15 10 10 13 */
    assert_textbook(DV_MODES_EXCLUSIVE, 10000, 14920);
    assert_int_equal(run(&small, &textbook, DV_MODES_GOVERNED)->verdict, DV_MODES_NOT_MODELLED);
}

/* A request that ends when the time is over is not served; p99 is of those that are. */
static void test_textbook_end(void **state)
{
    struct dv_arrivals_load l = small;
    l.duration_ns = 110 * MS + 800 * US;
    assert_int_equal(run(&l, &textbook, DV_MODES_TIMESLICE)->all.served, 4);
    assert_int_equal(result.all.offered, 5);
    l.duration_ns++;
    assert_int_equal(run(&l, &textbook, DV_MODES_TIMESLICE)->all.served, 5);
    l.duration_ns = 100 * MS;
    assert_int_equal(run(&l, &textbook, DV_MODES_TIMESLICE)->all.offered, 4);
    assert_int_equal(result.tenants[0].offered, 2);
    assert_int_equal(result.tenants[1].served, 2);
}

/* ---- the engine: two requests of 10 ms at once, on an A100 of 108 SMs ---- */

static const uint64_t start[] = {0};
static const struct dv_arrivals_recorded at_once[] = {{start, 1}, {start, 1}, {start, 1}};
static const struct dv_arrivals_load pair = {
    .tenants = 2, .duration_ns = 1000 * MS, .service_ns = 10 * MS, .recorded = at_once};

static struct dv_modes_config engine(void)
{
    struct dv_modes_config c;
    dv_modes_config_default(&c);
    assert_string_equal(c.gpu->name, "A100-80GB");
    return c;
}

static void assert_latencies(const struct dv_modes_result *r, uint64_t first, uint64_t second)
{
    assert_int_equal(r->verdict, DV_MODES_OK);
    assert_int_equal(r->all.served, 2);
    assert_int_equal(r->tenants[0].max_ns, first);
    assert_int_equal(r->tenants[1].max_ns, second);
}

static void test_engine_by_hand(void **state)
{
    struct dv_modes_config c = engine();
    /* Each has half of the SMs. */
    assert_latencies(run(&pair, &c, DV_MODES_MPS), 20 * MS, 20 * MS);
    /* Turns of 2.048 ms, 60 us between them; the fifth turn of each is 1.808 ms long. */
    assert_latencies(run(&pair, &c, DV_MODES_TIMESLICE), 18672 * US, 20540 * US);
    assert_int_equal(result.switch_ppm, 9 * 60);
    /* 3g.40gb each: 42 of 108 SMs. */
    assert_latencies(run(&pair, &c, DV_MODES_MIG), 25714286, 25714286);
    assert_string_equal(c.gpu->mig->profiles[result.mig_profile].name, "3g.40gb");
    assert_int_equal(result.instance_sm, 42);
    assert_latencies(run(&pair, &c, DV_MODES_EXCLUSIVE), 10 * MS, 10 * MS);
    assert_int_equal(result.cards, 2);
    assert_int_equal(result.work_ppm, 10000); /* 20 ms of two cards' 1 s */
    /* Asked at 0, read at 70 us, answered at 140 us; handed over at the end, a hop and a switch. */
    assert_latencies(run(&pair, &c, DV_MODES_GOVERNED), 10140 * US, (10140 + 70 + 60 + 10000) * US);
    assert_int_equal(result.leases, 2);
}

/* Requests that fill half of the card do not disturb each other under MPS, unless limited. */
static void test_engine_width(void **state)
{
    struct dv_modes_config c = engine();
    c.width = DV_COMPUTE_FULL / 2;
    assert_latencies(run(&pair, &c, DV_MODES_MPS), 10 * MS, 10 * MS);
    assert_int_equal(result.work_ppm, 10000);
    c.mps_limit = DV_COMPUTE_FULL / 4;
    assert_latencies(run(&pair, &c, DV_MODES_MPS), 20 * MS, 20 * MS);
    assert_latencies(run(&pair, &c, DV_MODES_MIG), 12857143, 12857143); /* 54 on 42 */
    assert_latencies(run(&pair, &c, DV_MODES_TIMESLICE), 18672 * US, 20540 * US);
}

/* A tenant that is alone keeps its lease: only its first request waits for one. */
static void test_governed_parked(void **state)
{
    static const uint64_t at[] = {0, 100 * MS, 200 * MS, 205 * MS};
    static const struct dv_arrivals_recorded list = {at, 4};
    struct dv_arrivals_load l = small;
    struct dv_modes_config c = engine();
    l.tenants = 1;
    l.recorded = &list;
    assert_int_equal(run(&l, &c, DV_MODES_GOVERNED)->all.served, 4);
    assert_int_equal(result.all.max_ns, 15 * MS);
    assert_int_equal(result.all.p50_ns, (10 * MS + 10140 * US) / 2);
    assert_int_equal(result.leases, 1);
}

static void test_instances(void **state)
{
    static const struct {
        uint32_t tenants;
        const char *profile;
    } want[] = {{1, "7g.80gb"}, {2, "3g.40gb"}, {3, "2g.20gb"},
                {4, "1g.20gb"}, {5, "1g.10gb"}, {7, "1g.10gb"}};
    struct dv_arrivals_load l = {
        .duration_ns = 100 * MS, .service_ns = MS, .rate_milli = 1000, .seed = 1};
    struct dv_modes_config c = engine();
    for (size_t i = 0; i < DV_ARRAY_SIZE(want); i++) {
        l.tenants = want[i].tenants;
        assert_int_equal(run(&l, &c, DV_MODES_MIG)->verdict, DV_MODES_OK);
        assert_string_equal(c.gpu->mig->profiles[result.mig_profile].name, want[i].profile);
    }
    l.tenants = 8;
    assert_int_equal(run(&l, &c, DV_MODES_MIG)->verdict, DV_MODES_TOO_MANY);
    assert_int_equal(result.limit, 7);
    assert_int_equal(run(&l, &c, DV_MODES_MPS)->verdict, DV_MODES_OK);
    c.gpu = dv_gpu_model_find("A30", NULL);
    assert_int_equal(run(&l, &c, DV_MODES_MIG)->limit, 4);
    c.gpu = dv_gpu_model_find("T4", NULL);
    assert_int_equal(run(&l, &c, DV_MODES_MIG)->verdict, DV_MODES_NO_MIG);
}

/* ---- any load ---- */

static const struct dv_arrivals_load seven = {.tenants = 7,
                                              .duration_ns = 60 * DV_NS_PER_S,
                                              .service_ns = 10 * MS,
                                              .rate_milli = 8000,
                                              .seed = 7};

static void assert_sound(const struct dv_modes_result *r, const struct dv_arrivals_load *l)
{
    uint64_t offered = 0, served = 0, max = 0;
    for (uint32_t t = 0; t < l->tenants; t++) {
        const struct dv_modes_figures *f = &r->tenants[t];
        offered += f->offered;
        served += f->served;
        max = DV_MAX(max, f->max_ns);
        assert_true(f->served <= f->offered);
        assert_true(f->p50_ns <= f->p99_ns && f->p99_ns <= f->max_ns);
        assert_true(!f->served || f->p50_ns >= dv_arrivals_service(l, t));
    }
    assert_int_equal(r->all.offered, offered);
    assert_int_equal(r->all.served, served);
    assert_int_equal(r->all.max_ns, max);
    for (size_t i = 1; i < DV_MODES_CURVE; i++)
        assert_true(r->curve_ns[i - 1] <= r->curve_ns[i]);
    assert_int_equal(r->curve_ns[7], r->all.p50_ns);
    assert_int_equal(r->curve_ns[14], r->all.p99_ns);
    assert_int_equal(r->curve_ns[DV_MODES_CURVE - 1], max);
    assert_true(r->work_ppm <= 1000000);
}

static void test_sound(void **state)
{
    struct dv_rng rng = {5};
    for (int round = 0; round < 60; round++) {
        struct dv_modes_config c = engine();
        struct dv_arrivals_load l = {
            .tenants = 1 + (uint32_t)dv_rng_below(&rng, 12),
            .duration_ns = MS + dv_rng_below(&rng, 3 * DV_NS_PER_S),
            .service_ns = US + dv_rng_below(&rng, 20 * MS),
            .rate_milli = 1 + dv_rng_below(&rng, 100000),
            .seed = dv_rng_next(&rng),
            .has_hostile = dv_rng_below(&rng, 2),
            .hostile_service_milli = 1 + dv_rng_below(&rng, 20000),
            .hostile_rate_milli = 1 + dv_rng_below(&rng, 4000),
        };
        c.width = 1 + (uint32_t)dv_rng_below(&rng, DV_COMPUTE_FULL);
        c.kernel_ns = US + dv_rng_below(&rng, 20 * MS);
        c.switch_ns = dv_rng_below(&rng, MS);
        c.hop_ns = dv_rng_below(&rng, MS);
        for (uint32_t m = 0; m < DV_MODES_COUNT; m++)
            if (run(&l, &c, m)->verdict == DV_MODES_OK)
                assert_sound(&result, &l);
        c.model = DV_MODES_TEXTBOOK;
        for (uint32_t m = 0; m < DV_MODES_GOVERNED; m++) {
            run(&l, &c, m);
            result.work_ppm = 0; /* MPS of the textbook does more than a card can */
            assert_sound(&result, &l);
        }
    }
}

/* At 56 % of the card nothing is lost anywhere: the card does all the work there is. */
static void test_work_is_conserved(void **state)
{
    struct dv_modes_config c = engine();
    for (uint32_t m = 0; m < DV_MODES_EXCLUSIVE; m++) {
        run(&seven, &c, m);
        assert_true(result.all.served + 25 >= result.all.offered);
        uint64_t ppm = result.all.served * 10 * MS * 1000000 / seven.duration_ns;
        assert_in_range(result.work_ppm, ppm, ppm + 5000);
    }
}

static void test_hostile(void **state)
{
    struct dv_modes_config c = engine();
    struct dv_arrivals_load bad = seven;
    uint64_t ratio[2][DV_MODES_COUNT];
    bad.has_hostile = true;
    bad.hostile = 1;
    for (c.model = DV_MODES_TEXTBOOK; c.model <= DV_MODES_ENGINE; c.model++)
        for (uint32_t m = 0; m < DV_MODES_COUNT; m++) {
            bad.hostile_service_milli = bad.hostile_rate_milli = 1000;
            struct dv_modes_result calm = *run(&bad, &c, m);
            bad.hostile_service_milli = 10000;
            bad.hostile_rate_milli = 2000;
            run(&bad, &c, m);
            if (calm.others.p99_ns)
                ratio[c.model][m] = result.others.p99_ns * 1000 / calm.others.p99_ns;
            if (m != DV_MODES_MIG && m != DV_MODES_EXCLUSIVE)
                continue;
            /* Behind a wall: not one of their requests ends at another time. */
            assert_int_equal(result.others.p99_ns, calm.others.p99_ns);
            assert_int_equal(result.others.served, calm.others.served);
            for (uint32_t t = 0; t < 7; t++)
                if (t != 1)
                    assert_memory_equal(&result.tenants[t], &calm.tenants[t],
                                        sizeof calm.tenants[t]);
        }
    assert_true(ratio[DV_MODES_TEXTBOOK][DV_MODES_TIMESLICE] > 10000);
    assert_true(ratio[DV_MODES_ENGINE][DV_MODES_MPS] > 1200);
    assert_true(ratio[DV_MODES_ENGINE][DV_MODES_TIMESLICE] > 1200);
    /* Leases hold the hostile one to its share. */
    assert_true(ratio[DV_MODES_ENGINE][DV_MODES_GOVERNED] < ratio[DV_MODES_ENGINE][DV_MODES_MPS]);
}

static bool until_half(void *ctx, uint64_t simulated_ns)
{
    uint64_t *last = ctx;
    assert_true(simulated_ns >= *last);
    *last = simulated_ns;
    return simulated_ns < seven.duration_ns * 50;
}

static void test_stopped(void **state)
{
    struct dv_arrivals_load l = seven;
    l.duration_ns *= 100;
    for (int model = DV_MODES_TEXTBOOK; model <= DV_MODES_ENGINE; model++) {
        struct dv_modes_config c = engine();
        c.model = model;
        for (uint32_t m = 0; m < DV_MODES_COUNT; m++) {
            uint64_t last = 0;
            struct dv_modes_watch watch = {until_half, &last};
            assert_int_equal(dv_modes_run(&l, &c, m, &watch, &result), 0);
            if (result.verdict != DV_MODES_OK)
                continue;
            assert_false(result.complete);
            assert_int_equal(result.until_ns, last);
            assert_in_range(result.until_ns, l.duration_ns / 2, l.duration_ns * 55 / 100);
            assert_in_range(result.all.served, result.all.offered - 100, result.all.offered);
        }
    }
}

static bool never(void *ctx, uint64_t simulated_ns)
{
    return false;
}

static bool until_the_end(void *ctx, uint64_t simulated_ns)
{
    const uint64_t *duration_ns = ctx;
    return simulated_ns < *duration_ns;
}

/* A card that is hopelessly behind has looked at few of the requests that came: they are counted at
 * the end, and that can be stopped too. */
static void test_stopped_while_counting(void **state)
{
    struct dv_arrivals_load l = seven;
    l.recorded = NULL;
    l.rate_milli = 10000000000;
    l.service_ns = 100 * DV_NS_PER_MS;
    l.duration_ns = DV_NS_PER_S / 2;
    struct dv_modes_config c = engine();
    struct dv_modes_watch watch = {until_the_end, &l.duration_ns};
    assert_int_equal(dv_modes_run(&l, &c, DV_MODES_TIMESLICE, &watch, &result), 0);
    assert_false(result.complete);
    assert_int_equal(result.until_ns, l.duration_ns);
    assert_in_range(result.all.served, 0, 6);
    assert_in_range(result.all.offered, 65536, 100000);
}

/* Two requests of an hour each, in turns of a microsecond: who waits for the end of a request, or
 * for some thousands of them, waits for ever. */
static void test_stopped_between_requests(void **state)
{
    const uint64_t at[] = {0};
    const struct dv_arrivals_recorded both[] = {{at, 1}, {at, 1}};
    struct dv_arrivals_load l = {.tenants = 2,
                                 .duration_ns = DV_ARRIVALS_DURATION_MAX,
                                 .service_ns = DV_ARRIVALS_SERVICE_MAX,
                                 .recorded = both};
    struct dv_modes_config c = engine();
    struct dv_modes_watch watch = {never, NULL};
    c.timeslice_ns = c.kernel_ns = DV_NS_PER_US;
    const enum dv_modes_mode modes[] = {DV_MODES_TIMESLICE, DV_MODES_GOVERNED};
    for (size_t i = 0; i < DV_ARRAY_SIZE(modes); i++) {
        assert_int_equal(dv_modes_run(&l, &c, modes[i], &watch, &result), 0);
        assert_false(result.complete);
        assert_in_range(result.until_ns, 0, 60 * DV_NS_PER_S);
        assert_int_equal(result.all.served, 0);
    }
}

static void test_refused(void **state)
{
    struct dv_err err = {{0}};
    struct dv_modes_config c = engine();
    c.gpu = dv_gpu_model_find("B300", NULL);
    if (c.gpu && !c.gpu->sm) {
        assert_int_equal(dv_modes_config_check(&c, &err), -EINVAL);
        assert_non_null(strstr(err.msg, "multiprocessors is not known"));
    }
    c = engine();
    c.width = 0;
    assert_int_equal(dv_modes_config_check(&c, &err), -ERANGE);
    c = engine();
    c.kernel_ns = 1;
    assert_int_equal(dv_modes_config_check(&c, &err), -ERANGE);
    c = engine();
    c.hop_ns = DV_NS_PER_S;
    assert_int_equal(dv_modes_config_check(&c, &err), -ERANGE);
}

static void test_no_memory(void **state)
{
    struct dv_arrivals_load l = seven;
    struct dv_modes_config c = engine();
    l.duration_ns = 2 * DV_NS_PER_S;
    for (uint32_t m = 0; m < DV_MODES_COUNT; m++)
        for (size_t n = 1;; n++) {
            result.all.served = 12345;
            dv_oom_at(n);
            int r = dv_modes_run(&l, &c, m, NULL, &result);
            if (!dv_oom_end()) {
                assert_int_equal(r, 0);
                assert_true(n > 7);
                break;
            }
            assert_int_equal(r, -ENOMEM);
            assert_int_equal(result.all.served, 12345);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_textbook_by_hand),
        cmocka_unit_test(test_textbook_end),
        cmocka_unit_test(test_engine_by_hand),
        cmocka_unit_test(test_engine_width),
        cmocka_unit_test(test_governed_parked),
        cmocka_unit_test(test_instances),
        cmocka_unit_test(test_sound),
        cmocka_unit_test(test_work_is_conserved),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_stopped_while_counting),
        cmocka_unit_test(test_stopped_between_requests),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
