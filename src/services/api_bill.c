/* SPDX-License-Identifier: Apache-2.0 */
#include "api_bill.h"

#include "bill.h"
#include "store/ledger.h"
#include "sys/log.h"
#include "view.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void bad_request(struct dv_http_request *rq, const char *message)
{
    dv_view_reply_error(rq, 400, 2, "bad_request", message);
}

static void not_permitted(struct dv_http_request *rq, const char *message)
{
    dv_view_reply_error(rq, 403, 4, "not_permitted", message);
}

/* Others than operators see their own tenant; false: answered. */
static bool own_tenant(struct dv_http_request *rq, bool permitted, char tenant[DV_TENANT_SIZE])
{
    char user[DV_TENANT_SIZE], message[160];
    if (permitted)
        return true;
    dv_proc_user_name(rq->uid, user, sizeof user);
    if (tenant[0] && strcmp(tenant, user) != 0) {
        snprintf(message, sizeof message,
                 "only root and operators may see another tenant than '%s'", user);
        not_permitted(rq, message);
        return false;
    }
    memcpy(tenant, user, sizeof user);
    return true;
}

/* A GPU's index is what it is called today; the ledger knows UUIDs. */
static void resolve_gpu(const struct dv_node *node, char gpu[DV_UUID_SIZE])
{
    struct dv_selector selector;
    if (!gpu[0] || dv_claim_selector_parse(gpu, &selector, NULL) < 0 ||
        selector.kind != DV_SELECTOR_INDEX)
        return;
    for (size_t i = 0; i < node->snapshot->n_gpus; i++)
        if (node->snapshot->gpus[i].index == selector.index)
            memcpy(gpu, node->snapshot->gpus[i].uuid, DV_UUID_SIZE);
}

void dv_api_bill_post(struct dv_node *node, struct dv_http_request *rq, bool permitted)
{
    struct dv_request_bill query;
    struct dv_err err = {0};
    if (dv_request_bill(rq->body, rq->body_size, &query, &err) < 0) {
        bad_request(rq, err.msg);
        return;
    }
    if (!own_tenant(rq, permitted, query.tenant)) {
        dv_request_bill_done(&query);
        return;
    }
    resolve_gpu(node, query.gpu);
    dv_bills_start(node, rq, DV_BILLS_BILL, &query, !permitted);
}

/* ---- questions in the path ---- */

/* How many there were; -1: answered. */
static int read_query(const struct dv_node *node, struct dv_http_request *rq,
                      struct dv_request_bill *query)
{
    const struct {
        const char *name;
        char *to;
        size_t size;
    } fields[] = {
        {"from", query->from, sizeof query->from},
        {"to", query->to, sizeof query->to},
        {"timezone", query->timezone, sizeof query->timezone},
        {"by", query->by, sizeof query->by},
        {"tenant", query->tenant, sizeof query->tenant},
        {"gpu", query->gpu, sizeof query->gpu},
        {"pod", query->pod, sizeof query->pod},
    };
    int n = 0;
    for (size_t i = 0; i < DV_ARRAY_SIZE(fields); i++) {
        const char *v = dv_http_server_query(rq, fields[i].name);
        char message[80];
        if (!v)
            continue;
        n++;
        if (dv_request_is_plain(v) && dv_str_copy(fields[i].to, fields[i].size, v) == 0)
            continue;
        snprintf(message, sizeof message, "%s is too long, or has control characters in it",
                 fields[i].name);
        bad_request(rq, message);
        return -1;
    }
    resolve_gpu(node, query->gpu);
    return n;
}

void dv_api_bill_usage(struct dv_node *node, struct dv_http_request *rq, bool permitted)
{
    struct dv_request_bill query = {0};
    int n = read_query(node, rq, &query);
    if (n == 0)
        dv_view_reply(rq, 200, dv_view_usage(node));
    else if (n > 0 && own_tenant(rq, permitted, query.tenant))
        dv_bills_start(node, rq, DV_BILLS_USAGE, &query, !permitted);
}

void dv_api_bill_rows(struct dv_node *node, struct dv_http_request *rq, bool permitted)
{
    struct dv_request_bill query = {0};
    if (read_query(node, rq, &query) >= 0 && own_tenant(rq, permitted, query.tenant))
        dv_bills_start(node, rq, DV_BILLS_ROWS, &query, !permitted);
}

void dv_api_bill_ledger(struct dv_node *node, struct dv_http_request *rq, bool permitted)
{
    struct dv_request_bill query = {0};
    const char *verify = dv_http_server_query(rq, "verify");
    if (!permitted)
        not_permitted(rq, "only root and operators may see the ledger as a whole");
    else
        dv_bills_start(node, rq, verify && !strcmp(verify, "1") ? DV_BILLS_VERIFY : DV_BILLS_SHOW,
                       &query, false);
}

/* ---- changing ---- */

static bool may_change(struct dv_node *node, struct dv_http_request *rq, bool permitted)
{
    if (!permitted)
        not_permitted(rq, "only root and operators may do this with the ledger");
    else if (!node->ledger)
        dv_view_reply_error(rq, 503, 5, "no_ledger", "there is no ledger; 'divvy doctor' says why");
    return permitted && node->ledger;
}

void dv_api_bill_backup(struct dv_node *node, struct dv_http_request *rq, bool permitted)
{
    struct dv_request_bill query;
    struct dv_err err = {0};
    if (!may_change(node, rq, permitted))
        return;
    if (dv_request_backup(rq->body, rq->body_size, &query, &err) < 0)
        bad_request(rq, err.msg);
    else
        dv_bills_start(node, rq, DV_BILLS_BACKUP, &query, false);
}

static void reply_change_error(struct dv_http_request *rq, int r, const char *message)
{
    if (r == -EINVAL || r == -ERANGE)
        bad_request(rq, message);
    else if (r == -ENOENT)
        dv_view_reply_error(rq, 404, 1, "not_found", message);
    else
        dv_view_reply_error(rq, 500, 1, "failed", message);
}

void dv_api_bill_correct(struct dv_node *node, struct dv_http_request *rq, bool permitted)
{
    struct dv_request_correction q;
    struct dv_bills_corrected done = {0};
    char who[DV_LEDGER_WHO_SIZE];
    struct dv_err err = {0};
    if (!may_change(node, rq, permitted))
        return;
    int r = dv_request_correction(rq->body, rq->body_size, &q, &err);
    if (r == 0) {
        dv_proc_user_name(rq->uid, who, sizeof who);
        r = dv_bills_correct(node, &q, who, &done, &err);
    }
    if (r < 0) {
        reply_change_error(rq, r, err.msg);
        return;
    }
    char by[DV_LOG_VALUE];
    dv_log(DV_LOG_INFO, "ledger.corrected", "level=%s block=%llu tenant=%s by=%s",
           dv_ledger_chain_name(done.level), (unsigned long long)done.block, q.tenant,
           dv_log_value(who, by));
    struct dv_output *o = dv_output_new("LedgerCorrection");
    dv_output_string(dv_output_root(o), "level", dv_ledger_chain_name(done.level));
    dv_output_uint(dv_output_root(o), "block", done.block);
    dv_output_uint(dv_output_root(o), "blocks", done.blocks);
    dv_view_reply(rq, 200, o);
}

void dv_api_bill_rename(struct dv_node *node, struct dv_http_request *rq, bool permitted)
{
    struct dv_request_rename q;
    char who[DV_LEDGER_WHO_SIZE];
    struct dv_err err = {0};
    if (!may_change(node, rq, permitted))
        return;
    int r = dv_request_rename(rq->body, rq->body_size, &q, &err);
    if (r == 0) {
        dv_proc_user_name(rq->uid, who, sizeof who);
        r = dv_bills_rename(node, &q, who, &err);
    }
    if (r < 0) {
        reply_change_error(rq, r, err.msg);
        return;
    }
    char by[DV_LOG_VALUE];
    dv_log(DV_LOG_INFO, "ledger.renamed", "old=%s new=%s by=%s", q.old, q.new_name,
           dv_log_value(who, by));
    struct dv_output *o = dv_output_new("LedgerRename");
    dv_output_string(dv_output_root(o), "old", q.old);
    dv_output_string(dv_output_root(o), "new", q.new_name);
    dv_view_reply(rq, 200, o);
}
