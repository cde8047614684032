/* SPDX-License-Identifier: Apache-2.0 */
#include "account/pace.h"

#include "account/usage.h"

__extension__ typedef __int128 wide;

uint64_t dv_pace_rate_milli(const struct dv_pace *p)
{
    if (!p->wall_ns)
        return 0;
    return (uint64_t)DV_MIN((dv_u128)p->launches * 1000 * DV_NS_PER_S / p->wall_ns,
                            (dv_u128)UINT64_MAX);
}

uint64_t dv_pace_gpu_ns(const struct dv_pace *p)
{
    return p->launches ? p->busy_ns / p->launches : 0;
}

/* Bounded, so that sums and differences of a few stay in range. */
static int64_t per_launch(uint64_t ns, uint64_t launches)
{
    return (int64_t)DV_MIN((dv_u128)ns * 1000 / launches, (dv_u128)INT64_MAX / 8);
}

bool dv_pace_compare(const struct dv_pace *alone, const struct dv_pace *now,
                     struct dv_pace_comparison *ret)
{
    if (!alone->launches || !now->launches || !alone->wall_ns || !now->wall_ns)
        return false;
    int64_t before = DV_MAX(per_launch(alone->wall_ns, alone->launches), 1);
    struct dv_pace_comparison c = {
        .difference_ps = per_launch(now->wall_ns, now->launches) - before,
        .wait_ps =
            per_launch(now->wait_ns, now->launches) - per_launch(alone->wait_ns, alone->launches),
        .gpu_ps =
            per_launch(now->busy_ns, now->launches) - per_launch(alone->busy_ns, alone->launches),
    };
    c.rest_ps = c.difference_ps - c.wait_ps - c.gpu_ps;
    c.slower_permille = (int64_t)((wide)c.difference_ps * 1000 / before);
    *ret = c;
    return true;
}

int64_t dv_pace_share_permille(const struct dv_pace_comparison *c, const struct dv_pace *now,
                               uint64_t ns)
{
    if (c->difference_ps <= 0 || !now->wait_ns)
        return 0;
    return (int64_t)((wide)c->wait_ps * DV_MIN(ns, now->wait_ns) / now->wait_ns * 1000 /
                     c->difference_ps);
}
