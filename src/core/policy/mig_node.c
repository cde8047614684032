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

/* What is on a GPU and those after it, and what they could hold. */
struct rest {
    uint32_t have, spare_in_use; /* all of them; in use of profiles that nobody wants */
    uint32_t of[DV_MIG_NODE_PROFILES_MAX], in_use[DV_MIG_NODE_PROFILES_MAX];
    uint32_t slices, pieces;
};

/* Remainders of the wanted set, each with the least cost at which the GPUs so far leave it. */
struct layer {
    uint32_t *cost; /* by remainder; 0: not reached, else the cost and 1 */
    uint32_t *list; /* those that were reached */
    uint32_t n;
};

struct search {
    const struct dv_mig_node_gpu *gpus;
    const struct dv_mig_node_want *want;
    size_t n_gpus, n_want;
    uint32_t stride[DV_MIG_NODE_PROFILES_MAX];
    uint32_t slices[DV_MIG_NODE_PROFILES_MAX], pieces[DV_MIG_NODE_PROFILES_MAX]; /* at least */
    uint32_t states; /* remainders, by number: the sum of count * stride */
    struct rest rest[DV_MIG_NODE_GPUS_MAX + 1];
    struct option *options;
    size_t n_options[DV_MIG_NODE_GPUS_MAX]; /* of each GPU, OPTIONS_MAX apart */
    struct layer now, next;
    uint16_t *taken;      /* by GPU and remainder left: the option */
    uint32_t bound, over; /* costs beyond the bound are not looked at; the least of those */
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

/* ---- what the GPUs from one on must cost at least ---- */

static uint32_t least_of(const struct search *s, size_t p, bool pieces)
{
    uint32_t least = UINT32_MAX;
    for (size_t i = 0; i < s->n_gpus; i++) {
        const struct dv_mig_geometry *g = s->gpus[i].geometry;
        uint32_t profile = profile_named(g, s->want[p].profile);
        if (profile != UINT32_MAX)
            least = DV_MIN(least, pieces ? g->profiles[profile].size : g->profiles[profile].slices);
    }
    return least == UINT32_MAX ? 1 : least;
}

static void count_rest(struct search *s)
{
    for (size_t p = 0; p < s->n_want; p++) {
        s->slices[p] = least_of(s, p, false);
        s->pieces[p] = least_of(s, p, true);
    }
    for (size_t i = s->n_gpus; i-- > 0;) {
        const struct dv_mig_node_gpu *g = &s->gpus[i];
        struct rest *r = &s->rest[i];
        *r = s->rest[i + 1];
        r->have += (uint32_t)g->n_have;
        r->slices += g->geometry->slices;
        r->pieces += g->geometry->grid;
        for (size_t k = 0; k < g->n_have; k++) {
            const char *name = g->geometry->profiles[g->have[k].profile].name;
            size_t p = 0;
            while (p < s->n_want && strcmp(s->want[p].profile, name) != 0)
                p++;
            if (p == s->n_want) {
                r->spare_in_use += g->have[k].in_use;
                continue;
            }
            r->of[p]++;
            r->in_use[p] += g->have[k].in_use;
        }
    }
}

/* No more can be kept of a profile than is there and is wanted. NO_WAY: they cannot hold it. */
static uint32_t at_least(const struct search *s, size_t gpu, const uint32_t *left)
{
    const struct rest *r = &s->rest[gpu];
    uint32_t moved = r->have, blocked = r->spare_in_use, slices = 0, pieces = 0;
    for (size_t p = 0; p < s->n_want; p++) {
        moved += left[p];
        moved -= 2 * DV_MIN(r->of[p], left[p]);
        blocked += r->in_use[p] > left[p] ? r->in_use[p] - left[p] : 0;
        slices += left[p] * s->slices[p];
        pieces += left[p] * s->pieces[p];
    }
    if (slices > r->slices || pieces > r->pieces)
        return NO_WAY;
    return blocked * BLOCKED_UNIT + moved * MOVED_UNIT;
}

/* ---- GPU by GPU ---- */

static void reach(struct search *s, size_t gpu, uint32_t state, uint32_t cost, size_t option)
{
    uint32_t *known = &s->next.cost[state];
    if (*known && *known <= cost + 1)
        return;
    if (!*known)
        s->next.list[s->next.n++] = state;
    *known = cost + 1;
    s->taken[gpu * s->states + state] = (uint16_t)option;
}

/* What is left when the GPU takes this part; false: more than there is. */
static bool subtract(const struct search *s, const uint32_t *have, const struct option *o,
                     uint32_t *ret)
{
    for (size_t p = 0; p < s->n_want; p++) {
        if (o->count[p] > have[p])
            return false;
        ret[p] = have[p] - o->count[p];
    }
    return true;
}

/* The GPU takes each part of the remainder that it can. A path is followed as long as it can still
 * end within the bound, GPUs touched not counted: so none that is as good is lost. */
static void spread_state(struct search *s, size_t gpu, uint32_t state)
{
    const struct option *o = options_of(s, gpu);
    uint32_t have[DV_MIG_NODE_PROFILES_MAX], left[DV_MIG_NODE_PROFILES_MAX];
    for (size_t p = 0; p < s->n_want; p++)
        have[p] = state / s->stride[p] % (s->want[p].count + 1);
    for (size_t i = 0; i < s->n_options[gpu]; i++) {
        if (!subtract(s, have, &o[i], left))
            continue;
        uint32_t more = at_least(s, gpu + 1, left);
        if (more == NO_WAY)
            continue;
        uint32_t cost = s->now.cost[state] - 1 + o[i].cost;
        uint32_t sum = cost / MOVED_UNIT * MOVED_UNIT + more;
        if (sum > s->bound)
            s->over = DV_MIN(s->over, sum);
        else
            reach(s, gpu, state - o[i].step, cost, i);
    }
}

static void forget(struct layer *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        l->cost[l->list[i]] = 0;
    l->n = 0;
}

/* Is there a way within the bound? Then s->taken has the cheapest. */
static bool find_within(struct search *s)
{
    s->over = NO_WAY;
    forget(&s->now);
    s->now.cost[s->states - 1] = 1; /* all of it remains */
    s->now.list[s->now.n++] = s->states - 1;
    for (size_t gpu = 0; gpu < s->n_gpus; gpu++) {
        forget(&s->next);
        for (uint32_t i = 0; i < s->now.n; i++)
            spread_state(s, gpu, s->now.list[i]);
        struct layer swap = s->now;
        s->now = s->next;
        s->next = swap;
    }
    return s->now.cost[0] != 0;
}

/* Bounds from below: each the least cost that the last one cut off, and more on top of it from one
 * to the next, so that they are few. */
static bool find_cheapest(struct search *s)
{
    uint32_t all[DV_MIG_NODE_PROFILES_MAX];
    for (size_t p = 0; p < s->n_want; p++)
        all[p] = s->want[p].count;
    uint32_t more = 0;
    for (s->over = at_least(s, 0, all); s->over != NO_WAY; more = 2 * more + 1) {
        more = DV_MIN(more, BLOCKED_UNIT / MOVED_UNIT);
        s->bound = s->over + more * MOVED_UNIT;
        if (find_within(s))
            return true;
    }
    return false;
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
    count_rest(s);
    return find_cheapest(s) ? take(s, ret) : 0;
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

static int layer_init(struct layer *l, uint32_t states)
{
    l->n = 0;
    l->cost = calloc(states, sizeof *l->cost);
    l->list = calloc(states, sizeof *l->list);
    return l->cost && l->list ? 0 : -ENOMEM;
}

static void layer_done(struct layer *l)
{
    free(l->cost);
    free(l->list);
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
    s.taken = calloc(n_gpus * s.states, sizeof *s.taken);
    int now = layer_init(&s.now, s.states), next = layer_init(&s.next, s.states);
    r = change && s.options && s.taken ? 0 : -ENOMEM;
    r = r < 0 ? r : now;
    r = r < 0 ? r : next;
    if (r == 0) {
        change->n_gpus = (uint32_t)n_gpus;
        r = search_all(&s, change);
    }
    free(s.options);
    free(s.taken);
    layer_done(&s.now);
    layer_done(&s.next);
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
