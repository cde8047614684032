/* SPDX-License-Identifier: Apache-2.0 */
/* Layouts as text, in divvy's own format. */
#include "layoutfile/internal.h"

#include <string.h>

static void add_sharing(struct dv_str *out, const struct dv_layout_sharing *s, const char *between)
{
    dv_str_addf(out, "mode: %s", dv_device_mode_name(s->mode));
    if (s->replicas)
        dv_str_addf(out, "%sreplicas: %u", between, s->replicas);
    if (s->timeslice)
        dv_str_addf(out, "%stimeslice: %s", between, dv_device_timeslice_name(s->timeslice));
}

static bool same_device(const struct dv_layout_device *a, const struct dv_layout_device *b)
{
    return !strcmp(a->profile, b->profile) && a->start == b->start &&
           a->sharing.mode == b->sharing.mode && a->sharing.replicas == b->sharing.replicas &&
           a->sharing.timeslice == b->sharing.timeslice;
}

/* How many devices from here on can be one line with a count. */
static uint32_t run_of(const struct dv_layout_gpu *e, uint32_t from)
{
    uint32_t n = 1;
    while (e->devices[from].start == DV_MIG_UNPLACED && from + n < e->n_devices &&
           same_device(&e->devices[from], &e->devices[from + n]))
        n++;
    return n;
}

static void add_mig(struct dv_str *out, const struct dv_layout_gpu *e)
{
    dv_str_add(out, e->n_devices ? "    mig:\n" : "    mig: []\n");
    for (uint32_t i = 0; i < e->n_devices;) {
        const struct dv_layout_device *d = &e->devices[i];
        uint32_t n = run_of(e, i);
        dv_str_add(out, "      - {profile: ");
        dv_layoutfile_add_text(out, d->profile);
        if (d->start != DV_MIG_UNPLACED)
            dv_str_addf(out, ", start: %u", d->start);
        if (n > 1)
            dv_str_addf(out, ", count: %u", n);
        dv_str_add(out, ", ");
        add_sharing(out, &d->sharing, ", ");
        dv_str_add(out, "}\n");
        i += n;
    }
}

static uint32_t usual_rank(const struct dv_selector *s)
{
    return s->kind == DV_SELECTOR_ANY ? 0 : s->kind == DV_SELECTOR_MODEL ? 1 : 2;
}

static void add_filters(struct dv_str *out, const struct dv_layout_gpu *e)
{
    dv_str_add(out, "    boards: [");
    for (uint32_t i = 0; i < e->n_filters; i++) {
        dv_str_addf(out, "%s\"0x%08X", i ? ", " : "", e->filters[i].device);
        if (e->filters[i].subsystem)
            dv_str_addf(out, ":0x%08X", e->filters[i].subsystem);
        dv_str_addc(out, '"');
    }
    dv_str_add(out, "]\n");
}

static void add_entry(struct dv_str *out, const struct dv_layout_gpu *e)
{
    dv_str_add(out, "  - gpu: ");
    if (e->gpus.kind == DV_SELECTOR_INDEX)
        dv_str_addf(out, "%u", e->gpus.index);
    else if (e->gpus.kind == DV_SELECTOR_ANY)
        dv_str_add(out, "all");
    else
        dv_layoutfile_add_text(out, e->gpus.text);
    dv_str_addc(out, '\n');
    if (e->n_filters)
        add_filters(out, e);
    if (e->capable_only)
        dv_str_add(out, "    capableOnly: true\n");
    if (e->rank != usual_rank(&e->gpus))
        dv_str_addf(out, "    rank: %u\n", e->rank);
    if (dv_layout_is_mig(e)) {
        add_mig(out, e);
        return;
    }
    dv_str_add(out, "    ");
    add_sharing(out, &e->devices[0].sharing, "\n    ");
    dv_str_addc(out, '\n');
}

static void add_rule(struct dv_str *out, const struct dv_layout_rule *rule)
{
    dv_str_add(out, "  - devices: ");
    if (!rule->profile[0])
        dv_str_add(out, "whole");
    else if (!strcmp(rule->profile, "*"))
        dv_str_add(out, "mig");
    else
        dv_layoutfile_add_text(out, rule->profile);
    if (rule->count)
        dv_str_addf(out, "\n    first: %u", rule->count);
    if (rule->n_list)
        dv_str_add(out, "\n    only: [");
    for (uint32_t i = 0; i < rule->n_list; i++)
        dv_str_addf(out, "%s\"%s\"", i ? ", " : "", rule->list[i]);
    if (rule->n_list)
        dv_str_addc(out, ']');
    dv_str_add(out, "\n    ");
    add_sharing(out, &rule->sharing, "\n    ");
    dv_str_addc(out, '\n');
}

void dv_layoutfile_write(const struct dv_layout *layout, struct dv_str *out)
{
    dv_str_add(out, "apiVersion: divvy/v1\nkind: Layout\n");
    if (!layout->has_cut || !layout->has_sharing)
        dv_str_addf(out, "part: %s\n", layout->has_cut ? "cut" : "sharing");
    if (layout->has_cut)
        dv_str_add(out, layout->n_entries ? "gpus:\n" : "gpus: []\n");
    for (uint32_t i = 0; layout->has_cut && i < layout->n_entries; i++)
        add_entry(out, &layout->entries[i]);
    if (layout->has_sharing && (layout->n_rules || !layout->has_cut))
        dv_str_add(out, layout->n_rules ? "sharing:\n" : "sharing: []\n");
    for (uint32_t i = 0; layout->has_sharing && i < layout->n_rules; i++)
        add_rule(out, &layout->rules[i]);
}
