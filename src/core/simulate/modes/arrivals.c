/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate/modes/arrivals.h"

#include <errno.h>

#define MILLI 1000
#define RATE_MAX UINT64_C(10000000000)

static bool is_hostile(const struct dv_arrivals_load *load, uint32_t tenant)
{
    return load->has_hostile && load->hostile == tenant;
}

static int check_hostile(const struct dv_arrivals_load *load, struct dv_err *err)
{
    if (!load->has_hostile)
        return 0;
    if (load->hostile >= load->tenants)
        return dv_err_set(err, -ERANGE, "hostile tenant %u: the tenants are 0 to %u", load->hostile,
                          load->tenants - 1);
    uint64_t factors[] = {load->hostile_service_milli, load->hostile_rate_milli};
    for (size_t i = 0; i < DV_ARRAY_SIZE(factors); i++)
        if (!factors[i] || factors[i] > DV_ARRIVALS_FACTOR_MAX)
            return dv_err_set(err, -ERANGE, "a factor of the hostile tenant is 0.001x to 1000x");
    if (load->service_ns * (load->hostile_service_milli / 1e3) > (double)DV_ARRIVALS_SERVICE_MAX)
        return dv_err_set(err, -ERANGE, "a request of the hostile tenant is longer than an hour");
    return 0;
}

static int check_recorded(const struct dv_arrivals_load *load, struct dv_err *err)
{
    for (uint32_t t = 0; t < load->tenants; t++)
        for (size_t i = 1; i < load->recorded[t].n; i++)
            if (load->recorded[t].at_ns[i] < load->recorded[t].at_ns[i - 1])
                return dv_err_set(err, -EINVAL, "arrivals of tenant %u are not in order of time",
                                  t);
    return 0;
}

int dv_arrivals_check(const struct dv_arrivals_load *load, struct dv_err *err)
{
    if (!load->tenants || load->tenants > DV_ARRIVALS_TENANTS_MAX)
        return dv_err_set(err, -ERANGE, "%u tenants: 1 to %u can be simulated", load->tenants,
                          DV_ARRIVALS_TENANTS_MAX);
    if (load->duration_ns < DV_NS_PER_MS || load->duration_ns > DV_ARRIVALS_DURATION_MAX)
        return dv_err_set(err, -ERANGE, "the duration is 1ms to 366 days");
    if (load->service_ns < DV_NS_PER_US || load->service_ns > DV_ARRIVALS_SERVICE_MAX)
        return dv_err_set(err, -ERANGE, "the service time of a request is 1us to 1h");
    if (!load->recorded && (!load->rate_milli || load->rate_milli > RATE_MAX))
        return dv_err_set(err, -ERANGE, "the rate is 0.001 to 10000000 requests a second");
    int r = check_hostile(load, err);
    if (r == 0 && load->recorded)
        r = check_recorded(load, err);
    if (r == 0 && (double)dv_arrivals_expected(load) > DV_ARRIVALS_REQUESTS_MAX)
        return dv_err_set(err, -ERANGE,
                          "about %.3g requests: at most 10^9 can be simulated; lower the rate or "
                          "the duration",
                          (double)dv_arrivals_expected(load));
    return r;
}

/* ---- one tenant ---- */

/* Random numbers of a tenant depend on the seed and its number alone. */
static struct dv_rng rng_of(uint64_t seed, uint32_t tenant, uint32_t purpose)
{
    struct dv_rng rng = {seed};
    rng.state = dv_rng_next(&rng) + ((uint64_t)tenant << 8) + purpose;
    rng.state = dv_rng_next(&rng);
    return rng;
}

static void make_next(struct dv_arrivals_cursor *c, uint64_t duration_ns)
{
    double gap = dv_rng_exponential(&c->gaps, c->gap_ns);
    c->made_ns =
        gap < (double)(duration_ns - c->made_ns) ? c->made_ns + (uint64_t)(gap + 0.5) : DV_NEVER;
}

/* Passes over those that are left out. */
static void recorded_next(struct dv_arrivals_cursor *c)
{
    while (c->keep_milli < MILLI && c->at < c->n &&
           dv_rng_below(&c->thinning, MILLI) >= c->keep_milli)
        c->at++;
}

/* The earlier of the two kinds, without taking it. */
static void look(struct dv_arrivals_cursor *c, uint64_t duration_ns)
{
    uint64_t recorded = c->at < c->n ? c->recorded[c->at] : DV_NEVER;
    c->next_ns = DV_MIN(recorded, c->made_ns);
    if (c->next_ns >= duration_ns)
        c->next_ns = DV_NEVER;
}

static void start(struct dv_arrivals_cursor *c, const struct dv_arrivals_load *load, uint32_t t)
{
    double factor = is_hostile(load, t) ? (double)load->hostile_rate_milli / MILLI : 1;
    double rate = 0; /* per ns, of those made up */
    *c = (struct dv_arrivals_cursor){.keep_milli = MILLI,
                                     .made_ns = DV_NEVER,
                                     .gaps = rng_of(load->seed, t, 0),
                                     .thinning = rng_of(load->seed, t, 1)};
    if (load->recorded) {
        c->recorded = load->recorded[t].at_ns;
        c->n = load->recorded[t].n;
        if (factor < 1)
            c->keep_milli = load->hostile_rate_milli;
        else
            rate = (double)c->n / (double)load->duration_ns * (factor - 1);
        recorded_next(c);
    } else {
        rate = (double)load->rate_milli / 1e12 * factor;
    }
    if (rate > 0) {
        c->gap_ns = 1 / rate;
        c->made_ns = 0;
        make_next(c, load->duration_ns);
    }
    look(c, load->duration_ns);
}

static void step(struct dv_arrivals_cursor *c, uint64_t duration_ns)
{
    if (c->at < c->n && c->recorded[c->at] == c->next_ns) {
        c->at++;
        recorded_next(c);
    } else {
        make_next(c, duration_ns);
    }
    look(c, duration_ns);
}

/* ---- all ---- */

void dv_arrivals_start(struct dv_arrivals *a, const struct dv_arrivals_load *load)
{
    a->tenants = load->tenants;
    a->duration_ns = load->duration_ns;
    for (uint32_t t = 0; t < load->tenants; t++)
        start(&a->cursors[t], load, t);
}

bool dv_arrivals_next(struct dv_arrivals *a, uint32_t tenant, uint64_t *ret_ns)
{
    struct dv_arrivals_cursor *c = &a->cursors[tenant];
    if (c->next_ns == DV_NEVER)
        return false;
    *ret_ns = c->next_ns;
    step(c, a->duration_ns);
    return true;
}

bool dv_arrivals_take(struct dv_arrivals *a, uint32_t *ret_tenant, uint64_t *ret_ns)
{
    uint32_t first = 0;
    for (uint32_t t = 1; t < a->tenants; t++)
        if (a->cursors[t].next_ns < a->cursors[first].next_ns)
            first = t;
    *ret_tenant = first;
    return dv_arrivals_next(a, first, ret_ns);
}

uint64_t dv_arrivals_service(const struct dv_arrivals_load *load, uint32_t tenant)
{
    if (!is_hostile(load, tenant))
        return load->service_ns;
    uint64_t ns = (uint64_t)((double)load->service_ns * (double)load->hostile_service_milli / 1e3);
    return DV_MAX(ns, 1);
}

uint64_t dv_arrivals_expected(const struct dv_arrivals_load *load)
{
    double sum = 0;
    for (uint32_t t = 0; t < load->tenants; t++) {
        double own = load->recorded ? (double)load->recorded[t].n
                                    : (double)load->rate_milli / 1e12 * (double)load->duration_ns;
        sum += is_hostile(load, t) ? own * (double)load->hostile_rate_milli / MILLI : own;
    }
    return (uint64_t)DV_MIN(sum, 1e18);
}
