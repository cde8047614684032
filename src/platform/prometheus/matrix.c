/* SPDX-License-Identifier: Apache-2.0 */
#include "prometheus/matrix.h"

#include "base/number.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAID_MAX 240

/* Where in the answer one is: by depth, and by the keys that lead there. */
enum place { ELSEWHERE, ROOT, DATA, RESULT, SERIES, METRIC, VALUES, SAMPLE, WARNINGS };

struct dv_matrix {
    struct dv_json_events events;
    const struct dv_prometheus_sink *sink;
    struct dv_err *err; /* while a piece is fed */
    enum place places[DV_JSON_DEPTH_MAX + 1];
    unsigned depth;
    char key[64];
    bool success, failed, matrix, has_result;
    bool told; /* of this series, its labels */
    char error[SAID_MAX], warning[SAID_MAX];
    struct dv_prometheus_labels labels;
    char text[DV_PROMETHEUS_LABELS_SIZE];
    size_t text_len;
    unsigned part; /* of a sample: 0 time, 1 value */
    int64_t unix_ns;
};

const char *dv_prometheus_label(const struct dv_prometheus_labels *labels, const char *name)
{
    for (uint32_t i = 0; i < labels->n; i++)
        if (!strcmp(labels->at[i].name, name))
            return labels->at[i].value;
    return "";
}

static int wrong(struct dv_matrix *m, const char *what)
{
    return dv_err_set(m->err, -EINVAL, "not an answer to a range query: %s", what);
}

/* What is opened, by where it stands and under which key. */
static enum place place_of(const struct dv_matrix *m, bool object)
{
    enum place in = m->depth ? m->places[m->depth] : ELSEWHERE;
    if (!m->depth)
        return object ? ROOT : ELSEWHERE;
    if (in == ROOT && object && !strcmp(m->key, "data"))
        return DATA;
    if (in == ROOT && !object && !strcmp(m->key, "warnings"))
        return WARNINGS;
    if (in == DATA && !object && !strcmp(m->key, "result"))
        return RESULT;
    if (in == RESULT && object)
        return SERIES;
    if (in == SERIES && object && !strcmp(m->key, "metric"))
        return METRIC;
    if (in == SERIES && !object && !strcmp(m->key, "values"))
        return VALUES;
    if (in == VALUES && !object)
        return SAMPLE;
    return ELSEWHERE;
}

static int on_open(struct dv_matrix *m, bool object)
{
    enum place p = place_of(m, object);
    m->places[++m->depth] = p;
    if (p == SERIES) {
        m->labels.n = 0;
        m->text_len = 0;
        m->told = false;
    } else if (p == SAMPLE) {
        m->part = 0;
    } else if (p == RESULT) {
        m->has_result = true;
    } else if (p == VALUES && !m->told) {
        m->told = true; /* Prometheus writes the labels first; all others that are known do too */
        return m->sink->on_series(m->sink->arg, &m->labels);
    }
    return 0;
}

static int on_close(struct dv_matrix *m)
{
    enum place p = m->places[m->depth--];
    if (p == SAMPLE && m->part != 2)
        return wrong(m, "a sample that is not a time and a value");
    return 0;
}

static const char *keep_text(struct dv_matrix *m, const char *text, size_t len)
{
    if (m->text_len + len + 1 > sizeof m->text)
        return NULL;
    char *at = m->text + m->text_len;
    memcpy(at, text, len + 1);
    m->text_len += len + 1;
    return at;
}

static int on_label(struct dv_matrix *m, const char *value, size_t len)
{
    if (m->told)
        return wrong(m, "labels after the samples");
    if (m->labels.n == DV_PROMETHEUS_LABELS_MAX)
        return dv_err_set(m->err, -E2BIG, "a series with more than %u labels",
                          DV_PROMETHEUS_LABELS_MAX);
    const char *name = keep_text(m, m->key, strlen(m->key));
    const char *kept = keep_text(m, value, len);
    if (!name || !kept)
        return dv_err_set(m->err, -E2BIG, "a series with more than %u bytes of labels",
                          DV_PROMETHEUS_LABELS_SIZE);
    m->labels.at[m->labels.n].name = name;
    m->labels.at[m->labels.n++].value = kept;
    return 0;
}

static int on_time(struct dv_matrix *m, const char *text, size_t len)
{
    double v = 0;
    if (dv_number_double(text, len, &v) < 0 || v < -1e10 || v > 4e9)
        return wrong(m, "a sample without a time");
    int64_t whole = (int64_t)v;
    double ms = (v - (double)whole) * 1000; /* Prometheus counts in milliseconds */
    m->unix_ns = whole * (int64_t)DV_NS_PER_S +
                 (int64_t)(ms + (ms < 0 ? -0.5 : 0.5)) * (int64_t)DV_NS_PER_MS;
    m->part = 1;
    return 0;
}

static int on_value(struct dv_matrix *m, const char *text, size_t len)
{
    static const char *const missing[] = {"NaN", "+Inf", "-Inf", "Inf"};
    double v = 0;
    m->part = 2;
    for (size_t i = 0; i < DV_ARRAY_SIZE(missing); i++)
        if (!strcmp(text, missing[i]))
            return m->sink->on_sample(m->sink->arg, m->unix_ns, 0, true);
    if (dv_number_double(text, len, &v) < 0)
        return wrong(m, "a value that is not a number");
    return m->sink->on_sample(m->sink->arg, m->unix_ns, v, false);
}

static void say(char to[SAID_MAX], const char *text)
{
    if (*to)
        return;
    snprintf(to, SAID_MAX, "%s", text);
    for (; *to; to++)
        if (*to < ' ' || *to > '~')
            *to = '?';
}

static int on_string(struct dv_matrix *m, const char *text, size_t len)
{
    switch (m->places[m->depth]) {
    case ROOT:
        if (!strcmp(m->key, "status")) {
            m->success = !strcmp(text, "success");
            m->failed = !m->success;
        } else if (!strcmp(m->key, "error")) {
            say(m->error, text);
        }
        return 0;
    case DATA:
        if (!strcmp(m->key, "resultType") && strcmp(text, "matrix") != 0)
            return wrong(m, "its resultType is not matrix");
        m->matrix = m->matrix || !strcmp(m->key, "resultType");
        return 0;
    case METRIC:
        return on_label(m, text, len);
    case WARNINGS:
        say(m->warning, text);
        return 0;
    case SAMPLE:
        return m->part == 1 ? on_value(m, text, len) : wrong(m, "a sample without a time");
    default:
        return 0;
    }
}

static int on_event(void *arg, enum dv_json_event event, const char *text, size_t len)
{
    struct dv_matrix *m = arg;
    switch (event) {
    case DV_JSON_OBJECT:
    case DV_JSON_ARRAY:
        return on_open(m, event == DV_JSON_OBJECT);
    case DV_JSON_OBJECT_END:
    case DV_JSON_ARRAY_END:
        return on_close(m);
    case DV_JSON_KEY:
        if (dv_str_copy(m->key, sizeof m->key, text) < 0)
            snprintf(m->key, sizeof m->key, "%.40s...",
                     text); /* no key or label that is asked for */
        return 0;
    case DV_JSON_STRING:
        return on_string(m, text, len);
    default:
        if (m->places[m->depth] == SAMPLE && m->part == 0 && event == DV_JSON_NUMBER)
            return on_time(m, text, len);
        return m->places[m->depth] == SAMPLE ? wrong(m, "a value that is not a string") : 0;
    }
}

struct dv_matrix *dv_matrix_new(const struct dv_prometheus_sink *sink)
{
    struct dv_matrix *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->sink = sink;
    m->events.on_event = on_event;
    m->events.arg = m;
    return m;
}

void dv_matrix_free(struct dv_matrix *m)
{
    if (!m)
        return;
    dv_json_events_done(&m->events);
    free(m);
}

int dv_matrix_feed(struct dv_matrix *m, const char *text, size_t len, struct dv_err *err)
{
    m->err = err;
    int r = dv_json_events_feed(&m->events, text, len, err);
    m->err = NULL;
    return r;
}

int dv_matrix_end(struct dv_matrix *m, struct dv_err *err)
{
    m->err = err;
    int r = dv_json_events_end(&m->events, err);
    if (r == 0 && m->failed)
        r = dv_err_set(err, -EINVAL, "%s",
                       *m->error ? m->error : "it failed, and does not say why");
    else if (r == 0 && (!m->success || !m->matrix || !m->has_result))
        r = wrong(m, "no result in it");
    m->err = NULL;
    return r;
}

const char *dv_matrix_error(const struct dv_matrix *m)
{
    return m->error;
}

const char *dv_matrix_warning(const struct dv_matrix *m)
{
    return m->warning;
}
