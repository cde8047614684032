/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which way of sharing a GPU suits a workload: a tree of questions, the way through it, and what
 * the workload then gets.
 *
 *     struct dv_advise_want want = {.memory_bytes = 10 * DV_GIB, .untrusted = true};
 *     dv_advise(&want, &advice);
 *     advice.best.mode == DV_ADVISE_MIG, advice.best.profile->name, advice.steps[...]
 *
 * What holds for every answer, and is tested for all:
 *   - an untrusted workload gets hardware walls, in both answers;
 *   - asking for more (training, more GPUs, memory, compute, a latency, less trust) never gives a
 *     weaker wall;
 *   - a card without MIG is never told to use it.
 *
 * Which modes suit is the table of policy/mode_choice.h, which `divvy plan` and `divvy audit` use
 * too; the tree asks what leads to a line of it, in the table's order. Its own are the questions of
 * size: more than a GPU, more than half of one, a MIG profile that holds it. The words are in
 * render/advise_text.h. What holds each mode's tenants: docs/explanation/walls.md.
 */
#ifndef DV_POLICY_ADVISE_ADVISE_H
#define DV_POLICY_ADVISE_ADVISE_H

#include "model/device.h"
#include "model/gpu_model.h"
#include "policy/mode_choice.h"

enum dv_advise_kind {
    DV_ADVISE_BATCH, /* or not said */
    DV_ADVISE_TRAINING,
    DV_ADVISE_INFERENCE,
    DV_ADVISE_INTERACTIVE,
};
#define DV_ADVISE_KINDS 4u

struct dv_advise_want {
    enum dv_advise_kind kind;
    uint64_t memory_bytes; /* 0: not said */
    uint32_t compute;      /* 1/7000 of a GPU, up to 7000; 0: not said */
    uint64_t p99_ns;       /* 0: no target */
    bool untrusted;
    uint32_t tenants;               /* who have to share one GPU; 0: not said */
    uint32_t gpus;                  /* of one workload; 0 and 1 are one */
    uint32_t count;                 /* workloads alike; 0 is one */
    const struct dv_gpu_model *gpu; /* NULL: DV_ADVISE_GPU is taken */
};
#define DV_ADVISE_GPU "A100-80GB"

enum dv_advise_mode {
    DV_ADVISE_NONE, /* there is no second answer */
    DV_ADVISE_TIMESLICE,
    DV_ADVISE_GOVERNED,
    DV_ADVISE_MPS,
    DV_ADVISE_MIG,
    DV_ADVISE_EXCLUSIVE,
};
#define DV_ADVISE_MODES 6u
/* "none", "timeslice", "governed", "mps", "mig", "exclusive". */
const char *dv_advise_mode_name(enum dv_advise_mode mode);

struct dv_advise_choice {
    enum dv_advise_mode mode;
    enum dv_wall memory_wall, compute_wall;
    const struct dv_mig_profile *profile; /* MIG; else NULL */
    uint32_t gpus;                        /* whole GPUs of one workload; EXCLUSIVE; else 1 */
    uint32_t percent;                     /* of a GPU, for one workload: GOVERNED; else 0 */
    uint32_t per_gpu;                     /* workloads on one GPU, at least 1 */
    uint32_t gpus_needed;                 /* for all of them */
};

enum dv_advise_question {
    DV_ADVISE_Q_SEVERAL, /* more than one GPU? */
    DV_ADVISE_Q_TRAINING,
    DV_ADVISE_Q_TOO_LARGE, /* more memory than a GPU has? */
    DV_ADVISE_Q_UNTRUSTED,
    DV_ADVISE_Q_HAS_PROFILE, /* has the GPU a MIG profile for it? */
    DV_ADVISE_Q_TIGHT,       /* a latency below DV_MODE_TIGHT_NS? */
    DV_ADVISE_Q_LARGE,       /* more than half of a GPU? */
    DV_ADVISE_Q_INFERENCE,
    DV_ADVISE_Q_LATENCY,
    DV_ADVISE_Q_INTERACTIVE,
};
#define DV_ADVISE_QUESTIONS 10u
const char *dv_advise_question_name(enum dv_advise_question question);

/* Where the tree ends. */
enum dv_advise_leaf {
    DV_ADVISE_L_SEVERAL,
    DV_ADVISE_L_TRAINING,
    DV_ADVISE_L_TOO_LARGE,
    DV_ADVISE_L_STRANGER_WHOLE, /* no MIG, or nothing of it is large enough */
    DV_ADVISE_L_STRANGER_MIG,
    DV_ADVISE_L_TIGHT_WHOLE,
    DV_ADVISE_L_TIGHT_MIG,
    DV_ADVISE_L_LARGE,
    DV_ADVISE_L_INFERENCE,
    DV_ADVISE_L_LATENCY,
    DV_ADVISE_L_INTERACTIVE,
    DV_ADVISE_L_BATCH,
};
#define DV_ADVISE_LEAVES 12u
const char *dv_advise_leaf_name(enum dv_advise_leaf leaf);

#define DV_ADVISE_STEPS_MAX DV_ADVISE_QUESTIONS
struct dv_advise {
    const struct dv_gpu_model *gpu;
    bool gpu_assumed;
    enum dv_advise_leaf leaf;
    struct dv_advise_choice best, second;
    struct {
        enum dv_advise_question question;
        bool yes;
    } steps[DV_ADVISE_STEPS_MAX];
    uint32_t n_steps;
    /* `tenants` do not fit on one GPU that way; best.per_gpu do. */
    bool too_many;
};

void dv_advise(const struct dv_advise_want *want, struct dv_advise *ret);

#endif
