/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/figures.h"

#include <errno.h>
#include <stdlib.h>

/* The answer has milliseconds; dv_output_ns() takes any number for seconds. */
static uint64_t ms_as_ns(const struct dv_output_node *node)
{
    return dv_output_ns(node, 0) / 1000;
}

static int add(struct dv_bench_figures *f, uint64_t latency_ns)
{
    if (f->served == f->cap) {
        size_t cap = f->cap ? f->cap * 2 : 1024;
        uint64_t *bigger = reallocarray(f->served_ns, cap, sizeof *bigger);
        if (!bigger)
            return -ENOMEM;
        f->served_ns = bigger;
        f->cap = cap;
    }
    f->served_ns[f->served++] = latency_ns;
    return 0;
}

int dv_bench_figures_add(struct dv_bench_figures *f, const struct dv_output_node *answer)
{
    const struct dv_output_node *arrivals = dv_output_get(answer, "arrivals_ms");
    const struct dv_output_node *latencies = dv_output_get(answer, "latencies_ms");
    uint64_t offered = dv_output_count(dv_output_get(answer, "offered"), UINT64_MAX);
    if (!arrivals || !latencies || arrivals->type != DV_OUTPUT_ARRAY ||
        latencies->type != DV_OUTPUT_ARRAY || arrivals->children != latencies->children ||
        offered == UINT64_MAX)
        return -EPROTO;
    f->asked += offered;
    const struct dv_output_node *a = arrivals->first, *l = latencies->first;
    for (; a && l; a = a->next, l = l->next) {
        uint64_t latency = ms_as_ns(l);
        int r = ms_as_ns(a) + latency <= f->window_ns ? add(f, latency) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static int compare(const void *x, const void *y)
{
    const uint64_t *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

void dv_bench_figures_close(struct dv_bench_figures *f)
{
    if (f->served)
        qsort(f->served_ns, f->served, sizeof *f->served_ns, compare);
}

uint64_t dv_bench_figures_percentile(const struct dv_bench_figures *f, unsigned permille)
{
    if (!f->served)
        return 0;
    uint64_t thousandths = (f->served - 1) * (uint64_t)permille;
    size_t below = (size_t)(thousandths / 1000);
    uint64_t rest = thousandths % 1000;
    uint64_t low = f->served_ns[below];
    if (!rest)
        return low;
    return low + (f->served_ns[below + 1] - low) * rest / 1000;
}

void dv_bench_figures_done(struct dv_bench_figures *f)
{
    free(f->served_ns);
    f->served_ns = NULL;
    f->served = f->cap = 0;
}
