/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flushing: what is in memory replaces what the open tables hold, minutes that have passed become
 * blocks. Every figure is written as it stands, never as a difference, so a flush that is done
 * twice, or again after a failure, is done once. Minutes that wait are written some at a time, so
 * that a disk with a little room takes a little; the checkpoints come with the last of them.
 */
#include "ledger_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_PER_TRANSACTION 20000

/* ---- sealing ---- */

static int by_account(const void *a, const void *b)
{
    const struct ledger_entry *x = a, *y = b;
    return (x->account > y->account) - (x->account < y->account);
}

static int account_id(struct dv_ledger *l, uint32_t i, int64_t *ret, struct dv_err *err)
{
    struct ledger_account *a = &l->accounts[i];
    int r = a->id ? 0 : dv_ledger_block_account_id(l, &a->account, a->digest, &a->id, err);
    *ret = a->id;
    return r;
}

static int saw(struct dv_ledger *l, uint32_t i, uint64_t minute, struct dv_err *err)
{
    struct ledger_account *a = &l->accounts[i];
    if (!a->account.pod[0] || (a->seen && minute < a->seen + SEEN_STEP))
        return 0;
    a->seen = minute;
    return dv_ledger_pods_seen(l, a->id, minute, err);
}

/* Since ever: without pods, so that it grows with what the node is, not with what ran on it. */
static int add_total(struct dv_ledger *l, const struct ledger_entry *e, struct dv_err *err)
{
    return dv_ledger_db_run(l, err, SQL_TOTAL_ADD, "ic", dv_ledger_block_base(l, e->account),
                            &e->charge);
}

static int collect(struct dv_ledger *l, const struct ledger_minute *m, struct dv_err *err)
{
    int r = 0;
    l->scratch.n = 0;
    for (size_t i = 0; r == 0 && i < m->n; i++) {
        struct ledger_entry *e = dv_ledger_block_entry(&l->scratch);
        if (!e)
            return dv_err_set(err, -ENOMEM, "%s: out of memory", l->path);
        r = account_id(l, m->cells[i].account, &e->account, err);
        if (r == 0)
            r = saw(l, m->cells[i].account, m->seq, err);
        e->charge = m->cells[i].charge;
    }
    if (l->scratch.n)
        qsort(l->scratch.v, l->scratch.n, sizeof *l->scratch.v, by_account);
    return r;
}

static int seal(struct dv_ledger *l, const struct ledger_minute *m, struct dv_err *err)
{
    struct ledger_block b = {.level = DV_LEDGER_MINUTE,
                             .seq = m->seq,
                             .from = m->from,
                             .to = m->to,
                             .begin_ns = m->begin_ns,
                             .end_ns = m->end_ns,
                             .wall_ns = m->wall_ns,
                             .step_ns = m->step_ns};
    int r = collect(l, m, err);
    for (size_t i = 0; r == 0 && i < l->scratch.n; i++)
        r = add_total(l, &l->scratch.v[i], err);
    return r == 0 ? dv_ledger_block_append(l, &b, l->scratch.v, l->scratch.n, true, err) : r;
}

/* ---- the open block ---- */

static int write_open(struct dv_ledger *l, struct dv_err *err)
{
    const struct ledger_minute *m = &l->now;
    bool all = l->open_seq != m->seq;
    int r = all ? dv_ledger_db_run(l, err, SQL_OPEN_ENTRY_CLEAR, "") : 0;
    if (r == 0 && !m->n)
        return dv_ledger_db_run(l, err, SQL_OPEN_CLEAR, "");
    for (size_t i = 0; r == 0 && i < m->n; i++) {
        int64_t id;
        if (!all && !m->cells[i].dirty)
            continue;
        r = account_id(l, m->cells[i].account, &id, err);
        if (r == 0)
            r = dv_ledger_db_run(l, err, SQL_OPEN_ENTRY_PUT, "ic", id, &m->cells[i].charge);
    }
    if (r == 0)
        r = dv_ledger_db_run(l, err, SQL_OPEN_PUT, "iiiiiii", (int64_t)m->seq, m->from, m->to,
                             m->begin_ns, m->end_ns, (int64_t)m->wall_ns, m->step_ns);
    return r;
}

static int read_open_entries(struct dv_ledger *l, struct ledger_minute *m, struct dv_err *err)
{
    sqlite3_stmt *st;
    int code = SQLITE_DONE,
        r = dv_ledger_db_prepare(l, "SELECT * FROM open_entry ORDER BY account", &st, err);
    while (r == 0 && (code = sqlite3_step(st)) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(st, 0);
        const struct ledger_known *k = dv_ledger_block_account(l, id);
        uint32_t i = k ? dv_ledger_memory_intern(l, &k->account) : NONE;
        struct ledger_cell *cell = i == NONE ? NULL : dv_ledger_memory_cell(l, m, i);
        if (!cell)
            r = dv_err_set(err, k ? -ENOMEM : -EBADMSG, "%s: account %lld is gone", l->path,
                           (long long)id);
        else
            dv_ledger_db_charge(st, 1, &cell->charge);
    }
    if (r == 0 && code != SQLITE_DONE)
        r = dv_ledger_db_failed(l, "reading", err);
    sqlite3_finalize(st);
    return r;
}

int dv_ledger_write_load_open(struct dv_ledger *l, struct ledger_minute *m, struct dv_err *err)
{
    sqlite3_stmt *st;
    memset(m, 0, sizeof *m);
    int r = dv_ledger_db_prepare(l,
                                 "SELECT seq,from_unix,to_unix,begin_ns,end_ns,wall_ns,step_ns"
                                 " FROM open_block",
                                 &st, err);
    if (r < 0)
        return r;
    int code = sqlite3_step(st);
    if (code == SQLITE_ROW) {
        m->seq = (uint64_t)sqlite3_column_int64(st, 0);
        m->from = sqlite3_column_int64(st, 1);
        m->to = sqlite3_column_int64(st, 2);
        m->begin_ns = sqlite3_column_int64(st, 3);
        m->end_ns = sqlite3_column_int64(st, 4);
        m->wall_ns = (uint64_t)sqlite3_column_int64(st, 5);
        m->step_ns = sqlite3_column_int64(st, 6);
    } else if (code != SQLITE_DONE) {
        r = dv_ledger_db_failed(l, "reading", err);
    }
    sqlite3_finalize(st);
    if (r == 0 &&
        (m->from > UNIX_LIMIT || m->from < -UNIX_LIMIT || m->to > UNIX_LIMIT || m->to < m->from))
        r = dv_err_set(err, -EBADMSG, "%s: the open block has no time", l->path);
    if (r == 0 && code == SQLITE_ROW)
        r = read_open_entries(l, m, err);
    if (r < 0) {
        free(m->cells);
        memset(m, 0, sizeof *m);
    }
    return r;
}

/* ---- flushing ---- */

/* Two daemons on one ledger would each take the other's blocks for its own. */
int dv_ledger_write_check(struct dv_ledger *l, struct dv_err *err)
{
    int64_t writer = 0;
    int r = dv_ledger_db_number(l, "SELECT writer FROM ledger", &writer, err);
    if (r < 0 || writer == l->writer)
        return r;
    if (l->claimed)
        return dv_err_set(err, -EBUSY, "%s: another divvyd writes this ledger", l->path);
    return dv_ledger_db_run(l, err, SQL_WRITER, "i", l->writer);
}

struct batch {
    size_t n, rows;     /* minutes that wait, and their rows */
    size_t lives, lost; /* lives that were written; that found no room */
    bool last;
    const struct dv_ledger_checkpoint *checkpoints;
    size_t n_checkpoints;
};

/* A day's lives cannot be pruned before the day is over: beyond twice the budget they are counted,
 * not kept. */
static int write_lives(struct dv_ledger *l, struct batch *batch, struct dv_err *err)
{
    struct dv_ledger_head head;
    int r = dv_ledger_notes_life_head(l, &head, err);
    for (size_t i = 0; r == 0 && i < l->n_lives; i++) {
        if (l->lives[i].seq <= head.seq)
            continue;
        if (l->kept_rows[DV_LEDGER_LIVES] + batch->lives >= 2 * l->limits.life_rows) {
            batch->lost = l->n_lives - i;
            break;
        }
        r = dv_ledger_notes_add_life(l, &l->lives[i], err);
        batch->lives++;
    }
    return r;
}

/* What is lost is said where it was lost, once there is room again. */
static void tell_losses(struct dv_ledger *l)
{
    struct dv_ledger_life lost = {
        .event = DV_LEDGER_LOST, .claim = l->lives_lost_now, .unix_ns = l->last.unix_ns};
    if (l->lives_lost_now && l->n_lives < l->cap_lives) {
        lost.seq = l->next_life++;
        l->lives[l->n_lives++] = lost;
        l->lives_lost_now = 0;
    }
}

void dv_ledger_write_settle(struct dv_ledger *l)
{
    struct ledger_block head;
    struct dv_err err;
    size_t n = 0;
    if (!l->db || dv_ledger_block_head(l, DV_LEDGER_MINUTE, &head, &err) < 0)
        return;
    while (n < l->n_waiting && l->waiting[n]->seq <= head.seq)
        n++;
    dv_ledger_memory_drop_waiting(l, n);
}

static int write_batch(struct dv_ledger *l, struct batch *batch, struct dv_err *err)
{
    struct ledger_block head;
    int r = dv_ledger_write_check(l, err);
    if (r == 0)
        r = write_lives(l, batch, err);
    if (r == 0)
        r = dv_ledger_block_head(l, DV_LEDGER_MINUTE, &head, err);
    for (; r == 0 && batch->n < l->n_waiting && batch->rows < ROWS_PER_TRANSACTION; batch->n++) {
        batch->rows += l->waiting[batch->n]->n;
        if (l->waiting[batch->n]->seq > head.seq)
            r = seal(l, l->waiting[batch->n], err);
    }
    batch->last = batch->n == l->n_waiting;
    bool complete = batch->last && batch->checkpoints;
    if (r == 0 && batch->n && !complete) {
        /* The open tables hold the first of these minutes, if anything. */
        r = dv_ledger_db_run(l, err, SQL_OPEN_ENTRY_CLEAR, "");
        if (r == 0)
            r = dv_ledger_db_run(l, err, SQL_OPEN_CLEAR, "");
        l->open_seq = 0;
    }
    if (r < 0 || !complete)
        return r;
    r = write_open(l, err);
    if (r == 0)
        r = dv_ledger_owed_write(l, err);
    if (r == 0)
        r = dv_ledger_db_run(l, err, SQL_FLUSHED, "iit", l->last.unix_ns, (int64_t)l->last.mono_ns,
                             l->boot);
    if (r == 0)
        r = dv_ledger_db_run(l, err, SQL_CHECKPOINT_CLEAR, "");
    for (size_t i = 0; r == 0 && i < batch->n_checkpoints; i++) {
        const struct dv_ledger_checkpoint *c = &batch->checkpoints[i];
        int64_t account;
        r = dv_ledger_owed_account(l, &c->account, &account, err);
        if (r == 0)
            r = dv_ledger_db_run(l, err, SQL_CHECKPOINT_ADD, "iiiiiit", (int64_t)c->claim,
                                 (int64_t)c->pid, (int64_t)c->start, (int64_t)c->counter_ns,
                                 (int64_t)c->busy_ns, account, c->device);
    }
    return r;
}

static void written(struct dv_ledger *l, const struct batch *batch)
{
    l->claimed = true;
    l->kept_blocks[DV_LEDGER_MINUTE] += batch->n;
    l->kept_rows[DV_LEDGER_MINUTE] += batch->rows;
    l->kept_rows[DV_LEDGER_LIVES] += batch->lives;
    l->lives_lost += batch->lost;
    l->next_life -= batch->lost;
    l->n_lives = 0;
    dv_ledger_memory_drop_waiting(l, batch->n);
    if (!batch->last || !batch->checkpoints)
        return;
    for (size_t i = 0; i < l->now.n; i++)
        l->now.cells[i].dirty = false;
    l->open_seq = l->now.seq;
}

static int transact(struct dv_ledger *l, struct batch *batch, struct dv_err *err)
{
    int r = dv_ledger_db_begin(l, err);
    if (r == 0)
        r = write_batch(l, batch, err);
    if (r == 0)
        r = dv_ledger_db_commit(l, err);
    if (r == 0) {
        written(l, batch);
        return 0;
    }
    dv_ledger_db_rollback(l);
    dv_ledger_memory_forget_ids(l); /* the dictionary forgot them too */
    dv_ledger_block_forget(l);
    l->open_seq = 0;
    return r;
}

static int write_all(struct dv_ledger *l, const struct dv_ledger_checkpoint *checkpoints, size_t n,
                     struct dv_err *err)
{
    struct batch batch;
    int r;
    do {
        batch = (struct batch){.checkpoints = checkpoints, .n_checkpoints = n};
        r = transact(l, &batch, err);
    } while (r == 0 && !batch.last);
    return r;
}

/* When opening: what an earlier process left. Its checkpoints stay. */
int dv_ledger_write_waiting(struct dv_ledger *l, struct dv_err *err)
{
    return write_all(l, NULL, 0, err);
}

int dv_ledger_flush(struct dv_ledger *l, struct dv_ledger_time now,
                    const struct dv_ledger_checkpoint *checkpoints, size_t n, struct dv_err *err)
{
    static const struct dv_ledger_checkpoint none;
    if (l->read_only)
        return dv_err_set(err, -EROFS, "%s is open for reading only", l->path);
    dv_ledger_memory_tick(l, now);
    tell_losses(l);
    int r = l->db ? write_all(l, checkpoints ? checkpoints : &none, n, err)
                  : dv_err_set(err, -EIO, "%s is not open", l->path);
    l->up = r == 0;
    dv_ledger_owe(l, NULL, 0);
    if (r == 0) {
        l->last_flush_unix_ns = now.unix_ns;
        dv_ledger_memory_trim(l);
    }
    return r;
}
