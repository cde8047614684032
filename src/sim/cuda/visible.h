/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CUDA_VISIBLE_DEVICES: which of a node's devices a process gets, and in which order. libcuda and
 * the MPS control daemon have the same rules.
 */
#ifndef DV_SIM_CUDA_VISIBLE_H
#define DV_SIM_CUDA_VISIBLE_H

#include "abi_sim.h"

/*
 * `all` is DEVICES' list: whole GPUs first, in order of index. `list` is the variable's value, NULL
 * when it is not set; what comes after the first word that names nothing is not seen. A process
 * sees one MIG device at most, and then nothing else. Writes indices into `all`, returns how many.
 */
uint32_t dv_visible_select(const struct dv_sim_device *all, uint32_t n, const char *list,
                           uint32_t *ret, uint32_t max);

#endif
