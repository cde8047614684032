/* SPDX-License-Identifier: Apache-2.0 */
#include "model/mig.h"

#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENGINES(ce, dec, enc, jpg, of)                                                             \
    {                                                                                              \
        ce, dec, enc, jpg, of                                                                      \
    }
#define NO_ENGINES                                                                                 \
    {                                                                                              \
        DV_MIG_UNKNOWN, DV_MIG_UNKNOWN, DV_MIG_UNKNOWN, DV_MIG_UNKNOWN, DV_MIG_UNKNOWN             \
    }
#define PROFILE(label, number, enumerator, compute, pieces, where, most, mib, sms, kind, gfx, ...) \
    {.name = label,                                                                                \
     .id = number,                                                                                 \
     .nvml = enumerator,                                                                           \
     .slices = compute,                                                                            \
     .size = pieces,                                                                               \
     .starts = where,                                                                              \
     .max_instances = most,                                                                        \
     .memory_bytes = (mib)*DV_MIB,                                                                 \
     .sm = sms,                                                                                    \
     .media = DV_MIG_MEDIA_##kind,                                                                 \
     .graphics = gfx,                                                                              \
     .engines = __VA_ARGS__},
#define GEOMETRY(ident, label, pieces, compute, ...)                                               \
    const struct dv_mig_geometry dv_mig_geometry_##ident = {                                       \
        .name = label,                                                                             \
        .grid = pieces,                                                                            \
        .slices = compute,                                                                         \
        .n_profiles =                                                                              \
            sizeof((struct dv_mig_profile[]){__VA_ARGS__}) / sizeof(struct dv_mig_profile),        \
        .profiles = {__VA_ARGS__}};
#include "model/mig_profiles.def"
#undef GEOMETRY

#define GEOMETRY(ident, ...) &dv_mig_geometry_##ident,
static const struct dv_mig_geometry *const geometries[] = {
#include "model/mig_profiles.def"
};
#undef GEOMETRY

const struct dv_mig_geometry *dv_mig_geometry_at(size_t i)
{
    return i < DV_ARRAY_SIZE(geometries) ? geometries[i] : NULL;
}

const struct dv_mig_geometry *dv_mig_geometry_find(const char *name)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(geometries); i++)
        if (!strcmp(geometries[i]->name, name))
            return geometries[i];
    return NULL;
}

static int check_profile(const struct dv_mig_geometry *g, const struct dv_mig_profile *p,
                         struct dv_err *err)
{
    struct dv_mig_name name;
    if (!memchr(p->name, 0, sizeof p->name))
        return dv_err_set(err, -EINVAL, "MIG profile id %u: its name has no end", p->id);
    int r = dv_mig_name_parse(p->name, &name, err);
    if (r < 0)
        return r;
    if (!p->size || p->size > g->grid)
        return dv_err_set(err, -EINVAL, "MIG profile %s: size %u on a grid of %u", p->name, p->size,
                          g->grid);
    uint32_t legal = (UINT32_C(1) << (g->grid - p->size + 1)) - 1;
    if (!p->starts || (p->starts & ~legal))
        return dv_err_set(err, -EINVAL, "MIG profile %s: starts 0x%x with size %u on a grid of %u",
                          p->name, p->starts, p->size, g->grid);
    if (!p->slices || p->slices > g->slices)
        return dv_err_set(err, -EINVAL, "MIG profile %s: %u compute slices of %u", p->name,
                          p->slices, g->slices);
    if (!p->max_instances || p->max_instances > DV_MIG_INSTANCES_MAX)
        return dv_err_set(err, -EINVAL, "MIG profile %s: at most %u instances", p->name,
                          p->max_instances);
    return 0;
}

int dv_mig_geometry_check(const struct dv_mig_geometry *geometry, struct dv_err *err)
{
    const struct dv_mig_geometry *g = geometry;
    if (!g->grid || g->grid > DV_MIG_GRID_MAX)
        return dv_err_set(err, -EINVAL,
                          "MIG geometry: a memory grid of %u pieces, 1 to %d expected", g->grid,
                          DV_MIG_GRID_MAX);
    if (!g->slices || g->slices > DV_COMPUTE_FULL)
        return dv_err_set(err, -EINVAL, "MIG geometry: %u compute slices", g->slices);
    if (!g->n_profiles || g->n_profiles > DV_MIG_PROFILES_MAX)
        return dv_err_set(err, -EINVAL, "MIG geometry: %u profiles, 1 to %d expected",
                          g->n_profiles, DV_MIG_PROFILES_MAX);
    for (uint32_t i = 0; i < g->n_profiles; i++) {
        int r = check_profile(g, &g->profiles[i], err);
        if (r < 0)
            return r;
        for (uint32_t k = 0; k < i; k++)
            if (g->profiles[k].id == g->profiles[i].id ||
                !strcmp(g->profiles[k].name, g->profiles[i].name))
                return dv_err_set(err, -EINVAL, "MIG profile %s (id %u) is listed twice",
                                  g->profiles[i].name, g->profiles[i].id);
    }
    return 0;
}

void dv_mig_geometry_estimate(struct dv_mig_geometry *geometry, uint64_t memory_bytes, uint32_t sm)
{
    const uint64_t round = 128 * DV_MIB;
    for (uint32_t i = 0; i < geometry->n_profiles; i++) {
        struct dv_mig_profile *p = &geometry->profiles[i];
        if (!p->memory_bytes)
            p->memory_bytes = memory_bytes / geometry->grid * p->size / round * round;
        if (!p->sm)
            p->sm = sm / geometry->slices * p->slices;
    }
}

/* ---- names ---- */

/* A decimal number without sign or leading zero, 1 .. max. Moves *p behind it. */
static bool take_number(const char **p, uint32_t max, uint32_t *ret)
{
    uint32_t value = 0;
    const char *s = *p;
    if (*s < '1' || *s > '9')
        return false;
    for (; *s >= '0' && *s <= '9'; s++) {
        value = value * 10 + (uint32_t)(*s - '0');
        if (value > max)
            return false;
    }
    *p = s;
    *ret = value;
    return true;
}

static bool take_text(const char **p, const char *text)
{
    size_t n = strlen(text);
    if (strncmp(*p, text, n) != 0)
        return false;
    *p += n;
    return true;
}

/* "+me", "+me.all", "+gfx", "-me", several of them joined by '+' or ','. */
static bool take_attributes(const char **p, struct dv_mig_name *name)
{
    if (take_text(p, "-me")) {
        name->media = DV_MIG_MEDIA_NONE;
        return !**p;
    }
    while (**p == '+' || (**p == ',' && (name->graphics || name->media))) {
        ++*p;
        bool media = name->media != DV_MIG_MEDIA_DEFAULT;
        if (!media && take_text(p, "me.all"))
            name->media = DV_MIG_MEDIA_ALL;
        else if (!media && take_text(p, "me"))
            name->media = DV_MIG_MEDIA_ONE;
        else if (!name->graphics && take_text(p, "gfx"))
            name->graphics = true;
        else
            return false;
    }
    return !**p;
}

int dv_mig_name_parse(const char *text, struct dv_mig_name *ret, struct dv_err *err)
{
    struct dv_mig_name name = {0};
    const char *p = text;
    uint32_t n = 0;
    bool ok = take_number(&p, 99, &n);
    if (ok && take_text(&p, "c.")) {
        name.compute = n;
        ok = take_number(&p, 99, &n);
    }
    name.slices = n;
    ok = ok && take_text(&p, "g.") && take_number(&p, 9999, &name.gigabytes) &&
         take_text(&p, "gb") && take_attributes(&p, &name) && name.compute <= name.slices;
    if (!ok)
        return dv_err_set(err, -EINVAL,
                          "\"%.40s\" is not a MIG profile's name; one looks like 3g.20gb, "
                          "1g.5gb+me or 1c.3g.20gb",
                          text);
    *ret = name;
    return 0;
}

const char *dv_mig_name_format(const struct dv_mig_name *name, char buf[DV_MIG_NAME])
{
    static const char *const media[] = {[DV_MIG_MEDIA_DEFAULT] = "",
                                        [DV_MIG_MEDIA_ONE] = "+me",
                                        [DV_MIG_MEDIA_ALL] = "+me.all",
                                        [DV_MIG_MEDIA_NONE] = "-me"};
    char compute[8] = "";
    if (name->compute)
        snprintf(compute, sizeof compute, "%uc.", name->compute % 100);
    snprintf(buf, DV_MIG_NAME, "%s%ug.%ugb%s%s", compute, name->slices % 100,
             name->gigabytes % 10000, name->graphics ? "+gfx" : "", media[name->media]);
    return buf;
}

/* ---- profiles ---- */

const struct dv_mig_profile *dv_mig_profile_by_id(const struct dv_mig_geometry *geometry,
                                                  uint32_t id)
{
    for (uint32_t i = 0; i < geometry->n_profiles; i++)
        if (geometry->profiles[i].id == id)
            return &geometry->profiles[i];
    return NULL;
}

const struct dv_mig_profile *dv_mig_profile_by_nvml(const struct dv_mig_geometry *geometry,
                                                    uint32_t nvml)
{
    for (uint32_t i = 0; i < geometry->n_profiles; i++)
        if (geometry->profiles[i].nvml == nvml)
            return &geometry->profiles[i];
    return NULL;
}

static void refuse_name(const struct dv_mig_geometry *g, const char *text, struct dv_err *err)
{
    if (!err)
        return;
    dv_cleanup(dv_str_done) struct dv_str list = {0};
    for (uint32_t i = 0; i < g->n_profiles; i++)
        dv_str_addf(&list, "%s%s (%u)", i ? ", " : "", g->profiles[i].name, g->profiles[i].id);
    dv_err_set(err, 0, "no MIG profile \"%.40s\"%s%s; there are: %s", text, g->name ? " on " : "",
               g->name ? g->name : "", dv_str_get(&list));
}

const struct dv_mig_profile *dv_mig_profile_find(const struct dv_mig_geometry *geometry,
                                                 const char *text, struct dv_err *err)
{
    if (!strncmp(text, "MIG ", 4))
        text += 4;
    char *end = NULL;
    unsigned long id = strtoul(text, &end, 10);
    bool numeric = *text >= '0' && *text <= '9' && !*end;
    for (uint32_t i = 0; i < geometry->n_profiles; i++) {
        const struct dv_mig_profile *p = &geometry->profiles[i];
        if (numeric ? p->id == id : !strcmp(p->name, text))
            return p;
    }
    refuse_name(geometry, text, err);
    return NULL;
}

bool dv_mig_profile_has_media(const struct dv_mig_profile *profile)
{
    const struct dv_mig_engines *e = &profile->engines;
    if (e->decoder == DV_MIG_UNKNOWN)
        return profile->media != DV_MIG_MEDIA_NONE;
    return e->decoder > 0 || e->encoder > 0 || e->jpeg > 0 || e->ofa > 0;
}

uint32_t dv_mig_mask(const struct dv_mig_profile *profile, uint32_t start)
{
    return ((UINT32_C(1) << profile->size) - 1) << start;
}

uint32_t dv_mig_instance_id(const struct dv_mig_geometry *geometry,
                            const struct dv_mig_profile *profile, uint32_t start)
{
    return geometry->grid / profile->size - 1 + start / profile->size;
}

uint32_t dv_mig_compute(const struct dv_mig_geometry *geometry,
                        const struct dv_mig_profile *profile)
{
    return DV_COMPUTE_FULL * profile->slices / geometry->slices;
}

/* ---- which sets are legal ---- */

static enum dv_mig_rule refuse(struct dv_mig_refusal *ret, struct dv_mig_refusal refusal)
{
    if (ret)
        *ret = refusal;
    return refusal.rule;
}

static enum dv_mig_rule check_sums(const struct dv_mig_geometry *g, const struct dv_mig_instance *v,
                                   size_t n, struct dv_mig_refusal *ret)
{
    uint32_t count[DV_MIG_PROFILES_MAX] = {0};
    uint32_t slices = 0, pieces = 0;
    for (size_t i = 0; i < n; i++) {
        count[v[i].profile]++;
        slices += g->profiles[v[i].profile].slices;
        pieces += g->profiles[v[i].profile].size;
    }
    for (uint32_t p = 0; p < g->n_profiles; p++)
        if (count[p] > g->profiles[p].max_instances)
            return refuse(ret, (struct dv_mig_refusal){.rule = DV_MIG_RULE_COUNT,
                                                       .profile = p,
                                                       .asked = count[p],
                                                       .limit = g->profiles[p].max_instances});
    uint32_t last = n ? v[n - 1].profile : 0;
    if (slices > g->slices)
        return refuse(ret, (struct dv_mig_refusal){.rule = DV_MIG_RULE_COMPUTE,
                                                   .profile = last,
                                                   .asked = slices,
                                                   .limit = g->slices});
    if (pieces > g->grid)
        return refuse(ret, (struct dv_mig_refusal){.rule = DV_MIG_RULE_MEMORY,
                                                   .profile = last,
                                                   .asked = pieces,
                                                   .limit = g->grid});
    return DV_MIG_OK;
}

/* Of some engines a GPU has one (OFA; JPEG on Ampere), so one "+me" instance at a time, whatever
 * its size; and "+me.all" leaves no engine to anybody else. */
static enum dv_mig_rule check_media(const struct dv_mig_geometry *g,
                                    const struct dv_mig_instance *v, size_t n,
                                    struct dv_mig_refusal *ret)
{
    for (size_t i = 0; i < n; i++) {
        const struct dv_mig_profile *a = &g->profiles[v[i].profile];
        if (a->media != DV_MIG_MEDIA_ONE && a->media != DV_MIG_MEDIA_ALL)
            continue;
        for (size_t k = 0; k < n; k++) {
            const struct dv_mig_profile *b = &g->profiles[v[k].profile];
            bool clash = a->media == DV_MIG_MEDIA_ALL ? dv_mig_profile_has_media(b)
                                                      : b->media == DV_MIG_MEDIA_ONE;
            if (k == i || !clash)
                continue;
            return refuse(ret, (struct dv_mig_refusal){.rule = DV_MIG_RULE_MEDIA,
                                                       .profile = v[DV_MAX(i, k)].profile,
                                                       .other = v[DV_MIN(i, k)].profile});
        }
    }
    return DV_MIG_OK;
}

static enum dv_mig_rule check_places(const struct dv_mig_geometry *g,
                                     const struct dv_mig_instance *v, size_t n,
                                     struct dv_mig_refusal *ret)
{
    for (size_t i = 0; i < n; i++) {
        const struct dv_mig_profile *a = &g->profiles[v[i].profile];
        if (v[i].start == DV_MIG_UNPLACED)
            continue;
        struct dv_mig_refusal refusal = {.profile = v[i].profile, .start = v[i].start};
        if (v[i].start >= g->grid || !(a->starts & (UINT32_C(1) << v[i].start))) {
            refusal.rule = DV_MIG_RULE_START;
            return refuse(ret, refusal);
        }
        for (size_t k = 0; k < i; k++) {
            const struct dv_mig_profile *b = &g->profiles[v[k].profile];
            if (v[k].start == DV_MIG_UNPLACED ||
                !(dv_mig_mask(a, v[i].start) & dv_mig_mask(b, v[k].start)))
                continue;
            refusal.rule = DV_MIG_RULE_OVERLAP;
            refusal.other = v[k].profile;
            refusal.other_start = v[k].start;
            return refuse(ret, refusal);
        }
    }
    return DV_MIG_OK;
}

enum dv_mig_rule dv_mig_check(const struct dv_mig_geometry *geometry,
                              const struct dv_mig_instance *instances, size_t n,
                              struct dv_mig_refusal *ret)
{
    enum dv_mig_rule rule = check_sums(geometry, instances, n, ret);
    if (!rule)
        rule = check_media(geometry, instances, n, ret);
    if (!rule)
        rule = check_places(geometry, instances, n, ret);
    return rule;
}

/* ---- compute instances ---- */

static uint32_t sm_of_one_slice(const struct dv_mig_geometry *g)
{
    for (uint32_t i = 0; i < g->n_profiles; i++)
        if (g->profiles[i].slices == 1)
            return g->profiles[i].sm;
    return 0;
}

size_t dv_mig_compute_profiles(const struct dv_mig_geometry *geometry,
                               const struct dv_mig_profile *profile,
                               struct dv_mig_compute_profile ret[DV_MIG_COMPUTE_PROFILES_MAX])
{
    /* Slices by id. Drivers offer at most half of an instance, rounded up, or all of it: a 4g has
     * 1c, 2c and 4c, a 7g has 1c, 2c, 3c, 4c and 7c (nvidia-smi mig -lcip in public listings). */
    static const uint32_t slices[] = {1, 2, 3, 4, 7, 8, 6};
    uint32_t one = sm_of_one_slice(geometry);
    size_t n = 0;
    for (uint32_t id = 0; id < DV_ARRAY_SIZE(slices); id++) {
        uint32_t c = slices[id];
        bool whole = c == profile->slices;
        if (!whole && (c > (profile->slices + 1) / 2 || c > 4))
            continue;
        ret[n++] = (struct dv_mig_compute_profile){.id = id,
                                                   .slices = c,
                                                   .max_instances = profile->slices / c,
                                                   .sm = whole ? profile->sm : one * c,
                                                   .whole = whole};
    }
    return n;
}

const char *dv_mig_compute_name(const struct dv_mig_profile *profile,
                                const struct dv_mig_compute_profile *compute, char buf[DV_MIG_NAME])
{
    char prefix[8] = "";
    if (!compute->whole)
        snprintf(prefix, sizeof prefix, "%uc.", compute->slices % 100);
    snprintf(buf, DV_MIG_NAME, "%s%.*s", prefix, (int)(DV_MIG_NAME - sizeof prefix), profile->name);
    return buf;
}
