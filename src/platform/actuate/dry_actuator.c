/* SPDX-License-Identifier: Apache-2.0 */
#include "actuate/dry_actuator.h"

#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICES_MAX 64u

struct gpu {
    struct dv_plan_gpu now;
    char uuid[DV_UUID_SIZE];
    /* The devices that CI_CREATE steps made, by their place and order: that is how the SHARING
     * steps of the same plan name them. Their ids may be others. */
    char made[DV_MIG_GRID_MAX][DV_PLAN_CIS_MAX][DV_UUID_SIZE];
};

struct device { /* what is known of one by its UUID, also of one that is gone */
    char uuid[DV_UUID_SIZE];
    bool used, has_sharing, mps_up;
    struct dv_layout_sharing sharing;
    struct dv_mps_spec mps;
};

struct dry {
    struct dv_actuator base;
    const struct dv_mig_geometry *geometry;
    uint32_t n_gpus, steps, changes, after, n_devices;
    enum dv_dry_fault fault;
    bool needs_reset, may_reset;
    struct gpu gpus[DV_DRY_GPUS_MAX];
    struct device devices[DEVICES_MAX];
};

#define SELF(a) ((struct dry *)(void *)(a))
#define CONST_SELF(a) ((const struct dry *)(const void *)(a))

/* ---- devices ---- */

static struct device *device_of(struct dry *self, const char *uuid)
{
    for (uint32_t i = 0; i < self->n_devices; i++)
        if (!strcmp(self->devices[i].uuid, uuid))
            return &self->devices[i];
    if (self->n_devices == DEVICES_MAX)
        return NULL;
    struct device *d = &self->devices[self->n_devices++];
    *d = (struct device){0};
    dv_str_copy(d->uuid, sizeof d->uuid, uuid);
    return d;
}

static bool is_used(struct dry *self, const char *uuid)
{
    const struct device *d = device_of(self, uuid);
    return d && (d->used || d->mps_up);
}

static void forget_device(struct dry *self, const char *uuid)
{
    for (uint32_t i = 0; i < self->n_devices; i++)
        if (!strcmp(self->devices[i].uuid, uuid))
            self->devices[i] = self->devices[--self->n_devices];
}

/* ---- instances ---- */

static struct dv_plan_instance *by_id(struct dv_plan_gpu *g, uint32_t id)
{
    for (uint32_t i = 0; i < g->n_instances; i++)
        if (g->instances[i].id == id)
            return &g->instances[i];
    return NULL;
}

static struct dv_plan_instance *by_place(struct dv_plan_gpu *g, uint32_t profile, uint32_t start)
{
    for (uint32_t i = 0; i < g->n_instances; i++)
        if (g->geometry->profiles[g->instances[i].profile].id == profile &&
            g->instances[i].start == start)
            return &g->instances[i];
    return NULL;
}

/* The one that a step names, by its id and by what it should be, or by its place alone. */
static struct dv_plan_instance *named(struct dv_plan_gpu *g, const struct dv_step *s)
{
    if (s->gi == UINT32_MAX)
        return by_place(g, s->profile, s->start);
    struct dv_plan_instance *i = by_id(g, s->gi);
    bool same =
        i && (s->profile == UINT32_MAX || (g->geometry->profiles[i->profile].id == s->profile &&
                                           (!s->size || i->start == s->start)));
    return same ? i : NULL;
}

static int create_gi(struct dry *self, struct dv_plan_gpu *g, const struct dv_step *s,
                     struct dv_receipt *ret, struct dv_err *err)
{
    struct dv_mig_instance all[DV_MIG_INSTANCES_MAX + 1];
    const struct dv_mig_profile *p =
        g->mig_enabled ? dv_mig_profile_by_id(g->geometry, s->profile) : NULL;
    if (!p)
        return dv_err_set(err, DV_ACTUATE_NOT_SUPPORTED, "no MIG mode, or no such profile");
    const struct dv_plan_instance *there = by_place(g, s->profile, s->start);
    if (there) {
        ret->gi = there->id;
        return 0;
    }
    if (s->start >= g->geometry->grid || !(p->starts >> s->start & 1) || s->size != p->size)
        return dv_err_set(err, DV_ACTUATE_FAILED, "%s cannot be at %u", p->name, s->start);
    for (uint32_t i = 0; i < g->n_instances; i++)
        all[i] = (struct dv_mig_instance){g->instances[i].profile, g->instances[i].start};
    uint32_t profile = (uint32_t)(p - g->geometry->profiles);
    all[g->n_instances] = (struct dv_mig_instance){profile, s->start};
    if (g->n_instances == DV_MIG_INSTANCES_MAX ||
        dv_mig_check(g->geometry, all, g->n_instances + 1, NULL) != DV_MIG_OK)
        return dv_err_set(err, DV_ACTUATE_NO_ROOM, "%s at %u: the place is taken", p->name,
                          s->start);
    g->instances[g->n_instances++] = (struct dv_plan_instance){
        .id = dv_mig_instance_id(g->geometry, p, s->start), .profile = profile, .start = s->start};
    ret->gi = g->instances[g->n_instances - 1].id;
    self->changes++;
    return 0;
}

static int destroy_gi(struct dry *self, struct dv_plan_gpu *g, const struct dv_step *s,
                      struct dv_err *err)
{
    struct dv_plan_instance *i = s->gi == UINT32_MAX ? NULL : named(g, s);
    if (!i)
        return 0;
    if (i->n_ci)
        return dv_err_set(err, DV_ACTUATE_IN_USE, "GPU instance %u has compute instances", s->gi);
    uint32_t at = (uint32_t)(i - g->instances);
    memmove(i, i + 1, (g->n_instances - at - 1) * sizeof *i);
    g->n_instances--;
    self->changes++;
    return 0;
}

static uint32_t free_ci_id(const struct dv_plan_instance *i)
{
    uint32_t id = 0;
    for (uint32_t k = 0; k < i->n_ci; k++)
        if (i->ci[k].id == id) {
            id++;
            k = UINT32_MAX; /* from the beginning */
        }
    return id;
}

static const char *uuid_of(const struct dv_plan_instance *i, uint32_t ci)
{
    for (uint32_t k = 0; k < i->n_ci; k++)
        if (i->ci[k].id == ci)
            return i->ci[k].uuid;
    return NULL;
}

static int create_ci(struct dry *self, struct dv_plan_gpu *g, const struct dv_step *s,
                     struct dv_receipt *ret, struct dv_err *err)
{
    struct dv_plan_instance *i = g->mig_enabled ? named(g, s) : NULL;
    uint32_t taken = 0, id = s->order;
    if (!i)
        return dv_err_set(err, DV_ACTUATE_NOT_FOUND, "no GPU instance at %u", s->start);
    for (uint32_t k = 0; k < i->n_ci; k++)
        taken += i->ci[k].slices;
    bool there = s->gi == UINT32_MAX && uuid_of(i, s->order);
    if (!there) {
        if (taken + s->slices > g->geometry->profiles[i->profile].slices || !s->slices ||
            i->n_ci == DV_PLAN_CIS_MAX)
            return dv_err_set(err, DV_ACTUATE_NO_ROOM, "GPU instance %u is full", i->id);
        id = free_ci_id(i);
        i->ci[i->n_ci].id = id;
        i->ci[i->n_ci].slices = s->slices;
        snprintf(i->ci[i->n_ci].uuid, DV_UUID_SIZE, "MIG-dry-%u-%u-%u", g->index, i->id, id);
        i->n_ci++;
        self->changes++;
    }
    ret->gi = i->id;
    ret->ci = id;
    dv_str_copy(ret->device, sizeof ret->device, uuid_of(i, id));
    memcpy(self->gpus[g->index].made[s->start][s->order], ret->device, DV_UUID_SIZE);
    return 0;
}

static int destroy_ci(struct dry *self, struct dv_plan_gpu *g, const struct dv_step *s,
                      struct dv_err *err)
{
    struct dv_plan_instance *i = by_id(g, s->gi);
    const char *uuid = i ? uuid_of(i, s->ci) : NULL;
    if (!uuid || (s->device[0] && strcmp(uuid, s->device) != 0))
        return 0;
    if (is_used(self, uuid))
        return dv_err_set(err, DV_ACTUATE_IN_USE, "%s is in use", uuid);
    forget_device(self, uuid);
    for (uint32_t k = 0; k < i->n_ci; k++)
        if (i->ci[k].id == s->ci) {
            memmove(&i->ci[k], &i->ci[k + 1], (i->n_ci - k - 1) * sizeof i->ci[0]);
            i->n_ci--;
        }
    self->changes++;
    return 0;
}

/* ---- the others ---- */

static bool gpu_is_used(struct dry *self, uint32_t index)
{
    const struct gpu *g = &self->gpus[index];
    if (is_used(self, g->uuid))
        return true;
    for (uint32_t i = 0; i < g->now.n_instances; i++)
        for (uint32_t k = 0; k < g->now.instances[i].n_ci; k++)
            if (is_used(self, g->now.instances[i].ci[k].uuid))
                return true;
    return false;
}

static int set_mode(struct dry *self, struct dv_plan_gpu *g, const struct dv_step *s,
                    struct dv_receipt *ret, struct dv_err *err)
{
    bool on = s->value != 0;
    if (!g->geometry)
        return dv_err_set(err, DV_ACTUATE_NOT_SUPPORTED, "this GPU has no MIG");
    if (g->mig_enabled == on && g->mig_pending == on)
        return 0;
    if (g->mig_enabled != on && gpu_is_used(self, g->index))
        return dv_err_set(err, DV_ACTUATE_IN_USE, "a process uses the GPU");
    self->changes++;
    g->mig_pending = on;
    if (g->mig_enabled != on && self->needs_reset && !self->may_reset)
        return dv_err_set(err, DV_ACTUATE_NEEDS_RESET, "pending until the GPU is reset");
    ret->reset = g->mig_enabled != on && self->needs_reset;
    if (g->mig_enabled != on)
        g->n_instances = 0;
    g->mig_enabled = on;
    return 0;
}

static int set_sharing(struct dry *self, struct dv_plan_gpu *g, const struct dv_step *s,
                       struct dv_err *err)
{
    const char *uuid = s->device[0] ? s->device : self->gpus[g->index].uuid;
    if (!s->device[0] && s->size)
        uuid = self->gpus[g->index].made[s->start][s->order];
    struct device *d = *uuid ? device_of(self, uuid) : NULL;
    if (!d)
        return dv_err_set(err, DV_ACTUATE_NOT_FOUND, "no such device");
    if (!d->has_sharing || memcmp(&d->sharing, &s->sharing, sizeof d->sharing) != 0)
        self->changes++;
    d->has_sharing = true;
    d->sharing = s->sharing;
    return 0;
}

static int make(struct dry *self, struct dv_plan_gpu *g, const struct dv_step *s,
                struct dv_receipt *ret, struct dv_err *err)
{
    struct device *d;
    switch (s->kind) {
    case DV_STEP_MPS_STOP:
        d = device_of(self, s->device);
        if (d && d->mps_up) {
            d->mps_up = false;
            self->changes++;
        }
        return 0;
    case DV_STEP_CI_DESTROY:
        return destroy_ci(self, g, s, err);
    case DV_STEP_GI_DESTROY:
        return destroy_gi(self, g, s, err);
    case DV_STEP_MIG_MODE:
        return set_mode(self, g, s, ret, err);
    case DV_STEP_GI_CREATE:
        return create_gi(self, g, s, ret, err);
    case DV_STEP_CI_CREATE:
        return create_ci(self, g, s, ret, err);
    case DV_STEP_TIMESLICE:
        if (s->value > DV_TIMESLICE_LONG)
            return dv_err_set(err, -EINVAL, "no such time-slice");
        self->changes += g->timeslice != s->value;
        g->timeslice = (enum dv_timeslice)s->value;
        return 0;
    case DV_STEP_SHARING:
        return set_sharing(self, g, s, err);
    }
    return dv_err_set(err, -EINVAL, "no such step");
}

static int dry_step(struct dv_actuator *a, const struct dv_step *step, struct dv_receipt *ret,
                    struct dv_err *err)
{
    struct dry *self = SELF(a);
    struct dv_receipt receipt = {.gi = UINT32_MAX, .ci = UINT32_MAX};
    enum dv_dry_fault fault = self->after ? DV_DRY_NONE : self->fault;
    self->steps++;
    if (self->after)
        self->after--;
    else
        self->fault = DV_DRY_NONE;
    if (fault == DV_DRY_ERROR)
        return dv_err_set(err, DV_ACTUATE_FAILED, "the test wants this step to fail");
    if (fault == DV_DRY_DIE_BEFORE)
        return dv_err_set(err, -EPIPE, "the test wants the process to die before this step");
    if (step->start >= DV_MIG_GRID_MAX || step->order >= DV_PLAN_CIS_MAX)
        return dv_err_set(err, -EINVAL, "no such place");
    if (step->gpu >= self->n_gpus)
        return dv_err_set(err, DV_ACTUATE_NOT_FOUND, "there is no GPU %u", step->gpu);
    int r = make(self, &self->gpus[step->gpu].now, step, &receipt, err);
    if (fault == DV_DRY_DIE_AFTER)
        return dv_err_set(err, -EPIPE, "the test wants the process to die after this step");
    if (r == 0)
        *ret = receipt;
    return r;
}

static int dry_mps(struct dv_actuator *a, enum dv_mps_op op, const struct dv_mps_spec *spec,
                   const char *argument, struct dv_mps_status *ret, struct dv_err *err)
{
    struct dry *self = SELF(a);
    struct device *d = device_of(self, spec->device);
    if (!d)
        return dv_err_set(err, -ENOSPC, "too many devices for a dry run");
    if (op == DV_MPS_PROBE && !d->mps_up)
        return dv_err_set(err, DV_ACTUATE_NOT_FOUND, "no MPS daemon for %s", spec->device);
    if (op == DV_MPS_START || op == DV_MPS_STOP) {
        self->changes += d->mps_up != (op == DV_MPS_START);
        d->mps_up = op == DV_MPS_START;
    }
    if (op == DV_MPS_START || op == DV_MPS_LIMIT)
        d->mps = *spec;
    *ret = (struct dv_mps_status){.up = d->mps_up,
                                  .threads_percent = d->mps_up ? d->mps.threads_percent : 0};
    return 0;
}

static int dry_memory_limit(struct dv_actuator *a, const struct dv_memory_limit *limit,
                            struct dv_err *err)
{
    return dv_err_set(err, DV_ACTUATE_NOT_SUPPORTED, "a dry run has no processes to limit");
}

static void dry_free(struct dv_actuator *a)
{
    free(SELF(a));
}

static const struct dv_actuator_ops ops = {dry_free, dry_step, dry_mps, dry_memory_limit};

int dv_dry_actuator_new(const struct dv_mig_geometry *geometry, uint32_t gpus,
                        struct dv_actuator **ret)
{
    if (!gpus || gpus > DV_DRY_GPUS_MAX)
        return -EINVAL;
    struct dry *self = calloc(1, sizeof *self);
    if (!self)
        return -ENOMEM;
    self->base.ops = &ops;
    self->geometry = geometry;
    self->n_gpus = gpus;
    for (uint32_t i = 0; i < gpus; i++) {
        self->gpus[i].now =
            (struct dv_plan_gpu){.index = i, .geometry = geometry, .timeslice_known = true};
        snprintf(self->gpus[i].uuid, DV_UUID_SIZE, "GPU-dry-%u", i);
    }
    *ret = &self->base;
    return 0;
}

void dv_dry_actuator_fail(struct dv_actuator *a, uint32_t after, enum dv_dry_fault fault)
{
    SELF(a)->after = after;
    SELF(a)->fault = fault;
}

void dv_dry_actuator_use(struct dv_actuator *a, const char *device, bool used)
{
    struct device *d = device_of(SELF(a), device);
    if (d)
        d->used = used;
}

void dv_dry_actuator_resets(struct dv_actuator *a, bool needed, bool allowed)
{
    SELF(a)->needs_reset = needed;
    SELF(a)->may_reset = allowed;
}

uint32_t dv_dry_actuator_steps(const struct dv_actuator *a)
{
    return CONST_SELF(a)->steps;
}

uint32_t dv_dry_actuator_changes(const struct dv_actuator *a)
{
    return CONST_SELF(a)->changes;
}

void dv_dry_actuator_gpu(const struct dv_actuator *a, uint32_t gpu, struct dv_plan_gpu *ret)
{
    *ret = CONST_SELF(a)->gpus[gpu].now;
}

const char *dv_dry_actuator_uuid(const struct dv_actuator *a, uint32_t gpu)
{
    return CONST_SELF(a)->gpus[gpu].uuid;
}

const struct dv_layout_sharing *dv_dry_actuator_sharing(const struct dv_actuator *a,
                                                        const char *device)
{
    const struct dry *self = CONST_SELF(a);
    for (uint32_t i = 0; i < self->n_devices; i++)
        if (!strcmp(self->devices[i].uuid, device) && self->devices[i].has_sharing)
            return &self->devices[i].sharing;
    return NULL;
}
