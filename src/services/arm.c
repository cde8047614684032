/* SPDX-License-Identifier: Apache-2.0 */
#include "arm.h"

#include "actuate/memory_limit.h"
#include "actuate/mps.h"
#include "base/str.h"
#include "claims.h"
#include "mps.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CGROUPS_MAX 16384u /* of the text of /proc/PID/cgroup */
#define TRY_NS (DV_NS_PER_S / 5)
#define TRIES_MAX 25u /* then it is said */
#define PROBES_MAX 3u

static const char *name_of(const struct dv_holding *h, char buf[32])
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
static bool can_have_cgroup(const struct dv_slice *slice)
{
    return !strncmp(slice->device, "GPU-", 4) && slice->mode != DV_MODE_EXCLUSIVE &&
           slice->memory_wall == DV_WALL_DRIVER;
}

bool dv_arm_has_cgroup(const struct dv_node *node, const struct dv_slice *slice)
{
    const struct dv_gpu *gpu = gpu_of(node, slice);
    return gpu && gpu->memory_limits && can_have_cgroup(slice);
}

/* ---- asking ---- */

struct asked {
    struct dv_node *node;
    uint64_t id;
};

/* What the worker says, or that it says nothing. */
static const char *problem_of(const struct dv_worker_reply *reply, int error)
{
    if (reply)
        return reply->status ? reply->message : NULL;
    return error == -ETIMEDOUT ? "the driver did not answer in time" : "the driver's process died";
}

static void note_problem(struct dv_holding *h, const char *problem)
{
    char value[DV_LOG_VALUE];
    dv_log(DV_LOG_ERROR, "slice.wall", "claim=c-%llu tenant=%s device=%s detail=%s",
           (unsigned long long)h->claim.id, h->claim.tenant, h->device_uuid,
           dv_log_value(problem, value));
    snprintf(h->arm_problem, sizeof h->arm_problem, "%s", problem);
}

static void on_armed(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct asked *asked = arg;
    struct dv_holding *h = dv_node_holding(asked->node, asked->id);
    const char *problem = problem_of(reply, error);
    free(asked);
    if (!h || !h->arming)
        return;
    if (problem)
        note_problem(h, problem);
    h->arming--;
    if (!h->arming)
        dv_claims_armed(h, !h->arm_problem[0]);
}

/* A later change: the wall stands, if with other limits than those that are said. */
static void on_changed(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct asked *asked = arg;
    struct dv_holding *h = dv_node_holding(asked->node, asked->id);
    const char *problem = problem_of(reply, error);
    free(asked);
    if (h && problem)
        note_problem(h, problem);
}

typedef void (*answered)(void *arg, const struct dv_worker_reply *reply, int error);

static bool ask(struct dv_holding *h, const struct dv_worker_request *q, answered callback)
{
    /* An MPS daemon may be slow: it holds up nothing else. */
    struct dv_hardware_link *link = q->op == DV_WORKER_MPS ? h->node->mps_link : h->node->link;
    struct asked *asked = malloc(sizeof *asked);
    if (asked) {
        *asked = (struct asked){h->node, h->claim.id};
        if (dv_hardware_link_ask(link, q, callback, asked) == 0)
            return true;
    }
    free(asked);
    note_problem(h, "the driver's process cannot be asked");
    return false;
}

/* The answer may come before this returns, when the worker has just died. */
static void ask_to_arm(struct dv_holding *h, const struct dv_worker_request *q)
{
    h->arming++;
    if (!ask(h, q, on_armed))
        h->arming--;
}

static void fill_limit(const struct dv_holding *h, const struct dv_slice *slice, uint64_t bytes,
                       struct dv_worker_request *q)
{
    *q = (struct dv_worker_request){.op = DV_WORKER_MEMORY_LIMIT};
    struct dv_memory_limit *l = &q->change.limit;
    memcpy(l->device, slice->device, sizeof l->device);
    name_of(h, l->cgroup);
    l->bytes = bytes;
}

/* A container has a group that its runtime keeps, with limits of its own: the wall is put around
 * that, where it is of the version that the driver takes. */
static bool find_own_cgroup(const struct dv_holding *h, char ret[DV_CGROUP_SIZE])
{
    static char text[CGROUPS_MAX];
    char group[DV_CGROUP_GROUP_SIZE];
    if (!h->workload || dv_proc_cgroup(h->owner.pid, text, sizeof text) < 0)
        return false;
    const char *line = strncmp(text, "0::", 3) != 0 ? strstr(text, "\n0::") : text;
    return line && dv_cgroup_of(line + (*line == '\n'), h->workload->container_id, group) == 0 &&
           dv_str_copy(ret, DV_CGROUP_SIZE, group + 1) == 0; /* no controllers, a colon */
}

static void fill_owner(struct dv_holding *h, struct dv_memory_limit *l)
{
    if (h->owner_fd >= 0) {
        l->pid = h->owner.pid;
        l->start = h->owner.start;
    }
    if (h->own_cgroup) {
        l->own = 1;
        memcpy(l->back, h->owner_cgroup, sizeof l->back);
    }
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
    q->change.mps.spec.memory_bytes = slice->memory_bytes;
    q->change.mps.spec.threads_percent = DV_MAX(slice->compute * 100 / d->compute, 1);
    q->change.mps.spec.uid = h->uid;
    if (h->workload)
        dv_mps_door_name(h->workload->device, q->change.mps.spec.door);
    snprintf(q->change.mps.argument, sizeof q->change.mps.argument, "%s", name_of(h, name));
    return true;
}

/* ---- raising ---- */

bool dv_arm_begin(struct dv_holding *h)
{
    const struct dv_slice *slice = dv_node_slice(h);
    struct dv_worker_request q;
    h->arming = 0;
    h->arm_problem[0] = 0;
    if (slice && dv_arm_has_cgroup(h->node, slice)) {
        fill_limit(h, slice, slice->memory_bytes, &q);
        h->own_cgroup = h->owner_fd >= 0 && find_own_cgroup(h, h->owner_cgroup);
        if (!h->own_cgroup && h->owner_fd >= 0 &&
            (h->restored || dv_memory_limit_cgroup_of(h->owner.pid, h->owner_cgroup) < 0))
            h->owner_cgroup[0] = 0; /* it is behind the wall already */
        fill_owner(h, &q.change.limit);
        ask_to_arm(h, &q);
    }
    if (slice && dv_arm_has_namespace(h->node, slice)) {
        if (fill_namespace(h, slice, DV_MPS_NAMESPACE, &q))
            ask_to_arm(h, &q);
        else if (!h->restored) /* else it gets one when the daemon is found */
            note_problem(h, "the device has no MPS daemon");
    }
    return h->arming || h->arm_problem[0];
}

static void change_namespace(struct dv_holding *h, const struct dv_slice *slice)
{
    struct dv_worker_request q;
    if (dv_arm_has_namespace(h->node, slice) && fill_namespace(h, slice, DV_MPS_NAMESPACE, &q))
        ask(h, &q, on_changed);
}

void dv_arm_limit(struct dv_holding *h)
{
    const struct dv_slice *slice = dv_node_slice(h);
    struct dv_worker_request q;
    if (!slice)
        return;
    if (!h->arming)
        h->arm_problem[0] = 0;
    if (dv_arm_has_cgroup(h->node, slice)) {
        fill_limit(h, slice, slice->memory_bytes, &q);
        if (h->own_cgroup)
            fill_owner(h, &q.change.limit);
        ask(h, &q, on_changed);
    }
    change_namespace(h, slice);
}

/* ---- taking back ---- */

struct dv_arm_rest {
    struct dv_node *node;
    char name[32];
    struct dv_worker_request request;
    uint64_t next_ns; /* when it is tried again */
    uint32_t tries;
    bool asked;
    struct dv_arm_rest *next;
};

static void drop_rest(struct dv_arm_rest *rest)
{
    for (struct dv_arm_rest **p = &rest->node->arm_rests; *p; p = &(*p)->next) {
        if (*p == rest) {
            *p = rest->next;
            free(rest);
            return;
        }
    }
}

static void on_ended(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct dv_arm_rest *rest = arg;
    char value[DV_LOG_VALUE];
    /* Or whom it is asked of is busy: one that does not answer at all is ended, and that ends it.
     */
    bool in_use = !reply || reply->status == DV_ACTUATE_IN_USE || reply->status == -ETIMEDOUT;
    rest->asked = false;
    rest->tries++;
    rest->next_ns = dv_clock_now() + DV_MIN(rest->tries * TRY_NS, TRIES_MAX * TRY_NS);
    const char *problem = problem_of(reply, error);
    /* The owner of a slice has usually not quite ended yet. */
    if (problem && (!in_use || rest->tries == TRIES_MAX))
        dv_log(DV_LOG_WARNING, "slice.wall", "slice=%s detail=%s", rest->name,
               dv_log_value(problem, value));
    if (!in_use)
        drop_rest(rest);
}

static void ask_to_end(struct dv_arm_rest *rest)
{
    struct dv_node *node = rest->node;
    bool mps = rest->request.op == DV_WORKER_MPS;
    rest->asked = true;
    if (dv_hardware_link_ask(mps ? node->mps_link : node->link, &rest->request, on_ended, rest) < 0)
        rest->asked = false;
}

static void end(struct dv_node *node, const char *name, const struct dv_worker_request *q)
{
    struct dv_arm_rest *rest = calloc(1, sizeof *rest);
    if (!rest)
        return;
    *rest = (struct dv_arm_rest){.node = node, .request = *q, .next = node->arm_rests};
    snprintf(rest->name, sizeof rest->name, "%s", name);
    node->arm_rests = rest;
    ask_to_end(rest);
}

static void end_cgroup(struct dv_holding *h, const struct dv_slice *slice)
{
    struct dv_worker_request q;
    fill_limit(h, slice, UINT64_MAX, &q);
    struct dv_memory_limit *l = &q.change.limit;
    if (h->owner_fd >= 0)
        memcpy(l->back, h->owner_cgroup, sizeof l->back);
    fill_owner(h, l);
    end(h->node, l->cgroup, &q);
}

void dv_arm_tick(struct dv_node *node, uint64_t now)
{
    for (struct dv_arm_rest *r = node->arm_rests, *next; r; r = next) {
        next = r->next; /* an answer may come at once, and drop it */
        if (!r->asked && now >= r->next_ns)
            ask_to_end(r);
    }
}

void dv_arm_free(struct dv_node *node)
{
    for (struct dv_arm_rest *next, *r = node->arm_rests; r; r = next) {
        next = r->next;
        free(r);
    }
    node->arm_rests = NULL;
}

void dv_arm_end(struct dv_holding *h)
{
    const struct dv_slice *slice = dv_node_slice(h);
    struct dv_worker_request q;
    h->arming = 0;
    /* Whatever the GPU offers by now. */
    if (slice && can_have_cgroup(slice) && h->node->limits_usable)
        end_cgroup(h, slice);
    if (slice && dv_arm_has_namespace(h->node, slice) &&
        fill_namespace(h, slice, DV_MPS_NAMESPACE_END, &q))
        end(h->node, q.change.mps.argument, &q);
}

/* ---- an MPS daemon, found or started ---- */

/* Of a slice whose claim was lost with an earlier run of divvyd, between two steps. */
static void end_strangers(struct dv_node *node, const struct dv_device *d)
{
    struct dv_worker_request q = {.op = DV_WORKER_MPS, .change.mps.op = DV_MPS_NAMESPACE_END};
    struct dv_mps_spec *spec = &q.change.mps.spec;
    char path[PATH_MAX];
    unsigned long long id;
    int len;
    dv_mps_name(node, d, spec);
    snprintf(path, sizeof path, "%s/mps/%s/pipe/" DV_MPS_SERVER, node->config.state_dir,
             spec->name);
    DIR *dir = spec->namespaces ? opendir(path) : NULL;
    if (!dir)
        return;
    for (struct dirent *e; (e = readdir(dir));) {
        if (sscanf(e->d_name, "s_%18llu%n", &id, &len) != 1 || e->d_name[len] ||
            dv_node_holding(node, id))
            continue;
        snprintf(q.change.mps.argument, sizeof q.change.mps.argument, "s-%llu", id);
        end(node, q.change.mps.argument, &q);
    }
    closedir(dir);
}

void dv_arm_device(struct dv_node *node, const char *device)
{
    const struct dv_device *d = dv_snapshot_device(node->snapshot, device);
    for (struct dv_holding *h = node->holdings; h; h = h->next)
        if (dv_node_slice(h) && !strcmp(dv_node_slice(h)->device, device))
            change_namespace(h, dv_node_slice(h));
    if (d)
        end_strangers(node, d);
}

/* ---- after a restart ---- */

/* What an earlier run of divvyd left: the sweep of the probe passes over cgroups in which the owner
 * of a lost claim was still ending. */
void dv_arm_restored(struct dv_node *node)
{
    struct dv_worker_request q = {.op = DV_WORKER_MEMORY_LIMIT};
    char path[PATH_MAX];
    unsigned long long id;
    int len;
    const struct dv_gpu *gpu = NULL;
    for (size_t i = 0; i < node->snapshot->n_gpus && !gpu; i++)
        if (node->snapshot->gpus[i].memory_limits)
            gpu = &node->snapshot->gpus[i];
    DIR *dir = gpu && !dv_memory_limit_path(node->config.state_dir, path, sizeof path, NULL)
                   ? opendir(path)
                   : NULL;
    if (!dir)
        return;
    memcpy(q.change.limit.device, gpu->uuid, sizeof q.change.limit.device);
    q.change.limit.bytes = UINT64_MAX;
    for (struct dirent *e; (e = readdir(dir));) {
        if (sscanf(e->d_name, "s-%18llu%n", &id, &len) != 1 || e->d_name[len] ||
            dv_node_holding(node, id))
            continue;
        snprintf(q.change.limit.cgroup, sizeof q.change.limit.cgroup, "s-%llu", id);
        end(node, q.change.limit.cgroup, &q);
    }
    closedir(dir);
}

/* ---- can it be done here? ---- */

static void fill_probe(const struct dv_gpu *gpu, uint64_t bytes, struct dv_worker_request *q)
{
    *q = (struct dv_worker_request){.op = DV_WORKER_MEMORY_LIMIT};
    memcpy(q->change.limit.device, gpu->uuid, sizeof q->change.limit.device);
    snprintf(q->change.limit.cgroup, sizeof q->change.limit.cgroup, "probe");
    q->change.limit.bytes = bytes;
}

static void on_probe(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct dv_node *node = arg;
    char value[DV_LOG_VALUE];
    const char *problem = problem_of(reply, error);
    node->limits_asked = false;
    node->limits_probed = reply || ++node->limits_tries == PROBES_MAX;
    node->limits_usable = !problem;
    node->inventory_ns = 0; /* the GPUs' facts are read anew with it */
    dv_log(DV_LOG_INFO, "memory_limits", "usable=%s detail=%s",
           node->limits_usable ? "true" : "false", dv_log_value(problem ? problem : "", value));
}

static void on_probe_ended(void *arg, const struct dv_worker_reply *reply, int error)
{
}

/* A real limit on an empty group: what cannot be done for it cannot be done for a slice. */
static bool ask_probe(struct dv_node *node, const struct dv_gpu *gpu)
{
    struct dv_worker_request q;
    fill_probe(gpu, gpu->memory_bytes, &q);
    q.change.limit.sweep = 1;
    if (dv_hardware_link_ask(node->link, &q, on_probe, node) < 0)
        return false;
    fill_probe(gpu, UINT64_MAX, &q);
    dv_hardware_link_ask(node->link, &q, on_probe_ended, NULL);
    return true;
}

bool dv_arm_probe(struct dv_node *node)
{
    if (node->limits_probed || node->limits_asked)
        return node->limits_probed;
    for (size_t i = 0; i < node->snapshot->n_gpus; i++) {
        const struct dv_gpu *g = &node->snapshot->gpus[i];
        const struct dv_facts_gpu *f = node->gpus[g->index].facts;
        if (!f || f->memory_limits != 1 || g->mig_enabled)
            continue;
        node->limits_asked = true; /* before an answer that may come at once */
        if (!ask_probe(node, g))
            node->limits_asked = false;
        return false;
    }
    return true; /* nothing to ask: no GPU here has them, for now */
}
