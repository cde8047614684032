/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The figures of one mode of `divvy bench modes`, exactly, over the requests of all tenants.
 *
 *     struct dv_bench_figures f = {.window_ns = ...};
 *     r = dv_bench_figures_add(&f, answer);        one `divvy-load infer --latencies` each
 *     dv_bench_figures_close(&f);
 *     ... f.served, dv_bench_figures_percentile(&f, 990) ...
 *     dv_bench_figures_done(&f);
 *
 * A request counts as served when it ends within the window; percentiles are of those, interpolated
 * linearly between the two nearest (what numpy does by default).
 */
#ifndef DV_UI_BENCH_FIGURES_H
#define DV_UI_BENCH_FIGURES_H

#include "render/output.h"

struct dv_bench_figures {
    uint64_t window_ns;
    uint64_t asked;
    uint64_t *served_ns; /* latencies; sorted by dv_bench_figures_close() */
    size_t served, cap;
};

/* 0; -EPROTO (not such an answer), -ENOMEM. */
int dv_bench_figures_add(struct dv_bench_figures *f, const struct dv_output_node *answer);
void dv_bench_figures_close(struct dv_bench_figures *f);
/* In nanoseconds; 0 when nothing was served. permille in 0..1000. */
uint64_t dv_bench_figures_percentile(const struct dv_bench_figures *f, unsigned permille);
void dv_bench_figures_done(struct dv_bench_figures *f);

#endif
