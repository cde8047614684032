/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/layout_plan.h"

#include "base/str.h"
#include "policy/assign.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX
#define THERE_MAX (DV_MIG_INSTANCES_MAX * DV_PLAN_CIS_MAX)

/* A device that is on the GPU now. */
struct there {
    uint32_t instance;              /* of now->instances; NONE: the whole GPU */
    uint32_t number;                /* of its compute instance in that */
    const char *uuid;               /* "": the driver has not named it yet */
    const struct dv_device *device; /* NULL: the inventory has not seen it yet */
    struct dv_layout_sharing rule;  /* how the rules want it, where it lies */
    uint32_t held;                  /* slices */
    uint32_t to;                    /* which device of the plan it stays as; NONE: it goes */
};

/* A GPU instance that is wanted. */
struct wanted {
    uint32_t profile, start;
    uint32_t from; /* of now->instances; NONE: to be made */
};

struct work {
    const struct dv_layout *layout;
    const struct dv_snapshot *snapshot;
    const struct dv_plan_gpu *now;
    const struct dv_gpu *gpu;
    const struct dv_layout_gpu *entry; /* NULL: not managed */
    uint32_t n_there, first[DV_MIG_INSTANCES_MAX];
    struct there there[THERE_MAX];
    uint32_t n_wanted;
    struct wanted wanted[DV_LAYOUT_DEVICES_MAX];
    bool stays[DV_MIG_INSTANCES_MAX];            /* of now->instances */
    uint32_t from[DV_LAYOUT_DEVICES_MAX];        /* of the plan's devices: which is there */
    uint32_t instance_of[DV_LAYOUT_DEVICES_MAX]; /* of the plan's devices: which is wanted */
    bool full;
    struct dv_step spill; /* takes what does not fit */
    struct dv_gpu_plan plan;
};

static const char *const step_names[] = {
    [DV_STEP_MPS_STOP] = "stop_mps",           [DV_STEP_CI_DESTROY] = "destroy_compute_instance",
    [DV_STEP_GI_DESTROY] = "destroy_instance", [DV_STEP_MIG_MODE] = "set_mig_mode",
    [DV_STEP_GI_CREATE] = "create_instance",   [DV_STEP_CI_CREATE] = "create_compute_instance",
    [DV_STEP_TIMESLICE] = "set_timeslice",     [DV_STEP_SHARING] = "set_sharing",
};

const char *dv_step_name(enum dv_step_kind kind)
{
    return (size_t)kind < DV_ARRAY_SIZE(step_names) ? step_names[kind] : "unknown";
}

/* ---- what is there ---- */

static void add_there(struct work *w, uint32_t instance, uint32_t number, const char *uuid)
{
    struct there *t = &w->there[w->n_there++];
    *t = (struct there){.instance = instance, .number = number, .uuid = uuid, .to = NONE};
    t->device = *uuid ? dv_snapshot_device(w->snapshot, uuid) : NULL;
    if (t->device && w->layout->n_rules)
        t->rule = dv_layout_rule_for(w->layout, w->snapshot, t->device);
}

static struct there *find_there(struct work *w, const char *uuid)
{
    for (uint32_t i = 0; i < w->n_there; i++)
        if (w->there[i].device && !strcmp(w->there[i].uuid, uuid))
            return &w->there[i];
    return NULL;
}

static bool is_sane(const struct dv_plan_gpu *now)
{
    if (!now->mig_enabled)
        return true;
    if (!now->geometry || now->n_instances > DV_MIG_INSTANCES_MAX)
        return false;
    for (uint32_t i = 0; i < now->n_instances; i++)
        if (now->instances[i].n_ci > DV_PLAN_CIS_MAX ||
            now->instances[i].profile >= now->geometry->n_profiles)
            return false;
    return true;
}

static int look(struct work *w, struct dv_err *err)
{
    const struct dv_plan_gpu *now = w->now;
    w->gpu = dv_snapshot_gpu(w->snapshot, now->index);
    if (!w->gpu)
        return dv_err_set(err, -EINVAL, "it is not on this node");
    if (!is_sane(now))
        return dv_err_set(err, -EINVAL, "what the driver says about its MIG instances cannot be");
    w->entry = dv_layout_find(w->layout, w->gpu);
    if (!now->mig_enabled)
        add_there(w, NONE, 0, w->gpu->uuid);
    for (uint32_t i = 0; now->mig_enabled && i < now->n_instances; i++) {
        w->first[i] = w->n_there;
        for (uint32_t k = 0; k < now->instances[i].n_ci; k++)
            add_there(w, i, k, now->instances[i].ci[k].uuid);
    }
    for (size_t i = 0; i < w->snapshot->n_slices; i++) {
        struct there *t = find_there(w, w->snapshot->slices[i].device);
        if (t)
            t->held++;
    }
    return 0;
}

/* ---- what a change of sharing means to a device that stays ---- */

/* Must its slices end, because they are in another mode? */
static bool is_other_mode(const struct there *t, const struct dv_layout_sharing *s)
{
    return t->held && s->mode != DV_MODE_AUTO && t->device->mode != s->mode;
}

static bool differs(const struct there *t, const struct dv_layout_sharing *s)
{
    enum dv_mode layout = t->device ? t->device->layout : DV_MODE_AUTO;
    uint32_t replicas = t->device ? t->device->replicas : 0;
    return layout != s->mode || replicas != s->replicas || is_other_mode(t, s);
}

/* Are more slices held than there will be replicas? */
static bool is_too_many(const struct there *t, const struct dv_layout_sharing *s)
{
    return s->replicas && t->held > s->replicas && differs(t, s);
}

static bool is_in_mps(const struct there *t)
{
    return t->device && (t->device->mps_up || t->device->mode == DV_MODE_MPS);
}

/* AUTO leaves the daemon to those who are in it. */
static bool must_stop_mps(const struct there *t, const struct dv_layout_sharing *s)
{
    if (!is_in_mps(t) || s->mode == DV_MODE_MPS)
        return false;
    return s->mode != DV_MODE_AUTO || (t->device->layout == DV_MODE_MPS && !t->held);
}

/* ---- who stays as what ---- */

/* In this order: devices in use that are disturbed, of these destroyed, all destroyed, idle ones
 * shared otherwise; of equals, near the order in which they were asked for. Each count is below
 * 256, the sum of distances below CHANGED. */
#define DISTURBED (INT64_C(1) << 48)
#define IN_USE_GOES (INT64_C(1) << 40)
#define GOES (INT64_C(1) << 32)
#define CHANGED (INT64_C(1) << 24)
#define OTHER_KIND (INT64_C(1) << 23) /* never taken: none at all is free */

static int64_t distance(uint32_t a, uint32_t b)
{
    int64_t d = (int64_t)a - b;
    return d * d;
}

static int64_t cost_to_go(const struct there *t)
{
    return GOES + (t->held ? IN_USE_GOES + DISTURBED : 0);
}

static int64_t cost_to_stay(const struct work *w, const struct there *t, uint32_t device)
{
    const struct dv_layout_sharing *s = &w->entry->devices[device].sharing;
    if (s->mode == DV_MODE_AUTO)
        s = &t->rule;
    if (is_other_mode(t, s) || is_too_many(t, s))
        return DISTURBED;
    return differs(t, s) ? CHANGED : 0;
}

/* The wanted compute instances of `p` in this instance of now: which of those there each stays as
 * (NONE: to be made), and what it all costs. */
static int64_t fit(const struct work *w, const struct dv_layout_instance *p, uint32_t instance,
                   uint32_t ret_number[DV_MIG_COMPUTE_PROFILES_MAX])
{
    const struct dv_plan_instance *now = &w->now->instances[instance];
    uint32_t columns = now->n_ci + p->n_ci; /* of each may none stay */
    int64_t cost[DV_MIG_COMPUTE_PROFILES_MAX * (DV_PLAN_CIS_MAX + DV_MIG_COMPUTE_PROFILES_MAX)];
    int64_t sum = 0;
    memset(cost, 0, sizeof cost);
    for (uint32_t k = 0; k < now->n_ci; k++) {
        const struct there *t = &w->there[w->first[instance] + k];
        sum += cost_to_go(t);
        for (uint32_t i = 0; i < p->n_ci; i++)
            cost[i * columns + k] =
                p->ci[i].slices != now->ci[k].slices
                    ? OTHER_KIND
                    : cost_to_stay(w, t, p->ci[i].device) - cost_to_go(t) + distance(i, k);
    }
    dv_assign_find(p->n_ci, columns, cost, ret_number);
    for (uint32_t i = 0; i < p->n_ci; i++) {
        sum += cost[i * columns + ret_number[i]];
        if (ret_number[i] >= now->n_ci)
            ret_number[i] = NONE;
    }
    return sum;
}

/* Could this instance stay as some wanted one, its tenants as they are? */
static bool suits(const struct work *w, const struct dv_layout_instance *packed, uint32_t n,
                  uint32_t instance)
{
    uint32_t number[DV_MIG_COMPUTE_PROFILES_MAX];
    const struct dv_plan_instance *now = &w->now->instances[instance];
    for (uint32_t i = 0; i < n; i++)
        if (packed[i].profile == now->profile &&
            (packed[i].start == DV_MIG_UNPLACED || packed[i].start == now->start) &&
            fit(w, &packed[i], instance, number) < DISTURBED)
            return true;
    return false;
}

static int find_change(const struct work *w, const struct dv_layout_instance *packed, uint32_t n,
                       struct dv_mig_change *ret, struct dv_err *err)
{
    struct dv_mig_have have[DV_MIG_INSTANCES_MAX];
    struct dv_mig_instance want[DV_LAYOUT_DEVICES_MAX];
    uint32_t n_have = w->now->mig_enabled ? w->now->n_instances : 0;
    for (uint32_t i = 0; i < n_have; i++) {
        const struct dv_plan_instance *now = &w->now->instances[i];
        have[i] = (struct dv_mig_have){.profile = now->profile, .start = now->start};
        for (uint32_t k = 0; k < now->n_ci; k++)
            have[i].in_use |= w->there[w->first[i] + k].held > 0;
        have[i].prefer = have[i].in_use && suits(w, packed, n, i);
    }
    for (uint32_t i = 0; i < n; i++)
        want[i] = (struct dv_mig_instance){packed[i].profile, packed[i].start};
    int r = dv_mig_change_find(w->now->geometry, have, n_have, want, n, ret);
    if (r == -EINVAL)
        return dv_err_set(err, r, "what the driver says about its MIG instances cannot be");
    if (!r && ret->rule)
        return dv_layout_refuse(w->now->geometry, &ret->refusal, err);
    return r;
}

/* Shares out the places of one profile's instances anew among those that named none. */
static void assign_places(const struct work *w, const struct dv_layout_instance *packed, uint32_t n,
                          uint32_t profile, struct dv_mig_change *change)
{
    struct dv_mig_change found = *change;
    uint32_t who[DV_LAYOUT_DEVICES_MAX], taken[DV_LAYOUT_DEVICES_MAX] = {0}, m = 0;
    uint32_t number[DV_MIG_COMPUTE_PROFILES_MAX];
    int64_t cost[DV_LAYOUT_DEVICES_MAX * DV_LAYOUT_DEVICES_MAX];
    for (uint32_t i = 0; i < n; i++)
        if (packed[i].profile == profile && packed[i].start == DV_MIG_UNPLACED)
            who[m++] = i;
    for (uint32_t i = 0; i < m; i++)
        for (uint32_t k = 0; k < m; k++) {
            uint32_t from = found.instances[who[k]].from;
            cost[i * m + k] = 4096 * distance(i, k); /* those of compute instances are below */
            if (from != DV_MIG_CHANGE_NEW)
                cost[i * m + k] += fit(w, &packed[who[i]], from, number);
        }
    dv_assign_find(m, m, cost, taken);
    for (uint32_t i = 0; i < m; i++)
        change->instances[who[i]] = found.instances[who[taken[i]]];
}

/* ---- the devices that there will be ---- */

static const struct dv_mig_profile *profile_of(const struct work *w, uint32_t profile)
{
    return &w->now->geometry->profiles[profile];
}

/* The compute profile of that many slices. There is one: the layout was packed with it, or the
 * driver has such an instance; else the whole. */
static struct dv_mig_compute_profile compute_of(const struct work *w, uint32_t profile,
                                                uint32_t slices)
{
    struct dv_mig_compute_profile c[DV_MIG_COMPUTE_PROFILES_MAX];
    size_t n = dv_mig_compute_profiles(w->now->geometry, profile_of(w, profile), c);
    for (size_t i = 0; i < n; i++)
        if (c[i].slices == slices)
            return c[i];
    return (struct dv_mig_compute_profile){.slices = slices, .whole = true};
}

static struct dv_plan_device *add_device(struct work *w, uint32_t from)
{
    uint32_t at = w->plan.n_devices++;
    struct dv_plan_device *d = &w->plan.devices[at];
    w->from[at] = from;
    if (from != NONE) {
        w->there[from].to = at;
        dv_str_copy(d->uuid, sizeof d->uuid, w->there[from].uuid);
    }
    return d;
}

static void describe(const struct work *w, struct dv_plan_device *d, uint32_t profile,
                     uint32_t start, uint32_t slices, uint32_t order)
{
    struct dv_mig_compute_profile c = compute_of(w, profile, slices);
    dv_mig_compute_name(profile_of(w, profile), &c, d->profile);
    d->start = start;
    d->size = profile_of(w, profile)->size;
    d->slices = slices;
    d->order = order;
}

static void add_instance(struct work *w, const struct dv_layout_instance *p, uint32_t start,
                         uint32_t from)
{
    uint32_t number[DV_MIG_COMPUTE_PROFILES_MAX];
    w->wanted[w->n_wanted] = (struct wanted){p->profile, start, from};
    if (from != NONE) {
        w->stays[from] = true;
        fit(w, p, from, number);
    }
    for (uint32_t i = 0; i < p->n_ci; i++) {
        bool is_there = from != NONE && number[i] != NONE;
        w->instance_of[w->plan.n_devices] = w->n_wanted;
        struct dv_plan_device *d = add_device(w, is_there ? w->first[from] + number[i] : NONE);
        describe(w, d, p->profile, start, p->ci[i].slices, i);
        d->sharing = w->entry->devices[p->ci[i].device].sharing;
    }
    w->n_wanted++;
}

static int want_mig(struct work *w, struct dv_err *err)
{
    struct dv_layout_instance packed[DV_LAYOUT_DEVICES_MAX];
    struct dv_mig_change change = {.n = 0};
    uint32_t n = 0;
    if (!w->now->geometry)
        return dv_err_set(err, -EINVAL, "it cannot do MIG");
    int r = dv_layout_pack(w->entry, w->now->geometry, packed, &n, err);
    if (!r)
        r = find_change(w, packed, n, &change, err);
    if (r < 0)
        return r;
    for (uint32_t p = 0; p < w->now->geometry->n_profiles; p++)
        assign_places(w, packed, n, p, &change);
    for (uint32_t start = 0; start < w->now->geometry->grid; start++)
        for (uint32_t i = 0; i < n; i++)
            if (change.instances[i].start == start)
                add_instance(w, &packed[i], start, change.instances[i].from);
    w->plan.mig = true;
    w->plan.created = change.created;
    w->plan.destroyed = change.destroyed;
    w->plan.kept = n - change.created;
    return 0;
}

static void want_whole(struct work *w)
{
    struct dv_plan_device *d = add_device(w, w->now->mig_enabled ? NONE : 0);
    d->sharing = w->entry->devices[0].sharing;
    w->plan.destroyed = w->now->mig_enabled ? w->now->n_instances : 0;
}

static int want_as_it_is(struct work *w)
{
    w->plan.mig = w->now->mig_enabled;
    w->plan.kept = w->now->mig_enabled ? w->now->n_instances : 0;
    memset(w->stays, true, sizeof w->stays);
    if (w->n_there > DV_LAYOUT_DEVICES_MAX)
        return -ENOSPC;
    for (uint32_t start = 0; w->now->mig_enabled && start < w->now->geometry->grid; start++)
        for (uint32_t i = 0; i < w->n_there; i++) {
            const struct dv_plan_instance *now = &w->now->instances[w->there[i].instance];
            uint32_t k = w->there[i].number;
            if (now->start == start)
                describe(w, add_device(w, i), now->profile, start, now->ci[k].slices, k);
        }
    if (!w->now->mig_enabled)
        add_device(w, 0);
    return 0;
}

/* ---- rules: they count and list devices as they will be ---- */

static bool has_ci(const struct work *w, const struct dv_device *list, size_t n, uint32_t start,
                   uint32_t id)
{
    for (size_t i = 0; i < n; i++)
        if (list[i].gpu == w->now->index && list[i].placement_start == start && list[i].ci == id)
            return true;
    return false;
}

/* The id that the driver will give: the lowest that is free in the GPU instance. */
static uint32_t guess_ci(const struct work *w, const struct dv_device *list, size_t n,
                         uint32_t start)
{
    uint32_t id = 0;
    while (has_ci(w, list, n, start, id))
        id++;
    return id;
}

static void add_later(const struct work *w, uint32_t i, struct dv_device *list, size_t n)
{
    const struct dv_plan_device *p = &w->plan.devices[i];
    struct dv_device *d = &list[n];
    *d = (struct dv_device){.gpu = w->now->index,
                            .mig = w->plan.mig,
                            .placement_start = p->start,
                            .placement_size = p->size};
    dv_str_copy(d->uuid, sizeof d->uuid, w->plan.mig ? p->uuid : w->gpu->uuid);
    dv_str_copy(d->profile, sizeof d->profile, p->profile);
    if (!w->plan.mig)
        return;
    if (w->from[i] == NONE) {
        d->ci = guess_ci(w, list, n, p->start);
    } else {
        const struct there *t = &w->there[w->from[i]];
        d->ci = w->now->instances[t->instance].ci[t->number].id;
    }
}

/* The devices as they will be: first those that stay, for ids of others depend on them. ret[i] is
 * where the plan's device i is. */
static size_t list_later(const struct work *w, struct dv_device *list,
                         size_t ret[DV_LAYOUT_DEVICES_MAX])
{
    size_t n = 0;
    for (int made = 0; made < 2; made++)
        for (uint32_t i = 0; i < w->plan.n_devices; i++)
            if ((w->from[i] == NONE) == made) {
                ret[i] = n;
                add_later(w, i, list, n++);
            }
    for (size_t i = 0; i < w->snapshot->n_devices; i++)
        if (w->snapshot->devices[i].gpu != w->now->index)
            list[n++] = w->snapshot->devices[i];
    return n;
}

static int follow_rules(struct work *w)
{
    size_t at[DV_LAYOUT_DEVICES_MAX];
    struct dv_snapshot later = *w->snapshot;
    if (!w->layout->n_rules)
        return 0;
    later.devices = calloc(w->snapshot->n_devices + DV_LAYOUT_DEVICES_MAX, sizeof *later.devices);
    if (!later.devices)
        return -ENOMEM;
    later.n_devices = list_later(w, later.devices, at);
    for (uint32_t i = 0; i < w->plan.n_devices; i++)
        if (w->plan.devices[i].sharing.mode == DV_MODE_AUTO)
            w->plan.devices[i].sharing =
                dv_layout_rule_for(w->layout, &later, &later.devices[at[i]]);
    free(later.devices);
    return 0;
}

/* ---- steps ---- */

static struct dv_step *add_step(struct work *w, enum dv_step_kind kind)
{
    w->full |= w->plan.n_steps == DV_PLAN_STEPS_MAX;
    struct dv_step *s = w->full ? &w->spill : &w->plan.steps[w->plan.n_steps++];
    *s = (struct dv_step){.kind = kind, .gpu = w->now->index, .gi = NONE, .ci = NONE};
    dv_str_copy(s->uuid, sizeof s->uuid, w->gpu->uuid);
    return s;
}

/* What a step is about: a GPU instance, by profile and place. */
static void about_instance(const struct work *w, struct dv_step *s, uint32_t profile,
                           uint32_t start)
{
    const struct dv_mig_profile *p = profile_of(w, profile);
    s->profile = p->id;
    s->start = start;
    s->size = p->size;
    dv_str_copy(s->name, sizeof s->name, p->name);
}

static void about_compute(const struct work *w, struct dv_step *s, uint32_t profile,
                          uint32_t slices, uint32_t order)
{
    struct dv_mig_compute_profile c = compute_of(w, profile, slices);
    dv_mig_compute_name(profile_of(w, profile), &c, s->name);
    s->slices = slices;
    s->order = order;
}

/* A device that is there. */
static void about_there(const struct work *w, struct dv_step *s, const struct there *t)
{
    dv_str_copy(s->device, sizeof s->device, t->uuid);
    if (t->instance == NONE)
        return;
    const struct dv_plan_instance *now = &w->now->instances[t->instance];
    about_instance(w, s, now->profile, now->start);
    about_compute(w, s, now->profile, now->ci[t->number].slices, t->number);
    s->gi = now->id;
    s->ci = now->ci[t->number].id;
}

static void add_steps_away(struct work *w)
{
    for (uint32_t i = 0; i < w->n_there; i++) {
        const struct there *t = &w->there[i];
        const struct dv_layout_sharing *s = t->to == NONE ? NULL : &w->plan.devices[t->to].sharing;
        if (s ? must_stop_mps(t, s) : is_in_mps(t)) {
            struct dv_step *step = add_step(w, DV_STEP_MPS_STOP);
            about_there(w, step, t);
            if (s)
                step->sharing = *s;
        }
        if (!s && t->instance != NONE)
            about_there(w, add_step(w, DV_STEP_CI_DESTROY), t);
    }
    for (uint32_t i = 0; w->now->mig_enabled && i < w->now->n_instances; i++) {
        if (w->stays[i])
            continue;
        struct dv_step *step = add_step(w, DV_STEP_GI_DESTROY);
        about_instance(w, step, w->now->instances[i].profile, w->now->instances[i].start);
        step->gi = w->now->instances[i].id;
    }
}

static void add_steps_here(struct work *w)
{
    if (w->entry && (w->now->mig_enabled != w->plan.mig || w->now->mig_pending != w->plan.mig))
        add_step(w, DV_STEP_MIG_MODE)->value = w->plan.mig;
    for (uint32_t i = 0; i < w->n_wanted; i++)
        if (w->wanted[i].from == NONE)
            about_instance(w, add_step(w, DV_STEP_GI_CREATE), w->wanted[i].profile,
                           w->wanted[i].start);
    for (uint32_t i = 0; w->n_wanted && i < w->plan.n_devices; i++) {
        const struct wanted *g = &w->wanted[w->instance_of[i]];
        const struct dv_plan_device *d = &w->plan.devices[i];
        if (w->from[i] != NONE)
            continue;
        struct dv_step *step = add_step(w, DV_STEP_CI_CREATE);
        about_instance(w, step, g->profile, g->start);
        about_compute(w, step, g->profile, d->slices, d->order);
        step->value = compute_of(w, g->profile, d->slices).id;
        if (g->from != NONE)
            step->gi = w->now->instances[g->from].id;
    }
}

static int add_timeslice(struct work *w, struct dv_err *err)
{
    enum dv_timeslice length = DV_TIMESLICE_DEFAULT;
    bool any = false;
    for (uint32_t i = 0; i < w->plan.n_devices; i++) {
        const struct dv_layout_sharing *s = &w->plan.devices[i].sharing;
        if (s->mode != DV_MODE_TIMESLICE)
            continue;
        any = true;
        if (length && s->timeslice && s->timeslice != length)
            return dv_err_set(err, -EINVAL,
                              "time-slices of length %s and of length %s; a GPU has one length "
                              "for all its devices",
                              dv_device_timeslice_name(length),
                              dv_device_timeslice_name(s->timeslice));
        length = s->timeslice ? s->timeslice : length;
    }
    if (length && !w->now->timeslice_known)
        return dv_err_set(err, -EINVAL,
                          "time-slices of length %s, but this driver has no such setting; leave "
                          "the length out",
                          dv_device_timeslice_name(length));
    if (any && w->now->timeslice_known && (w->entry || length) && length != w->now->timeslice)
        add_step(w, DV_STEP_TIMESLICE)->value = length;
    return 0;
}

static void add_sharing(struct work *w)
{
    for (uint32_t i = 0; i < w->plan.n_devices; i++) {
        const struct dv_plan_device *d = &w->plan.devices[i];
        const struct there fresh = {.instance = NONE, .uuid = w->plan.mig ? "" : w->gpu->uuid};
        const struct there *t = w->from[i] == NONE ? &fresh : &w->there[w->from[i]];
        if (!differs(t, &d->sharing))
            continue;
        struct dv_step *step = add_step(w, DV_STEP_SHARING);
        about_there(w, step, t);
        if (w->plan.mig && w->from[i] == NONE) {
            const struct wanted *g = &w->wanted[w->instance_of[i]];
            about_instance(w, step, g->profile, g->start);
            about_compute(w, step, g->profile, d->slices, d->order);
            if (g->from != NONE)
                step->gi = w->now->instances[g->from].id;
        }
        step->order = d->order;
        step->sharing = d->sharing;
    }
}

static bool is_later(const struct dv_step *a, const struct dv_step *b)
{
    if (a->kind != b->kind)
        return a->kind > b->kind;
    return a->start != b->start ? a->start > b->start : a->order > b->order;
}

static void sort_steps(struct dv_gpu_plan *plan)
{
    for (uint32_t i = 1; i < plan->n_steps; i++)
        for (uint32_t k = i; k && is_later(&plan->steps[k - 1], &plan->steps[k]); k--) {
            struct dv_step t = plan->steps[k];
            plan->steps[k] = plan->steps[k - 1];
            plan->steps[k - 1] = t;
        }
}

/* ---- blockers ---- */

/* Are there `many` slices on its device that are older? */
static bool has_older(const struct dv_snapshot *snapshot, const struct dv_slice *s, uint32_t many)
{
    uint32_t n = 0;
    for (size_t i = 0; i < snapshot->n_slices && n < many; i++) {
        const struct dv_slice *o = &snapshot->slices[i];
        bool older = o->since_ns != s->since_ns ? o->since_ns < s->since_ns : o->id < s->id;
        n += older && !strcmp(o->device, s->device);
    }
    return n == many;
}

/* Is this slice in the way, and of what first? */
static bool is_in_the_way(struct work *w, const struct dv_slice *slice, enum dv_step_kind *ret)
{
    const struct there *t = find_there(w, slice->device);
    if (!t) { /* on a device that the driver has not, or not any more */
        const struct dv_device *d = dv_snapshot_device(w->snapshot, slice->device);
        *ret = DV_STEP_MIG_MODE;
        return w->entry && w->now->mig_enabled != w->plan.mig && d && d->gpu == w->now->index;
    }
    if (t->to == NONE) {
        *ret = slice->mode == DV_MODE_MPS ? DV_STEP_MPS_STOP
               : t->instance == NONE      ? DV_STEP_MIG_MODE
                                          : DV_STEP_CI_DESTROY;
        return true;
    }
    const struct dv_layout_sharing *s = &w->plan.devices[t->to].sharing;
    *ret = DV_STEP_SHARING;
    if (is_other_mode(t, s)) {
        if (slice->mode == DV_MODE_MPS)
            *ret = DV_STEP_MPS_STOP;
        return true;
    }
    return is_too_many(t, s) && has_older(w->snapshot, slice, s->replicas);
}

/* The snapshot's slices are sorted by id, so the blockers are. */
static void add_blockers(struct work *w)
{
    for (size_t i = 0; i < w->snapshot->n_slices; i++) {
        const struct dv_slice *slice = &w->snapshot->slices[i];
        enum dv_step_kind because;
        if (!is_in_the_way(w, slice, &because))
            continue;
        w->full |= w->plan.n_blockers == DV_PLAN_BLOCKERS_MAX;
        if (w->full)
            return;
        struct dv_plan_blocker *b = &w->plan.blockers[w->plan.n_blockers++];
        *b = (struct dv_plan_blocker){.slice = slice->id, .because = because};
        dv_str_copy(b->device, sizeof b->device, slice->device);
    }
}

static int make(struct work *w, struct dv_err *err)
{
    int r = look(w, err);
    if (r < 0)
        return r;
    w->plan.managed = w->entry != NULL;
    if (!w->entry)
        r = want_as_it_is(w);
    else if (dv_layout_is_mig(w->entry))
        r = want_mig(w, err);
    else
        want_whole(w);
    if (!r)
        r = follow_rules(w);
    if (r < 0)
        return r;
    add_steps_away(w);
    add_steps_here(w);
    r = add_timeslice(w, err);
    if (r < 0)
        return r;
    add_sharing(w);
    sort_steps(&w->plan);
    add_blockers(w);
    return w->full ? -ENOSPC : 0;
}

int dv_layout_plan_gpu(const struct dv_layout *layout, const struct dv_snapshot *snapshot,
                       const struct dv_plan_gpu *now, struct dv_gpu_plan *ret, struct dv_err *err)
{
    struct work *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->layout = layout;
    w->snapshot = snapshot;
    w->now = now;
    int r = make(w, err);
    if (!r)
        *ret = w->plan;
    else if (r == -EINVAL)
        dv_err_prefix(err, "GPU %u: ", now->index);
    else if (r == -ENOSPC)
        dv_err_set(err, r,
                   "GPU %u: a plan has at most %u devices, %u steps and %u slices in the "
                   "way",
                   now->index, DV_LAYOUT_DEVICES_MAX, DV_PLAN_STEPS_MAX, DV_PLAN_BLOCKERS_MAX);
    free(w);
    return r;
}
