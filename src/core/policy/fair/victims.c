/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fair/victims.h"

#include <errno.h>
#include <stdlib.h>

static int by_cheapness(const void *x, const void *y)
{
    const struct dv_fair_piece *a = x, *b = y;
    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    if (a->cost != b->cost)
        return a->cost < b->cost ? -1 : 1;
    if (a->over != b->over)
        return a->over > b->over ? -1 : 1;
    if (a->seq != b->seq)
        return a->seq > b->seq ? -1 : 1;
    return a->member > b->member ? -1 : a->member < b->member;
}

int dv_fair_victims_prepare(struct dv_fair_problem *p)
{
    struct dv_fair *f = p->f;
    size_t members = 0;
    qsort(p->pieces, p->n, sizeof *p->pieces, by_cheapness);
    for (uint32_t i = 0; i < p->n; i++)
        f->workloads[p->pieces[i].workload].first_piece = NONE;
    for (uint32_t i = 0; i < p->n; i++) {
        struct workload *v = &f->workloads[p->pieces[i].workload];
        if (v->first_piece != NONE)
            continue;
        v->first_piece = (uint32_t)members;
        members += v->members;
    }
    p->gone = calloc(members + 1, 1);
    p->evicted = calloc((size_t)f->n_queues * 3, sizeof *p->evicted);
    p->chosen = calloc(2 * (size_t)p->n + 1, sizeof *p->chosen);
    if (!p->gone || !p->evicted || !p->chosen)
        return -ENOMEM;
    p->evicted_line = p->evicted + f->n_queues;
    p->most = p->evicted_line + f->n_queues;
    p->best = p->chosen + p->n;
    return 0;
}

void dv_fair_victims_done(struct dv_fair_problem *p)
{
    free(p->gone);
    free(p->evicted);
    free(p->chosen);
}

/* ---- one piece ------------------------------------------------------------------------------ */

static void count(struct dv_fair_problem *p, const struct workload *v, uint64_t units, bool out)
{
    for (uint32_t i = v->spec.queue; i != NONE; i = p->f->queues[i].conf.parent)
        p->evicted[i] = out ? p->evicted[i] + units : p->evicted[i] - units;
}

static void release_member(struct dv_fair_problem *p, struct workload *v, uint32_t member)
{
    if (p->gone[v->first_piece + member]++)
        return;
    dv_fair_pool_release(p->f->pool, &v->spec.request, &v->places[member]);
    count(p, v, v->units, true);
}

static void retake_member(struct dv_fair_problem *p, struct workload *v, uint32_t member)
{
    if (--p->gone[v->first_piece + member])
        return;
    dv_fair_pool_retake(p->f->pool, &v->spec.request, &v->places[member]);
    count(p, v, v->units, false);
}

static void put_out(struct dv_fair_problem *p, uint32_t i, bool out)
{
    const struct dv_fair_piece *piece = &p->pieces[i];
    struct workload *v = &p->f->workloads[piece->workload];
    uint32_t from = piece->member == NONE ? 0 : piece->member;
    uint32_t to = piece->member == NONE ? v->members : piece->member + 1;
    for (uint32_t m = from; m < to; m++)
        if (out)
            release_member(p, v, m);
        else
            retake_member(p, v, m);
    p->chosen[i] = out;
}

/* Would the set still be allowed with this piece? */
static bool allowed(const struct dv_fair_problem *p, const struct dv_fair_piece *piece)
{
    if (piece->top == NONE)
        return true;
    for (uint32_t i = p->f->workloads[piece->workload].spec.queue;;
         i = p->f->queues[i].conf.parent) {
        const struct queue *q = &p->f->queues[i];
        uint64_t most = DV_MAX(p->most[i], piece->units);
        if (q->held <= p->lines[i] ||
            p->evicted_line[i] + piece->units - most >= q->held - p->lines[i])
            return false;
        if (i == piece->top)
            return true;
    }
}

/* Counts the piece towards its queues' lines. `was` keeps what is needed to undo it. */
static void count_line(struct dv_fair_problem *p, const struct dv_fair_piece *piece, uint64_t *was)
{
    if (piece->top == NONE)
        return;
    for (uint32_t k = 0, i = p->f->workloads[piece->workload].spec.queue;; k++) {
        p->evicted_line[i] += piece->units;
        if (was)
            was[k] = p->most[i];
        p->most[i] = DV_MAX(p->most[i], piece->units);
        if (i == piece->top)
            return;
        i = p->f->queues[i].conf.parent;
    }
}

static void uncount_line(struct dv_fair_problem *p, const struct dv_fair_piece *piece,
                         const uint64_t *was)
{
    if (piece->top == NONE)
        return;
    for (uint32_t k = 0, i = p->f->workloads[piece->workload].spec.queue;; k++) {
        p->evicted_line[i] -= piece->units;
        if (was)
            p->most[i] = was[k];
        if (i == piece->top)
            return;
        i = p->f->queues[i].conf.parent;
    }
}

/* was: as in count_line(). */
static bool add(struct dv_fair_problem *p, uint32_t i, uint64_t *was)
{
    if (p->chosen[i] || !allowed(p, &p->pieces[i]))
        return p->chosen[i];
    count_line(p, &p->pieces[i], was);
    put_out(p, i, true);
    return true;
}

static void clear(struct dv_fair_problem *p)
{
    for (uint32_t i = p->n; i--;)
        if (p->chosen[i])
            put_out(p, i, false);
    memset(p->evicted_line, 0, p->f->n_queues * sizeof *p->evicted_line);
    memset(p->most, 0, p->f->n_queues * sizeof *p->most);
}

static bool quotas_allow(const struct dv_fair_problem *p)
{
    const struct workload *w = p->w;
    bool holder = p->f->kept.holder != NONE && w == &p->f->workloads[p->f->kept.holder];
    uint64_t amount = (uint64_t)w->spec.min * w->units;
    for (uint32_t i = w->spec.queue; i != NONE; i = p->f->queues[i].conf.parent) {
        const struct queue *q = &p->f->queues[i];
        uint64_t kept = holder ? 0 : q->kept, kept_fixed = holder ? 0 : q->kept_fixed;
        if (q->held - p->evicted[i] + kept + amount > q->conf.limit)
            return false;
        if (!w->spec.preemptible && q->fixed + kept_fixed + amount > q->conf.guarantee)
            return false;
    }
    return true;
}

static bool sufficient(const struct dv_fair_problem *p)
{
    const struct dv_fair_spec *s = &p->w->spec;
    return quotas_allow(p) && dv_fair_pool_slots(p->f->pool, &s->request, s->min) >= s->min;
}

/* ---- in order ------------------------------------------------------------------------------- */

/* Adds pieces in their order until it suffices. */
static bool add_in_order(struct dv_fair_problem *p)
{
    for (uint32_t i = 0; i < p->max_priority_index; i++)
        if (!p->chosen[i] && add(p, i, NULL) && sufficient(p))
            return true;
    return false;
}

/* Leaves out what is not needed, the dearest first. */
static void leave_out(struct dv_fair_problem *p)
{
    for (uint32_t i = p->n; i--;) {
        if (!p->chosen[i])
            continue;
        put_out(p, i, false);
        if (!sufficient(p))
            put_out(p, i, true);
        else
            uncount_line(p, &p->pieces[i], NULL);
    }
}

/* Of the chosen: the highest priority, and what they cost. */
struct price {
    int32_t priority;
    uint64_t cost;
    uint32_t n;
};

static struct price price_of(const struct dv_fair_problem *p, const bool *set)
{
    struct price price = {INT32_MIN, 0, 0};
    for (uint32_t i = 0; i < p->n; i++) {
        if (!set[i])
            continue;
        price.priority = DV_MAX(price.priority, p->pieces[i].priority);
        if (__builtin_add_overflow(price.cost, p->pieces[i].cost, &price.cost))
            price.cost = UINT64_MAX;
        price.n++;
    }
    return price;
}

static bool cheaper(struct price a, struct price b)
{
    if (a.priority != b.priority)
        return a.priority < b.priority;
    return a.cost != b.cost ? a.cost < b.cost : a.n < b.n;
}

/* Keeps the chosen set if it is the best so far. */
static void keep_best(struct dv_fair_problem *p, bool *found)
{
    if (*found && !cheaper(price_of(p, p->chosen), price_of(p, p->best)))
        return;
    memcpy(p->best, p->chosen, p->n * sizeof *p->best);
    *found = true;
}

/* ---- node by node --------------------------------------------------------------------------- */

#define ITEMS 32u

struct entry {
    uint32_t node, piece;
    uint8_t gpus;
};

struct bid {
    uint32_t node, first, n; /* its entries */
    uint64_t cost;           /* of one more member here; UINT64_MAX: not possible */
    uint32_t items;          /* mask of its entries that pay for it */
    bool closed;
    uint32_t at; /* in the heap */
};

struct nodes {
    struct entry *entries;
    uint32_t n_entries;
    struct bid *bids;
    uint32_t n_bids;
    uint32_t *bid_of; /* per node of the pool */
    uint32_t *heap;   /* of bids, the cheapest first */
};

static int by_node(const void *x, const void *y)
{
    const struct entry *a = x, *b = y;
    if (a->node != b->node)
        return a->node < b->node ? -1 : 1;
    return a->piece < b->piece ? -1 : a->piece > b->piece;
}

/* The members that a piece surely frees: of a whole workload those that it cannot do without. */
static void members_of(const struct dv_fair_problem *p, uint32_t piece, uint32_t *from,
                       uint32_t *to)
{
    const struct dv_fair_piece *x = &p->pieces[piece];
    const struct workload *v = &p->f->workloads[x->workload];
    *from = x->member == NONE ? 0 : x->member;
    *to = x->member == NONE ? v->spec.min : x->member + 1;
}

static void list_entries(const struct dv_fair_problem *p, struct nodes *nodes)
{
    nodes->n_entries = 0;
    for (uint32_t i = 0; i < p->max_priority_index; i++) {
        const struct workload *v = &p->f->workloads[p->pieces[i].workload];
        uint32_t from, to;
        members_of(p, i, &from, &to);
        for (uint32_t m = from; v->spec.request.kind == DV_FAIR_WHOLE && m < to; m++)
            nodes->entries[nodes->n_entries++] = (struct entry){
                v->places[m].node, i,
                (uint8_t)__builtin_popcount(v->places[m].gpus &
                                            ~dv_fair_pool_reserved(p->f->pool, v->places[m].node))};
    }
    qsort(nodes->entries, nodes->n_entries, sizeof *nodes->entries, by_node);
    uint32_t n = 0;
    for (uint32_t i = 0; i < nodes->n_entries; i++) {
        struct entry *e = &nodes->entries[i];
        if (n && nodes->entries[n - 1].node == e->node && nodes->entries[n - 1].piece == e->piece)
            nodes->entries[n - 1].gpus = (uint8_t)(nodes->entries[n - 1].gpus + e->gpus);
        else
            nodes->entries[n++] = *e;
    }
    nodes->n_entries = n;
}

static void make_bids(const struct dv_fair_problem *p, struct nodes *nodes)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < nodes->n_entries; i++) {
        if (!i || nodes->entries[i].node != nodes->entries[i - 1].node) {
            nodes->bids[n] = (struct bid){.node = nodes->entries[i].node, .first = i};
            nodes->bid_of[nodes->entries[i].node] = n++;
        }
        nodes->bids[n - 1].n++;
    }
    nodes->n_bids = n;
}

/* The cheapest pieces of a node that free GPUs for one more member. */
static void bid(const struct dv_fair_problem *p, const struct nodes *nodes, struct bid *b)
{
    uint64_t cost[DV_FAIR_NODE_GPUS_MAX + 1];
    uint32_t items[DV_FAIR_NODE_GPUS_MAX + 1] = {0};
    uint32_t k = p->w->spec.request.gpus;
    uint32_t open = (uint32_t)__builtin_popcount(dv_fair_pool_free_mask(p->f->pool, b->node));
    uint32_t need = k - open % k;
    cost[0] = 0;
    for (uint32_t g = 1; g <= need; g++)
        cost[g] = UINT64_MAX;
    for (uint32_t i = 0; i < b->n && i < ITEMS; i++) {
        const struct entry *e = &nodes->entries[b->first + i];
        if (p->chosen[e->piece] || !e->gpus)
            continue;
        for (uint32_t g = need; g; g--) {
            uint32_t rest = g > e->gpus ? g - e->gpus : 0;
            uint64_t sum;
            if (cost[rest] == UINT64_MAX ||
                __builtin_add_overflow(cost[rest], p->pieces[e->piece].cost, &sum) ||
                sum >= cost[g])
                continue;
            cost[g] = sum;
            items[g] = items[rest] | 1u << i;
        }
    }
    b->cost = b->closed ? UINT64_MAX : cost[need];
    b->items = items[need];
}

/* ---- the bids in a heap: lower cost first, of equals the lower node ---- */

static bool goes_first(const struct bid *a, const struct bid *b)
{
    return a->cost != b->cost ? a->cost < b->cost : a->node < b->node;
}

static void put_at(struct nodes *nodes, uint32_t at, uint32_t bid)
{
    nodes->heap[at] = bid;
    nodes->bids[bid].at = at;
}

/* Finds a bid its place after its cost has changed. */
static void sift(struct nodes *nodes, uint32_t bid)
{
    const struct bid *b = &nodes->bids[bid];
    uint32_t at = b->at;
    for (; at && goes_first(b, &nodes->bids[nodes->heap[(at - 1) / 2]]); at = (at - 1) / 2)
        put_at(nodes, at, nodes->heap[(at - 1) / 2]);
    for (uint32_t child; (child = 2 * at + 1) < nodes->n_bids; at = child) {
        if (child + 1 < nodes->n_bids &&
            goes_first(&nodes->bids[nodes->heap[child + 1]], &nodes->bids[nodes->heap[child]]))
            child++;
        if (!goes_first(&nodes->bids[nodes->heap[child]], b))
            break;
        put_at(nodes, at, nodes->heap[child]);
    }
    put_at(nodes, at, bid);
}

/* Pays what a node's bid says; false, and nothing is paid, when a line forbids it. */
static bool pay(struct dv_fair_problem *p, const struct nodes *nodes, const struct bid *b)
{
    uint64_t was[ITEMS][DV_FAIR_DEPTH_MAX];
    uint32_t paid[ITEMS], n = 0;
    for (uint32_t i = 0; i < b->n && i < ITEMS; i++) {
        uint32_t piece = nodes->entries[b->first + i].piece;
        if (!(b->items >> i & 1) || p->chosen[piece])
            continue;
        if (add(p, piece, was[n])) {
            paid[n++] = piece;
            continue;
        }
        while (n) {
            piece = paid[--n];
            put_out(p, piece, false);
            uncount_line(p, &p->pieces[piece], was[n]);
        }
        return false;
    }
    return true;
}

/* New bids of all nodes that members of the paid pieces leave. */
static void bid_again(struct dv_fair_problem *p, struct nodes *nodes, const struct bid *b,
                      uint32_t items)
{
    for (uint32_t i = 0; i < b->n && i < ITEMS; i++) {
        uint32_t from, to, piece = nodes->entries[b->first + i].piece;
        if (!(items >> i & 1))
            continue;
        const struct workload *v = &p->f->workloads[p->pieces[piece].workload];
        members_of(p, piece, &from, &to);
        for (uint32_t m = from; m < to; m++) {
            struct bid *other = &nodes->bids[nodes->bid_of[v->places[m].node]];
            if (other->closed)
                continue;
            bid(p, nodes, other);
            sift(nodes, nodes->bid_of[v->places[m].node]);
        }
    }
}

static bool add_by_nodes(struct dv_fair_problem *p, struct nodes *nodes, uint32_t rack)
{
    const struct dv_fair_request *request = &p->w->spec.request;
    for (uint32_t i = 0; i < nodes->n_bids; i++) {
        uint32_t node = nodes->bids[i].node;
        nodes->bids[i].closed =
            !dv_fair_pool_suits(p->f->pool, node, request) ||
            (rack != DV_FAIR_ANY && dv_fair_pool_rack(p->f->pool, node) != rack);
        bid(p, nodes, &nodes->bids[i]);
    }
    for (uint32_t i = 0; i < nodes->n_bids; i++)
        put_at(nodes, i, i);
    for (uint32_t i = nodes->n_bids; i--;)
        sift(nodes, nodes->heap[i]);
    while (dv_fair_pool_slots(p->f->pool, request, p->w->spec.min) < p->w->spec.min) {
        struct bid *b = nodes->n_bids ? &nodes->bids[nodes->heap[0]] : NULL;
        if (!b || b->cost == UINT64_MAX)
            return false;
        uint32_t items = b->items;
        if (pay(p, nodes, b)) {
            bid_again(p, nodes, b, items);
        } else {
            b->closed = true;
            b->cost = UINT64_MAX;
            sift(nodes, nodes->heap[0]);
        }
    }
    return sufficient(p) || add_in_order(p);
}

static void try_nodes(struct dv_fair_problem *p, struct nodes *nodes, bool *found)
{
    uint32_t racks = 1;
    for (uint32_t i = 0; p->w->spec.request.one_rack && i < dv_fair_pool_nodes(p->f->pool); i++)
        racks = DV_MAX(racks, dv_fair_pool_rack(p->f->pool, i) + 1);
    for (uint32_t rack = 0; rack < racks; rack++) {
        if (add_by_nodes(p, nodes, p->w->spec.request.one_rack ? rack : DV_FAIR_ANY)) {
            leave_out(p);
            keep_best(p, found);
        }
        clear(p);
    }
}

static int by_nodes(struct dv_fair_problem *p, bool *found)
{
    size_t members = 1;
    for (uint32_t i = 0; i < p->max_priority_index; i++) {
        uint32_t from, to;
        members_of(p, i, &from, &to);
        members += to - from;
    }
    struct nodes nodes = {
        .entries = malloc(members * sizeof *nodes.entries),
        .bids = malloc(members * sizeof *nodes.bids),
        .bid_of = malloc((dv_fair_pool_nodes(p->f->pool) + 1) * sizeof *nodes.bid_of),
        .heap = malloc(members * sizeof *nodes.heap),
    };
    int r = nodes.entries && nodes.bids && nodes.bid_of && nodes.heap ? 0 : -ENOMEM;
    if (!r) {
        list_entries(p, &nodes);
        make_bids(p, &nodes);
        try_nodes(p, &nodes, found);
    }
    free(nodes.entries);
    free(nodes.bids);
    free(nodes.bid_of);
    free(nodes.heap);
    return r;
}

/* ---- all sets of a few ---------------------------------------------------------------------- */

static void search(struct dv_fair_problem *p, uint32_t i, struct price price, bool *found)
{
    uint64_t was[DV_FAIR_DEPTH_MAX];
    if (*found && !cheaper(price, price_of(p, p->best)))
        return;
    if (sufficient(p)) {
        keep_best(p, found);
        return;
    }
    if (i == p->n)
        return;
    const struct dv_fair_piece *piece = &p->pieces[i];
    if (allowed(p, piece)) {
        struct price with = {DV_MAX(price.priority, piece->priority), price.cost + piece->cost,
                             price.n + 1};
        count_line(p, piece, was);
        put_out(p, i, true);
        search(p, i + 1, with, found);
        put_out(p, i, false);
        uncount_line(p, piece, was);
    }
    search(p, i + 1, price, found);
}

/* ---- the answer -------------------------------------------------------------------------------
 */

static int search_many(struct dv_fair_problem *p, bool *found)
{
    p->max_priority_index = p->n;
    if (add_in_order(p)) {
        /* No higher priority than needed: the pieces beyond are out of the game. */
        uint32_t last = 0;
        for (uint32_t i = 0; i < p->n; i++)
            last = p->chosen[i] ? i : last;
        while (p->max_priority_index > last + 1 &&
               p->pieces[p->max_priority_index - 1].priority > p->pieces[last].priority)
            p->max_priority_index--;
        leave_out(p);
        keep_best(p, found);
    }
    clear(p);
    return p->w->spec.request.kind == DV_FAIR_WHOLE ? by_nodes(p, found) : 0;
}

int dv_fair_victims_find(struct dv_fair_problem *p)
{
    bool found = false;
    int r = search_many(p, &found);
    if (r < 0)
        return r;
    if (p->n <= DV_FAIR_EXACT)
        search(p, 0, (struct price){INT32_MIN, 0, 0}, &found);
    if (!found)
        return -ENOENT;
    for (uint32_t i = 0; i < p->n; i++)
        if (p->best[i])
            put_out(p, i, true);
    return 0;
}

void dv_fair_victims_undo(struct dv_fair_problem *p)
{
    for (uint32_t i = p->n; i--;)
        if (p->chosen[i])
            put_out(p, i, false);
}
