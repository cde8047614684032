/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `divvy run` and its likes ask for: the options that describe a slice, and the claim's body.
 *
 *     struct values { struct dv_wish wish; bool more; };
 *     static const struct dv_option options[] = {DV_WISH_OPTIONS(offsetof(struct values, wish))};
 *     body = dv_wish_claim(&v->wish, ui->argv);
 */
#ifndef DV_UI_RUN_WISH_H
#define DV_UI_RUN_WISH_H

#include "option.h"
#include "render/output.h"

struct dv_wish {
    const char *tenant, *mode, *tier, *trust, *gpu;
    uint64_t memory, wait_timeout;
    uint32_t compute;
    int64_t priority;
    bool no_wait;
};

/* clang-format off */
#define DV_WISH_OPTIONS(at)                                                                        \
    {"tenant", 't', "NAME", "who is charged; default: your user name", DV_OPTION_TEXT,             \
     (at) + offsetof(struct dv_wish, tenant)},                                                     \
    {"mode", 0, "MODE", "how the device is shared", DV_OPTION_CHOICE,                              \
     (at) + offsetof(struct dv_wish, mode), .choices = "auto|exclusive|governed|timeslice|mps"},   \
    {"memory", 'm', "SIZE", "memory of the slice", DV_OPTION_BYTES,                                \
     (at) + offsetof(struct dv_wish, memory)},                                                     \
    {"compute", 'c', "SHARE", "compute share of the slice", DV_OPTION_COMPUTE,                     \
     (at) + offsetof(struct dv_wish, compute)},                                                    \
    {"priority", 'p', "N", "place in the queue: higher first", DV_OPTION_INTEGER,                  \
     (at) + offsetof(struct dv_wish, priority), .min = -100, .max = 100, .otherwise = "0"},        \
    {"tier", 0, "TIER", "latency-critical or best-effort", DV_OPTION_CHOICE,                       \
     (at) + offsetof(struct dv_wish, tier), .choices = "lc|be"},                                   \
    {"trust", 0, "TRUST", "untrusted: only behind walls that no tenant can climb",                 \
     DV_OPTION_CHOICE, (at) + offsetof(struct dv_wish, trust), .choices = "trusted|untrusted"},    \
    {"gpu", 'g', "GPU", "which: an index, a UUID or its beginning, a model, any", DV_OPTION_TEXT,  \
     (at) + offsetof(struct dv_wish, gpu)},                                                        \
    {"no-wait", 0, NULL, "fail rather than wait", DV_OPTION_FLAG,                                  \
     (at) + offsetof(struct dv_wish, no_wait)},                                                    \
    {"wait-timeout", 0, "TIME", "wait at most so long, then end with 124", DV_OPTION_DURATION,     \
     (at) + offsetof(struct dv_wish, wait_timeout)}
/* clang-format on */

/* The claim's body; argv is the command, shown to others as far as it goes. */
struct dv_output *dv_wish_claim(const struct dv_wish *wish, char **argv);
/* When the waiting ends; DV_NEVER. */
uint64_t dv_wish_deadline(const struct dv_wish *wish);

#endif
