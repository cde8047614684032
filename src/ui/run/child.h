/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command as a child, with all that it starts: this process is the subreaper of the whole tree.
 *
 *     dv_child_prepare(&child);       before the claim: subreaper, signals noted
 *     exit = dv_child_run(&child, argv, environment);
 *
 * From prepare on, SIGINT, SIGTERM, SIGHUP and SIGQUIT set child.signal. While the command runs
 * they, SIGUSR1 and SIGUSR2 are passed on to it; not when they came from the terminal, because then
 * the command has them already. When the command ends and leaves processes behind, these are ended
 * too (SIGTERM, two seconds later SIGKILL): they would run on in a slice that is given back.
 */
#ifndef DV_UI_RUN_CHILD_H
#define DV_UI_RUN_CHILD_H

#include "base/err.h"
#include "render/output.h"

#include <signal.h>
#include <sys/types.h>

struct dv_child {
    sigset_t before; /* the mask that the command gets */
    pid_t pid;
};

/* 0 or a negative errno. One per process. */
int dv_child_prepare(struct dv_child *child, struct dv_err *err);
/* The first of the signals above that came; 0: none. For dv_http_client_stop_at. */
const volatile int *dv_child_signal(void);

/* Sets the variables: PATH, LD_LIBRARY_PATH and LD_PRELOAD go in front of what was there, others
 * replace it. 0 or a negative errno. */
int dv_child_environment(const struct dv_output_node *variables, struct dv_err *err);

/* Starts the command, waits, cleans up. Returns the exit status to pass on (128 + n for a signal);
 * DV_UI_RUN_NOT_FOUND or DV_UI_RUN_CANNOT_EXECUTE with err set. */
int dv_child_run(struct dv_child *child, char **argv, struct dv_err *err);

#endif
