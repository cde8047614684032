/* SPDX-License-Identifier: Apache-2.0 */
/* A complete day: exact costs become whole micros, and views add them up. */
#include "account/bill_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PER_HOUR ((dv_u128)DV_PRICE_NS_PER_HOUR)
#define PER_HOUR_REQUESTED (PER_HOUR * DV_COMPUTE_FULL)

/* ---- largest remainder ---- */

struct share {
    uint64_t rest; /* of the division, below PER_HOUR: fits */
    uint32_t place;
    int64_t *micros;
};

static int by_rest(const void *a, const void *b)
{
    const struct share *x = a, *y = b;
    if (x->rest != y->rest)
        return x->rest < y->rest ? 1 : -1;
    return x->place < y->place ? -1 : 1;
}

/* The cells of one GPU's day. Their micros sum to what the carry lets be whole. */
static void round_gpu(struct dv_bill_cell *const *cells, uint32_t n, struct share *shares,
                      dv_u128 *carry)
{
    dv_u128 total = *carry;
    int64_t left = 0;
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        for (int b = 0; b < BUCKETS; b++) {
            dv_u128 cost = cells[i]->cost[b];
            cells[i]->micros[b] = (int64_t)(cost / PER_HOUR);
            left -= cells[i]->micros[b];
            total += cost;
            uint64_t rest = (uint64_t)(cost % PER_HOUR);
            if (rest) {
                shares[k] = (struct share){rest, k, &cells[i]->micros[b]};
                k++;
            }
        }
    }
    left += (int64_t)(total / PER_HOUR);
    *carry = total % PER_HOUR;
    /* The rests and the old carry, each below one, sum to `left` and the new carry: left <= k. */
    qsort(shares, k, sizeof *shares, by_rest);
    for (uint32_t i = 0; i < k && left > 0; i++, left--)
        ++*shares[i].micros;
}

/* ---- requested and max ---- */

static void round_requested(struct dv_bill *b, struct dv_bill_cell *c)
{
    dv_u128 sum = b->requested_carry[c->key.tenant] + c->requested;
    c->requested_micros = (int64_t)(sum / PER_HOUR_REQUESTED);
    b->requested_carry[c->key.tenant] = sum % PER_HOUR_REQUESTED;
}

/* Cells of one tenant's kind of device, of different sources and pods: the larger of both sums is
 * all theirs. */
static void find_max(struct dv_bill_cell *const *cells, uint32_t n)
{
    int64_t used = 0, requested = 0;
    for (uint32_t i = 0; i < n; i++) {
        used += cells[i]->micros[BUSY];
        requested += cells[i]->requested_micros;
    }
    for (uint32_t i = 0; i < n; i++)
        cells[i]->max_micros =
            requested > used ? cells[i]->requested_micros : cells[i]->micros[BUSY];
}

/* ---- adding up ---- */

static void add_waste(struct dv_bill_waste *w, const struct dv_bill_cell *c)
{
    w->reserved_idle += c->micros[RESERVED];
    w->overhead += c->micros[OVERHEAD];
    w->unallocated += c->micros[UNALLOCATED];
    w->unhealthy += c->micros[UNHEALTHY];
}

static void add_to_gpu(struct dv_bill_gpu *g, const struct dv_bill_cell *c)
{
    dv_charge_add(&g->charge, &c->charge);
    g->used_cost += c->micros[BUSY];
    add_waste(&g->waste, c);
    for (int i = 0; i < BUCKETS; i++)
        g->origin_cost += c->micros[i];
}

static void add_to_tenant(struct dv_bill_tenant *t, const struct dv_bill_cell *c)
{
    dv_charge_add(&t->charge, &c->charge);
    t->used_cost += c->micros[BUSY];
    t->requested_cost += c->requested_micros;
    t->max_cost += c->max_micros;
    t->reserved_idle_cost += c->micros[RESERVED];
    t->busy_ns_of[c->key.quality] += c->charge.busy_ns;
    t->used_cost_of[c->key.quality] += c->micros[BUSY];
    if (c->charge.busy_ns && c->key.quality > (uint32_t)t->quality)
        t->quality = (enum dv_quality)c->key.quality;
}

static int add_to_line(struct dv_bill *b, const struct dv_bill_cell *c, struct dv_err *err)
{
    struct dv_bill_line *line;
    if (!dv_bill_shown(b, c->key.tenant))
        return 0;
    struct dv_bill_key key = c->key;
    int r = dv_bill_line_find(b, key, &line, err);
    if (r < 0)
        return r;
    bool first = !line->charge.busy_ns;
    dv_charge_add(&line->charge, &c->charge);
    line->used_cost += c->micros[BUSY];
    line->requested_cost += c->requested_micros;
    line->max_cost += c->max_micros;
    add_waste(&line->waste, c);
    if (b->query.by == DV_BILL_BY_ALL || !c->charge.busy_ns)
        return 0;
    if (first)
        line->account.source = (enum dv_source)c->key.source;
    else if (line->account.source != (enum dv_source)c->key.source)
        line->account.source = DV_SOURCE_NONE;
    if (c->key.quality > (uint32_t)line->account.quality)
        line->account.quality = (enum dv_quality)c->key.quality;
    return 0;
}

/* ---- a day ---- */

/* Places of GPUs, tenants and kinds in the order of their names: ties are broken alike, and
 * remainders handed on alike, however the rows came. */
struct order {
    uint32_t *gpus, *tenants, *kinds, *pods;
};

static int gpu_names(const void *a, const void *b, void *bill)
{
    const struct dv_bill_gpu *gpus = ((const struct dv_bill *)bill)->gpus;
    return strcmp(gpus[*(const uint32_t *)a].uuid, gpus[*(const uint32_t *)b].uuid);
}

static int tenant_names(const void *a, const void *b, void *bill)
{
    const struct dv_bill_tenant *tenants = ((const struct dv_bill *)bill)->tenants;
    return strcmp(tenants[*(const uint32_t *)a].tenant, tenants[*(const uint32_t *)b].tenant);
}

static int pod_names(const void *a, const void *b, void *bill)
{
    const struct dv_bill_pod *pods = ((const struct dv_bill *)bill)->pods;
    return strcmp(pods[*(const uint32_t *)a].pod, pods[*(const uint32_t *)b].pod);
}

static int kind_names(const void *a, const void *b, void *bill)
{
    const struct dv_bill_kind *kinds = ((const struct dv_bill *)bill)->kinds;
    const struct dv_bill_kind *k = &kinds[*(const uint32_t *)a], *l = &kinds[*(const uint32_t *)b];
    int d = strcmp(k->profile, l->profile);
    d = d ? d : (int)k->mode - (int)l->mode;
    d = d ? d : (int)k->tier - (int)l->tier;
    return d ? d : strcmp(k->model, l->model);
}

/* places[i] becomes the rank of i. 0 or -ENOMEM. */
static int rank(struct dv_bill *b, uint32_t n, int (*names)(const void *, const void *, void *),
                uint32_t **ret)
{
    uint32_t *sorted = calloc(n + 1, sizeof *sorted);
    *ret = calloc(n + 1, sizeof **ret);
    if (!sorted || !*ret) {
        free(sorted);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < n; i++)
        sorted[i] = i;
    qsort_r(sorted, n, sizeof *sorted, names, b);
    for (uint32_t i = 0; i < n; i++)
        (*ret)[sorted[i]] = i;
    free(sorted);
    return 0;
}

static int compare(uint32_t a, uint32_t b)
{
    return a < b ? -1 : a > b;
}

static int by_account(const void *a, const void *b, void *context)
{
    const struct order *o = context;
    const struct dv_bill_key *x = &(*(struct dv_bill_cell *const *)a)->key;
    const struct dv_bill_key *y = &(*(struct dv_bill_cell *const *)b)->key;
    int d = compare(o->gpus[x->gpu], o->gpus[y->gpu]);
    d = d ? d : compare(o->tenants[x->tenant], o->tenants[y->tenant]);
    d = d ? d : compare(o->kinds[x->kind], o->kinds[y->kind]);
    d = d ? d : compare(o->pods[x->pod], o->pods[y->pod]);
    d = d ? d : compare(x->source, y->source);
    return d ? d : compare(x->quality, y->quality);
}

static int sort_cells(struct dv_bill *b, struct dv_bill_cell **cells, uint32_t n)
{
    struct order o = {0};
    int r = rank(b, b->n_gpus, gpu_names, &o.gpus);
    r = r ? r : rank(b, b->n_tenants, tenant_names, &o.tenants);
    r = r ? r : rank(b, b->n_kinds, kind_names, &o.kinds);
    r = r ? r : rank(b, b->n_pods, pod_names, &o.pods);
    if (!r)
        qsort_r(cells, n, sizeof(struct dv_bill_cell *), by_account, &o);
    free(o.gpus);
    free(o.tenants);
    free(o.kinds);
    free(o.pods);
    return r;
}

static bool same_group(const struct dv_bill_cell *a, const struct dv_bill_cell *b)
{
    return a->key.gpu == b->key.gpu && a->key.tenant == b->key.tenant && a->key.kind == b->key.kind;
}

static void round_day(struct dv_bill *b, struct dv_bill_cell **cells, uint32_t n,
                      struct share *shares)
{
    for (uint32_t i = 0, end; i < n; i = end) {
        uint32_t gpu = cells[i]->key.gpu;
        for (end = i; end < n && cells[end]->key.gpu == gpu; end++)
            round_requested(b, cells[end]);
        round_gpu(cells + i, end - i, shares, &b->gpu_states[gpu].carry);
    }
    for (uint32_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && same_group(cells[i], cells[end]);)
            end++;
        find_max(cells + i, end - i);
    }
}

static int settle_day(struct dv_bill *b, struct dv_bill_day *d, struct dv_err *err)
{
    int r = 0;
    if (!d->n)
        return 0;
    struct dv_bill_cell **cells = calloc(d->n, sizeof(struct dv_bill_cell *));
    struct share *shares = calloc((size_t)d->n * BUCKETS, sizeof *shares);
    if (!cells || !shares) {
        free(cells);
        free(shares);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < d->n; i++)
        cells[i] = &d->cells[i];
    r = sort_cells(b, cells, d->n);
    if (!r)
        round_day(b, cells, d->n, shares);
    for (uint32_t i = 0; !r && i < d->n; i++) {
        add_to_gpu(&b->gpus[cells[i]->key.gpu], cells[i]);
        add_to_tenant(&b->tenants[cells[i]->key.tenant], cells[i]);
        r = add_to_line(b, cells[i], err);
    }
    free(cells);
    free(shares);
    return r;
}

/* The earliest of the days that end by then, or NULL: a GPU's carry goes from day to day. */
static struct dv_bill_day *next_day(struct dv_bill *b, int64_t until)
{
    struct dv_bill_day *next = NULL;
    b->first_end = INT64_MAX;
    for (uint32_t i = 0; i < b->n_days; i++) {
        struct dv_bill_day *d = &b->days[i];
        b->first_end = DV_MIN(b->first_end, d->to);
        if (d->to <= until && (!next || d->to < next->to))
            next = d;
    }
    return next;
}

int dv_bill_settle(struct dv_bill *b, int64_t until, struct dv_err *err)
{
    struct dv_bill_day *d;
    int r = 0;
    while (!r && (d = next_day(b, until))) {
        r = settle_day(b, d, err);
        b->n_cells -= d->n;
        d->n = 0;
        dv_bill_index_clear(&d->index);
        struct dv_bill_day done = *d; /* its memory is used again */
        *d = b->days[--b->n_days];
        b->days[b->n_days] = done;
    }
    return r;
}
