/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/worker.h"

#include "actuate/nvml_actuator.h"
#include "base/str.h"
#include "hardware/nvml.h"
#include "hardware/replay.h"
#include "sys/fd.h"
#include "sys/proc.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the worker ---- */

struct worker {
    const struct dv_keeper_config *config;
    struct dv_hardware *hw;
    struct dv_actuator *actuator;
    uint32_t timeslice[DV_FACTS_GPUS_MAX]; /* as of the last TIMESLICES or TIMESLICE step */
};

/* Loaded at the first question: a library that hangs while it is loaded is a wedged worker like
 * any other. A missing driver is tried again at each DRIVER request, so that one that is
 * installed later is found. */
static int open_hardware(struct worker *w, struct dv_err *err)
{
    if (w->hw)
        return 0;
    if (w->config->replay)
        return dv_hardware_replay_new(w->config->replay, &w->hw, err);
    return dv_hardware_nvml_new(w->config->library, &w->hw, err);
}

static int open_actuator(struct worker *w, struct dv_err *err)
{
    const struct dv_keeper_config *c = w->config;
    struct dv_actuator_config config = {
        .library = c->library, .libcuda = c->libcuda, .tools = c->tools, .state = c->state_dir};
    if (w->actuator)
        return 0;
    if (c->replay)
        return dv_err_set(err, DV_ACTUATE_NOT_SUPPORTED, "a captured node cannot be changed");
    return dv_nvml_actuator_new(&config, &w->actuator, err);
}

/* The pidfd is opened before the start time is compared, so that the process that is checked is
 * the one that is signalled. */
static int signal_process(const struct dv_worker_request *q)
{
    struct dv_proc_id id = {q->pid, q->start};
    if (q->pid <= 1 || q->signo <= 0 || q->signo > SIGRTMAX)
        return -EINVAL;
    dv_cleanup(dv_fd_close) int fd = dv_proc_pidfd(&id);
    if (fd < 0)
        return fd;
    return syscall(SYS_pidfd_send_signal, fd, q->signo, NULL, 0) < 0 ? -errno : 0;
}

static size_t answer_facts(struct worker *w, const struct dv_worker_request *q,
                           struct dv_worker_reply *a, struct dv_err *err)
{
    size_t fixed = offsetof(struct dv_worker_reply, u);
    switch (q->op) {
    case DV_WORKER_DRIVER:
        a->status = dv_hardware_driver(w->hw, &a->u.driver, err);
        return fixed + sizeof a->u.driver;
    case DV_WORKER_GPU:
        a->status = dv_hardware_gpu(w->hw, q->index, &a->u.gpu, err);
        if (!a->status && !w->config->replay && q->index < DV_FACTS_GPUS_MAX)
            a->u.gpu.timeslice = w->timeslice[q->index];
        return fixed + sizeof a->u.gpu;
    case DV_WORKER_TOPOLOGY:
        a->status = dv_hardware_topology(w->hw, q->index, &a->u.topology, err);
        return fixed + sizeof a->u.topology;
    case DV_WORKER_SAMPLE:
        a->status = dv_hardware_sample(w->hw, q->index, q->since_us, &a->u.sample, err);
        return fixed + sizeof a->u.sample;
    case DV_WORKER_TELEMETRY:
        a->status = dv_hardware_telemetry(w->hw, q->index, &a->u.telemetry, err);
        return fixed + sizeof a->u.telemetry;
    case DV_WORKER_EVENTS:
        a->status = dv_hardware_events(w->hw, a->u.events, DV_WORKER_EVENTS_MAX, &a->count, err);
        return fixed + a->count * sizeof a->u.events[0];
    case DV_WORKER_ACCOUNTING:
        a->status = dv_hardware_account(w->hw, q->index, q->change.accounting != 0, err);
        return fixed;
    case DV_WORKER_ACCOUNTED:
        a->status = dv_hardware_accounted(w->hw, q->index, (uint32_t)q->pid, &a->u.accounted, err);
        return fixed + sizeof a->u.accounted;
    default:
        a->status = dv_err_set(err, -EINVAL, "the worker knows no question %u", q->op);
        return fixed;
    }
}

static int make_step(struct worker *w, const struct dv_step *step, struct dv_receipt *ret,
                     struct dv_err *err)
{
    if (step->kind == DV_STEP_MIG_MODE) { /* a GPU that is open here cannot be reset */
        dv_hardware_free(w->hw);
        w->hw = NULL;
    }
    int r = dv_actuate_step(w->actuator, step, ret, err);
    if (r == 0 && step->kind == DV_STEP_TIMESLICE)
        w->timeslice[step->gpu] = step->value;
    if (r == 0 && step->kind == DV_STEP_MIG_MODE && ret->reset)
        w->timeslice[step->gpu] = DV_FACT_UNKNOWN32; /* a reset GPU has forgotten it */
    return r;
}

static size_t answer_change(struct worker *w, const struct dv_worker_request *q,
                            struct dv_worker_reply *a, struct dv_err *err)
{
    size_t fixed = offsetof(struct dv_worker_reply, u);
    switch (q->op) {
    case DV_WORKER_TIMESLICES:
        a->status = dv_nvml_actuator_timeslices(w->actuator, w->timeslice, DV_FACTS_GPUS_MAX, err);
        return fixed;
    case DV_WORKER_STEP:
        a->status = make_step(w, &q->change.step, &a->u.receipt, err);
        return fixed + sizeof a->u.receipt;
    case DV_WORKER_MPS:
        a->status = dv_actuate_mps(w->actuator, (enum dv_mps_op)q->change.mps.op,
                                   &q->change.mps.spec, q->change.mps.argument, &a->u.mps, err);
        return fixed + sizeof a->u.mps;
    default:
        a->status = dv_actuate_memory_limit(w->actuator, &q->change.limit, err);
        return fixed;
    }
}

static size_t answer(struct worker *w, const struct dv_worker_request *q, struct dv_worker_reply *a,
                     struct dv_err *err)
{
    bool change = q->op >= DV_WORKER_TIMESLICES && q->op <= DV_WORKER_MEMORY_LIMIT;
    size_t fixed = offsetof(struct dv_worker_reply, u);
    a->status = dv_worker_check(q, err);
    if (!a->status && q->op == DV_WORKER_SIGNAL) {
        a->status = signal_process(q);
        return fixed;
    }
    if (!a->status)
        a->status = change ? open_actuator(w, err) : open_hardware(w, err);
    if (a->status)
        return fixed;
    return change ? answer_change(w, q, a, err) : answer_facts(w, q, a, err);
}

static int serve_one(int sock, struct worker *w, struct dv_worker_reply *a)
{
    struct dv_worker_request q;
    struct dv_err err = {0};
    ssize_t n = dv_fd_receive(sock, &q, sizeof q, NULL, NULL);
    if (n != sizeof q || q.magic != DV_WORKER_MAGIC)
        return -EPROTO;
    memset(a, 0, offsetof(struct dv_worker_reply, u));
    a->magic = DV_WORKER_MAGIC;
    a->op = q.op;
    a->seq = q.seq;
    size_t size = answer(w, &q, a, &err);
    if (a->status) {
        size = offsetof(struct dv_worker_reply, u);
        snprintf(a->message, sizeof a->message, "%.*s", (int)sizeof a->message - 1, err.msg);
    }
    return dv_fd_send(sock, a, size, NULL, 0);
}

void dv_worker_serve(int sock, const struct dv_keeper_config *config)
{
    struct worker w = {.config = config};
    struct dv_worker_reply *a = calloc(1, sizeof *a); /* all of it may be sent */
    memset(w.timeslice, 0xff, sizeof w.timeslice);
    if (a)
        while (serve_one(sock, &w, a) == 0)
            ;
    free(a);
    dv_actuator_free(w.actuator);
    dv_hardware_free(w.hw);
}

/* ---- the keeper ---- */

static void drop_signals(void)
{
    /* A terminal's Ctrl-C goes to the whole group; main decides when the others end. */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}

static void become_worker(int sock, const struct dv_keeper_config *config, pid_t keeper)
{
    prctl(PR_SET_NAME, config->name ? config->name : "divvyd-hardware");
    if (dv_proc_die_with_parent(SIGKILL, keeper) < 0)
        _exit(1);
    dv_worker_serve(sock, config);
    _exit(0);
}

/* Kills the last worker, forks the next one, passes its socket on. */
static void replace_worker(int main_sock, const struct dv_keeper_config *config, pid_t *worker)
{
    int pair[2];
    pid_t me = getpid();
    char status = 1;
    if (*worker > 0)
        kill(*worker, SIGKILL);
    *worker = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        dv_fd_send(main_sock, &status, 1, NULL, 0);
        return;
    }
    *worker = fork();
    if (*worker == 0) {
        close(main_sock);
        close(pair[0]);
        become_worker(pair[1], config, me);
    }
    close(pair[1]);
    status = *worker < 0;
    dv_fd_send(main_sock, &status, 1, pair, *worker < 0 ? 0 : 1);
    close(pair[0]);
}

static void keep(int sock, const struct dv_keeper_config *config)
{
    pid_t worker = -1;
    char c;
    for (;;) {
        struct pollfd p = {sock, POLLIN, 0};
        /* A killed worker in an uninterruptible call ends late: look again from time to time. */
        int n = poll(&p, 1, 5000);
        for (pid_t ended; (ended = waitpid(-1, NULL, WNOHANG)) > 0;)
            if (ended == worker)
                worker = -1; /* its number may be another's from here on */
        if (n > 0 && dv_fd_receive(sock, &c, 1, NULL, NULL) != 1)
            break;
        if (n > 0)
            replace_worker(sock, config, &worker);
    }
    if (worker > 0)
        kill(worker, SIGKILL);
}

int dv_keeper_start(const struct dv_keeper_config *config, struct dv_keeper *ret,
                    struct dv_err *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return dv_err_set(err, -errno, "cannot make a socket: %s", strerror(errno));
    pid_t main_pid = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        int r = -errno;
        close(pair[0]);
        close(pair[1]);
        return dv_err_set(err, r, "cannot fork: %s", strerror(-r));
    }
    if (pid == 0) {
        close(pair[0]);
        prctl(PR_SET_NAME, "divvyd-keeper");
        drop_signals();
        if (config->sim_socket)
            setenv("DIVVY_SIM_SOCKET", config->sim_socket, 1);
        dv_proc_no_new_privileges();
        if (dv_proc_die_with_parent(SIGKILL, main_pid) == 0)
            keep(pair[1], config);
        _exit(0);
    }
    close(pair[1]);
    dv_fd_set_nonblocking(pair[0], true);
    *ret = (struct dv_keeper){pair[0], pid};
    return 0;
}

int dv_keeper_ask(const struct dv_keeper *keeper)
{
    return dv_fd_send(keeper->sock, "w", 1, NULL, 0);
}

int dv_keeper_take(const struct dv_keeper *keeper)
{
    char status;
    int fd = -1;
    uint32_t count = 1;
    ssize_t n = dv_fd_receive(keeper->sock, &status, 1, &fd, &count);
    if (n < 0)
        return (int)n;
    if (!n)
        return -EPIPE;
    return count ? fd : -EAGAIN;
}

void dv_keeper_stop(struct dv_keeper *keeper)
{
    if (keeper->sock < 0)
        return;
    dv_fd_close(&keeper->sock);
    if (keeper->pid > 0)
        waitpid(keeper->pid, NULL, 0);
    keeper->pid = -1;
}
