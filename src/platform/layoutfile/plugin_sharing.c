/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part `sharing` of the device plugin's configuration.
 *
 *     sharing:
 *       timeSlicing:            # or mps, which counts when both are given; or governed, ours
 *         renameByDefault: true
 *         failRequestsGreaterThanOne: true
 *         resources:
 *         - name: nvidia.com/gpu
 *           devices: all        # or a number, or a list of 0, "0:1", UUIDs
 *           replicas: 4
 *
 * Two things differ from the plugin, both on purpose: `devices` and `rename` are heeded (the plugin
 * reads and drops them), and `replicas: 1` is a warning rather than an error.
 */
#include "layoutfile/plugin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TIMESLICE_REPLICAS_SANE 4 /* with more, turns get long and contexts fill the memory */

struct sharing {
    enum dv_plugin_section section;
    enum dv_mode mode;
    struct dv_plugin_sharing *to;
    bool keep;          /* its rules count */
    uint32_t n_shared;  /* resources that are shared */
    uint32_t n_alike;   /* of those, with equal parts that might be taken for whole devices */
    uint32_t n_renamed; /* of those, with a name of their own */
};

enum { NAME, RENAME, DEVICES, REPLICAS, PERCENT, SLICES, KEYS };

static int read_devices(struct dv_layoutfile_reader *in, const struct dv_yaml_node *devices,
                        struct dv_plugin_share *share)
{
    struct dv_layout_rule rule = {0};
    if (!devices || dv_yaml_is(devices, "all"))
        return 0;
    if (devices->kind == DV_YAML_SCALAR && devices->plain && strspn(devices->text, "0123456789-+"))
        return dv_yaml_integer(in->yaml, devices, "devices", 1, DV_DEVICES_MAX, &share->count,
                               in->err);
    if (devices->kind != DV_YAML_LIST)
        return dv_yaml_bad(in->yaml, devices, in->err,
                           "devices: all, a number or a list like [0, \"0:1\", GPU-...] is wanted");
    int r = dv_layoutfile_device_list(in, devices, "devices", &rule);
    share->list = rule.list; /* its owner frees it, also after an error */
    share->n_list = rule.n_list;
    return r;
}

static int check_twice(struct dv_layoutfile_reader *in, const struct sharing *s,
                       const struct dv_plugin_share *share, const struct dv_yaml_node *item)
{
    const char *device = NULL;
    const struct dv_plugin_share *o = dv_plugin_config_clash(s->to, share, &device);
    if (!o)
        return 0;
    return dv_yaml_bad(in->yaml, item, in->err,
                       "name: %s is given twice%s%s; the first is in line %u", share->name,
                       device ? " for device " : "", device ? device : "", o->line);
}

static int read_replicas(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                         uint32_t *ret)
{
    if (node->kind == DV_YAML_SCALAR && node->plain &&
        (!strcmp(node->text, "0") || node->text[0] == '-'))
        return dv_yaml_bad(in->yaml, node, in->err,
                           "replicas: %.20s; 2 or more share a device, and one that is not shared "
                           "is left out of sharing",
                           node->text);
    return dv_yaml_integer(in->yaml, node, "replicas", 1, DV_LAYOUT_REPLICAS_MAX, ret, in->err);
}

static void warn_of_replicas(struct dv_layoutfile_reader *in, const struct sharing *s,
                             const struct dv_yaml_node *const *got, uint32_t replicas)
{
    if (got[RENAME])
        dv_layoutfile_plugin_warn(
            in, got[RENAME],
            "rename: it matters under Kubernetes only; the layout does not use it");
    if (replicas == 1)
        dv_layoutfile_warn(in, got[REPLICAS],
                           "replicas: 1 is read as not shared: leave sharing out");
    if (s->mode == DV_MODE_TIMESLICE && replicas > TIMESLICE_REPLICAS_SANE)
        dv_layoutfile_warn(in, got[REPLICAS],
                           "replicas: %u are more than the 2 to %u that suit time-slicing: turns "
                           "are long, and all contexts share one memory",
                           replicas, TIMESLICE_REPLICAS_SANE);
}

static void count_share(struct sharing *s, const struct dv_plugin_share *share)
{
    bool alike = share->replicas > 1;
    s->n_shared += alike || share->percent || share->n_slices;
    s->n_alike += alike;
    s->n_renamed += alike && (s->to->rename_by_default || share->rename[0]);
}

/* Map, names and devices, and how they are divided. */
static int read_share(struct dv_layoutfile_reader *in, struct sharing *s,
                      const struct dv_yaml_node *item, const struct dv_yaml_node **got,
                      struct dv_plugin_share *share)
{
    static const char *const names[KEYS] = {"name",     "rename",  "devices",
                                            "replicas", "percent", "slices"};
    bool governed = s->section == DV_PLUGIN_GOVERNED;
    const struct dv_yaml_map map = {"a shared resource", names, governed ? KEYS : PERCENT,
                                    .nulls = false, dv_layoutfile_plugin_hint};
    int r = dv_yaml_map_read(in->yaml, item, &map, got, in->err);
    if (!r && (!got[NAME] || (!governed && !got[REPLICAS])))
        return dv_yaml_bad(in->yaml, item, in->err, "%s is missing",
                           got[NAME] ? "replicas: how many share each device"
                                     : "name: " DV_PLUGIN_PREFIX "gpu or " DV_PLUGIN_PREFIX
                                       "mig-PROFILE");
    r = r ? r : dv_layoutfile_plugin_name(in, got[NAME], "name", false, share->name);
    if (r < 0)
        return r;
    share->line = got[NAME]->inner ? got[NAME]->inner : got[NAME]->line;
    if (got[RENAME])
        r = dv_layoutfile_plugin_name(in, got[RENAME], "rename", governed, share->rename);
    r = r ? r : read_devices(in, got[DEVICES], share);
    r = r ? r : check_twice(in, s, share, item);
    if (!r && governed)
        r = dv_layoutfile_plugin_governed(in, item, got[REPLICAS], got[PERCENT], got[SLICES],
                                          share);
    if (!r && got[REPLICAS])
        r = read_replicas(in, got[REPLICAS], &share->replicas);
    return r;
}

/* Of two sections that mean a device the first counts; where the first means all, the second means
 * nothing. */
static void warn_of_other_section(struct dv_layoutfile_reader *in, const struct sharing *s,
                                  const struct dv_plugin_share *share,
                                  const struct dv_yaml_node *at)
{
    for (int i = 0; i < (int)s->section; i++) {
        const struct dv_plugin_sharing *o = &in->config->sharing[i];
        for (uint32_t k = 0; k < o->n_shares; k++)
            if (!strcmp(o->shares[k].name, share->name) && !o->shares[k].count &&
                !o->shares[k].n_list && o->shares[k].replicas != 1)
                dv_layoutfile_warn(in, at,
                                   "name: %s shares all its devices in %s already, which counts "
                                   "before %s",
                                   share->name,
                                   dv_plugin_config_section_name((enum dv_plugin_section)i),
                                   dv_plugin_config_section_name(s->section));
    }
}

static int read_resource(struct dv_layoutfile_reader *in, struct sharing *s,
                         const struct dv_yaml_node *item)
{
    const struct dv_yaml_node *got[KEYS] = {0};
    struct dv_plugin_share share = {0};
    int r = read_share(in, s, item, got, &share);
    if (!r && s->keep) {
        warn_of_replicas(in, s, got, share.replicas);
        count_share(s, &share);
        warn_of_other_section(in, s, &share, got[NAME]);
        if (share.replicas != 1)
            r = dv_layoutfile_plugin_rules(in, s->mode, &share, item, got[NAME]);
    }
    r = r ? r : dv_plugin_config_add(s->to, &share);
    free(share.list);
    return r;
}

/* What happens under Kubernetes with these settings, and surprises people. */
static void warn_of_names(struct dv_layoutfile_reader *in, const struct sharing *s,
                          const struct dv_yaml_node *node, const struct dv_yaml_node *fail)
{
    if (s->n_renamed < s->n_alike)
        dv_layoutfile_warn(in, node,
                           "renameByDefault is false: shares keep the name " DV_PLUGIN_PREFIX
                           "gpu, which people take for a whole GPU; set it to true");
    if (s->n_alike && !s->to->fail_above_one)
        dv_layoutfile_warn(in, fail ? fail : node,
                           "failRequestsGreaterThanOne is %s: a request of 2 may get two shares of "
                           "one GPU; set it to true",
                           fail ? "false" : "not set");
}

static int read_section(struct dv_layoutfile_reader *in, struct sharing *s,
                        const struct dv_yaml_node *node)
{
    static const char *const names[] = {"renameByDefault", "failRequestsGreaterThanOne",
                                        "resources"};
    const char *what = dv_plugin_config_section_name(s->section);
    const struct dv_yaml_map map = {what, names, DV_ARRAY_SIZE(names), .nulls = true,
                                    dv_layoutfile_plugin_hint};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    int r = dv_yaml_map_read(in->yaml, node, &map, got, in->err);
    if (!r && got[0])
        r = dv_yaml_bool(in->yaml, got[0], names[0], &s->to->rename_by_default, in->err);
    if (!r && got[1])
        r = dv_yaml_bool(in->yaml, got[1], names[1], &s->to->fail_above_one, in->err);
    if (!r && (!got[2] || (got[2]->kind == DV_YAML_LIST && !got[2]->n)))
        return dv_yaml_bad(in->yaml, got[2] ? got[2] : node, in->err,
                           "%s: resources is missing; write resources: [{name: " DV_PLUGIN_PREFIX
                           "gpu, replicas: 4}]",
                           what);
    r = r ? r : dv_yaml_list(in->yaml, got[2], names[2], DV_PLUGIN_SHARES_MAX, in->err);
    for (uint32_t i = 0; !r && i < got[2]->n; i++)
        r = read_resource(in, s, got[2]->items[i]);
    if (!r && s->keep)
        warn_of_names(in, s, got[0] ? got[0] : node, got[1]);
    s->to->given = true;
    s->to->ignored = !s->keep;
    return r;
}

int dv_layoutfile_plugin_sharing(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node)
{
    static const char *const names[DV_PLUGIN_SECTIONS] = {"governed", "mps", "timeSlicing"};
    static const struct dv_yaml_map map = {"sharing", names, DV_PLUGIN_SECTIONS, .nulls = true,
                                           dv_layoutfile_plugin_hint};
    const struct dv_yaml_node *got[DV_PLUGIN_SECTIONS];
    bool mps = false;
    int r = dv_yaml_map_read(in->yaml, node, &map, got, in->err);
    for (int i = 0; !r && i < DV_PLUGIN_SECTIONS; i++) {
        struct sharing s = {(enum dv_plugin_section)i,
                            dv_plugin_config_mode((enum dv_plugin_section)i),
                            &in->config->sharing[i], .keep = i != DV_PLUGIN_TIME_SLICING || !mps};
        if (got[i])
            r = read_section(in, &s, got[i]);
        mps = mps || (i == DV_PLUGIN_MPS && s.n_shared);
    }
    if (!r && got[DV_PLUGIN_TIME_SLICING] && mps)
        dv_layoutfile_warn(in, got[DV_PLUGIN_TIME_SLICING],
                           "timeSlicing: mps is given too, and it alone counts");
    return r;
}
