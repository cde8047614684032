/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "server/nodespec.h"
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct run {
    struct dv_nodespec spec;
    char directory[64];
    char socket[80];
    int lifeline; /* the server ends when it closes, however this process ends */
    int server;
    pid_t command;
};

/* ---- the command ---- */

static void exec_command(const struct dv_simcli_args *args, const struct dv_simcli_env *env,
                         const sigset_t *mask, int error_fd)
{
    int r;

    for (size_t i = 0; i < DV_ARRAY_SIZE(env->var); i++) {
        if (setenv(env->var[i].name, env->var[i].value, 1) < 0)
            _exit(DV_SIMCLI_RUN_FAILED);
    }
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(args->command[0], args->command);
    r = errno;
    if (write(error_fd, &r, sizeof(r)) < 0)
        _exit(DV_SIMCLI_RUN_FAILED);
    _exit(r == ENOENT ? DV_SIMCLI_NOT_FOUND : DV_SIMCLI_NOT_EXECUTABLE);
}

/* Returns 0, or an exit status after saying why. */
static int start_command(struct run *run, const struct dv_simcli_args *args, const sigset_t *mask)
{
    struct dv_simcli_env env;
    struct dv_err err = {0};
    int pipe_fds[2];
    int error = 0;
    ssize_t n;

    if (dv_simcli_env_fill(run->socket, &env, &err) < 0)
        return dv_simcli_fail(DV_SIMCLI_RUN_FAILED, "%s", err.msg);
    if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
        dv_simcli_env_done(&env);
        return dv_simcli_fail(DV_SIMCLI_RUN_FAILED, "pipe: %s", strerror(errno));
    }
    run->command = fork();
    if (run->command == 0)
        exec_command(args, &env, mask, pipe_fds[1]);
    close(pipe_fds[1]);
    dv_simcli_env_done(&env);
    n = run->command < 0 ? -1 : read(pipe_fds[0], &error, sizeof(error));
    close(pipe_fds[0]);
    if (run->command < 0)
        return dv_simcli_fail(DV_SIMCLI_RUN_FAILED, "fork: %s", strerror(errno));
    if (n != sizeof(error))
        return 0; /* closed by exec */
    waitpid(run->command, NULL, 0);
    return dv_simcli_fail(error == ENOENT ? DV_SIMCLI_NOT_FOUND : DV_SIMCLI_NOT_EXECUTABLE,
                          "%.200s: %s", args->command[0], strerror(error));
}

/* Is the command over? Then its exit status is in *ret. */
static bool reap(const struct run *run, int *ret)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == run->server)
            dv_simcli_fail(0, "the simulated node died; the command goes on without GPUs");
        if (pid != run->command || (!WIFEXITED(status) && !WIFSIGNALED(status)))
            continue;
        *ret = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return true;
    }
    return false;
}

/* Signals from a terminal go to the command by themselves; others are passed on. */
static int wait_command(const struct run *run, const sigset_t *watched)
{
    int status;

    while (!reap(run, &status)) {
        siginfo_t info;
        int n = sigwaitinfo(watched, &info);

        if (n > 0 && n != SIGCHLD && info.si_code != SI_KERNEL)
            kill(run->command, n);
    }
    return status;
}

/* ---- the server ---- */

static int start_server(struct run *run)
{
    const char *tmp = getenv("TMPDIR");
    struct dv_err err = {0};

    if (!tmp || tmp[0] != '/' || strlen(tmp) > 40)
        tmp = "/tmp";
    snprintf(run->directory, sizeof(run->directory), "%.40s/divvy-sim-XXXXXX", tmp);
    if (!mkdtemp(run->directory))
        return dv_simcli_fail(DV_SIMCLI_RUN_FAILED, "%s: %s", run->directory, strerror(errno));
    snprintf(run->socket, sizeof(run->socket), "%s/sim.sock", run->directory);
    if (dv_simcli_spawn(&run->spec, run->socket, &run->lifeline, &run->server, &err) < 0) {
        rmdir(run->directory);
        return dv_simcli_fail(DV_SIMCLI_RUN_FAILED, "%s", err.msg);
    }
    return 0;
}

static void stop_server(struct run *run)
{
    close(run->lifeline);
    while (waitpid(run->server, NULL, 0) < 0 && errno == EINTR)
        ;
    unlink(run->socket); /* where it was killed */
    dv_simserver_clear(run->socket);
    rmdir(run->directory);
}

static int run_verb(const struct dv_simcli_args *args)
{
    struct run *run = calloc(1, sizeof(*run));
    struct dv_err err = {0};
    sigset_t watched, old;
    int r;

    if (!run)
        return dv_simcli_fail(DV_SIMCLI_RUN_FAILED, "out of memory");
    r = dv_nodespec_load(args->word[0], &run->spec, &err);
    if (r < 0) {
        free(run);
        return dv_simcli_fail(DV_SIMCLI_USAGE, "%s", err.msg);
    }
    sigemptyset(&watched);
    for (size_t i = 0; i < 8; i++)
        sigaddset(&watched, (const int[]){SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1,
                                          SIGUSR2, SIGWINCH}[i]);
    sigprocmask(SIG_BLOCK, &watched, &old);
    r = start_server(run);
    if (r == 0) {
        r = start_command(run, args, &old);
        if (r == 0)
            r = wait_command(run, &watched);
        stop_server(run);
    }
    free(run);
    return r;
}

const struct dv_simcli_verb dv_simcli_verb_run = {
    .name = "run",
    .synopsis = "NODE [--] COMMAND [ARGUMENT]...",
    .about = "Run a command with a simulated node's GPUs in sight",
    .more =
        "The command finds the simulated driver's libraries and nvidia-smi first on its paths.\n"
        "The node is private and ends with the command. NODE is a built-in node (see\n"
        "'divvy-sim nodes') or a YAML file.\n\n"
        "The exit status is the command's; 128+N when signal N ended it; 125 when divvy-sim\n"
        "failed, 126 and 127 when the command could not be run or was not found.",
    .examples = "  divvy-sim run dgx-a100 -- nvidia-smi\n"
                "  divvy-sim run ./lab.yaml -- python3 train.py\n",
    .options = {{0}},
    .words_min = 1,
    .words_max = 1,
    .takes_command = true,
    .run = run_verb,
};
