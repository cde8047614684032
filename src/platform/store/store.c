/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store.h"

#include "db_errno.h"
#include "db_open.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_NAME "divvyd.db"
#define VERSION 4

struct dv_store {
    sqlite3 *db;
    char path[512];
    char boot[DV_PROC_BOOT_ID];
};

/* One entry per version: from version i to i + 1. */
static const char *const migrations[VERSION] = {
    "CREATE TABLE tenants (name TEXT PRIMARY KEY, busy_ns INTEGER NOT NULL,"
    " wait_ns INTEGER NOT NULL, compute_ns TEXT NOT NULL, byte_ns TEXT NOT NULL) STRICT;"
    "CREATE TABLE claims (id INTEGER PRIMARY KEY, boot TEXT NOT NULL, tenant TEXT NOT NULL,"
    " mode INTEGER NOT NULL, memory_bytes INTEGER NOT NULL, compute INTEGER NOT NULL,"
    " priority INTEGER NOT NULL, tier INTEGER NOT NULL, trust INTEGER NOT NULL,"
    " selector INTEGER NOT NULL, selector_index INTEGER NOT NULL, selector_text TEXT NOT NULL,"
    " wait INTEGER NOT NULL, since_ns INTEGER NOT NULL, since_unix INTEGER NOT NULL,"
    " owner_pid INTEGER NOT NULL, owner_start INTEGER NOT NULL, uid INTEGER NOT NULL,"
    " command TEXT NOT NULL, granted INTEGER NOT NULL, device TEXT NOT NULL,"
    " slice_mode INTEGER NOT NULL, slice_memory_bytes INTEGER NOT NULL,"
    " slice_compute INTEGER NOT NULL, memory_wall INTEGER NOT NULL,"
    " compute_wall INTEGER NOT NULL, slice_since_ns INTEGER NOT NULL) STRICT;"
    "CREATE TABLE processes (claim INTEGER NOT NULL, pid INTEGER NOT NULL,"
    " start INTEGER NOT NULL, PRIMARY KEY (claim, pid, start)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE ids (one INTEGER PRIMARY KEY CHECK (one = 1), next INTEGER NOT NULL) STRICT;"
    "INSERT INTO ids VALUES (1, 1);",
    "CREATE TABLE documents (key TEXT PRIMARY KEY, name TEXT NOT NULL, config TEXT NOT NULL,"
    " unix_time INTEGER NOT NULL, text TEXT NOT NULL) STRICT, WITHOUT ROWID;",
    "DROP TABLE tenants;" /* what they used is in the ledger */
    "CREATE TABLE waits (tenant TEXT NOT NULL, holder TEXT NOT NULL, kind TEXT NOT NULL,"
    " ns INTEGER NOT NULL, since_unix INTEGER NOT NULL,"
    " PRIMARY KEY (tenant, holder, kind)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE baselines (tenant TEXT NOT NULL, name TEXT NOT NULL, command TEXT NOT NULL,"
    " model TEXT NOT NULL, profile TEXT NOT NULL, mode INTEGER NOT NULL,"
    " memory_bytes INTEGER NOT NULL, compute INTEGER NOT NULL, unix_time INTEGER NOT NULL,"
    " launches INTEGER NOT NULL, wall_ns INTEGER NOT NULL, busy_ns INTEGER NOT NULL,"
    " wait_ns INTEGER NOT NULL,"
    " PRIMARY KEY (tenant, name)) STRICT, WITHOUT ROWID;"
    "ALTER TABLE claims ADD COLUMN alone INTEGER NOT NULL DEFAULT 0;",
    "CREATE TABLE workloads (claim INTEGER PRIMARY KEY, namespace TEXT NOT NULL,"
    " pod TEXT NOT NULL, pod_uid TEXT NOT NULL, container TEXT NOT NULL,"
    " container_id TEXT NOT NULL, device TEXT NOT NULL, cgroup TEXT NOT NULL) STRICT;",
};

static int db_failed(struct dv_store *s, const char *what, struct dv_err *err)
{
    int code = s->db ? sqlite3_extended_errcode(s->db) : SQLITE_NOMEM;
    return dv_err_set(err, dv_db_errno(code), "%s: %s: %s", s->path, what,
                      s->db ? sqlite3_errmsg(s->db) : "out of memory");
}

static int exec(struct dv_store *s, const char *sql, const char *what, struct dv_err *err)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_failed(s, what, err);
}

/* ---- opening ---- */

static int read_number(struct dv_store *s, const char *sql, int64_t *ret, struct dv_err *err)
{
    sqlite3_stmt *st = NULL;
    int r = 0;
    if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) != SQLITE_OK ||
        sqlite3_step(st) != SQLITE_ROW)
        r = db_failed(s, "reading", err);
    else
        *ret = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return r;
}

static int check(struct dv_store *s, struct dv_err *err)
{
    sqlite3_stmt *st = NULL;
    int r = 0;
    if (sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &st, NULL) != SQLITE_OK ||
        sqlite3_step(st) != SQLITE_ROW)
        r = db_failed(s, "checking", err);
    else if (strcmp((const char *)sqlite3_column_text(st, 0), "ok") != 0)
        r = dv_err_set(err, -EBADMSG, "%s: %s", s->path, sqlite3_column_text(st, 0));
    sqlite3_finalize(st);
    return r;
}

static int migrate(struct dv_store *s, struct dv_err *err)
{
    int64_t version = 0;
    char sql[64];
    int r = read_number(s, "PRAGMA user_version", &version, err);
    if (r < 0)
        return r;
    if (version > VERSION)
        return dv_err_set(err, -EPROTONOSUPPORT,
                          "%s was written by a newer divvy (format %lld, this one knows %d); "
                          "start that one, or name another --state",
                          s->path, (long long)version, VERSION);
    for (; r == 0 && version < VERSION; version++) {
        snprintf(sql, sizeof sql, "PRAGMA user_version = %lld; COMMIT", (long long)version + 1);
        r = exec(s, "BEGIN IMMEDIATE", "migrating", err);
        if (r == 0)
            r = exec(s, migrations[version], "migrating", err);
        if (r == 0)
            r = exec(s, sql, "migrating", err);
        if (r < 0)
            dv_store_rollback(s);
    }
    return r;
}

static int open_file(struct dv_store *s, struct dv_err *err)
{
    if (dv_db_open(s->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &s->db) != SQLITE_OK)
        return db_failed(s, "opening", err);
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, 2000);
    int r = check(s, err);
    if (r == 0)
        r = exec(s,
                 "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                 "PRAGMA cache_size = -256; PRAGMA trusted_schema = OFF",
                 "preparing", err);
    return r == 0 ? migrate(s, err) : r;
}

static void close_file(struct dv_store *s)
{
    sqlite3_close(s->db);
    s->db = NULL;
}

/* Renames the file and what belongs to it; nothing is ever deleted. */
static int put_aside(struct dv_store *s, struct dv_str *note, struct dv_err *err)
{
    static const char *const parts[] = {"", "-wal", "-shm"};
    char stamp[32], to[600], from[600];
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
    for (size_t i = 0; i < DV_ARRAY_SIZE(parts); i++) {
        snprintf(from, sizeof from, "%s%s", s->path, parts[i]);
        snprintf(to, sizeof to, "%s.corrupt-%s%s", s->path, stamp, parts[i]);
        for (int n = 1; access(to, F_OK) == 0 && n < 100; n++)
            snprintf(to, sizeof to, "%s.corrupt-%s-%d%s", s->path, stamp, n, parts[i]);
        if (rename(from, to) < 0 && errno != ENOENT)
            return dv_err_set(err, -errno, "cannot put the corrupt %s aside: %s", from,
                              strerror(errno));
        if (!i)
            dv_str_addf(note, "%s was corrupt and is kept as %s; starting afresh", s->path, to);
    }
    return 0;
}

int dv_store_open(const char *dir, struct dv_store **ret, struct dv_str *note, struct dv_err *err)
{
    struct dv_store *s = calloc(1, sizeof *s);
    if (!s)
        return dv_err_set(err, -ENOMEM, "out of memory");
    if (snprintf(s->path, sizeof s->path, "%s/" FILE_NAME, dir) >= (int)sizeof s->path) {
        free(s);
        return dv_err_set(err, -ENAMETOOLONG, "the state directory's name is too long");
    }
    dv_proc_boot_id(s->boot);
    int r = open_file(s, err);
    if (r == -EBADMSG) {
        close_file(s);
        r = put_aside(s, note, err);
        if (r == 0)
            r = open_file(s, err);
    }
    if (r < 0) {
        dv_store_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

void dv_store_close(struct dv_store *s)
{
    if (!s)
        return;
    close_file(s);
    free(s);
}

/* ---- rows ---- */

/* Prepares, binds by the letters of `types` (i: int64_t, t: text), and steps to the end. */
static int run(struct dv_store *s, struct dv_err *err, const char *sql, const char *types, ...)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) != SQLITE_OK) {
        int r = db_failed(s, "writing", err);
        sqlite3_finalize(st);
        return r;
    }
    va_list ap;
    va_start(ap, types);
    for (int i = 1; *types; types++, i++) {
        if (*types == 'i')
            sqlite3_bind_int64(st, i, va_arg(ap, int64_t));
        else
            sqlite3_bind_text(st, i, va_arg(ap, const char *), -1, SQLITE_TRANSIENT);
    }
    va_end(ap);
    int r = sqlite3_step(st) == SQLITE_DONE ? 0 : db_failed(s, "writing", err);
    sqlite3_finalize(st);
    return r;
}

int dv_store_begin(struct dv_store *s, struct dv_err *err)
{
    return exec(s, "BEGIN IMMEDIATE", "writing", err);
}

int dv_store_commit(struct dv_store *s, struct dv_err *err)
{
    return exec(s, "COMMIT", "writing", err);
}

void dv_store_rollback(struct dv_store *s)
{
    if (!sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

#define I(x) ((int64_t)(x))

static int put_workload(struct dv_store *s, uint64_t claim, const struct dv_workload *w,
                        struct dv_err *err)
{
    if (!w->container_id[0])
        return 0;
    return run(s, err, "INSERT OR REPLACE INTO workloads VALUES (?,?,?,?,?,?,?,?)", "ittttttt",
               I(claim), w->namespace, w->pod, w->pod_uid, w->container, w->container_id, w->device,
               w->cgroup);
}

int dv_store_put_claim(struct dv_store *s, const struct dv_store_claim *row, struct dv_err *err)
{
    const struct dv_claim *c = &row->claim;
    const struct dv_slice none = {0};
    const struct dv_slice *l = row->granted ? &row->slice : &none;
    int r = run(s, err, "UPDATE ids SET next = max(next, ?)", "i", I(c->id + 1));
    if (r < 0)
        return r;
    r = run(s, err,
            "INSERT OR REPLACE INTO claims VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,"
            "?,?,?,?,?,?)",
            "ittiiiiiiiitiiiiiititiiiiiii", I(c->id), s->boot, c->tenant, I(c->mode),
            I(c->memory_bytes), I(c->compute), I(c->priority), I(c->tier), I(c->trust),
            I(c->gpu.kind), I(c->gpu.index), c->gpu.text, I(c->wait), I(c->since_ns),
            I(row->since_unix), I(row->owner.pid), I(row->owner.start), I(row->uid), row->command,
            I(row->granted), l->device, I(l->mode), I(l->memory_bytes), I(l->compute),
            I(l->memory_wall), I(l->compute_wall), I(l->since_ns), I(c->alone));
    return r < 0 ? r : put_workload(s, c->id, &row->workload, err);
}

int dv_store_drop_claim(struct dv_store *s, uint64_t id, struct dv_err *err)
{
    int r = run(s, err, "DELETE FROM processes WHERE claim = ?", "i", I(id));
    if (r == 0)
        r = run(s, err, "DELETE FROM workloads WHERE claim = ?", "i", I(id));
    return r < 0 ? r : run(s, err, "DELETE FROM claims WHERE id = ?", "i", I(id));
}

int dv_store_drop_all_claims(struct dv_store *s, struct dv_err *err)
{
    return exec(s, "DELETE FROM processes; DELETE FROM workloads; DELETE FROM claims", "writing",
                err);
}

int dv_store_put_process(struct dv_store *s, uint64_t claim, const struct dv_proc_id *p,
                         struct dv_err *err)
{
    return run(s, err, "INSERT OR REPLACE INTO processes VALUES (?,?,?)", "iii", I(claim),
               I(p->pid), I(p->start));
}

int dv_store_drop_process(struct dv_store *s, uint64_t claim, const struct dv_proc_id *p,
                          struct dv_err *err)
{
    return run(s, err, "DELETE FROM processes WHERE claim = ? AND pid = ? AND start = ?", "iii",
               I(claim), I(p->pid), I(p->start));
}

int dv_store_put_document(struct dv_store *s, const struct dv_store_document *d, struct dv_err *err)
{
    return run(s, err, "INSERT OR REPLACE INTO documents VALUES (?,?,?,?,?)", "tttit", d->key,
               d->name, d->config, I(d->unix_time), d->text);
}

int dv_store_drop_document(struct dv_store *s, const char *key, struct dv_err *err)
{
    return run(s, err, "DELETE FROM documents WHERE key = ?", "t", key);
}

/* ---- reading ---- */

static void read_text(sqlite3_stmt *st, int column, char *buf, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(st, column);
    if (!text || dv_str_copy(buf, size, text) < 0)
        buf[0] = 0;
}

static void read_workload(sqlite3_stmt *st, int i, struct dv_workload *w)
{
    read_text(st, i++, w->namespace, sizeof w->namespace);
    read_text(st, i++, w->pod, sizeof w->pod);
    read_text(st, i++, w->pod_uid, sizeof w->pod_uid);
    read_text(st, i++, w->container, sizeof w->container);
    read_text(st, i++, w->container_id, sizeof w->container_id);
    read_text(st, i++, w->device, sizeof w->device);
    read_text(st, i++, w->cgroup, sizeof w->cgroup);
}

static void read_claim(sqlite3_stmt *st, struct dv_store_claim *row)
{
    struct dv_claim *c = &row->claim;
    struct dv_slice *l = &row->slice;
    int i = 2;
    memset(row, 0, sizeof *row);
    c->id = (uint64_t)sqlite3_column_int64(st, 0);
    read_text(st, i++, c->tenant, sizeof c->tenant);
    c->mode = (enum dv_mode)sqlite3_column_int(st, i++);
    c->memory_bytes = (uint64_t)sqlite3_column_int64(st, i++);
    c->compute = (uint32_t)sqlite3_column_int64(st, i++);
    c->priority = sqlite3_column_int(st, i++);
    c->tier = (enum dv_tier)sqlite3_column_int(st, i++);
    c->trust = (enum dv_trust)sqlite3_column_int(st, i++);
    c->gpu.kind = (enum dv_selector_kind)sqlite3_column_int(st, i++);
    c->gpu.index = (uint32_t)sqlite3_column_int64(st, i++);
    read_text(st, i++, c->gpu.text, sizeof c->gpu.text);
    c->wait = sqlite3_column_int(st, i++) != 0;
    c->since_ns = (uint64_t)sqlite3_column_int64(st, i++);
    row->since_unix = sqlite3_column_int64(st, i++);
    row->owner.pid = (pid_t)sqlite3_column_int64(st, i++);
    row->owner.start = (uint64_t)sqlite3_column_int64(st, i++);
    row->uid = (uint32_t)sqlite3_column_int64(st, i++);
    read_text(st, i++, row->command, sizeof row->command);
    row->granted = sqlite3_column_int(st, i++) != 0;
    read_text(st, i++, l->device, sizeof l->device);
    l->mode = (enum dv_mode)sqlite3_column_int(st, i++);
    l->memory_bytes = (uint64_t)sqlite3_column_int64(st, i++);
    l->compute = (uint32_t)sqlite3_column_int64(st, i++);
    l->memory_wall = (enum dv_wall)sqlite3_column_int(st, i++);
    l->compute_wall = (enum dv_wall)sqlite3_column_int(st, i++);
    l->since_ns = (uint64_t)sqlite3_column_int64(st, i++);
    l->alone = c->alone = sqlite3_column_int(st, i++) != 0;
    read_workload(st, i + 1, &row->workload); /* behind its claim's number */
    l->id = c->id;
    memcpy(l->tenant, c->tenant, sizeof l->tenant);
    memcpy(l->pod, row->workload.pod, sizeof l->pod);
    l->priority = c->priority;
    l->tier = c->tier;
    l->trust = c->trust;
}

struct reader {
    struct dv_store *store;
    dv_store_on_claim *on_claim;
    dv_store_on_process *on_process;
    dv_store_on_document *on_document;
    void *arg;
    dv_store_on_wait *on_wait;
    dv_store_on_baseline *on_baseline;
    const char *tenant, *name;
};

static void claim_row(struct reader *r, sqlite3_stmt *st)
{
    struct dv_store_claim row;
    char boot[DV_PROC_BOOT_ID];
    read_text(st, 1, boot, sizeof boot);
    read_claim(st, &row);
    if (!strcmp(boot, r->store->boot))
        r->on_claim(r->arg, &row);
}

static void process_row(struct reader *r, sqlite3_stmt *st)
{
    struct dv_proc_id id = {(pid_t)sqlite3_column_int64(st, 1),
                            (uint64_t)sqlite3_column_int64(st, 2)};
    r->on_process(r->arg, (uint64_t)sqlite3_column_int64(st, 0), &id);
}

static void document_row(struct reader *r, sqlite3_stmt *st)
{
    struct dv_store_document d = {.unix_time = sqlite3_column_int64(st, 3)};
    read_text(st, 0, d.key, sizeof d.key);
    read_text(st, 1, d.name, sizeof d.name);
    read_text(st, 2, d.config, sizeof d.config);
    d.text = (const char *)sqlite3_column_text(st, 4);
    d.len = (size_t)sqlite3_column_bytes(st, 4);
    if (d.text)
        r->on_document(r->arg, &d);
}

static int each(struct reader *r, const char *sql, void (*row)(struct reader *, sqlite3_stmt *),
                struct dv_err *err)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(r->store->db, sql, -1, &st, NULL);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(st);
        if (code == SQLITE_ROW)
            row(r, st);
    }
    int result = code == SQLITE_DONE ? 0 : db_failed(r->store, "reading", err);
    sqlite3_finalize(st);
    return result;
}

int dv_store_load(struct dv_store *s, dv_store_on_claim *on_claim, dv_store_on_process *on_process,
                  void *arg, struct dv_err *err)
{
    struct reader reader = {.store = s, .on_claim = on_claim, .on_process = on_process, .arg = arg};
    int r = each(&reader, "SELECT * FROM claims LEFT JOIN workloads ON claim = id ORDER BY id",
                 claim_row, err);
    if (r == 0)
        r = each(&reader, "SELECT * FROM processes ORDER BY claim, pid", process_row, err);
    return r;
}

int dv_store_load_documents(struct dv_store *s, dv_store_on_document *on_document, void *arg,
                            struct dv_err *err)
{
    struct reader reader = {.store = s, .on_document = on_document, .arg = arg};
    return each(&reader, "SELECT * FROM documents ORDER BY key", document_row, err);
}

int dv_store_next_id(struct dv_store *s, uint64_t *ret, struct dv_err *err)
{
    int64_t next = 0;
    int r = read_number(s, "SELECT next FROM ids", &next, err);
    if (r == 0)
        *ret = next > 0 ? (uint64_t)next : 1;
    return r;
}

/* ---- where the time went ---- */

int dv_store_put_wait(struct dv_store *s, const struct dv_store_wait *row, struct dv_err *err)
{
    return run(s, err, "INSERT OR REPLACE INTO waits VALUES (?,?,?,?,?)", "tttii", row->tenant,
               row->holder, row->kind, I(row->ns), I(row->since_unix));
}

static void wait_row(struct reader *r, sqlite3_stmt *st)
{
    struct dv_store_wait row = {.ns = (uint64_t)sqlite3_column_int64(st, 3),
                                .since_unix = sqlite3_column_int64(st, 4)};
    read_text(st, 0, row.tenant, sizeof row.tenant);
    read_text(st, 1, row.holder, sizeof row.holder);
    read_text(st, 2, row.kind, sizeof row.kind);
    r->on_wait(r->arg, &row);
}

int dv_store_load_waits(struct dv_store *s, dv_store_on_wait *on_wait, void *arg,
                        struct dv_err *err)
{
    struct reader reader = {.store = s, .on_wait = on_wait, .arg = arg};
    return each(&reader, "SELECT * FROM waits ORDER BY tenant, holder, kind", wait_row, err);
}

/* ---- baselines ---- */

int dv_store_put_baseline(struct dv_store *s, const struct dv_store_baseline *b, struct dv_err *err)
{
    return run(s, err, "INSERT OR REPLACE INTO baselines VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
               "tttttiiiiiiii", b->tenant, b->name, b->command, b->model, b->profile, I(b->mode),
               I(b->memory_bytes), I(b->compute), I(b->unix_time), I(b->launches), I(b->wall_ns),
               I(b->busy_ns), I(b->wait_ns));
}

static void baseline_row(struct reader *r, sqlite3_stmt *st)
{
    struct dv_store_baseline b = {
        .mode = (enum dv_mode)sqlite3_column_int(st, 5),
        .memory_bytes = (uint64_t)sqlite3_column_int64(st, 6),
        .compute = (uint32_t)sqlite3_column_int64(st, 7),
        .unix_time = sqlite3_column_int64(st, 8),
        .launches = (uint64_t)sqlite3_column_int64(st, 9),
        .wall_ns = (uint64_t)sqlite3_column_int64(st, 10),
        .busy_ns = (uint64_t)sqlite3_column_int64(st, 11),
        .wait_ns = (uint64_t)sqlite3_column_int64(st, 12),
    };
    read_text(st, 0, b.tenant, sizeof b.tenant);
    read_text(st, 1, b.name, sizeof b.name);
    read_text(st, 2, b.command, sizeof b.command);
    read_text(st, 3, b.model, sizeof b.model);
    read_text(st, 4, b.profile, sizeof b.profile);
    if ((!r->tenant || !strcmp(r->tenant, b.tenant)) && (!r->name || !strcmp(r->name, b.name)))
        r->on_baseline(r->arg, &b);
}

int dv_store_load_baselines(struct dv_store *s, const char *tenant, const char *name,
                            dv_store_on_baseline *on_baseline, void *arg, struct dv_err *err)
{
    struct reader reader = {
        .store = s, .on_baseline = on_baseline, .arg = arg, .tenant = tenant, .name = name};
    return each(&reader, "SELECT * FROM baselines ORDER BY tenant, name", baseline_row, err);
}

int dv_store_drop_baseline(struct dv_store *s, const char *tenant, const char *name,
                           struct dv_err *err)
{
    return run(s, err, "DELETE FROM baselines WHERE tenant = ? AND name = ?", "tt", tenant, name);
}
