/* SPDX-License-Identifier: Apache-2.0 */
#include "server/nvml.h"

#include "base/str.h"
#include "server/accounting.h"
#include "server/cgroups.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void dv_simnvml_put(struct dv_simnvml_call *call, const void *data, size_t size)
{
    struct dv_simreply *reply = call->reply;
    if (size > sizeof(reply->data) - reply->size)
        return;
    memcpy(reply->data + reply->size, data, size);
    reply->size += (uint32_t)size;
}

bool dv_simnvml_may_change(const struct dv_simnvml_call *call)
{
    return !call->client->view.limited &&
           (call->client->uid == 0 || call->client->uid == geteuid());
}

static struct dv_simgpu *gpu_of(const struct dv_simnvml_call *call)
{
    return &call->node->gpu[call->request->gpu];
}

/* ---- the node and its devices -----------------------------------------------------------------
 */

static int node_info(struct dv_simnvml_call *call)
{
    const struct dv_simnode *n = call->node;
    struct dv_sim_nvml_node info = {.cuda_version = n->cuda_version,
                                    .gpus = dv_simview_nth(&call->client->view, n->n_gpus),
                                    .cpus = n->cpus,
                                    .threads = n->threads,
                                    .numa_nodes = n->numa_nodes};
    dv_str_copy(info.hostname, sizeof(info.hostname), n->hostname);
    dv_str_copy(info.driver_version, sizeof(info.driver_version), n->driver_version);
    dv_str_copy(info.nvml_version, sizeof(info.nvml_version), n->nvml_version);
    dv_simnvml_put(call, &info, sizeof(info));
    return DV_NVML_SUCCESS;
}

static int found(struct dv_simnvml_call *call, const struct dv_simgpu *g, uint32_t gi, uint32_t ci,
                 const char *uuid)
{
    struct dv_sim_nvml_place place = {
        .gpu = dv_simview_nth(&call->client->view, g->index), .gi = gi, .ci = ci};
    dv_str_copy(place.uuid, sizeof(place.uuid), uuid);
    dv_simnvml_put(call, &place, sizeof(place));
    return DV_NVML_SUCCESS;
}

static int find_mig(struct dv_simnvml_call *call, const struct dv_simgpu *g, const char *uuid)
{
    for (size_t i = 0; i < DV_MIG_INSTANCES_MAX; i++)
        for (size_t k = 0; g->gi[i].used && k < DV_SIM_CIS_MAX; k++)
            if (g->gi[i].ci[k].used && strcmp(g->gi[i].ci[k].uuid, uuid) == 0 &&
                dv_simview_has(&call->client->view, g->index, g->gi[i].id, g->gi[i].ci[k].id))
                return found(call, g, g->gi[i].id, g->gi[i].ci[k].id, uuid);
    return DV_NVML_ERROR_NOT_FOUND;
}

/* "00000000:07:00.0", "0000:07:00.0" and "07:00.0" all name the same place. */
static bool same_bus(const struct dv_simgpu *g, const char *text)
{
    unsigned domain = 0, bus, device, function = 0;
    if (sscanf(text, "%x:%x:%x.%x", &domain, &bus, &device, &function) < 3) {
        domain = 0;
        if (sscanf(text, "%x:%x.%x", &bus, &device, &function) < 2)
            return false;
    }
    return function == 0 && domain == g->pci_domain && bus == g->pci_bus && device == g->pci_device;
}

static int find(struct dv_simnvml_call *call)
{
    const char *text = call->request->text;
    for (uint32_t i = 0; i < call->node->n_gpus; i++) {
        const struct dv_simgpu *g = &call->node->gpu[i];
        bool hit = false;
        if (!dv_simview_has_gpu(&call->client->view, i))
            continue;
        switch ((enum dv_sim_nvml_key)call->request->a) {
        case DV_SIM_NVML_KEY_UUID:
            hit = strcmp(text, g->uuid) == 0;
            if (!hit && find_mig(call, g, text) == DV_NVML_SUCCESS)
                return DV_NVML_SUCCESS;
            break;
        case DV_SIM_NVML_KEY_SERIAL:
            hit = strcmp(text, g->serial) == 0;
            break;
        case DV_SIM_NVML_KEY_BUS:
            hit = same_bus(g, text);
            break;
        }
        if (hit)
            return g->lost ? DV_NVML_ERROR_GPU_IS_LOST
                           : found(call, g, DV_SIM_NVML_NONE, DV_SIM_NVML_NONE, g->uuid);
    }
    return DV_NVML_ERROR_NOT_FOUND;
}

void dv_simnvml_mig_name(const struct dv_simgpu *gpu, const struct dv_simgi *gi,
                         const struct dv_simci *ci, char ret[DV_SIM_NVML_NAME])
{
    const struct dv_mig_profile *p = &gpu->mig->profiles[gi->profile];
    struct dv_mig_compute_profile c;
    char name[DV_MIG_NAME] = "";
    if (dv_simmig_ci_profile(gpu->mig, p, ci->profile, &c) == DV_NVML_SUCCESS)
        dv_mig_compute_name(p, &c, name);
    snprintf(ret, DV_SIM_NVML_NAME, "MIG %s", name);
}

static uint8_t topology_of(enum dv_simlink link)
{
    switch (link) {
    case DV_SIMLINK_SELF:
        return DV_NVML_TOPOLOGY_INTERNAL;
    case DV_SIMLINK_PIX:
        return DV_NVML_TOPOLOGY_SINGLE;
    case DV_SIMLINK_PXB:
        return DV_NVML_TOPOLOGY_MULTIPLE;
    case DV_SIMLINK_PHB:
        return DV_NVML_TOPOLOGY_HOSTBRIDGE;
    case DV_SIMLINK_NODE:
        return DV_NVML_TOPOLOGY_NODE;
    case DV_SIMLINK_SYS:
    case DV_SIMLINKS:
        break;
    }
    return DV_NVML_TOPOLOGY_SYSTEM;
}

static uint32_t engine_count(int8_t count)
{
    return count > 0 ? (uint32_t)count : 0;
}

static void fill_model(const struct dv_simgpu *g, struct dv_sim_nvml_device *d)
{
    const struct dv_gpu_model *m = g->model;
    d->architecture = m->arch;
    d->brand = m->arch <= DV_GPU_ARCH_TURING ? DV_NVML_BRAND_TESLA : DV_NVML_BRAND_NVIDIA;
    d->cc_major = m->cc_major;
    d->cc_minor = m->cc_minor;
    d->pci_id = m->pci_device_id << 16 | 0x10DE;
    d->sm = m->sm;
    d->cores = m->sm * m->cores_per_sm;
    d->memory_bus_bits = m->memory_bus_bits;
    d->copy_engines = m->copy_engines;
    d->ecc = m->ecc;
    d->pcie_generation = m->pcie_generation;
    d->pcie_width = m->pcie_width;
    d->nvlinks = m->nvlinks;
    d->nvlink_version = m->nvlink_version;
    d->mig_capable = g->mig != NULL;
    d->mig_needs_reset = m->mig_mode_needs_gpu_reset;
    d->mig_max = g->mig ? g->mig->slices : 0;
    d->power_default_mw = m->power_limit_mw;
    d->power_max_mw = m->power_limit_mw;
    d->power_min_mw = m->power_limit_mw / 4;
    d->max_clock_sm_mhz = m->clock_sm_mhz;
    d->max_clock_memory_mhz = m->clock_memory_mhz;
    d->bar1_total_bytes = m->bar1_bytes;
    for (size_t i = 0; g->mig && i < g->mig->n_profiles; i++) {
        const struct dv_mig_profile *p = &g->mig->profiles[i];
        if (p->slices != g->mig->slices)
            continue;
        d->decoders = engine_count(p->engines.decoder);
        d->encoders = engine_count(p->engines.encoder);
        d->jpegs = engine_count(p->engines.jpeg);
        d->ofas = engine_count(p->engines.ofa);
    }
}

static void fill_state(struct dv_simnode *node, const struct dv_simview *view, struct dv_simgpu *g,
                       struct dv_sim_nvml_device *d)
{
    d->gpu = dv_simview_nth(view, g->index);
    d->minor = g->minor;
    d->pci_domain = g->pci_domain;
    d->pci_bus = g->pci_bus;
    d->pci_device = g->pci_device;
    d->numa = g->numa;
    d->mig_current = g->mig_current;
    d->mig_pending = g->mig_pending;
    d->persistence = g->persistence;
    d->compute_mode = g->compute_mode;
    d->timeslice = g->timeslice;
    d->accounting = g->accounting;
    d->power_mw = dv_simnode_power_mw(node, g->index);
    d->power_limit_mw = g->power_limit_mw ? g->power_limit_mw : g->model->power_limit_mw;
    d->temperature = dv_simnode_temperature(node, g->index);
    d->clock_sm_mhz = dv_simnode_clock_sm_mhz(node, g->index);
    d->clock_memory_mhz = dv_simnode_clock_memory_mhz(node, g->index);
    d->busy_permille = dv_simnode_utilization(node, g->index);
    if (g->samples_head)
        d->memory_busy_permille =
            g->samples[(g->samples_head - 1) % DV_SIM_SAMPLES].memory_permille;
    d->energy_uj = g->energy_uj;
    d->ecc_volatile = g->ecc_volatile;
    d->ecc_aggregate = g->ecc_aggregate;
    d->rows_pending = g->rows_pending;
    d->rows_remapped = g->rows_remapped;
    d->rows_failure = g->rows_failure;
    for (uint32_t i = 0, nth = 0; i < node->n_gpus; i++) {
        if (!dv_simview_has_gpu(view, i))
            continue;
        d->link[nth].pcie = topology_of((enum dv_simlink)g->link[i].pcie);
        d->link[nth++].nvlinks = g->link[i].nvlinks;
    }
}

static void fill_mig_device(const struct dv_simgpu *g, const struct dv_simgi *gi,
                            const struct dv_simci *ci, struct dv_sim_nvml_device *d)
{
    const struct dv_mig_profile *p = &g->mig->profiles[gi->profile];
    char name[DV_SIM_NVML_NAME];
    dv_simnvml_mig_name(g, gi, ci, name);
    snprintf(d->name, sizeof(d->name), "%.46s %.48s", g->model->product, name);
    dv_str_copy(d->uuid, sizeof(d->uuid), ci->uuid);
    d->gi = gi->id;
    d->ci = ci->id;
    d->sm = ci->sm;
    d->copy_engines = engine_count(p->engines.copy);
    d->decoders = engine_count(p->engines.decoder);
    d->encoders = engine_count(p->engines.encoder);
    d->jpegs = engine_count(p->engines.jpeg);
    d->ofas = engine_count(p->engines.ofa);
    d->bar1_total_bytes = g->model->bar1_bytes / g->mig->grid * p->size;
    d->gi_slices = p->slices;
    d->ci_slices = ci->slices;
}

static int device(struct dv_simnvml_call *call)
{
    struct dv_simgpu *g = gpu_of(call);
    uint32_t gi_id = call->request->gi, ci_id = call->request->ci;
    struct dv_sim_nvml_device d = {.gi = DV_SIM_NVML_NONE, .ci = DV_SIM_NVML_NONE};
    struct dv_simmem memory;
    dv_str_copy(d.uuid, sizeof(d.uuid), g->uuid);
    dv_str_copy(d.name, sizeof(d.name), g->model->product);
    dv_str_copy(d.serial, sizeof(d.serial), g->serial);
    fill_model(g, &d);
    fill_state(call->node, &call->client->view, g, &d);
    if (gi_id != DV_SIM_NVML_NONE) {
        struct dv_simgi *gi = dv_simnode_gi(call->node, g->index, gi_id);
        struct dv_simci *ci = dv_simnode_ci(call->node, g->index, gi_id, ci_id);
        if (!gi || !ci)
            return DV_NVML_ERROR_NOT_FOUND;
        fill_mig_device(g, gi, ci, &d);
    }
    if (dv_simnode_memory(call->node, g->index, gi_id, &memory) < 0)
        return DV_NVML_ERROR_NOT_FOUND;
    if (gi_id == DV_SIM_NVML_NONE && !g->mig_current)
        dv_simcgroups_view(call->node, call->client->pid, g->index, &memory);
    d.memory_total_bytes = memory.total_bytes;
    d.memory_reserved_bytes = memory.reserved_bytes;
    d.memory_used_bytes = memory.used_bytes;
    dv_simnvml_put(call, &d, sizeof(d));
    return DV_NVML_SUCCESS;
}

static int counters(struct dv_simnvml_call *call)
{
    const struct dv_simgpu *g = gpu_of(call);
    struct dv_sim_nvml_counters out = {.now_ns = call->node->now_ns,
                                       .busy_ns = g->busy_ns,
                                       .busy_sm_ns = g->busy_sm_ns,
                                       .sm = g->model->sm};
    if (call->request->gi != DV_SIM_NVML_NONE) {
        const struct dv_simgi *gi = dv_simnode_gi(call->node, g->index, call->request->gi);
        if (!gi)
            return DV_NVML_ERROR_NOT_FOUND;
        out.busy_ns = gi->busy_ns;
        out.busy_sm_ns = gi->busy_sm_ns;
        out.sm = gi->sm;
    }
    dv_simnvml_put(call, &out, sizeof(out));
    return DV_NVML_SUCCESS;
}

/* ---- processes and samples ---------------------------------------------------------------------
 */

static int processes(struct dv_simnvml_call *call)
{
    static struct dv_simnode_usage rows[DV_SIM_PROCESSES_MAX];
    size_t n = dv_simnode_processes(call->node, call->request->gpu, call->request->gi,
                                    call->request->ci, rows, DV_ARRAY_SIZE(rows));
    n = DV_MIN(n, DV_ARRAY_SIZE(rows));
    for (size_t i = 0; i < n; i++) {
        struct dv_sim_nvml_process p = {.pid = (uint32_t)rows[i].pid,
                                        .gi = rows[i].gi_id,
                                        .ci = rows[i].ci_id,
                                        .mps = rows[i].process->mps,
                                        .used_bytes = rows[i].used_bytes};
        dv_simnvml_put(call, &p, sizeof(p));
    }
    return DV_NVML_SUCCESS;
}

static int process_name(struct dv_simnvml_call *call)
{
    const struct dv_simproc *p = dv_simnode_process(call->node, (pid_t)call->request->a);
    if (!p)
        return DV_NVML_ERROR_NOT_FOUND;
    dv_simnvml_put(call, p->name, strlen(p->name) + 1);
    return DV_NVML_SUCCESS;
}

static void put_sample(struct dv_simnvml_call *call, uint32_t pid, const struct dv_simsample *s)
{
    struct dv_sim_nvml_sample out = {.time_us = s->time_us,
                                     .pid = pid,
                                     .busy_permille = s->sm_permille,
                                     .memory_busy_permille = s->memory_permille};
    dv_simnvml_put(call, &out, sizeof(out));
}

static int samples(struct dv_simnvml_call *call)
{
    const struct dv_simgpu *g = gpu_of(call);
    uint32_t first = g->samples_head > DV_SIM_SAMPLES ? g->samples_head - DV_SIM_SAMPLES : 0;
    for (uint32_t i = first; i != g->samples_head; i++)
        if (g->samples[i % DV_SIM_SAMPLES].time_us > call->request->value)
            put_sample(call, 0, &g->samples[i % DV_SIM_SAMPLES]);
    return call->reply->size ? DV_NVML_SUCCESS : DV_NVML_ERROR_NOT_FOUND;
}

/* One sample per process that did anything since then: its newest. NVML does not have it for MIG.
 */
static int process_samples(struct dv_simnvml_call *call)
{
    const struct dv_simgpu *g = gpu_of(call);
    if (g->mig_current)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    for (size_t i = 0; i < DV_SIM_PROCESSES_MAX; i++) {
        const struct dv_simproc *p = call->node->processes[i];
        if (!p || !p->gpu || !p->gpu[g->index].samples_head)
            continue;
        const struct dv_simproc_gpu *pg = &p->gpu[g->index];
        const struct dv_simsample *s = &pg->samples[(pg->samples_head - 1) % DV_SIM_SAMPLES];
        if (s->time_us > call->request->value && s->sm_permille)
            put_sample(call, (uint32_t)p->pid, s);
    }
    return call->reply->size ? DV_NVML_SUCCESS : DV_NVML_ERROR_NOT_FOUND;
}

/* ---- settings ----------------------------------------------------------------------------------
 */

#define TIMESLICE_CC_MAJOR 7 /* the first architecture whose turns can be set */

static int set(struct dv_simnvml_call *call)
{
    struct dv_simgpu *g = gpu_of(call);
    uint64_t value = call->request->value;
    if (!dv_simnvml_may_change(call))
        return DV_NVML_ERROR_NO_PERMISSION;
    switch ((enum dv_sim_nvml_setting)call->request->a) {
    case DV_SIM_NVML_PERSISTENCE:
        if (value > 1)
            return DV_NVML_ERROR_INVALID_ARGUMENT;
        g->persistence = (uint32_t)value;
        return DV_NVML_SUCCESS;
    case DV_SIM_NVML_COMPUTE_MODE:
        if (value == DV_NVML_COMPUTE_EXCLUSIVE_THREAD)
            return DV_NVML_ERROR_NOT_SUPPORTED;
        if (value > DV_NVML_COMPUTE_EXCLUSIVE_PROCESS)
            return DV_NVML_ERROR_INVALID_ARGUMENT;
        if (g->mig_current)
            return DV_NVML_ERROR_NOT_SUPPORTED;
        g->compute_mode = (uint32_t)value;
        return DV_NVML_SUCCESS;
    case DV_SIM_NVML_POWER_LIMIT:
        if (value < g->model->power_limit_mw / 4 || value > g->model->power_limit_mw)
            return DV_NVML_ERROR_INVALID_ARGUMENT;
        g->power_limit_mw = (uint32_t)value;
        return DV_NVML_SUCCESS;
    case DV_SIM_NVML_TIMESLICE:
        if (value >= DV_SIM_TIMESLICES)
            return DV_NVML_ERROR_INVALID_ARGUMENT;
        if (g->model->cc_major < TIMESLICE_CC_MAJOR)
            return DV_NVML_ERROR_NOT_SUPPORTED;
        g->timeslice = (uint32_t)value;
        return DV_NVML_SUCCESS;
    case DV_SIM_NVML_ACCOUNTING:
        if (value > 1)
            return DV_NVML_ERROR_INVALID_ARGUMENT;
        if (g->mig_current)
            return DV_NVML_ERROR_NOT_SUPPORTED;
        dv_simaccounting_set(call->node, g->index, value != 0);
        return DV_NVML_SUCCESS;
    }
    return DV_NVML_ERROR_INVALID_ARGUMENT;
}

static int limits_set(struct dv_simnvml_call *call)
{
    const struct dv_sim_nvml_limits *l = call->limits;
    if (!dv_simnvml_may_change(call))
        return DV_NVML_ERROR_NO_PERMISSION;
    if (gpu_of(call)->mig_current)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    return dv_simcgroups_set(call->node, call->request->gpu, l->cgroup, l->soft_bytes,
                             l->hard_bytes);
}

static int limits_get(struct dv_simnvml_call *call)
{
    struct dv_simcgroups_state state;
    struct dv_sim_nvml_limits out = {0};
    if (gpu_of(call)->mig_current)
        return DV_NVML_ERROR_NOT_SUPPORTED;
    int r = dv_simcgroups_get(call->node, call->request->gpu, call->limits->cgroup, &state);
    if (r != DV_NVML_SUCCESS)
        return r;
    dv_str_copy(out.cgroup, sizeof(out.cgroup), call->limits->cgroup);
    out.soft_bytes = state.soft;
    out.hard_bytes = state.hard;
    out.used_bytes = state.used;
    dv_simnvml_put(call, &out, sizeof(out));
    return DV_NVML_SUCCESS;
}

/* ---- events ------------------------------------------------------------------------------------
 */

static int events_head(struct dv_simnvml_call *call)
{
    dv_simnvml_put(call, &call->node->xid_head, sizeof(call->node->xid_head));
    return DV_NVML_SUCCESS;
}

static int events_wait(struct dv_simnvml_call *call)
{
    const struct dv_simnode *n = call->node;
    const struct dv_sim_nvml_wait *w = call->wait;
    const struct dv_simview *v = &call->client->view;
    uint64_t first = n->xid_head > DV_SIM_XIDS ? n->xid_head - DV_SIM_XIDS : 0;
    for (uint64_t s = DV_MAX(first, w->after); s < n->xid_head; s++) {
        const struct dv_simxid *x = &n->xids[s % DV_SIM_XIDS];
        uint32_t nth = x->gpu < n->n_gpus ? dv_simview_nth(v, x->gpu) : DV_SIM_ANY;
        bool visible = x->gi_id == DV_SIM_ANY ? dv_simview_has_gpu(v, x->gpu)
                                              : dv_simview_has(v, x->gpu, x->gi_id, x->ci_id);
        if (!visible || nth >= DV_SIM_GPUS_MAX || !(w->types[nth] & DV_NVML_EVENT_XID))
            continue;
        struct dv_sim_nvml_event event = {.sequence = s + 1,
                                          .type = DV_NVML_EVENT_XID,
                                          .data = x->xid,
                                          .gpu = nth,
                                          .gi = x->gi_id,
                                          .ci = x->ci_id};
        dv_simnvml_put(call, &event, sizeof(event));
        return DV_NVML_SUCCESS;
    }
    uint64_t end = call->client->request_ns + w->timeout_ms * DV_NS_PER_MS;
    if (n->now_ns >= end)
        return DV_NVML_ERROR_TIMEOUT;
    call->reply->again_ns = end;
    call->again = true;
    return DV_NVML_SUCCESS;
}

/* ---- the way in --------------------------------------------------------------------------------
 */

static bool needs_gpu(enum dv_sim_nvml_op op)
{
    return op != DV_SIM_NVML_NODE && op != DV_SIM_NVML_FIND && op != DV_SIM_NVML_PROCESS_NAME &&
           op != DV_SIM_NVML_EVENTS_HEAD && op != DV_SIM_NVML_EVENTS_WAIT;
}

static int dispatch(struct dv_simnvml_call *call, enum dv_sim_nvml_op op)
{
    switch (op) {
    case DV_SIM_NVML_NODE:
        return node_info(call);
    case DV_SIM_NVML_FIND:
        return find(call);
    case DV_SIM_NVML_DEVICE:
        return device(call);
    case DV_SIM_NVML_CHECK:
        return DV_NVML_SUCCESS;
    case DV_SIM_NVML_COUNTERS:
        return counters(call);
    case DV_SIM_NVML_PROCESSES:
        return processes(call);
    case DV_SIM_NVML_PROCESS_NAME:
        return process_name(call);
    case DV_SIM_NVML_PROCESS_SAMPLES:
        return process_samples(call);
    case DV_SIM_NVML_SAMPLES:
        return samples(call);
    case DV_SIM_NVML_SET:
        return set(call);
    case DV_SIM_NVML_LIMITS_SET:
        return limits_set(call);
    case DV_SIM_NVML_LIMITS_GET:
        return limits_get(call);
    case DV_SIM_NVML_ACCOUNTING_PIDS:
    case DV_SIM_NVML_ACCOUNTING_STATS:
    case DV_SIM_NVML_ACCOUNTING_CLEAR:
        return dv_simnvml_accounting(call, op);
    case DV_SIM_NVML_EVENTS_HEAD:
        return events_head(call);
    case DV_SIM_NVML_EVENTS_WAIT:
        return events_wait(call);
    default:
        return dv_simnvml_mig(call, op);
    }
}

/* What is injected for this function: true when it decides the answer. */
static bool injected(struct dv_simnvml_call *call)
{
    const struct dv_sim_nvml_request *request = call->request;
    uint32_t gpu = request->gpu; /* DV_SIM_ANY: a call without one */
    struct dv_sim_inject what;
    if (dv_simnode_injected(call->node, gpu, DV_SIM_INJECT_NVML_HANG, request->function, &what))
        call->reply->delay_ns = what.a ? what.a * DV_NS_PER_MS : UINT64_MAX;
    if (!dv_simnode_injected(call->node, gpu, DV_SIM_INJECT_NVML_ERROR, request->function, &what))
        return false;
    call->reply->status = (int32_t)what.a;
    return true;
}

/* What follows the request. */
static uint32_t more_size(uint16_t op)
{
    if (op == DV_SIM_NVML_EVENTS_WAIT)
        return sizeof(struct dv_sim_nvml_wait);
    if (op == DV_SIM_NVML_LIMITS_SET || op == DV_SIM_NVML_LIMITS_GET)
        return sizeof(struct dv_sim_nvml_limits);
    return 0;
}

static bool ends(const char *text, size_t size)
{
    return !text[size - 1];
}

int dv_simnvml_handle(struct dv_simnode *node, struct dv_simclient *client, uint16_t op,
                      const void *request, uint32_t size, struct dv_simreply *reply)
{
    const struct dv_sim_nvml_request *r = request;
    if (op < DV_SIM_OP_NVML || op >= DV_SIM_NVML_OP_END || size != sizeof(*r) + more_size(op) ||
        !ends(r->function, sizeof(r->function)) || !ends(r->text, sizeof(r->text)))
        return -EPROTO;
    struct dv_sim_nvml_request own = *r;
    struct dv_simnvml_call call = {.node = node, .client = client, .request = &own, .reply = reply};
    own.gpu = dv_simview_gpu(&client->view, node->n_gpus, r->gpu);
    if (op == DV_SIM_NVML_EVENTS_WAIT)
        call.wait = (const struct dv_sim_nvml_wait *)(r + 1);
    else if (more_size(op))
        call.limits = (const struct dv_sim_nvml_limits *)(r + 1);
    if (call.limits && !ends(call.limits->cgroup, sizeof(call.limits->cgroup)))
        return -EPROTO;
    reply->status = DV_NVML_SUCCESS;
    reply->delay_ns = 0;
    reply->size = 0;
    /* A request that is asked again has passed here before: client->nvml says so. */
    bool again = client->nvml != NULL;
    client->nvml = NULL;
    if (!again && injected(&call))
        return 0;
    if (needs_gpu((enum dv_sim_nvml_op)op)) {
        if (own.gpu == DV_SIM_ANY) {
            reply->status = DV_NVML_ERROR_INVALID_ARGUMENT;
            return 0;
        }
        if (own.gi != DV_SIM_NVML_NONE && !dv_simview_has(&client->view, own.gpu, own.gi, own.ci)) {
            reply->status = DV_NVML_ERROR_NOT_FOUND;
            return 0;
        }
        if (node->gpu[own.gpu].lost && op != DV_SIM_NVML_RESET) {
            reply->status = DV_NVML_ERROR_GPU_IS_LOST;
            return 0;
        }
    }
    reply->status = dispatch(&call, (enum dv_sim_nvml_op)op);
    if (call.again) {
        client->nvml = node;
        return DV_SIM_AGAIN;
    }
    if (reply->status != DV_NVML_SUCCESS)
        reply->size = 0;
    return 0;
}

/* Nothing else is kept per connection: what a client waits for travels with each request. */
void dv_simnvml_client_gone(struct dv_simnode *node, struct dv_simclient *client)
{
    client->nvml = NULL;
}
