/* SPDX-License-Identifier: Apache-2.0 */
#include "ui.h"

#include "render/csv.h"
#include "render/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERBS_MAX 64

static const struct dv_option help_option[] = {
    {"help", 'h', NULL, "explain this command", DV_OPTION_FLAG,
     offsetof(struct dv_ui_common, help)},
};
static const struct dv_option format_option[] = {
    {"output", 'o', "FORMAT", "how to print: table, json or csv", DV_OPTION_CHOICE,
     offsetof(struct dv_ui_common, format), .choices = "table|json|csv", .otherwise = "table"},
};
static const struct dv_option socket_option[] = {
    {"socket", 0, "PATH", "the daemon's socket", DV_OPTION_TEXT,
     offsetof(struct dv_ui_common, socket)},
};

size_t dv_ui_groups(const struct dv_ui_verb *verb, struct dv_ui_common *common, void *values,
                    struct dv_option_group groups[DV_UI_GROUPS_MAX])
{
    size_t n = 0;
    if (verb->n_options)
        groups[n++] = (struct dv_option_group){verb->options, verb->n_options, values};
    if (verb->prints)
        groups[n++] = (struct dv_option_group){format_option, 1, common};
    if (verb->asks_daemon)
        groups[n++] = (struct dv_option_group){socket_option, 1, common};
    groups[n++] = (struct dv_option_group){help_option, 1, common};
    return n;
}

/* ---- output --------------------------------------------------------------------------------- */

static int cannot_write(int error)
{
    fprintf(stderr, "%s: cannot write the output: %s\n", program_invocation_short_name,
            strerror(error));
    return DV_UI_FAILURE;
}

int dv_ui_print(const char *text)
{
    if (fputs(text, stdout) != EOF && fflush(stdout) != EOF)
        return DV_UI_OK;
    return cannot_write(errno);
}

/* For struct dv_str_sink; arg: an int for the errno. */
static int to_stdout(void *arg, const char *text, size_t len)
{
    int *ret_error = arg;
    if (fwrite(text, 1, len, stdout) == len && fflush(stdout) != EOF)
        return 0;
    *ret_error = errno ? errno : EIO;
    return -1;
}

int dv_ui_fail(const struct dv_ui *ui, int exit, const char *fmt, ...)
{
    char message[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    fprintf(stderr, "%s %s: %s\n", ui->program->name, ui->verb->name, message);
    return exit;
}

bool dv_ui_is(const struct dv_ui *ui, const char *format)
{
    return ui->format && !strcmp(ui->format, format);
}

int dv_ui_answer(const struct dv_ui *ui, struct dv_output *o, const struct dv_table *view,
                 const char *nothing, int exit)
{
    int error = 0;
    const struct dv_str_sink sink = {to_stdout, &error};
    dv_cleanup(dv_str_done) struct dv_str text = {.sink = &sink};
    int r;
    if (dv_ui_is(ui, "json"))
        r = dv_json_write(o, isatty(STDOUT_FILENO), &text);
    else if (dv_ui_is(ui, "csv"))
        r = dv_csv_write(view, o, &text);
    else
        r = dv_table_write(
            view, o, (struct dv_table_style){.colour = ui->colour, .nothing = nothing}, &text);
    if (r == 0)
        dv_str_flush(&text);
    if (error)
        return cannot_write(error);
    if (r < 0)
        return dv_ui_fail(ui, DV_UI_FAILURE, "cannot render the answer: %s", strerror(-r));
    return exit;
}

/* ---- dispatch ------------------------------------------------------------------------------- */

/* How many words of argv the verb's name takes; 0 when it is not called so. */
static int matches(const struct dv_ui_verb *verb, int argc, char **argv)
{
    size_t first = strcspn(verb->name, " ");
    if (argc < 1 || strlen(argv[0]) != first || strncmp(argv[0], verb->name, first) != 0)
        return 0;
    if (!verb->name[first])
        return 1;
    return argc > 1 && !strcmp(argv[1], verb->name + first + 1) ? 2 : 0;
}

const struct dv_ui_verb *dv_ui_find(const struct dv_ui_program *program, int argc, char **argv,
                                    int *ret_used)
{
    const struct dv_ui_verb *found = NULL;
    for (size_t i = 0; i < program->n_verbs; i++) {
        int used = matches(program->verbs[i], argc, argv);
        if (!used || (found && used <= *ret_used))
            continue; /* "baseline list" is more than "baseline" */
        *ret_used = used;
        found = program->verbs[i];
    }
    return found;
}

/* The second words of "mig plan", "mig profiles" when `group` is "mig"; else all first words. */
static size_t candidates(const struct dv_ui_program *program, const char *group,
                         const char *ret[VERBS_MAX])
{
    size_t n = 0;
    size_t len = group ? strlen(group) : 0;
    for (size_t i = 0; i < program->n_verbs && n < VERBS_MAX; i++) {
        const char *name = program->verbs[i]->name;
        if (!group)
            ret[n++] = name;
        else if (!strncmp(name, group, len) && name[len] == ' ')
            ret[n++] = name + len + 1;
    }
    return n;
}

int dv_ui_unknown(const struct dv_ui_program *program, const char *word)
{
    const char *names[VERBS_MAX];
    size_t n = candidates(program, NULL, names);
    const char *near = dv_str_nearest(word, names, n);
    if (near)
        fprintf(stderr, "%s: unknown command '%.60s'; did you mean '%s'?\n", program->name, word,
                near);
    else
        fprintf(stderr, "%s: unknown command '%.60s'; '%s help' lists them\n", program->name, word,
                program->name);
    return DV_UI_USAGE;
}

/* "divvy mig --help". */
static int print_group_help(const struct dv_ui_program *program, const char *group)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    dv_help_group(program, group, &text);
    return dv_ui_print(dv_str_get(&text));
}

/* "divvy mig", "divvy mig pln". */
static int unknown_in_group(const struct dv_ui_program *program, const char *group,
                            const char *word)
{
    const char *names[VERBS_MAX];
    size_t n = candidates(program, group, names);
    const char *near = word ? dv_str_nearest(word, names, n) : NULL;
    dv_cleanup(dv_str_done) struct dv_str list = {0};
    for (size_t i = 0; i < n; i++)
        dv_str_addf(&list, "%s%s", i ? ", " : "", names[i]);
    if (near)
        fprintf(stderr, "%s %s: unknown command '%.60s'; did you mean '%s'?\n", program->name,
                group, word, near);
    else if (word)
        fprintf(stderr, "%s %s: unknown command '%.60s'; there are: %s\n", program->name, group,
                word, dv_str_get(&list));
    else
        fprintf(stderr, "%s %s: say which: %s\n", program->name, group, dv_str_get(&list));
    return DV_UI_USAGE;
}

static int print_help(const struct dv_ui_program *program, const struct dv_ui_verb *verb)
{
    dv_cleanup(dv_str_done) struct dv_str text = {0};
    if (verb)
        dv_help_verb(program, verb, &text);
    else
        dv_help_program(program, &text);
    return dv_ui_print(dv_str_get(&text));
}

static int check_words(const struct dv_ui *ui)
{
    const struct dv_ui_verb *verb = ui->verb;
    if (ui->argc < verb->min_words)
        return dv_ui_fail(ui, DV_UI_USAGE, "%s is missing; '%s %s --help' explains",
                          verb->runs_command ? "the command" : verb->args, ui->program->name,
                          verb->name);
    if (verb->max_words >= 0 && ui->argc > verb->max_words)
        return dv_ui_fail(ui, DV_UI_USAGE, "unexpected '%.60s'; '%s %s --help' explains",
                          ui->argv[verb->max_words], ui->program->name, verb->name);
    return 0;
}

static bool wants_colour(void)
{
    const char *no = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && !(no && *no);
}

static int call(const struct dv_ui_program *program, const struct dv_ui_verb *verb,
                const char *socket, int argc, char **argv)
{
    struct dv_ui_common common = {.socket = socket};
    void *values = calloc(1, verb->values_size + 1);
    if (!values)
        return DV_UI_FAILURE;
    struct dv_ui ui = {
        .program = program, .verb = verb, .values = values, .argv = argv, .colour = wants_colour()};
    struct dv_option_group groups[DV_UI_GROUPS_MAX];
    size_t n = dv_ui_groups(verb, &common, values, groups);
    struct dv_err err = {{0}};
    int r = dv_option_parse(groups, n, verb->runs_command, argc, argv, &ui.argc, &err);
    argv[r < 0 ? argc : ui.argc] = NULL;
    ui.format = common.format;
    /* A default is the table's own text, a given value lies in argv. */
    ui.format_given = common.format && common.format != format_option[0].otherwise;
    ui.socket = common.socket;
    int exit = DV_UI_OK;
    if (r < 0)
        exit = dv_ui_fail(&ui, DV_UI_USAGE, "%s", err.msg);
    else if (common.help)
        exit = print_help(program, verb);
    else
        exit = check_words(&ui);
    if (r == 0 && !common.help && exit == DV_UI_OK)
        exit = verb->run(&ui);
    free(values);
    return exit;
}

/* "divvy --socket PATH status" is as good as "divvy status --socket PATH". Returns the words
 * taken, or -1 after saying what is wrong. */
static int leading_socket(const struct dv_ui_program *program, int argc, char **argv,
                          const char **ret_socket)
{
    if (argc < 2 || strncmp(argv[1], "--socket", 8) != 0)
        return 0;
    if (argv[1][8] == '=' && argv[1][9]) {
        *ret_socket = argv[1] + 9;
        return 1;
    }
    if (!argv[1][8] && argc > 2 && argv[2][0]) {
        *ret_socket = argv[2];
        return 2;
    }
    fprintf(stderr, "%s: option '--socket' needs a value (PATH)\n", program->name);
    return -1;
}

int dv_ui_main(const struct dv_ui_program *program, int argc, char **argv)
{
    const char *socket = NULL;
    int skip = leading_socket(program, argc, argv, &socket);
    if (skip < 0)
        return DV_UI_USAGE;
    argc -= 1 + skip;
    argv += 1 + skip;
    if (argc < 1) {
        dv_cleanup(dv_str_done) struct dv_str text = {0};
        dv_help_program(program, &text);
        fputs(dv_str_get(&text), stderr);
        return DV_UI_USAGE;
    }
    if (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h"))
        return print_help(program, NULL);
    if (!strcmp(argv[0], "--version") || !strcmp(argv[0], "-V")) {
        printf("%s %s\n", program->name, DV_VERSION);
        return dv_ui_print("");
    }
    int used = 0;
    const struct dv_ui_verb *verb = dv_ui_find(program, argc, argv, &used);
    if (verb)
        return call(program, verb, socket, argc - used, argv + used);
    const char *names[VERBS_MAX];
    bool group = argv[0][0] != '-' && candidates(program, argv[0], names);
    if (group && argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
        return print_group_help(program, argv[0]);
    if (group)
        return unknown_in_group(program, argv[0], argc > 1 ? argv[1] : NULL);
    return dv_ui_unknown(program, argv[0]);
}
