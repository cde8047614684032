/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"

#include <math.h>

uint64_t dv_rng_next(struct dv_rng *rng)
{
    uint64_t z = rng->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

uint64_t dv_rng_below(struct dv_rng *rng, uint64_t bound)
{
    uint64_t reject = (0 - bound) % bound; /* 2^64 mod bound: the part that would bias */
    for (;;) {
        uint64_t v = dv_rng_next(rng);
        if (v >= reject)
            return v % bound;
    }
}

double dv_rng_unit(struct dv_rng *rng)
{
    return (double)(dv_rng_next(rng) >> 11) * 0x1.0p-53;
}

double dv_rng_exponential(struct dv_rng *rng, double mean)
{
    return -mean * log1p(-dv_rng_unit(rng));
}
