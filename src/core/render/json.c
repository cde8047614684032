/* SPDX-License-Identifier: Apache-2.0 */
#include "render/json.h"

#include "base/units.h"
#include "render/value.h"

#include <errno.h>

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

static bool is_tail(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

unsigned dv_json_utf8(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    if (b[0] < 0x80)
        return 1;
    if (b[0] >= 0xc2 && b[0] <= 0xdf)
        return is_tail(b[1]) ? 2 : 0;
    if (b[0] >= 0xe0 && b[0] <= 0xef) {
        unsigned char low = b[0] == 0xe0 ? 0xa0 : 0x80;
        unsigned char high = b[0] == 0xed ? 0x9f : 0xbf; /* no surrogates */
        return b[1] >= low && b[1] <= high && is_tail(b[2]) ? 3 : 0;
    }
    if (b[0] >= 0xf0 && b[0] <= 0xf4) {
        unsigned char low = b[0] == 0xf0 ? 0x90 : 0x80;
        unsigned char high = b[0] == 0xf4 ? 0x8f : 0xbf;
        return b[1] >= low && b[1] <= high && is_tail(b[2]) && is_tail(b[3]) ? 4 : 0;
    }
    return 0;
}

static const char *short_escape(char c)
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\b':
        return "\\b";
    case '\f':
        return "\\f";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        return NULL;
    }
}

/* How much there is of ASCII that stands for itself. */
static size_t plain_len(const char *v)
{
    size_t n = 0;
    while (v[n] >= 0x20 && v[n] < 0x7f && v[n] != '"' && v[n] != '\\')
        n++;
    return n;
}

void dv_json_quote(const char *v, struct dv_str *text)
{
    dv_str_addc(text, '"');
    for (;;) {
        size_t plain = plain_len(v);
        dv_str_addn(text, v, plain);
        v += plain;
        if (!*v)
            break;
        unsigned len = dv_json_utf8(v);
        const char *escape = short_escape(*v);
        unsigned char c = (unsigned char)*v;
        if (escape)
            dv_str_add(text, escape);
        else if (c < 0x20 || c == 0x7f)
            dv_str_addf(text, "\\u%04x", c);
        else if (len)
            dv_str_addn(text, v, len);
        else
            dv_str_add(text, REPLACEMENT);
        v += len ? len : 1;
    }
    dv_str_addc(text, '"');
}

static void new_line(bool pretty, unsigned depth, struct dv_str *text)
{
    if (!pretty)
        return;
    dv_str_addc(text, '\n');
    for (unsigned i = 0; i < depth; i++)
        dv_str_add(text, "  ");
}

static void write_node(const struct dv_output_node *node, bool pretty, struct dv_str *text)
{
    bool object = node->type == DV_OUTPUT_OBJECT;
    if (node->type == DV_OUTPUT_STRING) {
        dv_json_quote(node->text, text);
        return;
    }
    if (node->type == DV_OUTPUT_NULL) {
        dv_str_add(text, "null");
        return;
    }
    if (!object && node->type != DV_OUTPUT_ARRAY) {
        dv_value_raw(node, text);
        return;
    }
    dv_str_addc(text, object ? '{' : '[');
    bool any = false;
    for (const struct dv_output_node *n = dv_output_first(node); n && !text->failed;
         n = dv_output_next(n)) {
        if (any)
            dv_str_addc(text, ',');
        any = true;
        new_line(pretty, n->depth, text);
        if (object) {
            dv_json_quote(n->key, text);
            dv_str_add(text, pretty ? ": " : ":");
        }
        write_node(n, pretty, text);
    }
    if (any)
        new_line(pretty, node->depth, text);
    dv_str_addc(text, object ? '}' : ']');
}

int dv_json_write(struct dv_output *o, bool pretty, struct dv_str *text)
{
    if (dv_output_failed(o))
        return -ENOMEM;
    write_node(dv_output_root(o), pretty, text);
    if (dv_output_failed(o)) /* a row that was made on the way */
        return -ENOMEM;
    dv_str_addc(text, '\n');
    return text->failed ? -ENOMEM : 0;
}
