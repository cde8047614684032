/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A descriptor that is told: "\n" = ready, else why not. */
static void tell(int fd, const char *text)
{
    if (fd >= 0 && write(fd, text, strlen(text)) < 0)
        return; /* nobody waits any more: then nobody needs to know */
}

int dv_simcli_serve(const struct dv_simcli_serve *o)
{
    struct dv_simserver_options options = {
        .socket = o->socket, .parent_fd = o->parent_fd, .signals = o->signals, .realtime = true};
    struct dv_simserver *server;
    struct dv_err err = {0};
    int r = dv_simserver_new(o->spec, &options, &server, &err);

    if (r < 0) {
        tell(o->ready_fd, err.msg);
        return dv_simcli_fail(DV_SIMCLI_FAILED, "%s", err.msg);
    }
    tell(o->ready_fd, "\n");
    if (o->ready_fd >= 0)
        close(o->ready_fd);
    r = dv_simserver_run(server);
    dv_simserver_free(server);
    return r < 0 ? dv_simcli_fail(DV_SIMCLI_FAILED, "the server failed: %s", strerror(-r))
                 : DV_SIMCLI_OK;
}

/* The child: a session of its own, so that a terminal's signals are for the command alone; nothing
 * of the parent's descriptors stays open but stderr. */
static void child(const struct dv_nodespec *spec, const char *socket, int ready_fd, int parent_fd)
{
    struct dv_simcli_serve o = {.spec = spec,
                                .socket = socket,
                                .ready_fd = ready_fd,
                                .parent_fd = parent_fd,
                                .signals = true};
    int null = open("/dev/null", O_RDWR);
    sigset_t none;

    setsid();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2); /* messages go to ready_fd; later ones have no reader */
    }
    if (chdir("/") < 0)
        _exit(DV_SIMCLI_FAILED);
    _exit(dv_simcli_serve(&o));
}

/* What the child says about its start: "\n", or a message, or nothing when it died. */
static int await_ready(int fd, struct dv_err *err)
{
    char text[sizeof(err->msg)];
    size_t len = 0;
    ssize_t n;

    while (len < sizeof(text) - 1) {
        n = read(fd, text + len, sizeof(text) - 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        len += (size_t)n;
        if (text[0] == '\n')
            return 0;
    }
    text[len] = '\0';
    return dv_err_set(err, -ECHILD, "%s", len ? text : "the simulated node died at its start");
}

int dv_simcli_spawn(const struct dv_nodespec *spec, const char *socket, int *ret_lifeline,
                    int *ret_pid, struct dv_err *err)
{
    int ready[2], lifeline[2] = {-1, -1};
    pid_t pid;
    int r;

    if (pipe2(ready, O_CLOEXEC) < 0)
        return dv_err_set(err, -errno, "pipe: %s", strerror(errno));
    if (ret_lifeline && pipe2(lifeline, O_CLOEXEC) < 0) {
        r = -errno;
        close(ready[0]);
        close(ready[1]);
        return dv_err_set(err, r, "pipe: %s", strerror(-r));
    }
    pid = fork();
    if (pid == 0) {
        close(ready[0]);
        if (lifeline[1] >= 0)
            close(lifeline[1]);
        child(spec, socket, ready[1], lifeline[0]);
    }
    r = pid < 0 ? dv_err_set(err, -errno, "fork: %s", strerror(errno)) : 0;
    close(ready[1]);
    if (lifeline[0] >= 0)
        close(lifeline[0]);
    if (r == 0)
        r = await_ready(ready[0], err);
    close(ready[0]);
    if (r < 0) {
        if (lifeline[1] >= 0)
            close(lifeline[1]);
        if (pid > 0)
            waitpid(pid, NULL, 0);
        return r;
    }
    if (ret_lifeline)
        *ret_lifeline = lifeline[1];
    *ret_pid = pid;
    return 0;
}
