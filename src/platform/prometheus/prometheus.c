/* SPDX-License-Identifier: Apache-2.0 */
#include "prometheus/prometheus.h"

#include "base/str.h"
#include "sys/fd.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 10000L
#define SHOWN_MAX 200
#define LIE_SLACK 16u /* points more than asked for that are let pass */

struct dv_prometheus {
    struct dv_prometheus_options options;
    char shown[SHOWN_MAX + 4]; /* the URL for messages */
    struct dv_str base;        /* without slashes at its end */
    CURL *easy;
    struct curl_slist *headers;
    char message[CURL_ERROR_SIZE];
};

/* One question and its answer. */
struct question {
    struct dv_prometheus *p;
    const struct dv_prometheus_query *query;
    const struct dv_prometheus_sink *sink;
    struct dv_prometheus_counts *counts;
    struct dv_matrix *matrix;
    int64_t from_ns, to_ns;
    uint64_t points; /* of this series so far */
    int r;           /* why the body is not read on */
    struct dv_err why;
    long status;
    char start[120]; /* of a body that is no answer */
    size_t start_len;
};

/* ---- life ----------------------------------------------------------------------------------- */

static bool is_local(CURLU *u)
{
    char *host = NULL;
    if (curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK)
        return false;
    bool local = !strcmp(host, "localhost") || !strncmp(host, "127.", 4) || !strcmp(host, "[::1]");
    curl_free(host);
    return local;
}

/* Keeps the URL without user, password, query and fragment, for messages. */
static void show_url(CURLU *u, char shown[SHOWN_MAX + 4])
{
    char *text = NULL;
    CURLU *copy = curl_url_dup(u);
    if (copy) {
        curl_url_set(copy, CURLUPART_USER, NULL, 0);
        curl_url_set(copy, CURLUPART_PASSWORD, NULL, 0);
        curl_url_set(copy, CURLUPART_QUERY, NULL, 0);
        curl_url_get(copy, CURLUPART_URL, &text, 0);
    }
    snprintf(shown, SHOWN_MAX, "%s", text ? text : "the server");
    for (char *p = shown; *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
    curl_free(text);
    curl_url_cleanup(copy);
}

static int read_url(struct dv_prometheus *p, CURLU *u, struct dv_err *err)
{
    char *scheme = NULL, *text = NULL, *query = NULL;
    if (curl_url_set(u, CURLUPART_URL, p->options.url, 0) != CURLUE_OK)
        return dv_err_set(err, -EINVAL, "'%.100s' is not a URL; http://HOST:9090 is one",
                          p->options.url);
    show_url(u, p->shown);
    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0);
    curl_url_get(u, CURLUPART_QUERY, &query, 0);
    bool plain = scheme && !strcmp(scheme, "http"), tls = scheme && !strcmp(scheme, "https");
    bool has_query = query != NULL;
    curl_free(scheme);
    curl_free(query);
    if (!plain && !tls)
        return dv_err_set(err, -EINVAL, "%s: only http and https are spoken", p->shown);
    if (has_query)
        return dv_err_set(err, -EINVAL, "%s: the URL must end before the '?'", p->shown);
    if (plain && p->options.token && !is_local(u))
        return dv_err_set(err, -EACCES,
                          "%s: a token is not sent over plain http to another machine; use https",
                          p->shown);
    curl_url_get(u, CURLUPART_URL, &text, 0);
    size_t len = text ? strlen(text) : 0;
    while (len && text[len - 1] == '/')
        len--;
    dv_str_addn(&p->base, text ? text : "", len);
    curl_free(text);
    return p->base.failed || !len ? -ENOMEM : 0;
}

static int add_token(struct dv_prometheus *p, struct dv_err *err)
{
    dv_cleanup(dv_str_done) struct dv_str header = {0};
    if (!p->options.token)
        return 0;
    for (const char *c = p->options.token; *c; c++)
        if (*c <= ' ' || *c > '~')
            return dv_err_set(err, -EINVAL, "the token has a character that no token can have");
    dv_str_addf(&header, "Authorization: Bearer %s", p->options.token);
    p->headers = header.failed ? NULL : curl_slist_append(NULL, dv_str_get(&header));
    return p->headers ? 0 : -ENOMEM;
}

int dv_prometheus_new(const struct dv_prometheus_options *options, struct dv_prometheus **ret,
                      struct dv_err *err)
{
    struct dv_prometheus *p = calloc(1, sizeof *p);
    CURLU *u = p ? curl_url() : NULL;
    int r = -ENOMEM;
    if (u) {
        p->options = *options;
        r = read_url(p, u, err);
        curl_url_cleanup(u);
    }
    r = r < 0 ? r : add_token(p, err);
    if (r == 0) {
        p->easy = curl_easy_init();
        r = p->easy ? 0 : -ENOMEM;
    }
    if (r == -ENOMEM)
        dv_err_set(err, r, "out of memory");
    if (r < 0)
        dv_prometheus_free(p);
    else
        *ret = p;
    return r;
}

void dv_prometheus_free(struct dv_prometheus *p)
{
    if (!p)
        return;
    curl_easy_cleanup(p->easy);
    curl_slist_free_all(p->headers);
    dv_str_done(&p->base);
    free(p);
}

int dv_prometheus_read_token(const char *path, char **ret, struct dv_err *err)
{
    size_t len = 0;
    char *text = NULL;
    int r = dv_fd_read_file(path, DV_PROMETHEUS_TOKEN_MAX, &text, &len, err);
    if (r < 0)
        return r;
    text[strcspn(text, "\r\n")] = 0;
    if (!*text) {
        free(text);
        return dv_err_set(err, -EINVAL, "%.200s: no token in it", path);
    }
    *ret = text;
    return 0;
}

/* ---- an answer ------------------------------------------------------------------------------ */

static int on_series(void *arg, const struct dv_prometheus_labels *labels)
{
    struct question *q = arg;
    q->points = 0;
    q->counts->series++;
    return q->sink->on_series(q->sink->arg, labels);
}

/* Did it keep to the question? */
static int on_sample(void *arg, int64_t unix_ns, double value, bool missing)
{
    struct question *q = arg;
    uint64_t asked = (uint64_t)(q->to_ns - q->from_ns) / q->query->step_ns + 1;
    if (++q->points > 2 * asked + LIE_SLACK)
        return dv_err_set(&q->why, -EPROTO,
                          "a series with more than %llu samples where %llu were asked for: it does "
                          "not keep to the step",
                          (unsigned long long)(q->points - 1), (unsigned long long)asked);
    if (unix_ns < q->from_ns - (int64_t)DV_NS_PER_MS ||
        unix_ns > q->to_ns + (int64_t)DV_NS_PER_MS) {
        q->counts->outside++;
        return 0;
    }
    uint64_t off = (uint64_t)(unix_ns - q->from_ns + (int64_t)DV_NS_PER_MS) % q->query->step_ns;
    q->counts->off_step += off > 2 * DV_NS_PER_MS;
    q->counts->samples++;
    return q->sink->on_sample(q->sink->arg, unix_ns, value, missing);
}

static void keep_start(struct question *q, const char *data, size_t n)
{
    for (size_t i = 0; i < n && q->start_len + 1 < sizeof q->start; i++)
        q->start[q->start_len++] = data[i] < ' ' || data[i] > '~' ? ' ' : data[i];
    q->start[q->start_len] = 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct question *q = arg;
    keep_start(q, data, size * n);
    if (q->r == 0)
        q->r = dv_matrix_feed(q->matrix, data, size * n, &q->why);
    if (q->r == 0)
        return size * n;
    /* A page that is no JSON is an error by its status; anything else ends the transfer. */
    curl_easy_getinfo(q->p->easy, CURLINFO_RESPONSE_CODE, &q->status);
    return q->status == 200 || q->start_len + 1 >= sizeof q->start ? 0 : size * n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct question *q = arg;
    return q->p->options.stop && q->p->options.stop(q->p->options.arg);
}

/* ---- a question ----------------------------------------------------------------------------- */

static void add_parameter(struct dv_str *url, CURL *easy, const char *key, const char *value)
{
    char *text = curl_easy_escape(easy, value, 0);
    if (!text)
        url->failed = true;
    else
        dv_str_addf(url, "%s=%s", key, text);
    curl_free(text);
}

static void add_seconds(struct dv_str *url, const char *key, int64_t ns)
{
    int64_t ms = ns / (int64_t)DV_NS_PER_MS;
    dv_str_addf(url, "&%s=%lld.%03lld", key, (long long)(ms / 1000), (long long)(ms % 1000));
}

static CURLcode ask(struct question *q)
{
    struct dv_prometheus *p = q->p;
    dv_cleanup(dv_str_done) struct dv_str url = {0};
    dv_str_addf(&url, "%s/api/v1/query_range?", dv_str_get(&p->base));
    add_parameter(&url, p->easy, "query", q->query->promql);
    add_seconds(&url, "start", q->from_ns);
    add_seconds(&url, "end", q->to_ns);
    add_seconds(&url, "step", (int64_t)q->query->step_ns);
    if (url.failed)
        return CURLE_OUT_OF_MEMORY;
    curl_easy_reset(p->easy); /* connections stay */
    p->message[0] = 0;
    curl_easy_setopt(p->easy, CURLOPT_URL, dv_str_get(&url));
    curl_easy_setopt(p->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(p->easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(p->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(p->easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(p->easy, CURLOPT_TIMEOUT_MS, (long)(p->options.timeout_ns / DV_NS_PER_MS));
    curl_easy_setopt(p->easy, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(p->easy, CURLOPT_USERAGENT, "divvy/" DV_VERSION);
    curl_easy_setopt(p->easy, CURLOPT_HTTPHEADER, p->headers);
    curl_easy_setopt(p->easy, CURLOPT_ERRORBUFFER, p->message);
    curl_easy_setopt(p->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(p->easy, CURLOPT_WRITEDATA, q);
    curl_easy_setopt(p->easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(p->easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(p->easy, CURLOPT_XFERINFODATA, q);
    if (p->options.ca_file)
        curl_easy_setopt(p->easy, CURLOPT_CAINFO, p->options.ca_file);
    CURLcode code = curl_easy_perform(p->easy);
    curl_easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &q->status);
    return code;
}

static int transfer_error(const struct question *q, CURLcode code, struct dv_err *err)
{
    const char *said = q->p->message[0] ? q->p->message : curl_easy_strerror(code);
    const char *shown = q->p->shown;
    switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
        return dv_err_set(err, -EINTR, "interrupted");
    case CURLE_OUT_OF_MEMORY:
        return dv_err_set(err, -ENOMEM, "out of memory");
    case CURLE_OPERATION_TIMEDOUT:
        return dv_err_set(err, -ETIMEDOUT,
                          "%s: no whole answer within %llu s; ask for a larger --step, a shorter "
                          "--range, or wait longer (--timeout)",
                          shown, (unsigned long long)(q->p->options.timeout_ns / DV_NS_PER_S));
    case CURLE_COULDNT_CONNECT:
        return dv_err_set(err, -ECONNREFUSED, "%s: %.200s", shown, said);
    case CURLE_COULDNT_RESOLVE_HOST:
        return dv_err_set(err, -EHOSTUNREACH, "%s: %.200s", shown, said);
    default:
        return dv_err_set(err, -EIO, "%s: %.200s", shown, said);
    }
}

static int status_error(const struct question *q, struct dv_err *err)
{
    const char *shown = q->p->shown, *said = dv_matrix_error(q->matrix);
    if (!*said)
        said = q->start;
    if (q->status == 401 || q->status == 403)
        return dv_err_set(err, -EACCES, "%s: answers %ld: %s", shown, q->status,
                          q->p->options.token ? "it does not take the token" : "it wants a token");
    if (q->status >= 300 && q->status < 400)
        return dv_err_set(
            err, -EPROTO,
            "%s: answers %ld, a redirect, which is not followed; give the URL that it "
            "leads to",
            shown, q->status);
    if (q->status == 404)
        return dv_err_set(err, -EPROTO, "%s: answers 404: no Prometheus API under this URL", shown);
    return dv_err_set(err, q->status < 500 ? -EINVAL : -EPROTO, "%s: answers %ld: %.200s", shown,
                      q->status, said);
}

static int judge(struct question *q, CURLcode code, struct dv_err *err)
{
    if (q->r == 0 && code != CURLE_OK)
        return transfer_error(q, code, err);
    if (q->status != 200)
        return status_error(q, err);
    int r = q->r ? q->r : dv_matrix_end(q->matrix, &q->why);
    if (r == 0)
        return 0;
    if (!q->why.msg[0]) /* the sink's own */
        return r;
    return dv_err_set(err, r == -ENOMEM ? r : -EPROTO, "%s: %.300s", q->p->shown, q->why.msg);
}

static int ask_piece(struct question *q, struct dv_err *err)
{
    const struct dv_prometheus_sink own = {q, on_series, on_sample};
    q->matrix = dv_matrix_new(&own);
    if (!q->matrix)
        return dv_err_set(err, -ENOMEM, "out of memory");
    q->counts->questions++;
    CURLcode code = ask(q);
    int r = judge(q, code, err);
    if (!q->counts->warning[0])
        snprintf(q->counts->warning, sizeof q->counts->warning, "%s", dv_matrix_warning(q->matrix));
    dv_matrix_free(q->matrix);
    return r;
}

int dv_prometheus_range(struct dv_prometheus *p, const struct dv_prometheus_query *query,
                        const struct dv_prometheus_sink *sink, struct dv_prometheus_counts *counts,
                        struct dv_err *err)
{
    int64_t step = (int64_t)query->step_ns;
    int64_t last = query->to_ns - query->to_ns % step;
    int64_t piece = (int64_t)(DV_PROMETHEUS_POINTS - 1) * step;
    int r = 0;
    for (int64_t at = query->from_ns - query->from_ns % step; r == 0 && at <= last;
         at += piece + step) {
        struct question q = {.p = p, .query = query, .sink = sink, .counts = counts};
        q.from_ns = at;
        q.to_ns = DV_MIN(at + piece, last);
        r = ask_piece(&q, err);
    }
    return r;
}
