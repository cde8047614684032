/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of the simulated libnvidia-ml.so.1 to the divvy-sim server: numbers DV_SIM_OP_NVML to
 * 399 of abi_sim.h. Every request is one struct dv_sim_nvml_request; the reply's `status` is the
 * nvmlReturn_t, its payload what is noted beside the number (nothing when the status is not 0).
 *
 * The request names the NVML function that was called, so that the server can let just that one
 * fail or hang (DV_SIM_INJECT_NVML_ERROR, _HANG). Ids of instances are NVML's own; DV_SIM_NVML_NONE
 * stands for "no instance" and "any profile". Bytes, milliwatts, MHz, Celsius, permille;
 * timestamps are microseconds of CLOCK_REALTIME.
 */
#ifndef DV_ABI_SIM_NVML_H
#define DV_ABI_SIM_NVML_H

#include "abi_sim.h"

#define DV_SIM_NVML_NONE UINT32_MAX
#define DV_SIM_NVML_NAME 96u
#define DV_SIM_NVML_CGROUP 1024u

enum dv_sim_nvml_op {
    DV_SIM_NVML_NODE = DV_SIM_OP_NVML, /* -> dv_sim_nvml_node; may be asked before anything else */
    DV_SIM_NVML_FIND,            /* text: UUID, serial number or bus id; a = enum dv_sim_nvml_key
                                    -> dv_sim_nvml_place */
    DV_SIM_NVML_DEVICE,          /* gpu, or gpu+gi+ci -> dv_sim_nvml_device */
    DV_SIM_NVML_CHECK,           /* gpu: nothing but injection and "is it lost" */
    DV_SIM_NVML_PROCESSES,       /* gpu[+gi+ci] -> dv_sim_nvml_process[] */
    DV_SIM_NVML_PROCESS_NAME,    /* a = pid -> char[] */
    DV_SIM_NVML_PROCESS_SAMPLES, /* gpu, value = newer than -> dv_sim_nvml_sample[] */
    DV_SIM_NVML_SAMPLES,         /* gpu, value = newer than -> dv_sim_nvml_sample[] */
    DV_SIM_NVML_SET,             /* gpu, a = enum dv_sim_nvml_setting, value */
    DV_SIM_NVML_SET_MIG,         /* gpu, a = mode -> uint32 activation status */
    DV_SIM_NVML_RESET,           /* gpu: activates a pending MIG mode */
    DV_SIM_NVML_MIG_DEVICES,     /* gpu -> dv_sim_nvml_place[], in NVML's order */
    DV_SIM_NVML_GI_PROFILE,      /* gpu, a = NVML_GPU_INSTANCE_PROFILE_* (b = 0) or id (b = 1)
                                    -> dv_sim_nvml_profile */
    DV_SIM_NVML_GI_PLACEMENTS,   /* gpu, a = profile id -> dv_sim_nvml_placement[] */
    DV_SIM_NVML_GI_REMAINING,    /* gpu, a = profile id -> uint32 */
    DV_SIM_NVML_GI_CREATE,       /* gpu, a = profile id, b = start or NONE, c = size -> uint32 gi */
    DV_SIM_NVML_GI_DESTROY,      /* gpu, gi */
    DV_SIM_NVML_GI_LIST,         /* gpu, a = profile id or NONE -> dv_sim_nvml_instance[] */
    DV_SIM_NVML_CI_PROFILE,      /* gpu, gi, a = profile -> dv_sim_nvml_profile */
    DV_SIM_NVML_CI_PLACEMENTS,   /* gpu, gi, a = profile -> dv_sim_nvml_placement[] */
    DV_SIM_NVML_CI_REMAINING,    /* gpu, gi, a = profile -> uint32 */
    DV_SIM_NVML_CI_CREATE,   /* gpu, gi, a = profile, b = start or NONE, c = size -> uint32 ci */
    DV_SIM_NVML_CI_DESTROY,  /* gpu, gi, ci */
    DV_SIM_NVML_CI_LIST,     /* gpu, gi, a = profile or NONE -> dv_sim_nvml_instance[] */
    DV_SIM_NVML_EVENTS_HEAD, /* -> uint64: sequence number of the newest event */
    DV_SIM_NVML_EVENTS_WAIT, /* dv_sim_nvml_wait behind the request -> dv_sim_nvml_event, or
                                status NVML_ERROR_TIMEOUT */
    DV_SIM_NVML_LIMITS_SET,  /* gpu; dv_sim_nvml_limits behind the request */
    DV_SIM_NVML_LIMITS_GET,  /* the same -> dv_sim_nvml_limits */
    DV_SIM_NVML_ACCOUNTING_PIDS,  /* gpu -> uint32[] */
    DV_SIM_NVML_ACCOUNTING_STATS, /* gpu, a = pid -> dv_sim_nvml_accounted */
    DV_SIM_NVML_ACCOUNTING_CLEAR, /* gpu: forgets the ones that ended */
    DV_SIM_NVML_COUNTERS,         /* gpu, or gpu+gi -> dv_sim_nvml_counters */
    DV_SIM_NVML_OP_END,
};

enum dv_sim_nvml_key {
    DV_SIM_NVML_KEY_UUID = 0,
    DV_SIM_NVML_KEY_SERIAL = 1,
    DV_SIM_NVML_KEY_BUS = 2,
};

enum dv_sim_nvml_setting {
    DV_SIM_NVML_PERSISTENCE = 0,
    DV_SIM_NVML_COMPUTE_MODE = 1,
    DV_SIM_NVML_POWER_LIMIT = 2,
    DV_SIM_NVML_TIMESLICE = 3, /* enum dv_sim_timeslice */
    DV_SIM_NVML_ACCOUNTING = 4,
};

/* The driver's settings for the turns of contexts, as nvidia-smi compute-policy numbers them. */
enum dv_sim_timeslice {
    DV_SIM_TIMESLICE_DEFAULT = 0,
    DV_SIM_TIMESLICE_SHORT = 1,
    DV_SIM_TIMESLICE_MEDIUM = 2,
    DV_SIM_TIMESLICE_LONG = 3,
    DV_SIM_TIMESLICES,
};

struct dv_sim_nvml_request {
    char function[80]; /* "nvmlDeviceGetName" */
    char text[DV_SIM_UUID_SIZE];
    uint32_t gpu, gi, ci; /* DV_SIM_NVML_NONE where not meant */
    uint32_t a, b, c;
    uint64_t value;
};

struct dv_sim_nvml_node {
    char hostname[64];
    char driver_version[32], nvml_version[32];
    uint32_t cuda_version;
    uint32_t gpus;
    uint32_t cpus, numa_nodes;
    uint32_t threads; /* of a core */
};

struct dv_sim_nvml_place {
    uint32_t gpu, gi, ci;
    char uuid[DV_SIM_UUID_SIZE];
};

/* Everything that is asked of one device often. A MIG device has its own uuid, name, memory, SMs,
 * engines and slices; the rest is its GPU's. */
struct dv_sim_nvml_device {
    char uuid[DV_SIM_UUID_SIZE];
    char name[DV_SIM_NVML_NAME];
    char serial[32];
    uint32_t gpu, gi, ci;
    uint32_t minor, architecture, brand;
    uint32_t cc_major, cc_minor;
    uint32_t pci_domain, pci_bus, pci_device, pci_id;
    uint32_t numa;
    uint32_t sm, cores, memory_bus_bits;
    uint32_t copy_engines, decoders, encoders, jpegs, ofas;
    uint32_t gi_slices, ci_slices;
    uint32_t ecc;
    uint32_t pcie_generation, pcie_width;
    uint32_t nvlinks, nvlink_version; /* version: 2, 3, 4, 5 */

    uint32_t mig_capable, mig_current, mig_pending, mig_needs_reset, mig_max;
    uint32_t persistence, compute_mode;
    uint32_t power_mw, power_limit_mw, power_default_mw, power_min_mw, power_max_mw;
    uint32_t temperature;
    uint32_t clock_sm_mhz, clock_memory_mhz, max_clock_sm_mhz, max_clock_memory_mhz;
    uint32_t busy_permille, memory_busy_permille; /* of the last sample window */
    uint32_t timeslice;                           /* enum dv_sim_timeslice */
    uint64_t memory_total_bytes, memory_reserved_bytes, memory_used_bytes;
    uint64_t bar1_total_bytes;
    uint64_t energy_uj;                   /* since the server started */
    uint64_t ecc_volatile, ecc_aggregate; /* uncorrectable */
    uint32_t rows_pending, rows_remapped, rows_failure;
    uint32_t accounting; /* 0, 1 */
    struct {
        uint8_t pcie;    /* enum dv_nvml_topology, 0xff for itself */
        uint8_t nvlinks; /* between the two */
    } link[DV_SIM_GPUS_MAX];
};

struct dv_sim_nvml_process {
    uint32_t pid;
    uint32_t gi, ci;
    uint32_t mps; /* enum dv_sim_mps_role */
    uint64_t used_bytes;
};

/* What accounting says of a process: the mean over its samples times its life is its GPU time. */
struct dv_sim_nvml_accounted {
    uint32_t pid;
    uint32_t running;
    uint64_t started_us;
    uint64_t time_ms; /* 0 while it runs */
    uint64_t memory_high_water_bytes;
    uint64_t sum_gpu, sum_memory; /* of the samples, in hundredths of a percent */
    uint32_t samples;
    uint32_t reserved;
};

struct dv_sim_nvml_sample {
    uint64_t time_us;
    uint32_t pid; /* 0: of the whole GPU */
    uint32_t busy_permille, memory_busy_permille;
    uint32_t reserved;
};

/* A profile of a GPU instance or of a compute instance. */
struct dv_sim_nvml_profile {
    char name[DV_SIM_NVML_NAME]; /* "MIG 3g.20gb", "MIG 1c.3g.20gb" */
    uint32_t id;                 /* profile id */
    uint32_t nvml;               /* NVML_GPU_INSTANCE_PROFILE_* */
    uint32_t slices, instances, sm;
    uint32_t copy_engines, decoders, encoders, jpegs, ofas;
    uint32_t p2p, graphics;
    uint64_t memory_mib;
};

struct dv_sim_nvml_placement {
    uint32_t start, size;
};

struct dv_sim_nvml_instance {
    uint32_t gi, ci; /* ci: DV_SIM_NVML_NONE for a GPU instance */
    uint32_t profile;
    uint32_t start, size;
};

struct dv_sim_nvml_wait {
    uint64_t after; /* the sequence number of the last event seen */
    uint32_t timeout_ms;
    uint32_t reserved;
    uint64_t types[DV_SIM_GPUS_MAX]; /* of each GPU: the event types wanted */
};

struct dv_sim_nvml_event {
    uint64_t sequence; /* 0: none came in time */
    uint64_t type, data;
    uint32_t gpu, gi, ci;
    uint32_t reserved;
};

/* Totals since the server started, of a GPU or of a GPU instance. */
struct dv_sim_nvml_counters {
    uint64_t now_ns;     /* the server's clock */
    uint64_t busy_ns;    /* something ran */
    uint64_t busy_sm_ns; /* SMs x time given to kernels */
    uint32_t sm;         /* that it has */
    uint32_t reserved;
};

/* Limits of a cgroup: soft 0 and hard UINT64_MAX are none. */
struct dv_sim_nvml_limits {
    char cgroup[DV_SIM_NVML_CGROUP]; /* its directory */
    uint64_t soft_bytes, hard_bytes;
    uint64_t used_bytes; /* of the answer */
};

_Static_assert((int)DV_SIM_NVML_OP_END <= (int)DV_SIM_OP_CONTROL, "ABI");
_Static_assert(sizeof(struct dv_sim_nvml_request) == 208, "ABI");
_Static_assert(sizeof(struct dv_sim_nvml_device) % 8 == 0, "ABI");

#endif
