/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node as a part of a Kubernetes cluster (`divvyd --kubernetes`): the kubelet gets devices
 * (device_plugin.h), containers slices (containers.h), the node its labels, events and condition
 * (node_object.h); the node's labels choose its configuration (settings.h) and its MIG layout
 * (mig_label.h), and its GPUs the Node's labels (labeller.h), condition and events
 * (health_report.h). What people see of all that is in kubernetes_view.h.
 *
 * Where there is no API server the kubelet's part works all the same: what has been learnt from the
 * server last stays in force.
 */
#ifndef DV_SERVICES_KUBERNETES_KUBERNETES_H
#define DV_SERVICES_KUBERNETES_KUBERNETES_H

#include "kubernetes/device_plugin.h"
#include "node.h"
#include "policy/layout_plan.h"

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
    const char *mps_shm;       /* the host's path of what is /dev/shm here; NULL: /dev/shm */
    /* Of the device plugin's own flags, as options and variables. */
    const struct dv_plugin_setting *over;
    size_t n_over;
    bool cluster_policy;       /* the GPU Operator's counts, too */
    bool no_labels;            /* the node gets no labels from here */
    const char *pod_namespace; /* of our pod: where its objects go; NULL: the credentials' */
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

/* Pods that have a device which this plan of the GPU takes, though no slice says so (pod_holds.h).
 * 0: none; 1: one, and who; -EAGAIN: the kubelet's account is older than `since_ns`, or of a
 * kubelet that was away and may not know its pods yet, and is asked for; -ETIMEDOUT: likewise, and
 * it should have come by now. */
int dv_kubernetes_held(struct dv_kubernetes *kubernetes, uint32_t gpu,
                       const struct dv_gpu_plan *plan, uint64_t since_ns, char *ret_who,
                       size_t size);
/* All of them, as dv_pod_holds_next. */
bool dv_kubernetes_hold(const struct dv_kubernetes *kubernetes, uint32_t gpu,
                        const struct dv_gpu_plan *plan, size_t *at, struct dv_workload *ret);

/* How it stands. Texts are loans until the loop goes on; "" is none where nothing else is said. */
struct dv_kubernetes_status {
    char node_name[256];
    bool server_wanted; /* else everything is as without an API server */
    bool server_reached;
    uint64_t server_since_ns; /* since when it is so */
    const char *server_problem;

    const char *config_source;  /* the file in force; "": the defaults */
    char config_key[254];       /* its name in the directory */
    const char *config_label;   /* what the node's label names; NULL: it has none */
    const char *config_problem; /* why another one is not in force */
    const char *offer_problem;  /* why the one in force cannot be had here as it is */

    bool mig_wanted; /* there are configurations */
    const char *mig_config, *mig_state, *mig_problem;

    const char *labels_by; /* "node", "node-feature", "file", "off" */
    const char *labels_problem;

    const char *cdi_dir;
    char cdi_problem[400]; /* why it cannot be written */
};
void dv_kubernetes_status(const struct dv_kubernetes *kubernetes, struct dv_kubernetes_status *ret);

struct dv_kubernetes_resource {
    struct dv_device_plugin_row plugin;
    bool away;            /* the kubelet has not had it for longer than a restart takes */
    bool allocated_known; /* the kubelet has said how many units somebody has */
    uint32_t allocated;
};
/* The i-th; false past the end. */
bool dv_kubernetes_resource(const struct dv_kubernetes *kubernetes, size_t i,
                            struct dv_kubernetes_resource *ret);

#endif
