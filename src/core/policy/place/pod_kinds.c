/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/place/pod_kinds.h"

#include <errno.h>
#include <stdlib.h>

void dv_pod_kinds_done(struct dv_pod_kinds *kinds)
{
    free(kinds->v);
    free(kinds->slots);
    *kinds = (struct dv_pod_kinds){.v = NULL};
}

static uint32_t hash(const struct dv_cluster_pod *pod)
{
    uint64_t h = ((uint64_t)pod->cpu_milli << 32 | pod->memory_mib) * UINT64_C(0x9E3779B97F4A7C15);
    h ^= (uint64_t)pod->gpus << 56 ^ (uint64_t)pod->gpu_milli << 40 ^ (uint64_t)pod->spec << 20 ^
         pod->wish;
    h *= UINT64_C(0xBF58476D1CE4E5B9);
    return (uint32_t)(h >> 32);
}

static bool is_same(const struct dv_cluster_pod *a, const struct dv_cluster_pod *b)
{
    return a->cpu_milli == b->cpu_milli && a->memory_mib == b->memory_mib && a->gpus == b->gpus &&
           a->gpu_milli == b->gpu_milli && a->spec == b->spec && a->wish == b->wish;
}

/* Where it is, or the free slot where it would be. */
static uint32_t seek(const struct dv_pod_kinds *k, const struct dv_cluster_pod *pod)
{
    uint32_t at = hash(pod) & (k->n_slots - 1);
    while (k->slots[at] && !is_same(&k->v[k->slots[at] - 1], pod))
        at = (at + 1) & (k->n_slots - 1);
    return at;
}

uint32_t dv_pod_kinds_find(const struct dv_pod_kinds *kinds, const struct dv_cluster_pod *pod)
{
    uint32_t at = kinds->n_slots ? kinds->slots[seek(kinds, pod)] : 0;
    return at ? at - 1 : DV_POD_KINDS_NONE;
}

static int grow(struct dv_pod_kinds *k)
{
    uint32_t capacity = k->capacity ? k->capacity * 2 : 64;
    struct dv_cluster_pod *v = realloc(k->v, capacity * sizeof *v);
    if (!v)
        return -ENOMEM;
    k->v = v;
    uint32_t *slots = calloc((size_t)capacity * 2, sizeof *slots);
    if (!slots)
        return -ENOMEM;
    free(k->slots);
    k->slots = slots;
    k->n_slots = capacity * 2;
    k->capacity = capacity;
    for (uint32_t i = 0; i < k->n; i++)
        slots[seek(k, &v[i])] = i + 1;
    return 0;
}

int dv_pod_kinds_add(struct dv_pod_kinds *kinds, const struct dv_cluster_pod *pod)
{
    if (kinds->n == kinds->capacity && grow(kinds) < 0)
        return -ENOMEM;
    kinds->v[kinds->n] = *pod;
    kinds->slots[seek(kinds, pod)] = kinds->n + 1;
    kinds->n++;
    return 0;
}
