/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the control daemon, shared by its files: daemon.c (start, loop, connections), servers.c
 * (servers and the clients that wait for one), answer.c (commands). One thread, no waiting but in
 * poll and in requests to divvy-sim.
 */
#ifndef DV_SIM_MPS_DAEMON_H
#define DV_SIM_MPS_DAEMON_H

#include "mps/command.h"
#include "mps/log.h"
#include "mps/node.h"

#include <sys/types.h>

#define DV_MPSD_CONNECTIONS_MAX 1024u
#define DV_MPSD_TICK_MS 20 /* how often is looked whether the last client has gone */

struct dv_mpsd_limits {
    uint32_t threads;                              /* thousandths of a percent */
    int32_t priority;                              /* 0 normal, 1 below */
    uint64_t memory_bytes[DV_SIM_MPS_DEVICES_MAX]; /* by device; 0 = none */
};

enum dv_mpsd_server_state {
    DV_MPSD_FREE = 0,
    DV_MPSD_STARTING,
    DV_MPSD_READY,
    DV_MPSD_DRAINING, /* takes no clients; ends with its last one */
    DV_MPSD_ENDING,   /* has been told to end */
};

struct dv_mpsd_server {
    enum dv_mpsd_server_state state;
    pid_t pid;
    uid_t uid;
    int fd;
    struct dv_mpsd_limits limits; /* of clients that come from now on */
};

enum dv_mpsd_role {
    DV_MPSD_NEW = 0,
    DV_MPSD_WAITS,     /* a client without a server yet */
    DV_MPSD_CONNECTED, /* a client */
    DV_MPSD_QUITS,     /* has said quit, waits for the end */
};

struct dv_mpsd_connection {
    int fd;
    pid_t pid;
    uid_t uid;
    enum dv_mpsd_role role;
    struct dv_mps_client wishes;
};

struct dv_mpsd_options {
    bool foreground, multiuser;
    const char *pipes, *logs; /* directories */
};

struct dv_mpsd {
    struct dv_mpsd_options options;
    int node, listening, signals, lock;
    struct dv_mpslog control_log, server_log;
    struct dv_sim_welcome welcome;
    uint32_t n_devices;
    struct dv_sim_device device[DV_SIM_MPS_DEVICES_MAX];
    struct dv_mpsd_limits defaults; /* of servers that start from now on */
    struct dv_mpsd_server server[DV_SIM_MPS_SERVERS_MAX];
    struct dv_mpsd_connection *connection[DV_MPSD_CONNECTIONS_MAX];
    uint32_t connections;
    bool quitting, lost;  /* lost: the node is gone */
    uint64_t deadline_ns; /* when quitting turns to force; DV_NEVER */
};

/* ---- daemon.c ---- */
/* Takes the pipe directory: -EBUSY when a daemon has it. Then dv_mpsd_run, dv_mpsd_free. */
int dv_mpsd_new(const struct dv_mpsd_options *o, struct dv_mpsd **ret, struct dv_err *err);
int dv_mpsd_run(struct dv_mpsd *d);
void dv_mpsd_free(struct dv_mpsd *d);
/* Answers a message; a connection that does not read is dropped. */
void dv_mpsd_reply(struct dv_mpsd *d, struct dv_mpsd_connection *c, enum dv_mps_kind kind,
                   int32_t status, const char *text);

/* ---- servers.c ---- */
struct dv_mpsd_server *dv_mpsd_server_find(struct dv_mpsd *d, uint32_t pid);
/* A server of that user. 0 or negative errno. */
int dv_mpsd_server_start(struct dv_mpsd *d, uid_t uid);
/* Its socket has something to say, or hung up. */
void dv_mpsd_server_ready(struct dv_mpsd *d, struct dv_mpsd_server *s);
void dv_mpsd_server_drain(struct dv_mpsd *d, struct dv_mpsd_server *s, bool force);
/* Ends drained servers. True while there is something to look at again soon. */
bool dv_mpsd_servers_tick(struct dv_mpsd *d);
uint32_t dv_mpsd_servers_count(const struct dv_mpsd *d);
/* Gives the clients that wait what they wait for. */
void dv_mpsd_serve(struct dv_mpsd *d);
/* 0, or what divvy-sim said. */
int dv_mpsd_status(struct dv_mpsd *d, const struct dv_mpsd_server *s,
                   struct dv_sim_mps_status *ret);
/* The index of a device that a command or a variable names; -ENOENT. */
int dv_mpsd_device(const struct dv_mpsd *d, const char *word);

/* ---- answer.c ---- */
/* Does what the line says, and writes what is to be printed. 0, 1 = failed, 2 = quit. */
int dv_mpsd_answer(struct dv_mpsd *d, const char *line, struct dv_str *out);

#endif
