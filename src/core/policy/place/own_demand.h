/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes, beside the sizes: how much CPU and memory go with a GPU, which pods want many GPUs of
 * one node, which want certain models. Made of the popularity table by integer sums, so the order
 * in which kinds came does not matter.
 */
#ifndef DV_POLICY_PLACE_OWN_DEMAND_H
#define DV_POLICY_PLACE_OWN_DEMAND_H

#include "policy/place/popularity.h"

#define DV_OWN_LEVELS 4u      /* of CPU, for each number of GPUs */
#define DV_OWN_SHAPES_MAX 12u /* three numbers of GPUs */
#define DV_OWN_CLASSES_MAX 64u

/* Pods with n GPUs and up to this much CPU and memory: nodes are kept free for them. */
struct dv_own_shape {
    uint32_t gpus; /* 2, 4, 8; pods with another number count as the next */
    uint32_t cpu_milli, memory_mib;
    double share; /* of all GPUs asked for: by pods that want as many GPUs or more, and more CPU
                   * than the level below has */
};

/* Pods that are allowed certain models only. */
struct dv_own_class {
    uint64_t models; /* bit m */
    double share;    /* of all GPUs asked for */
};

struct dv_own_demand {
    double cpu_per_gpu;    /* milli; 0: nobody asks for GPUs */
    double memory_per_gpu; /* MiB */
    uint32_t n_shapes, n_classes;
    struct dv_own_shape shapes[DV_OWN_SHAPES_MAX]; /* by gpus, then cpu_milli */
    struct dv_own_class classes[DV_OWN_CLASSES_MAX];
};

/* popularity may be NULL: nothing is known. Classes beyond the limit, the rarest, are left out. */
int dv_own_demand_read(const struct dv_popularity *popularity, const struct dv_cluster *cluster,
                       struct dv_own_demand *ret);

#endif
