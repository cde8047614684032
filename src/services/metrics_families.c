/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics_families.h"

const struct dv_metric_family dv_metrics_families[] = {
#define METRIC(id, name, type, unit, labels, help) {name, DV_METRIC_##type, unit, help},
#include "metrics_families.def"
};

#define DV_DCGM_TYPE_GAUGE DV_METRIC_GAUGE
#define DV_DCGM_TYPE_COUNTER DV_METRIC_COUNTER_BARE /* their names have no _total */

const struct dv_metric_family dv_dcgm_families[] = {
#define DCGM(id, name, type, digits, help) {name, DV_DCGM_TYPE_##type, NULL, help},
#include "metrics_families.def"
};

const uint8_t dv_dcgm_digits[] = {
#define DCGM(id, name, type, digits, help) digits,
#include "metrics_families.def"
};
