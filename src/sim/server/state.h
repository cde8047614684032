/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the divvy-sim server: what its own files share beyond node.h. One thread.
 *
 * A client is a connection. A CUDA connection has a session: the work page, streams and events. A
 * process (node.h) has the sessions of one pid, its contexts and its memory; it ends with its last
 * session or with its pidfd, whichever comes first, and takes everything with it.
 *
 *     server.c     start, loop, end             clients.c    connections and messages
 *     processes.c  processes and contexts       sessions.c   sessions and streams
 *     memory.c     allocations and IPC          cards.c      engines, pools, samples
 *     work.c       rings and completions        requests.c   CUDA and control requests
 *     mps.c        MPS servers and clients  node.c       what node.h promises
 *     accounting.c lives of processes      inside.c     what containers get of it
 */
#ifndef DV_SIM_SERVER_STATE_H
#define DV_SIM_SERVER_STATE_H

#include "abi_sim_mps.h"
#include "server/node.h"

#include <sys/epoll.h>

struct dv_simserver;
struct dv_simclientconn;
struct dv_memory;

#define DV_SIM_CLIENTS_MAX 1024u
#define DV_SIM_SESSIONS_MAX 512u
#define DV_SIM_BLOCKS_MAX (1u << 20)        /* allocations of one process */
#define DV_SIM_TOKENS_MAX 65536u            /* exported allocations of the node */
#define DV_SIM_PENDING_MAX 8192u            /* commands of one session inside the engine */
#define DV_SIM_PENDING_CROSS_MAX (1u << 18) /* the same while a stream waits for a later one */
#define DV_SIM_CROSS_MAX 65536u     /* waits of one card's stream for another card, node-wide */
#define DV_SIM_POLL_NS DV_NS_PER_MS /* how often active rings are looked at */
#define DV_SIM_LINGER_NS                                                                           \
    (3 * DV_NS_PER_MS)                     /* a ring without commands for so long is not active    \
                                            */
#define DV_SIM_NEAR_NS (50 * DV_NS_PER_US) /* an awaited completion is published within this */
#define DV_SIM_NONE UINT32_MAX

/* The CUresult values that the server itself answers with (numbers of the CUDA driver API). */
enum dv_simcuresult {
    DV_SIMCU_OK = 0,
    DV_SIMCU_INVALID_VALUE = 1,
    DV_SIMCU_OUT_OF_MEMORY = 2,
    DV_SIMCU_DEVICE_UNAVAILABLE = 46,
    DV_SIMCU_INVALID_DEVICE = 101,
    DV_SIMCU_INVALID_CONTEXT = 201,
    DV_SIMCU_INVALID_HANDLE = 400,
    DV_SIMCU_ILLEGAL_ADDRESS = 700,
    DV_SIMCU_NOT_SUPPORTED = 801,
    DV_SIMCU_MPS_RPC_FAILURE = 806,
    DV_SIMCU_MPS_SERVER_NOT_READY = 807,
    DV_SIMCU_MPS_MAX_CLIENTS_REACHED = 808,
    DV_SIMCU_MPS_CLIENT_TERMINATED = 810,
    DV_SIMCU_UNKNOWN = 999,
};

/* Something that epoll watches. `ready` may drop its own source and any other: what a source
 * belongs to is freed after the batch of events, and `fd` is -1 from the drop on. */
struct dv_simsource {
    int fd;
    void (*ready)(struct dv_simserver *s, struct dv_simsource *source, uint32_t events);
    void *owner;
};

/* ---- CUDA sessions -------------------------------------------------------------------------- */

struct dv_simpending {
    uint64_t start_ns; /* not before */
    uint64_t total_ns; /* the shortest durations of the stream's commands up to this one, summed */
    uint64_t generation;
    uint32_t event; /* 0 = not a RECORD */
};

struct dv_simstream {
    bool used;
    bool closing; /* destroyed by its process; goes when its commands are complete */
    uint32_t ctx; /* index of its context */
    uint32_t gpu;
    uint32_t engine_stream;
    uint64_t last; /* number of the last command taken */
    uint64_t done; /* number of the last command complete */
    uint64_t done_ns;
    uint64_t total_ns, done_total_ns;
    struct dv_simpending *pending; /* command n at [n & (capacity - 1)] */
    uint32_t capacity;             /* a power of two, or 0 */
};

/* The last record of an event. */
struct dv_simevent {
    uint64_t generation; /* recorded last */
    uint64_t complete;   /* the last one that is complete */
    uint64_t ticket;
    uint32_t engine_stream;
    uint32_t gpu;
};

struct dv_simsession {
    uint32_t slot;   /* place in the server's table */
    uint32_t serial; /* tells the sessions of one slot apart */
    struct dv_simproc *process;
    struct dv_simclientconn *client;
    struct dv_simsession *next; /* of the same process */

    int work_fd;
    struct dv_simsource kick;
    struct dv_sim_work *work;
    uint64_t tail;
    uint64_t active_ns;   /* when commands were found last */
    uint32_t pending;     /* commands inside the engine */
    uint32_t streams_end; /* stream indices in use are below this */
    bool full;            /* commands wait in the ring for room in the engine */
    bool broken;          /* its page makes no sense: to be dropped */
    struct dv_simstream stream[DV_SIM_STREAMS_MAX];
    struct dv_simevent *event; /* DV_SIM_EVENTS_MAX of them; untouched pages cost nothing */
};

/* ---- processes ------------------------------------------------------------------------------ */

struct dv_simblock {
    uint32_t generation; /* of this slot; part of the handle */
    bool used;
    bool imported; /* somebody else's, by IPC: costs nothing here */
    uint8_t kind;  /* enum dv_sim_mem_kind */
    uint32_t ctx;  /* index of its context; of a free slot: the next free one */
    uint64_t memory_id;
    uint64_t bytes; /* charged; of an import: its size */
    uint64_t address;
    uint64_t token; /* 0 = not exported */
};

/* What a process is to MPS (mps.c). */
struct dv_simmps_member {
    struct dv_simmps *group; /* of a client: NULL once its server is gone */
    uint32_t threads;        /* thousandths of a percent */
    int32_t priority;
    uint32_t partition, partition_device, partition_sms; /* static; 0 = none */
    uint64_t memory_limit[DV_SIM_MPS_DEVICES_MAX]; /* on each of the group's devices; 0 = none */
    uint64_t limited_bytes[DV_SIM_GPUS_MAX];       /* what counts against them, by GPU */
    uint32_t error; /* it gets no more contexts: a fault, terminated, its server gone */
    bool fatal;     /* the error is a fault's: the server is in FAULT until the client is gone */
};

/* dv_simproc.server */
struct dv_simpid {
    struct dv_simsource pidfd; /* fd -1 where the pid cannot be seen */
    struct dv_simsession *sessions;
    struct dv_simblock *block;
    uint32_t blocks_end, blocks_capacity, blocks_free; /* free slots through `ctx`; NONE ends */
    struct {
        uint64_t executed_ns; /* at the start of the sample window */
    } window[DV_SIM_GPUS_MAX];
    struct dv_simmps_member mps;
};

/* ---- connections ---------------------------------------------------------------------------- */

struct dv_simheld { /* the request to ask again, or the reply that is held back */
    struct dv_sim_header header;
    uint8_t data[];
};

struct dv_simclientconn {
    struct dv_simclient base;
    struct dv_simsource source;
    struct dv_simclientconn *next, *previous;
    bool greeted;
    struct dv_simsession *session;
    uint64_t due_ns; /* of what is held */
    bool again;      /* held is a request */
    struct dv_simheld *held;
};

/* ---- cards ---------------------------------------------------------------------------------- */

/* A place where contexts can live: the whole card, or one compute instance. */
struct dv_simplace {
    bool used;
    uint32_t gi_id, ci_id; /* DV_SIM_ANY: the whole card */
    uint32_t sm;
    char uuid[DV_SIM_UUID_SIZE];
    uint32_t partition;
};

struct dv_simpool {
    bool used;
    uint32_t gi_id;
    uint64_t bytes;
    uint32_t pool;
};

struct dv_simcard {
    struct dv_memory *memory;
    uint32_t mig;       /* the MIG mode that memory and places were made for */
    uint32_t timeslice; /* the setting that the engine has */
    uint32_t restarts;  /* of the GPU, that memory and places were made for */
    struct dv_simplace place[DV_SIM_GPUS_MAX];
    struct dv_simpool pool[DV_MIG_INSTANCES_MAX];
    uint64_t gone_busy_ns, gone_switch_ns, gone_busy_sm_ns; /* of partitions that are no more */
    uint64_t window_busy_ns;                                /* at the start of the sample window */
    uint64_t energy_ns, energy_busy_ns;                     /* energy is summed up to here */
};

struct dv_simcross { /* a stream of one card waits for an event of another card */
    uint32_t slot, serial;
    uint32_t event;
    uint64_t generation;
    uint32_t gpu, engine_stream;
    uint64_t ticket;
};

/* An MPS server: the clients' contexts on one of its devices are one hardware context. */
struct dv_simmps {
    struct dv_simproc *server; /* NULL = free */
    uint64_t number;           /* the engine's mps_group */
    bool multiuser;
    uint32_t n_devices;
    uint32_t device[DV_SIM_MPS_DEVICES_MAX]; /* dv_sim_device.id */
};

struct dv_simtoken {
    uint64_t token;
    struct dv_simproc *process;
    uint32_t block;
    int fd; /* contents; -1 = none */
};

/* Addresses of one power of two, given back and ready for use. */
struct dv_simaddresses {
    uint64_t *address;
    size_t n, capacity;
};

struct dv_simserver {
    struct dv_simnode node;
    struct dv_nodespec spec;
    struct dv_simcard card[DV_SIM_GPUS_MAX];

    int epoll;
    struct dv_simsource listening, limited, parent, signals;
    char socket[108];
    int inside; /* the directory for containers */
    bool stop;

    struct dv_simclientconn *clients;
    struct dv_simclientconn *graveyard; /* freed after the present batch of events */
    struct dv_simsession *session_graveyard;
    struct dv_simproc *process_graveyard[DV_SIM_PROCESSES_MAX];
    uint32_t n_process_graveyard;
    uint32_t n_clients;

    struct dv_simsession *session[DV_SIM_SESSIONS_MAX];
    uint32_t sessions_end;
    uint32_t serial;

    struct dv_simcross *cross;
    uint32_t n_cross, cross_capacity;
    struct dv_simtoken *token;
    uint32_t n_tokens, tokens_capacity;
    uint64_t next_token;
    uint64_t address_next;
    struct dv_simaddresses addresses[48];

    struct dv_simmps mps[DV_SIM_MPS_SERVERS_MAX];
    uint64_t mps_number;

    uint64_t window_ns;  /* start of the sample window; DV_NEVER = nothing runs */
    uint64_t xid_served; /* node.xid_head that held requests have seen */
    uint64_t deaths, death_slowest_ns;

    _Alignas(8) uint8_t request[DV_SIM_PAYLOAD_MAX + sizeof(struct dv_sim_header) + 1];
    struct dv_simreply reply;
};

/* ---- server.c ---- */
uint64_t dv_simserver_clock(void);
/* Watches source->fd. 0 or negative errno. */
int dv_simserver_watch(struct dv_simserver *s, struct dv_simsource *source, uint32_t events);
/* Stops watching and closes it; -1 is nothing. */
void dv_simserver_drop(struct dv_simserver *s, struct dv_simsource *source);

/* ---- clients.c ---- */
void dv_simclients_accept(struct dv_simserver *s, struct dv_simsource *source, uint32_t events);
void dv_simclients_drop(struct dv_simserver *s, struct dv_simclientconn *c);
/* Sends what is due and asks again what waits. Returns when the next is due. */
uint64_t dv_simclients_due(struct dv_simserver *s, uint64_t now);
void dv_simclients_bury(struct dv_simserver *s);

/* ---- processes.c ---- */
/* The process of that pid, made if there is none yet. -ENOSPC, -ESRCH (it is dead), ... */
int dv_simprocesses_get(struct dv_simserver *s, pid_t pid, uid_t uid, struct dv_simproc **ret);
/* Frees all that it has, ends its sessions and drops their connections. */
void dv_simprocesses_end(struct dv_simserver *s, struct dv_simproc *p);
void dv_simprocesses_bury(struct dv_simserver *s);
/* A context on the whole card or on a MIG device. Returns a CUresult. */
uint32_t dv_simprocesses_ctx_add(struct dv_simserver *s, struct dv_simsession *ss, uint32_t gpu,
                                 uint32_t gi, uint32_t ci, uint32_t *ret_ctx);
/* Kills the context: its work stops, its streams and its memory are gone. */
void dv_simprocesses_ctx_remove(struct dv_simserver *s, struct dv_simproc *p, uint32_t ctx);
/* The sticky error of a fault: its work stops, its memory stays until it is destroyed. */
void dv_simprocesses_ctx_fault(struct dv_simserver *s, struct dv_simproc *p, uint32_t ctx,
                               uint32_t error);

/* ---- sessions.c ---- */
int dv_simsessions_new(struct dv_simserver *s, struct dv_simclientconn *c, struct dv_simproc *p,
                       struct dv_simsession **ret);
/* Ends the session and what it made; the process stays if it has others. */
void dv_simsessions_end(struct dv_simserver *s, struct dv_simsession *ss);
void dv_simsessions_bury(struct dv_simserver *s);
/* Returns a CUresult. */
uint32_t dv_simsessions_stream_add(struct dv_simserver *s, struct dv_simsession *ss, uint32_t ctx,
                                   uint32_t *ret_stream);
uint32_t dv_simsessions_stream_close(struct dv_simserver *s, struct dv_simsession *ss,
                                     uint32_t stream);
/* Its context is gone (error 0) or dead: wakes whoever waits for it. */
void dv_simsessions_stream_end(struct dv_simserver *s, struct dv_simsession *ss, uint32_t stream,
                               uint32_t error);

/* ---- cards.c ---- */
int dv_simcards_init(struct dv_simserver *s, struct dv_err *err);
void dv_simcards_done(struct dv_simserver *s);
/* Follows the changes that NVML requests made to MIG modes and instances. */
void dv_simcards_follow(struct dv_simserver *s);
/* NULL when there is no such place: no such instance, or a whole card in MIG mode. */
struct dv_simplace *dv_simcards_place(struct dv_simserver *s, uint32_t gpu, uint32_t gi,
                                      uint32_t ci);
/* 0, DV_MEMORY_FULL or negative errno. */
int dv_simcards_take(struct dv_simserver *s, struct dv_simproc *p, uint32_t ctx, uint64_t bytes,
                     uint64_t *ret_id, uint64_t *ret_bytes);
void dv_simcards_give(struct dv_simserver *s, struct dv_simproc *p, uint32_t ctx, uint64_t id,
                      uint64_t bytes);
/* The process has given everything back: forget it. */
void dv_simcards_process_gone(struct dv_simserver *s, const struct dv_simproc *p);
/* Kills the engine's part of a context, and keeps what it has used. */
void dv_simcards_retire_ctx(struct dv_simserver *s, struct dv_simproc *p, uint32_t ctx);
/* Brings busy times, executed times and energy in the node up to now. */
void dv_simcards_refresh(struct dv_simserver *s, uint64_t now);
/* Takes the utilization samples that are due. Returns when the next is, DV_NEVER when idle. */
uint64_t dv_simcards_sample(struct dv_simserver *s, uint64_t now);
/* At least this long: the duration of a copy on a card with nothing else to do. */
uint64_t dv_simcards_copy_ns(const struct dv_simserver *s, uint32_t gpu, uint32_t direction,
                             uint64_t bytes);
uint64_t dv_simcards_fill_ns(const struct dv_simserver *s, uint32_t gpu, uint64_t bytes);

/* ---- memory.c ---- */
/* Return CUresults. */
uint32_t dv_simmemory_alloc(struct dv_simserver *s, struct dv_simsession *ss,
                            const struct dv_sim_mem_alloc *request,
                            struct dv_sim_mem_allocated *ret);
uint32_t dv_simmemory_free(struct dv_simserver *s, struct dv_simproc *p, uint64_t handle);
/* fd (-1 = none) becomes the server's on success. */
uint32_t dv_simmemory_export(struct dv_simserver *s, struct dv_simproc *p, uint64_t handle, int fd,
                             uint64_t *ret_token);
/* *ret_fd stays the server's. */
uint32_t dv_simmemory_open(struct dv_simserver *s, struct dv_simproc *p, uint64_t token,
                           struct dv_sim_ipc_opened *ret, int *ret_fd);
uint32_t dv_simmemory_close(struct dv_simserver *s, struct dv_simproc *p, uint64_t handle);
/* Frees what was allocated in a context; DV_SIM_NONE: everything. */
void dv_simmemory_ctx_gone(struct dv_simserver *s, struct dv_simproc *p, uint32_t ctx);
void dv_simmemory_done(struct dv_simserver *s);

/* ---- work.c ---- */
/* Takes commands, advances the engines to now, publishes what is complete, wakes who waits. Returns
 * when it should run next; a kick may come earlier. */
uint64_t dv_simwork_pump(struct dv_simserver *s, uint64_t now);
/* Takes the session's commands: what was submitted before a request happens before it. False when
 * some are left because the engine has no room for them now. */
bool dv_simwork_take(struct dv_simserver *s, struct dv_simsession *ss);
void dv_simwork_wake(uint32_t *word);
/* A stream is gone, and with it its waits for other cards. */
void dv_simwork_stream_gone(struct dv_simserver *s, uint32_t gpu, uint32_t engine_stream);

/* ---- mps.c ---- */
/* Of contexts of MPS servers and clients; of others they allow everything. CUresults. */
uint32_t dv_simmps_may_add(const struct dv_simserver *s, const struct dv_simproc *p, uint32_t gpu,
                           uint32_t gi, uint32_t ci);
/* What a context of the process costs there. */
uint64_t dv_simmps_context_bytes(const struct dv_simserver *s, const struct dv_simproc *p,
                                 uint32_t gpu);
/* Its group in the engine, and the most SMs of `sms` at once; 0 = none, and all. */
uint64_t dv_simmps_group(const struct dv_simproc *p);
uint32_t dv_simmps_sms(const struct dv_simproc *p, uint32_t sms);
/* Both belong to one server: they may share a card in exclusive-process mode. */
bool dv_simmps_together(const struct dv_simproc *a, const struct dv_simproc *b);
/* Counts bytes in and out; with a limit that they would pass, false and nothing is counted. */
bool dv_simmps_take(struct dv_simproc *p, const struct dv_simctx *c, uint64_t bytes);
void dv_simmps_give(struct dv_simproc *p, const struct dv_simctx *c, uint64_t bytes);
/* Of what is free there, what the process can have: the total stays the device's (as a public log
 * of a T4 under driver 535 shows). */
uint64_t dv_simmps_free_bytes(const struct dv_simproc *p, uint32_t gpu, uint32_t gi, uint32_t ci,
                              uint64_t free_bytes);
/* The devices that a process sees, when MPS says so: ids, how many; DV_SIM_NONE: all. */
uint32_t dv_simmps_devices(const struct dv_simproc *p, const uint32_t **ret);
/* A context has come or gone: the clients of its static partition share the SMs anew. */
void dv_simmps_changed(struct dv_simserver *s, const struct dv_simproc *p);
/* A context has faulted: takes the server's other clients on the device with it. */
void dv_simmps_faulted(struct dv_simserver *s, struct dv_simproc *p, uint32_t ctx, uint32_t error);
/* The process ends: with a server, its clients' contexts. */
void dv_simmps_process_gone(struct dv_simserver *s, struct dv_simproc *p);
/* A request of a control daemon, as dv_simrequests_handle. */
int dv_simmps_handle(struct dv_simserver *s, const struct dv_simclientconn *c, uint16_t op,
                     const void *data, uint32_t size);

/* ---- inside.c ---- */
/* Makes SOCKET.inside and listens there, once the node is there. */
int dv_siminside_open(struct dv_simserver *s, struct dv_err *err);
void dv_siminside_close(struct dv_simserver *s);
/* A device has come; it has gone. */
void dv_siminside_add(struct dv_simserver *s, const char *uuid);
void dv_siminside_remove(struct dv_simserver *s, const char *uuid);
/* A client has shown this file. */
void dv_siminside_show(struct dv_simserver *s, struct dv_simview *view, int fd);

/* ---- inject.c ---- */
/* 0; -ENODEV (no such GPU, or one must be named), -EINVAL, -ENOSPC (too many), -ESRCH, -ENOBUFS (no
 * memory left to leak), -EOPNOTSUPP (that GPU has no such thing). */
int32_t dv_siminject(struct dv_simserver *s, const struct dv_sim_inject *q);

/* ---- requests.c ---- */
/* A device's number in requests. */
uint32_t dv_simrequests_device_id(uint32_t gpu, uint32_t gi, uint32_t ci);
/* Puts the devices that `p` sees into the reply; NULL: all of the view. */
void dv_simrequests_devices(struct dv_simserver *s, const struct dv_simview *view,
                            const struct dv_simproc *p);
/* Tells the processes how many CUDA errors are injected. */
void dv_simrequests_injections(struct dv_simserver *s);
/* A request after HELLO. 0: s->reply is to be sent, with *ret_fds. DV_SIM_AGAIN. Negative: drop. */
int dv_simrequests_handle(struct dv_simserver *s, struct dv_simclientconn *c, uint16_t op,
                          const void *data, uint32_t size, int *fd, int *ret_fd);

#endif
