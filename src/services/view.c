/* SPDX-License-Identifier: Apache-2.0 */
#include "view.h"

#include "account/tally.h"
#include "audit.h"
#include "base/units.h"
#include "baselines.h"
#include "claims.h"
#include "inventory.h"
#include "kubernetes/kubernetes_view.h"
#include "meter.h"
#include "missing.h"
#include "mps.h"
#include "policy/unblock.h"
#include "render/json.h"
#include "render/verdict_text.h"
#include "strangers.h"
#include "sys/clock.h"
#include "waits.h"
#include "waits_view.h"
#include "walls_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- replies ---- */

void dv_view_reply(struct dv_http_request *rq, unsigned status, struct dv_output *output)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    int r = output ? dv_json_write(output, false, &text) : -1;
    dv_output_free(&output);
    if (r < 0) {
        static const char body[] = "{\"apiVersion\":\"divvy/v1\",\"kind\":\"Error\",\"reason\":"
                                   "\"memory\",\"message\":\"the daemon is out of memory\","
                                   "\"exit_code\":1}";
        dv_http_server_reply(rq, 500, body, sizeof body - 1);
        return;
    }
    dv_http_server_reply(rq, status, dv_str_get(&text), text.len);
}

static struct dv_output *error_tree(int exit_code, const char *reason, const char *message)
{
    struct dv_output *o = dv_output_new("Error");
    struct dv_output_node *root = dv_output_root(o);
    dv_output_string(root, "reason", reason);
    dv_output_string(root, "message", message);
    dv_output_int(root, "exit_code", exit_code);
    return o;
}

void dv_view_reply_error(struct dv_http_request *rq, unsigned status, int exit_code,
                         const char *reason, const char *message)
{
    dv_view_reply(rq, status, error_tree(exit_code, reason, message));
}

void dv_view_reply_unavailable(const struct dv_node *node, struct dv_http_request *rq,
                               const char *message)
{
    const char *driver = dv_inventory_driver_state(node);
    bool starting = !node->ready && (!strcmp(driver, "ok") || !strcmp(driver, "starting"));
    dv_view_reply_error(rq, 503, 5, starting ? "starting" : "unavailable", message);
}

static void add_verdict(struct dv_output_node *parent, const struct dv_verdict *v)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_output_node *o = dv_output_object(parent, "verdict");
    dv_verdict_text_claim(v, &text);
    dv_output_string(o, "result", dv_verdict_result_name(v->result));
    dv_output_string(o, "reason", dv_verdict_reason_name(v->reason));
    dv_output_string(o, "message", dv_str_get(&text));
    if (v->gpu >= 0)
        dv_output_int(o, "gpu", v->gpu);
    if (v->asked_bytes)
        dv_output_bytes(o, "asked_bytes", v->asked_bytes);
    bool free_counts = v->result != DV_VERDICT_GRANTED;
    if (v->asked_bytes && !v->limit_bytes && free_counts)
        dv_output_bytes(o, "free_bytes", v->free_bytes);
    if (v->limit_bytes)
        dv_output_bytes(o, "limit_bytes", v->limit_bytes);
    if (v->asked_compute)
        dv_output_compute(o, "asked_compute_permille", v->asked_compute);
    if (v->asked_compute && !v->limit_compute && free_counts)
        dv_output_compute(o, "free_compute_permille", v->free_compute);
    if (v->limit_compute)
        dv_output_compute(o, "limit_compute_permille", v->limit_compute);
    if (v->new_processes_only)
        dv_output_bool(o, "new_processes_only", true);
    if (v->holder[0])
        dv_output_string(o, "holder", v->holder);
}

void dv_view_reply_refused(struct dv_http_request *rq, const struct dv_verdict *verdict)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_verdict_text_claim(verdict, &text);
    struct dv_output *o = error_tree(1, dv_verdict_reason_name(verdict->reason), dv_str_get(&text));
    add_verdict(dv_output_root(o), verdict);
    dv_view_reply(rq, 409, o);
}

/* ---- slices ---- */

static uint64_t used_bytes(const struct dv_holding *h)
{
    return dv_governor_slice_reserved(&h->pages);
}

/* Those with something on the GPU: the driver lists them, or will in a moment. */
void dv_view_add_pids(struct dv_output_node *parent, struct dv_holding *h)
{
    struct dv_output_node *list = dv_output_array(parent, "pids");
    for (const struct dv_member *m = h->node->members; m; m = m->next)
        if (m->holding == h && m->ready && (m->seen || dv_governor_slot_held(&m->slot, &h->pages)))
            dv_output_int(list, NULL, m->id.pid);
    for (size_t i = 0; i < h->n_strays; i++)
        if (!h->strays[i].from_store && dv_proc_alive(&h->strays[i].id))
            dv_output_int(list, NULL, h->strays[i].id.pid);
}

static void add_workload(struct dv_output_node *o, const struct dv_workload *w)
{
    const struct {
        const char *key, *text;
    } texts[] = {
        {"namespace", w->namespace},       {"pod", w->pod},
        {"pod_uid", w->pod_uid},           {"container", w->container},
        {"container_id", w->container_id},
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(texts); i++)
        dv_output_string(o, texts[i].key, texts[i].text[0] ? texts[i].text : NULL);
}

static void add_slice_fields(struct dv_output_node *o, struct dv_holding *h)
{
    const struct dv_slice *s = dv_node_slice(h);
    const struct dv_device *d = dv_snapshot_device(h->node->snapshot, h->device_uuid);
    char id[32];
    snprintf(id, sizeof id, "s-%llu", (unsigned long long)h->claim.id);
    dv_output_string(o, "id", id);
    dv_output_string(o, "tenant", h->claim.tenant);
    dv_output_bytes(o, "memory_bytes", s ? s->memory_bytes : 0);
    dv_output_bytes(o, "memory_used_bytes", used_bytes(h));
    dv_output_compute(o, "compute_permille", s ? s->compute : 0);
    dv_output_string(o, "memory_wall", dv_device_wall_name(s ? s->memory_wall : DV_WALL_NONE));
    dv_output_string(o, "compute_wall", dv_device_wall_name(s ? s->compute_wall : DV_WALL_NONE));
    dv_output_string(o, "mode", dv_device_mode_name(s ? s->mode : DV_MODE_AUTO));
    if (d && d->mig) {
        dv_output_string(o, "profile", d->profile);
        dv_output_uint(o, "placement_start", d->placement_start);
    } else {
        dv_output_null(o, "profile");
        dv_output_null(o, "placement_start");
    }
    if (h->workload)
        add_workload(o, h->workload);
    dv_view_add_pids(o, h);
}

static const char *process_state(const struct dv_member *m)
{
    static const char *const names[] = {"idle",     "waiting",  "running",
                                        "stopping", "draining", "frozen"};
    const struct dv_slice *slice = dv_node_slice(m->holding);
    uint32_t state = __atomic_load_n(&m->slot.page->state, __ATOMIC_ACQUIRE);
    /* Who waits for no turns has no state of a lease: what is under way tells. */
    if (slice && slice->mode != DV_MODE_GOVERNED)
        return __atomic_load_n(&m->slot.page->inflight_ns, __ATOMIC_RELAXED) ? "running" : "idle";
    return state < DV_ARRAY_SIZE(names) ? names[state] : "unknown";
}

static void add_processes(struct dv_output_node *parent, struct dv_holding *h)
{
    struct dv_output_node *list = dv_output_array(parent, "processes");
    for (const struct dv_member *m = h->node->members; m; m = m->next) {
        if (m->holding != h || !m->ready)
            continue;
        struct dv_output_node *o = dv_output_object(list, NULL);
        dv_output_int(o, "pid", m->id.pid);
        dv_output_bytes(o, "memory_bytes", dv_governor_slot_held(&m->slot, &h->pages));
        dv_output_uint(o, "launches",
                       __atomic_load_n(&m->slot.page->launches_total, __ATOMIC_RELAXED));
        dv_output_string(o, "state", process_state(m));
    }
}

struct dv_output *dv_view_slices(struct dv_node *node)
{
    struct dv_output *o = dv_output_new("SliceList");
    struct dv_output_node *list = dv_output_array(dv_output_root(o), "slices");
    char claim[32];
    dv_meter_close(node, dv_clock_now());
    for (struct dv_holding *h = node->holdings; h; h = h->next) {
        if (h->state == DV_HOLDING_QUEUED)
            continue;
        struct dv_output_node *s = dv_output_object(list, NULL);
        uint32_t gpu = dv_node_gpu_of(node, h->device_uuid);
        add_slice_fields(s, h);
        snprintf(claim, sizeof claim, "c-%llu", (unsigned long long)h->claim.id);
        if (gpu == UINT32_MAX)
            dv_output_null(s, "gpu_index");
        else
            dv_output_uint(s, "gpu_index", gpu);
        dv_output_string(s, "gpu_uuid", h->device_uuid);
        dv_output_string(s, "claim", claim);
        dv_output_string(s, "state", dv_claims_state_name(h));
        dv_output_string(s, "command", h->command);
        dv_output_uint(s, "uid", h->uid);
        dv_output_int(s, "since_unix", h->since_unix);
        dv_output_seconds(s, "busy_seconds", h->busy_ns);
        dv_output_seconds(s, "wait_seconds", h->used.wait_ns);
        add_processes(s, h);
    }
    return o;
}

/* ---- status ---- */

static int by_place(const void *a, const void *b)
{
    const struct dv_device *const *x = a, *const *y = b;
    uint32_t p = (*x)->placement_start, q = (*y)->placement_start;
    return p != q ? (p > q) - (p < q) : ((*x)->ci > (*y)->ci) - ((*x)->ci < (*y)->ci);
}

size_t dv_view_devices(const struct dv_node *node, uint32_t gpu,
                       const struct dv_device *ret[DV_FACTS_MIG_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < node->snapshot->n_devices && n < DV_FACTS_MIG_MAX; i++)
        if (node->snapshot->devices[i].gpu == gpu)
            ret[n++] = &node->snapshot->devices[i];
    qsort(ret, n, sizeof(struct dv_device *), by_place);
    return n;
}

static void add_devices(struct dv_output_node *parent, const struct dv_node *node,
                        const struct dv_gpu *gpu)
{
    struct dv_output_node *list = dv_output_array(parent, "devices");
    const struct dv_device *devices[DV_FACTS_MIG_MAX];
    size_t n = dv_view_devices(node, gpu->index, devices);
    for (size_t i = 0; i < n; i++) {
        const struct dv_device *d = devices[i];
        if (!d->mig)
            continue;
        struct dv_output_node *o = dv_output_object(list, NULL);
        dv_output_string(o, "uuid", d->uuid);
        dv_output_string(o, "profile", d->profile);
        dv_output_uint(o, "placement_start", d->placement_start);
        dv_output_uint(o, "placement_size", d->placement_size);
        dv_output_bytes(o, "memory_bytes", d->memory_bytes);
        dv_output_compute(o, "compute_permille", d->compute);
        dv_output_string(o, "mode", dv_device_mode_name(d->mode));
    }
}

static const char *gpu_mode(const struct dv_node *node, const struct dv_gpu *gpu)
{
    const struct dv_device *d = dv_snapshot_device(node->snapshot, gpu->uuid);
    return gpu->mig_enabled ? "mig" : dv_device_mode_name(d ? d->mode : DV_MODE_AUTO);
}

/* The driver's figure. A process that has come since the last sample counts by what it holds. */
static uint64_t memory_used(struct dv_node *node, uint32_t gpu)
{
    uint64_t held = 0;
    bool news = false;
    for (const struct dv_member *m = node->members; m; m = m->next) {
        if (!m->ready || dv_node_gpu_of(node, m->holding->device_uuid) != gpu)
            continue;
        uint64_t bytes = dv_governor_slot_held(&m->slot, &m->holding->pages);
        held += bytes;
        news |= bytes && !m->seen;
    }
    return news ? DV_MAX(held, node->gpus[gpu].memory_used_bytes)
                : node->gpus[gpu].memory_used_bytes;
}

static void add_health(struct dv_output_node *o, const struct dv_node_gpu *g)
{
    const struct dv_health_verdict *v = &g->health.verdict;
    dv_output_string(o, "health_cause", v->cause ? dv_health_cause_name(v->cause) : NULL);
    dv_output_string(o, "health_remedy", v->remedy ? dv_health_remedy_name(v->remedy) : NULL);
    dv_output_int(o, "health_since_unix", g->health_since_unix);
    if (v->until_ns)
        dv_output_int(o, "health_until_unix",
                      g->health_since_unix + (int64_t)((v->until_ns - v->since_ns) / DV_NS_PER_S));
    else
        dv_output_null(o, "health_until_unix");
}

static void add_gpu(struct dv_output_node *list, struct dv_node *node, const struct dv_gpu *gpu)
{
    struct dv_output_node *o = dv_output_object(list, NULL);
    const struct dv_node_gpu *g = &node->gpus[gpu->index];
    dv_output_uint(o, "index", gpu->index);
    dv_output_string(o, "uuid", gpu->uuid[0] ? gpu->uuid : NULL);
    dv_output_string(o, "model", gpu->model[0] ? gpu->model : NULL);
    dv_output_string(o, "pci_bus_id", gpu->pci_bus_id[0] ? gpu->pci_bus_id : NULL);
    if (gpu != g->stranger)
        dv_output_bytes(o, "memory_bytes", gpu->memory_bytes);
    else
        dv_output_null(o, "memory_bytes");
    if (g->sampled)
        dv_output_bytes(o, "memory_used_bytes", memory_used(node, gpu->index));
    else
        dv_output_null(o, "memory_used_bytes");
    dv_output_string(o, "mode", gpu_mode(node, gpu));
    dv_output_string(o, "health", dv_gpu_health_name(gpu->health));
    dv_output_string(o, "health_detail", gpu->health_detail[0] ? gpu->health_detail : NULL);
    add_health(o, g);
    dv_output_bool(o, "mig_enabled", gpu->mig_enabled);
    add_devices(o, node, gpu);
    struct dv_output_node *slices = dv_output_array(o, "slices");
    for (struct dv_holding *h = node->holdings; h; h = h->next)
        if (h->state != DV_HOLDING_QUEUED && dv_node_gpu_of(node, h->device_uuid) == gpu->index)
            add_slice_fields(dv_output_object(slices, NULL), h);
}

/* Not among the GPUs: their indices may be others' now. */
static void add_missing(struct dv_output_node *root, const struct dv_node *node)
{
    struct dv_output_node *list = dv_output_array(root, "missing_gpus");
    const struct dv_missing_gpu *m;
    for (size_t i = 0; (m = dv_missing_at(node, i)); i++) {
        struct dv_output_node *o = dv_output_object(list, NULL);
        dv_output_uint(o, "last_index", m->gpu.index);
        dv_output_string(o, "uuid", m->gpu.uuid);
        dv_output_string(o, "model", m->gpu.model[0] ? m->gpu.model : NULL);
        dv_output_string(o, "pci_bus_id", m->gpu.pci_bus_id[0] ? m->gpu.pci_bus_id : NULL);
        dv_output_string(o, "last_health", m->seen ? dv_gpu_health_name(m->gpu.health) : NULL);
        dv_output_string(o, "last_health_detail",
                         m->seen && m->gpu.health_detail[0] ? m->gpu.health_detail : NULL);
        dv_output_int(o, "since_unix", m->since_unix);
    }
}

struct dv_output *dv_view_status(struct dv_node *node)
{
    struct dv_output *o = dv_output_new("NodeStatus");
    const struct dv_gpu *gpu;
    struct dv_output_node *root = dv_output_root(o);
    struct dv_output_node *driver = dv_output_object(root, "driver");
    dv_output_string(driver, "state", dv_inventory_driver_state(node));
    dv_output_string(driver, "version", node->driver.version[0] ? node->driver.version : NULL);
    dv_output_string(driver, "detail", node->driver_detail[0] ? node->driver_detail : NULL);
    struct dv_output_node *daemon = dv_output_object(root, "daemon");
    dv_output_string(daemon, "version", DV_VERSION);
    dv_output_int(daemon, "pid", getpid());
    dv_output_seconds(daemon, "uptime_seconds", dv_clock_now() - node->started_ns);
    dv_output_string(daemon, "sim", node->config.sim);
    struct dv_output_node *gpus = dv_output_array(root, "gpus");
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        if ((gpu = dv_strangers_gpu(node, i)))
            add_gpu(gpus, node, gpu);
    add_missing(root, node);
    if (node->kubernetes)
        dv_kubernetes_view_add(dv_output_object(root, "kubernetes"), node);
    return o;
}

struct usage_rows {
    struct usage_row {
        char tenant[DV_TENANT_SIZE];
        struct dv_usage used;
        enum dv_quality quality;
    } * rows;
    size_t n;
    bool failed;
};

static struct usage_row *usage_row(struct usage_rows *u, const char *tenant)
{
    for (size_t i = 0; i < u->n; i++)
        if (!strcmp(u->rows[i].tenant, tenant))
            return &u->rows[i];
    if (u->n % 64 == 0) {
        void *more = realloc(u->rows, (u->n + 64) * sizeof *u->rows);
        if (!more)
            return NULL;
        u->rows = more;
    }
    u->rows[u->n] = (struct usage_row){0};
    dv_str_copy(u->rows[u->n].tenant, sizeof u->rows[u->n].tenant, tenant);
    return &u->rows[u->n++];
}

static void on_total(void *arg, const struct dv_ledger_total *t)
{
    struct usage_rows *u = arg;
    struct dv_usage more = {.busy_ns = t->busy_ns,
                            .wait_ns = t->wait_ns,
                            .compute_ns = t->requested_compute,
                            .byte_ns = t->byte_seconds * DV_NS_PER_S};
    struct usage_row *row = t->account.tenant[0] ? usage_row(u, t->account.tenant) : NULL;
    u->failed |= t->account.tenant[0] && !row;
    if (!row)
        return;
    dv_usage_add(&row->used, &more);
    if (t->busy_ns)
        row->quality = DV_MAX(row->quality, t->account.quality);
}

static int by_tenant(const void *a, const void *b)
{
    return strcmp(((const struct usage_row *)a)->tenant, ((const struct usage_row *)b)->tenant);
}

/* Of a daemon without a ledger: since it was started. */
static void add_tally(const struct dv_node *node, struct usage_rows *u)
{
    const struct dv_tally *tally = dv_meter_tally(node);
    for (size_t i = 0; i < tally->n; i++) {
        const struct dv_charge *c = &tally->rows[i].charge;
        struct dv_ledger_total t = {.account = tally->rows[i].account,
                                    .busy_ns = c->busy_ns,
                                    .wait_ns = c->wait_ns,
                                    .requested_compute = c->requested_compute,
                                    .byte_seconds = c->byte_seconds};
        on_total(u, &t);
    }
}

struct dv_output *dv_view_usage(struct dv_node *node)
{
    struct dv_output *o = dv_output_new("Usage");
    struct dv_output_node *list = dv_output_array(dv_output_root(o), "tenants");
    struct usage_rows u = {0};
    struct dv_err err = {0};
    dv_meter_close(node, dv_clock_now());
    if (!node->ledger || dv_ledger_totals(node->ledger, on_total, &u, &err) < 0)
        add_tally(node, &u);
    if (u.n)
        qsort(u.rows, u.n, sizeof *u.rows, by_tenant);
    for (size_t i = 0; i < u.n; i++) {
        const struct dv_usage *used = &u.rows[i].used;
        struct dv_output_node *row = dv_output_object(list, NULL);
        dv_output_string(row, "tenant", u.rows[i].tenant);
        dv_output_seconds(row, "busy_seconds", used->busy_ns);
        dv_output_seconds(row, "wait_seconds", used->wait_ns);
        dv_output_seconds(row, "reserved_seconds", dv_usage_reserved_ns(used));
        dv_output_uint(row, "memory_byte_seconds", dv_usage_byte_seconds(used));
        dv_output_string(row, "quality", dv_account_quality_name(u.rows[i].quality));
    }
    free(u.rows);
    return o;
}

/* ---- claims ---- */

/* What the command needs to find its slice; the client puts its own values behind the paths. */
static void add_env(struct dv_output_node *parent, const struct dv_holding *h)
{
    const struct dv_node_config *c = &h->node->config;
    const struct dv_slice *slice = dv_node_slice(h);
    struct dv_output_node *env = dv_output_object(parent, "env");
    dv_cleanup(dv_str_done) struct dv_str path = {0};
    char id[32];
    snprintf(id, sizeof id, "s-%llu", (unsigned long long)h->claim.id);
    dv_output_string(env, "CUDA_VISIBLE_DEVICES", h->device_uuid);
    dv_output_string(env, "NVIDIA_VISIBLE_DEVICES", h->device_uuid);
    dv_output_string(env, DV_TENANT_SOCKET_ENV, c->tenant_socket);
    dv_output_string(env, "DIVVY_SLICE", id);
    if (slice && slice->mode == DV_MODE_MPS)
        dv_mps_environment(h->node, slice, env);
    dv_str_addf(&path, "%s/standin", c->lib_dir);
    if (c->sim_socket)
        dv_str_addf(&path, ":%s/sim", c->lib_dir);
    dv_output_string(env, "LD_LIBRARY_PATH", dv_str_get(&path));
    if (!c->sim_socket)
        return;
    dv_str_clear(&path);
    dv_str_addf(&path, "%s/sim/bin", c->lib_dir);
    dv_output_string(env, "PATH", dv_str_get(&path));
    dv_output_string(env, "DIVVY_SIM_SOCKET", c->sim_socket);
}

struct dv_output *dv_view_claim(struct dv_node *node, struct dv_holding *h, const char *state,
                                const struct dv_verdict *verdict)
{
    struct dv_output *o = dv_output_new("Claim");
    struct dv_output_node *root = dv_output_root(o);
    struct dv_verdict now;
    char id[32];
    if (!verdict) {
        dv_claims_verdict(node, h, &now);
        verdict = &now;
    }
    snprintf(id, sizeof id, "c-%llu", (unsigned long long)h->claim.id);
    dv_output_string(root, "id", id);
    dv_output_string(root, "tenant", h->claim.tenant);
    dv_output_string(root, "state", state ? state : dv_claims_state_name(h));
    if (h->state == DV_HOLDING_QUEUED && !state)
        dv_output_uint(root, "position", dv_claims_position(node, h));
    add_verdict(root, verdict);
    if (h->state == DV_HOLDING_GRANTED && !state) {
        struct dv_output_node *slice = dv_output_object(root, "slice");
        add_slice_fields(slice, h);
        add_env(slice, h);
    }
    return o;
}

void dv_view_reply_claim(struct dv_http_request *rq, unsigned status, struct dv_holding *h,
                         const char *state, const struct dv_verdict *verdict)
{
    dv_view_reply(rq, status, dv_view_claim(h->node, h, state, verdict));
}

struct dv_output *dv_view_queue(struct dv_node *node)
{
    struct dv_output *o = dv_output_new("Queue");
    struct dv_output_node *list = dv_output_array(dv_output_root(o), "claims");
    for (uint32_t position = 1; position <= node->snapshot->n_claims; position++) {
        for (struct dv_holding *h = node->holdings; h; h = h->next) {
            struct dv_verdict v;
            char id[32];
            if (h->last_position != position || h->state != DV_HOLDING_QUEUED)
                continue;
            struct dv_output_node *c = dv_output_object(list, NULL);
            snprintf(id, sizeof id, "c-%llu", (unsigned long long)h->claim.id);
            dv_output_string(c, "id", id);
            dv_output_string(c, "tenant", h->claim.tenant);
            dv_output_uint(c, "position", position);
            dv_output_int(c, "priority", h->claim.priority);
            dv_output_string(c, "mode", dv_device_mode_name(h->claim.mode));
            dv_output_bytes(c, "memory_bytes", h->claim.memory_bytes);
            dv_output_compute(c, "compute_permille", h->claim.compute);
            dv_output_int(c, "since_unix", h->since_unix);
            dv_output_string(c, "command", h->command);
            dv_claims_verdict(node, h, &v);
            add_verdict(c, &v);
        }
    }
    return o;
}

/* ---- explanations ---- */

static void add_line(struct dv_output_node *lines, const char *fmt, ...) dv_printf(2, 3);
static void add_line(struct dv_output_node *lines, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    dv_output_string(lines, NULL, text);
}

/* "2026-11-27 01:02:03 UTC" */
static const char *when(int64_t unix_time, char buf[32])
{
    time_t t = (time_t)unix_time;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || !strftime(buf, 32, "%Y-%m-%d %H:%M:%S UTC", &tm))
        snprintf(buf, 32, "?");
    return buf;
}

static void explain_slice(struct dv_output_node *lines, struct dv_holding *h)
{
    const struct dv_slice *s = dv_node_slice(h);
    char memory[DV_UNITS_TEXT], used[DV_UNITS_TEXT], compute[DV_UNITS_TEXT], since[32];
    if (!s)
        return;
    add_line(lines,
             "slice s-%llu of tenant %s: %s memory (%s in use) and %s of the compute on "
             "device %s, mode %s, since %s",
             (unsigned long long)h->claim.id, h->claim.tenant,
             dv_units_format_bytes(s->memory_bytes, memory),
             dv_units_format_bytes(used_bytes(h), used),
             dv_units_format_compute(s->compute, compute), s->device, dv_device_mode_name(s->mode),
             when(h->granted_unix, since));
    if (s->alone)
        add_line(lines, "it has its device for itself: a baseline is being recorded");
    add_line(lines, "memory wall %s: %s", dv_device_wall_name(s->memory_wall),
             dv_walls_text_memory(h->node, s));
    add_line(lines, "compute wall %s: %s", dv_device_wall_name(s->compute_wall),
             dv_walls_text_compute(h->node, s));
    if (dv_walls_text_shared(s))
        add_line(lines, "%s", dv_walls_text_shared(s));
    if (h->arm_problem[0])
        add_line(
            lines,
            "the driver did not take the last change of this slice's limits and keeps those of "
            "before: %s",
            h->arm_problem);
    if (h->state == DV_HOLDING_ENDING)
        add_line(lines,
                 "it ends: its owner (process %d) has let go, its last processes are "
                 "awaited",
                 (int)h->owner.pid);
}

/* "s-3 (alice), s-4 (bob) and 2 more" */
static void name_slices(const struct dv_snapshot *s, const struct dv_unblock *u,
                        struct dv_str *text)
{
    uint32_t named = DV_MIN(u->n, 4u);
    for (uint32_t i = 0; i < named; i++) {
        const struct dv_slice *slice = dv_snapshot_slice(s, u->slices[i]);
        dv_str_addf(text, "%ss-%llu (%s)",
                    !i                                ? ""
                    : i + 1 == named && u->n == i + 1 ? " and "
                                                      : ", ",
                    (unsigned long long)u->slices[i], slice ? slice->tenant : "?");
    }
    if (u->n > named)
        dv_str_addf(text, " and %u more", u->n - named);
}

/* What a waiting claim waits for, by name. */
static void explain_unblock(struct dv_output_node *lines, struct dv_output_node *ids,
                            const struct dv_holding *h)
{
    dv_cleanup(dv_str_done) struct dv_str names = {0};
    struct dv_unblock u;
    if (h->state != DV_HOLDING_QUEUED || dv_unblock_find(h->node->snapshot, h->claim.id, &u) < 0)
        return;
    uint32_t position = dv_claims_position(h->node, h);
    name_slices(h->node->snapshot, &u, &names);
    if (!u.n && position > 1)
        add_line(lines, "there is room for it: it waits for those ahead of it in the queue");
    else if (u.n)
        add_line(lines, "the end of %s on device %s would make room for it%s", dv_str_get(&names),
                 u.device, position > 1 ? ", once those ahead of it have what they asked for" : "");
    for (uint32_t i = 0; ids && i < DV_MIN(u.n, (uint32_t)DV_UNBLOCK_MAX); i++) {
        char id[32];
        snprintf(id, sizeof id, "s-%llu", (unsigned long long)u.slices[i]);
        dv_output_string(ids, NULL, id);
    }
}

static void explain_holding(struct dv_output_node *lines, struct dv_output_node *ids,
                            struct dv_holding *h)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_verdict v;
    if (h->state == DV_HOLDING_QUEUED) {
        dv_claims_verdict(h->node, h, &v);
        dv_verdict_text_claim(&v, &text);
        add_line(lines, "claim c-%llu of tenant %s waits at position %u: %s",
                 (unsigned long long)h->claim.id, h->claim.tenant, dv_claims_position(h->node, h),
                 dv_str_get(&text));
        explain_unblock(lines, ids, h);
    } else {
        explain_slice(lines, h);
    }
    for (size_t i = 0; i < h->node->n_findings; i++) {
        const struct dv_finding *f = &h->node->findings[i];
        if (f->holding != h->claim.id || !dv_audit_counts(f))
            continue;
        add_line(lines, "%s", f->problem);
        add_line(lines, "cause: %s", f->cause);
        add_line(lines, "remedy: %s", f->remedy);
    }
}

static void add_walls(struct dv_output_node *root, const struct dv_slice *s)
{
    struct dv_output_node *walls = dv_output_object(root, "walls");
    dv_output_string(walls, "memory", dv_device_wall_name(s->memory_wall));
    dv_output_string(walls, "compute", dv_device_wall_name(s->compute_wall));
}

struct dv_output *dv_view_explain(struct dv_node *node, struct dv_holding *h, const char *tenant)
{
    struct dv_output *o = dv_output_new("Explanation");
    struct dv_output_node *root = dv_output_root(o);
    char subject[96];
    dv_meter_close(node, dv_clock_now());
    dv_waits_tick(node, dv_clock_now());
    if (h)
        snprintf(subject, sizeof subject, "%s-%llu", h->state == DV_HOLDING_QUEUED ? "c" : "s",
                 (unsigned long long)h->claim.id);
    else
        snprintf(subject, sizeof subject, "%s", tenant);
    dv_output_string(root, "subject", subject);
    struct dv_output_node *lines = dv_output_array(root, "lines");
    if (h) {
        struct dv_verdict v;
        explain_holding(lines, dv_output_array(root, "unblocked_by"), h);
        dv_mps_explain(node, h->claim.id, h->claim.tenant, lines);
        dv_claims_verdict(node, h, &v);
        add_verdict(root, &v);
        if (dv_node_slice(h))
            add_walls(root, dv_node_slice(h));
        dv_waits_view_add(root, &h->spent);
        dv_baselines_explain(h, dv_output_array(root, "baselines"), lines);
        return o;
    }
    bool any = false;
    struct dv_output_node *baselines = dv_output_array(root, "baselines");
    for (h = node->holdings; h; h = h->next) {
        if (strcmp(h->claim.tenant, tenant) != 0)
            continue;
        explain_holding(lines, NULL, h);
        dv_baselines_explain(h, baselines, lines);
        any = true;
    }
    for (size_t i = 0; i < node->n_tenants; i++)
        if (!strcmp(node->tenants[i].name, tenant))
            dv_waits_view_add(root, &node->tenants[i].spent);
    dv_mps_explain(node, 0, tenant, lines);
    if (!any)
        add_line(lines, "tenant %s holds no slice and waits for none", tenant);
    return o;
}
