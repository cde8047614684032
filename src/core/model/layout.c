/* SPDX-License-Identifier: Apache-2.0 */
#include "model/layout.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

const struct dv_layout_gpu *dv_layout_find(const struct dv_layout *layout, const struct dv_gpu *gpu)
{
    struct dv_device whole = {.gpu = gpu->index};
    memcpy(whole.uuid, gpu->uuid, sizeof whole.uuid);
    for (size_t i = 0; i < layout->n_entries; i++)
        if (dv_claim_selector_matches(&layout->entries[i].gpus, gpu, &whole))
            return &layout->entries[i];
    return NULL;
}

bool dv_layout_is_mig(const struct dv_layout_gpu *entry)
{
    return entry->n_devices && entry->devices[0].profile[0];
}

/* ---- what can be said without looking at a GPU ---- */

static int check_device(const struct dv_layout_gpu *entry, const struct dv_layout_device *d,
                        struct dv_err *err)
{
    if (!memchr(d->profile, 0, sizeof d->profile))
        return dv_err_set(err, -EINVAL, "a profile's name has no end");
    if (!d->profile[0] && entry->n_devices > 1)
        return dv_err_set(err, -EINVAL, "a whole GPU and other devices at once");
    if (d->mode == DV_MODE_MPS || d->mode == DV_MODE_TIMESLICE || d->mode > DV_MODE_GOVERNED)
        return dv_err_set(err, -EINVAL, "mode %s is not available in this version",
                          dv_device_mode_name(d->mode));
    if (d->n_slices > DV_LAYOUT_SLICES_MAX)
        return dv_err_set(err, -EINVAL, "%zu slices on one device, at most %d", d->n_slices,
                          DV_LAYOUT_SLICES_MAX);
    if (d->n_slices && d->mode == DV_MODE_AUTO)
        return dv_err_set(err, -EINVAL, "slices are set up on a device without a mode");
    if (d->n_slices > 1 && d->mode == DV_MODE_EXCLUSIVE)
        return dv_err_set(err, -EINVAL, "%zu slices on an exclusive device", d->n_slices);
    return 0;
}

static int check_entry(const struct dv_layout_gpu *entry, struct dv_err *err)
{
    if (!entry->n_devices || entry->n_devices > DV_MIG_INSTANCES_MAX)
        return dv_err_set(err, -EINVAL, "%zu devices, 1 to %d expected", entry->n_devices,
                          DV_MIG_INSTANCES_MAX);
    int r = 0;
    for (size_t i = 0; !r && i < entry->n_devices; i++)
        r = check_device(entry, &entry->devices[i], err);
    return r;
}

/* ---- on a GPU ---- */

static int check_slices(const struct dv_layout_device *d, uint64_t memory, uint32_t compute,
                        struct dv_err *err)
{
    uint64_t left = memory;
    uint32_t share = compute;
    for (size_t i = 0; i < d->n_slices; i++) {
        const struct dv_layout_slice *s = &d->slices[i];
        int r = dv_tenant_check_name(s->tenant, err);
        if (r < 0)
            return r;
        if (!s->memory_bytes || !s->compute)
            return dv_err_set(err, -EINVAL, "the slice of %s has no size", s->tenant);
        if (s->compute > share)
            return dv_err_set(err, -EINVAL,
                              "the slice of %s asks compute %u, the device has %u left", s->tenant,
                              s->compute, share);
        share -= s->compute;
        if (memory && s->memory_bytes > left)
            return dv_err_set(err, -EINVAL,
                              "the slice of %s asks %" PRIu64 " bytes, the device has %" PRIu64
                              " left",
                              s->tenant, s->memory_bytes, left);
        left -= DV_MIN(s->memory_bytes, left);
    }
    return 0;
}

static int check_mig(const struct dv_layout_gpu *entry, const struct dv_gpu *gpu,
                     const struct dv_mig_geometry *geometry, struct dv_err *err)
{
    struct dv_mig_instance instances[DV_MIG_INSTANCES_MAX];
    struct dv_mig_refusal why;
    if (!gpu->mig_capable || !geometry)
        return dv_err_set(err, -EINVAL, "it cannot do MIG");
    for (size_t i = 0; i < entry->n_devices; i++) {
        const struct dv_layout_device *d = &entry->devices[i];
        const struct dv_mig_profile *p = dv_mig_profile_find(geometry, d->profile, err);
        if (!p)
            return -EINVAL;
        instances[i] = (struct dv_mig_instance){(uint32_t)(p - geometry->profiles), d->start};
        int r = check_slices(d, p->memory_bytes, dv_mig_compute(geometry, p), err);
        if (r < 0)
            return r;
    }
    if (!dv_mig_check(geometry, instances, entry->n_devices, &why))
        return 0;
    const char *name = geometry->profiles[why.profile].name;
    switch (why.rule) {
    case DV_MIG_RULE_START:
        return dv_err_set(err, -EINVAL, "%s cannot start at %u", name, why.start);
    case DV_MIG_RULE_OVERLAP:
        return dv_err_set(err, -EINVAL, "%s at %u overlaps %s at %u", name, why.start,
                          geometry->profiles[why.other].name, why.other_start);
    case DV_MIG_RULE_MEDIA:
        return dv_err_set(err, -EINVAL, "%s and %s need the same media engines", name,
                          geometry->profiles[why.other].name);
    default:
        return dv_err_set(err, -EINVAL, "with %s, %u are asked of %u %s", name, why.asked,
                          why.limit,
                          why.rule == DV_MIG_RULE_COUNT     ? "such instances"
                          : why.rule == DV_MIG_RULE_COMPUTE ? "compute slices"
                                                            : "memory slices");
    }
}

static int check_gpu(const struct dv_layout_gpu *entry, const struct dv_gpu *gpu,
                     const struct dv_mig_geometry *geometry, struct dv_err *err)
{
    int r = dv_layout_is_mig(entry)
                ? check_mig(entry, gpu, geometry, err)
                : check_slices(&entry->devices[0], gpu->usable_bytes, DV_COMPUTE_FULL, err);
    if (r < 0)
        dv_err_prefix(err, "GPU %u: ", gpu->index);
    return r;
}

int dv_layout_check(const struct dv_layout *layout, const struct dv_snapshot *snapshot,
                    const struct dv_mig_geometry *const *geometries, struct dv_err *err)
{
    if (layout->n_entries > DV_LAYOUT_ENTRIES_MAX)
        return dv_err_set(err, -EINVAL, "a layout of %zu entries, at most %d", layout->n_entries,
                          DV_LAYOUT_ENTRIES_MAX);
    for (size_t i = 0; i < layout->n_entries; i++) {
        const struct dv_layout_gpu *entry = &layout->entries[i];
        int r = check_entry(entry, err);
        bool used = false;
        for (size_t k = 0; !r && k < snapshot->n_gpus; k++) {
            if (dv_layout_find(layout, &snapshot->gpus[k]) != entry)
                continue;
            used = true;
            r = check_gpu(entry, &snapshot->gpus[k], geometries[k], err);
        }
        if (!r && !used)
            r = dv_err_set(err, -EINVAL, "no GPU follows \"%s\"; entries before it may take them",
                           entry->gpus.text);
        if (r < 0) {
            dv_err_prefix(err, "layout entry %zu: ", i + 1);
            return r;
        }
    }
    return 0;
}
