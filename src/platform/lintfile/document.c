/* SPDX-License-Identifier: Apache-2.0 */
/* What a document is, and who judges it. */
#include "internal.h"
#include "policy/gpu_request.h"
#include "policy/lint/lint_kube.h"

#include <stdio.h>
#include <string.h>

static bool has(const struct dv_yaml_node *map, const char *key)
{
    return dv_lintfile_get(map, key) != NULL;
}

/* ---- documents without a kind --------------------------------------------------------------- */

static bool is_fragment(const struct dv_yaml_node *root)
{
    const struct dv_yaml_node *r = dv_lintfile_map(root, "resources");
    return has(r, "limits") || has(r, "requests");
}

/* Has the map a key that is one of these, or nearly? */
static bool has_like(const struct dv_yaml_node *map, const char *const *names, size_t n)
{
    for (uint32_t i = 0; map && map->kind == DV_YAML_MAP && i < map->n; i++)
        if (dv_str_nearest(map->items[2 * i]->text, names, n))
            return true;
    return false;
}

static bool has_flag(const struct dv_yaml_node *flags)
{
    const struct dv_plugin_flag *f;
    for (size_t i = 0; (f = dv_plugin_flags_at(i)); i++)
        if (has(flags, f->key) || has(dv_lintfile_map(flags, "plugin"), f->key))
            return true;
    return false;
}

/* Other programs have a `version: v1` and `flags` too. */
static bool is_plugin(const struct dv_yaml_node *root)
{
    static const char *const tops[] = {"sharing", "flags", "imex"};
    static const char *const sections[] = {"timeSlicing", "mps", "governed"};
    bool v1 = dv_yaml_is(dv_lintfile_get(root, "version"), "v1");
    return has_like(dv_lintfile_map(root, "sharing"), sections, DV_ARRAY_SIZE(sections)) ||
           has_flag(dv_lintfile_map(root, "flags")) ||
           (v1 && has_like(root, tops, DV_ARRAY_SIZE(tops)));
}

static bool is_rules(const struct dv_yaml_node *root)
{
    const struct dv_yaml_node *groups = dv_lintfile_list(root, "groups");
    return groups && groups->n && has(groups->items[0], "rules");
}

/* Values of a chart are known by what no other file has. */
static int chart_of(const struct dv_yaml_node *root)
{
    const struct dv_yaml_node *mig = dv_lintfile_map(root, "mig");
    const struct dv_yaml_node *plugin = dv_lintfile_map(root, "devicePlugin");
    if (has(mig, "strategy") || has(plugin, "config") || has(root, "migManager") ||
        has(root, "dcgmExporter"))
        return DV_LINT_CHART_OPERATOR;
    if (has(root, "migStrategy") || has(root, "deviceListStrategy") ||
        has(dv_lintfile_map(root, "config"), "map"))
        return DV_LINT_CHART_PLUGIN;
    return DV_LINT_CHART_NONE;
}

/* Returns whether it was one. */
static bool judge_config(struct dv_lintfile *l, const struct dv_yaml_node *root)
{
    int chart = chart_of(root);
    if (has(root, "mig-configs"))
        dv_lintfile_mig_parted(l, root);
    else if (is_plugin(root))
        dv_lintfile_plugin(l, root);
    else if (is_rules(root))
        dv_lintfile_rules(l, root);
    else if (has(root, "panels") || has(dv_lintfile_map(root, "dashboard"), "panels"))
        dv_lintfile_dashboard(l, root);
    else if (is_fragment(root))
        dv_lintfile_resources(l, root);
    else if (chart != DV_LINT_CHART_NONE)
        dv_lintfile_values(l, root, chart, false);
    else
        return false;
    return true;
}

static const char *config_kind(const struct dv_yaml_node *root)
{
    if (has(root, "mig-configs"))
        return "mig-parted configuration";
    if (is_plugin(root))
        return "device plugin configuration";
    if (is_rules(root))
        return "Prometheus rules";
    if (has(root, "panels") || has(root, "dashboard"))
        return "dashboard";
    if (is_fragment(root))
        return "container resources";
    return chart_of(root) != DV_LINT_CHART_NONE ? "chart values" : "document";
}

/* ---- ConfigMaps ----------------------------------------------------------------------------- */

/* A text in a ConfigMap, if it is a configuration that is known here. */
static void judge_entry(struct dv_lintfile *l, const struct dv_yaml_node *value)
{
    const char *text = dv_lintfile_scalar(value);
    bool looks = strstr(text, "sharing") || strstr(text, "mig-configs") ||
                 strstr(text, "version: v1") || strstr(text, "groups") ||
                 strstr(text, "\"panels\"");
    struct dv_lintfile here;
    if (!*text || !looks)
        return;
    dv_cleanup(dv_yaml_freep) struct dv_yaml *inner = dv_lintfile_inner(l, value, &here);
    for (uint32_t i = 0; inner && i < inner->n_roots; i++)
        if (judge_config(&here, inner->roots[i]))
            dv_lint_in_scope(l->report);
    l->failed = l->failed || here.failed;
}

static void judge_config_map(struct dv_lintfile *l, const struct dv_yaml_node *object)
{
    const struct dv_yaml_node *data = dv_lintfile_map(object, "data");
    for (uint32_t i = 0; data && i < data->n; i++)
        judge_entry(l, data->items[2 * i + 1]);
}

/* ---- objects -------------------------------------------------------------------------------- */

static void judge_namespace(struct dv_lintfile *l, const struct dv_yaml_node *object)
{
    const struct dv_yaml_node *label =
        dv_lintfile_get(dv_lintfile_find(object, "metadata/labels"), DV_GPU_STRATEGY_LABEL);
    uint32_t allowed;
    char words[256];
    if (!label)
        return;
    dv_lint_in_scope(l->report);
    if (dv_gpu_strategy_parse(dv_lintfile_scalar(label), &allowed) == 0)
        return;
    snprintf(words, sizeof words,
             "the label " DV_GPU_STRATEGY_LABEL
             " has the value %.80s, which is not known, so no GPU "
             "is given in this namespace",
             dv_lintfile_scalar(label));
    dv_lintfile_add(l, label, DV_LINT_NOT_ALLOWED, words, NULL, NULL, NULL);
}

static void judge_helm_chart(struct dv_lintfile *l, const struct dv_yaml_node *object)
{
    const struct dv_yaml_node *spec = dv_lintfile_map(object, "spec");
    const struct dv_yaml_node *content = dv_lintfile_get(spec, "valuesContent");
    int chart = (int)dv_lint_kube_chart(dv_lintfile_text(spec, "chart"));
    struct dv_lintfile here;
    if (chart == DV_LINT_CHART_NONE)
        return;
    dv_lint_in_scope(l->report);
    if (!content || content->kind != DV_YAML_SCALAR)
        return;
    dv_cleanup(dv_yaml_freep) struct dv_yaml *inner = dv_lintfile_inner(l, content, &here);
    for (uint32_t i = 0; inner && i < inner->n_roots; i++)
        dv_lintfile_values(&here, inner->roots[i], chart, true);
    l->failed = l->failed || here.failed;
}

static void judge_policy(struct dv_lintfile *l, const struct dv_yaml_node *object)
{
    if (!strncmp(dv_lintfile_text(object, "apiVersion"), "nvidia.com/", 11))
        dv_lintfile_operator(l, dv_lintfile_get(object, "spec"));
}

static void judge_rule_object(struct dv_lintfile *l, const struct dv_yaml_node *object)
{
    dv_lintfile_rules(l, dv_lintfile_map(object, "spec"));
}

static const struct {
    const char *kind;
    void (*judge)(struct dv_lintfile *l, const struct dv_yaml_node *object);
} judges[] = {
    {"ConfigMap", judge_config_map},
    {"Namespace", judge_namespace},
    {"ResourceQuota", dv_lintfile_quota},
    {"PodDisruptionBudget", dv_lintfile_budget},
    {"ClusterPolicy", judge_policy},
    {"HelmChart", judge_helm_chart},
    {"KubeletConfiguration", dv_lintfile_kubelet},
    {"DeviceClass", dv_lintfile_claim},
    {"ResourceClaim", dv_lintfile_claim},
    {"ResourceClaimTemplate", dv_lintfile_claim},
    {"PrometheusRule", judge_rule_object},
};

static void judge_object(struct dv_lintfile *l, const struct dv_yaml_node *object)
{
    const struct dv_yaml_node *meta = dv_lintfile_map(object, "metadata");
    const char *kind = dv_lintfile_text(object, "kind");
    const char *namespace = dv_lintfile_text(meta, "namespace"),
               *id = dv_lintfile_text(meta, "name");
    char name[DV_LINT_NAME];
    snprintf(name, sizeof name, "%.80s%s%.160s", namespace, *namespace ? "/" : "",
             *id ? id : dv_lintfile_text(meta, "generateName"));
    dv_lint_begin(l->report, kind, name, dv_lintfile_at(l, object).line);
    if (!strncmp(dv_lintfile_text(object, "apiVersion"), "divvy/", 6)) {
        dv_lintfile_own(l, object);
        return;
    }
    dv_lintfile_api(l, object);
    for (size_t i = 0; i < DV_ARRAY_SIZE(judges); i++)
        if (!strcmp(judges[i].kind, kind))
            judges[i].judge(l, object);
    dv_lintfile_pods(l, object);
    dv_lintfile_workload(l, object);
}

void dv_lintfile_document(struct dv_lintfile *l, const struct dv_yaml_node *root)
{
    const struct dv_yaml_node *items = dv_lintfile_list(root, "items");
    const char *kind = dv_lintfile_text(root, "kind");
    if (root->kind != DV_YAML_MAP) {
        dv_lint_begin(l->report, "document", NULL, dv_lintfile_at(l, root).line);
    } else if (items && strlen(kind) >= 4 && !strcmp(kind + strlen(kind) - 4, "List")) {
        for (uint32_t i = 0; i < items->n; i++)
            dv_lintfile_document(l, items->items[i]);
    } else if (*kind) {
        judge_object(l, root);
    } else {
        dv_lint_begin(l->report, config_kind(root), NULL, dv_lintfile_at(l, root).line);
        if (judge_config(l, root) && strcmp(config_kind(root), "container resources") != 0)
            dv_lint_in_scope(l->report);
    }
}
