/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the ledger share. Nobody else includes this.
 *
 *     ledger.c         open, close, figures          ledger_write.c   flush and seal
 *     ledger_db.c      SQLite: schema, statements    ledger_roll.c    hours, days, pruning
 *     ledger_memory.c  what is not yet on disk       ledger_read.c    readings and totals
 *     ledger_chain.c   canonical bytes and hashes    ledger_notes.c   corrections, renames, lives
 *     ledger_block.c   blocks as they lie on disk    ledger_verify.c  the proof
 *     ledger_backup.c  copies                        ledger_pods.c    pods, and what forgets them
 */
#ifndef DV_STORE_LEDGER_IMPL_H
#define DV_STORE_LEDGER_IMPL_H

#include "store/ledger.h"
#include "sys/proc.h"

#include <sqlite3.h>

#define HASH DV_LEDGER_HASH_SIZE
#define N_CHARGE 9 /* figures of a charge */
#define BLOCK_ROWS_MAX 65536
#define ACCOUNTS_MAX 1000000        /* in the dictionary */
#define MEMORY_ACCOUNTS_MAX 131072u /* interned at a time */
/* Pods may take half of either; what is more is charged to their tenants without them. */
#define POD_ROWS_MAX 4096u /* of pods, in a minute: what a node's kubelets run is far less */
#define SEEN_STEP 512      /* minutes: how exactly it is known when a pod was last seen */
#define MEMORY_LIVES_MAX 16384u
#define CORRECTIONS_MAX 10000
#define RENAMES_MAX 1000
#define UNIX_LIMIT (INT64_C(1) << 40) /* no time of ours is beyond: the year 36812 */
#define NONE UINT32_MAX

/* ---- in memory ---- */

struct ledger_account {
    struct dv_account account;
    uint8_t digest[HASH];
    int64_t id;             /* in the dictionary; 0: not looked up yet */
    uint32_t next;          /* of its hash bucket */
    uint32_t base;          /* the account without the pod; itself where it has none */
    uint64_t seen;          /* of a pod: as pod_account has it; 0: not known */
    uint32_t cell, scratch; /* where it is in the current block; in a merge */
};

struct ledger_cell {
    uint32_t account; /* index of the interned account */
    bool dirty;       /* changed since the open block was written */
    struct dv_charge charge;
};

/* A block of minutes that is not sealed: the current one, or one that waits for the disk. */
struct ledger_minute {
    uint64_t seq;
    int64_t from, to; /* nominal, whole minutes */
    int64_t begin_ns, end_ns, step_ns;
    uint64_t wall_ns;
    struct ledger_cell *cells;
    size_t n, cap;
    size_t pods; /* of the current one: how many cells are of pods */
};

/* ---- on disk ---- */

struct ledger_block {
    unsigned level;
    uint64_t seq;
    int64_t from, to, begin_ns, end_ns, step_ns;
    uint64_t wall_ns;
    uint64_t age_ns;      /* wall time of the ledger up to its end */
    uint64_t first, last; /* the finer blocks that it covers; 0 of a minute */
    uint64_t first_minute,
        last_minute;       /* the minutes, though they may be gone; itself of a minute */
    uint64_t faults;       /* of the blocks covered, so many were broken then */
    uint8_t finer[HASH];   /* hash of block `last` */
    uint64_t lives, notes; /* newest of those chains at that time */
    uint8_t lives_hash[HASH], notes_hash[HASH];
    uint64_t rows;
    uint8_t prev[HASH], hash[HASH];
    bool odd; /* a column is no number, time or hash that could have been written */
};

struct ledger_entry {
    int64_t account;
    struct dv_charge charge;
    bool corrected;
};
struct ledger_entries {
    struct ledger_entry *v;
    size_t n, cap;
};

/* The dictionary's newest readings, by id. */
struct ledger_known {
    int64_t id;
    int64_t base; /* the id without the pod; 0: not looked up */
    bool odd;
    struct dv_account account;
    uint8_t digest[HASH];
};

enum ledger_sql {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ACCOUNT_FIND,
    SQL_ACCOUNT_ADD,
    SQL_ACCOUNT_GET,
    SQL_POD_SEEN,
    SQL_POD_FORGET,
    SQL_HEAD,
    SQL_BLOCK_ADD,
    SQL_BLOCK_GET,
    SQL_ENTRY_ADD,
    SQL_ENTRY_LIST,
    SQL_TOTAL_ADD,
    SQL_OPEN_CLEAR,
    SQL_OPEN_PUT,
    SQL_OPEN_ENTRY_CLEAR,
    SQL_OPEN_ENTRY_PUT,
    SQL_FLUSHED,
    SQL_OWED_CLEAR,
    SQL_OWED_ADD,
    SQL_CHECKPOINT_CLEAR,
    SQL_CHECKPOINT_ADD,
    SQL_LIFE_HEAD,
    SQL_LIFE_ADD,
    SQL_NOTE_HEAD,
    SQL_NOTE_ADD,
    SQL_NOTE_ENTRY_ADD,
    SQL_CORRECTIONS,
    SQL_WRITER,
    SQL_PRUNE_ENTRIES,
    SQL_PRUNE_BLOCKS,
    SQL_PRUNE_LIVES,
    SQL_COUNT,
};

struct ledger_roll {
    unsigned level; /* of the block being made; 0: nothing under way */
    struct ledger_block block;
    uint64_t next; /* finer block to add */
    struct ledger_entries sums;
    size_t written;
    bool writing;
};

struct dv_ledger {
    sqlite3 *db;
    sqlite3_stmt *st[SQL_COUNT];
    char path[512];
    char boot[DV_PROC_BOOT_ID];
    bool read_only, up, claimed, opened;
    bool sweep;      /* there may be pods that nothing speaks of any more */
    int64_t version; /* of the file */
    struct dv_ledger_limits limits;
    uint8_t id[16];
    int64_t writer;

    /* accounts in memory */
    struct ledger_account *accounts;
    size_t n_accounts, cap_accounts;
    uint32_t *buckets;
    size_t n_buckets;
    int64_t n_dictionary;  /* the highest id there */
    int64_t kept_accounts; /* how many are there */

    /* minutes in memory: those that wait, then the current one */
    struct ledger_minute **waiting;
    size_t n_waiting;
    struct ledger_minute now;
    struct dv_ledger_time last;
    uint64_t begin_mono_ns;
    uint64_t
        open_seq; /* the block that the open tables hold, its unchanged rows included; 0: unknown */
    int64_t last_flush_unix_ns;
    const struct dv_ledger_owed *owed; /* borrowed for the next flush */
    size_t n_owed;

    struct dv_ledger_life *lives;
    size_t n_lives, cap_lives;
    uint64_t next_life, lives_lost, lives_lost_now;

    /* on disk */
    uint64_t pruned[DV_LEDGER_CHAINS];
    uint64_t kept_rows[DV_LEDGER_CHAINS], kept_blocks[DV_LEDGER_CHAINS];
    struct ledger_known *known;
    bool unread; /* the dictionary could not be read */
    size_t n_known;
    struct ledger_entries scratch;
    struct ledger_roll roll;
};

/* ledger_db.c */
int dv_ledger_db_failed(struct dv_ledger *l, const char *what, struct dv_err *err);
int dv_ledger_db_exec(struct dv_ledger *l, const char *sql, const char *what, struct dv_err *err);
int dv_ledger_db_number(struct dv_ledger *l, const char *sql, int64_t *ret, struct dv_err *err);
/* A kept statement, reset; NULL and err set when it cannot be prepared. */
sqlite3_stmt *dv_ledger_db_statement(struct dv_ledger *l, enum ledger_sql which, int *ret_r,
                                     struct dv_err *err);
/* Binds by the letters of `types` (i: int64_t, t: text, h: hash, c: const struct dv_charge *, nine
 * columns) and steps to the end. */
int dv_ledger_db_run(struct dv_ledger *l, struct dv_err *err, enum ledger_sql which,
                     const char *types, ...);
int dv_ledger_db_begin(struct dv_ledger *l, struct dv_err *err);
int dv_ledger_db_commit(struct dv_ledger *l, struct dv_err *err);
void dv_ledger_db_rollback(struct dv_ledger *l);
/* A statement of one reading; the caller finalizes. */
int dv_ledger_db_prepare(struct dv_ledger *l, const char *sql, sqlite3_stmt **ret,
                         struct dv_err *err);
void dv_ledger_db_text(sqlite3_stmt *st, int column, char *buf, size_t size);
bool dv_ledger_db_hash(sqlite3_stmt *st, int column, uint8_t ret[HASH]);
void dv_ledger_db_charge(sqlite3_stmt *st, int column, struct dv_charge *ret);
int dv_ledger_db_open(struct dv_ledger *l, struct dv_err *err);
void dv_ledger_db_close(struct dv_ledger *l);
int dv_ledger_db_put_aside(struct dv_ledger *l, struct dv_str *note, struct dv_err *err);

/* ledger_owed.c */
int dv_ledger_owed_write(struct dv_ledger *l, struct dv_err *err);
/* The dictionary's id. */
int dv_ledger_owed_account(struct dv_ledger *l, const struct dv_account *account, int64_t *ret,
                           struct dv_err *err);

/* ledger_chain.c: 0 or -EIO, when there is no SHA-256. */
int dv_ledger_chain_account(const struct dv_account *account, uint8_t ret[HASH]);
int dv_ledger_chain_genesis(const struct dv_ledger *l, unsigned chain, uint8_t ret[HASH]);
/* The digests of `digests[i]` and the charges of `entries[i]`, in their order. */
int dv_ledger_chain_block(const struct ledger_block *block, const struct ledger_entry *entries,
                          const uint8_t *const *digests, uint8_t ret[HASH]);
int dv_ledger_chain_life(const struct dv_ledger_life *life, const uint8_t account[HASH],
                         const uint8_t prev[HASH], uint8_t ret[HASH]);
struct ledger_delta {
    uint8_t account[HASH];
    struct dv_charge delta; /* two's complement */
};
int dv_ledger_chain_note(const struct dv_ledger_note *note, const struct ledger_delta *deltas,
                         size_t n, const uint8_t prev[HASH], uint8_t ret[HASH]);
/* The figures of a charge in their canonical order. */
void dv_ledger_chain_figures(const struct dv_charge *charge, uint64_t ret[N_CHARGE]);
void dv_ledger_chain_charge(const uint64_t figures[N_CHARGE], struct dv_charge *ret);

/* ledger_memory.c */
uint32_t dv_ledger_memory_find(const struct dv_ledger *l, const struct dv_account *account);
/* The index of the interned account, or NONE. */
uint32_t dv_ledger_memory_intern(struct dv_ledger *l, const struct dv_account *account);
struct ledger_cell *dv_ledger_memory_cell(struct dv_ledger *l, struct ledger_minute *m,
                                          uint32_t account);
/* The clock moves on: closes the current minute when it has passed or the clock stepped. */
void dv_ledger_memory_tick(struct dv_ledger *l, struct dv_ledger_time now);
void dv_ledger_memory_start(struct dv_ledger *l, struct dv_ledger_time now, int64_t step_ns);
void dv_ledger_memory_drop_waiting(struct dv_ledger *l, size_t n);
void dv_ledger_memory_forget_ids(struct dv_ledger *l);
/* Frees accounts that nothing in memory needs, when there are many. */
void dv_ledger_memory_trim(struct dv_ledger *l);
void dv_ledger_memory_renumber(struct dv_ledger *l, uint64_t first);
void dv_ledger_memory_free(struct dv_ledger *l);
size_t dv_ledger_memory_rows(const struct dv_ledger *l);

/* ledger_block.c */
int dv_ledger_block_head(struct dv_ledger *l, unsigned level, struct ledger_block *ret,
                         struct dv_err *err); /* seq 0: none */
int dv_ledger_block_get(struct dv_ledger *l, unsigned level, uint64_t seq, struct ledger_block *ret,
                        struct dv_err *err); /* -ENOENT */
void dv_ledger_block_read(sqlite3_stmt *st, struct ledger_block *ret);
#define BLOCK_COLUMNS                                                                              \
    "level,seq,from_unix,to_unix,begin_ns,end_ns,wall_ns,age_ns,step_ns,first,last,"               \
    "first_minute,last_minute,faults,finer,lives,lives_hash,notes,notes_hash,rows,prev,hash"
/* Its rows as they lie there, by account id. `ret_whole`: they are what was hashed. -EBADMSG: the
 * file is damaged; what could be read is in `rows`. */
int dv_ledger_block_rows(struct dv_ledger *l, const struct ledger_block *b,
                         struct ledger_entries *rows, bool *ret_whole, struct dv_err *err);
/* Completes prev, age (of a minute), heads of lives and notes, and hash; adds the block's row.
 * `entries` are sorted by account; they are added too unless that was done before. */
int dv_ledger_block_append(struct dv_ledger *l, struct ledger_block *b,
                           const struct ledger_entry *entries, size_t n, bool add_entries,
                           struct dv_err *err);
/* The account of an id, or NULL: no such or unreadable. */
const struct ledger_known *dv_ledger_block_account(struct dv_ledger *l, int64_t id);
void dv_ledger_block_forget(struct dv_ledger *l);
/* The id of the same account without a pod: what days and totals are kept by. Where the file lost
 * it, the id itself. */
int64_t dv_ledger_block_base(struct dv_ledger *l, int64_t id);
/* The rows of hours as a day has them: without pods, sorted. */
void dv_ledger_block_fold_pods(struct dv_ledger *l, struct ledger_entries *rows);
/* The id, added to the dictionary when new; a pod's with the one without the pod. */
int dv_ledger_block_account_id(struct dv_ledger *l, const struct dv_account *account,
                               const uint8_t digest[HASH], int64_t *ret, struct dv_err *err);
struct ledger_entry *dv_ledger_block_entry(struct ledger_entries *rows);
int dv_ledger_block_load_pruned(struct dv_ledger *l, struct dv_err *err);
int dv_ledger_block_load_state(struct dv_ledger *l, struct dv_err *err);
int64_t dv_ledger_block_span(unsigned level); /* seconds */
int64_t dv_ledger_block_floor(int64_t unix_seconds, unsigned level);

/* ledger_pods.c */
/* The account without its pod. */
struct dv_account dv_ledger_pods_base(const struct dv_account *account);
/* A pod's account is in the minute with this number. */
int dv_ledger_pods_seen(struct dv_ledger *l, int64_t id, uint64_t minute, struct dv_err *err);
/* Some of the pods that nothing speaks of any more go from the dictionary. */
int dv_ledger_pods_forget(struct dv_ledger *l, bool *ret_more, struct dv_err *err);

/* ledger_write.c */
int dv_ledger_write_check(struct dv_ledger *l, struct dv_err *err); /* am I the only writer? */
int dv_ledger_write_waiting(struct dv_ledger *l, struct dv_err *err);
/* The open tables as a minute; n 0: none. */
int dv_ledger_write_load_open(struct dv_ledger *l, struct ledger_minute *ret, struct dv_err *err);
/* Drops what waits and is on disk after all. */
void dv_ledger_write_settle(struct dv_ledger *l);

/* ledger_notes.c */
int dv_ledger_notes_append(struct dv_ledger *l, struct dv_ledger_note *note,
                           const struct dv_ledger_delta *deltas, size_t n, struct dv_err *err);
int dv_ledger_notes_head(struct dv_ledger *l, struct dv_ledger_head *ret, struct dv_err *err);
int dv_ledger_notes_life_head(struct dv_ledger *l, struct dv_ledger_head *ret, struct dv_err *err);
int dv_ledger_notes_add_life(struct dv_ledger *l, const struct dv_ledger_life *life,
                             struct dv_err *err);
/* Adds what was corrected in a block to its rows. */
int dv_ledger_notes_apply(struct dv_ledger *l, const struct ledger_block *b,
                          struct ledger_entries *rows, struct dv_err *err);
void dv_ledger_notes_read_note(sqlite3_stmt *st, struct dv_ledger_note *ret);
#define NOTE_COLUMNS "seq,kind,unix_ns,level,block,from_unix,old,new,who,reason,hash"
bool dv_ledger_notes_read_life(struct dv_ledger *l, sqlite3_stmt *st, struct dv_ledger_life *ret);
#define LIFE_COLUMNS                                                                               \
    "seq,event,claim,account,memory,compute,unix_ns,busy,wait,requested,byte_seconds,hash"

#endif
