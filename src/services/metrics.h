/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What divvyd knows, as metrics: /metrics under divvy's own names, /metrics/dcgm under those of
 * NVIDIA's exporter, which existing dashboards and rules ask for. docs/reference/metrics.md lists
 * both.
 *
 * What the driver did not say is not there; a GPU that it does not answer for has its health, its
 * time and divvy_gpu_collect_success 0, and nothing that could look like an idle GPU. No label has
 * a pid, and of tenants DV_METRICS_TENANTS_MAX at most are shown, those that did something in the
 * last hour first.
 */
#ifndef DV_SERVICES_METRICS_H
#define DV_SERVICES_METRICS_H

#include "node.h"
#include "render/openmetrics.h"

#define DV_METRICS_TENANTS_MAX 1000u

void dv_metrics_write(struct dv_node *node, enum dv_openmetrics_format format, struct dv_str *ret);

/* "hostname", "Hostname", "both", "none". 0, -EINVAL. */
int dv_metrics_dcgm_hostname_parse(const char *text, enum dv_dcgm_hostname *ret);
/* host: what the label says. Always in the format 0.0.4. */
void dv_metrics_dcgm(struct dv_node *node, enum dv_dcgm_hostname label, const char *host,
                     struct dv_str *ret);

/*
 * Answers GET and HEAD of /metrics, /metrics/dcgm, /healthz and /readyz; false when the path is
 * none of these. Who may is the caller's question.
 */
bool dv_metrics_answer(struct dv_node *node, struct dv_http_request *rq);

#endif
