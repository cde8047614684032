/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

void dv_base64_add(const void *data, size_t len, struct dv_str *ret)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        const unsigned char *p = (const unsigned char *)data + i;
        size_t left = len - i;
        uint32_t v = (uint32_t)p[0] << 16 | (left > 1 ? (uint32_t)p[1] << 8 : 0) |
                     (left > 2 ? (uint32_t)p[2] : 0);
        dv_str_addc(ret, digits[v >> 18]);
        dv_str_addc(ret, digits[v >> 12 & 63]);
        dv_str_addc(ret, left > 1 ? digits[v >> 6 & 63] : '=');
        dv_str_addc(ret, left > 2 ? digits[v & 63] : '=');
    }
}
