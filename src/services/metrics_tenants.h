/* SPDX-License-Identifier: Apache-2.0 */
/* The part of metrics.c that is about tenants. */
#ifndef DV_SERVICES_METRICS_TENANTS_H
#define DV_SERVICES_METRICS_TENANTS_H

#include "metrics.h"

/* Chooses the tenants and collects what is known of them. NULL: no memory. */
struct dv_metrics_tenants *dv_metrics_tenants_new(struct dv_node *node, uint64_t now);
void dv_metrics_tenants_free(struct dv_metrics_tenants *tenants);
/* How many were left out. */
size_t dv_metrics_tenants_dropped(const struct dv_metrics_tenants *tenants);
void dv_metrics_tenants_write(struct dv_metrics_tenants *tenants, struct dv_openmetrics *w);

#endif
