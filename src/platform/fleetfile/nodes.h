/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster's nodes from CSV, one per line:
 *
 *     sn,cpu_milli,memory_mib,gpu,model
 *     node-1,96000,786432,8,V100M32
 *
 * `sn` may be called `name`, `gpu` gpus. Optional: rack, zone, gpu_memory_mib, mig ("no": the GPUs
 * are not cut), wall (what holds a fraction: cooperative, driver), nvlink and numa (groups of GPUs
 * that are joined, or on one NUMA node: "0-3;4-7"). Other columns are ignored.
 */
#ifndef DV_FLEETFILE_NODES_H
#define DV_FLEETFILE_NODES_H

#include "csv/csv.h"
#include "model/cluster.h"

/* What the nodes are sorted by, which decides between equal scores. */
enum dv_fleet_order {
    DV_FLEET_ORDER_NAME,
    DV_FLEET_ORDER_FILE, /* of a list: see below */
    DV_FLEET_ORDER_SEED, /* a shuffle */
};

struct dv_fleet_nodes_order {
    enum dv_fleet_order by;
    uint64_t seed;
    /* FILE: the nodes' names, one per line, in order; or each behind a prefix, "0601-node-1", and
     * then the prefixed names are what is sorted. All nodes, each once. */
    const char *path;
};

/* Sealed. 0; -EINVAL, -ERANGE, -E2BIG, -EEXIST with FILE:LINE; -ENOMEM; errors of open and read. */
int dv_fleet_nodes_read(const char *path, const struct dv_fleet_nodes_order *order,
                        struct dv_cluster **ret, struct dv_err *err);
/* The same from an open table. */
int dv_fleet_nodes_from(struct dv_csv *csv, const struct dv_fleet_nodes_order *order,
                        struct dv_cluster **ret, struct dv_err *err);

#endif
