/* SPDX-License-Identifier: Apache-2.0 */
/* The tables behind a bill: names to numbers. */
#include "account/bill_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint32_t dv_bill_hash(uint32_t seed, const void *data, size_t size)
{
    const unsigned char *p = data;
    uint32_t h = seed ^ 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < size; i++)
        h = (h ^ p[i]) * 16777619u;
    return h ^ h >> 15;
}

uint32_t dv_bill_index_next(const struct dv_bill_index *index, uint32_t hash, uint32_t *at)
{
    for (; *at < index->cap; ++*at) {
        const struct dv_bill_slot *s = &index->slots[(hash + *at) & (index->cap - 1)];
        if (!s->number)
            break;
        if (s->hash == hash) {
            ++*at;
            return s->number - 1;
        }
    }
    return UINT32_MAX;
}

static void put(struct dv_bill_slot *slots, uint32_t cap, struct dv_bill_slot s)
{
    uint32_t i = s.hash & (cap - 1);
    while (slots[i].number)
        i = (i + 1) & (cap - 1);
    slots[i] = s;
}

int dv_bill_index_put(struct dv_bill_index *index, uint32_t hash, uint32_t i)
{
    if (2 * (index->n + 1) > index->cap) {
        uint32_t cap = index->cap ? 2 * index->cap : 64;
        struct dv_bill_slot *slots = calloc(cap, sizeof *slots);
        if (!slots)
            return -ENOMEM;
        for (uint32_t k = 0; k < index->cap; k++)
            if (index->slots[k].number)
                put(slots, cap, index->slots[k]);
        free(index->slots);
        index->slots = slots;
        index->cap = cap;
    }
    put(index->slots, index->cap, (struct dv_bill_slot){hash, i + 1});
    index->n++;
    return 0;
}

void dv_bill_index_clear(struct dv_bill_index *index)
{
    if (index->n)
        memset(index->slots, 0, index->cap * sizeof *index->slots);
    index->n = 0;
}

void *dv_bill_grow(void *array, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap)
        return array;
    uint32_t more = *cap ? 2 * *cap : 16;
    void *moved = realloc(array, more * size);
    if (moved)
        *cap = more;
    return moved;
}

static int too_many(struct dv_err *err, uint32_t max, const char *what)
{
    return dv_err_set(err, -E2BIG,
                      "more than %u %s in one bill; ask for fewer days, or for one GPU or tenant",
                      max, what);
}

int dv_bill_gpu_find(struct dv_bill *b, const char *uuid, const char *model, uint32_t *ret,
                     struct dv_err *err)
{
    uint32_t hash = dv_bill_hash(1, uuid, strlen(uuid)), at = 0, i;
    while ((i = dv_bill_index_next(&b->gpu_index, hash, &at)) != UINT32_MAX)
        if (!strcmp(b->gpus[i].uuid, uuid)) {
            *ret = i;
            return 0;
        }
    if (b->n_gpus == DV_BILL_GPUS_MAX)
        return too_many(err, DV_BILL_GPUS_MAX, "GPUs");
    void *moved = dv_bill_grow(b->gpus, b->n_gpus, &b->cap_gpus, sizeof *b->gpus);
    if (!moved)
        return -ENOMEM;
    b->gpus = moved;
    moved = dv_bill_grow(b->gpu_states, b->n_gpus, &b->cap_gpu_states, sizeof *b->gpu_states);
    if (!moved)
        return -ENOMEM;
    b->gpu_states = moved;
    struct dv_bill_gpu *g = &b->gpus[b->n_gpus];
    memset(g, 0, sizeof *g);
    memset(&b->gpu_states[b->n_gpus], 0, sizeof *b->gpu_states);
    memcpy(g->uuid, uuid, strlen(uuid) + 1);
    memcpy(g->model, model, strlen(model) + 1);
    g->price_per_hour = -1;
    *ret = b->n_gpus++;
    return dv_bill_index_put(&b->gpu_index, hash, *ret);
}

int dv_bill_tenant_find(struct dv_bill *b, const char *name, uint32_t *ret, struct dv_err *err)
{
    uint32_t hash = dv_bill_hash(2, name, strlen(name)), at = 0, i;
    while ((i = dv_bill_index_next(&b->tenant_index, hash, &at)) != UINT32_MAX)
        if (!strcmp(b->tenants[i].tenant, name)) {
            *ret = i;
            return 0;
        }
    if (b->n_tenants > DV_BILL_TENANTS_MAX)
        return too_many(err, DV_BILL_TENANTS_MAX, "tenants");
    void *moved = dv_bill_grow(b->tenants, b->n_tenants, &b->cap_tenants, sizeof *b->tenants);
    if (!moved)
        return -ENOMEM;
    b->tenants = moved;
    moved =
        dv_bill_grow(b->requested_carry, b->n_tenants, &b->cap_carries, sizeof *b->requested_carry);
    if (!moved)
        return -ENOMEM;
    b->requested_carry = moved;
    struct dv_bill_tenant *t = &b->tenants[b->n_tenants];
    memset(t, 0, sizeof *t);
    memcpy(t->tenant, name, strlen(name) + 1);
    b->requested_carry[b->n_tenants] = 0;
    *ret = b->n_tenants++;
    return dv_bill_index_put(&b->tenant_index, hash, *ret);
}

int dv_bill_pod_find(struct dv_bill *b, const char *name, uint32_t *ret)
{
    uint32_t hash = dv_bill_hash(6, name, strlen(name)), at = 0, i;
    while ((i = dv_bill_index_next(&b->pod_index, hash, &at)) != UINT32_MAX)
        if (!strcmp(b->pods[i].pod, name)) {
            *ret = i;
            return 0;
        }
    if (b->n_pods > DV_BILL_PODS_MAX) {
        b->pods_folded++;
        *ret = 0;
        return 0;
    }
    void *moved = dv_bill_grow(b->pods, b->n_pods, &b->cap_pods, sizeof *b->pods);
    if (!moved)
        return -ENOMEM;
    b->pods = moved;
    memset(&b->pods[b->n_pods], 0, sizeof *b->pods);
    memcpy(b->pods[b->n_pods].pod, name, strlen(name) + 1);
    *ret = b->n_pods++;
    return dv_bill_index_put(&b->pod_index, hash, *ret);
}

static bool same_kind(const struct dv_bill_kind *a, const struct dv_bill_kind *b)
{
    return a->mode == b->mode && a->tier == b->tier && !strcmp(a->profile, b->profile) &&
           !strcmp(a->model, b->model);
}

int dv_bill_kind_find(struct dv_bill *b, const struct dv_bill_kind *kind, uint32_t *ret,
                      struct dv_err *err)
{
    uint32_t hash = dv_bill_hash((uint32_t)kind->mode * 2 + (uint32_t)kind->tier, kind->model,
                                 strlen(kind->model));
    hash = dv_bill_hash(hash, kind->profile, strlen(kind->profile));
    uint32_t at = 0, i;
    while ((i = dv_bill_index_next(&b->kind_index, hash, &at)) != UINT32_MAX)
        if (same_kind(&b->kinds[i], kind)) {
            *ret = i;
            return 0;
        }
    void *moved = dv_bill_grow(b->kinds, b->n_kinds, &b->cap_kinds, sizeof *b->kinds);
    if (!moved)
        return -ENOMEM;
    b->kinds = moved;
    if (b->n_kinds == DV_BILL_CELLS_MAX)
        return too_many(err, DV_BILL_CELLS_MAX, "kinds of device");
    b->kinds[b->n_kinds] = *kind;
    *ret = b->n_kinds++;
    return dv_bill_index_put(&b->kind_index, hash, *ret);
}

/* ---- lines ---- */

/* What the view tells apart stays in the key. */
static int reduce(struct dv_bill *b, struct dv_bill_key *k, struct dv_err *err)
{
    static const struct dv_bill_kind any;
    enum dv_bill_by by = b->query.by;
    if (by == DV_BILL_BY_ALL)
        return 0;
    if (by != DV_BILL_BY_POD)
        k->pod = 0;
    if (by != DV_BILL_BY_TENANT && by != DV_BILL_BY_POD)
        k->tenant = b->query.tenant[0] ? k->tenant : DV_BILL_ANY;
    if (by != DV_BILL_BY_GPU)
        k->gpu = DV_BILL_ANY;
    if (by != DV_BILL_BY_DAY)
        k->day = DV_BILL_NO_DAY;
    k->source = k->quality = DV_BILL_ANY;
    struct dv_bill_kind kind = any;
    if (k->kind == DV_BILL_ANY)
        return 0;
    if (by == DV_BILL_BY_MODE) {
        kind.mode = b->kinds[k->kind].mode;
        memcpy(kind.profile, b->kinds[k->kind].profile, sizeof kind.profile);
    }
    return dv_bill_kind_find(b, &kind, &k->kind, err);
}

static bool same_key(const struct dv_bill_key *a, const struct dv_bill_key *b)
{
    return a->gpu == b->gpu && a->tenant == b->tenant && a->kind == b->kind && a->pod == b->pod &&
           a->day == b->day && a->source == b->source && a->quality == b->quality &&
           a->line_kind == b->line_kind;
}

/* A line's own words for its key. */
static void name_line(struct dv_bill *b, const struct dv_bill_key *k, struct dv_bill_line *line)
{
    memset(line, 0, sizeof *line);
    line->kind = (enum dv_bill_line_kind)k->line_kind;
    line->from_unix = b->query.from_unix;
    line->to_unix = b->query.to_unix;
    if (k->day != DV_BILL_NO_DAY) {
        int64_t from = dv_zone_day_start(&b->prices->zone, k->day);
        int64_t to = dv_zone_day_start(&b->prices->zone, k->day + 1);
        line->from_unix = DV_MAX(line->from_unix, from);
        line->to_unix = DV_MIN(line->to_unix, to);
    }
    if (k->gpu != DV_BILL_ANY) {
        memcpy(line->account.gpu, b->gpus[k->gpu].uuid, DV_UUID_SIZE);
        memcpy(line->account.model, b->gpus[k->gpu].model, DV_GPU_NAME_SIZE);
    }
    if (k->tenant != DV_BILL_ANY)
        memcpy(line->account.tenant, b->tenants[k->tenant].tenant, DV_TENANT_SIZE);
    memcpy(line->account.pod, b->pods[k->pod].pod, DV_WORKLOAD_NAME_SIZE);
    if (k->kind != DV_BILL_ANY) {
        const struct dv_bill_kind *kind = &b->kinds[k->kind];
        if (kind->model[0])
            memcpy(line->account.model, kind->model, DV_GPU_NAME_SIZE);
        memcpy(line->account.profile, kind->profile, DV_MIG_NAME);
        line->account.mode = kind->mode;
        line->account.tier = kind->tier;
    }
    if (k->source != DV_BILL_ANY)
        line->account.source = (enum dv_source)k->source;
    if (k->quality != DV_BILL_ANY)
        line->account.quality = (enum dv_quality)k->quality;
}

static struct dv_bill_line *line_of(struct dv_bill *b, const struct dv_bill_key *key,
                                    uint32_t *ret_hash)
{
    uint32_t at = 0, i;
    *ret_hash = dv_bill_hash(3, key, sizeof *key);
    while ((i = dv_bill_index_next(&b->line_index, *ret_hash, &at)) != UINT32_MAX)
        if (same_key(&b->line_keys[i], key))
            return &b->lines[i];
    return NULL;
}

int dv_bill_line_find(struct dv_bill *b, struct dv_bill_key key, struct dv_bill_line **ret,
                      struct dv_err *err)
{
    uint32_t hash;
    int r = reduce(b, &key, err);
    if (r < 0)
        return r;
    struct dv_bill_line *line = line_of(b, &key, &hash);
    if (!line && key.pod && b->n_lines >= DV_BILL_POD_LINES_MAX) {
        b->pods_folded++;
        key.pod = 0;
        line = line_of(b, &key, &hash);
    }
    if (line) {
        *ret = line;
        return 0;
    }
    if (b->n_lines == DV_BILL_LINES_MAX)
        return dv_err_set(err, -E2BIG,
                          "the bill has more than %u lines; ask for fewer days, for one GPU or "
                          "tenant, or by tenant, gpu, mode or day",
                          DV_BILL_LINES_MAX);
    void *moved = dv_bill_grow(b->lines, b->n_lines, &b->cap_lines, sizeof *b->lines);
    if (!moved)
        return -ENOMEM;
    b->lines = moved;
    moved = dv_bill_grow(b->line_keys, b->n_lines, &b->cap_line_keys, sizeof *b->line_keys);
    if (!moved)
        return -ENOMEM;
    b->line_keys = moved;
    b->line_keys[b->n_lines] = key;
    name_line(b, &key, &b->lines[b->n_lines]);
    *ret = &b->lines[b->n_lines++];
    return dv_bill_index_put(&b->line_index, hash, b->n_lines - 1);
}
