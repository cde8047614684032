/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "base/rng.h"
#include "base/testing/oom.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define THINGS 5000u

/* Things of all sizes lie apart from each other, zeroed and aligned. */
static void test_things_lie_apart(void **state)
{
    dv_cleanup(dv_arena_done) struct dv_arena arena = {0};
    struct dv_rng rng = {7};
    static unsigned char *things[THINGS];
    static size_t sizes[THINGS];
    for (unsigned i = 0; i < THINGS; i++) {
        sizes[i] = i % 1000 == 999 ? 3 * DV_ARENA_BLOCK_MAX : dv_rng_below(&rng, 200);
        things[i] = dv_arena_alloc(&arena, sizes[i]);
        assert_non_null(things[i]);
        assert_int_equal((uintptr_t)things[i] % _Alignof(max_align_t), 0);
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(things[i][k], 0);
        memset(things[i], (int)(i % 251) + 1, sizes[i]);
        assert_string_equal(dv_arena_text(&arena, "name"), "name");
    }
    for (unsigned i = 0; i < THINGS; i++)
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(things[i][k], i % 251 + 1);
}

/* What is forgotten is used again: a loop of any length needs one round's memory. */
static void test_clear(void **state)
{
    dv_cleanup(dv_arena_done) struct dv_arena arena = {0};
    dv_arena_clear(&arena);
    for (int i = 0; i < 100; i++) {
        assert_non_null(dv_arena_alloc(&arena, 2 * DV_ARENA_BLOCK_MAX));
        dv_arena_clear(&arena);
        assert_null(arena.last); /* too large to be kept */
    }
    for (size_t i = 0; i < 4 * DV_ARENA_BLOCK_MAX / 100; i++)
        assert_non_null(dv_arena_alloc(&arena, 100));
    dv_arena_clear(&arena);
    const void *first = dv_arena_alloc(&arena, 100);
    dv_oom_at(1); /* nothing is allocated from here on */
    for (int i = 0; i < 1000; i++) {
        dv_arena_clear(&arena);
        assert_ptr_equal(dv_arena_alloc(&arena, 100), first);
        for (int k = 0; k < 500; k++)
            assert_non_null(dv_arena_alloc(&arena, 100));
    }
    assert_false(dv_oom_end());
}

/* After an allocation that failed the arena is as it was. */
static void test_out_of_memory(void **state)
{
    dv_cleanup(dv_arena_done) struct dv_arena arena = {0};
    dv_oom_at(1);
    assert_null(dv_arena_text(&arena, "lost"));
    dv_oom_end();
    assert_string_equal(dv_arena_text(&arena, "there"), "there");
    dv_oom_at(1);
    assert_null(dv_arena_alloc(&arena, 2 * DV_ARENA_BLOCK_MAX));
    dv_oom_end();
    assert_null(dv_arena_alloc(&arena, SIZE_MAX));
    assert_non_null(dv_arena_alloc(&arena, 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_things_lie_apart),
        cmocka_unit_test(test_clear),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
