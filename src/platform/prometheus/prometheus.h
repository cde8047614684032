/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Range queries to a Prometheus (or Thanos, Mimir, VictoriaMetrics: the same HTTP API), by libcurl,
 * blocking. Long ranges are asked for in pieces, since a Prometheus gives at most 11,000 points of
 * a series; answers are read as they come and never held whole.
 *
 *     struct dv_prometheus_options o = {.url = "https://prometheus.example", .timeout_ns = ...};
 *     dv_cleanup(dv_prometheus_freep) struct dv_prometheus *p = NULL;
 *     r = dv_prometheus_new(&o, &p, &err);
 *     r = r < 0 ? r : dv_prometheus_range(p, &query, &sink, &counts, &err);
 *
 * Certificates are checked; redirects are not followed, so that a token goes where it was meant to.
 * A token goes over HTTPS, or to this machine. Messages name the server without what is before the
 * '@' of its URL.
 */
#ifndef DV_PROMETHEUS_PROMETHEUS_H
#define DV_PROMETHEUS_PROMETHEUS_H

#include "prometheus/matrix.h"

#define DV_PROMETHEUS_POINTS 10000u /* of a series in one answer */
#define DV_PROMETHEUS_TOKEN_MAX 16384u

struct dv_prometheus_options {
    const char *url;         /* http or https, with the path in front of /api/v1 if there is one */
    const char *token;       /* NULL: none */
    const char *ca_file;     /* PEM; NULL: the system's */
    uint64_t timeout_ns;     /* of one question; > 0 */
    bool (*stop)(void *arg); /* asked while it waits; NULL: never. true ends with -EINTR */
    void *arg;
};

struct dv_prometheus_query {
    const char *promql;
    int64_t from_ns, to_ns; /* both ends count; moved down to multiples of the step */
    uint64_t step_ns;       /* at least 1 ms */
};

/* What an answer had that was not asked for. */
struct dv_prometheus_counts {
    uint64_t questions, series, samples;
    uint64_t off_step; /* samples between the steps: given to the sink at their own times */
    uint64_t outside;  /* of the range: dropped */
    char warning[256]; /* the first one, or "" */
};

struct dv_prometheus;

/* 0; -ENOMEM; -EINVAL (the URL, the token), -EACCES (a token would go unencrypted to another
 * machine) with a message. */
int dv_prometheus_new(const struct dv_prometheus_options *options, struct dv_prometheus **ret,
                      struct dv_err *err);
void dv_prometheus_free(struct dv_prometheus *p);
static inline void dv_prometheus_freep(struct dv_prometheus **p)
{
    dv_prometheus_free(*p);
}

/* Adds to *counts. 0; -EINTR: stopped; -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH (no such host),
 * -EIO (any other failure of the connection, TLS among them), -EACCES (401, 403), -EPROTO (an
 * answer that is none), -EINVAL (what Prometheus refused) with a message; or what the sink
 * returned. What came before an error has been given to the sink. */
int dv_prometheus_range(struct dv_prometheus *p, const struct dv_prometheus_query *query,
                        const struct dv_prometheus_sink *sink, struct dv_prometheus_counts *counts,
                        struct dv_err *err);

/* A token's file: its first line. 0; -errno, -EINVAL, -E2BIG with a message. The caller frees. */
int dv_prometheus_read_token(const char *path, char **ret, struct dv_err *err);

#endif
