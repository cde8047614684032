/* SPDX-License-Identifier: Apache-2.0 */
#include "render/verdict_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct dv_verdict base = {.result = DV_VERDICT_QUEUED,
                                       .gpu = 3,
                                       .mode = DV_MODE_GOVERNED,
                                       .asked_bytes = 40 * DV_GIB,
                                       .free_bytes = 24 * DV_GIB,
                                       .limit_bytes = 39 * DV_GIB,
                                       .asked_compute = 3500,
                                       .free_compute = 1750,
                                       .limit_compute = 3000,
                                       .replicas = 4,
                                       .limit_replicas = 2,
                                       .holder_id = 7,
                                       .holder = "team-a",
                                       .text = "h100",
                                       .detail = "limiting memory: error 999"};

static void assert_says(enum dv_reason reason, const char *expected)
{
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    struct dv_verdict v = base;
    v.reason = reason;
    v.because = DV_REASON_NO_MEMORY;
    dv_verdict_text_claim(&v, &s);
    assert_string_equal(dv_str_get(&s), expected);
}

static void test_words(void **state)
{
    assert_says(DV_REASON_FITS, "40.0 GiB and 50% of GPU 3, governed");
    assert_says(DV_REASON_NO_MEMORY,
                "asked 40.0 GiB, at most 24.0 GiB is free on one device (GPU 3)");
    assert_says(DV_REASON_NO_COMPUTE,
                "asked 50% of a GPU, at most 25% is free where the memory fits (GPU 3)");
    assert_says(DV_REASON_BEHIND, "there is room on GPU 3, but claim 7 of tenant team-a came first "
                                  "and can use it too");
    assert_says(DV_REASON_NOT_WAITING, "asked 40.0 GiB, at most 24.0 GiB is free on one device "
                                       "(GPU 3); this claim does not wait");
    assert_says(DV_REASON_NO_SUCH_GPU,
                "no GPU of this node matches \"h100\"; divvy status lists them");
    assert_says(DV_REASON_TOO_LARGE_MEMORY, "asked 40.0 GiB, but the largest device that could do "
                                            "has 39.0 GiB (GPU 3); ask for less");
    assert_says(DV_REASON_FULL, "GPU 3 has room for 4 slices in mode governed and all are held");
    assert_says(DV_REASON_DRAINING, "GPU 3 is being laid out anew; the claim waits for what comes");
    assert_says(DV_REASON_PREPARING, "there is room on GPU 3; its MPS daemon is being started");
    assert_says(DV_REASON_NO_SHARES, "asked 50% of a GPU, but time-slices are equal turns (42.9% "
                                     "each of 4 on GPU 3); ask for governed or mps");
    assert_says(DV_REASON_TOO_LARGE_PART,
                "asked 40.0 GiB and 50% of a GPU, but GPU 3 is laid out as 4 equal MPS parts of "
                "39.0 GiB and 42.9%; ask for less, or for a device without replicas");
    assert_says(
        DV_REASON_UNTRUSTED,
        "an untrusted workload goes only behind walls of hardware or driver, for memory and "
        "for compute, and mode governed on GPU 3 does not have both; ask for a whole GPU "
        "(--mode exclusive), or apply a layout with MIG devices (mig: [PROFILE, ...]) or with "
        "equal MPS parts (mode: mps, replicas: N)");
    assert_says(
        DV_REASON_NO_WALL,
        "the wall that was to hold this slice could not be raised on GPU 3: limiting memory: "
        "error 999; nothing is granted without it (the daemon's log has this too)");
    assert_says(DV_REASON_MODE_UNSUPPORTED,
                "GPU 3 cannot be shared in mode governed (see divvy doctor); auto, exclusive, "
                "timeslice or governed may do");
    assert_says(DV_REASON_TOO_SMALL_MEMORY,
                "one of 4 parts of GPU 3 has 40.0 GiB, but a CUDA context alone takes 39.0 GiB; "
                "at most 2 replicas would do");
    assert_says(DV_REASON_BELOW_USE,
                "asked 40.0 GiB, but 39.0 GiB is in use; free memory in the workload first");
}

static void assert_variant(struct dv_verdict v, const char *expected)
{
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    dv_verdict_text_claim(&v, &s);
    assert_string_equal(dv_str_get(&s), expected);
}

static void test_words_by_mode(void **state)
{
    struct dv_verdict v = base;
    v.reason = DV_REASON_TOO_SMALL_MEMORY;
    v.replicas = 0;
    assert_variant(v, "asked 40.0 GiB, but a CUDA context alone takes 39.0 GiB on GPU 3; ask for "
                      "more");
    v.reason = DV_REASON_FULL;
    v.replicas = 1;
    v.mode = DV_MODE_MPS;
    assert_variant(v, "GPU 3 has room for 1 slice in mode mps and it is held");
    v.reason = DV_REASON_FITS;
    v.new_processes_only = true;
    assert_variant(v, "40.0 GiB and 50% of GPU 3, mps; for processes that start from now on");
    v.reason = DV_REASON_FIXED;
    assert_variant(v, "GPU 3 is laid out as equal MPS parts; the size of one cannot change");
    v.mode = DV_MODE_TIMESLICE;
    assert_variant(v, "this time-slice on GPU 3 was claimed without a memory size and has no wall "
                      "that could move; claim it again with --memory");
    v.mode = DV_MODE_EXCLUSIVE;
    assert_variant(v, "an exclusive slice has the size of its device (GPU 3); it cannot change");
}

/* Every reason has words of its own: no names of reasons, no digits of the enum, one line. */
static void test_all_reasons_are_worded(void **state)
{
    for (int r = DV_REASON_FITS; r <= DV_REASON_FIXED; r++) {
        dv_cleanup(dv_str_done) struct dv_str s = {0};
        struct dv_verdict v = base;
        v.reason = (enum dv_reason)r;
        v.because = DV_REASON_BUSY;
        dv_verdict_text_claim(&v, &s);
        assert_true(s.len > 20);
        assert_string_not_equal(dv_str_get(&s), dv_verdict_reason_name(v.reason));
        assert_null(strchr(dv_str_get(&s), '\n'));
    }
}

static void test_sizes_that_round_alike_are_exact(void **state)
{
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    struct dv_verdict v = base;
    v.reason = DV_REASON_TOO_LARGE_MEMORY;
    v.asked_bytes = v.limit_bytes + 1;
    dv_verdict_text_claim(&v, &s);
    assert_non_null(strstr(dv_str_get(&s), "asked 41875931137 bytes"));
}

static void assert_mig(const char *have, const char *want, const char *expected)
{
    const struct dv_mig_geometry *g = dv_mig_geometry_find("A100-40GB");
    struct dv_mig_instance h[64], w[64];
    struct dv_mig_plan plan;
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    int n_have = dv_mig_plan_parse(g, have, h, NULL);
    int n_want = dv_mig_plan_parse(g, want, w, NULL);
    assert_true(n_have >= 0 && n_want >= 0);
    assert_int_equal(dv_mig_plan_find(g, h, (size_t)n_have, w, (size_t)n_want, &plan), 0);
    dv_verdict_text_mig(g, &plan, &s);
    assert_string_equal(dv_str_get(&s), expected);
}

static void test_mig(void **state)
{
    assert_mig("", "3g.20gb,2g.10gb,1g.5gb", "");
    assert_mig("", "4g.20gb*2", "asked 2 instances of 4g.20gb, the GPU takes 1");
    assert_mig("", "4g.20gb,3g.20gb,1g.5gb", "asked 8 compute slices in all, the GPU has 7");
    assert_mig("", "3g.20gb*2,1g.5gb", "asked 9 memory slices in all, the GPU has 8");
    assert_mig("", "2g.10gb@1", "2g.10gb cannot start at 1; it can at 0, 2, 4");
    assert_mig("3g.20gb@4", "1g.5gb@5", "1g.5gb at 5 overlaps 3g.20gb at 4");
    assert_mig("1g.5gb@5", "4g.20gb,2g.10gb",
               "no legal start is left for 2g.10gb (it can start at 0, 2, 4); on an empty GPU they "
               "would all fit, but instances in use do not move");
    for (int r = DV_MIG_OK; r <= DV_MIG_RULE_PLACEMENT; r++)
        assert_string_not_equal(dv_verdict_text_rule((enum dv_mig_rule)r), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_words_by_mode),
        cmocka_unit_test(test_all_reasons_are_worded),
        cmocka_unit_test(test_sizes_that_round_alike_are_exact),
        cmocka_unit_test(test_mig),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
