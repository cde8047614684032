/* SPDX-License-Identifier: Apache-2.0 */
#include "model/plugin_config.h"

#include "base/str.h"
#include "base/units.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIG "mig-"

int dv_plugin_config_new(struct dv_plugin_config **ret)
{
    struct dv_plugin_config *config = calloc(1, sizeof *config);
    if (!config)
        return -ENOMEM;
    dv_plugin_flags_init(&config->flags);
    config->sharing[DV_PLUGIN_GOVERNED].fail_above_one = true;
    config->sharing[DV_PLUGIN_MPS].fail_above_one = true;
    *ret = config;
    return 0;
}

void dv_plugin_config_free(struct dv_plugin_config *config)
{
    for (int s = 0; config && s < DV_PLUGIN_SECTIONS; s++) {
        for (uint32_t i = 0; i < config->sharing[s].n_shares; i++)
            free(config->sharing[s].shares[i].list);
        free(config->sharing[s].shares);
    }
    free(config);
}

void dv_plugin_config_freep(struct dv_plugin_config **config)
{
    dv_plugin_config_free(*config);
    *config = NULL;
}

const char *dv_plugin_config_section_name(enum dv_plugin_section section)
{
    static const char *const names[] = {"sharing.governed", "sharing.mps", "sharing.timeSlicing"};
    return names[section];
}

enum dv_mode dv_plugin_config_mode(enum dv_plugin_section section)
{
    static const enum dv_mode modes[] = {DV_MODE_GOVERNED, DV_MODE_MPS, DV_MODE_TIMESLICE};
    return modes[section];
}

/* ---- names ---- */

int dv_plugin_config_name(const char *text, bool own, char ret[DV_PLUGIN_NAME], struct dv_err *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789.-";
    const char *prefix = DV_PLUGIN_PREFIX;
    if (own && !strncmp(text, DV_PLUGIN_OWN_PREFIX, strlen(DV_PLUGIN_OWN_PREFIX)))
        prefix = DV_PLUGIN_OWN_PREFIX;
    if (!strncmp(text, prefix, strlen(prefix)))
        text += strlen(prefix);
    size_t len = strlen(text);
    if (strlen(prefix) + len >= DV_PLUGIN_NAME)
        return dv_err_set(err, -EINVAL, "a resource's name has at most %d letters",
                          DV_PLUGIN_NAME - 1);
    if (!len || strspn(text, letters) != len || strchr(".-", text[0]) ||
        strchr(".-", text[len - 1]))
        return dv_err_set(err, -EINVAL,
                          "\"%.63s\" is no resource's name; small letters, digits, '-' and '.' "
                          "are, like " DV_PLUGIN_PREFIX "gpu",
                          text);
    memset(ret, 0, DV_PLUGIN_NAME);
    dv_str_copy(ret, DV_PLUGIN_NAME, prefix);
    return dv_str_copy(ret + strlen(prefix), DV_PLUGIN_NAME - strlen(prefix), text);
}

/* Takes the last '*' longer by one letter whenever what follows it does not fit: quadratic at
 * worst, whatever the number of stars. */
bool dv_plugin_config_fits(const char *pattern, const char *text)
{
    const char *star = NULL, *from = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            from = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

bool dv_plugin_config_profile(const char *name, char ret[DV_MIG_NAME])
{
    static const char prefix[] = DV_PLUGIN_PREFIX MIG;
    struct dv_mig_name parsed;
    char text[DV_MIG_NAME];
    if (strncmp(name, prefix, strlen(prefix)) != 0 ||
        dv_str_copy(text, sizeof text, name + strlen(prefix)) < 0)
        return false;
    char *gb = strstr(text, "gb.");
    if (gb)
        gb[2] = '+';
    if (dv_mig_name_parse(text, &parsed, NULL) < 0)
        return false;
    memcpy(ret, text, sizeof text);
    return true;
}

void dv_plugin_config_mig_name(const char *profile, char ret[DV_PLUGIN_NAME])
{
    snprintf(ret, DV_PLUGIN_NAME, DV_PLUGIN_PREFIX MIG "%.*s", DV_MIG_NAME - 1, profile);
    /* Neither has a place in a resource's name; the original does not meet the comma. */
    for (char *p = ret; *p; p++)
        if (*p == '+' || *p == ',')
            *p = '.';
}

/* ---- shares ---- */

int dv_plugin_config_add(struct dv_plugin_sharing *section, struct dv_plugin_share *share)
{
    uint32_t n = section->n_shares;
    if (n == DV_PLUGIN_SHARES_MAX)
        return -E2BIG;
    if (!(n & (n - 1))) { /* its size is the next power of two */
        void *more = realloc(section->shares, (n ? 2 * (size_t)n : 1) * sizeof *share);
        if (!more)
            return -ENOMEM;
        section->shares = more;
    }
    section->shares[n] = *share;
    section->n_shares++;
    share->list = NULL;
    share->n_list = 0;
    return 0;
}

static const char *listed_in_both(const struct dv_plugin_share *a, const struct dv_plugin_share *b)
{
    for (uint32_t i = 0; i < a->n_list; i++)
        for (uint32_t k = 0; k < b->n_list; k++)
            if (!strcmp(a->list[i], b->list[k]))
                return a->list[i];
    return NULL;
}

const struct dv_plugin_share *dv_plugin_config_clash(const struct dv_plugin_sharing *section,
                                                     const struct dv_plugin_share *share,
                                                     const char **ret_device)
{
    for (uint32_t i = 0; i < section->n_shares; i++) {
        const struct dv_plugin_share *o = &section->shares[i];
        const char *both = listed_in_both(o, share);
        if (!strcmp(o->name, share->name) && (both || !o->n_list || !share->n_list)) {
            *ret_device = both;
            return o;
        }
    }
    return NULL;
}

int dv_plugin_config_check_slices(const struct dv_plugin_share *share, struct dv_err *err)
{
    uint64_t memory = 0, compute = 0;
    char text[DV_UNITS_TEXT];
    for (uint32_t i = 0; i < share->n_slices; i++) {
        const struct dv_plugin_slice *s = &share->slices[i];
        memory += (uint64_t)s->count * s->memory_share;
        compute += (uint64_t)s->count * s->compute_share;
        for (uint32_t k = 0; k < i; k++)
            if (!strcmp(s->name, share->slices[k].name))
                return dv_err_set(err, -EINVAL, "slice %s is given twice", s->name);
    }
    bool of_memory = memory > DV_COMPUTE_FULL;
    if (!of_memory && compute <= DV_COMPUTE_FULL)
        return 0;
    dv_units_format_compute((uint32_t)(of_memory ? memory : compute), text);
    return dv_err_set(err, -EINVAL,
                      "together the slices of a device ask for %s of its %s, where 100%% is all; "
                      "lower them or their counts",
                      text, of_memory ? "memory" : "compute");
}

/* ---- which configuration a node has ---- */

static size_t find_name(const char *const *names, size_t n, const char *name)
{
    size_t i = 0;
    while (i < n && strcmp(names[i], name) != 0)
        i++;
    return i;
}

static int no_such_config(const char *const *names, size_t n, const char *what, const char *name,
                          struct dv_err *err)
{
    char list[240] = "";
    size_t used = 0;
    for (size_t i = 0; i < n && used < sizeof list - 1; i++)
        used +=
            (size_t)snprintf(list + used, sizeof list - used, "%s%.63s", i ? ", " : "", names[i]);
    const char *near = dv_str_nearest(name, names, n);
    return dv_err_set(err, -ENOENT, "%s names the configuration \"%.63s\"%s%s%s; there is %s", what,
                      name, near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "",
                      n ? list : "none");
}

int dv_plugin_config_select(const char *const *names, size_t n, const char *label,
                            const char *chosen, size_t *ret, struct dv_err *err)
{
    bool by_label = label && *label;
    const char *name = by_label ? label : chosen && *chosen ? chosen : NULL;
    size_t i = find_name(names, n, name ? name : "default");
    if (i == n && name)
        return no_such_config(names, n,
                              by_label ? "the node's label nvidia.com/device-plugin.config"
                                       : "the default configuration's setting",
                              name, err);
    if (i == n && n == 1)
        i = 0;
    *ret = i;
    return 0;
}
