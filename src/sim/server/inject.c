/* SPDX-License-Identifier: Apache-2.0 */
/* What makes a simulated GPU or its driver fail, and what mends it (`divvy-sim inject`). */
#include "engine/memory.h"
#include "server/mig.h"
#include "server/state.h"

#include <errno.h>
#include <string.h>

#define XID_OFF_THE_BUS 79

static void end_contexts(struct dv_simserver *s, uint32_t gpu)
{
    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        struct dv_simproc *p = s->node.processes[i];

        for (uint32_t c = 0; p && c < DV_SIM_CONTEXTS_MAX; c++) {
            if (p->ctx[c].used && p->ctx[c].gpu == gpu)
                dv_simprocesses_ctx_fault(s, p, c, DV_SIMCU_UNKNOWN);
        }
    }
}

/* What runs on a GPU that falls off the bus ends with it. */
static void inject_xid(struct dv_simserver *s, uint32_t gpu, uint64_t xid)
{
    dv_simnode_xid(&s->node, gpu, DV_SIM_ANY, DV_SIM_ANY, xid);
    if (xid == XID_OFF_THE_BUS)
        end_contexts(s, gpu);
}

static void gone(struct dv_simserver *s, uint32_t gpu)
{
    end_contexts(s, gpu);
    s->node.gone |= UINT32_C(1) << gpu;
}

#define XID_PAGE_FAULT 31

/* What an illegal address in one of its kernels does to a process. */
static int32_t inject_fault(struct dv_simserver *s, uint64_t pid)
{
    struct dv_simproc *p = pid <= INT32_MAX ? dv_simnode_process(&s->node, (pid_t)pid) : NULL;
    bool any = false;

    for (uint32_t i = 0; p && i < DV_SIM_CONTEXTS_MAX; i++) {
        const struct dv_simctx *c = &p->ctx[i];

        if (!c->used || c->error)
            continue;
        any = true;
        dv_simnode_xid(&s->node, c->gpu, c->gi_id, c->ci_id, XID_PAGE_FAULT);
        dv_simprocesses_ctx_fault(s, p, i, DV_SIMCU_ILLEGAL_ADDRESS);
    }
    return any ? 0 : -ESRCH;
}

/* ---- memory that nobody holds ---- */

#define LEAK_OWNER UINT64_C(1) /* no process: those are known by an address */

/* Memory that stays used though no process is listed with it: what is left of one that the driver
 * could not end, or belongs to one that cannot be seen from here. */
static int32_t leak(struct dv_simserver *s, uint32_t gpu, uint64_t bytes)
{
    uint64_t id;
    int r = dv_memory_alloc(s->card[gpu].memory, 0, LEAK_OWNER, bytes, &id);

    dv_simcards_follow(s);
    return r == DV_MEMORY_FULL ? -ENOBUFS : r;
}

/* ---- a GPU comes up anew ---- */

/* What a reboot does, as far as one GPU is concerned: who has a context there has it no more. */
static int32_t reset(struct dv_simserver *s, uint32_t gpu)
{
    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        struct dv_simproc *p = s->node.processes[i];

        for (uint32_t c = 0; p && c < DV_SIM_CONTEXTS_MAX; c++) {
            if (!p->ctx[c].used || p->ctx[c].gpu != gpu)
                continue;
            dv_simprocesses_ctx_fault(s, p, c, DV_SIMCU_UNKNOWN);
            dv_simprocesses_ctx_remove(s, p, c);
        }
    }
    s->node.gone &= ~(UINT32_C(1) << gpu);
    dv_simmig_restart(&s->node.gpu[gpu]);
    dv_simcards_follow(s);
    return 0;
}

/* ---- the memory's own errors ---- */

#define XID_DOUBLE_BIT 48
#define ECC_MAX 1000000

/* Each takes a row (a page before Ampere) out of use at the next reset. */
static int32_t uncorrectable(struct dv_simserver *s, uint32_t gpu, uint64_t n)
{
    struct dv_simgpu *g = &s->node.gpu[gpu];

    if (!g->model->ecc)
        return -EOPNOTSUPP;
    if (!n || n > ECC_MAX)
        return -EINVAL;
    g->ecc_volatile += n;
    g->ecc_aggregate += n;
    g->rows_pending += (uint32_t)n;
    dv_simnode_xid(&s->node, gpu, DV_SIM_ANY, DV_SIM_ANY, XID_DOUBLE_BIT);
    return 0;
}

static int32_t remap_failure(struct dv_simserver *s, uint32_t gpu)
{
    if (!s->node.gpu[gpu].model->ecc)
        return -EOPNOTSUPP;
    s->node.gpu[gpu].rows_failure = true;
    return 0;
}

/* ---- all of them ---- */

static void clear(struct dv_simserver *s)
{
    memset(s->node.injections, 0, sizeof(s->node.injections));
    s->node.gone = 0;
    for (uint32_t i = 0; i < s->node.n_gpus; i++) {
        struct dv_simgpu *g = &s->node.gpu[i];

        g->lost = false;
        g->ecc_volatile = g->ecc_aggregate = 0;
        g->rows_pending = g->rows_remapped = 0;
        g->rows_failure = false;
        dv_memory_owner_gone(s->card[i].memory, LEAK_OWNER);
    }
    dv_simcards_follow(s);
    dv_simrequests_injections(s);
}

static bool is_of_one_gpu(uint32_t kind)
{
    return kind == DV_SIM_INJECT_XID || kind == DV_SIM_INJECT_LEAK || kind == DV_SIM_INJECT_RESET ||
           kind == DV_SIM_INJECT_ECC || kind == DV_SIM_INJECT_REMAP_FAILURE ||
           kind == DV_SIM_INJECT_GONE;
}

static int32_t of_one_gpu(struct dv_simserver *s, const struct dv_sim_inject *q)
{
    switch ((enum dv_sim_injection)q->kind) {
    case DV_SIM_INJECT_XID:
        inject_xid(s, q->gpu, q->a);
        return 0;
    case DV_SIM_INJECT_GONE:
        gone(s, q->gpu);
        return 0;
    case DV_SIM_INJECT_LEAK:
        return leak(s, q->gpu, q->a);
    case DV_SIM_INJECT_RESET:
        return reset(s, q->gpu);
    case DV_SIM_INJECT_ECC:
        return uncorrectable(s, q->gpu, q->a);
    case DV_SIM_INJECT_REMAP_FAILURE:
        return remap_failure(s, q->gpu);
    default:
        return -EINVAL;
    }
}

int32_t dv_siminject(struct dv_simserver *s, const struct dv_sim_inject *q)
{
    if (q->kind == DV_SIM_INJECT_CLEAR) {
        clear(s);
        return 0;
    }
    if (q->kind == DV_SIM_INJECT_FAULT)
        return inject_fault(s, q->a);
    if (q->gpu != DV_SIM_ANY && q->gpu >= s->node.n_gpus)
        return -ENODEV;
    if (is_of_one_gpu(q->kind))
        return q->gpu == DV_SIM_ANY ? -ENODEV : of_one_gpu(s, q);
    if (q->kind < DV_SIM_INJECT_XID || q->kind > DV_SIM_INJECT_CUDA_ERROR ||
        !memchr(q->name, 0, sizeof(q->name)) || !q->name[0])
        return -EINVAL;
    for (uint32_t i = 0; i < DV_SIM_INJECTIONS; i++) {
        if (s->node.injections[i].kind)
            continue;
        s->node.injections[i] = *q;
        if (q->kind == DV_SIM_INJECT_NVML_HANG)
            s->node.injections[i].b = 0;
        dv_simrequests_injections(s);
        return 0;
    }
    return -ENOSPC;
}
