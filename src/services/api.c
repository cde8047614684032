/* SPDX-License-Identifier: Apache-2.0 */
#include "api.h"

#include "api_bill.h"
#include "api_layout.h"
#include "base/units.h"
#include "baselines.h"
#include "claims.h"
#include "doctor.h"
#include "inventory.h"
#include "kubernetes/containers.h"
#include "kubernetes/edits.h"
#include "kubernetes/kubernetes_view.h"
#include "metrics.h"
#include "missing.h"
#include "node_labels.h"
#include "render/labels_text.h"
#include "request.h"
#include "sys/clock.h"
#include "view.h"
#include "wiring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MAX_MS 30000
#define ARMING_NS (5 * DV_NS_PER_S) /* the answer to a new claim waits so long for its walls */
#define WAITERS_USER_MAX 128u       /* of the server's connections; beyond, answers come at once */

#define SEEN_SIZE 48

static void bad_request(struct dv_http_request *rq, const char *message)
{
    dv_view_reply_error(rq, 400, 2, "bad_request", message);
}

/* ---- who may ---- */

static bool is_operator(const struct dv_node *node, uid_t uid)
{
    return uid == 0 || uid == geteuid() || uid == node->config.operator_uid;
}

static bool may_change(const struct dv_node *node, const struct dv_holding *h,
                       const struct dv_http_request *rq)
{
    return h->uid == rq->uid || is_operator(node, rq->uid);
}

/* The holding that a path names; answers the request itself when there is none. */
static struct dv_holding *find(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    char message[400];
    uint64_t number = dv_node_parse_id(id);
    struct dv_holding *h = number ? dv_node_holding(node, number) : NULL;
    if (h)
        return h;
    if (number && !node->ready) { /* those of before a restart come with the GPUs */
        snprintf(message, sizeof message, "slices and claims are not known yet: %.300s",
                 dv_inventory_driver_detail(node));
        dv_view_reply_unavailable(node, rq, message);
        return NULL;
    }
    snprintf(message, sizeof message, "there is no slice or claim '%.40s'; see `divvy ps`", id);
    for (char *p = message; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    dv_view_reply_error(rq, 404, 1, "not_found", message);
    return NULL;
}

static struct dv_holding *find_own(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    struct dv_holding *h = find(node, rq, id);
    if (h && !may_change(node, h, rq)) {
        dv_view_reply_error(rq, 403, 4, "not_permitted",
                            "only its owner, an operator or root may do this");
        return NULL;
    }
    return h;
}

/* ---- reading ---- */

static void get_status(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_view_reply(rq, 200, dv_view_status(node));
}

static void get_slices(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_view_reply(rq, 200, dv_view_slices(node));
}

static void get_queue(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_view_reply(rq, 200, dv_view_queue(node));
}

static void post_forget(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    if (!is_operator(node, rq->uid)) {
        dv_view_reply_error(rq, 403, 4, "not_permitted", "only an operator or root may do this");
        return;
    }
    if (dv_missing_forget(node, id) < 0) {
        char message[160];
        snprintf(message, sizeof message,
                 "no GPU %.64s is missing; `divvy status` lists those that are", id);
        dv_view_reply_error(rq, 404, 1, "not_found", message);
        return;
    }
    struct dv_output *o = dv_output_new("Forgotten");
    dv_output_string(dv_output_root(o), "uuid", id);
    dv_view_reply(rq, 200, o);
}

static void get_topology(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_view_reply(rq, 200, dv_wiring_view(node));
}

static void get_doctor(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_view_reply(rq, 200, dv_doctor_view(node));
}

static void get_labels(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    const char *strategy = dv_http_server_query(rq, "mig_strategy");
    dv_cleanup(dv_labels_done) struct dv_labels labels = {0};
    enum dv_mig_strategy mig;
    struct dv_err err = {0};
    if (strategy && dv_labels_mig_parse(strategy, &mig, &err) < 0) {
        bad_request(rq, err.msg);
        return;
    }
    int r = dv_node_labels_make(node, strategy ? &mig : NULL, &labels, &err);
    if (r == -EAGAIN)
        dv_view_reply_unavailable(node, rq, err.msg);
    else if (r < 0)
        dv_view_reply_error(rq, 500, 1, "failed", err.msg);
    else
        dv_view_reply(rq, 200, dv_labels_text_tree(&labels));
}

static void get_kubernetes(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_view_reply(rq, 200, dv_kubernetes_view(node));
}

static void get_explain(struct dv_node *node, struct dv_http_request *rq, const char *unused)
{
    const char *id = dv_http_server_query(rq, "id");
    const char *tenant = dv_http_server_query(rq, "tenant");
    struct dv_err err;
    struct dv_holding *h = NULL;
    if (!id == !tenant) {
        bad_request(rq, "say either id or tenant");
        return;
    }
    if (tenant && dv_tenant_check_name(tenant, &err) < 0) {
        bad_request(rq, err.msg);
        return;
    }
    if (id && !(h = find(node, rq, id)))
        return;
    dv_view_reply(rq, 200, dv_view_explain(node, h, tenant));
}

static bool may_wait(const struct dv_node *node, uid_t uid)
{
    uint32_t waiting = 0;
    for (const struct dv_holding *h = node->holdings; h; h = h->next)
        for (const struct dv_waiter *w = h->waiters; w; w = w->next)
            waiting += w->rq->uid == uid;
    return waiting < WAITERS_USER_MAX;
}

/* Answers at once unless the caller has seen exactly this state and has time. */
static void get_claim(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    const char *seen = dv_http_server_query(rq, "seen");
    const char *wait = dv_http_server_query(rq, "wait_ms");
    struct dv_err err;
    int64_t ms = 0;
    char now[SEEN_SIZE];
    struct dv_holding *h = find(node, rq, id);
    if (!h)
        return;
    if (wait && dv_units_parse_integer(wait, "wait_ms", 0, WAIT_MAX_MS, &ms, &err) < 0) {
        bad_request(rq, err.msg);
        return;
    }
    snprintf(now, sizeof now, "%s:%u", dv_claims_state_name(h), dv_claims_position(node, h));
    if (ms && (!seen || !strcmp(seen, now)) && may_wait(node, rq->uid) &&
        dv_claims_wait(h, rq, dv_clock_now() + (uint64_t)ms * DV_NS_PER_MS) == 0)
        return;
    dv_view_reply_claim(rq, 200, h, NULL, NULL);
}

/* ---- changing ---- */

static void reply_submit_error(const struct dv_node *node, struct dv_http_request *rq, int r,
                               const char *message)
{
    if (r == -EAGAIN)
        dv_view_reply_unavailable(node, rq, message);
    else if (r == -ENOSPC)
        dv_view_reply_error(rq, 409, 1, "too_many", message);
    else if (r == -EINVAL || r == -ERANGE)
        bad_request(rq, message);
    else
        dv_view_reply_error(rq, 500, 1, "failed", message);
}

static int prepare(struct dv_node *node, struct dv_http_request *rq, struct dv_claims_request *q,
                   struct dv_err *err)
{
    struct dv_request_claim parsed;
    char user[DV_TENANT_SIZE];
    int r = dv_request_claim(rq->body, rq->body_size, &parsed, err);
    if (r < 0)
        return r;
    dv_proc_user_name(rq->uid, user, sizeof user);
    *q = (struct dv_claims_request){.claim = parsed.claim, .uid = rq->uid};
    memcpy(q->command, parsed.command, sizeof q->command);
    if (!q->claim.tenant[0])
        memcpy(q->claim.tenant, user, sizeof user);
    if (strcmp(q->claim.tenant, user) != 0 && !is_operator(node, rq->uid))
        return dv_err_set(err, -EPERM, "only root and operators may name another tenant than '%s'",
                          user);
    q->claim.id = node->next_id; /* the next, if it passes */
    r = dv_claim_check(&q->claim, err);
    if (r == 0 && (r = dv_proc_identify(rq->pid, &q->owner)) < 0)
        dv_err_set(err, r, "the calling process has ended");
    return r;
}

static void post_claim(struct dv_node *node, struct dv_http_request *rq, const char *unused)
{
    struct dv_claims_request q;
    struct dv_verdict verdict = {0};
    struct dv_holding *h = NULL;
    struct dv_err err = {0};
    int r = prepare(node, rq, &q, &err);
    if (r == -EPERM) {
        dv_view_reply_error(rq, 403, 4, "not_permitted", err.msg);
        return;
    }
    if (r == 0)
        r = dv_claims_submit(node, &q, &verdict, &h, &err);
    if (r < 0)
        reply_submit_error(node, rq, r, err.msg);
    else if (!h)
        dv_view_reply_refused(rq, &verdict);
    else if (h->state != DV_HOLDING_ARMING || !may_wait(node, rq->uid) ||
             dv_claims_wait(h, rq, dv_clock_now() + ARMING_NS) < 0)
        dv_view_reply_claim(rq, h->state == DV_HOLDING_GRANTED ? 200 : 202, h, NULL, NULL);
}

static void delete_claim(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    struct dv_holding *h = find_own(node, rq, id);
    if (!h)
        return;
    /* The answer first: the holding may be gone when it has let go. */
    dv_view_reply_claim(rq, 200, h, "released", NULL);
    dv_claims_let_go(h);
}

static void post_limit(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    uint64_t memory;
    uint32_t compute;
    struct dv_verdict verdict;
    struct dv_err err;
    struct dv_holding *h = find_own(node, rq, id);
    if (!h)
        return;
    if (dv_request_limit(rq->body, rq->body_size, &memory, &compute, &err) < 0) {
        bad_request(rq, err.msg);
        return;
    }
    int r = dv_claims_limit(h, memory, compute, &verdict);
    if (r == -ENOENT)
        dv_view_reply_error(rq, 404, 1, "not_found", "the claim has no slice yet");
    else if (r < 0)
        dv_view_reply_error(rq, 500, 1, "failed", "the limit could not be changed");
    else if (verdict.result != DV_VERDICT_GRANTED)
        dv_view_reply_refused(rq, &verdict);
    else
        dv_view_reply_claim(rq, 200, h, NULL, &verdict);
}

static void post_kill(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    int signo;
    struct dv_err err;
    struct dv_holding *h = find_own(node, rq, id);
    if (!h)
        return;
    if (dv_request_kill(rq->body, rq->body_size, &signo, &err) < 0) {
        bad_request(rq, err.msg);
        return;
    }
    if (h->state == DV_HOLDING_QUEUED) {
        dv_view_reply_error(rq, 409, 1, "waiting",
                            "the claim still waits and has no processes; end its `divvy run`");
        return;
    }
    size_t n = dv_claims_signal(h, signo);
    struct dv_output *o = dv_output_new("Signalled");
    dv_output_uint(dv_output_root(o), "processes", n);
    dv_output_int(dv_output_root(o), "signal", signo);
    dv_view_reply(rq, 200, o);
}

static void post_container(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_containers_post(node, rq);
}

static void post_container_cdi(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_edits_post(node, rq);
}

/* ---- baselines ---- */

static void get_baselines(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    struct dv_err err = {0};
    struct dv_output *o = dv_baselines_list(node, dv_http_server_query(rq, "tenant"),
                                            dv_http_server_query(rq, "name"), &err);
    if (o)
        dv_view_reply(rq, 200, o);
    else
        dv_view_reply_error(rq, 500, 1, "failed", err.msg);
}

static void post_baseline(struct dv_node *node, struct dv_http_request *rq, const char *unused)
{
    static struct dv_store_baseline b;
    uint64_t claim;
    char name[DV_STORE_BASELINE_NAME], id[32];
    struct dv_err err = {0};
    int r = dv_request_baseline(rq->body, rq->body_size, &claim, name, &err);
    if (r == 0 && name[0])
        r = dv_baselines_check_name(name, &err);
    if (r < 0) {
        bad_request(rq, err.msg);
        return;
    }
    snprintf(id, sizeof id, "%llu", (unsigned long long)claim);
    struct dv_holding *h = find_own(node, rq, id);
    if (!h)
        return;
    r = dv_baselines_record(h, name, &b, &err);
    if (r == 0)
        dv_view_reply(rq, 200, dv_baselines_view(&b));
    else if (r == -EBUSY || r == -ENODATA || r == -ENOSPC)
        dv_view_reply_error(rq, 409, 1,
                            r == -EBUSY     ? "not_alone"
                            : r == -ENODATA ? "nothing_ran"
                                            : "too_many",
                            err.msg);
    else
        dv_view_reply_error(rq, 500, 1, "failed", err.msg);
}

static void delete_baseline(struct dv_node *node, struct dv_http_request *rq, const char *unused)
{
    char user[DV_TENANT_SIZE];
    const char *tenant = dv_http_server_query(rq, "tenant");
    const char *name = dv_http_server_query(rq, "name");
    struct dv_err err = {0};
    dv_proc_user_name(rq->uid, user, sizeof user);
    tenant = tenant ? tenant : user;
    if (!name || dv_tenant_check_name(tenant, &err) < 0 ||
        dv_baselines_check_name(name, &err) < 0) {
        bad_request(rq, name ? err.msg : "say the baseline's name");
        return;
    }
    if (strcmp(tenant, user) != 0 && !is_operator(node, rq->uid)) {
        dv_view_reply_error(rq, 403, 4, "not_permitted",
                            "only the tenant itself, an operator or root may do this");
        return;
    }
    int r = dv_baselines_drop(node, tenant, name, &err);
    if (r < 0) {
        dv_view_reply_error(rq, r == -ENOENT ? 404 : 500, 1, r == -ENOENT ? "not_found" : "failed",
                            err.msg);
        return;
    }
    struct dv_output *o = dv_output_new("Removed");
    dv_output_string(dv_output_root(o), "tenant", tenant);
    dv_output_string(dv_output_root(o), "name", name);
    dv_view_reply(rq, 200, o);
}

/* ---- layouts ---- */

static void get_layout(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_api_layout_get(node, rq);
}

static void post_layout_plan(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_api_layout_plan(node, rq);
}

static void post_layout_assert(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_api_layout_assert(node, rq);
}

static void post_layout_apply(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_api_layout_apply(node, rq, is_operator(node, rq->uid));
}

static void post_layout_undo(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_api_layout_undo(node, rq, is_operator(node, rq->uid));
}

static void get_layout_export(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_api_layout_export(node, rq);
}

static void get_layout_generate(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_api_layout_generate(node, rq);
}

/* ---- bills and the ledger ---- */

static void get_usage(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_api_bill_usage(node, rq, is_operator(node, rq->uid));
}

static void post_bill(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_api_bill_post(node, rq, is_operator(node, rq->uid));
}

static void get_ledger(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_api_bill_ledger(node, rq, is_operator(node, rq->uid));
}

static void get_ledger_rows(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_api_bill_rows(node, rq, is_operator(node, rq->uid));
}

static void post_ledger_backup(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_api_bill_backup(node, rq, is_operator(node, rq->uid));
}

static void post_ledger_correction(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_api_bill_correct(node, rq, is_operator(node, rq->uid));
}

static void post_ledger_rename(struct dv_node *node, struct dv_http_request *rq, const char *id)
{
    dv_api_bill_rename(node, rq, is_operator(node, rq->uid));
}

/* ---- routes ---- */

struct route {
    const char *method, *before, *after; /* an id stands between before and after */
    bool id;
    void (*handle)(struct dv_node *node, struct dv_http_request *rq, const char *id);
};

static const struct route routes[] = {
    {"GET", "/v1/status", "", false, get_status},
    {"GET", "/v1/usage", "", false, get_usage},
    {"GET", "/v1/slices", "", false, get_slices},
    {"GET", "/v1/queue", "", false, get_queue},
    {"GET", "/v1/topology", "", false, get_topology},
    {"GET", "/v1/doctor", "", false, get_doctor},
    {"GET", "/v1/labels", "", false, get_labels},
    {"GET", "/v1/kubernetes", "", false, get_kubernetes},
    {"GET", "/v1/explain", "", false, get_explain},
    {"POST", "/v1/claims", "", false, post_claim},
    {"GET", "/v1/claims/", "", true, get_claim},
    {"DELETE", "/v1/claims/", "", true, delete_claim},
    {"POST", "/v1/containers", "", false, post_container},
    {"POST", "/v1/containers/cdi", "", false, post_container_cdi},
    {"POST", "/v1/slices/", "/limit", true, post_limit},
    {"POST", "/v1/slices/", "/kill", true, post_kill},
    {"POST", "/v1/gpus/", "/forget", true, post_forget},
    {"GET", "/v1/baselines", "", false, get_baselines},
    {"POST", "/v1/baselines", "", false, post_baseline},
    {"DELETE", "/v1/baselines", "", false, delete_baseline},
    {"GET", "/v1/layout", "", false, get_layout},
    {"POST", "/v1/layout/plan", "", false, post_layout_plan},
    {"POST", "/v1/layout/assert", "", false, post_layout_assert},
    {"POST", "/v1/layout/apply", "", false, post_layout_apply},
    {"POST", "/v1/layout/undo", "", false, post_layout_undo},
    {"GET", "/v1/layout/export", "", false, get_layout_export},
    {"GET", "/v1/layout/generate", "", false, get_layout_generate},
    {"POST", "/v1/bill", "", false, post_bill},
    {"GET", "/v1/ledger", "", false, get_ledger},
    {"GET", "/v1/ledger/rows", "", false, get_ledger_rows},
    {"POST", "/v1/ledger/backup", "", false, post_ledger_backup},
    {"POST", "/v1/ledger/correction", "", false, post_ledger_correction},
    {"POST", "/v1/ledger/rename", "", false, post_ledger_rename},
};

#define ID_SIZE 64

static bool matches(const struct route *r, const char *path, char id[ID_SIZE])
{
    size_t before = strlen(r->before), after = strlen(r->after), len = strlen(path);
    if (!r->id)
        return !strcmp(path, r->before);
    if (len <= before + after || strncmp(path, r->before, before) != 0 ||
        strcmp(path + len - after, r->after) != 0)
        return false;
    size_t n = len - before - after;
    if (n >= ID_SIZE || memchr(path + before, '/', n))
        return false;
    memcpy(id, path + before, n);
    id[n] = 0;
    return true;
}

void dv_api_handle(void *arg, struct dv_http_request *rq)
{
    struct dv_node *node = arg;
    char id[ID_SIZE] = "";
    bool known = false;
    if (rq->body_too_long) {
        char message[80];
        snprintf(message, sizeof message,
                 "the body is longer than %u bytes (%u for layouts, bills and containers)",
                 DV_HTTP_BODY_MAX, DV_HTTP_BODY_LARGE_MAX);
        dv_view_reply_error(rq, 413, 2, "too_large", message);
        return;
    }
    if (rq->too_busy) {
        dv_view_reply_error(rq, 503, 5, "busy",
                            "too many large requests at once; ask again in a moment");
        return;
    }
    if (dv_metrics_answer(node, rq))
        return;
    for (size_t i = 0; i < DV_ARRAY_SIZE(routes); i++) {
        if (!matches(&routes[i], rq->path, id))
            continue;
        known = true;
        if (strcmp(routes[i].method, rq->method) != 0)
            continue;
        routes[i].handle(node, rq, id);
        return;
    }
    if (known)
        dv_view_reply_error(rq, 405, 2, "bad_method", "this path does not take that method");
    else
        dv_view_reply_error(rq, 404, 2, "not_found",
                            "there is no such path; see docs/reference/api.md");
}
