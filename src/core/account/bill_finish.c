/* SPDX-License-Identifier: Apache-2.0 */
/* A bill's end: fees per month, idle time, totals, order. */
#include "account/bill_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- fees ---- */

/* So much of the fee of the month [from, to) has come due at t: of cut-up months the parts sum. */
static int64_t due(int64_t fee, int64_t from, int64_t to, int64_t t)
{
    return (int64_t)((dv_u128)fee * (dv_u128)(t - from) / (dv_u128)(to - from));
}

static int add_fee_line(struct dv_bill *b, uint32_t tenant, int32_t day, int64_t micros,
                        struct dv_err *err)
{
    enum dv_bill_by by = b->query.by;
    bool apart = by == DV_BILL_BY_GPU || by == DV_BILL_BY_MODE || by == DV_BILL_BY_ALL;
    struct dv_bill_key key = {.gpu = DV_BILL_ANY,
                              .tenant = tenant,
                              .kind = DV_BILL_ANY,
                              .source = DV_BILL_ANY,
                              .quality = DV_BILL_ANY,
                              .day = by == DV_BILL_BY_DAY ? day : DV_BILL_NO_DAY,
                              .line_kind = apart ? DV_BILL_LINE_FEE : DV_BILL_LINE_TIME};
    struct dv_bill_line *line;
    if (!apart) { /* the line of time has the kind of any device */
        static const struct dv_bill_kind any;
        int r = dv_bill_kind_find(b, &any, &key.kind, err);
        if (r < 0)
            return r;
    }
    int r = dv_bill_line_find(b, key, &line, err);
    if (!r)
        line->fixed_cost += micros;
    return r;
}

/* Day by day where days are told apart, else month by month. */
static int add_fee(struct dv_bill *b, const struct dv_price_fee *fee, struct dv_err *err)
{
    const struct dv_zone *zone = &b->prices->zone;
    int64_t from, to, at, end;
    uint32_t tenant;
    dv_price_span_unix(b->prices, &fee->span, &from, &to);
    from = DV_MAX(from, b->query.from_unix);
    to = DV_MIN(to, b->query.to_unix);
    if (from >= to)
        return 0;
    int r = dv_bill_tenant_find(b, fee->tenant, &tenant, err);
    for (at = from; !r && at < to; at = end) {
        dv_bill_find_day(b, at);
        int32_t month = dv_date_month(b->day), next = dv_date_next_month(b->day);
        int64_t month_from = dv_zone_day_start(zone, month);
        int64_t month_to = dv_zone_day_start(zone, next);
        end = DV_MIN(to, b->query.by == DV_BILL_BY_DAY ? b->day_to : month_to);
        int64_t micros = due(fee->micros_per_month, month_from, month_to, end) -
                         due(fee->micros_per_month, month_from, month_to, at);
        b->tenants[tenant].fixed_cost += micros;
        if (dv_bill_shown(b, tenant))
            r = add_fee_line(b, tenant, b->day, micros, err);
    }
    return r;
}

/* ---- idle time ---- */

static int64_t by_basis(const struct dv_bill *b, int64_t used, int64_t requested, int64_t fixed,
                        int64_t max)
{
    switch (b->query.basis) {
    case DV_BILL_REQUESTED:
        return requested;
    case DV_BILL_FIXED:
        return fixed;
    case DV_BILL_MAX:
        return max;
    case DV_BILL_USED:
        break;
    }
    return used;
}

/* What of the waste is idle time to be shared, or nobody's. */
static int64_t pool_of(const struct dv_bill *b, const struct dv_bill_waste *w)
{
    return w->overhead + w->unallocated + w->unhealthy +
           (b->query.basis == DV_BILL_USED ? w->reserved_idle : 0);
}

/* Who shares. Both lists are in the order of names, so that who gets the odd micro does not depend
 * on the order of the rows. */
struct sharing {
    uint32_t *tenants, *gpus; /* indices */
    uint64_t *weights;        /* beside tenants */
    dv_u128 sum;
};

static int give(struct dv_bill *b, uint32_t tenant, uint32_t gpu, int64_t micros,
                struct dv_err *err)
{
    const enum dv_bill_by by = b->query.by;
    struct dv_bill_key key = {.gpu = gpu,
                              .tenant = tenant,
                              .kind = DV_BILL_ANY,
                              .source = DV_BILL_ANY,
                              .quality = DV_BILL_ANY,
                              .day = DV_BILL_NO_DAY,
                              .line_kind = DV_BILL_LINE_TIME};
    struct dv_bill_line *line;
    b->tenants[tenant].idle_cost += micros;
    if (!dv_bill_shown(b, tenant) || !micros)
        return 0;
    if (by == DV_BILL_BY_TENANT || by == DV_BILL_BY_POD || by == DV_BILL_BY_GPU) {
        static const struct dv_bill_kind any;
        int r = dv_bill_kind_find(b, &any, &key.kind, err);
        if (r < 0)
            return r;
    } else if (by == DV_BILL_BY_ALL || b->query.tenant[0]) {
        key.line_kind = DV_BILL_LINE_IDLE;
    } else {
        return 0; /* in the lines whose waste it is */
    }
    int r = dv_bill_line_find(b, key, &line, err);
    if (!r)
        line->idle_cost += micros;
    return r;
}

/* The idle time of the k-th GPU. Each tenant's part is the difference of two rounded sums; with
 * whom the sums begin goes round, so that nobody gains by its place. */
static int share_gpu(struct dv_bill *b, uint32_t k, const struct sharing *s, struct dv_err *err)
{
    const uint32_t gpu = s->gpus[k], n = b->n_tenants - 1;
    const uint64_t pool = (uint64_t)pool_of(b, &b->gpus[gpu].waste);
    dv_u128 sum = 0;
    uint64_t given = 0;
    int r = 0;
    for (uint32_t i = 0; !r && i < n; i++) {
        uint32_t place = (k + i) % n;
        sum += s->weights[place];
        uint64_t upto = (uint64_t)(pool * sum / s->sum);
        r = give(b, s->tenants[place], gpu, (int64_t)(upto - given), err);
        given = upto;
    }
    return r;
}

static int gpu_number_order(const void *x, const void *y, void *bill)
{
    const struct dv_bill *b = bill;
    return strcmp(b->gpus[*(const uint32_t *)x].uuid, b->gpus[*(const uint32_t *)y].uuid);
}

static int tenant_number_order(const void *x, const void *y, void *bill)
{
    const struct dv_bill *b = bill;
    return strcmp(b->tenants[*(const uint32_t *)x].tenant, b->tenants[*(const uint32_t *)y].tenant);
}

static void weigh(struct dv_bill *b, struct sharing *s)
{
    const uint32_t n = b->n_tenants - 1;
    for (uint32_t i = 0; i < b->n_gpus; i++)
        s->gpus[i] = i;
    for (uint32_t i = 0; i < n; i++)
        s->tenants[i] = i + 1;
    qsort_r(s->gpus, b->n_gpus, sizeof *s->gpus, gpu_number_order, b);
    qsort_r(s->tenants, n, sizeof *s->tenants, tenant_number_order, b);
    for (uint32_t i = 0; i < n && b->query.idle == DV_BILL_IDLE_WEIGHTED; i++) {
        const struct dv_bill_tenant *t = &b->tenants[s->tenants[i]];
        s->weights[i] =
            (uint64_t)by_basis(b, t->used_cost, t->requested_cost, t->fixed_cost, t->max_cost);
        s->sum += s->weights[i];
    }
    if (s->sum)
        return;
    for (uint32_t i = 0; i < n; i++)
        s->weights[i] = 1;
    s->sum = n;
}

static int share_idle(struct dv_bill *b, struct dv_err *err)
{
    int r = 0;
    if (b->query.idle == DV_BILL_IDLE_NONE || b->n_tenants == 1 || !b->n_gpus)
        return 0;
    struct sharing s = {.tenants = calloc(b->n_tenants, sizeof *s.tenants),
                        .gpus = calloc(b->n_gpus, sizeof *s.gpus),
                        .weights = calloc(b->n_tenants, sizeof *s.weights)};
    if (!s.tenants || !s.gpus || !s.weights)
        r = -ENOMEM;
    else
        weigh(b, &s);
    for (uint32_t k = 0; !r && k < b->n_gpus; k++)
        r = share_gpu(b, k, &s, err);
    free(s.tenants);
    free(s.gpus);
    free(s.weights);
    return r;
}

/* ---- order ---- */

static int gpu_order(const void *a, const void *b)
{
    return strcmp(((const struct dv_bill_gpu *)a)->uuid, ((const struct dv_bill_gpu *)b)->uuid);
}

static int tenant_order(const void *a, const void *b)
{
    return strcmp(((const struct dv_bill_tenant *)a)->tenant,
                  ((const struct dv_bill_tenant *)b)->tenant);
}

static int line_order(const void *a, const void *b)
{
    const struct dv_bill_line *x = a, *y = b;
    const struct dv_account *k = &x->account, *l = &y->account;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    if (x->from_unix != y->from_unix)
        return x->from_unix < y->from_unix ? -1 : 1;
    int d = strcmp(k->gpu, l->gpu);
    d = d ? d : strcmp(k->tenant, l->tenant);
    d = d ? d : strcmp(k->pod, l->pod);
    d = d ? d : (int)k->mode - (int)l->mode;
    d = d ? d : strcmp(k->profile, l->profile);
    d = d ? d : strcmp(k->model, l->model);
    d = d ? d : (int)k->tier - (int)l->tier;
    d = d ? d : (int)k->source - (int)l->source;
    return d ? d : (int)k->quality - (int)l->quality;
}

/* The indices of the tables mean nothing after this. */
static void sort_all(struct dv_bill *b)
{
    if (b->n_gpus)
        qsort(b->gpus, b->n_gpus, sizeof *b->gpus, gpu_order);
    qsort(b->tenants, b->n_tenants, sizeof *b->tenants, tenant_order); /* "" stays first */
    if (b->n_lines)
        qsort(b->lines, b->n_lines, sizeof *b->lines, line_order);
}

/* ---- totals ---- */

static void add_up(const struct dv_bill *b, struct dv_bill_result *ret)
{
    int64_t pool;
    for (uint32_t i = 0; i < b->n_gpus; i++) {
        const struct dv_bill_waste *w = &b->gpus[i].waste;
        ret->waste.reserved_idle += w->reserved_idle;
        ret->waste.overhead += w->overhead;
        ret->waste.unallocated += w->unallocated;
        ret->waste.unhealthy += w->unhealthy;
        ret->origin_cost += b->gpus[i].origin_cost;
        ret->used_cost += b->gpus[i].used_cost;
    }
    ret->waste_cost = ret->waste.reserved_idle + ret->waste.overhead + ret->waste.unallocated +
                      ret->waste.unhealthy;
    pool = pool_of(b, &ret->waste);
    ret->unshared_cost = b->query.idle == DV_BILL_IDLE_NONE || b->n_tenants == 1 ? pool : 0;
    for (uint32_t i = 1; i < b->n_tenants; i++) {
        struct dv_bill_tenant *t = &b->tenants[i];
        t->cost =
            t->idle_cost + by_basis(b, t->used_cost, t->requested_cost, t->fixed_cost, t->max_cost);
        *(dv_bill_shown(b, i) ? &ret->total_cost : &ret->others_cost) += t->cost;
    }
    ret->adjustment = ret->total_cost + ret->others_cost + ret->unshared_cost - ret->origin_cost;
}

/* Where a view's lines hold the waste that is shared, its cost is theirs. */
static void price_lines(struct dv_bill *b)
{
    bool in_lines = b->query.idle != DV_BILL_IDLE_NONE && b->n_tenants > 1 && !b->query.tenant[0] &&
                    (b->query.by == DV_BILL_BY_MODE || b->query.by == DV_BILL_BY_DAY);
    for (uint32_t i = 0; i < b->n_lines; i++) {
        struct dv_bill_line *l = &b->lines[i];
        if (in_lines)
            l->idle_cost = pool_of(b, &l->waste);
        l->cost =
            l->idle_cost + by_basis(b, l->used_cost, l->requested_cost, l->fixed_cost, l->max_cost);
    }
}

static void note(struct dv_bill_result *ret, const char *text)
{
    if (ret->n_notes < DV_BILL_NOTES_MAX)
        snprintf(ret->notes[ret->n_notes++], sizeof ret->notes[0], "%s", text);
}

static void add_notes(const struct dv_bill *b, struct dv_bill_result *ret)
{
    uint64_t estimated = 0, all = 0;
    char text[200];
    for (uint32_t i = 1; i < b->n_tenants; i++) {
        estimated += b->tenants[i].busy_ns_of[DV_QUALITY_ESTIMATED];
        all += b->tenants[i].charge.busy_ns;
    }
    if (!b->n_gpus)
        note(ret, "the ledger has no time in this range");
    if (estimated) {
        snprintf(text, sizeof text,
                 "%.1f %% of the busy time is estimated: nothing measures it in its mode",
                 (double)estimated * 100.0 / (double)all);
        note(ret, text);
    }
    if (ret->adjustment)
        note(ret, "with this basis what is charged need not be what the GPUs cost: the adjustment "
                  "says by how much");
    if (b->pods_folded)
        note(ret, "there are too many pods to tell them all apart: the rest is in their tenants' "
                  "lines without a pod; ask for fewer days, one tenant or one GPU");
    if (b->query.pod[0])
        note(ret, "the time of one pod is in this bill, and nothing else; fees per month are its "
                  "tenant's, and whole");
    else if (b->query.tenant[0])
        note(ret, "one tenant's part is shown; the GPUs, their cost and their waste are all of it");
    if (b->query.tenant[0] && !ret->n_tenants)
        note(ret, "this tenant has nothing in this range");
    if (b->query.gpu[0] && b->prices->n_fees)
        note(ret, "fees per month are tenants', not GPUs': they are whole in a bill of one GPU");
    if (b->query.idle != DV_BILL_IDLE_NONE && b->n_tenants == 1 && b->n_gpus)
        note(ret, "there is no tenant to share idle time with");
}

/* ---- the end ---- */

static int say_gap(const struct dv_bill *b, struct dv_err *err)
{
    const struct dv_bill_gap *g = &b->gaps[0];
    char from[DV_ZONE_TEXT], to[DV_ZONE_TEXT], more[48] = "";
    dv_zone_format(&b->prices->zone, g->from_unix, from);
    dv_zone_format(&b->prices->zone, g->to_unix, to);
    if (b->n_gaps > 1)
        snprintf(more, sizeof more, ", and of %llu more", (unsigned long long)b->n_gaps - 1);
    return dv_err_set(
        err, -ENODATA,
        "no price applies to the time of %s%.63s on GPU %.40s (model \"%.60s\"%s%.31s, "
        "mode %s%s%s) from %s to %s%s; a price without model, mode and tenant "
        "applies to all",
        g->account.tenant[0] ? "tenant " : "the GPU itself", g->account.tenant, g->account.gpu,
        g->account.model, g->account.profile[0] ? ", profile " : "", g->account.profile,
        dv_device_mode_name(g->account.mode), g->account.tenant[0] ? ", tier " : "",
        g->account.tenant[0] ? dv_claim_tier_name(g->account.tier) : "", from, to, more);
}

static uint32_t shown(const struct dv_bill *b)
{
    uint32_t n = 0;
    for (uint32_t i = 1; i < b->n_tenants; i++)
        n += dv_bill_shown(b, i);
    return n;
}

/* Only tenants that are shown; the GPU's own is none. */
static void keep_shown(struct dv_bill *b)
{
    uint32_t n = 0;
    for (uint32_t i = 1; i < b->n_tenants; i++)
        if (dv_bill_shown(b, i))
            b->tenants[n++] = b->tenants[i];
}

static void hand_out(struct dv_bill *b, struct dv_bill_result *ret)
{
    *ret = (struct dv_bill_result){.query = b->query, .prices = b->prices};
    add_up(b, ret);
    price_lines(b);
    sort_all(b);
    ret->n_gpus = b->n_gpus;
    ret->n_lines = b->n_lines;
    ret->n_tenants = shown(b);
    add_notes(b, ret);
    keep_shown(b);
    ret->gpus = b->gpus;
    ret->tenants = b->tenants;
    ret->lines = b->lines;
}

int dv_bill_finish(struct dv_bill *bill, struct dv_bill_result *ret, struct dv_err *err)
{
    if (bill->finished)
        return dv_err_set(err, -EINVAL, "the bill is finished already");
    bill->finished = true;
    int r = dv_bill_settle(bill, INT64_MAX, err);
    if (!r && bill->n_gaps)
        r = say_gap(bill, err);
    for (uint32_t i = 0; !r && i < bill->prices->n_fees; i++)
        r = add_fee(bill, &bill->prices->fees[i], err);
    r = r ? r : share_idle(bill, err);
    if (!r)
        hand_out(bill, ret);
    return r;
}
