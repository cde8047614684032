/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/known.h"

#include "kube/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void dv_kube_known_object_done(struct dv_kube_known_object *o)
{
    free(o->namespace);
    free(o->name);
    free(o->uid);
    free(o->version);
    *o = (struct dv_kube_known_object){0};
}

void dv_kube_known_done(struct dv_kube_known *k)
{
    for (uint32_t i = 0; i < k->n; i++)
        dv_kube_known_object_done(&k->objects[i]);
    free(k->objects);
    *k = (struct dv_kube_known){0};
}

void dv_kube_known_begin(struct dv_kube_known *k)
{
    k->list++;
    k->stale_at = 0;
}

/* Where it is, or where it belongs. */
static uint32_t locate(const struct dv_kube_known *k, const char *namespace, const char *name,
                       bool *ret_there)
{
    uint32_t low = 0, high = k->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct dv_kube_known_object *o = &k->objects[middle];
        int c = strcmp(namespace, o->namespace);
        c = c ? c : strcmp(name, o->name);
        if (c == 0) {
            *ret_there = true;
            return middle;
        }
        if (c < 0)
            high = middle;
        else
            low = middle + 1;
    }
    *ret_there = false;
    return low;
}

static int grow(struct dv_kube_known *k)
{
    if (k->n < k->cap)
        return 0;
    if (k->n >= DV_KUBE_OBJECTS_MAX)
        return -E2BIG;
    uint32_t cap = k->cap ? k->cap * 2 : 16;
    struct dv_kube_known_object *objects = realloc(k->objects, cap * sizeof *objects);
    if (!objects)
        return -ENOMEM;
    k->objects = objects;
    k->cap = cap;
    return 0;
}

static int insert(struct dv_kube_known *k, uint32_t at, const char *namespace, const char *name,
                  const char *uid, const char *version)
{
    int r = grow(k);
    if (r < 0)
        return r;
    struct dv_kube_known_object o = {strdup(namespace), strdup(name), strdup(uid), strdup(version),
                                     k->list};
    if (!o.namespace || !o.name || !o.uid || !o.version) {
        dv_kube_known_object_done(&o);
        return -ENOMEM;
    }
    memmove(&k->objects[at + 1], &k->objects[at], (k->n - at) * sizeof o);
    k->objects[at] = o;
    k->n++;
    return 0;
}

/* All or nothing. */
static int renew(struct dv_kube_known_object *o, const char *uid, const char *version,
                 char **ret_old_uid)
{
    bool replaced = strcmp(o->uid, uid) != 0;
    char *v = strdup(version), *u = replaced ? strdup(uid) : NULL;
    if (!v || (replaced && !u)) {
        free(v);
        free(u);
        return -ENOMEM;
    }
    free(o->version);
    o->version = v;
    if (replaced) {
        *ret_old_uid = o->uid;
        o->uid = u;
    }
    return 0;
}

int dv_kube_known_put(struct dv_kube_known *k, const char *namespace, const char *name,
                      const char *uid, const char *version, enum dv_kube_known_put *ret,
                      char **ret_old_uid)
{
    bool there;
    uint32_t at = locate(k, namespace, name, &there);
    char *old = NULL;
    *ret_old_uid = NULL;
    if (!there) {
        *ret = DV_KUBE_KNOWN_NEW;
        return insert(k, at, namespace, name, uid, version);
    }
    struct dv_kube_known_object *o = &k->objects[at];
    o->list = k->list;
    if (strcmp(o->uid, uid) == 0 && strcmp(o->version, version) == 0) {
        *ret = DV_KUBE_KNOWN_SAME;
        return 0;
    }
    int r = renew(o, uid, version, &old);
    if (r < 0)
        return r;
    *ret = old ? DV_KUBE_KNOWN_REPLACED : DV_KUBE_KNOWN_CHANGED;
    *ret_old_uid = old;
    return 0;
}

static void cut(struct dv_kube_known *k, uint32_t at)
{
    k->n--;
    memmove(&k->objects[at], &k->objects[at + 1], (k->n - at) * sizeof *k->objects);
}

bool dv_kube_known_remove(struct dv_kube_known *k, const char *namespace, const char *name)
{
    bool there;
    uint32_t at = locate(k, namespace, name, &there);
    if (!there)
        return false;
    dv_kube_known_object_done(&k->objects[at]);
    cut(k, at);
    k->stale_at = 0;
    return true;
}

bool dv_kube_known_stale(struct dv_kube_known *k, struct dv_kube_known_object *ret)
{
    for (; k->stale_at < k->n; k->stale_at++) {
        if (k->objects[k->stale_at].list == k->list)
            continue;
        *ret = k->objects[k->stale_at];
        cut(k, k->stale_at);
        return true;
    }
    return false;
}
