/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MPS on the simulated node. Three parties: a control daemon (nvidia-cuda-mps-control), the servers
 * that it starts (nvidia-cuda-mps-server, each a CUDA client of divvy-sim with a context on every
 * device it serves), and clients (processes whose libcuda found a daemon). divvy-sim believes the
 * daemon, never a client: who belongs to a server, and with what limits, is what the daemon
 * registered for the pid that the kernel names for the client's connection.
 *
 * 1. The daemon and divvy-sim: requests of abi_sim.h's form on a connection of kind
 *    DV_SIM_CLIENT_MPS, below. Status: 0, a CUresult, or negative errno.
 * 2. Anybody and the daemon: a SOCK_SEQPACKET socket "control" in the daemon's pipe directory. A
 *    message is a struct dv_mps_message and `size` bytes behind it; each gets one answer of the
 *    same kind. COMMAND carries the text of a command; CLIENT a struct dv_mps_client, and the
 *    answer may be long in coming: a server starts, or another user's server ends first. A client
 *    keeps its connection for as long as it lives.
 */
#ifndef DV_ABI_SIM_MPS_H
#define DV_ABI_SIM_MPS_H

#include "abi_sim.h"

#define DV_MPS_PIPE_ENV "CUDA_MPS_PIPE_DIRECTORY"
#define DV_MPS_PIPE_DEFAULT "/tmp/nvidia-mps"
#define DV_MPS_PIPE_V3 "/run/nvidia-mps" /* protocol 3, of root */
#define DV_MPS_LOG_ENV "CUDA_MPS_LOG_DIRECTORY"
#define DV_MPS_LOG_DEFAULT "/var/log/nvidia-mps"
#define DV_MPS_THREADS_ENV "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"
#define DV_MPS_MEMORY_ENV "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"
#define DV_MPS_PRIORITY_ENV "CUDA_MPS_CLIENT_PRIORITY"
#define DV_MPS_PARTITION_ENV "CUDA_MPS_SM_PARTITION"

#define DV_SIM_MPS_SERVERS_MAX 64u
#define DV_SIM_MPS_DEVICES_MAX 16u
#define DV_SIM_MPS_WHOLE 100000u /* thousandths of a percent: all threads */

/* ---- the daemon and divvy-sim --------------------------------------------------------------- */

enum dv_sim_mps_op {
    DV_SIM_MPS_DEVICES = DV_SIM_OP_MPS, /* -> struct dv_sim_device[], all of the node */
    DV_SIM_MPS_SERVER, /* dv_sim_mps_server: a process without contexts becomes a server */
    DV_SIM_MPS_ADMIT,  /* dv_sim_mps_admit: a process without contexts becomes its client. -ENOENT:
                          no such server; -ESRCH: no such process on this node */
    DV_SIM_MPS_STATUS, /* uint32 server's pid -> dv_sim_mps_status */
    DV_SIM_MPS_TERMINATE, /* dv_sim_mps_terminate: its contexts end with MPS_CLIENT_TERMINATED */
};

struct dv_sim_mps_server {
    uint32_t pid;
    uint32_t multiuser; /* 1: clients of any user; else of the server's own */
    uint32_t n_devices;
    uint32_t device[DV_SIM_MPS_DEVICES_MAX]; /* dv_sim_device.id; in this order for clients too */
    uint32_t reserved;
};

struct dv_sim_mps_admit {
    uint32_t server, client; /* pids */
    uint32_t threads;        /* 1 .. DV_SIM_MPS_WHOLE */
    int32_t priority;        /* kept, not acted upon */
    /* A static SM partition of one of the server's devices; its clients see that device alone, and
     * `partition_sms` are theirs together. partition 0 = none. */
    uint32_t partition, partition_device, partition_sms;
    uint32_t reserved;
    uint64_t memory_bytes[DV_SIM_MPS_DEVICES_MAX]; /* of each of the server's devices; 0 = all */
};

enum dv_sim_mps_state {
    DV_SIM_MPS_ACTIVE = 1,
    DV_SIM_MPS_FAULT = 2, /* a fatal fault; until the clients that it took down are gone */
};

#define DV_SIM_MPS_CLIENTS_MAX 512u

struct dv_sim_mps_status {
    uint32_t state; /* enum dv_sim_mps_state */
    uint32_t clients;
    struct {
        uint32_t pid;
        uint32_t error;   /* the CUresult that ended its contexts; 0 = fine */
        uint32_t devices; /* bit i: it has a context on the server's device i */
        uint32_t contexts;
    } client[DV_SIM_MPS_CLIENTS_MAX];
};

struct dv_sim_mps_terminate {
    uint32_t server, client;
};

/* ---- the control socket --------------------------------------------------------------------- */

#define DV_MPS_MAGIC 0x53504D44u /* "DMPS" */
#define DV_MPS_TEXT_MAX 32768u

enum dv_mps_kind {
    DV_MPS_CLIENT = 1,
    DV_MPS_COMMAND = 2, /* text; the answer is what to print, status 1 = the command failed */
};

struct dv_mps_message {
    uint32_t magic;
    uint16_t kind; /* enum dv_mps_kind */
    uint16_t reserved;
    int32_t status; /* of an answer */
    uint32_t size;
};

/* What the client's environment asks for: NUL-terminated, empty = nothing. It can only lower what
 * it would get. The answer is a status: 0, a CUresult, or DV_MPS_OTHER_NODE. */
struct dv_mps_client {
    char threads[32];
    char priority[32];
    char memory[1024];
    char partition[192];
};

#define DV_MPS_OTHER_NODE (-1) /* this daemon serves another simulated node: go on without MPS */

_Static_assert(sizeof(struct dv_sim_mps_status) < DV_SIM_PAYLOAD_MAX, "ABI");

#endif
