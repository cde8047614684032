/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/advise/advise.h"

#include "policy/mig_plan.h"

#include <string.h>

#define SHARES_MAX 64u /* governed, or taking turns */

const char *dv_advise_mode_name(enum dv_advise_mode mode)
{
    static const char *const names[] = {"none", "timeslice", "governed", "mps", "mig", "exclusive"};
    return names[mode];
}

const char *dv_advise_question_name(enum dv_advise_question question)
{
    static const char *const names[] = {
        "several_gpus", "training",       "more_than_a_gpu", "untrusted",   "mig_profile",
        "tight_p99",    "more_than_half", "inference",       "latency_p99", "interactive"};
    return names[question];
}

const char *dv_advise_leaf_name(enum dv_advise_leaf leaf)
{
    static const char *const names[] = {"several_gpus",    "training",       "more_than_a_gpu",
                                        "untrusted_whole", "untrusted_mig",  "tight_p99_whole",
                                        "tight_p99_mig",   "more_than_half", "inference",
                                        "latency_p99",     "interactive",    "batch"};
    return names[leaf];
}

/* One question under way. */
struct asking {
    const struct dv_advise_want *want;
    struct dv_advise *ret;
    struct dv_mode_choice choice;
    uint64_t usable;                      /* memory of a GPU; 0: not known */
    const struct dv_mig_profile *profile; /* the smallest that holds the workload; NULL: none */
};

static bool ask(struct asking *a, enum dv_advise_question question, bool yes)
{
    struct dv_advise *r = a->ret;
    r->steps[r->n_steps].question = question;
    r->steps[r->n_steps++].yes = yes;
    return yes;
}

/* ---- what fits ------------------------------------------------------------------------------ */

/* How many of the workload's size a GPU holds, by memory and by compute; at most `max`. */
static uint32_t fit(const struct asking *a, uint32_t max)
{
    const struct dv_advise_want *w = a->want;
    uint64_t n = max;
    if (w->memory_bytes && a->usable)
        n = DV_MIN(n, a->usable / w->memory_bytes);
    if (w->compute)
        n = DV_MIN(n, (uint64_t)(DV_COMPUTE_FULL / w->compute));
    return n ? (uint32_t)n : 1;
}

/* The share that holds both its memory and its compute, in whole percents; with neither said, an
 * equal part. */
static uint32_t percent_of(const struct asking *a)
{
    const struct dv_advise_want *w = a->want;
    uint64_t percent = ((uint64_t)w->compute * 100 + DV_COMPUTE_FULL - 1) / DV_COMPUTE_FULL;
    if (w->memory_bytes && a->usable) {
        uint64_t of_memory = (w->memory_bytes / DV_MIB * 100 + a->usable / DV_MIB - 1) /
                             DV_MAX(a->usable / DV_MIB, 1);
        percent = DV_MAX(percent, of_memory);
    }
    if (!percent)
        percent = w->tenants ? 100 / w->tenants : 25;
    return (uint32_t)DV_MAX(DV_MIN(percent, 100), 1);
}

/* ---- answers -------------------------------------------------------------------------------- */

static const enum dv_advise_mode modes[DV_SHARING_MODES + 1] = {
    [DV_SHARING_EXCLUSIVE] = DV_ADVISE_EXCLUSIVE,
    [DV_SHARING_MIG] = DV_ADVISE_MIG,
    [DV_SHARING_MPS] = DV_ADVISE_MPS,
    [DV_SHARING_GOVERNED] = DV_ADVISE_GOVERNED,
    [DV_SHARING_TIMESLICE] = DV_ADVISE_TIMESLICE,
    [DV_SHARING_MODES] = DV_ADVISE_NONE,
};

static uint32_t gpus_of(const struct asking *a)
{
    const struct dv_advise_want *w = a->want;
    uint64_t n = w->gpus ? w->gpus : 1;
    if (a->usable && w->memory_bytes > n * a->usable)
        n = (w->memory_bytes + a->usable - 1) / a->usable;
    return (uint32_t)DV_MIN(n, 1u << 20);
}

static struct dv_advise_choice describe(const struct asking *a, enum dv_sharing sharing)
{
    enum dv_advise_mode mode = modes[sharing];
    const struct dv_mig_geometry *g = a->ret->gpu->mig;
    struct dv_advise_choice c = {.mode = mode, .gpus = 1, .per_gpu = 1};
    uint64_t count = a->want->count ? a->want->count : 1;
    if (mode == DV_ADVISE_NONE)
        return c;
    c.memory_wall = c.compute_wall = dv_sharing_wall(sharing);
    if (mode == DV_ADVISE_MIG && a->profile) {
        c.profile = a->profile;
        c.per_gpu = dv_mig_plan_free(g, NULL, 0, (uint32_t)(a->profile - g->profiles));
    } else if (mode == DV_ADVISE_MPS) {
        c.per_gpu = fit(a, DV_MODE_MPS_CLIENTS);
    } else if (mode == DV_ADVISE_TIMESLICE) {
        c.per_gpu = fit(a, SHARES_MAX);
    } else if (mode == DV_ADVISE_GOVERNED) {
        c.percent = percent_of(a);
        c.per_gpu = DV_MIN(100 / c.percent, SHARES_MAX);
    } else if (mode == DV_ADVISE_EXCLUSIVE) {
        c.gpus = gpus_of(a);
    }
    c.per_gpu = DV_MAX(c.per_gpu, 1);
    /* Nobody said how much: as many as shall share it. */
    bool sized = a->want->memory_bytes || a->want->compute;
    if (!sized && a->want->tenants && (mode == DV_ADVISE_MPS || mode == DV_ADVISE_GOVERNED))
        c.per_gpu =
            DV_MIN(a->want->tenants, mode == DV_ADVISE_MPS ? DV_MODE_MPS_CLIENTS : c.per_gpu);
    uint64_t needed = (count + c.per_gpu - 1) / c.per_gpu * c.gpus;
    c.gpus_needed = (uint32_t)DV_MIN(needed, UINT32_MAX);
    return c;
}

/* What can be had of this workload on this GPU. */
static uint32_t possible(const struct asking *a)
{
    return a->profile ? DV_SHARING_ANY : DV_SHARING_ANY & ~DV_SHARING_BIT(DV_SHARING_MIG);
}

static void end(struct asking *a, enum dv_advise_leaf leaf, enum dv_sharing best,
                enum dv_sharing second)
{
    struct dv_advise *r = a->ret;
    r->leaf = leaf;
    r->best = describe(a, best);
    r->second = describe(a, second);
    r->too_many = a->want->tenants > r->best.per_gpu;
}

/* The two that the table had rather. */
static void end_by_table(struct asking *a, enum dv_advise_leaf leaf)
{
    uint32_t modes_left = a->choice.modes & possible(a);
    enum dv_sharing best = dv_mode_choice_next(a->choice.rule, modes_left);
    modes_left &= ~DV_SHARING_BIT(best);
    end(a, leaf, best, dv_mode_choice_next(a->choice.rule, modes_left));
}

/* ---- the tree ------------------------------------------------------------------------------- */

/* A second one of its kind has no room beside it, and of others nothing is known here. What no MIG
 * profile below the whole holds is as much, on a card that has them: of some cards no more is known
 * than their profiles. */
static bool is_large(const struct asking *a)
{
    const struct dv_advise_want *w = a->want;
    return (a->ret->gpu->mig && !a->profile) ||
           dv_mode_size(a->usable, w->memory_bytes, w->compute, 0) >= DV_MODE_SIZE_HALF;
}

/* A card to itself; for who can do with half the time, a share of one. */
static void end_large(struct asking *a)
{
    bool governed = a->choice.modes & DV_SHARING_BIT(DV_SHARING_GOVERNED);
    end(a, DV_ADVISE_L_LARGE, DV_SHARING_EXCLUSIVE,
        governed ? DV_SHARING_GOVERNED : DV_SHARING_MODES);
}

/* In a MIG device of his own a small training is a wall away from others, too. */
static void end_training(struct asking *a)
{
    bool small = a->profile && a->want->memory_bytes;
    end(a, DV_ADVISE_L_TRAINING, DV_SHARING_EXCLUSIVE, small ? DV_SHARING_MIG : DV_SHARING_MODES);
}

/* Those who trust each other, and have the time to wait for each other. */
static void among_friends(struct asking *a)
{
    enum dv_mode_rule rule = a->choice.rule;
    if (ask(a, DV_ADVISE_Q_LARGE, is_large(a)))
        end_large(a);
    else if (ask(a, DV_ADVISE_Q_INFERENCE, rule == DV_MODE_RULE_SERVES))
        end_by_table(a, DV_ADVISE_L_INFERENCE);
    else if (ask(a, DV_ADVISE_Q_LATENCY, rule == DV_MODE_RULE_CRITICAL))
        end_by_table(a, DV_ADVISE_L_LATENCY);
    else if (ask(a, DV_ADVISE_Q_INTERACTIVE, rule == DV_MODE_RULE_INTERACTIVE))
        end_by_table(a, DV_ADVISE_L_INTERACTIVE);
    else
        end_by_table(a, DV_ADVISE_L_BATCH);
}

/* The way through the tree. Its questions are the rules, in their order, so that each is asked
 * until the one that applies. */
static void walk(struct asking *a)
{
    const struct dv_advise_want *w = a->want;
    enum dv_mode_rule rule = a->choice.rule;
    if (ask(a, DV_ADVISE_Q_SEVERAL, rule == DV_MODE_RULE_WHOLE)) {
        end_by_table(a, DV_ADVISE_L_SEVERAL);
    } else if (ask(a, DV_ADVISE_Q_TRAINING, rule == DV_MODE_RULE_TRAINING)) {
        end_training(a);
    } else if (ask(a, DV_ADVISE_Q_TOO_LARGE, a->usable && w->memory_bytes > a->usable)) {
        end(a, DV_ADVISE_L_TOO_LARGE, DV_SHARING_EXCLUSIVE, DV_SHARING_MODES);
    } else if (ask(a, DV_ADVISE_Q_UNTRUSTED, rule == DV_MODE_RULE_UNTRUSTED)) {
        bool mig = ask(a, DV_ADVISE_Q_HAS_PROFILE, a->profile != NULL);
        end_by_table(a, mig ? DV_ADVISE_L_STRANGER_MIG : DV_ADVISE_L_STRANGER_WHOLE);
    } else if (ask(a, DV_ADVISE_Q_TIGHT, rule == DV_MODE_RULE_TAIL)) {
        bool mig = ask(a, DV_ADVISE_Q_HAS_PROFILE, a->profile != NULL);
        end_by_table(a, mig ? DV_ADVISE_L_TIGHT_MIG : DV_ADVISE_L_TIGHT_WHOLE);
    } else {
        among_friends(a);
    }
}

static struct dv_mode_needs needs_of(const struct dv_advise_want *w)
{
    return (struct dv_mode_needs){
        .whole = w->gpus > 1,
        .training = w->kind == DV_ADVISE_TRAINING,
        .trust = w->untrusted ? DV_TRUST_UNTRUSTED : DV_TRUST_TRUSTED,
        .p99_ns = w->p99_ns,
        .serves = w->kind == DV_ADVISE_INFERENCE,
        .interactive = w->kind == DV_ADVISE_INTERACTIVE,
    };
}

void dv_advise(const struct dv_advise_want *want, struct dv_advise *ret)
{
    struct dv_advise_want w = *want;
    struct asking a = {.want = &w, .ret = ret};
    if (w.kind == DV_ADVISE_INTERACTIVE && !w.compute)
        w.compute = DV_MODE_INTERACTIVE_COMPUTE;
    *ret = (struct dv_advise){.gpu = w.gpu, .gpu_assumed = !w.gpu};
    if (!ret->gpu)
        ret->gpu = dv_gpu_model_find(DV_ADVISE_GPU, NULL);
    a.usable = dv_gpu_model_usable(ret->gpu);
    a.profile = dv_mode_profile(ret->gpu->mig, a.usable, w.memory_bytes, w.compute);
    struct dv_mode_needs needs = needs_of(&w);
    dv_mode_choose(&needs, &a.choice);
    walk(&a);
}
