/* SPDX-License-Identifier: Apache-2.0 */
/* CUDA and control requests: sizes are checked here, meaning where the work is done. */
#include "engine/memory.h"
#include "server/accounting.h"
#include "server/cgroups.h"
#include "server/state.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The number of a device in DEVICES' list and in requests: GPUs count from 0, a MIG device's number
 * stays the same when others come and go. */
#define MIG_BIT 0x80000000u

uint32_t dv_simrequests_device_id(uint32_t gpu, uint32_t gi, uint32_t ci)
{
    return gi == DV_SIM_ANY ? gpu : MIG_BIT | gpu << 16 | gi << 8 | ci;
}

static void device_place(uint32_t id, uint32_t *ret_gpu, uint32_t *ret_gi, uint32_t *ret_ci)
{
    *ret_gpu = id & MIG_BIT ? id >> 16 & 0x7fff : id;
    *ret_gi = id & MIG_BIT ? id >> 8 & 0xff : DV_SIM_ANY;
    *ret_ci = id & MIG_BIT ? id & 0xff : DV_SIM_ANY;
}

/* ---- devices ---- */

static void describe_gpu(const struct dv_simgpu *g, struct dv_sim_device *ret)
{
    const struct dv_gpu_model *m = g->model;

    *ret = (struct dv_sim_device){
        .id = g->index,
        .gpu = g->index,
        .gi_id = DV_SIM_ANY,
        .ci_id = DV_SIM_ANY,
        .mig_enabled = g->mig_current,
        .cc_major = m->cc_major,
        .cc_minor = m->cc_minor,
        .sms = m->sm,
        .gpu_sms = m->sm,
        .threads_per_sm = m->threads_per_sm,
        .pci_domain = g->pci_domain,
        .pci_bus = g->pci_bus,
        .pci_device = g->pci_device,
        .clock_khz = m->clock_sm_mhz * 1000,
        .memory_clock_khz = m->clock_memory_mhz * 1000,
        .bus_width_bits = m->memory_bus_bits,
        .l2_bytes = m->l2_bytes,
        .compute_mode = g->compute_mode,
        .memory_bytes = g->memory.total_bytes - g->memory.reserved_bytes,
        .context_bytes = dv_memory_round(g->context_bytes),
    };
    memcpy(ret->uuid, g->uuid, sizeof(ret->uuid));
    snprintf(ret->name, sizeof(ret->name), "%s", m->product);
}

static void describe_mig(const struct dv_simgpu *g, const struct dv_simgi *gi,
                         const struct dv_simci *ci, struct dv_sim_device *ret)
{
    describe_gpu(g, ret);
    ret->id = dv_simrequests_device_id(g->index, gi->id, ci->id);
    ret->mig = 1;
    ret->mig_enabled = 0;
    ret->gi_id = gi->id;
    ret->ci_id = ci->id;
    ret->sms = ci->sm;
    ret->memory_bytes = gi->memory.total_bytes - gi->memory.reserved_bytes;
    memcpy(ret->uuid, ci->uuid, sizeof(ret->uuid));
    if (g->mig && gi->profile < g->mig->n_profiles)
        snprintf(ret->name, sizeof(ret->name), "%.55s MIG %s", g->model->product,
                 g->mig->profiles[gi->profile].name);
}

#define GI_IDS 64u /* ids of GPU instances are below this */

/* All of the view: the GPUs first, then MIG devices in NVML's order. */
static size_t all_devices(struct dv_simserver *s, const struct dv_simview *view,
                          struct dv_sim_device *out, size_t max)
{
    size_t n = 0;

    for (uint32_t i = 0; i < s->node.n_gpus && n < max; i++)
        if (dv_simview_has_gpu(view, i))
            describe_gpu(&s->node.gpu[i], &out[n++]);
    for (uint32_t i = 0; i < s->node.n_gpus; i++) {
        for (uint32_t id = 0; id < GI_IDS; id++) {
            const struct dv_simgi *gi = dv_simnode_gi(&s->node, i, id);

            for (uint32_t c = 0; gi && c < DV_SIM_CIS_MAX; c++) {
                if (gi->ci[c].used && n < max && dv_simview_has(view, i, id, gi->ci[c].id))
                    describe_mig(&s->node.gpu[i], gi, &gi->ci[c], &out[n++]);
            }
        }
    }
    return n;
}

/* A process of MPS sees what its server serves, in the server's order, and with as many SMs as it
 * may use. */
static size_t served_devices(const struct dv_simserver *s, const struct dv_simproc *p,
                             const uint32_t *ids, uint32_t n_ids, struct dv_sim_device *all,
                             size_t n)
{
    size_t found = 0;

    for (uint32_t i = 0; i < n_ids; i++) {
        for (size_t k = found; k < n; k++) {
            struct dv_sim_device d = all[k];

            if (d.id != ids[i])
                continue;
            all[k] = all[found];
            all[found] = d;
            all[found++].sms = dv_simmps_sms(p, d.sms);
            break;
        }
    }
    return found;
}

void dv_simrequests_devices(struct dv_simserver *s, const struct dv_simview *view,
                            const struct dv_simproc *p)
{
    struct dv_sim_device *out = (void *)s->reply.data;
    size_t n = all_devices(s, view, out, DV_SIM_PAYLOAD_MAX / sizeof(*out));
    const uint32_t *ids;
    uint32_t n_ids = p ? dv_simmps_devices(p, &ids) : DV_SIM_NONE;

    if (n_ids != DV_SIM_NONE)
        n = served_devices(s, p, ids, n_ids, out, n);
    s->reply.size = (uint32_t)(n * sizeof(*out));
}

/* ---- contexts, streams ---- */

/* A context of this session by the number that its process knows: 1 + its index. */
static struct dv_simctx *find_ctx(struct dv_simsession *ss, uint32_t ctx, uint32_t *ret_index)
{
    struct dv_simctx *c;

    if (!ctx || ctx > DV_SIM_CONTEXTS_MAX)
        return NULL;
    c = &ss->process->ctx[ctx - 1];
    *ret_index = ctx - 1;
    return c->used && c->session == ss ? c : NULL;
}

static uint32_t ctx_create(struct dv_simserver *s, struct dv_simsession *ss,
                           const struct dv_sim_ctx_create *q)
{
    struct dv_sim_ctx_created *out = (void *)s->reply.data;
    uint32_t gpu, gi, ci, index, r;

    device_place(q->device, &gpu, &gi, &ci);
    if (!dv_simview_has(&ss->client->base.view, gpu, gi, ci))
        return DV_SIMCU_INVALID_DEVICE;
    r = dv_simprocesses_ctx_add(s, ss, gpu, gi, ci, &index);
    if (r)
        return r;
    out->ctx = index + 1;
    out->default_stream = ss->process->ctx[index].stream;
    s->reply.size = sizeof(*out);
    return 0;
}

static uint32_t ctx_destroy(struct dv_simserver *s, struct dv_simsession *ss, const uint32_t *q)
{
    uint32_t index;

    if (!find_ctx(ss, *q, &index))
        return DV_SIMCU_INVALID_CONTEXT;
    dv_simprocesses_ctx_remove(s, ss->process, index);
    return 0;
}

static uint32_t stream_create(struct dv_simserver *s, struct dv_simsession *ss,
                              const struct dv_sim_stream_create *q)
{
    uint32_t index, stream, r;
    const struct dv_simctx *c = find_ctx(ss, q->ctx, &index);

    if (!c)
        return DV_SIMCU_INVALID_CONTEXT;
    if (c->error)
        return c->error;
    r = dv_simsessions_stream_add(s, ss, index, &stream);
    if (r)
        return r;
    memcpy(s->reply.data, &stream, sizeof(stream));
    s->reply.size = sizeof(stream);
    return 0;
}

static uint32_t fault(struct dv_simserver *s, struct dv_simsession *ss,
                      const struct dv_sim_fault *q)
{
    uint32_t index;
    const struct dv_simctx *c = find_ctx(ss, q->ctx, &index);

    if (!c || !q->error)
        return c ? DV_SIMCU_INVALID_VALUE : DV_SIMCU_INVALID_CONTEXT;
    if (q->xid && !c->error)
        dv_simnode_xid(&s->node, c->gpu, c->gi_id, c->ci_id, q->xid);
    dv_simprocesses_ctx_fault(s, ss->process, index, q->error);
    return 0;
}

/* ---- memory ---- */

static uint32_t mem_alloc(struct dv_simserver *s, struct dv_simsession *ss,
                          const struct dv_sim_mem_alloc *q)
{
    struct dv_sim_mem_alloc at = *q;
    const struct dv_simctx *c = find_ctx(ss, q->ctx, &at.ctx);
    uint32_t r;

    if (!c)
        return DV_SIMCU_INVALID_CONTEXT;
    if (c->error)
        return c->error;
    r = dv_simmemory_alloc(s, ss, &at, (void *)s->reply.data);
    s->reply.size = r ? 0 : sizeof(struct dv_sim_mem_allocated);
    return r;
}

static uint32_t mem_info(struct dv_simserver *s, const struct dv_simsession *ss, const uint32_t *q)
{
    const struct dv_simproc *p = ss->process;
    struct dv_sim_mem_info *out = (void *)s->reply.data;
    uint32_t gpu, gi, ci;
    struct dv_simmem m;

    device_place(*q, &gpu, &gi, &ci);
    if (!dv_simview_has(&ss->client->base.view, gpu, gi, ci) ||
        !dv_simcards_place(s, gpu, gi, ci) || dv_simnode_memory(&s->node, gpu, gi, &m) < 0)
        return DV_SIMCU_INVALID_DEVICE;
    if (gi == DV_SIM_ANY)
        dv_simcgroups_view(&s->node, p->pid, gpu, &m);
    out->total_bytes = m.total_bytes - m.reserved_bytes;
    out->free_bytes = out->total_bytes - DV_MIN(m.used_bytes, out->total_bytes);
    out->free_bytes = dv_simmps_free_bytes(p, gpu, gi, ci, out->free_bytes);
    s->reply.size = sizeof(*out);
    return 0;
}

static uint32_t ipc_open(struct dv_simserver *s, struct dv_simsession *ss, const uint64_t *q,
                         int *ret_fd)
{
    uint32_t r = dv_simmemory_open(s, ss->process, *q, (void *)s->reply.data, ret_fd);

    s->reply.size = r ? 0 : sizeof(struct dv_sim_ipc_opened);
    return r;
}

static uint32_t ipc_export(struct dv_simserver *s, struct dv_simsession *ss, const uint64_t *q,
                           int *fd)
{
    uint64_t token;
    uint32_t r = dv_simmemory_export(s, ss->process, *q, *fd, &token);

    if (r)
        return r;
    *fd = -1;
    memcpy(s->reply.data, &token, sizeof(token));
    s->reply.size = sizeof(token);
    return 0;
}

/* ---- names ---- */

/* A name from a payload: bounded, with a NUL of its own. */
static bool get_name(const void *data, uint32_t size, char ret[128])
{
    if (!size || size > 127)
        return false;
    memcpy(ret, data, size);
    ret[size] = '\0';
    return true;
}

static uint32_t kernel_info(struct dv_simserver *s, const void *data, uint32_t size)
{
    struct dv_sim_kernel_info *out = (void *)s->reply.data;
    char name[128];

    *out = (struct dv_sim_kernel_info){0};
    s->reply.size = sizeof(*out);
    if (!get_name(data, size, name))
        return 0; /* too long to be in a node file */
    for (uint32_t i = 0; i < s->spec.n_kernels; i++) {
        if (fnmatch(s->spec.kernel[i].name, name, 0) == 0) {
            out->work_ns = s->spec.kernel[i].duration_ns;
            out->sms = s->spec.kernel[i].sms;
            break;
        }
    }
    return 0;
}

static uint32_t injected(struct dv_simserver *s, const void *data, uint32_t size)
{
    struct dv_sim_inject j;
    char name[128];

    if (!get_name(data, size, name) ||
        !dv_simnode_injected(&s->node, DV_SIM_ANY, DV_SIM_INJECT_CUDA_ERROR, name, &j))
        return 0;
    dv_simrequests_injections(s);
    return (uint32_t)j.a;
}

/* Tells the processes whether there is anything to ask about. */
void dv_simrequests_injections(struct dv_simserver *s)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < DV_SIM_INJECTIONS; i++)
        n += s->node.injections[i].kind == DV_SIM_INJECT_CUDA_ERROR;
    for (uint32_t i = 0; i < s->sessions_end; i++) {
        if (s->session[i])
            __atomic_store_n(&s->session[i]->work->injections, n, __ATOMIC_RELEASE);
    }
}

/* ---- CUDA ---- */

static const uint32_t cuda_sizes[] = {
    [DV_SIM_CUDA_DEVICES - DV_SIM_OP_CUDA] = 0,
    [DV_SIM_CUDA_CTX_CREATE - DV_SIM_OP_CUDA] = sizeof(struct dv_sim_ctx_create),
    [DV_SIM_CUDA_CTX_DESTROY - DV_SIM_OP_CUDA] = 4,
    [DV_SIM_CUDA_STREAM_CREATE - DV_SIM_OP_CUDA] = sizeof(struct dv_sim_stream_create),
    [DV_SIM_CUDA_STREAM_DESTROY - DV_SIM_OP_CUDA] = 4,
    [DV_SIM_CUDA_MEM_ALLOC - DV_SIM_OP_CUDA] = sizeof(struct dv_sim_mem_alloc),
    [DV_SIM_CUDA_MEM_FREE - DV_SIM_OP_CUDA] = 8,
    [DV_SIM_CUDA_MEM_INFO - DV_SIM_OP_CUDA] = 4,
    [DV_SIM_CUDA_KERNEL_INFO - DV_SIM_OP_CUDA] = DV_SIM_ANY,
    [DV_SIM_CUDA_IPC_EXPORT - DV_SIM_OP_CUDA] = 8,
    [DV_SIM_CUDA_IPC_OPEN - DV_SIM_OP_CUDA] = 8,
    [DV_SIM_CUDA_IPC_CLOSE - DV_SIM_OP_CUDA] = 8,
    [DV_SIM_CUDA_FAULT - DV_SIM_OP_CUDA] = sizeof(struct dv_sim_fault),
    [DV_SIM_CUDA_INJECTED - DV_SIM_OP_CUDA] = DV_SIM_ANY,
};

/* A kernel launched before its stream is destroyed runs: such a request waits until the engine has
 * taken what the ring holds. */
static bool must_wait(struct dv_simserver *s, struct dv_simsession *ss, uint16_t op)
{
    bool taken = dv_simwork_take(s, ss);

    return !taken && (op == DV_SIM_CUDA_STREAM_DESTROY || op == DV_SIM_CUDA_CTX_DESTROY);
}

/* Returns a CUresult. */
static uint32_t cuda(struct dv_simserver *s, struct dv_simsession *ss, uint16_t op,
                     const void *data, uint32_t size, int *fd, int *ret_fd)
{
    switch ((enum dv_sim_cuda_op)op) {
    case DV_SIM_CUDA_DEVICES:
        dv_simrequests_devices(s, &ss->client->base.view, ss->process);
        return 0;
    case DV_SIM_CUDA_CTX_CREATE:
        return ctx_create(s, ss, data);
    case DV_SIM_CUDA_CTX_DESTROY:
        return ctx_destroy(s, ss, data);
    case DV_SIM_CUDA_STREAM_CREATE:
        return stream_create(s, ss, data);
    case DV_SIM_CUDA_STREAM_DESTROY:
        return dv_simsessions_stream_close(s, ss, *(const uint32_t *)data);
    case DV_SIM_CUDA_MEM_ALLOC:
        return mem_alloc(s, ss, data);
    case DV_SIM_CUDA_MEM_FREE:
        return dv_simmemory_free(s, ss->process, *(const uint64_t *)data);
    case DV_SIM_CUDA_MEM_INFO:
        return mem_info(s, ss, data);
    case DV_SIM_CUDA_KERNEL_INFO:
        return kernel_info(s, data, size);
    case DV_SIM_CUDA_IPC_EXPORT:
        return ipc_export(s, ss, data, fd);
    case DV_SIM_CUDA_IPC_OPEN:
        return ipc_open(s, ss, data, ret_fd);
    case DV_SIM_CUDA_IPC_CLOSE:
        return dv_simmemory_close(s, ss->process, *(const uint64_t *)data);
    case DV_SIM_CUDA_FAULT:
        return fault(s, ss, data);
    case DV_SIM_CUDA_INJECTED:
        return injected(s, data, size);
    }
    return DV_SIMCU_NOT_SUPPORTED;
}

/* ---- control ---- */

static void stats_processes(const struct dv_simserver *s, uint32_t gpu, struct dv_sim_stats *out)
{
    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        const struct dv_simproc *p = s->node.processes[i];

        if (!p || (!p->gpu[gpu].contexts && !p->gpu[gpu].high_water_bytes) ||
            out->processes >= DV_ARRAY_SIZE(out->process))
            continue;
        out->process[out->processes].pid = (uint32_t)p->pid;
        out->process[out->processes].memory_used_bytes = p->gpu[gpu].used_bytes;
        out->process[out->processes].memory_high_water_bytes = p->gpu[gpu].high_water_bytes;
        out->process[out->processes].executed_ns = p->gpu[gpu].executed_ns;
        out->process[out->processes].sm_ns = p->gpu[gpu].sm_ns;
        out->process[out->processes].mps = p->mps;
        out->processes++;
    }
}

static int32_t stats(struct dv_simserver *s, uint32_t gpu)
{
    struct dv_sim_stats *out = (void *)s->reply.data;
    const struct dv_simgpu *g;
    uint64_t wall = s->node.now_ns - s->node.boot_ns;

    if (gpu >= s->node.n_gpus)
        return -ENODEV;
    g = &s->node.gpu[gpu];
    dv_simcards_refresh(s, s->node.now_ns);
    *out = (struct dv_sim_stats){
        .gpus = s->node.n_gpus,
        .mig_enabled = g->mig_current,
        .clients = s->n_clients,
        .memory_total_bytes = g->memory.total_bytes,
        .memory_used_bytes = g->memory.used_bytes,
        .memory_high_water_bytes = g->memory.high_water_bytes,
        .deaths = s->deaths,
        .death_slowest_ns = s->death_slowest_ns,
        .now_ns = s->node.now_ns,
        .busy_ns = g->busy_ns,
        .switch_ns = g->switch_ns,
        .idle_ns = wall - DV_MIN(wall, g->busy_ns + g->switch_ns),
    };
    memcpy(out->node, s->node.name, sizeof(out->node));
    memcpy(out->uuid, g->uuid, sizeof(out->uuid));
    snprintf(out->name, sizeof(out->name), "%s", g->model->product);
    stats_processes(s, gpu, out);
    s->reply.size = sizeof(*out);
    return 0;
}

static int32_t ended(struct dv_simserver *s, const struct dv_sim_ended_ask *q)
{
    struct dv_sim_ended *out = (void *)s->reply.data;

    if (q->gpu >= s->node.n_gpus)
        return -ENODEV;
    *out = (struct dv_sim_ended){.last = s->node.gpu[q->gpu].ended_head};
    out->lives = (uint32_t)dv_simaccounting_ended(&s->node.gpu[q->gpu], q->after, out->life,
                                                  DV_SIM_ENDED_PAGE);
    s->reply.size = sizeof(*out);
    return 0;
}

static int32_t reset_high_water(struct dv_simserver *s, uint32_t gpu)
{
    if (gpu >= s->node.n_gpus)
        return -ENODEV;
    dv_memory_reset_high_water(s->card[gpu].memory);
    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        if (s->node.processes[i])
            s->node.processes[i]->gpu[gpu].high_water_bytes =
                s->node.processes[i]->gpu[gpu].used_bytes;
    }
    dv_simcards_follow(s);
    return 0;
}

/* Anybody may look; who owns the server, and root, may change something. */
static bool may(const struct dv_simclientconn *c, uint16_t op)
{
    return op == DV_SIM_CTL_STATS || op == DV_SIM_CTL_ENDED || c->base.uid == 0 ||
           c->base.uid == geteuid();
}

static int control(struct dv_simserver *s, struct dv_simclientconn *c, uint16_t op,
                   const void *data, uint32_t size)
{
    if (!may(c, op)) {
        s->reply.status = -EPERM;
        return 0;
    }
    switch (op) {
    case DV_SIM_CTL_STATS:
        if (size != 4)
            return -EPROTO;
        s->reply.status = stats(s, *(const uint32_t *)data);
        return 0;
    case DV_SIM_CTL_RESET_HIGH_WATER:
        if (size != 4)
            return -EPROTO;
        s->reply.status = reset_high_water(s, *(const uint32_t *)data);
        return 0;
    case DV_SIM_CTL_ENDED:
        if (size != sizeof(struct dv_sim_ended_ask))
            return -EPROTO;
        s->reply.status = ended(s, data);
        return 0;
    case DV_SIM_CTL_INJECT:
        if (size != sizeof(struct dv_sim_inject))
            return -EPROTO;
        s->reply.status = dv_siminject(s, data);
        return 0;
    case DV_SIM_CTL_STOP:
        s->stop = true;
        return 0;
    default:
        return -EPROTO;
    }
}

int dv_simrequests_handle(struct dv_simserver *s, struct dv_simclientconn *c, uint16_t op,
                          const void *data, uint32_t size, int *fd, int *ret_fd)
{
    uint32_t at = (uint32_t)op - DV_SIM_OP_CUDA;

    if (c->base.kind == DV_SIM_CLIENT_CONTROL)
        return control(s, c, op, data, size);
    if (c->base.kind == DV_SIM_CLIENT_MPS)
        return dv_simmps_handle(s, c, op, data, size);
    if (at >= DV_ARRAY_SIZE(cuda_sizes) || (cuda_sizes[at] != DV_SIM_ANY && cuda_sizes[at] != size))
        return -EPROTO;
    if (must_wait(s, c->session, op)) {
        s->reply.again_ns = s->node.now_ns + DV_SIM_POLL_NS;
        return DV_SIM_AGAIN;
    }
    s->reply.status = (int32_t)cuda(s, c->session, op, data, size, fd, ret_fd);
    return 0;
}
