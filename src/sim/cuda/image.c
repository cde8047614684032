/* SPDX-License-Identifier: Apache-2.0 */
/* Code images: which format, cubins, fat binaries. */
#include "image.h"

#include "abi_cuda.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#define FAT_MAGIC 0xba55ed50u
#define FAT_WRAPPER_MAGIC 0x466243b1u
#define FAT_KIND_PTX 1
#define FAT_KIND_ELF 2
#define FAT_FLAG_COMPRESSED 0x2000u /* LZ4; Zstandard has a bit of its own */
#define FAT_FLAG_COMPRESSED_ZSTD 0x8000u

struct fat_header {
    uint32_t magic;
    uint16_t version, header_size;
    uint64_t size; /* of what follows */
};

struct fat_entry {
    uint16_t kind, version;
    uint32_t header_size;
    uint64_t size; /* of what follows the header */
    uint32_t compressed_size, options;
    uint16_t minor, major;
    uint32_t arch, name_offset, name_length;
    uint64_t flags;
    uint64_t zero, uncompressed_size;
};

struct fat_wrapper { /* what nvcc's host code points at */
    uint32_t magic, version;
    const void *data;
    const void *unused;
};

/* ---- what is found -------------------------------------------------------------------------- */

/* One more place in an array that doubles; n is what it has. */
static void *grow(void *array, uint32_t n, size_t element, uint32_t max)
{
    if (n >= max)
        return NULL;
    if (n & (n - 1) || (n && n < 4))
        return array;
    return realloc(array, (n ? 2 * (size_t)n : 4) * element);
}

struct dv_cuimage_entry *dv_cuimage_add_entry(struct dv_cuimage *image, const char *name,
                                              size_t length)
{
    if (length == 0 || length > DV_CUIMAGE_NAME_MAX)
        return NULL;
    struct dv_cuimage_entry *all =
        grow(image->entries, image->n_entries, sizeof(*all), DV_CUIMAGE_ENTRIES_MAX);
    if (!all)
        return NULL;
    image->entries = all;
    struct dv_cuimage_entry *e = &all[image->n_entries++];
    memset(e, 0, sizeof(*e));
    memcpy(e->name, name, length);
    return e;
}

bool dv_cuimage_add_param(struct dv_cuimage_entry *entry, uint32_t size, uint32_t alignment)
{
    uint32_t n = entry->n_params, end = entry->params_bytes;
    if (alignment == 0 || (alignment & (alignment - 1)) || size > 65536 || end > 65536)
        return false;
    uint32_t *sizes = grow(entry->size, n, sizeof(*sizes), DV_CUIMAGE_PARAMS_MAX);
    if (!sizes)
        return false;
    entry->size = sizes;
    uint32_t *offsets = grow(entry->offset, n, sizeof(*offsets), DV_CUIMAGE_PARAMS_MAX);
    if (!offsets)
        return false;
    entry->offset = offsets;
    sizes[n] = size;
    offsets[n] = (end + alignment - 1) & ~(alignment - 1);
    entry->params_bytes = offsets[n] + size;
    entry->n_params++;
    return true;
}

bool dv_cuimage_add_global(struct dv_cuimage *image, const char *name, size_t length,
                           uint64_t bytes)
{
    if (length == 0 || length > DV_CUIMAGE_NAME_MAX || bytes > DV_CUIMAGE_GLOBAL_MAX)
        return false;
    struct dv_cuimage_global *all =
        grow(image->globals, image->n_globals, sizeof(*all), DV_CUIMAGE_ENTRIES_MAX);
    if (!all)
        return false;
    image->globals = all;
    struct dv_cuimage_global *g = &all[image->n_globals++];
    memset(g, 0, sizeof(*g));
    memcpy(g->name, name, length);
    g->bytes = bytes;
    image->bytes += bytes;
    return true;
}

void dv_cuimage_done(struct dv_cuimage *image)
{
    if (!image)
        return;
    for (uint32_t i = 0; i < image->n_entries; i++) {
        free(image->entries[i].size);
        free(image->entries[i].offset);
    }
    free(image->entries);
    free(image->globals);
    memset(image, 0, sizeof(*image));
}

/* ---- cubin ---------------------------------------------------------------------------------- */

struct elf {
    const uint8_t *bytes;
    size_t size;
    Elf64_Ehdr header;
    const char *names;
    size_t names_size;
};

static bool part(const struct elf *e, uint64_t offset, uint64_t size)
{
    return offset <= e->size && size <= e->size - offset;
}

static bool section(const struct elf *e, uint32_t index, Elf64_Shdr *ret)
{
    uint64_t at = e->header.e_shoff + (uint64_t)index * sizeof(*ret);
    if (index >= e->header.e_shnum || e->header.e_shoff > e->size || !part(e, at, sizeof(*ret)))
        return false;
    memcpy(ret, e->bytes + at, sizeof(*ret));
    return ret->sh_type == SHT_NOBITS || part(e, ret->sh_offset, ret->sh_size);
}

/* The string at this offset of a table; its length, 0 = none that ends. */
static size_t string_at(const char *table, size_t size, uint64_t offset, const char **ret)
{
    if (offset >= size)
        return 0;
    const char *end = memchr(table + offset, '\0', size - offset);
    *ret = table + offset;
    return end ? (size_t)(end - *ret) : 0;
}

/* Variables: symbols of type OBJECT. */
static bool read_symbols(const struct elf *e, const Elf64_Shdr *table, struct dv_cuimage *image)
{
    Elf64_Shdr strings;
    if (!section(e, table->sh_link, &strings) || strings.sh_type != SHT_STRTAB)
        return false;
    for (uint64_t i = 0; i < table->sh_size / sizeof(Elf64_Sym); i++) {
        Elf64_Sym symbol;
        const char *name;
        memcpy(&symbol, e->bytes + table->sh_offset + i * sizeof(symbol), sizeof(symbol));
        if (ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT || symbol.st_size == 0)
            continue;
        size_t length = string_at((const char *)e->bytes + strings.sh_offset, strings.sh_size,
                                  symbol.st_name, &name);
        if (length && length <= DV_CUIMAGE_NAME_MAX &&
            !dv_cuimage_add_global(image, name, length, symbol.st_size))
            return false;
    }
    return true;
}

int dv_cuelf_read(const uint8_t *bytes, size_t size, struct dv_cuimage *image)
{
    struct elf e = {.bytes = bytes, .size = size};
    Elf64_Shdr s;
    if (size < sizeof(e.header))
        return DV_CUDA_ERROR_INVALID_IMAGE;
    memcpy(&e.header, bytes, sizeof(e.header));
    if (memcmp(e.header.e_ident, ELFMAG, SELFMAG) != 0 ||
        e.header.e_ident[EI_CLASS] != ELFCLASS64 || e.header.e_shentsize != sizeof(s) ||
        !section(&e, e.header.e_shstrndx, &s) || s.sh_type != SHT_STRTAB)
        return DV_CUDA_ERROR_INVALID_IMAGE;
    e.names = (const char *)bytes + s.sh_offset;
    e.names_size = s.sh_size;
    for (uint32_t i = 0; i < e.header.e_shnum; i++) {
        const char *name;
        if (!section(&e, i, &s))
            return DV_CUDA_ERROR_INVALID_IMAGE;
        size_t length = string_at(e.names, e.names_size, s.sh_name, &name);
        if (s.sh_type == SHT_SYMTAB && !read_symbols(&e, &s, image))
            return DV_CUDA_ERROR_INVALID_IMAGE;
        if (length > 6 && memcmp(name, ".text.", 6) == 0 &&
            !dv_cuimage_add_entry(image, name + 6, length - 6))
            return DV_CUDA_ERROR_INVALID_IMAGE;
    }
    return 0;
}

/* ---- fat binary ----------------------------------------------------------------------------- */

static int read_fat_entry(const struct fat_entry *e, const uint8_t *data, struct dv_cuimage *image)
{
    if (e->flags & (FAT_FLAG_COMPRESSED | FAT_FLAG_COMPRESSED_ZSTD) || e->compressed_size) {
        image->opaque = true;
        return 0;
    }
    struct dv_cuimage one = {0};
    int r = 0;
    if (e->kind == FAT_KIND_PTX)
        r = dv_cuptx_read((const char *)data, e->size, &one);
    else if (e->kind == FAT_KIND_ELF)
        r = dv_cuelf_read(data, e->size, &one);
    /* The same kernels again for another card are one set; PTX knows the parameters. */
    if (r == 0 && (image->n_entries == 0 || e->kind == FAT_KIND_PTX)) {
        one.opaque = image->opaque;
        dv_cuimage_done(image);
        *image = one;
    } else {
        dv_cuimage_done(&one);
    }
    return r;
}

static int read_fat(const uint8_t *bytes, size_t size, struct dv_cuimage *image)
{
    struct fat_header h;
    if (size < sizeof(h))
        return DV_CUDA_ERROR_INVALID_IMAGE;
    memcpy(&h, bytes, sizeof(h));
    if (h.header_size < sizeof(h) || h.header_size > size || h.size > size - h.header_size)
        return DV_CUDA_ERROR_INVALID_IMAGE;
    uint64_t at = h.header_size, end = h.header_size + h.size;
    while (end - at >= sizeof(struct fat_entry)) {
        struct fat_entry e;
        memcpy(&e, bytes + at, sizeof(e));
        if (e.header_size < sizeof(e) || e.header_size > end - at ||
            e.size > end - at - e.header_size)
            return DV_CUDA_ERROR_INVALID_IMAGE;
        int r = read_fat_entry(&e, bytes + at + e.header_size, image);
        if (r)
            return r;
        at += e.header_size + e.size;
    }
    return image->n_entries || image->opaque ? 0 : DV_CUDA_ERROR_NO_BINARY_FOR_GPU;
}

/* ---- any image ------------------------------------------------------------------------------ */

const void *dv_cuimage_unwrap(const void *image)
{
    struct fat_wrapper w;
    uint32_t magic;
    memcpy(&magic, image, sizeof(magic));
    if (magic != FAT_WRAPPER_MAGIC)
        return image;
    memcpy(&w, image, sizeof(w));
    return w.data;
}

static size_t elf_size(const uint8_t *bytes)
{
    Elf64_Ehdr h;
    memcpy(&h, bytes, sizeof(h));
    uint64_t sections = h.e_shoff + (uint64_t)h.e_shnum * h.e_shentsize;
    uint64_t segments = h.e_phoff + (uint64_t)h.e_phnum * h.e_phentsize;
    uint64_t size = sections > segments ? sections : segments;
    return h.e_shoff <= DV_CUIMAGE_BYTES_MAX && size <= DV_CUIMAGE_BYTES_MAX ? size : 0;
}

size_t dv_cuimage_size(const void *image)
{
    const uint8_t *p = dv_cuimage_unwrap(image);
    uint32_t magic;
    if (!p)
        return 0;
    size_t text = strnlen((const char *)p, sizeof(magic));
    if (text < sizeof(magic))
        return text;
    memcpy(&magic, p, sizeof(magic));
    if (magic == FAT_MAGIC) {
        struct fat_header h;
        memcpy(&h, p, sizeof(h));
        return h.size <= DV_CUIMAGE_BYTES_MAX ? h.header_size + h.size : 0;
    }
    if (memcmp(p, ELFMAG, SELFMAG) == 0)
        return elf_size(p);
    return strnlen((const char *)p, DV_CUIMAGE_BYTES_MAX);
}

int dv_cuimage_read(const void *bytes, size_t size, struct dv_cuimage *ret)
{
    struct dv_cuimage image = {0};
    uint32_t magic = 0;
    if (size < sizeof(magic) || size > DV_CUIMAGE_BYTES_MAX)
        return DV_CUDA_ERROR_INVALID_IMAGE;
    const uint8_t *p = bytes;
    memcpy(&magic, p, sizeof(magic));
    int r;
    if (magic == FAT_MAGIC)
        r = read_fat(p, size, &image);
    else if (memcmp(p, ELFMAG, SELFMAG) == 0)
        r = dv_cuelf_read(p, size, &image);
    else
        r = dv_cuptx_read((const char *)p, size, &image);
    if (r) {
        dv_cuimage_done(&image);
        return r;
    }
    image.bytes += size;
    *ret = image;
    return 0;
}
