/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon's use cases share: one node, its snapshot, and who holds what. Everything here
 * is main's alone; the arbiter thread sees none of it (lease.h).
 *
 *   inventory.h   facts of the hardware -> the snapshot
 *   strangers.h   GPUs that the driver counts and says nothing of; missing.h: no longer counts
 *   wiring.h      how the GPUs are joined
 *   claims.h      a claim's life: asked, queued, granted, released; its owner's death
 *   tenants.h     the handshake with processes inside slices
 *   arm.h         walls that the driver keeps, set before a tenant starts
 *   lease.h       the arbiter thread
 *   meter.h       what tenants used
 *   waits.h       for whom they waited, and where the rest of their time went
 *   baselines.h   what workloads do alone
 *   layouts.h     what the node should have, and the way there, GPU by GPU
 *   mps.h         MPS daemons and their health
 *   audit.h       the driver's view against the slots: who is there without a lease
 *   doctor.h      what is wrong, for people
 *   keep.h        the store
 *   bill.h        bills and other answers made of the ledger
 *   telemetry.h   figures of the GPUs for graphs
 *   activity.h    what tenants did, beside what they used
 *   books_view.h  what metrics show of the books
 *   metrics.h     all of it as text for scrapers; listen.h: where they ask
 *   node_labels.h what the node is labelled in a cluster
 *   view.h, request.h, api.h   answers, requests, routes
 *   kubernetes/   containers as holders of slices
 *
 * Times are dv_clock_now(). A holding is a claim from its POST to its end; a member is a process
 * that has shaken hands, or that the audit has found using the GPU.
 */
#ifndef DV_SERVICES_NODE_H
#define DV_SERVICES_NODE_H

#include "activity.h"
#include "actuate/governor.h"
#include "books_view.h"
#include "http/server.h"
#include "lease.h"
#include "model/event.h"
#include "policy/health_policy.h"
#include "policy/verdict.h"
#include "store/ledger.h"
#include "store/store.h"
#include "telemetry.h"
#include "worker/link.h"

#define DV_NODE_HOLDINGS_MAX 1024u /* claims waiting and slices, together */
#define DV_NODE_HOLDINGS_USER_MAX 256u
#define DV_NODE_MEMBERS_MAX 2048u
#define DV_NODE_STRAYS_MAX 64u /* of one slice */

enum dv_intruder_policy {
    DV_INTRUDER_OPEN,   /* name it, and switch leases off, so that it gets 1/n and not half */
    DV_INTRUDER_REPORT, /* only name it */
    DV_INTRUDER_KILL,   /* name it and end it */
};

/* How /metrics/dcgm names the label of the machine: exporters before 4.6.0 had it with a capital.
 */
enum dv_dcgm_hostname {
    DV_DCGM_HOSTNAME_LOWER,
    DV_DCGM_HOSTNAME_UPPER,
    DV_DCGM_HOSTNAME_BOTH,
    DV_DCGM_HOSTNAME_NONE,
};

struct dv_node_config {
    const char *sim;        /* "unix:PATH" or NULL */
    const char *sim_socket; /* PATH, or NULL */
    const char *libcuda;    /* absolute, where found */
    const char *libnvml;
    const char *lib_dir;       /* .../lib/divvy */
    const char *api_socket;    /* path */
    const char *tenant_socket; /* path; in a folder of its own */
    const char *state_dir;
    const char *mps_shm; /* what is /dev/shm here, as the host's path; NULL: the same */
    const char *layout_name, *layout_text; /* the --config file; NULL: none */
    const char *prices_name, *prices_text; /* the --prices file; NULL: none */
    enum dv_intruder_policy intruder;
    bool no_accounting; /* leave the driver's accounting mode as it is */
    bool privileged;    /* the worker is root */
    uid_t operator_uid; /* may name other tenants; (uid_t)-1: nobody but root */
    uint32_t nvml_timeout_ms;
    enum dv_dcgm_hostname dcgm_hostname;
    /* DP_DISABLE_HEALTHCHECKS and DP_ENABLE_HEALTHCHECKS (policy/health_policy.h); may be NULL. */
    const char *health_disable, *health_enable;
};

enum dv_holding_state {
    DV_HOLDING_QUEUED,
    DV_HOLDING_ARMING, /* has its slice; the driver's walls are not up yet (arm.h) */
    DV_HOLDING_GRANTED,
    DV_HOLDING_ENDING, /* the owner has gone or let go; waits for the processes to end */
};

struct dv_node;
struct dv_holding;
struct dv_layouts;
struct dv_costs;
struct dv_containers;
struct dv_kubernetes;
struct dv_pods;
struct dv_meter;
struct dv_meter_question;
struct dv_missing;
struct dv_mps;
struct dv_ledger;
struct dv_bills_job;
struct dv_labels_settings;

/* For whom somebody waited: for turns on a device, and in the queue. */
struct dv_wait_for {
    char holder[DV_TENANT_SIZE]; /* a tenant, or DV_WAITS_NOBODY, DV_WAITS_OTHERS */
    uint64_t turn_ns, queue_ns;
    bool dirty;
};

/* Where the time of a tenant, or of one slice, went (waits.h). */
struct dv_time_spent {
    int64_t since_unix; /* 0: nothing yet */
    uint64_t held_ns;   /* slices x time */
    uint64_t run_ns;    /* of that: its work ran, */
    uint64_t lost_ns;   /* its turn went by in hand-overs while others waited */
    struct dv_wait_for *waits;
    size_t n_waits;
    bool dirty;
};

/* What the processes of a slice did, those that have gone included. */
struct dv_work {
    uint64_t launches;
    uint64_t wait_ns;   /* launches waited at the gate */
    uint64_t active_ns; /* in which one of them was there */
    bool active;        /* one of them is */
};

/* A process of a slice that has shaken hands, or is about to. */
struct dv_member {
    struct dv_node *node;
    struct dv_holding *holding; /* NULL until HELLO */
    struct dv_proc_id id;
    int sock, pidfd;
    struct dv_loop_source *sock_watch, *pid_watch;
    struct dv_governor_slot slot;
    uint32_t slot_index, device;
    bool slot_taken, ready;
    uint64_t since_ns;
    uint64_t untold[DV_TENANT_SLOTS_MAX / 64]; /* bits: slots that it has not heard the last of */
    /* Of its own counters (meter.c): where they stood when it came, and what was read since. */
    uint64_t ran_base_ns, ran_seen_ns;
    uint64_t selfpaced_base_ns, selfpaced_seen_ns;
    bool returns;           /* from before a restart, and its counters were not read yet */
    uint64_t driver_ran_ns; /* by the driver's samples, since it came */
    uint64_t launches_seen, gate_wait_seen_ns; /* of its totals */
    struct dv_activity_process activity;
    /* As of the last sample of the driver: */
    bool seen;
    uint64_t driver_bytes;
    uint64_t utilized_us; /* time of its last utilization sample; 0: none yet */
    uint32_t over_memory; /* samples in a row in which it held more than it was charged */
    struct dv_member *next, **link;
};

/* A process that uses the GPU in a slice without having shaken hands, or that did so before the
 * daemon's last restart. */
struct dv_stray {
    struct dv_proc_id id;
    bool from_store;        /* it was a member; it may come back */
    uint64_t driver_ran_ns; /* charged by the driver's samples, beyond its checkpoint's figure */
    uint64_t since_ns;
};

struct dv_waiter {
    struct dv_http_request *rq;
    uint64_t until_ns;
    struct dv_waiter *next;
};

struct dv_holding {
    struct dv_node *node;
    struct dv_claim claim;
    enum dv_holding_state state;
    struct dv_proc_id owner;
    int owner_fd;
    struct dv_loop_source *owner_watch;
    uint32_t uid;
    int64_t since_unix, granted_unix;
    char command[DV_STORE_COMMAND_SIZE];
    struct dv_workload *workload; /* of a container; else NULL */
    bool stored;
    /* While granted: */
    char device_uuid[DV_UUID_SIZE];
    struct dv_governor_slice pages;
    uint32_t device, entity; /* in the lease */
    struct dv_usage used;    /* as charged: GPU time, weighted */
    uint64_t charged_seen_ns, waited_seen_ns;
    uint64_t ran_ns;  /* by its processes' own counters, since it is here */
    uint64_t busy_ns; /* as told to the books: time of its device */
    uint64_t cost_seen_ns, cost_ns, waited_told_ns; /* meter.c: what leases cost beside that */
    uint64_t charged_audit_ns, utilized_audit_ns;   /* of the running audit window */
    uint32_t over_time;                             /* windows in a row above what was charged */
    uint32_t arming;                                /* answers awaited */
    char arm_problem[200];             /* why a wall could not be raised or changed; "" */
    char owner_cgroup[DV_CGROUP_SIZE]; /* that its owner came from; "": not known */
    bool own_cgroup;                   /* a container's: that one is limited, and nobody moves */
    bool restored;                     /* it was granted before the daemon's last start */
    uint64_t kill_at_ns;               /* ENDING: SIGKILL at that time; 0: not asked for */
    struct dv_stray strays[DV_NODE_STRAYS_MAX];
    size_t n_strays;
    struct dv_time_spent spent;
    struct dv_work work;
    uint64_t spent_at_ns; /* both are as of then */
    uint64_t run_seen_ns, lost_seen_ns;
    uint64_t waits_seen_ns[DV_ARBITER_ENTITIES_MAX + 2]; /* by entity of its device; nobody, gone */
    uint32_t last_position;
    size_t tenant_at; /* 1 + its place in node->tenants; 0: not looked up yet */
    struct dv_activity_claim activity;
    struct dv_waiter *waiters;
    struct dv_holding *next;
};

/* Something that people should know, kept by the audit until it is over. */
struct dv_finding {
    char subject[64];  /* "gpu 0", "slice s-3" */
    char problem[200]; /* one line, tenant named */
    char cause[200], remedy[240];
    bool error;
    uint32_t gpu;     /* whose health it lowers */
    uint64_t holding; /* 0: nobody's */
    struct dv_proc_id process;
    uint64_t first_ns, last_ns; /* last_ns: when it was true last */
    uint32_t hits, needed;      /* samples that showed it; it counts from `needed` on */
};
#define DV_NODE_FINDINGS_MAX 64u

/* What is known of a GPU beyond the snapshot. */
struct dv_node_gpu {
    bool present;
    struct dv_facts_gpu *facts;         /* the last; NULL before the first */
    struct dv_facts_topology *topology; /* NULL: the driver does not say */
    uint64_t memory_used_bytes;         /* 0 while it is not known */
    bool memory_known;
    uint32_t gpu_percent;
    uint32_t mig_layout;      /* of the last sample */
    int64_t mig_pending_unix; /* since when a change of MIG mode waits for a reset; 0: none does */
    bool sampled, asking, lost, watching;
    uint32_t refusals;       /* looks in a row that the driver answered with an error */
    struct dv_gpu *stranger; /* strangers.h; NULL: it is none */
    bool accounting_asked;   /* to keep accounts of processes */
    uint32_t accounting_tries;
    uint64_t sample_ns, watch_ns, since_us;
    uint64_t polled_us, polled_ns; /* when the last sample came, by both clocks */
    uint64_t context_learnt_bytes, mps_context_learnt_bytes;
    uint32_t mps_clients; /* most of them, as an MPS daemon has told; 0: not yet */
    struct dv_health health;
    uint64_t health_since_ns; /* of the verdict that health_since_unix is of */
    int64_t health_since_unix;
    uint64_t xid, xid_ns; /* the last of those that matter most; 0 = none */
    uint64_t ghost_ns;    /* since when memory is in use and no process listed; 0: it is not */
    uint64_t audit_window_ns;
    bool open;           /* leases are off because of an intruder */
    uint32_t suspicious; /* samples in a row with a ratio that means company */
    struct dv_facts_process processes[DV_FACTS_PROCESSES_MAX];
    uint32_t n_processes;
    bool processes_known;
    struct dv_telemetry telemetry;
};

/* How far wiring.c is with its questions. */
struct dv_wiring {
    bool due;
    bool failed;       /* in this round the driver did not come back */
    uint32_t failures; /* rounds in which it did not */
    uint32_t left;     /* answers awaited */
    uint32_t worker;   /* the driver's process that was asked */
    void (*done)(struct dv_node *node);
};

struct dv_node_tenant {
    char name[DV_TENANT_SIZE];
    struct dv_time_spent spent;
    struct dv_activity activity;
};

struct dv_node {
    struct dv_node_config config;
    struct dv_health_switches health_switches;
    const struct dv_labels_settings *labels; /* labels.h; NULL: as the layout has it. A loan */
    struct dv_loop *loop;
    struct dv_snapshot *snapshot;
    struct dv_hardware_link *link;
    struct dv_hardware_link *mps_link; /* a worker for MPS daemons, which may not answer */
    struct dv_lease *lease;
    struct dv_store *store;              /* NULL when it could not be opened */
    struct dv_ledger *ledger;            /* likewise */
    struct dv_bills_job *bills;          /* bill.c: answers being made */
    struct dv_costs *costs;              /* costs.h; NULL: no prices */
    struct dv_meter *meter;              /* meter.h */
    struct dv_meter_question *questions; /* meter_ended.c */
    uint32_t n_questions;
    struct dv_http_server *http;
    struct dv_layouts *layouts;       /* layouts.h */
    struct dv_mps *mps;               /* mps.h */
    struct dv_containers *containers; /* kubernetes/containers.h */
    struct dv_kubernetes *kubernetes; /* kubernetes/kubernetes.h; NULL: without --kubernetes */
    struct dv_pods *pods;             /* kubernetes/pods.h; NULL: no API server */
    bool ready;                       /* the first inventory is complete */
    bool limits_usable;               /* memory limits by cgroup can be set here */
    bool limits_asked, limits_probed;
    uint32_t limits_tries;
    struct dv_arm_rest *arm_rests; /* arm.c */
    uint64_t started_ns;
    uint64_t next_id;

    struct dv_facts_driver driver;
    /* 0, or enum dv_hardware_status, or negative errno. Before the first answer:
     * DV_HARDWARE_FAILED, without a detail. */
    int driver_status;
    char driver_detail[200];
    uint32_t inventory_left; /* GPUs still to be read in this round */
    bool inventory_asked, inventory_failed;
    uint64_t inventory_ns;
    struct dv_wiring wiring;
    uint64_t timeslices_ns; /* when they were last asked for, of which worker */
    uint32_t timeslices_worker;
    uint32_t inventory_rounds; /* failed before the first that did not */
    struct dv_node_gpu gpus[DV_FACTS_GPUS_MAX];
    struct dv_str seen_before;  /* strangers.c: the GPUs that the store knows */
    struct dv_missing *missing; /* missing.h; NULL before the first look */
    bool strangers_loaded;

    struct dv_holding *holdings; /* by id */
    uint32_t n_holdings;
    struct dv_member *members;
    uint32_t n_members;
    struct dv_node_tenant *tenants; /* each stays at its place */
    size_t n_tenants;
    uint64_t overhead_seen_ns[DV_LEASE_DEVICES_MAX]; /* by the lease's number of a device */
    struct dv_telemetry_state telemetry;
    uint64_t scrape_ns; /* how long the last scrape took; 0: there was none */

    struct dv_finding findings[DV_NODE_FINDINGS_MAX];
    size_t n_findings;
    char store_problem[300]; /* "" = fine */
    bool store_rewrite;      /* something was not written: write everything again */
    char ledger_problem[300];
    char note[300]; /* what happened at the start; for doctor */

    int tenant_fd;
    struct dv_loop_source *tenant_watch, *tick, *slow, *sleep;
};

/* Takes `lease`, in any case. 0 or negative errno; the hardware is asked from here on. */
int dv_node_new(struct dv_loop *loop, const struct dv_node_config *config,
                const struct dv_keeper *keeper, const struct dv_keeper *mps_keeper,
                struct dv_lease *lease, struct dv_store *store, struct dv_ledger *ledger,
                int tenant_fd, struct dv_node **ret, struct dv_err *err);
/* Slices stay in the store and their processes alive. */
void dv_node_free(struct dv_node *node);

/* Applies an event to the snapshot; a refusal is a fault of ours and is logged. */
int dv_node_apply(struct dv_node *node, const struct dv_event *event);
struct dv_holding *dv_node_holding(struct dv_node *node, uint64_t id);
/* The next by id, from 0; for a walk whose steps release, and so grant and refuse, any of them. */
struct dv_holding *dv_node_holding_after(struct dv_node *node, uint64_t id);
/* "s-7", "c-7" or "7". 0 when it is none of these. */
uint64_t dv_node_parse_id(const char *text);
/* Made when it is new; NULL when memory is out or there are too many. Until the next call. */
struct dv_node_tenant *dv_node_tenant(struct dv_node *node, const char *name);
/* That of a holding, found once: it is asked for with every charge. */
struct dv_node_tenant *dv_node_tenant_of(struct dv_holding *holding);
const struct dv_slice *dv_node_slice(const struct dv_holding *holding);
/* The GPU index of a device. UINT32_MAX when it has gone. */
uint32_t dv_node_gpu_of(const struct dv_node *node, const char *device_uuid);
/* What a context costs on this GPU in that mode: learnt, else the catalogue's, else a guess. A
 * client of MPS has most of it in the server. */
uint64_t dv_node_context_bytes(const struct dv_node *node, uint32_t gpu, enum dv_mode mode);

#endif
