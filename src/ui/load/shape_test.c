/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "load/load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Every shape holds what was asked, wastes less than a row or a layer, and keeps CUDA's limits. */
static void test_shapes(void **state)
{
    struct dv_rng rng = {3};
    for (int i = 0; i < 20000; i++) {
        uint64_t bytes = 1 + dv_rng_below(&rng, UINT64_C(1) << (1 + dv_rng_below(&rng, 36)));
        struct dv_load_shape s;
        assert_true(dv_load_shape_pitch(bytes, &s));
        assert_true(s.width * s.height >= bytes && s.width * (s.height - 1) < bytes);
        assert_true(dv_load_shape_2d(bytes, &s));
        uint64_t row = s.width * DV_LOAD_ELEMENT;
        assert_true(row * s.height >= bytes && row * (s.height - 1) < bytes);
        assert_true(s.width <= 131072 && s.height <= 65536);
        assert_true(dv_load_shape_3d(bytes, &s));
        uint64_t layer = s.width * s.height * DV_LOAD_ELEMENT;
        assert_true(layer * s.depth >= bytes && layer * (s.depth - 1) < bytes);
        assert_true(s.width <= 16384 && s.height <= 16384 && s.depth <= 16384);
    }
}

static void test_too_large(void **state)
{
    struct dv_load_shape s;
    assert_true(dv_load_shape_2d(UINT64_C(64) * DV_GIB, &s));
    assert_false(dv_load_shape_2d(UINT64_C(64) * DV_GIB + 1, &s));
    assert_false(dv_load_shape_3d(UINT64_C(1) << 50, &s));
}

static void test_percentile(void **state)
{
    static const uint64_t v[] = {10, 20, 30, 40};
    assert_int_equal(dv_load_percentile(v, 0, 500), 0);
    assert_int_equal(dv_load_percentile(v, 4, 500), 20);
    assert_int_equal(dv_load_percentile(v, 4, 501), 30);
    assert_int_equal(dv_load_percentile(v, 4, 990), 40);
    assert_int_equal(dv_load_percentile(v, 4, 1000), 40);
    assert_int_equal(dv_load_percentile(v, 1, 1), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_percentile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
