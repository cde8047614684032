/* SPDX-License-Identifier: Apache-2.0 */
#include "kubernetes/allocation.h"

#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VISIBLE "NVIDIA_VISIBLE_DEVICES"
#define MOUNTS_ROOT "/var/run/nvidia-container-devices"
#define ANNOTATION "nvidia-device-plugin_"

/* ---- what it owns ---- */

static void *keep(struct dv_allocation *a, void *block)
{
    void **more = block ? realloc(a->blocks, (a->n_blocks + 1) * sizeof *more) : NULL;
    if (!more) {
        free(block);
        return NULL;
    }
    a->blocks = more;
    return a->blocks[a->n_blocks++] = block;
}

static char *keep_text(struct dv_allocation *a, const struct dv_str *text)
{
    return text->failed ? NULL : keep(a, strdup(dv_str_get(text)));
}

void dv_allocation_done(struct dv_allocation *a)
{
    while (a->n_blocks)
        free(a->blocks[--a->n_blocks]);
    free(a->blocks);
    *a = (struct dv_allocation){0};
}

/* ---- by CDI ---- */

bool dv_allocation_by_cdi(const struct dv_plugin_flags *flags, const struct dv_offer *offer)
{
    return offer->mode == DV_MODE_GOVERNED || offer->mode == DV_MODE_MPS ||
           flags->plugin.list & (DV_PLUGIN_LIST_CDI_CRI | DV_PLUGIN_LIST_CDI_ANNOTATIONS);
}

static int name_device(struct dv_allocation *a, const char *cdi)
{
    const char **list = keep(a, calloc(1, sizeof *list));
    char *name = keep(a, strdup(cdi));
    if (!list || !name)
        return -ENOMEM;
    *list = name;
    a->container.cdi_devices = (struct dv_kubelet_ids){list, 1};
    return 0;
}

/* A pod's annotations are one map for all its containers and resources, so the device's own name,
 * which is another for each, is part of the key. */
static int annotate(struct dv_allocation *a, const struct dv_plugin_flags *flags, const char *cdi)
{
    dv_cleanup(dv_str_done) struct dv_str key = {0}, value = {0};
    struct dv_kubelet_pair *pair = keep(a, calloc(1, sizeof *pair));
    const char *name = strchr(cdi, '=');
    dv_str_addf(&key, "%s" ANNOTATION "%s", flags->plugin.cdi_annotation_prefix,
                name ? name + 1 : cdi);
    dv_str_addf(&value, "%s", cdi);
    if (!pair)
        return -ENOMEM;
    pair->name = keep_text(a, &key);
    pair->value = keep_text(a, &value);
    a->container.annotations = pair;
    a->container.annotation_count = 1;
    return pair->name && pair->value ? 0 : -ENOMEM;
}

/* ---- for NVIDIA's runtime ---- */

static int mount_list(struct dv_allocation *a, const struct dv_offers *offers,
                      const struct dv_offer_answer *answer)
{
    size_t each = sizeof MOUNTS_ROOT + 1 + DV_OFFERS_ID;
    struct dv_kubelet_mount *mounts = keep(a, calloc(answer->n ? answer->n : 1, sizeof *mounts));
    char *text = keep(a, calloc(answer->n ? answer->n : 1, each));
    if (!mounts || !text)
        return -ENOMEM;
    for (uint32_t i = 0; i < answer->n; i++) {
        snprintf(text + i * each, each, MOUNTS_ROOT "/%s",
                 offers->devices[answer->grants[i].device].name);
        mounts[i].host_path = "/dev/null";
        mounts[i].container_path = text + i * each;
    }
    a->container.mounts = mounts;
    a->container.mount_count = answer->n;
    return 0;
}

/* Devices, each once, as deviceIDStrategy writes them. */
static char *list_devices(struct dv_allocation *a, const struct dv_offers *offers,
                          const struct dv_offer_answer *answer)
{
    dv_cleanup(dv_str_done) struct dv_str list = {0};
    for (uint32_t i = 0; i < answer->n; i++)
        dv_str_addf(&list, "%s%s", i ? "," : "", offers->devices[answer->grants[i].device].name);
    return keep_text(a, &list);
}

static int set_variables(struct dv_allocation *a, const struct dv_plugin_flags *flags,
                         const struct dv_offers *offers, const struct dv_offer_answer *answer)
{
    struct dv_kubelet_pair *env = keep(a, calloc(4, sizeof *env));
    size_t n = 0;
    if (!env)
        return -ENOMEM;
    if (flags->plugin.list & DV_PLUGIN_LIST_VOLUME_MOUNTS)
        env[n++] = (struct dv_kubelet_pair){VISIBLE, MOUNTS_ROOT};
    else if (flags->plugin.list & DV_PLUGIN_LIST_ENVVAR)
        env[n++] = (struct dv_kubelet_pair){VISIBLE, list_devices(a, offers, answer)};
    if (flags->gds)
        env[n++] = (struct dv_kubelet_pair){"NVIDIA_GDS", "enabled"};
    if (flags->mofed)
        env[n++] = (struct dv_kubelet_pair){"NVIDIA_MOFED", "enabled"};
    if (flags->gdrcopy)
        env[n++] = (struct dv_kubelet_pair){"NVIDIA_GDRCOPY", "enabled"};
    for (size_t i = 0; i < n; i++)
        if (!env[i].value)
            return -ENOMEM;
    a->container.envs = env;
    a->container.env_count = n;
    return 0;
}

/* ---- together ---- */

int dv_allocation_nodes(struct dv_allocation *a, const char *root, const char *const *paths,
                        size_t n)
{
    struct dv_kubelet_device_node *nodes = keep(a, calloc(n ? n : 1, sizeof *nodes));
    size_t len = strlen(root);
    if (!nodes)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        dv_cleanup(dv_str_done) struct dv_str host = {0};
        dv_str_addf(&host, "%.*s%s", (int)(len && root[len - 1] == '/' ? len - 1 : len), root,
                    paths[i]);
        nodes[i].host_path = keep_text(a, &host);
        nodes[i].container_path = keep(a, strdup(paths[i]));
        nodes[i].permissions = "rw";
        if (!nodes[i].host_path || !nodes[i].container_path)
            return -ENOMEM;
    }
    a->container.device_nodes = nodes;
    a->container.device_node_count = n;
    return 0;
}

int dv_allocation_make(const struct dv_plugin_flags *flags, const struct dv_offers *offers,
                       const struct dv_offer *offer, const struct dv_offer_answer *answer,
                       const char *cdi, struct dv_allocation *ret)
{
    struct dv_allocation a = {0};
    uint32_t by = flags->plugin.list;
    /* The wall's own files say what is visible; NVIDIA's runtime would mount past them. */
    bool walled = offer->mode == DV_MODE_GOVERNED || offer->mode == DV_MODE_MPS;
    int r = 0;
    if (cdi && by & DV_PLUGIN_LIST_CDI_ANNOTATIONS)
        r = annotate(&a, flags, cdi);
    if (r == 0 && cdi && (by & DV_PLUGIN_LIST_CDI_CRI || (walled && !a.container.annotations)))
        r = name_device(&a, cdi);
    if (r == 0 && !walled && by & DV_PLUGIN_LIST_VOLUME_MOUNTS)
        r = mount_list(&a, offers, answer);
    if (r == 0 && !walled)
        r = set_variables(&a, flags, offers, answer);
    if (r < 0) {
        dv_allocation_done(&a);
        return r;
    }
    *ret = a;
    return 0;
}
