/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The NVIDIA device plugin's configuration (version: v1), every key of it. Source: NVIDIA/
 * k8s-device-plugin v0.20.0, api/config/v1.
 *
 *     version: v1
 *     flags: {migStrategy: mixed}
 *     resources:                # names of our own for GPUs by product, for MIG devices by profile
 *       gpus: [{pattern: "*A100*", name: a100}]
 *     sharing: {...}            # plugin_sharing.c
 *     imex: {channelIDs: [0]}
 *
 * Here: the document, its flags, its patterns.
 */
#include "layoutfile/plugin.h"

#include <errno.h>
#include <string.h>

#define KEYS_MAX 16u /* of one map; flags has 12 */

/* ---- keys at the wrong place ---- */

const char *dv_layoutfile_plugin_hint(const char *key)
{
    static const struct {
        const char *key, *hint;
    } hints[] = {
        {"migStrategy", "it belongs under flags"},
        {"failOnInitError", "it belongs under flags"},
        {"mpsRoot", "it belongs under flags"},
        {"nvidiaDriverRoot", "it belongs under flags"},
        {"nvidiaDevRoot", "it belongs under flags"},
        {"useNodeFeatureAPI", "it belongs under flags"},
        {"deviceDiscoveryStrategy", "it belongs under flags"},
        {"passDeviceSpecs", "it belongs under flags.plugin"},
        {"deviceListStrategy", "it belongs under flags.plugin"},
        {"deviceIDStrategy", "it belongs under flags.plugin"},
        {"cdiAnnotationPrefix", "it belongs under flags.plugin"},
        {"nvidiaCTKPath", "it belongs under flags.plugin"},
        {"containerDriverRoot", "it belongs under flags.plugin"},
        {"sharedDevicesAllocationPolicy", "it belongs under flags.plugin"},
        {"oneshot", "it belongs under flags.gfd"},
        {"sleepInterval", "it belongs under flags.gfd"},
        {"timeSlicing", "it belongs under sharing"},
        {"mps", "it belongs under sharing"},
        {"governed", "it belongs under sharing"},
        {"renameByDefault", "it belongs under sharing.timeSlicing or sharing.mps"},
        {"failRequestsGreaterThanOne", "it belongs under sharing.timeSlicing or sharing.mps"},
        {"replicas", "it belongs to a resource; write resources: [{name: nvidia.com/gpu, "
                     "replicas: N}] under sharing.timeSlicing or sharing.mps"},
        {"percent", "it belongs to a resource of sharing.governed"},
        {"slices", "it belongs to a resource of sharing.governed"},
        {"memory", "it belongs to a slice of sharing.governed"},
        {"compute", "it belongs to a slice of sharing.governed"},
        {"tier", "it belongs to a slice of sharing.governed"},
        {"memoryLimit", "a resource has name, rename, devices and replicas, and each MPS client "
                        "gets the device's memory divided by the replicas; a tenant that wants "
                        "another amount asks for it (divvy run --memory)"},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(hints); i++)
        if (!strcmp(hints[i].key, key))
            return hints[i].hint;
    return NULL;
}

/* ---- flags ---- */

/* A list gives what its items give together. */
static int set_list(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                    const struct dv_plugin_flag *flag)
{
    struct dv_plugin_flags one = in->config->flags;
    uint32_t bits = 0;
    for (uint32_t i = 0; i < node->n; i++) {
        const char *text;
        struct dv_err why = {{0}};
        int r = dv_yaml_text(in->yaml, node->items[i], flag->key, &text, in->err);
        if (r < 0)
            return r;
        if (dv_plugin_flags_set(&one, flag, text, flag->key, &why) < 0)
            return dv_yaml_bad(in->yaml, node->items[i], in->err, "%s", why.msg);
        bits |= one.plugin.list;
    }
    if (bits) /* an empty list is no list: the default stays */
        in->config->flags.plugin.list = bits;
    return 0;
}

static int set_flag(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                    const struct dv_plugin_flag *flag)
{
    const char *text;
    struct dv_err why = {{0}};
    if (flag->type == DV_PLUGIN_BOOL) {
        bool b;
        int r = dv_yaml_bool(in->yaml, node, flag->key, &b, in->err);
        return r ? r
                 : dv_plugin_flags_set(&in->config->flags, flag, b ? "true" : "false", flag->key,
                                       in->err);
    }
    if (flag->type == DV_PLUGIN_CHOICES && node->kind == DV_YAML_LIST)
        return set_list(in, node, flag);
    int r = dv_yaml_text(in->yaml, node, flag->key, &text, in->err);
    if (!r && dv_plugin_flags_set(&in->config->flags, flag, text, flag->key, &why) < 0)
        return dv_yaml_bad(in->yaml, node, in->err, "%s", why.msg);
    return r;
}

/* The map of one group; beside its flags it may have the keys `more`, which become ret[0...]. */
static int read_group(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                      enum dv_plugin_group group, const char *what, const char *const *more,
                      size_t n_more, const struct dv_yaml_node **ret)
{
    const struct dv_plugin_flag *list[KEYS_MAX], *f;
    const struct dv_yaml_node *got[KEYS_MAX];
    const char *names[KEYS_MAX];
    size_t n = 0;
    for (size_t i = 0; (f = dv_plugin_flags_at(i)); i++) {
        if (f->group != group)
            continue;
        list[n] = f;
        names[n++] = f->key;
    }
    for (size_t i = 0; i < n_more; i++)
        names[n + i] = more[i];
    const struct dv_yaml_map map = {what, names, n + n_more, .nulls = true,
                                    dv_layoutfile_plugin_hint};
    int r = dv_yaml_map_read(in->yaml, node, &map, got, in->err);
    for (size_t i = 0; !r && i < n; i++)
        if (got[i])
            r = set_flag(in, got[i], list[i]);
    for (size_t i = 0; !r && i < n_more; i++)
        ret[i] = got[n + i];
    return r;
}

static int read_flags(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node)
{
    static const char *const more[] = {"plugin", "gfd"};
    const struct dv_yaml_node *got[2];
    int r = read_group(in, node, DV_PLUGIN_GROUP_FLAGS, "flags", more, 2, got);
    if (!r && got[0])
        r = read_group(in, got[0], DV_PLUGIN_GROUP_PLUGIN, "flags.plugin", NULL, 0, NULL);
    if (!r && got[1])
        r = read_group(in, got[1], DV_PLUGIN_GROUP_GFD, "flags.gfd", NULL, 0, NULL);
    return r;
}

/* ---- resources: patterns that name devices ---- */

int dv_layoutfile_plugin_name(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                              const char *key, bool own, char ret[DV_PLUGIN_NAME])
{
    struct dv_err why = {{0}};
    const char *text;
    int r = dv_yaml_text(in->yaml, node, key, &text, in->err);
    if (!r && dv_plugin_config_name(text, own, ret, &why) < 0)
        return dv_yaml_bad(in->yaml, node, in->err, "%s: %s", key, why.msg);
    return r;
}

static int read_pattern(struct dv_layoutfile_reader *in, const struct dv_yaml_node *item,
                        struct dv_plugin_pattern *ret)
{
    static const char *const names[] = {"pattern", "name"};
    static const struct dv_yaml_map map = {"a resource pattern", names, 2};
    const struct dv_yaml_node *got[2];
    const char *text;
    int r = dv_yaml_map_read(in->yaml, item, &map, got, in->err);
    if (!r && (!got[0] || !got[1]))
        return dv_yaml_bad(in->yaml, item, in->err, "%s is missing", got[0] ? "name" : "pattern");
    r = r ? r : dv_yaml_text(in->yaml, got[0], "pattern", &text, in->err);
    if (!r && (!*text || dv_str_copy(ret->pattern, sizeof ret->pattern, text) < 0))
        return dv_yaml_bad(in->yaml, got[0], in->err,
                           "pattern: 1 to %zu letters are wanted, like \"*A100*\"",
                           sizeof ret->pattern - 1);
    return r ? r : dv_layoutfile_plugin_name(in, got[1], "name", false, ret->name);
}

static int read_patterns(struct dv_layoutfile_reader *in, const struct dv_yaml_node *list,
                         const char *key, struct dv_plugin_pattern *ret, uint32_t *ret_n)
{
    int r = dv_yaml_list(in->yaml, list, key, DV_PLUGIN_PATTERNS_MAX, in->err);
    for (uint32_t i = 0; !r && i < list->n; i++)
        r = read_pattern(in, list->items[i], &ret[i]);
    if (!r)
        *ret_n = list->n;
    return r;
}

static int read_resources(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node)
{
    static const char *const names[] = {"gpus", "mig"};
    static const struct dv_yaml_map map = {"resources", names, 2, .nulls = true};
    struct dv_plugin_config *c = in->config;
    const struct dv_yaml_node *got[2];
    int r = dv_yaml_map_read(in->yaml, node, &map, got, in->err);
    if (!r && got[0])
        r = read_patterns(in, got[0], "gpus", c->gpus, &c->n_gpus);
    if (!r && got[1])
        r = read_patterns(in, got[1], "mig", c->mig, &c->n_mig);
    if (!r && (c->n_gpus || c->n_mig))
        dv_layoutfile_plugin_warn(in, node,
                                  "resources: names of devices matter under Kubernetes only; the "
                                  "layout does not use them");
    return r;
}

/* ---- the file ---- */

static int read_imex(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node)
{
    static const char *const names[] = {"channelIDs", "required"};
    static const struct dv_yaml_map map = {"imex", names, 2, .nulls = true};
    const struct dv_yaml_node *got[2];
    int r = dv_yaml_map_read(in->yaml, node, &map, got, in->err);
    if (!r && got[0]) {
        r = dv_yaml_list(in->yaml, got[0], "channelIDs", DV_YAML_PAIRS_MAX, in->err);
        if (!r && (got[0]->n > 1 || (got[0]->n && !dv_yaml_is(got[0]->items[0], "0"))))
            r = dv_yaml_bad(in->yaml, got[0], in->err, "channelIDs: [] or [0] is wanted");
        if (!r)
            in->config->flags.imex.channel = got[0]->n;
    }
    if (!r && got[1])
        r = dv_yaml_bool(in->yaml, got[1], "required", &in->config->flags.imex.required, in->err);
    return r;
}

int dv_layoutfile_read_device_plugin(struct dv_layoutfile_reader *in,
                                     const struct dv_yaml_node *root)
{
    static const char *const names[] = {"version", "flags", "resources", "sharing", "imex"};
    static const struct dv_yaml_map map = {"a device plugin's configuration", names,
                                           DV_ARRAY_SIZE(names), .nulls = true,
                                           dv_layoutfile_plugin_hint};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    char seen[DV_YAML_SEEN];
    int r = dv_yaml_map_read(in->yaml, root, &map, got, in->err);
    if (r < 0)
        return r;
    in->info->format = DV_LAYOUTFILE_DEVICE_PLUGIN;
    in->layout->has_sharing = true;
    if (got[0] && !dv_yaml_is(got[0], "v1") && !dv_yaml_is(got[0], ""))
        return dv_yaml_bad(in->yaml, got[0], in->err, "version: %s, where v1 is wanted",
                           dv_yaml_seen(got[0], seen));
    if (got[1])
        r = read_flags(in, got[1]);
    if (!r && got[2])
        r = read_resources(in, got[2]);
    if (!r && got[3])
        r = dv_layoutfile_plugin_sharing(in, got[3]);
    if (!r && got[4])
        r = read_imex(in, got[4]);
    return r;
}
