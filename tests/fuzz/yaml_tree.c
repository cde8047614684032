/* SPDX-License-Identifier: Apache-2.0 */
/* YAML: any text is a tree within its bounds or an error; texts inside it likewise. */
#include "yaml/yaml_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Returns how many nodes there are from here down, aliases expanded. */
static uint32_t walk(const struct dv_yaml_node *node, uint32_t depth)
{
    uint32_t n = 1, items = node->kind == DV_YAML_MAP ? 2 * node->n : node->n;
    char seen[DV_YAML_SEEN];
    if (depth > 2 * DV_YAML_DEPTH_MAX * DV_YAML_ANCHORS_MAX || !node->line || !node->column)
        abort();
    if (strlen(dv_yaml_seen(node, seen)) >= sizeof seen)
        abort();
    for (uint32_t i = 0; node->kind != DV_YAML_SCALAR && i < items; i++)
        n += walk(node->items[i], depth + 1);
    if (n != node->weight)
        abort();
    return n;
}

static void use(const struct dv_yaml *y, int depth);

static void use_scalars(const struct dv_yaml *y, const struct dv_yaml_node *map, int depth)
{
    for (uint32_t i = 0; map->kind == DV_YAML_MAP && i < map->n; i++) {
        const struct dv_yaml_node *value = map->items[2 * i + 1];
        struct dv_yaml *inner = NULL;
        struct dv_err err = {{0}};
        if (!dv_yaml_get(map, map->items[2 * i]->text))
            abort();
        if (value->kind != DV_YAML_SCALAR)
            continue;
        if (dv_yaml_parse_inner(y, value, &inner, &err) == 0)
            use(inner, depth + 1);
        else if (!err.msg[0])
            abort();
        dv_yaml_free(inner);
    }
}

static void use(const struct dv_yaml *y, int depth)
{
    uint32_t total = 0;
    for (uint32_t i = 0; i < y->n_roots; i++) {
        total += walk(y->roots[i], 0);
        if (depth < 2)
            use_scalars(y, y->roots[i], depth);
    }
    if (total > DV_YAML_NODES_MAX)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dv_yaml *y = NULL;
    struct dv_err err = {{0}};
    int r = dv_yaml_parse("fuzz.yaml", (const char *)data, size, &y, &err);
    if (r == 0)
        use(y, 0);
    else if (r != -ENOMEM && !err.msg[0])
        abort();
    dv_yaml_free(y);
    return 0;
}
