/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "kube/json.h"
#include "kube/known.h"

#include <errno.h>
#include <json-c/json.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_reading(void **state)
{
    static const char text[] =
        "{\"a\":{\"b\":\"x\",\"n\":7,\"t\":true,\"l\":[1,2]},\"z\":\"p\\u0000q\"}";
    struct json_object *o = dv_kube_json_parse(text, strlen(text));
    assert_string_equal(dv_kube_json_text(o, "a", "b", NULL), "x");
    assert_string_equal(dv_kube_json_text(o, "a", "n", NULL), "");
    assert_string_equal(dv_kube_json_text(o, "a", "b", "c", NULL), "");
    assert_string_equal(dv_kube_json_text(o, "z", NULL), "p");
    assert_int_equal(dv_kube_json_int(o, "a", "n", NULL), 7);
    assert_int_equal(dv_kube_json_int(o, "a", "b", NULL), 0);
    assert_true(dv_kube_json_true(o, "a", "t", NULL));
    assert_false(dv_kube_json_true(o, "a", "n", NULL));
    assert_int_equal(dv_kube_json_length(dv_kube_json_at(o, "a", "l", NULL)), 2);
    assert_int_equal(dv_kube_json_length(dv_kube_json_at(o, "a", NULL)), 0);
    assert_null(dv_kube_json_item(dv_kube_json_at(o, "a", "l", NULL), 2));
    json_object_put(o);
    assert_null(dv_kube_json_parse("[1]", 3));
    assert_null(dv_kube_json_parse("{\"a\":", 5));
    assert_null(dv_kube_json_parse("", 0));
    assert_string_equal(dv_kube_json_text(NULL, "a", NULL), "");
}

static void check_quantity(const char *text, int expected, int64_t value)
{
    int64_t v = -1;
    int r = dv_kube_json_quantity(text, &v);
    if (r != expected || (r == 0 && v != value))
        fail_msg("%s: %d, %lld", text, r, (long long)v);
}

static void test_quantity(void **state)
{
    check_quantity("0", 0, 0);
    check_quantity("25", 0, 25);
    check_quantity("+3", 0, 3);
    check_quantity("1k", 0, 1000);
    check_quantity("1Ki", 0, 1024);
    check_quantity("1.5Gi", 0, 1610612736);
    check_quantity("500m", 0, 1);
    check_quantity("1001m", 0, 2);
    check_quantity("1e3", 0, 1000);
    check_quantity("12E-1", 0, 2);
    check_quantity("7E", 0, 7000000000000000000);
    check_quantity("7Ei", 0, 8070450532247928832);
    check_quantity("8Ei", -ERANGE, 0);
    check_quantity("1e99", -ERANGE, 0);
    check_quantity("9999999999999999999", -ERANGE, 0);
    check_quantity("1n", 0, 1);
    check_quantity("-1", -ERANGE, 0);
    check_quantity("", -EINVAL, 0);
    check_quantity(".", -EINVAL, 0);
    check_quantity("1.2.3", -EINVAL, 0);
    check_quantity("1 ", -EINVAL, 0);
    check_quantity("1kk", -EINVAL, 0);
    check_quantity("1e", -EINVAL, 0);
    check_quantity("0x1", -EINVAL, 0);
}

/* ---- known ---------------------------------------------------------------------------------- */

#define NAMES 40

struct truth {
    uint32_t uid, version; /* uid 0: not there */
};

static void name_of(uint32_t i, char ns[16], char name[16])
{
    snprintf(ns, 16, "n%u", i % 3);
    snprintf(name, 16, "p%u", i);
}

static enum dv_kube_known_put put(struct dv_kube_known *k, uint32_t i, const struct truth *t)
{
    char ns[16], name[16], uid[16], version[16];
    char *old = NULL;
    enum dv_kube_known_put how;
    name_of(i, ns, name);
    snprintf(uid, sizeof uid, "u%u", t->uid);
    snprintf(version, sizeof version, "%u", t->version);
    assert_int_equal(dv_kube_known_put(k, ns, name, uid, version, &how, &old), 0);
    assert_int_equal(old != NULL, how == DV_KUBE_KNOWN_REPLACED);
    free(old);
    return how;
}

/* What was told, applied to nothing, is what there is, however changes, lists and gaps mix. */
static void test_known(void **state)
{
    struct dv_rng rng = {11};
    struct dv_kube_known k = {0};
    struct truth now[NAMES] = {{0}}, told[NAMES] = {{0}};
    dv_kube_known_begin(&k);
    for (uint32_t step = 1; step < 20000; step++) {
        uint32_t i = (uint32_t)dv_rng_below(&rng, NAMES);
        uint64_t what = dv_rng_below(&rng, 10);
        char ns[16], name[16];
        name_of(i, ns, name);
        if (what < 6) { /* comes, changes, or goes and comes */
            now[i].uid = now[i].uid && what < 4 ? now[i].uid : step;
            now[i].version = step;
        } else if (what < 9) {
            now[i] = (struct truth){0};
        }
        if (dv_rng_below(&rng, 3)) { /* seen by the watch */
            if (now[i].uid) {
                enum dv_kube_known_put how = put(&k, i, &now[i]), expected;
                expected = !told[i].uid                        ? DV_KUBE_KNOWN_NEW
                           : told[i].uid != now[i].uid         ? DV_KUBE_KNOWN_REPLACED
                           : told[i].version != now[i].version ? DV_KUBE_KNOWN_CHANGED
                                                               : DV_KUBE_KNOWN_SAME;
                assert_int_equal(how, expected);
            } else {
                assert_int_equal(dv_kube_known_remove(&k, ns, name), told[i].uid != 0);
            }
            told[i] = now[i];
        }
        if (step % 50)
            continue;
        dv_kube_known_begin(&k); /* a list */
        for (uint32_t j = 0; j < NAMES; j++)
            if (now[j].uid)
                put(&k, j, &now[j]);
        struct dv_kube_known_object o;
        while (dv_kube_known_stale(&k, &o)) {
            uint32_t j = (uint32_t)strtoul(o.name + 1, NULL, 10);
            assert_int_equal(now[j].uid, 0);
            assert_int_not_equal(told[j].uid, 0);
            told[j].uid = 0;
            dv_kube_known_object_done(&o);
        }
        uint32_t there = 0;
        for (uint32_t j = 0; j < NAMES; j++) {
            assert_false(told[j].uid && !now[j].uid);
            told[j] = now[j];
            there += now[j].uid != 0;
        }
        assert_int_equal(k.n, there);
    }
    dv_kube_known_done(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_quantity),
        cmocka_unit_test(test_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
