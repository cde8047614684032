/* SPDX-License-Identifier: Apache-2.0 */
/* Which format a file has, which configurations are in it, and which of them is read. */
#include "layoutfile/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_SIZE 64u /* of a name, with its NUL */

const char *dv_layoutfile_format_name(enum dv_layoutfile_format format)
{
    switch (format) {
    case DV_LAYOUTFILE_MIG_PARTED:
        return "mig-parted";
    case DV_LAYOUTFILE_DEVICE_PLUGIN:
        return "device-plugin";
    case DV_LAYOUTFILE_DIVVY:
        break;
    }
    return "divvy";
}

/* ---- what a document is ---- */

enum kind {
    KIND_NONE,
    KIND_OWN,
    KIND_MIG_PARTED,
    KIND_PLUGIN,
    KIND_CONFIG_MAP,
    KIND_OBJECT, /* some other thing of Kubernetes */
};

/* A key that is nearly the one that tells a format: the reader of that format will say so. */
static enum kind guess(const struct dv_yaml_node *root)
{
    static const char *const marks[] = {"mig-configs", "sharing", "gpus", "imex", "flags"};
    static const enum kind kinds[] = {KIND_MIG_PARTED, KIND_PLUGIN, KIND_OWN, KIND_PLUGIN,
                                      KIND_PLUGIN};
    for (uint32_t i = 0; i < root->n; i++) {
        const char *key = root->items[2 * i]->text;
        const char *near = dv_str_nearest(key, marks, DV_ARRAY_SIZE(marks));
        for (size_t k = 0; near && near[0] == key[0] && k < DV_ARRAY_SIZE(marks); k++)
            if (near == marks[k])
                return kinds[k];
    }
    return dv_yaml_get(root, "version") && !dv_yaml_get(root, "apiVersion") ? KIND_PLUGIN
                                                                            : KIND_NONE;
}

/* mig-parted's other files, which lie beside its configurations in ConfigMaps. */
static bool is_neighbour(const struct dv_yaml_node *root)
{
    return dv_yaml_get(root, "hooks") || dv_yaml_get(root, "systemd-services");
}

static enum kind kind_of(const struct dv_yaml_node *root)
{
    const struct dv_yaml_node *api = dv_yaml_get(root, "apiVersion");
    const struct dv_yaml_node *kind = dv_yaml_get(root, "kind");
    if (root->kind != DV_YAML_MAP)
        return KIND_NONE;
    if (dv_yaml_is(kind, "Layout") ||
        (api && api->kind == DV_YAML_SCALAR && !strncmp(api->text, "divvy/", 6)))
        return KIND_OWN;
    if (dv_yaml_is(kind, "ConfigMap"))
        return KIND_CONFIG_MAP;
    if (api && kind)
        return KIND_OBJECT;
    if (dv_yaml_get(root, "mig-configs"))
        return KIND_MIG_PARTED;
    /* Not `resources`: a container has that key too. */
    if (dv_yaml_get(root, "sharing") || dv_yaml_get(root, "flags") || dv_yaml_get(root, "imex"))
        return KIND_PLUGIN;
    if (is_neighbour(root))
        return KIND_NONE;
    return guess(root);
}

/* ---- the configurations of a file ---- */

struct config {
    char name[CONFIG_SIZE]; /* "" where the format has none */
    enum kind kind;
    const struct dv_yaml *yaml;
    const struct dv_yaml_node *root;
    const char *mig_config; /* with KIND_MIG_PARTED */
    int broken;             /* a negative errno: `why` says what is wrong with its text */
    struct dv_err why;
};

struct file {
    struct dv_yaml *yaml;
    struct dv_yaml *inner[DV_LAYOUTFILE_CONFIGS_MAX];
    uint32_t n_inner;
    struct config configs[DV_LAYOUTFILE_CONFIGS_MAX];
    uint32_t n_configs;
    const struct dv_yaml_node *others; /* the first part that was passed over */
    uint32_t n_others;
    uint32_t n_layouts; /* documents that are not */
    struct dv_err *err;
};

static void file_done(struct file *f)
{
    for (uint32_t i = 0; i < f->n_inner; i++)
        dv_yaml_free(f->inner[i]);
    dv_yaml_free(f->yaml);
}

static int add_config(struct file *f, const struct dv_yaml *yaml, const struct dv_yaml_node *at,
                      const struct config *c)
{
    if (f->n_configs == DV_LAYOUTFILE_CONFIGS_MAX)
        return dv_yaml_bad(yaml, at, f->err, "at most %u configurations",
                           DV_LAYOUTFILE_CONFIGS_MAX);
    for (uint32_t i = 0; i < f->n_configs; i++)
        if (!strcmp(f->configs[i].name, c->name))
            return dv_yaml_bad(yaml, at, f->err,
                               "a second configuration \"%s\" in one file; rename one", c->name);
    f->configs[f->n_configs++] = *c;
    return 0;
}

static int name_config(struct file *f, const struct dv_yaml *yaml, const struct dv_yaml_node *key,
                       struct config *c)
{
    bool ok = key->text[0] && dv_str_copy(c->name, sizeof c->name, key->text) == 0;
    for (const char *p = key->text; *p; p++)
        ok = ok && *p >= ' ' && *p <= '~';
    if (!ok)
        return dv_yaml_bad(yaml, key, f->err,
                           "\"%.60s\": a configuration's name has 1 to %u letters that print",
                           key->text, CONFIG_SIZE - 1);
    return 0;
}

static int add_mig_configs(struct file *f, const struct dv_yaml *yaml,
                           const struct dv_yaml_node *root)
{
    const struct dv_yaml_node *map = dv_yaml_get(root, "mig-configs");
    struct config c = {.kind = KIND_MIG_PARTED, .yaml = yaml, .root = root};
    if (!map || map->kind != DV_YAML_MAP || !map->n) {
        /* The reader will say what is wrong. */
        c.mig_config = "";
        return add_config(f, yaml, root, &c);
    }
    int r = 0;
    for (uint32_t i = 0; !r && i < map->n; i++) {
        const struct dv_yaml_node *key = map->items[2 * i];
        c.mig_config = key->text;
        r = name_config(f, yaml, key, &c);
        r = r ? r : add_config(f, yaml, key, &c);
    }
    return r;
}

static int add_key(struct file *f, const struct dv_yaml_node *key, const struct dv_yaml_node *value)
{
    struct config c = {.yaml = f->yaml, .root = value};
    char seen[DV_YAML_SEEN];
    int r = name_config(f, f->yaml, key, &c);
    if (!r && (value->kind != DV_YAML_SCALAR || dv_yaml_is_null(value)))
        r = dv_yaml_bad(f->yaml, value, f->err,
                        "%.60s: %s, where the text of a configuration is wanted (\"%.20s: |\")",
                        key->text, dv_yaml_seen(value, seen), key->text);
    if (!r && f->n_inner == DV_LAYOUTFILE_CONFIGS_MAX)
        r = dv_yaml_bad(f->yaml, key, f->err, "at most %u keys", DV_LAYOUTFILE_CONFIGS_MAX);
    if (r < 0)
        return r;
    struct dv_yaml *inner = NULL;
    c.broken = dv_yaml_parse_inner(f->yaml, value, &inner, &c.why);
    if (c.broken == -ENOMEM)
        return -ENOMEM;
    if (!c.broken) {
        f->inner[f->n_inner++] = inner;
        c.yaml = inner;
        c.root = inner->n_roots == 1 ? inner->roots[0] : value;
        c.kind = inner->n_roots == 1 ? kind_of(inner->roots[0]) : KIND_NONE;
    }
    if (c.kind == KIND_MIG_PARTED)
        return add_mig_configs(f, inner, c.root);
    if (c.kind == KIND_NONE && is_neighbour(c.root)) {
        if (!f->n_others++)
            f->others = key;
        return 0;
    }
    return add_config(f, f->yaml, key, &c);
}

static int add_config_map(struct file *f, const struct dv_yaml_node *root)
{
    static const char *const names[] = {"apiVersion", "kind",       "metadata",
                                        "data",       "binaryData", "immutable"};
    static const struct dv_yaml_map map = {"a ConfigMap", names, DV_ARRAY_SIZE(names),
                                           .nulls = true};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    int r = dv_yaml_map_read(f->yaml, root, &map, got, f->err);
    if (r < 0)
        return r;
    const struct dv_yaml_node *data = got[3];
    if (!data || data->kind != DV_YAML_MAP || !data->n)
        return dv_yaml_bad(f->yaml, data ? data : root, f->err,
                           "data: a ConfigMap with at least one configuration is wanted");
    for (uint32_t i = 0; !r && i < data->n; i++)
        r = add_key(f, data->items[2 * i], data->items[2 * i + 1]);
    return r;
}

static int unknown(const struct dv_yaml *yaml, const struct dv_yaml_node *root, struct dv_err *err)
{
    static const char wanted[] =
        "wanted is divvy's (apiVersion: divvy/v1, kind: Layout), mig-parted's (version: v1, "
        "mig-configs) or the device plugin's (version: v1, sharing)";
    char seen[DV_YAML_SEEN], keys[160] = "";
    size_t used = 0;
    if (root->kind != DV_YAML_MAP)
        return dv_yaml_bad(yaml, root, err, "this is no layout but %s; %s",
                           dv_yaml_seen(root, seen), wanted);
    for (uint32_t i = 0; i < root->n && used < sizeof keys - 1; i++) {
        int n = snprintf(keys + used, sizeof keys - used, "%s%.40s", i ? ", " : "",
                         root->items[2 * i]->text);
        used += (size_t)n;
    }
    const struct dv_yaml_node *kind = dv_yaml_get(root, "kind");
    if (kind)
        return dv_yaml_bad(yaml, root, err, "this is no layout but of kind %s; %s",
                           dv_yaml_seen(kind, seen), wanted);
    return dv_yaml_bad(yaml, root, err, "this is no layout: its keys are %s; %s",
                       keys[0] ? keys : "none", wanted);
}

static int add_document(struct file *f, const struct dv_yaml_node *root)
{
    enum kind kind = kind_of(root);
    struct config c = {.kind = kind, .yaml = f->yaml, .root = root};
    if (kind == KIND_OBJECT) {
        if (!f->n_others++)
            f->others = root;
        return 0;
    }
    if (kind == KIND_NONE)
        return unknown(f->yaml, root, f->err);
    if (f->n_layouts++ && (kind != KIND_CONFIG_MAP || !f->configs[0].name[0]))
        return dv_yaml_bad(f->yaml, root, f->err,
                           "a second layout in one file; keep one layout in each");
    if (kind == KIND_CONFIG_MAP)
        return add_config_map(f, root);
    if (kind == KIND_MIG_PARTED)
        return add_mig_configs(f, f->yaml, root);
    return add_config(f, f->yaml, root, &c);
}

/* Reads the file as far as to know its configurations; at least one. */
static int file_open(struct file *f, const char *name, const char *text, size_t len)
{
    if (len > DV_LAYOUTFILE_MAX)
        return dv_err_set(f->err, -E2BIG, "%.120s: %zu bytes; a layout has at most %u", name, len,
                          DV_LAYOUTFILE_MAX);
    int r = dv_yaml_parse(name, text, len, &f->yaml, f->err);
    if (r < 0)
        return r;
    if (!f->yaml->n_roots)
        return dv_err_set(f->err, -EINVAL, "%.120s:1:1: the file is empty", name);
    for (uint32_t i = 0; !r && i < f->yaml->n_roots; i++)
        r = add_document(f, f->yaml->roots[i]);
    if (!r && !f->n_configs)
        r = unknown(f->yaml, f->yaml->roots[0], f->err);
    return r;
}

/* ---- choosing one ---- */

static int cannot_choose(const struct file *f, const char *name, const char *config)
{
    char list[240] = "", asked[CONFIG_SIZE];
    size_t used = 0;
    snprintf(asked, sizeof asked, "%s", config ? config : "");
    for (char *p = asked; *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
    if (!f->configs[0].name[0])
        return dv_err_set(f->err, -ENOENT,
                          "%.120s: there is no configuration \"%s\": this file has no "
                          "configurations; leave the name out",
                          name, asked);
    for (uint32_t i = 0; i < f->n_configs && used < sizeof list - 1; i++) {
        int n =
            snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", f->configs[i].name);
        used += (size_t)n;
    }
    if (!config)
        return dv_err_set(f->err, -EINVAL, "%.120s: it has %u configurations, name one of them: %s",
                          name, f->n_configs, list);
    return dv_err_set(f->err, -ENOENT, "%.120s: there is no configuration \"%s\"; it has %s", name,
                      asked, list);
}

static const struct config *choose(const struct file *f, const char *config)
{
    if (!config)
        return f->n_configs == 1 ? &f->configs[0] : NULL;
    for (uint32_t i = 0; i < f->n_configs; i++)
        if (config[0] && !strcmp(f->configs[i].name, config))
            return &f->configs[i];
    return NULL;
}

static int read_config(struct dv_layoutfile_reader *in, const struct config *c)
{
    switch (c->kind) {
    case KIND_OWN:
        return dv_layoutfile_read_own(in, c->root);
    case KIND_MIG_PARTED:
        return dv_layoutfile_read_mig_parted(in, c->root, c->mig_config);
    case KIND_PLUGIN:
        return dv_layoutfile_read_device_plugin(in, c->root);
    default:
        return unknown(in->yaml, c->root, in->err);
    }
}

/* `in` has where to read it to. */
static int read_file(struct file *f, const char *name, const char *config,
                     struct dv_layoutfile_reader *in)
{
    const struct config *c = choose(f, config);
    if (!c)
        return cannot_choose(f, name, config);
    if (c->broken) {
        if (f->err)
            *f->err = c->why;
        return c->broken;
    }
    in->yaml = c->yaml;
    memcpy(in->info->config, c->name, sizeof in->info->config);
    if (in->kubernetes && c->kind != KIND_PLUGIN)
        return dv_yaml_bad(c->yaml, c->root, f->err,
                           "this is no configuration of the device plugin (version: v1, sharing)");
    int r = read_config(in, c);
    if (!r && f->others)
        dv_layoutfile_warn(
            in, f->others,
            "%u part%s of this file %s something else than a layout, and passed over", f->n_others,
            f->n_others > 1 ? "s" : "", f->n_others > 1 ? "are" : "is");
    return r;
}

/* The device plugin's reader fills a layout and a configuration; `ret_config` NULL: the first is
 * wanted. */
static int read_either(const char *name, const char *text, size_t len, const char *config,
                       struct dv_layout **ret_layout, struct dv_plugin_config **ret_config,
                       struct dv_layoutfile_info *ret_info, struct dv_err *err)
{
    struct file *f = calloc(1, sizeof *f);
    struct dv_layout *layout = calloc(1, sizeof *layout);
    struct dv_layoutfile_info *info = calloc(1, sizeof *info);
    struct dv_plugin_config *plugin = NULL;
    int r = dv_plugin_config_new(&plugin);
    if (f && layout && info && !r) {
        struct dv_layoutfile_reader in = {NULL, layout, plugin, ret_config != NULL, info, err};
        f->err = err;
        r = file_open(f, name, text, len);
        r = r ? r : read_file(f, name, config, &in);
    } else {
        r = -ENOMEM;
    }
    if (f)
        file_done(f);
    free(f);
    if (!r) {
        *ret_info = *info;
        if (ret_config) {
            *ret_config = plugin;
            plugin = NULL;
        } else if (ret_layout) {
            *ret_layout = layout;
            layout = NULL;
        }
    }
    dv_layout_free(layout);
    dv_plugin_config_free(plugin);
    free(info);
    return r;
}

int dv_layoutfile_read(const char *name, const char *text, size_t len, const char *config,
                       struct dv_layout **ret, struct dv_layoutfile_info *ret_info,
                       struct dv_err *err)
{
    return read_either(name, text, len, config, ret, NULL, ret_info, err);
}

int dv_layoutfile_read_plugin(const char *name, const char *text, size_t len, const char *config,
                              struct dv_plugin_config **ret, struct dv_layoutfile_info *ret_info,
                              struct dv_err *err)
{
    return read_either(name, text, len, config, NULL, ret, ret_info, err);
}

int dv_layoutfile_configs(const char *name, const char *text, size_t len,
                          char ret[DV_LAYOUTFILE_CONFIGS_MAX][64], struct dv_err *err)
{
    struct file *f = calloc(1, sizeof *f);
    if (!f)
        return -ENOMEM;
    f->err = err;
    int r = file_open(f, name, text, len);
    if (!r && f->configs[0].name[0]) {
        for (uint32_t i = 0; i < f->n_configs; i++)
            memcpy(ret[i], f->configs[i].name, CONFIG_SIZE);
        r = (int)f->n_configs;
    }
    file_done(f);
    free(f);
    return r;
}
