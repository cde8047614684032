/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus' rules, Grafana's dashboards, files of queries. */
#include "internal.h"
#include "policy/lint/lint_query.h"

#include <stdio.h>
#include <string.h>

static void judge_query(struct dv_lintfile *l, const struct dv_yaml_node *node,
                        enum dv_lint_query kind)
{
    struct dv_lint_at at = dv_lintfile_text_at(l, node);
    dv_lint_query(l->report, &at, node->text, strlen(node->text), kind);
}

/* ---- rules ---------------------------------------------------------------------------------- */

static void judge_duration(struct dv_lintfile *l, const struct dv_yaml_node *map, const char *key)
{
    const struct dv_yaml_node *value = dv_lintfile_get(map, key);
    char words[160];
    if (!value || value->kind != DV_YAML_SCALAR || dv_lint_query_is_duration(value->text))
        return;
    snprintf(words, sizeof words, "%s: \"%.60s\" is no duration", key, value->text);
    dv_lintfile_add(l, value, DV_LINT_RULE_BAD, words, "write it as 90s, 5m or 1h30m", NULL, NULL);
}

static void judge_rule(struct dv_lintfile *l, const struct dv_yaml_node *rule)
{
    const struct dv_yaml_node *expr = dv_lintfile_get(rule, "expr");
    bool alert = dv_lintfile_get(rule, "alert") != NULL;
    bool record = dv_lintfile_get(rule, "record") != NULL;
    char words[160];
    if (rule->kind != DV_YAML_MAP || alert == record || !expr) {
        snprintf(words, sizeof words, "a rule has %s",
                 alert && record     ? "either record or alert, not both"
                 : !alert && !record ? "record or alert; this one has neither"
                                     : "an expr; this one has none");
        dv_lintfile_add(l, rule, DV_LINT_RULE_BAD, words, "a rule has record or alert, and expr",
                        NULL, NULL);
    }
    judge_duration(l, rule, "for");
    judge_duration(l, rule, "keep_firing_for");
    if (expr && expr->kind == DV_YAML_SCALAR)
        judge_query(l, expr, alert ? DV_LINT_QUERY_ALERT : DV_LINT_QUERY_ALONE);
}

void dv_lintfile_rules(struct dv_lintfile *l, const struct dv_yaml_node *root)
{
    const struct dv_yaml_node *groups = dv_lintfile_list(root, "groups");
    for (uint32_t i = 0; groups && i < groups->n; i++) {
        const struct dv_yaml_node *rules = dv_lintfile_list(groups->items[i], "rules");
        judge_duration(l, groups->items[i], "interval");
        for (uint32_t k = 0; rules && k < rules->n; k++)
            judge_rule(l, rules->items[k]);
    }
}

/* ---- dashboards ----------------------------------------------------------------------------- */

static void judge_target(struct dv_lintfile *l, const struct dv_yaml_node *map)
{
    const struct dv_yaml_node *expr = dv_lintfile_get(map, "expr");
    if (expr && expr->kind == DV_YAML_SCALAR)
        judge_query(l, expr, DV_LINT_QUERY_ALONE);
}

void dv_lintfile_dashboard(struct dv_lintfile *l, const struct dv_yaml_node *root)
{
    dv_lintfile_each_map(l, root, judge_target);
}

/* ---- queries -------------------------------------------------------------------------------- */

void dv_lintfile_promql(struct dv_lintfile *l, const char *text, size_t len,
                        const struct dv_lint_at *at)
{
    struct dv_lint_at here = *at;
    dv_lint_begin(l->report, "queries", NULL, at->line);
    for (size_t n; len; text += n, len -= n) {
        n = dv_lint_query_length(text, len);
        dv_lint_query(l->report, &here, text, n, DV_LINT_QUERY_ALONE);
        here = dv_lint_place(&here, text, n);
    }
}
