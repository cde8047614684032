/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct dv_fleet_group dv_fleet_testing_group(const char *model, uint32_t count)
{
    struct dv_fleet_group g = {.model = dv_gpu_model_find(model, NULL),
                               .count = count ? count : DV_FLEET_CARDS_MAX,
                               .open = !count,
                               .per_node = 8};
    assert_non_null(g.model);
    g.memory_bytes = dv_gpu_model_usable(g.model);
    return g;
}

static bool may_be(const struct dv_fleet_workload *w, enum dv_fleet_mode mode)
{
    enum dv_wall wall = dv_fleet_rules_wall(mode);
    if (w->trust == DV_TRUST_UNTRUSTED && wall < DV_WALL_DRIVER)
        return false;
    return wall >= w->isolation && (!w->modes || (w->modes & DV_FLEET_BIT(mode)) || w->gpus);
}

/* The slices of one device: what it has is enough. */
static void check_device(const struct dv_fleet_plan *p, const struct dv_fleet_card *card,
                         uint32_t d)
{
    const struct dv_fleet_side *side = &p->view->sides[card->side];
    const struct dv_fleet_kind *kind = &side->kinds[card->devices[d].kind];
    enum dv_fleet_mode mode = card->devices[d].mode;
    uint64_t memory = 0, compute = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < card->n_slices; i++) {
        const struct dv_fleet_slice *s = &p->slices[card->first + i];
        if (s->device != d || s->workload == DV_FLEET_NOBODY)
            continue;
        const struct dv_fleet_workload *w = &p->view->fleet->workloads[s->workload];
        struct dv_fleet_need need = dv_fleet_fit_need(w, side, mode);
        assert_true(may_be(w, mode));
        if (!p->view->gpus[s->workload]) {
            assert_true(s->memory_bytes >= need.memory_bytes);
            assert_true(s->memory_bytes >= w->memory_bytes);
            assert_true(s->compute >= need.compute && s->compute >= w->compute);
        } else {
            assert_int_equal(mode, DV_FLEET_EXCLUSIVE);
            assert_true(w->memory_bytes <= kind->memory_bytes);
        }
        memory += s->memory_bytes;
        compute += s->compute;
        n++;
    }
    bool own = mode == DV_FLEET_EXCLUSIVE || mode == DV_FLEET_MIG;
    assert_true(n <= (own ? 1u : DV_FLEET_SHARE_MAX));
    assert_true(memory <= kind->memory_bytes && compute <= kind->compute);
}

static void check_card(const struct dv_fleet_plan *p, const struct dv_fleet_card *card)
{
    const struct dv_fleet_side *side = &p->view->sides[card->side];
    const struct dv_fleet_group *g = side->group;
    struct dv_mig_instance placed[DV_MIG_INSTANCES_MAX];
    for (uint32_t d = 0; d < card->n_devices; d++) {
        check_device(p, card, d);
        placed[d] =
            (struct dv_mig_instance){side->kinds[card->devices[d].kind].profile, card->starts[d]};
    }
    assert_int_equal(card->mode == DV_FLEET_MIG, card->devices[0].kind > 0);
    if (card->mode == DV_FLEET_MIG) {
        assert_non_null(g->model->mig);
        assert_int_equal(dv_mig_check(&side->geometry, placed, card->n_devices, NULL), DV_MIG_OK);
    }
    assert_true(card->index < g->per_node);
    assert_true(g->open || card->node * g->per_node + card->index < g->count);
}

static void check_places(const struct dv_fleet_plan *p, uint32_t w)
{
    const struct dv_fleet_workload *workload = &p->view->fleet->workloads[w];
    uint64_t n = 0, spares = 0;
    for (uint32_t i = 0; i < p->n_slices; i++)
        if (p->slices[i].workload == w) {
            n += !p->slices[i].spare;
            spares += p->slices[i].spare;
        }
    uint32_t cards = DV_MAX(p->view->gpus[w], 1u);
    assert_int_equal(n, (uint64_t)(workload->count - p->unplaced[w].replicas) * cards);
    if (!p->unplaced[w].replicas && !p->unplaced[w].spares) {
        uint64_t h = workload->has_headroom ? workload->headroom : p->view->fleet->headroom;
        assert_true(spares * DV_COMPUTE_FULL >= h * (n + spares));
        assert_int_equal(p->unplaced[w].lack, DV_FLEET_LACK_NOTHING);
    } else {
        assert_false(p->feasible);
        assert_int_not_equal(p->unplaced[w].lack, DV_FLEET_LACK_NOTHING);
    }
}

void dv_fleet_testing_check(const struct dv_fleet_plan *plan)
{
    uint32_t slices = 0;
    for (uint32_t i = 0; i < plan->n_cards; i++) {
        const struct dv_fleet_card *a = &plan->cards[i], *b = a - 1;
        check_card(plan, a);
        slices += a->n_slices;
        assert_true(!i || a->side > b->side || a->node > b->node || a->index > b->index);
    }
    assert_int_equal(slices, plan->n_slices);
    for (uint32_t w = 0; w < plan->view->n_workloads; w++)
        check_places(plan, w);
    if (plan->feasible)
        assert_int_equal(plan->n_cards, plan->needed_cards);
    assert_true(plan->least_cards <= plan->needed_cards);
}
