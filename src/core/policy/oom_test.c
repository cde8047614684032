/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory runs out at the first, the second, the third... allocation of a small life of a node. Each
 * time the call that meets it says -ENOMEM, leaves what it was given as it was, and leaks nothing
 * (which the address sanitizer sees).
 */
#include "base/str.h"
#include "base/testing/oom.h"
#include "policy/labels.h"
#include "policy/layout_plan.h"
#include "policy/mig_change.h"
#include "policy/mig_plan.h"
#include "policy/offers.h"
#include "policy/queue.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* 0, or whatever the call said, which is right exactly when an allocation failed. */
static int met(int r)
{
    assert_int_equal(r, dv_oom_met() ? -ENOMEM : 0);
    return r;
}

static int apply(struct dv_snapshot *s, struct dv_event e)
{
    size_t n = s->n_gpus + s->n_devices + s->n_slices + s->n_claims;
    int r = met(dv_event_apply(s, &e, NULL));
    if (r < 0)
        assert_int_equal(s->n_gpus + s->n_devices + s->n_slices + s->n_claims, n);
    return r;
}

static int build(struct dv_snapshot *s)
{
    struct dv_event gpu = {.kind = DV_EVENT_GPU_SEEN};
    struct dv_event device = {.kind = DV_EVENT_DEVICE_SEEN};
    struct dv_event slice = {.kind = DV_EVENT_SLICE_GRANTED};
    struct dv_event claim = {.kind = DV_EVENT_CLAIM_QUEUED};
    device.device = (struct dv_device){.uuid = "GPU-0", .memory_bytes = 100, .compute = 7000};
    slice.slice = (struct dv_slice){.id = 1,
                                    .tenant = "a",
                                    .device = "GPU-0",
                                    .mode = DV_MODE_GOVERNED,
                                    .memory_bytes = 60,
                                    .compute = 3000};
    claim.claim = (struct dv_claim){
        .id = 2, .tenant = "b", .mode = DV_MODE_GOVERNED, .memory_bytes = 50, .wait = true};
    int r = apply(s, gpu);
    r = r ? r : apply(s, device);
    r = r ? r : apply(s, slice);
    return r ? r : apply(s, claim);
}

static int ask(const struct dv_snapshot *s)
{
    uint64_t id = 0;
    size_t order[1];
    struct dv_admission a;
    struct dv_verdict v;
    struct dv_event *events = NULL;
    size_t n = 0;
    dv_cleanup(dv_snapshot_freep) struct dv_snapshot *empty = NULL;
    int r = dv_queue_next(s, &id, &a);
    r = met(r == -ENOENT ? 0 : r);
    r = r ? r : met(dv_queue_order(s, order));
    r = r ? r : met(dv_queue_explain(s, 2, &v));
    r = r ? r : met(dv_snapshot_new(&empty));
    r = r ? r : met(dv_event_diff(empty, s, &events, &n));
    free(events);
    return r;
}

static int plan(void)
{
    const struct dv_mig_geometry *g = dv_mig_geometry_find("A100-40GB");
    struct dv_mig_instance have[64], want[64];
    struct dv_mig_plan found;
    size_t n_have = (size_t)dv_mig_plan_parse(g, "1g.5gb@5", have, NULL);
    size_t n_want = (size_t)dv_mig_plan_parse(g, "4g.20gb,2g.10gb", want, NULL);
    return met(dv_mig_plan_find(g, have, n_have, want, n_want, &found));
}

static int change(const char *text)
{
    const struct dv_mig_geometry *g = dv_mig_geometry_find("A100-40GB");
    const struct dv_mig_have have = {.profile = 0, .start = 5};
    struct dv_mig_instance want[64];
    struct dv_mig_change found = {.n = 77};
    size_t n_want = (size_t)dv_mig_plan_parse(g, text, want, NULL);
    int r = met(dv_mig_change_find(g, &have, 1, want, n_want, &found));
    assert_true(r == 0 || found.n == 77); /* outputs are written only on success */
    return r;
}

static int lay_out(const struct dv_snapshot *s)
{
    struct dv_layout_gpu entry = {.gpus.kind = DV_SELECTOR_ANY, .n_devices = 1};
    struct dv_layout_rule rule = {.profile = "*", .sharing.mode = DV_MODE_MPS};
    struct dv_layout layout = {.entries = &entry, .n_entries = 1, .rules = &rule, .n_rules = 1};
    struct dv_plan_gpu now = {.geometry = dv_mig_geometry_find("A100-40GB")};
    static struct dv_gpu_plan plan;
    dv_str_copy(entry.devices[0].profile, sizeof entry.devices[0].profile, "1g.5gb");
    entry.devices[0].start = DV_MIG_UNPLACED;
    plan.n_steps = 99;
    int r = met(dv_layout_plan_gpu(&layout, s, &now, &plan, NULL));
    assert_int_equal(plan.n_steps, r ? 99 : 4);
    return r;
}

static int offer(const struct dv_snapshot *s)
{
    static const char *const ids[] = {"GPU-0::p1", "GPU-0::p0"};
    static struct dv_offer_answer answer;
    dv_cleanup(dv_plugin_config_freep) struct dv_plugin_config *c = NULL;
    dv_cleanup(dv_offers_freep) struct dv_offers *o = NULL;
    dv_cleanup(dv_layout_freep) struct dv_layout *l = NULL;
    struct dv_offer_request request = {ids, 2, ids, 1, 2};
    struct dv_plugin_share share = {.name = "nvidia.com/gpu", .percent = true};
    const char *got[2];
    int r = met(dv_plugin_config_new(&c));
    r = r ? r : met(dv_plugin_config_add(&c->sharing[DV_PLUGIN_GOVERNED], &share));
    r = r ? r : met(dv_offers_make(c, s, &o, NULL));
    r = r ? r : met(dv_offers_prefer(o, &o->offers[0], &request, &s->topology, got, NULL));
    r = r ? r : met(dv_offers_allocate(o, &o->offers[0], ids, 2, &answer));
    return r ? r : met(dv_offers_layout(o, &l, NULL));
}

static int label(const struct dv_snapshot *s)
{
    struct dv_labels_settings settings = {.timestamp = 1};
    struct dv_labels_driver driver = {.version = "550.54.15", .cuda = 12040};
    struct dv_labels labels = {.n = 77};
    int r = met(dv_labels_make(s, &driver, &settings, &labels));
    assert_true(r == 0 || labels.n == 77);
    if (r == 0)
        dv_labels_done(&labels);
    return r;
}

static int life(void)
{
    dv_cleanup(dv_snapshot_freep) struct dv_snapshot *s = NULL;
    dv_cleanup(dv_snapshot_freep) struct dv_snapshot *copy = NULL;
    int r = met(dv_snapshot_new(&s));
    r = r ? r : build(s);
    r = r ? r : met(dv_snapshot_dup(s, &copy));
    r = r ? r : ask(s);
    r = r ? r : lay_out(s);
    r = r ? r : offer(s);
    r = r ? r : label(s);
    r = r ? r : plan();
    r = r ? r : change("4g.20gb,2g.10gb");
    return r ? r : change("3g.20gb@0,1g.5gb*4"); /* which cannot be */
}

static void test_every_allocation_fails_once(void **state)
{
    size_t n = 1;
    for (;; n++) {
        dv_oom_at(n);
        int r = life();
        if (!dv_oom_end()) {
            assert_int_equal(r, 0);
            break;
        }
        assert_int_equal(r, -ENOMEM);
    }
    assert_in_range(n, 25, 200); /* it did try them */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
