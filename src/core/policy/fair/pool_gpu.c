/* SPDX-License-Identifier: Apache-2.0 */
/* One GPU of the pool: who holds it, and in which list of its class it stands. */
#include "policy/fair/pool_internal.h"

#include <assert.h>

static uint32_t first_of(uint16_t mask)
{
    return (uint32_t)__builtin_ctz(mask);
}

/* ---- sets ----------------------------------------------------------------------------------- */

uint32_t dv_fair_pool_first(struct set *set, uint32_t words, uint32_t from)
{
    uint32_t w = DV_MAX(from / 64, set->hint);
    if (!set->n)
        return NONE;
    for (; w < words; w++) {
        uint64_t bits = set->words[w];
        if (w == from / 64)
            bits &= ~UINT64_C(0) << from % 64;
        if (bits)
            return w * 64 + (uint32_t)__builtin_ctzll(bits);
        if (w == set->hint && !set->words[w])
            set->hint++;
    }
    return NONE;
}

static void put(struct set *set, uint32_t i)
{
    set->words[i / 64] |= UINT64_C(1) << i % 64;
    set->hint = DV_MIN(set->hint, i / 64);
    set->n++;
}

static void pull(struct set *set, uint32_t i)
{
    set->words[i / 64] &= ~(UINT64_C(1) << i % 64);
    set->n--;
}

void dv_fair_pool_relink_node(struct dv_fair_pool *p, uint32_t node)
{
    struct node *n = &p->nodes[node];
    struct class *c = &p->classes[n->class];
    uint32_t bucket = n->cordoned ? NONE : (uint32_t)__builtin_popcount(dv_fair_pool_open(n));
    if (bucket == n->bucket)
        return;
    if (n->bucket != NONE) {
        pull(&c->by_free[n->bucket], n->local);
        p->free_gpus -= n->bucket;
    }
    n->bucket = bucket;
    if (bucket == NONE)
        return;
    put(&c->by_free[bucket], n->local);
    p->free_gpus += bucket;
}

static uint32_t local_gpu(const struct node *n, uint32_t gpu)
{
    return n->local * DV_FAIR_NODE_GPUS_MAX + gpu % DV_FAIR_NODE_GPUS_MAX;
}

static void unlink_gpu(struct class *c, const struct node *n, struct gpu *g, uint32_t gpu)
{
    if (!g->linked)
        return;
    pull(&c->parted[g->set], local_gpu(n, gpu));
    g->linked = false;
    if (g->set < SET_CUT)
        c->n_shared--;
    else
        c->n_cut--;
}

void dv_fair_pool_relink_gpu(struct dv_fair_pool *p, uint32_t gpu)
{
    struct gpu *g = &p->gpus[gpu];
    const struct node *n = &p->nodes[gpu / DV_FAIR_NODE_GPUS_MAX];
    struct class *c = &p->classes[n->class];
    unlink_gpu(c, n, g, gpu);
    if (g->reserved || n->cordoned || (g->state != GPU_SHARED && g->state != GPU_CUT))
        return;
    g->set = g->state == GPU_SHARED ? ((uint32_t)DV_COMPUTE_FULL - g->used) / LEVEL_UNITS
                                    : SET_CUT + (uint32_t)__builtin_popcount(g->pieces);
    put(&c->parted[g->set], local_gpu(n, gpu));
    g->linked = true;
    if (g->set < SET_CUT)
        c->n_shared++;
    else
        c->n_cut++;
}

/* ---- holders -------------------------------------------------------------------------------- */

static void set_free(struct dv_fair_pool *p, uint32_t node, uint16_t gpus, bool is_free)
{
    struct node *n = &p->nodes[node];
    n->free = is_free ? (uint16_t)(n->free | gpus) : (uint16_t)(n->free & ~gpus);
    dv_fair_pool_relink_node(p, node);
}

static void open_gpu(struct dv_fair_pool *p, const struct dv_fair_place *place, struct gpu *g,
                     enum gpu_state state)
{
    if (g->state == state)
        return;
    assert(g->state == GPU_FREE);
    g->used = g->pieces = 0;
    g->slices = 0;
    g->sharers = 0;
    set_free(p, place->node, place->gpus, false);
    g->state = (uint8_t)state;
}

void dv_fair_pool_hold(struct dv_fair_pool *p, const struct dv_fair_request *request,
                       const struct dv_fair_place *place)
{
    struct node *n = &p->nodes[place->node];
    uint32_t base = place->node * DV_FAIR_NODE_GPUS_MAX, gpu = base + first_of(place->gpus);
    struct gpu *g = &p->gpus[gpu];
    if (request->kind == DV_FAIR_WHOLE) {
        assert((n->free & place->gpus) == place->gpus);
        for (uint32_t i = 0; i < n->n_gpus; i++)
            if (place->gpus >> i & 1)
                p->gpus[base + i].state = GPU_WHOLE;
        set_free(p, place->node, place->gpus, false);
        return;
    }
    struct class *c = &p->classes[n->class];
    unlink_gpu(c, n, g, gpu);
    if (request->kind == DV_FAIR_FRACTION) {
        open_gpu(p, place, g, GPU_SHARED);
        assert(g->used + request->compute <= DV_COMPUTE_FULL);
        g->used = (uint16_t)(g->used + request->compute);
    } else {
        const struct dv_mig_profile *profile = &p->models[c->model].mig->profiles[place->profile];
        uint32_t mask = dv_mig_mask(profile, place->start);
        open_gpu(p, place, g, GPU_CUT);
        assert(!(g->pieces & mask) && g->sharers < DV_MIG_INSTANCES_MAX);
        g->pieces = (uint16_t)(g->pieces | mask);
        g->slices = (uint8_t)(g->slices + profile->slices);
        g->profiles[g->sharers] = place->profile;
        g->starts[g->sharers] = place->start;
    }
    g->sharers++;
    dv_fair_pool_relink_gpu(p, gpu);
}

static void drop_instance(struct gpu *g, const struct dv_fair_place *place)
{
    uint32_t i = 0;
    while (i < g->sharers && g->starts[i] != place->start)
        i++;
    assert(i < g->sharers && g->profiles[i] == place->profile);
    g->profiles[i] = g->profiles[g->sharers - 1];
    g->starts[i] = g->starts[g->sharers - 1];
}

void dv_fair_pool_drop(struct dv_fair_pool *p, const struct dv_fair_request *request,
                       const struct dv_fair_place *place)
{
    struct node *n = &p->nodes[place->node];
    struct class *c = &p->classes[n->class];
    uint32_t base = place->node * DV_FAIR_NODE_GPUS_MAX, gpu = base + first_of(place->gpus);
    struct gpu *g = &p->gpus[gpu];
    if (request->kind == DV_FAIR_WHOLE) {
        for (uint32_t i = 0; i < n->n_gpus; i++)
            if (place->gpus >> i & 1)
                p->gpus[base + i].state = GPU_FREE;
        set_free(p, place->node, place->gpus, true);
        return;
    }
    unlink_gpu(c, n, g, gpu);
    if (request->kind == DV_FAIR_FRACTION) {
        g->used = (uint16_t)(g->used - request->compute);
    } else {
        const struct dv_mig_profile *profile = &p->models[c->model].mig->profiles[place->profile];
        drop_instance(g, place);
        g->pieces = (uint16_t)(g->pieces & ~dv_mig_mask(profile, place->start));
        g->slices = (uint8_t)(g->slices - profile->slices);
    }
    if (--g->sharers) {
        dv_fair_pool_relink_gpu(p, gpu);
        return;
    }
    g->state = GPU_FREE;
    set_free(p, place->node, place->gpus, true);
}
