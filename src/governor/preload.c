/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The preload build only: dlsym and dlvsym in front of libc's. A name of the driver's, asked of a
 * handle that leads to the driver's library, is answered by the wrapper; everything else goes on to
 * libc by a jump, so that libc sees the caller's own return address (what RTLD_NEXT and
 * RTLD_DEFAULT mean depends on it).
 */
#include "governor.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>

typedef void *dlsym_function(void *handle, const char *name);

/* ---- libc's own dlsym, from its symbol table: dlsym is what we have taken ------------------- */

struct table {
    const ElfW(Sym) * symbols;
    const char *strings;
    const uint32_t *hash; /* DT_GNU_HASH */
};

static uint32_t gnu_hash(const char *name)
{
    uint32_t h = 5381;
    for (; *name; name++)
        h = h * 33 + (unsigned char)*name;
    return h;
}

/* The first definition of a name; libc's versions of dlsym are one function. */
static const ElfW(Sym) * find_symbol(const struct table *t, const char *name)
{
    uint32_t buckets = t->hash[0], first = t->hash[1], bloom = t->hash[2];
    const uint32_t *bucket = t->hash + 4 + bloom * (sizeof(ElfW(Addr)) / 4);
    const uint32_t *chain = bucket + buckets;
    uint32_t h = gnu_hash(name);
    uint32_t i = buckets ? bucket[h % buckets] : 0;
    if (i < first)
        return NULL;
    for (;; i++) {
        uint32_t here = chain[i - first];
        const ElfW(Sym) *s = &t->symbols[i];
        if ((here | 1) == (h | 1) && s->st_shndx && !strcmp(t->strings + s->st_name, name))
            return s;
        if (here & 1)
            return NULL;
    }
}

static bool read_table(const struct dl_phdr_info *object, struct table *ret)
{
    const ElfW(Dyn) *d = NULL;
    for (int i = 0; i < object->dlpi_phnum; i++)
        if (object->dlpi_phdr[i].p_type == PT_DYNAMIC)
            d = (const void *)(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr);
    *ret = (struct table){NULL, NULL, NULL};
    for (; d && d->d_tag != DT_NULL; d++) {
        const void *p = (const void *)d->d_un.d_ptr; /* glibc has relocated it */
        if (d->d_tag == DT_SYMTAB)
            ret->symbols = p;
        if (d->d_tag == DT_STRTAB)
            ret->strings = p;
        if (d->d_tag == DT_GNU_HASH)
            ret->hash = p;
    }
    return ret->symbols && ret->strings && ret->hash;
}

struct search {
    const char *name;
    void *found;
};

static int search_object(struct dl_phdr_info *object, size_t size, void *arg)
{
    (void)size;
    struct search *s = arg;
    const char *file = strrchr(object->dlpi_name, '/');
    file = file ? file + 1 : object->dlpi_name;
    struct table t;
    bool libc = !strcmp(file, "libc.so.6") || !strcmp(file, "libdl.so.2");
    if (!libc || !read_table(object, &t))
        return 0;
    const ElfW(Sym) *symbol = find_symbol(&t, s->name);
    if (symbol)
        s->found = (void *)(object->dlpi_addr + symbol->st_value);
    return symbol != NULL;
}

static void *no_dlsym(void)
{
    return NULL;
}

static void *libc_function(const char *name)
{
    struct search s = {name, NULL};
    (void)dl_iterate_phdr(search_object, &s);
    return s.found ? s.found : (void *)no_dlsym;
}

/* What the assembly below jumps to; filled by the chooser before every jump. */
__attribute__((visibility("hidden"))) void *dv_preload_libc_dlsym;
__attribute__((visibility("hidden"))) void *dv_preload_libc_dlvsym;

static void know_libc(void)
{
    if (__atomic_load_n(&dv_preload_libc_dlvsym, __ATOMIC_ACQUIRE))
        return;
    __atomic_store_n(&dv_preload_libc_dlsym, libc_function("dlsym"), __ATOMIC_RELEASE);
    __atomic_store_n(&dv_preload_libc_dlvsym, libc_function("dlvsym"), __ATOMIC_RELEASE);
}

void *dv_libc_dlsym(void *handle, const char *name)
{
    know_libc();
    return ((dlsym_function *)dv_preload_libc_dlsym)(handle, name);
}

/* Who opens the real one gets our functions from it by dlsym. */
void dv_nvml_claim_name(void)
{
}

/* ---- which lookups are ours ------------------------------------------------------------------ */

/* Does the handle lead to the driver's library, or to us? Not to a stub of somebody else's. */
static bool leads_to_driver(void *handle, bool nvml)
{
    if (handle == RTLD_DEFAULT || handle == RTLD_NEXT)
        return true;
    void *p = dv_libc_dlsym(handle, nvml ? "nvmlInit_v2" : "cuInit");
    Dl_info where;
    if (!p || !dladdr(p, &where) || !where.dli_fname)
        return false;
    const char *file = strrchr(where.dli_fname, '/');
    file = file ? file + 1 : where.dli_fname;
    return !strncmp(file, "libcuda.so", 10) || !strncmp(file, "libnvidia-ml.so", 15) ||
           !strncmp(file, "libdivvy-cuda.so", 16);
}

void *dv_preload_choose(void *handle, const char *name);

void *dv_preload_choose(void *handle, const char *name)
{
    know_libc();
    bool nvml = name && !strncmp(name, "nvml", 4);
    if (!name || (!nvml && strncmp(name, "cu", 2) != 0))
        return NULL;
    void *hook = dv_hook_find(name);
    return hook && leads_to_driver(handle, nvml) ? hook : NULL;
}

/* rdi = handle, rsi = name, rdx = version: kept for libc; rbp keeps the stack aligned. */
#ifndef __x86_64__
#error "written for x86-64"
#endif
/* clang-format off */
__asm__(
    ".macro dv_lookup first, second, target\n"
    "    .globl \\first\n"
    "    .globl \\second\n"
    "    .type \\first, @function\n"
    "    .type \\second, @function\n"
    "    .p2align 4\n"
    "\\first:\n"
    "\\second:\n"
    "    .cfi_startproc\n"
    "    endbr64\n"
    "    pushq %rdi\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    pushq %rsi\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    pushq %rdx\n"
    "    .cfi_adjust_cfa_offset 8\n"
    "    call dv_preload_choose\n"
    "    popq %rdx\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    popq %rsi\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    popq %rdi\n"
    "    .cfi_adjust_cfa_offset -8\n"
    "    testq %rax, %rax\n"
    "    jne 1f\n"
    "    jmp *\\target(%rip)\n"
    "1:  ret\n"
    "    .cfi_endproc\n"
    ".endm\n"
    "    .text\n"
    "    dv_lookup dv_preload_dlsym_new, dv_preload_dlsym_old, dv_preload_libc_dlsym\n"
    "    dv_lookup dv_preload_dlvsym_new, dv_preload_dlvsym_old, dv_preload_libc_dlvsym\n"
    "    .symver dv_preload_dlsym_new, dlsym@@GLIBC_2.34, remove\n"
    "    .symver dv_preload_dlsym_old, dlsym@GLIBC_2.2.5, remove\n"
    "    .symver dv_preload_dlvsym_new, dlvsym@@GLIBC_2.34, remove\n"
    "    .symver dv_preload_dlvsym_old, dlvsym@GLIBC_2.2.5, remove\n");
/* clang-format on */
