/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/mig_node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Compared in one number: at most 16 GPUs of 16 instances each, 512 moved. */
#define BLOCKED_UNIT (UINT32_C(1) << 18)
#define MOVED_UNIT (UINT32_C(1) << 6)
#define NO_WAY UINT32_MAX
_Static_assert(DV_MIG_NODE_GPUS_MAX < MOVED_UNIT, "touched GPUs fit");
_Static_assert(2 * DV_MIG_NODE_GPUS_MAX * DV_MIG_INSTANCES_MAX * MOVED_UNIT < BLOCKED_UNIT,
               "moved fit");
_Static_assert(DV_MIG_NODE_GPUS_MAX *DV_MIG_INSTANCES_MAX < NO_WAY / BLOCKED_UNIT, "blocked fit");

#define OPTIONS_MAX 4096u

/* A part of the wanted set that a GPU can have. */
struct option {
    uint8_t count[DV_MIG_NODE_PROFILES_MAX];
    uint32_t step; /* what it takes from a remainder's number */
    uint32_t cost;
};

struct search {
    const struct dv_mig_node_gpu *gpus;
    const struct dv_mig_node_want *want;
    size_t n_gpus, n_want;
    uint32_t stride[DV_MIG_NODE_PROFILES_MAX];
    uint32_t states; /* remainders, by number: the sum of count * stride */
    struct option *options;
    size_t n_options[DV_MIG_NODE_GPUS_MAX]; /* of each GPU, OPTIONS_MAX apart */
    uint32_t *best, *next;                  /* cost of the GPUs so far, by remainder */
    uint16_t *taken;                        /* by GPU and remainder left: the option */
};

static struct option *options_of(const struct search *s, size_t gpu)
{
    return s->options + gpu * OPTIONS_MAX;
}

/* ---- what one GPU can have ---- */

static uint32_t profile_named(const struct dv_mig_geometry *g, const char *name)
{
    for (uint32_t i = 0; i < g->n_profiles; i++)
        if (!strcmp(g->profiles[i].name, name))
            return i;
    return UINT32_MAX;
}

static size_t list_part(const struct search *s, const struct dv_mig_geometry *g,
                        const uint8_t *count, struct dv_mig_instance *ret)
{
    size_t n = 0;
    for (size_t p = 0; p < s->n_want; p++)
        for (uint32_t k = 0; k < count[p]; k++)
            ret[n++] =
                (struct dv_mig_instance){profile_named(g, s->want[p].profile), DV_MIG_UNPLACED};
    return n;
}

static uint32_t cost_of(const struct dv_mig_change *c)
{
    uint32_t moved = c->destroyed + c->created;
    return c->blocked * BLOCKED_UNIT + moved * MOVED_UNIT + (moved != 0);
}

/* Whether the part fits, and as an option. 1: it does not. */
static int try_part(struct search *s, size_t gpu, const uint8_t *count, size_t n)
{
    const struct dv_mig_node_gpu *g = &s->gpus[gpu];
    struct dv_mig_instance want[DV_MIG_INSTANCES_MAX];
    struct dv_mig_change change;
    if (n > DV_MIG_INSTANCES_MAX)
        return 1;
    list_part(s, g->geometry, count, want);
    if (dv_mig_check(g->geometry, want, n, NULL) != DV_MIG_OK)
        return 1;
    int r = dv_mig_change_find(g->geometry, g->have, g->n_have, want, n, &change);
    if (r < 0)
        return r;
    if (change.rule != DV_MIG_OK)
        return 1;
    if (s->n_options[gpu] == OPTIONS_MAX)
        return -E2BIG;
    struct option *o = &options_of(s, gpu)[s->n_options[gpu]++];
    *o = (struct option){.cost = cost_of(&change)};
    memcpy(o->count, count, sizeof o->count);
    for (size_t p = 0; p < s->n_want; p++)
        o->step += count[p] * s->stride[p];
    return 0;
}

/* Every part of the wanted set from profile p on, beside what `count` has. What does not fit does
 * not fit with more either. Goes DV_MIG_NODE_PROFILES_MAX deep. */
static int find_options(struct search *s, size_t gpu, size_t p, uint8_t *count, size_t n)
{
    if (p == s->n_want)
        return 0;
    bool known = profile_named(s->gpus[gpu].geometry, s->want[p].profile) != UINT32_MAX;
    int r = find_options(s, gpu, p + 1, count, n);
    for (uint32_t k = 1; known && k <= s->want[p].count && r == 0; k++) {
        count[p] = (uint8_t)k;
        r = try_part(s, gpu, count, n + k);
        if (r == 0)
            r = find_options(s, gpu, p + 1, count, n + k);
    }
    count[p] = 0;
    return DV_MIN(r, 0);
}

static bool same_gpu(const struct dv_mig_node_gpu *a, const struct dv_mig_node_gpu *b)
{
    if (a->geometry != b->geometry || a->n_have != b->n_have)
        return false;
    for (size_t i = 0; i < a->n_have; i++)
        if (a->have[i].profile != b->have[i].profile || a->have[i].start != b->have[i].start ||
            a->have[i].in_use != b->have[i].in_use)
            return false;
    return true;
}

static int gpu_options(struct search *s, size_t gpu)
{
    uint8_t count[DV_MIG_NODE_PROFILES_MAX] = {0};
    for (size_t i = 0; i < gpu; i++)
        if (same_gpu(&s->gpus[i], &s->gpus[gpu])) {
            s->n_options[gpu] = s->n_options[i];
            memcpy(options_of(s, gpu), options_of(s, i),
                   s->n_options[i] * sizeof *options_of(s, i));
            return 0;
        }
    int r = try_part(s, gpu, count, 0);
    return r < 0 ? r : find_options(s, gpu, 0, count, 0);
}

/* ---- GPU by GPU ---- */

static bool fits_into(const struct search *s, const struct option *o, uint32_t state)
{
    for (size_t p = 0; p < s->n_want; p++)
        if (o->count[p] > state / s->stride[p] % (s->want[p].count + 1))
            return false;
    return true;
}

static void add_gpu(struct search *s, size_t gpu)
{
    uint16_t *taken = s->taken + gpu * s->states;
    const struct option *o = options_of(s, gpu);
    for (uint32_t left = 0; left < s->states; left++)
        s->next[left] = NO_WAY;
    for (uint32_t state = 0; state < s->states; state++)
        for (size_t i = 0; s->best[state] != NO_WAY && i < s->n_options[gpu]; i++) {
            uint32_t cost = s->best[state] + o[i].cost;
            if (o[i].step > state || !fits_into(s, &o[i], state) ||
                cost >= s->next[state - o[i].step])
                continue;
            s->next[state - o[i].step] = cost;
            taken[state - o[i].step] = (uint16_t)i;
        }
    uint32_t *swap = s->best;
    s->best = s->next;
    s->next = swap;
}

/* ---- the answer ---- */

static int take(struct search *s, struct dv_mig_node_change *ret)
{
    uint32_t left = 0;
    ret->feasible = true;
    for (size_t gpu = s->n_gpus; gpu-- > 0;) {
        const struct dv_mig_node_gpu *g = &s->gpus[gpu];
        const struct option *o = &options_of(s, gpu)[s->taken[gpu * s->states + left]];
        struct dv_mig_change *c = &ret->gpus[gpu].change;
        ret->gpus[gpu].n_want = (uint32_t)list_part(s, g->geometry, o->count, ret->gpus[gpu].want);
        int r = dv_mig_change_find(g->geometry, g->have, g->n_have, ret->gpus[gpu].want,
                                   ret->gpus[gpu].n_want, c);
        if (r < 0)
            return r;
        ret->blocked += c->blocked;
        ret->destroyed += c->destroyed;
        ret->created += c->created;
        ret->touched += c->destroyed + c->created != 0;
        left += o->step;
    }
    return 0;
}

static int search_all(struct search *s, struct dv_mig_node_change *ret)
{
    int r = 0;
    for (size_t gpu = 0; gpu < s->n_gpus && r == 0; gpu++)
        r = gpu_options(s, gpu);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < s->states; i++)
        s->best[i] = NO_WAY;
    s->best[s->states - 1] = 0; /* all of it remains */
    for (size_t gpu = 0; gpu < s->n_gpus; gpu++)
        add_gpu(s, gpu);
    return s->best[0] == NO_WAY ? 0 : take(s, ret);
}

static int count_states(struct search *s)
{
    uint64_t states = 1;
    for (size_t p = 0; p < s->n_want; p++) {
        for (size_t q = 0; q < p; q++)
            if (!strcmp(s->want[p].profile, s->want[q].profile))
                return -EINVAL;
        s->stride[p] = (uint32_t)states;
        states *= (uint64_t)s->want[p].count + 1;
        if (states > DV_MIG_NODE_REMAINDERS_MAX)
            return -E2BIG;
    }
    s->states = (uint32_t)states;
    return 0;
}

int dv_mig_node_find(const struct dv_mig_node_gpu *gpus, size_t n_gpus,
                     const struct dv_mig_node_want *want, size_t n_want,
                     struct dv_mig_node_change **ret)
{
    struct search s = {.gpus = gpus, .want = want, .n_gpus = n_gpus, .n_want = n_want};
    if (!n_gpus || n_gpus > DV_MIG_NODE_GPUS_MAX || n_want > DV_MIG_NODE_PROFILES_MAX)
        return -EINVAL;
    int r = count_states(&s);
    if (r < 0)
        return r;
    struct dv_mig_node_change *change = calloc(1, sizeof *change);
    s.options = calloc(n_gpus * OPTIONS_MAX, sizeof *s.options);
    s.best = calloc(s.states, sizeof *s.best);
    s.next = calloc(s.states, sizeof *s.next);
    s.taken = calloc(n_gpus * s.states, sizeof *s.taken);
    r = change && s.options && s.best && s.next && s.taken ? 0 : -ENOMEM;
    if (r == 0) {
        change->n_gpus = (uint32_t)n_gpus;
        r = search_all(&s, change);
    }
    free(s.options);
    free(s.best);
    free(s.next);
    free(s.taken);
    if (r < 0)
        free(change);
    else
        *ret = change;
    return r;
}

void dv_mig_node_free(struct dv_mig_node_change *change)
{
    free(change);
}
