/* SPDX-License-Identifier: Apache-2.0 */
#include "fleetfile/demand_file.h"

#include "base/str.h"
#include "base/zone.h"
#include "csv/csv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNKNOWN DV_MIG_DEMAND_UNKNOWN
#define STEP_MAX (UINT64_C(31) * 86400)
#define KUBERNETES "nvidia.com/mig-"
#define COLUMNS_MAX (1 + DV_MIG_PROFILES_MAX)
#define LONG_NAME (DV_MIG_NAME + sizeof KUBERNETES)

/* A row: when, its place in the file, and what was wanted (in `values` of the reader). */
struct row {
    int64_t unix_s;
    uint32_t at;
};

struct reader {
    struct dv_csv *csv;
    struct dv_demand_file *file;
    struct row *rows;
    int32_t *values;
    size_t room;
    struct dv_csv_column columns[COLUMNS_MAX];
    char names[DV_MIG_PROFILES_MAX][LONG_NAME]; /* of columns, as the file has them */
    struct dv_err *err;
};

/* ---- columns ---- */

static const char *short_name(const char *column)
{
    size_t len = strlen(KUBERNETES);
    return strncmp(column, KUBERNETES, len) ? column : column + len;
}

/* Kubernetes cannot write a "+" in a name: 1g.10gb+me is 1g.10gb.me there. */
static bool is_profile(const char *column, const char *profile)
{
    const char *s = short_name(column);
    size_t i = 0;
    for (; s[i] && profile[i]; i++)
        if (s[i] != profile[i] && !(s != column && profile[i] == '+' && s[i] == '.'))
            return false;
    return s[i] == profile[i];
}

/* As 3g.40gb or 1c.2g.20gb, whatever GPU has it. */
static bool looks_like_profile(const char *column)
{
    const char *s = short_name(column);
    size_t digits = strspn(s, "0123456789");
    return digits && (s[digits] == 'g' || s[digits] == 'c') && s[digits + 1] == '.' &&
           s[digits + 2] >= '0' && s[digits + 2] <= '9';
}

static void note_foreign(struct reader *in, const struct dv_mig_geometry *g)
{
    struct dv_demand_file *f = in->file;
    for (size_t i = 0; dv_csv_header(in->csv, i); i++) {
        const char *column = dv_csv_header(in->csv, i);
        uint32_t p = 0;
        while (p < g->n_profiles && !is_profile(column, g->profiles[p].name))
            p++;
        if (p < g->n_profiles || !looks_like_profile(column) || f->n_foreign++)
            continue;
        for (size_t k = 0; column[k] && k + 1 < sizeof f->foreign; k++)
            f->foreign[k] = column[k];
        for (char *c = f->foreign; *c; c++)
            if (*c < ' ' || *c > '~')
                *c = '?';
    }
}

static int no_profile(struct reader *in, const struct dv_mig_geometry *g)
{
    return dv_csv_fail(in->csv, DV_CSV_ROW, in->err, -EINVAL,
                       "no column is called like a MIG profile of this GPU, as '%s'",
                       g->profiles[0].name);
}

static int select_columns(struct reader *in, const struct dv_mig_geometry *g)
{
    struct dv_demand_file *f = in->file;
    in->columns[0].name = "time";
    for (uint32_t p = 0; p < g->n_profiles; p++)
        for (size_t i = 0; dv_csv_header(in->csv, i); i++) {
            const char *column = dv_csv_header(in->csv, i);
            uint32_t n = f->n_profiles;
            if (!is_profile(column, g->profiles[p].name))
                continue;
            if (n && f->profiles[n - 1] == p)
                return dv_csv_fail(in->csv, DV_CSV_ROW, in->err, -EINVAL,
                                   "two columns for the profile %s", g->profiles[p].name);
            if (dv_str_copy(in->names[n], LONG_NAME, column) < 0)
                continue;
            f->profiles[n] = p;
            in->columns[1 + n].name = in->names[n];
            f->n_profiles++;
        }
    if (!f->n_profiles)
        return no_profile(in, g);
    note_foreign(in, g);
    return dv_csv_select(in->csv, in->columns, 1 + f->n_profiles, in->err);
}

/* ---- rows ---- */

static int grow(struct reader *in)
{
    struct dv_demand_file *f = in->file;
    if (f->rows < in->room)
        return 0;
    if (f->rows == DV_DEMAND_FILE_ROWS_MAX) {
        dv_csv_fail(in->csv, DV_CSV_ROW, in->err, -E2BIG, "more than %u rows",
                    DV_DEMAND_FILE_ROWS_MAX);
        return -E2BIG;
    }
    size_t room = in->room ? in->room * 2 : 1024;
    struct row *rows = realloc(in->rows, room * sizeof *rows);
    if (rows)
        in->rows = rows;
    int32_t *values = realloc(in->values, room * DV_MAX(f->n_profiles, 1) * sizeof *values);
    if (values)
        in->values = values;
    if (!rows || !values) {
        dv_err_set(in->err, -ENOMEM, "out of memory");
        return -ENOMEM;
    }
    in->room = room;
    return 0;
}

static int read_value(struct reader *in, size_t column, int32_t *ret)
{
    double v = 0;
    *ret = UNKNOWN;
    if (!dv_csv_field(in->csv, column).len)
        return 0;
    int r = dv_csv_double(in->csv, column, 0, DV_MIG_DEMAND_MAX / 1e3, &v, in->err);
    if (r == 0)
        *ret = (int32_t)(v * 1000 + 0.5);
    return r;
}

/* Fractions of a second, as Prometheus writes them, are cut off. */
static int read_time(struct reader *in, int64_t *ret)
{
    static const struct dv_zone utc = {.name = ""};
    const char *text = dv_csv_field(in->csv, 0).text;
    char whole[24] = "";
    size_t digits = strspn(text, "0123456789");
    if (text[digits] == '.' && digits < sizeof whole &&
        !text[digits + 1 + strspn(text + digits + 1, "0123456789")]) {
        memcpy(whole, text, digits);
        text = whole;
    }
    if (dv_zone_parse(&utc, text, ret, NULL) < 0)
        return dv_csv_fail(in->csv, 0, in->err, -EINVAL,
                           "not a time between 1970 and 2100; write 2026-03-29T14:30Z, or seconds "
                           "since 1970");
    return 0;
}

static int read_row(struct reader *in)
{
    struct dv_demand_file *f = in->file;
    int64_t unix_s = 0;
    int r = grow(in);
    if (r < 0)
        return r;
    r = read_time(in, &unix_s);
    for (uint32_t p = 0; p < f->n_profiles && r == 0; p++)
        r = read_value(in, 1 + p, &in->values[f->rows * f->n_profiles + p]);
    if (r < 0)
        return r;
    f->out_of_order += f->rows && unix_s < in->rows[f->rows - 1].unix_s;
    in->rows[f->rows] = (struct row){unix_s, (uint32_t)f->rows};
    f->rows++;
    return 0;
}

/* ---- steps ---- */

static int by_time(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->unix_s != y->unix_s)
        return x->unix_s < y->unix_s ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* The mean of the rows [from, to) for one profile. */
static int32_t mean(const struct reader *in, size_t from, size_t to, uint32_t profile)
{
    int64_t sum = 0, n = 0;
    for (size_t i = from; i < to; i++) {
        int32_t v = in->values[in->rows[i].at * (size_t)in->file->n_profiles + profile];
        if (v == UNKNOWN ||
            (i + 1 < in->file->rows && in->rows[i + 1].unix_s == in->rows[i].unix_s))
            continue;
        sum += v;
        n++;
    }
    return n ? (int32_t)((sum + n / 2) / n) : UNKNOWN;
}

static void fill_steps(struct reader *in)
{
    struct dv_demand_file *f = in->file;
    size_t at = 0;
    for (size_t t = 0; t < f->n; t++) {
        int64_t end = f->start_unix + (int64_t)((t + 1) * f->step_s);
        size_t from = at;
        while (at < f->rows && in->rows[at].unix_s < end)
            at++;
        f->gaps += at == from;
        for (uint32_t p = 0; p < f->n_profiles; p++)
            f->demand[t * f->n_profiles + p] = mean(in, from, at, p);
    }
}

static int make_steps(struct reader *in)
{
    struct dv_demand_file *f = in->file;
    if (!f->rows || !in->rows)
        return dv_csv_fail(in->csv, DV_CSV_ROW, in->err, -EINVAL, "no rows, only a header");
    qsort(in->rows, f->rows, sizeof *in->rows, by_time);
    for (size_t i = 1; i < f->rows; i++)
        f->duplicates += in->rows[i].unix_s == in->rows[i - 1].unix_s;
    int64_t step = (int64_t)f->step_s, first = in->rows[0].unix_s,
            last = in->rows[f->rows - 1].unix_s;
    f->start_unix = first - first % step;
    uint64_t n = (uint64_t)(last - f->start_unix) / f->step_s + 1;
    if (n > DV_MIG_FORECAST_STEPS_MAX)
        return dv_csv_fail(in->csv, DV_CSV_ROW, in->err, -E2BIG,
                           "the rows span %llu steps; at most %u can be used: take a longer step",
                           (unsigned long long)n, DV_MIG_FORECAST_STEPS_MAX);
    f->n = (size_t)n;
    f->demand = calloc(DV_MAX(f->n * f->n_profiles, 1), sizeof *f->demand);
    if (!f->demand)
        return dv_err_set(in->err, -ENOMEM, "out of memory");
    fill_steps(in);
    return 0;
}

static int read_all(struct reader *in, const struct dv_mig_geometry *g)
{
    int r = select_columns(in, g);
    while (r == 0) {
        r = dv_csv_next(in->csv, in->err);
        if (r <= 0)
            break;
        r = read_row(in);
    }
    return r < 0 ? r : make_steps(in);
}

static int read_csv(struct dv_csv *csv, const struct dv_mig_geometry *g, uint64_t step_s,
                    struct dv_demand_file **ret, struct dv_err *err)
{
    if (!step_s || step_s > STEP_MAX)
        return dv_err_set(err, -ERANGE, "a step is 1 second to 31 days");
    struct reader in = {.csv = csv, .err = err, .file = calloc(1, sizeof(struct dv_demand_file))};
    if (!in.file)
        return dv_err_set(err, -ENOMEM, "out of memory");
    in.file->step_s = step_s;
    int r = read_all(&in, g);
    free(in.rows);
    free(in.values);
    if (r < 0)
        dv_demand_file_free(in.file);
    else
        *ret = in.file;
    return r;
}

int dv_demand_file_load(const char *path, const struct dv_mig_geometry *geometry, uint64_t step_s,
                        struct dv_demand_file **ret, struct dv_err *err)
{
    dv_cleanup(dv_csv_freep) struct dv_csv *csv = NULL;
    int r = dv_csv_open(path, &csv, err);
    return r < 0 ? r : read_csv(csv, geometry, step_s, ret, err);
}

int dv_demand_file_read(const char *name, const void *data, size_t size,
                        const struct dv_mig_geometry *geometry, uint64_t step_s,
                        struct dv_demand_file **ret, struct dv_err *err)
{
    dv_cleanup(dv_csv_freep) struct dv_csv *csv = NULL;
    int r = dv_csv_open_memory(name, data, size, &csv, err);
    return r < 0 ? r : read_csv(csv, geometry, step_s, ret, err);
}

void dv_demand_file_free(struct dv_demand_file *f)
{
    if (!f)
        return;
    free(f->demand);
    free(f);
}
