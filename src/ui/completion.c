/* SPDX-License-Identifier: Apache-2.0 */
/* Completions for bash, zsh and fish, from the same tables as the parser. */
#include "ui.h"

#include <errno.h>
#include <string.h>

/* Each option of a verb, with what it has in common with others. */
static void each_option(const struct dv_ui_verb *verb,
                        void (*visit)(const struct dv_option *o, const struct dv_ui_verb *verb,
                                      struct dv_str *out),
                        struct dv_str *out)
{
    struct dv_ui_common common;
    struct dv_option_group groups[DV_UI_GROUPS_MAX];
    size_t n = dv_ui_groups(verb, &common, NULL, groups);
    for (size_t g = 0; g < n; g++)
        for (size_t i = 0; i < groups[g].n; i++)
            visit(&groups[g].options[i], verb, out);
}

/* What a shell can complete by itself. */
static bool is_file(const char *arg)
{
    return arg && (!strcmp(arg, "PATH") || !strcmp(arg, "FILE"));
}

/* The program's name as part of a shell function's name. */
static void add_identifier(const char *p, struct dv_str *out)
{
    for (; *p; p++)
        dv_str_addc(out, *p == '-' || *p == ' ' ? '_' : *p);
}

static void add_words(const char *choices, struct dv_str *out)
{
    for (; *choices; choices++)
        dv_str_addc(out, *choices == '|' ? ' ' : *choices);
}

/* First words of the verbs, each once; or the second words below `group`. */
static void add_verbs(const struct dv_ui_program *program, const char *group, struct dv_str *out)
{
    const char *last = "";
    size_t last_len = 0;
    for (size_t i = 0; i < program->n_verbs; i++) {
        const char *name = program->verbs[i]->name;
        size_t len = strcspn(name, " ");
        if (group && (strncmp(name, group, strlen(group)) != 0 || !name[len]))
            continue;
        if (group)
            dv_str_addf(out, " %s", name + len + 1);
        else if (len != last_len || strncmp(name, last, len) != 0)
            dv_str_addf(out, " %.*s", (int)len, name);
        last = name;
        last_len = len;
    }
}

/* Calls visit with each first word that has second words. */
static void each_group(const struct dv_ui_program *program,
                       void (*visit)(const struct dv_ui_program *program, const char *group,
                                     struct dv_str *out),
                       struct dv_str *out)
{
    for (size_t i = 0; i < program->n_verbs; i++) {
        const char *name = program->verbs[i]->name;
        size_t len = strcspn(name, " ");
        char group[32] = "";
        if (!name[len] || len >= sizeof group ||
            (i && !strncmp(program->verbs[i - 1]->name, name, len + 1)))
            continue;
        memcpy(group, name, len);
        visit(program, group, out);
    }
}

/* ---- bash ----------------------------------------------------------------------------------- */

static void bash_option(const struct dv_option *o, const struct dv_ui_verb *verb,
                        struct dv_str *out)
{
    dv_str_addf(out, " --%s", o->name);
    if (o->letter)
        dv_str_addf(out, " -%c", o->letter);
}

static void bash_choice(const struct dv_option *o, const struct dv_ui_verb *verb,
                        struct dv_str *out)
{
    if (!o->choices && !is_file(o->arg))
        return;
    dv_str_addf(out, "        '%s:--%s'", verb->name, o->name);
    if (o->letter)
        dv_str_addf(out, "|'%s:-%c'", verb->name, o->letter);
    if (!o->choices) {
        dv_str_add(out, ") return ;;\n"); /* bash's own completion of files */
        return;
    }
    dv_str_add(out, ") COMPREPLY=($(compgen -W '");
    add_words(o->choices, out);
    dv_str_add(out, "' -- \"$cur\")); return ;;\n");
}

static void bash_group_verb(const struct dv_ui_program *program, const char *group,
                            struct dv_str *out)
{
    dv_str_addf(out, "        %s) verb=\"%s ${COMP_WORDS[2]}\" at=2 ;;\n", group, group);
}

static void bash_group_words(const struct dv_ui_program *program, const char *group,
                             struct dv_str *out)
{
    dv_str_addf(out, "            %s) COMPREPLY=($(compgen -W '", group);
    add_verbs(program, group, out);
    dv_str_add(out, "' -- \"$cur\")) ;;\n");
}

static void write_bash(const struct dv_ui_program *program, struct dv_str *out)
{
    dv_str_addf(out, "# bash completion of %s; made by '%s completion bash'\n_", program->name,
                program->name);
    add_identifier(program->name, out);
    dv_str_add(out, "()\n{\n"
                    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                    "    local verb=${COMP_WORDS[1]} at=1\n"
                    "    COMPREPLY=()\n"
                    "    case $verb in\n");
    each_group(program, bash_group_verb, out);
    dv_str_add(out, "    esac\n    if (( COMP_CWORD == 1 )); then\n"
                    "        COMPREPLY=($(compgen -W '");
    add_verbs(program, NULL, out);
    dv_str_add(out, " --help --version' -- \"$cur\")); return\n    fi\n");
    dv_str_add(out, "    if (( COMP_CWORD == 2 && at == 2 )); then\n"
                    "        case ${COMP_WORDS[1]} in\n");
    each_group(program, bash_group_words, out);
    dv_str_add(out, "            *) ;;\n        esac\n        return\n    fi\n"
                    "    case \"$verb:$prev\" in\n");
    for (size_t i = 0; i < program->n_verbs; i++)
        each_option(program->verbs[i], bash_choice, out);
    dv_str_add(out, "        *) ;;\n    esac\n    case $verb in\n");
    for (size_t i = 0; i < program->n_verbs; i++) {
        dv_str_addf(out, "        '%s') ", program->verbs[i]->name);
        if (is_file(program->verbs[i]->args))
            dv_str_add(out, "[[ $cur == -* ]] || return; ");
        dv_str_add(out, "COMPREPLY=($(compgen -W '");
        each_option(program->verbs[i], bash_option, out);
        dv_str_addf(out, "' -- \"$cur\")) ;;\n");
    }
    dv_str_add(out, "        *) ;;\n    esac\n}\ncomplete -o default -F _");
    add_identifier(program->name, out);
    dv_str_addf(out, " %s\n", program->name);
}

/* ---- zsh ------------------------------------------------------------------------------------ */

static void add_zsh_text(const char *p, struct dv_str *out)
{
    for (; *p; p++) {
        if (strchr("[]:\\", *p))
            dv_str_addc(out, '\\');
        if (*p == '\'')
            dv_str_add(out, "'\\''");
        else
            dv_str_addc(out, *p);
    }
}

static void zsh_one(const struct dv_option *o, const char *name, struct dv_str *out)
{
    dv_str_addf(out, " \\\n            '%s", name);
    if (o->arg && name[1] == '-')
        dv_str_addc(out, '=');
    dv_str_addc(out, '[');
    add_zsh_text(o->help, out);
    dv_str_addc(out, ']');
    if (o->arg) {
        dv_str_addf(out, ":%s:", o->arg);
        if (o->choices) {
            dv_str_addc(out, '(');
            add_words(o->choices, out);
            dv_str_addc(out, ')');
        } else if (is_file(o->arg)) {
            dv_str_add(out, "_files");
        }
    }
    dv_str_addc(out, '\'');
}

static void zsh_option(const struct dv_option *o, const struct dv_ui_verb *verb, struct dv_str *out)
{
    char name[64] = "--";
    char letter[3] = {'-', o->letter, 0};
    if (dv_str_copy(name + 2, sizeof name - 2, o->name) == 0)
        zsh_one(o, name, out);
    if (o->letter)
        zsh_one(o, letter, out);
}

/* "name:summary" of the verbs of one word, or of the second words below `group`. */
static void zsh_verbs(const struct dv_ui_program *program, const char *group, struct dv_str *out)
{
    size_t group_len = group ? strlen(group) : 0;
    for (size_t i = 0; i < program->n_verbs; i++) {
        const struct dv_ui_verb *verb = program->verbs[i];
        size_t len = strcspn(verb->name, " ");
        bool below = verb->name[len] != 0;
        if (group ? !below || len != group_len || strncmp(verb->name, group, len) != 0 : below)
            continue;
        dv_str_add(out, " '");
        add_zsh_text(verb->name + (group ? len + 1 : 0), out);
        dv_str_addc(out, ':');
        add_zsh_text(verb->summary, out);
        dv_str_addc(out, '\'');
    }
}

static void zsh_group_word(const struct dv_ui_program *program, const char *group,
                           struct dv_str *out)
{
    dv_str_addf(out, " '%s:", group);
    add_verbs(program, group, out);
    dv_str_addc(out, '\'');
}

static void zsh_group(const struct dv_ui_program *program, const char *group, struct dv_str *out)
{
    dv_str_addf(out, "        %s)\n            verbs=(", group);
    zsh_verbs(program, group, out);
    dv_str_addf(out,
                ")\n            if (( CURRENT == 3 )); then\n"
                "                _describe command verbs\n                return\n"
                "            fi\n            verb=\"%s $words[3]\" skip=2 ;;\n",
                group);
}

static void write_zsh(const struct dv_ui_program *program, struct dv_str *out)
{
    dv_str_addf(out, "#compdef %s\n# zsh completion of %s; made by '%s completion zsh'\n_",
                program->name, program->name, program->name);
    add_identifier(program->name, out);
    dv_str_add(out, "() {\n    local -a verbs\n    verbs=(");
    zsh_verbs(program, NULL, out);
    each_group(program, zsh_group_word, out);
    dv_str_add(out, ")\n    if (( CURRENT == 2 )); then\n"
                    "        _describe command verbs\n        return\n    fi\n"
                    "    local verb=$words[2] skip=1\n    case $verb in\n");
    each_group(program, zsh_group, out);
    dv_str_add(out, "        *) ;;\n    esac\n    shift $skip words\n    (( CURRENT -= skip ))\n"
                    "    case $verb in\n");
    for (size_t i = 0; i < program->n_verbs; i++) {
        const struct dv_ui_verb *verb = program->verbs[i];
        dv_str_addf(out, "        '%s') _arguments -s", verb->name);
        each_option(verb, zsh_option, out);
        dv_str_addf(out, " \\\n            '%s' ;;\n",
                    verb->runs_command    ? "*::command:_normal"
                    : is_file(verb->args) ? "*:file:_files"
                                          : "*:word:_default");
    }
    dv_str_add(out, "    esac\n}\n_");
    add_identifier(program->name, out);
    dv_str_add(out, " \"$@\"\n");
}

/* ---- fish ----------------------------------------------------------------------------------- */

static void add_fish_text(const char *p, struct dv_str *out)
{
    dv_str_addc(out, '\'');
    for (; *p; p++) {
        if (*p == '\'' || *p == '\\')
            dv_str_addc(out, '\\');
        dv_str_addc(out, *p);
    }
    dv_str_addc(out, '\'');
}

static void fish_condition(const char *program, const char *name, struct dv_str *out)
{
    size_t len = strcspn(name, " ");
    dv_str_addf(out, "complete -c %s -n '__fish_seen_subcommand_from %.*s", program, (int)len,
                name);
    if (name[len])
        dv_str_addf(out, "; and __fish_seen_subcommand_from %s", name + len + 1);
    dv_str_addc(out, '\'');
}

static void fish_option(const struct dv_option *o, struct dv_str *out)
{
    dv_str_addf(out, " -l %s", o->name);
    if (o->letter)
        dv_str_addf(out, " -s %c", o->letter);
    if (o->choices) {
        dv_str_add(out, " -x -a '");
        add_words(o->choices, out);
        dv_str_addc(out, '\'');
    } else if (o->arg) {
        dv_str_add(out, is_file(o->arg) ? " -r -F" : " -x");
    }
    dv_str_add(out, " -d ");
    add_fish_text(o->help, out);
    dv_str_addc(out, '\n');
}

static void write_fish(const struct dv_ui_program *program, struct dv_str *out)
{
    dv_str_addf(out, "# fish completion of %s; made by '%s completion fish'\ncomplete -c %s -f\n",
                program->name, program->name, program->name);
    for (size_t i = 0; i < program->n_verbs; i++) {
        const struct dv_ui_verb *verb = program->verbs[i];
        size_t len = strcspn(verb->name, " ");
        bool group = verb->name[len] != 0;
        dv_str_addf(out, "complete -c %s -n ", program->name);
        if (group)
            dv_str_addf(out, "'__fish_seen_subcommand_from %.*s' -a %s", (int)len, verb->name,
                        verb->name + len + 1);
        else
            dv_str_addf(out, "__fish_use_subcommand -a %s", verb->name);
        dv_str_add(out, " -d ");
        add_fish_text(verb->summary, out);
        dv_str_addc(out, '\n');
        if (group && !(i && !strncmp(program->verbs[i - 1]->name, verb->name, len + 1)))
            dv_str_addf(out, "complete -c %s -n __fish_use_subcommand -a %.*s\n", program->name,
                        (int)len, verb->name);
        if (is_file(verb->args)) {
            fish_condition(program->name, verb->name, out);
            dv_str_add(out, " -F\n");
        }
        struct dv_ui_common common;
        struct dv_option_group groups[DV_UI_GROUPS_MAX];
        size_t n = dv_ui_groups(verb, &common, NULL, groups);
        for (size_t g = 0; g < n; g++)
            for (size_t k = 0; k < groups[g].n; k++) {
                fish_condition(program->name, verb->name, out);
                fish_option(&groups[g].options[k], out);
            }
    }
}

int dv_completion_write(const struct dv_ui_program *program, const char *shell, struct dv_str *text)
{
    if (!strcmp(shell, "bash"))
        write_bash(program, text);
    else if (!strcmp(shell, "zsh"))
        write_zsh(program, text);
    else if (!strcmp(shell, "fish"))
        write_fish(program, text);
    else
        return -EINVAL;
    return 0;
}
