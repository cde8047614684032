/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/place/own_terms.h"

#include <math.h>

/* Chosen on the Alibaba 2023 traces, seeds 42 to 46; the result is flat around them (see the doc).
 * spread and reach are of the mean CPU per GPU, so that cores of another speed change nothing. */
const struct dv_own_weights dv_own_weights_default = {
    .stranded = 0.05,
    .gradient = 0.5,
    .reserve = 0.06,
    .open = 0.01,
    .spread = 0.32,
    .reach = 0.276,
};

static void fill_excess(double excess[DV_OWN_EXCESS_SIZE])
{
    for (int i = 0; i < DV_OWN_EXCESS_SIZE; i++) {
        double z = (double)i / DV_OWN_EXCESS_STEPS - DV_OWN_EXCESS_REACH;
        excess[i] = 0.5 * z * erfc(-z * M_SQRT1_2) + exp(-0.5 * z * z) / sqrt(2 * M_PI);
    }
}

int dv_own_world_read(struct dv_own_world *world, const struct dv_popularity *popularity,
                      const struct dv_cluster *cluster, const struct dv_program_solver *solver,
                      struct dv_err *err)
{
    *world = (struct dv_own_world){.weights = dv_own_weights_default};
    fill_excess(world->excess);
    int r = dv_own_demand_read(popularity, cluster, &world->demand);
    if (r == 0)
        r = dv_own_values_solve(popularity, solver, &world->values, err);
    return r;
}

void dv_own_rest_of(const struct dv_own_world *world, const struct dv_cluster_state *state,
                    struct dv_own_rest *ret)
{
    *ret = (struct dv_own_rest){.cpu_milli = state->cpu_milli, .memory_mib = state->memory_mib};
    for (uint32_t i = 0; i < state->n_gpus; i++) {
        uint16_t free = state->gpu[i];
        ret->worth += world->values.rest[free];
        ret->whole = (uint8_t)(ret->whole + (free == DV_CLUSTER_MILLI));
        ret->open =
            (uint8_t)(ret->open + (free != DV_CLUSTER_MILLI && world->values.rest[free] > 0));
    }
}

/* The mean of what a normal variable of this mean and deviation exceeds 0 by. */
static double excess(const struct dv_own_world *w, double mean, double deviation)
{
    double at = (mean / deviation + DV_OWN_EXCESS_REACH) * DV_OWN_EXCESS_STEPS;
    if (at <= 0)
        return 0;
    if (at >= DV_OWN_EXCESS_SIZE - 1)
        return mean;
    int i = (int)at;
    return deviation * (w->excess[i] + (at - i) * (w->excess[i + 1] - w->excess[i]));
}

uint32_t dv_own_hosts(const struct dv_own_shape *shape, const struct dv_own_rest *rest)
{
    uint64_t n = rest->whole / shape->gpus;
    while (n &&
           (n * shape->cpu_milli > rest->cpu_milli || n * shape->memory_mib > rest->memory_mib))
        n--;
    return (uint32_t)n;
}

/* For each number of GPUs the best that the node has room for: whoever has room for the pods with
 * more CPU has room for those with less. */
static double reserve(const struct dv_own_world *w, const struct dv_own_rest *rest)
{
    const struct dv_own_demand *d = &w->demand;
    double sum = 0;
    if (rest->whole < 2)
        return 0;
    for (uint32_t i = 0; i < d->n_shapes;) {
        uint32_t gpus = d->shapes[i].gpus;
        double best = 0;
        for (; i < d->n_shapes && d->shapes[i].gpus == gpus; i++)
            if (w->scarcity[i] > 0 && gpus <= rest->whole)
                best = DV_MAX(best, w->scarcity[i] * gpus * dv_own_hosts(&d->shapes[i], rest));
        sum += best;
    }
    return sum;
}

void dv_own_terms_of(const struct dv_own_world *w, const struct dv_own_rest *rest,
                     struct dv_own_terms *ret)
{
    const struct dv_own_demand *d = &w->demand;
    *ret = (struct dv_own_terms){.open = rest->open};
    if (!rest->worth || d->cpu_per_gpu <= 0)
        return;
    double gpus = (double)rest->worth / DV_OWN_UNIT;
    double cover = rest->cpu_milli / d->cpu_per_gpu;
    if (d->memory_per_gpu > 0)
        cover = DV_MIN(cover, rest->memory_mib / d->memory_per_gpu);
    ret->stranded = excess(w, gpus - cover, w->weights.spread * sqrt(gpus));
    ret->gradient = gpus * exp(-cover / (gpus * w->weights.reach));
    ret->reserve = reserve(w, rest);
}

double dv_own_terms_sum(const struct dv_own_world *w, const struct dv_own_terms *t)
{
    const struct dv_own_weights *k = &w->weights;
    return k->stranded * (t->stranded + k->gradient * t->gradient - k->reserve * t->reserve) +
           k->open * t->open;
}
