/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of docs/reference/api.md: who may, what was asked, what is answered. */
#ifndef DV_SERVICES_API_H
#define DV_SERVICES_API_H

#include "http/server.h"

/* A dv_http_handler; arg is the struct dv_node. */
void dv_api_handle(void *node, struct dv_http_request *rq);

#endif
