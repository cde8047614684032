/* SPDX-License-Identifier: Apache-2.0 */
/* A list: a text file with one name per line. Blank lines are skipped. */
#ifndef DV_FLEETFILE_LINES_H
#define DV_FLEETFILE_LINES_H

#include "csv/csv.h"

#define DV_FLEET_LINE_MAX 1024u
#define DV_FLEET_LINES_MAX 20000000u

/* Calls visit for each line; a result below 0 ends it and is returned, with err put after
 * "FILE:LINE: ". Errors of open and read, -EINVAL (a line that is too long, or has a NUL), with a
 * message. */
int dv_fleet_lines(const char *path, int (*visit)(void *arg, const char *line, struct dv_err *err),
                   void *arg, struct dv_err *err);

/* Is every one of these columns of the current row fit to be shown (no control characters)? 0, or
 * -EINVAL with a message that does not show it. */
int dv_fleet_check_printable(const struct dv_csv *csv, const size_t *columns, size_t n,
                             struct dv_err *err);

#endif
