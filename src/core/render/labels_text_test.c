/* SPDX-License-Identifier: Apache-2.0 */
#include "render/labels_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_label now_list[] = {{"nvidia.com/gpu.count", "8"}, {"nvidia.com/gpu.product", ""}};
static struct dv_label old_list[] = {{"nvidia.com/gpu.clique", "a.1"},
                                     {"nvidia.com/gpu.count", "7"}};
static const struct dv_labels labels = {now_list, 2}, before = {old_list, 2};

static void test_features(void **state)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_labels_text_features(&labels, &text);
    assert_string_equal(dv_str_get(&text), "nvidia.com/gpu.count=8\nnvidia.com/gpu.product=\n");
}

static void test_node_feature(void **state)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_labels_text_owner owner = {"apps/v1", "DaemonSet", "divvy", "1-2", true};
    struct dv_labels_text_object object = {"n\"1", "nfd", &owner, 1};
    assert_int_equal(dv_labels_text_node_feature(&labels, &object, &text), 0);
    assert_string_equal(
        dv_str_get(&text),
        "{\"apiVersion\":\"nfd.k8s-sigs.io/v1alpha1\",\"kind\":\"NodeFeature\",\"metadata\":{"
        "\"name\":\"nvidia-features-for-n\\\"1\",\"namespace\":\"nfd\",\"labels\":{"
        "\"nfd.node.kubernetes.io/node-name\":\"n\\\"1\"},\"ownerReferences\":[{\"apiVersion\":"
        "\"apps/v1\",\"kind\":\"DaemonSet\",\"name\":\"divvy\",\"uid\":\"1-2\",\"controller\":"
        "true}]},\"spec\":{\"features\":{\"flags\":{},\"attributes\":{},\"instances\":{}},"
        "\"labels\":{\"nvidia.com/gpu.count\":\"8\",\"nvidia.com/gpu.product\":\"\"}}}\n");
}

static void test_patch(void **state)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0}, first = {0};
    assert_int_equal(dv_labels_text_patch(&labels, &before, &text), 0);
    assert_string_equal(dv_str_get(&text),
                        "{\"metadata\":{\"labels\":{\"nvidia.com/gpu.count\":\"8\","
                        "\"nvidia.com/gpu.product\":\"\",\"nvidia.com/gpu.clique\":null}}}\n");
    assert_int_equal(dv_labels_text_patch(&labels, NULL, &first), 0);
    assert_null(strstr(dv_str_get(&first), "null"));
}

static void test_tree(void **state)
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_labels_text_tree(&labels);
    const struct dv_output_node *list = dv_output_get(dv_output_root(o), "labels");
    assert_string_equal(dv_output_text(dv_output_get(dv_output_at(list, 0), "value"), ""), "8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_features),
        cmocka_unit_test(test_node_feature),
        cmocka_unit_test(test_patch),
        cmocka_unit_test(test_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
