/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a code image says of itself: its kernels with the places of their parameters, and its
 * global variables. Reads PTX text (the .entry and .global directives), cubins (ELF: sections
 * .text.NAME, symbols of .nv.global) and uncompressed fat binaries holding those. It runs nothing
 * and allocates nothing on a device.
 *
 *     struct dv_cuimage image;
 *     int r = dv_cuimage_read(bytes, size, &image);      0 or a CUresult
 *     ...
 *     dv_cuimage_done(&image);
 *
 * Formats: PTX ISA ("Directives", "State spaces"), ELF gABI; the fat binary's header is known from
 * public tools (cuobjdump prints its fields). Bounds: 64 MiB of image, 4,096 kernels and as many
 * variables, 1,024 parameters each, names of 1,023 bytes.
 */
#ifndef DV_SIM_CUDA_IMAGE_H
#define DV_SIM_CUDA_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DV_CUIMAGE_BYTES_MAX ((size_t)64 << 20)
#define DV_CUIMAGE_ENTRIES_MAX 4096u
#define DV_CUIMAGE_PARAMS_MAX 1024u
#define DV_CUIMAGE_NAME_MAX 1023u
#define DV_CUIMAGE_GLOBAL_MAX (UINT64_C(1) << 46)

struct dv_cuimage_entry {
    char name[DV_CUIMAGE_NAME_MAX + 1];
    bool params_known;
    uint32_t n_params;
    uint32_t *size, *offset; /* of each parameter, bytes */
    uint32_t params_bytes;
    uint32_t max_threads; /* .maxntid or .reqntid, 0 = not said */
};

struct dv_cuimage_global {
    char name[DV_CUIMAGE_NAME_MAX + 1];
    uint64_t bytes;
};

struct dv_cuimage {
    struct dv_cuimage_entry *entries;
    struct dv_cuimage_global *globals;
    uint32_t n_entries, n_globals;
    bool opaque;    /* compressed: any name may be in it */
    uint64_t bytes; /* of code and variables */
};

/* The image itself where nvcc's host code has wrapped it, else the same pointer. */
const void *dv_cuimage_unwrap(const void *image);
/* The size of an image that came without one: from its own headers, or up to the NUL of PTX text.
 * 0 = nothing that is known. */
size_t dv_cuimage_size(const void *image);
/* 0; DV_CUDA_ERROR_INVALID_IMAGE, _INVALID_PTX, _OUT_OF_MEMORY. Nothing is held after an error. */
int dv_cuimage_read(const void *image, size_t size, struct dv_cuimage *ret);
void dv_cuimage_done(struct dv_cuimage *image);

/* The parts, for the reader: PTX text and ELF added to an image. */
int dv_cuptx_read(const char *text, size_t size, struct dv_cuimage *image);
int dv_cuelf_read(const uint8_t *bytes, size_t size, struct dv_cuimage *image);
/* NULL: no memory, or too many. */
struct dv_cuimage_entry *dv_cuimage_add_entry(struct dv_cuimage *image, const char *name,
                                              size_t length);
bool dv_cuimage_add_param(struct dv_cuimage_entry *entry, uint32_t size, uint32_t alignment);
bool dv_cuimage_add_global(struct dv_cuimage *image, const char *name, size_t length,
                           uint64_t bytes);

#endif
