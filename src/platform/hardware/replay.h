/* SPDX-License-Identifier: Apache-2.0 */
/* The back end that answers from a capture (capture.h): always the same, without a driver. */
#ifndef DV_HARDWARE_REPLAY_H
#define DV_HARDWARE_REPLAY_H

#include "hardware/hardware.h"

/* 0; -ENOENT and the like when the file cannot be read, -EINVAL when it is no capture. */
int dv_hardware_replay_new(const char *path, struct dv_hardware **ret, struct dv_err *err);

#endif
