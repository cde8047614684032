/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running sums per account, in memory: what counters of a metrics endpoint show. The ledger is the
 * memory over restarts.
 *
 *     struct dv_tally tally = {.max = 8192};
 *     r = dv_tally_add(&tally, &account, &charge, now);
 *     for (size_t i = 0; i < tally.n; i++) ... tally.rows[i]
 *
 * Pods are not told apart: they come and go, and counters stay. Rows are sorted by GPU, tenant,
 * profile, mode, then the rest. When all are taken, those that were not touched for an hour make
 * room.
 */
#ifndef DV_ACCOUNT_TALLY_H
#define DV_ACCOUNT_TALLY_H

#include "account/charge.h"

#define DV_TALLY_STALE_NS (3600 * DV_NS_PER_S)

struct dv_tally_row {
    struct dv_account account;
    struct dv_charge charge;
    uint64_t touched_ns;
};

struct dv_tally {
    struct dv_tally_row *rows;
    size_t n, room;
    size_t max;       /* 0: 8192 */
    uint64_t dropped; /* charges that found no row */
};

/* 0, -ENOMEM, -ENOSPC: counted in `dropped`. */
int dv_tally_add(struct dv_tally *tally, const struct dv_account *account,
                 const struct dv_charge *charge, uint64_t now_ns);
void dv_tally_done(struct dv_tally *tally);

#endif
