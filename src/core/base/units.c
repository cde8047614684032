/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define BYTES_MAX (UINT64_C(1) << 50)
#define DURATION_MAX_NS (UINT64_C(10) * 366 * 86400 * DV_NS_PER_S)
#define FRACTION_DIGITS_MAX 9
#define DIGITS_MAX 19

/* A decimal number as an exact fraction: value / scale, scale a power of ten. */
struct decimal {
    uint64_t value;
    uint64_t scale;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads digits[.digits] and returns what follows, or NULL when there is no number or it does not
 * fit. strtod is not used: it takes "nan", "0x1p3", "1e9" and the locale's comma. */
static const char *read_decimal(const char *p, struct decimal *ret)
{
    struct decimal d = {0, 1};
    int digits = 0;
    int fraction = 0;
    for (; is_digit(*p); p++) {
        if (++digits > DIGITS_MAX || __builtin_mul_overflow(d.value, 10, &d.value) ||
            __builtin_add_overflow(d.value, (uint64_t)(*p - '0'), &d.value))
            return NULL;
    }
    if (!digits)
        return NULL;
    if (*p == '.') {
        for (p++; is_digit(*p); p++) {
            if (++fraction > FRACTION_DIGITS_MAX || ++digits > DIGITS_MAX)
                return NULL;
            d.value = d.value * 10 + (uint64_t)(*p - '0');
            d.scale *= 10;
        }
        if (!fraction)
            return NULL;
    }
    *ret = d;
    return p;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit *find_unit(const struct unit *units, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(units[i].name, name))
            return &units[i];
    return NULL;
}

/* value * factor / scale, rounded down; false when it exceeds max. */
static bool scaled(struct decimal d, uint64_t factor, uint64_t max, uint64_t *ret)
{
    unsigned __int128 v = (unsigned __int128)d.value * factor / d.scale;
    if (v > max)
        return false;
    *ret = (uint64_t)v;
    return true;
}

int dv_units_parse_bytes(const char *text, uint64_t *ret_bytes, struct dv_err *err)
{
    static const struct unit units[] = {
        {"", 1},
        {"B", 1},
        {"k", 1000},
        {"K", 1000},
        {"kB", 1000},
        {"KB", 1000},
        {"Ki", DV_KIB},
        {"KiB", DV_KIB},
        {"M", 1000000},
        {"MB", 1000000},
        {"Mi", DV_MIB},
        {"MiB", DV_MIB},
        {"G", 1000000000},
        {"GB", 1000000000},
        {"Gi", DV_GIB},
        {"GiB", DV_GIB},
        {"T", UINT64_C(1000000000000)},
        {"TB", UINT64_C(1000000000000)},
        {"Ti", UINT64_C(1) << 40},
        {"TiB", UINT64_C(1) << 40},
    };
    struct decimal d;
    const char *rest = read_decimal(text, &d);
    const struct unit *unit = rest ? find_unit(units, DV_ARRAY_SIZE(units), rest) : NULL;
    if (!unit)
        return dv_err_set(err, -EINVAL, "'%.40s' is not a size; write for example 10GiB or 500MB",
                          text);
    uint64_t bytes = 0;
    if (!scaled(d, unit->factor, BYTES_MAX, &bytes))
        return dv_err_set(err, -ERANGE, "the size '%.40s' is above the limit of 1 PiB", text);
    if (!bytes)
        return dv_err_set(err, -ERANGE, "the size '%.40s' is less than one byte", text);
    *ret_bytes = bytes;
    return 0;
}

/* a/b as compute, rounded to the nearest 1/7000. */
static int set_compute(const char *text, unsigned __int128 num, unsigned __int128 den,
                       uint32_t *ret_compute, struct dv_err *err)
{
    unsigned __int128 c = (num * DV_COMPUTE_FULL * 2 + den) / (den * 2);
    if (c < 1 || c > DV_COMPUTE_FULL)
        return dv_err_set(err, -ERANGE,
                          "the compute share '%.40s' is not above 0 and at most 100%%", text);
    *ret_compute = (uint32_t)c;
    return 0;
}

int dv_units_parse_compute(const char *text, uint32_t *ret_compute, struct dv_err *err)
{
    struct decimal d;
    const char *rest = read_decimal(text, &d);
    if (rest && !strcmp(rest, "%"))
        return set_compute(text, d.value, (unsigned __int128)d.scale * 100, ret_compute, err);
    if (rest && (!strcmp(rest, "‰") || !strcmp(rest, "m")))
        return set_compute(text, d.value, (unsigned __int128)d.scale * 1000, ret_compute, err);
    if (rest && !*rest)
        return set_compute(text, d.value, d.scale, ret_compute, err);
    struct decimal below;
    if (rest && *rest == '/' && d.scale == 1) {
        rest = read_decimal(rest + 1, &below);
        if (rest && !*rest && below.scale == 1 && below.value)
            return set_compute(text, d.value, below.value, ret_compute, err);
    }
    return dv_err_set(err, -EINVAL,
                      "'%.40s' is not a compute share; write for example 25%%, 0.25 or 2/7", text);
}

int dv_units_parse_duration(const char *text, uint64_t *ret_ns, struct dv_err *err)
{
    static const struct unit units[] = {
        {"", DV_NS_PER_S},         {"ns", 1},
        {"us", DV_NS_PER_US},      {"µs", DV_NS_PER_US},
        {"ms", DV_NS_PER_MS},      {"s", DV_NS_PER_S},
        {"m", 60 * DV_NS_PER_S},   {"min", 60 * DV_NS_PER_S},
        {"h", 3600 * DV_NS_PER_S}, {"d", 86400 * DV_NS_PER_S},
    };
    struct decimal d;
    const char *rest = read_decimal(text, &d);
    const struct unit *unit = rest ? find_unit(units, DV_ARRAY_SIZE(units), rest) : NULL;
    if (!unit)
        return dv_err_set(err, -EINVAL, "'%.40s' is not a duration; write for example 30s or 1.5h",
                          text);
    if (!scaled(d, unit->factor, DURATION_MAX_NS, ret_ns))
        return dv_err_set(err, -ERANGE, "the duration '%.40s' is above the limit of 10 years",
                          text);
    return 0;
}

int dv_units_parse_integer(const char *text, const char *what, int64_t min, int64_t max,
                           int64_t *ret, struct dv_err *err)
{
    const char *p = text;
    bool negative = *p == '-';
    if (negative)
        p++;
    int64_t v = 0;
    bool fits = is_digit(*p);
    for (; fits && is_digit(*p); p++)
        fits = !__builtin_mul_overflow(v, 10, &v) &&
               !__builtin_sub_overflow(v, (int64_t)(*p - '0'), &v); /* negative: INT64_MIN fits */
    if (*p && fits)
        return dv_err_set(err, -EINVAL, "%s: '%.40s' is not a whole number", what, text);
    if (fits && !negative)
        fits = !__builtin_sub_overflow((int64_t)0, v, &v);
    if (!fits && !is_digit(text[negative]))
        return dv_err_set(err, -EINVAL, "%s: '%.40s' is not a whole number", what, text);
    if (!fits || v < min || v > max)
        return dv_err_set(err, -ERANGE, "%s: '%.40s' is not between %" PRId64 " and %" PRId64, what,
                          text, min, max);
    *ret = v;
    return 0;
}

/* Three significant digits: 9.99, 99.9, 999. */
static int decimals_for(double v)
{
    return v < 9.995 ? 2 : v < 99.95 ? 1 : 0;
}

const char *dv_units_format_bytes(uint64_t bytes, char buf[DV_UNITS_TEXT])
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t i = 0;
    double v = (double)bytes;
    while (v >= 1023.5 && i + 1 < DV_ARRAY_SIZE(names)) {
        v /= 1024;
        i++;
    }
    snprintf(buf, DV_UNITS_TEXT, "%.*f %s", i ? decimals_for(v) : 0, v, names[i]);
    return buf;
}

const char *dv_units_format_compute(uint32_t compute, char buf[DV_UNITS_TEXT])
{
    uint32_t permille = dv_units_permille(compute);
    if (permille % 10)
        snprintf(buf, DV_UNITS_TEXT, "%" PRIu32 ".%" PRIu32 "%%", permille / 10, permille % 10);
    else
        snprintf(buf, DV_UNITS_TEXT, "%" PRIu32 "%%", permille / 10);
    return buf;
}

const char *dv_units_format_duration(uint64_t ns, char buf[DV_UNITS_TEXT])
{
    uint64_t s = ns / DV_NS_PER_S;
    double v = (double)ns;
    if (ns < DV_NS_PER_US)
        snprintf(buf, DV_UNITS_TEXT, "%" PRIu64 "ns", ns);
    else if (ns < DV_NS_PER_MS)
        snprintf(buf, DV_UNITS_TEXT, "%.*fus", decimals_for(v / 1e3), v / 1e3);
    else if (ns < DV_NS_PER_S)
        snprintf(buf, DV_UNITS_TEXT, "%.*fms", decimals_for(v / 1e6), v / 1e6);
    else if (s < 60)
        snprintf(buf, DV_UNITS_TEXT, "%.*fs", decimals_for(v / 1e9), v / 1e9);
    else if (s < 3600)
        snprintf(buf, DV_UNITS_TEXT, "%" PRIu64 "m %02" PRIu64 "s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(buf, DV_UNITS_TEXT, "%" PRIu64 "h %02" PRIu64 "m", s / 3600, s / 60 % 60);
    else
        snprintf(buf, DV_UNITS_TEXT, "%" PRIu64 "d %02" PRIu64 "h", s / 86400, s / 3600 % 24);
    return buf;
}

uint32_t dv_units_permille(uint32_t compute)
{
    return (compute * 1000 + DV_COMPUTE_FULL / 2) / DV_COMPUTE_FULL;
}
