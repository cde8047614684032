/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MPS as the driver has it since Volta (NVIDIA's MPS documentation, releases 580 and 615): a server
 * per user, a context of its own for each client with an address space of its own, and one hardware
 * context for all that a server has on a device, so that their kernels overlap. A fatal fault of
 * one client takes all clients of that server on that device, and the server takes no new ones
 * until they are gone. Who may belong to a server is said by a control daemon (abi_sim_mps.h).
 */
#include "engine/engine.h"
#include "server/state.h"

#include <errno.h>
#include <string.h>

/* What contexts cost is not documented. A public log of a T4 (driver 535) shows a server of 26 MiB,
 * and clients whose limit has 23.1 MiB less to give than it says; other cards are taken alike. */
#define SERVER_CONTEXT_BYTES (UINT64_C(26) << 20)
#define CLIENT_CONTEXT_BYTES (UINT64_C(24) << 20)

static struct dv_simmps_member *member_of(const struct dv_simproc *p)
{
    return &((struct dv_simpid *)p->server)->mps;
}

static struct dv_simmps *group_of(struct dv_simserver *s, pid_t server)
{
    for (uint32_t i = 0; server > 0 && i < DV_SIM_MPS_SERVERS_MAX; i++) {
        if (s->mps[i].server && s->mps[i].server->pid == server)
            return &s->mps[i];
    }
    return NULL;
}

static struct dv_simmps *group_of_process(const struct dv_simproc *p)
{
    return p->mps == DV_SIM_MPS_NONE ? NULL : member_of(p)->group;
}

static bool is_client(const struct dv_simproc *p, const struct dv_simmps *group)
{
    return p && p->mps == DV_SIM_MPS_IS_CLIENT && member_of(p)->group == group;
}

static bool is_there(const struct dv_simctx *a, const struct dv_simctx *b)
{
    return a->used && a->gpu == b->gpu && a->gi_id == b->gi_id && a->ci_id == b->ci_id;
}

/* The place of a device among the group's; DV_SIM_NONE: not served. */
static uint32_t device_index(const struct dv_simmps *group, uint32_t gpu, uint32_t gi, uint32_t ci)
{
    uint32_t id = dv_simrequests_device_id(gpu, gi, ci);

    for (uint32_t i = 0; i < group->n_devices; i++) {
        if (group->device[i] == id)
            return i;
    }
    return DV_SIM_NONE;
}

/* ---- what others ask ---- */

uint64_t dv_simmps_group(const struct dv_simproc *p)
{
    const struct dv_simmps *group = group_of_process(p);
    return group ? group->number : 0;
}

uint32_t dv_simmps_sms(const struct dv_simproc *p, uint32_t sms)
{
    uint64_t threads = p->mps == DV_SIM_MPS_IS_CLIENT ? member_of(p)->threads : DV_SIM_MPS_WHOLE;

    if (p->mps == DV_SIM_MPS_IS_CLIENT && member_of(p)->partition)
        return DV_MIN(sms, member_of(p)->partition_sms);
    return (uint32_t)((sms * threads + DV_SIM_MPS_WHOLE - 1) / DV_SIM_MPS_WHOLE);
}

bool dv_simmps_together(const struct dv_simproc *a, const struct dv_simproc *b)
{
    const struct dv_simmps *group = group_of_process(a);
    return group && group == group_of_process(b);
}

uint32_t dv_simmps_devices(const struct dv_simproc *p, const uint32_t **ret)
{
    const struct dv_simmps *group = group_of_process(p);

    if (p->mps == DV_SIM_MPS_NONE)
        return DV_SIM_NONE;
    *ret = group ? group->device : NULL;
    if (!group || !member_of(p)->partition)
        return group ? group->n_devices : 0;
    *ret = &group->device[member_of(p)->partition_device];
    return 1;
}

uint64_t dv_simmps_context_bytes(const struct dv_simserver *s, const struct dv_simproc *p,
                                 uint32_t gpu)
{
    uint64_t own = s->node.gpu[gpu].context_bytes;

    switch (p->mps) {
    case DV_SIM_MPS_IS_SERVER:
        return DV_MIN(own, SERVER_CONTEXT_BYTES);
    case DV_SIM_MPS_IS_CLIENT:
        return DV_MIN(own, CLIENT_CONTEXT_BYTES);
    case DV_SIM_MPS_NONE:
        break;
    }
    return own;
}

/* ---- the driver's limit of clients ---- */

/* Client contexts of one server on a device: 48 since Volta, 16 before; on a MIG device 48 lowered
 * in proportion to its compute slices (MIG user guide, r580). */
static uint32_t clients_max(const struct dv_simserver *s, uint32_t gpu, uint32_t gi, uint32_t ci)
{
    const struct dv_simgpu *g = &s->node.gpu[gpu];
    const struct dv_simci *instance = NULL;
    uint32_t max = g->model->cc_major >= 7 ? 48 : 16;

    for (uint32_t i = 0; gi != DV_SIM_ANY && i < DV_MIG_INSTANCES_MAX; i++) {
        for (uint32_t k = 0; g->gi[i].used && g->gi[i].id == gi && k < DV_SIM_CIS_MAX; k++) {
            if (g->gi[i].ci[k].used && g->gi[i].ci[k].id == ci)
                instance = &g->gi[i].ci[k];
        }
    }
    if (s->spec.mps_clients)
        max = s->spec.mps_clients;
    if (!instance || !g->mig || !g->mig->slices)
        return max;
    return DV_MAX(max * instance->slices / g->mig->slices, 1);
}

static uint32_t count_contexts(const struct dv_simserver *s, const struct dv_simmps *group,
                               const struct dv_simctx *where)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        const struct dv_simproc *p = s->node.processes[i];

        for (uint32_t c = 0; is_client(p, group) && c < DV_SIM_CONTEXTS_MAX; c++)
            n += is_there(&p->ctx[c], where);
    }
    return n;
}

uint32_t dv_simmps_may_add(const struct dv_simserver *s, const struct dv_simproc *p, uint32_t gpu,
                           uint32_t gi, uint32_t ci)
{
    const struct dv_simmps_member *m = member_of(p);
    struct dv_simctx where = {.gpu = gpu, .gi_id = gi, .ci_id = ci};
    uint32_t device;

    if (p->mps == DV_SIM_MPS_NONE)
        return DV_SIMCU_OK;
    if (m->error)
        return m->error;
    device = m->group ? device_index(m->group, gpu, gi, ci) : DV_SIM_NONE;
    if (device == DV_SIM_NONE || (m->partition && device != m->partition_device))
        return DV_SIMCU_INVALID_DEVICE;
    if (p->mps == DV_SIM_MPS_IS_CLIENT &&
        count_contexts(s, m->group, &where) >= clients_max(s, gpu, gi, ci))
        return DV_SIMCU_MPS_MAX_CLIENTS_REACHED;
    return DV_SIMCU_OK;
}

/* ---- static partitions ---- */

/* The contexts of a partition's clients, the n-th one as *ret; returns how many there are. */
static uint32_t partition_contexts(struct dv_simserver *s, const struct dv_simmps_member *of,
                                   uint32_t n, const struct dv_simctx **ret)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        const struct dv_simproc *p = s->node.processes[i];

        if (!is_client(p, of->group) || member_of(p)->partition != of->partition)
            continue;
        for (uint32_t c = 0; c < DV_SIM_CONTEXTS_MAX; c++) {
            if (p->ctx[c].used && !p->ctx[c].error && found++ == n)
                *ret = &p->ctx[c];
        }
    }
    return found;
}

/* The engine knows limits of clients and not of groups of them: a partition's SMs are dealt out
 * evenly, also to clients that have nothing to do. */
void dv_simmps_changed(struct dv_simserver *s, const struct dv_simproc *p)
{
    const struct dv_simmps_member *m = member_of(p);
    const struct dv_simctx *c = NULL;
    uint32_t n;

    if (p->mps != DV_SIM_MPS_IS_CLIENT || !m->partition || !m->group)
        return;
    n = partition_contexts(s, m, DV_SIM_NONE, &c);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t share = m->partition_sms / n + (i < m->partition_sms % n);

        partition_contexts(s, m, i, &c);
        if (c)
            dv_engine_context_limit(s->node.gpu[c->gpu].engine, s->node.now_ns, c->engine_context,
                                    DV_MAX(share, 1));
    }
}

/* ---- memory ---- */

bool dv_simmps_take(struct dv_simproc *p, const struct dv_simctx *c, uint64_t bytes)
{
    struct dv_simmps_member *m = member_of(p);
    uint32_t device;
    uint64_t limit;

    if (p->mps != DV_SIM_MPS_IS_CLIENT)
        return true;
    device = m->group ? device_index(m->group, c->gpu, c->gi_id, c->ci_id) : DV_SIM_NONE;
    limit = device == DV_SIM_NONE ? 0 : m->memory_limit[device];
    if (limit && (m->limited_bytes[c->gpu] >= limit || bytes > limit - m->limited_bytes[c->gpu]))
        return bytes == 0;
    m->limited_bytes[c->gpu] += bytes;
    return true;
}

void dv_simmps_give(struct dv_simproc *p, const struct dv_simctx *c, uint64_t bytes)
{
    if (p->mps == DV_SIM_MPS_IS_CLIENT)
        member_of(p)->limited_bytes[c->gpu] -= bytes;
}

uint64_t dv_simmps_free_bytes(const struct dv_simproc *p, uint32_t gpu, uint32_t gi, uint32_t ci,
                              uint64_t free_bytes)
{
    const struct dv_simmps_member *m = member_of(p);
    uint32_t device = m->group && p->mps == DV_SIM_MPS_IS_CLIENT
                          ? device_index(m->group, gpu, gi, ci)
                          : DV_SIM_NONE;
    uint64_t limit = device == DV_SIM_NONE ? 0 : m->memory_limit[device];

    if (!limit)
        return free_bytes;
    return DV_MIN(free_bytes, limit - DV_MIN(limit, m->limited_bytes[gpu]));
}

/* ---- faults and ends ---- */

/* Errors that end one client and say nothing of the hardware. */
static bool is_fatal(uint32_t error)
{
    return error != DV_SIMCU_MPS_CLIENT_TERMINATED && error != DV_SIMCU_MPS_RPC_FAILURE;
}

void dv_simmps_faulted(struct dv_simserver *s, struct dv_simproc *p, uint32_t ctx, uint32_t error)
{
    struct dv_simmps_member *m = member_of(p);

    if (p->mps != DV_SIM_MPS_IS_CLIENT)
        return;
    m->error = error;
    m->fatal = is_fatal(error);
    for (uint32_t i = 0; m->fatal && m->group && i < DV_SIM_PROCESSES_MAX; i++) {
        struct dv_simproc *other = s->node.processes[i];

        for (uint32_t c = 0; is_client(other, m->group) && c < DV_SIM_CONTEXTS_MAX; c++) {
            if (is_there(&other->ctx[c], &p->ctx[ctx]))
                dv_simprocesses_ctx_fault(s, other, c, error);
        }
    }
}

static void end_client(struct dv_simserver *s, struct dv_simproc *p, uint32_t error)
{
    struct dv_simmps_member *m = member_of(p);

    if (!m->error)
        m->error = error;
    for (uint32_t c = 0; c < DV_SIM_CONTEXTS_MAX; c++) {
        if (p->ctx[c].used)
            dv_simprocesses_ctx_fault(s, p, c, error);
    }
}

void dv_simmps_process_gone(struct dv_simserver *s, struct dv_simproc *p)
{
    struct dv_simmps *group = p->mps == DV_SIM_MPS_IS_SERVER ? member_of(p)->group : NULL;

    for (uint32_t i = 0; group && i < DV_SIM_PROCESSES_MAX; i++) {
        struct dv_simproc *client = s->node.processes[i];

        if (!is_client(client, group))
            continue;
        member_of(client)->group = NULL;
        end_client(s, client, DV_SIMCU_MPS_RPC_FAILURE);
    }
    if (group)
        *group = (struct dv_simmps){0};
}

/* ---- requests of control daemons ---- */

/* Its own processes, or all of them for root. */
static bool may(const struct dv_simclientconn *c, const struct dv_simproc *p)
{
    return c->base.uid == 0 || c->base.uid == p->uid;
}

static bool is_new(const struct dv_simserver *s, const struct dv_simproc *p)
{
    for (uint32_t i = 0; i < s->node.n_gpus; i++) {
        if (p->gpu[i].contexts)
            return false;
    }
    return p->mps == DV_SIM_MPS_NONE;
}

static int32_t add_server(struct dv_simserver *s, const struct dv_simclientconn *c,
                          const struct dv_sim_mps_server *q)
{
    struct dv_simproc *p = dv_simnode_process(&s->node, (pid_t)q->pid);
    struct dv_simmps *group = NULL;

    if (!p || (pid_t)q->pid <= 0)
        return -ESRCH;
    if (!may(c, p))
        return -EPERM;
    if (!is_new(s, p))
        return -EBUSY;
    if (!q->n_devices || q->n_devices > DV_SIM_MPS_DEVICES_MAX)
        return -EINVAL;
    for (uint32_t i = 0; i < DV_SIM_MPS_SERVERS_MAX && !group; i++)
        group = s->mps[i].server ? NULL : &s->mps[i];
    if (!group)
        return -ENOSPC;
    *group = (struct dv_simmps){.server = p,
                                .number = ++s->mps_number,
                                .multiuser = q->multiuser != 0,
                                .n_devices = q->n_devices};
    memcpy(group->device, q->device, sizeof(group->device));
    p->mps = DV_SIM_MPS_IS_SERVER;
    member_of(p)->group = group;
    return 0;
}

static enum dv_sim_mps_state state_of(const struct dv_simserver *s, const struct dv_simmps *group)
{
    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        const struct dv_simproc *p = s->node.processes[i];

        if (is_client(p, group) && member_of(p)->fatal)
            return DV_SIM_MPS_FAULT;
    }
    return DV_SIM_MPS_ACTIVE;
}

static int32_t admit(struct dv_simserver *s, const struct dv_simclientconn *c,
                     const struct dv_sim_mps_admit *q)
{
    struct dv_simmps *group = group_of(s, (pid_t)q->server);
    struct dv_simproc *p = dv_simnode_process(&s->node, (pid_t)q->client);
    struct dv_simmps_member *m;

    if (!group)
        return -ENOENT;
    if (!p || (pid_t)q->client <= 0)
        return -ESRCH;
    if (!may(c, group->server) || !may(c, p) || (!group->multiuser && p->uid != group->server->uid))
        return -EPERM;
    if (is_client(p, group))
        return 0; /* asked by two libraries of one process; the first has settled it */
    if (!is_new(s, p))
        return -EBUSY;
    if (!q->threads || q->threads > DV_SIM_MPS_WHOLE ||
        (q->partition && (!q->partition_sms || q->partition_device >= group->n_devices)))
        return -EINVAL;
    if (state_of(s, group) == DV_SIM_MPS_FAULT)
        return DV_SIMCU_MPS_SERVER_NOT_READY;
    m = member_of(p);
    *m = (struct dv_simmps_member){.group = group,
                                   .threads = q->threads,
                                   .priority = q->priority,
                                   .partition = q->partition,
                                   .partition_device = q->partition_device,
                                   .partition_sms = q->partition_sms};
    memcpy(m->memory_limit, q->memory_bytes, sizeof(m->memory_limit));
    p->mps = DV_SIM_MPS_IS_CLIENT;
    return 0;
}

static void describe_client(const struct dv_simmps *group, const struct dv_simproc *p,
                            struct dv_sim_mps_status *out)
{
    uint32_t at = out->clients++;

    out->client[at].pid = (uint32_t)p->pid;
    out->client[at].error = member_of(p)->error;
    for (uint32_t i = 0; i < DV_SIM_CONTEXTS_MAX; i++) {
        uint32_t device;

        if (!p->ctx[i].used)
            continue;
        device = device_index(group, p->ctx[i].gpu, p->ctx[i].gi_id, p->ctx[i].ci_id);
        out->client[at].contexts++;
        out->client[at].devices |= device == DV_SIM_NONE ? 0 : 1u << device;
    }
}

static int32_t status(struct dv_simserver *s, uint32_t server)
{
    struct dv_simmps *group = group_of(s, (pid_t)server);
    struct dv_sim_mps_status *out = (void *)s->reply.data;

    if (!group)
        return -ESRCH;
    *out = (struct dv_sim_mps_status){.state = state_of(s, group)};
    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        const struct dv_simproc *p = s->node.processes[i];

        if (is_client(p, group) && out->clients < DV_SIM_MPS_CLIENTS_MAX)
            describe_client(group, p, out);
    }
    s->reply.size = sizeof(*out);
    return 0;
}

static int32_t terminate(struct dv_simserver *s, const struct dv_simclientconn *c,
                         const struct dv_sim_mps_terminate *q)
{
    struct dv_simmps *group = group_of(s, (pid_t)q->server);
    struct dv_simproc *p = dv_simnode_process(&s->node, (pid_t)q->client);

    if (!group || !is_client(p, group))
        return -ESRCH;
    if (!may(c, p))
        return -EPERM;
    end_client(s, p, DV_SIMCU_MPS_CLIENT_TERMINATED);
    return 0;
}

int dv_simmps_handle(struct dv_simserver *s, const struct dv_simclientconn *c, uint16_t op,
                     const void *data, uint32_t size)
{
    static const uint32_t sizes[] = {
        [DV_SIM_MPS_DEVICES - DV_SIM_OP_MPS] = 0,
        [DV_SIM_MPS_SERVER - DV_SIM_OP_MPS] = sizeof(struct dv_sim_mps_server),
        [DV_SIM_MPS_ADMIT - DV_SIM_OP_MPS] = sizeof(struct dv_sim_mps_admit),
        [DV_SIM_MPS_STATUS - DV_SIM_OP_MPS] = 4,
        [DV_SIM_MPS_TERMINATE - DV_SIM_OP_MPS] = sizeof(struct dv_sim_mps_terminate),
    };
    uint32_t at = (uint32_t)op - DV_SIM_OP_MPS;

    if (at >= DV_ARRAY_SIZE(sizes) || size != sizes[at])
        return -EPROTO;
    switch ((enum dv_sim_mps_op)op) {
    case DV_SIM_MPS_DEVICES:
        dv_simrequests_devices(s, &c->base.view, NULL);
        break;
    case DV_SIM_MPS_SERVER:
        s->reply.status = add_server(s, c, data);
        break;
    case DV_SIM_MPS_ADMIT:
        s->reply.status = admit(s, c, data);
        break;
    case DV_SIM_MPS_STATUS:
        s->reply.status = status(s, *(const uint32_t *)data);
        break;
    case DV_SIM_MPS_TERMINATE:
        s->reply.status = terminate(s, c, data);
        break;
    }
    return 0;
}
