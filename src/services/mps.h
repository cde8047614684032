/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One MPS control daemon per device that is shared by MPS: started when the layout or a claim asks
 * for it, looked after, started again when it dies, stopped when the last has left and no layout
 * keeps it. A device takes claims (dv_device.mps_up) once a real client connection has worked.
 *
 * A daemon outlives divvyd: a restart finds it by its folder STATE/mps/NAME and takes it over.
 *
 * What can go wrong, and what is done:
 *
 *   the control daemon ends,   its server lives on for the clients that it has, so nobody is taken
 *   or does not answer         down; a new daemon is started, which new clients get a server from
 *   the server ends            its clients are taken down; the daemon makes a new one
 *   a fatal fault of a client  all clients of that server are taken down (NVIDIA's MPS guide) and
 * it takes no others until they have left: it is ended by force. Whose fault it was the driver does
 * not say a daemon does not start    tried again, less and less often; after the third time, or at
 * once where trying again cannot help, claims that wait for it are refused
 *
 * Who was taken down is remembered and said: the log, doctor, explain. A fault whose clients end at
 * once may be over before the server is looked at; the driver's XID event then tells of it.
 */
#ifndef DV_SERVICES_MPS_H
#define DV_SERVICES_MPS_H

#include "actuate/actuate.h"
#include "node.h"
#include "render/output.h"

#define DV_MPS_DAEMONS_MAX 128u
#define DV_MPS_FAILURES_MAX 3u /* starts that failed before who waits is refused */
#define DV_MPS_FORMER_MAX 2u

enum dv_mps_state {
    DV_MPS_DOWN,
    DV_MPS_STARTING,
    DV_MPS_UP,
    DV_MPS_STOPPING,
};

struct dv_mps_client {
    int32_t pid;
    uint64_t start; /* with pid: who it is */
    uint64_t slice; /* 0: nobody's */
    char tenant[DV_TENANT_SIZE];
};

/* As of the last look. */
struct dv_mps_server {
    struct dv_proc_id id; /* pid 0: none */
    uint32_t n_clients;
    struct dv_mps_client clients[DV_MPS_CLIENTS_MAX];
};

struct dv_mps_daemon {
    struct dv_mps_spec spec; /* device, name, limits in force */
    enum dv_mps_state state;
    bool asked;      /* the worker has a question of ours */
    bool held_down;  /* a change of layout wants it stopped */
    bool left;       /* DOWN, and not stopped: a process or the card's mode may be left of it */
    bool stays;      /* it could not be stopped the last time */
    bool limits_due; /* it has not said yet that the limits of `spec` are in force */
    uint32_t failures, restarts;
    uint64_t next_ns; /* not before */
    struct dv_mps_status status;
    struct dv_mps_server server;
    struct dv_mps_server former[DV_MPS_FORMER_MAX]; /* of daemons that have ended, with clients */
    struct dv_mps_server gone;                      /* clients that have left lately */
    uint64_t gone_ns;                               /* seen to be so */
    uint32_t hangs;                                 /* looks in a row that were not answered */
    bool faulty;           /* takes no clients: a fault, or a client that could not come in */
    bool was_fault;        /* the last look found the server in fault */
    uint64_t xid;          /* of a program on the device, lately; 0: none */
    uint32_t xid_looks;    /* for so many it may have been a client's fault */
    uint64_t looked_ns;    /* of the last look that was answered */
    uint32_t most_clients; /* at once, so far */
    bool probe_wanted;
    uint64_t fault_ns; /* of the last fault, or loss of the daemon; 0: none */
    int64_t fault_unix;
    char fault[400];          /* what happened, and whom it took down */
    uint32_t fault_cause_len; /* of that: what happened, which is nobody's secret */
    uint32_t n_victims;
    struct dv_mps_client victims[DV_MPS_CLIENTS_MAX];
    char problem[240]; /* why it does not start; "" */
};

struct dv_mps {
    struct dv_mps_daemon daemons[DV_MPS_DAEMONS_MAX];
    uint32_t n;
    bool looked;                  /* for daemons of before a restart */
    bool awaited[DV_DEVICES_MAX]; /* snapshot devices that a claim waits for */
};

int dv_mps_new(struct dv_mps **ret);
void dv_mps_free(struct dv_mps *mps);
void dv_mps_tick(struct dv_node *node, uint64_t now);
bool dv_mps_is_up(const struct dv_node *node, const char *device);
/* Makes it end; true when it has. Its clients must have left. */
bool dv_mps_stop(struct dv_node *node, const char *device);
/* It may run again, if anything wants it: the change that stopped it goes on without. */
void dv_mps_allow(struct dv_node *node, const char *device);
/* Is this process part of one of our daemons? */
bool dv_mps_is_ours(const struct dv_node *node, const struct dv_proc_id *id);
/* What a client of the slice needs in its environment. */
void dv_mps_environment(const struct dv_node *node, const struct dv_slice *slice,
                        struct dv_output_node *env);
/* The driver has an event of a program's fault (XID) in this GPU instance; gi: UINT32_MAX: not
 * known, or no MIG. */
void dv_mps_xid(struct dv_node *node, uint32_t gpu, uint32_t gi, uint64_t xid);
/* A process of a slice has ended. It may have come and gone since the last look at the server. */
void dv_mps_left(const struct dv_member *member);
/* What took the slice, or any of the tenant's, down: a line each. */
void dv_mps_explain(const struct dv_node *node, uint64_t slice, const char *tenant,
                    struct dv_output_node *lines);
/* NULL: none. */
const struct dv_mps_daemon *dv_mps_find(const struct dv_node *node, const char *device);
/* The daemon of a device as requests name it, without limits; also before we know one (a slice may
 * end right after a restart). */
void dv_mps_name(const struct dv_node *node, const struct dv_device *device,
                 struct dv_mps_spec *ret);

#endif
