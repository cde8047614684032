/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's own tools (nvidia-smi, nvidia-cuda-mps-control), for what its libraries do not
 * offer. No shell; arguments as they are; a deadline after which the tool is killed; of what it
 * prints (stdout and stderr together) the first bytes are kept, the rest is read and dropped.
 *
 *     const char *argv[] = {"nvidia-smi", "--gpu-reset", "-i", uuid, NULL};
 *     struct dv_tool t = {.directory = config->tools, .argv = argv, .deadline_ms = 10000};
 *     r = dv_tool_run(&t, out, sizeof out, &status, &err);
 *
 * A tool that leaves a daemon behind is done when it ends itself; nobody waits for the daemon.
 */
#ifndef DV_ACTUATE_TOOL_H
#define DV_ACTUATE_TOOL_H

#include "base/err.h"

#define DV_TOOL_ENV_MAX 16u

struct dv_tool {
    const char *directory;     /* where it is; "": on PATH */
    const char *const *argv;   /* argv[0]: its name; NULL at the end */
    const char *const *set;    /* "NAME=value" beside the environment of this process; NULL at
                                  the end, at most DV_TOOL_ENV_MAX */
    const char *input;         /* on stdin; NULL: nothing. At most 4096 bytes */
    int (*instead)(void *arg); /* for tests and probes: called in the child in place of exec;
                                  its result is the exit status. argv[0] still names it */
    void *arg;
    uint32_t deadline_ms;
};

/*
 * ret_status: its exit status, 128 + n where signal n ended it. 0; -ENOENT: there is no such tool;
 * -ETIMEDOUT: it was killed at its deadline; another negative errno; each with a message.
 */
int dv_tool_run(const struct dv_tool *tool, char *out, size_t size, int *ret_status,
                struct dv_err *err);

/* The last line of `out` that is not blank, for messages; "no output" where there is none. Cuts
 * the text in place. */
const char *dv_tool_last_line(char *out);

#endif
