/* SPDX-License-Identifier: Apache-2.0 */
/* What holds a tenant inside its slice, in words: the mechanism, and what it does not hold. */
#ifndef DV_SERVICES_WALLS_TEXT_H
#define DV_SERVICES_WALLS_TEXT_H

#include "node.h"

/* Of one line each, without an end. */
const char *dv_walls_text_memory(const struct dv_node *node, const struct dv_slice *slice);
const char *dv_walls_text_compute(const struct dv_node *node, const struct dv_slice *slice);
/* What both leave open; NULL: nothing. */
const char *dv_walls_text_shared(const struct dv_slice *slice);

#endif
