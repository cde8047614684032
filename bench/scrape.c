/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a scrape costs: a made-up node of 8 GPUs with 7 instances each, on which TENANTS tenants
 * hold slices, each of whom has used every GPU, and HISTORY more that only did so once.
 *
 *     scrape [TENANTS [HISTORY]]        default: 200 0
 *
 * Prints the time and size of each page, the median of RUNS. No clock is asserted.
 */
#include "account/tally.h"
#include "meter.h"
#include "metrics.h"
#include "sys/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GPUS 8u
#define INSTANCES 7u
#define RUNS 51

static struct dv_node node;

static void make_devices(struct dv_snapshot *s)
{
    s->gpus = calloc(GPUS, sizeof *s->gpus);
    s->devices = calloc((size_t)GPUS * INSTANCES, sizeof *s->devices);
    for (uint32_t g = 0; g < GPUS; g++) {
        struct dv_gpu *gpu = &s->gpus[s->n_gpus++];
        gpu->index = g;
        gpu->memory_bytes = 80 * DV_GIB;
        gpu->health = DV_GPU_HEALTH_OK;
        snprintf(gpu->uuid, sizeof gpu->uuid, "GPU-0cef725a-90e1-4382-a1c2-b5d28389%04u", g);
        snprintf(gpu->model, sizeof gpu->model, "NVIDIA H100 80GB HBM3");
        snprintf(gpu->pci_bus_id, sizeof gpu->pci_bus_id, "00000000:%02X:00.0", 0x1b + g);
        for (uint32_t i = 0; i < INSTANCES; i++) {
            struct dv_device *d = &s->devices[s->n_devices++];
            snprintf(d->uuid, sizeof d->uuid, "MIG-07eefcbb-0e0c-46c8-ae32-ff35%04u%04u", g, i);
            snprintf(d->profile, sizeof d->profile, "1g.10gb");
            d->gpu = g;
            d->mig = true;
            d->mode = DV_MODE_GOVERNED;
            d->memory_bytes = 10 * DV_GIB;
            d->compute = 1000;
        }
    }
}

static void make_facts(void)
{
    for (uint32_t g = 0; g < GPUS; g++) {
        struct dv_node_gpu *n = &node.gpus[g];
        struct dv_facts_telemetry *t = malloc(sizeof *t);
        n->present = n->sampled = n->memory_known = n->processes_known = true;
        n->telemetry.sampled_ns = dv_clock_now();
        n->telemetry.facts = t;
        n->telemetry.got_ns = dv_clock_now();
        dv_hardware_telemetry_forget(t);
        t->sm_mhz = t->memory_mhz = t->power_mw = t->gpu_celsius = t->memory_celsius = 1980;
        t->energy_mj = 123456789;
        t->pcie_replays = t->encoder_percent = t->decoder_percent = 0;
        for (t->n_gi = 0; t->n_gi < INSTANCES; t->n_gi++)
            t->gi[t->n_gi] = (struct dv_facts_telemetry_gi){
                .id = t->n_gi, .gpm = {.active_ppm = 500000, .interval_ns = 1}};
    }
}

static void make_tenants(uint32_t tenants, uint32_t history)
{
    struct dv_snapshot *s = node.snapshot;
    const struct dv_charge used = {.busy_ns = 123456789,
                                   .reserved_idle_ns = 1000000000u,
                                   .requested_compute = 7000000000u,
                                   .byte_seconds = 1u << 30};
    node.tenants = calloc(tenants + history, sizeof *node.tenants);
    s->slices = calloc(tenants, sizeof *s->slices);
    for (; node.n_tenants < tenants + history; node.n_tenants++) {
        struct dv_node_tenant *t = &node.tenants[node.n_tenants];
        snprintf(t->name, sizeof t->name, "department-%05zu", node.n_tenants);
        t->spent.held_ns = 1;
    }
    for (uint32_t i = tenants; i-- > 0;) {
        struct dv_holding *h = calloc(1, sizeof *h);
        h->node = &node;
        h->state = DV_HOLDING_GRANTED;
        h->claim.id = i + 1;
        memcpy(h->claim.tenant, node.tenants[i].name, sizeof h->claim.tenant);
        h->next = node.holdings;
        node.holdings = h;
        struct dv_slice *slice = &s->slices[i];
        slice->id = i + 1;
        slice->mode = DV_MODE_GOVERNED;
        slice->memory_bytes = DV_GIB;
        slice->compute = 250;
        memcpy(slice->tenant, h->claim.tenant, sizeof slice->tenant);
        memcpy(slice->device, s->devices[i % s->n_devices].uuid, sizeof slice->device);
    }
    s->n_slices = tenants;
    for (struct dv_holding *h = node.holdings; h; h = h->next)
        for (uint32_t g = 0; g < GPUS; g++) {
            const char *uuid = s->devices[(g * INSTANCES + h->claim.id) % s->n_devices].uuid;
            struct dv_account a = {.mode = DV_MODE_GOVERNED, .source = DV_SOURCE_LEASES};
            memcpy(h->device_uuid, uuid, sizeof h->device_uuid);
            memcpy(a.gpu, s->gpus[g].uuid, sizeof a.gpu);
            memcpy(a.profile, s->devices[g * INSTANCES].profile, sizeof a.profile);
            memcpy(a.tenant, h->claim.tenant, sizeof a.tenant);
            dv_tally_add(dv_meter_tally(&node), &a, &used, dv_clock_now());
        }
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void measure(const char *what, int page)
{
    uint64_t ns[RUNS];
    size_t bytes = 0, lines = 0;
    for (int i = 0; i < RUNS; i++) {
        struct dv_str text = {0};
        uint64_t start = dv_clock_now();
        if (page == 2)
            dv_metrics_dcgm(&node, DV_DCGM_HOSTNAME_LOWER, "node", &text);
        else
            dv_metrics_write(&node, (enum dv_openmetrics_format)page, &text);
        ns[i] = dv_clock_now() - start;
        bytes = text.len;
        lines = 0;
        for (const char *p = dv_str_get(&text); *p; p++)
            lines += p[0] == '\n' && p[1] != '#';
        dv_str_done(&text);
    }
    qsort(ns, RUNS, sizeof ns[0], by_size);
    printf("  %-28s %8.3f ms %10zu bytes %8zu lines\n", what, (double)ns[RUNS / 2] / 1e6, bytes,
           lines);
}

int main(int argc, char **argv)
{
    uint32_t tenants = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 200;
    uint32_t history = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    if (dv_snapshot_new(&node.snapshot) < 0)
        return 1;
    snprintf(node.driver.version, sizeof node.driver.version, "580.95.05");
    node.driver.gpus = GPUS;
    make_devices(node.snapshot);
    make_facts();
    dv_meter_new(&node);
    make_tenants(tenants, history);
    printf("scrape, %u GPUs x %u instances, %u tenants with slices, %u in history\n", GPUS,
           INSTANCES, tenants, history);
    measure("/metrics, text 0.0.4", DV_OPENMETRICS_PROMETHEUS);
    measure("/metrics, OpenMetrics 1.0", DV_OPENMETRICS_1_0);
    measure("/metrics/dcgm", 2);
    return 0;
}
