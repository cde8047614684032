/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node as a part of a Kubernetes cluster (`divvyd --kubernetes`): the kubelet gets devices
 * (device_plugin.h), containers slices (containers.h), the node its labels, events and condition
 * (node_object.h); the node's labels choose its configuration (settings.h) and its MIG layout
 * (mig_label.h).
 *
 * Where there is no API server the kubelet's part works all the same: what has been learnt from the
 * server last stays in force.
 */
#ifndef DV_SERVICES_KUBERNETES_KUBERNETES_H
#define DV_SERVICES_KUBERNETES_KUBERNETES_H

#include "kubernetes/settings.h"
#include "node.h"

struct dv_kubernetes_options {
    bool on;
    const char *node_name;     /* NULL: the machine's */
    const char *kubeconfig;    /* NULL: the pod's service account; "none": no API server */
    const char *plugin_config; /* a file or a directory; NULL: the defaults */
    const char *plugin_chosen; /* what nodes without a label have; NULL: see settings.h */
    const char *mig_config;    /* mig-parted's file; NULL: no layouts by label */
    const char *mig_chosen;    /* what nodes without its label have; NULL or "": as they are */
    const char *kubelet_dir;   /* NULL: /var/lib/kubelet */
    const char *cdi_dir;       /* NULL: /var/run/cdi */
    const char *driver_root;   /* where the host's root is seen from here; NULL: "" */
    /* Of the device plugin's own flags, as options and variables. */
    const struct dv_plugin_setting *over;
    size_t n_over;
};

struct dv_kubernetes;

/* What the daemon's container has and the host needs goes below `state`; before rights are given
 * up. ret_lib: where it is on the host. 0, or negative errno with a message. */
int dv_kubernetes_prepare(const char *lib, const char *state, char *ret_lib, size_t size,
                          struct dv_err *err);
/* The options are a loan. 0; -EINVAL with a message for wrong options. */
int dv_kubernetes_new(struct dv_node *node, const struct dv_kubernetes_options *options,
                      struct dv_kubernetes **ret, struct dv_err *err);
/* Before the node. Accepts NULL. */
void dv_kubernetes_free(struct dv_kubernetes *kubernetes);

#endif
