/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_cards.h"

#include "policy/mig_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct node {
    uint32_t size, used;
};

struct layer {
    const struct dv_fleet_view *view;
    struct dv_fleet_solution *found;
    struct dv_fleet_plan *plan;
    const uint64_t *places;
    uint64_t *placed; /* of each workload */
    uint32_t max_slices;
    uint32_t n_nodes, first_free; /* of the side at hand; none before first_free has room */
    struct node *nodes;
};

/* ---- nodes ---- */

static int start_side(struct layer *l, uint32_t side)
{
    const struct dv_fleet_group *g = &l->view->fleet->groups[side];
    uint64_t cards = g->open ? 0 : g->count;
    for (uint32_t i = 0; g->open && i < l->found->n_uses; i++) {
        const struct dv_fleet_pattern *p = &l->found->patterns[l->found->uses[i].pattern];
        /* An open group has a node for every replica with several GPUs, if need be. */
        if (p->side == side)
            cards += (uint64_t)l->found->uses[i].times *
                     (p->cards > 1 ? (p->cards + g->per_node - 1) / g->per_node * g->per_node : 1);
    }
    free(l->nodes);
    l->n_nodes = (uint32_t)((cards + g->per_node - 1) / g->per_node);
    l->first_free = 0;
    l->nodes = calloc(l->n_nodes + 1, sizeof *l->nodes);
    if (!l->nodes)
        return -ENOMEM;
    for (uint32_t i = 0; i < l->n_nodes; i++) {
        l->nodes[i].size = (uint32_t)DV_MIN((uint64_t)g->per_node, cards);
        cards -= l->nodes[i].size;
    }
    return 0;
}

/* The node with the least room that is enough, or n_nodes. */
static uint32_t find_node(const struct layer *l, uint32_t cards)
{
    uint32_t best = l->n_nodes, least = UINT32_MAX;
    for (uint32_t i = l->first_free; i < l->n_nodes; i++) {
        uint32_t room = l->nodes[i].size - l->nodes[i].used;
        if (room >= cards && room < least) {
            best = i;
            least = room;
        }
        if (room == cards)
            break;
    }
    return best;
}

/* ---- cards ---- */

static int add_slice(struct layer *l, const struct dv_fleet_slice *slice)
{
    struct dv_fleet_plan *p = l->plan;
    if (p->n_slices == l->max_slices) {
        uint32_t max = l->max_slices ? l->max_slices * 2 : 64;
        struct dv_fleet_slice *more = realloc(p->slices, max * sizeof *more);
        if (!more)
            return -ENOMEM;
        p->slices = more;
        l->max_slices = max;
    }
    p->slices[p->n_slices++] = *slice;
    return 0;
}

/* What one replica has of a device. */
static void set_size(const struct layer *l, const struct dv_fleet_pattern *pattern,
                     struct dv_fleet_slice *slice)
{
    const struct dv_fleet_side *side = &l->view->sides[pattern->side];
    const struct dv_fleet_device *d = &pattern->devices[slice->device];
    const struct dv_fleet_kind *kind = &side->kinds[d->kind];
    slice->memory_bytes = kind->memory_bytes;
    slice->compute = kind->compute;
    if (d->mode == DV_FLEET_GOVERNED || d->mode == DV_FLEET_TIMESLICE) {
        const struct dv_fleet_need *need =
            &l->view->shared[(size_t)pattern->side * l->view->n_workloads + slice->workload];
        slice->memory_bytes = need->memory_bytes;
        slice->compute = need->compute;
    }
}

static int add_replica(struct layer *l, const struct dv_fleet_pattern *pattern, uint32_t workload,
                       uint32_t device)
{
    uint64_t replica = l->placed[workload];
    struct dv_fleet_slice s = {.workload = workload,
                               .replica = (uint32_t)replica,
                               .device = device,
                               .spare = replica >= l->view->fleet->workloads[workload].count};
    set_size(l, pattern, &s);
    return add_slice(l, &s);
}

static int add_left_over(struct layer *l, const struct dv_fleet_pattern *pattern, uint32_t device)
{
    const struct dv_fleet_kind *k =
        &l->view->sides[pattern->side].kinds[pattern->devices[device].kind];
    struct dv_fleet_slice left = {.workload = DV_FLEET_NOBODY,
                                  .device = device,
                                  .memory_bytes = k->memory_bytes,
                                  .compute = k->compute};
    return add_slice(l, &left);
}

/* The slices of a card; a MIG device that nobody is left for is there all the same. */
static int add_slices(struct layer *l, const struct dv_fleet_pattern *pattern, bool counts,
                      bool *ret_any)
{
    bool on[DV_MIG_INSTANCES_MAX] = {false};
    int r = 0;
    *ret_any = false;
    for (uint32_t d = 0; !r && d < pattern->n_devices; d++) {
        for (uint32_t i = 0; !r && i < pattern->n_items; i++) {
            const struct dv_fleet_item *item = &pattern->items[i];
            uint32_t w = item->workload;
            for (uint32_t c = 0; !r && item->device == d && c < item->count; c++) {
                if (l->placed[w] == l->places[w] && counts)
                    break;
                r = add_replica(l, pattern, w, d);
                l->placed[w] += counts;
                on[d] = *ret_any = true;
            }
        }
        if (!r && !on[d] && pattern->mode == DV_FLEET_MIG)
            r = add_left_over(l, pattern, d);
    }
    return r;
}

static int set_starts(const struct layer *l, struct dv_fleet_card *card)
{
    const struct dv_fleet_side *side = &l->view->sides[card->side];
    struct dv_mig_instance want[DV_MIG_INSTANCES_MAX];
    struct dv_mig_plan plan;
    if (card->mode != DV_FLEET_MIG)
        return 0;
    for (uint32_t i = 0; i < card->n_devices; i++)
        want[i] =
            (struct dv_mig_instance){side->kinds[card->devices[i].kind].profile, DV_MIG_UNPLACED};
    int r = dv_mig_plan_find(&side->geometry, NULL, 0, want, card->n_devices, &plan);
    for (uint32_t i = 0; !r && !plan.rule && i < card->n_devices; i++)
        card->starts[i] = plan.instances[i].start;
    return r;
}

/* MPS: as many equal parts as there are tenants. */
static void set_parts(struct layer *l, const struct dv_fleet_card *card)
{
    uint64_t memory = l->view->sides[card->side].kinds[0].memory_bytes;
    for (uint32_t i = 0; card->mode == DV_FLEET_MPS && i < card->n_slices; i++) {
        struct dv_fleet_slice *s = &l->plan->slices[card->first + i];
        s->memory_bytes = memory / card->n_slices / DV_MIB * DV_MIB;
        s->compute = DV_COMPUTE_FULL / card->n_slices;
    }
}

/* A card on that node; none where nobody is left for it. */
static int add_card(struct layer *l, const struct dv_fleet_pattern *pattern, uint32_t node,
                    bool counts)
{
    struct dv_fleet_plan *p = l->plan;
    struct dv_fleet_card card = {.side = pattern->side,
                                 .node = node,
                                 .index = l->nodes[node].used,
                                 .mode = pattern->mode,
                                 .n_devices = pattern->n_devices,
                                 .first = p->n_slices};
    bool any = false;
    memcpy(card.devices, pattern->devices, sizeof card.devices);
    int r = add_slices(l, pattern, counts, &any);
    if (!r && !any)
        p->n_slices = card.first;
    if (r || !any)
        return r;
    card.n_slices = p->n_slices - card.first;
    set_parts(l, &card);
    r = set_starts(l, &card);
    l->nodes[node].used++;
    p->cards[p->n_cards++] = card;
    return r;
}

/* ---- replicas with several cards ---- */

/* Its cards on one node; on as few as can be where a node has not so many, or it does not mind. */
static int add_large(struct layer *l, const struct dv_fleet_pattern *pattern)
{
    uint32_t w = pattern->items[0].workload, left = pattern->cards;
    uint32_t per_node = l->view->fleet->groups[pattern->side].per_node;
    bool spread = l->view->fleet->workloads[w].topology == DV_FLEET_SPREAD;
    uint64_t room = 0;
    int r = 0;
    for (uint32_t i = 0; i < l->n_nodes; i++)
        room += l->nodes[i].size - l->nodes[i].used;
    if (room < left || (!spread && left <= per_node && find_node(l, left) == l->n_nodes)) {
        l->plan->unplaced[w].lack = DV_FLEET_LACK_NODE;
        return 0;
    }
    while (!r && left) {
        uint32_t now = DV_MIN(left, per_node), node = find_node(l, now);
        while (node == l->n_nodes)
            node = find_node(l, --now);
        for (uint32_t i = 0; !r && i < now; i++)
            r = add_card(l, pattern, node, false);
        left -= now;
    }
    l->placed[w]++;
    return r;
}

/* Larger ones first, since what is left between them is smaller. */
static int lay_large(struct layer *l, uint32_t side)
{
    int r = 0;
    for (uint32_t size = DV_FLEET_GPUS_MAX; !r && size > 1; size--)
        for (uint32_t i = 0; !r && i < l->found->n_uses; i++) {
            const struct dv_fleet_use *use = &l->found->uses[i];
            const struct dv_fleet_pattern *p = &l->found->patterns[use->pattern];
            for (uint32_t k = 0; !r && p->side == side && p->cards == size && k < use->times; k++)
                if (l->placed[p->items[0].workload] < l->places[p->items[0].workload])
                    r = add_large(l, p);
        }
    return r;
}

static int lay_small(struct layer *l, uint32_t side, enum dv_fleet_mode mode)
{
    int r = 0;
    for (uint32_t i = 0; !r && i < l->found->n_uses; i++) {
        const struct dv_fleet_use *use = &l->found->uses[i];
        const struct dv_fleet_pattern *p = &l->found->patterns[use->pattern];
        for (uint32_t k = 0;
             !r && p->side == side && p->mode == mode && p->cards == 1 && k < use->times; k++) {
            while (l->first_free < l->n_nodes &&
                   l->nodes[l->first_free].used == l->nodes[l->first_free].size)
                l->first_free++;
            if (l->first_free < l->n_nodes)
                r = add_card(l, p, l->first_free, true);
        }
    }
    return r;
}

static int by_node(const void *a, const void *b)
{
    const struct dv_fleet_card *x = a, *y = b;
    if (x->side != y->side)
        return x->side < y->side ? -1 : 1;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static int lay(struct layer *l)
{
    int r = 0;
    for (uint32_t s = 0; !r && s < l->view->n_sides; s++) {
        r = start_side(l, s);
        r = r ? r : lay_large(l, s);
        for (int m = 0; !r && m < DV_FLEET_MODES; m++)
            r = lay_small(l, s, (enum dv_fleet_mode)m);
    }
    if (!r)
        qsort(l->plan->cards, l->plan->n_cards, sizeof *l->plan->cards, by_node);
    return r;
}

int dv_fleet_cards_lay(const struct dv_fleet_view *view, struct dv_fleet_solution *found,
                       const uint64_t *places, struct dv_fleet_plan *ret)
{
    struct layer l = {.view = view, .found = found, .plan = ret, .places = places};
    l.placed = calloc(view->n_workloads, sizeof *l.placed);
    ret->cards = calloc(found->cards + 1, sizeof *ret->cards);
    int r = l.placed && ret->cards ? lay(&l) : -ENOMEM;
    for (uint32_t w = 0; !r && w < view->n_workloads; w++)
        found->left[w] = places[w] - l.placed[w];
    free(l.nodes);
    free(l.placed);
    return r;
}
