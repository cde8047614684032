/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metric families as text: Prometheus' format 0.0.4, or OpenMetrics 1.0. The families are described
 * once (struct dv_metric_family); the writer gives them the names, types and ends that each format
 * wants. Numbers are integers, or integers over a power of ten: nanoseconds come out as exact
 * decimal seconds, and no float is ever made.
 *
 *     static const struct dv_metric_family busy = {"divvy_busy_seconds", DV_METRIC_COUNTER,
 *                                                  "seconds", "Time that work ran."};
 *     struct dv_openmetrics w = {.out = &text, .format = DV_OPENMETRICS_1_0};
 *     dv_openmetrics_family(&w, &busy);
 *     dv_openmetrics_sample(&w);
 *     dv_openmetrics_label(&w, "tenant", "alice");
 *     dv_openmetrics_seconds(&w, ns);              // ends the line
 *     dv_openmetrics_end(&w);
 *
 * A family without samples is not written. All samples of a family follow each other. Label values
 * may be any bytes: what is no UTF-8 becomes U+FFFD. Out of memory is remembered in the text
 * (dv_str.failed).
 * Sources: prometheus.io/docs/instrumenting/exposition_formats, the OpenMetrics 1.0 specification.
 */
#ifndef DV_RENDER_OPENMETRICS_H
#define DV_RENDER_OPENMETRICS_H

#include "base/str.h"

enum dv_openmetrics_format {
    DV_OPENMETRICS_PROMETHEUS, /* text/plain; version=0.0.4 */
    DV_OPENMETRICS_1_0,        /* application/openmetrics-text; version=1.0.0 */
};

enum dv_metric_type {
    DV_METRIC_GAUGE,
    DV_METRIC_COUNTER, /* its samples have "_total" behind the name */
    DV_METRIC_INFO,    /* always 1; "_info" behind the name; a gauge in 0.0.4 */
    /* A counter under exactly this name, as programs have it that do not keep Prometheus' rules.
     * 0.0.4 only: OpenMetrics cannot say it, and gets "unknown". */
    DV_METRIC_COUNTER_BARE,
};

struct dv_metric_family {
    const char *name; /* without _total and _info */
    enum dv_metric_type type;
    const char *unit; /* the last word of the name, "seconds"; NULL: none */
    const char *help;
};

/* Set `out` and `format`; the rest is zero at first and the writer's own. */
struct dv_openmetrics {
    struct dv_str *out;
    enum dv_openmetrics_format format;
    const struct dv_metric_family *family;
    bool announced; /* HELP and TYPE are written */
    bool labels;    /* of the present sample: one is there */
};

/* The Content-Type of a format. */
const char *dv_openmetrics_type(enum dv_openmetrics_format format);
/* Which format an Accept header asks for; NULL and what is not understood: 0.0.4. */
enum dv_openmetrics_format dv_openmetrics_accept(const char *accept);

void dv_openmetrics_family(struct dv_openmetrics *w, const struct dv_metric_family *family);
void dv_openmetrics_sample(struct dv_openmetrics *w);
void dv_openmetrics_label(struct dv_openmetrics *w, const char *name, const char *value);
void dv_openmetrics_label_uint(struct dv_openmetrics *w, const char *name, uint64_t value);
/* Labels made beforehand by dv_openmetrics_labels_add(), for what many samples have in common. */
void dv_openmetrics_labels(struct dv_openmetrics *w, const char *made);
void dv_openmetrics_labels_add(struct dv_str *made, const char *name, const char *value);

/* The value, which ends the sample. */
void dv_openmetrics_uint(struct dv_openmetrics *w, uint64_t value);
/* value / 10^scale, without zeros at the end: (1500, 3) is 1.5. scale is at most 18. */
void dv_openmetrics_decimal(struct dv_openmetrics *w, uint64_t value, unsigned scale);
/* The same with exactly `scale` digits behind the point: (1500, 3) is 1.500. */
void dv_openmetrics_fixed(struct dv_openmetrics *w, uint64_t value, unsigned scale);
void dv_openmetrics_seconds(struct dv_openmetrics *w, uint64_t ns);
/* part / whole in nine digits, rounded down; whole is not 0. */
void dv_openmetrics_ratio(struct dv_openmetrics *w, uint64_t part, uint64_t whole);
/* Nothing may follow. */
void dv_openmetrics_end(struct dv_openmetrics *w);

#endif
