/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What holds of every bill: over random ledgers, price lists, ranges and questions. With --measure
 * it prints how long a large bill takes.
 */
#include "account/bill.h"
#include "base/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* What make() returned, kept for what it fills; clang takes a variable for unused that is only
 * cleaned up. */
#define HELD dv_cleanup(dv_bill_freep) __attribute__((unused))

#define ROWS_MAX 6000u
#define START INT64_C(1774600000) /* two days before Berlin's summer time begins */

static const struct dv_zone berlin = {.name = "Europe/Berlin",
                                      .first_offset = 3600,
                                      .n = 2,
                                      .changes = {{1774746000, 7200}, {1792890000, 3600}}};
static const char *const models[] = {"NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3", "Tesla T4"};

struct ledger {
    uint32_t n;
    struct dv_charge_row rows[ROWS_MAX];
};

static struct dv_price_list *random_prices(struct dv_rng *rng)
{
    struct dv_price_list *l = dv_price_list_new();
    assert_non_null(l);
    memcpy(l->currency, "EUR", 4);
    l->zone = berlin;
    for (uint32_t i = 0; i < 8; i++) {
        struct dv_price_rule r = {.line = i + 1,
                                  .micros_per_hour = (int64_t)dv_rng_below(rng, 5000000),
                                  .span = {INT32_MIN, INT32_MAX}};
        if (i && dv_rng_below(rng, 2))
            snprintf(r.tenant, sizeof r.tenant, "t%d", (int)dv_rng_below(rng, 4));
        if (i && dv_rng_below(rng, 2))
            snprintf(r.model, sizeof r.model, "%s", models[dv_rng_below(rng, 3)]);
        if (i && dv_rng_below(rng, 2)) {
            r.has_mode = true;
            r.mode = (enum dv_mode)dv_rng_below(rng, 5);
        }
        if (i && dv_rng_below(rng, 2)) {
            r.n_hours = 1;
            r.hours[0] = (struct dv_price_hours){1 + (uint32_t)dv_rng_below(rng, 127),
                                                 (int32_t)dv_rng_below(rng, 86400),
                                                 (int32_t)dv_rng_below(rng, 86401)};
        }
        assert_int_equal(dv_price_add_rule(l, &r, NULL), 0);
        if (dv_price_check(l, NULL, NULL) < 0)
            l->n_rules--;
    }
    for (uint32_t i = 0; i < 3; i++) {
        struct dv_price_fee f = {.micros_per_month = (int64_t)dv_rng_below(rng, 1000000000),
                                 .span = {INT32_MIN, INT32_MAX}};
        snprintf(f.tenant, sizeof f.tenant, "t%u", i * 2);
        if (i)
            f.span.from_day = 20535 + (int32_t)dv_rng_below(rng, 10);
        assert_int_equal(dv_price_add_fee(l, &f, NULL), 0);
    }
    assert_int_equal(dv_price_check(l, NULL, NULL), 0);
    return l;
}

/* One interval of a GPU: its wall time falls to random accounts, to the nanosecond. */
static void random_interval(struct dv_rng *rng, struct ledger *l, uint32_t gpu, int64_t from,
                            int64_t to)
{
    uint64_t left = (uint64_t)(to - from) * DV_NS_PER_S;
    const uint64_t most = left;
    for (uint32_t k = 0; k < 5; k++) {
        struct dv_charge_row *r = &l->rows[l->n++];
        *r = (struct dv_charge_row){.from_unix = from, .to_unix = to};
        uint64_t a = k == 4 ? left : dv_rng_below(rng, left + 1), b = dv_rng_below(rng, a + 1);
        left -= a;
        snprintf(r->account.gpu, DV_UUID_SIZE, "GPU-%08u", gpu);
        snprintf(r->account.model, DV_GPU_NAME_SIZE, "%s", models[gpu % 3]);
        if (k == 4) {
            r->charge = (struct dv_charge){
                .overhead_ns = b / 3, .unallocated_ns = a - b, .unhealthy_ns = b - b / 3};
            continue;
        }
        snprintf(r->account.tenant, DV_TENANT_SIZE, "t%d", (int)dv_rng_below(rng, 5));
        if (dv_rng_below(rng, 3))
            snprintf(r->account.pod, DV_WORKLOAD_NAME_SIZE, "p%d", (int)dv_rng_below(rng, 4));
        r->account.mode = (enum dv_mode)(1 + dv_rng_below(rng, 4));
        r->account.tier = (enum dv_tier)dv_rng_below(rng, 2);
        r->account.quality = (enum dv_quality)dv_rng_below(rng, 3);
        r->account.source = (enum dv_source)dv_rng_below(rng, 5);
        if (dv_rng_below(rng, 3) == 0)
            snprintf(r->account.profile, DV_MIG_NAME, "1g.10gb");
        r->charge = (struct dv_charge){.busy_ns = a - b,
                                       .reserved_idle_ns = b,
                                       .wait_ns = dv_rng_below(rng, most),
                                       .requested_compute = dv_rng_below(rng, most * 3500),
                                       .byte_seconds = dv_rng_below(rng, UINT64_C(1) << 50),
                                       .held_ns = dv_rng_below(rng, most)};
    }
}

static void random_ledger(struct dv_rng *rng, struct ledger *l, uint32_t gpus, int64_t step)
{
    l->n = 0;
    int64_t t = START;
    while (l->n + gpus * 5 <= ROWS_MAX && t < START + 6 * 86400) {
        int64_t to = t + 1 + (int64_t)dv_rng_below(rng, (uint64_t)step);
        for (uint32_t g = 0; g < gpus; g++)
            random_interval(rng, l, g, t, to);
        t = to;
    }
}

static struct dv_bill *make(const struct dv_price_list *prices, const struct dv_bill_query *q,
                            const struct ledger *l, struct dv_bill_result *ret)
{
    struct dv_bill *b = NULL;
    struct dv_err err = {{0}};
    int r = dv_bill_new(prices, q, &b, &err);
    for (uint32_t i = 0; !r && i < l->n; i++)
        r = dv_bill_add(b, &l->rows[i], &err);
    r = r ? r : dv_bill_finish(b, ret, &err);
    if (r)
        fail_msg("%d: %s", r, err.msg);
    return b;
}

static struct dv_bill_query random_query(struct dv_rng *rng, const struct ledger *l)
{
    int64_t end = l->rows[l->n - 1].to_unix;
    struct dv_bill_query q = {.from_unix = START - 100 + (int64_t)dv_rng_below(rng, 50000),
                              .by = (enum dv_bill_by)dv_rng_below(rng, DV_BILL_BY_ALL + 1),
                              .basis = (enum dv_bill_basis)dv_rng_below(rng, 4),
                              .idle = (enum dv_bill_idle)dv_rng_below(rng, 3)};
    q.to_unix =
        dv_rng_below(rng, 3) ? q.from_unix + 1 + (int64_t)dv_rng_below(rng, 400000) : end + 10;
    if (q.to_unix <= q.from_unix)
        q.to_unix = q.from_unix + 1;
    if (!dv_rng_below(rng, 4))
        snprintf(q.tenant, sizeof q.tenant, "t%d", (int)dv_rng_below(rng, 5));
    if (!dv_rng_below(rng, 4))
        snprintf(q.gpu, sizeof q.gpu, "GPU-00000000");
    return q;
}

static int64_t waste_of(const struct dv_bill_waste *w)
{
    return w->reserved_idle + w->overhead + w->unallocated + w->unhealthy;
}

static void check_gpus(const struct dv_bill_result *r)
{
    int64_t origin = 0, used = 0, waste = 0;
    for (uint32_t i = 0; i < r->n_gpus; i++) {
        assert_int_equal(r->gpus[i].origin_cost,
                         r->gpus[i].used_cost + waste_of(&r->gpus[i].waste));
        assert_true(!i || strcmp(r->gpus[i - 1].uuid, r->gpus[i].uuid) < 0);
        origin += r->gpus[i].origin_cost;
        used += r->gpus[i].used_cost;
        waste += waste_of(&r->gpus[i].waste);
    }
    assert_int_equal(origin, r->origin_cost);
    assert_int_equal(used, r->used_cost);
    assert_int_equal(waste, r->waste_cost);
    assert_int_equal(waste_of(&r->waste), r->waste_cost);
    assert_int_equal(r->used_cost + r->waste_cost, r->origin_cost);
}

static void check_tenants(const struct dv_bill_result *r)
{
    int64_t total = 0, used = 0;
    for (uint32_t i = 0; i < r->n_tenants; i++) {
        const struct dv_bill_tenant *t = &r->tenants[i];
        const int64_t basis[] = {t->used_cost, t->requested_cost, t->fixed_cost, t->max_cost};
        assert_true(t->tenant[0] && (!i || strcmp(t[-1].tenant, t->tenant) < 0));
        assert_int_equal(t->cost, basis[r->query.basis] + t->idle_cost);
        assert_int_equal(t->used_cost_of[0] + t->used_cost_of[1] + t->used_cost_of[2],
                         t->used_cost);
        assert_int_equal(t->busy_ns_of[0] + t->busy_ns_of[1] + t->busy_ns_of[2], t->charge.busy_ns);
        assert_true(t->max_cost >= DV_MAX(t->used_cost, t->requested_cost));
        total += t->cost;
        used += t->used_cost;
    }
    assert_int_equal(total, r->total_cost);
    if (!r->query.tenant[0]) {
        assert_int_equal(used, r->used_cost);
        assert_int_equal(r->others_cost, 0);
    }
    assert_int_equal(r->total_cost + r->others_cost + r->unshared_cost,
                     r->origin_cost + r->adjustment);
    if (r->query.basis == DV_BILL_USED)
        assert_int_equal(r->adjustment, 0);
    if (r->query.idle != DV_BILL_IDLE_NONE && (r->n_tenants || r->others_cost))
        assert_int_equal(r->unshared_cost, 0);
}

static void check_lines(const struct dv_bill_result *r)
{
    int64_t cost = 0, origin = 0, requested = 0, fixed = 0, idle = 0, shown_requested = 0,
            shown_fixed = 0, shown_idle = 0;
    struct dv_charge sum = {0};
    for (uint32_t i = 0; i < r->n_lines; i++) {
        const struct dv_bill_line *l = &r->lines[i];
        const int64_t basis[] = {l->used_cost, l->requested_cost, l->fixed_cost, l->max_cost};
        assert_int_equal(l->cost, basis[r->query.basis] + l->idle_cost);
        assert_true(l->from_unix >= r->query.from_unix && l->to_unix <= r->query.to_unix &&
                    l->from_unix < l->to_unix);
        cost += l->cost;
        origin += l->used_cost + waste_of(&l->waste);
        requested += l->requested_cost;
        fixed += l->fixed_cost;
        idle += l->idle_cost;
        dv_charge_add(&sum, &l->charge);
    }
    assert_int_equal(cost, r->total_cost);
    for (uint32_t i = 0; i < r->n_tenants; i++) {
        shown_requested += r->tenants[i].requested_cost;
        shown_fixed += r->tenants[i].fixed_cost;
        shown_idle += r->tenants[i].idle_cost;
    }
    assert_int_equal(requested, shown_requested);
    assert_int_equal(fixed, shown_fixed);
    assert_int_equal(idle, shown_idle);
    if (r->query.tenant[0])
        return;
    assert_int_equal(origin, r->origin_cost);
    for (uint32_t i = 0; i < r->n_gpus; i++)
        sum.busy_ns -= r->gpus[i].charge.busy_ns;
    assert_int_equal(sum.busy_ns, 0);
}

/* The five buckets of a GPU are the wall time of what of the range its rows cover. */
static void check_wall(const struct dv_bill_result *r, const struct ledger *l)
{
    int64_t from = DV_MAX(r->query.from_unix, START);
    int64_t to = DV_MIN(r->query.to_unix, l->rows[l->n - 1].to_unix);
    for (uint32_t i = 0; i < r->n_gpus; i++)
        assert_int_equal(dv_charge_wall_ns(&r->gpus[i].charge),
                         (uint64_t)(to - from) * DV_NS_PER_S);
}

/* The exact cost, added up in another way: interval by interval of constant price, in doubles. */
static void check_cost(const struct dv_bill_result *r, const struct ledger *l)
{
    double origin = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        const struct dv_charge_row *row = &l->rows[i];
        int64_t t = DV_MAX(row->from_unix, r->query.from_unix), until;
        if (strncmp(row->account.gpu, r->query.gpu, strlen(r->query.gpu)) != 0)
            continue;
        for (; t < DV_MIN(row->to_unix, r->query.to_unix); t = until) {
            const struct dv_price_rule *p = dv_price_find(r->prices, &row->account, t, &until);
            until = DV_MIN(until, DV_MIN(row->to_unix, r->query.to_unix));
            origin += (double)dv_charge_wall_ns(&row->charge) / 3600e9 *
                      (double)p->micros_per_hour * (double)(until - t) /
                      (double)(row->to_unix - row->from_unix);
        }
    }
    double off = origin - (double)r->origin_cost;
    if (off < -20 || off > 20) /* below a micro per GPU, and the rounding of doubles and of cuts */
        fail_msg("%.3f micros off of %.3f", off, origin);
}

static void test_identities(void **state)
{
    static struct ledger l;
    struct dv_rng rng = {51};
    for (int round = 0; round < 300; round++) {
        dv_cleanup(dv_price_list_freep) struct dv_price_list *prices = random_prices(&rng);
        random_ledger(&rng, &l, 1 + (uint32_t)dv_rng_below(&rng, 4), round % 3 ? 20000 : 90000);
        for (int k = 0; k < 10; k++) {
            struct dv_bill_query q = random_query(&rng, &l);
            struct dv_bill_result r;
            HELD struct dv_bill *b = make(prices, &q, &l, &r);
            check_gpus(&r);
            check_tenants(&r);
            check_lines(&r);
            check_wall(&r, &l);
            check_cost(&r, &l);
        }
    }
}

static void same_money(const struct dv_bill_result *a, const struct dv_bill_result *b)
{
    assert_int_equal(a->n_gpus, b->n_gpus);
    assert_int_equal(a->n_tenants, b->n_tenants);
    for (uint32_t i = 0; i < a->n_gpus; i++) {
        assert_string_equal(a->gpus[i].uuid, b->gpus[i].uuid);
        assert_memory_equal(&a->gpus[i].charge, &b->gpus[i].charge, sizeof a->gpus[i].charge);
        assert_int_equal(a->gpus[i].origin_cost, b->gpus[i].origin_cost);
        assert_memory_equal(&a->gpus[i].waste, &b->gpus[i].waste, sizeof a->gpus[i].waste);
    }
    for (uint32_t i = 0; i < a->n_tenants; i++) {
        const struct dv_bill_tenant *x = &a->tenants[i], *y = &b->tenants[i];
        assert_string_equal(x->tenant, y->tenant);
        assert_memory_equal(&x->charge, &y->charge, sizeof x->charge);
        assert_int_equal(x->used_cost, y->used_cost);
        assert_int_equal(x->fixed_cost, y->fixed_cost);
        assert_int_equal(x->idle_cost, y->idle_cost);
        assert_int_equal(x->requested_cost, y->requested_cost);
        assert_int_equal(x->max_cost, y->max_cost);
        assert_int_equal(x->cost, y->cost);
    }
}

/* However the bill is divided, whatever tenant is looked at: the same amounts. */
static void test_views_agree(void **state)
{
    static struct ledger l;
    struct dv_rng rng = {52};
    for (int round = 0; round < 60; round++) {
        dv_cleanup(dv_price_list_freep) struct dv_price_list *prices = random_prices(&rng);
        random_ledger(&rng, &l, 3, 30000);
        struct dv_bill_query q = random_query(&rng, &l);
        struct dv_bill_result first, other;
        q.tenant[0] = 0;
        HELD struct dv_bill *b = make(prices, &q, &l, &first);
        for (int by = 0; by <= DV_BILL_BY_ALL; by++) {
            q.by = (enum dv_bill_by)by;
            HELD struct dv_bill *c = make(prices, &q, &l, &other);
            same_money(&first, &other);
        }
        for (uint32_t i = 0; i < first.n_tenants; i++) {
            snprintf(q.tenant, sizeof q.tenant, "%s", first.tenants[i].tenant);
            HELD struct dv_bill *c = make(prices, &q, &l, &other);
            assert_int_equal(other.n_tenants, 1);
            assert_int_equal(other.tenants[0].cost, first.tenants[i].cost);
            assert_int_equal(other.total_cost + other.others_cost, first.total_cost);
        }
    }
}

/* What the lines of a tenant's pods sum to, beside the tenant's own figures. */
static void check_pods_of(const struct dv_bill_result *r, const struct dv_bill_tenant *t)
{
    struct dv_charge sum = {0};
    int64_t used = 0, requested = 0, max = 0, cost = 0;
    for (uint32_t i = 0; i < r->n_lines; i++) {
        const struct dv_bill_line *l = &r->lines[i];
        if (strcmp(l->account.tenant, t->tenant) != 0)
            continue;
        dv_charge_add(&sum, &l->charge);
        used += l->used_cost;
        requested += l->requested_cost;
        max += l->max_cost;
        cost += l->cost;
        assert_true(!i || strcmp(l[-1].account.tenant, t->tenant) != 0 ||
                    strcmp(l[-1].account.pod, l->account.pod) < 0);
    }
    assert_memory_equal(&sum, &t->charge, sizeof sum);
    assert_int_equal(used, t->used_cost);
    assert_int_equal(requested, t->requested_cost);
    assert_int_equal(max, t->max_cost);
    assert_int_equal(cost, t->cost);
}

static void assert_near(int64_t a, int64_t b)
{
    if (a - b > 200 || b - a > 200) /* micros: a remainder per account and day may go elsewhere */
        fail_msg("%lld, not %lld", (long long)a, (long long)b);
}

/* Pods sum to their tenants, to the nanosecond and the micro; and a tenant is charged the same
 * whether or not its pods are known, as when the ledger has only days left. */
static void test_pods_sum_to_their_tenants(void **state)
{
    static struct ledger l;
    struct dv_rng rng = {55};
    for (int round = 0; round < 60; round++) {
        dv_cleanup(dv_price_list_freep) struct dv_price_list *prices = random_prices(&rng);
        random_ledger(&rng, &l, 3, 30000);
        struct dv_bill_query q = random_query(&rng, &l);
        struct dv_bill_result r, without, one;
        q.tenant[0] = 0;
        q.by = DV_BILL_BY_POD;
        HELD struct dv_bill *b = make(prices, &q, &l, &r);
        for (uint32_t i = 0; i < r.n_tenants; i++)
            check_pods_of(&r, &r.tenants[i]);
        for (uint32_t i = 0; i < r.n_lines; i++) { /* a pod's own bill */
            if (!r.lines[i].account.pod[0])
                continue;
            q.by = DV_BILL_BY_GPU;
            memcpy(q.tenant, r.lines[i].account.tenant, sizeof q.tenant);
            memcpy(q.pod, r.lines[i].account.pod, sizeof q.pod);
            HELD struct dv_bill *d = make(prices, &q, &l, &one);
            assert_int_equal(one.n_tenants, 1);
            assert_near((int64_t)one.tenants[0].charge.busy_ns,
                        (int64_t)r.lines[i].charge.busy_ns); /* days cut rows to a nanosecond */
            assert_near(one.used_cost, r.lines[i].used_cost);
        }
        q.tenant[0] = q.pod[0] = 0;
        for (uint32_t i = 0; i < l.n; i++)
            memset(l.rows[i].account.pod, 0, sizeof l.rows[i].account.pod);
        HELD struct dv_bill *c = make(prices, &q, &l, &without);
        assert_int_equal(without.origin_cost, r.origin_cost);
        assert_int_equal(without.n_tenants, r.n_tenants);
        for (uint32_t i = 0; i < r.n_tenants; i++) {
            const struct dv_bill_tenant *x = &r.tenants[i], *y = &without.tenants[i];
            assert_memory_equal(&x->charge, &y->charge, sizeof x->charge);
            assert_int_equal(x->requested_cost, y->requested_cost);
            assert_near(x->used_cost, y->used_cost);
            assert_near(x->max_cost, y->max_cost);
        }
    }
}

static uint64_t cut_off(uint64_t *from, struct dv_rng *rng)
{
    uint64_t got = *from ? dv_rng_below(rng, *from + 1) : 0;
    *from -= got;
    return got;
}

/* Each row is broken into several of the same interval, and intervals are shuffled within a day:
 * not a micro changes. This is what rolling minutes up into hours does. */
static void test_rows_may_be_cut_up(void **state)
{
    static struct ledger l, cut;
    struct dv_rng rng = {53};
    for (int round = 0; round < 60; round++) {
        dv_cleanup(dv_price_list_freep) struct dv_price_list *prices = random_prices(&rng);
        random_ledger(&rng, &l, 2, 40000);
        l.n = DV_MIN(l.n, ROWS_MAX / 3);
        l.n -= l.n % 10;
        cut.n = 0;
        for (uint32_t i = 0; i < l.n; i += 10) { /* all of one interval */
            uint32_t first = cut.n;
            for (uint32_t k = i; k < i + 10; k++) {
                struct dv_charge_row rest = l.rows[k], part = rest;
                struct dv_charge *c = &rest.charge;
                part.charge = (struct dv_charge){cut_off(&c->busy_ns, &rng),
                                                 cut_off(&c->overhead_ns, &rng),
                                                 cut_off(&c->reserved_idle_ns, &rng),
                                                 cut_off(&c->unallocated_ns, &rng),
                                                 cut_off(&c->unhealthy_ns, &rng),
                                                 cut_off(&c->wait_ns, &rng),
                                                 cut_off(&c->requested_compute, &rng),
                                                 cut_off(&c->byte_seconds, &rng),
                                                 cut_off(&c->held_ns, &rng)};
                cut.rows[cut.n++] = part;
                cut.rows[cut.n++] = rest;
            }
            for (uint32_t k = first; k < cut.n; k++) {
                uint32_t with = first + (uint32_t)dv_rng_below(&rng, cut.n - first);
                struct dv_charge_row swap = cut.rows[k];
                cut.rows[k] = cut.rows[with];
                cut.rows[with] = swap;
            }
        }
        /* Rows that are cut at days or prices are cut to the nanosecond each, so these questions
         * take intervals that are not: a price for all, a range and days that all rows keep. */
        prices->n_rules = 1;
        memset(&prices->zone, 0, sizeof prices->zone);
        for (uint32_t i = 0; i < l.n; i++) {
            int64_t t = START + (int64_t)(i / 10) * 3600;
            t -= t % 3600;
            l.rows[i].from_unix = t;
            l.rows[i].to_unix = t + 3600;
        }
        for (uint32_t i = 0; i < cut.n; i++) {
            int64_t t = START + (int64_t)(i / 20) * 3600;
            t -= t % 3600;
            cut.rows[i].from_unix = t;
            cut.rows[i].to_unix = t + 3600;
        }
        struct dv_bill_query q = random_query(&rng, &l);
        struct dv_bill_result one, two;
        q.from_unix = START - 86400;
        q.to_unix = START + 200 * 86400;
        HELD struct dv_bill *b = make(prices, &q, &l, &one);
        HELD struct dv_bill *c = make(prices, &q, &cut, &two);
        same_money(&one, &two);
    }
}

/* Neighbouring ranges: their nanoseconds sum to those of both together, and their money too but for
 * the micro that each GPU's rounding may be off by. */
static void test_ranges_add_up(void **state)
{
    static struct ledger l;
    struct dv_rng rng = {54};
    for (int round = 0; round < 150; round++) {
        dv_cleanup(dv_price_list_freep) struct dv_price_list *prices = random_prices(&rng);
        random_ledger(&rng, &l, 2, 30000);
        struct dv_bill_query q = {.from_unix = START, .to_unix = START + 600000};
        struct dv_bill_result all, a, b;
        HELD struct dv_bill *x = make(prices, &q, &l, &all);
        q.to_unix = START + 1 + (int64_t)dv_rng_below(&rng, 299998);
        HELD struct dv_bill *y = make(prices, &q, &l, &a);
        q.from_unix = q.to_unix;
        q.to_unix = START + 600000;
        HELD struct dv_bill *z = make(prices, &q, &l, &b);
        int64_t fees = 0;
        for (uint32_t i = 0; i < all.n_tenants; i++)
            fees += all.tenants[i].fixed_cost;
        for (uint32_t i = 0; i < a.n_tenants; i++)
            fees -= a.tenants[i].fixed_cost;
        for (uint32_t i = 0; i < b.n_tenants; i++)
            fees -= b.tenants[i].fixed_cost;
        assert_int_equal(fees, 0);
        for (uint32_t i = 0; i < 2; i++) {
            assert_int_equal(all.gpus[i].charge.busy_ns,
                             a.gpus[i].charge.busy_ns + b.gpus[i].charge.busy_ns);
            int64_t off = all.gpus[i].origin_cost - a.gpus[i].origin_cost - b.gpus[i].origin_cost;
            assert_true(off >= -2 && off <= 2);
        }
    }
}

/* ---- a large bill, measured ---- */

static struct dv_charge_row large_row(struct dv_rng *rng, int day, int gpu, int tenant)
{
    struct dv_charge_row row = {
        .from_unix = 1772323200 + day * 86400,
        .to_unix = 1772323200 + (day + 1) * 86400,
        .charge = {.busy_ns = dv_rng_below(rng, 400000000000),
                   .reserved_idle_ns = dv_rng_below(rng, 20000000000),
                   .requested_compute = dv_rng_below(rng, 400000000000 * 7000)}};
    snprintf(row.account.gpu, DV_UUID_SIZE, "GPU-%08d-aaaa-bbbb-cccc-%012d", gpu, gpu);
    snprintf(row.account.model, DV_GPU_NAME_SIZE, "NVIDIA A100-SXM4-80GB");
    snprintf(row.account.tenant, DV_TENANT_SIZE, "tenant-%d", tenant);
    row.account.mode = DV_MODE_GOVERNED;
    return row;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A month of 64 GPUs x 200 tenants in daily rows. Making the rows is not counted. */
static int measure_by(const struct dv_price_list *prices, enum dv_bill_by by)
{
    enum { DAYS = 31, GPUS = 64, TENANTS = 200, BATCH = GPUS * TENANTS };
    struct dv_charge_row *rows = calloc(BATCH, sizeof *rows);
    struct dv_bill_query q = {
        .from_unix = 1772319600, .to_unix = 1772319600 + DAYS * 86400, .by = by};
    struct dv_bill *b = NULL;
    struct dv_bill_result r = {0};
    struct dv_rng rng = {1};
    double spent = 0;
    int e = rows ? dv_bill_new(prices, &q, &b, NULL) : -ENOMEM;
    for (int day = 0; !e && day < DAYS; day++) {
        for (int i = 0; i < BATCH; i++)
            rows[i] = large_row(&rng, day, i / TENANTS, i % TENANTS);
        spent -= seconds();
        for (int i = 0; !e && i < BATCH; i++)
            e = dv_bill_add(b, &rows[i], NULL);
        spent += seconds();
    }
    spent -= seconds();
    e = e ? e : dv_bill_finish(b, &r, NULL);
    spent += seconds();
    printf("by %-6s %d rows, %u lines: %.0f ms%s\n", dv_bill_by_name(by), DAYS * BATCH, r.n_lines,
           spent * 1e3, e ? " FAILED" : "");
    dv_bill_free(b);
    free(rows);
    return e != 0;
}

static int measure(void)
{
    static const enum dv_bill_by bys[] = {DV_BILL_BY_TENANT, DV_BILL_BY_GPU, DV_BILL_BY_DAY};
    struct dv_price_list *prices = dv_price_list_new();
    struct dv_price_rule rule = {.micros_per_hour = 3060000, .span = {INT32_MIN, INT32_MAX}};
    int failures = 0;
    if (!prices)
        return 1;
    memcpy(prices->currency, "USD", 4);
    prices->zone = berlin;
    dv_price_add_rule(prices, &rule, NULL);
    for (size_t k = 0; k < DV_ARRAY_SIZE(bys); k++)
        failures += measure_by(prices, bys[k]);
    dv_price_list_free(prices);
    return failures;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identities),
        cmocka_unit_test(test_views_agree),
        cmocka_unit_test(test_pods_sum_to_their_tenants),
        cmocka_unit_test(test_rows_may_be_cut_up),
        cmocka_unit_test(test_ranges_add_up),
    };
    if (argc > 1 && !strcmp(argv[1], "--measure"))
        return measure();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
