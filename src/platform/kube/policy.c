/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/policy.h"

#include "kube/internal.h"
#include "kube/json.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#define PATH "/apis/nvidia.com/v1/clusterpolicies"
#define UID_SIZE 64

struct policy {
    char uid[UID_SIZE];
    char created[32]; /* as the server writes it, which sorts by time */
    char *name, *text;
};

struct dv_kube_policy_watch {
    struct dv_kube_watch *watch;
    dv_kube_policy_callback *cb;
    void *arg;
    uint32_t n;
    struct policy policies[DV_KUBE_POLICIES_MAX];
    char *told; /* the text; NULL: none, or nothing yet */
    bool synced, told_any;
};

static void policy_done(struct policy *p)
{
    free(p->name);
    free(p->text);
    *p = (struct policy){0};
}

static struct policy *find(struct dv_kube_policy_watch *w, const char *uid)
{
    for (uint32_t i = 0; i < w->n; i++)
        if (!strcmp(w->policies[i].uid, uid))
            return &w->policies[i];
    return NULL;
}

/* What of the object counts: its status is written all the time. NULL: memory is out. */
static char *text_of(struct json_object *object)
{
    struct json_object *o = json_object_new_object(), *meta = json_object_new_object();
    struct json_object *spec = dv_kube_json_at(object, "spec", NULL);
    const char *name = dv_kube_json_text(object, "metadata", "name", NULL);
    char *text = NULL;
    if (!o || !meta) {
        json_object_put(o);
        json_object_put(meta);
        return NULL;
    }
    json_object_object_add(o, "apiVersion", json_object_new_string("nvidia.com/v1"));
    json_object_object_add(o, "kind", json_object_new_string("ClusterPolicy"));
    json_object_object_add(meta, "name", json_object_new_string(name));
    json_object_object_add(o, "metadata", meta);
    json_object_object_add(o, "spec", json_object_get(spec));
    const char *lent = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY);
    if (lent)
        text = strdup(lent);
    json_object_put(o);
    return text;
}

static void put(struct dv_kube_policy_watch *w, struct json_object *object)
{
    const char *uid = dv_kube_json_text(object, "metadata", "uid", NULL);
    struct policy *p = find(w, uid);
    char *text = text_of(object);
    char *name = strdup(dv_kube_json_text(object, "metadata", "name", NULL));
    if (!p && w->n < DV_KUBE_POLICIES_MAX && text && name)
        p = &w->policies[w->n++];
    if (!p || !text || !name) {
        free(text);
        free(name);
        return;
    }
    policy_done(p);
    p->name = name;
    p->text = text;
    dv_str_copy(p->uid, sizeof p->uid, uid);
    dv_str_copy(p->created, sizeof p->created,
                dv_kube_json_text(object, "metadata", "creationTimestamp", NULL));
}

static void drop(struct dv_kube_policy_watch *w, struct json_object *object)
{
    struct policy *p = find(w, dv_kube_json_text(object, "metadata", "uid", NULL));
    if (!p)
        return;
    policy_done(p);
    *p = w->policies[--w->n];
    w->policies[w->n] = (struct policy){0};
}

static const struct policy *oldest(const struct dv_kube_policy_watch *w)
{
    const struct policy *best = NULL;
    for (uint32_t i = 0; i < w->n; i++) {
        const struct policy *p = &w->policies[i];
        int by_time = best ? strcmp(p->created, best->created) : -1;
        if (by_time < 0 || (by_time == 0 && strcmp(p->name, best->name) < 0))
            best = p;
    }
    return best;
}

static void tell(struct dv_kube_policy_watch *w)
{
    const struct policy *p = oldest(w);
    const char *text = p ? p->text : NULL;
    bool same = text && w->told ? !strcmp(text, w->told) : !text && !w->told;
    if (same && w->told_any)
        return;
    char *told = text ? strdup(text) : NULL;
    if (text && !told)
        return; /* with the next change */
    free(w->told);
    w->told = told;
    w->told_any = true;
    w->cb(w->arg, p ? p->name : "", text, text ? strlen(text) : 0);
}

static void on_change(void *arg, enum dv_kube_change change, struct json_object *object)
{
    struct dv_kube_policy_watch *w = arg;
    if (change == DV_KUBE_SYNCED)
        w->synced = true;
    else if (change == DV_KUBE_DELETED)
        drop(w, object);
    else
        put(w, object);
    if (w->synced)
        tell(w);
}

int dv_kube_policy_watch(struct dv_kube_client *client, dv_kube_policy_callback *cb, void *arg,
                         struct dv_kube_policy_watch **ret)
{
    struct dv_kube_policy_watch *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->cb = cb;
    w->arg = arg;
    struct dv_kube_watch_spec spec = {.path = PATH, .cb = on_change, .arg = w};
    int r = dv_kube_watch_start(client, &spec, &w->watch);
    if (r < 0) {
        free(w);
        return r;
    }
    *ret = w;
    return 0;
}

void dv_kube_policy_watch_free(struct dv_kube_policy_watch *w)
{
    if (!w)
        return;
    dv_kube_watch_free(w->watch);
    for (uint32_t i = 0; i < w->n; i++)
        policy_done(&w->policies[i]);
    free(w->told);
    free(w);
}

void dv_kube_policy_watch_state(const struct dv_kube_policy_watch *w,
                                struct dv_kube_watch_state *ret)
{
    dv_kube_watch_state(w->watch, ret);
}
