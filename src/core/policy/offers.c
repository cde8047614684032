/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/offers.h"

#include "base/str.h"
#include "base/units.h"
#include "policy/health_policy.h"
#include "policy/offers_inside.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARED ".shared"

/* ---- ids ---- */

int dv_offers_id_format(const struct dv_offer_id *id, char ret[DV_OFFERS_ID])
{
    char text[2 * DV_OFFERS_ID];
    int n = 0;
    switch (id->kind) {
    case DV_OFFER_WHOLE:
        n = snprintf(text, sizeof text, "%s", id->device);
        break;
    case DV_OFFER_REPLICA:
        n = snprintf(text, sizeof text, "%s::%u", id->device, id->n);
        break;
    case DV_OFFER_PERCENT:
        n = snprintf(text, sizeof text, "%s::p%u", id->device, id->n);
        break;
    case DV_OFFER_SLICE:
        n = snprintf(text, sizeof text, "%s::%s.%u", id->device, id->slice, id->n);
        break;
    }
    return n < 0 || (size_t)n >= sizeof text ? -ENAMETOOLONG : dv_str_copy(ret, DV_OFFERS_ID, text);
}

/* Digits without a leading zero: an id has one spelling. */
static bool read_number(const char *text, uint32_t *ret)
{
    size_t len = strlen(text);
    if (!len || len > 5 || strspn(text, "0123456789") != len || (len > 1 && *text == '0'))
        return false;
    *ret = (uint32_t)strtoul(text, NULL, 10);
    return true;
}

static int parse_suffix(const char *text, struct dv_offer_id *ret)
{
    const char *dot = strchr(text, '.');
    if (dot) {
        size_t len = (size_t)(dot - text);
        if (!len || len >= sizeof ret->slice)
            return -EINVAL;
        memcpy(ret->slice, text, len);
        ret->kind = DV_OFFER_SLICE;
        return read_number(dot + 1, &ret->n) ? 0 : -EINVAL;
    }
    ret->kind = *text == 'p' ? DV_OFFER_PERCENT : DV_OFFER_REPLICA;
    return read_number(text + (*text == 'p'), &ret->n) ? 0 : -EINVAL;
}

int dv_offers_id_parse(const char *id, struct dv_offer_id *ret)
{
    struct dv_offer_id parsed = {.kind = DV_OFFER_WHOLE};
    const char *sep = strstr(id, "::");
    size_t len = sep ? (size_t)(sep - id) : strlen(id);
    if (!len || strlen(id) >= DV_OFFERS_ID)
        return -EINVAL;
    memcpy(parsed.device, id, len);
    int r = sep ? parse_suffix(sep + 2, &parsed) : 0;
    if (!r)
        *ret = parsed;
    return r;
}

/* ---- which name a device has ---- */

struct maker {
    const struct dv_plugin_config *config;
    const struct dv_snapshot *snapshot;
    struct dv_offers *offers;
    char (*names)[DV_PLUGIN_NAME]; /* per device of the snapshot; "": not offered */
    struct dv_err *err;
};

static const char *pattern_name(const struct dv_plugin_pattern *list, uint32_t n, const char *text)
{
    for (uint32_t i = 0; i < n; i++)
        if (dv_plugin_config_fits(list[i].pattern, text))
            return list[i].name;
    return NULL;
}

static void name_device(const struct maker *m, const struct dv_device *d, char ret[DV_PLUGIN_NAME])
{
    const struct dv_plugin_config *c = m->config;
    const struct dv_gpu *gpu = dv_snapshot_gpu(m->snapshot, d->gpu);
    const char *name = d->mig ? pattern_name(c->mig, c->n_mig, d->profile)
                       : gpu  ? pattern_name(c->gpus, c->n_gpus, gpu->model)
                              : NULL;
    if (d->mig && c->flags.mig_strategy == DV_MIG_STRATEGY_NONE)
        return; /* the original would offer the GPU as a whole, which one MIG device is not */
    if (d->mig && !name && c->flags.mig_strategy == DV_MIG_STRATEGY_MIXED)
        dv_plugin_config_mig_name(d->profile, ret);
    else
        dv_str_copy(ret, DV_PLUGIN_NAME, name ? name : DV_PLUGIN_PREFIX "gpu");
}

/* With migStrategy single all devices of a node are alike. */
static int check_single(const struct maker *m)
{
    const struct dv_snapshot *s = m->snapshot;
    const struct dv_device *first = NULL;
    if (m->config->flags.mig_strategy != DV_MIG_STRATEGY_SINGLE)
        return 0;
    for (size_t i = 1; i < s->n_gpus; i++)
        if (s->gpus[i].mig_enabled != s->gpus[0].mig_enabled)
            return dv_err_set(m->err, -EINVAL,
                              "migStrategy single: MIG is on on some GPUs of this node and off on "
                              "others (GPU %u is %s, GPU %u is %s); cut all alike, or use mixed",
                              s->gpus[0].index, s->gpus[0].mig_enabled ? "on" : "off",
                              s->gpus[i].index, s->gpus[i].mig_enabled ? "on" : "off");
    for (size_t i = 0; i < s->n_devices; i++) {
        const struct dv_device *d = &s->devices[i];
        if (!d->mig)
            continue;
        if (first && strcmp(first->profile, d->profile) != 0)
            return dv_err_set(m->err, -EINVAL,
                              "migStrategy single: the node has MIG devices of two profiles (%s on "
                              "GPU %u, %s on GPU %u); cut all alike, or use mixed",
                              first->profile, first->gpu, d->profile, d->gpu);
        first = first ? first : d;
    }
    return 0;
}

/* ---- how a device is shared ---- */

static bool before(const struct dv_device *a, const struct dv_device *b)
{
    if (a->gpu != b->gpu)
        return a->gpu < b->gpu;
    return a->placement_start != b->placement_start ? a->placement_start < b->placement_start
                                                    : a->ci < b->ci;
}

static bool means(const struct maker *m, const struct dv_plugin_share *share, size_t at)
{
    const struct dv_device *devices = m->snapshot->devices;
    uint32_t n = 0;
    if (share->replicas == 1 || strcmp(share->name, m->names[at]) != 0)
        return false;
    if (share->n_list)
        return dv_layout_lists(share->list, share->n_list, m->snapshot, &devices[at]);
    for (size_t i = 0; share->count && i < m->snapshot->n_devices; i++)
        n += !strcmp(m->names[i], share->name) && before(&devices[i], &devices[at]);
    return !share->count || n < share->count;
}

static const struct dv_plugin_share *share_of(const struct maker *m, size_t at,
                                              enum dv_plugin_section *ret_section)
{
    for (int s = 0; s < DV_PLUGIN_SECTIONS; s++) {
        const struct dv_plugin_sharing *section = &m->config->sharing[s];
        for (uint32_t i = 0; !section->ignored && i < section->n_shares; i++) {
            if (means(m, &section->shares[i], at)) {
                *ret_section = (enum dv_plugin_section)s;
                return &section->shares[i];
            }
        }
    }
    return NULL;
}

/* ---- resources and their units ---- */

static const char *kind_name(enum dv_offer_kind kind)
{
    static const char *const names[] = {"whole devices", "shares", "percent tokens", "slices"};
    return names[kind];
}

/* The resource of that name, made where there is none. It may be one thing only. */
static int open_offer(struct maker *m, const struct dv_offer *want, struct dv_offer **ret)
{
    struct dv_offers *o = m->offers;
    for (uint32_t i = 0; i < o->n_offers; i++) {
        struct dv_offer *there = &o->offers[i];
        if (strcmp(there->name, want->name) != 0)
            continue;
        if (there->kind != want->kind || there->mode != want->mode || there->tier != want->tier ||
            there->fail_above_one != want->fail_above_one)
            return dv_err_set(m->err, -EINVAL,
                              "%s would be %s (%s, tier %s) on one device and %s (%s, tier %s) on "
                              "another; give one of them a rename, or set renameByDefault: true",
                              want->name, kind_name(there->kind), dv_device_mode_name(there->mode),
                              dv_claim_tier_name(there->tier), kind_name(want->kind),
                              dv_device_mode_name(want->mode), dv_claim_tier_name(want->tier));
        *ret = there;
        return 0;
    }
    if (o->n_offers == DV_OFFERS_MAX)
        return dv_err_set(m->err, -EINVAL, "more than %u resources of one node", DV_OFFERS_MAX);
    struct dv_offer *more = realloc(o->offers, (o->n_offers + 1) * sizeof *more);
    if (!more)
        return -ENOMEM;
    o->offers = more;
    more[o->n_offers] = *want;
    *ret = &more[o->n_offers++];
    return 0;
}

static int add_units(struct maker *m, struct dv_offer *offer, struct dv_offer_unit unit,
                     const char *slice, uint32_t n)
{
    const struct dv_offer_device *d = &m->offers->devices[unit.device];
    struct dv_offer_id id = {.kind = offer->kind};
    if (n > DV_OFFERS_UNITS_MAX - offer->n_units)
        return dv_err_set(m->err, -EINVAL, "%s: more than %u of it on one node", offer->name,
                          DV_OFFERS_UNITS_MAX);
    struct dv_offer_unit *more = realloc(offer->units, (offer->n_units + n) * sizeof *more);
    if (!more)
        return -ENOMEM;
    offer->units = more;
    memcpy(id.device, d->name, sizeof id.device);
    dv_str_copy(id.slice, sizeof id.slice, slice);
    for (; id.n < n; id.n++) {
        if (dv_offers_id_format(&id, unit.id) < 0)
            return dv_err_set(m->err, -EINVAL,
                              "%s: the device %s has too long a name for an id of at most %u "
                              "letters; set deviceIDStrategy: index",
                              offer->name, d->name, DV_OFFERS_ID - 1);
        offer->units[offer->n_units++] = unit;
    }
    return 0;
}

static int offer_whole(struct maker *m, const char *name, uint32_t device)
{
    const struct dv_offer_device *d = &m->offers->devices[device];
    struct dv_offer want = {.kind = DV_OFFER_WHOLE, .mode = DV_MODE_EXCLUSIVE}, *offer = NULL;
    struct dv_offer_unit unit = {"", device, d->memory_bytes, d->compute};
    want.packed = m->config->flags.plugin.policy == DV_PLUGIN_PACKED;
    memcpy(want.name, name, sizeof want.name);
    int r = open_offer(m, &want, &offer);
    return r ? r : add_units(m, offer, unit, "", 1);
}

static int too_long(struct maker *m, const char *name)
{
    return dv_err_set(m->err, -EINVAL,
                      "the resource %.80s would have more than %d letters; give it a rename", name,
                      DV_PLUGIN_NAME - 1);
}

static int offer_replicas(struct maker *m, const struct dv_plugin_share *share,
                          struct dv_offer *want, const struct dv_device *d, uint32_t device)
{
    const struct dv_gpu *gpu = dv_snapshot_gpu(m->snapshot, d->gpu);
    uint32_t clients = gpu ? dv_device_mps_clients(gpu, d->compute) : 0;
    struct dv_device_part part = dv_device_part(d, share->replicas);
    struct dv_offer_unit unit = {"", device, part.memory_bytes, part.compute};
    struct dv_offer *offer = NULL;
    if (want->mode == DV_MODE_MPS && clients && share->replicas > clients)
        return dv_err_set(m->err, -EINVAL,
                          "%s: %u replicas by MPS, and the daemon of %s takes %u clients; lower "
                          "replicas",
                          share->name, share->replicas, d->uuid, clients);
    want->kind = DV_OFFER_REPLICA;
    int r = open_offer(m, want, &offer);
    return r ? r : add_units(m, offer, unit, "", share->replicas);
}

static int offer_percent(struct maker *m, struct dv_offer *want, const struct dv_device *d,
                         uint32_t device)
{
    struct dv_offer_unit unit = {"", device, d->memory_bytes / DV_PLUGIN_TOKENS,
                                 d->compute / DV_PLUGIN_TOKENS};
    struct dv_offer *offer = NULL;
    want->kind = DV_OFFER_PERCENT;
    want->fail_above_one = false; /* many tokens are what a fraction is */
    int r = open_offer(m, want, &offer);
    return r ? r : add_units(m, offer, unit, "", DV_PLUGIN_TOKENS);
}

/* A share of the device in 1/7000 of it, rounded down to what memory is counted in. */
static uint64_t slice_memory(const struct dv_plugin_slice *slice, const struct dv_device *d)
{
    if (slice->memory_bytes)
        return slice->memory_bytes;
    uint64_t bytes =
        (uint64_t)((unsigned __int128)d->memory_bytes * slice->memory_share / DV_COMPUTE_FULL);
    return bytes / DV_MIB * DV_MIB;
}

static uint32_t slice_compute(const struct dv_plugin_slice *slice, const struct dv_device *d)
{
    return (uint32_t)((uint64_t)d->compute * slice->compute_share / DV_COMPUTE_FULL);
}

static int check_room(struct maker *m, const struct dv_plugin_share *share,
                      const struct dv_device *d)
{
    uint64_t memory = 0;
    char asked[DV_UNITS_TEXT], there[DV_UNITS_TEXT];
    for (uint32_t i = 0; i < share->n_slices; i++) {
        memory += share->slices[i].count * slice_memory(&share->slices[i], d);
        if (!slice_memory(&share->slices[i], d) || !slice_compute(&share->slices[i], d))
            return dv_err_set(m->err, -EINVAL,
                              "%s: the slice %s would be nothing of %s; make it larger",
                              share->name, share->slices[i].name, d->uuid);
    }
    if (memory <= d->memory_bytes)
        return 0;
    return dv_err_set(
        m->err, -EINVAL,
        "%s: the slices of a device ask for %s together, and %s has %s; lower them or "
        "their counts",
        share->name, dv_units_format_bytes(memory, asked), d->uuid,
        dv_units_format_bytes(d->memory_bytes, there));
}

static int offer_slices(struct maker *m, const struct dv_plugin_share *share,
                        const struct dv_offer *base, const struct dv_device *d, uint32_t device)
{
    int r = check_room(m, share, d);
    for (uint32_t i = 0; !r && i < share->n_slices; i++) {
        const struct dv_plugin_slice *s = &share->slices[i];
        struct dv_offer want = *base, *offer = NULL;
        struct dv_offer_unit unit = {"", device, slice_memory(s, d), slice_compute(s, d)};
        char name[2 * DV_PLUGIN_NAME];
        snprintf(name, sizeof name, "%s-%s", base->name, s->name);
        if (dv_str_copy(want.name, sizeof want.name, s->rename[0] ? s->rename : name) < 0)
            return too_long(m, name);
        want.kind = DV_OFFER_SLICE;
        want.tier = s->tier;
        r = open_offer(m, &want, &offer);
        r = r ? r : add_units(m, offer, unit, s->name, s->count);
    }
    return r;
}

/* The name under which the shares of a device go; of named slices its beginning. */
static int name_share(struct maker *m, const struct dv_plugin_sharing *section,
                      const struct dv_plugin_share *share, char ret[DV_PLUGIN_NAME])
{
    char name[2 * DV_PLUGIN_NAME];
    if (share->rename[0])
        snprintf(name, sizeof name, "%s", share->rename);
    else if (share->percent)
        snprintf(name, sizeof name, DV_PLUGIN_OWN_PREFIX "%s-percent",
                 share->name + strlen(DV_PLUGIN_PREFIX));
    else
        /* A slice's name tells it from the whole already. */
        snprintf(name, sizeof name, "%s%s", share->name,
                 section->rename_by_default && !share->n_slices ? SHARED : "");
    return dv_str_copy(ret, DV_PLUGIN_NAME, name) < 0 ? too_long(m, name) : 0;
}

static int offer_device(struct maker *m, size_t at, uint32_t device)
{
    const struct dv_device *d = &m->snapshot->devices[at];
    enum dv_plugin_section section = DV_PLUGIN_GOVERNED;
    const struct dv_plugin_share *share = share_of(m, at, &section);
    struct dv_offer want = {.packed = m->config->flags.plugin.policy == DV_PLUGIN_PACKED};
    if (!share)
        return offer_whole(m, m->names[at], device);
    want.mode = dv_plugin_config_mode(section);
    want.fail_above_one = m->config->sharing[section].fail_above_one;
    int r = name_share(m, &m->config->sharing[section], share, want.name);
    if (r < 0)
        return r;
    if (share->percent)
        return offer_percent(m, &want, d, device);
    return share->n_slices ? offer_slices(m, share, &want, d, device)
                           : offer_replicas(m, share, &want, d, device);
}

static int describe(struct maker *m, const struct dv_device *d, struct dv_offer_device *ret)
{
    const struct dv_gpu *gpu = dv_snapshot_gpu(m->snapshot, d->gpu);
    bool index = m->config->flags.plugin.id == DV_PLUGIN_ID_INDEX;
    char name[DV_UUID_SIZE];
    *ret = (struct dv_offer_device){
        .gpu = d->gpu,
        .mig = d->mig,
        /* Every MIG device and every share of a sick GPU is sick with it. A draining one is
         * not sick, but this is the kubelet's way not to place more on it. */
        .healthy = gpu && dv_health_is_well(gpu->health) && !d->draining,
        .numa = gpu ? gpu->numa : -1,
        .memory_bytes = d->memory_bytes,
        .compute = d->compute,
    };
    memcpy(ret->uuid, d->uuid, sizeof ret->uuid);
    if (gpu)
        memcpy(ret->gpu_uuid, gpu->uuid, sizeof ret->gpu_uuid);
    if (!index)
        memcpy(name, d->uuid, sizeof name);
    else if (d->mig)
        snprintf(name, sizeof name, "%u:%u", d->gpu, dv_layout_mig_number(m->snapshot, d));
    else
        snprintf(name, sizeof name, "%u", d->gpu);
    if (dv_str_copy(ret->name, sizeof ret->name, name) < 0)
        return dv_err_set(m->err, -EINVAL,
                          "the device %s has too long a name for an id of at most %u letters; set "
                          "deviceIDStrategy: index",
                          d->uuid, DV_OFFERS_ID - 1);
    return 0;
}

/* ---- in order ---- */

static int compare_offers(const void *a, const void *b)
{
    return strcmp(((const struct dv_offer *)a)->name, ((const struct dv_offer *)b)->name);
}

static int compare_ids(const void *a, const void *b, void *arg)
{
    const struct dv_offer *offer = arg;
    return strcmp(offer->units[*(const uint32_t *)a].id, offer->units[*(const uint32_t *)b].id);
}

int dv_offers_sort(struct dv_offers *o)
{
    if (o->n_offers)
        qsort(o->offers, o->n_offers, sizeof *o->offers, compare_offers);
    for (uint32_t i = 0; i < o->n_offers; i++) {
        struct dv_offer *offer = &o->offers[i];
        uint32_t *by_id = realloc(offer->by_id, offer->n_units * sizeof *by_id);
        if (!by_id)
            return -ENOMEM;
        offer->by_id = by_id;
        for (uint32_t k = 0; k < offer->n_units; k++)
            offer->by_id[k] = k;
        qsort_r(offer->by_id, offer->n_units, sizeof *offer->by_id, compare_ids, offer);
    }
    return 0;
}

static int make(struct maker *m)
{
    const struct dv_snapshot *s = m->snapshot;
    int r = check_single(m);
    if (r < 0)
        return r;
    for (size_t i = 0; i < s->n_devices; i++)
        name_device(m, &s->devices[i], m->names[i]);
    for (size_t i = 0; !r && i < s->n_devices; i++) {
        uint32_t n = m->offers->n_devices;
        if (!m->names[i][0])
            continue;
        r = describe(m, &s->devices[i], &m->offers->devices[n]);
        m->offers->n_devices += !r;
        r = r ? r : offer_device(m, i, n);
    }
    return r ? r : dv_offers_sort(m->offers);
}

int dv_offers_make(const struct dv_plugin_config *config, const struct dv_snapshot *snapshot,
                   struct dv_offers **ret, struct dv_err *err)
{
    size_t n = DV_MAX(snapshot->n_devices, 1u);
    if (n > DV_DEVICES_MAX)
        return dv_err_set(err, -EINVAL, "more than %d devices of one node", DV_DEVICES_MAX);
    struct maker m = {config, snapshot, calloc(1, sizeof *m.offers), calloc(n, sizeof *m.names),
                      err};
    int r = -ENOMEM;
    if (m.offers && m.names) {
        m.offers->devices = calloc(n, sizeof *m.offers->devices);
        r = m.offers->devices ? make(&m) : -ENOMEM;
    }
    free(m.names);
    if (!r) {
        *ret = m.offers;
        m.offers = NULL;
    }
    dv_offers_free(m.offers);
    return r;
}

void dv_offers_free(struct dv_offers *offers)
{
    if (!offers)
        return;
    for (uint32_t i = 0; i < offers->n_offers; i++) {
        free(offers->offers[i].units);
        free(offers->offers[i].by_id);
    }
    free(offers->offers);
    free(offers->devices);
    free(offers);
}

void dv_offers_freep(struct dv_offers **offers)
{
    dv_offers_free(*offers);
    *offers = NULL;
}

/* ---- finding ---- */

const struct dv_offer *dv_offers_find(const struct dv_offers *offers, const char *name)
{
    for (uint32_t i = 0; i < offers->n_offers; i++)
        if (!strcmp(offers->offers[i].name, name))
            return &offers->offers[i];
    return NULL;
}

const struct dv_offer_unit *dv_offers_unit(const struct dv_offer *offer, const char *id)
{
    uint32_t low = 0, high = offer->n_units;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        const struct dv_offer_unit *u = &offer->units[offer->by_id[mid]];
        int order = strcmp(id, u->id);
        if (!order)
            return u;
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

const struct dv_offer_unit *dv_offers_search(const struct dv_offers *offers, const char *id,
                                             const struct dv_offer **ret_offer)
{
    for (uint32_t i = 0; i < offers->n_offers; i++) {
        const struct dv_offer_unit *u = dv_offers_unit(&offers->offers[i], id);
        if (u) {
            *ret_offer = &offers->offers[i];
            return u;
        }
    }
    return NULL;
}

/* ---- what a container gets ---- */

static struct dv_offer_grant *grant_on(struct dv_offer_answer *a, uint32_t device)
{
    uint32_t i = a->n;
    while (i && a->grants[i - 1].device > device)
        i--;
    if (i && a->grants[i - 1].device == device)
        return &a->grants[i - 1];
    memmove(&a->grants[i + 1], &a->grants[i], (a->n - i) * sizeof a->grants[0]);
    a->grants[i] = (struct dv_offer_grant){.device = device};
    a->n++;
    return &a->grants[i];
}

static enum dv_offer_refusal refuse_id(struct dv_offer_answer *a, const char *id,
                                       enum dv_offer_refusal why)
{
    snprintf(a->id, sizeof a->id, "%s", id);
    return why;
}

/* `taken`: a mark per unit. */
static enum dv_offer_refusal grant(const struct dv_offers *offers, const struct dv_offer *offer,
                                   const char *const *ids, size_t n, bool *taken,
                                   struct dv_offer_answer *a)
{
    for (size_t i = 0; i < n; i++) {
        const struct dv_offer_unit *u = dv_offers_unit(offer, ids[i]);
        if (!u || offers->devices[u->device].gone)
            return refuse_id(a, ids[i], DV_OFFER_UNKNOWN_ID);
        if (taken[u - offer->units])
            return refuse_id(a, ids[i], DV_OFFER_TWICE);
        taken[u - offer->units] = true;
        struct dv_offer_grant *g = grant_on(a, u->device);
        g->units++;
        g->memory_bytes += u->memory_bytes;
        g->compute += u->compute;
    }
    if (offer->kind != DV_OFFER_WHOLE && offer->fail_above_one && n > 1)
        return DV_OFFER_ABOVE_ONE;
    if (offer->kind == DV_OFFER_PERCENT && a->n > 1)
        return DV_OFFER_SEVERAL_GPUS;
    for (uint32_t i = 0; offer->kind == DV_OFFER_PERCENT && i < a->n; i++) {
        struct dv_offer_grant *g = &a->grants[i];
        const struct dv_offer_device *d = &offers->devices[g->device];
        g->memory_bytes = d->memory_bytes / DV_PLUGIN_TOKENS * g->units +
                          d->memory_bytes % DV_PLUGIN_TOKENS * g->units / DV_PLUGIN_TOKENS;
        g->compute = d->compute * g->units / DV_PLUGIN_TOKENS;
    }
    return DV_OFFER_GRANTED;
}

int dv_offers_allocate(const struct dv_offers *offers, const struct dv_offer *offer,
                       const char *const *ids, size_t n, struct dv_offer_answer *ret)
{
    bool *taken = calloc(offer->n_units + 1, sizeof *taken);
    if (!taken)
        return -ENOMEM;
    memset(ret, 0, sizeof *ret);
    ret->asked = (uint32_t)DV_MIN(n, UINT32_MAX);
    ret->refusal = grant(offers, offer, ids, n, taken, ret);
    free(taken);
    return 0;
}

/* ---- what changed ---- */

static bool same(const struct dv_offers *a, const struct dv_offer *x, const struct dv_offers *b,
                 const struct dv_offer *y)
{
    if (x->kind != y->kind || x->mode != y->mode || x->tier != y->tier || x->packed != y->packed ||
        x->fail_above_one != y->fail_above_one || x->n_units != y->n_units)
        return false;
    for (uint32_t i = 0; i < x->n_units; i++) {
        const struct dv_offer_unit *u = &x->units[i], *v = &y->units[i];
        const struct dv_offer_device *d = &a->devices[u->device], *e = &b->devices[v->device];
        if (strcmp(u->id, v->id) != 0 || u->memory_bytes != v->memory_bytes ||
            u->compute != v->compute || strcmp(d->uuid, e->uuid) != 0 || d->healthy != e->healthy ||
            d->numa != e->numa)
            return false;
    }
    return true;
}

void dv_offers_diff(const struct dv_offers *before, const struct dv_offers *after,
                    struct dv_offers_diff *ret)
{
    static const struct dv_offers nothing;
    uint32_t i = 0, k = 0;
    before = before ? before : &nothing;
    ret->n = 0;
    while (i < before->n_offers || k < after->n_offers) {
        const struct dv_offer *x = i < before->n_offers ? &before->offers[i] : NULL;
        const struct dv_offer *y = k < after->n_offers ? &after->offers[k] : NULL;
        int order = !x ? 1 : !y ? -1 : strcmp(x->name, y->name);
        ret->changes[ret->n].name = order < 0 ? x->name : y->name;
        ret->changes[ret->n++].change = order < 0                   ? DV_OFFER_VANISHES
                                        : order > 0                 ? DV_OFFER_APPEARS
                                        : same(before, x, after, y) ? DV_OFFER_SAME
                                                                    : DV_OFFER_CHANGES;
        i += order <= 0;
        k += order >= 0;
    }
}
