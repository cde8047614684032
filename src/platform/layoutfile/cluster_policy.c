/* SPDX-License-Identifier: Apache-2.0 */
#include "layoutfile/cluster_policy.h"

#include "base/str.h"
#include "layoutfile/layoutfile.h"
#include "yaml/yaml_tree.h"

#include <errno.h>
#include <string.h>

struct reader {
    const struct dv_yaml *yaml;
    struct dv_cluster_policy policy;
    struct dv_err *err;
};

static int read_strategy(struct reader *in, const struct dv_yaml_node *node)
{
    static const char *const names[] = {"strategy"};
    static const struct dv_yaml_map map = {"mig", names, 1, .nulls = true};
    const struct dv_yaml_node *got;
    struct dv_err why = {{0}};
    const char *text;
    int r = dv_yaml_map_read(in->yaml, node, &map, &got, in->err);
    if (r < 0 || !got)
        return r;
    r = dv_yaml_text(in->yaml, got, "strategy", &text, in->err);
    if (!r && dv_plugin_flags_mig_strategy_parse(text, &in->policy.mig_strategy, &why) < 0)
        return dv_yaml_bad(in->yaml, got, in->err, "%s", why.msg);
    in->policy.has_mig_strategy = !r;
    return r;
}

static int read_name(struct reader *in, const struct dv_yaml_node *node, const char *key,
                     char ret[DV_CLUSTER_POLICY_NAME])
{
    const char *text;
    int r = node ? dv_yaml_text(in->yaml, node, key, &text, in->err) : 0;
    if (!r && node && dv_str_copy(ret, DV_CLUSTER_POLICY_NAME, text) < 0)
        return dv_yaml_bad(in->yaml, node, in->err, "%s: at most %d letters", key,
                           DV_CLUSTER_POLICY_NAME - 1);
    return r;
}

/* create and data are the chart's: with them it makes the ConfigMap itself. */
static int read_config(struct reader *in, const struct dv_yaml_node *node)
{
    static const char *const names[] = {"name", "default", "create", "data"};
    static const struct dv_yaml_map map = {"devicePlugin.config", names, DV_ARRAY_SIZE(names),
                                           .nulls = true};
    const struct dv_yaml_node *got[DV_ARRAY_SIZE(names)];
    struct dv_cluster_policy *p = &in->policy;
    int r = dv_yaml_map_read(in->yaml, node, &map, got, in->err);
    r = r ? r : read_name(in, got[0], "name", p->config_name);
    r = r ? r : read_name(in, got[1], "default", p->config_default);
    if (!r && p->config_default[0] && !p->config_name[0])
        return dv_yaml_bad(in->yaml, got[1], in->err,
                           "default: a key of a ConfigMap, whose name is not given");
    return r;
}

/* `at`: what has the keys mig and devicePlugin. */
static int read_settings(struct reader *in, const struct dv_yaml_node *at)
{
    const struct dv_yaml_node *mig = dv_yaml_get(at, "mig");
    const struct dv_yaml_node *plugin = dv_yaml_get(at, "devicePlugin");
    const struct dv_yaml_node *config = NULL;
    char seen[DV_YAML_SEEN];
    if (plugin && dv_yaml_is_null(plugin))
        plugin = NULL;
    if (plugin && plugin->kind != DV_YAML_MAP)
        return dv_yaml_bad(in->yaml, plugin, in->err,
                           "devicePlugin: %s, where \"key: value\" lines are wanted",
                           dv_yaml_seen(plugin, seen));
    if (plugin)
        config = dv_yaml_get(plugin, "config");
    int r = mig && !dv_yaml_is_null(mig) ? read_strategy(in, mig) : 0;
    if (!r && config && !dv_yaml_is_null(config))
        r = read_config(in, config);
    return r;
}

/* What of a document has the settings, or NULL: another document. */
static int find_settings(struct reader *in, const struct dv_yaml_node *root,
                         const struct dv_yaml_node **ret)
{
    const struct dv_yaml_node *kind, *spec;
    *ret = NULL;
    if (root->kind != DV_YAML_MAP)
        return 0;
    kind = dv_yaml_get(root, "kind");
    if (!kind) {
        if (dv_yaml_get(root, "mig") || dv_yaml_get(root, "devicePlugin"))
            *ret = root;
        return 0;
    }
    if (!dv_yaml_is(kind, "ClusterPolicy"))
        return 0;
    const struct dv_yaml_node *api = dv_yaml_get(root, "apiVersion");
    if (!dv_yaml_is(api, "nvidia.com/v1"))
        return dv_yaml_bad(in->yaml, api ? api : root, in->err,
                           "apiVersion: nvidia.com/v1 is wanted of a ClusterPolicy");
    spec = dv_yaml_get(root, "spec");
    if (!spec || spec->kind != DV_YAML_MAP)
        return dv_yaml_bad(in->yaml, spec ? spec : root, in->err,
                           "spec: \"key: value\" lines are wanted");
    *ret = spec;
    return 0;
}

static int read_documents(struct reader *in)
{
    const struct dv_yaml_node *found = NULL;
    for (uint32_t i = 0; i < in->yaml->n_roots; i++) {
        const struct dv_yaml_node *root = in->yaml->roots[i], *at;
        int r = find_settings(in, root, &at);
        if (r < 0)
            return r;
        if (at && found)
            return dv_yaml_bad(in->yaml, root, in->err,
                               "a second ClusterPolicy in one file; the first is in line %u",
                               found->line);
        found = at ? at : found;
    }
    if (!found)
        return dv_err_set(in->err, -EINVAL,
                          "%.120s: there is no ClusterPolicy here, nor values of the GPU "
                          "Operator's chart (mig, devicePlugin)",
                          in->yaml->name);
    return read_settings(in, found);
}

int dv_cluster_policy_read(const char *name, const char *text, size_t len,
                           struct dv_cluster_policy *ret, struct dv_err *err)
{
    dv_cleanup(dv_yaml_freep) struct dv_yaml *yaml = NULL;
    struct reader in = {.err = err};
    if (len > DV_LAYOUTFILE_MAX)
        return dv_err_set(err, -E2BIG, "%.120s: %zu bytes; at most %u are read", name, len,
                          DV_LAYOUTFILE_MAX);
    int r = dv_yaml_parse(name, text, len, &yaml, err);
    in.yaml = yaml;
    r = r ? r : read_documents(&in);
    if (!r)
        *ret = in.policy;
    return r;
}
