/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of the simulated node that divvy-sim owns: GPUs, MIG instances, processes. One thread,
 * no locks. server.c (CUDA, memory, engine), mig.c and nvml.c (NVML requests) share it.
 *
 *     struct dv_simnode_usage use[64];
 *     size_t n = dv_simnode_processes(node, gpu, DV_SIM_ANY, DV_SIM_ANY, use, 64);
 *
 * Time: *_ns is CLOCK_MONOTONIC in nanoseconds unless it says otherwise. Memory: bytes. Indices of
 * GPUs are 0 .. n_gpus - 1; `gi` and `ci` in calls are instance *ids* as NVML shows them, or
 * DV_SIM_ANY. Ids of compute instances are unique within their GPU instance.
 *
 * Before each request the server brings the engines up to `now_ns`, so that what is read here is
 * of this moment. All strings are NUL-terminated. Nothing here is touched by another thread.
 */
#ifndef DV_SIM_SERVER_NODE_H
#define DV_SIM_SERVER_NODE_H

#include "abi_sim_nvml.h"
#include "base/err.h"
#include "model/gpu_model.h"
#include "model/mig.h"
#include "server/nodespec.h"
#include "server/view.h"

#include <stdbool.h>
#include <sys/types.h>

struct dv_engine;

#define DV_SIM_ANY UINT32_MAX /* no instance: the whole GPU, or all of them */
#define DV_SIM_CIS_MAX 8u     /* compute instances of one GPU instance */
#define DV_SIM_PROCESSES_MAX 512u
#define DV_SIM_CONTEXTS_MAX 256u /* of one process */
#define DV_SIM_SAMPLES 64u       /* utilization samples kept: 10 s */
#define DV_SIM_SAMPLE_NS (DV_NS_PER_S / 6)
#define DV_SIM_XIDS 64u /* events kept */
#define DV_SIM_INJECTIONS 64u
#define DV_SIM_LIMITS_MAX 128u /* memory limits by cgroup */
#define DV_SIM_CGROUP_SIZE DV_SIM_NVML_CGROUP

/* ---- hardware ------------------------------------------------------------------------------- */

/* A body of memory that processes draw from: a GPU that is not in MIG mode, or a GPU instance. */
struct dv_simmem {
    uint64_t total_bytes;    /* as NVML shows it: reserved included */
    uint64_t reserved_bytes; /* by the driver; nobody can have it */
    uint64_t used_bytes;     /* by processes, their contexts included */
    uint64_t high_water_bytes;
};

/* A compute instance: with its GPU instance it is a MIG device. */
struct dv_simci {
    bool used;
    uint32_t id;      /* 0 .. 7 */
    uint32_t profile; /* NVML_COMPUTE_INSTANCE_PROFILE_* */
    uint32_t slices;  /* compute slices */
    uint32_t start;   /* compute slice within the GPU instance */
    uint32_t sm;
    char uuid[DV_SIM_UUID_SIZE]; /* "MIG-..." */
    uint32_t contexts;           /* the server's: not 0 = in use */
};

struct dv_simgi {
    bool used;
    uint32_t id;
    uint32_t profile; /* index into the GPU's mig->profiles */
    uint32_t start;   /* piece of the memory grid */
    struct dv_simmem memory;
    struct dv_simci ci[DV_SIM_CIS_MAX];
    uint64_t busy_ns, busy_sm_ns; /* integrated by the server, of the instances that are there */
    uint32_t sm;                  /* of those together */
};

/* Utilization of the window that ends at time_us. */
struct dv_simsample {
    uint64_t time_us; /* CLOCK_REALTIME, microseconds */
    uint64_t end_ns;
    uint32_t sm_permille, memory_permille;
};

struct dv_simxid {
    uint64_t sequence; /* 1, 2, ...: of the node */
    uint64_t time_us;  /* CLOCK_REALTIME, microseconds */
    uint64_t xid;
    uint32_t gpu;
    uint32_t gi_id, ci_id; /* DV_SIM_ANY = the whole GPU */
};

struct dv_simgpu {
    uint32_t index;
    char uuid[DV_SIM_UUID_SIZE]; /* "GPU-..." */
    char serial[32];
    const struct dv_gpu_model *model;
    const struct dv_mig_geometry *mig; /* with estimates filled in; NULL = cannot do MIG */
    uint32_t minor;                    /* /dev/nvidiaN */
    uint32_t pci_domain, pci_bus, pci_device;
    uint32_t numa;
    struct dv_simlink_pair link[DV_SIM_GPUS_MAX];

    uint32_t persistence;  /* 0, 1 */
    uint32_t compute_mode; /* NVML: 0 default, 2 prohibited, 3 exclusive process */
    uint32_t timeslice;    /* enum dv_sim_timeslice; the server follows */
    uint32_t accounting;   /* 0, 1 (accounting.h) */
    uint32_t power_limit_mw;
    uint32_t clock_sm_mhz, clock_memory_mhz; /* limits set by the administrator; 0 = none */
    uint64_t context_bytes;                  /* what one context costs here */

    uint32_t mig_current, mig_pending; /* 0, 1 */
    struct dv_simgi gi[DV_MIG_INSTANCES_MAX];

    struct dv_simmem memory; /* not in MIG mode; in MIG mode only what no instance holds */
    uint64_t ecc_volatile, ecc_aggregate; /* uncorrectable errors; volatile: since the last reset */
    uint32_t rows_pending;                /* to be remapped, or pages to be retired, at a reset */
    uint32_t rows_remapped;
    bool rows_failure;
    uint32_t restarts; /* the server follows */

    bool lost; /* fell off the bus (XID 79): every call says GPU_IS_LOST */

    /* Figures, integrated by the server from the engine. */
    uint64_t busy_ns, switch_ns; /* since the server started */
    uint64_t busy_sm_ns;         /* likewise: SMs x time given to kernels */
    uint64_t energy_uj;          /* since the GPU was started, as its driver counts */
    uint32_t samples_head;       /* samples ever taken; the last is [(head - 1) % SAMPLES] */
    struct dv_simsample samples[DV_SIM_SAMPLES];
    struct dv_engine *engine; /* the server's */

    /* Lives that ended (accounting.h): the last is ended[(head - 1) % DV_SIM_ENDED_MAX]. */
    uint64_t ended_head, ended_cleared; /* NVML has forgotten those up to `cleared` */
    struct dv_sim_life *ended;          /* NULL until there is one */
};

/* ---- processes ------------------------------------------------------------------------------ */

struct dv_simctx {
    bool used;
    uint32_t gpu;
    uint32_t gi_id, ci_id;   /* DV_SIM_ANY: not a MIG device */
    uint32_t error;          /* sticky CUresult, 0 = fine */
    uint32_t stream;         /* its default stream */
    uint64_t used_bytes;     /* what it costs and what was allocated in it */
    uint32_t engine_context; /* from here on the server's */
    uint64_t overhead_id, overhead_bytes;
    void *session;
};

/* What one process has on one GPU. */
struct dv_simproc_gpu {
    uint64_t used_bytes, high_water_bytes; /* contexts included */
    uint64_t executed_ns;                  /* GPU time of its kernels */
    uint64_t sm_ns;                        /* the same times the SMs that they had */
    uint64_t gone_executed_ns, gone_sm_ns; /* the server's: of contexts that are no more */
    uint32_t contexts;
    uint32_t samples_head;
    struct dv_simsample samples[DV_SIM_SAMPLES];
    bool accounted;    /* NVML's accounting is on since before its first context here */
    uint64_t first_ns; /* of that context; 0 = it never had one */
    uint64_t first_us; /* the same, CLOCK_REALTIME in microseconds */
};

struct dv_simproc {
    pid_t pid; /* as the server sees it */
    uid_t uid;
    uint64_t start_time; /* field 22 of /proc/PID/stat: with the pid it names the process */
    char name[256];      /* its executable, or comm when that cannot be read */
    enum dv_sim_mps_role mps;
    struct dv_simctx ctx[DV_SIM_CONTEXTS_MAX];
    struct dv_simproc_gpu *gpu; /* n_gpus of them */
    void *server;               /* the server's own part */
};

/* ---- the node ------------------------------------------------------------------------------- */

struct dv_simlimit { /* cgroups.h */
    uint32_t gpu;
    char path[DV_SIM_CGROUP_SIZE];   /* of the directory */
    char cgroup[DV_SIM_CGROUP_SIZE]; /* the same as /proc/PID/cgroup has it */
    uint64_t inode;
    uint64_t soft, hard; /* bytes */
};

struct dv_simnode {
    char name[64];
    char hostname[64];
    char driver_version[32]; /* "580.95.05" */
    char nvml_version[32];   /* "13.580.95.05" */
    uint32_t cuda_version;   /* 13000 = CUDA 13.0 */
    uint32_t numa_nodes;
    uint32_t cpus;    /* of the imagined host; its cores are split evenly among the NUMA nodes */
    uint32_t threads; /* of each core: CPU 0 and CPU `cpus / threads` share the first */
    uint64_t boot_ns;

    bool no_reset; /* this machine has no way to reset a GPU */
    uint32_t n_gpus;
    struct dv_simgpu gpu[DV_SIM_GPUS_MAX];

    struct dv_simproc *processes[DV_SIM_PROCESSES_MAX]; /* NULL = free */

    uint64_t xid_head; /* XIDs ever seen; the last is xids[(head - 1) % XIDS] */
    struct dv_simxid xids[DV_SIM_XIDS];

    uint32_t n_limits;
    struct dv_simlimit limit[DV_SIM_LIMITS_MAX];

    struct dv_sim_inject injections[DV_SIM_INJECTIONS]; /* kind 0 = free; b counts down */
    uint32_t gone;                                      /* bits: GPUs that no driver counts */
    uint64_t now_ns;                                    /* of this request */
};

/* ---- what nvml.c and mig.c ask ---------------------------------------------------------------
 */

struct dv_simnode_usage {
    pid_t pid;
    uint64_t used_bytes;
    uint32_t gi_id, ci_id; /* DV_SIM_ANY: not on a MIG device */
    const struct dv_simproc *process;
};

/* Processes with a context there, one row per process and MIG device, by pid. Returns how many
 * there are, which may be more than max. */
size_t dv_simnode_processes(const struct dv_simnode *node, uint32_t gpu, uint32_t gi, uint32_t ci,
                            struct dv_simnode_usage *ret, size_t max);

/* Memory of the GPU (instances summed) or of one GPU instance. -ENOENT: no such instance. */
int dv_simnode_memory(const struct dv_simnode *node, uint32_t gpu, uint32_t gi,
                      struct dv_simmem *ret);

/* Share of the last sample window in which a kernel ran (NVML's meaning), ‰. */
uint32_t dv_simnode_utilization(const struct dv_simnode *node, uint32_t gpu);
/* The same of one process; 0 when it has no sample there. */
uint32_t dv_simnode_process_utilization(const struct dv_simnode *node, const struct dv_simproc *p,
                                        uint32_t gpu);
/* Draw now, mW: idle power plus the busy share of what is between that and the limit. */
uint32_t dv_simnode_power_mw(const struct dv_simnode *node, uint32_t gpu);
/* Degrees Celsius, from the same share. */
uint32_t dv_simnode_temperature(const struct dv_simnode *node, uint32_t gpu);
uint32_t dv_simnode_clock_sm_mhz(const struct dv_simnode *node, uint32_t gpu);
uint32_t dv_simnode_clock_memory_mhz(const struct dv_simnode *node, uint32_t gpu);

/* NULL when there is none. */
struct dv_simproc *dv_simnode_process(struct dv_simnode *node, pid_t pid);
struct dv_simgi *dv_simnode_gi(struct dv_simnode *node, uint32_t gpu, uint32_t gi);
struct dv_simci *dv_simnode_ci(struct dv_simnode *node, uint32_t gpu, uint32_t gi, uint32_t ci);
bool dv_simnode_gpu_in_use(const struct dv_simnode *node, uint32_t gpu); /* has any context */

/* Records an XID on a GPU; waiting NVML clients are served. */
void dv_simnode_xid(struct dv_simnode *node, uint32_t gpu, uint32_t gi, uint32_t ci, uint64_t xid);

/*
 * Is something injected for this function on this GPU (DV_SIM_ANY: a call without a GPU)? Copies it
 * to *ret and counts it. kind: DV_SIM_INJECT_NVML_ERROR, _NVML_HANG, _CUDA_ERROR. A hang has no
 * count (its b is 0).
 */
bool dv_simnode_injected(struct dv_simnode *node, uint32_t gpu, enum dv_sim_injection kind,
                         const char *name, struct dv_sim_inject *ret);

/* ---- the NVML part, implemented by nvml.c ---------------------------------------------------
 */

struct dv_simclient {
    enum dv_sim_client kind;
    pid_t pid;
    uid_t uid;
    gid_t gid;
    uint64_t request_ns; /* when the present request came in; the same when it is asked again */
    void *nvml;          /* nvml.c's own state of this connection */
    struct dv_simview view;
};

/* A reply under construction. status: nvmlReturn_t for NVML requests. */
struct dv_simreply {
    int32_t status;
    uint32_t size;
    uint64_t delay_ns; /* hold the reply back so long; UINT64_MAX = for ever (an injected hang) */
    uint64_t again_ns; /* with DV_SIM_AGAIN: ask again at this time at the latest */
    uint8_t data[DV_SIM_PAYLOAD_MAX];
};

/* Not yet: the server calls the handler again with the same request after an XID or at again_ns.
 * (nvmlEventSetWait.) */
#define DV_SIM_AGAIN 1

/*
 * One NVML request; op is DV_SIM_OP_NVML .. 399, size <= DV_SIM_PAYLOAD_MAX. 0: *reply is to be
 * sent. DV_SIM_AGAIN: see above. Negative: the request is malformed; the connection is dropped.
 * Changes of GPU and compute instances made here need no call: the server notices.
 */
int dv_simnvml_handle(struct dv_simnode *node, struct dv_simclient *client, uint16_t op,
                      const void *request, uint32_t size, struct dv_simreply *reply);
/* The connection is gone: free client->nvml. */
void dv_simnvml_client_gone(struct dv_simnode *node, struct dv_simclient *client);
/* Creates instances at start-up from a node file's `mig:` list, "3g.40gb,2g.20gb" (mig.c). */
int dv_simmig_apply(struct dv_simnode *node, uint32_t gpu, const char *profiles,
                    struct dv_err *err);

#endif
