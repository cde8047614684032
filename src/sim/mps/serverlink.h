/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the control daemon and a server that it started: a SOCK_SEQPACKET pair, the server's end
 * at descriptor DV_MPSLINK_FD, and server.log at DV_MPSLINK_LOG_FD.
 *
 *     server: HELLO (it is known to divvy-sim)    daemon: GO (divvy-sim knows it for a server)
 *     server: READY (its contexts are made)       daemon: QUIT (end now)
 *
 * A server whose daemon hangs up without QUIT goes on until its clients are gone.
 */
#ifndef DV_SIM_MPS_SERVERLINK_H
#define DV_SIM_MPS_SERVERLINK_H

#include "abi_sim_mps.h"

#define DV_MPSLINK_FD 3
#define DV_MPSLINK_LOG_FD 4

enum dv_mpslink_what {
    DV_MPSLINK_HELLO = 1,
    DV_MPSLINK_GO = 2,
    DV_MPSLINK_READY = 3,
    DV_MPSLINK_QUIT = 4,
};

struct dv_mpslink {
    uint32_t what;
    uint32_t n_devices; /* of GO */
    uint32_t device[DV_SIM_MPS_DEVICES_MAX];
    char name[DV_SIM_MPS_DEVICES_MAX][96];
};

#endif
