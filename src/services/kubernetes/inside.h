/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container gets for its devices, and where it finds that, whatever it does with its
 * environment (edits.h). The driver's own libraries are out of the loader's way; where they are is
 * written on the slice's page, which no tenant can write.
 */
#ifndef DV_SERVICES_KUBERNETES_INSIDE_H
#define DV_SERVICES_KUBERNETES_INSIDE_H

#include "model/claim.h"
#include "model/workload.h"

#define DV_CONTAINERS_INSIDE "/run/divvy"
#define DV_CONTAINERS_DRIVER DV_CONTAINERS_INSIDE "/driver"
#define DV_CONTAINERS_LIBCUDA DV_CONTAINERS_DRIVER "/libcuda.so.1"
#define DV_CONTAINERS_LIBNVML DV_CONTAINERS_DRIVER "/libnvidia-ml.so.1"
#define DV_CONTAINERS_SIM_SOCKET DV_CONTAINERS_INSIDE "/sim.sock"
#define DV_CONTAINERS_MPS DV_CONTAINERS_INSIDE "/mps"

/* A slice that a container is to get for one or several of the ids that it was allocated. */
struct dv_container_grant {
    char id[DV_WORKLOAD_DEVICE_SIZE]; /* the first of them */
    char device[DV_UUID_SIZE];        /* a GPU, or a MIG device */
    enum dv_mode mode;
    enum dv_tier tier;
    uint64_t memory_bytes; /* 0: as much of the device as compute is */
    uint32_t compute;      /* 1/7000 GPU; 0: likewise; both 0: the whole device */
};

#endif
