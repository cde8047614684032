/* SPDX-License-Identifier: Apache-2.0 */
#include "csv/csv.h"

#include "base/number.h"
#include "base/str.h"
#include "csv/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Twice the longest record, so that a read is never for a few bytes only. */
#define BUFFER_SIZE (2 * DV_CSV_RECORD_MAX)
#define NAME_MAX_SHOWN 200
#define SHOWN_MAX 64

struct dv_csv {
    char *name;
    struct dv_csv_source *source;
    char *buf; /* BUFFER_SIZE + 1: a byte for the end of a last line that has none */
    size_t pos, end;
    bool eof;
    int broken;           /* the error after which nothing more is read */
    uint64_t line, lines; /* of the current record; line ends so far */
    char separator;
    char *header_text;
    struct dv_csv_field *fields; /* of the record, as many as the header has */
    const char **header;
    size_t n_columns;
    const struct dv_csv_column *wanted;
    uint32_t *from; /* of each wanted column its place in the record; n_columns: not there */
    size_t n_wanted;
};

/* ---- messages ------------------------------------------------------------------------------- */

/* At most SHOWN_MAX bytes of a text, with '?' for what does not print. Returns buf. */
static const char *shown(const char *text, size_t len, char buf[SHOWN_MAX + 4])
{
    size_t n = DV_MIN(len, (size_t)SHOWN_MAX);
    for (size_t i = 0; i < n; i++)
        buf[i] = text[i];
    for (size_t i = 0; i < n; i++)
        if (buf[i] < ' ' || buf[i] > '~')
            buf[i] = '?';
    buf[n] = 0;
    if (n < len)
        memcpy(buf + n, "...", 4);
    return buf;
}

static int broken(struct dv_csv *csv, struct dv_err *err, uint64_t line, int r, const char *fmt,
                  ...) dv_printf(5, 6);
static int broken(struct dv_csv *csv, struct dv_err *err, uint64_t line, int r, const char *fmt,
                  ...)
{
    csv->broken = r;
    if (!err)
        return r;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    dv_err_prefix(err, "%.*s:%llu: ", NAME_MAX_SHOWN, csv->name, (unsigned long long)line);
    return r;
}

int dv_csv_fail(const struct dv_csv *csv, size_t i, struct dv_err *err, int r, const char *fmt, ...)
{
    char name[SHOWN_MAX + 4] = "";
    if (!err)
        return r;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    if (i < csv->n_wanted) {
        const char *column = csv->wanted[i].name;
        dv_err_prefix(err, "column '%s': ", shown(column, strlen(column), name));
    }
    dv_err_prefix(err, "%.*s:%llu: ", NAME_MAX_SHOWN, csv->name, (unsigned long long)csv->line);
    return r;
}

/* The header's columns for a message: 'a', 'b', 'c'. */
static void list_columns(const struct dv_csv *csv, struct dv_str *s)
{
    char buf[SHOWN_MAX + 4];
    for (size_t i = 0; i < csv->n_columns && s->len < 160; i++)
        dv_str_addf(s, "%s'%s'", i ? ", " : "", shown(csv->header[i], strlen(csv->header[i]), buf));
    if (s->len >= 160)
        dv_str_add(s, "...");
}

/* ---- records -------------------------------------------------------------------------------- */

/* More bytes behind `end`. 1; 0 at the end of the file. */
static int refill(struct dv_csv *csv, struct dv_err *err)
{
    if (csv->eof)
        return 0;
    if (csv->pos) {
        memmove(csv->buf, csv->buf + csv->pos, csv->end - csv->pos);
        csv->end -= csv->pos;
        csv->pos = 0;
    }
    struct dv_err why = {{0}};
    int64_t n = dv_csv_source_read(csv->source, csv->buf + csv->end, BUFFER_SIZE - csv->end, &why);
    if (n == -ENOMEM)
        return csv->broken = -ENOMEM;
    if (n == -EINTR)
        return dv_err_set(err, -EINTR, "%.*s: interrupted", NAME_MAX_SHOWN, csv->name);
    if (n < 0)
        return broken(csv, err, csv->lines + 1, (int)n, "%s", why.msg);
    csv->end += (size_t)n;
    csv->eof = n == 0;
    return n > 0;
}

/* Where the record at `pos` ends (its line feed), if it has quotes. NULL: not in the buffer.
 * *lines counts its line ends but for the last. */
static char *quoted_end(char *p, char *end, uint64_t *lines)
{
    bool inside = false;
    *lines = 0;
    for (; p < end; p++) {
        if (*p == '"')
            inside = !inside;
        else if (*p == '\n' && !inside)
            return p;
        else if (*p == '\n')
            ++*lines;
    }
    return NULL;
}

struct record {
    char *start, *end; /* end: its line feed, or where one would be */
    bool quotes;
};

/* What ends when the file does: a last line without a line feed, or a quote that is never closed.
 */
static int last_record(struct dv_csv *csv, struct record *rec, struct dv_err *err)
{
    rec->end = csv->buf + csv->end;
    if (rec->start == rec->end)
        return 0;
    uint64_t lines;
    *rec->end = '\n';
    if (rec->quotes && !quoted_end(rec->start, rec->end + 1, &lines))
        return broken(csv, err, csv->line, -EINVAL,
                      "a double quote is opened here and never closed");
    csv->pos = csv->end;
    return 1;
}

/* The next record that is not blank. 1; 0 at the end. */
static int find_record(struct dv_csv *csv, struct record *rec, struct dv_err *err)
{
    size_t searched = 0;
    csv->line = csv->lines + 1;
    for (;;) {
        rec->start = csv->buf + csv->pos;
        char *end = csv->buf + csv->end;
        uint64_t inner = 0;
        char *nl = memchr(rec->start + searched, '\n', (size_t)(end - rec->start) - searched);
        rec->quotes = memchr(rec->start, '"', (size_t)((nl ? nl : end) - rec->start));
        rec->end = rec->quotes ? quoted_end(rec->start, end, &inner) : nl;
        if (rec->end) {
            csv->lines += inner + 1;
            csv->pos += (size_t)(rec->end - rec->start) + 1;
            return 1;
        }
        if ((size_t)(end - rec->start) > DV_CSV_RECORD_MAX)
            break;
        searched = rec->quotes ? 0 : (size_t)(end - rec->start);
        int r = refill(csv, err);
        if (r < 0)
            return r;
        if (!r) {
            rec->start = csv->buf + csv->pos;
            return last_record(csv, rec, err);
        }
    }
    return broken(csv, err, csv->line, -EINVAL,
                  rec->quotes ? "a double quote is opened here and not closed within %u bytes"
                              : "the line is longer than %u bytes; is this CSV?",
                  DV_CSV_RECORD_MAX);
}

/* Takes the quotes off in place. Returns what follows the closing quote; NULL: no closing quote. */
static char *unquote(char *p, char *end, struct dv_csv_field *ret)
{
    char *to = p;
    ret->text = p;
    for (p++; p < end; p++) {
        if (*p == '"' && (++p == end || *p != '"')) {
            ret->len = (size_t)(to - ret->text);
            *to = 0;
            return p;
        }
        *to++ = *p;
    }
    return NULL;
}

static int count_mismatch(struct dv_csv *csv, size_t n, struct dv_err *err)
{
    bool cut = csv->eof && csv->pos == csv->end && n < csv->n_columns;
    return broken(csv, err, csv->line, -EINVAL, "%zu field%s where the header has %zu column%s%s",
                  n, n == 1 ? "" : "s", csv->n_columns, csv->n_columns == 1 ? "" : "s",
                  cut ? "; this is the last line: was the file cut?" : "");
}

/* Splits where there are quotes. */
static int split_quoted(struct dv_csv *csv, const struct record *rec, size_t max, size_t *ret_n,
                        struct dv_err *err)
{
    size_t n = 0;
    char *p = rec->start;
    for (;; p++) {
        struct dv_csv_field f = {.text = p};
        if (p < rec->end && *p == '"') {
            p = unquote(p, rec->end, &f);
            if (!p || (p < rec->end && *p != csv->separator))
                return broken(csv, err, csv->line, -EINVAL,
                              "field %zu: text after the closing double quote; a quote inside a "
                              "field is written twice",
                              n + 1);
        } else {
            while (p < rec->end && *p != csv->separator && *p != '"')
                p++;
            if (p < rec->end && *p == '"')
                return broken(csv, err, csv->line, -EINVAL,
                              "field %zu: a double quote in a field that does not begin with one",
                              n + 1);
            f.len = (size_t)(p - f.text);
        }
        if (n < max)
            csv->fields[n] = f;
        n++;
        bool last = p == rec->end;
        *p = 0;
        if (last)
            break;
    }
    *ret_n = n;
    return 0;
}

static size_t split_plain(struct dv_csv *csv, const struct record *rec, size_t max)
{
    size_t n = 0;
    const char separator = csv->separator;
    char *start = rec->start;
    *rec->end = separator;
    for (char *p = start;; p++) {
        if (*p != separator)
            continue;
        *p = 0;
        if (n < max)
            csv->fields[n] = (struct dv_csv_field){start, (size_t)(p - start)};
        n++;
        start = p + 1;
        if (p == rec->end)
            return n;
    }
}

/* Splits the record into csv->fields, of which there are `max`. */
static int split(struct dv_csv *csv, struct record *rec, size_t max, size_t *ret_n,
                 struct dv_err *err)
{
    size_t len = (size_t)(rec->end - rec->start);
    if (len > DV_CSV_RECORD_MAX)
        return broken(csv, err, csv->line, -EINVAL,
                      "the line is longer than %u bytes; is this CSV?", DV_CSV_RECORD_MAX);
    if (memchr(rec->start, 0, len))
        return broken(csv, err, csv->line, -EINVAL,
                      "a NUL byte: this is not a text file, or it was damaged");
    if (!rec->quotes) {
        *ret_n = split_plain(csv, rec, max);
        return 0;
    }
    return split_quoted(csv, rec, max, ret_n, err);
}

/* The next record that is not blank, without its line end. */
static int next_record(struct dv_csv *csv, struct record *rec, struct dv_err *err)
{
    for (;;) {
        int r = find_record(csv, rec, err);
        if (r <= 0)
            return r;
        if (rec->end > rec->start && rec->end[-1] == '\r')
            rec->end--;
        if (rec->end > rec->start)
            return 1;
    }
}

int dv_csv_next(struct dv_csv *csv, struct dv_err *err)
{
    if (csv->broken)
        return dv_err_set(err, csv->broken, "%.*s: not read on after an error", NAME_MAX_SHOWN,
                          csv->name);
    struct record rec = {0};
    int r = next_record(csv, &rec, err);
    if (r <= 0)
        return r;
    size_t n = 0;
    r = split(csv, &rec, csv->n_columns, &n, err);
    if (r < 0)
        return r;
    return n == csv->n_columns ? 1 : count_mismatch(csv, n, err);
}

/* ---- the header ----------------------------------------------------------------------------- */

static char find_separator(const struct record *rec)
{
    size_t len = (size_t)(rec->end - rec->start);
    if (memchr(rec->start, ',', len))
        return ',';
    return memchr(rec->start, '\t', len) ? '\t' : memchr(rec->start, ';', len) ? ';' : ',';
}

/* Copies the header's fields, which lie in the buffer; blanks around a name are dropped. */
static int keep_header(struct dv_csv *csv)
{
    size_t size = 1;
    for (size_t i = 0; i < csv->n_columns; i++)
        size += csv->fields[i].len + 1;
    csv->header_text = malloc(size);
    csv->header = calloc(csv->n_columns, sizeof *csv->header);
    if (!csv->header_text || !csv->header)
        return -ENOMEM;
    char *to = csv->header_text;
    for (size_t i = 0; i < csv->n_columns; i++) {
        const char *p = csv->fields[i].text, *end = p + csv->fields[i].len;
        while (p < end && (*p == ' ' || *p == '\t'))
            p++;
        while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        csv->header[i] = to;
        if (end > p)
            memcpy(to, p, (size_t)(end - p));
        to += end - p;
        *to++ = 0;
    }
    return 0;
}

static int read_header(struct dv_csv *csv, struct dv_err *err)
{
    struct record rec = {0};
    int r = 1;
    while (r > 0 && csv->end < 3)
        r = refill(csv, err);
    if (r < 0)
        return r;
    if (csv->end >= 3 && !memcmp(csv->buf, "\xef\xbb\xbf", 3))
        csv->pos = 3;
    r = next_record(csv, &rec, err);
    if (r < 0)
        return r;
    if (!r)
        return broken(csv, err, 1, -EINVAL,
                      "empty; a line with the names of the columns is needed");
    if (memchr(rec.start, '\r', (size_t)(rec.end - rec.start)))
        return broken(csv, err, csv->line, -EINVAL,
                      "lines end in a carriage return alone; they must end in LF or CRLF");
    csv->separator = find_separator(&rec);
    r = split(csv, &rec, DV_CSV_COLUMNS_MAX, &csv->n_columns, err);
    if (r < 0)
        return r;
    if (!csv->n_columns || csv->n_columns > DV_CSV_COLUMNS_MAX)
        return broken(csv, err, csv->line, -EINVAL, "%zu columns; at most %u are read",
                      csv->n_columns, DV_CSV_COLUMNS_MAX);
    return keep_header(csv);
}

const char *dv_csv_header(const struct dv_csv *csv, size_t i)
{
    return i < csv->n_columns ? csv->header[i] : NULL;
}

static int missing_column(struct dv_csv *csv, const char *name, struct dv_err *err)
{
    dv_cleanup(dv_str_done) struct dv_str there = {0};
    char wanted[SHOWN_MAX + 4], near[SHOWN_MAX + 4];
    list_columns(csv, &there);
    const char *nearest = dv_str_nearest(name, csv->header, csv->n_columns);
    return broken(csv, err, csv->line, -EINVAL, "no column '%s'%s%s%s; there are %s",
                  shown(name, strlen(name), wanted), nearest ? " (did you mean '" : "",
                  nearest ? shown(nearest, strlen(nearest), near) : "", nearest ? "'?)" : "",
                  dv_str_get(&there));
}

static int select_one(struct dv_csv *csv, size_t i, struct dv_err *err)
{
    const char *name = csv->wanted[i].name;
    char buf[SHOWN_MAX + 4];
    size_t at = csv->n_columns;
    for (size_t k = 0; k < csv->n_columns; k++) {
        if (strcmp(csv->header[k], name) != 0)
            continue;
        if (at < csv->n_columns)
            return broken(csv, err, csv->line, -EINVAL,
                          "column '%s' is there twice, as number %zu and %zu",
                          shown(name, strlen(name), buf), at + 1, k + 1);
        at = k;
    }
    if (at == csv->n_columns && !csv->wanted[i].optional)
        return missing_column(csv, name, err);
    csv->from[i] = (uint32_t)at;
    return 0;
}

int dv_csv_select(struct dv_csv *csv, const struct dv_csv_column *columns, size_t n,
                  struct dv_err *err)
{
    free(csv->from);
    csv->n_wanted = 0;
    csv->from = calloc(n ? n : 1, sizeof *csv->from);
    if (!csv->from)
        return dv_err_set(err, -ENOMEM, "out of memory");
    csv->wanted = columns;
    for (size_t i = 0; i < n; i++) {
        int r = select_one(csv, i, err);
        if (r < 0)
            return r;
    }
    csv->n_wanted = n;
    return 0;
}

bool dv_csv_has(const struct dv_csv *csv, size_t i)
{
    return i < csv->n_wanted && csv->from[i] < csv->n_columns;
}

/* ---- fields --------------------------------------------------------------------------------- */

struct dv_csv_field dv_csv_field(const struct dv_csv *csv, size_t i)
{
    if (!dv_csv_has(csv, i))
        return (struct dv_csv_field){.text = ""};
    return csv->fields[csv->from[i]];
}

static int not_a_number(const struct dv_csv *csv, size_t i, const char *what, int r,
                        struct dv_err *err)
{
    struct dv_csv_field f = dv_csv_field(csv, i);
    char buf[SHOWN_MAX + 4];
    if (r == -ERANGE)
        return dv_csv_fail(csv, i, err, r, "%s is too large", shown(f.text, f.len, buf));
    return dv_csv_fail(csv, i, err, r, "'%s' is not %s", shown(f.text, f.len, buf), what);
}

int dv_csv_double(const struct dv_csv *csv, size_t i, double min, double max, double *ret,
                  struct dv_err *err)
{
    struct dv_csv_field f = dv_csv_field(csv, i);
    double v = 0;
    int r = dv_number_double(f.text, f.len, &v);
    if (r < 0)
        return not_a_number(csv, i, "a number", r, err);
    if (v < min || v > max)
        return dv_csv_fail(csv, i, err, -ERANGE, "%g is not between %g and %g", v, min, max);
    *ret = v;
    return 0;
}

int dv_csv_int64(const struct dv_csv *csv, size_t i, int64_t min, int64_t max, int64_t *ret,
                 struct dv_err *err)
{
    struct dv_csv_field f = dv_csv_field(csv, i);
    int64_t v = 0;
    int r = dv_number_int64(f.text, f.len, &v);
    if (r < 0)
        return not_a_number(csv, i, "a whole number", r, err);
    if (v < min || v > max)
        return dv_csv_fail(csv, i, err, -ERANGE, "%lld is not between %lld and %lld", (long long)v,
                           (long long)min, (long long)max);
    *ret = v;
    return 0;
}

int dv_csv_uint64(const struct dv_csv *csv, size_t i, uint64_t min, uint64_t max, uint64_t *ret,
                  struct dv_err *err)
{
    struct dv_csv_field f = dv_csv_field(csv, i);
    uint64_t v = 0;
    int r = dv_number_uint64(f.text, f.len, &v);
    if (r == -ERANGE && f.len && memchr(f.text, '-', f.len))
        return dv_csv_fail(csv, i, err, -ERANGE, "the number is negative");
    if (r < 0)
        return not_a_number(csv, i, "a whole number", r, err);
    if (v < min || v > max)
        return dv_csv_fail(csv, i, err, -ERANGE, "%llu is not between %llu and %llu",
                           (unsigned long long)v, (unsigned long long)min, (unsigned long long)max);
    *ret = v;
    return 0;
}

/* ---- life ----------------------------------------------------------------------------------- */

static int open_source(const char *name, int fd, const void *data, size_t size, struct dv_csv **ret,
                       struct dv_err *err)
{
    dv_cleanup(dv_csv_freep) struct dv_csv *csv = calloc(1, sizeof *csv);
    int r = csv ? dv_csv_source_new(fd, data, size, &csv->source) : -ENOMEM;
    if (r < 0) {
        if (fd > STDIN_FILENO)
            close(fd);
        return dv_err_set(err, r, "out of memory");
    }
    char shown_name[NAME_MAX_SHOWN + 1];
    snprintf(shown_name, sizeof shown_name, "%s", name);
    for (char *p = shown_name; *p; p++)
        if (*p < ' ')
            *p = '?';
    csv->name = strdup(shown_name);
    csv->buf = calloc(BUFFER_SIZE + 1, 1);
    csv->fields = malloc(DV_CSV_COLUMNS_MAX * sizeof *csv->fields);
    if (!csv->name || !csv->buf || !csv->fields)
        return dv_err_set(err, -ENOMEM, "out of memory");
    r = read_header(csv, err);
    if (r == -ENOMEM)
        return dv_err_set(err, r, "out of memory");
    if (r < 0)
        return r;
    *ret = csv;
    csv = NULL;
    return 0;
}

int dv_csv_open(const char *path, struct dv_csv **ret, struct dv_err *err)
{
    if (!strcmp(path, "-"))
        return open_source("<standard input>", STDIN_FILENO, NULL, 0, ret, err);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        int r = -errno;
        return dv_err_set(err, r, "%.*s: %s", NAME_MAX_SHOWN, path, strerror(-r));
    }
    return open_source(path, fd, NULL, 0, ret, err);
}

int dv_csv_open_memory(const char *name, const void *data, size_t size, struct dv_csv **ret,
                       struct dv_err *err)
{
    return open_source(name, -1, data, size, ret, err);
}

void dv_csv_free(struct dv_csv *csv)
{
    if (!csv)
        return;
    dv_csv_source_free(csv->source);
    free(csv->name);
    free(csv->buf);
    free(csv->fields);
    free(csv->header_text);
    free(csv->header);
    free(csv->from);
    free(csv);
}

uint64_t dv_csv_line(const struct dv_csv *csv)
{
    return csv->line;
}

void dv_csv_progress(const struct dv_csv *csv, uint64_t *ret_read, uint64_t *ret_total)
{
    dv_csv_source_progress(csv->source, ret_read, ret_total);
}
