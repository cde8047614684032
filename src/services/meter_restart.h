/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went on while the daemon was down. The ledger's last flush says how far the counter of every
 * process was charged, and to whom (a checkpoint). A process that comes back is charged for what
 * its counter has grown by since; of one that does not, the driver's accounting tells
 * (meter_ended.h).
 */
#ifndef DV_SERVICES_METER_RESTART_H
#define DV_SERVICES_METER_RESTART_H

#include "node.h"

/* A part of the meter. */
struct dv_meter_restart {
    struct dv_meter_checkpoint *checkpoints;
    size_t n;
};

/* Reads the checkpoints. 0 or negative errno. */
int dv_meter_restart_load(struct dv_node *node, struct dv_meter_restart *r, struct dv_err *err);
/* Whether processes from before have neither come back yet, nor was told what they ran. */
bool dv_meter_restart_awaits(const struct dv_meter_restart *r);
/* A process has come back, and its counter says so much. Returns what it has run since it was
 * charged last, and how much had been charged by the driver's samples. */
uint64_t dv_meter_restart_returned(struct dv_meter_restart *r, uint64_t claim,
                                   const struct dv_proc_id *id, uint64_t counter_ns,
                                   uint64_t *ret_charged_ns);
/* It has shaken hands: is it one of those that are still to be charged for the time in between? */
bool dv_meter_restart_expects(struct dv_meter_restart *r, uint64_t claim,
                              const struct dv_proc_id *id);
/* Those that have not come back: their checkpoints hold until they do. `ret` has room for r->n. */
size_t dv_meter_restart_open(const struct dv_meter_restart *r, struct dv_ledger_checkpoint *ret);
/* One that has not come back yet was charged for so much more. False: there is none such. */
bool dv_meter_restart_charged(struct dv_meter_restart *r, uint64_t claim,
                              const struct dv_proc_id *id, uint64_t ns);
/* Asks for those that have ended and did not come back; of those that the driver's samples meter
 * also for the living, once. Not of one that is a member still: its counters tell more exactly, and
 * are read when it leaves. */
void dv_meter_restart_settle(struct dv_node *node, struct dv_meter_restart *r);
/* About one that has ended the driver has told, or will never. */
void dv_meter_restart_answered(struct dv_meter_restart *r, uint64_t claim,
                               const struct dv_proc_id *id);
void dv_meter_restart_done(struct dv_meter_restart *r);

#endif
