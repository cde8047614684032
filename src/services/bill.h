/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers made of the ledger: bills, usage, rows, proofs, backups. Each is made in a thread of its
 * own, with a read-only handle of its own, so that a year's bill holds up no claim and no write.
 * Corrections and renames are small and are made at once, by the writer's handle.
 */
#ifndef DV_SERVICES_BILL_H
#define DV_SERVICES_BILL_H

#include "node.h"
#include "request.h"
#include "store/ledger.h"

#define DV_BILLS_MAX 6u      /* at a time, all users */
#define DV_BILLS_USER_MAX 2u /* of one user other than root */

enum dv_bills_kind {
    DV_BILLS_BILL,
    DV_BILLS_USAGE,
    DV_BILLS_ROWS,
    DV_BILLS_SHOW,
    DV_BILLS_VERIFY,
    DV_BILLS_BACKUP,
};

/* Takes what `query` holds, in any case. own_only: the asker may see query->tenant alone. Replies
 * to rq, now or later, with the answer or with what went wrong. */
void dv_bills_start(struct dv_node *node, struct dv_http_request *rq, enum dv_bills_kind kind,
                    struct dv_request_bill *query, bool own_only);
/* Whoever still waits gets no answer from here; call it before the server is freed. */
void dv_bills_free(struct dv_node *node);

struct dv_bills_corrected {
    enum dv_ledger_level level; /* of the first block */
    uint64_t block;
    size_t blocks; /* how many */
};
/* Of the writer's handle: in as many blocks from a time on as it takes. 0; -ENOENT, -EINVAL and the
 * ledger's errors with a message. */
int dv_bills_correct(struct dv_node *node, const struct dv_request_correction *correction,
                     const char *who, struct dv_bills_corrected *ret, struct dv_err *err);
int dv_bills_rename(struct dv_node *node, const struct dv_request_rename *rename, const char *who,
                    struct dv_err *err);

#endif
