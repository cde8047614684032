/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/audit_replay.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CELL_STEPS_MIN 32u
#define NEARLY_ONE 0.999

/* What is asked of one lane in one step. */
struct cell {
    float busy;    /* sum of percent */
    float free;    /* the chance that all are idle at an instant, less 1 (so that zero is nobody) */
    float odds;    /* sum of b / (1 - b) */
    float memory;  /* GiB */
    float tenants; /* busy ones */
};

/* What workloads wait for: a shared GPU, or a MIG instance. */
struct lane {
    double capacity; /* percent of a GPU */
    double memory;   /* bytes */
    double backlog;  /* percent x ns that wait */
};

struct dv_audit_replay {
    const struct dv_audit *audit;
    int64_t from_ns;
    uint64_t step_ns, steps; /* of all */
    uint64_t slab_at, slab_steps;
    bool begun;
    uint32_t *lane_of; /* by workload; DV_AUDIT_NONE: never waits */
    struct lane *lanes;
    uint32_t n_lanes;
    struct cell *cells; /* lanes x slab_steps */
    struct dv_audit_replayed sums;
    double busy_time, met_time, waited, wait_ns, samples;
};

/* ---- lanes ---------------------------------------------------------------------------------- */

static uint32_t add_lane(struct dv_audit_replay *r, double capacity, double memory)
{
    r->lanes[r->n_lanes] = (struct lane){.capacity = capacity, .memory = memory};
    return r->n_lanes++;
}

static void lay_lanes(struct dv_audit_replay *r, const struct dv_audit *planned,
                      const struct dv_audit_plan *plan, const struct dv_audit_wish *wish,
                      uint32_t *lane_of_gpu)
{
    for (uint32_t g = 0; g < plan->n_gpus; g++)
        lane_of_gpu[g] = DV_AUDIT_NONE;
    for (uint32_t i = 0; i < dv_audit_count(r->audit); i++) {
        uint32_t gpu = i < plan->n_workloads ? plan->gpu_of[i] : DV_AUDIT_NONE;
        r->lane_of[i] = DV_AUDIT_NONE;
        if (gpu == DV_AUDIT_NONE) {
            const struct dv_audit_workload *w = dv_audit_at(r->audit, i);
            r->sums.unplanned += w->series.busy_times.n > 0 && !dv_audit_is_nobody(w);
            continue;
        }
        const struct dv_audit_workload *w = dv_audit_at(planned, i);
        if (plan->gpus[gpu].how == DV_AUDIT_MIG) {
            const struct dv_mig_profile *p = &wish->mig->profiles[w->profile];
            r->lane_of[i] = add_lane(r, dv_mig_compute(wish->mig, p) * 100.0 / DV_COMPUTE_FULL,
                                     (double)p->memory_bytes);
        } else if (plan->gpus[gpu].how >= DV_AUDIT_MPS) {
            if (lane_of_gpu[gpu] == DV_AUDIT_NONE)
                lane_of_gpu[gpu] = add_lane(r, 100, (double)wish->gpu_memory_bytes);
            r->lane_of[i] = lane_of_gpu[gpu];
        }
    }
}

static void cut_time(struct dv_audit_replay *r, int64_t to_ns)
{
    uint64_t span = to_ns > r->from_ns ? (uint64_t)(to_ns - r->from_ns) : 1;
    uint64_t step = dv_audit_fleet(r->audit)->step_ns;
    uint64_t at_once = DV_MAX(DV_AUDIT_CELLS / DV_MAX(r->n_lanes, 1), CELL_STEPS_MIN);
    uint64_t least = span / (at_once * DV_AUDIT_SLABS_MAX) + 1;
    r->step_ns = DV_MAX(DV_MAX(step, least), 1);
    r->steps = span / r->step_ns + 1;
    r->slab_steps = DV_MIN(at_once, r->steps);
    r->sums.step_ns = r->step_ns;
}

int dv_audit_replay_new(const struct dv_audit *a, const struct dv_audit *planned,
                        const struct dv_audit_plan *plan, const struct dv_audit_wish *wish,
                        int64_t from_ns, int64_t to_ns, struct dv_audit_replay **ret)
{
    struct dv_audit_replay *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    size_t n = (size_t)dv_audit_count(a) + 1;
    uint32_t *lane_of_gpu = calloc((size_t)plan->n_gpus + 1, sizeof *lane_of_gpu);
    r->audit = a;
    r->from_ns = from_ns;
    r->lane_of = calloc(n, sizeof *r->lane_of);
    r->lanes = calloc(n, sizeof *r->lanes);
    if (lane_of_gpu && r->lane_of && r->lanes) {
        lay_lanes(r, planned, plan, wish, lane_of_gpu);
        cut_time(r, to_ns);
        r->cells = calloc(r->n_lanes * r->slab_steps + 1, sizeof *r->cells);
    }
    free(lane_of_gpu);
    if (!r->cells) {
        dv_audit_replay_free(r);
        return -ENOMEM;
    }
    *ret = r;
    return 0;
}

void dv_audit_replay_free(struct dv_audit_replay *r)
{
    if (!r)
        return;
    free(r->lane_of);
    free(r->lanes);
    free(r->cells);
    free(r);
}

/* ---- samples -------------------------------------------------------------------------------- */

/* The cell of a sample's step, by the workload's own beat: a sample that comes a little early or
 * late stays in its step. NULL: not in this slab. */
static struct cell *find(struct dv_audit_replay *r, uint32_t lane, const struct dv_audit_times *t,
                         int64_t unix_ns, uint64_t more)
{
    int64_t step = (int64_t)r->step_ns, half = step / 2;
    int64_t phase = (t->first_ns - r->from_ns) % step;
    if (phase < 0)
        phase += step;
    int64_t at = unix_ns - r->from_ns - phase + half;
    if (at < 0)
        return NULL;
    uint64_t i = (uint64_t)(at / step) + more;
    if (i < r->slab_at || i >= r->slab_at + r->slab_steps || i >= r->steps)
        return NULL;
    return &r->cells[(uint64_t)lane * r->slab_steps + (i - r->slab_at)];
}

/* A sample stands for its workload's step: for several steps of the replay, or a part of one. */
static uint64_t spread(const struct dv_audit_replay *r, const struct dv_audit_workload *w,
                       double *ret_weight)
{
    double ratio = (double)w->spacing.step_ns / (double)r->step_ns;
    *ret_weight = ratio > 0 && ratio < 0.95 ? ratio : 1;
    return ratio > 1.5 ? (uint64_t)llround(DV_MIN(ratio, 10000)) : 1;
}

void dv_audit_replay_busy(struct dv_audit_replay *r, uint32_t workload, int64_t unix_ns,
                          double percent)
{
    uint32_t lane = r->lane_of[workload];
    if (lane == DV_AUDIT_NONE || percent <= 0)
        return;
    const struct dv_audit_workload *w = dv_audit_at(r->audit, workload);
    double weight, b = DV_MIN(percent / r->lanes[lane].capacity, NEARLY_ONE);
    uint64_t n = spread(r, w, &weight);
    b *= weight;
    for (uint64_t i = 0; i < n; i++) {
        struct cell *c = find(r, lane, &w->series.busy_times, unix_ns, i);
        if (!c)
            continue;
        c->busy += (float)(percent * weight);
        c->free = (float)((c->free + 1) * (1 - b) - 1);
        c->odds += (float)(b / (1 - b));
        c->tenants += (float)weight;
    }
}

void dv_audit_replay_memory(struct dv_audit_replay *r, uint32_t workload, int64_t unix_ns,
                            double bytes)
{
    uint32_t lane = r->lane_of[workload];
    if (lane == DV_AUDIT_NONE)
        return;
    const struct dv_audit_workload *w = dv_audit_at(r->audit, workload);
    double weight;
    uint64_t n = spread(r, w, &weight);
    const struct dv_audit_times *t =
        w->series.busy_times.n ? &w->series.busy_times : &w->series.memory_times;
    for (uint64_t i = 0; i < n; i++) {
        struct cell *c = find(r, lane, t, unix_ns, i);
        if (c)
            c->memory += (float)(bytes * weight / (double)DV_GIB);
    }
}

/* ---- steps ---------------------------------------------------------------------------------- */

static void serve(struct dv_audit_replay *r, struct lane *lane, const struct cell *c)
{
    double step = (double)r->step_ns;
    double asked = c->busy * step + lane->backlog, given = lane->capacity * step;
    bool over = asked > given * 1.0001; /* sums of floats */
    lane->backlog = over ? asked - given : 0;
    if (c->tenants <= 0 && c->memory <= 0)
        return;
    r->sums.gpu_steps++;
    double excess = c->memory - lane->memory / (double)DV_GIB;
    if (excess > 0.001) {
        r->sums.memory_over_steps++;
        uint64_t bytes = (uint64_t)(excess * (double)DV_GIB);
        r->sums.memory_over_bytes = DV_MAX(r->sums.memory_over_bytes, bytes);
    }
    r->samples += c->tenants;
    r->busy_time += c->busy / lane->capacity;
    r->met_time += DV_MAX(c->busy / lane->capacity - (c->free + 1) * c->odds, 0);
    if (!over)
        return;
    double wait = lane->backlog / lane->capacity;
    r->waited += c->tenants;
    r->wait_ns += wait * c->tenants;
    r->sums.longest_wait_ns = DV_MAX(r->sums.longest_wait_ns, (uint64_t)wait);
}

static void end_slab(struct dv_audit_replay *r)
{
    uint64_t n = DV_MIN(r->slab_steps, r->steps - r->slab_at);
    for (uint32_t l = 0; l < r->n_lanes; l++)
        for (uint64_t i = 0; i < n; i++)
            serve(r, &r->lanes[l], &r->cells[(uint64_t)l * r->slab_steps + i]);
}

bool dv_audit_replay_slab(struct dv_audit_replay *r)
{
    if (r->begun) {
        end_slab(r);
        r->slab_at += r->slab_steps;
    }
    r->begun = true;
    if (r->slab_at >= r->steps || !r->n_lanes)
        return false;
    memset(r->cells, 0, r->n_lanes * r->slab_steps * sizeof *r->cells);
    return true;
}

void dv_audit_replay_done(const struct dv_audit_replay *r, struct dv_audit_replayed *ret)
{
    *ret = r->sums;
    ret->samples = (uint64_t)llround(r->samples);
    ret->waited = r->samples > 0 ? r->waited / r->samples : 0;
    ret->met_percent = r->busy_time > 0 ? r->met_time / r->busy_time * 100 : 0;
    ret->mean_wait_ns = r->waited > 0 ? (uint64_t)llround(r->wait_ns / r->waited) : 0;
}
