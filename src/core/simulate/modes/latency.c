/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate/modes/latency.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SUB (UINT64_C(1) << DV_LATENCY_SUB_BITS)
#define PERMILLE 1000

void dv_latency_init(struct dv_latency *l, size_t exact_max)
{
    *l = (struct dv_latency){.exact_max = exact_max};
}

void dv_latency_done(struct dv_latency *l)
{
    if (!l)
        return;
    free(l->values);
    free(l->buckets);
    *l = (struct dv_latency){.exact_max = l->exact_max};
}

bool dv_latency_is_exact(const struct dv_latency *l)
{
    return !l->buckets;
}

/* ---- the histogram: below 2 * SUB one bucket a nanosecond, then SUB buckets for each doubling
 * ---- */

static size_t bucket_of(uint64_t ns)
{
    if (ns < 2 * SUB)
        return ns;
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - DV_LATENCY_SUB_BITS;
    return ((size_t)shift << DV_LATENCY_SUB_BITS) + (size_t)(ns >> shift);
}

/* The lowest value of the bucket, and how many values it has. */
static uint64_t bucket_low(size_t bucket, uint64_t *ret_width)
{
    unsigned shift = bucket < 2 * SUB ? 0 : (unsigned)(bucket >> DV_LATENCY_SUB_BITS) - 1;
    *ret_width = UINT64_C(1) << shift;
    return (bucket - ((uint64_t)shift << DV_LATENCY_SUB_BITS)) << shift;
}

static int make_buckets(struct dv_latency *l)
{
    l->buckets = calloc(DV_LATENCY_BUCKETS + SUB, sizeof *l->buckets);
    if (!l->buckets)
        return -ENOMEM;
    for (size_t i = 0; i < l->n; i++)
        l->buckets[bucket_of(l->values[i])]++;
    free(l->values);
    l->values = NULL;
    l->room = 0;
    return 0;
}

static int grow(struct dv_latency *l)
{
    size_t room = l->room ? DV_MIN(l->room * 2, l->exact_max) : DV_MIN(l->exact_max, 1024);
    uint64_t *values = realloc(l->values, room * sizeof *values);
    if (!values)
        return -ENOMEM;
    l->values = values;
    l->room = room;
    return 0;
}

int dv_latency_add(struct dv_latency *l, uint64_t ns)
{
    int r = 0;
    if (!l->buckets && l->n == l->room)
        r = l->n >= l->exact_max ? make_buckets(l) : grow(l);
    if (r < 0)
        return r;
    if (l->buckets)
        l->buckets[bucket_of(ns)]++;
    else
        l->values[l->n] = ns;
    l->n++;
    l->max_ns = DV_MAX(l->max_ns, ns);
    l->sorted = false;
    return 0;
}

int dv_latency_merge(struct dv_latency *l, const struct dv_latency *from)
{
    int r = 0;
    if (!from->buckets) {
        for (size_t i = 0; i < from->n && r == 0; i++)
            r = dv_latency_add(l, from->values[i]);
        return r;
    }
    if (!l->buckets)
        r = make_buckets(l);
    if (r < 0)
        return r;
    for (size_t b = 0; b < DV_LATENCY_BUCKETS + SUB; b++)
        l->buckets[b] += from->buckets[b];
    l->n += from->n;
    l->max_ns = DV_MAX(l->max_ns, from->max_ns);
    return 0;
}

/* ---- percentiles ---- */

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* What stands at this rank; in a bucket the values count as spread evenly. */
static uint64_t at_rank(const struct dv_latency *l, uint64_t rank)
{
    if (!l->buckets)
        return l->values[rank];
    uint64_t before = 0, width = 1;
    size_t b = 0;
    while (before + l->buckets[b] <= rank)
        before += l->buckets[b++];
    uint64_t low = bucket_low(b, &width);
    double part = ((double)(rank - before) + 0.5) / (double)l->buckets[b];
    return DV_MIN(low + (uint64_t)(part * (double)width), l->max_ns);
}

uint64_t dv_latency_percentile(struct dv_latency *l, uint32_t permille)
{
    if (!l->n)
        return 0;
    if (!l->buckets && !l->sorted)
        qsort(l->values, l->n, sizeof *l->values, by_value);
    l->sorted = true;
    uint64_t place = (l->n - 1) * DV_MIN(permille, PERMILLE);
    uint64_t rank = place / PERMILLE, part = place % PERMILLE;
    uint64_t low = at_rank(l, rank);
    if (!part)
        return low;
    uint64_t high = at_rank(l, rank + 1);
    return low + (uint64_t)((double)(high - low) * (double)part / PERMILLE + 0.5);
}
