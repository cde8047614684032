/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory limits by cgroup, as drivers from 615 on have them (nvmlDeviceSetMemoryLimits_v1): for a
 * GPU and a directory of cgroup v2, `hard` is the most that the processes in it and below it may
 * hold there, `soft` is what the others must leave for them.
 *
 *     if (!dv_simcgroups_allow(node, process, gpu, bytes, free_bytes))
 *         return DV_MEMORY_FULL;
 *
 * A process counts where it is when somebody looks (/proc/PID/cgroup), not where it was when it
 * allocated. A limit goes with its cgroup. Bytes; results of set and get are enum dv_nvml_return.
 * Sources: NVML API reference r615.
 */
#ifndef DV_SIM_SERVER_CGROUPS_H
#define DV_SIM_SERVER_CGROUPS_H

#include "server/node.h"

/* soft 0 and hard UINT64_MAX: no limit any more. NOT_FOUND (no such directory), INVALID_ARGUMENT
 * (not a cgroup v2, its root, soft above hard), INSUFFICIENT_RESOURCES (too many limits). */
int dv_simcgroups_set(struct dv_simnode *node, uint32_t gpu, const char *path, uint64_t soft,
                      uint64_t hard);

struct dv_simcgroups_state {
    uint64_t soft, hard; /* 0 and UINT64_MAX where none is set */
    uint64_t used;
};
int dv_simcgroups_get(struct dv_simnode *node, uint32_t gpu, const char *path,
                      struct dv_simcgroups_state *ret);

/* May the process have so much more of the whole GPU, of which free_bytes are free? */
bool dv_simcgroups_allow(struct dv_simnode *node, const struct dv_simproc *process, uint32_t gpu,
                         uint64_t bytes, uint64_t free_bytes);

/* What a process inside a limited cgroup is shown of the GPU: total and used become those of the
 * tightest limit, and what is left is no more than there is. False: none holds it. */
bool dv_simcgroups_view(struct dv_simnode *node, pid_t pid, uint32_t gpu, struct dv_simmem *memory);

#endif
