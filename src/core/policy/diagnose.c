/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/diagnose.h"

#include "policy/xid.h"

#include <stdio.h>
#include <string.h>

#define COMPUTE_PROHIBITED 2u
#define COMPUTE_EXCLUSIVE_PROCESS 3u
/* An equal part must hold a context and something beside it, or nobody can work in it. */
#define CONTEXTS_PER_PART 2u

static const struct {
    const char *name;
    enum dv_severity severity;
} troubles[DV_TROUBLE_COUNT] = {
    [DV_TROUBLE_DAEMON_CLOSED] = {"daemon_closed", DV_SEVERITY_ERROR},
    [DV_TROUBLE_DAEMON_NOT_STARTED] = {"daemon_not_started", DV_SEVERITY_ERROR},
    [DV_TROUBLE_DAEMON_DIED] = {"daemon_died", DV_SEVERITY_ERROR},
    [DV_TROUBLE_DAEMON_STRANGE] = {"daemon_strange", DV_SEVERITY_ERROR},
    [DV_TROUBLE_DAEMON_REFUSES] = {"daemon_refuses", DV_SEVERITY_ERROR},
    [DV_TROUBLE_NOT_INSTALLED] = {"not_installed", DV_SEVERITY_ERROR},
    [DV_TROUBLE_NO_DEVICE_NODE] = {"no_device_node", DV_SEVERITY_NOTE},
    [DV_TROUBLE_DEVICE_NODE_CLOSED] = {"device_node_closed", DV_SEVERITY_WARNING},
    [DV_TROUBLE_MPS_STALE] = {"mps_stale", DV_SEVERITY_WARNING},
    [DV_TROUBLE_KEEPER_GONE] = {"keeper_gone", DV_SEVERITY_ERROR},
    [DV_TROUBLE_DRIVER_MISSING] = {"driver_missing", DV_SEVERITY_ERROR},
    [DV_TROUBLE_DRIVER_NOT_LOADED] = {"driver_not_loaded", DV_SEVERITY_ERROR},
    [DV_TROUBLE_DRIVER_MISMATCH] = {"driver_mismatch", DV_SEVERITY_ERROR},
    [DV_TROUBLE_DRIVER_WEDGED] = {"driver_wedged", DV_SEVERITY_ERROR},
    [DV_TROUBLE_DRIVER_FAILED] = {"driver_failed", DV_SEVERITY_ERROR},
    [DV_TROUBLE_LIBCUDA_MISSING] = {"libcuda_missing", DV_SEVERITY_ERROR},
    [DV_TROUBLE_GPU_LOST] = {"gpu_lost", DV_SEVERITY_ERROR},
    [DV_TROUBLE_GPU_MISSING] = {"gpu_missing", DV_SEVERITY_ERROR},
    [DV_TROUBLE_XID_FATAL] = {"xid_fatal", DV_SEVERITY_ERROR},
    [DV_TROUBLE_XID_CONTAINED] = {"xid_contained", DV_SEVERITY_WARNING},
    [DV_TROUBLE_XID_APPLICATION] = {"xid_application", DV_SEVERITY_WARNING},
    [DV_TROUBLE_XID_OTHER] = {"xid_other", DV_SEVERITY_WARNING},
    [DV_TROUBLE_XID_CLEANUP] = {"xid_cleanup", DV_SEVERITY_NOTE},
    [DV_TROUBLE_ROWS_FAILED] = {"memory_rows_failed", DV_SEVERITY_ERROR},
    [DV_TROUBLE_ROWS_PENDING] = {"memory_rows_pending", DV_SEVERITY_WARNING},
    [DV_TROUBLE_LINKS_DOWN] = {"nvlinks_down", DV_SEVERITY_WARNING},
    [DV_TROUBLE_HELD_OUT] = {"gpu_held_out", DV_SEVERITY_NOTE},
    [DV_TROUBLE_PROHIBITED] = {"compute_prohibited", DV_SEVERITY_ERROR},
    [DV_TROUBLE_ONE_PROCESS] = {"compute_exclusive_process", DV_SEVERITY_WARNING},
    [DV_TROUBLE_MIG_PENDING] = {"mig_pending", DV_SEVERITY_WARNING},
    [DV_TROUBLE_MIG_EMPTY] = {"mig_empty", DV_SEVERITY_WARNING},
    [DV_TROUBLE_GI_EMPTY] = {"gpu_instance_empty", DV_SEVERITY_WARNING},
    [DV_TROUBLE_MEMORY_GHOST] = {"memory_without_process", DV_SEVERITY_WARNING},
    [DV_TROUBLE_PERSISTENCE_OFF] = {"persistence_off", DV_SEVERITY_NOTE},
    [DV_TROUBLE_LAYOUT_FAILED] = {"layout_failed", DV_SEVERITY_ERROR},
    [DV_TROUBLE_LAYOUT_DIFFERS] = {"layout_differs", DV_SEVERITY_WARNING},
    [DV_TROUBLE_LAYOUT_WAITS] = {"layout_waits", DV_SEVERITY_WARNING},
    [DV_TROUBLE_LAYOUT_AWAITS_POD] = {"layout_awaits_pod", DV_SEVERITY_WARNING},
    [DV_TROUBLE_MPS_DOWN] = {"mps_down", DV_SEVERITY_ERROR},
    [DV_TROUBLE_MPS_FAULT] = {"mps_fault", DV_SEVERITY_WARNING},
    [DV_TROUBLE_REPLICAS_TIGHT] = {"replicas_tight", DV_SEVERITY_WARNING},
    [DV_TROUBLE_TURNS_UNFAIR] = {"turns_unfair", DV_SEVERITY_WARNING},
    [DV_TROUBLE_PLUGIN_WAITS] = {"plugin_not_registered", DV_SEVERITY_ERROR},
    [DV_TROUBLE_PLUGIN_LOST] = {"plugin_lost", DV_SEVERITY_WARNING},
    [DV_TROUBLE_CONFIG_REFUSED] = {"config_refused", DV_SEVERITY_ERROR},
    [DV_TROUBLE_CONFIG_NOT_OFFERED] = {"config_not_offered", DV_SEVERITY_ERROR},
    [DV_TROUBLE_MIG_LABEL] = {"mig_label_refused", DV_SEVERITY_ERROR},
    [DV_TROUBLE_CDI_CLOSED] = {"cdi_not_writable", DV_SEVERITY_ERROR},
    [DV_TROUBLE_API_AWAY] = {"api_server_away", DV_SEVERITY_WARNING},
    [DV_TROUBLE_LABELS_UNWRITTEN] = {"labels_not_written", DV_SEVERITY_WARNING},
    [DV_TROUBLE_STATE_UNWRITTEN] = {"state_unwritten", DV_SEVERITY_ERROR},
    [DV_TROUBLE_STATE_ASIDE] = {"state_aside", DV_SEVERITY_WARNING},
    [DV_TROUBLE_NOT_REALTIME] = {"not_realtime", DV_SEVERITY_NOTE},
};

const char *dv_diagnose_name(enum dv_trouble trouble)
{
    return trouble < DV_TROUBLE_COUNT ? troubles[trouble].name : "unknown";
}

enum dv_severity dv_diagnose_severity(enum dv_trouble trouble)
{
    return trouble < DV_TROUBLE_COUNT ? troubles[trouble].severity : DV_SEVERITY_WARNING;
}

const char *dv_diagnose_severity_name(enum dv_severity severity)
{
    return severity == DV_SEVERITY_NOTE      ? "note"
           : severity == DV_SEVERITY_WARNING ? "warning"
                                             : "error";
}

/* ---- findings ------------------------------------------------------------------------------- */

/* A full list gives a place that is written to and not counted. */
static struct dv_diagnosis_finding *add(struct dv_diagnosis *d, enum dv_trouble trouble,
                                        uint32_t gpu, const char *detail)
{
    uint32_t at = d->n < DV_DIAGNOSE_MAX - 1 ? d->n++ : DV_DIAGNOSE_MAX - 1;
    struct dv_diagnosis_finding *f = &d->findings[at];
    d->more |= at == DV_DIAGNOSE_MAX - 1;
    memset(f, 0, sizeof *f);
    f->trouble = trouble;
    f->gpu = gpu;
    snprintf(f->detail, sizeof f->detail, "%s", detail ? detail : "");
    return f;
}

static bool is_said(const char *text)
{
    return text && *text;
}

static void on_device(struct dv_diagnosis_finding *f, const char *device)
{
    snprintf(f->device, sizeof f->device, "%s", device);
}

/* ---- the driver ----------------------------------------------------------------------------- */

static void examine_driver(const struct dv_diagnose_facts *facts, struct dv_diagnosis *d)
{
    static const enum dv_trouble by_state[] = {
        [DV_DIAGNOSE_DRIVER_OK] = DV_TROUBLE_COUNT,
        [DV_DIAGNOSE_DRIVER_STARTING] = DV_TROUBLE_COUNT,
        [DV_DIAGNOSE_DRIVER_ALONE] = DV_TROUBLE_KEEPER_GONE,
        [DV_DIAGNOSE_DRIVER_MISSING] = DV_TROUBLE_DRIVER_MISSING,
        [DV_DIAGNOSE_DRIVER_NOT_LOADED] = DV_TROUBLE_DRIVER_NOT_LOADED,
        [DV_DIAGNOSE_DRIVER_MISMATCH] = DV_TROUBLE_DRIVER_MISMATCH,
        [DV_DIAGNOSE_DRIVER_WEDGED] = DV_TROUBLE_DRIVER_WEDGED,
        [DV_DIAGNOSE_DRIVER_FAILED] = DV_TROUBLE_DRIVER_FAILED,
    };
    enum dv_trouble trouble = by_state[facts->driver];
    if (trouble != DV_TROUBLE_COUNT)
        add(d, trouble, DV_DIAGNOSE_UNKNOWN, facts->driver_detail);
    else if (facts->libcuda_missing)
        add(d, DV_TROUBLE_LIBCUDA_MISSING, DV_DIAGNOSE_UNKNOWN, NULL);
}

/* ---- a GPU ---------------------------------------------------------------------------------- */

static void examine_xid(const struct dv_diagnose_gpu *g, struct dv_diagnosis *d)
{
    static const enum dv_trouble by_kind[] = {
        [DV_XID_OTHER] = DV_TROUBLE_XID_OTHER,
        [DV_XID_CLEANUP] = DV_TROUBLE_XID_CLEANUP,
        [DV_XID_APPLICATION] = DV_TROUBLE_XID_APPLICATION,
        [DV_XID_CONTAINED] = DV_TROUBLE_XID_CONTAINED,
        [DV_XID_FATAL] = DV_TROUBLE_XID_FATAL,
    };
    if (g->xid)
        add(d, by_kind[dv_xid_kind(g->xid)], g->index, NULL)->n = g->xid;
}

static const struct dv_device *whole_device(const struct dv_snapshot *s, uint32_t gpu)
{
    for (size_t i = 0; s && i < s->n_devices; i++)
        if (s->devices[i].gpu == gpu && !s->devices[i].mig)
            return &s->devices[i];
    return NULL;
}

/* One process at a time is what an exclusive device is for, and an MPS daemon is that process:
 * divvy itself sets the mode where a layout gives a GPU to MPS. */
static bool one_process_will_do(const struct dv_device *device)
{
    return !device || device->layout == DV_MODE_EXCLUSIVE || device->mode == DV_MODE_EXCLUSIVE ||
           device->layout == DV_MODE_MPS || device->mps_up;
}

static void examine_settings(const struct dv_diagnose_gpu *g, const struct dv_snapshot *s,
                             struct dv_diagnosis *d)
{
    if (g->rows_failed)
        add(d, DV_TROUBLE_ROWS_FAILED, g->index, NULL);
    if (g->rows_pending)
        add(d, DV_TROUBLE_ROWS_PENDING, g->index, NULL);
    if (g->links_down)
        add(d, DV_TROUBLE_LINKS_DOWN, g->index, NULL)->n = g->links_down;
    if (g->held_out_s)
        add(d, DV_TROUBLE_HELD_OUT, g->index, g->held_out)->n = g->held_out_s;
    if (g->compute_mode == COMPUTE_PROHIBITED)
        add(d, DV_TROUBLE_PROHIBITED, g->index, NULL);
    else if (g->compute_mode == COMPUTE_EXCLUSIVE_PROCESS &&
             !one_process_will_do(whole_device(s, g->index)))
        add(d, DV_TROUBLE_ONE_PROCESS, g->index, NULL);
    if (g->persistence == 0)
        add(d, DV_TROUBLE_PERSISTENCE_OFF, g->index, NULL);
    if (g->ghost_bytes)
        add(d, DV_TROUBLE_MEMORY_GHOST, g->index, NULL)->bytes = g->ghost_bytes;
}

static void examine_mig(const struct dv_diagnose_gpu *g, const struct dv_gpu *gpu,
                        struct dv_diagnosis *d)
{
    if (g->mig_pending)
        add(d, DV_TROUBLE_MIG_PENDING, g->index, g->users)->since_unix = g->mig_pending_unix;
    if (!gpu || !gpu->mig_enabled || g->mig_pending || g->empty_wanted)
        return;
    if (!g->n_gi)
        add(d, DV_TROUBLE_MIG_EMPTY, g->index, NULL);
    if (g->n_gi == DV_DIAGNOSE_UNKNOWN)
        return;
    for (uint32_t i = 0; i < DV_MIN(g->n_gi, DV_DIAGNOSE_GIS_MAX); i++)
        if (!g->gi[i].has_ci)
            add(d, DV_TROUBLE_GI_EMPTY, g->index, NULL)->n = g->gi[i].id;
}

static void examine_gpu(const struct dv_diagnose_facts *facts, const struct dv_diagnose_gpu *g,
                        struct dv_diagnosis *d)
{
    if (g->lost) {
        add(d, DV_TROUBLE_GPU_LOST, g->index, g->place ? g->place : "at an unknown place")->n =
            g->xid;
        return; /* nothing else that is known of it still holds */
    }
    examine_xid(g, d);
    examine_settings(g, facts->snapshot, d);
    examine_mig(g, facts->snapshot ? dv_snapshot_gpu(facts->snapshot, g->index) : NULL, d);
}

/* ---- sharing -------------------------------------------------------------------------------- */

static uint32_t gpu_of(const struct dv_snapshot *s, const char *device)
{
    const struct dv_device *found = s ? dv_snapshot_device(s, device) : NULL;
    return found ? found->gpu : DV_DIAGNOSE_UNKNOWN;
}

static void examine_missing(const struct dv_diagnose_missing *m, struct dv_diagnosis *d)
{
    struct dv_diagnosis_finding *f = add(d, DV_TROUBLE_GPU_MISSING, m->index, m->card);
    on_device(f, m->uuid);
    f->since_unix = m->since_unix;
}

static void examine_layout(const struct dv_diagnose_layout *l, struct dv_diagnosis *d)
{
    if (l->failed) {
        add(d, DV_TROUBLE_LAYOUT_FAILED, l->gpu, l->detail);
        return;
    }
    if (l->differs)
        add(d, DV_TROUBLE_LAYOUT_DIFFERS, l->gpu, l->detail);
    if (!l->differs && !l->n_blockers && is_said(l->pods))
        add(d, DV_TROUBLE_LAYOUT_AWAITS_POD, l->gpu, l->pods)->since_unix = l->since_unix;
    if (l->differs || !l->n_blockers)
        return; /* it is at work, and will be through */
    struct dv_diagnosis_finding *f = add(d, DV_TROUBLE_LAYOUT_WAITS, l->gpu, l->holder);
    f->since_unix = l->since_unix;
    f->slice = l->slice;
    f->n = l->n_blockers;
    snprintf(f->tenant, sizeof f->tenant, "%s", l->tenant ? l->tenant : "");
}

static void examine_mps(const struct dv_diagnose_facts *facts, const struct dv_diagnose_mps *m,
                        struct dv_diagnosis *d)
{
    uint32_t gpu = gpu_of(facts->snapshot, m->device);
    if (is_said(m->problem))
        on_device(add(d, DV_TROUBLE_MPS_DOWN, gpu, m->problem), m->device);
    if (is_said(m->fault))
        on_device(add(d, DV_TROUBLE_MPS_FAULT, gpu, m->fault), m->device);
}

static void examine_device(const struct dv_snapshot *s, const struct dv_device *device,
                           struct dv_diagnosis *d)
{
    const struct dv_gpu *gpu = dv_snapshot_gpu(s, device->gpu);
    uint64_t context = gpu ? gpu->context_bytes : 0;
    if (!device->replicas || !context ||
        device->memory_bytes / device->replicas >= context * CONTEXTS_PER_PART)
        return;
    struct dv_diagnosis_finding *f = add(d, DV_TROUBLE_REPLICAS_TIGHT, device->gpu, NULL);
    on_device(f, device->uuid);
    f->n = device->replicas;
    f->bytes = device->memory_bytes / device->replicas;
}

static void examine_crowd(const struct dv_diagnose_facts *facts, const struct dv_diagnose_crowd *c,
                          struct dv_diagnosis *d)
{
    struct dv_diagnosis_finding *f =
        add(d, DV_TROUBLE_TURNS_UNFAIR, gpu_of(facts->snapshot, c->device), NULL);
    on_device(f, c->device);
    f->slice = c->slice;
    f->n = c->processes;
    snprintf(f->tenant, sizeof f->tenant, "%s", c->tenant);
}

/* ---- a cluster ------------------------------------------------------------------------------ */

static void examine_kubernetes(const struct dv_diagnose_kubernetes *k, struct dv_diagnosis *d)
{
    const struct {
        enum dv_trouble trouble;
        const char *said;
    } all[] = {{DV_TROUBLE_PLUGIN_WAITS, k->waiting},  {DV_TROUBLE_PLUGIN_LOST, k->lost},
               {DV_TROUBLE_CONFIG_REFUSED, k->config}, {DV_TROUBLE_CONFIG_NOT_OFFERED, k->offer},
               {DV_TROUBLE_MIG_LABEL, k->mig},         {DV_TROUBLE_CDI_CLOSED, k->cdi},
               {DV_TROUBLE_API_AWAY, k->server},       {DV_TROUBLE_LABELS_UNWRITTEN, k->labels}};
    for (size_t i = 0; i < DV_ARRAY_SIZE(all); i++)
        if (is_said(all[i].said))
            add(d, all[i].trouble, DV_DIAGNOSE_UNKNOWN, all[i].said);
}

/* ---- all ------------------------------------------------------------------------------------ */

static void examine_daemon(const struct dv_diagnose_facts *facts, struct dv_diagnosis *d)
{
    if (is_said(facts->state_problem))
        add(d, DV_TROUBLE_STATE_UNWRITTEN, DV_DIAGNOSE_UNKNOWN, facts->state_problem);
    if (is_said(facts->state_note))
        add(d, DV_TROUBLE_STATE_ASIDE, DV_DIAGNOSE_UNKNOWN, facts->state_note);
    if (facts->not_realtime)
        add(d, DV_TROUBLE_NOT_REALTIME, DV_DIAGNOSE_UNKNOWN, NULL);
}

static bool comes_before(const struct dv_diagnosis_finding *a, const struct dv_diagnosis_finding *b)
{
    return a->trouble != b->trouble ? a->trouble < b->trouble : a->gpu < b->gpu;
}

/* Stable, and short lists. */
static void sort(struct dv_diagnosis *d)
{
    for (uint32_t i = 1; i < d->n; i++) {
        struct dv_diagnosis_finding f = d->findings[i];
        uint32_t k = i;
        for (; k && comes_before(&f, &d->findings[k - 1]); k--)
            d->findings[k] = d->findings[k - 1];
        d->findings[k] = f;
    }
}

void dv_diagnose(const struct dv_diagnose_facts *facts, struct dv_diagnosis *ret)
{
    ret->n = 0;
    ret->more = false;
    examine_driver(facts, ret);
    for (uint32_t i = 0; i < facts->n_gpus; i++)
        examine_gpu(facts, &facts->gpus[i], ret);
    for (uint32_t i = 0; i < facts->n_missing; i++)
        examine_missing(&facts->missing[i], ret);
    for (uint32_t i = 0; i < facts->n_layout; i++)
        examine_layout(&facts->layout[i], ret);
    for (uint32_t i = 0; i < facts->n_mps; i++)
        examine_mps(facts, &facts->mps[i], ret);
    for (size_t i = 0; facts->snapshot && i < facts->snapshot->n_devices; i++)
        examine_device(facts->snapshot, &facts->snapshot->devices[i], ret);
    for (uint32_t i = 0; i < facts->n_crowds; i++)
        examine_crowd(facts, &facts->crowds[i], ret);
    examine_kubernetes(&facts->kubernetes, ret);
    examine_daemon(facts, ret);
    sort(ret);
}
