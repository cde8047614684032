/* SPDX-License-Identifier: Apache-2.0 */
/* Layout files: any text is a layout or an error with a message that prints; a layout survives
 * being written and read, and its bounds hold. */
#include "layoutfile/layoutfile.h"

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

static void read_one(const char *text, size_t size, const char *config)
{
    struct dv_layout *l = NULL;
    struct dv_layoutfile_info info;
    struct dv_err err = {{0}};
    int r = dv_layoutfile_read("fuzz.yaml", text, size, config, &l, &info, &err);
    if (r == -ENOMEM)
        return;
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
    for (int i = 0; i < n && i < 8; i++)
        read_one(text, size, names[i]);
    return 0;
}
