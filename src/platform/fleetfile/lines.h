/* SPDX-License-Identifier: Apache-2.0 */
/* A list: a text file with one name per line. Blank lines are skipped. */
#ifndef DV_FLEETFILE_LINES_H
#define DV_FLEETFILE_LINES_H

#include "base/err.h"

#define DV_FLEET_LINE_MAX 1024u
#define DV_FLEET_LINES_MAX 20000000u

/* Calls visit for each line; a result below 0 ends it and is returned, with err put after
 * "FILE:LINE: ". Errors of open and read, -EINVAL (a line that is too long, or has a NUL), with a
 * message. */
int dv_fleet_lines(const char *path, int (*visit)(void *arg, const char *line, struct dv_err *err),
                   void *arg, struct dv_err *err);

#endif
