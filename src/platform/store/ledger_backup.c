/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies. Both ends are open on this side: what the writer of the same handle changes in pages
 * that were copied already is copied again by SQLite, so a copy comes to an end under any load.
 */
#include "db_open.h"
#include "ledger_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct dv_ledger_backup {
    sqlite3 *to;
    sqlite3_backup *copy;
    char path[512], part[520];
    bool complete;
};

static int failed(struct dv_ledger_backup *b, int code, struct dv_err *err)
{
    int r = (code & 0xff) == SQLITE_FULL ? -ENOSPC : (code & 0xff) == SQLITE_NOMEM ? -ENOMEM : -EIO;
    return dv_err_set(err, r, "%s: copying: %s", b->part, sqlite3_errstr(code));
}

int dv_ledger_backup_begin(struct dv_ledger *l, const char *path, struct dv_ledger_backup **ret,
                           struct dv_err *err)
{
    struct dv_ledger_backup *b = calloc(1, sizeof *b);
    int r = 0;
    if (!b)
        return dv_err_set(err, -ENOMEM, "out of memory");
    if (dv_str_copy(b->path, sizeof b->path, path) < 0 || !path[0])
        r = dv_err_set(err, -ENAMETOOLONG, "the copy's name is too long, or empty");
    else if (access(path, F_OK) == 0)
        r = dv_err_set(err, -EEXIST, "%s is there already; name another file", path);
    snprintf(b->part, sizeof b->part, "%s.part", b->path);
    if (r == 0 && unlink(b->part) < 0 && errno != ENOENT)
        r = dv_err_set(err, -errno, "%s: %s", b->part, strerror(errno));
    int code = r == 0 ? dv_db_open(b->part, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &b->to)
                      : SQLITE_OK;
    if (code != SQLITE_OK)
        r = failed(b, code, err);
    if (r == 0 && !(b->copy = sqlite3_backup_init(b->to, "main", l->db, "main")))
        r = failed(b, sqlite3_errcode(b->to), err);
    if (r < 0) {
        if (r == -EEXIST || r == -ENAMETOOLONG)
            b->part[0] = 0;
        dv_ledger_backup_end(b);
        return r;
    }
    *ret = b;
    return 0;
}

/* All in one file, synced, then under its name: what has the name is complete. */
static int complete(struct dv_ledger_backup *b, struct dv_err *err)
{
    int code = sqlite3_backup_finish(b->copy);
    b->copy = NULL;
    if (code == SQLITE_OK)
        code = sqlite3_exec(b->to, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_close(b->to);
    if (code != SQLITE_OK)
        return failed(b, code, err);
    b->to = NULL;
    int fd = open(b->part, O_RDONLY | O_CLOEXEC), r = 0;
    if (fd < 0 || fsync(fd) < 0)
        r = -errno;
    if (fd >= 0)
        close(fd);
    /* link, not rename: a file that came to be there meanwhile is not replaced. */
    if (r == 0 && link(b->part, b->path) < 0)
        r = -errno;
    if (r < 0)
        return dv_err_set(err, r, "%s: %s", b->path, strerror(-r));
    unlink(b->part);
    b->complete = true;
    return 0;
}

int dv_ledger_backup_step(struct dv_ledger_backup *b, unsigned pages, struct dv_err *err)
{
    if (b->complete)
        return 0;
    if (!b->copy)
        return dv_err_set(err, -EIO, "%s: the copy failed before", b->part);
    int code = sqlite3_backup_step(b->copy, (int)DV_MIN(DV_MAX(pages, 1u), 1u << 20));
    if (code == SQLITE_OK || code == SQLITE_BUSY || code == SQLITE_LOCKED)
        return 1;
    return code == SQLITE_DONE ? complete(b, err) : failed(b, code, err);
}

void dv_ledger_backup_end(struct dv_ledger_backup *b)
{
    if (!b)
        return;
    sqlite3_backup_finish(b->copy);
    sqlite3_close(b->to);
    if (!b->complete && b->part[0])
        unlink(b->part);
    free(b);
}
