/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans are executed on a model of a GPU (plan_model.h): the end must be what the layout wants, and
 * planning again must give nothing. Random GPUs and layouts; then single cases by hand.
 */
#include "base/rng.h"
#include "base/str.h"
#include "policy/assign.h"
#include "policy/plan_model.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GPU DV_PLAN_MODEL_GPU
#define ROUNDS 20000
#define NONE UINT32_MAX

/* ---- is it what the layout wants? ---- */

static const struct dv_device *device_at(const struct dv_plan_model *m,
                                         const struct dv_plan_device *p)
{
    const char *uuid = *p->uuid      ? p->uuid
                       : *p->profile ? m->by_place[p->start][p->order]
                                     : m->gpus[GPU].uuid;
    return dv_snapshot_device(&m->snapshot, uuid);
}

static void assert_sharing(const struct dv_plan_model *m, const struct dv_layout *layout,
                           const struct dv_layout_gpu *entry, const struct dv_gpu_plan *plan)
{
    size_t n = 0;
    for (size_t i = 0; i < m->snapshot.n_devices; i++)
        n += m->devices[i].gpu == GPU;
    assert_int_equal(n, plan->n_devices);
    for (uint32_t i = 0; i < plan->n_devices; i++) {
        const struct dv_plan_device *p = &plan->devices[i];
        const struct dv_device *d = device_at(m, p);
        assert_non_null(d);
        assert_string_equal(d->profile, p->profile);
        assert_int_equal(d->placement_start, p->start);
        assert_int_equal(d->placement_size, p->size);
        assert_int_equal(d->layout, p->sharing.mode);
        assert_int_equal(d->replicas, p->sharing.replicas);
        assert_true(!i || plan->devices[i - 1].start < p->start ||
                    plan->devices[i - 1].order < p->order);
        if (entry)
            continue;
        struct dv_layout_sharing rule = dv_layout_rule_for(layout, &m->snapshot, d);
        assert_int_equal(rule.mode, d->layout);
        assert_int_equal(rule.replicas, d->replicas);
    }
}

/* Can this device be that wanted one: profile, start and sharing as named; AUTO by rule? */
static bool is_as_wanted(const struct dv_plan_model *m, const struct dv_layout *layout,
                         const struct dv_layout_device *want, const struct dv_device *d)
{
    struct dv_layout_sharing s = want->sharing;
    if (s.mode == DV_MODE_AUTO)
        s = dv_layout_rule_for(layout, &m->snapshot, d);
    return d->gpu == GPU && !strcmp(d->profile, want->profile) &&
           (want->start == DV_MIG_UNPLACED || !*d->profile || d->placement_start == want->start) &&
           d->layout == s.mode && d->replicas == s.replicas;
}

/* Each wanted device has one of its own. */
static void assert_all_wanted(const struct dv_plan_model *m, const struct dv_layout *layout,
                              const struct dv_layout_gpu *entry)
{
    int64_t cost[DV_LAYOUT_DEVICES_MAX * DV_ASSIGN_MAX];
    uint32_t taken[DV_LAYOUT_DEVICES_MAX], n = (uint32_t)m->snapshot.n_devices;
    assert_true(n <= DV_ASSIGN_MAX);
    for (uint32_t i = 0; i < entry->n_devices; i++)
        for (uint32_t k = 0; k < n; k++)
            cost[i * n + k] = !is_as_wanted(m, layout, &entry->devices[i], &m->devices[k]);
    dv_assign_find(entry->n_devices, n, cost, taken);
    for (uint32_t i = 0; i < entry->n_devices; i++)
        assert_int_equal(cost[i * n + taken[i]], 0);
}

/* The same as mig_change says of the same instances. */
static void assert_fewest(const struct dv_plan_model *m, const struct dv_layout_gpu *entry,
                          const struct dv_gpu_plan *plan)
{
    struct dv_layout_instance packed[DV_LAYOUT_DEVICES_MAX];
    struct dv_mig_have have[DV_MIG_INSTANCES_MAX] = {{0}};
    struct dv_mig_instance want[DV_LAYOUT_DEVICES_MAX];
    struct dv_mig_change change;
    uint32_t n = 0, n_have = m->now.mig_enabled ? m->now.n_instances : 0, blocked = 0;
    assert_int_equal(dv_layout_pack(entry, m->now.geometry, packed, &n, NULL), 0);
    for (uint32_t i = 0; i < n; i++)
        want[i] = (struct dv_mig_instance){packed[i].profile, packed[i].start};
    for (uint32_t i = 0; i < n_have; i++) {
        const struct dv_plan_instance *now = &m->now.instances[i];
        have[i] = (struct dv_mig_have){now->profile, now->start, false, false};
        for (uint32_t k = 0; k < now->n_ci; k++)
            have[i].in_use |= dv_plan_model_held(m, now->ci[k].uuid) > 0;
        for (uint32_t k = 0; k < plan->n_steps; k++)
            blocked += plan->steps[k].kind == DV_STEP_GI_DESTROY &&
                       plan->steps[k].start == now->start && have[i].in_use;
    }
    assert_int_equal(dv_mig_change_find(m->now.geometry, have, n_have, want, n, &change), 0);
    assert_int_equal(plan->destroyed, change.destroyed);
    assert_int_equal(plan->created, change.created);
    assert_int_equal(plan->kept, n - change.created);
    assert_int_equal(blocked, change.blocked);
}

static void check(struct dv_plan_model *m, const struct dv_layout *layout)
{
    const struct dv_layout_gpu *entry = dv_layout_find(layout, &m->gpus[GPU]);
    struct dv_gpu_plan *plan = calloc(2, sizeof *plan);
    struct dv_err err = {{0}};
    assert_non_null(plan);
    int r = dv_layout_plan_gpu(layout, &m->snapshot, &m->now, plan, &err);
    if (r)
        fail_msg("%s", err.msg);
    assert_int_equal(plan->managed, entry != NULL);
    if (entry && dv_layout_is_mig(entry))
        assert_fewest(m, entry, plan);
    dv_plan_model_execute(m, plan, plan->n_steps);
    assert_int_equal(m->now.mig_enabled, plan->mig);
    assert_sharing(m, layout, entry, plan);
    if (entry)
        assert_all_wanted(m, layout, entry);
    assert_int_equal(dv_layout_plan_gpu(layout, &m->snapshot, &m->now, &plan[1], &err), 0);
    assert_int_equal(plan[1].n_steps, 0);
    assert_int_equal(plan[1].n_blockers, 0);
    assert_int_equal(plan[1].created + plan[1].destroyed, 0);
    free(plan);
}

/* ---- random GPUs and layouts ---- */

static enum dv_mode random_mode(struct dv_rng *rng)
{
    return (enum dv_mode)dv_rng_below(rng, DV_MODE_GOVERNED + 1);
}

static uint32_t random_replicas(struct dv_rng *rng, enum dv_mode mode)
{
    if (mode < DV_MODE_MPS || !dv_rng_below(rng, 2))
        return 0;
    return 2 + (uint32_t)dv_rng_below(rng, 5);
}

static void random_life(struct dv_plan_model *m, struct dv_device *d, struct dv_rng *rng)
{
    enum dv_mode mode = random_mode(rng), first = DV_MODE_EXCLUSIVE + (random_mode(rng) & 3);
    dv_plan_model_share(m, d, mode, random_replicas(rng, mode));
    uint32_t most = d->replicas ? d->replicas : 4;
    if ((mode ? mode : first) == DV_MODE_EXCLUSIVE)
        most = 1;
    if (dv_rng_below(rng, 2))
        dv_plan_model_hold(m, d, first, (uint32_t)dv_rng_below(rng, most + 1));
}

static uint32_t random_instances(const struct dv_mig_geometry *g, struct dv_rng *rng,
                                 struct dv_mig_instance v[DV_MIG_INSTANCES_MAX])
{
    uint32_t n = 0;
    for (uint64_t tries = dv_rng_below(rng, 40); tries && n < DV_MIG_INSTANCES_MAX; tries--) {
        v[n] = (struct dv_mig_instance){(uint32_t)dv_rng_below(rng, g->n_profiles),
                                        (uint32_t)dv_rng_below(rng, g->grid)};
        n += !dv_mig_check(g, v, n + 1, NULL);
    }
    return n;
}

/* A random way to divide an instance: the whole, or parts that leave some over. Returns how many.
 */
static uint32_t random_parts(const struct dv_mig_geometry *g, const struct dv_mig_profile *p,
                             struct dv_rng *rng, struct dv_mig_compute_profile ret[8])
{
    struct dv_mig_compute_profile c[DV_MIG_COMPUTE_PROFILES_MAX];
    size_t n = dv_mig_compute_profiles(g, p, c);
    uint32_t left = p->slices, parts = 0;
    if (dv_rng_below(rng, 2)) {
        ret[0] = c[n - 1];
        for (size_t i = 0; i < n; i++)
            ret[0] = c[i].whole ? c[i] : ret[0];
        return 1;
    }
    for (uint64_t tries = dv_rng_below(rng, 8); tries && parts < 8; tries--) {
        ret[parts] = c[dv_rng_below(rng, n)];
        if (ret[parts].slices <= left)
            left -= ret[parts++].slices;
    }
    return parts;
}

static void random_model(struct dv_plan_model *m, const struct dv_mig_geometry *g,
                         struct dv_rng *rng)
{
    struct dv_mig_instance v[DV_MIG_INSTANCES_MAX];
    dv_plan_model_init(m, g, dv_rng_below(rng, 5) != 0);
    m->now.mig_pending ^= dv_rng_below(rng, 10) == 0;
    m->now.timeslice = (enum dv_timeslice)dv_rng_below(rng, 4);
    random_life(m, dv_plan_model_device(m, "GPU-0"), rng);
    if (!m->now.mig_enabled)
        random_life(m, dv_plan_model_device(m, "GPU-1"), rng);
    uint32_t n = m->now.mig_enabled ? random_instances(g, rng, v) : 0;
    for (uint32_t i = 0; i < n; i++) {
        struct dv_mig_compute_profile part[8];
        struct dv_plan_instance *now = dv_plan_model_add_instance(m, v[i].profile, v[i].start);
        uint32_t parts = random_parts(g, &g->profiles[v[i].profile], rng, part);
        for (uint32_t k = 0; k < parts; k++)
            random_life(m, dv_plan_model_add_compute(m, now, part[k].slices), rng);
    }
    m->made = 100; /* nobody can list the names of what is still to be made */
}

static struct dv_layout_sharing random_sharing(struct dv_rng *rng, enum dv_timeslice length)
{
    struct dv_layout_sharing s = {.mode = random_mode(rng)};
    s.replicas = random_replicas(rng, s.mode);
    if (s.mode == DV_MODE_TIMESLICE && dv_rng_below(rng, 2))
        s.timeslice = length;
    return s;
}

static void random_entry(struct dv_layout_gpu *e, const struct dv_mig_geometry *g,
                         struct dv_rng *rng, enum dv_timeslice length)
{
    struct dv_mig_instance v[DV_MIG_INSTANCES_MAX];
    uint32_t n = random_instances(g, rng, v);
    *e = (struct dv_layout_gpu){.gpus.kind = DV_SELECTOR_ANY};
    if (dv_rng_below(rng, 6) == 0) {
        e->devices[e->n_devices++].sharing = random_sharing(rng, length);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct dv_mig_profile *p = &g->profiles[v[i].profile];
        struct dv_mig_compute_profile part[8];
        uint32_t parts = random_parts(g, p, rng, part);
        bool named = dv_rng_below(rng, 4) == 0;
        for (uint32_t k = 0; k < parts && e->n_devices < DV_LAYOUT_DEVICES_MAX; k++) {
            struct dv_layout_device *d = &e->devices[e->n_devices++];
            dv_mig_compute_name(p, &part[k], d->profile);
            d->start = named ? v[i].start : DV_MIG_UNPLACED;
            d->sharing = random_sharing(rng, length);
        }
    }
}

static void random_rule(struct dv_layout_rule *r, char (*list)[DV_UUID_SIZE],
                        const struct dv_mig_geometry *g, struct dv_rng *rng,
                        enum dv_timeslice length)
{
    static const char *const lists[] = {"1", "1:0", "1:2", "MIG-1", "GPU-1", "0"};
    *r = (struct dv_layout_rule){.sharing = random_sharing(rng, length)};
    const char *names[] = {"", "*", g->profiles[dv_rng_below(rng, g->n_profiles)].name};
    dv_str_copy(r->profile, sizeof r->profile, names[dv_rng_below(rng, 3)]);
    r->count = (uint32_t)dv_rng_below(rng, 4);
    r->list = list;
    for (r->n_list = 0; dv_rng_below(rng, 3) == 0 && r->n_list < 4; r->n_list++)
        dv_str_copy(list[r->n_list], DV_UUID_SIZE, lists[dv_rng_below(rng, 6)]);
}

static void test_random(void **state)
{
    static const char *const names[] = {"A30", "A100-40GB", "H200-141GB", "RTX-PRO-6000"};
    struct dv_plan_model *m = calloc(1, sizeof *m);
    struct dv_rng rng = {8};
    size_t infeasible = 0, steps = 0, blockers = 0;
    assert_non_null(m);
    for (int round = 0; round < ROUNDS; round++) {
        const struct dv_mig_geometry *g = dv_mig_geometry_find(names[round % 4]);
        const struct dv_mig_geometry *both[] = {g, g};
        enum dv_timeslice length = (enum dv_timeslice)dv_rng_below(&rng, 4);
        struct dv_layout_gpu entry;
        struct dv_layout_rule rules[2];
        char lists[2][4][DV_UUID_SIZE];
        struct dv_layout layout = {.entries = &entry, .rules = rules};
        struct dv_gpu_plan *plan = calloc(1, sizeof *plan);
        struct dv_err err = {{0}};
        random_model(m, g, &rng);
        random_entry(&entry, g, &rng, length);
        layout.n_entries = dv_rng_below(&rng, 8) != 0;
        layout.n_rules = (uint32_t)dv_rng_below(&rng, 3);
        for (uint32_t i = 0; i < layout.n_rules; i++)
            random_rule(&rules[i], lists[i], g, &rng, length);
        assert_non_null(plan);
        assert_int_equal(dv_layout_check(&layout, &m->snapshot, both, &err), 0);
        int r = dv_layout_plan_gpu(&layout, &m->snapshot, &m->now, plan, &err);
        if (r) { /* places named so that nothing fits around them */
            assert_int_equal(r, -EINVAL);
            assert_non_null(strstr(err.msg, "no place is left"));
            infeasible++;
        } else {
            steps += plan->n_steps;
            blockers += plan->n_blockers;
            /* Half of them end early, as in a crash, and a new plan goes on from there. */
            if (dv_rng_below(&rng, 2))
                dv_plan_model_execute(m, plan, (uint32_t)dv_rng_below(&rng, plan->n_steps + 1));
            check(m, &layout);
        }
        free(plan);
    }
    assert_true(infeasible < ROUNDS / 10);
    assert_true(steps > ROUNDS);
    assert_true(blockers > ROUNDS / 2);
    free(m);
}

/* ---- of instances alike, who becomes which ---- */

static uint32_t least_disturbed(const bool bad[][8], uint32_t n, uint32_t row, uint32_t taken)
{
    uint32_t best = row < n ? NONE : 0;
    for (uint32_t k = 0; k < n && row < n; k++)
        if (!(taken >> k & 1)) {
            uint32_t c = bad[row][k] + least_disturbed(bad, n, row + 1, taken | 1u << k);
            best = DV_MIN(best, c);
        }
    return best;
}

static void test_modes_in_use_are_kept(void **state)
{
    const struct dv_mig_geometry *g = dv_mig_geometry_find("A100-40GB");
    struct dv_plan_model *m = calloc(1, sizeof *m);
    struct dv_gpu_plan *plan = calloc(1, sizeof *plan);
    struct dv_rng rng = {15};
    size_t sum = 0;
    assert_true(m && plan);
    for (int round = 0; round < 3000; round++) {
        struct dv_layout_gpu entry = {.gpus.kind = DV_SELECTOR_ANY};
        struct dv_layout layout = {.entries = &entry, .n_entries = 1};
        bool bad[8][8] = {{false}};
        uint32_t n = 1 + (uint32_t)dv_rng_below(&rng, 5), disturbed = 0;
        dv_plan_model_init(m, g, true);
        for (uint32_t k = 0; k < n; k++)
            random_life(m, dv_plan_model_add_compute(m, dv_plan_model_add_instance(m, 0, k), 1),
                        &rng);
        for (uint32_t i = 0; i < n; i++) {
            entry.devices[i] = (struct dv_layout_device){.profile = "1g.5gb",
                                                         .start = DV_MIG_UNPLACED,
                                                         .sharing.mode = DV_MODE_EXCLUSIVE +
                                                                         (random_mode(&rng) & 3)};
            for (uint32_t k = 0; k < n; k++)
                bad[i][k] = dv_plan_model_held(m, m->devices[k + 1].uuid) &&
                            m->devices[k + 1].mode != entry.devices[i].sharing.mode;
        }
        entry.n_devices = n;
        assert_int_equal(dv_layout_plan_gpu(&layout, &m->snapshot, &m->now, plan, NULL), 0);
        assert_int_equal(plan->created + plan->destroyed, 0);
        for (uint32_t k = 0; k < n; k++)
            for (uint32_t i = 0; i < plan->n_blockers; i++)
                if (!strcmp(plan->blockers[i].device, m->devices[k + 1].uuid)) {
                    disturbed++;
                    break;
                }
        assert_int_equal(disturbed, least_disturbed(bad, n, 0, 0));
        sum += disturbed;
    }
    assert_true(sum > 1000);
    free(plan);
    free(m);
}

/* ---- by hand ---- */

struct hand {
    struct dv_plan_model model;
    struct dv_layout_gpu entry;
    struct dv_layout_rule rule;
    struct dv_layout layout;
    struct dv_gpu_plan plan;
    struct dv_err err;
};

static struct hand *hand(const char *gpu, bool mig)
{
    struct hand *h = calloc(1, sizeof *h);
    assert_non_null(h);
    dv_plan_model_init(&h->model, dv_mig_geometry_find(gpu), mig);
    h->entry.gpus.kind = DV_SELECTOR_ANY;
    h->layout = (struct dv_layout){.entries = &h->entry, .n_entries = 1, .rules = &h->rule};
    return h;
}

static struct dv_device *there(struct hand *h, const char *profile, uint32_t start)
{
    const struct dv_mig_geometry *g = h->model.now.geometry;
    const struct dv_mig_profile *p = dv_mig_profile_find(g, profile, NULL);
    return dv_plan_model_add_compute(
        &h->model, dv_plan_model_add_instance(&h->model, (uint32_t)(p - g->profiles), start),
        p->slices);
}

static void want(struct hand *h, const char *profile, enum dv_mode mode, uint32_t replicas)
{
    struct dv_layout_device *d = &h->entry.devices[h->entry.n_devices++];
    *d = (struct dv_layout_device){.start = DV_MIG_UNPLACED, .sharing = {mode, replicas, 0}};
    dv_str_copy(d->profile, sizeof d->profile, profile);
}

static int plan(struct hand *h)
{
    return dv_layout_plan_gpu(&h->layout, &h->model.snapshot, &h->model.now, &h->plan, &h->err);
}

static void assert_steps(struct hand *h, const char *names, uint32_t blockers)
{
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    assert_int_equal(plan(h), 0);
    for (uint32_t i = 0; i < h->plan.n_steps; i++)
        dv_str_addf(&s, "%s%s", i ? " " : "", dv_step_name(h->plan.steps[i].kind));
    assert_string_equal(dv_str_get(&s), names);
    assert_int_equal(h->plan.n_blockers, blockers);
}

static void test_mig_mode(void **state)
{
    struct hand *h = hand("A100-40GB", false);
    struct dv_device *whole = dv_plan_model_device(&h->model, "GPU-1");
    dv_plan_model_hold(&h->model, whole, DV_MODE_MPS, 2);
    want(h, "3g.20gb", DV_MODE_MPS, 3);
    assert_steps(h, "stop_mps set_mig_mode create_instance create_compute_instance set_sharing", 2);
    assert_int_equal(h->plan.blockers[0].because, DV_STEP_MPS_STOP);
    assert_int_equal(h->plan.steps[1].value, 1);
    check(&h->model, &h->layout);
    /* Back, with a tenant in it. */
    dv_plan_model_hold(&h->model, dv_plan_model_device(&h->model, "MIG-0"), DV_MODE_MPS, 1);
    h->entry.n_devices = 0;
    want(h, "", DV_MODE_EXCLUSIVE, 0);
    assert_steps(h, "stop_mps destroy_compute_instance destroy_instance set_mig_mode set_sharing",
                 1);
    assert_string_equal(h->plan.steps[4].device, "GPU-1");
    assert_string_equal(h->plan.devices[0].uuid, "");
    check(&h->model, &h->layout);
    /* Only pending: taken back, nobody is in the way. */
    dv_plan_model_hold(&h->model, dv_plan_model_device(&h->model, "GPU-1"), DV_MODE_EXCLUSIVE, 1);
    h->model.now.mig_pending = true;
    assert_steps(h, "set_mig_mode", 0);
    /* MIG mode with nothing in it. */
    h->entry.n_devices = 0;
    assert_steps(h, "set_mig_mode", 1);
    assert_int_equal(h->plan.blockers[0].because, DV_STEP_MIG_MODE);
    check(&h->model, &h->layout);
    free(h);
}

static void test_a_tenant_keeps_its_instance(void **state)
{
    struct hand *h = hand("A100-40GB", true);
    there(h, "1g.5gb", 0);
    struct dv_device *used = there(h, "1g.5gb", 4);
    dv_plan_model_hold(&h->model, used, DV_MODE_GOVERNED, 2);
    want(h, "1g.5gb", DV_MODE_AUTO, 0);
    want(h, "3g.20gb", DV_MODE_EXCLUSIVE, 0);
    assert_steps(h,
                 "destroy_compute_instance destroy_instance create_instance "
                 "create_compute_instance set_sharing",
                 0);
    assert_int_equal(h->plan.steps[2].start, 0);
    assert_int_equal(h->plan.kept, 1);
    check(&h->model, &h->layout);
    free(h);
}

/* Two alike, one governed and held, one in MPS and held: each stays what it is. */
static void test_two_alike_keep_their_modes(void **state)
{
    struct hand *h = hand("A100-80GB", true);
    dv_plan_model_hold(&h->model, there(h, "1g.10gb", 2), DV_MODE_MPS, 2);
    dv_plan_model_hold(&h->model, there(h, "1g.10gb", 5), DV_MODE_GOVERNED, 2);
    want(h, "1g.10gb", DV_MODE_GOVERNED, 3);
    want(h, "1g.10gb", DV_MODE_MPS, 4);
    assert_steps(h, "set_sharing set_sharing", 0);
    assert_int_equal(h->plan.steps[0].sharing.mode, DV_MODE_MPS);
    assert_int_equal(h->plan.steps[1].sharing.mode, DV_MODE_GOVERNED);
    check(&h->model, &h->layout);
    /* One of them is enough: the one that is as wanted, wherever it lies. */
    h->entry.n_devices = 1;
    assert_steps(h, "stop_mps destroy_compute_instance destroy_instance", 2);
    assert_int_equal(h->plan.steps[2].start, 2);
    h->entry.devices[0].sharing.mode = DV_MODE_MPS;
    assert_steps(h, "destroy_compute_instance destroy_instance set_sharing", 2);
    assert_int_equal(h->plan.steps[1].start, 5);
    /* One that must lie elsewhere is no reason to keep what is like it. */
    h->entry.devices[0].start = 0;
    want(h, "1g.10gb", DV_MODE_GOVERNED, 3);
    assert_int_equal(plan(h), 0);
    assert_int_equal(h->plan.n_blockers, 2);
    h->entry.devices[0].sharing.mode = DV_MODE_GOVERNED;
    h->entry.devices[1].sharing.mode = DV_MODE_MPS;
    assert_int_equal(plan(h), 0);
    assert_int_equal(h->plan.n_blockers, 2);
    free(h);
}

static void test_compute_instances(void **state)
{
    struct hand *h = hand("A100-40GB", true);
    struct dv_plan_instance *now = dv_plan_model_add_instance(&h->model, 4, 4); /* 3g.20gb */
    dv_plan_model_add_compute(&h->model, now, 1);
    dv_plan_model_hold(&h->model, dv_plan_model_add_compute(&h->model, now, 1), DV_MODE_GOVERNED,
                       1);
    dv_plan_model_add_compute(&h->model, now, 1);
    want(h, "1c.3g.20gb", DV_MODE_AUTO, 0);
    want(h, "2c.3g.20gb", DV_MODE_AUTO, 0);
    assert_steps(h, "destroy_compute_instance destroy_compute_instance create_compute_instance", 0);
    assert_int_equal(h->plan.steps[0].order, 0);
    assert_int_equal(h->plan.steps[1].order, 2);
    assert_int_equal(h->plan.steps[2].gi, now->id);
    assert_int_equal(h->plan.steps[2].value, 1);
    check(&h->model, &h->layout);
    /* The instance whole: it stays, what is in it goes. */
    h->entry.n_devices = 0;
    want(h, "3g.20gb", DV_MODE_AUTO, 0);
    assert_steps(h, "destroy_compute_instance destroy_compute_instance create_compute_instance", 1);
    assert_int_equal(h->plan.blockers[0].because, DV_STEP_CI_DESTROY);
    free(h);
}

/* An instance is in use if any part of it is. */
static void test_a_part_in_use_keeps_the_whole(void **state)
{
    for (uint32_t used = 0; used < 2; used++) {
        struct hand *h = hand("A100-40GB", true);
        for (uint32_t i = 0; i < 2; i++) {
            struct dv_plan_instance *now = dv_plan_model_add_instance(&h->model, 3, 2 * i);
            struct dv_device *first = dv_plan_model_add_compute(&h->model, now, 1);
            dv_plan_model_add_compute(&h->model, now, 1);
            dv_plan_model_hold(&h->model, first, DV_MODE_GOVERNED, i == used);
        }
        want(h, "1c.2g.10gb", DV_MODE_AUTO, 0);
        want(h, "1c.2g.10gb", DV_MODE_AUTO, 0);
        assert_steps(h, "destroy_compute_instance destroy_compute_instance destroy_instance", 0);
        check(&h->model, &h->layout);
        free(h);
    }
}

/* Rules count devices by the ids that new ones will have: the lowest that are free. */
static void test_rules_count_what_will_be(void **state)
{
    struct hand *h = hand("A100-40GB", true);
    struct dv_plan_instance *now = dv_plan_model_add_instance(&h->model, 4, 4); /* 3g.20gb */
    dv_plan_model_add_compute(&h->model, now, 1);
    want(h, "1c.3g.20gb", DV_MODE_AUTO, 0);
    want(h, "1c.3g.20gb", DV_MODE_AUTO, 0);
    h->layout.n_rules = 1;
    dv_str_copy(h->rule.profile, sizeof h->rule.profile, "*");
    h->rule.count = 1;
    h->rule.sharing = (struct dv_layout_sharing){DV_MODE_GOVERNED, 2, 0};
    assert_steps(h, "create_compute_instance set_sharing", 0);
    assert_string_equal(h->plan.steps[1].device, "MIG-0");
    now->ci[0].id = dv_plan_model_device(&h->model, "MIG-0")->ci = 1;
    assert_steps(h, "create_compute_instance set_sharing", 0);
    assert_string_equal(h->plan.steps[1].device, "");
    check(&h->model, &h->layout);
    free(h);
}

/* A slice that the inventory still knows on a device that the driver has not any more. */
static void test_slice_on_a_lost_device(void **state)
{
    struct hand *h = hand("A100-40GB", true);
    dv_plan_model_hold(&h->model, there(h, "1g.5gb", 0), DV_MODE_GOVERNED, 1);
    h->model.now.n_instances = 0;
    assert_steps(h, "", 0);
    want(h, "", DV_MODE_AUTO, 0);
    assert_steps(h, "set_mig_mode", 1);
    assert_int_equal(h->plan.blockers[0].because, DV_STEP_MIG_MODE);
    h->layout.n_entries = 0;
    assert_steps(h, "", 0);
    free(h);
}

static void test_sharing(void **state)
{
    struct hand *h = hand("A30", false);
    struct dv_device *d = dv_plan_model_device(&h->model, "GPU-1");
    dv_plan_model_hold(&h->model, dv_plan_model_device(&h->model, "GPU-0"), DV_MODE_GOVERNED, 3);
    for (size_t i = 0; i < 3; i++) /* of another GPU, and older */
        h->model.slices[i].since_ns = 0;
    dv_plan_model_hold(&h->model, d, DV_MODE_GOVERNED, 4);
    want(h, "", DV_MODE_GOVERNED, 6);
    assert_steps(h, "set_sharing", 0); /* the mode in force is laid down */
    dv_plan_model_share(&h->model, d, DV_MODE_GOVERNED, 6);
    assert_steps(h, "", 0);
    h->entry.devices[0].sharing.replicas = 3;
    assert_steps(h, "set_sharing", 1); /* one too many: the youngest */
    uint64_t youngest = 0, since = 0;
    for (size_t i = 0; i < h->model.snapshot.n_slices; i++)
        if (h->model.slices[i].since_ns > since) {
            since = h->model.slices[i].since_ns;
            youngest = h->model.slices[i].id;
        }
    assert_int_equal(h->plan.blockers[0].slice, youngest);
    assert_int_equal(h->plan.blockers[0].because, DV_STEP_SHARING);
    h->entry.devices[0].sharing.replicas = 4;
    assert_steps(h, "set_sharing", 0);
    d->replicas = 3; /* as wanted on paper, and still one too many: nothing is left to do */
    h->entry.devices[0].sharing.replicas = 3;
    assert_steps(h, "", 0);
    h->entry.devices[0].sharing = (struct dv_layout_sharing){DV_MODE_MPS, 3, 0};
    assert_steps(h, "set_sharing", 4);
    d->layout = DV_MODE_MPS; /* laid out, but its slices have not left */
    assert_steps(h, "set_sharing", 4);
    h->entry.devices[0].sharing = (struct dv_layout_sharing){DV_MODE_AUTO, 0, 0};
    assert_steps(h, "set_sharing", 0);
    check(&h->model, &h->layout);
    free(h);
}

/* A daemon ends when the device leaves MPS, but not under those who are in it. */
static void test_mps_daemon(void **state)
{
    struct hand *h = hand("A30", false);
    struct dv_device *d = dv_plan_model_device(&h->model, "GPU-1");
    dv_plan_model_share(&h->model, d, DV_MODE_MPS, 3);
    want(h, "", DV_MODE_AUTO, 0);
    assert_steps(h, "stop_mps set_sharing", 0);
    dv_plan_model_hold(&h->model, d, DV_MODE_MPS, 1);
    assert_steps(h, "set_sharing", 0);
    h->entry.devices[0].sharing = (struct dv_layout_sharing){DV_MODE_MPS, 5, 0};
    assert_steps(h, "set_sharing", 0);
    h->entry.devices[0].sharing = (struct dv_layout_sharing){DV_MODE_EXCLUSIVE, 0, 0};
    assert_steps(h, "stop_mps set_sharing", 1);
    assert_int_equal(h->plan.blockers[0].because, DV_STEP_MPS_STOP);
    assert_int_equal(h->plan.steps[0].sharing.mode, DV_MODE_EXCLUSIVE);
    free(h);
}

static void test_timeslice(void **state)
{
    struct hand *h = hand("A100-40GB", true);
    there(h, "1g.5gb", 0);
    there(h, "1g.5gb", 1);
    want(h, "1g.5gb", DV_MODE_TIMESLICE, 4);
    want(h, "1g.5gb", DV_MODE_TIMESLICE, 4);
    assert_steps(h, "set_sharing set_sharing", 0);
    h->entry.devices[1].sharing.timeslice = DV_TIMESLICE_LONG;
    assert_steps(h, "set_timeslice set_sharing set_sharing", 0);
    assert_int_equal(h->plan.steps[0].value, DV_TIMESLICE_LONG);
    check(&h->model, &h->layout);
    h->entry.devices[1].sharing.timeslice = DV_TIMESLICE_DEFAULT;
    assert_steps(h, "set_timeslice", 0); /* named no more */
    h->entry.devices[0].sharing.timeslice = DV_TIMESLICE_SHORT;
    h->entry.devices[1].sharing.timeslice = DV_TIMESLICE_LONG;
    assert_int_equal(plan(h), -EINVAL);
    assert_non_null(strstr(h->err.msg, "GPU 1: time-slices of length short and of length long"));
    h->entry.devices[1].sharing.timeslice = DV_TIMESLICE_DEFAULT;
    h->model.now.timeslice_known = false;
    assert_int_equal(plan(h), -EINVAL);
    assert_non_null(strstr(h->err.msg, "this driver has no such setting"));
    h->entry.devices[0].sharing.timeslice = DV_TIMESLICE_DEFAULT;
    assert_steps(h, "", 0);
    free(h);
}

static void test_not_managed(void **state)
{
    struct hand *h = hand("A100-40GB", true);
    struct dv_device *a = there(h, "1g.5gb", 6);
    there(h, "2g.10gb", 0);
    h->layout.n_entries = 0;
    h->model.now.mig_pending = false;
    h->model.now.timeslice = DV_TIMESLICE_LONG;
    assert_steps(h, "", 0);
    assert_false(h->plan.managed);
    assert_true(h->plan.mig);
    assert_int_equal(h->plan.kept, 2);
    h->layout.n_rules = 1;
    dv_str_copy(h->rule.profile, sizeof h->rule.profile, "*");
    h->rule.count = 1;
    h->rule.sharing = (struct dv_layout_sharing){DV_MODE_TIMESLICE, 3, 0};
    assert_steps(h, "set_sharing", 0); /* the first by placement; the length is not ours */
    assert_int_equal(h->plan.steps[0].start, 0);
    h->layout.n_rules = 0;
    dv_plan_model_share(&h->model, a, DV_MODE_GOVERNED, 2);
    assert_steps(h, "set_sharing", 0); /* nothing wants it so any more */
    assert_int_equal(h->plan.steps[0].sharing.mode, DV_MODE_AUTO);
    check(&h->model, &h->layout);
    free(h);
}

static void test_what_cannot_be(void **state)
{
    struct hand *h = hand("A100-40GB", true);
    want(h, "3g.20gb", DV_MODE_AUTO, 0);
    h->entry.devices[0].start = 0;
    for (int i = 0; i < 4; i++)
        want(h, "1g.5gb", DV_MODE_AUTO, 0);
    assert_int_equal(plan(h), -EINVAL);
    assert_non_null(strstr(h->err.msg, "GPU 1: no place is left for 1g.5gb"));
    h->entry.n_devices = 1;
    there(h, "1g.5gb", 0);
    h->model.now.instances[0].start = 7;
    assert_int_equal(plan(h), -EINVAL);
    h->model.now.instances[0].start = 0;
    h->model.now.instances[0].n_ci = DV_PLAN_CIS_MAX + 1;
    assert_int_equal(plan(h), -EINVAL);
    h->model.now.index = 5;
    assert_int_equal(plan(h), -EINVAL);
    assert_non_null(strstr(h->err.msg, "GPU 5: it is not on this node"));
    free(h);
    h = hand("A100-40GB", false);
    h->model.now.geometry = NULL;
    assert_int_equal(plan(h), -EINVAL);
    assert_non_null(strstr(h->err.msg, "cannot do MIG"));
    want(h, "", DV_MODE_GOVERNED, 0);
    assert_steps(h, "set_sharing", 0);
    free(h);
}

static void test_more_than_fits(void **state)
{
    struct hand *h = hand("A30", false);
    dv_plan_model_hold(&h->model, dv_plan_model_device(&h->model, "GPU-1"), DV_MODE_GOVERNED,
                       DV_PLAN_BLOCKERS_MAX);
    want(h, "", DV_MODE_EXCLUSIVE, 0);
    assert_steps(h, "set_sharing", DV_PLAN_BLOCKERS_MAX);
    dv_plan_model_hold(&h->model, dv_plan_model_device(&h->model, "GPU-1"), DV_MODE_GOVERNED, 1);
    assert_int_equal(plan(h), -ENOSPC);
    free(h);
}

/* The driver shows an instance before the inventory does, or a device without a name. */
static void test_half_seen(void **state)
{
    struct hand *h = hand("A100-40GB", true);
    there(h, "1g.5gb", 0);
    there(h, "1g.5gb", 1);
    h->model.now.instances[0].ci[0].uuid[0] = 0;
    h->model.snapshot.n_devices = 1;
    want(h, "1g.5gb", DV_MODE_GOVERNED, 0);
    assert_steps(h, "destroy_compute_instance destroy_instance set_sharing", 0);
    assert_int_equal(h->plan.kept, 1);
    free(h);
}

static void test_names(void **state)
{
    for (int i = DV_STEP_MPS_STOP; i <= DV_STEP_SHARING; i++)
        assert_string_not_equal(dv_step_name((enum dv_step_kind)i), "unknown");
    assert_string_equal(dv_step_name((enum dv_step_kind)99), "unknown");
    assert_string_equal(dv_step_name(DV_STEP_GI_DESTROY), "destroy_instance");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_modes_in_use_are_kept),
        cmocka_unit_test(test_mig_mode),
        cmocka_unit_test(test_a_tenant_keeps_its_instance),
        cmocka_unit_test(test_two_alike_keep_their_modes),
        cmocka_unit_test(test_compute_instances),
        cmocka_unit_test(test_a_part_in_use_keeps_the_whole),
        cmocka_unit_test(test_rules_count_what_will_be),
        cmocka_unit_test(test_slice_on_a_lost_device),
        cmocka_unit_test(test_sharing),
        cmocka_unit_test(test_mps_daemon),
        cmocka_unit_test(test_timeslice),
        cmocka_unit_test(test_not_managed),
        cmocka_unit_test(test_what_cannot_be),
        cmocka_unit_test(test_more_than_fits),
        cmocka_unit_test(test_half_seen),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
