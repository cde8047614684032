/* SPDX-License-Identifier: Apache-2.0 */
/* Policies that need no thought: the first node that fits, any node, the emptiest node. */
#include "policy/place/internal.h"

const struct dv_place_policy dv_place_first_fit = {
    .name = "first-fit",
    .summary = "the first node by name that has room, the lowest GPU",
    .gpu = DV_PLACE_GPU_LOWEST,
};

const struct dv_place_policy dv_place_random = {
    .name = "random",
    .summary = "any node that has room, all with the same chance",
    .gpu = DV_PLACE_GPU_RANDOM,
    .random = true,
};

/* Free share in 1/1,000,000 after the pod: of the GPUs first, of the CPU for pods without. */
static int64_t spread_score(void *state, const struct dv_place_ask *ask)
{
    const struct dv_cluster_state *s = ask->before;
    const struct dv_cluster_taking *t = ask->taking;
    uint32_t cpu = dv_cluster_fixed(dv_place_cluster(ask->place), ask->node)->cpu_milli;
    int64_t share = cpu ? (int64_t)(s->cpu_milli - t->cpu_milli) * 1000000 / cpu : 0;
    if (!t->n)
        return share;
    struct dv_cluster_state after;
    dv_cluster_after(s, t, &after);
    return (int64_t)after.gpu_milli * 1000000 / (s->n_gpus * (int64_t)DV_CLUSTER_MILLI) * 1000001 +
           share;
}

const struct dv_place_policy dv_place_spread = {
    .name = "spread",
    .summary = "the node, and the GPU, that stays emptiest",
    .gpu = DV_PLACE_GPU_LOOSEST,
    .score = spread_score,
};
