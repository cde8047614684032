/* SPDX-License-Identifier: Apache-2.0 */
/* An audit as a tree for -o json and csv, and as text for people. */
#ifndef DV_UI_AUDIT_ANSWER_H
#define DV_UI_AUDIT_ANSWER_H

#include "model/gpu_model.h"
#include "policy/audit/audit_group.h"
#include "work.h"

struct dv_audit_money {
    int64_t per_hour_micros; /* of a GPU; < 0: not said */
    const char *currency;
    int64_t month_hours;
    int64_t gpus;  /* that the fleet has; 0: as many as were in use at once */
    bool withheld; /* a price was said, and too much was lost to reckon with it */
};

struct dv_audit_answer {
    const struct dv_audit_feed *feed;
    const struct dv_audit_work *work;
    const struct dv_audit_wish *wish;
    const struct dv_gpu_model *model;
    struct dv_audit_money money;
};

/* Of the GPUs that are there now, the plan saves at least one: worth acting on. */
bool dv_audit_answer_worth(const struct dv_audit_answer *a);
/* With at most so many recommendations; all of them are made as they are printed (render/output.h,
 * dv_output_rows), from the answer, which has to live as long. NULL: no memory. */
#define DV_AUDIT_ANSWER_ALL UINT32_MAX
struct dv_output *dv_audit_answer_tree(const struct dv_audit_answer *a, uint32_t max);
/* The rows of -o csv, and of the longest table. */
extern const struct dv_table dv_audit_answer_view;
/* 0 or -ENOMEM. */
int dv_audit_answer_text(const struct dv_audit_answer *a, bool colour, struct dv_str *text);

/* ---- a fleet by its figures alone ----------------------------------------------------------- */

/* "training=4x4@95%", "chat:inference=6x1@20%": how many, or -EINVAL, -E2BIG with a message. */
int dv_audit_groups_parse(const char *text, struct dv_audit_group ret[DV_AUDIT_GROUPS_MAX],
                          struct dv_err *err);
/* money->gpus 0: as many as are asked for. *ret_worth: more than 30 % of the GPU time is idle. */
struct dv_output *dv_audit_groups_tree(const struct dv_audit_group *groups, size_t n,
                                       const struct dv_audit_money *money,
                                       const struct dv_audit_wish *wish, bool *ret_worth);
/* Text from the tree. 0 or -ENOMEM. */
extern const struct dv_table dv_audit_groups_view;
int dv_audit_groups_text(struct dv_output *o, bool colour, struct dv_str *text);

#endif
