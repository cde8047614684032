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
 *
 * Its terms (dv_place_terms()), in the order in which they come:
 *
 *     pattern   what of the GPU's rest becomes useless for what comes
 *     stranded  GPUs of the node that would be left without CPU or memory
 *     gradient  the same, by a little everywhere
 *     reserve   room for pods with many GPUs that is lost
 *     open      a GPU that is begun; negative: one that is filled up
 *     price     of a model that others can run on nothing but
 */
#ifndef DV_POLICY_PLACE_OWN_H
#define DV_POLICY_PLACE_OWN_H

#include "policy/place/own_terms.h"
#include "policy/place/place.h"

/* What dv_place_config.hint may point to, for this policy. */
struct dv_own_hint {
    struct dv_program_solver solver; /* for the size values; {0}: the small one in core */
};

#endif
