/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/label_marks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define P DV_LABEL_MARKS_PREFIX

/* A Node whose labels patches change, as the API server does it. */
static struct dv_label on_node[64];
static size_t n_on_node;
static char annotation[4096];
static bool annotated;

static struct dv_label list[64];
static struct dv_labels want;
static struct dv_label_marks marks;

static int setup(void **state)
{
    n_on_node = 0;
    annotated = false;
    annotation[0] = 0;
    want = (struct dv_labels){list, 0};
    return 0;
}

static struct dv_label *find(const char *key)
{
    for (size_t i = 0; i < n_on_node; i++)
        if (!strcmp(on_node[i].key, key))
            return &on_node[i];
    return NULL;
}

static const char *lookup(const void *arg, const char *key)
{
    const struct dv_label *l = find(key);
    return l ? l->value : NULL;
}

static void put(struct dv_label *to, const char *key, const char *value)
{
    assert_int_equal(dv_str_copy(to->key, sizeof to->key, key), 0);
    assert_int_equal(dv_str_copy(to->value, sizeof to->value, value), 0);
}

static void given(const char *key, const char *value)
{
    put(&on_node[n_on_node++], key, value);
}

static void wanted(const char *key, const char *value)
{
    put(&list[want.n++], key, value);
}

/* Patches the Node; how many labels that took. */
static uint32_t patch(const struct dv_labels *labels)
{
    assert_int_equal(
        dv_label_marks_make(labels, lookup, NULL, annotated ? annotation : NULL, &marks), 0);
    uint32_t n = marks.n;
    for (uint32_t i = 0; i < n; i++) {
        struct dv_label *at = find(marks.pairs[i].key);
        if (marks.pairs[i].value) {
            put(at ? at : &on_node[n_on_node++], marks.pairs[i].key, marks.pairs[i].value);
        } else {
            assert_non_null(at); /* what is not there needs no removing */
            *at = on_node[--n_on_node];
        }
    }
    if (marks.annotate) {
        annotated = marks.annotation.len > 0;
        assert_int_equal(dv_str_copy(annotation, sizeof annotation, dv_str_get(&marks.annotation)),
                         0);
    }
    dv_label_marks_done(&marks);
    return n;
}

static void test_only_differences_are_written(void **state)
{
    given(P "gpu.count", "8");
    given("team", "a");
    wanted(P "gpu.count", "8");
    wanted(P "gpu.product", "A100");
    assert_int_equal(patch(&want), 1);
    assert_string_equal(lookup(NULL, P "gpu.product"), "A100");
    assert_string_equal(annotation, "gpu.count,gpu.product");
    assert_int_equal(patch(&want), 0);
    put(&list[1], P "gpu.product", "A100-SHARED");
    assert_int_equal(patch(&want), 1);
    assert_int_equal(patch(&want), 0);
}

static void test_what_is_no_longer_said_goes_and_nothing_else(void **state)
{
    given(P "mig.config", "all-disabled");
    given("team", "a");
    wanted(P "gpu.count", "8");
    wanted(P "mig-1g.10gb.count", "2");
    patch(&want);
    want.n = 1;
    assert_int_equal(patch(&want), 1);
    assert_null(lookup(NULL, P "mig-1g.10gb.count"));
    assert_non_null(lookup(NULL, P "mig.config"));
    assert_non_null(lookup(NULL, "team"));
    assert_string_equal(annotation, "gpu.count");
}

static void test_all_of_ours_can_be_taken_back(void **state)
{
    given("team", "a");
    wanted(P "gpu.count", "8");
    wanted(P "gpu.present", "true");
    wanted(P "gpu.product", "A100");
    assert_int_equal(patch(&want), 3);
    assert_int_equal(patch(NULL), 2);
    assert_int_equal(n_on_node, 2);
    assert_string_equal(lookup(NULL, P "gpu.present"), "true"); /* it stays: label_marks.h */
    assert_false(annotated);
    assert_int_equal(patch(NULL), 0);
}

static void test_a_timestamp_alone_is_no_reason(void **state)
{
    wanted(P "gfd.timestamp", "1");
    wanted(P "gpu.count", "8");
    assert_int_equal(patch(&want), 2);
    put(&list[0], P "gfd.timestamp", "2");
    assert_int_equal(patch(&want), 0);
    put(&list[1], P "gpu.count", "7");
    assert_int_equal(patch(&want), 2); /* now it goes along */
    want = (struct dv_labels){&list[1], 1};
    assert_int_equal(patch(&want), 1); /* noTimestamp */
    assert_null(lookup(NULL, P "gfd.timestamp"));
}

/* The annotation is a text that anybody with rights to the Node may have written. */
static void test_a_strange_annotation_takes_nothing_of_others(void **state)
{
    static const char *const texts[] = {",,,", "mig.config/../x,team", "gpu.count\nteam",
                                        "gpu.present,gpu.present", "gpu.count,gpu.count,gpu.count"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(texts); i++) {
        n_on_node = want.n = 0;
        given("team", "a");
        given(P "gpu.present", "true");
        wanted(P "gpu.count", "8");
        given(P "gpu.count", "8");
        annotated = true;
        assert_int_equal(dv_str_copy(annotation, sizeof annotation, texts[i]), 0);
        patch(&want);
        assert_int_equal(n_on_node, 3);
        assert_string_equal(annotation, "gpu.count");
    }
    /* One that is longer than anything of ours, cut at what is looked at. */
    memset(annotation, 'x', sizeof annotation - 1);
    annotation[sizeof annotation - 1] = 0;
    annotated = true;
    assert_int_equal(patch(&want), 0);
}

#define CASE(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_only_differences_are_written),
        CASE(test_what_is_no_longer_said_goes_and_nothing_else),
        CASE(test_all_of_ours_can_be_taken_back),
        CASE(test_a_timestamp_alone_is_no_reason),
        CASE(test_a_strange_annotation_takes_nothing_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
