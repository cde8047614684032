/* SPDX-License-Identifier: Apache-2.0 */
/* Values that more than one of the formats has. */
#include "layoutfile/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- into the layout ---- */

/* Room for one more in an array whose length is `n`: its size is the next power of two. */
static int grow(void **array, uint32_t n, size_t size)
{
    if (n & (n - 1))
        return 0;
    void *more = realloc(*array, (n ? 2 * (size_t)n : 1) * size);
    if (!more)
        return -ENOMEM;
    *array = more;
    return 0;
}

int dv_layoutfile_add_entry(struct dv_layoutfile_reader *in, const struct dv_yaml_node *at,
                            const struct dv_layout_gpu *entry)
{
    struct dv_layout *l = in->layout;
    void *entries = l->entries;
    if (l->n_entries == DV_LAYOUT_ENTRIES_MAX)
        return dv_yaml_bad(in->yaml, at, in->err, "at most %u entries", DV_LAYOUT_ENTRIES_MAX);
    if (grow(&entries, l->n_entries, sizeof *entry) < 0)
        return -ENOMEM;
    l->entries = entries;
    l->entries[l->n_entries++] = *entry;
    return 0;
}

int dv_layoutfile_add_rule(struct dv_layoutfile_reader *in, const struct dv_yaml_node *at,
                           const struct dv_layout_rule *rule)
{
    struct dv_layout *l = in->layout;
    void *rules = l->rules;
    if (l->n_rules == DV_LAYOUT_RULES_MAX)
        return dv_yaml_bad(in->yaml, at, in->err, "at most %u rules", DV_LAYOUT_RULES_MAX);
    if (grow(&rules, l->n_rules, sizeof *rule) < 0)
        return -ENOMEM;
    l->rules = rules;
    l->rules[l->n_rules++] = *rule;
    return 0;
}

void dv_layoutfile_warn(struct dv_layoutfile_reader *in, const struct dv_yaml_node *at,
                        const char *fmt, ...)
{
    struct dv_layoutfile_info *info = in->info;
    char text[sizeof info->warnings[0].text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *p = text; *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
    bool full = info->n_warnings == DV_LAYOUTFILE_WARNINGS_MAX;
    uint32_t i = full ? DV_LAYOUTFILE_WARNINGS_MAX - 1 : info->n_warnings++;
    info->warnings[i].line = at->line;
    dv_str_copy(info->warnings[i].text, sizeof info->warnings[i].text,
                full ? "there are more warnings; mend these first" : text);
}

int dv_layoutfile_add_devices(struct dv_layoutfile_reader *in, const struct dv_yaml_node *at,
                              struct dv_layout_gpu *entry, const struct dv_layout_device *device,
                              uint32_t count)
{
    if (count > DV_LAYOUT_DEVICES_MAX - entry->n_devices)
        return dv_yaml_bad(in->yaml, at, in->err,
                           "more than %u MIG devices; a GPU never has so many",
                           DV_LAYOUT_DEVICES_MAX);
    for (uint32_t i = 0; i < count; i++)
        entry->devices[entry->n_devices++] = *device;
    return 0;
}

/* ---- values ---- */

int dv_layoutfile_profile(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                          const char *key, char ret[DV_MIG_NAME])
{
    const char *text;
    struct dv_mig_name name;
    struct dv_err why = {{0}};
    int r = dv_yaml_text(in->yaml, node, key, &text, in->err);
    if (r < 0)
        return r;
    if (dv_mig_name_parse(text, &name, &why) < 0)
        return dv_yaml_bad(in->yaml, node, in->err, "%s: %s", key, why.msg);
    if (dv_str_copy(ret, DV_MIG_NAME, text) < 0)
        return dv_yaml_bad(in->yaml, node, in->err, "%s: at most %d letters", key, DV_MIG_NAME - 1);
    return 0;
}

/* A 32-bit number as mig-parted takes it: 0x..., or decimal. */
static bool board_number(const char *text, char stop, const char **ret_end, uint32_t *ret)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long n = strtoul(text, &end, strncasecmp(text, "0x", 2) ? 10 : 16);
    *ret = (uint32_t)n;
    *ret_end = end;
    return !errno && n && n <= UINT32_MAX && (!*end || *end == stop);
}

static int filter(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node, const char *key,
                  struct dv_layout_gpu *entry)
{
    struct dv_layout_filter f = {0};
    const char *text, *end = "";
    int r = dv_yaml_text(in->yaml, node, key, &text, in->err);
    if (r < 0)
        return r;
    if (!board_number(text, ':', &end, &f.device) ||
        (*end == ':' && !board_number(end + 1, 0, &end, &f.subsystem)))
        return dv_yaml_bad(in->yaml, node, in->err,
                           "%s: \"%.60s\" is no board; one looks like 0x20B010DE (device and "
                           "vendor) or 0x20B010DE:0x146310DE (and its subsystem)",
                           key, text);
    entry->filters[entry->n_filters++] = f;
    return 0;
}

int dv_layoutfile_filters(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                          const char *key, struct dv_layout_gpu *entry)
{
    if (node->kind == DV_YAML_SCALAR)
        return filter(in, node, key, entry);
    int r = dv_yaml_list(in->yaml, node, key, DV_LAYOUT_FILTERS_MAX, in->err);
    for (uint32_t i = 0; !r && i < node->n; i++)
        r = filter(in, node->items[i], key, entry);
    return r;
}

static bool is_number(const char *text, size_t len)
{
    return len && len < 10 && strspn(text, "0123456789") >= len;
}

/* 0, 0:1, GPU-..., MIG-... */
static bool is_device(const char *text)
{
    size_t len = strlen(text), colon = strcspn(text, ":");
    static const char hex[] = "0123456789abcdefABCDEF-/GPU";
    if (len >= DV_UUID_SIZE)
        return false;
    if (!strncmp(text, "GPU-", 4) || !strncmp(text, "MIG-", 4))
        return len >= 8 && strspn(text + 4, hex) == len - 4;
    return is_number(text, colon) && (colon == len || is_number(text + colon + 1, len - colon - 1));
}

int dv_layoutfile_device_list(struct dv_layoutfile_reader *in, const struct dv_yaml_node *node,
                              const char *key, struct dv_layout_rule *ret)
{
    int r = dv_yaml_list(in->yaml, node, key, DV_LAYOUT_LIST_MAX, in->err);
    if (r < 0)
        return r;
    if (!node->n)
        return dv_yaml_bad(in->yaml, node, in->err,
                           "%s: an empty list means no device; leave the key out to mean all", key);
    ret->list = calloc(node->n, sizeof *ret->list);
    if (!ret->list)
        return -ENOMEM;
    for (uint32_t i = 0; i < node->n; i++) {
        const char *text;
        r = dv_yaml_text(in->yaml, node->items[i], key, &text, in->err);
        if (r < 0)
            return r;
        if (!is_device(text))
            return dv_yaml_bad(in->yaml, node->items[i], in->err,
                               "%s: \"%.60s\" is no device; one is 0 (a GPU), \"0:1\" (a MIG "
                               "device of it) or a UUID (GPU-..., MIG-...)",
                               key, text);
        memcpy(ret->list[ret->n_list++], text, strlen(text) + 1);
    }
    return 0;
}

/* ---- writing ---- */

void dv_layoutfile_add_text(struct dv_str *out, const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-";
    size_t len = strlen(text);
    if (len && strspn(text, plain) == len && strncasecmp(text, "null", 4) != 0 &&
        strspn(text, "-+._") == 0) {
        dv_str_add(out, text);
        return;
    }
    dv_str_addc(out, '"');
    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\')
            dv_str_addc(out, '\\');
        dv_str_addc(out, *p < ' ' && *p >= 0 ? '?' : *p);
    }
    dv_str_addc(out, '"');
}
