/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/pod_holds.h"

#include "base/str.h"

#include <stdio.h>
#include <string.h>

static bool takes(const struct dv_step *s, const struct dv_device *d)
{
    switch (s->kind) {
    case DV_STEP_MIG_MODE:
        return true;
    case DV_STEP_GI_DESTROY:
        return d->mig && s->gi == d->gi;
    case DV_STEP_CI_DESTROY:
        return !strcmp(s->device, d->uuid);
    default:
        return false;
    }
}

static bool is_taken(const struct dv_gpu_plan *plan, const struct dv_device *d)
{
    for (uint32_t i = 0; i < plan->n_steps; i++)
        if (takes(&plan->steps[i], d))
            return true;
    return false;
}

bool dv_pod_holds_matters(const struct dv_gpu_plan *plan)
{
    for (uint32_t i = 0; i < plan->n_steps; i++) {
        enum dv_step_kind kind = plan->steps[i].kind;
        if (kind == DV_STEP_MIG_MODE || kind == DV_STEP_GI_DESTROY || kind == DV_STEP_CI_DESTROY)
            return true;
    }
    return false;
}

/* "GPU-...", "GPU-...::3", "0:1::p7": what is before "::" is the device. */
static const struct dv_device *device_of(const struct dv_pod_holds *in,
                                         const struct dv_unit_holder *u)
{
    char name[DV_OFFERS_ID];
    const char *end = strstr(u->id, "::");
    size_t len = end ? (size_t)(end - u->id) : strlen(u->id);
    if ((strncmp(u->resource, "nvidia.com/", 11) != 0 &&
         strncmp(u->resource, "divvy.dev/", 10) != 0) ||
        len >= sizeof name)
        return NULL;
    memcpy(name, u->id, len);
    name[len] = 0;
    for (uint32_t i = 0; in->offers && i < in->offers->n_devices; i++)
        if (!strcmp(in->offers->devices[i].name, name))
            return dv_snapshot_device(in->snapshot, in->offers->devices[i].uuid);
    return dv_snapshot_device(in->snapshot, name);
}

bool dv_pod_holds_next(const struct dv_pod_holds *in, const struct dv_gpu_plan *plan, size_t *at,
                       struct dv_workload *ret)
{
    const struct dv_unit_holder *u;
    while ((u = dv_unit_holders_at(in->holders, *at))) {
        const struct dv_device *d = device_of(in, u);
        bool finished = false;
        ++*at;
        if (!d || d->gpu != in->gpu || !is_taken(plan, d))
            continue;
        const struct dv_workload *pod = dv_pods_find(in->pods, u->namespace, u->pod, &finished);
        if (finished)
            continue;
        *ret = (struct dv_workload){{0}};
        snprintf(ret->namespace, sizeof ret->namespace, "%s", u->namespace);
        snprintf(ret->pod, sizeof ret->pod, "%s", u->pod);
        if (pod)
            memcpy(ret->pod_uid, pod->pod_uid, sizeof ret->pod_uid);
        return true;
    }
    return false;
}
