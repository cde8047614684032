/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/place/own_demand.h"

#include <errno.h>
#include <stdlib.h>

#define PRIOR_PODS 30 /* with all GPUs of a node: see expect_big() */

/* Pods that ask for one number of GPUs, by CPU. */
struct level {
    uint32_t cpu_milli;
    uint64_t count, memory_mib; /* memory: summed */
};

static uint64_t milli_of(const struct dv_popularity_kind *k)
{
    return k->count * k->pod.gpus * k->pod.gpu_milli;
}

/* 2, 4 or 8; 0: one GPU or a part of one. */
static uint32_t group_of(const struct dv_cluster_pod *pod)
{
    return pod->gpus < 2 ? 0 : pod->gpus == 2 ? 2 : pod->gpus <= 4 ? 4 : 8;
}

static int by_cpu(const void *a, const void *b)
{
    uint32_t x = ((const struct level *)a)->cpu_milli;
    uint32_t y = ((const struct level *)b)->cpu_milli;
    return x < y ? -1 : x > y;
}

/* Levels of one CPU become one. */
static uint32_t merge_equal(struct level *levels, uint32_t n)
{
    uint32_t to = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (to && levels[to - 1].cpu_milli == levels[i].cpu_milli) {
            levels[to - 1].count += levels[i].count;
            levels[to - 1].memory_mib += levels[i].memory_mib;
        } else {
            levels[to++] = levels[i];
        }
    }
    return to;
}

/* To few levels: each time the one goes up into the next whose pods then claim least CPU that they
 * do not ask for. */
static uint32_t merge_near(struct level *levels, uint32_t n)
{
    for (; n > DV_OWN_LEVELS; n--) {
        uint32_t best = 0;
        double least = 0;
        for (uint32_t i = 0; i + 1 < n; i++) {
            double cost =
                (double)(levels[i + 1].cpu_milli - levels[i].cpu_milli) * (double)levels[i].count;
            if (i == 0 || cost < least) {
                best = i;
                least = cost;
            }
        }
        levels[best + 1].count += levels[best].count;
        levels[best + 1].memory_mib += levels[best].memory_mib;
        for (uint32_t i = best; i + 1 < n; i++)
            levels[i] = levels[i + 1];
    }
    return n;
}

static double share_above(const struct dv_popularity *p, uint32_t gpus, int64_t cpu_milli,
                          uint64_t total)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < p->n; i++)
        if (group_of(&p->kinds[i].pod) >= gpus && (int64_t)p->kinds[i].pod.cpu_milli > cpu_milli)
            sum += milli_of(&p->kinds[i]);
    return (double)sum / (double)total;
}

static void read_shapes(const struct dv_popularity *p, uint64_t total, struct level *levels,
                        struct dv_own_demand *ret)
{
    for (uint32_t gpus = 2; gpus <= 8; gpus *= 2) {
        uint32_t n = 0;
        for (uint32_t i = 0; i < p->n; i++)
            if (group_of(&p->kinds[i].pod) == gpus && p->kinds[i].count)
                levels[n++] = (struct level){p->kinds[i].pod.cpu_milli, p->kinds[i].count,
                                             p->kinds[i].memory_mib};
        qsort(levels, n, sizeof *levels, by_cpu);
        n = merge_near(levels, merge_equal(levels, n));
        int64_t below = -1;
        for (uint32_t i = 0; i < n; i++) {
            ret->shapes[ret->n_shapes++] = (struct dv_own_shape){
                gpus, levels[i].cpu_milli, (uint32_t)(levels[i].memory_mib / levels[i].count),
                share_above(p, gpus, below, total)};
            below = levels[i].cpu_milli;
        }
    }
}

static int by_share(const void *a, const void *b)
{
    const struct dv_own_class *x = a;
    const struct dv_own_class *y = b;
    if (x->share != y->share)
        return x->share > y->share ? -1 : 1;
    return x->models < y->models ? -1 : x->models > y->models;
}

static int read_classes(const struct dv_popularity *p, const struct dv_cluster *cluster,
                        uint64_t total, struct dv_own_demand *ret)
{
    struct dv_own_class *all = calloc((size_t)p->n + 1, sizeof *all);
    if (!all)
        return -ENOMEM;
    uint64_t *sums = calloc((size_t)p->n + 1, sizeof *sums);
    if (!sums) {
        free(all);
        return -ENOMEM;
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        const struct dv_cluster_pod *pod = &p->kinds[i].pod;
        if (!pod->gpus || !pod->spec)
            continue;
        uint64_t models = dv_cluster_spec_mask(cluster, pod->spec);
        uint32_t at = 0;
        while (at < n && all[at].models != models)
            at++;
        if (at == n)
            all[n++].models = models;
        sums[at] += milli_of(&p->kinds[i]);
    }
    for (uint32_t i = 0; i < n; i++)
        all[i].share = (double)sums[i] / (double)total;
    qsort(all, n, sizeof *all, by_share);
    ret->n_classes = DV_MIN(n, DV_OWN_CLASSES_MAX);
    for (uint32_t i = 0; i < ret->n_classes; i++)
        ret->classes[i] = all[i];
    free(sums);
    free(all);
    return 0;
}

/* The most GPUs that one node has. */
static uint32_t largest(const struct dv_cluster *cluster)
{
    uint32_t most = 0;
    for (uint32_t i = 0; cluster && i < dv_cluster_nodes(cluster); i++)
        most = DV_MAX(most, (uint32_t)dv_cluster_state(cluster, i)->n_gpus);
    return most;
}

/* Beyond every node is as good as beyond a number. */
static uint32_t whole(double v)
{
    return v < UINT32_MAX ? (uint32_t)v : UINT32_MAX;
}

/* Rare is not never: until somebody has asked for so many GPUs it is as if some pods had, for all
 * GPUs of the largest node, with the CPU and memory that usually come with them. */
static void expect_big(const struct dv_cluster *cluster, uint64_t total, struct dv_own_demand *ret)
{
    uint32_t most = largest(cluster);
    uint32_t group = most < 2 ? 0 : most == 2 ? 2 : most <= 4 ? 4 : 8;
    if (!group || (ret->n_shapes && ret->shapes[ret->n_shapes - 1].gpus >= group))
        return;
    uint64_t milli = (uint64_t)PRIOR_PODS * group * DV_CLUSTER_MILLI;
    double share = (double)milli / (double)(total + milli);
    for (uint32_t i = 0; i < ret->n_shapes; i++)
        ret->shapes[i].share = ret->shapes[i].share * (1 - share) + share;
    ret->shapes[ret->n_shapes++] = (struct dv_own_shape){group, whole(group * ret->cpu_per_gpu),
                                                         whole(group * ret->memory_per_gpu), share};
}

int dv_own_demand_read(const struct dv_popularity *p, const struct dv_cluster *cluster,
                       struct dv_own_demand *ret)
{
    *ret = (struct dv_own_demand){0};
    uint64_t total = 0, cpu = 0, memory = 0;
    for (uint32_t i = 0; p && i < p->n; i++)
        if (p->kinds[i].pod.gpus) {
            total += milli_of(&p->kinds[i]);
            cpu += p->kinds[i].count * p->kinds[i].pod.cpu_milli;
            memory += p->kinds[i].memory_mib;
        }
    if (!total)
        return 0;
    ret->cpu_per_gpu = (double)cpu * DV_CLUSTER_MILLI / (double)total;
    ret->memory_per_gpu = (double)memory * DV_CLUSTER_MILLI / (double)total;
    struct level *levels = calloc((size_t)p->n + 1, sizeof *levels);
    if (!levels)
        return -ENOMEM;
    read_shapes(p, total, levels, ret);
    free(levels);
    expect_big(cluster, total, ret);
    return read_classes(p, cluster, total, ret);
}
