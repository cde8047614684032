/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 with the ordinary alphabet and padding (RFC 4648, chapter 4): how Kubernetes writes bytes
 * into JSON and YAML. */
#ifndef DV_BASE_BASE64_H
#define DV_BASE_BASE64_H

#include "base/str.h"

/* Appends `len` bytes of data, without line breaks. */
void dv_base64_add(const void *data, size_t len, struct dv_str *ret);
/* malloc'ed, with a zero byte behind. Line ends and blanks between are passed over. 0, -EINVAL,
 * -ENOMEM. */
int dv_base64_decode(const char *text, char **ret, size_t *ret_len);

#endif
