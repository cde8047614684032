/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPU memory limits by cgroup: the driver (615 and later) counts and refuses what the processes of
 * a cgroup allocate on a GPU, whatever library they load. A daemon's cgroups, one for each slice,
 * lie in a folder of its own at the top of the version 2 hierarchy, divvy-NNNNNNNN, which is named
 * by its state directory: what an earlier run left there is its own. Needs root; not on MIG
 * devices.
 *
 * Source: NVIDIA's NVML API reference, nvmlDeviceSetMemoryLimits_v1; cgroups(7).
 */
#ifndef DV_ACTUATE_MEMORY_LIMIT_H
#define DV_ACTUATE_MEMORY_LIMIT_H

#include "actuate/nvml_session.h"

/* In a session that has begun. 0; enum dv_actuate_status or negative errno, with a message. */
int dv_memory_limit_set(const struct dv_nvml_session *s, const char *state,
                        const struct dv_memory_limit *limit, struct dv_err *err);

/* The cgroup that a process is in now, below the mount: "/user.slice". 0, negative errno. */
int dv_memory_limit_cgroup_of(int32_t pid, char ret[DV_CGROUP_SIZE]);

/* MOUNT/FOLDER, whether it is there or not. 0, DV_ACTUATE_NOT_SUPPORTED: no hierarchy; negative
 * errno. */
int dv_memory_limit_path(const char *state, char *ret, size_t size, struct dv_err *err);

/* The folder's name: "divvy-" and eight hexadecimal digits. */
void dv_memory_limit_folder(const char *state, char ret[16]);

/* The first mount of type cgroup2 in the text of /proc/self/mounts. 0, -ENOENT. */
int dv_memory_limit_mount(const char *mounts, char *ret, size_t size);

#endif
