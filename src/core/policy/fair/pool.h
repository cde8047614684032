/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where there is room: the nodes of a cluster, seen as lightly as queues need them. A node has up
 * to 16 GPUs of one model and stands in a rack. A GPU is free, or held whole, or shared by
 * fractions, or cut into MIG instances, one of these at a time. A fraction counts for memory and
 * compute alike. CPU, memory of the host and the links between GPUs are not looked at here.
 *
 * Everything asked often is answered by indexes, per (model, rack): nodes by their free GPUs,
 * shared GPUs by what is left, cut GPUs by the pieces used. "Do 500 members with 8 GPUs each fit?"
 * is a sum over 17 counters, whatever the number of nodes.
 *
 * A member goes where least is left over (best fit): to the node with the fewest free GPUs that
 * suffice, the fullest shared GPU, the MIG GPU with most pieces used; of equals to the first
 * that was added. A whole set goes into one rack when asked so: into the rack
 * with the least room that suffices. Deterministic; names play no part.
 *
 * Reserved GPUs are kept out of all this: they are there for one waiting workload, and for those
 * who are sure to be gone in time.
 */
#ifndef DV_POLICY_FAIR_POOL_H
#define DV_POLICY_FAIR_POOL_H

#include "model/mig.h"

#define DV_FAIR_NODE_GPUS_MAX 16u
#define DV_FAIR_NODES_MAX 200000u
#define DV_FAIR_MODELS_MAX 64u
#define DV_FAIR_CLASSES_MAX 4096u /* pairs of model and rack */
#define DV_FAIR_MODEL_SIZE 64
#define DV_FAIR_ANY UINT32_MAX /* rack */

enum dv_fair_kind {
    DV_FAIR_WHOLE,    /* `gpus` GPUs of one node */
    DV_FAIR_FRACTION, /* `compute` of one GPU */
    DV_FAIR_MIG,      /* one instance of `profile` */
};

/* What each member of a workload asks for. */
struct dv_fair_request {
    enum dv_fair_kind kind;
    uint32_t gpus;    /* WHOLE: 1 .. 16 */
    uint32_t compute; /* FRACTION: 1 .. 7000 */
    bool one_rack;    /* all members in one rack */
    uint64_t models;  /* bit i: model i of the pool will do; 0: any */
    char profile[DV_MIG_NAME];
};

/* Where a member is. */
struct dv_fair_place {
    uint32_t node;
    uint16_t gpus; /* bit mask: the GPUs of the node */
    uint8_t profile, start;
};

struct dv_fair_pool;

struct dv_fair_pool *dv_fair_pool_new(void);
void dv_fair_pool_free(struct dv_fair_pool *pool);
void dv_fair_pool_freep(struct dv_fair_pool **pool);

/* The index of a model of that name, added if need be. `mig`: its geometry, a loan, or NULL.
 * -E2BIG, -ENAMETOOLONG. */
int dv_fair_pool_model(struct dv_fair_pool *pool, const char *name,
                       const struct dv_mig_geometry *mig, uint32_t *ret);
/* -ENOMEM, -E2BIG, -EINVAL (GPUs not 1 .. 16, no such model). */
int dv_fair_pool_add(struct dv_fair_pool *pool, uint32_t model, uint32_t rack, uint32_t gpus,
                     uint32_t *ret_node);
/* A cordoned node takes nobody new; who is there stays. */
void dv_fair_pool_cordon(struct dv_fair_pool *pool, uint32_t node, bool cordoned);

uint32_t dv_fair_pool_nodes(const struct dv_fair_pool *pool);
uint32_t dv_fair_pool_node_gpus(const struct dv_fair_pool *pool, uint32_t node);
uint32_t dv_fair_pool_rack(const struct dv_fair_pool *pool, uint32_t node);
/* Does a node's model do for the request? */
bool dv_fair_pool_suits(const struct dv_fair_pool *pool, uint32_t node,
                        const struct dv_fair_request *request);
/* GPUs that nobody holds, reserved and cordoned ones left out. */
uint16_t dv_fair_pool_free_mask(const struct dv_fair_pool *pool, uint32_t node);
uint64_t dv_fair_pool_free_gpus(const struct dv_fair_pool *pool);
uint64_t dv_fair_pool_gpus(const struct dv_fair_pool *pool);

/* What a member counts in quotas, 1/7000 GPU: MIG instances by their compute slices, on the first
 * model that has the profile. 0: no model here has it. */
uint32_t dv_fair_pool_units(const struct dv_fair_pool *pool, const struct dv_fair_request *request);

/* Makes dv_fair_pool_slots() able to count so many members that are not whole GPUs; without it, 16.
 * -ENOMEM. */
int dv_fair_pool_room(struct dv_fair_pool *pool, uint32_t members);
/* How many members fit now, counted up to `want`. Where members must be in one rack: in the best
 * one. Exact for whole GPUs; for others what first come, first served would place. */
uint32_t dv_fair_pool_slots(struct dv_fair_pool *pool, const struct dv_fair_request *request,
                            uint32_t want);
/* The same in a cluster where nothing runs. */
uint32_t dv_fair_pool_slots_empty(const struct dv_fair_pool *pool,
                                  const struct dv_fair_request *request, uint32_t want);

/* Takes places for up to `want` members, if `least` at all fit; returns how many. rack: where they
 * must be, or DV_FAIR_ANY. with_reserved: also on reserved GPUs that nobody holds (WHOLE only). */
uint32_t dv_fair_pool_take(struct dv_fair_pool *pool, const struct dv_fair_request *request,
                           uint32_t least, uint32_t want, uint32_t rack, bool with_reserved,
                           struct dv_fair_place *ret);
/* Could that be the place of a member, as things are? Reserved and cordoned GPUs too. */
bool dv_fair_pool_holds(const struct dv_fair_pool *pool, const struct dv_fair_request *request,
                        const struct dv_fair_place *place);
/* Takes exactly that place; the caller knows that it is free. */
void dv_fair_pool_retake(struct dv_fair_pool *pool, const struct dv_fair_request *request,
                         const struct dv_fair_place *place);
void dv_fair_pool_release(struct dv_fair_pool *pool, const struct dv_fair_request *request,
                          const struct dv_fair_place *place);

/* Sets GPUs of a node aside, whoever holds them now; false: puts them back. */
void dv_fair_pool_reserve(struct dv_fair_pool *pool, uint32_t node, uint16_t gpus, bool reserved);
uint16_t dv_fair_pool_reserved(const struct dv_fair_pool *pool, uint32_t node);
uint16_t dv_fair_pool_reserved_free(const struct dv_fair_pool *pool, uint32_t node);

/* Counts who is leaving a GPU but is not gone; +1 or -1. */
void dv_fair_pool_leaving(struct dv_fair_pool *pool, const struct dv_fair_place *place, int change);
bool dv_fair_pool_is_left(const struct dv_fair_pool *pool, const struct dv_fair_place *place);

/* Units held, over all GPUs; and a check of all indexes against the GPUs (tests): 0 or -EINVAL. */
uint64_t dv_fair_pool_held(const struct dv_fair_pool *pool);
int dv_fair_pool_check(const struct dv_fair_pool *pool);

#endif
