/* SPDX-License-Identifier: Apache-2.0 */
#include "model/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void dv_names_done(struct dv_names *names)
{
    for (uint32_t i = 0; i < names->n; i++)
        free(names->v[i]);
    free(names->v);
    free(names->slots);
    *names = (struct dv_names){0};
}

/* FNV-1a: short names, no adversary who gains from a slow table. */
static uint32_t hash(const char *text)
{
    uint32_t h = 2166136261u;
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 16777619u;
    return h ^ h >> 15;
}

/* Where the text is, or would be. */
static uint32_t slot_of(const struct dv_names *names, const char *text)
{
    uint32_t at = hash(text) & (names->n_slots - 1);
    while (names->slots[at] && strcmp(names->v[names->slots[at] - 1], text) != 0)
        at = (at + 1) & (names->n_slots - 1);
    return at;
}

static int grow(struct dv_names *names)
{
    uint32_t capacity = names->capacity ? names->capacity * 2 : 16;
    char **v = realloc(names->v, capacity * sizeof *v);
    if (!v)
        return -ENOMEM;
    names->v = v;
    uint32_t *slots = calloc((size_t)capacity * 2, sizeof *slots);
    if (!slots)
        return -ENOMEM;
    free(names->slots);
    names->slots = slots;
    names->n_slots = capacity * 2;
    names->capacity = capacity;
    for (uint32_t i = 0; i < names->n; i++)
        slots[slot_of(names, names->v[i])] = i + 1;
    return 0;
}

int dv_names_add(struct dv_names *names, const char *text, uint32_t *ret)
{
    uint32_t known = dv_names_find(names, text);
    if (known != DV_NAMES_NONE) {
        *ret = known;
        return 0;
    }
    if (names->n == names->capacity && grow(names) < 0)
        return -ENOMEM;
    char *copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    names->v[names->n] = copy;
    names->slots[slot_of(names, text)] = names->n + 1;
    *ret = names->n++;
    return 0;
}

uint32_t dv_names_find(const struct dv_names *names, const char *text)
{
    return names->n ? names->slots[slot_of(names, text)] - 1 : DV_NAMES_NONE;
}
