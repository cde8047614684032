/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flags of the NVIDIA device plugin and of GPU feature discovery: one table of their names in
 * the file, on the command line and in the environment, their defaults and what they may be.
 *
 *     dv_plugin_flags_init(&flags);
 *     r = dv_plugin_flags_set(&flags, flag, "mixed", "migStrategy", &err);      from a file
 *     r = dv_plugin_flags_overlay(&flags, settings, n, &err);                   over it
 *
 * The command line counts before the environment, the environment before the file. Source: NVIDIA/
 * k8s-device-plugin v0.20.0, api/config/v1 and the flags of its two programs.
 */
#ifndef DV_MODEL_PLUGIN_FLAGS_H
#define DV_MODEL_PLUGIN_FLAGS_H

#include "base/err.h"

#include <stdbool.h>

#define DV_PLUGIN_TEXT 256 /* of a path or prefix, with its NUL */

enum dv_mig_strategy {
    DV_MIG_STRATEGY_NONE,   /* whole GPUs only */
    DV_MIG_STRATEGY_SINGLE, /* one profile on all GPUs, under the name of a GPU */
    DV_MIG_STRATEGY_MIXED,  /* each profile under its own name */
};
enum dv_plugin_discovery {
    DV_PLUGIN_DISCOVER_AUTO,
    DV_PLUGIN_DISCOVER_NVML,
    DV_PLUGIN_DISCOVER_TEGRA,
    DV_PLUGIN_DISCOVER_VFIO,
};
/* How a container learns its devices; bits, since several may be given. */
enum dv_plugin_list {
    DV_PLUGIN_LIST_ENVVAR = 1,
    DV_PLUGIN_LIST_VOLUME_MOUNTS = 2,
    DV_PLUGIN_LIST_CDI_ANNOTATIONS = 4,
    DV_PLUGIN_LIST_CDI_CRI = 8,
};
enum dv_plugin_id {
    DV_PLUGIN_ID_UUID,
    DV_PLUGIN_ID_INDEX,
};
enum dv_plugin_policy {
    DV_PLUGIN_DISTRIBUTED, /* shares go to the GPU with the fewest taken */
    DV_PLUGIN_PACKED,      /* ... with the most */
};

/* Under the name that each has in the file. */
struct dv_plugin_flags {
    uint32_t mig_strategy; /* enum dv_mig_strategy */
    bool fail_on_init_error;
    char mps_root[DV_PLUGIN_TEXT];
    char driver_root[DV_PLUGIN_TEXT]; /* nvidiaDriverRoot */
    char dev_root[DV_PLUGIN_TEXT];    /* nvidiaDevRoot; "" is the driver's root */
    bool gdrcopy, gds, mofed;
    bool node_feature_api; /* useNodeFeatureAPI */
    uint32_t discovery;    /* enum dv_plugin_discovery */
    struct {
        bool pass_device_specs;
        uint32_t list;   /* deviceListStrategy: bits of enum dv_plugin_list, at least one */
        uint32_t id;     /* deviceIDStrategy: enum dv_plugin_id */
        uint32_t policy; /* sharedDevicesAllocationPolicy: enum dv_plugin_policy */
        char cdi_annotation_prefix[DV_PLUGIN_TEXT];
        char ctk_path[DV_PLUGIN_TEXT];
        char container_driver_root[DV_PLUGIN_TEXT];
    } plugin;
    struct {
        bool oneshot, no_timestamp;
        uint64_t sleep_ns; /* sleepInterval; DV_NEVER: infinite */
        char output_file[DV_PLUGIN_TEXT];
        char machine_type_file[DV_PLUGIN_TEXT];
    } gfd;
    struct {
        bool channel; /* channelIDs is [0], not [] */
        bool required;
    } imex; /* not below flags in the file, but set like them from outside */
};

enum dv_plugin_group { /* the map of the file that a flag stands in */
                       DV_PLUGIN_GROUP_FLAGS,
                       DV_PLUGIN_GROUP_PLUGIN, /* flags.plugin */
                       DV_PLUGIN_GROUP_GFD,    /* flags.gfd */
                       DV_PLUGIN_GROUP_IMEX,
};
enum dv_plugin_type {
    DV_PLUGIN_BOOL,
    DV_PLUGIN_STRING,
    DV_PLUGIN_CHOICE,
    DV_PLUGIN_CHOICES, /* one or several, with commas between them */
    DV_PLUGIN_DURATION,
    DV_PLUGIN_CHANNELS, /* "", "0" or "[0]" */
};

struct dv_plugin_flag {
    enum dv_plugin_group group;
    const char *key;    /* in the file: "migStrategy" */
    const char *option; /* "mig-strategy"; the variable is MIG_STRATEGY */
    const char *also;   /* a second name of the variable, or NULL */
    enum dv_plugin_type type;
    size_t offset;              /* in struct dv_plugin_flags */
    const char *const *choices; /* ended by NULL */
    const char *fallback;       /* the default, as a text */
};

void dv_plugin_flags_init(struct dv_plugin_flags *flags);
/* In the order of the file; NULL past the end. */
const struct dv_plugin_flag *dv_plugin_flags_at(size_t i);

/* Sets one from its text. `what` names it in the message: the key, the option, the variable.
 * 0, or -EINVAL with a message. */
int dv_plugin_flags_set(struct dv_plugin_flags *flags, const struct dv_plugin_flag *flag,
                        const char *text, const char *what, struct dv_err *err);

/* From outside the file. A name with "--" is an option of the command line, any other a variable of
 * the environment. */
struct dv_plugin_setting {
    const char *name, *value;
};
/*
 * Variables that are no flag's, and empty ones, are passed over; an option that there is not is an
 * error. Where several set one flag, the last option counts, else the last variable. 0, or -EINVAL
 * with a message that names the option or variable; the flags are then as before.
 */
int dv_plugin_flags_overlay(struct dv_plugin_flags *flags, const struct dv_plugin_setting *settings,
                            size_t n, struct dv_err *err);

/* "none", "single", "mixed". */
const char *dv_plugin_flags_mig_strategy_name(enum dv_mig_strategy strategy);
/* 0, or -EINVAL with a message that suggests. */
int dv_plugin_flags_mig_strategy_parse(const char *text, enum dv_mig_strategy *ret,
                                       struct dv_err *err);

#endif
