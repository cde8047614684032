/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of divvy-sim. A verb is one struct dv_simcli_verb in a file of its own
 * (verb_NAME.c) and one line in cli.c's table: help, usage errors and option parsing come from it.
 *
 * Exit codes: 0 ok, 1 failure, 2 usage, 5 no server there; `run` has env(1)'s (see verb_run.c).
 */
#ifndef DV_SIM_CLI_CLI_H
#define DV_SIM_CLI_CLI_H

#include "abi_sim.h"
#include "base/err.h"

#include <stdbool.h>

enum dv_simcli_exit {
    DV_SIMCLI_OK = 0,
    DV_SIMCLI_FAILED = 1,
    DV_SIMCLI_USAGE = 2,
    DV_SIMCLI_UNAVAILABLE = 5,
    DV_SIMCLI_RUN_FAILED = 125,
    DV_SIMCLI_NOT_EXECUTABLE = 126,
    DV_SIMCLI_NOT_FOUND = 127,
};

#define DV_SIMCLI_WORDS_MAX 4

struct dv_simcli_option {
    const char *name;  /* "--socket" */
    const char *value; /* what the value is called in help; NULL = a switch */
    const char *help;
};

/* What was given, in the order of the verb's options. */
struct dv_simcli_args {
    const char *option[14]; /* NULL = not given; a switch that is given is "" */
    const char *word[DV_SIMCLI_WORDS_MAX];
    int words;
    char **command; /* `takes_command`: argv of what follows; NULL = nothing */
};

struct dv_simcli_verb {
    const char *name;
    const char *synopsis; /* what follows the name */
    const char *about;    /* one line */
    const char *more;     /* paragraphs of --help, may be NULL */
    const char *examples; /* indented lines of --help */
    struct dv_simcli_option options[14];
    int words_min, words_max;
    bool takes_command; /* the words after the first `words_max`, or after "--", are a command */
    int usage_exit;     /* 0 = DV_SIMCLI_USAGE */
    int (*run)(const struct dv_simcli_args *args);
};

extern const struct dv_simcli_verb dv_simcli_verb_run, dv_simcli_verb_start, dv_simcli_verb_stop,
    dv_simcli_verb_env, dv_simcli_verb_status, dv_simcli_verb_inject, dv_simcli_verb_nodes,
    dv_simcli_verb_show;

/* The whole program. Returns its exit status. */
int dv_simcli_main(int argc, char **argv);

/* "divvy-sim: " and the message on stderr; returns code. */
int dv_simcli_fail(int code, const char *fmt, ...) dv_printf(2, 3);

/* ---- paths.c ---- */

#define DV_SIMCLI_PATH 4096

/* Where the simulated driver's libraries are: $DIVVY_LIBDIR, else BIN/../lib/divvy. 0 or negative
 * errno. */
int dv_simcli_libdir(char ret[DV_SIMCLI_PATH]);
/* --socket's value, else $DIVVY_SIM_SOCKET, else one in the user's runtime directory (made if need
 * be). */
int dv_simcli_socket(const char *given, char ret[DV_SIMCLI_PATH], struct dv_err *err);

/* The variables in which a program sees the node; values malloc'd by dv_simcli_env_fill. */
struct dv_simcli_env {
    struct {
        const char *name;
        char *value;
    } var[3];
};
int dv_simcli_env_fill(const char *socket, struct dv_simcli_env *ret, struct dv_err *err);
void dv_simcli_env_done(struct dv_simcli_env *env);

/* ---- control.c: a control connection ---- */

/* Connects and says hello. Returns the descriptor, or negative errno with a message. */
int dv_simcli_connect(const char *socket, struct dv_err *err);
/* One request; *ret_size says how much room `ret` has and gets what came. Returns the server's
 * status (0 or negative errno), or -EPROTO. */
int dv_simcli_request(int fd, uint16_t op, const void *data, uint32_t size, void *ret,
                      uint32_t *ret_size);

/* ---- serve.c ---- */

struct dv_nodespec;

struct dv_simcli_serve {
    const struct dv_nodespec *spec;
    const char *socket;
    int ready_fd;  /* a newline is written there when clients may connect; -1 = none */
    int parent_fd; /* the server ends when this hangs up; -1 = none */
    bool signals;
};
/* Runs a server in this process until it is told to stop. An error at the start is said on stderr
 * and, one line, to ready_fd. Returns an exit status. */
int dv_simcli_serve(const struct dv_simcli_serve *o);
/* Starts one in a child of its own session and waits until it is ready. Returns 0 and the pid, or
 * negative errno with a message. It ends when *ret_lifeline is closed (if not NULL). */
int dv_simcli_spawn(const struct dv_nodespec *spec, const char *socket, int *ret_lifeline,
                    int *ret_pid, struct dv_err *err);

#endif
