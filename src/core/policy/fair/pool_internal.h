/* SPDX-License-Identifier: Apache-2.0 */
/* What pool.c, pool_gpu.c and pool_take.c share. */
#ifndef DV_POLICY_FAIR_POOL_INTERNAL_H
#define DV_POLICY_FAIR_POOL_INTERNAL_H

#include "policy/fair/pool.h"

#define NONE UINT32_MAX
#define LEVELS 71u /* of what is left of a shared GPU, in hundredths of 7000 */
#define LEVEL_UNITS 100u

enum gpu_state {
    GPU_FREE,
    GPU_WHOLE,
    GPU_SHARED,
    GPU_CUT,
};

struct gpu {
    uint8_t state;
    bool reserved, linked; /* linked: in a set of its class */
    uint8_t slices;        /* CUT: compute slices */
    uint16_t used;         /* SHARED: units */
    uint16_t pieces;       /* CUT: mask of the memory grid */
    uint16_t sharers;      /* SHARED, CUT */
    uint16_t leaving;
    uint32_t set; /* which of its class's GPU sets */
    uint8_t profiles[DV_MIG_INSTANCES_MAX], starts[DV_MIG_INSTANCES_MAX];
};

struct node {
    uint32_t class, n_gpus;
    uint16_t free, reserved; /* masks; free counts reserved GPUs too */
    bool cordoned;
    uint32_t bucket; /* NONE: in no set */
    uint32_t local;  /* index among the nodes of its class */
};

#define NODE_SETS (DV_FAIR_NODE_GPUS_MAX + 1u)
#define GPU_SETS (LEVELS + DV_MIG_INSTANCES_MAX + 1u)
#define SET_CUT LEVELS /* the sets of shared GPUs come first, then those of cut ones */

/* A set of small numbers; the lowest is found fast. */
struct set {
    uint64_t *words;
    uint64_t n;    /* how many are in it */
    uint32_t hint; /* no word below it has a bit */
};

struct class
{
    uint32_t model, rack;
    uint32_t n_nodes, cap;                     /* cap: a multiple of 64 */
    uint32_t *nodes;                           /* of the pool, by their local index */
    uint64_t whole[DV_FAIR_NODE_GPUS_MAX + 1]; /* nodes by their size, cordoned ones left out */
    struct set by_free[NODE_SETS];             /* local nodes by their open GPUs */
    struct set parted[GPU_SETS];               /* local nodes * 16 + GPU */
    uint64_t n_shared, n_cut;
    uint64_t *block; /* where the sets' words are */
};

struct model {
    char name[DV_FAIR_MODEL_SIZE];
    const struct dv_mig_geometry *mig;
};

struct dv_fair_pool {
    struct model models[DV_FAIR_MODELS_MAX];
    uint32_t n_models;
    struct class *classes;
    uint32_t n_classes, cap_classes;
    uint32_t n_racks;     /* highest rack + 1 */
    uint64_t *rack_slots; /* scratch, one per rack */
    struct node *nodes;
    struct gpu *gpus; /* 16 per node */
    uint32_t n_nodes, cap_nodes;
    uint64_t n_gpus, free_gpus;
    struct dv_fair_place *places; /* scratch of slots, for `room` members */
    uint32_t room;
    uint32_t *reserved; /* nodes with reserved GPUs */
    uint32_t n_reserved;
};

/* GPUs that a newcomer may have. */
static inline uint16_t dv_fair_pool_open(const struct node *n)
{
    return n->cordoned ? 0 : (uint16_t)(n->free & ~n->reserved);
}

/* Does the class do for the request, and is it in that rack (DV_FAIR_ANY: any)? */
static inline bool dv_fair_pool_class_suits(const struct class *c,
                                            const struct dv_fair_request *request, uint32_t rack)
{
    return (!request->models || request->models >> c->model & 1) &&
           (rack == DV_FAIR_ANY || rack == c->rack);
}

/* pool_gpu.c: one GPU and the sets. */
/* The lowest number from `from` on, or NONE. */
uint32_t dv_fair_pool_first(struct set *set, uint32_t words, uint32_t from);
void dv_fair_pool_relink_node(struct dv_fair_pool *p, uint32_t node);
void dv_fair_pool_relink_gpu(struct dv_fair_pool *p, uint32_t gpu);
void dv_fair_pool_hold(struct dv_fair_pool *p, const struct dv_fair_request *request,
                       const struct dv_fair_place *place);
void dv_fair_pool_drop(struct dv_fair_pool *p, const struct dv_fair_request *request,
                       const struct dv_fair_place *place);

#endif
