/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CDI device of each allocation: a file that says what a container with these units gets
 * (edits.h), by which the runtime finds it whenever the container starts, also anew and also after
 * a reboot, when the kubelet does not ask again and /var/run is empty.
 *
 * An allocation is known by its resource and units; its name is made of them. Its file stays when
 * another allocation has one of its units, for a while: see allocated.h.
 */
#ifndef DV_SERVICES_KUBERNETES_CDI_FILES_H
#define DV_SERVICES_KUBERNETES_CDI_FILES_H

#include "kubelet/plugin.h"
#include "node.h"

#define DV_CDI_FILES_NAME 64 /* a qualified name: "divvy.dev/slice=..." */

struct dv_cdi_files;

/* dir: of the runtime's specifications; state: where allocations are remembered. Copied. -ENOMEM.
 */
int dv_cdi_files_new(struct dv_node *node, const char *dir, const char *state,
                     struct dv_cdi_files **ret);
void dv_cdi_files_free(struct dv_cdi_files *files);
/* Writes the file and gives its device's qualified name. 0; -EAGAIN: not yet, something has to come
 * up first; negative errno with a message. */
int dv_cdi_files_put(struct dv_cdi_files *files, const char *resource,
                     const struct dv_kubelet_ids *units, char ret_name[DV_CDI_FILES_NAME],
                     struct dv_err *err);
/* Writes all that are remembered and not written since the start: after a reboot or an update what
 * is in them may be out of date. Those that cannot be had yet are tried at the next call. */
void dv_cdi_files_restore(struct dv_cdi_files *files);

#endif
