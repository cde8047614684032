/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/advise/advise.h"

#include "policy/mig_plan.h"

#include <string.h>

#define MANY 7u         /* compute slices of a GPU: more tenants than these MIG cannot keep apart */
#define TURNS_MAX 4u    /* time-slices that suit a GPU */
#define CLIENTS_MAX 48u /* of an MPS server, since Volta */
#define GOVERNED_MAX 64u

const char *dv_advise_mode_name(enum dv_advise_mode mode)
{
    static const char *const names[] = {"none", "timeslice", "governed", "mps", "mig", "exclusive"};
    return names[mode];
}

const char *dv_advise_question_name(enum dv_advise_question question)
{
    static const char *const names[] = {
        "several_gpus", "training",    "more_than_a_gpu", "untrusted", "more_than_half",
        "mig_profile",  "latency_p99", "interactive",     "inference", "many_tenants"};
    return names[question];
}

const char *dv_advise_leaf_name(enum dv_advise_leaf leaf)
{
    static const char *const names[] = {
        "several_gpus",  "training",       "more_than_a_gpu", "untrusted_whole",
        "untrusted_mig", "more_than_half", "latency_mig",     "latency_mps",
        "interactive",   "many_tenants",   "inference_mig",   "inference_mps",
        "batch"};
    return names[leaf];
}

/* One question under way. */
struct asking {
    const struct dv_advise_want *want;
    struct dv_advise *ret;
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

/* A profile's memory; where no source gives it, its part of the grid. */
static uint64_t memory_of(const struct asking *a, const struct dv_mig_profile *p)
{
    const struct dv_mig_geometry *g = a->ret->gpu->mig;
    return p->memory_bytes ? p->memory_bytes : a->usable / g->grid * p->size;
}

/* The smallest plain profile that is less than the whole GPU and holds the workload. */
static const struct dv_mig_profile *find_profile(const struct asking *a)
{
    const struct dv_mig_geometry *g = a->ret->gpu->mig;
    const struct dv_mig_profile *best = NULL;
    for (uint32_t i = 0; g && i < g->n_profiles; i++) {
        const struct dv_mig_profile *p = &g->profiles[i];
        bool plain = p->media == DV_MIG_MEDIA_DEFAULT && !p->graphics && p->size < g->grid;
        bool holds =
            memory_of(a, p) >= a->want->memory_bytes && dv_mig_compute(g, p) >= a->want->compute;
        bool smaller =
            !best || p->size < best->size || (p->size == best->size && p->slices < best->slices);
        if (plain && holds && smaller)
            best = p;
    }
    return best;
}

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

static uint32_t gpus_of(const struct asking *a)
{
    const struct dv_advise_want *w = a->want;
    uint64_t n = w->gpus ? w->gpus : 1;
    if (a->usable && w->memory_bytes > n * a->usable)
        n = (w->memory_bytes + a->usable - 1) / a->usable;
    return (uint32_t)DV_MIN(n, 1u << 20);
}

static struct dv_advise_choice choose(const struct asking *a, enum dv_advise_mode mode)
{
    static const enum dv_wall walls[DV_ADVISE_MODES] = {
        [DV_ADVISE_TIMESLICE] = DV_WALL_NONE,     [DV_ADVISE_GOVERNED] = DV_WALL_COOPERATIVE,
        [DV_ADVISE_MPS] = DV_WALL_DRIVER,         [DV_ADVISE_MIG] = DV_WALL_HARDWARE,
        [DV_ADVISE_EXCLUSIVE] = DV_WALL_HARDWARE,
    };
    const struct dv_mig_geometry *g = a->ret->gpu->mig;
    struct dv_advise_choice c = {.mode = mode, .gpus = 1, .per_gpu = 1};
    uint64_t count = a->want->count ? a->want->count : 1;
    c.memory_wall = c.compute_wall = walls[mode];
    if (mode == DV_ADVISE_MIG && a->profile) {
        c.profile = a->profile;
        c.per_gpu = dv_mig_plan_free(g, NULL, 0, (uint32_t)(a->profile - g->profiles));
    } else if (mode == DV_ADVISE_MPS) {
        c.per_gpu = fit(a, CLIENTS_MAX);
    } else if (mode == DV_ADVISE_TIMESLICE) {
        c.per_gpu = fit(a, TURNS_MAX);
    } else if (mode == DV_ADVISE_GOVERNED) {
        c.percent = percent_of(a);
        c.per_gpu = DV_MIN(100 / c.percent, GOVERNED_MAX);
    } else if (mode == DV_ADVISE_EXCLUSIVE) {
        c.gpus = gpus_of(a);
    }
    c.per_gpu = DV_MAX(c.per_gpu, 1);
    /* Nobody said how much: as many as shall share it. */
    bool sized = a->want->memory_bytes || a->want->compute;
    if (!sized && a->want->tenants && (mode == DV_ADVISE_MPS || mode == DV_ADVISE_GOVERNED))
        c.per_gpu = DV_MIN(a->want->tenants, mode == DV_ADVISE_MPS ? CLIENTS_MAX : c.per_gpu);
    uint64_t needed = (count + c.per_gpu - 1) / c.per_gpu * c.gpus;
    c.gpus_needed = (uint32_t)DV_MIN(needed, UINT32_MAX);
    return c;
}

static void end(struct asking *a, enum dv_advise_leaf leaf, enum dv_advise_mode best,
                enum dv_advise_mode second)
{
    struct dv_advise *r = a->ret;
    r->leaf = leaf;
    r->best = choose(a, best);
    r->second = choose(a, second == DV_ADVISE_MIG && !a->profile ? DV_ADVISE_NONE : second);
    r->too_many = a->want->tenants > r->best.per_gpu;
}

/* ---- the tree ------------------------------------------------------------------------------- */

/* More than half of a GPU: a second one of its kind has no room beside it. What no MIG profile
 * below the whole holds is as much, on a card that has them. */
static bool is_large(const struct asking *a)
{
    const struct dv_advise_want *w = a->want;
    return (a->ret->gpu->mig && !a->profile) || w->compute > DV_COMPUTE_FULL / 2 ||
           (a->usable && w->memory_bytes > a->usable / 2);
}

/* Those who trust each other. */
static void among_friends(struct asking *a)
{
    const struct dv_advise_want *w = a->want;
    if (ask(a, DV_ADVISE_Q_LATENCY, w->p99_ns > 0)) {
        if (ask(a, DV_ADVISE_Q_HAS_PROFILE, a->profile != NULL))
            end(a, DV_ADVISE_L_LATENCY_MIG, DV_ADVISE_MIG, DV_ADVISE_GOVERNED);
        else
            end(a, DV_ADVISE_L_LATENCY_MPS, DV_ADVISE_MPS, DV_ADVISE_GOVERNED);
    } else if (ask(a, DV_ADVISE_Q_INTERACTIVE, w->kind == DV_ADVISE_INTERACTIVE)) {
        end(a, DV_ADVISE_L_INTERACTIVE, DV_ADVISE_GOVERNED, DV_ADVISE_TIMESLICE);
    } else if (!ask(a, DV_ADVISE_Q_INFERENCE, w->kind == DV_ADVISE_INFERENCE)) {
        end(a, DV_ADVISE_L_BATCH, DV_ADVISE_GOVERNED, DV_ADVISE_MIG);
    } else if (ask(a, DV_ADVISE_Q_MANY, w->tenants > MANY)) {
        end(a, DV_ADVISE_L_MANY, DV_ADVISE_MPS, DV_ADVISE_GOVERNED);
    } else if (ask(a, DV_ADVISE_Q_HAS_PROFILE, a->profile != NULL)) {
        end(a, DV_ADVISE_L_INFERENCE_MIG, DV_ADVISE_MIG, DV_ADVISE_MPS);
    } else {
        end(a, DV_ADVISE_L_INFERENCE_MPS, DV_ADVISE_MPS, DV_ADVISE_GOVERNED);
    }
}

void dv_advise(const struct dv_advise_want *want, struct dv_advise *ret)
{
    struct asking a = {.want = want, .ret = ret};
    *ret = (struct dv_advise){.gpu = want->gpu, .gpu_assumed = !want->gpu};
    if (!ret->gpu)
        ret->gpu = dv_gpu_model_find(DV_ADVISE_GPU, NULL);
    a.usable = dv_gpu_model_usable(ret->gpu);
    a.profile = find_profile(&a);
    /* A stranger's neighbour is a wall away; in a MIG device of his own a small training is too. */
    enum dv_advise_mode small = a.profile ? DV_ADVISE_MIG : DV_ADVISE_NONE;
    bool said = want->memory_bytes > 0;
    if (ask(&a, DV_ADVISE_Q_SEVERAL, want->gpus > 1))
        end(&a, DV_ADVISE_L_SEVERAL, DV_ADVISE_EXCLUSIVE, DV_ADVISE_NONE);
    else if (ask(&a, DV_ADVISE_Q_TRAINING, want->kind == DV_ADVISE_TRAINING))
        end(&a, DV_ADVISE_L_TRAINING, DV_ADVISE_EXCLUSIVE, said ? small : DV_ADVISE_NONE);
    else if (ask(&a, DV_ADVISE_Q_TOO_LARGE, a.usable && want->memory_bytes > a.usable))
        end(&a, DV_ADVISE_L_TOO_LARGE, DV_ADVISE_EXCLUSIVE, DV_ADVISE_NONE);
    else if (ask(&a, DV_ADVISE_Q_UNTRUSTED, want->untrusted)) {
        if (ask(&a, DV_ADVISE_Q_HAS_PROFILE, a.profile != NULL))
            end(&a, DV_ADVISE_L_STRANGER_MIG, DV_ADVISE_MIG, DV_ADVISE_EXCLUSIVE);
        else
            end(&a, DV_ADVISE_L_STRANGER_WHOLE, DV_ADVISE_EXCLUSIVE, DV_ADVISE_NONE);
    } else if (ask(&a, DV_ADVISE_Q_LARGE, is_large(&a))) {
        end(&a, DV_ADVISE_L_LARGE, DV_ADVISE_EXCLUSIVE, DV_ADVISE_GOVERNED);
    } else {
        among_friends(&a);
    }
}
