/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a simulation of queues is asked: a cluster, queues, workloads with their times. Made by
 * hand, from a file (platform/fleetfile) or by name (shapes.h).
 */
#ifndef DV_SIMULATE_QUEUE_SCENARIO_H
#define DV_SIMULATE_QUEUE_SCENARIO_H

#include "policy/fair/fair.h"

#define DV_QUEUE_NAME 64
#define DV_QUEUE_JOBS_MAX 1000000u
#define DV_QUEUE_GROUPS_MAX 256u

struct dv_queue_nodes {
    char model[DV_FAIR_MODEL_SIZE]; /* of the catalogue of GPU models, or any other name */
    uint32_t count, gpus;
    uint32_t rack;      /* of the first node */
    uint32_t rack_size; /* nodes in a rack; 0: all in one */
};

struct dv_queue_def {
    char name[DV_QUEUE_NAME];
    struct dv_fair_queue conf; /* parent: index among queues + 1; 0: the root */
};

/* A workload, or `count` of them that come `every_ns`. */
struct dv_queue_jobs {
    char name[DV_QUEUE_NAME];
    struct dv_fair_spec spec; /* queue: index among queues; models: bits of `models` below */
    uint32_t count;
    uint64_t arrival_ns, every_ns;
    uint64_t duration_ns; /* with all its members; an elastic one with fewer takes longer */
    uint32_t line;        /* of the file, for messages; 0: none */
};

struct dv_queue_scenario {
    char name[DV_QUEUE_NAME];
    struct dv_fair_config config;
    uint64_t grace_ns; /* what victims take to go */
    uint64_t until_ns; /* nothing is looked at after this; DV_NEVER: to the end */
    struct dv_queue_nodes *nodes;
    struct dv_queue_def *queues;
    struct dv_queue_jobs *jobs;
    uint32_t n_nodes, n_queues, n_jobs;
    char (*models)[DV_FAIR_MODEL_SIZE]; /* of the requests' bits */
    uint32_t n_models;
};

/* Empty, with the defaults. NULL when memory is out. */
struct dv_queue_scenario *dv_queue_scenario_new(void);
void dv_queue_scenario_free(struct dv_queue_scenario *scenario);
void dv_queue_scenario_freep(struct dv_queue_scenario **scenario);

/* A zeroed further one, or NULL (memory, or too many). Pointers to others move. */
struct dv_queue_nodes *dv_queue_scenario_add_nodes(struct dv_queue_scenario *s);
struct dv_queue_def *dv_queue_scenario_add_queue(struct dv_queue_scenario *s, const char *name);
struct dv_queue_jobs *dv_queue_scenario_add_jobs(struct dv_queue_scenario *s, const char *name);
/* The bit of a model's name for a request. -E2BIG, -ENOMEM. */
int dv_queue_scenario_model(struct dv_queue_scenario *s, const char *name, uint32_t *ret_bit);

#endif
