/* SPDX-License-Identifier: Apache-2.0 */
#include "model/layout.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct dv_gpu gpus[2] = {
    {.index = 0,
     .uuid = "GPU-aaaa0000",
     .model = "NVIDIA A100-SXM4-40GB",
     .usable_bytes = 39 * DV_GIB,
     .mig_capable = true},
    {.index = 1, .uuid = "GPU-bbbb1111", .model = "Tesla T4", .usable_bytes = 15 * DV_GIB}};

static struct dv_selector any = {.text = "any"};
static struct dv_selector first = {.kind = DV_SELECTOR_INDEX, .text = "0"};

static int check(const struct dv_layout_gpu *entries, size_t n, struct dv_err *err)
{
    struct dv_snapshot s = {.gpus = gpus, .n_gpus = 2};
    const struct dv_mig_geometry *geometries[] = {dv_mig_geometry_find("A100-40GB"), NULL};
    struct dv_layout layout = {entries, n};
    err->msg[0] = 0;
    return dv_layout_check(&layout, &s, geometries, err);
}

static struct dv_layout_device mig(const char *profile, uint32_t start)
{
    struct dv_layout_device d = {.start = start, .mode = DV_MODE_EXCLUSIVE};
    snprintf(d.profile, sizeof d.profile, "%s", profile);
    return d;
}

static void test_good(void **state)
{
    struct dv_err err;
    const struct dv_layout_slice slices[] = {{"a", 20 * DV_GIB, 3500}, {"b", 19 * DV_GIB, 3500}};
    struct dv_layout_device cut[] = {mig("3g.20gb", 4), mig("2g.10gb", DV_MIG_UNPLACED)};
    struct dv_layout_device whole = {.mode = DV_MODE_GOVERNED};
    struct dv_layout_gpu entries[] = {{first, cut, 2}, {any, &whole, 1}};
    assert_int_equal(check(entries, 2, &err), 0);
    struct dv_layout layout = {entries, 2};
    assert_ptr_equal(dv_layout_find(&layout, &gpus[0]), &entries[0]);
    assert_ptr_equal(dv_layout_find(&layout, &gpus[1]), &entries[1]);
    assert_true(dv_layout_is_mig(&entries[0]));
    assert_false(dv_layout_is_mig(&entries[1]));
    whole.slices = slices;
    whole.n_slices = 2;
    entries[0] = (struct dv_layout_gpu){first, &whole, 1};
    assert_int_equal(check(entries, 1, &err), 0);
    assert_int_equal(check(NULL, 0, &err), 0);
}

static void assert_refused(struct dv_selector gpu, const struct dv_layout_device *devices, size_t n,
                           const char *expected)
{
    struct dv_layout_gpu entry = {gpu, devices, n};
    struct dv_err err;
    assert_int_equal(check(&entry, 1, &err), -EINVAL);
    assert_string_equal(err.msg, expected);
}

static void test_refused(void **state)
{
    struct dv_layout_device cut[3] = {mig("3g.20gb", 4), mig("1g.5gb", 5), mig("1g.5gb", 0)};
    assert_refused(first, cut, 2, "layout entry 1: GPU 0: 1g.5gb at 5 overlaps 3g.20gb at 4");
    cut[1] = mig("4g.20gb", 4);
    assert_refused(first, cut, 2, "layout entry 1: GPU 0: 4g.20gb cannot start at 4");
    cut[1] = mig("4g.20gb", 0);
    assert_refused(first, cut, 3,
                   "layout entry 1: GPU 0: with 1g.5gb, 8 are asked of 7 compute slices");
    cut[1] = mig("", 0);
    assert_refused(first, cut, 2, "layout entry 1: a whole GPU and other devices at once");
    assert_refused(any, cut, 1, "layout entry 1: GPU 1: it cannot do MIG");
    assert_refused(first, cut, 0, "layout entry 1: 0 devices, 1 to 16 expected");
    struct dv_layout_device whole = {.mode = DV_MODE_MPS};
    assert_refused(any, &whole, 1, "layout entry 1: mode mps is not available in this version");
    struct dv_selector none = {.kind = DV_SELECTOR_MODEL, .text = "h100"};
    whole.mode = DV_MODE_GOVERNED;
    assert_refused(none, &whole, 1,
                   "layout entry 1: no GPU follows \"h100\"; entries before it may take them");
}

static void test_slices(void **state)
{
    struct dv_layout_slice slices[] = {{"a", 20 * DV_GIB, 3500}, {"b", 20 * DV_GIB, 3500}};
    struct dv_layout_device whole = {.mode = DV_MODE_GOVERNED, .slices = slices, .n_slices = 2};
    assert_refused(first, &whole, 1,
                   "layout entry 1: GPU 0: the slice of b asks 21474836480 bytes, the device has "
                   "20401094656 left");
    slices[1] = (struct dv_layout_slice){"b", DV_GIB, 3501};
    assert_refused(first, &whole, 1,
                   "layout entry 1: GPU 0: the slice of b asks compute 3501, the device has 3500 "
                   "left");
    slices[1] = (struct dv_layout_slice){"b", DV_GIB, 0};
    assert_refused(first, &whole, 1, "layout entry 1: GPU 0: the slice of b has no size");
    whole.mode = DV_MODE_EXCLUSIVE;
    assert_refused(first, &whole, 1, "layout entry 1: 2 slices on an exclusive device");
    whole.mode = DV_MODE_AUTO;
    assert_refused(first, &whole, 1,
                   "layout entry 1: slices are set up on a device without a mode");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_slices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
