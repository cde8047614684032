/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPUs that were there and that the driver no longer counts: it was loaded anew after they had
 * fallen off the bus, or they were taken out, unbound or drained. The driver says nothing of such a
 * GPU, not even that it is lost; that it was there only divvyd knows.
 *
 *     for (size_t i = 0; (m = dv_missing_at(node, i)); i++) // status, doctor, metrics, the Node
 *         ... m->gpu.uuid, m->gpu.index, m->since_unix
 *
 * One is remembered, over restarts of the daemon and of the machine (the state directory), until
 * - the driver counts it again, or
 * - another GPU, which was not there before, is at its address: the card was replaced, or
 * - somebody says that it is gone for good: dv_missing_forget(), or
 * - as many as a node may have (DV_FACTS_GPUS_MAX) were missed after it.
 * It is told from the second look in a row on: a driver that is just being loaded may count GPUs
 * one by one. Nothing is remembered over a restart with another driver (a simulated one, or another
 * of those), nor with a simulator that the daemon starts itself.
 */
#ifndef DV_SERVICES_MISSING_H
#define DV_SERVICES_MISSING_H

#include "node.h"

struct dv_missing_gpu {
    struct dv_gpu gpu; /* as it was: its index may be another's by now */
    bool seen;         /* by this daemon, or one that wrote it down: its health is known */
    uint32_t looks;    /* in a row that have not found it; it is told from DV_MISSING_LOOKS on */
    int64_t since_unix;
};
#define DV_MISSING_LOOKS 2u

/* The i-th that is told; NULL: there are no more. Until the next look. */
const struct dv_missing_gpu *dv_missing_at(const struct dv_node *node, size_t i);
/* Is it one, told or not? */
bool dv_missing_has(const struct dv_node *node, const char *uuid);
/* Was it there at the last complete look, and is it not now? It may be missing, or one that the
 * driver counts and that has not answered, or does not say who it is. */
bool dv_missing_is_doubtful(const struct dv_node *node, const char *uuid);
/* Is there one that the next look decides about? */
bool dv_missing_is_open(const struct dv_node *node);
/* 0; -ENOENT: no such GPU is missing. */
int dv_missing_forget(struct dv_node *node, const char *uuid);

/* What the store knows; before the strangers write down anew who is there. Once, after that
 * nothing. */
void dv_missing_load(struct dv_node *node);
/* The health of one that is there: how it was is told when it is missing. */
void dv_missing_note(struct dv_node *node, const struct dv_gpu *gpu);
/* After a complete look at the hardware, when the health of all is known. */
void dv_missing_tick(struct dv_node *node);
void dv_missing_free(struct dv_node *node);

#endif
