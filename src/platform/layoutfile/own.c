/* SPDX-License-Identifier: Apache-2.0 */
/*
 * divvy's own layout file. docs/reference/layout-file.md describes it; in short:
 *
 *     apiVersion: divvy/v1
 *     kind: Layout
 *     gpus:
 *       - gpu: 0              # an index, a UUID, a model, all; or a list of those
 *         mig:
 *           - {profile: 3g.40gb, start: 4, mode: exclusive}
 *           - {profile: 1c.3g.40gb, count: 3, mode: mps, replicas: 4}
 *           - 1g.10gb         # the profile alone
 *       - gpu: A100-80GB
 *         mode: timeslice
 *         replicas: 4
 *         timeslice: short
 *
 * Four more keys say what the other formats can say: `boards`, `capableOnly` and `rank` of an
 * entry, and the list `sharing`; `part` says which of the two parts the file is about.
 */
#include "layoutfile/internal.h"
#include "model/gpu_model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- sharing: mode, replicas, timeslice; the last three keys of every map that has them ---- */

enum { MODE, REPLICAS, TIMESLICE };

static int read_replicas(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                         struct dv_layout_sharing *s)
{
    if (s->mode != DV_MODE_MPS && s->mode != DV_MODE_TIMESLICE && s->mode != DV_MODE_GOVERNED)
        return dv_yaml_bad(in->yaml, node, in->err,
                           "replicas: of a device in mode %s; mps, timeslice and governed have "
                           "replicas",
                           dv_device_mode_name(s->mode));
    if (dv_yaml_is(node, "0") || dv_yaml_is(node, "1"))
        return dv_yaml_bad(in->yaml, node, in->err,
                           "replicas: %s is not shared; give 2 or more, or say mode: exclusive",
                           node->text);
    return dv_yaml_integer(in->yaml, node, "replicas", 2, DV_LAYOUT_REPLICAS_MAX, &s->replicas,
                           in->err);
}

static int read_timeslice(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                          struct dv_layout_sharing *s)
{
    const char *text;
    struct dv_err why = {{0}};
    int r = dv_yaml_text(in->yaml, node, "timeslice", &text, in->err);
    if (r < 0)
        return r;
    if (s->mode != DV_MODE_TIMESLICE)
        return dv_yaml_bad(in->yaml, node, in->err,
                           "timeslice: of a device in mode %s; say mode: timeslice or leave it out",
                           dv_device_mode_name(s->mode));
    if (dv_device_timeslice_parse(text, &s->timeslice, &why) < 0)
        return dv_yaml_bad(in->yaml, node, in->err, "timeslice: %s", why.msg);
    return 0;
}

static int read_sharing(struct dv_layoutfile_reader *in, const struct dv_yaml_node *const got[3],
                        struct dv_layout_sharing *ret)
{
    struct dv_layout_sharing s = {0};
    const char *text;
    int r = 0;
    if (got[MODE]) {
        struct dv_err why = {{0}};
        r = dv_yaml_text(in->yaml, got[MODE], "mode", &text, in->err);
        if (!r && !strcmp(text, "mig"))
            r = dv_yaml_bad(in->yaml, got[MODE], in->err,
                            "mode: mig is said by the key mig, with the list of its devices");
        else if (!r && dv_device_mode_parse(text, &s.mode, &why) < 0)
            r = dv_yaml_bad(in->yaml, got[MODE], in->err, "mode: %s", why.msg);
    }
    if (!r && got[REPLICAS])
        r = read_replicas(in, got[REPLICAS], &s);
    if (!r && got[TIMESLICE])
        r = read_timeslice(in, got[TIMESLICE], &s);
    *ret = s;
    return r;
}

/* ---- mig ---- */

static int read_count(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                      const struct dv_layout_device *d, uint32_t *ret)
{
    struct dv_mig_name name;
    int r = dv_yaml_integer(in->yaml, node, "count", 1, DV_LAYOUT_DEVICES_MAX, ret, in->err);
    if (r < 0)
        return r;
    if (*ret > 1 && d->start != DV_MIG_UNPLACED && !dv_mig_name_parse(d->profile, &name, NULL) &&
        !name.compute)
        return dv_yaml_bad(in->yaml, node, in->err,
                           "count: %u instances cannot all start at %u; list them one by one", *ret,
                           d->start);
    return 0;
}

static int read_mig_device(struct dv_layoutfile_reader *in, const struct dv_yaml_node *item,
                           struct dv_layout_gpu *entry)
{
    static const char *const names[] = {"profile", "start",    "count",
                                        "mode",    "replicas", "timeslice"};
    static const struct dv_yaml_map map = {"a MIG device", names, DV_ARRAY_SIZE(names)};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    struct dv_layout_device d = {.start = DV_MIG_UNPLACED};
    uint32_t count = 1;
    if (item->kind == DV_YAML_SCALAR) {
        int r = dv_layoutfile_profile(in, item, "mig", d.profile);
        return r ? r : dv_layoutfile_add_devices(in, item, entry, &d, 1);
    }
    int r = dv_yaml_map_read(in->yaml, item, &map, got, in->err);
    if (!r && !got[0])
        return dv_yaml_bad(in->yaml, item, in->err,
                           "profile is missing; `divvy mig profiles` lists what there is");
    r = r ? r : dv_layoutfile_profile(in, got[0], "profile", d.profile);
    if (!r && got[1])
        r = dv_yaml_integer(in->yaml, got[1], "start", 0, DV_MIG_GRID_MAX - 1, &d.start, in->err);
    if (!r && got[2])
        r = read_count(in, got[2], &d, &count);
    r = r ? r : read_sharing(in, got + 3, &d.sharing);
    return r ? r : dv_layoutfile_add_devices(in, item, entry, &d, count);
}

static int read_mig(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                    struct dv_layout_gpu *entry)
{
    int r = dv_yaml_list(in->yaml, node, "mig", DV_LAYOUT_DEVICES_MAX, in->err);
    for (uint32_t i = 0; !r && i < node->n; i++)
        r = read_mig_device(in, node->items[i], entry);
    return r;
}

/* ---- gpus ---- */

static bool same_filters(const struct dv_layout_gpu *a, const struct dv_layout_gpu *b)
{
    return a->n_filters == b->n_filters &&
           !memcmp(a->filters, b->filters, a->n_filters * sizeof a->filters[0]);
}

static bool same_selector(const struct dv_selector *a, const struct dv_selector *b)
{
    if (a->kind != b->kind)
        return false;
    return a->kind == DV_SELECTOR_ANY ||
           (a->kind == DV_SELECTOR_INDEX ? a->index == b->index : !strcasecmp(a->text, b->text));
}

static int read_selector(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                         struct dv_selector *ret)
{
    const char *text;
    struct dv_err why = {{0}};
    int r = dv_yaml_text(in->yaml, node, "gpu", &text, in->err);
    if (r < 0)
        return r;
    if (!strcmp(text, "all") || !strcmp(text, "any")) {
        *ret = (struct dv_selector){.kind = DV_SELECTOR_ANY, .text = "all"};
        return 0;
    }
    if (dv_claim_selector_parse(text, ret, &why) < 0)
        return dv_yaml_bad(in->yaml, node, in->err, "gpu: %s", why.msg);
    if (!strncasecmp(text, "MIG-", 4))
        return dv_yaml_bad(in->yaml, node, in->err,
                           "gpu: %.60s is a MIG device; an entry is about a GPU", text);
    if (ret->kind == DV_SELECTOR_INDEX)
        snprintf(ret->text, sizeof ret->text, "%u", ret->index);
    if (ret->kind == DV_SELECTOR_MODEL && !dv_gpu_model_find(text, NULL))
        dv_layoutfile_warn(in, node,
                           "gpu: no known model is called \"%.60s\"; the entry means GPUs whose "
                           "driver gives exactly this name",
                           text);
    return 0;
}

static int add_entry(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                     struct dv_layout_gpu *entry, bool ranked)
{
    int r = read_selector(in, node, &entry->gpus);
    if (r < 0)
        return r;
    if (!ranked)
        entry->rank = entry->gpus.kind == DV_SELECTOR_ANY     ? 0
                      : entry->gpus.kind == DV_SELECTOR_MODEL ? 1
                                                              : 2;
    for (uint32_t i = 0; i < in->layout->n_entries; i++) {
        const struct dv_layout_gpu *o = &in->layout->entries[i];
        if (o->rank == entry->rank && same_selector(&o->gpus, &entry->gpus) &&
            same_filters(o, entry))
            return dv_yaml_bad(in->yaml, node, in->err,
                               "gpu: %s is claimed by two entries, here and in line %u; keep one",
                               entry->gpus.text, o->line);
    }
    return dv_layoutfile_add_entry(in, node, entry);
}

static int add_entries(struct dv_layoutfile_reader *in, const struct dv_yaml_node *gpu,
                       struct dv_layout_gpu *entry, bool ranked)
{
    if (gpu->kind != DV_YAML_LIST)
        return add_entry(in, gpu, entry, ranked);
    if (!gpu->n)
        return dv_yaml_bad(in->yaml, gpu, in->err, "gpu: an empty list; name at least one GPU");
    int r = 0;
    for (uint32_t i = 0; !r && i < gpu->n; i++)
        r = add_entry(in, gpu->items[i], entry, ranked);
    return r;
}

enum { GPU, MIG, BOARDS, CAPABLE, RANK, ENTRY_SHARING };

static int read_devices(struct dv_layoutfile_reader *in, const struct dv_yaml_node *item,
                        const struct dv_yaml_node *const *got, struct dv_layout_gpu *entry)
{
    const struct dv_yaml_node *const *sharing = got + ENTRY_SHARING;
    if (got[MIG] && (sharing[MODE] || sharing[REPLICAS] || sharing[TIMESLICE]))
        return dv_yaml_bad(in->yaml, got[MIG], in->err,
                           "mig: together with mode, replicas or timeslice; of a GPU in MIG mode "
                           "each MIG device has its own");
    if (got[MIG])
        return read_mig(in, got[MIG], entry);
    if (!sharing[MODE])
        return dv_yaml_bad(
            in->yaml, item, in->err,
            "an entry wants mode (auto, exclusive, mps, timeslice, governed) or mig");
    entry->devices[0].start = DV_MIG_UNPLACED;
    entry->n_devices = 1;
    return read_sharing(in, sharing, &entry->devices[0].sharing);
}

static int read_entry(struct dv_layoutfile_reader *in, const struct dv_yaml_node *item)
{
    static const char *const names[] = {"gpu",  "mig",  "boards",   "capableOnly",
                                        "rank", "mode", "replicas", "timeslice"};
    static const struct dv_yaml_map map = {"an entry of gpus", names, DV_ARRAY_SIZE(names)};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    struct dv_layout_gpu entry = {.line = item->line};
    int r = dv_yaml_map_read(in->yaml, item, &map, got, in->err);
    if (!r && !got[GPU])
        return dv_yaml_bad(in->yaml, item, in->err,
                           "gpu is missing: an index, a UUID, a model, all, or a list of those");
    if (!r && got[BOARDS])
        r = dv_layoutfile_filters(in, got[BOARDS], "boards", &entry);
    if (!r && got[CAPABLE])
        r = dv_yaml_bool(in->yaml, got[CAPABLE], "capableOnly", &entry.capable_only, in->err);
    if (!r && got[RANK])
        r = dv_yaml_integer(in->yaml, got[RANK], "rank", 0, 65535, &entry.rank, in->err);
    r = r ? r : read_devices(in, item, got, &entry);
    return r ? r : add_entries(in, got[GPU], &entry, got[RANK]);
}

static int read_gpus(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node)
{
    int r = dv_yaml_list(in->yaml, node, "gpus", DV_LAYOUT_ENTRIES_MAX, in->err);
    for (uint32_t i = 0; !r && i < node->n; i++)
        r = read_entry(in, node->items[i]);
    return r;
}

/* ---- sharing ---- */

enum { DEVICES, FIRST, ONLY, RULE_SHARING };

static int read_rule_devices(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                             char ret[DV_MIG_NAME])
{
    if (dv_yaml_is(node, "whole"))
        return 0;
    if (dv_yaml_is(node, "mig")) {
        memcpy(ret, "*", 2);
        return 0;
    }
    if (node->kind == DV_YAML_SCALAR &&
        dv_mig_name_parse(node->text, &(struct dv_mig_name){0}, NULL) < 0)
        return dv_yaml_bad(
            in->yaml, node, in->err,
            "devices: \"%.60s\", where whole (GPUs), mig (every MIG device) or a MIG "
            "profile is wanted",
            node->text);
    return dv_layoutfile_profile(in, node, "devices", ret);
}

static int fill_rule(struct dv_layoutfile_reader *in, const struct dv_yaml_node *item,
                     const struct dv_yaml_node *const *got, struct dv_layout_rule *rule)
{
    int r = 0;
    if (!got[DEVICES] || !got[RULE_SHARING + MODE])
        return dv_yaml_bad(in->yaml, item, in->err, "%s is missing",
                           got[DEVICES] ? "mode" : "devices: whole, mig or a MIG profile");
    if (got[FIRST] && got[ONLY])
        return dv_yaml_bad(in->yaml, got[FIRST], in->err, "first: together with only; keep one");
    r = read_rule_devices(in, got[DEVICES], rule->profile);
    if (!r && got[FIRST])
        r = dv_yaml_integer(in->yaml, got[FIRST], "first", 1, DV_DEVICES_MAX, &rule->count,
                            in->err);
    r = r ? r : read_sharing(in, got + RULE_SHARING, &rule->sharing);
    if (!r && got[ONLY])
        r = dv_layoutfile_device_list(in, got[ONLY], "only", rule);
    return r;
}

static int read_rule(struct dv_layoutfile_reader *in, const struct dv_yaml_node *item)
{
    static const char *const names[] = {"devices", "first",    "only",
                                        "mode",    "replicas", "timeslice"};
    static const struct dv_yaml_map map = {"a rule of sharing", names, DV_ARRAY_SIZE(names)};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    struct dv_layout_rule rule = {.line = item->line};
    int r = dv_yaml_map_read(in->yaml, item, &map, got, in->err);
    r = r ? r : fill_rule(in, item, got, &rule);
    r = r ? r : dv_layoutfile_add_rule(in, item, &rule);
    if (r < 0)
        free(rule.list);
    return r;
}

static int read_rules(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node)
{
    int r = dv_yaml_list(in->yaml, node, "sharing", DV_LAYOUT_RULES_MAX, in->err);
    for (uint32_t i = 0; !r && i < node->n; i++)
        r = read_rule(in, node->items[i]);
    return r;
}

/* ---- the file ---- */

enum { VERSION, KIND, PART, GPUS, SHARING };

static int read_part(struct dv_layoutfile_reader *in, const struct dv_yaml_node *root,
                     const struct dv_yaml_node *const *got)
{
    struct dv_layout *l = in->layout;
    l->has_cut = l->has_sharing = true;
    if (dv_yaml_is(got[PART], "cut"))
        l->has_sharing = false;
    else if (dv_yaml_is(got[PART], "sharing"))
        l->has_cut = false;
    else if (got[PART] && !dv_yaml_is(got[PART], "both"))
        return dv_yaml_bad(in->yaml, got[PART], in->err,
                           "part: one of cut, sharing, both is wanted");
    if (got[GPUS] && !l->has_cut)
        return dv_yaml_bad(in->yaml, got[GPUS], in->err, "gpus: in a file about sharing only");
    if (got[SHARING] && !l->has_sharing)
        return dv_yaml_bad(in->yaml, got[SHARING], in->err,
                           "sharing: in a file about the cut only");
    if (!got[GPUS] && !got[SHARING])
        return dv_yaml_bad(in->yaml, root, in->err,
                           "gpus is missing: the list of what each GPU "
                           "should be");
    return 0;
}

int dv_layoutfile_read_own(struct dv_layoutfile_reader *in, const struct dv_yaml_node *root)
{
    static const char *const names[] = {"apiVersion", "kind", "part", "gpus", "sharing"};
    static const struct dv_yaml_map map = {"a layout", names, DV_ARRAY_SIZE(names)};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    char seen[DV_YAML_SEEN];
    int r = dv_yaml_map_read(in->yaml, root, &map, got, in->err);
    if (r < 0)
        return r;
    in->info->format = DV_LAYOUTFILE_DIVVY;
    if (!got[VERSION] || !got[KIND])
        return dv_yaml_bad(in->yaml, root, in->err, "%s is missing",
                           got[VERSION] ? "kind: Layout" : "apiVersion: divvy/v1");
    if (!dv_yaml_is(got[VERSION], "divvy/v1"))
        return dv_yaml_bad(in->yaml, got[VERSION], in->err,
                           "apiVersion: %s; this divvy reads divvy/v1",
                           dv_yaml_seen(got[VERSION], seen));
    if (!dv_yaml_is(got[KIND], "Layout"))
        return dv_yaml_bad(in->yaml, got[KIND], in->err, "kind: %s, where Layout is wanted",
                           dv_yaml_seen(got[KIND], seen));
    r = read_part(in, root, got);
    if (!r && got[GPUS])
        r = read_gpus(in, got[GPUS]);
    if (!r && got[SHARING])
        r = read_rules(in, got[SHARING]);
    return r;
}
