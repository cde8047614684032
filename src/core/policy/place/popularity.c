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
    free(popularity->slots);
    free(popularity);
}

void dv_popularity_freep(struct dv_popularity **popularity)
{
    dv_popularity_free(*popularity);
}

static uint32_t hash(const struct dv_cluster_pod *pod)
{
    uint64_t h = pod->cpu_milli * UINT64_C(0x9E3779B97F4A7C15);
    h ^= (uint64_t)pod->gpus << 48 | (uint64_t)pod->gpu_milli << 24 | pod->spec;
    h *= UINT64_C(0xBF58476D1CE4E5B9);
    return (uint32_t)(h >> 32);
}

static bool same_kind(const struct dv_cluster_pod *a, const struct dv_cluster_pod *b)
{
    return a->cpu_milli == b->cpu_milli && a->gpus == b->gpus && a->gpu_milli == b->gpu_milli &&
           a->spec == b->spec;
}

static uint32_t slot_of(const struct dv_popularity *p, const struct dv_cluster_pod *pod)
{
    uint32_t at = hash(pod) & (p->n_slots - 1);
    while (p->slots[at] && !same_kind(&p->kinds[p->slots[at] - 1].pod, pod))
        at = (at + 1) & (p->n_slots - 1);
    return at;
}

static int grow(struct dv_popularity *p)
{
    if (p->n == DV_POPULARITY_KINDS_MAX)
        return -E2BIG;
    uint32_t capacity = p->capacity ? p->capacity * 2 : 64;
    struct dv_popularity_kind *kinds = realloc(p->kinds, capacity * sizeof *kinds);
    if (!kinds)
        return -ENOMEM;
    p->kinds = kinds;
    uint32_t *slots = calloc((size_t)capacity * 2, sizeof *slots);
    if (!slots)
        return -ENOMEM;
    free(p->slots);
    p->slots = slots;
    p->n_slots = capacity * 2;
    p->capacity = capacity;
    for (uint32_t i = 0; i < p->n; i++)
        slots[slot_of(p, &kinds[i].pod)] = i + 1;
    return 0;
}

int dv_popularity_add(struct dv_popularity *popularity, const struct dv_cluster_pod *pod,
                      uint64_t weight)
{
    struct dv_popularity *p = popularity;
    if (p->n == p->capacity) {
        int r = p->n && p->slots[slot_of(p, pod)] ? 0 : grow(p);
        if (r < 0)
            return r;
    }
    uint32_t *slot = &p->slots[slot_of(p, pod)];
    if (!*slot) {
        struct dv_cluster_pod kind = *pod;
        kind.memory_mib = 0;
        kind.wish = 0;
        p->kinds[p->n] = (struct dv_popularity_kind){.pod = kind};
        *slot = ++p->n;
    }
    p->kinds[*slot - 1].count += weight;
    p->kinds[*slot - 1].memory_mib += weight * pod->memory_mib;
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
