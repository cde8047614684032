/* SPDX-License-Identifier: Apache-2.0 */
#include "wiring.h"

#include "hardware/topology_facts.h"
#include "render/output.h"
#include "sys/log.h"

#include <stdlib.h>
#include <string.h>

#define TRIES_MAX 3u /* questions that the driver did not come back from */

struct asked {
    struct dv_node *node;
    uint32_t gpu;
};

void dv_wiring_stale(struct dv_node *node)
{
    node->wiring.due = true;
}

static void forget_row(struct dv_node *node, uint32_t gpu)
{
    free(node->gpus[gpu].topology);
    node->gpus[gpu].topology = NULL;
}

static void take_row(struct dv_node *node, uint32_t gpu, const struct dv_facts_topology *f)
{
    struct dv_node_gpu *g = &node->gpus[gpu];
    if (!g->topology)
        g->topology = malloc(sizeof *g->topology);
    if (!g->topology)
        return;
    *g->topology = *f;
    g->topology->cpus[sizeof f->cpus - 1] = 0;
}

static void apply(struct dv_node *node)
{
    const struct dv_facts_topology *rows[DV_FACTS_GPUS_MAX];
    struct dv_event e = {.kind = DV_EVENT_TOPOLOGY_SEEN};
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        rows[i] = i < node->driver.gpus ? node->gpus[i].topology : NULL;
    dv_topology_facts_join(rows, node->driver.gpus, &e.topology);
    for (uint32_t i = 0; i < e.topology.n; i++) {
        const struct dv_facts_gpu *f = node->gpus[i].facts;
        if (f && f->numa != DV_FACT_UNKNOWN32)
            e.topology.numa[i] = (int32_t)f->numa;
    }
    if (!dv_snapshot_topology_equal(&node->snapshot->topology, &e.topology))
        dv_node_apply(node, &e);
}

static void finish(struct dv_node *node)
{
    struct dv_wiring *w = &node->wiring;
    if (w->failed && ++w->failures == TRIES_MAX)
        dv_log(DV_LOG_WARNING, "topology.unknown",
               "detail=\"the driver does not come back when asked how GPUs are joined\"");
    if (!w->failed)
        w->failures = 0;
    w->due = w->failed;
    apply(node);
    w->done(node);
}

static void on_row(void *arg, const struct dv_worker_reply *reply, int error)
{
    struct asked *asked = arg;
    struct dv_node *node = asked->node;
    uint32_t gpu = asked->gpu;
    free(asked);
    if (reply && reply->status == 0 && reply->u.topology.index == gpu)
        take_row(node, gpu, &reply->u.topology);
    else
        forget_row(node, gpu);
    node->wiring.failed |= error != 0;
    if (--node->wiring.left == 0)
        finish(node);
}

static void ask_row(struct dv_node *node, uint32_t gpu)
{
    struct dv_worker_request q = {.op = DV_WORKER_TOPOLOGY, .index = gpu};
    struct asked *asked = malloc(sizeof *asked);
    if (!asked)
        return;
    *asked = (struct asked){node, gpu};
    if (dv_hardware_link_ask(node->link, &q, on_row, asked) == 0)
        node->wiring.left++;
    else
        free(asked);
}

bool dv_wiring_ask(struct dv_node *node, void (*done)(struct dv_node *node))
{
    struct dv_wiring *w = &node->wiring;
    uint32_t worker = dv_hardware_link_replaced(node->link);
    w->due |= worker != w->worker;
    w->worker = worker;
    if (!w->due || w->failures >= TRIES_MAX)
        return false;
    w->done = done;
    w->failed = false;
    for (uint32_t i = node->driver.gpus; i < DV_FACTS_GPUS_MAX; i++)
        forget_row(node, i);
    for (uint32_t i = 0; i < node->driver.gpus; i++)
        ask_row(node, i);
    return w->left > 0;
}

/* ---- for people ---- */

static void add_kind(struct dv_output_node *o, const char *key, struct dv_link link)
{
    char text[DV_LINK_TEXT];
    if (link.kind == DV_LINK_UNKNOWN)
        dv_output_null(o, key);
    else
        dv_output_string(o, key, dv_topology_link_format(link, text));
}

static void add_links(struct dv_output_node *o, const struct dv_topology *t, uint32_t gpu)
{
    struct dv_output_node *list = dv_output_array(o, "links");
    for (uint32_t i = 0; i < t->n && gpu < t->n; i++) {
        if (i == gpu)
            continue;
        struct dv_link link = dv_topology_get(t, gpu, i);
        struct dv_output_node *l = dv_output_object(list, NULL);
        dv_output_int(l, "gpu", i);
        add_kind(l, "link", link);
        if (link.kind == DV_LINK_UNKNOWN)
            dv_output_null(l, "nvlinks");
        else
            dv_output_int(l, "nvlinks", link.nvlinks);
        if (link.kind == DV_LINK_NVLINK)
            link.kind = link.pcie;
        add_kind(l, "pcie", link);
    }
}

struct dv_output *dv_wiring_view(const struct dv_node *node)
{
    const struct dv_snapshot *s = node->snapshot;
    struct dv_output *o = dv_output_new("Topology");
    struct dv_output_node *list = dv_output_array(dv_output_root(o), "gpus");
    for (size_t i = 0; i < s->n_gpus; i++) {
        const struct dv_gpu *gpu = &s->gpus[i];
        const struct dv_facts_topology *f =
            gpu->index < DV_FACTS_GPUS_MAX ? node->gpus[gpu->index].topology : NULL;
        struct dv_output_node *g = dv_output_object(list, NULL);
        dv_output_int(g, "index", gpu->index);
        dv_output_string(g, "uuid", gpu->uuid);
        dv_output_string(g, "model", gpu->model);
        dv_output_string(g, "pci_bus_id", gpu->pci_bus_id);
        if (gpu->numa >= 0)
            dv_output_int(g, "numa", gpu->numa);
        else
            dv_output_null(g, "numa");
        if (f && f->cpus[0])
            dv_output_string(g, "cpus", f->cpus);
        else
            dv_output_null(g, "cpus");
        add_links(g, &s->topology, gpu->index);
    }
    return o;
}

void dv_wiring_free(struct dv_node *node)
{
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        forget_row(node, i);
}
