/* SPDX-License-Identifier: Apache-2.0 */
#include "ui.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define WIDTH 80
#define OPTION_COLUMN 26

/* Words of `text` folded at WIDTH, each line after `indent` blanks; the first line goes on at
 * column `at`. */
static void fold(const char *text, size_t indent, size_t at, struct dv_str *out)
{
    size_t column = at;
    while (*text) {
        size_t len = strcspn(text, " \n");
        if (column > indent && column + 1 + len > WIDTH) {
            dv_str_addc(out, '\n');
            column = 0;
        }
        if (column < indent)
            dv_str_addf(out, "%*s", (int)(indent - column), "");
        else if (column > indent)
            dv_str_addc(out, ' ');
        column = DV_MAX(column, indent) + (column > indent) + len;
        dv_str_addn(out, text, len);
        text += len;
        if (text[0] == '\n' && text[1] == '\n') {
            dv_str_add(out, "\n\n");
            column = 0;
        }
        text += strspn(text, " \n");
    }
    dv_str_addc(out, '\n');
}

/* "(a, b, c)" of "a|b|c". */
void dv_help_choices(const char *choices, struct dv_str *out)
{
    dv_str_add(out, " (");
    for (; *choices; choices++)
        dv_str_add(out, *choices == '|' ? ", " : (const char[]){*choices, 0});
    dv_str_addc(out, ')');
}

static void add_option(const struct dv_option *o, struct dv_str *out)
{
    char head[96];
    int n = o->letter ? snprintf(head, sizeof head, "  -%c, --%s", o->letter, o->name)
                      : snprintf(head, sizeof head, "      --%s", o->name);
    if (o->arg)
        n += snprintf(head + n, sizeof head - (size_t)n, " %s", o->arg);
    dv_cleanup(dv_str_done) struct dv_str help = {0};
    dv_str_add(&help, o->help);
    if (o->type == DV_OPTION_CHOICE && !strstr(o->help, "table, json"))
        dv_help_choices(o->choices, &help);
    if (o->otherwise)
        dv_str_addf(&help, " (default %s)", o->otherwise);
    if (o->env)
        dv_str_addf(&help, " [$%s]", o->env);
    dv_str_add(out, head);
    size_t at = (size_t)n;
    if (at + 2 > OPTION_COLUMN) {
        dv_str_addc(out, '\n');
        at = 0;
    }
    fold(dv_str_get(&help), OPTION_COLUMN, at, out);
}

void dv_help_verb(const struct dv_ui_program *program, const struct dv_ui_verb *verb,
                  struct dv_str *text)
{
    dv_str_addf(text, "Usage: %s %s [OPTION]...%s%s\n\n", program->name, verb->name,
                verb->args ? " " : "", verb->args ? verb->args : "");
    dv_str_addf(text, "%c%s.\n", toupper((unsigned char)verb->summary[0]), verb->summary + 1);
    if (verb->details) {
        dv_str_addc(text, '\n');
        fold(verb->details, 0, 0, text);
    }
    dv_str_add(text, "\nOptions:\n");
    struct dv_ui_common common;
    struct dv_option_group groups[DV_UI_GROUPS_MAX];
    size_t n = dv_ui_groups(verb, &common, NULL, groups);
    for (size_t g = 0; g < n; g++)
        for (size_t i = 0; i < groups[g].n; i++)
            add_option(&groups[g].options[i], text);
    if (verb->n_examples)
        dv_str_add(text, "\nExamples:\n");
    for (size_t i = 0; i < verb->n_examples; i++)
        dv_str_addf(text, "%s  # %s\n  %s\n", i ? "\n" : "", verb->examples[i].what,
                    verb->examples[i].command);
}

void dv_help_program(const struct dv_ui_program *program, struct dv_str *text)
{
    dv_str_addf(text, "%s: %s\n\nUsage: %s COMMAND [OPTION]...\n\n", program->name,
                program->summary, program->name);
    for (size_t i = 0; i < program->n_verbs; i++)
        dv_str_addf(text, "  %-14s %s\n", program->verbs[i]->name, program->verbs[i]->summary);
    dv_str_addf(text,
                "\n'%s help COMMAND' explains one, with examples. '%s --version' says which.\n",
                program->name, program->name);
}

bool dv_help_group(const struct dv_ui_program *program, const char *group, struct dv_str *text)
{
    size_t len = strlen(group);
    bool any = false;
    for (size_t i = 0; i < program->n_verbs; i++) {
        const struct dv_ui_verb *verb = program->verbs[i];
        if (strncmp(verb->name, group, len) != 0 || verb->name[len] != ' ')
            continue;
        if (!any)
            dv_str_addf(text, "Usage: %s %s COMMAND [OPTION]...\n\n", program->name, group);
        dv_str_addf(text, "  %-14s %s\n", verb->name, verb->summary);
        any = true;
    }
    if (any)
        dv_str_addf(text, "\n'%s help %s COMMAND' explains one, with examples.\n", program->name,
                    group);
    return any;
}
