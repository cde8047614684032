/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/mig_demand.h"

#include <errno.h>
#include <stdlib.h>

#define NEVER_SEEN (-1.0)
#define LEVEL_RATE 0.1 /* of the smoothed value that stands in for places never seen */

int dv_mig_demand_init(struct dv_mig_demand *d, uint32_t season, struct dv_mig_demand_rates rates)
{
    *d = (struct dv_mig_demand){.season = season, .rates = rates, .level = NEVER_SEEN};
    d->usual = malloc(season * sizeof *d->usual);
    if (!d->usual)
        return -ENOMEM;
    for (uint32_t i = 0; i < season; i++)
        d->usual[i] = NEVER_SEEN;
    return 0;
}

void dv_mig_demand_done(struct dv_mig_demand *d)
{
    if (!d)
        return;
    free(d->usual);
    d->usual = NULL;
}

void dv_mig_demand_see(struct dv_mig_demand *d, int32_t milli)
{
    double *usual = &d->usual[d->at++ % d->season];
    if (milli == DV_MIG_DEMAND_UNKNOWN) {
        d->off *= d->rates.fade;
        return;
    }
    double seen = milli, expected = *usual >= 0 ? *usual : seen;
    if (d->level < 0)
        d->level = seen;
    d->level += LEVEL_RATE * (seen - d->level);
    d->off = d->off * d->rates.fade;
    d->off += d->rates.alpha * (seen - expected - d->off);
    *usual = expected + d->rates.gamma * (seen - expected);
}

static double power(double base, uint32_t n)
{
    double r = 1;
    for (; n; n >>= 1, base *= base)
        r *= n & 1 ? base : 1;
    return r;
}

int32_t dv_mig_demand_predict(const struct dv_mig_demand *d, uint32_t ahead)
{
    if (d->level < 0)
        return DV_MIG_DEMAND_UNKNOWN;
    double usual = d->usual[(d->at + ahead) % d->season];
    double v = (usual >= 0 ? usual : d->level) + d->off * power(d->rates.fade, ahead + 1);
    v = DV_MAX(v, 0);
    return (int32_t)(DV_MIN(v, (double)DV_MIG_DEMAND_MAX) + 0.5);
}

/* ---- rates ---- */

/* Sum of the absolute errors of one set of rates, and how many. */
static int measure(const int32_t *milli, size_t n, size_t stride, uint32_t season, uint32_t reach,
                   struct dv_mig_demand_rates rates, double *ret_sum, size_t *ret_n)
{
    struct dv_mig_demand d;
    int r = dv_mig_demand_init(&d, season, rates);
    *ret_sum = 0;
    *ret_n = 0;
    for (size_t i = 0; i < n && r == 0; i++) {
        /* One step ahead, half the reach, the reach. */
        const uint32_t ahead[] = {0, reach / 2, reach ? reach - 1 : 0};
        for (size_t k = 0; k < DV_ARRAY_SIZE(ahead) && i >= season; k++) {
            if (i + ahead[k] >= n || milli[(i + ahead[k]) * stride] == DV_MIG_DEMAND_UNKNOWN)
                continue;
            int32_t p = dv_mig_demand_predict(&d, ahead[k]);
            if (p == DV_MIG_DEMAND_UNKNOWN)
                continue;
            double error = (double)p - milli[(i + ahead[k]) * stride];
            *ret_sum += error < 0 ? -error : error;
            ++*ret_n;
        }
        dv_mig_demand_see(&d, milli[i * stride]);
    }
    dv_mig_demand_done(&d);
    return r;
}

int dv_mig_demand_fit(const int32_t *milli, size_t n, size_t stride, uint32_t season,
                      uint32_t reach, struct dv_mig_demand_rates *ret, int32_t *ret_error_milli)
{
    static const double alphas[] = {0.5, 0.25, 0.1, 0}, gammas[] = {0.3, 0.1, 0.6},
                        fades[] = {0.9, 1, 0.7};
    double best = 0;
    size_t best_n = 0;
    *ret = (struct dv_mig_demand_rates){alphas[0], gammas[0], fades[0]};
    for (size_t i = 0; i < 4 * 3 * 3; i++) {
        struct dv_mig_demand_rates rates = {alphas[i / 9], gammas[i / 3 % 3], fades[i % 3]};
        double sum;
        size_t count;
        int r = measure(milli, n, stride, season, reach, rates, &sum, &count);
        if (r < 0)
            return r;
        if (!count || (best_n && sum >= best))
            continue;
        best = sum;
        best_n = count;
        *ret = rates;
    }
    *ret_error_milli = best_n ? (int32_t)(best / (double)best_n + 0.5) : 0;
    return 0;
}
