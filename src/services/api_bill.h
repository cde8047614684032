/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of bills, usage and the ledger; api.c has the table. `permitted`: the caller sees all
 * tenants, and may back up, correct and rename. */
#ifndef DV_SERVICES_API_BILL_H
#define DV_SERVICES_API_BILL_H

#include "node.h"

void dv_api_bill_post(struct dv_node *node, struct dv_http_request *rq, bool permitted);
/* Without a query: what the daemon has counted since its state directory was made. */
void dv_api_bill_usage(struct dv_node *node, struct dv_http_request *rq, bool permitted);
void dv_api_bill_rows(struct dv_node *node, struct dv_http_request *rq, bool permitted);
void dv_api_bill_ledger(struct dv_node *node, struct dv_http_request *rq, bool permitted);
void dv_api_bill_backup(struct dv_node *node, struct dv_http_request *rq, bool permitted);
void dv_api_bill_correct(struct dv_node *node, struct dv_http_request *rq, bool permitted);
void dv_api_bill_rename(struct dv_node *node, struct dv_http_request *rq, bool permitted);

#endif
