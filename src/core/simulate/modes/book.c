/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate/modes/book.h"

#define LOOK_EVERY 4096
#define COUNT_LOOK_EVERY 65536
#define COUNT_LATE_MAX (UINT64_C(1) << 25) /* arrivals, for who is waiting for the end */

const uint32_t dv_modes_curve_permille[DV_MODES_CURVE] = {
    0, 10, 50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 950, 980, 990, 999, 1000};

void dv_book_init(struct dv_book *b, const struct dv_arrivals_load *load,
                  const struct dv_modes_watch *watch)
{
    *b = (struct dv_book){.load = load, .watch = watch, .until_ns = load->duration_ns};
    for (uint32_t t = 0; t < load->tenants; t++)
        dv_latency_init(&b->tenants[t], DV_BOOK_EXACT_MAX / load->tenants);
}

void dv_book_done(struct dv_book *b)
{
    for (uint32_t t = 0; t < b->load->tenants; t++)
        dv_latency_done(&b->tenants[t]);
}

int dv_book_add(struct dv_book *b, uint32_t tenant, uint64_t at_ns, uint64_t end_ns)
{
    if (end_ns >= b->load->duration_ns)
        return 0;
    b->work_ns += (double)dv_arrivals_service(b->load, tenant);
    return dv_latency_add(&b->tenants[tenant], end_ns - at_ns);
}

bool dv_book_stops(struct dv_book *b, uint64_t now_ns)
{
    if (b->stopped || ++b->events % LOOK_EVERY || !b->watch)
        return b->stopped;
    b->stopped = !b->watch->look(b->watch->ctx, now_ns);
    if (b->stopped)
        b->until_ns = now_ns;
    return b->stopped;
}

static bool stops_now(struct dv_book *b)
{
    if (b->stopped || !b->watch || b->watch->look(b->watch->ctx, b->until_ns))
        return false;
    b->stopped = true;
    return true;
}

/* What came until the end: not every mode has looked at all of it. When the watch has had enough
 * there may have come more than is counted. */
static void count_offered(struct dv_book *b, struct dv_modes_result *ret)
{
    struct dv_arrivals a;
    uint64_t left = b->stopped ? COUNT_LATE_MAX : UINT64_MAX;
    dv_arrivals_start(&a, b->load);
    for (uint32_t t = 0; t < b->load->tenants; t++) {
        uint64_t *n = &ret->tenants[t].offered;
        for (uint64_t at; left && dv_arrivals_next(&a, t, &at) && at < b->until_ns; left--)
            if (++*n % COUNT_LOOK_EVERY == 0 && stops_now(b))
                left = 1;
        *n = DV_MAX(*n, b->tenants[t].n);
    }
}

static void figure(struct dv_latency *l, struct dv_modes_figures *f)
{
    f->served = l->n;
    f->p50_ns = dv_latency_percentile(l, 500);
    f->p99_ns = dv_latency_percentile(l, 990);
    f->max_ns = l->max_ns;
    f->exact = dv_latency_is_exact(l);
}

/* All tenants but one; `except` beyond the last: all. curve may be NULL. */
static int figure_all(const struct dv_book *b, uint32_t except,
                      const struct dv_modes_figures *tenants, struct dv_modes_figures *f,
                      uint64_t *curve)
{
    struct dv_latency sum;
    int r = 0;
    *f = (struct dv_modes_figures){0};
    dv_latency_init(&sum, DV_BOOK_EXACT_MAX);
    for (uint32_t t = 0; t < b->load->tenants && r == 0; t++) {
        if (t == except)
            continue;
        f->offered += tenants[t].offered;
        r = dv_latency_merge(&sum, &b->tenants[t]);
    }
    if (r == 0)
        figure(&sum, f);
    for (size_t i = 0; i < DV_MODES_CURVE && curve && r == 0; i++)
        curve[i] = dv_latency_percentile(&sum, dv_modes_curve_permille[i]);
    dv_latency_done(&sum);
    return r;
}

int dv_book_close(struct dv_book *b, struct dv_modes_result *ret)
{
    const struct dv_arrivals_load *load = b->load;
    count_offered(b, ret);
    ret->complete = !b->stopped;
    ret->until_ns = b->until_ns;
    for (uint32_t t = 0; t < load->tenants; t++)
        figure(&b->tenants[t], &ret->tenants[t]);
    int r = figure_all(b, UINT32_MAX, ret->tenants, &ret->all, ret->curve_ns);
    if (r == 0 && load->has_hostile)
        r = figure_all(b, load->hostile, ret->tenants, &ret->others, NULL);
    if (!load->has_hostile)
        ret->others = ret->all;
    double time = (double)b->until_ns * ret->cards;
    if (time > 0 && !ret->work_ppm)
        ret->work_ppm = (uint64_t)(b->work_ns / time * 1e6 + 0.5);
    return r;
}
