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
    FATE_LAYOUT,
    FATE_NO_SHARES,
    FATE_UNTRUSTED,
    FATE_TOO_SMALL_MEMORY,
    FATE_TOO_LARGE_PART,
    FATE_TOO_LARGE_COMPUTE,
    FATE_TOO_LARGE_MEMORY,
    FATE_UNHEALTHY, /* from here on: possible, if not now */
    FATE_DRAINING,
    FATE_BUSY,
    FATE_FULL,
    FATE_NO_COMPUTE,
    FATE_NO_MEMORY,
    FATE_BEHIND, /* from here on the answer names a device */
    FATE_PREPARING,
    FATE_FITS,
};

static const enum dv_reason reasons[] = {
    [FATE_NO_MATCH] = DV_REASON_NO_SUCH_GPU,
    [FATE_LAYOUT] = DV_REASON_LAYOUT,
    [FATE_NO_SHARES] = DV_REASON_NO_SHARES,
    [FATE_UNTRUSTED] = DV_REASON_UNTRUSTED,
    [FATE_TOO_SMALL_MEMORY] = DV_REASON_TOO_SMALL_MEMORY,
    [FATE_TOO_LARGE_PART] = DV_REASON_TOO_LARGE_PART,
    [FATE_TOO_LARGE_COMPUTE] = DV_REASON_TOO_LARGE_COMPUTE,
    [FATE_TOO_LARGE_MEMORY] = DV_REASON_TOO_LARGE_MEMORY,
    [FATE_UNHEALTHY] = DV_REASON_UNHEALTHY,
    [FATE_DRAINING] = DV_REASON_DRAINING,
    [FATE_BUSY] = DV_REASON_BUSY,
    [FATE_FULL] = DV_REASON_FULL,
    [FATE_NO_COMPUTE] = DV_REASON_NO_COMPUTE,
    [FATE_NO_MEMORY] = DV_REASON_NO_MEMORY,
    [FATE_BEHIND] = DV_REASON_BEHIND,
    [FATE_PREPARING] = DV_REASON_PREPARING,
    [FATE_FITS] = DV_REASON_FITS,
};

/* What one device can do for the claim. */
struct offer {
    enum fate fate;
    const struct dv_gpu *gpu;
    const struct dv_device *device;
    enum dv_mode mode;
    uint32_t slices; /* most of them in that mode */
    uint32_t parts;  /* equal ones, of which a claim without sizes gets one; 0: no such rule */
    uint64_t memory; /* what the slice would have */
    uint32_t compute;
    enum dv_wall memory_wall, compute_wall;
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

/* What follows from the one size that is given: as much of the other. An equal part brings an equal
 * part, to the unit. */
static void complete_size(const struct dv_claim *c, struct offer *o)
{
    const struct dv_device *d = o->device;
    struct dv_device_part part = dv_device_part(d, o->parts ? o->parts : 1);
    o->memory = c->memory_bytes;
    o->compute = c->compute;
    if (!c->memory_bytes && c->compute == part.compute)
        o->memory = part.memory_bytes;
    else if (!c->memory_bytes)
        o->memory = portion(d->memory_bytes, c->compute, d->compute) / DV_MIB * DV_MIB;
    if (!c->compute && c->memory_bytes == part.memory_bytes)
        o->compute = part.compute;
    else if (!c->compute && c->memory_bytes <= d->memory_bytes)
        o->compute = (uint32_t)DV_MAX(portion(d->compute, c->memory_bytes, d->memory_bytes), 1);
}

/* The slice's size on this device, were it large enough. */
static void choose_size(const struct dv_claim *c, struct offer *o)
{
    const struct dv_device *d = o->device;
    struct dv_device_part part = dv_device_part(d, o->parts ? o->parts : 1);
    bool sized = c->memory_bytes || c->compute;
    if (o->mode == DV_MODE_EXCLUSIVE || (!sized && !o->parts)) {
        o->memory = d->memory_bytes;
        o->compute = d->compute;
    } else if (o->mode == DV_MODE_TIMESLICE) {
        o->memory = c->memory_bytes ? c->memory_bytes : part.memory_bytes;
        o->compute = part.compute; /* equal turns, whatever the memory */
    } else if (!sized) {
        o->memory = part.memory_bytes;
        o->compute = part.compute;
    } else {
        complete_size(c, o);
    }
}

/* Is a slice of this size one of the equal parts of its device? */
static bool equal_part(const struct dv_device *d, uint64_t memory, uint32_t compute)
{
    if (!d->replicas)
        return false;
    struct dv_device_part part = dv_device_part(d, d->replicas);
    return memory == part.memory_bytes && compute == part.compute;
}

/* The daemon's defaults are ceilings: no client gets above an equal part, whatever was granted. */
static bool above_part(const struct dv_gpu *gpu, const struct dv_device *d, enum dv_mode mode,
                       uint64_t memory, uint32_t compute)
{
    if (mode != DV_MODE_MPS || !d->replicas || gpu->mps_namespaces)
        return false;
    struct dv_device_part part = dv_device_part(d, d->replicas);
    return memory > part.memory_bytes || compute > part.compute;
}

/* Could it run here, whatever the layout makes of the GPU? Its size and mode are not known yet. */
static enum fate could_draining(const struct dv_claim *c, struct offer *o)
{
    o->mode = c->mode;
    o->memory = c->memory_bytes;
    o->compute = c->compute;
    return FATE_DRAINING;
}

/* Mode, size and walls that the claim would get here. */
static void choose(const struct dv_claim *c, struct offer *o)
{
    const struct dv_device *d = o->device;
    o->mode = choose_mode(c, d);
    o->slices = dv_device_slices_max(o->gpu, d, o->mode);
    o->parts = o->mode == DV_MODE_TIMESLICE ? o->slices : d->replicas;
    choose_size(c, o);
    dv_device_walls(o->gpu, d, o->mode, equal_part(d, o->memory, o->compute), c->memory_bytes,
                    &o->memory_wall, &o->compute_wall);
}

/* Could the claim run here if the device were empty and well? */
static enum fate could(const struct dv_claim *c, struct offer *o)
{
    const struct dv_device *d = o->device;
    if (!dv_claim_selector_matches(&c->gpu, o->gpu, d))
        return FATE_NO_MATCH;
    if (d->draining)
        return could_draining(c, o);
    choose(c, o);
    if (d->layout != DV_MODE_AUTO && d->layout != o->mode)
        return FATE_LAYOUT;
    if (o->mode == DV_MODE_TIMESLICE && c->compute && c->compute != o->compute)
        return FATE_NO_SHARES;
    if (c->trust == DV_TRUST_UNTRUSTED &&
        DV_MIN(o->memory_wall, o->compute_wall) <= DV_WALL_COOPERATIVE)
        return FATE_UNTRUSTED;
    if (c->compute > d->compute)
        return FATE_TOO_LARGE_COMPUTE;
    if (c->memory_bytes > d->memory_bytes)
        return FATE_TOO_LARGE_MEMORY;
    if (above_part(o->gpu, d, o->mode, o->memory, o->compute))
        return FATE_TOO_LARGE_PART;
    if (o->memory < o->gpu->context_bytes || !o->memory || !o->compute)
        return FATE_TOO_SMALL_MEMORY;
    return FATE_FITS;
}

/* And as it is now? */
static enum fate can(const struct dv_claim *c, const struct offer *o, bool barred)
{
    bool alone = o->mode == DV_MODE_EXCLUSIVE || c->alone || o->held.alone;
    if (o->gpu->health == DV_GPU_HEALTH_FAILED)
        return FATE_UNHEALTHY;
    if (o->held.slices && (alone || o->device->mode != o->mode))
        return FATE_BUSY;
    if (o->held.slices >= o->slices)
        return FATE_FULL;
    if (o->memory > free_bytes(o))
        return FATE_NO_MEMORY;
    if (o->compute > free_compute(o))
        return FATE_NO_COMPUTE;
    if (barred)
        return FATE_BEHIND;
    return o->mode == DV_MODE_MPS && !o->device->mps_up ? FATE_PREPARING : FATE_FITS;
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
    case FATE_PREPARING:
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
        o.fate = can(c, &o, view->barred && view->barred[i]);
    return o;
}

/* The most equal parts of a device in each of which a context finds room. */
static uint32_t parts_that_fit(const struct dv_device *d, uint64_t context_bytes)
{
    uint64_t least = DV_MAX((context_bytes + DV_MIB - 1) / DV_MIB, 1) * DV_MIB;
    return (uint32_t)DV_MIN(d->memory_bytes / least, d->compute);
}

/* What only some reasons speak of. */
static void say_operands(const struct dv_claim *c, const struct offer *o, struct dv_verdict *v)
{
    const struct dv_device *d = o->device;
    switch (o->fate) {
    case FATE_TOO_SMALL_MEMORY:
        v->asked_bytes = o->memory;
        v->limit_bytes = o->gpu->context_bytes;
        if (o->parts && !c->memory_bytes && !c->compute) {
            v->replicas = o->parts;
            v->limit_replicas = parts_that_fit(d, o->gpu->context_bytes);
        }
        break;
    case FATE_TOO_LARGE_PART:
        v->asked_bytes = o->memory;
        v->asked_compute = o->compute;
        v->replicas = d->replicas;
        v->limit_bytes = dv_device_part(d, d->replicas).memory_bytes;
        v->limit_compute = dv_device_part(d, d->replicas).compute;
        break;
    case FATE_UNTRUSTED:
        v->mps_would_do = o->gpu->mps_namespaces && !d->mig;
        break;
    case FATE_NO_SHARES:
        v->replicas = o->parts;
        v->limit_compute = o->compute;
        break;
    case FATE_FULL:
        v->replicas = o->slices;
        break;
    case FATE_LAYOUT:
    case FATE_BUSY:
        v->mode = d->mode;
        break;
    default:
        break;
    }
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
    say_operands(c, o, &v);
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
        a.memory_wall = best.memory_wall;
        a.compute_wall = best.compute_wall;
    }
    if (a.verdict.result == DV_VERDICT_QUEUED && !claim->wait && best.fate != FATE_PREPARING) {
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
                         .alone = claim->alone,
                         .memory_wall = admission->memory_wall,
                         .compute_wall = admission->compute_wall,
                         .since_ns = now_ns};
    memcpy(s.tenant, claim->tenant, sizeof s.tenant);
    memcpy(s.device, admission->device, sizeof s.device);
    return s;
}

/* A slice whose walls hold at one size only. */
static bool is_fixed(const struct dv_slice *slice, const struct dv_gpu *gpu,
                     const struct dv_device *device, const struct dv_verdict *v)
{
    bool memory = v->asked_bytes != slice->memory_bytes;
    switch (slice->mode) {
    case DV_MODE_EXCLUSIVE:
        return true;
    case DV_MODE_MPS: /* an equal part is the daemon's default, which holds for all of them */
        return equal_part(device, slice->memory_bytes, slice->compute) && !gpu->mps_namespaces &&
               (memory || v->asked_compute != slice->compute);
    case DV_MODE_TIMESLICE: /* without a wall there is nothing to move */
        return memory && slice->memory_wall == DV_WALL_NONE;
    case DV_MODE_GOVERNED:
    case DV_MODE_AUTO:
        break;
    }
    return false;
}

static enum dv_reason judge_limit(const struct dv_slice *slice, const struct dv_gpu *gpu,
                                  const struct dv_device *d, uint64_t used_bytes,
                                  struct dv_verdict *v)
{
    if (is_fixed(slice, gpu, d, v))
        return DV_REASON_FIXED;
    if (slice->mode == DV_MODE_TIMESLICE && v->asked_compute != slice->compute) {
        v->limit_compute = slice->compute;
        return DV_REASON_NO_SHARES;
    }
    if (v->asked_compute > v->limit_compute)
        return DV_REASON_TOO_LARGE_COMPUTE;
    if (v->asked_bytes > v->limit_bytes)
        return DV_REASON_TOO_LARGE_MEMORY;
    if (above_part(gpu, d, slice->mode, v->asked_bytes, v->asked_compute)) {
        v->limit_bytes = dv_device_part(d, d->replicas).memory_bytes;
        v->limit_compute = dv_device_part(d, d->replicas).compute;
        return DV_REASON_TOO_LARGE_PART;
    }
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
        v.replicas = dv_device_slices_max(gpu, d, slice->mode);
        v.new_processes_only = slice->mode == DV_MODE_MPS;
        v.reason = judge_limit(slice, gpu, d, used_bytes, &v);
    }
    if (v.reason == DV_REASON_FITS)
        v.result = DV_VERDICT_GRANTED;
    *ret = v;
}
