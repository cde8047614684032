/* SPDX-License-Identifier: Apache-2.0 */
#include "lookup.h"

#include "abi_cuda.h"
#include "governor.h"
#include "wire.h"

#include <string.h>

#define PLACES 1024 /* a power of two, more than twice the hooks */

struct place {
    void *original, *wrapper;
};
static struct place places[PLACES];

static unsigned place_of(const void *p)
{
    uint64_t h = (uint64_t)p * UINT64_C(0x9E3779B97F4A7C15);
    return (unsigned)(h >> 54) & (PLACES - 1);
}

_Static_assert(DV_F_COUNT < PLACES / 2, "make it larger");

/* The first name wins where the driver has two for one function. */
static void add(void *original, void *wrapper)
{
    unsigned i = place_of(original);
    while (places[i].original && places[i].original != original)
        i = (i + 1) & (PLACES - 1);
    if (!places[i].original)
        places[i] = (struct place){original, wrapper};
}

void dv_lookup_build(void)
{
    for (unsigned i = 0; i < dv_hooks_count; i++)
        if (strncmp(dv_hooks[i].name, "nvml", 4) != 0 && dv_start_original(dv_hooks[i].name))
            add(dv_original[dv_hooks[i].original], dv_hooks[i].wrapper);
}

void *dv_hook_for(void *address)
{
    for (unsigned i = place_of(address); places[i].original; i = (i + 1) & (PLACES - 1))
        if (places[i].original == address)
            return places[i].wrapper;
    return address;
}

void *dv_hook_find(const char *name)
{
    unsigned low = 0, high = dv_hooks_count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        int c = strcmp(name, dv_hooks[middle].name);
        if (c == 0)
            return dv_hooks[middle].wrapper;
        if (c < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* ---- a driver whose lookup gives other addresses than its symbol table ----------------------- */

enum { ANY, PTSZ, PTDS };

struct symbol {
    const char *base, *symbol;
    int version, stream;
};

static const struct symbol symbols[] = {
#define DV_CUDA_SYMBOL(base, symbol, version, stream) {#base, #symbol, version, stream},
#include "abi_cuda_names.def"
#undef DV_CUDA_SYMBOL
};

/* By the rules of the interface: the newest version that the caller knows, of its kind of stream.
 */
static void *wrapper_by_rule(const char *name, int version, uint64_t flags)
{
    const struct symbol *best = NULL;
    bool per_thread = flags & DV_CUDA_PROC_PER_THREAD_STREAM;
    for (unsigned i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        const struct symbol *s = &symbols[i];
        if (strcmp(s->base, name) != 0 || s->version > version || (s->stream != ANY && !per_thread))
            continue;
        bool better = !best || (s->stream != ANY) > (best->stream != ANY) ||
                      ((s->stream != ANY) == (best->stream != ANY) && s->version > best->version);
        best = better ? s : best;
    }
    return best ? dv_hook_find(best->symbol) : NULL;
}

static void *replace(const char *name, void *found, int version, uint64_t flags)
{
    void *wrapper = dv_hook_for(found);
    if (wrapper != found)
        return wrapper;
    wrapper = wrapper_by_rule(name, version, flags);
    return wrapper ? wrapper : found;
}

int dv_on_proc_address(unsigned original, const char *name, void **ret, int version, uint64_t flags)
{
    int r = DV_ORIGINAL_AS(cuGetProcAddress, original)(name, ret, version, flags);
    if (!r && name && ret && *ret)
        *ret = replace(name, *ret, version, flags);
    return r;
}

int dv_on_proc_address_v2(unsigned original, const char *name, void **ret, int version,
                          uint64_t flags, int *ret_status)
{
    int r = DV_ORIGINAL_AS(cuGetProcAddress_v2, original)(name, ret, version, flags, ret_status);
    if (!r && name && ret && *ret)
        *ret = replace(name, *ret, version, flags);
    return r;
}
