/* SPDX-License-Identifier: Apache-2.0 */
#include "render/value.h"

#include "account/price.h"
#include "base/units.h"
#include "render/json.h"

#include <inttypes.h>
#include <stdio.h>

static void add_decimal(int64_t mantissa, unsigned scale, struct dv_str *text)
{
    uint64_t power = 1;
    for (unsigned i = 0; i < scale; i++)
        power *= 10;
    uint64_t v = mantissa < 0 ? 0 - (uint64_t)mantissa : (uint64_t)mantissa;
    dv_str_addf(text, "%s%" PRIu64, mantissa < 0 ? "-" : "", v / power);
    if (scale)
        dv_str_addf(text, ".%0*" PRIu64, (int)scale, v % power);
}

static void join_raw(const struct dv_output_node *array, struct dv_str *text)
{
    bool any = false;
    for (const struct dv_output_node *n = dv_output_first(array); n; n = dv_output_next(n)) {
        if (any)
            dv_str_addc(text, ' ');
        any = true;
        dv_value_raw(n, text);
    }
}

static void join_human(const struct dv_output_node *array, enum dv_value_as as, struct dv_str *text)
{
    bool any = false;
    for (const struct dv_output_node *n = dv_output_first(array); n; n = dv_output_next(n)) {
        if (any)
            dv_str_addc(text, ' ');
        any = true;
        dv_value_human(n, as, text);
    }
    if (!any)
        dv_str_addc(text, '-');
}

void dv_value_raw(const struct dv_output_node *node, struct dv_str *text)
{
    if (!node)
        return;
    switch (node->type) {
    case DV_OUTPUT_NULL:
    case DV_OUTPUT_OBJECT:
        break;
    case DV_OUTPUT_BOOL:
        dv_str_add(text, node->boolean ? "true" : "false");
        break;
    case DV_OUTPUT_INT:
        dv_str_addf(text, "%" PRId64, node->i);
        break;
    case DV_OUTPUT_UINT:
    case DV_OUTPUT_BYTES:
        dv_str_addf(text, "%" PRIu64, node->u);
        break;
    case DV_OUTPUT_DECIMAL:
        add_decimal(node->i, node->scale, text);
        break;
    case DV_OUTPUT_LITERAL:
    case DV_OUTPUT_STRING:
        dv_str_add(text, node->text);
        break;
    case DV_OUTPUT_SECONDS:
        dv_str_addf(text, "%" PRIu64 ".%09" PRIu64, node->u / DV_NS_PER_S, node->u % DV_NS_PER_S);
        break;
    case DV_OUTPUT_COMPUTE:
        dv_str_addf(text, "%" PRIu32, dv_units_permille((uint32_t)node->u));
        break;
    case DV_OUTPUT_ARRAY:
        join_raw(node, text);
        break;
    }
}

/* C0, DEL, and C1 (which UTF-8 writes as c2 80 .. c2 9f). */
static bool is_control(const char *p, unsigned len)
{
    unsigned char c = (unsigned char)p[0];
    return len < 2 ? c < 0x20 || c == 0x7f : len == 2 && c == 0xc2 && (unsigned char)p[1] < 0xa0;
}

size_t dv_value_clean(const char *v, struct dv_str *text)
{
    size_t width = 0;
    while (*v) {
        unsigned len = dv_json_utf8(v);
        unsigned bytes = len ? len : 1;
        if (len && !is_control(v, len)) {
            dv_str_addn(text, v, len);
            width++;
        } else {
            for (unsigned i = 0; i < bytes; i++, width += 4)
                dv_str_addf(text, "\\x%02x", (unsigned char)v[i]);
        }
        v += bytes;
    }
    return width;
}

static void human_permille(const struct dv_output_node *node, struct dv_str *text)
{
    uint64_t permille = dv_output_count(node, 0);
    if (node->type == DV_OUTPUT_COMPUTE)
        permille = dv_units_permille((uint32_t)node->u);
    dv_str_addf(text, "%" PRIu64, permille / 10);
    if (permille % 10)
        dv_str_addf(text, ".%" PRIu64, permille % 10);
    dv_str_addc(text, '%');
}

static void human_money(const struct dv_output_node *node, struct dv_str *text)
{
    char buf[DV_PRICE_TEXT];
    const char *currency = dv_output_text(dv_output_get(dv_output_top(node), "currency"), "");
    dv_str_add(text, dv_price_format(dv_output_signed(node, 0), currency, buf));
}

static enum dv_value_as natural(const struct dv_output_node *node)
{
    switch (node->type) {
    case DV_OUTPUT_BYTES:
        return DV_VALUE_BYTES;
    case DV_OUTPUT_SECONDS:
        return DV_VALUE_SECONDS;
    case DV_OUTPUT_COMPUTE:
        return DV_VALUE_PERMILLE;
    default:
        return DV_VALUE_AUTO;
    }
}

void dv_value_human(const struct dv_output_node *node, enum dv_value_as as, struct dv_str *text)
{
    char buf[DV_UNITS_TEXT];
    if (!node || node->type == DV_OUTPUT_NULL || node->type == DV_OUTPUT_OBJECT) {
        dv_str_addc(text, '-');
        return;
    }
    if (node->type == DV_OUTPUT_STRING) {
        if (dv_value_clean(node->text, text) == 0)
            dv_str_addc(text, '-');
        return;
    }
    if (node->type == DV_OUTPUT_BOOL) {
        dv_str_add(text, node->boolean ? "yes" : "no");
        return;
    }
    if (node->type == DV_OUTPUT_ARRAY) {
        join_human(node, as, text);
        return;
    }
    as = as == DV_VALUE_AUTO ? natural(node) : as;
    if (as == DV_VALUE_MONEY) {
        human_money(node, text);
        return;
    }
    uint64_t ns = as == DV_VALUE_SECONDS ? dv_output_ns(node, UINT64_MAX) : UINT64_MAX;
    uint64_t count = dv_output_count(node, UINT64_MAX);
    if (as == DV_VALUE_BYTES && count != UINT64_MAX)
        dv_str_add(text, dv_units_format_bytes(count, buf));
    else if (ns != UINT64_MAX)
        dv_str_add(text, dv_units_format_duration(ns, buf));
    else if (as == DV_VALUE_PERMILLE && count != UINT64_MAX)
        human_permille(node, text);
    else
        dv_value_raw(node, text);
}
