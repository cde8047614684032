/* SPDX-License-Identifier: Apache-2.0 */
#include "prometheus/json_events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum state {
    VALUE,       /* a value is due */
    FIRST_VALUE, /* or the end of an array */
    FIRST_KEY,   /* a key, or the end of an object */
    KEY,         /* after a comma */
    COLON,
    AFTER, /* a comma or an end */
    STRING,
    ESCAPE,
    HEX,
    NUMBER,
    LITERAL,
    END, /* nothing but blanks */
};

static int bad(const struct dv_json_events *e, struct dv_err *err, const char *what)
{
    return dv_err_set(err, -EINVAL, "not JSON at byte %llu: %s", (unsigned long long)e->at, what);
}

static int keep(struct dv_json_events *e, char c, struct dv_err *err)
{
    if (e->len >= DV_JSON_TEXT_MAX)
        return dv_err_set(err, -E2BIG, "a text of more than %u bytes", DV_JSON_TEXT_MAX);
    if (e->len + 1 >= e->cap) {
        size_t cap = e->cap ? e->cap * 2 : 256;
        char *more = realloc(e->text, cap);
        if (!more)
            return dv_err_set(err, -ENOMEM, "out of memory");
        e->text = more;
        e->cap = cap;
    }
    e->text[e->len++] = c;
    e->text[e->len] = 0;
    return 0;
}

static int say(struct dv_json_events *e, enum dv_json_event event)
{
    return e->on_event(e->arg, event, e->text ? e->text : "", e->len);
}

static void after_value(struct dv_json_events *e)
{
    e->state = e->depth ? AFTER : END;
}

static int open_one(struct dv_json_events *e, bool object, struct dv_err *err)
{
    if (e->depth == DV_JSON_DEPTH_MAX)
        return dv_err_set(err, -E2BIG, "nested deeper than %u", DV_JSON_DEPTH_MAX);
    e->in_object[e->depth++] = object;
    e->state = object ? FIRST_KEY : FIRST_VALUE;
    return say(e, object ? DV_JSON_OBJECT : DV_JSON_ARRAY);
}

static int close_one(struct dv_json_events *e, bool object, struct dv_err *err)
{
    if (!e->depth || e->in_object[e->depth - 1] != object)
        return bad(e, err, "an end of what was not begun");
    e->depth--;
    after_value(e);
    return say(e, object ? DV_JSON_OBJECT_END : DV_JSON_ARRAY_END);
}

static void clear(struct dv_json_events *e)
{
    e->len = 0;
    if (e->text)
        e->text[0] = 0;
}

static int begin_value(struct dv_json_events *e, char c, struct dv_err *err)
{
    clear(e);
    e->key = false;
    switch (c) {
    case '{':
    case '[':
        return open_one(e, c == '{', err);
    case '"':
        e->state = STRING;
        return 0;
    case 't':
    case 'f':
    case 'n':
        e->state = LITERAL;
        return keep(e, c, err);
    default:
        if (c != '-' && (c < '0' || c > '9'))
            return bad(e, err, "a value is missing");
        e->state = NUMBER;
        return keep(e, c, err);
    }
}

static int keep_code(struct dv_json_events *e, uint32_t c, struct dv_err *err)
{
    int r = 0;
    if (!c)
        return bad(e, err, "a NUL in a string");
    if (c < 0x80)
        return keep(e, (char)c, err);
    if (c < 0x800)
        r = keep(e, (char)(0xc0 | c >> 6), err);
    else if (c < 0x10000)
        r = keep(e, (char)(0xe0 | c >> 12), err);
    else
        r = keep(e, (char)(0xf0 | c >> 18), err);
    if (r == 0 && c >= 0x10000)
        r = keep(e, (char)(0x80 | (c >> 12 & 0x3f)), err);
    if (r == 0 && c >= 0x800)
        r = keep(e, (char)(0x80 | (c >> 6 & 0x3f)), err);
    return r < 0 ? r : keep(e, (char)(0x80 | (c & 0x3f)), err);
}

/* Half a surrogate pair that nothing follows. */
static int end_pair(struct dv_json_events *e, struct dv_err *err)
{
    if (!e->high)
        return 0;
    e->high = 0;
    return keep(e, '?', err);
}

static int end_hex(struct dv_json_events *e, struct dv_err *err)
{
    uint32_t c = e->escape;
    e->state = STRING;
    if (e->high && c >= 0xdc00 && c < 0xe000) {
        c = 0x10000 + ((e->high - 0xd800) << 10) + (c - 0xdc00);
        e->high = 0;
        return keep_code(e, c, err);
    }
    int r = end_pair(e, err);
    if (r < 0)
        return r;
    if (c >= 0xd800 && c < 0xdc00) {
        e->high = c;
        return 0;
    }
    return keep_code(e, c >= 0xdc00 && c < 0xe000 ? '?' : c, err);
}

static int in_hex(struct dv_json_events *e, char c, struct dv_err *err)
{
    uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                     : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                     : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A') + 10
                                            : 16;
    if (digit == 16)
        return bad(e, err, "not four hexadecimal digits");
    e->escape = e->escape << 4 | digit;
    return --e->hex_left ? 0 : end_hex(e, err);
}

static int in_escape(struct dv_json_events *e, char c, struct dv_err *err)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (c == 'u') {
        e->state = HEX;
        e->hex_left = 4;
        e->escape = 0;
        return 0;
    }
    const char *p = c ? strchr(from, c) : NULL;
    if (!p)
        return bad(e, err, "an unknown escape");
    int r = end_pair(e, err);
    e->state = STRING;
    return r < 0 ? r : keep(e, to[p - from], err);
}

static int in_string(struct dv_json_events *e, char c, struct dv_err *err)
{
    if (c == '\\') {
        e->state = ESCAPE;
        return 0;
    }
    int r = end_pair(e, err);
    if (r < 0)
        return r;
    if (c == '"') {
        if (e->key)
            e->state = COLON;
        else
            after_value(e);
        return say(e, e->key ? DV_JSON_KEY : DV_JSON_STRING);
    }
    if ((unsigned char)c < ' ')
        return bad(e, err, "a control character in a string");
    return keep(e, c, err);
}

/* [-] digits [. digits] [e [sign] digits], no leading zeros. */
static bool is_number(const char *p)
{
    p += *p == '-';
    if (*p == '0' && p[1] >= '0' && p[1] <= '9')
        return false;
    size_t n = strspn(p, "0123456789");
    if (!n)
        return false;
    p += n;
    if (*p == '.') {
        n = strspn(++p, "0123456789");
        p += n;
    }
    if (n && (*p == 'e' || *p == 'E')) {
        p++;
        p += *p == '-' || *p == '+';
        n = strspn(p, "0123456789");
        p += n;
    }
    return n && !*p;
}

static bool is_literal(const char *p)
{
    return !strcmp(p, "true") || !strcmp(p, "false") || !strcmp(p, "null");
}

static int end_word(struct dv_json_events *e, struct dv_err *err)
{
    bool number = e->state == NUMBER;
    if (!(number ? is_number(e->text) : is_literal(e->text)))
        return bad(e, err, "neither a number nor true, false, null");
    after_value(e);
    return say(e, number ? DV_JSON_NUMBER : DV_JSON_LITERAL);
}

static int begin_key(struct dv_json_events *e, char c, struct dv_err *err)
{
    if (c == '}' && e->state == FIRST_KEY)
        return close_one(e, true, err);
    if (c != '"')
        return bad(e, err, "a key is missing");
    clear(e);
    e->key = true;
    e->state = STRING;
    return 0;
}

static int between(struct dv_json_events *e, char c, struct dv_err *err)
{
    if (c == '}' || c == ']')
        return close_one(e, c == '}', err);
    if (c != ',')
        return bad(e, err, "a comma or an end is missing");
    e->state = e->in_object[e->depth - 1] ? KEY : VALUE;
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static int take(struct dv_json_events *e, char c, struct dv_err *err)
{
    switch ((enum state)e->state) {
    case STRING:
        return in_string(e, c, err);
    case ESCAPE:
        return in_escape(e, c, err);
    case HEX:
        return in_hex(e, c, err);
    case NUMBER:
    case LITERAL:
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '.' || c == '-' || c == '+' ||
            c == 'E')
            return keep(e, c, err);
        int r = end_word(e, err);
        return r ? r : take(e, c, err);
    default:
        break;
    }
    if (is_blank(c))
        return 0;
    switch ((enum state)e->state) {
    case FIRST_VALUE:
        return c == ']' ? close_one(e, false, err) : begin_value(e, c, err);
    case VALUE:
        return begin_value(e, c, err);
    case FIRST_KEY:
    case KEY:
        return begin_key(e, c, err);
    case COLON:
        e->state = VALUE;
        return c == ':' ? 0 : bad(e, err, "a colon is missing");
    case AFTER:
        return between(e, c, err);
    default:
        return bad(e, err, "more text after the end");
    }
}

int dv_json_events_feed(struct dv_json_events *e, const char *text, size_t len, struct dv_err *err)
{
    for (size_t i = 0; i < len; i++) {
        e->at++;
        int r = take(e, text[i], err);
        if (r)
            return r;
    }
    return 0;
}

int dv_json_events_end(struct dv_json_events *e, struct dv_err *err)
{
    if ((e->state == NUMBER || e->state == LITERAL) && !e->depth) {
        int r = end_word(e, err);
        if (r)
            return r;
    }
    return e->state == END ? 0 : bad(e, err, "it ends in the middle");
}

void dv_json_events_done(struct dv_json_events *e)
{
    free(e->text);
    e->text = NULL;
    e->len = e->cap = 0;
}
