/* SPDX-License-Identifier: Apache-2.0 */
#include "render/bill_text.h"
#include "render/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Kept for what is read of it; clang takes a variable for unused that is only cleaned up. */
#define HELD dv_cleanup(dv_bill_freep) __attribute__((unused))

static struct dv_price_list *prices(void)
{
    struct dv_price_list *l = dv_price_list_new();
    struct dv_price_rule r = {.micros_per_hour = 3060000, .span = {INT32_MIN, INT32_MAX}};
    assert_non_null(l);
    memcpy(l->currency, "USD", 4);
    assert_int_equal(dv_price_add_rule(l, &r, NULL), 0);
    return l;
}

static struct dv_bill *bill(const struct dv_price_list *l, enum dv_bill_by by,
                            struct dv_bill_result *ret)
{
    struct dv_bill_query q = {.from_unix = 1767225600, .to_unix = 1767229200, .by = by};
    struct dv_charge_row row = {.from_unix = 1767225600, .to_unix = 1767229200};
    struct dv_bill *b = NULL;
    assert_int_equal(dv_bill_new(l, &q, &b, NULL), 0);
    snprintf(row.account.gpu, DV_UUID_SIZE, "GPU-1");
    snprintf(row.account.model, DV_GPU_NAME_SIZE, "NVIDIA A100-SXM4-80GB");
    row.charge.unallocated_ns = UINT64_C(1800000000000);
    assert_int_equal(dv_bill_add(b, &row, NULL), 0);
    snprintf(row.account.tenant, DV_TENANT_SIZE, "alice");
    row.account.mode = DV_MODE_MPS;
    row.account.quality = DV_QUALITY_ESTIMATED;
    row.account.source = DV_SOURCE_DRIVER;
    row.charge = (struct dv_charge){.busy_ns = 1800000000000,
                                    .wait_ns = 5,
                                    .requested_compute = UINT64_C(3500) * 3600000000000,
                                    .byte_seconds = 7};
    assert_int_equal(dv_bill_add(b, &row, NULL), 0);
    assert_int_equal(dv_bill_finish(b, ret, NULL), 0);
    return b;
}

#define GPUS                                                                                       \
    "\"gpus\":[{\"uuid\":\"GPU-1\",\"model\":\"NVIDIA A100-SXM4-80GB\",\"wall_seconds\":3600."     \
    "000000000,\"busy_seconds\":1800.000000000,\"reserved_idle_seconds\":0.000000000,"             \
    "\"overhead_seconds\":0.000000000,\"unallocated_seconds\":1800.000000000,"                     \
    "\"unhealthy_seconds\":0.000000000,\"origin_cost_micros\":3060000,\"used_cost_micros\":"       \
    "1530000,\"price_per_hour_micros\":3060000}]"
#define CHARGE                                                                                     \
    "\"busy_seconds\":1800.000000000,\"reserved_idle_seconds\":0.000000000,\"requested_seconds\":" \
    "1800.000000000,\"wait_seconds\":0.000000005,\"memory_byte_seconds\":7"
#define TENANTS                                                                                    \
    "\"tenants\":[{\"tenant\":\"alice\"," CHARGE                                                   \
    ",\"used_cost_micros\":1530000,\"requested_cost_micros\":1530000,\"fixed_cost_micros\":0,"     \
    "\"max_cost_micros\":1530000,\"reserved_idle_cost_micros\":0,\"idle_cost_micros\":0,"          \
    "\"cost_micros\":1530000,\"quality\":\"estimated\",\"used_cost_micros_by_quality\":{"          \
    "\"exact\":0,\"sampled\":0,\"estimated\":1530000}}]"

static void test_json(void **state)
{
    static const char expected[] =
        "{\"apiVersion\":\"divvy/v1\",\"kind\":\"Bill\",\"currency\":\"USD\",\"from_unix\":"
        "1767225600,\"to_unix\":1767229200,\"timezone\":\"UTC\",\"by\":\"all\",\"basis\":\"used\","
        "\"idle\":\"none\",\"tenant\":null,\"gpu\":null,\"price_file\":\"p.yaml\"," GPUS "," TENANTS
        ",\"lines\":["
        "{\"kind\":\"time\",\"from_unix\":1767225600,\"to_unix\":1767229200,\"tenant\":null,"
        "\"pod\":null,\"gpu_uuid\":\"GPU-1\",\"model\":\"NVIDIA "
        "A100-SXM4-80GB\",\"profile\":null,\"mode\":"
        "\"auto\",\"tier\":null,\"quality\":null,\"source\":null,\"busy_seconds\":0.000000000,"
        "\"reserved_idle_seconds\":0.000000000,\"requested_seconds\":0.000000000,\"wait_seconds\":"
        "0.000000000,\"memory_byte_seconds\":0,\"overhead_seconds\":0.000000000,"
        "\"unallocated_seconds\":1800.000000000,\"unhealthy_seconds\":0.000000000,"
        "\"used_cost_micros\":0,\"requested_cost_micros\":0,"
        "\"fixed_cost_micros\":0,\"max_cost_micros\":0,\"idle_cost_micros\":0,\"cost_micros\":0,"
        "\"waste_cost_micros\":1530000,"
        "\"waste\":{\"reserved_idle_cost_micros\":0,\"overhead_cost_micros\":0,"
        "\"unallocated_cost_micros\":1530000,\"unhealthy_cost_micros\":0}},"
        "{\"kind\":\"time\",\"from_unix\":1767225600,\"to_unix\":1767229200,\"tenant\":\"alice\","
        "\"pod\":null,\"gpu_uuid\":\"GPU-1\",\"model\":\"NVIDIA "
        "A100-SXM4-80GB\",\"profile\":null,\"mode\":"
        "\"mps\",\"tier\":\"be\",\"quality\":\"estimated\",\"source\":\"driver\"," CHARGE
        ",\"overhead_seconds\":0.000000000,\"unallocated_seconds\":0.000000000,"
        "\"unhealthy_seconds\":0.000000000"
        ",\"used_cost_micros\":1530000,\"requested_cost_micros\":1530000,\"fixed_cost_micros\":0,"
        "\"max_cost_micros\":1530000,\"idle_cost_micros\":0,\"cost_micros\":1530000,"
        "\"waste_cost_micros\":0,\"waste\":{"
        "\"reserved_idle_cost_micros\":0,\"overhead_cost_micros\":0,\"unallocated_cost_micros\":0,"
        "\"unhealthy_cost_micros\":0}}],"
        "\"waste\":{\"reserved_idle_cost_micros\":0,\"overhead_cost_micros\":0,"
        "\"unallocated_cost_micros\":1530000,\"unhealthy_cost_micros\":0,\"total_cost_micros\":"
        "1530000},\"origin_cost_micros\":3060000,\"used_cost_micros\":1530000,"
        "\"total_cost_micros\":1530000,\"others_cost_micros\":0,\"unshared_cost_micros\":1530000,"
        "\"adjustment_micros\":0,\"notes\":[\"100.0 % of the busy time is estimated: nothing "
        "measures it in its mode\"]}";
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = prices();
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_bill_result r;
    HELD struct dv_bill *b = bill(l, DV_BILL_BY_ALL, &r);
    dv_cleanup(dv_output_free) struct dv_output *o = dv_bill_text_output(&r, "p.yaml");
    assert_non_null(o);
    assert_int_equal(dv_json_write(o, false, &text), 0);
    while (text.len && text.data[text.len - 1] == '\n')
        text.data[--text.len] = 0;
    assert_string_equal(text.data, expected);
}

/* What a view does not tell apart is null. */
static void test_views(void **state)
{
    static const char *const keys[] = {"tenant", "gpu_uuid", "mode", "tier"};
    static const bool told[DV_BILL_BY_ALL + 1][4] = {
        {true}, {false, true}, {false, false, true}, {false}, {true}, {true, true, true, true}};
    for (int by = 0; by <= DV_BILL_BY_ALL; by++) {
        dv_cleanup(dv_price_list_freep) struct dv_price_list *l = prices();
        struct dv_bill_result r;
        HELD struct dv_bill *b = bill(l, (enum dv_bill_by)by, &r);
        dv_cleanup(dv_output_free) struct dv_output *o = dv_bill_text_output(&r, "p.yaml");
        const struct dv_output_node *lines = dv_output_get(dv_output_root(o), "lines");
        const struct dv_output_node *last = dv_output_at(lines, r.n_lines - 1);
        assert_int_equal(dv_output_get(last, "pod") != NULL, by >= DV_BILL_BY_POD);
        for (int k = 0; k < 4; k++)
            assert_int_equal(dv_output_get(last, keys[k])->type != DV_OUTPUT_NULL, told[by][k]);
    }
}

static void test_gap(void **state)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = prices();
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_bill_gap gap = {
        .from_unix = 1767225600,
        .to_unix = 1767229200,
        .account = {
            .gpu = "GPU-1", .model = "Tesla T4", .tenant = "alice", .mode = DV_MODE_TIMESLICE}};
    dv_bill_text_gap(l, &gap, &text);
    assert_string_equal(text.data,
                        "no price applies to the time of tenant alice on GPU GPU-1 (model \"Tesla "
                        "T4\", mode timeslice, tier be) from 2026-01-01T00:00:00Z to "
                        "2026-01-01T01:00:00Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_gap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
