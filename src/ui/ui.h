/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program made of verbs: what it can be asked, how it answers, how it ends. `divvy` and
 * `divvy-load` are two tables of verbs over this; a new verb is a file verb_NAME.c with one
 * struct dv_ui_verb, and its line in the program's table (divvy.c).
 *
 * A verb describes its answer as a tree (render/output.h) and hands it to dv_ui_answer, which
 * prints it as -o asks. Data goes to stdout, the rest to stderr. One line per error.
 */
#ifndef DV_UI_UI_H
#define DV_UI_UI_H

#include "base/str.h"
#include "option.h"
#include "render/table.h"

/* How a program ends. `run` has its own, below. */
enum dv_ui_exit {
    DV_UI_OK = 0,
    DV_UI_FAILURE = 1,
    DV_UI_USAGE = 2,
    DV_UI_PROBLEMS = 3, /* found problems, or infeasible */
    DV_UI_PERMISSION = 4,
    DV_UI_UNAVAILABLE = 5,
};

enum dv_ui_run_exit {
    DV_UI_RUN_TIMED_OUT = 124,
    DV_UI_RUN_FAILED = 125,
    DV_UI_RUN_CANNOT_EXECUTE = 126,
    DV_UI_RUN_NOT_FOUND = 127,
    DV_UI_RUN_SIGNAL = 128, /* + the signal's number */
};

struct dv_ui_program;

/* One call of a verb. Everything is borrowed. */
struct dv_ui {
    const struct dv_ui_program *program;
    const struct dv_ui_verb *verb;
    const char *format; /* table, json, csv */
    bool format_given;  /* by -o, not by default */
    const char *socket; /* of the daemon; NULL: the default */
    const void *values; /* the verb's options, a struct of its own */
    int argc;           /* words that are no options */
    char **argv;        /* ends with NULL */
    bool colour;        /* stdout is a terminal and NO_COLOR is not set */
};

struct dv_ui_example {
    const char *what;
    const char *command;
};

struct dv_ui_entry {
    const char *term, *text;
};

struct dv_ui_verb {
    const char *name;    /* one word, or two: "mig plan" */
    const char *args;    /* of the synopsis; NULL: none */
    const char *summary; /* one line, no full stop */
    const char *details; /* paragraphs separated by an empty line */
    const struct dv_option *options;
    size_t n_options;
    size_t values_size;
    const struct dv_ui_example *examples;
    size_t n_examples;
    int min_words, max_words;           /* checked before the call; max -1: any number */
    bool prints;                        /* takes -o */
    bool json_default;                  /* of a program for scripts */
    bool asks_daemon;                   /* takes --socket */
    bool runs_command;                  /* the first word ends the options */
    int (*run)(const struct dv_ui *ui); /* returns the exit status */
};

struct dv_ui_program {
    const char *name;
    const char *summary;
    const char *details;
    const struct dv_ui_verb *const *verbs; /* in the order of the help */
    size_t n_verbs;
    /* For the manual page; each list ends with an empty entry. */
    const struct dv_ui_entry *environment, *files, *exit_status;
    const struct dv_ui_entry *see_also; /* name, section */
};

/* Parses, dispatches, returns the exit status of the process. */
int dv_ui_main(const struct dv_ui_program *program, int argc, char **argv);

/* The verb called so (one or two words of argv), or NULL. *ret_used: how many words it took. */
const struct dv_ui_verb *dv_ui_find(const struct dv_ui_program *program, int argc, char **argv,
                                    int *ret_used);
/* "unknown command 'statsu'; did you mean 'status'?" on stderr. */
int dv_ui_unknown(const struct dv_ui_program *program, const char *word);

/* Prints the answer as -o asks, while it is being rendered: JSON of the tree, or the views one
 * after the other (CSV: the first only). A table's `nothing` may be set in style. Returns the exit
 * status: `exit`, or DV_UI_FAILURE when it could not be written. */
int dv_ui_answer(const struct dv_ui *ui, struct dv_output *o, const struct dv_table *view,
                 const char *nothing, int exit);
/* Text for stdout, written whole; 0 or DV_UI_FAILURE (said on stderr). */
int dv_ui_print(const char *text);
/* "divvy VERB: message" on stderr; returns exit. */
int dv_ui_fail(const struct dv_ui *ui, int exit, const char *fmt, ...) dv_printf(3, 4);
bool dv_ui_is(const struct dv_ui *ui, const char *format);

/* ---- made from the tables ------------------------------------------------------------------- */

/* Options that every verb has (--help), or those that print (-o) or ask the daemon (--socket). */
struct dv_ui_common {
    bool help;
    const char *format;
    const char *socket;
};
/* The verb's own options, then what it has in common with others; returns how many groups. */
#define DV_UI_GROUPS_MAX 4
size_t dv_ui_groups(const struct dv_ui_verb *verb, struct dv_ui_common *common, void *values,
                    struct dv_option_group groups[DV_UI_GROUPS_MAX]);

void dv_help_program(const struct dv_ui_program *program, struct dv_str *text);
/* The commands of a group ("mig"); false, and nothing said, when there is no such group. */
bool dv_help_group(const struct dv_ui_program *program, const char *group, struct dv_str *text);
void dv_help_verb(const struct dv_ui_program *program, const struct dv_ui_verb *verb,
                  struct dv_str *text);
/* " (a, b, c)" of "a|b|c". */
void dv_help_choices(const char *choices, struct dv_str *text);
/* The manual page of the whole program, mdoc(7). */
void dv_man_write(const struct dv_ui_program *program, struct dv_str *text);
/* shell: bash, zsh, fish. -EINVAL for another. */
int dv_completion_write(const struct dv_ui_program *program, const char *shell,
                        struct dv_str *text);

/* Verbs that both programs have. */
extern const struct dv_ui_verb dv_verb_help, dv_verb_completion;

#endif
