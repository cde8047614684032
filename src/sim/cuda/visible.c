/* SPDX-License-Identifier: Apache-2.0 */
#include "visible.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct chosen {
    uint32_t *index;
    uint32_t n, max;
};

static void show(struct chosen *c, uint32_t index)
{
    if (c->n < c->max)
        c->index[c->n++] = index;
}

static bool shown(const struct chosen *c, uint32_t index)
{
    for (uint32_t i = 0; i < c->n; i++)
        if (c->index[i] == index)
            return true;
    return false;
}

static bool usable(const struct dv_sim_device *d)
{
    return d->mig || !d->mig_enabled;
}

/* The old form of a MIG device's name. */
static bool old_mig_name(const struct dv_sim_device *all, uint32_t n, const struct dv_sim_device *d,
                         const char *word, size_t length)
{
    char name[2 * DV_SIM_UUID_SIZE];
    for (uint32_t i = 0; i < n; i++) {
        if (all[i].mig || all[i].gpu != d->gpu)
            continue;
        int w = snprintf(name, sizeof(name), "MIG-%.*s/%u/%u", (int)sizeof(all[i].uuid),
                         all[i].uuid, d->gi_id, d->ci_id);
        return w > 0 && (size_t)w == length && strncasecmp(name, word, length) == 0;
    }
    return false;
}

/* The device that a UUID, or a unique beginning of one, names; n = none or several. */
static uint32_t by_uuid(const struct dv_sim_device *all, uint32_t n, const char *word,
                        size_t length)
{
    uint32_t found = n;
    for (uint32_t i = 0; i < n; i++) {
        bool is = (length <= sizeof(all[i].uuid) && strncasecmp(all[i].uuid, word, length) == 0) ||
                  (all[i].mig && old_mig_name(all, n, &all[i], word, length));
        if (is && found != n)
            return n;
        if (is)
            found = i;
    }
    return found;
}

/* The index counts whole GPUs; one in MIG mode stands for its first MIG device. */
static uint32_t by_index(const struct dv_sim_device *all, uint32_t n, uint64_t index)
{
    uint64_t seen = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (all[i].mig || seen++ != index)
            continue;
        if (!all[i].mig_enabled)
            return i;
        for (uint32_t m = 0; m < n; m++)
            if (all[m].mig && all[m].gpu == all[i].gpu)
                return m;
    }
    /* What an MPS server serves may be a MIG device alone. */
    return n && all[0].mig && index < n ? (uint32_t)index : n;
}

static uint32_t by_word(const struct dv_sim_device *all, uint32_t n, const char *word,
                        size_t length)
{
    uint64_t index = 0;
    if (length == 0)
        return n;
    if (length > 4 && (strncasecmp(word, "GPU-", 4) == 0 || strncasecmp(word, "MIG-", 4) == 0))
        return by_uuid(all, n, word, length);
    for (size_t i = 0; i < length; i++) {
        if (word[i] < '0' || word[i] > '9' || index > DV_SIM_PAYLOAD_MAX)
            return n;
        index = index * 10 + (uint64_t)(word[i] - '0');
    }
    return by_index(all, n, index);
}

static void show_listed(const struct dv_sim_device *all, uint32_t n, const char *list,
                        struct chosen *c)
{
    while (*list) {
        size_t skip = strspn(list, " \t");
        size_t length = strcspn(list + skip, ", \t");
        uint32_t i = by_word(all, n, list + skip, length);
        if (i >= n || !usable(&all[i]) || shown(c, i))
            return;
        show(c, i);
        if (all[i].mig) /* alone, as the driver gives a process one MIG device */
            return;
        list += skip + length;
        list += strspn(list, " \t");
        list += *list == ',';
    }
}

uint32_t dv_visible_select(const struct dv_sim_device *all, uint32_t n, const char *list,
                           uint32_t *ret, uint32_t max)
{
    struct chosen c = {ret, 0, max};
    bool any_mig = false;
    if (list) {
        show_listed(all, n, list, &c);
        return c.n;
    }
    for (uint32_t i = 0; i < n; i++)
        any_mig = any_mig || all[i].mig;
    for (uint32_t i = 0; i < n; i++) {
        if (any_mig ? all[i].mig : usable(&all[i]))
            show(&c, i);
        if (any_mig && c.n)
            break;
    }
    return c.n;
}
