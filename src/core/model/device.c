/* SPDX-License-Identifier: Apache-2.0 */
#include "model/device.h"

#include "base/str.h"

#include <errno.h>
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
    return dv_err_set(err, -EINVAL,
                      "unknown mode \"%.32s\"%s%s%s; auto, exclusive or governed expected", text,
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

/* A card or MIG device to oneself has the hardware's own edges. MPS keeps memory and thread limits
 * in the driver; turns limit nothing. */
enum dv_wall dv_device_memory_wall(enum dv_mode mode)
{
    switch (mode) {
    case DV_MODE_EXCLUSIVE:
        return DV_WALL_HARDWARE;
    case DV_MODE_MPS:
        return DV_WALL_DRIVER;
    case DV_MODE_GOVERNED:
        return DV_WALL_COOPERATIVE;
    case DV_MODE_TIMESLICE:
    case DV_MODE_AUTO:
        break;
    }
    return DV_WALL_NONE;
}

enum dv_wall dv_device_compute_wall(enum dv_mode mode)
{
    return dv_device_memory_wall(mode);
}
