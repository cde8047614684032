/* SPDX-License-Identifier: Apache-2.0 */
/* Any text, as YAML, as a script, as queries: it is judged, in words that print and at places that
 * are in the file, and mending what was mended changes nothing. */
#include "lintfile/lintfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_words(const char *text)
{
    if (!*text)
        abort();
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            abort();
}

static void check_report(const struct dv_lint_report *r, size_t lines)
{
    for (uint32_t i = 0; i < r->n_findings; i++) {
        const struct dv_lint_finding *f = &r->findings[i];
        check_words(f->why);
        check_words(f->fix);
        if (!f->line || !f->column || f->line > lines || f->object >= r->n_objects)
            abort();
    }
}

static void check(const char *text, size_t size, enum dv_lintfile_type type)
{
    struct dv_lintfile_options how = {.type = type};
    struct dv_lint_report r = {0};
    struct dv_err err = {{0}};
    dv_cleanup(dv_str_done) struct dv_str once = {0}, twice = {0};
    uint32_t n = 0, again = 0;
    size_t lines = 1;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    if (dv_lintfile_read("input", text, size, &how, &r, &err) < 0) {
        check_words(err.msg);
        return;
    }
    check_report(&r, lines);
    dv_lint_report_done(&r);
    if (dv_lintfile_fix("input", text, size, &how, &once, &n, &err) < 0)
        return; /* what would come out cannot be read, and is not written */
    if (dv_lintfile_fix("input", dv_str_get(&once), once.len, &how, &twice, &again, &err) < 0 ||
        again || once.len != twice.len ||
        (once.len && memcmp(once.data, twice.data, once.len) != 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check((const char *)data, size, DV_LINTFILE_YAML);
    check((const char *)data, size, DV_LINTFILE_SHELL);
    check((const char *)data, size, DV_LINTFILE_PROMQL);
    check((const char *)data, size, DV_LINTFILE_AUTO);
    return 0;
}
