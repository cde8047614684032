/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each kind of step: twice is once. Plans that fail, or whose process dies, at every step: planned
 * back they end where they began, planned on they end where they should.
 */
#include "actuate/dry_actuator.h"
#include "policy/layout_plan.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct dv_mig_geometry *geometry;

static struct dv_step of(enum dv_step_kind kind)
{
    return (struct dv_step){
        .kind = kind, .gi = UINT32_MAX, .ci = UINT32_MAX, .profile = UINT32_MAX};
}

static struct dv_step gi_create(uint32_t profile, uint32_t start, uint32_t size)
{
    struct dv_step s = of(DV_STEP_GI_CREATE);
    s.profile = profile;
    s.start = start;
    s.size = size;
    return s;
}

static struct dv_step ci_create(uint32_t profile, uint32_t start, uint32_t size, uint32_t slices)
{
    struct dv_step s = gi_create(profile, start, size);
    s.kind = DV_STEP_CI_CREATE;
    s.slices = slices;
    return s;
}

static void assert_same(const struct dv_plan_gpu *a, const struct dv_plan_gpu *b)
{
    assert_int_equal(a->mig_enabled, b->mig_enabled);
    assert_int_equal(a->mig_pending, b->mig_pending);
    assert_int_equal(a->n_instances, b->n_instances);
    for (uint32_t i = 0; i < a->n_instances; i++) {
        const struct dv_plan_instance *x = &a->instances[i], *y = NULL;
        for (uint32_t k = 0; k < b->n_instances; k++)
            if (b->instances[k].id == x->id)
                y = &b->instances[k];
        if (!y) {
            fail_msg("GPU instance %u is not there", x->id);
            return;
        }
        assert_int_equal(x->profile, y->profile);
        assert_int_equal(x->start, y->start);
        assert_int_equal(x->n_ci, y->n_ci);
        uint32_t slices[2] = {0};
        for (uint32_t c = 0; c < x->n_ci; c++) {
            slices[0] += x->ci[c].slices * x->ci[c].slices;
            slices[1] += y->ci[c].slices * y->ci[c].slices;
        }
        assert_int_equal(slices[0], slices[1]);
    }
}

/* ---- single steps ---- */

static void twice(struct dv_actuator *a, const struct dv_step *s)
{
    struct dv_receipt first = {0}, second = {0};
    struct dv_plan_gpu once, again;
    struct dv_err err = {{0}};
    if (dv_actuate_step(a, s, &first, &err) != 0)
        fail_msg("step %u: %s", (unsigned)s->kind, err.msg);
    uint32_t changes = dv_dry_actuator_changes(a);
    dv_dry_actuator_gpu(a, 0, &once);
    assert_int_equal(dv_actuate_step(a, s, &second, &err), 0);
    dv_dry_actuator_gpu(a, 0, &again);
    assert_int_equal(dv_dry_actuator_changes(a), changes);
    assert_same(&once, &again);
    assert_int_equal(once.timeslice, again.timeslice);
    assert_int_equal(first.gi, second.gi);
    assert_int_equal(first.ci, second.ci);
    assert_string_equal(first.device, second.device);
}

static void test_twice_is_once(void **state)
{
    struct dv_actuator *a;
    assert_int_equal(dv_dry_actuator_new(geometry, 1, &a), 0);
    struct dv_step s = of(DV_STEP_MIG_MODE);
    s.value = 1;
    twice(a, &s);
    s = gi_create(9, 4, 4);
    twice(a, &s);
    s = ci_create(9, 4, 4, 3);
    twice(a, &s);
    s = of(DV_STEP_TIMESLICE);
    s.value = DV_TIMESLICE_LONG;
    twice(a, &s);
    s = of(DV_STEP_SHARING);
    strcpy(s.device, "MIG-dry-0-2-0");
    s.sharing = (struct dv_layout_sharing){.mode = DV_MODE_MPS, .replicas = 3};
    twice(a, &s);
    assert_int_equal(dv_dry_actuator_sharing(a, s.device)->replicas, 3);
    struct dv_mps_spec spec = {.name = "g0i2c0", .threads_percent = 33};
    struct dv_mps_status status;
    struct dv_err err;
    strcpy(spec.device, s.device);
    assert_int_equal(dv_actuate_mps(a, DV_MPS_START, &spec, "", &status, &err), 0);
    assert_int_equal(status.up, 1);
    s.kind = DV_STEP_CI_DESTROY;
    s.gi = 2;
    s.ci = 0;
    struct dv_receipt r;
    assert_int_equal(dv_actuate_step(a, &s, &r, &err), DV_ACTUATE_IN_USE); /* by its daemon */
    s.kind = DV_STEP_MPS_STOP;
    twice(a, &s);
    s.kind = DV_STEP_CI_DESTROY;
    twice(a, &s);
    s = gi_create(9, 4, 4);
    s.kind = DV_STEP_GI_DESTROY;
    s.gi = 2;
    twice(a, &s);
    s = of(DV_STEP_MIG_MODE);
    twice(a, &s);
    dv_actuator_free(a);
}

static void test_rules(void **state)
{
    struct dv_actuator *a;
    struct dv_receipt r;
    struct dv_err err;
    struct dv_step on = of(DV_STEP_MIG_MODE), off = on, gi = gi_create(9, 0, 4);
    on.value = 1;
    assert_int_equal(dv_dry_actuator_new(geometry, 1, &a), 0);
    assert_int_equal(dv_actuate_step(a, &gi, &r, &err), DV_ACTUATE_NOT_SUPPORTED);
    dv_dry_actuator_use(a, dv_dry_actuator_uuid(a, 0), true);
    assert_int_equal(dv_actuate_step(a, &on, &r, &err), DV_ACTUATE_IN_USE);
    dv_dry_actuator_use(a, dv_dry_actuator_uuid(a, 0), false);
    dv_dry_actuator_resets(a, true, false);
    assert_int_equal(dv_actuate_step(a, &on, &r, &err), DV_ACTUATE_NEEDS_RESET);
    dv_dry_actuator_resets(a, true, true);
    assert_int_equal(dv_actuate_step(a, &on, &r, &err), 0);
    assert_int_equal(r.reset, 1);
    assert_int_equal(dv_actuate_step(a, &gi, &r, &err), 0);
    assert_int_equal(r.gi, 1);
    gi.start = 2;
    assert_int_equal(dv_actuate_step(a, &gi, &r, &err), DV_ACTUATE_FAILED); /* no such place */
    gi = gi_create(0, 0, 8);
    assert_int_equal(dv_actuate_step(a, &gi, &r, &err), DV_ACTUATE_NO_ROOM);
    struct dv_step ci = ci_create(9, 0, 4, 2);
    assert_int_equal(dv_actuate_step(a, &ci, &r, &err), 0);
    ci.order = 1;
    assert_int_equal(dv_actuate_step(a, &ci, &r, &err), DV_ACTUATE_NO_ROOM); /* 2 + 2 > 3 */
    gi = gi_create(9, 0, 4);
    gi.kind = DV_STEP_GI_DESTROY;
    gi.gi = 1;
    assert_int_equal(dv_actuate_step(a, &gi, &r, &err), DV_ACTUATE_IN_USE);
    dv_dry_actuator_use(a, "MIG-dry-0-1-0", true);
    assert_int_equal(dv_actuate_step(a, &off, &r, &err), DV_ACTUATE_IN_USE);
    dv_dry_actuator_fail(a, 1, DV_DRY_DIE_BEFORE);
    ci = ci_create(9, 0, 4, 1);
    ci.order = 1;
    assert_int_equal(dv_actuate_step(a, &ci, &r, &err), 0);
    assert_int_equal(dv_actuate_step(a, &ci, &r, &err), -EPIPE);
    assert_int_equal(dv_actuate_step(a, &ci, &r, &err), 0);
    dv_actuator_free(a);
}

/* ---- plans ---- */

#define LAYOUTS 6
/* With places, so that there is one way only to be what is wanted. */
static const struct {
    const char *devices[DV_LAYOUT_DEVICES_MAX];
    uint32_t start[DV_LAYOUT_DEVICES_MAX];
    enum dv_mode mode;
    enum dv_timeslice timeslice;
} layouts[LAYOUTS] = {
    {{""}, {0}, DV_MODE_EXCLUSIVE, 0},
    {{""}, {0}, DV_MODE_TIMESLICE, DV_TIMESLICE_SHORT},
    {{"3g.20gb", "3g.20gb"}, {0, 4}, DV_MODE_EXCLUSIVE, 0},
    {{"1g.5gb", "1g.5gb", "1g.5gb", "1g.5gb", "1g.5gb", "1g.5gb", "1g.5gb"},
     {0, 1, 2, 3, 4, 5, 6},
     DV_MODE_MPS,
     0},
    {{"3g.20gb", "2g.10gb", "1g.5gb"}, {4, 0, 2}, DV_MODE_TIMESLICE, DV_TIMESLICE_LONG},
    {{"2c.3g.20gb", "1c.3g.20gb", "1c.4g.20gb", "1c.4g.20gb"}, {4, 4, 0, 0}, DV_MODE_EXCLUSIVE, 0},
};

struct world {
    struct dv_actuator *a;
    struct dv_gpu gpu;
    struct dv_device devices[DV_MIG_INSTANCES_MAX * DV_PLAN_CIS_MAX];
    struct dv_snapshot snapshot;
    struct dv_layout_gpu entry;
    struct dv_layout layout;
};

static void want(struct world *w, int which)
{
    w->entry = (struct dv_layout_gpu){.gpus.kind = DV_SELECTOR_ANY};
    for (uint32_t i = 0; i < DV_LAYOUT_DEVICES_MAX && layouts[which].devices[i]; i++) {
        struct dv_layout_device *d = &w->entry.devices[w->entry.n_devices++];
        strcpy(d->profile, layouts[which].devices[i]);
        d->start = d->profile[0] ? layouts[which].start[i] : DV_MIG_UNPLACED;
        d->sharing.mode = layouts[which].mode;
        d->sharing.timeslice = layouts[which].timeslice;
        d->sharing.replicas = d->sharing.mode == DV_MODE_EXCLUSIVE ? 0 : 2;
    }
    w->layout = (struct dv_layout){
        .has_cut = true, .has_sharing = true, .entries = &w->entry, .n_entries = 1};
}

static void add_device(struct world *w, const char *uuid)
{
    struct dv_device *d = &w->devices[w->snapshot.n_devices++];
    *d = (struct dv_device){.gpu = 0, .memory_bytes = DV_GIB, .compute = 1000};
    strcpy(d->uuid, uuid);
    const struct dv_layout_sharing *s = dv_dry_actuator_sharing(w->a, uuid);
    if (s) {
        d->layout = d->mode = s->mode;
        d->replicas = s->replicas;
    }
}

/* The node as an inventory would see it. */
static void look(struct world *w, struct dv_plan_gpu *now)
{
    dv_dry_actuator_gpu(w->a, 0, now);
    w->gpu = (struct dv_gpu){
        .memory_bytes = 40 * DV_GIB, .mig_capable = true, .mig_enabled = now->mig_enabled};
    strcpy(w->gpu.uuid, dv_dry_actuator_uuid(w->a, 0));
    w->snapshot = (struct dv_snapshot){.gpus = &w->gpu, .n_gpus = 1, .devices = w->devices};
    if (!now->mig_enabled)
        add_device(w, w->gpu.uuid);
    for (uint32_t i = 0; i < now->n_instances; i++)
        for (uint32_t k = 0; k < now->instances[i].n_ci; k++) {
            add_device(w, now->instances[i].ci[k].uuid);
            struct dv_device *d = &w->devices[w->snapshot.n_devices - 1];
            d->mig = true;
            d->gi = now->instances[i].id;
            d->ci = now->instances[i].ci[k].id;
            d->placement_start = now->instances[i].start;
            d->placement_size = geometry->profiles[now->instances[i].profile].size;
        }
}

static void plan_for(struct world *w, int which, struct dv_gpu_plan *ret)
{
    struct dv_plan_gpu now;
    struct dv_err err = {{0}};
    want(w, which);
    look(w, &now);
    if (dv_layout_plan_gpu(&w->layout, &w->snapshot, &now, ret, &err) != 0)
        fail_msg("layout %d: %s", which, err.msg);
}

/* Plans and does it; ends with no step left. Returns how many there were. */
static uint32_t go_to(struct world *w, int which)
{
    struct dv_gpu_plan plan;
    struct dv_receipt r;
    struct dv_err err = {{0}};
    uint32_t n;
    plan_for(w, which, &plan);
    n = plan.n_steps;
    for (uint32_t i = 0; i < n; i++)
        if (dv_actuate_step(w->a, &plan.steps[i], &r, &err) != 0)
            fail_msg("layout %d, step %u: %s", which, i, err.msg);
    plan_for(w, which, &plan);
    if (plan.n_steps)
        fail_msg("layout %d: after %u steps %s %u/%u %s is left", which, n,
                 dv_step_name(plan.steps[0].kind), plan.steps[0].start, plan.steps[0].order,
                 plan.steps[0].device);
    return n;
}

/* From one layout to another, with a fault at step n of it. */
static void stumble(struct world *w, int to, uint32_t n, enum dv_dry_fault fault)
{
    struct dv_gpu_plan plan;
    struct dv_receipt r;
    struct dv_err err;
    int result = 0;
    plan_for(w, to, &plan);
    dv_dry_actuator_fail(w->a, n, fault);
    for (uint32_t i = 0; i < plan.n_steps && result == 0; i++)
        result = dv_actuate_step(w->a, &plan.steps[i], &r, &err);
    assert_int_not_equal(result, 0);
}

static void test_fault_at_every_step(void **state)
{
    struct dv_plan_gpu before, wanted, now;
    uint32_t faults = 0;
    for (int from = 0; from < LAYOUTS; from++) {
        for (int to = 0; to < LAYOUTS; to++) {
            struct world w = {0};
            assert_int_equal(dv_dry_actuator_new(geometry, 1, &w.a), 0);
            go_to(&w, from);
            dv_dry_actuator_gpu(w.a, 0, &before);
            uint32_t steps = go_to(&w, to);
            dv_dry_actuator_gpu(w.a, 0, &wanted);
            for (uint32_t n = 0; n < steps * 6; n++) {
                go_to(&w, from);
                struct dv_gpu_plan plan;
                plan_for(&w, to, &plan); /* the way back may have left more or fewer steps */
                if (n / 6 >= plan.n_steps)
                    break;
                stumble(&w, to, n / 6, (enum dv_dry_fault)(DV_DRY_ERROR + n % 3));
                go_to(&w, n / 3 % 2 ? to : from);
                dv_dry_actuator_gpu(w.a, 0, &now);
                assert_same(&now, n / 3 % 2 ? &wanted : &before);
                int end = n / 3 % 2 ? to : from; /* without time-slices the setting is nobody's */
                if (layouts[end].mode == DV_MODE_TIMESLICE)
                    assert_int_equal(now.timeslice, layouts[end].timeslice);
                faults++;
            }
            dv_actuator_free(w.a);
        }
    }
    assert_true(faults > 1000);
}

int main(void)
{
    geometry = dv_mig_geometry_find("A100-40GB");
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_twice_is_once),
                                       cmocka_unit_test(test_rules),
                                       cmocka_unit_test(test_fault_at_every_step)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
