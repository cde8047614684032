/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups as the kernel lists them for a process (/proc/PID/cgroup, cgroups(7)): lines of
 * "hierarchy:controllers:path", one with empty controllers for version 2. Container runtimes name
 * groups by container and pod:
 *
 *   systemd driver  .../kubepods-burstable-podUID.slice/cri-containerd-ID.scope   (UID with _)
 *   cgroupfs driver /kubepods/burstable/podUID/ID
 *   others          docker-ID.scope, /docker/ID, crio-ID.scope, libpod-ID.scope
 *
 * below whatever groups a kubelet or a node in a container adds above. Sources: the kubelet's
 * cgroup manager, containerd, CRI-O, Docker and Podman documentation.
 */
#ifndef DV_MODEL_CGROUP_H
#define DV_MODEL_CGROUP_H

#include "base/macros.h"

#include <stdbool.h>

#define DV_CGROUP_POD_UID_SIZE 64    /* 36 letters, or 32 hexadecimal digits of a static pod */
#define DV_CGROUP_CONTAINER_SIZE 129 /* 64 hexadecimal digits, where the runtime makes them */
#define DV_CGROUP_GROUP_SIZE 512

enum dv_cgroup_runtime {
    DV_CGROUP_UNKNOWN, /* the cgroupfs driver does not say */
    DV_CGROUP_CONTAINERD,
    DV_CGROUP_CRIO,
    DV_CGROUP_DOCKER,
    DV_CGROUP_PODMAN,
};

struct dv_cgroup_container {
    char id[DV_CGROUP_CONTAINER_SIZE];
    char pod_uid[DV_CGROUP_POD_UID_SIZE]; /* with dashes; "": in no pod */
    enum dv_cgroup_runtime runtime;
};

/* "containerd", "cri-o", "docker", "podman", "unknown". */
const char *dv_cgroup_runtime_name(enum dv_cgroup_runtime runtime);

/* The innermost container that a path leads into. False: none. */
bool dv_cgroup_parse(const char *path, struct dv_cgroup_container *ret);
/* The same of the first line in the text of /proc/PID/cgroup that says. */
bool dv_cgroup_find(const char *text, struct dv_cgroup_container *ret);

/*
 * The group that carries this container's name, from the text of its first process: as
 * "controllers:path", for dv_cgroup_is_within(). A container whose groups do not carry its name
 * shares them with others, and has none. 0, -ENOENT, -ENAMETOOLONG.
 */
int dv_cgroup_of(const char *text, const char *container, char ret[DV_CGROUP_GROUP_SIZE]);
/* Is a process with this text in the group, or in one below it? */
bool dv_cgroup_is_within(const char *text, const char *group);

#endif
