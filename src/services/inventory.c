/* SPDX-License-Identifier: Apache-2.0 */
#include "inventory.h"

#include "arm.h"
#include "audit.h"
#include "claims.h"
#include "doctor.h"
#include "keep.h"
#include "layouts.h"
#include "meter.h"
#include "meter_ended.h"
#include "missing.h"
#include "model/gpu_model.h"
#include "mps.h"
#include "policy/xid.h"
#include "render/health_text.h"
#include "strangers.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "wiring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUND_NS (5 * DV_NS_PER_S)
#define TIMESLICES_NS (600 * DV_NS_PER_S)
#define ROUNDS_MAX                                                                                 \
    10u /* that may fail before the node goes on without the GPUs that do not answer */
#define REFUSALS_MAX 3u /* looks at a GPU that may fail before it counts as lost */
#define SAMPLE_BUSY_NS (250 * DV_NS_PER_MS)
/* The driver's samples of processes come every 167 ms: where they meter, none is to be missed. */
#define SAMPLE_METERED_NS (125 * DV_NS_PER_MS)
#define SAMPLE_IDLE_NS DV_NS_PER_S
#define WATCH_NS DV_NS_PER_S
#define START_NS (60 * DV_NS_PER_S)
#define TIMED_OUT "a call into the driver did not return in time"
#define DIED "the process that talks to the driver died"
#define MPS_NAMESPACES_DRIVER 615u /* the first release of MPS protocol 3 */
#define XID_REMEMBERED_NS (600 * DV_NS_PER_S)

/* The worker died before all GPUs were known, and the next one comes: part of the start, unless
 * that goes on for long. What the driver has said, or that it did not in time, is no part of it. */
static bool starts_anew(const struct dv_node *node, enum dv_hardware_link_state link)
{
    bool said = node->driver_status > 0 && node->driver_detail[0];
    if (node->ready || said || node->driver_status == -ETIMEDOUT ||
        dv_clock_now() - node->started_ns >= START_NS)
        return false;
    return link == DV_HARDWARE_LINK_CRASHED ||
           (link == DV_HARDWARE_LINK_OK && node->driver_status < 0);
}

const char *dv_inventory_driver_state(const struct dv_node *node)
{
    enum dv_hardware_link_state link = dv_hardware_link_state(node->link);
    if (starts_anew(node, link))
        return "starting";
    if (link == DV_HARDWARE_LINK_WEDGED || link == DV_HARDWARE_LINK_CRASHED ||
        link == DV_HARDWARE_LINK_ALONE)
        return "wedged";
    if (dv_hardware_is_absent(node->driver_status))
        return "missing";
    if (node->driver_status == 0)
        return "ok";
    return node->driver_detail[0] ? "failed" : "starting";
}

const char *dv_inventory_driver_detail(const struct dv_node *node)
{
    if (node->driver_detail[0])
        return node->driver_detail;
    switch (dv_hardware_link_state(node->link)) {
    case DV_HARDWARE_LINK_WEDGED:
        return TIMED_OUT;
    case DV_HARDWARE_LINK_CRASHED:
        return DIED;
    case DV_HARDWARE_LINK_ALONE:
        return "nobody is left to start the process that talks to the driver";
    default:
        return "the driver has not answered yet";
    }
}

/* ---- health ---- */

uint64_t dv_inventory_xid(const struct dv_node *node, uint32_t gpu)
{
    const struct dv_node_gpu *g = &node->gpus[gpu];
    bool counts = dv_xid_needs_reset(g->xid) || dv_clock_now() - g->xid_ns < XID_REMEMBERED_NS;
    return counts ? g->xid : 0;
}

/* What the audit found lowers the health of a GPU that is well otherwise. */
static void judge(const struct dv_node *node, uint32_t i, struct dv_gpu *gpu)
{
    const struct dv_health_verdict *v = &node->gpus[i].health.verdict;
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    bool stranger = node->gpus[i].stranger && !dv_snapshot_gpu(node->snapshot, i);
    if (stranger && v->cause == DV_HEALTH_NOT_SEEN)
        dv_str_add(&text, "the driver does not say what it is");
    else
        dv_health_text(v, &text);
    if (stranger && v->cause == DV_HEALTH_LOST)
        dv_str_add(&text, ", since before divvyd started");
    gpu->health = v->health;
    snprintf(gpu->health_detail, sizeof gpu->health_detail, "%s", dv_str_get(&text));
    for (size_t k = 0; v->health == DV_GPU_HEALTH_OK && k < node->n_findings; k++) {
        const struct dv_finding *f = &node->findings[k];
        if (f->gpu != i || f->hits < f->needed)
            continue;
        gpu->health = DV_GPU_HEALTH_DEGRADED;
        snprintf(gpu->health_detail, sizeof gpu->health_detail, "%.*s",
                 (int)sizeof gpu->health_detail - 1, f->problem);
    }
}

static enum dv_health_driver driver_of(const struct dv_node *node)
{
    if (!strcmp(dv_inventory_driver_state(node), "ok"))
        return DV_HEALTH_DRIVER_ANSWERS;
    return node->driver_status == DV_HARDWARE_NOT_LOADED ? DV_HEALTH_DRIVER_UNLOADED
                                                         : DV_HEALTH_DRIVER_SILENT;
}

/* Since when, for people: kept, so that it does not move with the clock that they read. */
static void date_health(struct dv_node_gpu *g, uint64_t now)
{
    const struct dv_health_verdict *v = &g->health.verdict;
    if (g->health_since_unix && g->health_since_ns == v->since_ns)
        return;
    g->health_since_ns = v->since_ns;
    g->health_since_unix = dv_clock_unix() - (int64_t)((now - v->since_ns) / DV_NS_PER_S);
}

static void update_health(struct dv_node *node, const struct dv_gpu *old)
{
    struct dv_node_gpu *g = &node->gpus[old->index];
    struct dv_event e = {.kind = DV_EVENT_GPU_SEEN, .gpu = *old};
    char detail[DV_LOG_VALUE];
    judge(node, old->index, &e.gpu);
    if (e.gpu.health == old->health && !strcmp(e.gpu.health_detail, old->health_detail))
        return;
    dv_log(e.gpu.health == DV_GPU_HEALTH_OK ? DV_LOG_INFO : DV_LOG_WARNING, "gpu.health",
           "gpu=%u health=%s detail=%s", old->index, dv_gpu_health_name(e.gpu.health),
           dv_log_value(e.gpu.health_detail, detail));
    if (old == g->stranger)
        *g->stranger = e.gpu;
    else
        dv_node_apply(node, &e);
    if (g->health.verdict.cause != DV_HEALTH_DRIVER) /* which says nothing of the GPU */
        dv_missing_note(node, &e.gpu);
}

void dv_inventory_update_health(struct dv_node *node)
{
    uint64_t now = dv_clock_now();
    enum dv_health_driver driver = driver_of(node);
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++) {
        const struct dv_gpu *gpu = dv_strangers_gpu(node, i);
        struct dv_node_gpu *g = &node->gpus[i];
        if (!gpu)
            continue;
        if (g->health.driver != driver)
            dv_health_driver(&g->health, now, driver);
        date_health(g, now);
        update_health(node, gpu);
    }
}

/* The driver has told about the GPU: of all that is known, its health is judged by this. */
static void observe(struct dv_node *node, const struct dv_facts_gpu *f)
{
    struct dv_node_gpu *g = &node->gpus[f->index];
    struct dv_health_facts facts = {.lost = f->lost == 1,
                                    .rows_pending = f->remap_pending,
                                    .rows_failed = f->remap_failed,
                                    .pages_pending = f->pages_pending,
                                    .links_up = f->nvlinks_up,
                                    .ecc_uncorrected = f->ecc_uncorrected,
                                    .energy_mj = f->energy_mj};
    uint64_t now = dv_clock_now();
    dv_health_observe(&g->health, &node->health_switches, now, &facts);
    if (g->health.restarted && !g->health.reset_xid)
        g->xid = 0;
    if (g->health.restarted)
        dv_log(DV_LOG_INFO, "gpu.restarted", "gpu=%u", f->index);
    date_health(g, now);
}

/* ---- facts to the model ---- */

/* No call says how many clients an MPS daemon takes: NVIDIA's MPS guide (r580) has 48 from Volta on
 * and 16 before. What a daemon itself says replaces it (dv_mps_status.clients_max). */
static uint32_t mps_clients(const struct dv_facts_gpu *f)
{
    if (f->cc_major == DV_FACT_UNKNOWN32)
        return 0;
    return f->cc_major >= 7 ? 48 : 16;
}

static uint32_t known(uint32_t fact)
{
    return fact == DV_FACT_UNKNOWN32 ? 0 : fact;
}

static void fill_gpu(const struct dv_node *node, const struct dv_facts_gpu *f, struct dv_gpu *gpu)
{
    const struct dv_gpu_model *model =
        f->pci_device_id == DV_FACT_UNKNOWN32 ? NULL : dv_gpu_model_by_pci(f->pci_device_id >> 16);
    memset(gpu, 0, sizeof *gpu);
    gpu->index = f->index;
    memcpy(gpu->uuid, f->uuid, sizeof gpu->uuid);
    memcpy(gpu->model, f->model, sizeof gpu->model);
    memcpy(gpu->pci_bus_id, f->pci, sizeof gpu->pci_bus_id);
    gpu->pci_device_id = f->pci_device_id == DV_FACT_UNKNOWN32 ? 0 : f->pci_device_id >> 16;
    gpu->pci_class = known(f->pci_class);
    gpu->cc_major = known(f->cc_major);
    gpu->cc_minor = known(f->cc_minor);
    memcpy(gpu->fabric_cluster, f->fabric_cluster, sizeof gpu->fabric_cluster);
    gpu->fabric_clique = f->fabric_cluster[0] ? f->fabric_clique : 0;
    gpu->vgpu = f->vgpu == 1;
    gpu->numa = f->numa == DV_FACT_UNKNOWN32 ? -1 : (int32_t)f->numa;
    gpu->memory_bytes = f->memory_bytes == DV_FACT_UNKNOWN ? 0 : f->memory_bytes;
    uint64_t reserved = f->memory_reserved_bytes == DV_FACT_UNKNOWN ? 0 : f->memory_reserved_bytes;
    gpu->usable_bytes = gpu->memory_bytes > reserved ? gpu->memory_bytes - reserved : 0;
    gpu->context_bytes = dv_node_context_bytes(node, f->index, DV_MODE_AUTO);
    gpu->sm = model ? model->sm : 0;
    gpu->mig_capable = f->mig_current != DV_FACT_UNKNOWN32;
    gpu->mig_enabled = f->mig_current == 1;
    gpu->pci_subsystem_id = known(f->pci_subsystem_id);
    gpu->memory_limits = f->memory_limits == 1 && node->limits_usable;
    gpu->mps_clients =
        node->gpus[f->index].mps_clients ? node->gpus[f->index].mps_clients : mps_clients(f);
    /* Folders of their own keep tenants apart only where root can give them away. */
    gpu->mps_namespaces =
        node->config.privileged && strtoul(node->driver.version, NULL, 10) >= MPS_NAMESPACES_DRIVER;
    judge(node, f->index, gpu);
}

static void fill_whole(const struct dv_gpu *gpu, struct dv_device *d)
{
    memset(d, 0, sizeof *d);
    memcpy(d->uuid, gpu->uuid, sizeof d->uuid);
    d->gpu = gpu->index;
    d->memory_bytes = gpu->usable_bytes;
    d->compute = DV_COMPUTE_FULL;
}

static int8_t engines(uint32_t fact)
{
    return (int8_t)DV_MIN(known(fact), (uint32_t)INT8_MAX);
}

static void fill_attributes(const struct dv_facts_mig *m, struct dv_device *d)
{
    d->gi_slices = known(m->gi_slices);
    d->ci_slices = known(m->ci_slices);
    d->sm = known(m->sm);
    d->engines = (struct dv_mig_engines){.copy = engines(m->copy),
                                         .decoder = engines(m->decoder),
                                         .encoder = engines(m->encoder),
                                         .jpeg = engines(m->jpeg),
                                         .ofa = engines(m->ofa)};
}

static bool fill_mig(const struct dv_facts_gpu *f, const struct dv_facts_mig *m,
                     struct dv_device *d)
{
    uint32_t slices = f->geometry.slices ? f->geometry.slices : 7;
    uint32_t part = m->ci_slices != DV_FACT_UNKNOWN32 ? m->ci_slices : m->gi_slices;
    memset(d, 0, sizeof *d);
    if (part == DV_FACT_UNKNOWN32 || !part || part > slices || m->memory_bytes == DV_FACT_UNKNOWN)
        return false; /* what it holds is unknown: it cannot be handed out */
    memcpy(d->uuid, m->uuid, sizeof d->uuid);
    memcpy(d->profile, m->profile, sizeof d->profile);
    d->gpu = f->index;
    d->mig = true;
    d->gi = m->gi;
    d->ci = m->ci;
    d->placement_start = known(m->start);
    d->placement_size = known(m->size);
    d->memory_bytes = m->memory_bytes;
    d->compute = DV_COMPUTE_FULL / slices * part;
    fill_attributes(m, d);
    return true;
}

static bool listed(const struct dv_facts_gpu *f, const char *uuid)
{
    if (f->mig_current != 1)
        return !strcmp(f->uuid, uuid);
    for (uint32_t i = 0; i < f->n_mig; i++)
        if (!strcmp(f->mig[i].uuid, uuid))
            return true;
    return false;
}

/* Devices that do not show any more leave, unless somebody holds them: nothing in use is
 * destroyed. */
static void drop_devices(struct dv_node *node, uint32_t gpu, const struct dv_facts_gpu *f)
{
    for (size_t i = node->snapshot->n_devices; i-- > 0;) {
        const struct dv_device *d = &node->snapshot->devices[i];
        if (d->gpu != gpu || (f && listed(f, d->uuid)))
            continue;
        struct dv_event e = {.kind = DV_EVENT_DEVICE_GONE, .device = *d};
        if (!dv_snapshot_held(node->snapshot, d->uuid).slices)
            dv_node_apply(node, &e);
    }
}

static void see_device(struct dv_node *node, const struct dv_device *d)
{
    struct dv_event e = {.kind = DV_EVENT_DEVICE_SEEN, .device = *d};
    const struct dv_device *old = dv_snapshot_device(node->snapshot, d->uuid);
    if (old && old->gpu != d->gpu && !dv_snapshot_held(node->snapshot, d->uuid).slices) {
        /* Its GPU has another index: it leaves, and comes. */
        dv_node_apply(node, &(struct dv_event){.kind = DV_EVENT_DEVICE_GONE, .device = *old});
        old = NULL;
    }
    dv_reconcile_assign(node, &e.device);
    if (old)
        e.device.mode = old->mode;
    if (!old || !dv_snapshot_device_equal(old, &e.device))
        dv_node_apply(node, &e);
}

static bool has_devices(const struct dv_node *node, uint32_t gpu)
{
    for (size_t i = 0; i < node->snapshot->n_devices; i++)
        if (node->snapshot->devices[i].gpu == gpu)
            return true;
    return false;
}

static void see_gpu(struct dv_node *node, const struct dv_facts_gpu *f)
{
    struct dv_event e = {.kind = DV_EVENT_GPU_SEEN};
    struct dv_device d;
    if (!f->uuid[0] || !f->memory_bytes || f->memory_bytes == DV_FACT_UNKNOWN)
        return; /* lost since before we knew it: strangers.h */
    fill_gpu(node, f, &e.gpu);
    drop_devices(node, f->index, f);
    const struct dv_gpu *old = dv_snapshot_gpu(node->snapshot, f->index);
    if (old && old->mig_enabled != e.gpu.mig_enabled && has_devices(node, f->index))
        return; /* somebody holds what it was cut into before: first they leave */
    if (!old || !dv_snapshot_gpu_equal(old, &e.gpu))
        dv_node_apply(node, &e);
    if (f->mig_current != 1) {
        fill_whole(&e.gpu, &d);
        see_device(node, &d);
        return;
    }
    for (uint32_t i = 0; i < f->n_mig; i++)
        if (fill_mig(f, &f->mig[i], &d))
            see_device(node, &d);
}

/* ---- asking ---- */

/* The driver counts it no more. What is held stays until it is given back. */
static void lose_gpu(struct dv_node *node, uint32_t i)
{
    if (node->gpus[i].present) {
        dv_layouts_gone(node, i);
        dv_wiring_stale(node);
    }
    node->gpus[i].present = false;
    if (!dv_snapshot_gpu(node->snapshot, i))
        return;
    drop_devices(node, i, NULL);
    if (has_devices(node, i))
        dv_health_lost(&node->gpus[i].health, dv_clock_now());
    else
        dv_node_apply(node, &(struct dv_event){.kind = DV_EVENT_GPU_GONE, .gpu = {.index = i}});
}

static void end_of_round(struct dv_node *node)
{
    node->inventory_asked = false;
    /* Slices of before a restart are given back once all GPUs are known, not before: those on a
     * GPU that has not answered yet would be lost. But one sick GPU does not stop a node. */
    if (node->inventory_failed && !node->ready && ++node->inventory_rounds < ROUNDS_MAX)
        return;
    for (uint32_t i = node->driver.gpus; i < DV_FACTS_GPUS_MAX; i++)
        lose_gpu(node, i);
    dv_missing_load(node);
    dv_strangers_tick(node);
    bool probed = dv_arm_probe(node);
    if (!node->ready && !probed)
        return; /* the round after this one knows what walls there are */
    if (!node->ready) {
        node->ready = true;
        dv_log(DV_LOG_INFO, "inventory.ready", "gpus=%u devices=%zu driver=%s", node->driver.gpus,
               node->snapshot->n_devices, node->driver.version);
        dv_keep_restore(node);
        if (dv_meter_start(node) < 0)
            dv_log(DV_LOG_ERROR, "books.failed", "error=\"out of memory\"");
        dv_arm_restored(node);
        dv_layouts_restore(node);
    }
    dv_inventory_update_health(node);
    if (!node->inventory_failed)
        dv_missing_tick(node);
    dv_claims_pump(node);
}

static void count_down(struct dv_node *node)
{
    if (--node->inventory_left == 0 && !dv_wiring_ask(node, end_of_round))
        end_of_round(node);
}

/* Is it joined to the others otherwise than before, maybe? In MIG mode a GPU has no NVLinks. */
static bool is_rewired(const struct dv_node_gpu *g, const struct dv_facts_gpu *f)
{
    return (g->lost && !f->lost) || g->facts->mig_current != f->mig_current ||
           g->facts->numa != f->numa;
}

static void take_gpu(struct dv_node *node, const struct dv_facts_gpu *f)
{
    struct dv_node_gpu *g = &node->gpus[f->index];
    if (!g->facts)
        g->facts = calloc(1, sizeof *g->facts);
    if (!g->facts)
        return;
    bool known = f->uuid[0] != 0;
    const struct dv_gpu *old = dv_snapshot_gpu(node->snapshot, f->index);
    bool another = known && old && strcmp(old->uuid, f->uuid) != 0;
    bool arrives = known && (!old || !g->present || another);
    if (another) /* GPUs are numbered anew when one has gone */
        dv_layouts_gone(node, f->index);
    if (arrives || (known && is_rewired(g, f)))
        dv_wiring_stale(node);
    uint32_t timeslice = g->present ? g->facts->timeslice : DV_FACT_UNKNOWN32;
    if (known || !g->present)
        *g->facts = *f;
    if (g->facts->timeslice == DV_FACT_UNKNOWN32)
        g->facts->timeslice = timeslice; /* a new worker has not asked for it yet */
    if (g->facts->mig_current == g->facts->mig_pending)
        g->mig_pending_unix = 0;
    else if (!g->mig_pending_unix)
        g->mig_pending_unix = dv_clock_unix();
    g->present = true;
    if (another) {
        dv_health_init(&g->health, dv_clock_now());
        g->xid = g->ghost_ns = 0;
    }
    observe(node, f);
    g->lost = f->lost;
    g->refusals = 0;
    see_gpu(node, g->facts);
    dv_meter_ended_enable(node, f->index);
    if (arrives)
        dv_layouts_arrived(node, f->index);
}

struct gpu_asked {
    struct dv_node *node;
    uint32_t gpu;
};

/* The driver counts it and answers what it is with an error. Once is nothing: it may be busy. */
static void refuse(struct dv_node *node, uint32_t gpu, const struct dv_worker_reply *reply)
{
    struct dv_node_gpu *g = &node->gpus[gpu];
    char value[DV_LOG_VALUE];
    if (++g->refusals == 1)
        dv_log(DV_LOG_WARNING, "gpu.refused", "gpu=%u detail=%s", gpu,
               dv_log_value(reply->message, value));
    if (g->refusals < REFUSALS_MAX) {
        node->inventory_failed = true;
        return;
    }
    g->lost = true;
    dv_health_lost(&g->health, dv_clock_now());
}

static void on_gpu(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct gpu_asked *asked = arg;
    struct dv_node *node = asked->node;
    uint32_t gpu = asked->gpu;
    free(asked);
    if (reply && reply->status == 0 && reply->u.gpu.index == gpu)
        take_gpu(node, &reply->u.gpu);
    else if (reply && reply->status > 0 && reply->status != DV_HARDWARE_NOT_PERMITTED)
        refuse(node, gpu, reply);
    else
        node->inventory_failed = true;
    count_down(node);
}

static void on_look(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct gpu_asked *asked = arg;
    struct dv_node *node = asked->node;
    uint32_t gpu = asked->gpu;
    free(asked);
    bool seen = reply && reply->status == 0 && reply->u.gpu.index == gpu;
    if (seen) {
        take_gpu(node, &reply->u.gpu);
        dv_claims_pump(node);
    }
    dv_reconcile_seen(node, gpu, seen, reply ? reply->message : NULL);
}

int dv_inventory_look(struct dv_node *node, uint32_t gpu)
{
    struct dv_worker_request q = {.op = DV_WORKER_GPU, .index = gpu};
    struct gpu_asked *asked = malloc(sizeof *asked);
    if (!asked)
        return -ENOMEM;
    *asked = (struct gpu_asked){node, gpu};
    int r = dv_hardware_link_ask(node->link, &q, on_look, asked);
    if (r < 0)
        free(asked);
    return r;
}

static void set_driver(struct dv_node *node, int status, const char *detail)
{
    char value[DV_LOG_VALUE];
    if (status != node->driver_status && status)
        dv_log(DV_LOG_WARNING, "driver.state", "status=%d detail=%s", status,
               dv_log_value(detail, value));
    if (status)
        dv_telemetry_driver_failed(node);
    node->driver_status = status;
    snprintf(node->driver_detail, sizeof node->driver_detail, "%s", detail);
}

static void on_timeslices(void *arg, const struct dv_worker_reply *reply, int error)
{
    /* Whatever the answer: the worker tells what it knows with each GPU. */
}

/* Rarely: it runs a program that takes long where GPUs sleep, and others seldom change it. */
static void ask_timeslices(struct dv_node *node)
{
    struct dv_worker_request q = {.op = DV_WORKER_TIMESLICES};
    uint64_t now = dv_clock_now();
    uint32_t worker = dv_hardware_link_replaced(node->link);
    if (node->timeslices_ns && node->timeslices_worker == worker &&
        now - node->timeslices_ns < TIMESLICES_NS)
        return;
    node->timeslices_ns = now;
    node->timeslices_worker = worker;
    dv_hardware_link_ask(node->link, &q, on_timeslices, node);
}

static void ask_gpu(struct dv_node *node, uint32_t gpu)
{
    struct dv_worker_request q = {.op = DV_WORKER_GPU, .index = gpu};
    struct gpu_asked *asked = malloc(sizeof *asked);
    if (asked)
        *asked = (struct gpu_asked){node, gpu};
    if (asked && dv_hardware_link_ask(node->link, &q, on_gpu, asked) == 0) {
        node->inventory_left++;
        return;
    }
    node->inventory_failed = true;
    free(asked);
}

static void on_driver(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct dv_node *node = arg;
    if (!reply || reply->status) {
        set_driver(node, reply ? reply->status : error,
                   reply                 ? reply->message
                   : error == -ETIMEDOUT ? TIMED_OUT
                                         : DIED);
        node->inventory_asked = false;
        dv_inventory_update_health(node);
        return;
    }
    node->driver = reply->u.driver;
    node->driver.gpus = DV_MIN(node->driver.gpus, DV_FACTS_GPUS_MAX);
    set_driver(node, 0, "");
    node->inventory_failed = false;
    node->inventory_left = 1;
    ask_timeslices(node);
    for (uint32_t i = 0; i < node->driver.gpus; i++)
        ask_gpu(node, i);
    count_down(node);
}

static void take_sample(struct dv_node *node, uint32_t i, const struct dv_facts_sample *s)
{
    struct dv_node_gpu *g = &node->gpus[i];
    bool refused = g->refusals >= REFUSALS_MAX; /* that it is back only a look can tell */
    if (s->lost)
        dv_health_lost(&g->health, dv_clock_now());
    else if (g->lost && !refused)
        node->inventory_ns = 0; /* it is back: is it well? */
    g->lost = s->lost || refused;
    if (s->lost)
        return;
    if (g->sampled && g->mig_layout != s->mig_layout)
        node->inventory_ns = 0; /* somebody has cut the GPU anew: look at once */
    g->mig_layout = s->mig_layout;
    g->sampled = true;
    g->memory_known = s->memory_used_bytes != DV_FACT_UNKNOWN;
    g->memory_used_bytes = g->memory_known ? s->memory_used_bytes : 0;
    g->gpu_percent = s->gpu_percent;
    g->processes_known = s->processes_known;
    g->n_processes = DV_MIN(s->n_processes, DV_FACTS_PROCESSES_MAX);
    memcpy(g->processes, s->processes, g->n_processes * sizeof g->processes[0]);
    dv_doctor_sample(node, i, dv_clock_now());
    dv_audit_sample(node, i, s);
}

static void on_sample(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct gpu_asked *asked = arg;
    struct dv_node *node = asked->node;
    uint32_t i = asked->gpu;
    free(asked);
    node->gpus[i].asking = false;
    dv_telemetry_sampled(node, i, reply && reply->status == 0);
    if (reply && reply->status == 0)
        take_sample(node, i, &reply->u.sample);
    else if (error)
        set_driver(node, error, error == -ETIMEDOUT ? TIMED_OUT : DIED);
    dv_inventory_update_health(node);
}

static void on_events(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct dv_node *node = arg;
    if (!reply || reply->status)
        return;
    for (uint32_t i = 0; i < DV_MIN(reply->count, DV_WORKER_EVENTS_MAX); i++) {
        const struct dv_facts_event *e = &reply->u.events[i];
        if (e->gpu >= DV_FACTS_GPUS_MAX)
            continue;
        struct dv_node_gpu *g = &node->gpus[e->gpu];
        /* What matters less does not hide what still counts. */
        if (!dv_inventory_xid(node, e->gpu) || dv_xid_kind(e->xid) >= dv_xid_kind(g->xid)) {
            g->xid = e->xid;
            g->xid_ns = dv_clock_now();
        }
        dv_health_xid(&g->health, &node->health_switches, dv_clock_now(), e->xid, e->energy_mj);
        if (dv_xid_needs_reset(e->xid))
            node->inventory_ns = 0; /* what else the driver says of it is known at once */
        dv_telemetry_xid(node, e->gpu, e->xid);
        dv_mps_xid(node, e->gpu, e->gi, e->xid);
        dv_log(DV_LOG_WARNING, "gpu.xid", "gpu=%u xid=%llu", e->gpu, (unsigned long long)e->xid);
    }
    if (reply->count)
        dv_inventory_update_health(node);
}

static void on_watched(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct gpu_asked *asked = arg;
    struct dv_node *node = asked->node;
    uint32_t gpu = asked->gpu;
    free(asked);
    node->gpus[gpu].watching = false;
    if (!reply || reply->status || reply->u.gpu.index != gpu)
        return; /* what that means the next look at all of them says */
    take_gpu(node, &reply->u.gpu);
    dv_inventory_update_health(node);
}

/* That a GPU has started anew shows in counters that are lower than before, until they have grown
 * again: one that waits for it is looked at more often than the others. */
static void watch_gpu(struct dv_node *node, uint32_t i, uint64_t now)
{
    struct dv_node_gpu *g = &node->gpus[i];
    struct gpu_asked *asked;
    struct dv_worker_request q = {.op = DV_WORKER_GPU, .index = i};
    if (g->health.verdict.remedy != DV_HEALTH_RESET || g->lost || g->watching ||
        now - g->watch_ns < WATCH_NS || !(asked = malloc(sizeof *asked)))
        return;
    *asked = (struct gpu_asked){node, i};
    g->watch_ns = now;
    g->watching = true;
    if (dv_hardware_link_ask(node->link, &q, on_watched, asked) < 0) {
        g->watching = false;
        free(asked);
    }
}

static void ask_sample(struct dv_node *node, uint32_t i, uint64_t now)
{
    struct dv_node_gpu *g = &node->gpus[i];
    struct gpu_asked *asked = malloc(sizeof *asked);
    struct dv_worker_request q = {.op = DV_WORKER_SAMPLE, .index = i, .since_us = g->since_us};
    if (!asked)
        return;
    *asked = (struct gpu_asked){node, i};
    g->asking = true;
    g->sample_ns = now;
    if (dv_hardware_link_ask(node->link, &q, on_sample, asked) < 0) {
        g->asking = false;
        free(asked);
    }
}

static bool is_metered_by_samples(const struct dv_node *node, uint32_t gpu)
{
    for (size_t i = 0; i < node->snapshot->n_devices; i++) {
        const struct dv_device *d = &node->snapshot->devices[i];
        if (d->gpu == gpu && d->mode == DV_MODE_TIMESLICE && !d->mig &&
            dv_snapshot_held(node->snapshot, d->uuid).slices)
            return true;
    }
    return node->gpus[gpu].open;
}

void dv_inventory_tick(struct dv_node *node, uint64_t now)
{
    uint64_t pause = node->snapshot->n_slices ? SAMPLE_BUSY_NS : SAMPLE_IDLE_NS;
    if (!node->inventory_asked &&
        (!node->inventory_ns || now - node->inventory_ns >= ROUND_NS ||
         ((node->driver_status || !node->ready) && now - node->inventory_ns >= pause))) {
        struct dv_worker_request q = {.op = DV_WORKER_DRIVER};
        node->inventory_asked = dv_hardware_link_ask(node->link, &q, on_driver, node) == 0;
        node->inventory_ns = now;
    }
    if (!node->ready || node->driver_status)
        return;
    bool any = false;
    for (uint32_t i = 0; i < node->driver.gpus; i++) {
        struct dv_node_gpu *g = &node->gpus[i];
        uint64_t wait = is_metered_by_samples(node, i) ? SAMPLE_METERED_NS : pause;
        watch_gpu(node, i, now);
        if (!g->present || g->asking || now - g->sample_ns < wait - wait / 10)
            continue;
        ask_sample(node, i, now);
        any = true;
    }
    if (any)
        dv_hardware_link_ask(node->link, &(struct dv_worker_request){.op = DV_WORKER_EVENTS},
                             on_events, node);
}
