/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the arbiter says that a device lost, against the virtual GPU's own figures: in virtual time,
 * with the modelled control plane of share_world.h. `test-scenarios-lost --table` prints them.
 */
#include "share_world.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define US DV_NS_PER_US
#define MS DV_NS_PER_MS
#define S DV_NS_PER_S
#define RUN (10 * S)

static bool table;

static struct share_program busy(uint64_t ns)
{
    return (struct share_program){.sigs = {{ns, 0, 1}}, .sig_count = 1};
}

static struct dv_engine_partition_stats truth(struct share_world *w)
{
    struct dv_engine_partition_stats p;
    dv_engine_partition_stats(w->engine, w->now, w->card, &p);
    return p;
}

struct sums {
    uint64_t charged;
};

static struct sums sums_of(const struct share_world *w, uint32_t entities)
{
    struct sums s = {0};
    for (uint32_t i = 0; i < entities; i++) {
        struct dv_arbiter_counters c;
        struct dv_arbiter_waits waits;
        assert_int_equal(dv_arbiter_entity_counters(w->arbiter, w->now, i, &c), 0);
        assert_int_equal(dv_arbiter_entity_waits(w->arbiter, w->now, i, &waits), 0);
        uint64_t row = waits.nobody_ns + waits.gone_ns;
        for (uint32_t k = 0; k < DV_ARBITER_ENTITIES_MAX; k++)
            row += waits.for_entity_ns[k];
        assert_int_equal(row, c.waited_ns);
        s.charged += c.charged_ns;
    }
    return s;
}

/* Runs on, looking every 0.7 ms: charged and lost time never exceed what has passed. */
static void run_and_look(struct share_world *w, uint32_t entities, uint64_t until,
                         int64_t *ret_excess)
{
    uint64_t overhead = dv_arbiter_overhead(w->arbiter);
    while (w->now < until) {
        share_run(w, DV_MIN(w->now + 700 * US, until));
        struct sums s = sums_of(w, entities);
        int64_t over = (int64_t)(s.charged + dv_arbiter_overhead(w->arbiter)) - (int64_t)w->now;
        *ret_excess = DV_MAX(*ret_excess, over);
        assert_true(dv_arbiter_overhead(w->arbiter) >= overhead);
        overhead = dv_arbiter_overhead(w->arbiter);
    }
}

struct figures {
    double lost, switched, idle, charged, busy; /* parts of the wall time, percent */
    int64_t excess_ns;                          /* charged + lost beyond what has passed, at most */
};

static struct figures measure(struct share_world *w, uint32_t entities)
{
    struct figures f = {.excess_ns = INT64_MIN};
    share_run(w, w->now + S); /* prices are learnt */
    struct dv_engine_partition_stats a = truth(w);
    struct sums before = sums_of(w, entities);
    uint64_t overhead = dv_arbiter_overhead(w->arbiter);
    run_and_look(w, entities, w->now + RUN, &f.excess_ns);
    struct dv_engine_partition_stats b = truth(w);
    struct sums after = sums_of(w, entities);
    f.lost = (double)(dv_arbiter_overhead(w->arbiter) - overhead) / (RUN / 100.0);
    f.switched = (double)(b.switch_ns - a.switch_ns) / (RUN / 100.0);
    f.idle = (double)(b.idle_ns - a.idle_ns) / (RUN / 100.0);
    f.busy = (double)(b.busy_ns - a.busy_ns) / (RUN / 100.0);
    f.charged = (double)(after.charged - before.charged) / (RUN / 100.0);
    return f;
}

static struct figures mix(const struct share_options *o, uint32_t n, const uint32_t *percent,
                          const struct share_program *programs)
{
    static struct share_world w;
    share_world_init(&w, 1, o);
    for (uint32_t i = 0; i < n; i++)
        share_process(&w, share_entity(&w, percent[i] * 70, 0), &programs[i]);
    struct figures f = measure(&w, n);
    share_world_done(&w);
    return f;
}

static void show(const char *what, const struct figures *f)
{
    printf("| %s | %.2f | %.2f + %.2f = %.2f | %+.2f | %.2f | %.2f | %.0f us |\n", what, f->lost,
           f->switched, f->idle, f->switched + f->idle, f->lost - f->switched - f->idle, f->charged,
           f->busy, (double)f->excess_ns / 1e3);
}

/* The switch to a context is in its first own time, and so charged to it; a gap inside a lease is
 * its holder's too. What is lost is the rest of what the device did not compute while somebody
 * waited: to 0.7 points of the wall time and a tenth of it. And what is charged and what is lost
 * make up the time that has passed. */
static void check(const char *what, const struct figures *f)
{
    if (table) {
        show(what, f);
        return;
    }
    if (fabs(f->lost - f->idle) > 0.7 + f->idle / 10)
        fail_msg("%s: lost %.2f %%, the device was idle for %.2f %%", what, f->lost, f->idle);
    assert_true(fabs(f->charged + f->lost - 100) <= 0.1);
    assert_true(f->excess_ns <= (int64_t)(3 * MS)); /* the running lease: a slice, and a hop */
}

/* Always busy: all that the device did not compute was lost while somebody waited. */
static void test_pairs(void **state)
{
    const uint64_t kernels[] = {5 * US, 500 * US, 5 * MS, 50 * MS};
    for (unsigned k = 0; k < 32; k++) {
        struct share_program p[] = {busy(kernels[k / 4 % 4]), busy(kernels[k % 4])};
        const uint32_t percent[] = {25, 75};
        struct share_options o;
        char what[80];
        share_options_default(&o);
        o.slicing = k / 16 ? DV_ENGINE_SLICE_INSTANT : DV_ENGINE_SLICE_PHASE;
        struct figures f = mix(&o, 2, percent, p);
        sprintf(what, "%g : %g ms, 25/75, %s", (double)kernels[k / 4 % 4] / 1e6,
                (double)kernels[k % 4] / 1e6, k / 16 ? "instant" : "phase");
        check(what, &f);
    }
}

static void test_crowd(void **state)
{
    struct share_program p[12];
    uint32_t percent[12];
    for (unsigned i = 0; i < 12; i++) {
        p[i] = busy(i % 2 ? 500 * US : 50 * US);
        percent[i] = 8;
    }
    struct share_options o;
    share_options_default(&o);
    struct figures f = mix(&o, 12, percent, p);
    check("12 tenants", &f);
}

/* A badly run card: no overlap and short turns, so that much is lost. It has to show. */
static void test_much_is_lost(void **state)
{
    for (unsigned ms = 1; ms <= 4; ms *= 2) {
        struct share_program p[] = {busy(100 * US), busy(100 * US), busy(50 * US)};
        const uint32_t percent[] = {30, 30, 40};
        struct share_options o;
        char what[64];
        share_options_default(&o);
        o.arbiter.quantum_ns = ms * MS;
        o.arbiter.overlap_ns = 0;
        struct figures f = mix(&o, 3, percent, p);
        sprintf(what, "turns of %u ms, no overlap", ms);
        check(what, &f);
        assert_true(table || f.lost > 1);
    }
}

/* One alone loses nothing, whatever it does. */
static void test_alone(void **state)
{
    struct share_program loop = busy(50 * US);
    loop.sync_every = 1;
    loop.think_ns = 2 * MS;
    const uint32_t percent[] = {50};
    struct share_options o;
    share_options_default(&o);
    struct figures f = mix(&o, 1, percent, &loop);
    if (table)
        show("a loop with pauses of 2 ms, alone", &f);
    assert_true(f.lost == 0);
}

/* Beside somebody who is always busy it waits for that one, and only what is lost is lost. */
static void test_loop_beside_busy(void **state)
{
    struct share_program p[] = {busy(50 * US), busy(500 * US)};
    p[0].sync_every = 1;
    p[0].think_ns = 2 * MS;
    const uint32_t percent[] = {50, 50};
    struct share_options o;
    share_options_default(&o);
    struct figures f = mix(&o, 2, percent, p);
    check("loop with pauses of 2 ms : busy, 50/50", &f);
}

int main(int argc, char **argv)
{
    table = argc > 1 && !strcmp(argv[1], "--table");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_much_is_lost),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_loop_beside_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
