/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who deserves how much: a capacity divided among queues, and GPU time that is forgotten with a
 * half-life. All integers, so that two machines never disagree about a fair share. Amounts are in
 * 1/7000 of a GPU.
 *
 * Division: first everyone's guarantee (as far as it is wanted), then the rest by weight, the
 * higher priority first; nobody gets more than the cap, which is what is wanted or allowed. It is
 * the max-min fair division, exact: the shares sum to the capacity, or to the caps where these are
 * less, and each is less than one unit (1/7000 GPU) away from the ideal real number. The units
 * that rounding leaves go to the largest remainders, of equals to the first of the list. Where
 * guarantees exceed the capacity, they are cut in proportion.
 */
#ifndef DV_POLICY_FAIR_SHARE_H
#define DV_POLICY_FAIR_SHARE_H

#include "base/macros.h"

#include <stdbool.h>

#define DV_FAIR_UNLIMITED UINT64_MAX
#define DV_FAIR_CAPACITY_MAX (UINT64_C(1) << 40) /* 157 million GPUs */
#define DV_FAIR_WEIGHT_MAX (UINT64_C(1) << 48)   /* what a weight may become */

struct dv_fair_claim {
    uint64_t guarantee;
    uint64_t cap;     /* the lesser of what is wanted and what is allowed */
    uint64_t weight;  /* 0: nothing beyond the guarantee */
    int32_t priority; /* of the rest, higher goes first */
};

/* ret[i] is the share of claims[i]. capacity at most DV_FAIR_CAPACITY_MAX. 0, -ENOMEM, -EINVAL. */
int dv_fair_divide(const struct dv_fair_claim *claims, size_t n, uint64_t capacity, uint64_t *ret);

/* GPU time that was used: unit nanoseconds, decayed to the instant `at`. */
struct dv_fair_usage {
    unsigned __int128 unit_ns;
    uint64_t at_ns;
};

/* 2^(-ns / half_life) in 1/2^63, at most 2^63; half_life 0: nothing is forgotten. */
uint64_t dv_fair_decay(uint64_t ns, uint64_t half_life_ns);

/* Advances to now while `held` units were held all along. now before `at` changes nothing. One
 * long step and many short ones agree to a few nanoseconds of what was held. */
void dv_fair_usage_advance(struct dv_fair_usage *usage, uint64_t held, uint64_t half_life_ns,
                           uint64_t now_ns);

/*
 * Weights bent by what was used: max(W + k (W - U), least), where W and U are a queue's parts of
 * all weights and of all usage, and k is pull_milli / 1000. (The form is that of KAI-Scheduler's
 * time-based fair share.) A weight above zero never becomes zero, so that nobody starves of a past
 * that fades slowly. weights at most 2^20; ret may be weights.
 */
void dv_fair_bend(const uint64_t *weights, const unsigned __int128 *used, size_t n,
                  uint32_t pull_milli, uint64_t *ret);

#endif
