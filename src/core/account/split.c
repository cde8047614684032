/* SPDX-License-Identifier: Apache-2.0 */
#include "account/split.h"

#include "account/usage.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* ---- whole numbers in proportion ---- */

/* Each is the step of the running sum, rounded down: no part is off by a whole unit. */
void dv_split_apportion(uint64_t total, const uint64_t *weights, size_t n, uint64_t *ret)
{
    dv_u128 sum = 0, so_far = 0;
    uint64_t given = 0;
    for (size_t i = 0; i < n; i++)
        sum += weights[i];
    for (size_t i = 0; i < n; i++) {
        so_far += weights[i];
        uint64_t until = sum ? (uint64_t)(total * so_far / sum) : i + 1 == n ? total : 0;
        ret[i] = until - given;
        given = until;
    }
}

/* ---- tenants of one device ---- */

static uint64_t demand(const struct dv_split_slice *s)
{
    uint64_t sum;
    return __builtin_add_overflow(s->busy_ns, s->carry_ns, &sum) ? UINT64_MAX : sum;
}

static void keep_carry(struct dv_split_device *d, struct dv_split_slice *s, uint64_t left)
{
    uint64_t kept = DV_MIN(left, s->carry_max_ns);
    s->carry_ns = kept;
    d->ret_cut_ns += left - kept;
}

/* Who runs, runs alone. given[]: device time of each; returns the sum, at most wall. */
static uint64_t by_turns(struct dv_split_device *d, uint64_t wall, uint64_t *given)
{
    dv_u128 sum = 0;
    for (size_t i = 0; i < d->n_slices; i++) {
        given[i] = demand(&d->slices[i]);
        sum += given[i];
    }
    if (sum > wall)
        dv_split_apportion(wall, given, d->n_slices, given);
    for (size_t i = 0; i < d->n_slices; i++)
        keep_carry(d, &d->slices[i], demand(&d->slices[i]) - given[i]);
    return sum > wall ? wall : (uint64_t)sum;
}

/*
 * How much of an instant is this slice's, on average, when each runs for its part p of the time
 * and independently of the others:  E[ s / (sum of the s of those who run) ; it runs ].  With
 * 1/S = integral of x^(S-1) over [0, 1] the expectation of a product of independent terms is
 *     integral of  s p x^(s-1)  times the product over the others of  (1 - p + p x^s).
 * Gauss-Legendre with 16 points; s is scaled to be 1 at least, so the integrand is smooth.
 */
static const double points[8] = {0.0950125098376374, 0.2816035507792589, 0.4580167776572274,
                                 0.6178762444026438, 0.7554044083550030, 0.8656312023878318,
                                 0.9445750230732326, 0.9894009349916499};
static const double weights[8] = {0.1894506104550685, 0.1826034150449236, 0.1691565193950025,
                                  0.1495959888165767, 0.1246289712555339, 0.0951585116824928,
                                  0.0622535239386479, 0.0271524594117541};

struct overlap {
    const double *p, *s;
    size_t n;
};

static double runs_at(const struct overlap *o, size_t me, double x)
{
    double f = o->s[me] * o->p[me] * pow(x, o->s[me] - 1);
    for (size_t i = 0; i < o->n; i++)
        if (i != me)
            f *= 1 - o->p[i] + o->p[i] * pow(x, o->s[i]);
    return f;
}

static double expected_part(const struct overlap *o, size_t me)
{
    double sum = 0;
    for (size_t k = 0; k < DV_ARRAY_SIZE(points); k++)
        sum += weights[k] *
               (runs_at(o, me, (1 + points[k]) / 2) + runs_at(o, me, (1 - points[k]) / 2));
    return sum / 2;
}

#define PART_ONE 1000000000000.0 /* parts of an instant as whole weights */

/* The time in which anybody ran, when each runs independently of the others. */
static double union_part(const struct overlap *o)
{
    double idle = 1;
    for (size_t i = 0; i < o->n; i++)
        idle *= 1 - o->p[i];
    return 1 - idle;
}

static uint64_t known_union(const struct dv_split_device *d, uint64_t wall, uint64_t most,
                            dv_u128 sum, double independent)
{
    uint64_t ran =
        d->busy_ns == DV_SPLIT_UNKNOWN ? (uint64_t)((double)wall * independent) : d->busy_ns;
    ran = DV_MAX(ran, most); /* at least as long as the longest of them, */
    if (sum < ran)           /* at most as long as if none had overlapped */
        ran = (uint64_t)sum;
    return DV_MIN(ran, wall);
}

/* Several run at an instant, which is split by the SMs they may use. */
static uint64_t by_overlap(struct dv_split_device *d, uint64_t wall, uint64_t *given)
{
    double p[DV_SPLIT_SLICES_MAX], s[DV_SPLIT_SLICES_MAX];
    uint32_t least = UINT32_MAX;
    uint64_t most = 0;
    dv_u128 sum = 0;
    for (size_t i = 0; i < d->n_slices; i++)
        least = DV_MIN(least, DV_MAX(d->slices[i].sms, 1u));
    for (size_t i = 0; i < d->n_slices; i++) {
        uint64_t ran = DV_MIN(demand(&d->slices[i]), wall);
        keep_carry(d, &d->slices[i], demand(&d->slices[i]) - ran);
        p[i] = wall ? (double)ran / (double)wall : 0;
        s[i] = (double)DV_MAX(d->slices[i].sms, 1u) / least;
        most = DV_MAX(most, ran);
        sum += ran;
    }
    struct overlap o = {p, s, d->n_slices};
    for (size_t i = 0; i < d->n_slices; i++)
        given[i] = p[i] > 0 ? (uint64_t)(PART_ONE * expected_part(&o, i)) + 1 : 0;
    uint64_t ran = known_union(d, wall, most, sum, union_part(&o));
    if (sum)
        dv_split_apportion(ran, given, d->n_slices, given);
    return sum ? ran : 0;
}

/* ---- one device ---- */

struct parts {
    uint64_t device[2 * DV_SPLIT_SLICES_MAX + 2], gpu[2 * DV_SPLIT_SLICES_MAX + 2];
};

/* Of the time in which nothing ran: each its share, the rest nobody's. */
static void reserve(const struct dv_split_device *d, uint64_t idle, uint64_t *ret)
{
    uint64_t shares[DV_SPLIT_SLICES_MAX + 1], held = 0;
    for (size_t i = 0; i < d->n_slices; i++) {
        shares[i] = d->slices[i].share;
        held += shares[i];
    }
    shares[d->n_slices] = held < d->compute ? d->compute - held : 0;
    if (!held)
        shares[d->n_slices] = 1;
    dv_split_apportion(idle, shares, d->n_slices + 1, ret);
}

/* `budget`: what the device has, in GPU time. `wall`: the interval. */
static void split_device(struct dv_split_device *d, uint64_t wall, uint64_t budget, bool unhealthy,
                         struct dv_split_gpu *gpu)
{
    struct parts parts = {0};
    size_t n = d->n_slices;
    d->ret_cut_ns = 0;
    uint64_t busy = 0;
    if (n)
        busy = d->overlaps ? by_overlap(d, wall, parts.device) : by_turns(d, wall, parts.device);
    uint64_t overhead = unhealthy ? 0 : DV_MIN(d->overhead_ns, wall - busy);
    uint64_t idle = wall - busy - overhead;
    parts.device[2 * n + 1] = overhead;
    if (unhealthy) {
        memset(parts.device + n, 0, n * sizeof *parts.device);
        parts.device[2 * n] = idle;
    } else {
        reserve(d, idle, parts.device + n);
    }
    dv_split_apportion(budget, parts.device, 2 * n + 2, parts.gpu);
    for (size_t i = 0; i < n; i++) {
        d->slices[i].ret_busy_ns = parts.gpu[i];
        d->slices[i].ret_idle_ns = parts.gpu[n + i];
    }
    d->ret_unallocated_ns = unhealthy ? 0 : parts.gpu[2 * n];
    d->ret_overhead_ns = parts.gpu[2 * n + 1];
    gpu->ret_unhealthy_ns += unhealthy ? parts.gpu[2 * n] : 0;
}

static int check(const struct dv_split_gpu *gpu)
{
    uint64_t compute = 0;
    if (gpu->n_devices > DV_SPLIT_DEVICES_MAX)
        return -EINVAL;
    for (size_t i = 0; i < gpu->n_devices; i++) {
        if (!gpu->devices[i].compute || gpu->devices[i].n_slices > DV_SPLIT_SLICES_MAX)
            return -EINVAL;
        compute += gpu->devices[i].compute;
    }
    return compute <= DV_COMPUTE_FULL ? 0 : -EINVAL;
}

int dv_split(struct dv_split_gpu *gpu, uint64_t wall_ns)
{
    uint64_t weights_of[DV_SPLIT_DEVICES_MAX + 1], budget[DV_SPLIT_DEVICES_MAX + 1];
    size_t n = gpu->n_devices;
    uint64_t free_compute = DV_COMPUTE_FULL;
    int r = check(gpu);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        weights_of[i] = gpu->devices[i].compute;
        free_compute -= weights_of[i];
    }
    weights_of[n] = free_compute;
    dv_split_apportion(wall_ns, weights_of, n + 1, budget);
    gpu->ret_unhealthy_ns = gpu->unhealthy ? budget[n] : 0;
    gpu->ret_unallocated_ns = gpu->unhealthy ? 0 : budget[n];
    for (size_t i = 0; i < n; i++)
        split_device(&gpu->devices[i], wall_ns, budget[i], gpu->unhealthy, gpu);
    return 0;
}
