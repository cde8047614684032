/* SPDX-License-Identifier: Apache-2.0 */
#include "render/fair_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define GPU ((uint64_t)DV_COMPUTE_FULL)

static const char *name_of(uint32_t queue, const void *arg)
{
    return queue == 1 ? "research" : "teaching";
}

static void says(const struct dv_fair_verdict *v, const char *expected)
{
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    struct dv_fair_text_names names = {.queue = name_of, .other = "train-7"};
    dv_fair_text(v, &names, DV_NS_PER_S, &s);
    assert_string_equal(dv_str_get(&s), expected);
}

static void test_gpus(void **state)
{
    char buf[DV_FAIR_TEXT_GPUS];
    assert_string_equal(dv_fair_text_gpus(12 * GPU, buf), "12");
    assert_string_equal(dv_fair_text_gpus(GPU / 2, buf), "0.5");
    assert_string_equal(dv_fair_text_gpus(GPU / 7, buf), "0.14");
    assert_string_equal(dv_fair_text_gpus(DV_FAIR_UNLIMITED, buf), "unlimited");
}

static void test_sentences(void **state)
{
    struct dv_fair_verdict v = {.reason = DV_FAIR_NO_ROOM,
                                .victims = DV_FAIR_OVER_SHARE,
                                .asked = 16 * GPU,
                                .free = 3 * GPU,
                                .members = 1,
                                .min = 8,
                                .share_queue = 1,
                                .share = 8 * GPU,
                                .share_after = 24 * GPU,
                                .at_ns = 61 * DV_NS_PER_S,
                                .first_at_ns = DV_NEVER};
    says(&v, "asks for 16 GPUs, 3 are free; 1 of 8 members fit; nobody is asked to leave, as "
             "research would then hold 24 GPUs of a fair share of 8; by estimates it starts in 1m "
             "00s");
    v.reason = DV_FAIR_RESERVED;
    v.victims = DV_FAIR_NO_CANDIDATE;
    v.at_ns = DV_NEVER;
    v.first_at_ns = 11 * DV_NS_PER_S;
    says(&v, "what is free is kept for train-7, which waits and came first; nobody runs who may be "
             "asked to leave for it; in 10.0s it goes first");
    v = (struct dv_fair_verdict){.reason = DV_FAIR_LIMIT,
                                 .queue = 2,
                                 .asked = GPU,
                                 .held = 4 * GPU,
                                 .limit = 4 * GPU,
                                 .at_ns = DV_NEVER,
                                 .first_at_ns = DV_NEVER};
    says(&v, "asks for 1 GPU; teaching holds 4 of its limit of 4");
    v.reason = DV_FAIR_NEVER;
    v.min = 3;
    says(&v, "even the empty cluster holds only 0 of its 3 members");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpus),
        cmocka_unit_test(test_sentences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
