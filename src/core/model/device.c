/* SPDX-License-Identifier: Apache-2.0 */
#include "model/device.h"

#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char *const modes[] = {[DV_MODE_AUTO] = "auto",
                                    [DV_MODE_EXCLUSIVE] = "exclusive",
                                    [DV_MODE_MPS] = "mps",
                                    [DV_MODE_TIMESLICE] = "timeslice",
                                    [DV_MODE_GOVERNED] = "governed"};

const char *dv_device_mode_name(enum dv_mode mode)
{
    return (size_t)mode < DV_ARRAY_SIZE(modes) ? modes[mode] : "unknown";
}

int dv_device_mode_parse(const char *text, enum dv_mode *ret, struct dv_err *err)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(modes); i++) {
        if (strcmp(modes[i], text) != 0)
            continue;
        *ret = (enum dv_mode)i;
        return 0;
    }
    const char *near = dv_str_nearest(text, modes, DV_ARRAY_SIZE(modes));
    return dv_err_set(
        err, -EINVAL,
        "unknown mode \"%.32s\"%s%s%s; auto, exclusive, mps, timeslice or governed expected", text,
        near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static const char *const timeslices[] = {[DV_TIMESLICE_DEFAULT] = "default",
                                         [DV_TIMESLICE_SHORT] = "short",
                                         [DV_TIMESLICE_MEDIUM] = "medium",
                                         [DV_TIMESLICE_LONG] = "long"};

const char *dv_device_timeslice_name(enum dv_timeslice timeslice)
{
    return (size_t)timeslice < DV_ARRAY_SIZE(timeslices) ? timeslices[timeslice] : "unknown";
}

int dv_device_timeslice_parse(const char *text, enum dv_timeslice *ret, struct dv_err *err)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(timeslices); i++) {
        if (strcmp(timeslices[i], text) != 0)
            continue;
        *ret = (enum dv_timeslice)i;
        return 0;
    }
    const char *near = dv_str_nearest(text, timeslices, DV_ARRAY_SIZE(timeslices));
    return dv_err_set(err, -EINVAL,
                      "unknown time-slice \"%.32s\"%s%s%s; default, short, medium or long expected",
                      text, near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

const char *dv_device_wall_name(enum dv_wall wall)
{
    switch (wall) {
    case DV_WALL_COOPERATIVE:
        return "cooperative";
    case DV_WALL_DRIVER:
        return "driver";
    case DV_WALL_HARDWARE:
        return "hardware";
    case DV_WALL_NONE:
        break;
    }
    return "none";
}

int dv_device_check(const struct dv_device *device, struct dv_err *err)
{
    const struct dv_device *d = device;
    if (!d->memory_bytes || !d->compute || d->compute > DV_COMPUTE_FULL)
        return dv_err_set(err, -EINVAL, "device %s has %" PRIu64 " bytes and compute %u", d->uuid,
                          d->memory_bytes, d->compute);
    if (d->replicas && (d->layout == DV_MODE_AUTO || d->layout == DV_MODE_EXCLUSIVE))
        return dv_err_set(err, -EINVAL, "device %s has %u replicas in layout mode %s", d->uuid,
                          d->replicas, dv_device_mode_name(d->layout));
    return 0;
}

uint32_t dv_device_mps_clients(const struct dv_gpu *gpu, uint32_t compute)
{
    if (!gpu->mps_clients)
        return 0;
    return (uint32_t)DV_MAX((uint64_t)gpu->mps_clients * compute / DV_COMPUTE_FULL, 1);
}

uint32_t dv_device_slices_max(const struct dv_gpu *gpu, const struct dv_device *device,
                              enum dv_mode mode)
{
    uint32_t max = device->replicas ? device->replicas : UINT32_MAX;
    uint32_t clients = dv_device_mps_clients(gpu, device->compute);
    switch (mode) {
    case DV_MODE_EXCLUSIVE:
        return 1;
    case DV_MODE_MPS:
        return clients ? DV_MIN(max, clients) : max;
    case DV_MODE_TIMESLICE:
        return device->replicas ? max : DV_DEVICE_TIMESLICES;
    case DV_MODE_GOVERNED:
    case DV_MODE_AUTO:
        break;
    }
    return max;
}

struct dv_device_part dv_device_part(const struct dv_device *device, uint32_t n)
{
    return (struct dv_device_part){device->memory_bytes / n / DV_MIB * DV_MIB, device->compute / n};
}

/* Limits that a tenant cannot get away from: by a folder of its own, on a GPU that only MPS may use
 * (compute mode EXCLUSIVE_PROCESS, which comes with a layout; MIG devices have no compute mode). */
static bool has_closed_namespaces(const struct dv_gpu *gpu, const struct dv_device *device)
{
    return gpu->mps_namespaces && device->layout == DV_MODE_MPS && !device->mig;
}

static enum dv_wall mode_wall(const struct dv_gpu *gpu, const struct dv_device *device,
                              enum dv_mode mode, bool equal_share)
{
    switch (mode) {
    case DV_MODE_EXCLUSIVE:
        return DV_WALL_HARDWARE;
    case DV_MODE_MPS:
        /* Nothing makes a process of a MIG device go through MPS: there is no compute mode. */
        return !device->mig && (equal_share || has_closed_namespaces(gpu, device))
                   ? DV_WALL_DRIVER
                   : DV_WALL_COOPERATIVE;
    case DV_MODE_GOVERNED:
        return DV_WALL_COOPERATIVE;
    case DV_MODE_TIMESLICE:
    case DV_MODE_AUTO:
        break;
    }
    return DV_WALL_NONE;
}

void dv_device_walls(const struct dv_gpu *gpu, const struct dv_device *device, enum dv_mode mode,
                     bool equal_share, bool sized_memory, enum dv_wall *ret_memory,
                     enum dv_wall *ret_compute)
{
    enum dv_wall memory = mode_wall(gpu, device, mode, equal_share);
    *ret_compute = memory;
    if (mode == DV_MODE_TIMESLICE && sized_memory)
        memory = DV_WALL_COOPERATIVE;
    if (mode != DV_MODE_AUTO && gpu->memory_limits && !device->mig)
        memory = DV_MAX(memory, DV_WALL_DRIVER);
    *ret_memory = memory;
}
