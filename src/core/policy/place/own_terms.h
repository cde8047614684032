/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the policy "divvy" sees in a node, as numbers that a placement makes better or worse
 * (docs/explanation/placement.md says why these). All are in GPUs.
 */
#ifndef DV_POLICY_PLACE_OWN_TERMS_H
#define DV_POLICY_PLACE_OWN_TERMS_H

#include "policy/place/own_demand.h"
#include "policy/place/own_values.h"

/* How much each term counts against the loss of a pattern, which counts 1. */
struct dv_own_weights {
    double stranded; /* K: of stranded, gradient and reserve */
    double gradient, reserve;
    double open;   /* e: of each GPU that is partly used and still useful */
    double spread; /* how unsure the CPU that comes with a GPU is, of its mean */
    double reach;  /* how fast the gradient falls, of the mean CPU of a GPU */
};
extern const struct dv_own_weights dv_own_weights_default;

/* Of z Phi(z) + phi(z), the mean of what a normal variable exceeds 0 by. */
#define DV_OWN_EXCESS_REACH 8
#define DV_OWN_EXCESS_STEPS 128 /* per unit */
#define DV_OWN_EXCESS_SIZE (2 * DV_OWN_EXCESS_REACH * DV_OWN_EXCESS_STEPS + 2)

struct dv_own_world {
    struct dv_own_weights weights;
    struct dv_own_values values;
    struct dv_own_demand demand;
    double excess[DV_OWN_EXCESS_SIZE];
    double scarcity[DV_OWN_SHAPES_MAX];   /* 0..1: how much a place for this shape is kept */
    double prices[DV_CLUSTER_MODELS_MAX]; /* of a GPU of each model, 0..: kept for its classes */
};

/* Values, demand and tables of a world; scarcity and prices are 0. Errors of
 * dv_own_values_solve(), dv_own_demand_read(). */
int dv_own_world_read(struct dv_own_world *world, const struct dv_popularity *popularity,
                      const struct dv_cluster *cluster, const struct dv_program_solver *solver,
                      struct dv_err *err);

/* A node, or what would be left of it. */
struct dv_own_rest {
    int64_t worth; /* sum of u over its GPUs, in 1/DV_OWN_UNIT */
    uint32_t cpu_milli, memory_mib;
    uint8_t whole; /* GPUs wholly free */
    uint8_t open;  /* GPUs partly used that something still fits into */
};

struct dv_own_terms {
    double stranded; /* GPUs that lack of CPU or memory is expected to leave idle */
    double gradient; /* a little of the same, everywhere */
    double reserve;  /* places for pods with many GPUs, weighted by how scarce they are */
    double open;     /* GPUs */
};

void dv_own_rest_of(const struct dv_own_world *world, const struct dv_cluster_state *state,
                    struct dv_own_rest *ret);
void dv_own_terms_of(const struct dv_own_world *world, const struct dv_own_rest *rest,
                     struct dv_own_terms *ret);
/* The weighted sum: what is bad about a node's rest; only differences mean something. */
double dv_own_terms_sum(const struct dv_own_world *world, const struct dv_own_terms *terms);

/* How many pods of this shape the rest has room for. */
uint32_t dv_own_hosts(const struct dv_own_shape *shape, const struct dv_own_rest *rest);

#endif
