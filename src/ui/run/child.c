/* SPDX-License-Identifier: Apache-2.0 */
#include "run/child.h"

#include "base/str.h"
#include "ui.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LEFT_BEHIND_TERM_MS 2000
#define LEFT_BEHIND_KILL_MS 5000 /* a process in the kernel's D state cannot be waited for */

static volatile int noted; /* written by the handler only; int is atomic to read and write */

static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
static const int passed_on[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

static void on_signal(int signal)
{
    if (!noted)
        noted = signal;
}

const volatile int *dv_child_signal(void)
{
    return &noted;
}

int dv_child_prepare(struct dv_child *child, struct dv_err *err)
{
    struct sigaction action = {.sa_handler = on_signal};
    *child = (struct dv_child){0};
    sigprocmask(SIG_SETMASK, NULL, &child->before);
    for (size_t i = 0; i < DV_ARRAY_SIZE(ends); i++) {
        struct sigaction old;
        sigaction(ends[i], NULL, &old);
        if (old.sa_handler != SIG_IGN) /* nohup stays nohup */
            sigaction(ends[i], &action, NULL);
    }
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        return dv_err_set(err, -errno, "cannot become the subreaper: %s", strerror(errno));
    return 0;
}

static int prepend(const char *name, const char *value, struct dv_err *err)
{
    const char *old = getenv(name);
    dv_cleanup(dv_str_done) struct dv_str s = {0};
    dv_str_add(&s, value);
    if (old && *old)
        dv_str_addf(&s, ":%s", old);
    if (s.failed || setenv(name, dv_str_get(&s), 1) < 0)
        return dv_err_set(err, -ENOMEM, "out of memory");
    return 0;
}

int dv_child_environment(const struct dv_output_node *variables, struct dv_err *err)
{
    for (const struct dv_output_node *n = variables ? variables->first : NULL; n; n = n->next) {
        const char *value = dv_output_text(n, NULL);
        bool list = !strcmp(n->key, "LD_LIBRARY_PATH") || !strcmp(n->key, "LD_PRELOAD") ||
                    !strcmp(n->key, "PATH");
        if (!value || !*n->key || strchr(n->key, '='))
            return dv_err_set(err, -EPROTO, "the daemon sent a variable that is none: %.60s",
                              n->key);
        int r = list ? prepend(n->key, value, err) : setenv(n->key, value, 1);
        if (r < 0)
            return list ? r : dv_err_set(err, -errno, "%s: %s", n->key, strerror(errno));
    }
    return 0;
}

/* ---- the command ---------------------------------------------------------------------------- */

/* In the child. The parent's death takes the command with it: nobody would give the slice back. */
static void become(const struct dv_child *child, char **argv, int report, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    if (getppid() != parent)
        _exit(DV_UI_RUN_FAILED);
    for (size_t i = 0; i < DV_ARRAY_SIZE(ends); i++) {
        struct sigaction old;
        sigaction(ends[i], NULL, &old);
        if (old.sa_handler == on_signal)
            signal(ends[i], SIG_DFL);
    }
    sigprocmask(SIG_SETMASK, &child->before, NULL);
    execvp(argv[0], argv);
    int number = errno;
    ssize_t ignored = write(report, &number, sizeof number);
    (void)ignored;
    _exit(number == ENOENT ? DV_UI_RUN_NOT_FOUND : DV_UI_RUN_CANNOT_EXECUTE);
}

/* The pid in child->pid, or -errno of the exec with the child reaped. */
static int start(struct dv_child *child, char **argv)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0)
        return -errno;
    pid_t parent = getpid();
    child->pid = fork();
    if (child->pid == 0)
        become(child, argv, report[1], parent);
    int failed = child->pid < 0 ? errno : 0;
    close(report[1]);
    int number = 0;
    if (!failed && read(report[0], &number, sizeof number) == sizeof number) {
        waitpid(child->pid, NULL, 0);
        failed = number;
    }
    close(report[0]);
    return -failed;
}

/* Reaps all that has ended; true once the command itself has. */
static bool reap(const struct dv_child *child, int *ret_status)
{
    int status = 0;
    bool ended = false;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        if (pid == child->pid) {
            *ret_status = status;
            ended = true;
        }
    return ended;
}

static int wait_for(const struct dv_child *child, const sigset_t *signals)
{
    int status = 0;
    /* A signal that came before they were blocked is not lost. */
    if (noted)
        kill(child->pid, noted);
    while (!reap(child, &status)) {
        siginfo_t info;
        int signal = sigwaitinfo(signals, &info);
        if (signal > 0 && signal != SIGCHLD && info.si_code != SI_KERNEL)
            kill(child->pid, signal);
    }
    return WIFSIGNALED(status) ? DV_UI_RUN_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- what the command left behind ----------------------------------------------------------- */

/* The parent of a process; 0 when it is gone. */
static pid_t parent_of(const char *pid)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%.16s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return 0;
    line[n] = 0;
    const char *after_name = strrchr(line, ')'); /* the name may hold anything; ") S 123 ..." */
    return after_name && strlen(after_name) > 4 ? (pid_t)strtol(after_name + 4, NULL, 10) : 0;
}

/* Orphans come to us, so that our own children are the tops of all that is left. */
static void signal_children(int signal)
{
    DIR *proc = opendir("/proc");
    if (!proc)
        return;
    for (struct dirent *entry; (entry = readdir(proc)) != NULL;)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            parent_of(entry->d_name) == getpid())
            kill((pid_t)strtol(entry->d_name, NULL, 10), signal);
    closedir(proc);
}

static void end_left_behind(void)
{
    const struct timespec pause = {0, 10 * (long)DV_NS_PER_MS};
    for (int ms = 0; ms < LEFT_BEHIND_KILL_MS; ms += 10) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0) /* no children */
            return;
        if (pid > 0)
            continue;
        if (ms % 500 == 0)
            signal_children(ms < LEFT_BEHIND_TERM_MS ? SIGTERM : SIGKILL);
        nanosleep(&pause, NULL);
    }
}

int dv_child_run(struct dv_child *child, char **argv, struct dv_err *err)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    for (size_t i = 0; i < DV_ARRAY_SIZE(passed_on); i++)
        sigaddset(&signals, passed_on[i]);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    int r = start(child, argv);
    if (r < 0) {
        dv_err_set(err, r, "%s: %s", argv[0], strerror(-r));
        return r == -ENOENT ? DV_UI_RUN_NOT_FOUND : DV_UI_RUN_CANNOT_EXECUTE;
    }
    int exit = wait_for(child, &signals);
    end_left_behind();
    return exit;
}
