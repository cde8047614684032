/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cards behind the node: each has an engine (time) and a memory (bytes). NVML requests change
 * MIG modes and instances in the node; what they mean for engine and memory follows here, before
 * anyone can notice.
 */
#include "engine/engine.h"
#include "engine/memory.h"
#include "server/accounting.h"
#include "server/cgroups.h"
#include "server/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- figures of a model ---- */

#define GB UINT64_C(1000000000)

/* About what a copy reaches per lane: PCIe 3 0.8 GB/s, doubling with each generation. */
static uint64_t pcie_bytes_per_s(const struct dv_gpu_model *m)
{
    uint64_t lane = UINT64_C(800000000);

    for (uint32_t g = 3; g < m->pcie_generation; g++)
        lane *= 2;
    return DV_MAX(lane * m->pcie_width, 1);
}

static uint64_t copy_rate(const struct dv_gpu_model *m, uint32_t direction)
{
    uint64_t own = m->bandwidth_gb_per_s * GB;
    /* Within the card each byte is read and written. */
    return direction == DV_ENGINE_D2D ? DV_MAX(own / 2, 1) : pcie_bytes_per_s(m);
}

#define COPY_LATENCY_NS (2 * DV_NS_PER_US)

static uint64_t transfer_ns(uint64_t bytes, uint64_t rate)
{
    return COPY_LATENCY_NS + (uint64_t)((double)bytes * 1e9 / (double)DV_MAX(rate, 1));
}

uint64_t dv_simcards_copy_ns(const struct dv_simserver *s, uint32_t gpu, uint32_t direction,
                             uint64_t bytes)
{
    return transfer_ns(bytes, copy_rate(s->node.gpu[gpu].model, direction));
}

uint64_t dv_simcards_fill_ns(const struct dv_simserver *s, uint32_t gpu, uint64_t bytes)
{
    return transfer_ns(DV_MIN(bytes, UINT64_C(1) << 50),
                       s->node.gpu[gpu].model->bandwidth_gb_per_s * GB);
}

/* ---- places: where contexts live ---- */

struct dv_simplace *dv_simcards_place(struct dv_simserver *s, uint32_t gpu, uint32_t gi,
                                      uint32_t ci)
{
    for (uint32_t i = 0; gpu < s->node.n_gpus && i < DV_SIM_GPUS_MAX; i++) {
        struct dv_simplace *p = &s->card[gpu].place[i];

        if (p->used && p->gi_id == gi && p->ci_id == ci)
            return p;
    }
    return NULL;
}

/* Of a card in MIG mode an instance counts by its part of the card. */
static uint64_t part_of_card(const struct dv_simgpu *g, uint64_t ns, uint32_t sms)
{
    return ns * sms / DV_MAX(g->model->sm, sms);
}

static void place_remove(struct dv_simserver *s, uint32_t gpu, struct dv_simplace *place)
{
    const struct dv_simgpu *g = &s->node.gpu[gpu];
    struct dv_simcard *card = &s->card[gpu];
    struct dv_engine_partition_stats st;

    if (dv_engine_partition_stats(g->engine, s->node.now_ns, place->partition, &st) == 0) {
        card->gone_busy_ns += part_of_card(g, st.busy_ns, st.sms);
        card->gone_switch_ns += part_of_card(g, st.switch_ns, st.sms);
        card->gone_busy_sm_ns += st.busy_sm_ns;
    }
    dv_engine_partition_remove(s->node.gpu[gpu].engine, s->node.now_ns, place->partition);
    place->used = false;
    if (place->gi_id != DV_SIM_ANY) /* a GPU comes back as the same */
        dv_siminside_remove(s, place->uuid);
}

static void place_add(struct dv_simserver *s, uint32_t gpu, uint32_t gi, uint32_t ci, uint32_t sm,
                      const char *uuid)
{
    for (uint32_t i = 0; i < DV_SIM_GPUS_MAX; i++) {
        struct dv_simplace *p = &s->card[gpu].place[i];

        if (p->used)
            continue;
        if (dv_engine_partition_add(s->node.gpu[gpu].engine, s->node.now_ns, DV_MAX(sm, 1),
                                    &p->partition) == 0) {
            p->used = true;
            p->gi_id = gi;
            p->ci_id = ci;
            p->sm = sm;
            memcpy(p->uuid, uuid, sizeof(p->uuid));
            dv_siminside_add(s, uuid);
        }
        return;
    }
}

/* Ends the processes' contexts there: the hardware under them is gone. */
static void evict(struct dv_simserver *s, uint32_t gpu, const struct dv_simplace *place)
{
    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        struct dv_simproc *p = s->node.processes[i];

        for (uint32_t c = 0; p && c < DV_SIM_CONTEXTS_MAX; c++) {
            if (p->ctx[c].used && p->ctx[c].gpu == gpu && p->ctx[c].gi_id == place->gi_id &&
                p->ctx[c].ci_id == place->ci_id)
                dv_simprocesses_ctx_remove(s, p, c);
        }
    }
}

static bool place_is_there(struct dv_simserver *s, uint32_t gpu, const struct dv_simplace *place)
{
    const struct dv_simci *ci;

    if (place->gi_id == DV_SIM_ANY)
        return !s->node.gpu[gpu].mig_current;
    ci = dv_simnode_ci(&s->node, gpu, place->gi_id, place->ci_id);
    return s->node.gpu[gpu].mig_current && ci && !strcmp(ci->uuid, place->uuid) &&
           ci->sm == place->sm;
}

static void follow_places(struct dv_simserver *s, uint32_t gpu)
{
    struct dv_simgpu *g = &s->node.gpu[gpu];

    for (uint32_t i = 0; i < DV_SIM_GPUS_MAX; i++) {
        struct dv_simplace *p = &s->card[gpu].place[i];

        if (p->used && !place_is_there(s, gpu, p)) {
            evict(s, gpu, p);
            place_remove(s, gpu, p);
        }
    }
    if (!g->mig_current) {
        if (!dv_simcards_place(s, gpu, DV_SIM_ANY, DV_SIM_ANY))
            place_add(s, gpu, DV_SIM_ANY, DV_SIM_ANY, g->model->sm, g->uuid);
        return;
    }
    for (uint32_t i = 0; i < DV_MIG_INSTANCES_MAX; i++) {
        const struct dv_simgi *gi = &g->gi[i];

        for (uint32_t k = 0; gi->used && k < DV_SIM_CIS_MAX; k++) {
            const struct dv_simci *ci = &gi->ci[k];

            if (ci->used && !dv_simcards_place(s, gpu, gi->id, ci->id))
                place_add(s, gpu, gi->id, ci->id, ci->sm, ci->uuid);
        }
    }
}

/* ---- pools: what allocations are taken from ---- */

static struct dv_simpool *pool_of(struct dv_simcard *card, uint32_t gi)
{
    for (uint32_t i = 0; i < DV_MIG_INSTANCES_MAX; i++) {
        if (card->pool[i].used && card->pool[i].gi_id == gi)
            return &card->pool[i];
    }
    return NULL;
}

static uint64_t gi_bytes(const struct dv_simgpu *g, const struct dv_simgi *gi)
{
    return g->mig && gi->profile < g->mig->n_profiles ? g->mig->profiles[gi->profile].memory_bytes
                                                      : 0;
}

static void pool_add(struct dv_simcard *card, const struct dv_simgpu *g, const struct dv_simgi *gi)
{
    for (uint32_t i = 0; i < DV_MIG_INSTANCES_MAX; i++) {
        struct dv_simpool *p = &card->pool[i];

        if (p->used)
            continue;
        if (dv_memory_pool_add(card->memory, gi_bytes(g, gi), &p->pool) == 0) {
            p->used = true;
            p->gi_id = gi->id;
            p->bytes = gi_bytes(g, gi);
        }
        return;
    }
}

static void follow_pools(struct dv_simserver *s, uint32_t gpu)
{
    struct dv_simgpu *g = &s->node.gpu[gpu];
    struct dv_simcard *card = &s->card[gpu];

    for (uint32_t i = 0; i < DV_MIG_INSTANCES_MAX; i++) {
        struct dv_simpool *p = &card->pool[i];
        const struct dv_simgi *gi = p->used ? dv_simnode_gi(&s->node, gpu, p->gi_id) : NULL;

        if (p->used && (!gi || gi_bytes(g, gi) != p->bytes) &&
            dv_memory_pool_remove(card->memory, p->pool) == 0)
            p->used = false;
    }
    for (uint32_t i = 0; i < DV_MIG_INSTANCES_MAX; i++) {
        if (g->gi[i].used && !pool_of(card, g->gi[i].id))
            pool_add(card, g, &g->gi[i]);
    }
}

/* A card's instances may hold all of it but a little: what the driver keeps for itself in MIG mode
 * is inside the instances' own figures. */
static int memory_make(struct dv_simserver *s, uint32_t gpu)
{
    struct dv_simgpu *g = &s->node.gpu[gpu];
    struct dv_simcard *card = &s->card[gpu];
    struct dv_memory_config c = {.capacity = s->spec.gpu[gpu].memory_bytes,
                                 .reserved = g->mig_current ? 0 : g->model->reserved_bytes,
                                 .allocations_max = 1u << 22,
                                 .owners_max = 2 * DV_SIM_PROCESSES_MAX};
    struct dv_memory *m;
    int r = dv_memory_new(&c, &m);

    if (r < 0)
        return r;
    dv_memory_free(card->memory);
    card->memory = m;
    card->mig = g->mig_current;
    card->restarts = g->restarts;
    memset(card->pool, 0, sizeof(card->pool));
    g->memory =
        (struct dv_simmem){.total_bytes = c.capacity, .reserved_bytes = g->model->reserved_bytes};
    return 0;
}

/* ---- bytes ---- */

static void copy_usage(struct dv_simserver *s, uint32_t gpu, uint32_t gi)
{
    struct dv_simcard *card = &s->card[gpu];
    struct dv_simgi *instance = gi == DV_SIM_ANY ? NULL : dv_simnode_gi(&s->node, gpu, gi);
    const struct dv_simpool *pool = gi == DV_SIM_ANY ? NULL : pool_of(card, gi);
    struct dv_memory_usage u;

    dv_memory_device(card->memory, &u);
    s->node.gpu[gpu].memory.used_bytes = u.used;
    s->node.gpu[gpu].memory.high_water_bytes = u.high_water;
    if (instance && pool && dv_memory_pool(card->memory, pool->pool, &u) == 0)
        instance->memory = (struct dv_simmem){
            .total_bytes = pool->bytes, .used_bytes = u.used, .high_water_bytes = u.high_water};
}

static bool limits_allow(struct dv_simserver *s, const struct dv_simproc *p, uint32_t gpu,
                         uint64_t bytes)
{
    struct dv_memory_usage u;

    if (!s->node.n_limits || dv_memory_pool(s->card[gpu].memory, 0, &u) < 0)
        return true;
    return dv_simcgroups_allow(&s->node, p, gpu, dv_memory_round(bytes), u.capacity - u.used);
}

int dv_simcards_take(struct dv_simserver *s, struct dv_simproc *p, uint32_t ctx, uint64_t bytes,
                     uint64_t *ret_id, uint64_t *ret_bytes)
{
    struct dv_simctx *c = &p->ctx[ctx];
    struct dv_simcard *card = &s->card[c->gpu];
    const struct dv_simpool *pool = c->gi_id == DV_SIM_ANY ? NULL : pool_of(card, c->gi_id);
    struct dv_simproc_gpu *pg = &p->gpu[c->gpu];
    uint64_t id, rounded;
    int r;

    if (c->gi_id != DV_SIM_ANY && !pool)
        return -ENOENT;
    if (!pool && !limits_allow(s, p, c->gpu, bytes))
        return DV_MEMORY_FULL;
    r = dv_memory_alloc(card->memory, pool ? pool->pool : 0, (uint64_t)(uintptr_t)p, bytes, &id);
    if (r)
        return r;
    dv_memory_describe(card->memory, id, NULL, NULL, &rounded);
    c->used_bytes += rounded;
    pg->used_bytes += rounded;
    pg->high_water_bytes = DV_MAX(pg->high_water_bytes, pg->used_bytes);
    copy_usage(s, c->gpu, c->gi_id);
    *ret_id = id;
    *ret_bytes = rounded;
    return 0;
}

void dv_simcards_give(struct dv_simserver *s, struct dv_simproc *p, uint32_t ctx, uint64_t id,
                      uint64_t bytes)
{
    struct dv_simctx *c = &p->ctx[ctx];

    if (dv_memory_release(s->card[c->gpu].memory, (uint64_t)(uintptr_t)p, id) < 0)
        return;
    c->used_bytes -= bytes;
    p->gpu[c->gpu].used_bytes -= bytes;
    copy_usage(s, c->gpu, c->gi_id);
}

void dv_simcards_process_gone(struct dv_simserver *s, const struct dv_simproc *p)
{
    for (uint32_t i = 0; i < s->node.n_gpus; i++)
        dv_memory_owner_gone(s->card[i].memory, (uint64_t)(uintptr_t)p);
}

/* ---- turns ---- */

/* NVIDIA publishes no lengths for the settings. These are estimates: each twice the last, as the
 * three priorities of the public Tegra driver (nvgpu: 1.3, 2.6, 5.2 ms), around the node's own. */
static uint64_t timeslice_ns(const struct dv_simserver *s, uint32_t setting)
{
    uint64_t ns = s->spec.timeslice_ns;

    switch ((enum dv_sim_timeslice)setting) {
    case DV_SIM_TIMESLICE_SHORT:
        ns /= 2;
        break;
    case DV_SIM_TIMESLICE_MEDIUM:
        ns *= 2;
        break;
    case DV_SIM_TIMESLICE_LONG:
        ns *= 4;
        break;
    case DV_SIM_TIMESLICE_DEFAULT:
    case DV_SIM_TIMESLICES:
        break;
    }
    return DV_MAX(DV_NS_PER_US, DV_MIN(ns, 10 * DV_NS_PER_S));
}

static void follow_timeslice(struct dv_simserver *s, uint32_t gpu)
{
    struct dv_simcard *card = &s->card[gpu];

    if (card->timeslice == s->node.gpu[gpu].timeslice)
        return;
    card->timeslice = s->node.gpu[gpu].timeslice;
    dv_engine_set_timeslice(s->node.gpu[gpu].engine, s->node.now_ns,
                            timeslice_ns(s, card->timeslice));
}

/* ---- start and changes ---- */

static int engine_make(struct dv_simserver *s, uint32_t gpu)
{
    struct dv_simgpu *g = &s->node.gpu[gpu];
    struct dv_engine_config c;

    dv_engine_config_default(&c);
    c.sm_total = g->model->sm;
    c.timeslice_ns = s->spec.timeslice_ns;
    c.switch_ns = s->spec.switch_ns;
    c.slicing = s->spec.slices == DV_NODESPEC_SLICES_INSTANT ? DV_ENGINE_SLICE_INSTANT
                                                             : DV_ENGINE_SLICE_PHASE;
    for (uint32_t d = 0; d < DV_ENGINE_DIRECTIONS; d++)
        c.copy_bytes_per_s[d] = copy_rate(g->model, d);
    c.copy_latency_ns = COPY_LATENCY_NS;
    c.contexts_max = 2048;
    c.streams_max = 8192;
    c.queue_max = DV_SIM_PENDING_CROSS_MAX + 1;
    c.pending_max = 1u << 22;
    return dv_engine_new(&c, &g->engine);
}

int dv_simcards_init(struct dv_simserver *s, struct dv_err *err)
{
    for (uint32_t i = 0; i < s->node.n_gpus; i++) {
        int r = engine_make(s, i);

        if (r == 0) {
            dv_engine_advance(s->node.gpu[i].engine, s->node.now_ns);
            r = memory_make(s, i);
        }
        if (r < 0)
            return dv_err_set(err, r, "GPU %u: the engine cannot be made: %s", i, strerror(-r));
        s->card[i].energy_ns = s->node.now_ns;
    }
    s->window_ns = DV_NEVER;
    dv_simcards_follow(s);
    return 0;
}

void dv_simcards_done(struct dv_simserver *s)
{
    for (uint32_t i = 0; i < s->node.n_gpus; i++) {
        dv_engine_free(s->node.gpu[i].engine);
        dv_memory_free(s->card[i].memory);
    }
    dv_simaccounting_done(&s->node);
}

void dv_simcards_follow(struct dv_simserver *s)
{
    for (uint32_t i = 0; i < s->node.n_gpus; i++) {
        follow_timeslice(s, i);
        if (s->node.gpu[i].mig_current)
            dv_simaccounting_set(&s->node, i, false);
        follow_places(s, i);
        if (s->card[i].mig != s->node.gpu[i].mig_current ||
            s->card[i].restarts != s->node.gpu[i].restarts)
            memory_make(s, i);
        follow_pools(s, i);
        copy_usage(s, i, DV_SIM_ANY);
        for (uint32_t k = 0; k < DV_MIG_INSTANCES_MAX; k++) {
            if (s->node.gpu[i].gi[k].used)
                copy_usage(s, i, s->node.gpu[i].gi[k].id);
        }
    }
}

/* ---- time ---- */

void dv_simcards_retire_ctx(struct dv_simserver *s, struct dv_simproc *p, uint32_t ctx)
{
    struct dv_simctx *c = &p->ctx[ctx];
    struct dv_engine *engine = s->node.gpu[c->gpu].engine;
    struct dv_engine_context_stats st;

    if (dv_engine_context_stats(engine, s->node.now_ns, c->engine_context, &st) == 0) {
        p->gpu[c->gpu].gone_executed_ns += st.executed_ns;
        p->gpu[c->gpu].gone_sm_ns += st.busy_sm_ns;
    }
    dv_engine_context_kill(engine, s->node.now_ns, c->engine_context);
}

static void refresh_energy(struct dv_simcard *card, struct dv_simgpu *g, uint64_t now)
{
    uint64_t wall = now - card->energy_ns, busy = DV_MIN(g->busy_ns - card->energy_busy_ns, wall);
    uint64_t idle_mw = g->model->idle_power_mw;
    uint64_t more_mw = DV_MAX(g->power_limit_mw, g->model->idle_power_mw) - idle_mw;

    g->energy_uj += (wall / 1000 * idle_mw + busy / 1000 * more_mw) / 1000;
    card->energy_ns = now;
    card->energy_busy_ns = g->busy_ns;
}

/* Its compute instances, each by its part of it; they fill it at most. */
static void add_to_instance(struct dv_simgi *gi, const struct dv_engine_partition_stats *st)
{
    if (!gi)
        return;
    uint64_t weighted = gi->busy_ns * gi->sm + st->busy_ns * st->sms;
    gi->sm += st->sms;
    gi->busy_ns = gi->sm ? weighted / gi->sm : 0;
    gi->busy_sm_ns += st->busy_sm_ns;
}

static void refresh_gpu(struct dv_simserver *s, uint32_t gpu, uint64_t now)
{
    struct dv_simcard *card = &s->card[gpu];
    struct dv_simgpu *g = &s->node.gpu[gpu];

    g->busy_ns = card->gone_busy_ns;
    g->switch_ns = card->gone_switch_ns;
    g->busy_sm_ns = card->gone_busy_sm_ns;
    for (uint32_t i = 0; i < DV_MIG_INSTANCES_MAX; i++)
        g->gi[i].busy_ns = g->gi[i].busy_sm_ns = g->gi[i].sm = 0;
    for (uint32_t i = 0; i < DV_SIM_GPUS_MAX; i++) {
        struct dv_engine_partition_stats st;

        if (!card->place[i].used ||
            dv_engine_partition_stats(g->engine, now, card->place[i].partition, &st) < 0)
            continue;
        g->busy_ns += part_of_card(g, st.busy_ns, st.sms);
        g->switch_ns += part_of_card(g, st.switch_ns, st.sms);
        g->busy_sm_ns += st.busy_sm_ns;
        add_to_instance(dv_simnode_gi(&s->node, gpu, card->place[i].gi_id), &st);
    }
    refresh_energy(card, g, now);
}

static void refresh_process(struct dv_simserver *s, struct dv_simproc *p, uint64_t now)
{
    for (uint32_t g = 0; g < s->node.n_gpus; g++) {
        p->gpu[g].executed_ns = p->gpu[g].gone_executed_ns;
        p->gpu[g].sm_ns = p->gpu[g].gone_sm_ns;
    }
    for (uint32_t i = 0; i < DV_SIM_CONTEXTS_MAX; i++) {
        const struct dv_simctx *c = &p->ctx[i];
        struct dv_engine_context_stats st;

        if (!c->used || c->error ||
            dv_engine_context_stats(s->node.gpu[c->gpu].engine, now, c->engine_context, &st) < 0)
            continue;
        p->gpu[c->gpu].executed_ns += st.executed_ns;
        p->gpu[c->gpu].sm_ns += st.busy_sm_ns;
    }
}

void dv_simcards_refresh(struct dv_simserver *s, uint64_t now)
{
    for (uint32_t i = 0; i < s->node.n_gpus; i++)
        refresh_gpu(s, i, now);
    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        if (s->node.processes[i])
            refresh_process(s, s->node.processes[i], now);
    }
}

/* ---- samples ---- */

static uint64_t wall_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint32_t permille(uint64_t part, uint64_t whole)
{
    return whole ? (uint32_t)DV_MIN(1000, part * 1000 / whole) : 0;
}

/* Memory utilization is not modelled apart: half of what the SMs show is a usual figure. */
static void add_sample(struct dv_simsample *samples, uint32_t *head, uint64_t end_ns, uint64_t us,
                       uint32_t sm)
{
    samples[*head % DV_SIM_SAMPLES] = (struct dv_simsample){
        .time_us = us, .end_ns = end_ns, .sm_permille = sm, .memory_permille = sm / 2};
    ++*head;
}

static void window_start(struct dv_simserver *s, uint64_t now)
{
    dv_simcards_refresh(s, now);
    s->window_ns = now;
    for (uint32_t i = 0; i < s->node.n_gpus; i++)
        s->card[i].window_busy_ns = s->node.gpu[i].busy_ns;
    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        struct dv_simproc *p = s->node.processes[i];

        for (uint32_t g = 0; p && g < s->node.n_gpus; g++)
            ((struct dv_simpid *)p->server)->window[g].executed_ns = p->gpu[g].executed_ns;
    }
}

static void window_end(struct dv_simserver *s, uint64_t now)
{
    uint64_t us = wall_us(), wall = now - s->window_ns;

    dv_simcards_refresh(s, now);
    for (uint32_t i = 0; i < s->node.n_gpus; i++) {
        struct dv_simgpu *g = &s->node.gpu[i];

        add_sample(g->samples, &g->samples_head, now, us,
                   permille(g->busy_ns - s->card[i].window_busy_ns, wall));
    }
    for (uint32_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        struct dv_simproc *p = s->node.processes[i];
        const struct dv_simpid *pid = p ? p->server : NULL;

        for (uint32_t g = 0; p && g < s->node.n_gpus; g++) {
            if (p->gpu[g].contexts)
                add_sample(p->gpu[g].samples, &p->gpu[g].samples_head, now, us,
                           permille(p->gpu[g].executed_ns - pid->window[g].executed_ns, wall));
        }
    }
}

static bool anything_runs(const struct dv_simserver *s)
{
    for (uint32_t i = 0; i < s->node.n_gpus; i++) {
        if (dv_engine_next(s->node.gpu[i].engine) != DV_NEVER)
            return true;
    }
    return false;
}

static bool anything_ran(const struct dv_simserver *s)
{
    for (uint32_t i = 0; i < s->node.n_gpus; i++) {
        if (s->node.gpu[i].busy_ns != s->card[i].window_busy_ns)
            return true;
    }
    return false;
}

/* Nothing runs, nothing ticks: an idle server sleeps. A window without work ends the samples. */
uint64_t dv_simcards_sample(struct dv_simserver *s, uint64_t now)
{
    bool ran;

    if (s->window_ns == DV_NEVER) {
        if (!anything_runs(s))
            return DV_NEVER;
        window_start(s, now);
    } else if (now >= s->window_ns + DV_SIM_SAMPLE_NS) {
        window_end(s, now);
        ran = anything_ran(s) || anything_runs(s);
        window_start(s, now);
        if (!ran)
            s->window_ns = DV_NEVER;
    }
    return s->window_ns == DV_NEVER ? DV_NEVER : s->window_ns + DV_SIM_SAMPLE_NS;
}
