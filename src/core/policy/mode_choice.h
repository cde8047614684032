/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which ways of sharing a GPU a workload may be in, and which it had rather: one table, the first
 * line that applies counts. `divvy advise`, `divvy plan` and `divvy audit` all decide by it
 * (docs/explanation/mode-choice.md); each of them adds what it alone knows: one workload's size,
 * what a card holds, what was measured.
 *
 *     struct dv_mode_needs needs = {.trust = DV_TRUST_UNTRUSTED};
 *     dv_mode_choose(&needs, &choice);
 *     enum dv_sharing best = dv_mode_choice_next(choice.rule, choice.modes & possible);
 *
 * What always holds: no line lets an untrusted workload behind less than a driver's wall, or any
 * workload behind a weaker wall than it asks for.
 */
#ifndef DV_POLICY_MODE_CHOICE_H
#define DV_POLICY_MODE_CHOICE_H

#include "model/device.h"
#include "model/gpu_model.h"
#include "model/tenant.h"

/* Stated figures; docs/explanation/mode-choice.md says why. */
#define DV_MODE_TIGHT_NS (50 * DV_NS_PER_MS) /* a p99 below it needs compute of its own */
#define DV_MODE_INTERACTIVE_COMPUTE 700u     /* 1/7000 GPU: a notebook whose share is not said */
#define DV_MODE_MPS_CLIENTS                                                                        \
    48u /* of a daemon, Volta and later before r570: whatever the driver                           \
         */

enum dv_sharing {
    DV_SHARING_EXCLUSIVE, /* whole cards */
    DV_SHARING_MIG,       /* a MIG device of its own */
    DV_SHARING_MPS,
    DV_SHARING_GOVERNED,
    DV_SHARING_TIMESLICE,
    DV_SHARING_MODES,
};
#define DV_SHARING_BIT(mode) (1u << (mode))
#define DV_SHARING_ANY (DV_SHARING_BIT(DV_SHARING_MODES) - 1)

/* The walls around a slice in that mode on a driver without cgroup limits, MPS in equal parts: the
 * weaker of both. */
enum dv_wall dv_sharing_wall(enum dv_sharing mode);

struct dv_mode_needs {
    bool whole;    /* several GPUs, or asked for as whole ones */
    bool training; /* keeps a card busy and its memory full */
    enum dv_trust trust;
    enum dv_wall isolation; /* at least; NONE: not said. DRIVER: said of an untrusted one, too */
    uint64_t p99_ns;        /* 0: none asked */
    bool serves;            /* requests, steadily: many small kernels */
    bool latency_critical;
    bool interactive; /* people who think longer than they compute */
    bool best_effort;
    uint32_t takes; /* DV_SHARING_BITs that its author names; 0: said nothing */
};

enum dv_mode_rule {
    DV_MODE_RULE_WHOLE,
    DV_MODE_RULE_TRAINING,
    DV_MODE_RULE_UNTRUSTED,   /* strangers: hardware walls */
    DV_MODE_RULE_HARDWARE,    /* isolation: hardware */
    DV_MODE_RULE_DRIVER,      /* isolation: driver */
    DV_MODE_RULE_TAIL,        /* a p99 so low that nobody else's turn fits into it */
    DV_MODE_RULE_SERVES,      /* requests: run at the same time */
    DV_MODE_RULE_CRITICAL,    /* a p99, or latency-critical */
    DV_MODE_RULE_COOPERATIVE, /* isolation: cooperative */
    DV_MODE_RULE_INTERACTIVE,
    DV_MODE_RULE_BEST_EFFORT,
    DV_MODE_RULE_SHARE, /* the rest: an enforced fraction */
};
#define DV_MODE_RULES 12u
/* "isolation_hardware", for JSON. */
const char *dv_mode_rule_name(enum dv_mode_rule rule);

struct dv_mode_choice {
    enum dv_mode_rule rule;
    uint32_t modes; /* DV_SHARING_BITs; 0: what the author takes is not allowed */
    enum dv_sharing prefer;
    uint32_t allowed; /* by the rule alone */
};

void dv_mode_choose(const struct dv_mode_needs *needs, struct dv_mode_choice *ret);

/* The one of `among` (DV_SHARING_BITs) that the rule had rather; DV_SHARING_MODES: there is none.
 */
enum dv_sharing dv_mode_choice_next(enum dv_mode_rule rule, uint32_t among);

/* Training counts as such unless its author names other modes and not whole cards: he has thought
 * about it. */
bool dv_mode_is_training(const struct dv_mode_needs *needs);

/* How much of a GPU a workload takes, which counts beside the table. */
enum dv_mode_size {
    DV_MODE_SIZE_PART,  /* others like it fit beside it */
    DV_MODE_SIZE_HALF,  /* more than half of memory or compute: only smaller ones do */
    DV_MODE_SIZE_WHOLE, /* more than nine tenths of the memory, or more compute than the headroom
                         * leaves: nobody does */
};
/* usable_bytes: what tenants can have of the GPU; memory_bytes, compute: 1/7000 of it. 0: not
 * known, and does not count. headroom: 1/7000 that shall stay free. */
enum dv_mode_size dv_mode_size(uint64_t usable_bytes, uint64_t memory_bytes, uint32_t compute,
                               uint32_t headroom);

/* The smallest plain MIG profile (no media engines or graphics of its own) below the whole GPU that
 * holds so much; `usable_bytes`: what tenants can have of the GPU, for profiles whose memory no
 * source gives. NULL: none, or no MIG (`g` is NULL). */
const struct dv_mig_profile *dv_mode_profile(const struct dv_mig_geometry *g, uint64_t usable_bytes,
                                             uint64_t memory_bytes, uint32_t compute);

#endif
