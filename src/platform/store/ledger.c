/* SPDX-License-Identifier: Apache-2.0 */
#include "store/ledger.h"

#include "ledger_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#define FILE_NAME "ledger.db"
#define DAY UINT64_C(86400)

static void set_limits(struct dv_ledger_limits *l)
{
    const struct dv_ledger_limits standard = {.minute_seconds = 2 * DAY,
                                              .hour_seconds = 400 * DAY,
                                              .day_seconds = 3653 * DAY,
                                              .life_seconds = 400 * DAY,
                                              .minute_rows = 1000000,
                                              .hour_rows = 10000000,
                                              .day_rows = 5000000,
                                              .life_rows = 500000,
                                              .pending_blocks = 240,
                                              .pending_rows = 262144};
    uint64_t *given = &l->minute_seconds;
    const uint64_t *usual = &standard.minute_seconds;
    for (size_t i = 0; i < 8; i++)
        given[i] = given[i] ? given[i] : usual[i];
    l->pending_blocks = l->pending_blocks ? DV_MAX(l->pending_blocks, 2u) : standard.pending_blocks;
    l->pending_rows = l->pending_rows ? l->pending_rows : standard.pending_rows;
}

static int64_t random_writer(void)
{
    int64_t n = 0;
    if (getrandom(&n, sizeof n, GRND_NONBLOCK) != sizeof n || !n)
        n = (int64_t)time(NULL) ^ (int64_t)(uintptr_t)&n;
    return n;
}

static int find_path(struct dv_ledger *l, const char *where, struct dv_err *err)
{
    struct stat st;
    bool folder = stat(where, &st) == 0 && S_ISDIR(st.st_mode);
    int n = snprintf(l->path, sizeof l->path, folder ? "%s/" FILE_NAME : "%s", where);
    return n > 0 && n < (int)sizeof l->path
               ? 0
               : dv_err_set(err, -ENAMETOOLONG, "the ledger's name is too long, or empty");
}

/* An open block that was left becomes the first that waits. */
static int take_over(struct dv_ledger *l, struct dv_err *err)
{
    struct ledger_block head;
    struct ledger_minute left;
    struct dv_ledger_head life;
    int r = dv_ledger_block_head(l, DV_LEDGER_MINUTE, &head, err);
    if (r == 0)
        r = dv_ledger_notes_life_head(l, &life, err);
    if (r == 0)
        r = dv_ledger_write_load_open(l, &left, err);
    if (r != 0)
        return r;
    l->next_life = life.seq + 1;
    if (left.n && left.seq > head.seq) {
        struct ledger_minute *m = malloc(sizeof *m);
        if (!m) {
            free(left.cells);
            return dv_err_set(err, -ENOMEM, "out of memory");
        }
        *m = left;
        l->waiting[l->n_waiting++] = m;
    } else {
        free(left.cells);
    }
    dv_ledger_memory_renumber(l, head.seq + 1);
    return 0;
}

static int open_all(struct dv_ledger *l, struct dv_err *err)
{
    int r = dv_ledger_db_open(l, err);
    if (r == 0)
        r = dv_ledger_block_load_state(l, err);
    return r;
}

static int open_writer(struct dv_ledger *l, struct dv_str *note, struct dv_err *err)
{
    int r = open_all(l, err);
    if (r == 0)
        r = take_over(l, err);
    /* A full disk is no reason not to start: it stays in memory, and in the open tables. */
    if (r == 0 && l->n_waiting) {
        struct dv_err later;
        r = dv_ledger_write_waiting(l, &later);
        r = r == -EBADMSG ? dv_err_set(err, r, "%s", later.msg) : 0;
    }
    if (r != -EBADMSG)
        return r;
    dv_ledger_memory_drop_waiting(l, l->n_waiting);
    return dv_ledger_put_aside(l, note, err);
}

int dv_ledger_open(const char *where, const struct dv_ledger_options *options,
                   struct dv_ledger **ret, struct dv_str *note, struct dv_err *err)
{
    struct dv_ledger *l = calloc(1, sizeof *l);
    if (!l)
        return dv_err_set(err, -ENOMEM, "out of memory");
    l->read_only = options->read_only;
    l->sweep = !l->read_only;
    l->limits = options->limits;
    set_limits(&l->limits);
    l->waiting = calloc(l->limits.pending_blocks + 2, sizeof(struct ledger_minute *));
    l->writer = random_writer();
    dv_proc_boot_id(l->boot);
    l->last = options->now;
    l->now.seq = l->next_life = 1;
    int r = l->waiting ? find_path(l, where, err) : dv_err_set(err, -ENOMEM, "out of memory");
    dv_ledger_memory_start(l, options->now, 0);
    if (r == 0)
        r = l->read_only ? open_all(l, err) : open_writer(l, note, err);
    if (r < 0) {
        dv_ledger_close(l);
        return r;
    }
    l->up = true;
    *ret = l;
    return 0;
}

int dv_ledger_put_aside(struct dv_ledger *l, struct dv_str *note, struct dv_err *err)
{
    if (l->read_only)
        return dv_err_set(err, -EROFS, "%s is open for reading only", l->path);
    dv_ledger_db_close(l);
    dv_ledger_block_forget(l);
    dv_ledger_memory_forget_ids(l);
    l->roll.level = 0;
    l->claimed = false;
    memset(l->kept_rows, 0, sizeof l->kept_rows);
    memset(l->kept_blocks, 0, sizeof l->kept_blocks);
    int r = dv_ledger_db_put_aside(l, note, err);
    if (r == 0)
        r = open_all(l, err);
    if (r != 0)
        return r;
    l->next_life = 1;
    for (size_t i = 0; i < l->n_lives; i++)
        l->lives[i].seq = l->next_life++;
    dv_ledger_memory_renumber(l, 1);
    return 0;
}

void dv_ledger_close(struct dv_ledger *l)
{
    if (!l)
        return;
    dv_ledger_db_close(l);
    dv_ledger_memory_free(l);
    dv_ledger_block_forget(l);
    free(l->scratch.v);
    free(l->roll.sums.v);
    free(l);
}

const char *dv_ledger_path(const struct dv_ledger *l)
{
    return l->path;
}

int dv_ledger_checkpoints(struct dv_ledger *l, dv_ledger_on_checkpoint *on_checkpoint, void *arg,
                          struct dv_err *err)
{
    sqlite3_stmt *st;
    int code = SQLITE_DONE,
        r = dv_ledger_db_prepare(l,
                                 "SELECT claim,pid,start,counter_ns,busy_ns,account,device"
                                 " FROM checkpoint",
                                 &st, err);
    while (r == 0 && (code = sqlite3_step(st)) == SQLITE_ROW) {
        struct dv_ledger_checkpoint c = {.claim = (uint64_t)sqlite3_column_int64(st, 0),
                                         .pid = (pid_t)sqlite3_column_int64(st, 1),
                                         .start = (uint64_t)sqlite3_column_int64(st, 2),
                                         .counter_ns = (uint64_t)sqlite3_column_int64(st, 3),
                                         .busy_ns = (uint64_t)sqlite3_column_int64(st, 4)};
        const struct ledger_known *k = dv_ledger_block_account(l, sqlite3_column_int64(st, 5));
        if (k)
            c.account = k->account;
        dv_ledger_db_text(st, 6, c.device, sizeof c.device);
        on_checkpoint(arg, &c);
    }
    if (r == 0 && code != SQLITE_DONE)
        r = dv_ledger_db_failed(l, "reading", err);
    sqlite3_finalize(st);
    return r;
}

int dv_ledger_flushed(struct dv_ledger *l, struct dv_ledger_flushed *ret, struct dv_err *err)
{
    sqlite3_stmt *st;
    int r = dv_ledger_db_prepare(l, "SELECT unix_ns,mono_ns,boot FROM flushed", &st, err);
    int code = r == 0 ? sqlite3_step(st) : SQLITE_DONE;
    if (r == 0 && code == SQLITE_ROW) {
        const char *boot = (const char *)sqlite3_column_text(st, 2);
        ret->time.unix_ns = sqlite3_column_int64(st, 0);
        ret->time.mono_ns = (uint64_t)sqlite3_column_int64(st, 1);
        ret->this_boot = boot && boot[0] && !strcmp(boot, l->boot);
    } else if (r == 0) {
        r = code == SQLITE_DONE ? dv_err_set(err, -ENOENT, "%s: nothing was written yet", l->path)
                                : dv_ledger_db_failed(l, "reading", err);
    }
    sqlite3_finalize(st);
    return r;
}

void dv_ledger_resume(struct dv_ledger *l, struct dv_ledger_time since)
{
    l->last = since;
    dv_ledger_memory_start(l, since, 0);
}

int dv_ledger_head(struct dv_ledger *l, unsigned chain, struct dv_ledger_head *ret,
                   struct dv_err *err)
{
    struct ledger_block b;
    if (chain == DV_LEDGER_LIVES)
        return dv_ledger_notes_life_head(l, ret, err);
    if (chain == DV_LEDGER_NOTES)
        return dv_ledger_notes_head(l, ret, err);
    if (chain >= DV_LEDGER_LEVELS)
        return dv_err_set(err, -EINVAL, "%s: no such chain", l->path);
    int r = dv_ledger_block_head(l, chain, &b, err);
    ret->seq = b.seq;
    memcpy(ret->hash, b.hash, HASH);
    return r == 0 && !b.seq ? dv_ledger_chain_genesis(l, chain, ret->hash) : r;
}

static uint64_t file_size(const char *path, const char *end)
{
    struct stat st;
    char name[600];
    snprintf(name, sizeof name, "%s%s", path, end);
    return stat(name, &st) == 0 ? (uint64_t)st.st_size : 0;
}

void dv_ledger_stats(struct dv_ledger *l, struct dv_ledger_stats *ret)
{
    struct dv_ledger_head head;
    struct dv_err err;
    memset(ret, 0, sizeof *ret);
    ret->file_bytes = file_size(l->path, "") + file_size(l->path, "-wal");
    for (unsigned i = 0; i < DV_LEDGER_CHAINS; i++)
        if (l->db && dv_ledger_head(l, i, &head, &err) == 0)
            ret->sealed[i] = head.seq;
    for (unsigned i = 0; i < DV_LEDGER_LEVELS; i++) {
        ret->blocks[i] = l->kept_blocks[i];
        ret->rows[i] = l->kept_rows[i];
    }
    ret->pending_blocks = l->n_waiting;
    ret->pending_rows = dv_ledger_memory_rows(l) + (l->up ? 0 : l->now.n);
    ret->lives_lost = l->lives_lost;
    ret->last_flush_unix_ns = l->last_flush_unix_ns;
    ret->up = l->up && l->db;
}
