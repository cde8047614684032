/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's devices as the kubelet sees them: what the configuration in force and the snapshot
 * offer (policy/offers.h) becomes a device plugin for each resource, kept up to date.
 *
 *     dv_device_plugin_new(node, &options, &plugin, &err);
 *     dv_device_plugin_tick(plugin, now);       a change of the node or the configuration is seen
 * here
 *
 * A change is a difference: a resource that stays keeps its socket and gets one message, or none.
 * The configuration's sharing is a layout of the node too (layouts.h), and until a GPU is what the
 * layout says its units are unhealthy, so that pods wait rather than fail.
 */
#ifndef DV_SERVICES_KUBERNETES_DEVICE_PLUGIN_H
#define DV_SERVICES_KUBERNETES_DEVICE_PLUGIN_H

#include "kubelet/plugin.h"
#include "kubernetes/settings.h"
#include "node.h"
#include "policy/offers.h"

struct dv_device_plugin_options {
    const char *directory;        /* of the kubelet's sockets */
    struct dv_settings *settings; /* a loan, like the directory */
    const char *cdi_dir, *driver_root;
};

struct dv_device_plugin;

int dv_device_plugin_new(struct dv_node *node, const struct dv_device_plugin_options *options,
                         struct dv_device_plugin **ret, struct dv_err *err);
void dv_device_plugin_free(struct dv_device_plugin *plugin);
/* Several times a second; cheap where nothing has changed. */
void dv_device_plugin_tick(struct dv_device_plugin *plugin, uint64_t now);
/* At the next tick whatever has changed is told. */
void dv_device_plugin_hurry(struct dv_device_plugin *plugin);

/* What is offered; NULL before the first inventory. Good until the next tick. */
const struct dv_offers *dv_device_plugin_offers(const struct dv_device_plugin *plugin);
/* Why the configuration in force cannot be offered as it is; "": it can. */
const char *dv_device_plugin_problem(const struct dv_device_plugin *plugin);
/* Raised with every difference. */
uint64_t dv_device_plugin_generation(const struct dv_device_plugin *plugin);

/* A state that lasts longer is no restart of the kubelet any more. */
#define DV_DEVICE_PLUGIN_PATIENCE_NS (20 * DV_NS_PER_S)

/* Where a resource stands with the kubelet. */
struct dv_device_plugin_row {
    const char *resource;
    enum dv_kubelet_plugin_state state;
    const char *why;
    uint64_t since_ns;       /* the state */
    int64_t registered_unix; /* when the kubelet took it last; 0: never */
    uint32_t units, healthy;
    uint64_t allocations, refusals; /* since the daemon's start */
};
/* The i-th of them; false past the end. */
bool dv_device_plugin_row(const struct dv_device_plugin *plugin, size_t i,
                          struct dv_device_plugin_row *ret);
/* "waiting", "registered", "watched", "lost". */
const char *dv_device_plugin_state_name(enum dv_kubelet_plugin_state state);

#endif
