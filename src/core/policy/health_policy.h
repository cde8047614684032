/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a GPU is sick, and when it is well again. One struct dv_health per GPU takes what happens to
 * it over time and says at any moment how it is, why, since when, and what brings it back.
 *
 *     dv_health_init(&h, now);
 *     dv_health_xid(&h, &switches, now, 48, mj);     // an event of the driver
 *     dv_health_observe(&h, &switches, now, &facts); // the driver has answered for this GPU
 *     if (!dv_health_is_well(h.verdict.health)) ... h.verdict.cause, .since_ns, .remedy
 *
 * A fault either stands for as long as the driver says so (lost, memory that waits for a reset, bad
 * rows without a spare), or until the GPU has started anew (XIDs after which nothing on it can be
 * relied on), or is over when it has happened (any other XID that counts, uncorrectable errors). A
 * GPU is well again with the first answer of the driver after all of them are over and the hold-off
 * has passed: none after the first fault that a reset has mended, DV_HEALTH_HOLD_NS after one that
 * went by itself. Who falls ill again within DV_HEALTH_FLAP_NS of being well waits twice as long
 * each time, DV_HEALTH_HOLD_MAX_NS at most.
 *
 * A driver that does not answer says nothing about its GPUs: they are unknown meanwhile, and with
 * the next answer what they were, without a hold-off.
 *
 * That a GPU has started anew is seen by its figures: what waited for a reset waits no more, its
 * counters (errors since then, energy) have fallen back, it was lost and is not, or its driver was
 * unloaded in between.
 *
 * Times are of one clock that only goes forward, in ns. Sources: NVIDIA's XID catalogue (xid.h),
 * "GPU Memory Error Management", and the README of NVIDIA/k8s-device-plugin (its switches).
 */
#ifndef DV_POLICY_HEALTH_POLICY_H
#define DV_POLICY_HEALTH_POLICY_H

#include "model/gpu.h"

#define DV_HEALTH_HOLD_NS (60 * UINT64_C(1000000000))
#define DV_HEALTH_HOLD_MAX_NS (3600 * UINT64_C(1000000000))
#define DV_HEALTH_FLAP_NS (3600 * UINT64_C(1000000000))
#define DV_HEALTH_XIDS 1024u /* larger numbers count as any that nobody has named */
#define DV_HEALTH_UNKNOWN UINT64_MAX
#define DV_HEALTH_UNKNOWN32 UINT32_MAX

/*
 * Which faults count: the NVIDIA device plugin's environment variables DP_DISABLE_HEALTHCHECKS and
 * DP_ENABLE_HEALTHCHECKS. Without them all XIDs do but those of programs (13, 31, 43, 45, 68, 109).
 */
struct dv_health_switches {
    bool all_off;  /* "all": no fault counts but that a GPU is lost or its driver does not answer */
    bool xids_off; /* "all", "xids": no XID counts that is not enabled by its number */
    bool xids_on;  /* enabled: "all", "xids": every XID counts, whatever else is said */
    uint64_t ignored[DV_HEALTH_XIDS / 64], enabled[DV_HEALTH_XIDS / 64]; /* bit sets of XIDs */
};

/* NULL, "": not set. Comma-separated; case does not matter. What is no number is passed over, as
 * the plugin does; the first such word goes to `bad` ("": none). */
#define DV_HEALTH_WORD 32
void dv_health_switches_read(const char *disable, const char *enable,
                             struct dv_health_switches *ret, char bad[DV_HEALTH_WORD]);
bool dv_health_switches_counts(const struct dv_health_switches *switches, uint64_t xid);

/* The one that people see first is the last here. In brackets: what verdict.n says. */
enum dv_health_cause {
    DV_HEALTH_NONE,
    DV_HEALTH_NOT_SEEN,      /* the driver has not been asked yet */
    DV_HEALTH_LINKS_DOWN,    /* NVLinks that were up and are not [how many]: degraded only */
    DV_HEALTH_ECC,           /* uncorrectable memory errors [how many were new] */
    DV_HEALTH_XID,           /* one that goes by itself [the XID] */
    DV_HEALTH_PAGES_PENDING, /* memory waits to be retired, */
    DV_HEALTH_ROWS_PENDING,  /* or its rows to be replaced, by a reset */
    DV_HEALTH_XID_RESET,     /* one after which a reset is due [the XID] */
    DV_HEALTH_ROWS_FAILED,   /* rows could not be replaced */
    DV_HEALTH_LOST,
    DV_HEALTH_DRIVER, /* the driver does not answer */
};

enum dv_health_remedy {
    DV_HEALTH_NOTHING, /* it is well */
    DV_HEALTH_TIME,    /* the fault is over: well with the first answer after until_ns */
    DV_HEALTH_RESET,   /* of the GPU, or a reboot */
    DV_HEALTH_REPLACE, /* of the card */
    DV_HEALTH_ANSWER,  /* the driver's */
    DV_HEALTH_LINKS,   /* that come up again */
};

struct dv_health_verdict {
    enum dv_gpu_health health;
    enum dv_health_cause cause;
    enum dv_health_remedy remedy;
    uint64_t n;
    uint64_t since_ns; /* when it became well, or stopped being well */
    uint64_t until_ns; /* TIME: the earliest that it can be well; else 0 */
    uint64_t hold_ns;  /* TIME: how long it is held out after the last sign; else 0 */
};

/* What the driver says of a GPU. Unknown stays unknown. */
struct dv_health_facts {
    bool lost;
    uint32_t rows_pending, rows_failed, pages_pending; /* 0, 1 */
    uint32_t links_up;
    uint64_t ecc_uncorrected, energy_mj; /* since the GPU started */
};

enum dv_health_driver {
    DV_HEALTH_DRIVER_ANSWERS,
    DV_HEALTH_DRIVER_SILENT,   /* wedged, or failing */
    DV_HEALTH_DRIVER_UNLOADED, /* GPUs start anew when it is loaded again */
};

struct dv_health {
    struct dv_health_verdict verdict; /* to be read by everybody; the rest is health_policy.c's */
    enum dv_health_driver driver;
    struct dv_health_facts facts; /* the last */
    bool seen;
    uint64_t seen_ns, lost_ns; /* when it was seen, and seen to be lost, last */
    uint32_t links_most;
    uint64_t reset_xid, reset_xid_ns; /* 0: none stands */
    uint64_t reset_xid_energy_mj;     /* the counter of energy soon after it */
    bool bad, soft;                   /* an illness goes on; a fault that goes by itself is in it */
    uint64_t bad_ns, soft_ns;         /* its last sign; that of the last such fault */
    uint64_t well_ns;                 /* when the last one ended; 0: there was none */
    uint32_t flaps;
    bool restarted; /* the last observation found that the GPU has started anew */
};

void dv_health_init(struct dv_health *h, uint64_t now_ns);
/* energy_mj: what the GPU's counter was when the XID was known; DV_HEALTH_UNKNOWN. */
void dv_health_xid(struct dv_health *h, const struct dv_health_switches *switches, uint64_t now_ns,
                   uint64_t xid, uint64_t energy_mj);
/* Between observations: it answers that the GPU is lost. */
void dv_health_lost(struct dv_health *h, uint64_t now_ns);
void dv_health_driver(struct dv_health *h, uint64_t now_ns, enum dv_health_driver driver);
/* The driver has answered, just now, for this GPU: the only way to be well again. */
void dv_health_observe(struct dv_health *h, const struct dv_health_switches *switches,
                       uint64_t now_ns, const struct dv_health_facts *facts);

/* May new work be placed on it, and is what runs there to be left? Unknown is not well. */
static inline bool dv_health_is_well(enum dv_gpu_health health)
{
    return health == DV_GPU_HEALTH_OK || health == DV_GPU_HEALTH_DEGRADED;
}

/* "xid", "gpu_lost", ...; "reset", ...: stable, for JSON and metrics. */
const char *dv_health_cause_name(enum dv_health_cause cause);
const char *dv_health_remedy_name(enum dv_health_remedy remedy);

#endif
