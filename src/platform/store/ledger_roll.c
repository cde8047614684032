/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hours of minutes, days of hours, and dropping what is old. Days do not tell pods apart. One call
 * is a bounded piece of it: one finer block is added up, or some rows are written or deleted. The
 * rows of a block under way lie in the file without their block, which comes last: until then
 * nobody reads them, and a new start clears them away.
 *
 * A group, the finer blocks of one coarser, is a run of neighbours by number whose `from` is in the
 * same hour (day). It is complete when a later block of another hour is there; no clock is asked.
 * So after a step back there are two blocks of one hour, each with its own time.
 */
#include "ledger_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_PER_CALL 2048
#define GROUP_MAX 4096

/* ---- which group ---- */

/* The `from` of the first minute that no hour block covers and that is not on disk yet. */
static bool memory_from(const struct dv_ledger *l, int64_t *ret)
{
    *ret = l->n_waiting ? l->waiting[0]->from : l->now.from;
    return l->n_waiting || l->now.n;
}

static int group_extent(struct dv_ledger *l, unsigned finer, uint64_t after,
                        struct ledger_block *ret, bool *ret_complete, struct dv_err *err)
{
    sqlite3_stmt *st;
    struct ledger_block b;
    int code = SQLITE_DONE,
        r = dv_ledger_db_prepare(l,
                                 "SELECT " BLOCK_COLUMNS " FROM block WHERE level = ? AND seq > ?"
                                 " ORDER BY seq",
                                 &st, err);
    if (r != 0)
        return r;
    sqlite3_bind_int64(st, 1, finer);
    sqlite3_bind_int64(st, 2, (int64_t)after);
    *ret_complete = false;
    memset(ret, 0, sizeof *ret);
    while ((code = sqlite3_step(st)) == SQLITE_ROW) {
        dv_ledger_block_read(st, &b);
        int64_t from = dv_ledger_block_floor(b.from, finer + 1);
        *ret_complete = ret->first && (from != ret->from || b.seq - ret->first >= GROUP_MAX);
        if (*ret_complete)
            break;
        if (!ret->first) {
            *ret = (struct ledger_block){.level = finer + 1,
                                         .first = b.seq,
                                         .first_minute = b.first_minute,
                                         .from = from,
                                         .to = from + dv_ledger_block_span(finer + 1),
                                         .begin_ns = b.begin_ns};
        }
        ret->last = b.seq;
        ret->last_minute = b.last_minute;
        ret->to = DV_MAX(ret->to, b.to);
        ret->end_ns = b.end_ns;
        ret->wall_ns += b.wall_ns;
        ret->step_ns += b.step_ns;
        ret->age_ns = b.age_ns;
        memcpy(ret->finer, b.hash, HASH);
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        r = dv_ledger_db_failed(l, "reading", err);
    sqlite3_finalize(st);
    return r;
}

/* Nothing of the level follows: what the finest level goes on with says whether the time is over.
 */
static int group_over(struct dv_ledger *l, const struct ledger_block *group, bool *ret,
                      struct dv_err *err)
{
    struct ledger_block next;
    int64_t from = 0;
    int r = group->level == DV_LEDGER_DAY
                ? dv_ledger_block_get(l, DV_LEDGER_MINUTE, group->last_minute + 1, &next, err)
                : -ENOENT;
    if (r == 0)
        from = next.from;
    else if (r != -ENOENT)
        return r;
    *ret = (r == 0 || memory_from(l, &from)) &&
           dv_ledger_block_floor(from, group->level) != group->from;
    return 0;
}

static int find_group(struct dv_ledger *l, unsigned level, struct ledger_block *ret,
                      bool *ret_found, struct dv_err *err)
{
    struct ledger_block head;
    *ret_found = false;
    int r = dv_ledger_block_head(l, level, &head, err);
    if (r == 0)
        r = group_extent(l, level - 1, head.last, ret, ret_found, err);
    if (r == 0 && ret->first && !*ret_found)
        r = group_over(l, ret, ret_found, err);
    ret->seq = head.seq + 1;
    return r;
}

/* ---- adding up ---- */

static int by_account(const void *a, const void *b)
{
    const struct ledger_entry *x = a, *y = b;
    return (x->account > y->account) - (x->account < y->account);
}

/* Both are sorted by account. */
static int add_sorted(struct ledger_entries *sums, const struct ledger_entries *rows)
{
    size_t n = sums->n, k = 0;
    for (size_t i = 0; i < rows->n; i++) {
        while (k < n && sums->v[k].account < rows->v[i].account)
            k++;
        if (k < n && sums->v[k].account == rows->v[i].account) {
            dv_charge_add(&sums->v[k].charge, &rows->v[i].charge);
            continue;
        }
        struct ledger_entry *e = dv_ledger_block_entry(sums);
        if (!e)
            return -ENOMEM;
        *e = rows->v[i];
    }
    if (sums->n > n)
        qsort(sums->v, sums->n, sizeof *sums->v, by_account);
    return 0;
}

static void stop(struct dv_ledger *l)
{
    l->roll.level = 0;
    l->roll.sums.n = 0;
}

static int add_block(struct dv_ledger *l, struct dv_err *err)
{
    struct ledger_roll *roll = &l->roll;
    struct ledger_block b;
    bool whole = false;
    int r = dv_ledger_block_get(l, roll->level - 1, roll->next, &b, err);
    if (r == 0)
        r = dv_ledger_block_rows(l, &b, &l->scratch, &whole, err);
    if (r < 0 && r != -ENOENT && r != -EBADMSG)
        return r;
    if (r == -ENOENT)
        l->scratch.n = 0;
    if (roll->level == DV_LEDGER_DAY) {
        l->unread = false;
        dv_ledger_block_fold_pods(l, &l->scratch);
        if (l->unread)
            return dv_err_set(err, -EIO, "%s: an account could not be read", l->path);
    }
    /* What is broken is added as it is, and the coarser block says so for ever. */
    roll->block.faults += !whole || b.faults;
    if (add_sorted(&roll->sums, &l->scratch) < 0)
        return dv_err_set(err, -ENOMEM, "%s: out of memory", l->path);
    if (++roll->next > roll->block.last)
        roll->writing = true;
    return 1;
}

static int write_rows(struct dv_ledger *l, struct dv_err *err)
{
    struct ledger_roll *roll = &l->roll;
    size_t n = DV_MIN(roll->sums.n, roll->written + ROWS_PER_CALL);
    int r = dv_ledger_db_begin(l, err);
    if (r == 0)
        r = dv_ledger_write_check(l, err);
    for (size_t i = roll->written; r == 0 && i < n; i++)
        r = dv_ledger_db_run(l, err, SQL_ENTRY_ADD, "iiic", (int64_t)roll->level,
                             (int64_t)roll->block.seq, roll->sums.v[i].account,
                             &roll->sums.v[i].charge);
    if (r == 0 && n == roll->sums.n)
        r = dv_ledger_block_append(l, &roll->block, roll->sums.v, roll->sums.n, false, err);
    if (r == 0)
        r = dv_ledger_db_commit(l, err);
    if (r < 0) {
        dv_ledger_db_rollback(l);
        return r;
    }
    roll->written = n;
    if (n == roll->sums.n) {
        l->kept_blocks[roll->level]++;
        l->kept_rows[roll->level] += n;
        stop(l);
    }
    return 1;
}

/* Rows that a roll left when it was cut off. */
static int clear_rows(struct dv_ledger *l, unsigned level, uint64_t seq, struct dv_err *err)
{
    sqlite3_stmt *st;
    int r = dv_ledger_db_prepare(l, "DELETE FROM entry WHERE level = ? AND block >= ?", &st, err);
    if (r != 0)
        return r;
    sqlite3_bind_int64(st, 1, level);
    sqlite3_bind_int64(st, 2, (int64_t)seq);
    if (sqlite3_step(st) != SQLITE_DONE)
        r = dv_ledger_db_failed(l, "writing", err);
    sqlite3_finalize(st);
    return r;
}

static int start(struct dv_ledger *l, struct dv_err *err)
{
    bool found = false;
    int r = 0;
    for (unsigned level = DV_LEDGER_HOUR; r == 0 && !found && level <= DV_LEDGER_DAY; level++)
        r = find_group(l, level, &l->roll.block, &found, err);
    if (r != 0 || !found)
        return r;
    r = clear_rows(l, l->roll.block.level, l->roll.block.seq, err);
    if (r != 0)
        return r;
    l->roll.level = l->roll.block.level;
    l->roll.next = l->roll.block.first;
    l->roll.sums.n = l->roll.written = 0;
    l->roll.writing = false;
    return 1;
}

/* ---- dropping ---- */

struct rule {
    unsigned level;
    uint64_t seconds, rows;
};

/* Old by the clock and by the ledger's own time: a clock set forward by years drops nothing. */
static bool old(const struct ledger_block *b, const struct ledger_block *head, int64_t now,
                uint64_t seconds)
{
    return now > b->to && (uint64_t)(now - b->to) >= seconds &&
           (head->age_ns - b->age_ns) / DV_NS_PER_S >= seconds;
}

/* The oldest coarser block whose finer ones are still there. */
static int oldest_cover(struct dv_ledger *l, unsigned level, uint64_t after,
                        struct ledger_block *ret, struct dv_err *err)
{
    sqlite3_stmt *st;
    int r = dv_ledger_db_prepare(l,
                                 "SELECT " BLOCK_COLUMNS " FROM block WHERE level = ? AND seq > ?"
                                 " AND last > ? ORDER BY seq LIMIT 1",
                                 &st, err);
    if (r != 0)
        return r;
    sqlite3_bind_int64(st, 1, level);
    sqlite3_bind_int64(st, 2, (int64_t)l->pruned[level]);
    sqlite3_bind_int64(st, 3, (int64_t)after);
    int code = sqlite3_step(st);
    memset(ret, 0, sizeof *ret);
    if (code == SQLITE_ROW)
        dv_ledger_block_read(st, ret);
    else if (code != SQLITE_DONE)
        r = dv_ledger_db_failed(l, "reading", err);
    sqlite3_finalize(st);
    return r;
}

static int set_pruned(struct dv_ledger *l, unsigned chain, uint64_t seq, struct dv_err *err)
{
    char sql[96];
    snprintf(sql, sizeof sql, "UPDATE chain SET pruned = %lld WHERE chain = %u", (long long)seq,
             chain);
    return dv_ledger_db_exec(l, sql, "pruning", err);
}

static uint64_t weight(const struct dv_ledger *l, unsigned level)
{
    return l->kept_rows[level] + l->kept_blocks[level];
}

/* Minutes and hours go by whole groups, so that the coarser chain has the hash that the rest goes
 * on from. The block that has it stays until the next group is gone too. */
static int mark_level(struct dv_ledger *l, const struct rule *rule, int64_t now, bool *ret_marked,
                      struct dv_err *err)
{
    struct ledger_block cover, head, last = {0};
    int r = oldest_cover(l, rule->level + 1, l->pruned[rule->level], &cover, err);
    if (r == 0)
        r = dv_ledger_block_head(l, rule->level, &head, err);
    if (r != 0 || !cover.seq || cover.last >= head.seq)
        return r;
    if (rule->level == DV_LEDGER_HOUR) {
        r = dv_ledger_block_get(l, DV_LEDGER_HOUR, cover.last, &last, err);
        if (r < 0)
            return r == -ENOENT ? 0 : r;
        if (last.last >= l->pruned[DV_LEDGER_MINUTE])
            return 0;
    }
    if (!old(&cover, &head, now, rule->seconds) && weight(l, rule->level) <= rule->rows)
        return 0;
    r = set_pruned(l, rule->level, cover.last, err);
    *ret_marked = r == 0;
    l->sweep |= rule->level == DV_LEDGER_HOUR;
    if (r == 0)
        l->pruned[rule->level] = cover.last;
    return r == 0 ? dv_ledger_block_load_state(l, err) : r;
}

static void hex(const uint8_t hash[HASH], char ret[2 * HASH + 1])
{
    for (size_t i = 0; i < HASH; i++)
        snprintf(ret + 2 * i, 3, "%02x", hash[i]);
}

/* Days have no coarser level: a note has the hash that the rest goes on from. */
static int mark_days(struct dv_ledger *l, const struct rule *rule, int64_t now, bool *ret_marked,
                     struct dv_err *err)
{
    struct ledger_block first, head;
    struct dv_ledger_note note = {.kind = DV_LEDGER_PRUNED,
                                  .level = DV_LEDGER_DAY,
                                  .unix_ns = now * (int64_t)DV_NS_PER_S,
                                  .who = "divvyd"};
    int r = oldest_cover(l, DV_LEDGER_DAY, 0, &first, err);
    if (r == 0)
        r = dv_ledger_block_head(l, DV_LEDGER_DAY, &head, err);
    if (r != 0 || !first.seq || first.seq >= head.seq || first.last >= l->pruned[DV_LEDGER_HOUR] ||
        (!old(&first, &head, now, rule->seconds) && weight(l, rule->level) <= rule->rows))
        return r;
    note.block = first.seq;
    hex(first.hash, note.reason);
    r = dv_ledger_db_begin(l, err);
    if (r == 0)
        r = dv_ledger_write_check(l, err);
    if (r == 0)
        r = set_pruned(l, DV_LEDGER_DAY, first.seq, err);
    if (r == 0)
        r = dv_ledger_notes_append(l, &note, NULL, 0, err);
    if (r == 0)
        r = dv_ledger_db_commit(l, err);
    if (r < 0) {
        dv_ledger_db_rollback(l);
        return r;
    }
    *ret_marked = true;
    return dv_ledger_block_load_state(l, err);
}

/* Lives go up to where a day block has seen their chain. */
static int mark_lives(struct dv_ledger *l, int64_t now, bool *ret_marked, struct dv_err *err)
{
    sqlite3_stmt *st;
    struct ledger_block day, head;
    int r = dv_ledger_block_head(l, DV_LEDGER_MINUTE, &head, err);
    if (r == 0)
        r = dv_ledger_db_prepare(l,
                                 "SELECT " BLOCK_COLUMNS " FROM block WHERE level = 2 AND"
                                 " lives > ? AND lives < (SELECT max(seq) FROM life)"
                                 " ORDER BY seq LIMIT 1",
                                 &st, err);
    if (r != 0)
        return r;
    sqlite3_bind_int64(st, 1, (int64_t)l->pruned[DV_LEDGER_LIVES]);
    int code = sqlite3_step(st);
    memset(&day, 0, sizeof day);
    if (code == SQLITE_ROW)
        dv_ledger_block_read(st, &day);
    else if (code != SQLITE_DONE)
        r = dv_ledger_db_failed(l, "reading", err);
    sqlite3_finalize(st);
    if (r != 0 || !day.seq ||
        (!old(&day, &head, now, l->limits.life_seconds) &&
         l->kept_rows[DV_LEDGER_LIVES] <= l->limits.life_rows))
        return r;
    r = set_pruned(l, DV_LEDGER_LIVES, day.lives, err);
    *ret_marked = r == 0;
    l->sweep = true;
    if (r == 0)
        l->pruned[DV_LEDGER_LIVES] = day.lives;
    return r;
}

static int delete_some(struct dv_ledger *l, bool *ret_more, struct dv_err *err)
{
    int r = 0;
    for (unsigned level = 0; r == 0 && level < DV_LEDGER_LEVELS; level++) {
        int64_t seq = (int64_t)l->pruned[level];
        if (!seq)
            continue;
        r = dv_ledger_db_run(l, err, SQL_PRUNE_ENTRIES, "iii", (int64_t)level, seq,
                             (int64_t)ROWS_PER_CALL);
        *ret_more |= r == 0 && sqlite3_changes(l->db) > 0;
        if (r == 0 && !*ret_more)
            r = dv_ledger_db_run(l, err, SQL_PRUNE_BLOCKS, "ii", (int64_t)level, seq);
        if (r < 0 || *ret_more)
            return r;
    }
    if (r == 0 && l->pruned[DV_LEDGER_LIVES]) {
        r = dv_ledger_db_run(l, err, SQL_PRUNE_LIVES, "ii", (int64_t)l->pruned[DV_LEDGER_LIVES],
                             (int64_t)ROWS_PER_CALL);
        int n = r == 0 ? sqlite3_changes(l->db) : 0;
        l->kept_rows[DV_LEDGER_LIVES] -= DV_MIN(l->kept_rows[DV_LEDGER_LIVES], (uint64_t)n);
        *ret_more |= n > 0;
    }
    return r;
}

static int prune(struct dv_ledger *l, int64_t now, struct dv_err *err)
{
    const struct rule minutes = {DV_LEDGER_MINUTE, l->limits.minute_seconds, l->limits.minute_rows},
                      hours = {DV_LEDGER_HOUR, l->limits.hour_seconds, l->limits.hour_rows},
                      days = {DV_LEDGER_DAY, l->limits.day_seconds, l->limits.day_rows};
    bool more = false;
    int r = delete_some(l, &more, err);
    if (r == 0 && !more)
        r = mark_level(l, &minutes, now, &more, err);
    if (r == 0 && !more)
        r = mark_level(l, &hours, now, &more, err);
    if (r == 0 && !more)
        r = mark_days(l, &days, now, &more, err);
    if (r == 0 && !more)
        r = mark_lives(l, now, &more, err);
    if (r == 0 && !more)
        r = dv_ledger_pods_forget(l, &more, err);
    return r == 0 && more ? 1 : r;
}

/* What is made here can be made again, so it need not be synced: the next flush does it. */
int dv_ledger_roll(struct dv_ledger *l, int64_t unix_ns, struct dv_err *err)
{
    if (l->read_only)
        return dv_err_set(err, -EROFS, "%s is open for reading only", l->path);
    int r = dv_ledger_db_exec(l, "PRAGMA synchronous = NORMAL", "rolling", err);
    if (r != 0)
        return r;
    if (!l->roll.level)
        r = start(l, err);
    else
        r = l->roll.writing ? write_rows(l, err) : add_block(l, err);
    if (r == 0)
        r = prune(l, unix_ns / (int64_t)DV_NS_PER_S, err);
    if (r < 0) {
        dv_ledger_db_rollback(l);
        stop(l);
    }
    int full = dv_ledger_db_exec(l, "PRAGMA synchronous = FULL", "rolling", err);
    return full < 0 ? full : r;
}
