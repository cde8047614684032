/* SPDX-License-Identifier: Apache-2.0 */
/* The connection of a control daemon, or of a server, to divvy-sim ($DIVVY_SIM_SOCKET). */
#ifndef DV_SIM_MPS_NODE_H
#define DV_SIM_MPS_NODE_H

#include "abi_sim_mps.h"
#include "base/err.h"

/* A greeted connection of that kind; `ret` may be NULL. A file descriptor, or negative errno. */
int dv_mpsnode_connect(enum dv_sim_client kind, struct dv_sim_welcome *ret, struct dv_err *err);
/* One request. *ret_size: room, then what came; NULL = nothing is to come. Returns the status: 0,
 * a CUresult, or negative errno (-EPIPE: the node is gone). */
int dv_mpsnode_request(int fd, uint16_t op, const void *data, uint32_t size, void *ret,
                       uint32_t *ret_size);

#endif
