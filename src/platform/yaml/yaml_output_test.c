/* SPDX-License-Identifier: Apache-2.0 */
#include "render/json.h"
#include "yaml/yaml_output.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_err err;

static void check(const char *yaml, const char *json)
{
    dv_cleanup(dv_output_free) struct dv_output *o = NULL;
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    assert_int_equal(dv_yaml_output_read("x", yaml, strlen(yaml), &o, &err), 0);
    assert_int_equal(dv_json_write(o, false, &text), 0);
    text.data[text.len - 1] = 0; /* the newline */
    assert_string_equal(text.data, json);
}

static void refuse(const char *yaml, int expected, const char *message)
{
    struct dv_output *o = NULL;
    assert_int_equal(dv_yaml_output_read("x", yaml, strlen(yaml), &o, &err), expected);
    assert_non_null(strstr(err.msg, message));
    assert_null(o);
}

static void test_values(void **state)
{
    check("version: v1\nmig-configs:\n  current:\n  - devices: [0, 1]\n    mig-enabled: true\n"
          "    mig-devices: {\"1g.10gb\": 2}\n  - devices: all\n    mig-enabled: false\n",
          "{\"version\":\"v1\",\"mig-configs\":{\"current\":[{\"devices\":[0,1],\"mig-enabled\":"
          "true,\"mig-devices\":{\"1g.10gb\":2}},{\"devices\":\"all\",\"mig-enabled\":false}]}}");
    check("a: \"1\"\nb: 01\nc: 1.5\nd: ~\ne: ''\nf: -3\ng: .5\nh: 1e3\ni: 1.\nj: 0x10\n",
          "{\"a\":\"1\",\"b\":\"01\",\"c\":1.5,\"d\":null,\"e\":\"\",\"f\":-3,\"g\":\".5\","
          "\"h\":1e3,\"i\":\"1.\",\"j\":\"0x10\"}");
    check("{}", "{}");
}

static void test_refusals(void **state)
{
    refuse("", -EINVAL, "x: one mapping is wanted");
    refuse("[1]", -EINVAL, "x: one mapping is wanted");
    refuse("a: 1\n---\nb: 2\n", -EINVAL, "x: one mapping is wanted");
    refuse("a: [1\nb: 2", -EINVAL, "x:2");
    char deep[128];
    memset(deep, '[', sizeof deep - 1);
    memcpy(deep, "a: ", 3);
    deep[sizeof deep - 1] = 0;
    refuse(deep, -E2BIG, "x:");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values),
                                       cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
