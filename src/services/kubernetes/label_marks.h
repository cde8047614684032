/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has to change on a Node so that it has these labels, and none that we gave it earlier. Which
 * those are is remembered in an annotation of the Node, so that a daemon that starts anew, or is
 * another version, takes away what it no longer says and nothing else. Pure.
 *
 *     r = dv_label_marks_make(&labels, label_of, object, annotation, &marks);
 *     if (marks.n || marks.annotate) ... patch ...
 *
 * nvidia.com/gpu.present is given, but never taken: DaemonSets choose their nodes by it, ours too,
 * and people set it by hand.
 */
#ifndef DV_SERVICES_KUBERNETES_LABEL_MARKS_H
#define DV_SERVICES_KUBERNETES_LABEL_MARKS_H

#include "kube/node.h"
#include "policy/labels.h"

/* Its value: "gpu.count,gpu.product,...": keys without the prefix. */
#define DV_LABEL_MARKS_ANNOTATION "divvy.dev/node-labels"
#define DV_LABEL_MARKS_PREFIX "nvidia.com/"

struct dv_label_marks {
    struct dv_kube_pair *pairs; /* loans from the labels and from `keys` */
    uint32_t n;
    bool annotate;            /* the annotation is another than it is */
    struct dv_str annotation; /* what it should be; "": none */
    char *keys;               /* of what is taken away */
};

/* The value that the Node has for a key; NULL: none. */
typedef const char *dv_label_marks_lookup(const void *arg, const char *key);

/* want NULL: no labels at all. annotation: as it is; NULL: none. Where only the timestamp is
 * another, nothing is to be done. 0, -ENOMEM. */
int dv_label_marks_make(const struct dv_labels *want, dv_label_marks_lookup *lookup,
                        const void *arg, const char *annotation, struct dv_label_marks *ret);
void dv_label_marks_done(struct dv_label_marks *marks);

#endif
