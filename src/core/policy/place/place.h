/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a pod goes: one interface for all policies.
 *
 * A policy scores what a pod could take of one node; the highest score wins, of equals the one that
 * the policy's `before` prefers, then the node that comes first. It sees the cluster as it is, the
 * pod, and how often each kind of pod comes (popularity.h): no arrivals to come, no migration.
 *
 *     struct dv_place *p;
 *     r = dv_place_new(&(struct dv_place_config){.cluster = c, .policy =
 * dv_place_policy_find("fgd", NULL), .popularity = popularity}, &p, &err); r = dv_place_find(p,
 * &pod, &verdict);          1: nowhere, and the verdict says why r = dv_place_take(p, verdict.node,
 * &verdict.taking);
 *     ...
 *     r = dv_place_give_back(p, node, &taking);
 *
 * The engine keeps, for each kind of pod that was asked for lately, the score of every node, and
 * the best of them in a tree of winners. After a change only the changed node is scored anew, and
 * only when that kind is asked for again. All changes of the cluster go through take and give back
 * here.
 */
#ifndef DV_POLICY_PLACE_H
#define DV_POLICY_PLACE_H

#include "base/rng.h"
#include "model/cluster.h"
#include "policy/place/popularity.h"

struct dv_place;

/* Which GPU of a node a fraction may lie on (whole GPUs are alike: the lowest free ones). */
enum dv_place_gpu {
    DV_PLACE_GPU_BEST,     /* every GPU with room is scored, the best score, then the lowest GPU */
    DV_PLACE_GPU_TIGHTEST, /* the least free that fits, then the lowest GPU */
    DV_PLACE_GPU_LOWEST,   /* the lowest that fits */
    DV_PLACE_GPU_LOOSEST,  /* the most free, then the lowest */
    DV_PLACE_GPU_RANDOM,   /* any that fits; drawn when the node has been chosen */
};

/* What a policy is asked: this pod, on this node, taking this. */
struct dv_place_ask {
    const struct dv_place *place; /* dv_place_cluster(), dv_place_popularity() */
    uint32_t node;
    const struct dv_cluster_state *before; /* the node now */
    /* What is asked; of a wish for memory milli are as many as the memory takes. */
    const struct dv_cluster_pod *pod;
    const struct dv_cluster_taking *taking;
    uint32_t kind; /* of the pod: small numbers, for tables of a policy's own; see below */
};

#define DV_PLACE_KINDS_MAX 65536u

/* One reason of a score. */
#define DV_PLACE_TERMS_MAX 8u
struct dv_place_term {
    const char *name; /* of the policy's own: "stranded" */
    int64_t micro;    /* what it costs, in 1/1,000,000 GPU; negative: gains */
};

struct dv_place_policy {
    const char *name;    /* "fgd" */
    const char *summary; /* one line for people */
    enum dv_place_gpu gpu;
    bool random; /* any node that fits, all with the same chance; score is not asked */
    /* Of every how many placements `refresh` is called; 0: never. */
    uint32_t refresh_every;

    /* The policy's own state, from the cluster and the popularity in config. May be NULL with
     * done. 0, -ENOMEM, -EINVAL with a message. */
    int (*init)(const struct dv_place *place, void **ret_state, struct dv_err *err);
    void (*done)(void *state);
    /* Higher is better; in -2^50 .. 2^50. Depends on nothing but the ask, the state as
     * `refresh` and `init` left it, and what `changed` saw of this node: scores are kept. */
    int64_t (*score)(void *state, const struct dv_place_ask *ask);
    /* Of two nodes with equal scores for this pod: is a to be taken before b? Neither: the one with
     * the lower number. Sees their states now. NULL: neither. */
    bool (*before)(const void *state, const struct dv_place *place, uint32_t a, uint32_t b);
    /* The node has changed by this taking. NULL: no interest. */
    void (*changed)(void *state, uint32_t node, const struct dv_cluster_pod *pod,
                    const struct dv_cluster_taking *taking, bool taken);
    /* Looks at the cluster and the popularity again; true: all scores that were given are void.
     * Where only some are, dv_place_touch() says which, and it is false. */
    bool (*refresh)(void *state, struct dv_place *place);
    /* What the score of this ask is made of; up to DV_PLACE_TERMS_MAX, as many as returned. Here
     * ask->before may be another state than the node's. NULL: the policy has no terms. */
    size_t (*terms)(const void *state, const struct dv_place_ask *ask, struct dv_place_term *ret);
};

/* The policies there are, the default first; NULL past the end. */
const struct dv_place_policy *dv_place_policy_at(size_t i);
/* NULL with a message that suggests a name and lists all. */
const struct dv_place_policy *dv_place_policy_find(const char *name, struct dv_err *err);

struct dv_place_config {
    struct dv_cluster *cluster; /* sealed; borrowed, and changed by take and give back */
    const struct dv_place_policy *policy;
    /* Borrowed; may grow while it is learnt (dv_place_refresh() after). NULL: nothing is known. */
    const struct dv_popularity *popularity;
    /* What a policy wants to know beside these (numbers solved for beforehand); borrowed. Its type
     * is the policy's own. NULL: the policy does without. */
    const void *hint;
    uint64_t seed;
    /* Bytes for kept scores; 0: 1 GiB. Kinds of pods beyond it are scored over all nodes. */
    uint64_t cache_bytes;
};

/* The first thing that a node lacks, in this order. */
enum dv_place_lack {
    DV_PLACE_LACK_MODEL,      /* its GPUs are of no allowed model, or it has none */
    DV_PLACE_LACK_LABEL,      /* another rack or zone */
    DV_PLACE_LACK_SIZE,       /* too small even when empty: CPU, memory or number of GPUs */
    DV_PLACE_LACK_CPU,        /* not enough free */
    DV_PLACE_LACK_MEMORY,     /* of the node */
    DV_PLACE_LACK_GPU_COUNT,  /* too few GPUs that are wholly free, for whole ones */
    DV_PLACE_LACK_GPU_SHARE,  /* too few GPUs with that much free, for fractions */
    DV_PLACE_LACK_GPU_MEMORY, /* a whole GPU of it has less memory */
    DV_PLACE_LACK_WALL,       /* nothing there has so strong a wall */
    DV_PLACE_LACK_MIG,        /* no room for the instance beside those that are there */
    DV_PLACE_LACK_NEAR,       /* enough GPUs, but too far apart */
    DV_PLACE_LACKS,
};

/* "model", "label", "size", "cpu", "memory", "gpu_count", ...: stable, for JSON. */
const char *dv_place_lack_name(enum dv_place_lack lack);

struct dv_place_verdict {
    bool placed;
    uint32_t node; /* placed */
    struct dv_cluster_taking taking;
    int64_t score;
    /* 0: it takes what it needs; more: of its wishes a less sparing one (an instance that cuts
     * another GPU, a whole GPU), or GPUs that lie apart */
    uint32_t waste;
    uint32_t fitted; /* nodes where it would have gone */
    /* nodes by what they lack; with `fitted` they are all nodes */
    uint32_t lacks[DV_PLACE_LACKS];
    /* not placed: what lacks most often of what free room could cure, else most often at all */
    enum dv_place_lack reason;
};

/* The operands of a verdict: looked up over all nodes when somebody asks. */
struct dv_place_most {
    uint32_t cpu_milli, memory_mib; /* most free on one node */
    uint32_t gpus;                  /* most wholly free GPUs on one node, of allowed models */
    uint32_t gpu_milli;             /* most free on one GPU, of allowed models */
    uint32_t gpu_count;             /* most GPUs with the asked share free on one node */
};

/* 0, -ENOMEM, -EINVAL with a message. */
int dv_place_new(const struct dv_place_config *config, struct dv_place **ret, struct dv_err *err);
void dv_place_free(struct dv_place *place);
void dv_place_freep(struct dv_place **place);

/* 0: there is a node. 1: there is none. Nothing is taken. -ENOMEM; -EINVAL: the pod breaks
 * dv_cluster_pod_check(); -E2BIG: too many kinds of pods. */
int dv_place_find(struct dv_place *place, const struct dv_cluster_pod *pod,
                  struct dv_place_verdict *ret);
/* Errors as of dv_cluster_take(). Counts as a placement (refresh). */
int dv_place_take(struct dv_place *place, uint32_t node, const struct dv_cluster_pod *pod,
                  const struct dv_cluster_taking *taking);
/* Errors as of dv_cluster_give_back(). */
int dv_place_give_back(struct dv_place *place, uint32_t node, const struct dv_cluster_pod *pod,
                       const struct dv_cluster_taking *taking);
/* The popularity has changed: the policy looks again, scores are forgotten where it says so. */
void dv_place_refresh(struct dv_place *place);
/* For policies: what was scored of this node is void. */
void dv_place_touch(struct dv_place *place, uint32_t node);

/* The score of this node for this pod from scratch, past everything that is kept: for tests and for
 * explanations. 0, or 1: it lacks *ret_lack. */
int dv_place_score(struct dv_place *place, uint32_t node, const struct dv_cluster_pod *pod,
                   int64_t *ret_score, struct dv_cluster_taking *ret_taking,
                   enum dv_place_lack *ret_lack);
/* Why this taking on this node: as many terms as returned, 0 where the policy has none. `taken`: it
 * has been taken since, and is looked at as if it had not (but a GPU that is cut stays cut). */
size_t dv_place_terms(const struct dv_place *place, uint32_t node, const struct dv_cluster_pod *pod,
                      const struct dv_cluster_taking *taking, bool taken,
                      struct dv_place_term ret[DV_PLACE_TERMS_MAX]);
void dv_place_most(const struct dv_place *place, const struct dv_cluster_pod *pod,
                   struct dv_place_most *ret);

/* For policies. */
const struct dv_cluster *dv_place_cluster(const struct dv_place *place);
const struct dv_popularity *dv_place_popularity(const struct dv_place *place); /* may be NULL */
const void *dv_place_hint(const struct dv_place *place);

#endif
