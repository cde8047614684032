/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lives of processes on GPUs: when each began and ended, and what it used. Lives that ended are
 * kept whatever NVML's accounting mode says, as the engine's truth for tests; NVML sees those that
 * began while the mode was on, until somebody has them cleared.
 *
 * As in NVIDIA's driver (its open kernel modules, gpu_acct.c): a process that has a context when
 * the mode is switched on is not accounted; switching it off forgets everything; of a pid that
 * comes again the latest life counts; a GPU in MIG mode has no accounting.
 */
#ifndef DV_SIM_SERVER_ACCOUNTING_H
#define DV_SIM_SERVER_ACCOUNTING_H

#include "server/node.h"

/* The process has a context on the GPU; the first one begins its life there. */
void dv_simaccounting_begin(const struct dv_simnode *node, const struct dv_simproc *p,
                            uint32_t gpu);
/* The process is no more; its contexts have been retired. */
void dv_simaccounting_end(struct dv_simnode *node, const struct dv_simproc *p);
/* NVML's accounting mode. */
void dv_simaccounting_set(struct dv_simnode *node, uint32_t gpu, bool on);
/* Lives that ended with a sequence number above `after`, oldest first. Returns how many. */
size_t dv_simaccounting_ended(const struct dv_simgpu *g, uint64_t after, struct dv_sim_life *ret,
                              size_t max);
/* What NVML has of the pid: its latest life. False: nothing. */
bool dv_simaccounting_find(const struct dv_simnode *node, uint32_t gpu, uint32_t pid,
                           struct dv_sim_life *ret);
/* A life in NVML's words; `now` is the end of one that goes on. */
void dv_simaccounting_describe(const struct dv_sim_life *life, uint64_t now,
                               struct dv_sim_nvml_accounted *ret);
void dv_simaccounting_done(struct dv_simnode *node);

#endif
