/* SPDX-License-Identifier: Apache-2.0 */
#include "request.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int claim(const char *body, struct dv_request_claim *q, struct dv_err *err)
{
    return dv_request_claim(body, strlen(body), q, err);
}

static void test_claim(void **state)
{
    struct dv_request_claim q;
    struct dv_err err = {0};
    assert_int_equal(claim("{}", &q, &err), 0);
    assert_string_equal(q.claim.tenant, "");
    assert_true(q.claim.wait);
    assert_int_equal(q.claim.mode, DV_MODE_AUTO);
    assert_int_equal(claim("{\"tenant\":\"ann\",\"mode\":\"governed\",\"memory_bytes\":10737418240,"
                           "\"compute\":1750,\"priority\":-100,\"tier\":\"be\",\"trust\":"
                           "\"untrusted\",\"gpu\":\"1\",\"wait\":false,\"command\":\"a b\"} \n",
                           &q, &err),
                     0);
    assert_string_equal(q.claim.tenant, "ann");
    assert_int_equal(q.claim.mode, DV_MODE_GOVERNED);
    assert_true(q.claim.memory_bytes == 10737418240u);
    assert_int_equal(q.claim.compute, 1750);
    assert_int_equal(q.claim.priority, -100);
    assert_int_equal(q.claim.trust, DV_TRUST_UNTRUSTED);
    assert_int_equal(q.claim.gpu.kind, DV_SELECTOR_INDEX);
    assert_false(q.claim.wait);
    assert_string_equal(q.command, "a b");
}

static void test_refused(void **state)
{
    static const struct {
        const char *body, *words;
    } bad[] = {
        {"", "empty"},
        {"{", "ends too early"},
        {"[]", "must be a JSON object"},
        {"null", "must be a JSON object"},
        {"{} {}", "not JSON"},
        {"{\"memroy_bytes\":1}", "did you mean 'memory_bytes'"},
        {"{\"\\u001b[31m\":1}", "unknown key '?[31m'"},
        {"{\"memory_bytes\":0}", "between 1 and"},
        {"{\"memory_bytes\":-1}", "between 1 and"},
        {"{\"memory_bytes\":1.5}", "must be an integer"},
        {"{\"memory_bytes\":\"10\"}", "must be an integer"},
        {"{\"memory_bytes\":99999999999999999999999}", "between 1 and"},
        {"{\"compute\":7001}", "between 1 and 7000"},
        {"{\"priority\":101}", "between -100 and 100"},
        {"{\"wait\":1}", "true or false"},
        {"{\"tenant\":7}", "must be a string"},
        {"{\"tenant\":\"\"}", "tenant"},
        {"{\"tenant\":\"a\\u0000b\"}", "control characters"},
        {"{\"mode\":\"\\u001b[31m\"}", "control characters"},
        {"{\"tenant\":\"a\\nb\"}", "tenant"},
        {"{\"tenant\":\"\xff\xfe\"}", "not JSON"},
        {"{\"mode\":\"warp\"}", "warp"},
        {"{\"tier\":\"lc\"}", "not there yet"},
        {"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}}", "not JSON"},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        struct dv_request_claim q;
        struct dv_err err = {0};
        assert_int_equal(claim(bad[i].body, &q, &err), -EINVAL);
        if (!strstr(err.msg, bad[i].words))
            fail_msg("%s: '%s' lacks '%s'", bad[i].body, err.msg, bad[i].words);
        assert_null(strpbrk(err.msg, "\n\r\x1b"));
    }
}

static void test_change(void **state)
{
    struct dv_err err;
    uint64_t memory;
    uint32_t compute;
    int signo;
    assert_int_equal(dv_request_limit("{\"compute\":70}", 14, &memory, &compute, &err), 0);
    assert_int_equal(memory, 0);
    assert_int_equal(compute, 70);
    assert_int_equal(dv_request_limit("{}", 2, &memory, &compute, &err), -EINVAL);
    assert_int_equal(dv_request_kill("", 0, &signo, &err), 0);
    assert_int_equal(signo, SIGTERM);
    assert_int_equal(dv_request_kill("{\"signal\":9}", 12, &signo, &err), 0);
    assert_int_equal(signo, 9);
    assert_int_equal(dv_request_kill("{\"signal\":0}", 12, &signo, &err), -EINVAL);
}

static int baseline(const char *body, uint64_t *claim, char name[64], struct dv_err *err)
{
    return dv_request_baseline(body, strlen(body), claim, name, err);
}

static void test_baseline(void **state)
{
    struct dv_err err = {0};
    struct dv_request_claim q;
    uint64_t id;
    char name[64];
    assert_int_equal(claim("{\"alone\":true}", &q, &err), 0);
    assert_true(q.claim.alone);
    assert_int_equal(claim("{\"alone\":1}", &q, &err), -EINVAL);
    assert_int_equal(baseline("{\"claim\":\"c-7\"}", &id, name, &err), 0);
    assert_int_equal(id, 7);
    assert_string_equal(name, "");
    assert_int_equal(baseline("{\"claim\":\"12\",\"name\":\"x\"}", &id, name, &err), 0);
    assert_int_equal(id, 12);
    assert_string_equal(name, "x");
    static const char *const bad[] = {"{}",
                                      "{\"claim\":7}",
                                      "{\"claim\":\"c-\"}",
                                      "{\"claim\":\"c-07\"}",
                                      "{\"claim\":\"c-1x\"}",
                                      "{\"claim\":\"c-1\",\"nmae\":\"x\"}",
                                      "{\"claim\":\"99999999999999999999\"}"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++)
        assert_int_equal(baseline(bad[i], &id, name, &err), -EINVAL);
}

static int bill(const char *body, struct dv_request_bill *q, struct dv_err *err)
{
    return dv_request_bill(body, strlen(body), q, err);
}

static void test_bill(void **state)
{
    struct dv_request_bill q;
    struct dv_err err = {0};
    assert_int_equal(bill("", &q, &err), 0);
    assert_null(q.price_text);
    assert_string_equal(q.from, "");
    assert_int_equal(bill("{\"from\":\"-7d\",\"by\":\"day\",\"price_text\":\"a\\nb\"}", &q, &err),
                     0);
    assert_string_equal(q.from, "-7d");
    assert_string_equal(q.price_text, "a\nb");
    assert_int_equal(q.price_len, 3);
    dv_request_bill_done(&q);
    assert_null(q.price_text);
    static const char *const bad[] = {
        "{",
        "[]",
        "{\"form\":\"x\"}",
        "{\"from\":1}",
        "{\"price_text\":1}",
        "{\"from\":\"\\u0007\"}",
        "{\"from\":\"0123456789012345678901234567890123456789012345678\"}",
        "{\"price_text\":\"x\",\"by\":7}"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++)
        assert_int_equal(bill(bad[i], &q, &err), -EINVAL);
}

static void test_ledger(void **state)
{
    struct dv_request_bill backup;
    struct dv_request_correction c;
    struct dv_request_rename n;
    struct dv_err err = {0};
#define PARSE(f, body, to) f(body, strlen(body), to, &err)
    assert_int_equal(PARSE(dv_request_backup, "{\"path\":\"/a\"}", &backup), 0);
    assert_string_equal(backup.path, "/a");
    assert_int_equal(PARSE(dv_request_backup, "{\"path\":\"a\"}", &backup), -EINVAL);
    assert_int_equal(PARSE(dv_request_backup, "{}", &backup), -EINVAL);
    assert_int_equal(PARSE(dv_request_correction,
                           "{\"at\":\"-1h\",\"gpu\":\"GPU-1234\",\"tenant\":\"a\",\"busy_ns\":5,"
                           "\"reason\":\"r\"}",
                           &c),
                     0);
    assert_string_equal(c.to, "");
    assert_true(c.busy_ns == 5 && c.reserved_idle_ns == 0);
    static const char *const bad[] = {
        "{\"gpu\":\"GPU-1234\",\"tenant\":\"a\",\"busy_ns\":5,\"reason\":\"r\"}",
        "{\"at\":\"1\",\"gpu\":\"GPU\",\"tenant\":\"a\",\"busy_ns\":5,\"reason\":\"r\"}",
        "{\"at\":\"1\",\"gpu\":\"GPU-1234\",\"tenant\":\"a\",\"reason\":\"r\"}",
        "{\"at\":\"1\",\"gpu\":\"GPU-1234\",\"tenant\":\"a\",\"busy_ns\":-1,\"reason\":\"r\"}",
        "{\"at\":\"1\",\"gpu\":\"GPU-1234\",\"tenant\":\"a\",\"busy_ns\":5}",
        "{\"at\":\"1\",\"gpu\":\"GPU-1234\",\"tenant\":\"a\",\"to\":\"a\",\"busy_ns\":5,"
        "\"reason\":\"r\"}",
        "{\"at\":\"1\",\"gpu\":\"GPU-1234\",\"tenant\":\"a\",\"to\":\" \",\"busy_ns\":5,"
        "\"reason\":\"r\"}"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++)
        assert_int_equal(PARSE(dv_request_correction, bad[i], &c), -EINVAL);
    assert_int_equal(PARSE(dv_request_rename, "{\"old\":\"a\",\"new\":\"b\"}", &n), 0);
    assert_int_equal(PARSE(dv_request_rename, "{\"old\":\"a\",\"new\":\"a\"}", &n), -EINVAL);
    assert_int_equal(PARSE(dv_request_rename, "{\"old\":\"a\"}", &n), -EINVAL);
    assert_int_equal(PARSE(dv_request_rename, "{\"old\":\"a\",\"new\":\"@outside\"}", &n), -EINVAL);
#undef PARSE
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claim),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_change), cmocka_unit_test(test_baseline),
        cmocka_unit_test(test_bill),   cmocka_unit_test(test_ledger)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
