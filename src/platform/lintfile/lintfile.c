/* SPDX-License-Identifier: Apache-2.0 */
/* Which format a text has, and who judges its documents. */
#include "internal.h"
#include "policy/lint/lint_kube.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DOCUMENTS_MAX 4096u
#define ROUNDS_MAX 64 /* of mending: one edit may be in the way of another, a report be full */

/* ---- which type ----------------------------------------------------------------------------- */

enum dv_lintfile_type dv_lintfile_type_of(const char *name)
{
    static const struct {
        const char *end;
        enum dv_lintfile_type type;
    } ends[] = {
        {".yaml", DV_LINTFILE_YAML}, {".yml", DV_LINTFILE_YAML},   {".json", DV_LINTFILE_YAML},
        {".sh", DV_LINTFILE_SHELL},  {".bash", DV_LINTFILE_SHELL}, {".promql", DV_LINTFILE_PROMQL},
    };
    size_t len = strlen(name);
    for (size_t i = 0; i < DV_ARRAY_SIZE(ends); i++) {
        size_t n = strlen(ends[i].end);
        if (len > n && !strcmp(name + len - n, ends[i].end))
            return ends[i].type;
    }
    return DV_LINTFILE_AUTO;
}

/* The first line with something in it. */
static const char *first_line(const char *text, size_t len, size_t *ret_len)
{
    for (const char *p = text, *end = text + len; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        stop = stop ? stop : end;
        while (p < stop && (*p == ' ' || *p == '\t'))
            p++;
        if (p < stop && (*p != '#' || !strncmp(p, "#!", 2)) && *p != '\r') {
            *ret_len = (size_t)(stop - p);
            return p;
        }
        p = stop + 1;
    }
    *ret_len = 0;
    return text;
}

static bool begins_with_word(const char *p, size_t len, const char *word)
{
    size_t n = strlen(word);
    return len >= n && !strncmp(p, word, n) && (len == n || p[n] == ' ' || p[n] == '\t');
}

static enum dv_lintfile_type guess(const char *text, size_t len)
{
    static const char *const commands[] = {
        "kubectl", "helm", "sudo", "nvidia-smi", "docker", "nvidia-cuda-mps-control",
        "echo",    "cat",  "for",  "if",         "export", "set",
        "divvy",   "curl", "while"};
    size_t n;
    const char *p = first_line(text, len, &n);
    if (n > 2 && !strncmp(p, "#!", 2))
        return DV_LINTFILE_SHELL;
    for (size_t i = 0; i < DV_ARRAY_SIZE(commands); i++)
        if (begins_with_word(p, n, commands[i]))
            return DV_LINTFILE_SHELL;
    size_t word = 0;
    while (word < n && (isalnum((unsigned char)p[word]) || p[word] == '_' || p[word] == ':'))
        word++;
    /* "key:" is YAML; "metric{...}", "func(", a bare metric are queries. */
    if (word && p[word - 1] != ':' && (word == n || p[word] == '{' || p[word] == '(') &&
        !isdigit((unsigned char)*p))
        return DV_LINTFILE_PROMQL;
    return DV_LINTFILE_YAML;
}

/* ---- documents ------------------------------------------------------------------------------ */

/* Where the next document begins: at a line "---". */
static const char *next_document(const char *p, const char *end)
{
    for (;;) {
        const char *line = memchr(p, '\n', (size_t)(end - p));
        if (!line || line + 1 >= end)
            return end;
        p = line + 1;
        if (end - p >= 3 && !strncmp(p, "---", 3) &&
            (end - p == 3 || p[3] == '\n' || p[3] == ' ' || p[3] == '\r' || p[3] == '\t'))
            return p;
    }
}

/* Comments and directives only. */
static bool is_blank(const char *p, const char *end)
{
    for (; p < end; p++) {
        if (*p == '#' || *p == '%') {
            p = memchr(p, '\n', (size_t)(end - p));
            if (!p)
                return true;
        } else if (!isspace((unsigned char)*p)) {
            return false;
        }
    }
    return true;
}

static void on_bad_document(struct dv_lintfile *l, const char *text, size_t len, int r,
                            const char *message)
{
    bool unread = strstr(message, "merge keys") || strstr(message, "the tag ");
    bool told = false;
    for (uint32_t i = 0; i < l->report->n_findings; i++)
        told = told || l->report->findings[i].rule == DV_LINT_TEMPLATE;
    dv_lint_begin(l->report, "document", NULL, l->at.line);
    if (told && memmem(text, len, "{{", 2))
        return; /* once a file is enough */
    if (memmem(text, len, "{{", 2)) {
        dv_lint_add(l->report, DV_LINT_TEMPLATE, l->at.line, l->at.column, "it has {{ ... }}", NULL,
                    NULL, NULL);
        return;
    }
    dv_lintfile_complain(l,
                         r == -E2BIG ? DV_LINT_TOO_BIG
                         : unread    ? DV_LINT_NOT_READ
                                     : DV_LINT_SYNTAX,
                         message);
}

struct piece {
    const char *text;
    size_t len;
    struct dv_lint_at at;
    struct dv_yaml *yaml; /* NULL: not read, and why */
    int r;
    struct dv_err why;
};

static uint32_t split(struct dv_lintfile *l, const char *text, size_t len,
                      const struct dv_lint_at *at, struct piece *pieces)
{
    uint32_t n = 0;
    const char *end = text + len;
    struct dv_lint_at here = *at;
    for (const char *p = text, *next; p < end && n < DOCUMENTS_MAX; p = next) {
        next = next_document(p, end);
        if (!is_blank(p, next)) {
            struct piece *one = &pieces[n++];
            *one = (struct piece){.text = p, .len = (size_t)(next - p), .at = here};
            one->r = dv_yaml_parse(l->name, p, one->len, &one->yaml, &one->why);
            l->failed = l->failed || one->r == -ENOMEM;
        }
        here = dv_lint_place(&here, p, (size_t)(next - p));
        if (n == DOCUMENTS_MAX && next < end) {
            char words[64];
            snprintf(words, sizeof words, "more than %u documents", DOCUMENTS_MAX);
            dv_lint_begin(l->report, "document", NULL, here.line);
            dv_lint_add(l->report, DV_LINT_TOO_BIG, here.line, here.column, words, NULL, NULL,
                        NULL);
        }
    }
    return n;
}

/* ---- what all documents say together -------------------------------------------------------- */

static void note_strategy(struct dv_lintfile *l, const char *text, bool *several)
{
    enum dv_mig_strategy one;
    struct dv_err err;
    static const char *const names[] = {"none", "single", "mixed"};
    if (!*text || dv_plugin_flags_mig_strategy_parse(text, &one, &err) < 0)
        return;
    *several = *several || (l->strategy && strcmp(l->strategy, names[one]) != 0);
    l->strategy = names[one];
}

/* A ConfigMap's texts, where the word is in them. */
static void look_into(struct dv_lintfile *l, const struct dv_yaml_node *data, bool *several)
{
    for (uint32_t i = 0; data && i < data->n; i++) {
        const char *text = dv_lintfile_scalar(data->items[2 * i + 1]);
        dv_cleanup(dv_yaml_freep) struct dv_yaml *inner = NULL;
        int r = strstr(text, "migStrategy")
                    ? dv_yaml_parse(l->name, text, strlen(text), &inner, NULL)
                    : -ENOENT;
        l->failed = l->failed || r == -ENOMEM;
        if (r < 0)
            continue;
        for (uint32_t k = 0; k < inner->n_roots; k++)
            note_strategy(
                l, dv_lintfile_scalar(dv_lintfile_find(inner->roots[k], "flags/migStrategy")),
                several);
    }
}

static void find_strategy(struct dv_lintfile *l)
{
    static const char *const names[] = {"none", "single", "mixed"};
    bool several = false;
    if (l->options->has_strategy) {
        l->strategy = names[l->options->strategy];
        return;
    }
    for (uint32_t i = 0; i < l->n_documents; i++) {
        const struct dv_yaml_node *root =
            l->documents[i]->n_roots ? l->documents[i]->roots[0] : NULL;
        const char *kind = dv_lintfile_text(root, "kind");
        if (!strcmp(kind, "ClusterPolicy"))
            note_strategy(l, dv_lintfile_scalar(dv_lintfile_find(root, "spec/mig/strategy")),
                          &several);
        if (!strcmp(kind, "ConfigMap"))
            look_into(l, dv_lintfile_map(root, "data"), &several);
        if (!*kind)
            note_strategy(l, dv_lintfile_scalar(dv_lintfile_find(root, "flags/migStrategy")),
                          &several);
    }
    if (several)
        l->strategy = NULL;
}

const struct dv_gpu_model *dv_lintfile_model(const struct dv_lintfile *l,
                                             const struct dv_yaml_node *spec)
{
    const char *product =
        dv_lintfile_text(dv_lintfile_map(spec, "nodeSelector"), "nvidia.com/gpu.product");
    char name[128];
    if (l->options->gpu || !*product)
        return l->options->gpu;
    snprintf(name, sizeof name, "%s", product);
    for (size_t i = 0;; i++) {
        const struct dv_gpu_model *m = dv_gpu_model_at(i);
        char label[128];
        if (!m)
            return dv_gpu_model_find(name, NULL);
        snprintf(label, sizeof label, "%s", m->product);
        for (char *p = label; *p; p++)
            *p = *p == ' ' ? '-' : *p;
        if (!strncmp(product, label, strlen(label)))
            return m;
    }
}

/* The letters "gpu" or "nvidia", in any case. */
static bool names_gpus(const char *text, size_t len)
{
    for (size_t i = 0; i + 3 <= len; i++)
        if (!strncasecmp(text + i, "gpu", 3) ||
            (i + 6 <= len && !strncasecmp(text + i, "nvidia", 6)))
            return true;
    return false;
}

/* ---- one text of YAML ----------------------------------------------------------------------- */

void dv_lintfile_yaml(struct dv_lintfile *l, const char *text, size_t len,
                      const struct dv_lint_at *at)
{
    struct piece *pieces = calloc(DOCUMENTS_MAX, sizeof *pieces);
    struct dv_yaml **documents = calloc(DOCUMENTS_MAX, sizeof(struct dv_yaml *));
    struct dv_lintfile here = *l;
    uint32_t n = pieces && documents ? split(&here, text, len, at, pieces) : 0;
    here.of_gpus = l->of_gpus || names_gpus(text, len);
    here.documents = documents;
    here.n_documents = 0;
    for (uint32_t i = 0; i < n; i++)
        if (pieces[i].yaml)
            documents[here.n_documents++] = pieces[i].yaml;
    find_strategy(&here);
    for (uint32_t i = 0; i < n; i++) {
        here.yaml = pieces[i].yaml;
        here.at = pieces[i].at;
        if (!here.yaml && pieces[i].r != -ENOMEM)
            on_bad_document(&here, pieces[i].text, pieces[i].len, pieces[i].r, pieces[i].why.msg);
        for (uint32_t k = 0; here.yaml && k < here.yaml->n_roots; k++)
            dv_lintfile_document(&here, here.yaml->roots[k]);
    }
    for (uint32_t i = 0; i < n; i++)
        dv_yaml_free(pieces[i].yaml);
    l->failed = here.failed || !pieces || !documents;
    free(documents);
    free(pieces);
}

/* ---- the whole ------------------------------------------------------------------------------ */

int dv_lintfile_read(const char *name, const char *text, size_t len,
                     const struct dv_lintfile_options *options, struct dv_lint_report *ret,
                     struct dv_err *err)
{
    static const struct dv_lint_at start = {.line = 1, .column = 1};
    struct dv_lint_report report = {0};
    struct dv_lintfile l = {.name = name, .options = options, .report = &report, .at = start};
    enum dv_lintfile_type type = options->type;
    if (len > DV_LINTFILE_MAX)
        return dv_err_set(err, -E2BIG, "%.200s: %zu bytes; at most %u are read", name, len,
                          DV_LINTFILE_MAX);
    if (memchr(text, 0, len))
        return dv_err_set(err, -EINVAL, "%.200s: this is no text", name);
    if (type == DV_LINTFILE_AUTO)
        type = dv_lintfile_type_of(name);
    if (type == DV_LINTFILE_AUTO)
        type = guess(text, len);
    if (type == DV_LINTFILE_SHELL)
        dv_lintfile_shell(&l, text, len, &start);
    else if (type == DV_LINTFILE_PROMQL)
        dv_lintfile_promql(&l, text, len, &start);
    else
        dv_lintfile_yaml(&l, text, len, &start);
    dv_lint_finish(&report, text, len, &options->filter);
    if (l.failed || report.failed) {
        dv_lint_report_done(&report);
        return dv_err_set(err, -ENOMEM, "out of memory");
    }
    *ret = report;
    return 0;
}

/* One round. 0; a negative errno. */
static int fix_once(const char *name, const char *text, size_t len,
                    const struct dv_lintfile_options *options, struct dv_str *ret,
                    uint32_t *ret_mended, bool *ret_broken, struct dv_err *err)
{
    struct dv_lint_report report = {0};
    int r = dv_lintfile_read(name, text, len, options, &report, err);
    if (r < 0)
        return r;
    *ret_broken = false;
    for (uint32_t i = 0; i < report.n_findings; i++)
        *ret_broken = *ret_broken || report.findings[i].rule == DV_LINT_SYNTAX;
    *ret_mended = dv_lint_apply(&report, text, len, ret);
    dv_lint_report_done(&report);
    return ret->failed ? -ENOMEM : 0;
}

int dv_lintfile_fix(const char *name, const char *text, size_t len,
                    const struct dv_lintfile_options *options, struct dv_str *ret,
                    uint32_t *ret_mended, struct dv_err *err)
{
    dv_cleanup(dv_str_done) struct dv_str now = {0};
    uint32_t mended = 0;
    bool broken = false, was_broken = false;
    dv_str_addn(&now, text, len);
    if (now.failed)
        return dv_err_set(err, -ENOMEM, "out of memory");
    for (int round = 0; round < ROUNDS_MAX; round++) {
        dv_cleanup(dv_str_done) struct dv_str next = {0};
        uint32_t n = 0;
        int r = fix_once(name, dv_str_get(&now), now.len, options, &next, &n, &broken, err);
        if (r < 0)
            return r;
        if (round == 0)
            was_broken = broken;
        if (broken && !was_broken)
            return dv_err_set(err, -EINVAL,
                              "%.200s: what mending would make cannot be read; left as it is",
                              name);
        if (!n)
            break;
        mended += n;
        dv_str_done(&now);
        now = next;
        next = (struct dv_str){0};
    }
    if (now.failed)
        return dv_err_set(err, -ENOMEM, "out of memory");
    dv_str_addn(ret, dv_str_get(&now), now.len);
    *ret_mended = mended;
    return ret->failed ? -ENOMEM : 0;
}
