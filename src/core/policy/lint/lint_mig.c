/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lint/lint_mig.h"

#include "policy/mig_plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASKED_MAX 64u

/* "1c.3g.20gb" is made in a "3g.20gb". */
static const char *instance_name(const char *text, char buf[DV_MIG_NAME])
{
    struct dv_mig_name name;
    if (dv_mig_name_parse(text, &name, NULL) < 0 || !name.compute)
        return text;
    name.compute = 0;
    return dv_mig_name_format(&name, buf);
}

static const struct dv_mig_profile *find(const struct dv_mig_geometry *g, const char *text)
{
    char buf[DV_MIG_NAME];
    return dv_mig_profile_find(g, instance_name(text, buf), NULL);
}

/* The geometries that are meant: the model's, or all. */
static const struct dv_gpu_model *next_model(const struct dv_gpu_model *only, size_t *i)
{
    const struct dv_gpu_model *m;
    if (only)
        return (*i)++ ? NULL : only;
    while ((m = dv_gpu_model_at((*i)++)))
        if (m->mig)
            return m;
    return NULL;
}

bool dv_lint_mig_profile(const char *profile, const struct dv_gpu_model *model,
                         const char **ret_near)
{
    const char *names[DV_MIG_PROFILES_MAX * 32];
    const struct dv_gpu_model *m;
    size_t n = 0;
    *ret_near = NULL;
    for (size_t i = 0; (m = next_model(model, &i));) {
        if (m->mig && find(m->mig, profile))
            return true;
        for (uint32_t k = 0; m->mig && k < m->mig->n_profiles && n < DV_ARRAY_SIZE(names); k++)
            names[n++] = m->mig->profiles[k].name;
    }
    *ret_near = dv_str_nearest(profile, names, n);
    return false;
}

bool dv_lint_mig_id(uint32_t id, const struct dv_gpu_model *model)
{
    const struct dv_gpu_model *m;
    for (size_t i = 0; (m = next_model(model, &i));)
        if (m->mig && dv_mig_profile_by_id(m->mig, id))
            return true;
    return false;
}

/* How many of the profile fit on an empty GPU, where it is alone in the set. 0 or -ENOMEM. */
static int count_alike(const struct dv_mig_geometry *g, const struct dv_mig_instance *want,
                       size_t n, struct dv_lint_mig_answer *ret)
{
    struct dv_mig_plan plan = {0};
    for (size_t i = 1; i < n; i++)
        if (want[i].profile != want[0].profile)
            return 0;
    for (size_t k = 1; k < n; k++) {
        int r = dv_mig_plan_find(g, NULL, 0, want, k, &plan);
        if (r < 0)
            return r;
        if (plan.rule != DV_MIG_OK)
            break;
        ret->most = (uint32_t)k;
    }
    snprintf(ret->most_of, sizeof ret->most_of, "%s", g->profiles[want[0].profile].name);
    return 0;
}

/* On one model. 0 or -ENOMEM. */
static int try_model(const struct dv_gpu_model *m, const char *const *names, size_t n,
                     struct dv_lint_mig_answer *ret)
{
    struct dv_mig_instance want[ASKED_MAX];
    struct dv_mig_plan plan = {0};
    *ret = (struct dv_lint_mig_answer){.model = m, .result = DV_LINT_MIG_NO_MIG};
    if (!m->mig)
        return 0;
    for (size_t i = 0; i < n; i++) {
        const struct dv_mig_profile *p = find(m->mig, names[i]);
        if (!p) {
            ret->result = DV_LINT_MIG_NO_PROFILE;
            snprintf(ret->profile, sizeof ret->profile, "%.*s", DV_MIG_NAME - 1, names[i]);
            return 0;
        }
        want[i] = (struct dv_mig_instance){(uint32_t)(p - m->mig->profiles), DV_MIG_UNPLACED};
    }
    int r = dv_mig_plan_find(m->mig, NULL, 0, want, n, &plan);
    ret->result = plan.rule == DV_MIG_OK ? DV_LINT_MIG_FITS : DV_LINT_MIG_NO_ROOM;
    ret->refusal = plan.refusal;
    if (r == 0 && plan.rule != DV_MIG_OK)
        r = count_alike(m->mig, want, n, ret);
    return r;
}

int dv_lint_mig_set(const char *const *names, size_t n, const struct dv_gpu_model *model,
                    struct dv_lint_mig_answer *ret)
{
    const struct dv_gpu_model *m;
    struct dv_lint_mig_answer best = {.result = n ? DV_LINT_MIG_NO_MIG : DV_LINT_MIG_FITS,
                                      .model = model};
    n = DV_MIN(n, ASKED_MAX); /* so many never fit */
    for (size_t i = 0; best.result != DV_LINT_MIG_FITS && (m = next_model(model, &i));) {
        struct dv_lint_mig_answer one;
        int r = try_model(m, names, n, &one);
        if (r < 0)
            return r;
        /* Of several that cannot, the one that comes nearest. */
        if (one.result == DV_LINT_MIG_FITS || one.result > best.result ||
            (one.result == best.result && one.most > best.most))
            best = one;
    }
    *ret = best;
    return 0;
}

void dv_lint_mig_text(const struct dv_lint_mig_answer *a, struct dv_str *text)
{
    const struct dv_mig_refusal *f = &a->refusal;
    const char *model = a->model ? a->model->name : "a GPU";
    const char *profile = a->model && a->model->mig && f->profile < a->model->mig->n_profiles
                              ? a->model->mig->profiles[f->profile].name
                              : "";
    switch (a->result) {
    case DV_LINT_MIG_FITS:
        return;
    case DV_LINT_MIG_NO_MIG:
        dv_str_addf(text, "%s has no MIG", model);
        return;
    case DV_LINT_MIG_NO_PROFILE:
        dv_str_addf(text, "there is no MIG profile %s on the GPU that has the others", a->profile);
        return;
    case DV_LINT_MIG_NO_ROOM:
        break;
    }
    if (a->most_of[0])
        dv_str_addf(text, "%s holds at most %u %s", model, a->most, a->most_of);
    else if (f->rule == DV_MIG_RULE_MEMORY || f->rule == DV_MIG_RULE_COMPUTE)
        dv_str_addf(text, "%u %s slices are wanted and %s has %u", f->asked,
                    f->rule == DV_MIG_RULE_MEMORY ? "memory" : "compute", model, f->limit);
    else if (f->rule == DV_MIG_RULE_COUNT)
        dv_str_addf(text, "%s holds at most %u %s", model, f->limit, profile);
    else if (f->rule == DV_MIG_RULE_MEDIA)
        dv_str_addf(text, "%s has media engines for one of them only", model);
    else
        dv_str_addf(text, "no place is left for %s on %s", profile, model);
}
