/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree (render/output.h) as JSON, RFC 8259. Keys keep their order, integers are exact, seconds
 * have nine decimals. Text that is not UTF-8 becomes U+FFFD, control characters become escapes, so
 * that what comes out always parses.
 *
 *     dv_cleanup(dv_str_done) struct dv_str text = {0};
 *     r = dv_json_write(o, true, &text);      ends with a newline
 */
#ifndef DV_RENDER_JSON_H
#define DV_RENDER_JSON_H

#include "base/str.h"
#include "render/output.h"

/* Appends. pretty: two blanks of indentation, else one line. 0, -ENOMEM. */
int dv_json_write(struct dv_output *o, bool pretty, struct dv_str *text);

/* One quoted, escaped string. */
void dv_json_quote(const char *v, struct dv_str *text);

/* Length of the UTF-8 sequence at p (1..4), or 0 when the bytes there are none: truncated,
 * overlong, a surrogate, above U+10FFFF. p is NUL-terminated and not at its end. */
unsigned dv_json_utf8(const char *p);

#endif
