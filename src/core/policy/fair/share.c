/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/fair/share.h"

#include <errno.h>
#include <stdlib.h>

typedef unsigned __int128 u128;

#define ONE (UINT64_C(1) << 63)

/* ---- division ------------------------------------------------------------------------------- */

/* One who divides: `cap` is what is still to be had, `got` what this round gives. */
struct part {
    uint64_t weight, cap, got, remainder;
    size_t index;
};

/* By cap per weight: who is full first comes first. */
static int by_level(const void *x, const void *y)
{
    const struct part *a = x, *b = y;
    u128 left = (u128)a->cap * b->weight, right = (u128)b->cap * a->weight;
    if (left != right)
        return left < right ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

static int by_remainder(const void *x, const void *y)
{
    const struct part *a = x, *b = y;
    if (a->remainder != b->remainder)
        return a->remainder > b->remainder ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

/* Water into vessels as wide as their weights and as high as their caps; returns what is left. */
static uint64_t fill(struct part *parts, size_t n, uint64_t amount)
{
    u128 total = 0;
    size_t i = 0;
    if (!n)
        return amount;
    qsort(parts, n, sizeof *parts, by_level);
    for (size_t k = 0; k < n; k++)
        total += parts[k].weight;
    for (; i < n && total && (u128)parts[i].cap * total <= (u128)parts[i].weight * amount; i++) {
        parts[i].got = parts[i].cap;
        amount -= parts[i].cap;
        total -= parts[i].weight;
    }
    if (i == n || !total)
        return amount;
    uint64_t rest = amount;
    for (size_t k = i; k < n; k++) {
        u128 ideal = (u128)parts[k].weight * amount;
        parts[k].got = (uint64_t)(ideal / total);
        parts[k].remainder = (uint64_t)(ideal % total);
        rest -= parts[k].got;
    }
    /* Fewer units than vessels are left, and none of these is full. */
    qsort(parts + i, n - i, sizeof *parts, by_remainder);
    for (size_t k = i; k < n && rest; k++, rest--)
        parts[k].got++;
    return 0;
}

/* The next priority below `below` among those who still want something; false: none. */
static bool next_tier(const struct dv_fair_claim *claims, size_t n, int64_t below, int64_t *ret)
{
    bool found = false;
    for (size_t i = 0; i < n; i++)
        if (claims[i].weight && claims[i].priority < below &&
            (!found || claims[i].priority > *ret)) {
            *ret = claims[i].priority;
            found = true;
        }
    return found;
}

static uint64_t give_guarantees(const struct dv_fair_claim *claims, size_t n, uint64_t capacity,
                                struct part *parts, uint64_t *ret)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t cap = DV_MIN(claims[i].guarantee, claims[i].cap);
        ret[i] = 0;
        if (cap)
            parts[m++] = (struct part){
                .weight = DV_MIN(claims[i].guarantee, DV_FAIR_CAPACITY_MAX),
                .cap = DV_MIN(cap, DV_FAIR_CAPACITY_MAX),
                .index = i,
            };
    }
    uint64_t left = fill(parts, m, capacity);
    for (size_t k = 0; k < m; k++)
        ret[parts[k].index] = parts[k].got;
    return left;
}

int dv_fair_divide(const struct dv_fair_claim *claims, size_t n, uint64_t capacity, uint64_t *ret)
{
    if (capacity > DV_FAIR_CAPACITY_MAX)
        return -EINVAL;
    for (size_t i = 0; i < n; i++)
        if (claims[i].weight > DV_FAIR_WEIGHT_MAX)
            return -EINVAL;
    struct part *parts = n ? calloc(n, sizeof *parts) : NULL;
    if (n && !parts)
        return -ENOMEM;
    uint64_t left = give_guarantees(claims, n, capacity, parts, ret);
    int64_t tier = (int64_t)INT32_MAX + 1;
    while (left && next_tier(claims, n, tier, &tier)) {
        size_t m = 0;
        for (size_t i = 0; i < n; i++)
            if (claims[i].priority == tier && claims[i].weight && claims[i].cap > ret[i])
                parts[m++] = (struct part){
                    .weight = claims[i].weight,
                    .cap = DV_MIN(claims[i].cap, DV_FAIR_CAPACITY_MAX) - ret[i],
                    .index = i,
                };
        left = fill(parts, m, left);
        for (size_t k = 0; k < m; k++)
            ret[parts[k].index] += parts[k].got;
    }
    free(parts);
    return 0;
}

/* ---- decay ---------------------------------------------------------------------------------- */

/* 2^(-1/2^i) in 1/2^63, i = 1 .. 32, rounded to the nearest. */
static const uint64_t roots[] = {
    UINT64_C(0x5A827999FCEF3242), UINT64_C(0x6BA27E656B4EB57A), UINT64_C(0x75606373EE921C97),
    UINT64_C(0x7A92BE8A92436616), UINT64_C(0x7D41D96DB915019D), UINT64_C(0x7E9F06067A4360BA),
    UINT64_C(0x7F4F08AE3DC7C426), UINT64_C(0x7FA765ACA88F6453), UINT64_C(0x7FD3AB290E46D769),
    UINT64_C(0x7FE9D3A8E07BF086), UINT64_C(0x7FF4E9597BED93AB), UINT64_C(0x7FFA748DFF8DC61F),
    UINT64_C(0x7FFD3A3F50020332), UINT64_C(0x7FFE9D1DBC0A75AA), UINT64_C(0x7FFF4E8E6306ED59),
    UINT64_C(0x7FFFA74712C3CDFD), UINT64_C(0x7FFFD3A381B1FA29), UINT64_C(0x7FFFE9D1BEED018A),
    UINT64_C(0x7FFFF4E8DEFB81D7), UINT64_C(0x7FFFFA746F5F012F), UINT64_C(0x7FFFFD3A37A7D0A8),
    UINT64_C(0x7FFFFE9D1BD1FC58), UINT64_C(0x7FFFFF4E8DE8832D), UINT64_C(0x7FFFFFA746F422D7),
    UINT64_C(0x7FFFFFD3A37A09BB), UINT64_C(0x7FFFFFE9D1BD02F2), UINT64_C(0x7FFFFFF4E8DE80FE),
    UINT64_C(0x7FFFFFFA746F4060), UINT64_C(0x7FFFFFFD3A37A028), UINT64_C(0x7FFFFFFE9D1BD012),
    UINT64_C(0x7FFFFFFF4E8DE809), UINT64_C(0x7FFFFFFFA746F404),
};

uint64_t dv_fair_decay(uint64_t ns, uint64_t half_life_ns)
{
    if (!half_life_ns)
        return ONE;
    uint64_t whole = ns / half_life_ns;
    if (whole > 63)
        return 0;
    uint64_t fraction = (uint64_t)(((u128)(ns % half_life_ns) << 32) / half_life_ns);
    uint64_t f = ONE;
    for (unsigned i = 0; i < DV_ARRAY_SIZE(roots); i++)
        if (fraction & (UINT64_C(1) << (31 - i)))
            f = (uint64_t)(((u128)f * roots[i]) >> 63);
    return f >> whole;
}

/* v * f / 2^63, f at most 2^63, without overflow. */
static u128 times(u128 v, uint64_t f)
{
    u128 high = (v >> 64) * f, low = (u128)(uint64_t)v * f;
    return (high << 1) + (low >> 63);
}

void dv_fair_usage_advance(struct dv_fair_usage *usage, uint64_t held, uint64_t half_life_ns,
                           uint64_t now_ns)
{
    if (now_ns <= usage->at_ns)
        return;
    uint64_t ns = now_ns - usage->at_ns;
    usage->at_ns = now_ns;
    if (!half_life_ns) {
        usage->unit_ns += (u128)held * ns;
        return;
    }
    uint64_t f = dv_fair_decay(ns, half_life_ns);
    /* The integral of 2^(-t/h) over the step is h / ln 2 * (1 - f). 1/ln 2 = 1.442695040888963407
     */
    u128 horizon =
        (u128)half_life_ns * UINT64_C(1442695040888963407) / UINT64_C(1000000000000000000);
    u128 counted = times(horizon, ONE - f);
    if (counted > ns)
        counted = ns;
    usage->unit_ns = times(usage->unit_ns, f) + held * counted;
}

/* ---- weights -------------------------------------------------------------------------------- */

#define PART_BITS 30

void dv_fair_bend(const uint64_t *weights, const u128 *used, size_t n, uint32_t pull_milli,
                  uint64_t *ret)
{
    u128 all_used = 0;
    uint64_t all = 0;
    unsigned shift = 0;
    for (size_t i = 0; i < n; i++) {
        all += weights[i];
        all_used += used[i];
    }
    while (all_used >> shift >> 64)
        shift++;
    for (size_t i = 0; i < n; i++) {
        if (!weights[i]) {
            ret[i] = 0;
            continue;
        }
        int64_t w = (int64_t)(((u128)weights[i] << PART_BITS) / all);
        int64_t u = all_used >> shift
                        ? (int64_t)((((used[i] >> shift) << PART_BITS)) / (all_used >> shift))
                        : w;
        int64_t bent = w * 1000 + (int64_t)pull_milli * (w - u);
        ret[i] = bent > 1000 ? (uint64_t)bent : 1000;
    }
}
