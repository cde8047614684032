/* SPDX-License-Identifier: Apache-2.0 */
/* control.log and server.log: a line per event, in NVIDIA's form:
 * "[2026-11-26 21:48:09.123 Control  4711] Accepting connection..." */
#ifndef DV_SIM_MPS_LOG_H
#define DV_SIM_MPS_LOG_H

#include "base/macros.h"

#include <stdbool.h>

struct dv_mpslog {
    int fd;            /* -1: nowhere */
    const char *party; /* "Control", "Server" */
    bool echo;         /* to stderr too */
};

/* Opens directory/name for appending, makes the directory. 0 or negative errno. */
int dv_mpslog_open(struct dv_mpslog *log, const char *directory, const char *name);
void dv_mpslog_write(const struct dv_mpslog *log, const char *fmt, ...) dv_printf(2, 3);

#endif
