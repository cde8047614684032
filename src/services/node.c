/* SPDX-License-Identifier: Apache-2.0 */
#include "node.h"

#include "api.h"
#include "arm.h"
#include "audit.h"
#include "bill.h"
#include "claims.h"
#include "inventory.h"
#include "keep.h"
#include "kubernetes/containers.h"
#include "layouts.h"
#include "meter.h"
#include "meter_ended.h"
#include "missing.h"
#include "model/gpu_model.h"
#include "mps.h"
#include "strangers.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "tenants.h"
#include "waits.h"
#include "wiring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS 125u
#define SLOW_MS 2000u
#define CONTEXT_GUESS (400 * DV_MIB) /* of a GPU that nobody has measured */
#define MPS_CONTEXT_GUESS                                                                          \
    (32 * DV_MIB) /* 24 MiB in a public log of a T4; learnt where it is more */

#define TENANTS_MAX 16384u

int dv_node_apply(struct dv_node *node, const struct dv_event *event)
{
    struct dv_err err = {0};
    char value[DV_LOG_VALUE];
    dv_meter_changes(node, dv_clock_now());
    int r = dv_event_apply(node->snapshot, event, &err);
    if (r < 0)
        dv_log(DV_LOG_ERROR, "model.refused", "event=%s detail=%s", dv_event_name(event->kind),
               dv_log_value(err.msg, value));
    dv_meter_changed(node);
    return r;
}

struct dv_holding *dv_node_holding(struct dv_node *node, uint64_t id)
{
    struct dv_holding *h = node->holdings;
    while (h && h->claim.id != id)
        h = h->next;
    return h;
}

struct dv_holding *dv_node_holding_after(struct dv_node *node, uint64_t id)
{
    struct dv_holding *h = node->holdings;
    while (h && h->claim.id <= id)
        h = h->next;
    return h;
}

uint64_t dv_node_parse_id(const char *text)
{
    char *end;
    if ((text[0] == 's' || text[0] == 'c') && text[1] == '-')
        text += 2;
    if (*text < '1' || *text > '9')
        return 0;
    errno = 0;
    uint64_t id = strtoull(text, &end, 10);
    return *end || errno ? 0 : id;
}

struct dv_node_tenant *dv_node_tenant(struct dv_node *node, const char *name)
{
    for (size_t i = 0; i < node->n_tenants; i++)
        if (!strcmp(node->tenants[i].name, name))
            return &node->tenants[i];
    if (node->n_tenants >= TENANTS_MAX)
        return NULL;
    struct dv_node_tenant *more =
        realloc(node->tenants, (node->n_tenants + 1) * sizeof *node->tenants);
    if (!more)
        return NULL;
    node->tenants = more;
    struct dv_node_tenant *t = &more[node->n_tenants];
    memset(t, 0, sizeof *t);
    if (dv_str_copy(t->name, sizeof t->name, name) < 0)
        return NULL;
    node->n_tenants++;
    return t;
}

struct dv_node_tenant *dv_node_tenant_of(struct dv_holding *h)
{
    if (!h->tenant_at) { /* tenants stay where they are in the list */
        const struct dv_node_tenant *t = dv_node_tenant(h->node, h->claim.tenant);
        h->tenant_at = t ? (size_t)(t - h->node->tenants) + 1 : 0;
    }
    return h->tenant_at ? &h->node->tenants[h->tenant_at - 1] : NULL;
}

const struct dv_slice *dv_node_slice(const struct dv_holding *h)
{
    return h->state == DV_HOLDING_QUEUED ? NULL : dv_snapshot_slice(h->node->snapshot, h->claim.id);
}

uint32_t dv_node_gpu_of(const struct dv_node *node, const char *device_uuid)
{
    const struct dv_device *d = dv_snapshot_device(node->snapshot, device_uuid);
    return d ? d->gpu : UINT32_MAX;
}

uint64_t dv_node_context_bytes(const struct dv_node *node, uint32_t gpu, enum dv_mode mode)
{
    if (mode == DV_MODE_MPS)
        return gpu < DV_FACTS_GPUS_MAX
                   ? DV_MAX(MPS_CONTEXT_GUESS, node->gpus[gpu].mps_context_learnt_bytes)
                   : MPS_CONTEXT_GUESS;
    if (gpu >= DV_FACTS_GPUS_MAX || !node->gpus[gpu].facts)
        return CONTEXT_GUESS;
    const struct dv_node_gpu *g = &node->gpus[gpu];
    const struct dv_gpu_model *model = g->facts->pci_device_id == DV_FACT_UNKNOWN32
                                           ? NULL
                                           : dv_gpu_model_by_pci(g->facts->pci_device_id >> 16);
    uint64_t known = model && model->context_bytes ? model->context_bytes : CONTEXT_GUESS;
    return DV_MAX(known, g->context_learnt_bytes);
}

/* ---- time ---- */

static void on_tick(void *arg)
{
    struct dv_node *node = arg;
    uint64_t now = dv_clock_now();
    dv_inventory_tick(node, now);
    dv_telemetry_tick(node, now);
    dv_tenants_tick(node, now);
    dv_claims_tick(node, now);
    dv_arm_tick(node, now);
    dv_containers_tick(node, now);
    dv_audit_tick(node, now);
    dv_mps_tick(node, now);
    dv_reconcile_tick(node, now);
    dv_meter_tick(node, now);
    dv_meter_ended_tick(node, now);
}

static void on_slow(void *arg)
{
    struct dv_node *node = arg;
    uint64_t now = dv_clock_now();
    for (struct dv_holding *h = node->holdings; h; h = h->next)
        dv_meter_holding(h, now);
    dv_waits_tick(node, now);
    dv_activity_tick(node, now);
    dv_keep_flush(node);
}

static void on_sleep(void *arg)
{
    dv_meter_soon(arg);
}

static void on_link_state(void *arg)
{
    struct dv_node *node = arg;
    enum dv_hardware_link_state state = dv_hardware_link_state(node->link);
    /* Questions wait for the next worker now, for up to a minute. */
    if (state != DV_HARDWARE_LINK_OK)
        dv_telemetry_driver_failed(node);
    if (state == DV_HARDWARE_LINK_WEDGED || state == DV_HARDWARE_LINK_CRASHED)
        dv_log(DV_LOG_ERROR, "hardware.worker", "state=%s replaced=%u",
               state == DV_HARDWARE_LINK_WEDGED ? "wedged" : "crashed",
               dv_hardware_link_replaced(node->link));
    else if (state == DV_HARDWARE_LINK_ALONE) {
        dv_log(DV_LOG_ERROR, "hardware.keeper", "state=gone remedy=\"restart divvyd\"");
        snprintf(node->driver_detail, sizeof node->driver_detail,
                 "the process that starts divvyd's workers is gone; restart divvyd");
    } else
        dv_log(DV_LOG_INFO, "hardware.worker", "state=ok");
}

/* ---- life ---- */

/* A worker that talks to MPS daemons and is slow, or gone, says nothing of the driver. */
static void on_mps_link_state(void *arg)
{
    const struct dv_node *node = arg;
    enum dv_hardware_link_state state = dv_hardware_link_state(node->mps_link);
    if (state == DV_HARDWARE_LINK_ALONE)
        dv_log(DV_LOG_ERROR, "mps.keeper", "state=gone remedy=\"restart divvyd\"");
    else if (state != DV_HARDWARE_LINK_OK)
        dv_log(DV_LOG_ERROR, "mps.worker", "state=%s replaced=%u",
               state == DV_HARDWARE_LINK_WEDGED ? "wedged" : "crashed",
               dv_hardware_link_replaced(node->mps_link));
}

static int start(struct dv_node *node, const struct dv_keeper *keeper,
                 const struct dv_keeper *mps_keeper)
{
    int r = dv_snapshot_new(&node->snapshot);
    if (r == 0)
        r = dv_meter_new(node);
    if (r == 0)
        r = dv_layouts_new(&node->layouts);
    if (r == 0)
        r = dv_mps_new(&node->mps);
    if (r == 0)
        r = dv_containers_new(&node->containers);
    if (r == 0)
        r = dv_hardware_link_new(node->loop, keeper, node->config.nvml_timeout_ms, on_link_state,
                                 node, &node->link);
    if (r == 0)
        r = dv_hardware_link_new(node->loop, mps_keeper, node->config.nvml_timeout_ms,
                                 on_mps_link_state, node, &node->mps_link);
    if (r == 0)
        r = dv_loop_watch(node->loop, node->tenant_fd, dv_tenants_accept, node,
                          &node->tenant_watch);
    if (r == 0)
        r = dv_loop_timer(node->loop, 0, TICK_MS, on_tick, node, &node->tick);
    if (r == 0)
        r = dv_loop_timer(node->loop, SLOW_MS, SLOW_MS, on_slow, node, &node->slow);
    if (r == 0)
        r = dv_loop_before_sleep(node->loop, on_sleep, node, &node->sleep);
    return r;
}

static void begin_health(struct dv_node *node)
{
    const struct dv_node_config *c = &node->config;
    char bad[DV_HEALTH_WORD], value[DV_LOG_VALUE];
    dv_health_switches_read(c->health_disable, c->health_enable, &node->health_switches, bad);
    if (bad[0])
        dv_log(DV_LOG_WARNING, "health.switches",
               "word=%s problem=\"no XID, all or xids in DP_DISABLE_HEALTHCHECKS or "
               "DP_ENABLE_HEALTHCHECKS; passed over\"",
               dv_log_value(bad, value));
    for (size_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        dv_health_init(&node->gpus[i].health, node->started_ns);
}

int dv_node_new(struct dv_loop *loop, const struct dv_node_config *config,
                const struct dv_keeper *keeper, const struct dv_keeper *mps_keeper,
                struct dv_lease *lease, struct dv_store *store, struct dv_ledger *ledger,
                int tenant_fd, struct dv_node **ret, struct dv_err *err)
{
    struct dv_node *node = calloc(1, sizeof *node);
    if (!node) {
        dv_lease_free(lease);
        return dv_err_set(err, -ENOMEM, "out of memory");
    }
    node->lease = lease;
    node->loop = loop;
    node->config = *config;
    node->store = store;
    node->ledger = ledger;
    node->tenant_fd = tenant_fd;
    node->started_ns = dv_clock_now();
    node->next_id = 1;
    node->driver_status = DV_HARDWARE_FAILED;
    begin_health(node);
    int r = start(node, keeper, mps_keeper);
    if (r < 0) {
        dv_node_free(node);
        return dv_err_set(err, r, "cannot start: %s", strerror(-r));
    }
    *ret = node;
    return 0;
}

void dv_node_free(struct dv_node *node)
{
    if (!node)
        return;
    if (node->lease && node->snapshot && node->meter) {
        dv_meter_flush(node);
        dv_waits_tick(node, dv_clock_now());
    }
    dv_keep_flush(node);
    /* From here on nothing is written to the pages of those who live on. */
    dv_lease_free(node->lease);
    dv_tenants_free(node);
    dv_claims_free(node);
    dv_bills_free(node);
    dv_http_server_free(node->http);
    dv_hardware_link_free(node->link);
    dv_hardware_link_free(node->mps_link);
    dv_arm_free(node);
    dv_loop_remove(node->tenant_watch);
    dv_loop_remove(node->tick);
    dv_loop_remove(node->slow);
    dv_loop_remove(node->sleep);
    dv_snapshot_free(node->snapshot);
    dv_layouts_free(node->layouts);
    dv_mps_free(node->mps);
    dv_containers_free(node->containers);
    dv_telemetry_free(node);
    for (size_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        free(node->gpus[i].facts);
    dv_missing_free(node);
    dv_strangers_free(node);
    dv_wiring_free(node);
    dv_meter_ended_free(node);
    dv_meter_free(node);
    for (size_t i = 0; i < node->n_tenants; i++)
        dv_waits_done(&node->tenants[i].spent);
    free(node->tenants);
    free(node);
}
