/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MIG on a simulated GPU: the mode with its reset rules, GPU instances, compute instances. What may
 * lie where comes from core/model and core/policy; this module keeps the state and answers as the
 * driver does.
 *
 *     uint32_t gi, ci;
 *     int r = dv_simmig_gi_create(node, 0, 9, DV_SIM_ANY, &gi);           // 3g.20gb
 *     if (r == DV_NVML_SUCCESS)
 *         r = dv_simmig_ci_create(node, 0, gi, DV_NVML_CI_3_SLICE, DV_SIM_ANY, &ci);
 *
 * All functions return an enum dv_nvml_return. Profiles of GPU instances are named by their id
 * (what `nvidia-smi mig -lgip` prints), those of compute instances by NVML's number. Outputs are
 * written on DV_NVML_SUCCESS only.
 *
 * The mode. Ampere: a change is pending until the GPU is reset; setting the mode resets an idle
 * GPU by itself, so that on an idle one it is at once active. Hopper and later: at once, or not at
 * all. In both cases a GPU that somebody uses keeps its mode, and *ret_activation says IN_USE.
 * Where the machine has no resets (node->no_reset; many virtual ones), Ampere's change stays
 * pending and *ret_activation says RESET_REQUIRED: a reboot makes it active. A reset destroys all
 * instances. (NVML API reference, nvmlDeviceSetMigMode; MIG user guide r580.)
 */
#ifndef DV_SIM_SERVER_MIG_H
#define DV_SIM_SERVER_MIG_H

#include "abi_nvml.h"
#include "server/node.h"

int dv_simmig_set_mode(struct dv_simnode *node, uint32_t gpu, uint32_t mode,
                       uint32_t *ret_activation);
/* A reset by hand: makes a pending mode active. IN_USE while a process is there; NOT_SUPPORTED
 * where the machine has no resets. */
int dv_simmig_reset(struct dv_simnode *node, uint32_t gpu);
/* The GPU comes up anew, by a reset or a reboot. */
void dv_simmig_restart(struct dv_simgpu *gpu);

/* The instances that are there, as core/policy wants them. Returns how many. */
size_t dv_simmig_instances(const struct dv_simgpu *gpu,
                           struct dv_mig_instance ret[DV_MIG_INSTANCES_MAX]);

/* start: a piece of the memory grid, or DV_SIM_ANY for the driver's own choice. INVALID_ARGUMENT:
 * no such profile, or not one of its starts; INSUFFICIENT_RESOURCES: no room there. */
int dv_simmig_gi_create(struct dv_simnode *node, uint32_t gpu, uint32_t profile_id, uint32_t start,
                        uint32_t *ret_gi);
/* IN_USE while it has compute instances. */
int dv_simmig_gi_destroy(struct dv_simnode *node, uint32_t gpu, uint32_t gi);

/* The compute profile with NVML's number, in a GPU instance of this kind. NOT_SUPPORTED. */
int dv_simmig_ci_profile(const struct dv_mig_geometry *geometry,
                         const struct dv_mig_profile *profile, uint32_t ci_profile,
                         struct dv_mig_compute_profile *ret);
/* Where such a compute instance may start, as a bit mask over the instance's compute slices. */
uint32_t dv_simmig_ci_starts(const struct dv_mig_profile *profile, uint32_t slices);
/* How many more of it fit. */
uint32_t dv_simmig_ci_free(const struct dv_simgi *gi, const struct dv_mig_profile *profile,
                           uint32_t slices);
int dv_simmig_ci_create(struct dv_simnode *node, uint32_t gpu, uint32_t gi, uint32_t ci_profile,
                        uint32_t start, uint32_t *ret_ci);
/* IN_USE while a process has a context there. */
int dv_simmig_ci_destroy(struct dv_simnode *node, uint32_t gpu, uint32_t gi, uint32_t ci);

#endif
