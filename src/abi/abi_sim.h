/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the simulated driver's libraries (libcuda.so.1, libnvidia-ml.so.1) and the divvy-sim
 * server. Version 1. The server owns all device state; a client library owns nothing that matters.
 *
 * Control: a SOCK_SEQPACKET connection to $DIVVY_SIM_SOCKET. One request, one reply, in order;
 * every message is a struct dv_sim_header followed by `size` bytes of payload. File descriptors
 * travel as SCM_RIGHTS. The first request is HELLO. The server knows the caller by SO_PEERCRED
 * and takes hang-up or the pidfd as its death: all that the process had is freed.
 *
 * Work (CUDA connections): one memfd per process, mapped by both, with a ring of commands from the
 * process to the server and tables in which the server publishes what is done. Commands carry the
 * time at which they were submitted, so that the virtual GPU is exact although the server wakes
 * up late. Nobody holds a lock that the other side could need; the server checks every index that
 * it reads from there, and drops the session of a process that breaks a rule below.
 *
 * Rules of the work page:
 *   - Streams are numbered by the server (STREAM_CREATE, default_stream), events 1.. by the
 * process, as are their generations, which only grow. A stream's commands are numbered 1, 2, 3, ...
 *   - A command for a stream that is gone is ignored; of a context with a sticky error it counts as
 *     complete at once.
 *   - WAIT holds its stream until that generation of the event is complete, also when its RECORD
 *     comes later; a lower or equal generation than the last complete one passes.
 *   - After publishing commands: if server_sleeps, write to the eventfd. An active ring is looked
 * at every millisecond without being asked.
 *   - To sleep: set `awaited`, write to the eventfd (always: the server sets its alarm by what is
 *     awaited), look at `done` again, FUTEX_WAIT on `wake`. The server sets `awaited` back to 0.
 *   - To ask without sleeping: `done` may be a millisecond old; where advanced_ns is older than one
 *     can bear, write to the eventfd and look again later.
 *   - The server takes what the ring holds before it handles a request of the same process.
 *   - A session has a bounded number of commands inside the engine (8192; more while a stream waits
 *     for a later command); the others stay in the ring until there is room.
 */
#ifndef DV_ABI_SIM_H
#define DV_ABI_SIM_H

#include <stdint.h>

#define DV_SIM_ABI 1u
#define DV_SIM_MAGIC 0x4D495344u /* "DSIM" */
#define DV_SIM_SOCKET_ENV "DIVVY_SIM_SOCKET"
#define DV_SIM_PAYLOAD_MAX 65536u

#define DV_SIM_GPUS_MAX 16u
#define DV_SIM_UUID_SIZE 96u

/* Who connects. */
enum dv_sim_client {
    DV_SIM_CLIENT_CUDA = 1,
    DV_SIM_CLIENT_NVML = 2,
    DV_SIM_CLIENT_CONTROL = 3, /* divvy-sim itself: statistics, injection, stop */
    DV_SIM_CLIENT_MPS = 4,     /* an MPS control daemon */
};

/* Requests. A block of numbers per client kind; payloads are declared beside their users. */
enum dv_sim_op {
    DV_SIM_HELLO = 1,
    DV_SIM_SHOW = 2,         /* + the descriptor of a device's file (abi_sim_show.h) */
    DV_SIM_OP_CUDA = 100,    /* .. 199, below */
    DV_SIM_OP_NVML = 200,    /* .. 399, abi_sim_nvml.h */
    DV_SIM_OP_CONTROL = 400, /* .. 499, below */
    DV_SIM_OP_MPS = 500,     /* .. 599, abi_sim_mps.h */
};

struct dv_sim_header {
    uint32_t magic;
    uint16_t op;
    uint16_t reserved;
    int32_t
        status;    /* reply: 0, or the CUresult / nvmlReturn_t / negative errno of that op's kind */
    uint32_t size; /* bytes of payload that follow */
};

struct dv_sim_hello {
    uint32_t abi;
    uint32_t client; /* enum dv_sim_client */
};

/* Reply to HELLO. For CUDA clients with two descriptors: the work memfd and an eventfd to kick. */
struct dv_sim_welcome {
    uint32_t abi;
    uint32_t gpus;
    uint32_t driver_cuda_version; /* 13000 = CUDA 13.0 */
    uint32_t work_size;           /* bytes of the memfd */
    char driver_version[32];
};

/* ---- the work page of one CUDA process ------------------------------------------------------ */

#define DV_SIM_RING_COMMANDS 8192u /* power of two */
#define DV_SIM_STREAMS_MAX 1024u   /* of one process; 0 is never used */
#define DV_SIM_EVENTS_MAX 65536u

enum dv_sim_command_op {
    DV_SIM_CMD_KERNEL = 1, /* a = nanoseconds at full SM demand, b = SMs demanded (of the device) */
    DV_SIM_CMD_COPY = 2,   /* a = bytes, b = enum dv_sim_copy */
    DV_SIM_CMD_RECORD = 3, /* a = event, b = its generation */
    DV_SIM_CMD_WAIT = 4,   /* a = event, b = generation to wait for */
    DV_SIM_CMD_MARK = 5,   /* nothing but its place in the stream */
};

enum dv_sim_copy {
    DV_SIM_COPY_H2D = 0,
    DV_SIM_COPY_D2H = 1,
    DV_SIM_COPY_D2D = 2,
    DV_SIM_COPY_FILL = 3, /* memset: runs on the SMs */
};

struct dv_sim_command {
    uint64_t submit_ns; /* CLOCK_MONOTONIC */
    uint32_t op;
    uint32_t stream;
    uint64_t number; /* place in its stream, counted from 1: published in `done` when complete */
    uint64_t a, b;
    uint64_t reserved[3];
};

struct dv_sim_stream_state {
    uint64_t done;    /* server: all commands up to this number are complete */
    uint64_t done_ns; /* server: when the last of them ended, in engine time */
    uint32_t wake;    /* server: futex, raised when `done` reaches `awaited` or the stream dies */
    uint32_t error;   /* server: sticky CUresult of the context (0 = fine) */
    uint64_t awaited; /* client: the lowest number that a thread sleeps for; 0 = none */
};

struct dv_sim_event_state {
    uint64_t generation; /* server: the last recorded generation that is complete */
    uint64_t done_ns;    /* server: when */
};

struct dv_sim_work {
    uint32_t magic, abi;
    uint32_t server_sleeps; /* server: 1 = kick the eventfd after publishing commands */
    uint32_t closed;        /* server: 1 = the server is gone or has dropped this process */
    uint64_t advanced_ns;   /* server: the engine has been advanced to here */
    uint64_t head;          /* client: commands ever written */
    uint32_t injections;    /* server: not 0 = CUDA errors are injected: ask by CUDA_INJECTED */
    uint32_t pad0[5];
    uint64_t tail;      /* server: commands ever taken */
    uint32_t tail_wake; /* server: futex, raised when tail moves while the client waits for room */
    uint32_t room_awaited;
    uint64_t pad1[6];
    struct dv_sim_command ring[DV_SIM_RING_COMMANDS];
    struct dv_sim_stream_state streams[DV_SIM_STREAMS_MAX];
    struct dv_sim_event_state events[DV_SIM_EVENTS_MAX];
};

/* ---- CUDA requests --------------------------------------------------------------------------- */

enum dv_sim_cuda_op {
    DV_SIM_CUDA_DEVICES = DV_SIM_OP_CUDA, /* -> struct dv_sim_device[] (GPUs and MIG devices) */
    DV_SIM_CUDA_CTX_CREATE,     /* dv_sim_ctx_create -> dv_sim_ctx_created; charges the context */
    DV_SIM_CUDA_CTX_DESTROY,    /* uint32 ctx */
    DV_SIM_CUDA_STREAM_CREATE,  /* dv_sim_stream_create -> uint32 stream */
    DV_SIM_CUDA_STREAM_DESTROY, /* uint32 stream */
    DV_SIM_CUDA_MEM_ALLOC,      /* dv_sim_mem_alloc -> dv_sim_mem_allocated */
    DV_SIM_CUDA_MEM_FREE,       /* uint64 handle */
    DV_SIM_CUDA_MEM_INFO,       /* uint32 dv_sim_device.id -> dv_sim_mem_info */
    DV_SIM_CUDA_KERNEL_INFO,    /* char name[] -> dv_sim_kernel_info: the node file's durations */
    DV_SIM_CUDA_IPC_EXPORT,     /* uint64 handle (+ memfd of its contents) -> uint64 token */
    DV_SIM_CUDA_IPC_OPEN,       /* uint64 token -> dv_sim_ipc_opened (+ memfd) */
    DV_SIM_CUDA_IPC_CLOSE,      /* uint64 handle */
    DV_SIM_CUDA_FAULT,    /* dv_sim_fault: an illegal address and the like: XID, dead context */
    DV_SIM_CUDA_INJECTED, /* char name[] of the entry point; the status is what it must answer */
};

struct dv_sim_device {
    char uuid[DV_SIM_UUID_SIZE]; /* GPU-... or MIG-... */
    char name[96];
    uint32_t gpu;          /* index of the physical GPU */
    uint32_t mig;          /* 1 = a MIG device (compute instance) */
    uint32_t gi_id, ci_id; /* of a MIG device, else UINT32_MAX */
    uint32_t mig_enabled;  /* whole GPU in MIG mode: CUDA cannot use it as such */
    uint32_t cc_major, cc_minor;
    uint32_t sms;     /* of this device */
    uint32_t gpu_sms; /* of the whole card */
    uint32_t threads_per_sm;
    uint32_t pci_domain, pci_bus, pci_device;
    uint32_t clock_khz, memory_clock_khz, bus_width_bits, l2_bytes;
    uint32_t compute_mode;  /* NVML numbering: 0 default, 2 prohibited, 3 exclusive process */
    uint32_t id;            /* names the device in requests: a GPU's index, or MIG bit and ids */
    uint64_t memory_bytes;  /* what processes can have */
    uint64_t context_bytes; /* what a context costs */
};

struct dv_sim_ctx_create {
    uint32_t device; /* dv_sim_device.id */
    uint32_t flags;
};

struct dv_sim_ctx_created {
    uint32_t ctx;
    uint32_t default_stream; /* the legacy stream's index in the work page */
};

struct dv_sim_stream_create {
    uint32_t ctx;
    int32_t priority;
};

struct dv_sim_mem_alloc {
    uint32_t ctx;
    uint32_t kind; /* enum dv_sim_mem_kind */
    uint64_t bytes;
};

enum dv_sim_mem_kind {
    DV_SIM_MEM_PLAIN = 0,
    DV_SIM_MEM_MANAGED = 1,
    DV_SIM_MEM_POOL = 2,
    DV_SIM_MEM_VMM = 3,
    DV_SIM_MEM_ARRAY = 4,
    DV_SIM_MEM_MODULE = 5,
};

struct dv_sim_mem_allocated {
    uint64_t handle;
    uint64_t address; /* unique on the node; never 0 */
    uint64_t charged_bytes;
};

struct dv_sim_mem_info {
    uint64_t free_bytes, total_bytes;
};

struct dv_sim_kernel_info {
    uint64_t work_ns; /* 0 = the node file says nothing of this kernel */
    uint32_t sms;
    uint32_t reserved;
};

struct dv_sim_ipc_opened {
    uint64_t handle, address, bytes;
};

struct dv_sim_fault {
    uint32_t ctx;
    uint32_t error; /* the sticky CUresult */
    uint32_t xid;
    uint32_t reserved;
};

/* ---- control requests --------------------------------------------------------------------------
 */

enum dv_sim_control_op {
    DV_SIM_CTL_STATS = DV_SIM_OP_CONTROL, /* uint32 gpu -> dv_sim_stats */
    DV_SIM_CTL_RESET_HIGH_WATER,          /* uint32 gpu */
    DV_SIM_CTL_INJECT,                    /* dv_sim_inject */
    DV_SIM_CTL_STOP,
    DV_SIM_CTL_ENDED, /* dv_sim_ended_ask -> dv_sim_ended */
};

/* What a process is to MPS. */
enum dv_sim_mps_role {
    DV_SIM_MPS_NONE = 0,
    DV_SIM_MPS_IS_SERVER = 1,
    DV_SIM_MPS_IS_CLIENT = 2,
};

/* The engine's truth about one GPU, for tests and for the audit. */
struct dv_sim_stats {
    char node[64];
    char uuid[DV_SIM_UUID_SIZE];
    char name[96];
    uint32_t gpus; /* of the node: the next gpu to ask for is below this */
    uint32_t mig_enabled;
    uint32_t clients; /* connections of the whole server */
    uint32_t reserved0;
    uint64_t memory_total_bytes;
    uint64_t deaths;           /* processes that ended with a context */
    uint64_t death_slowest_ns; /* from the kernel's notice to everything freed, the slowest */
    uint64_t now_ns;
    uint64_t memory_used_bytes, memory_high_water_bytes; /* held by processes, contexts included */
    uint64_t busy_ns, switch_ns, idle_ns;
    uint32_t processes;
    uint32_t reserved;
    struct {
        uint32_t pid;
        uint32_t mps; /* enum dv_sim_mps_role */
        uint64_t memory_used_bytes, memory_high_water_bytes;
        uint64_t executed_ns; /* GPU time of its kernels */
        uint64_t sm_ns;       /* the same times the SMs that they had */
    } process[256];
};

#define DV_SIM_ENDED_MAX 3488u /* kept of one GPU; with the 512 that can run: NVML's 4000 */
#define DV_SIM_ENDED_PAGE 512u

/* A process's life on one GPU, from its first context there to its end. */
struct dv_sim_life {
    uint64_t sequence; /* 1, 2, ...: of the lives on that GPU that ended; 0: it goes on */
    uint32_t pid;
    uint32_t accounted;        /* 1: NVML's accounting mode was on from its first context on */
    uint64_t start_time;       /* field 22 of /proc/PID/stat */
    uint64_t started_us;       /* of the first context, CLOCK_REALTIME */
    uint64_t first_ns, end_ns; /* the same and the end, CLOCK_MONOTONIC */
    uint64_t executed_ns, sm_ns;
    uint64_t memory_high_water_bytes;
};

/* The lives that ended, oldest first, a page at a time. */
struct dv_sim_ended_ask {
    uint32_t gpu;
    uint32_t reserved;
    uint64_t after; /* the sequence number of the last one seen; 0: from the oldest kept */
};

struct dv_sim_ended {
    uint64_t last; /* sequence number of the newest there is */
    uint32_t lives;
    uint32_t reserved;
    struct dv_sim_life life[DV_SIM_ENDED_PAGE];
};

enum dv_sim_injection {
    DV_SIM_INJECT_XID = 1, /* a = XID number */
    DV_SIM_INJECT_NVML_ERROR =
        2, /* name = function, a = nvmlReturn_t, b = how many times (0 = ever) */
    DV_SIM_INJECT_NVML_HANG = 3,  /* name = function or "*", a = milliseconds (0 = for ever) */
    DV_SIM_INJECT_CUDA_ERROR = 4, /* name = function, a = CUresult, b = how many times */
    DV_SIM_INJECT_CLEAR = 5,
    DV_SIM_INJECT_LEAK = 7,           /* a = bytes of a GPU that no process is listed with */
    DV_SIM_INJECT_RESET = 8,          /* a GPU comes up anew, as after a reboot */
    DV_SIM_INJECT_ECC = 9,            /* a = uncorrectable errors of its memory */
    DV_SIM_INJECT_REMAP_FAILURE = 10, /* no row is left to remap to */
    DV_SIM_INJECT_GONE = 11,          /* no driver counts the GPU, until RESET or CLEAR */
    DV_SIM_INJECT_FAULT = 6,          /* a = pid: an illegal address in each of its contexts */
};

struct dv_sim_inject {
    uint32_t gpu;
    uint32_t kind;
    uint64_t a, b;
    char name[96];
};

_Static_assert(sizeof(struct dv_sim_header) == 16, "ABI");
_Static_assert(sizeof(struct dv_sim_command) == 64, "ABI");
_Static_assert(sizeof(struct dv_sim_stats) < DV_SIM_PAYLOAD_MAX, "ABI");
_Static_assert(sizeof(struct dv_sim_ended) < DV_SIM_PAYLOAD_MAX, "ABI");

#endif
