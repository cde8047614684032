/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "policy/audit/first_fit.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PLACES 300u
#define LEVELS 11u
#define WIDTH 16u /* whole words of levels */

/* By looking at each. */
static uint32_t look(uint16_t all[PLACES][WIDTH], uint32_t from, uint32_t level, uint16_t need)
{
    for (uint32_t i = from; i < PLACES; i++)
        if (all[i][level] >= need)
            return i;
    return DV_FIRST_FIT_NONE;
}

static void test_as_by_looking(void **state)
{
    static uint16_t all[PLACES][WIDTH];
    struct dv_rng rng = {1};
    struct dv_first_fit f;
    dv_first_fit_init(&f, LEVELS);
    assert_int_equal(f.width, WIDTH);
    assert_int_equal(dv_first_fit_next(&f, 0, 0, 1), DV_FIRST_FIT_NONE);
    for (int i = 0; i < 40000; i++) {
        uint32_t place = (uint32_t)dv_rng_below(&rng, 1 + (uint64_t)i * PLACES / 40000);
        uint32_t level = (uint32_t)dv_rng_below(&rng, LEVELS);
        uint16_t most = (uint16_t)(1 + dv_rng_below(&rng, 50));
        if (dv_rng_below(&rng, 4)) {
            for (uint32_t k = 0; k < LEVELS; k++)
                all[place][k] = (uint16_t)dv_rng_below(&rng, most);
            assert_int_equal(dv_first_fit_set(&f, place, all[place]), 0);
        } else if (place < f.leaves) {
            all[place][level] = 0;
            dv_first_fit_lower(&f, place, level, 0);
        }
        uint32_t from = (uint32_t)dv_rng_below(&rng, PLACES + 20);
        uint16_t need = (uint16_t)(1 + dv_rng_below(&rng, 50));
        assert_int_equal(dv_first_fit_next(&f, from, level, need), look(all, from, level, need));
    }
    assert_int_equal(dv_first_fit_set(&f, DV_FIRST_FIT_PLACES_MAX, all[0]), -E2BIG);
    dv_first_fit_done(&f);
    dv_first_fit_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_by_looking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
