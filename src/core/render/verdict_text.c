/* SPDX-License-Identifier: Apache-2.0 */
#include "render/verdict_text.h"

#include "base/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Two sizes in one sentence: exact where rounding would make them look the same. */
struct pair {
    char asked[DV_UNITS_TEXT], other[DV_UNITS_TEXT];
};

static struct pair sizes(uint64_t asked, uint64_t other)
{
    struct pair p;
    dv_units_format_bytes(asked, p.asked);
    dv_units_format_bytes(other, p.other);
    if (asked != other && !strcmp(p.asked, p.other)) {
        snprintf(p.asked, sizeof p.asked, "%" PRIu64 " bytes", asked);
        snprintf(p.other, sizeof p.other, "%" PRIu64, other);
    }
    return p;
}

static struct pair shares(uint32_t asked, uint32_t other)
{
    struct pair p;
    dv_units_format_compute(asked, p.asked);
    dv_units_format_compute(other, p.other);
    if (asked != other && !strcmp(p.asked, p.other)) {
        snprintf(p.asked, sizeof p.asked, "%u/%d", asked, DV_COMPUTE_FULL);
        snprintf(p.other, sizeof p.other, "%u/%d", other, DV_COMPUTE_FULL);
    }
    return p;
}

static void say_granted(const struct dv_verdict *v, struct dv_str *s)
{
    struct pair m = sizes(v->asked_bytes, v->free_bytes);
    struct pair c = shares(v->asked_compute, v->free_compute);
    dv_str_addf(s, "%s and %s of GPU %d, %s", m.asked, c.asked, v->gpu,
                dv_device_mode_name(v->mode));
    if (v->new_processes_only)
        dv_str_add(s, "; for processes that start from now on");
}

static void say_untrusted(const struct dv_verdict *v, struct dv_str *s)
{
    dv_str_addf(
        s,
        "an untrusted workload goes only behind walls of hardware or driver, for memory and "
        "for compute, and mode %s on GPU %d does not have both; ask for a whole GPU (--mode "
        "exclusive), or apply a layout with MIG devices (mig: [PROFILE, ...]) or with %s",
        dv_device_mode_name(v->mode), v->gpu,
        v->mps_would_do ? "MPS (mode: mps)" : "equal MPS parts (mode: mps, replicas: N)");
}

static void say_full(const struct dv_verdict *v, struct dv_str *s)
{
    dv_str_addf(s, "GPU %d has room for %u slice%s in mode %s and %s held", v->gpu, v->replicas,
                v->replicas == 1 ? "" : "s", dv_device_mode_name(v->mode),
                v->replicas == 1 ? "it is" : "all are");
}

static void say_too_small(const struct dv_verdict *v, struct dv_str *s)
{
    struct pair m = sizes(v->asked_bytes, v->limit_bytes);
    if (!v->replicas) {
        dv_str_addf(s, "asked %s, but a CUDA context alone takes %s on GPU %d; ask for more",
                    m.asked, m.other, v->gpu);
        return;
    }
    dv_str_addf(s,
                "one of %u parts of GPU %d has %s, but a CUDA context alone takes %s; at most %u "
                "replicas would do",
                v->replicas, v->gpu, m.asked, m.other, v->limit_replicas);
}

static void say_too_large_part(const struct dv_verdict *v, struct dv_str *s)
{
    struct pair m = sizes(v->asked_bytes, v->limit_bytes);
    struct pair c = shares(v->asked_compute, v->limit_compute);
    dv_str_addf(s,
                "asked %s and %s of a GPU, but GPU %d is laid out as %u equal MPS parts of %s and "
                "%s; ask for less, or for a device without replicas",
                m.asked, c.asked, v->gpu, v->replicas, m.other, c.other);
}

static void say_no_shares(const struct dv_verdict *v, struct dv_str *s)
{
    struct pair c = shares(v->asked_compute, v->limit_compute);
    dv_str_addf(s,
                "asked %s of a GPU, but time-slices are equal turns (%s each of %u on GPU %d); ask "
                "for governed or mps",
                c.asked, c.other, v->replicas, v->gpu);
}

/* Why a claim has to wait. */
static void say_waiting(const struct dv_verdict *v, enum dv_reason reason, struct dv_str *s)
{
    struct pair m = sizes(v->asked_bytes, v->free_bytes);
    struct pair c = shares(v->asked_compute, v->free_compute);
    switch (reason) {
    case DV_REASON_NO_MEMORY:
        dv_str_addf(s, "asked %s, at most %s is free on one device (GPU %d)", m.asked, m.other,
                    v->gpu);
        break;
    case DV_REASON_NO_COMPUTE:
        dv_str_addf(s, "asked %s of a GPU, at most %s is free where the memory fits (GPU %d)",
                    c.asked, c.other, v->gpu);
        break;
    case DV_REASON_BUSY:
        dv_str_addf(s,
                    "GPU %d is held by tenant %s in mode %s, which leaves no room for this claim",
                    v->gpu, v->holder, dv_device_mode_name(v->mode));
        break;
    case DV_REASON_UNHEALTHY:
        dv_str_addf(s, "GPU %d has failed and no other would do; see divvy doctor", v->gpu);
        break;
    case DV_REASON_BEHIND:
        dv_str_addf(s,
                    "there is room on GPU %d, but claim %" PRIu64 " of tenant %s came first and "
                    "can use it too",
                    v->gpu, v->holder_id, v->holder);
        break;
    case DV_REASON_FULL:
        say_full(v, s);
        break;
    case DV_REASON_DRAINING:
        dv_str_addf(s, "GPU %d is being laid out anew; the claim waits for what comes", v->gpu);
        break;
    case DV_REASON_PREPARING:
        dv_str_addf(s, "there is room on GPU %d; its MPS daemon is being started", v->gpu);
        break;
    default:
        dv_str_add(s, dv_verdict_reason_name(reason));
        break;
    }
}

static void say_fixed(const struct dv_verdict *v, struct dv_str *s)
{
    switch (v->mode) {
    case DV_MODE_MPS:
        dv_str_addf(s, "GPU %d is laid out as equal MPS parts; the size of one cannot change",
                    v->gpu);
        break;
    case DV_MODE_TIMESLICE:
        dv_str_addf(s,
                    "this time-slice on GPU %d was claimed without a memory size and has no wall "
                    "that could move; claim it again with --memory",
                    v->gpu);
        break;
    default:
        dv_str_addf(s, "an exclusive slice has the size of its device (GPU %d); it cannot change",
                    v->gpu);
        break;
    }
}

static void say_limit(const struct dv_verdict *v, struct dv_str *s)
{
    struct pair use = sizes(v->asked_bytes, v->limit_bytes);
    struct pair room = sizes(v->asked_bytes, v->free_bytes);
    struct pair c = shares(v->asked_compute, v->free_compute);
    if (v->reason == DV_REASON_FIXED)
        say_fixed(v, s);
    else if (v->reason == DV_REASON_BELOW_USE)
        dv_str_addf(s, "asked %s, but %s is in use; free memory in the workload first", use.asked,
                    use.other);
    else if (v->asked_bytes > v->free_bytes)
        dv_str_addf(s, "asked %s, but this slice can grow to %s at most on GPU %d", room.asked,
                    room.other, v->gpu);
    else
        dv_str_addf(s, "asked %s of the GPU, but this slice can grow to %s at most on GPU %d",
                    c.asked, c.other, v->gpu);
}

void dv_verdict_text_claim(const struct dv_verdict *verdict, struct dv_str *text)
{
    const struct dv_verdict *v = verdict;
    struct pair m = sizes(v->asked_bytes, v->limit_bytes);
    struct pair c = shares(v->asked_compute, v->limit_compute);
    switch (v->reason) {
    case DV_REASON_FITS:
        say_granted(v, text);
        break;
    case DV_REASON_NO_GPU:
        dv_str_add(text, "this node has no GPU that divvy can share; see divvy doctor");
        break;
    case DV_REASON_NO_SUCH_GPU:
        dv_str_addf(text, "no GPU of this node matches \"%s\"; divvy status lists them", v->text);
        break;
    case DV_REASON_MPS_DOWN:
        dv_str_addf(text, "the MPS daemon of GPU %d does not start: %s", v->gpu, v->detail);
        break;
    case DV_REASON_TOO_LARGE_MEMORY:
        dv_str_addf(text,
                    "asked %s, but the largest device that could do has %s (GPU %d); ask for "
                    "less",
                    m.asked, m.other, v->gpu);
        break;
    case DV_REASON_TOO_LARGE_COMPUTE:
        dv_str_addf(text,
                    "asked %s of a GPU, but the largest device that could do is %s (GPU %d); "
                    "ask for less",
                    c.asked, c.other, v->gpu);
        break;
    case DV_REASON_TOO_SMALL_MEMORY:
        say_too_small(v, text);
        break;
    case DV_REASON_TOO_LARGE_PART:
        say_too_large_part(v, text);
        break;
    case DV_REASON_NO_SHARES:
        say_no_shares(v, text);
        break;
    case DV_REASON_UNTRUSTED:
        say_untrusted(v, text);
        break;
    case DV_REASON_NO_WALL:
        dv_str_addf(
            text,
            "the wall that was to hold this slice could not be raised on GPU %d: %s; nothing "
            "is granted without it (the daemon's log has this too)",
            v->gpu, v->detail);
        break;
    case DV_REASON_LAYOUT:
        dv_str_addf(text,
                    "the layout keeps GPU %d for mode %s; ask for that mode, or for another "
                    "GPU",
                    v->gpu, dv_device_mode_name(v->mode));
        break;
    case DV_REASON_MODE_UNSUPPORTED:
        dv_str_addf(text,
                    "GPU %d cannot be shared in mode %s (see divvy doctor); auto, exclusive, "
                    "timeslice or governed may do",
                    v->gpu, dv_device_mode_name(v->mode));
        break;
    case DV_REASON_NOT_WAITING:
        say_waiting(v, v->because, text);
        dv_str_add(text, "; this claim does not wait");
        break;
    case DV_REASON_BELOW_USE:
    case DV_REASON_NO_ROOM:
    case DV_REASON_FIXED:
        say_limit(v, text);
        break;
    default:
        say_waiting(v, v->reason, text);
        break;
    }
}

/* ---- MIG ---- */

const char *dv_verdict_text_rule(enum dv_mig_rule rule)
{
    static const char *const names[] = {
        [DV_MIG_OK] = "ok",
        [DV_MIG_RULE_COUNT] = "count",
        [DV_MIG_RULE_COMPUTE] = "compute",
        [DV_MIG_RULE_MEMORY] = "memory",
        [DV_MIG_RULE_MEDIA] = "media",
        [DV_MIG_RULE_START] = "start",
        [DV_MIG_RULE_OVERLAP] = "overlap",
        [DV_MIG_RULE_PLACEMENT] = "placement",
    };
    return (size_t)rule < DV_ARRAY_SIZE(names) ? names[rule] : "unknown";
}

static void say_starts(const struct dv_mig_profile *p, struct dv_str *text)
{
    const char *comma = "";
    for (uint32_t start = 0; start < DV_MIG_GRID_MAX; start++) {
        if (!(p->starts >> start & 1))
            continue;
        dv_str_addf(text, "%s%u", comma, start);
        comma = ", ";
    }
}

void dv_verdict_text_refusal(const struct dv_mig_geometry *geometry,
                             const struct dv_mig_refusal *refusal, struct dv_str *text)
{
    const struct dv_mig_refusal *f = refusal;
    const struct dv_mig_profile *p = &geometry->profiles[f->profile];
    const struct dv_mig_profile *other = &geometry->profiles[f->other];
    switch (f->rule) {
    case DV_MIG_OK:
        break;
    case DV_MIG_RULE_COUNT:
        dv_str_addf(text, "asked %u instances of %s, the GPU takes %u", f->asked, p->name,
                    f->limit);
        break;
    case DV_MIG_RULE_COMPUTE:
        dv_str_addf(text, "asked %u compute slices in all, the GPU has %u", f->asked, f->limit);
        break;
    case DV_MIG_RULE_MEMORY:
        dv_str_addf(text, "asked %u memory slices in all, the GPU has %u", f->asked, f->limit);
        break;
    case DV_MIG_RULE_MEDIA:
        dv_str_addf(text, "%s and %s need the same media engines, of which the GPU has one set",
                    p->name, other->name);
        break;
    case DV_MIG_RULE_START:
        dv_str_addf(text, "%s cannot start at %u; it can at ", p->name, f->start);
        say_starts(p, text);
        break;
    case DV_MIG_RULE_OVERLAP:
        dv_str_addf(text, "%s at %u overlaps %s at %u", p->name, f->start, other->name,
                    f->other_start);
        break;
    case DV_MIG_RULE_PLACEMENT:
        dv_str_addf(text, "no legal start is left for %s (it can start at ", p->name);
        say_starts(p, text);
        dv_str_add(text, ")");
        break;
    }
}

void dv_verdict_text_mig(const struct dv_mig_geometry *geometry, const struct dv_mig_plan *plan,
                         struct dv_str *text)
{
    dv_verdict_text_refusal(geometry, &plan->refusal, text);
    if (plan->fits_if_moved)
        dv_str_add(text, "; on an empty GPU they would all fit, but instances in use do not move");
}
