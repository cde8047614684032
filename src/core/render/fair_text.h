/* SPDX-License-Identifier: Apache-2.0 */
/* The words of queues' verdicts (policy/fair/fair.h): why a workload waits, what would change it.
 */
#ifndef DV_RENDER_FAIR_TEXT_H
#define DV_RENDER_FAIR_TEXT_H

#include "base/str.h"
#include "policy/fair/fair.h"

struct dv_fair_text_names {
    const char *(*queue)(uint32_t queue, const void *arg); /* DV_FAIR_ROOT too */
    const char *other; /* the holder of the reservation, where the verdict names one */
    const void *arg;
};

/* "12", "2.5", "0.14": units as GPUs, at most two decimals. Returns buf. */
#define DV_FAIR_TEXT_GPUS 32
const char *dv_fair_text_gpus(uint64_t units, char buf[DV_FAIR_TEXT_GPUS]);

/* One sentence or two, without a full stop at the end. now_ns: of the state's clock. */
void dv_fair_text(const struct dv_fair_verdict *v, const struct dv_fair_text_names *names,
                  uint64_t now_ns, struct dv_str *text);

#endif
