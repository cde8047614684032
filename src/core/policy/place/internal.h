/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the engine share. */
#ifndef DV_POLICY_PLACE_INTERNAL_H
#define DV_POLICY_PLACE_INTERNAL_H

#include "policy/place/place.h"

/* A node that lacks something has this value plus the lack; all scores lie above. */
#define DV_PLACE_UNFIT INT64_MIN
#define DV_PLACE_SCORE_MIN (-(INT64_C(1) << 62))
/* What a way that wastes more is behind one that wastes less; more than any two scores differ. */
#define DV_PLACE_TIER (INT64_C(1) << 52)

/* Scores of all nodes for one kind of pod, and who wins. */
struct dv_place_tree {
    int64_t *values;   /* of each node */
    uint32_t *winners; /* [1, leaves): of the two below; [1] is the best of all */
    uint32_t n, leaves;
};

struct dv_place_kind {
    struct dv_cluster_pod pod;
    uint64_t mask; /* allowed models */
    struct dv_place_tree tree;
    bool built;
    uint64_t seen;  /* changes up to here are in the tree */
    uint64_t epoch; /* of the policy's scores in it */
    uint64_t asked; /* when last */
    uint32_t fitted, lacks[DV_PLACE_LACKS];
};

struct dv_place {
    struct dv_place_config config;
    struct dv_cluster *cluster;
    const struct dv_place_policy *policy;
    void *state; /* the policy's */
    uint32_t n;  /* nodes */
    struct dv_rng rng;

    struct dv_pod_kinds pods;    /* that were met; as many as kinds */
    struct dv_place_kind *kinds; /* by their numbers */
    uint32_t n_kinds, kinds_capacity, n_trees, trees_max;

    uint64_t changes;  /* of nodes, so far */
    uint32_t *log;     /* a ring of which nodes changed */
    uint32_t log_size; /* a power of two */
    uint64_t *last;    /* of each node: its latest change */
    uint64_t epoch, placements, asked;
};

/* Is a, with these values, to be taken rather than b? */
bool dv_place_better(const struct dv_place *place, const int64_t *values, uint32_t a, uint32_t b);

int dv_place_tree_init(struct dv_place_tree *tree, uint32_t n);
void dv_place_tree_done(struct dv_place_tree *tree);
/* All winners from the values. */
void dv_place_tree_build(const struct dv_place *place, struct dv_place_tree *tree);
/* The value of this node has changed. */
void dv_place_tree_update(const struct dv_place *place, struct dv_place_tree *tree, uint32_t node);

/* The node's value for this kind; what it would take, where it fits. `final`: it is chosen, so what
 * is drawn by chance is drawn now. */
int64_t dv_place_value(struct dv_place *place, uint32_t kind, uint32_t node, bool final,
                       struct dv_cluster_taking *ret);
/* Does the node lack CPU, memory or models? */
bool dv_place_lacks_plain(const struct dv_place *place, const struct dv_place_kind *k,
                          uint32_t node, enum dv_place_lack *ret);
/* What the policy gives for this taking by a pod of these sizes. */
int64_t dv_place_ask(struct dv_place *place, uint32_t kind, uint32_t node,
                     const struct dv_cluster_pod *pod, const struct dv_cluster_taking *taking);
/* The same of a fraction, on the GPU that the policy's rule or its score chooses. */
int64_t dv_place_fraction(struct dv_place *place, uint32_t kind, uint32_t node,
                          const struct dv_cluster_pod *pod, bool final,
                          struct dv_cluster_taking *taking);
/* The same as dv_place_value() for pods with wishes. */
int64_t dv_place_wish_value(struct dv_place *place, uint32_t kind, uint32_t node,
                            struct dv_cluster_taking *ret);
/* The n GPUs with at least that much free, tightest first, then lowest; false: too few. */
bool dv_place_tightest(const struct dv_cluster_state *state, uint32_t n, uint16_t milli,
                       uint8_t *ret_gpus);

/* ---- policies: each file gives its own ---- */
extern const struct dv_place_policy dv_place_own;
extern const struct dv_place_policy dv_place_fgd;
extern const struct dv_place_policy dv_place_best_fit, dv_place_dot_product, dv_place_packing,
    dv_place_clustering;
extern const struct dv_place_policy dv_place_first_fit, dv_place_spread, dv_place_random;

#endif
