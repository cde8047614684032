/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml/yaml_output.h"

#include "yaml/yaml_tree.h"

#include <errno.h>
#include <string.h>

/* A number as JSON writes it: -?int frac? exp? */
static bool is_number(const char *p)
{
    p += *p == '-';
    size_t digits = strspn(p, "0123456789");
    if (!digits || (digits > 1 && *p == '0'))
        return false;
    p += digits;
    if (*p == '.') {
        digits = strspn(p + 1, "0123456789");
        if (!digits)
            return false;
        p += 1 + digits;
    }
    if (*p == 'e' || *p == 'E') {
        p += 1 + (p[1] == '+' || p[1] == '-');
        digits = strspn(p, "0123456789");
        if (!digits)
            return false;
        p += digits;
    }
    return !*p;
}

static void add_scalar(const struct dv_yaml_node *node, struct dv_output_node *parent,
                       const char *key)
{
    const char *text = node->text;
    if (dv_yaml_is_null(node))
        dv_output_null(parent, key);
    else if (node->plain && (!strcmp(text, "true") || !strcmp(text, "false")))
        dv_output_bool(parent, key, *text == 't');
    else if (node->plain && is_number(text))
        dv_output_number(parent, key, text);
    else
        dv_output_string(parent, key, text);
}

/* A tree is bounded in depth, so that this may recurse. */
static void add(const struct dv_yaml_node *node, struct dv_output_node *parent, const char *key);

static void add_pairs(const struct dv_yaml_node *map, struct dv_output_node *to)
{
    for (uint32_t i = 0; i < map->n; i++)
        add(map->items[2 * i + 1], to, map->items[2 * i]->text);
}

static void add(const struct dv_yaml_node *node, struct dv_output_node *parent, const char *key)
{
    if (node->kind == DV_YAML_SCALAR) {
        add_scalar(node, parent, key);
    } else if (node->kind == DV_YAML_MAP) {
        add_pairs(node, dv_output_object(parent, key));
    } else {
        struct dv_output_node *list = dv_output_array(parent, key);
        for (uint32_t i = 0; i < node->n; i++)
            add(node->items[i], list, NULL);
    }
}

int dv_yaml_output_node(const char *name, const struct dv_yaml_node *map, struct dv_output **ret,
                        struct dv_err *err)
{
    if (!map || map->kind != DV_YAML_MAP)
        return dv_err_set(err, -EINVAL, "%s: one mapping is wanted", name);
    struct dv_output *o = dv_output_new(NULL);
    if (o)
        add_pairs(map, dv_output_root(o));
    if (!o || dv_output_failed(o)) {
        dv_output_free(&o);
        return dv_err_set(err, -ENOMEM, "%s: too large or nested too deeply", name);
    }
    *ret = o;
    return 0;
}

int dv_yaml_output_read(const char *name, const char *text, size_t len, struct dv_output **ret,
                        struct dv_err *err)
{
    dv_cleanup(dv_yaml_freep) struct dv_yaml *yaml = NULL;
    int r = dv_yaml_parse(name, text, len, &yaml, err);
    return r < 0 ? r
                 : dv_yaml_output_node(name, yaml->n_roots == 1 ? yaml->roots[0] : NULL, ret, err);
}
