/* SPDX-License-Identifier: Apache-2.0 */
/* Money: which currencies there are, amounts to and from text. */
#include "account/price.h"
#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SCALE 6 /* digits of a micro */

#define C(code, digits) {#code, digits},
static const struct {
    char code[4];
    unsigned digits;
} currencies[] = {
#include "account/currencies.def"
};
#undef C

int dv_currency_check(const char *code, struct dv_err *err)
{
    /* Of codes that are as near the first one is suggested: those that most people mean. */
    static const char *const common[] = {"USD", "EUR", "GBP", "JPY", "CNY", "INR", "CHF"};
    const char *names[DV_ARRAY_SIZE(common) + DV_ARRAY_SIZE(currencies)], *near = NULL;
    memcpy(names, common, sizeof common);
    for (size_t i = 0; i < DV_ARRAY_SIZE(currencies); i++) {
        if (!strcmp(currencies[i].code, code))
            return 0;
        if (!strcasecmp(currencies[i].code, code))
            near = currencies[i].code;
        names[DV_ARRAY_SIZE(common) + i] = currencies[i].code;
    }
    if (!near)
        near = dv_str_nearest(code, names, DV_ARRAY_SIZE(names));
    return dv_err_set(
        err, -EINVAL,
        "unknown currency \"%.20s\"%s%s%s; codes are ISO 4217's, such as USD, EUR, JPY", code,
        near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

unsigned dv_currency_digits(const char *code)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(currencies); i++)
        if (!strcmp(currencies[i].code, code))
            return currencies[i].digits;
    return 2;
}

const char *dv_price_format(int64_t micros, const char *currency, char buf[DV_PRICE_TEXT])
{
    unsigned digits = dv_currency_digits(currency);
    uint64_t unit = 1, whole = (uint64_t)DV_PRICE_MICROS_PER_UNIT;
    for (unsigned i = digits; i < SCALE; i++)
        unit *= 10;
    uint64_t v = micros < 0 ? UINT64_C(0) - (uint64_t)micros : (uint64_t)micros;
    v = v / unit + (v % unit >= (unit + 1) / 2 && unit > 1); /* in the smallest coin */
    whole /= unit;
    const char *sign = micros < 0 && v ? "-" : "";
    if (digits)
        snprintf(buf, DV_PRICE_TEXT, "%s%" PRIu64 ".%0*" PRIu64, sign, v / whole, (int)digits,
                 v % whole);
    else
        snprintf(buf, DV_PRICE_TEXT, "%s%" PRIu64, sign, v);
    return buf;
}

int dv_price_parse(const char *text, int64_t *ret_micros, struct dv_err *err)
{
    int64_t v = 0;
    int behind = -1, digits = 0;
    const char *p = text;
    for (; *p && v <= DV_PRICE_MICROS_MAX; p++) {
        if (*p == '.' && behind < 0 && digits) {
            behind = 0;
            continue;
        }
        if (*p < '0' || *p > '9')
            break;
        if (behind >= 0 && ++behind > SCALE)
            return dv_err_set(err, -EINVAL, "\"%.40s\": at most %d digits behind the point", text,
                              SCALE);
        v = v * 10 + (*p - '0');
        digits++;
    }
    if (v <= DV_PRICE_MICROS_MAX && (*p || !digits || !behind))
        return dv_err_set(err, -EINVAL,
                          "\"%.40s\" is no amount; write it as 3.06, without sign, currency or "
                          "thousands",
                          text);
    for (int i = behind < 0 ? 0 : behind; i < SCALE && v <= DV_PRICE_MICROS_MAX; i++)
        v *= 10;
    if (v > DV_PRICE_MICROS_MAX)
        return dv_err_set(err, -ERANGE, "\"%.40s\" is more than %" PRId64, text,
                          DV_PRICE_MICROS_MAX / DV_PRICE_MICROS_PER_UNIT);
    *ret_micros = v;
    return 0;
}
