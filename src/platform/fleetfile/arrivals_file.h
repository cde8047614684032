/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recorded requests: a CSV file (csv/csv.h) with the columns tenant and arrival_s, a row for each
 * request, seconds since the start, in any order.
 *
 *     tenant,arrival_s
 *     0,0.058960771315993456
 *     web,0.2
 *
 * A tenant is a number or any name without control characters. Numbers come in their order, with
 * names among them all come in the order in which the file names them. Messages begin with
 * FILE:LINE.
 */
#ifndef DV_FLEETFILE_ARRIVALS_FILE_H
#define DV_FLEETFILE_ARRIVALS_FILE_H

#include "simulate/modes/arrivals.h"

#define DV_ARRIVALS_FILE_NAME 64u
#define DV_ARRIVALS_FILE_ROWS_MAX 50000000u /* 8 bytes each are held */

struct dv_arrivals_file {
    uint32_t tenants; /* at least 1 */
    char names[DV_ARRIVALS_TENANTS_MAX][DV_ARRIVALS_FILE_NAME];
    struct dv_arrivals_recorded recorded[DV_ARRIVALS_TENANTS_MAX];
    uint64_t *times[DV_ARRIVALS_TENANTS_MAX]; /* ascending; owned */
    uint64_t rows;
};

/* path "-": the standard input. 0; -EINVAL, -ERANGE, -E2BIG, -errno of open or read with a message;
 * -ENOMEM. */
int dv_arrivals_file_load(const char *path, struct dv_arrivals_file **ret, struct dv_err *err);
/* The same of bytes; `name` stands in messages. */
int dv_arrivals_file_read(const char *name, const void *data, size_t size,
                          struct dv_arrivals_file **ret, struct dv_err *err);
void dv_arrivals_file_free(struct dv_arrivals_file *f);
static inline void dv_arrivals_file_freep(struct dv_arrivals_file **f)
{
    dv_arrivals_file_free(*f);
}

#endif
