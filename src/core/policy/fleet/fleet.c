/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fleet/fleet.h"

#include "base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const mode_names[] = {
    [DV_FLEET_EXCLUSIVE] = "exclusive",
    [DV_FLEET_MIG] = "mig",
    [DV_FLEET_MPS] = "mps",
    [DV_FLEET_GOVERNED] = "governed",
    [DV_FLEET_TIMESLICE] = "timeslice",
};

static const char *const topology_names[] = {
    [DV_FLEET_NODE] = "node",
    [DV_FLEET_NVLINK] = "nvlink",
    [DV_FLEET_SPREAD] = "spread",
};

static int find_name(const char *text, const char *what, const char *const *names, size_t n,
                     uint32_t *ret, struct dv_err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(text, names[i])) {
            *ret = (uint32_t)i;
            return 0;
        }
    dv_cleanup(dv_str_done) struct dv_str list = {0};
    for (size_t i = 0; i < n; i++)
        dv_str_addf(&list, "%s%s", i ? ", " : "", names[i]);
    const char *near = dv_str_nearest(text, names, n);
    return dv_err_set(err, -EINVAL, "no %s '%.40s'%s%s%s; there are %s", what, text,
                      near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "",
                      dv_str_get(&list));
}

const char *dv_fleet_mode_name(enum dv_fleet_mode mode)
{
    return mode < DV_FLEET_MODES ? mode_names[mode] : "unknown";
}

int dv_fleet_mode_parse(const char *text, enum dv_fleet_mode *ret, struct dv_err *err)
{
    uint32_t i = 0;
    int r = find_name(text, "mode", mode_names, DV_ARRAY_SIZE(mode_names), &i, err);
    if (!r)
        *ret = (enum dv_fleet_mode)i;
    return r;
}

const char *dv_fleet_topology_name(enum dv_fleet_topology topology)
{
    return topology < DV_ARRAY_SIZE(topology_names) ? topology_names[topology] : "unknown";
}

int dv_fleet_topology_parse(const char *text, enum dv_fleet_topology *ret, struct dv_err *err)
{
    uint32_t i = 0;
    int r = find_name(text, "topology", topology_names, DV_ARRAY_SIZE(topology_names), &i, err);
    if (!r)
        *ret = (enum dv_fleet_topology)i;
    return r;
}

uint64_t dv_fleet_places(const struct dv_fleet *fleet, const struct dv_fleet_workload *workload)
{
    uint64_t h = workload->has_headroom ? workload->headroom : fleet->headroom;
    uint64_t rest = DV_COMPUTE_FULL - DV_MIN(h, (uint64_t)DV_COMPUTE_FULL - 1);
    return ((uint64_t)workload->count * DV_COMPUTE_FULL + rest - 1) / rest;
}

/* ---- check ---- */

static int refuse(uint32_t *ret_entry, uint32_t entry)
{
    if (ret_entry)
        *ret_entry = entry;
    return -EINVAL;
}

static const char *wrong_in_group(const struct dv_fleet_group *g)
{
    if (!g->model)
        return "a model is missing";
    if (!g->memory_bytes)
        return "the model's memory is not public: say it with memory";
    if (g->memory_bytes < DV_MIB)
        return "memory is less than a MiB: a bare number is bytes; write for example 80GB";
    if (!g->count || g->count > DV_FLEET_CARDS_MAX)
        return "count is out of range";
    if (!g->per_node || g->per_node > DV_FLEET_PER_NODE_MAX)
        return "per_node is out of range";
    if (g->slices_max > DV_FLEET_SHARE_MAX)
        return "replicas is out of range";
    if (g->micros_per_hour < 0 || g->micros_per_hour > DV_FLEET_PRICE_MAX)
        return "price_per_hour is out of range";
    return NULL;
}

static const char *wrong_in_workload(const struct dv_fleet_workload *w)
{
    if (!*w->name)
        return "a name is missing";
    if (!w->count)
        return "count is at least 1";
    if (!w->processes)
        return "processes is at least 1";
    if (w->gpus > DV_FLEET_GPUS_MAX || w->compute > DV_COMPUTE_FULL || w->busy > DV_COMPUTE_FULL)
        return "gpus, compute or utilization is out of range";
    if (w->gpus && (w->memory_bytes || w->compute))
        return "gpus asks for whole GPUs: memory and compute are all of them; leave those out";
    if (!w->gpus && !w->training && !w->memory_bytes && !w->compute && !w->busy)
        return "nothing says how large a replica is: give gpus, memory or compute";
    if (w->memory_bytes && w->memory_bytes < DV_MIB)
        return "memory is less than a MiB: a bare number is bytes; write for example 10GB";
    if (w->has_headroom && w->headroom >= DV_COMPUTE_FULL)
        return "headroom is below 100%";
    if (w->gpus <= 1 && w->topology != DV_FLEET_NODE)
        return "topology is of workloads with several gpus";
    if (w->n_models > DV_FLEET_MODELS_MAX)
        return "models has too many entries";
    return NULL;
}

static const struct dv_fleet_workload *same_name(const struct dv_fleet *fleet, uint32_t i)
{
    for (uint32_t k = 0; k < i; k++)
        if (!strcmp(fleet->workloads[k].name, fleet->workloads[i].name))
            return &fleet->workloads[k];
    return NULL;
}

static int check_workloads(const struct dv_fleet *fleet, uint32_t *ret_entry, struct dv_err *err)
{
    uint64_t places = 0;
    for (uint32_t i = 0; i < fleet->n_workloads; i++) {
        const struct dv_fleet_workload *w = &fleet->workloads[i];
        const char *wrong = wrong_in_workload(w);
        if (wrong)
            dv_err_set(err, -EINVAL, "workload %s: %s", w->name, wrong);
        else if (same_name(fleet, i))
            dv_err_set(err, -EINVAL, "workload %s is there twice; names tell them apart", w->name);
        places += dv_fleet_places(fleet, w);
        if (!wrong && places > DV_FLEET_REPLICAS_MAX)
            dv_err_set(err, -EINVAL, "more than %u replicas in all, headroom included",
                       DV_FLEET_REPLICAS_MAX);
        if (wrong || same_name(fleet, i) || places > DV_FLEET_REPLICAS_MAX)
            return refuse(ret_entry, fleet->n_groups + i);
    }
    return 0;
}

int dv_fleet_check(const struct dv_fleet *fleet, uint32_t *ret_entry, struct dv_err *err)
{
    uint64_t cards = 0;
    if (!fleet->n_groups || fleet->n_groups > DV_FLEET_GROUPS_MAX || !fleet->n_workloads ||
        fleet->n_workloads > DV_FLEET_WORKLOADS_MAX || fleet->headroom >= DV_COMPUTE_FULL) {
        dv_err_set(err, -EINVAL, "a fleet has 1 to %u entries of gpus, 1 to %u of workloads",
                   DV_FLEET_GROUPS_MAX, DV_FLEET_WORKLOADS_MAX);
        return refuse(ret_entry, DV_FLEET_WHOLE);
    }
    for (uint32_t i = 0; i < fleet->n_groups; i++) {
        const char *wrong = wrong_in_group(&fleet->groups[i]);
        cards += fleet->groups[i].open ? 0 : fleet->groups[i].count;
        if (!wrong && cards > DV_FLEET_CARDS_MAX)
            wrong = "too many cards in all";
        if (wrong) {
            dv_err_set(err, -EINVAL, "%s", wrong);
            return refuse(ret_entry, i);
        }
    }
    return check_workloads(fleet, ret_entry, err);
}

struct dv_fleet *dv_fleet_new(void)
{
    struct dv_fleet *fleet = calloc(1, sizeof *fleet);
    if (fleet)
        memcpy(fleet->currency, "USD", sizeof fleet->currency);
    return fleet;
}

void dv_fleet_free(struct dv_fleet *fleet)
{
    if (!fleet)
        return;
    free(fleet->workloads);
    free(fleet);
}

void dv_fleet_freep(struct dv_fleet **fleet)
{
    dv_fleet_free(*fleet);
    *fleet = NULL;
}
