/* SPDX-License-Identifier: Apache-2.0 */
/* Names as small numbers: the first is 0, the next 1, a name that is known keeps its number. */
#ifndef DV_MODEL_NAMES_H
#define DV_MODEL_NAMES_H

#include "base/macros.h"

#define DV_NAMES_NONE UINT32_MAX

struct dv_names { /* all zero: empty */
    char **v;
    uint32_t n, capacity;
    uint32_t *slots; /* a hash table over v, number + 1; 0: free */
    uint32_t n_slots;
};

void dv_names_done(struct dv_names *names);
/* The text's number, a new one where it has none. -ENOMEM. */
int dv_names_add(struct dv_names *names, const char *text, uint32_t *ret);
/* DV_NAMES_NONE where it has none. */
uint32_t dv_names_find(const struct dv_names *names, const char *text);

#endif
