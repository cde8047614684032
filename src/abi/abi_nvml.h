/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of NVML's C ABI that divvy uses and simulates, in own words: numbers, layouts and the
 * shapes of the calls. No NVML header is needed to build divvy, and no NVML to run it.
 *
 * Sources: NVIDIA's NVML API reference (docs.nvidia.com/deploy/nvml-api, releases 580 to 615) and
 * the ctypes declarations of nvidia-ml-py 13.615 (PyPI, BSD), which state every size that is
 * asserted below. Units are NVML's own: milliwatts, MHz, degrees Celsius, bytes unless the name
 * says MB (2^20), microseconds since the epoch in samples, seconds nowhere.
 *
 *     struct dv_nvml_memory_v2 memory = {.version = DV_NVML_VERSION(dv_nvml_memory_v2, 2)};
 *     int r = nvmlDeviceGetMemoryInfo_v2(device, &memory);      // DV_NVML_SUCCESS, or the error
 *
 * A program that must not link the library takes the type from here and the address from dlsym:
 *
 *     __typeof__(&nvmlDeviceGetName) get_name = dlsym(handle, "nvmlDeviceGetName");
 *
 * abi_nvml_calls.def lists the calls whose shape is declared; abi_nvml_names.def every name that
 * the real library exports.
 */
#ifndef DV_ABI_NVML_H
#define DV_ABI_NVML_H

#include <stdint.h>

#define DV_NVML_SONAME "libnvidia-ml.so.1"

/* What a versioned struct carries in its first word: its size and its version. */
#define DV_NVML_VERSION(type, v) ((uint32_t)(sizeof(struct type) | ((uint32_t)(v) << 24)))

enum dv_nvml_return {
    DV_NVML_SUCCESS = 0,
    DV_NVML_ERROR_UNINITIALIZED = 1,
    DV_NVML_ERROR_INVALID_ARGUMENT = 2,
    DV_NVML_ERROR_NOT_SUPPORTED = 3,
    DV_NVML_ERROR_NO_PERMISSION = 4,
    DV_NVML_ERROR_ALREADY_INITIALIZED = 5,
    DV_NVML_ERROR_NOT_FOUND = 6,
    DV_NVML_ERROR_INSUFFICIENT_SIZE = 7,
    DV_NVML_ERROR_INSUFFICIENT_POWER = 8,
    DV_NVML_ERROR_DRIVER_NOT_LOADED = 9,
    DV_NVML_ERROR_TIMEOUT = 10,
    DV_NVML_ERROR_IRQ_ISSUE = 11,
    DV_NVML_ERROR_LIBRARY_NOT_FOUND = 12,
    DV_NVML_ERROR_FUNCTION_NOT_FOUND = 13,
    DV_NVML_ERROR_CORRUPTED_INFOROM = 14,
    DV_NVML_ERROR_GPU_IS_LOST = 15,
    DV_NVML_ERROR_RESET_REQUIRED = 16,
    DV_NVML_ERROR_OPERATING_SYSTEM = 17,
    DV_NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18,
    DV_NVML_ERROR_IN_USE = 19,
    DV_NVML_ERROR_MEMORY = 20,
    DV_NVML_ERROR_NO_DATA = 21,
    DV_NVML_ERROR_VGPU_ECC_NOT_SUPPORTED = 22,
    DV_NVML_ERROR_INSUFFICIENT_RESOURCES = 23,
    DV_NVML_ERROR_FREQ_NOT_SUPPORTED = 24,
    DV_NVML_ERROR_ARGUMENT_VERSION_MISMATCH = 25,
    DV_NVML_ERROR_DEPRECATED = 26,
    DV_NVML_ERROR_NOT_READY = 27,
    DV_NVML_ERROR_GPU_NOT_FOUND = 28,
    DV_NVML_ERROR_INVALID_STATE = 29,
    DV_NVML_ERROR_RESET_TYPE_NOT_SUPPORTED = 30,
    DV_NVML_ERROR_UNKNOWN = 999,
};

/* Sizes of the text buffers that callers bring. */
#define DV_NVML_UUID_SIZE 80u
#define DV_NVML_UUID_V2_SIZE 96u
#define DV_NVML_NAME_SIZE 64u
#define DV_NVML_NAME_V2_SIZE 96u
#define DV_NVML_SERIAL_SIZE 30u
#define DV_NVML_VBIOS_SIZE 32u
#define DV_NVML_PART_NUMBER_SIZE 80u
#define DV_NVML_INFOROM_SIZE 16u
#define DV_NVML_VERSION_TEXT_SIZE 80u
#define DV_NVML_BUS_ID_SIZE 32u
#define DV_NVML_BUS_ID_LEGACY_SIZE 16u

/* Flags of nvmlInitWithFlags. */
#define DV_NVML_INIT_NO_GPUS 1u
#define DV_NVML_INIT_NO_ATTACH 2u

#define DV_NVML_FEATURE_DISABLED 0u
#define DV_NVML_FEATURE_ENABLED 1u

/* Where no instance is meant. */
#define DV_NVML_INSTANCE_NONE UINT32_MAX
/* A memory figure that the driver does not give (usedGpuMemory and the like). */
#define DV_NVML_VALUE_NOT_AVAILABLE UINT64_MAX

enum dv_nvml_brand {
    DV_NVML_BRAND_UNKNOWN = 0,
    DV_NVML_BRAND_QUADRO = 1,
    DV_NVML_BRAND_TESLA = 2,
    DV_NVML_BRAND_GEFORCE = 5,
    DV_NVML_BRAND_QUADRO_RTX = 12,
    DV_NVML_BRAND_NVIDIA_RTX = 13,
    DV_NVML_BRAND_NVIDIA = 14,
};

enum dv_nvml_architecture {
    DV_NVML_ARCH_KEPLER = 2,
    DV_NVML_ARCH_MAXWELL = 3,
    DV_NVML_ARCH_PASCAL = 4,
    DV_NVML_ARCH_VOLTA = 5,
    DV_NVML_ARCH_TURING = 6,
    DV_NVML_ARCH_AMPERE = 7,
    DV_NVML_ARCH_ADA = 8,
    DV_NVML_ARCH_HOPPER = 9,
    DV_NVML_ARCH_BLACKWELL = 10,
};

enum dv_nvml_compute_mode {
    DV_NVML_COMPUTE_DEFAULT = 0,
    DV_NVML_COMPUTE_EXCLUSIVE_THREAD = 1, /* no driver supports it any more */
    DV_NVML_COMPUTE_PROHIBITED = 2,
    DV_NVML_COMPUTE_EXCLUSIVE_PROCESS = 3,
};

enum dv_nvml_clock {
    DV_NVML_CLOCK_GRAPHICS = 0,
    DV_NVML_CLOCK_SM = 1,
    DV_NVML_CLOCK_MEM = 2,
    DV_NVML_CLOCK_VIDEO = 3,
    DV_NVML_CLOCK_COUNT = 4,
};

enum dv_nvml_clock_id {
    DV_NVML_CLOCK_ID_CURRENT = 0,
    DV_NVML_CLOCK_ID_APP_TARGET = 1,
    DV_NVML_CLOCK_ID_APP_DEFAULT = 2,
    DV_NVML_CLOCK_ID_CUSTOMER_BOOST_MAX = 3,
};

/* Why clocks are low: bits of nvmlDeviceGetCurrentClocksEventReasons. */
#define DV_NVML_CLOCKS_EVENT_GPU_IDLE 0x001ull
#define DV_NVML_CLOCKS_EVENT_APPLICATIONS_SETTING 0x002ull
#define DV_NVML_CLOCKS_EVENT_SW_POWER_CAP 0x004ull
#define DV_NVML_CLOCKS_EVENT_HW_SLOWDOWN 0x008ull
#define DV_NVML_CLOCKS_EVENT_SYNC_BOOST 0x010ull
#define DV_NVML_CLOCKS_EVENT_SW_THERMAL 0x020ull
#define DV_NVML_CLOCKS_EVENT_HW_THERMAL 0x040ull
#define DV_NVML_CLOCKS_EVENT_HW_POWER_BRAKE 0x080ull
#define DV_NVML_CLOCKS_EVENT_DISPLAY 0x100ull
#define DV_NVML_CLOCKS_EVENT_ALL 0x1ffull

enum dv_nvml_temperature_threshold {
    DV_NVML_THRESHOLD_SHUTDOWN = 0,
    DV_NVML_THRESHOLD_SLOWDOWN = 1,
    DV_NVML_THRESHOLD_MEM_MAX = 2,
    DV_NVML_THRESHOLD_GPU_MAX = 3,
};

enum dv_nvml_ecc_error { DV_NVML_ECC_CORRECTED = 0, DV_NVML_ECC_UNCORRECTED = 1 };
enum dv_nvml_ecc_counter { DV_NVML_ECC_VOLATILE = 0, DV_NVML_ECC_AGGREGATE = 1 };

/* How far two GPUs are from each other. */
/* How wide CPUs and memory near to a GPU are meant. */
enum dv_nvml_affinity_scope {
    DV_NVML_AFFINITY_NODE = 0,
    DV_NVML_AFFINITY_SOCKET = 1,
};

enum dv_nvml_topology {
    DV_NVML_TOPOLOGY_INTERNAL = 0,    /* the same board */
    DV_NVML_TOPOLOGY_SINGLE = 10,     /* one PCIe switch: nvidia-smi's PIX */
    DV_NVML_TOPOLOGY_MULTIPLE = 20,   /* several PCIe switches: PXB */
    DV_NVML_TOPOLOGY_HOSTBRIDGE = 30, /* one host bridge: PHB */
    DV_NVML_TOPOLOGY_NODE = 40,       /* one NUMA node: NODE */
    DV_NVML_TOPOLOGY_SYSTEM = 50,     /* across NUMA nodes: SYS */
};

enum dv_nvml_p2p_caps {
    DV_NVML_P2P_READ = 0,
    DV_NVML_P2P_WRITE = 1,
    DV_NVML_P2P_NVLINK = 2,
    DV_NVML_P2P_ATOMICS = 3,
    DV_NVML_P2P_PCI = 4,
};

enum dv_nvml_p2p_status {
    DV_NVML_P2P_OK = 0,
    DV_NVML_P2P_CHIPSET_NOT_SUPPORTED = 1,
    DV_NVML_P2P_GPU_NOT_SUPPORTED = 2,
    DV_NVML_P2P_TOPOLOGY_NOT_SUPPORTED = 3,
    DV_NVML_P2P_DISABLED = 4,
    DV_NVML_P2P_NOT_SUPPORTED = 5,
    DV_NVML_P2P_UNKNOWN = 6,
};

#define DV_NVML_NVLINK_MAX_LINKS 18u /* per GPU, up to Blackwell */
enum dv_nvml_nvlink_cap {
    DV_NVML_NVLINK_CAP_P2P = 0,
    DV_NVML_NVLINK_CAP_SYSMEM = 1,
    DV_NVML_NVLINK_CAP_P2P_ATOMICS = 2,
    DV_NVML_NVLINK_CAP_SYSMEM_ATOMICS = 3,
    DV_NVML_NVLINK_CAP_SLI = 4,
    DV_NVML_NVLINK_CAP_VALID = 5,
};
enum dv_nvml_nvlink_device {
    DV_NVML_NVLINK_DEVICE_GPU = 0,
    DV_NVML_NVLINK_DEVICE_SWITCH = 2,
    DV_NVML_NVLINK_DEVICE_UNKNOWN = 0xff,
};
/* nvmlDeviceGetNvLinkVersion's numbers for NVLink 2.0, 3.0, 4.0 and 5.0. */
enum dv_nvml_nvlink_version {
    DV_NVML_NVLINK_2_0 = 2,
    DV_NVML_NVLINK_3_0 = 4,
    DV_NVML_NVLINK_4_0 = 6,
    DV_NVML_NVLINK_5_0 = 7,
};

enum dv_nvml_value_type {
    DV_NVML_VALUE_DOUBLE = 0,
    DV_NVML_VALUE_UNSIGNED_INT = 1,
    DV_NVML_VALUE_UNSIGNED_LONG = 2,
    DV_NVML_VALUE_UNSIGNED_LONG_LONG = 3,
    DV_NVML_VALUE_SIGNED_LONG_LONG = 4,
    DV_NVML_VALUE_SIGNED_INT = 5,
    DV_NVML_VALUE_UNSIGNED_SHORT = 6,
};

enum dv_nvml_sampling {
    DV_NVML_SAMPLES_TOTAL_POWER = 0,
    DV_NVML_SAMPLES_GPU_UTILIZATION = 1,
    DV_NVML_SAMPLES_MEMORY_UTILIZATION = 2,
    DV_NVML_SAMPLES_ENCODER = 3,
    DV_NVML_SAMPLES_DECODER = 4,
    DV_NVML_SAMPLES_PROCESSOR_CLOCK = 5,
    DV_NVML_SAMPLES_MEMORY_CLOCK = 6,
};

/* Bits of an event set's mask. */
#define DV_NVML_EVENT_SINGLE_BIT_ECC 0x001ull
#define DV_NVML_EVENT_DOUBLE_BIT_ECC 0x002ull
#define DV_NVML_EVENT_PSTATE 0x004ull
#define DV_NVML_EVENT_XID 0x008ull
#define DV_NVML_EVENT_CLOCK 0x010ull
#define DV_NVML_EVENT_POWER_SOURCE 0x080ull
#define DV_NVML_EVENT_MIG_CONFIG 0x100ull

/* nvmlDeviceGetFieldValues: the fields that divvy and common tools ask for. */
enum dv_nvml_field {
    DV_NVML_FIELD_ECC_CURRENT = 1,
    DV_NVML_FIELD_ECC_PENDING = 2,
    DV_NVML_FIELD_ECC_SBE_VOL_TOTAL = 3,
    DV_NVML_FIELD_ECC_DBE_VOL_TOTAL = 4,
    DV_NVML_FIELD_ECC_SBE_AGG_TOTAL = 5,
    DV_NVML_FIELD_ECC_DBE_AGG_TOTAL = 6,
    DV_NVML_FIELD_RETIRED_SBE = 29,
    DV_NVML_FIELD_RETIRED_DBE = 30,
    DV_NVML_FIELD_RETIRED_PENDING = 31,
    DV_NVML_FIELD_NVLINK_CRC_FLIT_TOTAL = 38,
    DV_NVML_FIELD_NVLINK_CRC_DATA_TOTAL = 45,
    DV_NVML_FIELD_NVLINK_REPLAY_TOTAL = 52,
    DV_NVML_FIELD_NVLINK_RECOVERY_TOTAL = 59,
    DV_NVML_FIELD_PERF_POLICY_POWER = 74,
    DV_NVML_FIELD_PERF_POLICY_THERMAL = 75,
    DV_NVML_FIELD_MEMORY_TEMPERATURE = 82,
    DV_NVML_FIELD_TOTAL_ENERGY = 83, /* mJ since the driver was loaded */
    DV_NVML_FIELD_NVLINK_SPEED_MBPS = 90,
    DV_NVML_FIELD_NVLINK_LINK_COUNT = 91,
    DV_NVML_FIELD_PCIE_REPLAY = 94,
    DV_NVML_FIELD_NVLINK_DATA_TX = 138, /* KiB */
    DV_NVML_FIELD_NVLINK_DATA_RX = 139,
    DV_NVML_FIELD_NVLINK_RAW_TX = 140,
    DV_NVML_FIELD_NVLINK_RAW_RX = 141,
    DV_NVML_FIELD_REMAPPED_CORRECTED = 142,
    DV_NVML_FIELD_REMAPPED_UNCORRECTED = 143,
    DV_NVML_FIELD_REMAPPED_PENDING = 144,
    DV_NVML_FIELD_REMAPPED_FAILURE = 145,
    DV_NVML_FIELD_NVLINK_SPEED = 164,
    DV_NVML_FIELD_NVLINK_STATE = 165,
    DV_NVML_FIELD_NVLINK_VERSION = 166,
    DV_NVML_FIELD_RESETLESS_MIG = 184,
    DV_NVML_FIELD_POWER_AVERAGE = 185, /* mW, over one second */
    DV_NVML_FIELD_POWER_INSTANT = 186,
    DV_NVML_FIELD_POWER_MIN_LIMIT = 187,
    DV_NVML_FIELD_POWER_MAX_LIMIT = 188,
    DV_NVML_FIELD_POWER_DEFAULT_LIMIT = 189,
    DV_NVML_FIELD_POWER_CURRENT_LIMIT = 190,
    DV_NVML_FIELD_ENERGY = 191,
    DV_NVML_FIELD_POWER_REQUESTED_LIMIT = 192,
    DV_NVML_FIELD_PCIE_TX_BYTES = 197,
    DV_NVML_FIELD_PCIE_RX_BYTES = 198,
    DV_NVML_FIELD_RECOVERY_ACTION = 230,
    DV_NVML_FIELD_SW_THERMAL_SLOWDOWN = 269, /* ns spent slowed down */
    DV_NVML_FIELD_HW_THERMAL_SLOWDOWN = 270,
    DV_NVML_FIELD_HW_POWER_BRAKE = 271,
    DV_NVML_FIELD_COUNT = 308,
};

/* nvmlDeviceGetGpuInstanceProfileInfo's argument: not the profile id. */
enum dv_nvml_gi_profile {
    DV_NVML_GI_1_SLICE = 0x0,
    DV_NVML_GI_2_SLICE = 0x1,
    DV_NVML_GI_3_SLICE = 0x2,
    DV_NVML_GI_4_SLICE = 0x3,
    DV_NVML_GI_7_SLICE = 0x4,
    DV_NVML_GI_8_SLICE = 0x5,
    DV_NVML_GI_6_SLICE = 0x6,
    DV_NVML_GI_1_SLICE_REV1 = 0x7, /* +me */
    DV_NVML_GI_2_SLICE_REV1 = 0x8,
    DV_NVML_GI_1_SLICE_REV2 = 0x9, /* twice the memory */
    DV_NVML_GI_1_SLICE_GFX = 0xa,
    DV_NVML_GI_2_SLICE_GFX = 0xb,
    DV_NVML_GI_4_SLICE_GFX = 0xc,
    DV_NVML_GI_1_SLICE_NO_ME = 0xd,
    DV_NVML_GI_2_SLICE_NO_ME = 0xe,
    DV_NVML_GI_1_SLICE_ALL_ME = 0xf,
    DV_NVML_GI_2_SLICE_ALL_ME = 0x10,
    DV_NVML_GI_3_SLICE_GFX = 0x11,
    DV_NVML_GI_PROFILE_COUNT = 0x12,
};
#define DV_NVML_GI_CAPS_P2P 1u
#define DV_NVML_GI_CAPS_GFX 2u

enum dv_nvml_ci_profile {
    DV_NVML_CI_1_SLICE = 0x0,
    DV_NVML_CI_2_SLICE = 0x1,
    DV_NVML_CI_3_SLICE = 0x2,
    DV_NVML_CI_4_SLICE = 0x3,
    DV_NVML_CI_7_SLICE = 0x4,
    DV_NVML_CI_8_SLICE = 0x5,
    DV_NVML_CI_6_SLICE = 0x6,
    DV_NVML_CI_1_SLICE_REV1 = 0x7,
    DV_NVML_CI_7_SLICE_NVL = 0x8,
    DV_NVML_CI_PROFILE_COUNT = 0x9,
};
#define DV_NVML_CI_ENGINE_SHARED 0u

/* ---- layouts --------------------------------------------------------------------------------- */

/* Handles. A client owns none of what they point to; they are good until nvmlShutdown. */
struct dv_nvml_device;
struct dv_nvml_gpu_instance;
struct dv_nvml_compute_instance;
struct dv_nvml_event_set;
struct dv_nvml_unit;

struct dv_nvml_pci_info_v1 {
    char bus_id[DV_NVML_BUS_ID_LEGACY_SIZE];
    uint32_t domain, bus, device;
    uint32_t pci_device_id; /* device << 16 | vendor */
};

struct dv_nvml_pci_info_v2 {
    char bus_id[DV_NVML_BUS_ID_LEGACY_SIZE];
    uint32_t domain, bus, device;
    uint32_t pci_device_id;
    uint32_t pci_subsystem_id;
    uint32_t reserved[4];
};

struct dv_nvml_pci_info {                           /* v3 */
    char bus_id_legacy[DV_NVML_BUS_ID_LEGACY_SIZE]; /* 0000:07:00.0 */
    uint32_t domain, bus, device;
    uint32_t pci_device_id;
    uint32_t pci_subsystem_id;
    char bus_id[DV_NVML_BUS_ID_SIZE]; /* 00000000:07:00.0 */
};

struct dv_nvml_pci_info_ext { /* version 1 */
    uint32_t version;
    uint32_t domain, bus, device;
    uint32_t pci_device_id, pci_subsystem_id;
    uint32_t base_class, sub_class;
    char bus_id[DV_NVML_BUS_ID_SIZE];
};

struct dv_nvml_memory {
    uint64_t total, free, used; /* used includes what the driver reserves */
};

struct dv_nvml_memory_v2 {
    uint32_t version;
    uint64_t total, reserved, free, used;
};

struct dv_nvml_bar1_memory {
    uint64_t total, free, used;
};

struct dv_nvml_utilization {
    uint32_t gpu, memory; /* percent of the last sample period */
};

struct dv_nvml_process_info_v1 {
    uint32_t pid;
    uint64_t used_gpu_memory;
};

struct dv_nvml_process_info { /* v2 and v3 */
    uint32_t pid;
    uint64_t used_gpu_memory;
    uint32_t gpu_instance_id, compute_instance_id; /* DV_NVML_INSTANCE_NONE outside MIG */
};

struct dv_nvml_process_detail {
    uint32_t pid;
    uint64_t used_gpu_memory;
    uint32_t gpu_instance_id, compute_instance_id;
    uint64_t used_protected_memory;
};

enum dv_nvml_process_mode {
    DV_NVML_PROCESS_COMPUTE = 0,
    DV_NVML_PROCESS_GRAPHICS = 1,
    DV_NVML_PROCESS_MPS = 2,
};

struct dv_nvml_process_detail_list { /* version 1 */
    uint32_t version;
    uint32_t mode;
    uint32_t count; /* in: room; out: how many there are */
    struct dv_nvml_process_detail *processes;
};

struct dv_nvml_process_sample {
    uint32_t pid;
    uint64_t timestamp_us;
    uint32_t sm, memory, encoder, decoder; /* percent */
};

struct dv_nvml_process_utilization {
    uint64_t timestamp_us;
    uint32_t pid;
    uint32_t sm, memory, encoder, decoder, jpeg, ofa;
};

struct dv_nvml_processes_utilization { /* version 1 */
    uint32_t version;
    uint32_t count;
    uint64_t last_seen_us;
    struct dv_nvml_process_utilization *processes;
};

union dv_nvml_value {
    double d;
    uint32_t u32;
    unsigned long ul;
    uint64_t u64;
    int64_t s64;
    int32_t s32;
    uint16_t u16;
};

struct dv_nvml_sample {
    uint64_t timestamp_us;
    union dv_nvml_value value;
};

struct dv_nvml_field_value {
    uint32_t field;
    uint32_t scope;
    int64_t timestamp_us;
    int64_t latency_us;
    int32_t value_type; /* enum dv_nvml_value_type */
    int32_t result;     /* enum dv_nvml_return, of this field alone */
    union dv_nvml_value value;
};

struct dv_nvml_violation_time {
    uint64_t reference_us, violation_ns;
};

struct dv_nvml_ecc_counts {
    uint64_t l1_cache, l2_cache, device_memory, register_file;
};

struct dv_nvml_row_remapper_histogram {
    uint32_t max, high, partial, low, none;
};

struct dv_nvml_accounting_stats {
    uint32_t gpu_utilization, memory_utilization;
    uint64_t max_memory_usage;
    uint64_t time_ms; /* 0 while the process runs */
    uint64_t start_time_us;
    uint32_t is_running;
    uint32_t reserved[5];
};

/* CUDA 13.3 (driver 610) and later. The mean of the samples, in hundredths of a percent, is the
 * part of its life in which the process used the GPU. */
struct dv_nvml_accounting_stats_v2 {
    uint32_t pid; /* in */
    uint32_t is_running;
    uint32_t gpu_utilization, memory_utilization;
    uint64_t max_memory_usage;
    uint32_t sample_count;
    uint64_t sum_gpu_util, sum_fb_util;
    uint64_t time_ms; /* 0 while the process runs */
    uint64_t start_time_us;
};

/* GPM, Hopper and later: figures over the time between two samples. */
struct dv_nvml_gpm_sample;

enum dv_nvml_gpm_metric_id {
    DV_NVML_GPM_GRAPHICS_UTIL = 1, /* percent of the time in which anything ran */
    DV_NVML_GPM_SM_UTIL = 2,       /* percent, averaged over the SMs */
    DV_NVML_GPM_SM_OCCUPANCY = 3,
    DV_NVML_GPM_ANY_TENSOR_UTIL = 5,
    DV_NVML_GPM_DRAM_BW_UTIL = 10,
    DV_NVML_GPM_PCIE_TX_PER_SEC = 20, /* MiB/s */
    DV_NVML_GPM_PCIE_RX_PER_SEC = 21,
    DV_NVML_GPM_NVLINK_TOTAL_RX_PER_SEC = 60,
    DV_NVML_GPM_NVLINK_TOTAL_TX_PER_SEC = 61,
};

struct dv_nvml_gpm_metric {
    uint32_t id;
    int32_t result; /* enum dv_nvml_return, of this metric alone */
    double value;
    struct {
        char *short_name, *long_name, *unit;
    } info; /* written by the library */
};

/* The real struct's array has grown from release to release (98, 210, 333, 477 entries) under the
 * same version 1: a library may take all of its own length for its. So callers bring more than any.
 */
#define DV_NVML_GPM_METRICS_ROOM 1024u
#define DV_NVML_GPM_VERSION 1u /* a plain number here, without a size */
struct dv_nvml_gpm_metrics_get {
    uint32_t version;
    uint32_t count;
    struct dv_nvml_gpm_sample *first, *second;
    struct dv_nvml_gpm_metric metrics[]; /* DV_NVML_GPM_METRICS_ROOM of them */
};

struct dv_nvml_gpm_support { /* version 1 */
    uint32_t version;
    uint32_t supported;
};

struct dv_nvml_event_data_v1 {
    struct dv_nvml_device *device;
    uint64_t type, data; /* data: the XID */
};

struct dv_nvml_event_data {
    struct dv_nvml_device *device;
    uint64_t type, data;
    uint32_t gpu_instance_id, compute_instance_id;
};

struct dv_nvml_temperature { /* version 1 */
    uint32_t version;
    uint32_t sensor;
    int32_t celsius;
};

struct dv_nvml_margin_temperature { /* version 1 */
    uint32_t version;
    int32_t celsius;
};

struct dv_nvml_driver_branch { /* version 1 */
    uint32_t version;
    char branch[DV_NVML_VERSION_TEXT_SIZE];
};

struct dv_nvml_uuid { /* version 1 */
    uint32_t version;
    uint32_t type; /* 1: text, 2: 16 bytes */
    union {
        char text[41];
        uint8_t bytes[16];
    } value;
};

struct dv_nvml_capabilities { /* version 1 */
    uint32_t version;
    uint32_t mask;
};

struct dv_nvml_placement { /* of a GPU or a compute instance; in slices */
    uint32_t start, size;
};

struct dv_nvml_gi_profile_info_v1 {
    uint32_t id;
    uint32_t is_p2p_supported;
    uint32_t slice_count, instance_count, multiprocessor_count;
    uint32_t copy_engine_count, decoder_count, encoder_count, jpeg_count, ofa_count;
    uint64_t memory_size_mb;
};

struct dv_nvml_gi_profile_info_v2 {
    uint32_t version;
    uint32_t id;
    uint32_t is_p2p_supported;
    uint32_t slice_count, instance_count, multiprocessor_count;
    uint32_t copy_engine_count, decoder_count, encoder_count, jpeg_count, ofa_count;
    uint64_t memory_size_mb;
    char name[DV_NVML_NAME_V2_SIZE]; /* "MIG 3g.20gb" */
};

struct dv_nvml_gi_profile_info_v3 {
    uint32_t version;
    uint32_t id;
    uint32_t slice_count, instance_count, multiprocessor_count;
    uint32_t copy_engine_count, decoder_count, encoder_count, jpeg_count, ofa_count;
    uint64_t memory_size_mb;
    char name[DV_NVML_NAME_V2_SIZE];
    uint32_t capabilities; /* DV_NVML_GI_CAPS_* */
};

struct dv_nvml_gi_info {
    struct dv_nvml_device *device;
    uint32_t id;
    uint32_t profile_id;
    struct dv_nvml_placement placement;
};

struct dv_nvml_ci_profile_info_v1 {
    uint32_t id;
    uint32_t slice_count, instance_count, multiprocessor_count;
    uint32_t shared_copy_engine_count, shared_decoder_count, shared_encoder_count;
    uint32_t shared_jpeg_count, shared_ofa_count;
};

struct dv_nvml_ci_profile_info_v2 {
    uint32_t version;
    uint32_t id;
    uint32_t slice_count, instance_count, multiprocessor_count;
    uint32_t shared_copy_engine_count, shared_decoder_count, shared_encoder_count;
    uint32_t shared_jpeg_count, shared_ofa_count;
    char name[DV_NVML_NAME_V2_SIZE]; /* "MIG 1c.3g.20gb" */
};

struct dv_nvml_ci_profile_info_v3 {
    uint32_t version;
    uint32_t id;
    uint32_t slice_count, instance_count, multiprocessor_count;
    uint32_t shared_copy_engine_count, shared_decoder_count, shared_encoder_count;
    uint32_t shared_jpeg_count, shared_ofa_count;
    char name[DV_NVML_NAME_V2_SIZE];
    uint32_t capabilities;
};

struct dv_nvml_ci_info {
    struct dv_nvml_device *device;
    struct dv_nvml_gpu_instance *gpu_instance;
    uint32_t id;
    uint32_t profile_id;
    struct dv_nvml_placement placement;
};

struct dv_nvml_device_attributes {
    uint32_t multiprocessor_count;
    uint32_t shared_copy_engine_count, shared_decoder_count, shared_encoder_count;
    uint32_t shared_jpeg_count, shared_ofa_count;
    uint32_t gpu_instance_slice_count, compute_instance_slice_count;
    uint64_t memory_size_mb;
};

/* The NVLink fabric of a GPU, by nvmlDeviceGetGpuFabricInfo and nvmlDeviceGetGpuFabricInfoV. */
#define DV_NVML_FABRIC_COMPLETED 3u
struct dv_nvml_fabric {
    uint8_t cluster[16];
    int32_t status; /* enum dv_nvml_return */
    uint32_t clique;
    uint8_t state;
};
struct dv_nvml_fabric_v { /* version 2 */
    uint32_t version;
    uint8_t cluster[16];
    int32_t status;
    uint32_t clique;
    uint8_t state;
    uint32_t health_mask;
};

/* Limits per cgroup, driver 615 and later (nvmlDeviceSetMemoryLimits_v1). */
#define DV_NVML_MEMORY_LIMIT_MAX UINT64_MAX
struct dv_nvml_set_memory_limits {
    const char *cgroup;
    uint64_t soft, hard;
};
struct dv_nvml_get_memory_limits {
    const char *cgroup;
    uint64_t soft, hard, current;
};

#if UINTPTR_MAX > UINT32_MAX
_Static_assert(sizeof(struct dv_nvml_pci_info_v1) == 32, "NVML");
_Static_assert(sizeof(struct dv_nvml_pci_info_v2) == 52, "NVML");
_Static_assert(sizeof(struct dv_nvml_pci_info) == 68, "NVML");
_Static_assert(DV_NVML_VERSION(dv_nvml_pci_info_ext, 1) == 0x1000040, "NVML");
_Static_assert(sizeof(struct dv_nvml_memory) == 24, "NVML");
_Static_assert(DV_NVML_VERSION(dv_nvml_memory_v2, 2) == 0x02000028, "NVML");
_Static_assert(sizeof(struct dv_nvml_bar1_memory) == 24, "NVML");
_Static_assert(sizeof(struct dv_nvml_utilization) == 8, "NVML");
_Static_assert(sizeof(struct dv_nvml_process_info_v1) == 16, "NVML");
_Static_assert(sizeof(struct dv_nvml_process_info) == 24, "NVML");
_Static_assert(sizeof(struct dv_nvml_process_detail) == 32, "NVML");
_Static_assert(DV_NVML_VERSION(dv_nvml_process_detail_list, 1) == 0x1000018, "NVML");
_Static_assert(sizeof(struct dv_nvml_process_sample) == 32, "NVML");
_Static_assert(sizeof(struct dv_nvml_process_utilization) == 40, "NVML");
_Static_assert(DV_NVML_VERSION(dv_nvml_processes_utilization, 1) == 0x01000018, "NVML");
_Static_assert(sizeof(struct dv_nvml_sample) == 16, "NVML");
_Static_assert(sizeof(struct dv_nvml_field_value) == 40, "NVML");
_Static_assert(sizeof(struct dv_nvml_violation_time) == 16, "NVML");
_Static_assert(sizeof(struct dv_nvml_ecc_counts) == 32, "NVML");
_Static_assert(sizeof(struct dv_nvml_row_remapper_histogram) == 20, "NVML");
_Static_assert(sizeof(struct dv_nvml_accounting_stats) == 56, "NVML");
_Static_assert(sizeof(struct dv_nvml_accounting_stats_v2) == 64, "NVML");
_Static_assert(sizeof(struct dv_nvml_gpm_metric) == 40, "NVML");
_Static_assert(sizeof(struct dv_nvml_gpm_metrics_get) == 24, "NVML");
_Static_assert(sizeof(struct dv_nvml_gpm_support) == 8, "NVML");
_Static_assert(sizeof(struct dv_nvml_event_data_v1) == 24, "NVML");
_Static_assert(sizeof(struct dv_nvml_event_data) == 32, "NVML");
_Static_assert(DV_NVML_VERSION(dv_nvml_temperature, 1) == 0x100000C, "NVML");
_Static_assert(DV_NVML_VERSION(dv_nvml_margin_temperature, 1) == 0x1000008, "NVML");
_Static_assert(DV_NVML_VERSION(dv_nvml_driver_branch, 1) == 0x1000054, "NVML");
_Static_assert(DV_NVML_VERSION(dv_nvml_uuid, 1) == 0x1000034, "NVML");
_Static_assert(DV_NVML_VERSION(dv_nvml_capabilities, 1) == 0x1000008, "NVML");
_Static_assert(sizeof(struct dv_nvml_gi_profile_info_v1) == 48, "NVML");
_Static_assert(DV_NVML_VERSION(dv_nvml_gi_profile_info_v2, 2) == 0x02000098, "NVML");
_Static_assert(sizeof(struct dv_nvml_gi_profile_info_v3) == 152, "NVML");
_Static_assert(sizeof(struct dv_nvml_gi_info) == 24, "NVML");
_Static_assert(sizeof(struct dv_nvml_ci_profile_info_v1) == 36, "NVML");
_Static_assert(DV_NVML_VERSION(dv_nvml_ci_profile_info_v2, 2) == 0x02000088, "NVML");
_Static_assert(sizeof(struct dv_nvml_ci_profile_info_v3) == 140, "NVML");
_Static_assert(sizeof(struct dv_nvml_ci_info) == 32, "NVML");
_Static_assert(sizeof(struct dv_nvml_device_attributes) == 40, "NVML");
_Static_assert(sizeof(struct dv_nvml_fabric) == 28, "NVML");
_Static_assert(sizeof(struct dv_nvml_fabric_v) == 36, "NVML");
_Static_assert(sizeof(struct dv_nvml_set_memory_limits) == 24, "NVML");
_Static_assert(sizeof(struct dv_nvml_get_memory_limits) == 32, "NVML");
#endif

/* ---- calls ----------------------------------------------------------------------------------- */

/* Every call answers an enum dv_nvml_return, except for this one. */
__attribute__((visibility("default"))) const char *nvmlErrorString(int result);

#define NVML_CALL(name, parameters) __attribute__((visibility("default"))) int name parameters;
#include "abi_nvml_calls.def"
#undef NVML_CALL

#endif
