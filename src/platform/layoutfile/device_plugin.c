/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The NVIDIA device plugin's configuration (version: v1). Every key of it is known and checked;
 * a layout takes the sharing from it. Source: NVIDIA/k8s-device-plugin v0.20.0, api/config/v1.
 *
 *     version: v1
 *     flags: {migStrategy: mixed}
 *     sharing:
 *       timeSlicing:            # or mps, which counts when both are given
 *         renameByDefault: true
 *         failRequestsGreaterThanOne: true
 *         resources:
 *         - name: nvidia.com/gpu
 *           devices: all        # or a number, or a list of 0, "0:1", UUIDs
 *           replicas: 4
 *
 * Two things differ from the plugin, both on purpose: `devices` is heeded (the plugin reads it and
 * drops it), and `replicas: 1` is a warning rather than an error.
 */
#include "layoutfile/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "nvidia.com/"
#define NAME_MAX_LEN 63u          /* of a resource, with its prefix */
#define TIMESLICE_REPLICAS_SANE 4 /* with more, turns get long and contexts fill the memory */

/* ---- keys at the wrong place ---- */

static const char *hint(const char *key)
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
        {"renameByDefault", "it belongs under sharing.timeSlicing or sharing.mps"},
        {"failRequestsGreaterThanOne", "it belongs under sharing.timeSlicing or sharing.mps"},
        {"replicas", "it belongs to a resource; write resources: [{name: nvidia.com/gpu, "
                     "replicas: N}] under sharing.timeSlicing or sharing.mps"},
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

enum type { TYPE_BOOL, TYPE_TEXT, TYPE_CHOICE, TYPE_CHOICES, TYPE_DURATION, TYPE_MAP };

struct flag {
    const char *name;
    enum type type;
    const char *const *choices; /* ended by NULL */
};

static const char *const mig_strategies[] = {"none", "single", "mixed", NULL};
static const char *const discoveries[] = {"auto", "nvml", "tegra", "vfio", NULL};
static const char *const list_strategies[] = {"envvar", "volume-mounts", "cdi-annotations",
                                              "cdi-cri", NULL};
static const char *const id_strategies[] = {"uuid", "index", NULL};
static const char *const policies[] = {"distributed", "packed", NULL};

static const struct flag flags[] = {
    {"migStrategy", TYPE_CHOICE, mig_strategies},
    {"failOnInitError", TYPE_BOOL, NULL},
    {"mpsRoot", TYPE_TEXT, NULL},
    {"nvidiaDriverRoot", TYPE_TEXT, NULL},
    {"nvidiaDevRoot", TYPE_TEXT, NULL},
    {"gdrcopyEnabled", TYPE_BOOL, NULL},
    {"gdsEnabled", TYPE_BOOL, NULL},
    {"mofedEnabled", TYPE_BOOL, NULL},
    {"useNodeFeatureAPI", TYPE_BOOL, NULL},
    {"deviceDiscoveryStrategy", TYPE_CHOICE, discoveries},
    {"plugin", TYPE_MAP, NULL},
    {"gfd", TYPE_MAP, NULL},
};
static const struct flag plugin_flags[] = {
    {"passDeviceSpecs", TYPE_BOOL, NULL},
    {"deviceListStrategy", TYPE_CHOICES, list_strategies},
    {"deviceIDStrategy", TYPE_CHOICE, id_strategies},
    {"cdiAnnotationPrefix", TYPE_TEXT, NULL},
    {"nvidiaCTKPath", TYPE_TEXT, NULL},
    {"containerDriverRoot", TYPE_TEXT, NULL},
    {"sharedDevicesAllocationPolicy", TYPE_CHOICE, policies},
};
static const struct flag gfd_flags[] = {
    {"oneshot", TYPE_BOOL, NULL},           {"noTimestamp", TYPE_BOOL, NULL},
    {"sleepInterval", TYPE_DURATION, NULL}, {"outputFile", TYPE_TEXT, NULL},
    {"machineTypeFile", TYPE_TEXT, NULL},
};

static int choice(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                  const struct flag *f)
{
    char list[120] = "";
    const char *text;
    size_t n = 0, used = 0;
    int r = dv_yaml_text(in->yaml, node, f->name, &text, in->err);
    if (r < 0)
        return r;
    for (; f->choices[n]; n++) {
        if (!strcmp(f->choices[n], text))
            return 0;
        used +=
            (size_t)snprintf(list + used, sizeof list - used, "%s%s", n ? ", " : "", f->choices[n]);
    }
    const char *near = dv_str_nearest(text, f->choices, n);
    return dv_yaml_bad(in->yaml, node, in->err, "%s: \"%.40s\"%s%s%s; one of %s is wanted", f->name,
                       text, near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "",
                       list);
}

/* "infinite", "90s", "1h30m", or a number of nanoseconds, as Go writes durations. */
static bool is_duration(const char *text)
{
    static const char *const units[] = {"ns", "us", "ms", "s", "m", "h"};
    if (!strcmp(text, "infinite") || (*text && strspn(text, "0123456789") == strlen(text)))
        return true;
    if (!*text)
        return false;
    while (*text) {
        size_t n = strspn(text, "0123456789."), k = 0;
        while (k < DV_ARRAY_SIZE(units) && strncmp(text + n, units[k], strlen(units[k])) != 0)
            k++;
        if (!n || k == DV_ARRAY_SIZE(units))
            return false;
        text += n + strlen(units[k]);
    }
    return true;
}

static int check_flag(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                      const struct flag *f)
{
    const char *text;
    bool b;
    int r = 0;
    switch (f->type) {
    case TYPE_BOOL:
        return dv_yaml_bool(in->yaml, node, f->name, &b, in->err);
    case TYPE_TEXT:
        return dv_yaml_text(in->yaml, node, f->name, &text, in->err);
    case TYPE_CHOICES:
        if (node->kind == DV_YAML_LIST) {
            for (uint32_t i = 0; !r && i < node->n; i++)
                r = choice(in, node->items[i], f);
            return r;
        }
        return choice(in, node, f);
    case TYPE_CHOICE:
        return choice(in, node, f);
    case TYPE_DURATION:
        r = dv_yaml_text(in->yaml, node, f->name, &text, in->err);
        if (!r && !is_duration(text))
            r = dv_yaml_bad(in->yaml, node, in->err,
                            "%s: \"%.40s\", where a duration like 60s or infinite is wanted",
                            f->name, text);
        return r;
    case TYPE_MAP:
        break;
    }
    return 0;
}

#define FLAGS_MAX 12u

static int check_flags(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                       const char *what, const struct flag *list, size_t n,
                       const struct dv_yaml_node *got[FLAGS_MAX])
{
    const char *names[FLAGS_MAX];
    for (size_t i = 0; i < n; i++)
        names[i] = list[i].name;
    const struct dv_yaml_map map = {what, names, n, .nulls = true, hint};
    int r = dv_yaml_map_read(in->yaml, node, &map, got, in->err);
    for (size_t i = 0; !r && i < n; i++)
        if (got[i])
            r = check_flag(in, got[i], &list[i]);
    return r;
}

static int read_flags(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                      const char **ret_strategy)
{
    const struct dv_yaml_node *got[FLAGS_MAX], *below[FLAGS_MAX];
    int r = check_flags(in, node, "flags", flags, DV_ARRAY_SIZE(flags), got);
    if (r < 0)
        return r;
    if (got[0])
        *ret_strategy = got[0]->text;
    if (got[10])
        r = check_flags(in, got[10], "flags.plugin", plugin_flags, DV_ARRAY_SIZE(plugin_flags),
                        below);
    if (!r && got[11])
        r = check_flags(in, got[11], "flags.gfd", gfd_flags, DV_ARRAY_SIZE(gfd_flags), below);
    return r;
}

/* ---- resource names ---- */

/* With its prefix. */
static int read_name(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                     const char *key, char ret[NAME_MAX_LEN + 1])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789.-";
    const char *text;
    int r = dv_yaml_text(in->yaml, node, key, &text, in->err);
    if (r < 0)
        return r;
    if (!strncmp(text, PREFIX, strlen(PREFIX)))
        text += strlen(PREFIX);
    size_t len = strlen(text);
    if (strlen(PREFIX) + len > NAME_MAX_LEN)
        return dv_yaml_bad(in->yaml, node, in->err, "%s: a resource's name has at most %u letters",
                           key, NAME_MAX_LEN);
    if (!len || strspn(text, letters) != len || strchr(".-", text[0]) ||
        strchr(".-", text[len - 1]))
        return dv_yaml_bad(in->yaml, node, in->err,
                           "%s: \"%.63s\" is no resource's name; small letters, digits, '-' and "
                           "'.' are, like " PREFIX "gpu",
                           key, text);
    snprintf(ret, NAME_MAX_LEN + 1, PREFIX "%s", text);
    return 0;
}

/* "1g.10gb.me" of a resource is the profile "1g.10gb+me". */
static bool profile_of(const char *name, char ret[DV_MIG_NAME])
{
    struct dv_mig_name parsed;
    if (strncmp(name, PREFIX "mig-", strlen(PREFIX "mig-")) != 0 ||
        dv_str_copy(ret, DV_MIG_NAME, name + strlen(PREFIX "mig-")) < 0)
        return false;
    char *gb = strstr(ret, "gb.");
    if (gb)
        gb[2] = '+';
    return !dv_mig_name_parse(ret, &parsed, NULL);
}

/* ---- resources: patterns that name devices under Kubernetes ---- */

static int check_patterns(struct dv_layoutfile_reader *in, const struct dv_yaml_node *list,
                          const char *key)
{
    static const char *const names[] = {"pattern", "name"};
    static const struct dv_yaml_map map = {"a resource pattern", names, 2};
    const struct dv_yaml_node *got[2];
    char name[NAME_MAX_LEN + 1];
    const char *text;
    int r = dv_yaml_list(in->yaml, list, key, DV_YAML_PAIRS_MAX, in->err);
    for (uint32_t i = 0; !r && i < list->n; i++) {
        r = dv_yaml_map_read(in->yaml, list->items[i], &map, got, in->err);
        if (!r && (!got[0] || !got[1]))
            return dv_yaml_bad(in->yaml, list->items[i], in->err, "%s is missing",
                               got[0] ? "name" : "pattern");
        r = r ? r : dv_yaml_text(in->yaml, got[0], "pattern", &text, in->err);
        r = r ? r : read_name(in, got[1], "name", name);
    }
    return r;
}

static int read_patterns(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node)
{
    static const char *const names[] = {"gpus", "mig"};
    static const struct dv_yaml_map map = {"resources", names, 2, .nulls = true};
    const struct dv_yaml_node *got[2];
    int r = dv_yaml_map_read(in->yaml, node, &map, got, in->err);
    for (int i = 0; !r && i < 2; i++)
        if (got[i])
            r = check_patterns(in, got[i], names[i]);
    if (!r && ((got[0] && got[0]->n) || (got[1] && got[1]->n)))
        dv_layoutfile_warn(in, node,
                           "resources: names of devices matter under Kubernetes only; the layout "
                           "does not use them");
    return r;
}

/* Does `resources` give devices this name? */
static bool declared(const struct dv_yaml_node *root, const char *name)
{
    const struct dv_yaml_node *resources = dv_yaml_get(root, "resources");
    for (int i = 0; resources && i < 2; i++) {
        const struct dv_yaml_node *list = dv_yaml_get(resources, i ? "mig" : "gpus");
        for (uint32_t k = 0; list && list->kind == DV_YAML_LIST && k < list->n; k++) {
            const struct dv_yaml_node *n = dv_yaml_get(list->items[k], "name");
            if (dv_yaml_is(n, name) || dv_yaml_is(n, name + strlen(PREFIX)))
                return true;
        }
    }
    return false;
}

/* ---- sharing ---- */

struct sharing {
    const struct dv_yaml_node *root;
    const char *strategy; /* flags.migStrategy */
    enum dv_mode mode;
    bool rename;        /* renameByDefault */
    bool keep;          /* its rules count */
    uint32_t n_shared;  /* resources with replicas */
    uint32_t n_renamed; /* of those, with a name of their own */
};

enum { NAME, RENAME, DEVICES, REPLICAS };

static int add_rule(struct dv_layoutfile_reader *in, const struct dv_yaml_node *item,
                    const struct dv_yaml_node *devices, struct dv_layout_rule *rule)
{
    int r = 0;
    rule->list = NULL;
    rule->n_list = rule->count = 0;
    if (devices && devices->kind == DV_YAML_LIST)
        r = dv_layoutfile_device_list(in, devices, "devices", rule);
    else if (devices && !dv_yaml_is(devices, "all"))
        r = dv_yaml_integer(in->yaml, devices, "devices", 1, DV_DEVICES_MAX, &rule->count, in->err);
    r = r ? r : dv_layoutfile_add_rule(in, item, rule);
    if (r < 0)
        free(rule->list);
    return r;
}

static int check_devices(struct dv_layoutfile_reader *in, const struct dv_yaml_node *devices)
{
    struct dv_layout_rule rule = {0};
    uint32_t n;
    if (!devices || dv_yaml_is(devices, "all"))
        return 0;
    if (devices->kind == DV_YAML_SCALAR && devices->plain && strspn(devices->text, "0123456789-+"))
        return dv_yaml_integer(in->yaml, devices, "devices", 1, DV_DEVICES_MAX, &n, in->err);
    if (devices->kind != DV_YAML_LIST)
        return dv_yaml_bad(in->yaml, devices, in->err,
                           "devices: all, a number or a list like [0, \"0:1\", GPU-...] is wanted");
    int r = dv_layoutfile_device_list(in, devices, "devices", &rule);
    free(rule.list);
    return r;
}

/* The rules that a resource with replicas makes. */
static int add_rules(struct dv_layoutfile_reader *in, const struct sharing *s, const char *name,
                     const struct dv_yaml_node *item, const struct dv_yaml_node *const *got,
                     uint32_t replicas)
{
    struct dv_layout_rule rule = {.line = item->line,
                                  .sharing = {.mode = s->mode, .replicas = replicas}};
    static const char *const known[] = {PREFIX "gpu", PREFIX "mig-1g.10gb"};
    bool mig = profile_of(name, rule.profile);
    int r = 0;
    if (!mig && strcmp(name, PREFIX "gpu") != 0) {
        if (declared(s->root, name)) {
            dv_layoutfile_warn(in, got[NAME],
                               "name: %s is a name that resources gives; the layout knows " PREFIX
                               "gpu and " PREFIX "mig-PROFILE, so nothing is shared by this",
                               name);
            return 0;
        }
        const char *near = dv_str_nearest(name, known, DV_ARRAY_SIZE(known));
        return dv_yaml_bad(in->yaml, got[NAME], in->err,
                           "name: there is no resource %s%s%s%s; " PREFIX "gpu and " PREFIX
                           "mig-PROFILE are there",
                           name, near ? "; did you mean \"" : "", near ? near : "",
                           near ? "\"?" : "");
    }
    if (mig && strcmp(s->strategy, "mixed") != 0)
        dv_layoutfile_warn(in, got[NAME],
                           "name: %s exists under migStrategy mixed only, and here it is %s; "
                           "divvy shares these MIG devices all the same",
                           name, s->strategy);
    r = add_rule(in, item, got[DEVICES], &rule);
    if (!r && !mig && !strcmp(s->strategy, "single")) {
        memcpy(rule.profile, "*", 2); /* there, MIG devices are nvidia.com/gpu */
        r = add_rule(in, item, got[DEVICES], &rule);
    }
    return r;
}

static int check_twice(struct dv_layoutfile_reader *in, const struct dv_yaml_node *list, uint32_t i,
                       const char *name)
{
    for (uint32_t k = 0; k < i; k++) {
        const struct dv_yaml_node *o = dv_yaml_get(list->items[k], "name");
        if (dv_yaml_is(o, name) || dv_yaml_is(o, name + strlen(PREFIX)))
            return dv_yaml_bad(in->yaml, list->items[i], in->err,
                               "name: %s is given twice; the first is in line %u", name,
                               o->inner ? o->inner : o->line);
    }
    return 0;
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

static void warn_of_replicas(struct dv_layoutfile_reader *in, struct sharing *s,
                             const struct dv_yaml_node *const *got, uint32_t replicas)
{
    if (got[RENAME])
        dv_layoutfile_warn(in, got[RENAME],
                           "rename: it matters under Kubernetes only; the layout does not use it");
    if (replicas == 1)
        dv_layoutfile_warn(in, got[REPLICAS],
                           "replicas: 1 is read as not shared: leave sharing out");
    if (s->mode == DV_MODE_TIMESLICE && replicas > TIMESLICE_REPLICAS_SANE)
        dv_layoutfile_warn(in, got[REPLICAS],
                           "replicas: %u are more than the 2 to %u that suit time-slicing: turns "
                           "are long, and all contexts share one memory",
                           replicas, TIMESLICE_REPLICAS_SANE);
    if (replicas > 1) {
        s->n_shared++;
        s->n_renamed += s->rename || got[RENAME];
    }
}

static int read_resource(struct dv_layoutfile_reader *in, struct sharing *s,
                         const struct dv_yaml_node *list, uint32_t i)
{
    static const char *const names[] = {"name", "rename", "devices", "replicas"};
    static const struct dv_yaml_map map = {"a shared resource", names, DV_ARRAY_SIZE(names),
                                           .nulls = false, hint};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    const struct dv_yaml_node *item = list->items[i];
    char name[NAME_MAX_LEN + 1], other[NAME_MAX_LEN + 1];
    uint32_t replicas = 0;
    int r = dv_yaml_map_read(in->yaml, item, &map, got, in->err);
    if (!r && (!got[NAME] || !got[REPLICAS]))
        return dv_yaml_bad(in->yaml, item, in->err, "%s is missing",
                           got[NAME] ? "replicas: how many share each device"
                                     : "name: " PREFIX "gpu or " PREFIX "mig-PROFILE");
    r = r ? r : read_name(in, got[NAME], "name", name);
    r = r ? r : check_twice(in, list, i, name);
    if (!r && got[RENAME])
        r = read_name(in, got[RENAME], "rename", other);
    r = r ? r : check_devices(in, got[DEVICES]);
    r = r ? r : read_replicas(in, got[REPLICAS], &replicas);
    if (r < 0 || !s->keep)
        return r;
    warn_of_replicas(in, s, got, replicas);
    return replicas > 1 ? add_rules(in, s, name, item, got, replicas) : 0;
}

/* What happens under Kubernetes with these settings, and surprises people. */
static void warn_of_names(struct dv_layoutfile_reader *in, const struct sharing *s,
                          const struct dv_yaml_node *node, const struct dv_yaml_node *fail,
                          bool fails)
{
    if (s->n_renamed < s->n_shared)
        dv_layoutfile_warn(in, node,
                           "renameByDefault is false: shares keep the name " PREFIX
                           "gpu, which people take for a whole GPU; set it to true");
    if (s->n_shared && !fails)
        dv_layoutfile_warn(in, fail ? fail : node,
                           "failRequestsGreaterThanOne is %s: a request of 2 may get two shares of "
                           "one GPU; set it to true",
                           fail ? "false" : "not set");
}

static int read_replicated(struct dv_layoutfile_reader *in, struct sharing *s,
                           const struct dv_yaml_node *node, const char *what)
{
    static const char *const names[] = {"renameByDefault", "failRequestsGreaterThanOne",
                                        "resources"};
    const struct dv_yaml_map map = {what, names, DV_ARRAY_SIZE(names), .nulls = true, hint};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    bool fails = s->mode == DV_MODE_MPS; /* the plugin's default there */
    int r = dv_yaml_map_read(in->yaml, node, &map, got, in->err);
    if (!r && got[0])
        r = dv_yaml_bool(in->yaml, got[0], names[0], &s->rename, in->err);
    if (!r && got[1])
        r = dv_yaml_bool(in->yaml, got[1], names[1], &fails, in->err);
    if (!r && (!got[2] || (got[2]->kind == DV_YAML_LIST && !got[2]->n)))
        return dv_yaml_bad(in->yaml, got[2] ? got[2] : node, in->err,
                           "%s: resources is missing; write resources: [{name: " PREFIX
                           "gpu, replicas: 4}]",
                           what);
    r = r ? r : dv_yaml_list(in->yaml, got[2], names[2], DV_LAYOUT_RULES_MAX, in->err);
    for (uint32_t i = 0; !r && i < got[2]->n; i++)
        r = read_resource(in, s, got[2], i);
    if (!r && s->keep)
        warn_of_names(in, s, got[0] ? got[0] : node, got[1], fails);
    return r;
}

static int read_sharing(struct dv_layoutfile_reader *in, const struct dv_yaml_node *root,
                        const struct dv_yaml_node *node, const char *strategy)
{
    static const char *const names[] = {"timeSlicing", "mps"};
    static const struct dv_yaml_map map = {"sharing", names, 2, .nulls = true, hint};
    struct sharing mps = {root, strategy, DV_MODE_MPS, .keep = true};
    struct sharing turns = {root, strategy, DV_MODE_TIMESLICE, .keep = true};
    const struct dv_yaml_node *got[2];
    int r = dv_yaml_map_read(in->yaml, node, &map, got, in->err);
    if (!r && got[1])
        r = read_replicated(in, &mps, got[1], "sharing.mps");
    turns.keep = !mps.n_shared;
    if (!r && got[0])
        r = read_replicated(in, &turns, got[0], "sharing.timeSlicing");
    if (!r && got[0] && !turns.keep)
        dv_layoutfile_warn(in, got[0], "timeSlicing: mps is given too, and it alone counts");
    return r;
}

/* ---- the file ---- */

static int read_imex(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node)
{
    static const char *const names[] = {"channelIDs", "required"};
    static const struct dv_yaml_map map = {"imex", names, 2, .nulls = true};
    const struct dv_yaml_node *got[2];
    bool b;
    int r = dv_yaml_map_read(in->yaml, node, &map, got, in->err);
    if (!r && got[0]) {
        r = dv_yaml_list(in->yaml, got[0], "channelIDs", DV_YAML_PAIRS_MAX, in->err);
        if (!r && (got[0]->n > 1 || (got[0]->n && !dv_yaml_is(got[0]->items[0], "0"))))
            r = dv_yaml_bad(in->yaml, got[0], in->err, "channelIDs: [] or [0] is wanted");
    }
    if (!r && got[1])
        r = dv_yaml_bool(in->yaml, got[1], "required", &b, in->err);
    return r;
}

int dv_layoutfile_read_plugin(struct dv_layoutfile_reader *in, const struct dv_yaml_node *root)
{
    static const char *const names[] = {"version", "flags", "resources", "sharing", "imex"};
    static const struct dv_yaml_map map = {"a device plugin's configuration", names,
                                           DV_ARRAY_SIZE(names), .nulls = true, hint};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    const char *strategy = "none";
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
        r = read_flags(in, got[1], &strategy);
    if (!r && got[2])
        r = read_patterns(in, got[2]);
    if (!r && got[3])
        r = read_sharing(in, root, got[3], strategy);
    if (!r && got[4])
        r = read_imex(in, got[4]);
    return r;
}
