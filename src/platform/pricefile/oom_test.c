/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory runs out at the first, the second, the third... allocation, ours or the YAML library's,
 * while a price file is read. Each time it is -ENOMEM, nothing is handed out,
 * and nothing leaks (which the address sanitizer sees).
 */
#include "pricefile/pricefile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include <cmocka.h>

static size_t countdown; /* allocations that still succeed; 0: all do */
static bool failed;

static bool fails(void)
{
    if (!countdown || --countdown)
        return false;
    failed = true;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
int __real_yaml_parser_initialize(yaml_parser_t *parser);
int __real_yaml_parser_parse(yaml_parser_t *parser, yaml_event_t *event);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
int __wrap_yaml_parser_initialize(yaml_parser_t *parser);
int __wrap_yaml_parser_parse(yaml_parser_t *parser, yaml_event_t *event);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

int __wrap_yaml_parser_initialize(yaml_parser_t *parser)
{
    return fails() ? 0 : __real_yaml_parser_initialize(parser);
}

int __wrap_yaml_parser_parse(yaml_parser_t *parser, yaml_event_t *event)
{
    if (!fails())
        return __real_yaml_parser_parse(parser, event);
    memset(event, 0, sizeof *event);
    parser->error = YAML_MEMORY_ERROR;
    return 0;
}

static const char text[] =
    "apiVersion: divvy/v1\nkind: PriceList\ncurrency: USD\nprices:\n"
    "- {perGpuHour: 1}\n- {perGpuHour: 2, model: [A100, H100], hours: [sat, 22:00-06:00]}\n"
    "fees: [{tenant: a, perMonth: 1}, {tenant: b, perMonth: 1}, {tenant: c, perMonth: 1}]\n";

static int life(void)
{
    dv_cleanup(dv_price_list_freep) struct dv_price_list *l = NULL;
    struct dv_err err = {{0}};
    int r = dv_pricefile_read("p.yaml", text, strlen(text), NULL, &l, NULL, &err);
    if (r < 0) {
        assert_null(l);
        assert_string_equal(err.msg, "");
    }
    return r;
}

static void test_every_allocation_fails_once(void **state)
{
    size_t n = 1;
    for (;; n++) {
        failed = false;
        countdown = n;
        int r = life();
        countdown = 0;
        if (!failed) {
            assert_int_equal(r, 0);
            break;
        }
        assert_int_equal(r, -ENOMEM);
    }
    assert_in_range(n, 30, 1000); /* it did try them */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
