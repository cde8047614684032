/* SPDX-License-Identifier: Apache-2.0 */
#include "baselines.h"

#include "base/units.h"
#include "meter.h"
#include "sys/clock.h"
#include "waits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
#define AS_FAST_PERMILLE 20 /* less than that is no difference */

/* ---- names ---- */

int dv_baselines_check_name(const char *name, struct dv_err *err)
{
    size_t len = strlen(name);
    if (!len || len >= DV_STORE_BASELINE_NAME)
        return dv_err_set(err, -EINVAL, "a baseline's name has 1 to %u characters",
                          DV_STORE_BASELINE_NAME - 1u);
    if (strspn(name, LETTERS ".:@+-") != len || !strspn(name, LETTERS))
        return dv_err_set(err, -EINVAL,
                          "a baseline's name has letters, digits and . _ : @ + - in it, and begins "
                          "with a letter, a digit or _");
    return 0;
}

/* The last part of the path that begins here, up to *ret_end. */
static size_t last_part(const char *command, size_t begin, size_t *ret_end)
{
    *ret_end = begin + strcspn(command + begin, " ");
    for (size_t i = begin; i < *ret_end; i++)
        if (command[i] == '/')
            begin = i + 1;
    return begin;
}

void dv_baselines_name(const char *command, char ret[DV_STORE_BASELINE_NAME])
{
    size_t end, n = 0, begin = last_part(command, 0, &end);
    bool script = !strncmp(command + begin, "python", 6) && command[end] && command[end + 1];
    if (script && command[end + 1] != '-' && command[end + 1] != ' ')
        begin = last_part(command, end + 1, &end);
    for (size_t i = begin; i < end && n < DV_STORE_BASELINE_NAME - 1; i++) {
        bool fine = strchr(n ? LETTERS ".:@+-" : LETTERS, command[i]) != NULL;
        ret[n++] = fine ? command[i] : '_';
    }
    if (!n)
        ret[n++] = '_';
    ret[n] = 0;
}

/* ---- keeping ---- */

void dv_baselines_pace(struct dv_holding *h, struct dv_pace *ret)
{
    uint64_t now = dv_clock_now();
    dv_meter_holding(h, now);
    dv_waits_holding(h, now);
    *ret = (struct dv_pace){.launches = h->work.launches,
                            .wall_ns = h->work.active_ns,
                            .busy_ns = h->busy_ns,
                            .wait_ns = dv_waits_turn_ns(&h->spent)};
}

static void fill(struct dv_holding *h, const struct dv_slice *slice, const struct dv_pace *pace,
                 struct dv_store_baseline *b)
{
    const struct dv_device *d = dv_snapshot_device(h->node->snapshot, slice->device);
    const struct dv_gpu *gpu = d ? dv_snapshot_gpu(h->node->snapshot, d->gpu) : NULL;
    memcpy(b->tenant, h->claim.tenant, sizeof b->tenant);
    memcpy(b->command, h->command, sizeof b->command);
    snprintf(b->model, sizeof b->model, "%s", gpu ? gpu->model : "");
    snprintf(b->profile, sizeof b->profile, "%s", d && d->mig ? d->profile : "");
    b->mode = slice->mode;
    b->memory_bytes = slice->memory_bytes;
    b->compute = slice->compute;
    b->unix_time = dv_clock_unix();
    b->launches = pace->launches;
    b->wall_ns = pace->wall_ns;
    b->busy_ns = pace->busy_ns;
    b->wait_ns = pace->wait_ns;
}

struct count {
    const struct dv_store_baseline *b;
    size_t all, tenant;
    bool there;
};

static void on_count(void *arg, const struct dv_store_baseline *row)
{
    struct count *c = arg;
    bool tenant = !strcmp(row->tenant, c->b->tenant);
    c->all++;
    c->tenant += tenant;
    c->there |= tenant && !strcmp(row->name, c->b->name);
}

static int put(struct dv_node *node, const struct dv_store_baseline *b, struct dv_err *err)
{
    struct count c = {.b = b};
    if (!node->store)
        return dv_err_set(err, -ENOENT, "the daemon's state is not kept; see divvy doctor");
    int r = dv_store_load_baselines(node->store, NULL, NULL, on_count, &c, err);
    if (r == 0 && !c.there && (c.tenant >= DV_BASELINES_TENANT_MAX || c.all >= DV_BASELINES_MAX))
        return dv_err_set(err, -ENOSPC,
                          "there are %zu baselines of tenant %s, and %zu in all; remove some with "
                          "'divvy baseline rm'",
                          c.tenant, b->tenant, c.all);
    return r == 0 ? dv_store_put_baseline(node->store, b, err) : r;
}

int dv_baselines_record(struct dv_holding *h, const char *name, struct dv_store_baseline *ret,
                        struct dv_err *err)
{
    const struct dv_slice *slice = dv_node_slice(h);
    struct dv_pace pace;
    if (!slice || !slice->alone)
        return dv_err_set(err, -EBUSY, "s-%" PRIu64 " is not alone on its device", h->claim.id);
    dv_baselines_pace(h, &pace);
    if (!pace.launches || !pace.wall_ns)
        return dv_err_set(err, -ENODATA,
                          "the command launched nothing on the GPU, so there is nothing to keep");
    memset(ret, 0, sizeof *ret);
    fill(h, slice, &pace, ret);
    if (name[0])
        snprintf(ret->name, sizeof ret->name, "%s", name);
    else
        dv_baselines_name(h->command, ret->name);
    return put(h->node, ret, err);
}

int dv_baselines_drop(struct dv_node *node, const char *tenant, const char *name,
                      struct dv_err *err)
{
    struct dv_store_baseline b = {.launches = 0};
    struct count c = {.b = &b};
    snprintf(b.tenant, sizeof b.tenant, "%s", tenant);
    snprintf(b.name, sizeof b.name, "%s", name);
    int r = node->store ? dv_store_load_baselines(node->store, tenant, name, on_count, &c, err) : 0;
    if (r == 0 && !c.there)
        return dv_err_set(err, -ENOENT, "tenant %s has no baseline '%s'", tenant, name);
    return r == 0 ? dv_store_drop_baseline(node->store, tenant, name, err) : r;
}

struct search {
    const struct dv_holding *h;
    char name[DV_STORE_BASELINE_NAME];
    struct dv_store_baseline *ret;
    bool found, exact;
};

static void on_search(void *arg, const struct dv_store_baseline *row)
{
    struct search *s = arg;
    bool exact = !strcmp(row->command, s->h->command);
    if (s->exact || (!exact && strcmp(row->name, s->name) != 0))
        return;
    *s->ret = *row;
    s->found = true;
    s->exact = exact;
}

bool dv_baselines_find(struct dv_node *node, const struct dv_holding *h,
                       struct dv_store_baseline *ret)
{
    struct search s = {.h = h, .ret = ret};
    struct dv_err err = {0};
    dv_baselines_name(h->command, s.name);
    if (node->store)
        dv_store_load_baselines(node->store, h->claim.tenant, NULL, on_search, &s, &err);
    return s.found;
}

/* ---- showing ---- */

static struct dv_pace pace_of(const struct dv_store_baseline *b)
{
    return (struct dv_pace){b->launches, b->wall_ns, b->busy_ns, b->wait_ns};
}

static void add_pace(struct dv_output_node *o, const struct dv_pace *p)
{
    dv_output_uint(o, "launches", p->launches);
    dv_output_seconds(o, "wall_seconds", p->wall_ns);
    dv_output_seconds(o, "busy_seconds", p->busy_ns);
    dv_output_seconds(o, "wait_seconds", p->wait_ns);
    dv_output_decimal(o, "launches_per_second",
                      (int64_t)DV_MIN(dv_pace_rate_milli(p), (uint64_t)INT64_MAX), 3);
    dv_output_decimal(o, "gpu_ms_per_launch",
                      (int64_t)DV_MIN(dv_pace_gpu_ns(p), (uint64_t)INT64_MAX), 6);
}

static void add_baseline(struct dv_output_node *o, const struct dv_store_baseline *b)
{
    struct dv_pace pace = pace_of(b);
    dv_output_string(o, "tenant", b->tenant);
    dv_output_string(o, "name", b->name);
    dv_output_string(o, "command", b->command);
    dv_output_string(o, "model", b->model);
    dv_output_string(o, "profile", b->profile[0] ? b->profile : NULL);
    dv_output_string(o, "mode", dv_device_mode_name(b->mode));
    dv_output_bytes(o, "memory_bytes", b->memory_bytes);
    dv_output_compute(o, "compute_permille", b->compute);
    dv_output_int(o, "recorded_unix", b->unix_time);
    add_pace(o, &pace);
}

struct dv_output *dv_baselines_view(const struct dv_store_baseline *b)
{
    struct dv_output *o = dv_output_new("Baseline");
    add_baseline(dv_output_root(o), b);
    return o;
}

static void on_list(void *arg, const struct dv_store_baseline *row)
{
    add_baseline(dv_output_object(arg, NULL), row);
}

struct dv_output *dv_baselines_list(struct dv_node *node, const char *tenant, const char *name,
                                    struct dv_err *err)
{
    struct dv_output *o = dv_output_new("BaselineList");
    struct dv_output_node *list = dv_output_array(dv_output_root(o), "baselines");
    if (node->store && dv_store_load_baselines(node->store, tenant, name, on_list, list, err) < 0)
        dv_output_free(&o);
    return o;
}

/* ---- comparing ---- */

/* 8.31, 83.1, 831: three digits. */
static const char *rate_text(uint64_t milli, char buf[32])
{
    uint64_t hundredths = (milli + 5) / 10, tenths = (milli + 50) / 100;
    if (hundredths < 1000)
        snprintf(buf, 32, "%" PRIu64 ".%02" PRIu64, hundredths / 100, hundredths % 100);
    else if (tenths < 1000)
        snprintf(buf, 32, "%" PRIu64 ".%" PRIu64, tenths / 10, tenths % 10);
    else
        snprintf(buf, 32, "%" PRIu64, (milli + 500) / 1000);
    return buf;
}

static const char *ms_text(uint64_t ns, char buf[32])
{
    return rate_text((ns + 500) / 1000, buf);
}

static void add_part(struct dv_output_node *list, struct dv_str *text, const char *what,
                     const char *holder, int64_t permille)
{
    struct dv_output_node *o = dv_output_object(list, NULL);
    dv_output_string(o, "what", what);
    dv_output_string(o, "holder", holder);
    dv_output_int(o, "permille", permille);
    if (permille < 5 && permille > -5)
        return;
    int64_t percent = (permille + (permille < 0 ? -5 : 5)) / 10;
    dv_str_addf(text, text->len ? ", %" PRId64 " %% " : "%" PRId64 " %% of the difference is ",
                percent);
    dv_str_addf(text, "%s%s%s", what, holder ? " for " : "", holder ? holder : "");
}

static int by_turn(const void *a, const void *b)
{
    const struct dv_wait_for *x = a, *y = b;
    return (x->turn_ns < y->turn_ns) - (x->turn_ns > y->turn_ns);
}

static void add_difference(struct dv_output_node *list, struct dv_str *text,
                           const struct dv_pace_comparison *c, const struct dv_pace *now,
                           const struct dv_time_spent *spent)
{
    struct dv_wait_for *sorted = calloc(spent->n_waits + 1, sizeof *sorted);
    int64_t waits = 0;
    if (!sorted)
        return;
    if (spent->n_waits)
        memcpy(sorted, spent->waits, spent->n_waits * sizeof *sorted);
    qsort(sorted, spent->n_waits, sizeof *sorted, by_turn);
    for (size_t i = 0; i < spent->n_waits && sorted[i].turn_ns; i++) {
        int64_t part = dv_pace_share_permille(c, now, sorted[i].turn_ns);
        waits += part;
        add_part(list, text, "waiting", sorted[i].holder, part);
    }
    free(sorted);
    int64_t gpu = (int64_t)((double)c->gpu_ps * 1000 / (double)c->difference_ps);
    add_part(list, text, "longer GPU work", NULL, gpu);
    add_part(list, text, "its own side", NULL, 1000 - waits - gpu);
}

/* The slice is of another size, or on another kind of device, than when it ran alone. */
static bool is_other(struct dv_holding *h, const struct dv_store_baseline *b)
{
    static struct dv_store_baseline now; /* as it would be kept */
    const struct dv_pace none = {0};
    memset(&now, 0, sizeof now);
    fill(h, dv_node_slice(h), &none, &now);
    return now.mode != b->mode || now.memory_bytes != b->memory_bytes ||
           now.compute != b->compute || strcmp(now.model, b->model) != 0 ||
           strcmp(now.profile, b->profile) != 0;
}

static void say_other(struct dv_str *line, const struct dv_store_baseline *b)
{
    char memory[DV_UNITS_TEXT], compute[DV_UNITS_TEXT];
    dv_str_addf(line, "; alone it had another slice: %s, %s of the compute of a %s%s%s, mode %s",
                dv_units_format_bytes(b->memory_bytes, memory),
                dv_units_format_compute(b->compute, compute), b->model, b->profile[0] ? " " : "",
                b->profile, dv_device_mode_name(b->mode));
}

static void say(struct dv_output_node *lines, struct dv_holding *h,
                const struct dv_store_baseline *b, const struct dv_pace *now,
                const struct dv_pace_comparison *c, const char *parts)
{
    dv_cleanup(dv_str_done) struct dv_str line = {0};
    struct dv_pace alone = pace_of(b);
    char rate[32], each[32], now_rate[32], now_each[32];
    dv_str_addf(&line,
                "s-%" PRIu64
                " ran alone: %s launches/s, %s ms of GPU each; now: %s/s, %s ms each: %s",
                h->claim.id, rate_text(dv_pace_rate_milli(&alone), rate),
                ms_text(dv_pace_gpu_ns(&alone), each), rate_text(dv_pace_rate_milli(now), now_rate),
                ms_text(dv_pace_gpu_ns(now), now_each),
                c->slower_permille < -AS_FAST_PERMILLE  ? "faster than alone"
                : c->slower_permille > AS_FAST_PERMILLE ? parts
                                                        : "as fast as alone");
    if (is_other(h, b))
        say_other(&line, b);
    dv_output_string(lines, NULL, dv_str_get(&line));
}

void dv_baselines_explain(struct dv_holding *h, struct dv_output_node *list,
                          struct dv_output_node *lines)
{
    dv_cleanup(dv_str_done) struct dv_str parts = {0};
    struct dv_store_baseline b;
    struct dv_pace now;
    struct dv_pace_comparison c;
    char id[32];
    if (!dv_node_slice(h) || !dv_baselines_find(h->node, h, &b))
        return;
    struct dv_pace alone = pace_of(&b);
    dv_baselines_pace(h, &now);
    struct dv_output_node *o = dv_output_object(list, NULL);
    snprintf(id, sizeof id, "s-%" PRIu64, h->claim.id);
    dv_output_string(o, "slice", id);
    dv_output_string(o, "name", b.name);
    dv_output_int(o, "recorded_unix", b.unix_time);
    dv_output_bool(o, "same_slice", !is_other(h, &b));
    add_pace(dv_output_object(o, "alone"), &alone);
    add_pace(dv_output_object(o, "now"), &now);
    if (!dv_pace_compare(&alone, &now, &c))
        return;
    dv_output_int(o, "slower_permille", c.slower_permille);
    struct dv_output_node *difference = dv_output_array(o, "difference");
    if (c.slower_permille > AS_FAST_PERMILLE)
        add_difference(difference, &parts, &c, &now, &h->spent);
    say(lines, h, &b, &now, &c, dv_str_get(&parts));
}
