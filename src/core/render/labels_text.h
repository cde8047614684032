/* SPDX-License-Identifier: Apache-2.0 */
/* The labels of a node (policy/labels.h) as those read them who put them on nodes. */
#ifndef DV_RENDER_LABELS_TEXT_H
#define DV_RENDER_LABELS_TEXT_H

#include "base/str.h"
#include "policy/labels.h"
#include "render/output.h"

/* A file for node-feature-discovery's features.d: "KEY=VALUE\n" each. Appends. */
void dv_labels_text_features(const struct dv_labels *labels, struct dv_str *text);

/* An owner of an object: it goes when all of them have gone. */
struct dv_labels_text_owner {
    const char *api_version, *kind, *name, *uid;
    bool controller;
};

struct dv_labels_text_object {
    const char *node;       /* the node's name */
    const char *name_space; /* node-feature-discovery's, or our own */
    const struct dv_labels_text_owner *owners;
    uint32_t n_owners;
};

/* The object "nvidia-features-for-NODE" of kind NodeFeature (nfd.k8s-sigs.io/v1alpha1) with these
 * labels, as one line of JSON: whole, for POST and for a server-side apply. Appends. -ENOMEM. */
int dv_labels_text_node_feature(const struct dv_labels *labels,
                                const struct dv_labels_text_object *object, struct dv_str *text);
/* A merge patch of a Node, where nobody else sets its labels: those of `before` (NULL: none known)
 * that are no longer there are taken away. Appends. -ENOMEM. */
int dv_labels_text_patch(const struct dv_labels *labels, const struct dv_labels *before,
                         struct dv_str *text);

/* {"apiVersion","kind":"Labels","labels":[{"key","value"}]}. NULL when memory is out. */
struct dv_output *dv_labels_text_tree(const struct dv_labels *labels);

#endif
