/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks and accounts as they lie on disk. Nothing read is trusted: a file may be damaged anywhere.
 */
#include "ledger_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX (4 * MEMORY_ACCOUNTS_MAX) /* more than any block of ours has */
#define KNOWN_MAX 16384
#define ACCOUNT_ID_MAX (INT64_C(1) << 40) /* the dictionary forgets pods: numbers go on */

const char *dv_ledger_chain_name(unsigned chain)
{
    static const char *const names[] = {"minute", "hour", "day", "lives", "notes"};
    return chain < DV_ARRAY_SIZE(names) ? names[chain] : "unknown";
}

int64_t dv_ledger_block_span(unsigned level)
{
    return level == DV_LEDGER_MINUTE ? 60 : level == DV_LEDGER_HOUR ? 3600 : 86400;
}

int64_t dv_ledger_block_floor(int64_t t, unsigned level)
{
    int64_t span = dv_ledger_block_span(level), rest = t % span;
    return t - (rest < 0 ? rest + span : rest);
}

static bool far(int64_t unix_seconds)
{
    return unix_seconds > UNIX_LIMIT || unix_seconds < -UNIX_LIMIT;
}

void dv_ledger_block_read(sqlite3_stmt *st, struct ledger_block *b)
{
    int i = 0;
    memset(b, 0, sizeof *b);
    b->level = (unsigned)sqlite3_column_int64(st, i++);
    b->seq = (uint64_t)sqlite3_column_int64(st, i++);
    b->from = sqlite3_column_int64(st, i++);
    b->to = sqlite3_column_int64(st, i++);
    b->begin_ns = sqlite3_column_int64(st, i++);
    b->end_ns = sqlite3_column_int64(st, i++);
    b->wall_ns = (uint64_t)sqlite3_column_int64(st, i++);
    b->age_ns = (uint64_t)sqlite3_column_int64(st, i++);
    b->step_ns = sqlite3_column_int64(st, i++);
    b->first = (uint64_t)sqlite3_column_int64(st, i++);
    b->last = (uint64_t)sqlite3_column_int64(st, i++);
    b->first_minute = (uint64_t)sqlite3_column_int64(st, i++);
    b->last_minute = (uint64_t)sqlite3_column_int64(st, i++);
    b->faults = (uint64_t)sqlite3_column_int64(st, i++);
    b->odd |= !dv_ledger_db_hash(st, i++, b->finer);
    b->lives = (uint64_t)sqlite3_column_int64(st, i++);
    b->odd |= !dv_ledger_db_hash(st, i++, b->lives_hash);
    b->notes = (uint64_t)sqlite3_column_int64(st, i++);
    b->odd |= !dv_ledger_db_hash(st, i++, b->notes_hash);
    b->rows = (uint64_t)sqlite3_column_int64(st, i++);
    b->odd |= !dv_ledger_db_hash(st, i++, b->prev);
    b->odd |= !dv_ledger_db_hash(st, i++, b->hash);
    b->odd |= b->level >= DV_LEDGER_LEVELS || far(b->from) || far(b->to) || b->to < b->from;
    if (far(b->from) || far(b->to) || b->to < b->from)
        b->from = b->to = 0;
}

static int one(struct dv_ledger *l, enum ledger_sql which, unsigned level, uint64_t seq,
               struct ledger_block *ret, struct dv_err *err)
{
    int r;
    sqlite3_stmt *st = dv_ledger_db_statement(l, which, &r, err);
    if (!st)
        return r;
    sqlite3_bind_int64(st, 1, level);
    if (which == SQL_BLOCK_GET)
        sqlite3_bind_int64(st, 2, (int64_t)seq);
    int code = sqlite3_step(st);
    memset(ret, 0, sizeof *ret);
    if (code == SQLITE_ROW)
        dv_ledger_block_read(st, ret);
    else
        r = code == SQLITE_DONE ? -ENOENT : dv_ledger_db_failed(l, "reading", err);
    sqlite3_reset(st);
    return r;
}

int dv_ledger_block_head(struct dv_ledger *l, unsigned level, struct ledger_block *ret,
                         struct dv_err *err)
{
    int r = one(l, SQL_HEAD, level, 0, ret, err);
    return r == -ENOENT ? 0 : r;
}

int dv_ledger_block_get(struct dv_ledger *l, unsigned level, uint64_t seq, struct ledger_block *ret,
                        struct dv_err *err)
{
    int r = one(l, SQL_BLOCK_GET, level, seq, ret, err);
    if (r == -ENOENT)
        dv_err_set(err, r, "%s: no %s block %llu", l->path, dv_ledger_chain_name(level),
                   (unsigned long long)seq);
    return r;
}

/* ---- accounts ---- */

static void read_account(sqlite3_stmt *st, struct ledger_known *k)
{
    struct dv_account *a = &k->account;
    dv_ledger_db_text(st, 0, a->gpu, sizeof a->gpu);
    dv_ledger_db_text(st, 1, a->model, sizeof a->model);
    dv_ledger_db_text(st, 2, a->profile, sizeof a->profile);
    dv_ledger_db_text(st, 3, a->tenant, sizeof a->tenant);
    dv_ledger_db_text(st, 8, a->pod, sizeof a->pod);
    int64_t mode = sqlite3_column_int64(st, 4), tier = sqlite3_column_int64(st, 5),
            source = sqlite3_column_int64(st, 6), quality = sqlite3_column_int64(st, 7);
    /* Others use these as indexes of tables. */
    k->odd = mode < 0 || mode > DV_MODE_GOVERNED || tier < 0 || tier > DV_TIER_LATENCY_CRITICAL ||
             source < 0 || source > DV_SOURCE_ACCOUNTING || quality < 0 ||
             quality > DV_QUALITY_ESTIMATED;
    if (k->odd)
        return;
    a->mode = (enum dv_mode)mode;
    a->tier = (enum dv_tier)tier;
    a->source = (enum dv_source)source;
    a->quality = (enum dv_quality)quality;
}

/* Direct-mapped by id: a block's rows come in the order of ids. */
static struct ledger_known *slot_of(struct dv_ledger *l, int64_t id)
{
    size_t want = 256;
    while (want < KNOWN_MAX && want < (size_t)DV_MAX(id, l->n_dictionary))
        want *= 2;
    if (want > l->n_known) {
        struct ledger_known *more = calloc(want, sizeof *more);
        if (more) {
            free(l->known);
            l->known = more;
            l->n_known = want;
        }
    }
    return l->n_known ? &l->known[(size_t)id & (l->n_known - 1)] : NULL;
}

const struct ledger_known *dv_ledger_block_account(struct dv_ledger *l, int64_t id)
{
    struct dv_err err;
    int r;
    if (id <= 0 || id > ACCOUNT_ID_MAX)
        return NULL;
    struct ledger_known *k = slot_of(l, id);
    if (!k || k->id == id)
        return k;
    sqlite3_stmt *st = dv_ledger_db_statement(l, SQL_ACCOUNT_GET, &r, &err);
    if (!st) {
        l->unread = true;
        return NULL;
    }
    sqlite3_bind_int64(st, 1, id);
    memset(k, 0, sizeof *k);
    int code = sqlite3_step(st);
    l->unread |= code != SQLITE_ROW && code != SQLITE_DONE;
    if (code == SQLITE_ROW) {
        read_account(st, k);
        k->odd |= dv_ledger_chain_account(&k->account, k->digest) < 0;
        k->id = id;
    }
    sqlite3_reset(st);
    return k->id ? k : NULL;
}

void dv_ledger_block_forget(struct dv_ledger *l)
{
    free(l->known);
    l->known = NULL;
    l->n_known = 0;
}

/* *ret 0: it is not in the dictionary. */
static int find_id(struct dv_ledger *l, const uint8_t digest[HASH], int64_t *ret,
                   struct dv_err *err)
{
    int r;
    sqlite3_stmt *st = dv_ledger_db_statement(l, SQL_ACCOUNT_FIND, &r, err);
    if (!st)
        return r;
    sqlite3_bind_blob(st, 1, digest, HASH, SQLITE_STATIC);
    int code = sqlite3_step(st);
    *ret = code == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    return code == SQLITE_ROW || code == SQLITE_DONE ? 0 : dv_ledger_db_failed(l, "reading", err);
}

static int add_id(struct dv_ledger *l, const struct dv_account *a, const uint8_t digest[HASH],
                  int64_t *ret, struct dv_err *err)
{
    int r = dv_ledger_db_run(l, err, SQL_ACCOUNT_ADD, "httttiiiit", digest, a->gpu, a->model,
                             a->profile, a->tenant, (int64_t)a->mode, (int64_t)a->tier,
                             (int64_t)a->source, (int64_t)a->quality, a->pod);
    *ret = sqlite3_last_insert_rowid(l->db);
    l->n_dictionary = DV_MAX(l->n_dictionary, *ret);
    l->kept_accounts += r == 0;
    return r;
}

/* What days and totals say of a pod needs the account without it. */
static int add_base(struct dv_ledger *l, const struct dv_account *a, struct dv_err *err)
{
    const struct dv_account base = dv_ledger_pods_base(a);
    uint8_t digest[HASH];
    int64_t id = 0;
    if (dv_ledger_chain_account(&base, digest) < 0)
        return dv_err_set(err, -EIO, "no SHA-256");
    int r = find_id(l, digest, &id, err);
    return r < 0 || id ? r : add_id(l, &base, digest, &id, err);
}

int dv_ledger_block_account_id(struct dv_ledger *l, const struct dv_account *a,
                               const uint8_t digest[HASH], int64_t *ret, struct dv_err *err)
{
    int64_t id = 0;
    int r = find_id(l, digest, &id, err);
    if (r == 0 && !id && a->pod[0])
        r = add_base(l, a, err);
    if (r == 0 && !id) {
        r = add_id(l, a, digest, &id, err);
        if (r == 0 && a->pod[0])
            r = dv_ledger_pods_seen(l, id, l->now.seq, err);
    }
    *ret = id;
    return r;
}

int64_t dv_ledger_block_base(struct dv_ledger *l, int64_t id)
{
    const struct ledger_known *k = dv_ledger_block_account(l, id);
    uint8_t digest[HASH];
    struct dv_err err;
    int64_t base = 0;
    if (!k || !k->account.pod[0])
        return id;
    if (k->base)
        return k->base;
    const struct dv_account account = dv_ledger_pods_base(&k->account);
    int r = dv_ledger_chain_account(&account, digest);
    if (r == 0)
        r = find_id(l, digest, &base, &err);
    l->unread |= r < 0;
    base = base ? base : id;
    slot_of(l, id)->base = r == 0 ? base : 0;
    return base;
}

/* ---- rows ---- */

static int by_account(const void *a, const void *b)
{
    const struct ledger_entry *x = a, *y = b;
    return (x->account > y->account) - (x->account < y->account);
}

void dv_ledger_block_fold_pods(struct dv_ledger *l, struct ledger_entries *rows)
{
    size_t n = 0;
    for (size_t i = 0; i < rows->n; i++)
        rows->v[i].account = dv_ledger_block_base(l, rows->v[i].account);
    if (rows->n)
        qsort(rows->v, rows->n, sizeof *rows->v, by_account);
    for (size_t i = 0; i < rows->n; i++) {
        if (n && rows->v[n - 1].account == rows->v[i].account) {
            dv_charge_add(&rows->v[n - 1].charge, &rows->v[i].charge);
            rows->v[n - 1].corrected |= rows->v[i].corrected;
        } else {
            rows->v[n++] = rows->v[i];
        }
    }
    rows->n = n;
}

struct ledger_entry *dv_ledger_block_entry(struct ledger_entries *rows)
{
    if (rows->n == rows->cap) {
        size_t cap = rows->cap ? rows->cap * 2 : 256;
        struct ledger_entry *more = cap > ENTRIES_MAX ? NULL : realloc(rows->v, cap * sizeof *more);
        if (!more)
            return NULL;
        rows->v = more;
        rows->cap = cap;
    }
    memset(&rows->v[rows->n], 0, sizeof *rows->v);
    return &rows->v[rows->n++];
}

static int hash_rows(struct dv_ledger *l, const struct ledger_block *b,
                     const struct ledger_entry *v, size_t n, bool *ret_known, uint8_t ret[HASH])
{
    struct ledger_block counted = *b;
    uint8_t(*copies)[HASH] = malloc((n + 1) * HASH);
    const uint8_t **digests = malloc((n + 1) * sizeof *digests);
    int r = copies && digests ? 0 : -ENOMEM;
    *ret_known = true;
    for (size_t i = 0; r == 0 && i < n; i++) {
        const struct ledger_known *k = dv_ledger_block_account(l, v[i].account);
        *ret_known &= k && !k->odd;
        if (k)
            memcpy(copies[i], k->digest, HASH); /* the slot may be another's at the next turn */
        else
            memset(copies[i], 0, HASH);
        digests[i] = copies[i];
    }
    counted.rows = n;
    if (r == 0)
        r = dv_ledger_chain_block(&counted, v, digests, ret);
    free(copies);
    free(digests);
    return r;
}

int dv_ledger_block_rows(struct dv_ledger *l, const struct ledger_block *b,
                         struct ledger_entries *rows, bool *ret_whole, struct dv_err *err)
{
    int r, code = SQLITE_DONE;
    bool known = true;
    uint8_t hash[HASH];
    rows->n = 0;
    *ret_whole = false;
    sqlite3_stmt *st = dv_ledger_db_statement(l, SQL_ENTRY_LIST, &r, err);
    if (!st)
        return r;
    sqlite3_bind_int64(st, 1, b->level);
    sqlite3_bind_int64(st, 2, (int64_t)b->seq);
    while (r == 0 && (code = sqlite3_step(st)) == SQLITE_ROW) {
        struct ledger_entry *e = dv_ledger_block_entry(rows);
        if (!e) {
            r = dv_err_set(err, -ENOMEM, "%s: out of memory", l->path);
            break;
        }
        e->account = sqlite3_column_int64(st, 0);
        dv_ledger_db_charge(st, 1, &e->charge);
    }
    if (r == 0 && code != SQLITE_DONE)
        r = dv_ledger_db_failed(l, "reading", err);
    sqlite3_reset(st);
    l->unread = false;
    if (r == 0)
        r = hash_rows(l, b, rows->v, rows->n, &known, hash);
    if (r == 0 && l->unread) /* not the same as an account that is gone */
        r = dv_err_set(err, -EIO, "%s: an account could not be read", l->path);
    if (r == 0)
        *ret_whole = known && !b->odd && rows->n == b->rows && !memcmp(hash, b->hash, HASH);
    return r;
}

/* ---- appending ---- */

static int complete(struct dv_ledger *l, struct ledger_block *b, struct dv_err *err)
{
    struct ledger_block head = {0};
    struct dv_ledger_head lives = {0}, notes = {0};
    int r = dv_ledger_block_head(l, b->level, &head, err);
    if (r == 0)
        r = dv_ledger_notes_life_head(l, &lives, err);
    if (r == 0)
        r = dv_ledger_notes_head(l, &notes, err);
    if (r != 0)
        return r;
    if (head.seq + 1 != b->seq)
        return dv_err_set(err, -EBADMSG, "%s: %s block %llu is there, %llu should follow", l->path,
                          dv_ledger_chain_name(b->level), (unsigned long long)head.seq,
                          (unsigned long long)b->seq);
    if (!head.seq && dv_ledger_chain_genesis(l, b->level, head.hash) < 0)
        return dv_err_set(err, -EIO, "no SHA-256");
    memcpy(b->prev, head.hash, HASH);
    if (b->level == DV_LEDGER_MINUTE) {
        b->age_ns = head.age_ns + b->wall_ns;
        b->first_minute = b->last_minute = b->seq;
    }
    b->lives = lives.seq;
    memcpy(b->lives_hash, lives.hash, HASH);
    b->notes = notes.seq;
    memcpy(b->notes_hash, notes.hash, HASH);
    return 0;
}

int dv_ledger_block_append(struct dv_ledger *l, struct ledger_block *b,
                           const struct ledger_entry *v, size_t n, bool add_entries,
                           struct dv_err *err)
{
    bool known;
    b->rows = n;
    int r = complete(l, b, err);
    if (r == 0 && hash_rows(l, b, v, n, &known, b->hash) < 0)
        r = dv_err_set(err, -ENOMEM, "%s: cannot hash a block", l->path);
    if (r == 0 && !known)
        r = dv_err_set(err, -EIO, "%s: cannot read the accounts of a block", l->path);
    for (size_t i = 0; r == 0 && add_entries && i < n; i++)
        r = dv_ledger_db_run(l, err, SQL_ENTRY_ADD, "iiic", (int64_t)b->level, (int64_t)b->seq,
                             v[i].account, &v[i].charge);
    if (r != 0)
        return r;
    return dv_ledger_db_run(l, err, SQL_BLOCK_ADD, "iiiiiiiiiiiiiihihihihh", (int64_t)b->level,
                            (int64_t)b->seq, b->from, b->to, b->begin_ns, b->end_ns,
                            (int64_t)b->wall_ns, (int64_t)b->age_ns, b->step_ns, (int64_t)b->first,
                            (int64_t)b->last, (int64_t)b->first_minute, (int64_t)b->last_minute,
                            (int64_t)b->faults, b->finer, (int64_t)b->lives, b->lives_hash,
                            (int64_t)b->notes, b->notes_hash, (int64_t)b->rows, b->prev, b->hash);
}

static int count_level(struct dv_ledger *l, unsigned level, struct dv_err *err)
{
    sqlite3_stmt *st;
    int r = dv_ledger_db_prepare(
        l, "SELECT count(*), total(rows) FROM block WHERE level = ? AND seq > ?", &st, err);
    if (r != 0)
        return r;
    sqlite3_bind_int64(st, 1, level);
    sqlite3_bind_int64(st, 2, (int64_t)l->pruned[level]);
    if (sqlite3_step(st) == SQLITE_ROW) {
        double rows = sqlite3_column_double(st, 1);
        l->kept_blocks[level] = (uint64_t)sqlite3_column_int64(st, 0);
        l->kept_rows[level] = rows > 0 && rows < 1e15 ? (uint64_t)rows : 0;
    } else {
        r = dv_ledger_db_failed(l, "reading", err);
    }
    sqlite3_finalize(st);
    return r;
}

/* What is dropped, as another process may have since. */
int dv_ledger_block_load_pruned(struct dv_ledger *l, struct dv_err *err)
{
    sqlite3_stmt *st;
    int code, r = dv_ledger_db_prepare(l, "SELECT chain, pruned FROM chain", &st, err);
    if (r != 0)
        return r;
    memset(l->pruned, 0, sizeof l->pruned);
    while ((code = sqlite3_step(st)) == SQLITE_ROW) {
        int64_t chain = sqlite3_column_int64(st, 0), pruned = sqlite3_column_int64(st, 1);
        if (chain >= 0 && chain < DV_LEDGER_CHAINS && pruned >= 0)
            l->pruned[chain] = (uint64_t)pruned;
    }
    if (code != SQLITE_DONE)
        r = dv_ledger_db_failed(l, "reading", err);
    sqlite3_finalize(st);
    return r;
}

int dv_ledger_block_load_state(struct dv_ledger *l, struct dv_err *err)
{
    sqlite3_stmt *st;
    int r = dv_ledger_db_prepare(l, "SELECT id FROM ledger", &st, err);
    if (r == 0 && sqlite3_step(st) == SQLITE_ROW &&
        sqlite3_column_bytes(st, 0) == (int)sizeof l->id)
        memcpy(l->id, sqlite3_column_blob(st, 0), sizeof l->id);
    else if (r == 0)
        r = dv_err_set(err, -EBADMSG, "%s: the ledger's id is gone", l->path);
    sqlite3_finalize(st);
    if (r == 0)
        r = dv_ledger_block_load_pruned(l, err);
    if (r == 0)
        r = dv_ledger_db_number(l, "SELECT ifnull(max(id),0) FROM account", &l->n_dictionary, err);
    if (r == 0)
        r = dv_ledger_db_number(l, "SELECT count(*) FROM account", &l->kept_accounts, err);
    if (r == 0)
        r = dv_ledger_db_number(l, "SELECT count(*) FROM life",
                                (int64_t *)&l->kept_rows[DV_LEDGER_LIVES], err);
    for (unsigned level = 0; r == 0 && level < DV_LEDGER_LEVELS; level++)
        r = count_level(l, level, err);
    return r;
}
