/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: what every GPU nanosecond went to, kept for years and provable. SQLite, one file
 * STATE/ledger.db, WAL, STRICT tables. Append-only: a sealed block is never changed, a correction
 * is a row of its own. docs/reference/ledger.md has the schema and what exactly is hashed.
 *
 *     struct dv_ledger_time now = {unix_ns, mono_ns};
 *     r = dv_ledger_open("/var/lib/divvy", &(struct dv_ledger_options){.now = now}, &ledger, &note,
 *                        &err);
 *     dv_ledger_checkpoints(ledger, on_checkpoint, self, &err);     // where the meter goes on
 *     dv_ledger_add(ledger, &account, &charge);                     // many times: memory only
 *     r = dv_ledger_flush(ledger, now, checkpoints, n, &err);       // every 2 s; 0: it is on disk
 *     r = dv_ledger_roll(ledger, now.unix_ns, &err);                // when idle: 1: there is more
 *
 * What was added since the last flush belongs to the open block: the current minute, UTC. A flush
 * writes it with the checkpoints in one transaction, in place of what it wrote last; the first
 * flush at or after the minute's end seals it. So a caller that flushes at every
 * dv_ledger_minute_end() has blocks that end on the minute. A crash loses what was added after the
 * last flush that returned 0, and doubles nothing, since the checkpoints go with the charges. When
 * a flush fails, all of it stays in memory, a block per minute, until one succeeds.
 *
 * Blocks: minutes, hours made of minutes, days made of hours. Each level is a chain by sequence
 * number; a coarser block names the hash of the last finer one it covers, so that finer blocks can
 * be dropped and the rest is still proven. A block belongs to the UTC time of its `from`, whole.
 * Minutes and hours tell a tenant's pods apart (account.pod); days and totals do not.
 *
 * One handle is for one thread. A second process, or a thread of the same, reads through a
 * read-only handle of its own; that never waits for the writer nor holds it up.
 *
 * Errors: -ENOSPC, -EROFS, -EIO, -EBADMSG (the file is damaged there), -EBUSY, -ENOMEM; the message
 * names the file.
 */
#ifndef DV_STORE_LEDGER_H
#define DV_STORE_LEDGER_H

#include "account/charge.h"
#include "base/str.h"

#include <sys/types.h>

struct dv_ledger;

struct dv_ledger_time {
    int64_t unix_ns;  /* CLOCK_REALTIME: may step */
    uint64_t mono_ns; /* CLOCK_MONOTONIC: never does */
};

enum dv_ledger_level {
    DV_LEDGER_MINUTE,
    DV_LEDGER_HOUR,
    DV_LEDGER_DAY,
    DV_LEDGER_LEVELS,
    DV_LEDGER_BEST = DV_LEDGER_DAY, /* of a reading: as coarse as it goes */
    /* The chains that are no level: */
    DV_LEDGER_LIVES = DV_LEDGER_LEVELS,
    DV_LEDGER_NOTES,
    DV_LEDGER_CHAINS,
};
/* "minute", "hour", "day", "lives", "notes". */
const char *dv_ledger_chain_name(unsigned chain);

/* How long things are kept. 0: the default. Rows go oldest first, and only when the coarser level
 * has them; the budgets count a block as a row. */
struct dv_ledger_limits {
    uint64_t minute_seconds; /* 48 h */
    uint64_t hour_seconds;   /* 400 days */
    uint64_t day_seconds;    /* 10 years */
    uint64_t life_seconds;   /* 400 days */
    uint64_t minute_rows;    /* 1 million */
    uint64_t hour_rows;      /* 10 million */
    uint64_t day_rows;       /* 5 million */
    uint64_t life_rows;      /* 500,000 */
    uint32_t pending_blocks; /* 240: minutes kept in memory while nothing can be written; then the
                              * oldest are merged, by hour as long as that helps */
    uint32_t pending_rows;   /* 262,144: and so many rows of them */
};

struct dv_ledger_options {
    bool read_only; /* the file is left as it is; no note is ever needed */
    struct dv_ledger_time now;
    struct dv_ledger_limits limits;
};

/*
 * `where` is the state directory or a ledger's file (a backup). A file that is no ledger is kept as
 * ledger.db.corrupt-TIME and a new one begun; `note` says so, and is else left empty (read-only:
 * -EBADMSG instead). A file of a newer divvy: -EPROTONOSUPPORT. Read-only and no file: -ENOENT.
 * An open block that an earlier process left is sealed as it is.
 */
int dv_ledger_open(const char *where, const struct dv_ledger_options *options,
                   struct dv_ledger **ret, struct dv_str *note, struct dv_err *err);
void dv_ledger_close(struct dv_ledger *ledger); /* writes nothing: flush first */
const char *dv_ledger_path(const struct dv_ledger *ledger);
/* After a flush said -EBADMSG: the file is put aside, as when opening, and a new one begun; what is
 * in memory stays and goes there. */
int dv_ledger_put_aside(struct dv_ledger *ledger, struct dv_str *note, struct dv_err *err);

/* ---- writing ---- */

/* Adds to the current minute. -ENOMEM: nothing was added; else 0. Rows beyond 65,536 accounts in
 * one block go to the tenant DV_LEDGER_OTHER of the same GPU: the sums stay right. Pods beyond
 * 4,096 rows of a minute, or 500,000 accounts in the file, are not told apart from their tenants.
 */
int dv_ledger_add(struct dv_ledger *ledger, const struct dv_account *account,
                  const struct dv_charge *charge);
#define DV_LEDGER_OTHER "@other"

/* How far a process's own counter was charged: goes to disk with the charges made of it. */
struct dv_ledger_checkpoint {
    uint64_t claim;
    pid_t pid;
    uint64_t start;      /* struct dv_proc_id */
    uint64_t counter_ns; /* the counter as last read */
    uint64_t busy_ns;    /* of it, charged so far */
    /* Who pays for what it does, and on which device it does it. */
    struct dv_account account;
    char device[DV_UUID_SIZE];
};
/* `checkpoints` replaces all earlier ones. 0: all added so far, the lives too, is on disk. */
int dv_ledger_flush(struct dv_ledger *ledger, struct dv_ledger_time now,
                    const struct dv_ledger_checkpoint *checkpoints, size_t n, struct dv_err *err);
typedef void dv_ledger_on_checkpoint(void *arg, const struct dv_ledger_checkpoint *checkpoint);
/* Those of the last flush that was written. */
int dv_ledger_checkpoints(struct dv_ledger *ledger, dv_ledger_on_checkpoint *on_checkpoint,
                          void *arg, struct dv_err *err);
/* Busy time that is not charged yet, since its interval was full (account/books.h): to be charged
 * as soon as there is room. Goes to disk with the next flush, in place of what the last one wrote;
 * the rows are borrowed until it returns. */
struct dv_ledger_owed {
    struct dv_account account;
    char device[DV_UUID_SIZE];
    uint64_t ns;
};
void dv_ledger_owe(struct dv_ledger *ledger, const struct dv_ledger_owed *rows, size_t n);
typedef void dv_ledger_on_owed(void *arg, const struct dv_ledger_owed *row);
/* Those of the last flush that was written. */
int dv_ledger_owed(struct dv_ledger *ledger, dv_ledger_on_owed *on_owed, void *arg,
                   struct dv_err *err);
/* When the last flush that was written was made, by whatever process. -ENOENT: there was none. */
struct dv_ledger_flushed {
    struct dv_ledger_time time;
    bool this_boot; /* mono_ns is of the clock that runs now */
};
int dv_ledger_flushed(struct dv_ledger *ledger, struct dv_ledger_flushed *ret, struct dv_err *err);
/* Before anything is added: what comes first is of the time since then, not only since the ledger
 * was opened. For who knows what went on meanwhile. */
void dv_ledger_resume(struct dv_ledger *ledger, struct dv_ledger_time since);
/* When the current minute ends, unix_ns. */
int64_t dv_ledger_minute_end(const struct dv_ledger *ledger);

/* Makes hours and days, drops what is too old: a bounded piece of it (some thousand rows). 1: there
 * is more to do, 0: nothing now. Only after a flush that returned 0. */
int dv_ledger_roll(struct dv_ledger *ledger, int64_t unix_ns, struct dv_err *err);

/* ---- the lives of slices ---- */

enum dv_ledger_event {
    DV_LEDGER_GRANTED,
    DV_LEDGER_LIMITED, /* its sizes were changed */
    DV_LEDGER_RELEASED,
    DV_LEDGER_LOST, /* `claim` events found no room in memory while nothing could be written */
};
const char *dv_ledger_event_name(enum dv_ledger_event event);

struct dv_ledger_life {
    uint64_t seq; /* reading only */
    enum dv_ledger_event event;
    uint64_t claim;
    struct dv_account account;
    uint64_t memory_bytes; /* from now on; of RELEASED: until now */
    uint32_t compute;
    int64_t unix_ns;
    /* Totals, of RELEASED: */
    uint64_t busy_ns, wait_ns, requested_compute, byte_seconds;
};
/* Kept in memory until the next flush. */
int dv_ledger_add_life(struct dv_ledger *ledger, const struct dv_ledger_life *life);
/* Of [from, to), oldest first; `tenant` NULL: all. `on_life` returns false to stop. */
typedef bool dv_ledger_on_life(void *arg, const struct dv_ledger_life *life);
int dv_ledger_lives(struct dv_ledger *ledger, int64_t from_unix, int64_t to_unix,
                    const char *tenant, dv_ledger_on_life *on_life, void *arg, struct dv_err *err);

/* ---- corrections, renames: written at once ---- */

/* Signed, field by field as struct dv_charge. */
struct dv_ledger_delta {
    struct dv_account account;
    int64_t busy_ns, overhead_ns, reserved_idle_ns, unallocated_ns, unhealthy_ns;
    int64_t wait_ns, requested_compute, byte_seconds, held_ns;
};
struct dv_ledger_correction {
    enum dv_ledger_level level; /* the block that is corrected: the finest that is still there */
    uint64_t block;
    int64_t unix_ns; /* when it was corrected */
    const char *who, *reason;
    const struct dv_ledger_delta *deltas;
    size_t n; /* 1 .. DV_LEDGER_DELTAS_MAX */
};
#define DV_LEDGER_DELTAS_MAX 1024
#define DV_LEDGER_WHO_SIZE 64
#define DV_LEDGER_REASON_SIZE 256
/* The finest sealed block that the time belongs to, the latest when there are several. -ENOENT. */
int dv_ledger_find_block(struct dv_ledger *ledger, int64_t unix_seconds,
                         enum dv_ledger_level *ret_level, uint64_t *ret_block, struct dv_err *err);
/* Readings add it in, at every level. The same again (block, time, who, reason) is 0 and changes
 * nothing: its answer may have been lost. -EINVAL: no such block or a coarser one than needed, the
 * deltas of a GPU's five buckets do not sum to zero, a figure would become negative, no reason.
 * -ENOSPC: 10,000 corrections are there. */
int dv_ledger_correct(struct dv_ledger *ledger, const struct dv_ledger_correction *correction,
                      struct dv_err *err);
/* From `from_unix` on, tenant `old` is called `new_name`. What was charged before stays as it was
 * written; readings show it under the new name when asked to. */
int dv_ledger_rename(struct dv_ledger *ledger, const char *old, const char *new_name,
                     int64_t from_unix, const char *who, int64_t unix_ns, struct dv_err *err);

struct dv_ledger_note {
    uint64_t seq;
    enum dv_ledger_note_kind {
        DV_LEDGER_CORRECTION,
        DV_LEDGER_RENAME,
        DV_LEDGER_PRUNED, /* days up to `block` were dropped */
    } kind;
    int64_t unix_ns;
    unsigned level; /* of CORRECTION, PRUNED */
    uint64_t block;
    int64_t from_unix; /* of RENAME */
    char old[DV_TENANT_SIZE], new_name[DV_TENANT_SIZE];
    char who[DV_LEDGER_WHO_SIZE], reason[DV_LEDGER_REASON_SIZE];
};
typedef void dv_ledger_on_note(void *arg, const struct dv_ledger_note *note);
int dv_ledger_notes(struct dv_ledger *ledger, dv_ledger_on_note *on_note, void *arg,
                    struct dv_err *err);

/* ---- reading ---- */

struct dv_ledger_row {
    struct dv_charge_row row;   /* from, to: of its block; corrections are in */
    enum dv_ledger_level level; /* of its block */
    uint64_t block;             /* its number there; 0: not sealed yet */
    bool open;                  /* not sealed yet: will grow */
    bool corrected;
    bool broken; /* its block is not what was sealed, or the one before it is gone */
    bool coarse; /* the block reaches beyond the interval: nothing finer is kept for its time */
};
struct dv_ledger_query {
    int64_t from_unix, to_unix; /* [from, to) */
    enum dv_ledger_level
        step;                 /* the coarsest rows wanted; where none finer is kept, coarser come */
    const char *tenant, *gpu; /* NULL: all. With `renamed`, the name of today */
    const char *pod;          /* of a tenant; NULL: all. Finds nothing in days */
    bool renamed;             /* show tenants under the name they have now */
};
/* false: stop, the reading returns 0. The ledger must not be used in it. */
typedef bool dv_ledger_on_row(void *arg, const struct dv_ledger_row *row);
struct dv_ledger_read_summary {
    uint64_t rows, broken_rows, blocks;
};
/* Each charge of the interval once, a block's rows together: days, then hours, then minutes of what
 * is left, then what is not sealed yet. A block belongs to the interval that its `from` is in, so
 * intervals that meet share nothing and miss nothing. `ret` may be NULL. */
int dv_ledger_read(struct dv_ledger *ledger, const struct dv_ledger_query *query,
                   dv_ledger_on_row *on_row, void *arg, struct dv_ledger_read_summary *ret,
                   struct dv_err *err);

/* Since ever, without pods, whatever has been dropped since, the open block included: what counters
 * start from. Corrections are not in. Sums over years need 128 bits. */
struct dv_ledger_total {
    struct dv_account account;
    uint64_t busy_ns, overhead_ns, reserved_idle_ns, unallocated_ns, unhealthy_ns, wait_ns, held_ns;
    dv_u128 requested_compute, byte_seconds;
};
typedef void dv_ledger_on_total(void *arg, const struct dv_ledger_total *total);
int dv_ledger_totals(struct dv_ledger *ledger, dv_ledger_on_total *on_total, void *arg,
                     struct dv_err *err);

/* ---- proof ---- */

enum dv_ledger_fault {
    DV_LEDGER_FAULT_HASH,    /* the block, row or note is not what was hashed */
    DV_LEDGER_FAULT_LINK,    /* it does not follow the one before it: one was swapped or is gone */
    DV_LEDGER_FAULT_MISSING, /* rows of it are gone, or blocks before it */
    DV_LEDGER_FAULT_SUMS,    /* it is not the sum of the finer blocks it covers */
    DV_LEDGER_FAULT_FILE,    /* the file is damaged there: SQLite cannot read it */
};
/* "hash", "link", "missing", "sums", "file". */
const char *dv_ledger_fault_name(enum dv_ledger_fault fault);
struct dv_ledger_break {
    unsigned chain; /* a level, DV_LEDGER_LIVES or DV_LEDGER_NOTES */
    uint64_t seq;
    int64_t from_unix, to_unix; /* of the block; 0 when unknown */
    enum dv_ledger_fault fault;
    char detail[160];
};
typedef void dv_ledger_on_break(void *arg, const struct dv_ledger_break *b);
struct dv_ledger_proof {
    uint64_t blocks, rows, lives, notes, breaks;
};
/* Walks all chains. What is broken is told (at most 1,000 times; `breaks` counts all) and the walk
 * goes on. 0: walked to the end, whatever was found. Takes a while: use a read-only handle. */
int dv_ledger_verify(struct dv_ledger *ledger, dv_ledger_on_break *on_break, void *arg,
                     struct dv_ledger_proof *ret, struct dv_err *err);

#define DV_LEDGER_HASH_SIZE 32
struct dv_ledger_head {
    uint64_t seq; /* 0: nothing yet */
    uint8_t hash[DV_LEDGER_HASH_SIZE];
};
/* The newest of a chain: who writes it down can prove later that nothing was rewritten. */
int dv_ledger_head(struct dv_ledger *ledger, unsigned chain, struct dv_ledger_head *ret,
                   struct dv_err *err);

/* ---- the rest ---- */

struct dv_ledger_stats {
    uint64_t file_bytes;                   /* with the write-ahead log */
    uint64_t blocks[DV_LEDGER_LEVELS];     /* kept now */
    uint64_t rows[DV_LEDGER_LEVELS];       /* kept now */
    uint64_t sealed[DV_LEDGER_CHAINS];     /* ever: the newest sequence number */
    uint64_t pending_blocks, pending_rows; /* in memory, not yet on disk */
    uint64_t lives_lost;
    int64_t last_flush_unix_ns; /* the last that was written; 0: none yet */
    bool up;                    /* the last flush was written */
};
void dv_ledger_stats(struct dv_ledger *ledger, struct dv_ledger_stats *ret);

/* A copy of the whole ledger, taken while it is written: a step copies some pages, and the writer
 * goes on between steps. -EEXIST: the path is there already. */
struct dv_ledger_backup;
int dv_ledger_backup_begin(struct dv_ledger *ledger, const char *path,
                           struct dv_ledger_backup **ret, struct dv_err *err);
/* 1: there is more; 0: all is copied and on disk under `path`. */
int dv_ledger_backup_step(struct dv_ledger_backup *backup, unsigned pages, struct dv_err *err);
/* Ends it; a copy that is not complete is removed. Before the ledger is closed. */
void dv_ledger_backup_end(struct dv_ledger_backup *backup);

#endif
