/* SPDX-License-Identifier: Apache-2.0 */
#include "render/csv.h"
#include "render/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct dv_table_column columns[] = {
    {"GPU", "^index", .right = true, .csv = "gpu_index"},
    {"SLICE", "id"},
    {"HELD", "memory_bytes", DV_VALUE_BYTES, .right = true},
    {"SHARE", "compute_permille", DV_VALUE_PERMILLE, .right = true},
    {"BUSY", "busy_seconds", DV_VALUE_SECONDS, .right = true},
    {"HEALTH", "health", .state = true},
    {"PIDS", "pids"},
};
static const struct dv_table view = {"gpus.slices", columns, DV_ARRAY_SIZE(columns)};
static const struct dv_table outer = {"gpus.slices", columns, DV_ARRAY_SIZE(columns), true};

static struct dv_output *sample(void)
{
    struct dv_output *o = dv_output_new("NodeStatus");
    struct dv_output_node *gpus = dv_output_array(dv_output_root(o), "gpus");
    for (unsigned i = 0; i < 2; i++) {
        struct dv_output_node *gpu = dv_output_object(gpus, NULL);
        dv_output_uint(gpu, "index", i);
        struct dv_output_node *slices = dv_output_array(gpu, "slices");
        if (i)
            break;
        struct dv_output_node *s = dv_output_object(slices, NULL);
        dv_output_string(s, "id", "s-1");
        dv_output_number(s, "memory_bytes", "10737418240");
        dv_output_number(s, "compute_permille", "142");
        dv_output_number(s, "busy_seconds", "1.500000000");
        dv_output_string(s, "health", "ok");
        struct dv_output_node *pids = dv_output_array(s, "pids");
        dv_output_uint(pids, NULL, 11);
        dv_output_uint(pids, NULL, 12);
        s = dv_output_object(slices, NULL);
        dv_output_string(s, "id", "gr\xc3\xbc\x1b[2J,\"");
        dv_output_bytes(s, "memory_bytes", 1);
        dv_output_compute(s, "compute_permille", 7000);
        dv_output_seconds(s, "busy_seconds", 5);
    }
    return o;
}

static void test_table(void **state)
{
    dv_cleanup(dv_output_free) struct dv_output *o = sample();
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    assert_int_equal(dv_table_write(&view, o, (struct dv_table_style){.indent = "  "}, &text), 0);
    assert_string_equal(dv_str_get(&text),
                        "  GPU  SLICE             HELD  SHARE   BUSY  HEALTH  PIDS\n"
                        "    0  s-1           10.0 GiB  14.2%  1.50s  ok      11 12\n"
                        "    0  gr\xc3\xbc\\x1b[2J,\"       1 B   100%    5ns  -       -\n");
}

/* An object on the way to the rows is passed through. */
static void test_rows_below_an_object(void **state)
{
    static const struct dv_table_column id[] = {{"ID", "id"}};
    static const struct dv_table below = {"node.rows", id, 1}, itself = {"node", id, 1};
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new("Below");
    dv_cleanup(dv_str_done) struct dv_str text = {0}, none = {0};
    struct dv_output_node *node = dv_output_object(dv_output_root(o), "node");
    struct dv_output_node *rows = dv_output_array(node, "rows");
    dv_output_string(dv_output_object(rows, NULL), "id", "a");
    dv_output_string(dv_output_object(rows, NULL), "id", "b");
    assert_int_equal(dv_table_write(&below, o, (struct dv_table_style){0}, &text), 0);
    assert_string_equal(dv_str_get(&text), "ID\na\nb\n");
    assert_int_equal(
        dv_table_write(&itself, o, (struct dv_table_style){.nothing = "nothing"}, &none), 0);
    assert_string_equal(dv_str_get(&none), "nothing\n");
}

static void test_colour(void **state)
{
    static const struct dv_table_column health[] = {{"HEALTH", "health", .state = true}};
    static const struct dv_table one = {"gpus.slices", health, 1};
    dv_cleanup(dv_output_free) struct dv_output *o = sample();
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    assert_int_equal(dv_table_write(&one, o, (struct dv_table_style){.colour = true}, &text), 0);
    assert_string_equal(dv_str_get(&text), "\033[1mHEALTH\033[0m\n\033[32mok\033[0m\n-\n");
}

static void test_csv(void **state)
{
    dv_cleanup(dv_output_free) struct dv_output *o = sample();
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    assert_int_equal(dv_csv_write(&outer, o, &text), 0);
    assert_string_equal(dv_str_get(&text),
                        "gpu_index,id,memory_bytes,compute_permille,busy_seconds,health,pids\r\n"
                        "0,s-1,10737418240,142,1.500000000,ok,11 12\r\n"
                        "0,\"gr\xc3\xbc\x1b[2J,\"\"\",1,1000,0.000000005,,\r\n"
                        "1,,,,,,\r\n");
}

static void test_nothing(void **state)
{
    static const struct dv_table none = {"absent.slices", columns, DV_ARRAY_SIZE(columns)};
    dv_cleanup(dv_output_free) struct dv_output *o = sample();
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    assert_int_equal(dv_table_write(&none, o, (struct dv_table_style){.nothing = "none"}, &text),
                     0);
    assert_string_equal(dv_str_get(&text), "none\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),   cmocka_unit_test(test_rows_below_an_object),
        cmocka_unit_test(test_colour),  cmocka_unit_test(test_csv),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
