/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random numbers that repeat: the same seed gives the same run on every machine. The generator is
 * splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
 */
#ifndef DV_BASE_RNG_H
#define DV_BASE_RNG_H

#include "base/macros.h"

struct dv_rng {
    uint64_t state;
};

uint64_t dv_rng_next(struct dv_rng *rng);
/* Uniform in [0, bound), bound >= 1, without modulo bias. */
uint64_t dv_rng_below(struct dv_rng *rng, uint64_t bound);
/* Uniform in [0, 1). */
double dv_rng_unit(struct dv_rng *rng);
/* Exponential with the given mean: the gap between Poisson arrivals. */
double dv_rng_exponential(struct dv_rng *rng, double mean);

#endif
