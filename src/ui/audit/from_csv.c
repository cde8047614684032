/* SPDX-License-Identifier: Apache-2.0 */
/* Telemetry as CSV: whose columns are named by the caller, with values and times as tools write
 * them. */
#include "base/number.h"
#include "base/zone.h"
#include "csv/csv.h"
#include "feed.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

enum column { TIME, VALUE, WORKLOAD, GPU, COLUMNS };

struct names {
    char text[1024];
    const char *of[COLUMNS];
    const char *own_value; /* utilization= or memory=, in place of value= */
};

/* ---- --columns ------------------------------------------------------------------------------ */

static int set_name(struct names *n, bool memory, const char *key, const char *name,
                    struct dv_err *err)
{
    static const char *const keys[] = {"time", "value", "workload", "gpu", "utilization", "memory"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(keys); i++) {
        if (strcmp(key, keys[i]) != 0)
            continue;
        if (i < COLUMNS)
            n->of[i] = name;
        else if (memory == (i == COLUMNS + 1))
            n->own_value = name;
        return 0;
    }
    const char *near = dv_str_nearest(key, keys, DV_ARRAY_SIZE(keys));
    return dv_err_set(
        err, -EINVAL,
        "--columns: '%.40s' is not known%s%s%s; there are time, value, workload, gpu, "
        "utilization, memory",
        key, near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
}

static int read_names(const char *text, bool memory, struct names *ret, struct dv_err *err)
{
    *ret = (struct names){.of = {"time", "value", "workload", "gpu"}};
    if (text && dv_str_copy(ret->text, sizeof ret->text, text) < 0)
        return dv_err_set(err, -EINVAL, "--columns is too long");
    for (char *p = text ? ret->text : NULL; p;) {
        char *key = strsep(&p, ","), *equals = strchr(key, '=');
        if (!equals || equals == key || !equals[1])
            return dv_err_set(err, -EINVAL, "--columns: '%.60s' is not KEY=COLUMN", key);
        *equals = 0;
        int r = set_name(ret, memory, key, equals + 1, err);
        if (r < 0)
            return r;
    }
    if (ret->own_value)
        ret->of[VALUE] = ret->own_value;
    return 0;
}

/* ---- fields --------------------------------------------------------------------------------- */

/* "", "NaN", "N/A", "[N/A]", "[Not Supported]", "null", "None", "-". */
static bool is_missing(struct dv_csv_field f)
{
    static const char *const words[] = {"nan",  "n/a",  "[n/a]", "[not supported]",
                                        "null", "none", "-"};
    const char *p = f.text;
    while (*p == ' ')
        p++;
    if (!*p)
        return true;
    if (*p >= '0' && *p <= '9')
        return false;
    for (size_t i = 0; i < DV_ARRAY_SIZE(words); i++)
        if (!strcasecmp(p, words[i]))
            return true;
    return false;
}

/* A number and, as nvidia-smi writes it, its unit: "45 %", "1234 MiB". */
static int read_value(const struct dv_csv *csv, double scale, double *ret, struct dv_err *err)
{
    static const struct {
        const char *unit;
        double factor;
    } units[] = {
        {"%", 1}, {"B", 1}, {"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0},
    };
    struct dv_csv_field f = dv_csv_field(csv, VALUE);
    double v = 0;
    if (dv_number_double(f.text, f.len, &v) == 0) {
        *ret = v * scale;
        return 0;
    }
    size_t n = f.len;
    while (n && f.text[n - 1] == ' ')
        n--;
    size_t end = n;
    while (n && strchr("%BKMGi", f.text[n - 1]))
        n--;
    for (size_t i = 0; n && i < DV_ARRAY_SIZE(units); i++) {
        if (strlen(units[i].unit) != end - n || strncmp(f.text + n, units[i].unit, end - n) != 0 ||
            dv_number_double(f.text, n, &v) < 0)
            continue;
        *ret = v * units[i].factor;
        return 0;
    }
    return dv_csv_double(csv, VALUE, 0, 0, ret, err); /* says what is wrong */
}

/* Seconds since 1970, or thousandths, millionths, billionths of one: told by their size. */
static int read_unix(const struct dv_csv *csv, double v, int64_t *ret_ns, struct dv_err *err)
{
    double scale = v < 1e11 ? 1e9 : v < 1e14 ? 1e6 : v < 1e17 ? 1e3 : 1;
    if (v < 0 || v * scale >= 0x1p63) /* the year 2262 */
        return dv_csv_fail(csv, TIME, err, -ERANGE, "%g is not a time since 1970", v);
    int64_t whole = (int64_t)v;
    *ret_ns = whole * (int64_t)scale + (int64_t)((v - (double)whole) * scale);
    return 0;
}

/* A date and a time of day as text, UTC where it does not say otherwise; nvidia-smi's slashes, and
 * a fraction of a second. */
static int read_date(const struct dv_csv *csv, struct dv_csv_field f, int64_t *ret_ns,
                     struct dv_err *err)
{
    static const struct dv_zone utc = {.n = 0};
    char text[64];
    int64_t unix_s = 0, fraction = 0;
    while (*f.text == ' ')
        f.text++, f.len--;
    if (f.len < 10 || f.len >= sizeof text)
        return dv_csv_fail(csv, TIME, err, -EINVAL, "'%.40s' is not a time", f.text);
    memcpy(text, f.text, f.len + 1);
    if (text[4] == '/' && text[7] == '/')
        text[4] = text[7] = '-';
    char *point = strchr(text, '.');
    if (point) {
        char *end = point + 1;
        int64_t unit = INT64_C(1000000000);
        for (; *end >= '0' && *end <= '9'; end++)
            if (unit > 1)
                fraction += (*end - '0') * (unit /= 10);
        memmove(point, end, strlen(end) + 1);
    }
    struct dv_err why = {{0}};
    int r = dv_zone_parse(&utc, text, &unix_s, &why);
    if (r < 0)
        return dv_csv_fail(csv, TIME, err, r, "%.200s", why.msg);
    *ret_ns = unix_s * (int64_t)DV_NS_PER_S + fraction;
    return 0;
}

static int read_other_time(const struct dv_csv *csv, int64_t *ret_ns, struct dv_err *err)
{
    struct dv_csv_field f = dv_csv_field(csv, TIME);
    double v = 0;
    int64_t whole = 0;
    if (dv_number_int64(f.text, f.len, &whole) == 0 && whole > INT64_C(100000000000000000)) {
        *ret_ns = whole; /* nanoseconds: a double would round them */
        return 0;
    }
    return dv_number_double(f.text, f.len, &v) == 0 ? read_unix(csv, v, ret_ns, err)
                                                    : read_date(csv, f, ret_ns, err);
}

/* The last time that was read: rows of many workloads share theirs. */
struct last_time {
    char text[32];
    size_t len;
    int64_t ns;
};

static int read_time(const struct dv_csv *csv, struct last_time *last, int64_t *ret_ns,
                     struct dv_err *err)
{
    struct dv_csv_field f = dv_csv_field(csv, TIME);
    if (f.len && f.len == last->len && !memcmp(f.text, last->text, f.len)) {
        *ret_ns = last->ns;
        return 0;
    }
    int r = read_other_time(csv, ret_ns, err);
    last->len = 0;
    if (r == 0 && f.len <= sizeof last->text) {
        memcpy(last->text, f.text, f.len);
        last->len = f.len;
        last->ns = *ret_ns;
    }
    return r;
}

/* A name without blanks around it, which some tools write after each comma. */
static const char *read_name(struct dv_csv_field f, char buf[DV_AUDIT_NAME_MAX + 2])
{
    while (*f.text == ' ')
        f.text++, f.len--;
    while (f.len && f.text[f.len - 1] == ' ')
        f.len--;
    size_t n = DV_MIN(f.len, (size_t)DV_AUDIT_NAME_MAX + 1); /* one more is too long, and refused */
    memcpy(buf, f.text, n);
    buf[n] = 0;
    return buf;
}

/* The header once more, where logs were put behind one another. */
static bool is_header(const struct dv_csv *csv, const struct names *names)
{
    char time[DV_AUDIT_NAME_MAX + 2], value[DV_AUDIT_NAME_MAX + 2];
    return !strcmp(read_name(dv_csv_field(csv, TIME), time), names->of[TIME]) &&
           !strcmp(read_name(dv_csv_field(csv, VALUE), value), names->of[VALUE]);
}

/* 1: go on; 0: interrupted. */
static int read_row(const struct dv_csv *csv, struct dv_audit_feed *f,
                    const struct dv_audit_csv *how, struct last_time *last, struct dv_err *err)
{
    double value = 0;
    int64_t ns = 0;
    if (is_missing(dv_csv_field(csv, VALUE))) {
        f->missing_values++;
        return 1;
    }
    int r = read_value(csv, how->scale, &value, err);
    r = r < 0 ? r : read_time(csv, last, &ns, err);
    if (r < 0)
        return r;
    struct dv_err why = {{0}};
    char buf[DV_AUDIT_NAME_MAX + 2], gpu[DV_AUDIT_NAME_MAX + 2];
    const char *name = read_name(dv_csv_field(csv, WORKLOAD), buf);
    read_name(dv_csv_field(csv, GPU), gpu);
    if (!*name && *gpu) /* as dcgm-exporter has it of GPUs that no pod holds */
        name = DV_AUDIT_NOBODY;
    else if (!*name)
        return dv_csv_fail(csv, WORKLOAD, err, -EINVAL,
                           "empty; a row without a workload needs a GPU (--columns gpu=COLUMN)");
    r = dv_audit_feed_sample(f, name, gpu, how->memory, ns, value, &why);
    return r < 0 ? dv_csv_fail(csv, r == -ERANGE ? VALUE : WORKLOAD, err, r, "%s", why.msg) : r;
}

static int read_file(struct dv_audit_feed *f, const struct dv_audit_csv *how,
                     const struct names *names, struct dv_err *err)
{
    const struct dv_csv_column columns[COLUMNS] = {
        {names->of[TIME]}, {names->of[VALUE]}, {names->of[WORKLOAD]}, {names->of[GPU], true}};
    dv_cleanup(dv_csv_freep) struct dv_csv *csv = NULL;
    struct last_time last = {.len = 0};
    uint64_t total = 0;
    dv_long_run_begin(&f->run, "reading", "samples", 0);
    int r = dv_csv_open(how->path, &csv, err);
    r = r < 0 ? r : dv_csv_select(csv, columns, COLUMNS, err);
    if (r < 0)
        return r;
    dv_csv_progress(csv, &f->done, &total);
    if (total)
        dv_long_run_begin(&f->run, "reading", "bytes", total);
    for (uint32_t i = 1; r >= 0 && (r = dv_csv_next(csv, err)) > 0; i++) {
        if (i % 4096 == 0)
            dv_csv_progress(csv, &f->done, &total);
        r = read_row(csv, f, how, &last, err);
        if (r < 0 && is_header(csv, names))
            r = 1;
        if (r > 0 && dv_long_run_signal()) { /* before the next read, which may wait */
            f->interrupted = true;
            break;
        }
        if (r <= 0)
            break;
    }
    return r;
}

int dv_audit_from_csv(const struct dv_ui *ui, struct dv_audit_feed *f,
                      const struct dv_audit_csv *csv)
{
    struct names names;
    struct dv_err err = {{0}};
    int r = read_names(csv->columns, csv->memory, &names, &err);
    if (r < 0)
        return dv_ui_fail(ui, DV_UI_USAGE, "%s", err.msg);
    r = read_file(f, csv, &names, &err);
    dv_long_run_end(&f->run);
    if (r == -EINTR) { /* while a pipe was silent */
        f->interrupted = true;
        return DV_UI_OK;
    }
    if (r == -EACCES || r == -EPERM)
        return dv_ui_fail(ui, DV_UI_PERMISSION, "%s", err.msg);
    return r < 0 ? dv_ui_fail(ui, DV_UI_FAILURE, "%s", err.msg) : DV_UI_OK;
}
