/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "policy/fair/pool_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct dv_fair_pool *dv_fair_pool_new(void)
{
    return calloc(1, sizeof(struct dv_fair_pool));
}

void dv_fair_pool_free(struct dv_fair_pool *pool)
{
    if (!pool)
        return;
    for (uint32_t i = 0; i < pool->n_classes; i++) {
        free(pool->classes[i].nodes);
        free(pool->classes[i].block);
    }
    free(pool->classes);
    free(pool->nodes);
    free(pool->gpus);
    free(pool->reserved);
    free(pool->rack_slots);
    free(pool->places);
    free(pool);
}

void dv_fair_pool_freep(struct dv_fair_pool **pool)
{
    dv_fair_pool_free(*pool);
    *pool = NULL;
}

int dv_fair_pool_model(struct dv_fair_pool *pool, const char *name,
                       const struct dv_mig_geometry *mig, uint32_t *ret)
{
    for (uint32_t i = 0; i < pool->n_models; i++)
        if (!strcmp(pool->models[i].name, name)) {
            *ret = i;
            return 0;
        }
    if (pool->n_models == DV_FAIR_MODELS_MAX)
        return -E2BIG;
    struct model *m = &pool->models[pool->n_models];
    if (dv_str_copy(m->name, sizeof m->name, name) < 0)
        return -ENAMETOOLONG;
    m->mig = mig;
    *ret = pool->n_models++;
    return 0;
}

static int class_of(struct dv_fair_pool *p, uint32_t model, uint32_t rack, uint32_t *ret)
{
    for (uint32_t i = 0; i < p->n_classes; i++)
        if (p->classes[i].model == model && p->classes[i].rack == rack) {
            *ret = i;
            return 0;
        }
    if (p->n_classes == DV_FAIR_CLASSES_MAX || rack >= DV_FAIR_CLASSES_MAX)
        return -E2BIG;
    if (rack >= p->n_racks) {
        uint64_t *slots = realloc(p->rack_slots, (rack + 1) * sizeof *slots);
        if (!slots)
            return -ENOMEM;
        p->rack_slots = slots;
        p->n_racks = rack + 1;
    }
    if (p->n_classes == p->cap_classes) {
        uint32_t cap = p->cap_classes ? 2 * p->cap_classes : 8;
        struct class *more = realloc(p->classes, cap * sizeof *more);
        if (!more)
            return -ENOMEM;
        p->classes = more;
        p->cap_classes = cap;
    }
    struct class *c = &p->classes[p->n_classes];
    memset(c, 0, sizeof *c);
    c->model = model;
    c->rack = rack;
    *ret = p->n_classes++;
    return 0;
}

/* Room for one more node in a class: larger sets with what is in them. */
static int grow_class(struct class *c)
{
    if (c->n_nodes < c->cap)
        return 0;
    uint32_t cap = c->cap ? 2 * c->cap : 64, words = cap / 64, was = c->cap / 64;
    size_t per_gpu_set = (size_t)words * DV_FAIR_NODE_GPUS_MAX;
    uint64_t *block = calloc(NODE_SETS * words + GPU_SETS * per_gpu_set, sizeof *block);
    uint32_t *nodes = block ? realloc(c->nodes, cap * sizeof *nodes) : NULL;
    if (!nodes) {
        free(block);
        return -ENOMEM;
    }
    c->nodes = nodes;
    uint64_t *at = block;
    for (uint32_t i = 0; i < NODE_SETS; i++, at += words) {
        if (was)
            memcpy(at, c->by_free[i].words, was * sizeof *at);
        c->by_free[i].words = at;
    }
    for (uint32_t i = 0; i < GPU_SETS; i++, at += per_gpu_set) {
        if (was)
            memcpy(at, c->parted[i].words, (size_t)was * DV_FAIR_NODE_GPUS_MAX * sizeof *at);
        c->parted[i].words = at;
    }
    free(c->block);
    c->block = block;
    c->cap = cap;
    return 0;
}

static int grow_nodes(struct dv_fair_pool *p)
{
    if (p->n_nodes < p->cap_nodes)
        return 0;
    uint32_t cap = p->cap_nodes ? 2 * p->cap_nodes : 64;
    struct node *nodes = realloc(p->nodes, cap * sizeof *nodes);
    if (!nodes)
        return -ENOMEM;
    p->nodes = nodes;
    struct gpu *gpus = realloc(p->gpus, (size_t)cap * DV_FAIR_NODE_GPUS_MAX * sizeof *gpus);
    if (!gpus)
        return -ENOMEM;
    p->gpus = gpus;
    uint32_t *reserved = realloc(p->reserved, cap * sizeof *reserved);
    if (!reserved)
        return -ENOMEM;
    p->reserved = reserved;
    p->cap_nodes = cap;
    return 0;
}

int dv_fair_pool_add(struct dv_fair_pool *pool, uint32_t model, uint32_t rack, uint32_t gpus,
                     uint32_t *ret_node)
{
    uint32_t class;
    if (!gpus || gpus > DV_FAIR_NODE_GPUS_MAX || model >= pool->n_models || rack == DV_FAIR_ANY)
        return -EINVAL;
    if (pool->n_nodes == DV_FAIR_NODES_MAX)
        return -E2BIG;
    int r = grow_nodes(pool);
    r = r ? r : class_of(pool, model, rack, &class);
    r = r ? r : grow_class(&pool->classes[class]);
    if (r < 0)
        return r;
    uint32_t i = pool->n_nodes++;
    struct node *n = &pool->nodes[i];
    *n = (struct node){.class = class,
                       .n_gpus = gpus,
                       .free = (uint16_t)((1u << gpus) - 1),
                       .bucket = NONE,
                       .local = pool->classes[class].n_nodes};
    pool->classes[class].nodes[pool->classes[class].n_nodes++] = i;
    memset(&pool->gpus[(size_t)i * DV_FAIR_NODE_GPUS_MAX], 0,
           DV_FAIR_NODE_GPUS_MAX * sizeof *pool->gpus);
    pool->classes[class].whole[gpus]++;
    pool->n_gpus += gpus;
    dv_fair_pool_relink_node(pool, i);
    *ret_node = i;
    return 0;
}

void dv_fair_pool_cordon(struct dv_fair_pool *pool, uint32_t node, bool cordoned)
{
    struct node *n = &pool->nodes[node];
    if (n->cordoned == cordoned)
        return;
    n->cordoned = cordoned;
    uint64_t *whole = &pool->classes[n->class].whole[n->n_gpus];
    *whole = cordoned ? *whole - 1 : *whole + 1;
    pool->n_gpus = cordoned ? pool->n_gpus - n->n_gpus : pool->n_gpus + n->n_gpus;
    dv_fair_pool_relink_node(pool, node);
    for (uint32_t i = 0; i < n->n_gpus; i++)
        dv_fair_pool_relink_gpu(pool, node * DV_FAIR_NODE_GPUS_MAX + i);
}

uint32_t dv_fair_pool_nodes(const struct dv_fair_pool *pool)
{
    return pool->n_nodes;
}

uint32_t dv_fair_pool_node_gpus(const struct dv_fair_pool *pool, uint32_t node)
{
    return pool->nodes[node].n_gpus;
}

uint32_t dv_fair_pool_rack(const struct dv_fair_pool *pool, uint32_t node)
{
    return pool->classes[pool->nodes[node].class].rack;
}

bool dv_fair_pool_suits(const struct dv_fair_pool *pool, uint32_t node,
                        const struct dv_fair_request *request)
{
    return dv_fair_pool_class_suits(&pool->classes[pool->nodes[node].class], request, DV_FAIR_ANY);
}

uint16_t dv_fair_pool_free_mask(const struct dv_fair_pool *pool, uint32_t node)
{
    return dv_fair_pool_open(&pool->nodes[node]);
}

uint64_t dv_fair_pool_free_gpus(const struct dv_fair_pool *pool)
{
    return pool->free_gpus;
}

uint64_t dv_fair_pool_gpus(const struct dv_fair_pool *pool)
{
    return pool->n_gpus;
}

void dv_fair_pool_retake(struct dv_fair_pool *pool, const struct dv_fair_request *request,
                         const struct dv_fair_place *place)
{
    dv_fair_pool_hold(pool, request, place);
}

void dv_fair_pool_release(struct dv_fair_pool *pool, const struct dv_fair_request *request,
                          const struct dv_fair_place *place)
{
    dv_fair_pool_drop(pool, request, place);
}

/* ---- reserved and leaving ------------------------------------------------------------------- */

void dv_fair_pool_reserve(struct dv_fair_pool *pool, uint32_t node, uint16_t gpus, bool reserved)
{
    struct node *n = &pool->nodes[node];
    uint16_t was = n->reserved;
    n->reserved = reserved ? (uint16_t)(was | gpus) : (uint16_t)(was & ~gpus);
    for (uint32_t i = 0; i < n->n_gpus; i++)
        if (gpus >> i & 1) {
            pool->gpus[node * DV_FAIR_NODE_GPUS_MAX + i].reserved = reserved;
            dv_fair_pool_relink_gpu(pool, node * DV_FAIR_NODE_GPUS_MAX + i);
        }
    dv_fair_pool_relink_node(pool, node);
    if (!was && n->reserved)
        pool->reserved[pool->n_reserved++] = node;
    uint32_t k = 0;
    while (was && !n->reserved && pool->reserved[k] != node)
        k++;
    if (was && !n->reserved)
        memmove(&pool->reserved[k], &pool->reserved[k + 1],
                (--pool->n_reserved - k) * sizeof *pool->reserved);
}

uint16_t dv_fair_pool_reserved(const struct dv_fair_pool *pool, uint32_t node)
{
    return pool->nodes[node].reserved;
}

uint16_t dv_fair_pool_reserved_free(const struct dv_fair_pool *pool, uint32_t node)
{
    const struct node *n = &pool->nodes[node];
    return n->cordoned ? 0 : (uint16_t)(n->reserved & n->free);
}

void dv_fair_pool_leaving(struct dv_fair_pool *pool, const struct dv_fair_place *place, int change)
{
    struct gpu *gpus = &pool->gpus[(size_t)place->node * DV_FAIR_NODE_GPUS_MAX];
    for (uint32_t i = 0; i < DV_FAIR_NODE_GPUS_MAX; i++)
        if (place->gpus >> i & 1)
            gpus[i].leaving = (uint16_t)(gpus[i].leaving + change);
}

bool dv_fair_pool_is_left(const struct dv_fair_pool *pool, const struct dv_fair_place *place)
{
    const struct gpu *gpus = &pool->gpus[(size_t)place->node * DV_FAIR_NODE_GPUS_MAX];
    for (uint32_t i = 0; i < DV_FAIR_NODE_GPUS_MAX; i++)
        if (place->gpus >> i & 1 && gpus[i].leaving)
            return false;
    return true;
}

/* ---- for tests ------------------------------------------------------------------------------ */

uint64_t dv_fair_pool_held(const struct dv_fair_pool *pool)
{
    uint64_t held = 0;
    for (size_t i = 0; i < (size_t)pool->n_nodes * DV_FAIR_NODE_GPUS_MAX; i++) {
        const struct gpu *g = &pool->gpus[i];
        const struct class *c = &pool->classes[pool->nodes[i / DV_FAIR_NODE_GPUS_MAX].class];
        const struct dv_mig_geometry *mig = pool->models[c->model].mig;
        if (g->state == GPU_WHOLE)
            held += DV_COMPUTE_FULL;
        if (g->state == GPU_SHARED)
            held += g->used;
        for (uint32_t k = 0; g->state == GPU_CUT && k < g->sharers; k++)
            held += dv_mig_compute(mig, &mig->profiles[g->profiles[k]]);
    }
    return held;
}

int dv_fair_pool_check(const struct dv_fair_pool *pool)
{
    uint64_t open = 0, listed = 0;
    for (uint32_t i = 0; i < pool->n_nodes; i++) {
        const struct node *n = &pool->nodes[i];
        uint32_t count = (uint32_t)__builtin_popcount(dv_fair_pool_open(n));
        open += count;
        if (!n->cordoned && n->bucket != count)
            return -EINVAL;
        for (uint32_t k = 0; k < n->n_gpus; k++) {
            const struct gpu *g = &pool->gpus[(size_t)i * DV_FAIR_NODE_GPUS_MAX + k];
            bool parted = g->state == GPU_SHARED || g->state == GPU_CUT;
            if ((g->state == GPU_FREE) != (n->free >> k & 1) || g->used > DV_COMPUTE_FULL ||
                g->reserved != (n->reserved >> k & 1) ||
                g->linked != (parted && !g->reserved && !n->cordoned))
                return -EINVAL;
        }
    }
    for (uint32_t i = 0; i < pool->n_classes; i++)
        for (uint32_t b = 0; b <= DV_FAIR_NODE_GPUS_MAX; b++) {
            struct set *set = &pool->classes[i].by_free[b];
            uint64_t n = 0;
            for (uint32_t w = 0; w < pool->classes[i].cap / 64; w++)
                n += (uint64_t)__builtin_popcountll(set->words[w]);
            if (n != set->n)
                return -EINVAL;
            listed += n * b;
        }
    return open == pool->free_gpus && listed == open ? 0 : -EINVAL;
}
