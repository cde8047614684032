/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lint/lint_query.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64
#define NAME_MAX 96

/* ---- metrics -------------------------------------------------------------------------------- */

enum { GAUGE, COUNTER, LABEL };
#define NO_MIG 1u
#define RATIO 2u
#define BUSY 4u
#define MIB 8u
#define MIB_MAX 1e7 /* no GPU has ten TiB */

struct metric {
    const char *name;
    int kind;
    unsigned flags;
};

static const struct metric metrics[] = {
#define METRIC(name, kind, flags) {name, kind, flags},
#define OLD(name, now)
#include "policy/lint/lint_metrics.def"
#undef METRIC
#undef OLD
};

static const char *const old_names[][2] = {
#define METRIC(name, kind, flags)
#define OLD(name, now) {name, now},
#include "policy/lint/lint_metrics.def"
#undef METRIC
#undef OLD
};

static const struct metric *find_metric(const char *name)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(metrics); i++)
        if (!strcmp(metrics[i].name, name))
            return &metrics[i];
    return NULL;
}

/* What it is called today; NULL: it is no name of the first exporter. */
static const char *renamed(const char *name)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(old_names); i++)
        if (!strcmp(old_names[i][0], name))
            return old_names[i][1];
    return NULL;
}

static bool begins(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

/* ---- tokens --------------------------------------------------------------------------------- */

enum token { END, NAME, NUMBER, STRING, SIGN, BAD };

struct scan {
    const char *text;
    size_t len, at;      /* behind the token */
    size_t from;         /* of the token */
    char name[NAME_MAX]; /* NAME: cut; SIGN: itself, comparisons whole */
    double number;
};

static bool is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == ':';
}

static void skip_blank(struct scan *s)
{
    while (s->at < s->len) {
        char c = s->text[s->at];
        if (c == '#') {
            const char *stop = memchr(s->text + s->at, '\n', s->len - s->at);
            s->at = stop ? (size_t)(stop - s->text) : s->len;
        } else if (isspace((unsigned char)c)) {
            s->at++;
        } else {
            break;
        }
    }
}

static enum token scan_string(struct scan *s, char quote)
{
    for (s->at++; s->at < s->len; s->at++) {
        char c = s->text[s->at];
        if (c == '\\' && quote != '`' && s->at + 1 < s->len)
            s->at++;
        else if (c == quote) {
            s->at++;
            return STRING;
        } else if (c == '\n' && quote != '`')
            break;
    }
    return BAD;
}

static void keep(struct scan *s)
{
    snprintf(s->name, sizeof s->name, "%.*s", (int)DV_MIN(s->at - s->from, sizeof s->name - 1),
             s->text + s->from);
}

/* "5", "0.5", "1e3", and durations: "1h30m" is a number too, here. */
static enum token scan_number(struct scan *s)
{
    char copy[64];
    while (s->at < s->len && (isalnum((unsigned char)s->text[s->at]) || s->text[s->at] == '.'))
        s->at++;
    snprintf(copy, sizeof copy, "%.*s", (int)DV_MIN(s->at - s->from, sizeof copy - 1),
             s->text + s->from);
    s->number = strtod(copy, NULL);
    return NUMBER;
}

static enum token next(struct scan *s)
{
    skip_blank(s);
    s->from = s->at;
    s->name[0] = 0;
    if (s->at >= s->len)
        return END;
    char c = s->text[s->at], after = s->at + 1 < s->len ? s->text[s->at + 1] : 0;
    if (c == '"' || c == '\'' || c == '`')
        return scan_string(s, c);
    if (isdigit((unsigned char)c) || (c == '.' && isdigit((unsigned char)after)))
        return scan_number(s);
    if (c == '$') { /* a variable of Grafana's: $x, ${x:y}, [[x]] is not seen */
        s->at++;
        if (after == '{') {
            const char *stop = memchr(s->text + s->at, '}', s->len - s->at);
            s->at = stop ? (size_t)(stop - s->text) + 1 : s->len;
            return NUMBER;
        }
        while (s->at < s->len && is_name(s->text[s->at]))
            s->at++;
        s->number = 0;
        return NUMBER;
    }
    if (is_name(c)) {
        while (s->at < s->len && is_name(s->text[s->at]))
            s->at++;
        keep(s);
        return NAME;
    }
    s->at += 1 + (strchr("<>=!", c) && (after == '=' || after == '~'));
    keep(s);
    return SIGN;
}

/* ---- a query -------------------------------------------------------------------------------- */

struct frame {
    char open;                   /* '(', '{', '[' */
    char before[NAME_MAX];       /* the name in front: a function, a metric, "by" */
    const struct metric *metric; /* of '{' */
    size_t from;
};

struct query {
    struct dv_lint_report *report;
    const struct dv_lint_at *at;
    struct scan s;
    struct dv_lint_at
        seen; /* the place of seen_at: places are asked for mostly from left to right */
    size_t seen_at;
    struct frame stack[DEPTH_MAX];
    int depth;
    char last[NAME_MAX]; /* the name before the sign in hand */
    const struct metric *last_metric;
    /* What is in it. */
    const struct metric *blind, *busy, *ratio, *other; /* `other`: none of these */
    size_t blind_at, busy_at;
    bool blind_absent, blind_excludes; /* in absent(), behind unless */
    bool has_or, has_unless;
    const struct metric *mib;
    bool not_mib, scaled; /* another metric is there; a number that may make bytes of MiB */
    char label[NAME_MAX]; /* the last one in {...} */
    bool has_mig, has_pods, times_100, others;
    char compares[4];
    double bound;
    size_t compares_at;
    bool of_gpus;
};

static struct dv_lint_at place(struct query *q, size_t offset)
{
    if (offset < q->seen_at || !q->seen_at) {
        q->seen = *q->at;
        q->seen_at = 0;
    }
    q->seen = dv_lint_place(&q->seen, q->s.text + q->seen_at, offset - q->seen_at);
    q->seen_at = offset;
    return q->seen;
}

static struct dv_lint_finding *add(struct query *q, enum dv_lint_rule rule, size_t offset,
                                   const char *a, const char *b, const char *c, const char *d)
{
    struct dv_lint_at at = place(q, offset);
    return dv_lint_add(q->report, rule, at.line, at.column, a, b, c, d);
}

static void edit(struct query *q, struct dv_lint_finding *f, const char *before, const char *after)
{
    struct dv_lint_at at = place(q, q->s.from);
    if (!at.pinned)
        dv_lint_edit(q->report, f, at.line, at.column, before, after);
}

static const char *did_you_mean(const char *near, char *buf, size_t size)
{
    buf[0] = 0;
    if (near)
        snprintf(buf, size, "; did you mean %s?", near);
    return buf;
}

static const char *near_metric(const char *name)
{
    const char *names[DV_ARRAY_SIZE(metrics)];
    for (size_t i = 0; i < DV_ARRAY_SIZE(metrics); i++)
        names[i] = metrics[i].name;
    return dv_str_nearest(name, names, DV_ARRAY_SIZE(names));
}

/* Judges the name in hand; returns the metric that it is or was. */
static const struct metric *judge_name(struct query *q)
{
    const char *name = q->s.name, *now = renamed(name);
    const struct metric *m = find_metric(now ? now : name);
    char text[160];
    if (now) {
        snprintf(text, sizeof text, "use %s", now);
        edit(q, add(q, DV_LINT_OLD_METRIC, q->s.from, name, text, NULL, NULL), name, now);
    } else if (!m && begins(name, "dcgm_") && !strchr(name, ':') &&
               !begins(name, "dcgm_exporter")) {
        add(q, DV_LINT_OLD_METRIC, q->s.from, name, "look it up in the exporter's list of counters",
            NULL, NULL);
    } else if (!m && begins(name, "DCGM_")) {
        /* DCGM has more fields than are listed here; only what looks like a slip is one. */
        const char *near = near_metric(name);
        if (near)
            add(q, DV_LINT_UNKNOWN_METRIC, q->s.from, name, did_you_mean(near, text, sizeof text),
                NULL, NULL);
    }
    q->of_gpus = q->of_gpus || m || begins(name, "DCGM_") || begins(name, "dcgm_") ||
                 begins(name, "divvy_") || begins(name, "nvidia_");
    return m;
}

static bool is_rate(const char *function)
{
    return !strcmp(function, "rate") || !strcmp(function, "irate") || !strcmp(function, "increase");
}

static bool is_in_absent(const struct query *q)
{
    for (int i = 0; i < q->depth; i++)
        if (q->stack[i].open == '(' && (!strcmp(q->stack[i].before, "absent") ||
                                        !strcmp(q->stack[i].before, "absent_over_time")))
            return true;
    return false;
}

static void note_metric(struct query *q, const struct metric *m)
{
    const char *function = q->depth ? q->stack[q->depth - 1].before : "";
    bool xid = m && !strcmp(m->name, "DCGM_FI_DEV_XID_ERRORS");
    if (m && m->flags & MIB)
        q->mib = m;
    else
        q->not_mib = true;
    if (!m) {
        q->others = true;
        q->has_mig = q->has_mig || begins(q->s.name, "divvy_");
        q->has_pods = q->has_pods || begins(q->s.name, "divvy_") || begins(q->s.name, "kube_");
        return;
    }
    if (q->depth && q->stack[q->depth - 1].open == '(' && is_rate(function) && m->kind == GAUGE)
        add(q, DV_LINT_RATE_OF_GAUGE, q->s.from, function, m->name,
            xid ? "; changes() for XIDs" : "", NULL);
    if (m->flags & NO_MIG && !q->blind) {
        q->blind = m;
        q->blind_at = q->s.from;
        q->blind_absent = is_in_absent(q);
        q->blind_excludes = q->has_unless;
    }
    if (m->flags & BUSY && !q->busy) {
        q->busy = m;
        q->busy_at = q->s.from;
    }
    if (m->flags & RATIO)
        q->ratio = m;
    else
        q->others = true;
    q->has_mig = q->has_mig || begins(m->name, "DCGM_FI_PROF_");
}

/* A label in {...} of a metric of GPUs. */
static void judge_label(struct query *q, const struct metric *m)
{
    static const char *const olds[][2] = {
        {"uuid", "UUID"},
        {"pod_name", "pod"},
        {"pod_namespace", "namespace"},
        {"container_name", "container"},
        {"Uuid", "UUID"},
        {"GPU", "gpu"},
        {"gpu_i_id", "GPU_I_ID"},
        {"gpu_i_profile", "GPU_I_PROFILE"},
    };
    static const char *const pods[] = {
        "pod",       "exported_pod",       "namespace", "exported_namespace",
        "container", "exported_container", "pod_name"};
    const char *name = q->s.name;
    for (size_t i = 0; i < DV_ARRAY_SIZE(pods); i++)
        q->has_pods = q->has_pods || !strcmp(name, pods[i]);
    for (size_t i = 0; m && i < DV_ARRAY_SIZE(olds); i++)
        if (!strcmp(olds[i][0], name))
            edit(q, add(q, DV_LINT_OLD_LABEL, q->s.from, name, m->name, olds[i][1], NULL), name,
                 olds[i][1]);
    if (m && !strcmp(name, "Hostname"))
        add(q, DV_LINT_HOSTNAME_LABEL, q->s.from, name, "hostname", "since 4.6.0-4.8.3", NULL);
}

/* Words of the language that stand where a metric could. */
static bool is_keyword(const char *name)
{
    static const char *const words[] = {"by",          "without", "on",  "ignoring", "group_left",
                                        "group_right", "and",     "or",  "unless",   "bool",
                                        "offset",      "inf",     "nan", "Inf",      "NaN",
                                        "atan2",       "start",   "end"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(words); i++)
        if (!strcmp(words[i], name))
            return true;
    return false;
}

static bool takes_labels(const char *word)
{
    return !strcmp(word, "by") || !strcmp(word, "without") || !strcmp(word, "on") ||
           !strcmp(word, "ignoring") || begins(word, "group_");
}

static char peek(const struct query *q)
{
    struct scan s = q->s;
    skip_blank(&s);
    return s.at < s.len ? s.text[s.at] : 0;
}

static void on_name(struct query *q)
{
    const struct frame *f = q->depth ? &q->stack[q->depth - 1] : NULL;
    const char *name = q->s.name;
    snprintf(q->last, sizeof q->last, "%s", name);
    q->last_metric = NULL;
    if (f && f->open == '[')
        return;
    if (f && f->open == '{') {
        snprintf(q->label, sizeof q->label, "%s", name);
        judge_label(q, f->metric);
        return;
    }
    if (f && takes_labels(f->before)) {
        judge_label(q, NULL);
        return;
    }
    if (is_keyword(name)) {
        q->has_pods = q->has_pods || !strcmp(name, "and") || !strcmp(name, "unless") ||
                      begins(name, "group_");
        q->has_or = q->has_or || !strcmp(name, "or");
        q->has_unless = q->has_unless || !strcmp(name, "unless");
        return;
    }
    if (peek(q) == '(')
        return; /* a function */
    q->last_metric = judge_name(q);
    note_metric(q, q->last_metric);
}

/* kube_...{resource="nvidia.com/gpu"}: the metrics have it with underscores. */
static void on_string(struct query *q)
{
    const struct frame *f = q->depth ? &q->stack[q->depth - 1] : NULL;
    char said[NAME_MAX], written[NAME_MAX];
    if (!f || f->open != '{' || !begins(f->before, "kube_") || strcmp(q->label, "resource") != 0 ||
        q->s.at - q->s.from < 2)
        return;
    snprintf(said, sizeof said, "%.*s", (int)DV_MIN(q->s.at - q->s.from - 2, sizeof said - 1),
             q->s.text + q->s.from + 1);
    q->of_gpus = q->of_gpus || strcasestr(said, "nvidia") || strcasestr(said, "divvy");
    if (!begins(said, "nvidia.com/") && !begins(said, "divvy.dev/"))
        return;
    snprintf(written, sizeof written, "%s", said);
    for (char *p = written; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '|') /* of a pattern: names apart */
            *p = '_';
    add(q, DV_LINT_RESOURCE_LABEL, q->s.from, f->before, said, written, NULL);
}

/* False: what it closes was not open. */
static bool on_sign(struct query *q)
{
    static const char opens[] = "([{", closes[] = ")]}";
    char c = q->s.name[0];
    const char *open = strchr(opens, c), *close = strchr(closes, c);
    bool compares = c == '<' || c == '>' || !strcmp(q->s.name, "==") || !strcmp(q->s.name, "!=");
    if (compares && !(q->depth && q->stack[q->depth - 1].open == '{')) {
        snprintf(q->compares, sizeof q->compares, "%.3s", q->s.name);
        q->compares_at = q->s.from;
    }
    if (compares)
        return true;
    if (open) {
        if (q->depth == DEPTH_MAX)
            return false;
        struct frame *f = &q->stack[q->depth++];
        *f = (struct frame){
            .open = c, .metric = c == '{' ? q->last_metric : NULL, .from = q->s.from};
        /* rate(x[5m]): the function is that of the frame around. */
        snprintf(f->before, sizeof f->before, "%s", q->last);
        q->last[0] = 0;
        return true;
    }
    q->last[0] = 0;
    if (close) {
        if (!q->depth || opens[close - closes] != q->stack[q->depth - 1].open)
            return false;
        q->depth--;
    }
    return true;
}

/* What an alert does on GPUs in MIG mode when the series is not there. */
static const char *without_series(const struct query *q)
{
    if (q->blind_absent)
        return "always fires where all GPUs are in that mode";
    if (q->blind_excludes)
        return "is not held back there by what stands behind `unless`";
    return q->has_or ? "fires there by its other parts only" : "never fires there";
}

/* After the last token: what the query as a whole says. */
static void judge_whole(struct query *q, enum dv_lint_query kind)
{
    char bound[32], sign[8];
    bool below = q->compares[0] == '<';
    if (q->blind && !q->has_mig)
        add(q, kind == DV_LINT_QUERY_ALERT ? DV_LINT_ALERT_MIG_BLIND : DV_LINT_QUERY_MIG_BLIND,
            q->blind_at, q->blind->name, without_series(q), NULL, NULL);
    if (kind == DV_LINT_QUERY_ALERT && q->busy && below && !q->has_pods)
        add(q, DV_LINT_ALERT_UNALLOCATED, q->busy_at, q->busy->name, NULL, NULL, NULL);
    if (q->ratio && !q->others && q->compares[0] && q->bound > 1 && !q->times_100) {
        snprintf(bound, sizeof bound, "%g", q->bound);
        snprintf(sign, sizeof sign, "%s", q->compares);
        add(q, DV_LINT_RATIO_AS_PERCENT, q->compares_at, q->ratio->name, sign, bound,
            below ? "always" : "never");
    }
    if (q->mib && !q->not_mib && q->compares[0] && q->bound >= MIB_MAX && !q->scaled) {
        snprintf(bound, sizeof bound, "%g", q->bound);
        snprintf(sign, sizeof sign, "%s", q->compares);
        add(q, DV_LINT_MIB_AS_BYTES, q->compares_at, q->mib->name, sign, bound,
            below ? "always" : "never");
    }
    if (q->of_gpus)
        dv_lint_in_scope(q->report);
}

/* Of a number that nothing is compared with. */
static void on_number(struct query *q)
{
    bool of_time = q->depth && q->stack[q->depth - 1].open == '[';
    q->times_100 = q->times_100 || q->s.number == 100;
    q->scaled = q->scaled || (!of_time && q->s.number >= 1000);
}

void dv_lint_query(struct dv_lint_report *report, const struct dv_lint_at *at, const char *text,
                   size_t len, enum dv_lint_query kind)
{
    struct query q = {.report = report, .at = at, .s = {.text = text, .len = len}};
    const char *bad = NULL;
    enum token t;
    bool compared = false;
    while (!bad && (t = next(&q.s)) != END) {
        if (t == BAD)
            bad = "a text in quotes that is not closed";
        else if (t == NAME)
            on_name(&q);
        else if (t == NUMBER && compared)
            q.bound = q.s.number;
        else if (t == NUMBER)
            on_number(&q);
        else if (t == STRING)
            on_string(&q);
        else if (t == SIGN && !on_sign(&q))
            bad = "a bracket that closes nothing, or the wrong one";
        bool just = t == SIGN && q.compares[0] && q.compares_at == q.s.from;
        compared = just || (compared && t == NAME && !strcmp(q.s.name, "bool"));
    }
    if (!bad && q.depth) {
        bad = "a bracket that is not closed";
        q.s.from = q.stack[q.depth - 1].from;
    }
    if (bad)
        add(&q, DV_LINT_PROMQL_SYNTAX, q.s.from, bad, NULL, NULL, NULL);
    else
        judge_whole(&q, kind);
}

bool dv_lint_query_is_duration(const char *text)
{
    static const char *const units[] = {"y", "w", "d", "h", "m", "s", "ms"};
    size_t unit = 0;
    if (!strcmp(text, "0"))
        return true;
    for (const char *p = text; *p;) {
        size_t digits = strspn(p, "0123456789"), letters;
        p += digits;
        letters = strspn(p, "ywdhms");
        while (unit < DV_ARRAY_SIZE(units) &&
               (strlen(units[unit]) != letters || strncmp(units[unit], p, letters) != 0))
            unit++; /* each once, the larger first */
        if (!digits || unit++ == DV_ARRAY_SIZE(units))
            return false;
        p += letters;
    }
    return *text != 0;
}

void dv_lint_query_names(struct dv_lint_report *report, const struct dv_lint_at *at,
                         const char *text, size_t len)
{
    struct query q = {.report = report, .at = at, .s = {.text = text, .len = len}};
    for (size_t i = 0; i < len;) {
        q.s.from = i;
        while (i < len && is_name(text[i]))
            i++;
        q.s.at = i;
        keep(&q.s);
        if (begins(q.s.name, "DCGM_") || begins(q.s.name, "dcgm_"))
            judge_name(&q);
        i += i < len && i == q.s.from;
        while (i < len && !is_name(text[i]))
            i++;
    }
    if (q.of_gpus)
        dv_lint_in_scope(report);
}

/* Does a line go on with the query before it? */
static bool goes_on(const char *p, const char *end)
{
    static const char *const words[] = {"and", "or",       "unless", "by",         "without",
                                        "on",  "ignoring", "offset", "group_left", "group_right"};
    if (p == end)
        return false;
    if (strchr("+-*/%^<>=!)}],", *p))
        return true;
    for (size_t i = 0; i < DV_ARRAY_SIZE(words); i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(end - p) > n && !strncmp(p, words[i], n) && !is_name(p[n]))
            return true;
    }
    return false;
}

size_t dv_lint_query_length(const char *text, size_t len)
{
    struct scan s = {.text = text, .len = len};
    int depth = 0;
    size_t end = 0;
    bool open_end = false;
    for (enum token t; (t = next(&s)) != END && t != BAD;) {
        bool new_line = end && memchr(text + end, '\n', s.from - end);
        if (new_line && depth <= 0 && !open_end && !goes_on(text + s.from, text + len))
            return s.from;
        char c = t == SIGN ? s.name[0] : 0;
        depth += c && strchr("([{", c) ? 1 : c && strchr(")]}", c) ? -1 : 0;
        open_end = c && strchr("+-*/%^<>=!,", c);
        end = s.at;
    }
    return len;
}
