/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods in the dictionary. They come and go by the thousand, and a dictionary that only grew would
 * be full of them in a year; so days and totals are kept without pods, and what a pod was called is
 * forgotten with the last hour, life or correction that speaks of it.
 *
 * When a pod was last seen is in pod_account, as a minute's number, to SEEN_STEP minutes: it is
 * written once in so many, not with every row. It is no part of the proof.
 */
#include "ledger_impl.h"

#include <errno.h>
#include <string.h>

#define FORGET_PER_CALL 512

struct dv_account dv_ledger_pods_base(const struct dv_account *account)
{
    struct dv_account base = *account;
    memset(base.pod, 0, sizeof base.pod);
    return base;
}

int dv_ledger_pods_seen(struct dv_ledger *l, int64_t id, uint64_t minute, struct dv_err *err)
{
    return dv_ledger_db_run(l, err, SQL_POD_SEEN, "ii", id, (int64_t)minute);
}

/* The last minute of the hours that were dropped: the day that covers them knows. */
static int dropped_until(struct dv_ledger *l, int64_t *ret, struct dv_err *err)
{
    sqlite3_stmt *st;
    int r = dv_ledger_db_prepare(l, "SELECT last_minute FROM block WHERE level = 2 AND last = ?",
                                 &st, err);
    if (r < 0)
        return r;
    sqlite3_bind_int64(st, 1, (int64_t)l->pruned[DV_LEDGER_HOUR]);
    int code = sqlite3_step(st);
    *ret = code == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        r = dv_ledger_db_failed(l, "reading", err);
    sqlite3_finalize(st);
    return r;
}

static int forget(struct dv_ledger *l, int64_t until, int *ret_n, struct dv_err *err)
{
    int r = dv_ledger_db_begin(l, err);
    if (r == 0)
        r = dv_ledger_write_check(l, err);
    if (r == 0)
        r = dv_ledger_db_run(l, err, SQL_POD_FORGET, "ii", until - SEEN_STEP,
                             (int64_t)FORGET_PER_CALL);
    *ret_n = r == 0 ? sqlite3_changes(l->db) : 0;
    if (r == 0 && *ret_n)
        r = dv_ledger_db_exec(l,
                              "DELETE FROM pod_account WHERE NOT EXISTS"
                              " (SELECT 1 FROM account WHERE id = pod_account.account)",
                              "pruning", err);
    if (r == 0)
        r = dv_ledger_db_commit(l, err);
    if (r < 0)
        dv_ledger_db_rollback(l);
    return r;
}

int dv_ledger_pods_forget(struct dv_ledger *l, bool *ret_more, struct dv_err *err)
{
    int64_t until = 0;
    int n = 0, r = l->sweep ? dropped_until(l, &until, err) : 0;
    if (r == 0 && until > SEEN_STEP)
        r = forget(l, until, &n, err);
    if (r < 0)
        return r;
    l->sweep = n > 0;
    if (!n)
        return 0;
    *ret_more = true;
    l->kept_accounts -= DV_MIN(l->kept_accounts, (int64_t)n);
    /* Numbers may be given again. */
    dv_ledger_memory_forget_ids(l);
    dv_ledger_block_forget(l);
    return 0;
}
