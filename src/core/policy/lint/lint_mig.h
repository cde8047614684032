/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can a GPU be cut so? With a model that is one question, without one it is asked of all models
 * that have the profiles: what none of them can do, nobody can.
 *
 *     dv_lint_mig_profile("3g.20gb", model, &near)          is there such a profile?
 *     dv_lint_mig_set("3g.20gb,3g.20gb,3g.20gb", model, &answer)
 */
#ifndef DV_POLICY_LINT_LINT_MIG_H
#define DV_POLICY_LINT_LINT_MIG_H

#include "base/str.h"
#include "model/gpu_model.h"
#include "model/mig.h"

/* Has the model (NULL: any model) a profile of this name? *ret_near: one that looks like it, of the
 * model, or NULL. */
bool dv_lint_mig_profile(const char *profile, const struct dv_gpu_model *model,
                         const char **ret_near);
/* Has any model an instance profile of this number? */
bool dv_lint_mig_id(uint32_t id, const struct dv_gpu_model *model);

enum dv_lint_mig_result {
    DV_LINT_MIG_FITS,
    DV_LINT_MIG_NO_MIG,     /* the model has none */
    DV_LINT_MIG_NO_PROFILE, /* `profile`; without a model: no single model has all of them */
    DV_LINT_MIG_NO_ROOM,
};
struct dv_lint_mig_answer {
    enum dv_lint_mig_result result;
    char profile[DV_MIG_NAME];        /* NO_PROFILE */
    const struct dv_gpu_model *model; /* NO_ROOM: of which `refusal` is */
    uint32_t most;                    /* NO_ROOM by too many of one profile: how many fit */
    char most_of[DV_MIG_NAME];
    struct dv_mig_refusal refusal;
};

/* names: profiles or their ids, one for each instance; compute parts ("1c.3g.20gb") count as their
 * GPU instance. 0 or -ENOMEM. */
int dv_lint_mig_set(const char *const *names, size_t n, const struct dv_gpu_model *model,
                    struct dv_lint_mig_answer *ret);
/* Why it does not fit, in words: "3g.20gb: 4 asked, and a GPU holds 2 (A100-40GB)". */
void dv_lint_mig_text(const struct dv_lint_mig_answer *answer, struct dv_str *text);

#endif
