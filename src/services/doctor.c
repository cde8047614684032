/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor.h"

#include "audit.h"
#include "inventory.h"
#include "kubernetes/kubernetes.h"
#include "layouts.h"
#include "missing.h"
#include "mps.h"
#include "policy/diagnose.h"
#include "render/diagnosis_text.h"
#include "strangers.h"
#include "sys/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A process that ends is gone from the driver's list a moment before its memory is, and what the
 * driver needs for itself counts as used on some. */
#define GHOST_AFTER_NS (5 * DV_NS_PER_S)
#define GHOST_MIN (512 * DV_MIB)
#define FAULT_REMEMBERED_NS (600 * DV_NS_PER_S) /* as XIDs of programs are */
#define GHOST_MIN_PER_MIG (64 * DV_MIB)
#define PIDS_MAX 4u /* that are named */
#define PEOPLE 300

/* Facts, with what they point to. */
struct gathered {
    struct dv_diagnose_facts facts;
    struct dv_diagnose_gpu gpus[DV_FACTS_GPUS_MAX];
    struct dv_diagnose_missing missing[DV_FACTS_GPUS_MAX];
    char cards[DV_FACTS_GPUS_MAX][DV_DIAGNOSE_DETAIL];
    struct dv_diagnose_layout layout[DV_FACTS_GPUS_MAX + 1];
    struct dv_diagnose_mps mps[DV_MPS_DAEMONS_MAX];
    struct dv_diagnose_crowd crowds[DV_NODE_FINDINGS_MAX];
    char differs[DV_FACTS_GPUS_MAX][300];
    char holders[DV_FACTS_GPUS_MAX][DV_DIAGNOSE_DETAIL], users[DV_FACTS_GPUS_MAX][PEOPLE];
    char places[DV_FACTS_GPUS_MAX][DV_UUID_SIZE + DV_GPU_PCI_SIZE + 16];
    struct dv_kubernetes_status kubernetes;
    char waiting[DV_DIAGNOSE_DETAIL], lost[DV_DIAGNOSE_DETAIL];
    struct dv_diagnosis diagnosis;
};

/* ---- samples -------------------------------------------------------------------------------- */

static bool has_ghost(const struct dv_node_gpu *g)
{
    uint64_t min = GHOST_MIN + (g->facts ? g->facts->n_mig : 0) * GHOST_MIN_PER_MIG;
    return g->processes_known && !g->n_processes && g->memory_used_bytes > min;
}

void dv_doctor_sample(struct dv_node *node, uint32_t gpu, uint64_t now)
{
    struct dv_node_gpu *g = &node->gpus[gpu];
    if (!has_ghost(g))
        g->ghost_ns = 0;
    else if (!g->ghost_ns)
        g->ghost_ns = now;
}

/* ---- facts ---------------------------------------------------------------------------------- */

static enum dv_diagnose_driver driver_state(const struct dv_node *node)
{
    enum dv_hardware_link_state link = dv_hardware_link_state(node->link);
    if (link == DV_HARDWARE_LINK_ALONE)
        return DV_DIAGNOSE_DRIVER_ALONE;
    if (link == DV_HARDWARE_LINK_WEDGED || link == DV_HARDWARE_LINK_CRASHED)
        return DV_DIAGNOSE_DRIVER_WEDGED;
    if (!node->driver_status)
        return DV_DIAGNOSE_DRIVER_OK;
    if (!node->driver_detail[0])
        return DV_DIAGNOSE_DRIVER_STARTING;
    switch (node->driver_status) {
    case DV_HARDWARE_MISSING:
        return DV_DIAGNOSE_DRIVER_MISSING;
    case DV_HARDWARE_NOT_LOADED:
        return DV_DIAGNOSE_DRIVER_NOT_LOADED;
    case DV_HARDWARE_MISMATCH:
        return DV_DIAGNOSE_DRIVER_MISMATCH;
    default:
        return DV_DIAGNOSE_DRIVER_FAILED;
    }
}

static bool has_ci(const struct dv_facts_gpu *f, uint32_t gi)
{
    for (uint32_t i = 0; i < f->n_mig; i++)
        if (f->mig[i].gi == gi)
            return true;
    return false;
}

static void add_instances(const struct dv_facts_gpu *f, struct dv_diagnose_gpu *to)
{
    to->n_gi = f->n_gi;
    if (f->n_gi == DV_FACT_UNKNOWN32) {
        if (!f->n_mig) /* then there may be some, but nothing can run */
            to->n_gi = 0;
        return;
    }
    to->n_gi = DV_MIN(f->n_gi, DV_DIAGNOSE_GIS_MAX);
    for (uint32_t i = 0; i < to->n_gi; i++) {
        to->gi[i].id = f->gi[i].id;
        to->gi[i].has_ci = has_ci(f, f->gi[i].id);
    }
}

/* Is MIG mode without instances what the layout wants, or is it at work on the GPU? */
static bool empty_is_wanted(const struct dv_node *node, const struct dv_gpu *gpu)
{
    const struct dv_gpu_change *c = &node->layouts->gpu[gpu->index];
    const struct dv_layout_gpu *entry =
        dv_layout_find(c->instead ? c->instead : &node->layouts->merged, gpu);
    if (c->state != DV_CHANGE_SETTLED)
        return true;
    return entry && dv_layout_is_mig(entry) && !entry->n_devices;
}

static void add_health(const struct dv_node_gpu *g, const struct dv_gpu *gpu,
                       struct dv_diagnose_gpu *to)
{
    const struct dv_health_verdict *v = &g->health.verdict;
    uint64_t now = dv_clock_now();
    if (v->cause == DV_HEALTH_LINKS_DOWN)
        to->links_down = (uint32_t)v->n;
    if (v->remedy != DV_HEALTH_TIME || !gpu)
        return;
    to->held_out = gpu->health_detail;
    to->held_out_s = v->until_ns > now ? (uint32_t)((v->until_ns - now) / DV_NS_PER_S) + 1 : 1;
}

static const struct dv_holding *holding_of(const struct dv_node *node, int32_t pid)
{
    for (const struct dv_member *m = node->members; m; m = m->next)
        if (m->holding && m->id.pid == pid)
            return m->holding;
    return NULL;
}

/* Processes that the driver lists: "pid 4711 (s-1 of ann), pid 4712 and 3 more". */
static void name_users(const struct dv_node *node, uint32_t index, char ret[PEOPLE])
{
    const struct dv_node_gpu *g = &node->gpus[index];
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    for (uint32_t i = 0; i < DV_MIN(g->n_processes, PIDS_MAX); i++) {
        const struct dv_holding *h = holding_of(node, (int32_t)g->processes[i].pid);
        dv_str_addf(&text, "%spid %u", i ? ", " : "", g->processes[i].pid);
        if (h)
            dv_str_addf(&text, " (s-%llu of %s)", (unsigned long long)h->claim.id, h->claim.tenant);
    }
    if (g->n_processes > PIDS_MAX)
        dv_str_addf(&text, " and %u more", g->n_processes - PIDS_MAX);
    snprintf(ret, PEOPLE, "%.*s", PEOPLE - 1, dv_str_get(&text));
}

static void add_gpu(const struct dv_node *node, uint32_t index, struct dv_diagnose_gpu *to)
{
    const struct dv_node_gpu *g = &node->gpus[index];
    const struct dv_facts_gpu *f = g->facts;
    *to = (struct dv_diagnose_gpu){.index = index,
                                   .lost = g->lost,
                                   .xid = dv_inventory_xid(node, index),
                                   .compute_mode = f->compute_mode,
                                   .persistence = f->persistence,
                                   .rows_pending = f->remap_pending == 1 || f->pages_pending == 1,
                                   .rows_failed = f->remap_failed == 1,
                                   .mig_pending = f->mig_current != f->mig_pending,
                                   .mig_pending_unix = g->mig_pending_unix,
                                   .users = to->users};
    const struct dv_gpu *gpu = dv_snapshot_gpu(node->snapshot, index);
    add_health(g, gpu, to);
    to->empty_wanted = gpu && empty_is_wanted(node, gpu);
    if (f->mig_current == 1)
        add_instances(f, to);
    if (g->ghost_ns && dv_clock_now() - g->ghost_ns >= GHOST_AFTER_NS)
        to->ghost_bytes = g->memory_used_bytes;
}

/* "GPU-... at PCI 00000000:3B:00.0": who has lost it wants to find the card. */
static void add_place(const struct dv_node *node, uint32_t index, struct gathered *g)
{
    const struct dv_gpu *gpu = dv_strangers_gpu(node, index);
    char *to = g->places[index];
    if (!gpu || (!gpu->uuid[0] && !gpu->pci_bus_id[0]))
        return;
    snprintf(to, sizeof g->places[index], "%s%s%s%s", gpu->uuid,
             gpu->uuid[0] && gpu->pci_bus_id[0] ? " " : "", gpu->pci_bus_id[0] ? "at PCI " : "",
             gpu->pci_bus_id);
    g->gpus[g->facts.n_gpus - 1].place = to;
}

static void add_gpus(const struct dv_node *node, struct gathered *g)
{
    if (g->facts.driver != DV_DIAGNOSE_DRIVER_OK)
        return; /* what was known may be so no longer */
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++) {
        if (node->gpus[i].present && node->gpus[i].facts) {
            name_users(node, i, g->users[i]);
            g->gpus[g->facts.n_gpus].users = g->users[i];
            add_gpu(node, i, &g->gpus[g->facts.n_gpus++]);
        } else if (node->gpus[i].stranger && node->gpus[i].lost)
            g->gpus[g->facts.n_gpus++] = (struct dv_diagnose_gpu){
                .index = i, .lost = true, .xid = dv_inventory_xid(node, i)};
        if (node->gpus[i].lost && g->facts.n_gpus && g->gpus[g->facts.n_gpus - 1].index == i)
            add_place(node, i, g);
    }
    g->facts.gpus = g->gpus;
}

/* "NVIDIA A100 at PCI 00000000:3B:00.0, failed then (XID 79; until the GPU is reset)" */
static void name_card(const struct dv_missing_gpu *m, char ret[DV_DIAGNOSE_DETAIL])
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_str_add(&text, m->gpu.model[0] ? m->gpu.model : "of an unknown model");
    if (m->gpu.pci_bus_id[0])
        dv_str_addf(&text, " at PCI %s", m->gpu.pci_bus_id);
    if (m->seen)
        dv_str_addf(&text, ", %s then", dv_gpu_health_name(m->gpu.health));
    if (m->seen && m->gpu.health_detail[0])
        dv_str_addf(&text, " (%s)", m->gpu.health_detail);
    snprintf(ret, DV_DIAGNOSE_DETAIL, "%.*s", (int)DV_DIAGNOSE_DETAIL - 1, dv_str_get(&text));
}

static void add_missing(const struct dv_node *node, struct gathered *g)
{
    const struct dv_missing_gpu *m;
    if (g->facts.driver != DV_DIAGNOSE_DRIVER_OK)
        return;
    g->facts.missing = g->missing;
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX && (m = dv_missing_at(node, i)); i++) {
        name_card(m, g->cards[i]);
        g->missing[g->facts.n_missing++] =
            (struct dv_diagnose_missing){m->gpu.index, m->gpu.uuid, g->cards[i], m->since_unix};
    }
}

/* "pod team/x, pid 4711", as far as it is known. */
static void name_holder(const struct dv_holding *h, char ret[DV_DIAGNOSE_DETAIL])
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    uint32_t n = 0;
    if (h->workload && h->workload->pod[0])
        dv_str_addf(&text, "pod %s/%s", h->workload->namespace, h->workload->pod);
    for (const struct dv_member *m = h->node->members; m; m = m->next) {
        if (m->holding != h || !m->ready || ++n > PIDS_MAX)
            continue;
        dv_str_addf(&text, "%spid %d", text.len ? ", " : "", (int)m->id.pid);
    }
    if (n > PIDS_MAX)
        dv_str_addf(&text, " and %u more", n - PIDS_MAX);
    snprintf(ret, DV_DIAGNOSE_DETAIL, "%.*s", (int)DV_DIAGNOSE_DETAIL - 1, dv_str_get(&text));
}

static void add_change(struct dv_node *node, uint32_t gpu, struct gathered *g)
{
    const struct dv_gpu_change *c = &node->layouts->gpu[gpu];
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    if (dv_layouts_differs(node, gpu, &text)) {
        snprintf(g->differs[gpu], sizeof g->differs[gpu], "%.*s", 299, dv_str_get(&text));
        g->layout[g->facts.n_layout++] =
            (struct dv_diagnose_layout){.gpu = gpu, .differs = true, .detail = g->differs[gpu]};
    }
    if (c->state != DV_CHANGE_FAILED && c->state != DV_CHANGE_DRAINING)
        return;
    struct dv_diagnose_layout *to = &g->layout[g->facts.n_layout++];
    *to = (struct dv_diagnose_layout){.gpu = gpu,
                                      .failed = c->state == DV_CHANGE_FAILED,
                                      .detail = c->detail,
                                      .since_unix = c->wait_unix,
                                      .pods = c->held ? c->pods : NULL};
    if (c->plan && c->plan->n_blockers) {
        const struct dv_holding *h = dv_node_holding(node, c->plan->blockers[0].slice);
        if (h)
            name_holder(h, g->holders[gpu]);
        to->holder = g->holders[gpu];
        to->n_blockers = c->plan->n_blockers;
        to->slice = c->plan->blockers[0].slice;
        to->tenant = h ? h->claim.tenant : "somebody";
    }
}

static void add_layout(struct dv_node *node, struct gathered *g)
{
    g->facts.layout = g->layout;
    for (size_t i = 0; i < node->snapshot->n_gpus; i++)
        if (node->snapshot->gpus[i].index < DV_FACTS_GPUS_MAX)
            add_change(node, node->snapshot->gpus[i].index, g);
    if (node->layouts->problem[0])
        g->layout[g->facts.n_layout++] = (struct dv_diagnose_layout){
            .gpu = DV_DIAGNOSE_UNKNOWN, .failed = true, .detail = node->layouts->problem};
}

static void add_mps(const struct dv_node *node, struct gathered *g, uint64_t now)
{
    g->facts.mps = g->mps;
    for (uint32_t i = 0; i < node->mps->n; i++) {
        const struct dv_mps_daemon *m = &node->mps->daemons[i];
        bool counts = m->fault_ns && (m->faulty || now - m->fault_ns < FAULT_REMEMBERED_NS);
        g->mps[g->facts.n_mps++] = (struct dv_diagnose_mps){
            .device = m->spec.device,
            .problem = dv_mps_is_up(node, m->spec.device) ? NULL : m->problem,
            .fault = counts ? m->fault : NULL};
    }
}

/* Processes of the slice that the driver lists. */
static uint32_t processes_of(const struct dv_holding *h)
{
    uint32_t n = 0;
    for (const struct dv_member *m = h->node->members; m; m = m->next)
        n += m->holding == h && m->seen;
    for (size_t i = 0; i < h->n_strays; i++)
        n += !h->strays[i].from_store && dv_proc_alive(&h->strays[i].id);
    return n;
}

/* Turns go to processes: of several on one device, a tenant gets as many. */
static void add_crowds(const struct dv_node *node, struct gathered *g)
{
    for (const struct dv_holding *h = node->holdings; h; h = h->next) {
        const struct dv_device *d = dv_snapshot_device(node->snapshot, h->device_uuid);
        if (h->state != DV_HOLDING_GRANTED || !d || d->mode != DV_MODE_TIMESLICE ||
            g->facts.n_crowds == DV_ARRAY_SIZE(g->crowds) ||
            dv_snapshot_held(node->snapshot, d->uuid).slices < 2)
            continue;
        uint32_t n = processes_of(h);
        if (n > 1)
            g->crowds[g->facts.n_crowds++] =
                (struct dv_diagnose_crowd){d->uuid, h->claim.tenant, h->claim.id, n};
    }
    g->facts.crowds = g->crowds;
}

/* The first by name, and how many more there are. */
static void name_away(const struct dv_node *node, bool lost, char ret[DV_DIAGNOSE_DETAIL])
{
    struct dv_kubernetes_resource r;
    uint32_t n = 0;
    for (size_t i = 0; dv_kubernetes_resource(node->kubernetes, i, &r); i++)
        if (r.away && (r.plugin.state == DV_KUBELET_LOST) == lost && !n++)
            snprintf(ret, DV_DIAGNOSE_DETAIL, "%s (%.200s)", r.plugin.resource, r.plugin.why);
    size_t len = strlen(ret);
    if (n > 1)
        snprintf(ret + len, DV_DIAGNOSE_DETAIL - len, " and %u more", n - 1);
}

static void add_kubernetes(const struct dv_node *node, struct gathered *g)
{
    struct dv_kubernetes_status *s = &g->kubernetes;
    if (!node->kubernetes)
        return;
    dv_kubernetes_status(node->kubernetes, s);
    name_away(node, false, g->waiting);
    name_away(node, true, g->lost);
    bool away = s->server_wanted && !s->server_reached &&
                dv_clock_now() - s->server_since_ns >= DV_DEVICE_PLUGIN_PATIENCE_NS;
    g->facts.kubernetes = (struct dv_diagnose_kubernetes){.waiting = g->waiting,
                                                          .lost = g->lost,
                                                          .config = s->config_problem,
                                                          .offer = s->offer_problem,
                                                          .mig = s->mig_problem,
                                                          .cdi = s->cdi_problem,
                                                          .server = away ? s->server_problem : "",
                                                          .labels = s->labels_problem};
}

static void gather(struct dv_node *node, struct gathered *g)
{
    g->facts = (struct dv_diagnose_facts){
        .driver = driver_state(node),
        .driver_detail = node->driver_detail[0] ? node->driver_detail : "no answer yet",
        .libcuda_missing = !node->config.libcuda[0],
        .snapshot = node->snapshot,
        .state_problem = node->store_problem[0] ? node->store_problem : node->ledger_problem,
        .state_note = node->note,
        .not_realtime = !dv_lease_is_realtime(node->lease),
    };
    add_gpus(node, g);
    add_missing(node, g);
    add_layout(node, g);
    add_mps(node, g, dv_clock_now());
    add_crowds(node, g);
    add_kubernetes(node, g);
}

/* ---- the answer ----------------------------------------------------------------------------- */

static void add_audited(const struct dv_node *node, struct dv_output_node *list)
{
    for (size_t i = 0; i < node->n_findings; i++) {
        const struct dv_finding *f = &node->findings[i];
        if (!dv_audit_counts(f))
            continue;
        struct dv_output_node *o = dv_output_object(list, NULL);
        dv_output_string(o, "code", "audit");
        dv_output_string(o, "severity", "warning");
        dv_output_string(o, "subject", f->subject);
        dv_output_string(o, "problem", f->problem);
        dv_output_string(o, "cause", f->cause);
        dv_output_string(o, "remedy", f->remedy);
        dv_output_null(o, "command");
    }
}

struct dv_output *dv_doctor_view(struct dv_node *node)
{
    struct dv_output *o = dv_output_new("Diagnosis");
    struct dv_output_node *list = dv_output_array(dv_output_root(o), "findings");
    struct gathered *g = calloc(1, sizeof *g);
    if (!g) {
        dv_output_free(&o);
        return NULL; /* the reply says that memory is out */
    }
    gather(node, g);
    dv_diagnose(&g->facts, &g->diagnosis);
    for (uint32_t i = 0; i < g->diagnosis.n; i++)
        dv_diagnosis_text_add(list, &g->diagnosis.findings[i]);
    free(g);
    add_audited(node, list);
    return o;
}
