/* SPDX-License-Identifier: Apache-2.0 */
/* Which command it is, and what has to be taken off before it. */
#include "policy/lint/lint_command_internal.h"
#include "policy/lint/lint_query.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 4u

struct dv_lint_at dv_lint_command_at(const struct dv_lint_run *run, const struct dv_shell_word *w)
{
    return dv_lint_place(&run->script->at, run->text, w->from);
}

struct dv_lint_finding *dv_lint_command_add(struct dv_lint_run *run, const struct dv_shell_word *w,
                                            enum dv_lint_rule rule, const char *a, const char *b,
                                            const char *c, const char *d)
{
    struct dv_lint_at at = dv_lint_command_at(run, w);
    return dv_lint_add(run->script->report, rule, at.line, at.column, a, b, c, d);
}

bool dv_lint_command_is_literal(const char *text)
{
    return !strpbrk(text, "$`<>{}*") && *text;
}

const char *dv_lint_command_hint(const char *near, char *buf, size_t size)
{
    buf[0] = 0;
    if (near)
        snprintf(buf, size, " (did you mean %s?)", near);
    return buf;
}

/* ---- the command behind others -------------------------------------------------------------- */

static const char *base_name(const char *path)
{
    const char *p = strrchr(path, '/');
    return p ? p + 1 : path;
}

static bool is_one_of(const char *word, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(list[i], word))
            return true;
    return false;
}

/* sudo -E, env A=b, watch -n 1, timeout 5, xargs: what they run comes behind their options. */
static uint32_t skip_wrappers(const struct dv_shell_word *words, uint32_t n)
{
    static const char *const wrappers[] = {"sudo",  "env",     "time",  "nohup", "exec", "command",
                                           "watch", "timeout", "xargs", "nice",  "doas", "stdbuf"};
    static const char *const valued[] = {"-n", "-u", "-g", "-s", "-k", "-I", "-C", "-i", "-o"};
    uint32_t i = 0;
    while (i + 1 < n && is_one_of(base_name(words[i].text), wrappers, DV_ARRAY_SIZE(wrappers))) {
        bool timed = !strcmp(base_name(words[i].text), "timeout");
        bool env = !strcmp(base_name(words[i].text), "env");
        for (i++; i < n; i++) {
            const char *w = words[i].text;
            bool option = w[0] == '-' && w[1];
            if (option && is_one_of(w, valued, DV_ARRAY_SIZE(valued)) && !(env && w[1] == 'i'))
                i++;
            else if (!option && !strchr(w, '=') && !(timed && isdigit((unsigned char)*w)))
                break;
        }
    }
    return DV_MIN(i, n);
}

static void run_inner(struct dv_lint_run *run, const struct dv_shell_word *w)
{
    struct dv_lint_script inner = *run->script;
    inner.at = dv_lint_command_at(run, w);
    inner.depth++;
    if (w->exact == SIZE_MAX)
        inner.at.pinned = true;
    else
        inner.at = dv_lint_place(&run->script->at, run->text, w->exact);
    if (inner.depth < DEPTH_MAX && dv_lint_script(&inner, w->text, strlen(w->text)) < 0)
        run->failed = true;
}

static void judge_shell(struct dv_lint_run *run, const struct dv_lint_words *w)
{
    for (uint32_t i = 1; i + 1 < w->n; i++)
        if (w->words[i].text[0] == '-' && w->words[i].text[1] != '-' &&
            strchr(w->words[i].text, 'c')) {
            run_inner(run, &w->words[i + 1]);
            return;
        }
}

/* Names of resources and metrics in what any command is told. */
static void judge_names(struct dv_lint_run *run, const struct dv_lint_words *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        const struct dv_shell_word *word = &w->words[i];
        if (strstr(word->text, "nvidia.com/") || strstr(word->text, "divvy.dev/"))
            dv_lint_in_scope(run->script->report);
        if (!strstr(word->text, "DCGM_") && !strstr(word->text, "dcgm_"))
            continue;
        struct dv_lint_at at = dv_lint_command_at(run, word);
        at.pinned = word->exact == SIZE_MAX;
        if (!at.pinned)
            at = dv_lint_place(&run->script->at, run->text, word->exact);
        dv_lint_query_names(run->script->report, &at, word->text, strlen(word->text));
    }
}

void dv_lint_command_words(struct dv_lint_run *run, const struct dv_shell_word *words, uint32_t n)
{
    static const char *const ours[] = {
        "divvy", "divvyd", "divvy-sim", "divvy-load", "nvidia-mig-parted", "nvidia-mig-manager",
        "dcgmi", "nvtop",  "nvidia-ctk"};
    uint32_t skip = skip_wrappers(words, n);
    struct dv_lint_words w = {words + skip, n - skip};
    if (!w.n)
        return;
    const char *name = base_name(w.words[0].text);
    judge_names(run, &w);
    if (!strcmp(name, "nvidia-smi"))
        dv_lint_command_smi(run, &w);
    else if (!strcmp(name, "nvidia-cuda-mps-control"))
        dv_lint_command_mps(run, &w);
    else if (!strcmp(name, "kubectl") || !strcmp(name, "oc") || !strcmp(name, "k"))
        dv_lint_command_kubectl(run, &w);
    else if (!strcmp(name, "helm"))
        dv_lint_command_helm(run, &w);
    else if (!strcmp(name, "sh") || !strcmp(name, "bash"))
        judge_shell(run, &w);
    else if (is_one_of(name, ours, DV_ARRAY_SIZE(ours)))
        dv_lint_in_scope(run->script->report);
}

/* ---- here-documents ------------------------------------------------------------------------- */

static bool has_word(const struct dv_shell_command *c, const char *word)
{
    for (uint32_t i = 0; i < c->n; i++)
        if (!strcmp(base_name(c->words[i].text), word))
            return true;
    return false;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(end), len = text ? strlen(text) : 0;
    return len >= n && !strcmp(text + len - n, end);
}

/* Is the document of command `i` a manifest: kubectl reads it, or it becomes a file .yaml? */
static bool is_manifest(const struct dv_shell *shell, uint32_t i)
{
    static const char *const applies[] = {"apply", "create", "replace", "delete", "diff"};
    const struct dv_shell_command *c = &shell->commands[i];
    if (ends_with(c->output, ".yaml") || ends_with(c->output, ".yml"))
        return true;
    for (uint32_t k = 0; k < c->n; k++)
        if (has_word(c, "tee") &&
            (ends_with(c->words[k].text, ".yaml") || ends_with(c->words[k].text, ".yml")))
            return true;
    for (uint32_t k = i; k < shell->n; k++) {
        const struct dv_shell_command *d = &shell->commands[k];
        bool reads = k == i || d->upstream == i;
        if (!reads || (!has_word(d, "kubectl") && !has_word(d, "oc")))
            continue;
        for (size_t a = 0; a < DV_ARRAY_SIZE(applies); a++)
            if (has_word(d, applies[a]))
                return true;
    }
    return false;
}

static void judge_document(struct dv_lint_run *run)
{
    const struct dv_lint_script *s = run->script;
    const struct dv_shell_command *c = &run->shell->commands[run->index];
    if (!c->has_document || !is_manifest(run->shell, run->index) || !s->inner)
        return;
    struct dv_lint_at at = dv_lint_place(&s->at, run->text, c->document_from);
    at.indent = s->at.indent;
    s->inner(s->arg, DV_LINT_INNER_MANIFEST, run->text + c->document_from, c->document_len, &at);
}

/* ---- the script ----------------------------------------------------------------------------- */

int dv_lint_script(const struct dv_lint_script *script, const char *text, size_t len)
{
    dv_cleanup(dv_shell_done) struct dv_shell shell = {0};
    struct dv_lint_run run = {.script = script, .text = text, .shell = &shell};
    struct dv_lint_report *report = script->report;
    uint32_t mine = report->n_objects;
    int r = dv_shell_scan(text, len, &shell);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < shell.n; i++) {
        run.index = i;
        dv_lint_command_words(&run, shell.commands[i].words, shell.commands[i].n);
    }
    if (run.bare)
        dv_lint_add(report, DV_LINT_NO_COMPUTE_INSTANCES, run.bare_at.line, run.bare_at.column,
                    NULL, NULL, NULL, NULL);
    bool in_scope = mine && report->objects && report->objects[mine - 1].in_scope;
    if (run.has_top && in_scope)
        dv_lint_add(report, DV_LINT_KUBECTL_TOP, run.top_at.line, run.top_at.column, NULL, NULL,
                    NULL, NULL);
    /* Objects of their own, after what is the script's. */
    for (uint32_t i = 0; i < shell.n; i++) {
        run.index = i;
        judge_document(&run);
    }
    return run.failed ? -ENOMEM : 0;
}
