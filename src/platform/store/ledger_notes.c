/* SPDX-License-Identifier: Apache-2.0 */
/* Corrections, renames and the lives of slices: chains of single rows. */
#include "ledger_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *dv_ledger_event_name(enum dv_ledger_event event)
{
    static const char *const names[] = {"granted", "limited", "released", "lost"};
    return (size_t)event < DV_ARRAY_SIZE(names) ? names[event] : "unknown";
}

static int head(struct dv_ledger *l, enum ledger_sql which, unsigned chain,
                struct dv_ledger_head *ret, struct dv_err *err)
{
    int r;
    sqlite3_stmt *st = dv_ledger_db_statement(l, which, &r, err);
    if (!st)
        return r;
    int code = sqlite3_step(st);
    ret->seq = 0;
    if (code == SQLITE_ROW) {
        ret->seq = (uint64_t)sqlite3_column_int64(st, 0);
        dv_ledger_db_hash(st, 1, ret->hash);
    } else if (code != SQLITE_DONE) {
        r = dv_ledger_db_failed(l, "reading", err);
    } else if (dv_ledger_chain_genesis(l, chain, ret->hash) < 0) {
        r = dv_err_set(err, -EIO, "no SHA-256");
    }
    sqlite3_reset(st);
    return r;
}

int dv_ledger_notes_head(struct dv_ledger *l, struct dv_ledger_head *ret, struct dv_err *err)
{
    return head(l, SQL_NOTE_HEAD, DV_LEDGER_NOTES, ret, err);
}

int dv_ledger_notes_life_head(struct dv_ledger *l, struct dv_ledger_head *ret, struct dv_err *err)
{
    return head(l, SQL_LIFE_HEAD, DV_LEDGER_LIVES, ret, err);
}

static int account_id(struct dv_ledger *l, const struct dv_account *a, uint8_t digest[HASH],
                      int64_t *ret, struct dv_err *err)
{
    if (dv_ledger_chain_account(a, digest) < 0)
        return dv_err_set(err, -EIO, "no SHA-256");
    return dv_ledger_block_account_id(l, a, digest, ret, err);
}

/* ---- lives ---- */

int dv_ledger_notes_add_life(struct dv_ledger *l, const struct dv_ledger_life *life,
                             struct dv_err *err)
{
    struct dv_ledger_head last = {0};
    uint8_t digest[HASH], hash[HASH];
    int64_t id = 0;
    int r = dv_ledger_notes_life_head(l, &last, err);
    if (r == 0)
        r = account_id(l, &life->account, digest, &id, err);
    if (r == 0 && dv_ledger_chain_life(life, digest, last.hash, hash) < 0)
        r = dv_err_set(err, -EIO, "no SHA-256");
    if (r != 0)
        return r;
    return dv_ledger_db_run(l, err, SQL_LIFE_ADD, "iiiiiiiiiiih", (int64_t)life->seq,
                            (int64_t)life->event, (int64_t)life->claim, id,
                            (int64_t)life->memory_bytes, (int64_t)life->compute, life->unix_ns,
                            (int64_t)life->busy_ns, (int64_t)life->wait_ns,
                            (int64_t)life->requested_compute, (int64_t)life->byte_seconds, hash);
}

bool dv_ledger_notes_read_life(struct dv_ledger *l, sqlite3_stmt *st, struct dv_ledger_life *ret)
{
    const struct ledger_known *k = dv_ledger_block_account(l, sqlite3_column_int64(st, 3));
    memset(ret, 0, sizeof *ret);
    ret->seq = (uint64_t)sqlite3_column_int64(st, 0);
    ret->event = (enum dv_ledger_event)sqlite3_column_int64(st, 1);
    ret->claim = (uint64_t)sqlite3_column_int64(st, 2);
    if (k)
        ret->account = k->account;
    ret->memory_bytes = (uint64_t)sqlite3_column_int64(st, 4);
    ret->compute = (uint32_t)sqlite3_column_int64(st, 5);
    ret->unix_ns = sqlite3_column_int64(st, 6);
    ret->busy_ns = (uint64_t)sqlite3_column_int64(st, 7);
    ret->wait_ns = (uint64_t)sqlite3_column_int64(st, 8);
    ret->requested_compute = (uint64_t)sqlite3_column_int64(st, 9);
    ret->byte_seconds = (uint64_t)sqlite3_column_int64(st, 10);
    return k && !k->odd;
}

static bool wanted(const struct dv_ledger_life *life, int64_t from, int64_t to, const char *tenant)
{
    int64_t t = life->unix_ns / (int64_t)DV_NS_PER_S;
    return t >= from && t < to && (!tenant || !strcmp(tenant, life->account.tenant));
}

int dv_ledger_lives(struct dv_ledger *l, int64_t from_unix, int64_t to_unix, const char *tenant,
                    dv_ledger_on_life *on_life, void *arg, struct dv_err *err)
{
    sqlite3_stmt *st;
    struct dv_ledger_life life;
    int code = SQLITE_DONE,
        r = dv_ledger_db_prepare(l, "SELECT " LIFE_COLUMNS " FROM life WHERE seq > ? ORDER BY seq",
                                 &st, err);
    bool more = true;
    if (r == 0)
        sqlite3_bind_int64(st, 1, (int64_t)l->pruned[DV_LEDGER_LIVES]);
    while (r == 0 && more && (code = sqlite3_step(st)) == SQLITE_ROW) {
        dv_ledger_notes_read_life(l, st, &life);
        if (wanted(&life, from_unix, to_unix, tenant))
            more = on_life(arg, &life);
    }
    if (r == 0 && more && code != SQLITE_DONE)
        r = dv_ledger_db_failed(l, "reading", err);
    sqlite3_finalize(st);
    for (size_t i = 0; r == 0 && more && i < l->n_lives; i++)
        if (wanted(&l->lives[i], from_unix, to_unix, tenant))
            more = on_life(arg, &l->lives[i]);
    return r;
}

/* ---- notes ---- */

static void delta_charge(const struct dv_ledger_delta *d, struct dv_charge *ret)
{
    const uint64_t figures[N_CHARGE] = {
        (uint64_t)d->busy_ns,           (uint64_t)d->overhead_ns,  (uint64_t)d->reserved_idle_ns,
        (uint64_t)d->unallocated_ns,    (uint64_t)d->unhealthy_ns, (uint64_t)d->wait_ns,
        (uint64_t)d->requested_compute, (uint64_t)d->byte_seconds, (uint64_t)d->held_ns};
    dv_ledger_chain_charge(figures, ret);
}

static int append_deltas(struct dv_ledger *l, uint64_t note, const struct dv_ledger_delta *deltas,
                         size_t n, struct ledger_delta *hashed, struct dv_err *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        int64_t id = 0;
        delta_charge(&deltas[i], &hashed[i].delta);
        r = account_id(l, &deltas[i].account, hashed[i].account, &id, err);
        if (r == 0)
            r = dv_ledger_db_run(l, err, SQL_NOTE_ENTRY_ADD, "iiic", (int64_t)note, (int64_t)i, id,
                                 &hashed[i].delta);
    }
    return r;
}

int dv_ledger_notes_append(struct dv_ledger *l, struct dv_ledger_note *note,
                           const struct dv_ledger_delta *deltas, size_t n, struct dv_err *err)
{
    struct dv_ledger_head last = {0};
    uint8_t hash[HASH];
    struct ledger_delta *hashed = calloc(n + 1, sizeof *hashed);
    int r = hashed ? dv_ledger_notes_head(l, &last, err)
                   : dv_err_set(err, -ENOMEM, "%s: out of memory", l->path);
    if (r == 0) {
        note->seq = last.seq + 1;
        r = append_deltas(l, note->seq, deltas, n, hashed, err);
    }
    if (r == 0 && dv_ledger_chain_note(note, hashed, n, last.hash, hash) < 0)
        r = dv_err_set(err, -EIO, "no SHA-256");
    free(hashed);
    if (r != 0)
        return r;
    return dv_ledger_db_run(l, err, SQL_NOTE_ADD, "iiiiiitttth", (int64_t)note->seq,
                            (int64_t)note->kind, note->unix_ns, (int64_t)note->level,
                            (int64_t)note->block, note->from_unix, note->old, note->new_name,
                            note->who, note->reason, hash);
}

void dv_ledger_notes_read_note(sqlite3_stmt *st, struct dv_ledger_note *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->seq = (uint64_t)sqlite3_column_int64(st, 0);
    ret->kind = (enum dv_ledger_note_kind)sqlite3_column_int64(st, 1);
    ret->unix_ns = sqlite3_column_int64(st, 2);
    ret->level = (unsigned)sqlite3_column_int64(st, 3);
    ret->block = (uint64_t)sqlite3_column_int64(st, 4);
    ret->from_unix = sqlite3_column_int64(st, 5);
    dv_ledger_db_text(st, 6, ret->old, sizeof ret->old);
    dv_ledger_db_text(st, 7, ret->new_name, sizeof ret->new_name);
    dv_ledger_db_text(st, 8, ret->who, sizeof ret->who);
    dv_ledger_db_text(st, 9, ret->reason, sizeof ret->reason);
}

int dv_ledger_notes(struct dv_ledger *l, dv_ledger_on_note *on_note, void *arg, struct dv_err *err)
{
    sqlite3_stmt *st;
    struct dv_ledger_note note;
    int code = SQLITE_DONE,
        r = dv_ledger_db_prepare(l, "SELECT " NOTE_COLUMNS " FROM note ORDER BY seq", &st, err);
    while (r == 0 && (code = sqlite3_step(st)) == SQLITE_ROW) {
        dv_ledger_notes_read_note(st, &note);
        on_note(arg, &note);
    }
    if (r == 0 && code != SQLITE_DONE)
        r = dv_ledger_db_failed(l, "reading", err);
    sqlite3_finalize(st);
    return r;
}

/* ---- applying corrections ---- */

static int by_account(const void *a, const void *b)
{
    const struct ledger_entry *x = a, *y = b;
    return (x->account > y->account) - (x->account < y->account);
}

static int apply_range(struct dv_ledger *l, unsigned level, uint64_t first, uint64_t last,
                       struct ledger_entries *rows, struct dv_err *err)
{
    int r = 0, code = SQLITE_DONE;
    sqlite3_stmt *st = first > last ? NULL : dv_ledger_db_statement(l, SQL_CORRECTIONS, &r, err);
    if (!st)
        return r;
    sqlite3_bind_int64(st, 1, level);
    sqlite3_bind_int64(st, 2, (int64_t)first);
    sqlite3_bind_int64(st, 3, (int64_t)last);
    while (r == 0 && (code = sqlite3_step(st)) == SQLITE_ROW) {
        struct ledger_entry key = {.account = sqlite3_column_int64(st, 0)}, *e = NULL;
        if (rows->n)
            e = bsearch(&key, rows->v, rows->n, sizeof *rows->v, by_account);
        if (!e && (e = dv_ledger_block_entry(rows))) {
            *e = key;
            qsort(rows->v, rows->n, sizeof *rows->v, by_account);
            e = bsearch(&key, rows->v, rows->n, sizeof *rows->v, by_account);
        }
        if (!e) {
            r = dv_err_set(err, -ENOMEM, "%s: out of memory", l->path);
            break;
        }
        struct dv_charge delta;
        dv_ledger_db_charge(st, 1, &delta);
        dv_charge_add(&e->charge, &delta);
        e->corrected = true;
    }
    if (r == 0 && code != SQLITE_DONE)
        r = dv_ledger_db_failed(l, "reading", err);
    sqlite3_reset(st);
    return r;
}

/* A correction of a block is one of every coarser block that covers it, whether or not it is still
 * there itself. */
int dv_ledger_notes_apply(struct dv_ledger *l, const struct ledger_block *b,
                          struct ledger_entries *rows, struct dv_err *err)
{
    int r = apply_range(l, DV_LEDGER_MINUTE, b->first_minute, b->last_minute, rows, err);
    if (r == 0 && b->level == DV_LEDGER_HOUR)
        r = apply_range(l, DV_LEDGER_HOUR, b->seq, b->seq, rows, err);
    if (r == 0 && b->level == DV_LEDGER_DAY)
        r = apply_range(l, DV_LEDGER_HOUR, b->first, b->last, rows, err);
    if (r == 0 && b->level == DV_LEDGER_DAY)
        r = apply_range(l, DV_LEDGER_DAY, b->seq, b->seq, rows, err);
    if (r == 0 && b->level == DV_LEDGER_DAY)
        dv_ledger_block_fold_pods(l, rows);
    return r;
}

/* ---- correcting ---- */

static int invalid(struct dv_ledger *l, struct dv_err *err, const char *what)
{
    return dv_err_set(err, -EINVAL, "%s: %s", l->path, what);
}

/* What a GPU's time went to may be corrected; how long it was, not. */
static bool sums_to_zero(const struct dv_ledger_delta *d, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t sum = 0;
        for (size_t k = 0; k < n; k++) {
            struct dv_charge c;
            delta_charge(&d[k], &c);
            if (!strcmp(d[k].account.gpu, d[i].account.gpu))
                sum += dv_charge_wall_ns(&c);
        }
        if (sum)
            return false;
    }
    return true;
}

static bool fits_text(const char *text, size_t size)
{
    return text && text[0] && strlen(text) < size;
}

static int check_correction(struct dv_ledger *l, const struct dv_ledger_correction *c,
                            struct dv_err *err)
{
    int64_t n = 0;
    if (!c->n || c->n > DV_LEDGER_DELTAS_MAX || c->level >= DV_LEDGER_LEVELS)
        return invalid(l, err, "a correction has 1 to 1,024 rows, of a minute, an hour or a day");
    if (!fits_text(c->reason, DV_LEDGER_REASON_SIZE) || !fits_text(c->who, DV_LEDGER_WHO_SIZE))
        return invalid(l, err, "a correction needs a reason and who made it (255 and 63 letters)");
    if (!sums_to_zero(c->deltas, c->n))
        return invalid(l, err, "the buckets of a correction must sum to zero for each GPU");
    int r = dv_ledger_db_number(l, "SELECT count(*) FROM note WHERE kind = 0", &n, err);
    if (r == 0 && n >= CORRECTIONS_MAX)
        r = dv_err_set(err, -ENOSPC, "%s has %lld corrections, it takes no more", l->path,
                       (long long)n);
    return r;
}

static int check_target(struct dv_ledger *l, const struct dv_ledger_correction *c,
                        struct ledger_block *b, struct dv_err *err)
{
    int r = c->block > l->pruned[c->level]
                ? dv_ledger_block_get(l, c->level, c->block, b, err)
                : dv_err_set(err, -ENOENT, "%s: %s block %llu has been dropped", l->path,
                             dv_ledger_chain_name(c->level), (unsigned long long)c->block);
    if (r == -ENOENT)
        return -EINVAL;
    if (r == 0 && c->level != DV_LEDGER_MINUTE && b->last > l->pruned[c->level - 1])
        r = invalid(l, err, "finer blocks of that time are there: correct one of them");
    return r;
}

/* No figure below zero, with the correction in. */
static int check_figures(struct dv_ledger *l, const struct ledger_block *b, struct dv_err *err)
{
    bool whole;
    int r = dv_ledger_block_rows(l, b, &l->scratch, &whole, err);
    if (r == 0)
        r = dv_ledger_notes_apply(l, b, &l->scratch, err);
    for (size_t i = 0; r == 0 && i < l->scratch.n; i++) {
        uint64_t figures[N_CHARGE];
        dv_ledger_chain_figures(&l->scratch.v[i].charge, figures);
        for (size_t k = 0; r == 0 && k < N_CHARGE; k++)
            if (l->scratch.v[i].corrected && figures[k] >> 63)
                r = invalid(l, err, "a figure would become negative by that correction");
    }
    return r;
}

static int finish(struct dv_ledger *l, int r, struct dv_err *err)
{
    if (r == 0)
        r = dv_ledger_db_commit(l, err);
    if (r < 0) {
        dv_ledger_db_rollback(l);
        dv_ledger_memory_forget_ids(l);
        dv_ledger_block_forget(l);
    } else {
        l->claimed = true;
    }
    return r;
}

static int begin(struct dv_ledger *l, struct dv_err *err)
{
    if (l->read_only)
        return dv_err_set(err, -EROFS, "%s is open for reading only", l->path);
    int r = dv_ledger_db_begin(l, err);
    return r == 0 ? dv_ledger_write_check(l, err) : r;
}

/* The same again, because its answer was lost. */
static int is_there(struct dv_ledger *l, const struct dv_ledger_note *note, bool *ret,
                    struct dv_err *err)
{
    sqlite3_stmt *st;
    int r =
        dv_ledger_db_prepare(l,
                             "SELECT 1 FROM note WHERE kind = ? AND level = ? AND block = ? AND"
                             " unix_ns = ? AND from_unix = ? AND old = ? AND new = ? AND who = ?"
                             " AND reason = ?",
                             &st, err);
    if (r != 0)
        return r;
    const char *const texts[] = {note->old, note->new_name, note->who, note->reason};
    const int64_t numbers[] = {note->kind, note->level, (int64_t)note->block, note->unix_ns,
                               note->from_unix};
    for (int i = 0; i < 5; i++)
        sqlite3_bind_int64(st, 1 + i, numbers[i]);
    for (int i = 0; i < 4; i++)
        sqlite3_bind_text(st, 6 + i, texts[i], -1, SQLITE_STATIC);
    int code = sqlite3_step(st);
    *ret = code == SQLITE_ROW;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        r = dv_ledger_db_failed(l, "reading", err);
    sqlite3_finalize(st);
    return r;
}

int dv_ledger_correct(struct dv_ledger *l, const struct dv_ledger_correction *c, struct dv_err *err)
{
    struct ledger_block b = {0};
    struct dv_ledger_note note = {
        .kind = DV_LEDGER_CORRECTION, .unix_ns = c->unix_ns, .level = c->level, .block = c->block};
    int r = check_correction(l, c, err);
    if (r != 0)
        return r;
    dv_str_copy(note.who, sizeof note.who, c->who);
    dv_str_copy(note.reason, sizeof note.reason, c->reason);
    bool there = false;
    r = is_there(l, &note, &there, err);
    if (r != 0 || there)
        return r;
    r = begin(l, err);
    if (r == 0)
        r = check_target(l, c, &b, err);
    if (r == 0)
        r = dv_ledger_notes_append(l, &note, c->deltas, c->n, err);
    if (r == 0)
        r = check_figures(l, &b, err);
    return finish(l, r, err);
}

int dv_ledger_rename(struct dv_ledger *l, const char *old, const char *new_name, int64_t from_unix,
                     const char *who, int64_t unix_ns, struct dv_err *err)
{
    int64_t n = 0;
    struct dv_ledger_note note = {
        .kind = DV_LEDGER_RENAME, .unix_ns = unix_ns, .from_unix = from_unix};
    if (!fits_text(old, DV_TENANT_SIZE) || !fits_text(new_name, DV_TENANT_SIZE) ||
        !strcmp(old, new_name) || !fits_text(who, DV_LEDGER_WHO_SIZE))
        return invalid(l, err, "a rename needs two different names and who made it");
    int r = dv_ledger_db_number(l, "SELECT count(*) FROM note WHERE kind = 1", &n, err);
    if (r == 0 && n >= RENAMES_MAX)
        r = dv_err_set(err, -ENOSPC, "%s has %lld renames, it takes no more", l->path,
                       (long long)n);
    if (r != 0)
        return r;
    dv_str_copy(note.old, sizeof note.old, old);
    dv_str_copy(note.new_name, sizeof note.new_name, new_name);
    dv_str_copy(note.who, sizeof note.who, who);
    bool there = false;
    r = is_there(l, &note, &there, err);
    if (r != 0 || there)
        return r;
    r = begin(l, err);
    if (r == 0)
        r = dv_ledger_notes_append(l, &note, NULL, 0, err);
    return finish(l, r, err);
}

int dv_ledger_find_block(struct dv_ledger *l, int64_t unix_seconds, enum dv_ledger_level *ret_level,
                         uint64_t *ret_block, struct dv_err *err)
{
    int r = -ENOENT;
    for (unsigned level = 0; r == -ENOENT && level < DV_LEDGER_LEVELS; level++) {
        sqlite3_stmt *st;
        r = dv_ledger_db_prepare(l,
                                 "SELECT seq FROM block WHERE level = ?1 AND seq > ?2 AND"
                                 " from_unix <= ?3 AND to_unix > ?3 ORDER BY seq DESC LIMIT 1",
                                 &st, err);
        if (r != 0)
            return r;
        sqlite3_bind_int64(st, 1, level);
        sqlite3_bind_int64(st, 2, (int64_t)l->pruned[level]);
        sqlite3_bind_int64(st, 3, unix_seconds);
        int code = sqlite3_step(st);
        if (code == SQLITE_ROW) {
            *ret_level = (enum dv_ledger_level)level;
            *ret_block = (uint64_t)sqlite3_column_int64(st, 0);
        } else {
            r = code == SQLITE_DONE ? -ENOENT : dv_ledger_db_failed(l, "reading", err);
        }
        sqlite3_finalize(st);
    }
    if (r == -ENOENT)
        dv_err_set(err, r, "%s has no sealed block of that time", l->path);
    return r;
}
