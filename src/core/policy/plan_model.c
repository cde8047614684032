/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/plan_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GPU DV_PLAN_MODEL_GPU
#define NONE UINT32_MAX

struct dv_device *dv_plan_model_device(struct dv_plan_model *m, const char *uuid)
{
    struct dv_device *d = (struct dv_device *)dv_snapshot_device(&m->snapshot, uuid);
    assert_non_null(d);
    return d;
}

uint32_t dv_plan_model_held(const struct dv_plan_model *m, const char *uuid)
{
    return dv_snapshot_held(&m->snapshot, uuid).slices;
}

static struct dv_device *add_device(struct dv_plan_model *m, struct dv_device device)
{
    assert_true(m->snapshot.n_devices < DV_ARRAY_SIZE(m->devices));
    m->devices[m->snapshot.n_devices] = device;
    return &m->devices[m->snapshot.n_devices++];
}

static struct dv_device *add_whole(struct dv_plan_model *m, uint32_t gpu)
{
    struct dv_device d = {.gpu = gpu, .memory_bytes = DV_GIB, .compute = DV_COMPUTE_FULL};
    memcpy(d.uuid, m->gpus[gpu].uuid, sizeof d.uuid);
    return add_device(m, d);
}

static void remove_device(struct dv_plan_model *m, const char *uuid)
{
    size_t at = (size_t)(dv_plan_model_device(m, uuid) - m->devices);
    assert_int_equal(dv_plan_model_held(m, uuid), 0);
    assert_false(m->devices[at].mps_up); /* its daemon was stopped before */
    m->devices[at] = m->devices[--m->snapshot.n_devices];
}

static void settle(struct dv_plan_model *m, struct dv_device *d)
{
    struct dv_held h = dv_snapshot_held(&m->snapshot, d->uuid);
    d->mode = h.first ? h.first->mode : d->layout;
}

void dv_plan_model_init(struct dv_plan_model *m, const struct dv_mig_geometry *g, bool mig)
{
    memset(m, 0, sizeof *m);
    for (uint32_t i = 0; i < 2; i++) {
        m->gpus[i] = (struct dv_gpu){.index = i, .mig_capable = true, .sm = 100};
        snprintf(m->gpus[i].uuid, sizeof m->gpus[i].uuid, "GPU-%u", i);
        snprintf(m->gpus[i].model, sizeof m->gpus[i].model, "NVIDIA Test");
    }
    m->gpus[GPU].mig_enabled = mig;
    m->snapshot.gpus = m->gpus;
    m->snapshot.n_gpus = 2;
    m->snapshot.devices = m->devices;
    m->snapshot.slices = m->slices;
    m->now = (struct dv_plan_gpu){.index = GPU,
                                  .geometry = g,
                                  .mig_enabled = mig,
                                  .mig_pending = mig,
                                  .timeslice_known = true};
    add_whole(m, 0);
    if (!mig)
        add_whole(m, GPU);
}

struct dv_plan_instance *dv_plan_model_add_instance(struct dv_plan_model *m, uint32_t profile,
                                                    uint32_t start)
{
    const struct dv_mig_geometry *g = m->now.geometry;
    struct dv_mig_instance all[DV_MIG_INSTANCES_MAX];
    struct dv_plan_instance *now = &m->now.instances[m->now.n_instances];
    assert_true(m->now.mig_enabled);
    *now =
        (struct dv_plan_instance){.id = dv_mig_instance_id(g, &g->profiles[profile], start) + 100,
                                  .profile = profile,
                                  .start = start};
    m->now.n_instances++;
    for (uint32_t i = 0; i < m->now.n_instances; i++)
        all[i] = (struct dv_mig_instance){m->now.instances[i].profile, m->now.instances[i].start};
    assert_int_equal(dv_mig_check(g, all, m->now.n_instances, NULL), DV_MIG_OK);
    return now;
}

struct dv_device *dv_plan_model_add_compute(struct dv_plan_model *m, struct dv_plan_instance *now,
                                            uint32_t slices)
{
    const struct dv_mig_profile *p = &m->now.geometry->profiles[now->profile];
    struct dv_mig_compute_profile c[DV_MIG_COMPUTE_PROFILES_MAX];
    size_t n = dv_mig_compute_profiles(m->now.geometry, p, c), at = n;
    uint32_t used = slices, id = 0;
    for (uint32_t i = 0; i < now->n_ci; i++) {
        used += now->ci[i].slices;
        for (uint32_t k = 0; k < now->n_ci; k++)
            id += now->ci[k].id == id;
    }
    for (size_t i = 0; i < n; i++)
        at = c[i].slices == slices ? i : at;
    assert_true(at < n);
    assert_true(used <= p->slices);
    assert_true(now->n_ci < DV_PLAN_CIS_MAX);
    now->ci[now->n_ci].id = id;
    now->ci[now->n_ci].slices = slices;
    char *uuid = now->ci[now->n_ci++].uuid;
    snprintf(uuid, DV_UUID_SIZE, "MIG-%u", m->made++);
    struct dv_device d = {.gpu = GPU,
                          .mig = true,
                          .gi = now->id,
                          .ci = id,
                          .placement_start = now->start,
                          .placement_size = p->size,
                          .memory_bytes = DV_GIB,
                          .compute = 1000 * slices};
    memcpy(d.uuid, uuid, sizeof d.uuid);
    dv_mig_compute_name(p, &c[at], d.profile);
    return add_device(m, d);
}

void dv_plan_model_hold(struct dv_plan_model *m, struct dv_device *d, enum dv_mode mode, uint32_t n)
{
    for (; n; n--) {
        size_t at = m->snapshot.n_slices++;
        struct dv_slice *s = &m->slices[at];
        assert_true(at < DV_ARRAY_SIZE(m->slices));
        *s = (struct dv_slice){
            .id = 10 + at, .mode = d->layout ? d->layout : mode, .since_ns = (at * 7919) % 101};
        memcpy(s->device, d->uuid, sizeof s->device);
    }
    settle(m, d);
    d->mps_up = d->mode == DV_MODE_MPS;
}

void dv_plan_model_share(struct dv_plan_model *m, struct dv_device *d, enum dv_mode mode,
                         uint32_t replicas)
{
    d->layout = mode;
    d->replicas = replicas;
    settle(m, d);
    d->mps_up = d->mode == DV_MODE_MPS;
}

/* ---- executing a plan ---- */

static struct dv_plan_instance *instance_at(struct dv_plan_model *m, uint32_t start)
{
    for (uint32_t i = 0; i < m->now.n_instances; i++)
        if (m->now.instances[i].start == start)
            return &m->now.instances[i];
    fail_msg("no instance at %u", start);
    return NULL;
}

static void assert_names(const struct dv_plan_model *m, const struct dv_step *s,
                         const struct dv_plan_instance *now)
{
    const struct dv_mig_profile *p = &m->now.geometry->profiles[now->profile];
    assert_int_equal(s->profile, p->id);
    assert_int_equal(s->start, now->start);
    assert_int_equal(s->size, p->size);
    if (s->gi != NONE)
        assert_int_equal(s->gi, now->id);
}

static void end_blockers(struct dv_plan_model *m, const struct dv_gpu_plan *plan)
{
    for (uint32_t i = 0; i < plan->n_blockers; i++) {
        size_t at = 0;
        while (at < m->snapshot.n_slices && m->slices[at].id != plan->blockers[i].slice)
            at++;
        assert_true(at < m->snapshot.n_slices);
        assert_string_equal(m->slices[at].device, plan->blockers[i].device);
        assert_true(!i || plan->blockers[i - 1].slice < plan->blockers[i].slice);
        memmove(&m->slices[at], &m->slices[at + 1],
                (--m->snapshot.n_slices - at) * sizeof *m->slices);
        settle(m, dv_plan_model_device(m, plan->blockers[i].device));
    }
}

static void do_ci_destroy(struct dv_plan_model *m, const struct dv_step *s)
{
    struct dv_plan_instance *now = instance_at(m, s->start);
    uint32_t k = 0;
    assert_names(m, s, now);
    while (k < now->n_ci && now->ci[k].id != s->ci)
        k++;
    assert_true(k < now->n_ci);
    assert_string_equal(now->ci[k].uuid, s->device);
    assert_string_equal(dv_plan_model_device(m, s->device)->profile, s->name);
    assert_int_equal(now->ci[k].slices, s->slices);
    remove_device(m, s->device);
    memmove(&now->ci[k], &now->ci[k + 1], (--now->n_ci - k) * sizeof *now->ci);
}

static void do_gi_destroy(struct dv_plan_model *m, const struct dv_step *s)
{
    struct dv_plan_instance *now = instance_at(m, s->start);
    assert_names(m, s, now);
    assert_int_not_equal(s->gi, NONE);
    assert_int_equal(now->n_ci, 0);
    *now = m->now.instances[--m->now.n_instances];
}

static void do_mig_mode(struct dv_plan_model *m, const struct dv_step *s)
{
    bool on = s->value;
    if (on != m->now.mig_enabled) {
        assert_int_equal(m->now.n_instances, 0);
        if (on)
            remove_device(m, m->gpus[GPU].uuid);
        else
            add_whole(m, GPU);
    }
    m->now.mig_enabled = m->now.mig_pending = m->gpus[GPU].mig_enabled = on;
}

static void do_gi_create(struct dv_plan_model *m, const struct dv_step *s)
{
    const struct dv_mig_geometry *g = m->now.geometry;
    const struct dv_mig_profile *p = dv_mig_profile_by_id(g, s->profile);
    assert_non_null(p);
    assert_string_equal(s->name, p->name);
    assert_names(m, s, dv_plan_model_add_instance(m, (uint32_t)(p - g->profiles), s->start));
}

static void do_ci_create(struct dv_plan_model *m, const struct dv_step *s)
{
    struct dv_plan_instance *now = instance_at(m, s->start);
    struct dv_mig_compute_profile c[DV_MIG_COMPUTE_PROFILES_MAX];
    const struct dv_mig_profile *p = &m->now.geometry->profiles[now->profile];
    size_t n = dv_mig_compute_profiles(m->now.geometry, p, c), at = 0;
    assert_names(m, s, now);
    const struct dv_device *d = dv_plan_model_add_compute(m, now, s->slices);
    assert_string_equal(d->profile, s->name);
    while (at < n && c[at].id != s->value)
        at++;
    assert_true(at < n);
    assert_int_equal(c[at].slices, s->slices);
    memcpy(m->by_place[s->start][s->order], d->uuid, sizeof d->uuid);
}

static void do_sharing(struct dv_plan_model *m, const struct dv_step *s)
{
    const char *uuid = *s->device ? s->device : m->by_place[s->start][s->order];
    struct dv_device *d = dv_plan_model_device(m, uuid);
    assert_string_equal(d->profile, s->name);
    assert_true(d->layout != s->sharing.mode || d->replicas != s->sharing.replicas);
    if (dv_plan_model_held(m, uuid) && s->sharing.mode) {
        assert_int_equal(d->mode, s->sharing.mode); /* nobody is in another mode */
        assert_true(!s->sharing.replicas || dv_plan_model_held(m, uuid) <= s->sharing.replicas);
    }
    d->layout = s->sharing.mode;
    d->replicas = s->sharing.replicas;
    settle(m, d);
    d->mps_up |= d->mode == DV_MODE_MPS;
}

static void do_step(struct dv_plan_model *m, const struct dv_step *s)
{
    assert_int_equal(s->gpu, GPU);
    switch (s->kind) {
    case DV_STEP_MPS_STOP:
        assert_true(!dv_plan_model_held(m, s->device) ||
                    dv_plan_model_device(m, s->device)->mode != DV_MODE_MPS);
        dv_plan_model_device(m, s->device)->mps_up = false;
        break;
    case DV_STEP_CI_DESTROY:
        do_ci_destroy(m, s);
        break;
    case DV_STEP_GI_DESTROY:
        do_gi_destroy(m, s);
        break;
    case DV_STEP_MIG_MODE:
        do_mig_mode(m, s);
        break;
    case DV_STEP_GI_CREATE:
        do_gi_create(m, s);
        break;
    case DV_STEP_CI_CREATE:
        do_ci_create(m, s);
        break;
    case DV_STEP_TIMESLICE:
        assert_true(m->now.timeslice_known);
        m->now.timeslice = (enum dv_timeslice)s->value;
        break;
    case DV_STEP_SHARING:
        do_sharing(m, s);
        break;
    }
}

void dv_plan_model_execute(struct dv_plan_model *m, const struct dv_gpu_plan *plan, uint32_t n)
{
    struct dv_slice before[DV_ARRAY_SIZE(m->slices)];
    memset(m->by_place, 0, sizeof m->by_place);
    end_blockers(m, plan);
    memcpy(before, m->slices, m->snapshot.n_slices * sizeof *before);
    for (uint32_t i = 0; i < n; i++) {
        const struct dv_step *a = i ? &plan->steps[i - 1] : NULL, *b = &plan->steps[i];
        assert_true(!a || a->kind < b->kind ||
                    (a->kind == b->kind && (a->start < b->start || a->order < b->order)));
        do_step(m, b);
    }
    for (size_t i = 0; i < m->snapshot.n_slices; i++) {
        assert_int_equal(before[i].id, m->slices[i].id);
        assert_int_equal(before[i].mode, dv_plan_model_device(m, before[i].device)->mode);
    }
}
