/* SPDX-License-Identifier: Apache-2.0 */
#include "render/step_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct dv_step base = {.gpu = 2,
                                    .gi = 3,
                                    .ci = 1,
                                    .start = 4,
                                    .size = 1,
                                    .device = "MIG-1fc2",
                                    .name = "1g.10gb",
                                    .sharing = {DV_MODE_MPS, 4, DV_TIMESLICE_DEFAULT}};

static void assert_says(struct dv_step step, enum dv_step_kind kind, const char *expected)
{
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    step.kind = kind;
    dv_step_text(&step, &s);
    assert_string_equal(dv_str_get(&s), expected);
}

static void test_instances(void **state)
{
    struct dv_step s = base;
    assert_says(s, DV_STEP_MPS_STOP, "stop the MPS daemon of MIG-1fc2 (1g.10gb at 4)");
    assert_says(s, DV_STEP_CI_DESTROY,
                "destroy compute instance 1 of GPU instance 3 (1g.10gb at 4)");
    assert_says(s, DV_STEP_GI_DESTROY, "destroy GPU instance 3 (1g.10gb at 4)");
    assert_says(s, DV_STEP_GI_CREATE, "create 1g.10gb at 4");
    assert_says(s, DV_STEP_CI_CREATE, "create compute instance 1g.10gb in the GPU instance at 4");
    assert_says(s, DV_STEP_MIG_MODE, "turn MIG mode off");
    s.value = 1;
    assert_says(s, DV_STEP_MIG_MODE, "turn MIG mode on");
    s.value = DV_TIMESLICE_LONG;
    assert_says(s, DV_STEP_TIMESLICE, "set the length of time-slices to long");
}

static void test_sharing(void **state)
{
    struct dv_step s = base;
    assert_says(s, DV_STEP_SHARING, "share MIG-1fc2 (1g.10gb at 4) in mode mps, 4 replicas");
    s.sharing.replicas = 0;
    s.device[0] = 0;
    s.sharing.mode = DV_MODE_GOVERNED;
    assert_says(s, DV_STEP_SHARING, "share the new 1g.10gb at 4 in mode governed");
    s.name[0] = 0;
    strcpy(s.device, "GPU-7");
    s.sharing.mode = DV_MODE_EXCLUSIVE;
    assert_says(s, DV_STEP_SHARING, "give GPU 2 to one tenant at a time in mode exclusive");
    s.sharing.mode = DV_MODE_AUTO;
    assert_says(s, DV_STEP_SHARING, "leave it to claims how GPU 2 is shared (mode auto)");
    assert_says(s, DV_STEP_MPS_STOP, "stop the MPS daemon of GPU 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_instances),
        cmocka_unit_test(test_sharing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
