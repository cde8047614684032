/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/object.h"

#include "base/base64.h"
#include "kube/internal.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FIELD_MANAGER "divvy"
#define SECRET_ENTRIES_MAX 64u

const char *dv_kube_object_time(int64_t unix_s, char buf[DV_KUBE_TIME])
{
    time_t t = unix_s;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || !strftime(buf, DV_KUBE_TIME, "%Y-%m-%dT%H:%M:%SZ", &tm))
        snprintf(buf, DV_KUBE_TIME, "1970-01-01T00:00:00Z");
    return buf;
}

uint32_t dv_kube_object_pairs(struct json_object *map, struct dv_kube_pair **ret)
{
    *ret = NULL;
    if (!json_object_is_type(map, json_type_object) || !json_object_object_length(map))
        return 0;
    size_t max = DV_MIN((size_t)json_object_object_length(map), DV_KUBE_MARKS_MAX);
    struct dv_kube_pair *pairs = calloc(max, sizeof *pairs);
    if (!pairs)
        return 0;
    uint32_t n = 0;
    json_object_object_foreach(map, key, value)
    {
        if (n < max && json_object_is_type(value, json_type_string))
            pairs[n++] = (struct dv_kube_pair){key, json_object_get_string(value)};
    }
    *ret = pairs;
    return n;
}

/* ---- ConfigMap ------------------------------------------------------------------------------ */

struct dv_kube_configmap_watch {
    struct dv_kube_watch *watch;
    dv_kube_configmap_callback *cb;
    void *arg;
    bool there, told;
};

static void on_configmap(void *arg, enum dv_kube_change change, struct json_object *object)
{
    struct dv_kube_configmap_watch *w = arg;
    if (change == DV_KUBE_ADDED || change == DV_KUBE_MODIFIED) {
        struct dv_kube_pair *pairs;
        uint32_t n = dv_kube_object_pairs(dv_kube_json_at(object, "data", NULL), &pairs);
        w->there = w->told = true;
        w->cb(w->arg, true, pairs, n);
        free(pairs);
    } else if (change == DV_KUBE_DELETED || (!w->there && !w->told)) {
        w->there = false;
        w->told = true;
        w->cb(w->arg, false, NULL, 0);
    }
}

int dv_kube_configmap_watch(struct dv_kube_client *client, const char *namespace, const char *name,
                            dv_kube_configmap_callback *cb, void *arg,
                            struct dv_kube_configmap_watch **ret)
{
    dv_cleanup(dv_str_done) struct dv_str path = {0}, fields = {0};
    struct dv_kube_configmap_watch *w = calloc(1, sizeof *w);
    int r = dv_kube_client_path(&path, "/api/v1/namespaces/%s/configmaps", namespace);
    dv_str_addf(&fields, "metadata.name=%s", name);
    struct dv_kube_watch_spec spec = {
        .path = dv_str_get(&path), .fields = dv_str_get(&fields), .cb = on_configmap, .arg = w};
    r = r < 0 || fields.failed || !w ? -ENOMEM : dv_kube_watch_start(client, &spec, &w->watch);
    if (r < 0) {
        free(w);
        return r;
    }
    w->cb = cb;
    w->arg = arg;
    *ret = w;
    return 0;
}

void dv_kube_configmap_watch_free(struct dv_kube_configmap_watch *watch)
{
    if (watch)
        dv_kube_watch_free(watch->watch);
    free(watch);
}

void dv_kube_configmap_watch_state(const struct dv_kube_configmap_watch *watch,
                                   struct dv_kube_watch_state *ret)
{
    dv_kube_watch_state(watch->watch, ret);
}

/* ---- Secret --------------------------------------------------------------------------------- */

struct secret_get {
    dv_kube_secret_callback *cb;
    void *arg;
};

static void entries_free(struct dv_kube_secret_entry *entries, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        explicit_bzero((void *)entries[i].data, entries[i].len);
        free((void *)entries[i].data);
    }
}

/* -EPROTO: what the server calls base64 is none. */
static int read_entries(struct json_object *data, struct dv_kube_secret_entry *ret, uint32_t *ret_n)
{
    if (!json_object_is_type(data, json_type_object))
        return 0;
    json_object_object_foreach(data, key, value)
    {
        struct dv_kube_secret_entry *e = &ret[*ret_n];
        char *bytes;
        if (*ret_n >= SECRET_ENTRIES_MAX)
            return -E2BIG;
        int r = dv_base64_decode(dv_kube_json_text(value, NULL), &bytes, &e->len);
        if (r < 0)
            return r == -EINVAL ? -EPROTO : r;
        e->key = key;
        e->data = bytes;
        ++*ret_n;
    }
    return 0;
}

static void tell_secret(const struct secret_get *get, const struct dv_kube_reply *reply)
{
    struct dv_kube_secret_entry entries[SECRET_ENTRIES_MAX];
    struct dv_kube_secret s = {.entries = entries};
    struct json_object *o = reply->body;
    int r = read_entries(dv_kube_json_at(o, "data", NULL), entries, &s.n);
    const char *names[] = {dv_kube_json_text(o, "metadata", "namespace", NULL),
                           dv_kube_json_text(o, "metadata", "name", NULL),
                           dv_kube_json_text(o, "type", NULL),
                           dv_kube_json_text(o, "metadata", "resourceVersion", NULL)};
    bool fits = dv_str_copy(s.namespace, sizeof s.namespace, names[0]) == 0 &&
                dv_str_copy(s.name, sizeof s.name, names[1]) == 0 &&
                dv_str_copy(s.type, sizeof s.type, names[2]) == 0 &&
                dv_str_copy(s.version, sizeof s.version, names[3]) == 0;
    if (r == 0 && fits) {
        get->cb(get->arg, reply, &s);
    } else {
        struct dv_kube_reply bad = *reply;
        bad.error = r < 0 ? r : -EPROTO;
        snprintf(bad.message, sizeof bad.message, "the Secret %.200s cannot be read: %s", names[1],
                 strerror(-bad.error));
        get->cb(get->arg, &bad, NULL);
    }
    entries_free(entries, s.n);
}

static void on_secret(void *arg, const struct dv_kube_reply *reply)
{
    struct secret_get *get = arg;
    if (reply->error)
        get->cb(get->arg, reply, NULL);
    else
        tell_secret(get, reply);
    free(get);
}

int dv_kube_secret_get(struct dv_kube_client *client, const char *namespace, const char *name,
                       dv_kube_secret_callback *cb, void *arg)
{
    dv_cleanup(dv_str_done) struct dv_str path = {0};
    struct secret_get *get = malloc(sizeof *get);
    int r = dv_kube_client_path(&path, "/api/v1/namespaces/%s/secrets/%s", namespace, name);
    if (!get || r < 0) {
        free(get);
        return -ENOMEM;
    }
    *get = (struct secret_get){cb, arg};
    struct dv_kube_request request = {.verb = DV_KUBE_GET, .path = dv_str_get(&path), .drop = free};
    r = dv_kube_client_call(client, &request, on_secret, get, NULL);
    if (r < 0)
        free(get);
    return r;
}

static struct dv_output *secret_body(const struct dv_kube_secret *s)
{
    struct dv_output *body = dv_output_new(NULL);
    struct dv_output_node *root = dv_output_root(body);
    struct dv_output_node *meta = dv_output_object(root, "metadata");
    dv_output_string(root, "apiVersion", "v1");
    dv_output_string(root, "kind", "Secret");
    dv_output_string(meta, "namespace", s->namespace);
    dv_output_string(meta, "name", s->name);
    if (*s->version)
        dv_output_string(meta, "resourceVersion", s->version);
    if (*s->type)
        dv_output_string(root, "type", s->type);
    struct dv_output_node *data = dv_output_object(root, "data");
    for (uint32_t i = 0; i < s->n; i++) {
        struct dv_str text = {0};
        dv_base64_add(s->entries[i].data, s->entries[i].len, &text);
        dv_output_string(data, s->entries[i].key, dv_str_get(&text));
        bool failed = text.failed;
        dv_str_done(&text);
        if (failed)
            dv_output_free(&body);
        if (!body)
            return NULL;
    }
    return body;
}

int dv_kube_secret_put(struct dv_kube_client *client, const struct dv_kube_secret *secret,
                       dv_kube_callback *cb, void *arg, struct dv_kube_call **ret)
{
    dv_cleanup(dv_str_done) struct dv_str path = {0};
    struct dv_kube_request request = {.verb = DV_KUBE_CREATE};
    int r = dv_kube_client_path(&path, "/api/v1/namespaces/%s/secrets", secret->namespace);
    if (*secret->version) {
        request.verb = DV_KUBE_MERGE; /* whoever made it keeps labels and annotations there */
        r = r < 0 ? r : dv_kube_client_path(&path, "/%s", secret->name);
    }
    if (r < 0)
        return r;
    request.path = dv_str_get(&path);
    struct dv_output *body = secret_body(secret);
    return dv_kube_client_send(client, &request, &body, cb, arg, ret);
}

/* ---- NodeFeature ---------------------------------------------------------------------------- */

int dv_kube_nodefeature_apply(struct dv_kube_client *client, const char *namespace,
                              const char *name, const char *node, const struct dv_kube_pair *labels,
                              uint32_t n, dv_kube_callback *cb, void *arg,
                              struct dv_kube_call **ret)
{
    dv_cleanup(dv_str_done) struct dv_str path = {0};
    int r = dv_kube_client_path(&path,
                                "/apis/nfd.k8s-sigs.io/v1alpha1/namespaces/%s/nodefeatures/%s"
                                "?fieldManager=" FIELD_MANAGER "&force=true",
                                namespace, name);
    if (r < 0)
        return r;
    struct dv_output *body = dv_output_new(NULL);
    struct dv_output_node *root = dv_output_root(body);
    dv_output_string(root, "apiVersion", "nfd.k8s-sigs.io/v1alpha1");
    dv_output_string(root, "kind", "NodeFeature");
    struct dv_output_node *meta = dv_output_object(root, "metadata");
    dv_output_string(meta, "name", name);
    dv_output_string(meta, "namespace", namespace);
    dv_output_string(dv_output_object(meta, "labels"), "nfd.node.kubernetes.io/node-name", node);
    struct dv_output_node *spec = dv_output_object(root, "spec");
    struct dv_output_node *features = dv_output_object(spec, "features");
    dv_output_object(features, "flags"); /* needed, though empty */
    dv_output_object(features, "attributes");
    dv_output_object(features, "instances");
    struct dv_output_node *to = dv_output_object(spec, "labels");
    for (uint32_t i = 0; i < n; i++)
        if (labels[i].value)
            dv_output_string(to, labels[i].key, labels[i].value);
    struct dv_kube_request request = {.verb = DV_KUBE_APPLY, .path = dv_str_get(&path)};
    return dv_kube_client_send(client, &request, &body, cb, arg, ret);
}

/* ---- TokenReview ---------------------------------------------------------------------------- */

struct review {
    dv_kube_identity_callback *cb;
    void *arg;
};

static void on_review(void *arg, const struct dv_kube_reply *reply)
{
    struct review *review = arg;
    struct json_object *status = dv_kube_json_at(reply->body, "status", NULL);
    struct json_object *groups = dv_kube_json_at(status, "user", "groups", NULL);
    struct dv_kube_identity who = {
        .authenticated = dv_kube_json_true(status, "authenticated", NULL),
        .username = dv_kube_json_text(status, "user", "username", NULL),
        .uid = dv_kube_json_text(status, "user", "uid", NULL),
        .error = dv_kube_json_text(status, "error", NULL),
    };
    size_t n = DV_MIN(dv_kube_json_length(groups), DV_ARRAY_SIZE(who.groups));
    for (size_t i = 0; i < n; i++)
        who.groups[who.n_groups++] = dv_kube_json_text(dv_kube_json_item(groups, i), NULL);
    review->cb(review->arg, reply, reply->error ? NULL : &who);
    free(review);
}

int dv_kube_token_review(struct dv_kube_client *client, const char *token, const char *audience,
                         dv_kube_identity_callback *cb, void *arg)
{
    struct review *review = malloc(sizeof *review);
    if (!review)
        return -ENOMEM;
    *review = (struct review){cb, arg};
    struct dv_output *body = dv_output_new(NULL);
    struct dv_output_node *root = dv_output_root(body);
    dv_output_string(root, "apiVersion", "authentication.k8s.io/v1");
    dv_output_string(root, "kind", "TokenReview");
    struct dv_output_node *spec = dv_output_object(root, "spec");
    dv_output_string(spec, "token", token);
    if (audience)
        dv_output_string(dv_output_array(spec, "audiences"), NULL, audience);
    struct dv_kube_request request = {.verb = DV_KUBE_CREATE,
                                      .path = "/apis/authentication.k8s.io/v1/tokenreviews",
                                      .drop = free};
    int r = dv_kube_client_send(client, &request, &body, on_review, review, NULL);
    if (r < 0)
        free(review);
    return r;
}

/* ---- MutatingWebhookConfiguration ----------------------------------------------------------- */

struct set_ca {
    struct dv_kube_client *client;
    dv_kube_callback *cb;
    void *arg;
    struct dv_str path;
    struct dv_str ca; /* base64 */
    bool only_missing;
    char **replaced; /* NULL: nobody remembers */
};

static void set_ca_free(void *arg)
{
    struct set_ca *op = arg;
    dv_str_done(&op->path);
    dv_str_done(&op->ca);
    free(op);
}

static bool is_to_stay(const struct set_ca *op, const char *has)
{
    if (!strcmp(has, dv_str_get(&op->ca)))
        return true;
    return op->only_missing && *has &&
           !(op->replaced && *op->replaced && !strcmp(has, *op->replaced));
}

static void remember(const struct set_ca *op, const char *had)
{
    char *copy = op->replaced ? strdup(had) : NULL;
    if (!copy)
        return;
    free(*op->replaced);
    *op->replaced = copy;
}

/* What has to change; an empty list: nothing. */
static struct dv_output *ca_patch(const struct set_ca *op, struct json_object *o, size_t *ret_n)
{
    struct json_object *hooks = dv_kube_json_at(o, "webhooks", NULL);
    struct dv_output *body = dv_output_new(NULL);
    struct dv_output_node *root = dv_output_root(body);
    dv_output_string(dv_output_object(root, "metadata"), "resourceVersion",
                     dv_kube_json_text(o, "metadata", "resourceVersion", NULL));
    struct dv_output_node *list = dv_output_array(root, "webhooks");
    const char *first = NULL;
    *ret_n = 0;
    for (size_t i = 0; i < dv_kube_json_length(hooks); i++) {
        struct json_object *hook = dv_kube_json_item(hooks, i);
        const char *has = dv_kube_json_text(hook, "clientConfig", "caBundle", NULL);
        if (is_to_stay(op, has))
            continue;
        if (*has && !first)
            first = has;
        struct dv_output_node *one = dv_output_object(list, NULL);
        dv_output_string(one, "name", dv_kube_json_text(hook, "name", NULL));
        dv_output_string(dv_output_object(one, "clientConfig"), "caBundle", dv_str_get(&op->ca));
        ++*ret_n;
    }
    if (first)
        remember(op, first);
    return body;
}

static void on_webhooks(void *arg, const struct dv_kube_reply *reply)
{
    struct set_ca *op = arg;
    struct dv_kube_reply failed = *reply;
    size_t n = 0;
    struct dv_output *body = reply->error ? NULL : ca_patch(op, reply->body, &n);
    if (reply->error || (body && !n)) {
        op->cb(op->arg, reply);
    } else { /* strategic: webhooks are merged by their names */
        struct dv_kube_request request = {.verb = DV_KUBE_STRATEGIC, .path = dv_str_get(&op->path)};
        failed.error = dv_kube_client_send(op->client, &request, &body, op->cb, op->arg, NULL);
        snprintf(failed.message, sizeof failed.message, "PATCH %.200s: %s", dv_str_get(&op->path),
                 strerror(-failed.error));
        if (failed.error)
            op->cb(op->arg, &failed);
    }
    dv_output_free(&body);
    set_ca_free(op);
}

int dv_kube_webhook_set_ca(struct dv_kube_client *client, const char *name, const char *ca_pem,
                           bool only_missing, char **replaced, dv_kube_callback *cb, void *arg)
{
    struct set_ca *op = calloc(1, sizeof *op);
    if (!op)
        return -ENOMEM;
    op->client = client;
    op->only_missing = only_missing;
    op->replaced = replaced;
    op->cb = cb;
    op->arg = arg;
    int r = dv_kube_client_path(
        &op->path, "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/%s", name);
    dv_base64_add(ca_pem, strlen(ca_pem), &op->ca);
    struct dv_kube_request request = {
        .verb = DV_KUBE_GET, .path = dv_str_get(&op->path), .drop = set_ca_free};
    r = r < 0 || op->ca.failed ? -ENOMEM
                               : dv_kube_client_call(client, &request, on_webhooks, op, NULL);
    if (r < 0)
        set_ca_free(op);
    return r;
}
