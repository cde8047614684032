/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer of Prometheus' HTTP API to a range query, read as it comes: series by series, sample
 * by sample (https://prometheus.io/docs/prometheus/latest/querying/api/).
 *
 *     {"status":"success","data":{"resultType":"matrix","result":[
 *         {"metric":{"pod":"a"},"values":[[1662858720,"12.5"],...]},...]}}
 */
#ifndef DV_PROMETHEUS_MATRIX_H
#define DV_PROMETHEUS_MATRIX_H

#include "prometheus/json_events.h"

#define DV_PROMETHEUS_LABELS_MAX 64u
#define DV_PROMETHEUS_LABELS_SIZE 16384u

struct dv_prometheus_labels {
    uint32_t n;
    struct {
        const char *name, *value;
    } at[DV_PROMETHEUS_LABELS_MAX];
};
/* "" where there is none. */
const char *dv_prometheus_label(const struct dv_prometheus_labels *labels, const char *name);

/* What is told of an answer. A result other than 0 ends the reading. */
struct dv_prometheus_sink {
    void *arg;
    /* A series begins; the labels live until the next one does. */
    int (*on_series)(void *arg, const struct dv_prometheus_labels *labels);
    /* missing: NaN or infinite; the value is 0 then. */
    int (*on_sample)(void *arg, int64_t unix_ns, double value, bool missing);
};

struct dv_matrix;

struct dv_matrix *dv_matrix_new(const struct dv_prometheus_sink *sink); /* NULL: no memory */
void dv_matrix_free(struct dv_matrix *m);
/* 0; -EINVAL: not JSON, or not an answer; or what the sink returned. */
int dv_matrix_feed(struct dv_matrix *m, const char *text, size_t len, struct dv_err *err);
/* 0; -EINVAL: it was cut, or is not a success; the message has Prometheus' own words. */
int dv_matrix_end(struct dv_matrix *m, struct dv_err *err);
/* What an answer that is no success says; "" when it says nothing. */
const char *dv_matrix_error(const struct dv_matrix *m);
/* The first warning ("" without one): of several stores one may not have answered. */
const char *dv_matrix_warning(const struct dv_matrix *m);

#endif
