/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragmentation: how much of a node's free GPU milli the typical pods could not use (Weng et al.,
 * Beware of Fragmentation, USENIX ATC 2023).
 *
 * Of a node with CPU left c and GPU milli left g_1..g_k, G their sum, and of a typical pod m:
 *
 *     F(m) = G                      m needs no GPU; or its models are not here; or c < its CPU, or
 *                                   fewer GPUs than it needs have that much free
 *          = sum of g_i < its milli else: what it could not use of each GPU
 *
 * and F = sum over m of p(m) F(m), p its share of the typical pods: the most frequent kinds that
 * make up 95 % of all. Memory is not part of it.
 *
 * Shares are counts over dv_frag_weight(); a node's F is given times that weight, as an integer, so
 * that a sum over nodes is exact whatever its order.
 */
#ifndef DV_POLICY_PLACE_FRAG_H
#define DV_POLICY_PLACE_FRAG_H

#include "policy/place/popularity.h"

#define DV_FRAG_TYPICAL_PERMILLE 950u

enum dv_frag_class {
    DV_FRAG_Q1, /* lacks CPU and GPU */
    DV_FRAG_Q2, /* lacks GPU; and where it fits, what lies on GPUs that are too full for it */
    DV_FRAG_Q3, /* fits, and could use it: all that is no fragment */
    DV_FRAG_Q4, /* lacks CPU */
    DV_FRAG_XL, /* needs no GPU, and its CPU is there */
    DV_FRAG_XR, /* needs no GPU, and its CPU is not there */
    DV_FRAG_NO_ACCESS, /* another model */
    DV_FRAG_CLASSES,
};

struct dv_frag;

/* "q1", "q2", "q3", "q4", "xl", "xr", "no_access". */
const char *dv_frag_class_name(enum dv_frag_class class);

/* The typical pods of a popularity as it is now; nothing of it is kept. 0, -ENOMEM, -E2BIG (counts
 * above 2^40, or GPU models times typical CPU sizes times typical GPU sizes above 2^25). */
int dv_frag_new(const struct dv_popularity *popularity, uint32_t permille, struct dv_frag **ret);
void dv_frag_free(struct dv_frag *frag);
void dv_frag_freep(struct dv_frag **frag);
/* How many kinds are typical. */
uint32_t dv_frag_typical(const struct dv_frag *frag);
/* What F is multiplied by; at least 1. */
int64_t dv_frag_weight(const struct dv_frag *frag);
/* F of a node in this state, times the weight. */
int64_t dv_frag_of(const struct dv_frag *frag, const struct dv_cluster_state *state);
/* All that is free by class, times the weight: the classes but Q3 sum up to dv_frag_of(), all of
 * them to the node's free milli. */
void dv_frag_classes(const struct dv_frag *frag, const struct dv_cluster_state *state,
                     int64_t ret[DV_FRAG_CLASSES]);

/* F of a cluster, kept up to date node by node. */
struct dv_frag_sum {
    const struct dv_frag *frag;
    int64_t *nodes;
    __extension__ __int128 total;
};

int dv_frag_sum_init(struct dv_frag_sum *sum, const struct dv_frag *frag,
                     const struct dv_cluster *cluster); /* 0, -ENOMEM */
void dv_frag_sum_done(struct dv_frag_sum *sum);
/* This node is now in this state. */
void dv_frag_sum_update(struct dv_frag_sum *sum, uint32_t node,
                        const struct dv_cluster_state *state);
/* In milli. */
double dv_frag_sum_milli(const struct dv_frag_sum *sum);

#endif
