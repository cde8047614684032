/* SPDX-License-Identifier: Apache-2.0 */
#include "render/lint_output.h"

#include "render/json.h"
#include "render/value.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

static const char *severity_of(const struct dv_lint_finding *f)
{
    return dv_lint_severity_name(dv_lint_rule(f->rule)->severity);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void add_finding(struct dv_output_node *list, const struct dv_lint_report *r,
                        const struct dv_lint_finding *f)
{
    const struct dv_lint_rule_info *rule = dv_lint_rule(f->rule);
    const struct dv_lint_object *o = &r->objects[f->object];
    struct dv_output_node *row = dv_output_object(list, NULL);
    dv_output_uint(row, "line", f->line);
    dv_output_uint(row, "column", f->column);
    dv_output_string(row, "rule", rule->id);
    dv_output_string(row, "name", rule->name);
    dv_output_string(row, "severity", severity_of(f));
    dv_output_string(row, "verdict", dv_lint_verdict_name(rule->verdict));
    dv_output_string(row, "object_kind", o->kind);
    dv_output_string(row, "object_name", o->name);
    dv_output_string(row, "why", f->why);
    dv_output_string(row, "fix", f->fix);
    dv_output_bool(row, "fixable", f->n_edits > 0);
}

static void add_file(struct dv_output_node *list, const struct dv_lint_file *file)
{
    const struct dv_lint_report *r = file->report;
    struct dv_output_node *row = dv_output_object(list, NULL);
    dv_output_string(row, "file", file->name);
    dv_output_string(row, "verdict", dv_lint_verdict_name(r->verdict));
    dv_output_uint(row, "mended", file->mended);
    dv_output_uint(row, "suppressed", r->n_suppressed);
    dv_output_uint(row, "dropped", r->n_dropped);
    struct dv_output_node *objects = dv_output_array(row, "objects");
    for (uint32_t i = 0; i < r->n_objects; i++) {
        struct dv_output_node *o = dv_output_object(objects, NULL);
        dv_output_string(o, "kind", r->objects[i].kind);
        dv_output_string(o, "name", r->objects[i].name);
        dv_output_uint(o, "line", r->objects[i].line);
        dv_output_string(o, "verdict", dv_lint_verdict_name(r->objects[i].verdict));
    }
    struct dv_output_node *findings = dv_output_array(row, "findings");
    for (uint32_t i = 0; i < r->n_findings; i++)
        add_finding(findings, r, &r->findings[i]);
}

struct counts {
    uint64_t severity[3], verdict[DV_LINT_VERDICTS], fixable, suppressed, dropped;
};

static struct counts count(const struct dv_lint_file *files, size_t n)
{
    struct counts c = {0};
    for (size_t i = 0; i < n; i++) {
        const struct dv_lint_report *r = files[i].report;
        c.verdict[r->verdict]++;
        c.fixable += dv_lint_fixable(r);
        c.suppressed += r->n_suppressed;
        c.dropped += r->n_dropped;
        for (uint32_t k = 0; k < r->n_findings; k++)
            c.severity[dv_lint_rule(r->findings[k].rule)->severity]++;
    }
    return c;
}

struct dv_output *dv_lint_output_json(const struct dv_lint_file *files, size_t n)
{
    struct dv_output *o = dv_output_new("LintReport");
    struct counts c = count(files, n);
    struct dv_output_node *root = dv_output_root(o), *list = dv_output_array(root, "files");
    for (size_t i = 0; i < n; i++)
        add_file(list, &files[i]);
    struct dv_output_node *summary = dv_output_object(root, "summary");
    dv_output_uint(summary, "files", n);
    dv_output_uint(summary, "errors", c.severity[DV_LINT_ERROR]);
    dv_output_uint(summary, "warnings", c.severity[DV_LINT_WARNING]);
    dv_output_uint(summary, "notes", c.severity[DV_LINT_NOTE]);
    dv_output_uint(summary, "fixable", c.fixable);
    dv_output_uint(summary, "suppressed", c.suppressed);
    struct dv_output_node *verdicts = dv_output_object(summary, "verdicts");
    for (unsigned i = 0; i < DV_LINT_VERDICTS; i++)
        dv_output_uint(verdicts, dv_lint_verdict_name((enum dv_lint_verdict)i), c.verdict[i]);
    return o;
}

struct dv_output *dv_lint_output_rules(void)
{
    struct dv_output *o = dv_output_new("LintRules");
    struct dv_output_node *list = dv_output_array(dv_output_root(o), "rules");
    for (unsigned i = 0; i < DV_LINT_RULES; i++) {
        const struct dv_lint_rule_info *r = dv_lint_rule((enum dv_lint_rule)i);
        struct dv_output_node *row = dv_output_object(list, NULL);
        dv_output_string(row, "rule", r->id);
        dv_output_string(row, "name", r->name);
        dv_output_string(row, "severity", dv_lint_severity_name(r->severity));
        dv_output_string(row, "verdict", dv_lint_verdict_name(r->verdict));
        dv_output_string(row, "title", r->title);
        dv_output_string(row, "explanation", r->explanation);
    }
    return o;
}

void dv_lint_output_explain(enum dv_lint_rule rule, struct dv_str *text)
{
    const struct dv_lint_rule_info *r = dv_lint_rule(rule);
    dv_str_addf(text, "%s %s: %s\n", r->id, r->name, r->title);
    dv_str_addf(text, "severity: %s, verdict: %s\n\n%s\n\n", dv_lint_severity_name(r->severity),
                dv_lint_verdict_name(r->verdict), r->explanation);
    dv_str_addf(text,
                "It is silenced by a comment in the line, or above it:\n    # divvy-lint: "
                "ignore %s\n",
                r->id);
}

/* ---- SARIF ---------------------------------------------------------------------------------- */

static const char *level_of(enum dv_lint_severity severity)
{
    static const char *const levels[] = {"note", "warning", "error"};
    return levels[severity];
}

static void add_text(struct dv_output_node *to, const char *key, const char *text)
{
    dv_output_string(dv_output_object(to, key), "text", text);
}

/* What a URI may not have becomes %XX. */
static void add_uri(struct dv_output_node *to, const char *name)
{
    dv_cleanup(dv_str_done) struct dv_str uri = {0};
    while (!strncmp(name, "./", 2))
        name += 2;
    if (*name == '/')
        dv_str_add(&uri, "file://");
    for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
        if (isalnum(*p) || strchr("-._~/", *p))
            dv_str_addc(&uri, (char)*p);
        else
            dv_str_addf(&uri, "%%%02X", *p);
    }
    dv_output_string(to, "uri", dv_str_get(&uri));
}

static void add_rules(struct dv_output_node *driver)
{
    struct dv_output_node *list = dv_output_array(driver, "rules");
    for (unsigned i = 0; i < DV_LINT_RULES; i++) {
        const struct dv_lint_rule_info *r = dv_lint_rule((enum dv_lint_rule)i);
        struct dv_output_node *row = dv_output_object(list, NULL);
        dv_output_string(row, "id", r->id);
        dv_output_string(row, "name", r->name);
        add_text(row, "shortDescription", r->title);
        add_text(row, "fullDescription", r->explanation);
        add_text(row, "help", r->explanation);
        dv_output_string(dv_output_object(row, "defaultConfiguration"), "level",
                         level_of(r->severity));
    }
}

/* An edit's end is its beginning and the letters that go; a line that goes whole ends at the next
 * line's first column. */
static void add_region(struct dv_output_node *to, const char *key, uint32_t line, uint32_t column,
                       const char *text)
{
    struct dv_output_node *region = dv_output_object(to, key);
    uint32_t end_line = line, end_column = column;
    for (const char *p = text; *p; p++) {
        if (*p == '\n') {
            end_line++;
            end_column = 1;
        } else if (((unsigned char)*p & 0xc0) != 0x80) {
            end_column++;
        }
    }
    dv_output_uint(region, "startLine", line);
    dv_output_uint(region, "startColumn", column);
    if (key[0] != 'r') {
        dv_output_uint(region, "endLine", end_line);
        dv_output_uint(region, "endColumn", end_column);
    }
}

static void add_fix(struct dv_output_node *result, const struct dv_lint_finding *f,
                    const char *file)
{
    if (!f->n_edits)
        return;
    struct dv_output_node *fix = dv_output_object(dv_output_array(result, "fixes"), NULL);
    add_text(fix, "description", f->fix);
    struct dv_output_node *change = dv_output_object(dv_output_array(fix, "artifactChanges"), NULL);
    add_uri(dv_output_object(change, "artifactLocation"), file);
    struct dv_output_node *list = dv_output_array(change, "replacements");
    for (uint32_t i = 0; i < f->n_edits; i++) {
        struct dv_output_node *one = dv_output_object(list, NULL);
        add_region(one, "deletedRegion", f->edits[i].line, f->edits[i].column, f->edits[i].before);
        add_text(one, "insertedContent", f->edits[i].after);
    }
}

static void add_result(struct dv_output_node *list, const struct dv_lint_finding *f,
                       const char *file)
{
    const struct dv_lint_rule_info *rule = dv_lint_rule(f->rule);
    struct dv_output_node *row = dv_output_object(list, NULL);
    dv_cleanup(dv_str_done) struct dv_str message = {0};
    dv_str_addf(&message, "%s. Fix: %s.", f->why, f->fix);
    dv_output_string(row, "ruleId", rule->id);
    dv_output_uint(row, "ruleIndex", f->rule);
    dv_output_string(row, "level", level_of(rule->severity));
    add_text(row, "message", dv_str_get(&message));
    struct dv_output_node *place = dv_output_object(
        dv_output_object(dv_output_array(row, "locations"), NULL), "physicalLocation");
    add_uri(dv_output_object(place, "artifactLocation"), file);
    add_region(place, "region", f->line, f->column, "");
    add_fix(row, f, file);
}

int dv_lint_output_sarif(const struct dv_lint_file *files, size_t n, const char *version,
                         struct dv_str *text)
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new(NULL);
    struct dv_output_node *root = dv_output_root(o);
    dv_output_string(root, "$schema", "https://json.schemastore.org/sarif-2.1.0.json");
    dv_output_string(root, "version", "2.1.0");
    struct dv_output_node *run = dv_output_object(dv_output_array(root, "runs"), NULL);
    struct dv_output_node *driver = dv_output_object(dv_output_object(run, "tool"), "driver");
    dv_output_string(driver, "name", "divvy lint");
    dv_output_string(driver, "version", version);
    add_rules(driver);
    dv_output_string(run, "columnKind", "unicodeCodePoints");
    struct dv_output_node *results = dv_output_array(run, "results");
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < files[i].report->n_findings; k++)
            add_result(results, &files[i].report->findings[k], files[i].name);
    return o ? dv_json_write(o, false, text) : -ENOMEM;
}

/* ---- lines ---------------------------------------------------------------------------------- */

static void add_lines(const struct dv_lint_file *file, struct dv_str *text)
{
    const struct dv_lint_report *r = file->report;
    if (file->mended) {
        dv_value_clean(file->name, text);
        dv_str_addf(text, ": %u finding%s mended\n", file->mended, file->mended > 1 ? "s" : "");
    }
    for (uint32_t i = 0; i < r->n_findings; i++) {
        const struct dv_lint_finding *f = &r->findings[i];
        dv_value_clean(file->name, text);
        dv_str_addf(text, ":%u:%u: %s %s: ", f->line, f->column, severity_of(f),
                    dv_lint_rule(f->rule)->id);
        dv_value_clean(f->why, text);
        dv_str_add(text, "\n    fix: ");
        dv_value_clean(f->fix, text);
        dv_str_add(text, f->n_edits ? " [--fix]\n" : "\n");
    }
    if (r->n_dropped)
        dv_str_addf(text, "    and %u findings more\n", r->n_dropped);
    dv_value_clean(file->name, text);
    dv_str_addf(text, ": %s\n", dv_lint_verdict_name(r->verdict));
}

static void add_number(struct dv_str *text, uint64_t n, const char *what)
{
    dv_str_addf(text, "%llu %s%s", (unsigned long long)n, what, n == 1 ? "" : "s");
}

void dv_lint_output_lines(const struct dv_lint_file *files, size_t n, struct dv_str *text)
{
    struct counts c = count(files, n);
    for (size_t i = 0; i < n; i++)
        add_lines(&files[i], text);
    if (n == 1 && !c.severity[0] && !c.severity[1] && !c.severity[2])
        return;
    add_number(text, n, "file");
    dv_str_add(text, ": ");
    add_number(text, c.severity[DV_LINT_ERROR], "error");
    dv_str_add(text, ", ");
    add_number(text, c.severity[DV_LINT_WARNING], "warning");
    dv_str_add(text, ", ");
    add_number(text, c.severity[DV_LINT_NOTE], "note");
    if (c.fixable)
        dv_str_addf(text, "; %llu can be mended by --fix", (unsigned long long)c.fixable);
    if (c.suppressed)
        dv_str_addf(text, "; %llu silenced by comments", (unsigned long long)c.suppressed);
    dv_str_addc(text, '\n');
}
