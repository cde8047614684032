/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fleet and what shall run on it, as somebody who buys or cuts GPUs states it: groups of cards of
 * one model, workloads of so many replicas alike. fleet_plan.h makes a plan of them.
 */
#ifndef DV_POLICY_FLEET_FLEET_H
#define DV_POLICY_FLEET_FLEET_H

#include "model/claim.h"
#include "model/gpu_model.h"
#include "model/tenant.h"
#include "policy/mode_choice.h"

#define DV_FLEET_NAME 64
#define DV_FLEET_WORKLOADS_MAX 1024u
#define DV_FLEET_GROUPS_MAX 32u
#define DV_FLEET_CARDS_MAX 100000u     /* of all groups together */
#define DV_FLEET_REPLICAS_MAX 1000000u /* of all workloads together, with headroom */
#define DV_FLEET_GPUS_MAX 1024u        /* of one replica */
#define DV_FLEET_MODELS_MAX 16u        /* that a workload names */
#define DV_FLEET_SHARE_MAX 256u        /* replicas on one shared device */
#define DV_FLEET_PER_NODE_MAX 64u
#define DV_FLEET_PRICE_MAX INT64_C(1000000000000) /* micros per hour: a million */
#define DV_FLEET_HOURS_PER_MONTH 730

/* Stated figures; docs/explanation/fleet-planning.md says why. */
#define DV_FLEET_CONTEXT_BYTES (400 * DV_MIB) /* of a model whose own figure is not known */

/* How a replica gets its part. MIG: a MIG device of its own; the last two also inside one. */
enum dv_fleet_mode {
    DV_FLEET_EXCLUSIVE = DV_SHARING_EXCLUSIVE, /* whole cards */
    DV_FLEET_MIG = DV_SHARING_MIG,
    DV_FLEET_MPS = DV_SHARING_MPS, /* one of n equal parts of a whole card */
    DV_FLEET_GOVERNED = DV_SHARING_GOVERNED,
    DV_FLEET_TIMESLICE = DV_SHARING_TIMESLICE,
    DV_FLEET_MODES = DV_SHARING_MODES,
};
#define DV_FLEET_BIT(mode) DV_SHARING_BIT(mode)
#define DV_FLEET_ANY DV_SHARING_ANY

enum dv_fleet_topology {
    DV_FLEET_NODE,   /* its GPUs on one node, where a node has so many; the default */
    DV_FLEET_NVLINK, /* the same, of models that have NVLink */
    DV_FLEET_SPREAD, /* its GPUs may be on several nodes */
};

struct dv_fleet_group {
    const struct dv_gpu_model *model;
    uint32_t count; /* cards that there are; of an open group: what it may grow to */
    bool open;      /* count was not said: as many as are needed */
    bool priced;    /* micros_per_hour is known */
    int64_t micros_per_hour;
    uint32_t per_node;     /* cards of a node, 1 .. DV_FLEET_PER_NODE_MAX */
    uint32_t slices_max;   /* replicas on one shared device; 0: DV_FLEET_SHARE_MAX */
    uint64_t memory_bytes; /* what tenants can have of a card; not 0 */
};

struct dv_fleet_workload {
    char name[DV_FLEET_NAME];
    uint32_t count;        /* replicas, at least 1 */
    uint32_t gpus;         /* whole GPUs of each replica; 0: a part of one */
    uint64_t memory_bytes; /* what the program allocates; 0: not said */
    uint32_t compute;      /* 1/7000 GPU; 0: not said */
    uint32_t busy;         /* mean utilization, 1/7000 GPU; 0: not said. Stands for compute */
    bool training, interactive;
    bool inference; /* serves requests, steadily */
    bool has_tier;
    enum dv_tier tier;
    enum dv_trust trust;
    enum dv_wall isolation; /* walls at least so strong, both; NONE: any */
    uint64_t p99_ns;        /* 0: none asked */
    enum dv_fleet_topology topology;
    uint32_t modes; /* DV_FLEET_BITs that the author takes; 0: any */
    uint32_t n_models;
    const struct dv_gpu_model *models[DV_FLEET_MODELS_MAX]; /* it runs on these only; none: any */
    bool context_said;
    uint64_t context_bytes; /* of each process; else the model's */
    uint32_t processes;     /* of each replica, at least 1 */
    bool has_headroom;
    uint32_t headroom; /* 1/7000 of its places that stay free, below 7000 */
};

struct dv_fleet {
    uint32_t n_groups, n_workloads;
    struct dv_fleet_group groups[DV_FLEET_GROUPS_MAX];
    struct dv_fleet_workload *workloads;
    uint32_t headroom; /* of workloads that say none */
    char currency[4];
};

/* "exclusive", "mig", "mps", "governed", "timeslice". */
const char *dv_fleet_mode_name(enum dv_fleet_mode mode);
/* 0, or -EINVAL with a message that suggests. */
int dv_fleet_mode_parse(const char *text, enum dv_fleet_mode *ret, struct dv_err *err);
/* "node", "nvlink", "spread". */
const char *dv_fleet_topology_name(enum dv_fleet_topology topology);
int dv_fleet_topology_parse(const char *text, enum dv_fleet_topology *ret, struct dv_err *err);

/* Places that a workload needs so that its headroom stays free: count / (1 - headroom), up. */
uint64_t dv_fleet_places(const struct dv_fleet *fleet, const struct dv_fleet_workload *workload);

/* Ranges and what contradicts itself. 0; -EINVAL, -ERANGE with a message; *ret_entry (may be NULL)
 * is then the group's number, the workload's plus n_groups, or DV_FLEET_WHOLE where the message is
 * about all of it. */
#define DV_FLEET_WHOLE UINT32_MAX
int dv_fleet_check(const struct dv_fleet *fleet, uint32_t *ret_entry, struct dv_err *err);

/* An empty one, in USD. NULL when memory is out. */
struct dv_fleet *dv_fleet_new(void);
void dv_fleet_free(struct dv_fleet *fleet);
void dv_fleet_freep(struct dv_fleet **fleet);

#endif
