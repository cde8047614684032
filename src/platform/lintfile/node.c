/* SPDX-License-Identifier: Apache-2.0 */
/* A node's settings: the device plugin's and mig-parted's configurations, the GPU Operator's,
 * values of their charts, divvy's own files. What the readers of platform/layoutfile refuse is
 * refused here too; what they would say first only is looked for everywhere. */
#include "internal.h"
#include "layoutfile/cluster_policy.h"
#include "layoutfile/layoutfile.h"
#include "model/plugin_config.h"
#include "policy/lint/lint_kube.h"
#include "policy/lint/lint_mig.h"
#include "pricefile/pricefile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SANE_TURNS 4
#define MPS_CLIENTS 48
#define SET_MAX 64

/* ---- keys of the plugin's configuration ----------------------------------------------------- */

struct keys {
    const char *what;
    const char *const *names;
    size_t n;
};

static void judge_keys(struct dv_lintfile *l, const struct dv_yaml_node *map,
                       const struct keys *keys)
{
    char hint[DV_LINTFILE_HINT];
    for (uint32_t i = 0; map && map->kind == DV_YAML_MAP && i < map->n; i++) {
        const struct dv_yaml_node *key = map->items[2 * i];
        size_t k = 0;
        while (k < keys->n && strcmp(keys->names[k], key->text) != 0)
            k++;
        if (k < keys->n)
            continue;
        const char *where = dv_layoutfile_plugin_hint(key->text);
        if (where)
            dv_lintfile_add(l, key, DV_LINT_MISPLACED_KEY, key->text, keys->what, where, NULL);
        else
            dv_lintfile_add(
                l, key, DV_LINT_UNKNOWN_KEY, key->text, keys->what,
                dv_lintfile_did_you_mean(dv_str_nearest(key->text, keys->names, keys->n), hint),
                NULL);
    }
}

static void judge_flags(struct dv_lintfile *l, const struct dv_yaml_node *flags)
{
    static const enum dv_plugin_group groups[] = {DV_PLUGIN_GROUP_FLAGS, DV_PLUGIN_GROUP_PLUGIN,
                                                  DV_PLUGIN_GROUP_GFD};
    static const char *const whats[] = {"flags", "flags.plugin", "flags.gfd"};
    const struct dv_yaml_node *maps[] = {flags, dv_lintfile_map(flags, "plugin"),
                                         dv_lintfile_map(flags, "gfd")};
    for (size_t g = 0; g < DV_ARRAY_SIZE(groups); g++) {
        const char *names[32] = {"plugin", "gfd"};
        const struct dv_plugin_flag *f;
        size_t n = g ? 0 : 2;
        for (size_t i = 0; (f = dv_plugin_flags_at(i)) && n < DV_ARRAY_SIZE(names); i++)
            if (f->group == groups[g])
                names[n++] = f->key;
        judge_keys(l, maps[g], &(struct keys){whats[g], names, n});
    }
}

/* ---- sharing -------------------------------------------------------------------------------- */

struct section {
    const char *key, *what;
    const struct dv_yaml_node *node;
    const struct dv_yaml_node *other; /* names that an earlier section shares: its resources */
    const char *other_what;
    const char *strategy; /* of this file's flags; NULL: not said */
};

static bool is_plain_integer(const struct dv_yaml_node *node, long *ret)
{
    char *end;
    if (!node || node->kind != DV_YAML_SCALAR || !node->plain)
        return false;
    *ret = strtol(node->text, &end, 10);
    return end != node->text && !*end;
}

static void judge_replicas(struct dv_lintfile *l, const struct section *s,
                           const struct dv_yaml_node *item)
{
    const struct dv_yaml_node *replicas = dv_lintfile_get(item, "replicas");
    char n[24], most[24];
    long value = 0;
    if (!is_plain_integer(replicas, &value))
        return;
    snprintf(n, sizeof n, "%ld", value);
    snprintf(most, sizeof most, "%d", MPS_CLIENTS);
    if (value == 1)
        dv_lintfile_add(l, replicas, DV_LINT_REPLICAS_ONE, NULL, NULL, NULL, NULL);
    if (!strcmp(s->key, "timeSlicing") && value > SANE_TURNS)
        dv_lintfile_add(l, replicas, DV_LINT_REPLICAS_MANY, n, NULL, NULL, NULL);
    if (!strcmp(s->key, "mps") && value > MPS_CLIENTS)
        dv_lintfile_add(l, replicas, DV_LINT_MPS_CLIENTS, n, most, NULL, NULL);
}

static bool shares(const struct dv_yaml_node *resources, const char *name)
{
    for (uint32_t i = 0; resources && i < resources->n; i++)
        if (!strcmp(dv_lintfile_text(resources->items[i], "name"), name))
            return true;
    return false;
}

static void judge_shared_resource(struct dv_lintfile *l, const struct section *s,
                                  const struct dv_yaml_node *item)
{
    static const char *const names[] = {"name", "rename", "devices", "replicas"};
    const struct dv_yaml_node *at = dv_lintfile_get(item, "name");
    const struct dv_yaml_node *devices = dv_lintfile_get(item, "devices");
    const char *name = dv_lintfile_scalar(at);
    bool mig = strstr(name, "mig-") != NULL;
    if (strcmp(s->key, "governed") != 0)
        judge_keys(l, item, &(struct keys){"a shared resource", names, DV_ARRAY_SIZE(names)});
    judge_replicas(l, s, item);
    if (mig && s->strategy && strcmp(s->strategy, "mixed") != 0)
        dv_lintfile_add(l, at, DV_LINT_MIG_NOT_MIXED, name, s->strategy, NULL, NULL);
    if (at && shares(s->other, name))
        dv_lintfile_add(l, at, DV_LINT_TWO_SECTIONS, name, s->other_what, s->what, NULL);
    if (dv_lintfile_get(item, "rename"))
        dv_lintfile_add(l, dv_lintfile_key(item, "rename"), DV_LINT_DROPPED_KEY, "rename", NULL,
                        NULL, NULL);
    if (devices && !dv_yaml_is(devices, "all"))
        dv_lintfile_add(l, dv_lintfile_key(item, "devices"), DV_LINT_DROPPED_KEY, "devices", NULL,
                        NULL, NULL);
}

/* Shares that might be taken for whole devices: their names, and requests for several. */
static void judge_names(struct dv_lintfile *l, const struct section *s,
                        const struct dv_yaml_node *resources)
{
    const struct dv_yaml_node *rename = dv_lintfile_get(s->node, "renameByDefault");
    const struct dv_yaml_node *fail = dv_lintfile_get(s->node, "failRequestsGreaterThanOne");
    const struct dv_yaml_node *plain = NULL;
    bool renamed = dv_yaml_is(rename, "true"), shared = false;
    for (uint32_t i = 0; i < resources->n; i++) {
        long n = 0;
        is_plain_integer(dv_lintfile_get(resources->items[i], "replicas"), &n);
        shared = shared || n > 1;
        if (n > 1 && !renamed && !dv_lintfile_get(resources->items[i], "rename") && !plain)
            plain = dv_lintfile_get(resources->items[i], "name");
    }
    if (plain)
        dv_lintfile_add(l, rename ? rename : plain, DV_LINT_NOT_RENAMED, dv_lintfile_scalar(plain),
                        NULL, NULL, NULL);
    bool turns = !strcmp(s->key, "timeSlicing");
    if (shared && (fail ? dv_yaml_is(fail, "false") : turns))
        dv_lintfile_add(l, fail ? fail : dv_lintfile_key(s->node, "resources"),
                        DV_LINT_REQUESTS_ABOVE_ONE, fail ? "false" : "not set", NULL, NULL, NULL);
}

static void judge_section(struct dv_lintfile *l, const struct section *s)
{
    static const char *const names[] = {"renameByDefault", "failRequestsGreaterThanOne",
                                        "resources"};
    const struct dv_yaml_node *resources = dv_lintfile_list(s->node, "resources");
    const char *replicas = dv_lintfile_text(s->node, "replicas");
    if (!s->node)
        return;
    if (!dv_lintfile_get(s->node, "resources") || (resources && !resources->n))
        dv_lintfile_add(l, s->node, DV_LINT_NO_RESOURCES, s->what, *replicas ? replicas : "4", NULL,
                        NULL);
    judge_keys(l, s->node, &(struct keys){s->what, names, DV_ARRAY_SIZE(names)});
    if (!resources)
        return;
    for (uint32_t i = 0; i < resources->n; i++)
        judge_shared_resource(l, s, resources->items[i]);
    if (strcmp(s->key, "governed") != 0)
        judge_names(l, s, resources);
}

static void judge_sharing(struct dv_lintfile *l, const struct dv_yaml_node *root)
{
    static const char *const names[] = {"governed", "mps", "timeSlicing"};
    static const char *const whats[] = {"sharing.governed", "sharing.mps", "sharing.timeSlicing"};
    const struct dv_yaml_node *sharing = dv_lintfile_map(root, "sharing");
    const struct dv_yaml_node *strategy = dv_lintfile_find(root, "flags/migStrategy");
    const struct dv_yaml_node *mps = dv_lintfile_map(sharing, "mps");
    judge_keys(l, sharing, &(struct keys){"sharing", names, DV_ARRAY_SIZE(names)});
    for (size_t i = 0; i < DV_ARRAY_SIZE(names); i++) {
        struct section s = {.key = names[i], .what = whats[i]};
        s.node = dv_lintfile_map(sharing, names[i]);
        s.strategy = strategy ? dv_lintfile_scalar(strategy) : l->strategy;
        s.other = i == 2 ? dv_lintfile_list(mps, "resources") : NULL;
        s.other_what = whats[1];
        judge_section(l, &s);
    }
    const char *text = strategy ? dv_lintfile_scalar(strategy) : "";
    if (mps && !strcmp(text, "mixed"))
        dv_lintfile_add(l, strategy, DV_LINT_MPS_MIXED, text, NULL, NULL, NULL);
}

/* ---- what the readers say ------------------------------------------------------------------- */

/* A warning of a reader in a line that has none yet. */
static void pass_on(struct dv_lintfile *l, enum dv_lint_rule rule, uint32_t line, const char *text)
{
    struct dv_yaml_node at = {.kind = DV_YAML_SCALAR, .line = line ? line : 1, .column = 1};
    if (!dv_lintfile_is_said(l, dv_lintfile_at(l, &at).line))
        dv_lintfile_add(l, &at, rule, text, NULL, NULL, NULL);
}

static bool has_errors(const struct dv_lintfile *l, uint32_t since)
{
    for (uint32_t i = since; i < l->report->n_findings; i++)
        if (dv_lint_rule(l->report->findings[i].rule)->severity == DV_LINT_ERROR)
            return true;
    return false;
}

void dv_lintfile_plugin(struct dv_lintfile *l, const struct dv_yaml_node *root)
{
    static const char *const names[] = {"version", "flags", "resources", "sharing", "imex"};
    struct dv_plugin_config *config = NULL;
    struct dv_layoutfile_info info = {0};
    struct dv_err err = {{0}};
    uint32_t since = l->report->n_findings;
    judge_keys(l, root,
               &(struct keys){"a device plugin's configuration", names, DV_ARRAY_SIZE(names)});
    judge_flags(l, dv_lintfile_map(root, "flags"));
    judge_sharing(l, root);
    int r = dv_layoutfile_read_plugin(l->name, l->yaml->source, l->yaml->len, NULL, &config, &info,
                                      &err);
    l->failed = l->failed || r == -ENOMEM;
    if (r < 0 && r != -ENOMEM && !has_errors(l, since))
        dv_lintfile_complain(l, DV_LINT_BAD_VALUE, err.msg);
    for (uint32_t i = 0; r == 0 && i < info.n_warnings; i++)
        if (!strstr(info.warnings[i].text, "renameByDefault") &&
            !strstr(info.warnings[i].text, "failRequestsGreaterThanOne"))
            pass_on(l, DV_LINT_CONFIG_WARNING, info.warnings[i].line, info.warnings[i].text);
    dv_plugin_config_free(config);
}

/* ---- mig-parted ----------------------------------------------------------------------------- */

/* The model that an entry's filter means, if it is one. */
static const struct dv_gpu_model *filtered(const struct dv_lintfile *l,
                                           const struct dv_yaml_node *entry)
{
    const struct dv_yaml_node *filter = dv_lintfile_get(entry, "device-filter");
    if (filter && filter->kind == DV_YAML_LIST && filter->n == 1)
        filter = filter->items[0];
    const char *text = dv_lintfile_scalar(filter);
    if (!*text)
        return l->options->gpu;
    return dv_gpu_model_by_pci((uint32_t)(strtoul(text, NULL, 16) >> 16));
}

static void judge_set(struct dv_lintfile *l, const struct dv_yaml_node *at,
                      const char *const *names, size_t n, const struct dv_gpu_model *model)
{
    dv_cleanup(dv_str_done) struct dv_str set = {0}, why = {0};
    struct dv_lint_mig_answer a;
    const char *near;
    if (dv_lint_mig_set(names, n, model, &a) < 0) {
        l->failed = true;
        return;
    }
    for (size_t i = 0; i < n; i++)
        dv_str_addf(&set, "%s%s", i ? ", " : "", names[i]);
    dv_lint_mig_text(&a, &why);
    l->failed = l->failed || set.failed || why.failed;
    if (a.result == DV_LINT_MIG_NO_MIG && model)
        dv_lintfile_add(l, at, DV_LINT_NO_MIG_CARD, dv_str_get(&set), model->name, NULL, NULL);
    else if (a.result == DV_LINT_MIG_NO_ROOM)
        dv_lintfile_add(l, at, DV_LINT_MIG_SET, dv_str_get(&set), dv_str_get(&why),
                        "ask for what fits (divvy mig plan --gpu MODEL --want LIST)", NULL);
    else if (a.result == DV_LINT_MIG_NO_PROFILE &&
             dv_lint_mig_profile(a.profile, model, &near)) /* of another GPU than the others */
        dv_lintfile_add(l, at, DV_LINT_MIG_SET, dv_str_get(&set), dv_str_get(&why),
                        "use profiles of one GPU model (divvy mig profiles)", NULL);
}

static void judge_mig_devices(struct dv_lintfile *l, const struct dv_yaml_node *entry)
{
    const struct dv_yaml_node *map = dv_lintfile_map(entry, "mig-devices");
    const struct dv_gpu_model *model = filtered(l, entry);
    const char *names[SET_MAX], *first = NULL, *other = NULL, *near;
    char hint[DV_LINTFILE_HINT];
    size_t n = 0;
    bool known = true;
    for (uint32_t i = 0; map && i < map->n; i++) {
        const struct dv_yaml_node *key = map->items[2 * i];
        long count = 0;
        struct dv_mig_name name;
        is_plain_integer(map->items[2 * i + 1], &count);
        bool parses = dv_mig_name_parse(key->text, &name, NULL) == 0;
        if (parses && !(model && !model->mig) && !dv_lint_mig_profile(key->text, model, &near)) {
            dv_lintfile_add(l, key, DV_LINT_NO_PROFILE, "mig-devices", key->text,
                            model ? model->name : "any GPU", dv_lintfile_did_you_mean(near, hint));
            known = false;
        }
        /* Compute instances are packed into GPU instances; only whole ones are counted here. */
        known = known && parses && !name.compute;
        for (; count > 0 && n < SET_MAX; count--)
            names[n++] = key->text;
        if (count > 0 || n == 0 || (first && !strcmp(first, names[n - 1])))
            continue;
        other = first ? names[n - 1] : other;
        first = first ? first : names[n - 1];
    }
    if (known && n)
        judge_set(l, dv_lintfile_key(entry, "mig-devices"), names, n, model);
    if (other && l->strategy && !strcmp(l->strategy, "single"))
        dv_lintfile_add(l, dv_lintfile_key(entry, "mig-devices"), DV_LINT_MIXED_UNDER_SINGLE,
                        "mig-devices", first, other, NULL);
}

static bool is_bool(const struct dv_lintfile *l, const struct dv_yaml_node *entry, bool *ret)
{
    const struct dv_yaml_node *enabled = dv_lintfile_get(entry, "mig-enabled");
    return enabled && dv_yaml_bool(l->yaml, enabled, "mig-enabled", ret, NULL) == 0;
}

/* mig-enabled and what has to agree with it. */
static void judge_mig_enabled(struct dv_lintfile *l, const struct dv_yaml_node *entry)
{
    const struct dv_yaml_node *enabled = dv_lintfile_get(entry, "mig-enabled");
    const struct dv_yaml_node *devices = dv_lintfile_map(entry, "mig-devices");
    const char *text = dv_lintfile_scalar(enabled);
    bool on = false;
    if (enabled && enabled->kind == DV_YAML_SCALAR && !enabled->plain)
        dv_lintfile_add(l, enabled, DV_LINT_MIG_ENABLED_TEXT, text,
                        !strcasecmp(text, "true")    ? "true"
                        : !strcasecmp(text, "false") ? "false"
                                                     : "true or false",
                        NULL, NULL);
    else if (is_bool(l, entry, &on) && !on && devices && devices->n)
        dv_lintfile_add(l, devices, DV_LINT_MIG_DEVICES_OFF, devices->items[0]->text, NULL, NULL,
                        NULL);
}

/* ---- GPUs that a configuration means twice -------------------------------------------------- */

/* "0xDDDDVVVV", and a subsystem behind a colon if one is meant. */
static bool filters_meet(const char *a, const char *b)
{
    const char *x = strchr(a, ':'), *y = strchr(b, ':');
    return strtoul(a, NULL, 16) == strtoul(b, NULL, 16) &&
           (!x || !y || strtoul(x + 1, NULL, 16) == strtoul(y + 1, NULL, 16));
}

static bool any_meets(const struct dv_yaml_node *list, const char *filter)
{
    if (list->kind != DV_YAML_LIST)
        return filters_meet(dv_lintfile_scalar(list), filter);
    for (uint32_t i = 0; i < list->n && i < DV_GPUS_MAX; i++)
        if (filters_meet(dv_lintfile_scalar(list->items[i]), filter))
            return true;
    return false;
}

static bool is_filter(const struct dv_yaml_node *f)
{
    return f && (f->kind == DV_YAML_LIST ? f->n > 0 : *dv_lintfile_scalar(f) != 0);
}

/* Whether some GPU passes both entries' filters. */
static bool can_meet(const struct dv_yaml_node *a, const struct dv_yaml_node *b)
{
    const struct dv_yaml_node *x = dv_lintfile_get(a, "device-filter");
    const struct dv_yaml_node *y = dv_lintfile_get(b, "device-filter");
    if (!is_filter(x) || !is_filter(y))
        return true;
    if (y->kind != DV_YAML_LIST)
        return any_meets(x, dv_lintfile_scalar(y));
    for (uint32_t i = 0; i < y->n && i < DV_GPUS_MAX; i++)
        if (any_meets(x, dv_lintfile_scalar(y->items[i])))
            return true;
    return false;
}

/* A bit for each index that its devices name; all of them for `all`. */
static uint64_t gpus_of(const struct dv_yaml_node *entry)
{
    const struct dv_yaml_node *devices = dv_lintfile_get(entry, "devices");
    uint64_t gpus = 0;
    long at = 0;
    if (devices && dv_yaml_is(devices, "all"))
        return UINT64_MAX;
    for (uint32_t i = 0; devices && devices->kind == DV_YAML_LIST && i < devices->n; i++)
        if (is_plain_integer(devices->items[i], &at) && at >= 0 && at < DV_GPUS_MAX)
            gpus |= UINT64_C(1) << at;
    return gpus;
}

static const char *what_follows(const struct dv_lintfile *l, const struct dv_yaml_node *a,
                                const struct dv_yaml_node *b)
{
    bool first = false, second = false;
    if (!is_bool(l, a, &first) || !is_bool(l, b, &second))
        return "what the last entry says stays";
    if (first != second)
        return "one switches MIG on and the other off, so that mig-parted's assert never holds, "
               "and apply fails once it has to cut";
    return first ? "mig-parted cuts it twice, and what the last entry says stays"
                 : "the second time does nothing";
}

static void say_twice(struct dv_lintfile *l, const struct dv_yaml_node *at, const char *gpu,
                      const struct dv_yaml_node *entry, const struct dv_yaml_node *before)
{
    char place[64];
    snprintf(place, sizeof place, "the entry in line %u", dv_lintfile_at(l, before).line);
    dv_lintfile_add(l, at, DV_LINT_GPU_TWICE, gpu, place, what_follows(l, before, entry), NULL);
}

/* Within one entry; mig-parted looks only whether an index is in the list. */
static void judge_list(struct dv_lintfile *l, const struct dv_yaml_node *entry)
{
    const struct dv_yaml_node *devices = dv_lintfile_list(entry, "devices");
    uint64_t seen = 0;
    long at = 0;
    for (uint32_t i = 0; devices && i < devices->n; i++) {
        char gpu[32];
        if (!is_plain_integer(devices->items[i], &at) || at < 0 || at >= DV_GPUS_MAX)
            continue;
        snprintf(gpu, sizeof gpu, "GPU %ld", at);
        if (seen >> at & 1)
            dv_lintfile_add(l, devices->items[i], DV_LINT_GPU_TWICE, gpu, "this list",
                            "mig-parted takes it once", NULL);
        seen |= UINT64_C(1) << at;
    }
}

static void judge_pair(struct dv_lintfile *l, const struct dv_yaml_node *before,
                       const struct dv_yaml_node *entry, uint64_t *said)
{
    const struct dv_yaml_node *devices = dv_lintfile_get(entry, "devices");
    uint64_t both = gpus_of(before) & gpus_of(entry) & ~*said;
    char gpu[32];
    long at = 0;
    if (!both || !can_meet(before, entry))
        return;
    *said |= both;
    if (both == UINT64_MAX) {
        bool filtered = is_filter(dv_lintfile_get(before, "device-filter")) &&
                        is_filter(dv_lintfile_get(entry, "device-filter"));
        say_twice(l, devices, filtered ? "every GPU that passes both filters" : "every GPU", entry,
                  before);
        return;
    }
    for (uint32_t i = 0; devices->kind == DV_YAML_LIST && i < devices->n; i++) {
        if (!is_plain_integer(devices->items[i], &at) || at < 0 || at >= DV_GPUS_MAX ||
            !(both >> at & 1))
            continue;
        snprintf(gpu, sizeof gpu, "GPU %ld", at);
        say_twice(l, devices->items[i], gpu, entry, before);
        both &= ~(UINT64_C(1) << at);
    }
    for (at = 0; devices->kind != DV_YAML_LIST && at < DV_GPUS_MAX; at++)
        if (both >> at & 1) {
            snprintf(gpu, sizeof gpu, "GPU %ld", at);
            say_twice(l, devices, gpu, entry, before);
        }
}

static void judge_twice(struct dv_lintfile *l, const struct dv_yaml_node *list)
{
    uint32_t n = DV_MIN(list->n, DV_LAYOUT_ENTRIES_MAX);
    for (uint32_t k = 0; k < n; k++) {
        uint64_t said = 0;
        judge_list(l, list->items[k]);
        for (uint32_t i = 0; i < k; i++)
            judge_pair(l, list->items[i], list->items[k], &said);
    }
}

void dv_lintfile_mig_parted(struct dv_lintfile *l, const struct dv_yaml_node *root)
{
    const struct dv_yaml_node *configs = dv_lintfile_map(root, "mig-configs");
    struct dv_layout *layout = NULL;
    struct dv_layoutfile_info info = {0};
    struct dv_err err = {{0}};
    int r = dv_layoutfile_read(l->name, l->yaml->source, l->yaml->len,
                               configs && configs->n ? configs->items[0]->text : NULL, &layout,
                               &info, &err);
    dv_layout_free(layout);
    l->failed = l->failed || r == -ENOMEM;
    for (uint32_t i = 0; configs && i < configs->n; i++) {
        const struct dv_yaml_node *list = configs->items[2 * i + 1];
        for (uint32_t k = 0; list->kind == DV_YAML_LIST && k < list->n; k++) {
            judge_mig_enabled(l, list->items[k]);
            judge_mig_devices(l, list->items[k]);
        }
        if (list->kind == DV_YAML_LIST)
            judge_twice(l, list);
    }
    if (r < 0 && r != -ENOMEM)
        dv_lintfile_complain(l, DV_LINT_MIG_PARTED_BAD, err.msg);
    for (uint32_t i = 0; r == 0 && i < info.n_warnings; i++)
        pass_on(l, DV_LINT_CONFIG_WARNING, info.warnings[i].line, info.warnings[i].text);
}

/* ---- the GPU Operator, charts --------------------------------------------------------------- */

void dv_lintfile_operator(struct dv_lintfile *l, const struct dv_yaml_node *at)
{
    const struct dv_yaml_node *config = dv_lintfile_find(at, "devicePlugin/config");
    const struct dv_yaml_node *strategy = dv_lintfile_find(at, "mig/strategy");
    const struct dv_yaml_node *name = dv_lintfile_get(config, "name");
    const char *fallback = dv_lintfile_text(config, "default");
    enum dv_mig_strategy ignored;
    struct dv_err err = {{0}};
    dv_lint_in_scope(l->report);
    if (strategy && !dv_yaml_is_null(strategy) &&
        dv_plugin_flags_mig_strategy_parse(dv_lintfile_scalar(strategy), &ignored, &err) < 0)
        dv_lintfile_add(l, strategy, DV_LINT_OPERATOR_BAD, err.msg, NULL, NULL, NULL);
    static const char *const names[] = {"name", "default", "create", "data"};
    char hint[DV_LINTFILE_HINT], words[256];
    for (uint32_t i = 0; config && config->kind == DV_YAML_MAP && i < config->n; i++) {
        const char *key = config->items[2 * i]->text;
        bool known = false;
        for (size_t k = 0; k < DV_ARRAY_SIZE(names); k++)
            known = known || !strcmp(key, names[k]);
        if (known)
            continue;
        snprintf(words, sizeof words, "devicePlugin.config has no key %.60s%s", key,
                 dv_lintfile_did_you_mean(dv_str_nearest(key, names, DV_ARRAY_SIZE(names)), hint));
        dv_lintfile_add(l, config->items[2 * i], DV_LINT_OPERATOR_BAD, words, NULL, NULL, NULL);
    }
    if (name && *dv_lintfile_scalar(name) && !*fallback)
        dv_lintfile_add(l, name, DV_LINT_NO_DEFAULT, dv_lintfile_scalar(name), NULL, NULL, NULL);
}

/* config.map: configurations by name. */
static void judge_chart_map(struct dv_lintfile *l, const struct dv_yaml_node *map)
{
    for (uint32_t i = 0; map && i < map->n; i++) {
        const struct dv_yaml_node *value = map->items[2 * i + 1];
        struct dv_lintfile here;
        if (value->kind != DV_YAML_SCALAR)
            continue;
        dv_cleanup(dv_yaml_freep) struct dv_yaml *inner = dv_lintfile_inner(l, value, &here);
        if (inner && inner->n_roots)
            dv_lintfile_plugin(&here, inner->roots[0]);
        l->failed = l->failed || here.failed;
    }
}

static void judge_value(struct dv_lintfile *l, int chart, const struct dv_yaml_node *key,
                        const char *path)
{
    const char *hint;
    if (!dv_lint_kube_chart_value((enum dv_lint_chart)chart, path, &hint))
        dv_lintfile_add(l, key, DV_LINT_HELM_VALUE,
                        dv_lint_kube_chart_name((enum dv_lint_chart)chart), path, hint, NULL);
}

void dv_lintfile_values(struct dv_lintfile *l, const struct dv_yaml_node *values, int chart,
                        bool sure)
{
    char path[192];
    dv_lint_in_scope(l->report);
    for (uint32_t i = 0; sure && values->kind == DV_YAML_MAP && i < values->n; i++) {
        const struct dv_yaml_node *key = values->items[2 * i], *value = values->items[2 * i + 1];
        const struct dv_yaml_node *config = dv_lintfile_map(value, "config");
        judge_value(l, chart, key, key->text);
        bool inside = chart == DV_LINT_CHART_PLUGIN &&
                      (!strcmp(key->text, "config") || !strcmp(key->text, "devicePlugin"));
        for (uint32_t k = 0; inside && value->kind == DV_YAML_MAP && k < value->n; k++) {
            snprintf(path, sizeof path, "%.60s.%.100s", key->text, value->items[2 * k]->text);
            judge_value(l, chart, value->items[2 * k], path);
        }
        for (uint32_t k = 0; inside && config && k < config->n; k++) {
            snprintf(path, sizeof path, "%.60s.config.%.100s", key->text,
                     config->items[2 * k]->text);
            judge_value(l, chart, config->items[2 * k], path);
        }
    }
    if (chart == DV_LINT_CHART_OPERATOR)
        dv_lintfile_operator(l, values);
    else
        judge_chart_map(l, dv_lintfile_map(dv_lintfile_map(values, "config"), "map"));
}

/* ---- divvy's own ---------------------------------------------------------------------------- */

/* The MIG devices of a layout on one GPU. */
static void judge_cuts(struct dv_lintfile *l, const struct dv_layout *layout)
{
    for (uint32_t i = 0; i < layout->n_entries; i++) {
        const struct dv_layout_gpu *e = &layout->entries[i];
        struct dv_yaml_node at = {.kind = DV_YAML_SCALAR, .line = e->line, .column = 1};
        const char *names[SET_MAX];
        bool whole = false;
        size_t n = 0;
        for (uint32_t k = 0; k < e->n_devices && n < SET_MAX; k++) {
            struct dv_mig_name name;
            whole = whole || !e->devices[k].profile[0] ||
                    dv_mig_name_parse(e->devices[k].profile, &name, NULL) < 0 || name.compute;
            names[n++] = e->devices[k].profile;
        }
        if (!whole && n)
            judge_set(l, &at, names, n, l->options->gpu);
    }
}

void dv_lintfile_own(struct dv_lintfile *l, const struct dv_yaml_node *root)
{
    const char *kind = dv_lintfile_text(root, "kind");
    struct dv_layoutfile_info info = {0};
    struct dv_pricefile_info priced = {0};
    struct dv_price_list *prices = NULL;
    struct dv_layout *layout = NULL;
    struct dv_err err = {{0}};
    bool is_layout = !strcmp(kind, "Layout"), is_prices = !strcmp(kind, "PriceList");
    int r = 0;
    dv_lint_in_scope(l->report);
    if (is_layout)
        r = dv_layoutfile_read(l->name, l->yaml->source, l->yaml->len, NULL, &layout, &info, &err);
    else if (is_prices)
        r = dv_pricefile_read(l->name, l->yaml->source, l->yaml->len, NULL, &prices, &priced, &err);
    l->failed = l->failed || r == -ENOMEM;
    if (r < 0 && r != -ENOMEM)
        dv_lintfile_complain(l, is_layout ? DV_LINT_LAYOUT_BAD : DV_LINT_PRICES_BAD, err.msg);
    for (uint32_t i = 0; r == 0 && i < info.n_warnings; i++)
        pass_on(l, DV_LINT_LAYOUT_WARNING, info.warnings[i].line, info.warnings[i].text);
    for (uint32_t i = 0; r == 0 && i < priced.n_warnings; i++)
        pass_on(l, DV_LINT_PRICES_WARNING, priced.warnings[i].line, priced.warnings[i].text);
    if (r == 0 && layout)
        judge_cuts(l, layout);
    dv_layout_free(layout);
    dv_price_list_freep(&prices);
}
