/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hardware says: facts, as the driver gave them. Nothing is guessed here: a number that
 * the driver did not give is DV_FACT_UNKNOWN, a text is empty.
 *
 * One vtable, two back ends: nvml.h (the driver's library, the real one or the simulated one) and
 * replay.h (a captured node). The calls block for as long as the driver does; divvyd makes them in
 * a process of their own (worker/worker.h).
 *
 *     struct dv_hardware *hw;
 *     r = dv_hardware_nvml_new("libnvidia-ml.so.1", &hw, &err);
 *     struct dv_facts_driver driver;
 *     dv_hardware_driver(hw, &driver, &err);
 *     for (uint32_t i = 0; i < driver.gpus; i++)
 *         dv_hardware_gpu(hw, i, &gpu, &err);
 *     dv_hardware_free(hw);
 *
 * Memory is in bytes, utilization in percent, times of samples in microseconds since 1970 (NVML's).
 * The structs are plain values of fixed size: they travel between processes as they are.
 * Source of the facts: NVIDIA's NVML API reference and nvidia-ml-py.
 */
#ifndef DV_HARDWARE_HARDWARE_H
#define DV_HARDWARE_HARDWARE_H

#include "base/err.h"
#include "model/gpu.h"
#include "model/mig.h"

#include <stdbool.h>

#define DV_FACT_UNKNOWN UINT64_MAX
#define DV_FACT_UNKNOWN32 UINT32_MAX

#define DV_FACTS_GPUS_MAX 32u
#define DV_FACTS_MIG_MAX 16u /* MIG devices of one GPU */
#define DV_FACTS_PROCESSES_MAX 512u
#define DV_FACTS_UUID 96u
#define DV_FACTS_CPUS 512u

/* Positive answers of the calls below. */
enum dv_hardware_status {
    DV_HARDWARE_MISSING = 1,       /* no library, no driver */
    DV_HARDWARE_LOST = 2,          /* this GPU fell off the bus or needs a reset */
    DV_HARDWARE_NOT_PERMITTED = 3, /* more rights are needed */
    DV_HARDWARE_NOT_SUPPORTED = 4, /* this driver or GPU cannot say */
    DV_HARDWARE_FAILED = 5,        /* the driver answered an error; the message has it */
    DV_HARDWARE_NOT_LOADED = 6,    /* the library is there, its kernel module is not */
    DV_HARDWARE_MISMATCH = 7,      /* library and kernel module are of different versions */
};

/* Is there no driver to speak with, whatever the reason? */
static inline bool dv_hardware_is_absent(int status)
{
    return status == DV_HARDWARE_MISSING || status == DV_HARDWARE_NOT_LOADED ||
           status == DV_HARDWARE_MISMATCH;
}

struct dv_facts_driver {
    char version[80]; /* "550.54.15" */
    char library[256];
    uint32_t cuda; /* 12040 = 12.4 */
    uint32_t gpus;
};

struct dv_facts_mig {
    char uuid[DV_FACTS_UUID];
    char profile[DV_MIG_NAME]; /* "3g.20gb", "1c.3g.20gb" */
    uint32_t gi, ci;           /* ids of the GPU instance and the compute instance */
    uint32_t start, size;      /* of the GPU instance on the memory grid */
    uint32_t gi_slices, ci_slices;
    uint32_t ci_profile, ci_start; /* of the compute instance: its profile's id, its first slice */
    uint32_t sm;
    uint32_t copy, decoder, encoder, jpeg, ofa; /* engines that it may use */
    uint64_t memory_bytes;
};

/* A GPU instance, also one without compute instances; those are MIG devices and listed there. */
struct dv_facts_gi {
    uint32_t id, profile; /* the driver's profile id (dv_mig_profile.id) */
    uint32_t start, size;
};

struct dv_facts_gpu {
    uint32_t index;
    char uuid[DV_FACTS_UUID];
    char model[96];
    char pci[32];              /* "00000000:07:00.0" */
    uint32_t pci_device_id;    /* device in the high, vendor in the low half */
    uint32_t pci_subsystem_id; /* likewise */
    uint32_t cc_major, cc_minor;
    uint32_t compute_mode; /* NVML's numbers: 0 default, 2 prohibited, 3 exclusive process */
    uint32_t mig_current, mig_pending; /* 0, 1, or unknown: cannot do MIG */
    uint32_t numa;                     /* of the CPUs that are near to it */
    uint32_t power_limit_mw;
    uint32_t lost;          /* 1: it has an index and nothing else answers */
    uint32_t memory_limits; /* 1: the driver can limit memory by cgroup; 0: it cannot */
    uint32_t persistence;   /* 0, 1, or unknown */
    /* Rows of memory that failed: 1: some wait for a reset to be replaced; no spare row was left.
     */
    uint32_t remap_pending, remap_failed;
    uint32_t pages_pending; /* likewise of boards that retire pages: 1: some wait for a reset */
    uint32_t nvlinks_up;    /* links that have come up; unknown: it has none */
    uint32_t pci_class;     /* 0x0302 */
    uint32_t vgpu;          /* 1: a virtual GPU, given to this guest */
    char fabric_cluster[DV_GPU_FABRIC_SIZE]; /* a UUID; "": it has joined no fabric */
    uint32_t fabric_clique;
    uint32_t timeslice;  /* enum dv_timeslice; unknown: no such setting, or nobody asked. NVML
                            does not tell: whoever runs nvidia-smi fills it in */
    uint32_t accounting; /* 1: the driver keeps what each process used, also after its end; 0, or
                            unknown */
    uint64_t memory_bytes, memory_reserved_bytes;
    /* Both count from 0 when the GPU starts anew. */
    uint64_t ecc_uncorrected; /* memory errors that could not be corrected */
    uint64_t energy_mj;
    struct dv_mig_geometry geometry; /* n_profiles 0: none; its name is NULL */
    uint32_t n_mig;
    uint32_t n_gi; /* unknown: the driver does not list them to us */
    struct dv_facts_mig mig[DV_FACTS_MIG_MAX];
    struct dv_facts_gi gi[DV_FACTS_MIG_MAX];
};

/* How a GPU is joined to another one of its node. */
struct dv_facts_peer {
    /* The nearest common ancestor on PCIe, in NVML's numbers: 0 the same board, 10 one switch, 20
     * several, 30 a host bridge, 40 a NUMA node, 50 the interconnect of the sockets. */
    uint32_t pcie;
    uint32_t nvlinks;    /* that lead straight to it */
    uint32_t nvlink_p2p; /* NVML's answer, 0: the two reach each other over NVLink */
};

/* How a GPU is joined to the others: it changes with the machine, or with MIG mode, which takes a
 * GPU from its NVLinks. */
struct dv_facts_topology {
    uint32_t index;
    uint32_t nvlinks_switch;  /* NVLinks that lead to NVSwitches, where they meet those of others */
    char cpus[DV_FACTS_CPUS]; /* near to it: "48-63,176-191"; "": unknown, or too long a list */
    struct dv_facts_peer peers[DV_FACTS_GPUS_MAX]; /* by index; itself is unknown */
};

struct dv_facts_process {
    uint32_t pid;
    uint32_t gi, ci; /* unknown on a whole GPU */
    uint32_t reserved;
    uint64_t memory_bytes; /* or unknown */
};

struct dv_facts_utilization {
    uint32_t pid;
    uint32_t sm_percent;
    uint64_t time_us;
};

/* What changes all the time. */
struct dv_facts_sample {
    uint64_t memory_used_bytes, memory_free_bytes;
    uint32_t gpu_percent;
    uint32_t lost;
    uint32_t mig_layout;        /* differs when MIG mode or the number of MIG devices does */
    uint32_t processes_known;   /* 1: the list below is the driver's; 0: it could not say */
    uint32_t utilization_known; /* 1: per-process utilization is supported here */
    uint32_t n_processes, n_utilization;
    struct dv_facts_process processes[DV_FACTS_PROCESSES_MAX];
    struct dv_facts_utilization utilization[DV_FACTS_PROCESSES_MAX];
};

/* GPM: what a GPU or a GPU instance did since the last telemetry. Ratios in millionths. */
struct dv_facts_gpm {
    uint32_t active_ppm; /* of the time something ran on it */
    uint32_t sm_ppm, occupancy_ppm, tensor_ppm, dram_ppm;
    uint32_t reserved;
    uint64_t pcie_tx_bytes, pcie_rx_bytes; /* a second */
    uint64_t nvlink_tx_bytes, nvlink_rx_bytes;
    uint64_t interval_ns; /* that they are of; 0: no figures yet */
};

struct dv_facts_telemetry_gi {
    uint32_t id;
    uint32_t reserved;
    uint64_t memory_used_bytes, memory_free_bytes, memory_reserved_bytes;
    struct dv_facts_gpm gpm;
};

/* For graphs rather than for decisions: asked for less often than a sample. */
struct dv_facts_telemetry {
    uint32_t lost;
    uint32_t
        failures; /* questions that the driver failed to answer, other than by "not supported" */
    uint32_t sm_mhz, memory_mhz;
    uint32_t gpu_celsius, memory_celsius;
    uint32_t power_mw;
    uint32_t gpu_percent, memory_percent, encoder_percent, decoder_percent;
    uint32_t pcie_replays;
    uint32_t remapped_corrected, remapped_uncorrected, remap_failed; /* rows, rows, 0 or 1 */
    uint32_t n_gi;
    uint64_t energy_mj;                      /* since the driver was loaded */
    uint64_t ecc_corrected, ecc_uncorrected; /* over the board's life */
    uint64_t memory_used_bytes, memory_free_bytes, memory_reserved_bytes;
    struct dv_facts_gpm gpm;
    struct dv_facts_telemetry_gi gi[DV_FACTS_MIG_MAX]; /* GPU instances that have a MIG device */
};

struct dv_facts_event {
    uint32_t gpu; /* index */
    uint32_t gi;
    uint64_t xid;
    uint64_t energy_mj; /* of the GPU, read with the event */
};

/* What the driver's accounting has of a process on a GPU: of the last one with that pid that began
 * while accounting was on. Compare start_us before believing that it is the one that is meant. */
struct dv_facts_accounted {
    uint32_t pid;
    uint32_t is_running;
    uint64_t start_us;      /* its first use of the GPU, microseconds since 1970 */
    uint64_t life_ns;       /* from there to its end; of one that runs to now, by our clock */
    uint64_t busy_ns;       /* of that, how long it used the GPU */
    uint64_t resolution_ns; /* how finely busy_ns is told; what the driver's sampling missed is not
                               in it: about six samples a second, each of one process */
    uint64_t max_memory_bytes;
};

struct dv_hardware;

struct dv_hardware_ops {
    void (*free)(struct dv_hardware *hw);
    int (*driver)(struct dv_hardware *hw, struct dv_facts_driver *ret, struct dv_err *err);
    int (*gpu)(struct dv_hardware *hw, uint32_t index, struct dv_facts_gpu *ret,
               struct dv_err *err);
    int (*topology)(struct dv_hardware *hw, uint32_t index, struct dv_facts_topology *ret,
                    struct dv_err *err);
    int (*sample)(struct dv_hardware *hw, uint32_t index, uint64_t since_us,
                  struct dv_facts_sample *ret, struct dv_err *err);
    int (*telemetry)(struct dv_hardware *hw, uint32_t index, struct dv_facts_telemetry *ret,
                     struct dv_err *err);
    /* Never waits. */
    int (*events)(struct dv_hardware *hw, struct dv_facts_event *ret, uint32_t max,
                  uint32_t *ret_count, struct dv_err *err);
    int (*account)(struct dv_hardware *hw, uint32_t index, bool on, struct dv_err *err);
    int (*accounted)(struct dv_hardware *hw, uint32_t index, uint32_t pid,
                     struct dv_facts_accounted *ret, struct dv_err *err);
};

struct dv_hardware { /* first member of a back end's own struct */
    const struct dv_hardware_ops *ops;
};

static inline void dv_hardware_free(struct dv_hardware *hw)
{
    if (hw)
        hw->ops->free(hw);
}

/* All: 0, negative errno, or enum dv_hardware_status with a message. */
static inline int dv_hardware_driver(struct dv_hardware *hw, struct dv_facts_driver *ret,
                                     struct dv_err *err)
{
    return hw->ops->driver(hw, ret, err);
}

static inline int dv_hardware_gpu(struct dv_hardware *hw, uint32_t index, struct dv_facts_gpu *ret,
                                  struct dv_err *err)
{
    return hw->ops->gpu(hw, index, ret, err);
}

/* A call for each pair and each NVLink: asked for once, not in every round. */
static inline int dv_hardware_topology(struct dv_hardware *hw, uint32_t index,
                                       struct dv_facts_topology *ret, struct dv_err *err)
{
    return hw->ops->topology(hw, index, ret, err);
}

/* since_us: only utilization samples newer than this. */
static inline int dv_hardware_sample(struct dv_hardware *hw, uint32_t index, uint64_t since_us,
                                     struct dv_facts_sample *ret, struct dv_err *err)
{
    return hw->ops->sample(hw, index, since_us, ret, err);
}

static inline int dv_hardware_telemetry(struct dv_hardware *hw, uint32_t index,
                                        struct dv_facts_telemetry *ret, struct dv_err *err)
{
    return hw->ops->telemetry(hw, index, ret, err);
}

/* Everything unknown. */
void dv_hardware_telemetry_forget(struct dv_facts_telemetry *ret);

static inline int dv_hardware_events(struct dv_hardware *hw, struct dv_facts_event *ret,
                                     uint32_t max, uint32_t *ret_count, struct dv_err *err)
{
    return hw->ops->events(hw, ret, max, ret_count, err);
}

/* Switches accounting on or off, for root; what is so already is left alone. Off forgets what was
 * kept, for everybody. A GPU in MIG mode has none: DV_HARDWARE_NOT_SUPPORTED. */
static inline int dv_hardware_account(struct dv_hardware *hw, uint32_t index, bool on,
                                      struct dv_err *err)
{
    return hw->ops->account(hw, index, on, err);
}

/* -ESRCH: nothing is kept of that pid. DV_HARDWARE_NOT_SUPPORTED: also where accounting is off. */
static inline int dv_hardware_accounted(struct dv_hardware *hw, uint32_t index, uint32_t pid,
                                        struct dv_facts_accounted *ret, struct dv_err *err)
{
    return hw->ops->accounted(hw, index, pid, ret, err);
}

#endif
