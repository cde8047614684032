/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The search of cuGetProcAddress, in a table of our own (never dlsym, which a preloaded library may
 * answer).
 *
 * A name is a base name ("cuMemAlloc"): of its symbols the newest with a version at or below the
 * asked one is meant, and with PER_THREAD_DEFAULT_STREAM the per-thread variant where there is
 * one. Also taken is the exact name of an exported symbol without a stream variant
 * ("cuMemAlloc_v2"), if the asked version has it.
 */
#include "driver.h"

enum variant {
    ANY,
    PTSZ,
    PTDS,
};

#define DV_CUDA_SYMBOL(base, symbol, version, stream) int symbol(void);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#include "abi_cuda_names.def"
#pragma GCC diagnostic pop
#undef DV_CUDA_SYMBOL

static const struct symbol {
    const char *base, *name;
    int (*function)(void);
    uint32_t version;
    enum variant variant;
} symbols[] = {
#define DV_CUDA_SYMBOL(base, symbol, version, stream) {#base, #symbol, symbol, version, stream},
#include "abi_cuda_names.def"
#undef DV_CUDA_SYMBOL
};
#define N_SYMBOLS (sizeof(symbols) / sizeof(symbols[0]))

/* The first row of this base name; the table is sorted by it. */
static const struct symbol *first_of(const char *base)
{
    size_t low = 0, high = N_SYMBOLS;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(symbols[middle].base, base) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < N_SYMBOLS && strcmp(symbols[low].base, base) == 0 ? &symbols[low] : NULL;
}

static const struct symbol *exact(const char *name)
{
    for (size_t i = 0; i < N_SYMBOLS; i++)
        if (symbols[i].variant == ANY && strcmp(symbols[i].name, name) == 0)
            return &symbols[i];
    return NULL;
}

static const struct symbol *newest(const struct symbol *first, uint32_t version, bool per_thread)
{
    const struct symbol *best = NULL;
    for (const struct symbol *s = first;
         s < symbols + N_SYMBOLS && strcmp(s->base, first->base) == 0; s++)
        if ((s->variant != ANY) == per_thread && s->version <= version &&
            (!best || s->version >= best->version))
            best = s;
    return best;
}

int dv_cusymbols_find(const char *name, int version, uint64_t flags, void **ret)
{
    int status = DV_CUDA_SYMBOL_NOT_FOUND;
    const struct symbol *first = first_of(name), *found = NULL;
    *ret = NULL;
    if (first) {
        status = DV_CUDA_SYMBOL_VERSION_NOT_SUFFICIENT;
        if (flags == DV_CUDA_PROC_PER_THREAD_STREAM)
            found = newest(first, (uint32_t)version, true);
        if (!found)
            found = newest(first, (uint32_t)version, false);
    } else if ((first = exact(name))) {
        status = DV_CUDA_SYMBOL_VERSION_NOT_SUFFICIENT;
        found = first->version <= (uint32_t)version ? first : NULL;
    }
    if (found) {
        memcpy(ret, &found->function, sizeof(*ret));
        status = DV_CUDA_SYMBOL_FOUND;
    }
    return status;
}
