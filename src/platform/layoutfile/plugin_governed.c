/* SPDX-License-Identifier: Apache-2.0 */
/*
 * divvy's own section of the device plugin's configuration: fractions with walls.
 *
 *     sharing:
 *       governed:
 *         resources:
 *         - name: nvidia.com/gpu
 *           devices: [0]
 *           slices:                     # or replicas: N, or percent: true
 *           - {name: small, memory: 10Gi, compute: 25%, tier: be, count: 2}
 */
#include "base/units.h"
#include "layoutfile/plugin.h"

#include <stdio.h>
#include <string.h>

enum { NAME, RENAME, MEMORY, COMPUTE, TIER, COUNT };

/* "25%", 25: a share of the device in 1/7000. */
static int read_percent(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                        const char *key, const char *text, uint32_t *ret)
{
    struct dv_err why = {{0}};
    char percent[40];
    size_t len = strlen(text);
    bool ok = len < sizeof percent - 1 && dv_str_copy(percent, sizeof percent - 1, text) == 0;
    if (ok && (!len || text[len - 1] != '%'))
        memcpy(percent + len, "%", 2);
    if (!ok || dv_units_parse_compute(percent, ret, &why) < 0)
        return dv_yaml_bad(in->yaml, node, in->err,
                           "%s: \"%.40s\", where a percentage of the device from 1%% to 100%% is "
                           "wanted, like 25%%",
                           key, text);
    return 0;
}

static int read_memory(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                       struct dv_plugin_slice *ret)
{
    struct dv_err why = {{0}};
    const char *text;
    int r = dv_yaml_text(in->yaml, node, "memory", &text, in->err);
    if (r < 0)
        return r;
    if (*text && text[strlen(text) - 1] == '%')
        return read_percent(in, node, "memory", text, &ret->memory_share);
    if (dv_units_parse_bytes(text, &ret->memory_bytes, &why) < 0)
        return dv_yaml_bad(in->yaml, node, in->err, "memory: %s", why.msg);
    if (ret->memory_bytes < DV_MIB)
        return dv_yaml_bad(in->yaml, node, in->err,
                           "memory: \"%.40s\" is less than 1 MiB; write a size like 10Gi or a "
                           "percentage like 25%%",
                           text);
    return 0;
}

static int read_tier(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                     enum dv_tier *ret)
{
    struct dv_err why = {{0}};
    const char *text;
    int r = dv_yaml_text(in->yaml, node, "tier", &text, in->err);
    if (!r && dv_claim_tier_parse(text, ret, &why) < 0)
        return dv_yaml_bad(in->yaml, node, in->err, "tier: %s", why.msg);
    return r;
}

/* A part of the names of resources and of device ids. */
static int read_slice_name(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                           char ret[DV_PLUGIN_SLICE_NAME])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    const char *text;
    int r = dv_yaml_text(in->yaml, node, "name", &text, in->err);
    if (r < 0)
        return r;
    size_t len = strlen(text);
    if (!len || strspn(text, letters) != len || text[0] == '-' || text[len - 1] == '-' ||
        dv_str_copy(ret, DV_PLUGIN_SLICE_NAME, text) < 0)
        return dv_yaml_bad(in->yaml, node, in->err,
                           "name: \"%.40s\" is no slice's name; 1 to %d small letters, digits and "
                           "'-' are, like small",
                           text, DV_PLUGIN_SLICE_NAME - 1);
    return 0;
}

static int read_slice(struct dv_layoutfile_reader *in, const struct dv_yaml_node *item,
                      const struct dv_plugin_share *share, struct dv_plugin_slice *ret)
{
    static const char *const names[] = {"name", "rename", "memory", "compute", "tier", "count"};
    static const struct dv_yaml_map map = {"a slice", names, DV_ARRAY_SIZE(names)};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    char full[2 * DV_PLUGIN_NAME];
    const char *text;
    int r = dv_yaml_map_read(in->yaml, item, &map, got, in->err);
    if (!r && (!got[NAME] || !got[MEMORY] || !got[COMPUTE]))
        return dv_yaml_bad(in->yaml, item, in->err,
                           "%s is missing; a slice is like {name: small, memory: 10Gi, compute: "
                           "25%%}",
                           !got[NAME]    ? "name"
                           : got[MEMORY] ? "compute"
                                         : "memory");
    ret->count = 1;
    r = r ? r : read_slice_name(in, got[NAME], ret->name);
    if (!r && got[RENAME])
        r = dv_layoutfile_plugin_name(in, got[RENAME], "rename", true, ret->rename);
    r = r ? r : read_memory(in, got[MEMORY], ret);
    r = r ? r : dv_yaml_text(in->yaml, got[COMPUTE], "compute", &text, in->err);
    r = r ? r : read_percent(in, got[COMPUTE], "compute", text, &ret->compute_share);
    if (!r && got[TIER])
        r = read_tier(in, got[TIER], &ret->tier);
    if (!r && got[COUNT])
        r = dv_yaml_integer(in->yaml, got[COUNT], "count", 1, DV_PLUGIN_SLICE_COUNT_MAX,
                            &ret->count, in->err);
    int len = snprintf(full, sizeof full, "%s-%s", share->rename[0] ? share->rename : share->name,
                       ret->name);
    if (!r && !ret->rename[0] && len >= DV_PLUGIN_NAME)
        return dv_yaml_bad(in->yaml, got[NAME], in->err,
                           "name: the resource would be %s, and its name has at most %d letters; "
                           "give the slice a rename",
                           full, DV_PLUGIN_NAME - 1);
    return r;
}

static int read_slices(struct dv_layoutfile_reader *in, const struct dv_yaml_node *list,
                       struct dv_plugin_share *share)
{
    struct dv_err why = {{0}};
    int r = dv_yaml_list(in->yaml, list, "slices", DV_PLUGIN_SLICES_MAX, in->err);
    if (!r && !list->n)
        return dv_yaml_bad(in->yaml, list, in->err,
                           "slices: at least one is wanted, like {name: small, memory: 10Gi, "
                           "compute: 25%%}");
    for (uint32_t i = 0; !r && i < list->n; i++) {
        r = read_slice(in, list->items[i], share, &share->slices[i]);
        share->n_slices += !r;
    }
    if (!r && dv_plugin_config_check_slices(share, &why) < 0)
        return dv_yaml_bad(in->yaml, list, in->err, "slices: %s", why.msg);
    return r;
}

int dv_layoutfile_plugin_governed(struct dv_layoutfile_reader *in, const struct dv_yaml_node *item,
                                  const struct dv_yaml_node *replicas,
                                  const struct dv_yaml_node *percent,
                                  const struct dv_yaml_node *slices, struct dv_plugin_share *share)
{
    int r = percent ? dv_yaml_bool(in->yaml, percent, "percent", &share->percent, in->err) : 0;
    if (r < 0)
        return r;
    int given = !!replicas + share->percent + !!slices;
    if (given != 1)
        return dv_yaml_bad(in->yaml, item, in->err,
                           given ? "of replicas, percent and slices one alone is wanted"
                                 : "replicas: N, percent: true or slices: [...] is missing");
    return slices ? read_slices(in, slices, share) : 0;
}
