/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 as in RFC 4648, chapter 4: with padding, without line breaks. */
#ifndef DV_BASE_BASE64_H
#define DV_BASE_BASE64_H

#include "base/str.h"

/* Appends `len` bytes of data. */
void dv_base64_add(const void *data, size_t len, struct dv_str *ret);

#endif
