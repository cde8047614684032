/* SPDX-License-Identifier: Apache-2.0 */
/* After the samples are in: the plan, its replay, and the replay of a plan that has not seen what
 * it is replayed on. */
#ifndef DV_UI_AUDIT_WORK_H
#define DV_UI_AUDIT_WORK_H

#include "feed.h"
#include "policy/audit/audit_replay.h"

struct dv_audit_work {
    struct dv_audit_plan *plan;
    bool replayed; /* `replay` is there */
    struct dv_audit_replayed replay;
    /* Planned on one half of the time, replayed on the other, which the plan has not seen. */
    bool held_back;
    struct dv_audit_half {
        uint32_t gpus; /* that its plan needs */
        struct dv_audit_replayed other;
    } halves[2];
};

void dv_audit_work_done(struct dv_audit_work *w);
/* 0; -ENOMEM, -errno of the samples' file with a message. What Ctrl-C left out is not there. */
int dv_audit_work_do(struct dv_audit_feed *f, const struct dv_audit_wish *wish,
                     struct dv_audit_work *ret, struct dv_err *err);

#endif
