/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bill: rows of the ledger and a price list in, money out. Every figure is a sum of integers that
 * sum to the cost of the GPUs' wall time, exactly (docs/reference/price-file.md, "What a bill
 * says").
 *
 *     dv_cleanup(dv_bill_freep) struct dv_bill *bill = NULL;
 *     r = dv_bill_new(prices, &query, &bill, &err);
 *     while (... rows, in order of from_unix ...)
 *         r = dv_bill_add(bill, &row, &err);
 *     r = dv_bill_finish(bill, &result, &err);         // -ENODATA: some time has no price
 *
 * Rounding. Time x price is kept exactly (128 bits) per account and local day. When a day is
 * complete, the whole micros of each GPU are divided among its accounts and buckets by largest
 * remainder, and what is less than a micro is carried into the GPU's next day. All views are sums
 * of these, so they agree, whatever `by` is and however finely the ledger's rows were cut.
 *
 *     origin cost of the GPUs = used by tenants + waste            always, to the micro
 *
 * Bases, what a tenant is charged before idle time is shared:
 *   used       busy time x price
 *   requested  the share held, used or not, x price
 *   fixed      its fee per month, by the seconds of the calendar month that are in the range
 *   max        per account (whatever the source of its figures) and local day, the larger of both:
 *              per day, so that the bill stays the same when minutes are rolled up into hours
 *
 * Idle time that is shared: with `used` all waste; with the other bases what no tenant holds
 * (overhead, unallocated, unhealthy), since held and idle time is in the price of holding.
 * EVEN: each tenant pays the same part; WEIGHTED: in proportion to what the basis charges it
 * (evenly where that is nothing). Each GPU's idle time is divided by itself, among all tenants of
 * the bill.
 *
 *     charged + others + unshared = origin + adjustment
 *
 * `adjustment` is 0 with basis `used`. The other bases need not sum to the origin (a promise costs
 * what it costs, a fee is a fee); the adjustment says by how much they miss it.
 *
 * Pods. A tenant's pods are told apart in the lines of BY_POD and BY_ALL; what a tenant is charged
 * is that of all its pods together: MAX is found per tenant's account, not per pod. Fees and shared
 * idle time are the tenant's and lie in its line without a pod. Pods beyond DV_BILL_PODS_MAX, or
 * beyond DV_BILL_POD_LINES_MAX lines, are in that line too, and a note says so.
 *
 * Rows may straddle days, the range and changes of price: they are cut in proportion to seconds,
 * and what is cut sums to what was there. Days and the range are cut so that the five buckets of a
 * GPU still sum to the wall time of each piece, if the rows of one interval of a GPU come together.
 * Rows out of order are right too, but are rounded a second time.
 */
#ifndef DV_ACCOUNT_BILL_H
#define DV_ACCOUNT_BILL_H

#include "account/price.h"

#define DV_BILL_RANGE_MAX_S INT64_C(320000000) /* ten years */
#define DV_BILL_ROW_MAX_S INT64_C(2764800)     /* 32 days; the ledger's rows are a day at most */
#define DV_BILL_GPUS_MAX 4096u
#define DV_BILL_TENANTS_MAX 20000u
#define DV_BILL_LINES_MAX 20000u /* as JSON they are some 5 KB of tree each */
#define DV_BILL_POD_LINES_MAX 15000u
#define DV_BILL_PODS_MAX 100000u  /* names: of 70 days, where one is started a minute */
#define DV_BILL_CELLS_MAX 500000u /* accounts of the days that are not complete yet */
#define DV_BILL_GAPS_MAX 32u
#define DV_BILL_NOTES_MAX 8u

enum dv_bill_by {
    DV_BILL_BY_TENANT,
    DV_BILL_BY_GPU,
    DV_BILL_BY_MODE, /* mode and MIG profile */
    DV_BILL_BY_DAY,
    DV_BILL_BY_POD, /* tenant and pod */
    DV_BILL_BY_ALL, /* each account and day by itself */
};
enum dv_bill_basis { DV_BILL_USED, DV_BILL_REQUESTED, DV_BILL_FIXED, DV_BILL_MAX };
enum dv_bill_idle { DV_BILL_IDLE_NONE, DV_BILL_IDLE_EVEN, DV_BILL_IDLE_WEIGHTED };

/* "tenant", "gpu", "mode", "day", "pod", "all"; "used", "requested", "fixed", "max"; "none",
 * "even", "weighted". Parsers: 0, or -EINVAL with a message that suggests. */
const char *dv_bill_by_name(enum dv_bill_by by);
const char *dv_bill_basis_name(enum dv_bill_basis basis);
const char *dv_bill_idle_name(enum dv_bill_idle idle);
int dv_bill_by_parse(const char *text, enum dv_bill_by *ret, struct dv_err *err);
int dv_bill_basis_parse(const char *text, enum dv_bill_basis *ret, struct dv_err *err);
int dv_bill_idle_parse(const char *text, enum dv_bill_idle *ret, struct dv_err *err);

struct dv_bill_query {
    int64_t from_unix, to_unix; /* [from, to) */
    /* What is shown of the bill: this tenant's part. Its share of idle time is that of the whole
     * bill. "": all. */
    char tenant[DV_TENANT_SIZE];
    /* Which GPU's time the bill is of: a UUID or its beginning (8 letters at least). "": all. */
    char gpu[DV_UUID_SIZE];
    /* Whose time the bill is of: `tenant`'s pod alone, which must be said too. "": all. */
    char pod[DV_WORKLOAD_NAME_SIZE];
    enum dv_bill_by by;
    enum dv_bill_basis basis;
    enum dv_bill_idle idle;
};

struct dv_bill_waste { /* micros */
    int64_t reserved_idle, overhead, unallocated, unhealthy;
};

struct dv_bill_gpu {
    char uuid[DV_UUID_SIZE];
    char model[DV_GPU_NAME_SIZE];
    struct dv_charge charge; /* dv_charge_wall_ns() of it is the wall time */
    int64_t origin_cost;     /* = used_cost + its waste */
    int64_t used_cost;
    struct dv_bill_waste waste;
    int64_t price_per_hour; /* -1: several, or none */
};

struct dv_bill_tenant {
    char tenant[DV_TENANT_SIZE]; /* DV_ACCOUNT_OUTSIDE among them */
    struct dv_charge charge;
    int64_t used_cost, requested_cost, fixed_cost, max_cost;
    int64_t idle_cost;          /* shared to it */
    int64_t cost;               /* by the basis asked, with idle_cost */
    int64_t reserved_idle_cost; /* of the waste: what this tenant held and did not use */
    enum dv_quality quality;    /* the worst that it has busy time of; EXACT without any */
    uint64_t busy_ns_of[3];     /* by enum dv_quality; sums to charge.busy_ns */
    int64_t used_cost_of[3];    /* sums to used_cost */
};

enum dv_bill_line_kind {
    DV_BILL_LINE_TIME, /* of accounts */
    DV_BILL_LINE_IDLE, /* a tenant's share of idle time: BY_ALL, and BY_MODE and BY_DAY of one
                          tenant; elsewhere it is in the lines of TIME */
    DV_BILL_LINE_FEE,  /* fees per month: BY_GPU, BY_MODE, BY_ALL; elsewhere in the lines of TIME */
};

/* What a view does not tell apart is empty: "", AUTO, BEST_EFFORT, NONE. In every view the lines
 * sum: cost to total_cost; used_cost and waste of all to origin_cost (with query.tenant: to its
 * part). */
struct dv_bill_line {
    enum dv_bill_line_kind kind;
    int64_t from_unix, to_unix; /* BY_DAY, BY_ALL: the local day, within the range */
    struct dv_account account;  /* quality: the worst; source NONE where there are several */
    struct dv_charge charge;
    int64_t used_cost, requested_cost, fixed_cost, max_cost;
    int64_t idle_cost; /* shared time, in cost */
    int64_t cost;
    struct dv_bill_waste waste; /* its time that nobody used; in no cost unless it is shared */
};

/* Time for which no rule of the price list applies. */
struct dv_bill_gap {
    int64_t from_unix, to_unix;
    struct dv_account account;
};

/* Lives as long as the bill. gpus by uuid, tenants by name, lines by kind, time, gpu,
 * tenant, pod, mode. */
struct dv_bill_result {
    struct dv_bill_query query;
    const struct dv_price_list *prices;
    const struct dv_bill_gpu *gpus;
    const struct dv_bill_tenant *tenants;
    const struct dv_bill_line *lines;
    uint32_t n_gpus, n_tenants, n_lines;
    struct dv_bill_waste waste;
    int64_t waste_cost;    /* their sum */
    int64_t origin_cost;   /* wall time x price of all GPUs */
    int64_t used_cost;     /* origin_cost - waste_cost */
    int64_t total_cost;    /* charged: the sum of the tenants shown */
    int64_t others_cost;   /* charged to the tenants that query.tenant leaves out */
    int64_t unshared_cost; /* idle time that nobody is charged for */
    int64_t adjustment;    /* total + others + unshared - origin */
    uint32_t n_notes;
    char notes[DV_BILL_NOTES_MAX][200];
};

struct dv_bill;

/* The prices have passed dv_price_check() and outlive the bill. 0; -EINVAL with a message (the
 * range is the wrong way round, empty, too long); -ENOMEM. */
int dv_bill_new(const struct dv_price_list *prices, const struct dv_bill_query *query,
                struct dv_bill **ret, struct dv_err *err);
void dv_bill_free(struct dv_bill *bill);
void dv_bill_freep(struct dv_bill **bill);

/* A row outside of the range or of the GPU adds nothing. 0; -EINVAL: a row that cannot be (with a
 * message); -E2BIG with a message that says how to ask for less; -ENOMEM. */
int dv_bill_add(struct dv_bill *bill, const struct dv_charge_row *row, struct dv_err *err);

/* Once, after the last row. -ENODATA: some time has no price; the message names the first such, and
 * dv_bill_gaps() gives as many as are kept. Else as dv_bill_add(). */
int dv_bill_finish(struct dv_bill *bill, struct dv_bill_result *ret, struct dv_err *err);

/* Returns how many there are in all; the first *ret_n of them are kept. */
uint64_t dv_bill_gaps(const struct dv_bill *bill, const struct dv_bill_gap **ret, uint32_t *ret_n);

#endif
