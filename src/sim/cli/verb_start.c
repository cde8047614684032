/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"
#include "cli/cli.h"
#include "server/nodespec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SOCKET, FOREGROUND, PID_FILE, READY_FD, LIFELINE_FD };

static int write_pid(const char *path, pid_t pid)
{
    FILE *f = fopen(path, "we");

    if (!f)
        return dv_simcli_fail(DV_SIMCLI_FAILED, "%s: %s", path, strerror(errno));
    fprintf(f, "%d\n", (int)pid);
    if (fclose(f) != 0)
        return dv_simcli_fail(DV_SIMCLI_FAILED, "%s: %s", path, strerror(errno));
    return 0;
}

/* A descriptor that the caller left open for this process. */
static int inherited(const struct dv_simcli_args *args, int option, const char *name, int *ret)
{
    struct dv_err err = {0};
    int64_t fd;

    if (!args->option[option])
        return 0;
    if (dv_units_parse_integer(args->option[option], name, 3, 1023, &fd, &err) < 0)
        return dv_simcli_fail(DV_SIMCLI_USAGE, "%s", err.msg);
    if (fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0)
        return dv_simcli_fail(DV_SIMCLI_USAGE, "%s %d: no such descriptor", name, (int)fd);
    *ret = (int)fd;
    return 0;
}

static int foreground(const struct dv_simcli_args *args, const struct dv_nodespec *spec,
                      const char *socket)
{
    struct dv_simcli_serve o = {
        .spec = spec, .socket = socket, .ready_fd = -1, .parent_fd = -1, .signals = true};
    int r = inherited(args, READY_FD, "--ready-fd", &o.ready_fd);

    if (r == 0)
        r = inherited(args, LIFELINE_FD, "--lifeline-fd", &o.parent_fd);
    if (r == 0 && args->option[PID_FILE])
        r = write_pid(args->option[PID_FILE], getpid());
    if (r)
        return r;
    r = dv_simcli_serve(&o);
    if (args->option[PID_FILE])
        unlink(args->option[PID_FILE]);
    return r;
}

static int background(const struct dv_simcli_args *args, const struct dv_nodespec *spec,
                      const char *socket)
{
    struct dv_err err = {0};
    char absolute[DV_SIMCLI_PATH];
    int pid;

    /* The server leaves this directory. */
    if (socket[0] != '/') {
        char here[2048];

        if (!getcwd(here, sizeof(here)))
            return dv_simcli_fail(DV_SIMCLI_FAILED, "%s", strerror(errno));
        if (snprintf(absolute, sizeof(absolute), "%s/%.1024s", here, socket) >=
            (int)sizeof(absolute))
            return dv_simcli_fail(DV_SIMCLI_FAILED, "the socket's path is too long");
        socket = absolute;
    }
    if (args->option[READY_FD] || args->option[LIFELINE_FD])
        return dv_simcli_fail(DV_SIMCLI_USAGE, "--ready-fd and --lifeline-fd go with --foreground");
    if (dv_simcli_spawn(spec, socket, NULL, &pid, &err) < 0)
        return dv_simcli_fail(DV_SIMCLI_FAILED, "%s", err.msg);
    if (args->option[PID_FILE] && write_pid(args->option[PID_FILE], pid)) {
        kill(pid, SIGTERM);
        return DV_SIMCLI_FAILED;
    }
    fprintf(stderr, "divvy-sim: node %s is up, process %d; to use it:\n", spec->name, pid);
    printf("eval \"$(divvy-sim env --socket %s)\"\n", socket);
    return DV_SIMCLI_OK;
}

static int start_verb(const struct dv_simcli_args *args)
{
    struct dv_nodespec *spec = malloc(sizeof(*spec));
    char socket[DV_SIMCLI_PATH];
    struct dv_err err = {0};
    int r;

    if (!spec)
        return dv_simcli_fail(DV_SIMCLI_FAILED, "out of memory");
    if (dv_nodespec_load(args->word[0], spec, &err) < 0)
        r = dv_simcli_fail(DV_SIMCLI_USAGE, "%s", err.msg);
    else if (dv_simcli_socket(args->option[SOCKET], socket, &err) < 0)
        r = dv_simcli_fail(DV_SIMCLI_FAILED, "%s", err.msg);
    else
        r = args->option[FOREGROUND] ? foreground(args, spec, socket)
                                     : background(args, spec, socket);
    free(spec);
    return r;
}

const struct dv_simcli_verb dv_simcli_verb_start = {
    .name = "start",
    .synopsis = "NODE [OPTION]...",
    .about = "Start a simulated node that stays until it is stopped",
    .examples = "  divvy-sim start dgx-a100 && eval \"$(divvy-sim env)\" && nvidia-smi\n"
                "  divvy-sim start ./lab.yaml --foreground --socket /run/lab.sock\n",
    .options = {[SOCKET] = {"--socket", "PATH", "where to listen ($DIVVY_SIM_SOCKET)"},
                [FOREGROUND] = {"--foreground", NULL, "stay in this process until it is stopped"},
                [PID_FILE] = {"--pid-file", "PATH", "write the server's process number there"},
                [READY_FD] = {"--ready-fd", "N",
                              "write a newline to descriptor N when clients may connect"},
                [LIFELINE_FD] = {"--lifeline-fd", "N",
                                 "end when descriptor N hangs up: with its last writer"}},
    .words_min = 1,
    .words_max = 1,
    .run = start_verb,
};
