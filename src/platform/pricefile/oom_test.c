/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory runs out at the first, the second, the third... allocation, ours or the YAML library's,
 * while a price file is read. Each time it is -ENOMEM, nothing is handed out,
 * and nothing leaks (which the address sanitizer sees).
 */
#include "base/testing/oom.h"
#include "pricefile/pricefile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char text[] =
    "apiVersion: divvy/v1\nkind: PriceList\ncurrency: USD\nprices:\n"
    "- {perGpuHour: 1}\n- {perGpuHour: 2, model: [A100, H100], hours: [sat, 22:00-06:00]}\n"
    "fees: [{tenant: a, perMonth: 1}, {tenant: b, perMonth: 1}, {tenant: c, perMonth: 1}]\n";

static int life(void)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = NULL;
    struct dv_err err = {{0}};
    int r = dv_pricefile_read("p.yaml", text, strlen(text), NULL, &l, NULL, &err);
    if (r < 0) {
        assert_null(l);
        assert_string_equal(err.msg, "");
    }
    return r;
}

static void test_every_allocation_fails_once(void **state)
{
    size_t n = 1;
    for (;; n++) {
        dv_oom_at(n);
        int r = life();
        if (!dv_oom_end()) {
            assert_int_equal(r, 0);
            break;
        }
        assert_int_equal(r, -ENOMEM);
    }
    assert_in_range(n, 30, 1000); /* it did try them */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
