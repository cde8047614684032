/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_MIN ((size_t)1 << 10)

struct dv_arena_block {
    struct dv_arena_block *before;
    size_t size, used; /* of data */
    alignas(max_align_t) char data[];
};

static void free_from(struct dv_arena_block *block)
{
    while (block) {
        struct dv_arena_block *before = block->before;
        free(block);
        block = before;
    }
}

void dv_arena_done(struct dv_arena *a)
{
    if (!a)
        return;
    free_from(a->last);
    a->last = NULL;
}

void dv_arena_clear(struct dv_arena *a)
{
    struct dv_arena_block *kept = a->last;
    if (kept && kept->size > DV_ARENA_BLOCK_MAX) {
        dv_arena_done(a);
    } else if (kept) {
        free_from(kept->before);
        kept->before = NULL;
        kept->used = 0;
    }
}

/* A block that has room for `size`, twice as large as the one before. */
static struct dv_arena_block *add_block(struct dv_arena *a, size_t size)
{
    size_t whole = a->last ? 2 * (a->last->size + sizeof *a->last) : BLOCK_MIN;
    whole = DV_MIN(whole, DV_ARENA_BLOCK_MAX);
    if (__builtin_add_overflow(size, sizeof *a->last, &size))
        return NULL;
    whole = DV_MAX(whole, size);
    struct dv_arena_block *block = malloc(whole);
    if (!block)
        return NULL;
    block->before = a->last;
    block->size = whole - sizeof *block;
    block->used = 0;
    a->last = block;
    return block;
}

static void *take(struct dv_arena *a, size_t size, size_t align)
{
    struct dv_arena_block *block = a->last;
    size_t at = block ? (block->used + align - 1) / align * align : 0;
    if (!block || at > block->size || size > block->size - at) {
        block = add_block(a, size);
        at = 0;
    }
    if (!block)
        return NULL;
    block->used = at + size;
    return block->data + at;
}

void *dv_arena_alloc(struct dv_arena *a, size_t size)
{
    void *p = take(a, size, alignof(max_align_t));
    return p ? memset(p, 0, size) : NULL;
}

const char *dv_arena_text(struct dv_arena *a, const char *text)
{
    size_t size = strlen(text) + 1;
    char *p = take(a, size, 1);
    return p ? memcpy(p, text, size) : NULL;
}
