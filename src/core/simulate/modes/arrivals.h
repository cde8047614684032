/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of tenants, in time: recorded, or Poisson with a seed, without holding what is made.
 * Each tenant has its own cursor and its own random numbers, so one tenant's load never changes
 * another's, and a simulated tenant pulls its next request when it is free.
 *
 *     struct dv_arrivals a;
 *     dv_arrivals_start(&a, &load);
 *     while (dv_arrivals_next(&a, tenant, &at)) ...              one tenant, ascending
 *     while (dv_arrivals_take(&a, &tenant, &at)) ...             all, by (time, tenant)
 *
 * The hostile tenant asks for more than it says: its service times a factor, its rate times a
 * factor. Of recorded arrivals the further ones are Poisson at its own mean rate; with a rate below
 * 1 a part of its own is left out.
 */
#ifndef DV_SIMULATE_MODES_ARRIVALS_H
#define DV_SIMULATE_MODES_ARRIVALS_H

#include "base/err.h"
#include "base/rng.h"

#include <stdbool.h>

#define DV_ARRIVALS_TENANTS_MAX 64u
#define DV_ARRIVALS_DURATION_MAX (UINT64_C(366) * 24 * 3600 * DV_NS_PER_S)
#define DV_ARRIVALS_SERVICE_MAX (3600 * DV_NS_PER_S)
#define DV_ARRIVALS_FACTOR_MAX UINT64_C(1000000) /* 1000x, in thousandths */
#define DV_ARRIVALS_REQUESTS_MAX 1e9             /* expected, of all tenants */

/* Recorded arrivals of one tenant, ascending, since the start. Borrowed. */
struct dv_arrivals_recorded {
    const uint64_t *at_ns;
    size_t n;
};

struct dv_arrivals_load {
    uint32_t tenants;     /* 1..DV_ARRIVALS_TENANTS_MAX */
    uint64_t duration_ns; /* 1 ms..DV_ARRIVALS_DURATION_MAX; what arrives later does not count */
    uint64_t service_ns;  /* 1 us..DV_ARRIVALS_SERVICE_MAX: of one request, with the whole card */
    const struct dv_arrivals_recorded *recorded; /* of each tenant, or NULL: Poisson */
    uint64_t rate_milli; /* Poisson: requests per 1000 s of each tenant; 1..10^10 */
    uint64_t seed;
    bool has_hostile;
    uint32_t hostile;               /* a tenant */
    uint64_t hostile_service_milli; /* factors, 1..DV_ARRIVALS_FACTOR_MAX */
    uint64_t hostile_rate_milli;
};

/* 0, or -EINVAL, -ERANGE with a message. To be called before the others. */
int dv_arrivals_check(const struct dv_arrivals_load *load, struct dv_err *err);

struct dv_arrivals_cursor {
    const uint64_t *recorded;
    size_t n, at;
    uint64_t keep_milli; /* of the recorded, below 1000: thinned */
    double gap_ns;       /* mean, of those made up; 0: none */
    uint64_t made_ns;    /* the next of these */
    uint64_t next_ns;    /* of both; DV_NEVER: no more */
    struct dv_rng gaps, thinning;
};

struct dv_arrivals {
    uint32_t tenants;
    uint64_t duration_ns;
    struct dv_arrivals_cursor cursors[DV_ARRIVALS_TENANTS_MAX];
};

void dv_arrivals_start(struct dv_arrivals *a, const struct dv_arrivals_load *load);
/* False when the tenant has no more before the end. */
bool dv_arrivals_next(struct dv_arrivals *a, uint32_t tenant, uint64_t *ret_ns);
/* The first of all tenants; of several at one instant the lowest tenant. */
bool dv_arrivals_take(struct dv_arrivals *a, uint32_t *ret_tenant, uint64_t *ret_ns);

/* Of one request of the tenant, with the whole card. */
uint64_t dv_arrivals_service(const struct dv_arrivals_load *load, uint32_t tenant);
/* About how many there will be; exact for recorded ones without a hostile tenant. */
uint64_t dv_arrivals_expected(const struct dv_arrivals_load *load);

#endif
