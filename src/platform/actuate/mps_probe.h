/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does MPS work here? Found out as a client finds out: by a context. Runs in a process of its own
 * (dv_tool.instead), since a broken daemon may never answer.
 */
#ifndef DV_ACTUATE_MPS_PROBE_H
#define DV_ACTUATE_MPS_PROBE_H

#include <sys/types.h>

#define DV_MPS_PROBE_MS 10000u
#define DV_MPS_PROBE_FULL 2 /* no client more is taken: CUDA_ERROR_MPS_MAX_CLIENTS_REACHED */

struct dv_mps_probe {
    const char *libcuda; /* "": "libcuda.so.1" */
    uid_t uid;           /* to become first; (uid_t)-1: as we are */
};

/* `arg` is the struct. 0, or 1 or PROBE_FULL with a line on stdout that says what failed. */
int dv_mps_probe_main(void *arg);

#endif
