/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of the three formats share. For this room only. */
#ifndef DV_LAYOUTFILE_INTERNAL_H
#define DV_LAYOUTFILE_INTERNAL_H

#include "layoutfile/layoutfile.h"
#include "yaml/yaml_tree.h"

struct dv_layoutfile_reader {
    const struct dv_yaml *yaml;
    struct dv_layout *layout;
    struct dv_plugin_config *config; /* the device plugin's reader fills it beside the layout */
    bool kubernetes; /* the configuration was asked for: no warning of what a layout cannot use */
    struct dv_layoutfile_info *info;
    struct dv_err *err;
};

/* The three readers. `root` is a map; they fill layout and info. */
int dv_layoutfile_read_own(struct dv_layoutfile_reader *in, const struct dv_yaml_node *root);
int dv_layoutfile_read_mig_parted(struct dv_layoutfile_reader *in, const struct dv_yaml_node *root,
                                  const char *config);
int dv_layoutfile_read_device_plugin(struct dv_layoutfile_reader *in,
                                     const struct dv_yaml_node *root);

/* Copies the entry or rule (whose list goes over) to the end. -EINVAL with a message, -ENOMEM. */
int dv_layoutfile_add_entry(struct dv_layoutfile_reader *in, const struct dv_yaml_node *at,
                            const struct dv_layout_gpu *entry);
int dv_layoutfile_add_rule(struct dv_layoutfile_reader *in, const struct dv_yaml_node *at,
                           const struct dv_layout_rule *rule);
/* Past the last that there is room for, it counts. */
void dv_layoutfile_warn(struct dv_layoutfile_reader *in, const struct dv_yaml_node *at,
                        const char *fmt, ...) dv_printf(3, 4);

/* Appends `count` devices alike to the entry. */
int dv_layoutfile_add_devices(struct dv_layoutfile_reader *in, const struct dv_yaml_node *at,
                              struct dv_layout_gpu *entry, const struct dv_layout_device *device,
                              uint32_t count);
/* "3g.40gb", "1c.3g.40gb". */
int dv_layoutfile_profile(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                          const char *key, char ret[DV_MIG_NAME]);
/* "0x233010DE", "0x233010DE:0x16C110DE", one or a list of them. */
int dv_layoutfile_filters(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                          const char *key, struct dv_layout_gpu *entry);
/* A list of devices: 0, "0:1", UUIDs. */
int dv_layoutfile_device_list(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                              const char *key, struct dv_layout_rule *ret);

/* A text as a YAML scalar: plain where that cannot be misread, else in quotes. */
void dv_layoutfile_add_text(struct dv_str *out, const char *text);

#endif
