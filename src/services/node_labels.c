/* SPDX-License-Identifier: Apache-2.0 */
#include "node_labels.h"

#include "inventory.h"
#include "sys/clock.h"
#include "sys/fd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MACHINE_FILE "/sys/class/dmi/id/product_name" /* GFD's default */
#define MACHINE_MAX 4096u
#define RESOURCES_MAX 32u

/* A simulated node is not what it runs on. NULL: unknown. The caller frees. */
static char *machine(const struct dv_node *node)
{
    char *text = NULL;
    size_t len;
    struct dv_err err;
    if (node->config.sim)
        return strdup(DV_NODE_LABELS_SIMULATED);
    return dv_fd_read_file(MACHINE_FILE, MACHINE_MAX, &text, &len, &err) < 0 ? NULL : text;
}

int64_t dv_node_labels_started(const struct dv_node *node)
{
    return dv_clock_unix() - (int64_t)((dv_clock_now() - node->started_ns) / DV_NS_PER_S);
}

int dv_node_labels_make(const struct dv_node *node, const enum dv_mig_strategy *mig,
                        struct dv_labels *ret, struct dv_err *err)
{
    struct dv_labels_settings s = {.present = node->snapshot->n_gpus > 0};
    struct dv_labels_resource shared[RESOURCES_MAX];
    char names[RESOURCES_MAX][DV_LABELS_RESOURCE_NAME];
    struct dv_labels_driver driver = {
        .version = node->driver.version,
        .cuda = node->driver.cuda == DV_FACT_UNKNOWN32 ? 0 : node->driver.cuda};
    if (!node->ready)
        return dv_err_set(err, -EAGAIN, "the node's GPUs are not known yet (driver: %s)",
                          dv_inventory_driver_state(node));
    char *text = NULL;
    if (node->labels) {
        s = *node->labels;
    } else {
        s.machine = text = machine(node);
        s.timestamp = dv_node_labels_started(node);
    }
    s.mig = mig ? *mig : s.mig;
    if (!node->labels) {
        s.resources = shared;
        s.n_resources = dv_labels_sharing_of(node->snapshot, s.mig, shared, names, RESOURCES_MAX);
    }
    int r = dv_labels_make(node->snapshot, &driver, &s, ret);
    free(text);
    return r < 0 ? dv_err_set(err, r, "out of memory") : 0;
}
