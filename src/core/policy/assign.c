/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/assign.h"

#include <stdbool.h>

/*
 * Rows come in one after the other. Each comes in along the cheapest chain of displacements (a row
 * takes another's column, which takes a third's, ... until one is free). Prices on rows and columns
 * keep what each choice would cost beyond its price at 0 or more, so that the cheapest chain is
 * found like a shortest path, and the whole stays the cheapest for the rows that are in.
 */
struct market {
    uint32_t columns;
    const int64_t *cost;
    int64_t row_price[DV_ASSIGN_MAX], column_price[DV_ASSIGN_MAX];
    uint32_t holder[DV_ASSIGN_MAX]; /* of a column: a row, or NOBODY */
};

#define NOBODY UINT32_MAX

/* One search: how far each column is, and by which column the chain comes to it. */
struct chain {
    bool done[DV_ASSIGN_MAX];
    int64_t far[DV_ASSIGN_MAX];
    uint32_t by[DV_ASSIGN_MAX];
};

static void look_from(const struct market *m, struct chain *c, uint32_t row, uint32_t by,
                      int64_t so_far)
{
    for (uint32_t j = 0; j < m->columns; j++) {
        int64_t more = m->cost[row * m->columns + j] - m->row_price[row] - m->column_price[j];
        if (c->done[j] || so_far + more >= c->far[j])
            continue;
        c->far[j] = so_far + more;
        c->by[j] = by;
    }
}

static uint32_t nearest(const struct market *m, const struct chain *c)
{
    uint32_t best = NOBODY;
    for (uint32_t j = 0; j < m->columns; j++)
        if (!c->done[j] && (best == NOBODY || c->far[j] < c->far[best]))
            best = j;
    return best;
}

/* The chain's end is `end`: prices so that all its links cost exactly their price. */
static void reprice(struct market *m, const struct chain *c, uint32_t row, uint32_t end)
{
    m->row_price[row] += c->far[end];
    for (uint32_t j = 0; j < m->columns; j++) {
        if (!c->done[j] || j == end)
            continue;
        m->column_price[j] -= c->far[end] - c->far[j];
        m->row_price[m->holder[j]] += c->far[end] - c->far[j];
    }
}

static void let_in(struct market *m, uint32_t row)
{
    struct chain c = {{false}, {0}, {0}};
    uint32_t end = NOBODY;
    for (uint32_t j = 0; j < m->columns; j++)
        c.far[j] = INT64_MAX;
    look_from(m, &c, row, NOBODY, 0);
    for (;;) {
        end = nearest(m, &c);
        c.done[end] = true;
        if (m->holder[end] == NOBODY)
            break;
        look_from(m, &c, m->holder[end], end, c.far[end]);
    }
    reprice(m, &c, row, end);
    for (; c.by[end] != NOBODY; end = c.by[end])
        m->holder[end] = m->holder[c.by[end]];
    m->holder[end] = row;
}

void dv_assign_find(uint32_t rows, uint32_t columns, const int64_t *cost, uint32_t *ret)
{
    struct market m = {.columns = columns, .cost = cost};
    for (uint32_t j = 0; j < columns; j++)
        m.holder[j] = NOBODY;
    for (uint32_t i = 0; i < rows; i++)
        let_in(&m, i);
    for (uint32_t j = 0; j < columns; j++)
        if (m.holder[j] != NOBODY)
            ret[m.holder[j]] = j;
}
