/* SPDX-License-Identifier: Apache-2.0 */
#include "model/slice.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

int dv_slice_check(const struct dv_slice *slice, const struct dv_device *device, struct dv_err *err)
{
    int r = dv_tenant_check_name(slice->tenant, err);
    if (r < 0)
        return r;
    if (!slice->id)
        return dv_err_set(err, -EINVAL, "a slice's id is 0");
    if (strcmp(slice->device, device->uuid) != 0)
        return dv_err_set(err, -EINVAL, "slice %" PRIu64 " is not on device %s", slice->id,
                          device->uuid);
    if (slice->mode == DV_MODE_AUTO || slice->mode > DV_MODE_GOVERNED)
        return dv_err_set(err, -EINVAL, "slice %" PRIu64 " has no mode", slice->id);
    if (device->layout != DV_MODE_AUTO && device->layout != slice->mode)
        return dv_err_set(err, -EINVAL, "slice %" PRIu64 " is %s on a device laid out as %s",
                          slice->id, dv_device_mode_name(slice->mode),
                          dv_device_mode_name(device->layout));
    if (!slice->memory_bytes || slice->memory_bytes > device->memory_bytes)
        return dv_err_set(err, -EINVAL,
                          "slice %" PRIu64 " has %" PRIu64 " bytes on a device of %" PRIu64,
                          slice->id, slice->memory_bytes, device->memory_bytes);
    if (!slice->compute || slice->compute > device->compute)
        return dv_err_set(err, -EINVAL, "slice %" PRIu64 " has compute %u on a device of %u",
                          slice->id, slice->compute, device->compute);
    if (slice->trust == DV_TRUST_UNTRUSTED &&
        (slice->memory_wall <= DV_WALL_COOPERATIVE || slice->compute_wall <= DV_WALL_COOPERATIVE))
        return dv_err_set(err, -EINVAL, "slice %" PRIu64 " is untrusted behind a %s wall",
                          slice->id,
                          dv_device_wall_name(DV_MIN(slice->memory_wall, slice->compute_wall)));
    return 0;
}
