/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/crew.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OUTPUT_MAX (64u << 20) /* of one command */
#define TICK_MS 200
#define PATIENCE_MS 10000 /* to end after SIGTERM */

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

int dv_bench_crew_init(struct dv_bench_crew *crew, const volatile int *stop)
{
    *crew = (struct dv_bench_crew){.gate = {-1, -1}, .stop = stop};
    return pipe2(crew->gate, O_CLOEXEC) < 0 ? -errno : 0;
}

static void become(char *const *argv, int in, int out, int err, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    if (getppid() != parent)
        _exit(125);
    setpgid(0, 0);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execvp(argv[0], argv);
    dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

int dv_bench_crew_add(struct dv_bench_crew *crew, char *const *argv, struct dv_err *err)
{
    int out[2] = {-1, -1}, errs[2] = {-1, -1};
    if (crew->n == DV_BENCH_CREW_MAX)
        return dv_err_set(err, -ENOSPC, "at most %u tenants", DV_BENCH_CREW_MAX);
    pid_t parent = getpid(), pid = -1;
    if (pipe2(out, O_CLOEXEC) == 0 && pipe2(errs, O_CLOEXEC) == 0)
        pid = fork();
    int r = pid < 0 ? -errno : 0;
    if (pid == 0)
        become(argv, crew->gate[0], out[1], errs[1], parent);
    close_fd(&out[1]);
    close_fd(&errs[1]);
    if (r < 0) {
        close_fd(&out[0]);
        close_fd(&errs[0]);
        return dv_err_set(err, r, "%s cannot be started: %s", argv[0], strerror(-r));
    }
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(errs[0], F_SETFL, O_NONBLOCK);
    crew->members[crew->n++] = (struct dv_bench_member){.pid = pid, .out = out[0], .err = errs[0]};
    return 0;
}

/* ---- what they say ---- */

static void read_output(struct dv_bench_member *m)
{
    char piece[16384];
    ssize_t n;
    while ((n = read(m->out, piece, sizeof piece)) > 0)
        if (m->output.len + (size_t)n <= OUTPUT_MAX)
            dv_str_addn(&m->output, piece, (size_t)n);
    if (n == 0)
        close_fd(&m->out);
}

static void add_letter(struct dv_bench_member *m, char c)
{
    if (c != '\n') {
        if (m->len < sizeof m->next - 1)
            m->next[m->len++] = c;
        return;
    }
    m->next[m->len] = 0;
    m->len = 0;
    if (!strcmp(m->next, "ready"))
        m->ready = true;
    else if (m->next[0])
        memcpy(m->line, m->next, sizeof m->line);
}

static void read_errors(struct dv_bench_member *m)
{
    char piece[1024];
    ssize_t n;
    while ((n = read(m->err, piece, sizeof piece)) > 0)
        for (ssize_t i = 0; i < n; i++)
            add_letter(m, piece[i]);
    if (n == 0)
        close_fd(&m->err);
}

static void reap(struct dv_bench_member *m)
{
    if (m->pid && waitpid(m->pid, &m->status, WNOHANG) == m->pid)
        m->pid = 0;
}

/* Reads what there is, at most until `ms` have passed. */
static void pump(struct dv_bench_crew *crew, int ms)
{
    struct pollfd fds[2 * DV_BENCH_CREW_MAX];
    nfds_t n = 0;
    for (size_t i = 0; i < crew->n; i++) {
        fds[n++] = (struct pollfd){.fd = crew->members[i].out, .events = POLLIN};
        fds[n++] = (struct pollfd){.fd = crew->members[i].err, .events = POLLIN};
    }
    poll(fds, n, ms); /* a negative descriptor is passed over */
    for (size_t i = 0; i < crew->n; i++) {
        struct dv_bench_member *m = &crew->members[i];
        if (m->out >= 0)
            read_output(m);
        if (m->err >= 0)
            read_errors(m);
        reap(m);
    }
}

static bool is_over(const struct dv_bench_member *m)
{
    return !m->pid && m->out < 0 && m->err < 0;
}

/* ---- phases ---- */

static int check(const struct dv_bench_crew *crew, uint64_t deadline, struct dv_err *err)
{
    if (*crew->stop)
        return dv_err_set(err, -EINTR, "interrupted");
    if (now_ms() < deadline)
        return 0;
    for (size_t i = 0; i < crew->n; i++)
        if (!crew->members[i].ready && crew->members[i].line[0])
            return dv_err_set(err, -ETIMEDOUT, "it takes too long: %s", crew->members[i].line);
    return dv_err_set(err, -ETIMEDOUT, "it takes too long");
}

int dv_bench_crew_ready(struct dv_bench_crew *crew, unsigned timeout_ms, struct dv_err *err)
{
    uint64_t deadline = now_ms() + timeout_ms;
    for (;;) {
        size_t ready = 0;
        for (size_t i = 0; i < crew->n; i++) {
            const struct dv_bench_member *m = &crew->members[i];
            ready += m->ready;
            if (!m->ready && is_over(m))
                return dv_err_set(err, -ECHILD, "%s",
                                  m->line[0] ? m->line : "a tenant ended at once");
        }
        if (ready == crew->n)
            return 0;
        int r = check(crew, deadline, err);
        if (r < 0)
            return r;
        pump(crew, TICK_MS);
    }
}

void dv_bench_crew_go(struct dv_bench_crew *crew)
{
    close_fd(&crew->gate[0]);
    close_fd(&crew->gate[1]);
}

int dv_bench_crew_wait(struct dv_bench_crew *crew, unsigned timeout_ms, void (*tick)(void *arg),
                       void *arg, struct dv_err *err)
{
    uint64_t deadline = now_ms() + timeout_ms;
    for (;;) {
        size_t over = 0;
        for (size_t i = 0; i < crew->n; i++)
            over += is_over(&crew->members[i]);
        if (over == crew->n)
            return 0;
        int r = check(crew, deadline, err);
        if (r < 0)
            return r;
        if (tick)
            tick(arg);
        pump(crew, TICK_MS);
    }
}

/* They give their slices back when they are asked to end; so they are asked, and waited for. */
void dv_bench_crew_done(struct dv_bench_crew *crew)
{
    uint64_t deadline = now_ms() + PATIENCE_MS;
    bool left = true;
    dv_bench_crew_go(crew);
    for (size_t i = 0; i < crew->n; i++)
        if (crew->members[i].pid)
            kill(crew->members[i].pid, SIGTERM);
    while (left && now_ms() < deadline) {
        left = false;
        for (size_t i = 0; i < crew->n; i++)
            left |= !is_over(&crew->members[i]);
        if (left)
            pump(crew, TICK_MS);
    }
    for (size_t i = 0; i < crew->n; i++) {
        struct dv_bench_member *m = &crew->members[i];
        if (m->pid) {
            kill(-m->pid, SIGKILL);
            waitpid(m->pid, &m->status, 0);
        }
        close_fd(&m->out);
        close_fd(&m->err);
        dv_str_done(&m->output);
    }
    crew->n = 0;
}
