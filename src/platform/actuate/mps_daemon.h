/* SPDX-License-Identifier: Apache-2.0 */
/* One MPS control daemon, as the files of this room see it: mps.c, mps_named.c. */
#ifndef DV_ACTUATE_MPS_DAEMON_H
#define DV_ACTUATE_MPS_DAEMON_H

#include "actuate/mps.h"
#include "actuate/tool.h"

#include <limits.h>
#include <stdbool.h>

#define DV_MPS_CONTROL "nvidia-cuda-mps-control"
#define DV_MPS_COMMAND_MS 2000u /* one that is well answers in milliseconds */
#define DV_MPS_OUTPUT_MAX 8192u
/* No limit: what a daemon that has one is set to, since there is no command to clear it. */
#define DV_MPS_NO_LIMIT "1024G"

struct dv_mps_at {
    const struct dv_mps_config *config;
    const struct dv_mps_spec *spec;
    char pipe[128], log[PATH_MAX];
    char pipe_env[160], log_env[PATH_MAX + 32], device_env[DV_UUID_SIZE + 32];
    const char *set[DV_TOOL_ENV_MAX];
};

/* Runs the control tool with these words (argv[0] included), which talks to this daemon. Like
 * dv_tool_run, but DV_ACTUATE_NOT_SUPPORTED where there is no such tool. */
int dv_mps_daemon_run(const struct dv_mps_at *m, const char *const *argv, const char *input,
                      uint32_t deadline_ms, char *out, int *ret_status, struct dv_err *err);

/* ---- protocol 3 (mps_named.c): spec->namespaces ---- */

bool dv_mps_named_answers(const struct dv_mps_at *m);
/* The server is there, and its default namespace has the limits of the spec. */
int dv_mps_named_prepare(const struct dv_mps_at *m, struct dv_err *err);
/* Its clients' contexts are gone: tells them so. */
int dv_mps_named_renew(const struct dv_mps_at *m, struct dv_err *err);
int dv_mps_named_status(const struct dv_mps_at *m, struct dv_mps_status *ret, struct dv_err *err);
/* A namespace with the limits of the spec; for clients that come later. */
int dv_mps_named_namespace(const struct dv_mps_at *m, const char *space, struct dv_err *err);
/* Through the door of the spec, if it has one: the way in, or no more. */
int dv_mps_door_change(const struct dv_mps_at *m, const char *space, bool put, struct dv_err *err);
/* It goes, and its clients end. */
int dv_mps_named_namespace_end(const struct dv_mps_at *m, const char *space, struct dv_err *err);

#endif
