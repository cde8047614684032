/* SPDX-License-Identifier: Apache-2.0 */
#include "model/event.h"
#include "policy/diagnose.h"
#include "policy/xid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_snapshot *snapshot;
static struct dv_diagnose_gpu gpus[2];
static struct dv_diagnosis found;
static struct dv_diagnose_facts facts;

/* GPU 0 whole, GPU 1 in MIG mode with one device; all is well. */
static int setup(void **state)
{
    struct dv_event gpu = {.kind = DV_EVENT_GPU_SEEN,
                           .gpu = {.uuid = "GPU-0",
                                   .model = "A100",
                                   .memory_bytes = 80 * DV_GIB,
                                   .usable_bytes = 79 * DV_GIB,
                                   .context_bytes = 500 * DV_MIB,
                                   .mig_capable = true,
                                   .numa = -1,
                                   .health = DV_GPU_HEALTH_OK}};
    struct dv_event device = {
        .kind = DV_EVENT_DEVICE_SEEN,
        .device = {.uuid = "GPU-0", .memory_bytes = 79 * DV_GIB, .compute = 7000}};
    assert_int_equal(dv_snapshot_new(&snapshot), 0);
    assert_int_equal(dv_event_apply(snapshot, &gpu, NULL), 0);
    assert_int_equal(dv_event_apply(snapshot, &device, NULL), 0);
    gpu.gpu.index = 1;
    gpu.gpu.mig_enabled = true;
    strcpy(gpu.gpu.uuid, "GPU-1");
    device.device = (struct dv_device){.uuid = "MIG-1",
                                       .gpu = 1,
                                       .mig = true,
                                       .gi = 3,
                                       .profile = "3g.40gb",
                                       .placement_size = 4,
                                       .memory_bytes = 39 * DV_GIB,
                                       .compute = 3000};
    assert_int_equal(dv_event_apply(snapshot, &gpu, NULL), 0);
    assert_int_equal(dv_event_apply(snapshot, &device, NULL), 0);
    gpus[0] = (struct dv_diagnose_gpu){.index = 0, .persistence = 1};
    gpus[1] = (struct dv_diagnose_gpu){
        .index = 1, .persistence = 1, .n_gi = 1, .gi = {{.id = 3, .has_ci = true}}};
    facts = (struct dv_diagnose_facts){.snapshot = snapshot, .gpus = gpus, .n_gpus = 2};
    return 0;
}

static int teardown(void **state)
{
    dv_snapshot_freep(&snapshot);
    return 0;
}

static void nothing(void)
{
    dv_diagnose(&facts, &found);
    assert_int_equal(found.n, 0);
    assert_false(found.more);
}

/* Exactly this one. */
static const struct dv_diagnosis_finding *one(enum dv_trouble trouble, uint32_t gpu)
{
    dv_diagnose(&facts, &found);
    assert_int_equal(found.n, 1);
    assert_int_equal(found.findings[0].trouble, trouble);
    assert_int_equal(found.findings[0].gpu, gpu);
    return &found.findings[0];
}

static struct dv_device *device(const char *uuid)
{
    for (size_t i = 0; i < snapshot->n_devices; i++)
        if (!strcmp(snapshot->devices[i].uuid, uuid))
            return &snapshot->devices[i];
    fail();
    return NULL;
}

static void test_all_is_well(void **state)
{
    nothing();
    facts.driver = DV_DIAGNOSE_DRIVER_STARTING;
    nothing();
    facts = (struct dv_diagnose_facts){0}; /* nothing is known yet */
    nothing();
}

static void test_unknown_is_not_wrong(void **state)
{
    gpus[0].compute_mode = gpus[0].persistence = DV_DIAGNOSE_UNKNOWN;
    gpus[1].compute_mode = gpus[1].persistence = gpus[1].n_gi = DV_DIAGNOSE_UNKNOWN;
    nothing();
}

static void test_driver(void **state)
{
    static const struct {
        enum dv_diagnose_driver state;
        enum dv_trouble trouble;
    } cases[] = {
        {DV_DIAGNOSE_DRIVER_ALONE, DV_TROUBLE_KEEPER_GONE},
        {DV_DIAGNOSE_DRIVER_MISSING, DV_TROUBLE_DRIVER_MISSING},
        {DV_DIAGNOSE_DRIVER_NOT_LOADED, DV_TROUBLE_DRIVER_NOT_LOADED},
        {DV_DIAGNOSE_DRIVER_MISMATCH, DV_TROUBLE_DRIVER_MISMATCH},
        {DV_DIAGNOSE_DRIVER_WEDGED, DV_TROUBLE_DRIVER_WEDGED},
        {DV_DIAGNOSE_DRIVER_FAILED, DV_TROUBLE_DRIVER_FAILED},
    };
    facts.libcuda_missing = true;
    facts.driver_detail = "why";
    for (size_t i = 0; i < DV_ARRAY_SIZE(cases); i++) {
        facts.driver = cases[i].state;
        assert_string_equal(one(cases[i].trouble, DV_DIAGNOSE_UNKNOWN)->detail, "why");
    }
    facts.driver = DV_DIAGNOSE_DRIVER_OK;
    one(DV_TROUBLE_LIBCUDA_MISSING, DV_DIAGNOSE_UNKNOWN);
}

static void test_lost_hides_the_rest(void **state)
{
    gpus[0].lost = true;
    gpus[0].xid = 79;
    gpus[0].compute_mode = 2;
    assert_int_equal(one(DV_TROUBLE_GPU_LOST, 0)->n, 79);
}

static void test_xids(void **state)
{
    static const struct {
        uint64_t xid;
        enum dv_trouble trouble;
    } cases[] = {
        {13, DV_TROUBLE_XID_APPLICATION}, {31, DV_TROUBLE_XID_APPLICATION},
        {43, DV_TROUBLE_XID_CLEANUP},     {45, DV_TROUBLE_XID_CLEANUP},
        {48, DV_TROUBLE_XID_FATAL},       {63, DV_TROUBLE_XID_CONTAINED},
        {64, DV_TROUBLE_XID_FATAL},       {74, DV_TROUBLE_XID_FATAL},
        {79, DV_TROUBLE_XID_FATAL},       {94, DV_TROUBLE_XID_CONTAINED},
        {95, DV_TROUBLE_XID_FATAL},       {119, DV_TROUBLE_XID_FATAL},
        {120, DV_TROUBLE_XID_FATAL},      {999, DV_TROUBLE_XID_OTHER},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(cases); i++) {
        gpus[1].xid = cases[i].xid;
        assert_int_equal(one(cases[i].trouble, 1)->n, cases[i].xid);
    }
}

static void test_compute_mode(void **state)
{
    gpus[0].compute_mode = 2;
    one(DV_TROUBLE_PROHIBITED, 0);
    gpus[0].compute_mode = 3;
    one(DV_TROUBLE_ONE_PROCESS, 0);
    device("GPU-0")->layout = DV_MODE_EXCLUSIVE;
    nothing();
    device("GPU-0")->layout = DV_MODE_MPS;
    nothing();
    device("GPU-0")->layout = DV_MODE_GOVERNED;
    one(DV_TROUBLE_ONE_PROCESS, 0);
    device("GPU-0")->mps_up = true;
    nothing();
    gpus[0].compute_mode = 0;
    gpus[1].compute_mode = 3; /* has no meaning for MIG devices */
    nothing();
}

static void test_settings(void **state)
{
    gpus[0].persistence = 0;
    one(DV_TROUBLE_PERSISTENCE_OFF, 0);
    gpus[0].persistence = 1;
    gpus[0].rows_pending = true;
    one(DV_TROUBLE_ROWS_PENDING, 0);
    gpus[0].rows_pending = false;
    gpus[0].rows_failed = true;
    one(DV_TROUBLE_ROWS_FAILED, 0);
    gpus[0].rows_failed = false;
    gpus[0].links_down = 2;
    assert_int_equal(one(DV_TROUBLE_LINKS_DOWN, 0)->n, 2);
    gpus[0].links_down = 0;
    gpus[0].held_out_s = 59;
    gpus[0].held_out = "XID 999";
    assert_string_equal(one(DV_TROUBLE_HELD_OUT, 0)->detail, "XID 999");
    gpus[0].held_out_s = 0;
    gpus[0].ghost_bytes = DV_GIB;
    assert_int_equal(one(DV_TROUBLE_MEMORY_GHOST, 0)->bytes, DV_GIB);
}

static void test_mig(void **state)
{
    gpus[1].gi[0].has_ci = false;
    assert_int_equal(one(DV_TROUBLE_GI_EMPTY, 1)->n, 3);
    gpus[1].n_gi = 0;
    one(DV_TROUBLE_MIG_EMPTY, 1);
    gpus[1].empty_wanted = true;
    nothing();
    gpus[1].empty_wanted = false;
    gpus[1].mig_pending = true; /* one trouble at a time: with the reset the rest may go */
    gpus[1].mig_pending_unix = 1780000000;
    gpus[1].users = "pid 4711";
    const struct dv_diagnosis_finding *f = one(DV_TROUBLE_MIG_PENDING, 1);
    assert_int_equal(f->since_unix, 1780000000);
    assert_string_equal(f->detail, "pid 4711");
}

static void test_missing(void **state)
{
    struct dv_diagnose_missing missing[] = {
        {.index = 3, .uuid = "GPU-x", .card = "NVIDIA A100", .since_unix = 1780000000},
        {.index = 1, .uuid = "GPU-y", .card = "NVIDIA A100", .since_unix = 1780000001}};
    facts.missing = missing;
    facts.n_missing = 1;
    const struct dv_diagnosis_finding *f = one(DV_TROUBLE_GPU_MISSING, 3);
    assert_string_equal(f->device, "GPU-x");
    assert_string_equal(f->detail, "NVIDIA A100");
    assert_int_equal(f->since_unix, 1780000000);
}

static void test_layout(void **state)
{
    struct dv_diagnose_layout layout = {.gpu = 1, .failed = true, .detail = "no room"};
    facts.layout = &layout;
    facts.n_layout = 1;
    assert_string_equal(one(DV_TROUBLE_LAYOUT_FAILED, 1)->detail, "no room");
    layout.failed = false;
    nothing();
    layout.differs = true;
    assert_string_equal(one(DV_TROUBLE_LAYOUT_DIFFERS, 1)->detail, "no room");
    layout.differs = false;
    layout.n_blockers = 2;
    layout.slice = 7;
    layout.tenant = "ann";
    layout.holder = "pod team/x, pid 4711";
    layout.since_unix = 1780000000;
    const struct dv_diagnosis_finding *f = one(DV_TROUBLE_LAYOUT_WAITS, 1);
    assert_int_equal(f->slice, 7);
    assert_int_equal(f->since_unix, 1780000000);
    assert_string_equal(f->detail, "pod team/x, pid 4711");
    assert_int_equal(f->n, 2);
    assert_string_equal(f->tenant, "ann");
    layout.pods = "team/y"; /* slices first: pods are looked at when none is left */
    one(DV_TROUBLE_LAYOUT_WAITS, 1);
    layout.n_blockers = 0;
    f = one(DV_TROUBLE_LAYOUT_AWAITS_POD, 1);
    assert_int_equal(f->since_unix, 1780000000);
    assert_string_equal(f->detail, "team/y");
}

static void test_mps(void **state)
{
    struct dv_diagnose_mps mps = {.device = "MIG-1", .problem = "", .fault = NULL};
    facts.mps = &mps;
    facts.n_mps = 1;
    nothing();
    mps.problem = "cannot start";
    assert_string_equal(one(DV_TROUBLE_MPS_DOWN, 1)->device, "MIG-1");
    mps.problem = NULL;
    mps.fault = "took down s-1 of ann";
    assert_string_equal(one(DV_TROUBLE_MPS_FAULT, 1)->detail, "took down s-1 of ann");
    mps.device = "MIG-gone";
    one(DV_TROUBLE_MPS_FAULT, DV_DIAGNOSE_UNKNOWN);
}

static void test_sharing(void **state)
{
    struct dv_diagnose_crowd crowd = {"GPU-0", "ann", 4, 3};
    device("GPU-0")->replicas = 79; /* a GiB each */
    nothing();
    device("GPU-0")->replicas = 100;
    assert_int_equal(one(DV_TROUBLE_REPLICAS_TIGHT, 0)->n, 100);
    device("GPU-0")->replicas = 4;
    facts.crowds = &crowd;
    facts.n_crowds = 1;
    assert_int_equal(one(DV_TROUBLE_TURNS_UNFAIR, 0)->n, 3);
}

static void test_daemon(void **state)
{
    facts.state_problem = "no space left";
    one(DV_TROUBLE_STATE_UNWRITTEN, DV_DIAGNOSE_UNKNOWN);
    facts.state_problem = "";
    facts.state_note = "kept as x";
    one(DV_TROUBLE_STATE_ASIDE, DV_DIAGNOSE_UNKNOWN);
    facts.state_note = "";
    facts.not_realtime = true;
    one(DV_TROUBLE_NOT_REALTIME, DV_DIAGNOSE_UNKNOWN);
}

static void test_order_and_bound(void **state)
{
    static struct dv_diagnose_gpu many[DV_GPUS_MAX];
    for (uint32_t i = 0; i < DV_GPUS_MAX; i++)
        many[i] = (struct dv_diagnose_gpu){.index = DV_GPUS_MAX - 1 - i,
                                           .xid = 13 + i,
                                           .compute_mode = 2,
                                           .mig_pending = true,
                                           .ghost_bytes = 1};
    facts.gpus = many;
    facts.n_gpus = DV_GPUS_MAX;
    dv_diagnose(&facts, &found);
    assert_true(found.more);
    assert_int_equal(found.n, DV_DIAGNOSE_MAX - 1);
    for (uint32_t i = 1; i < found.n; i++) {
        const struct dv_diagnosis_finding *a = &found.findings[i - 1], *b = &found.findings[i];
        assert_true(a->trouble < b->trouble || (a->trouble == b->trouble && a->gpu <= b->gpu));
    }
}

static void test_names(void **state)
{
    for (int i = 0; i < DV_TROUBLE_COUNT; i++) {
        const char *name = dv_diagnose_name((enum dv_trouble)i);
        assert_non_null(name);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(name, dv_diagnose_name((enum dv_trouble)k));
    }
}

static void test_kubernetes(void **state)
{
    facts.kubernetes = (struct dv_diagnose_kubernetes){.waiting = "", .lost = NULL};
    dv_diagnose(&facts, &found);
    assert_int_equal(found.n, 0);
    facts.kubernetes = (struct dv_diagnose_kubernetes){.waiting = "nvidia.com/gpu (no kubelet)",
                                                       .config = "c.yaml:3:1: no",
                                                       .mig = "all-1g.5gb: there is none",
                                                       .server = "refused",
                                                       .labels = "forbidden"};
    dv_diagnose(&facts, &found);
    assert_int_equal(found.n, 5);
    assert_int_equal(found.findings[0].trouble, DV_TROUBLE_PLUGIN_WAITS);
    assert_string_equal(found.findings[1].detail, "c.yaml:3:1: no");
    assert_int_equal(found.findings[2].trouble, DV_TROUBLE_MIG_LABEL);
    assert_int_equal(found.findings[3].trouble, DV_TROUBLE_API_AWAY);
    assert_int_equal(found.findings[4].gpu, DV_DIAGNOSE_UNKNOWN);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_all_is_well), CASE(test_unknown_is_not_wrong),
        CASE(test_driver),      CASE(test_lost_hides_the_rest),
        CASE(test_xids),        CASE(test_compute_mode),
        CASE(test_settings),    CASE(test_mig),
        CASE(test_missing),     CASE(test_layout),
        CASE(test_mps),         CASE(test_sharing),
        CASE(test_daemon),      CASE(test_order_and_bound),
        CASE(test_names),       CASE(test_kubernetes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
