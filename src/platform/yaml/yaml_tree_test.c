/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "yaml/yaml_tree.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_err err;

static struct dv_yaml *parse(const char *text)
{
    struct dv_yaml *y = NULL;
    err.msg[0] = 0;
    int r = dv_yaml_parse("f.yaml", text, strlen(text), &y, &err);
    if (r < 0)
        fail_msg("%d: %s", r, err.msg);
    return y;
}

static void assert_refused(const char *text, size_t len, int expected, const char *message)
{
    struct dv_yaml *y = NULL;
    err.msg[0] = 0;
    assert_int_equal(dv_yaml_parse("f.yaml", text, len, &y, &err), expected);
    assert_null(y);
    assert_string_equal(err.msg, message);
}

static void assert_bad(const char *text, const char *message)
{
    assert_refused(text, strlen(text), -EINVAL, message);
}

static void test_tree(void **state)
{
    dv_cleanup(dv_yaml_freep) struct dv_yaml *y = parse("a: 1\n"
                                                        "b:\n"
                                                        "  - x\n"
                                                        "  - 'y'\n"
                                                        "c: |\n"
                                                        "  text\n");
    assert_int_equal(y->n_roots, 1);
    const struct dv_yaml_node *root = y->roots[0];
    assert_int_equal(root->kind, DV_YAML_MAP);
    assert_int_equal(root->n, 3);
    assert_int_equal(root->weight, 9);
    const struct dv_yaml_node *a = dv_yaml_get(root, "a"), *b = dv_yaml_get(root, "b");
    assert_string_equal(a->text, "1");
    assert_true(a->plain);
    assert_int_equal(a->line, 1);
    assert_int_equal(a->column, 4);
    assert_int_equal(b->kind, DV_YAML_LIST);
    assert_int_equal(b->n, 2);
    assert_false(b->items[1]->plain);
    assert_int_equal(b->items[1]->line, 4);
    assert_int_equal(b->items[1]->column, 5);
    assert_true(dv_yaml_get(root, "c")->literal);
    assert_string_equal(dv_yaml_get(root, "c")->text, "text\n");
    assert_null(dv_yaml_get(root, "d"));
    assert_null(dv_yaml_get(a, "d"));
}

static void test_json(void **state)
{
    dv_cleanup(dv_yaml_freep) struct dv_yaml *y =
        parse("{\"a\":\"\\u00e9\\/\",\n\t\"b\":[1,true,null],\"c\":{}}");
    const struct dv_yaml_node *root = y->roots[0];
    assert_string_equal(dv_yaml_get(root, "a")->text, "\xc3\xa9/");
    assert_true(dv_yaml_is_null(dv_yaml_get(root, "b")->items[2]));
    assert_int_equal(dv_yaml_get(root, "c")->n, 0);
}

static void test_documents(void **state)
{
    dv_cleanup(dv_yaml_freep) struct dv_yaml *two = parse("---\na: 1\n---\n# nothing\n---\n- b\n");
    assert_int_equal(two->n_roots, 2);
    assert_int_equal(two->roots[1]->line, 6);
    dv_cleanup(dv_yaml_freep) struct dv_yaml *none = parse("# nothing\n");
    assert_int_equal(none->n_roots, 0);
    dv_cleanup(dv_yaml_freep) struct dv_yaml *empty = parse("");
    assert_int_equal(empty->n_roots, 0);
    char many[DV_YAML_ROOTS_MAX * 6 + 16] = "";
    for (size_t i = 0; i <= DV_YAML_ROOTS_MAX; i++)
        memcpy(many + strlen(many), "--- a\n", 7);
    assert_refused(many, strlen(many), -E2BIG, "f.yaml:65:5: too much: at most 64 documents");
}

static void test_aliases(void **state)
{
    dv_cleanup(dv_yaml_freep) struct dv_yaml *y = parse("a: &x {b: 1}\nc: *x\nd: [*x, *x]\n");
    const struct dv_yaml_node *root = y->roots[0];
    assert_ptr_equal(dv_yaml_get(root, "a"), dv_yaml_get(root, "c"));
    assert_ptr_equal(dv_yaml_get(root, "a"), dv_yaml_get(root, "d")->items[1]);
    assert_int_equal(root->weight, 17);
    assert_bad("a: *x\n", "f.yaml:1:4: there is no &x before this *x");
    assert_bad("a: &x [*x]\n", "f.yaml:1:8: *x is inside itself");
    assert_bad("- &x a\n---\n- *x\n", "f.yaml:3:3: there is no &x before this *x");
    assert_bad("a: &x {b: 1}\nc:\n  <<: *x\n",
               "f.yaml:3:3: merge keys (\"<<\") are not read; write the keys out");
}

/* Nine levels of nine: a text of a few hundred bytes that stands for 400 million values. */
static void test_laughs(void **state)
{
    char text[1024];
    int n = snprintf(text, sizeof text, "a0: &a0 [l,l,l,l,l,l,l,l,l]\n");
    for (int i = 1; i < 9; i++)
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1,
                      i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    assert_refused(text, strlen(text), -E2BIG,
                   "f.yaml:5:38: too much: at most 65536 values, and what an alias repeats counts "
                   "each time");
}

static void test_bounds(void **state)
{
    char deep[2 * DV_YAML_DEPTH_MAX + 8];
    memset(deep, '[', sizeof deep);
    assert_refused(deep, sizeof deep, -E2BIG, "f.yaml:1:33: too deep: at most 32 levels");
    memset(deep + DV_YAML_DEPTH_MAX, ']', DV_YAML_DEPTH_MAX);
    deep[2 * DV_YAML_DEPTH_MAX] = 0;
    dv_cleanup(dv_yaml_freep) struct dv_yaml *y = parse(deep);
    assert_int_equal(y->roots[0]->weight, DV_YAML_DEPTH_MAX);
    static char large[DV_YAML_SIZE_MAX + 1];
    memset(large, '#', sizeof large);
    assert_refused(large, sizeof large, -E2BIG, "f.yaml: 1048577 bytes; at most 1048576 are read");
    dv_cleanup(dv_str_done) struct dv_str keys = {0}, items = {0}, anchors = {0};
    for (uint32_t i = 0; i <= DV_YAML_PAIRS_MAX; i++)
        dv_str_addf(&keys, "k%u: 1\n", i);
    assert_refused(keys.data, keys.len, -E2BIG,
                   "f.yaml:4097:1: too much: a map has at most 4096 keys");
    for (uint32_t i = 0; i < DV_YAML_NODES_MAX; i++)
        dv_str_add(&items, "- 1\n");
    assert_refused(items.data, items.len, -E2BIG,
                   "f.yaml:65536:3: too much: at most 65536 values, and what an alias repeats "
                   "counts each time");
    for (uint32_t i = 0; i <= DV_YAML_ANCHORS_MAX; i++)
        dv_str_addf(&anchors, "- &a%u 1\n", i);
    assert_refused(anchors.data, anchors.len, -E2BIG, "f.yaml:65:3: too much: at most 64 anchors");
}

static void test_refused(void **state)
{
    assert_bad("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: a is given twice; the first is in line 1");
    assert_bad("[a]: 1\n", "f.yaml:1:1: a key must be a text");
    assert_bad("a: \"x\\0y\"\n", "f.yaml:1:4: a zero byte in a text");
    assert_bad("a: !thing 1\n", "f.yaml:1:4: the tag !thing is not known; leave it out");
    assert_bad("a: b: c\n", "f.yaml:1:5: this is no YAML: mapping values are not allowed in this "
                            "context");
    assert_bad("\ta: 1\n", "f.yaml:1:1: this is no YAML: a tab; lines are indented with blanks");
    assert_bad("a:\n\t- b\n", "f.yaml:2:1: this is no YAML: a tab; lines are indented with blanks");
    assert_bad("a: [1\n", "f.yaml:2:1: this is no YAML: did not find expected ',' or ']', while "
                          "parsing a flow sequence");
    assert_bad("a: \xff\n", "f.yaml: byte 3: invalid leading UTF-8 octet");
    assert_refused("a: \0\n", 5, -EINVAL, "f.yaml: byte 3: control characters are not allowed");
}

static void test_tags(void **state)
{
    dv_cleanup(dv_yaml_freep) struct dv_yaml *y = parse("- !!str 1\n- !!int 1\n- ! 1\n");
    assert_false(y->roots[0]->items[0]->plain);
    assert_true(y->roots[0]->items[1]->plain);
    assert_false(y->roots[0]->items[2]->plain);
}

/* ---- values ---- */

static const char *const names[] = {"name", "count", "shared"};

static const char *advice(const char *key)
{
    return strcmp(key, "elsewhere") ? NULL : "it belongs elsewhere";
}

static void test_map(void **state)
{
    struct dv_yaml_map map = {"a thing", names, 3, .nulls = true, advice};
    const struct dv_yaml_node *got[3];
    dv_cleanup(dv_yaml_freep) struct dv_yaml *y = parse("count: 3\nname:\n");
    assert_int_equal(dv_yaml_map_read(y, y->roots[0], &map, got, &err), 0);
    assert_null(got[0]);
    assert_string_equal(got[1]->text, "3");
    assert_null(got[2]);
    map.nulls = false;
    assert_int_equal(dv_yaml_map_read(y, y->roots[0], &map, got, &err), -EINVAL);
    assert_string_equal(err.msg,
                        "f.yaml:2:1: name: it has no value; give one or leave the key out");
    static const char *const bad[][2] = {
        {"coumt: 3\n", "f.yaml:1:1: unknown key \"coumt\" in a thing; did you mean \"count\"?"},
        {"x: 3\n", "f.yaml:1:1: unknown key \"x\" in a thing; it has name, count, shared"},
        {"elsewhere: 3\n",
         "f.yaml:1:1: unknown key \"elsewhere\" in a thing: it belongs elsewhere"},
        {"- a\n", "f.yaml:1:1: a thing: a list, where \"key: value\" lines are wanted"},
        {"~\n", "f.yaml:1:1: a thing: nothing, where \"key: value\" lines are wanted"},
        {"\"a\\eb\": 1\n",
         "f.yaml:1:1: unknown key \"a?b\" in a thing; it has name, count, shared"},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        dv_cleanup(dv_yaml_freep) struct dv_yaml *z = parse(bad[i][0]);
        assert_int_equal(dv_yaml_map_read(z, z->roots[0], &map, got, &err), -EINVAL);
        assert_string_equal(err.msg, bad[i][1]);
    }
}

static void test_values(void **state)
{
    dv_cleanup(dv_yaml_freep) struct dv_yaml *y = parse("[7, \"7\", x, ~, [], yes, OFF, \"true\"]");
    struct dv_yaml_node **v = y->roots[0]->items;
    const char *text = NULL;
    uint32_t n = 0;
    bool b = false;
    assert_int_equal(dv_yaml_integer(y, v[0], "k", 1, 7, &n, &err), 0);
    assert_int_equal(n, 7);
    assert_int_equal(dv_yaml_integer(y, v[0], "k", 1, 6, &n, &err), -EINVAL);
    assert_string_equal(err.msg, "f.yaml:1:2: k: \"7\", where a number from 1 to 6 is wanted");
    assert_int_equal(dv_yaml_integer(y, v[1], "k", 1, 7, &n, &err), -EINVAL);
    assert_string_equal(err.msg, "f.yaml:1:5: k: \"7\" is a text; a number has no quotes");
    assert_int_equal(dv_yaml_integer(y, v[3], "k", 1, 7, &n, &err), -EINVAL);
    assert_string_equal(err.msg, "f.yaml:1:13: k: nothing, where a number is wanted");
    assert_int_equal(dv_yaml_text(y, v[1], "k", &text, &err), 0);
    assert_string_equal(text, "7");
    assert_int_equal(dv_yaml_text(y, v[4], "k", &text, &err), -EINVAL);
    assert_string_equal(err.msg, "f.yaml:1:16: k: a list, where a text is wanted");
    assert_int_equal(dv_yaml_bool(y, v[5], "k", &b, &err), 0);
    assert_true(b);
    assert_int_equal(dv_yaml_bool(y, v[6], "k", &b, &err), 0);
    assert_false(b);
    assert_int_equal(dv_yaml_bool(y, v[7], "k", &b, &err), -EINVAL);
    assert_string_equal(err.msg, "f.yaml:1:30: k: \"true\", where true or false is wanted");
    assert_int_equal(dv_yaml_list(y, v[4], "k", 0, &err), 0);
    assert_int_equal(dv_yaml_list(y, y->roots[0], "k", 7, &err), -EINVAL);
    assert_string_equal(err.msg, "f.yaml:1:1: k: 8 items, at most 7");
    assert_int_equal(dv_yaml_list_needed(y, v[0], y->roots[0], "k", 8, &err), 0);
    assert_int_equal(dv_yaml_list_needed(y, y->roots[0], NULL, "k", 7, &err), -EINVAL);
    assert_string_equal(err.msg, "f.yaml:1:1: k is missing: a list");
    assert_int_equal(dv_yaml_list_needed(y, v[0], v[4], "k", 7, &err), -EINVAL);
    assert_string_equal(err.msg, "f.yaml:1:16: k: an empty list");
    assert_true(dv_yaml_is(v[1], "7"));
    assert_false(dv_yaml_is(v[4], "7"));
    assert_false(dv_yaml_is(NULL, "7"));
}

/* ---- a text inside a file ---- */

static void assert_inner(const char *text, uint32_t line, uint32_t column, uint32_t inner)
{
    dv_cleanup(dv_yaml_freep) struct dv_yaml *y = parse(text);
    dv_cleanup(dv_yaml_freep) struct dv_yaml *in = NULL;
    const struct dv_yaml_node *at = dv_yaml_get(y->roots[0], "k");
    assert_int_equal(dv_yaml_parse_inner(y, at, &in, &err), 0);
    const struct dv_yaml_node *b = dv_yaml_get(in->roots[0], "b");
    assert_string_equal(b->text, "2");
    assert_int_equal(b->line, line);
    assert_int_equal(b->column, column);
    assert_int_equal(b->inner, inner);
}

static void test_inner(void **state)
{
    assert_inner("x: y\nk: |\n    a: 1\n    b: 2\n", 4, 8, 0);
    assert_inner("k: |  # comment\n\n\n  # \xc3\xa9\n  a: 1\n  b: 2\n", 6, 6, 0);
    assert_inner("k: |2\n    a: 1\n    b: 2\n", 3, 8, 0);
    assert_inner("k: \"a: 1\\nb: 2\\n\"\n", 1, 4, 2);
    assert_inner("{\"k\": \"{\\\"b\\\": 2}\"}\n", 1, 7, 1);
    assert_inner("k: >\n  a: 1\n\n  b: 2\n", 1, 4, 2);
    dv_cleanup(dv_yaml_freep) struct dv_yaml *y = parse("k: |\n  a: 1\n  a: 2\n");
    struct dv_yaml *in = NULL;
    assert_int_equal(dv_yaml_parse_inner(y, dv_yaml_get(y->roots[0], "k"), &in, &err), -EINVAL);
    assert_string_equal(err.msg, "f.yaml:3:3: a is given twice; the first is in line 2");
    assert_null(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),      cmocka_unit_test(test_json),
        cmocka_unit_test(test_documents), cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_laughs),    cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_tags),
        cmocka_unit_test(test_map),       cmocka_unit_test(test_values),
        cmocka_unit_test(test_inner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
