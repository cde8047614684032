/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who used what: reads the counters of the arbiter, of the tenants' processes and of the driver,
 * tells them to the books (account/books.h), and takes what the books say to the ledger, to the
 * tenants and to the GPUs.
 *
 *     counters -> dv_meter_collect -> books -> charges -> ledger, node->tenants, holding->used,
 * tally
 *
 * The books are closed before anything changes (dv_node_apply()) and every two seconds; the ledger
 * is flushed then, and at the end of each minute.
 *
 * Over a restart: slices whose processes live go on, and so does their time. The ledger keeps with
 * each flush how far every process's own counter was charged; when a process comes back, what it
 * ran meanwhile is charged as one interval, from the last flush to now. Of one that ended meanwhile
 * the driver's accounting tells (meter_ended.h).
 */
#ifndef DV_SERVICES_METER_H
#define DV_SERVICES_METER_H

#include "node.h"

int dv_meter_new(struct dv_node *node);
/* Once slices from before the start are taken back: opens the books where the ledger ends. Until
 * their processes have come back, or for some seconds, that interval stays open. */
int dv_meter_start(struct dv_node *node);
void dv_meter_free(struct dv_node *node);

/* Reads a holding's counters; before its end. */
void dv_meter_holding(struct dv_holding *holding, uint64_t now);
/* All of them, and closes the books: before every reading. After a restart not before those who are
 * awaited have come back. */
void dv_meter_close(struct dv_node *node, uint64_t now);
/* Around every change of the snapshot: until now it was as it is; what is new is there from now. */
void dv_meter_changes(struct dv_node *node, uint64_t now);
void dv_meter_changed(struct dv_node *node);
/* How long ago the books went on after the daemon's start: at the last flush of the one before. */
uint64_t dv_meter_resumed_ago(const struct dv_node *node, uint64_t now);
/* Sums per account since the daemon's start. */
struct dv_books *dv_meter_books(struct dv_node *node); /* NULL before the first inventory */
struct dv_tally;
struct dv_tally *dv_meter_tally(const struct dv_node *node);

/* The driver's words: a process of a slice ran for so long; one of no slice did; a GPU's whole
 * device ran anything at all. */
void dv_meter_process_ran(struct dv_member *member, uint64_t ns);
void dv_meter_stray_ran(struct dv_holding *holding, const struct dv_proc_id *id, uint64_t ns);
/* A process from before a restart, back or not, was charged for so much of what the driver told. */
void dv_meter_was_charged(struct dv_node *node, uint64_t claim, const struct dv_proc_id *id,
                          uint64_t ns);
/* When a process hung up that lives, or is on its way out: what it ran before was told by itself,
 * or will be by the driver. Microseconds since 1970; 0: none such is known. */
uint64_t dv_meter_left_us(const struct dv_node *node, const struct dv_proc_id *id);
/* There is nothing more to be told of a process that has ended. */
void dv_meter_answered(struct dv_node *node, uint64_t claim, const struct dv_proc_id *id);
/* Of a process without a slice; `whose` pod it is, whose namespace is charged; NULL: nobody's. */
void dv_meter_outside_ran(struct dv_node *node, uint32_t gpu, const struct dv_workload *whose,
                          uint64_t ns);
void dv_meter_gpu_ran(struct dv_node *node, uint32_t gpu, uint64_t ns);

/* A process has shaken hands. One from before a restart: what it ran while nobody looked will be
 * charged. Before it is taken off the strays. */
void dv_meter_joined(struct dv_member *member);
/* It has ended: what was cut short is charged, and what it ran since the driver's last sample is
 * asked for. Before its slot goes. */
void dv_meter_left(struct dv_member *member, uint64_t now);

/* Before the loop sleeps: a process came or went, and a crash is to find it in the ledger. */
void dv_meter_soon(struct dv_node *node);
/* Every tick: flushes when it is time, rolls up when there is nothing else to do. */
void dv_meter_tick(struct dv_node *node, uint64_t now);
/* Now: for a daemon that stops, and for who reads the ledger. */
void dv_meter_flush(struct dv_node *node);

/* A slice's life for the ledger. */
void dv_meter_life(struct dv_holding *holding, enum dv_ledger_event event);

#endif
