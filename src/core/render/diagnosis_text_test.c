/* SPDX-License-Identifier: Apache-2.0 */
/* With --print: the tables of docs/reference/doctor.md. */
#include "render/diagnosis_text.h"
#include "render/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct dv_diagnosis_finding sample(enum dv_trouble trouble)
{
    return (struct dv_diagnosis_finding){.trouble = trouble,
                                         .gpu = 3,
                                         .device = "MIG-1",
                                         .slice = 7,
                                         .n = 48,
                                         .bytes = DV_GIB,
                                         .tenant = "ann",
                                         .detail = "why; rm -r"};
}

/* Every trouble says what is wrong, in one line without operands left over; what to do follows for
 * all but the one whose message says it itself. */
static void test_every_trouble(void **state)
{
    for (int i = 0; i < DV_TROUBLE_COUNT; i++) {
        struct dv_diagnosis_finding f = sample((enum dv_trouble)i);
        for (int part = 0; part < DV_DIAGNOSIS_PARTS; part++) {
            dv_cleanup(dv_str_done) struct dv_str text = {0};
            bool has = dv_diagnosis_text(&f, (enum dv_diagnosis_part)part, &text);
            assert_true(has || part >= DV_DIAGNOSIS_CAUSE);
            if (part == DV_DIAGNOSIS_REMEDY)
                assert_true(has || i == DV_TROUBLE_DAEMON_REFUSES);
            const char *said = dv_str_get(&text);
            assert_null(strpbrk(said, "{}\n"));
            if (has && part != DV_DIAGNOSIS_SUBJECT)
                assert_int_not_equal(said[strlen(said) - 1], '.');
            /* What somebody chose as a name never lands in a shell. */
            if (part == DV_DIAGNOSIS_COMMAND)
                assert_true(!strstr(said, "ann") && !strstr(said, "why"));
        }
    }
}

static void test_words(void **state)
{
    dv_cleanup(dv_output_free) struct dv_output *o = dv_output_new(NULL);
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    struct dv_output_node *list = dv_output_array(dv_output_root(o), "f");
    struct dv_diagnosis_finding f = sample(DV_TROUBLE_LAYOUT_WAITS);
    f.n = 3;
    f.since_unix = 1780000000;
    snprintf(f.detail, sizeof f.detail, "pod team/x, pid 4711");
    dv_diagnosis_text_add(list, &f);
    f = (struct dv_diagnosis_finding){.trouble = DV_TROUBLE_XID_CLEANUP, .gpu = 2, .n = 45};
    dv_diagnosis_text_add(list, &f);
    assert_int_equal(dv_json_write(o, false, &text), 0);
    assert_string_equal(
        dv_str_get(&text),
        "{\"f\":[{\"code\":\"layout_waits\",\"severity\":\"warning\",\"subject\":\"layout\","
        "\"problem\":\"a change of GPU 3 has waited since 2026-05-28T20:26:40Z for s-7 of ann (pod "
        "team/x, pid 4711) and 2 more\",\"cause\":\"the slice holds what is to go or to be shared "
        "otherwise\",\"remedy\":\"it goes on by itself when "
        "that ends. To hurry, end it; to give up: divvy layout undo\",\"command\":\"divvy kill "
        "s-7\"},{\"code\":\"xid_cleanup\",\"severity\":\"note\",\"subject\":\"gpu 2\","
        "\"problem\":\"XID 45: the GPU cleared away the work of a program that ended or was "
        "ended\",\"cause\":\"it follows when work is ended, or after another error; the GPU is "
        "well\",\"remedy\":\"nothing\",\"command\":null}]}\n");
}

/* The reference page has the tables of this list, word for word. */
static void test_page(void **state)
{
    const char *source = getenv("DIVVY_SOURCE");
    dv_cleanup(dv_str_done) struct dv_str path = {0}, tables = {0}, page = {0};
    if (!source)
        skip();
    dv_str_addf(&path, "%s/docs/reference/doctor.md", source);
    FILE *file = fopen(dv_str_get(&path), "r");
    assert_non_null(file);
    for (int c; (c = getc(file)) != EOF;)
        dv_str_addc(&page, (char)c);
    fclose(file);
    dv_diagnosis_text_tables(&tables);
    assert_non_null(strstr(dv_str_get(&page), dv_str_get(&tables)));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_trouble),
                                       cmocka_unit_test(test_words), cmocka_unit_test(test_page)};
    if (argc > 1 && !strcmp(argv[1], "--print")) {
        dv_cleanup(dv_str_done) struct dv_str tables = {0};
        dv_diagnosis_text_tables(&tables);
        return fputs(dv_str_get(&tables), stdout) < 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
