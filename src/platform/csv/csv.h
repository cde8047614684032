/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CSV files, streamed, plain or gzipped (told by the first bytes, not by the name; several gzip
 * members after another are one file). RFC 4180: fields in double quotes may hold separators, line
 * ends and doubled quotes; lines end in LF or CRLF. A UTF-8 mark at the start is skipped, blank
 * lines are too. The first record is the header: the caller names the columns that it wants, others
 * are ignored. Where the header has no comma, a semicolon or a tab separates.
 *
 *     dv_cleanup(dv_csv_freep) struct dv_csv *csv = NULL;
 *     static const struct dv_csv_column columns[] = {{"time"}, {"value"}, {"note", .optional = 1}};
 *     r = dv_csv_open(path, &csv, &err);
 *     r = r < 0 ? r : dv_csv_select(csv, columns, 3, &err);
 *     while (r >= 0 && (r = dv_csv_next(csv, &err)) > 0)
 *         r = dv_csv_double(csv, 0, 0, 4e9, &time, &err);
 *
 * Memory is bounded: a record has at most DV_CSV_RECORD_MAX bytes and DV_CSV_COLUMNS_MAX fields.
 * Messages begin with FILE:LINE, the line on which the record starts; what they quote of a file is
 * made printable.
 */
#ifndef DV_CSV_CSV_H
#define DV_CSV_CSV_H

#include "base/err.h"

#include <stdbool.h>

#define DV_CSV_RECORD_MAX 262144u
#define DV_CSV_COLUMNS_MAX 1024u

struct dv_csv_column {
    const char *name;
    bool optional; /* a file without it is accepted; its field is then empty in every row */
};

struct dv_csv_field {
    const char *text; /* NUL-terminated; until the next row is asked for */
    size_t len;
};

struct dv_csv;

/* "-" is the standard input. Reads the header. 0; -errno of open or read; -EINVAL: not CSV (empty,
 * another compression, UTF-16, damaged gzip...). */
int dv_csv_open(const char *path, struct dv_csv **ret, struct dv_err *err);
/* The same of bytes in memory, which must outlive the reader; `name` stands in messages. */
int dv_csv_open_memory(const char *name, const void *data, size_t size, struct dv_csv **ret,
                       struct dv_err *err);
void dv_csv_free(struct dv_csv *csv);
static inline void dv_csv_freep(struct dv_csv **csv)
{
    dv_csv_free(*csv);
}

/* Which columns the rows shall have, in this order; the names must live as long as the reader.
 * Once, before the first row. -EINVAL: a column is missing, or is there twice; the message lists
 * those that are there. */
int dv_csv_select(struct dv_csv *csv, const struct dv_csv_column *columns, size_t n,
                  struct dv_err *err);
/* The header's columns as they are; NULL beyond the last. */
const char *dv_csv_header(const struct dv_csv *csv, size_t i);
/* Whether optional column i is in the file. */
bool dv_csv_has(const struct dv_csv *csv, size_t i);

/* The next row: 1; 0 at the end; -EINVAL: it is not CSV, has more or fewer fields than the header,
 * a NUL byte, is longer than the bound, or the file was cut; -errno of read. After an error there
 * is no further row, but for -EINTR: a signal came while a pipe was silent, and one may ask again.
 */
int dv_csv_next(struct dv_csv *csv, struct dv_err *err);
/* Field i of the current row, i as in dv_csv_select(). */
struct dv_csv_field dv_csv_field(const struct dv_csv *csv, size_t i);
/* The same as a number in [min, max], or -EINVAL, -ERANGE with a message. */
int dv_csv_double(const struct dv_csv *csv, size_t i, double min, double max, double *ret,
                  struct dv_err *err);
int dv_csv_int64(const struct dv_csv *csv, size_t i, int64_t min, int64_t max, int64_t *ret,
                 struct dv_err *err);
int dv_csv_uint64(const struct dv_csv *csv, size_t i, uint64_t min, uint64_t max, uint64_t *ret,
                  struct dv_err *err);

/* For the caller's own refusals: writes "FILE:LINE: column 'NAME': ..." and returns r. i =
 * DV_CSV_ROW: about the row as a whole. */
#define DV_CSV_ROW SIZE_MAX
int dv_csv_fail(const struct dv_csv *csv, size_t i, struct dv_err *err, int r, const char *fmt, ...)
    dv_printf(5, 6);

uint64_t dv_csv_line(const struct dv_csv *csv); /* of the current row */
/* How far the file has been read, for progress: bytes as they lie on the disk; a total of 0 is
 * unknown (a pipe). */
void dv_csv_progress(const struct dv_csv *csv, uint64_t *ret_read, uint64_t *ret_total);

#endif
