/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for many small things that go all at once: cheaper than an allocation each, in time and in
 * what each costs beside itself.
 *
 *     dv_cleanup(dv_arena_done) struct dv_arena arena = {0};
 *     struct node *n = dv_arena_alloc(&arena, sizeof *n);
 *     const char *name = dv_arena_text(&arena, "web");
 *     dv_arena_clear(&arena);       both are gone
 */
#ifndef DV_BASE_ARENA_H
#define DV_BASE_ARENA_H

#include "base/macros.h"

#define DV_ARENA_BLOCK_MAX ((size_t)64 << 10) /* of one allocation, unless one thing is larger */

struct dv_arena_block;

struct dv_arena {
    struct dv_arena_block *last;
};

void dv_arena_done(struct dv_arena *a);
/* Forgets all that it holds; keeps a block of the usual size for what comes next. */
void dv_arena_clear(struct dv_arena *a);
/* Zeroed, for any type; NULL when memory is out. */
void *dv_arena_alloc(struct dv_arena *a, size_t size);
/* A copy; NULL when memory is out. */
const char *dv_arena_text(struct dv_arena *a, const char *text);

#endif
