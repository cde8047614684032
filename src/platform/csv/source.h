/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes under a CSV file: of a descriptor or of memory, gunzipped where they are gzip. */
#ifndef DV_CSV_SOURCE_H
#define DV_CSV_SOURCE_H

#include "base/err.h"

#include <stdbool.h>

struct dv_csv_source;

/* fd < 0: the bytes are data[size]. The descriptor is closed with the source. -ENOMEM. */
int dv_csv_source_new(int fd, const void *data, size_t size, struct dv_csv_source **ret);
void dv_csv_source_free(struct dv_csv_source *s);

/* Up to `size` bytes, size > 0. Their number; 0 at the end; -errno of read (-EINTR:
 * a signal came; ask again), -EINVAL (damaged or cut
 * gzip, a compression that is not gzip), with a message that does not name the file. */
int64_t dv_csv_source_read(struct dv_csv_source *s, void *buf, size_t size, struct dv_err *err);

/* Bytes taken from the descriptor so far, and how many it has (0: unknown). */
void dv_csv_source_progress(const struct dv_csv_source *s, uint64_t *ret_read, uint64_t *ret_total);

#endif
