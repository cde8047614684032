/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kubelet is told to give a container for the units that it was allocated: by which means
 * the container learns its devices is up to deviceListStrategy, several of which may be set.
 *
 *   envvar           NVIDIA_VISIBLE_DEVICES=ID,ID for NVIDIA's container runtime
 *   volume-mounts    /dev/null mounted at /var/run/nvidia-container-devices/ID, for the same
 *   cdi-annotations  an annotation with the name of a CDI device, for runtimes before CRI had them
 *   cdi-cri          the name itself
 *
 * Shares with a wall that divvy makes (governed, MPS) are given by CDI whatever is set, else they
 * would come without it. Pure. Source: NVIDIA/k8s-device-plugin v0.20.0, internal/plugin/server.go.
 */
#ifndef DV_SERVICES_KUBERNETES_ALLOCATION_H
#define DV_SERVICES_KUBERNETES_ALLOCATION_H

#include "kubelet/plugin.h"
#include "model/plugin_config.h"
#include "policy/offers.h"

/* Owns what `container` points to. */
struct dv_allocation {
    struct dv_kubelet_container container;
    void **blocks;
    size_t n_blocks;
};

/* Is a CDI device needed for it? */
bool dv_allocation_by_cdi(const struct dv_plugin_flags *flags, const struct dv_offer *offer);
/* cdi: the qualified name of that device, or NULL. 0, or -ENOMEM. */
int dv_allocation_make(const struct dv_plugin_flags *flags, const struct dv_offers *offers,
                       const struct dv_offer *offer, const struct dv_offer_answer *answer,
                       const char *cdi, struct dv_allocation *ret);
/* passDeviceSpecs: these device nodes of the host's, below `root`, at the same paths in the
 * container. 0, or -ENOMEM. */
int dv_allocation_nodes(struct dv_allocation *allocation, const char *root,
                        const char *const *paths, size_t n);
void dv_allocation_done(struct dv_allocation *allocation);

#endif
