/* SPDX-License-Identifier: Apache-2.0 */
#include "abi_tenant.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_turn(void **state)
{
    uint64_t turn = dv_turn_pack(DV_TENANT_SLOTS_MAX, UINT64_C(0xABCDEF012345));
    assert_int_equal(dv_turn_slot_plus_1(turn), DV_TENANT_SLOTS_MAX);
    assert_int_equal(dv_turn_epoch(turn), UINT64_C(0xABCDEF012345));
    assert_int_equal(dv_turn_slot_plus_1(0), 0);
}

/* The futex words and 64-bit words must be naturally aligned, whatever is added before them. */
static void test_alignment(void **state)
{
    assert_int_equal(offsetof(struct dv_slot_page, released_epoch) % 4, 0);
    assert_int_equal(offsetof(struct dv_slot_page, memory_seq) % 8, 0);
    assert_int_equal(offsetof(struct dv_arbiter_page, wake) % 4, 0);
    assert_int_equal(offsetof(struct dv_arbiter_page, turn) % 8, 0);
    assert_int_equal(offsetof(struct dv_reservation_page, word) % 16, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turn),
        cmocka_unit_test(test_alignment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
