/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"

#include "account/price.h"
#include "base/units.h"
#include "base/zone.h"
#include "render/audit_text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_HOUR 3.6e12
#define MOSTLY_LOST                                                                                \
    "more samples were left out, as late or double, than were counted: the figures are of what "   \
    "is "                                                                                          \
    "left and may be far off"

static uint32_t gpus_today(const struct dv_audit_answer *a)
{
    uint32_t peak = dv_audit_fleet(a->feed->audit)->gpus_peak;
    return a->money.gpus > 0 ? (uint32_t)a->money.gpus : peak;
}

static uint32_t gpus_saved(const struct dv_audit_answer *a, uint32_t needed)
{
    uint32_t today = gpus_today(a);
    return today > needed ? today - needed : 0;
}

bool dv_audit_answer_worth(const struct dv_audit_answer *a)
{
    return a->work->plan && dv_audit_fleet(a->feed->audit)->samples &&
           gpus_saved(a, a->work->plan->n_gpus) > 0;
}

/* ---- the tree ------------------------------------------------------------------------------- */

static void add_rounded(struct dv_output_node *to, const char *key, double v, unsigned scale)
{
    dv_output_decimal(to, key, llround(v * pow(10, scale)), scale);
}

static void add_when(struct dv_output_node *to, const char *key, int64_t ns)
{
    static const struct dv_zone utc = {.n = 0};
    char buf[DV_ZONE_TEXT];
    dv_output_string(to, key, dv_zone_format(&utc, ns / (int64_t)DV_NS_PER_S, buf));
}

static void add_money(struct dv_output_node *to, const char *key, const struct dv_audit_money *m,
                      double hours)
{
    if (m->per_hour_micros < 0)
        dv_output_null(to, key);
    else
        dv_output_int(to, key, llround((double)m->per_hour_micros * hours));
}

static void add_fleet(struct dv_output_node *root, const struct dv_audit_answer *a)
{
    const struct dv_audit_fleet *f = dv_audit_fleet(a->feed->audit);
    struct dv_output_node *fleet = dv_output_object(root, "fleet");
    dv_output_string(fleet, "gpu", a->model ? a->model->name : NULL);
    dv_output_bytes(fleet, "gpu_memory_bytes", a->wish->gpu_memory_bytes);
    dv_output_uint(fleet, "gpus", gpus_today(a));
    dv_output_uint(fleet, "gpus_peak", f->gpus_peak);
    add_rounded(fleet, "gpus_mean", f->gpus_mean, 3);
    dv_output_seconds(fleet, "gpu_seconds", f->gpu_ns);
    dv_output_seconds(fleet, "busy_gpu_seconds", (uint64_t)f->busy_ns);
    dv_output_seconds(fleet, "idle_gpu_seconds", f->gpu_ns - (uint64_t)f->busy_ns);
    struct dv_output_node *classes = dv_output_object(fleet, "workloads_by_class");
    for (enum dv_audit_class c = DV_AUDIT_UNKNOWN; c <= DV_AUDIT_BURSTY; c++)
        dv_output_uint(classes, dv_audit_class_name(c), f->by_class[c]);
}

/* Of the time that was looked at, and of a month with as many GPUs as were held on average, or as
 * the fleet has. */
static void add_waste(struct dv_output_node *root, const struct dv_audit_answer *a)
{
    const struct dv_audit_fleet *f = dv_audit_fleet(a->feed->audit);
    struct dv_output_node *waste = dv_output_object(root, "waste");
    double held = (double)f->gpu_ns / NS_PER_HOUR, idle = held - f->busy_ns / NS_PER_HOUR;
    double gpus = a->money.gpus > 0 ? (double)a->money.gpus : f->gpus_mean;
    double month = gpus * (double)a->money.month_hours;
    double busy = f->gpu_ns ? f->busy_ns / (double)f->gpu_ns : 0;
    if (a->money.gpus > 0) /* GPUs that nobody held are idle too */
        busy *= DV_MIN(f->gpus_mean / gpus, 1);
    if (a->money.per_hour_micros < 0)
        dv_output_null(waste, "price_per_hour_micros");
    else
        dv_output_int(waste, "price_per_hour_micros", a->money.per_hour_micros);
    add_money(waste, "cost_micros", &a->money, held);
    add_money(waste, "waste_cost_micros", &a->money, idle);
    dv_output_uint(waste, "month_hours", (uint64_t)a->money.month_hours);
    add_money(waste, "cost_per_month_micros", &a->money, month);
    if (!f->gpu_ns) { /* one sample each: for how long it holds is not known */
        dv_output_null(waste, "waste_per_month_micros");
        dv_output_null(waste, "waste_percent");
        return;
    }
    add_money(waste, "waste_per_month_micros", &a->money, month * (1 - busy));
    add_rounded(waste, "waste_percent", (1 - busy) * 100, 2);
}

static void add_quality(struct dv_output_node *root, const struct dv_audit_answer *a)
{
    const struct dv_audit_fleet *f = dv_audit_fleet(a->feed->audit);
    struct dv_output_node *q = dv_output_object(root, "data_quality");
    dv_output_uint(q, "samples_read", a->feed->samples + a->feed->missing_values);
    dv_output_uint(q, "memory_samples", f->memory_samples);
    dv_output_uint(q, "memory_only_workloads", f->memory_only);
    dv_output_uint(q, "missing_values", a->feed->missing_values);
    dv_output_uint(q, "outside_range", a->feed->outside);
    dv_output_uint(q, "over_100_percent", a->feed->clamped);
    dv_output_uint(q, "out_of_order", f->out_of_order);
    dv_output_uint(q, "duplicates", f->duplicates);
    dv_output_uint(q, "conflicting_duplicates", f->conflicts);
    dv_output_uint(q, "too_late", f->late);
    dv_output_bool(q, "mostly_lost", dv_audit_is_mostly_lost(f));
    dv_output_uint(q, "newest_first_workloads", f->backwards);
    dv_output_uint(q, "gaps", f->gaps);
    dv_output_uint(q, "missing_samples", f->missing);
    dv_output_uint(q, "step_corrections", a->feed->step_corrections);
    dv_output_uint(q, "unnamed_series", a->feed->series_dropped);
}

static void add_replay(struct dv_output_node *to, const char *key,
                       const struct dv_audit_replayed *r)
{
    struct dv_output_node *o = dv_output_object(to, key);
    dv_output_seconds(o, "step_seconds", r->step_ns);
    dv_output_uint(o, "busy_samples", r->samples);
    add_rounded(o, "waited_percent", r->waited * 100, 3);
    add_rounded(o, "met_percent", r->met_percent, 2);
    dv_output_seconds(o, "mean_wait_seconds", r->mean_wait_ns);
    dv_output_seconds(o, "longest_wait_seconds", r->longest_wait_ns);
    dv_output_uint(o, "gpu_steps", r->gpu_steps);
    dv_output_uint(o, "memory_over_steps", r->memory_over_steps);
    dv_output_bytes(o, "memory_over_bytes", r->memory_over_bytes);
    dv_output_uint(o, "unplanned_workloads", r->unplanned);
}

static void add_plan(struct dv_output_node *root, const struct dv_audit_answer *a)
{
    const struct dv_audit_plan *p = a->work->plan;
    struct dv_output_node *plan = dv_output_object(root, "plan");
    uint32_t saved = gpus_saved(a, p->n_gpus), today = gpus_today(a);
    dv_output_uint(plan, "gpus_needed", p->n_gpus);
    dv_output_uint(plan, "gpus_at_least", p->gpus_at_least);
    dv_output_string(plan, "binds",
                     p->memory_binds    ? "memory"
                     : p->compute_binds ? "compute"
                                        : NULL);
    dv_output_uint(plan, "headroom_permille", dv_units_permille(a->wish->headroom));
    dv_output_uint(plan, "memory_margin_permille", a->wish->memory_margin_permille);
    struct dv_output_node *modes = dv_output_object(plan, "gpus_by_mode");
    for (enum dv_audit_how h = DV_AUDIT_KEEP; h <= DV_AUDIT_GOVERNED; h++)
        dv_output_uint(modes, dv_audit_how_name(h), p->by_how[h]);
    dv_output_uint(plan, "saved_gpus", saved);
    add_rounded(plan, "saved_percent", today ? saved * 100.0 / today : 0, 1);
    add_money(plan, "saved_per_month_micros", &a->money, saved * (double)a->money.month_hours);
    if (a->work->replayed)
        add_replay(plan, "replay", &a->work->replay);
    else
        dv_output_null(plan, "replay");
    if (!a->work->held_back) {
        dv_output_null(plan, "held_back");
        return;
    }
    struct dv_output_node *held = dv_output_array(plan, "held_back");
    for (size_t i = 0; i < 2; i++) {
        struct dv_output_node *half = dv_output_object(held, NULL);
        dv_output_string(half, "planned_on", i ? "second_half" : "first_half");
        dv_output_string(half, "replayed_on", i ? "first_half" : "second_half");
        dv_output_uint(half, "gpus_needed", a->work->halves[i].gpus);
        add_replay(half, "replay", &a->work->halves[i].other);
    }
}

/* Whose recommendations are listed, in the order of the list. */
struct order {
    double idle;
    uint32_t workload;
};

struct listing {
    const struct dv_audit_answer *answer;
    struct order order[];
};

/* NULL of GPUs that nobody has. */
static const char *mode_of(const struct dv_audit_workload *w)
{
    if (dv_audit_is_nobody(w))
        return NULL;
    return w->how == DV_AUDIT_KEEP ? "exclusive" : dv_audit_how_name(w->how);
}

static void add_recommendation(struct dv_output_node *list, size_t at, void *arg)
{
    const struct listing *listing = arg;
    const struct dv_audit_answer *a = listing->answer;
    uint32_t i = listing->order[at].workload;
    const struct dv_audit_workload *w = dv_audit_at(a->feed->audit, i);
    dv_cleanup(dv_str_done) struct dv_str reason = {0};
    struct dv_output_node *row = dv_output_object(list, NULL);
    dv_output_string(row, "workload", w->name);
    if (*w->gpu)
        dv_output_string(row, "gpu", w->gpu);
    dv_output_string(row, "class", dv_audit_class_name(w->class));
    dv_output_string(row, "mode", mode_of(w));
    dv_output_bool(row, "keep", w->how == DV_AUDIT_KEEP && !dv_audit_is_nobody(w));
    if (w->how == DV_AUDIT_MIG)
        dv_output_string(row, "profile", a->wish->mig->profiles[w->profile].name);
    if (w->memory_bytes)
        dv_output_bytes(row, "memory_bytes", w->memory_bytes);
    else
        dv_output_null(row, "memory_bytes");
    dv_output_compute(row, "compute_permille", w->compute);
    dv_output_bool(row, "park", w->park);
    dv_output_uint(row, "samples", w->series.busy_times.n);
    add_rounded(row, "mean_busy_percent", w->mean_percent, 4);
    add_rounded(row, "p95_busy_percent", w->p95_percent, 2);
    add_rounded(row, "idle_sample_percent", w->idle_share * 100, 4);
    if (w->series.memory_times.n) {
        dv_output_bytes(row, "peak_memory_bytes", w->series.memory_peak);
        dv_output_bytes(row, "mean_memory_bytes", (uint64_t)w->memory_mean);
    } else {
        dv_output_null(row, "peak_memory_bytes");
        dv_output_null(row, "mean_memory_bytes");
    }
    dv_output_seconds(row, "covered_seconds", w->covered_ns);
    dv_output_seconds(row, "longest_idle_seconds", (uint64_t)w->series.longest_idle_ns);
    dv_output_uint(row, "gaps", w->spacing.gaps);
    add_money(row, "waste_cost_micros", &a->money, w->wasted_ns / NS_PER_HOUR);
    if (a->work->plan->gpu_of[i] == DV_AUDIT_NONE)
        dv_output_null(row, "plan_gpu");
    else
        dv_output_uint(row, "plan_gpu", a->work->plan->gpu_of[i]);
    dv_output_string(row, "why", dv_audit_text_name(w->why));
    dv_audit_text_why(w, a->wish, &reason);
    dv_output_string(row, "reason", dv_str_get(&reason));
}

static int by_waste(const void *a, const void *b)
{
    const struct order *x = a, *y = b;
    if (x->idle != y->idle)
        return x->idle > y->idle ? -1 : 1;
    return (x->workload > y->workload) - (x->workload < y->workload);
}

/* Those that waste most come first. */
static void add_recommendations(struct dv_output *o, const struct dv_audit_answer *a, uint32_t max)
{
    struct dv_output_node *root = dv_output_root(o);
    uint32_t count = dv_audit_count(a->feed->audit), n = 0;
    struct listing *listing = dv_output_alloc(o, sizeof *listing + count * sizeof *listing->order);
    if (!listing)
        return;
    listing->answer = a;
    for (uint32_t i = 0; i < count; i++) {
        const struct dv_audit_workload *w = dv_audit_at(a->feed->audit, i);
        if (w->series.busy_times.n)
            listing->order[n++] = (struct order){w->wasted_ns, i};
    }
    qsort(listing->order, n, sizeof *listing->order, by_waste);
    if (max == DV_AUDIT_ANSWER_ALL) {
        dv_output_rows(root, "recommendations", add_recommendation, listing, n);
        return;
    }
    struct dv_output_node *list = dv_output_array(root, "recommendations");
    for (uint32_t i = 0; i < n && i < max; i++)
        add_recommendation(list, i, listing);
}

/* A Prometheus that does not keep to the step: longer times hide short loads. */
static void note_step(struct dv_output_node *notes, uint64_t asked_ns, uint64_t got_ns)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    char asked[DV_UNITS_TEXT], got[DV_UNITS_TEXT];
    if (!asked_ns || got_ns < asked_ns + asked_ns / 2)
        return;
    dv_str_addf(&text,
                "asked for a sample every %s, and got one every %s: what is shorter is not seen",
                dv_units_format_duration(asked_ns, asked), dv_units_format_duration(got_ns, got));
    dv_output_string(notes, NULL, dv_str_get(&text));
}

static void add_notes(struct dv_output_node *root, const struct dv_audit_answer *a)
{
    struct dv_output_node *notes = dv_output_array(root, "notes");
    const struct dv_audit_fleet *f = dv_audit_fleet(a->feed->audit);
    uint32_t larger = 0;
    for (uint32_t i = 0; i < dv_audit_count(a->feed->audit); i++)
        larger += dv_audit_at(a->feed->audit, i)->series.memory_peak > a->wish->gpu_memory_bytes;
    if (a->feed->interrupted)
        dv_output_string(notes, NULL, "interrupted: the figures are of what was read until then");
    if (a->feed->spool_err.msg[0]) {
        dv_cleanup(dv_str_done) struct dv_str why = {0};
        dv_str_addf(&why, "no replay, since the samples could not be kept: %s",
                    a->feed->spool_err.msg);
        dv_output_string(notes, NULL, dv_str_get(&why));
    }
    if (dv_audit_is_mostly_lost(f))
        dv_output_string(notes, NULL,
                         a->money.withheld ? MOSTLY_LOST "; so nothing is said in money"
                                           : MOSTLY_LOST);
    note_step(notes, a->feed->asked_step_ns, f->step_ns);
    if (f->overfull)
        dv_output_string(
            notes, NULL,
            "some shared GPUs are busier than whole by what their workloads say, as where "
            "dcgm-exporter copies a GPU's utilization to each pod on it: they are taken as wholly "
            "busy, so that what is wasted is a lower bound");
    if (larger)
        dv_output_string(
            notes, NULL,
            "some workloads used more memory than a GPU has here: name the GPU by --gpu "
            "or --gpu-memory");
    if (f->samples && a->feed->busy_max <= 1 && a->feed->busy_max > 0)
        dv_output_string(notes, NULL,
                         "no utilization is above 1: if it is a ratio, say --scale ratio");
    /* A CUDA context alone takes some hundred MiB. */
    if (a->feed->memory_max > 0 && a->feed->memory_max < DV_MIB)
        dv_output_string(notes, NULL,
                         "nothing ever used a MiB of memory: if it is in MiB, as dcgm-exporter and "
                         "nvidia-smi say it, say --memory-unit MiB");
    if (f->conflicts > f->samples / 100)
        dv_output_string(
            notes, NULL,
            "many samples have another value at the same time: if workloads have several "
            "GPUs, name the column that tells them apart (gpu=...)");
    if (f->late > f->samples / 100)
        dv_output_string(notes, NULL,
                         "many samples came too late to be counted: sort each workload's rows by "
                         "time, oldest or newest first");
}

struct dv_output *dv_audit_answer_tree(const struct dv_audit_answer *a, uint32_t max)
{
    const struct dv_audit_fleet *f = dv_audit_fleet(a->feed->audit);
    struct dv_output *o = dv_output_new("Audit");
    struct dv_output_node *root = dv_output_root(o);
    dv_output_bool(root, "partial", a->feed->interrupted);
    dv_output_uint(root, "workloads", f->workloads);
    dv_output_uint(root, "samples", f->samples);
    add_rounded(root, "mean_busy_percent", f->mean_percent, 4);
    add_rounded(root, "idle_sample_percent",
                f->samples ? (double)f->idle_samples / (double)f->samples * 100 : 0, 4);
    add_when(root, "from", f->first_ns);
    add_when(root, "to", f->last_ns);
    dv_output_seconds(root, "step_seconds", f->step_ns);
    dv_output_string(root, "currency", a->money.per_hour_micros < 0 ? NULL : a->money.currency);
    dv_output_bool(root, "worth_acting", dv_audit_answer_worth(a));
    add_fleet(root, a);
    add_waste(root, a);
    add_plan(root, a);
    add_quality(root, a);
    add_notes(root, a);
    add_recommendations(o, a, max);
    return o;
}
