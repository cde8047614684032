/* SPDX-License-Identifier: Apache-2.0 */
#include "fleetfile/arrivals_file.h"

#include "base/str.h"
#include "csv/csv.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TENANT, ARRIVAL, COLUMNS };

static const struct dv_csv_column columns[COLUMNS] = {
    [TENANT] = {"tenant"},
    [ARRIVAL] = {"arrival_s"},
};

struct reader {
    struct dv_csv *csv;
    struct dv_arrivals_file *file;
    size_t room[DV_ARRIVALS_TENANTS_MAX];
    uint32_t last; /* tenant of the last row */
    struct dv_err *err;
};

/* ---- tenants ---- */

static int add_name(struct reader *in, struct dv_csv_field field, uint32_t *ret)
{
    struct dv_arrivals_file *f = in->file;
    if (!field.len)
        return dv_csv_fail(in->csv, TENANT, in->err, -EINVAL, "no tenant");
    for (size_t i = 0; i < field.len; i++)
        if ((unsigned char)field.text[i] < ' ' || field.text[i] == 0x7f)
            return dv_csv_fail(in->csv, TENANT, in->err, -EINVAL, "a control character");
    if (f->tenants == DV_ARRIVALS_TENANTS_MAX)
        return dv_csv_fail(in->csv, TENANT, in->err, -E2BIG,
                           "the tenant after the first %u; no more can be simulated on one card",
                           DV_ARRIVALS_TENANTS_MAX);
    if (dv_str_copy(f->names[f->tenants], DV_ARRIVALS_FILE_NAME, field.text) < 0)
        return dv_csv_fail(in->csv, TENANT, in->err, -E2BIG, "longer than %u bytes",
                           DV_ARRIVALS_FILE_NAME - 1);
    *ret = f->tenants++;
    return 0;
}

static int find_tenant(struct reader *in, uint32_t *ret)
{
    struct dv_csv_field field = dv_csv_field(in->csv, TENANT);
    const struct dv_arrivals_file *f = in->file;
    if (f->tenants && !strcmp(f->names[in->last], field.text)) {
        *ret = in->last;
        return 0;
    }
    for (uint32_t t = 0; t < f->tenants; t++)
        if (!strcmp(f->names[t], field.text)) {
            *ret = in->last = t;
            return 0;
        }
    int r = add_name(in, field, ret);
    if (r == 0)
        in->last = *ret;
    return r;
}

/* ---- rows ---- */

static int add_time(struct reader *in, uint32_t tenant, uint64_t at_ns)
{
    struct dv_arrivals_file *f = in->file;
    size_t n = f->recorded[tenant].n;
    if (f->rows == DV_ARRIVALS_FILE_ROWS_MAX)
        return dv_csv_fail(in->csv, DV_CSV_ROW, in->err, -E2BIG, "more than %u requests",
                           DV_ARRIVALS_FILE_ROWS_MAX);
    if (n == in->room[tenant]) {
        size_t room = n ? n * 2 : 256;
        uint64_t *times = realloc(f->times[tenant], room * sizeof *times);
        if (!times)
            return dv_err_set(in->err, -ENOMEM, "out of memory");
        f->times[tenant] = times;
        in->room[tenant] = room;
    }
    f->times[tenant][n] = at_ns;
    f->recorded[tenant].n++;
    f->rows++;
    return 0;
}

static int read_row(struct reader *in)
{
    uint32_t tenant = 0;
    double seconds = 0;
    int r = find_tenant(in, &tenant);
    if (r == 0)
        r = dv_csv_double(in->csv, ARRIVAL, 0, (double)DV_ARRIVALS_DURATION_MAX / 1e9, &seconds,
                          in->err);
    return r < 0 ? r : add_time(in, tenant, (uint64_t)llround(seconds * 1e9));
}

/* ---- order ---- */

static int by_time(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void sort_times(uint64_t *times, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (times[i] < times[i - 1]) {
            qsort(times, n, sizeof *times, by_time);
            return;
        }
}

static bool is_number(const char *name)
{
    size_t len = strspn(name, "0123456789");
    return len && len < 10 && !name[len];
}

/* By number; the few there are, by insertion. */
static void sort_tenants(struct dv_arrivals_file *f)
{
    for (uint32_t i = 0; i < f->tenants; i++)
        if (!is_number(f->names[i]))
            return;
    for (uint32_t i = 1; i < f->tenants; i++)
        for (uint32_t k = i;
             k && strtoul(f->names[k], NULL, 10) < strtoul(f->names[k - 1], NULL, 10); k--) {
            char name[DV_ARRIVALS_FILE_NAME];
            uint64_t *times = f->times[k];
            size_t n = f->recorded[k].n;
            memcpy(name, f->names[k], sizeof name);
            memcpy(f->names[k], f->names[k - 1], sizeof name);
            memcpy(f->names[k - 1], name, sizeof name);
            f->times[k] = f->times[k - 1];
            f->times[k - 1] = times;
            f->recorded[k].n = f->recorded[k - 1].n;
            f->recorded[k - 1].n = n;
        }
}

static int read_all(struct reader *in)
{
    int r = dv_csv_select(in->csv, columns, COLUMNS, in->err);
    while (r == 0) {
        r = dv_csv_next(in->csv, in->err);
        if (r <= 0)
            break;
        r = read_row(in);
    }
    struct dv_arrivals_file *f = in->file;
    if (r == 0 && !f->rows)
        r = dv_csv_fail(in->csv, DV_CSV_ROW, in->err, -EINVAL, "no requests, only a header");
    if (r < 0)
        return r;
    sort_tenants(f);
    for (uint32_t t = 0; t < f->tenants; t++) {
        sort_times(f->times[t], f->recorded[t].n);
        f->recorded[t].at_ns = f->times[t];
    }
    return 0;
}

static int read_csv(struct dv_csv *csv, struct dv_arrivals_file **ret, struct dv_err *err)
{
    struct reader in = {.csv = csv, .err = err, .file = calloc(1, sizeof(struct dv_arrivals_file))};
    if (!in.file)
        return dv_err_set(err, -ENOMEM, "out of memory");
    int r = read_all(&in);
    if (r < 0)
        dv_arrivals_file_free(in.file);
    else
        *ret = in.file;
    return r;
}

int dv_arrivals_file_load(const char *path, struct dv_arrivals_file **ret, struct dv_err *err)
{
    dv_cleanup(dv_csv_freep) struct dv_csv *csv = NULL;
    int r = dv_csv_open(path, &csv, err);
    return r < 0 ? r : read_csv(csv, ret, err);
}

int dv_arrivals_file_read(const char *name, const void *data, size_t size,
                          struct dv_arrivals_file **ret, struct dv_err *err)
{
    dv_cleanup(dv_csv_freep) struct dv_csv *csv = NULL;
    int r = dv_csv_open_memory(name, data, size, &csv, err);
    return r < 0 ? r : read_csv(csv, ret, err);
}

void dv_arrivals_file_free(struct dv_arrivals_file *f)
{
    if (!f)
        return;
    for (uint32_t t = 0; t < f->tenants; t++)
        free(f->times[t]);
    free(f);
}
