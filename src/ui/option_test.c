/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "option.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct values {
    bool watch, quiet, mode_only;
    const char *tenant, *mode;
    uint64_t memory, timeout, rate;
    uint32_t compute;
    int64_t priority;
};

#define AT(field) offsetof(struct values, field)

static const struct dv_option options[] = {
    {"watch", 'w', NULL, "", DV_OPTION_FLAG, AT(watch)},
    {"quiet", 'q', NULL, "", DV_OPTION_FLAG, AT(quiet)},
    {"tenant", 't', "NAME", "", DV_OPTION_TEXT, AT(tenant)},
    {"mode-only", 'M', NULL, "", DV_OPTION_FLAG, AT(mode_only), .env = "DV_TEST_ONLY"},
    {"mode", 0, "MODE", "", DV_OPTION_CHOICE, AT(mode), .choices = "auto|exclusive|governed",
     .otherwise = "auto"},
    {"memory", 'm', "SIZE", "", DV_OPTION_BYTES, AT(memory)},
    {"compute", 'c', "SHARE", "", DV_OPTION_COMPUTE, AT(compute)},
    {"timeout", 0, "TIME", "", DV_OPTION_DURATION, AT(timeout), .min = 1, .max = 60000000000,
     .otherwise = "5s"},
    {"rate", 'r', "RATE", "", DV_OPTION_MILLI, AT(rate), .min = 1, .max = 1000000},
    {"priority", 'p', "N", "", DV_OPTION_INTEGER, AT(priority), .min = -100, .max = 100,
     .otherwise = "7", .env = "DV_TEST_PRIORITY"},
};

static int words;
static char *args[16];
static struct dv_err err;

/* Parses a blank-separated line; the line stays valid until the next call. */
static int parse(const char *line, bool stop, struct values *v)
{
    static char text[256];
    strncpy(text, line, sizeof text - 1);
    int n = 0;
    char *save = NULL;
    for (char *w = strtok_r(text, " ", &save); w && n < 16; w = strtok_r(NULL, " ", &save))
        args[n++] = w;
    *v = (struct values){0};
    err.msg[0] = 0;
    struct dv_option_group group = {options, DV_ARRAY_SIZE(options), v};
    return dv_option_parse(&group, 1, stop, n, args, &words, &err);
}

static void test_forms(void **state)
{
    struct values v;
    assert_int_equal(parse("--memory 1GiB -c25% --tenant=a=b -wq x", false, &v), 0);
    assert_int_equal(v.memory, UINT64_C(1) << 30);
    assert_int_equal(v.compute, 1750);
    assert_string_equal(v.tenant, "a=b");
    assert_true(v.watch && v.quiet);
    assert_int_equal(words, 1);
    assert_string_equal(args[0], "x");

    assert_int_equal(parse("-wqp -3 -r 2.5 --timeout 250ms", false, &v), 0);
    assert_int_equal(v.priority, -3);
    assert_int_equal(v.rate, 2500);
    assert_int_equal(v.timeout, 250000000);

    assert_int_equal(parse("-p 1 --priority 2", false, &v), 0);
    assert_int_equal(v.priority, 2);
}

static void test_defaults(void **state)
{
    struct values v;
    assert_int_equal(parse("", false, &v), 0);
    assert_string_equal(v.mode, "auto");
    assert_int_equal(v.timeout, UINT64_C(5000000000));
    assert_int_equal(v.memory, 0);
}

static void test_environment(void **state)
{
    struct values v;
    setenv("DV_TEST_PRIORITY", "-4", 1);
    setenv("DV_TEST_ONLY", "true", 1);
    assert_int_equal(parse("", false, &v), 0);
    assert_int_equal(v.priority, -4);
    assert_true(v.mode_only);
    assert_int_equal(parse("-p 5", false, &v), 0);
    assert_int_equal(v.priority, 5);
    setenv("DV_TEST_PRIORITY", "", 1);
    setenv("DV_TEST_ONLY", "False", 1);
    assert_int_equal(parse("", false, &v), 0);
    assert_int_equal(v.priority, 7);
    assert_false(v.mode_only);
    setenv("DV_TEST_ONLY", "perhaps", 1);
    assert_int_equal(parse("", false, &v), -EINVAL);
    assert_string_equal(err.msg, "$DV_TEST_ONLY: 'perhaps' is neither true nor false");
    unsetenv("DV_TEST_ONLY");
    unsetenv("DV_TEST_PRIORITY");
}

static void test_words(void **state)
{
    struct values v;
    assert_int_equal(parse("a -w b -- -q c", false, &v), 0);
    assert_true(v.watch && !v.quiet);
    assert_int_equal(words, 4);
    assert_string_equal(args[2], "-q");

    assert_int_equal(parse("-w cmd -q -x", true, &v), 0);
    assert_true(v.watch && !v.quiet);
    assert_int_equal(words, 3);
    assert_string_equal(args[0], "cmd");
    assert_int_equal(parse("-w -- cmd -- -x", true, &v), 0);
    assert_int_equal(words, 3);
    assert_int_equal(parse("-", false, &v), 0);
    assert_int_equal(words, 1);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"--memroy 1G", "unknown option '--memroy'; did you mean '--memory'?"},
        {"--zzzzzzzz", "unknown option '--zzzzzzzz'"},
        {"-x", "unknown option '-x'"},
        {"--memory", "option '--memory' needs a value (SIZE)"},
        {"-m", "option '--memory' needs a value (SIZE)"},
        {"--watch=yes", "option '--watch' takes no value"},
        {"--memory 0", "--memory: the size '0' is less than one byte"},
        {"--memory=-1", "--memory: '-1' is not a size; write for example 10GiB or 500MB"},
        {"--memory ten", "--memory: 'ten' is not a size; write for example 10GiB or 500MB"},
        {"--compute 101%", "--compute: the compute share '101%' is not above 0 and at most 100%"},
        {"--mode mps", "--mode: 'mps' is not one of auto|exclusive|governed"},
        {"--mode aut", "--mode: 'aut' is not one of auto|exclusive|governed"},
        {"--tenant=", "--tenant: the value is empty"},
        {"--tenant=a\x1b[2J", "--tenant: the value has a control character (byte 0x1b)"},
        {"--timeout 2m", "--timeout: '2m' is not between 1ns and 1m 00s"},
        {"--priority 101", "--priority: '101' is not between -100 and 100"},
        {"--rate 1.2345", "--rate: '1.2345' is not a number with at most 3 digits after the point"},
        {"--rate 0", "--rate: '0' is not between 0.001 and 1000"},
        {"--rate 1.", "--rate: '1.' is not a number"},
    };
    struct values v;
    for (size_t i = 0; i < DV_ARRAY_SIZE(cases); i++) {
        assert_true(parse(cases[i].line, false, &v) < 0);
        assert_string_equal(err.msg, cases[i].message);
    }
}

/* Random words never crash the parser, and an error always has a message. */
static void test_random(void **state)
{
    static const char alphabet[] = "-=wqtmcrp01.5%GiB /mode";
    struct dv_rng rng = {7};
    for (int round = 0; round < 20000; round++) {
        char line[40];
        size_t len = dv_rng_below(&rng, sizeof line - 1);
        for (size_t i = 0; i < len; i++)
            line[i] = alphabet[dv_rng_below(&rng, sizeof alphabet - 1)];
        line[len] = 0;
        struct values v;
        int r = parse(line, round % 2, &v);
        assert_true(r == 0 ? words <= 16 : err.msg[0] != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),  cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_words),  cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_random), cmocka_unit_test(test_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
