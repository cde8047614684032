/* SPDX-License-Identifier: Apache-2.0 */
/* API versions, quotas, budgets, the kubelet's configuration. */
#include "internal.h"
#include "policy/gpu_request.h"
#include "policy/lint/lint_kube.h"

#include <stdio.h>
#include <string.h>

void dv_lintfile_api(struct dv_lintfile *l, const struct dv_yaml_node *object)
{
    const struct dv_yaml_node *version = dv_lintfile_get(object, "apiVersion");
    const char *kind = dv_lintfile_text(object, "kind"), *text = dv_lintfile_scalar(version);
    if (!*text || !l->of_gpus)
        return;
    struct dv_lint_api_answer a = dv_lint_kube_api(text, kind);
    static const enum dv_lint_rule rules[] = {[DV_LINT_VERSION_NEVER] = DV_LINT_API_NEVER,
                                              [DV_LINT_VERSION_REMOVED] = DV_LINT_API_REMOVED,
                                              [DV_LINT_VERSION_OLD] = DV_LINT_API_OLD};
    if (a.result == DV_LINT_VERSION_FINE)
        return;
    struct dv_lint_finding *f =
        dv_lintfile_add(l, version, rules[a.result], kind, text, a.right, a.since);
    /* A cluster that has the old beta may be too old for what came after it. */
    if (a.drop_in && a.result != DV_LINT_VERSION_OLD)
        dv_lintfile_edit_scalar(l, f, version, a.right);
}

/* ---- quotas --------------------------------------------------------------------------------- */

/* A governed slice's name is whatever somebody gave it. */
static bool is_gpu(const char *name)
{
    enum dv_gpu_kind kind = dv_gpu_request_kind(name);
    return kind != DV_GPU_KIND_NONE && kind != DV_GPU_KIND_SLICE;
}

static void judge_amount(struct dv_lintfile *l, const struct dv_yaml_node *key,
                         const struct dv_yaml_node *value)
{
    const char *text = dv_lintfile_scalar(value);
    int64_t nano;
    if (dv_quantity_parse(text, &nano) < 0 || nano < 0 || nano % DV_QUANTITY_ONE)
        dv_lintfile_add(l, key, DV_LINT_QUOTA_QUANTITY, key->text, text, NULL, NULL);
}

/* A line of its own, with nothing else in it, is taken out. */
static void remove_line(struct dv_lintfile *l, struct dv_lint_finding *f,
                        const struct dv_yaml_node *key)
{
    struct dv_lint_at at = dv_lintfile_at(l, key);
    const char *p = l->yaml->source, *end = p + l->yaml->len, *stop;
    for (uint32_t i = 1; p && i < key->line; i++) {
        p = memchr(p, '\n', (size_t)(end - p));
        p = p ? p + 1 : NULL;
    }
    if (!p || at.pinned || l->at.indent || l->at.column != 1)
        return;
    stop = memchr(p, '\n', (size_t)(end - p));
    for (uint32_t i = 0; i + 1 < key->column; i++)
        if (p[i] != ' ')
            return;
    char line[512];
    if (!stop || (size_t)(stop - p) >= sizeof line - 1 || memchr(p, '{', (size_t)(stop - p)))
        return;
    snprintf(line, sizeof line, "%.*s\n", (int)(stop - p), p);
    dv_lint_edit(l->report, f, at.line, 1, line, "");
}

static void judge_limit(struct dv_lintfile *l, const struct dv_yaml_node *hard,
                        const struct dv_yaml_node *key)
{
    const char *resource = key->text + strlen("limits.");
    char other[DV_GPU_RESOURCE_SIZE + 16];
    struct dv_lint_finding *f =
        dv_lintfile_add(l, key, DV_LINT_QUOTA_LIMITS, key->text, resource, NULL, NULL);
    snprintf(other, sizeof other, "requests.%.300s", resource);
    if (dv_lintfile_get(hard, other))
        remove_line(l, f, key);
}

void dv_lintfile_quota(struct dv_lintfile *l, const struct dv_yaml_node *object)
{
    const struct dv_yaml_node *hard = dv_lintfile_map(dv_lintfile_map(object, "spec"), "hard");
    const struct dv_yaml_node *first = NULL;
    uint32_t n = 0;
    for (uint32_t i = 0; hard && i < hard->n; i++) {
        const struct dv_yaml_node *key = hard->items[2 * i];
        bool request = !strncmp(key->text, "requests.", 9),
             limit = !strncmp(key->text, "limits.", 7);
        const char *name = key->text + (request ? 9 : limit ? 7 : 0);
        if (!is_gpu(name))
            continue;
        dv_lint_in_scope(l->report);
        judge_amount(l, key, hard->items[2 * i + 1]);
        n += request;
        first = request && !first ? key : first;
        if (limit)
            judge_limit(l, hard, key);
        else if (!request)
            dv_lintfile_add(l, key, DV_LINT_QUOTA_PLAIN, key->text, NULL, NULL, NULL);
    }
    if (n == 1)
        dv_lintfile_add(l, first, DV_LINT_QUOTA_PARTIAL, first->text, NULL, NULL, NULL);
}

void dv_lintfile_budget(struct dv_lintfile *l, const struct dv_yaml_node *object)
{
    const struct dv_yaml_node *spec = dv_lintfile_map(object, "spec");
    static const char *const keys[] = {"maxUnavailable", "minAvailable"};
    static const char *const bad[][2] = {{"0", "0%"}, {"100%", "100%"}};
    for (size_t i = 0; l->of_gpus && i < DV_ARRAY_SIZE(keys); i++) {
        const struct dv_yaml_node *v = dv_lintfile_get(spec, keys[i]);
        char what[64];
        if (!dv_yaml_is(v, bad[i][0]) && !dv_yaml_is(v, bad[i][1]))
            continue;
        snprintf(what, sizeof what, "%s: %.10s", keys[i], v->text);
        dv_lintfile_add(l, v, DV_LINT_PDB_BLOCKS, what, NULL, NULL, NULL);
    }
}

/* ---- the kubelet ---------------------------------------------------------------------------- */

static void judge_choice(struct dv_lintfile *l, const struct dv_yaml_node *object, const char *key,
                         const char *const *choices, size_t n)
{
    const struct dv_yaml_node *v = dv_lintfile_get(object, key);
    char words[96], hint[DV_LINTFILE_HINT];
    if (!v)
        return;
    for (size_t i = 0; i < n; i++)
        if (dv_yaml_is(v, choices[i]))
            return;
    snprintf(words, sizeof words, "\"%.60s\" is none of the kubelet's",
             v->kind == DV_YAML_SCALAR ? v->text : "a list");
    dv_lintfile_add(
        l, v, DV_LINT_KUBELET_BAD, key, words,
        dv_lintfile_did_you_mean(dv_str_nearest(dv_lintfile_scalar(v), choices, n), hint), NULL);
}

void dv_lintfile_kubelet(struct dv_lintfile *l, const struct dv_yaml_node *object)
{
    static const char *const policies[] = {"none", "best-effort", "restricted", "single-numa-node"};
    static const char *const scopes[] = {"container", "pod"};
    static const char *const cpus[] = {"none", "static"};
    const struct dv_yaml_node *policy = dv_lintfile_get(object, "topologyManagerPolicy");
    const char *text = dv_lintfile_scalar(policy);
    dv_lint_in_scope(l->report);
    judge_choice(l, object, "topologyManagerPolicy", policies, DV_ARRAY_SIZE(policies));
    judge_choice(l, object, "topologyManagerScope", scopes, DV_ARRAY_SIZE(scopes));
    judge_choice(l, object, "cpuManagerPolicy", cpus, DV_ARRAY_SIZE(cpus));
    if (!strcmp(text, "best-effort"))
        dv_lintfile_add(l, policy, DV_LINT_KUBELET_BEST_EFFORT, text, NULL, NULL, NULL);
    bool aligns = !strcmp(text, "restricted") || !strcmp(text, "single-numa-node");
    if (aligns && !dv_yaml_is(dv_lintfile_get(object, "cpuManagerPolicy"), "static"))
        dv_lintfile_add(l, policy, DV_LINT_KUBELET_CPU, text, NULL, NULL, NULL);
}
