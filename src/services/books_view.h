/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the metrics show of the books and of the ledger, behind one door: totals that only grow, of
 * everything that was charged since the daemon was started. What is not kept is not there (false,
 * or no call).
 *
 * The pointers that a callback gets are loans for the call.
 */
#ifndef DV_SERVICES_BOOKS_VIEW_H
#define DV_SERVICES_BOOKS_VIEW_H

#include "account/charge.h"

struct dv_node;

/* The totals of an account. gpu "": it was charged before the daemon knew on which. */
struct dv_books_total {
    const char *tenant, *gpu, *profile; /* gpu: the physical one's uuid */
    enum dv_mode mode;
    enum dv_quality quality; /* of busy_ns */
    uint64_t busy_ns, reserved_idle_ns, wait_ns;
    uint64_t requested_ns; /* GPU time held */
    uint64_t byte_seconds;
};
typedef void dv_books_on_total(void *arg, const struct dv_books_total *total);
/* Of tenants; an account may come in several parts, which add up. */
void dv_books_view_totals(const struct dv_node *node, dv_books_on_total *cb, void *arg);

/* A GPU's time by bucket. False: not kept. */
struct dv_books_gpu {
    uint64_t busy_ns, overhead_ns, reserved_idle_ns, unallocated_ns, unhealthy_ns;
};
bool dv_books_view_gpu(const struct dv_node *node, const char *gpu_uuid, struct dv_books_gpu *ret);

/* How long `tenant` has waited for `holder`. */
typedef void dv_books_on_wait(void *arg, const char *tenant, const char *holder, uint64_t ns);
void dv_books_view_waits(const struct dv_node *node, dv_books_on_wait *cb, void *arg);

/* basis: "used", "requested", "fixed", "max". */
typedef void dv_books_on_cost(void *arg, const char *tenant, const char *currency,
                              const char *basis, uint64_t micros);
void dv_books_view_costs(const struct dv_node *node, dv_books_on_cost *cb, void *arg);

struct dv_books_ledger {
    uint64_t blocks, bytes;
    bool up;                 /* the last flush was written */
    int64_t last_flush_unix; /* 0: never */
};
bool dv_books_view_ledger(const struct dv_node *node, struct dv_books_ledger *ret);

#endif
