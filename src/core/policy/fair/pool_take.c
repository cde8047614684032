/* SPDX-License-Identifier: Apache-2.0 */
/* Where members fit, and taking it. */
#include "policy/fair/pool_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- whole GPUs: by counting ---------------------------------------------------------------- */

static uint64_t count_slots(const struct dv_fair_pool *p, const struct dv_fair_request *request,
                            uint32_t rack, bool empty)
{
    uint64_t slots = 0;
    for (uint32_t i = 0; i < p->n_classes; i++) {
        const struct class *c = &p->classes[i];
        if (!dv_fair_pool_class_suits(c, request, rack))
            continue;
        for (uint32_t b = request->gpus; b <= DV_FAIR_NODE_GPUS_MAX; b++)
            slots += (empty ? c->whole[b] : c->by_free[b].n) * (b / request->gpus);
    }
    return slots;
}

/* The lowest GPUs of a mask, so many. */
static uint16_t lowest(uint16_t mask, uint32_t n)
{
    uint16_t got = 0;
    for (; n; n--) {
        uint16_t bit = (uint16_t)(mask & -mask);
        got |= bit;
        mask = (uint16_t)(mask & ~bit);
    }
    return got;
}

static bool find_whole(const struct dv_fair_pool *p, const struct dv_fair_request *request,
                       uint32_t rack, struct dv_fair_place *ret)
{
    for (uint32_t b = request->gpus; b <= DV_FAIR_NODE_GPUS_MAX; b++)
        for (uint32_t i = 0; i < p->n_classes; i++) {
            struct class *c = &p->classes[i];
            if (!c->by_free[b].n || !dv_fair_pool_class_suits(c, request, rack))
                continue;
            uint32_t node = c->nodes[dv_fair_pool_first(&c->by_free[b], c->cap / 64, 0)];
            *ret = (struct dv_fair_place){
                .node = node, .gpus = lowest(dv_fair_pool_open(&p->nodes[node]), request->gpus)};
            return true;
        }
    return false;
}

static bool find_reserved(const struct dv_fair_pool *p, const struct dv_fair_request *request,
                          uint32_t rack, struct dv_fair_place *ret)
{
    for (uint32_t k = 0; k < p->n_reserved; k++) {
        const struct node *n = &p->nodes[p->reserved[k]];
        if (n->cordoned || !dv_fair_pool_class_suits(&p->classes[n->class], request, rack) ||
            (uint32_t)__builtin_popcount(n->free) < request->gpus)
            continue;
        *ret =
            (struct dv_fair_place){.node = p->reserved[k], .gpus = lowest(n->free, request->gpus)};
        return true;
    }
    return false;
}

/* ---- parts of GPUs -------------------------------------------------------------------------- */

/* Of a GPU as the sets of a class know it. */
static struct dv_fair_place place_of(const struct class *c, uint32_t local)
{
    return (struct dv_fair_place){.node = c->nodes[local / DV_FAIR_NODE_GPUS_MAX],
                                  .gpus = (uint16_t)(1u << local % DV_FAIR_NODE_GPUS_MAX)};
}

static const struct gpu *gpu_at(const struct dv_fair_pool *p, const struct class *c, uint32_t local)
{
    return &p->gpus[c->nodes[local / DV_FAIR_NODE_GPUS_MAX] * DV_FAIR_NODE_GPUS_MAX +
                    local % DV_FAIR_NODE_GPUS_MAX];
}

static uint32_t next_in(struct class *c, uint32_t set, uint32_t from)
{
    return dv_fair_pool_first(&c->parted[set], c->cap / 64 * DV_FAIR_NODE_GPUS_MAX, from);
}

static bool find_fraction(const struct dv_fair_pool *p, const struct dv_fair_request *request,
                          uint32_t rack, struct dv_fair_place *ret)
{
    for (uint32_t level = request->compute / LEVEL_UNITS; level < LEVELS; level++)
        for (uint32_t i = 0; i < p->n_classes; i++) {
            struct class *c = &p->classes[i];
            if (!c->n_shared || !dv_fair_pool_class_suits(c, request, rack))
                continue;
            for (uint32_t g = next_in(c, level, 0); g != NONE; g = next_in(c, level, g + 1))
                if (gpu_at(p, c, g)->used + request->compute <= DV_COMPUTE_FULL) {
                    *ret = place_of(c, g);
                    return true;
                }
        }
    return false;
}

/* The start for a further instance on this GPU: legal, and of these the last, which leaves the low
 * starts, where large profiles begin, open longest. NONE: no room. */
static uint32_t find_start(const struct dv_mig_geometry *mig, uint32_t profile, const struct gpu *g)
{
    const struct dv_mig_profile *want = &mig->profiles[profile];
    struct dv_mig_instance all[DV_MIG_INSTANCES_MAX + 1];
    uint32_t n = g ? g->sharers : 0;
    if (n == DV_MIG_INSTANCES_MAX || (g && g->slices + want->slices > mig->slices))
        return NONE;
    for (uint32_t i = 0; i < n; i++)
        all[i] = (struct dv_mig_instance){g->profiles[i], g->starts[i]};
    for (uint32_t s = mig->grid; s--;) {
        all[n] = (struct dv_mig_instance){profile, s};
        if (want->starts >> s & 1 && !(g && g->pieces & dv_mig_mask(want, s)) &&
            dv_mig_check(mig, all, n + 1, NULL) == DV_MIG_OK)
            return s;
    }
    return NONE;
}

static uint32_t profile_index(const struct dv_fair_pool *p, uint32_t model, const char *name)
{
    const struct dv_mig_geometry *mig = p->models[model].mig;
    for (uint32_t i = 0; mig && i < mig->n_profiles; i++)
        if (!strcmp(mig->profiles[i].name, name))
            return i;
    return NONE;
}

static bool find_cut(const struct dv_fair_pool *p, const struct dv_fair_request *request,
                     uint32_t rack, struct dv_fair_place *ret)
{
    for (uint32_t used = DV_MIG_INSTANCES_MAX; used; used--)
        for (uint32_t i = 0; i < p->n_classes; i++) {
            struct class *c = &p->classes[i];
            uint32_t set = SET_CUT + used;
            if (!c->parted[set].n || !dv_fair_pool_class_suits(c, request, rack))
                continue;
            uint32_t profile = profile_index(p, c->model, request->profile);
            if (profile == NONE)
                continue;
            for (uint32_t g = next_in(c, set, 0); g != NONE; g = next_in(c, set, g + 1)) {
                uint32_t start = find_start(p->models[c->model].mig, profile, gpu_at(p, c, g));
                if (start == NONE)
                    continue;
                *ret = place_of(c, g);
                ret->profile = (uint8_t)profile;
                ret->start = (uint8_t)start;
                return true;
            }
        }
    return false;
}

/* A GPU that is free, for the first fraction or instance on it; from the fullest node. */
static bool find_empty(const struct dv_fair_pool *p, const struct dv_fair_request *request,
                       uint32_t rack, struct dv_fair_place *ret)
{
    for (uint32_t b = 1; b <= DV_FAIR_NODE_GPUS_MAX; b++)
        for (uint32_t i = 0; i < p->n_classes; i++) {
            struct class *c = &p->classes[i];
            if (!c->by_free[b].n || !dv_fair_pool_class_suits(c, request, rack))
                continue;
            uint32_t node = c->nodes[dv_fair_pool_first(&c->by_free[b], c->cap / 64, 0)];
            *ret = (struct dv_fair_place){.node = node,
                                          .gpus = lowest(dv_fair_pool_open(&p->nodes[node]), 1)};
            if (request->kind == DV_FAIR_FRACTION)
                return true;
            uint32_t profile = profile_index(p, c->model, request->profile);
            if (profile == NONE)
                continue;
            uint32_t start = find_start(p->models[c->model].mig, profile, NULL);
            if (start == NONE)
                continue;
            ret->profile = (uint8_t)profile;
            ret->start = (uint8_t)start;
            return true;
        }
    return false;
}

static bool find(const struct dv_fair_pool *p, const struct dv_fair_request *request, uint32_t rack,
                 bool with_reserved, struct dv_fair_place *ret)
{
    switch (request->kind) {
    case DV_FAIR_WHOLE:
        return find_whole(p, request, rack, ret) ||
               (with_reserved && find_reserved(p, request, rack, ret));
    case DV_FAIR_FRACTION:
        return find_fraction(p, request, rack, ret) || find_empty(p, request, rack, ret);
    case DV_FAIR_MIG:
        return find_cut(p, request, rack, ret) || find_empty(p, request, rack, ret);
    }
    return false;
}

/* ---- sets ----------------------------------------------------------------------------------- */

static uint32_t take_here(struct dv_fair_pool *p, const struct dv_fair_request *request,
                          uint32_t want, uint32_t rack, bool with_reserved,
                          struct dv_fair_place *ret)
{
    uint32_t n = 0;
    while (n < want && find(p, request, rack, with_reserved, &ret[n])) {
        dv_fair_pool_hold(p, request, &ret[n]);
        n++;
    }
    return n;
}

static void give_back(struct dv_fair_pool *p, const struct dv_fair_request *request, uint32_t n,
                      struct dv_fair_place *places)
{
    while (n)
        dv_fair_pool_drop(p, request, &places[--n]);
}

/* Members that fit into a rack, up to `want`: counted, or tried and undone. */
static uint32_t slots_in(struct dv_fair_pool *p, const struct dv_fair_request *request,
                         uint32_t want, uint32_t rack)
{
    if (request->kind == DV_FAIR_WHOLE) {
        uint64_t slots = count_slots(p, request, rack, false);
        return slots < want ? (uint32_t)slots : want;
    }
    struct dv_fair_place few[16], *places = p->room < DV_ARRAY_SIZE(few) ? few : p->places;
    uint32_t most = DV_MAX(p->room, (uint32_t)DV_ARRAY_SIZE(few));
    uint32_t n = take_here(p, request, DV_MIN(want, most), rack, false, places);
    give_back(p, request, n, places);
    return n;
}

int dv_fair_pool_room(struct dv_fair_pool *pool, uint32_t members)
{
    if (members <= pool->room)
        return 0;
    struct dv_fair_place *places = realloc(pool->places, members * sizeof *places);
    if (!places)
        return -ENOMEM;
    pool->places = places;
    pool->room = members;
    return 0;
}

/* Room in each rack, into rack_slots. */
static void count_racks(struct dv_fair_pool *p, const struct dv_fair_request *request,
                        uint32_t want)
{
    memset(p->rack_slots, 0, p->n_racks * sizeof *p->rack_slots);
    if (request->kind != DV_FAIR_WHOLE) {
        for (uint32_t rack = 0; rack < p->n_racks; rack++)
            p->rack_slots[rack] = slots_in(p, request, want, rack);
        return;
    }
    for (uint32_t i = 0; i < p->n_classes; i++) {
        const struct class *c = &p->classes[i];
        if (!dv_fair_pool_class_suits(c, request, DV_FAIR_ANY))
            continue;
        for (uint32_t b = request->gpus; b <= DV_FAIR_NODE_GPUS_MAX; b++)
            p->rack_slots[c->rack] += c->by_free[b].n * (b / request->gpus);
    }
}

/* The rack with the least room that suffices; if none does, the one with most. */
static uint32_t best_rack(struct dv_fair_pool *p, const struct dv_fair_request *request,
                          uint32_t want, uint32_t *ret_slots)
{
    uint32_t best = 0;
    uint64_t slots = 0;
    count_racks(p, request, want);
    for (uint32_t rack = 0; rack < p->n_racks; rack++) {
        uint64_t here = p->rack_slots[rack];
        bool better = slots < want ? here > slots : here >= want && here < slots;
        if (!better)
            continue;
        best = rack;
        slots = here;
    }
    *ret_slots = slots < want ? (uint32_t)slots : want;
    return best;
}

uint32_t dv_fair_pool_slots(struct dv_fair_pool *pool, const struct dv_fair_request *request,
                            uint32_t want)
{
    uint32_t slots;
    if (!request->one_rack)
        return slots_in(pool, request, want, DV_FAIR_ANY);
    best_rack(pool, request, want, &slots);
    return slots;
}

/* Instances of a profile, or fractions, that one empty GPU of the model holds. */
static uint32_t per_gpu(const struct dv_fair_pool *p, const struct dv_fair_request *request,
                        uint32_t model)
{
    if (request->kind == DV_FAIR_FRACTION)
        return DV_COMPUTE_FULL / request->compute;
    uint32_t profile = profile_index(p, model, request->profile);
    return profile == NONE ? 0 : p->models[model].mig->profiles[profile].max_instances;
}

static uint64_t empty_slots(const struct dv_fair_pool *p, const struct dv_fair_request *request,
                            uint32_t rack)
{
    uint64_t slots = 0;
    if (request->kind == DV_FAIR_WHOLE)
        return count_slots(p, request, rack, true);
    for (uint32_t i = 0; i < p->n_classes; i++) {
        const struct class *c = &p->classes[i];
        if (!dv_fair_pool_class_suits(c, request, rack))
            continue;
        for (uint32_t b = 1; b <= DV_FAIR_NODE_GPUS_MAX; b++)
            slots += c->whole[b] * b * per_gpu(p, request, c->model);
    }
    return slots;
}

uint32_t dv_fair_pool_slots_empty(const struct dv_fair_pool *pool,
                                  const struct dv_fair_request *request, uint32_t want)
{
    uint64_t most = 0;
    if (!request->one_rack)
        most = empty_slots(pool, request, DV_FAIR_ANY);
    for (uint32_t rack = 0; request->one_rack && rack < pool->n_racks; rack++) {
        uint64_t slots = empty_slots(pool, request, rack);
        most = DV_MAX(most, slots);
    }
    return most < want ? (uint32_t)most : want;
}

uint32_t dv_fair_pool_take(struct dv_fair_pool *pool, const struct dv_fair_request *request,
                           uint32_t least, uint32_t want, uint32_t rack, bool with_reserved,
                           struct dv_fair_place *ret)
{
    uint32_t slots;
    if (request->one_rack && rack == DV_FAIR_ANY) {
        rack = best_rack(pool, request, want, &slots);
        if (slots < least && !with_reserved)
            return 0;
    }
    uint32_t n = take_here(pool, request, want, rack, with_reserved, ret);
    if (n >= least)
        return n;
    give_back(pool, request, n, ret);
    return 0;
}

uint32_t dv_fair_pool_units(const struct dv_fair_pool *pool, const struct dv_fair_request *request)
{
    if (request->kind == DV_FAIR_WHOLE)
        return request->gpus * DV_COMPUTE_FULL;
    if (request->kind == DV_FAIR_FRACTION)
        return request->compute;
    for (uint32_t m = 0; m < pool->n_models; m++) {
        uint32_t profile = profile_index(pool, m, request->profile);
        if (profile != NONE && (!request->models || request->models >> m & 1))
            return dv_mig_compute(pool->models[m].mig, &pool->models[m].mig->profiles[profile]);
    }
    return 0;
}

/* Is there room for this instance at its start? */
static bool holds_instance(const struct dv_fair_pool *p, const struct dv_fair_request *request,
                           uint32_t model, const struct gpu *g, const struct dv_fair_place *place)
{
    const struct dv_mig_geometry *mig = p->models[model].mig;
    struct dv_mig_instance all[DV_MIG_INSTANCES_MAX + 1];
    uint32_t n = g->state == GPU_CUT ? g->sharers : 0;
    if ((g->state != GPU_CUT && g->state != GPU_FREE) || n == DV_MIG_INSTANCES_MAX ||
        profile_index(p, model, request->profile) != place->profile)
        return false;
    for (uint32_t i = 0; i < n; i++)
        all[i] = (struct dv_mig_instance){g->profiles[i], g->starts[i]};
    all[n] = (struct dv_mig_instance){place->profile, place->start};
    return dv_mig_check(mig, all, n + 1, NULL) == DV_MIG_OK;
}

bool dv_fair_pool_holds(const struct dv_fair_pool *pool, const struct dv_fair_request *request,
                        const struct dv_fair_place *place)
{
    if (place->node >= pool->n_nodes)
        return false;
    const struct node *n = &pool->nodes[place->node];
    const struct class *c = &pool->classes[n->class];
    uint32_t count = (uint32_t)__builtin_popcount(place->gpus);
    if (!count || place->gpus >> n->n_gpus || !dv_fair_pool_class_suits(c, request, DV_FAIR_ANY))
        return false;
    if (request->kind == DV_FAIR_WHOLE)
        return count == request->gpus && (n->free & place->gpus) == place->gpus;
    const struct gpu *g = &pool->gpus[(size_t)place->node * DV_FAIR_NODE_GPUS_MAX +
                                      (uint32_t)__builtin_ctz(place->gpus)];
    if (count != 1)
        return false;
    if (request->kind == DV_FAIR_MIG)
        return holds_instance(pool, request, c->model, g, place);
    return g->state == GPU_FREE ||
           (g->state == GPU_SHARED && g->used + request->compute <= DV_COMPUTE_FULL);
}
