/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A claim is a request for a slice, before it has one. It waits in the queue of its node. The
 * claim and the slice that it becomes share one id, so that the number seen in the queue is the
 * number seen later in `divvy ps`.
 */
#ifndef DV_MODEL_CLAIM_H
#define DV_MODEL_CLAIM_H

#include "model/device.h"
#include "model/tenant.h"

#define DV_PRIORITY_MIN (-100)
#define DV_PRIORITY_MAX 100

enum dv_tier {
    DV_TIER_BEST_EFFORT,
    DV_TIER_LATENCY_CRITICAL,
};

enum dv_selector_kind {
    DV_SELECTOR_ANY,
    DV_SELECTOR_INDEX, /* "3" */
    DV_SELECTOR_UUID,  /* "GPU-..." or "MIG-...", whole or its beginning (8 letters at least) */
    DV_SELECTOR_MODEL, /* "A100-40GB", "a100", a product name */
};

struct dv_selector {
    enum dv_selector_kind kind;
    uint32_t index;
    char text[DV_UUID_SIZE]; /* as written, for INDEX and ANY too */
};

struct dv_claim {
    uint64_t id; /* from 1 */
    char tenant[DV_TENANT_SIZE];
    enum dv_mode mode;     /* AUTO: divvy chooses */
    uint64_t memory_bytes; /* 0: not said */
    uint32_t compute;      /* 1/7000 GPU; 0: not said */
    int32_t priority;      /* higher goes first */
    enum dv_tier tier;
    enum dv_trust trust;
    struct dv_selector gpu;
    bool wait;  /* false: refuse rather than queue */
    bool alone; /* on a device without other slices, and none come while it is there */
    uint64_t since_ns;
};

/* "any", an index, a UUID or its beginning, a model's name. 0, or -EINVAL with a message. Whether
 * such a GPU exists is the policy's question. */
int dv_claim_selector_parse(const char *text, struct dv_selector *ret, struct dv_err *err);
/* Does the selector mean this device of this GPU? */
bool dv_claim_selector_matches(const struct dv_selector *selector, const struct dv_gpu *gpu,
                               const struct dv_device *device);

/* "be", "lc". */
const char *dv_claim_tier_name(enum dv_tier tier);
int dv_claim_tier_parse(const char *text, enum dv_tier *ret, struct dv_err *err);

/* Are the claim's own fields sane (names, ranges)? 0, or -EINVAL, -ERANGE with a message. */
int dv_claim_check(const struct dv_claim *claim, struct dv_err *err);

#endif
