/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/allocated.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dv_allocated_done(struct dv_allocated *a)
{
    for (size_t i = 0; a->units && i < a->n; i++)
        free(a->units[i]);
    free(a->units);
    free(a->resource);
    *a = (struct dv_allocated){{0}};
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* FNV-1a over the resource and the sorted units. */
static void make_name(struct dv_allocated *a)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i <= a->n; i++) {
        const char *text = i ? a->units[i - 1] : a->resource;
        for (size_t k = 0; k <= strlen(text); k++)
            hash = (hash ^ (unsigned char)text[k]) * UINT64_C(0x100000001b3);
    }
    snprintf(a->name, sizeof a->name, "a%016llx", (unsigned long long)hash);
}

int dv_allocated_make(const char *resource, const char *const *units, size_t n,
                      struct dv_allocated *ret)
{
    struct dv_allocated a = {.resource = strdup(resource),
                             .units = calloc(n ? n : 1, sizeof(char *))};
    bool whole = a.resource && a.units;
    for (a.n = 0; whole && a.n < n; a.n++)
        whole = (a.units[a.n] = strdup(units[a.n])) != NULL;
    if (!whole) {
        dv_allocated_done(&a);
        return -ENOMEM;
    }
    qsort(a.units, a.n, sizeof *a.units, by_text);
    make_name(&a);
    *ret = a;
    return 0;
}

static bool share_a_unit(const struct dv_allocated *a, const struct dv_allocated *b)
{
    for (size_t i = 0, k = 0; i < a->n && k < b->n;) {
        int order = strcmp(a->units[i], b->units[k]);
        if (order == 0)
            return true;
        if (order < 0)
            i++;
        else
            k++;
    }
    return false;
}

void dv_allocated_remove(struct dv_allocated_list *list, struct dv_allocated *a)
{
    size_t at = (size_t)(a - list->all);
    dv_allocated_done(a);
    list->n--;
    memmove(a, a + 1, (list->n - at) * sizeof *a);
}

int dv_allocated_add(struct dv_allocated_list *list, struct dv_allocated *a)
{
    struct dv_allocated *more =
        list->n < DV_ALLOCATED_MAX ? realloc(list->all, (list->n + 1) * sizeof *more) : NULL;
    if (!more) {
        dv_allocated_done(a);
        return -ENOMEM;
    }
    list->all = more;
    for (size_t i = list->n; i--;) {
        if (!strcmp(more[i].name, a->name))
            dv_allocated_remove(list, &more[i]);
        else
            more[i].old |= share_a_unit(&more[i], a);
    }
    more[list->n++] = *a;
    *a = (struct dv_allocated){{0}};
    return 0;
}

struct dv_allocated *dv_allocated_surplus(const struct dv_allocated_list *list)
{
    struct dv_allocated *oldest = NULL;
    size_t n = 0;
    for (size_t i = list->n; i--;) {
        if (list->all[i].old) {
            oldest = &list->all[i];
            n++;
        }
    }
    if (n > DV_ALLOCATED_OLD_MAX)
        return oldest;
    return list->n >= DV_ALLOCATED_MAX ? list->all : NULL;
}

void dv_allocated_list_done(struct dv_allocated_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        dv_allocated_done(&list->all[i]);
    free(list->all);
    *list = (struct dv_allocated_list){0};
}
