/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which objects of a collection have been told, and in which version: what turns lists and watch
 * events, with repetitions and gaps, into true changes. Private to the room, no I/O.
 *
 *     dv_kube_known_begin(&k);                      a list begins
 *     r = dv_kube_known_put(&k, "ns", "name", "uid", "41", &put);
 *     while (dv_kube_known_stale(&k, &o)) ...       it has ended: what it did not show
 */
#ifndef DV_KUBE_KNOWN_H
#define DV_KUBE_KNOWN_H

#include "base/macros.h"

#include <stdbool.h>

struct dv_kube_known_object {
    char *namespace, *name; /* name: the key, with the namespace */
    char *uid, *version;
    uint32_t list; /* the last list that showed it */
};

struct dv_kube_known {
    struct dv_kube_known_object *objects; /* sorted by namespace and name */
    uint32_t n, cap;
    uint32_t list; /* number of the list that is being read */
    uint32_t stale_at;
};

enum dv_kube_known_put {
    DV_KUBE_KNOWN_SAME, /* this version has been told */
    DV_KUBE_KNOWN_NEW,
    DV_KUBE_KNOWN_CHANGED,
    DV_KUBE_KNOWN_REPLACED, /* another uid under the name: one has gone, one has come */
};

void dv_kube_known_done(struct dv_kube_known *k);
void dv_kube_known_begin(struct dv_kube_known *k);
/* REPLACED: *ret_old_uid (malloc'ed) is that of the one before, else NULL. 0, -ENOMEM, -E2BIG (more
 * than DV_KUBE_OBJECTS_MAX). */
int dv_kube_known_put(struct dv_kube_known *k, const char *namespace, const char *name,
                      const char *uid, const char *version, enum dv_kube_known_put *ret,
                      char **ret_old_uid);
/* False: it was not known. */
bool dv_kube_known_remove(struct dv_kube_known *k, const char *namespace, const char *name);
/* Takes out an object that the last list did not show; its texts go to the caller
 * (dv_kube_known_object_done). False: none is left. */
bool dv_kube_known_stale(struct dv_kube_known *k, struct dv_kube_known_object *ret);
void dv_kube_known_object_done(struct dv_kube_known_object *o);

#endif
