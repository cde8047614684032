/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps made real: what changes a GPU. One vtable, two back ends: the driver's (NVML, nvidia-smi,
 * nvidia-cuda-mps-control; nvml_actuator.h) and a dry run (dry_actuator.h), which keeps a model of
 * the GPU and can be told to fail. Everything blocks for as long as the driver does; divvyd calls
 * it in the privileged worker process only (platform/worker).
 *
 * Every step is safe to repeat: what is done already is a success with the same receipt. A step
 * that fails leaves what it found, or says so in the message.
 *
 *     struct dv_receipt receipt;
 *     int r = dv_actuate_step(a, &plan.steps[i], &receipt, &err);
 *
 * Errors: 0; negative errno: broken, passed on unchanged; positive: enum dv_actuate_status.
 */
#ifndef DV_ACTUATE_ACTUATE_H
#define DV_ACTUATE_ACTUATE_H

#include "policy/layout_plan.h"

#define DV_MPS_CLIENTS_MAX 64u
#define DV_MPS_NAME_SIZE 32u
#define DV_MPS_DOOR_SIZE 20u
#define DV_CGROUP_SIZE 512u

enum dv_actuate_status {
    DV_ACTUATE_IN_USE = 1,        /* somebody uses what was to go or change */
    DV_ACTUATE_NO_ROOM = 2,       /* the driver finds no place, or not enough of something */
    DV_ACTUATE_NOT_FOUND = 3,     /* no such GPU, instance, device, daemon */
    DV_ACTUATE_NOT_PERMITTED = 4, /* more rights are needed */
    DV_ACTUATE_NOT_SUPPORTED = 5, /* this driver or GPU cannot */
    DV_ACTUATE_NEEDS_RESET = 6,   /* done, but pending until the GPU is reset, which is not possible
                                     now or was not allowed */
    DV_ACTUATE_FAILED = 7,        /* the driver said no; the message has its words */
};

/* What a step made. */
struct dv_receipt {
    uint32_t gi, ci;           /* of what was created; UINT32_MAX where nothing was */
    uint32_t reset;            /* 1: the GPU was reset for it */
    char device[DV_UUID_SIZE]; /* the MIG device, after CI_CREATE */
};

/* ---- MPS: one control daemon per device ---- */

struct dv_mps_spec {
    char device[DV_UUID_SIZE];   /* GPU-... or MIG-... */
    char name[DV_MPS_NAME_SIZE]; /* its folder below the state directory's mps/: "g0", "g0i3c0" */
    uint64_t memory_bytes;       /* the default limit of a client process; 0: none */
    uint32_t threads_percent;    /* the default active thread percentage, 1..100; 0: none */
    uint32_t namespaces;         /* 1: protocol 3, limits by namespace */
    uint32_t alone;              /* 1: whoever does not come through MPS cannot use the GPU: compute
                                    mode EXCLUSIVE_PROCESS until the daemon stops; whole GPUs only */
    uint32_t uid;                /* NAMESPACE: the user whose clients may come into it */
    char door[DV_MPS_DOOR_SIZE]; /* NAMESPACE, _END: a container's way to it (mps.h); "": none */
};

enum dv_mps_server_state {
    DV_MPS_NO_SERVER, /* it starts with the first client */
    DV_MPS_SERVER_ACTIVE,
    DV_MPS_SERVER_FAULT, /* a fatal fault: it takes its clients down, and no new ones meanwhile */
    DV_MPS_SERVER_OTHER,
};

struct dv_mps_status {
    uint32_t up;    /* 1: the control daemon answers */
    uint32_t hangs; /* 1: it is there, and does not */
    uint32_t server_state;
    int32_t control_pid, server_pid; /* 0: none, or not known */
    uint32_t n_clients;
    int32_t clients[DV_MPS_CLIENTS_MAX]; /* pids */
    uint32_t threads_percent;            /* the default in force; 0: not known */
    uint32_t clients_max; /* the driver's limit, as a probe found it: with so many clients there one
                             more was refused; 0: not known */
};

enum dv_mps_op {
    /* Starts the daemon with its limits. One that answers is kept; one that is there and does not
     * answer is killed: its server lives on for the clients that it has. */
    DV_MPS_START = 1,
    DV_MPS_STOP = 2, /* quit; its clients end (they must have left, or be told to) */
    DV_MPS_STATUS = 3,
    DV_MPS_LIMIT = 4, /* sets the default limits; for clients that come later */
    DV_MPS_PROBE = 5, /* a real client connection: a process of its own makes a context and ends */
    DV_MPS_NAMESPACE = 6, /* makes or changes a namespace with these limits; `argument` its name */
    DV_MPS_NAMESPACE_END = 7,
    DV_MPS_RENEW = 8, /* ends a server in fault, whose clients' contexts are gone, by force */
};

/* ---- memory limits by cgroup ---- */

struct dv_memory_limit {
    char device[DV_UUID_SIZE]; /* a whole GPU */
    char cgroup[32];           /* below divvy's own cgroup: "s-7" */
    uint64_t bytes;            /* UINT64_MAX: the cgroup goes; where somebody is in it still he gets
                                  no more memory, and the answer is DV_ACTUATE_IN_USE */
    int32_t pid;               /* to be moved into it, or at its end out of it; 0: nobody */
    uint32_t sweep;            /* 1: all empty cgroups of this state directory go first */
    uint64_t start;            /* with pid: who it must be */
    char back[DV_CGROUP_SIZE]; /* at the end: the cgroup that pid came from, "/user.slice"; "": top
                                */
    uint32_t own; /* 1: `back` is limited itself, and nobody moves: it is a container's, and pid,
                     unless it is the end, is in it or below; `cgroup` only names the slice */
};

struct dv_actuator;

struct dv_actuator_ops {
    void (*free)(struct dv_actuator *a);
    int (*step)(struct dv_actuator *a, const struct dv_step *step, struct dv_receipt *ret,
                struct dv_err *err);
    int (*mps)(struct dv_actuator *a, enum dv_mps_op op, const struct dv_mps_spec *spec,
               const char *argument, struct dv_mps_status *ret, struct dv_err *err);
    int (*memory_limit)(struct dv_actuator *a, const struct dv_memory_limit *limit,
                        struct dv_err *err);
};

struct dv_actuator { /* first member of a back end's own struct */
    const struct dv_actuator_ops *ops;
};

static inline void dv_actuator_free(struct dv_actuator *a)
{
    if (a)
        a->ops->free(a);
}

static inline int dv_actuate_step(struct dv_actuator *a, const struct dv_step *step,
                                  struct dv_receipt *ret, struct dv_err *err)
{
    return a->ops->step(a, step, ret, err);
}

static inline int dv_actuate_mps(struct dv_actuator *a, enum dv_mps_op op,
                                 const struct dv_mps_spec *spec, const char *argument,
                                 struct dv_mps_status *ret, struct dv_err *err)
{
    return a->ops->mps(a, op, spec, argument, ret, err);
}

static inline int dv_actuate_memory_limit(struct dv_actuator *a,
                                          const struct dv_memory_limit *limit, struct dv_err *err)
{
    return a->ops->memory_limit(a, limit, err);
}

#endif
