/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MPS control daemons, one for each device that is shared so: STATE/mps/NAME/{pipe,log}. Clients
 * come to one by CUDA_MPS_PIPE_DIRECTORY. A daemon outlives the process that started it: one that
 * answers is kept, with the limits that are asked for.
 *
 * Protocol 2, which all drivers speak, has one set of limits for a daemon. With spec.namespaces the
 * daemon speaks protocol 3 (driver 615): it has one server, "0", and each namespace in it has
 * limits of its own for who is given its folder, STATE/mps/NAME/pipe/0/NAMESPACE; the limits of the
 * spec are those of whoever has only .../pipe/0.
 *
 * A container is given a folder before its slice, and the slice's namespace, is there: a door,
 * STATE/doors/DOOR, that who owns STATE makes when it is known what the container is to have. With
 * spec.door, NAMESPACE links what is in the namespace's folder into it.
 *
 * Commands and what is printed: NVIDIA's MPS documentation.
 */
#ifndef DV_ACTUATE_MPS_H
#define DV_ACTUATE_MPS_H

#include "actuate/actuate.h"

#include <sys/types.h>

struct dv_mps_config {
    const char *tools, *state, *libcuda; /* as in struct dv_actuator_config */
    const char *const *set;              /* for the environment of tools; NULL at the end */
};

/* dv_actuate_mps with these. *ret is written on success. */
int dv_mps_run(const struct dv_mps_config *config, enum dv_mps_op op,
               const struct dv_mps_spec *spec, const char *argument, struct dv_mps_status *ret,
               struct dv_err *err);

/* STATE/mps/NAME/pipe. 0, or -ENAMETOOLONG with a message: a socket there would not be reachable.
 */
int dv_mps_pipe(const char *state, const char *name, char *ret, size_t size, struct dv_err *err);

#define DV_MPS_SERVER                                                                              \
    "0" /* the one named server of a daemon of protocol 3; short, as paths are                     \
         */

/* STATE/mps/NAME/pipe/0/NAMESPACE, of a name as it is given to DV_MPS_NAMESPACE. The driver takes
 * lowercase letters, digits and underscores; "s-7" becomes "s_7". 0, -EINVAL, -ENAMETOOLONG. */
int dv_mps_namespace_pipe(const char *state, const char *name, const char *space, char *ret,
                          size_t size, struct dv_err *err);

/* The door of who was allotted this unit of a device. */
void dv_mps_door_name(const char *unit, char ret[DV_MPS_DOOR_SIZE]);
/* Makes the folder, STATE/doors/DOOR, which only root and its owner find. 0, negative errno. */
int dv_mps_door_make(const char *state, const char *door, char *ret, size_t size,
                     struct dv_err *err);

/* How many clients a MIG device's daemon takes of the `whole` GPU's number, in proportion to its
 * compute slices, at least one (NVIDIA's MIG user guide, r580). */
uint32_t dv_mps_clients_of(uint32_t whole, uint32_t slices, uint32_t gpu_slices);

/* ---- pure; for tests ---- */

/* Pids, one a line. How many, at most `max`; -EPROTO: something else is there too. */
int dv_mps_parse_pids(const char *text, int32_t *ret, uint32_t max);
/* "50.0" -> 50, above 0 and up to 100, rounded. 0, -EPROTO. */
int dv_mps_parse_percent(const char *text, uint32_t *ret);
/* "ACTIVE", "FAULT", ... */
enum dv_mps_server_state dv_mps_parse_state(const char *text);

#endif
