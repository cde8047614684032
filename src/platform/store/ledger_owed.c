/* SPDX-License-Identifier: Apache-2.0 */
/* What was metered and has found no place in an interval yet: goes to disk with each flush. */
#include "ledger_impl.h"

#include <errno.h>

void dv_ledger_owe(struct dv_ledger *l, const struct dv_ledger_owed *rows, size_t n)
{
    l->owed = rows;
    l->n_owed = n;
}

int dv_ledger_owed_account(struct dv_ledger *l, const struct dv_account *account, int64_t *ret,
                           struct dv_err *err)
{
    uint8_t digest[HASH];
    if (dv_ledger_chain_account(account, digest) < 0)
        return dv_err_set(err, -EIO, "no SHA-256");
    return dv_ledger_block_account_id(l, account, digest, ret, err);
}

int dv_ledger_owed_write(struct dv_ledger *l, struct dv_err *err)
{
    int r = dv_ledger_db_run(l, err, SQL_OWED_CLEAR, "");
    for (size_t i = 0; r == 0 && i < l->n_owed; i++) {
        int64_t id = 0;
        r = dv_ledger_owed_account(l, &l->owed[i].account, &id, err);
        if (r == 0)
            r = dv_ledger_db_run(l, err, SQL_OWED_ADD, "iti", id, l->owed[i].device,
                                 (int64_t)l->owed[i].ns);
    }
    return r;
}

int dv_ledger_owed(struct dv_ledger *l, dv_ledger_on_owed *on_owed, void *arg, struct dv_err *err)
{
    sqlite3_stmt *st = NULL;
    int code = SQLITE_DONE,
        r = dv_ledger_db_prepare(l, "SELECT account,device,ns FROM owed", &st, err);
    while (r == 0 && (code = sqlite3_step(st)) == SQLITE_ROW) {
        const struct ledger_known *k = dv_ledger_block_account(l, sqlite3_column_int64(st, 0));
        struct dv_ledger_owed row = {.ns = (uint64_t)sqlite3_column_int64(st, 2)};
        if (!k)
            continue;
        row.account = k->account;
        dv_ledger_db_text(st, 1, row.device, sizeof row.device);
        on_owed(arg, &row);
    }
    if (r == 0 && code != SQLITE_DONE)
        r = dv_ledger_db_failed(l, "reading", err);
    sqlite3_finalize(st);
    return r;
}
