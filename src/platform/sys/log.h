/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's log: one line per event on stderr, `level event key=value ...`. Values with blanks
 * or control characters are quoted and escaped, so that a line stays one line whatever a
 * tenant calls itself (dv_log_value). journald adds the time; with dv_log_timestamps(true) the line
 * has its own.
 *
 *     char t[DV_LOG_VALUE];
 *     dv_log(DV_LOG_INFO, "slice.granted", "tenant=%s", dv_log_value(name, t));
 */
#ifndef DV_SYS_LOG_H
#define DV_SYS_LOG_H

#include "base/macros.h"

#include <stdbool.h>

enum dv_log_level {
    DV_LOG_ERROR = 0,
    DV_LOG_WARNING = 1,
    DV_LOG_INFO = 2,
    DV_LOG_DEBUG = 3,
};

#define DV_LOG_VALUE 256
/* Quotes where needed; cut to DV_LOG_VALUE. Returns buf. */
const char *dv_log_value(const char *value, char buf[DV_LOG_VALUE]);
void dv_log_set_level(enum dv_log_level level);
void dv_log_timestamps(bool on);
void dv_log(enum dv_log_level level, const char *event, const char *fmt, ...) dv_printf(3, 4);

#endif
