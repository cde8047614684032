/* SPDX-License-Identifier: Apache-2.0 */
/* divvy lint: what is wrong with what people write for GPUs. Needs neither daemon nor cluster. */
#include "lintfile/collect.h"
#include "lintfile/lintfile.h"
#include "render/diff.h"
#include "render/lint_output.h"
#include "sys/fd.h"
#include "verbs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct values {
    const char *gpu, *strategy, *type, *rule, *ignore, *explain, *print, *format;
    bool fix, rules, no_comments;
};

#define AT(field) offsetof(struct values, field)
static const struct dv_option options[] = {
    {"gpu", 'g', "MODEL", "what the GPUs are (A100-80GB, T4, ...); default: any", DV_OPTION_TEXT,
     AT(gpu)},
    {"strategy", 0, "STRATEGY", "the nodes' MIG strategy; default: what the files say",
     DV_OPTION_CHOICE, AT(strategy), .choices = "none|single|mixed"},
    {"type", 't', "TYPE", "what the files are; default: by their names, else by what is in them",
     DV_OPTION_CHOICE, AT(type), .choices = "yaml|shell|promql"},
    {"rule", 'r', "RULES", "only these, as DV102,gpu-quantity; DV1 is all of its hundred",
     DV_OPTION_TEXT, AT(rule)},
    {"ignore", 'i', "RULES", "all but these", DV_OPTION_TEXT, AT(ignore)},
    {"no-comments", 0, NULL, "heed no comments that silence findings", DV_OPTION_FLAG,
     AT(no_comments)},
    {"fix", 0, NULL, "mend what is safe to mend, in the files", DV_OPTION_FLAG, AT(fix)},
    {"print", 'p', "WHAT",
     "with --fix: diff shows what would change, and changes nothing (exit status 3)",
     DV_OPTION_CHOICE, AT(print), .choices = "findings|diff", .otherwise = "findings"},
    {"format", 0, "FORMAT", "as -o, and sarif (SARIF 2.1.0, for code scanning)", DV_OPTION_CHOICE,
     AT(format), .choices = "table|json|csv|sarif"},
    {"rules", 0, NULL, "list the rules", DV_OPTION_FLAG, AT(rules)},
    {"explain", 'e', "RULE", "explain a rule", DV_OPTION_TEXT, AT(explain)},
};

/* One call. */
struct lint {
    const struct dv_ui *ui;
    const struct values *v;
    struct dv_lintfile_options how;
    struct dv_collect collect;
    struct dv_lint_report *reports;
    struct dv_lint_file *files;
    size_t n;
    struct dv_str diff, filtered; /* what is printed instead: changes, the standard input mended */
    bool unreadable, problems;
};

/* ---- options -------------------------------------------------------------------------------- */

static int read_strategy(const char *text, struct dv_lintfile_options *how)
{
    struct dv_err err;
    how->has_strategy = text != NULL;
    return text ? dv_plugin_flags_mig_strategy_parse(text, &how->strategy, &err) : 0;
}

static int read_options(struct lint *l)
{
    static const char *const types[] = {"", "yaml", "shell", "promql"};
    const struct values *v = l->v;
    struct dv_lint_filter *f = &l->how.filter;
    struct dv_err err = {{0}};
    for (size_t i = 1; v->type && i < DV_ARRAY_SIZE(types); i++)
        if (!strcmp(types[i], v->type))
            l->how.type = (enum dv_lintfile_type)i;
    f->no_comments = v->no_comments;
    read_strategy(v->strategy, &l->how);
    if (v->gpu && !(l->how.gpu = dv_gpu_model_find(v->gpu, &err)))
        return dv_ui_fail(l->ui, DV_UI_USAGE, "--gpu: %s", err.msg);
    if (v->rule && dv_lint_filter_add(f->only, &f->n_only, v->rule, &err) < 0)
        return dv_ui_fail(l->ui, DV_UI_USAGE, "--rule: %s", err.msg);
    if (v->ignore && dv_lint_filter_add(f->ignored, &f->n_ignored, v->ignore, &err) < 0)
        return dv_ui_fail(l->ui, DV_UI_USAGE, "--ignore: %s", err.msg);
    if (!strcmp(v->print, "diff") && !v->fix)
        return dv_ui_fail(l->ui, DV_UI_USAGE, "--print diff goes with --fix");
    if (v->format && l->ui->format_given && strcmp(v->format, l->ui->format) != 0)
        return dv_ui_fail(l->ui, DV_UI_USAGE, "-o %s and --format %s contradict each other",
                          l->ui->format, v->format);
    return DV_UI_OK;
}

/* ---- rules ---------------------------------------------------------------------------------- */

static const struct dv_table_column rule_columns[] = {
    {"RULE", "rule"},       {"NAME", "name"},   {"SEVERITY", "severity"},
    {"VERDICT", "verdict"}, {"TITLE", "title"},
};
static const struct dv_table rule_view = {"rules", rule_columns, DV_ARRAY_SIZE(rule_columns)};

static int list_rules(const struct dv_ui *ui)
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_lint_output_rules();
    return dv_ui_answer(ui, o, &rule_view, NULL, DV_UI_OK);
}

static int explain(const struct dv_ui *ui, const char *name)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_err err = {{0}};
    enum dv_lint_rule rule = dv_lint_rule_find(name, &err);
    if (rule == DV_LINT_RULES)
        return dv_ui_fail(ui, DV_UI_USAGE, "--explain: %s", err.msg);
    dv_lint_output_explain(rule, &text);
    return dv_ui_print(dv_str_get(&text));
}

/* ---- one file ------------------------------------------------------------------------------- */

static void cannot(struct lint *l, const struct dv_err *err)
{
    dv_ui_fail(l->ui, DV_UI_FAILURE, "%s", err->msg);
    l->unreadable = true;
}

/* 0: the file still has the text that was judged. */
static int check_unchanged(const char *path, const char *text, size_t len, struct dv_err *err)
{
    char *now = NULL;
    size_t now_len = 0;
    int r = dv_fd_read_file(path, DV_LINTFILE_MAX, &now, &now_len, err);
    if (r == 0 && (now_len != len || memcmp(now, text, len) != 0)) {
        r = -EAGAIN;
        dv_err_set(err, r, "%.300s changed while it was judged; it is left as it is", path);
    }
    free(now);
    return r;
}

/* The file keeps its permissions and its owner. */
static int replace(const char *path, const struct stat *st, const struct dv_str *text,
                   struct dv_err *err)
{
    int r = dv_fd_replace_file(path, dv_str_get(text), text->len, st->st_mode & 07777, err);
    if (r == 0 && geteuid() == 0 && lchown(path, st->st_uid, st->st_gid) < 0) {
        r = -errno;
        dv_err_set(err, r, "%.300s is mended, but no longer its owner's: %s", path, strerror(-r));
    }
    return r;
}

/* Where a link leads is written. */
static int write_back(const char *path, const char *before, size_t len, const struct dv_str *text,
                      struct dv_err *err)
{
    char *real = realpath(path, NULL);
    struct stat st = {0};
    bool there = real && stat(real, &st) == 0;
    int r = -errno;
    if (!there) {
        dv_err_set(err, r, "cannot write %.300s: %s", path, strerror(-r));
    } else if (!S_ISREG(st.st_mode)) {
        r = -ENOTSUP;
        dv_err_set(err, r, "%.300s is no plain file; --fix - mends the standard input", path);
    } else {
        r = check_unchanged(real, before, len, err);
        if (r == 0)
            r = replace(real, &st, text, err);
    }
    free(real);
    return r;
}

/* The text as it is to be judged in `now`: mended where that is asked for. */
static int mend(struct lint *l, const char *path, const char *name, const char *text, size_t len,
                struct dv_str *now, uint32_t *ret_mended, struct dv_err *err)
{
    bool diff = !strcmp(l->v->print, "diff"), is_stdin = !strcmp(path, "-");
    dv_cleanup(dv_str_done) struct dv_str before = {0}, after = {0};
    uint32_t n = 0;
    int r = dv_lintfile_fix(name, text, len, &l->how, now, &n, err);
    if (r < 0)
        return r;
    if (is_stdin && !diff)
        dv_str_addn(&l->filtered, dv_str_get(now), now->len);
    if (!n)
        return 0;
    dv_str_addf(&before, "%s%s", *path == '/' ? "" : "a/", is_stdin ? "standard input" : path);
    dv_str_addf(&after, "%s%s", *path == '/' ? "" : "b/", is_stdin ? "standard input" : path);
    if (diff)
        r = dv_diff_write(dv_str_get(&before), text, len, dv_str_get(&after), dv_str_get(now),
                          now->len, &l->diff);
    else if (!is_stdin)
        r = write_back(path, text, len, now, err);
    if (r == 0)
        *ret_mended = n;
    /* What would change is a problem as long as it has not. */
    l->problems = l->problems || (diff && n);
    return r;
}

static void lint_file(struct lint *l, const struct dv_collect_file *file)
{
    const char *name = strcmp(file->path, "-") != 0 ? file->path : "standard input";
    dv_cleanup(dv_str_done) struct dv_str now = {0};
    struct dv_err err = {{0}};
    char *text = NULL;
    size_t len = 0;
    uint32_t mended = 0;
    int r = dv_fd_read_file(file->path, DV_LINTFILE_MAX, &text, &len, &err);
    if (r == 0 && l->v->fix)
        r = mend(l, file->path, name, text, len, &now, &mended, &err);
    else if (r == 0)
        dv_str_addn(&now, text, len);
    if (r == 0)
        r = dv_lintfile_read(name, dv_str_get(&now), now.len, &l->how, &l->reports[l->n], &err);
    free(text);
    if (r < 0 && !file->named && (r == -E2BIG || r == -EINVAL)) {
        fprintf(stderr, "%s: passed over\n", err.msg);
        return;
    }
    if (r < 0) {
        if (!err.msg[0])
            dv_err_set(&err, r, "%.300s: %s", name, strerror(-r));
        cannot(l, &err);
        return;
    }
    l->problems = l->problems || dv_lint_has_problems(&l->reports[l->n]);
    l->files[l->n] = (struct dv_lint_file){name, &l->reports[l->n], mended};
    l->n++;
}

/* ---- the answer ----------------------------------------------------------------------------- */

static const struct dv_table_column columns[] = {
    {"FILE", "^file", .csv = "file"},
    {"LINE", "line", .right = true},
    {"COLUMN", "column", .right = true},
    {"SEVERITY", "severity"},
    {"RULE", "rule"},
    {"VERDICT", "verdict"},
    {"WHY", "why"},
    {"FIX", "fix"},
    {"FIXABLE", "fixable"},
};
static const struct dv_table view = {"files.findings", columns, DV_ARRAY_SIZE(columns)};

static int answer(struct lint *l)
{
    const char *format = l->v->format ? l->v->format : l->ui->format;
    int exit = l->unreadable ? DV_UI_FAILURE : l->problems ? DV_UI_PROBLEMS : DV_UI_OK;
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_ui as = *l->ui;
    as.format = format;
    int r = 0;
    if (dv_ui_is(&as, "json") || dv_ui_is(&as, "csv")) {
        dv_cleanup(dv_output_free) struct dv_output *o = dv_lint_output_json(l->files, l->n);
        return dv_ui_answer(&as, o, &view, NULL, exit);
    }
    if (dv_ui_is(&as, "sarif"))
        r = dv_lint_output_sarif(l->files, l->n, DV_VERSION, &text);
    else
        dv_lint_output_lines(l->files, l->n, &text);
    if (r < 0 || text.failed || l->diff.failed || l->filtered.failed)
        return dv_ui_fail(l->ui, DV_UI_FAILURE, "out of memory");
    bool diff = !strcmp(l->v->print, "diff"), other = diff || l->filtered.len;
    if (other && !diff && dv_ui_is(&as, "table"))
        fputs(dv_str_get(&text), stderr);
    if (other)
        r = dv_ui_print(dv_str_get(l->filtered.len ? &l->filtered : &l->diff));
    else
        r = dv_ui_print(dv_str_get(&text));
    return r ? r : exit;
}

static int lint_all(struct lint *l)
{
    struct dv_err err = {{0}};
    for (int i = 0; i < l->ui->argc; i++)
        if (dv_collect_add(&l->collect, l->ui->argv[i], &err) < 0)
            cannot(l, &err);
    l->reports = calloc(l->collect.n + 1, sizeof *l->reports);
    l->files = calloc(l->collect.n + 1, sizeof *l->files);
    if (!l->reports || !l->files)
        return dv_ui_fail(l->ui, DV_UI_FAILURE, "out of memory");
    for (uint32_t i = 0; i < l->collect.n; i++)
        lint_file(l, &l->collect.files[i]);
    return l->n || !l->unreadable ? answer(l) : DV_UI_FAILURE;
}

static int run(const struct dv_ui *ui)
{
    struct lint l = {.ui = ui, .v = ui->values};
    if (l.v->rules)
        return list_rules(ui);
    if (l.v->explain)
        return explain(ui, l.v->explain);
    if (!ui->argc)
        return dv_ui_fail(ui, DV_UI_USAGE, "FILE is missing; '%s %s --help' explains",
                          ui->program->name, ui->verb->name);
    int exit = read_options(&l);
    if (exit == DV_UI_OK)
        exit = lint_all(&l);
    for (size_t i = 0; i < l.n; i++)
        dv_lint_report_done(&l.reports[i]);
    free(l.reports);
    free(l.files);
    dv_collect_done(&l.collect);
    dv_str_done(&l.diff);
    dv_str_done(&l.filtered);
    return exit;
}

static const struct dv_ui_example examples[] = {
    {"a folder of manifests, for nodes with A100s", "divvy lint --gpu A100-80GB deploy/"},
    {"what would be mended", "divvy lint --fix --print diff deploy/"},
    {"a rendered chart", "helm template my-chart | divvy lint -"},
    {"for code scanning", "divvy lint --format sarif deploy/ > lint.sarif"},
    {"why a rule is there", "divvy lint --explain DV102"},
};

const struct dv_ui_verb dv_verb_lint = {
    .name = "lint",
    .args = "FILE...",
    .summary = "find what is wrong in manifests, configurations, scripts and alerts",
    .details =
        "Reads Kubernetes manifests, configurations of the device plugin, of mig-parted and of the "
        "GPU Operator, values of their charts, shell scripts, Prometheus rules, queries and "
        "dashboards, divvy's layouts and prices; a folder stands for the files below it, - for the "
        "standard input. Each finding says where, why, and what to do; each file has the verdict "
        "of its worst object: accepted, warned, rewritten (by divvy's webhook), refused, or "
        "out-of-scope. Exit status 3: there are errors or warnings; notes do not count.\n\n"
        "A comment `# divvy-lint: ignore DV123` silences findings of its line, or of the next one "
        "where it stands alone; `ignore-file` those of the file. --fix changes only what cannot "
        "have worked as it was, or has no effect, and keeps everything else letter by letter; with "
        "- the text goes to the standard output. docs/reference/lint.md lists the rules.",
    .options = options,
    .n_options = DV_ARRAY_SIZE(options),
    .values_size = sizeof(struct values),
    .examples = examples,
    .n_examples = DV_ARRAY_SIZE(examples),
    .min_words = 0,
    .max_words = -1,
    .prints = true,
    .run = run,
};
