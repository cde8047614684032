/* SPDX-License-Identifier: Apache-2.0 */
/* Small helpers that every room uses. */
#ifndef DV_BASE_MACROS_H
#define DV_BASE_MACROS_H

#include <stddef.h>
#include <stdint.h>

#define DV_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define DV_MIN(a, b) ((a) < (b) ? (a) : (b))
#define DV_MAX(a, b) ((a) > (b) ? (a) : (b))

/* dv_cleanup(x_free) declares a local that is given to x_free(&local) at the end of its scope. */
#define dv_cleanup(f) __attribute__((cleanup(f)))
#define dv_printf(fmt, args) __attribute__((format(printf, fmt, args)))
/* What a shared library shows to the outside; everything else is hidden by -fvisibility. */
#define dv_public __attribute__((visibility("default")))

#define DV_NS_PER_US UINT64_C(1000)
#define DV_NS_PER_MS UINT64_C(1000000)
#define DV_NS_PER_S UINT64_C(1000000000)
#define DV_NEVER UINT64_MAX /* a point in time that does not come */

#define DV_KIB (UINT64_C(1) << 10)
#define DV_MIB (UINT64_C(1) << 20)
#define DV_GIB (UINT64_C(1) << 30)

/* Compute is counted in 1/7000 of a GPU: sevenths, quarters and thousandths are all exact. */
#define DV_COMPUTE_FULL 7000

#endif
