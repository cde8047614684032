/* SPDX-License-Identifier: Apache-2.0 */
/* Bills that can be checked by hand. bill_property_test.c has what holds of all. */
#include "account/bill.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define A100 "NVIDIA A100-SXM4-80GB"
#define S DV_NS_PER_S
#define DOLLAR INT64_C(1000000)

static const struct dv_zone berlin = {.name = "Europe/Berlin",
                                      .first_offset = 3600,
                                      .n = 2,
                                      .changes = {{1774746000, 7200}, {1792890000, 3600}}};

static struct dv_price_list *list_of(const struct dv_zone *zone, int64_t micros)
{
    struct dv_price_list *l = dv_price_list_new();
    struct dv_price_rule r = {.micros_per_hour = micros, .span = {INT32_MIN, INT32_MAX}};
    assert_non_null(l);
    memcpy(l->currency, "USD", 4);
    if (zone)
        l->zone = *zone;
    assert_int_equal(dv_price_add_rule(l, &r, NULL), 0);
    return l;
}

static int64_t at(const struct dv_price_list *l, const char *text)
{
    int64_t t = -1;
    assert_int_equal(dv_zone_parse(&l->zone, text, &t, NULL), 0);
    return t;
}

static struct dv_bill *begin(const struct dv_price_list *l, const char *from, const char *to,
                             struct dv_bill_query q)
{
    struct dv_bill *b = NULL;
    struct dv_err err = {{0}};
    q.from_unix = at(l, from);
    q.to_unix = at(l, to);
    if (dv_bill_new(l, &q, &b, &err) < 0)
        fail_msg("%s", err.msg);
    return b;
}

static struct dv_charge_row row_of(int gpu, const char *tenant, int64_t from, int64_t to)
{
    struct dv_charge_row r = {.from_unix = from, .to_unix = to};
    snprintf(r.account.gpu, DV_UUID_SIZE, "GPU-%08d", gpu);
    snprintf(r.account.model, DV_GPU_NAME_SIZE, A100);
    snprintf(r.account.tenant, DV_TENANT_SIZE, "%s", tenant);
    r.account.mode = *tenant ? DV_MODE_GOVERNED : DV_MODE_AUTO;
    return r;
}

static void add(struct dv_bill *b, const struct dv_charge_row *row)
{
    struct dv_err err = {{0}};
    if (dv_bill_add(b, row, &err) < 0)
        fail_msg("%s", err.msg);
}

static struct dv_bill_result finish(struct dv_bill *b)
{
    struct dv_bill_result r = {0};
    struct dv_err err = {{0}};
    if (dv_bill_finish(b, &r, &err) < 0)
        fail_msg("%s", err.msg);
    return r;
}

static const struct dv_bill_tenant *tenant(const struct dv_bill_result *r, const char *name)
{
    for (uint32_t i = 0; i < r->n_tenants; i++)
        if (!strcmp(r->tenants[i].tenant, name))
            return &r->tenants[i];
    fail_msg("no tenant %s", name);
    return NULL;
}

/*
 * A textbook's waste: 8 nodes of 4 A100 at $3.06 for 730 hours are $71,482 a month. 4 trainings of
 * 4 GPUs at 95 %, 12 inferences at 15 %, 8 notebooks at 5 % ask for 36 GPUs of 32: each gets 8/9 of
 * what it asks for, here a ninth of each of 8 GPUs. Effective utilization is 48.3 %, and about
 * $37,000 are wasted.
 */
static void test_waste_of_a_fleet(void **state)
{
    enum { MONTH = 730 * 3600, NINTH = MONTH / 9 };
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(NULL, 3060000);
    dv_cleanup(dv_bill_freep) struct dv_bill *b =
        begin(l, "2026-05-01", "2026-06-01", (struct dv_bill_query){0});
    int64_t from = at(l, "2026-05-01");
    for (int asked = 0; asked < 36; asked++) {
        const char *who = asked < 16 ? "training" : asked < 28 ? "inference" : "notebooks";
        uint64_t percent = asked < 16 ? 95 : asked < 28 ? 15 : 5;
        for (int gpu = 0; gpu < 8; gpu++) {
            struct dv_charge_row r = row_of(asked / 9 * 8 + gpu, who, from, from + MONTH);
            r.charge.busy_ns = NINTH * S / 100 * percent;
            r.charge.reserved_idle_ns = NINTH * S - r.charge.busy_ns;
            add(b, &r);
        }
    }
    struct dv_bill_result r = finish(b);
    assert_int_equal(r.n_gpus, 32);
    assert_int_equal(dv_charge_wall_ns(&r.gpus[31].charge), MONTH * S);
    assert_int_equal(r.origin_cost, 71481600000); /* $71,482 */
    assert_int_equal(r.used_cost, 34549440000);   /* 48.333... % */
    assert_int_equal(r.used_cost * 1000 / r.origin_cost, 483);
    assert_int_equal(r.waste_cost, 36932160000); /* about $37,000 */
    assert_int_equal(tenant(&r, "training")->used_cost,
                     INT64_C(16) * 730 * 3060000 * 8 / 9 / 100 * 95);
    assert_int_equal(r.gpus[0].price_per_hour, 3060000);
}

/* Four tenants of 25 % each are one GPU hour, and what they do not use is the idle time. */
static void test_four_quarters(void **state)
{
    static const uint64_t busy[] = {900, 450, 100, 0};
    static const char *const names[] = {"a", "b", "c", "d"};
    for (int idle = 0; idle < 3; idle++) {
        dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(NULL, 3060000);
        dv_cleanup(dv_bill_freep) struct dv_bill *b = begin(
            l, "2026-05-01", "2026-06-01", (struct dv_bill_query){.idle = (enum dv_bill_idle)idle});
        int64_t from = at(l, "2026-05-04T10:00"), requested = 0;
        for (int i = 0; i < 4; i++) {
            struct dv_charge_row r = row_of(0, names[i], from, from + 3600);
            r.charge.busy_ns = busy[i] * S;
            r.charge.reserved_idle_ns = 900 * S - busy[i] * S;
            r.charge.requested_compute = 1750 * 3600 * S;
            add(b, &r);
        }
        struct dv_bill_result r = finish(b);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(tenant(&r, names[i])->requested_cost, 765000);
            requested += tenant(&r, names[i])->requested_cost;
        }
        assert_int_equal(requested, 3060000);
        assert_int_equal(r.origin_cost, 3060000);
        assert_int_equal(tenant(&r, "b")->used_cost, 382500);
        assert_int_equal(r.used_cost + r.waste_cost, 3060000);
        assert_int_equal(r.total_cost + r.unshared_cost, 3060000);
        assert_int_equal(r.adjustment, 0);
        if (idle == DV_BILL_IDLE_EVEN)
            assert_int_equal(tenant(&r, "d")->cost, r.waste_cost / 4);
        if (idle == DV_BILL_IDLE_WEIGHTED)
            assert_int_equal(tenant(&r, "d")->cost, 0);
    }
}

/* A third of 0.000001: nothing is lost, nobody gets two, and the order of the rows does not matter.
 */
static void test_less_than_a_micro(void **state)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(NULL, 1);
    for (int turn = 0; turn < 3; turn++) {
        dv_cleanup(dv_bill_freep) struct dv_bill *b =
            begin(l, "2026-05-01", "2026-05-03", (struct dv_bill_query){0});
        int64_t from = at(l, "2026-05-01");
        for (int day = 0; day < 2; day++) {
            for (int i = 0; i < 3; i++) {
                const char name[2] = {(char)('a' + (i + turn) % 3), 0};
                struct dv_charge_row r =
                    row_of(0, name, from + day * 86400, from + day * 86400 + 3600);
                r.charge.busy_ns = 1200 * S;
                add(b, &r);
            }
        }
        struct dv_bill_result r = finish(b);
        assert_int_equal(r.origin_cost, 2);
        assert_int_equal(tenant(&r, "a")->used_cost, 2);
        assert_int_equal(tenant(&r, "b")->used_cost + tenant(&r, "c")->used_cost, 0);
    }
}

/* Half a micro a day: every second day has one. */
static void test_carry(void **state)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(NULL, 1);
    dv_cleanup(dv_bill_freep) struct dv_bill *b =
        begin(l, "2026-05-01", "2026-06-01", (struct dv_bill_query){.by = DV_BILL_BY_DAY});
    for (int day = 0; day < 31; day++) {
        int64_t from = at(l, "2026-05-01") + day * 86400;
        struct dv_charge_row r = row_of(0, "a", from, from + 3600);
        r.charge.busy_ns = 1800 * S;
        r.charge.requested_compute = DV_COMPUTE_FULL * 1800 * S;
        add(b, &r);
    }
    struct dv_bill_result r = finish(b);
    assert_int_equal(r.n_lines, 31);
    for (uint32_t i = 0; i < r.n_lines; i++) {
        assert_int_equal(r.lines[i].used_cost, i % 2);
        assert_int_equal(r.lines[i].requested_cost, i % 2);
    }
    assert_int_equal(r.origin_cost, 15);
}

/* A micro of idle time on each of three GPUs, three tenants: one each. */
static void test_odd_micros_go_round(void **state)
{
    static const char *const names[] = {"a", "b", "c"};
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(NULL, 1);
    dv_cleanup(dv_bill_freep) struct dv_bill *b =
        begin(l, "2026-05-01", "2026-06-01", (struct dv_bill_query){.idle = DV_BILL_IDLE_EVEN});
    int64_t from = at(l, "2026-05-01");
    for (int i = 0; i < 3; i++) {
        struct dv_charge_row r = row_of(i, names[i], from, from + 3600);
        r.charge.reserved_idle_ns = 3600 * S;
        add(b, &r);
    }
    struct dv_bill_result r = finish(b);
    for (int i = 0; i < 3; i++)
        assert_int_equal(tenant(&r, names[i])->idle_cost, 1);
}

/* Bases side by side, and what they miss the origin by. */
static void test_bases(void **state)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(NULL, 2 * DOLLAR);
    struct dv_price_fee fee = {
        .tenant = "a", .micros_per_month = 31 * DOLLAR, .span = {INT32_MIN, INT32_MAX}};
    assert_int_equal(dv_price_add_fee(l, &fee, NULL), 0);
    for (int basis = 0; basis < 4; basis++) {
        dv_cleanup(dv_bill_freep) struct dv_bill *b =
            begin(l, "2026-05-10", "2026-05-11",
                  (struct dv_bill_query){.basis = (enum dv_bill_basis)basis});
        int64_t from = at(l, "2026-05-10");
        /* a asks for half and borrows up to three quarters; its idle time and its busy time come
         * from different sources. b holds a quarter and sleeps. */
        struct dv_charge_row rows[4] = {
            row_of(0, "a", from, from + 36000), row_of(0, "a", from, from + 36000),
            row_of(0, "b", from, from + 36000), row_of(0, "", from, from + 36000)};
        rows[0].account.source = DV_SOURCE_LEASES;
        rows[0].charge.busy_ns = 27000 * S;
        rows[1].charge.requested_compute = 3500 * 36000 * S;
        rows[2].charge.reserved_idle_ns = 8000 * S;
        rows[2].charge.requested_compute = 1750 * 36000 * S;
        rows[3].charge = (struct dv_charge){.overhead_ns = 500 * S, .unallocated_ns = 500 * S};
        for (int i = 0; i < 4; i++)
            add(b, &rows[i]);
        struct dv_bill_result r = finish(b);
        const struct dv_bill_tenant *a = tenant(&r, "a"), *t = tenant(&r, "b");
        const int64_t cost[] = {15 * DOLLAR, 10 * DOLLAR, 1 * DOLLAR, 15 * DOLLAR};
        assert_int_equal(r.origin_cost, 20 * DOLLAR);
        assert_int_equal(a->used_cost, 15 * DOLLAR);
        assert_int_equal(a->requested_cost, 10 * DOLLAR);
        assert_int_equal(a->fixed_cost, 1 * DOLLAR);
        assert_int_equal(a->max_cost, 15 * DOLLAR); /* not 25: both are one account */
        assert_int_equal(t->max_cost, 5 * DOLLAR);
        assert_int_equal(t->reserved_idle_cost, 4444444); /* the odd micro is the overhead's */
        assert_int_equal(a->cost, cost[basis]);
        assert_int_equal(r.total_cost + r.unshared_cost, r.origin_cost + r.adjustment);
        if (basis == DV_BILL_USED)
            assert_int_equal(r.unshared_cost, 5 * DOLLAR);
        else
            assert_int_equal(r.unshared_cost, r.waste.overhead + r.waste.unallocated);
    }
}

/* ---- time ---- */

static uint32_t one_day_lines(const char *from, const char *to, int64_t hours[4])
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(&berlin, DOLLAR);
    dv_cleanup(dv_bill_freep) struct dv_bill *b =
        begin(l, from, to, (struct dv_bill_query){.by = DV_BILL_BY_DAY});
    int64_t t = at(l, from) - 7200; /* rows are days of UTC */
    for (t -= t % 86400; t < at(l, to); t += 86400) {
        struct dv_charge_row r = row_of(0, "a", t, t + 86400);
        r.charge.busy_ns = 86400 * S;
        add(b, &r);
    }
    struct dv_bill_result r = finish(b);
    assert_true(r.n_lines <= 4);
    for (uint32_t i = 0; i < r.n_lines; i++) {
        hours[i] = r.lines[i].cost / DOLLAR;
        assert_int_equal(r.lines[i].cost % DOLLAR, 0);
        assert_int_equal(r.lines[i].to_unix - r.lines[i].from_unix, hours[i] * 3600);
    }
    return r.n_lines;
}

static void test_summer_time(void **state)
{
    int64_t hours[4];
    assert_int_equal(one_day_lines("2026-03-28", "2026-03-31", hours), 3);
    assert_int_equal(hours[0], 24);
    assert_int_equal(hours[1], 23);
    assert_int_equal(hours[2], 24);
    assert_int_equal(one_day_lines("2026-10-25", "2026-10-26", hours), 1);
    assert_int_equal(hours[0], 25);
}

/* A night rate on the nights in which an hour is missing and in which one comes twice. */
static void test_night_rate(void **state)
{
    static const struct {
        const char *from, *to;
        int64_t night, day;
    } cases[] = {{"2026-06-10", "2026-06-11", 8, 16},
                 {"2026-03-29", "2026-03-30", 7, 16},
                 {"2026-10-25", "2026-10-26", 9, 16}};
    for (size_t i = 0; i < DV_ARRAY_SIZE(cases); i++) {
        dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(&berlin, 100 * DOLLAR);
        struct dv_price_rule night = {.micros_per_hour = DOLLAR,
                                      .span = {INT32_MIN, INT32_MAX},
                                      .n_hours = 1,
                                      .hours = {{DV_PRICE_DAYS_ALL, 22 * 3600, 6 * 3600}}};
        assert_int_equal(dv_price_add_rule(l, &night, NULL), 0);
        dv_cleanup(dv_bill_freep) struct dv_bill *b =
            begin(l, cases[i].from, cases[i].to, (struct dv_bill_query){0});
        int64_t from = at(l, cases[i].from), to = at(l, cases[i].to);
        struct dv_charge_row r = row_of(0, "a", from, to);
        r.charge.busy_ns = (uint64_t)(to - from) * S;
        add(b, &r);
        struct dv_bill_result res = finish(b);
        assert_int_equal(res.origin_cost, cases[i].night * DOLLAR + cases[i].day * 100 * DOLLAR);
        assert_int_equal(res.gpus[0].price_per_hour, -1);
    }
}

/* A price ends in the middle of a row. */
static void test_price_changes(void **state)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(&berlin, 4 * DOLLAR);
    struct dv_price_rule later = l->rules[0];
    later.micros_per_hour = DOLLAR;
    l->rules[0].span.to_day = later.span.from_day = 20605; /* 2026-06-01 */
    assert_int_equal(dv_price_add_rule(l, &later, NULL), 0);
    assert_int_equal(dv_price_check(l, NULL, NULL), 0);
    dv_cleanup(dv_bill_freep) struct dv_bill *b =
        begin(l, "2026-05-01", "2026-07-01", (struct dv_bill_query){0});
    int64_t from = at(l, "2026-05-31T22:00");
    struct dv_charge_row r = row_of(0, "a", from, from + 6 * 3600);
    r.charge.busy_ns = 3 * 3600 * S;
    add(b, &r);
    struct dv_bill_result res = finish(b);
    assert_int_equal(res.origin_cost, 4 * DOLLAR + 2 * DOLLAR);
}

static int64_t fees(const char *from, const char *to, struct dv_price_span span)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(&berlin, DOLLAR);
    struct dv_price_fee fee = {.tenant = "a", .micros_per_month = 3000 * DOLLAR + 1, .span = span};
    int64_t total = -1;
    assert_int_equal(dv_price_add_fee(l, &fee, NULL), 0);
    for (int by = 0; by <= DV_BILL_BY_ALL; by++) {
        dv_cleanup(dv_bill_freep) struct dv_bill *b = begin(
            l, from, to, (struct dv_bill_query){.by = (enum dv_bill_by)by, .basis = DV_BILL_FIXED});
        struct dv_bill_result r = finish(b);
        int64_t lines = 0;
        for (uint32_t i = 0; i < r.n_lines; i++)
            lines += r.lines[i].cost;
        assert_int_equal(lines, r.total_cost);
        assert_true(!by || r.total_cost == total);
        total = r.total_cost;
        assert_int_equal(r.n_tenants, total ? 1 : 0);
    }
    return total;
}

static void test_months(void **state)
{
    const struct dv_price_span always = {INT32_MIN, INT32_MAX};
    const int64_t fee = 3000 * DOLLAR + 1;
    assert_int_equal(fees("2026-02-01", "2026-03-01", always), fee);
    assert_int_equal(fees("2026-03-01", "2026-04-01", always), fee); /* an hour short */
    assert_int_equal(fees("2026-01-01", "2027-01-01", always), 12 * fee);
    /* A day of April is a thirtieth; of March, 23 of 743 hours or 24. */
    assert_int_equal(fees("2026-04-10", "2026-04-11", always), 100 * DOLLAR);
    assert_int_equal(fees("2026-03-29", "2026-03-30", always), fee * 695 / 743 - fee * 672 / 743);
    /* Over the end of a month: each month by itself. */
    assert_int_equal(fees("2026-04-30", "2026-05-02", always), 100 * DOLLAR + 1 + fee / 31);
    /* The parts of a month sum to it. */
    int64_t sum = fees("2026-03-01", "2026-03-29", always) +
                  fees("2026-03-29", "2026-03-29T05:17:31", always) +
                  fees("2026-03-29T05:17:31", "2026-04-01", always);
    assert_int_equal(sum, fee);
    /* A fee of its own days only: from 2026-04-16. */
    assert_int_equal(fees("2026-04-01", "2026-05-01", (struct dv_price_span){20559, INT32_MAX}),
                     1500 * DOLLAR + 1);
    assert_int_equal(fees("2026-04-01", "2026-05-01", (struct dv_price_span){0, 20544}), 0);
}

/* ---- what cannot be billed ---- */

static void test_no_price(void **state)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(NULL, DOLLAR);
    snprintf(l->rules[0].model, DV_GPU_NAME_SIZE, "T4");
    dv_cleanup(dv_bill_freep) struct dv_bill *b =
        begin(l, "2026-05-01", "2026-06-01", (struct dv_bill_query){0});
    struct dv_bill_result r;
    struct dv_err err = {{0}};
    int64_t from = at(l, "2026-05-04");
    for (int i = 0; i < 100; i++) { /* one gap, however many rows */
        struct dv_charge_row row = row_of(0, "alice", from + i * 60, from + i * 60 + 60);
        row.charge.busy_ns = 60 * S;
        add(b, &row);
    }
    for (int i = 0; i < 50; i++) {
        struct dv_charge_row row = row_of(i, "", from + 6000, from + 6060);
        row.charge.unallocated_ns = 60 * S;
        add(b, &row);
    }
    assert_int_equal(dv_bill_finish(b, &r, &err), -ENODATA);
    if (!strstr(err.msg,
                "tenant alice on GPU GPU-00000000 (model \"" A100 "\", mode governed, tier "
                "be) from 2026-05-04T00:00:00Z to 2026-05-04T01:40:00Z, and of 50 more"))
        fail_msg("%s", err.msg);
    const struct dv_bill_gap *gaps;
    uint32_t n;
    assert_int_equal(dv_bill_gaps(b, &gaps, &n), 51);
    assert_int_equal(n, DV_BILL_GAPS_MAX);
    assert_string_equal(gaps[1].account.tenant, "");
    assert_int_equal(dv_bill_finish(b, &r, &err), -EINVAL);
}

static void expect(const struct dv_bill_query *q, const char *part)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(NULL, DOLLAR);
    struct dv_bill *b = NULL;
    struct dv_err err = {{0}};
    assert_int_equal(dv_bill_new(l, q, &b, &err), -EINVAL);
    assert_null(b);
    if (!strstr(err.msg, part))
        fail_msg("\"%s\" is not in \"%s\"", part, err.msg);
}

static void test_bad_questions(void **state)
{
    enum dv_bill_by by;
    enum dv_bill_basis basis;
    enum dv_bill_idle idle;
    struct dv_err err = {{0}};
    expect(&(struct dv_bill_query){.from_unix = 86400, .to_unix = 0}, "the wrong way round");
    expect(&(struct dv_bill_query){.from_unix = 86400, .to_unix = 86400}, "empty");
    expect(&(struct dv_bill_query){.from_unix = 0, .to_unix = INT64_C(2000000000)}, "ten years");
    expect(&(struct dv_bill_query){.from_unix = -5, .to_unix = 1}, "between 1970 and 2100");
    expect(&(struct dv_bill_query){.from_unix = 1, .to_unix = INT64_MAX}, "between 1970 and 2100");
    expect(&(struct dv_bill_query){.from_unix = 0, .to_unix = 1, .gpu = "GPU-1"}, "8 letters");
    assert_int_equal(dv_bill_by_parse("tennant", &by, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "did you mean \"tenant\"?"));
    assert_int_equal(dv_bill_basis_parse("use", &basis, &err), -EINVAL);
    assert_int_equal(dv_bill_idle_parse("", &idle, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "none, even, weighted"));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(dv_bill_by_parse(dv_bill_by_name((enum dv_bill_by)i), &by, NULL), 0);
        assert_int_equal(by, i);
    }
    assert_int_equal(dv_bill_basis_parse("max", &basis, NULL), 0);
    assert_int_equal(dv_bill_idle_parse("weighted", &idle, NULL), 0);
    assert_int_equal(basis, DV_BILL_MAX);
    assert_int_equal(idle, DV_BILL_IDLE_WEIGHTED);
}

static void test_bad_rows(void **state)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(NULL, DOLLAR);
    dv_cleanup(dv_bill_freep) struct dv_bill *b =
        begin(l, "2026-05-01", "2026-06-01", (struct dv_bill_query){0});
    const struct dv_charge_row good = row_of(0, "a", at(l, "2026-05-01"), at(l, "2026-05-02"));
    struct dv_charge_row r = good;
    r.to_unix = r.from_unix;
    assert_int_equal(dv_bill_add(b, &r, NULL), -EINVAL);
    r.to_unix = r.from_unix + DV_BILL_ROW_MAX_S + 1;
    assert_int_equal(dv_bill_add(b, &r, NULL), -EINVAL);
    r = good;
    r.charge.busy_ns = r.charge.overhead_ns = UINT64_MAX / 2 + 1;
    assert_int_equal(dv_bill_add(b, &r, NULL), -EINVAL);
    r = good;
    r.account.mode = (enum dv_mode)77;
    assert_int_equal(dv_bill_add(b, &r, NULL), -EINVAL);
    r = good;
    memset(r.account.tenant, 'x', sizeof r.account.tenant);
    assert_int_equal(dv_bill_add(b, &r, NULL), -EINVAL);
    r = good;
    r.account.gpu[0] = 0;
    assert_int_equal(dv_bill_add(b, &r, NULL), -EINVAL);
    struct dv_bill_result res = finish(b);
    assert_int_equal(res.n_gpus + res.n_tenants + res.n_lines, 0);
    assert_int_equal(res.n_notes, 1);
}

static void test_too_many_lines(void **state)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(NULL, DOLLAR);
    dv_cleanup(dv_bill_freep) struct dv_bill *b =
        begin(l, "2026-05-01", "2026-06-01", (struct dv_bill_query){.by = DV_BILL_BY_ALL});
    struct dv_err err = {{0}};
    int r = 0;
    for (int64_t day = 0; !r && day < 31; day++)
        for (int i = 0; !r && i < 2000; i++) {
            char name[16];
            int64_t from = at(l, "2026-05-01") + day * 86400;
            snprintf(name, sizeof name, "t%d", i);
            struct dv_charge_row row = row_of(0, name, from, from + 86400);
            row.charge.busy_ns = S;
            r = dv_bill_add(b, &row, &err);
        }
    assert_int_equal(r, -E2BIG);
    assert_non_null(strstr(err.msg, "ask for fewer days"));
}

/* Pods beyond those that have lines are in their tenant's, and the sums stay. */
static void test_too_many_pods(void **state)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(NULL, DOLLAR);
    dv_cleanup(dv_bill_freep) struct dv_bill *b =
        begin(l, "2026-05-01", "2026-06-01", (struct dv_bill_query){.by = DV_BILL_BY_POD});
    int64_t from = at(l, "2026-05-01");
    const uint32_t pods = DV_BILL_PODS_MAX + 5000;
    for (uint32_t i = 0; i < pods; i++) {
        struct dv_charge_row row = row_of(0, i % 2 ? "a" : "b", from, from + 86400);
        snprintf(row.account.pod, DV_WORKLOAD_NAME_SIZE, "job-%06u", i);
        row.charge.busy_ns = 36 * S / 100;
        add(b, &row);
    }
    struct dv_bill_result r = finish(b);
    uint64_t busy = 0;
    for (uint32_t i = 0; i < r.n_lines; i++)
        busy += r.lines[i].charge.busy_ns;
    assert_in_range(r.n_lines, DV_BILL_POD_LINES_MAX, DV_BILL_POD_LINES_MAX + 2);
    assert_int_equal(busy, pods * (36 * S / 100));
    assert_int_equal(r.origin_cost, pods * DOLLAR / 10000);
    assert_true(r.n_notes == 1 && strstr(r.notes[0], "too many pods"));
}

static void test_a_pod_is_a_tenants(void **state)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(NULL, DOLLAR);
    struct dv_bill_query q = {.from_unix = 0, .to_unix = 86400, .pod = "train-0"};
    struct dv_bill *b = NULL;
    struct dv_err err = {{0}};
    assert_int_equal(dv_bill_new(l, &q, &b, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "a pod is a tenant's"));
}

/* ---- what is told apart ---- */

static void test_filters_and_views(void **state)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = list_of(NULL, DOLLAR);
    for (int by = 0; by <= DV_BILL_BY_ALL; by++) {
        struct dv_bill_query q = {.by = (enum dv_bill_by)by};
        snprintf(q.gpu, sizeof q.gpu, "GPU-00000001");
        dv_cleanup(dv_bill_freep) struct dv_bill *b = begin(l, "2026-05-01", "2026-06-01", q);
        int64_t from = at(l, "2026-05-01");
        for (int i = 0; i < 12; i++) {
            struct dv_charge_row row =
                row_of(i % 2, i % 3 ? "a" : "b", from + i / 2 * 86400, from + i / 2 * 86400 + 3600);
            row.charge.busy_ns = 3600 * S;
            row.account.quality = i == 5 ? DV_QUALITY_ESTIMATED : DV_QUALITY_EXACT;
            if (i % 4 == 1)
                snprintf(row.account.profile, DV_MIG_NAME, "1g.10gb");
            if (i % 4 == 3)
                snprintf(row.account.pod, DV_WORKLOAD_NAME_SIZE, "train-0");
            add(b, &row);
        }
        struct dv_bill_result r = finish(b);
        static const uint32_t lines[] = {2, 1, 2, 6, 4, 6};
        assert_int_equal(r.n_gpus, 1);
        assert_int_equal(r.origin_cost, 6 * DOLLAR);
        assert_int_equal(tenant(&r, "a")->used_cost, 4 * DOLLAR);
        assert_int_equal(tenant(&r, "a")->quality, DV_QUALITY_ESTIMATED);
        assert_int_equal(tenant(&r, "a")->used_cost_of[DV_QUALITY_ESTIMATED], DOLLAR);
        assert_int_equal(tenant(&r, "b")->quality, DV_QUALITY_EXACT);
        assert_int_equal(r.n_lines, lines[by]);
        assert_string_equal(r.lines[0].account.gpu,
                            by == DV_BILL_BY_GPU || by == DV_BILL_BY_ALL ? "GPU-00000001" : "");
        assert_string_equal(r.lines[r.n_lines - 1].account.tenant,
                            by == DV_BILL_BY_ALL                              ? "a"
                            : by == DV_BILL_BY_TENANT || by == DV_BILL_BY_POD ? "b"
                                                                              : "");
        assert_string_equal(r.lines[r.n_lines - 1].account.pod,
                            by == DV_BILL_BY_ALL || by == DV_BILL_BY_POD ? "train-0" : "");
        if (by == DV_BILL_BY_MODE)
            assert_string_equal(r.lines[1].account.profile, "1g.10gb");
        assert_true(r.n_notes == 1 && strstr(r.notes[0], "16.7 %"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waste_of_a_fleet),
        cmocka_unit_test(test_four_quarters),
        cmocka_unit_test(test_less_than_a_micro),
        cmocka_unit_test(test_carry),
        cmocka_unit_test(test_odd_micros_go_round),
        cmocka_unit_test(test_bases),
        cmocka_unit_test(test_summer_time),
        cmocka_unit_test(test_night_rate),
        cmocka_unit_test(test_price_changes),
        cmocka_unit_test(test_months),
        cmocka_unit_test(test_no_price),
        cmocka_unit_test(test_bad_questions),
        cmocka_unit_test(test_bad_rows),
        cmocka_unit_test(test_too_many_lines),
        cmocka_unit_test(test_too_many_pods),
        cmocka_unit_test(test_a_pod_is_a_tenants),
        cmocka_unit_test(test_filters_and_views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
