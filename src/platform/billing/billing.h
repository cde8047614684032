/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers made of a ledger: bills, usage, rows, proofs. The daemon and `divvy bill --ledger` ask
 * the same functions, so that a backup says what the daemon said.
 *
 *     struct dv_billing_query q = {.now_unix = now, .from = "last-month", .price_text = text, ...};
 *     r = dv_billing_bill(ledger, &q, &output, &err);
 *
 * The ledger is read only, by a handle of the caller's thread. All functions: 0; -EINVAL: what was
 * asked is wrong; -ENODATA: some time has no price; -E2BIG: it is too much for one answer; other
 * errors are the ledger's. Each with one line in err.
 */
#ifndef DV_BILLING_BILLING_H
#define DV_BILLING_BILLING_H

#include "base/err.h"
#include "render/output.h"
#include "store/ledger.h"

/* As people wrote it; NULL: not said. */
struct dv_billing_query {
    int64_t now_unix;
    const char *from, *to; /* base/when.h */
    const char *timezone;  /* NULL: the price list's; UTC without one */
    const char *by, *basis, *idle;
    const char *tenant, *gpu;
    const char *pod;                     /* "namespace/name": its time alone */
    const char *price_name, *price_text; /* the price file; of a bill */
    size_t price_len;
    bool own_gpus_only; /* the asker may see `tenant` alone: nothing of the GPUs as a whole */
};

int dv_billing_bill(struct dv_ledger *ledger, const struct dv_billing_query *query,
                    struct dv_output **ret, struct dv_err *err);
/* kind Usage: tenants[], and lines[] where `by` is said. */
int dv_billing_usage(struct dv_ledger *ledger, const struct dv_billing_query *query,
                     struct dv_output **ret, struct dv_err *err);
/* kind LedgerRows: the ledger's own rows. */
#define DV_BILLING_ROWS_MAX 100000u
int dv_billing_rows(struct dv_ledger *ledger, const struct dv_billing_query *query,
                    struct dv_output **ret, struct dv_err *err);
/* kind Ledger: what is kept, heads of the chains, notes; with `verify` all chains are walked. */
int dv_billing_show(struct dv_ledger *ledger, bool verify, struct dv_output **ret,
                    struct dv_err *err);

#endif
