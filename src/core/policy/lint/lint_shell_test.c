/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "policy/lint/lint_shell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* "a b|c" for two commands, "a b" and "c"; a command that reads another has its number in front. */
static void check(const char *text, const char *want)
{
    dv_cleanup(dv_shell_done) struct dv_shell shell = {0};
    dv_cleanup(dv_str_done) struct dv_str got = {0};
    assert_int_equal(dv_shell_scan(text, strlen(text), &shell), 0);
    for (uint32_t i = 0; i < shell.n; i++) {
        const struct dv_shell_command *c = &shell.commands[i];
        dv_str_add(&got, i ? "|" : "");
        if (c->upstream != UINT32_MAX)
            dv_str_addf(&got, "%u<", c->upstream);
        for (uint32_t k = 0; k < c->n; k++) {
            dv_str_addf(&got, "%s%s", k ? " " : "", c->words[k].text);
            if (c->words[k].exact != SIZE_MAX)
                assert_memory_equal(text + c->words[k].exact, c->words[k].text,
                                    strlen(c->words[k].text));
        }
        if (c->here_string)
            dv_str_addf(&got, " <<<%s", c->here_string);
        if (c->has_document)
            dv_str_addf(&got, " <<%.*s", (int)c->document_len, text + c->document_from);
    }
    assert_string_equal(dv_str_get(&got), want);
}

static void test_words(void **state)
{
    check("", "");
    check("a  b\tc", "a b c");
    check("a 'b c' \"d \\\"e\\\" $x\" f\\ g", "a b c d \"e\" $x f g");
    check("a # b\nc#d", "a|c#d");
    check("a \\\n b", "a b");
    check("X=1 Y=\"2 3\" a b=c", "a b=c");
    check("a > out 2>/dev/null < in b", "a b");
    check("get <pod-name> -n x", "get x");
    check("a ''", "a ");
}

static void test_lists(void **state)
{
    check("a; b && c || d & e", "a|b|c|d|e");
    check("a | b | c", "a|0<b|1<c");
    check("if a; then b; else c; fi", "a|b|c");
    check("for i in 1 2; do\n a $i\ndone", "a $i");
    check("while read l; do a; done < f", "read l|a");
    check("(a; b) | c", "a|b|c");
    check("case $x in y) a;; esac", "a");
}

static void test_substitutions(void **state)
{
    check("X=$(a b | c) d", "a b|0<c|d");
    check("e $(a $(b))", "e $(a $(b))|a $(b)|b");
    check("e \"x $(a) y\" `b`", "e x $(a) y `b`|a|b");
    check("e $((1 + 2)) ${x:-y z}", "e $((1 + 2)) ${x:-y z}");
    check("diff <(a) <(b)", "diff|a|b");
    check("a $(b", "a $(b|b");
}

static void test_documents(void **state)
{
    check("cat <<EOF | b\n one\n two\nEOF\nc", "cat << one\n two\n|0<b|c");
    check("cat <<-'E'\n\tx\n\tE\nc", "cat <<\tx\n|c");
    check("a <<X <<Y\n1\nX\n2\nY\n", "a <<1\n");
    check("a <<<'b c' d", "a d <<<b c");
    check("a <<EOF\nno end", "a <<no end");
    check("x=$(cat <<E\ny\nE\n)\nz", "cat <<y\n|z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_substitutions),
        cmocka_unit_test(test_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
