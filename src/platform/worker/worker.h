/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's library may block for ever, crash, or need rights that the daemon should not have;
 * so it lives in a process of its own. Three processes:
 *
 *     main      asks, never waits; gives up its rights
 *       keeper  keeps them; forks workers when asked and passes their socket on, so that a wedged
 *               or crashed worker can be replaced although main cannot fork a privileged process
 *         worker  alone loads the library and changes GPUs; typed requests in, typed replies out
 *
 * This header is the wire between them: SOCK_SEQPACKET, one struct per message, same program on
 * both ends. The worker checks every field that it uses (dv_worker_check): main has fewer rights.
 *
 *     dv_keeper_start(&config, &keeper, &err)      early, single-threaded, still privileged
 *     dv_hardware_link_new(loop, &keeper, ...)     link.h: main's side
 */
#ifndef DV_WORKER_WORKER_H
#define DV_WORKER_WORKER_H

#include "actuate/actuate.h"
#include "hardware/hardware.h"

#include <sys/types.h>

#define DV_WORKER_MAGIC 0x57564944u /* "DIVW" */

enum dv_worker_op {
    DV_WORKER_DRIVER = 1, /* -> dv_facts_driver */
    DV_WORKER_GPU = 2,    /* index -> dv_facts_gpu */
    DV_WORKER_SAMPLE = 3, /* index, since_us -> dv_facts_sample */
    DV_WORKER_EVENTS = 4, /* -> dv_facts_event[] */
    DV_WORKER_SIGNAL = 5, /* pid, start, signo: -errno in `status` */
    /* Asks nvidia-smi for the time-slice settings, which NVML does not tell and which may take
     * seconds; from then on GPU's answers carry them. A TIMESLICE step keeps them up to date. */
    DV_WORKER_TIMESLICES = 6,
    DV_WORKER_STEP = 7,         /* change.step -> dv_receipt */
    DV_WORKER_MPS = 8,          /* change.mps -> dv_mps_status */
    DV_WORKER_MEMORY_LIMIT = 9, /* change.limit */
    DV_WORKER_TELEMETRY = 10,   /* index -> dv_facts_telemetry */
    /* The driver's accounting of processes. NOT_PERMITTED and NOT_SUPPORTED are ordinary answers.
     */
    DV_WORKER_ACCOUNTING = 11, /* index, change.accounting: 1 switches it on */
    DV_WORKER_ACCOUNTED = 12,  /* index, pid -> dv_facts_accounted; -ESRCH */
    DV_WORKER_TOPOLOGY = 13,   /* index -> dv_facts_topology */
};

#define DV_WORKER_ARGUMENT 64u

struct dv_worker_request {
    uint32_t magic;
    uint32_t op;
    uint64_t seq;
    uint32_t index; /* GPU */
    int32_t pid, signo;
    uint32_t reserved;
    uint64_t start; /* with pid: who it must be */
    uint64_t since_us;
    union {
        struct dv_step step; /* with its own number of the GPU */
        struct {
            uint32_t op; /* enum dv_mps_op */
            uint32_t reserved;
            struct dv_mps_spec spec;
            char argument[DV_WORKER_ARGUMENT]; /* a namespace's name */
        } mps;
        struct dv_memory_limit limit;
        uint32_t accounting; /* 0, 1 */
    } change;
};

/* Is what main asks for well-formed: texts that end and have only the characters that such texts
 * have, numbers within their bounds? 0, or -EINVAL with a message that names the field. */
int dv_worker_check(const struct dv_worker_request *request, struct dv_err *err);
/* How long a question of this kind may take; facts_ms: how long a question for facts may. */
uint32_t dv_worker_deadline_ms(enum dv_worker_op op, uint32_t facts_ms);

#define DV_WORKER_EVENTS_MAX 64u

struct dv_worker_reply {
    uint32_t magic;
    uint32_t op;
    uint64_t seq;
    int32_t status; /* 0, negative errno, or enum dv_hardware_status; of STEP, MPS and
                       MEMORY_LIMIT enum dv_actuate_status */
    uint32_t count; /* of events */
    char message[200];
    union {
        struct dv_facts_driver driver;
        struct dv_facts_gpu gpu;
        struct dv_facts_topology topology;
        struct dv_facts_sample sample;
        struct dv_facts_telemetry telemetry;
        struct dv_facts_event events[DV_WORKER_EVENTS_MAX];
        struct dv_facts_accounted accounted;
        struct dv_receipt receipt;
        struct dv_mps_status mps;
    } u;
};

struct dv_keeper_config {
    const char *library;    /* NVML: a path or "libnvidia-ml.so.1" */
    const char *replay;     /* a capture to answer from instead; NULL */
    const char *sim_socket; /* $DIVVY_SIM_SOCKET of the workers; NULL without a simulated GPU */
    const char *libcuda;    /* for the MPS probe; NULL: "libcuda.so.1" */
    const char *tools;      /* where nvidia-smi and the like are; NULL or "": on PATH */
    const char *state_dir;  /* MPS daemons live below its mps/; NULL: no MPS */
    const char *name;       /* of the worker's process; NULL: "divvyd-hardware" */
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
