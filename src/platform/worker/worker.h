/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's library may block for ever, crash, or need rights that the daemon should not have;
 * so it lives in a process of its own. Three processes:
 *
 *     main      asks, never waits; gives up its rights
 *       keeper  keeps them; forks workers when asked and passes their socket on, so that a wedged
 *               or crashed worker can be replaced although main cannot fork a privileged process
 *         worker  alone loads the library; typed requests in, typed replies out
 *
 * This header is the wire between them: SOCK_SEQPACKET, one struct per message, same program on
 * both ends. The worker checks every field that it uses.
 *
 *     dv_keeper_start(&config, &keeper, &err)      early, single-threaded, still privileged
 *     dv_hardware_link_new(loop, &keeper, ...)     link.h: main's side
 */
#ifndef DV_WORKER_WORKER_H
#define DV_WORKER_WORKER_H

#include "hardware/hardware.h"

#include <sys/types.h>

#define DV_WORKER_MAGIC 0x57564944u /* "DIVW" */

enum dv_worker_op {
    DV_WORKER_DRIVER = 1, /* -> dv_facts_driver */
    DV_WORKER_GPU = 2,    /* index -> dv_facts_gpu */
    DV_WORKER_SAMPLE = 3, /* index, since_us -> dv_facts_sample */
    DV_WORKER_EVENTS = 4, /* -> dv_facts_event[] */
    DV_WORKER_SIGNAL = 5, /* pid, start, signo: -errno in `status` */
};

struct dv_worker_request {
    uint32_t magic;
    uint32_t op;
    uint64_t seq;
    uint32_t index; /* GPU */
    int32_t pid, signo;
    uint32_t reserved;
    uint64_t start; /* with pid: who it must be */
    uint64_t since_us;
};

#define DV_WORKER_EVENTS_MAX 64u

struct dv_worker_reply {
    uint32_t magic;
    uint32_t op;
    uint64_t seq;
    int32_t status; /* 0, negative errno, or enum dv_hardware_status */
    uint32_t count; /* of events */
    char message[200];
    union {
        struct dv_facts_driver driver;
        struct dv_facts_gpu gpu;
        struct dv_facts_sample sample;
        struct dv_facts_event events[DV_WORKER_EVENTS_MAX];
    } u;
};

struct dv_keeper_config {
    const char *library;    /* NVML: a path or "libnvidia-ml.so.1" */
    const char *replay;     /* a capture to answer from instead; NULL */
    const char *sim_socket; /* $DIVVY_SIM_SOCKET of the workers; NULL without a simulated GPU */
};

struct dv_keeper {
    int sock; /* -1 when there is none */
    pid_t pid;
};

/* Forks the keeper. 0 or negative errno. */
int dv_keeper_start(const struct dv_keeper_config *config, struct dv_keeper *ret,
                    struct dv_err *err);
/* Asks for a worker in place of the last one, which is killed. Answers on keeper->sock with one
 * byte and the worker's socket; read it by dv_keeper_take(). Never waits. */
int dv_keeper_ask(const struct dv_keeper *keeper);
/* The worker's socket, or -EAGAIN, or another negative errno. */
int dv_keeper_take(const struct dv_keeper *keeper);
/* Hangs up; keeper and worker end. */
void dv_keeper_stop(struct dv_keeper *keeper);

/* The worker's own loop, for tests: serves until hang-up. */
void dv_worker_serve(int sock, const struct dv_keeper_config *config);

#endif
