/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"
#include "render/health_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_text(struct dv_health_verdict v, const char *expected)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_health_text(&v, &text);
    assert_string_equal(dv_str_get(&text), expected);
}

static void test_sentences(void **state)
{
    assert_text((struct dv_health_verdict){0}, "");
    assert_text((struct dv_health_verdict){.cause = DV_HEALTH_XID_RESET,
                                           .remedy = DV_HEALTH_RESET,
                                           .n = 48},
                "XID 48; until the GPU is reset");
    assert_text((struct dv_health_verdict){.cause = DV_HEALTH_XID,
                                           .remedy = DV_HEALTH_TIME,
                                           .n = 999,
                                           .hold_ns = 120 * DV_NS_PER_S},
                "XID 999; over, held out for 120 s");
    assert_text((struct dv_health_verdict){.cause = DV_HEALTH_LOST, .remedy = DV_HEALTH_RESET},
                "the GPU is lost or needs a reset");
    assert_text(
        (struct dv_health_verdict){.cause = DV_HEALTH_ROWS_FAILED, .remedy = DV_HEALTH_REPLACE},
        "bad rows of memory could not be replaced; the card is to be replaced");
    assert_text((struct dv_health_verdict){.cause = DV_HEALTH_ECC, .n = 1},
                "1 memory error could not be corrected");
}

/* A GPU of the snapshot has room for the longest. */
static void test_lengths(void **state)
{
    for (int cause = 0; cause <= DV_HEALTH_DRIVER; cause++)
        for (int remedy = 0; remedy <= DV_HEALTH_LINKS; remedy++) {
            dv_cleanup(dv_str_done) struct dv_str text = {0};
            struct dv_health_verdict v = {.cause = (enum dv_health_cause)cause,
                                          .remedy = (enum dv_health_remedy)remedy,
                                          .n = UINT32_MAX,
                                          .hold_ns = DV_HEALTH_HOLD_MAX_NS};
            dv_health_text(&v, &text);
            assert_true(text.len < DV_GPU_DETAIL_SIZE);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
