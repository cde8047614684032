/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing/oom.h"
#include "fleetfile/arrivals_file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_arrivals_file *read_text(const char *text)
{
    struct dv_arrivals_file *f = NULL;
    struct dv_err err = {{0}};
    int r = dv_arrivals_file_read("a.csv", text, strlen(text), &f, &err);
    if (r < 0)
        fail_msg("%s", err.msg);
    return f;
}

static void assert_refused(const char *text, const char *message)
{
    struct dv_arrivals_file *f = NULL;
    struct dv_err err = {{0}};
    assert_true(dv_arrivals_file_read("a.csv", text, strlen(text), &f, &err) < 0);
    assert_null(f);
    assert_string_equal(err.msg, message);
}

static void test_numbers_in_order(void **state)
{
    struct dv_arrivals_file *f = read_text("arrival_s,tenant,note\n3.5,10,x\n0.25,2,\n1,10,y\n"
                                           "1e-3,2,\n0,0,\n3.5,10,again\n");
    assert_int_equal(f->tenants, 3);
    assert_int_equal(f->rows, 6);
    assert_string_equal(f->names[0], "0");
    assert_string_equal(f->names[1], "2");
    assert_string_equal(f->names[2], "10");
    assert_int_equal(f->recorded[1].n, 2);
    assert_int_equal(f->recorded[1].at_ns[0], 1000000);
    assert_int_equal(f->recorded[1].at_ns[1], 250000000);
    assert_int_equal(f->recorded[2].n, 3);
    assert_int_equal(f->recorded[2].at_ns[0], DV_NS_PER_S);
    assert_int_equal(f->recorded[2].at_ns[2], 3500000000);
    struct dv_arrivals_load l = {
        .tenants = 3, .duration_ns = DV_NS_PER_S, .service_ns = 1000, .recorded = f->recorded};
    assert_int_equal(dv_arrivals_check(&l, NULL), 0);
    dv_arrivals_file_free(f);
}

static void test_names(void **state)
{
    struct dv_arrivals_file *f =
        read_text("tenant,arrival_s\nweb,1\n7,2\n\"a, b\",3\nweb,0.000000001\n");
    assert_int_equal(f->tenants, 3);
    assert_string_equal(f->names[0], "web");
    assert_string_equal(f->names[1], "7");
    assert_string_equal(f->names[2], "a, b");
    assert_int_equal(f->recorded[0].at_ns[0], 1);
    dv_arrivals_file_free(f);
}

static void test_refused(void **state)
{
    assert_refused("tenant,time\n0,1\n", "a.csv:1: no column 'arrival_s'; there are 'tenant', "
                                         "'time'");
    assert_refused("tenant,arrival_s\n", "a.csv:2: no requests, only a header");
    assert_refused("tenant,arrival_s\n0,1\n,2\n", "a.csv:3: column 'tenant': no tenant");
    struct dv_arrivals_file *f = NULL;
    struct dv_err err = {{0}};
    static const char *const bad[] = {"-1", "1e9", "nan", "inf", "x", "", "1 2", "0x10"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        char text[64];
        snprintf(text, sizeof text, "tenant,arrival_s\n0,1\n0,%s\n", bad[i]);
        assert_true(dv_arrivals_file_read("a.csv", text, strlen(text), &f, &err) < 0);
        assert_non_null(strstr(err.msg, "a.csv:3: column 'arrival_s'"));
    }
    assert_int_equal(dv_arrivals_file_load("/nonexistent/a.csv", &f, &err), -ENOENT);
}

static void test_too_many_tenants(void **state)
{
    char text[4096] = "tenant,arrival_s\n";
    size_t n = strlen(text);
    for (unsigned i = 0; i <= DV_ARRIVALS_TENANTS_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%u,1\n", i);
    assert_refused(text, "a.csv:66: column 'tenant': the tenant after the first 64; no more can be "
                         "simulated on one card");
    snprintf(text, sizeof text, "tenant,arrival_s\n%065d,1\n", 0);
    assert_refused(text, "a.csv:2: column 'tenant': longer than 63 bytes");
}

static void test_no_memory(void **state)
{
    static const char text[] = "tenant,arrival_s\n0,1\n1,0.5\nx,3\n0,0.25\n";
    for (size_t n = 1;; n++) {
        struct dv_arrivals_file *f = NULL;
        struct dv_err err = {{0}};
        dv_oom_at(n);
        int r = dv_arrivals_file_read("a.csv", text, strlen(text), &f, &err);
        bool met = dv_oom_end();
        assert_int_equal(r, met ? -ENOMEM : 0);
        assert_true((f != NULL) == !met);
        dv_arrivals_file_free(f);
        if (!met) {
            assert_in_range(n, 5, 100);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_in_order), cmocka_unit_test(test_names),
        cmocka_unit_test(test_refused),          cmocka_unit_test(test_too_many_tenants),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
