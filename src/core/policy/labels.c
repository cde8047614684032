/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/labels.h"

#include "base/str.h"
#include "base/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "nvidia.com/"
#define GPU PREFIX "gpu"
#define CLASS_VGA 0x0300u
#define CLASS_3D 0x0302u
#define VALUE_MAX (DV_LABELS_VALUE - 1)

static const char *const mig_names[] = {[DV_MIG_STRATEGY_NONE] = "none",
                                        [DV_MIG_STRATEGY_SINGLE] = "single",
                                        [DV_MIG_STRATEGY_MIXED] = "mixed"};

const char *dv_labels_mig_name(enum dv_mig_strategy mig)
{
    return mig < DV_ARRAY_SIZE(mig_names) ? mig_names[mig] : "none";
}

int dv_labels_mig_parse(const char *text, enum dv_mig_strategy *ret, struct dv_err *err)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(mig_names); i++)
        if (!strcmp(text, mig_names[i])) {
            *ret = (enum dv_mig_strategy)i;
            return 0;
        }
    return dv_err_set(err, -EINVAL, "'%.32s' is no MIG strategy: none, single or mixed", text);
}

const char *dv_labels_sharing_name(enum dv_labels_sharing sharing)
{
    static const char *const names[] = {[DV_LABELS_NOT_SHARED] = "none",
                                        [DV_LABELS_TIME_SLICING] = "time-slicing",
                                        [DV_LABELS_MPS] = "mps",
                                        [DV_LABELS_GOVERNED] = "governed"};
    return sharing < DV_ARRAY_SIZE(names) ? names[sharing] : "none";
}

/* ---- values --------------------------------------------------------------------------------- */

static bool is_alnum(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool may_stand(char c)
{
    return is_alnum(c) || c == '-' || c == '_' || c == '.';
}

/* A value begins and ends with a letter or a digit, or is empty. */
static void trim(char *text)
{
    size_t n = strlen(text), first = 0;
    while (text[first] && !is_alnum(text[first]))
        first++;
    while (n > first && !is_alnum(text[n - 1]))
        n--;
    memmove(text, text + first, n - first);
    text[n - first] = 0;
}

void dv_labels_sanitise(const char *text, size_t max, char *ret)
{
    size_t n = 0;
    bool blank = false;
    for (; *text && n < max; text++) {
        if (*text == ' ') {
            blank = n > 0;
            continue;
        }
        if (!may_stand(*text))
            continue;
        if (blank && n + 1 >= max)
            break;
        if (blank)
            ret[n++] = '-';
        blank = false;
        ret[n++] = *text;
    }
    ret[n] = 0;
    trim(ret);
}

/* ---- the list ------------------------------------------------------------------------------- */

struct maker {
    const struct dv_snapshot *snapshot;
    const struct dv_labels_settings *settings;
    struct dv_label *list;
    size_t n, cap;
    bool failed;
};

static struct dv_label *place(struct maker *m, const char *key)
{
    for (size_t i = 0; i < m->n; i++)
        if (!strcmp(m->list[i].key, key))
            return &m->list[i];
    if (m->n == m->cap) {
        size_t cap = m->cap ? 2 * m->cap : 64;
        struct dv_label *more = cap > DV_LABELS_MAX ? NULL : realloc(m->list, cap * sizeof *more);
        m->failed |= !more;
        if (!more)
            return NULL;
        m->list = more;
        m->cap = cap;
    }
    struct dv_label *l = &m->list[m->n++];
    dv_str_copy(l->key, sizeof l->key, key);
    return l;
}

/* resource.suffix = value; a label that is there already gets the new value. */
static void set(struct maker *m, const char *resource, const char *suffix, const char *fmt, ...)
    dv_printf(4, 5);
static void set(struct maker *m, const char *resource, const char *suffix, const char *fmt, ...)
{
    char key[DV_LABELS_KEY], value[256];
    va_list ap;
    snprintf(key, sizeof key, "%s%s", resource, suffix);
    struct dv_label *l = place(m, key);
    if (!l)
        return;
    va_start(ap, fmt);
    vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    dv_labels_sanitise(value, VALUE_MAX, l->value);
}

void dv_labels_done(struct dv_labels *labels)
{
    free(labels->list);
    *labels = (struct dv_labels){0};
}

static int by_key(const void *a, const void *b)
{
    const struct dv_label *x = a, *y = b;
    return strcmp(x->key, y->key);
}

static int by_key_of(const void *key, const void *label)
{
    return strcmp(key, ((const struct dv_label *)label)->key);
}

const char *dv_labels_get(const struct dv_labels *labels, const char *key)
{
    const struct dv_label *l =
        labels->n ? bsearch(key, labels->list, labels->n, sizeof *l, by_key_of) : NULL;
    return l ? l->value : NULL;
}

static bool is_timestamp(const struct dv_labels *labels, size_t i)
{
    return i < labels->n && !strcmp(labels->list[i].key, PREFIX "gfd.timestamp");
}

bool dv_labels_equal(const struct dv_labels *a, const struct dv_labels *b)
{
    size_t i = 0, k = 0;
    for (;; i++, k++) {
        i += is_timestamp(a, i);
        k += is_timestamp(b, k);
        if (i >= a->n || k >= b->n)
            return i >= a->n && k >= b->n;
        if (strcmp(a->list[i].key, b->list[k].key) != 0 ||
            strcmp(a->list[i].value, b->list[k].value) != 0)
            return false;
    }
}

/* ---- driver and machine --------------------------------------------------------------------- */

static void driver_version(struct maker *m, const char *version)
{
    char text[80], *part[4] = {NULL};
    size_t n = 0;
    if (dv_str_copy(text, sizeof text, version) < 0)
        return;
    set(m, PREFIX, "cuda.driver-version.full", "%s", version);
    for (char *p = text; p && n < DV_ARRAY_SIZE(part);) {
        part[n++] = p;
        p = strchr(p, '.');
        if (p)
            *p++ = 0;
    }
    if (n < 2 || n > 3)
        return;
    const char *revision = part[2] ? part[2] : "";
    set(m, PREFIX, "cuda.driver.major", "%s", part[0]);
    set(m, PREFIX, "cuda.driver.minor", "%s", part[1]);
    set(m, PREFIX, "cuda.driver.rev", "%s", revision);
    set(m, PREFIX, "cuda.driver-version.major", "%s", part[0]);
    set(m, PREFIX, "cuda.driver-version.minor", "%s", part[1]);
    set(m, PREFIX, "cuda.driver-version.revision", "%s", revision);
}

static void versions(struct maker *m, const struct dv_labels_driver *driver)
{
    uint32_t major = driver->cuda / 1000, minor = driver->cuda % 1000 / 10;
    if (driver->version[0])
        driver_version(m, driver->version);
    if (!driver->cuda)
        return;
    set(m, PREFIX, "cuda.runtime.major", "%u", major);
    set(m, PREFIX, "cuda.runtime.minor", "%u", minor);
    set(m, PREFIX, "cuda.runtime-version.major", "%u", major);
    set(m, PREFIX, "cuda.runtime-version.minor", "%u", minor);
    set(m, PREFIX, "cuda.runtime-version.full", "%u.%u", major, minor);
}

static const char *gpu_mode(const struct dv_snapshot *s)
{
    uint32_t class = s->gpus[0].pci_class;
    for (size_t i = 1; i < s->n_gpus; i++)
        if (s->gpus[i].pci_class != class)
            return "unknown";
    return class == CLASS_VGA ? "graphics" : class == CLASS_3D ? "compute" : "unknown";
}

/* Of those GPUs that have joined a fabric; where they do not agree, there is none. */
static void clique(struct maker *m)
{
    const struct dv_gpu *first = NULL;
    for (size_t i = 0; i < m->snapshot->n_gpus; i++) {
        const struct dv_gpu *g = &m->snapshot->gpus[i];
        if (!g->fabric_cluster[0])
            continue;
        if (first && (strcmp(first->fabric_cluster, g->fabric_cluster) != 0 ||
                      first->fabric_clique != g->fabric_clique))
            return;
        first = first ? first : g;
    }
    if (first)
        set(m, GPU, ".clique", "%s.%u", first->fabric_cluster, first->fabric_clique);
}

static bool any_gpu(const struct dv_snapshot *s, bool (*is)(const struct dv_gpu *gpu))
{
    for (size_t i = 0; i < s->n_gpus; i++)
        if (is(&s->gpus[i]))
            return true;
    return false;
}

static bool is_mig_capable(const struct dv_gpu *gpu)
{
    return gpu->mig_capable;
}

static bool is_mig_enabled(const struct dv_gpu *gpu)
{
    return gpu->mig_enabled;
}

static bool is_whole(const struct dv_gpu *gpu)
{
    return !gpu->mig_enabled;
}

static bool is_virtual(const struct dv_gpu *gpu)
{
    return gpu->vgpu;
}

static bool shares_by_mps(const struct dv_labels_settings *s)
{
    for (uint32_t i = 0; i < s->n_resources; i++)
        if (s->resources[i].sharing == DV_LABELS_MPS && s->resources[i].replicas > 1)
            return true;
    return false;
}

static void about_the_node(struct maker *m)
{
    const struct dv_snapshot *s = m->snapshot;
    const char *machine = m->settings->machine;
    bool mps = shares_by_mps(m->settings) && !any_gpu(s, is_mig_enabled);
    set(m, GPU, ".machine", "%s", machine && *machine ? machine : "unknown");
    set(m, GPU, ".mode", "%s", gpu_mode(s));
    set(m, PREFIX, "mig.capable", "%s", any_gpu(s, is_mig_capable) ? "true" : "false");
    set(m, PREFIX, "mps.capable", "%s", mps ? "true" : "false");
    if (m->settings->present)
        set(m, GPU, ".present", "true");
    if (m->settings->mig != DV_MIG_STRATEGY_NONE)
        set(m, PREFIX, "mig.strategy", "%s", dv_labels_mig_name(m->settings->mig));
    clique(m);
}

/* ---- resources ------------------------------------------------------------------------------ */

static const struct dv_labels_resource *replicated(const struct maker *m, const char *resource)
{
    for (uint32_t i = 0; i < m->settings->n_resources; i++)
        if (!strcmp(m->settings->resources[i].name, resource))
            return &m->settings->resources[i];
    return NULL;
}

/* "MODEL", "MODEL-MIG-1g.10gb", each perhaps with "-SHARED": the model's name gives way. */
static void set_product(struct maker *m, const char *resource, const char *model, const char *mig,
                        bool shared)
{
    char name[DV_LABELS_VALUE], suffix[DV_LABELS_VALUE];
    snprintf(suffix, sizeof suffix, "%s%.40s%s", *mig ? "-MIG-" : "", mig, shared ? "-SHARED" : "");
    dv_labels_sanitise(model, VALUE_MAX - strlen(suffix), name);
    set(m, resource, ".product", "%s%s", name, suffix);
}

/* unshared: GPUs in MIG mode are nobody's resource, which GFD shows as 0 replicas. */
static void set_resource(struct maker *m, const char *resource, const char *model, const char *mig,
                         uint32_t count, bool unshared)
{
    const struct dv_labels_resource *r = unshared ? NULL : replicated(m, resource);
    uint32_t replicas = unshared ? 0 : r && r->replicas ? r->replicas : 1;
    bool shared = replicas > 1;
    set_product(m, resource, model, mig, shared && !r->renamed);
    set(m, resource, ".count", "%u", count);
    set(m, resource, ".replicas", "%u", replicas);
    set(m, resource, ".sharing-strategy", "%s",
        dv_labels_sharing_name(shared ? r->sharing : DV_LABELS_NOT_SHARED));
}

/* By compute capability; the names are NVIDIA's own for GFD's label. */
static const char *family(uint32_t major, uint32_t minor)
{
    static const char *const names[] = {
        [1] = "tesla",  [2] = "fermi",      [3] = "kepler",     [5] = "maxwell", [6] = "pascal",
        [9] = "hopper", [10] = "blackwell", [12] = "blackwell", [13] = "rubin"};
    if (major == 7)
        return minor < 5 ? "volta" : "turing";
    if (major == 8)
        return minor < 9 ? "ampere" : "ada-lovelace";
    return major < DV_ARRAY_SIZE(names) && names[major] ? names[major] : "undefined";
}

static void set_gpu(struct maker *m, const struct dv_gpu *gpu, uint32_t count)
{
    set_resource(m, GPU, gpu->model, "", count, gpu->mig_enabled);
    if (gpu->memory_bytes)
        set(m, GPU, ".memory", "%" PRIu64, gpu->memory_bytes / DV_MIB);
    if (!gpu->cc_major)
        return;
    set(m, GPU, ".family", "%s", family(gpu->cc_major, gpu->cc_minor));
    set(m, GPU, ".compute.major", "%u", gpu->cc_major);
    set(m, GPU, ".compute.minor", "%u", gpu->cc_minor);
}

static uint32_t count_model(const struct dv_snapshot *s, const char *model)
{
    uint32_t n = 0;
    for (size_t i = 0; i < s->n_gpus; i++)
        n += !strcmp(s->gpus[i].model, model);
    return n;
}

/* The one that nvidia.com/gpu.* is of. */
static void gpus(struct maker *m)
{
    const struct dv_snapshot *s = m->snapshot;
    const struct dv_gpu *best = NULL;
    bool whole = any_gpu(s, is_whole);
    uint32_t most = 0;
    for (size_t i = 0; i < s->n_gpus; i++) {
        uint32_t n = count_model(s, s->gpus[i].model);
        if (s->gpus[i].mig_enabled == whole || n <= most)
            continue;
        best = &s->gpus[i];
        most = n;
    }
    if (best)
        set_gpu(m, best, most);
}

/* ---- MIG devices ---------------------------------------------------------------------------- */

/* A profile as part of a name: "1g.10gb+me" is "1g.10gb.me". */
static void profile_name(const char *profile, char ret[DV_MIG_NAME])
{
    size_t n = 0;
    for (; profile[n] && n < DV_MIG_NAME - 1; n++)
        ret[n] = may_stand(profile[n]) ? profile[n] : '.';
    ret[n] = 0;
}

static void resource_name(const struct dv_device *d, enum dv_mig_strategy mig,
                          char ret[DV_LABELS_RESOURCE_NAME])
{
    char profile[DV_MIG_NAME];
    profile_name(d->profile, profile);
    if (d->mig && mig == DV_MIG_STRATEGY_MIXED)
        snprintf(ret, DV_LABELS_RESOURCE_NAME, PREFIX "mig-%s", profile);
    else
        snprintf(ret, DV_LABELS_RESOURCE_NAME, GPU);
}

static void set_mig(struct maker *m, const char *resource, const struct dv_device *d,
                    uint32_t count)
{
    const struct dv_gpu *gpu = dv_snapshot_gpu(m->snapshot, d->gpu);
    char profile[DV_MIG_NAME];
    profile_name(d->profile, profile);
    set_resource(m, resource, gpu ? gpu->model : "", profile, count, false);
    set(m, resource, ".memory", "%" PRIu64, d->memory_bytes / DV_MIB);
    set(m, resource, ".multiprocessors", "%u", d->sm);
    set(m, resource, ".slices.gi", "%u", d->gi_slices);
    set(m, resource, ".slices.ci", "%u", d->ci_slices);
    set(m, resource, ".engines.copy", "%d", DV_MAX(d->engines.copy, 0));
    set(m, resource, ".engines.decoder", "%d", DV_MAX(d->engines.decoder, 0));
    set(m, resource, ".engines.encoder", "%d", DV_MAX(d->engines.encoder, 0));
    set(m, resource, ".engines.jpeg", "%d", DV_MAX(d->engines.jpeg, 0));
    set(m, resource, ".engines.ofa", "%d", DV_MAX(d->engines.ofa, 0));
}

static uint32_t count_profile(const struct dv_snapshot *s, const char *profile)
{
    uint32_t n = 0;
    for (size_t i = 0; i < s->n_devices; i++)
        n += s->devices[i].mig && !strcmp(s->devices[i].profile, profile);
    return n;
}

/* Has no device of that profile been before it? */
static bool is_first_of_profile(const struct dv_snapshot *s, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (s->devices[i].mig && !strcmp(s->devices[i].profile, s->devices[at].profile))
            return false;
    return true;
}

static void mixed(struct maker *m)
{
    char resource[DV_LABELS_RESOURCE_NAME];
    for (size_t i = 0; i < m->snapshot->n_devices; i++) {
        const struct dv_device *d = &m->snapshot->devices[i];
        if (!d->mig || !is_first_of_profile(m->snapshot, i))
            continue;
        resource_name(d, DV_MIG_STRATEGY_MIXED, resource);
        set_mig(m, resource, d, count_profile(m->snapshot, d->profile));
    }
}

/* The device that stands for all, where the strategy `single` can be kept: every GPU is in MIG mode
 * and has devices, all of one profile. Else NULL. */
static const struct dv_device *uniform(const struct dv_snapshot *s)
{
    const struct dv_device *one = NULL;
    for (size_t i = 0; i < s->n_gpus; i++) {
        bool some = false;
        for (size_t k = 0; k < s->n_devices; k++) {
            const struct dv_device *d = &s->devices[k];
            if (!d->mig || d->gpu != s->gpus[i].index)
                continue;
            if (one && strcmp(one->profile, d->profile) != 0)
                return NULL;
            one = one ? one : d;
            some = true;
        }
        if (!some)
            return NULL;
    }
    return one;
}

static const struct dv_gpu *first_mig_enabled(const struct dv_snapshot *s)
{
    for (size_t i = 0; i < s->n_gpus; i++)
        if (s->gpus[i].mig_enabled)
            return &s->gpus[i];
    return NULL;
}

static void single(struct maker *m)
{
    const struct dv_gpu *gpu = first_mig_enabled(m->snapshot);
    const struct dv_device *one = uniform(m->snapshot);
    if (!gpu)
        return; /* then it is as without a strategy */
    if (one) {
        set_mig(m, GPU, one, count_profile(m->snapshot, one->profile));
        return;
    }
    set_product(m, GPU, gpu->model, "INVALID", false);
    set(m, GPU, ".count", "0");
    set(m, GPU, ".replicas", "0");
    set(m, GPU, ".sharing-strategy", "%s", "");
    set(m, GPU, ".memory", "0");
}

/* ---- all of it ------------------------------------------------------------------------------ */

int dv_labels_make(const struct dv_snapshot *snapshot, const struct dv_labels_driver *driver,
                   const struct dv_labels_settings *settings, struct dv_labels *ret)
{
    struct maker m = {.snapshot = snapshot, .settings = settings};
    if (settings->timestamp)
        set(&m, PREFIX, "gfd.timestamp", "%" PRId64, settings->timestamp);
    set(&m, PREFIX, "vgpu.present", "%s", any_gpu(snapshot, is_virtual) ? "true" : "false");
    if (snapshot->n_gpus) {
        versions(&m, driver);
        about_the_node(&m);
        gpus(&m);
    }
    if (settings->mig == DV_MIG_STRATEGY_SINGLE)
        single(&m);
    else if (settings->mig == DV_MIG_STRATEGY_MIXED)
        mixed(&m);
    if (m.failed) {
        free(m.list);
        return -ENOMEM;
    }
    qsort(m.list, m.n, sizeof *m.list, by_key);
    *ret = (struct dv_labels){m.list, m.n};
    return 0;
}

/* ---- what a layout says --------------------------------------------------------------------- */

static enum dv_labels_sharing sharing_of(enum dv_mode mode)
{
    return mode == DV_MODE_MPS         ? DV_LABELS_MPS
           : mode == DV_MODE_TIMESLICE ? DV_LABELS_TIME_SLICING
           : mode == DV_MODE_GOVERNED  ? DV_LABELS_GOVERNED
                                       : DV_LABELS_NOT_SHARED;
}

uint32_t dv_labels_sharing_of(const struct dv_snapshot *snapshot, enum dv_mig_strategy mig,
                              struct dv_labels_resource *ret,
                              char (*names)[DV_LABELS_RESOURCE_NAME], uint32_t max)
{
    uint32_t n = 0, at;
    for (size_t i = 0; i < snapshot->n_devices; i++) {
        const struct dv_device *d = &snapshot->devices[i];
        char name[DV_LABELS_RESOURCE_NAME];
        if (d->replicas < 2 || (d->mig && mig == DV_MIG_STRATEGY_NONE))
            continue;
        resource_name(d, mig, name);
        for (at = 0; at < n && strcmp(names[at], name) != 0; at++)
            ;
        if (at == max || (at < n && ret[at].replicas >= d->replicas))
            continue;
        memcpy(names[at], name, sizeof name);
        ret[at] = (struct dv_labels_resource){names[at], d->replicas, sharing_of(d->layout), false};
        n += at == n;
    }
    return n;
}

/* ---- what a configuration says -------------------------------------------------------------- */

static uint32_t replicas_of(const struct dv_plugin_share *share)
{
    uint32_t n = share->percent ? DV_PLUGIN_TOKENS : share->replicas;
    for (uint32_t i = 0; i < share->n_slices; i++)
        n += share->slices[i].count;
    return n;
}

static void add_share(const struct dv_plugin_share *share, bool renamed, enum dv_mode mode,
                      struct dv_labels_resource *resources, struct dv_labels_settings *to)
{
    /* Tokens and named slices have names of their own in any case. */
    bool other = renamed || share->rename[0] || share->percent || share->n_slices;
    for (uint32_t i = 0; i < to->n_resources; i++)
        if (!strcmp(resources[i].name, share->name))
            return; /* the first counts, as for the devices themselves */
    if (to->n_resources < DV_LABELS_CONFIG_MAX)
        resources[to->n_resources++] =
            (struct dv_labels_resource){share->name, replicas_of(share), sharing_of(mode), other};
}

void dv_labels_configure(const struct dv_plugin_config *config,
                         struct dv_labels_resource *resources, struct dv_labels_settings *ret)
{
    *ret = (struct dv_labels_settings){.mig = (enum dv_mig_strategy)config->flags.mig_strategy,
                                       .resources = resources};
    for (int section = 0; section < DV_PLUGIN_SECTIONS; section++) {
        const struct dv_plugin_sharing *s = &config->sharing[section];
        enum dv_mode mode = dv_plugin_config_mode((enum dv_plugin_section)section);
        for (uint32_t i = 0; !s->ignored && i < s->n_shares; i++)
            add_share(&s->shares[i], s->rename_by_default, mode, resources, ret);
    }
}
