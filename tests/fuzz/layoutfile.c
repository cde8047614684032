/* SPDX-License-Identifier: Apache-2.0 */
/* Layout files: any text is a layout or an error with a message that prints; a layout survives
 * being written and read, and its bounds hold. The same text as a device plugin's configuration is
 * one exactly when it is such a layout, and offers of a node can be made of it; as a ClusterPolicy
 * it is one or an error. */
#include "layoutfile/layoutfile.h"

#include "layoutfile/cluster_policy.h"
#include "policy/offers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(const char *text)
{
    if (!*text)
        abort();
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            abort();
}

static void check_bounds(const struct dv_layout *l, const struct dv_layoutfile_info *info)
{
    if (l->n_entries > DV_LAYOUT_ENTRIES_MAX || l->n_rules > DV_LAYOUT_RULES_MAX ||
        (!l->has_cut && !l->has_sharing) || info->n_warnings > DV_LAYOUTFILE_WARNINGS_MAX)
        abort();
    for (uint32_t i = 0; i < info->n_warnings; i++)
        check_message(info->warnings[i].text);
    for (uint32_t i = 0; i < l->n_entries; i++)
        if (l->entries[i].n_devices > DV_LAYOUT_DEVICES_MAX || !l->entries[i].line)
            abort();
}

static void check_written(const struct dv_layout *l)
{
    struct dv_str first = {0}, second = {0};
    struct dv_layout *again = NULL;
    struct dv_layoutfile_info info;
    dv_layoutfile_write(l, &first);
    if (dv_layoutfile_read("again.yaml", first.data, first.len, NULL, &again, &info, NULL) < 0)
        abort();
    dv_layoutfile_write(again, &second);
    if (strcmp(first.data, second.data) != 0)
        abort();
    dv_layout_free(again);
    dv_str_done(&first);
    dv_str_done(&second);
}

/* A GPU, and one that is cut in two. */
static void check_offers(const struct dv_plugin_config *c)
{
    static struct dv_gpu gpus[] = {{.index = 0, .uuid = "GPU-0", .model = "NVIDIA A100"},
                                   {.index = 1, .uuid = "GPU-1", .mig_enabled = true}};
    static struct dv_device devices[] = {
        {.uuid = "GPU-0", .gpu = 0, .memory_bytes = 80 * DV_GIB, .compute = DV_COMPUTE_FULL},
        {.uuid = "MIG-1",
         .gpu = 1,
         .mig = true,
         .profile = "3g.40gb",
         .memory_bytes = 40 * DV_GIB,
         .compute = 3000},
        {.uuid = "MIG-2",
         .gpu = 1,
         .mig = true,
         .profile = "3g.40gb",
         .placement_start = 4,
         .memory_bytes = 40 * DV_GIB,
         .compute = 3000}};
    static const struct dv_snapshot node = {
        .gpus = gpus, .n_gpus = 2, .devices = devices, .n_devices = 3};
    struct dv_offers *offers = NULL;
    struct dv_err err = {{0}};
    int r = dv_offers_make(c, &node, &offers, &err);
    if (r < 0 && r != -ENOMEM)
        check_message(err.msg);
    for (uint32_t i = 0; !r && i < offers->n_offers; i++)
        for (uint32_t k = 0; k < offers->offers[i].n_units; k++) {
            struct dv_offer_id id;
            if (dv_offers_id_parse(offers->offers[i].units[k].id, &id) < 0 ||
                id.kind != offers->offers[i].kind)
                abort();
        }
    dv_offers_free(offers);
}

static void read_plugin(const char *text, size_t size, const char *config, bool is_one)
{
    struct dv_plugin_config *c = NULL;
    struct dv_layoutfile_info info;
    struct dv_err err = {{0}};
    int r = dv_layoutfile_read_plugin("fuzz.yaml", text, size, config, &c, &info, &err);
    if (r == -ENOMEM)
        return;
    if ((r == 0) != is_one)
        abort();
    if (r < 0)
        check_message(err.msg);
    else
        check_offers(c);
    dv_plugin_config_free(c);
}

static void read_policy(const char *text, size_t size)
{
    struct dv_cluster_policy policy;
    struct dv_err err = {{0}};
    int r = dv_cluster_policy_read("fuzz.yaml", text, size, &policy, &err);
    if (r < 0 && r != -ENOMEM)
        check_message(err.msg);
}

static void read_one(const char *text, size_t size, const char *config)
{
    struct dv_layout *l = NULL;
    struct dv_layoutfile_info info;
    struct dv_err err = {{0}};
    int r = dv_layoutfile_read("fuzz.yaml", text, size, config, &l, &info, &err);
    if (r == -ENOMEM)
        return;
    read_plugin(text, size, config, !r && info.format == DV_LAYOUTFILE_DEVICE_PLUGIN);
    if (r < 0) {
        check_message(err.msg);
        return;
    }
    check_bounds(l, &info);
    check_written(l);
    dv_layout_free(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char names[DV_LAYOUTFILE_CONFIGS_MAX][64];
    struct dv_err err = {{0}};
    const char *text = (const char *)data;
    int n = dv_layoutfile_configs("fuzz.yaml", text, size, names, &err);
    if (n < 0)
        check_message(err.msg);
    read_one(text, size, NULL);
    read_policy(text, size);
    for (int i = 0; i < n && i < 8; i++)
        read_one(text, size, names[i]);
    return 0;
}
