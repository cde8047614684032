/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/testing/texts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEXT_MAX (1 << 20)

static const char *source(void)
{
    const char *path = getenv("DIVVY_SOURCE");
    return path ? path : ".";
}

static size_t slurp(const char *path, char *buf)
{
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s is not there", path);
    size_t len = fread(buf, 1, TEXT_MAX - 1, f);
    fclose(f);
    buf[len] = 0;
    return len;
}

char *dv_texts_page(const char *name)
{
    static char page[TEXT_MAX];
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", source(), name);
    slurp(path, page);
    return page;
}

bool dv_texts_block(char **rest, struct dv_texts_block *ret)
{
    char *start = strstr(*rest, "```");
    char *line = start ? strchr(start, '\n') : NULL;
    char *end = line ? strstr(line, "\n```") : NULL;
    if (!end)
        return false;
    *line = 0;
    end[1] = 0;
    *ret = (struct dv_texts_block){start + 3, line + 1};
    *rest = end + 4;
    return true;
}

/* Beside the source root, or beside the folder that holds it. */
const char *dv_texts_guides(void)
{
    static char path[4096];
    static const char *const ups[] = {"..", "../.."};
    for (size_t i = 0; i < sizeof ups / sizeof *ups; i++) {
        snprintf(path, sizeof path, "%s/%s/shared/data/guides/expected.tsv", source(), ups[i]);
        FILE *f = fopen(path, "r");
        if (!f)
            continue;
        fclose(f);
        *strrchr(path, '/') = 0;
        return path;
    }
    return NULL;
}

char *dv_texts_guide(const char *folder, const char *name, size_t *ret_len)
{
    char path[4400];
    char *text = malloc(TEXT_MAX);
    assert_non_null(text);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    *ret_len = slurp(path, text);
    return text;
}
