/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two ledgers of the arbiter (arbiter.c): for whom entities waited, and what a device lost to
 * hand-overs and switches. Sums only; no decision depends on them.
 *
 * For whom: a matrix of entities by holders, with a column for time in which nobody held and one
 * for holders that have gone. A row sums to what its entity waited, exactly.
 *
 * Lost: of each lease, the time that was not charged (before its first kernel, after its last one),
 * as far as somebody else waited meanwhile. A successor may have started before its predecessor's
 * end was heard, and pays for that time; it shows as a lease that is charged for more than it
 * spans. So losses are summed with their signs, and a lease's is believed only at the end of the
 * next one: then charged plus lost time never exceeds the time that has passed.
 */
#ifndef DV_GOVERN_LOST_H
#define DV_GOVERN_LOST_H

#include "base/macros.h"

struct dv_wait_matrix {
    uint32_t n;
    uint64_t *cells; /* n rows of n + 2 */
};

/* 0, -ENOMEM. */
int dv_wait_matrix_new(struct dv_wait_matrix *m, uint32_t entities);
void dv_wait_matrix_done(struct dv_wait_matrix *m);
/* holder: an entity, or dv_wait_matrix_nobody(). */
void dv_wait_matrix_add(struct dv_wait_matrix *m, uint32_t entity, uint32_t holder, uint64_t ns);
uint64_t dv_wait_matrix_get(const struct dv_wait_matrix *m, uint32_t entity, uint32_t column);
static inline uint32_t dv_wait_matrix_nobody(const struct dv_wait_matrix *m)
{
    return m->n;
}
static inline uint32_t dv_wait_matrix_gone(const struct dv_wait_matrix *m)
{
    return m->n + 1;
}
/* Its row begins anew; what others waited for it becomes waiting for somebody who has gone. */
void dv_wait_matrix_remove(struct dv_wait_matrix *m, uint32_t entity);

/* Of one lease. */
struct dv_lost_lease {
    uint64_t span_ns;      /* how long the turn was its own */
    uint64_t contended_ns; /* and of that, while others waited */
    int64_t lost_ns;       /* as booked */
};

/* Of the device. */
struct dv_lost {
    int64_t pending_ns; /* booked, not yet believed; negative: charged twice, to be made up for */
    int64_t newest_ns;  /* of that, the last lease's */
    uint64_t total_ns;  /* only grows */
};

/* The lease's charge is this now: again whenever it is corrected. Returns by how much its loss has
 * changed. */
int64_t dv_lost_book(struct dv_lost *lost, struct dv_lost_lease *lease, int64_t charged_ns);
/* A lease has just ended and was booked: the ones before it are believed, as far as `room_ns` goes:
 * elapsed time without what is charged and lost already. */
void dv_lost_settle(struct dv_lost *lost, const struct dv_lost_lease *lease, int64_t room_ns);

#endif
