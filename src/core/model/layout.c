/* SPDX-License-Identifier: Apache-2.0 */
#include "model/layout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void dv_layout_free(struct dv_layout *layout)
{
    if (!layout)
        return;
    for (uint32_t i = 0; i < layout->n_rules; i++)
        free(layout->rules[i].list);
    free(layout->rules);
    free(layout->entries);
    free(layout);
}

void dv_layout_freep(struct dv_layout **layout)
{
    dv_layout_free(*layout);
    *layout = NULL;
}

static bool filter_matches(const struct dv_layout_gpu *entry, const struct dv_gpu *gpu)
{
    for (uint32_t i = 0; i < entry->n_filters; i++)
        if (entry->filters[i].device >> 16 == gpu->pci_device_id &&
            (!entry->filters[i].subsystem || entry->filters[i].subsystem == gpu->pci_subsystem_id))
            return true;
    return !entry->n_filters;
}

bool dv_layout_means(const struct dv_layout_gpu *entry, const struct dv_gpu *gpu)
{
    struct dv_device whole = {.gpu = gpu->index};
    memcpy(whole.uuid, gpu->uuid, sizeof whole.uuid);
    if (entry->capable_only && !gpu->mig_capable)
        return false;
    return dv_claim_selector_matches(&entry->gpus, gpu, &whole) && filter_matches(entry, gpu);
}

const struct dv_layout_gpu *dv_layout_find(const struct dv_layout *layout, const struct dv_gpu *gpu)
{
    const struct dv_layout_gpu *best = NULL;
    for (uint32_t i = 0; i < layout->n_entries; i++) {
        const struct dv_layout_gpu *e = &layout->entries[i];
        if ((!best || e->rank > best->rank) && dv_layout_means(e, gpu))
            best = e;
    }
    return best;
}

bool dv_layout_is_mig(const struct dv_layout_gpu *entry)
{
    return !entry->n_devices || entry->devices[0].profile[0];
}

/* ---- rules ---- */

static bool rule_is_for(const struct dv_layout_rule *rule, const struct dv_device *d)
{
    if (!d->mig || !rule->profile[0])
        return !d->mig && !rule->profile[0];
    return !strcmp(rule->profile, "*") || !strcmp(rule->profile, d->profile);
}

/* How many MIG devices of its GPU, or (all) devices that the rule is for, lie before this one. */
static uint32_t number_of(const struct dv_snapshot *s, const struct dv_device *d,
                          const struct dv_layout_rule *rule)
{
    uint32_t n = 0;
    for (size_t i = 0; i < s->n_devices; i++) {
        const struct dv_device *o = &s->devices[i];
        if (rule ? !rule_is_for(rule, o) : o->gpu != d->gpu || !o->mig)
            continue;
        if (o->gpu != d->gpu)
            n += o->gpu < d->gpu;
        else if (o->placement_start != d->placement_start)
            n += o->placement_start < d->placement_start;
        else
            n += o->ci < d->ci;
    }
    return n;
}

uint32_t dv_layout_mig_number(const struct dv_snapshot *snapshot, const struct dv_device *device)
{
    return number_of(snapshot, device, NULL);
}

bool dv_layout_lists(char (*list)[DV_UUID_SIZE], uint32_t n, const struct dv_snapshot *snapshot,
                     const struct dv_device *d)
{
    const struct dv_gpu *gpu = dv_snapshot_gpu(snapshot, d->gpu);
    for (uint32_t i = 0; i < n; i++) {
        const char *text = list[i];
        if (!strcmp(text, d->uuid) || (gpu && !d->mig && !strcmp(text, gpu->uuid)))
            return true;
        char *end;
        unsigned long index = strtoul(text, &end, 10);
        if (end == text || index != d->gpu)
            continue;
        if (*end ? *end == ':' && d->mig &&
                       strtoul(end + 1, NULL, 10) == number_of(snapshot, d, NULL)
                 : !d->mig)
            return true;
    }
    return false;
}

struct dv_layout_sharing dv_layout_rule_for(const struct dv_layout *layout,
                                            const struct dv_snapshot *snapshot,
                                            const struct dv_device *device)
{
    for (uint32_t i = 0; i < layout->n_rules; i++) {
        const struct dv_layout_rule *rule = &layout->rules[i];
        if (!rule_is_for(rule, device))
            continue;
        if (rule->n_list ? dv_layout_lists(rule->list, rule->n_list, snapshot, device)
                         : !rule->count || number_of(snapshot, device, rule) < rule->count)
            return rule->sharing;
    }
    return (struct dv_layout_sharing){0};
}

/* ---- what can be said without looking at a GPU ---- */

static int check_sharing(const struct dv_layout_sharing *s, struct dv_err *err)
{
    bool replicated =
        s->mode == DV_MODE_MPS || s->mode == DV_MODE_TIMESLICE || s->mode == DV_MODE_GOVERNED;
    if (s->mode > DV_MODE_GOVERNED)
        return dv_err_set(err, -EINVAL, "no such mode");
    if (s->replicas && !replicated)
        return dv_err_set(err, -EINVAL,
                          "replicas of a device in mode %s; mps, timeslice and "
                          "governed have replicas",
                          dv_device_mode_name(s->mode));
    if (s->replicas == 1 || s->replicas > DV_LAYOUT_REPLICAS_MAX)
        return dv_err_set(err, -EINVAL, "%u replicas, 2 to %u expected", s->replicas,
                          DV_LAYOUT_REPLICAS_MAX);
    if (s->timeslice && s->mode != DV_MODE_TIMESLICE)
        return dv_err_set(err, -EINVAL, "a time-slice length in mode %s; only timeslice has one",
                          dv_device_mode_name(s->mode));
    return 0;
}

static int check_entry(const struct dv_layout_gpu *entry, struct dv_err *err)
{
    if (entry->n_devices > DV_LAYOUT_DEVICES_MAX)
        return dv_err_set(err, -EINVAL, "%u devices, at most %u", entry->n_devices,
                          DV_LAYOUT_DEVICES_MAX);
    int r = 0;
    for (uint32_t i = 0; !r && i < entry->n_devices; i++) {
        const struct dv_layout_device *d = &entry->devices[i];
        if (!memchr(d->profile, 0, sizeof d->profile))
            return dv_err_set(err, -EINVAL, "a profile's name has no end");
        if (!d->profile[0] && entry->n_devices > 1)
            return dv_err_set(err, -EINVAL, "a whole GPU and other devices at once");
        r = check_sharing(&d->sharing, err);
    }
    return r;
}

/* ---- on a GPU ---- */

/* The open instance that has room for one more such compute instance, or NULL. */
static struct dv_layout_instance *open_instance(const struct dv_mig_geometry *geometry,
                                                struct dv_layout_instance *list, uint32_t n,
                                                uint32_t profile, uint32_t start, uint32_t slices)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t used = 0;
        if (list[i].profile != profile || list[i].start != start)
            continue;
        for (uint32_t k = 0; k < list[i].n_ci; k++)
            used += list[i].ci[k].slices;
        if (used + slices <= geometry->profiles[profile].slices &&
            list[i].n_ci < DV_ARRAY_SIZE(list[i].ci))
            return &list[i];
    }
    return NULL;
}

static bool has_compute(const struct dv_mig_geometry *geometry, const struct dv_mig_profile *p,
                        uint32_t slices)
{
    struct dv_mig_compute_profile c[DV_MIG_COMPUTE_PROFILES_MAX];
    size_t n = dv_mig_compute_profiles(geometry, p, c);
    for (size_t i = 0; i < n; i++)
        if (c[i].slices == slices)
            return true;
    return false;
}

int dv_layout_pack(const struct dv_layout_gpu *entry, const struct dv_mig_geometry *geometry,
                   struct dv_layout_instance ret[DV_LAYOUT_DEVICES_MAX], uint32_t *ret_n,
                   struct dv_err *err)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < entry->n_devices; i++) {
        const struct dv_layout_device *d = &entry->devices[i];
        const char *base = d->profile;
        struct dv_mig_name name;
        if (dv_mig_name_parse(d->profile, &name, err) < 0)
            return -EINVAL;
        if (name.compute)
            base = strchr(d->profile, '.') + 1;
        const struct dv_mig_profile *p = dv_mig_profile_find(geometry, base, err);
        if (!p)
            return -EINVAL;
        uint32_t profile = (uint32_t)(p - geometry->profiles);
        uint32_t slices = name.compute ? name.compute : p->slices;
        if (!has_compute(geometry, p, slices))
            return dv_err_set(err, -EINVAL, "%s: a %s has no compute instance of %u slices",
                              d->profile, p->name, slices);
        struct dv_layout_instance *g =
            name.compute ? open_instance(geometry, ret, n, profile, d->start, slices) : NULL;
        if (!g) {
            g = &ret[n++];
            *g = (struct dv_layout_instance){.profile = profile, .start = d->start};
        }
        g->ci[g->n_ci].slices = slices;
        g->ci[g->n_ci++].device = i;
    }
    *ret_n = n;
    return 0;
}

int dv_layout_refuse(const struct dv_mig_geometry *geometry, const struct dv_mig_refusal *why,
                     struct dv_err *err)
{
    const char *name = geometry->profiles[why->profile].name;
    switch (why->rule) {
    case DV_MIG_RULE_START:
        return dv_err_set(err, -EINVAL, "%s cannot start at %u", name, why->start);
    case DV_MIG_RULE_OVERLAP:
        return dv_err_set(err, -EINVAL, "%s at %u overlaps %s at %u", name, why->start,
                          geometry->profiles[why->other].name, why->other_start);
    case DV_MIG_RULE_MEDIA:
        return dv_err_set(err, -EINVAL, "%s and %s need the same media engines", name,
                          geometry->profiles[why->other].name);
    case DV_MIG_RULE_PLACEMENT:
        return dv_err_set(
            err, -EINVAL,
            "no place is left for %s: the sums fit, the places do not. divvy mig plan "
            "finds places for a set; or leave the starts out",
            name);
    default:
        return dv_err_set(err, -EINVAL, "with %s, %u are asked of %u %s", name, why->asked,
                          why->limit,
                          why->rule == DV_MIG_RULE_COUNT     ? "such instances"
                          : why->rule == DV_MIG_RULE_COMPUTE ? "compute slices"
                                                             : "memory slices");
    }
}

static int check_mig(const struct dv_layout_gpu *entry, const struct dv_gpu *gpu,
                     const struct dv_mig_geometry *geometry, struct dv_err *err)
{
    struct dv_layout_instance packed[DV_LAYOUT_DEVICES_MAX];
    struct dv_mig_instance instances[DV_LAYOUT_DEVICES_MAX];
    struct dv_mig_refusal why;
    uint32_t n;
    if (!gpu->mig_capable || !geometry)
        return dv_err_set(err, -EINVAL, "it cannot do MIG");
    int r = dv_layout_pack(entry, geometry, packed, &n, err);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < n; i++)
        instances[i] = (struct dv_mig_instance){packed[i].profile, packed[i].start};
    return dv_mig_check(geometry, instances, n, &why) ? dv_layout_refuse(geometry, &why, err) : 0;
}

/* Under MPS a device of `compute` takes its part of the clients that the GPU takes. */
static int check_clients(const struct dv_layout_device *d, const struct dv_gpu *gpu,
                         uint32_t compute, struct dv_err *err)
{
    uint32_t max = dv_device_mps_clients(gpu, compute);
    if (!max || d->sharing.mode != DV_MODE_MPS || d->sharing.replicas <= max)
        return 0;
    return dv_err_set(err, -EINVAL,
                      "%s%s%u replicas under MPS, the driver takes at most %u clients%s",
                      d->profile, d->profile[0] ? ": " : "", d->sharing.replicas, max,
                      d->profile[0] ? " there" : "");
}

static int check_mps(const struct dv_layout_gpu *entry, const struct dv_gpu *gpu,
                     const struct dv_mig_geometry *geometry, struct dv_err *err)
{
    struct dv_layout_instance packed[DV_LAYOUT_DEVICES_MAX];
    uint32_t n = 0;
    int r = 0;
    if (!dv_layout_is_mig(entry))
        return entry->n_devices ? check_clients(&entry->devices[0], gpu, DV_COMPUTE_FULL, err) : 0;
    r = dv_layout_pack(entry, geometry, packed, &n, err);
    for (uint32_t i = 0; i < n && !r; i++)
        for (uint32_t k = 0; k < packed[i].n_ci && !r; k++)
            r = check_clients(&entry->devices[packed[i].ci[k].device], gpu,
                              packed[i].ci[k].slices * DV_COMPUTE_FULL / geometry->slices, err);
    return r;
}

static int check_gpu(const struct dv_layout *layout, const struct dv_layout_gpu *entry,
                     const struct dv_gpu *gpu, const struct dv_mig_geometry *geometry,
                     struct dv_err *err)
{
    int r = 0;
    for (uint32_t i = 0; i < layout->n_entries; i++) {
        const struct dv_layout_gpu *other = &layout->entries[i];
        if (other != entry && other->rank == entry->rank && dv_layout_means(other, gpu))
            r = dv_err_set(err, -EINVAL, "the entry of line %u claims it too", other->line);
    }
    if (!r && dv_layout_is_mig(entry))
        r = check_mig(entry, gpu, geometry, err);
    if (!r)
        r = check_mps(entry, gpu, geometry, err);
    if (r < 0)
        dv_err_prefix(err, "GPU %u (%s): ", gpu->index, gpu->model);
    return r;
}

/* An entry that names one GPU wants that one to be there; "all" and a model may mean none. */
static bool must_mean_one(const struct dv_layout_gpu *entry)
{
    return entry->gpus.kind == DV_SELECTOR_INDEX || entry->gpus.kind == DV_SELECTOR_UUID;
}

static int check_on_node(const struct dv_layout *layout, const struct dv_layout_gpu *entry,
                         const struct dv_snapshot *snapshot,
                         const struct dv_mig_geometry *const *geometries, struct dv_err *err)
{
    bool meant = false;
    int r = 0;
    for (size_t k = 0; !r && k < snapshot->n_gpus; k++) {
        if (!dv_layout_means(entry, &snapshot->gpus[k]))
            continue;
        meant = true;
        if (dv_layout_find(layout, &snapshot->gpus[k])->rank == entry->rank)
            r = check_gpu(layout, entry, &snapshot->gpus[k], geometries[k], err);
    }
    if (!r && !meant && must_mean_one(entry))
        r = dv_err_set(err, -EINVAL, "there is no GPU \"%s\" on this node; it has %zu",
                       entry->gpus.text, snapshot->n_gpus);
    return r;
}

static int check_rule(const struct dv_layout_rule *rule, struct dv_err *err)
{
    int r = check_sharing(&rule->sharing, err);
    if (r == 0 && rule->n_list > DV_LAYOUT_LIST_MAX)
        r = dv_err_set(err, -EINVAL, "%u devices listed, at most %u", rule->n_list,
                       DV_LAYOUT_LIST_MAX);
    return r;
}

/* How much of this GPU a device has that the rule is about; 0: none of such a size. */
static uint32_t rule_compute(const struct dv_layout_rule *rule,
                             const struct dv_mig_geometry *geometry)
{
    if (!rule->profile[0])
        return DV_COMPUTE_FULL;
    for (uint32_t i = 0; geometry && i < geometry->n_profiles; i++)
        if (!strcmp(geometry->profiles[i].name, rule->profile))
            return dv_mig_compute(geometry, &geometry->profiles[i]);
    return 0;
}

static int check_rule_on_node(const struct dv_layout_rule *rule, const struct dv_snapshot *snapshot,
                              const struct dv_mig_geometry *const *geometries, struct dv_err *err)
{
    struct dv_layout_device d = {.sharing = rule->sharing};
    int r = 0;
    for (size_t i = 0; !r && i < snapshot->n_gpus; i++) {
        uint32_t compute = rule_compute(rule, geometries[i]);
        if (compute)
            r = check_clients(&d, &snapshot->gpus[i], compute, err);
        if (r < 0)
            dv_err_prefix(err, "GPU %u (%s): ", snapshot->gpus[i].index, snapshot->gpus[i].model);
    }
    return r;
}

int dv_layout_check(const struct dv_layout *layout, const struct dv_snapshot *snapshot,
                    const struct dv_mig_geometry *const *geometries, struct dv_err *err)
{
    if (layout->n_entries > DV_LAYOUT_ENTRIES_MAX || layout->n_rules > DV_LAYOUT_RULES_MAX)
        return dv_err_set(err, -EINVAL, "%u entries and %u rules, at most %u and %u",
                          layout->n_entries, layout->n_rules, DV_LAYOUT_ENTRIES_MAX,
                          DV_LAYOUT_RULES_MAX);
    for (uint32_t i = 0; i < layout->n_entries; i++) {
        const struct dv_layout_gpu *entry = &layout->entries[i];
        int r = check_entry(entry, err);
        if (!r)
            r = check_on_node(layout, entry, snapshot, geometries, err);
        if (r < 0) {
            dv_err_prefix(err, "line %u: ", entry->line);
            return r;
        }
    }
    for (uint32_t i = 0; i < layout->n_rules; i++) {
        int r = check_rule(&layout->rules[i], err);
        if (!r)
            r = check_rule_on_node(&layout->rules[i], snapshot, geometries, err);
        if (r < 0) {
            dv_err_prefix(err, "line %u: ", layout->rules[i].line);
            return r;
        }
    }
    return 0;
}
