/* SPDX-License-Identifier: Apache-2.0 */
/* What is not yet on disk: the current minute, minutes that wait, the accounts they speak of. */
#include "ledger_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NS ((int64_t)DV_NS_PER_S)
#define STEP_MIN_NS NS /* below, a clock is being slewed */

/* ---- accounts ---- */

static uint64_t hash_text(uint64_t h, const char *text)
{
    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    return (h ^ 0xff) * UINT64_C(0x100000001b3);
}

static size_t bucket_of(const struct dv_ledger *l, const struct dv_account *a)
{
    uint64_t h = hash_text(UINT64_C(0xcbf29ce484222325), a->tenant);
    h = hash_text(h, a->gpu);
    h = hash_text(h, a->profile);
    h = hash_text(h, a->pod);
    h ^= (uint64_t)a->mode << 40 ^ (uint64_t)a->tier << 44 ^ (uint64_t)a->source << 48 ^
         (uint64_t)a->quality << 52;
    h *= UINT64_C(0x9e3779b97f4a7c15);
    return (h >> 32) & (l->n_buckets - 1);
}

static void link_account(struct dv_ledger *l, uint32_t i)
{
    uint32_t *bucket = &l->buckets[bucket_of(l, &l->accounts[i].account)];
    l->accounts[i].next = *bucket;
    *bucket = i;
}

static int grow_accounts(struct dv_ledger *l)
{
    size_t cap = l->cap_accounts ? l->cap_accounts * 2 : 256;
    uint32_t *buckets = malloc(cap * sizeof *buckets);
    struct ledger_account *more = buckets ? realloc(l->accounts, cap * sizeof *l->accounts) : NULL;
    if (!more) {
        free(buckets);
        return -ENOMEM;
    }
    l->accounts = more;
    l->cap_accounts = cap;
    free(l->buckets);
    l->buckets = buckets;
    l->n_buckets = cap;
    memset(buckets, 0xff, cap * sizeof *buckets);
    for (uint32_t i = 0; i < l->n_accounts; i++)
        link_account(l, i);
    return 0;
}

uint32_t dv_ledger_memory_find(const struct dv_ledger *l, const struct dv_account *a)
{
    if (!l->n_buckets)
        return NONE;
    uint32_t i = l->buckets[bucket_of(l, a)];
    while (i != NONE && !dv_account_equal(&l->accounts[i].account, a))
        i = l->accounts[i].next;
    return i;
}

/* The texts, so that bytes behind a NUL do not count. */
static void copy_account(struct dv_account *to, const struct dv_account *from)
{
    memset(to, 0, sizeof *to);
    dv_str_copy(to->gpu, sizeof to->gpu, from->gpu);
    dv_str_copy(to->model, sizeof to->model, from->model);
    dv_str_copy(to->profile, sizeof to->profile, from->profile);
    dv_str_copy(to->tenant, sizeof to->tenant, from->tenant);
    dv_str_copy(to->pod, sizeof to->pod, from->pod);
    to->mode = from->mode;
    to->tier = from->tier;
    to->source = from->source;
    to->quality = from->quality;
}

/* Too many: the time stays with its GPU, under one name for all the rest. */
static void fold(struct dv_account *a, const struct dv_account *from)
{
    memset(a, 0, sizeof *a);
    dv_str_copy(a->gpu, sizeof a->gpu, from->gpu);
    dv_str_copy(a->model, sizeof a->model, from->model);
    dv_str_copy(a->tenant, sizeof a->tenant, DV_LEDGER_OTHER);
    a->quality = DV_QUALITY_ESTIMATED;
}

static uint32_t add_account(struct dv_ledger *l, const struct dv_account *account)
{
    if (l->n_accounts == l->cap_accounts && grow_accounts(l) < 0)
        return NONE;
    struct ledger_account *a = &l->accounts[l->n_accounts];
    memset(a, 0, sizeof *a);
    copy_account(&a->account, account);
    a->cell = a->scratch = NONE;
    a->base = (uint32_t)l->n_accounts;
    if (dv_ledger_chain_account(&a->account, a->digest) < 0)
        return NONE;
    link_account(l, (uint32_t)l->n_accounts);
    return (uint32_t)l->n_accounts++;
}

/* The dictionary is all but full: only accounts that it has. */
static bool unknown_to_dictionary(struct dv_ledger *l, const struct dv_account *account)
{
    uint8_t digest[HASH];
    struct dv_err err;
    int r;
    sqlite3_stmt *st = dv_ledger_db_statement(l, SQL_ACCOUNT_FIND, &r, &err);
    if (!st || dv_ledger_chain_account(account, digest) < 0)
        return false;
    sqlite3_bind_blob(st, 1, digest, HASH, SQLITE_STATIC);
    bool known = sqlite3_step(st) == SQLITE_ROW;
    sqlite3_reset(st);
    return !known;
}

/* Pods are given up first: a tenant keeps its name, and its time, whatever its pods do. */
static uint32_t intern_pod(struct dv_ledger *l, const struct dv_account *account)
{
    const struct dv_account without = dv_ledger_pods_base(account);
    uint32_t base = dv_ledger_memory_intern(l, &without);
    bool tight = l->kept_accounts + (int64_t)l->n_accounts >= ACCOUNTS_MAX / 2;
    if (base == NONE || l->n_accounts >= MEMORY_ACCOUNTS_MAX / 2 ||
        (tight && unknown_to_dictionary(l, account)))
        return base;
    uint32_t i = add_account(l, account);
    if (i != NONE)
        l->accounts[i].base = base;
    return i;
}

uint32_t dv_ledger_memory_intern(struct dv_ledger *l, const struct dv_account *account)
{
    uint32_t i = dv_ledger_memory_find(l, account);
    if (i != NONE)
        return i;
    if (account->pod[0])
        return intern_pod(l, account);
    bool tight = l->kept_accounts + (int64_t)l->n_accounts >= ACCOUNTS_MAX;
    if (l->n_accounts < MEMORY_ACCOUNTS_MAX && !(tight && unknown_to_dictionary(l, account)))
        return add_account(l, account);
    struct dv_account other;
    fold(&other, account);
    i = dv_ledger_memory_find(l, &other);
    return i == NONE && l->n_accounts < 2 * MEMORY_ACCOUNTS_MAX ? add_account(l, &other) : i;
}

void dv_ledger_memory_forget_ids(struct dv_ledger *l)
{
    for (size_t i = 0; i < l->n_accounts; i++) {
        l->accounts[i].id = 0;
        l->accounts[i].seen = 0;
    }
}

void dv_ledger_memory_trim(struct dv_ledger *l)
{
    if (l->n_accounts < 4096 || l->n_waiting || l->now.n)
        return;
    l->n_accounts = 0;
    memset(l->buckets, 0xff, l->n_buckets * sizeof *l->buckets);
}

/* ---- cells ---- */

static int grow_cells(struct ledger_minute *m)
{
    size_t cap = m->cap ? m->cap * 2 : 64;
    struct ledger_cell *more = realloc(m->cells, cap * sizeof *more);
    if (!more)
        return -ENOMEM;
    m->cells = more;
    m->cap = cap;
    return 0;
}

static struct ledger_cell *new_cell(struct ledger_minute *m, uint32_t account)
{
    if (m->n == m->cap && grow_cells(m) < 0)
        return NULL;
    struct ledger_cell *cell = &m->cells[m->n++];
    *cell = (struct ledger_cell){.account = account};
    return cell;
}

struct ledger_cell *dv_ledger_memory_cell(struct dv_ledger *l, struct ledger_minute *m,
                                          uint32_t account)
{
    struct ledger_account *a = &l->accounts[account];
    if (m == &l->now && a->cell != NONE)
        return &m->cells[a->cell];
    struct ledger_cell *cell = new_cell(m, account);
    if (cell && m == &l->now)
        a->cell = (uint32_t)(m->n - 1);
    return cell;
}

static void unlink_cells(struct dv_ledger *l)
{
    for (size_t i = 0; i < l->now.n; i++)
        l->accounts[l->now.cells[i].account].cell = NONE;
}

int dv_ledger_add(struct dv_ledger *l, const struct dv_account *account,
                  const struct dv_charge *charge)
{
    static const struct dv_charge nothing;
    if (!memcmp(charge, &nothing, sizeof nothing))
        return 0;
    uint32_t i = dv_ledger_memory_intern(l, account);
    if (i != NONE && l->accounts[i].cell == NONE && l->now.pods >= POD_ROWS_MAX)
        i = l->accounts[i].base;
    bool fresh = i != NONE && l->accounts[i].cell == NONE;
    if (fresh && l->now.n >= BLOCK_ROWS_MAX) {
        struct dv_account other;
        fold(&other, account);
        i = dv_ledger_memory_intern(l, &other);
        if (i != NONE && l->accounts[i].cell == NONE && l->now.n >= BLOCK_ROWS_MAX + 4096)
            return -ENOSPC;
    }
    struct ledger_cell *cell = i == NONE ? NULL : dv_ledger_memory_cell(l, &l->now, i);
    if (!cell)
        return -ENOMEM;
    l->now.pods += fresh && l->accounts[i].account.pod[0];
    dv_charge_add(&cell->charge, charge);
    cell->dirty = true;
    return 0;
}

/* ---- minutes ---- */

static int64_t seconds(int64_t ns)
{
    return ns >= 0 ? ns / NS : -((-(ns + 1)) / NS) - 1;
}

static int64_t minute_of(int64_t unix_ns)
{
    return dv_ledger_block_floor(seconds(unix_ns), DV_LEDGER_MINUTE);
}

int64_t dv_ledger_minute_end(const struct dv_ledger *l)
{
    return (minute_of(l->now.begin_ns) + 60) * NS;
}

void dv_ledger_memory_start(struct dv_ledger *l, struct dv_ledger_time now, int64_t step_ns)
{
    l->now.begin_ns = l->now.end_ns = now.unix_ns;
    l->now.from = minute_of(now.unix_ns);
    l->now.to = l->now.from + 60;
    l->now.wall_ns = 0;
    l->now.step_ns = step_ns;
    l->begin_mono_ns = now.mono_ns;
}

static void free_minute(struct ledger_minute *m)
{
    free(m->cells);
    free(m);
}

void dv_ledger_memory_drop_waiting(struct dv_ledger *l, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free_minute(l->waiting[i]);
    l->n_waiting -= n;
    memmove(l->waiting, l->waiting + n, l->n_waiting * sizeof(struct ledger_minute *));
}

void dv_ledger_memory_renumber(struct dv_ledger *l, uint64_t first)
{
    for (size_t i = 0; i < l->n_waiting; i++)
        l->waiting[i]->seq = first++;
    l->now.seq = first;
    l->open_seq = 0;
}

size_t dv_ledger_memory_rows(const struct dv_ledger *l)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n_waiting; i++)
        n += l->waiting[i]->n;
    return n;
}

/* Adds b to a, which came before it. Nothing is lost: room is made first. */
static int merge(struct dv_ledger *l, struct ledger_minute *a, const struct ledger_minute *b)
{
    size_t most = a->n + b->n;
    if (a->cap < most) {
        struct ledger_cell *more = realloc(a->cells, most * sizeof *more);
        if (!more)
            return -ENOMEM;
        a->cells = more;
        a->cap = most;
    }
    for (size_t i = 0; i < a->n; i++)
        l->accounts[a->cells[i].account].scratch = (uint32_t)i;
    for (size_t i = 0; i < b->n; i++) {
        struct ledger_account *account = &l->accounts[b->cells[i].account];
        if (account->scratch == NONE) {
            account->scratch = (uint32_t)a->n;
            a->cells[a->n++] = b->cells[i];
        } else {
            dv_charge_add(&a->cells[account->scratch].charge, &b->cells[i].charge);
        }
    }
    for (size_t i = 0; i < a->n; i++)
        l->accounts[a->cells[i].account].scratch = NONE;
    a->to = DV_MAX(a->to, b->to);
    a->end_ns = b->end_ns;
    a->wall_ns += b->wall_ns;
    a->step_ns += b->step_ns;
    return 0;
}

/* Two neighbours of one hour, or else of one day, or else the last two. */
static size_t mergeable(const struct dv_ledger *l)
{
    for (unsigned level = DV_LEDGER_HOUR; level <= DV_LEDGER_DAY; level++)
        for (size_t i = 0; i + 1 < l->n_waiting; i++) {
            const struct ledger_minute *a = l->waiting[i], *b = l->waiting[i + 1];
            if (a->n + b->n <= BLOCK_ROWS_MAX &&
                dv_ledger_block_floor(a->from, level) == dv_ledger_block_floor(b->from, level))
                return i;
        }
    return l->n_waiting - 2;
}

static void make_room(struct dv_ledger *l)
{
    if (l->n_waiting < l->limits.pending_blocks &&
        dv_ledger_memory_rows(l) < l->limits.pending_rows)
        return;
    dv_ledger_write_settle(l);
    while (l->n_waiting >= 2 && (l->n_waiting >= l->limits.pending_blocks ||
                                 dv_ledger_memory_rows(l) >= l->limits.pending_rows)) {
        size_t i = mergeable(l);
        uint64_t first = l->waiting[0]->seq;
        if (merge(l, l->waiting[i], l->waiting[i + 1]) < 0)
            return;
        free_minute(l->waiting[i + 1]);
        l->n_waiting--;
        memmove(l->waiting + i + 1, l->waiting + i + 2,
                (l->n_waiting - i - 1) * sizeof(struct ledger_minute *));
        dv_ledger_memory_renumber(l, first);
    }
}

/* The current minute joins those that wait. Without memory for it, it goes on and gets longer. */
static bool close_minute(struct dv_ledger *l)
{
    struct ledger_minute *m = malloc(sizeof *m);
    if (!m)
        return false;
    make_room(l);
    if (l->n_waiting >= l->limits.pending_blocks) {
        free(m);
        return false;
    }
    unlink_cells(l);
    *m = l->now;
    l->waiting[l->n_waiting++] = m;
    l->now = (struct ledger_minute){.seq = m->seq + 1};
    if (m->n < m->cap) {
        struct ledger_cell *less = realloc(m->cells, m->n * sizeof *less);
        m->cells = less ? less : m->cells;
        m->cap = less ? m->n : m->cap;
    }
    return true;
}

void dv_ledger_memory_tick(struct dv_ledger *l, struct dv_ledger_time now)
{
    uint64_t passed = now.mono_ns > l->last.mono_ns ? now.mono_ns - l->last.mono_ns : 0;
    int64_t step = now.unix_ns - l->last.unix_ns - (int64_t)passed;
    bool stepped = step >= STEP_MIN_NS || step <= -STEP_MIN_NS;
    /* A block's own time goes on by the clock that it began with. */
    l->now.end_ns = stepped ? l->last.unix_ns + (int64_t)passed : now.unix_ns;
    l->now.wall_ns = now.mono_ns > l->begin_mono_ns ? now.mono_ns - l->begin_mono_ns : 0;
    l->now.to = DV_MAX(l->now.to, minute_of(l->now.end_ns));
    if (stepped || now.unix_ns >= dv_ledger_minute_end(l)) {
        int64_t carried = l->now.n ? 0 : l->now.step_ns;
        if (!l->now.n || close_minute(l))
            dv_ledger_memory_start(l, now, carried + (stepped ? step : 0));
    }
    l->last = now;
}

/* ---- lives ---- */

int dv_ledger_add_life(struct dv_ledger *l, const struct dv_ledger_life *life)
{
    if (l->n_lives == l->cap_lives) {
        size_t cap = l->cap_lives ? l->cap_lives * 2 : 16;
        void *more = cap > MEMORY_LIVES_MAX ? NULL : realloc(l->lives, cap * sizeof *l->lives);
        if (!more) {
            l->lives_lost++;
            l->lives_lost_now++;
            return -ENOMEM;
        }
        l->lives = more;
        l->cap_lives = cap;
    }
    struct dv_ledger_life *kept = &l->lives[l->n_lives++];
    *kept = *life;
    kept->seq = l->next_life++;
    copy_account(&kept->account, &life->account);
    return 0;
}

void dv_ledger_memory_free(struct dv_ledger *l)
{
    if (l->waiting)
        dv_ledger_memory_drop_waiting(l, l->n_waiting);
    free(l->waiting);
    free(l->now.cells);
    free(l->accounts);
    free(l->buckets);
    free(l->lives);
}
