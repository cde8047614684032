/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/admit.h"

#include <string.h>

/*
 * How far a device gets with a claim, worst first. The answer to the claim is that of the device
 * that gets furthest: it is the most useful thing to say ("free 24 GiB on GPU 3" rather than "GPU 0
 * is laid out for something else").
 */
enum fate {
    FATE_NO_MATCH,
    FATE_MODE_UNSUPPORTED,
    FATE_LAYOUT,
    FATE_UNTRUSTED,
    FATE_TOO_SMALL_MEMORY,
    FATE_TOO_LARGE_COMPUTE,
    FATE_TOO_LARGE_MEMORY,
    FATE_UNHEALTHY, /* from here on: possible, if not now */
    FATE_BUSY,
    FATE_NO_COMPUTE,
    FATE_NO_MEMORY,
    FATE_BEHIND,
    FATE_FITS,
};

static const enum dv_reason reasons[] = {
    [FATE_NO_MATCH] = DV_REASON_NO_SUCH_GPU,
    [FATE_MODE_UNSUPPORTED] = DV_REASON_MODE_UNSUPPORTED,
    [FATE_LAYOUT] = DV_REASON_LAYOUT,
    [FATE_UNTRUSTED] = DV_REASON_UNTRUSTED,
    [FATE_TOO_SMALL_MEMORY] = DV_REASON_TOO_SMALL_MEMORY,
    [FATE_TOO_LARGE_COMPUTE] = DV_REASON_TOO_LARGE_COMPUTE,
    [FATE_TOO_LARGE_MEMORY] = DV_REASON_TOO_LARGE_MEMORY,
    [FATE_UNHEALTHY] = DV_REASON_UNHEALTHY,
    [FATE_BUSY] = DV_REASON_BUSY,
    [FATE_NO_COMPUTE] = DV_REASON_NO_COMPUTE,
    [FATE_NO_MEMORY] = DV_REASON_NO_MEMORY,
    [FATE_BEHIND] = DV_REASON_BEHIND,
    [FATE_FITS] = DV_REASON_FITS,
};

/* What one device can do for the claim. */
struct offer {
    enum fate fate;
    const struct dv_gpu *gpu;
    const struct dv_device *device;
    enum dv_mode mode;
    uint64_t memory; /* what the slice would have */
    uint32_t compute;
    struct dv_held held;
};

static uint64_t free_bytes(const struct offer *o)
{
    return o->device->memory_bytes - o->held.memory_bytes;
}

static uint32_t free_compute(const struct offer *o)
{
    return o->device->compute - o->held.compute;
}

static enum dv_mode choose_mode(const struct dv_claim *c, const struct dv_device *d)
{
    if (c->mode != DV_MODE_AUTO)
        return c->mode;
    if (d->layout != DV_MODE_AUTO)
        return d->layout;
    bool sized = c->memory_bytes || c->compute;
    return sized && c->trust == DV_TRUST_TRUSTED ? DV_MODE_GOVERNED : DV_MODE_EXCLUSIVE;
}

/* whole * part / of, where part <= of. */
static uint64_t portion(uint64_t whole, uint64_t part, uint64_t of)
{
    __extension__ typedef unsigned __int128 wide;
    return (uint64_t)((wide)whole * part / of);
}

/* The slice's size on this device; what was asked has been found to be no larger than it. */
static void choose_size(const struct dv_claim *c, struct offer *o)
{
    const struct dv_device *d = o->device;
    o->memory = d->memory_bytes;
    o->compute = d->compute;
    if (o->mode == DV_MODE_EXCLUSIVE)
        return;
    if (c->memory_bytes)
        o->memory = c->memory_bytes;
    else if (c->compute)
        o->memory = portion(d->memory_bytes, c->compute, d->compute) / DV_MIB * DV_MIB;
    if (c->compute)
        o->compute = c->compute;
    else if (c->memory_bytes)
        o->compute = (uint32_t)DV_MAX(portion(d->compute, c->memory_bytes, d->memory_bytes), 1);
}

/* Could the claim run here if the device were empty and well? */
static enum fate could(const struct dv_claim *c, struct offer *o)
{
    const struct dv_device *d = o->device;
    if (!dv_claim_selector_matches(&c->gpu, o->gpu, d))
        return FATE_NO_MATCH;
    o->mode = choose_mode(c, d);
    if (o->mode != DV_MODE_EXCLUSIVE && o->mode != DV_MODE_GOVERNED)
        return FATE_MODE_UNSUPPORTED;
    if (d->layout != DV_MODE_AUTO && d->layout != o->mode)
        return FATE_LAYOUT;
    if (c->trust == DV_TRUST_UNTRUSTED &&
        DV_MIN(dv_device_memory_wall(o->mode), dv_device_compute_wall(o->mode)) <=
            DV_WALL_COOPERATIVE)
        return FATE_UNTRUSTED;
    if (c->compute > d->compute)
        return FATE_TOO_LARGE_COMPUTE;
    if (c->memory_bytes > d->memory_bytes)
        return FATE_TOO_LARGE_MEMORY;
    choose_size(c, o);
    if (o->memory < o->gpu->context_bytes || !o->memory)
        return FATE_TOO_SMALL_MEMORY;
    return FATE_FITS;
}

/* And as it is now? */
static enum fate can(const struct offer *o, bool barred)
{
    if (o->gpu->health == DV_GPU_HEALTH_FAILED)
        return FATE_UNHEALTHY;
    if (o->held.slices && (o->mode == DV_MODE_EXCLUSIVE || o->device->mode != o->mode))
        return FATE_BUSY;
    if (o->memory > free_bytes(o))
        return FATE_NO_MEMORY;
    if (o->compute > free_compute(o))
        return FATE_NO_COMPUTE;
    return barred ? FATE_BEHIND : FATE_FITS;
}

/* Parts per million of the device that stay free; both resources count alike. */
static uint64_t left_over(const struct offer *o)
{
    return portion(1000000, free_bytes(o) - o->memory, o->device->memory_bytes) +
           portion(1000000, free_compute(o) - o->compute, o->device->compute);
}

/* The fuller device that has room is the better one: large gaps stay large. */
static bool better_fit(const struct offer *a, const struct offer *b)
{
    bool used_a = a->held.slices, used_b = b->held.slices;
    if (used_a != used_b)
        return used_a;
    if (used_a && left_over(a) != left_over(b))
        return left_over(a) < left_over(b);
    if (!used_a && a->device->memory_bytes != b->device->memory_bytes)
        return a->device->memory_bytes < b->device->memory_bytes;
    return false; /* devices come in the order of their GPUs */
}

/* Is a, of the same fate, the better one to speak of? */
static bool tells_more(const struct offer *a, const struct offer *b)
{
    switch (a->fate) {
    case FATE_FITS:
    case FATE_BEHIND:
        return better_fit(a, b);
    case FATE_NO_MEMORY:
        return free_bytes(a) > free_bytes(b);
    case FATE_NO_COMPUTE:
        return free_compute(a) > free_compute(b);
    case FATE_TOO_LARGE_MEMORY:
        return a->device->memory_bytes > b->device->memory_bytes;
    case FATE_TOO_LARGE_COMPUTE:
        return a->device->compute > b->device->compute;
    default:
        return false;
    }
}

static struct offer ask(const struct dv_snapshot *s, const struct dv_claim *c, size_t i,
                        const struct dv_admit_view *view)
{
    struct offer o = {.device = &s->devices[i]};
    o.gpu = dv_snapshot_gpu(s, o.device->gpu);
    if (!o.gpu)
        return o;
    o.held = view->held ? view->held[i] : dv_snapshot_held(s, o.device->uuid);
    o.fate = could(c, &o);
    if (o.fate == FATE_FITS)
        o.fate = can(&o, view->barred && view->barred[i]);
    return o;
}

static struct dv_verdict judge(const struct dv_claim *c, const struct offer *o)
{
    struct dv_verdict v = {.reason = reasons[o->fate], .gpu = -1, .mode = o->mode};
    v.result = o->fate == FATE_FITS        ? DV_VERDICT_GRANTED
               : o->fate >= FATE_UNHEALTHY ? DV_VERDICT_QUEUED
                                           : DV_VERDICT_REFUSED;
    memcpy(v.text, c->gpu.text, sizeof v.text);
    v.asked_bytes = o->fate >= FATE_UNHEALTHY ? o->memory : c->memory_bytes;
    v.asked_compute = o->fate >= FATE_UNHEALTHY ? o->compute : c->compute;
    if (o->fate == FATE_NO_MATCH)
        return v;
    v.gpu = (int32_t)o->gpu->index;
    v.free_bytes = free_bytes(o);
    v.free_compute = free_compute(o);
    v.limit_bytes = o->device->memory_bytes;
    v.limit_compute = o->device->compute;
    if (o->fate == FATE_TOO_SMALL_MEMORY) {
        v.asked_bytes = o->memory;
        v.limit_bytes = o->gpu->context_bytes;
    }
    if (o->fate == FATE_LAYOUT || o->fate == FATE_BUSY)
        v.mode = o->device->mode;
    if (o->held.first) {
        v.holder_id = o->held.first->id;
        memcpy(v.holder, o->held.first->tenant, sizeof v.holder);
    }
    return v;
}

void dv_admit_claim_except(const struct dv_snapshot *snapshot, const struct dv_claim *claim,
                           const struct dv_admit_view *view, struct dv_admission *ret)
{
    struct offer best = {0};
    for (size_t i = 0; i < snapshot->n_devices; i++) {
        struct offer o = ask(snapshot, claim, i, view);
        if (!best.device || o.fate > best.fate || (o.fate == best.fate && tells_more(&o, &best)))
            best = o;
    }
    struct dv_admission a = {.verdict = judge(claim, &best)};
    if (!best.device)
        a.verdict.reason = DV_REASON_NO_GPU;
    if (best.device && best.fate >= FATE_BEHIND) {
        memcpy(a.device, best.device->uuid, sizeof a.device);
        a.mode = best.mode;
        a.memory_bytes = best.memory;
        a.compute = best.compute;
        a.memory_wall = dv_device_memory_wall(best.mode);
        a.compute_wall = dv_device_compute_wall(best.mode);
    }
    if (a.verdict.result == DV_VERDICT_QUEUED && !claim->wait) {
        a.verdict.result = DV_VERDICT_REFUSED;
        a.verdict.because = a.verdict.reason;
        a.verdict.reason = DV_REASON_NOT_WAITING;
    }
    *ret = a;
}

void dv_admit_claim(const struct dv_snapshot *snapshot, const struct dv_claim *claim,
                    struct dv_admission *ret)
{
    dv_admit_claim_except(snapshot, claim, &(struct dv_admit_view){0}, ret);
}

void dv_admit_mark(const struct dv_snapshot *snapshot, const struct dv_claim *claim, bool *marks)
{
    for (size_t i = 0; i < snapshot->n_devices; i++) {
        struct offer o = {.device = &snapshot->devices[i]};
        o.gpu = dv_snapshot_gpu(snapshot, o.device->gpu);
        if (o.gpu && could(claim, &o) == FATE_FITS)
            marks[i] = true;
    }
}

struct dv_slice dv_admit_slice(const struct dv_claim *claim, const struct dv_admission *admission,
                               uint64_t now_ns)
{
    struct dv_slice s = {.id = claim->id,
                         .mode = admission->mode,
                         .memory_bytes = admission->memory_bytes,
                         .compute = admission->compute,
                         .priority = claim->priority,
                         .tier = claim->tier,
                         .trust = claim->trust,
                         .memory_wall = admission->memory_wall,
                         .compute_wall = admission->compute_wall,
                         .since_ns = now_ns};
    memcpy(s.tenant, claim->tenant, sizeof s.tenant);
    memcpy(s.device, admission->device, sizeof s.device);
    return s;
}

static enum dv_reason judge_limit(const struct dv_slice *slice, const struct dv_gpu *gpu,
                                  uint64_t used_bytes, struct dv_verdict *v)
{
    if (slice->mode == DV_MODE_EXCLUSIVE)
        return DV_REASON_FIXED;
    if (v->asked_compute > v->limit_compute)
        return DV_REASON_TOO_LARGE_COMPUTE;
    if (v->asked_bytes > v->limit_bytes)
        return DV_REASON_TOO_LARGE_MEMORY;
    if (v->asked_bytes < used_bytes) {
        v->limit_bytes = used_bytes;
        return DV_REASON_BELOW_USE;
    }
    if (v->asked_bytes < slice->memory_bytes && v->asked_bytes < gpu->context_bytes) {
        v->limit_bytes = gpu->context_bytes;
        return DV_REASON_TOO_SMALL_MEMORY;
    }
    if (v->asked_bytes > v->free_bytes || v->asked_compute > v->free_compute)
        return DV_REASON_NO_ROOM;
    return DV_REASON_FITS;
}

void dv_admit_limit(const struct dv_snapshot *snapshot, const struct dv_slice *slice,
                    uint64_t memory_bytes, uint32_t compute, uint64_t used_bytes,
                    struct dv_verdict *ret)
{
    const struct dv_device *d = dv_snapshot_device(snapshot, slice->device);
    const struct dv_gpu *gpu = d ? dv_snapshot_gpu(snapshot, d->gpu) : NULL;
    struct dv_verdict v = {.result = DV_VERDICT_REFUSED, .reason = DV_REASON_NO_GPU, .gpu = -1};
    if (gpu) {
        struct dv_held held = dv_snapshot_held(snapshot, d->uuid);
        v.gpu = (int32_t)d->gpu;
        v.mode = slice->mode;
        v.asked_bytes = memory_bytes ? memory_bytes : slice->memory_bytes;
        v.asked_compute = compute ? compute : slice->compute;
        v.limit_bytes = d->memory_bytes;
        v.limit_compute = d->compute;
        v.free_bytes = d->memory_bytes - held.memory_bytes + slice->memory_bytes;
        v.free_compute = d->compute - held.compute + slice->compute;
        v.reason = judge_limit(slice, gpu, used_bytes, &v);
    }
    if (v.reason == DV_REASON_FITS)
        v.result = DV_VERDICT_GRANTED;
    *ret = v;
}
