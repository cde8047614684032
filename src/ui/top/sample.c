/* SPDX-License-Identifier: Apache-2.0 */
#include "top/sample.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNKNOWN UINT64_MAX

/* A slice of the answer with what it did since the last look. */
struct row {
    const struct dv_output_node *node;
    const char *device;
    uint64_t busy, wait; /* ns since the last look; UNKNOWN */
};

struct sample {
    uint64_t interval; /* ns; 0: no rates */
    struct row *rows;
    size_t n;
    struct dv_output_node *root;
};

void dv_top_look_done(struct dv_top_look *look)
{
    free(look->slices);
    *look = (struct dv_top_look){0};
}

uint32_t dv_top_fairness(const double *values, size_t n)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += values[i];
        squares += values[i] * values[i];
    }
    if (n < 2 || squares <= 0)
        return UINT32_MAX;
    return (uint32_t)(sum * sum / ((double)n * squares) * 1000 + 0.5);
}

/* ---- reading ---- */

static const char *text_of(const struct dv_output_node *node, const char *key)
{
    return dv_output_text(dv_output_get(node, key), "");
}

static const struct dv_top_slice *seen_before(const struct dv_top_look *look, const char *id)
{
    for (size_t i = 0; i < look->n; i++)
        if (!strcmp(look->slices[i].id, id))
            return &look->slices[i];
    return NULL;
}

/* Busier first; those without a rate last; then in the order of the answer. */
static int by_busy(const void *x, const void *y)
{
    const struct row *a = x, *b = y;
    uint64_t busy_a = a->busy == UNKNOWN ? 0 : a->busy + 1;
    uint64_t busy_b = b->busy == UNKNOWN ? 0 : b->busy + 1;
    if (busy_a != busy_b)
        return busy_a > busy_b ? -1 : 1;
    uint64_t id_a = strtoull(text_of(a->node, "id") + 2, NULL, 10);
    uint64_t id_b = strtoull(text_of(b->node, "id") + 2, NULL, 10);
    return id_a < id_b ? -1 : id_a > id_b;
}

static void read_row(const struct dv_top_look *look, const struct dv_output_node *node,
                     uint64_t interval, struct dv_top_slice *ret_seen, struct row *ret)
{
    const char *id = text_of(node, "id");
    const struct dv_top_slice *before = seen_before(look, id);
    snprintf(ret_seen->id, sizeof ret_seen->id, "%s", id);
    ret_seen->busy_ns = dv_output_ns(dv_output_get(node, "busy_seconds"), 0);
    ret_seen->wait_ns = dv_output_ns(dv_output_get(node, "wait_seconds"), 0);
    *ret = (struct row){node, text_of(node, "gpu_uuid"), UNKNOWN, UNKNOWN};
    if (!interval || !before || ret_seen->busy_ns < before->busy_ns ||
        ret_seen->wait_ns < before->wait_ns)
        return;
    ret->busy = ret_seen->busy_ns - before->busy_ns;
    ret->wait = ret_seen->wait_ns - before->wait_ns;
}

/* Reads the rows, and makes the look that the next sample compares with. */
static int read_slices(struct sample *s, struct dv_top_look *look, uint64_t uptime,
                       const struct dv_output_node *list)
{
    size_t n = list->children;
    struct dv_top_look now = {true, uptime, calloc(n + 1, sizeof *now.slices), n};
    s->rows = calloc(n + 1, sizeof *s->rows);
    if (!now.slices || !s->rows) {
        dv_top_look_done(&now);
        return -ENOMEM;
    }
    s->interval = look->taken && uptime > look->uptime_ns ? uptime - look->uptime_ns : 0;
    for (const struct dv_output_node *node = list->first; node; node = node->next, s->n++)
        read_row(look, node, s->interval, &now.slices[s->n], &s->rows[s->n]);
    qsort(s->rows, s->n, sizeof *s->rows, by_busy);
    dv_top_look_done(look);
    *look = now;
    return 0;
}

/* ---- writing ---- */

static void copy(struct dv_output_node *to, const struct dv_output_node *from, const char *key)
{
    const struct dv_output_node *v = dv_output_get(from, key);
    switch (v ? v->type : DV_OUTPUT_NULL) {
    case DV_OUTPUT_STRING:
        dv_output_string(to, key, v->text);
        break;
    case DV_OUTPUT_NULL:
        dv_output_null(to, key);
        break;
    default:
        dv_output_uint(to, key, dv_output_count(v, 0));
        break;
    }
}

static void copy_all(struct dv_output_node *to, const struct dv_output_node *from,
                     const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++)
        copy(to, from, keys[i]);
}

/* A part of the interval in thousandths. */
static void add_rate(struct dv_output_node *to, const char *key, const struct sample *s,
                     uint64_t ns)
{
    if (!s->interval || ns == UNKNOWN)
        dv_output_null(to, key);
    else
        dv_output_uint(to, key, (uint64_t)((double)ns * 1000 / (double)s->interval + 0.5));
}

static void add_slice(struct sample *s, struct dv_output_node *list, const struct row *row)
{
    static const char *const keys[] = {"id",
                                       "tenant",
                                       "mode",
                                       "gpu_index",
                                       "gpu_uuid",
                                       "profile",
                                       "placement_start",
                                       "compute_permille",
                                       "compute_wall",
                                       "memory_used_bytes",
                                       "memory_bytes",
                                       "memory_wall"};
    struct dv_output_node *o = dv_output_object(list, NULL);
    copy_all(o, row->node, keys, DV_ARRAY_SIZE(keys));
    add_rate(o, "busy_permille", s, row->busy);
    add_rate(o, "wait_permille", s, row->wait);
    struct dv_output_node *pids = dv_output_array(o, "pids");
    const struct dv_output_node *from = dv_output_get(row->node, "pids");
    for (const struct dv_output_node *p = from ? from->first : NULL; p; p = p->next)
        dv_output_int(pids, NULL, dv_output_signed(p, 0));
}

/* What the slices of one device did together. */
struct total {
    uint64_t busy; /* ns; a device is busy at most all of the time */
    uint64_t memory_used;
    uint32_t slices;
    uint32_t fairness;
};

static struct total total_of(const struct sample *s, const char *device)
{
    struct total t = {.fairness = UINT32_MAX};
    double *relative = calloc(s->n + 1, sizeof *relative);
    size_t working = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct row *row = &s->rows[i];
        if (strcmp(row->device, device) != 0)
            continue;
        t.slices++;
        t.memory_used += dv_output_count(dv_output_get(row->node, "memory_used_bytes"), 0);
        if (row->busy == UNKNOWN)
            continue;
        t.busy += row->busy;
        uint64_t share = dv_output_count(dv_output_get(row->node, "compute_permille"), 0);
        if (relative && share && (row->busy || row->wait))
            relative[working++] = (double)row->busy / (double)share;
    }
    if (relative)
        t.fairness = dv_top_fairness(relative, working);
    free(relative);
    t.busy = DV_MIN(t.busy, s->interval);
    return t;
}

static void add_fairness(struct dv_output_node *o, uint32_t fairness)
{
    if (fairness == UINT32_MAX)
        dv_output_null(o, "fairness");
    else
        dv_output_decimal(o, "fairness", fairness, 3);
}

/* The MIG devices of a GPU, and what they add to its own total: of its whole compute. */
static void add_devices(const struct sample *s, struct dv_output_node *gpu,
                        const struct dv_output_node *from, struct total *sum)
{
    static const char *const keys[] = {"uuid", "profile", "placement_start", "mode",
                                       "memory_bytes"};
    struct dv_output_node *list = dv_output_array(gpu, "devices");
    for (const struct dv_output_node *d = from ? from->first : NULL; d; d = d->next) {
        struct dv_output_node *o = dv_output_object(list, NULL);
        struct total t = total_of(s, text_of(d, "uuid"));
        copy_all(o, d, keys, DV_ARRAY_SIZE(keys));
        dv_output_bytes(o, "memory_used_bytes", t.memory_used);
        dv_output_uint(o, "slices", t.slices);
        add_rate(o, "busy_permille", s, t.busy);
        add_fairness(o, t.fairness);
        sum->busy += t.busy / 1000 * dv_output_count(dv_output_get(d, "compute_permille"), 0);
        sum->slices += t.slices;
    }
}

static void add_gpu(const struct sample *s, struct dv_output_node *list,
                    const struct dv_output_node *from)
{
    static const char *const keys[] = {
        "index", "uuid", "model", "mode", "health", "memory_used_bytes", "memory_bytes"};
    struct dv_output_node *o = dv_output_object(list, NULL);
    struct total t = total_of(s, text_of(from, "uuid"));
    copy_all(o, from, keys, DV_ARRAY_SIZE(keys));
    add_devices(s, o, dv_output_get(from, "devices"), &t);
    dv_output_uint(o, "slices", t.slices);
    add_rate(o, "busy_permille", s, DV_MIN(t.busy, s->interval));
    add_fairness(o, t.fairness);
}

int dv_top_sample(struct dv_top_look *look, uint64_t unix_ms, const struct dv_output_node *status,
                  const struct dv_output_node *slices, struct dv_output **ret)
{
    const struct dv_output_node *gpus = dv_output_get(status, "gpus");
    const struct dv_output_node *list = dv_output_get(slices, "slices");
    const struct dv_output_node *up =
        dv_output_get(dv_output_get(status, "daemon"), "uptime_seconds");
    if (!gpus || gpus->type != DV_OUTPUT_ARRAY || !list || list->type != DV_OUTPUT_ARRAY || !up)
        return -EPROTO;
    struct dv_output *o = dv_output_new("TopSample");
    struct sample s = {.root = dv_output_root(o)};
    int r = o ? read_slices(&s, look, dv_output_ns(up, 0), list) : -ENOMEM;
    if (!r) {
        dv_output_decimal(s.root, "time_unix", (int64_t)unix_ms, 3);
        if (s.interval)
            dv_output_seconds(s.root, "interval_seconds", s.interval);
        else
            dv_output_null(s.root, "interval_seconds");
        struct dv_output_node *out = dv_output_array(s.root, "gpus");
        for (const struct dv_output_node *g = gpus->first; g; g = g->next)
            add_gpu(&s, out, g);
        out = dv_output_array(s.root, "slices");
        for (size_t i = 0; i < s.n; i++)
            add_slice(&s, out, &s.rows[i]);
        r = dv_output_failed(o) ? -ENOMEM : 0;
    }
    free(s.rows);
    if (r < 0)
        dv_output_free(&o);
    else
        *ret = o;
    return r;
}
