/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mig-parted's configuration file, read as mig-parted reads it: strictly, and the whole of it, also
 * the configurations that were not asked for. Source: NVIDIA/mig-parted v0.15.0, api/spec/v1.
 *
 *     version: v1
 *     mig-configs:
 *       all-balanced:
 *       - device-filter: ["0x233010DE"]
 *         devices: all
 *         mig-enabled: true
 *         mig-devices: {"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1}
 *
 * It applies all entries that mean a GPU, one after the other, so that the last one counts: the
 * rank of an entry is its place.
 */
#include "layoutfile/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { FILTER, DEVICES, ENABLED, MIG_DEVICES };

static int read_mig_devices(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                            struct dv_layout_gpu *entry)
{
    char seen[DV_YAML_SEEN];
    if (node->kind != DV_YAML_MAP)
        return dv_yaml_bad(in->yaml, node, in->err,
                           "mig-devices: %s, where profiles with their counts are wanted, like "
                           "\"1g.10gb\": 2",
                           dv_yaml_seen(node, seen));
    for (uint32_t i = 0; i < node->n; i++) {
        struct dv_layout_device d = {.start = DV_MIG_UNPLACED};
        uint32_t count = 0;
        int r = dv_layoutfile_profile(in, node->items[2 * i], "mig-devices", d.profile);
        r = r ? r
              : dv_yaml_integer(in->yaml, node->items[2 * i + 1], d.profile, 0, 1000, &count,
                                in->err);
        r = r ? r : dv_layoutfile_add_devices(in, node->items[2 * i], entry, &d, count);
        if (r < 0)
            return r;
    }
    if (node->n && !entry->n_devices)
        return dv_yaml_bad(
            in->yaml, node, in->err,
            "mig-devices: every count is 0; give one a count, or say {} for MIG mode "
            "without devices");
    return 0;
}

static int read_cut(struct dv_layoutfile_reader *in, const struct dv_yaml_node *item,
                    const struct dv_yaml_node *const *got, struct dv_layout_gpu *entry)
{
    bool enabled = false;
    int r = dv_yaml_bool(in->yaml, got[ENABLED], "mig-enabled", &enabled, in->err);
    if (r < 0)
        return r;
    if (enabled && !got[MIG_DEVICES])
        return dv_yaml_bad(in->yaml, item, in->err,
                           "mig-devices is missing, and mig-enabled is true; {} means none");
    if (enabled)
        return read_mig_devices(in, got[MIG_DEVICES], entry);
    if (got[MIG_DEVICES] && (got[MIG_DEVICES]->kind != DV_YAML_MAP || got[MIG_DEVICES]->n))
        return dv_yaml_bad(in->yaml, got[MIG_DEVICES], in->err,
                           "mig-devices: MIG devices, but mig-enabled is false; set it to true or "
                           "leave them out");
    entry->devices[0].start = DV_MIG_UNPLACED;
    entry->n_devices = 1;
    return 0;
}

/* One entry for each GPU that is listed; `keep` says whether the configuration is the one wanted.
 */
static int add_listed(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                      struct dv_layout_gpu *entry, bool keep)
{
    uint64_t seen = 0;
    int r = dv_yaml_list(in->yaml, node, "devices", DV_GPUS_MAX, in->err);
    if (!r && !node->n && keep)
        dv_layoutfile_warn(in, node,
                           "devices: an empty list means no GPU at all; say all, or name "
                           "some");
    for (uint32_t i = 0; !r && i < node->n; i++) {
        struct dv_selector *s = &entry->gpus;
        *s = (struct dv_selector){.kind = DV_SELECTOR_INDEX};
        r = dv_yaml_integer(in->yaml, node->items[i], "devices", 0, DV_GPUS_MAX - 1, &s->index,
                            in->err);
        if (!r && seen >> s->index & 1) { /* mig-parted only looks whether it is there */
            if (keep)
                dv_layoutfile_warn(in, node->items[i], "devices: %u is given twice", s->index);
            continue;
        }
        seen |= UINT64_C(1) << (s->index % 64);
        snprintf(s->text, sizeof s->text, "%u", s->index);
        if (!r && keep)
            r = dv_layoutfile_add_entry(in, node->items[i], entry);
    }
    return r;
}

static int add_entries(struct dv_layoutfile_reader *in, const struct dv_yaml_node *devices,
                       struct dv_layout_gpu *entry, bool keep)
{
    if (devices->kind == DV_YAML_LIST)
        return add_listed(in, devices, entry, keep);
    if (!dv_yaml_is(devices, "all")) {
        char seen[DV_YAML_SEEN];
        return dv_yaml_bad(in->yaml, devices, in->err,
                           "devices: %s, where all or a list of indices like [0, 1] is wanted",
                           dv_yaml_seen(devices, seen));
    }
    entry->capable_only = true;
    entry->gpus = (struct dv_selector){.kind = DV_SELECTOR_ANY, .text = "all"};
    return keep ? dv_layoutfile_add_entry(in, devices, entry) : 0;
}

static int read_entry(struct dv_layoutfile_reader *in, const struct dv_yaml_node *item,
                      uint32_t rank, bool keep)
{
    static const char *const names[] = {"device-filter", "devices", "mig-enabled", "mig-devices"};
    static const struct dv_yaml_map map = {"an entry of mig-configs", names, DV_ARRAY_SIZE(names),
                                           .nulls = true};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    struct dv_layout_gpu entry = {.line = item->line, .rank = rank};
    int r = dv_yaml_map_read(in->yaml, item, &map, got, in->err);
    if (!r && (!got[DEVICES] || !got[ENABLED]))
        return dv_yaml_bad(in->yaml, item, in->err, "%s is missing",
                           got[DEVICES] ? "mig-enabled: true or false"
                                        : "devices: all, or a list of indices like [0, 1]");
    if (!r && got[FILTER] && !dv_yaml_is(got[FILTER], ""))
        r = dv_layoutfile_filters(in, got[FILTER], "device-filter", &entry);
    r = r ? r : read_cut(in, item, got, &entry);
    return r ? r : add_entries(in, got[DEVICES], &entry, keep);
}

int dv_layoutfile_read_mig_parted(struct dv_layoutfile_reader *in, const struct dv_yaml_node *root,
                                  const char *config)
{
    static const char *const names[] = {"version", "mig-configs"};
    static const struct dv_yaml_map map = {"a mig-parted file", names, DV_ARRAY_SIZE(names)};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    char seen[DV_YAML_SEEN];
    int r = dv_yaml_map_read(in->yaml, root, &map, got, in->err);
    if (r < 0)
        return r;
    if (!dv_yaml_is(got[0], "v1"))
        return dv_yaml_bad(in->yaml, got[0] ? got[0] : root, in->err,
                           "version: %s, where v1 is wanted",
                           got[0] ? dv_yaml_seen(got[0], seen) : "it is missing");
    if (!got[1] || got[1]->kind != DV_YAML_MAP || !got[1]->n)
        return dv_yaml_bad(in->yaml, got[1] ? got[1] : root, in->err,
                           "mig-configs: a map with at least one configuration is wanted");
    in->info->format = DV_LAYOUTFILE_MIG_PARTED;
    in->layout->has_cut = true;
    for (uint32_t i = 0; i < got[1]->n; i++) {
        const struct dv_yaml_node *list = got[1]->items[2 * i + 1];
        const char *name = got[1]->items[2 * i]->text;
        r = dv_yaml_list(in->yaml, list, name, DV_LAYOUT_ENTRIES_MAX, in->err);
        if (!r && !list->n)
            r = dv_yaml_bad(in->yaml, list, in->err, "%.60s: an empty list; give it an entry",
                            name);
        for (uint32_t k = 0; !r && k < list->n; k++)
            r = read_entry(in, list->items[k], k, !strcmp(name, config));
        if (r < 0)
            return r;
    }
    return 0;
}
