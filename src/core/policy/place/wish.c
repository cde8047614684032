/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pod with wishes could take of a node: one way or several, each scored by the policy.
 *
 * Ways that waste less come first, whatever their score: a fraction, or an instance on a GPU that
 * is cut already, before an instance that cuts another GPU, and that before a whole GPU for a pod
 * that needs less; GPUs that lie together as preferred before such that do not.
 */
#include "policy/mig_plan.h"
#include "policy/place/internal.h"

struct ask {
    struct dv_place *place;
    uint32_t kind, node;
    const struct dv_cluster_state *state;
    const struct dv_cluster_fixed *fixed;
    const struct dv_cluster_wish *wish;
    struct dv_cluster_pod pod; /* the sizes here: what memory asks for is part of milli */
    int64_t best;              /* value so far, or UNFIT plus the lack */
    struct dv_cluster_taking taking;
};

static void lack(struct ask *a, enum dv_place_lack what)
{
    if (a->best < DV_PLACE_SCORE_MIN)
        a->best = DV_PLACE_UNFIT + (int64_t)what;
}

static struct dv_cluster_taking sizes(const struct ask *a)
{
    return (struct dv_cluster_taking){.cpu_milli = a->pod.cpu_milli,
                                      .memory_mib = a->pod.memory_mib,
                                      .milli = a->pod.gpu_milli,
                                      .n = a->pod.gpus};
}

/* A way with this score; the first of equals stays. */
static void offer(struct ask *a, const struct dv_cluster_taking *taking, int64_t score, int tier)
{
    int64_t value = score - tier * DV_PLACE_TIER;
    if (score < DV_PLACE_SCORE_MIN || value <= a->best)
        return;
    a->best = value;
    a->taking = *taking;
}

/* ---- GPUs that lie together ----------------------------------------------------------------- */

struct group {
    const struct dv_topology *topology;
    enum dv_cluster_near near;
    uint32_t n;       /* GPUs wanted */
    uint32_t fitting; /* GPUs with room, as bits */
    bool all;         /* only sets in which all pairs are near */
    uint8_t gpus[DV_CLUSTER_GPUS_MAX], best[DV_CLUSTER_GPUS_MAX];
    int64_t best_worth; /* -1: no set */
};

static bool is_near(const struct group *g, uint32_t a, uint32_t b)
{
    const struct dv_topology *t = g->topology;
    if (g->near == DV_CLUSTER_NEAR_NUMA)
        return t->numa[a] >= 0 && t->numa[a] == t->numa[b];
    return dv_topology_get(t, a, b).kind == DV_LINK_NVLINK;
}

/* Pairs that are near first, then the nearest links. */
static int64_t pair_worth(const struct group *g, uint32_t a, uint32_t b)
{
    struct dv_link link = dv_topology_get(g->topology, a, b);
    return (is_near(g, a, b) ? INT64_C(1) << 32 : 0) + (int64_t)link.kind * 1000 + link.nvlinks;
}

/* Every set of n of the GPUs from `from` on; of equal worth the first. At most 12,870 sets of 16.
 */
static void search(struct group *g, uint32_t chosen, uint32_t from, int64_t worth)
{
    if (chosen == g->n) {
        if (worth > g->best_worth) {
            g->best_worth = worth;
            for (uint32_t i = 0; i < g->n; i++)
                g->best[i] = g->gpus[i];
        }
        return;
    }
    for (uint32_t gpu = from; gpu < g->topology->n; gpu++) {
        int64_t more = 0;
        bool near = true;
        for (uint32_t i = 0; i < chosen; i++) {
            near = near && is_near(g, g->gpus[i], gpu);
            more += pair_worth(g, g->gpus[i], gpu);
        }
        if (!(g->fitting >> gpu & 1) || (g->all && !near))
            continue;
        g->gpus[chosen] = (uint8_t)gpu;
        search(g, chosen + 1, gpu + 1, worth + more);
    }
}

/* The best set for the wish. 0: all pairs are near; 1: as near as can be; 2: none. */
static int together(const struct ask *a, uint8_t ret[DV_CLUSTER_GPUS_MAX])
{
    struct group g = {.topology = a->fixed->topology,
                      .near = a->wish->near,
                      .n = a->pod.gpus,
                      .all = true,
                      .best_worth = -1};
    if (!g.topology)
        return 2;
    for (uint32_t i = 0; i < a->state->n_gpus; i++)
        g.fitting |= a->state->gpu[i] >= a->pod.gpu_milli ? 1u << i : 0;
    search(&g, 0, 0, 0);
    int r = g.best_worth < 0;
    if (r && !a->wish->near_required) {
        g.all = false;
        search(&g, 0, 0, 0);
    }
    for (uint32_t i = 0; i < g.n && g.best_worth >= 0; i++)
        ret[i] = g.best[i];
    return g.best_worth < 0 ? 2 : r;
}

/* ---- ways ----------------------------------------------------------------------------------- */

/* Several GPUs, or a whole one. */
static void offer_gpus(struct ask *a, int tier)
{
    struct dv_cluster_taking t = sizes(a);
    bool whole = a->pod.gpu_milli == DV_CLUSTER_MILLI;
    if (!dv_place_tightest(a->state, t.n, t.milli, t.gpus)) {
        lack(a, whole ? DV_PLACE_LACK_GPU_COUNT : DV_PLACE_LACK_GPU_SHARE);
        return;
    }
    if (t.n > 1 && a->wish->near != DV_CLUSTER_NEAR_ANY) {
        int r = together(a, t.gpus);
        if (r && a->wish->near_required) {
            lack(a, DV_PLACE_LACK_NEAR);
            return;
        }
        tier += r != 0;
    }
    offer(a, &t, dv_place_ask(a->place, a->kind, a->node, &a->pod, &t), tier);
}

static void offer_fraction(struct ask *a)
{
    if (a->fixed->fraction_wall < a->wish->wall) {
        lack(a, DV_PLACE_LACK_WALL);
        return;
    }
    struct dv_cluster_taking t = sizes(a);
    int64_t score = dv_place_fraction(a->place, a->kind, a->node, &a->pod, false, &t);
    if (score < DV_PLACE_SCORE_MIN)
        lack(a, DV_PLACE_LACK_GPU_SHARE);
    else
        offer(a, &t, score, 0);
}

/* Where an instance would start on this GPU; UNPLACED: it cannot. */
static uint32_t start_on(const struct ask *a, uint32_t gpu, uint32_t profile, uint32_t *ret_free)
{
    struct dv_mig_instance have[DV_MIG_INSTANCES_MAX];
    size_t n = dv_cluster_instances(a->place->cluster, a->node, gpu, have);
    bool cut = a->state->mig >> gpu & 1;
    uint32_t taken = 0;
    if (!cut && a->state->gpu[gpu] != DV_CLUSTER_MILLI)
        return DV_MIG_UNPLACED;
    for (size_t i = 0; i < n; i++)
        taken |= dv_mig_mask(&a->fixed->mig->profiles[have[i].profile], have[i].start);
    *ret_free = a->fixed->mig->grid - (uint32_t)__builtin_popcount(taken);
    return dv_mig_plan_pick_start(a->fixed->mig, have, n, profile);
}

/* One instance on each of the pod's GPUs: cut GPUs first, of these the fullest, then the lowest. */
static void offer_instances(struct ask *a, uint32_t profile)
{
    struct dv_cluster_taking t = sizes(a);
    uint32_t used = 0;
    bool cuts = false;
    t.mig = true;
    t.milli = 0;
    t.profile = (uint8_t)profile;
    for (uint32_t k = 0; k < t.n; k++) {
        uint32_t best = DV_CLUSTER_GPUS_MAX, best_free = 0, best_start = 0;
        for (uint32_t gpu = 0; gpu < a->state->n_gpus; gpu++) {
            uint32_t pieces = 0, start = DV_MIG_UNPLACED;
            if (!(used >> gpu & 1))
                start = start_on(a, gpu, profile, &pieces);
            if (start == DV_MIG_UNPLACED)
                continue;
            pieces += a->state->mig >> gpu & 1 ? 0 : DV_MIG_GRID_MAX;
            if (best < DV_CLUSTER_GPUS_MAX && pieces >= best_free)
                continue;
            best = gpu;
            best_free = pieces;
            best_start = start;
        }
        if (best == DV_CLUSTER_GPUS_MAX) {
            lack(a, DV_PLACE_LACK_MIG);
            return;
        }
        used |= 1u << best;
        cuts = cuts || !(a->state->mig >> best & 1);
        t.gpus[k] = (uint8_t)best;
        t.starts[k] = (uint8_t)best_start;
    }
    offer(a, &t, dv_place_ask(a->place, a->kind, a->node, &a->pod, &t), cuts);
}

/* The smallest profile that holds the pod; n_profiles: none does, or its memory is not known. */
static uint32_t smallest_profile(const struct ask *a)
{
    const struct dv_mig_geometry *g = a->fixed->mig;
    uint32_t best = g->n_profiles;
    for (uint32_t i = 0; i < g->n_profiles; i++) {
        const struct dv_mig_profile *p = &g->profiles[i];
        uint64_t compute = (uint64_t)dv_mig_compute(g, p) * DV_CLUSTER_MILLI;
        if (p->media != DV_MIG_MEDIA_DEFAULT || p->graphics ||
            compute < (uint64_t)a->place->kinds[a->kind].pod.gpu_milli * DV_COMPUTE_FULL ||
            p->memory_bytes < a->wish->gpu_memory_mib * DV_MIB)
            continue;
        if (best == g->n_profiles || p->size < g->profiles[best].size ||
            (p->size == g->profiles[best].size && p->slices < g->profiles[best].slices))
            best = i;
    }
    return best;
}

static void offer_any(struct ask *a)
{
    if (a->pod.gpu_milli < DV_CLUSTER_MILLI && a->pod.gpus == 1)
        offer_fraction(a);
    if (a->fixed->mig && a->pod.gpus == 1) {
        uint32_t profile = smallest_profile(a);
        if (profile < a->fixed->mig->n_profiles)
            offer_instances(a, profile);
    }
    bool less_would_do = a->pod.gpu_milli < DV_CLUSTER_MILLI;
    a->pod.gpu_milli = DV_CLUSTER_MILLI;
    offer_gpus(a, less_would_do ? 2 : 0);
}

static void offer_profile(struct ask *a)
{
    const struct dv_mig_profile *p =
        a->fixed->mig ? dv_mig_profile_find(a->fixed->mig, a->wish->profile, NULL) : NULL;
    if (p)
        offer_instances(a, (uint32_t)(p - a->fixed->mig->profiles));
    else
        lack(a, DV_PLACE_LACK_MODEL);
}

/* Memory as a share of the GPU's; false: its GPUs have less, or nobody knows how much. */
static bool count_memory(struct ask *a)
{
    uint64_t asked = a->wish->gpu_memory_mib, of = a->fixed->gpu_memory_mib;
    if (!asked || !a->pod.gpus)
        return true;
    if (asked > of)
        return false;
    uint64_t milli = (asked * DV_CLUSTER_MILLI + of - 1) / of;
    a->pod.gpu_milli = (uint16_t)DV_MAX(milli, a->pod.gpu_milli);
    return true;
}

int64_t dv_place_wish_value(struct dv_place *place, uint32_t kind, uint32_t node,
                            struct dv_cluster_taking *ret)
{
    const struct dv_cluster_pod *pod = &place->kinds[kind].pod;
    struct ask a = {.place = place,
                    .kind = kind,
                    .node = node,
                    .state = dv_cluster_state(place->cluster, node),
                    .fixed = dv_cluster_fixed(place->cluster, node),
                    .wish = dv_cluster_wish_at(place->cluster, pod->wish),
                    .pod = *pod,
                    .best = DV_PLACE_UNFIT};
    if ((a.wish->rack && a.wish->rack != a.fixed->rack) ||
        (a.wish->zone && a.wish->zone != a.fixed->zone))
        lack(&a, DV_PLACE_LACK_LABEL);
    else if (!count_memory(&a))
        lack(&a, DV_PLACE_LACK_GPU_MEMORY);
    else if (*a.wish->profile)
        offer_profile(&a);
    else if (a.wish->any_of && pod->gpus)
        offer_any(&a);
    else if (a.pod.gpus == 1 && a.pod.gpu_milli < DV_CLUSTER_MILLI)
        offer_fraction(&a);
    else if (a.pod.gpus && a.pod.gpu_milli < DV_CLUSTER_MILLI &&
             a.fixed->fraction_wall < a.wish->wall)
        lack(&a, DV_PLACE_LACK_WALL);
    else
        offer_gpus(&a, 0);
    if (a.best >= DV_PLACE_SCORE_MIN)
        *ret = a.taking;
    return a.best;
}
