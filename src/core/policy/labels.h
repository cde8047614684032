/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The labels of a node, as GPU feature discovery (GFD) has them: its keys, its values, its rules
 * for MIG strategies and shared resources, so that what selects nodes by them goes on working.
 *
 *     struct dv_labels_resource shared = {"nvidia.com/gpu", 4, DV_LABELS_TIME_SLICING, false};
 *     struct dv_labels_settings s = {.mig = DV_MIG_STRATEGY_MIXED, .resources = &shared,
 *                                    .n_resources = 1, .machine = "DGX H100"};
 *     dv_cleanup(dv_labels_done) struct dv_labels labels = {0};
 *     r = dv_labels_make(snapshot, &driver, &s, &labels);
 *
 * Where GFD leaves something open or to chance, this is how it is here:
 *   - GPUs of several models on a node: nvidia.com/gpu.* is of whole GPUs before those in MIG mode,
 *     then of the model that the node has most of, then of the lowest index (GFD: any of them).
 *   - Sharing by MPS while a GPU is in MIG mode: mps.capable is false (GFD: no labels at all).
 *   - Values are cut to what a label may hold, the model's name before its suffix (GFD: the API
 *     server refuses them).
 *   - A version that cannot be taken apart has no labels of its parts (GFD: no labels at all).
 * Source: the README and the public tests of NVIDIA/k8s-device-plugin v0.20.
 */
#ifndef DV_POLICY_LABELS_H
#define DV_POLICY_LABELS_H

#include "model/plugin_config.h"
#include "model/snapshot.h"

#define DV_LABELS_KEY 96   /* the longest key is below 80 bytes */
#define DV_LABELS_VALUE 64 /* Kubernetes: 63 bytes */
#define DV_LABELS_MAX 1024u

enum dv_labels_sharing {
    DV_LABELS_NOT_SHARED,
    DV_LABELS_TIME_SLICING,
    DV_LABELS_MPS,
    DV_LABELS_GOVERNED, /* divvy's own */
};

/* A resource that is handed out several times over. */
struct dv_labels_resource {
    const char *name; /* before it is renamed: "nvidia.com/gpu", "nvidia.com/mig-1g.10gb" */
    uint32_t replicas;
    enum dv_labels_sharing sharing;
    bool renamed; /* then its name says that it is shared, and the product does not */
};

struct dv_labels_settings {
    enum dv_mig_strategy mig;
    const struct dv_labels_resource *resources;
    uint32_t n_resources;
    const char *machine; /* the machine type file's text; NULL, "": unknown */
    int64_t timestamp;   /* seconds since 1970; 0: no such label */
    bool present;        /* with nvidia.com/gpu.present, which NVIDIA's GPU operator sets */
};

struct dv_labels_driver {
    const char *version; /* "550.54.15"; "": unknown */
    uint32_t cuda;       /* 12040 = 12.4; 0: unknown */
};

struct dv_label {
    char key[DV_LABELS_KEY];
    char value[DV_LABELS_VALUE]; /* a label's value by Kubernetes' rules; may be empty */
};

struct dv_labels {
    struct dv_label *list; /* by key; no key twice */
    size_t n;
};

/* The labels of a node. Without GPUs: the timestamp and vgpu.present alone. 0 or -ENOMEM. */
int dv_labels_make(const struct dv_snapshot *snapshot, const struct dv_labels_driver *driver,
                   const struct dv_labels_settings *settings, struct dv_labels *ret);
void dv_labels_done(struct dv_labels *labels);
/* The value of a label, or NULL. */
const char *dv_labels_get(const struct dv_labels *labels, const char *key);
/* Timestamps do not count. */
bool dv_labels_equal(const struct dv_labels *a, const struct dv_labels *b);

/* "none", "single", "mixed". 0, or -EINVAL with a message. */
int dv_labels_mig_parse(const char *text, enum dv_mig_strategy *ret, struct dv_err *err);
const char *dv_labels_mig_name(enum dv_mig_strategy mig);
/* "none", "time-slicing", "mps", "governed": the values of the label. */
const char *dv_labels_sharing_name(enum dv_labels_sharing sharing);

/*
 * What the layout of a node says of sharing, for a node whose resources nobody has configured
 * otherwise: one entry per resource whose devices have replicas, of the device that has most. Names
 * are written to `names`. Returns how many, at most `max`.
 */
#define DV_LABELS_RESOURCE_NAME 64
uint32_t dv_labels_sharing_of(const struct dv_snapshot *snapshot, enum dv_mig_strategy mig,
                              struct dv_labels_resource *ret,
                              char (*names)[DV_LABELS_RESOURCE_NAME], uint32_t max);

/*
 * The same of a device plugin's configuration: the MIG strategy and what is shared how, by the
 * names of before any renaming (percent tokens and named slices count as so many replicas).
 * `resources` holds DV_LABELS_CONFIG_MAX entries; they point into the configuration, which must
 * outlive *ret. The machine, the time and `present` are the caller's.
 */
#define DV_LABELS_CONFIG_MAX (DV_PLUGIN_SECTIONS * DV_PLUGIN_SHARES_MAX)
void dv_labels_configure(const struct dv_plugin_config *config,
                         struct dv_labels_resource *resources, struct dv_labels_settings *ret);

/* What GFD makes of a name: letters, digits, '-', '_', '.', and '-' for blanks; the rest is left
 * out. Cut to `max` bytes, and begins and ends with a letter or digit. ret has max + 1 bytes. */
void dv_labels_sanitise(const char *text, size_t max, char *ret);

#endif
