/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/audit_group.h"

#include <string.h>

bool dv_audit_group_kind(const char *word, enum dv_advise_kind *ret)
{
    static const struct {
        const char *word;
        enum dv_advise_kind kind;
    } kinds[] = {{"training", DV_ADVISE_TRAINING},
                 {"inference", DV_ADVISE_INFERENCE},
                 {"interactive", DV_ADVISE_INTERACTIVE},
                 {"notebook", DV_ADVISE_INTERACTIVE},
                 {"batch", DV_ADVISE_BATCH}};
    for (size_t i = 0; i < DV_ARRAY_SIZE(kinds); i++) {
        size_t n = strlen(kinds[i].word);
        if (strncmp(word, kinds[i].word, n) != 0 || (word[n] && strcmp(word + n, "s") != 0))
            continue;
        *ret = kinds[i].kind;
        return true;
    }
    return false;
}

bool dv_audit_group_is_busy(const struct dv_audit_group *g)
{
    return g->busy_milli >= DV_AUDIT_TRAINING_MEAN * 1000;
}

/* 1/7000 of a GPU, rounded up. */
static uint32_t compute_of(const struct dv_audit_group *g)
{
    return (uint32_t)(((uint64_t)g->busy_milli * DV_COMPUTE_FULL + 99999) / 100000);
}

void dv_audit_group_judge(const struct dv_audit_group *g, const struct dv_audit_wish *wish,
                          struct dv_audit_choice *ret)
{
    struct dv_mode_needs needs = {
        .whole = g->gpus > 1,
        .training = g->kind == DV_ADVISE_TRAINING || dv_audit_group_is_busy(g),
        .trust = wish->trust,
        .isolation = dv_audit_judge_isolation(wish),
        .serves = g->kind == DV_ADVISE_INFERENCE,
        .interactive = g->kind == DV_ADVISE_INTERACTIVE,
    };
    dv_audit_judge_needs(&needs, wish, 0, compute_of(g), ret);
}

/* GPUs that so many of one mode fill by their sums; or one each, where no two fit on one. */
struct held {
    uint64_t busy_milli, alone;
};

uint64_t dv_audit_group_gpus(const struct dv_audit_group *groups, size_t n,
                             const struct dv_audit_wish *wish)
{
    uint64_t gpus = 0, slices = 0, room = (uint64_t)(DV_COMPUTE_FULL - wish->headroom) * 100000;
    struct held held[DV_SHARING_MODES] = {{0}};
    for (size_t i = 0; i < n; i++) {
        uint64_t count = groups[i].count, busy = groups[i].busy_milli;
        struct dv_audit_choice c;
        dv_audit_group_judge(&groups[i], wish, &c);
        if (c.mode == DV_SHARING_EXCLUSIVE) {
            gpus += count * groups[i].gpus;
        } else if (c.mode == DV_SHARING_MIG) {
            slices += count * wish->mig->profiles[c.profile].slices;
        } else {
            held[c.mode].busy_milli += count * busy;
            held[c.mode].alone += 2 * busy * DV_COMPUTE_FULL > room ? count : 0;
        }
    }
    if (slices)
        gpus += (slices + wish->mig->slices - 1) / wish->mig->slices;
    for (int m = 0; m < DV_SHARING_MODES; m++)
        gpus += DV_MAX((held[m].busy_milli * DV_COMPUTE_FULL + room - 1) / room, held[m].alone);
    return gpus;
}
