/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The NVIDIA device plugin's configuration, whole, with divvy's own `sharing.governed`: which names
 * a node's devices have under Kubernetes, and how each is shared.
 *
 *     r = dv_layoutfile_read_plugin(name, text, len, key, &config, &info, &err);
 *     r = dv_plugin_flags_overlay(&config->flags, settings, n, &err);
 *     r = dv_offers_make(config, snapshot, &offers, &err);               policy/offers.h
 *
 * What the plugin reads and then drops means something here: `resources`, `rename` and `devices`,
 * so that GPUs of one node may be shared in different ways. Source: NVIDIA/k8s-device-plugin
 * v0.20.0, api/config/v1; docs/reference/plugin-config.md says what differs.
 */
#ifndef DV_MODEL_PLUGIN_CONFIG_H
#define DV_MODEL_PLUGIN_CONFIG_H

#include "model/layout.h"
#include "model/plugin_flags.h"

#define DV_PLUGIN_PREFIX "nvidia.com/"
#define DV_PLUGIN_OWN_PREFIX "divvy.dev/"
#define DV_PLUGIN_NAME 64          /* a resource with its prefix: 63 letters and the NUL */
#define DV_PLUGIN_PATTERNS_MAX 64u /* of gpus, of mig */
#define DV_PLUGIN_SHARES_MAX 64u   /* resources of one section */
#define DV_PLUGIN_SLICES_MAX 16u   /* slices of one resource */
#define DV_PLUGIN_SLICE_NAME 17    /* 16 letters: device ids stay below 64 */
#define DV_PLUGIN_SLICE_COUNT_MAX 100u
#define DV_PLUGIN_TOKENS 100u /* of a device with `percent: true` */

/* Devices whose product name (or MIG profile) fits the pattern have this name. */
struct dv_plugin_pattern {
    char pattern[DV_GPU_NAME_SIZE]; /* '*' stands for any letters; the whole name must fit */
    char name[DV_PLUGIN_NAME];
};

/* A kind of slice, `count` of which each device has. */
struct dv_plugin_slice {
    char name[DV_PLUGIN_SLICE_NAME];
    char rename[DV_PLUGIN_NAME]; /* of the resource; "": its resource's name, '-', the slice's */
    uint64_t memory_bytes;       /* or 0, and then */
    uint32_t memory_share;       /* 1/7000 of the device's memory */
    uint32_t compute_share;      /* 1/7000 of the device's compute */
    enum dv_tier tier;
    uint32_t count;
};

/* How devices of one name are shared: an item of `resources` in a section of sharing. */
struct dv_plugin_share {
    char name[DV_PLUGIN_NAME];
    char rename[DV_PLUGIN_NAME]; /* "": none */
    /* Which of them: all, the first `count` by GPU and place, or those listed (as in a layout's
     * rule: "0", "0:1", UUIDs). */
    uint32_t count;  /* 0: not by count */
    uint32_t n_list; /* 0: not by list */
    char (*list)[DV_UUID_SIZE];
    /* One of: */
    uint32_t replicas; /* equal parts; 1 is not shared; 0: not by replicas */
    bool percent;      /* DV_PLUGIN_TOKENS interchangeable tokens */
    uint32_t n_slices; /* named slices */
    struct dv_plugin_slice slices[DV_PLUGIN_SLICES_MAX];
    uint32_t line; /* of its name in the file */
};

/* In the order in which they count for a device that several of them mean. */
enum dv_plugin_section {
    DV_PLUGIN_GOVERNED,
    DV_PLUGIN_MPS,
    DV_PLUGIN_TIME_SLICING,
    DV_PLUGIN_SECTIONS,
};

struct dv_plugin_sharing {
    bool given;
    bool ignored; /* timeSlicing, where mps shares anything: as in the original, mps alone counts */
    bool rename_by_default;
    bool fail_above_one; /* failRequestsGreaterThanOne; unset: true but for timeSlicing */
    struct dv_plugin_share *shares;
    uint32_t n_shares;
};

struct dv_plugin_config {
    struct dv_plugin_flags flags;
    struct dv_plugin_pattern gpus[DV_PLUGIN_PATTERNS_MAX], mig[DV_PLUGIN_PATTERNS_MAX];
    uint32_t n_gpus, n_mig;
    struct dv_plugin_sharing sharing[DV_PLUGIN_SECTIONS];
};

/* The defaults: what a node without a file has. -ENOMEM. */
int dv_plugin_config_new(struct dv_plugin_config **ret);
void dv_plugin_config_free(struct dv_plugin_config *config);
void dv_plugin_config_freep(struct dv_plugin_config **config);

/* "sharing.governed", "sharing.mps", "sharing.timeSlicing". */
const char *dv_plugin_config_section_name(enum dv_plugin_section section);
enum dv_mode dv_plugin_config_mode(enum dv_plugin_section section);

/* A resource's name, which gets the prefix nvidia.com/ where it has none; with `own`, divvy.dev/ is
 * one too. 0, or -EINVAL with a message. */
int dv_plugin_config_name(const char *text, bool own, char ret[DV_PLUGIN_NAME], struct dv_err *err);
/* '*' stands for any letters, also none; all of the text must fit. */
bool dv_plugin_config_fits(const char *pattern, const char *text);
/* "nvidia.com/mig-1g.10gb.me" is the profile "1g.10gb+me". Is it one? */
bool dv_plugin_config_profile(const char *name, char ret[DV_MIG_NAME]);
/* ...and back: the name that devices of a profile have under migStrategy mixed. */
void dv_plugin_config_mig_name(const char *profile, char ret[DV_PLUGIN_NAME]);

/* Moves the share (its list too) to the section's end. -E2BIG, -ENOMEM; it then stays as it is. */
int dv_plugin_config_add(struct dv_plugin_sharing *section, struct dv_plugin_share *share);
/*
 * An earlier share of the section with this one's name, that it may not stand beside; or NULL. Two
 * of a name may, where both list their devices and share none: it is then clear what each GPU is.
 * With `all` or a number it would depend on their order. *ret_device: the one that both list, NULL
 * where that is not why.
 */
const struct dv_plugin_share *dv_plugin_config_clash(const struct dv_plugin_sharing *section,
                                                     const struct dv_plugin_share *share,
                                                     const char **ret_device);
/* Do the slices fit a device together, as far as their shares say? 0, or -EINVAL with a message. */
int dv_plugin_config_check_slices(const struct dv_plugin_share *share, struct dv_err *err);

/*
 * Which of a ConfigMap's configurations a node has: what its label nvidia.com/device-plugin.config
 * names (label; NULL or "": no label), else `chosen` (the chart's config.default; NULL or ""),
 * else the one called "default", else the only one, else none (*ret = n: the defaults).
 * 0; -ENOENT with a message that lists what there is, for a label or choice that names none.
 */
int dv_plugin_config_select(const char *const *names, size_t n, const char *label,
                            const char *chosen, size_t *ret, struct dv_err *err);

#endif
