/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Figures for graphs, asked of the worker every few seconds while somebody scrapes (metrics.h), and
 * whether what is known of a GPU may be shown at all: after a failed or unanswered question nothing
 * is, until one is answered. A stale figure would look like an idle GPU, or a healthy one.
 *
 * A driver that wedges over these questions is not asked them again for a while: decisions need the
 * worker more than graphs do.
 */
#ifndef DV_SERVICES_TELEMETRY_H
#define DV_SERVICES_TELEMETRY_H

#include "hardware/hardware.h"

struct dv_node;

#define DV_TELEMETRY_XIDS_MAX 32u /* different ones of a GPU; the rest is counted under 0 */

/* Of one GPU; a part of dv_node_gpu. */
struct dv_telemetry {
    struct dv_facts_telemetry *facts; /* the last; NULL: none yet, or it could not be had */
    bool asking;
    uint64_t sampled_ns; /* when the last sample came; 0: a question since then was not answered */
    bool failed;         /* the last question for telemetry was not */
    uint64_t asked_ns, got_ns; /* got_ns: when `facts` came */
    uint64_t took_ns;          /* from question to answer */
    uint64_t last_xid;         /* 0: none since the start */
    uint32_t n_xids;
    struct {
        uint64_t xid, count;
    } xids[DV_TELEMETRY_XIDS_MAX];
};

/* Of the node; a part of dv_node. */
struct dv_telemetry_state {
    bool always;        /* there is a listener for scrapers */
    uint64_t wanted_ns; /* the last scrape; 0: none */
    uint64_t rest_ns;   /* no questions before this */
    uint64_t rest_for;  /* how long the last rest was */
};

void dv_telemetry_tick(struct dv_node *node, uint64_t now);
/* Somebody has looked. */
void dv_telemetry_want(struct dv_node *node, uint64_t now);
void dv_telemetry_sampled(struct dv_node *node, uint32_t gpu, bool answered);
/* The driver answers nothing: what is known of all its GPUs is of before. */
void dv_telemetry_driver_failed(struct dv_node *node);
void dv_telemetry_xid(struct dv_node *node, uint32_t gpu, uint64_t xid);
void dv_telemetry_free(struct dv_node *node);

/* Does the driver answer for this GPU, so that its figures may be shown? */
bool dv_telemetry_answers(const struct dv_node *node, uint32_t gpu);
/* And every question of the last round too? */
bool dv_telemetry_complete(const struct dv_node *node, uint32_t gpu);
/* The last figures; NULL when there are none to show. A loan. */
const struct dv_facts_telemetry *dv_telemetry_facts(const struct dv_node *node, uint32_t gpu);

#endif
