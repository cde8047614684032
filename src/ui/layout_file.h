/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layout file as a request's body. What it means is the daemon's business; here it is read, with
 * its bounds: at most DV_LAYOUT_FILE_MAX bytes of UTF-8.
 *
 *     dv_cleanup(dv_output_free) struct dv_output *body = NULL;
 *     r = dv_layout_file_body("node.yaml", NULL, &body, &err);      "-": the standard input
 */
#ifndef DV_UI_LAYOUT_FILE_H
#define DV_UI_LAYOUT_FILE_H

#include "base/err.h"
#include "base/str.h"
#include "render/output.h"

#define DV_LAYOUT_FILE_MAX 524288u

/* 0; -EINVAL (not UTF-8), -E2BIG, or why it cannot be read, with a message that names it. */
int dv_layout_file_read(const char *path, struct dv_str *ret, struct dv_err *err);
/* {"name","text"} and "config", where it is not NULL. */
int dv_layout_file_body(const char *path, const char *config, struct dv_output **ret,
                        struct dv_err *err);
/* Writes a file whole or not at all: under another name first. "-": the standard output. */
int dv_layout_file_write(const char *path, const char *text, size_t len, struct dv_err *err);

#endif
