/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page that dashboards for NVIDIA's dcgm-exporter read. Names, types, labels and number formats
 * are that exporter's (release 4.6.0 and up); the figures come from NVML and GPM.
 *
 * One row per GPU, with one difference in MIG mode: what the instances have figures of their own
 * for (memory, and the PROF families) has a row for each instance and none for the GPU, so that
 * sums are right; what only the whole GPU has (clocks, heat, power, errors) has one row, without
 * GPU_I_*. A device that one container has for itself carries that container's namespace, pod and
 * container. Of a device that several share, each container has a row of its own for the memory
 * that it uses, beside the device's row, which has none of these labels. No other figure is divided
 * here: /metrics has the tenants.
 */
#include "metrics.h"
#include "metrics_families.h"
#include "policy/xid.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct page {
    struct dv_node *node;
    struct dv_openmetrics w;
    enum dv_dcgm_hostname label;
    const char *host;
};

/* A row: a GPU, or an instance of one. */
struct row {
    const struct dv_node_gpu *g;
    const struct dv_gpu *gpu;
    const struct dv_facts_telemetry *t;
    const struct dv_facts_telemetry_gi *gi; /* NULL: the whole GPU */
};

int dv_metrics_dcgm_hostname_parse(const char *text, enum dv_dcgm_hostname *ret)
{
    static const char *const names[] = {"hostname", "Hostname", "both", "none"};
    for (size_t i = 0; i < DV_ARRAY_SIZE(names); i++) {
        if (strcmp(text, names[i]) != 0)
            continue;
        *ret = (enum dv_dcgm_hostname)i;
        return 0;
    }
    return -EINVAL;
}

/* ---- figures: DV_FACT_UNKNOWN leaves the row out ---- */

static uint64_t wide(uint32_t v)
{
    return v == DV_FACT_UNKNOWN32 ? DV_FACT_UNKNOWN : v;
}

static uint64_t mib(uint64_t bytes)
{
    return bytes == DV_FACT_UNKNOWN ? bytes : bytes / DV_MIB;
}

/* The whole GPU's, whatever it is cut into. */
static uint64_t of_gpu(const struct row *r, enum dv_dcgm_id id)
{
    const struct dv_facts_telemetry *t = r->t;
    switch (id) {
    case DV_DCGM_SM_CLOCK:
        return wide(t->sm_mhz);
    case DV_DCGM_MEM_CLOCK:
        return wide(t->memory_mhz);
    case DV_DCGM_MEMORY_TEMP:
        return wide(t->memory_celsius);
    case DV_DCGM_GPU_TEMP:
        return wide(t->gpu_celsius);
    case DV_DCGM_POWER:
        return t->power_mw == DV_FACT_UNKNOWN32 ? DV_FACT_UNKNOWN : t->power_mw * 1000ull;
    case DV_DCGM_ENERGY:
        return t->energy_mj;
    case DV_DCGM_PCIE_REPLAY:
        return wide(t->pcie_replays);
    case DV_DCGM_GPU_UTIL:
        return wide(t->gpu_percent);
    case DV_DCGM_MEM_UTIL:
        return wide(t->memory_percent);
    case DV_DCGM_ENC_UTIL:
        return wide(t->encoder_percent);
    case DV_DCGM_DEC_UTIL:
        return wide(t->decoder_percent);
    case DV_DCGM_XID:
        return r->g->telemetry.last_xid;
    case DV_DCGM_ROWS_UNCORRECTABLE:
        return wide(t->remapped_uncorrected);
    case DV_DCGM_ROWS_CORRECTABLE:
        return wide(t->remapped_corrected);
    case DV_DCGM_ROW_FAILURE:
        return wide(t->remap_failed);
    default:
        return DV_FACT_UNKNOWN;
    }
}

static uint64_t of_memory(const struct row *r, enum dv_dcgm_id id)
{
    const struct dv_facts_telemetry_gi *gi = r->gi;
    if (id == DV_DCGM_FB_FREE)
        return mib(gi ? gi->memory_free_bytes : r->t->memory_free_bytes);
    if (id == DV_DCGM_FB_USED)
        return mib(gi ? gi->memory_used_bytes : r->t->memory_used_bytes);
    return mib(gi ? gi->memory_reserved_bytes : r->t->memory_reserved_bytes);
}

static uint64_t of_gpm(const struct row *r, enum dv_dcgm_id id)
{
    const struct dv_facts_gpm *g = r->gi ? &r->gi->gpm : &r->t->gpm;
    if (!g->interval_ns)
        return DV_FACT_UNKNOWN;
    switch (id) {
    case DV_DCGM_GR_ACTIVE:
        return wide(g->active_ppm);
    case DV_DCGM_TENSOR_ACTIVE:
        return wide(g->tensor_ppm);
    case DV_DCGM_DRAM_ACTIVE:
        return wide(g->dram_ppm);
    case DV_DCGM_PCIE_TX:
        return g->pcie_tx_bytes;
    default:
        return g->pcie_rx_bytes;
    }
}

static bool is_memory(enum dv_dcgm_id id)
{
    return id == DV_DCGM_FB_FREE || id == DV_DCGM_FB_USED || id == DV_DCGM_FB_RESERVED;
}

static bool is_gpm(enum dv_dcgm_id id)
{
    return id >= DV_DCGM_GR_ACTIVE;
}

static uint64_t value_of(const struct row *r, enum dv_dcgm_id id)
{
    if (is_memory(id))
        return of_memory(r, id);
    return is_gpm(id) ? of_gpm(r, id) : of_gpu(r, id);
}

/* ---- rows ---- */

static const char *xid_text(uint64_t xid)
{
    static const char *const texts[] = {
        [DV_XID_CLEANUP] = "clean-up after ended work",
        [DV_XID_APPLICATION] = "application error",
        [DV_XID_OTHER] = "unknown error",
        [DV_XID_CONTAINED] = "contained hardware error",
        [DV_XID_FATAL] = "fatal hardware error",
    };
    return xid ? texts[dv_xid_kind(xid)] : "no error";
}

static const char *profile_of(const struct row *r)
{
    for (uint32_t i = 0; r->g->facts && i < r->g->facts->n_mig; i++) {
        const struct dv_facts_mig *m = &r->g->facts->mig[i];
        const char *c = strstr(m->profile, "c.");
        if (m->gi == r->gi->id) /* the instance's name: without that of a compute instance in it */
            return c ? c + 2 : m->profile;
    }
    return "";
}

static void put_labels(struct page *p, const struct row *r)
{
    char device[24];
    snprintf(device, sizeof device, "nvidia%u", r->gpu->index);
    dv_openmetrics_label_uint(&p->w, "gpu", r->gpu->index);
    dv_openmetrics_label(&p->w, "UUID", r->gpu->uuid);
    if (r->gpu->pci_bus_id[0])
        dv_openmetrics_label(&p->w, "pci_bus_id", r->gpu->pci_bus_id);
    dv_openmetrics_label(&p->w, "device", device);
    dv_openmetrics_label(&p->w, "modelName", r->gpu->model);
    if (r->gi) {
        dv_openmetrics_label(&p->w, "GPU_I_PROFILE", profile_of(r));
        dv_openmetrics_label_uint(&p->w, "GPU_I_ID", r->gi->id);
    }
    if (p->label == DV_DCGM_HOSTNAME_UPPER || p->label == DV_DCGM_HOSTNAME_BOTH)
        dv_openmetrics_label(&p->w, "Hostname", p->host);
    if (p->label == DV_DCGM_HOSTNAME_LOWER || p->label == DV_DCGM_HOSTNAME_BOTH)
        dv_openmetrics_label(&p->w, "hostname", p->host);
    if (p->node->driver.version[0])
        dv_openmetrics_label(&p->w, "DCGM_FI_DRIVER_VERSION", p->node->driver.version);
}

/* The device that a row is about; NULL where several are (compute instances, a GPU that is cut). */
static const struct dv_device *device_of(const struct page *p, const struct row *r)
{
    const struct dv_snapshot *s = p->node->snapshot;
    const struct dv_device *found = NULL;
    for (size_t i = 0; i < s->n_devices; i++) {
        const struct dv_device *d = &s->devices[i];
        if (d->gpu != r->gpu->index || (r->gi && d->gi != r->gi->id))
            continue;
        if (found)
            return NULL;
        found = d;
    }
    return found && found->mig == (r->gi != NULL) ? found : NULL;
}

static void put_workload(struct page *p, const struct dv_holding *h)
{
    if (!h || !h->workload || !h->workload->pod[0])
        return;
    dv_openmetrics_label(&p->w, "container", h->workload->container);
    dv_openmetrics_label(&p->w, "namespace", h->workload->namespace);
    dv_openmetrics_label(&p->w, "pod", h->workload->pod);
}

/* Who has the device for himself. */
static const struct dv_holding *sole_holder(const struct page *p, const struct dv_device *d)
{
    const struct dv_held held = dv_snapshot_held(p->node->snapshot, d->uuid);
    return held.slices == 1 ? dv_node_holding(p->node, held.first->id) : NULL;
}

static void put_containers_memory(struct page *p, const struct row *r, const struct dv_device *d)
{
    for (struct dv_holding *h = p->node->holdings; h; h = h->next) {
        if (!h->workload || !h->workload->pod[0] || !h->pages.page ||
            strcmp(h->device_uuid, d->uuid) != 0)
            continue;
        dv_openmetrics_sample(&p->w);
        put_labels(p, r);
        put_workload(p, h);
        dv_openmetrics_fixed(&p->w, dv_governor_slice_reserved(&h->pages) / DV_MIB,
                             dv_dcgm_digits[DV_DCGM_FB_USED]);
    }
}

static void put_row(struct page *p, const struct row *r, enum dv_dcgm_id id)
{
    uint64_t value = value_of(r, id);
    const struct dv_device *d = device_of(p, r);
    bool shared = d && dv_snapshot_held(p->node->snapshot, d->uuid).slices > 1;
    if (value == DV_FACT_UNKNOWN)
        return;
    dv_openmetrics_sample(&p->w);
    put_labels(p, r);
    if (d && !shared)
        put_workload(p, sole_holder(p, d));
    if (id == DV_DCGM_XID) {
        dv_openmetrics_label_uint(&p->w, "err_code", value);
        dv_openmetrics_label(&p->w, "err_msg", xid_text(value));
    }
    dv_openmetrics_fixed(&p->w, value, dv_dcgm_digits[id]);
    if (shared && id == DV_DCGM_FB_USED)
        put_containers_memory(p, r, d);
}

static void put_gpu(struct page *p, const struct dv_gpu *gpu, enum dv_dcgm_id id)
{
    struct row r = {&p->node->gpus[gpu->index], gpu, dv_telemetry_facts(p->node, gpu->index), NULL};
    if (!r.t)
        return;
    if (!r.t->n_gi || !(is_memory(id) || is_gpm(id))) {
        put_row(p, &r, id);
        return;
    }
    for (uint32_t i = 0; i < r.t->n_gi; i++) {
        r.gi = &r.t->gi[i];
        put_row(p, &r, id);
    }
}

void dv_metrics_dcgm(struct dv_node *node, enum dv_dcgm_hostname label, const char *host,
                     struct dv_str *ret)
{
    struct page p = {.node = node,
                     .w = {.out = ret, .format = DV_OPENMETRICS_PROMETHEUS},
                     .label = label,
                     .host = host};
    for (enum dv_dcgm_id id = 0; id < DV_DCGM_COUNT; id++) {
        dv_openmetrics_family(&p.w, &dv_dcgm_families[id]);
        for (size_t i = 0; i < node->snapshot->n_gpus; i++)
            if (node->snapshot->gpus[i].index < DV_FACTS_GPUS_MAX)
                put_gpu(&p, &node->snapshot->gpus[i], id);
    }
    dv_openmetrics_end(&p.w);
}
