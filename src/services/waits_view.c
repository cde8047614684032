/* SPDX-License-Identifier: Apache-2.0 */
#include "waits_view.h"

#include "account/usage.h"
#include "waits.h"

#include <stdlib.h>
#include <string.h>

static int64_t permille(uint64_t part, uint64_t whole)
{
    return whole ? (int64_t)(((dv_u128)part * 1000 + whole / 2) / whole) : 0;
}

static void add_row(struct dv_output_node *list, const char *what, const char *holder, uint64_t ns,
                    uint64_t whole)
{
    struct dv_output_node *o = dv_output_object(list, NULL);
    if (what)
        dv_output_string(o, "what", what);
    dv_output_string(o, "holder", holder);
    dv_output_seconds(o, "seconds", ns);
    dv_output_int(o, "permille", permille(ns, whole));
}

static int by_turn(const void *a, const void *b)
{
    const struct dv_wait_for *x = a, *y = b;
    return x->turn_ns != y->turn_ns ? (x->turn_ns < y->turn_ns) - (x->turn_ns > y->turn_ns)
                                    : strcmp(x->holder, y->holder);
}

static int by_queue(const void *a, const void *b)
{
    const struct dv_wait_for *x = a, *y = b;
    return x->queue_ns != y->queue_ns ? (x->queue_ns < y->queue_ns) - (x->queue_ns > y->queue_ns)
                                      : strcmp(x->holder, y->holder);
}

void dv_waits_view_add(struct dv_output_node *root, const struct dv_time_spent *t)
{
    struct dv_wait_for *rows = calloc(t->n_waits + 1, sizeof *rows);
    uint64_t queued = dv_waits_queue_ns(t);
    if (!rows || !t->since_unix) {
        free(rows);
        return;
    }
    if (t->n_waits)
        memcpy(rows, t->waits, t->n_waits * sizeof *rows);
    dv_output_int(root, "since_unix", t->since_unix);
    dv_output_seconds(root, "held_seconds", t->held_ns);
    struct dv_output_node *list = dv_output_array(root, "time");
    qsort(rows, t->n_waits, sizeof *rows, by_turn);
    if (t->held_ns) {
        add_row(list, "running", NULL, t->run_ns, t->held_ns);
        for (size_t i = 0; i < t->n_waits && rows[i].turn_ns; i++)
            add_row(list, "waiting", rows[i].holder, rows[i].turn_ns, t->held_ns);
        add_row(list, "overhead", NULL, t->lost_ns, t->held_ns);
        add_row(list, "idle", NULL, dv_waits_idle_ns(t), t->held_ns);
    }
    dv_output_seconds(root, "queued_seconds", queued);
    list = dv_output_array(root, "queue");
    qsort(rows, t->n_waits, sizeof *rows, by_queue);
    for (size_t i = 0; i < t->n_waits && rows[i].queue_ns; i++)
        add_row(list, NULL, rows[i].holder, rows[i].queue_ns, queued);
    free(rows);
}
