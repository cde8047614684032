/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/verdict.h"

const char *dv_verdict_result_name(enum dv_verdict_result result)
{
    static const char *const names[] = {[DV_VERDICT_GRANTED] = "granted",
                                        [DV_VERDICT_QUEUED] = "queued",
                                        [DV_VERDICT_REFUSED] = "refused"};
    return (size_t)result < DV_ARRAY_SIZE(names) ? names[result] : "unknown";
}

const char *dv_verdict_reason_name(enum dv_reason reason)
{
    static const char *const names[] = {
        [DV_REASON_FITS] = "fits",
        [DV_REASON_NO_MEMORY] = "no_memory",
        [DV_REASON_NO_COMPUTE] = "no_compute",
        [DV_REASON_BUSY] = "busy",
        [DV_REASON_UNHEALTHY] = "unhealthy",
        [DV_REASON_BEHIND] = "behind",
        [DV_REASON_FULL] = "full",
        [DV_REASON_DRAINING] = "draining",
        [DV_REASON_PREPARING] = "preparing",
        [DV_REASON_NO_GPU] = "no_gpu",
        [DV_REASON_NO_SUCH_GPU] = "no_such_gpu",
        [DV_REASON_TOO_LARGE_MEMORY] = "too_large_memory",
        [DV_REASON_TOO_LARGE_COMPUTE] = "too_large_compute",
        [DV_REASON_TOO_SMALL_MEMORY] = "too_small_memory",
        [DV_REASON_TOO_LARGE_PART] = "too_large_part",
        [DV_REASON_NO_SHARES] = "no_shares",
        [DV_REASON_UNTRUSTED] = "untrusted",
        [DV_REASON_NO_WALL] = "no_wall",
        [DV_REASON_LAYOUT] = "layout",
        [DV_REASON_MODE_UNSUPPORTED] = "mode_unsupported",
        [DV_REASON_MPS_DOWN] = "mps_down",
        [DV_REASON_NOT_WAITING] = "not_waiting",
        [DV_REASON_BELOW_USE] = "below_use",
        [DV_REASON_NO_ROOM] = "no_room",
        [DV_REASON_FIXED] = "fixed",
    };
    return (size_t)reason < DV_ARRAY_SIZE(names) ? names[reason] : "unknown";
}
