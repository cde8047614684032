/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct dv_simcli_verb *const verbs[] = {
    &dv_simcli_verb_run,    &dv_simcli_verb_start,  &dv_simcli_verb_stop,  &dv_simcli_verb_env,
    &dv_simcli_verb_status, &dv_simcli_verb_inject, &dv_simcli_verb_nodes, &dv_simcli_verb_show,
};

int dv_simcli_fail(int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fputs("divvy-sim: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return code;
}

/* ---- help ---- */

static void print_help(FILE *out)
{
    fputs("Usage: divvy-sim VERB [OPTION]...\n\n"
          "Simulated NVIDIA GPUs: runs programs, unchanged, on GPUs that are not there.\n\n"
          "Verbs:\n",
          out);
    for (size_t i = 0; i < DV_ARRAY_SIZE(verbs); i++)
        fprintf(out, "  %-8s %s\n", verbs[i]->name, verbs[i]->about);
    fputs("\nExample:\n"
          "  divvy-sim run dgx-a100 -- nvidia-smi\n\n"
          "'divvy-sim VERB --help' says more of a verb.\n",
          out);
}

static void print_verb_help(const struct dv_simcli_verb *v)
{
    printf("Usage: divvy-sim %s %s\n\n%s.\n", v->name, v->synopsis, v->about);
    if (v->more)
        printf("\n%s\n", v->more);
    fputs("\nOptions:\n", stdout);
    for (const struct dv_simcli_option *o = v->options; o->name; o++) {
        char left[64];

        snprintf(left, sizeof(left), "%s%s%s", o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        printf("  %-26s %s\n", left, o->help);
    }
    printf("  %-26s %s\n", "--help", "this text");
    printf("\nExamples:\n%s", v->examples);
}

/* ---- parsing ---- */

static int usage(const struct dv_simcli_verb *v, const char *fmt, ...) dv_printf(2, 3);

static int usage(const struct dv_simcli_verb *v, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return dv_simcli_fail(v->usage_exit ? v->usage_exit : DV_SIMCLI_USAGE,
                          "%s; see 'divvy-sim %s --help'", text, v->name);
}

static int unknown_option(const struct dv_simcli_verb *v, const char *given)
{
    const char *names[DV_ARRAY_SIZE(v->options)];
    const char *near;
    size_t n = 0;

    for (const struct dv_simcli_option *o = v->options; o->name; o++)
        names[n++] = o->name;
    near = dv_str_nearest(given, names, n);
    if (near)
        return usage(v, "unknown option '%.64s'; did you mean '%s'?", given, near);
    return usage(v, "unknown option '%.64s'", given);
}

/* One option; *at moves past its value. Returns 0 or an exit status. */
static int parse_option(const struct dv_simcli_verb *v, int argc, char **argv, int *at,
                        struct dv_simcli_args *args)
{
    const char *given = argv[*at];
    size_t len = strcspn(given, "=");

    for (size_t i = 0; v->options[i].name; i++) {
        const struct dv_simcli_option *o = &v->options[i];

        if (strlen(o->name) != len || strncmp(o->name, given, len) != 0)
            continue;
        if (!o->value && given[len])
            return usage(v, "%s takes no value", o->name);
        if (o->value && !given[len] && *at + 1 >= argc)
            return usage(v, "%s needs a value: %s", o->name, o->value);
        if (!o->value)
            args->option[i] = "";
        else
            args->option[i] = given[len] ? given + len + 1 : argv[++*at];
        return 0;
    }
    return unknown_option(v, given);
}

static int parse(const struct dv_simcli_verb *v, int argc, char **argv, struct dv_simcli_args *args)
{
    for (int i = 0; i < argc; i++) {
        int r = 0;

        if (v->takes_command && (!strcmp(argv[i], "--") || args->words == v->words_max)) {
            i += !strcmp(argv[i], "--");
            args->command = i < argc ? &argv[i] : NULL;
            break;
        }
        if (argv[i][0] == '-' && argv[i][1])
            r = parse_option(v, argc, argv, &i, args);
        else if (args->words < v->words_max)
            args->word[args->words++] = argv[i];
        else
            r = usage(v, "unexpected '%.64s'", argv[i]);
        if (r)
            return r;
    }
    if (args->words < v->words_min)
        return usage(v, "something is missing: divvy-sim %s %s", v->name, v->synopsis);
    if (v->takes_command && !args->command)
        return usage(v, "a command is missing: divvy-sim %s %s", v->name, v->synopsis);
    return 0;
}

static bool wants_help(const struct dv_simcli_verb *v, int argc, char **argv)
{
    for (int i = 0, words = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return true;
        words += argv[i][0] != '-';
        if (v->takes_command && words > v->words_max)
            return false; /* it is for the command */
    }
    return false;
}

static const struct dv_simcli_verb *find(const char *name)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(verbs); i++) {
        if (!strcmp(verbs[i]->name, name))
            return verbs[i];
    }
    return NULL;
}

static int unknown_verb(const char *given)
{
    const char *names[DV_ARRAY_SIZE(verbs)];
    const char *near;

    for (size_t i = 0; i < DV_ARRAY_SIZE(verbs); i++)
        names[i] = verbs[i]->name;
    near = dv_str_nearest(given, names, DV_ARRAY_SIZE(verbs));
    if (near)
        return dv_simcli_fail(DV_SIMCLI_USAGE, "unknown verb '%.64s'; did you mean '%s'?", given,
                              near);
    return dv_simcli_fail(DV_SIMCLI_USAGE, "unknown verb '%.64s'; see 'divvy-sim --help'", given);
}

int dv_simcli_main(int argc, char **argv)
{
    const struct dv_simcli_verb *v;
    struct dv_simcli_args args = {0};
    int r;

    if (argc < 2) {
        print_help(stderr);
        return DV_SIMCLI_USAGE;
    }
    if (!strcmp(argv[1], "--version")) {
        puts("divvy-sim " DV_VERSION);
        return DV_SIMCLI_OK;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        v = argc > 2 ? find(argv[2]) : NULL;
        if (v)
            print_verb_help(v);
        else
            print_help(stdout);
        return DV_SIMCLI_OK;
    }
    v = find(argv[1]);
    if (!v)
        return unknown_verb(argv[1]);
    if (wants_help(v, argc - 2, argv + 2)) {
        print_verb_help(v);
        return DV_SIMCLI_OK;
    }
    r = parse(v, argc - 2, argv + 2, &args);
    return r ? r : v->run(&args);
}
