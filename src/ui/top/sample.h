/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two looks at the daemon make a sample: what was busy between them.
 *
 *     struct dv_top_look before = {0};
 *     ... status = GET /v1/status, slices = GET /v1/slices ...
 *     r = dv_top_sample(&before, unix_ms, status, slices, &sample);      the first has no rates
 *     ... wait; ask again ...
 *     r = dv_top_sample(&before, unix_ms, status, slices, &sample);
 *     dv_top_look_done(&before);
 *
 * Times are the daemon's own (its uptime). A slice's busy time counts on its device; a MIG device
 * counts in its GPU by its part of the compute.
 */
#ifndef DV_UI_TOP_SAMPLE_H
#define DV_UI_TOP_SAMPLE_H

#include "render/output.h"

struct dv_top_slice {
    char id[32];
    uint64_t busy_ns, wait_ns;
};

struct dv_top_look {
    bool taken;
    uint64_t uptime_ns;
    struct dv_top_slice *slices;
    size_t n;
};

/*
 * A tree of kind TopSample: `time_unix`, `interval_seconds` (null: no rates), `gpus[]`, `slices[]`,
 * busiest first. Rates are null where they are not known: at the first look, after the daemon has
 * started anew, for a slice that has just come. `look` becomes what was seen. -ENOMEM, -EPROTO (not
 * what a daemon answers).
 */
int dv_top_sample(struct dv_top_look *look, uint64_t unix_ms, const struct dv_output_node *status,
                  const struct dv_output_node *slices, struct dv_output **ret);
void dv_top_look_done(struct dv_top_look *look);

/* Jain's index of fairness of n values, in thousandths: 1000 when all are equal, 1000/n when one
 * has all. UINT32_MAX when there are fewer than two, or all are 0. */
uint32_t dv_top_fairness(const double *values, size_t n);

#endif
