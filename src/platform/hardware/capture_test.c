/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments: captures. Each must come back to the letter through the replay back end. */
#include "hardware/capture.h"
#include "hardware/replay.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char **captures;

static void read_all(const char *path, struct dv_str *s)
{
    char buf[4096];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (size_t n; (n = fread(buf, 1, sizeof buf, f));)
        dv_str_addn(s, buf, n);
    fclose(f);
}

static void test_golden(void **state)
{
    for (char **path = captures; *path; path++) {
        struct dv_hardware *hw;
        struct dv_err err = {0};
        struct dv_capture *c;
        dv_cleanup(dv_str_done) struct dv_str expected = {0}, got = {0};
        read_all(*path, &expected);
        assert_int_equal(dv_hardware_replay_new(*path, &hw, &err), 0);
        assert_int_equal(dv_capture_take(hw, &c, &err), 0);
        dv_capture_print(c, &got);
        assert_string_equal(dv_str_get(&got), dv_str_get(&expected));
        dv_capture_free(c);
        dv_hardware_free(hw);
    }
}

static void test_unknown(void **state)
{
    struct dv_capture *c;
    struct dv_err err = {0};
    assert_int_equal(
        dv_capture_parse("divvy-capture 1\ndriver gpus=1\ngpu index=0 uuid=GPU-1\n", &c, &err), 0);
    assert_int_equal(c->gpus[0].memory_bytes, DV_FACT_UNKNOWN);
    assert_int_equal(c->gpus[0].mig_current, DV_FACT_UNKNOWN32);
    assert_string_equal(c->gpus[0].model, "");
    assert_int_equal(c->topology[0].nvlinks_switch, DV_FACT_UNKNOWN32);
    assert_int_equal(c->topology[0].peers[1].pcie, DV_FACT_UNKNOWN32);
    dv_capture_free(c);
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "line 1: expected 'divvy-capture 1'"},
        {"divvy-capture 1\ngpu uuid=x", "line 2: 'gpu' must name its GPU first"},
        {"divvy-capture 1\ngpu index=99", "line 2: '99' is no GPU number below 32"},
        {"divvy-capture 1\ngpu index=0 colour=red", "line 2: unknown key 'colour'"},
        {"divvy-capture 1\ndriver cuda=-1", "line 2: cuda='-1' is not a number in its range"},
        {"divvy-capture 1\ndriver version=\"5", "line 2: the quote of version does not end"},
        {"divvy-capture 1\ndriver version", "line 2: expected key=value at 'version'"},
        {"divvy-capture 1\npeer gpu=0 pcie=10", "line 2: 'peer' must name its GPU first"},
        {"divvy-capture 1\npeer gpu=0 to=32", "line 2: '32' is no GPU number below 32"},
        {"divvy-capture 1\n\nbox gpu=0 a=1", "line 3: unknown or too many records of kind 'box'"},
        {"divvy-capture 1\ndriver gpus=33", "at most 32 GPUs are possible"},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        struct dv_capture *c;
        struct dv_err err = {0};
        assert_int_equal(dv_capture_parse(bad[i].text, &c, &err), -EINVAL);
        assert_string_equal(err.msg, bad[i].message);
    }
}

int main(int argc, char **argv)
{
    captures = argv + 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden),
                                       cmocka_unit_test(test_unknown),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
