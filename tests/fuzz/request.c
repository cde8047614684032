/* SPDX-License-Identifier: Apache-2.0 */
/* What anybody may send to the daemon's API: bodies of claims, limits, signals and layouts. What
 * passes must be a sane claim, and no message may carry control characters to a terminal. */
#include "request.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int r, const struct dv_err *err)
{
    if (r >= 0)
        return;
    if (!err->msg[0])
        abort();
    for (const char *p = err->msg; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            abort();
}

/* A layout's text is anything, with its length; what is said about it goes to terminals. */
static void check_layout(const char *body, size_t size, bool needs_text)
{
    struct dv_request_layout q;
    struct dv_err err = {0};
    int r = dv_request_layout(body, size, needs_text, &q, &err);
    check(r, &err);
    if (r < 0)
        return;
    if (!memchr(q.name, 0, sizeof q.name) || !memchr(q.config, 0, sizeof q.config) || q.when < 0 ||
        q.when > 2 || (needs_text && (!q.text || q.text[q.len])) || (!needs_text && q.text))
        abort();
    for (const char *p = q.name; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            abort();
    dv_request_layout_done(&q);
}

static void check_ledger(const char *body, size_t size)
{
    struct dv_request_bill bill;
    struct dv_request_correction correction;
    struct dv_request_rename rename;
    struct dv_err err = {0};
    int r = dv_request_bill(body, size, &bill, &err);
    check(r, &err);
    if (r == 0) {
        if (!dv_request_is_plain(bill.from) || !dv_request_is_plain(bill.price_name) ||
            (bill.price_text && bill.price_text[bill.price_len]))
            abort();
        dv_request_bill_done(&bill);
    }
    r = dv_request_backup(body, size, &bill, &err);
    check(r, &err);
    if (r == 0 && bill.path[0] != '/')
        abort();
    r = dv_request_correction(body, size, &correction, &err);
    check(r, &err);
    if (r == 0 && (!correction.reason[0] || !correction.tenant[0] ||
                   (!correction.busy_ns && !correction.reserved_idle_ns)))
        abort();
    r = dv_request_rename(body, size, &rename, &err);
    check(r, &err);
    if (r == 0 && (dv_tenant_check_name(rename.old, NULL) < 0 ||
                   dv_tenant_check_name(rename.new_name, NULL) < 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dv_request_claim q;
    struct dv_err err = {0};
    uint64_t memory;
    uint32_t compute;
    int signo;
    int r = dv_request_claim((const char *)data, size, &q, &err);
    check(r, &err);
    if (r == 0) {
        q.claim.id = 1;
        if (!q.claim.tenant[0])
            memcpy(q.claim.tenant, "ann", 4);
        if (dv_claim_check(&q.claim, &err) < 0)
            abort();
    }
    r = dv_request_limit((const char *)data, size, &memory, &compute, &err);
    check(r, &err);
    if (r == 0 && compute > 7000)
        abort();
    char name[64];
    r = dv_request_baseline((const char *)data, size, &memory, name, &err);
    check(r, &err);
    if (r == 0 && (!memory || !memchr(name, 0, sizeof name)))
        abort();
    check(dv_request_kill((const char *)data, size, &signo, &err), &err);
    check_ledger((const char *)data, size);
    check_layout((const char *)data, size, true);
    check_layout((const char *)data, size, false);
    return 0;
}
