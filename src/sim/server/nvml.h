/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the server's NVML part: what nvml.c (the node, devices, events), nvml_mig.c (instances)
 * and accounting.c (what processes used) share. The way in is dv_simnvml_handle() of node.h; the
 * requests are in abi_sim_nvml.h.
 *
 * A handler reads the request, writes what it has to say with dv_simnvml_put(), and returns an
 * enum dv_nvml_return. request->gpu is below node->n_gpus where the operation has a GPU.
 */
#ifndef DV_SIM_SERVER_NVML_H
#define DV_SIM_SERVER_NVML_H

#include "abi_nvml.h"
#include "abi_sim_nvml.h"
#include "server/mig.h"
#include "server/node.h"

struct dv_simnvml_call {
    struct dv_simnode *node;
    const struct dv_simclient *client;
    const struct dv_sim_nvml_request *request; /* gpu: of the node, not of the client's view */
    const struct dv_sim_nvml_wait *wait;       /* EVENTS_WAIT only */
    const struct dv_sim_nvml_limits *limits;   /* LIMITS_* only */
    struct dv_simreply *reply;
    bool again; /* set by a handler: no answer yet */
};

/* Appends to the reply's payload; what does not fit is left out. */
void dv_simnvml_put(struct dv_simnvml_call *call, const void *data, size_t size);
/* May this client change the hardware? root, and whoever runs the simulation; nobody in a
 * container, where a real driver asks for capabilities that containers do not have. */
bool dv_simnvml_may_change(const struct dv_simnvml_call *call);
/* "NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb" without the product: "MIG 1c.3g.20gb". */
void dv_simnvml_mig_name(const struct dv_simgpu *gpu, const struct dv_simgi *gi,
                         const struct dv_simci *ci, char ret[DV_SIM_NVML_NAME]);

/* The operations ACCOUNTING_*. */
int dv_simnvml_accounting(struct dv_simnvml_call *call, enum dv_sim_nvml_op op);
/* The operations SET_MIG to CI_LIST. */
int dv_simnvml_mig(struct dv_simnvml_call *call, enum dv_sim_nvml_op op);

#endif
