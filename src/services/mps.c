/* SPDX-License-Identifier: Apache-2.0 */
#include "mps.h"

#include "actuate/mps.h"
#include "arm.h"
#include "claims.h"
#include "inventory.h"
#include "layouts.h"
#include "policy/queue.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATUS_NS DV_NS_PER_S
#define BACKOFF_MAX_S 60u

int dv_mps_new(struct dv_mps **ret)
{
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : -ENOMEM;
}

void dv_mps_free(struct dv_mps *mps)
{
    free(mps);
}

static struct dv_mps_daemon *find(const struct dv_node *node, const char *device)
{
    for (uint32_t i = 0; i < node->mps->n; i++)
        if (!strcmp(node->mps->daemons[i].spec.device, device))
            return &node->mps->daemons[i];
    return NULL;
}

const struct dv_mps_daemon *dv_mps_find(const struct dv_node *node, const char *device)
{
    return find(node, device);
}

bool dv_mps_is_up(const struct dv_node *node, const char *device)
{
    const struct dv_mps_daemon *m = find(node, device);
    return m && m->state == DV_MPS_UP;
}

bool dv_mps_is_ours(const struct dv_node *node, const struct dv_proc_id *id)
{
    for (uint32_t i = 0; i < node->mps->n; i++) {
        const struct dv_mps_status *s = &node->mps->daemons[i].status;
        struct dv_proc_id control;
        if (s->control_pid == id->pid || s->server_pid == id->pid)
            return true;
        if (s->control_pid > 0 && dv_proc_identify(s->control_pid, &control) == 0 &&
            dv_proc_is_within(id->pid, &control, NULL))
            return true;
    }
    return false;
}

/* ---- what is wanted ---- */

/* By the layout, by who is there, or by a claim that waits for nothing but the daemon. */
static bool is_wanted(const struct dv_node *node, const struct dv_device *d)
{
    struct dv_held held = dv_snapshot_held(node->snapshot, d->uuid);
    return d->layout == DV_MODE_MPS || (held.first && held.first->mode == DV_MODE_MPS) ||
           node->mps->awaited[d - node->snapshot->devices];
}

/* Equal parts where the layout says how many; else no default: the tenants' own limits count. */
static void set_limits(const struct dv_node *node, const struct dv_device *d, bool namespaces,
                       struct dv_mps_spec *spec)
{
    spec->memory_bytes = d->replicas ? d->memory_bytes / d->replicas / DV_MIB * DV_MIB : 0;
    spec->threads_percent = d->replicas ? DV_MAX(100 / d->replicas, 1) : 0;
    spec->namespaces = namespaces;
    /* Only a layout changes the compute mode of a card; MIG devices have none. */
    spec->alone = d->layout == DV_MODE_MPS && !d->mig && node->config.privileged;
}

static void name_of(const struct dv_device *d, char ret[DV_MPS_NAME_SIZE])
{
    if (d->mig)
        snprintf(ret, DV_MPS_NAME_SIZE, "g%ui%uc%u", d->gpu, d->gi, d->ci);
    else
        snprintf(ret, DV_MPS_NAME_SIZE, "g%u", d->gpu);
}

void dv_mps_name(const struct dv_node *node, const struct dv_device *d, struct dv_mps_spec *ret)
{
    const struct dv_gpu *gpu = dv_snapshot_gpu(node->snapshot, d->gpu);
    *ret = (struct dv_mps_spec){.namespaces = gpu && gpu->mps_namespaces};
    memcpy(ret->device, d->uuid, sizeof ret->device);
    name_of(d, ret->name);
}

static struct dv_mps_daemon *make(struct dv_node *node, const struct dv_device *d)
{
    struct dv_mps *mps = node->mps;
    if (mps->n == DV_MPS_DAEMONS_MAX)
        return NULL;
    struct dv_mps_daemon *m = &mps->daemons[mps->n++];
    *m = (struct dv_mps_daemon){.state = DV_MPS_DOWN};
    memcpy(m->spec.device, d->uuid, sizeof m->spec.device);
    name_of(d, m->spec.name);
    return m;
}

/* ---- asking ---- */

struct asked {
    struct dv_node *node;
    char device[DV_UUID_SIZE];
    enum dv_mps_op op;
};

static void on_reply(void *arg, const struct dv_worker_reply *reply, int error);

static void ask(struct dv_node *node, struct dv_mps_daemon *m, enum dv_mps_op op)
{
    struct dv_worker_request q = {.op = DV_WORKER_MPS, .change.mps = {.op = op, .spec = m->spec}};
    struct asked *asked = malloc(sizeof *asked);
    if (!asked)
        return;
    asked->node = node;
    asked->op = op;
    memcpy(asked->device, m->spec.device, sizeof asked->device);
    m->asked = dv_hardware_link_ask(node->mps_link, &q, on_reply, asked) == 0;
    if (!m->asked)
        free(asked);
}

/* Tells the snapshot whether the device takes claims. */
static void tell(struct dv_node *node, const struct dv_mps_daemon *m)
{
    const struct dv_device *d = dv_snapshot_device(node->snapshot, m->spec.device);
    if (!d || d->mps_up == (m->state == DV_MPS_UP))
        return;
    struct dv_event e = {.kind = DV_EVENT_DEVICE_SEEN, .device = *d};
    dv_reconcile_assign(node, &e.device);
    dv_node_apply(node, &e);
    dv_claims_pump(node);
}

/* Those with a process there now: they go down together. */
static void name_victims(const struct dv_node *node, const struct dv_mps_daemon *m,
                         struct dv_str *text)
{
    const char *between = "";
    for (const struct dv_holding *h = node->holdings; h; h = h->next) {
        bool any = false;
        for (const struct dv_member *p = node->members; p && !any; p = p->next)
            any = p->holding == h && p->ready;
        if (!any || strcmp(h->device_uuid, m->spec.device) != 0)
            continue;
        dv_str_addf(text, "%ss-%llu of %s", between, (unsigned long long)h->claim.id,
                    h->claim.tenant);
        between = ", ";
    }
    if (!*between)
        dv_str_add(text, "nobody");
}

static void incident(struct dv_node *node, struct dv_mps_daemon *m, const char *what)
{
    dv_cleanup(dv_str_done) struct dv_str victims = {0};
    char value[DV_LOG_VALUE];
    name_victims(node, m, &victims);
    m->fault_ns = dv_clock_now();
    snprintf(m->fault, sizeof m->fault, "%s; it took down %.200s", what, dv_str_get(&victims));
    dv_log(DV_LOG_ERROR, "mps.fault", "device=%s detail=%s", m->spec.device,
           dv_log_value(m->fault, value));
}

static void failed(struct dv_node *node, struct dv_mps_daemon *m, const char *why)
{
    char value[DV_LOG_VALUE];
    if (!m->problem[0] || strcmp(m->problem, why) != 0)
        dv_log(DV_LOG_ERROR, "mps.failed", "device=%s detail=%s", m->spec.device,
               dv_log_value(why, value));
    snprintf(m->problem, sizeof m->problem, "%s", why);
    m->state = DV_MPS_DOWN;
    m->failures++;
    m->next_ns = dv_clock_now() +
                 DV_MIN(UINT64_C(1) << DV_MIN(m->failures, 6u), BACKOFF_MAX_S) * DV_NS_PER_S;
    tell(node, m);
}

static void looked_at(struct dv_node *node, struct dv_mps_daemon *m, const struct dv_mps_status *s)
{
    bool fault = s->server_state == DV_MPS_SERVER_FAULT;
    if (!s->up) {
        incident(node, m, "the MPS control daemon has ended");
        m->restarts++;
        m->status = *s;
        m->state = DV_MPS_DOWN;
        m->next_ns = 0;
        tell(node, m);
        return;
    }
    if (s->server_state == DV_MPS_NO_SERVER && m->status.server_pid > 0 && m->status.n_clients)
        incident(node, m, "the MPS server has ended");
    if (fault && !m->faulty)
        incident(node, m, "a client of the MPS server had a fatal fault");
    m->faulty = fault;
    m->status = *s;
}

static void on_reply(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct asked *asked = arg;
    struct dv_node *node = asked->node;
    struct dv_mps_daemon *m = find(node, asked->device);
    enum dv_mps_op op = asked->op;
    free(asked);
    if (!m)
        return;
    m->asked = false;
    if (!reply || reply->status) {
        const char *why = reply                 ? reply->message
                          : error == -ETIMEDOUT ? "the MPS control daemon does not answer in time"
                                                : "the process that talks to it died";
        if (op == DV_MPS_STOP)
            m->state = DV_MPS_UP; /* tried again */
        if (op != DV_MPS_STATUS || reply)
            failed(node, m, why);
        return;
    }
    if (op == DV_MPS_START) {
        m->status = reply->u.mps;
        ask(node, m, DV_MPS_PROBE);
    } else if (op == DV_MPS_PROBE) {
        m->state = DV_MPS_UP;
        m->failures = 0;
        m->problem[0] = 0;
        m->next_ns = dv_clock_now() + STATUS_NS;
        dv_log(DV_LOG_INFO, "mps.up", "device=%s pid=%d", m->spec.device,
               (int)m->status.control_pid);
        dv_arm_device(node, m->spec.device);
        tell(node, m);
    } else if (op == DV_MPS_STATUS) {
        looked_at(node, m, &reply->u.mps);
    } else if (op == DV_MPS_STOP) {
        m->state = DV_MPS_DOWN;
        m->status = (struct dv_mps_status){0};
        dv_log(DV_LOG_INFO, "mps.down", "device=%s", m->spec.device);
        tell(node, m);
    }
}

/* ---- time ---- */

/* Daemons that were left by an earlier divvyd: their folders are there. */
static void look_for_old(struct dv_node *node)
{
    char path[512];
    for (size_t i = 0; i < node->snapshot->n_devices; i++) {
        const struct dv_device *d = &node->snapshot->devices[i];
        char name[DV_MPS_NAME_SIZE];
        name_of(d, name);
        snprintf(path, sizeof path, "%s/mps/%s/pipe", node->config.state_dir, name);
        if (access(path, F_OK) < 0 || find(node, d->uuid))
            continue;
        struct dv_mps_daemon *m = make(node, d);
        if (!m || is_wanted(node, d))
            continue;         /* it is started, which finds it */
        m->state = DV_MPS_UP; /* it is stopped */
        tell(node, m);
    }
    node->mps->looked = true;
}

static void look_after(struct dv_node *node, struct dv_mps_daemon *m, uint64_t now)
{
    const struct dv_device *d = dv_snapshot_device(node->snapshot, m->spec.device);
    if (m->held_down && (!d || dv_layouts_gpu_is_still(node, d->gpu)))
        m->held_down = false; /* the change is over */
    bool want = d && !m->held_down && is_wanted(node, d);
    if (!want && m->state == DV_MPS_DOWN) {
        m->failures = 0; /* whoever wants it next starts afresh */
        m->problem[0] = 0;
        m->next_ns = 0;
    }
    const struct dv_gpu *gpu = d ? dv_snapshot_gpu(node->snapshot, d->gpu) : NULL;
    bool namespaces = gpu && gpu->mps_namespaces;
    if (m->asked)
        return;
    if (!want && m->state == DV_MPS_UP) {
        m->state = DV_MPS_STOPPING;
        tell(node, m);
        ask(node, m, DV_MPS_STOP);
    } else if (want && m->state == DV_MPS_DOWN && now >= m->next_ns) {
        set_limits(node, d, namespaces, &m->spec);
        m->state = DV_MPS_STARTING;
        ask(node, m, DV_MPS_START);
    } else if (m->state == DV_MPS_UP && now >= m->next_ns) {
        struct dv_mps_spec spec = m->spec;
        m->next_ns = now + STATUS_NS;
        set_limits(node, d, namespaces, &spec);
        bool same = spec.memory_bytes == m->spec.memory_bytes &&
                    spec.threads_percent == m->spec.threads_percent && spec.alone == m->spec.alone;
        m->spec = spec;
        ask(node, m, same ? DV_MPS_STATUS : DV_MPS_LIMIT);
    } else if (m->state == DV_MPS_STARTING || m->state == DV_MPS_STOPPING) {
        m->state = DV_MPS_DOWN; /* the question could not be asked */
    }
}

void dv_mps_tick(struct dv_node *node, uint64_t now)
{
    struct dv_mps *mps = node->mps;
    if (!node->ready || node->driver_status)
        return;
    memset(mps->awaited, 0, sizeof mps->awaited);
    if (node->snapshot->n_claims)
        dv_queue_prepare(node->snapshot, mps->awaited);
    if (!mps->looked)
        look_for_old(node);
    for (size_t i = 0; i < node->snapshot->n_devices; i++)
        if (!find(node, node->snapshot->devices[i].uuid) &&
            is_wanted(node, &node->snapshot->devices[i]))
            make(node, &node->snapshot->devices[i]);
    for (uint32_t i = mps->n; i-- > 0;) {
        struct dv_mps_daemon *m = &mps->daemons[i];
        look_after(node, m, now);
        if (m->state == DV_MPS_DOWN && !m->asked &&
            !dv_snapshot_device(node->snapshot, m->spec.device))
            *m = mps->daemons[--mps->n];
    }
}

bool dv_mps_stop(struct dv_node *node, const char *device)
{
    struct dv_mps_daemon *m = find(node, device);
    if (!m)
        return true;
    m->held_down = true;
    return m->state == DV_MPS_DOWN && !m->asked;
}

void dv_mps_allow(struct dv_node *node, const char *device)
{
    struct dv_mps_daemon *m = find(node, device);
    if (m)
        m->held_down = false;
}

/* ---- clients ---- */

void dv_mps_environment(const struct dv_node *node, const struct dv_slice *slice,
                        struct dv_output_node *env)
{
    const struct dv_mps_daemon *m = find(node, slice->device);
    const struct dv_device *d = dv_snapshot_device(node->snapshot, slice->device);
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    if (!m || !d)
        return;
    if (dv_arm_has_namespace(node, slice)) { /* its limits are the folder's: nothing to set */
        char name[32], path[128];
        snprintf(name, sizeof name, "s-%llu", (unsigned long long)slice->id);
        if (dv_mps_namespace_pipe(node->config.state_dir, m->spec.name, name, path, sizeof path,
                                  NULL) == 0)
            dv_output_string(env, "CUDA_MPS_PIPE_DIRECTORY", path);
        return;
    }
    dv_str_addf(&text, "%s/mps/%s/pipe", node->config.state_dir, m->spec.name);
    dv_output_string(env, "CUDA_MPS_PIPE_DIRECTORY", dv_str_get(&text));
    dv_str_clear(&text);
    /* Never more than the share: the percentage is a whole number. */
    dv_str_addf(&text, "%u", DV_MAX(slice->compute * 100 / d->compute, 1));
    dv_output_string(env, "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", dv_str_get(&text));
    dv_str_clear(&text);
    dv_str_addf(&text, "0=%lluM", (unsigned long long)(slice->memory_bytes / DV_MIB));
    dv_output_string(env, "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT", dv_str_get(&text));
}
