/* SPDX-License-Identifier: Apache-2.0 */
/* What a layout takes from the device plugin's configuration: a rule for each shared resource. */
#include "layoutfile/plugin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int add_rule(struct dv_layoutfile_reader *in, const struct dv_yaml_node *item,
                    const struct dv_plugin_share *share, struct dv_layout_rule *rule)
{
    rule->count = share->count;
    rule->n_list = share->n_list;
    rule->list = NULL;
    if (share->n_list) {
        rule->list = calloc(share->n_list, sizeof *rule->list);
        if (!rule->list)
            return -ENOMEM;
        memcpy(rule->list, share->list, share->n_list * sizeof *rule->list);
    }
    int r = dv_layoutfile_add_rule(in, item, rule);
    if (r < 0)
        free(rule->list);
    return r;
}

/* Does `resources` give devices this name? */
static bool declared(const struct dv_plugin_config *c, const char *name)
{
    for (uint32_t i = 0; i < c->n_gpus; i++)
        if (!strcmp(c->gpus[i].name, name))
            return true;
    for (uint32_t i = 0; i < c->n_mig; i++)
        if (!strcmp(c->mig[i].name, name))
            return true;
    return false;
}

/* A name that is neither nvidia.com/gpu nor a profile's. */
static int other_name(struct dv_layoutfile_reader *in, const char *name,
                      const struct dv_yaml_node *at)
{
    static const char *const known[] = {DV_PLUGIN_PREFIX "gpu", DV_PLUGIN_PREFIX "mig-1g.10gb"};
    if (declared(in->config, name)) {
        dv_layoutfile_plugin_warn(
            in, at,
            "name: %s is a name that resources gives; the layout knows " DV_PLUGIN_PREFIX
            "gpu and " DV_PLUGIN_PREFIX "mig-PROFILE, so nothing is shared by this",
            name);
        return 0;
    }
    const char *near = dv_str_nearest(name, known, DV_ARRAY_SIZE(known));
    return dv_yaml_bad(in->yaml, at, in->err,
                       "name: there is no resource %s%s%s%s; " DV_PLUGIN_PREFIX
                       "gpu and " DV_PLUGIN_PREFIX "mig-PROFILE are there",
                       name, near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

int dv_layoutfile_plugin_rules(struct dv_layoutfile_reader *in, enum dv_mode mode,
                               const struct dv_plugin_share *share, const struct dv_yaml_node *item,
                               const struct dv_yaml_node *name)
{
    enum dv_mig_strategy strategy = in->config->flags.mig_strategy;
    struct dv_layout_rule rule = {.line = item->line,
                                  .sharing = {.mode = mode, .replicas = share->replicas}};
    bool mig = dv_plugin_config_profile(share->name, rule.profile);
    if (!mig && strcmp(share->name, DV_PLUGIN_PREFIX "gpu") != 0)
        return other_name(in, share->name, name);
    if (mig && strategy != DV_MIG_STRATEGY_MIXED)
        dv_layoutfile_warn(in, name,
                           "name: %s exists under migStrategy mixed only, and here it is %s; "
                           "divvy shares these MIG devices all the same",
                           share->name, dv_plugin_flags_mig_strategy_name(strategy));
    int r = add_rule(in, item, share, &rule);
    if (!r && !mig && strategy == DV_MIG_STRATEGY_SINGLE) {
        memcpy(rule.profile, "*", 2); /* there, MIG devices are nvidia.com/gpu */
        r = add_rule(in, item, share, &rule);
    }
    return r;
}
