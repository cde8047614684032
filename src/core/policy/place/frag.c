/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's F depends on its CPU only by which of the typical pods' CPU sizes it covers, on its
 * GPUs only by how many of them cover each typical milli and by what lies on the others, and on its
 * model by who may run there. So the counts of typical pods are summed beforehand by model, covered
 * CPU sizes and GPU size, and F is one short sum.
 */
#include "policy/place/frag.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX DV_CLUSTER_MILLI
#define TABLE_MAX (UINT64_C(1) << 25) /* entries, of 8 bytes */
#define WEIGHT_MAX (UINT64_C(1) << 40)

struct size { /* a GPU size of typical pods */
    uint16_t milli;
    uint8_t gpus;
    uint16_t step; /* its milli's place among the steps */
};

struct dv_frag {
    uint32_t typical;
    int64_t weight;
    uint32_t n_sizes, n_steps, n_cpus, n_models;
    struct size *sizes;
    uint32_t *cpus;            /* typical CPU sizes, ascending */
    uint16_t steps[STEPS_MAX]; /* typical milli, ascending */
    /* milli free -> how many steps it covers */
    uint16_t covered[DV_CLUSTER_MILLI + 1];
    int64_t *without; /* by CPU sizes covered: pods without GPU that have their CPU */
    int64_t without_all;
    int64_t *fit; /* [model][CPU sizes covered][size]: pods that may run there and have their CPU */
};

const char *dv_frag_class_name(enum dv_frag_class class)
{
    static const char *const names[DV_FRAG_CLASSES] = {
        [DV_FRAG_Q1] = "q1",
        [DV_FRAG_Q2] = "q2",
        [DV_FRAG_Q3] = "q3",
        [DV_FRAG_Q4] = "q4",
        [DV_FRAG_XL] = "xl",
        [DV_FRAG_XR] = "xr",
        [DV_FRAG_NO_ACCESS] = "no_access",
    };
    return (size_t) class < DV_ARRAY_SIZE(names) ? names[class] : "";
}

/* ---- making --------------------------------------------------------------------------------- */

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Sorted, each once. Returns how many. */
static uint32_t unique(uint32_t *v, uint32_t n)
{
    uint32_t kept = 0;
    qsort(v, n, sizeof *v, compare_u32);
    for (uint32_t i = 0; i < n; i++)
        if (!kept || v[kept - 1] != v[i])
            v[kept++] = v[i];
    return kept;
}

static uint32_t size_of(const struct dv_frag *f, const struct dv_cluster_pod *pod)
{
    uint32_t i = 0;
    while (i < f->n_sizes && (f->sizes[i].milli != pod->gpu_milli || f->sizes[i].gpus != pod->gpus))
        i++;
    return i;
}

/* The distinct CPU sizes, milli and GPU sizes of the typical pods. */
static int find_sizes(struct dv_frag *f, const struct dv_popularity *p, const uint32_t *head)
{
    uint32_t n = f->typical, n_milli = 0;
    uint32_t *milli = malloc(DV_MAX(n, 1) * sizeof *milli);
    f->cpus = malloc(DV_MAX(n, 1) * sizeof *f->cpus);
    f->sizes = malloc(DV_MAX(n, 1) * sizeof *f->sizes);
    if (!milli || !f->cpus || !f->sizes) {
        free(milli);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct dv_cluster_pod *pod = &p->kinds[head[i]].pod;
        f->cpus[i] = pod->cpu_milli;
        if (!pod->gpus)
            continue;
        milli[n_milli++] = pod->gpu_milli;
        if (size_of(f, pod) == f->n_sizes)
            f->sizes[f->n_sizes++] = (struct size){.milli = pod->gpu_milli, .gpus = pod->gpus};
    }
    f->n_cpus = unique(f->cpus, n);
    f->n_steps = unique(milli, n_milli);
    for (uint32_t i = 0; i < f->n_steps; i++)
        f->steps[i] = (uint16_t)milli[i];
    free(milli);
    return 0;
}

static void find_steps(struct dv_frag *f)
{
    for (uint32_t v = 0, step = 0; v <= DV_CLUSTER_MILLI; v++) {
        while (step < f->n_steps && f->steps[step] <= v)
            step++;
        f->covered[v] = (uint16_t)step;
    }
    for (uint32_t i = 0; i < f->n_sizes; i++)
        f->sizes[i].step = (uint16_t)(f->covered[f->sizes[i].milli] - 1);
}

static uint32_t cpus_covered(const struct dv_frag *f, uint32_t cpu)
{
    uint32_t low = 0, high = f->n_cpus;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (f->cpus[middle] <= cpu)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const int64_t *row(const struct dv_frag *f, uint32_t model, uint32_t covered)
{
    return f->fit + ((size_t)model * (f->n_cpus + 1) + covered) * f->n_sizes;
}

/* Who has the CPU of one row has that of all rows above it. */
static void add_up(struct dv_frag *f)
{
    for (uint32_t c = 1; c <= f->n_cpus; c++)
        f->without[c] += f->without[c - 1];
    for (uint32_t m = 0; m < f->n_models; m++)
        for (size_t i = f->n_sizes; i < (size_t)(f->n_cpus + 1) * f->n_sizes; i++) {
            int64_t *fit = f->fit + (size_t)m * (f->n_cpus + 1) * f->n_sizes;
            fit[i] += fit[i - f->n_sizes];
        }
}

static int sum_up(struct dv_frag *f, const struct dv_popularity *p, const uint32_t *head)
{
    size_t rows = (size_t)f->n_models * (f->n_cpus + 1);
    if ((uint64_t)rows * f->n_sizes > TABLE_MAX)
        return -E2BIG;
    f->fit = calloc(DV_MAX(rows * f->n_sizes, 1), sizeof *f->fit);
    f->without = calloc(f->n_cpus + 1, sizeof *f->without);
    if (!f->fit || !f->without)
        return -ENOMEM;
    for (uint32_t i = 0; i < f->typical; i++) {
        const struct dv_popularity_kind *k = &p->kinds[head[i]];
        uint64_t mask = dv_cluster_spec_mask(p->cluster, k->pod.spec);
        uint32_t from = cpus_covered(f, k->pod.cpu_milli);
        if (!k->pod.gpus) {
            f->without_all += (int64_t)k->count;
            f->without[from] += (int64_t)k->count;
            continue;
        }
        uint32_t size = size_of(f, &k->pod);
        for (uint32_t m = 0; m < f->n_models; m++)
            if (mask >> m & 1)
                f->fit[((size_t)m * (f->n_cpus + 1) + from) * f->n_sizes + size] +=
                    (int64_t)k->count;
    }
    add_up(f);
    return 0;
}

static int make(struct dv_frag *f, const struct dv_popularity *p, uint32_t permille)
{
    uint32_t *head = NULL;
    int64_t n = dv_popularity_head(p, permille, &head);
    if (n < 0)
        return (int)n;
    f->typical = (uint32_t)n;
    f->n_models = dv_cluster_models(p->cluster);
    uint64_t weight = 0;
    for (uint32_t i = 0; i < f->typical; i++)
        weight += p->kinds[head[i]].count;
    f->weight = (int64_t)DV_MAX(weight, 1);
    int r = p->total > WEIGHT_MAX ? -E2BIG : find_sizes(f, p, head);
    if (!r) {
        find_steps(f);
        r = sum_up(f, p, head);
    }
    free(head);
    return r;
}

int dv_frag_new(const struct dv_popularity *popularity, uint32_t permille, struct dv_frag **ret)
{
    struct dv_frag *f = calloc(1, sizeof *f);
    if (!f)
        return -ENOMEM;
    int r = make(f, popularity, permille);
    if (r < 0) {
        dv_frag_free(f);
        return r;
    }
    *ret = f;
    return 0;
}

void dv_frag_free(struct dv_frag *frag)
{
    if (!frag)
        return;
    free(frag->fit);
    free(frag->without);
    free(frag->sizes);
    free(frag->cpus);
    free(frag);
}

void dv_frag_freep(struct dv_frag **frag)
{
    dv_frag_free(*frag);
}

uint32_t dv_frag_typical(const struct dv_frag *frag)
{
    return frag->typical;
}

int64_t dv_frag_weight(const struct dv_frag *frag)
{
    return frag->weight;
}

/* ---- measuring ------------------------------------------------------------------------------ */

/* Of each step: GPUs that have less free, and how much that is in all. */
struct cover {
    uint16_t few[STEPS_MAX + 1];
    uint16_t below[STEPS_MAX + 1];
};

static void look(const struct dv_frag *f, const struct dv_cluster_state *s, struct cover *ret)
{
    uint32_t n = f->n_steps;
    memset(ret->few, 0, (n + 1) * sizeof *ret->few);
    memset(ret->below, 0, (n + 1) * sizeof *ret->below);
    for (uint32_t i = 0; i < s->n_gpus; i++) {
        uint32_t step = f->covered[s->gpu[i]];
        ret->few[step]++;
        ret->below[step] = (uint16_t)(ret->below[step] + s->gpu[i]);
    }
    for (uint32_t k = 1; k < n; k++) {
        ret->few[k] = (uint16_t)(ret->few[k] + ret->few[k - 1]);
        ret->below[k] = (uint16_t)(ret->below[k] + ret->below[k - 1]);
    }
}

int64_t dv_frag_of(const struct dv_frag *frag, const struct dv_cluster_state *state)
{
    if (!state->gpu_milli || !frag->typical)
        return 0;
    struct cover c;
    look(frag, state, &c);
    const int64_t *fit = row(frag, state->model, cpus_covered(frag, state->cpu_milli));
    int64_t sum = frag->weight * state->gpu_milli;
    for (uint32_t i = 0; i < frag->n_sizes; i++) {
        const struct size *size = &frag->sizes[i];
        if (state->n_gpus >= c.few[size->step] + size->gpus)
            sum -= fit[i] * ((int64_t)state->gpu_milli - c.below[size->step]);
    }
    return sum;
}

void dv_frag_classes(const struct dv_frag *frag, const struct dv_cluster_state *state,
                     int64_t ret[DV_FRAG_CLASSES])
{
    memset(ret, 0, DV_FRAG_CLASSES * sizeof *ret);
    if (!state->gpu_milli || !frag->typical)
        return;
    struct cover c;
    look(frag, state, &c);
    uint32_t covered = cpus_covered(frag, state->cpu_milli);
    const int64_t *fit = row(frag, state->model, covered);
    const int64_t *access = row(frag, state->model, frag->n_cpus);
    int64_t all = state->gpu_milli, rest = frag->weight - frag->without_all;
    for (uint32_t i = 0; i < frag->n_sizes; i++) {
        const struct size *size = &frag->sizes[i];
        bool gpu = state->n_gpus >= c.few[size->step] + size->gpus;
        ret[gpu ? DV_FRAG_Q4 : DV_FRAG_Q1] += (access[i] - fit[i]) * all;
        ret[DV_FRAG_Q2] += fit[i] * (gpu ? c.below[size->step] : all);
        ret[DV_FRAG_Q3] += gpu ? fit[i] * (all - c.below[size->step]) : 0;
        rest -= access[i];
    }
    ret[DV_FRAG_XL] = frag->without[covered] * all;
    ret[DV_FRAG_XR] = (frag->without_all - frag->without[covered]) * all;
    ret[DV_FRAG_NO_ACCESS] = rest * all;
}

/* ---- of a cluster --------------------------------------------------------------------------- */

int dv_frag_sum_init(struct dv_frag_sum *sum, const struct dv_frag *frag,
                     const struct dv_cluster *cluster)
{
    uint32_t n = dv_cluster_nodes(cluster);
    *sum = (struct dv_frag_sum){.frag = frag};
    sum->nodes = calloc(DV_MAX(n, 1), sizeof *sum->nodes);
    if (!sum->nodes)
        return -ENOMEM;
    for (uint32_t i = 0; i < n; i++)
        dv_frag_sum_update(sum, i, dv_cluster_state(cluster, i));
    return 0;
}

void dv_frag_sum_done(struct dv_frag_sum *sum)
{
    free(sum->nodes);
    *sum = (struct dv_frag_sum){0};
}

void dv_frag_sum_update(struct dv_frag_sum *sum, uint32_t node,
                        const struct dv_cluster_state *state)
{
    int64_t now = dv_frag_of(sum->frag, state);
    sum->total += now - sum->nodes[node];
    sum->nodes[node] = now;
}

double dv_frag_sum_milli(const struct dv_frag_sum *sum)
{
    return (double)sum->total / (double)sum->frag->weight;
}
