/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The books of a node: told what was measured, they say who gets which part of each GPU's time.
 *
 *     dv_books_new(now, on_charge, self, &books);
 *     ...
 *     dv_books_busy(books, slice, 1200000, DV_QUALITY_EXACT);       as it is measured
 *     dv_books_close(books, snapshot, now);           before the snapshot changes, and each second
 *
 * close() divides the time since the last close among the slices, devices and buckets of the
 * snapshot that was in force (account/split.h) and hands each part to `on_charge`: for every GPU
 * they sum to that time, in whole nanoseconds. A GPU that has been seen and shows no more is
 * unhealthy for as long as the books live: it is paid for.
 *
 * What is measured may come after its slice has ended: what it still has coming is charged to its
 * account from the GPU's next interval, as if it were there without a share.
 *
 * Times are nanoseconds of one clock; a clock that goes back charges nothing. Not thread-safe.
 */
#ifndef DV_ACCOUNT_BOOKS_H
#define DV_ACCOUNT_BOOKS_H

#include "account/charge.h"
#include "model/snapshot.h"

#include <stdbool.h>

struct dv_books;

/* `slice` is its id, 0: the GPU's own time, or time outside of any slice. Loans for the call. */
typedef void dv_books_on_charge(void *arg, uint64_t slice, const struct dv_account *account,
                                const struct dv_charge *charge);

/* 0, -ENOMEM. */
int dv_books_new(uint64_t since_ns, dv_books_on_charge *on_charge, void *arg,
                 struct dv_books **ret);
void dv_books_free(struct dv_books *books);
/* When the books were closed last. */
uint64_t dv_books_since(const struct dv_books *books);

/* ---- what was measured since it was told last; device time ---- */

/* Of a slice of the snapshot, or of one that was there at an earlier close. `worse`: at most that
 * good; the mode may make it worse still. 0, -ENOMEM; -ENOENT: no such slice was ever seen. */
int dv_books_busy(struct dv_books *books, uint64_t slice, uint64_t ns, enum dv_quality worse);
void dv_books_wait(struct dv_books *books, uint64_t slice, uint64_t ns);
/* Switches and drains of a device that shares by turns. */
int dv_books_overhead(struct dv_books *books, const char *device, uint64_t ns);
/* How long a device ran anything at all: for MPS, whose clients overlap. */
int dv_books_ran(struct dv_books *books, const char *device, uint64_t ns);
/* Work on a GPU's whole device that belongs to no slice. `tenant`: who is known to do it all the
 * same, in its `pod` or ""; NULL: DV_ACCOUNT_OUTSIDE. */
int dv_books_outside(struct dv_books *books, const char *gpu, const char *tenant, const char *pod,
                     uint64_t ns);
/* Of a slice that ended before these books began: its account, as it was. 0, -ENOMEM, -ENOSPC. */
int dv_books_late(struct dv_books *books, const struct dv_account *account, const char *device,
                  uint64_t ns);
/* How busy time of this slice is measured now, if not as its mode has it (leases are off). */
void dv_books_source(struct dv_books *books, uint64_t slice, enum dv_source source,
                     enum dv_quality quality);

/* ---- the end of an interval ---- */

/* Until now the slices were those of the last note or close, from now on they are those of the
 * snapshot: for an interval that has to stay open over a change. Devices count as they are at its
 * close. 0, -ENOMEM. */
int dv_books_note(struct dv_books *books, const struct dv_snapshot *snapshot, uint64_t now_ns);

/* 0, -ENOMEM (the interval stays open), -EINVAL (a snapshot that cuts a GPU into more than it is:
 * its time is unallocated). */
int dv_books_close(struct dv_books *books, const struct dv_snapshot *snapshot, uint64_t now_ns);

/* The account that a slice's time goes to now. 0, -ENOENT. */
int dv_books_account(const struct dv_books *books, uint64_t slice, struct dv_account *ret);
/* Device time that was claimed beyond what there is, since the beginning: 0 where all is well. */
uint64_t dv_books_cut_ns(const struct dv_books *books);
/* Nanoseconds that slices, also ended ones, still have coming; and whose they are. */
uint64_t dv_books_pending_ns(const struct dv_books *books);
typedef void dv_books_on_pending(void *arg, const struct dv_account *account, const char *device,
                                 uint64_t ns);
void dv_books_pending(const struct dv_books *books, dv_books_on_pending *on_pending, void *arg);

#endif
