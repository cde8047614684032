/* SPDX-License-Identifier: Apache-2.0 */
#include "strangers.h"

#include "sys/log.h"

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

static void on_document(void *arg, const struct dv_store_document *d)
{
    if (!strcmp(d->key, KEY))
        dv_str_addn(arg, d->text, d->len);
}

static void load(struct dv_node *node)
{
    struct dv_err err = {0};
    if (node->strangers_loaded)
        return;
    node->strangers_loaded = true;
    if (node->store &&
        dv_store_load_documents(node->store, on_document, &node->seen_before, &err) < 0)
        dv_str_clear(&node->seen_before);
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

/* The next that was there before and does not answer. */
static bool next_missing(const struct dv_node *node, const char **at, struct dv_gpu *ret)
{
    while (read_line(at, ret))
        if (!answers(node, ret->uuid))
            return true;
    return false;
}

/* Indices go by address, before as now. */
static void name_them(struct dv_node *node)
{
    struct dv_gpu was;
    const char *at = dv_str_get(&node->seen_before);
    uint32_t missing = 0;
    while (next_missing(node, &at, &was))
        missing++;
    if (!missing || missing != nameless(node))
        return;
    at = dv_str_get(&node->seen_before);
    for (uint32_t i = 0; i < DV_FACTS_GPUS_MAX; i++) {
        struct dv_gpu *gpu = node->gpus[i].stranger;
        if (!gpu || gpu->uuid[0] || !next_missing(node, &at, &was))
            continue;
        memcpy(gpu->uuid, was.uuid, sizeof gpu->uuid);
        memcpy(gpu->model, was.model, sizeof gpu->model);
        if (strcmp(was.pci_bus_id, "-") != 0)
            memcpy(gpu->pci_bus_id, was.pci_bus_id, sizeof gpu->pci_bus_id);
    }
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
