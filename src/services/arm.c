/* SPDX-License-Identifier: Apache-2.0 */
#include "arm.h"

#include "claims.h"
#include "mps.h"
#include "sys/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *dv_arm_name(const struct dv_holding *h, char buf[32])
{
    snprintf(buf, 32, "s-%llu", (unsigned long long)h->claim.id);
    return buf;
}

static const struct dv_gpu *gpu_of(const struct dv_node *node, const struct dv_slice *slice)
{
    const struct dv_device *d = dv_snapshot_device(node->snapshot, slice->device);
    return d ? dv_snapshot_gpu(node->snapshot, d->gpu) : NULL;
}

bool dv_arm_has_namespace(const struct dv_node *node, const struct dv_slice *slice)
{
    const struct dv_gpu *gpu = gpu_of(node, slice);
    return slice->mode == DV_MODE_MPS && gpu && gpu->mps_namespaces;
}

/* Not an exclusive card, not a MIG device: those have the hardware's edges. */
static bool has_cgroup(const struct dv_node *node, const struct dv_slice *slice)
{
    const struct dv_device *d = dv_snapshot_device(node->snapshot, slice->device);
    const struct dv_gpu *gpu = gpu_of(node, slice);
    return d && !d->mig && gpu && gpu->memory_limits && slice->mode != DV_MODE_EXCLUSIVE &&
           slice->memory_wall == DV_WALL_DRIVER;
}

struct asked {
    struct dv_node *node;
    uint64_t id;
};

static void on_armed(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct asked *asked = arg;
    struct dv_holding *h = dv_node_holding(asked->node, asked->id);
    char value[DV_LOG_VALUE];
    bool failed = !reply || reply->status;
    if (failed)
        dv_log(DV_LOG_ERROR, "slice.wall", "claim=c-%llu detail=%s", (unsigned long long)asked->id,
               dv_log_value(reply ? reply->message : strerror(-error), value));
    free(asked);
    if (!h || !h->arming)
        return;
    h->arming--;
    h->arm_failed |= failed;
    if (!h->arming)
        dv_claims_armed(h, !h->arm_failed);
}

/* A reply that only the log hears of. */
static void on_done(void *arg, const struct dv_worker_reply *reply, int error)
{
    char value[DV_LOG_VALUE];
    if (!reply || reply->status)
        dv_log(DV_LOG_WARNING, "slice.wall", "detail=%s",
               dv_log_value(reply ? reply->message : strerror(-error), value));
}

static void fill_limit(const struct dv_holding *h, const struct dv_slice *slice, uint64_t bytes,
                       struct dv_worker_request *q)
{
    *q = (struct dv_worker_request){.op = DV_WORKER_MEMORY_LIMIT};
    struct dv_memory_limit *l = &q->change.limit;
    memcpy(l->device, slice->device, sizeof l->device);
    dv_arm_name(h, l->cgroup);
    l->bytes = bytes;
}

static bool fill_namespace(const struct dv_holding *h, const struct dv_slice *slice,
                           enum dv_mps_op op, struct dv_worker_request *q)
{
    const struct dv_device *d = dv_snapshot_device(h->node->snapshot, slice->device);
    char name[32];
    if (!d)
        return false;
    *q = (struct dv_worker_request){.op = DV_WORKER_MPS, .change.mps.op = op};
    dv_mps_name(h->node, d, &q->change.mps.spec);
    q->change.mps.spec.uid = h->uid;
    q->change.mps.spec.memory_bytes = slice->memory_bytes;
    q->change.mps.spec.threads_percent = DV_MAX(slice->compute * 100 / d->compute, 1);
    snprintf(q->change.mps.argument, sizeof q->change.mps.argument, "%s", dv_arm_name(h, name));
    return true;
}

static void ask(struct dv_holding *h, const struct dv_worker_request *q)
{
    struct asked *asked = malloc(sizeof *asked);
    h->arming++;
    if (asked) {
        *asked = (struct asked){h->node, h->claim.id};
        if (dv_hardware_link_ask(h->node->link, q, on_armed, asked) == 0)
            return;
    }
    free(asked);
    h->arming--;
    h->arm_failed = true;
}

bool dv_arm_begin(struct dv_holding *h)
{
    const struct dv_slice *slice = dv_node_slice(h);
    struct dv_worker_request q;
    h->arming = 0;
    h->arm_failed = false;
    if (slice && has_cgroup(h->node, slice)) {
        fill_limit(h, slice, slice->memory_bytes, &q);
        q.change.limit.pid = h->owner.pid;
        q.change.limit.start = h->owner.start;
        ask(h, &q);
    }
    if (slice && dv_arm_has_namespace(h->node, slice) &&
        fill_namespace(h, slice, DV_MPS_NAMESPACE, &q))
        ask(h, &q);
    return h->arming || h->arm_failed;
}

void dv_arm_end(struct dv_holding *h)
{
    const struct dv_slice *slice = dv_node_slice(h);
    struct dv_worker_request q;
    h->arming = 0;
    if (slice && has_cgroup(h->node, slice)) {
        fill_limit(h, slice, UINT64_MAX, &q);
        dv_hardware_link_ask(h->node->link, &q, on_done, NULL);
    }
    if (slice && dv_arm_has_namespace(h->node, slice) &&
        fill_namespace(h, slice, DV_MPS_NAMESPACE_END, &q))
        dv_hardware_link_ask(h->node->link, &q, on_done, NULL);
}

void dv_arm_limit(struct dv_holding *h)
{
    const struct dv_slice *slice = dv_node_slice(h);
    struct dv_worker_request q;
    if (slice && has_cgroup(h->node, slice)) {
        fill_limit(h, slice, slice->memory_bytes, &q);
        dv_hardware_link_ask(h->node->link, &q, on_done, NULL);
    }
    if (slice && dv_arm_has_namespace(h->node, slice) &&
        fill_namespace(h, slice, DV_MPS_NAMESPACE, &q))
        dv_hardware_link_ask(h->node->link, &q, on_done, NULL);
}

static void on_probe(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct dv_node *node = arg;
    char value[DV_LOG_VALUE];
    node->limits_usable = reply && reply->status == 0;
    node->inventory_ns = 0; /* the GPUs' facts are read anew with it */
    dv_log(DV_LOG_INFO, "memory_limits", "usable=%s detail=%s",
           node->limits_usable ? "true" : "false",
           dv_log_value(reply ? reply->message : "", value));
}

void dv_arm_probe(struct dv_node *node)
{
    struct dv_worker_request q = {.op = DV_WORKER_MEMORY_LIMIT};
    for (size_t i = 0; i < node->snapshot->n_gpus; i++) {
        const struct dv_gpu *g = &node->snapshot->gpus[i];
        const struct dv_facts_gpu *f = node->gpus[g->index].facts;
        if (!f || f->memory_limits != 1 || g->mig_enabled)
            continue;
        memcpy(q.change.limit.device, g->uuid, sizeof q.change.limit.device);
        snprintf(q.change.limit.cgroup, sizeof q.change.limit.cgroup, "probe");
        q.change.limit.bytes = UINT64_MAX;
        dv_hardware_link_ask(node->link, &q, on_probe, node);
        return;
    }
}
