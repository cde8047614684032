/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which units have been handed out together, in the order in which that happened.
 *
 * Of a unit the newest allocation counts, and those before it are old. They are kept for a while:
 * the kubelet gives what an init container has to the containers after it too, and asks for all of
 * them before the first starts, so that an old one may still have its start before it. What is
 * dropped is the oldest of more than DV_ALLOCATED_OLD_MAX; and of DV_ALLOCATED_MAX the first, old
 * or not: units that are gone for good have no newer one.
 *
 *     dv_allocated_make("nvidia.com/gpu", ids, n, &a);
 *     dv_allocated_add(&list, &a);
 *     while ((old = dv_allocated_surplus(&list)))
 *         ... dv_allocated_remove(&list, old);
 */
#ifndef DV_SERVICES_KUBERNETES_ALLOCATED_H
#define DV_SERVICES_KUBERNETES_ALLOCATED_H

#include <stdbool.h>
#include <stddef.h>

#define DV_ALLOCATED_MAX 16384u
#define DV_ALLOCATED_OLD_MAX 128u
#define DV_ALLOCATED_NAME 24

struct dv_allocated {
    char name[DV_ALLOCATED_NAME]; /* made of resource and units, whatever order they come in */
    char *resource;
    char **units; /* sorted; all texts are its own */
    size_t n;
    bool old;
    bool written; /* the caller's */
};

struct dv_allocated_list {
    struct dv_allocated *all;
    size_t n;
};

/* 0 or -ENOMEM. */
int dv_allocated_make(const char *resource, const char *const *units, size_t n,
                      struct dv_allocated *ret);
void dv_allocated_done(struct dv_allocated *a);
/* Takes it, also when that fails; the same one from before goes. 0 or -ENOMEM. */
int dv_allocated_add(struct dv_allocated_list *list, struct dv_allocated *a);
/* One that is to be dropped, or NULL. */
struct dv_allocated *dv_allocated_surplus(const struct dv_allocated_list *list);
void dv_allocated_remove(struct dv_allocated_list *list, struct dv_allocated *a);
void dv_allocated_list_done(struct dv_allocated_list *list);

#endif
