/* SPDX-License-Identifier: Apache-2.0 */
/* What a plain pod could take of a node, and what the policy gives for it. */
#include "policy/place/internal.h"

bool dv_place_lacks_plain(const struct dv_place *place, const struct dv_place_kind *k,
                          uint32_t node, enum dv_place_lack *ret)
{
    const struct dv_cluster_state *s = dv_cluster_state(place->cluster, node);
    const struct dv_cluster_pod *pod = &k->pod;
    if (pod->gpus && (!s->n_gpus || !(k->mask >> s->model & 1))) {
        *ret = DV_PLACE_LACK_MODEL;
        return true;
    }
    if (pod->cpu_milli <= s->cpu_milli && pod->memory_mib <= s->memory_mib &&
        pod->gpus <= s->n_gpus)
        return false;
    const struct dv_cluster_fixed *f = dv_cluster_fixed(place->cluster, node);
    if (pod->cpu_milli > f->cpu_milli || pod->memory_mib > f->memory_mib || pod->gpus > s->n_gpus)
        *ret = DV_PLACE_LACK_SIZE;
    else
        *ret = pod->cpu_milli > s->cpu_milli ? DV_PLACE_LACK_CPU : DV_PLACE_LACK_MEMORY;
    return true;
}

int64_t dv_place_ask(struct dv_place *place, uint32_t kind, uint32_t node,
                     const struct dv_cluster_pod *pod, const struct dv_cluster_taking *taking)
{
    if (!place->policy->score)
        return 0;
    struct dv_place_ask ask = {.place = place,
                               .node = node,
                               .before = dv_cluster_state(place->cluster, node),
                               .pod = pod,
                               .taking = taking,
                               .kind = kind};
    return place->policy->score(place->state, &ask);
}

bool dv_place_tightest(const struct dv_cluster_state *state, uint32_t n, uint16_t milli,
                       uint8_t *ret_gpus)
{
    uint32_t taken = 0;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t best = DV_CLUSTER_GPUS_MAX;
        for (uint32_t i = 0; i < state->n_gpus; i++)
            if (state->gpu[i] >= milli && !(taken >> i & 1) &&
                (best == DV_CLUSTER_GPUS_MAX || state->gpu[i] < state->gpu[best]))
                best = i;
        if (best == DV_CLUSTER_GPUS_MAX)
            return false;
        taken |= 1u << best;
        ret_gpus[k] = (uint8_t)best;
    }
    return true;
}

/* One GPU by the policy's rule; DV_CLUSTER_GPUS_MAX: none has room. */
static uint32_t pick(struct dv_place *place, const struct dv_cluster_state *s, uint16_t milli,
                     bool final)
{
    enum dv_place_gpu rule = place->policy->gpu;
    uint32_t best = DV_CLUSTER_GPUS_MAX, n = 0;
    for (uint32_t i = 0; i < s->n_gpus; i++) {
        if (s->gpu[i] < milli)
            continue;
        n++;
        if (best == DV_CLUSTER_GPUS_MAX ||
            (rule == DV_PLACE_GPU_TIGHTEST && s->gpu[i] < s->gpu[best]) ||
            (rule == DV_PLACE_GPU_LOOSEST && s->gpu[i] > s->gpu[best]) ||
            (rule == DV_PLACE_GPU_RANDOM && final && !dv_rng_below(&place->rng, n)))
            best = i;
    }
    return best;
}

/* Has a lower GPU as much free? Then it stands for this one. */
static bool is_twin(const struct dv_cluster_state *s, uint32_t gpu)
{
    for (uint32_t i = 0; i < gpu; i++)
        if (s->gpu[i] == s->gpu[gpu])
            return true;
    return false;
}

static int64_t best_of_gpus(struct dv_place *place, uint32_t kind, uint32_t node,
                            const struct dv_cluster_pod *pod, struct dv_cluster_taking *taking)
{
    const struct dv_cluster_state *s = dv_cluster_state(place->cluster, node);
    int64_t best = DV_PLACE_UNFIT + DV_PLACE_LACK_GPU_SHARE;
    uint8_t at = 0;
    for (uint32_t i = 0; i < s->n_gpus; i++) {
        if (s->gpu[i] < taking->milli || is_twin(s, i))
            continue;
        taking->gpus[0] = (uint8_t)i;
        int64_t value = dv_place_ask(place, kind, node, pod, taking);
        if (value > best) {
            best = value;
            at = (uint8_t)i;
        }
    }
    taking->gpus[0] = at;
    return best;
}

int64_t dv_place_fraction(struct dv_place *place, uint32_t kind, uint32_t node,
                          const struct dv_cluster_pod *pod, bool final,
                          struct dv_cluster_taking *taking)
{
    if (place->policy->gpu == DV_PLACE_GPU_BEST)
        return best_of_gpus(place, kind, node, pod, taking);
    uint32_t gpu = pick(place, dv_cluster_state(place->cluster, node), taking->milli, final);
    if (gpu == DV_CLUSTER_GPUS_MAX)
        return DV_PLACE_UNFIT + DV_PLACE_LACK_GPU_SHARE;
    taking->gpus[0] = (uint8_t)gpu;
    return dv_place_ask(place, kind, node, pod, taking);
}

int64_t dv_place_value(struct dv_place *place, uint32_t kind, uint32_t node, bool final,
                       struct dv_cluster_taking *ret)
{
    const struct dv_place_kind *k = &place->kinds[kind];
    enum dv_place_lack lack = DV_PLACE_LACKS;
    if (dv_place_lacks_plain(place, k, node, &lack))
        return DV_PLACE_UNFIT + (int64_t)lack;
    if (k->pod.wish)
        return dv_place_wish_value(place, kind, node, ret);
    const struct dv_cluster_pod *pod = &k->pod;
    struct dv_cluster_taking t = {.cpu_milli = pod->cpu_milli,
                                  .memory_mib = pod->memory_mib,
                                  .milli = pod->gpu_milli,
                                  .n = pod->gpus};
    int64_t value = 0;
    if (pod->gpus == 1 && pod->gpu_milli < DV_CLUSTER_MILLI)
        value = dv_place_fraction(place, kind, node, pod, final, &t);
    else if (dv_place_tightest(dv_cluster_state(place->cluster, node), pod->gpus, pod->gpu_milli,
                               t.gpus))
        value = dv_place_ask(place, kind, node, pod, &t);
    else
        value = DV_PLACE_UNFIT + (pod->gpu_milli == DV_CLUSTER_MILLI ? DV_PLACE_LACK_GPU_COUNT
                                                                     : DV_PLACE_LACK_GPU_SHARE);
    if (value >= DV_PLACE_SCORE_MIN)
        *ret = t;
    return value;
}
