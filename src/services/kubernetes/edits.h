/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has to be done to a container so that it gets its slice and nothing else, as CDI edits. All
 * of it is files and one call of divvy-hook: nothing stands in the pod's specification, and the
 * container's environment decides nothing (docs/adr/0012-containers-by-cdi.md).
 *
 *   a slice that a cooperative wall holds   the stand-in is mounted where the loader finds
 *                                           libcuda.so.1 and libnvidia-ml.so.1; the driver's own
 *                                           two libraries are below DV_CONTAINERS_DRIVER; the
 *                                           folder of the tenants' socket
 *   a device of its own                     the driver as it is
 *   any                                     the driver's other libraries and tools, the nodes of
 *                                           its devices; on a simulated node the simulated ones
 */
#ifndef DV_SERVICES_KUBERNETES_EDITS_H
#define DV_SERVICES_KUBERNETES_EDITS_H

#include "cdi/driver.h"
#include "kubernetes/container_request.h"
#include "kubernetes/inside.h"
#include "node.h"

#define DV_EDITS_KIND "divvy.dev/slice"

/* Paths on the host; all absolute. */
struct dv_edits_host {
    const char *api_socket, *tenant_folder;
    const char *lib_dir;    /* .../lib/divvy */
    const char *sim_socket; /* NULL: a real driver */
    const char *libcuda, *libnvml;
    const char *mps_shm; /* what MPS daemons have as /dev/shm */
    const char *root;    /* before /proc, /dev and /usr/bin of the driver; "" on a usual host */
};

struct dv_edits_slice {
    const struct dv_container_grant *grant;
    struct dv_cdi_gpu gpu; /* a real driver's; borrowed */
};

struct dv_edits_spec {
    const struct dv_container_request *request; /* resource, ids, and explicit sizes if any */
    const struct dv_edits_slice *slices;
    size_t n;
    /* Of a device that is shared by MPS: */
    const char *mps_pipe; /* on the host; NULL: none */
    uint32_t mps_percent; /* 0: the daemon's default, like mps_bytes */
    uint64_t mps_bytes;
};

/* Adds to *ret, which stays the caller's in any case. 0; -EINVAL with a message: slices that one
 * container cannot have together; -ENOENT ... the driver's files are not there. */
int dv_edits_make(const struct dv_edits_host *host, const struct dv_edits_spec *spec,
                  struct dv_cdi_edits *ret, struct dv_err *err);

/* The same of what this node gives for the request. -EAGAIN: its MPS daemon is not up. */
int dv_edits_of(struct dv_node *node, const struct dv_container_request *request,
                struct dv_cdi_edits *ret, struct dv_err *err);

/* POST /v1/containers/cdi: the text of a specification with one device, for runtimes that no
 * kubelet tells. */
void dv_edits_post(struct dv_node *node, struct dv_http_request *rq);

#endif
