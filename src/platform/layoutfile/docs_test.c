/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The examples of docs/reference/layout-file.md and plugin-config.md are true; those of the latter
 * are read as the device plugin's configuration. A block ```yaml is read without an error
 * and without a warning; ```yaml config=NAME so under that name; after ```yaml refused and ```yaml
 * warned the next block is the message, letter by letter.
 */
#include "layoutfile/layoutfile.h"
#include "sys/testing/texts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int read_block(const struct dv_texts_block *b, const char *config, bool plugin,
                      struct dv_layoutfile_info *info, struct dv_err *err)
{
    dv_cleanup(dv_layout_freep) struct dv_layout *l = NULL;
    dv_cleanup(dv_plugin_config_freep) struct dv_plugin_config *c = NULL;
    size_t len = strlen(b->text);
    return plugin ? dv_layoutfile_read_plugin("node.yaml", b->text, len, config, &c, info, err)
                  : dv_layoutfile_read("node.yaml", b->text, len, config, &l, info, err);
}

static void check(const struct dv_texts_block *b, const char *config, bool plugin, char **rest)
{
    struct dv_layoutfile_info info = {0};
    struct dv_err err = {{0}};
    char message[512] = "";
    struct dv_texts_block expected = {NULL, ""};
    int r = read_block(b, config, plugin, &info, &err);
    if (r < 0)
        snprintf(message, sizeof message, "%s\n", err.msg);
    else if (info.n_warnings)
        snprintf(message, sizeof message, "node.yaml:%u: %s\n", info.warnings[0].line,
                 info.warnings[0].text);
    if (strcmp(b->info, "yaml refused") != 0 && strcmp(b->info, "yaml warned") != 0) {
        assert_string_equal(message, "");
        return;
    }
    assert_true(dv_texts_block(rest, &expected));
    assert_string_equal(message, expected.text);
    assert_int_equal(r < 0, !strcmp(b->info, "yaml refused"));
}

static void check_page(const char *name, bool plugin, int at_least)
{
    char *rest = dv_texts_page(name);
    struct dv_texts_block b;
    int n = 0;
    while (dv_texts_block(&rest, &b)) {
        char *config = strstr(b.info, "config=");
        assert_int_equal(strncmp(b.info, "yaml", 4), 0);
        check(&b, config ? config + 7 : NULL, plugin, &rest);
        n++;
    }
    assert_true(n >= at_least);
}

static void test_layout_file(void **state)
{
    check_page("docs/reference/layout-file.md", false, 6);
}

static void test_plugin_config(void **state)
{
    check_page("docs/reference/plugin-config.md", true, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout_file),
        cmocka_unit_test(test_plugin_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
