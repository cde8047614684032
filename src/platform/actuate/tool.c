/* SPDX-License-Identifier: Apache-2.0 */
#include "actuate/tool.h"

#include "sys/clock.h"
#include "sys/fd.h"
#include "sys/proc.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define INPUT_MAX 4096u
#define NO_SUCH_TOOL 127

/* An environment with `set` in place of what had those names. NULL: no memory. The texts are
 * borrowed. */
static char **make_environment(const char *const *set)
{
    size_t n = 0, n_set = 0, k = 0;
    while (environ && environ[n])
        n++;
    while (set && set[n_set] && n_set < DV_TOOL_ENV_MAX)
        n_set++;
    char **env = calloc(n + n_set + 1, sizeof *env);
    if (!env)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        bool replaced = false;
        for (size_t s = 0; s < n_set && !replaced; s++)
            replaced = strncmp(environ[i], set[s], strcspn(set[s], "=") + 1) == 0;
        if (!replaced)
            env[k++] = environ[i];
    }
    for (size_t s = 0; s < n_set; s++)
        env[k++] = (char *)(uintptr_t)set[s];
    return env;
}

/* Our parents ignore signals that a tool should have as usual. */
static void default_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGINT, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

static void become_tool(const struct dv_tool *t, char **env, const char *path, int in, int out,
                        pid_t parent)
{
    default_signals();
    if (dv_proc_die_with_parent(SIGKILL, parent) < 0 || dup2(in, STDIN_FILENO) < 0 ||
        dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
        _exit(126);
    if (syscall(SYS_close_range, 3u, ~0u, 0u) < 0)
        for (int fd = 3; fd < 1024; fd++)
            close(fd);
    char *const *argv = (char *const *)(uintptr_t)t->argv;
    if (t->instead) {
        environ = env;
        _exit(t->instead(t->arg));
    } else if (t->directory && *t->directory) {
        execve(path, argv, env);
    } else {
        execvpe(t->argv[0], argv, env);
    }
    _exit(errno == ENOENT ? NO_SUCH_TOOL : 126);
}

/* Reads what is there. False at the end of the file. */
static bool take_output(int fd, char *out, size_t size, size_t *len)
{
    char drop[512];
    for (;;) {
        bool room = *len + 1 < size;
        ssize_t n = room ? read(fd, out + *len, size - 1 - *len) : read(fd, drop, sizeof drop);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        if (n == 0)
            return false;
        if (room)
            *len += (size_t)n;
    }
}

/* Until the child ends or its time is up. 0, or -ETIMEDOUT after it was killed. */
static int watch(pid_t pid, int pidfd, int out_fd, uint32_t deadline_ms, char *out, size_t size)
{
    uint64_t end = dv_clock_now() + deadline_ms * DV_NS_PER_MS;
    size_t len = 0;
    bool open = true, ended = false;
    while (!ended) {
        struct pollfd p[2] = {{pidfd, POLLIN, 0}, {open ? out_fd : -1, POLLIN, 0}};
        uint64_t now = dv_clock_now();
        int n = now < end ? poll(p, 2, (int)((end - now) / DV_NS_PER_MS) + 1) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            kill(pid, SIGKILL);
            return -ETIMEDOUT;
        }
        ended = p[0].revents != 0;
        if (open && (p[1].revents || ended))
            open = take_output(out_fd, out, size, &len);
        if (size)
            out[DV_MIN(len, size - 1)] = 0;
    }
    return 0;
}

static int give_input(const char *text, int ret[2])
{
    size_t n = text ? strlen(text) : 0;
    if (n > INPUT_MAX)
        return -E2BIG;
    if (pipe2(ret, O_CLOEXEC) < 0)
        return -errno;
    /* It fits into an empty pipe, so this does not wait for the reader. */
    if (n && write(ret[1], text, n) != (ssize_t)n) {
        close(ret[0]);
        dv_fd_close(&ret[1]);
        return -EIO;
    }
    dv_fd_close(&ret[1]);
    return 0;
}

static int run(const struct dv_tool *t, char **env, const char *path, int in, char *out,
               size_t size, int *ret_status)
{
    int pipe_fds[2], raw = 0;
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return -errno;
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        become_tool(t, env, path, in, pipe_fds[1], parent);
    int r = pid < 0 ? -errno : 0;
    close(pipe_fds[1]);
    dv_fd_set_nonblocking(pipe_fds[0], true);
    if (r == 0) {
        dv_cleanup(dv_fd_close) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (pidfd < 0) {
            r = -errno;
            kill(pid, SIGKILL);
        } else {
            r = watch(pid, pidfd, pipe_fds[0], t->deadline_ms, out, size);
        }
        while (waitpid(pid, &raw, 0) < 0 && errno == EINTR)
            ;
    }
    close(pipe_fds[0]);
    if (r == 0)
        *ret_status = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
    return r;
}

int dv_tool_run(const struct dv_tool *t, char *out, size_t size, int *ret_status,
                struct dv_err *err)
{
    char path[PATH_MAX];
    int in[2] = {-1, -1}, status = 0;
    if (size)
        out[0] = 0;
    int n = snprintf(path, sizeof path, "%s/%s", t->directory ? t->directory : "", t->argv[0]);
    if (n < 0 || (size_t)n >= sizeof path)
        return dv_err_set(err, -ENAMETOOLONG, "the path of %s is too long", t->argv[0]);
    int r = give_input(t->input, in);
    if (r < 0)
        return dv_err_set(err, r, "cannot run %s: %s", t->argv[0], strerror(-r));
    char **env = make_environment(t->set);
    r = env ? run(t, env, path, in[0], out, size, &status) : -ENOMEM;
    free(env);
    close(in[0]);
    if (r == -ETIMEDOUT)
        return dv_err_set(err, r, "%s did not end within %u s and was killed", t->argv[0],
                          (t->deadline_ms + 999) / 1000);
    if (r == 0 && status == NO_SUCH_TOOL)
        return dv_err_set(err, -ENOENT,
                          "there is no %s%s%s; it comes with the NVIDIA driver's utilities",
                          t->argv[0], t->directory && *t->directory ? " in " : " on PATH",
                          t->directory ? t->directory : "");
    if (r < 0)
        return dv_err_set(err, r, "cannot run %s: %s", t->argv[0], strerror(-r));
    *ret_status = status;
    return 0;
}

const char *dv_tool_last_line(char *out)
{
    size_t n = strlen(out);
    while (n && (unsigned char)out[n - 1] <= ' ')
        out[--n] = 0;
    char *nl = strrchr(out, '\n');
    return !n ? "no output" : nl ? nl + 1 : out;
}
