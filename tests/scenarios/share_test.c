/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How exactly one device's time is shared, in virtual time: virtual GPU + arbiter + gates, with the
 * modelled control plane of share_world.h. `test-scenarios-share --table` prints what is achieved.
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
#define WINDOWS 10

static const uint64_t kernels[] = {5 * US, 500 * US, 5 * MS, 50 * MS};

struct result {
    double got[SHARE_PROCESSES]; /* points, over all windows */
    double error, window_error;  /* the largest, in points */
    double efficiency, idle;     /* parts of the wall time */
};

static struct share_program busy(uint64_t ns)
{
    return (struct share_program){.sigs = {{ns, 0, 1}}, .sig_count = 1};
}

static double wall_idle(struct share_world *w)
{
    struct dv_engine_partition_stats p;
    dv_engine_partition_stats(w->engine, w->now, w->card, &p);
    return (double)p.idle_ns;
}

/* Ten windows of a second. Every process is always busy, and process i should get target[i]. */
static struct result measure(struct share_world *w, const double *target)
{
    struct result r = {.error = 0};
    uint64_t from = w->now, last[SHARE_PROCESSES];
    double total[SHARE_PROCESSES] = {0}, all = 0, idle = wall_idle(w);
    for (uint32_t i = 0; i < w->process_count; i++)
        last[i] = share_busy(w, &w->processes[i]);
    for (unsigned k = 1; k <= WINDOWS; k++) {
        double got[SHARE_PROCESSES], sum = 0;
        share_run(w, from + k * S);
        for (uint32_t i = 0; i < w->process_count; i++) {
            uint64_t b = share_busy(w, &w->processes[i]);
            got[i] = (double)(b - last[i]);
            last[i] = b;
            sum += got[i];
            total[i] += got[i];
        }
        all += sum;
        for (uint32_t i = 0; i < w->process_count; i++)
            r.window_error = fmax(r.window_error, fabs(100 * got[i] / sum - target[i]));
    }
    for (uint32_t i = 0; i < w->process_count; i++) {
        r.got[i] = 100 * total[i] / all;
        r.error = fmax(r.error, fabs(r.got[i] - target[i]));
    }
    r.efficiency = all / (WINDOWS * 1e9);
    r.idle = (wall_idle(w) - idle) / (WINDOWS * 1e9);
    return r;
}

/* n processes in slices of their own, with these shares in percent and kernels. */
static struct result mix(unsigned n, const double *percent, const uint64_t *ns,
                         const struct share_options *o)
{
    static struct share_world w;
    share_world_init(&w, 1, o);
    for (unsigned i = 0; i < n; i++) {
        struct share_program p = busy(ns[i]);
        share_process(&w, share_entity(&w, (uint32_t)lround(percent[i] * 70), 0), &p);
    }
    share_run(&w, 500 * MS); /* prices are learnt */
    struct result r = measure(&w, percent);
    assert_int_equal(w.double_holders, 0);
    share_world_done(&w);
    return r;
}

static void check(const struct result *r, uint64_t longest_ns)
{
    double window_allowed = fmax(2, 100.0 * (double)longest_ns / 1e9);
    assert_true(r->error <= 1.0); /* longest kernel / ten seconds is below a point */
    assert_true(r->window_error <= window_allowed);
    assert_true(r->idle <= 0.03);
    assert_true(r->efficiency >= 0.97);
}

static void print_row(const char *what, const struct result *r, unsigned n)
{
    printf("| %s |", what);
    for (unsigned i = 0; i < n; i++)
        printf("%s%.2f", i ? " / " : " ", r->got[i]);
    printf(" | %.2f | %.2f | %.3f | %.2f %% |\n", r->error, r->window_error, r->efficiency,
           100 * r->idle);
}

static const char *name(uint64_t ns, char *buf)
{
    sprintf(buf, "%g ms", (double)ns / 1e6);
    return buf;
}

static bool table;

static void pairs(enum dv_engine_slicing slicing)
{
    struct share_options o;
    share_options_default(&o);
    o.slicing = slicing;
    for (unsigned first = 10; first <= 30; first += 20) {
        for (unsigned k = 0; k < 16; k++) {
            double percent[] = {first, 100 - first};
            uint64_t ns[] = {kernels[k / 4], kernels[k % 4]};
            char a[16], b[16], what[80];
            struct result r = mix(2, percent, ns, &o);
            sprintf(what, "%s : %s, %u/%u", name(ns[0], a), name(ns[1], b), first, 100 - first);
            if (table)
                print_row(what, &r, 2);
            else
                check(&r, DV_MAX(ns[0], ns[1]));
        }
    }
}

static void test_pairs(void **state)
{
    pairs(DV_ENGINE_SLICE_PHASE);
}

static void test_pairs_when_slices_are_instant(void **state)
{
    pairs(DV_ENGINE_SLICE_INSTANT);
}

static void test_triples(void **state)
{
    for (unsigned k = 0; k < 64; k++) {
        double percent[] = {20, 30, 50};
        uint64_t ns[] = {kernels[k / 16], kernels[k / 4 % 4], kernels[k % 4]};
        char a[16], b[16], c[16], what[80];
        struct result r = mix(3, percent, ns, NULL);
        sprintf(what, "%s : %s : %s, 20/30/50", name(ns[0], a), name(ns[1], b), name(ns[2], c));
        if (table)
            print_row(what, &r, 3);
        else
            check(&r, DV_MAX(ns[0], DV_MAX(ns[1], ns[2])));
    }
}

/* One process with many kinds of kernels beside graphs of 20 ms. */
static void test_graphs(void **state)
{
    static struct share_world w;
    double percent[] = {30, 70};
    share_world_init(&w, 2, NULL);
    struct share_program mixed = {
        .sigs = {{5 * US, 0, 50}, {50 * US, 0, 20}, {500 * US, 0, 5}, {5 * MS, 0, 1}},
        .sig_count = 4};
    struct share_program graph = busy(20 * MS);
    share_process(&w, share_entity(&w, 2100, 0), &mixed);
    share_process(&w, share_entity(&w, 4900, 0), &graph);
    share_run(&w, S);
    struct result r = measure(&w, percent);
    if (table)
        print_row("5 us..5 ms mixed : 20 ms graphs, 30/70", &r, 2);
    else
        check(&r, 20 * MS);
    share_world_done(&w);
}

static struct result crowd(unsigned n, uint64_t *ret_worst_wait)
{
    static struct share_world w;
    double percent[SHARE_PROCESSES];
    const uint64_t ns[] = {50 * US, 500 * US, 5 * MS};
    share_world_init(&w, 3, NULL);
    for (unsigned i = 0; i < n; i++) {
        struct share_program p = busy(ns[i % 3]);
        share_process(&w, share_entity(&w, 7000 / n, 0), &p);
        percent[i] = 100.0 / n;
    }
    share_run(&w, 2 * S);
    for (unsigned i = 0; i < n; i++)
        w.processes[i].worst_wait = 0;
    struct result r = measure(&w, percent);
    *ret_worst_wait = 0;
    for (unsigned i = 0; i < n; i++)
        *ret_worst_wait = DV_MAX(*ret_worst_wait, w.processes[i].worst_wait);
    share_world_done(&w);
    return r;
}

static void test_crowds(void **state)
{
    const unsigned n[] = {4, 10, 48};
    const uint64_t bound[] = {100 * MS, 150 * MS, 600 * MS};
    for (unsigned i = 0; i < 3; i++) {
        uint64_t worst;
        char what[64];
        struct result r = crowd(n[i], &worst);
        sprintf(what, "%u tenants, longest wait %.0f ms", n[i], (double)worst / 1e6);
        if (table) {
            print_row(what, &r, 1);
            continue;
        }
        check(&r, 5 * MS);
        assert_true(worst <= bound[i]);
    }
}

/* ---- caps ---- */

static void test_cap_alone(void **state)
{
    static struct share_world w;
    const uint32_t caps[] = {10, 30, 70};
    for (unsigned k = 0; k < 12; k++) {
        struct share_program p = busy(kernels[k % 4]);
        share_world_init(&w, 4, NULL);
        share_process(&w, share_entity(&w, 7000, caps[k / 4] * 70), &p);
        share_run(&w, S);
        uint64_t from = share_busy(&w, &w.processes[0]);
        share_run(&w, 11 * S);
        double got = (double)(share_busy(&w, &w.processes[0]) - from) / 1e8;
        if (table)
            printf("| cap %u %%, %g ms, alone | %.2f |\n", caps[k / 4],
                   (double)kernels[k % 4] / 1e6, got);
        else
            assert_true(fabs(got - caps[k / 4]) <= 1.0);
        share_world_done(&w);
    }
}

static void test_two_caps_leave_the_rest(void **state)
{
    static struct share_world w;
    struct share_program p = busy(500 * US), q = busy(5 * MS);
    share_world_init(&w, 5, NULL);
    share_process(&w, share_entity(&w, 3500, 2100), &p);
    share_process(&w, share_entity(&w, 3500, 2100), &q);
    share_run(&w, S);
    uint64_t a = share_busy(&w, &w.processes[0]), b = share_busy(&w, &w.processes[1]);
    share_run(&w, 11 * S);
    assert_true(fabs((double)(share_busy(&w, &w.processes[0]) - a) / 1e8 - 30) <= 1);
    assert_true(fabs((double)(share_busy(&w, &w.processes[1]) - b) / 1e8 - 30) <= 1);
    share_world_done(&w);
}

/* ---- faults ---- */

static struct share_process *holder(struct share_world *w)
{
    uint32_t slot = dv_turn_slot_plus_1(w->page.turn);
    return slot ? &w->processes[slot - 1] : NULL;
}

/* Runs until `who` has had the device for a while; returns when, or NEVER after a second. */
static uint64_t until_runs(struct share_world *w, const struct share_process *who)
{
    uint64_t from = w->now, before = share_busy(w, who);
    while (w->now < from + S) {
        share_run(w, w->now + 100 * US);
        if (share_busy(w, who) > before)
            return w->now - from;
    }
    return DV_NEVER;
}

static void until_holds(struct share_world *w, const struct share_process *p)
{
    for (unsigned i = 0; i < 10000 && holder(w) != p; i++)
        share_run(w, w->now + 100 * US);
    assert_ptr_equal(holder(w), p);
    share_run(w, w->now + MS);
}

static void test_death_of_the_holder(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        static struct share_world w;
        struct share_program p = busy(500 * US);
        share_world_init(&w, seed, NULL);
        struct share_process *a = share_process(&w, share_entity(&w, 3500, 0), &p);
        struct share_process *b = share_process(&w, share_entity(&w, 3500, 0), &p);
        share_run(&w, S);
        until_holds(&w, a);
        share_kill(&w, a);
        assert_true(until_runs(&w, b) <= 8 * MS);
        double before = (double)share_busy(&w, b), at = (double)w.now;
        share_run(&w, w.now + S); /* and has all of it */
        assert_true((double)share_busy(&w, b) - before >= 0.98 * ((double)w.now - at));
        share_world_done(&w);
    }
}

static void test_stopped_holder(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        static struct share_world w;
        struct share_program p = busy(500 * US);
        double percent[] = {50, 50};
        share_world_init(&w, seed, NULL);
        struct share_process *a = share_process(&w, share_entity(&w, 3500, 0), &p);
        struct share_process *b = share_process(&w, share_entity(&w, 3500, 0), &p);
        share_run(&w, S);
        until_holds(&w, a);
        share_stop(&w, a, true); /* SIGSTOP */
        assert_true(until_runs(&w, b) <= 25 * MS);
        double before = (double)share_busy(&w, b), at = (double)w.now;
        share_run(&w, w.now + S);
        assert_true((double)share_busy(&w, b) - before >= 0.97 * ((double)w.now - at));
        assert_in_range(dv_arbiter_slot_revocations(w.arbiter, a->slot), 1, 3);
        share_stop(&w, a, false); /* SIGCONT */
        share_run(&w, w.now + 200 * MS);
        struct result r = measure(&w, percent);
        assert_true(r.error <= 1.0);
        share_world_done(&w);
    }
}

/* The daemon dies: each goes on at its share, by the prices that it has learnt. */
static void test_without_daemon(void **state)
{
    static struct share_world w;
    struct share_program p = busy(500 * US), q = busy(5 * US);
    share_world_init(&w, 6, NULL);
    struct share_process *a = share_process(&w, share_entity(&w, 2100, 0), &p);
    struct share_process *b = share_process(&w, share_entity(&w, 3500, 0), &q);
    share_run(&w, 2 * S);
    w.daemon_dead = true;
    share_run(&w, 3 * S);
    uint64_t a0 = share_busy(&w, a), b0 = share_busy(&w, b);
    share_run(&w, 13 * S);
    double ga = (double)(share_busy(&w, a) - a0) / 1e8, gb = (double)(share_busy(&w, b) - b0) / 1e8;
    if (table)
        printf("| without a daemon, 30 and 50 | %.2f, %.2f |\n", ga, gb);
    assert_true(ga > 20 && ga <= 31);
    assert_true(gb > 35 && gb <= 51);
    w.daemon_dead = false;
    double percent[] = {37.5, 62.5};
    share_run(&w, 14 * S);
    struct result r = measure(&w, percent);
    assert_true(r.error <= 1.0);
    share_world_done(&w);
}

/* One that does not ask is noticed within a second; and nobody is accused when all are honest. */
static void test_intruder(void **state)
{
    static struct share_world w;
    struct share_options o;
    struct share_program p = busy(500 * US), q = busy(5 * US), cheat = busy(100 * US);
    share_options_default(&o);
    o.arbiter.intruder_hold_ns = 0; /* report only */
    share_world_init(&w, 7, &o);
    share_process(&w, share_entity(&w, 3500, 0), &p);
    share_process(&w, share_entity(&w, 3500, 0), &q);
    share_run(&w, 2 * S);
    for (unsigned i = 0; i < 300; i++) {
        share_run(&w, w.now + 10 * MS);
        assert_in_range(dv_arbiter_intruder_ratio(w.arbiter), 850, 1150);
    }
    cheat.cheats = true;
    share_process(&w, share_entity(&w, 3500, 0), &cheat);
    uint64_t from = w.now;
    while (dv_arbiter_intruder_ratio(w.arbiter) <= o.arbiter.intruder_permille &&
           w.now < from + 2 * S)
        share_run(&w, w.now + 10 * MS);
    if (table)
        printf("| an intruder is noticed after | %.0f ms |\n", (double)(w.now - from) / 1e6);
    assert_true(w.now - from <= S);
    share_world_done(&w);
}

/* ---- interactive and changing tenants ---- */

static double alone(const struct share_program *p)
{
    static struct share_world w;
    share_world_init(&w, 8, NULL);
    share_process(&w, share_entity(&w, 7000, 0), p);
    share_run(&w, S);
    uint64_t from = w.processes[0].launches;
    share_run(&w, 6 * S);
    double rate = (double)(w.processes[0].launches - from) / 5;
    share_world_done(&w);
    return rate;
}

/* A loop of 50 us kernels with a pause after each, beside a busy tenant, 50/50: its progress. */
static void test_sync_loops(void **state)
{
    const uint64_t think[] = {0, 100 * US, 200 * US, 500 * US};
    for (unsigned i = 0; i < 4; i++) {
        static struct share_world w;
        struct share_program p = busy(50 * US), q = busy(500 * US);
        p.sync_every = 1;
        p.think_ns = think[i];
        double pa = alone(&p), qa = alone(&q);
        share_world_init(&w, 9, NULL);
        share_process(&w, share_entity(&w, 3500, 0), &p);
        share_process(&w, share_entity(&w, 3500, 0), &q);
        share_run(&w, S);
        uint64_t p0 = w.processes[0].launches, q0 = w.processes[1].launches;
        share_run(&w, 11 * S);
        double pp = (double)(w.processes[0].launches - p0) / 10 / pa;
        double qp = (double)(w.processes[1].launches - q0) / 10 / qa;
        double bias = 100 * pp / (pp + qp) - 50;
        if (table)
            printf("| sync loop, pause %g us : busy, 50/50 | bias %+.2f | sum of progress %.3f |\n",
                   (double)think[i] / 1e3, bias, pp + qp);
        else
            assert_true(fabs(bias) <= (think[i] < 500 * US ? 2 : 6) && pp + qp >= 0.95);
        share_world_done(&w);
    }
}

static void test_live_change(void **state)
{
    static struct share_world w;
    struct share_program p = busy(500 * US);
    share_world_init(&w, 10, NULL);
    uint32_t a = share_entity(&w, 1400, 0), b = share_entity(&w, 5600, 0);
    share_process(&w, a, &p);
    share_process(&w, b, &p);
    share_run(&w, 2 * S);
    for (unsigned i = 0; i < 5; i++) {
        double want = i % 2 ? 20 : 80;
        share_change(&w, a, (uint32_t)want * 70, 0);
        share_change(&w, b, (uint32_t)(100 - want) * 70, 0);
        uint64_t pa = share_busy(&w, &w.processes[0]), pb = share_busy(&w, &w.processes[1]);
        share_run(&w, w.now + 500 * MS);
        double ga = (double)(share_busy(&w, &w.processes[0]) - pa);
        double gb = (double)(share_busy(&w, &w.processes[1]) - pb);
        assert_true(fabs(100 * ga / (ga + gb) - want) <= 3); /* a quantum of 500 ms is 2 */
    }
    share_world_done(&w);
}

/* Several processes of one slice share its share; an idle slice's time goes to the others. */
static void test_members_and_idle_slices(void **state)
{
    static struct share_world w;
    struct share_program p = busy(500 * US);
    double percent[] = {20, 20, 20, 40};
    share_world_init(&w, 11, NULL);
    uint32_t a = share_entity(&w, 2100, 0), b = share_entity(&w, 1400, 0);
    share_entity(&w, 3500, 0); /* has no process */
    for (unsigned i = 0; i < 3; i++)
        share_process(&w, a, &p);
    share_process(&w, b, &p);
    share_run(&w, S);
    struct result r = measure(&w, percent);
    assert_true(r.error <= 1.0);
    assert_true(r.efficiency >= 0.97);
    share_world_done(&w);
}

/* ---- what must hold whatever happens ---- */

static struct share_program random_program(struct dv_rng *rng)
{
    struct share_program p = {.sig_count = 1 + (uint32_t)dv_rng_below(rng, SHARE_SIGS)};
    for (uint32_t i = 0; i < p.sig_count; i++) {
        p.sigs[i].ns = kernels[dv_rng_below(rng, 3)] * (1 + dv_rng_below(rng, 5)) / 2;
        p.sigs[i].weight = 1 + (uint32_t)dv_rng_below(rng, 20);
    }
    if (dv_rng_below(rng, 3) == 0) {
        p.sync_every = 1 + (uint32_t)dv_rng_below(rng, 50);
        p.think_ns = dv_rng_below(rng, 5 * MS);
    }
    return p;
}

static void check_lags(struct share_world *w, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct dv_arbiter_counters c;
        assert_int_equal(dv_arbiter_entity_counters(w->arbiter, w->now, i, &c), 0);
        /* A quantum, what may run past it, and what a sleeper may save. */
        if (c.wants || c.holds)
            assert_true(llabs(c.lag_ns) <= (int64_t)(60 * MS));
        sum += (double)c.charged_ns;
    }
    assert_true(sum <= (double)w->now * 1.001 + 1e6); /* nobody pays for the same time twice */
}

static void random_world(uint64_t seed)
{
    static struct share_world w;
    struct dv_rng rng = {seed * 77};
    uint32_t n = 2 + (uint32_t)dv_rng_below(&rng, 6), shares = 0;
    share_world_init(&w, seed, NULL);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t share = 200 + (uint32_t)dv_rng_below(&rng, 800);
        uint32_t e = share_entity(&w, share, 0);
        shares += share;
        struct share_program p = random_program(&rng);
        share_process(&w, e, &p);
    }
    share_run(&w, S);
    uint64_t busy0[SHARE_PROCESSES], from = w.now;
    for (uint32_t i = 0; i < n; i++)
        busy0[i] = share_busy(&w, &w.processes[i]);
    double idle = wall_idle(&w);
    while (w.now < 6 * S) {
        share_run(&w, w.now + 7 * MS);
        check_lags(&w, n);
    }
    bool all_busy = true;
    for (uint32_t i = 0; i < n; i++) {
        const struct share_process *p = &w.processes[i];
        double got = (double)(share_busy(&w, p) - busy0[i]) / (double)(w.now - from);
        double due = (double)w.slices[p->entity].compute / shares;
        all_busy = all_busy && !p->program.sync_every;
        if (p->program.sync_every)
            continue;
        assert_true(got >= due * 0.96 - 0.01); /* no starvation: all of its share, or more */
    }
    if (all_busy)
        assert_true((wall_idle(&w) - idle) / (double)(w.now - from) <= 0.03);
    assert_int_equal(w.double_holders, 0);
    share_world_done(&w);
}

static void test_random_worlds(void **state)
{
    for (uint64_t seed = 1; seed <= 40; seed++)
        random_world(seed);
}

static void test_repeatable(void **state)
{
    double percent[] = {30, 70};
    uint64_t ns[] = {5 * MS, 500 * US};
    struct result a = mix(2, percent, ns, NULL), b = mix(2, percent, ns, NULL);
    assert_memory_equal(&a, &b, sizeof a);
}

static void print_table(void)
{
    table = true;
    printf("| mix | got, points | error over 10 s | over 1 s | efficiency | idle |\n");
    printf("|---|---|---|---|---|---|\n");
    pairs(DV_ENGINE_SLICE_PHASE);
    test_triples(NULL);
    test_graphs(NULL);
    test_crowds(NULL);
    test_cap_alone(NULL);
    test_sync_loops(NULL);
    test_without_daemon(NULL);
    test_intruder(NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_pairs_when_slices_are_instant),
        cmocka_unit_test(test_triples),
        cmocka_unit_test(test_graphs),
        cmocka_unit_test(test_crowds),
        cmocka_unit_test(test_cap_alone),
        cmocka_unit_test(test_two_caps_leave_the_rest),
        cmocka_unit_test(test_death_of_the_holder),
        cmocka_unit_test(test_stopped_holder),
        cmocka_unit_test(test_without_daemon),
        cmocka_unit_test(test_intruder),
        cmocka_unit_test(test_sync_loops),
        cmocka_unit_test(test_live_change),
        cmocka_unit_test(test_members_and_idle_slices),
        cmocka_unit_test(test_random_worlds),
        cmocka_unit_test(test_repeatable),
    };
    if (argc > 1 && strcmp(argv[1], "--table") == 0) {
        print_table();
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
