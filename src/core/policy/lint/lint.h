/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Findings about what people write for GPUs (manifests, configurations, scripts, queries): rules,
 * a report of what was found, which of it counts, and how a file is mended.
 *
 *     dv_lint_begin(report, "Pod", "team-a/web", 3);
 *     f = dv_lint_add(report, DV_LINT_NO_LIMIT, 12, 11, "nvidia.com/gpu", "1", NULL, NULL);
 *     dv_lint_edit(report, f, 11, 9, "requests", "limits");
 *     dv_lint_finish(report, text, len, &filter);
 *     report->verdict == DV_LINT_REFUSED
 *
 * Rules and all their words are in lint_rules.def. Nothing here reads a file or a format. After a
 * failed allocation a report stays valid and remembers it (`failed`).
 */
#ifndef DV_POLICY_LINT_LINT_H
#define DV_POLICY_LINT_LINT_H

#include "base/err.h"
#include "base/str.h"

#define DV_LINT_FINDINGS_MAX 2000u /* of one file; what is more is counted */
#define DV_LINT_OBJECTS_MAX 2000u
#define DV_LINT_EDITS_MAX 8u   /* of one finding */
#define DV_LINT_FILTER_MAX 64u /* rules that are named by --rule or --ignore */
#define DV_LINT_KIND 64
#define DV_LINT_NAME 256

enum dv_lint_severity {
    DV_LINT_NOTE, /* changes no verdict */
    DV_LINT_WARNING,
    DV_LINT_ERROR,
};

/* Of an object and of a file, from best to worst. */
enum dv_lint_verdict {
    DV_LINT_OUT_OF_SCOPE, /* nothing in it is about GPUs */
    DV_LINT_ACCEPTED,
    DV_LINT_WARNED,    /* works, but is risky or not what its author thinks */
    DV_LINT_REWRITTEN, /* invalid as written, made valid at admission */
    DV_LINT_REFUSED,   /* cannot work */
};
#define DV_LINT_VERDICTS 5u

enum dv_lint_rule {
#define RULE(number, ident, ...) DV_LINT_##ident,
#include "policy/lint/lint_rules.def"
#undef RULE
    DV_LINT_RULES,
};

struct dv_lint_rule_info {
    char id[8];       /* "DV102" */
    const char *name; /* "gpu-without-limit" */
    enum dv_lint_severity severity;
    enum dv_lint_verdict verdict;
    const char *title, *why, *fix, *explanation;
};

const struct dv_lint_rule_info *dv_lint_rule(enum dv_lint_rule rule);
/* By id or name; case does not matter. DV_LINT_RULES with a message that suggests one. */
enum dv_lint_rule dv_lint_rule_find(const char *text, struct dv_err *err);
/* "note", "warning", "error"; "out-of-scope", "accepted", ... */
const char *dv_lint_severity_name(enum dv_lint_severity severity);
const char *dv_lint_verdict_name(enum dv_lint_verdict verdict);

/* At line and column (in code points, from 1) `before` becomes `after`; "" inserts. An edit whose
 * `before` is not there is not made. */
struct dv_lint_edit {
    uint32_t line, column;
    char *before, *after;
};

struct dv_lint_finding {
    enum dv_lint_rule rule;
    uint32_t object; /* index in the report */
    uint32_t line, column;
    char *why, *fix;            /* one line each, printable */
    struct dv_lint_edit *edits; /* all of them or none are made */
    uint32_t n_edits;
};

struct dv_lint_object {
    char kind[DV_LINT_KIND];
    char name[DV_LINT_NAME]; /* "team-a/web", or "" */
    uint32_t line;
    bool in_scope; /* there is something of GPUs in it */
    enum dv_lint_verdict verdict;
};

struct dv_lint_report {
    struct dv_lint_object *objects;
    uint32_t n_objects;
    struct dv_lint_finding *findings; /* by line and column, once finished */
    uint32_t n_findings;
    uint32_t n_dropped;    /* past DV_LINT_FINDINGS_MAX */
    uint32_t n_suppressed; /* by comments */
    enum dv_lint_verdict verdict;
    bool failed; /* out of memory */
};

void dv_lint_report_done(struct dv_lint_report *report);

/* What is found from here on is about this object. name may be NULL. */
void dv_lint_begin(struct dv_lint_report *report, const char *kind, const char *name,
                   uint32_t line);
/* There is something of GPUs in the object. Findings that are no notes say so by themselves. */
void dv_lint_in_scope(struct dv_lint_report *report);
/* a to d: for {0} to {3} of the rule's words; NULL is "". The finding is lent until the next one is
 * added; NULL where there is no room. The same finding at the same place counts once. */
struct dv_lint_finding *dv_lint_add(struct dv_lint_report *report, enum dv_lint_rule rule,
                                    uint32_t line, uint32_t column, const char *a, const char *b,
                                    const char *c, const char *d);
/* finding may be NULL. */
void dv_lint_edit(struct dv_lint_report *report, struct dv_lint_finding *finding, uint32_t line,
                  uint32_t column, const char *before, const char *after);

struct dv_lint_filter {
    uint32_t n_only, n_ignored;
    enum dv_lint_rule only[DV_LINT_FILTER_MAX], ignored[DV_LINT_FILTER_MAX];
    bool no_comments; /* comments in the file silence nothing */
};
/* Adds rules from a list with commas ("DV102,gpu-quantity"). "DV1" stands for all of its hundred.
 */
int dv_lint_filter_add(enum dv_lint_rule *list, uint32_t *n, const char *text, struct dv_err *err);

/* Sorts, takes out what the filter and the file's comments silence, and judges objects and file. */
void dv_lint_finish(struct dv_lint_report *report, const char *text, size_t len,
                    const struct dv_lint_filter *filter);
/* Does anything count: errors or warnings? */
bool dv_lint_has_problems(const struct dv_lint_report *report);

/* How many findings can be mended. */
uint32_t dv_lint_fixable(const struct dv_lint_report *report);
/* Appends the text with the edits made; those that overlap are left for a second run. Returns how
 * many findings were mended. */
uint32_t dv_lint_apply(const struct dv_lint_report *report, const char *text, size_t len,
                       struct dv_str *ret);

/* Where a text lies in the file: its first character is at line and column; of the lines after it,
 * the first character is at `indent` + 1. pinned: all of it counts as at line and column, and no
 * edits are made. */
struct dv_lint_at {
    uint32_t line, column, indent;
    bool pinned;
};
/* The place of the byte at `offset` of such a text. */
struct dv_lint_at dv_lint_place(const struct dv_lint_at *at, const char *text, size_t offset);

#endif
