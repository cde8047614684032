/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of POST /v1/containers: which devices a container that is about to start shall have, and
 * who it is, in the words of its runtime. divvy-hook sends it; the runtime's words are the OCI
 * state as a hook gets it on its standard input, passed on as it was.
 *
 *   {"resource": "nvidia.com/gpu", "devices": ["GPU-..."], "state": {OCI state},
 *    "mode": "governed", "memory_bytes": 1073741824, "compute": 1750}     the last three optional
 *
 * Pure. Sources: OCI runtime specification 1.0 (state, hooks); the annotations that containerd
 * (io.kubernetes.cri.*) and CRI-O (io.kubernetes.*) give a pod's containers.
 */
#ifndef DV_SERVICES_KUBERNETES_CONTAINER_REQUEST_H
#define DV_SERVICES_KUBERNETES_CONTAINER_REQUEST_H

#include "model/claim.h"
#include "model/workload.h"

#include <sys/types.h>

#define DV_CONTAINER_RESOURCE_SIZE 128
#define DV_CONTAINER_DEVICES_MAX 1024u /* a GPU may be advertised as a hundred */

struct dv_container_request {
    char resource[DV_CONTAINER_RESOURCE_SIZE];
    char (*devices)[DV_WORKLOAD_DEVICE_SIZE]; /* malloc'ed; as advertised */
    size_t n_devices;                         /* from 1; no two alike */
    /* What each device stands for, where the caller says so. */
    bool explicit_mode;
    enum dv_mode mode;
    uint64_t memory_bytes; /* 0: not said */
    uint32_t compute;      /* likewise */
    /* Of the state: */
    pid_t pid;                   /* the container's first process, as this host counts */
    char tenant[DV_TENANT_SIZE]; /* the namespace; outside of Kubernetes the annotation
                                    divvy.dev/tenant, else "container" */
    struct dv_workload workload; /* without device and cgroup */
};

void dv_container_request_done(struct dv_container_request *request);
/* body has `size` bytes. 0; -EINVAL with one line, -ENOMEM. */
int dv_container_request_parse(const char *body, size_t size, struct dv_container_request *ret,
                               struct dv_err *err);
/* The body of POST /v1/containers/cdi: the same without a state, and a "name" for the device. What
 * is of the state is zero then. */
int dv_container_request_parse_device(const char *body, size_t size, char ret_name[128],
                                      struct dv_container_request *ret, struct dv_err *err);

#endif
