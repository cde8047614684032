/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/first_fit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define WORD 8u /* levels that a machine compares at once */

void dv_first_fit_init(struct dv_first_fit *f, uint32_t levels)
{
    *f = (struct dv_first_fit){.width = (levels + WORD - 1) / WORD * WORD};
}

void dv_first_fit_done(struct dv_first_fit *f)
{
    free(f->offered);
    f->offered = NULL;
    f->leaves = 0;
}

static uint16_t *node(const struct dv_first_fit *f, uint32_t i)
{
    return &f->offered[(size_t)i * f->width];
}

/* The larger of each two, a machine word of levels at once. Not 0: that is not what `to` was. */
static uint16_t word_of_maxima(uint16_t *restrict to, const uint16_t *restrict a,
                               const uint16_t *restrict b)
{
    uint16_t changed = 0;
    for (uint32_t k = 0; k < WORD; k++) {
        uint16_t most = DV_MAX(a[k], b[k]);
        changed |= most ^ to[k];
        to[k] = most;
    }
    return changed;
}

/* A node's maxima from its children's. false: they are what they were. */
static bool sum_up(struct dv_first_fit *f, uint32_t i)
{
    uint16_t *to = node(f, i), changed = 0;
    const uint16_t *a = node(f, 2 * i), *b = node(f, 2 * i + 1);
    for (uint32_t w = 0; w < f->width; w += WORD)
        changed |= word_of_maxima(to + w, a + w, b + w);
    return changed;
}

static void climb(struct dv_first_fit *f, uint32_t leaf)
{
    for (uint32_t i = leaf / 2; i && sum_up(f, i); i /= 2)
        ;
}

static int grow(struct dv_first_fit *f, uint32_t place)
{
    uint32_t leaves = f->leaves ? f->leaves : 64;
    while (leaves <= place)
        leaves *= 2;
    uint16_t *offered = calloc(2 * (size_t)leaves, f->width * sizeof *offered);
    if (!offered)
        return -ENOMEM;
    if (f->leaves)
        memcpy(&offered[(size_t)leaves * f->width], node(f, f->leaves),
               (size_t)f->leaves * f->width * sizeof *offered);
    free(f->offered);
    f->offered = offered;
    f->leaves = leaves;
    for (uint32_t i = leaves - 1; i; i--)
        sum_up(f, i);
    return 0;
}

int dv_first_fit_set(struct dv_first_fit *f, uint32_t place, const uint16_t *offers)
{
    if (place >= DV_FIRST_FIT_PLACES_MAX)
        return -E2BIG;
    int r = place >= f->leaves ? grow(f, place) : 0;
    if (r < 0)
        return r;
    memcpy(node(f, f->leaves + place), offers, f->width * sizeof *offers);
    climb(f, f->leaves + place);
    return 0;
}

void dv_first_fit_lower(struct dv_first_fit *f, uint32_t place, uint32_t level, uint16_t offers)
{
    node(f, f->leaves + place)[level] = offers;
    climb(f, f->leaves + place);
}

uint32_t dv_first_fit_next(const struct dv_first_fit *f, uint32_t from, uint32_t level,
                           uint16_t need)
{
    if (from >= f->leaves)
        return DV_FIRST_FIT_NONE;
    uint32_t i = f->leaves + from;
    /* Up to the first subtree from there on that has it: one to the right of all that is left. */
    while (node(f, i)[level] < need) {
        while (i & 1)
            i /= 2;
        if (!i)
            return DV_FIRST_FIT_NONE;
        i++;
    }
    while (i < f->leaves)
        i = node(f, 2 * i)[level] >= need ? 2 * i : 2 * i + 1;
    return i - f->leaves;
}
