/* SPDX-License-Identifier: Apache-2.0 */
#include "render/openmetrics.h"

#include "render/json.h"

#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */
#define DIGITS 24

const char *dv_openmetrics_type(enum dv_openmetrics_format format)
{
    return format == DV_OPENMETRICS_1_0
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}

/* ---- Accept ---- */

/* A quality in thousandths: "0.5" is 500; without one 1000. */
static unsigned quality(const char *range, size_t len)
{
    unsigned q = 0, digit = 100;
    const char *end = range + len, *p = range;
    while (p + 2 < end && !(p[0] == ';' || p[0] == ' '))
        p++;
    for (p += p == range; p + 2 < end; p++)
        if ((p[-1] == ';' || p[-1] == ' ') && p[0] == 'q' && p[1] == '=')
            break;
    if (p + 2 >= end)
        return 1000;
    p += 2;
    if (*p == '1')
        return 1000;
    for (p += 1; p < end && (*p == '.' || (*p >= '0' && *p <= '9')); p++) {
        if (*p == '.')
            continue;
        q += (unsigned)(*p - '0') * digit;
        digit /= 10;
    }
    return q;
}

static bool contains(const char *text, size_t len, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= len; i++)
        if (!memcmp(text + i, word, n))
            return true;
    return false;
}

/* The best of the ranges that are ours; OpenMetrics only in the version that is written here. */
enum dv_openmetrics_format dv_openmetrics_accept(const char *accept)
{
    unsigned open = 0, plain = 0;
    for (const char *p = accept; p && *p;) {
        size_t len = strcspn(p, ",");
        unsigned q = quality(p, len);
        size_t blank = strspn(p, " \t");
        const char *range = p + DV_MIN(blank, len);
        size_t n = len - (size_t)(range - p);
        if (contains(range, n, "application/openmetrics-text")) {
            if (!contains(range, n, "version=") || contains(range, n, "version=1.0.0"))
                open = DV_MAX(open, q);
        } else if (contains(range, n, "text/plain") || contains(range, n, "*/*")) {
            plain = DV_MAX(plain, q);
        }
        p += len + (p[len] == ',');
    }
    return open && open >= plain ? DV_OPENMETRICS_1_0 : DV_OPENMETRICS_PROMETHEUS;
}

/* ---- texts ---- */

static bool is_plain(const char *text)
{
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p >= 0x80 || *p == '\\' || *p == '"' || *p == '\n')
            return false;
    return true;
}

static void escape(struct dv_str *out, const char *text, bool quotes)
{
    if (is_plain(text)) {
        dv_str_add(out, text);
        return;
    }
    for (const char *p = text; *p;) {
        unsigned n = dv_json_utf8(p);
        if (*p == '\\')
            dv_str_add(out, "\\\\");
        else if (*p == '\n')
            dv_str_add(out, "\\n");
        else if (*p == '"' && quotes)
            dv_str_add(out, "\\\"");
        else if (n)
            dv_str_addn(out, p, n);
        else
            dv_str_add(out, REPLACEMENT);
        p += n ? n : 1;
    }
}

/* ---- families ---- */

static const char *suffix(const struct dv_metric_family *f)
{
    if (f->type == DV_METRIC_COUNTER)
        return "_total";
    return f->type == DV_METRIC_INFO ? "_info" : "";
}

static const char *type_name(const struct dv_openmetrics *w)
{
    bool open = w->format == DV_OPENMETRICS_1_0;
    switch (w->family->type) {
    case DV_METRIC_COUNTER:
        return "counter";
    case DV_METRIC_COUNTER_BARE:
        return open ? "unknown" : "counter";
    case DV_METRIC_INFO:
        return open ? "info" : "gauge";
    default:
        return "gauge";
    }
}

static void add_line(struct dv_openmetrics *w, const char *what, const char *text, bool help)
{
    dv_str_add(w->out, "# ");
    dv_str_add(w->out, what);
    dv_str_addc(w->out, ' ');
    dv_str_add(w->out, w->family->name);
    if (w->format != DV_OPENMETRICS_1_0)
        dv_str_add(w->out, suffix(w->family));
    dv_str_addc(w->out, ' ');
    if (help)
        escape(w->out, text, w->format == DV_OPENMETRICS_1_0);
    else
        dv_str_add(w->out, text);
    dv_str_addc(w->out, '\n');
}

void dv_openmetrics_family(struct dv_openmetrics *w, const struct dv_metric_family *family)
{
    w->family = family;
    w->announced = false;
}

static void announce(struct dv_openmetrics *w)
{
    w->announced = true;
    add_line(w, "HELP", w->family->help, true);
    add_line(w, "TYPE", type_name(w), false);
    if (w->family->unit && w->format == DV_OPENMETRICS_1_0)
        add_line(w, "UNIT", w->family->unit, false);
}

/* ---- samples ---- */

void dv_openmetrics_sample(struct dv_openmetrics *w)
{
    if (!w->announced)
        announce(w);
    dv_str_add(w->out, w->family->name);
    dv_str_add(w->out, suffix(w->family));
    w->labels = false;
}

static void next_label(struct dv_openmetrics *w)
{
    dv_str_addc(w->out, w->labels ? ',' : '{');
    w->labels = true;
}

static void add_label(struct dv_str *out, const char *name, const char *value)
{
    dv_str_add(out, name);
    dv_str_add(out, "=\"");
    escape(out, value, true);
    dv_str_addc(out, '"');
}

void dv_openmetrics_label(struct dv_openmetrics *w, const char *name, const char *value)
{
    next_label(w);
    add_label(w->out, name, value);
}

void dv_openmetrics_labels_add(struct dv_str *made, const char *name, const char *value)
{
    if (made->len)
        dv_str_addc(made, ',');
    add_label(made, name, value);
}

void dv_openmetrics_labels(struct dv_openmetrics *w, const char *made)
{
    if (!*made)
        return;
    next_label(w);
    dv_str_add(w->out, made);
}

/* ---- values ---- */

/* The decimal digits of v, right-aligned with at least `width` of them; returns where they begin.
 */
static char *digits(uint64_t v, unsigned width, char buf[DIGITS])
{
    char *p = buf + DIGITS - 1;
    *p = 0;
    while (v || width) {
        *--p = (char)('0' + v % 10);
        v /= 10;
        width -= width > 0;
    }
    return p;
}

void dv_openmetrics_label_uint(struct dv_openmetrics *w, const char *name, uint64_t value)
{
    char buf[DIGITS];
    dv_openmetrics_label(w, name, digits(value, 1, buf));
}

static void put(struct dv_openmetrics *w, uint64_t value, unsigned scale, bool trim)
{
    char buf[DIGITS];
    char *p = digits(value, scale + 1, buf);
    size_t n = strlen(p), behind = scale;
    dv_str_add(w->out, w->labels ? "} " : " ");
    dv_str_addn(w->out, p, n - scale);
    while (trim && behind && p[n - scale + behind - 1] == '0')
        behind--;
    if (behind) {
        dv_str_addc(w->out, '.');
        dv_str_addn(w->out, p + n - scale, behind);
    }
    dv_str_addc(w->out, '\n');
}

void dv_openmetrics_uint(struct dv_openmetrics *w, uint64_t value)
{
    put(w, value, 0, false);
}

void dv_openmetrics_decimal(struct dv_openmetrics *w, uint64_t value, unsigned scale)
{
    put(w, value, scale, true);
}

void dv_openmetrics_fixed(struct dv_openmetrics *w, uint64_t value, unsigned scale)
{
    put(w, value, scale, false);
}

void dv_openmetrics_seconds(struct dv_openmetrics *w, uint64_t ns)
{
    put(w, ns, 9, true);
}

void dv_openmetrics_ratio(struct dv_openmetrics *w, uint64_t part, uint64_t whole)
{
    __extension__ unsigned __int128 scaled = (unsigned __int128)part * 1000000000u / whole;
    put(w, scaled > UINT64_MAX ? UINT64_MAX : (uint64_t)scaled, 9, true);
}

void dv_openmetrics_end(struct dv_openmetrics *w)
{
    if (w->format == DV_OPENMETRICS_1_0)
        dv_str_add(w->out, "# EOF\n");
}
