/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Main's side of the worker: asks, is called back, never waits. One question is under way at a
 * time. A worker that has not answered after the deadline (of facts the one given here, of changes
 * a longer one: dv_worker_deadline_ms) is wedged: it is replaced, after a
 * pause that grows from 1 s to 60 s, and the question fails with -ETIMEDOUT.
 *
 *     dv_hardware_link_new(loop, &keeper, 5000, on_state, self, &link);
 *     dv_hardware_link_ask(link, &(struct dv_worker_request){.op = DV_WORKER_GPU, .index = 0},
 *                          on_gpu, self);
 *
 * The callback gets the reply, valid during the call, or NULL and a negative errno. It is called by
 * the loop, never by dv_hardware_link_ask().
 */
#ifndef DV_WORKER_LINK_H
#define DV_WORKER_LINK_H

#include "sys/loop.h"
#include "worker/worker.h"

struct dv_hardware_link;

enum dv_hardware_link_state {
    DV_HARDWARE_LINK_STARTING = 0, /* a worker is on its way */
    DV_HARDWARE_LINK_OK = 1,
    DV_HARDWARE_LINK_WEDGED = 2,  /* it did not answer in time; the next one comes */
    DV_HARDWARE_LINK_CRASHED = 3, /* it died; the next one comes */
    DV_HARDWARE_LINK_ALONE = 4,   /* the keeper itself is gone: no next one will come */
};

typedef void dv_hardware_link_reply(void *arg, const struct dv_worker_reply *reply, int error);

int dv_hardware_link_new(struct dv_loop *loop, const struct dv_keeper *keeper, uint32_t deadline_ms,
                         dv_loop_callback *on_state, void *arg, struct dv_hardware_link **ret);
void dv_hardware_link_free(struct dv_hardware_link *link);
/* Queued behind the others; -ENOBUFS when too many wait. */
int dv_hardware_link_ask(struct dv_hardware_link *link, const struct dv_worker_request *request,
                         dv_hardware_link_reply *cb, void *arg);
enum dv_hardware_link_state dv_hardware_link_state(const struct dv_hardware_link *link);
/* How often a worker had to be replaced. */
uint32_t dv_hardware_link_replaced(const struct dv_hardware_link *link);

#endif
