/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory cap of the slice: reserve, call the driver, commit or give back. Never above the cap,
 * not by a byte and not for a moment, over all threads and processes of the slice.
 *
 *     struct dv_charge c;
 *     int r = dv_charge_reserve(&c, bytes);               OUT_OF_MEMORY: would be too much
 *     if (r) return r;
 *     r = DV_ORIGINAL(cuMemAlloc_v2)(ret, bytes);
 *     if (r) return dv_charge_cancel(&c, r);
 *     return dv_charge_commit(&c, DV_SPACE_ADDRESS, *ret);
 *
 *     dv_charge_take(&c, DV_SPACE_ADDRESS, address);      before the driver frees: the address may
 *     return dv_charge_drop(&c, DV_ORIGINAL(cuMemFree_v2)(address));   be another's right after
 *
 * A request counts as the driver counts it: in units of 2 MiB from 1 MiB on, of 512 bytes below.
 * A short mutex guards the ledger and the process's turn at the reservation word; it is never held
 * across a call of the driver.
 */
#ifndef DV_GOVERNOR_CHARGE_H
#define DV_GOVERNOR_CHARGE_H

#include "ledger.h"

struct dv_charge {
    uint64_t bytes; /* reserved; rounded */
    struct dv_ledger_entry entry;
    bool taken; /* entry is one that dv_charge_take removed */
};

uint64_t dv_charge_round(uint64_t bytes);

/* 0, or DV_CUDA_ERROR_OUT_OF_MEMORY. Tries again after pools have given back what they cache. */
int dv_charge_reserve(struct dv_charge *c, uint64_t bytes);
/* Makes the charge `actual` (0 = not known: leaves it). 1: it does not fit, nothing changed. */
int dv_charge_true_up(struct dv_charge *c, uint64_t actual);
/* For contexts and code: what the driver says it took (NVML), if that is more. As above. */
int dv_charge_true_up_overhead(struct dv_charge *c);
int dv_charge_cancel(struct dv_charge *c, int r); /* gives back; returns r */
int dv_charge_commit(struct dv_charge *c, enum dv_space space, uint64_t key);

void dv_charge_take(struct dv_charge *c, enum dv_space space, uint64_t key);
/* r = 0: what was taken is free; else it goes back into the ledger. Returns r. */
int dv_charge_drop(struct dv_charge *c, int r);

/* Bare bytes, for bookkeeping of its own kind (pools). The same mutex; 0 or 1 = refused. */
int dv_charge_bytes(int64_t delta, bool overhead);
/* Under the mutex: `f(arg)` may use the ledger and dv_charge_locked_bytes. */
struct dv_ledger *dv_charge_lock(void);
int dv_charge_locked_bytes(int64_t delta, bool overhead);
void dv_charge_unlock(void);

/* All that ended with this context. */
void dv_charge_context_gone(void *context);
/* What the slice holds and may hold, in bytes. */
void dv_charge_slice(uint64_t *ret_used, uint64_t *ret_limit);
/* A new link with empty pages: what this process holds is charged there, whatever the cap. */
void dv_charge_again(void);
void dv_charge_forked(void);

#endif
