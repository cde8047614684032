/* SPDX-License-Identifier: Apache-2.0 */
/* A bill's question, and its rows: cut at the range, at days and at changes of price. */
#include "account/bill_internal.h"
#include "base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- words ---- */

static const char *const by_names[] = {"tenant", "gpu", "mode", "day", "pod", "all"};
static const char *const basis_names[] = {"used", "requested", "fixed", "max"};
static const char *const idle_names[] = {"none", "even", "weighted"};

static const char *name_of(const char *const *names, size_t n, size_t i)
{
    return i < n ? names[i] : "unknown";
}

const char *dv_bill_by_name(enum dv_bill_by by)
{
    return name_of(by_names, DV_ARRAY_SIZE(by_names), (size_t)by);
}

const char *dv_bill_basis_name(enum dv_bill_basis basis)
{
    return name_of(basis_names, DV_ARRAY_SIZE(basis_names), (size_t)basis);
}

const char *dv_bill_idle_name(enum dv_bill_idle idle)
{
    return name_of(idle_names, DV_ARRAY_SIZE(idle_names), (size_t)idle);
}

static int find_name(const char *const *names, size_t n, const char *what, const char *text,
                     struct dv_err *err)
{
    dv_cleanup(dv_str_done) struct dv_str known = {0};
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(names[i], text))
            return (int)i;
        dv_str_addf(&known, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = dv_str_nearest(text, names, n);
    return dv_err_set(err, -EINVAL, "unknown %s \"%.40s\"%s%s%s; known: %s", what, text,
                      near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "",
                      dv_str_get(&known));
}

int dv_bill_by_parse(const char *text, enum dv_bill_by *ret, struct dv_err *err)
{
    int i = find_name(by_names, DV_ARRAY_SIZE(by_names), "way to divide a bill", text, err);
    if (i >= 0)
        *ret = (enum dv_bill_by)i;
    return i < 0 ? i : 0;
}

int dv_bill_basis_parse(const char *text, enum dv_bill_basis *ret, struct dv_err *err)
{
    int i = find_name(basis_names, DV_ARRAY_SIZE(basis_names), "basis", text, err);
    if (i >= 0)
        *ret = (enum dv_bill_basis)i;
    return i < 0 ? i : 0;
}

int dv_bill_idle_parse(const char *text, enum dv_bill_idle *ret, struct dv_err *err)
{
    int i = find_name(idle_names, DV_ARRAY_SIZE(idle_names), "way to share idle time", text, err);
    if (i >= 0)
        *ret = (enum dv_bill_idle)i;
    return i < 0 ? i : 0;
}

/* ---- life ---- */

static int check_query(const struct dv_price_list *prices, const struct dv_bill_query *q,
                       struct dv_err *err)
{
    char from[DV_ZONE_TEXT], to[DV_ZONE_TEXT];
    dv_zone_format(&prices->zone, q->from_unix, from);
    dv_zone_format(&prices->zone, q->to_unix, to);
    if (q->from_unix < 0 || q->to_unix < 0 || q->from_unix > DV_ZONE_UNIX_MAX ||
        q->to_unix > DV_ZONE_UNIX_MAX)
        return dv_err_set(err, -EINVAL, "from and to are times between 1970 and 2100");
    if (q->from_unix > q->to_unix)
        return dv_err_set(err, -EINVAL,
                          "the range is the wrong way round: from %s is after to %s; swap them",
                          from, to);
    if (q->from_unix == q->to_unix)
        return dv_err_set(err, -EINVAL,
                          "the range is empty: it begins and ends at %s; `to` is the first instant "
                          "that is not in it",
                          from);
    if (q->to_unix - q->from_unix > DV_BILL_RANGE_MAX_S)
        return dv_err_set(err, -EINVAL, "from %s to %s is more than ten years; ask for less", from,
                          to);
    if (q->gpu[0] && strlen(q->gpu) < 8)
        return dv_err_set(err, -EINVAL, "GPU \"%s\": a UUID or its beginning, 8 letters at least",
                          q->gpu);
    if (q->pod[0] && !q->tenant[0])
        return dv_err_set(err, -EINVAL, "pod \"%.253s\": a pod is a tenant's: say which", q->pod);
    return 0;
}

int dv_bill_new(const struct dv_price_list *prices, const struct dv_bill_query *query,
                struct dv_bill **ret, struct dv_err *err)
{
    uint32_t own, none;
    int r = check_query(prices, query, err);
    if (r < 0)
        return r;
    struct dv_bill *b = calloc(1, sizeof *b);
    if (!b)
        return -ENOMEM;
    b->prices = prices;
    b->query = *query;
    b->first_end = INT64_MAX;
    r = dv_bill_tenant_find(b, "", &own, err); /* index 0 */
    r = r ? r : dv_bill_pod_find(b, "", &none);
    if (r < 0) {
        dv_bill_free(b);
        return r;
    }
    *ret = b;
    return 0;
}

void dv_bill_free(struct dv_bill *b)
{
    if (!b)
        return;
    for (uint32_t i = 0; i < b->cap_days; i++) {
        free(b->days[i].cells);
        free(b->days[i].index.slots);
    }
    free(b->gpus);
    free(b->gpu_states);
    free(b->tenants);
    free(b->requested_carry);
    free(b->kinds);
    free(b->pods);
    free(b->price_cache);
    free(b->days);
    free(b->lines);
    free(b->line_keys);
    free(b->gpu_index.slots);
    free(b->tenant_index.slots);
    free(b->kind_index.slots);
    free(b->pod_index.slots);
    free(b->price_index.slots);
    free(b->line_index.slots);
    free(b);
}

void dv_bill_freep(struct dv_bill **bill)
{
    dv_bill_free(*bill);
}

uint64_t dv_bill_gaps(const struct dv_bill *bill, const struct dv_bill_gap **ret, uint32_t *ret_n)
{
    *ret = bill->gaps;
    *ret_n = (uint32_t)DV_MIN(bill->n_gaps, (uint64_t)DV_BILL_GAPS_MAX);
    return bill->n_gaps;
}

bool dv_bill_shown(const struct dv_bill *bill, uint32_t tenant)
{
    return !bill->query.tenant[0] || !strcmp(bill->query.tenant, bill->tenants[tenant].tenant);
}

/* ---- days ---- */

void dv_bill_find_day(struct dv_bill *b, int64_t unix_s)
{
    const struct dv_zone *zone = &b->prices->zone;
    if (unix_s >= b->day_from && unix_s < b->day_to)
        return;
    b->day = dv_zone_day(zone, unix_s);
    b->day_from = dv_zone_day_start(zone, b->day);
    while ((b->day_to = dv_zone_day_start(zone, b->day + 1)) <= unix_s) {
        b->day++;
        b->day_from = b->day_to;
    }
}

/* The current day among those that are open. Places of settled days are used again. */
static int open_day(struct dv_bill *b, struct dv_bill_day **ret)
{
    for (uint32_t i = 0; i < b->n_days; i++)
        if (b->days[i].day == b->day) {
            *ret = &b->days[i];
            return 0;
        }
    uint32_t before = b->cap_days;
    struct dv_bill_day *days = dv_bill_grow(b->days, b->n_days, &b->cap_days, sizeof *days);
    if (!days)
        return -ENOMEM;
    b->days = days;
    if (b->cap_days > before)
        memset(days + before, 0, (b->cap_days - before) * sizeof *days);
    struct dv_bill_day *d = &days[b->n_days++];
    d->day = b->day;
    d->from = b->day_from;
    d->to = b->day_to;
    b->first_end = DV_MIN(b->first_end, d->to);
    *ret = d;
    return 0;
}

static bool same_cell(const struct dv_bill_key *a, const struct dv_bill_key *b)
{
    return a->gpu == b->gpu && a->tenant == b->tenant && a->kind == b->kind && a->pod == b->pod &&
           a->source == b->source && a->quality == b->quality;
}

static int find_cell(struct dv_bill *b, const struct dv_bill_key *key, struct dv_bill_cell **ret,
                     struct dv_err *err)
{
    struct dv_bill_day *d;
    int r = open_day(b, &d);
    if (r < 0)
        return r;
    uint32_t hash = dv_bill_hash(4, key, offsetof(struct dv_bill_key, day)), at = 0, i;
    while ((i = dv_bill_index_next(&d->index, hash, &at)) != UINT32_MAX)
        if (same_cell(&d->cells[i].key, key)) {
            *ret = &d->cells[i];
            return 0;
        }
    if (b->n_cells == DV_BILL_CELLS_MAX)
        return dv_err_set(err, -E2BIG,
                          "more than %u accounts in the days at hand; ask for one GPU at a time",
                          DV_BILL_CELLS_MAX);
    void *moved = dv_bill_grow(d->cells, d->n, &d->cap, sizeof *d->cells);
    if (!moved)
        return -ENOMEM;
    d->cells = moved;
    memset(&d->cells[d->n], 0, sizeof *d->cells);
    d->cells[d->n].key = *key;
    d->cells[d->n].key.day = d->day;
    r = dv_bill_index_put(&d->index, hash, d->n);
    if (r < 0)
        return r;
    *ret = &d->cells[d->n++];
    b->n_cells++;
    return 0;
}

/* ---- prices ---- */

static const struct dv_price_rule *price_at(struct dv_bill *b, const struct dv_bill_key *key,
                                            const struct dv_account *account, int64_t at_unix,
                                            int64_t *ret_until, int *ret_error)
{
    struct dv_bill_price *p = NULL;
    const uint32_t pair[2] = {key->tenant, key->kind};
    uint32_t hash = dv_bill_hash(5, pair, sizeof pair), at = 0, i;
    while (!p && (i = dv_bill_index_next(&b->price_index, hash, &at)) != UINT32_MAX)
        if (b->price_cache[i].tenant == key->tenant && b->price_cache[i].kind == key->kind)
            p = &b->price_cache[i];
    if (!p) {
        void *moved = dv_bill_grow(b->price_cache, b->n_price_cache, &b->cap_price_cache,
                                   sizeof *b->price_cache);
        if (moved)
            b->price_cache = moved;
        if (!moved || dv_bill_index_put(&b->price_index, hash, b->n_price_cache) < 0) {
            *ret_error = -ENOMEM;
            return NULL;
        }
        p = &b->price_cache[b->n_price_cache++];
        *p = (struct dv_bill_price){key->tenant, key->kind, 0, 0, NULL};
    }
    if (at_unix < p->from || at_unix >= p->until) {
        p->from = at_unix;
        p->rule = dv_price_find(b->prices, account, at_unix, &p->until);
    }
    *ret_until = p->until;
    return p->rule;
}

/* Prices do not know pods. */
static void note_gap(struct dv_bill *b, const struct dv_account *whose, int64_t from, int64_t to)
{
    struct dv_account without_pod = *whose;
    const struct dv_account *account = &without_pod;
    memset(without_pod.pod, 0, sizeof without_pod.pod);
    uint32_t n = (uint32_t)DV_MIN(b->n_gaps, (uint64_t)DV_BILL_GAPS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        struct dv_bill_gap *g = &b->gaps[i];
        if (g->to_unix < from || g->from_unix > to || !dv_account_equal(&g->account, account))
            continue;
        g->from_unix = DV_MIN(g->from_unix, from);
        g->to_unix = DV_MAX(g->to_unix, to);
        return;
    }
    if (n < DV_BILL_GAPS_MAX)
        b->gaps[n] = (struct dv_bill_gap){from, to, *account};
    b->n_gaps++;
}

/* ---- cutting ---- */

static uint64_t part(uint64_t whole, uint64_t p, uint64_t q)
{
    return (uint64_t)((dv_u128)whole * p / q);
}

/* Moves p/q of what is between *run and *run + *from out of *from. Of amounts that are cut one
 * after the other with one `run`, the parts sum to p/q of the sum, rounded down once. */
static uint64_t take(uint64_t *from, uint64_t *run, uint64_t p, uint64_t q)
{
    uint64_t got = part(*run + *from, p, q) - part(*run, p, q);
    *run += *from;
    *from -= got;
    return got;
}

static uint64_t take_one(uint64_t *from, uint64_t p, uint64_t q)
{
    uint64_t run = 0;
    return take(from, &run, p, q);
}

/* Moves p/q of the charge out of *from. */
static struct dv_charge cut(struct dv_charge *from, uint64_t *run, uint64_t p, uint64_t q)
{
    return (struct dv_charge){
        .busy_ns = take(&from->busy_ns, run, p, q),
        .overhead_ns = take(&from->overhead_ns, run, p, q),
        .reserved_idle_ns = take(&from->reserved_idle_ns, run, p, q),
        .unallocated_ns = take(&from->unallocated_ns, run, p, q),
        .unhealthy_ns = take(&from->unhealthy_ns, run, p, q),
        .wait_ns = take_one(&from->wait_ns, p, q),
        .requested_compute = take_one(&from->requested_compute, p, q),
        .byte_seconds = take_one(&from->byte_seconds, p, q),
        .held_ns = take_one(&from->held_ns, p, q),
    };
}

static void add_cost(struct dv_bill_cell *cell, const struct dv_charge *c, int64_t price)
{
    const dv_u128 p = (dv_u128)price;
    cell->cost[BUSY] += c->busy_ns * p;
    cell->cost[RESERVED] += c->reserved_idle_ns * p;
    cell->cost[OVERHEAD] += c->overhead_ns * p;
    cell->cost[UNALLOCATED] += c->unallocated_ns * p;
    cell->cost[UNHEALTHY] += c->unhealthy_ns * p;
    cell->requested += c->requested_compute * p;
}

static void remember_price(struct dv_bill *b, uint32_t gpu, int64_t price)
{
    struct dv_bill_gpu *g = &b->gpus[gpu];
    if (!b->gpu_states[gpu].priced)
        g->price_per_hour = price;
    else if (g->price_per_hour != price)
        g->price_per_hour = -1;
    b->gpu_states[gpu].priced = true;
}

/* A piece within one local day: into its cell, at the prices of its time. */
static int add_piece(struct dv_bill *b, const struct dv_bill_key *key,
                     const struct dv_account *account, struct dv_charge charge, int64_t from,
                     int64_t to, struct dv_err *err)
{
    struct dv_bill_cell *cell = NULL;
    int r = find_cell(b, key, &cell, err);
    if (!cell)
        return r;
    dv_charge_add(&cell->charge, &charge);
    while (from < to) {
        int64_t until = to;
        const struct dv_price_rule *rule = price_at(b, key, account, from, &until, &r);
        struct dv_charge piece = charge;
        uint64_t run = 0;
        if (r < 0)
            return r;
        until = DV_MIN(until, to);
        if (until < to)
            piece = cut(&charge, &run, (uint64_t)(until - from), (uint64_t)(to - from));
        if (dv_charge_wall_ns(&piece) || piece.requested_compute) {
            if (rule) {
                add_cost(cell, &piece, rule->micros_per_hour);
                remember_price(b, key->gpu, rule->micros_per_hour);
            } else {
                note_gap(b, account, from, until);
            }
        }
        from = until;
    }
    return 0;
}

static int check_row(const struct dv_charge_row *row, struct dv_err *err)
{
    const struct dv_account *a = &row->account;
    const struct dv_charge *c = &row->charge;
    uint64_t sum = c->busy_ns;
    if (row->from_unix < 0 || row->to_unix > DV_ZONE_UNIX_MAX || row->from_unix >= row->to_unix ||
        row->to_unix - row->from_unix > DV_BILL_ROW_MAX_S)
        return dv_err_set(err, -EINVAL, "a row of the ledger from %lld to %lld cannot be",
                          (long long)row->from_unix, (long long)row->to_unix);
    if (a->mode < 0 || a->mode > DV_MODE_GOVERNED || a->tier < 0 ||
        a->tier > DV_TIER_LATENCY_CRITICAL || a->source < 0 || a->source > DV_SOURCE_ACCOUNTING ||
        a->quality < 0 || a->quality > DV_QUALITY_ESTIMATED || !memchr(a->gpu, 0, sizeof a->gpu) ||
        !memchr(a->model, 0, sizeof a->model) || !memchr(a->profile, 0, sizeof a->profile) ||
        !memchr(a->tenant, 0, sizeof a->tenant) || !memchr(a->pod, 0, sizeof a->pod) || !a->gpu[0])
        return dv_err_set(err, -EINVAL, "a row of the ledger has an account that cannot be");
    if (__builtin_add_overflow(sum, c->overhead_ns, &sum) ||
        __builtin_add_overflow(sum, c->reserved_idle_ns, &sum) ||
        __builtin_add_overflow(sum, c->unallocated_ns, &sum) ||
        __builtin_add_overflow(sum, c->unhealthy_ns, &sum) ||
        sum > 2 * (uint64_t)DV_BILL_ROW_MAX_S * DV_NS_PER_S)
        return dv_err_set(err, -EINVAL, "a row of the ledger has more time than there is");
    return 0;
}

static int key_of(struct dv_bill *b, const struct dv_account *a, struct dv_bill_key *ret,
                  struct dv_err *err)
{
    struct dv_bill_kind kind = {.mode = a->mode, .tier = a->tier};
    memcpy(kind.model, a->model, sizeof kind.model);
    memcpy(kind.profile, a->profile, sizeof kind.profile);
    *ret = (struct dv_bill_key){.source = a->source, .quality = a->quality};
    int r = dv_bill_gpu_find(b, a->gpu, a->model, &ret->gpu, err);
    r = r ? r : dv_bill_tenant_find(b, a->tenant, &ret->tenant, err);
    r = r ? r : dv_bill_pod_find(b, a->pod, &ret->pod);
    return r ? r : dv_bill_kind_find(b, &kind, &ret->kind, err);
}

/* The end of the piece that begins at `from`: the range's edge, or the day's. Days are cut before
 * the range too, so that the bills of two neighbouring ranges cut a row alike. */
static int64_t piece_end(struct dv_bill *b, int64_t from, int64_t to)
{
    const struct dv_bill_query *q = &b->query;
    if (from >= q->to_unix)
        return to;
    dv_bill_find_day(b, from);
    int64_t edge = from < q->from_unix ? q->from_unix : q->to_unix;
    return DV_MIN(to, DV_MIN(edge, b->day_to));
}

static int add_row(struct dv_bill *b, const struct dv_charge_row *row,
                   const struct dv_bill_key *key, struct dv_err *err)
{
    struct dv_bill_gpu_state *s = &b->gpu_states[key->gpu];
    struct dv_charge rest = row->charge;
    int64_t from = row->from_unix, end;
    int r = 0;
    if (s->from != row->from_unix || s->to != row->to_unix) {
        s->from = row->from_unix;
        s->to = row->to_unix;
        memset(s->cut, 0, sizeof s->cut);
    }
    for (uint32_t k = 0; !r && from < row->to_unix && k < DV_BILL_CUTS_MAX; k++, from = end) {
        struct dv_charge piece = rest;
        end = piece_end(b, from, row->to_unix);
        if (end < row->to_unix)
            piece = cut(&rest, &s->cut[k], (uint64_t)(end - from), (uint64_t)(row->to_unix - from));
        if (from >= b->query.from_unix && from < b->query.to_unix)
            r = add_piece(b, key, &row->account, piece, from, end, err);
    }
    return r;
}

int dv_bill_add(struct dv_bill *bill, const struct dv_charge_row *row, struct dv_err *err)
{
    const struct dv_bill_query *q = &bill->query;
    struct dv_bill_key key;
    int r = check_row(row, err);
    if (r < 0)
        return r;
    if (row->to_unix <= q->from_unix || row->from_unix >= q->to_unix ||
        strncmp(row->account.gpu, q->gpu, strlen(q->gpu)) != 0 ||
        (q->pod[0] &&
         (strcmp(row->account.pod, q->pod) != 0 || strcmp(row->account.tenant, q->tenant) != 0)))
        return 0;
    if (row->from_unix >= bill->first_end)
        r = dv_bill_settle(bill, row->from_unix, err);
    r = r ? r : key_of(bill, &row->account, &key, err);
    return r ? r : add_row(bill, row, &key, err);
}
