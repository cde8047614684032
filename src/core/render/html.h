/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the pages of HTML have in common (a bill, a report): nothing is loaded from anywhere, no
 * scripts; they print on A4 and follow the reader's dark mode. Names are hostile input: what is
 * escaped here cannot leave its place.
 *
 *     dv_html_begin("Audit", NULL, &text);
 *     dv_html_name(tenant, &text);
 *     dv_html_end(&text);
 */
#ifndef DV_RENDER_HTML_H
#define DV_RENDER_HTML_H

#include "base/str.h"

/* From <!DOCTYPE to <body>. title: our own words; style: rules beside those of every page, or NULL.
 */
void dv_html_begin(const char *title, const char *style, struct dv_str *text);
/* </body> and </html>. */
void dv_html_end(struct dv_str *text);
/* Text for an element or a quoted attribute; control characters become \xNN. */
void dv_html_escape(const char *v, struct dv_str *text);
/* A name may be written from right to left: it must not turn what stands around it. */
void dv_html_name(const char *name, struct dv_str *text);

#endif
