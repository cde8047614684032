/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first bytes of a message get this much room; from there on it doubles. */
#define FIRST_CAPACITY 1024u

static int check_head(struct dv_grpc_reader *r, size_t max)
{
    r->size =
        (size_t)r->head[1] << 24 | (size_t)r->head[2] << 16 | (size_t)r->head[3] << 8 | r->head[4];
    r->filled = 0;
    if (r->head[0] > 1)
        return -EPROTO;
    if (r->size > max)
        return -EMSGSIZE;
    return r->head[0] ? -EOPNOTSUPP : 0;
}

/* A peer that promises 4 MiB and sends ten bytes gets room for ten bytes. */
static int make_room(struct dv_grpc_reader *r, size_t n)
{
    size_t want = DV_MAX(r->filled + n, (size_t)1);
    if (want <= r->capacity)
        return 0;
    want = DV_MIN(DV_MAX(want, DV_MAX(2 * r->capacity, (size_t)FIRST_CAPACITY)),
                  DV_MAX(r->size, (size_t)1));
    uint8_t *data = realloc(r->data, want);
    if (!data)
        return -ENOMEM;
    r->data = data;
    r->capacity = want;
    return 0;
}

static void take(void *to, const uint8_t **bytes, size_t *n, size_t count)
{
    memcpy(to, *bytes, count);
    *bytes += count;
    *n -= count;
}

int dv_grpc_wire_feed(struct dv_grpc_reader *r, size_t max, const uint8_t **bytes, size_t *n)
{
    if (r->head_filled == DV_GRPC_WIRE_HEAD && r->filled == r->size)
        r->head_filled = 0; /* the message before */
    if (r->head_filled < DV_GRPC_WIRE_HEAD) {
        size_t count = DV_MIN(*n, (size_t)(DV_GRPC_WIRE_HEAD - r->head_filled));
        if (count)
            take(r->head + r->head_filled, bytes, n, count);
        r->head_filled += (uint32_t)count;
        if (r->head_filled < DV_GRPC_WIRE_HEAD)
            return 0;
        int bad = check_head(r, max);
        if (bad < 0)
            return bad;
    }
    size_t count = DV_MIN(*n, r->size - r->filled);
    int bad = make_room(r, count);
    if (bad < 0)
        return bad;
    if (count)
        take(r->data + r->filled, bytes, n, count);
    r->filled += count;
    return r->filled == r->size;
}

int dv_grpc_wire_is_partial(const struct dv_grpc_reader *r)
{
    return r->head_filled && (r->head_filled < DV_GRPC_WIRE_HEAD || r->filled < r->size);
}

void dv_grpc_wire_done(struct dv_grpc_reader *r)
{
    free(r->data);
    *r = (struct dv_grpc_reader){0};
}

void dv_grpc_wire_head(size_t size, uint8_t ret[DV_GRPC_WIRE_HEAD])
{
    ret[0] = 0;
    for (int i = 1; i < (int)DV_GRPC_WIRE_HEAD; i++)
        ret[i] = (uint8_t)(size >> (8 * (4 - i)));
}

/* ---- status messages ---- */

size_t dv_grpc_wire_escape(const char *text, char ret[DV_GRPC_WIRE_ESCAPED])
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;
    for (const char *p = text; *p && p - text < DV_GRPC_TEXT_MAX - 1; p++) {
        unsigned char c = (unsigned char)*p;
        if (c >= 0x20 && c <= 0x7e && c != '%') {
            ret[n++] = (char)c;
            continue;
        }
        ret[n++] = '%';
        ret[n++] = digits[c >> 4];
        ret[n++] = digits[c & 15];
    }
    ret[n] = 0;
    return n;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void dv_grpc_wire_unescape(const char *text, char ret[DV_GRPC_TEXT_MAX])
{
    size_t n = 0;
    for (const char *p = text; *p && n < DV_GRPC_TEXT_MAX - 1; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '%' && digit(p[1]) >= 0 && digit(p[2]) >= 0) {
            c = (unsigned char)(digit(p[1]) << 4 | digit(p[2]));
            p += 2;
        }
        ret[n++] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
    }
    ret[n] = 0;
}

/* ---- timeouts ---- */

int dv_grpc_wire_parse_timeout(const char *text, uint64_t *ret_ms)
{
    size_t digits = strspn(text, "0123456789");
    if (!digits || digits > 8 || !text[digits] || text[digits + 1])
        return -EINVAL;
    uint64_t n = strtoull(text, NULL, 10);
    switch (text[digits]) {
    case 'H':
        n *= 3600 * 1000;
        break;
    case 'M':
        n *= 60 * 1000;
        break;
    case 'S':
        n *= 1000;
        break;
    case 'm':
        break;
    case 'u':
        n = (n + 999) / 1000;
        break;
    case 'n':
        n = (n + 999999) / 1000000;
        break;
    default:
        return -EINVAL;
    }
    *ret_ms = n;
    return 0;
}

void dv_grpc_wire_format_timeout(uint64_t ms, char ret[16])
{
    uint64_t year = UINT64_C(365) * 24 * 3600 * 1000;
    ms = DV_MIN(ms, year);
    bool exact = ms < 100000000; /* at most eight digits */
    snprintf(ret, 16, "%" PRIu64 "%c", exact ? ms : ms / 1000, exact ? 'm' : 'S');
}
