/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet_file.h"

#include "policy/fleet/fleet.h"
#include "sys/fd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PERCENT_UNIT 5u

struct kind {
    enum dv_audit_class class;
    enum dv_audit_how how;
    uint32_t profile, gib, percent, count;
};

static int by_time(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* An instant at which most workloads were there: when one of them began. */
static int64_t busiest(const struct dv_audit *a, int64_t *times)
{
    size_t n = 0, gone = 0, most = 0;
    int64_t at = 0, *ends = times + dv_audit_count(a);
    for (uint32_t i = 0; i < dv_audit_count(a); i++) {
        const struct dv_audit_times *t = &dv_audit_at(a, i)->series.busy_times;
        if (!t->n || dv_audit_is_nobody(dv_audit_at(a, i)))
            continue;
        times[n] = t->first_ns;
        ends[n++] = t->last_ns;
    }
    qsort(times, n, sizeof *times, by_time);
    qsort(ends, n, sizeof *ends, by_time);
    for (size_t i = 0; i < n; i++) {
        while (ends[gone] < times[i])
            gone++;
        if (i + 1 - gone > most) {
            most = i + 1 - gone;
            at = times[i];
        }
    }
    return at;
}

static bool is_whole(enum dv_audit_how how)
{
    return how <= DV_AUDIT_EXCLUSIVE;
}

static struct kind kind_of(const struct dv_audit_workload *w)
{
    struct kind k = {.class = w->class, .how = w->how, .profile = w->profile};
    uint64_t bytes = is_whole(w->how) ? (uint64_t)w->series.memory_peak : w->memory_bytes;
    k.gib = (uint32_t)((bytes + DV_GIB - 1) / DV_GIB);
    if (!is_whole(w->how)) {
        uint32_t percent = (w->compute + DV_COMPUTE_FULL / 100 - 1) / (DV_COMPUTE_FULL / 100);
        k.percent = (percent + PERCENT_UNIT - 1) / PERCENT_UNIT * PERCENT_UNIT;
    }
    return k;
}

/* Adds it to its kind. false: too many of them. */
static bool add(struct kind *kinds, size_t *n, const struct kind *k)
{
    for (size_t i = 0; i < *n; i++)
        if (kinds[i].class == k->class && kinds[i].how == k->how && kinds[i].gib == k->gib &&
            kinds[i].percent == k->percent && kinds[i].profile == k->profile) {
            kinds[i].count++;
            return true;
        }
    if (*n == DV_FLEET_WORKLOADS_MAX)
        return false;
    kinds[*n] = *k;
    kinds[(*n)++].count = 1;
    return true;
}

/* A card of its own, of any model that has the memory it was seen to use. */
static void write_whole(const struct dv_audit_answer *a, const struct kind *k, struct dv_str *text)
{
    bool training = k->class == DV_AUDIT_TRAINING;
    if (k->gib)
        dv_str_addf(text, ", memory: %" PRIu64, DV_MIN(k->gib * DV_GIB, a->wish->gpu_memory_bytes));
    dv_str_add(text, training ? ", training: true}\n"
                     : k->gib ? ", modes: exclusive}\n"
                              : ", gpus: 1}\n");
}

/* The driver's figure of a process' memory has its context in it. An instance holds what was seen,
 * but not what was rounded up: so its memory is said as the profile has it. */
static void write_kind(const struct dv_audit_answer *a, const struct kind *k, size_t i,
                       struct dv_str *text)
{
    dv_str_addf(text, "  - {name: %s-%zu, count: %u", dv_audit_class_name(k->class), i + 1,
                k->count);
    if (is_whole(k->how)) {
        write_whole(a, k, text);
        return;
    }
    uint64_t memory = k->gib * DV_GIB;
    if (k->how == DV_AUDIT_MIG)
        memory = DV_MIN(memory, a->wish->mig->profiles[k->profile].memory_bytes);
    dv_str_addf(text, ", memory: %" PRIu64 ", context: included, compute: %u%%, modes: %s", memory,
                DV_MIN(k->percent, 100u), dv_audit_how_name(k->how));
    if (k->class == DV_AUDIT_STEADY)
        dv_str_add(text, ", inference: true");
    if (k->how == DV_AUDIT_MIG)
        dv_str_add(text, ", isolation: hardware");
    else if (a->wish->wall == DV_WALL_DRIVER)
        dv_str_add(text, ", isolation: driver");
    if (a->wish->trust == DV_TRUST_UNTRUSTED)
        dv_str_add(text, ", trust: untrusted");
    dv_str_add(text, "}\n");
}

static void write_head(const struct dv_audit_answer *a, bool gpu_memory_said, struct dv_str *text)
{
    const struct dv_audit_money *m = &a->money;
    dv_str_addf(text, "# What was there at once, at most, by `divvy audit`: for `divvy plan`.\n");
    dv_str_addf(text, "apiVersion: divvy/v1\nkind: Fleet\n");
    if (m->per_hour_micros >= 0)
        dv_str_addf(text, "currency: %s\n", m->currency);
    dv_str_addf(text, "gpus:\n  - {model: %s", a->model->name);
    if (gpu_memory_said)
        dv_str_addf(text, ", memory: %" PRIu64, a->wish->gpu_memory_bytes);
    if (m->per_hour_micros >= 0)
        dv_str_addf(text, ", price_per_hour: %lld.%06lld",
                    (long long)(m->per_hour_micros / 1000000),
                    (long long)(m->per_hour_micros % 1000000));
    dv_str_add(text, "}\nworkloads:\n");
}

int dv_audit_fleet_file_write(const struct dv_ui *ui, const struct dv_audit_answer *a,
                              bool gpu_memory_said, const char *path)
{
    const struct dv_audit *audit = a->feed->audit;
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_err err = {{0}};
    if (!path)
        return DV_UI_OK;
    int64_t *times = calloc(2 * (size_t)dv_audit_count(audit) + 1, sizeof *times);
    struct kind *kinds = calloc(DV_FLEET_WORKLOADS_MAX, sizeof *kinds);
    size_t n = 0;
    bool fits = true;
    if (times && kinds) {
        int64_t at = busiest(audit, times);
        for (uint32_t i = 0; i < dv_audit_count(audit) && fits; i++) {
            const struct dv_audit_workload *w = dv_audit_at(audit, i);
            const struct dv_audit_times *t = &w->series.busy_times;
            struct kind k = kind_of(w);
            if (t->n && !dv_audit_is_nobody(w) && t->first_ns <= at && at <= t->last_ns)
                fits = add(kinds, &n, &k);
        }
        write_head(a, gpu_memory_said, &text);
        for (size_t i = 0; i < n; i++)
            write_kind(a, &kinds[i], i, &text);
    }
    bool memory = times && kinds && !text.failed;
    free(times);
    free(kinds);
    if (!memory)
        return dv_ui_fail(ui, DV_UI_FAILURE, "out of memory");
    if (!n) {
        fprintf(stderr,
                "%s %s: --fleet-file: no workload has a GPU, so there is nothing to plan; %s "
                "is not written\n",
                ui->program->name, ui->verb->name, path);
        return DV_UI_OK;
    }
    if (!fits)
        return dv_ui_fail(ui, DV_UI_FAILURE, "--fleet-file: more than %u kinds of workloads",
                          DV_FLEET_WORKLOADS_MAX);
    if (dv_fd_replace_file(path, text.data, text.len, 0644, &err) < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg);
    return DV_UI_OK;
}
