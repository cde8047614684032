/* SPDX-License-Identifier: Apache-2.0 */
/* kubectl and helm. */
#include "model/plugin_flags.h"
#include "policy/lint/lint_command_internal.h"
#include "policy/lint/lint_kube.h"

#include <stdio.h>
#include <string.h>

static bool is_one_of(const char *word, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(list[i], word))
            return true;
    return false;
}

/* ---- kubectl -------------------------------------------------------------------------------- */

/* Global options that take a value stand before the command, as -n NAMESPACE. */
static uint32_t skip_options(const struct dv_lint_words *w, uint32_t i)
{
    static const char *const valued[] = {"-n",        "--namespace", "--context", "--kubeconfig",
                                         "--cluster", "--user",      "-s",        "--server",
                                         "-l",        "--selector",  "-o",        "--output"};
    for (; i < w->n && w->words[i].text[0] == '-'; i++)
        i += is_one_of(w->words[i].text, valued, DV_ARRAY_SIZE(valued));
    return i;
}

static bool is_node(const char *word)
{
    static const char *const names[] = {"node", "nodes", "no"};
    return is_one_of(word, names, DV_ARRAY_SIZE(names)) || !strncmp(word, "node/", 5) ||
           !strncmp(word, "nodes/", 6);
}

static void judge_label(struct dv_lint_run *run, const struct dv_shell_word *w)
{
    size_t n = strcspn(w->text, "=");
    bool sets = w->text[n] == '=';
    char key[128], hint[160];
    const char *near = NULL;
    if (strncmp(w->text, "nvidia.com/", 11) != 0)
        return;
    n -= !sets && n && w->text[n - 1] == '-'; /* "KEY-" takes it away */
    snprintf(key, sizeof key, "%.*s", (int)DV_MIN(n, sizeof key - 1), w->text);
    dv_lint_in_scope(run->script->report);
    if (sets && !dv_lint_kube_followed_label(key, &near))
        dv_lint_command_add(run, w, DV_LINT_LABEL_KEY, key,
                            dv_lint_command_hint(near, hint, sizeof hint), NULL, NULL);
    if (sets && !strcmp(key, "nvidia.com/mig.config"))
        dv_lint_command_add(run, w, DV_LINT_LIVE_LABEL, w->text, NULL, NULL, NULL);
}

/* kubectl patch clusterpolicy NAME -p JSON */
static void judge_patch(struct dv_lint_run *run, const struct dv_lint_words *w)
{
    const struct dv_lint_script *s = run->script;
    bool policy = false;
    for (uint32_t i = 1; i < w->n; i++) {
        const char *text = w->words[i].text;
        const struct dv_shell_word *patch = NULL;
        policy = policy || !strncmp(text, "clusterpolic", 12);
        if ((!strcmp(text, "-p") || !strcmp(text, "--patch")) && i + 1 < w->n)
            patch = &w->words[i + 1];
        if (!policy || !patch || !s->inner)
            continue;
        struct dv_lint_at at = dv_lint_command_at(run, patch);
        at.pinned = patch->exact == SIZE_MAX;
        if (!at.pinned)
            at = dv_lint_place(&s->at, run->text, patch->exact);
        s->inner(s->arg, DV_LINT_INNER_POLICY, patch->text, strlen(patch->text), &at);
    }
}

/* kubectl get nodes ... | grep nvidia: what people look for is what divvy offers. */
static bool is_grepped(const struct dv_lint_run *run)
{
    uint32_t from = run->index;
    for (uint32_t i = from + 1; i < run->shell->n; i++) {
        const struct dv_shell_command *c = &run->shell->commands[i];
        if (c->upstream != from)
            continue;
        from = i;
        if (!c->n || !strstr(c->words[0].text, "grep"))
            continue;
        for (uint32_t k = 1; k < c->n; k++)
            if (!strncmp(c->words[k].text, "nvidia", 6))
                return true;
    }
    return false;
}

void dv_lint_command_kubectl(struct dv_lint_run *run, const struct dv_lint_words *w)
{
    uint32_t verb = skip_options(w, 1);
    const char *name = verb < w->n ? w->words[verb].text : "";
    uint32_t what = skip_options(w, verb + 1);
    bool node = what < w->n && is_node(w->words[what].text);
    if (!strcmp(name, "label") && node)
        for (uint32_t i = what + 1; i < w->n; i++)
            judge_label(run, &w->words[i]);
    if ((!strcmp(name, "get") || !strcmp(name, "describe")) && node && is_grepped(run))
        dv_lint_in_scope(run->script->report);
    if (!strcmp(name, "patch"))
        judge_patch(run, w);
    if (!strcmp(name, "top") && !run->has_top) {
        run->has_top = true;
        run->top_at = dv_lint_command_at(run, &w->words[0]);
    }
    bool runs = !strcmp(name, "exec") || !strcmp(name, "run") || !strcmp(name, "debug");
    for (uint32_t i = verb; runs && i + 1 < w->n; i++)
        if (!strcmp(w->words[i].text, "--")) {
            dv_lint_command_words(run, &w->words[i + 1], w->n - i - 1);
            return;
        }
}

/* ---- helm ----------------------------------------------------------------------------------- */

struct helm {
    enum dv_lint_chart chart;
    const struct dv_shell_word *config_name; /* where devicePlugin.config.name is set */
    char config[80];
    bool has_default, has_file;
};

static void on_value(struct dv_lint_run *run, struct helm *h, const struct dv_shell_word *w,
                     const char *path, const char *value)
{
    const char *hint;
    enum dv_mig_strategy strategy;
    struct dv_err err = {{0}};
    bool literal = dv_lint_command_is_literal(value);
    if (!dv_lint_kube_chart_value(h->chart, path, &hint))
        dv_lint_command_add(run, w, DV_LINT_HELM_VALUE, dv_lint_kube_chart_name(h->chart), path,
                            hint, NULL);
    bool is_strategy =
        !strcmp(path, h->chart == DV_LINT_CHART_PLUGIN ? "migStrategy" : "mig.strategy");
    if (is_strategy && literal && dv_plugin_flags_mig_strategy_parse(value, &strategy, &err) < 0)
        dv_lint_command_add(run, w, DV_LINT_OPERATOR_BAD, err.msg, NULL, NULL, NULL);
    h->has_default = h->has_default || !strcmp(path, "devicePlugin.config.default");
    if (!strcmp(path, "devicePlugin.config.name")) {
        h->config_name = w;
        snprintf(h->config, sizeof h->config, "%.79s", value);
    }
}

/* "a.b=c,d=e" */
static void on_set(struct dv_lint_run *run, struct helm *h, const struct dv_shell_word *w,
                   const char *text)
{
    char path[128], value[128];
    while (*text) {
        size_t n = strcspn(text, ","), key = strcspn(text, "=,");
        snprintf(path, sizeof path, "%.*s", (int)DV_MIN(key, sizeof path - 1), text);
        size_t rest = key < n ? n - key - 1 : 0;
        snprintf(value, sizeof value, "%.*s", (int)DV_MIN(rest, sizeof value - 1), text + key + 1);
        if (dv_lint_command_is_literal(path) && key < n)
            on_value(run, h, w, path, value);
        text += n + (text[n] == ',');
    }
}

void dv_lint_command_helm(struct dv_lint_run *run, const struct dv_lint_words *w)
{
    static const char *const sets[] = {"--set", "--set-string", "--set-json", "--set-file"};
    static const char *const files[] = {"-f", "--values", "--reuse-values"};
    struct helm h = {0};
    for (uint32_t i = 2; i < w->n && h.chart == DV_LINT_CHART_NONE; i++) {
        bool chart = strchr(w->words[i].text, '/') && w->words[i].text[0] != '-';
        h.chart = chart ? dv_lint_kube_chart(w->words[i].text) : DV_LINT_CHART_NONE;
    }
    if (h.chart == DV_LINT_CHART_NONE)
        return;
    dv_lint_in_scope(run->script->report);
    for (uint32_t i = 1; i < w->n; i++) {
        const char *text = w->words[i].text;
        size_t n = strcspn(text, "=");
        char option[32];
        snprintf(option, sizeof option, "%.*s", (int)DV_MIN(n, sizeof option - 1), text);
        h.has_file = h.has_file || is_one_of(option, files, DV_ARRAY_SIZE(files));
        if (!is_one_of(option, sets, DV_ARRAY_SIZE(sets)))
            continue;
        if (text[n])
            on_set(run, &h, &w->words[i], text + n + 1);
        else if (i + 1 < w->n) {
            i++;
            on_set(run, &h, &w->words[i], w->words[i].text);
        }
    }
    if (h.config_name && !h.has_default && !h.has_file)
        dv_lint_command_add(run, h.config_name, DV_LINT_NO_DEFAULT, h.config, NULL, NULL, NULL);
}
