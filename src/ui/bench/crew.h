/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that prepare, wait at one gate, and then run together (`divvy-load infer --gate`).
 *
 *     struct dv_bench_crew crew;
 *     dv_bench_crew_init(&crew, &stop);
 *     dv_bench_crew_add(&crew, argv, &err);                for each
 *     r = dv_bench_crew_ready(&crew, timeout, &err);       all have said "ready"
 *     dv_bench_crew_go(&crew);
 *     r = dv_bench_crew_wait(&crew, timeout, NULL, NULL, &err);      all have ended
 *     ... crew.members[i].status, dv_str_get(&crew.members[i].output) ...
 *     dv_bench_crew_done(&crew);                           ends who is left
 *
 * Each command is in a process group of its own: Ctrl-C at the terminal reaches only this program,
 * which then ends them in order. They end with it, however it ends.
 */
#ifndef DV_UI_BENCH_CREW_H
#define DV_UI_BENCH_CREW_H

#include "base/err.h"
#include "base/str.h"

#include <sys/types.h>

#define DV_BENCH_CREW_MAX 64u

struct dv_bench_member {
    pid_t pid; /* 0: reaped */
    int out, err;
    struct dv_str output; /* the standard output */
    char line[256];       /* the last line of the standard error that was not "ready" */
    size_t len;           /* of the line under way */
    char next[256];
    bool ready;
    int status; /* of waitpid, once pid is 0 */
};

struct dv_bench_crew {
    struct dv_bench_member members[DV_BENCH_CREW_MAX];
    size_t n;
    int gate[2];
    const volatile int *stop;
};

/* A call under way ends with -EINTR soon after *stop is set. 0 or -errno. */
int dv_bench_crew_init(struct dv_bench_crew *crew, const volatile int *stop);
/* 0; -ENOSPC, -errno with a message. */
int dv_bench_crew_add(struct dv_bench_crew *crew, char *const *argv, struct dv_err *err);
/* 0; -ETIMEDOUT, -EINTR, -ECHILD (one ended before it was ready), with a message: its last line. */
int dv_bench_crew_ready(struct dv_bench_crew *crew, unsigned timeout_ms, struct dv_err *err);
void dv_bench_crew_go(struct dv_bench_crew *crew);
/* tick: called about every 200 ms, may be NULL. 0, -ETIMEDOUT, -EINTR. */
int dv_bench_crew_wait(struct dv_bench_crew *crew, unsigned timeout_ms, void (*tick)(void *arg),
                       void *arg, struct dv_err *err);
void dv_bench_crew_done(struct dv_bench_crew *crew);

#endif
