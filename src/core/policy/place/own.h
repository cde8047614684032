/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The placement policy "divvy", the default: a pod goes where it costs least of what will be needed
 * later (docs/explanation/placement.md).
 *
 *     cost = loss of the pattern on the GPU + change of what is bad about the node + price of the
 *            model
 *
 * Names and numbers of nodes take no part: of nodes with equal costs the fuller one is taken, and
 * if all is alike, the one that was changed longer ago.
 */
#ifndef DV_POLICY_PLACE_OWN_H
#define DV_POLICY_PLACE_OWN_H

#include "policy/place/own_terms.h"
#include "policy/place/place.h"

/* What dv_place_config.hint may point to, for this policy. */
struct dv_own_hint {
    struct dv_program_solver solver; /* for the size values; {0}: the small one in core */
};

/* Why a pod goes to a node: what its cost is made of, in 1/1,000,000 GPU; positive is bad. The sum
 * is `cost`, up to rounding. */
struct dv_own_reasons {
    int64_t cost;
    int64_t pattern;  /* of the GPU's rest that becomes useless for what comes */
    int64_t stranded; /* GPUs of the node left without CPU or memory */
    int64_t gradient; /* the same, by a little everywhere */
    int64_t reserve;  /* room for pods with many GPUs lost */
    int64_t open;     /* a GPU begun, or (negative) filled up */
    int64_t price;    /* of a model that others can only run on */
};

/* place runs this policy. Of a taking that fits on the node now. */
void dv_own_explain(const struct dv_place *place, uint32_t node, const struct dv_cluster_pod *pod,
                    const struct dv_cluster_taking *taking, struct dv_own_reasons *ret);

#endif
