/* SPDX-License-Identifier: Apache-2.0 */
#include "account/usage.h"

void dv_usage_add(struct dv_usage *usage, const struct dv_usage *more)
{
    usage->busy_ns += more->busy_ns;
    usage->wait_ns += more->wait_ns;
    usage->compute_ns += more->compute_ns;
    usage->byte_ns += more->byte_ns;
}

static uint64_t saturate(dv_u128 value)
{
    return value > UINT64_MAX ? UINT64_MAX : (uint64_t)value;
}

uint64_t dv_usage_reserved_ns(const struct dv_usage *usage)
{
    return saturate(usage->compute_ns / DV_COMPUTE_FULL);
}

uint64_t dv_usage_byte_seconds(const struct dv_usage *usage)
{
    return saturate(usage->byte_ns / DV_NS_PER_S);
}
