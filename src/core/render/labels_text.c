/* SPDX-License-Identifier: Apache-2.0 */
#include "render/labels_text.h"

#include "render/json.h"

#include <errno.h>

void dv_labels_text_features(const struct dv_labels *labels, struct dv_str *text)
{
    for (size_t i = 0; i < labels->n; i++)
        dv_str_addf(text, "%s=%s\n", labels->list[i].key, labels->list[i].value);
}

static struct dv_output_node *add_labels(struct dv_output_node *parent,
                                         const struct dv_labels *labels)
{
    struct dv_output_node *o = dv_output_object(parent, "labels");
    for (size_t i = 0; i < labels->n; i++)
        dv_output_string(o, labels->list[i].key, labels->list[i].value);
    return o;
}

static void add_owners(struct dv_output_node *metadata, const struct dv_labels_text_object *object)
{
    if (!object->n_owners)
        return;
    struct dv_output_node *list = dv_output_array(metadata, "ownerReferences");
    for (uint32_t i = 0; i < object->n_owners; i++) {
        const struct dv_labels_text_owner *w = &object->owners[i];
        struct dv_output_node *o = dv_output_object(list, NULL);
        dv_output_string(o, "apiVersion", w->api_version);
        dv_output_string(o, "kind", w->kind);
        dv_output_string(o, "name", w->name);
        dv_output_string(o, "uid", w->uid);
        if (w->controller)
            dv_output_bool(o, "controller", true);
    }
}

/* node-feature-discovery finds the node by the label; the name is GFD's, so that there are not two
 * objects where divvy takes its place. */
static void add_metadata(struct dv_output_node *root, const struct dv_labels_text_object *object)
{
    dv_cleanup(dv_str_done) struct dv_str name = {0};
    struct dv_output_node *m = dv_output_object(root, "metadata");
    dv_str_addf(&name, "nvidia-features-for-%.253s", object->node);
    dv_output_string(m, "name", dv_str_get(&name));
    dv_output_string(m, "namespace", object->name_space);
    struct dv_output_node *l = dv_output_object(m, "labels");
    dv_output_string(l, "nfd.node.kubernetes.io/node-name", object->node);
    add_owners(m, object);
}

int dv_labels_text_node_feature(const struct dv_labels *labels,
                                const struct dv_labels_text_object *object, struct dv_str *text)
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new(NULL);
    if (!o)
        return -ENOMEM;
    struct dv_output_node *root = dv_output_root(o);
    dv_output_string(root, "apiVersion", "nfd.k8s-sigs.io/v1alpha1");
    dv_output_string(root, "kind", "NodeFeature");
    add_metadata(root, object);
    struct dv_output_node *spec = dv_output_object(root, "spec");
    struct dv_output_node *features = dv_output_object(spec, "features");
    dv_output_object(features, "flags");
    dv_output_object(features, "attributes");
    dv_output_object(features, "instances");
    add_labels(spec, labels);
    return dv_json_write(o, false, text);
}

int dv_labels_text_patch(const struct dv_labels *labels, const struct dv_labels *before,
                         struct dv_str *text)
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new(NULL);
    if (!o)
        return -ENOMEM;
    struct dv_output_node *list =
        add_labels(dv_output_object(dv_output_root(o), "metadata"), labels);
    for (size_t i = 0; before && i < before->n; i++)
        if (!dv_labels_get(labels, before->list[i].key))
            dv_output_null(list, before->list[i].key);
    return dv_json_write(o, false, text);
}

struct dv_output *dv_labels_text_tree(const struct dv_labels *labels)
{
    struct dv_output *o = dv_output_new("Labels");
    struct dv_output_node *list = o ? dv_output_array(dv_output_root(o), "labels") : NULL;
    for (size_t i = 0; i < labels->n; i++) {
        struct dv_output_node *l = dv_output_object(list, NULL);
        dv_output_string(l, "key", labels->list[i].key);
        dv_output_string(l, "value", labels->list[i].value);
    }
    return o;
}
