/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/place/own_bound.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FULL DV_CLUSTER_MILLI
#define GAIN 1e-7
#define ROUNDS_MAX 500

/* Pods that are alike, and the models they may run on. */
struct kind {
    struct dv_cluster_pod pod;
    uint64_t models; /* of those that the cluster has; all bits without GPUs */
    uint32_t count;
    uint32_t served; /* column: the share of them that is served, 0..1 */
};

/* Models that no pod tells apart are one. */
struct group {
    uint64_t models;
    double gpus;
    uint32_t supply; /* row */
};

struct master {
    struct dv_program program;
    struct kind *kinds;
    uint32_t n_kinds;
    struct group groups[DV_CLUSTER_MODELS_MAX];
    uint32_t n_groups;
    uint16_t sizes[FULL];
    uint32_t n_sizes;
    uint32_t *cover; /* rows: pieces of size s cut in group g, at [g * n_sizes + s] */
    double *worth;   /* their prices */
};

/* ---- kinds ---------------------------------------------------------------------------------- */

static uint64_t asked(const struct dv_cluster_pod *pod)
{
    return (uint64_t)pod->gpus * pod->gpu_milli;
}

static int by_value(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_kinds(const void *a, const void *b)
{
    const struct kind *x = a;
    const struct kind *y = b;
    int by = by_value(x->pod.gpu_milli, y->pod.gpu_milli);
    by = by ? by : by_value(x->pod.gpus, y->pod.gpus);
    by = by ? by : by_value(x->pod.cpu_milli, y->pod.cpu_milli);
    by = by ? by : by_value(x->pod.memory_mib, y->pod.memory_mib);
    return by ? by : by_value(x->models, y->models);
}

static int by_demand(const void *a, const void *b)
{
    const struct kind *x = a;
    const struct kind *y = b;
    int by = by_value(y->count * asked(&y->pod), x->count * asked(&x->pod));
    return by ? by : compare_kinds(a, b);
}

static int gather(struct master *m, const struct dv_cluster *cluster,
                  const struct dv_cluster_pod *pods, const uint32_t *arrivals, uint32_t n)
{
    m->kinds = calloc((size_t)n + 1, sizeof *m->kinds);
    if (!m->kinds)
        return -ENOMEM;
    for (uint32_t i = 0; i < n; i++) {
        const struct dv_cluster_pod *pod = &pods[arrivals[i]];
        m->kinds[i] = (struct kind){.pod = *pod, .models = UINT64_MAX, .count = 1};
        if (pod->gpus)
            m->kinds[i].models = dv_cluster_spec_mask(cluster, pod->spec);
    }
    qsort(m->kinds, n, sizeof *m->kinds, compare_kinds);
    for (uint32_t i = 0; i < n; i++) {
        if (m->n_kinds && !compare_kinds(&m->kinds[m->n_kinds - 1], &m->kinds[i]))
            m->kinds[m->n_kinds - 1].count++;
        else
            m->kinds[m->n_kinds++] = m->kinds[i];
    }
    qsort(m->kinds, m->n_kinds, sizeof *m->kinds, by_demand);
    return 0;
}

static void gather_sizes(struct master *m)
{
    bool there[FULL + 1] = {false};
    for (uint32_t i = 0; i < m->n_kinds; i++)
        if (m->kinds[i].pod.gpus)
            there[m->kinds[i].pod.gpu_milli] = true;
    for (uint32_t s = 1; s <= FULL; s++)
        if (there[s])
            m->sizes[m->n_sizes++] = (uint16_t)s;
}

/* Do all pods that may run on one of these models run on the other too? */
static bool told_apart(const struct master *m, uint32_t a, uint32_t b)
{
    for (uint32_t i = 0; i < m->n_kinds; i++)
        if ((m->kinds[i].models >> a & 1) != (m->kinds[i].models >> b & 1))
            return true;
    return false;
}

static void gather_groups(struct master *m, const struct dv_cluster *cluster)
{
    double gpus[DV_CLUSTER_MODELS_MAX] = {0};
    for (uint32_t i = 0; i < dv_cluster_nodes(cluster); i++) {
        const struct dv_cluster_state *s = dv_cluster_state(cluster, i);
        gpus[s->model] += s->n_gpus;
    }
    for (uint32_t a = 0; a < dv_cluster_models(cluster); a++) {
        uint32_t g = 0;
        while (g < m->n_groups && told_apart(m, a, (uint32_t)__builtin_ctzll(m->groups[g].models)))
            g++;
        if (g == m->n_groups)
            m->groups[m->n_groups++] = (struct group){0};
        m->groups[g].models |= UINT64_C(1) << a;
        m->groups[g].gpus += gpus[a];
    }
}

/* ---- the program ---------------------------------------------------------------------------- */

/* x never wants more of anything than y, and may run wherever y may. */
static bool wants_no_more(const struct kind *x, const struct kind *y)
{
    return x->pod.cpu_milli <= y->pod.cpu_milli && x->pod.memory_mib <= y->pod.memory_mib &&
           x->pod.gpus <= y->pod.gpus && x->pod.gpu_milli <= y->pod.gpu_milli &&
           (y->models & ~x->models) == 0;
}

/* For each pair that no third kind lies between: x is served at least as much as y. */
static void compare_pairs(struct master *m)
{
    uint32_t n = DV_MIN(m->n_kinds, DV_OWN_BOUND_COMPARED_MAX);
    for (uint32_t x = 0; x < n; x++)
        for (uint32_t y = 0; y < n; y++) {
            if (x == y || !wants_no_more(&m->kinds[x], &m->kinds[y]))
                continue;
            bool between = false;
            for (uint32_t z = 0; z < n && !between; z++)
                between = z != x && z != y && wants_no_more(&m->kinds[x], &m->kinds[z]) &&
                          wants_no_more(&m->kinds[z], &m->kinds[y]);
            if (between)
                continue;
            uint32_t row = dv_program_row(&m->program, 0, INFINITY);
            dv_program_entry(&m->program, row, m->kinds[x].served, 1);
            dv_program_entry(&m->program, row, m->kinds[y].served, -1);
        }
}

static uint32_t size_at(const struct master *m, uint16_t milli)
{
    uint32_t s = 0;
    while (m->sizes[s] != milli)
        s++;
    return s;
}

static void add_pattern(struct master *m, uint32_t group, const uint32_t *times)
{
    uint32_t column = dv_program_column(&m->program, 0, 0, INFINITY, false);
    dv_program_entry(&m->program, m->groups[group].supply, column, 1);
    for (uint32_t s = 0; s < m->n_sizes; s++)
        dv_program_entry(&m->program, m->cover[group * m->n_sizes + s], column, times[s]);
}

/* A kind's pods are served on the groups that they may run on. */
static void add_kind(struct master *m, struct kind *k, uint32_t cpu, uint32_t memory)
{
    struct dv_program *p = &m->program;
    double gpus = (double)k->count * (double)asked(&k->pod) / FULL;
    k->served = dv_program_column(p, gpus, 0, 1, false);
    dv_program_entry(p, cpu, k->served, (double)k->count * k->pod.cpu_milli / 1000);
    dv_program_entry(p, memory, k->served, (double)k->count * k->pod.memory_mib / 1024);
    if (!k->pod.gpus)
        return;
    uint32_t row = dv_program_row(p, 0, 0);
    dv_program_entry(p, row, k->served, -(double)k->count * k->pod.gpus);
    uint32_t s = size_at(m, k->pod.gpu_milli);
    for (uint32_t g = 0; g < m->n_groups; g++) {
        if (!(k->models & m->groups[g].models))
            continue;
        uint32_t on = dv_program_column(p, 0, 0, INFINITY, false);
        dv_program_entry(p, row, on, 1);
        dv_program_entry(p, m->cover[g * m->n_sizes + s], on, -1);
    }
}

static int build(struct master *m, const struct dv_cluster *cluster)
{
    struct dv_program *p = &m->program;
    struct dv_cluster_sum all = dv_cluster_total(cluster);
    size_t n = (size_t)m->n_groups * m->n_sizes;
    uint32_t *times = calloc((size_t)m->n_sizes + 1, sizeof *times);
    m->cover = calloc(n + 1, sizeof *m->cover);
    m->worth = calloc(n + 1, sizeof *m->worth);
    if (!m->cover || !m->worth || !times) {
        free(times);
        return -ENOMEM;
    }
    p->maximize = true;
    uint32_t cpu = dv_program_row(p, -INFINITY, (double)all.cpu_milli / 1000);
    uint32_t memory = dv_program_row(p, -INFINITY, (double)all.memory_mib / 1024);
    for (uint32_t g = 0; g < m->n_groups; g++)
        m->groups[g].supply = dv_program_row(p, -INFINITY, m->groups[g].gpus);
    for (size_t i = 0; i < n; i++)
        m->cover[i] = dv_program_row(p, 0, INFINITY);
    for (uint32_t i = 0; i < m->n_kinds; i++)
        add_kind(m, &m->kinds[i], cpu, memory);
    for (uint32_t g = 0; g < m->n_groups; g++)
        for (uint32_t s = 0; s < m->n_sizes; s++) {
            memset(times, 0, m->n_sizes * sizeof *times);
            times[s] = FULL / m->sizes[s];
            add_pattern(m, g, times);
        }
    free(times);
    return p->error;
}

/* ---- column generation ---------------------------------------------------------------------- */

/* The pattern of a group worth most at these prices. */
static double best_pattern(const struct master *m, const double *worth, uint32_t *ret)
{
    double best[FULL + 1] = {0};
    uint32_t pick[FULL + 1];
    pick[0] = UINT32_MAX;
    for (uint32_t r = 1; r <= FULL; r++) {
        best[r] = best[r - 1];
        pick[r] = UINT32_MAX;
        for (uint32_t s = 0; s < m->n_sizes && m->sizes[s] <= r; s++)
            if (best[r - m->sizes[s]] + worth[s] > best[r] + 1e-12) {
                best[r] = best[r - m->sizes[s]] + worth[s];
                pick[r] = s;
            }
    }
    memset(ret, 0, m->n_sizes * sizeof *ret);
    for (uint32_t r = FULL; r > 0;) {
        if (pick[r] == UINT32_MAX) {
            r--;
        } else {
            ret[pick[r]]++;
            r -= m->sizes[pick[r]];
        }
    }
    return best[FULL];
}

/* One solution, and patterns that would better it: 1 where there is none. */
static int improve(struct master *m, const struct dv_program_solver *solver,
                   const struct dv_program_limits *limits, uint32_t *times, double *ret_gpus,
                   struct dv_err *err)
{
    dv_cleanup(dv_program_result_done) struct dv_program_result result = {0};
    int r = solver->solve(solver->arg, &m->program, limits, &result, err);
    if (r != 0)
        return r;
    if (result.status == DV_PROGRAM_CANCELLED)
        return -ECANCELED;
    if (result.status != DV_PROGRAM_OPTIMAL || !result.duals)
        return dv_err_set(err, -EIO, "bounds: the solver says %s",
                          dv_program_status_name(result.status));
    *ret_gpus = result.objective;
    bool better = false;
    for (uint32_t g = 0; g < m->n_groups; g++) {
        double *worth = m->worth + (size_t)g * m->n_sizes;
        for (uint32_t s = 0; s < m->n_sizes; s++)
            worth[s] = -result.duals[m->cover[g * m->n_sizes + s]];
        if (best_pattern(m, worth, times) <= result.duals[m->groups[g].supply] + GAIN)
            continue;
        add_pattern(m, g, times);
        better = true;
    }
    return better ? m->program.error : 1;
}

static int optimum(struct master *m, const struct dv_program_solver *solver,
                   const struct dv_program_limits *limits, double *ret_gpus, struct dv_err *err)
{
    uint32_t *times = calloc((size_t)m->n_sizes + 1, sizeof *times);
    if (!times)
        return -ENOMEM;
    int r = 0;
    for (int round = 0; round < ROUNDS_MAX && r == 0; round++)
        r = improve(m, solver, limits, times, ret_gpus, err);
    free(times);
    /* Without the last patterns it would be no bound. */
    return r == 1   ? 0
           : r == 0 ? dv_err_set(err, -EIO, "bounds: no end in %d rounds", ROUNDS_MAX)
                    : r;
}

/* How many arrivals ask for so many milli. */
static uint32_t until(const struct dv_cluster_pod *pods, const uint32_t *arrivals, uint32_t n,
                      double milli)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += (double)asked(&pods[arrivals[i]]);
        if (sum > milli)
            return i;
    }
    return n;
}

static int find(struct master *m, const struct dv_cluster *cluster,
                const struct dv_program_solver *solver, const struct dv_program_limits *limits,
                double *ret_refusing, double *ret_gpus, struct dv_err *err)
{
    gather_sizes(m);
    gather_groups(m, cluster);
    int r = build(m, cluster);
    if (r == 0)
        r = optimum(m, solver, limits, ret_refusing, err);
    if (r != 0)
        return r;
    compare_pairs(m);
    return optimum(m, solver, limits, ret_gpus, err);
}

int dv_own_bound_find(const struct dv_cluster *cluster, const struct dv_cluster_pod *pods,
                      const uint32_t *arrivals, uint32_t n_arrivals, double asked_percent,
                      const struct dv_program_solver *solver,
                      const struct dv_program_limits *limits, struct dv_own_bound *ret,
                      struct dv_err *err)
{
    struct master m = {0};
    double gpus = (double)dv_cluster_total(cluster).gpus;
    double refusing = 0, without = 0;
    if (!solver || !solver->solve)
        return dv_err_set(err, -ENOSYS, "bounds: there is no solver");
    if (gpus <= 0)
        return dv_err_set(err, -EINVAL, "bounds: the cluster has no GPUs");
    uint32_t n = until(pods, arrivals, n_arrivals, asked_percent / 100 * gpus * FULL);
    int r = gather(&m, cluster, pods, arrivals, n);
    if (r == 0 && m.n_kinds)
        r = find(&m, cluster, solver, limits, &refusing, &without, err);
    if (r == 0)
        *ret = (struct dv_own_bound){100 * refusing / gpus, 100 * without / gpus, n};
    dv_program_done(&m.program);
    free(m.kinds);
    free(m.cover);
    free(m.worth);
    return r;
}
