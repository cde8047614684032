/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "policy/gpu_request.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GPU "nvidia.com/gpu"
#define SHARED "nvidia.com/gpu.shared"
#define MIG "nvidia.com/mig-1g.10gb"
#define PERCENT "divvy.dev/gpu-percent"

static void test_quantity(void **state)
{
    static const struct {
        const char *text;
        int64_t nano;
    } good[] = {
        {"0.25", 250000000},
        {"250m", 250000000},
        {"25e-2", 250000000},
        {"2.5E-1", 250000000},
        {".25", 250000000},
        {"+0.250", 250000000},
        {"0.2500000000000000000000000000", 250000000},
        {"1", DV_QUANTITY_ONE},
        {"1.", DV_QUANTITY_ONE},
        {"1.0", DV_QUANTITY_ONE},
        {"1e0", DV_QUANTITY_ONE},
        {"0.001k", DV_QUANTITY_ONE},
        {"1000m", DV_QUANTITY_ONE},
        {"1Ki", 1024 * DV_QUANTITY_ONE},
        {"0.5Ki", 512 * DV_QUANTITY_ONE},
        {"250000000n", 250000000},
        {"1n", 1},
        {"-1", -DV_QUANTITY_ONE},
        {"0", 0},
        {"0E", 0},
        {"0e999999", 0},
        {"1G", 1000000000 * DV_QUANTITY_ONE},
    };
    static const char *const bad[] = {"",    ".",   "-",   "x",     "1x",  "1 ",  " 1",
                                      "1e",  "1m ", "1e+", "1.2.3", "0x1", "1kk", "1ki",
                                      "1mi", "--1", "inf", "nan",   "1e1m"};
    static const char *const range[] = {
        "1E", "1Ei", "2G", "0.1n", "1e-10", "99999999999999999999", "1e30", "0.12345678901"};
    int64_t nano;
    for (size_t i = 0; i < DV_ARRAY_SIZE(good); i++) {
        assert_int_equal(dv_quantity_parse(good[i].text, &nano), 0);
        assert_int_equal(nano, good[i].nano);
    }
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++)
        if (dv_quantity_parse(bad[i], &nano) != -EINVAL)
            fail_msg("'%s' was taken", bad[i]);
    for (size_t i = 0; i < DV_ARRAY_SIZE(range); i++)
        if (dv_quantity_parse(range[i], &nano) != -ERANGE)
            fail_msg("'%s' was taken", range[i]);
}

/* What is printed reads back as the same. */
static void test_quantity_round_trip(void **state)
{
    struct dv_rng rng = {7};
    for (int i = 0; i < 100000; i++) {
        uint64_t power = 1;
        for (uint64_t k = dv_rng_below(&rng, 18); k; k--)
            power *= 10;
        int64_t nano = (int64_t)dv_rng_below(&rng, power), back;
        char text[DV_QUANTITY_TEXT];
        nano = dv_rng_below(&rng, 2) ? nano : -nano;
        assert_int_equal(dv_quantity_parse(dv_quantity_format(nano, text), &back), 0);
        assert_int_equal(back, nano);
    }
}

static void test_kinds(void **state)
{
    static const struct {
        const char *name;
        enum dv_gpu_kind kind;
    } all[] = {{GPU, DV_GPU_KIND_WHOLE},
               {SHARED, DV_GPU_KIND_SHARED},
               {MIG, DV_GPU_KIND_MIG},
               {"nvidia.com/mig-1g.10gb.shared", DV_GPU_KIND_SHARED},
               {PERCENT, DV_GPU_KIND_PERCENT},
               {"nvidia.com/gpu-a100.shared", DV_GPU_KIND_SHARED},
               {"nvidia.com/gpu-small", DV_GPU_KIND_SLICE},
               {"divvy.dev/small", DV_GPU_KIND_SLICE},
               {"divvy.dev/a100-percent", DV_GPU_KIND_SLICE},
               {"nvidia.com/gpumem", DV_GPU_KIND_NONE},
               {"nvidia.com/hostdev", DV_GPU_KIND_NONE},
               {"nvidia.com/rdma.shared", DV_GPU_KIND_NONE},
               {"amd.com/gpu", DV_GPU_KIND_NONE},
               {"cpu", DV_GPU_KIND_NONE},
               {"", DV_GPU_KIND_NONE}};
    for (size_t i = 0; i < DV_ARRAY_SIZE(all); i++)
        assert_int_equal(dv_gpu_request_kind(all[i].name), all[i].kind);
}

#define BIT(kind) (1u << DV_GPU_KIND_##kind)

static void test_strategy(void **state)
{
    static const struct {
        const char *label;
        uint32_t allowed;
    } good[] = {{NULL, DV_GPU_REQUEST_ANY},
                {"", DV_GPU_REQUEST_ANY},
                {"any", DV_GPU_REQUEST_ANY},
                {"mig-only", BIT(MIG)},
                {"whole", BIT(WHOLE)},
                {"mig_exclusive", BIT(MIG) | BIT(WHOLE)},
                {"whole-only.mig-only", BIT(MIG) | BIT(WHOLE)},
                {"time-slicing", BIT(SHARED) | BIT(PERCENT)},
                {"shared-only", BIT(SHARED) | BIT(PERCENT)},
                {"governed", BIT(PERCENT)},
                {"mps-only_governed", BIT(SHARED) | BIT(PERCENT)}};
    static const char *const bad[] = {"none", "MIG",   "mig,whole", "mig_",
                                      "_mig", "-only", "mig-onl",   "mig_x"};
    uint32_t allowed;
    for (size_t i = 0; i < DV_ARRAY_SIZE(good); i++) {
        assert_int_equal(dv_gpu_strategy_parse(good[i].label, &allowed), 0);
        assert_int_equal(allowed, good[i].allowed);
    }
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++)
        assert_int_equal(dv_gpu_strategy_parse(bad[i], &allowed), -EINVAL);
}

static struct dv_gpu_verdict judge2(struct dv_gpu_ask a, struct dv_gpu_ask b, uint32_t allowed)
{
    struct dv_gpu_ask asks[] = {a, b};
    struct dv_gpu_verdict v;
    dv_gpu_request_judge(asks, b.resource ? 2 : 1, allowed, &v);
    return v;
}

static struct dv_gpu_verdict judge(const char *resource, const char *request, const char *limit)
{
    return judge2((struct dv_gpu_ask){resource, request, limit}, (struct dv_gpu_ask){0},
                  DV_GPU_REQUEST_ANY);
}

static void test_rewritten(void **state)
{
    static const char *const quarter[] = {"0.25", "250m", "25e-2", "2.5e-1"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(quarter); i++) {
        const char *q = quarter[i];
        const struct dv_gpu_verdict all[] = {judge(GPU, q, q), judge(GPU, q, NULL),
                                             judge(GPU, NULL, q), judge(GPU, "0.25", q)};
        for (size_t k = 0; k < DV_ARRAY_SIZE(all); k++) {
            assert_int_equal(all[k].result, DV_GPU_REQUEST_REWRITTEN);
            assert_int_equal(all[k].percent, 25);
        }
    }
    assert_int_equal(judge(GPU, NULL, "0.01").percent, 1);
    assert_int_equal(judge(GPU, NULL, "0.99").percent, 99);
}

static void test_accepted(void **state)
{
    const struct dv_gpu_verdict all[] = {judge(GPU, "1", "1"),       judge(GPU, NULL, "1.0"),
                                         judge(GPU, "1e0", "1"),     judge(GPU, NULL, "8"),
                                         judge(SHARED, NULL, "1"),   judge(MIG, "1", "1"),
                                         judge(PERCENT, NULL, "25"), judge(PERCENT, NULL, "100")};
    for (size_t i = 0; i < DV_ARRAY_SIZE(all); i++)
        assert_int_equal(all[i].result, DV_GPU_REQUEST_ACCEPTED);
    assert_int_equal(all[6].percent, 25);
    assert_int_equal(judge(GPU, "0", "0").result, DV_GPU_REQUEST_NONE);
    assert_int_equal(judge("cpu", "0.5", "x").result, DV_GPU_REQUEST_NONE);
    assert_int_equal(judge(GPU, NULL, NULL).result, DV_GPU_REQUEST_NONE);
}

static void test_refused(void **state)
{
    static const struct {
        const char *resource, *request, *limit;
        enum dv_gpu_request_reason reason;
        uint32_t percent;
    } all[] = {
        {GPU, "0.125", "0.125", DV_GPU_REQUEST_UNEVEN, 12},
        {GPU, "0.001", NULL, DV_GPU_REQUEST_UNEVEN, 0},
        {GPU, NULL, "1.5", DV_GPU_REQUEST_MORE_THAN_ONE, 0},
        {GPU, NULL, "-1", DV_GPU_REQUEST_NEGATIVE, 0},
        {GPU, "0.25", "0.5", DV_GPU_REQUEST_UNEQUAL, 0},
        {GPU, "0", "0.5", DV_GPU_REQUEST_UNEQUAL, 0},
        {GPU, "1", "2", DV_GPU_REQUEST_UNEQUAL, 0},
        {GPU, "1", NULL, DV_GPU_REQUEST_NO_LIMIT, 0},
        {MIG, "1", NULL, DV_GPU_REQUEST_NO_LIMIT, 0},
        {GPU, "a third", NULL, DV_GPU_REQUEST_BAD_QUANTITY, 0},
        {SHARED, NULL, "0.5", DV_GPU_REQUEST_INDIVISIBLE, 0},
        {MIG, NULL, "0.5", DV_GPU_REQUEST_INDIVISIBLE, 0},
        {PERCENT, NULL, "0.5", DV_GPU_REQUEST_INDIVISIBLE, 0},
        {PERCENT, NULL, "150", DV_GPU_REQUEST_OVER_FULL, 0},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(all); i++) {
        struct dv_gpu_verdict v = judge(all[i].resource, all[i].request, all[i].limit);
        assert_int_equal(v.result, DV_GPU_REQUEST_REFUSED);
        assert_int_equal(v.reason, all[i].reason);
        if (v.reason == DV_GPU_REQUEST_UNEVEN)
            assert_int_equal(v.percent, all[i].percent);
    }
}

static void test_several(void **state)
{
    struct dv_gpu_ask fraction = {GPU, NULL, "0.25"}, percent = {PERCENT, NULL, "25"},
                      whole = {GPU, NULL, "1"}, mig = {MIG, NULL, "1"}, none = {MIG, NULL, "0"},
                      cpu = {"cpu", "0.5", "1"};
    const struct dv_gpu_verdict twice[] = {judge2(fraction, percent, DV_GPU_REQUEST_ANY),
                                           judge2(percent, fraction, DV_GPU_REQUEST_ANY),
                                           judge2(mig, fraction, DV_GPU_REQUEST_ANY),
                                           judge2(whole, percent, DV_GPU_REQUEST_ANY)};
    for (size_t i = 0; i < DV_ARRAY_SIZE(twice); i++) {
        assert_int_equal(twice[i].reason, DV_GPU_REQUEST_TWICE);
        assert_true(twice[i].other[0]);
        assert_string_not_equal(twice[i].other, twice[i].resource);
    }
    assert_int_equal(judge2(whole, mig, DV_GPU_REQUEST_ANY).result, DV_GPU_REQUEST_ACCEPTED);
    assert_int_equal(judge2(none, fraction, DV_GPU_REQUEST_ANY).index, 1);
    assert_int_equal(judge2(cpu, fraction, DV_GPU_REQUEST_ANY).percent, 25);
}

static void test_namespace(void **state)
{
    struct dv_gpu_ask fraction = {GPU, NULL, "0.25"}, whole = {GPU, NULL, "1"},
                      mig = {MIG, NULL, "1"}, cpu = {"cpu", "0.5", "1"}, nothing = {0};
    assert_int_equal(judge2(whole, nothing, BIT(MIG)).reason, DV_GPU_REQUEST_NOT_ALLOWED);
    assert_int_equal(judge2(fraction, nothing, BIT(WHOLE)).reason, DV_GPU_REQUEST_NOT_ALLOWED);
    assert_int_equal(judge2(mig, whole, BIT(MIG)).reason, DV_GPU_REQUEST_NOT_ALLOWED);
    assert_int_equal(judge2(mig, nothing, BIT(MIG)).result, DV_GPU_REQUEST_ACCEPTED);
    assert_int_equal(judge2(mig, nothing, 0).reason, DV_GPU_REQUEST_NO_STRATEGY);
    assert_int_equal(judge2(cpu, nothing, 0).result, DV_GPU_REQUEST_NONE);
}

/* A governed slice with a name is one as much as percents are. */
static void test_named_slices(void **state)
{
    struct dv_gpu_ask small = {"nvidia.com/gpu-small", NULL, "1"},
                      own = {"divvy.dev/big", "1", "1"}, fraction = {GPU, NULL, "0.25"},
                      half = {"divvy.dev/big", NULL, "0.5"}, nothing = {0};
    assert_int_equal(judge2(small, nothing, BIT(MIG)).reason, DV_GPU_REQUEST_NOT_ALLOWED);
    assert_int_equal(judge2(own, nothing, BIT(WHOLE)).reason, DV_GPU_REQUEST_NOT_ALLOWED);
    assert_int_equal(judge2(own, nothing, 0).reason, DV_GPU_REQUEST_NO_STRATEGY);
    assert_int_equal(judge2(small, nothing, BIT(PERCENT)).result, DV_GPU_REQUEST_ACCEPTED);
    assert_int_equal(judge2(own, nothing, DV_GPU_REQUEST_ANY).result, DV_GPU_REQUEST_ACCEPTED);
    assert_int_equal(judge2(half, nothing, DV_GPU_REQUEST_ANY).reason, DV_GPU_REQUEST_INDIVISIBLE);
    assert_int_equal(judge2(small, fraction, DV_GPU_REQUEST_ANY).reason, DV_GPU_REQUEST_TWICE);
    assert_int_equal(judge2(small, own, DV_GPU_REQUEST_ANY).reason, DV_GPU_REQUEST_TWICE);
}

/* Declared otherwise than its name says, it counts as that; only nvidia.com/gpu has fractions. */
static void test_declared(void **state)
{
    struct dv_gpu_ask whole = {"nvidia.com/gpu-a100", NULL, "1", DV_GPU_KIND_WHOLE},
                      undeclared = {"nvidia.com/gpu-a100", NULL, "1"},
                      half = {"nvidia.com/gpu-a100", NULL, "0.5", DV_GPU_KIND_WHOLE},
                      slice = {"nvidia.com/a100-small", NULL, "1", DV_GPU_KIND_SLICE},
                      stranger = {"nvidia.com/a100-small", NULL, "1"},
                      turns = {GPU, NULL, "1", DV_GPU_KIND_SHARED},
                      fraction = {GPU, NULL, "0.25", DV_GPU_KIND_SHARED}, nothing = {0};
    assert_int_equal(judge2(whole, nothing, BIT(WHOLE)).result, DV_GPU_REQUEST_ACCEPTED);
    assert_int_equal(judge2(whole, nothing, BIT(PERCENT)).reason, DV_GPU_REQUEST_NOT_ALLOWED);
    assert_false(judge2(whole, nothing, BIT(PERCENT)).guessed);
    assert_true(judge2(undeclared, nothing, BIT(WHOLE)).guessed);
    assert_int_equal(judge2(whole, whole, DV_GPU_REQUEST_ANY).result, DV_GPU_REQUEST_ACCEPTED);
    assert_int_equal(judge2(half, nothing, DV_GPU_REQUEST_ANY).reason, DV_GPU_REQUEST_INDIVISIBLE);
    assert_int_equal(judge2(slice, nothing, BIT(WHOLE)).reason, DV_GPU_REQUEST_NOT_ALLOWED);
    assert_int_equal(judge2(slice, whole, DV_GPU_REQUEST_ANY).reason, DV_GPU_REQUEST_TWICE);
    assert_int_equal(judge2(stranger, nothing, BIT(WHOLE)).result, DV_GPU_REQUEST_NONE);
    assert_int_equal(judge2(turns, nothing, BIT(WHOLE)).reason, DV_GPU_REQUEST_NOT_ALLOWED);
    assert_int_equal(judge2(turns, nothing, BIT(SHARED)).result, DV_GPU_REQUEST_ACCEPTED);
    assert_int_equal(judge2(fraction, nothing, BIT(PERCENT)).percent, 25);
}

static void test_environment(void **state)
{
    static const char mps[] = "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE";
    struct dv_gpu_verdict slice = judge(GPU, NULL, "0.25"), whole = judge(GPU, NULL, "1"),
                          none = judge("cpu", "1", NULL);
    assert_int_equal(dv_gpu_request_env(&slice, mps, "25"), DV_GPU_REQUEST_QUIET);
    assert_int_equal(dv_gpu_request_env(&slice, mps, "25.0"), DV_GPU_REQUEST_QUIET);
    assert_int_equal(dv_gpu_request_env(&slice, mps, "50"), DV_GPU_REQUEST_MPS_PERCENTAGE);
    assert_int_equal(dv_gpu_request_env(&slice, mps, "25,50"), DV_GPU_REQUEST_MPS_PERCENTAGE);
    assert_int_equal(dv_gpu_request_env(&slice, mps, NULL), DV_GPU_REQUEST_QUIET);
    assert_int_equal(dv_gpu_request_env(&whole, mps, "50"), DV_GPU_REQUEST_QUIET);
    assert_int_equal(dv_gpu_request_env(&whole, "NVIDIA_VISIBLE_DEVICES", "all"),
                     DV_GPU_REQUEST_VISIBLE_DEVICES);
    assert_int_equal(dv_gpu_request_env(&none, "NVIDIA_VISIBLE_DEVICES", "all"),
                     DV_GPU_REQUEST_QUIET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantity),  cmocka_unit_test(test_quantity_round_trip),
        cmocka_unit_test(test_kinds),     cmocka_unit_test(test_strategy),
        cmocka_unit_test(test_rewritten), cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_several),
        cmocka_unit_test(test_namespace), cmocka_unit_test(test_named_slices),
        cmocka_unit_test(test_declared),  cmocka_unit_test(test_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
