/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/pod.h"

#include "kube/internal.h"
#include "kube/json.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#define BUDGET_RETRY_S 10u /* when the server names no time */

struct dv_kube_pod_watch {
    struct dv_kube_watch *watch;
    struct dv_kube_pod_spec spec;
};

static void read_limits(struct json_object *limits, struct dv_kube_container *ret)
{
    if (!json_object_is_type(limits, json_type_object))
        return;
    json_object_object_foreach(limits, key, value)
    {
        int64_t v;
        /* The server writes quantities as text; a number is one, too. */
        const char *text = json_object_is_type(value, json_type_string) ||
                                   json_object_is_type(value, json_type_int)
                               ? json_object_get_string(value)
                               : "";
        if (ret->n_limits < DV_KUBE_LIMITS_MAX && dv_kube_json_quantity(text, &v) == 0)
            ret->limits[ret->n_limits++] = (struct dv_kube_limit){key, v};
    }
}

static void read_status(struct json_object *statuses, struct dv_kube_container *ret)
{
    size_t n = dv_kube_json_length(statuses);
    for (size_t i = 0; i < n; i++) {
        struct json_object *s = dv_kube_json_item(statuses, i);
        if (strcmp(dv_kube_json_text(s, "name", NULL), ret->name) != 0)
            continue;
        const char *id = dv_kube_json_text(s, "containerID", NULL);
        const char *scheme = strstr(id, "://");
        ret->id = scheme ? scheme + 3 : id;
        ret->running = dv_kube_json_at(s, "state", "running", NULL) != NULL;
        return;
    }
}

static void read_containers(struct json_object *list, struct json_object *statuses, bool init,
                            struct dv_kube_pod *pod, struct dv_kube_container *to)
{
    size_t n = dv_kube_json_length(list);
    for (size_t i = 0; i < n && pod->n_containers < DV_KUBE_CONTAINERS_MAX; i++) {
        struct json_object *o = dv_kube_json_item(list, i);
        struct dv_kube_container *c = &to[pod->n_containers++];
        c->name = dv_kube_json_text(o, "name", NULL);
        c->id = "";
        c->init = init;
        read_limits(dv_kube_json_at(o, "resources", "limits", NULL), c);
        read_status(statuses, c);
    }
}

static void read_owner(struct json_object *owners, struct dv_kube_pod *pod)
{
    size_t n = dv_kube_json_length(owners);
    for (size_t i = 0; i < n; i++) {
        struct json_object *o = dv_kube_json_item(owners, i);
        if (!dv_kube_json_true(o, "controller", NULL))
            continue;
        pod->owner_kind = dv_kube_json_text(o, "kind", NULL);
        pod->owner_name = dv_kube_json_text(o, "name", NULL);
    }
}

static void read_asked(struct json_object *map, const char *const *keys, uint32_t n,
                       const char **ret)
{
    for (uint32_t i = 0; i < n; i++) {
        struct json_object *v = dv_kube_json_at(map, keys[i], NULL);
        bool fits = json_object_is_type(v, json_type_string) &&
                    (uint32_t)json_object_get_string_len(v) <= DV_KUBE_VALUE_MAX;
        ret[i] = fits ? json_object_get_string(v) : NULL;
    }
}

static void read_pod(struct json_object *o, const struct dv_kube_pod_spec *spec,
                     struct dv_kube_pod *ret)
{
    struct json_object *notes = dv_kube_json_at(o, "metadata", "annotations", NULL);
    *ret = (struct dv_kube_pod){
        .namespace = dv_kube_json_text(o, "metadata", "namespace", NULL),
        .name = dv_kube_json_text(o, "metadata", "name", NULL),
        .uid = dv_kube_json_text(o, "metadata", "uid", NULL),
        .node = dv_kube_json_text(o, "spec", "nodeName", NULL),
        .phase = dv_kube_json_text(o, "status", "phase", NULL),
        .deleting = dv_kube_json_at(o, "metadata", "deletionTimestamp", NULL) != NULL,
        .is_static = dv_kube_json_at(notes, "kubernetes.io/config.mirror", NULL) != NULL,
        .owner_kind = "",
        .owner_name = "",
    };
    read_owner(dv_kube_json_at(o, "metadata", "ownerReferences", NULL), ret);
    read_asked(dv_kube_json_at(o, "metadata", "labels", NULL), spec->labels, spec->n_labels,
               ret->labels);
    read_asked(notes, spec->annotations, spec->n_annotations, ret->annotations);
}

static void on_change(void *arg, enum dv_kube_change change, struct json_object *o)
{
    struct dv_kube_pod_watch *w = arg;
    struct dv_kube_pod pod;
    if (change == DV_KUBE_SYNCED) {
        w->spec.cb(w->spec.arg, change, NULL);
        return;
    }
    read_pod(o, &w->spec, &pod);
    struct json_object *init = dv_kube_json_at(o, "spec", "initContainers", NULL);
    struct json_object *main = dv_kube_json_at(o, "spec", "containers", NULL);
    size_t n =
        DV_MIN(dv_kube_json_length(init) + dv_kube_json_length(main), DV_KUBE_CONTAINERS_MAX);
    struct dv_kube_container *containers = n ? calloc(n, sizeof *containers) : NULL;
    if (containers) { /* without memory: a pod without containers, which the next change mends */
        read_containers(init, dv_kube_json_at(o, "status", "initContainerStatuses", NULL), true,
                        &pod, containers);
        read_containers(main, dv_kube_json_at(o, "status", "containerStatuses", NULL), false, &pod,
                        containers);
    }
    pod.containers = containers;
    w->spec.cb(w->spec.arg, change, &pod);
    free(containers);
}

int dv_kube_pod_watch(struct dv_kube_client *client, const struct dv_kube_pod_spec *spec,
                      struct dv_kube_pod_watch **ret)
{
    dv_cleanup(dv_str_done) struct dv_str fields = {0};
    if (spec->n_labels > DV_KUBE_ASKED_MAX || spec->n_annotations > DV_KUBE_ASKED_MAX)
        return -EINVAL;
    struct dv_kube_pod_watch *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->spec = *spec;
    if (spec->node)
        dv_str_addf(&fields, "spec.nodeName=%s", spec->node);
    struct dv_kube_watch_spec s = {.path = "/api/v1/pods",
                                   .fields = spec->node ? dv_str_get(&fields) : NULL,
                                   .cb = on_change,
                                   .arg = w};
    int r = fields.failed ? -ENOMEM : dv_kube_watch_start(client, &s, &w->watch);
    if (r < 0) {
        free(w);
        return r;
    }
    *ret = w;
    return 0;
}

void dv_kube_pod_watch_free(struct dv_kube_pod_watch *watch)
{
    if (watch)
        dv_kube_watch_free(watch->watch);
    free(watch);
}

void dv_kube_pod_watch_state(const struct dv_kube_pod_watch *watch, struct dv_kube_watch_state *ret)
{
    dv_kube_watch_state(watch->watch, ret);
}

/* ---- eviction ------------------------------------------------------------------------------- */

struct evict {
    dv_kube_evict_callback *cb;
    void *arg;
};

static bool is_budget(struct json_object *status)
{
    struct json_object *causes = dv_kube_json_at(status, "details", "causes", NULL);
    size_t n = dv_kube_json_length(causes);
    for (size_t i = 0; i < n; i++)
        if (strcmp(dv_kube_json_text(dv_kube_json_item(causes, i), "reason", NULL),
                   "DisruptionBudget") == 0)
            return true;
    return false;
}

static void on_evicted(void *arg, const struct dv_kube_reply *reply)
{
    struct evict *evict = arg;
    enum dv_kube_evicted result = DV_KUBE_EVICT_FAILED;
    uint32_t after = reply->retry_after_s;
    if (!reply->error)
        result = DV_KUBE_EVICTED;
    else if (reply->error == -ENOENT ||
             reply->error == -ESTALE) /* another uid: that one has gone */
        result = DV_KUBE_EVICT_GONE;
    else if (reply->status == 429 && is_budget(reply->body))
        result = DV_KUBE_EVICT_BLOCKED;
    if (result == DV_KUBE_EVICT_BLOCKED && !after)
        after = BUDGET_RETRY_S;
    evict->cb(evict->arg, result, after, reply);
    free(evict);
}

int dv_kube_pod_evict(struct dv_kube_client *client, const char *namespace, const char *name,
                      const char *uid, dv_kube_evict_callback *cb, void *arg)
{
    dv_cleanup(dv_str_done) struct dv_str path = {0};
    struct evict *evict = malloc(sizeof *evict);
    int r = dv_kube_client_path(&path, "/api/v1/namespaces/%s/pods/%s/eviction", namespace, name);
    if (!evict || r < 0) {
        free(evict);
        return -ENOMEM;
    }
    *evict = (struct evict){cb, arg};
    struct dv_output *body = dv_output_new(NULL);
    struct dv_output_node *root = dv_output_root(body);
    dv_output_string(root, "apiVersion", "policy/v1");
    dv_output_string(root, "kind", "Eviction");
    struct dv_output_node *meta = dv_output_object(root, "metadata");
    dv_output_string(meta, "name", name);
    dv_output_string(meta, "namespace", namespace);
    if (*uid) {
        struct dv_output_node *options = dv_output_object(root, "deleteOptions");
        dv_output_string(dv_output_object(options, "preconditions"), "uid", uid);
    }
    struct dv_kube_request request = {
        .verb = DV_KUBE_CREATE, .path = dv_str_get(&path), .once = true, .drop = free};
    r = dv_kube_client_send(client, &request, &body, on_evicted, evict, NULL);
    if (r < 0)
        free(evict);
    return r;
}
