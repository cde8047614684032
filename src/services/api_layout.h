/* SPDX-License-Identifier: Apache-2.0 */
/* The routes below /v1/layout; api.c has the table. `permitted`: the caller may change layouts. */
#ifndef DV_SERVICES_API_LAYOUT_H
#define DV_SERVICES_API_LAYOUT_H

#include "node.h"

void dv_api_layout_get(struct dv_node *node, struct dv_http_request *rq);
void dv_api_layout_plan(struct dv_node *node, struct dv_http_request *rq);
void dv_api_layout_assert(struct dv_node *node, struct dv_http_request *rq);
void dv_api_layout_apply(struct dv_node *node, struct dv_http_request *rq, bool permitted);
void dv_api_layout_undo(struct dv_node *node, struct dv_http_request *rq, bool permitted);
void dv_api_layout_export(struct dv_node *node, struct dv_http_request *rq);
void dv_api_layout_generate(struct dv_node *node, struct dv_http_request *rq);

#endif
