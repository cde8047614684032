/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scenarios by name: those that other schedulers publish times for, and what these times are.
 *
 * Their times are of a whole system: API server, etcd, watching and binding, on other machines.
 * Ours are of the decisions alone. They say what there is to be gained, not that one program is so
 * many times faster than the other.
 */
#ifndef DV_SIMULATE_QUEUE_SHAPES_H
#define DV_SIMULATE_QUEUE_SHAPES_H

#include "simulate/queue/scenario.h"

struct dv_queue_published {
    const char *who; /* "KAI-Scheduler" */
    uint64_t ns;     /* for the whole shape, or for the one decision that it is about */
    const char *of;  /* what took so long, and where it is written */
};

struct dv_queue_shape {
    const char *name;
    const char *what;
    struct dv_queue_published published; /* who NULL: nobody */
};

/* NULL past the end. */
const struct dv_queue_shape *dv_queue_shape_at(size_t i);
/* NULL with a message that suggests a near name and lists all. */
const struct dv_queue_shape *dv_queue_shape_find(const char *name, struct dv_err *err);
/* 0, -ENOMEM. */
int dv_queue_shape_make(const struct dv_queue_shape *shape, struct dv_queue_scenario **ret);
/* Reclaim at any size, for benchmarks: 8 one-GPU workloads per node in a queue without guarantee,
 * then a gang of nodes / 10 members with 8 GPUs each. */
int dv_queue_shape_reclaim(uint32_t nodes, struct dv_queue_scenario **ret);

#endif
