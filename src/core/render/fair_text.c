/* SPDX-License-Identifier: Apache-2.0 */
#include "render/fair_text.h"

#include "base/units.h"

#include <inttypes.h>
#include <stdio.h>

const char *dv_fair_text_gpus(uint64_t units, char buf[DV_FAIR_TEXT_GPUS])
{
    uint64_t hundredths = units / DV_COMPUTE_FULL * 100 +
                          (units % DV_COMPUTE_FULL * 100 + DV_COMPUTE_FULL / 2) / DV_COMPUTE_FULL;
    if (units == DV_FAIR_UNLIMITED)
        snprintf(buf, DV_FAIR_TEXT_GPUS, "unlimited");
    else if (hundredths % 100 == 0)
        snprintf(buf, DV_FAIR_TEXT_GPUS, "%" PRIu64, hundredths / 100);
    else if (hundredths % 10 == 0)
        snprintf(buf, DV_FAIR_TEXT_GPUS, "%" PRIu64 ".%" PRIu64, hundredths / 100,
                 hundredths % 100 / 10);
    else
        snprintf(buf, DV_FAIR_TEXT_GPUS, "%" PRIu64 ".%02" PRIu64, hundredths / 100,
                 hundredths % 100);
    return buf;
}

static const char *queue(const struct dv_fair_text_names *names, uint32_t q)
{
    return q == DV_FAIR_ROOT ? "the cluster" : names->queue(q, names->arg);
}

static void reason(const struct dv_fair_verdict *v, const struct dv_fair_text_names *names,
                   struct dv_str *s)
{
    char a[DV_FAIR_TEXT_GPUS + 8], b[DV_FAIR_TEXT_GPUS], c[DV_FAIR_TEXT_GPUS];
    snprintf(a, sizeof a, "%s GPU%s", dv_fair_text_gpus(v->asked, b),
             v->asked == DV_COMPUTE_FULL ? "" : "s");
    switch (v->reason) {
    case DV_FAIR_RUNS:
        dv_str_addf(s, "runs with %u member%s", v->members, v->members == 1 ? "" : "s");
        break;
    case DV_FAIR_FITS:
        dv_str_add(s, "fits, and is next");
        break;
    case DV_FAIR_NEVER:
        dv_str_addf(s, "even the empty cluster holds only %u of its %u members", v->members,
                    v->min);
        break;
    case DV_FAIR_NO_MODEL:
        dv_str_add(s, "no node has such GPUs or MIG instances");
        break;
    case DV_FAIR_OVER_LIMIT:
        dv_str_addf(s, "asks for %s, above the limit of %s of %s", a,
                    dv_fair_text_gpus(v->limit, b), queue(names, v->queue));
        break;
    case DV_FAIR_OVER_GUARANTEE:
        dv_str_addf(s, "is not preemptible and asks for %s, above the guarantee of %s of %s", a,
                    dv_fair_text_gpus(v->limit, b), queue(names, v->queue));
        break;
    case DV_FAIR_LIMIT:
        dv_str_addf(s, "asks for %s; %s holds %s of its limit of %s", a, queue(names, v->queue),
                    dv_fair_text_gpus(v->held, b), dv_fair_text_gpus(v->limit, c));
        break;
    case DV_FAIR_GUARANTEE:
        dv_str_addf(s,
                    "is not preemptible and asks for %s; such workloads hold %s of the "
                    "guarantee of %s of %s",
                    a, dv_fair_text_gpus(v->held, b), dv_fair_text_gpus(v->limit, c),
                    queue(names, v->queue));
        break;
    case DV_FAIR_NO_ROOM:
        dv_str_addf(s, "asks for %s, %s are free; %u of %u members fit", a,
                    dv_fair_text_gpus(v->free, b), v->members, v->min);
        break;
    case DV_FAIR_FRAGMENTED:
        dv_str_addf(s, "asks for %s, %s are free but scattered; %u of %u members fit", a,
                    dv_fair_text_gpus(v->free, b), v->members, v->min);
        break;
    case DV_FAIR_RESERVED:
        dv_str_addf(s, "what is free is kept for %s, which waits and came first",
                    names->other ? names->other : "another");
        break;
    case DV_FAIR_BEHIND:
        dv_str_addf(s, "would fit; it is number %u of its queue", v->position);
        break;
    case DV_FAIR_LEFT:
        dv_str_add(s, "has its place; who was there is leaving");
        break;
    case DV_FAIR_EVICTED:
        dv_str_add(s, "was evicted and is leaving");
        break;
    }
}

static void no_victims(const struct dv_fair_verdict *v, const struct dv_fair_text_names *names,
                       struct dv_str *s)
{
    char a[DV_FAIR_TEXT_GPUS], b[DV_FAIR_TEXT_GPUS];
    switch (v->victims) {
    case DV_FAIR_UNASKED:
        break;
    case DV_FAIR_OVER_SHARE:
        dv_str_addf(s,
                    "; nobody is asked to leave, as %s would then hold %s GPUs of a fair share "
                    "of %s",
                    queue(names, v->share_queue), dv_fair_text_gpus(v->share_after, a),
                    dv_fair_text_gpus(v->share, b));
        break;
    case DV_FAIR_NO_CANDIDATE:
        dv_str_add(s, "; nobody runs who may be asked to leave for it");
        break;
    case DV_FAIR_NOT_ENOUGH:
        dv_str_add(s, "; all who may be asked to leave for it would not make room");
        break;
    }
}

void dv_fair_text(const struct dv_fair_verdict *v, const struct dv_fair_text_names *names,
                  uint64_t now_ns, struct dv_str *text)
{
    char buf[DV_UNITS_TEXT];
    reason(v, names, text);
    if (v->reason == DV_FAIR_RUNS || v->reason == DV_FAIR_NEVER ||
        v->reason == DV_FAIR_OVER_LIMIT || v->reason == DV_FAIR_OVER_GUARANTEE ||
        v->reason >= DV_FAIR_LEFT)
        return;
    no_victims(v, names, text);
    if (v->reserved)
        dv_str_add(text, "; a place is kept for it");
    if (v->at_ns != DV_NEVER && v->at_ns > now_ns)
        dv_str_addf(text, "; by estimates it starts in %s",
                    dv_units_format_duration(v->at_ns - now_ns, buf));
    else if (v->first_at_ns != DV_NEVER && v->first_at_ns > now_ns)
        dv_str_addf(text, "; in %s it goes first",
                    dv_units_format_duration(v->first_at_ns - now_ns, buf));
}
