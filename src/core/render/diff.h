/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two texts as a unified diff, with three lines around each change, as patch(1) reads it.
 *
 *     r = dv_diff_write("a/pod.yaml", before, n, "b/pod.yaml", after, m, &text);
 *
 * Shortest by lines (E. W. Myers, "An O(ND) difference algorithm and its variations", 1986) as long
 * as the texts differ in at most DV_DIFF_CHANGES_MAX lines; beyond that all is replaced.
 */
#ifndef DV_RENDER_DIFF_H
#define DV_RENDER_DIFF_H

#include "base/str.h"

#define DV_DIFF_CHANGES_MAX 1000

/* Appends; nothing for equal texts. 0 or -ENOMEM. */
int dv_diff_write(const char *before_name, const char *before, size_t before_len,
                  const char *after_name, const char *after, size_t after_len, struct dv_str *text);

#endif
