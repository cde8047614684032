/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of made-up nodes: which tenants are shown when there are too many, what stays of a GPU that
 * does not answer, the lines of dcgm-exporter. */
#include "account/tally.h"
#include "meter.h"
#include "metrics.h"
#include "sys/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_node *node_new(void)
{
    struct dv_node *n = calloc(1, sizeof *n);
    struct dv_facts_telemetry *t = malloc(sizeof *t);
    assert_non_null(n);
    assert_non_null(t);
    assert_int_equal(dv_snapshot_new(&n->snapshot), 0);
    struct dv_gpu *gpu = n->snapshot->gpus = calloc(1, sizeof *gpu);
    n->snapshot->n_gpus = 1;
    gpu->memory_bytes = 1000;
    gpu->health = DV_GPU_HEALTH_OK;
    snprintf(gpu->uuid, sizeof gpu->uuid, "GPU-1");
    snprintf(gpu->model, sizeof gpu->model, "NVIDIA \"X\"");
    snprintf(gpu->pci_bus_id, sizeof gpu->pci_bus_id, "00000000:1B:00.0");
    snprintf(n->driver.version, sizeof n->driver.version, "580.1");
    assert_int_equal(dv_meter_new(n), 0);
    n->driver.gpus = 1;
    n->gpus[0].present = n->gpus[0].sampled = true;
    n->gpus[0].telemetry.sampled_ns = dv_clock_now();
    n->gpus[0].gpu_percent = 37;
    n->gpus[0].memory_used_bytes = 300;
    n->gpus[0].memory_known = true;
    dv_hardware_telemetry_forget(t);
    n->gpus[0].telemetry.facts = t;
    n->gpus[0].telemetry.got_ns = dv_clock_now();
    return n;
}

static void node_done(struct dv_node *n)
{
    dv_telemetry_free(n);
    dv_meter_free(n);
    dv_snapshot_free(n->snapshot);
    free(n->gpus[0].facts);
    free(n->tenants);
    free(n);
}

static void add_tenants(struct dv_node *n, size_t count)
{
    n->tenants = calloc(count, sizeof *n->tenants);
    assert_non_null(n->tenants);
    for (; n->n_tenants < count; n->n_tenants++) {
        struct dv_node_tenant *t = &n->tenants[n->n_tenants];
        snprintf(t->name, sizeof t->name, "t%zu", n->n_tenants);
        struct dv_account a = {.mode = DV_MODE_GOVERNED, .source = DV_SOURCE_LEASES};
        memcpy(a.tenant, t->name, sizeof a.tenant);
        dv_tally_add(dv_meter_tally(n), &a, &(struct dv_charge){.busy_ns = 1500000000}, 1);
    }
}

static bool has(const struct dv_str *page, const char *fmt, ...) dv_printf(2, 3);
static bool has(const struct dv_str *page, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return strstr(dv_str_get(page), text) != NULL;
}

static size_t count(const struct dv_str *page, const char *what)
{
    size_t n = 0;
    for (const char *p = dv_str_get(page); (p = strstr(p, what)); p++)
        n++;
    return n;
}

static void test_too_many_tenants(void **state)
{
    dv_cleanup(dv_str_done) struct dv_str page = {0};
    struct dv_node *n = node_new();
    struct dv_holding waiting = {.node = n, .state = DV_HOLDING_QUEUED};
    add_tenants(n, 1500);
    n->tenants[1400].activity.active_ns = dv_clock_now(); /* used something just now */
    n->tenants[1499].activity.active_ns = 1;              /* long ago */
    snprintf(waiting.claim.tenant, sizeof waiting.claim.tenant, "t1450");
    waiting.claim.since_ns = dv_clock_now();
    n->holdings = &waiting;
    dv_metrics_write(n, DV_OPENMETRICS_PROMETHEUS, &page);
    assert_true(has(&page, "\ndivvy_tenants_dropped 500\n"));
    assert_int_equal(count(&page, "\ndivvy_tenant_launches_total{"), DV_METRICS_TENANTS_MAX);
    assert_int_equal(count(&page, "\ndivvy_tenant_busy_seconds_total{"), DV_METRICS_TENANTS_MAX);
    assert_true(has(&page, "\ndivvy_tenant_queued_claims{tenant=\"t1450\"} 1\n"));
    assert_true(has(&page,
                    "divvy_tenant_busy_seconds_total{tenant=\"t1400\",gpu=\"\",gpu_uuid=\"\","
                    "profile=\"\",mode=\"governed\",quality=\"exact\"} 1.5\n"));
    assert_true(has(&page, "tenant=\"t0\""));
    assert_true(has(&page, "tenant=\"t997\""));
    assert_false(has(&page, "tenant=\"t998\""));
    assert_false(has(&page, "tenant=\"t1499\""));
    n->holdings = NULL;
    node_done(n);
}

static void test_a_silent_gpu(void **state)
{
    static const char *const kept[] = {"info", "health", "collect_success", "collect_duration"};
    struct dv_node *n = node_new();
    n->gpus[0].telemetry.took_ns = 1;
    for (int how = 0; how < 7; how++) {
        dv_cleanup(dv_str_done) struct dv_str page = {0};
        dv_cleanup(dv_str_done) struct dv_str dcgm = {0};
        n->driver_status = how == 1;
        n->gpus[0].lost = how == 2;
        n->gpus[0].telemetry.sampled_ns = how == 3 ? 0 : dv_clock_now();
        n->gpus[0].present = how != 4;
        n->gpus[0].sampled = how != 5;
        if (how == 6) /* the last sample is of long ago */
            n->gpus[0].telemetry.sampled_ns -= 20 * DV_NS_PER_S;
        dv_metrics_write(n, DV_OPENMETRICS_PROMETHEUS, &page);
        dv_metrics_dcgm(n, DV_DCGM_HOSTNAME_NONE, "", &dcgm);
        assert_true(
            has(&page, "divvy_gpu_collect_success{gpu=\"0\",gpu_uuid=\"GPU-1\"} %d\n", !how));
        assert_int_equal(has(&page, "divvy_gpu_memory_used_bytes{"), !how);
        assert_int_equal(has(&page, "divvy_gpu_utilization_ratio{"), !how);
        assert_int_equal(dcgm.len != 0, !how);
        size_t lines = count(&page, "\ndivvy_gpu_");
        for (size_t i = 0; how && i < DV_ARRAY_SIZE(kept); i++) {
            char prefix[64];
            snprintf(prefix, sizeof prefix, "\ndivvy_gpu_%s", kept[i]);
            lines -= count(&page, prefix);
        }
        assert_int_equal(lines != 0, !how);
    }
    node_done(n);
}

static void test_dcgm_lines(void **state)
{
    dv_cleanup(dv_str_done) struct dv_str page = {0};
    struct dv_node *n = node_new();
    struct dv_facts_telemetry *t = n->gpus[0].telemetry.facts;
    n->gpus[0].facts = calloc(1, sizeof *n->gpus[0].facts);
    n->gpus[0].facts->n_mig = 1;
    n->gpus[0].facts->mig[0].gi = 7;
    snprintf(n->gpus[0].facts->mig[0].profile, DV_MIG_NAME, "1c.2g.20gb");
    t->power_mw = 123456;
    t->energy_mj = 98765432109;
    t->n_gi = 1;
    t->gi[0] = (struct dv_facts_telemetry_gi){.id = 7,
                                              .memory_used_bytes = 3 * DV_MIB + 5,
                                              .memory_free_bytes = DV_FACT_UNKNOWN,
                                              .memory_reserved_bytes = DV_FACT_UNKNOWN,
                                              .gpm = {.active_ppm = 250000,
                                                      .sm_ppm = DV_FACT_UNKNOWN32,
                                                      .occupancy_ppm = DV_FACT_UNKNOWN32,
                                                      .tensor_ppm = DV_FACT_UNKNOWN32,
                                                      .dram_ppm = 1,
                                                      .pcie_tx_bytes = 1048576,
                                                      .pcie_rx_bytes = DV_FACT_UNKNOWN,
                                                      .interval_ns = 1}};
    dv_telemetry_xid(n, 0, 31);
    dv_metrics_dcgm(n, DV_DCGM_HOSTNAME_BOTH, "n1", &page);
#define GPU                                                                                        \
    "gpu=\"0\",UUID=\"GPU-1\",pci_bus_id=\"00000000:1B:00.0\",device=\"nvidia0\","                 \
    "modelName=\"NVIDIA \\\"X\\\"\","
#define GI "GPU_I_PROFILE=\"2g.20gb\",GPU_I_ID=\"7\","
#define HOST "Hostname=\"n1\",hostname=\"n1\",DCGM_FI_DRIVER_VERSION=\"580.1\""
    assert_string_equal(
        dv_str_get(&page),
        "# HELP DCGM_FI_DEV_POWER_USAGE Power drawn (W).\n"
        "# TYPE DCGM_FI_DEV_POWER_USAGE gauge\n"
        "DCGM_FI_DEV_POWER_USAGE{" GPU HOST "} 123.456000\n"
        "# HELP DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION Energy since the driver was loaded (mJ).\n"
        "# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter\n"
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{" GPU HOST "} 98765432109\n"
        "# HELP DCGM_FI_DEV_XID_ERRORS The last XID that the driver reported, 0 for none.\n"
        "# TYPE DCGM_FI_DEV_XID_ERRORS gauge\n"
        "DCGM_FI_DEV_XID_ERRORS{" GPU HOST ",err_code=\"31\",err_msg=\"application error\"} 31\n"
        "# HELP DCGM_FI_DEV_FB_USED Memory used (MiB).\n"
        "# TYPE DCGM_FI_DEV_FB_USED gauge\n"
        "DCGM_FI_DEV_FB_USED{" GPU GI HOST "} 3\n"
        "# HELP DCGM_FI_PROF_GR_ENGINE_ACTIVE Part of the time in which the graphics or compute "
        "engine was active.\n"
        "# TYPE DCGM_FI_PROF_GR_ENGINE_ACTIVE gauge\n"
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE{" GPU GI HOST "} 0.250000\n"
        "# HELP DCGM_FI_PROF_DRAM_ACTIVE Part of the cycles in which memory was read or written.\n"
        "# TYPE DCGM_FI_PROF_DRAM_ACTIVE gauge\n"
        "DCGM_FI_PROF_DRAM_ACTIVE{" GPU GI HOST "} 0.000001\n"
        "# HELP DCGM_FI_PROF_PCIE_TX_BYTES Sent over PCIe (bytes/s).\n"
        "# TYPE DCGM_FI_PROF_PCIE_TX_BYTES gauge\n"
        "DCGM_FI_PROF_PCIE_TX_BYTES{" GPU GI HOST "} 1048576\n");
    node_done(n);
}

/* Alone on a device: all its rows are the container's. Two: the memory of each, beside the
 * device's. */
static void test_dcgm_containers(void **state)
{
    struct dv_node *n = node_new();
    struct dv_workload workloads[2] = {{.namespace = "a", .pod = "p", .container = "c"},
                                       {.namespace = "b", .pod = "q", .container = "d"}};
    struct dv_reservation_page reservations[2] = {{0}};
    struct dv_slice_page pages[2] = {{0}};
    struct dv_holding holdings[2] = {{0}};
    for (size_t i = 0; i < 2; i++) {
        struct dv_event e = {.kind = DV_EVENT_SLICE_GRANTED,
                             .slice = {.id = i + 1,
                                       .tenant = "t",
                                       .device = "GPU-1",
                                       .mode = DV_MODE_GOVERNED,
                                       .memory_bytes = DV_MIB,
                                       .compute = 700}};
        if (!i)
            assert_int_equal(
                dv_node_apply(n, &(struct dv_event){.kind = DV_EVENT_DEVICE_SEEN,
                                                    .device = {.uuid = "GPU-1",
                                                               .compute = DV_COMPUTE_FULL,
                                                               .memory_bytes = DV_GIB}}),
                0);
        assert_int_equal(dv_node_apply(n, &e), 0);
        holdings[i] =
            (struct dv_holding){.node = n,
                                .claim.id = i + 1,
                                .state = DV_HOLDING_GRANTED,
                                .workload = &workloads[i],
                                .pages = {.page = &pages[i], .reservation = &reservations[i]}};
        snprintf(holdings[i].device_uuid, sizeof holdings[i].device_uuid, "GPU-1");
    }
    holdings[0].next = &holdings[1];
    n->holdings = holdings;
    n->gpus[0].telemetry.facts->power_mw = 1000;
    n->gpus[0].telemetry.facts->memory_used_bytes = 9 * DV_MIB;
    dv_cleanup(dv_str_done) struct dv_str shared = {0};
    dv_metrics_dcgm(n, DV_DCGM_HOSTNAME_NONE, "", &shared);
    assert_int_equal(count(&shared, ",pod=\""), 2);
    assert_true(has(&shared, "\"580.1\"} 9\n"));
    assert_true(has(&shared, ",container=\"c\",namespace=\"a\",pod=\"p\"} 0\n"));
    assert_true(has(&shared, ",container=\"d\",namespace=\"b\",pod=\"q\"} 0\n"));
    assert_int_equal(dv_node_apply(n, &(struct dv_event){.kind = DV_EVENT_SLICE_RELEASED, .id = 2}),
                     0);
    holdings[0].next = NULL;
    dv_cleanup(dv_str_done) struct dv_str alone = {0};
    dv_metrics_dcgm(n, DV_DCGM_HOSTNAME_NONE, "", &alone);
    assert_int_equal(count(&alone, "} "),
                     count(&alone, ",container=\"c\",namespace=\"a\",pod=\"p\""));
    assert_true(has(&alone, "\"580.1\",container=\"c\",namespace=\"a\",pod=\"p\"} 9\n"));
    n->holdings = NULL;
    node_done(n);
}

static void test_xids_are_bounded(void **state)
{
    dv_cleanup(dv_str_done) struct dv_str page = {0};
    struct dv_node *n = node_new();
    for (uint64_t xid = 1; xid <= 100; xid++)
        dv_telemetry_xid(n, 0, xid);
    dv_telemetry_xid(n, 0, 5);
    dv_metrics_write(n, DV_OPENMETRICS_PROMETHEUS, &page);
    assert_int_equal(count(&page, "\ndivvy_gpu_xid_errors_total{"), DV_TELEMETRY_XIDS_MAX);
    assert_true(has(&page, "xid=\"5\"} 2\n"));
    assert_true(has(&page, "xid=\"0\"} 69\n")); /* 32 to 100 */
    node_done(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_too_many_tenants), cmocka_unit_test(test_a_silent_gpu),
        cmocka_unit_test(test_dcgm_lines), cmocka_unit_test(test_dcgm_containers),
        cmocka_unit_test(test_xids_are_bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
