/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include "audit.h"
#include "inventory.h"
#include "kubernetes/kubernetes_view.h"
#include "meter.h"
#include "metrics_families.h"
#include "metrics_tenants.h"
#include "missing.h"
#include "strangers.h"
#include "sys/clock.h"
#include "tenants.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct page {
    struct dv_node *node;
    uint64_t now;
    struct dv_openmetrics w;
    struct dv_str labels[DV_FACTS_GPUS_MAX]; /* gpu and gpu_uuid, made once; "": none to show */
};

static void begin(struct page *p, enum dv_metrics_id id)
{
    dv_openmetrics_family(&p->w, &dv_metrics_families[id]);
}

static void node_sample(struct page *p, enum dv_metrics_id id, uint64_t value)
{
    begin(p, id);
    dv_openmetrics_sample(&p->w);
    dv_openmetrics_uint(&p->w, value);
}

static void gpu_sample(struct page *p, const struct dv_gpu *gpu)
{
    dv_openmetrics_sample(&p->w);
    dv_openmetrics_labels(&p->w, dv_str_get(&p->labels[gpu->index]));
}

/* The GPUs one after the other, from NULL to NULL; those that nobody has seen too. */
static const struct dv_gpu *next_gpu(const struct page *p, const struct dv_gpu *gpu)
{
    const struct dv_gpu *next = NULL;
    for (uint32_t i = gpu ? gpu->index + 1 : 0; !next && i < DV_FACTS_GPUS_MAX; i++)
        next = dv_strangers_gpu(p->node, i);
    return next;
}

static void make_labels(struct page *p)
{
    char index[16];
    for (const struct dv_gpu *gpu = NULL; (gpu = next_gpu(p, gpu));) {
        snprintf(index, sizeof index, "%u", gpu->index);
        dv_openmetrics_labels_add(&p->labels[gpu->index], "gpu", index);
        dv_openmetrics_labels_add(&p->labels[gpu->index], "gpu_uuid", gpu->uuid);
    }
}

/* ---- the node ---- */

static void write_build(struct page *p)
{
    begin(p, DV_METRICS_BUILD);
    dv_openmetrics_sample(&p->w);
    dv_openmetrics_label(&p->w, "version", DV_VERSION);
    dv_openmetrics_uint(&p->w, 1);
}

/* Those that the audit names as beyond the leases; a member over its cap is none. */
static void write_intruders(struct page *p)
{
    begin(p, DV_METRICS_INTRUDERS);
    for (const struct dv_gpu *gpu = NULL; (gpu = next_gpu(p, gpu));) {
        uint64_t n = 0;
        for (size_t i = 0; i < p->node->n_findings; i++) {
            const struct dv_finding *f = &p->node->findings[i];
            n += f->gpu == gpu->index && f->process.pid > 0 && dv_audit_counts(f) &&
                 !dv_tenants_member(p->node, (uint32_t)f->process.pid);
        }
        if (!dv_telemetry_answers(p->node, gpu->index) ||
            !p->node->gpus[gpu->index].processes_known)
            continue;
        gpu_sample(p, gpu);
        dv_openmetrics_uint(&p->w, n);
    }
}

static void write_ledger(struct page *p)
{
    struct dv_books_ledger ledger;
    if (!dv_books_view_ledger(p->node, &ledger))
        return;
    node_sample(p, DV_METRICS_LEDGER_UP, ledger.up);
    node_sample(p, DV_METRICS_LEDGER_BLOCKS, ledger.blocks);
    node_sample(p, DV_METRICS_LEDGER_BYTES, ledger.bytes);
    if (ledger.last_flush_unix > 0)
        node_sample(p, DV_METRICS_LEDGER_FLUSH, (uint64_t)ledger.last_flush_unix);
}

static void write_node(struct page *p, size_t dropped)
{
    write_build(p);
    write_intruders(p);
    write_ledger(p);
    if (p->node->scrape_ns) {
        begin(p, DV_METRICS_SCRAPE);
        dv_openmetrics_sample(&p->w);
        dv_openmetrics_seconds(&p->w, p->node->scrape_ns);
    }
    node_sample(p, DV_METRICS_DROPPED, dropped);
}

/* ---- GPUs ---- */

static void write_gpu_info(struct page *p)
{
    begin(p, DV_METRICS_GPU);
    for (const struct dv_gpu *gpu = NULL; (gpu = next_gpu(p, gpu));) {
        gpu_sample(p, gpu);
        dv_openmetrics_label(&p->w, "model", gpu->model);
        dv_openmetrics_label(&p->w, "driver_version", p->node->driver.version);
        dv_openmetrics_label(&p->w, "pci_bus_id", gpu->pci_bus_id);
        dv_openmetrics_uint(&p->w, 1);
    }
}

static void write_health(struct page *p)
{
    static const enum dv_gpu_health states[] = {DV_GPU_HEALTH_OK, DV_GPU_HEALTH_DEGRADED,
                                                DV_GPU_HEALTH_FAILED, DV_GPU_HEALTH_UNKNOWN};
    begin(p, DV_METRICS_GPU_HEALTH);
    for (const struct dv_gpu *gpu = NULL; (gpu = next_gpu(p, gpu));) {
        for (size_t i = 0; i < DV_ARRAY_SIZE(states); i++) {
            gpu_sample(p, gpu);
            dv_openmetrics_label(&p->w, "state", dv_gpu_health_name(states[i]));
            dv_openmetrics_uint(&p->w, gpu->health == states[i]);
        }
    }
    begin(p, DV_METRICS_GPU_HEALTH_SINCE);
    for (const struct dv_gpu *gpu = NULL; (gpu = next_gpu(p, gpu));) {
        const struct dv_node_gpu *g = &p->node->gpus[gpu->index];
        gpu_sample(p, gpu);
        dv_openmetrics_label(&p->w, "cause", dv_health_cause_name(g->health.verdict.cause));
        dv_openmetrics_uint(&p->w, (uint64_t)DV_MAX(g->health_since_unix, INT64_C(0)));
    }
}

static void write_missing(struct page *p)
{
    const struct dv_missing_gpu *m;
    begin(p, DV_METRICS_GPU_MISSING);
    for (size_t i = 0; (m = dv_missing_at(p->node, i)); i++) {
        char index[16];
        snprintf(index, sizeof index, "%u", m->gpu.index);
        dv_openmetrics_sample(&p->w);
        dv_openmetrics_label(&p->w, "gpu", index);
        dv_openmetrics_label(&p->w, "gpu_uuid", m->gpu.uuid);
        dv_openmetrics_uint(&p->w, (uint64_t)DV_MAX(m->since_unix, INT64_C(0)));
    }
}

static void write_collect(struct page *p)
{
    begin(p, DV_METRICS_GPU_COLLECT);
    for (const struct dv_gpu *gpu = NULL; (gpu = next_gpu(p, gpu));) {
        gpu_sample(p, gpu);
        dv_openmetrics_uint(&p->w, dv_telemetry_complete(p->node, gpu->index));
    }
    begin(p, DV_METRICS_GPU_COLLECT_TIME);
    for (const struct dv_gpu *gpu = NULL; (gpu = next_gpu(p, gpu));) {
        if (!p->node->gpus[gpu->index].telemetry.took_ns)
            continue;
        gpu_sample(p, gpu);
        dv_openmetrics_seconds(&p->w, p->node->gpus[gpu->index].telemetry.took_ns);
    }
}

static void write_time(struct page *p)
{
    struct dv_books_gpu t;
    begin(p, DV_METRICS_GPU_TIME);
    for (const struct dv_gpu *gpu = NULL; (gpu = next_gpu(p, gpu));) {
        if (!dv_books_view_gpu(p->node, gpu->uuid, &t))
            continue;
        const struct {
            const char *name;
            uint64_t ns;
        } buckets[] = {{"busy", t.busy_ns},
                       {"overhead", t.overhead_ns},
                       {"reserved_idle", t.reserved_idle_ns},
                       {"unallocated", t.unallocated_ns},
                       {"unhealthy", t.unhealthy_ns}};
        for (size_t i = 0; i < DV_ARRAY_SIZE(buckets); i++) {
            gpu_sample(p, gpu);
            dv_openmetrics_label(&p->w, "bucket", buckets[i].name);
            dv_openmetrics_seconds(&p->w, buckets[i].ns);
        }
    }
}

/* ---- figures of the driver ---- */

/* What a figure is read from: facts is NULL where there are none. */
typedef uint64_t figure(const struct dv_node_gpu *g, const struct dv_gpu *gpu,
                        const struct dv_facts_telemetry *facts);

static uint64_t wide(uint32_t v, uint64_t unit)
{
    return v == DV_FACT_UNKNOWN32 ? DV_FACT_UNKNOWN : v * unit;
}

static uint64_t memory(const struct dv_node_gpu *g, const struct dv_gpu *gpu,
                       const struct dv_facts_telemetry *facts)
{
    return gpu->memory_bytes;
}

static uint64_t memory_used(const struct dv_node_gpu *g, const struct dv_gpu *gpu,
                            const struct dv_facts_telemetry *facts)
{
    return g->memory_known ? g->memory_used_bytes : DV_FACT_UNKNOWN;
}

static uint64_t memory_lost(const struct dv_node_gpu *g, const struct dv_gpu *gpu,
                            const struct dv_facts_telemetry *facts)
{
    if (!g->processes_known || !g->memory_known)
        return DV_FACT_UNKNOWN;
    return g->ghost_ns ? g->memory_used_bytes : 0;
}

/* GPM knows MIG too, and counts finer than whole percents. In millionths. */
static uint64_t utilization(const struct dv_node_gpu *g, const struct dv_gpu *gpu,
                            const struct dv_facts_telemetry *facts)
{
    if (facts && facts->gpm.interval_ns && facts->gpm.active_ppm != DV_FACT_UNKNOWN32)
        return facts->gpm.active_ppm;
    return wide(g->gpu_percent, 10000);
}

static uint64_t power(const struct dv_node_gpu *g, const struct dv_gpu *gpu,
                      const struct dv_facts_telemetry *facts)
{
    return facts ? wide(facts->power_mw, 1) : DV_FACT_UNKNOWN;
}

static uint64_t energy(const struct dv_node_gpu *g, const struct dv_gpu *gpu,
                       const struct dv_facts_telemetry *facts)
{
    return facts ? facts->energy_mj : DV_FACT_UNKNOWN;
}

static uint64_t temperature(const struct dv_node_gpu *g, const struct dv_gpu *gpu,
                            const struct dv_facts_telemetry *facts)
{
    return facts ? wide(facts->gpu_celsius, 1) : DV_FACT_UNKNOWN;
}

static uint64_t sm_clock(const struct dv_node_gpu *g, const struct dv_gpu *gpu,
                         const struct dv_facts_telemetry *facts)
{
    return facts ? wide(facts->sm_mhz, 1000000) : DV_FACT_UNKNOWN;
}

static uint64_t memory_clock(const struct dv_node_gpu *g, const struct dv_gpu *gpu,
                             const struct dv_facts_telemetry *facts)
{
    return facts ? wide(facts->memory_mhz, 1000000) : DV_FACT_UNKNOWN;
}

static const struct {
    enum dv_metrics_id id;
    figure *read;
    unsigned scale;
} figures[] = {
    {DV_METRICS_GPU_MEMORY, memory, 0},
    {DV_METRICS_GPU_MEMORY_USED, memory_used, 0},
    {DV_METRICS_GPU_MEMORY_LOST, memory_lost, 0},
    {DV_METRICS_GPU_UTILIZATION, utilization, 6},
    {DV_METRICS_GPU_POWER, power, 3},
    {DV_METRICS_GPU_ENERGY, energy, 3},
    {DV_METRICS_GPU_TEMPERATURE, temperature, 0},
    {DV_METRICS_GPU_SM_CLOCK, sm_clock, 0},
    {DV_METRICS_GPU_MEMORY_CLOCK, memory_clock, 0},
};

static void write_figure(struct page *p, size_t i)
{
    begin(p, figures[i].id);
    for (const struct dv_gpu *gpu = NULL; (gpu = next_gpu(p, gpu));) {
        if (!dv_telemetry_answers(p->node, gpu->index))
            continue;
        uint64_t v = figures[i].read(&p->node->gpus[gpu->index], gpu,
                                     dv_telemetry_facts(p->node, gpu->index));
        if (v == DV_FACT_UNKNOWN)
            continue;
        gpu_sample(p, gpu);
        dv_openmetrics_decimal(&p->w, v, figures[i].scale);
    }
}

/* Counted here, not asked of the driver: they stay when it falls silent. */
static void write_xids(struct page *p)
{
    begin(p, DV_METRICS_GPU_XID);
    for (const struct dv_gpu *gpu = NULL; (gpu = next_gpu(p, gpu));) {
        const struct dv_telemetry *t = &p->node->gpus[gpu->index].telemetry;
        for (uint32_t i = 0; i < t->n_xids; i++) {
            gpu_sample(p, gpu);
            dv_openmetrics_label_uint(&p->w, "xid", t->xids[i].xid);
            dv_openmetrics_uint(&p->w, t->xids[i].count);
        }
    }
}

static void write_gpus(struct page *p)
{
    write_gpu_info(p);
    write_health(p);
    write_missing(p);
    write_collect(p);
    write_time(p);
    for (size_t i = 0; i < DV_ARRAY_SIZE(figures); i++)
        write_figure(p, i);
    write_xids(p);
}

/* ---- devices ---- */

static bool device_sample(struct page *p, const struct dv_device *d)
{
    if (d->gpu >= DV_FACTS_GPUS_MAX || !p->labels[d->gpu].len)
        return false;
    dv_openmetrics_sample(&p->w);
    dv_openmetrics_labels(&p->w, dv_str_get(&p->labels[d->gpu]));
    dv_openmetrics_label(&p->w, "device_uuid", d->uuid);
    return true;
}

static void write_device_info(struct page *p)
{
    begin(p, DV_METRICS_DEVICE);
    for (size_t i = 0; i < p->node->snapshot->n_devices; i++) {
        const struct dv_device *d = &p->node->snapshot->devices[i];
        if (!device_sample(p, d))
            continue;
        dv_openmetrics_label(&p->w, "profile", d->profile);
        dv_openmetrics_label(&p->w, "mode", dv_device_mode_name(d->mode));
        dv_openmetrics_uint(&p->w, 1);
    }
}

static void write_device_figure(struct page *p, enum dv_metrics_id id, const struct dv_held *held)
{
    begin(p, id);
    for (size_t i = 0; i < p->node->snapshot->n_devices; i++) {
        const struct dv_device *d = &p->node->snapshot->devices[i];
        if (!device_sample(p, d))
            continue;
        if (id == DV_METRICS_DEVICE_COMPUTE)
            dv_openmetrics_ratio(&p->w, d->compute, DV_COMPUTE_FULL);
        else
            dv_openmetrics_uint(&p->w, id == DV_METRICS_DEVICE_MEMORY ? d->memory_bytes
                                       : id == DV_METRICS_DEVICE_HELD ? held[i].memory_bytes
                                                                      : held[i].slices);
    }
}

static void write_devices(struct page *p)
{
    const struct dv_snapshot *s = p->node->snapshot;
    struct dv_held *held = calloc(s->n_devices + 1, sizeof *held);
    if (!held) {
        p->w.out->failed = true;
        return;
    }
    for (size_t i = 0; i < s->n_devices; i++)
        held[i] = dv_snapshot_held(s, s->devices[i].uuid);
    write_device_info(p);
    for (enum dv_metrics_id id = DV_METRICS_DEVICE_COMPUTE; id <= DV_METRICS_DEVICE_SLICES; id++)
        write_device_figure(p, id, held);
    free(held);
}

/* ---- the page ---- */

void dv_metrics_write(struct dv_node *node, enum dv_openmetrics_format format, struct dv_str *ret)
{
    struct page p = {.node = node, .now = dv_clock_now(), .w = {.out = ret, .format = format}};
    if (node->lease)
        dv_meter_tick(node, p.now);
    dv_activity_tick(node, p.now);
    struct dv_metrics_tenants *tenants = dv_metrics_tenants_new(node, p.now);
    make_labels(&p);
    write_node(&p, tenants ? dv_metrics_tenants_dropped(tenants) : 0);
    dv_kubernetes_view_metrics(node, &p.w);
    write_gpus(&p);
    write_devices(&p);
    if (tenants)
        dv_metrics_tenants_write(tenants, &p.w);
    else
        ret->failed = true;
    dv_openmetrics_end(&p.w);
    dv_metrics_tenants_free(tenants);
    for (size_t i = 0; i < DV_ARRAY_SIZE(p.labels); i++)
        dv_str_done(&p.labels[i]);
    node->scrape_ns = dv_clock_now() - p.now;
}

/* ---- answers ---- */

static void reply_text(struct dv_http_request *rq, unsigned status, const char *text)
{
    dv_http_server_reply_as(rq, status, "text/plain; charset=utf-8", text, strlen(text));
}

static void answer_page(struct dv_node *node, struct dv_http_request *rq, bool dcgm)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    enum dv_openmetrics_format format =
        dcgm ? DV_OPENMETRICS_PROMETHEUS
             : dv_openmetrics_accept(dv_http_server_header(rq, "Accept"));
    char host[256] = "";
    dv_telemetry_want(node, dv_clock_now());
    if (dcgm) {
        gethostname(host, sizeof host - 1);
        dv_metrics_dcgm(node, node->config.dcgm_hostname, host, &text);
    } else {
        dv_metrics_write(node, format, &text);
    }
    size_t size = text.len;
    bool failed = text.failed;
    char *body = size && !failed ? dv_str_steal(&text) : NULL;
    if (failed)
        reply_text(rq, 500, "out of memory\n");
    else if (!body) /* no GPU answers, and /metrics/dcgm has nothing else */
        dv_http_server_reply_as(rq, 200, dv_openmetrics_type(format), "", 0);
    else
        dv_http_server_reply_take(rq, 200, dv_openmetrics_type(format), body, size);
}

static void answer_ready(struct dv_node *node, struct dv_http_request *rq)
{
    char text[120];
    const char *driver = dv_inventory_driver_state(node);
    bool ready = node->ready && !strcmp(driver, "ok");
    snprintf(text, sizeof text, ready ? "ok\n" : "not ready: the driver is %s\n", driver);
    reply_text(rq, ready ? 200 : 503, text);
}

bool dv_metrics_answer(struct dv_node *node, struct dv_http_request *rq)
{
    static const char *const paths[] = {"/metrics", "/metrics/dcgm", "/healthz", "/readyz"};
    size_t i = 0;
    while (i < DV_ARRAY_SIZE(paths) && strcmp(rq->path, paths[i]) != 0)
        i++;
    if (i == DV_ARRAY_SIZE(paths))
        return false;
    if (strcmp(rq->method, "GET") != 0 && strcmp(rq->method, "HEAD") != 0) {
        dv_http_server_add_header(rq, "Allow", "GET, HEAD");
        reply_text(rq, 405, "this path is for GET\n");
    } else if (i == 2) {
        reply_text(rq, 200, "ok\n");
    } else if (i == 3) {
        answer_ready(node, rq);
    } else {
        answer_page(node, rq, i == 1);
    }
    return true;
}
