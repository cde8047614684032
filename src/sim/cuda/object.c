/* SPDX-License-Identifier: Apache-2.0 */
/* Handles: recycled within their type, so that a stale one is dead but never wild. */
#include "driver.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct dv_cuobject *free_list[DV_CU_TYPES];

void *dv_cuobject_new(enum dv_cutype type, size_t bytes)
{
    pthread_mutex_lock(&lock);
    struct dv_cuobject *o = free_list[type];
    if (o)
        free_list[type] = o->next;
    pthread_mutex_unlock(&lock);
    if (!o)
        o = malloc(bytes);
    if (!o)
        return NULL;
    memset(o, 0, bytes);
    o->type = type;
    __atomic_store_n(&o->live, DV_CU_LIVE | type, __ATOMIC_RELEASE);
    return o;
}

void dv_cuobject_free(void *object)
{
    struct dv_cuobject *o = object;
    if (!o)
        return;
    __atomic_store_n(&o->live, 0, __ATOMIC_RELEASE);
    pthread_mutex_lock(&lock);
    o->next = free_list[o->type];
    free_list[o->type] = o;
    pthread_mutex_unlock(&lock);
}
