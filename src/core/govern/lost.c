/* SPDX-License-Identifier: Apache-2.0 */
#include "govern/lost.h"

#include <errno.h>
#include <stdlib.h>

#define COLUMNS(m) ((size_t)(m)->n + 2)

int dv_wait_matrix_new(struct dv_wait_matrix *m, uint32_t entities)
{
    m->n = entities;
    m->cells = calloc(entities * COLUMNS(m), sizeof *m->cells);
    return m->cells ? 0 : -ENOMEM;
}

void dv_wait_matrix_done(struct dv_wait_matrix *m)
{
    free(m->cells);
    m->cells = NULL;
}

void dv_wait_matrix_add(struct dv_wait_matrix *m, uint32_t entity, uint32_t holder, uint64_t ns)
{
    m->cells[entity * COLUMNS(m) + holder] += ns;
}

uint64_t dv_wait_matrix_get(const struct dv_wait_matrix *m, uint32_t entity, uint32_t column)
{
    return m->cells[entity * COLUMNS(m) + column];
}

void dv_wait_matrix_remove(struct dv_wait_matrix *m, uint32_t entity)
{
    for (size_t c = 0; c < COLUMNS(m); c++)
        m->cells[entity * COLUMNS(m) + c] = 0;
    for (size_t i = 0; i < m->n; i++) {
        uint64_t *cell = &m->cells[i * COLUMNS(m) + entity];
        m->cells[i * COLUMNS(m) + dv_wait_matrix_gone(m)] += *cell;
        *cell = 0;
    }
}

int64_t dv_lost_book(struct dv_lost *lost, struct dv_lost_lease *l, int64_t charged_ns)
{
    int64_t ns = DV_MIN((int64_t)l->span_ns - charged_ns, (int64_t)l->contended_ns);
    int64_t change = ns - l->lost_ns;
    lost->pending_ns += change;
    l->lost_ns = ns;
    return change;
}

void dv_lost_settle(struct dv_lost *lost, const struct dv_lost_lease *l, int64_t room_ns)
{
    lost->newest_ns = DV_MAX(l->lost_ns, 0);
    int64_t ns = DV_MIN(lost->pending_ns - lost->newest_ns, room_ns);
    if (ns <= 0)
        return;
    lost->pending_ns -= ns;
    lost->total_ns += (uint64_t)ns;
}
