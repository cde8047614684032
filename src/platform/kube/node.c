/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/node.h"

#include "kube/internal.h"
#include "kube/object.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct dv_kube_node_watch {
    struct dv_kube_watch *watch;
    dv_kube_node_callback *cb;
    void *arg;
    bool there, told;
};

const char *dv_kube_node_find(const struct dv_kube_pair *pairs, uint32_t n, const char *key)
{
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(pairs[i].key, key) == 0)
            return pairs[i].value;
    return NULL;
}

static void tell(struct dv_kube_node_watch *w, struct json_object *object)
{
    struct dv_kube_node node = {
        .name = dv_kube_json_text(object, "metadata", "name", NULL),
        .uid = dv_kube_json_text(object, "metadata", "uid", NULL),
        .version = dv_kube_json_text(object, "metadata", "resourceVersion", NULL),
        .unschedulable = dv_kube_json_true(object, "spec", "unschedulable", NULL),
    };
    node.n_labels =
        dv_kube_object_pairs(dv_kube_json_at(object, "metadata", "labels", NULL), &node.labels);
    node.n_annotations = dv_kube_object_pairs(
        dv_kube_json_at(object, "metadata", "annotations", NULL), &node.annotations);
    node.cordoned_by_us =
        node.unschedulable &&
        dv_kube_node_find(node.annotations, node.n_annotations, DV_KUBE_CORDONED) != NULL;
    struct dv_kube_pair *labels = node.labels, *annotations = node.annotations;
    w->cb(w->arg, &node);
    free(labels);
    free(annotations);
}

static void on_change(void *arg, enum dv_kube_change change, struct json_object *object)
{
    struct dv_kube_node_watch *w = arg;
    if (change == DV_KUBE_ADDED || change == DV_KUBE_MODIFIED) {
        w->there = w->told = true;
        tell(w, object);
    } else if (change == DV_KUBE_DELETED || (!w->there && !w->told)) {
        w->there = false;
        w->told = true;
        w->cb(w->arg, NULL);
    }
}

int dv_kube_node_watch(struct dv_kube_client *client, const char *name, dv_kube_node_callback *cb,
                       void *arg, struct dv_kube_node_watch **ret)
{
    dv_cleanup(dv_str_done) struct dv_str fields = {0};
    struct dv_kube_node_watch *w = calloc(1, sizeof *w);
    dv_str_addf(&fields, "metadata.name=%s", name);
    if (!w || fields.failed) {
        free(w);
        return -ENOMEM;
    }
    w->cb = cb;
    w->arg = arg;
    struct dv_kube_watch_spec spec = {
        .path = "/api/v1/nodes", .fields = dv_str_get(&fields), .cb = on_change, .arg = w};
    int r = dv_kube_watch_start(client, &spec, &w->watch);
    if (r < 0) {
        free(w);
        return r;
    }
    *ret = w;
    return 0;
}

void dv_kube_node_watch_free(struct dv_kube_node_watch *watch)
{
    if (watch)
        dv_kube_watch_free(watch->watch);
    free(watch);
}

void dv_kube_node_watch_state(const struct dv_kube_node_watch *watch,
                              struct dv_kube_watch_state *ret)
{
    dv_kube_watch_state(watch->watch, ret);
}

/* ---- changes -------------------------------------------------------------------------------- */

static void add_pairs(struct dv_output_node *meta, const char *key,
                      const struct dv_kube_pair *pairs, uint32_t n)
{
    if (!n)
        return;
    struct dv_output_node *to = dv_output_object(meta, key);
    for (uint32_t i = 0; i < n; i++)
        dv_output_string(to, pairs[i].key, pairs[i].value); /* NULL: null, which removes */
}

static int send(struct dv_kube_client *client, enum dv_kube_verb verb, const char *fmt,
                const char *name, struct dv_output *body, dv_kube_callback *cb, void *arg,
                struct dv_kube_call **ret)
{
    dv_cleanup(dv_str_done) struct dv_str path = {0};
    for (const char *p = fmt; *p; p++) {
        if (*p == '*')
            dv_kube_client_escape(name, &path);
        else
            dv_str_addc(&path, *p);
    }
    if (path.failed)
        dv_output_free(&body); /* and so -ENOMEM */
    struct dv_kube_request request = {.verb = verb, .path = dv_str_get(&path)};
    return dv_kube_client_send(client, &request, &body, cb, arg, ret);
}

int dv_kube_node_patch(struct dv_kube_client *client, const char *name,
                       const struct dv_kube_marks *marks, dv_kube_callback *cb, void *arg,
                       struct dv_kube_call **ret)
{
    struct dv_output *body = dv_output_new(NULL);
    struct dv_output_node *meta = dv_output_object(dv_output_root(body), "metadata");
    add_pairs(meta, "labels", marks->labels, marks->n_labels);
    add_pairs(meta, "annotations", marks->annotations, marks->n_annotations);
    return send(client, DV_KUBE_MERGE, "/api/v1/nodes/*", name, body, cb, arg, ret);
}

int dv_kube_node_condition(struct dv_kube_client *client, const char *name,
                           const struct dv_kube_condition *c, dv_kube_callback *cb, void *arg,
                           struct dv_kube_call **ret)
{
    static const char *const words[] = {"False", "True", "Unknown"};
    char transition[DV_KUBE_TIME], heartbeat[DV_KUBE_TIME];
    struct dv_output *body = dv_output_new(NULL);
    struct dv_output_node *status = dv_output_object(dv_output_root(body), "status");
    struct dv_output_node *one = dv_output_object(dv_output_array(status, "conditions"), NULL);
    dv_output_string(one, "type", c->type);
    dv_output_string(one, "status", words[c->status]);
    dv_output_string(one, "reason", c->reason);
    dv_output_string(one, "message", c->message);
    dv_output_string(one, "lastTransitionTime",
                     dv_kube_object_time(c->transition_unix, transition));
    dv_output_string(one, "lastHeartbeatTime", dv_kube_object_time(c->heartbeat_unix, heartbeat));
    /* Strategic: conditions are merged by their type. */
    return send(client, DV_KUBE_STRATEGIC, "/api/v1/nodes/*/status", name, body, cb, arg, ret);
}

static int set_schedulable(struct dv_kube_client *client, const struct dv_kube_node *node,
                           bool unschedulable, const char *reason, dv_kube_callback *cb, void *arg,
                           struct dv_kube_call **ret)
{
    struct dv_output *body = dv_output_new(NULL);
    struct dv_output_node *root = dv_output_root(body);
    struct dv_output_node *meta = dv_output_object(root, "metadata");
    dv_output_string(meta, "resourceVersion", node->version); /* else -ESTALE */
    dv_output_string(dv_output_object(meta, "annotations"), DV_KUBE_CORDONED, reason);
    struct dv_output_node *spec = dv_output_object(root, "spec");
    if (unschedulable)
        dv_output_bool(spec, "unschedulable", true);
    else
        dv_output_null(spec, "unschedulable");
    return send(client, DV_KUBE_MERGE, "/api/v1/nodes/*", node->name, body, cb, arg, ret);
}

int dv_kube_node_cordon(struct dv_kube_client *client, const struct dv_kube_node *node,
                        const char *reason, dv_kube_callback *cb, void *arg,
                        struct dv_kube_call **ret)
{
    if (node->unschedulable)
        return DV_KUBE_CORDON_NOTHING;
    return set_schedulable(client, node, true, reason, cb, arg, ret);
}

int dv_kube_node_uncordon(struct dv_kube_client *client, const struct dv_kube_node *node,
                          dv_kube_callback *cb, void *arg, struct dv_kube_call **ret)
{
    if (!node->cordoned_by_us)
        return DV_KUBE_CORDON_NOTHING;
    return set_schedulable(client, node, false, NULL, cb, arg, ret);
}
