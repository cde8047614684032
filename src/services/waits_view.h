/* SPDX-License-Identifier: Apache-2.0 */
/* Where the time went, as part of an explanation. */
#ifndef DV_SERVICES_WAITS_VIEW_H
#define DV_SERVICES_WAITS_VIEW_H

#include "node.h"
#include "render/output.h"

/* Adds since_unix, held_seconds, time[], queued_seconds and queue[] to the answer; nothing when
 * nothing was spent yet. */
void dv_waits_view_add(struct dv_output_node *root, const struct dv_time_spent *spent);

#endif
