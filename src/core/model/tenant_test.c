/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "model/tenant.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_names(void **state)
{
    static const char *const good[] = {"a",        "team-a", "_x",    "user@host",
                                       "ns/pod:1", "A.B_c-", "0zero", "system:serviceaccount/x"};
    static const char *const bad[] = {"",   " a",   "a b",  "a\n", "\x1b[31m", "a\x7f", "\xc3\xa4",
                                      "-a", "../x", "/etc", "a;b", "a'b",      "a\tb",  "@a"};
    struct dv_err err = {0};
    for (size_t i = 0; i < DV_ARRAY_SIZE(good); i++)
        assert_int_equal(dv_tenant_check_name(good[i], &err), 0);
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        err.msg[0] = 0;
        assert_int_equal(dv_tenant_check_name(bad[i], &err), -EINVAL);
        assert_true(err.msg[0]);
        for (const char *p = err.msg; *p; p++) /* the message itself is printable */
            assert_in_range(*p, ' ', '~');
    }
    char name[DV_TENANT_SIZE + 1];
    memset(name, 'x', sizeof name);
    name[63] = 0;
    assert_int_equal(dv_tenant_check_name(name, &err), 0);
    name[63] = 'x';
    name[64] = 0;
    assert_int_equal(dv_tenant_check_name(name, &err), -EINVAL);
}

static void test_names_fuzz(void **state)
{
    struct dv_rng rng = {5};
    for (int i = 0; i < 100000; i++) {
        char name[80];
        size_t n = dv_rng_below(&rng, sizeof name);
        bool ok = n >= 1 && n < DV_TENANT_SIZE;
        for (size_t k = 0; k < n; k++) {
            name[k] = (char)(1 + dv_rng_below(&rng, i % 3 ? 127 : 255));
            if (i % 3)
                name[k] = "abcXYZ019._:/@-"[(unsigned char)name[k] % 15];
        }
        name[n] = 0;
        for (size_t k = 0; k < n; k++)
            ok = ok && strspn(name + k, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                        "0123456789._:/@-");
        ok = ok && !strchr(".:/@-", name[0]);
        assert_int_equal(dv_tenant_check_name(name, NULL), ok ? 0 : -EINVAL);
    }
}

static void test_trust(void **state)
{
    enum dv_trust t;
    struct dv_err err = {0};
    assert_int_equal(dv_tenant_trust_parse("untrusted", &t, &err), 0);
    assert_string_equal(dv_tenant_trust_name(t), "untrusted");
    assert_int_equal(dv_tenant_trust_parse("Trusted", &t, &err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_names_fuzz),
        cmocka_unit_test(test_trust),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
