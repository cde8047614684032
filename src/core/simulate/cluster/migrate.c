/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making room: for a pod that fits nowhere, a few others move, each to a place that it really has.
 * Nobody is moved in vain: when the last of them finds no place, everything is as it was.
 *
 * A node is tried when it could hold the pod if it were empty. From it, pods leave one at a time,
 * those with the least GPU first, until the pod fits; the fewer the better, so nodes are tried that
 * lack least. At most TRIES nodes and MOVES pods of one node: a bound on time, not on what exists.
 */
#include "simulate/cluster/internal.h"

#include <errno.h>
#include <stdlib.h>

#define TRIES 16u
#define MOVES 4u

struct moved {
    uint32_t arrival, from;
    struct dv_cluster_taking taking;
};

struct move {
    struct dv_cluster_sim *sim;
    uint32_t arrival; /* who needs room */
    struct moved moved[MOVES];
    uint32_t n;
    bool settled;
};

/* How much GPU a node lacks for the pod, in milli; UINT32_MAX: it could not hold it. */
static uint32_t lacking(const struct dv_cluster_sim *sim, const struct dv_cluster_pod *pod,
                        uint32_t node)
{
    const struct dv_cluster_state *s = dv_cluster_state(sim->config.cluster, node);
    const struct dv_cluster_fixed *f = dv_cluster_fixed(sim->config.cluster, node);
    uint64_t mask = dv_cluster_spec_mask(sim->config.cluster, pod->spec);
    if (pod->gpus > s->n_gpus || pod->cpu_milli > f->cpu_milli || pod->memory_mib > f->memory_mib ||
        (pod->gpus && !(mask >> s->model & 1)) || sim->first[node] == DV_CLUSTER_NONE)
        return UINT32_MAX;
    uint16_t most[DV_CLUSTER_GPUS_MAX] = {0};
    for (uint32_t i = 0; i < s->n_gpus; i++) { /* the fullest last */
        uint32_t at = i;
        for (; at && most[at - 1] < s->gpu[i]; at--)
            most[at] = most[at - 1];
        most[at] = s->gpu[i];
    }
    uint32_t lack = 0;
    for (uint32_t i = 0; i < pod->gpus; i++)
        if (most[i] < pod->gpu_milli)
            lack += (uint32_t)(pod->gpu_milli - most[i]);
    return lack;
}

/* The nodes that lack least, at most TRIES, by number among equals. */
static uint32_t choose(const struct dv_cluster_sim *sim, const struct dv_cluster_pod *pod,
                       uint32_t ret[TRIES])
{
    uint32_t lacks[TRIES], n = 0;
    for (uint32_t node = 0; node < dv_cluster_nodes(sim->config.cluster); node++) {
        uint32_t lack = lacking(sim, pod, node);
        if (lack == UINT32_MAX || (n == TRIES && lack >= lacks[n - 1]))
            continue;
        uint32_t at = n < TRIES ? n++ : n - 1;
        for (; at && lacks[at - 1] > lack; at--) {
            lacks[at] = lacks[at - 1];
            ret[at] = ret[at - 1];
        }
        lacks[at] = lack;
        ret[at] = node;
    }
    return n;
}

/* Who goes next: the least GPU, of equals who came last. Pods without GPU go only for CPU and
 * memory. */
static uint32_t next_to_go(const struct dv_cluster_sim *sim, uint32_t node, bool for_gpu)
{
    uint32_t best = DV_CLUSTER_NONE;
    uint64_t best_milli = 0;
    for (uint32_t i = sim->first[node]; i != DV_CLUSTER_NONE; i = sim->runs[i].next) {
        const struct dv_cluster_pod *pod = dv_cluster_sim_pod(sim, i);
        uint64_t milli = (uint64_t)pod->gpus * pod->gpu_milli;
        if (for_gpu && !milli)
            continue;
        if (best == DV_CLUSTER_NONE || milli < best_milli || (milli == best_milli && i > best)) {
            best = i;
            best_milli = milli;
        }
    }
    return best;
}

/* Everything as it was. Taking back what was just given cannot fail but for want of memory. */
static int undo(struct move *m)
{
    int r = m->settled ? dv_cluster_sim_lift(m->sim, m->arrival) : 0;
    for (uint32_t i = 0; !r && i < m->n; i++)
        if (m->sim->runs[m->moved[i].arrival].node != DV_CLUSTER_NONE)
            r = dv_cluster_sim_lift(m->sim, m->moved[i].arrival);
    for (uint32_t i = m->n; !r && i-- > 0;)
        r = dv_cluster_sim_settle(m->sim, m->moved[i].arrival, m->moved[i].from,
                                  &m->moved[i].taking);
    return r < 0 ? r : 1;
}

/* Lets pods go until the newcomer fits. 0, 1: it does not. */
static int empty_until_it_fits(struct move *m, uint32_t node)
{
    const struct dv_cluster_pod *pod = dv_cluster_sim_pod(m->sim, m->arrival);
    for (;;) {
        int64_t score = 0;
        struct dv_cluster_taking taking;
        enum dv_place_lack lack = DV_PLACE_LACKS;
        int r = dv_place_score(m->sim->place, node, pod, &score, &taking, &lack);
        if (!r) {
            r = dv_cluster_sim_settle(m->sim, m->arrival, node, &taking);
            m->settled = !r;
        }
        if (r <= 0)
            return r;
        bool for_gpu = lack != DV_PLACE_LACK_CPU && lack != DV_PLACE_LACK_MEMORY;
        uint32_t goes = next_to_go(m->sim, node, for_gpu);
        if (goes == DV_CLUSTER_NONE || m->n == MOVES)
            return 1;
        m->moved[m->n++] = (struct moved){goes, node, m->sim->runs[goes].taking};
        r = dv_cluster_sim_lift(m->sim, goes);
        if (r < 0)
            return r;
    }
}

/* The largest first: the small ones find a place last. */
static int settle_moved(struct move *m)
{
    for (uint32_t i = m->n; i-- > 0;) {
        struct dv_place_verdict verdict;
        uint32_t arrival = m->moved[i].arrival;
        int r = dv_place_find(m->sim->place, dv_cluster_sim_pod(m->sim, arrival), &verdict);
        if (!r)
            r = dv_cluster_sim_settle(m->sim, arrival, verdict.node, &verdict.taking);
        if (r)
            return r;
    }
    return 0;
}

int dv_cluster_sim_make_room(struct dv_cluster_sim *sim, uint32_t arrival)
{
    uint32_t nodes[TRIES];
    uint32_t n = choose(sim, dv_cluster_sim_pod(sim, arrival), nodes);
    for (uint32_t i = 0; i < n; i++) {
        struct move m = {.sim = sim, .arrival = arrival};
        int r = empty_until_it_fits(&m, nodes[i]);
        if (!r)
            r = settle_moved(&m);
        if (!r) {
            sim->result.migrations += m.n;
            sim->result.migrated_for++;
            return 0;
        }
        if (r < 0)
            return r;
        r = undo(&m);
        if (r < 0)
            return r;
    }
    return 1;
}
