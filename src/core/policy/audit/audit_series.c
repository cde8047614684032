/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/audit_series.h"

#include <math.h>

/* ---- times ---------------------------------------------------------------------------------- */

static uint32_t slot(const struct dv_audit_times *t, uint32_t i)
{
    return (t->head + i) % DV_AUDIT_RECENT;
}

static uint32_t octave(int64_t distance_ns)
{
    uint64_t ms = (uint64_t)distance_ns / DV_NS_PER_MS;
    uint32_t bin = ms ? 63u - (uint32_t)__builtin_clzll(ms) : 0;
    return DV_MIN(bin, DV_AUDIT_GAP_BINS - 1);
}

static void note_distance(struct dv_audit_times *t, int64_t distance_ns)
{
    uint32_t bin = octave(distance_ns);
    t->gaps[bin]++;
    t->gap_ns[bin] += (double)distance_ns;
}

static void forget_distance(struct dv_audit_times *t, int64_t distance_ns)
{
    uint32_t bin = octave(distance_ns);
    t->gaps[bin]--;
    t->gap_ns[bin] -= (double)distance_ns;
}

static void append(struct dv_audit_times *t, int64_t at, float value)
{
    if (t->n_recent)
        note_distance(t, at - t->recent[slot(t, t->n_recent - 1)]);
    uint32_t i = slot(t, t->n_recent);
    if (t->n_recent == DV_AUDIT_RECENT)
        t->head = slot(t, 1); /* the oldest makes room */
    else
        t->n_recent++;
    t->recent[i] = at;
    t->value[i] = value;
}

/* Before the remembered time number `at` (0: before all of them). */
static void insert(struct dv_audit_times *t, uint32_t at, int64_t key, float value)
{
    int64_t next = t->recent[slot(t, at)];
    if (at) {
        int64_t before = t->recent[slot(t, at - 1)];
        forget_distance(t, next - before);
        note_distance(t, key - before);
    }
    note_distance(t, next - key);
    if (t->n_recent == DV_AUDIT_RECENT) { /* the oldest makes room: at > 0 then */
        for (uint32_t i = 1; i < at; i++) {
            t->recent[slot(t, i - 1)] = t->recent[slot(t, i)];
            t->value[slot(t, i - 1)] = t->value[slot(t, i)];
        }
        at--;
    } else {
        for (uint32_t i = t->n_recent++; i > at; i--) {
            t->recent[slot(t, i)] = t->recent[slot(t, i - 1)];
            t->value[slot(t, i)] = t->value[slot(t, i - 1)];
        }
    }
    t->recent[slot(t, at)] = key;
    t->value[slot(t, at)] = value;
}

/* The first samples are all remembered, and most pairs of them came newest first. */
static bool turns(const struct dv_audit_times *t)
{
    return t->n == DV_AUDIT_RECENT && !t->backwards &&
           t->falling > DV_AUDIT_RECENT * (DV_AUDIT_RECENT - 1) / 4;
}

/* Those samples once more, as the start of a series that is read backwards. */
static void turn(struct dv_audit_times *t)
{
    const struct dv_audit_times old = *t;
    for (uint32_t i = 0; i < DV_AUDIT_RECENT; i++) {
        uint32_t from = slot(&old, DV_AUDIT_RECENT - 1 - i);
        t->recent[i] = -old.recent[from];
        t->value[i] = old.value[from];
    }
    t->head = 0;
    t->out_of_order = DV_AUDIT_RECENT - 1 - t->fell;
    t->backwards = true;
}

/* A sample is about to be number `at` of those that are remembered. */
static void note_trend(struct dv_audit_times *t, uint32_t at)
{
    if (!t->n || t->n >= DV_AUDIT_RECENT)
        return;
    t->fell += !at;
    t->falling += t->n_recent - at;
}

static enum dv_audit_add add_time(struct dv_audit_times *t, int64_t ns, float value)
{
    int64_t key = t->backwards ? -ns : ns;
    uint32_t at = t->n_recent;
    while (at && t->recent[slot(t, at - 1)] > key)
        at--;
    if (at && t->recent[slot(t, at - 1)] == key)
        return t->value[slot(t, at - 1)] == value ? DV_AUDIT_DUPLICATE : DV_AUDIT_CONFLICT;
    if (!at && t->n_recent == DV_AUDIT_RECENT)
        return DV_AUDIT_LATE;
    bool in_order = at == t->n_recent;
    note_trend(t, at);
    if (in_order)
        append(t, key, value);
    else
        insert(t, at, key, value);
    t->first_ns = t->n ? DV_MIN(t->first_ns, ns) : ns;
    t->last_ns = t->n ? DV_MAX(t->last_ns, ns) : ns;
    t->n++;
    t->out_of_order += !in_order;
    return in_order ? DV_AUDIT_ADDED : DV_AUDIT_ADDED_OUT_OF_ORDER;
}

/* The mean distance in the fullest bin, with the bins beside it where they hold the same distance
 * on the other side of an octave's edge. */
static double find_step(const struct dv_audit_times *t)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < DV_AUDIT_GAP_BINS; i++)
        if (t->gaps[i] > t->gaps[best])
            best = i;
    if (!t->gaps[best])
        return 0;
    double mean = t->gap_ns[best] / t->gaps[best], sum = 0, n = 0;
    for (uint32_t i = best ? best - 1 : 0; i <= best + 1 && i < DV_AUDIT_GAP_BINS; i++) {
        double here = t->gaps[i] ? t->gap_ns[i] / t->gaps[i] : 0;
        if (here > mean / 1.5 && here < mean * 1.5) {
            sum += t->gap_ns[i];
            n += t->gaps[i];
        }
    }
    return sum / n;
}

void dv_audit_series_spacing(const struct dv_audit_times *t, struct dv_audit_spacing *ret)
{
    *ret = (struct dv_audit_spacing){0};
    double step = find_step(t);
    if (step < 1)
        return;
    ret->step_ns = (uint64_t)llround(step);
    for (uint32_t i = 0; i < DV_AUDIT_GAP_BINS; i++) {
        double mean = t->gaps[i] ? t->gap_ns[i] / t->gaps[i] : 0;
        if (mean <= step * 1.5)
            continue;
        double fill = round(t->gap_ns[i] / step) - t->gaps[i];
        ret->gaps += t->gaps[i];
        ret->missing += fill > 0 ? (uint64_t)fill : 0;
        ret->longest_gap_ns = DV_MAX(ret->longest_gap_ns, (uint64_t)llround(mean));
    }
}

/* ---- values --------------------------------------------------------------------------------- */

static uint32_t bin_of(double percent)
{
    if (percent <= 0)
        return 0;
    double up = ceil(percent * 2 - 1e-9); /* 0.07 * 100 is a little above 7 */
    return up >= DV_AUDIT_BINS ? DV_AUDIT_BINS - 1 : (uint32_t)up;
}

/* Of samples in order: how long the longest run of idle ones was, each run from its first sample to
 * the next busy one. Backwards, the busy one comes first. */
static void note_idle(struct dv_audit_series *s, int64_t key, bool idle)
{
    bool backwards = s->busy_times.backwards;
    if (!s->idle_since_ns && idle)
        s->idle_since_ns = key;
    if (s->idle_since_ns && (idle || !backwards))
        s->longest_idle_ns = DV_MAX(s->longest_idle_ns, key - s->idle_since_ns);
    if (!idle)
        s->idle_since_ns = backwards ? key : 0;
}

static void turn_busy(struct dv_audit_series *s)
{
    turn(&s->busy_times);
    s->idle_since_ns = s->longest_idle_ns = 0;
    for (uint32_t i = 0; i < DV_AUDIT_RECENT; i++)
        note_idle(s, s->busy_times.recent[i], s->busy_times.value[i] <= 0);
}

enum dv_audit_add dv_audit_series_busy(struct dv_audit_series *s, int64_t unix_ns, double percent)
{
    struct dv_audit_times *t = &s->busy_times;
    if (turns(t))
        turn_busy(s);
    enum dv_audit_add added = add_time(t, unix_ns, (float)percent);
    if (added > DV_AUDIT_ADDED_OUT_OF_ORDER)
        return added;
    s->busy_sum += percent;
    s->busy_squares += percent * percent;
    s->busy_peak = DV_MAX(s->busy_peak, percent);
    s->idle += percent <= 0;
    s->bins[bin_of(percent)]++;
    if (added == DV_AUDIT_ADDED)
        note_idle(s, t->backwards ? -unix_ns : unix_ns, percent <= 0);
    return added;
}

enum dv_audit_add dv_audit_series_memory(struct dv_audit_series *s, int64_t unix_ns, double bytes)
{
    if (turns(&s->memory_times))
        turn(&s->memory_times);
    enum dv_audit_add added = add_time(&s->memory_times, unix_ns, (float)bytes);
    if (added > DV_AUDIT_ADDED_OUT_OF_ORDER)
        return added;
    s->memory_sum += bytes;
    if (bytes > (double)s->memory_peak)
        s->memory_peak = (uint64_t)bytes;
    return added;
}

double dv_audit_series_quantile(const struct dv_audit_series *s, double q)
{
    uint64_t rank = (uint64_t)ceil(q * (double)s->busy_times.n), seen = 0;
    for (uint32_t i = 0; i < DV_AUDIT_BINS; i++) {
        seen += s->bins[i];
        if (seen >= rank && seen)
            return (double)i / 2;
    }
    return 0;
}
