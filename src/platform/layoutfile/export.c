/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node is and what it could be, in mig-parted's format; laid out as its `export` and
 * `generate-config` print it: names in natural order (1g.5gb before 1g.10gb), lists in one line.
 */
#include "layoutfile/internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VENDOR 0x10DEu
#define PROFILES_MAX DV_MIG_PROFILES_MAX

/* Letter by letter, but numbers by their value. */
static int natural_order(const char *a, const char *b)
{
    while (*a && *b) {
        if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
            char *end_a, *end_b;
            unsigned long na = strtoul(a, &end_a, 10), nb = strtoul(b, &end_b, 10);
            if (na != nb)
                return na < nb ? -1 : 1;
            a = end_a;
            b = end_b;
        } else if (*a != *b) {
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        } else {
            a++;
            b++;
        }
    }
    return (*a != 0) - (*b != 0);
}

/* A set of MIG devices: profiles with their counts, in natural order. */
struct set {
    bool enabled;
    uint32_t n;
    struct {
        char name[DV_MIG_NAME];
        uint32_t count;
    } of[PROFILES_MAX];
};

static void set_add(struct set *s, const char *name, uint32_t count)
{
    uint32_t i = 0;
    while (i < s->n && natural_order(s->of[i].name, name) < 0)
        i++;
    if (i < s->n && !strcmp(s->of[i].name, name)) {
        s->of[i].count += count;
        return;
    }
    if (s->n == PROFILES_MAX)
        return;
    memmove(&s->of[i + 1], &s->of[i], (s->n - i) * sizeof s->of[0]);
    s->n++;
    dv_str_copy(s->of[i].name, sizeof s->of[i].name, name);
    s->of[i].count = count;
}

static bool set_equal(const struct set *a, const struct set *b)
{
    if (a->enabled != b->enabled || a->n != b->n)
        return false;
    for (uint32_t i = 0; i < a->n; i++)
        if (strcmp(a->of[i].name, b->of[i].name) != 0 || a->of[i].count != b->of[i].count)
            return false;
    return true;
}

static uint32_t board_of(const struct dv_gpu *gpu)
{
    return gpu->pci_device_id << 16 | VENDOR;
}

/* A set of boards, sorted, each once. */
struct boards {
    uint32_t n;
    uint32_t of[DV_GPUS_MAX];
};

static void boards_add(struct boards *b, uint32_t board)
{
    uint32_t i = 0;
    while (i < b->n && b->of[i] < board)
        i++;
    if ((i < b->n && b->of[i] == board) || b->n == DV_GPUS_MAX)
        return;
    memmove(&b->of[i + 1], &b->of[i], (b->n - i) * sizeof b->of[0]);
    b->of[i] = board;
    b->n++;
}

static bool boards_have(const struct boards *b, uint32_t board)
{
    for (uint32_t i = 0; i < b->n; i++)
        if (b->of[i] == board)
            return true;
    return false;
}

/* ---- an entry ---- */

static void add_filter(struct dv_str *out, const struct boards *b, bool as_list)
{
    dv_str_add(out, "  - device-filter: ");
    if (as_list)
        dv_str_addc(out, '[');
    for (uint32_t i = 0; i < b->n; i++)
        dv_str_addf(out, "%s\"0x%08X\"", i ? ", " : "", b->of[i]);
    dv_str_add(out, as_list ? "]\n    " : "\n    ");
}

static void add_set(struct dv_str *out, const struct set *s)
{
    dv_str_addf(out, "    mig-enabled: %s\n    mig-devices:%s\n", s->enabled ? "true" : "false",
                s->n ? "" : " {}");
    for (uint32_t i = 0; i < s->n; i++)
        dv_str_addf(out, "      %s: %u\n", s->of[i].name, s->of[i].count);
}

/* ---- export ---- */

static struct set set_of(const struct dv_snapshot *snapshot, const struct dv_gpu *gpu)
{
    struct set s = {.enabled = gpu->mig_enabled};
    for (size_t i = 0; i < snapshot->n_devices; i++) {
        const struct dv_device *d = &snapshot->devices[i];
        if (d->gpu == gpu->index && d->mig && d->profile[0])
            set_add(&s, d->profile, 1);
    }
    return s;
}

static bool like(const struct dv_snapshot *snapshot, size_t a, size_t b)
{
    struct set x = set_of(snapshot, &snapshot->gpus[a]), y = set_of(snapshot, &snapshot->gpus[b]);
    return set_equal(&x, &y);
}

/* The first GPU that is cut like this one. */
static size_t leader_of(const struct dv_snapshot *snapshot, size_t i)
{
    size_t k = 0;
    while (k < i && !like(snapshot, k, i))
        k++;
    return k;
}

/* Of the GPUs cut like `leader`: their boards, and whether they are all that there are of these. */
static bool whole_boards(const struct dv_snapshot *snapshot, size_t leader, struct boards *ret)
{
    *ret = (struct boards){0};
    for (size_t i = leader; i < snapshot->n_gpus; i++)
        if (leader_of(snapshot, i) == leader)
            boards_add(ret, board_of(&snapshot->gpus[i]));
    for (size_t i = 0; i < snapshot->n_gpus; i++)
        if (boards_have(ret, board_of(&snapshot->gpus[i])) && leader_of(snapshot, i) != leader)
            return false;
    return true;
}

static void add_group(struct dv_str *out, const struct dv_snapshot *snapshot, size_t leader,
                      bool filtered)
{
    struct boards boards;
    bool all = whole_boards(snapshot, leader, &boards);
    if (filtered)
        add_filter(out, &boards, boards.n > 1);
    else
        dv_str_add(out, "  - ");
    dv_str_add(out, all ? "devices: all\n" : "devices: [");
    bool first = true;
    for (size_t i = leader; !all && i < snapshot->n_gpus; i++) {
        if (leader_of(snapshot, i) != leader)
            continue;
        dv_str_addf(out, "%s%u", first ? "" : ", ", snapshot->gpus[i].index);
        first = false;
    }
    if (!all)
        dv_str_add(out, "]\n");
    struct set s = set_of(snapshot, &snapshot->gpus[leader]);
    add_set(out, &s);
}

void dv_layoutfile_export(const struct dv_snapshot *snapshot, const char *config,
                          struct dv_str *out)
{
    struct boards boards = {0};
    size_t groups = 0;
    for (size_t i = 0; i < snapshot->n_gpus; i++) {
        boards_add(&boards, board_of(&snapshot->gpus[i]));
        groups += leader_of(snapshot, i) == i;
    }
    dv_str_add(out, "version: v1\nmig-configs:\n  ");
    dv_layoutfile_add_text(out, config);
    dv_str_add(out, groups ? ":\n" : ": []\n");
    for (size_t i = 0; i < snapshot->n_gpus; i++)
        if (leader_of(snapshot, i) == i)
            add_group(out, snapshot, i, groups > 1 && boards.n > 1);
}

/* ---- generate ---- */

/* The kinds of board on the node that can do MIG, each with its geometry. */
struct kinds {
    struct boards boards;
    const struct dv_mig_geometry *geometry[DV_GPUS_MAX];
};

static void find_kinds(const struct dv_snapshot *snapshot,
                       const struct dv_mig_geometry *const *geometries, struct kinds *ret)
{
    for (size_t i = 0; i < snapshot->n_gpus; i++)
        if (geometries[i])
            boards_add(&ret->boards, board_of(&snapshot->gpus[i]));
    for (size_t i = 0; i < snapshot->n_gpus; i++)
        for (uint32_t k = 0; k < ret->boards.n; k++)
            if (geometries[i] && ret->boards.of[k] == board_of(&snapshot->gpus[i]))
                ret->geometry[k] = geometries[i];
}

static bool is_base(const struct dv_mig_profile *p)
{
    return p->media == DV_MIG_MEDIA_DEFAULT && !p->graphics;
}

/* Of the profiles of so many slices that are not special, the one that fits most often. */
static const struct dv_mig_profile *base_of(const struct dv_mig_geometry *g, uint32_t slices)
{
    const struct dv_mig_profile *best = NULL;
    for (uint32_t i = 0; i < g->n_profiles; i++) {
        const struct dv_mig_profile *p = &g->profiles[i];
        if (is_base(p) && p->slices == slices && (!best || p->max_instances > best->max_instances))
            best = p;
    }
    return best;
}

/* Two of one slice, one of two, and on a GPU of seven one of three. */
static bool balanced(const struct dv_mig_geometry *g, struct set *ret)
{
    uint32_t total = 0;
    for (uint32_t i = 0; i < g->n_profiles; i++)
        if (is_base(&g->profiles[i]))
            total = DV_MAX(total, g->profiles[i].slices);
    const struct dv_mig_profile *one = base_of(g, 1), *two = base_of(g, 2), *three = base_of(g, 3);
    *ret = (struct set){.enabled = true};
    if (!one || !two || (total == 7 ? !three : total != 4))
        return false;
    set_add(ret, one->name, 2);
    set_add(ret, two->name, 1);
    if (total == 7)
        set_add(ret, three->name, 1);
    return true;
}

static void add_generated(struct dv_str *out, const struct kinds *kinds, const struct boards *which,
                          const struct set *s)
{
    if (kinds->boards.n > 1)
        add_filter(out, which, true);
    else
        dv_str_add(out, "  - ");
    dv_str_add(out, "devices: all\n");
    add_set(out, s);
}

static void add_balanced(struct dv_str *out, const struct kinds *kinds)
{
    bool any = false;
    for (uint32_t k = 0; k < kinds->boards.n; k++) {
        struct set s;
        struct boards one = {.n = 1, .of = {kinds->boards.of[k]}};
        if (!balanced(kinds->geometry[k], &s))
            continue;
        if (!any)
            dv_str_add(out, "  all-balanced:\n");
        any = true;
        add_generated(out, kinds, &one, &s);
    }
}

static uint32_t most_of(const struct dv_mig_geometry *g, const char *profile)
{
    for (uint32_t i = 0; i < g->n_profiles; i++)
        if (!strcmp(g->profiles[i].name, profile))
            return g->profiles[i].max_instances;
    return 0;
}

/* As a profile is called within a configuration's name. */
static const char *plain_name(const char *profile, char buf[DV_MIG_NAME])
{
    dv_str_copy(buf, DV_MIG_NAME, profile);
    for (char *p = buf; *p; p++)
        if (*p == '+')
            *p = '.';
    return buf;
}

static int config_order(const char *a, const char *b)
{
    char x[DV_MIG_NAME], y[DV_MIG_NAME];
    return natural_order(plain_name(a, x), plain_name(b, y));
}

/* all-PROFILE: boards that hold the same number of them in one entry, the smallest number first. */
static void add_profile(struct dv_str *out, const struct kinds *kinds, const char *profile)
{
    char name[DV_MIG_NAME];
    dv_str_addf(out, "  all-%s:\n", plain_name(profile, name));
    for (uint32_t count = 1; count <= DV_MIG_INSTANCES_MAX; count++) {
        struct set s = {.enabled = true};
        struct boards which = {0};
        for (uint32_t k = 0; k < kinds->boards.n; k++)
            if (most_of(kinds->geometry[k], profile) == count)
                boards_add(&which, kinds->boards.of[k]);
        if (!which.n)
            continue;
        set_add(&s, profile, count);
        add_generated(out, kinds, &which, &s);
    }
}

/* The next profile of any board after `last`, in the order of the configurations' names; NULL past
 * the end. */
static const char *next_profile(const struct kinds *kinds, const char *last)
{
    const char *next = NULL;
    for (uint32_t k = 0; k < kinds->boards.n; k++)
        for (uint32_t i = 0; i < kinds->geometry[k]->n_profiles; i++) {
            const char *name = kinds->geometry[k]->profiles[i].name;
            if (config_order(name, last) > 0 && (!next || config_order(name, next) < 0))
                next = name;
        }
    return next;
}

void dv_layoutfile_generate(const struct dv_snapshot *snapshot,
                            const struct dv_mig_geometry *const *geometries, struct dv_str *out)
{
    struct kinds kinds = {0};
    find_kinds(snapshot, geometries, &kinds);
    dv_str_add(out, "version: v1\nmig-configs:\n");
    for (const char *p = next_profile(&kinds, ""); p; p = next_profile(&kinds, p))
        add_profile(out, &kinds, p);
    add_balanced(out, &kinds);
    dv_str_add(out, "  all-disabled:\n  - devices: all\n    mig-enabled: false\n"
                    "    mig-devices: {}\n"
                    "  all-enabled:\n  - devices: all\n    mig-enabled: true\n"
                    "    mig-devices: {}\n");
}
