/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What divvyd and the library inside a tenant's process (the governor) share: four kinds of page,
 * each a memfd, and the handshake that hands them out. Version 2.
 *
 *   page         one per          written by                      read by
 *   slice        slice            daemon (tenants cannot)         the slice's processes
 *   reservation  slice            the slice's processes, daemon   the slice's processes, daemon
 *   slot         tenant process   that process; the daemon        daemon; all processes on the
 *                                 repairs after its death         device (they cannot write)
 *   arbiter      device           daemon (tenants cannot)         all processes on the device
 *
 * "Cannot": the memfd carries F_SEAL_FUTURE_WRITE, so only mappings made before the seal can write
 * (memfd_create(2), fcntl(2)). The daemon maps first; of a slot the tenant maps too, before READY.
 * All carry F_SEAL_SHRINK | F_SEAL_GROW, so that nobody can make a reader fault.
 *
 * Every word has one writer (the reservation word excepted, which is one compare-and-swap) and is
 * accessed with __atomic builtins; there is no lock between processes. Groups of words that belong
 * together stand behind a sequence number: odd while the writer is inside. FUTEX_WAIT and
 * FUTEX_WAKE work on the read-only mappings, hence wake-ups can be spurious: always re-check.
 *
 * Times are CLOCK_MONOTONIC in nanoseconds, 0 = none. Bytes are bytes. Compute is 1/7000 GPU.
 */
#ifndef DV_ABI_TENANT_H
#define DV_ABI_TENANT_H

#include <stdint.h>

#define DV_TENANT_ABI 2u
#define DV_TENANT_MAGIC_SLICE 0x53564944u       /* "DIVS" */
#define DV_TENANT_MAGIC_RESERVATION 0x52564944u /* "DIVR" */
#define DV_TENANT_MAGIC_SLOT 0x4C564944u        /* "DIVL" */
#define DV_TENANT_MAGIC_ARBITER 0x41564944u     /* "DIVA" */
#define DV_TENANT_MAGIC_MESSAGE 0x4D564944u     /* "DIVM" */

#define DV_TENANT_SLOTS_MAX 512u           /* tenant processes on one device */
#define DV_TENANT_SLICE_PROCESSES_MAX 256u /* tenant processes of one slice */
#define DV_TENANT_UUID_SIZE 96u            /* NVML_DEVICE_UUID_V2_BUFFER_SIZE */
#define DV_TENANT_PATH_SIZE 512u

/* ---- the slice page --------------------------------------------------------------------- */

enum dv_slice_state {
    DV_SLICE_LIVE = 1,
    DV_SLICE_ENDED = 2, /* released or revoked: no new allocation, no new lease */
};

#define DV_SLICE_FLAG_UNLEASED 1u /* no turns to wait for: time is metered, not given */

struct dv_slice_page {
    uint32_t magic, abi;
    uint32_t seq;   /* odd while the daemon changes the group below (divvy limit) */
    uint32_t state; /* enum dv_slice_state */
    uint64_t memory_limit_bytes;
    uint32_t compute;     /* the share of the device, 1..7000: 7000 is all of it */
    uint32_t compute_cap; /* hard ceiling, 7000 = may borrow all that is idle */
    uint32_t tier;        /* 0 best effort, 1 latency critical (reserved for later) */
    uint32_t flags;
    uint64_t context_bytes; /* learnt: what one context costs; reserved before it is created */
    uint64_t module_bytes;  /* learnt: what loading one module costs at least */
    /* Constant from here on. */
    char slice_id[32];
    char tenant[64];
    char device_uuid[DV_TENANT_UUID_SIZE]; /* "GPU-..." or "MIG-...": the only device to show */
    char libcuda[DV_TENANT_PATH_SIZE];     /* absolute path of the driver's library */
    char libnvml[DV_TENANT_PATH_SIZE];
};

/* ---- the reservation page: memory of a slice, exact under kill -9 ------------------------ */

/*
 * bytes reserved by all processes of the slice, and which operation of which process changed that
 * last. The 16 bytes change together, by one double-word compare-and-swap. The rules are code:
 * abi_reservation.h.
 */
struct dv_reservation_word {
    uint64_t bytes;
    uint64_t author; /* process:8 | number of its operation:56 */
} __attribute__((aligned(16)));

/* Index 0 of `ack` is the daemon; processes of the slice have 1..255. ack[p] only grows: it is the
 * highest operation of process p that somebody has seen applied. */
struct dv_reservation_page {
    uint32_t magic, abi;
    uint64_t reserved;
    struct dv_reservation_word word;
    uint64_t ack[DV_TENANT_SLICE_PROCESSES_MAX];
};

/* ---- the slot page of one tenant process -------------------------------------------------- */

enum dv_slot_state {
    DV_SLOT_IDLE = 0,
    DV_SLOT_WANT = 1,     /* a launch waits at the gate */
    DV_SLOT_HELD = 2,     /* holds the lease of `epoch` */
    DV_SLOT_STOPPING = 3, /* no new launches; waits for its own work to end */
    DV_SLOT_DRAINING = 4, /* announced: the successor may start */
    DV_SLOT_FROZEN = 5,   /* reserved: latency-critical work passes by */
};

#define DV_SLOT_LOG_SIZE 1024u /* a ring of text lines for the daemon's eyes, best effort */

struct dv_slot_page {
    uint32_t magic, abi;

    /* Memory; see the reservation page. */
    uint64_t memory_seq; /* number of the operation that is under way or was the last */
    uint64_t memory_charged[2];
    uint64_t memory_overhead_bytes; /* the part of it that is contexts and modules */

    /* Lease. */
    uint32_t state;          /* enum dv_slot_state */
    uint32_t lease_seq;      /* odd while the process writes the group of its last lease */
    uint64_t epoch;          /* of the lease that it holds or held last */
    uint64_t want_ns;        /* since when a launch waits; 0 = none waits */
    uint64_t want_count;     /* number of requests made: tells a new request from the last one */
    uint64_t inflight_ns;    /* predicted GPU time submitted and not known to be done */
    uint64_t pred_end_ns;    /* when that will have run, alone */
    uint64_t announced_ns;   /* A: when it announced its end; with */
    uint64_t remainder_ns;   /* R: the work predicted to be left at A */
    uint32_t released_epoch; /* futex: low 32 bits of the epoch that it gave up last */
    uint32_t lc_active;      /* reserved for latency-critical work */
    uint64_t first_start_ns; /* of the last lease: first own start, last own end, */
    uint64_t last_end_ns;
    uint64_t used_ns;       /* and what it is charged for it */
    uint64_t timed_ns;      /* cheat detector: measured time of its batches, and */
    uint64_t predicted_ns;  /* what they should have taken by learnt prices */
    uint64_t handed;        /* the turn (dv_turn_pack) that `next` named when it announced or
                             * released: only that one may start by itself; 0 = nobody */
    uint64_t idle_since_ns; /* the device has nothing from this process since; 0 = busy */
    uint64_t alive_ns;

    /* Totals since the process started; they only grow. */
    uint64_t charged_total_ns;
    uint64_t wait_total_ns; /* launches waited at the gate */
    uint64_t launches_total;
    uint64_t refused_total;      /* allocations refused at the cap */
    uint64_t selfpaced_total_ns; /* GPU time submitted while no daemon granted leases */
    /* Its work ran for so long: charged_total_ns without what a lease costs beside it (the switch
     * to it, gaps, lingering), and without what it submitted by itself. */
    uint64_t ran_total_ns;

    uint32_t log_head; /* bytes ever written to log, modulo 2^32 */
    uint32_t reserved;
    char log[DV_SLOT_LOG_SIZE];
};

/* ---- the arbiter page of one device ------------------------------------------------------- */

/* A turn names who may submit: slot + 1 in the high 16 bits (0 = nobody), epoch in the low 48. */
static inline uint64_t dv_turn_pack(uint32_t slot_plus_1, uint64_t epoch)
{
    return (uint64_t)slot_plus_1 << 48 | (epoch & ((UINT64_C(1) << 48) - 1));
}

static inline uint32_t dv_turn_slot_plus_1(uint64_t turn)
{
    return (uint32_t)(turn >> 48);
}

static inline uint64_t dv_turn_epoch(uint64_t turn)
{
    return turn & ((UINT64_C(1) << 48) - 1);
}

#define DV_ARBITER_FLAG_OPEN 1u /* leases are off (an intruder was found): everyone may submit */

/*
 * A successor may take its lease by itself when the holder's `handed` names it with an epoch above
 * turn's and the holder has released, or has announced and announced_ns + remainder_ns - overlap_ns
 * has passed; or when `next` names it and max(deadline_ns, the holder's pred_end_ns) + grace_ns has
 * passed. It then writes its own `epoch` and state; the daemon follows by moving it to turn.
 */
struct dv_arbiter_page {
    uint32_t magic, abi;
    uint32_t contended; /* more than one slice has work: the deadline counts */
    uint32_t flags;
    uint64_t turn;              /* who holds the lease */
    uint64_t next;              /* its named successor; slot 0 = none */
    uint64_t deadline_ns;       /* end of the holder's quantum */
    uint64_t quantum_ns;        /* Q */
    uint64_t inflight_bound_ns; /* D */
    uint64_t overlap_ns;        /* x */
    uint64_t linger_ns;         /* upper bound of the adaptive linger */
    uint64_t grace_ns;
    uint64_t heartbeat_ns;     /* the arbiter lives; older than 100 ms: tenants pace themselves */
    uint32_t slots_generation; /* a slot page came or went: tenants fetch DV_MSG_PEER messages */
    uint32_t slots_count;      /* slots in use are below this */
    /* Futex per slot, raised by the daemon whenever something concerns that slot. */
    uint32_t wake[DV_TENANT_SLOTS_MAX];
};

/* ---- the handshake, SOCK_SEQPACKET ---------------------------------------------------------- */

/*
 *   tenant: HELLO
 *   daemon: WELCOME + 5 file descriptors, or REFUSED
 *   tenant: maps its slot writable, then READY          (maps the others read-only)
 *   daemon: seals the slot, then GO + PEER for every other slot of the device
 *   later   daemon: PEER (with the slot's memfd) or PEER_GONE as others come and go;
 *           tenant: reads them without blocking when slots_generation has changed
 *
 * The daemon knows the caller by SO_PEERCRED and finds its slice by the process tree (the started
 * command's parent is a child subreaper, so no child gets away) or the cgroup; the words of HELLO
 * are not trusted for that. The socket stays open: hang-up or the pidfd tells the death. A child
 * after fork() closes the inherited socket and drops the pages before it may do CUDA itself.
 * To wake the arbiter a tenant writes 1 to its eventfd.
 */
enum dv_tenant_message_type {
    DV_MSG_HELLO = 1,
    DV_MSG_WELCOME = 2,
    DV_MSG_REFUSED = 3,
    DV_MSG_READY = 4,
    DV_MSG_GO = 5,
    DV_MSG_PEER = 6,
    DV_MSG_PEER_GONE = 7,
};

enum dv_tenant_fd { /* order of WELCOME's file descriptors */
                    DV_FD_SLICE = 0,
                    DV_FD_RESERVATION = 1,
                    DV_FD_SLOT = 2,
                    DV_FD_ARBITER = 3,
                    DV_FD_EVENT = 4,
                    DV_FD_COUNT = 5,
};

struct dv_tenant_message {
    uint32_t magic, abi;
    uint32_t type;
    uint32_t slot;    /* WELCOME: own slot on the device; PEER, PEER_GONE: the peer's */
    uint32_t process; /* WELCOME: own index in the slice, 1..255; PEER: the peer's, 0 = it belongs
                       * to another slice */
    uint32_t status;  /* REFUSED: errno; WELCOME: own pid as NVML shows it; PEER: the peer's */
    char text[128];   /* REFUSED: why, one line */
};

#define DV_TENANT_SOCKET_ENV "DIVVY_TENANT_SOCKET"
/* In a container: mounted there, where it is tried first, so that no environment leads past it. */
#define DV_TENANT_SOCKET_FOLDER "/run/divvy/tenant"
#define DV_TENANT_SOCKET_NAME "sock"

/* Layout is ABI: a change of any of these numbers is a new DV_TENANT_ABI. */
_Static_assert(sizeof(struct dv_tenant_message) == 152, "ABI");
_Static_assert(sizeof(struct dv_reservation_page) == 32 + 8 * DV_TENANT_SLICE_PROCESSES_MAX, "ABI");
_Static_assert(sizeof(struct dv_slot_page) % 8 == 0, "ABI");
_Static_assert(sizeof(struct dv_arbiter_page) == 96 + 4 * DV_TENANT_SLOTS_MAX, "ABI");

#endif
