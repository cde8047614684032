/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Samples kept for a second look: in memory as long as they are few, then in a file without a name
 * in $TMPDIR (/tmp). 16 bytes for a sample.
 */
#ifndef DV_UI_AUDIT_SPOOL_H
#define DV_UI_AUDIT_SPOOL_H

#include "base/err.h"

#include <stdbool.h>

struct dv_spool_sample {
    int64_t unix_ns;
    uint32_t workload : 31, memory : 1; /* memory: value is bytes, else busy percent */
    float value;
};

#define DV_SPOOL_IN_MEMORY 1048576u /* samples */

struct dv_spool;

struct dv_spool *dv_spool_new(void); /* NULL: no memory */
void dv_spool_free(struct dv_spool *s);
static inline void dv_spool_freep(struct dv_spool **s)
{
    dv_spool_free(*s);
}

/* 0, -ENOMEM, -errno of the file with a message. After an error nothing more is kept. */
int dv_spool_add(struct dv_spool *s, struct dv_spool_sample sample, struct dv_err *err);

/* All of them, oldest first, in blocks; `on_samples` returns false to stop. 0, or -errno with a
 * message. May be called again; nothing may be added any more. */
typedef bool dv_spool_on_samples(void *arg, const struct dv_spool_sample *samples, size_t n);
int dv_spool_walk(struct dv_spool *s, dv_spool_on_samples *on_samples, void *arg,
                  struct dv_err *err);

#endif
