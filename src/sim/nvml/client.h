/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library's way to the divvy-sim server: a few connections, and the life of the library.
 *
 *     struct dv_sim_nvml_request q = dv_nvclient_request(gpu, gi, ci);
 *     int r = dv_nvclient_call(__func__, DV_SIM_NVML_DEVICE, &q, &device, sizeof(device), NULL);
 *
 * Any thread may call; every call has a connection of its own while it runs, so that one that
 * hangs holds up nobody else. After fork the child connects anew. All functions return an
 * enum dv_nvml_return.
 */
#ifndef DV_SIM_NVML_CLIENT_H
#define DV_SIM_NVML_CLIENT_H

#include "abi_nvml.h"
#include "abi_sim_nvml.h"

#include <stddef.h>

/* Counts; the first one connects. DRIVER_NOT_LOADED without a server. */
int dv_nvclient_init(const char *function);
/* UNINITIALIZED when not initialized. */
int dv_nvclient_shutdown(void);
/* SUCCESS or UNINITIALIZED. */
int dv_nvclient_ready(void);
/* What the server said of the node when the library was initialized. */
const struct dv_sim_nvml_node *dv_nvclient_node(void);

struct dv_sim_nvml_request dv_nvclient_request(uint32_t gpu, uint32_t gi, uint32_t ci);

/* Sends one request and takes the reply. At most `size` bytes of payload are kept; ret_size (may
 * be NULL) gets how many came. Payload shorter than `size` with ret_size NULL is an error:
 * UNKNOWN. */
int dv_nvclient_call(const char *function, enum dv_sim_nvml_op op, struct dv_sim_nvml_request *q,
                     void *reply, size_t size, size_t *ret_size);
/* The same with something behind the request. */
int dv_nvclient_call_more(const char *function, enum dv_sim_nvml_op op,
                          struct dv_sim_nvml_request *q, const void *more, size_t more_size,
                          void *reply, size_t size, size_t *ret_size);
/* EVENTS_WAIT. */
int dv_nvclient_wait(const char *function, struct dv_sim_nvml_request *q,
                     const struct dv_sim_nvml_wait *wait, struct dv_sim_nvml_event *ret);

#endif
