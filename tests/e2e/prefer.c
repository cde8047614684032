/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefer CAPTURE SIZE AVAILABLE [MUST]: which whole GPUs of a captured node the kubelet would be
 * told to take, by index: "prefer dgx-a100.capture 2 1,2,3,4" prints "2,3".
 */
#include "hardware/capture.h"
#include "hardware/replay.h"
#include "hardware/topology_facts.h"
#include "policy/offers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what)
{
    fprintf(stderr, "prefer: %s\n", what);
    return 1;
}

/* As inventory and wiring in services/ do, of what it needs here. */
static void fill(const struct dv_capture *c, struct dv_snapshot *s)
{
    const struct dv_facts_topology *rows[DV_FACTS_GPUS_MAX] = {NULL};
    for (uint32_t i = 0; i < c->driver.gpus; i++) {
        const struct dv_facts_gpu *f = &c->gpus[i];
        struct dv_gpu *g = &s->gpus[s->n_gpus++];
        struct dv_device *d = &s->devices[s->n_devices++];
        g->index = d->gpu = i;
        g->numa = f->numa == DV_FACT_UNKNOWN32 ? -1 : (int32_t)f->numa;
        g->health = DV_GPU_HEALTH_OK;
        snprintf(g->uuid, sizeof g->uuid, "%.*s", (int)sizeof g->uuid - 1, f->uuid);
        memcpy(d->uuid, g->uuid, sizeof d->uuid);
        d->memory_bytes = f->memory_bytes;
        d->compute = DV_COMPUTE_FULL;
        rows[i] = &c->topology[i];
    }
    dv_topology_facts_join(rows, c->driver.gpus, &s->topology);
}

static size_t split(char *text, const char *ret[DV_GPUS_MAX])
{
    size_t n = 0;
    for (char *word; text && n < DV_GPUS_MAX && (word = strsep(&text, ","));)
        ret[n++] = word;
    return n;
}

int main(int argc, char **argv)
{
    static struct dv_gpu gpus[DV_GPUS_MAX];
    static struct dv_device devices[DV_GPUS_MAX];
    struct dv_snapshot s = {.gpus = gpus, .devices = devices};
    const char *available[DV_GPUS_MAX], *must[DV_GPUS_MAX], *got[DV_GPUS_MAX];
    dv_cleanup(dv_offers_freep) struct dv_offers *offers = NULL;
    struct dv_hardware *hw = NULL;
    struct dv_capture *c = NULL;
    struct dv_plugin_config *config = NULL;
    struct dv_err err = {0};
    if (argc < 4 || dv_hardware_replay_new(argv[1], &hw, &err) != 0 ||
        dv_capture_take(hw, &c, &err) != 0)
        return fail(argc < 4 ? "CAPTURE SIZE AVAILABLE [MUST]" : err.msg);
    fill(c, &s);
    if (dv_snapshot_check(&s, &err) < 0 || dv_plugin_config_new(&config) < 0)
        return fail(err.msg);
    config->flags.plugin.id = DV_PLUGIN_ID_INDEX;
    struct dv_offer_request q = {.available = available,
                                 .n_available = split(argv[3], available),
                                 .must = must,
                                 .n_must = split(argc > 4 ? argv[4] : NULL, must),
                                 .size = (uint32_t)strtoul(argv[2], NULL, 10)};
    if (dv_offers_make(config, &s, &offers, &err) < 0 ||
        dv_offers_prefer(offers, &offers->offers[0], &q, &s.topology, got, &err) < 0)
        return fail(err.msg);
    for (uint32_t i = 0; i < q.size; i++)
        printf("%s%s", i ? "," : "", got[i]);
    printf("\n");
    dv_plugin_config_free(config);
    dv_capture_free(c);
    dv_hardware_free(hw);
    return 0;
}
