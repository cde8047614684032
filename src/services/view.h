/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's answers, as output trees and JSON: docs/reference/api.md in code. */
#ifndef DV_SERVICES_VIEW_H
#define DV_SERVICES_VIEW_H

#include "node.h"
#include "render/output.h"

struct dv_output *dv_view_status(struct dv_node *node);
struct dv_output *dv_view_usage(struct dv_node *node);
struct dv_output *dv_view_slices(struct dv_node *node);
struct dv_output *dv_view_queue(struct dv_node *node);
/* holding NULL: a tenant's. */
struct dv_output *dv_view_explain(struct dv_node *node, struct dv_holding *holding,
                                  const char *tenant);
/* state and verdict NULL: as they are now. `holding` may be NULL when it was refused at once. */
struct dv_output *dv_view_claim(struct dv_node *node, struct dv_holding *holding, const char *state,
                                const struct dv_verdict *verdict);

/* The devices of a GPU by their places, as people read them. Returns how many. */
size_t dv_view_devices(const struct dv_node *node, uint32_t gpu,
                       const struct dv_device *ret[DV_FACTS_MIG_MAX]);
/* "pids": those of the slice's processes with something on the GPU. */
void dv_view_add_pids(struct dv_output_node *parent, struct dv_holding *holding);

/* Sends and frees the tree. */
void dv_view_reply(struct dv_http_request *rq, unsigned status, struct dv_output *output);
void dv_view_reply_claim(struct dv_http_request *rq, unsigned status, struct dv_holding *holding,
                         const char *state, const struct dv_verdict *verdict);
/* 503 with the message: "starting" while a daemon that has just started asks its GPUs, so that who
 * asked does well to ask again; else "unavailable". */
void dv_view_reply_unavailable(const struct dv_node *node, struct dv_http_request *rq,
                               const char *message);
/* reason: a word for scripts; message: one line for people. */
void dv_view_reply_error(struct dv_http_request *rq, unsigned status, int exit_code,
                         const char *reason, const char *message);
/* A refusal by the policy: the error with the verdict in it. */
void dv_view_reply_refused(struct dv_http_request *rq, const struct dv_verdict *verdict);

#endif
