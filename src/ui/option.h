/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of a command line, described by a table. The same table makes the parser, the help, the
 * man page and the completions, so that these cannot disagree.
 *
 *     struct values { uint64_t memory; const char *tenant; bool watch; };
 *     static const struct dv_option options[] = {
 *         {"memory", 'm', "SIZE", "memory of the slice", DV_OPTION_BYTES,
 *          offsetof(struct values, memory)},
 *     };
 *     struct dv_option_group groups[] = {{options, DV_ARRAY_SIZE(options), &values}};
 *     r = dv_option_parse(groups, 1, false, argc, argv, &n_words, &err);
 *
 * An option that is not given takes its environment variable's value, where it has one that is
 * set; a FLAG's is "true", "1", "yes" or their opposites.
 *
 * "--memory 1GiB", "--memory=1GiB", "-m 1GiB" and "-m1GiB" are the same; "--" ends the options;
 * the last of repeated options counts. Unknown names are errors with a suggestion.
 */
#ifndef DV_UI_OPTION_H
#define DV_UI_OPTION_H

#include "base/err.h"

#include <stdbool.h>

enum dv_option_type {
    DV_OPTION_FLAG,     /* bool */
    DV_OPTION_TEXT,     /* const char *, into argv; not empty, no control characters */
    DV_OPTION_CHOICE,   /* const char *, one of the words in `choices`, separated by '|' */
    DV_OPTION_BYTES,    /* uint64_t, as dv_units_parse_bytes */
    DV_OPTION_COMPUTE,  /* uint32_t, as dv_units_parse_compute */
    DV_OPTION_DURATION, /* uint64_t nanoseconds, as dv_units_parse_duration; min and max apply */
    DV_OPTION_INTEGER,  /* int64_t in [min, max] */
    DV_OPTION_MILLI,    /* uint64_t thousandths of a decimal number, in [min, max] thousandths */
};

struct dv_option {
    const char *name; /* without "--" */
    char letter;      /* 0: none */
    const char *arg;  /* what the help calls the value; NULL for a FLAG */
    const char *help; /* one line, no full stop */
    enum dv_option_type type;
    size_t offset; /* of the value in the group's values */
    int64_t min, max;
    const char *choices;
    const char *otherwise; /* the default, parsed like a value and shown in the help; or NULL */
    const char *env;       /* where it is set and not empty, its value comes before the default */
};

struct dv_option_group {
    const struct dv_option *options;
    size_t n;
    void *values;
};

/* Sets the defaults, then the options. Words that are no options are moved to the front of argv in
 * their order. stop_at_word: the first word ends the options (what follows is a command).
 * 0; -EINVAL or -ERANGE with one line in err. */
int dv_option_parse(const struct dv_option_group *groups, size_t n_groups, bool stop_at_word,
                    int argc, char **argv, int *ret_words, struct dv_err *err);

#endif
