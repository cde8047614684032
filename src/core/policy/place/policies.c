/* SPDX-License-Identifier: Apache-2.0 */
/* The policies by name. */
#include "base/str.h"
#include "policy/place/internal.h"

#include <string.h>

static const struct dv_place_policy *const policies[] = {
    &dv_place_own,       &dv_place_fgd,        &dv_place_best_fit,
    &dv_place_packing,   &dv_place_clustering, &dv_place_dot_product,
    &dv_place_first_fit, &dv_place_spread,     &dv_place_random,
};

const struct dv_place_policy *dv_place_policy_at(size_t i)
{
    return i < DV_ARRAY_SIZE(policies) ? policies[i] : NULL;
}

const struct dv_place_policy *dv_place_policy_find(const char *name, struct dv_err *err)
{
    const char *names[DV_ARRAY_SIZE(policies)];
    for (size_t i = 0; i < DV_ARRAY_SIZE(policies); i++) {
        names[i] = policies[i]->name;
        if (!strcmp(name, names[i]))
            return policies[i];
    }
    dv_cleanup(dv_str_done) struct dv_str all = {0};
    for (size_t i = 0; i < DV_ARRAY_SIZE(names); i++)
        dv_str_addf(&all, "%s%s", i ? ", " : "", names[i]);
    const char *near = dv_str_nearest(name, names, DV_ARRAY_SIZE(names));
    dv_err_set(err, 0, "no placement policy '%s'%s%s%s; there are %s", name,
               near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "",
               dv_str_get(&all));
    return NULL;
}
