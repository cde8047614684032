/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster as placement sees it: nodes with what they have and what is free, and what pods ask
 * for. Built once, then changed by take and give back only.
 *
 *     struct dv_cluster *c = dv_cluster_new();
 *     r = dv_cluster_add(c, &(struct dv_cluster_node){.name = "n1", .cpu_milli = 96000,
 *                        .memory_mib = 786432, .gpus = 8, .model = "V100M32"}, &err);
 *     r = dv_cluster_seal(c, &err);
 *     r = dv_cluster_spec(c, "V100M16|V100M32", &pod.spec, &err);
 *
 * Sealing sorts the nodes by their order names (of equals: none, that is an error), so that a
 * node's number is its rank: lower numbers come first by name. Models are numbered by their names
 * too. Nothing else depends on a name.
 *
 * GPUs are counted in milli: a GPU has 1000, a fraction takes some of one. A GPU that is cut into
 * MIG instances has no milli free for fractions; it is itself again when the last instance goes.
 * Of a taking's CPU, memory and GPUs nothing is ever promised twice: dv_cluster_take() refuses.
 */
#ifndef DV_MODEL_CLUSTER_H
#define DV_MODEL_CLUSTER_H

#include "base/err.h"
#include "model/device.h"
#include "model/gpu_model.h"
#include "model/topology.h"

#include <stdbool.h>

#define DV_CLUSTER_GPUS_MAX 16u /* of a node; as in a topology */
#define DV_CLUSTER_MILLI 1000u  /* of a GPU */
#define DV_CLUSTER_NODES_MAX (UINT32_C(1) << 20)
#define DV_CLUSTER_MODELS_MAX 64u
#define DV_CLUSTER_SPECS_MAX 4096u
#define DV_CLUSTER_WISHES_MAX 4096u
#define DV_CLUSTER_NAME_SIZE 254                  /* a DNS subdomain */
#define DV_CLUSTER_CPU_MAX UINT32_C(100000000)    /* milli: 100,000 cores */
#define DV_CLUSTER_MEMORY_MAX (UINT32_C(1) << 30) /* MiB: 1 PiB */
#define DV_CLUSTER_NONE UINT32_MAX

/* A node as it is described; strings are copied. */
struct dv_cluster_node {
    const char *name;
    const char *order; /* what it is sorted by; NULL: its name */
    uint32_t cpu_milli, memory_mib;
    uint32_t gpus;           /* 0..DV_CLUSTER_GPUS_MAX, all of one model */
    const char *model;       /* NULL or "" only without GPUs */
    const char *rack, *zone; /* labels; NULL or "": unknown */
    uint32_t
        gpu_memory_mib; /* of each GPU; 0: as the catalogue says (gpu_model.h), if it knows it */
    bool no_mig;        /* its GPUs stay whole even where the catalogue's model can do MIG */
    enum dv_wall fraction_wall;         /* what holds a fraction here; NONE counts as COOPERATIVE */
    const struct dv_topology *topology; /* NULL: unknown; copied. Of `gpus` GPUs */
};

/* What changes of a node, in one line of cache. */
struct dv_cluster_state {
    uint32_t cpu_milli, memory_mib; /* free */
    uint32_t gpu_milli;             /* the sum of gpu[] */
    uint16_t mig;                   /* bit i: GPU i is cut into MIG instances */
    uint8_t n_gpus;
    uint8_t model;                     /* index of dv_cluster_model(); 0 also without GPUs */
    uint16_t gpu[DV_CLUSTER_GPUS_MAX]; /* free milli of each; 0 while cut, and beyond n_gpus */
};

/* What a node is made of and does not change. */
struct dv_cluster_fixed {
    const char *name;
    uint32_t cpu_milli, memory_mib; /* in all */
    uint32_t rack, zone;            /* dv_cluster_label(); 0: unknown */
    uint32_t gpu_memory_mib;        /* of each GPU; 0: unknown */
    uint32_t added;                 /* its place in the order of dv_cluster_add() */
    enum dv_wall fraction_wall;
    const struct dv_mig_geometry *mig;  /* NULL: no MIG */
    const struct dv_topology *topology; /* NULL: unknown */
};

/* How near the GPUs of one pod are to lie to each other. */
enum dv_cluster_near {
    DV_CLUSTER_NEAR_ANY,
    DV_CLUSTER_NEAR_NUMA,   /* all on one NUMA node */
    DV_CLUSTER_NEAR_NVLINK, /* all joined by NVLinks */
};

/* What a pod wants beyond sizes. All zero: nothing. */
struct dv_cluster_wish {
    enum dv_cluster_near near;
    bool near_required;        /* rather wait than lie apart */
    bool any_of;               /* a fraction, a MIG instance or a whole GPU: whichever holds it */
    enum dv_wall wall;         /* at least; NONE: as it comes */
    uint32_t gpu_memory_mib;   /* at least, on each GPU; 0: not said */
    char profile[DV_MIG_NAME]; /* a MIG instance of this profile on each GPU; "": none */
    uint32_t rack, zone;       /* only there; 0: anywhere */
};

struct dv_cluster_pod {
    uint32_t cpu_milli, memory_mib;
    uint8_t gpus;       /* 0..DV_CLUSTER_GPUS_MAX */
    uint16_t gpu_milli; /* of each, 1..1000 (1000: the whole GPU); 0 without GPUs */
    uint16_t spec;      /* allowed models: dv_cluster_spec(); 0: any */
    uint16_t wish;      /* dv_cluster_wish(); 0: none */
};

/* What a pod takes of a node, or took. */
struct dv_cluster_taking {
    uint32_t cpu_milli, memory_mib;
    uint16_t milli; /* of each GPU; 0 with MIG instances */
    uint8_t n;      /* GPUs */
    uint8_t gpus[DV_CLUSTER_GPUS_MAX];
    bool mig;        /* one instance on each: */
    uint8_t profile; /* index into the geometry's profiles */
    uint8_t starts[DV_CLUSTER_GPUS_MAX];
};

struct dv_cluster;

struct dv_cluster *dv_cluster_new(void); /* NULL: no memory */
void dv_cluster_free(struct dv_cluster *cluster);
void dv_cluster_freep(struct dv_cluster **cluster);
/* 0, -ENOMEM, -EINVAL, -E2BIG, -ENAMETOOLONG with a message. Before sealing only. */
int dv_cluster_add(struct dv_cluster *cluster, const struct dv_cluster_node *node,
                   struct dv_err *err);
/* 0, -ENOMEM, -EEXIST (two nodes of one name, or one order name) with a message. */
int dv_cluster_seal(struct dv_cluster *cluster, struct dv_err *err);
/* Everything free again; specs and wishes stay. */
void dv_cluster_reset(struct dv_cluster *cluster);

uint32_t dv_cluster_nodes(const struct dv_cluster *cluster);
const struct dv_cluster_state *dv_cluster_state(const struct dv_cluster *cluster, uint32_t node);
const struct dv_cluster_fixed *dv_cluster_fixed(const struct dv_cluster *cluster, uint32_t node);
/* DV_CLUSTER_NONE where there is none. */
uint32_t dv_cluster_find(const struct dv_cluster *cluster, const char *name);
/* Over all nodes. */
struct dv_cluster_sum {
    uint64_t cpu_milli, memory_mib, gpus, gpu_milli;
};
struct dv_cluster_sum dv_cluster_total(const struct dv_cluster *cluster);
struct dv_cluster_sum dv_cluster_free_now(const struct dv_cluster *cluster);

/* Models of the cluster's GPUs, sorted by name; NULL past the end. */
const char *dv_cluster_model(const struct dv_cluster *cluster, uint32_t model);
uint32_t dv_cluster_models(const struct dv_cluster *cluster);
/* A rack's or zone's name; "" of 0. */
const char *dv_cluster_label(const struct dv_cluster *cluster, uint32_t label);
/* DV_CLUSTER_NONE: no node has it. */
uint32_t dv_cluster_find_label(const struct dv_cluster *cluster, const char *name);

/* Allowed models as text, "V100M16|V100M32"; "" is any and gives 0. A model that no node has is
 * -ENOENT with a suggestion, unless `lax`: then it is allowed and never found. -E2BIG, -ENOMEM. */
int dv_cluster_spec(struct dv_cluster *cluster, const char *text, bool lax, uint16_t *ret,
                    struct dv_err *err);
const char *dv_cluster_spec_text(const struct dv_cluster *cluster, uint16_t spec);
/* Bit m: model m is allowed. */
uint64_t dv_cluster_spec_mask(const struct dv_cluster *cluster, uint16_t spec);
/* -E2BIG, -ENOMEM, -EINVAL with a message. */
int dv_cluster_wish(struct dv_cluster *cluster, const struct dv_cluster_wish *wish, uint16_t *ret,
                    struct dv_err *err);
const struct dv_cluster_wish *dv_cluster_wish_at(const struct dv_cluster *cluster, uint16_t wish);
/* Sizes in their bounds, a fraction of a GPU only with a GPU? 0, -EINVAL with a message. */
int dv_cluster_pod_check(const struct dv_cluster_pod *pod, struct dv_err *err);

/* The MIG instances of one GPU; 0 where it is not cut. */
size_t dv_cluster_instances(const struct dv_cluster *cluster, uint32_t node, uint32_t gpu,
                            struct dv_mig_instance ret[DV_MIG_INSTANCES_MAX]);

/* 0; -ENOSPC: not all of it is free, and nothing was taken; -EINVAL: no such GPU or profile;
 * -ENOMEM. */
int dv_cluster_take(struct dv_cluster *cluster, uint32_t node,
                    const struct dv_cluster_taking *taking);
/* What take() took, exactly. -EINVAL: it was not taken. */
int dv_cluster_give_back(struct dv_cluster *cluster, uint32_t node,
                         const struct dv_cluster_taking *taking);
/* The state after a taking that fits, without taking. */
void dv_cluster_after(const struct dv_cluster_state *state, const struct dv_cluster_taking *taking,
                      struct dv_cluster_state *ret);

#endif
