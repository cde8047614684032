/* SPDX-License-Identifier: Apache-2.0 */
/* The proof: every chain from its beginning, or from where pruning left it, to its newest link. */
#include "ledger_impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BREAKS_MAX 1000

struct proof {
    struct dv_ledger *l;
    dv_ledger_on_break *on_break;
    void *arg;
    struct dv_ledger_proof sum;
    struct ledger_entries rows, finer;
    struct dv_err err; /* of what could not be read */
};

const char *dv_ledger_fault_name(enum dv_ledger_fault fault)
{
    static const char *const names[] = {"hash", "link", "missing", "sums", "file"};
    return (size_t)fault < DV_ARRAY_SIZE(names) ? names[fault] : "unknown";
}

dv_printf(4, 5) static void found(struct proof *p, const struct dv_ledger_break *where,
                                  enum dv_ledger_fault fault, const char *fmt, ...)
{
    struct dv_ledger_break b = *where;
    va_list ap;
    if (++p->sum.breaks > BREAKS_MAX || !p->on_break)
        return;
    b.fault = fault;
    va_start(ap, fmt);
    vsnprintf(b.detail, sizeof b.detail, fmt, ap);
    va_end(ap);
    p->on_break(p->arg, &b);
}

static struct dv_ledger_break where(const struct ledger_block *b)
{
    return (struct dv_ledger_break){
        .chain = b->level, .seq = b->seq, .from_unix = b->from, .to_unix = b->to};
}

/* ---- levels ---- */

static int nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool unhex(const char *text, uint8_t ret[HASH])
{
    for (size_t i = 0; i < HASH; i++) {
        int high = nibble(text[2 * i]), low = high < 0 ? -1 : nibble(text[2 * i + 1]);
        if (low < 0)
            return false;
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return !text[2 * HASH];
}

static int query_block(struct dv_ledger *l, const char *sql, unsigned level, uint64_t seq,
                       struct ledger_block *ret, struct dv_err *err)
{
    sqlite3_stmt *st;
    int r = dv_ledger_db_prepare(l, sql, &st, err);
    if (r != 0)
        return r;
    sqlite3_bind_int64(st, 1, level);
    sqlite3_bind_int64(st, 2, (int64_t)seq);
    int code = sqlite3_step(st);
    if (code == SQLITE_ROW)
        dv_ledger_block_read(st, ret);
    else
        r = code == SQLITE_DONE ? -ENOENT : dv_ledger_db_failed(l, "reading", err);
    sqlite3_finalize(st);
    return r;
}

/* The note that says that days up to `seq` were dropped. */
static int day_anchor(struct dv_ledger *l, uint64_t seq, uint8_t ret[HASH], struct dv_err *err)
{
    sqlite3_stmt *st;
    struct dv_ledger_note note;
    int r = dv_ledger_db_prepare(l,
                                 "SELECT " NOTE_COLUMNS " FROM note WHERE kind = 2 AND level = 2"
                                 " AND block = ?",
                                 &st, err);
    if (r != 0)
        return r;
    sqlite3_bind_int64(st, 1, (int64_t)seq);
    int code = sqlite3_step(st);
    if (code == SQLITE_ROW)
        dv_ledger_notes_read_note(st, &note);
    sqlite3_finalize(st);
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? -ENOENT : dv_ledger_db_failed(l, "reading", err);
    return unhex(note.reason, ret) ? 0 : -ENOENT;
}

/* What the first block that is kept must follow. -ENOENT: nothing says. */
static int anchor(struct proof *p, unsigned level, uint8_t ret[HASH])
{
    struct ledger_block cover;
    uint64_t pruned = p->l->pruned[level];
    if (!pruned)
        return dv_ledger_chain_genesis(p->l, level, ret);
    if (level == DV_LEDGER_DAY)
        return day_anchor(p->l, pruned, ret, &p->err);
    int r = query_block(p->l, "SELECT " BLOCK_COLUMNS " FROM block WHERE level = ? AND last = ?",
                        level + 1, pruned, &cover, &p->err);
    if (r == 0)
        memcpy(ret, cover.finer, HASH);
    return r;
}

static void check_rows(struct proof *p, const struct ledger_block *b)
{
    struct dv_ledger_break at = where(b);
    bool whole;
    int r = dv_ledger_block_rows(p->l, b, &p->rows, &whole, &p->err);
    p->sum.rows += p->rows.n;
    if (r < 0)
        found(p, &at, DV_LEDGER_FAULT_FILE, "%.150s", p->err.msg);
    else if (p->rows.n < b->rows)
        found(p, &at, DV_LEDGER_FAULT_MISSING, "%zu of %llu rows are there", p->rows.n,
              (unsigned long long)b->rows);
    else if (!whole)
        found(p, &at, DV_LEDGER_FAULT_HASH, "it is not what was sealed");
}

static int by_account(const void *a, const void *b)
{
    const struct ledger_entry *x = a, *y = b;
    return (x->account > y->account) - (x->account < y->account);
}

/* Subtracts the rows of a finer block from what the coarser one says; false: more than it says. */
static bool subtract(struct ledger_entries *left, const struct ledger_entries *rows)
{
    for (size_t i = 0; i < rows->n; i++) {
        uint64_t a[N_CHARGE], b[N_CHARGE];
        struct ledger_entry *e =
            left->n ? bsearch(&rows->v[i], left->v, left->n, sizeof *left->v, by_account) : NULL;
        if (!e)
            return false;
        dv_ledger_chain_figures(&e->charge, a);
        dv_ledger_chain_figures(&rows->v[i].charge, b);
        for (size_t k = 0; k < N_CHARGE; k++)
            a[k] -= b[k];
        dv_ledger_chain_charge(a, &e->charge);
    }
    return true;
}

static bool all_zero(const struct ledger_entries *rows)
{
    static const struct dv_charge nothing;
    for (size_t i = 0; i < rows->n; i++)
        if (memcmp(&rows->v[i].charge, &nothing, sizeof nothing) != 0)
            return false;
    return true;
}

/* p->rows has the rows of b. */
static void check_sums(struct proof *p, const struct ledger_block *b)
{
    struct dv_ledger_break at = where(b);
    struct ledger_block finer = {0};
    bool whole, equal = true;
    if (b->level == DV_LEDGER_MINUTE || b->first <= p->l->pruned[b->level - 1])
        return;
    for (uint64_t seq = b->first; equal && seq <= b->last && seq - b->first < 100000; seq++) {
        if (dv_ledger_block_get(p->l, b->level - 1, seq, &finer, &p->err) < 0 ||
            dv_ledger_block_rows(p->l, &finer, &p->finer, &whole, &p->err) < 0) {
            found(p, &at, DV_LEDGER_FAULT_MISSING, "%s block %llu, which it covers, is not there",
                  dv_ledger_chain_name(b->level - 1), (unsigned long long)seq);
            return;
        }
        if (b->level == DV_LEDGER_DAY)
            dv_ledger_block_fold_pods(p->l, &p->finer);
        equal = subtract(&p->rows, &p->finer);
    }
    if (!equal || !all_zero(&p->rows))
        found(p, &at, DV_LEDGER_FAULT_SUMS, "it is not the sum of %s blocks %llu to %llu",
              dv_ledger_chain_name(b->level - 1), (unsigned long long)b->first,
              (unsigned long long)b->last);
    else if (memcmp(finer.hash, b->finer, HASH) != 0)
        found(p, &at, DV_LEDGER_FAULT_LINK, "%s block %llu is not the one it was made of",
              dv_ledger_chain_name(b->level - 1), (unsigned long long)b->last);
}

/* b follows `before` (seq 0: the anchor, if any). */
static void check_link(struct proof *p, const struct ledger_block *b, uint64_t expected,
                       const uint8_t *prev)
{
    struct dv_ledger_break at = where(b);
    if (b->seq != expected)
        found(p, &at, DV_LEDGER_FAULT_MISSING, "%s blocks %llu to %llu are gone",
              dv_ledger_chain_name(b->level), (unsigned long long)expected,
              (unsigned long long)(b->seq - 1));
    else if (!prev || memcmp(prev, b->prev, HASH) != 0)
        found(p, &at, DV_LEDGER_FAULT_LINK, "it does not follow %s",
              expected == p->l->pruned[b->level] + 1 ? "what was dropped before it"
                                                     : "the block before it");
}

static void check_cover(struct proof *p, const struct ledger_block *b,
                        const struct ledger_block *before)
{
    struct dv_ledger_break at = where(b);
    if (b->level != DV_LEDGER_MINUTE && before->seq && before->seq + 1 == b->seq &&
        before->last + 1 != b->first)
        found(p, &at, DV_LEDGER_FAULT_LINK, "the block before it covers up to %llu, it from %llu",
              (unsigned long long)before->last, (unsigned long long)b->first);
}

/* One block after the other, each read by its own search, so that a damaged one is passed by. */
static void check_level(struct proof *p, unsigned level, uint64_t ret_head[DV_LEDGER_LEVELS])
{
    struct dv_ledger_break at = {.chain = level};
    struct ledger_block before = {0}, b = {0};
    uint8_t hash[HASH];
    const uint8_t *prev = anchor(p, level, hash) == 0 ? hash : NULL;
    uint64_t seq = p->l->pruned[level];
    for (;;) {
        int r = query_block(p->l,
                            "SELECT " BLOCK_COLUMNS " FROM block WHERE level = ? AND seq > ?"
                            " ORDER BY seq LIMIT 1",
                            level, seq, &b, &p->err);
        if (r == -ENOENT || (r == 0 && (b.level != level || b.seq <= seq)))
            break;
        if (r < 0) {
            at.seq = seq + 1;
            found(p, &at, DV_LEDGER_FAULT_FILE, "%.150s", p->err.msg);
            break;
        }
        p->sum.blocks++;
        check_link(p, &b, seq + 1, prev);
        check_cover(p, &b, &before);
        check_rows(p, &b);
        check_sums(p, &b);
        memcpy(hash, b.hash, HASH);
        prev = hash;
        seq = b.seq;
        before = b;
    }
    ret_head[level] = seq;
}

/* The end of a chain can be cut off without a trace in it: others may know of it. */
static void check_ends(struct proof *p, const uint64_t heads[DV_LEDGER_LEVELS])
{
    struct ledger_block head = {0};
    struct dv_ledger_break at = {0};
    int64_t open = 0;
    for (unsigned level = DV_LEDGER_HOUR; level <= DV_LEDGER_DAY; level++) {
        at = (struct dv_ledger_break){.chain = level - 1, .seq = heads[level - 1] + 1};
        if (dv_ledger_block_head(p->l, level, &head, &p->err) == 0 && head.last > heads[level - 1])
            found(p, &at, DV_LEDGER_FAULT_MISSING, "%s blocks up to %llu were there",
                  dv_ledger_chain_name(level - 1), (unsigned long long)head.last);
    }
    at = (struct dv_ledger_break){.chain = DV_LEDGER_MINUTE, .seq = heads[DV_LEDGER_MINUTE] + 1};
    if (dv_ledger_db_number(p->l, "SELECT ifnull((SELECT seq FROM open_block), 0)", &open,
                            &p->err) < 0)
        found(p, &at, DV_LEDGER_FAULT_FILE, "%.150s", p->err.msg);
    else if (open && (uint64_t)open != heads[DV_LEDGER_MINUTE] + 1)
        found(p, &at, DV_LEDGER_FAULT_MISSING, "minute blocks up to %llu were there",
              (unsigned long long)open - 1);
}

/* ---- lives, notes ---- */

struct single {
    unsigned chain;
    const char *sql;
    int hash_column;
    int (*hash)(struct proof *p, sqlite3_stmt *st, const uint8_t prev[HASH],
                struct dv_ledger_break *at, uint8_t ret[HASH]);
};

static int hash_life(struct proof *p, sqlite3_stmt *st, const uint8_t prev[HASH],
                     struct dv_ledger_break *at, uint8_t ret[HASH])
{
    struct dv_ledger_life life;
    bool known = dv_ledger_notes_read_life(p->l, st, &life);
    const struct ledger_known *k = dv_ledger_block_account(p->l, sqlite3_column_int64(st, 3));
    p->sum.lives++;
    at->from_unix = at->to_unix = life.unix_ns / (int64_t)DV_NS_PER_S;
    return known && k ? dv_ledger_chain_life(&life, k->digest, prev, ret) : -EBADMSG;
}

static int note_deltas(struct proof *p, uint64_t note, struct ledger_delta *deltas, size_t *ret_n)
{
    sqlite3_stmt *st;
    int code = SQLITE_DONE, r = dv_ledger_db_prepare(
                                p->l,
                                "SELECT account, busy,overhead,reserved_idle,unallocated,unhealthy,"
                                "wait,requested,byte_seconds,held FROM note_entry WHERE note = ?"
                                " ORDER BY n",
                                &st, &p->err);
    if (r != 0)
        return r;
    *ret_n = 0;
    sqlite3_bind_int64(st, 1, (int64_t)note);
    while (*ret_n < DV_LEDGER_DELTAS_MAX && (code = sqlite3_step(st)) == SQLITE_ROW) {
        const struct ledger_known *k = dv_ledger_block_account(p->l, sqlite3_column_int64(st, 0));
        struct ledger_delta *d = &deltas[(*ret_n)++];
        memset(d, 0, sizeof *d);
        if (k)
            memcpy(d->account, k->digest, HASH);
        dv_ledger_db_charge(st, 1, &d->delta);
    }
    if (code != SQLITE_DONE && code != SQLITE_ROW)
        r = dv_ledger_db_failed(p->l, "reading", &p->err);
    sqlite3_finalize(st);
    return r;
}

static int hash_note(struct proof *p, sqlite3_stmt *st, const uint8_t prev[HASH],
                     struct dv_ledger_break *at, uint8_t ret[HASH])
{
    struct dv_ledger_note note;
    size_t n = 0;
    struct ledger_delta *deltas = malloc(DV_LEDGER_DELTAS_MAX * sizeof *deltas);
    dv_ledger_notes_read_note(st, &note);
    p->sum.notes++;
    at->from_unix = at->to_unix = note.unix_ns / (int64_t)DV_NS_PER_S;
    int r = deltas ? note_deltas(p, note.seq, deltas, &n) : -ENOMEM;
    if (r == 0)
        r = dv_ledger_chain_note(&note, deltas, n, prev, ret);
    free(deltas);
    return r;
}

/* Lives that were dropped: a block has the hash they ended with. */
static int single_anchor(struct proof *p, const struct single *s, uint8_t ret[HASH])
{
    struct ledger_block day;
    uint64_t pruned = p->l->pruned[s->chain];
    if (!pruned)
        return dv_ledger_chain_genesis(p->l, s->chain, ret);
    int r = query_block(p->l, "SELECT " BLOCK_COLUMNS " FROM block WHERE level = ? AND lives = ?",
                        DV_LEDGER_DAY, pruned, &day, &p->err);
    if (r == 0)
        memcpy(ret, day.lives_hash, HASH);
    return r;
}

static void check_single(struct proof *p, const struct single *s)
{
    sqlite3_stmt *st;
    uint8_t prev[HASH] = {0}, hash[HASH], stored[HASH];
    struct dv_ledger_break at = {.chain = s->chain};
    uint64_t expected = p->l->pruned[s->chain] + 1;
    bool anchored = single_anchor(p, s, prev) == 0;
    int code = SQLITE_DONE, r = dv_ledger_db_prepare(p->l, s->sql, &st, &p->err);
    if (r == 0)
        sqlite3_bind_int64(st, 1, (int64_t)p->l->pruned[s->chain]);
    while (r == 0 && (code = sqlite3_step(st)) == SQLITE_ROW) {
        at.seq = (uint64_t)sqlite3_column_int64(st, 0);
        bool fits = dv_ledger_db_hash(st, s->hash_column, stored);
        int bad = s->hash(p, st, prev, &at, hash);
        if (at.seq != expected)
            found(p, &at, DV_LEDGER_FAULT_MISSING, "%s %llu to %llu are gone",
                  dv_ledger_chain_name(s->chain), (unsigned long long)expected,
                  (unsigned long long)(at.seq - 1));
        else if (!anchored)
            found(p, &at, DV_LEDGER_FAULT_LINK, "no day block knows what was dropped before it");
        else if (bad || !fits || memcmp(hash, stored, HASH) != 0)
            found(p, &at, DV_LEDGER_FAULT_HASH, "it is not what was written");
        memcpy(prev, stored, HASH);
        expected = at.seq + 1;
        anchored = true;
    }
    if (r < 0 || code != SQLITE_DONE) {
        if (r == 0)
            dv_ledger_db_failed(p->l, "reading", &p->err);
        at.seq = expected;
        found(p, &at, DV_LEDGER_FAULT_FILE, "%.150s", p->err.msg);
    }
    sqlite3_finalize(st);
}

/* Blocks saw these chains grow: an end that was cut off, or another one, shows. */
static void check_seen(struct proof *p, const char *sql, unsigned chain)
{
    sqlite3_stmt *st;
    struct dv_ledger_break at = {.chain = chain};
    if (dv_ledger_db_prepare(p->l, sql, &st, &p->err) < 0)
        return;
    sqlite3_bind_int64(st, 1, (int64_t)p->l->pruned[chain]);
    while (sqlite3_step(st) == SQLITE_ROW) {
        at.seq = (uint64_t)sqlite3_column_int64(st, 0);
        found(p, &at, DV_LEDGER_FAULT_MISSING, "%s block %lld saw another one, or one that is gone",
              dv_ledger_chain_name((unsigned)sqlite3_column_int64(st, 1)),
              (long long)sqlite3_column_int64(st, 2));
    }
    sqlite3_finalize(st);
}

static void check_file(struct proof *p)
{
    sqlite3_stmt *st;
    struct dv_ledger_break at = {.chain = DV_LEDGER_CHAINS};
    if (dv_ledger_db_prepare(p->l, "PRAGMA quick_check(20)", &st, &p->err) < 0) {
        found(p, &at, DV_LEDGER_FAULT_FILE, "%.150s", p->err.msg);
        return;
    }
    int code;
    while ((code = sqlite3_step(st)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(st, 0);
        if (text && strcmp(text, "ok") != 0)
            found(p, &at, DV_LEDGER_FAULT_FILE, "%.150s", text);
    }
    if (code != SQLITE_DONE) {
        dv_ledger_db_failed(p->l, "checking", &p->err);
        found(p, &at, DV_LEDGER_FAULT_FILE, "%.150s", p->err.msg);
    }
    sqlite3_finalize(st);
}

int dv_ledger_verify(struct dv_ledger *l, dv_ledger_on_break *on_break, void *arg,
                     struct dv_ledger_proof *ret, struct dv_err *err)
{
    static const struct single lives = {
        DV_LEDGER_LIVES, "SELECT " LIFE_COLUMNS " FROM life WHERE seq > ? ORDER BY seq", 11,
        hash_life};
    static const struct single notes = {
        DV_LEDGER_NOTES, "SELECT " NOTE_COLUMNS " FROM note WHERE seq > ? ORDER BY seq", 10,
        hash_note};
    struct proof p = {.l = l, .on_break = on_break, .arg = arg};
    uint64_t heads[DV_LEDGER_LEVELS] = {0};
    int r = dv_ledger_db_exec(l, "BEGIN", "reading", err);
    if (r != 0)
        return r;
    dv_ledger_block_forget(l);
    check_file(&p);
    r = dv_ledger_block_load_pruned(l, err);
    for (unsigned level = 0; r == 0 && level < DV_LEDGER_LEVELS; level++)
        check_level(&p, level, heads);
    if (r == 0) {
        check_ends(&p, heads);
        check_single(&p, &lives);
        check_single(&p, &notes);
        check_seen(&p,
                   "SELECT b.lives, b.level, b.seq FROM block b LEFT JOIN life f ON f.seq = b.lives"
                   " WHERE b.lives > ? AND f.hash IS NOT b.lives_hash GROUP BY 1 LIMIT 20",
                   DV_LEDGER_LIVES);
        check_seen(&p,
                   "SELECT b.notes, b.level, b.seq FROM block b LEFT JOIN note n ON n.seq = b.notes"
                   " WHERE b.notes > ? AND n.hash IS NOT b.notes_hash GROUP BY 1 LIMIT 20",
                   DV_LEDGER_NOTES);
    }
    dv_ledger_db_rollback(l);
    free(p.rows.v);
    free(p.finer.v);
    if (ret)
        *ret = p.sum;
    return r;
}
