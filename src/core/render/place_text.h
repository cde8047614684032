/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a pod went where it went, or nowhere: one line.
 *
 *     "node n7, GPU 3; it would have fitted on 12 of 40 nodes"
 *     "on none of 1,213 nodes: 900 lack CPU (asked 8 cores, at most 4 free), 313 have another
 * model"
 */
#ifndef DV_RENDER_PLACE_TEXT_H
#define DV_RENDER_PLACE_TEXT_H

#include "base/str.h"
#include "policy/place/place.h"

/* Appends. `most`: the operands (dv_place_most()), from before anything changed. No full stop, no
 * newline. */
void dv_place_text(const struct dv_cluster *cluster, const struct dv_cluster_pod *pod,
                   const struct dv_place_verdict *verdict, const struct dv_place_most *most,
                   struct dv_str *text);

/* Appends what a taking costs and of what (dv_place_terms()): "; it costs 0.0312 GPU there: 0.0210
 * left without CPU or memory, ...". Nothing where n is 0. */
void dv_place_terms_text(const struct dv_place_term *terms, size_t n, struct dv_str *text);

#endif
