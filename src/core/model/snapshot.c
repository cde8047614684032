/* SPDX-License-Identifier: Apache-2.0 */
#include "model/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int dv_snapshot_new(struct dv_snapshot **ret)
{
    struct dv_snapshot *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    dv_topology_init(&s->topology, 0);
    *ret = s;
    return 0;
}

void dv_snapshot_free(struct dv_snapshot *snapshot)
{
    if (!snapshot)
        return;
    free(snapshot->gpus);
    free(snapshot->devices);
    free(snapshot->slices);
    free(snapshot->claims);
    free(snapshot);
}

void dv_snapshot_freep(struct dv_snapshot **snapshot)
{
    dv_snapshot_free(*snapshot);
    *snapshot = NULL;
}

/* NULL for no elements; *ok becomes false when memory is out. */
static void *copy_array(const void *src, size_t n, size_t size, bool *ok)
{
    if (!n)
        return NULL;
    void *dst = malloc(n * size);
    if (dst)
        memcpy(dst, src, n * size);
    else
        *ok = false;
    return dst;
}

int dv_snapshot_dup(const struct dv_snapshot *snapshot, struct dv_snapshot **ret)
{
    const struct dv_snapshot *s = snapshot;
    struct dv_snapshot *copy = malloc(sizeof *copy);
    bool ok = true;
    if (!copy)
        return -ENOMEM;
    *copy = *s;
    copy->gpus = copy_array(s->gpus, s->n_gpus, sizeof *s->gpus, &ok);
    copy->devices = copy_array(s->devices, s->n_devices, sizeof *s->devices, &ok);
    copy->slices = copy_array(s->slices, s->n_slices, sizeof *s->slices, &ok);
    copy->claims = copy_array(s->claims, s->n_claims, sizeof *s->claims, &ok);
    if (!ok) {
        dv_snapshot_free(copy);
        return -ENOMEM;
    }
    *ret = copy;
    return 0;
}

/* ---- equality, field by field: structs have padding ---- */

static bool same_selector(const struct dv_selector *a, const struct dv_selector *b)
{
    return a->kind == b->kind && a->index == b->index && !strcmp(a->text, b->text);
}

bool dv_snapshot_gpu_equal(const struct dv_gpu *a, const struct dv_gpu *b)
{
    return a->index == b->index && !strcmp(a->uuid, b->uuid) && !strcmp(a->model, b->model) &&
           !strcmp(a->pci_bus_id, b->pci_bus_id) && a->pci_device_id == b->pci_device_id &&
           a->pci_subsystem_id == b->pci_subsystem_id && a->numa == b->numa &&
           a->memory_bytes == b->memory_bytes && a->usable_bytes == b->usable_bytes &&
           a->context_bytes == b->context_bytes && a->sm == b->sm &&
           a->mig_capable == b->mig_capable && a->mig_enabled == b->mig_enabled &&
           a->memory_limits == b->memory_limits && a->mps_clients == b->mps_clients &&
           a->mps_namespaces == b->mps_namespaces && a->pci_class == b->pci_class &&
           a->cc_major == b->cc_major && a->cc_minor == b->cc_minor && a->vgpu == b->vgpu &&
           a->fabric_clique == b->fabric_clique && !strcmp(a->fabric_cluster, b->fabric_cluster) &&
           a->health == b->health && !strcmp(a->health_detail, b->health_detail);
}

static bool same_engines(const struct dv_mig_engines *a, const struct dv_mig_engines *b)
{
    return a->copy == b->copy && a->decoder == b->decoder && a->encoder == b->encoder &&
           a->jpeg == b->jpeg && a->ofa == b->ofa;
}

bool dv_snapshot_device_equal(const struct dv_device *a, const struct dv_device *b)
{
    return !strcmp(a->uuid, b->uuid) && a->gpu == b->gpu && a->mig == b->mig &&
           !strcmp(a->profile, b->profile) && a->gi == b->gi && a->ci == b->ci &&
           a->placement_start == b->placement_start && a->placement_size == b->placement_size &&
           a->gi_slices == b->gi_slices && a->ci_slices == b->ci_slices && a->sm == b->sm &&
           same_engines(&a->engines, &b->engines) && a->memory_bytes == b->memory_bytes &&
           a->compute == b->compute && a->layout == b->layout && a->mode == b->mode &&
           a->replicas == b->replicas && a->draining == b->draining && a->mps_up == b->mps_up;
}

bool dv_snapshot_slice_equal(const struct dv_slice *a, const struct dv_slice *b)
{
    return a->id == b->id && !strcmp(a->tenant, b->tenant) && !strcmp(a->pod, b->pod) &&
           !strcmp(a->device, b->device) && a->mode == b->mode &&
           a->memory_bytes == b->memory_bytes && a->compute == b->compute &&
           a->priority == b->priority && a->tier == b->tier && a->trust == b->trust &&
           a->memory_wall == b->memory_wall && a->compute_wall == b->compute_wall &&
           a->alone == b->alone && a->since_ns == b->since_ns;
}

bool dv_snapshot_claim_equal(const struct dv_claim *a, const struct dv_claim *b)
{
    return a->id == b->id && !strcmp(a->tenant, b->tenant) && a->mode == b->mode &&
           a->memory_bytes == b->memory_bytes && a->compute == b->compute &&
           a->priority == b->priority && a->tier == b->tier && a->trust == b->trust &&
           same_selector(&a->gpu, &b->gpu) && a->wait == b->wait && a->alone == b->alone &&
           a->since_ns == b->since_ns;
}

bool dv_snapshot_topology_equal(const struct dv_topology *a, const struct dv_topology *b)
{
    if (a->n != b->n)
        return false;
    for (uint32_t i = 0; i < a->n; i++) {
        if (a->numa[i] != b->numa[i])
            return false;
        for (uint32_t k = 0; k < a->n; k++)
            if (dv_topology_link_compare(a->links[i][k], b->links[i][k]))
                return false;
    }
    return true;
}

bool dv_snapshot_equal(const struct dv_snapshot *a, const struct dv_snapshot *b)
{
    if (a->n_gpus != b->n_gpus || a->n_devices != b->n_devices || a->n_slices != b->n_slices ||
        a->n_claims != b->n_claims || !dv_snapshot_topology_equal(&a->topology, &b->topology))
        return false;
    for (size_t i = 0; i < a->n_gpus; i++)
        if (!dv_snapshot_gpu_equal(&a->gpus[i], &b->gpus[i]))
            return false;
    for (size_t i = 0; i < a->n_devices; i++)
        if (!dv_snapshot_device_equal(&a->devices[i], &b->devices[i]))
            return false;
    for (size_t i = 0; i < a->n_slices; i++)
        if (!dv_snapshot_slice_equal(&a->slices[i], &b->slices[i]))
            return false;
    for (size_t i = 0; i < a->n_claims; i++)
        if (!dv_snapshot_claim_equal(&a->claims[i], &b->claims[i]))
            return false;
    return true;
}

/* ---- look-up: a node has few of each, so plain walks ---- */

const struct dv_gpu *dv_snapshot_gpu(const struct dv_snapshot *snapshot, uint32_t index)
{
    for (size_t i = 0; i < snapshot->n_gpus; i++)
        if (snapshot->gpus[i].index == index)
            return &snapshot->gpus[i];
    return NULL;
}

const struct dv_device *dv_snapshot_device(const struct dv_snapshot *snapshot, const char *uuid)
{
    for (size_t i = 0; i < snapshot->n_devices; i++)
        if (!strcmp(snapshot->devices[i].uuid, uuid))
            return &snapshot->devices[i];
    return NULL;
}

const struct dv_slice *dv_snapshot_slice(const struct dv_snapshot *snapshot, uint64_t id)
{
    for (size_t i = 0; i < snapshot->n_slices; i++)
        if (snapshot->slices[i].id == id)
            return &snapshot->slices[i];
    return NULL;
}

const struct dv_claim *dv_snapshot_claim(const struct dv_snapshot *snapshot, uint64_t id)
{
    for (size_t i = 0; i < snapshot->n_claims; i++)
        if (snapshot->claims[i].id == id)
            return &snapshot->claims[i];
    return NULL;
}

struct dv_held dv_snapshot_held(const struct dv_snapshot *snapshot, const char *device)
{
    struct dv_held held = {0};
    for (size_t i = 0; i < snapshot->n_slices; i++) {
        const struct dv_slice *s = &snapshot->slices[i];
        if (strcmp(s->device, device) != 0)
            continue;
        held.memory_bytes += s->memory_bytes;
        held.compute += s->compute;
        held.slices++;
        held.alone |= s->alone;
        if (!held.first)
            held.first = s;
    }
    return held;
}

/* ---- what must hold ---- */

int dv_snapshot_device_order(const struct dv_device *a, const struct dv_device *b)
{
    if (a->gpu != b->gpu)
        return a->gpu < b->gpu ? -1 : 1;
    return strcmp(a->uuid, b->uuid);
}

static int check_device(const struct dv_snapshot *s, const struct dv_device *d, struct dv_err *err)
{
    const struct dv_gpu *gpu = dv_snapshot_gpu(s, d->gpu);
    if (!gpu)
        return dv_err_set(err, -EINVAL, "device %s is on GPU %u, which is not there", d->uuid,
                          d->gpu);
    if (d->mig != gpu->mig_enabled)
        return dv_err_set(err, -EINVAL, "device %s does not fit GPU %u, whose MIG mode is %s",
                          d->uuid, d->gpu, gpu->mig_enabled ? "on" : "off");
    int r = dv_device_check(d, err);
    if (r < 0)
        return r;
    struct dv_held held = dv_snapshot_held(s, d->uuid);
    if (d->replicas && held.slices > d->replicas)
        return dv_err_set(err, -EINVAL, "device %s has %u replicas and %u slices", d->uuid,
                          d->replicas, held.slices);
    if (held.memory_bytes > d->memory_bytes || held.compute > d->compute)
        return dv_err_set(
            err, -EINVAL,
            "device %s: %u slices hold %" PRIu64 " of %" PRIu64 " bytes and compute %u of %u",
            d->uuid, held.slices, held.memory_bytes, d->memory_bytes, held.compute, d->compute);
    if (d->mode == DV_MODE_EXCLUSIVE && held.slices > 1)
        return dv_err_set(err, -EINVAL, "device %s is exclusive and has %u slices", d->uuid,
                          held.slices);
    if (held.alone && held.slices > 1)
        return dv_err_set(err, -EINVAL, "device %s is promised to one slice alone and has %u",
                          d->uuid, held.slices);
    enum dv_mode expected = held.first ? held.first->mode : d->layout;
    if (d->mode != expected)
        return dv_err_set(err, -EINVAL, "device %s is in mode %s, %s expected", d->uuid,
                          dv_device_mode_name(d->mode), dv_device_mode_name(expected));
    return 0;
}

static int check_slice(const struct dv_snapshot *s, const struct dv_slice *slice,
                       struct dv_err *err)
{
    const struct dv_device *d = dv_snapshot_device(s, slice->device);
    if (!d)
        return dv_err_set(err, -EINVAL, "slice %" PRIu64 " is on device %s, which is not there",
                          slice->id, slice->device);
    if (slice->mode != d->mode)
        return dv_err_set(err, -EINVAL, "slice %" PRIu64 " is %s on a device in mode %s", slice->id,
                          dv_device_mode_name(slice->mode), dv_device_mode_name(d->mode));
    return dv_slice_check(slice, d, err);
}

int dv_snapshot_check(const struct dv_snapshot *snapshot, struct dv_err *err)
{
    const struct dv_snapshot *s = snapshot;
    int r = dv_topology_check(&s->topology, err);
    for (size_t i = 1; !r && i < s->n_gpus; i++)
        if (s->gpus[i - 1].index >= s->gpus[i].index)
            r = dv_err_set(err, -EINVAL, "GPU %u is out of order", s->gpus[i].index);
    for (size_t i = 0; !r && i < s->n_devices; i++) {
        if (i && dv_snapshot_device_order(&s->devices[i - 1], &s->devices[i]) >= 0)
            r = dv_err_set(err, -EINVAL, "device %s is out of order", s->devices[i].uuid);
        else
            r = check_device(s, &s->devices[i], err);
    }
    for (size_t i = 0; !r && i < s->n_slices; i++) {
        if (i && s->slices[i - 1].id >= s->slices[i].id)
            r = dv_err_set(err, -EINVAL, "slice %" PRIu64 " is out of order", s->slices[i].id);
        else
            r = check_slice(s, &s->slices[i], err);
    }
    for (size_t i = 0; !r && i < s->n_claims; i++) {
        if (i && s->claims[i - 1].id >= s->claims[i].id)
            r = dv_err_set(err, -EINVAL, "claim %" PRIu64 " is out of order", s->claims[i].id);
        else if (dv_snapshot_slice(s, s->claims[i].id))
            r = dv_err_set(err, -EINVAL, "claim %" PRIu64 " waits and has a slice",
                           s->claims[i].id);
        else
            r = dv_claim_check(&s->claims[i], err);
    }
    return r;
}
