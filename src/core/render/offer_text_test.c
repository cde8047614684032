/* SPDX-License-Identifier: Apache-2.0 */
#include "render/offer_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct dv_offer_device devices[] = {{.uuid = "GPU-a"}, {.uuid = "GPU-b"}};
static const struct dv_offers offers = {devices, 2, NULL, 0};
static const struct dv_offer offer = {.name = "divvy.dev/gpu-percent"};

static void assert_text(const struct dv_offer_answer *a, const char *expected)
{
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    dv_offer_text_refusal(&offers, &offer, a, &s);
    assert_string_equal(dv_str_get(&s), expected);
}

static void test_refusals(void **state)
{
    static struct dv_offer_answer a = {
        .id = "GPU-c::1", .asked = 3, .n = 2, .grants = {{0, 2, 0, 0}, {1, 1, 0, 0}}};
    assert_text(&a, "");
    a.refusal = DV_OFFER_UNKNOWN_ID;
    assert_text(&a, "invalid request: unknown device: GPU-c::1");
    a.refusal = DV_OFFER_ABOVE_ONE;
    assert_text(&a, "invalid request: maximum request size for shared resources is 1; found 3");
    a.refusal = DV_OFFER_TWICE;
    assert_text(&a, "invalid request: device asked for twice: GPU-c::1");
    a.refusal = DV_OFFER_SEVERAL_GPUS;
    assert_text(&a, "invalid request: 3 of divvy.dev/gpu-percent lie on 2 GPUs (2 of GPU-a, 1 of "
                    "GPU-b), and a fraction is of one GPU; ask for no more than one has free");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
