/* SPDX-License-Identifier: Apache-2.0 */
#include "fleetfile/plan_file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_fleet *fleet;
static struct dv_err err;

static int read_text(const char *text)
{
    dv_fleet_freep(&fleet);
    err.msg[0] = 0;
    return dv_plan_file_read("f.yaml", text, strlen(text), NULL, &fleet, &err);
}

#define T4 "gpus: [{model: T4}]\n"
#define ONE "workloads: [{name: a, gpus: 1}]\n"

static void test_values(void **state)
{
    assert_int_equal(
        read_text(
            "apiVersion: divvy/v1\nkind: Fleet\ncurrency: EUR\nheadroom: 25%\n"
            "gpus:\n- {model: a100, count: 10, price_per_hour: 3.06, per_node: 4, replicas: 8}\n"
            "- {model: B300, memory: 260GiB}\n"
            "workloads:\n- {name: a, count: 3, memory: 10GB, compute: 1/7, trust: untrusted,\n"
            "   isolation: driver, tier: lc, p99: 30ms, modes: [mig, mps], models: [A100, T4],\n"
            "   context: included, processes: 2, headroom: 0}\n"
            "- {name: b, gpus: 4, topology: nvlink}\n"
            "- {name: c, utilization: 15%, interactive: true, training: no, context: 500MiB}\n"
            "- {name: d, memory: 4GB, inference: true}\n"),
        0);
    const struct dv_fleet_group *g = fleet->groups;
    const struct dv_fleet_workload *w = fleet->workloads;
    assert_string_equal(fleet->currency, "EUR");
    assert_int_equal(fleet->headroom, 1750);
    assert_string_equal(g[0].model->name, "A100-40GB");
    assert_true(g[0].count == 10 && !g[0].open && g[0].priced && g[0].per_node == 4);
    assert_true(g[0].micros_per_hour == 3060000 && g[0].slices_max == 8);
    assert_true(g[1].open && !g[1].priced && g[1].per_node == 8);
    assert_int_equal(g[1].memory_bytes, 260 * DV_GIB);
    assert_true(w[0].count == 3 && w[0].memory_bytes == 10000000000 && w[0].compute == 1000);
    assert_true(w[0].trust == DV_TRUST_UNTRUSTED && w[0].isolation == DV_WALL_DRIVER);
    assert_true(w[0].has_tier && w[0].tier == DV_TIER_LATENCY_CRITICAL);
    assert_true(w[0].p99_ns == 30 * DV_NS_PER_MS && w[0].n_models == 2 && w[0].processes == 2);
    assert_int_equal(w[0].modes, DV_FLEET_BIT(DV_FLEET_MIG) | DV_FLEET_BIT(DV_FLEET_MPS));
    assert_true(w[0].context_said && !w[0].context_bytes && w[0].has_headroom && !w[0].headroom);
    assert_true(w[1].gpus == 4 && w[1].topology == DV_FLEET_NVLINK && w[1].count == 1);
    assert_true(w[2].busy == 1050 && w[2].interactive && !w[2].training);
    assert_int_equal(w[2].context_bytes, 500 * DV_MIB);
    assert_true(w[3].inference && !w[2].inference);
}

static void test_errors(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "f.yaml: an empty file, where one fleet is wanted"},
        {"a: 1\n---\nb: 1\n", "f.yaml: several documents, where one fleet is wanted"},
        {T4, "f.yaml:1:1: workloads is missing: a list"},
        {ONE, "f.yaml:1:1: gpus is missing: a list"},
        {"gpus: []\n" ONE, "f.yaml:1:7: gpus: an empty list"},
        {"gpu: [{model: T4}]\n" ONE, "f.yaml:1:1: unknown key \"gpu\" in a fleet; did you mean "
                                     "\"gpus\"?"},
        {"gpus: [{count: 1}]\n" ONE, "f.yaml:1:8: model is missing, such as A100-80GB"},
        {"gpus: [{model: T4, count: 0}]\n" ONE,
         "f.yaml:1:27: count: \"0\", where a number from 1 to 100000 is wanted"},
        {"gpus: [{model: T4, price_per_hour: -1}]\n" ONE,
         "f.yaml:1:36: price_per_hour: '-1' is not a price: a number up to 1000000, with at most "
         "six digits behind the point"},
        {"gpus: [{model: B300}]\n" ONE,
         "f.yaml:1:8: the model's memory is not public: say it with memory"},
        {T4 "workloads: [{name: a, gpus: 1, memory: 1GB}]\n",
         "f.yaml:2:13: workload a: gpus asks for whole GPUs: memory and compute are all of them; "
         "leave those out"},
        {T4 "workloads: [{name: a, gpus: 1}, {name: a, gpus: 2}]\n",
         "f.yaml:2:33: workload a is there twice; names tell them apart"},
        {T4 "workloads: [{name: a, memory: 1GB, isolation: hardwre}]\n",
         "f.yaml:2:47: isolation: no wall 'hardwre', did you mean 'hardware'?; there are hardware, "
         "driver, cooperative, none"},
        {T4 "workloads: [{name: a, memory: 1GB, modes: timeslices}]\n",
         "f.yaml:2:43: modes: no mode 'timeslices', did you mean 'timeslice'?; there are "
         "exclusive, "
         "mig, mps, governed, timeslice"},
        {T4 "workloads: [{name: a, memory: 1GB, headroom: 100%}]\n",
         "f.yaml:2:46: headroom: headroom is a share below 100%, not '100%'"},
        {T4 "workloads: [{name: a, memory: 1GB, p99: 0}]\n",
         "f.yaml:2:41: p99: a latency of 0 cannot be had"},
        {T4 "workloads: [{name: a, memory: 1GB, p99: 30}]\n",
         "f.yaml:2:41: p99: '30' has no unit; write for example 30ms"},
        {T4 "workloads: [{name: a, memory: 10}]\n",
         "f.yaml:2:13: workload a: memory is less than a MiB: a bare number is bytes; write for "
         "example 10GB"},
        {"gpus: [{model: T4, memory: 16}]\n" ONE,
         "f.yaml:1:8: memory is less than a MiB: a bare number is bytes; write for example 80GB"},
        {T4 "workloads: [{name: a, gpus: 1, count: 1000000, headroom: 50%}]\n",
         "f.yaml:2:13: more than 1000000 replicas in all, headroom included"},
        {"currency: usd\n" T4 ONE, "f.yaml:1:11: currency: 'usd' is not a currency's code, such as "
                                   "USD"},
        {"kind: Layout\n" T4 ONE, "f.yaml:1:7: kind: Fleet is wanted"},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(cases); i++) {
        assert_int_equal(read_text(cases[i].text), -EINVAL);
        assert_string_equal(err.msg, cases[i].message);
        assert_null(fleet);
    }
}

static void test_prices(void **state)
{
    int64_t v = -1;
    assert_int_equal(dv_plan_file_price("0", &v, &err), 0);
    assert_int_equal(v, 0);
    assert_int_equal(dv_plan_file_price("3.061234", &v, &err), 0);
    assert_int_equal(v, 3061234);
    assert_int_equal(dv_plan_file_price("1000000", &v, &err), 0);
    assert_int_equal(v, DV_FLEET_PRICE_MAX);
    static const char *const bad[] = {
        "",      ".5",  "1.", "1.0000001",           "1e3", "1,5", "1000001", "0x10", "1000000.1",
        "3.06 ", "nan", "+1", "99999999999999999999"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++)
        assert_int_equal(dv_plan_file_price(bad[i], &v, &err), -EINVAL);
}

static void test_short(void **state)
{
    dv_cleanup(dv_fleet_freep) struct dv_fleet *other = NULL;
    assert_int_equal(read_text("headroom: 10%\n" T4 ONE), 0);
    assert_int_equal(dv_plan_file_gpus("H200:8@4.50,L4", fleet, &other, &err), 0);
    assert_int_equal(other->n_groups, 2);
    assert_true(other->groups[0].count == 8 && other->groups[0].micros_per_hour == 4500000);
    assert_true(other->groups[1].open && !other->groups[1].priced);
    assert_true(other->n_workloads == 1 && other->headroom == 700);
    dv_fleet_freep(&other);
    static const char *const bad[] = {"",      "H200:", "H200:x", "H200:0",
                                      "H200@", "H2000", ",",      "T4,"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        assert_int_not_equal(dv_plan_file_gpus(bad[i], fleet, &other, &err), 0);
        assert_null(other);
    }
    /* A file with gpus only takes the workloads of another. */
    assert_int_equal(dv_plan_file_read("g.yaml", T4, strlen(T4), fleet, &other, &err), 0);
    assert_string_equal(other->workloads[0].name, "a");
}

static int end(void **state)
{
    dv_fleet_freep(&fleet);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_prices),
        cmocka_unit_test(test_short),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
