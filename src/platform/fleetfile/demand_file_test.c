/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing/oom.h"
#include "fleetfile/demand_file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UNKNOWN DV_MIG_DEMAND_UNKNOWN

static const struct dv_mig_geometry *a100(void)
{
    return dv_mig_geometry_find("A100-80GB");
}

static struct dv_demand_file *read_text(const char *text)
{
    struct dv_demand_file *f = NULL;
    struct dv_err err = {{0}};
    if (dv_demand_file_read("d.csv", text, strlen(text), a100(), 3600, &f, &err) < 0)
        fail_msg("%s", err.msg);
    return f;
}

static void assert_refused(const char *text, const char *message)
{
    struct dv_demand_file *f = NULL;
    struct dv_err err = {{0}};
    assert_true(dv_demand_file_read("d.csv", text, strlen(text), a100(), 3600, &f, &err) < 0);
    assert_null(f);
    assert_string_equal(err.msg, message);
}

static void assert_demand(const struct dv_demand_file *f, size_t step, int32_t first,
                          int32_t second)
{
    assert_int_equal(f->demand[step * f->n_profiles], first);
    assert_int_equal(f->demand[step * f->n_profiles + 1], second);
}

/* A profile that this GPU has not, or that is misspelt, is not left out in silence. */
static void test_foreign_columns(void **state)
{
    struct dv_demand_file *f = read_text("time,1g.10gb,note,3g.40g\n2026-11-01T10:05Z,3,,1\n");
    assert_int_equal(f->n_profiles, 1);
    assert_int_equal(f->n_foreign, 1);
    assert_string_equal(f->foreign, "3g.40g");
    dv_demand_file_free(f);
    f = read_text("time,nvidia.com/mig-1g.10gb,nvidia.com/mig-2g.12gb,1g.6gb,gpu\n"
                  "2026-11-01T10:05Z,3,1,1,2\n");
    assert_int_equal(f->n_foreign, 2);
    assert_string_equal(f->foreign, "nvidia.com/mig-2g.12gb");
    dv_demand_file_free(f);
}

/* Two in one hour, an hour without, a duplicate, one out of order, a field that is not known. */
static void test_steps(void **state)
{
    struct dv_demand_file *f = read_text("note,3g.40gb,time,1g.10gb\n"
                                         "x,1,2026-11-01T10:05Z,3\n"
                                         ",2,2026-11-01T10:55:00Z,4\n"
                                         ",9,2026-11-01T13:00+01:00,9\n"
                                         ",0.5,2026-11-01 12:00,\n"
                                         ",7,2026-11-01T09:59:59,1\n");
    assert_int_equal(f->n_profiles, 2);
    assert_string_equal(a100()->profiles[f->profiles[0]].name, "1g.10gb");
    assert_string_equal(a100()->profiles[f->profiles[1]].name, "3g.40gb");
    assert_int_equal(f->n, 4);
    assert_int_equal(f->start_unix % 3600, 0);
    assert_int_equal(f->rows, 5);
    assert_int_equal(f->duplicates, 1);
    assert_int_equal(f->out_of_order, 1);
    assert_int_equal(f->gaps, 1);
    assert_demand(f, 0, 1000, 7000);
    assert_demand(f, 1, 3500, 1500);
    assert_demand(f, 2, UNKNOWN, UNKNOWN);
    assert_demand(f, 3, UNKNOWN, 500);
    dv_demand_file_free(f);
}

static void test_kubernetes_names(void **state)
{
    struct dv_demand_file *f =
        read_text("time,nvidia.com/mig-1g.10gb.me,nvidia.com/mig-1g.10gb\n1793494800.25,1,2\n");
    assert_int_equal(f->n_profiles, 2);
    assert_string_equal(a100()->profiles[f->profiles[0]].name, "1g.10gb");
    assert_string_equal(a100()->profiles[f->profiles[1]].name, "1g.10gb+me");
    assert_demand(f, 0, 2000, 1000);
    dv_demand_file_free(f);
}

static void test_refused(void **state)
{
    assert_refused("time,1g.5gb\n1793494800.25,1\n",
                   "d.csv:1: no column is called like a MIG profile of this GPU, as '1g.10gb'");
    assert_refused("when,1g.10gb\n1793494800.25,1\n",
                   "d.csv:1: no column 'time'; there are 'when', '1g.10gb'");
    assert_refused("time,1g.10gb,nvidia.com/mig-1g.10gb\n1793494800.25,1,1\n",
                   "d.csv:1: two columns for the profile 1g.10gb");
    assert_refused("time,1g.10gb\n", "d.csv:2: no rows, only a header");
    struct dv_demand_file *f = NULL;
    struct dv_err err = {{0}};
    static const char *const bad[] = {"time,1g.10gb\n1793494800.25,1\nyesterday,1\n",
                                      "time,1g.10gb\n1793494800.25,1\n,1\n",
                                      "time,1g.10gb\n1793494800.25,1\n1793498400,-1\n",
                                      "time,1g.10gb\n1793494800.25,1\n1793498400,nan\n",
                                      "time,1g.10gb\n1793494800.25,1\n1793498400,1e7\n"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        assert_true(dv_demand_file_read("d.csv", bad[i], strlen(bad[i]), a100(), 3600, &f, &err) <
                    0);
        assert_non_null(strstr(err.msg, "d.csv:3: column '"));
    }
    assert_refused("time,1g.10gb\n1000000,1\n2026-11-01,1\n",
                   "d.csv:4: the rows span 497916 steps; at most 200000 can be used: take a longer "
                   "step");
    assert_int_equal(dv_demand_file_read("d.csv", "", 0, a100(), 0, &f, &err), -EINVAL);
    assert_int_equal(dv_demand_file_load("/nonexistent", a100(), 3600, &f, &err), -ENOENT);
}

static void test_no_memory(void **state)
{
    static const char text[] = "time,1g.10gb\n2026-11-01,1\n2026-11-02,2\n";
    for (size_t n = 1;; n++) {
        struct dv_demand_file *f = NULL;
        struct dv_err err = {{0}};
        dv_oom_at(n);
        int r = dv_demand_file_read("d.csv", text, strlen(text), a100(), 3600, &f, &err);
        bool met = dv_oom_end();
        assert_int_equal(r, met ? -ENOMEM : 0);
        assert_true((f != NULL) == !met);
        dv_demand_file_free(f);
        if (!met) {
            assert_in_range(n, 5, 100);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_foreign_columns),
        cmocka_unit_test(test_kubernetes_names),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
