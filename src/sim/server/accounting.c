/* SPDX-License-Identifier: Apache-2.0 */
#include "server/accounting.h"

#include "server/nvml.h"

#include <stdlib.h>
#include <time.h>

/* ---- lives ---- */

static uint64_t wall_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void dv_simaccounting_begin(const struct dv_simnode *node, const struct dv_simproc *p, uint32_t gpu)
{
    struct dv_simproc_gpu *pg = &p->gpu[gpu];

    if (pg->first_ns)
        return;
    pg->first_ns = node->now_ns;
    pg->first_us = wall_us();
    pg->accounted = node->gpu[gpu].accounting;
}

static struct dv_sim_life life_of(const struct dv_simproc *p, uint32_t gpu)
{
    const struct dv_simproc_gpu *pg = &p->gpu[gpu];

    return (struct dv_sim_life){.pid = (uint32_t)p->pid,
                                .accounted = pg->accounted,
                                .start_time = p->start_time,
                                .started_us = pg->first_us,
                                .first_ns = pg->first_ns,
                                .executed_ns = pg->executed_ns,
                                .sm_ns = pg->sm_ns,
                                .memory_high_water_bytes = pg->high_water_bytes};
}

void dv_simaccounting_end(struct dv_simnode *node, const struct dv_simproc *p)
{
    for (uint32_t i = 0; i < node->n_gpus; i++) {
        struct dv_simgpu *g = &node->gpu[i];
        struct dv_sim_life *life;

        if (!p->gpu[i].first_ns)
            continue;
        if (!g->ended)
            g->ended = calloc(DV_SIM_ENDED_MAX, sizeof(*g->ended));
        if (!g->ended)
            continue; /* without memory there is no truth */
        life = &g->ended[g->ended_head % DV_SIM_ENDED_MAX];
        *life = life_of(p, i);
        life->sequence = ++g->ended_head;
        life->end_ns = node->now_ns;
        life->executed_ns = p->gpu[i].gone_executed_ns;
        life->sm_ns = p->gpu[i].gone_sm_ns;
    }
}

static uint64_t oldest(const struct dv_simgpu *g)
{
    return g->ended_head > DV_SIM_ENDED_MAX ? g->ended_head - DV_SIM_ENDED_MAX : 0;
}

size_t dv_simaccounting_ended(const struct dv_simgpu *g, uint64_t after, struct dv_sim_life *ret,
                              size_t max)
{
    size_t n = 0;

    for (uint64_t s = DV_MAX(after, oldest(g)); s < g->ended_head && n < max; s++)
        ret[n++] = g->ended[s % DV_SIM_ENDED_MAX];
    return n;
}

void dv_simaccounting_done(struct dv_simnode *node)
{
    for (uint32_t i = 0; i < node->n_gpus; i++) {
        free(node->gpu[i].ended);
        node->gpu[i].ended = NULL;
    }
}

/* ---- what NVML sees of them ---- */

void dv_simaccounting_set(struct dv_simnode *node, uint32_t gpu, bool on)
{
    struct dv_simgpu *g = &node->gpu[gpu];

    if (g->accounting == on)
        return;
    g->accounting = on;
    if (on)
        return;
    g->ended_cleared = g->ended_head;
    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        if (node->processes[i])
            node->processes[i]->gpu[gpu].accounted = false;
    }
}

static bool runs_accounted(const struct dv_simproc *p, uint32_t gpu)
{
    return p && p->gpu && p->gpu[gpu].first_ns && p->gpu[gpu].accounted;
}

/* Of an ended life: has NVML it, and is it the last of its pid? */
static bool is_kept(const struct dv_simgpu *g, uint64_t at)
{
    const struct dv_sim_life *life = &g->ended[at % DV_SIM_ENDED_MAX];

    if (!life->accounted)
        return false;
    for (uint64_t s = at + 1; s < g->ended_head; s++) {
        const struct dv_sim_life *later = &g->ended[s % DV_SIM_ENDED_MAX];

        if (later->pid == life->pid && later->accounted)
            return false;
    }
    return true;
}

bool dv_simaccounting_find(const struct dv_simnode *node, uint32_t gpu, uint32_t pid,
                           struct dv_sim_life *ret)
{
    const struct dv_simgpu *g = &node->gpu[gpu];

    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        const struct dv_simproc *p = node->processes[i];

        if (runs_accounted(p, gpu) && (uint32_t)p->pid == pid) {
            *ret = life_of(p, gpu);
            return true;
        }
    }
    for (uint64_t s = g->ended_head; s > DV_MAX(oldest(g), g->ended_cleared); s--) {
        const struct dv_sim_life *life = &g->ended[(s - 1) % DV_SIM_ENDED_MAX];

        if (life->accounted && life->pid == pid) {
            *ret = *life;
            return true;
        }
    }
    return false;
}

/* As often as the GPU's samples are taken, also where it slept: nobody can tell. */
static uint32_t samples_in(uint64_t ns)
{
    return (uint32_t)DV_MAX(1, DV_MIN(ns / DV_SIM_SAMPLE_NS, UINT32_MAX));
}

/* Nearest, so that mean times life is the time executed. */
static uint64_t sum_of(uint64_t executed_ns, uint64_t life_ns, uint32_t samples)
{
    uint64_t full = UINT64_C(10000) * samples;
    unsigned __int128 sum = (unsigned __int128)executed_ns * full;

    if (!life_ns)
        return 0;
    sum = (sum + life_ns / 2) / life_ns;
    return sum < full ? (uint64_t)sum : full;
}

/* Of one that has ended the life that counts is the one that NVML tells, in whole milliseconds. */
void dv_simaccounting_describe(const struct dv_sim_life *life, uint64_t now,
                               struct dv_sim_nvml_accounted *ret)
{
    bool running = !life->sequence;
    uint64_t end = running ? now : life->end_ns;
    uint64_t ns = end - DV_MIN(end, life->first_ns);
    uint64_t ms = (ns + DV_NS_PER_MS / 2) / DV_NS_PER_MS;
    uint32_t samples = samples_in(ns);

    *ret = (struct dv_sim_nvml_accounted){
        .pid = life->pid,
        .running = running,
        .started_us = life->started_us,
        .time_ms = running ? 0 : ms,
        .memory_high_water_bytes = life->memory_high_water_bytes,
        .sum_gpu = sum_of(life->executed_ns, running ? ns : ms * DV_NS_PER_MS, samples),
        .samples = samples};
    ret->sum_memory = ret->sum_gpu / 2; /* as the samples of cards.c have it */
}

/* ---- requests ---- */

static int pids(struct dv_simnvml_call *call)
{
    uint32_t gpu = call->request->gpu;
    const struct dv_simgpu *g = &call->node->gpu[gpu];

    for (uint64_t s = DV_MAX(oldest(g), g->ended_cleared); s < g->ended_head; s++) {
        if (is_kept(g, s))
            dv_simnvml_put(call, &g->ended[s % DV_SIM_ENDED_MAX].pid, sizeof(uint32_t));
    }
    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        const struct dv_simproc *p = call->node->processes[i];
        uint32_t pid = p ? (uint32_t)p->pid : 0;

        if (runs_accounted(p, gpu))
            dv_simnvml_put(call, &pid, sizeof(pid));
    }
    return DV_NVML_SUCCESS;
}

static int stats(struct dv_simnvml_call *call)
{
    struct dv_sim_nvml_accounted out;
    struct dv_sim_life life;

    if (!dv_simaccounting_find(call->node, call->request->gpu, call->request->a, &life))
        return DV_NVML_ERROR_NOT_FOUND;
    dv_simaccounting_describe(&life, call->node->now_ns, &out);
    dv_simnvml_put(call, &out, sizeof(out));
    return DV_NVML_SUCCESS;
}

int dv_simnvml_accounting(struct dv_simnvml_call *call, enum dv_sim_nvml_op op)
{
    struct dv_simgpu *g = &call->node->gpu[call->request->gpu];

    if (op == DV_SIM_NVML_ACCOUNTING_CLEAR) {
        if (!dv_simnvml_may_change(call))
            return DV_NVML_ERROR_NO_PERMISSION;
        g->ended_cleared = g->ended_head;
        return DV_NVML_SUCCESS;
    }
    if (!g->accounting)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    return op == DV_SIM_NVML_ACCOUNTING_PIDS ? pids(call) : stats(call);
}
