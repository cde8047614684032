/* SPDX-License-Identifier: Apache-2.0 */
/* The families of metrics_families.def, as objects. */
#ifndef DV_SERVICES_METRICS_FAMILIES_H
#define DV_SERVICES_METRICS_FAMILIES_H

#include "render/openmetrics.h"

enum dv_metrics_id {
#define METRIC(id, name, type, unit, labels, help) DV_METRICS_##id,
#include "metrics_families.def"
    DV_METRICS_COUNT,
};

enum dv_dcgm_id {
#define DCGM(id, name, type, digits, help) DV_DCGM_##id,
#include "metrics_families.def"
    DV_DCGM_COUNT,
};

extern const struct dv_metric_family dv_metrics_families[DV_METRICS_COUNT];
extern const struct dv_metric_family dv_dcgm_families[DV_DCGM_COUNT];
extern const uint8_t dv_dcgm_digits[DV_DCGM_COUNT];

#endif
