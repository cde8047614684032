/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Against an array that knows everything, through growth and shrinking. */
static void test_random(void **state)
{
    enum { KEYS = 20000 };
    static uint64_t there[KEYS];
    struct dv_ledger t = {0};
    uint64_t sum = 0;
    srand(7);
    for (int i = 0; i < 400000; i++) {
        unsigned k = (unsigned)rand() % (i < 200000 ? KEYS : KEYS / 8);
        struct dv_ledger_entry e = {.key = k * UINT64_C(0x200000), .space = DV_SPACE_ADDRESS};
        if (there[k]) {
            struct dv_ledger_entry got;
            assert_true(dv_ledger_take(&t, DV_SPACE_ADDRESS, e.key, &got));
            assert_int_equal(got.bytes, there[k]);
            sum -= there[k];
            there[k] = 0;
        } else {
            assert_null(dv_ledger_find(&t, DV_SPACE_ADDRESS, e.key));
            e.bytes = there[k] = (uint64_t)rand() + 1;
            sum += e.bytes;
            assert_true(dv_ledger_put(&t, &e));
        }
    }
    assert_int_equal(dv_ledger_bytes(&t), sum);
    size_t n = 0;
    for (unsigned k = 0; k < KEYS; k++) {
        struct dv_ledger_entry *e = dv_ledger_find(&t, DV_SPACE_ADDRESS, k * UINT64_C(0x200000));
        assert_int_equal(e ? e->bytes : 0, there[k]);
        assert_null(dv_ledger_find(&t, DV_SPACE_ARRAY, k * UINT64_C(0x200000)));
        n += there[k] != 0;
    }
    assert_int_equal(dv_ledger_count(&t), n);
    dv_ledger_clear(&t);
}

static void test_context_ends(void **state)
{
    struct dv_ledger t = {0};
    uint64_t want = 0, overhead;
    for (uint64_t k = 1; k <= 5000; k++) {
        struct dv_ledger_entry e = {.key = k,
                                    .space = DV_SPACE_ADDRESS,
                                    .bytes = k,
                                    .context = (void *)(k % 3 + 1),
                                    .overhead = k % 2};
        assert_true(dv_ledger_put(&t, &e));
        want += k % 3 == 1 ? k : 0;
    }
    assert_int_equal(dv_ledger_drop_context(&t, (void *)2, &overhead), want);
    assert_true(overhead > 0 && overhead < want);
    assert_int_equal(dv_ledger_drop_context(&t, (void *)2, &overhead), 0);
    for (uint64_t k = 1; k <= 5000; k++)
        assert_int_equal(dv_ledger_find(&t, DV_SPACE_ADDRESS, k) != NULL, k % 3 != 1);
    dv_ledger_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_context_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
