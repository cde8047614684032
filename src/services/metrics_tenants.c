/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics_tenants.h"

#include "metrics_families.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACTIVE_NS (3600 * DV_NS_PER_S)
#define PAIRS_MAX 10000u /* of who waited for whom */
#define NONE UINT32_MAX

/* ---- a table of fixed-size items by a hash ---- */

struct table {
    uint32_t *slots; /* index + 1; 0: free */
    uint32_t n_slots, n, room;
    size_t size; /* of an item; its hash is its first word */
    char *items;
    bool failed;
};

typedef bool same_item(const void *item, const void *key);

static void table_free(struct table *t)
{
    free(t->slots);
    free(t->items);
}

static void *table_at(const struct table *t, uint32_t i)
{
    return t->items + i * t->size;
}

static void table_place(struct table *t, uint32_t hash, uint32_t index)
{
    uint32_t at = hash & (t->n_slots - 1);
    while (t->slots[at])
        at = (at + 1) & (t->n_slots - 1);
    t->slots[at] = index + 1;
}

static bool table_grow(struct table *t)
{
    uint32_t room = t->room ? 2 * t->room : 64;
    char *items = realloc(t->items, room * t->size);
    if (items)
        t->items = items;
    uint32_t *slots = items ? calloc(2 * room, sizeof *slots) : NULL;
    if (!slots)
        return false;
    free(t->slots);
    t->slots = slots;
    t->n_slots = 2 * room;
    t->room = room;
    for (uint32_t i = 0; i < t->n; i++)
        table_place(t, *(uint32_t *)table_at(t, i), i);
    return true;
}

static uint32_t table_find(const struct table *t, uint32_t hash, same_item *same, const void *key)
{
    for (uint32_t at = hash; t->n_slots; at++) {
        uint32_t i = t->slots[at & (t->n_slots - 1)];
        if (!i)
            break;
        const void *item = table_at(t, i - 1);
        if (*(const uint32_t *)item == hash && same(item, key))
            return i - 1;
    }
    return NONE;
}

/* Zeroed but for its hash; NULL when memory is out, which the table remembers. */
static void *table_add(struct table *t, uint32_t hash)
{
    if (t->n == t->room && !table_grow(t)) {
        t->failed = true;
        return NULL;
    }
    void *item = table_at(t, t->n);
    memset(item, 0, t->size);
    *(uint32_t *)item = hash;
    table_place(t, hash, t->n++);
    return item;
}

/* FNV-1a; names are short, and a chosen few of them cannot be many. */
static uint32_t hash_text(uint32_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    return (hash ^ 0xffu) * 16777619u;
}

#define HASH_START 2166136261u

/* ---- who is there ---- */

struct tenant {
    uint32_t hash;
    uint32_t slices, queued;
    bool shown, recent;
    char name[DV_TENANT_SIZE];
    const struct dv_node_tenant *of; /* NULL: it is in the books alone */
    uint64_t granted_ns;             /* its oldest slice */
    uint64_t queued_ns;              /* its oldest claim in the queue */
};

/* What a tenant has, or had, on one kind of device of one GPU. */
struct series {
    uint32_t hash;
    uint32_t tenant;
    char gpu[DV_UUID_SIZE], profile[DV_MIG_NAME];
    enum dv_mode mode;
    bool totals, holds, quality[DV_QUALITY_ESTIMATED + 1];
    uint64_t busy_ns[DV_QUALITY_ESTIMATED + 1];
    uint64_t reserved_idle_ns, wait_ns, requested_ns, byte_seconds;
    uint64_t held_bytes, used_bytes;
    uint32_t compute, slices;
    size_t labels; /* where they begin in the arena */
};

struct dv_metrics_tenants {
    struct dv_node *node;
    uint64_t now;
    struct table tenants, series;
    size_t dropped;
    struct dv_str arena; /* made labels, each with its NUL */
    struct dv_openmetrics *w;
    uint32_t pairs;
};

static bool same_name(const void *item, const void *key)
{
    return !strcmp(((const struct tenant *)item)->name, key);
}

static struct tenant *find_tenant(struct dv_metrics_tenants *m, const char *name, bool add)
{
    uint32_t hash = hash_text(HASH_START, name);
    uint32_t i = table_find(&m->tenants, hash, same_name, name);
    if (i != NONE)
        return table_at(&m->tenants, i);
    struct tenant *t = add ? table_add(&m->tenants, hash) : NULL;
    if (t)
        dv_str_copy(t->name, sizeof t->name, name);
    return t;
}

static void see_total(void *arg, const struct dv_books_total *total)
{
    find_tenant(arg, total->tenant, true);
}

static void see_holding(struct dv_metrics_tenants *m, const struct dv_holding *h)
{
    struct tenant *t = find_tenant(m, h->claim.tenant, true);
    const struct dv_slice *s = dv_node_slice(h);
    if (!t)
        return;
    if (h->state == DV_HOLDING_QUEUED) {
        t->queued_ns = t->queued++ ? DV_MIN(t->queued_ns, h->claim.since_ns) : h->claim.since_ns;
    } else if (s) {
        t->granted_ns = t->slices++ ? DV_MIN(t->granted_ns, s->since_ns) : s->since_ns;
    }
}

/* Those that hold or wait first, then those of the last hour, then the rest. */
static void choose(struct dv_metrics_tenants *m)
{
    uint32_t shown = 0;
    for (int rank = 0; rank < 3; rank++) {
        for (uint32_t i = 0; i < m->tenants.n && shown < DV_METRICS_TENANTS_MAX; i++) {
            struct tenant *t = table_at(&m->tenants, i);
            bool now = t->slices || t->queued;
            if (t->shown || (rank == 0 && !now) || (rank == 1 && !t->recent))
                continue;
            t->shown = true;
            shown++;
        }
    }
    m->dropped = m->tenants.n - shown;
}

static void see_tenants(struct dv_metrics_tenants *m)
{
    for (size_t i = 0; i < m->node->n_tenants; i++) {
        const struct dv_node_tenant *of = &m->node->tenants[i];
        struct tenant *t = find_tenant(m, of->name, true);
        if (!t)
            return;
        t->of = of;
        t->recent = of->activity.active_ns && m->now - of->activity.active_ns < ACTIVE_NS;
    }
    for (const struct dv_holding *h = m->node->holdings; h; h = h->next)
        see_holding(m, h);
    dv_books_view_totals(m->node, see_total, m);
    choose(m);
}

/* ---- what they have ---- */

static bool same_series(const void *item, const void *key)
{
    const struct series *a = item, *b = key;
    return a->tenant == b->tenant && a->mode == b->mode && !strcmp(a->gpu, b->gpu) &&
           !strcmp(a->profile, b->profile);
}

/* NULL: its tenant is not shown. */
static struct series *find_series(struct dv_metrics_tenants *m, const char *tenant, const char *gpu,
                                  const char *profile, enum dv_mode mode)
{
    struct series key = {.mode = mode};
    const struct tenant *t = find_tenant(m, tenant, false);
    if (!t || !t->shown)
        return NULL;
    key.tenant = (uint32_t)(((const char *)t - m->tenants.items) / (ptrdiff_t)m->tenants.size);
    dv_str_copy(key.gpu, sizeof key.gpu, gpu);
    dv_str_copy(key.profile, sizeof key.profile, profile);
    key.hash = hash_text(hash_text((t->hash ^ (uint32_t)mode) * 16777619u, gpu), profile);
    uint32_t i = table_find(&m->series, key.hash, same_series, &key);
    if (i != NONE)
        return table_at(&m->series, i);
    struct series *s = table_add(&m->series, key.hash);
    if (s)
        *s = key;
    return s;
}

static void add_total(void *arg, const struct dv_books_total *total)
{
    struct series *s = find_series(arg, total->tenant, total->gpu, total->profile, total->mode);
    if (!s || total->quality > DV_QUALITY_ESTIMATED)
        return;
    s->totals = true;
    s->quality[total->quality] = true;
    s->busy_ns[total->quality] += total->busy_ns;
    s->reserved_idle_ns += total->reserved_idle_ns;
    s->wait_ns += total->wait_ns;
    s->requested_ns += total->requested_ns;
    s->byte_seconds += total->byte_seconds;
}

static void add_holding(struct dv_metrics_tenants *m, const struct dv_holding *h)
{
    const struct dv_slice *slice = dv_node_slice(h);
    const struct dv_device *d = dv_snapshot_device(m->node->snapshot, h->device_uuid);
    const struct dv_gpu *gpu = d ? dv_snapshot_gpu(m->node->snapshot, d->gpu) : NULL;
    struct series *s =
        slice && gpu ? find_series(m, h->claim.tenant, gpu->uuid, d->profile, slice->mode) : NULL;
    if (!s)
        return;
    s->holds = true;
    s->held_bytes += slice->memory_bytes;
    s->used_bytes += h->pages.page ? dv_governor_slice_reserved(&h->pages) : 0;
    s->compute += slice->compute;
    s->slices++;
}

static void make_labels(struct dv_metrics_tenants *m, struct series *s, struct dv_str *text)
{
    const struct tenant *t = table_at(&m->tenants, s->tenant);
    char index[16] = "";
    for (size_t i = 0; i < m->node->snapshot->n_gpus; i++)
        if (!strcmp(m->node->snapshot->gpus[i].uuid, s->gpu))
            snprintf(index, sizeof index, "%u", m->node->snapshot->gpus[i].index);
    dv_str_clear(text);
    dv_openmetrics_labels_add(text, "tenant", t->name);
    dv_openmetrics_labels_add(text, "gpu", index);
    dv_openmetrics_labels_add(text, "gpu_uuid", s->gpu);
    dv_openmetrics_labels_add(text, "profile", s->profile);
    dv_openmetrics_labels_add(text, "mode", dv_device_mode_name(s->mode));
    s->labels = m->arena.len;
    dv_str_addn(&m->arena, dv_str_get(text), text->len + 1);
    m->arena.failed |= text->failed;
}

static void see_series(struct dv_metrics_tenants *m)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_books_view_totals(m->node, add_total, m);
    for (const struct dv_holding *h = m->node->holdings; h; h = h->next)
        add_holding(m, h);
    for (uint32_t i = 0; i < m->series.n; i++)
        make_labels(m, table_at(&m->series, i), &text);
}

struct dv_metrics_tenants *dv_metrics_tenants_new(struct dv_node *node, uint64_t now)
{
    struct dv_metrics_tenants *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->node = node;
    m->now = now;
    m->tenants.size = sizeof(struct tenant);
    m->series.size = sizeof(struct series);
    see_tenants(m);
    see_series(m);
    if (!m->tenants.failed && !m->series.failed && !m->arena.failed)
        return m;
    dv_metrics_tenants_free(m);
    return NULL;
}

void dv_metrics_tenants_free(struct dv_metrics_tenants *m)
{
    if (!m)
        return;
    table_free(&m->tenants);
    table_free(&m->series);
    dv_str_done(&m->arena);
    free(m);
}

size_t dv_metrics_tenants_dropped(const struct dv_metrics_tenants *m)
{
    return m->dropped;
}

/* ---- writing ---- */

static void begin(struct dv_metrics_tenants *m, enum dv_metrics_id id)
{
    dv_openmetrics_family(m->w, &dv_metrics_families[id]);
}

static void series_sample(struct dv_metrics_tenants *m, const struct series *s)
{
    dv_openmetrics_sample(m->w);
    dv_openmetrics_labels(m->w, m->arena.data + s->labels);
}

static void write_busy(struct dv_metrics_tenants *m)
{
    begin(m, DV_METRICS_TENANT_BUSY);
    for (uint32_t i = 0; i < m->series.n; i++) {
        const struct series *s = table_at(&m->series, i);
        for (int q = 0; q <= DV_QUALITY_ESTIMATED; q++) {
            if (!s->quality[q])
                continue;
            series_sample(m, s);
            dv_openmetrics_label(m->w, "quality", dv_account_quality_name((enum dv_quality)q));
            dv_openmetrics_seconds(m->w, s->busy_ns[q]);
        }
    }
}

static void write_value(struct dv_metrics_tenants *m, enum dv_metrics_id id, const struct series *s)
{
    switch (id) {
    case DV_METRICS_TENANT_IDLE:
        dv_openmetrics_seconds(m->w, s->reserved_idle_ns);
        return;
    case DV_METRICS_TENANT_WAIT:
        dv_openmetrics_seconds(m->w, s->wait_ns);
        return;
    case DV_METRICS_TENANT_REQUESTED:
        dv_openmetrics_seconds(m->w, s->requested_ns);
        return;
    case DV_METRICS_TENANT_BYTE_SECONDS:
        dv_openmetrics_uint(m->w, s->byte_seconds);
        return;
    case DV_METRICS_TENANT_HELD:
        dv_openmetrics_uint(m->w, s->held_bytes);
        return;
    case DV_METRICS_TENANT_USED:
        dv_openmetrics_uint(m->w, s->used_bytes);
        return;
    case DV_METRICS_TENANT_COMPUTE:
        dv_openmetrics_ratio(m->w, s->compute, DV_COMPUTE_FULL);
        return;
    default:
        dv_openmetrics_uint(m->w, s->slices);
        return;
    }
}

/* Totals of what is held no more stay; what is held now is of now. */
static void write_series(struct dv_metrics_tenants *m, enum dv_metrics_id id)
{
    begin(m, id);
    for (uint32_t i = 0; i < m->series.n; i++) {
        const struct series *s = table_at(&m->series, i);
        if (id < DV_METRICS_TENANT_HELD ? !s->totals : !s->holds)
            continue;
        series_sample(m, s);
        write_value(m, id, s);
    }
}

static uint64_t since(uint64_t then, uint64_t now)
{
    return now > then ? now - then : 0;
}

/* False: this tenant has no such value. */
static bool value_of(const struct dv_metrics_tenants *m, enum dv_metrics_id id,
                     const struct tenant *t, uint64_t *ret)
{
    switch (id) {
    case DV_METRICS_TENANT_LAUNCHES:
        *ret = t->of ? t->of->activity.launches : 0;
        return t->of;
    case DV_METRICS_TENANT_REFUSED:
        *ret = t->of ? t->of->activity.refused : 0;
        return t->of;
    case DV_METRICS_TENANT_AGE:
        *ret = since(DV_MAX(t->granted_ns, t->of ? t->of->activity.worked_ns : 0), m->now);
        return t->slices;
    case DV_METRICS_TENANT_QUEUED:
        *ret = t->queued;
        return true;
    case DV_METRICS_TENANT_QUEUE:
        *ret = since(t->queued_ns, m->now);
        return t->queued;
    default:
        *ret = t->of ? t->of->activity.queue_wait_ns : 0;
        return t->of;
    }
}

static bool is_time(enum dv_metrics_id id)
{
    return id == DV_METRICS_TENANT_AGE || id == DV_METRICS_TENANT_QUEUE ||
           id == DV_METRICS_TENANT_QUEUE_TOTAL;
}

static void write_tenants(struct dv_metrics_tenants *m, enum dv_metrics_id id)
{
    uint64_t value;
    begin(m, id);
    for (uint32_t i = 0; i < m->tenants.n; i++) {
        const struct tenant *t = table_at(&m->tenants, i);
        if (!t->shown || !value_of(m, id, t, &value))
            continue;
        dv_openmetrics_sample(m->w);
        dv_openmetrics_label(m->w, "tenant", t->name);
        if (is_time(id))
            dv_openmetrics_seconds(m->w, value);
        else
            dv_openmetrics_uint(m->w, value);
    }
}

static bool is_shown(struct dv_metrics_tenants *m, const char *name)
{
    const struct tenant *t = find_tenant(m, name, false);
    return t && t->shown;
}

static void write_wait(void *arg, const char *tenant, const char *holder, uint64_t ns)
{
    struct dv_metrics_tenants *m = arg;
    if (m->pairs >= PAIRS_MAX || !is_shown(m, tenant))
        return;
    m->pairs++;
    dv_openmetrics_sample(m->w);
    dv_openmetrics_label(m->w, "tenant", tenant);
    dv_openmetrics_label(m->w, "holder", holder);
    dv_openmetrics_seconds(m->w, ns);
}

static void write_cost(void *arg, const char *tenant, const char *currency, const char *basis,
                       uint64_t micros)
{
    struct dv_metrics_tenants *m = arg;
    if (!is_shown(m, tenant))
        return;
    dv_openmetrics_sample(m->w);
    dv_openmetrics_label(m->w, "tenant", tenant);
    dv_openmetrics_label(m->w, "currency", currency);
    dv_openmetrics_label(m->w, "basis", basis);
    dv_openmetrics_uint(m->w, micros);
}

void dv_metrics_tenants_write(struct dv_metrics_tenants *m, struct dv_openmetrics *w)
{
    m->w = w;
    write_busy(m);
    for (enum dv_metrics_id id = DV_METRICS_TENANT_IDLE; id <= DV_METRICS_TENANT_SLICES; id++)
        write_series(m, id);
    for (enum dv_metrics_id id = DV_METRICS_TENANT_LAUNCHES; id <= DV_METRICS_TENANT_QUEUE_TOTAL;
         id++)
        write_tenants(m, id);
    begin(m, DV_METRICS_TENANT_WAIT_FOR);
    dv_books_view_waits(m->node, write_wait, m);
    begin(m, DV_METRICS_TENANT_COST);
    dv_books_view_costs(m->node, write_cost, m);
}
