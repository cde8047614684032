/* SPDX-License-Identifier: Apache-2.0 */
#include "strangers.h"

#include "missing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY "gpus"

const struct dv_gpu *dv_strangers_gpu(const struct dv_node *node, uint32_t index)
{
    const struct dv_gpu *gpu = dv_snapshot_gpu(node->snapshot, index);
    return gpu || index >= DV_FACTS_GPUS_MAX ? gpu : node->gpus[index].stranger;
}

/* ---- what was seen before ---- */

/* A line of the document: the UUID, the address and, to its end, the model. */
static bool read_line(const char **at, struct dv_gpu *ret)
{
    char line[DV_UUID_SIZE + DV_GPU_PCI_SIZE + DV_GPU_NAME_SIZE];
    size_t len = strcspn(*at, "\n");
    int model = 0;
    memset(ret, 0, sizeof *ret);
    if (!(*at)[len] || len >= sizeof line)
        return false;
    memcpy(line, *at, len);
    line[len] = 0;
    *at += len + 1;
    /* The widths are DV_UUID_SIZE and DV_GPU_PCI_SIZE without their NULs. */
    if (sscanf(line, "%95s %31s %n", ret->uuid, ret->pci_bus_id, &model) != 2 || !model ||
        strncmp(ret->uuid, "GPU-", 4) != 0)
        return false;
    return dv_str_copy(ret->model, sizeof ret->model, line + model) >= 0;
}

const char *dv_strangers_driver(const struct dv_node *node)
{
    return node->config.sim ? node->config.sim : "";
}

/* A simulator that the daemon starts has its socket among its state, and begins anew with it. */
static bool is_own_simulator(const struct dv_node *node)
{
    const char *state = node->config.state_dir, *socket = node->config.sim_socket;
    size_t len = state ? strlen(state) : 0;
    return socket && len && !strncmp(socket, state, len) && !strcmp(socket + len, "/sim.sock");
}

bool dv_strangers_is_ours(const struct dv_node *node, const struct dv_store_document *d)
{
    char driver[sizeof d->name];
    snprintf(driver, sizeof driver, "%s", dv_strangers_driver(node));
    return !is_own_simulator(node) && !strcmp(d->name, driver);
}

static void on_document(void *arg, const struct dv_store_document *d)
{
    struct dv_node *node = arg;
    if (!strcmp(d->key, KEY) && dv_strangers_is_ours(node, d))
        dv_str_addn(&node->seen_before, d->text, d->len);
}

static void load(struct dv_node *node)
{
    struct dv_err err = {0};
    if (node->strangers_loaded)
        return;
    node->strangers_loaded = true;
    if (node->store && dv_store_load_documents(node->store, on_document, node, &err) < 0)
        dv_str_clear(&node->seen_before);
}

bool dv_strangers_before(struct dv_node *node, uint32_t i, struct dv_gpu *ret)
{
    load(node);
    const char *at = dv_str_get(&node->seen_before);
    for (uint32_t k = 0; read_line(&at, ret); k++) {
        if (k != i)
            continue;
        ret->index = i; /* all were there when they were written down */
        if (!strcmp(ret->pci_bus_id, "-"))
            ret->pci_bus_id[0] = 0;
        return true;
    }
    return false;
}

static void save(struct dv_node *node)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_err err = {0};
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++) {
        const struct dv_gpu *gpu = dv_strangers_gpu(node, i);
        if (gpu && !gpu->uuid[0])
            return; /* it may be one of those that are written there */
        if (gpu)
            dv_str_addf(&text, "%s %s %s\n", gpu->uuid, gpu->pci_bus_id[0] ? gpu->pci_bus_id : "-",
                        gpu->model);
    }
    if (!node->store || text.failed || !strcmp(dv_str_get(&text), dv_str_get(&node->seen_before)))
        return;
    struct dv_store_document d = {.key = KEY, .text = dv_str_get(&text), .len = text.len};
    snprintf(d.name, sizeof d.name, "%s", dv_strangers_driver(node));
    if (dv_store_put_document(node->store, &d, &err) < 0)
        return; /* tried again with the next look; what is wrong the slices' rows say */
    dv_str_clear(&node->seen_before);
    dv_str_add(&node->seen_before, dv_str_get(&text));
}

/* ---- who they are ---- */

static bool answers(const struct dv_node *node, const char *uuid)
{
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++) {
        const struct dv_gpu *gpu = dv_strangers_gpu(node, i);
        if (gpu && !strcmp(gpu->uuid, uuid))
            return true;
    }
    return false;
}

static uint32_t nameless(const struct dv_node *node)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        n += node->gpus[i].stranger && !node->gpus[i].stranger->uuid[0];
    return n;
}

struct candidates {
    struct dv_gpu gpu[2 * DV_FACTS_GPUS_MAX];
    uint32_t n;
};

static int by_index(const void *a, const void *b)
{
    uint32_t x = ((const struct dv_gpu *)a)->index, y = ((const struct dv_gpu *)b)->index;
    return (x > y) - (x < y);
}

/* Who was there before and does not answer; with those that the driver did not count, or without.
 */
static void list_candidates(struct dv_node *node, bool missing, struct candidates *ret)
{
    const struct dv_missing_gpu *m;
    struct dv_gpu was;
    ret->n = 0;
    for (uint32_t i = 0; ret->n < DV_FACTS_GPUS_MAX && dv_strangers_before(node, i, &was); i++)
        if (!answers(node, was.uuid) && !dv_missing_has(node, was.uuid))
            ret->gpu[ret->n++] = was;
    for (size_t i = 0; missing && (m = dv_missing_at(node, i)); i++)
        if (!answers(node, m->gpu.uuid))
            ret->gpu[ret->n++] = m->gpu;
    qsort(ret->gpu, ret->n, sizeof ret->gpu[0], by_index);
}

/* Indices go by address, before as now. */
static void name_them(struct dv_node *node)
{
    struct candidates *c = calloc(1, sizeof *c);
    uint32_t n = nameless(node), k = 0;
    if (c)
        list_candidates(node, false, c);
    if (c && c->n != n)
        list_candidates(node, true, c);
    for (uint32_t i = 0; c && c->n == n && i < DV_FACTS_GPUS_MAX; i++) {
        struct dv_gpu *gpu = node->gpus[i].stranger;
        if (!gpu || gpu->uuid[0])
            continue;
        const struct dv_gpu *was = &c->gpu[k++];
        memcpy(gpu->uuid, was->uuid, sizeof gpu->uuid);
        memcpy(gpu->model, was->model, sizeof gpu->model);
        if (was->pci_bus_id[0])
            memcpy(gpu->pci_bus_id, was->pci_bus_id, sizeof gpu->pci_bus_id);
    }
    free(c);
}

/* ---- who is one ---- */

static void forget(struct dv_node *node, uint32_t index)
{
    free(node->gpus[index].stranger);
    node->gpus[index].stranger = NULL;
}

static void meet(struct dv_node *node, uint32_t index)
{
    struct dv_node_gpu *g = &node->gpus[index];
    const struct dv_facts_gpu *f = g->facts;
    if (!g->stranger)
        g->stranger = calloc(1, sizeof *g->stranger);
    if (!g->stranger)
        return;
    g->stranger->index = index;
    g->stranger->numa = -1;
    if (f && f->uuid[0])
        dv_str_copy(g->stranger->uuid, sizeof g->stranger->uuid, f->uuid);
    if (f && f->model[0])
        dv_str_copy(g->stranger->model, sizeof g->stranger->model, f->model);
    if (f && f->pci[0])
        dv_str_copy(g->stranger->pci_bus_id, sizeof g->stranger->pci_bus_id, f->pci);
}

void dv_strangers_tick(struct dv_node *node)
{
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++) {
        if (i < node->driver.gpus && !dv_snapshot_gpu(node->snapshot, i))
            meet(node, i);
        else
            forget(node, i);
    }
    load(node);
    if (nameless(node))
        name_them(node);
    save(node);
}

void dv_strangers_free(struct dv_node *node)
{
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++)
        forget(node, i);
    dv_str_done(&node->seen_before);
}
