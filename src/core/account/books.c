/* SPDX-License-Identifier: Apache-2.0 */
#include "account/books.h"

#include "account/split.h"
#include "base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of exact measurements nothing is lost while less than this waits: also what ran while the daemon
 * was down is told late. Samples that claim more than there is are fitted sooner. */
#define CARRY_EXACT_NS (3600 * DV_NS_PER_S)
#define CARRY_SAMPLED_NS (10 * DV_NS_PER_S)
#define RAN_KNOWN_NS                                                                               \
    (500 * DV_NS_PER_MS) /* shorter intervals have too few samples of the device                   \
                          */

/* A slice, present or past. */
struct entry {
    uint64_t id; /* 0: no slice (outside, late) */
    struct dv_account account;
    char device[DV_UUID_SIZE];
    uint32_t share, sms;
    uint64_t memory_bytes;
    uint64_t busy_ns, carry_ns, wait_ns; /* since the last close */
    uint64_t byte_ns_rest;               /* below a byte second */
    uint64_t present_ns;                 /* of this interval, so far */
    enum dv_quality worse;               /* of what came in this interval */
    bool source_set, present;
    enum dv_source source; /* when set */
    enum dv_quality quality;
};

struct device_note {
    char uuid[DV_UUID_SIZE];
    uint64_t overhead_ns, ran_ns;
    bool ran_known;
};

struct gpu_note {
    uint32_t index;
    char uuid[DV_UUID_SIZE], model[DV_GPU_NAME_SIZE];
};

struct dv_books {
    dv_books_on_charge *on_charge;
    void *arg;
    uint64_t since_ns, cut_ns;
    uint64_t noted_ns; /* up to here the entries' present_ns counts */
    struct entry *entries;
    size_t n_entries, entries_room;
    struct device_note *devices;
    size_t n_devices, devices_room;
    struct gpu_note gpus[DV_GPUS_MAX];
    size_t n_gpus;
    /* Room for one GPU's split. */
    struct dv_split_slice slices[DV_SPLIT_SLICES_MAX];
    struct entry *owner[DV_SPLIT_SLICES_MAX];
    struct dv_split_device parts[DV_SPLIT_DEVICES_MAX];
    const struct dv_device *part_device[DV_SPLIT_DEVICES_MAX];
};

int dv_books_new(uint64_t since_ns, dv_books_on_charge *on_charge, void *arg, struct dv_books **ret)
{
    struct dv_books *b = calloc(1, sizeof *b);
    if (!b)
        return -ENOMEM;
    b->since_ns = b->noted_ns = since_ns;
    b->on_charge = on_charge;
    b->arg = arg;
    *ret = b;
    return 0;
}

void dv_books_free(struct dv_books *b)
{
    if (!b)
        return;
    free(b->entries);
    free(b->devices);
    free(b);
}

uint64_t dv_books_since(const struct dv_books *b)
{
    return b->since_ns;
}

uint64_t dv_books_cut_ns(const struct dv_books *b)
{
    return b->cut_ns;
}

uint64_t dv_books_pending_ns(const struct dv_books *b)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < b->n_entries; i++)
        sum += b->entries[i].busy_ns + b->entries[i].carry_ns;
    return sum;
}

/* ---- notes ---- */

static int grow(void **array, size_t *room, size_t n, size_t size)
{
    if (n < *room)
        return 0;
    size_t more = *room ? 2 * *room : 16;
    void *p = realloc(*array, more * size);
    if (!p)
        return -ENOMEM;
    *array = p;
    *room = more;
    return 0;
}

static struct entry *find(struct dv_books *b, uint64_t id)
{
    for (size_t i = 0; id && i < b->n_entries; i++)
        if (b->entries[i].id == id)
            return &b->entries[i];
    return NULL;
}

static struct entry *add_entry(struct dv_books *b)
{
    if (b->n_entries >= 2 * DV_SLICES_MAX ||
        grow((void **)&b->entries, &b->entries_room, b->n_entries, sizeof *b->entries) < 0)
        return NULL;
    struct entry *e = &b->entries[b->n_entries++];
    memset(e, 0, sizeof *e);
    return e;
}

static struct device_note *note(struct dv_books *b, const char *uuid)
{
    for (size_t i = 0; i < b->n_devices; i++)
        if (!strcmp(b->devices[i].uuid, uuid))
            return &b->devices[i];
    if (b->n_devices >= DV_DEVICES_MAX || strlen(uuid) >= DV_UUID_SIZE ||
        grow((void **)&b->devices, &b->devices_room, b->n_devices, sizeof *b->devices) < 0)
        return NULL;
    struct device_note *d = &b->devices[b->n_devices++];
    memset(d, 0, sizeof *d);
    dv_str_copy(d->uuid, sizeof d->uuid, uuid);
    return d;
}

static void add_busy(struct entry *e, uint64_t ns, enum dv_quality worse)
{
    e->busy_ns += ns;
    if (ns)
        e->worse = DV_MAX(e->worse, worse);
}

int dv_books_busy(struct dv_books *b, uint64_t slice, uint64_t ns, enum dv_quality worse)
{
    struct entry *e = find(b, slice);
    if (!e)
        return -ENOENT;
    add_busy(e, ns, worse);
    return 0;
}

void dv_books_wait(struct dv_books *b, uint64_t slice, uint64_t ns)
{
    struct entry *e = find(b, slice);
    if (e)
        e->wait_ns += ns;
}

int dv_books_overhead(struct dv_books *b, const char *device, uint64_t ns)
{
    struct device_note *d = note(b, device);
    if (!d)
        return -ENOMEM;
    d->overhead_ns += ns;
    return 0;
}

int dv_books_ran(struct dv_books *b, const char *device, uint64_t ns)
{
    struct device_note *d = note(b, device);
    if (!d)
        return -ENOMEM;
    d->ran_ns += ns;
    d->ran_known = true;
    return 0;
}

static struct entry *without_slice(struct dv_books *b, const struct dv_account *account,
                                   const char *device)
{
    for (size_t i = 0; i < b->n_entries; i++) {
        struct entry *e = &b->entries[i];
        if (!e->id && !strcmp(e->device, device) && dv_account_equal(&e->account, account))
            return e;
    }
    struct entry *e = add_entry(b);
    if (!e)
        return NULL;
    e->account = *account;
    e->source_set = true;
    e->source = account->source;
    e->quality = account->quality;
    dv_str_copy(e->device, sizeof e->device, device);
    return e;
}

int dv_books_late(struct dv_books *b, const struct dv_account *account, const char *device,
                  uint64_t ns)
{
    if (strlen(device) >= DV_UUID_SIZE)
        return -EINVAL;
    struct entry *e = without_slice(b, account, device);
    if (!e)
        return -ENOMEM;
    add_busy(e, ns, account->quality);
    return 0;
}

int dv_books_outside(struct dv_books *b, const char *gpu, const char *tenant, const char *pod,
                     uint64_t ns)
{
    struct dv_account a = {
        .mode = DV_MODE_TIMESLICE, .source = DV_SOURCE_DRIVER, .quality = DV_QUALITY_SAMPLED};
    for (size_t i = 0; i < b->n_gpus; i++)
        if (!strcmp(b->gpus[i].uuid, gpu))
            memcpy(a.model, b->gpus[i].model, sizeof a.model);
    if (dv_str_copy(a.gpu, sizeof a.gpu, gpu) < 0 ||
        dv_str_copy(a.tenant, sizeof a.tenant, tenant ? tenant : DV_ACCOUNT_OUTSIDE) < 0 ||
        dv_str_copy(a.pod, sizeof a.pod, tenant ? pod : "") < 0)
        return -EINVAL;
    return dv_books_late(b, &a, gpu, ns);
}

void dv_books_source(struct dv_books *b, uint64_t slice, enum dv_source source,
                     enum dv_quality quality)
{
    struct entry *e = find(b, slice);
    if (!e)
        return;
    e->source_set = source != DV_SOURCE_NONE;
    e->source = source;
    e->quality = quality;
}

/* ---- who is there ---- */

/* How a mode's busy time is measured. NVML splits a whole GPU's time by process; inside MIG it
 * cannot, and under MPS nothing can. */
static void by_mode(enum dv_mode mode, bool mig, struct dv_account *a)
{
    switch (mode) {
    case DV_MODE_GOVERNED:
        a->source = DV_SOURCE_LEASES;
        a->quality = DV_QUALITY_EXACT;
        return;
    case DV_MODE_EXCLUSIVE:
        a->source = DV_SOURCE_PROCESS;
        a->quality = DV_QUALITY_EXACT;
        return;
    case DV_MODE_TIMESLICE:
        a->source = mig ? DV_SOURCE_PROCESS : DV_SOURCE_DRIVER;
        a->quality = mig ? DV_QUALITY_ESTIMATED : DV_QUALITY_SAMPLED;
        return;
    case DV_MODE_MPS:
        a->source = DV_SOURCE_PROCESS;
        a->quality = DV_QUALITY_ESTIMATED;
        return;
    case DV_MODE_AUTO:
        return;
    }
}

static void fill(struct entry *e, const struct dv_slice *s, const struct dv_device *d,
                 const struct dv_gpu *g)
{
    struct dv_account *a = &e->account;
    e->id = s->id;
    e->present = true;
    memcpy(e->device, s->device, sizeof e->device);
    e->share = s->compute;
    e->sms = s->compute_wall == DV_WALL_NONE ? d->compute : s->compute;
    e->memory_bytes = s->memory_bytes;
    memcpy(a->gpu, g->uuid, sizeof a->gpu);
    memcpy(a->model, g->model, sizeof a->model);
    memcpy(a->profile, d->profile, sizeof a->profile);
    memcpy(a->tenant, s->tenant, sizeof a->tenant);
    memcpy(a->pod, s->pod, sizeof a->pod);
    a->mode = s->mode;
    a->tier = s->tier;
    by_mode(s->mode, d->mig, a);
}

/* Every slice has an entry; those of slices that are gone are marked. */
static int see(struct dv_books *b, const struct dv_snapshot *snapshot)
{
    for (size_t i = 0; i < b->n_entries; i++)
        b->entries[i].present = false;
    for (size_t i = 0; i < snapshot->n_slices; i++) {
        const struct dv_slice *s = &snapshot->slices[i];
        const struct dv_device *d = dv_snapshot_device(snapshot, s->device);
        const struct dv_gpu *g = d ? dv_snapshot_gpu(snapshot, d->gpu) : NULL;
        struct entry *e = find(b, s->id);
        if (!g)
            continue;
        if (!e)
            e = add_entry(b);
        if (!e)
            return -ENOMEM;
        fill(e, s, d, g);
    }
    return 0;
}

static void see_gpus(struct dv_books *b, const struct dv_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->n_gpus; i++) {
        const struct dv_gpu *g = &snapshot->gpus[i];
        size_t k = 0;
        while (k < b->n_gpus && strcmp(b->gpus[k].uuid, g->uuid) != 0)
            k++;
        if (k == DV_GPUS_MAX)
            continue;
        b->n_gpus = DV_MAX(b->n_gpus, k + 1);
        b->gpus[k].index = g->index;
        memcpy(b->gpus[k].uuid, g->uuid, sizeof g->uuid);
        memcpy(b->gpus[k].model, g->model, sizeof g->model);
    }
}

static void drop_the_settled(struct dv_books *b, const struct dv_snapshot *snapshot)
{
    for (size_t i = b->n_devices; i-- > 0;)
        if (!dv_snapshot_device(snapshot, b->devices[i].uuid))
            b->devices[i] = b->devices[--b->n_devices];
    for (size_t i = b->n_entries; i-- > 0;) {
        const struct entry *e = &b->entries[i];
        if (!e->present && !e->busy_ns && !e->carry_ns && !e->present_ns)
            b->entries[i] = b->entries[--b->n_entries];
    }
}

/* ---- one GPU ---- */

static void tell(struct dv_books *b, uint64_t slice, const struct dv_account *a,
                 const struct dv_charge *c)
{
    static const struct dv_charge nothing;
    if (memcmp(c, &nothing, sizeof *c) != 0)
        b->on_charge(b->arg, slice, a, c);
}

static void charge_gpu(struct dv_books *b, const struct gpu_note *g, const struct dv_device *d,
                       const struct dv_charge *c)
{
    struct dv_account a = {.mode = d ? d->mode : DV_MODE_AUTO};
    memcpy(a.gpu, g->uuid, sizeof a.gpu);
    memcpy(a.model, g->model, sizeof a.model);
    if (d)
        memcpy(a.profile, d->profile, sizeof a.profile);
    tell(b, 0, &a, c);
}

static struct dv_account account_of(const struct entry *e)
{
    struct dv_account a = e->account;
    if (e->source_set) {
        a.source = e->source;
        a.quality = e->quality;
    }
    a.quality = DV_MAX(a.quality, e->worse);
    return a;
}

static void charge_slice(struct dv_books *b, struct entry *e, const struct dv_split_slice *s)
{
    struct dv_charge c = {
        .busy_ns = s->ret_busy_ns, .reserved_idle_ns = s->ret_idle_ns, .wait_ns = e->wait_ns};
    struct dv_account a = account_of(e);
    dv_u128 byte_ns = (dv_u128)e->memory_bytes * e->present_ns + e->byte_ns_rest;
    c.held_ns = e->present_ns;
    c.requested_compute = e->share * e->present_ns;
    c.byte_seconds = (uint64_t)(byte_ns / DV_NS_PER_S);
    e->byte_ns_rest = (uint64_t)(byte_ns % DV_NS_PER_S);
    e->present_ns = 0;
    e->carry_ns = s->carry_ns;
    e->busy_ns = e->wait_ns = 0;
    if (!e->carry_ns)
        e->worse = DV_QUALITY_EXACT;
    tell(b, e->id, &a, &c);
}

/* Where a part goes that is no slice's any more: its device if that is still there. */
static size_t part_of(const struct dv_books *b, const struct dv_split_gpu *g, const struct entry *e)
{
    for (size_t i = 0; i < g->n_devices; i++)
        if (b->part_device[i] && !strcmp(b->part_device[i]->uuid, e->device))
            return i;
    return 0;
}

static bool belongs(const struct entry *e, const struct gpu_note *g)
{
    return !strcmp(e->account.gpu, g->uuid) && (e->present_ns || e->busy_ns || e->carry_ns);
}

/* One that was there for a part of the interval holds its share for that part. */
static uint32_t share(const struct entry *e, uint64_t wall)
{
    return (uint32_t)((dv_u128)e->share * e->present_ns / wall);
}

static uint64_t carry_max(const struct entry *e)
{
    return account_of(e).source == DV_SOURCE_DRIVER ? CARRY_SAMPLED_NS : CARRY_EXACT_NS;
}

/* The slices of one part, in a row. */
static void fill_part(struct dv_books *b, const struct dv_split_gpu *g, const struct gpu_note *gpu,
                      size_t part, uint64_t wall, size_t *n)
{
    struct dv_split_device *d = &b->parts[part];
    d->slices = &b->slices[*n];
    d->n_slices = 0;
    for (size_t i = 0; i < b->n_entries && *n < DV_SPLIT_SLICES_MAX; i++) {
        struct entry *e = &b->entries[i];
        if (!belongs(e, gpu) || part_of(b, g, e) != part)
            continue;
        b->owner[*n] = e;
        b->slices[(*n)++] = (struct dv_split_slice){.share = share(e, wall),
                                                    .sms = e->sms,
                                                    .busy_ns = e->busy_ns,
                                                    .carry_ns = e->carry_ns,
                                                    .carry_max_ns = carry_max(e)};
        d->n_slices++;
    }
}

static void fill_device(struct dv_books *b, size_t part, const struct dv_device *d, uint64_t wall)
{
    struct device_note *n = note(b, d->uuid);
    bool known = n && n->ran_known && wall >= RAN_KNOWN_NS;
    b->part_device[part] = d;
    b->parts[part] = (struct dv_split_device){.compute = d->compute,
                                              .overlaps = d->mode == DV_MODE_MPS,
                                              .busy_ns = known ? n->ran_ns : DV_SPLIT_UNKNOWN,
                                              .overhead_ns = n ? n->overhead_ns : 0};
    if (n)
        n->overhead_ns = n->ran_ns = n->ran_known = 0;
}

/* The GPU's devices. One that has none, and something to charge, is a device of itself. */
static void fill_devices(struct dv_books *b, const struct dv_snapshot *snapshot,
                         const struct gpu_note *gpu, struct dv_split_gpu *g, uint64_t wall)
{
    for (size_t i = 0; i < snapshot->n_devices && g->n_devices < DV_SPLIT_DEVICES_MAX; i++)
        if (snapshot->devices[i].gpu == gpu->index)
            fill_device(b, g->n_devices++, &snapshot->devices[i], wall);
    if (g->n_devices)
        return;
    b->part_device[0] = NULL;
    b->parts[0] = (struct dv_split_device){.compute = DV_COMPUTE_FULL};
    g->n_devices = 1;
}

static int close_gpu(struct dv_books *b, const struct dv_snapshot *snapshot,
                     const struct gpu_note *gpu, uint64_t wall)
{
    const struct dv_gpu *now = dv_snapshot_gpu(snapshot, gpu->index);
    struct dv_split_gpu g = {.devices = b->parts};
    bool there = now && !strcmp(now->uuid, gpu->uuid);
    size_t n = 0;
    g.unhealthy =
        !there || now->health == DV_GPU_HEALTH_FAILED || now->health == DV_GPU_HEALTH_UNKNOWN;
    fill_devices(b, there ? snapshot : &(struct dv_snapshot){0}, gpu, &g, wall);
    for (size_t i = 0; i < g.n_devices; i++)
        fill_part(b, &g, gpu, i, wall, &n);
    int r = dv_split(&g, wall);
    if (r < 0) {
        charge_gpu(b, gpu, NULL, &(struct dv_charge){.unallocated_ns = wall});
        return r;
    }
    for (size_t i = 0; i < n; i++)
        charge_slice(b, b->owner[i], &b->slices[i]);
    for (size_t i = 0; i < g.n_devices; i++) {
        const struct dv_split_device *d = &b->parts[i];
        b->cut_ns += d->ret_cut_ns;
        charge_gpu(b, gpu, b->part_device[i],
                   &(struct dv_charge){.overhead_ns = d->ret_overhead_ns,
                                       .unallocated_ns = d->ret_unallocated_ns});
    }
    charge_gpu(b, gpu, NULL,
               &(struct dv_charge){.unallocated_ns = g.ret_unallocated_ns,
                                   .unhealthy_ns = g.ret_unhealthy_ns});
    return 0;
}

int dv_books_note(struct dv_books *b, const struct dv_snapshot *snapshot, uint64_t now_ns)
{
    uint64_t passed = now_ns > b->noted_ns ? now_ns - b->noted_ns : 0;
    for (size_t i = 0; i < b->n_entries; i++)
        b->entries[i].present_ns += b->entries[i].present ? passed : 0;
    b->noted_ns += passed;
    return see(b, snapshot);
}

int dv_books_close(struct dv_books *b, const struct dv_snapshot *snapshot, uint64_t now_ns)
{
    int r = dv_books_note(b, snapshot, now_ns);
    if (r < 0)
        return r;
    see_gpus(b, snapshot);
    if (now_ns <= b->since_ns)
        return 0;
    uint64_t wall = now_ns - b->since_ns;
    b->since_ns = now_ns;
    for (size_t i = 0; i < b->n_gpus; i++) {
        int one = close_gpu(b, snapshot, &b->gpus[i], wall);
        r = r ? r : one;
    }
    drop_the_settled(b, snapshot);
    return r;
}

int dv_books_account(const struct dv_books *b, uint64_t slice, struct dv_account *ret)
{
    const struct entry *e = find((struct dv_books *)b, slice);
    if (!e)
        return -ENOENT;
    *ret = account_of(e);
    return 0;
}

void dv_books_pending(const struct dv_books *b, dv_books_on_pending *on_pending, void *arg)
{
    for (size_t i = 0; i < b->n_entries; i++) {
        const struct entry *e = &b->entries[i];
        struct dv_account a = account_of(e);
        if (e->busy_ns + e->carry_ns)
            on_pending(arg, &a, e->device, e->busy_ns + e->carry_ns);
    }
}
