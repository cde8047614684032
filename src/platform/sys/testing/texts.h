/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts that tests hold against the code: pages of docs/, whose examples must be true, and what
 * popular guides tell people to type, where the tree lies beside those snippets
 * (../shared/data/guides). Tests that use this link texts_dep (Meson) and cmocka.
 *
 *     char *rest = dv_texts_page("docs/reference/plan-file.md");
 *     while (dv_texts_block(&rest, &block)) ...
 */
#ifndef DV_SYS_TESTING_TEXTS_H
#define DV_SYS_TESTING_TEXTS_H

#include <stdbool.h>
#include <stddef.h>

/* A page of the source tree; the test fails where there is none. One at a time, to be cut. */
char *dv_texts_page(const char *path);

struct dv_texts_block {
    char *info, *text; /* what stands behind the ```, and the lines up to the next ``` */
};
/* Cuts the next block out of the page. */
bool dv_texts_block(char **rest, struct dv_texts_block *ret);

/* The folder of the guides; NULL: none lies beside the tree, and the test is to be skipped. */
const char *dv_texts_guides(void);
/* A file there, malloc'ed and NUL-terminated; the test fails where there is none. */
char *dv_texts_guide(const char *folder, const char *name, size_t *ret_len);

#endif
