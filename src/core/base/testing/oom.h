/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that runs out at the first, the second, the third... allocation, for tests. A test that
 * has oom_dep (Meson) gets its malloc, calloc and realloc from here, and so has all that it links
 * statically.
 *
 *     size_t n = 0;
 *     do {
 *         dv_oom_at(++n);
 *         r = life();
 *         met = dv_oom_end();
 *         assert_int_equal(r, met ? -ENOMEM : 0);
 *     } while (met);
 *     assert_in_range(n, 30, 1000);   it did try them
 */
#ifndef DV_BASE_TESTING_OOM_H
#define DV_BASE_TESTING_OOM_H

#include <stdbool.h>
#include <stddef.h>

/* The n-th allocation from here on fails, n >= 1; it alone. */
void dv_oom_at(size_t n);
/* Has it failed? */
bool dv_oom_met(void);
/* The same, and no allocation fails any more. */
bool dv_oom_end(void);

/* For the allocations of a library that has its own: true when this one is to fail. */
bool dv_oom_fails(void);
void *dv_oom_malloc(size_t size);
void *dv_oom_calloc(size_t n, size_t size);
void *dv_oom_realloc(void *old, size_t size);

#endif
