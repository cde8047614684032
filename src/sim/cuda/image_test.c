/* SPDX-License-Identifier: Apache-2.0 */
#include "abi_cuda.h"
#include "image.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static int read_text(const char *text, struct dv_cuimage *ret)
{
    return dv_cuimage_read(text, strlen(text), ret);
}

static void entries_and_parameters(void **state)
{
    struct dv_cuimage i;
    assert_int_equal(
        read_text("// comment .entry no\n.version 8.0\n.target sm_80\n/* .entry no */\n"
                  ".visible .entry one(\n .param .u32 a,\n .param .align 8 .b8 b[24],\n"
                  " .param .u64 .ptr .global .align 16 c, .param .f16 d)\n"
                  ".maxntid 32, 4, 2\n{ .reg .b32 %r<3>; { ld.param.u64 %rd1, [c]; } ret; }\n"
                  ".entry two\n{ ret; }\n.entry three() { ret; }",
                  &i),
        0);
    assert_int_equal(i.n_entries, 3);
    const struct dv_cuimage_entry *e = &i.entries[0];
    assert_string_equal(e->name, "one");
    assert_int_equal(e->n_params, 4);
    const uint32_t sizes[] = {4, 24, 8, 2}, offsets[] = {0, 8, 32, 40};
    assert_memory_equal(e->size, sizes, sizeof(sizes));
    assert_memory_equal(e->offset, offsets, sizeof(offsets));
    assert_int_equal(e->params_bytes, 42);
    assert_int_equal(e->max_threads, 256);
    assert_string_equal(i.entries[2].name, "three");
    assert_true(i.entries[1].params_known && i.entries[1].n_params == 0);
    dv_cuimage_done(&i);
}

static void global_variables(void **state)
{
    struct dv_cuimage i;
    assert_int_equal(read_text(".version 8.0\n.visible .global .align 4 .b8 a[1073741824];\n"
                               ".global .v4 .f32 b[2][3];\n.extern .global .u32 no;\n"
                               ".global .u32 c = 7;\n.const .u16 d[3] = {1, {2}, 3};\n"
                               ".global .texref t;",
                               &i),
                     0);
    const struct {
        const char *name;
        uint64_t bytes;
    } want[] = {{"a", 1073741824}, {"b", 96}, {"c", 4}, {"d", 6}, {"t", 8}};
    assert_int_equal(i.n_globals, 5);
    for (size_t k = 0; k < 5; k++) {
        assert_string_equal(i.globals[k].name, want[k].name);
        assert_int_equal(i.globals[k].bytes, want[k].bytes);
    }
    dv_cuimage_done(&i);
}

static void what_is_not_ptx(void **state)
{
    static const char *const bad[] = {
        "hello world",
        ".version 8.0 .entry",
        ".version 8.0 .entry f(.param .u64 a",
        ".version 8.0 .entry f(.param .nothing a) { }",
        ".version 8.0 .entry f() { { }",
        ".version 8.0 .entry f(.param .u32 a[99999999999999999999]) { }",
        ".version 8.0 .entry f() .maxntid 4096 { }",
        ".version 8.0 .global .u32 x[0x7fffffffffffffff];",
        ".version 8.0 .global .u32",
    };
    struct dv_cuimage i;
    for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
        assert_int_equal(read_text(bad[k], &i), DV_CUDA_ERROR_INVALID_PTX);
    assert_int_equal(dv_cuimage_read("", 0, &i), DV_CUDA_ERROR_INVALID_IMAGE);
}

/* A cubin as small as one can be: names of sections, one of them code. */
struct small_elf {
    Elf64_Ehdr header;
    char names[64];
    Elf64_Shdr section[3];
};

static struct small_elf make_elf(void)
{
    struct small_elf e = {.names = "\0.shstrtab\0.text._Z6kernelPf"};
    memcpy(e.header.e_ident, ELFMAG, SELFMAG);
    e.header.e_ident[EI_CLASS] = ELFCLASS64;
    e.header.e_shoff = offsetof(struct small_elf, section);
    e.header.e_shentsize = sizeof(Elf64_Shdr);
    e.header.e_shnum = 3;
    e.header.e_shstrndx = 1;
    e.section[1] = (Elf64_Shdr){.sh_name = 1,
                                .sh_type = SHT_STRTAB,
                                .sh_offset = offsetof(struct small_elf, names),
                                .sh_size = sizeof(e.names)};
    e.section[2] = (Elf64_Shdr){.sh_name = 11, .sh_type = SHT_PROGBITS};
    return e;
}

static void cubins(void **state)
{
    struct small_elf e = make_elf();
    struct dv_cuimage i;
    assert_int_equal(dv_cuimage_read(&e, sizeof(e), &i), 0);
    assert_int_equal(i.n_entries, 1);
    assert_string_equal(i.entries[0].name, "_Z6kernelPf");
    assert_false(i.entries[0].params_known);
    assert_int_equal(dv_cuimage_size(&e), sizeof(e));
    dv_cuimage_done(&i);
    for (size_t n = 0; n < sizeof(e); n++)
        assert_int_not_equal(dv_cuimage_read(&e, n, &i), 0);
    e.section[1].sh_offset = UINT64_MAX - 8;
    assert_int_equal(dv_cuimage_read(&e, sizeof(e), &i), DV_CUDA_ERROR_INVALID_IMAGE);
}

static void fat_binaries(void **state)
{
    const char text[] = ".version 8.0 .entry f(.param .u32 a) { }";
    struct {
        uint32_t magic;
        uint16_t version, header_size;
        uint64_t size;
        struct {
            uint16_t kind, version;
            uint32_t header_size;
            uint64_t size;
            uint32_t compressed_size, options, minor_major, arch, name[2];
            uint64_t flags, zero, uncompressed_size;
        } entry;
        char text[sizeof(text)];
    } fat = {.magic = 0xba55ed50, .version = 1, .header_size = 16};
    fat.size = sizeof(fat) - 16;
    fat.entry.kind = 1;
    fat.entry.header_size = sizeof(fat.entry);
    fat.entry.size = sizeof(fat.text);
    memcpy(fat.text, text, sizeof(text));
    struct dv_cuimage i;
    size_t size = 16 + sizeof(fat.entry) + sizeof(text);
    fat.size = size - 16;
    assert_int_equal(dv_cuimage_read(&fat, size, &i), 0);
    assert_int_equal(i.n_entries, 1);
    assert_false(i.opaque);
    dv_cuimage_done(&i);
    fat.entry.flags = 0x2000;
    assert_int_equal(dv_cuimage_read(&fat, size, &i), 0);
    assert_true(i.opaque && i.n_entries == 0);
    dv_cuimage_done(&i);
    fat.entry.size = UINT64_MAX;
    assert_int_equal(dv_cuimage_read(&fat, size, &i), DV_CUDA_ERROR_INVALID_IMAGE);
    assert_int_equal(dv_cuimage_read(&fat, 20, &i), DV_CUDA_ERROR_INVALID_IMAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_and_parameters), cmocka_unit_test(global_variables),
        cmocka_unit_test(what_is_not_ptx),        cmocka_unit_test(cubins),
        cmocka_unit_test(fat_binaries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
