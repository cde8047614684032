/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the node's labels (policy/labels.h) where the cluster sees them, by one of three ways, as
 * the configuration in force and the cluster have it:
 *
 *   node-feature  flags.useNodeFeatureAPI, and the cluster has that resource: the NodeFeature
 * object nvidia-features-for-NODE, of which Node Feature Discovery makes labels file
 * flags.gfd.outputFile, where it is set or its folder is there, for the same node          else:
 * the Node itself is patched
 *
 *     dv_labeller_new(node, object, "divvy", &labeller);
 *     dv_labeller_configure(labeller, config);           for each configuration that is in force
 *     dv_labeller_tick(labeller, now, generation);       the offers' generation: look at once
 *
 * What is written is what has changed. Labels follow the configuration and the GPUs at once; what
 * nothing tells is looked at every flags.gfd.sleepInterval. What was put on the Node itself is
 * taken away again when it is another's turn; not at the end of the daemon, for pods that are about
 * to be scheduled would not find the node during an update.
 */
#ifndef DV_SERVICES_KUBERNETES_LABELLER_H
#define DV_SERVICES_KUBERNETES_LABELLER_H

#include "kubernetes/node_object.h"
#include "model/plugin_config.h"
#include "node.h"

enum dv_labeller_way {
    DV_LABELLER_OFF, /* nobody asks for labels, or nobody can be told */
    DV_LABELLER_NODE_FEATURE,
    DV_LABELLER_FILE,
    DV_LABELLER_NODE,
};

struct dv_labeller_options {
    bool off;
    struct dv_node_object *object; /* NULL: no API server */
    const char *namespace;         /* of the NodeFeature object; NULL: no such objects. A loan */
};

struct dv_labeller;

/* -ENOMEM. node->labels is its own from here on. */
int dv_labeller_new(struct dv_node *node, const struct dv_labeller_options *options,
                    struct dv_labeller **ret);
void dv_labeller_free(struct dv_labeller *labeller);
/* The configuration is a loan until the next one. */
void dv_labeller_configure(struct dv_labeller *labeller, const struct dv_plugin_config *config);
void dv_labeller_tick(struct dv_labeller *labeller, uint64_t now, uint64_t generation);

enum dv_labeller_way dv_labeller_way(const struct dv_labeller *labeller);
/* "off", "node-feature", "file", "node". */
const char *dv_labeller_way_name(enum dv_labeller_way way);
/* Why they are not where they should be; "". */
const char *dv_labeller_problem(const struct dv_labeller *labeller);

#endif
