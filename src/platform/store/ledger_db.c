/* SPDX-License-Identifier: Apache-2.0 */
#include "db_errno.h"
#include "db_open.h"
#include "ledger_impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define VERSION 2
#define APPLICATION_ID 0x64767661 /* "dvva" */

/*
 * No auto_vacuum: pages that pruning frees are used by the next rows, so the file stays at its
 * highest level, which the row budgets bound. Moving pages about would cost writes, and pointer
 * pages, for nothing that lasts.
 *
 * Entries lie by level and block, so that a reading of a month and the dropping of a day are one
 * run through neighbouring pages. The triggers are against mistakes, not against intent: that is
 * what the hashes are for.
 */
#define CHARGE_COLUMNS                                                                             \
    " busy INTEGER NOT NULL, overhead INTEGER NOT NULL, reserved_idle INTEGER NOT NULL,"           \
    " unallocated INTEGER NOT NULL, unhealthy INTEGER NOT NULL, wait INTEGER NOT NULL,"            \
    " requested INTEGER NOT NULL, byte_seconds INTEGER NOT NULL, held INTEGER NOT NULL"
#define CHARGE_NAMES                                                                               \
    "busy,overhead,reserved_idle,unallocated,unhealthy,wait,requested,byte_seconds,held"
#define NEVER_CHANGED(table)                                                                       \
    "CREATE TRIGGER " table "_is_final BEFORE UPDATE ON " table                                    \
    " BEGIN SELECT raise(ABORT, '" table " rows are never changed'); END;"

/* One entry per version: from version i to i + 1. */
static const char *const migrations[VERSION] = {
    "CREATE TABLE ledger (one INTEGER PRIMARY KEY CHECK (one = 1), id BLOB NOT NULL,"
    " writer INTEGER NOT NULL) STRICT;"
    "INSERT INTO ledger VALUES (1, randomblob(16), 0);"
    "CREATE TABLE chain (chain INTEGER PRIMARY KEY, name TEXT NOT NULL, pruned INTEGER NOT NULL)"
    " STRICT;"
    "INSERT INTO chain VALUES (0,'minute',0),(1,'hour',0),(2,'day',0),(3,'lives',0),(4,'notes',0);"
    "CREATE TABLE account (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE,"
    " gpu TEXT NOT NULL, model TEXT NOT NULL, profile TEXT NOT NULL, tenant TEXT NOT NULL,"
    " mode INTEGER NOT NULL, tier INTEGER NOT NULL, source INTEGER NOT NULL,"
    " quality INTEGER NOT NULL) STRICT;"
    "CREATE TABLE block (level INTEGER NOT NULL, seq INTEGER NOT NULL, from_unix INTEGER NOT NULL,"
    " to_unix INTEGER NOT NULL, begin_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL,"
    " wall_ns INTEGER NOT NULL, age_ns INTEGER NOT NULL, step_ns INTEGER NOT NULL,"
    " first INTEGER NOT NULL, last INTEGER NOT NULL, first_minute INTEGER NOT NULL,"
    " last_minute INTEGER NOT NULL, faults INTEGER NOT NULL, finer BLOB NOT NULL,"
    " lives INTEGER NOT NULL, lives_hash BLOB NOT NULL, notes INTEGER NOT NULL,"
    " notes_hash BLOB NOT NULL, rows INTEGER NOT NULL, prev BLOB NOT NULL, hash BLOB NOT NULL,"
    " PRIMARY KEY (level, seq)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE entry (level INTEGER NOT NULL, block INTEGER NOT NULL, account INTEGER NOT "
    "NULL," CHARGE_COLUMNS ", PRIMARY KEY (level, block, account)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE total (account INTEGER PRIMARY KEY," CHARGE_COLUMNS
    ", requested_rest INTEGER NOT NULL, byte_seconds_rest INTEGER NOT NULL) STRICT;"
    "CREATE TABLE open_block (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL,"
    " from_unix INTEGER NOT NULL, to_unix INTEGER NOT NULL, begin_ns INTEGER NOT NULL,"
    " end_ns INTEGER NOT NULL, wall_ns INTEGER NOT NULL, step_ns INTEGER NOT NULL) STRICT;"
    "CREATE TABLE open_entry (account INTEGER PRIMARY KEY," CHARGE_COLUMNS ") STRICT;"
    "CREATE TABLE checkpoint (claim INTEGER NOT NULL, pid INTEGER NOT NULL,"
    " start INTEGER NOT NULL, counter_ns INTEGER NOT NULL, busy_ns INTEGER NOT NULL,"
    " account INTEGER NOT NULL, device TEXT NOT NULL,"
    " PRIMARY KEY (claim, pid, start)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE owed (account INTEGER NOT NULL, device TEXT NOT NULL, ns INTEGER NOT NULL)"
    " STRICT;"
    "CREATE TABLE flushed (one INTEGER PRIMARY KEY CHECK (one = 1), unix_ns INTEGER NOT NULL,"
    " mono_ns INTEGER NOT NULL, boot TEXT NOT NULL) STRICT;"
    "CREATE TABLE life (seq INTEGER PRIMARY KEY, event INTEGER NOT NULL, claim INTEGER NOT NULL,"
    " account INTEGER NOT NULL, memory INTEGER NOT NULL, compute INTEGER NOT NULL,"
    " unix_ns INTEGER NOT NULL, busy INTEGER NOT NULL, wait INTEGER NOT NULL,"
    " requested INTEGER NOT NULL, byte_seconds INTEGER NOT NULL, hash BLOB NOT NULL) STRICT;"
    "CREATE TABLE note (seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, unix_ns INTEGER NOT NULL,"
    " level INTEGER NOT NULL, block INTEGER NOT NULL, from_unix INTEGER NOT NULL,"
    " old TEXT NOT NULL, new TEXT NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL,"
    " hash BLOB NOT NULL) STRICT;"
    "CREATE INDEX note_by_block ON note (kind, level, block);"
    "CREATE TABLE note_entry (note INTEGER NOT NULL, n INTEGER NOT NULL,"
    " account INTEGER NOT NULL," CHARGE_COLUMNS
    ", PRIMARY KEY (note, n)) STRICT, WITHOUT ROWID;" NEVER_CHANGED("account")
        NEVER_CHANGED("block") NEVER_CHANGED("entry") NEVER_CHANGED("life") NEVER_CHANGED("note")
            NEVER_CHANGED("note_entry"),
    /* Pods. An account without one is what it was, its hash included. */
    "ALTER TABLE account ADD COLUMN pod TEXT NOT NULL DEFAULT '';"
    "CREATE TABLE pod_account (account INTEGER PRIMARY KEY, minute INTEGER NOT NULL) STRICT;"
    "CREATE INDEX pod_account_by_minute ON pod_account (minute);"
    "CREATE INDEX life_by_account ON life (account);"
    "CREATE INDEX note_entry_by_account ON note_entry (account);",
};

#define Q9 "?,?,?,?,?,?,?,?,?"

static const char *const statements[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ACCOUNT_FIND] = "SELECT id FROM account WHERE digest = ?",
    [SQL_ACCOUNT_ADD] = "INSERT INTO account VALUES (NULL," Q9 ",?)",
    [SQL_ACCOUNT_GET] = "SELECT gpu,model,profile,tenant,mode,tier,source,quality,pod"
                        " FROM account WHERE id = ?",
    [SQL_POD_SEEN] = "INSERT INTO pod_account VALUES (?1, ?2) ON CONFLICT (account)"
                     " DO UPDATE SET minute = max(minute, ?2)",
    /* The base accounts, which have no row in pod_account, stay. */
    [SQL_POD_FORGET] =
        "DELETE FROM account WHERE id IN (SELECT account FROM pod_account p WHERE minute < ?1"
        " AND NOT EXISTS (SELECT 1 FROM life WHERE account = p.account)"
        " AND NOT EXISTS (SELECT 1 FROM note_entry WHERE account = p.account)"
        " AND account NOT IN (SELECT account FROM open_entry)"
        " AND account NOT IN (SELECT account FROM checkpoint)"
        " AND account NOT IN (SELECT account FROM owed) LIMIT ?2)",
    [SQL_HEAD] = "SELECT " BLOCK_COLUMNS " FROM block WHERE level = ? ORDER BY seq DESC LIMIT 1",
    [SQL_BLOCK_ADD] = "INSERT INTO block VALUES (" Q9 "," Q9 ",?,?,?,?)",
    [SQL_BLOCK_GET] = "SELECT " BLOCK_COLUMNS " FROM block WHERE level = ? AND seq = ?",
    [SQL_ENTRY_ADD] = "INSERT INTO entry VALUES (?,?,?," Q9 ")",
    [SQL_ENTRY_LIST] = "SELECT account," CHARGE_NAMES " FROM entry WHERE level = ? AND block = ?"
                       " ORDER BY account",
    /* Sums of years: what is beyond a whole GPU nanosecond, a whole GiB second, is kept aside. */
    [SQL_TOTAL_ADD] =
        "INSERT INTO total VALUES (?1,?2,?3,?4,?5,?6,?7,?8/7000,?9>>30,?10,?8%7000,?9&1073741823)"
        " ON CONFLICT (account) DO UPDATE SET busy=busy+?2, overhead=overhead+?3,"
        " reserved_idle=reserved_idle+?4, unallocated=unallocated+?5, unhealthy=unhealthy+?6,"
        " wait=wait+?7, held=held+?10,"
        " requested=requested+?8/7000+(requested_rest+?8%7000)/7000,"
        " requested_rest=(requested_rest+?8%7000)%7000,"
        " byte_seconds=byte_seconds+(?9>>30)+((byte_seconds_rest+(?9&1073741823))>>30),"
        " byte_seconds_rest=(byte_seconds_rest+(?9&1073741823))&1073741823",
    [SQL_OPEN_CLEAR] = "DELETE FROM open_block",
    [SQL_OPEN_PUT] = "INSERT OR REPLACE INTO open_block VALUES (1,?,?,?,?,?,?,?)",
    [SQL_OPEN_ENTRY_CLEAR] = "DELETE FROM open_entry",
    [SQL_OPEN_ENTRY_PUT] = "INSERT OR REPLACE INTO open_entry VALUES (?," Q9 ")",
    [SQL_FLUSHED] = "INSERT OR REPLACE INTO flushed VALUES (1,?,?,?)",
    [SQL_OWED_CLEAR] = "DELETE FROM owed",
    [SQL_OWED_ADD] = "INSERT INTO owed VALUES (?,?,?)",
    [SQL_CHECKPOINT_CLEAR] = "DELETE FROM checkpoint",
    [SQL_CHECKPOINT_ADD] = "INSERT OR REPLACE INTO checkpoint VALUES (?,?,?,?,?,?,?)",
    [SQL_LIFE_HEAD] = "SELECT seq, hash FROM life ORDER BY seq DESC LIMIT 1",
    [SQL_LIFE_ADD] = "INSERT INTO life VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
    [SQL_NOTE_HEAD] = "SELECT seq, hash FROM note ORDER BY seq DESC LIMIT 1",
    [SQL_NOTE_ADD] = "INSERT INTO note VALUES (?,?,?,?,?,?,?,?,?,?,?)",
    [SQL_NOTE_ENTRY_ADD] = "INSERT INTO note_entry VALUES (?,?,?," Q9 ")",
    [SQL_CORRECTIONS] = "SELECT account," CHARGE_NAMES " FROM note JOIN note_entry ON note = seq"
                        " WHERE kind = 0 AND level = ? AND block BETWEEN ? AND ? ORDER BY seq, n",
    [SQL_WRITER] = "UPDATE ledger SET writer = ?",
    [SQL_PRUNE_ENTRIES] =
        "DELETE FROM entry WHERE (level, block, account) IN (SELECT level, block, account"
        " FROM entry WHERE level = ? AND block <= ? LIMIT ?)",
    [SQL_PRUNE_BLOCKS] = "DELETE FROM block WHERE level = ?1 AND seq <= ?2 AND NOT EXISTS"
                         " (SELECT 1 FROM entry WHERE level = ?1 AND block <= ?2)",
    [SQL_PRUNE_LIVES] = "DELETE FROM life WHERE seq IN (SELECT seq FROM life WHERE seq <= ?"
                        " ORDER BY seq LIMIT ?)",
};

/* A missing table or column means that the file lost its schema: damaged, as far as we can tell. */
int dv_ledger_db_failed(struct dv_ledger *l, const char *what, struct dv_err *err)
{
    if (!l->db)
        return dv_err_set(err, -EIO, "%s: %s: the file is not open", l->path, what);
    int code = sqlite3_extended_errcode(l->db);
    int r = (code & 0xff) == SQLITE_ERROR || (code & 0xff) == SQLITE_CONSTRAINT ||
                    (code & 0xff) == SQLITE_MISMATCH
                ? -EBADMSG
                : dv_db_errno(code);
    return dv_err_set(err, r, "%s: %s: %s", l->path, what, sqlite3_errmsg(l->db));
}

int dv_ledger_db_exec(struct dv_ledger *l, const char *sql, const char *what, struct dv_err *err)
{
    return l->db && sqlite3_exec(l->db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : dv_ledger_db_failed(l, what, err);
}

int dv_ledger_db_prepare(struct dv_ledger *l, const char *sql, sqlite3_stmt **ret,
                         struct dv_err *err)
{
    *ret = NULL;
    return l->db && sqlite3_prepare_v2(l->db, sql, -1, ret, NULL) == SQLITE_OK
               ? 0
               : dv_ledger_db_failed(l, "reading", err);
}

int dv_ledger_db_number(struct dv_ledger *l, const char *sql, int64_t *ret, struct dv_err *err)
{
    sqlite3_stmt *st;
    int r = dv_ledger_db_prepare(l, sql, &st, err);
    if (r == 0 && sqlite3_step(st) == SQLITE_ROW)
        *ret = sqlite3_column_int64(st, 0);
    else if (r == 0)
        r = sqlite3_errcode(l->db) == SQLITE_DONE
                ? dv_err_set(err, -EBADMSG, "%s: a row is missing", l->path)
                : dv_ledger_db_failed(l, "reading", err);
    sqlite3_finalize(st);
    return r;
}

sqlite3_stmt *dv_ledger_db_statement(struct dv_ledger *l, enum ledger_sql which, int *ret_r,
                                     struct dv_err *err)
{
    sqlite3_stmt **st = &l->st[which];
    bool before_pods = which == SQL_ACCOUNT_GET && l->version < 2; /* read only */
    const char *text = before_pods ? "SELECT gpu,model,profile,tenant,mode,tier,source,quality,''"
                                     " FROM account WHERE id = ?"
                                   : statements[which];
    *ret_r = 0;
    if (!*st && (!l->db || sqlite3_prepare_v3(l->db, text, -1, SQLITE_PREPARE_PERSISTENT, st,
                                              NULL) != SQLITE_OK)) {
        *ret_r = dv_ledger_db_failed(l, "preparing", err);
        *st = NULL;
    }
    if (*st)
        sqlite3_reset(*st);
    return *st;
}

static int bind_charge(sqlite3_stmt *st, int i, const struct dv_charge *charge)
{
    uint64_t figures[N_CHARGE];
    dv_ledger_chain_figures(charge, figures);
    for (int k = 0; k < N_CHARGE; k++)
        sqlite3_bind_int64(st, i + k, (int64_t)figures[k]);
    return i + N_CHARGE;
}

int dv_ledger_db_run(struct dv_ledger *l, struct dv_err *err, enum ledger_sql which,
                     const char *types, ...)
{
    int r, i = 1;
    sqlite3_stmt *st = dv_ledger_db_statement(l, which, &r, err);
    if (!st)
        return r;
    va_list ap;
    va_start(ap, types);
    for (; *types; types++) {
        if (*types == 'i')
            sqlite3_bind_int64(st, i++, va_arg(ap, int64_t));
        else if (*types == 'c')
            i = bind_charge(st, i, va_arg(ap, const struct dv_charge *));
        else if (*types == 'h')
            sqlite3_bind_blob(st, i++, va_arg(ap, const void *), HASH, SQLITE_STATIC);
        else
            sqlite3_bind_text(st, i++, va_arg(ap, const char *), -1, SQLITE_STATIC);
    }
    va_end(ap);
    r = sqlite3_step(st) == SQLITE_DONE ? 0 : dv_ledger_db_failed(l, "writing", err);
    sqlite3_reset(st);
    return r;
}

int dv_ledger_db_begin(struct dv_ledger *l, struct dv_err *err)
{
    return dv_ledger_db_run(l, err, SQL_BEGIN, "");
}

int dv_ledger_db_commit(struct dv_ledger *l, struct dv_err *err)
{
    return dv_ledger_db_run(l, err, SQL_COMMIT, "");
}

void dv_ledger_db_rollback(struct dv_ledger *l)
{
    if (l->db && !sqlite3_get_autocommit(l->db))
        sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
}

void dv_ledger_db_text(sqlite3_stmt *st, int column, char *buf, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(st, column);
    if (!text || dv_str_copy(buf, size, text) < 0)
        buf[0] = 0;
}

bool dv_ledger_db_hash(sqlite3_stmt *st, int column, uint8_t ret[HASH])
{
    const void *blob = sqlite3_column_blob(st, column);
    bool fits = blob && sqlite3_column_bytes(st, column) == HASH;
    if (fits)
        memcpy(ret, blob, HASH);
    else
        memset(ret, 0, HASH);
    return fits;
}

void dv_ledger_db_charge(sqlite3_stmt *st, int column, struct dv_charge *ret)
{
    uint64_t figures[N_CHARGE];
    for (int k = 0; k < N_CHARGE; k++)
        figures[k] = (uint64_t)sqlite3_column_int64(st, column + k);
    dv_ledger_chain_charge(figures, ret);
}

/* ---- opening ---- */

static int newer(struct dv_ledger *l, int64_t version, struct dv_err *err)
{
    return dv_err_set(err, -EPROTONOSUPPORT,
                      "%s was written by a newer divvy (format %lld, this one knows %d); "
                      "start that one, or name another --state",
                      l->path, (long long)version, VERSION);
}

static int migrate(struct dv_ledger *l, int64_t version, struct dv_err *err)
{
    char sql[96];
    int r = 0;
    for (; r == 0 && version < VERSION; version++) {
        snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %lld; COMMIT",
                 APPLICATION_ID, (long long)version + 1);
        r = dv_ledger_db_exec(l, "BEGIN IMMEDIATE", "migrating", err);
        if (r == 0)
            r = dv_ledger_db_exec(l, migrations[version], "migrating", err);
        if (r == 0)
            r = dv_ledger_db_exec(l, sql, "migrating", err);
        if (r < 0)
            dv_ledger_db_rollback(l);
    }
    return r;
}

/* Is this a ledger, and of a format that I know? */
static int check_format(struct dv_ledger *l, struct dv_err *err)
{
    int64_t version = 0, application = 0, tables = 0;
    int r = dv_ledger_db_number(l, "SELECT count(*) FROM sqlite_schema", &tables, err);
    if (r == 0)
        r = dv_ledger_db_number(l, "PRAGMA application_id", &application, err);
    if (r == 0)
        r = dv_ledger_db_number(l, "PRAGMA user_version", &version, err);
    if (r < 0)
        return r;
    if ((tables && application != APPLICATION_ID) || (!tables && l->read_only) || version < 0 ||
        (tables && version == 0))
        return dv_err_set(err, -EBADMSG, "%s is a database, but no ledger of divvy", l->path);
    if (version > VERSION)
        return newer(l, version, err);
    l->version = l->read_only ? version : VERSION; /* older ones are read as they are */
    return l->read_only ? 0 : migrate(l, version, err);
}

static int open_as(struct dv_ledger *l, const char *name, int flags, struct dv_err *err)
{
    if (dv_db_open(name, flags | SQLITE_OPEN_NOMUTEX, &l->db) != SQLITE_OK)
        return dv_ledger_db_failed(l, "opening", err);
    sqlite3_extended_result_codes(l->db, 1);
    sqlite3_busy_timeout(l->db, 2000);
    /* FULL: a flush that returned 0 has been synced, since the checkpoints in it say that the time
     * up to them is charged; NORMAL would lose the last of them with the power. */
    int r = dv_ledger_db_exec(l, "PRAGMA trusted_schema = OFF; PRAGMA cache_size = -2048",
                              "preparing", err);
    if (r == 0 && !l->read_only)
        r = dv_ledger_db_exec(l,
                              "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                              "PRAGMA journal_size_limit = 4194304",
                              "preparing", err);
    return r == 0 ? check_format(l, err) : r;
}

/* A copy on a disk that cannot be written, with no log beside it, is complete by itself. */
static int open_immutable(struct dv_ledger *l, struct dv_err *err)
{
    char name[sizeof l->path * 3 + 32], log[sizeof l->path + 8];
    snprintf(log, sizeof log, "%s-wal", l->path);
    if (access(log, F_OK) == 0)
        return -EACCES;
    size_t n = (size_t)snprintf(name, sizeof name, "file:");
    for (const char *p = l->path; *p; p++)
        n += (size_t)snprintf(name + n, sizeof name - n, strchr("%?#", *p) ? "%%%02x" : "%c", *p);
    snprintf(name + n, sizeof name - n, "?immutable=1");
    return open_as(l, name, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, err);
}

int dv_ledger_db_open(struct dv_ledger *l, struct dv_err *err)
{
    if (!l->read_only)
        return open_as(l, l->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err);
    if (access(l->path, F_OK) < 0)
        return dv_err_set(err, -errno, "%s: %s", l->path, strerror(errno));
    int r = open_as(l, l->path, SQLITE_OPEN_READONLY, err);
    if (r == -EACCES || r == -EROFS) {
        dv_ledger_db_close(l);
        int again = open_immutable(l, err);
        r = again == -EACCES ? r : again;
    }
    return r;
}

void dv_ledger_db_close(struct dv_ledger *l)
{
    for (size_t i = 0; i < SQL_COUNT; i++) {
        sqlite3_finalize(l->st[i]);
        l->st[i] = NULL;
    }
    sqlite3_close(l->db);
    l->db = NULL;
}

/* Renames the file and what belongs to it; nothing is ever deleted. */
int dv_ledger_db_put_aside(struct dv_ledger *l, struct dv_str *note, struct dv_err *err)
{
    static const char *const parts[] = {"", "-wal", "-shm"};
    char stamp[40], from[600], to[640], name[600];
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
    snprintf(name, sizeof name, "%s.corrupt-%s", l->path, stamp);
    for (int n = 1; access(name, F_OK) == 0 && n < 1000; n++)
        snprintf(name, sizeof name, "%s.corrupt-%s-%d", l->path, stamp, n);
    for (size_t i = 0; i < DV_ARRAY_SIZE(parts); i++) {
        snprintf(from, sizeof from, "%s%s", l->path, parts[i]);
        snprintf(to, sizeof to, "%s%s", name, parts[i]);
        if (rename(from, to) < 0 && errno != ENOENT)
            return dv_err_set(err, -errno, "cannot put the corrupt %s aside: %s", from,
                              strerror(errno));
    }
    dv_str_addf(note, "%s was corrupt and is kept as %s; starting a new ledger", l->path, name);
    return 0;
}
