/* SPDX-License-Identifier: Apache-2.0 */
#include "account/usage.h"

#include <errno.h>

void dv_usage_hold(struct dv_usage *usage, uint64_t ns, uint64_t memory_bytes, uint32_t compute)
{
    usage->compute_ns += (dv_u128)compute * ns;
    usage->byte_ns += (dv_u128)memory_bytes * ns;
}

void dv_usage_busy(struct dv_usage *usage, uint64_t ns)
{
    usage->busy_ns += ns;
}

void dv_usage_wait(struct dv_usage *usage, uint64_t ns)
{
    usage->wait_ns += ns;
}

void dv_usage_add(struct dv_usage *usage, const struct dv_usage *more)
{
    usage->busy_ns += more->busy_ns;
    usage->wait_ns += more->wait_ns;
    usage->compute_ns += more->compute_ns;
    usage->byte_ns += more->byte_ns;
}

void dv_usage_meter_accrue(struct dv_usage_meter *meter, struct dv_usage *usage, uint64_t now_ns)
{
    if (now_ns <= meter->since_ns)
        return;
    dv_usage_hold(usage, now_ns - meter->since_ns, meter->memory_bytes, meter->compute);
    meter->since_ns = now_ns;
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

const char *dv_usage_format(dv_u128 value, char buf[DV_USAGE_TEXT])
{
    char digits[DV_USAGE_TEXT];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + (int)(value % 10));
        value /= 10;
    } while (value);
    for (size_t i = 0; i < n; i++)
        buf[i] = digits[n - 1 - i];
    buf[n] = 0;
    return buf;
}

int dv_usage_parse(const char *text, dv_u128 *ret)
{
    dv_u128 value = 0;
    if (!*text)
        return -EINVAL;
    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p > '9')
            return -EINVAL;
        if (__builtin_mul_overflow(value, (dv_u128)10, &value) ||
            __builtin_add_overflow(value, (dv_u128)(unsigned)(*p - '0'), &value))
            return -ERANGE;
    }
    *ret = value;
    return 0;
}
