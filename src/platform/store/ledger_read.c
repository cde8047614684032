/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readings. Days first; a day that the interval cuts, or that is finer than asked, is read by its
 * hours, an hour by its minutes; then hours that no day covers yet, minutes that no hour covers,
 * and what is not sealed. All in one snapshot of the file.
 */
#include "ledger_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct renaming {
    char old[DV_TENANT_SIZE], new_name[DV_TENANT_SIZE];
    int64_t from_unix;
};

struct reading {
    struct dv_ledger *l;
    const struct dv_ledger_query *q;
    dv_ledger_on_row *on_row;
    void *arg;
    struct dv_err *err;
    bool corrections, stopped;
    struct renaming *renames;
    size_t n_renames, cap_renames;
    struct ledger_entries rows;
    struct dv_ledger_read_summary sum;
};

/* ---- rows ---- */

static void rename_tenant(const struct reading *r, struct dv_charge_row *row)
{
    for (size_t i = 0; i < r->n_renames; i++)
        if (row->from_unix < r->renames[i].from_unix &&
            !strcmp(row->account.tenant, r->renames[i].old))
            memcpy(row->account.tenant, r->renames[i].new_name, DV_TENANT_SIZE);
}

static void emit(struct reading *r, struct dv_ledger_row *row)
{
    static const struct dv_charge nothing;
    if (r->stopped || (r->q->gpu && strcmp(row->row.account.gpu, r->q->gpu) != 0) ||
        !memcmp(&row->row.charge, &nothing, sizeof nothing))
        return;
    if (r->q->renamed)
        rename_tenant(r, &row->row);
    if ((r->q->tenant && strcmp(row->row.account.tenant, r->q->tenant) != 0) ||
        (r->q->pod && strcmp(row->row.account.pod, r->q->pod) != 0))
        return;
    r->sum.rows++;
    r->sum.broken_rows += row->broken;
    r->stopped = !r->on_row(r->arg, row);
}

static void emit_entry(struct reading *r, const struct ledger_block *b,
                       const struct ledger_entry *e, bool broken)
{
    const struct ledger_known *k = dv_ledger_block_account(r->l, e->account);
    struct dv_ledger_row row = {.row = {.from_unix = b->from, .to_unix = b->to},
                                .level = (enum dv_ledger_level)b->level,
                                .block = b->seq,
                                .corrected = e->corrected,
                                .broken = broken || !k || k->odd,
                                .coarse = b->to > r->q->to_unix};
    if (k)
        row.row.account = k->account;
    row.row.charge = e->charge;
    emit(r, &row);
}

/* ---- blocks ---- */

/* Is the block before it there, and the one that this one was made after? */
static bool follows(struct reading *r, const struct ledger_block *b)
{
    struct ledger_block before;
    struct dv_err ignored;
    if (b->seq <= r->l->pruned[b->level] + 1)
        return true; /* the anchor is verify's */
    return dv_ledger_block_get(r->l, b->level, b->seq - 1, &before, &ignored) == 0 &&
           !memcmp(before.hash, b->prev, HASH);
}

static int emit_block(struct reading *r, const struct ledger_block *b)
{
    bool whole;
    int result = dv_ledger_block_rows(r->l, b, &r->rows, &whole, r->err);
    if (result < 0 && result != -EBADMSG)
        return result;
    bool broken = !whole || b->faults || !follows(r, b);
    if (r->corrections)
        result = dv_ledger_notes_apply(r->l, b, &r->rows, r->err);
    if (result < 0 && result != -EBADMSG)
        return result;
    broken |= result < 0;
    r->sum.blocks++;
    for (size_t i = 0; i < r->rows.n && !r->stopped; i++)
        emit_entry(r, b, &r->rows.v[i], broken);
    return 0;
}

static int walk(struct reading *r, unsigned level, uint64_t first, uint64_t last);

/* The block whole, or what it is made of, where that is wanted and kept. */
static int visit(struct reading *r, const struct ledger_block *b)
{
    const struct dv_ledger_query *q = r->q;
    unsigned level = b->level;
    bool finer = level > DV_LEDGER_MINUTE && b->first > r->l->pruned[level - 1];
    bool inside = b->from >= q->from_unix && b->from + dv_ledger_block_span(level) <= q->to_unix;
    if (finer && (!inside || level > q->step))
        return walk(r, level - 1, b->first, b->last);
    return b->from >= q->from_unix && b->from < q->to_unix ? emit_block(r, b) : 0;
}

/* Blocks of a level, by number in [first, last], that the interval touches. */
static int walk(struct reading *r, unsigned level, uint64_t first, uint64_t last)
{
    sqlite3_stmt *st;
    struct ledger_block b;
    int code = SQLITE_DONE,
        result = dv_ledger_db_prepare(r->l,
                                      "SELECT " BLOCK_COLUMNS " FROM block WHERE level = ? AND"
                                      " seq BETWEEN ? AND ? AND from_unix > ? AND from_unix < ?"
                                      " ORDER BY seq",
                                      &st, r->err);
    if (result < 0)
        return result;
    first = DV_MAX(first, r->l->pruned[level] + 1);
    sqlite3_bind_int64(st, 1, level);
    sqlite3_bind_int64(st, 2, (int64_t)DV_MIN(first, (uint64_t)INT64_MAX));
    sqlite3_bind_int64(st, 3, (int64_t)DV_MIN(last, (uint64_t)INT64_MAX));
    sqlite3_bind_int64(st, 4, r->q->from_unix - dv_ledger_block_span(level));
    sqlite3_bind_int64(st, 5, r->q->to_unix);
    while (result == 0 && !r->stopped && (code = sqlite3_step(st)) == SQLITE_ROW) {
        dv_ledger_block_read(st, &b);
        b.level = level;
        result = visit(r, &b);
    }
    if (result == 0 && !r->stopped && code != SQLITE_DONE)
        result = dv_ledger_db_failed(r->l, "reading", r->err);
    sqlite3_finalize(st);
    return result;
}

static int read_sealed(struct reading *r)
{
    uint64_t covered = 0;
    int result = 0;
    for (unsigned level = DV_LEDGER_LEVELS; result == 0 && !r->stopped && level-- > 0;) {
        struct ledger_block head;
        result = walk(r, level, covered + 1, UINT64_MAX);
        if (result == 0)
            result = dv_ledger_block_head(r->l, level, &head, r->err);
        covered = result == 0 ? head.last : 0;
    }
    return result;
}

/* ---- what is not sealed ---- */

static void emit_minute(struct reading *r, const struct ledger_minute *m)
{
    if (m->from < r->q->from_unix || m->from >= r->q->to_unix)
        return;
    for (size_t i = 0; i < m->n && !r->stopped; i++) {
        struct dv_ledger_row row = {
            .row = {.from_unix = m->from,
                    .to_unix = m->to,
                    .account = r->l->accounts[m->cells[i].account].account,
                    .charge = m->cells[i].charge},
            .level = DV_LEDGER_MINUTE,
            .open = true,
            .coarse = m->to > r->q->to_unix,
        };
        emit(r, &row);
    }
}

static int read_open(struct reading *r)
{
    struct ledger_minute open;
    if (r->l->read_only) {
        int result = dv_ledger_write_load_open(r->l, &open, r->err);
        if (result == -EBADMSG)
            return 0; /* verify tells */
        if (result == 0)
            emit_minute(r, &open);
        free(open.cells);
        return result;
    }
    for (size_t i = 0; i < r->l->n_waiting; i++)
        emit_minute(r, r->l->waiting[i]);
    emit_minute(r, &r->l->now);
    return 0;
}

/* ---- the reading ---- */

static void on_note(void *arg, const struct dv_ledger_note *note)
{
    struct reading *r = arg;
    r->corrections |= note->kind == DV_LEDGER_CORRECTION;
    if (note->kind != DV_LEDGER_RENAME || r->n_renames == RENAMES_MAX)
        return;
    if (r->n_renames == r->cap_renames) {
        size_t cap = r->cap_renames ? r->cap_renames * 2 : 8;
        void *more = realloc(r->renames, cap * sizeof *r->renames);
        if (!more)
            return;
        r->renames = more;
        r->cap_renames = cap;
    }
    struct renaming *renaming = &r->renames[r->n_renames++];
    memcpy(renaming->old, note->old, DV_TENANT_SIZE);
    memcpy(renaming->new_name, note->new_name, DV_TENANT_SIZE);
    renaming->from_unix = note->from_unix;
}

static int begin(struct dv_ledger *l, struct dv_err *err)
{
    int r = dv_ledger_db_exec(l, "BEGIN", "reading", err);
    if (r == 0)
        r = dv_ledger_block_load_pruned(l, err);
    if (r < 0)
        dv_ledger_db_rollback(l);
    else if (l->n_waiting)
        dv_ledger_write_settle(l); /* after a commit whose answer was lost, both have it */
    return r;
}

int dv_ledger_read(struct dv_ledger *l, const struct dv_ledger_query *q, dv_ledger_on_row *on_row,
                   void *arg, struct dv_ledger_read_summary *ret, struct dv_err *err)
{
    struct dv_ledger_query query = *q;
    struct reading r = {.l = l, .q = &query, .on_row = on_row, .arg = arg, .err = err};
    if (q->from_unix > q->to_unix || (unsigned)q->step >= DV_LEDGER_LEVELS)
        return dv_err_set(err, -EINVAL, "a reading ends before it begins");
    query.from_unix = DV_MAX(query.from_unix, -UNIX_LIMIT);
    query.to_unix = DV_MIN(query.to_unix, UNIX_LIMIT);
    int result = begin(l, err);
    if (result == 0)
        result = dv_ledger_notes(l, on_note, &r, err);
    if (result == -EBADMSG)
        result = 0; /* readable without; verify tells */
    if (result == 0)
        result = read_sealed(&r);
    if (result == 0 && !r.stopped)
        result = read_open(&r);
    dv_ledger_db_rollback(l);
    free(r.renames);
    free(r.rows.v);
    if (ret)
        *ret = r.sum;
    return result;
}

/* ---- totals ---- */

static void total_add(struct dv_ledger_total *t, const struct dv_charge *c)
{
    t->busy_ns += c->busy_ns;
    t->overhead_ns += c->overhead_ns;
    t->reserved_idle_ns += c->reserved_idle_ns;
    t->unallocated_ns += c->unallocated_ns;
    t->unhealthy_ns += c->unhealthy_ns;
    t->wait_ns += c->wait_ns;
    t->held_ns += c->held_ns;
    t->requested_compute += c->requested_compute;
    t->byte_seconds += c->byte_seconds;
}

static void read_total(sqlite3_stmt *st, struct dv_ledger_total *t)
{
    t->busy_ns = (uint64_t)sqlite3_column_int64(st, 1);
    t->overhead_ns = (uint64_t)sqlite3_column_int64(st, 2);
    t->reserved_idle_ns = (uint64_t)sqlite3_column_int64(st, 3);
    t->unallocated_ns = (uint64_t)sqlite3_column_int64(st, 4);
    t->unhealthy_ns = (uint64_t)sqlite3_column_int64(st, 5);
    t->wait_ns = (uint64_t)sqlite3_column_int64(st, 6);
    t->held_ns = (uint64_t)sqlite3_column_int64(st, 9);
    t->requested_compute = (dv_u128)(uint64_t)sqlite3_column_int64(st, 7) * 7000 +
                           (uint64_t)sqlite3_column_int64(st, 10);
    t->byte_seconds = ((dv_u128)(uint64_t)sqlite3_column_int64(st, 8) << 30) +
                      (uint64_t)sqlite3_column_int64(st, 11);
}

/* What is in memory, by interned account, without pods. */
static void sum_memory(const struct dv_ledger *l, struct dv_charge *sums,
                       const struct ledger_minute *m)
{
    for (size_t i = 0; i < m->n; i++)
        dv_charge_add(&sums[l->accounts[m->cells[i].account].base], &m->cells[i].charge);
}

static int each_total(struct dv_ledger *l, struct dv_charge *sums, dv_ledger_on_total *on_total,
                      void *arg, struct dv_err *err)
{
    static const struct dv_charge nothing;
    sqlite3_stmt *st;
    int code = SQLITE_DONE, r = dv_ledger_db_prepare(l, "SELECT * FROM total", &st, err);
    while (r == 0 && (code = sqlite3_step(st)) == SQLITE_ROW) {
        struct dv_ledger_total t = {0};
        const struct ledger_known *k = dv_ledger_block_account(l, sqlite3_column_int64(st, 0));
        uint32_t i = k ? dv_ledger_memory_find(l, &k->account) : NONE;
        if (!k)
            continue;
        t.account = k->account;
        read_total(st, &t);
        if (i != NONE) {
            total_add(&t, &sums[i]);
            sums[i] = nothing;
        }
        on_total(arg, &t);
    }
    if (r == 0 && code != SQLITE_DONE)
        r = dv_ledger_db_failed(l, "reading", err);
    sqlite3_finalize(st);
    for (size_t i = 0; r == 0 && i < l->n_accounts; i++) {
        struct dv_ledger_total t = {.account = l->accounts[i].account};
        if (!memcmp(&sums[i], &nothing, sizeof nothing))
            continue;
        total_add(&t, &sums[i]);
        on_total(arg, &t);
    }
    return r;
}

int dv_ledger_totals(struct dv_ledger *l, dv_ledger_on_total *on_total, void *arg,
                     struct dv_err *err)
{
    struct ledger_minute open = {0};
    int r = begin(l, err);
    if (r == 0 && l->read_only)
        r = dv_ledger_write_load_open(l, &open, err);
    struct dv_charge *sums = r == 0 ? calloc(l->n_accounts + 1, sizeof *sums) : NULL;
    if (r == 0 && !sums)
        r = dv_err_set(err, -ENOMEM, "%s: out of memory", l->path);
    if (r == 0 && sums) {
        sum_memory(l, sums, &open);
        for (size_t i = 0; i < l->n_waiting; i++)
            sum_memory(l, sums, l->waiting[i]);
        sum_memory(l, sums, &l->now);
        r = each_total(l, sums, on_total, arg, err);
    }
    dv_ledger_db_rollback(l);
    free(sums);
    free(open.cells);
    return r;
}
