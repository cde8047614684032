/* SPDX-License-Identifier: Apache-2.0 */
#include "server/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool ctx_is_at(const struct dv_simctx *c, uint32_t gpu, uint32_t gi, uint32_t ci)
{
    return c->used && c->gpu == gpu && (gi == DV_SIM_ANY || c->gi_id == gi) &&
           (ci == DV_SIM_ANY || c->ci_id == ci);
}

struct list {
    struct dv_simnode_usage *row;
    size_t n, max;
};

/* Rows beyond max are counted only; then the same process may count twice, which errs on the side
 * of a larger buffer. */
static void list_ctx(struct list *l, size_t first, const struct dv_simproc *p,
                     const struct dv_simctx *c)
{
    for (size_t i = first; i < l->n && i < l->max; i++) {
        if (l->row[i].gi_id == c->gi_id && l->row[i].ci_id == c->ci_id) {
            l->row[i].used_bytes += c->used_bytes;
            return;
        }
    }
    if (l->n < l->max)
        l->row[l->n] = (struct dv_simnode_usage){.pid = p->pid,
                                                 .used_bytes = c->used_bytes,
                                                 .gi_id = c->gi_id,
                                                 .ci_id = c->ci_id,
                                                 .process = p};
    l->n++;
}

static int by_pid(const void *a, const void *b)
{
    const struct dv_simnode_usage *x = a, *y = b;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

size_t dv_simnode_processes(const struct dv_simnode *node, uint32_t gpu, uint32_t gi, uint32_t ci,
                            struct dv_simnode_usage *ret, size_t max)
{
    struct list l = {ret, 0, max};

    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        const struct dv_simproc *p = node->processes[i];
        size_t first = l.n;

        if (!p || gpu >= node->n_gpus || !p->gpu[gpu].contexts)
            continue;
        for (uint32_t c = 0; c < DV_SIM_CONTEXTS_MAX; c++) {
            if (ctx_is_at(&p->ctx[c], gpu, gi, ci))
                list_ctx(&l, first, p, &p->ctx[c]);
        }
    }
    if (l.n && max)
        qsort(ret, DV_MIN(l.n, max), sizeof(*ret), by_pid);
    return l.n;
}

int dv_simnode_memory(const struct dv_simnode *node, uint32_t gpu, uint32_t gi,
                      struct dv_simmem *ret)
{
    const struct dv_simgpu *g;

    if (gpu >= node->n_gpus)
        return -ENOENT;
    g = &node->gpu[gpu];
    if (gi == DV_SIM_ANY) {
        *ret = g->memory;
        return 0;
    }
    for (uint32_t i = 0; i < DV_MIG_INSTANCES_MAX; i++) {
        if (g->gi[i].used && g->gi[i].id == gi) {
            *ret = g->gi[i].memory;
            return 0;
        }
    }
    return -ENOENT;
}

/* A window that ended long ago says nothing about now: then nothing has run since. */
static uint32_t last_sample(const struct dv_simnode *node, const struct dv_simsample *samples,
                            uint32_t head)
{
    const struct dv_simsample *s;

    if (!head)
        return 0;
    s = &samples[(head - 1) % DV_SIM_SAMPLES];
    return s->end_ns + 2 * DV_SIM_SAMPLE_NS < node->now_ns ? 0 : s->sm_permille;
}

uint32_t dv_simnode_utilization(const struct dv_simnode *node, uint32_t gpu)
{
    if (gpu >= node->n_gpus)
        return 0;
    return last_sample(node, node->gpu[gpu].samples, node->gpu[gpu].samples_head);
}

uint32_t dv_simnode_process_utilization(const struct dv_simnode *node, const struct dv_simproc *p,
                                        uint32_t gpu)
{
    if (gpu >= node->n_gpus)
        return 0;
    return last_sample(node, p->gpu[gpu].samples, p->gpu[gpu].samples_head);
}

uint32_t dv_simnode_power_mw(const struct dv_simnode *node, uint32_t gpu)
{
    const struct dv_simgpu *g = &node->gpu[gpu];
    uint64_t idle = g->model->idle_power_mw;
    uint64_t limit = DV_MAX(g->power_limit_mw, g->model->idle_power_mw);

    return (uint32_t)(idle + (limit - idle) * dv_simnode_utilization(node, gpu) / 1000);
}

uint32_t dv_simnode_temperature(const struct dv_simnode *node, uint32_t gpu)
{
    return 31 + 39 * dv_simnode_utilization(node, gpu) / 1000;
}

static uint32_t clock_mhz(const struct dv_simnode *node, uint32_t gpu, uint32_t max, uint32_t set,
                          uint32_t idle)
{
    uint32_t clock = dv_simnode_utilization(node, gpu) ? max : DV_MIN(idle, max);
    return set && set < clock ? set : clock;
}

uint32_t dv_simnode_clock_sm_mhz(const struct dv_simnode *node, uint32_t gpu)
{
    const struct dv_simgpu *g = &node->gpu[gpu];
    return clock_mhz(node, gpu, g->model->clock_sm_mhz, g->clock_sm_mhz, 210);
}

uint32_t dv_simnode_clock_memory_mhz(const struct dv_simnode *node, uint32_t gpu)
{
    const struct dv_simgpu *g = &node->gpu[gpu];
    /* The memory of data-centre cards does not clock down. */
    return clock_mhz(node, gpu, g->model->clock_memory_mhz, g->clock_memory_mhz, UINT32_MAX);
}

struct dv_simproc *dv_simnode_process(struct dv_simnode *node, pid_t pid)
{
    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        if (node->processes[i] && node->processes[i]->pid == pid)
            return node->processes[i];
    }
    return NULL;
}

struct dv_simgi *dv_simnode_gi(struct dv_simnode *node, uint32_t gpu, uint32_t gi)
{
    if (gpu >= node->n_gpus)
        return NULL;
    for (uint32_t i = 0; i < DV_MIG_INSTANCES_MAX; i++) {
        if (node->gpu[gpu].gi[i].used && node->gpu[gpu].gi[i].id == gi)
            return &node->gpu[gpu].gi[i];
    }
    return NULL;
}

struct dv_simci *dv_simnode_ci(struct dv_simnode *node, uint32_t gpu, uint32_t gi, uint32_t ci)
{
    struct dv_simgi *g = dv_simnode_gi(node, gpu, gi);

    for (uint32_t i = 0; g && i < DV_SIM_CIS_MAX; i++) {
        if (g->ci[i].used && g->ci[i].id == ci)
            return &g->ci[i];
    }
    return NULL;
}

bool dv_simnode_gpu_in_use(const struct dv_simnode *node, uint32_t gpu)
{
    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        if (node->processes[i] && node->processes[i]->gpu[gpu].contexts)
            return true;
    }
    return false;
}

static uint64_t wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void dv_simnode_xid(struct dv_simnode *node, uint32_t gpu, uint32_t gi, uint32_t ci, uint64_t xid)
{
    struct dv_simxid *x = &node->xids[node->xid_head % DV_SIM_XIDS];

    *x = (struct dv_simxid){.sequence = node->xid_head + 1,
                            .time_us = wall_us(),
                            .xid = xid,
                            .gpu = gpu,
                            .gi_id = gi,
                            .ci_id = ci};
    node->xid_head++;
    if (xid == 79 && gpu < node->n_gpus)
        node->gpu[gpu].lost = true;
}

static bool injection_matches(const struct dv_sim_inject *j, uint32_t gpu,
                              enum dv_sim_injection kind, const char *name)
{
    return j->kind == kind && (j->gpu == DV_SIM_ANY || gpu == DV_SIM_ANY || j->gpu == gpu) &&
           (!strcmp(j->name, "*") || !strcmp(j->name, name));
}

bool dv_simnode_injected(struct dv_simnode *node, uint32_t gpu, enum dv_sim_injection kind,
                         const char *name, struct dv_sim_inject *ret)
{
    for (uint32_t i = 0; i < DV_SIM_INJECTIONS; i++) {
        struct dv_sim_inject *j = &node->injections[i];

        if (!injection_matches(j, gpu, kind, name))
            continue;
        *ret = *j;
        if (j->b && --j->b == 0)
            j->kind = 0;
        return true;
    }
    return false;
}
