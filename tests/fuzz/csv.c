/* SPDX-License-Identifier: Apache-2.0 */
/* CSV, plain and gzipped: any bytes are rows of as many fields as wanted, or an error that prints.
 */
#include "csv/csv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(const char *text)
{
    if (!*text)
        abort();
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            abort();
}

static int check_row(const struct dv_csv *csv, size_t n, struct dv_err *err)
{
    int r = 0;
    for (size_t i = 0; i < n; i++) {
        struct dv_csv_field f = dv_csv_field(csv, i);
        double d;
        uint64_t u;
        if (f.text[f.len] || strlen(f.text) != f.len)
            abort();
        r = dv_csv_double(csv, i, -1e300, 1e300, &d, err);
        if (r < 0)
            check_message(err->msg);
        else if (!(d >= -1e300 && d <= 1e300))
            abort();
        if (dv_csv_uint64(csv, i, 0, 1000, &u, err) == 0 && (u > 1000 || r < 0))
            abort();
    }
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dv_csv *csv = NULL;
    struct dv_err err = {{0}};
    int r = dv_csv_open_memory("fuzz.csv", data, size, &csv, &err);
    if (r < 0) {
        if (csv)
            abort();
        check_message(err.msg);
        return 0;
    }
    const struct dv_csv_column columns[] = {
        {dv_csv_header(csv, 0)}, {"value", .optional = true}, {"workload", .optional = true}};
    r = dv_csv_select(csv, columns, 3, &err);
    uint64_t rows = 0;
    while (r >= 0 && (r = dv_csv_next(csv, &err)) > 0) {
        check_row(csv, 3, &err);
        if (++rows > 1100 * (size + 1)) /* what gzip can make of so many bytes */
            abort();
    }
    if (r < 0)
        check_message(err.msg);
    dv_csv_free(csv);
    return 0;
}
