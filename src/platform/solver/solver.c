/* SPDX-License-Identifier: Apache-2.0 */
#include "solver/solver.h"

#include "solver/cbc.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ASK_MS 50 /* how often a cancellation is asked for */
/* What a solver gets beyond its own limit, to say what it found. */
#define GRACE_NS (2 * DV_NS_PER_S)

struct dv_solver {
    void *library;
    dv_solver_cbc_fn *cbc;
    char version[32];
};

/* What comes through the pipe, then n_columns values and n_rows duals where they hold something. */
struct answer {
    int r;
    enum dv_program_status status;
    double objective, bound;
    bool values, duals;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * DV_NS_PER_S + (uint64_t)t.tv_nsec;
}

int dv_solver_open(const char *path, struct dv_solver **ret, struct dv_err *err)
{
    struct dv_solver *solver = calloc(1, sizeof *solver);
    if (!solver)
        return dv_err_set(err, -ENOMEM, "out of memory");
    solver->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!solver->library) {
        const char *why = dlerror();
        dv_solver_free(solver);
        return dv_err_set(err, -ENOSYS,
                          "no solver here: %s; integer programs need %s beside divvy's other "
                          "libraries, and CBC (Debian: coinor-libcbc3)",
                          why ? why : path, DV_SOLVER_LIBRARY);
    }
    void *symbol = dlsym(solver->library, DV_SOLVER_CBC_SYMBOL);
    void *version = dlsym(solver->library, DV_SOLVER_VERSION_SYMBOL);
    if (!symbol || !version) {
        dv_solver_free(solver);
        return dv_err_set(err, -ENOSYS, "%s is not divvy's solver library: install divvy again",
                          path);
    }
    memcpy(&solver->cbc, &symbol, sizeof symbol);
    const char *(*version_of)(void);
    memcpy(&version_of, &version, sizeof version);
    snprintf(solver->version, sizeof solver->version, "%s", version_of());
    *ret = solver;
    return 0;
}

void dv_solver_free(struct dv_solver *solver)
{
    if (!solver)
        return;
    if (solver->library)
        dlclose(solver->library);
    free(solver);
}

void dv_solver_freep(struct dv_solver **solver)
{
    dv_solver_free(*solver);
}

const char *dv_solver_version(const struct dv_solver *solver)
{
    return solver->version;
}

/* ---- in the child ---- */

static bool send_all(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static void quiet(int keep)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        _exit(1);
    for (int fd = 0; fd <= 2; fd++)
        if (fd != keep)
            dup2(null, fd);
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    /* Ctrl-C is for the parent, which ends this process when it wants that. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    for (int fatal = 0; fatal < 2; fatal++)
        signal(fatal ? SIGABRT : SIGSEGV, SIG_DFL);
}

static _Noreturn void solve_here(const struct dv_solver *solver, const struct dv_program *p,
                                 const struct dv_program_limits *limits, int fd)
{
    quiet(fd);
    double *values = calloc(p->n_columns + 1, sizeof *values);
    double *duals = calloc(p->n_rows + 1, sizeof *duals);
    struct dv_program_result result = {0};
    struct answer a = {.r = -ENOMEM};
    if (values && duals)
        a.r = solver->cbc(p, limits, values, duals, &result);
    if (a.r == 0) {
        a.status = result.status;
        a.objective = result.objective;
        a.bound = result.bound;
        a.values = result.values != NULL;
        a.duals = result.duals != NULL;
    }
    bool sent = send_all(fd, &a, sizeof a);
    if (sent && a.values)
        sent = send_all(fd, values, p->n_columns * sizeof *values);
    if (sent && a.duals)
        sent = send_all(fd, duals, p->n_rows * sizeof *duals);
    /* Not exit(): the buffers and handlers of the parent are the parent's. */
    _exit(sent ? 0 : 1);
}

/* ---- in the parent ---- */

struct wait {
    int fd;
    uint64_t deadline; /* DV_NEVER: none */
    const struct dv_program_limits *limits;
};

enum { LATE = 1, CANCELLED };

/* 0; LATE, CANCELLED; -EIO (the other side is gone), -errno. */
static int receive(const struct wait *w, void *data, size_t size)
{
    char *at = data;
    while (size) {
        if (w->limits->cancelled && w->limits->cancelled(w->limits->cancelled_arg))
            return CANCELLED;
        if (now_ns() >= w->deadline)
            return LATE;
        struct pollfd poll_fd = {.fd = w->fd, .events = POLLIN};
        int ready = poll(&poll_fd, 1, ASK_MS);
        if (ready < 0 && errno != EINTR)
            return -errno;
        if (ready <= 0)
            continue;
        ssize_t n = read(w->fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

static int receive_array(const struct wait *w, bool there, size_t n, double **ret)
{
    if (!there)
        return 0;
    *ret = calloc(n + 1, sizeof **ret);
    return *ret ? receive(w, *ret, n * sizeof **ret) : -ENOMEM;
}

static int receive_result(const struct wait *w, const struct dv_program *p,
                          struct dv_program_result *ret)
{
    struct answer a = {0};
    int r = receive(w, &a, sizeof a);
    if (r == 0)
        r = a.r;
    if (r == 0)
        r = receive_array(w, a.values, p->n_columns, &ret->values);
    if (r == 0)
        r = receive_array(w, a.duals, p->n_rows, &ret->duals);
    if (r == 0) {
        ret->status = a.status;
        ret->objective = a.objective;
        ret->bound = a.bound;
    }
    return r;
}

/* Ends the child, whatever it does, and says how it went. */
static int reap(pid_t child)
{
    int status = 0;
    kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static int broken(int r, int status, struct dv_err *err)
{
    if (r == -ENOMEM)
        return dv_err_set(err, r, "solver: out of memory");
    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
        return dv_err_set(err, -EIO, "solver: CBC died by signal %d (%s)", WTERMSIG(status),
                          strsignal(WTERMSIG(status)));
    return dv_err_set(err, r,
                      "solver: CBC broke without an answer: numbers of very different size "
                      "in one program can do that");
}

static int collect(pid_t child, const struct wait *w, const struct dv_program *p,
                   struct dv_program_result *ret, struct dv_err *err)
{
    struct dv_program_result result = {0};
    int r = receive_result(w, p, &result);
    int status = 0;
    if (r == -EIO) /* hung up: let it say of what it died */
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
    else
        status = reap(child);
    if (r == 0) {
        *ret = result;
        return 0;
    }
    dv_program_result_done(&result);
    if (r < 0)
        return broken(r, status, err);
    *ret =
        (struct dv_program_result){.status = r == LATE ? DV_PROGRAM_STOPPED : DV_PROGRAM_CANCELLED};
    return 0;
}

int dv_solver_solve(void *arg, const struct dv_program *p, const struct dv_program_limits *limits,
                    struct dv_program_result *ret, struct dv_err *err)
{
    const struct dv_solver *solver = arg;
    static const struct dv_program_limits none;
    if (!limits)
        limits = &none;
    int r = dv_program_check(p, err);
    if (r != 0)
        return r;
    if (!(limits->gap >= 0 && limits->gap < 1))
        return dv_err_set(err, -EINVAL, "solver: a gap of %g: from 0 up to 1", limits->gap);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return dv_err_set(err, -errno, "solver: no pipe: %s", strerror(errno));
    pid_t parent = getpid();
    pid_t child = fork();
    if (child < 0) {
        r = -errno;
        close(ends[0]);
        close(ends[1]);
        return dv_err_set(err, r, "solver: no process: %s", strerror(-r));
    }
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        close(ends[0]);
        solve_here(solver, p, limits, ends[1]);
    }
    close(ends[1]);
    struct wait w = {ends[0], DV_NEVER, limits};
    if (limits->time_ns && limits->time_ns < DV_NEVER / 4)
        w.deadline = now_ns() + limits->time_ns + limits->time_ns / 4 + GRACE_NS;
    r = collect(child, &w, p, ret, err);
    close(ends[0]);
    return r;
}
