/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which device plugin configuration is in force on this node: out of a file, or out of a directory
 * whose files are named configurations (a ConfigMap as it is mounted into a pod), chosen by the
 * node's label. Options of the command line and variables of the environment go over it.
 *
 *     dv_settings_new(&options, &settings);
 *     dv_settings_label(settings, "t4-shared");           the node's label; NULL: it has none
 *     if (dv_settings_look(settings))                      every second or so
 *         ... dv_settings_config(settings) is another now
 *
 * What cannot be read or is wrong changes nothing: the last good configuration stays in force, also
 * over a restart, and dv_settings_problem() says what is wrong, with file, line and column. A
 * ConfigMap is swapped by a symbolic link, so it is never half there; a plain file may be, and is
 * then read again.
 */
#ifndef DV_SERVICES_KUBERNETES_SETTINGS_H
#define DV_SERVICES_KUBERNETES_SETTINGS_H

#include "layoutfile/layoutfile.h"
#include "model/plugin_config.h"

#define DV_SETTINGS_LABEL "nvidia.com/device-plugin.config"
#define DV_SETTINGS_NAMES_MAX 256u /* configurations of a directory */

struct dv_settings_options {
    const char *path;   /* a file or a directory; NULL: the defaults */
    const char *chosen; /* what nodes without a label have; NULL: "default", or the only one */
    const struct dv_plugin_setting *over; /* from outside the file, a loan like all of this */
    size_t n_over;
    const char *kept; /* a file where the last good one is kept; NULL: none */
};

/* What a ClusterPolicy says (cluster_policy.h): its strategy goes over the file's and below `over`,
 * its files are instead of the options'. */
struct dv_settings_policy {
    bool has_mig_strategy;
    enum dv_mig_strategy mig_strategy;
    const char *path;   /* NULL: the options' path and chosen */
    const char *chosen; /* as in the options; only with a path */
};

struct dv_settings;

/* In force are the defaults with `over`. 0; -EINVAL with a message: `over` is wrong; -ENOMEM. */
int dv_settings_new(const struct dv_settings_options *options, struct dv_settings **ret,
                    struct dv_err *err);
void dv_settings_free(struct dv_settings *settings);
/* Counts from the next look on. */
void dv_settings_label(struct dv_settings *settings, const char *label);
/* Likewise; copied. */
void dv_settings_policy(struct dv_settings *settings, const struct dv_settings_policy *policy);
/* Is the path a directory, where the label chooses? */
bool dv_settings_is_by_label(const struct dv_settings *settings);
/* True: another configuration is in force, or what is wrong has changed. Reads only what has
 * changed since the last look. */
bool dv_settings_look(struct dv_settings *settings);

/* Never NULL; good until the next look. */
const struct dv_plugin_config *dv_settings_config(const struct dv_settings *settings);
/* The text that it was read from, and where: "" for the defaults. */
const char *dv_settings_text(const struct dv_settings *settings);
const char *dv_settings_source(const struct dv_settings *settings);
/* Raised whenever another configuration is in force. */
uint64_t dv_settings_generation(const struct dv_settings *settings);
/* "": nothing. */
const char *dv_settings_problem(const struct dv_settings *settings);
const struct dv_layoutfile_info *dv_settings_info(const struct dv_settings *settings);

#endif
