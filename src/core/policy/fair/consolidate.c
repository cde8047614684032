/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room by moving. As much is free as a workload needs, but scattered: others are started anew
 * elsewhere so that it fits. Nobody is moved without a new place, and nothing is done unless the
 * workload then has all of its members. Node by node, where least is lost first.
 */
#include "policy/fair/fair_internal.h"

#include <errno.h>
#include <stdlib.h>

#define ITEMS 32u

/* A member that may move away from a node. */
struct item {
    uint32_t workload, member, node;
    uint8_t gpus;
    uint64_t cost;
};

struct spot {
    uint32_t node, first, n;
    uint64_t cost; /* of one more member of the workload here; UINT64_MAX: not possible */
    uint32_t items;
};

struct job {
    struct dv_fair *f;
    struct workload *w;
    struct item *items;
    uint32_t n_items;
    struct spot *spots;
    uint32_t n_spots;
    struct dv_fair_move *moves;
    uint32_t *member_of; /* of each move */
    uint32_t n_moves;
    uint32_t placed;
    uint64_t cost;
};

static int by_node(const void *x, const void *y)
{
    const struct item *a = x, *b = y;
    if (a->node != b->node)
        return a->node < b->node ? -1 : 1;
    if (a->workload != b->workload)
        return a->workload < b->workload ? -1 : 1;
    return a->member < b->member ? -1 : a->member > b->member;
}

static bool movable(const struct dv_fair *f, const struct workload *v, uint64_t now_ns)
{
    return v->state == DV_FAIR_RUNNING && !v->n_left && v->spec.movable && v->spec.preemptible &&
           v->spec.request.kind == DV_FAIR_WHOLE &&
           now_ns - v->started_ns >= f->queues[v->spec.queue].conf.min_runtime_ns;
}

static int list_items(struct job *j, uint64_t now_ns)
{
    struct dv_fair *f = j->f;
    size_t most = 1;
    for (uint32_t i = 0; i < f->n_running; i++)
        if (movable(f, &f->workloads[f->running[i]], now_ns))
            most += f->workloads[f->running[i]].members;
    j->items = malloc(most * sizeof *j->items);
    j->spots = malloc(most * sizeof *j->spots);
    j->moves = malloc(most * sizeof *j->moves);
    j->member_of = malloc(most * sizeof *j->member_of);
    if (!j->items || !j->spots || !j->moves || !j->member_of)
        return -ENOMEM;
    for (uint32_t i = 0; i < f->n_running; i++) {
        const struct workload *v = &f->workloads[f->running[i]];
        for (uint32_t m = 0; movable(f, v, now_ns) && m < v->members; m++) {
            uint16_t reserved = dv_fair_pool_reserved(f->pool, v->places[m].node);
            /* The whole workload starts anew when one member moves. */
            j->items[j->n_items++] =
                (struct item){f->running[i], m, v->places[m].node,
                              (uint8_t)__builtin_popcount(v->places[m].gpus & ~reserved),
                              dv_fair_cost(f, v, now_ns) * v->members};
        }
    }
    qsort(j->items, j->n_items, sizeof *j->items, by_node);
    return 0;
}

/* What one more member costs on this node. */
static void price(const struct job *j, struct spot *s)
{
    uint64_t cost[DV_FAIR_NODE_GPUS_MAX + 1];
    uint32_t items[DV_FAIR_NODE_GPUS_MAX + 1] = {0};
    uint32_t k = j->w->spec.request.gpus;
    uint32_t open = (uint32_t)__builtin_popcount(dv_fair_pool_free_mask(j->f->pool, s->node));
    uint32_t need = open < k ? k - open : 0;
    cost[0] = 0;
    for (uint32_t g = 1; g <= need; g++)
        cost[g] = UINT64_MAX;
    for (uint32_t i = 0; i < s->n && i < ITEMS; i++) {
        const struct item *item = &j->items[s->first + i];
        for (uint32_t g = need; item->gpus && g; g--) {
            uint32_t rest = g > item->gpus ? g - item->gpus : 0;
            uint64_t sum;
            if (cost[rest] == UINT64_MAX || __builtin_add_overflow(cost[rest], item->cost, &sum) ||
                sum >= cost[g])
                continue;
            cost[g] = sum;
            items[g] = items[rest] | 1u << i;
        }
    }
    s->cost = cost[need];
    s->items = items[need];
}

static void list_spots(struct job *j)
{
    for (uint32_t i = 0; i < j->n_items; i++) {
        if (!i || j->items[i].node != j->items[i - 1].node)
            j->spots[j->n_spots++] = (struct spot){.node = j->items[i].node, .first = i};
        j->spots[j->n_spots - 1].n++;
    }
    for (uint32_t i = 0; i < j->n_spots; i++)
        if (dv_fair_pool_suits(j->f->pool, j->spots[i].node, &j->w->spec.request))
            price(j, &j->spots[i]);
        else
            j->spots[i].cost = UINT64_MAX;
}

static int by_cost(const void *x, const void *y)
{
    const struct spot *a = x, *b = y;
    if (a->cost != b->cost)
        return a->cost < b->cost ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

/* ---- one spot ------------------------------------------------------------------------------- */

static bool move_away(struct job *j, const struct item *item)
{
    struct workload *v = &j->f->workloads[item->workload];
    struct dv_fair_place to;
    uint32_t rack =
        v->spec.request.one_rack ? dv_fair_pool_rack(j->f->pool, item->node) : DV_FAIR_ANY;
    if (!dv_fair_pool_take(j->f->pool, &v->spec.request, 1, 1, rack, false, &to))
        return false;
    j->member_of[j->n_moves] = item->member;
    j->moves[j->n_moves++] = (struct dv_fair_move){item->workload, v->places[item->member], to};
    return true;
}

/* Takes moves back from `from` on: their new places are free again, the old ones theirs. */
static void take_back(struct job *j, uint32_t from)
{
    while (j->n_moves > from) {
        struct dv_fair_move *m = &j->moves[--j->n_moves];
        const struct workload *v = &j->f->workloads[m->workload];
        dv_fair_pool_release(j->f->pool, &v->spec.request, &m->to);
    }
}

static void out(struct job *j, const struct spot *s, bool out)
{
    for (uint32_t i = 0; i < s->n && i < ITEMS; i++) {
        const struct item *item = &j->items[s->first + i];
        struct workload *v = &j->f->workloads[item->workload];
        if (!(s->items >> i & 1))
            continue;
        if (out)
            dv_fair_pool_release(j->f->pool, &v->spec.request, &v->places[item->member]);
        else
            dv_fair_pool_retake(j->f->pool, &v->spec.request, &v->places[item->member]);
    }
}

/* Clears the spot, takes it for a member, and finds new places for those who were there. */
static bool use_spot(struct job *j, const struct spot *s)
{
    const struct dv_fair_request *request = &j->w->spec.request;
    struct dv_fair_place *place = &j->w->places[j->placed];
    uint32_t before = j->n_moves;
    uint16_t open, got = 0;
    out(j, s, true);
    open = dv_fair_pool_free_mask(j->f->pool, s->node);
    for (uint32_t k = 0; k < request->gpus && open; k++) {
        got |= (uint16_t)(open & -open);
        open = (uint16_t)(open & (open - 1));
    }
    *place = (struct dv_fair_place){.node = s->node, .gpus = got};
    dv_fair_pool_retake(j->f->pool, request, place);
    bool moved = true;
    for (uint32_t i = 0; moved && i < s->n && i < ITEMS; i++)
        if (s->items >> i & 1)
            moved = move_away(j, &j->items[s->first + i]);
    if (moved) {
        j->placed++;
        j->cost += s->cost;
        return true;
    }
    take_back(j, before);
    dv_fair_pool_release(j->f->pool, request, place);
    out(j, s, false);
    return false;
}

/* ---- all --------------------------------------------------------------------------------------
 */

/* What already fits is taken first; then spots, cheapest first. */
static bool find_room(struct job *j)
{
    const struct dv_fair_spec *spec = &j->w->spec;
    uint32_t fit = dv_fair_pool_slots(j->f->pool, &spec->request, spec->min);
    j->placed = fit ? dv_fair_pool_take(j->f->pool, &spec->request, 1, fit, DV_FAIR_ANY, false,
                                        j->w->places)
                    : 0;
    list_spots(j);
    qsort(j->spots, j->n_spots, sizeof *j->spots, by_cost);
    for (uint32_t i = 0; i < j->n_spots && j->placed < spec->min; i++) {
        if (j->spots[i].cost == UINT64_MAX)
            return false;
        /* Those who moved here are no items of this spot: its price was made before. */
        price(j, &j->spots[i]);
        if (j->spots[i].cost != UINT64_MAX && j->spots[i].items)
            use_spot(j, &j->spots[i]);
    }
    return j->placed == spec->min;
}

static void undo(struct job *j)
{
    while (j->placed)
        dv_fair_pool_release(j->f->pool, &j->w->spec.request, &j->w->places[--j->placed]);
    uint32_t n = j->n_moves;
    take_back(j, 0);
    for (uint32_t i = 0; i < n; i++)
        dv_fair_pool_retake(j->f->pool, &j->f->workloads[j->moves[i].workload].spec.request,
                            &j->moves[i].from);
}

static int move_rooms(struct job *j)
{
    struct dv_fair *f = j->f;
    for (uint32_t i = 0; i < j->n_moves; i++) {
        struct workload *v = &f->workloads[j->moves[i].workload];
        if (!v->left && !(v->left = calloc(v->spec.max, sizeof *v->left)))
            return -ENOMEM;
    }
    return 0;
}

static void carry_out(struct job *j, uint32_t w, uint64_t now_ns, struct dv_fair_decision *ret)
{
    struct dv_fair *f = j->f;
    for (uint32_t i = 0; i < j->n_moves; i++) {
        struct dv_fair_move *m = &j->moves[i];
        struct workload *v = &f->workloads[m->workload];
        dv_fair_pool_leaving(f->pool, &m->from, 1);
        v->left[v->n_left++] = m->from;
        v->places[j->member_of[i]] = m->to;
    }
    for (uint32_t i = 0; i < j->n_moves; i++)
        dv_fair_run(f, j->moves[i].workload, now_ns);
    j->w->members = j->placed;
    dv_fair_started(f, w, now_ns, ret);
    free(f->moves);
    f->moves = j->moves;
    j->moves = NULL;
    ret->kind = DV_FAIR_MOVE;
    ret->moves = f->moves;
    ret->n_moves = j->n_moves;
    ret->cost_unit_ms = j->cost;
}

int dv_fair_consolidate(struct dv_fair *f, uint32_t w, uint64_t now_ns,
                        struct dv_fair_decision *ret)
{
    struct job j = {.f = f, .w = &f->workloads[w]};
    const struct dv_fair_spec *spec = &j.w->spec;
    uint32_t who;
    int r = -ENOENT;
    if (spec->request.kind != DV_FAIR_WHOLE || spec->request.one_rack ||
        dv_fair_pool_free_gpus(f->pool) < (uint64_t)spec->min * spec->request.gpus ||
        !dv_fair_quota(f, j.w, spec->min, f->kept.holder == w, &who))
        return -ENOENT;
    r = list_items(&j, now_ns);
    if (!r && (!j.n_items || !find_room(&j)))
        r = -ENOENT;
    if (!r)
        r = move_rooms(&j);
    if (!r)
        carry_out(&j, w, now_ns, ret);
    else if (j.moves)
        undo(&j);
    free(j.items);
    free(j.spots);
    free(j.moves);
    free(j.member_of);
    return r;
}
