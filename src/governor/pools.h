/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stream-ordered memory. A pool keeps what is freed, so what counts is what the pool has reserved
 * from the device: before an allocation the most that it can grow by is charged, and when no
 * allocation of the pool is under way its charge becomes what the driver says it holds.
 *
 *     dv_pools_settle();                     after a synchronization: pools may have shrunk
 *     if (dv_pools_give_back()) ...          trims all pools; true if that freed anything
 */
#ifndef DV_GOVERNOR_POOLS_H
#define DV_GOVERNOR_POOLS_H

#include <stdbool.h>
#include <stdint.h>

bool dv_pools_give_back(void);
void dv_pools_settle(void);
/* Memory of pool `index` was freed by a call that names no pool. */
void dv_pools_freed(unsigned index);
void dv_pools_forked(void);

#endif
