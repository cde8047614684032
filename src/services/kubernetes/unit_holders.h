/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pods have which of the units that this node offers, as the kubelet says (its pod resources
 * API): also those whose containers never ask divvyd for a slice. Asked every DV_UNIT_HOLDERS_NS,
 * and when somebody wants to know it as of now.
 *
 *     dv_unit_holders_new(loop, "/var/lib/kubelet/pod-resources/kubelet.sock", &holders, &err);
 *     dv_unit_holders_tick(holders, now);
 *     for (i = 0; (h = dv_unit_holders_at(holders, i)); i++) ...
 */
#ifndef DV_SERVICES_KUBERNETES_UNIT_HOLDERS_H
#define DV_SERVICES_KUBERNETES_UNIT_HOLDERS_H

#include "base/err.h"
#include "base/units.h"
#include "sys/loop.h"

#include <stdbool.h>

#define DV_UNIT_HOLDERS_NS (10 * DV_NS_PER_S)
#define DV_UNIT_HOLDERS_MAX 65536u /* units that are remembered */

struct dv_unit_holder {
    const char *namespace, *pod, *container, *resource, *id;
};

struct dv_unit_holders;

/* The path is copied. 0; -ENAMETOOLONG, -ENOMEM with a message. */
int dv_unit_holders_new(struct dv_loop *loop, const char *path, struct dv_unit_holders **ret,
                        struct dv_err *err);
/* Accepts NULL. */
void dv_unit_holders_free(struct dv_unit_holders *holders);
void dv_unit_holders_tick(struct dv_unit_holders *holders, uint64_t now);
/* To be asked at the next tick. */
void dv_unit_holders_refresh(struct dv_unit_holders *holders);

/* Questions that have been answered, or that failed; one that was asked for now is over when it has
 * gone up. */
uint64_t dv_unit_holders_generation(const struct dv_unit_holders *holders);
/* The kubelet has answered the last question. */
bool dv_unit_holders_known(const struct dv_unit_holders *holders);
/* It has answered a question that was asked then or later. */
bool dv_unit_holders_as_of(const struct dv_unit_holders *holders, uint64_t when);
/* And that question was not asked while a kubelet that had been away may not have known its pods
 * yet: who is not listed has nothing. */
bool dv_unit_holders_settled(const struct dv_unit_holders *holders);
/* As the kubelet lists them; NULL past the end. Good until the loop goes on. */
const struct dv_unit_holder *dv_unit_holders_at(const struct dv_unit_holders *holders, size_t i);
/* Units of a resource that somebody has. */
uint32_t dv_unit_holders_count(const struct dv_unit_holders *holders, const char *resource);

#endif
