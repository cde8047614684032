/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void dv_base64_add(const void *data, size_t len, struct dv_str *ret)
{
    const unsigned char *b = data;
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t v = (uint32_t)b[i] << 16;
        v |= left > 1 ? (uint32_t)b[i + 1] << 8 : 0;
        v |= left > 2 ? b[i + 2] : 0;
        dv_str_addc(ret, alphabet[v >> 18]);
        dv_str_addc(ret, alphabet[v >> 12 & 63]);
        dv_str_addc(ret, left > 1 ? alphabet[v >> 6 & 63] : '=');
        dv_str_addc(ret, left > 2 ? alphabet[v & 63] : '=');
    }
}

/* -1: not of the alphabet. */
static int value(char c)
{
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

int dv_base64_decode(const char *text, char **ret, size_t *ret_len)
{
    char *out = malloc(strlen(text) / 4 * 3 + 4);
    if (!out)
        return -ENOMEM;
    uint32_t bits = 0, digits = 0, pads = 0;
    size_t n = 0;
    for (; *text; text++) {
        if (strchr(" \t\r\n", *text))
            continue;
        int v = value(*text);
        bool pad = *text == '=' && digits % 4 >= 2;
        if ((v < 0 && !pad) || (v >= 0 && pads))
            break;
        bits = bits << 6 | (pad ? 0 : (uint32_t)v);
        pads += pad;
        if (++digits % 4 == 0) {
            out[n++] = (char)(bits >> 16);
            out[n++] = (char)(bits >> 8);
            out[n++] = (char)bits;
        }
    }
    if (*text || digits % 4 || pads > 2) {
        free(out);
        return -EINVAL;
    }
    n -= pads;
    out[n] = 0;
    *ret = out;
    *ret_len = n;
    return 0;
}
