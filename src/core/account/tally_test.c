/* SPDX-License-Identifier: Apache-2.0 */
#include "account/tally.h"
#include "base/rng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct dv_account account(unsigned gpu, unsigned tenant, enum dv_mode mode)
{
    struct dv_account a = {.mode = mode};
    snprintf(a.gpu, sizeof a.gpu, "GPU-%u", gpu);
    snprintf(a.tenant, sizeof a.tenant, "t%u", tenant);
    return a;
}

static void sums_per_account(void **state)
{
    struct dv_tally t = {0};
    struct dv_rng rng = {3};
    uint64_t sum = 0, told = 0;
    for (int i = 0; i < 20000; i++) {
        struct dv_account a =
            account((unsigned)dv_rng_below(&rng, 4), (unsigned)dv_rng_below(&rng, 40),
                    (enum dv_mode)dv_rng_below(&rng, 5));
        struct dv_charge c = {.busy_ns = dv_rng_below(&rng, 1000)};
        told += c.busy_ns;
        assert_int_equal(dv_tally_add(&t, &a, &c, 5), 0);
    }
    assert_int_equal(t.n, 4 * 40 * 5);
    for (size_t i = 0; i < t.n; i++) {
        sum += t.rows[i].charge.busy_ns;
        for (size_t k = 0; k < i; k++)
            assert_false(dv_account_equal(&t.rows[i].account, &t.rows[k].account));
    }
    assert_int_equal(sum, told);
    dv_tally_done(&t);
}

static void a_full_tally_forgets_the_stale_and_counts_the_rest(void **state)
{
    struct dv_tally t = {.max = 2};
    struct dv_charge c = {.busy_ns = 1};
    struct dv_account a = account(0, 0, 0), b = account(0, 1, 0), d = account(0, 2, 0);
    assert_int_equal(dv_tally_add(&t, &a, &c, 1), 0);
    assert_int_equal(dv_tally_add(&t, &b, &c, 2), 0);
    assert_int_equal(dv_tally_add(&t, &d, &c, 3), -ENOSPC);
    assert_int_equal(t.dropped, 1);
    assert_int_equal(dv_tally_add(&t, &b, &c, DV_TALLY_STALE_NS), 0);
    assert_int_equal(dv_tally_add(&t, &d, &c, DV_TALLY_STALE_NS + 1), 0);
    assert_int_equal(t.n, 2);
    assert_string_equal(t.rows[0].account.tenant, "t1");
    assert_int_equal(t.rows[0].charge.busy_ns, 2);
    dv_tally_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_per_account),
        cmocka_unit_test(a_full_tally_forgets_the_stale_and_counts_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
