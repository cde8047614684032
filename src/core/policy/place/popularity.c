/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/place/popularity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct dv_popularity *dv_popularity_new(const struct dv_cluster *cluster)
{
    struct dv_popularity *p = calloc(1, sizeof *p);
    if (p)
        p->cluster = cluster;
    return p;
}

void dv_popularity_free(struct dv_popularity *popularity)
{
    if (!popularity)
        return;
    free(popularity->kinds);
    dv_pod_kinds_done(&popularity->pods);
    free(popularity);
}

void dv_popularity_freep(struct dv_popularity **popularity)
{
    dv_popularity_free(*popularity);
}

static int grow(struct dv_popularity *p)
{
    uint32_t capacity = p->capacity ? p->capacity * 2 : 64;
    struct dv_popularity_kind *kinds = realloc(p->kinds, capacity * sizeof *kinds);
    if (!kinds)
        return -ENOMEM;
    p->kinds = kinds;
    p->capacity = capacity;
    return 0;
}

static int add_kind(struct dv_popularity *p, const struct dv_cluster_pod *pod, uint32_t *ret)
{
    if (p->n == DV_POPULARITY_KINDS_MAX)
        return -E2BIG;
    if (p->n == p->capacity && grow(p) < 0)
        return -ENOMEM;
    int r = dv_pod_kinds_add(&p->pods, pod);
    if (r < 0)
        return r;
    p->kinds[p->n] = (struct dv_popularity_kind){.pod = *pod};
    *ret = p->n++;
    return 0;
}

int dv_popularity_add(struct dv_popularity *popularity, const struct dv_cluster_pod *pod,
                      uint64_t weight)
{
    struct dv_popularity *p = popularity;
    struct dv_cluster_pod kind = *pod;
    kind.memory_mib = 0;
    kind.wish = 0;
    uint32_t i = dv_pod_kinds_find(&p->pods, &kind);
    int r = i == DV_POD_KINDS_NONE ? add_kind(p, &kind, &i) : 0;
    if (r < 0)
        return r;
    p->kinds[i].count += weight;
    p->kinds[i].memory_mib += weight * pod->memory_mib;
    p->total += weight;
    p->version++;
    return 0;
}

void dv_popularity_halve(struct dv_popularity *popularity)
{
    popularity->total = 0;
    for (uint32_t i = 0; i < popularity->n; i++) {
        struct dv_popularity_kind *k = &popularity->kinds[i];
        uint64_t half = DV_MAX(k->count / 2, DV_MIN(k->count, 1));
        if (half != k->count)
            k->memory_mib /= 2;
        k->count = half;
        popularity->total += half;
    }
    popularity->version++;
}

/* More first; the order of the published experiment, so that the same kinds are cut off. */
static int compare(const void *a, const void *b, void *popularity)
{
    const struct dv_popularity *p = popularity;
    const struct dv_popularity_kind *x = &p->kinds[*(const uint32_t *)a];
    const struct dv_popularity_kind *y = &p->kinds[*(const uint32_t *)b];
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    if (x->pod.cpu_milli != y->pod.cpu_milli)
        return x->pod.cpu_milli < y->pod.cpu_milli ? 1 : -1;
    if (x->pod.gpu_milli != y->pod.gpu_milli)
        return x->pod.gpu_milli < y->pod.gpu_milli ? 1 : -1;
    if (x->pod.gpus != y->pod.gpus)
        return x->pod.gpus < y->pod.gpus ? 1 : -1;
    return strcmp(dv_cluster_spec_text(p->cluster, y->pod.spec),
                  dv_cluster_spec_text(p->cluster, x->pod.spec));
}

int64_t dv_popularity_head(const struct dv_popularity *popularity, uint32_t permille,
                           uint32_t **ret)
{
    uint32_t *v = malloc(DV_MAX(popularity->n, 1) * sizeof *v);
    if (!v)
        return -ENOMEM;
    for (uint32_t i = 0; i < popularity->n; i++)
        v[i] = i;
    qsort_r(v, popularity->n, sizeof *v, compare, (void *)(uintptr_t)popularity);
    uint64_t sum = 0;
    uint32_t n = 0;
    while (n < popularity->n && popularity->kinds[v[n]].count &&
           sum * 1000 < popularity->total * permille)
        sum += popularity->kinds[v[n++]].count;
    *ret = v;
    return n;
}
