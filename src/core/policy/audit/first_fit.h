/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first of many places that has room enough, without looking at each: a tree of maxima over the
 * places. A place offers so much on each of a few levels, and what is looked for is the first one
 * that offers at least so much on one level: the levels are what tells apart two kinds of room (as
 * memory, of those that have so much compute left). Finding and changing take time by the logarithm
 * of the number of places, and by the number of levels.
 *
 *     struct dv_first_fit f;
 *     dv_first_fit_init(&f, 2);
 *     r = dv_first_fit_set(&f, place, offers);           // places are counted from 0
 *     place = dv_first_fit_next(&f, 0, level, need);     // DV_FIRST_FIT_NONE: none has it
 */
#ifndef DV_POLICY_AUDIT_FIRST_FIT_H
#define DV_POLICY_AUDIT_FIRST_FIT_H

#include "base/macros.h"

#define DV_FIRST_FIT_NONE UINT32_MAX
#define DV_FIRST_FIT_PLACES_MAX (1u << 24)

struct dv_first_fit {
    uint32_t width;    /* levels, with what fills them up to whole words */
    uint32_t leaves;   /* a power of two; 0: none yet */
    uint16_t *offered; /* 2 x leaves x width: of node i, the most of nodes 2i and 2i + 1 */
};

/* levels is at least 1. */
void dv_first_fit_init(struct dv_first_fit *f, uint32_t levels);
void dv_first_fit_done(struct dv_first_fit *f);

/* What a place offers on each level from now on, f->width of them; at first all offer 0. -ENOMEM;
 * -E2BIG. */
int dv_first_fit_set(struct dv_first_fit *f, uint32_t place, const uint16_t *offers);
/* On one level of a place that was set before. */
void dv_first_fit_lower(struct dv_first_fit *f, uint32_t place, uint32_t level, uint16_t offers);

/* The first place from `from` on that offers at least `need`, which is not 0, on the level. */
uint32_t dv_first_fit_next(const struct dv_first_fit *f, uint32_t from, uint32_t level,
                           uint16_t need);

#endif
