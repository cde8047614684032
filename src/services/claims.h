/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A claim's life. It belongs to a process; when that ends, however it ends, the claim is withdrawn
 * or the slice released. A slice is released once its owner has gone or let go AND no process of it
 * is left; what is left of a workload whose owner has gone gets SIGTERM, and SIGKILL 5 s later.
 *
 *     r = dv_claims_submit(node, &request, &verdict, &holding, &err);
 *     if (r == 0 && verdict.result == DV_VERDICT_REFUSED) ... holding is NULL
 */
#ifndef DV_SERVICES_CLAIMS_H
#define DV_SERVICES_CLAIMS_H

#include "node.h"

struct dv_claims_request {
    struct dv_claim claim; /* without id and since */
    struct dv_proc_id owner;
    uint32_t uid;
    char command[DV_STORE_COMMAND_SIZE];
    const struct dv_workload *workload; /* of a container; copied; else NULL */
};

/* 0; -EAGAIN the hardware is not known (yet); -ENOSPC too many claims; -ESRCH the owner is gone. */
int dv_claims_submit(struct dv_node *node, const struct dv_claims_request *request,
                     struct dv_verdict *ret_verdict, struct dv_holding **ret, struct dv_err *err);
/* The owner (or somebody who may) takes it back: withdrawn, or released when its processes end. */
void dv_claims_let_go(struct dv_holding *holding);
/* Ends the workload of a slice: SIGTERM, and SIGKILL 5 s later; then the slice is released. */
void dv_claims_evict(struct dv_holding *holding, const char *reason);
/* Grants, or refuses, whatever can be now; then tells those who wait about their places. */
void dv_claims_pump(struct dv_node *node);
/* Refuses all that wait for the MPS daemon of this device, which does not start. */
void dv_claims_refuse_mps(struct dv_node *node, const char *device, const char *why);
/* Place in the queue from 1; 0 when it does not wait. */
uint32_t dv_claims_position(const struct dv_node *node, const struct dv_holding *holding);
/* What the policy says about a waiting claim now; GRANTED of a slice. */
void dv_claims_verdict(const struct dv_node *node, const struct dv_holding *holding,
                       struct dv_verdict *ret);
/* The driver's walls of an ARMING claim are up, or cannot be raised. */
void dv_claims_armed(struct dv_holding *holding, bool up);
/* Live change; sizes of 0 stay. 0 and a verdict; negative errno when the pages are gone. */
int dv_claims_limit(struct dv_holding *holding, uint64_t memory_bytes, uint32_t compute,
                    struct dv_verdict *ret);
/* The number of a device's time-slices has changed: turns are equal, so each slice on it becomes
 * one of so many parts. Memory that a wall holds stays as it is. */
void dv_claims_equalize(struct dv_node *node, const struct dv_device *device);
/* Signals the workload: members, strays, and the owner's descendants. Returns how many. */
size_t dv_claims_signal(struct dv_holding *holding, int signo);
void dv_claims_signal_process(struct dv_node *node, const struct dv_proc_id *id, int signo);
/* After a restart: takes a row of the store back. 0 or negative errno. */
int dv_claims_restore(struct dv_node *node, const struct dv_store_claim *row, struct dv_err *err);
/* After all rows and processes are back: ends what lost its owner meanwhile. */
void dv_claims_settle(struct dv_node *node);
/* Releases what has ended; kills what has to end. Called by the node's tick, and by tenants.c when
 * a process has gone. The holding may be gone afterwards. */
void dv_claims_check_end(struct dv_holding *holding, uint64_t now);
void dv_claims_tick(struct dv_node *node, uint64_t now);
/* "queued", "granted", "ending". */
const char *dv_claims_state_name(const struct dv_holding *holding);
/* Keeps rq until state or position change, or until_ns. 0, -ENOMEM. */
int dv_claims_wait(struct dv_holding *holding, struct dv_http_request *rq, uint64_t until_ns);
/* All of them, at the end; the store keeps them. */
void dv_claims_free(struct dv_node *node);

#endif
