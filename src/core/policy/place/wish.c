/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod with wishes could take of a node. */
#include "policy/place/internal.h"

int64_t dv_place_wish_value(struct dv_place *place, uint32_t kind, uint32_t node,
                            struct dv_cluster_taking *ret)
{
    return DV_PLACE_UNFIT + DV_PLACE_LACK_WALL;
}
