/* SPDX-License-Identifier: Apache-2.0 */
#include "bill.h"

#include "base/when.h"
#include "billing/billing.h"
#include "render/json.h"
#include "store/ledger.h"
#include "sys/clock.h"
#include "view.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKUP_PAGES (1u << 30) /* all in one step: one reading, whatever is written meanwhile */

enum job_state { JOB_RUNNING, JOB_DONE, JOB_ABANDONED };

/* The thread owns it from its start to `done`; then the loop does. */
struct dv_bills_job {
    struct dv_node *node;
    struct dv_http_request *rq;
    uid_t uid;
    enum dv_bills_kind kind;
    struct dv_request_bill query;
    bool own_only;
    char *ledger;
    int64_t now_unix;
    pthread_t thread;
    int done_fd;
    struct dv_loop_source *watch;
    atomic_int state;
    struct dv_bills_job *next;
    /* The result: */
    struct dv_output *output;
    struct dv_str text; /* the output as JSON */
    int r;
    struct dv_err err;
};

static void job_free(struct dv_bills_job *job)
{
    if (job->done_fd >= 0)
        close(job->done_fd);
    dv_request_bill_done(&job->query);
    dv_output_free(&job->output);
    dv_str_done(&job->text);
    free(job->ledger);
    free(job);
}

/* ---- in the thread -------------------------------------------------------------------------- */

static const char *given(const char *text)
{
    return *text ? text : NULL;
}

static bool may_write_beside(const char *path)
{
    dv_cleanup(dv_str_done) struct dv_str directory = {0};
    const char *end = strrchr(path, '/');
    dv_str_addn(&directory, path, end == path ? 1 : (size_t)(end - path));
    return !directory.failed && access(dv_str_get(&directory), W_OK) == 0;
}

static int back_up(struct dv_bills_job *job, struct dv_ledger *ledger)
{
    struct dv_ledger_backup *backup = NULL;
    int r = dv_ledger_backup_begin(ledger, job->query.path, &backup, &job->err);
    while (r == 0 && (r = dv_ledger_backup_step(backup, BACKUP_PAGES, &job->err)) > 0)
        r = 0;
    dv_ledger_backup_end(backup);
    if (r < 0 && r != -EEXIST && !may_write_beside(job->query.path))
        return dv_err_set(&job->err, -EACCES,
                          "the daemon's user may not write into the directory of %s; name one of "
                          "its own, such as its state directory, and copy the file from there",
                          job->query.path);
    if (r < 0)
        return r;
    struct stat st = {0};
    stat(job->query.path, &st);
    job->output = dv_output_new("LedgerBackup");
    dv_output_string(dv_output_root(job->output), "path", job->query.path);
    dv_output_bytes(dv_output_root(job->output), "file_bytes", (uint64_t)st.st_size);
    return 0;
}

static int make(struct dv_bills_job *job, struct dv_ledger *ledger)
{
    const struct dv_request_bill *q = &job->query;
    const struct dv_billing_query query = {
        .now_unix = job->now_unix,
        .from = given(q->from),
        .to = given(q->to),
        .timezone = given(q->timezone),
        .by = given(q->by),
        .basis = given(q->basis),
        .idle = given(q->idle),
        .tenant = given(q->tenant),
        .gpu = given(q->gpu),
        .pod = given(q->pod),
        .price_name = q->price_text ? given(q->price_name) : NULL,
        .price_text = q->price_text,
        .price_len = q->price_len,
        .own_gpus_only = job->own_only,
    };
    switch (job->kind) {
    case DV_BILLS_BILL:
        return dv_billing_bill(ledger, &query, &job->output, &job->err);
    case DV_BILLS_USAGE:
        return dv_billing_usage(ledger, &query, &job->output, &job->err);
    case DV_BILLS_ROWS:
        return dv_billing_rows(ledger, &query, &job->output, &job->err);
    case DV_BILLS_SHOW:
    case DV_BILLS_VERIFY:
        return dv_billing_show(ledger, job->kind == DV_BILLS_VERIFY, &job->output, &job->err);
    case DV_BILLS_BACKUP:
        return back_up(job, ledger);
    }
    return -EINVAL;
}

static void *run(void *arg)
{
    struct dv_bills_job *job = arg;
    dv_cleanup(dv_str_done) struct dv_str note = {0};
    struct dv_ledger *ledger = NULL;
    struct dv_ledger_options options = {.read_only = true};
    options.now.unix_ns = job->now_unix * (int64_t)DV_NS_PER_S;
    job->r = dv_ledger_open(job->ledger, &options, &ledger, &note, &job->err);
    if (job->r == 0)
        job->r = make(job, ledger);
    dv_ledger_close(ledger);
    if (job->r == 0)
        job->r = dv_json_write(job->output, false, &job->text);
    if (atomic_exchange(&job->state, JOB_DONE) == JOB_ABANDONED) {
        job_free(job);
        return NULL;
    }
    uint64_t one = 1;
    if (write(job->done_fd, &one, sizeof one) < 0)
        return NULL; /* cannot be: the counter is 0 */
    return NULL;
}

/* ---- in the loop ---------------------------------------------------------------------------- */

static void reply_failure(const struct dv_bills_job *job)
{
    const char *message = job->err.msg[0] ? job->err.msg : "the ledger cannot be read";
    switch (job->r) {
    case -EINVAL:
        dv_view_reply_error(job->rq, 400, 2, "bad_request", message);
        return;
    case -ENODATA:
        dv_view_reply_error(job->rq, 409, 1, "no_price", message);
        return;
    case -E2BIG:
        dv_view_reply_error(job->rq, 400, 2, "too_much", message);
        return;
    case -EACCES:
        dv_view_reply_error(job->rq, 409, 1, "not_writable", message);
        return;
    case -EEXIST:
        dv_view_reply_error(job->rq, 409, 1, "exists", message);
        return;
    default:
        dv_view_reply_error(job->rq, 500, 1, "failed", message);
    }
}

static void on_done(void *arg)
{
    struct dv_bills_job *job = arg;
    struct dv_bills_job **at = &job->node->bills;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    pthread_join(job->thread, NULL);
    dv_loop_remove(job->watch);
    if (job->r < 0)
        reply_failure(job);
    else
        dv_http_server_reply(job->rq, 200, dv_str_get(&job->text), job->text.len);
    job_free(job);
}

static bool may_start(const struct dv_node *node, uid_t uid)
{
    uint32_t all = 0, own = 0;
    for (const struct dv_bills_job *j = node->bills; j; j = j->next) {
        all++;
        own += j->uid == uid;
    }
    return all < DV_BILLS_MAX && (uid == 0 || own < DV_BILLS_USER_MAX);
}

/* The prices that the daemon was started with, where the request has none. */
static int set_prices(struct dv_bills_job *job)
{
    const struct dv_node_config *c = &job->node->config;
    if (job->kind != DV_BILLS_BILL || job->query.price_text || !c->prices_text)
        return 0;
    job->query.price_text = strdup(c->prices_text);
    job->query.price_len = strlen(c->prices_text);
    strncpy(job->query.price_name, c->prices_name, sizeof job->query.price_name - 1);
    return job->query.price_text ? 0 : -ENOMEM;
}

static struct dv_bills_job *job_new(struct dv_node *node, struct dv_http_request *rq,
                                    enum dv_bills_kind kind, struct dv_request_bill *query,
                                    bool own_only)
{
    struct dv_bills_job *job = calloc(1, sizeof *job);
    if (!job) {
        dv_request_bill_done(query);
        return NULL;
    }
    job->node = node;
    job->rq = rq;
    job->uid = rq->uid;
    job->kind = kind;
    job->query = *query;
    job->own_only = own_only;
    job->now_unix = dv_clock_unix();
    job->ledger = strdup(dv_ledger_path(node->ledger));
    job->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (job->ledger && job->done_fd >= 0 && set_prices(job) == 0)
        return job;
    job_free(job);
    return NULL;
}

void dv_bills_start(struct dv_node *node, struct dv_http_request *rq, enum dv_bills_kind kind,
                    struct dv_request_bill *query, bool own_only)
{
    if (!node->ledger || !may_start(node, rq->uid)) {
        dv_view_reply_error(rq, 503, 5, node->ledger ? "busy" : "no_ledger",
                            node->ledger ? "too many bills at once; ask again in a moment"
                                         : "there is no ledger; 'divvy doctor' says why");
        dv_request_bill_done(query);
        return;
    }
    struct dv_bills_job *job = job_new(node, rq, kind, query, own_only);
    int r = job ? dv_loop_watch(node->loop, job->done_fd, on_done, job, &job->watch) : -ENOMEM;
    if (r == 0 && (r = -pthread_create(&job->thread, NULL, run, job)) < 0)
        dv_loop_remove(job->watch);
    if (r < 0) {
        dv_view_reply_error(rq, 500, 1, "failed", strerror(-r));
        if (job)
            job_free(job);
        return;
    }
    job->next = node->bills;
    node->bills = job;
}

void dv_bills_free(struct dv_node *node)
{
    while (node->bills) {
        struct dv_bills_job *job = node->bills;
        node->bills = job->next;
        dv_loop_remove(job->watch);
        if (atomic_exchange(&job->state, JOB_ABANDONED) == JOB_DONE) {
            pthread_join(job->thread, NULL);
            job_free(job);
        } else {
            pthread_detach(job->thread); /* frees the job when it is through */
        }
    }
}

/* ---- corrections and renames ---------------------------------------------------------------- */

static const struct dv_zone utc;

static int parse_time(const char *text, int64_t now, int64_t *ret, struct dv_err *err)
{
    int64_t end;
    return dv_when_parse(&utc, now, text, ret, &end, err);
}

#define CORRECT_BLOCKS_MAX 1440u
#define CORRECT_SPAN_S 86400

/* A tenant's time on a GPU, block by block from a time on, until there is as much as is wanted. */
struct found {
    enum dv_ledger_level level;
    uint64_t block;
    struct dv_account account;
    uint64_t busy_ns, idle_ns; /* to be moved */
};
struct search {
    const struct dv_request_correction *want;
    uint64_t busy_ns, idle_ns; /* still wanted */
    size_t n;
    struct found found[CORRECT_BLOCKS_MAX];
};

static bool look(void *arg, const struct dv_ledger_row *row)
{
    struct search *s = arg;
    const struct dv_charge *c = &row->row.charge;
    uint64_t busy = DV_MIN(c->busy_ns, s->busy_ns), idle = DV_MIN(c->reserved_idle_ns, s->idle_ns);
    if (row->open || (!busy && !idle) ||
        strncmp(row->row.account.gpu, s->want->gpu, strlen(s->want->gpu)) != 0)
        return true;
    if (s->n == CORRECT_BLOCKS_MAX)
        return false;
    s->found[s->n++] = (struct found){row->level, row->block, row->row.account, busy, idle};
    s->busy_ns -= busy;
    s->idle_ns -= idle;
    return s->busy_ns || s->idle_ns;
}

static int find_time(struct dv_ledger *ledger, int64_t at, struct search *s, struct dv_err *err)
{
    char when[DV_ZONE_TEXT];
    struct dv_ledger_query q = {.from_unix = at - at % 60,
                                .to_unix = at - at % 60 + CORRECT_SPAN_S,
                                .step = DV_LEDGER_MINUTE,
                                .tenant = s->want->tenant};
    int r = dv_ledger_read(ledger, &q, look, s, NULL, err);
    if (r == 0 && (s->busy_ns || s->idle_ns))
        r = dv_err_set(
            err, -ENOENT,
            "tenant '%s' does not have so much time on GPU '%s' in the blocks of the day from "
            "%s on: see 'divvy ledger export'",
            s->want->tenant, s->want->gpu, dv_zone_format(&utc, q.from_unix, when));
    return r;
}

static int correct_one(struct dv_ledger *ledger, const struct dv_request_correction *c,
                       const struct found *f, const char *who, int64_t now, struct dv_err *err)
{
    struct dv_ledger_delta deltas[2] = {{.account = f->account}, {.account = f->account}};
    int64_t busy = (int64_t)f->busy_ns, idle = (int64_t)f->idle_ns;
    deltas[0].busy_ns = -busy;
    deltas[0].reserved_idle_ns = -idle;
    memcpy(deltas[1].account.tenant, c->to, sizeof deltas[1].account.tenant);
    if (strcmp(c->to, f->account.tenant) != 0)
        deltas[1].account.pod[0] = 0; /* a pod is its tenant's */
    if (c->to[0]) {
        deltas[1].busy_ns = busy;
        deltas[1].reserved_idle_ns = idle;
    } else { /* the GPU's own time */
        deltas[1].account.source = DV_SOURCE_NONE;
        deltas[1].overhead_ns = busy + idle;
    }
    struct dv_ledger_correction correction = {.level = f->level,
                                              .block = f->block,
                                              .unix_ns = now * (int64_t)DV_NS_PER_S,
                                              .who = who,
                                              .reason = c->reason,
                                              .deltas = deltas,
                                              .n = DV_ARRAY_SIZE(deltas)};
    return dv_ledger_correct(ledger, &correction, err);
}

int dv_bills_correct(struct dv_node *node, const struct dv_request_correction *c, const char *who,
                     struct dv_bills_corrected *ret, struct dv_err *err)
{
    struct search *s = calloc(1, sizeof *s);
    int64_t now = dv_clock_unix(), at = 0;
    size_t done = 0;
    if (!s)
        return dv_err_set(err, -ENOMEM, "out of memory");
    *s = (struct search){.want = c, .busy_ns = c->busy_ns, .idle_ns = c->reserved_idle_ns};
    int r = parse_time(c->at, now, &at, err);
    if (r == 0)
        r = find_time(node->ledger, at, s, err);
    while (r == 0 && done < s->n &&
           (r = correct_one(node->ledger, c, &s->found[done], who, now, err)) == 0)
        done++;
    if (r < 0 && done)
        dv_err_prefix(err, "%zu of %zu blocks were corrected, then: ", done, s->n);
    if (r == 0)
        *ret = (struct dv_bills_corrected){s->found[0].level, s->found[0].block, s->n};
    free(s);
    return r;
}

int dv_bills_rename(struct dv_node *node, const struct dv_request_rename *q, const char *who,
                    struct dv_err *err)
{
    int64_t now = dv_clock_unix(), from = now;
    int r = q->from[0] ? parse_time(q->from, now, &from, err) : 0;
    return r < 0 ? r
                 : dv_ledger_rename(node->ledger, q->old, q->new_name, from, who,
                                    now * (int64_t)DV_NS_PER_S, err);
}
