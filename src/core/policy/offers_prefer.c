/* SPDX-License-Identifier: Apache-2.0 */
/* Which units the kubelet should take. */
#include "policy/offers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SETS_MAX 20000u /* of whole GPUs that are all tried: 8 of 16 are 12,870 */

enum { AWAY, FREE, TAKEN }; /* a unit is not to be had, may be picked, is in the answer */

struct picker {
    const struct dv_offers *offers;
    const struct dv_offer *offer;
    const struct dv_topology *topology;
    uint8_t *state; /* per unit: AWAY... */
    /* Per device of the offers, what this resource has on it. */
    struct tally {
        uint32_t total, free;
        uint32_t picked; /* in this answer */
        uint32_t first;  /* unit: those of a device lie side by side */
    } * tallies;
    const char **ret;
    uint32_t n, size; /* of the answer */
    struct dv_err *err;
};

static void take(struct picker *p, uint32_t unit)
{
    struct tally *t = &p->tallies[p->offer->units[unit].device];
    t->free -= p->state[unit] == FREE;
    t->picked++;
    p->state[unit] = TAKEN;
    p->ret[p->n++] = p->offer->units[unit].id;
}

static uint32_t first_free(const struct picker *p, uint32_t device)
{
    uint32_t i = p->tallies[device].first;
    while (p->state[i] != FREE)
        i++;
    return i;
}

static int not_enough(const struct picker *p, size_t there)
{
    return dv_err_set(p->err, -EINVAL, "%s: %u are asked for, and %zu are to be had",
                      p->offer->name, p->size, there);
}

/* Marks what may be picked and takes what must be. */
static int prepare(struct picker *p, const struct dv_offer_request *request)
{
    const struct dv_offer *o = p->offer;
    size_t there = 0;
    for (uint32_t i = o->n_units; i--;) {
        struct tally *t = &p->tallies[o->units[i].device];
        t->total++;
        t->first = i;
    }
    if (request->n_must > request->size)
        return dv_err_set(p->err, -EINVAL, "%s: %zu must be among %u", o->name, request->n_must,
                          request->size);
    for (size_t i = 0; i < request->n_must; i++) {
        const struct dv_offer_unit *u = dv_offers_unit(o, request->must[i]);
        if (!u || p->state[u - o->units] == TAKEN)
            return dv_err_set(p->err, -EINVAL, "%s: must have %.63s, which %s", o->name,
                              request->must[i], u ? "is given twice" : "is unknown");
        take(p, (uint32_t)(u - o->units));
    }
    /* Ids that are not there any more, and those that are given twice, count once at most. */
    for (size_t i = 0; i < request->n_available; i++) {
        const struct dv_offer_unit *u = dv_offers_unit(o, request->available[i]);
        if (!u || p->state[u - o->units] != AWAY)
            continue;
        p->state[u - o->units] = FREE;
        p->tallies[u->device].free++;
        there++;
    }
    return there < p->size - p->n ? not_enough(p, there + p->n) : 0;
}

/* ---- whole GPUs: nearest links ---- */

/* How near two GPUs are, as a number that adds up. NVIDIA's go-gpuallocator weighs them so: each
 * NVLink more than any way over PCIe, which counts beside them. */
static uint32_t nearness(const struct picker *p, uint32_t a, uint32_t b)
{
    static const uint32_t weights[] = {
        [DV_LINK_SYS] = 10, [DV_LINK_NODE] = 20,    [DV_LINK_PHB] = 30, [DV_LINK_PXB] = 40,
        [DV_LINK_PIX] = 50, [DV_LINK_NVLINK] = 100, [DV_LINK_SELF] = 0,
    };
    const struct dv_offer_device *x = &p->offers->devices[p->offer->units[a].device];
    const struct dv_offer_device *y = &p->offers->devices[p->offer->units[b].device];
    struct dv_link link = dv_topology_get(p->topology, x->gpu, y->gpu);
    if (link.kind == DV_LINK_UNKNOWN) /* the NUMA node is what is left to go by */
        return x->numa < 0 || y->numa < 0
                   ? 0
                   : weights[x->numa == y->numa ? DV_LINK_NODE : DV_LINK_SYS];
    if (link.kind != DV_LINK_NVLINK)
        return weights[link.kind];
    return weights[DV_LINK_NVLINK] * DV_MAX(link.nvlinks, 1u) + weights[link.pcie];
}

struct sets {
    uint32_t units[DV_GPUS_MAX]; /* what may be picked; then what is in already */
    uint32_t n, n_all;           /* of the first; of both */
    uint32_t want;               /* how many more */
    uint32_t near[DV_GPUS_MAX][DV_GPUS_MAX];
    bool in[DV_GPUS_MAX];
};

static void read_sets(struct picker *p, struct sets *s)
{
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < p->offer->n_units && s->n_all < DV_GPUS_MAX; i++)
            if (p->state[i] == (pass ? TAKEN : FREE))
                s->units[s->n_all++] = i;
        if (!pass)
            s->n = s->n_all;
    }
    s->want = p->size - p->n;
    for (uint32_t i = 0; i < s->n_all; i++) {
        s->in[i] = i >= s->n;
        for (uint32_t k = 0; k < s->n_all; k++)
            s->near[i][k] = nearness(p, s->units[i], s->units[k]);
    }
}

/* What all pairs on one side (in or out) are worth together: the higher half the set's, the lower
 * half that of what it leaves. */
static uint64_t worth(const struct sets *s)
{
    uint64_t sum[2] = {0, 0};
    for (uint32_t i = 0; i < s->n_all; i++)
        for (uint32_t k = 0; k < i; k++)
            if (s->in[i] == s->in[k])
                sum[s->in[i]] += s->near[i][k];
    return sum[true] << 32 | sum[false];
}

static uint64_t count_sets(uint32_t n, uint32_t k)
{
    uint64_t sets = 1;
    for (uint32_t i = 0; i < k && sets <= SETS_MAX; i++)
        sets = sets * (n - i) / (i + 1);
    return sets;
}

/* Every set of `want` of n, in the order of their members; the first of the best is kept. */
static void try_all(struct sets *s, bool best[DV_GPUS_MAX])
{
    uint32_t at[DV_GPUS_MAX];
    uint64_t most = 0;
    bool any = false;
    for (uint32_t i = 0; i < s->want; i++)
        at[i] = i;
    for (;;) {
        memset(s->in, 0, s->n * sizeof s->in[0]);
        for (uint32_t i = 0; i < s->want; i++)
            s->in[at[i]] = true;
        uint64_t w = worth(s);
        if (!any || w > most) {
            any = true;
            most = w;
            memcpy(best, s->in, sizeof s->in);
        }
        uint32_t i = s->want;
        while (i && at[i - 1] == s->n - s->want + i - 1)
            i--;
        if (!i)
            return;
        at[i - 1]++;
        for (; i < s->want; i++)
            at[i] = at[i - 1] + 1;
    }
}

/* What GPU i has to the `near` nearest of those that are in, or of all. */
static uint64_t promise(const struct sets *s, uint32_t i, uint32_t near, bool of_all)
{
    bool used[DV_GPUS_MAX] = {false};
    uint64_t sum = 0;
    for (uint32_t n = 0; n < near; n++) {
        uint32_t best = DV_GPUS_MAX;
        for (uint32_t k = 0; k < s->n_all; k++)
            if (k != i && !used[k] && (of_all || s->in[k]) &&
                (best == DV_GPUS_MAX || s->near[i][k] > s->near[i][best]))
                best = k;
        if (best == DV_GPUS_MAX)
            break;
        used[best] = true;
        sum += s->near[i][best];
    }
    return sum;
}

/* One by one, each time the GPU that is nearest to those that are in. The first, where none is in,
 * is the one with the best company of the size that is wanted. */
static void grow_set(struct sets *s, bool best[DV_GPUS_MAX])
{
    bool none = s->n == s->n_all;
    for (uint32_t left = s->want; left; left--) {
        uint32_t next = DV_GPUS_MAX;
        uint64_t most = 0;
        for (uint32_t i = 0; i < s->n; i++) {
            if (s->in[i])
                continue;
            uint64_t w = promise(s, i, none ? s->want - 1 : s->n_all, none);
            if (next == DV_GPUS_MAX || w > most) {
                next = i;
                most = w;
            }
        }
        s->in[next] = true;
        none = false;
    }
    memcpy(best, s->in, sizeof s->in);
}

static int pick_aligned(struct picker *p)
{
    struct sets *s = calloc(1, sizeof *s);
    bool best[DV_GPUS_MAX];
    if (!s)
        return -ENOMEM;
    read_sets(p, s);
    uint32_t n = s->n;
    if (count_sets(n, s->want) <= SETS_MAX)
        try_all(s, best);
    else
        grow_set(s, best);
    for (uint32_t i = 0; i < n; i++)
        if (best[i])
            take(p, s->units[i]);
    free(s);
    return 0;
}

/* ---- one by one ---- */

/* What a device's GPU as a whole has given, before and in this answer, is kept with the first
 * device of that GPU. */
struct by_gpu {
    uint32_t first;
    struct tally sum;
};

static void sum_gpus(const struct picker *p, struct by_gpu *gpus)
{
    const struct dv_offer_device *devices = p->offers->devices;
    for (uint32_t i = 0; i < p->offers->n_devices; i++) {
        gpus[i].first = i && devices[i - 1].gpu == devices[i].gpu ? gpus[i - 1].first : i;
        struct tally *sum = &gpus[gpus[i].first].sum;
        sum->total += p->tallies[i].total;
        sum->free += p->tallies[i].free;
        sum->picked += p->tallies[i].picked;
    }
}

/* Below 0: device a is the better one to take from. */
static int compare(const struct picker *p, const struct by_gpu *gpus, uint32_t a, uint32_t b)
{
    const struct tally *x = &p->tallies[a], *y = &p->tallies[b];
    struct tally gx = gpus[gpus[a].first].sum, gy = gpus[gpus[b].first].sum;
    bool shares = p->offer->kind != DV_OFFER_WHOLE;
    int sign = p->offer->packed ? -1 : 1;
    /* The original packs the shares of one answer on one GPU too, where they are worth one. */
    int64_t keys[] = {
        shares ? (int64_t)gx.picked - gy.picked : 0,
        shares ? (int64_t)x->picked - y->picked : 0,
        sign * (((int64_t)gx.total - gx.free) - ((int64_t)gy.total - gy.free)),
        (int64_t)gx.picked - gy.picked,
        sign * (((int64_t)x->total - x->free) - ((int64_t)y->total - y->free)),
        (int64_t)a - b,
    };
    for (size_t i = 0; i < DV_ARRAY_SIZE(keys); i++)
        if (keys[i])
            return keys[i] < 0 ? -1 : 1;
    return 0;
}

static int pick_one_by_one(struct picker *p)
{
    struct by_gpu *gpus = calloc(p->offers->n_devices, sizeof *gpus);
    if (!gpus)
        return -ENOMEM;
    sum_gpus(p, gpus);
    while (p->n < p->size) {
        uint32_t best = UINT32_MAX;
        for (uint32_t i = 0; i < p->offers->n_devices; i++)
            if (p->tallies[i].free && (best == UINT32_MAX || compare(p, gpus, i, best) < 0))
                best = i;
        take(p, first_free(p, best));
        gpus[gpus[best].first].sum.free--;
        gpus[gpus[best].first].sum.picked++;
    }
    free(gpus);
    return 0;
}

/* ---- percent tokens ---- */

static int pick_tokens(struct picker *p)
{
    uint32_t best = UINT32_MAX, most = 0, with_must = 0;
    for (uint32_t i = 0; i < p->offers->n_devices; i++)
        with_must += !!p->tallies[i].picked;
    if (with_must > 1)
        return dv_err_set(p->err, -EINVAL,
                          "%s: the tokens that must be in lie on %u GPUs, and a fraction is of one",
                          p->offer->name, with_must);
    for (uint32_t i = 0; i < p->offers->n_devices; i++) {
        const struct tally *t = &p->tallies[i];
        uint32_t there = t->free + t->picked;
        if (with_must && !t->picked)
            continue;
        most = DV_MAX(most, there);
        if (there >= p->size && (best == UINT32_MAX || t->free < p->tallies[best].free))
            best = i;
    }
    if (best == UINT32_MAX)
        return dv_err_set(p->err, -EINVAL,
                          "%s: %u%% of one GPU are asked for, and the most that one has free is "
                          "%u%%",
                          p->offer->name, p->size, most);
    while (p->n < p->size)
        take(p, first_free(p, best));
    return 0;
}

/* ---- all of it ---- */

static bool all_gpus(const struct picker *p)
{
    for (uint32_t i = 0; i < p->offer->n_units; i++)
        if (p->offers->devices[p->offer->units[i].device].mig)
            return false;
    return p->offer->kind == DV_OFFER_WHOLE && p->offer->n_units <= DV_GPUS_MAX;
}

static int pick(struct picker *p, const struct dv_offer_request *request)
{
    int r = prepare(p, request);
    if (r < 0 || p->n == p->size)
        return r;
    if (p->offer->kind == DV_OFFER_PERCENT)
        return pick_tokens(p);
    return all_gpus(p) ? pick_aligned(p) : pick_one_by_one(p);
}

int dv_offers_prefer(const struct dv_offers *offers, const struct dv_offer *offer,
                     const struct dv_offer_request *request, const struct dv_topology *topology,
                     const char **ret, struct dv_err *err)
{
    if (request->size > offer->n_units)
        return dv_err_set(err, -EINVAL, "%s: %u are asked for, and there are %u", offer->name,
                          request->size, offer->n_units);
    struct picker p = {
        .offers = offers,
        .offer = offer,
        .topology = topology,
        .state = calloc(offer->n_units + 1, 1),
        .tallies = calloc(offers->n_devices + 1, sizeof *p.tallies),
        .ret = ret,
        .size = request->size,
        .err = err,
    };
    int r = p.state && p.tallies ? pick(&p, request) : -ENOMEM;
    free(p.state);
    free(p.tallies);
    return r;
}
