/* SPDX-License-Identifier: Apache-2.0 */
/* Lists that are made while they are printed, and what trees cost: allocations are counted, by
 * letting the first one too many fail. */
#include "base/arena.h"
#include "base/testing/oom.h"
#include "render/csv.h"
#include "render/json.h"
#include "render/report.h"
#include "render/table.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MANY 100000u

static const struct dv_table_column columns[] = {
    {"FLEET", "^fleet"},
    {"NAME", "name"},
    {"MEMORY", "memory_bytes", DV_VALUE_BYTES, .right = true},
    {"KIND", "about.kind", .csv_only = true},
    {"PIDS", "pids"},
};
static const struct dv_table view = {"part.rows", columns, DV_ARRAY_SIZE(columns)};

/* arg: the number of the row at which nothing is added; NULL: none. */
static void add_row(struct dv_output_node *list, size_t i, void *arg)
{
    char text[32];
    const size_t *missing = arg;
    if (missing && *missing == i) { /* as when memory is out */
        dv_output_uint(list, "an element has no key", 0);
        return;
    }
    struct dv_output_node *row = dv_output_object(list, NULL);
    snprintf(text, sizeof text, "row-%zu", i);
    dv_output_string(row, "name", text);
    dv_output_bytes(row, "memory_bytes", i * 1048576);
    dv_output_string(dv_output_object(row, "about"), "kind", i % 2 ? "odd" : "even");
    struct dv_output_node *pids = dv_output_array(row, "pids");
    for (size_t k = 0; k < i % 3; k++)
        dv_output_uint(pids, NULL, k);
    snprintf(text, sizeof text, "key-%zu", i); /* new in each row */
    dv_output_bool(row, text, true);
}

static struct dv_output *tree(size_t n, bool made, size_t *missing)
{
    struct dv_output *o = dv_output_new("Rows");
    struct dv_output_node *part = dv_output_object(dv_output_root(o), "part");
    dv_output_string(part, "fleet", "north");
    if (made) {
        dv_output_rows(part, "rows", add_row, missing, n);
    } else {
        struct dv_output_node *list = dv_output_array(part, "rows");
        for (size_t i = 0; i < n; i++)
            add_row(list, i, missing);
    }
    dv_output_uint(dv_output_root(o), "after", 1);
    return o;
}

static int render(struct dv_output *o, int how, struct dv_str *text)
{
    switch (how) {
    case 0:
        return dv_json_write(o, false, text);
    case 1:
        return dv_json_write(o, true, text);
    case 2:
        return dv_csv_write(&view, o, text);
    default:
        return dv_table_write(&view, o, (struct dv_table_style){.nothing = "nothing"}, text);
    }
}

/* Every renderer says of them what it says of a list that is there, as often as it is asked. */
static void test_same_text(void **state)
{
    static const size_t counts[] = {0, 1, 2, 1000};
    for (size_t c = 0; c < DV_ARRAY_SIZE(counts); c++) {
        dv_cleanup(dv_output_free) struct dv_output *held = tree(counts[c], false, NULL);
        dv_cleanup(dv_output_free) struct dv_output *made = tree(counts[c], true, NULL);
        for (int how = 0; how < 8; how++) {
            dv_cleanup(dv_str_done) struct dv_str one = {0}, other = {0};
            assert_int_equal(render(held, how % 4, &one), 0);
            assert_int_equal(render(made, how % 4, &other), 0);
            assert_string_equal(dv_str_get(&one), dv_str_get(&other));
        }
    }
}

static int count_bytes(void *arg, const char *text, size_t len)
{
    size_t *bytes = arg;
    *bytes += len;
    return len > DV_STR_PIECE + 1024 ? -EFBIG : 0;
}

/* JSON and CSV of many rows take as many allocations as those of one: the blocks of a row, and a
 * text that grows to a piece. */
static void test_many_rows_cost_nothing(void **state)
{
    for (int how = 0; how < 3; how++) {
        size_t bytes = 0;
        const struct dv_str_sink sink = {count_bytes, &bytes};
        dv_cleanup(dv_str_done) struct dv_str text = {.sink = &sink};
        dv_cleanup(dv_output_free) struct dv_output *o = tree(MANY, true, NULL);
        dv_oom_at(30);
        assert_int_equal(render(o, how, &text), 0);
        dv_str_flush(&text);
        assert_false(dv_oom_end());
        assert_false(text.failed);
        assert_true(bytes > 30 * MANY);
        assert_true(text.cap <= 2 * DV_STR_PIECE);
    }
}

/* A list that is held costs a small multiple of its text: 48 bytes a value, and its text. */
static void test_held_rows(void **state)
{
    assert_true(sizeof(struct dv_output_node) <= 48);
    dv_oom_at(MANY * 8 * 96 / DV_ARENA_BLOCK_MAX + 20); /* 8 values a row, and their texts */
    dv_cleanup(dv_output_free) struct dv_output *o = tree(MANY, false, NULL);
    assert_false(dv_oom_end());
    assert_false(dv_output_failed(o));
}

/* A row that cannot be made is an error, though what came before it is printed by then. */
static void test_row_that_fails(void **state)
{
    size_t missing = 700;
    for (int how = 0; how < 4; how++) {
        dv_cleanup(dv_output_free) struct dv_output *o = tree(1000, true, &missing);
        dv_cleanup(dv_str_done) struct dv_str text = {0};
        assert_false(dv_output_failed(o));
        assert_int_equal(render(o, how, &text), -ENOMEM);
        assert_true(dv_output_failed(o));
    }
}

static int refuse(void *arg, const char *text, size_t len)
{
    size_t *calls = arg;
    ++*calls;
    return -ENOSPC;
}

/* Nobody goes on making rows that nobody takes. */
static void test_sink_that_refuses(void **state)
{
    size_t missing = 5000; /* is not come to: a piece is full by then */
    for (int how = 0; how < 3; how++) {
        size_t calls = 0;
        const struct dv_str_sink sink = {refuse, &calls};
        dv_cleanup(dv_str_done) struct dv_str text = {.sink = &sink};
        dv_cleanup(dv_output_free) struct dv_output *o = tree(MANY, true, &missing);
        assert_int_equal(render(o, how, &text), -ENOMEM);
        assert_int_equal(calls, 1);
        assert_false(dv_output_failed(o));
    }
}

static void test_misuse(void **state)
{
    /* Not within one of its own kind. */
    dv_cleanup(dv_output_free) struct dv_output *o = tree(2, true, NULL);
    const struct dv_output_node *list =
        dv_output_get(dv_output_get(dv_output_root(o), "part"), "rows");
    assert_null(dv_output_at(list, 0));
    const struct dv_output_node *row = dv_output_first(list);
    assert_non_null(row);
    assert_false(dv_output_stays(row));
    assert_false(dv_output_stays(dv_output_get(row, "pids")));
    assert_true(dv_output_stays(list));
    assert_ptr_equal(dv_output_top(row), dv_output_root(o));
    assert_null(dv_output_rows((struct dv_output_node *)row, "inner", add_row, NULL, 1));
    assert_true(dv_output_failed(o));
    assert_null(dv_output_rows(NULL, "rows", add_row, NULL, 1));
    assert_null(dv_output_first(NULL));

    /* A report keeps its rows: it refuses those that do not stay. */
    static const struct dv_report_part part = {DV_REPORT_TABLE, "Rows", .table = &view};
    static const struct dv_report report = {"Report", &part, 1};
    dv_cleanup(dv_output_free) struct dv_output *made = tree(2, true, NULL);
    dv_cleanup(dv_str_done) struct dv_str page = {0};
    struct dv_err err = {{0}};
    assert_int_equal(dv_report_write(&report, made, &page, &err), -EINVAL);
}

/* Memory runs out at each allocation in turn, of a tree's making and printing. */
static int life(bool made)
{
    dv_cleanup(dv_output_free) struct dv_output *o = tree(200, made, NULL);
    dv_cleanup(dv_str_done) struct dv_str text = {0}, table = {0};
    size_t *arg = dv_output_alloc(o, sizeof *arg);
    if (arg)
        assert_int_equal(*arg, 0);
    int r = dv_json_write(o, true, &text);
    return r ? r : dv_table_write(&view, o, (struct dv_table_style){0}, &table);
}

static void test_out_of_memory(void **state)
{
    for (int made = 0; made < 2; made++) {
        size_t n = 0;
        bool met;
        do {
            dv_oom_at(++n);
            int r = life(made);
            met = dv_oom_end();
            assert_int_equal(r, met ? -ENOMEM : 0);
        } while (met);
        assert_in_range(n, 15, 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_text),         cmocka_unit_test(test_many_rows_cost_nothing),
        cmocka_unit_test(test_held_rows),         cmocka_unit_test(test_row_that_fails),
        cmocka_unit_test(test_sink_that_refuses), cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
