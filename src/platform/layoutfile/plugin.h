/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the device plugin's reader share. For this room only. */
#ifndef DV_LAYOUTFILE_PLUGIN_H
#define DV_LAYOUTFILE_PLUGIN_H

#include "layoutfile/internal.h"

/* A resource's name, with its prefix; `own`: divvy.dev/ is one too. */
int dv_layoutfile_plugin_name(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                              const char *key, bool own, char ret[DV_PLUGIN_NAME]);
/* A warning that is none for who asked for the configuration rather than for a layout: what divvy
 * does not use outside of Kubernetes. */
#define dv_layoutfile_plugin_warn(in, at, ...)                                                     \
    do {                                                                                           \
        if (!(in)->kubernetes)                                                                     \
            dv_layoutfile_warn(in, at, __VA_ARGS__);                                               \
    } while (0)

/* `sharing` into the configuration and the layout. */
int dv_layoutfile_plugin_sharing(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node);

/* What a governed resource has instead of replicas: `percent`, `slices`. NULL where not given. */
int dv_layoutfile_plugin_governed(struct dv_layoutfile_reader *in, const struct dv_yaml_node *item,
                                  const struct dv_yaml_node *replicas,
                                  const struct dv_yaml_node *percent,
                                  const struct dv_yaml_node *slices, struct dv_plugin_share *share);

/* The rules of the layout that a share makes. `name`: the node of its name. */
int dv_layoutfile_plugin_rules(struct dv_layoutfile_reader *in, enum dv_mode mode,
                               const struct dv_plugin_share *share, const struct dv_yaml_node *item,
                               const struct dv_yaml_node *name);

#endif
