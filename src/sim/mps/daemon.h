/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the control daemon, shared by its files: daemon.c (start, loop, connections), servers.c
 * (servers and the clients that wait for one), answer.c (commands), and for protocol 3 named.c
 * (named servers and namespaces) and answer3.c (its commands). One thread, no waiting but in poll
 * and in requests to divvy-sim.
 */
#ifndef DV_SIM_MPS_DAEMON_H
#define DV_SIM_MPS_DAEMON_H

#include "mps/command.h"
#include "mps/log.h"
#include "mps/node.h"
#include "mps/v3.h"

#include <sys/types.h>

#define DV_MPSD_CONNECTIONS_MAX 1024u
#define DV_MPSD_NAMED_MAX 16u
#define DV_MPSD_NAMESPACES_MAX 64u /* of one server; the first is its default */
#define DV_MPSD_NONE UINT32_MAX
#define DV_MPSD_PARTITIONS_MAX 64u
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
    struct dv_mpsd_limits limits; /* of clients that come from now on; protocol 2 */
    uint32_t named;               /* whose process it is; DV_MPSD_NONE: protocol 2, or deleted */
    uint32_t n_devices;
    uint32_t device[DV_SIM_MPS_DEVICES_MAX]; /* indices into the daemon's */
};

/* Protocol 3: a group of clients of a named server, chosen by the socket that they connect to. */
struct dv_mpsd_namespace {
    char name[DV_MPSV3_NAME]; /* empty = free */
    uint32_t threads;
    int32_t priority;
    uint64_t bytes; /* of each device; 0 = no limit */
    int listening;
};

struct dv_mpsd_named {
    char name[DV_MPSV3_NAME]; /* empty = free */
    uid_t uid;
    uint32_t n_devices;
    uint32_t device[DV_SIM_MPS_DEVICES_MAX]; /* indices into the daemon's */
    bool all_devices;
    int listening; /* leads to the default namespace */
    struct dv_mpsd_namespace space[DV_MPSD_NAMESPACES_MAX];
};

/* A static SM partition: whole chunks of a device's SMs, for the clients that name it. */
struct dv_mpsd_partition {
    uint32_t number; /* 0 = free */
    uint32_t device; /* index into the daemon's */
    uint32_t chunks, sms;
    char id[DV_MPSCOMMAND_PARTITION];
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
    uint32_t partition;    /* the number of a client's static partition; 0 = none */
    uint32_t named, space; /* protocol 3: which socket; DV_MPSD_NONE: the daemon's */
    struct dv_mps_client wishes;
};

struct dv_mpsd_options {
    bool foreground, multiuser;
    bool partitions;          /* -S: clients run in static partitions only */
    const char *pipes, *logs; /* directories */
    uint32_t protocol;        /* 2, 3 */
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
    struct dv_mpsd_named *named; /* protocol 3: DV_MPSD_NAMED_MAX of them */
    struct dv_mpsd_connection *connection[DV_MPSD_CONNECTIONS_MAX];
    uint32_t connections;
    struct dv_mpsd_partition partition[DV_MPSD_PARTITIONS_MAX];
    uint32_t partition_number; /* the last one given out */
    bool quitting, lost;       /* lost: the node is gone */
    uint64_t deadline_ns;      /* when quitting turns to force; DV_NEVER */
};

/* ---- daemon.c ---- */
/* Takes the pipe directory: -EBUSY when a daemon has it. Then dv_mpsd_run, dv_mpsd_free. */
int dv_mpsd_new(const struct dv_mpsd_options *o, struct dv_mpsd **ret, struct dv_err *err);
int dv_mpsd_run(struct dv_mpsd *d);
void dv_mpsd_free(struct dv_mpsd *d);
/* A socket below the pipe directory, "a/b/control"; its directory is made. A descriptor. */
int dv_mpsd_listen(const struct dv_mpsd *d, const char *path, struct dv_err *err);
/* Removes what dv_mpsd_listen made. */
void dv_mpsd_unlisten(const struct dv_mpsd *d, const char *path, int fd);
/* Answers a message; a connection that does not read is dropped. */
void dv_mpsd_reply(struct dv_mpsd *d, struct dv_mpsd_connection *c, enum dv_mps_kind kind,
                   int32_t status, const char *text);

/* ---- servers.c ---- */
struct dv_mpsd_server *dv_mpsd_server_find(struct dv_mpsd *d, uint32_t pid);
/* A server of that user; `named`: of that name, DV_MPSD_NONE of none. 0 or negative errno. */
int dv_mpsd_server_start(struct dv_mpsd *d, uid_t uid, uint32_t named);
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
/* The text of a client's command line, and the number of its pid name space; 0 = not known. */
void dv_mpsd_command_of(uint32_t pid, char ret[64]);
uint64_t dv_mpsd_pid_namespace_of(uint32_t pid);
/* The index of a device that a command names; -ENOENT. */
int dv_mpsd_device(const struct dv_mpsd *d, const char *word);

/* ---- partitions.c ---- */
/* The commands; as dv_mpsd_answer. */
int dv_mpsd_partition_add(struct dv_mpsd *d, const struct dv_mpscommand *q, struct dv_str *out);
int dv_mpsd_partition_remove(struct dv_mpsd *d, const struct dv_mpscommand *q, struct dv_str *out);
int dv_mpsd_partition_list(struct dv_mpsd *d, struct dv_str *out);
/* "UUID/ID" of a client's environment; NULL: there is no such. */
const struct dv_mpsd_partition *dv_mpsd_partition_find(const struct dv_mpsd *d, const char *text);

/* ---- named.c ---- */
/* 0, -EEXIST, -ENOSPC and others: with a message. */
int dv_mpsd_named_add(struct dv_mpsd *d, const char *name, uid_t uid, const char *devices,
                      uint32_t *ret, struct dv_err *err);
void dv_mpsd_named_remove(struct dv_mpsd *d, uint32_t named);
int dv_mpsd_named_add_space(struct dv_mpsd *d, uint32_t named, const char *name,
                            struct dv_err *err);
void dv_mpsd_named_remove_space(struct dv_mpsd *d, uint32_t named, uint32_t space);
/* DV_MPSD_NONE: no such. */
uint32_t dv_mpsd_named_find(const struct dv_mpsd *d, const char *name);
uint32_t dv_mpsd_named_find_space(const struct dv_mpsd_named *n, const char *name);
/* Its process; NULL: it has none. */
struct dv_mpsd_server *dv_mpsd_named_server(struct dv_mpsd *d, uint32_t named);
/* The named server for a client: by its socket, or the first of its user, made if there is none. */
int dv_mpsd_named_route(struct dv_mpsd *d, struct dv_mpsd_connection *c);

/* ---- answer3.c ---- */
/* As dv_mpsd_answer, for protocol 3. `uid`: who asks. */
int dv_mpsd_answer3(struct dv_mpsd *d, uid_t uid, const char *line, struct dv_str *out);

/* ---- answer.c ---- */
/* Does what the line says, and writes what is to be printed. 0, 1 = failed, 2 = quit. */
int dv_mpsd_answer(struct dv_mpsd *d, const char *line, struct dv_str *out);

#endif
