/* SPDX-License-Identifier: Apache-2.0 */
#include "keep.h"

#include "claims.h"
#include "sys/log.h"
#include "tenants.h"
#include "waits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Says a new problem once, and its end once. */
static void note_result(struct dv_node *node, int r, const struct dv_err *err)
{
    char value[DV_LOG_VALUE];
    if (r < 0) {
        node->store_rewrite = true;
        if (!node->store_problem[0])
            dv_log(DV_LOG_ERROR, "store.failed", "detail=%s", dv_log_value(err->msg, value));
        snprintf(node->store_problem, sizeof node->store_problem, "%.*s",
                 (int)sizeof node->store_problem - 1, err->msg);
    } else if (node->store_problem[0] && !node->store_rewrite) {
        dv_log(DV_LOG_INFO, "store.recovered", "path=%s", node->config.state_dir);
        node->store_problem[0] = 0;
    }
}

static void make_row(const struct dv_holding *h, struct dv_store_claim *row)
{
    const struct dv_slice *slice = dv_node_slice(h);
    memset(row, 0, sizeof *row);
    row->claim = h->claim;
    row->granted = slice != NULL;
    if (slice)
        row->slice = *slice;
    row->owner = h->owner;
    row->uid = h->uid;
    row->since_unix = h->since_unix;
    memcpy(row->command, h->command, sizeof row->command);
    if (h->workload)
        row->workload = *h->workload;
}

void dv_keep_put(struct dv_holding *h)
{
    struct dv_node *node = h->node;
    struct dv_store_claim row;
    struct dv_err err = {0};
    if (!node->store)
        return;
    make_row(h, &row);
    int r = dv_store_begin(node->store, &err);
    if (r == 0)
        r = dv_store_put_claim(node->store, &row, &err);
    if (r == 0)
        r = dv_store_commit(node->store, &err);
    if (r < 0)
        dv_store_rollback(node->store);
    else
        h->stored = true;
    note_result(node, r, &err);
}

void dv_keep_drop(struct dv_holding *h)
{
    struct dv_err err = {0};
    if (h->node->store && h->stored)
        note_result(h->node, dv_store_drop_claim(h->node->store, h->claim.id, &err), &err);
}

void dv_keep_put_process(struct dv_holding *h, const struct dv_proc_id *id)
{
    struct dv_err err = {0};
    if (h->node->store)
        note_result(h->node, dv_store_put_process(h->node->store, h->claim.id, id, &err), &err);
}

void dv_keep_drop_process(struct dv_holding *h, const struct dv_proc_id *id)
{
    struct dv_err err = {0};
    if (h->node->store)
        note_result(h->node, dv_store_drop_process(h->node->store, h->claim.id, id, &err), &err);
}

static int write_claims(struct dv_node *node, struct dv_err *err)
{
    struct dv_store_claim row;
    int r = dv_store_drop_all_claims(node->store, err);
    for (struct dv_holding *h = node->holdings; r == 0 && h; h = h->next) {
        make_row(h, &row);
        r = dv_store_put_claim(node->store, &row, err);
    }
    for (struct dv_member *m = node->members; r == 0 && m; m = m->next)
        if (m->ready)
            r = dv_store_put_process(node->store, m->holding->claim.id, &m->id, err);
    return r;
}

void dv_keep_flush(struct dv_node *node)
{
    struct dv_err err = {0};
    if (!node->store || !(node->store_rewrite || dv_waits_dirty(node)))
        return;
    int r = dv_store_begin(node->store, &err);
    if (r == 0)
        r = dv_waits_write(node, node->store_rewrite, &err);
    if (r == 0 && node->store_rewrite && node->ready)
        r = write_claims(node, &err);
    if (r == 0)
        r = dv_store_commit(node->store, &err);
    if (r == 0) {
        node->store_rewrite = false;
        dv_waits_clean(node);
        for (struct dv_holding *h = node->holdings; h; h = h->next)
            h->stored = true;
    } else {
        dv_store_rollback(node->store);
    }
    note_result(node, r, &err);
}

/* ---- restoring ---- */

struct rows {
    struct dv_store_claim *claims;
    size_t n_claims, n_processes;
    struct {
        uint64_t claim;
        struct dv_proc_id id;
    } * processes;
    struct dv_node *node;
};

#define GROW 64

static void on_claim(void *arg, const struct dv_store_claim *row)
{
    struct rows *rows = arg;
    if (rows->n_claims >= DV_NODE_HOLDINGS_MAX)
        return;
    if (rows->n_claims % GROW == 0) {
        void *more = realloc(rows->claims, (rows->n_claims + GROW) * sizeof *rows->claims);
        if (!more)
            return;
        rows->claims = more;
    }
    rows->claims[rows->n_claims++] = *row;
}

static void on_process(void *arg, uint64_t claim, const struct dv_proc_id *id)
{
    struct rows *rows = arg;
    if (rows->n_processes >= DV_NODE_MEMBERS_MAX)
        return;
    if (rows->n_processes % GROW == 0) {
        void *more = realloc(rows->processes, (rows->n_processes + GROW) * sizeof *rows->processes);
        if (!more)
            return;
        rows->processes = more;
    }
    rows->processes[rows->n_processes].claim = claim;
    rows->processes[rows->n_processes++].id = *id;
}

static void on_wait(void *arg, const struct dv_store_wait *row)
{
    const struct rows *rows = arg;
    dv_waits_restore(rows->node, row);
}

static bool is_alive(const struct rows *rows, const struct dv_store_claim *row)
{
    if (dv_proc_alive(&row->owner))
        return true;
    for (size_t i = 0; row->granted && i < rows->n_processes; i++)
        if (rows->processes[i].claim == row->claim.id && dv_proc_alive(&rows->processes[i].id))
            return true;
    return false;
}

static void restore_one(struct dv_node *node, const struct rows *rows,
                        const struct dv_store_claim *row)
{
    struct dv_err err = {0};
    char value[DV_LOG_VALUE];
    if (!is_alive(rows, row)) {
        note_result(node, dv_store_drop_claim(node->store, row->claim.id, &err), &err);
        return;
    }
    int r = dv_claims_restore(node, row, &err);
    if (r < 0) { /* its device does not show; the row stays, it may show at the next start */
        dv_log(DV_LOG_WARNING, "slice.lost", "claim=c-%llu detail=%s",
               (unsigned long long)row->claim.id, dv_log_value(err.msg, value));
        return;
    }
    dv_log(DV_LOG_INFO, "slice.restored", "claim=c-%llu owner=%d",
           (unsigned long long)row->claim.id, (int)row->owner.pid);
    struct dv_holding *h = dv_node_holding(node, row->claim.id);
    for (size_t i = 0; h && i < rows->n_processes; i++)
        if (rows->processes[i].claim == row->claim.id && dv_proc_alive(&rows->processes[i].id))
            dv_tenants_add_stray(h, &rows->processes[i].id, true);
}

void dv_keep_restore(struct dv_node *node)
{
    struct rows rows = {.node = node};
    struct dv_err err = {0};
    if (!node->store)
        return;
    int r = dv_store_load(node->store, on_claim, on_process, &rows, &err);
    if (r == 0)
        r = dv_store_load_waits(node->store, on_wait, &rows, &err);
    if (r == 0)
        r = dv_store_next_id(node->store, &node->next_id, &err);
    for (size_t i = 0; i < rows.n_claims; i++) {
        node->next_id = DV_MAX(node->next_id, rows.claims[i].claim.id + 1);
        restore_one(node, &rows, &rows.claims[i]);
    }
    free(rows.claims);
    free(rows.processes);
    dv_claims_settle(node);
    if (r < 0)
        note_result(node, r, &err);
    dv_keep_flush(node);
}
