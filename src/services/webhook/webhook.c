/* SPDX-License-Identifier: Apache-2.0 */
#include "webhook/webhook.h"

#include "admission/admission.h"
#include "certs/certs.h"
#include "http/server.h"
#include "http/tcp.h"
#include "policy/gpu_names.h"
#include "render/openmetrics.h"
#include "sys/clock.h"
#include "sys/fd.h"
#include "sys/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 63
#define OVERLAP_MAX_S 3600 /* how late the API server may be with a new bundle */

struct dv_webhook {
    struct dv_webhook_options options;
    struct dv_http_address address;
    struct dv_http_server *server;
    struct dv_loop_source *timer;
    struct dv_certs *certs;
    char name[2 * NAME_MAX_LEN + 8];
    struct dv_gpu_names names;
    bool published;
    bool ready;        /* it was published once */
    bool cert_failing; /* said once */
    /* since the start */
    uint64_t results[DV_ADMISSION_RESULTS], warned, malformed, renewals;
};

/* ---- answers -------------------------------------------------------------------------------- */

static void reply_text(struct dv_http_request *rq, unsigned status, const char *text)
{
    dv_http_server_reply_as(rq, status, "text/plain; charset=utf-8", text, strlen(text));
}

static void reply_malformed(struct dv_webhook *w, struct dv_http_request *rq, unsigned status,
                            const char *why)
{
    char text[600], value[DV_LOG_VALUE];
    w->malformed++;
    dv_log(DV_LOG_WARNING, "webhook.malformed", "status=%u reason=%s", status,
           dv_log_value(why, value));
    snprintf(text, sizeof text, "%s\n", why);
    reply_text(rq, status, text);
}

static void log_answer(const struct dv_admission_answer *a)
{
    char subject[DV_LOG_VALUE], reason[DV_LOG_VALUE];
    if (a->result == DV_ADMISSION_REFUSED)
        dv_log(DV_LOG_INFO, "webhook.refused", "object=%s reason=%s",
               dv_log_value(a->subject, subject), dv_log_value(a->reason, reason));
    else if (a->result == DV_ADMISSION_REWRITTEN)
        dv_log(DV_LOG_INFO, "webhook.rewritten", "object=%s", dv_log_value(a->subject, subject));
}

static void admit(struct dv_webhook *w, struct dv_http_request *rq, const char *strategy)
{
    struct dv_admission_answer a;
    struct dv_err err = {{0}};
    struct dv_admission_rules rules = {strategy, &w->names};
    int r = dv_admission_review(rq->body, rq->body_size, &rules, &a, &err);
    if (r < 0) {
        reply_malformed(w, rq, r == -ENOMEM ? 500 : 400, err.msg);
        return;
    }
    w->results[a.result]++;
    w->warned += a.warned;
    log_answer(&a);
    dv_http_server_reply_take(rq, 200, "application/json", a.body, strlen(a.body));
}

/* ---- metrics -------------------------------------------------------------------------------- */

static const struct dv_metric_family reviews = {
    "divvy_webhook_reviews", DV_METRIC_COUNTER, NULL,
    "AdmissionReviews answered, by what became of the object."};
static const struct dv_metric_family warnings = {"divvy_webhook_warnings", DV_METRIC_COUNTER, NULL,
                                                 "AdmissionReviews answered with a warning."};
static const struct dv_metric_family malformed = {
    "divvy_webhook_malformed", DV_METRIC_COUNTER, NULL,
    "Requests that were no AdmissionReview, or too large."};
static const struct dv_metric_family renewals = {
    "divvy_webhook_certificate_renewals", DV_METRIC_COUNTER, NULL,
    "Times that another certificate was taken into service."};
static const struct dv_metric_family expiry = {
    "divvy_webhook_certificate_expiry_timestamp_seconds", DV_METRIC_GAUGE, "seconds",
    "When the certificate that is served ends to be valid."};

static void add_metric(struct dv_openmetrics *m, const struct dv_metric_family *family,
                       uint64_t value)
{
    dv_openmetrics_family(m, family);
    dv_openmetrics_sample(m);
    dv_openmetrics_uint(m, value);
}

static void answer_metrics(const struct dv_webhook *w, struct dv_http_request *rq)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_openmetrics m = {
        .out = &text, .format = dv_openmetrics_accept(dv_http_server_header(rq, "Accept"))};
    dv_openmetrics_family(&m, &reviews);
    for (unsigned i = 0; i < DV_ADMISSION_RESULTS; i++) {
        dv_openmetrics_sample(&m);
        dv_openmetrics_label(&m, "result", dv_admission_result_name((enum dv_admission_result)i));
        dv_openmetrics_uint(&m, w->results[i]);
    }
    add_metric(&m, &warnings, w->warned);
    add_metric(&m, &malformed, w->malformed);
    add_metric(&m, &renewals, w->renewals);
    add_metric(&m, &expiry, (uint64_t)DV_MAX(0, dv_certs_until(w->certs)));
    dv_openmetrics_end(&m);
    if (text.failed)
        reply_text(rq, 500, "out of memory\n");
    else
        dv_http_server_reply_as(rq, 200, dv_openmetrics_type(m.format), dv_str_get(&text),
                                text.len);
}

/* ---- requests ------------------------------------------------------------------------------- */

/* "" for /admit, VALUE for /admit/VALUE; NULL for other paths. */
static const char *strategy_of(const char *path)
{
    size_t len = strlen(DV_WEBHOOK_PATH);
    if (strncmp(path, DV_WEBHOOK_PATH, len) != 0)
        return NULL;
    return path[len] == '/' && path[len + 1] ? path + len + 1 : path[len] ? NULL : "";
}

static void answer_page(const struct dv_webhook *w, struct dv_http_request *rq)
{
    bool metrics = !strcmp(rq->path, "/metrics");
    if (!metrics && strcmp(rq->path, "/healthz") != 0 && strcmp(rq->path, "/readyz") != 0) {
        reply_text(rq, 404, "there is " DV_WEBHOOK_PATH ", /healthz, /readyz and /metrics\n");
    } else if (strcmp(rq->method, "GET") != 0 && strcmp(rq->method, "HEAD") != 0) {
        dv_http_server_add_header(rq, "Allow", "GET, HEAD");
        reply_text(rq, 405, "this path is for GET\n");
    } else if (metrics) {
        answer_metrics(w, rq);
    } else if (!strcmp(rq->path, "/readyz") && !w->ready) {
        reply_text(rq, 503, "the API server has not been told about the certificate yet\n");
    } else {
        reply_text(rq, 200, "ok\n");
    }
}

static void on_request(void *arg, struct dv_http_request *rq)
{
    struct dv_webhook *w = arg;
    const char *strategy = strategy_of(rq->path);
    if (!strategy) {
        answer_page(w, rq);
    } else if (strcmp(rq->method, "POST") != 0) {
        dv_http_server_add_header(rq, "Allow", "POST");
        reply_text(rq, 405, "this path is for POST\n");
    } else if (rq->body_too_long) {
        reply_malformed(w, rq, 413, "the AdmissionReview is larger than 3 MiB");
    } else if (rq->too_busy) {
        reply_malformed(w, rq, 503, "too many large AdmissionReviews at a time");
    } else {
        admit(w, rq, strategy);
    }
}

/* ---- certificates --------------------------------------------------------------------------- */

static void publish(struct dv_webhook *w)
{
    w->published = false;
    if (w->options.publish)
        w->options.publish(w->options.publish_arg, w->certs);
}

void dv_webhook_published(struct dv_webhook *w)
{
    w->published = true;
    w->ready = true;
}

static void take_certificate(struct dv_webhook *w)
{
    int r = dv_http_server_set_certificate(w->server, dv_certs_certificate(w->certs),
                                           dv_certs_key(w->certs));
    if (r < 0) {
        dv_log(DV_LOG_ERROR, "webhook.certificate", "error=%s", strerror(-r));
        return;
    }
    w->renewals++;
    dv_log(DV_LOG_INFO, "webhook.certificate", "event=served until_unix=%lld",
           (long long)dv_certs_until(w->certs));
}

static void on_tick(void *arg)
{
    struct dv_webhook *w = arg;
    struct dv_err err = {{0}};
    char value[DV_LOG_VALUE];
    int event = dv_certs_tick(w->certs, dv_clock_unix(), w->published, &err);
    if (event < 0 && !w->cert_failing)
        dv_log(DV_LOG_ERROR, "webhook.certificate", "error=%s", dv_log_value(err.msg, value));
    w->cert_failing = event < 0;
    if (event == DV_CERTS_PREPARED)
        dv_log(DV_LOG_INFO, "webhook.certificate", "event=prepared");
    if (event == DV_CERTS_SWITCHED || event == DV_CERTS_RENEWED)
        take_certificate(w);
    if (event > DV_CERTS_UNCHANGED)
        publish(w);
}

int dv_webhook_adopt(struct dv_webhook *w, const char *bundle, const char *certificate,
                     const char *key, struct dv_err *err)
{
    bool same = !strcmp(certificate, dv_certs_certificate(w->certs));
    int r = dv_certs_adopt(w->certs, bundle, certificate, key, dv_clock_unix(), err);
    if (r < 0)
        return r;
    w->published = false;
    if (!same && !strcmp(certificate, dv_certs_certificate(w->certs)))
        take_certificate(w);
    return 0;
}

static int open_certs(struct dv_webhook *w, struct dv_err *err)
{
    struct dv_certs_policy policy = {
        .names = {w->name, w->options.tls_external ? NULL : "localhost"},
        .life_s = w->options.life_s,
        .overlap_s = DV_MIN(OVERLAP_MAX_S, w->options.life_s / 12),
        .external = w->options.tls_external,
        .unheard = !w->options.publish,
    };
    struct dv_err note;
    char value[DV_LOG_VALUE];
    int r = dv_certs_open(&policy, w->options.tls_dir, dv_clock_unix(), &w->certs, &note, err);
    if (r == 0 && note.msg[0])
        dv_log(DV_LOG_WARNING, "webhook.certificate", "event=made_anew reason=%s",
               dv_log_value(note.msg, value));
    return r;
}

/* ---- life ----------------------------------------------------------------------------------- */

static int check_label(const char *name, const char *what, struct dv_err *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    size_t len = strlen(name);
    if (!len || len > NAME_MAX_LEN || !strchr(letters, name[0]) || !strchr(letters, name[len - 1]))
        return dv_err_set(err, -EINVAL, "'%.80s' is no name of a %s", name, what);
    for (const char *p = name; *p; p++)
        if (*p != '-' && !strchr(letters, *p))
            return dv_err_set(err, -EINVAL,
                              "'%.80s' is no name of a %s: small letters, digits "
                              "and - only",
                              name, what);
    return 0;
}

int dv_webhook_check_names(const char *namespace, const char *service, struct dv_err *err)
{
    int r = check_label(namespace, "namespace", err);
    return r < 0 ? r : check_label(service, "service", err);
}

static int listen_there(struct dv_webhook *w, struct dv_loop *loop, struct dv_err *err)
{
    int r = dv_http_tcp_parse(w->options.listen, &w->address, err);
    int fd = r < 0 ? r : dv_http_tcp_listen(&w->address, err);
    if (fd < 0) {
        dv_err_prefix(err, "--listen: ");
        return fd;
    }
    r = dv_http_tcp_chosen(fd, &w->address);
    if (r == 0)
        r = dv_http_server_new_tcp(loop, fd, dv_certs_certificate(w->certs), dv_certs_key(w->certs),
                                   on_request, w, &w->server);
    if (r < 0) {
        dv_fd_close(&fd);
        return dv_err_set(err, r, "cannot start the server: %s", strerror(-r));
    }
    dv_http_server_allow_bodies(w->server, DV_ADMISSION_MAX);
    return 0;
}

static int declare(struct dv_webhook *w, struct dv_err *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < DV_WEBHOOK_RESOURCES_MAX && w->options.resources[i]; i++)
        r = dv_gpu_names_add(&w->names, w->options.resources[i], err);
    if (r < 0)
        dv_err_prefix(err, "--resource: ");
    return r;
}

static int start(struct dv_webhook *w, struct dv_loop *loop, struct dv_err *err)
{
    int r = dv_webhook_check_names(w->options.namespace, w->options.service, err);
    if (r == 0)
        r = declare(w, err);
    if (r < 0)
        return r;
    snprintf(w->name, sizeof w->name, "%s.%s.svc", w->options.service, w->options.namespace);
    r = open_certs(w, err);
    if (r == 0)
        r = listen_there(w, loop, err);
    if (r < 0)
        return r;
    w->ready = !w->options.publish;
    uint64_t every = 1000ull * dv_certs_tick_s(&(struct dv_certs_policy){
                                   .life_s = w->options.life_s,
                                   .external = w->options.tls_external,
                               });
    r = dv_loop_timer(loop, every, every, on_tick, w, &w->timer);
    if (r < 0)
        return dv_err_set(err, r, "cannot start a timer: %s", strerror(-r));
    publish(w);
    return 0;
}

int dv_webhook_new(struct dv_loop *loop, const struct dv_webhook_options *options,
                   struct dv_webhook **ret, struct dv_err *err)
{
    struct dv_webhook *w = calloc(1, sizeof *w);
    if (!w)
        return dv_err_set(err, -ENOMEM, "out of memory");
    w->options = *options;
    int r = start(w, loop, err);
    if (r < 0) {
        dv_webhook_free(w);
        return r;
    }
    *ret = w;
    return 0;
}

void dv_webhook_free(struct dv_webhook *w)
{
    if (!w)
        return;
    dv_loop_remove(w->timer);
    dv_http_server_free(w->server);
    dv_certs_free(w->certs);
    free(w);
}

const char *dv_webhook_address(const struct dv_webhook *w)
{
    return w->address.text;
}
