/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In a container of its own the daemon has files that programs outside need under a path of the
 * host: the hook that the container runtime runs, the libraries that are mounted into tenants. They
 * are copied into a directory that is mounted from the host at the same path.
 *
 * A file that is there already and the same is left alone; another is replaced by rename, never
 * written over: processes have it mapped, and mounts of it go on showing what they showed.
 */
#ifndef DV_SERVICES_KUBERNETES_HOST_FILES_H
#define DV_SERVICES_KUBERNETES_HOST_FILES_H

#include "base/err.h"

/* The tree below `from` into `to`, which is made where it is missing: directories, regular files,
 * symbolic links. What is in `to` alone stays. At most 8 levels, 512 entries of a directory. 0 or
 * negative errno with a message. */
int dv_host_files_copy(const char *from, const char *to, struct dv_err *err);

#endif
