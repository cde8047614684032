/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/layouts.h"

#include "layoutfile/layoutfile.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *dv_plan_layouts_node(const struct dv_fleet_plan *plan, const struct dv_fleet_card *card,
                                 char buf[DV_PLAN_NODE])
{
    const struct dv_fleet *f = plan->view->fleet;
    uint32_t number = card->node;
    for (uint32_t s = 0; s < card->side; s++)
        if (f->groups[s].model == f->groups[card->side].model)
            number +=
                (f->groups[s].open ? plan->used[s] : f->groups[s].count) / f->groups[s].per_node +
                1;
    snprintf(buf, DV_PLAN_NODE, "%.40s-%u", f->groups[card->side].model->name, number);
    for (char *p = buf; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return buf;
}

static struct dv_layout_sharing sharing_of(enum dv_fleet_mode mode, uint32_t n)
{
    static const enum dv_mode modes[] = {
        [DV_FLEET_EXCLUSIVE] = DV_MODE_EXCLUSIVE,
        [DV_FLEET_MIG] = DV_MODE_EXCLUSIVE,
        [DV_FLEET_MPS] = DV_MODE_MPS,
        [DV_FLEET_GOVERNED] = DV_MODE_GOVERNED,
        [DV_FLEET_TIMESLICE] = DV_MODE_TIMESLICE,
    };
    struct dv_layout_sharing s = {.mode = modes[mode]};
    /* Governed shares have the sizes that their claims name; the others are equal parts. */
    if ((mode == DV_FLEET_MPS || mode == DV_FLEET_TIMESLICE) && n > 1)
        s.replicas = n;
    return s;
}

static uint32_t slices_on(const struct dv_fleet_plan *plan, const struct dv_fleet_card *card,
                          uint32_t device)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < card->n_slices; i++)
        n += plan->slices[card->first + i].device == device &&
             plan->slices[card->first + i].workload != DV_FLEET_NOBODY;
    return n;
}

static void fill(const struct dv_fleet_plan *plan, const struct dv_fleet_card *card,
                 struct dv_layout_gpu *entry)
{
    entry->gpus.kind = DV_SELECTOR_INDEX;
    entry->gpus.index = card->index;
    snprintf(entry->gpus.text, sizeof entry->gpus.text, "%u", card->index);
    entry->rank = 2; /* what the file's reader gives to an index */
    entry->n_devices = card->n_devices;
    for (uint32_t d = 0; d < card->n_devices; d++) {
        struct dv_layout_device *device = &entry->devices[d];
        dv_str_copy(device->profile, sizeof device->profile, dv_fleet_plan_profile(plan, card, d));
        device->start = card->mode == DV_FLEET_MIG ? card->starts[d] : DV_MIG_UNPLACED;
        device->sharing = sharing_of(card->devices[d].mode, slices_on(plan, card, d));
    }
}

int dv_plan_layouts_text(const struct dv_fleet_plan *plan, uint32_t first, struct dv_str *text,
                         uint32_t *ret_next)
{
    struct dv_layout layout = {.has_cut = true, .has_sharing = true};
    const struct dv_fleet_card *card = &plan->cards[first];
    uint32_t next = first;
    while (next < plan->n_cards && plan->cards[next].side == card->side &&
           plan->cards[next].node == card->node)
        next++;
    layout.entries = calloc(next - first + 1, sizeof *layout.entries);
    if (!layout.entries)
        return -ENOMEM;
    layout.n_entries = next - first;
    for (uint32_t i = first; i < next; i++)
        fill(plan, &plan->cards[i], &layout.entries[i - first]);
    dv_layoutfile_write(&layout, text);
    free(layout.entries);
    *ret_next = next;
    return text->failed ? -ENOMEM : 0;
}
