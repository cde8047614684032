/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The value of a label of the Node as the API server said it last, kept in a file: an agent that
 * starts while the server is away goes on with it.
 *
 *     dv_kept_label_read(&label, "/var/lib/divvy/config-label");
 *     if (label.known)
 *         ... label.value
 *     dv_kept_label_put(&label, "t4-shared");
 *
 * The file has the value and a line's end; the line's end alone: the Node had no such label.
 */
#ifndef DV_SERVICES_KUBERNETES_KEPT_LABEL_H
#define DV_SERVICES_KUBERNETES_KEPT_LABEL_H

#include <limits.h>
#include <stdbool.h>

#define DV_KEPT_LABEL_SIZE 64 /* a label's value has at most 63 letters */

struct dv_kept_label {
    char path[PATH_MAX];
    bool known;
    char value[DV_KEPT_LABEL_SIZE]; /* "": none, or one that says nothing */
};

/* What is no value of a label is as if nothing was known. The path is copied. */
void dv_kept_label_read(struct dv_kept_label *label, const char *path);
/* value NULL: the Node has no such label. Writes what is another; a file that cannot be written is
 * logged. */
void dv_kept_label_put(struct dv_kept_label *label, const char *value);

#endif
