/* SPDX-License-Identifier: Apache-2.0 */
#include "model/event.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *dv_event_name(enum dv_event_kind kind)
{
    static const char *const names[] = {
        [DV_EVENT_GPU_SEEN] = "gpu_seen",
        [DV_EVENT_GPU_GONE] = "gpu_gone",
        [DV_EVENT_DEVICE_SEEN] = "device_seen",
        [DV_EVENT_DEVICE_GONE] = "device_gone",
        [DV_EVENT_TOPOLOGY_SEEN] = "topology_seen",
        [DV_EVENT_CLAIM_QUEUED] = "claim_queued",
        [DV_EVENT_CLAIM_WITHDRAWN] = "claim_withdrawn",
        [DV_EVENT_SLICE_GRANTED] = "slice_granted",
        [DV_EVENT_SLICE_LIMITED] = "slice_limited",
        [DV_EVENT_SLICE_RELEASED] = "slice_released",
    };
    return (size_t)kind < DV_ARRAY_SIZE(names) ? names[kind] : "unknown";
}

/* ---- sorted arrays ---- */

/* The array with a gap at `at`, which the caller fills; *n counts it. NULL with *ret_r -ENOSPC or
 * -ENOMEM, and the old array is as it was. */
static void *open_gap(void *array, size_t *n, size_t size, size_t max, size_t at, int *ret_r,
                      struct dv_err *err)
{
    if (*n >= max) {
        *ret_r = dv_err_set(err, -ENOSPC, "this node is full: at most %zu of these", max);
        return NULL;
    }
    char *bigger = realloc(array, (*n + 1) * size);
    if (!bigger) {
        *ret_r = dv_err_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    memmove(bigger + (at + 1) * size, bigger + at * size, (*n - at) * size);
    ++*n;
    return bigger;
}

static void close_gap(void *array, size_t *n, size_t size, size_t at)
{
    char *a = array;
    memmove(a + at * size, a + (at + 1) * size, (*n - at - 1) * size);
    --*n;
}

/* Devices are looked at as constant by everyone but this file, which owns the change. */
static struct dv_device *device_of(struct dv_snapshot *s, const char *uuid)
{
    const struct dv_device *d = dv_snapshot_device(s, uuid);
    return d ? &s->devices[d - s->devices] : NULL;
}

static void settle_mode(struct dv_snapshot *s, struct dv_device *d)
{
    struct dv_held held = dv_snapshot_held(s, d->uuid);
    d->mode = held.first ? held.first->mode : d->layout;
}

/* ---- hardware ---- */

static int gpu_seen(struct dv_snapshot *s, const struct dv_gpu *gpu, struct dv_err *err)
{
    size_t at = 0;
    while (at < s->n_gpus && s->gpus[at].index < gpu->index)
        at++;
    bool known = at < s->n_gpus && s->gpus[at].index == gpu->index;
    for (size_t i = 0; i < s->n_devices; i++)
        if (s->devices[i].gpu == gpu->index && s->devices[i].mig != gpu->mig_enabled)
            return dv_err_set(err, -EBUSY, "GPU %u changes its MIG mode while it has devices",
                              gpu->index);
    if (!known) {
        int r = 0;
        struct dv_gpu *gpus = open_gap(s->gpus, &s->n_gpus, sizeof *gpu, DV_GPUS_MAX, at, &r, err);
        if (!gpus)
            return r;
        s->gpus = gpus;
    }
    s->gpus[at] = *gpu;
    return 0;
}

static int gpu_gone(struct dv_snapshot *s, uint32_t index, struct dv_err *err)
{
    const struct dv_gpu *gpu = dv_snapshot_gpu(s, index);
    if (!gpu)
        return dv_err_set(err, -ENOENT, "GPU %u is not there", index);
    for (size_t i = 0; i < s->n_devices; i++)
        if (s->devices[i].gpu == index)
            return dv_err_set(err, -EBUSY, "GPU %u still has device %s", index, s->devices[i].uuid);
    close_gap(s->gpus, &s->n_gpus, sizeof *gpu, (size_t)(gpu - s->gpus));
    return 0;
}

/* Do the slices that lie on the known device also lie on what it becomes? */
static int check_change(const struct dv_snapshot *s, const struct dv_device *known,
                        const struct dv_device *d, struct dv_err *err)
{
    struct dv_held held = dv_snapshot_held(s, d->uuid);
    if (known->gpu != d->gpu || known->mig != d->mig)
        return dv_err_set(err, -EINVAL, "device %s cannot move from GPU %u to %u", d->uuid,
                          known->gpu, d->gpu);
    if (held.memory_bytes > d->memory_bytes || held.compute > d->compute)
        return dv_err_set(err, -EBUSY, "device %s becomes smaller than what is held on it",
                          d->uuid);
    if (d->replicas && held.slices > d->replicas)
        return dv_err_set(err, -EBUSY, "device %s has %u slices, more than the %u replicas",
                          d->uuid, held.slices, d->replicas);
    if (held.first && d->layout != DV_MODE_AUTO && d->layout != held.first->mode)
        return dv_err_set(err, -EBUSY, "device %s is held in mode %s and laid out as %s", d->uuid,
                          dv_device_mode_name(held.first->mode), dv_device_mode_name(d->layout));
    return 0;
}

static int device_seen(struct dv_snapshot *s, const struct dv_device *device, struct dv_err *err)
{
    const struct dv_gpu *gpu = dv_snapshot_gpu(s, device->gpu);
    if (!gpu || gpu->mig_enabled != device->mig)
        return dv_err_set(err, -EINVAL, "device %s does not fit GPU %u", device->uuid, device->gpu);
    int r = dv_device_check(device, err);
    if (r < 0)
        return r;
    struct dv_device *known = device_of(s, device->uuid);
    if (known) {
        r = check_change(s, known, device, err);
        if (r < 0)
            return r;
        *known = *device;
        settle_mode(s, known);
        return 0;
    }
    size_t at = 0;
    while (at < s->n_devices && dv_snapshot_device_order(&s->devices[at], device) < 0)
        at++;
    struct dv_device *devices =
        open_gap(s->devices, &s->n_devices, sizeof *device, DV_DEVICES_MAX, at, &r, err);
    if (!devices)
        return r;
    devices[at] = *device;
    s->devices = devices;
    settle_mode(s, &devices[at]);
    return 0;
}

static int device_gone(struct dv_snapshot *s, const char *uuid, struct dv_err *err)
{
    const struct dv_device *d = dv_snapshot_device(s, uuid);
    if (!d)
        return dv_err_set(err, -ENOENT, "device %s is not there", uuid);
    struct dv_held held = dv_snapshot_held(s, uuid);
    if (held.slices)
        return dv_err_set(err, -EBUSY, "device %s is held by tenant %s", uuid, held.first->tenant);
    close_gap(s->devices, &s->n_devices, sizeof *d, (size_t)(d - s->devices));
    return 0;
}

static int topology_seen(struct dv_snapshot *s, const struct dv_topology *t, struct dv_err *err)
{
    int r = dv_topology_check(t, err);
    if (!r)
        s->topology = *t;
    return r;
}

/* ---- claims and slices ---- */

static int claim_queued(struct dv_snapshot *s, const struct dv_claim *claim, struct dv_err *err)
{
    int r = dv_claim_check(claim, err);
    if (r < 0)
        return r;
    if (dv_snapshot_claim(s, claim->id) || dv_snapshot_slice(s, claim->id))
        return dv_err_set(err, -EEXIST, "claim %" PRIu64 " is already there", claim->id);
    size_t at = 0;
    while (at < s->n_claims && s->claims[at].id < claim->id)
        at++;
    struct dv_claim *claims =
        open_gap(s->claims, &s->n_claims, sizeof *claim, DV_CLAIMS_MAX, at, &r, err);
    if (!claims)
        return r;
    claims[at] = *claim;
    s->claims = claims;
    return 0;
}

static int claim_withdrawn(struct dv_snapshot *s, uint64_t id, struct dv_err *err)
{
    const struct dv_claim *c = dv_snapshot_claim(s, id);
    if (!c)
        return dv_err_set(err, -ENOENT, "claim %" PRIu64 " does not wait", id);
    close_gap(s->claims, &s->n_claims, sizeof *c, (size_t)(c - s->claims));
    return 0;
}

static int check_room(const struct dv_device *d, const struct dv_held *others, uint64_t memory,
                      uint32_t compute, struct dv_err *err)
{
    if (memory > d->memory_bytes - others->memory_bytes)
        return dv_err_set(err, -EINVAL,
                          "device %s has %" PRIu64 " bytes free, not the %" PRIu64 " granted",
                          d->uuid, d->memory_bytes - others->memory_bytes, memory);
    if (compute > d->compute - others->compute)
        return dv_err_set(err, -EINVAL, "device %s has compute %u free, not the %u granted",
                          d->uuid, d->compute - others->compute, compute);
    return 0;
}

static int check_grant(const struct dv_snapshot *s, const struct dv_device *d,
                       const struct dv_slice *slice, struct dv_err *err)
{
    const struct dv_claim *claim = dv_snapshot_claim(s, slice->id);
    struct dv_held held = dv_snapshot_held(s, d->uuid);
    int r = dv_slice_check(slice, d, err);
    if (r < 0)
        return r;
    if (dv_snapshot_slice(s, slice->id))
        return dv_err_set(err, -EEXIST, "slice %" PRIu64 " is already there", slice->id);
    if (claim && strcmp(claim->tenant, slice->tenant) != 0)
        return dv_err_set(err, -EINVAL, "slice %" PRIu64 " is for %s, its claim for %s", slice->id,
                          slice->tenant, claim->tenant);
    if (d->mode != DV_MODE_AUTO && d->mode != slice->mode)
        return dv_err_set(err, -EINVAL, "device %s is in mode %s, the slice %s", d->uuid,
                          dv_device_mode_name(d->mode), dv_device_mode_name(slice->mode));
    if (held.slices && (held.alone || slice->alone))
        return dv_err_set(err, -EBUSY, "device %s is promised to one slice alone", d->uuid);
    if (slice->mode == DV_MODE_EXCLUSIVE && held.slices)
        return dv_err_set(err, -EINVAL, "device %s is held already", d->uuid);
    if (d->replicas && held.slices >= d->replicas)
        return dv_err_set(err, -EINVAL, "device %s has all its %u replicas", d->uuid, d->replicas);
    return check_room(d, &held, slice->memory_bytes, slice->compute, err);
}

static int slice_granted(struct dv_snapshot *s, const struct dv_slice *slice, struct dv_err *err)
{
    struct dv_device *d = device_of(s, slice->device);
    if (!d)
        return dv_err_set(err, -ENOENT, "device %s is not there", slice->device);
    int r = check_grant(s, d, slice, err);
    if (r < 0)
        return r;
    size_t at = 0;
    while (at < s->n_slices && s->slices[at].id < slice->id)
        at++;
    struct dv_slice *slices =
        open_gap(s->slices, &s->n_slices, sizeof *slice, DV_SLICES_MAX, at, &r, err);
    if (!slices)
        return r;
    slices[at] = *slice;
    s->slices = slices;
    settle_mode(s, d);
    const struct dv_claim *claim = dv_snapshot_claim(s, slice->id);
    if (claim)
        close_gap(s->claims, &s->n_claims, sizeof *claim, (size_t)(claim - s->claims));
    return 0;
}

static int slice_limited(struct dv_snapshot *s, const struct dv_event *e, struct dv_err *err)
{
    const struct dv_slice *slice = dv_snapshot_slice(s, e->id);
    if (!slice)
        return dv_err_set(err, -ENOENT, "slice %" PRIu64 " is not there", e->id);
    const struct dv_device *d = dv_snapshot_device(s, slice->device);
    struct dv_held others = dv_snapshot_held(s, slice->device);
    others.memory_bytes -= slice->memory_bytes;
    others.compute -= slice->compute;
    if (!e->memory_bytes || !e->compute)
        return dv_err_set(err, -EINVAL, "slice %" PRIu64 " would have no memory or no compute",
                          e->id);
    int r = check_room(d, &others, e->memory_bytes, e->compute, err);
    if (r < 0)
        return r;
    struct dv_slice *own = &s->slices[slice - s->slices];
    own->memory_bytes = e->memory_bytes;
    own->compute = e->compute;
    return 0;
}

static int slice_released(struct dv_snapshot *s, uint64_t id, struct dv_err *err)
{
    const struct dv_slice *slice = dv_snapshot_slice(s, id);
    if (!slice)
        return dv_err_set(err, -ENOENT, "slice %" PRIu64 " is not there", id);
    struct dv_device *d = device_of(s, slice->device);
    close_gap(s->slices, &s->n_slices, sizeof *slice, (size_t)(slice - s->slices));
    if (d)
        settle_mode(s, d);
    return 0;
}

static int apply(struct dv_snapshot *s, const struct dv_event *e, struct dv_err *err)
{
    switch (e->kind) {
    case DV_EVENT_GPU_SEEN:
        return gpu_seen(s, &e->gpu, err);
    case DV_EVENT_GPU_GONE:
        return gpu_gone(s, e->gpu.index, err);
    case DV_EVENT_DEVICE_SEEN:
        return device_seen(s, &e->device, err);
    case DV_EVENT_DEVICE_GONE:
        return device_gone(s, e->device.uuid, err);
    case DV_EVENT_TOPOLOGY_SEEN:
        return topology_seen(s, &e->topology, err);
    case DV_EVENT_CLAIM_QUEUED:
        return claim_queued(s, &e->claim, err);
    case DV_EVENT_CLAIM_WITHDRAWN:
        return claim_withdrawn(s, e->id, err);
    case DV_EVENT_SLICE_GRANTED:
        return slice_granted(s, &e->slice, err);
    case DV_EVENT_SLICE_LIMITED:
        return slice_limited(s, e, err);
    case DV_EVENT_SLICE_RELEASED:
        return slice_released(s, e->id, err);
    }
    return dv_err_set(err, -EINVAL, "event of unknown kind %d", (int)e->kind);
}

int dv_event_apply(struct dv_snapshot *snapshot, const struct dv_event *event, struct dv_err *err)
{
    int r = apply(snapshot, event, err);
    if (!r)
        snapshot->version++;
    return r;
}

/* ---- difference ---- */

struct list {
    struct dv_event *events;
    size_t n, cap;
    bool failed;
};

/* The new event, zeroed but for its kind; a spare one when memory is out. */
static struct dv_event *push(struct list *l, enum dv_event_kind kind, struct dv_event *spare)
{
    if (l->n == l->cap && !l->failed) {
        size_t cap = l->cap ? l->cap * 2 : 16;
        struct dv_event *bigger = realloc(l->events, cap * sizeof *bigger);
        l->failed = !bigger;
        if (bigger) {
            l->events = bigger;
            l->cap = cap;
        }
    }
    struct dv_event *e = l->failed ? spare : &l->events[l->n++];
    memset(e, 0, sizeof *e);
    e->kind = kind;
    return e;
}

static bool device_stays(const struct dv_snapshot *to, const struct dv_device *d)
{
    const struct dv_device *next = dv_snapshot_device(to, d->uuid);
    return next && next->gpu == d->gpu && next->mig == d->mig;
}

/* The slice that this one becomes by a change of size alone, or NULL. */
static const struct dv_slice *slice_stays(const struct dv_snapshot *from,
                                          const struct dv_snapshot *to, const struct dv_slice *s)
{
    const struct dv_slice *next = dv_snapshot_slice(to, s->id);
    const struct dv_device *d = dv_snapshot_device(from, s->device);
    if (!next || !d || !device_stays(to, d))
        return NULL;
    struct dv_slice same_size = *next;
    same_size.memory_bytes = s->memory_bytes;
    same_size.compute = s->compute;
    return dv_snapshot_slice_equal(s, &same_size) ? next : NULL;
}

static void push_limit(struct list *l, uint64_t id, uint64_t memory, uint32_t compute)
{
    struct dv_event spare;
    struct dv_event *e = push(l, DV_EVENT_SLICE_LIMITED, &spare);
    e->id = id;
    e->memory_bytes = memory;
    e->compute = compute;
}

/* Claims that go, slices that end, and slices made as small as they are before or after, so that
 * no later step finds the device full. */
static void leave(struct list *l, const struct dv_snapshot *from, const struct dv_snapshot *to)
{
    struct dv_event spare;
    for (size_t i = 0; i < from->n_claims; i++) {
        const struct dv_claim *c = &from->claims[i];
        const struct dv_claim *next = dv_snapshot_claim(to, c->id);
        const struct dv_slice *granted = dv_snapshot_slice(to, c->id);
        if ((next && dv_snapshot_claim_equal(c, next)) ||
            (granted && !strcmp(granted->tenant, c->tenant)))
            continue;
        push(l, DV_EVENT_CLAIM_WITHDRAWN, &spare)->id = c->id;
    }
    for (size_t i = 0; i < from->n_slices; i++) {
        const struct dv_slice *s = &from->slices[i];
        const struct dv_slice *next = slice_stays(from, to, s);
        if (!next) {
            push(l, DV_EVENT_SLICE_RELEASED, &spare)->id = s->id;
            continue;
        }
        uint64_t memory = DV_MIN(s->memory_bytes, next->memory_bytes);
        uint32_t compute = DV_MIN(s->compute, next->compute);
        if (memory != s->memory_bytes || compute != s->compute)
            push_limit(l, s->id, memory, compute);
    }
}

static void change_hardware(struct list *l, const struct dv_snapshot *from,
                            const struct dv_snapshot *to)
{
    struct dv_event spare;
    for (size_t i = 0; i < from->n_devices; i++)
        if (!device_stays(to, &from->devices[i]))
            push(l, DV_EVENT_DEVICE_GONE, &spare)->device = from->devices[i];
    for (size_t i = 0; i < from->n_gpus; i++)
        if (!dv_snapshot_gpu(to, from->gpus[i].index))
            push(l, DV_EVENT_GPU_GONE, &spare)->gpu = from->gpus[i];
    for (size_t i = 0; i < to->n_gpus; i++) {
        const struct dv_gpu *known = dv_snapshot_gpu(from, to->gpus[i].index);
        if (!known || !dv_snapshot_gpu_equal(known, &to->gpus[i]))
            push(l, DV_EVENT_GPU_SEEN, &spare)->gpu = to->gpus[i];
    }
    if (!dv_snapshot_topology_equal(&from->topology, &to->topology))
        push(l, DV_EVENT_TOPOLOGY_SEEN, &spare)->topology = to->topology;
    for (size_t i = 0; i < to->n_devices; i++) {
        const struct dv_device *known = dv_snapshot_device(from, to->devices[i].uuid);
        struct dv_device like = to->devices[i];
        if (known && device_stays(to, known)) {
            like.mode = known->mode; /* follows from the slices */
            if (dv_snapshot_device_equal(known, &like))
                continue;
        }
        push(l, DV_EVENT_DEVICE_SEEN, &spare)->device = to->devices[i];
    }
}

static void come(struct list *l, const struct dv_snapshot *from, const struct dv_snapshot *to)
{
    struct dv_event spare;
    for (size_t i = 0; i < to->n_slices; i++) {
        const struct dv_slice *s = &to->slices[i];
        const struct dv_slice *known = dv_snapshot_slice(from, s->id);
        if (!known || !slice_stays(from, to, known))
            push(l, DV_EVENT_SLICE_GRANTED, &spare)->slice = *s;
        else if (s->memory_bytes > known->memory_bytes || s->compute > known->compute)
            push_limit(l, s->id, s->memory_bytes, s->compute);
    }
    for (size_t i = 0; i < to->n_claims; i++) {
        const struct dv_claim *known = dv_snapshot_claim(from, to->claims[i].id);
        if (!known || !dv_snapshot_claim_equal(known, &to->claims[i]))
            push(l, DV_EVENT_CLAIM_QUEUED, &spare)->claim = to->claims[i];
    }
}

int dv_event_diff(const struct dv_snapshot *from, const struct dv_snapshot *to,
                  struct dv_event **ret, size_t *ret_n)
{
    struct list l = {0};
    leave(&l, from, to);
    change_hardware(&l, from, to);
    come(&l, from, to);
    if (l.failed) {
        free(l.events);
        return -ENOMEM;
    }
    *ret = l.events;
    *ret_n = l.n;
    return 0;
}
