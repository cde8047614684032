/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer of the policy: what, why, and the numbers behind it. It carries no sentence; the words
 * are in render/verdict_text.h. A reason's name ("no_memory") is part of the API.
 */
#ifndef DV_POLICY_VERDICT_H
#define DV_POLICY_VERDICT_H

#include "model/claim.h"

enum dv_verdict_result {
    DV_VERDICT_GRANTED,
    DV_VERDICT_QUEUED,  /* not now; when others leave, yes */
    DV_VERDICT_REFUSED, /* never on this node as it is */
};

/* In brackets: the operands that are set. `gpu` is set where one GPU is meant, else -1. */
enum dv_reason {
    DV_REASON_FITS, /* granted [gpu, asked_*, free_*: before the grant] */

    /* queued */
    DV_REASON_NO_MEMORY,  /* [asked_bytes, free_bytes: most on one device, gpu] */
    DV_REASON_NO_COMPUTE, /* [asked_compute, free_compute: most on one device, gpu] */
    DV_REASON_BUSY,       /* device held in a way that leaves no room [gpu, holder, mode] */
    DV_REASON_UNHEALTHY,  /* the only GPUs that would do have failed [gpu] */
    DV_REASON_BEHIND,     /* it would fit, but who came first could use that device [holder: who] */
    DV_REASON_FULL,       /* no further slice, whatever its size [replicas: most, mode, gpu] */
    DV_REASON_DRAINING,   /* the layout is changing the only devices that might do [gpu] */
    DV_REASON_PREPARING,  /* it fits; the device's MPS daemon is being started [gpu, asked_*] */

    /* refused */
    DV_REASON_NO_GPU,            /* the node has none */
    DV_REASON_NO_SUCH_GPU,       /* nothing matches the selector [text] */
    DV_REASON_TOO_LARGE_MEMORY,  /* [asked_bytes, limit_bytes: of the largest device, gpu] */
    DV_REASON_TOO_LARGE_COMPUTE, /* [asked_compute, limit_compute, gpu] */
    /* a context alone needs more [asked_bytes, limit_bytes; of a part of `replicas`,
     * limit_replicas: so many would do] */
    DV_REASON_TOO_SMALL_MEMORY,
    DV_REASON_TOO_LARGE_PART, /* MPS parts are equal, none is larger [asked_*, limit_*, replicas] */
    DV_REASON_NO_SHARES, /* time-slices are equal turns [asked_compute, limit_compute, replicas] */
    DV_REASON_UNTRUSTED, /* no wall that holds it is to be had [mode, mps_would_do] */
    DV_REASON_NO_WALL,   /* the driver's wall could not be raised [gpu, detail: why] */
    DV_REASON_LAYOUT,    /* the layout keeps all such devices for another mode [mode, gpu] */
    DV_REASON_MODE_UNSUPPORTED, /* this GPU cannot be shared in that mode [mode, gpu] */
    DV_REASON_MPS_DOWN,         /* the device's MPS daemon does not start [gpu, detail] */
    DV_REASON_NOT_WAITING,      /* it would have to wait and was told not to [because, ...] */

    /* a live change of limits */
    DV_REASON_BELOW_USE, /* refused [asked_bytes, limit_bytes: in use] */
    DV_REASON_NO_ROOM,   /* refused [asked_*, free_*: what could be added to it, gpu] */
    /* refused: the size is the device's, an equal part, or a time-slice without a memory wall [gpu,
     * mode] */
    DV_REASON_FIXED,
};

struct dv_verdict {
    enum dv_verdict_result result;
    enum dv_reason reason;
    enum dv_reason because; /* of NOT_WAITING: why it would have waited */
    int32_t gpu;
    enum dv_mode mode;
    uint64_t asked_bytes, free_bytes, limit_bytes;
    uint32_t asked_compute, free_compute, limit_compute; /* 1/7000 GPU */
    uint32_t replicas, limit_replicas;
    uint32_t position;       /* in the queue, from 1; 0: not in it */
    bool mps_would_do;       /* MPS of any size has the driver's walls, under a layout */
    bool new_processes_only; /* a changed limit that running processes do not take over */
    uint64_t holder_id;
    char holder[DV_TENANT_SIZE];
    char text[DV_UUID_SIZE]; /* the selector as written */
    char detail[200];        /* what a driver said */
};

/* "granted", "queued", "refused". */
const char *dv_verdict_result_name(enum dv_verdict_result result);
/* "no_memory", ...: stable, for JSON, logs and metrics. */
const char *dv_verdict_reason_name(enum dv_reason reason);

#endif
