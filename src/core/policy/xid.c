/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/xid.h"

enum dv_xid_kind dv_xid_kind(uint64_t xid)
{
    switch (xid) {
    case 43: /* reset of a channel after a program's fault */
    case 45: /* preemptive cleanup */
        return DV_XID_CLEANUP;
    case 13: /* graphics engine exception */
    case 31: /* GPU memory page fault */
        return DV_XID_APPLICATION;
    case 63: /* row remapping or page retirement recorded */
    case 92: /* high rate of corrected errors */
    case 94: /* contained memory error */
        return DV_XID_CONTAINED;
    case 48:  /* double-bit error */
    case 62:  /* an internal controller halted */
    case 64:  /* row remapping or page retirement failed */
    case 74:  /* NVLink */
    case 79:  /* fallen off the bus */
    case 95:  /* uncontained memory error */
    case 119: /* the GPU system processor does not answer */
    case 120: /* it failed */
        return DV_XID_FATAL;
    default:
        return DV_XID_OTHER;
    }
}

bool dv_xid_needs_reset(uint64_t xid)
{
    return dv_xid_kind(xid) == DV_XID_FATAL || xid == 94;
}
