/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "engine/memory.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct dv_memory *make(uint64_t capacity, uint64_t reserved)
{
    struct dv_memory *m = NULL;
    struct dv_memory_config c = {capacity, reserved, 4096, 64};
    assert_int_equal(dv_memory_new(&c, &m), 0);
    return m;
}

static void test_rounding(void **state)
{
    assert_int_equal(dv_memory_round(0), 0);
    assert_int_equal(dv_memory_round(1), 512);
    assert_int_equal(dv_memory_round(512), 512);
    assert_int_equal(dv_memory_round(513), 1024);
    assert_int_equal(dv_memory_round(DV_MIB - 1), DV_MIB);
    assert_int_equal(dv_memory_round(DV_MIB), 2 * DV_MIB);
    assert_int_equal(dv_memory_round(2 * DV_MIB + 1), 4 * DV_MIB);
    assert_int_equal(dv_memory_round(UINT64_MAX), 0);
}

static void test_to_the_last_byte(void **state)
{
    struct dv_memory *m = make(10 * DV_MIB, 2 * DV_MIB);
    struct dv_memory_usage u;
    uint64_t a, b, c;
    assert_int_equal(dv_memory_alloc(m, 0, 1, 6 * DV_MIB, &a), 0);
    assert_int_equal(dv_memory_alloc(m, 0, 2, 2 * DV_MIB + 1, &b), DV_MEMORY_FULL);
    assert_int_equal(dv_memory_alloc(m, 0, 2, 2 * DV_MIB, &b), 0);
    assert_int_equal(dv_memory_alloc(m, 0, 1, 1, &c), DV_MEMORY_FULL);
    assert_int_equal(dv_memory_alloc(m, 0, 1, 0, &c), -EINVAL);
    assert_int_equal(dv_memory_release(m, 2, a), -EPERM);
    assert_int_equal(dv_memory_release(m, 1, a), 0);
    assert_int_equal(dv_memory_release(m, 1, a), -ENOENT);
    dv_memory_device(m, &u);
    assert_int_equal(u.capacity, 8 * DV_MIB);
    assert_int_equal(u.used, 2 * DV_MIB);
    assert_int_equal(u.high_water, 8 * DV_MIB);
    dv_memory_reset_high_water(m);
    dv_memory_device(m, &u);
    assert_int_equal(u.high_water, 2 * DV_MIB);
    dv_memory_free(m);
}

static void test_pools_are_walls(void **state)
{
    struct dv_memory *m = make(80 * DV_GIB, 0);
    struct dv_memory_usage u;
    uint32_t small, large;
    uint64_t id;
    assert_int_equal(dv_memory_pool_add(m, 10 * DV_GIB, &small), 0);
    assert_int_equal(dv_memory_pool_add(m, 70 * DV_GIB, &large), 0);
    assert_int_equal(dv_memory_pool_add(m, 1, &large), DV_MEMORY_FULL);
    assert_int_equal(dv_memory_alloc(m, 0, 1, 1, &id), DV_MEMORY_FULL);
    assert_int_equal(dv_memory_alloc(m, small, 1, 11 * DV_GIB, &id), DV_MEMORY_FULL);
    assert_int_equal(dv_memory_alloc(m, small, 1, 10 * DV_GIB, &id), 0);
    assert_int_equal(dv_memory_pool_remove(m, small), -EBUSY);
    assert_int_equal(dv_memory_release(m, 1, id), 0);
    assert_int_equal(dv_memory_pool_remove(m, small), 0);
    assert_int_equal(dv_memory_pool_remove(m, small), -ENOENT);
    assert_int_equal(dv_memory_pool_remove(m, 0), -EINVAL);
    assert_int_equal(dv_memory_pool(m, 0, &u), 0);
    assert_int_equal(u.capacity, 10 * DV_GIB);
    dv_memory_free(m);
}

static void test_death_frees_all(void **state)
{
    struct dv_memory *m = make(DV_GIB, 0);
    struct dv_memory_usage u;
    uint64_t id[300];
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(dv_memory_alloc(m, 0, i % 3, DV_KIB, &id[i]), 0);
    assert_int_equal(dv_memory_owner_gone(m, 1), 100 * DV_KIB);
    assert_int_equal(dv_memory_owner_gone(m, 1), 0);
    assert_int_equal(dv_memory_release(m, 1, id[1]), -ENOENT);
    dv_memory_owner(m, 1, &u);
    assert_int_equal(u.high_water, 0);
    dv_memory_owner(m, 2, &u);
    assert_int_equal(u.count, 100);
    dv_memory_device(m, &u);
    assert_int_equal(u.used, 200 * DV_KIB);
    dv_memory_free(m);
}

static void test_limits(void **state)
{
    struct dv_memory *m = NULL;
    struct dv_memory_config c = {DV_GIB, 0, 3, 2};
    uint64_t id;
    assert_int_equal(dv_memory_new(&c, &m), 0);
    assert_int_equal(dv_memory_alloc(m, 0, 1, 1, &id), 0);
    assert_int_equal(dv_memory_alloc(m, 0, 2, 1, &id), 0);
    assert_int_equal(dv_memory_alloc(m, 0, 3, 1, &id), -ENOSPC);
    assert_int_equal(dv_memory_alloc(m, 0, 2, 1, &id), 0);
    assert_int_equal(dv_memory_alloc(m, 0, 2, 1, &id), -ENOSPC);
    dv_memory_owner_gone(m, 1);
    assert_int_equal(dv_memory_alloc(m, 0, 3, 1, &id), 0);
    dv_memory_free(m);
    c.reserved = DV_GIB;
    assert_int_equal(dv_memory_new(&c, &m), -EINVAL);
}

/* Whatever the order, the sums are the sums. */
static void test_random_sums(void **state)
{
    struct dv_memory *m = make(256 * DV_MIB, 0);
    struct dv_rng rng = {7};
    struct {
        uint64_t id, owner, bytes;
    } held[512];
    unsigned n = 0;
    uint64_t sum = 0, high = 0;
    for (int step = 0; step < 50000; step++) {
        struct dv_memory_usage u;
        if (n < 512 && dv_rng_below(&rng, 2)) {
            held[n].owner = dv_rng_below(&rng, 20);
            held[n].bytes = 1 + dv_rng_below(&rng, 4 * DV_MIB);
            uint64_t rounded = dv_memory_round(held[n].bytes);
            int r = dv_memory_alloc(m, 0, held[n].owner, held[n].bytes, &held[n].id);
            assert_int_equal(r, sum + rounded > 256 * DV_MIB ? DV_MEMORY_FULL : 0);
            held[n].bytes = rounded;
            sum += r == 0 ? rounded : 0;
            n += r == 0;
        } else if (n) {
            unsigned k = (unsigned)dv_rng_below(&rng, n);
            assert_int_equal(dv_memory_release(m, held[k].owner, held[k].id), 0);
            sum -= held[k].bytes;
            held[k] = held[--n];
        }
        high = DV_MAX(high, sum);
        dv_memory_device(m, &u);
        assert_int_equal(u.used, sum);
        assert_int_equal(u.high_water, high);
        assert_int_equal(u.count, n);
    }
    dv_memory_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounding),        cmocka_unit_test(test_to_the_last_byte),
        cmocka_unit_test(test_pools_are_walls), cmocka_unit_test(test_death_frees_all),
        cmocka_unit_test(test_limits),          cmocka_unit_test(test_random_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
