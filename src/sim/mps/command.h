/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of nvidia-cuda-mps-control (protocol 2), one a line, and the values in them:
 *
 *     struct dv_mpscommand c;
 *     if (dv_mpscommand_parse("set_active_thread_percentage 4711 12.5", &c, &err) < 0)
 *         puts(err.msg);
 *
 * Names and meanings: NVIDIA's MPS documentation, release 580. Pure: no I/O.
 */
#ifndef DV_SIM_MPS_COMMAND_H
#define DV_SIM_MPS_COMMAND_H

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

#define DV_MPSCOMMAND_LINE_MAX 4096u
#define DV_MPSCOMMAND_PARTITION 40u
#define DV_MPSCOMMAND_DEVICE 96u /* an index among the daemon's devices, or a UUID */

enum dv_mpscommand_verb {
    DV_MPSCMD_NOTHING = 0, /* an empty line */
    DV_MPSCMD_GET_SERVER_LIST,
    DV_MPSCMD_START_SERVER,
    DV_MPSCMD_SHUTDOWN_SERVER,
    DV_MPSCMD_GET_SERVER_STATUS,
    DV_MPSCMD_GET_CLIENT_LIST,
    DV_MPSCMD_GET_DEVICE_CLIENT_LIST,
    DV_MPSCMD_PS,
    DV_MPSCMD_TERMINATE_CLIENT,
    DV_MPSCMD_GET_DEFAULT_THREADS,
    DV_MPSCMD_SET_DEFAULT_THREADS,
    DV_MPSCMD_GET_THREADS,
    DV_MPSCMD_SET_THREADS,
    DV_MPSCMD_GET_DEFAULT_MEMORY,
    DV_MPSCMD_SET_DEFAULT_MEMORY,
    DV_MPSCMD_GET_MEMORY,
    DV_MPSCMD_SET_MEMORY,
    DV_MPSCMD_GET_DEFAULT_PRIORITY,
    DV_MPSCMD_SET_DEFAULT_PRIORITY,
    DV_MPSCMD_PARTITION_ADD,
    DV_MPSCMD_PARTITION_REMOVE,
    DV_MPSCMD_PARTITION_LIST,
    DV_MPSCMD_HELP,
    DV_MPSCMD_QUIT,
};

struct dv_mpscommand {
    enum dv_mpscommand_verb verb;
    uint32_t server, client; /* pids; 0 = not said */
    uint32_t uid;
    uint32_t threads; /* thousandths of a percent, 1 .. 100000 */
    int32_t priority; /* 0 normal, 1 below normal */
    bool force;
    bool has_timeout;
    uint32_t timeout_s;
    uint64_t bytes;
    char device[DV_MPSCOMMAND_DEVICE];
    uint32_t chunks;
    char partition[DV_MPSCOMMAND_PARTITION]; /* its id, without the device */
};

/* 0, or -EINVAL with what is wrong. */
int dv_mpscommand_parse(const char *line, struct dv_mpscommand *ret, struct dv_err *err);
/* All commands with what they take, a line each. */
void dv_mpscommand_help(struct dv_str *out);

/* "50", "12.5": in (0, 100], to a thousandth. 0, -EINVAL. */
int dv_mpscommand_threads(const char *text, uint32_t *ret);
/* "1G", "512M", also with B: binary units, as the driver has it. 0, -EINVAL. */
int dv_mpscommand_bytes(const char *text, uint64_t *ret);
/* What the driver makes of a limit when it is asked: whole G from 1 G on, else M; "0G": none. */
void dv_mpscommand_add_bytes(struct dv_str *out, uint64_t bytes);
void dv_mpscommand_add_threads(struct dv_str *out, uint32_t threads); /* "50.0" */

/*
 * The next "DEVICE=VALUE" of CUDA_MPS_PINNED_DEVICE_MEM_LIMIT; *at moves on. 0: there was one; 1:
 * the end; -EINVAL: not of this form.
 */
int dv_mpscommand_memory_entry(const char **at, char ret_device[DV_MPSCOMMAND_DEVICE],
                               uint64_t *ret_bytes);

#endif
