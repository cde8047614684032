/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers as holders of slices. Just before a container starts, divvy-hook says which devices it
 * is to have (container_request.h); each becomes a holding: its owner is the container's first
 * process, its tenant the pod's namespace. All or none: where one cannot be had, the container does
 * not start and the reason is the hook's. The answer waits until the driver's walls stand, and, for
 * DV_CONTAINERS_WAIT_NS at most, for devices that others are just leaving.
 *
 * From then on it is a slice like any other: the first process's end releases it, and a restart of
 * the daemon finds it again. The same container asking again (a hook that was cut off) gets the
 * same slices. What lies at the advertised device ids is not known here: the device plugin says.
 */
#ifndef DV_SERVICES_KUBERNETES_CONTAINERS_H
#define DV_SERVICES_KUBERNETES_CONTAINERS_H

#include "kubernetes/container_request.h"
#include "kubernetes/inside.h"
#include "node.h"

#define DV_CONTAINERS_WAIT_NS (10 * DV_NS_PER_S)
#define DV_CONTAINERS_FORMER 128u
#define DV_CONTAINERS_GRANTS_MAX 64u /* slices of one container, asked for at once */

/*
 * What these ids of a resource stand for. At most DV_CONTAINERS_GRANTS_MAX grants into `ret`; the
 * same ids always give the same. 0; -EINVAL or -ENOENT with a message for the pod's events.
 */
typedef int dv_containers_resolve(void *arg, const struct dv_container_request *request,
                                  struct dv_container_grant *ret, size_t *ret_n,
                                  struct dv_err *err);

int dv_containers_new(struct dv_containers **ret);
void dv_containers_free(struct dv_containers *containers);
/* The device plugin's; without one, requests have to say what their devices are. */
void dv_containers_set_resolver(struct dv_node *node, dv_containers_resolve *resolve, void *arg);

/* Asks the resolver, or, without one, the request itself. */
int dv_containers_grants(struct dv_node *node, const struct dv_container_request *request,
                         struct dv_container_grant *ret, size_t *ret_n, struct dv_err *err);

/* POST /v1/containers. */
void dv_containers_post(struct dv_node *node, struct dv_http_request *rq);
/* Who a slice is or was: of one that has ended only while it is one of the last
 * DV_CONTAINERS_FORMER. NULL: no container's. */
const struct dv_workload *dv_containers_workload(const struct dv_node *node, uint64_t slice);
/* A holding's state has changed; it is about to end, with that verdict (NULL: released). */
void dv_containers_changed(const struct dv_holding *holding);
void dv_containers_ended(const struct dv_holding *holding, const struct dv_verdict *verdict);
/* Gives up what waited too long; takes back the slices of containers that could not have all. */
void dv_containers_tick(struct dv_node *node, uint64_t now);

#endif
