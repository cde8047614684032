/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policies that fragmentation gradient descent was published beside, as its simulator scores
 * them (sizes are normalised by its largest node: 128 cores, 8 GPUs). Best fit there is stretched
 * over the nodes from 0 to 100 afterwards, which changes no order and so is left out.
 */
#include "policy/place/internal.h"

#include <errno.h>
#include <stdlib.h>

#define CPU_LARGEST 128000.0
#define GPU_LARGEST 8000.0

static int64_t asked_milli(const struct dv_cluster_pod *pod)
{
    return (int64_t)pod->gpu_milli * pod->gpus;
}

static int64_t best_fit_score(void *state, const struct dv_place_ask *ask)
{
    double cpu = (double)ask->before->cpu_milli - ask->pod->cpu_milli;
    double gpu = (double)(ask->before->gpu_milli - asked_milli(ask->pod));
    return (int64_t)(100 * (1 - (0.5 * (cpu / CPU_LARGEST) + 0.5 * (gpu / GPU_LARGEST))));
}

const struct dv_place_policy dv_place_best_fit = {
    .name = "best-fit",
    .summary = "the node with least CPU and GPU left over",
    .gpu = DV_PLACE_GPU_TIGHTEST,
    .score = best_fit_score,
};

static int64_t dot_product_score(void *state, const struct dv_place_ask *ask)
{
    double cpu = ask->before->cpu_milli / CPU_LARGEST * (ask->pod->cpu_milli / CPU_LARGEST);
    double gpu =
        ask->before->gpu_milli / GPU_LARGEST * ((double)asked_milli(ask->pod) / GPU_LARGEST);
    return (int64_t)(100 * (1 - (cpu + gpu) / 2));
}

const struct dv_place_policy dv_place_dot_product = {
    .name = "dotprod",
    .summary = "the node whose free room points least in the pod's direction (dot product)",
    .gpu = DV_PLACE_GPU_TIGHTEST,
    .score = dot_product_score,
};

/* ---- GPU packing ---------------------------------------------------------------------------- */

/* Shared GPUs before whole ones, used nodes before idle ones. */
static int64_t packing_score(void *state, const struct dv_place_ask *ask)
{
    const struct dv_cluster_state *s = ask->before;
    uint8_t gpus[DV_CLUSTER_GPUS_MAX];
    if (!ask->pod->gpus || !dv_place_tightest(s, ask->pod->gpus, ask->pod->gpu_milli, gpus))
        return 0;
    int64_t idle = 0, opened = 0, left = 0;
    for (uint32_t i = 0; i < s->n_gpus; i++)
        idle += s->gpu[i] == DV_CLUSTER_MILLI;
    if (idle == s->n_gpus)
        return DV_MAX(33 - idle, idle);
    for (uint32_t i = 0; i < ask->pod->gpus; i++) {
        opened += s->gpu[gpus[i]] == DV_CLUSTER_MILLI;
        left += s->gpu[gpus[i]] * 100 / (int64_t)DV_CLUSTER_MILLI;
    }
    return opened ? DV_MAX(50 - opened, 33) : DV_MAX(100 - left / 10, 50);
}

const struct dv_place_policy dv_place_packing = {
    .name = "gpu-packing",
    .summary = "shared GPUs first, then idle GPUs of used nodes, then idle nodes",
    .gpu = DV_PLACE_GPU_TIGHTEST,
    .score = packing_score,
};

/* ---- GPU clustering ------------------------------------------------------------------------- */

/* What a pod counts as: 0 shares a GPU, n has n GPUs. */
#define TAGS (DV_CLUSTER_GPUS_MAX + 1)

static uint32_t tag_of(const struct dv_cluster_pod *pod)
{
    return pod->gpu_milli < DV_CLUSTER_MILLI ? 0 : pod->gpus;
}

static int clustering_init(const struct dv_place *place, void **ret_state, struct dv_err *err)
{
    uint32_t n = DV_MAX(dv_cluster_nodes(dv_place_cluster(place)), 1);
    *ret_state = calloc((size_t)n * TAGS, sizeof(uint32_t));
    return *ret_state ? 0 : dv_err_set(err, -ENOMEM, "out of memory");
}

static void clustering_done(void *state)
{
    free(state);
}

static void clustering_changed(void *state, uint32_t node, const struct dv_cluster_pod *pod,
                               const struct dv_cluster_taking *taking, bool taken)
{
    uint32_t *tags = (uint32_t *)state + (size_t)node * TAGS;
    if (pod->gpus)
        tags[tag_of(pod)] += taken ? 1 : UINT32_MAX;
}

/* Pods of one size together. */
static int64_t clustering_score(void *state, const struct dv_place_ask *ask)
{
    const uint32_t *tags = (const uint32_t *)state + (size_t)ask->node * TAGS;
    if (!ask->pod->gpus)
        return 0;
    int64_t score = 25 * (8000 - (int64_t)ask->before->gpu_milli) / 8000, kinds = 0;
    for (uint32_t i = 0; i < TAGS; i++)
        kinds += tags[i] != 0;
    if (!kinds)
        return score + 25;
    if (tags[tag_of(ask->pod)])
        return score + (kinds == 1 ? 75 : 50);
    return score;
}

const struct dv_place_policy dv_place_clustering = {
    .name = "gpu-clustering",
    .summary = "nodes that run pods of the same GPU size",
    .gpu = DV_PLACE_GPU_TIGHTEST,
    .init = clustering_init,
    .done = clustering_done,
    .score = clustering_score,
    .changed = clustering_changed,
};
