/* SPDX-License-Identifier: Apache-2.0 */
/* The manual page, mdoc(7), from the same tables as the help. */
#include "ui.h"

#include <ctype.h>
#include <string.h>

#define FILL 64 /* a line is broken at the first blank after so many bytes */

/* Text as lines of roff: backslashes escaped, no line that begins as a request. Sentences begin on
 * lines of their own, as mdoc wants it. literal: as it is, not filled. */
static void add_lines(const char *p, bool literal, struct dv_str *out)
{
    size_t begin = out->len;
    for (; *p; p++) {
        if (out->len == begin && (*p == '.' || *p == '\''))
            dv_str_add(out, "\\&");
        if (*p == '\\')
            dv_str_add(out, "\\e");
        else if (*p == '-')
            dv_str_add(out, "\\-");
        else if (p[0] == '\n' && p[1] == '\n') {
            dv_str_add(out, "\n.Pp\n");
            p++;
            begin = out->len;
        } else if (!literal && strchr(".:?!", *p) && p[1] == ' ' && isupper((unsigned char)p[2])) {
            dv_str_addf(out, "%c\n", *p);
            p++;
            begin = out->len;
        } else if (!literal && *p == ' ' && out->len - begin > FILL) {
            dv_str_addc(out, '\n');
            begin = out->len;
        } else
            dv_str_addc(out, *p);
    }
    dv_str_addc(out, '\n');
}

static void add_text(const char *p, struct dv_str *out)
{
    add_lines(p, false, out);
}

static void add_upper(const char *p, struct dv_str *out)
{
    for (; *p; p++)
        dv_str_addc(out, (char)toupper((unsigned char)*p));
}

static void add_option(const struct dv_option *o, struct dv_str *out)
{
    dv_str_add(out, ".It ");
    if (o->letter)
        dv_str_addf(out, "Fl %c%s%s , ", o->letter, o->arg ? " Ar " : "", o->arg ? o->arg : "");
    dv_str_addf(out, "Fl \\-%s%s%s\n", o->name, o->arg ? " Ar " : "", o->arg ? o->arg : "");
    dv_cleanup(dv_str_done) struct dv_str help = {0};
    dv_str_addc(&help, (char)toupper((unsigned char)o->help[0]));
    dv_str_add(&help, o->help + 1);
    if (o->type == DV_OPTION_CHOICE && !strstr(o->help, "table, json"))
        dv_help_choices(o->choices, &help);
    dv_str_add(&help, ".");
    if (o->otherwise)
        dv_str_addf(&help, " Default: %s.", o->otherwise);
    if (o->env)
        dv_str_addf(&help, " Where it is not given, the environment's %s counts.", o->env);
    add_text(dv_str_get(&help), out);
}

static void add_verb(const struct dv_ui_program *program, const struct dv_ui_verb *verb,
                     struct dv_str *out)
{
    dv_str_addf(out, ".Ss %s %s\n", program->name, verb->name);
    dv_cleanup(dv_str_done) struct dv_str summary = {0};
    dv_str_addc(&summary, (char)toupper((unsigned char)verb->summary[0]));
    dv_str_addf(&summary, "%s.", verb->summary + 1);
    add_text(dv_str_get(&summary), out);
    if (verb->details) {
        dv_str_add(out, ".Pp\n");
        add_text(verb->details, out);
    }
    if (verb->n_options) {
        dv_str_add(out, ".Bl -tag -width Ds\n");
        for (size_t i = 0; i < verb->n_options; i++)
            add_option(&verb->options[i], out);
        dv_str_add(out, ".El\n");
    }
}

static void add_entries(const char *heading, const struct dv_ui_entry *entries, const char *macro,
                        struct dv_str *out)
{
    if (!entries)
        return;
    dv_str_addf(out, ".Sh %s\n.Bl -tag -width Ds\n", heading);
    for (; entries->term; entries++) {
        dv_str_addf(out, ".It %s ", macro);
        add_text(entries->term, out);
        add_text(entries->text, out);
    }
    dv_str_add(out, ".El\n");
}

static void add_common(const struct dv_ui_program *program, struct dv_str *out)
{
    struct dv_ui_common common;
    struct dv_option_group groups[DV_UI_GROUPS_MAX];
    bool asks = false;
    for (size_t i = 0; i < program->n_verbs; i++)
        asks |= program->verbs[i]->asks_daemon;
    struct dv_ui_verb all = {.prints = true, .asks_daemon = asks};
    size_t n = dv_ui_groups(&all, &common, NULL, groups);
    dv_str_add(out, "Commands that print or ask have these options:\n.Bl -tag -width Ds\n");
    for (size_t g = 0; g < n; g++)
        for (size_t i = 0; i < groups[g].n; i++)
            add_option(&groups[g].options[i], out);
    dv_str_add(out, ".El\n");
}

static void add_examples(const struct dv_ui_program *program, struct dv_str *out)
{
    dv_str_add(out, ".Sh EXAMPLES\n");
    for (size_t i = 0; i < program->n_verbs; i++)
        for (size_t k = 0; k < program->verbs[i]->n_examples; k++) {
            const struct dv_ui_example *e = &program->verbs[i]->examples[k];
            dv_cleanup(dv_str_done) struct dv_str what = {0};
            dv_str_addc(&what, (char)toupper((unsigned char)e->what[0]));
            dv_str_addf(&what, "%s:", e->what + 1);
            add_text(dv_str_get(&what), out);
            dv_str_add(out, ".Bd -literal -offset indent -compact\n");
            add_lines(e->command, true, out);
            dv_str_add(out, ".Ed\n.Pp\n");
        }
    /* A paragraph at the end of a section is none. */
    if (out->len > 4 && !strcmp(out->data + out->len - 4, ".Pp\n")) {
        out->len -= 4;
        out->data[out->len] = 0;
    }
}

void dv_man_write(const struct dv_ui_program *program, struct dv_str *text)
{
    dv_str_add(text, ".\\\" SPDX-License-Identifier: Apache-2.0\n"
                     ".\\\" Made from the tables of commands; do not edit.\n"
                     ".Dd $Mdocdate$\n.Dt ");
    add_upper(program->name, text);
    dv_str_addf(text, " 1\n.Os\n.Sh NAME\n.Nm %s\n.Nd %s\n", program->name, program->summary);
    dv_str_add(text, ".Sh SYNOPSIS\n");
    for (size_t i = 0; i < program->n_verbs; i++) {
        const struct dv_ui_verb *verb = program->verbs[i];
        dv_str_addf(text, ".Nm\n.Cm %s\n.Op Ar option ...\n", verb->name);
        if (verb->args) {
            dv_str_add(text, ".Ar ");
            add_text(verb->args, text);
        }
    }
    dv_str_add(text, ".Sh DESCRIPTION\n");
    add_text(program->details, text);
    dv_str_add(text, ".Pp\n");
    add_common(program, text);
    for (size_t i = 0; i < program->n_verbs; i++)
        add_verb(program, program->verbs[i], text);
    add_entries("ENVIRONMENT", program->environment, "Ev", text);
    add_entries("FILES", program->files, "Pa", text);
    add_entries("EXIT STATUS", program->exit_status, "Cm", text);
    add_examples(program, text);
    if (!program->see_also)
        return;
    dv_str_add(text, ".Sh SEE ALSO\n");
    for (const struct dv_ui_entry *e = program->see_also; e->term; e++)
        dv_str_addf(text, ".Xr %s %s%s\n", e->term, e->text, e[1].term ? " ," : "");
}
