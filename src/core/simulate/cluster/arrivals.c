/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate/cluster/arrivals.h"

#include <errno.h>
#include <stdlib.h>

struct list {
    uint32_t *v, n, capacity;
    uint64_t milli;
};

void dv_arrivals_shuffle(struct dv_rng *rng, uint32_t *v, uint32_t n)
{
    for (uint32_t i = n; i > 1; i--) {
        uint32_t k = (uint32_t)dv_rng_below(rng, i);
        uint32_t moved = v[i - 1];
        v[i - 1] = v[k];
        v[k] = moved;
    }
}

static uint64_t asked(const struct dv_cluster_pod *pod)
{
    return (uint64_t)pod->gpus * pod->gpu_milli;
}

static int append(struct list *l, uint32_t pod)
{
    if (l->n == DV_ARRIVALS_MAX)
        return -E2BIG;
    if (l->n == l->capacity) {
        uint32_t capacity = l->capacity * 2;
        uint32_t *v = realloc(l->v, capacity * sizeof *v);
        if (!v)
            return -ENOMEM;
        l->v = v;
        l->capacity = capacity;
    }
    l->v[l->n++] = pod;
    return 0;
}

static int stretch(struct list *l, const struct dv_cluster_pod *pods, uint32_t n, uint64_t milli,
                   struct dv_rng *rng)
{
    for (;;) {
        uint32_t pod = (uint32_t)dv_rng_below(rng, n);
        if (l->milli + pods[pod].gpu_milli > milli)
            return 0;
        int r = append(l, pod);
        if (r < 0)
            return r;
        l->milli += asked(&pods[pod]);
    }
}

/* The n-th of those that are left, taken out. left[i] counts those in (i - its lowest bit, i], i
 * from 1 (a Fenwick tree); size is a power of two, the tree's. */
static uint32_t take_nth(uint32_t *left, uint32_t size, uint32_t n)
{
    uint32_t at = 0;
    for (uint32_t step = size; step; step /= 2) {
        if (at + step <= size && left[at + step] <= n) {
            at += step;
            n -= left[at];
        } else if (at + step <= size) {
            left[at + step]--;
        }
    }
    return at;
}

/* Pods drawn by chance go; the others keep their order. */
static int cut(struct list *l, const struct dv_cluster_pod *pods, uint64_t milli,
               struct dv_rng *rng)
{
    uint32_t size = 1, n = l->n, kept = 0;
    while (size < n)
        size *= 2;
    uint32_t *left = calloc((size_t)size + 1, sizeof *left);
    if (!left)
        return -ENOMEM;
    for (uint32_t i = 1; i <= size; i++) {
        left[i] += i <= n;
        if (i + (i & -i) <= size)
            left[i + (i & -i)] += left[i];
    }
    for (; l->milli > milli && l->n; l->n--) {
        uint32_t at = take_nth(left, size, (uint32_t)dv_rng_below(rng, l->n));
        l->milli -= asked(&pods[l->v[at]]);
        l->v[at] = UINT32_MAX;
    }
    for (uint32_t i = 0; i < n; i++)
        if (l->v[i] != UINT32_MAX)
            l->v[kept++] = l->v[i];
    free(left);
    return 0;
}

int dv_arrivals_make(const struct dv_cluster_pod *pods, uint32_t n, uint64_t milli, uint64_t seed,
                     uint32_t **ret, uint32_t *ret_n)
{
    struct dv_rng rng = {seed};
    struct list l = {.capacity = DV_MAX(n, 16)};
    l.v = calloc(l.capacity, sizeof *l.v);
    if (!l.v)
        return -ENOMEM;
    for (uint32_t i = 0; i < n; i++) {
        l.v[l.n++] = i;
        l.milli += asked(&pods[i]);
    }
    dv_arrivals_shuffle(&rng, l.v, l.n);
    int r = 0;
    /* Pods that ask for no GPU never reach a target: nothing to stretch. */
    if (l.milli && l.milli < milli)
        r = stretch(&l, pods, n, milli, &rng);
    else if (milli)
        r = cut(&l, pods, milli, &rng);
    if (r < 0) {
        free(l.v);
        return r;
    }
    *ret = l.v;
    *ret_n = l.n;
    return 0;
}
