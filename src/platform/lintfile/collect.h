/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that a command line means: those it names, and those that are below the folders it
 * names and have a name that says what they are (.yaml, .yml, .json, .sh, .bash, .promql), in the
 * order of their names. Hidden ones and links to folders are passed over there.
 *
 *     dv_cleanup(dv_collect_done) struct dv_collect files = {0};
 *     r = dv_collect_add(&files, "deploy/", &err);
 */
#ifndef DV_LINTFILE_COLLECT_H
#define DV_LINTFILE_COLLECT_H

#include "base/err.h"

#include <stdbool.h>

#define DV_COLLECT_MAX 20000u
#define DV_COLLECT_DEPTH_MAX 32u

struct dv_collect {
    struct dv_collect_file {
        char *path;
        bool named; /* by the command line itself */
    } * files;
    uint32_t n, cap;
};

/* "-" is the standard input. 0; why it cannot be looked at, -E2BIG, -ENOMEM, with a message. */
int dv_collect_add(struct dv_collect *collect, const char *path, struct dv_err *err);
void dv_collect_done(struct dv_collect *collect);

#endif
