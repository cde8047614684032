/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a file of labels up to date, as GPU feature discovery does where node-feature-discovery
 * reads files (features.d): "KEY=VALUE" lines, replaced as a whole, and only when a label is
 * another or the file has gone. While the labels cannot be said (the driver does not answer), the
 * file is left as it is.
 *
 *     struct dv_labels_file_options o = {.path = ".../features.d/gfd", .interval_ms = 60000};
 *     r = dv_labels_file_new(loop, &o, make_labels, node, &file, &err);
 *
 * What goes wrong with the file is logged once for each message, and tried again.
 */
#ifndef DV_SERVICES_KUBERNETES_LABELS_FILE_H
#define DV_SERVICES_KUBERNETES_LABELS_FILE_H

#include "policy/labels.h"
#include "sys/loop.h"

struct dv_labels_file_options {
    const char *path;
    uint64_t interval_ms; /* between looks; 0: none by itself after the first (GFD: "infinite") */
    bool oneshot;         /* one file, and no more */
    bool keep; /* leave the file at the end; so it is too with oneshot or without interval */
};

/* As dv_node_labels_make(): 0, -EAGAIN for "not now", or another error; a message with both. */
typedef int dv_labels_file_source(void *arg, struct dv_labels *ret, struct dv_err *err);

struct dv_labels_file;

/* Looks for the first time in the next turn of the loop, then every second until there are labels,
 * then at the interval. -EINVAL: no path. */
int dv_labels_file_new(struct dv_loop *loop, const struct dv_labels_file_options *options,
                       dv_labels_file_source *source, void *arg, struct dv_labels_file **ret,
                       struct dv_err *err);
/* The same, in the place of `old` (which may be NULL), whose file stays until it is replaced when
 * the path is the same: who reads it must not see it gone in between. `old` is freed, also on
 * failure. */
int dv_labels_file_follow(struct dv_labels_file *old, struct dv_loop *loop,
                          const struct dv_labels_file_options *options,
                          dv_labels_file_source *source, void *arg, struct dv_labels_file **ret,
                          struct dv_err *err);
/* Takes NULL. Removes the file, unless told to keep it. */
void dv_labels_file_free(struct dv_labels_file *file);
/* Looks now: something has changed. */
void dv_labels_file_look(struct dv_labels_file *file);
/* The labels were written at least once; with `oneshot` nothing more comes. */
bool dv_labels_file_written(const struct dv_labels_file *file);
/* Why they could not be written; "": nothing is wrong. */
const char *dv_labels_file_problem(const struct dv_labels_file *file);

#endif
