/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layout files, read as users have them: divvy's own (apiVersion: divvy/v1, kind: Layout),
 * mig-parted's (mig-configs) and the NVIDIA device plugin's (version: v1 with sharing, or a
 * ConfigMap around it). Which one it is, is seen from its keys. The text is YAML or JSON.
 *
 *     dv_cleanup(dv_layout_freep) struct dv_layout *layout = NULL;
 *     r = dv_layoutfile_read("node.yaml", text, len, NULL, &layout, &info, &err);
 *
 * Unknown keys are errors with the nearest known one; messages name file, line, column and key.
 * Nothing here looks at hardware: what a node can have is dv_layout_check()'s question.
 */
#ifndef DV_LAYOUTFILE_LAYOUTFILE_H
#define DV_LAYOUTFILE_LAYOUTFILE_H

#include "base/str.h"
#include "model/layout.h"
#include "model/plugin_config.h"

#define DV_LAYOUTFILE_MAX 524288u
#define DV_LAYOUTFILE_CONFIGS_MAX 256u
#define DV_LAYOUTFILE_WARNINGS_MAX 16u

enum dv_layoutfile_format {
    DV_LAYOUTFILE_DIVVY,
    DV_LAYOUTFILE_MIG_PARTED,
    DV_LAYOUTFILE_DEVICE_PLUGIN,
};

struct dv_layoutfile_info {
    enum dv_layoutfile_format format;
    char config[64];     /* the named configuration that was taken; "" where the format has none */
    uint32_t n_warnings; /* legal, but not what its author may think: `replicas: 1`, ... */
    struct {
        uint32_t line;
        char text[240];
    } warnings[DV_LAYOUTFILE_WARNINGS_MAX];
};

/* "divvy", "mig-parted", "device-plugin". */
const char *dv_layoutfile_format_name(enum dv_layoutfile_format format);

/*
 * config: which of a mig-parted file's configurations (or of a ConfigMap's keys); NULL: the only
 * one, else an error that lists them. 0; -EINVAL, -E2BIG with a message; -ENOENT: no such
 * configuration (with the list); -ENOMEM.
 */
int dv_layoutfile_read(const char *name, const char *text, size_t len, const char *config,
                       struct dv_layout **ret, struct dv_layoutfile_info *ret_info,
                       struct dv_err *err);

/* The same for a device plugin's configuration, whole: names, flags and sharing under Kubernetes.
 * Any other format is -EINVAL with a message. */
int dv_layoutfile_read_plugin(const char *name, const char *text, size_t len, const char *config,
                              struct dv_plugin_config **ret, struct dv_layoutfile_info *ret_info,
                              struct dv_err *err);

/* Where a key of the device plugin's configuration belongs that stands at a wrong place, in words
 * ("it belongs under flags"); NULL where that is not known. */
const char *dv_layoutfile_plugin_hint(const char *key);

/* The names of a file's configurations, in its order. Returns how many, or a negative errno. */
int dv_layoutfile_configs(const char *name, const char *text, size_t len,
                          char ret[DV_LAYOUTFILE_CONFIGS_MAX][64], struct dv_err *err);

/* divvy's own format; what dv_layoutfile_read() makes of it is equal to `layout`. */
void dv_layoutfile_write(const struct dv_layout *layout, struct dv_str *out);

/* mig-parted's format, as its `export` writes it: one configuration of the node's instances as they
 * are, GPUs that are cut alike in one entry. */
void dv_layoutfile_export(const struct dv_snapshot *snapshot, const char *config,
                          struct dv_str *out);

/* mig-parted's `generate-config`: all-disabled, all-enabled, all-balanced, all-PROFILE for what
 * these GPUs can be cut into. geometries as in dv_layout_check(). */
void dv_layoutfile_generate(const struct dv_snapshot *snapshot,
                            const struct dv_mig_geometry *const *geometries, struct dv_str *out);

#endif
