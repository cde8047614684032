/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/gpu_request.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define WHOLE_MAX INT64_C(1000000000)

static bool has_prefix(const char *text, const char *prefix)
{
    return !strncmp(text, prefix, strlen(prefix));
}

enum dv_gpu_kind dv_gpu_request_kind(const char *resource)
{
    static const char shared[] = ".shared";
    size_t len = strlen(resource);
    if (!strcmp(resource, DV_GPU_RESOURCE_PERCENT))
        return DV_GPU_KIND_PERCENT;
    if (!strcmp(resource, DV_GPU_RESOURCE))
        return DV_GPU_KIND_WHOLE;
    if (has_prefix(resource, "divvy.dev/"))
        return DV_GPU_KIND_SLICE;
    if (!has_prefix(resource, "nvidia.com/gpu") && !has_prefix(resource, "nvidia.com/mig-"))
        return DV_GPU_KIND_NONE;
    /* Of a shared MIG device only the sharing counts: there, others are behind the same wall. No
     * slice's name has a dot. */
    if (len > sizeof shared - 1 && !strcmp(resource + len - (sizeof shared - 1), shared))
        return DV_GPU_KIND_SHARED;
    if (has_prefix(resource, "nvidia.com/gpu-"))
        return DV_GPU_KIND_SLICE;
    return has_prefix(resource, "nvidia.com/mig-") ? DV_GPU_KIND_MIG : DV_GPU_KIND_NONE;
}

/* ---- quantities ----------------------------------------------------------------------------- */

/* The part before the suffix: digits as an integer, and how many of them are behind the point. */
struct digits {
    bool negative;
    uint64_t value;
    int scale;
};

static bool add_digit(struct digits *d, unsigned digit)
{
    return !__builtin_mul_overflow(d->value, 10, &d->value) &&
           !__builtin_add_overflow(d->value, (uint64_t)digit, &d->value);
}

/* Moves *at behind them. Zeros behind the point that nothing follows do not count, so that
 * "1.000000000000000000000" is 1. */
static int parse_digits(const char **at, struct digits *d)
{
    const char *p = *at;
    unsigned n = 0, zeros = 0;
    bool point = false, fits = true;
    d->negative = *p == '-';
    p += *p == '-' || *p == '+';
    for (; (*p >= '0' && *p <= '9') || (*p == '.' && !point); p++) {
        n += *p != '.';
        if (*p == '.') {
            point = true;
        } else if (point && *p == '0') {
            zeros++;
        } else {
            for (; zeros && fits; zeros--, d->scale++)
                fits = add_digit(d, 0);
            fits = fits && add_digit(d, (unsigned)(*p - '0'));
            d->scale += point;
        }
    }
    *at = p;
    return !n ? -EINVAL : fits ? 0 : -ERANGE;
}

/* "e3", "E-2": the exponent; false when it is none ("E" alone is 10^18). */
static bool parse_exponent(const char *p, int *ret)
{
    int value = 0, sign = 1;
    if ((*p != 'e' && *p != 'E') || !p[1])
        return false;
    p++;
    if (*p == '-')
        sign = -1;
    p += *p == '-' || *p == '+';
    if (!*p)
        return false;
    for (; *p >= '0' && *p <= '9'; p++)
        value = value < 1000 ? value * 10 + (*p - '0') : value;
    *ret = sign * value;
    return !*p;
}

/* *ret_ten and *ret_two: powers to multiply with. */
static bool parse_suffix(const char *p, int *ret_ten, int *ret_two)
{
    static const char tens[] = "numkMGTPE", twos[] = "KMGTPE";
    const char *at = *p ? strchr(tens, *p) : NULL;
    *ret_ten = *ret_two = 0;
    if (!*p || parse_exponent(p, ret_ten))
        return true;
    if (at && !p[1]) {
        int i = (int)(at - tens);
        *ret_ten = i < 3 ? -9 + 3 * i : 3 * (i - 2);
        return true;
    }
    at = strchr(twos, *p);
    if (!at || p[1] != 'i' || p[2])
        return false;
    *ret_two = 10 * ((int)(at - twos) + 1);
    return true;
}

int dv_quantity_parse(const char *text, int64_t *ret_nano)
{
    struct digits d = {0};
    int ten, two, r = parse_digits(&text, &d);
    if (!parse_suffix(text, &ten, &two))
        return -EINVAL;
    if (r < 0)
        return r;
    ten += 9 - d.scale;
    if (two >= 60 && d.value)
        return -ERANGE;
    if (d.value && __builtin_mul_overflow(d.value, UINT64_C(1) << two, &d.value))
        return -ERANGE;
    for (; ten > 0 && d.value; ten--)
        if (__builtin_mul_overflow(d.value, 10, &d.value))
            return -ERANGE;
    for (; ten < 0 && d.value; ten++, d.value /= 10)
        if (d.value % 10)
            return -ERANGE;
    if (d.value > (uint64_t)(WHOLE_MAX * DV_QUANTITY_ONE))
        return -ERANGE;
    *ret_nano = d.negative ? -(int64_t)d.value : (int64_t)d.value;
    return 0;
}

const char *dv_quantity_format(int64_t nano, char buf[DV_QUANTITY_TEXT])
{
    uint64_t value = nano < 0 ? -(uint64_t)nano : (uint64_t)nano;
    uint64_t fraction = value % (uint64_t)DV_QUANTITY_ONE;
    int width = 9;
    for (; width && fraction % 10 == 0; width--)
        fraction /= 10;
    snprintf(buf, DV_QUANTITY_TEXT, width ? "%s%" PRIu64 ".%0*" PRIu64 : "%s%" PRIu64,
             nano < 0 ? "-" : "", value / (uint64_t)DV_QUANTITY_ONE, width, fraction);
    return buf;
}

/* ---- a namespace's rule --------------------------------------------------------------------- */

#define BIT(kind) (1u << DV_GPU_KIND_##kind)

static const struct {
    const char *word;
    uint32_t allowed;
} words[] = {
    {"any", DV_GPU_REQUEST_ANY},
    {"whole", BIT(WHOLE)},
    {"exclusive", BIT(WHOLE)},
    {"mig", BIT(MIG)},
    {"shared", BIT(SHARED) | BIT(PERCENT)},
    {"timeslice", BIT(SHARED) | BIT(PERCENT)},
    {"timeslicing", BIT(SHARED) | BIT(PERCENT)},
    {"time-slicing", BIT(SHARED) | BIT(PERCENT)},
    {"mps", BIT(SHARED)},
    {"governed", BIT(PERCENT)},
    {"fraction", BIT(PERCENT)},
};

static uint32_t allowed_by(const char *word, size_t len)
{
    static const char only[] = "-only";
    if (len > sizeof only - 1 && !strncmp(word + len - (sizeof only - 1), only, sizeof only - 1))
        len -= sizeof only - 1;
    for (size_t i = 0; i < DV_ARRAY_SIZE(words); i++)
        if (strlen(words[i].word) == len && !strncmp(words[i].word, word, len))
            return words[i].allowed;
    return 0;
}

int dv_gpu_strategy_parse(const char *label, uint32_t *ret_allowed)
{
    uint32_t allowed = 0;
    if (!label || !*label) {
        *ret_allowed = DV_GPU_REQUEST_ANY;
        return 0;
    }
    for (const char *p = label;; p++) {
        size_t len = strcspn(p, "_.");
        uint32_t more = allowed_by(p, len);
        if (!more)
            return -EINVAL;
        allowed |= more;
        p += len;
        if (!*p)
            break;
    }
    *ret_allowed = allowed;
    return 0;
}

const char *dv_gpu_strategy_word(size_t i)
{
    return i < DV_ARRAY_SIZE(words) ? words[i].word : NULL;
}

/* ---- a container ---------------------------------------------------------------------------- */

static void refuse(struct dv_gpu_verdict *v, enum dv_gpu_request_reason reason)
{
    v->result = DV_GPU_REQUEST_REFUSED;
    v->reason = reason;
}

static void copy(char *dst, size_t size, const char *src)
{
    snprintf(dst, size, "%.*s", (int)size - 1, src);
}

/* Both values into v->nano and v->limit, the same when one is not given. False: refused. */
static bool read_values(const struct dv_gpu_ask *ask, struct dv_gpu_verdict *v)
{
    const char *texts[] = {ask->request ? ask->request : ask->limit,
                           ask->limit ? ask->limit : ask->request};
    int64_t values[2];
    for (size_t i = 0; i < 2; i++)
        if (dv_quantity_parse(texts[i], &values[i]) < 0) {
            copy(v->text, sizeof v->text, texts[i]);
            refuse(v, DV_GPU_REQUEST_BAD_QUANTITY);
            return false;
        }
    v->nano = values[0];
    v->limit = values[1];
    if (v->nano < 0 || v->limit < 0) {
        v->nano = DV_MIN(v->nano, v->limit);
        refuse(v, DV_GPU_REQUEST_NEGATIVE);
    } else if (v->nano != v->limit) {
        refuse(v, DV_GPU_REQUEST_UNEQUAL);
    }
    return v->result != DV_GPU_REQUEST_REFUSED;
}

static void judge_fraction(struct dv_gpu_verdict *v)
{
    if (strcmp(v->resource, DV_GPU_RESOURCE) != 0) {
        refuse(v, DV_GPU_REQUEST_INDIVISIBLE);
    } else if (v->nano > DV_QUANTITY_ONE) {
        refuse(v, DV_GPU_REQUEST_MORE_THAN_ONE);
    } else {
        v->kind = DV_GPU_KIND_PERCENT;
        v->percent = (uint32_t)(v->nano / DV_QUANTITY_PERCENT);
        if (v->nano % DV_QUANTITY_PERCENT)
            refuse(v, DV_GPU_REQUEST_UNEVEN);
        else
            v->result = DV_GPU_REQUEST_REWRITTEN;
    }
}

static void judge_whole(const struct dv_gpu_ask *ask, struct dv_gpu_verdict *v)
{
    if (!ask->limit) {
        refuse(v, DV_GPU_REQUEST_NO_LIMIT);
    } else if (v->kind == DV_GPU_KIND_PERCENT && v->nano > 100 * DV_QUANTITY_ONE) {
        refuse(v, DV_GPU_REQUEST_OVER_FULL);
    } else {
        v->result = DV_GPU_REQUEST_ACCEPTED;
        if (v->kind == DV_GPU_KIND_PERCENT)
            v->percent = (uint32_t)(v->nano / DV_QUANTITY_ONE);
    }
}

static bool is_slice(enum dv_gpu_kind kind)
{
    return kind == DV_GPU_KIND_PERCENT || kind == DV_GPU_KIND_SLICE;
}

static uint32_t bit_of(enum dv_gpu_kind kind)
{
    return is_slice(kind) ? BIT(PERCENT) : 1u << kind;
}

/* One ask by itself. */
static struct dv_gpu_verdict judge_one(const struct dv_gpu_ask *ask, size_t index, uint32_t allowed)
{
    struct dv_gpu_verdict v = {.kind = ask->kind ? ask->kind : dv_gpu_request_kind(ask->resource),
                               .index = index,
                               .allowed = allowed};
    v.guessed =
        !ask->kind && v.kind == DV_GPU_KIND_SLICE && has_prefix(ask->resource, "nvidia.com/");
    copy(v.resource, sizeof v.resource, ask->resource);
    if (v.kind == DV_GPU_KIND_NONE || (!ask->request && !ask->limit) || !read_values(ask, &v) ||
        !v.nano)
        return v;
    if (v.nano % DV_QUANTITY_ONE)
        judge_fraction(&v);
    else
        judge_whole(ask, &v);
    if (v.result == DV_GPU_REQUEST_REFUSED)
        return v;
    if (!allowed)
        refuse(&v, DV_GPU_REQUEST_NO_STRATEGY);
    else if (!(allowed & bit_of(v.kind)))
        refuse(&v, DV_GPU_REQUEST_NOT_ALLOWED);
    return v;
}

void dv_gpu_request_judge(const struct dv_gpu_ask *asks, size_t n, uint32_t allowed,
                          struct dv_gpu_verdict *ret)
{
    struct dv_gpu_verdict all = {.allowed = allowed};
    for (size_t i = 0; i < n; i++) {
        struct dv_gpu_verdict v = judge_one(&asks[i], i, allowed);
        if (v.result == DV_GPU_REQUEST_NONE)
            continue;
        bool beside = all.result != DV_GPU_REQUEST_NONE && v.result != DV_GPU_REQUEST_REFUSED;
        if (beside && (is_slice(v.kind) || is_slice(all.kind))) {
            bool slice = is_slice(v.kind);
            struct dv_gpu_verdict *first = slice ? &v : &all;
            copy(first->other, sizeof first->other, slice ? all.resource : v.resource);
            refuse(first, DV_GPU_REQUEST_TWICE);
            all = *first;
        } else if (!beside) {
            all = v;
        }
        if (all.result == DV_GPU_REQUEST_REFUSED)
            break;
    }
    *ret = all;
}

/* ---- its environment ------------------------------------------------------------------------ */

enum dv_gpu_request_warning dv_gpu_request_env(const struct dv_gpu_verdict *v, const char *name,
                                               const char *value)
{
    int64_t nano;
    if (v->result == DV_GPU_REQUEST_NONE || !value)
        return DV_GPU_REQUEST_QUIET;
    if (!strcmp(name, "NVIDIA_VISIBLE_DEVICES"))
        return DV_GPU_REQUEST_VISIBLE_DEVICES;
    if (strcmp(name, "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE") != 0 || !v->percent)
        return DV_GPU_REQUEST_QUIET;
    bool agrees =
        dv_quantity_parse(value, &nano) == 0 && nano == (int64_t)v->percent * DV_QUANTITY_ONE;
    return agrees ? DV_GPU_REQUEST_QUIET : DV_GPU_REQUEST_MPS_PERCENTAGE;
}
