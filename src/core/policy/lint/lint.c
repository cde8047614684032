/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lint/lint.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WORDS_MAX 600u /* bytes of a finding's sentence */

static const struct dv_lint_rule_info rules[] = {
#define NOTE DV_LINT_NOTE
#define WARNING DV_LINT_WARNING
#define ERROR DV_LINT_ERROR
#define ACCEPTED DV_LINT_ACCEPTED
#define WARNED DV_LINT_WARNED
#define REWRITTEN DV_LINT_REWRITTEN
#define REFUSED DV_LINT_REFUSED
#define RULE(number, ident, ...) [DV_LINT_##ident] = {"DV" #number, __VA_ARGS__},
#include "policy/lint/lint_rules.def"
#undef RULE
};

const struct dv_lint_rule_info *dv_lint_rule(enum dv_lint_rule rule)
{
    return &rules[rule];
}

enum dv_lint_rule dv_lint_rule_find(const char *text, struct dv_err *err)
{
    const char *names[2 * DV_LINT_RULES];
    for (size_t i = 0; i < DV_LINT_RULES; i++) {
        if (!strcasecmp(rules[i].id, text) || !strcasecmp(rules[i].name, text))
            return (enum dv_lint_rule)i;
        names[2 * i] = rules[i].id;
        names[2 * i + 1] = rules[i].name;
    }
    const char *near = dv_str_nearest(text, names, DV_ARRAY_SIZE(names));
    dv_err_set(err, -EINVAL, "there is no rule '%.40s'%s%s%s", text, near ? "; did you mean '" : "",
               near ? near : "; divvy lint --rules lists them", near ? "'?" : "");
    return DV_LINT_RULES;
}

const char *dv_lint_severity_name(enum dv_lint_severity severity)
{
    static const char *const names[] = {"note", "warning", "error"};
    return names[severity];
}

const char *dv_lint_verdict_name(enum dv_lint_verdict verdict)
{
    static const char *const names[] = {"out-of-scope", "accepted", "warned", "rewritten",
                                        "refused"};
    return names[verdict];
}

/* ---- words ---------------------------------------------------------------------------------- */

/* The sentence with its operands, printable, cut at WORDS_MAX. NULL: out of memory. */
static char *words(const char *sentence, const char *const *operands)
{
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    for (const char *p = sentence; *p; p++) {
        bool hole = p[0] == '{' && p[1] >= '0' && p[1] <= '3' && p[2] == '}';
        if (!hole) {
            dv_str_addc(&s, *p);
            continue;
        }
        dv_str_add(&s, operands[p[1] - '0'] ? operands[p[1] - '0'] : "");
        p += 2;
    }
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] < ' ' || s.data[i] == 0x7f)
            s.data[i] = ' ';
    if (s.len > WORDS_MAX) {
        size_t cut = WORDS_MAX;
        while (cut && ((unsigned char)s.data[cut] & 0xc0) == 0x80)
            cut--;
        s.data[s.len = cut] = 0;
        dv_str_add(&s, "...");
    }
    return s.len ? dv_str_steal(&s) : s.failed ? NULL : strdup("");
}

/* ---- the report ----------------------------------------------------------------------------- */

static void finding_done(struct dv_lint_finding *f)
{
    for (uint32_t i = 0; i < f->n_edits; i++) {
        free(f->edits[i].before);
        free(f->edits[i].after);
    }
    free(f->edits);
    free(f->why);
    free(f->fix);
}

void dv_lint_report_done(struct dv_lint_report *report)
{
    for (uint32_t i = 0; i < report->n_findings; i++)
        finding_done(&report->findings[i]);
    free(report->findings);
    free(report->objects);
    *report = (struct dv_lint_report){0};
}

/* Room for one more in an array that doubles. */
static bool grow(void **array, uint32_t n, size_t size)
{
    bool full = !n || (n >= 8 && !(n & (n - 1)));
    void *more = full ? realloc(*array, (n ? 2 * (size_t)n : 8) * size) : *array;
    if (!more)
        return false;
    *array = more;
    return true;
}

static void copy_clean(char *dst, size_t size, const char *src)
{
    snprintf(dst, size, "%.*s", (int)size - 1, src ? src : "");
    for (; *dst; dst++)
        if ((unsigned char)*dst < ' ' || *dst == 0x7f)
            *dst = '?';
}

void dv_lint_begin(struct dv_lint_report *r, const char *kind, const char *name, uint32_t line)
{
    if (r->n_objects == DV_LINT_OBJECTS_MAX)
        return; /* the last one stands for the rest */
    if (!grow((void **)&r->objects, r->n_objects, sizeof *r->objects)) {
        r->failed = true;
        return;
    }
    struct dv_lint_object *o = &r->objects[r->n_objects++];
    *o = (struct dv_lint_object){.line = line};
    copy_clean(o->kind, sizeof o->kind, kind);
    copy_clean(o->name, sizeof o->name, name);
}

void dv_lint_in_scope(struct dv_lint_report *r)
{
    if (r->n_objects)
        r->objects[r->n_objects - 1].in_scope = true;
}

static bool is_there(const struct dv_lint_report *r, const struct dv_lint_finding *f)
{
    for (uint32_t i = r->n_findings; i-- > 0;) {
        const struct dv_lint_finding *o = &r->findings[i];
        if (o->rule == f->rule && o->line == f->line && o->column == f->column &&
            !strcmp(o->why, f->why))
            return true;
    }
    return false;
}

struct dv_lint_finding *dv_lint_add(struct dv_lint_report *r, enum dv_lint_rule rule, uint32_t line,
                                    uint32_t column, const char *a, const char *b, const char *c,
                                    const char *d)
{
    const char *const operands[] = {a, b, c, d};
    struct dv_lint_finding f = {.rule = rule, .line = line, .column = column};
    if (r->n_findings == DV_LINT_FINDINGS_MAX) {
        r->n_dropped++;
        return NULL;
    }
    if (!r->n_objects)
        dv_lint_begin(r, "", NULL, line);
    f.object = r->n_objects ? r->n_objects - 1 : 0;
    f.why = words(rules[rule].why, operands);
    f.fix = words(rules[rule].fix, operands);
    bool room = f.why && f.fix && r->n_objects;
    bool twice = room && is_there(r, &f);
    if (!room || twice || !grow((void **)&r->findings, r->n_findings, sizeof *r->findings)) {
        r->failed = r->failed || !twice;
        finding_done(&f);
        return NULL;
    }
    if (rules[rule].severity != DV_LINT_NOTE)
        dv_lint_in_scope(r);
    r->findings[r->n_findings] = f;
    return &r->findings[r->n_findings++];
}

void dv_lint_edit(struct dv_lint_report *r, struct dv_lint_finding *f, uint32_t line,
                  uint32_t column, const char *before, const char *after)
{
    if (!f)
        return;
    if (!f->edits)
        f->edits = calloc(DV_LINT_EDITS_MAX, sizeof *f->edits);
    if (!f->edits || f->n_edits == DV_LINT_EDITS_MAX) {
        r->failed = r->failed || !f->edits;
        return;
    }
    struct dv_lint_edit e = {line, column, strdup(before), strdup(after)};
    if (!e.before || !e.after) {
        free(e.before);
        free(e.after);
        r->failed = true;
        return;
    }
    f->edits[f->n_edits++] = e;
}

/* ---- which rules count ---------------------------------------------------------------------- */

static bool is_one_of(const enum dv_lint_rule *list, uint32_t n, enum dv_lint_rule rule)
{
    for (uint32_t i = 0; i < n; i++)
        if (list[i] == rule)
            return true;
    return false;
}

static int add_rule(enum dv_lint_rule *list, uint32_t *n, enum dv_lint_rule rule,
                    struct dv_err *err)
{
    if (is_one_of(list, *n, rule))
        return 0;
    if (*n == DV_LINT_FILTER_MAX)
        return dv_err_set(err, -E2BIG, "at most %u rules", DV_LINT_FILTER_MAX);
    list[(*n)++] = rule;
    return 0;
}

int dv_lint_filter_add(enum dv_lint_rule *list, uint32_t *n, const char *text, struct dv_err *err)
{
    int r = 0;
    for (const char *p = text; r == 0; p++) {
        char word[64];
        size_t len = strcspn(p, ",");
        snprintf(word, sizeof word, "%.*s", (int)DV_MIN(len, sizeof word - 1), p);
        if (strlen(word) == 3 && !strncasecmp(word, "DV", 2) && isdigit((unsigned char)word[2])) {
            for (size_t i = 0; r == 0 && i < DV_LINT_RULES; i++)
                if (rules[i].id[2] == word[2])
                    r = add_rule(list, n, (enum dv_lint_rule)i, err);
        } else {
            enum dv_lint_rule rule = dv_lint_rule_find(word, err);
            r = rule == DV_LINT_RULES ? -EINVAL : add_rule(list, n, rule, err);
        }
        p += len;
        if (!*p)
            break;
    }
    return r;
}

/* ---- comments that silence ------------------------------------------------------------------ */

#define MARK "divvy-lint:"
#define COMMENTS_MAX 512u

struct comment {
    uint32_t line, column;
    bool whole_file, all; /* all: no rules are named */
    bool alone;           /* nothing before it in its line: it means the next one too */
    bool used;
    uint32_t n;
    enum dv_lint_rule rules[16];
};

/* "ignore DV101, DV102", behind the mark. */
static bool read_comment(const char *p, const char *end, struct comment *c)
{
    static const char ignore[] = "ignore", file[] = "ignore-file";
    while (p < end && *p == ' ')
        p++;
    c->whole_file = (size_t)(end - p) >= sizeof file - 1 && !strncmp(p, file, sizeof file - 1);
    size_t skip = c->whole_file ? sizeof file - 1 : sizeof ignore - 1;
    if ((size_t)(end - p) < skip || strncmp(p, ignore, sizeof ignore - 1) != 0)
        return false;
    for (p += skip; p < end;) {
        char word[48];
        size_t n = 0;
        while (p < end && (*p == ' ' || *p == ',' || *p == '\t' || *p == '\r'))
            p++;
        while (p < end && (isalnum((unsigned char)*p) || *p == '-') && n < sizeof word - 1)
            word[n++] = *p++;
        word[n] = 0;
        enum dv_lint_rule rule = n ? dv_lint_rule_find(word, NULL) : DV_LINT_RULES;
        if (rule == DV_LINT_RULES)
            break; /* words of the author's begin here */
        if (c->n < DV_ARRAY_SIZE(c->rules))
            c->rules[c->n++] = rule;
    }
    c->all = !c->n;
    return true;
}

static uint32_t read_comments(const char *text, size_t len, struct comment *ret)
{
    uint32_t n = 0, line = 1;
    for (const char *p = text, *end = text + len; p < end; line++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        stop = stop ? stop : end;
        const char *mark = memmem(p, (size_t)(stop - p), MARK, sizeof MARK - 1);
        const char *hash = mark ? memchr(p, '#', (size_t)(mark - p)) : NULL;
        if (hash && n < COMMENTS_MAX) {
            struct comment c = {.line = line, .column = (uint32_t)(hash - p) + 1, .alone = true};
            for (const char *q = p; q < hash; q++)
                c.alone = c.alone && (*q == ' ' || *q == '\t');
            if (read_comment(mark + sizeof MARK - 1, stop, &c))
                ret[n++] = c;
        }
        p = stop + 1;
    }
    return n;
}

static bool is_silenced(const struct dv_lint_finding *f, struct comment *comments, uint32_t n)
{
    bool silenced = false;
    for (uint32_t i = 0; i < n; i++) {
        struct comment *c = &comments[i];
        bool here = c->whole_file || f->line == c->line || (c->alone && f->line == c->line + 1);
        if (!here || (!c->all && !is_one_of(c->rules, c->n, f->rule)))
            continue;
        c->used = true;
        silenced = true;
    }
    return silenced;
}

static void name_of(const struct comment *c, char *buf, size_t size)
{
    size_t used = 0;
    buf[0] = 0;
    for (uint32_t i = 0; i < c->n && used < size; i++)
        used +=
            (size_t)snprintf(buf + used, size - used, "%s%s", i ? ", " : "", rules[c->rules[i]].id);
    if (c->all)
        snprintf(buf, size, "any rule");
}

/* ---- the end -------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const struct dv_lint_finding *x = a, *y = b;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    if (x->column != y->column)
        return x->column < y->column ? -1 : 1;
    if (x->rule != y->rule)
        return x->rule < y->rule ? -1 : 1;
    return strcmp(x->why, y->why);
}

static bool is_wanted(const struct dv_lint_filter *filter, enum dv_lint_rule rule)
{
    if (!filter)
        return true;
    return (!filter->n_only || is_one_of(filter->only, filter->n_only, rule)) &&
           !is_one_of(filter->ignored, filter->n_ignored, rule);
}

static void silence(struct dv_lint_report *r, struct comment *comments, uint32_t n_comments,
                    const struct dv_lint_filter *filter)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < r->n_findings; i++) {
        bool silenced = is_silenced(&r->findings[i], comments, n_comments);
        r->n_suppressed += silenced;
        if (silenced || !is_wanted(filter, r->findings[i].rule))
            finding_done(&r->findings[i]);
        else
            r->findings[kept++] = r->findings[i];
    }
    r->n_findings = kept;
}

static void judge(struct dv_lint_report *r)
{
    for (uint32_t i = 0; i < r->n_objects; i++)
        r->objects[i].verdict = r->objects[i].in_scope ? DV_LINT_ACCEPTED : DV_LINT_OUT_OF_SCOPE;
    for (uint32_t i = 0; i < r->n_findings; i++) {
        const struct dv_lint_rule_info *rule = &rules[r->findings[i].rule];
        struct dv_lint_object *o = &r->objects[r->findings[i].object];
        if (rule->severity != DV_LINT_NOTE)
            o->verdict = DV_MAX(o->verdict, rule->verdict);
    }
    r->verdict = DV_LINT_OUT_OF_SCOPE;
    for (uint32_t i = 0; i < r->n_objects; i++)
        r->verdict = DV_MAX(r->verdict, r->objects[i].verdict);
}

/* A parser that wants more complains behind the end: the last line stands for that. */
static void keep_inside(struct dv_lint_report *r, const char *text, size_t len)
{
    uint32_t lines = 1;
    for (size_t i = 0; i + 1 < len; i++)
        lines += text[i] == '\n';
    for (uint32_t i = 0; i < r->n_findings; i++)
        if (r->findings[i].line > lines && len) {
            r->findings[i].line = lines;
            r->findings[i].column = 1;
        }
}

void dv_lint_finish(struct dv_lint_report *r, const char *text, size_t len,
                    const struct dv_lint_filter *filter)
{
    struct comment *comments = calloc(COMMENTS_MAX, sizeof *comments);
    bool heed = !filter || !filter->no_comments;
    uint32_t n = 0;
    if (!comments)
        r->failed = true;
    else if (heed)
        n = read_comments(text, len, comments);
    silence(r, comments, n, filter);
    for (uint32_t i = 0; i < n; i++) {
        char name[160];
        name_of(&comments[i], name, sizeof name);
        if (!comments[i].used && is_wanted(filter, DV_LINT_UNUSED_IGNORE))
            dv_lint_add(r, DV_LINT_UNUSED_IGNORE, comments[i].line, comments[i].column, name, NULL,
                        NULL, NULL);
    }
    free(comments);
    keep_inside(r, text, len);
    if (r->n_findings)
        qsort(r->findings, r->n_findings, sizeof *r->findings, compare);
    judge(r);
}

bool dv_lint_has_problems(const struct dv_lint_report *r)
{
    for (uint32_t i = 0; i < r->n_findings; i++)
        if (rules[r->findings[i].rule].severity != DV_LINT_NOTE)
            return true;
    return false;
}

/* ---- mending -------------------------------------------------------------------------------- */

uint32_t dv_lint_fixable(const struct dv_lint_report *r)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n_findings; i++)
        n += r->findings[i].n_edits > 0;
    return n;
}

/* A text and where its lines begin. */
struct lines {
    const char *text;
    size_t len;
    size_t *starts; /* of line 1, 2, ... */
    uint32_t n;
};

static bool index_lines(struct lines *l)
{
    uint32_t n = 1;
    for (size_t i = 0; i < l->len; i++)
        n += l->text[i] == '\n';
    l->starts = calloc(n, sizeof *l->starts);
    if (!l->starts)
        return false;
    l->n = 1;
    for (size_t i = 0; i < l->len && l->n < n; i++)
        if (l->text[i] == '\n')
            l->starts[l->n++] = i + 1;
    return true;
}

/* The byte that the edit begins at, or SIZE_MAX where the file does not say `before` there. */
static size_t locate(const struct dv_lint_edit *e, const struct lines *l)
{
    size_t n = strlen(e->before), at;
    if (!e->line || e->line > l->n)
        return SIZE_MAX;
    at = l->starts[e->line - 1];
    for (uint32_t i = 1; i < e->column; i++) {
        if (at >= l->len || l->text[at] == '\n')
            return SIZE_MAX;
        do
            at++;
        while (at < l->len && ((unsigned char)l->text[at] & 0xc0) == 0x80);
    }
    return n > l->len - at || memcmp(l->text + at, e->before, n) != 0 ? SIZE_MAX : at;
}

struct place {
    size_t from, to;
    const char *after;
    uint32_t order; /* of its finding, then of the edit: insertions at one place keep it */
};

static int by_place(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    if ((x->from == x->to) != (y->from == y->to))
        return x->from == x->to ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

static bool overlaps(const struct place *a, const struct place *b)
{
    return a->from < b->to && b->from < a->to;
}

/* The finding's edits behind those that are there; false (and none): one has no place, or is in the
 * way of another. The same edit twice is made once. */
static bool add_places(const struct dv_lint_finding *f, const struct lines *lines,
                       struct place *places, uint32_t *n)
{
    uint32_t had = *n;
    for (uint32_t i = 0; i < f->n_edits; i++) {
        const struct dv_lint_edit *e = &f->edits[i];
        struct place p = {.from = locate(e, lines), .after = e->after, .order = *n};
        p.to = p.from == SIZE_MAX ? 0 : p.from + strlen(e->before);
        bool ok = p.from != SIZE_MAX, twice = false;
        for (uint32_t k = 0; ok && k < *n; k++) {
            twice = twice || (places[k].from == p.from && places[k].to == p.to &&
                              !strcmp(places[k].after, p.after));
            ok = twice || !overlaps(&places[k], &p);
        }
        if (!ok) {
            *n = had;
            return false;
        }
        if (!twice)
            places[(*n)++] = p;
    }
    return f->n_edits > 0;
}

uint32_t dv_lint_apply(const struct dv_lint_report *r, const char *text, size_t len,
                       struct dv_str *ret)
{
    struct place *places = calloc((size_t)r->n_findings * DV_LINT_EDITS_MAX + 1, sizeof *places);
    struct lines lines = {.text = text, .len = len};
    uint32_t n = 0, mended = 0;
    size_t at = 0;
    bool ok = places && index_lines(&lines);
    for (uint32_t i = 0; ok && i < r->n_findings; i++)
        mended += add_places(&r->findings[i], &lines, places, &n);
    ret->failed = ret->failed || !ok;
    if (n)
        qsort(places, n, sizeof *places, by_place);
    for (uint32_t i = 0; i < n; i++) {
        dv_str_addn(ret, text + at, places[i].from - at);
        dv_str_add(ret, places[i].after);
        at = places[i].to;
    }
    dv_str_addn(ret, text + at, len - at);
    free(lines.starts);
    free(places);
    return mended;
}

/* ---- places --------------------------------------------------------------------------------- */

struct dv_lint_at dv_lint_place(const struct dv_lint_at *at, const char *text, size_t offset)
{
    struct dv_lint_at ret = *at;
    if (at->pinned)
        return ret;
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            ret.line++;
            ret.column = at->indent + 1;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
            ret.column++;
        }
    }
    return ret;
}
