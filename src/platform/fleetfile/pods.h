/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods from CSV, one per line:
 *
 *     name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time
 *     pod-1,6000,12288,1,460,,LS,Running,427061,12902960
 *
 * The first five are needed. gpu_milli is of each GPU, 1000 for whole ones; gpu_spec lists the
 * models that it may have ("V100M16|V100M32"; empty: any); times are seconds from the trace's
 * start. Of divvy's own, all optional: topology (numa, nvlink: needed; prefer-numa, prefer-nvlink),
 * mig (a profile), any_of (yes), wall (none, cooperative, driver, hardware), gpu_memory_mib, rack,
 * zone. Other columns are ignored.
 */
#ifndef DV_FLEETFILE_PODS_H
#define DV_FLEETFILE_PODS_H

#include "csv/csv.h"
#include "model/cluster.h"
#include "model/names.h"

#define DV_FLEET_PODS_MAX 10000000u
#define DV_FLEET_TIME_MAX INT64_C(4000000000) /* s */

struct dv_fleet_pods { /* all zero: none */
    struct dv_cluster_pod *v;
    struct {
        uint64_t created_s, deleted_s;
    } * times; /* NULL: the file has none */
    uint32_t n, capacity;
    struct dv_names names; /* a pod's name has its number */
};

void dv_fleet_pods_done(struct dv_fleet_pods *pods);
/* The cluster learns their specs and wishes. unknown_models: GPU models, and MIG profiles, that no
 * node has are allowed (such a pod fits nowhere), else they are errors with a suggestion. Errors as
 * of dv_fleet_nodes_read(). `pods` is to be all zero; after an error it is. */
int dv_fleet_pods_read(const char *path, struct dv_cluster *cluster, bool unknown_models,
                       struct dv_fleet_pods *pods, struct dv_err *err);
int dv_fleet_pods_from(struct dv_csv *csv, struct dv_cluster *cluster, bool unknown_models,
                       struct dv_fleet_pods *pods, struct dv_err *err);

/* In which order they come: names of pods, one per line. "NAME-tuned-N" is another pod like NAME.
 * Lines as indices into pods, malloc'd. */
int dv_fleet_arrivals_read(const char *path, const struct dv_fleet_pods *pods, uint32_t **ret,
                           uint32_t *ret_n, struct dv_err *err);

#endif
